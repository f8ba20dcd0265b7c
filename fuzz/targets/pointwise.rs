//! Losses of single elements, and the search for numbers that they refuse.
#![no_main]
use door::domain::{find_invalid_f32, find_invalid_f64};
use door::pointwise::{pointwise_f32, pointwise_f64};
use kernels::pointwise::Op;
use libfuzzer_sys::fuzz_target;

mod support;
use support::{Call, Draw};

fuzz_target!(|bytes: &[u8]| {
    let d = &mut Draw::new(bytes);
    let double = d.chance(8);
    if d.chance(1) {
        let (domain, count) = (d.below(6) as u32, d.length(200));
        let mut call = Call::new(double);
        call.reals(d, count, -1.0, 1.0);
        let find = if double { find_invalid_f64 } else { find_invalid_f32 };
        if let Some(found) = call.run(d, |at| find(domain, count, at[0])) {
            assert!(found.result.is_nan() || (-1.0..count as f64).contains(&found.result));
        }
        return;
    }
    let number = d.below(14) as u32;
    let op = Op::from_door(number);
    let (inputs, gradients) = op.map_or((3, 3), |op| (op.inputs(), op.gradients()));
    let count = match d.below(16) {
        // over the end of a piece
        15 => d.length(250).saturating_mul(4).saturating_add(16_000),
        _ => d.length(200),
    };
    // what any loss takes: probabilities
    let (low, high) = (0.0, 1.0);
    let call = &mut Call::new(double);
    for i in 0..3 {
        if i < inputs {
            call.reals(d, count, low, high);
        } else {
            call.absent();
        }
    }
    for _ in 0..2 {
        call.maybe(d, 5, |call, d| call.reals(d, count, 0.5, 2.0));
    }
    call.maybe(d, 8, |call, _| call.out(count));
    for i in 0..3 {
        call.maybe(d, if i < gradients { 11 } else { 0 }, |call, _| call.out(count));
    }
    call.maybe(d, 4, |call, d| call.reals(d, count, -2.0, 2.0));
    let scale = d.option(&[1.0, 0.5, -2.0, 0.0]);
    let p = [0, 1, 2].map(|_| d.option(&[1.0, 0.0, 0.5, 1e-6, 2.0]));
    let everyday = call.everyday && scale.abs() <= 2.0 && p.iter().all(|p| (0.0..=2.0).contains(p));
    let run = if double { pointwise_f64 } else { pointwise_f32 };
    let call = std::mem::replace(call, Call::new(double));
    let outcome = call.run(d, |at| {
        run(
            number, count, at[0], at[1], at[2], at[3], at[4], at[5], at[6], at[7], at[8], at[9], scale, p[0],
            p[1], p[2],
        )
    });
    // these divide by nothing and take the logarithm of nothing that may be 0
    let plain = matches!(
        op,
        Some(
            Op::L1Loss
                | Op::MseLoss
                | Op::SmoothL1Loss
                | Op::HuberLoss
                | Op::BceLoss
                | Op::BceWithLogitsLoss
                | Op::SoftMarginLoss
                | Op::MarginRankingLoss
                | Op::HingeEmbeddingLoss
        )
    );
    if let Some(outcome) = outcome.filter(|_| everyday && plain) {
        outcome.expect_numbers("everyday numbers");
    }
});
