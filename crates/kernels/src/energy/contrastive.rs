//! The sum over the incorrect answers, each against the correct one.
//!
//! All answers go through one function, [`sweep`]. What must not count, the correct answer itself and what is behind the row's end,
//! is made an energy of +Infinity in a copy of its vector, so the loops over all the others need not ask.
use super::Row;
use crate::rowwise::softmax::{exp2_down, ln};
use lanes::{F64x2, Lanes, Real};

/// As many vectors are added up in their own precision before the sum goes on in doubles.
const BLOCK: usize = 64;

/// Where E(Y) is below this, one margin for all is added to it beforehand. A large E(Y) would swallow it, so there it is added to the
/// difference, which keeps its digits.
const LARGE: f64 = 1024.0;

/// What the loops do not change, and what they add up.
struct Terms<L> {
    /// E(Y), and the margin where it was added beforehand.
    base: L,
    /// The margin where there is no table and it was not added.
    shift: L,
    /// Multiplies every gradient.
    scale: L,
    /// Whether H is the logarithm and not the hinge.
    log: bool,
    /// sum max(0, z).
    value: F64x2,
    /// sum H'(z).
    slope: F64x2,
    /// sum log(1 + exp(-|z|)): what is kept as a logarithm, and what is a product still.
    logarithm: f64,
    product: f64,
}

/// sum over y != Y of H(E(Y) - E(y) + C(Y, y)) with H(z) = max(0, z) or log(1 + exp(z)), and C the table or one margin. At the
/// hinge's kink the slope is 0; NaN counts as a violation.
pub fn contrastive_loss<L: Lanes>(row: &mut Row<L::Scalar>) -> f64 {
    let [margin, surrogate] = row.p;
    let own = row.own.to_f64();
    let plain = row.table.is_empty() && own.abs() < LARGE && margin.abs() < f64::INFINITY;
    let mut terms = Terms {
        base: L::of(if plain { own + margin } else { own }),
        shift: if row.table.is_empty() && !plain { L::of(margin) } else { L::zero() },
        scale: L::of(row.scale),
        log: surrogate != 0.0,
        value: F64x2::zero(),
        slope: F64x2::zero(),
        logarithm: 0.0,
        product: 1.0,
    };
    let (whole, tail) = L::chunks(row.x);
    let (margins, margins_tail) = L::chunks(row.table);
    let (grads, grads_tail) = L::chunks_mut(row.grad);
    let (place, lane) = (row.answer / L::COUNT, row.answer % L::COUNT);
    // the vectors before that of the correct answer, that one, those behind it, and what is left over
    let mut from = 0;
    while from < whole.len() {
        let here = from == place;
        let to = match from {
            _ if here => from + 1,
            _ if from < place => place.min(whole.len()),
            _ => whole.len(),
        };
        let x = whole.get(from..to).unwrap_or(&[]);
        let c = margins.get(from..to).unwrap_or(&[]);
        let g = grads.get_mut(from..to).unwrap_or(&mut []);
        match x.first().filter(|_| here) {
            Some(x) => sweep(&mut terms, false, &[filled::<L>(x.as_ref(), Some(lane))], c, g),
            None => sweep(&mut terms, plain, x, c, g),
        }
        from = to;
    }
    if !tail.is_empty() {
        let x = filled::<L>(tail, Some(lane).filter(|_| place == whole.len()));
        let c = L::load_partial(margins_tail, L::Scalar::ZERO).to_array();
        let c = Some(c).filter(|_| !margins_tail.is_empty());
        let mut g = x;
        sweep(&mut terms, false, &[x], c.as_slice(), core::slice::from_mut(&mut g));
        L::from_array(&g).store_partial(grads_tail);
    }
    if let Some(to) = row.grad.get_mut(row.answer) {
        *to = L::Scalar::from_f64(row.scale * terms.slope.sum());
    }
    terms.value.sum() + (terms.logarithm + ln(terms.product))
}

/// A vector of energies, with +Infinity where there are not enough, and in one lane.
#[inline(never)]
fn filled<L: Lanes>(x: &[L::Scalar], lane: Option<usize>) -> L::Array {
    let mut a = L::load_partial(x, L::Scalar::INFINITY).to_array();
    if let Some(to) = lane.and_then(|lane| a.as_mut().get_mut(lane)) {
        *to = L::Scalar::INFINITY;
    }
    a
}

/// Adds up vectors of answers, and writes their gradients where there is room for them. With `plain` there is no table, and no z
/// can come out of two infinities.
///
/// log(1 + exp(z)) is max(0, z) + log(1 + t) with t = exp(-|z|). The logarithms are taken at once, as that of the product of the
/// 1 + t: for a block in the precision of the lanes, less 1, so that small t keep their digits (at most 2^32), then in doubles.
///
/// A block is gone through twice, for t and then for all else: in one loop, what waits for the exponential and then for the
/// division is too long for a processor to look ahead over (measured: 1.2 times the time).
#[inline(never)]
fn sweep<L: Lanes>(terms: &mut Terms<L>, plain: bool, x: &[L::Array], c: &[L::Array], g: &mut [L::Array]) {
    let (zero, one) = (L::zero(), L::one());
    let infinity = L::splat(L::Scalar::INFINITY);
    let &mut Terms { base, shift, scale, log, .. } = terms;
    let nothing = L::array(L::Scalar::ZERO);
    let (mut zs, mut ts, mut spare) = ([nothing; BLOCK], [nothing; BLOCK], [nothing; BLOCK]);
    let (mut c, mut g) = (c.chunks(BLOCK), g.chunks_mut(BLOCK));
    for mut x in x.chunks(BLOCK) {
        let mut base = base;
        if !plain {
            let mut c = c.next().unwrap_or(&[]).iter();
            for (x, to) in x.iter().zip(&mut zs) {
                let x = L::from_array(x);
                let z = (base - x) + c.next().map_or(shift, L::from_array);
                // what is not there violates nothing
                L::select(x.eq(infinity), infinity, -z).store(to);
            }
            // z is 0 less what stands here now
            base = zero;
            x = zs.get(..x.len()).unwrap_or(&[]);
        }
        if log {
            for (x, t) in x.iter().zip(&mut ts) {
                let z = base - L::from_array(x);
                exp2_down(z.abs() * L::of(-core::f64::consts::LOG2_E)).store(t);
            }
        }
        let (mut value, mut slopes, mut product, mut other) = (zero, zero, zero, zero);
        // where no gradient is wanted it is written aside, which costs less than to ask each time
        let to = g.next().unwrap_or(&mut spare);
        for ((x, t), to) in x.iter().zip(&ts).zip(to) {
            let z = base - L::from_array(x);
            let passive = z.le(zero);
            // where z is NaN it stays
            value = value + z.max(zero);
            let mut slope = L::select(passive, zero, one);
            if log {
                let t = L::from_array(t);
                let u = one + t;
                // two products by turns: one need not wait for the other
                (product, other) = (other, product * u + t);
                slope = L::select(passive, t, one) / u;
            }
            slopes = slopes + slope;
            (zero - slope * scale).store(to);
        }
        terms.value = value.add_to_f64(terms.value);
        terms.slope = slopes.add_to_f64(terms.slope);
        if log {
            let mut all = 1.0;
            for q in (product + (other + product * other)).to_array().as_ref() {
                all *= 1.0 + q.to_f64();
            }
            terms.product *= all;
            if terms.product > 1e150 {
                terms.logarithm += ln(terms.product);
                terms.product = 1.0;
            }
        }
    }
}
