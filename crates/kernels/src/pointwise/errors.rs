//! Distances between input and target. With d = x - t the derivative with respect to t is that with respect to x, negated.
use super::Block;
use lanes::{Ints, Lanes, Real};

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

/// d^2 / (2 beta) where |d| < beta, else |d| - beta / 2: of d cut to c in [-beta, beta] both are c / beta (d - c / 2).
pub fn smooth_l1_loss<L: Lanes>(block: &mut Block<L>) {
    // with the least number there is instead of 0 all of that is the absolute error, to the bit
    let (beta, half) = (block.p(0).max(L::from_bits(L::Ints::splat(1))), L::of(0.5));
    block.each(|[x, t]: [L; 2], []| {
        let d = x - t;
        let c = d.max(-beta).min(beta);
        let slope = c / beta;
        (slope * (d - half * c), both_ways(slope))
    });
}

/// d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2): of d cut to c in [-delta, delta] both are c (d - c / 2).
pub fn huber_loss<L: Lanes>(block: &mut Block<L>) {
    let (delta, half) = (block.p(0), L::of(0.5));
    // an infinite d less half of it is infinite
    let most = L::from_bits(L::splat(L::Scalar::INFINITY).to_bits() - L::Ints::splat(1));
    block.each(|[x, t]: [L; 2], []| {
        let d = x - t;
        let c = d.max(-delta).min(delta);
        (c * (d - (half * c).max(-most).min(most)), both_ways(c))
    });
}

#[inline(always)]
fn both_ways<L: Lanes>(slope: L) -> [L; 2] {
    [slope, -slope]
}
