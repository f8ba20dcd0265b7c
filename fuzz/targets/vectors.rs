//! Losses of pairs and triplets of vectors.
#![no_main]
use door::vectors::{vectors_f32, vectors_f64};
use kernels::vectors::Op;
use libfuzzer_sys::fuzz_target;

mod support;
use support::{Call, Draw};

fuzz_target!(|bytes: &[u8]| {
    let d = &mut Draw::new(bytes);
    let double = d.chance(8);
    let number = d.below(6) as u32;
    let op = Op::from_door(number);
    let vectors = if op.is_none_or(Op::is_of_triplets) { 3 } else { 2 };
    let length = d.length(70);
    let count = d.length(40);
    let size = count.saturating_mul(length);
    let mut call = Call::new(double);
    for i in 0..3 {
        if i < vectors {
            call.reals(d, size, -2.0, 2.0);
        } else {
            call.absent();
        }
    }
    if op == Some(Op::CosineEmbeddingLoss) || d.chance(1) {
        call.reals(d, count, -1.0, 1.0);
    } else {
        call.absent();
    }
    call.maybe(d, 8, |call, _| call.out(count));
    for i in 0..3 {
        call.maybe(d, if i < vectors { 11 } else { 0 }, |call, _| call.out(size));
    }
    call.maybe(d, 4, |call, d| call.reals(d, count, -2.0, 2.0));
    let scale = d.option(&[1.0, 0.5, -2.0, 0.0]);
    let p = match op {
        Some(Op::PairwiseDistance) => {
            [d.option(&[2.0, 1.0, 1.5, 3.0, f64::INFINITY]), d.option(&[1e-6, 0.0]), 0.0, 0.0]
        }
        Some(Op::TripletMarginLoss) => [
            d.option(&[2.0, 1.0, 1.5, 3.0, f64::INFINITY]),
            d.option(&[1.0, 0.2]),
            d.option(&[1e-6, 0.0]),
            d.option(&[0.0, 1.0]),
        ],
        _ => [d.option(&[0.0, 1.0, 2.0]), d.option(&[1.0, 0.2]), 0.0, d.option(&[0.0, 1.0])],
    };
    let usual = |p: &f64| (0.0..=3.0).contains(p) || *p == f64::INFINITY;
    // powers of a norm are defined from 1 on
    let norm = !matches!(op, Some(Op::PairwiseDistance | Op::TripletMarginLoss)) || p[0] >= 1.0;
    let everyday = call.everyday && op.is_some() && scale.abs() <= 2.0 && p.iter().all(usual) && norm;
    let run = if double { vectors_f64 } else { vectors_f32 };
    let outcome = call.run(d, |at| {
        run(
            number, count, length, at[0], at[1], at[2], at[3], at[4], at[5], at[6], at[7], at[8], scale,
            p[0], p[1], p[2], p[3],
        )
    });
    if let Some(outcome) = outcome.filter(|_| everyday && p[1..].iter().all(|p| p.is_finite())) {
        // the gradient at distance 0 is 0
        outcome.expect_numbers("everyday numbers");
    }
});
