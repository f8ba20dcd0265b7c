//! Losses of all the answers of a sample, each with its probability exp(-beta E) / sum exp(-beta E).
use super::Row;
use crate::rowwise::softmax::{exp_down, largest, ln, scaled_exponential, scaled_exponentials};
use crate::rowwise::{load, load_tail, store, vectors};
use lanes::{F64x2, Lanes, Real};

/// The answers' weights: `exp(beta (least - E) + m - shift)`, all at most 1.
struct Weights {
    /// The lowest energy.
    least: f64,
    /// The largest exponent: 0 without a measure.
    shift: f64,
    /// All weights together.
    sum: f64,
    /// The correct answer's.
    own: f64,
}

/// The weights, which are written to the gradient's place unless that is empty.
///
/// The lowest energy is taken out before beta multiplies, so what beta magnifies are differences that are exact where they
/// matter, and nothing overflows however large beta is. As in [`crate::rowwise::softmax`] an infinite lowest energy leaves 0
/// or NaN for each weight, as the formula has it.
fn weights<L: Lanes>(row: &mut Row<L::Scalar>) -> Weights {
    // an infinite beta leaves those of lowest energy, and 0 times it must be 0
    let most = if L::COUNT == 4 { 1e38 } else { 1e308 };
    let by = if row.p[0] < most { -row.p[0] } else { -most };
    if !row.table.is_empty() {
        return measured::<L>(row, by);
    }
    let e = scaled_exponentials::<L>(row.x, by, row.grad);
    let own = scaled_exponential::<L>(row.own, L::Scalar::from_f64(e.max), by);
    Weights { least: e.max, shift: 0.0, sum: e.sum, own }
}

/// The same with a measure, whose logarithms are added to the exponents: then the largest exponent need not be 0.
#[inline(never)]
fn measured<L: Lanes>(row: &mut Row<L::Scalar>, by: f64) -> Weights {
    let (zero, infinity) = (L::Scalar::ZERO, L::Scalar::INFINITY);
    let n = vectors::<L>(row.x.len());
    let least = largest::<L>(row.x, true);
    let exponent = |i| exponent::<L>(row.x, row.table, i, least, by);
    let finite = |x: f64| x.abs() < f64::INFINITY;
    let least_is_finite = finite(least.to_f64());
    let mut top = L::splat(-infinity);
    for i in 0..n {
        top = top.max(exponent(i));
    }
    let shift = if least_is_finite { top.max_lane() } else { zero };
    let (mut sum, mut own) = (F64x2::zero(), f64::NAN);
    for i in 0..n {
        let weight = exp_down(exponent(i) - L::splat(shift));
        sum = weight.add_to_f64(sum);
        if i == row.answer / L::COUNT {
            own = weight.to_array().as_ref().get(row.answer % L::COUNT).map_or(own, |w| w.to_f64());
        }
        store(row.grad, i, weight);
    }
    let mut sum = sum.sum();
    if !(least_is_finite && finite(shift.to_f64())) {
        let bad = |s: &[L::Scalar]| s.iter().any(|x| x.is_nan());
        // energies that are all infinite have no share either
        let none = least.to_f64() == f64::INFINITY;
        sum = if none || bad(row.x) || bad(row.table) { f64::NAN } else { 1.0 };
    }
    Weights { least: least.to_f64(), shift: shift.to_f64(), sum, own }
}

/// The exponents of a vector of answers, the lowest energy taken out; what the measure says of one that is not there is not looked
/// at. One copy of this code: measures are seldom.
#[inline(never)]
fn exponent<L: Lanes>(x: &[L::Scalar], measure: &[L::Scalar], i: usize, least: L::Scalar, by: f64) -> L {
    let infinity = L::splat(L::Scalar::INFINITY);
    let x = load::<L>(x, i, L::Scalar::INFINITY);
    let t = (x - L::splat(least)) * L::of(by) + load::<L>(measure, i, L::Scalar::ZERO);
    L::select(x.eq(infinity), -infinity, t)
}

/// From the weights of all answers to the gradient, their negatives times a factor, and the correct answer's own slope. An answer
/// that is not there gets 0, not -0.
#[inline(never)]
fn finish<L: Lanes>(row: &mut Row<L::Scalar>, by: f64, own: f64) {
    let factor = L::of(row.scale * by);
    let (whole, tail) = L::chunks_mut(row.grad);
    for a in whole {
        (L::zero() - L::from_array(a) * factor).store(a);
    }
    (L::zero() - load_tail::<L>(tail, L::Scalar::ZERO) * factor).store_partial(tail);
    if let Some(to) = row.grad.get_mut(row.answer) {
        *to = L::Scalar::from_f64(row.scale * own);
    }
}

/// E(Y) + 1/beta log sum_y exp(-beta E(y) + m(y)); the gradient is 1 at Y less the probability of each answer.
pub fn nll_loss<L: Lanes>(row: &mut Row<L::Scalar>) -> f64 {
    let w = weights::<L>(row);
    finish::<L>(row, 1.0 / w.sum, (w.sum - w.own) / w.sum);
    (row.own.to_f64() - w.least) + (w.shift + ln(w.sum)) / row.p[0]
}

/// 1 - P(Y); the gradient is beta P(Y) times 1 at Y less the probability of each answer.
pub fn mee_loss<L: Lanes>(row: &mut Row<L::Scalar>) -> f64 {
    let w = weights::<L>(row);
    let error = (w.sum - w.own) / w.sum;
    let slope = row.p[0] * w.own / w.sum;
    finish::<L>(row, slope / w.sum, slope * error);
    error
}
