//! Both ways of computing CTC against plain sums of logarithms in double precision, and against each other.
extern crate std;
use super::*;
use lanes::{F32x4, F64x2};
use std::vec;
use std::vec::Vec;

/// A stream of numbers in [0, 1) (splitmix64).
pub struct Random(pub u64);
impl Random {
    pub fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e3779b97f4a7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58476d1ce4e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d049bb133111eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
    pub fn normal(&mut self) -> f64 {
        let (u, v) = (self.next().max(1e-300), self.next());
        (-2.0 * u.ln()).sqrt() * (2.0 * std::f64::consts::PI * v).cos()
    }
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() * n as f64) as usize
    }
}

fn log_add(a: f64, b: f64) -> f64 {
    let m = a.max(b);
    if m == f64::NEG_INFINITY {
        return m;
    }
    m + ((a - m).exp() + (b - m).exp()).ln()
}

/// Loss and gradient of one sample [T, C], blank 0: sums of logarithms, kept relative to the largest of each step.
fn reference(x: &[f64], classes: usize, target: &[i32]) -> (f64, Vec<f64>) {
    let steps = x.len() / classes;
    let states = 2 * target.len() + 1;
    let label = |s: usize| if s.is_multiple_of(2) { 0 } else { target[s / 2] as usize };
    let skip = |s: usize| s % 2 == 1 && s > 1 && target[s / 2] != target[s / 2 - 1];
    let mut p = vec![0.0; x.len()];
    for (row, to) in x.chunks(classes).zip(p.chunks_mut(classes)) {
        let m = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = row.iter().map(|v| (v - m).exp()).sum();
        row.iter().zip(to).for_each(|(v, to)| *to = v - m - sum.ln());
    }
    let level = |row: &mut [f64]| {
        let m = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        row.iter_mut().for_each(|v| *v -= m);
        m
    };
    let mut alpha = vec![vec![f64::NEG_INFINITY; states]; steps];
    let mut total = 0.0;
    for t in 0..steps {
        for s in 0..states {
            let sum = if t == 0 {
                if s < 2 {
                    0.0
                } else {
                    f64::NEG_INFINITY
                }
            } else {
                let mut sum = alpha[t - 1][s];
                if s > 0 {
                    sum = log_add(sum, alpha[t - 1][s - 1]);
                }
                if skip(s) {
                    sum = log_add(sum, alpha[t - 1][s - 2]);
                }
                sum
            };
            alpha[t][s] = sum + p[t * classes + label(s)];
        }
        total += level(&mut alpha[t]);
    }
    let last = &alpha[steps - 1];
    let end = if states > 1 { log_add(last[states - 1], last[states - 2]) } else { last[0] };
    let loss = -(total + end);
    let mut grad: Vec<f64> = p.iter().map(|v| v.exp()).collect();
    let mut beta = vec![f64::NEG_INFINITY; states];
    for t in (0..steps).rev() {
        let mut next = vec![f64::NEG_INFINITY; states];
        for s in 0..states {
            let sum = if t + 1 == steps {
                if s + 2 >= states {
                    0.0
                } else {
                    f64::NEG_INFINITY
                }
            } else {
                let mut sum = beta[s];
                if s + 1 < states {
                    sum = log_add(sum, beta[s + 1]);
                }
                if s + 2 < states && skip(s + 2) {
                    sum = log_add(sum, beta[s + 2]);
                }
                sum
            };
            next[s] = sum;
        }
        let weights: Vec<f64> = (0..states).map(|s| alpha[t][s] + next[s]).collect();
        let m = weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let all: f64 = weights.iter().map(|w| (w - m).exp()).sum();
        for s in 0..states {
            grad[t * classes + label(s)] -= (weights[s] - m).exp() / all;
        }
        for s in 0..states {
            next[s] += p[t * classes + label(s)];
        }
        level(&mut next);
        beta = next;
    }
    (loss, grad)
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Blocks,
    Exact,
}

/// One sample by one way; None where blocks give up.
fn sample<L: Lanes>(
    x: &[f64],
    classes: usize,
    target: &[i32],
    way: Way,
    gradients: bool,
) -> Option<(f64, Vec<f64>)> {
    let steps = x.len() / classes;
    let logits: Vec<L::Scalar> = x.iter().map(|&v| L::Scalar::from_f64(v)).collect();
    let mut grad = vec![L::Scalar::ZERO; if gradients { x.len() } else { TILE * classes }];
    let need = Need::of(steps, classes, target.len(), gradients);
    let mut slots = vec![-1; classes];
    let (mut ids, mut occurring) = (vec![0; target.len()], vec![0; target.len() + 1]);
    let count = number(0, target, &mut slots, &mut ids, &mut occurring);
    let target = Target { ids: &ids, classes: &occurring[..count] };
    let mut sums = vec![0.0; steps];
    let ring = if gradients { None } else { NonZero::new(TILE) };
    let mut rows = Rows::<L> {
        logits: &logits,
        kept: &mut grad,
        sums: &mut sums,
        steps,
        classes,
        stride: classes,
        start: 0,
        ring,
        occupancies: false,
    };
    // scratch comes with whatever was in it
    let mut doubles = vec![f64::NAN; need.doubles];
    let mut starts = vec![-3; need.indices];
    let loss = match way {
        Way::Blocks => blocks::run(&mut rows, &target, 1.0, gradients, &mut doubles, &mut starts)?,
        Way::Exact => exact::run(&mut rows, &target, 1.0, gradients, &mut doubles),
    };
    Some((loss, grad.iter().map(|g| g.to_f64()).collect()))
}

fn normal(steps: usize, classes: usize, scale: f64, random: &mut Random) -> Vec<f64> {
    (0..steps * classes).map(|_| f64::from((scale * random.normal()) as f32)).collect()
}

fn labels(count: usize, classes: usize, random: &mut Random) -> Vec<i32> {
    (0..count).map(|_| 1 + random.below(classes - 1) as i32).collect()
}

fn worst(a: &[f64], b: &[f64]) -> f64 {
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, |m, d| if d.is_nan() { f64::INFINITY } else { m.max(d) })
}

fn check<L: Lanes>(x: &[f64], classes: usize, target: &[i32], must_be_blocks: bool, tolerance: (f64, f64)) {
    let (loss, grad) = reference(x, classes, target);
    for way in [Way::Blocks, Way::Exact] {
        let Some((l, g)) = sample::<L>(x, classes, target, way, true) else {
            assert!(!must_be_blocks, "blocks gave up");
            continue;
        };
        let what = std::format!("{way:?}, T {} C {classes} S {}", x.len() / classes, target.len());
        assert!((l - loss).abs() <= tolerance.0 * loss.abs().max(1.0), "{what}: loss {l}, expected {loss}");
        let d = worst(&g, &grad);
        assert!(d <= tolerance.1, "{what}: gradient is off by {d:e}");
        let (alone, _) = sample::<L>(x, classes, target, way, false).expect("blocks did it with gradients");
        assert_eq!(alone.to_bits(), l.to_bits(), "{what}: the loss alone");
    }
}

#[test]
fn small_shapes_agree_with_sums_of_logarithms() {
    let mut random = Random(1);
    for _ in 0..400 {
        let classes = 2 + random.below(9);
        let count = random.below(14);
        let target = labels(count, classes, &mut random);
        let repeats = target.windows(2).filter(|w| w[0] == w[1]).count();
        let steps = (count + repeats + random.below(30)).max(1);
        let x = normal(steps, classes, 2.0, &mut random);
        check::<F64x2>(&x, classes, &target, true, (1e-13, 1e-12));
        check::<F32x4>(&x, classes, &target, true, (1e-6, 2e-6));
    }
}

/// What an untrained network gives, or one that knows nothing: all classes alike, so that there are as many paths as can be, and where both
/// ways meet, in the middle of a block, neither has been at its start.
#[test]
fn flat_logits() {
    let mut random = Random(5);
    for steps in 1..100 {
        for count in [1, 2, 5, 9, 12, 20, 33, 48, 49, 70] {
            for classes in [2, 3, 9] {
                let target = labels(count, classes, &mut random);
                let repeats = target.windows(2).filter(|w| w[0] == w[1]).count();
                if count + repeats > steps {
                    continue;
                }
                let level = 3.0 * random.next();
                let x = vec![level; steps * classes];
                check::<F64x2>(&x, classes, &target, true, (1e-13, 1e-12));
            }
        }
    }
}

#[test]
fn long_samples_in_several_segments() {
    let mut random = Random(2);
    for (steps, classes, count) in [(3000, 32, 290), (1000, 12, 700), (700, 30, 350), (2500, 5, 20)] {
        let target = labels(count, classes, &mut random);
        let x = normal(steps, classes, 1.0, &mut random);
        check::<F64x2>(&x, classes, &target, true, (1e-12, 1e-11));
        check::<F32x4>(&x, classes, &target, true, (1e-6, 1e-5));
    }
}

#[test]
fn peaky_logits() {
    let mut random = Random(3);
    for scale in [5.0, 10.0, 25.0, 80.0] {
        for _ in 0..20 {
            let classes = 2 + random.below(30);
            let count = random.below(40);
            let target = labels(count, classes, &mut random);
            let repeats = target.windows(2).filter(|w| w[0] == w[1]).count();
            let x = normal(count + repeats + 1 + random.below(60), classes, scale, &mut random);
            check::<F64x2>(&x, classes, &target, false, (1e-12, 1e-11));
            check::<F32x4>(&x, classes, &target, false, (1e-6, 1e-5));
        }
    }
}

/// What a trained network gives: blanks nearly everywhere, now and then a label.
#[test]
fn a_trained_network_stays_with_blocks() {
    let mut random = Random(4);
    let (steps, classes, count) = (400, 40, 60);
    let target = labels(count, classes, &mut random);
    let mut x = normal(steps, classes, 1.5, &mut random);
    for t in 0..steps {
        x[t * classes] += 14.0;
        if t % 6 == 3 && t / 6 < count {
            x[t * classes + target[t / 6] as usize] += 24.0;
        }
    }
    // both precisions see the same numbers
    x.iter_mut().for_each(|x| *x = f64::from(*x as f32));
    check::<F64x2>(&x, classes, &target, true, (1e-12, 1e-11));
    check::<F32x4>(&x, classes, &target, true, (1e-6, 1e-5));
}

#[test]
fn what_no_memory_has_is_worked_out_at_once() {
    use super::align;
    for many in [1 << 29, 1 << 30, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, usize::MAX / 2, usize::MAX] {
        for [steps, classes, labels] in [[many, 5, 3], [7, 5, many], [many; 3], [7, many, 3]] {
            for gradients in [false, true] {
                let Need { doubles, indices, .. } = Need::of(steps, classes, labels, gradients);
                assert!(doubles >= 1 << 29 || indices >= 1 << 29, "{steps} {classes} {labels}");
            }
            let Need { doubles, indices, .. } = align::need::<F64x2>(steps, classes, labels);
            assert!(doubles >= 1 << 29 || indices >= 1 << 29, "{steps} {classes} {labels}");
        }
    }
}
