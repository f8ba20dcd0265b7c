//! Distances between input and target. With d = x - t the derivative with respect to t is that with respect to x, negated.
use super::Block;
use lanes::Lanes;

/// |d|; at 0 the slope is 0.
pub fn l1_loss<L: Lanes>(block: &mut Block<L>) {
    block.each(|[x, t]: [L; 2], []| {
        let d = x - t;
        (d.abs(), both_ways(d.signum()))
    });
}

/// d^2.
pub fn mse_loss<L: Lanes>(block: &mut Block<L>) {
    block.each(|[x, t]: [L; 2], []| {
        let d = x - t;
        (d * d, both_ways(d + d))
    });
}

/// d^2 / (2 beta) where |d| < beta, else |d| - beta / 2.
pub fn smooth_l1_loss<L: Lanes>(block: &mut Block<L>) {
    let (beta, half) = (block.p(0), L::of(0.5));
    block.each(|[x, t]: [L; 2], []| {
        let d = x - t;
        let size = d.abs();
        let is_small = size.lt(beta);
        let slope = d / beta;
        let value = L::select(is_small, half * d * slope, size - half * beta);
        // NaN keeps itself
        let sign = L::select(d.eq(d), d.signum(), d);
        (value, both_ways(L::select(is_small, slope, sign)))
    });
}

/// d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2).
pub fn huber_loss<L: Lanes>(block: &mut Block<L>) {
    let (delta, half) = (block.p(0), L::of(0.5));
    block.each(|[x, t]: [L; 2], []| {
        let d = x - t;
        let size = d.abs();
        let value = L::select(size.le(delta), half * d * d, delta * (size - half * delta));
        (value, both_ways(d.max(-delta).min(delta)))
    });
}

#[inline(always)]
fn both_ways<L: Lanes>(slope: L) -> [L; 2] {
    [slope, -slope]
}
