//! Losses of energy-based models.
#![no_main]
use door::energy::{energy_f32, energy_f64};
use kernels::energy::{Op, Per};
use libfuzzer_sys::fuzz_target;

mod support;
use support::{Call, Draw};

fuzz_target!(|bytes: &[u8]| {
    let d = &mut Draw::new(bytes);
    let double = d.chance(8);
    let number = d.below(13) as u32;
    let op = Op::from_door(number);
    let (rows, columns) = (d.length(9), d.length(40));
    let dimensions = if d.chance(5) { d.length(3) } else { 0 };
    let kind = d.below(4) as u32;
    let per = Per::from_door(kind);
    let clouds = if d.chance(8) { 1 } else { rows };
    let size = rows.saturating_mul(columns);
    let mut call = Call::new(double);
    call.reals(d, size, -4.0, 4.0);
    call.ints(d, rows, 0, columns.min(1 << 30) as i64);
    let lengths = call.maybe(d, 4, |call, d| call.ints(d, rows, 0, columns.min(1 << 30) as i64 + 1));
    let table = per.map_or(0, |per| per.rows(rows, columns)).saturating_mul(columns);
    call.maybe(d, 5, |call, d| call.reals(d, table, -3.0, 0.0));
    let cloud = clouds.saturating_mul(columns.saturating_mul(dimensions));
    if dimensions > 0 {
        call.doubles(d, cloud, 0.0, 3.0);
    } else {
        call.absent();
    }
    call.maybe(d, 8, |call, _| call.out(rows));
    if op == Some(Op::MostOffending) || d.chance(1) {
        call.out_ints(rows);
    } else {
        call.absent();
    }
    call.maybe(d, 11, |call, _| call.out(size));
    call.maybe(d, 4, |call, d| call.reals(d, rows, -2.0, 2.0));
    let scale = d.option(&[1.0, 0.5, -2.0, 0.0]);
    let epsilon = d.option(&[0.0, 0.5, 2.0]);
    let p = [d.option(&[1.0, 0.5, 20.0]), d.option(&[0.0, 1.0])];
    let everyday = call.everyday
        && op.is_some()
        && per.is_some()
        && scale.abs() <= 2.0
        && epsilon.is_finite()
        && p.iter().all(|p| (0.0..=20.0).contains(p))
        && p[0] > 0.01
        // a correct answer behind a sample's length is none
        && !call.is_there(lengths);
    let run = if double { energy_f64 } else { energy_f32 };
    let outcome = call.run(d, |at| {
        run(
            number, rows, columns, dimensions, kind, clouds, at[0], at[1], at[2], at[3], at[4], at[5], at[6],
            at[7], at[8], scale, epsilon, p[0], p[1],
        )
    });
    if let Some(outcome) = outcome.filter(|_| everyday && columns > 0) {
        outcome.expect_numbers("everyday numbers");
    }
});
