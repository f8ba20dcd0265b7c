//! The elementary functions over a block. They are long: there is one copy of each for all losses.
//!
//! Each goes over its block in loops of short chains of operations: of a long chain a processor has but few vectors under way. And each
//! loop ends in one place: out of others V8 (Node 20) does not move constants, but makes them anew each time, in three instructions.
use lanes::{Lanes, Mask};

/// log x; what x was is lost.
#[inline(never)]
pub fn ln<L: Lanes>(x: &mut [L::Array], to: &mut [L::Array]) {
    let none = L::zero().ne(L::zero());
    if x.iter().fold(none, |any, x| any | L::from_array(x).is_special()).any() {
        x.iter().zip(to).for_each(|(x, to)| L::from_array(x).ln().store(to));
        return;
    }
    for (x, to) in x.iter_mut().zip(to.iter_mut()) {
        let (f, e) = L::from_array(x).ln_begun();
        f.store(to);
        e.store(x);
    }
    for (e, to) in x.iter().zip(to) {
        L::from_array(to).ln_ended(L::from_array(e)).store(to);
    }
}

/// exp x; what x was is lost.
#[inline(never)]
pub fn exp<L: Lanes>(x: &mut [L::Array], to: &mut [L::Array]) {
    for (x, to) in x.iter_mut().zip(to.iter_mut()) {
        let (r, n) = L::from_array(x).exp_begun();
        r.store(to);
        // whatever these are as numbers, only moved
        L::from_bits(n).store(x);
    }
    for (n, to) in x.iter().zip(to) {
        L::from_array(to).exp_ended(L::from_array(n).to_bits()).store(to);
    }
}

/// e = exp(-|x|) without subnormal numbers, and log(1 + e). In one loop it takes twice as long (measured).
#[inline(never)]
pub fn logistic<L: Lanes>(x: &[L::Array], e: &mut [L::Array], tail: &mut [L::Array]) {
    let n = x.len();
    let (Some(e), Some(tail)) = (e.get_mut(..n), tail.get_mut(..n)) else { return };
    let sign = L::of(-0.0).to_bits();
    for ((x, e), tail) in x.iter().zip(e.iter_mut()).zip(tail.iter_mut()) {
        let (r, scale) = L::from_bits(L::from_array(x).to_bits() | sign).exp_halves();
        r.store(e);
        scale.store(tail);
    }
    for (e, scale) in e.iter_mut().zip(tail.iter()) {
        (L::from_array(e).exp_small() * L::from_array(scale)).store(e);
    }
    for (e, tail) in e.iter().zip(tail) {
        L::from_array(e).ln_1p_unit().store(tail);
    }
}

/// x^p for x >= 0; what x was is lost.
#[inline(never)]
pub fn power<L: Lanes>(x: &mut [L::Array], to: &mut [L::Array], p: f64) {
    if p == 0.0 || p == 2.0 {
        for (to, x) in to.iter_mut().zip(x) {
            let x = L::from_array(x);
            if p == 0.0 { L::one() } else { x * x }.store(to);
        }
        return;
    }
    ln::<L>(x, to);
    for (to, x) in to.iter().zip(&mut *x) {
        (L::of(p) * L::from_array(to)).store(x);
    }
    exp::<L>(x, to);
}
