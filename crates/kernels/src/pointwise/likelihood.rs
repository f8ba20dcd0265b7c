//! Losses of distributions: what a target costs under the one that the inputs describe.
use super::{functions, Block};
use lanes::{Lanes, Real};

/// log(2 pi) / 2.
const HALF_LN_2_PI: f64 = 0.918_938_533_204_672_7;

/// t (log t - x), or exp(t) (t - x) with logTarget; 0 where the target's probability is.
pub fn kl_div_loss<L: Lanes>(block: &mut Block<L>) {
    let (zero, one) = (L::zero(), L::one());
    if block.flag(0) {
        block.prepare(0, functions::exp::<L>, |[_, t]: [L; 2], []| t);
        block.each(|[x, t]: [L; 2], [q]| {
            let gap = t - x;
            let has_share = q.ne(zero);
            (L::keep(has_share, q * gap), [-q, L::keep(has_share, q * (gap + one))])
        });
    } else {
        block.prepare(0, functions::ln::<L>, |[_, t]: [L; 2], []| t);
        block.each(|[x, t]: [L; 2], [log_t]| {
            let gap = log_t - x;
            (L::keep(t.ne(zero), t * gap), [-t, gap + one])
        });
    }
}

/// exp(x) - t x, or x - t log(x + eps) without logInput. With `full` also Stirling's approximation of log t!, for t > 1:
/// t log t - t + log(2 pi t) / 2.
pub fn poisson_nll_loss<L: Lanes>(block: &mut Block<L>) {
    let one = L::one();
    let (is_log, is_full, eps) = (block.flag(0), block.flag(1), block.p(2));
    if is_full {
        block.prepare(1, functions::ln::<L>, |[_, t]: [L; 2], []| t);
    }
    // up to where Stirling's term is left out
    let until = if is_full { one } else { L::splat(L::Scalar::INFINITY) };
    let stirling = |t: L, log_t: L| {
        let value = (t + L::of(0.5)) * log_t - t + L::of(HALF_LN_2_PI);
        L::keep(!t.le(until), value)
    };
    if is_log {
        block.prepare(0, functions::exp::<L>, |[x]: [L; 1], []| x);
        block.each(|[x, t]: [L; 2], [rate, log_t]| (rate - t * x + stirling(t, log_t), [rate - t]));
    } else {
        block.prepare(0, functions::ln::<L>, |[x]: [L; 1], []| x + eps);
        block.each(|[x, t]: [L; 2], [log_rate, log_t]| {
            (x - t * log_rate + stirling(t, log_t), [one - t / (x + eps)])
        });
    }
}

/// (log v + (x - t)^2 / v) / 2 with v = max(variance, eps); with `full` also log(2 pi) / 2.
pub fn gaussian_nll_loss<L: Lanes>(block: &mut Block<L>) {
    let (half, eps) = (L::of(0.5), block.p(1));
    let constant = L::of(if block.flag(0) { HALF_LN_2_PI } else { 0.0 });
    block.prepare(0, functions::ln::<L>, |[_, _, variance]: [L; 3], []| variance.max(eps));
    block.each(|[x, t, variance]: [L; 3], [log_v]| {
        let d = x - t;
        let v = variance.max(eps);
        let slope = d / v;
        let ratio = d * slope;
        // the floor is passed over, as if v were the variance itself
        let of_variance = half / v * (L::one() - ratio);
        (half * (log_v + ratio) + constant, [slope, -slope, of_variance])
    });
}
