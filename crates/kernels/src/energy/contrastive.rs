//! The sum over the incorrect answers, each against the correct one.
//!
//! All answers go through one function, [`sweep`]. What must not count, the correct answer itself and what is behind the row's end,
//! is made an energy of +Infinity in a copy of its block, so the loops need not ask.
use super::Row;
use crate::rowwise::softmax::{each_exp2_down, ln};
use crate::rowwise::{load_tail, store_tail};
use lanes::{F64x2, Ints, Lanes, Real};

/// As many vectors are added up in their own precision before the sum goes on in doubles.
pub const BLOCK: usize = 64;

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
    sweep(&mut terms, plain, whole, margins, grads, (place, lane), row.work);
    if !tail.is_empty() {
        let x = load_tail::<L>(tail, L::Scalar::INFINITY).to_array();
        let c = load_tail::<L>(margins_tail, L::Scalar::ZERO).to_array();
        let c = Some(c).filter(|_| !margins_tail.is_empty());
        let mut g = x;
        let answer = (place.wrapping_sub(whole.len()), lane);
        sweep(&mut terms, plain, &[x], c.as_slice(), core::slice::from_mut(&mut g), answer, row.work);
        store_tail(grads_tail, L::from_array(&g));
    }
    if let Some(to) = row.grad.get_mut(row.answer) {
        *to = L::Scalar::from_f64(row.scale * terms.slope.sum());
    }
    terms.value.sum() + (terms.logarithm + ln(terms.product))
}

/// Room for a block of vectors: of what is written nowhere else, and of energies.
pub type Work<L> = [[<L as Lanes>::Array; BLOCK]; 2];

/// Adds up vectors of answers, and writes their gradients where there is room for them. With `plain` there is no table, and no z
/// can come out of two infinities. `answer` is the vector of the correct answer, and its lane.
///
/// log(1 + exp(z)) is max(0, z) + log(1 + t) with t = exp(-|z|). The logarithms are taken at once, as that of the product of the
/// 1 + t: for a block in the precision of the lanes, less 1, so that small t keep their digits (at most 2^32), then in doubles.
///
/// A block is gone through first for t, which stands where the gradient will, and then for all else: in one loop, what waits for the
/// exponential and then for the division is too long for a processor to look ahead over (measured: 1.2 times the time).
#[inline(never)]
fn sweep<L: Lanes>(
    terms: &mut Terms<L>,
    plain: bool,
    x: &[L::Array],
    c: &[L::Array],
    g: &mut [L::Array],
    (place, lane): (usize, usize),
    [spare, copy]: &mut Work<L>,
) {
    let (zero, one) = (L::zero(), L::one());
    let infinity = L::splat(L::Scalar::INFINITY);
    let &mut Terms { base, shift, scale, log, .. } = terms;
    let (mut c, mut g) = (c.chunks(BLOCK), g.chunks_mut(BLOCK));
    let mut before = 0;
    for mut x in x.chunks(BLOCK) {
        let mut base = base;
        let here = place.wrapping_sub(before);
        before += BLOCK;
        if !plain || here < x.len() {
            let mut c = c.next().unwrap_or(&[]).iter();
            for (x, to) in x.iter().zip(copy.iter_mut()) {
                let x = L::from_array(x);
                let z = (base - x) + c.next().map_or(shift, L::from_array);
                // what is not there violates nothing
                L::select(x.eq(infinity), infinity, -z).store(to);
            }
            if let Some(own) = copy.get_mut(here).and_then(|own| own.as_mut().get_mut(lane)) {
                *own = L::Scalar::INFINITY;
            }
            // z is 0 less what stands here now
            base = zero;
            x = copy.get(..x.len()).unwrap_or(&[]);
        }
        // where no gradient is wanted it is written aside, which costs less than to ask each time
        let to = g.next().unwrap_or(spare);
        let (mut value, mut slopes) = (zero, zero);
        if log {
            let (sign, log2_e) = (L::of(-0.0).to_bits(), L::of(core::f64::consts::LOG2_E));
            let sizes = x.iter().map(|x| L::from_bits((base - L::from_array(x)).to_bits() | sign) * log2_e);
            let mut exponentials = to.iter_mut();
            each_exp2_down::<L, BLOCK>(sizes, |t| {
                if let Some(to) = exponentials.next() {
                    t.store(to);
                }
            });
            // two products by turns: one need not wait for the other
            let (mut product, mut other) = (zero, zero);
            for (x, to) in x.iter().zip(to) {
                // -z, whose sign says whether more than t counts
                let away = L::from_array(x) - base;
                let t = L::from_array(to);
                let u = one + t;
                // t is at most 1, and NaN where z is
                let slope = t.max(L::from_bits(away.to_bits().shr(L::MANTISSA_BITS) & one.to_bits())) / u;
                (zero - slope * scale).store(to);
                (product, other) = (other, product * u + t);
                value = value - zero.min(away);
                slopes = slopes + slope;
            }
            let mut all = 1.0;
            for q in (product + (other + product * other)).to_array().as_ref() {
                all *= 1.0 + q.to_f64();
            }
            terms.product *= all;
            if terms.product > 1e150 {
                terms.logarithm += ln(terms.product);
                terms.product = 1.0;
            }
        } else {
            let full = zero - scale;
            for (x, to) in x.iter().zip(to) {
                let z = base - L::from_array(x);
                let passive = z.le(zero);
                L::select(passive, zero, full).store(to);
                value = value + z.max(zero);
                slopes = slopes + L::select(passive, zero, one);
            }
        }
        terms.value = value.add_to_f64(terms.value);
        terms.slope = slopes.add_to_f64(terms.slope);
    }
}
