//! Losses of rows of scores, one at a time and in strips, and what brings rows together whose numbers stand apart.
#![no_main]
use door::rowwise::{rowwise_f32, rowwise_f64, rowwise_strips_f32, turn_rows};
use kernels::rowwise::Op;
use libfuzzer_sys::fuzz_target;

mod support;
use support::{Call, Draw};

fuzz_target!(|bytes: &[u8]| {
    let d = &mut Draw::new(bytes);
    let double = d.chance(8);
    match d.below(16) {
        0 => return turned(d, double),
        1 | 2 => return strips(d),
        _ => {}
    }
    let number = d.below(10) as u32;
    let op = Op::from_door(number);
    let columns = d.length(70);
    let inner = if op == Some(Op::NllLoss) && d.chance(8) { d.length(5).max(1) } else { 1 };
    let rows = d.length(9).saturating_mul(inner);
    let size = rows.saturating_mul(columns);
    let labels = rows.saturating_mul(op.map_or(1, |op| op.labels(columns)));
    let targets = rows.saturating_mul(op.map_or(columns, |op| op.targets(columns)));
    let is_mapping = op.is_some_and(|op| op.is_mapping());
    let values = if is_mapping { size } else { rows };
    let mut call = Call::new(double);
    call.reals(d, size, -4.0, 4.0);
    let sets = op == Some(Op::MultiLabelMarginLoss);
    if labels > 0 {
        call.ints(d, labels, if sets { -1 } else { 0 }, columns.min(1 << 30) as i64);
    } else {
        call.absent();
    }
    if targets > 0 {
        call.reals(d, targets, 0.0, 1.0);
    } else {
        call.absent();
    }
    call.maybe(d, 5, |call, d| call.reals(d, columns, 0.5, 2.0));
    call.maybe(d, 8, |call, _| call.out(values));
    call.maybe(d, 11, |call, _| call.out(size));
    call.maybe(d, if targets > 0 { 8 } else { 0 }, |call, _| call.out(targets));
    call.maybe(d, 4, |call, d| call.reals(d, values, -2.0, 2.0));
    let scale = d.option(&[1.0, 0.5, -2.0, 0.0]);
    let p = match op {
        Some(Op::MultiMarginLoss) => [d.option(&[1.0, 2.0]), d.option(&[1.0, 0.5, 0.0])],
        _ => [d.option(&[-100.0, 0.0]), d.option(&[0.0, 0.1, 1.0])],
    };
    let usual = [-100.0, 0.0, 0.1, 0.5, 1.0, 2.0];
    let everyday = call.everyday && op.is_some() && scale.abs() <= 2.0 && p.iter().all(|p| usual.contains(p));
    let run = if double { rowwise_f64 } else { rowwise_f32 };
    let outcome = call.run(d, |at| {
        run(
            number, rows, columns, at[0], at[1], at[2], at[3], at[4], at[5], at[6], at[7], scale, p[0], p[1],
            inner,
        )
    });
    if let Some(outcome) = outcome.filter(|_| everyday && columns > 0) {
        outcome.expect_numbers("everyday numbers");
    }
});

/// Some rows of all, there or back.
fn turned(d: &mut Draw, double: bool) {
    let (samples, columns, inner) = (d.length(4), d.length(9), d.length(12));
    let all = samples.saturating_mul(inner);
    let first = d.length(all.min(60));
    let rows = d.length(all.saturating_sub(first).min(60));
    let back = d.chance(8);
    let mut call = Call::new(double);
    // the side that is read is an output as well: which it is, the door is told by a number
    for length in [all.saturating_mul(columns), rows.saturating_mul(columns)] {
        call.out(length);
    }
    let bytes = if double { 8 } else { 4 };
    call.run(d, |at| {
        turn_rows(at[0], at[1], all, columns, inner, first, rows, bytes, u32::from(back));
        0.0
    });
}

/// Several rows at a time.
fn strips(d: &mut Draw) {
    let (samples, columns) = (d.length(9), d.length(20));
    let inner = match d.below(16) {
        0..=3 => 1,
        4..=13 => d.length(20).saturating_mul(4),
        _ => d.length(70),
    };
    let rows = samples.saturating_mul(inner);
    let size = rows.saturating_mul(columns);
    let mut call = Call::new(false);
    call.reals(d, size, -4.0, 4.0);
    // what it takes, and some that it does not
    let number = [0, 1, 1, 6, 7, 8, d.below(10) as u32][d.below(7)];
    let op = Op::from_door(number);
    if op.is_some_and(|op| op.labels(1) > 0) {
        call.ints(d, rows, 0, columns.min(1 << 30) as i64);
    } else {
        call.absent();
    }
    let targets = rows.saturating_mul(op.map_or(0, |op| op.targets(columns)));
    call.maybe(d, if targets > 0 { 15 } else { 0 }, |call, d| call.reals(d, targets, 0.0, 1.0));
    let values = if op.is_some_and(Op::is_mapping) { size } else { rows };
    call.maybe(d, 5, |call, d| call.reals(d, columns, 0.5, 2.0));
    call.maybe(d, 8, |call, _| call.out(values));
    call.maybe(d, 11, |call, _| call.out(size));
    call.maybe(d, if targets > 0 { 8 } else { 0 }, |call, _| call.out(targets));
    call.maybe(d, 4, |call, d| call.reals(d, values, -2.0, 2.0));
    let scale = d.option(&[1.0, 0.5, -2.0, 0.0]);
    let ignored = d.option(&[-100.0, 0.0]);
    let smoothing = d.option(&[0.0, 0.1, 1.0]);
    call.run(d, |at| {
        rowwise_strips_f32(
            number, rows, columns, at[0], at[1], at[2], at[3], at[4], at[5], at[6], at[7], scale, ignored,
            smoothing, inner,
        )
    });
}
