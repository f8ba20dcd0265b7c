//! Losses of two classes. s is the sigmoid; what all on logits share is e = exp(-|x|), from which s(|x|) = 1 / (1 + e) and
//! -log s(|x|) = log(1 + e) come without overflow.
use super::{functions, Block};
use lanes::{Ints, Lanes, Mask, Real};

/// The least x (1 - x) that the gradient of [`bce_loss`] divides by: PyTorch's constant, which is a float32.
const BCE_EPSILON: f64 = 1e-12_f32 as f64;

/// -(t log x + (1 - t) log(1 - x)), each logarithm at least -100.
pub fn bce_loss<L: Lanes>(block: &mut Block<L>) {
    let (one, least, epsilon) = (L::one(), L::of(-100.0), L::of(BCE_EPSILON));
    block.prepare(0, functions::ln::<L>, |[x]: [L; 1], []| x);
    block.prepare(1, functions::ln::<L>, |[x]: [L; 1], []| one - x);
    block.each(|[x, t]: [L; 2], [log_x, log_not_x]| {
        // what rounding 1 - x lost, put back to first order
        let not_x = one - x;
        let lost = (one - not_x) - x;
        let log_not_x = L::select(lost.eq(L::zero()), log_not_x, log_not_x + lost / not_x);
        let (log_x, log_not_x) = (log_x.max(least), log_not_x.max(least));
        let value = (t - one) * log_not_x - t * log_x;
        (value, [(x - t) / (x * (one - x)).max(epsilon), log_not_x - log_x])
    });
}

/// factor * size, in which a factor of 0 wins over an infinite size: what has no share adds nothing.
#[inline(always)]
fn share<L: Lanes>(factor: L, size: L) -> L {
    let zero = L::zero();
    let is_infinite = size.eq(L::splat(L::Scalar::INFINITY));
    let product = factor * size;
    if !is_infinite.any() {
        return product;
    }
    L::select(factor.eq(zero) & is_infinite, zero, product)
}

/// The sign of x as bits, and whether it is that of negative numbers.
#[inline(always)]
fn sign<L: Lanes>(x: L) -> (L::Ints, L::Mask) {
    (x.to_bits() & L::of(-0.0).to_bits(), L::Ints::splat(0).gt(x.to_bits()))
}

/// y, negated where the sign is that of negative numbers: adding to the highest bit turns it over.
#[inline(always)]
fn turned<L: Lanes>(y: L, sign: L::Ints) -> L {
    L::from_bits(y.to_bits() + sign)
}

/// -(w t log s(x) + (1 - t) log s(-x)), w being posWeight.
pub fn bce_with_logits_loss<L: Lanes>(block: &mut Block<L>) {
    let one = L::one();
    block.prepare_logistic();
    if block.pos_weight.is_empty() {
        block.each(|[x, t]: [L; 2], [e, tail]| {
            let (sign, is_negative) = sign(x);
            // the loss is log(1 + e) on the side that x is on, and |x| more on the other
            let against = L::select(is_negative, t, one - t);
            let slope = against - e / (one + e);
            (share(against, turned(x, sign)) + tail, [turned(slope, sign), -x])
        });
        return;
    }
    let [x, t, _] = block.inputs;
    block.inputs = [x, t, block.pos_weight];
    block.each(|[x, t, w]: [L; 3], [e, tail]| {
        let (sign, is_negative) = sign(x);
        let (of_positive, of_negative) = (w * t, one - t);
        let both = of_positive + of_negative;
        let against = L::select(is_negative, of_positive, of_negative);
        let slope = against - both * (e / (one + e));
        let of_target = (w - one) * tail - L::select(is_negative, w * x, x);
        (share(against, turned(x, sign)) + both * tail, [turned(slope, sign), of_target])
    });
}

/// log(1 + exp(-t x)).
pub fn soft_margin_loss<L: Lanes>(block: &mut Block<L>) {
    let (zero, one) = (L::zero(), L::one());
    block.prepare_logistic_of(|[x, t]: [L; 2]| t * x);
    block.each(|[x, t]: [L; 2], [e, tail]| {
        let z = -t * x;
        let sigmoid = L::select(zero.le(z), one, e) / (one + e);
        (z.max(zero) + tail, [-t * sigmoid])
    });
}

/// a q^gamma BCE(x, t), with q = s(x) (1 - t) + s(-x) t how far the prediction is off, and a = alpha t + (1 - alpha) (1 - t), or
/// 1 where alpha < 0.
pub fn sigmoid_focal_loss<L: Lanes>(block: &mut Block<L>) {
    let (zero, one) = (L::zero(), L::one());
    let [alpha, gamma, _] = block.p;
    let (of_positive, of_negative) =
        if alpha < 0.0 { (one, one) } else { (L::of(alpha), L::of(1.0 - alpha)) };
    let power = L::of(gamma);
    // targets beyond 0 and 1 can make q negative: it has a power where gamma is a whole number
    let whole = gamma as i64;
    let sign = if whole as f64 != gamma { f64::NAN } else { 1.0 - 2.0 * (whole & 1) as f64 };
    // s(x), s(-x) and q
    let predicted = |[x, t]: [L; 2], e: L| {
        let (near, far) = (one / (one + e), e / (one + e));
        let is_positive = zero.le(x);
        let (p, not_p) = (L::select(is_positive, near, far), L::select(is_positive, far, near));
        (p, not_p, p * (one - t) + not_p * t)
    };
    block.prepare_logistic();
    block.prepare(2, |q, to| functions::power::<L>(q, to, gamma), |x, [e]| predicted(x, e).2.abs());
    block.each(|[x, t]: [L; 2], [e, tail, focus]| {
        let (p, not_p, q) = predicted([x, t], e);
        let focus = L::select(q.lt(zero), L::of(sign) * focus, focus);
        let not_t = one - t;
        let bce = share(L::select(zero.le(x), not_t, t), x.abs()) + tail;
        let a = of_positive * t + of_negative * not_t;
        // d(q^gamma) = gamma q^gamma dq / q, and where dq is 0 that is all
        let dq = p * not_p * (not_t - t);
        let pull = L::select(dq.eq(zero) | power.eq(zero), zero, bce * power * focus * (dq / q));
        (a * focus * bce, [a * (focus * (p - t) + pull)])
    });
}
