//! Functions of many vectors at once.
#![no_main]
use door::vectors_many::{many_f32, many_f64, many_scratch};
use kernels::vectors::many::Op;
use libfuzzer_sys::fuzz_target;

mod support;
use support::{Call, Draw};

fuzz_target!(|bytes: &[u8]| {
    let d = &mut Draw::new(bytes);
    let double = d.chance(8);
    let number = d.below(7) as u32;
    let op = Op::from_door(number);
    let rows = d.length(24);
    let columns = match op {
        Some(Op::InfoNce) if d.chance(15) => rows,
        _ => d.length(40),
    };
    let length = d.length(36);
    let p = match op {
        Some(Op::Cdist | Op::CdistSelf) => {
            [d.option(&[2.0, 1.0, 1.5, 3.0, 9.0, f64::INFINITY]), 0.0, 0.0, 0.0, 0.0]
        }
        Some(Op::BatchTriplet) => [
            d.option(&[0.0, 1.0, 2.0]),
            d.option(&[1.0, 0.2]),
            d.option(&[0.0, 1.0]),
            d.option(&[0.0, 1.0]),
            d.option(&[0.0, 1.0]),
        ],
        Some(Op::Nearest) => [d.option(&[1.0, 2.0, 5.0, 12.0]), d.option(&[0.0, 1.0, 2.0]), 0.0, 0.0, 0.0],
        _ => [d.option(&[0.1, 0.5, 1.0]), d.option(&[0.0, 1.0]), 0.0, 0.0, 0.0],
    };
    let others = op.map_or(0, |op| op.others(columns));
    let values = op.map_or(rows, |op| op.values(rows, columns, &p));
    let mut call = Call::new(double);
    call.reals(d, rows.saturating_mul(length), -2.0, 2.0);
    if others > 0 {
        call.reals(d, others.saturating_mul(length), -2.0, 2.0);
    } else {
        call.absent();
    }
    if matches!(op, Some(Op::BatchTriplet | Op::SupervisedContrastive)) || d.chance(1) {
        call.ints(d, rows, 0, rows.min(5) as i64);
    } else {
        call.absent();
    }
    call.maybe(d, 10, |call, _| call.out(values));
    call.maybe(d, 11, |call, _| call.out(rows.saturating_mul(length)));
    call.maybe(d, if others > 0 { 11 } else { 0 }, |call, _| call.out(others.saturating_mul(length)));
    call.maybe(d, 4, |call, d| call.reals(d, values, -2.0, 2.0));
    if op == Some(Op::Nearest) {
        call.out_ints(values);
    } else {
        call.absent();
    }
    call.maybe(d, 8, |call, _| call.out_doubles(2));
    let needed = many_scratch(double, number, rows, columns, length, p[0], p[1]);
    call.work(needed as usize);
    let scale = d.option(&[1.0, 0.5, -2.0, 0.0]);
    let everyday = call.everyday
        && scale.abs() <= 2.0
        && p.iter().all(|p| (0.0..=12.0).contains(p) || *p == f64::INFINITY)
        && match op {
            Some(Op::Cdist | Op::CdistSelf) => p[0] >= 1.0,
            Some(Op::InfoNce | Op::SupervisedContrastive) => {
                p[0] >= 0.1 && rows == columns.max(rows) && length > 0
            }
            Some(Op::Nearest) => p[0] >= 1.0 && p[0] <= columns as f64,
            Some(Op::BatchTriplet) => true,
            None => false,
        };
    let run = if double { many_f64 } else { many_f32 };
    let outcome = call.run(d, |at| {
        run(
            number, rows, columns, length, at[0], at[1], at[2], at[3], at[4], at[5], at[6], at[7], at[8],
            at[9], scale, p[0], p[1], p[2], p[3], p[4],
        )
    });
    if let Some(outcome) = outcome.filter(|outcome| everyday && !outcome.result.is_nan()) {
        outcome.expect_numbers("everyday numbers");
        if op == Some(Op::Nearest) && outcome.is_written(7) {
            let is_row = |&k: &f64| k >= 0.0 && k < columns as f64;
            assert!(outcome.numbers(7).iter().all(is_row), "{:?} of {columns}", outcome.numbers(7));
        }
    }
});
