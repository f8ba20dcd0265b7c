//! The CTC loss.
#![no_main]
use door::ctc::{ctc_f32, ctc_f64, ctc_scratch_f32, ctc_scratch_f64};
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
    let [time_major, zero_infinity, per_label] = [0, 1, 2].map(|_| u32::from(d.chance(8)));
    let blank = if d.chance(14) { d.below(classes.min(256)) } else { d.length(12) };
    let size = samples.saturating_mul(steps).saturating_mul(classes);
    let mut call = Call::new(double);
    let logits = call.reals(d, size, -4.0, 4.0);
    // a label that is the blank is let in by nobody, and counts paths twice: it is no everyday target
    let except = if d.chance(15) { Some(blank) } else { None };
    call.everyday &= except.is_some();
    call.ints_except(d, samples.saturating_mul(labels), 0, classes.min(1 << 30) as i64, except);
    call.ints(d, samples, 0, steps.min(1 << 30) as i64 + 1);
    call.ints(d, samples, 0, labels.min(1 << 30) as i64 + 1);
    let values = call.out_doubles(samples);
    let grad = call.maybe(d, 11, |call, _| call.out(size));
    call.maybe(d, 12, |call, d| call.doubles(d, samples, -1.0, 1.0));
    let bytes_of = if double { ctc_scratch_f64 } else { ctc_scratch_f32 };
    call.work(bytes_of(steps, classes, labels, u32::from(call.is_there(grad))));
    let everyday = call.everyday && blank < classes;
    let is_there = call.is_there(logits) && call.is_there(grad);
    let run = if double { ctc_f64 } else { ctc_f32 };
    let outcome = call.run(d, |at| {
        run(
            samples,
            steps,
            classes,
            labels,
            time_major,
            blank,
            zero_infinity,
            per_label,
            at[0],
            at[1],
            at[2],
            at[3],
            at[4],
            at[5],
            at[6],
            at[7],
        )
    });
    let Some(outcome) = outcome.filter(|_| everyday) else { return };
    let losses = outcome.numbers(values);
    assert!(losses.iter().all(|loss| !loss.is_nan()), "losses {losses:?} of everyday numbers");
    assert!(losses.iter().all(|&loss| loss > -1e-3), "losses {losses:?} of probabilities");
    if zero_infinity == 1 {
        assert!(losses.iter().all(|loss| loss.is_finite()), "losses {losses:?} with zero_infinity");
    }
    if !is_there {
        return;
    }
    for (n, loss) in losses.iter().enumerate() {
        for t in 0..steps {
            let row = if time_major == 1 { t * samples + n } else { n * steps + t };
            let row = &outcome.numbers(grad)[row * classes..][..classes];
            if loss.is_finite() {
                assert!(
                    row.iter().all(|x| !x.is_nan()),
                    "step {t} of sample {n}, which has the loss {loss}, has the gradient {row:?}"
                );
            }
        }
    }
});
