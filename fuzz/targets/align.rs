//! The best paths of CTC.
#![no_main]
use door::ctc_align::{ctc_align_f32, ctc_align_f64, ctc_align_scratch_f32, ctc_align_scratch_f64};
use libfuzzer_sys::fuzz_target;

mod support;
use support::{Call, Draw};

fuzz_target!(|bytes: &[u8]| {
    let d = &mut Draw::new(bytes);
    let double = d.chance(8);
    let samples = d.length(4);
    let steps = if d.chance(2) { d.length(250) } else { d.length(30) };
    let classes = d.length(12);
    let labels = if d.chance(2) { d.length(100) } else { d.length(12) };
    let time_major = u32::from(d.chance(8));
    let blank = if d.chance(14) { d.below(classes.min(256)) } else { d.length(12) };
    let (per_step, per_label) = (samples.saturating_mul(steps), samples.saturating_mul(labels));
    let mut call = Call::new(double);
    call.reals(d, per_step.saturating_mul(classes), -4.0, 4.0);
    // -1 stands for anything
    let low = if d.chance(4) { -1 } else { 0 };
    let except = if d.chance(15) { Some(blank) } else { None };
    call.ints_except(d, per_label, low, classes.min(1 << 30) as i64, except);
    call.ints(d, samples, 0, steps.min(1 << 30) as i64 + 1);
    call.ints(d, samples, 0, labels.min(1 << 30) as i64 + 1);
    let scores = call.out_doubles(samples);
    let path = call.out_ints(per_step);
    let others = [path, call.out_ints(per_label), call.out_ints(per_label), call.out_doubles(per_label)];
    let bytes_of = if double { ctc_align_scratch_f64 } else { ctc_align_scratch_f32 };
    call.work(bytes_of(steps, classes, labels));
    let everyday = call.everyday && blank < classes;
    if !everyday {
        // where logits are so large that a score is -infinity, nobody looks at its path
        call.loosen(&others);
    }
    let run = if double { ctc_align_f64 } else { ctc_align_f32 };
    let outcome = call.run(d, |at| {
        run(
            samples, steps, classes, labels, time_major, blank, at[0], at[1], at[2], at[3], at[4], at[5],
            at[6], at[7], at[8], at[9],
        )
    });
    let Some(outcome) = outcome.filter(|_| everyday) else { return };
    let found = outcome.numbers(scores);
    assert!(found.iter().all(|&score| score < 1e-3), "scores {found:?} of probabilities");
    assert!(outcome.numbers(path).iter().all(|&class| class < classes as f64), "a class that is none");
});
