//! The elementary functions over a block. They are long: there is one copy of each for all losses.
use lanes::Lanes;

/// Over a block, in place.
#[inline(always)]
fn map<L: Lanes>(block: &mut [L::Array], f: impl Fn(L) -> L) {
    for x in block {
        f(L::from_array(x)).store(x);
    }
}

/// log x.
#[inline(never)]
pub fn ln<L: Lanes>(block: &mut [L::Array]) {
    map::<L>(block, L::ln);
}

/// exp x.
#[inline(never)]
pub fn exp<L: Lanes>(block: &mut [L::Array]) {
    map::<L>(block, L::exp);
}

/// e = exp(-|x|) without subnormal numbers, and log(1 + e). In three loops: in one, the chain of dependent operations is longer
/// than what a processor looks ahead, and it takes twice as long (measured).
#[inline(never)]
pub fn logistic<L: Lanes>(x: &[L::Array], e: &mut [L::Array], tail: &mut [L::Array]) {
    let sign = L::of(-0.0).to_bits();
    for ((x, e), tail) in x.iter().zip(e.iter_mut()).zip(tail.iter_mut()) {
        let (r, scale) = L::from_bits(L::from_array(x).to_bits() | sign).exp_halves();
        r.store(e);
        scale.store(tail);
    }
    for (e, scale) in e.iter_mut().zip(tail.iter()).take(x.len()) {
        (L::from_array(e).exp_small() * L::from_array(scale)).store(e);
    }
    for (e, tail) in e.iter().zip(tail).take(x.len()) {
        L::from_array(e).ln_1p_unit().store(tail);
    }
}

/// x^p for x >= 0.
#[inline(never)]
pub fn power<L: Lanes>(block: &mut [L::Array], p: f64) {
    if p == 0.0 {
        map::<L>(block, |_| L::one());
    } else if p == 2.0 {
        map::<L>(block, |x| x * x);
    } else {
        let p = L::of(p);
        ln::<L>(block);
        map::<L>(block, |x| p * x);
        exp::<L>(block);
    }
}
