//! Alignment against a plain Viterbi in double precision, and on slices of any lengths.
use kernels::ctc::align::{need, run, Alignments};
use kernels::ctc::Room;
use lanes::{F32x4, F64x2, Lanes, Real};
use proptest::prelude::*;

/// One batch.
#[derive(Clone, Debug)]
struct Case {
    steps: usize,
    classes: usize,
    labels: usize,
    time_major: bool,
    blank: usize,
    logits: Vec<f64>,
    targets: Vec<i32>,
    input_lengths: Vec<i32>,
    target_lengths: Vec<i32>,
}

/// What came out: scores, paths, starts, ends, log-probabilities of labels.
#[derive(Clone, Debug, PartialEq)]
struct Outcome(Vec<f64>, Vec<i32>, Vec<i32>, Vec<i32>, Vec<f64>);

/// Written where nothing should be.
const UNTOUCHED: i32 = -77;

/// What does not fit: so many numbers are missing in a kind of scratch, or an output is longer than it may be.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wrong {
    Nothing,
    Scratch(usize, usize),
    Output(usize),
}

/// Runs the kernel.
fn call<L: Lanes>(c: &Case, wrong: Wrong) -> (f64, Outcome) {
    let samples = c.input_lengths.len();
    let less =
        |kind: usize| if let Wrong::Scratch(k, less) = wrong { less * usize::from(k == kind) } else { 0 };
    let more = |output: usize| usize::from(wrong == Wrong::Output(output));
    let logits: Vec<L::Scalar> = c.logits.iter().map(|&x| L::Scalar::from_f64(x)).collect();
    let n = need::<L>(c.steps, c.classes, c.labels);
    let mut reals = vec![L::Scalar::NAN; n.reals.saturating_sub(less(0))];
    let mut doubles = vec![f64::NAN; n.doubles.saturating_sub(less(1))];
    let mut indices = vec![UNTOUCHED; n.indices.saturating_sub(less(2))];
    let [mut scores, mut log_probs] =
        [(0, samples), (1, samples * c.labels)].map(|(output, n)| vec![-77.0; n + more(output)]);
    let [mut path, mut starts, mut ends] = [(2, c.steps), (3, c.labels), (4, c.labels)]
        .map(|(output, n)| vec![UNTOUCHED; samples * n + more(output)]);
    let total = run::<L>(
        &mut Alignments {
            samples,
            steps: c.steps,
            classes: c.classes,
            labels: c.labels,
            time_major: c.time_major,
            blank: c.blank,
            logits: &logits,
            targets: &c.targets,
            input_lengths: &c.input_lengths,
            target_lengths: &c.target_lengths,
            scores: &mut scores,
            path: &mut path,
            starts: &mut starts,
            ends: &mut ends,
            log_probs: &mut log_probs,
        },
        &mut Room { reals: &mut reals, doubles: &mut doubles, indices: &mut indices },
    );
    (total, Outcome(scores, path, starts, ends, log_probs))
}

/// The best path of sample `n`: its log-probability, and its state at each step.
fn viterbi(c: &Case, n: usize) -> Option<(f64, Vec<usize>)> {
    let samples = c.input_lengths.len();
    let (steps, labels) = (c.input_lengths[n] as usize, c.target_lengths[n] as usize);
    let target = &c.targets[n * c.labels..][..labels];
    let states = 2 * labels + 1;
    let row = |t: usize| {
        let at = if c.time_major { t * samples + n } else { n * c.steps + t };
        &c.logits[at * c.classes..][..c.classes]
    };
    // relative to the largest of the step: what is added up then are eighths, and ties are ties
    let largest = |t: usize| row(t).iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let rest = |t: usize| row(t).iter().map(|x| (x - largest(t)).exp()).sum::<f64>().ln();
    let emission = |t: usize, s: usize| match if s.is_multiple_of(2) { c.blank as i32 } else { target[s / 2] }
    {
        -1 => rest(t),
        class => row(t)[class as usize] - largest(t),
    };
    let mut best = vec![f64::NEG_INFINITY; states];
    best[0] = 0.0;
    let mut back = vec![vec![0; states]; steps];
    for (t, back) in back.iter_mut().enumerate() {
        let before = best.clone();
        for s in 0..states {
            let skips = s % 2 == 1 && s > 1 && target[s / 2] != target[s / 2 - 1];
            for d in 1..=(if skips { 2 } else { 1 }).min(s) {
                if before[s - d] > before[s - back[s]] {
                    back[s] = d;
                }
            }
            best[s] = before[s - back[s]] + emission(t, s);
        }
    }
    let mut s = states - 1;
    if s > 0 && best[s - 1] >= best[s] {
        s -= 1;
    }
    if best[s] == f64::NEG_INFINITY {
        return None;
    }
    let score = best[s] - (0..steps).map(rest).sum::<f64>();
    let mut path = vec![0; steps];
    for t in (0..steps).rev() {
        path[t] = s;
        s -= back[t][s];
    }
    Some((score, path))
}

fn cases() -> impl Strategy<Value = Case> {
    (1usize..5, 0usize..40, 2usize..7, 0usize..14, any::<bool>()).prop_flat_map(
        |(samples, steps, classes, labels, time_major)| {
            (
                // few values, so that there are ties
                prop::collection::vec((-24i32..24).prop_map(|x| x as f64 / 8.0), samples * steps * classes),
                prop::collection::vec(0..classes as i32 - 1, samples * labels),
                prop::collection::vec(any::<prop::sample::Index>(), samples),
                prop::collection::vec(any::<prop::sample::Index>(), samples),
                0..classes,
            )
                .prop_map(move |(logits, targets, inputs, lengths, blank)| Case {
                    steps,
                    classes,
                    labels,
                    time_major,
                    blank,
                    // now and then a class is out of the question, but one of each step is not
                    logits: logits
                        .iter()
                        .enumerate()
                        .map(|(i, &x)| {
                            let is_sure = i % classes == i / classes % classes;
                            if x == -3.0 && !is_sure {
                                f64::NEG_INFINITY
                            } else {
                                x
                            }
                        })
                        .collect(),
                    // any class but the blank, and now and then what stands for anything
                    targets: targets
                        .iter()
                        .enumerate()
                        .map(|(i, &c)| if i % 7 == 6 { -1 } else { c + i32::from(c >= blank as i32) })
                        .collect(),
                    input_lengths: inputs.iter().map(|i| i.index(steps + 1) as i32).collect(),
                    target_lengths: lengths.iter().map(|i| i.index(labels + 1) as i32).collect(),
                })
        },
    )
}

fn agree<L: Lanes>(c: &Case, tolerance: f64) -> Result<(), TestCaseError> {
    let (total, Outcome(scores, paths, starts, ends, log_probs)) = call::<L>(c, Wrong::Nothing);
    prop_assert_eq!(total, scores.iter().fold(0.0, |sum, score| sum + score));
    for n in 0..scores.len() {
        let path = &paths[n * c.steps..][..c.steps];
        let steps = c.input_lengths[n] as usize;
        let Some((score, states)) = viterbi(c, n) else {
            prop_assert_eq!(scores[n], f64::NEG_INFINITY);
            prop_assert!(path.iter().all(|&x| x == UNTOUCHED));
            continue;
        };
        prop_assert!(
            (scores[n] - score).abs() <= tolerance * score.abs().max(1.0),
            "{} {}",
            scores[n],
            score
        );
        let target = &c.targets[n * c.labels..][..c.target_lengths[n] as usize];
        // where logarithms of sums take part, what is a tie depends on rounding
        if target.contains(&-1) {
            continue;
        }
        let symbols: Vec<i32> =
            states.iter().map(|s| if s.is_multiple_of(2) { c.blank as i32 } else { target[s / 2] }).collect();
        prop_assert_eq!(&path[..steps], &symbols[..]);
        prop_assert!(path[steps..].iter().all(|&x| x == UNTOUCHED));
        for i in 0..c.target_lengths[n] as usize {
            let first = states.iter().position(|&s| s == 2 * i + 1).expect("a label has a step");
            let last = states.iter().rposition(|&s| s == 2 * i + 1).expect("a label has a step");
            prop_assert_eq!(
                (starts[n * c.labels + i], ends[n * c.labels + i]),
                (first as i32, last as i32 + 1)
            );
            prop_assert!(log_probs[n * c.labels + i] <= tolerance);
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn doubles_agree_with_a_plain_viterbi(c in cases()) {
        agree::<F64x2>(&c, 1e-12)?;
    }

    #[test]
    fn singles_agree_with_a_plain_viterbi(c in cases()) {
        agree::<F32x4>(&c, 1e-5)?;
    }

    #[test]
    fn slices_that_do_not_fit_are_left_alone(c in cases(), less in 1usize..9, which in 0usize..12) {
        let mut c = c;
        let mut wrong = Wrong::Nothing;
        match which {
            0 if !c.logits.is_empty() => { c.logits.pop(); }
            1 if !c.targets.is_empty() => { c.targets.pop(); }
            2 => c.target_lengths.push(0),
            3 => c.blank = c.classes,
            4..=8 => wrong = Wrong::Output(which - 4),
            9 | 10 => wrong = Wrong::Scratch(2 * (which - 9), less),
            // some have no step and hardly any label
            _ => wrong = Wrong::Scratch(1, 1),
        }
        let (total, Outcome(scores, path, starts, ends, log_probs)) = call::<F32x4>(&c, wrong);
        prop_assert!(total.is_nan());
        prop_assert!(scores.iter().chain(&log_probs).all(|&x| x == -77.0));
        prop_assert!(path.iter().chain(&starts).chain(&ends).all(|&x| x == UNTOUCHED));
    }

    #[test]
    fn lengths_stay_within_the_arrays(c in cases(), beyond in 1..i32::MAX, which in any::<prop::sample::Index>()) {
        let n = which.index(c.input_lengths.len());
        for (inside, outside) in [([0, 0], [-beyond; 2]), ([c.steps, c.labels], [beyond.max(40); 2])] {
            let with = |input: i32, target: i32| {
                let mut c = c.clone();
                (c.input_lengths[n], c.target_lengths[n]) = (input, target);
                call::<F64x2>(&c, Wrong::Nothing).1
            };
            prop_assert_eq!(with(outside[0], outside[1]), with(inside[0] as i32, inside[1] as i32));
        }
    }

    #[test]
    fn no_number_breaks_it(c in cases(), hostile in prop::collection::vec((any::<prop::sample::Index>(), prop::num::f64::ANY), 1..6)) {
        let mut c = c;
        if !c.logits.is_empty() {
            for (at, x) in hostile {
                let at = at.index(c.logits.len());
                c.logits[at] = x;
            }
        }
        let (_, Outcome(scores, ..)) = call::<F32x4>(&c, Wrong::Nothing);
        let (_, Outcome(doubles, ..)) = call::<F64x2>(&c, Wrong::Nothing);
        prop_assert!(scores.iter().chain(&doubles).all(|&x| x.is_nan() || x <= 1e-4));
    }
}
