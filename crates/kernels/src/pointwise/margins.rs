//! Hinges: nothing is paid on the right side of a margin. At the kink the slope is that of the side that pays.
use super::Block;
use lanes::Lanes;

/// max(0, margin - t (x1 - x2)).
pub fn margin_ranking_loss<L: Lanes>(block: &mut Block<L>) {
    let (zero, margin) = (L::zero(), block.p(0));
    block.each(|[x1, x2, t]: [L; 3], []| {
        let z = margin - t * (x1 - x2);
        let slope = L::keep(zero.le(z), t);
        (z.max(zero), [-slope, slope])
    });
}

/// x where t = 1, max(0, margin - x) where t = -1.
pub fn hinge_embedding_loss<L: Lanes>(block: &mut Block<L>) {
    let (zero, one, margin) = (L::zero(), L::one(), block.p(0));
    block.each(|[x, t]: [L; 2], []| {
        let is_alike = t.eq(one);
        let z = margin - x;
        let apart = L::keep(zero.le(z), -one);
        (L::select(is_alike, x, z.max(zero)), [L::select(is_alike, one, apart)])
    });
}
