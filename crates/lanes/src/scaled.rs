//! Numbers without a least and a largest: a mantissa and, apart from it, an exponent of two, on lanes.
//!
//! A product of ten thousand probabilities leaves the range of every float, and its logarithm leaves precision
//! behind: the digits before the point are taken from those after it. A [`Scaled`] number keeps all bits of its mantissa
//! at any size. The exponent is a float as well (a whole number): simd128 compares and converts floats in one
//! instruction and 64-bit integers not at all.
//!
//! Zero has the exponent [`NOTHING`], below every other, so that it never hides a small neighbour in a sum.
use crate::{Ints, Lanes};

/// The exponent of zero. Sums of a few of these are still finite.
const NOTHING: f64 = -1e300;
/// 1.5 * 2^52 + 1023: added to a small whole number it leaves the bits of a double's exponent in the lowest bits.
const MAGIC: f64 = 6755399441055744.0;

/// mantissa * 2^exponent, lane by lane.
#[derive(Clone, Copy, Debug)]
pub struct Scaled {
    /// In [1, 2) after [`Scaled::normal`], or 0.
    pub mantissa: crate::F64x2,
    /// A whole number.
    pub exponent: crate::F64x2,
}

/// 2^d for whole d in [-1022, 1023]; 0 below.
#[inline(always)]
pub fn pow2(d: crate::F64x2) -> crate::F64x2 {
    type V = crate::F64x2;
    let d = d.max(V::splat(-1023.0)).min(V::splat(1023.0));
    V::from_bits((d + V::splat(MAGIC + 1023.0)).to_bits().shl(52))
}

/// The whole numbers e with 2^e <= x < 2^(e+1), for normal x > 0.
#[inline(always)]
pub fn exponents(x: crate::F64x2) -> crate::F64x2 {
    type I = <crate::F64x2 as Lanes>::Ints;
    crate::F64x2::from_ints(x.to_bits().shr_logical(52) - I::splat(1023))
}

impl Scaled {
    /// 0 in every lane.
    #[inline(always)]
    pub fn zero() -> Self {
        Self { mantissa: Lanes::zero(), exponent: Lanes::of(NOTHING) }
    }
    /// From what [`Scaled::store`] left.
    #[inline(always)]
    pub fn load(from: &[[f64; 2]; 2]) -> Self {
        Self { mantissa: Lanes::from_array(&from[0]), exponent: Lanes::from_array(&from[1]) }
    }
    /// Mantissas, then exponents.
    #[inline(always)]
    pub fn store(self, to: &mut [[f64; 2]; 2]) {
        self.mantissa.store(&mut to[0]);
        self.exponent.store(&mut to[1]);
    }
    /// exp(x) for any x but +Infinity; exp(-Infinity) is 0.
    #[inline(always)]
    pub fn exp(x: crate::F64x2) -> Self {
        type V = crate::F64x2;
        let dead = x.eq(V::splat(-f64::INFINITY));
        let x = x.max(V::splat(-1e290));
        let n = x * V::splat(core::f64::consts::LOG2_E);
        // beyond 2^50 every double is whole already
        let n =
            V::select(n.abs().lt(V::splat(1125899906842624.0)), (n + V::splat(MAGIC)) - V::splat(MAGIC), n);
        let r = (x - n * V::splat(6.931_471_803_691_238e-1)) - n * V::splat(1.908_214_929_270_587_7e-10);
        let r = r.max(V::splat(-0.35)).min(V::splat(0.35));
        let zero = Self::zero();
        Self {
            mantissa: V::select(dead, zero.mantissa, r.exp_small()),
            exponent: V::select(dead, zero.exponent, n),
        }
        .normal()
    }
    /// The same number with a mantissa in [1, 2).
    #[inline(always)]
    pub fn normal(self) -> Self {
        type V = crate::F64x2;
        type I = <V as Lanes>::Ints;
        let bits = self.mantissa.to_bits();
        let exponent = self.exponent + exponents(self.mantissa);
        let mantissa =
            V::from_bits((bits & I::splat(0x000f_ffff_ffff_ffff)) | I::splat(0x3ff0_0000_0000_0000));
        let some = V::zero().lt(self.mantissa);
        let zero = Self::zero();
        Self {
            mantissa: V::select(some, mantissa, zero.mantissa),
            exponent: V::select(some, exponent, zero.exponent),
        }
    }
    /// Where the mask is set this number, elsewhere 0.
    #[inline(always)]
    pub fn only(self, mask: <crate::F64x2 as Lanes>::Mask) -> Self {
        let zero = Self::zero();
        Self {
            mantissa: Lanes::select(mask, self.mantissa, zero.mantissa),
            exponent: Lanes::select(mask, self.exponent, zero.exponent),
        }
    }
    /// The sum of two, not normalised: the larger exponent wins, the other mantissa is scaled down to it.
    #[inline(always)]
    pub fn plus(self, other: Self) -> Self {
        let exponent = self.exponent.max(other.exponent);
        Self {
            mantissa: self.mantissa * pow2(self.exponent - exponent)
                + other.mantissa * pow2(other.exponent - exponent),
            exponent,
        }
    }
    /// The product, not normalised.
    #[inline(always)]
    pub fn times(self, other: Self) -> Self {
        Self { mantissa: self.mantissa * other.mantissa, exponent: self.exponent + other.exponent }
    }
    /// The lanes moved up by one, the last of `before` coming in at the bottom.
    #[inline(always)]
    pub fn shift_in(self, before: Self) -> Self {
        Self {
            mantissa: self.mantissa.shift_in(before.mantissa),
            exponent: self.exponent.shift_in(before.exponent),
        }
    }
    /// The lanes moved down by one, the first of `after` coming in at the top.
    #[inline(always)]
    pub fn shift_out(self, after: Self) -> Self {
        Self {
            mantissa: self.mantissa.shift_out(after.mantissa),
            exponent: self.exponent.shift_out(after.exponent),
        }
    }
    /// As a plain double: Infinity or 0 where it does not fit.
    #[inline(always)]
    pub fn to_lanes(self) -> crate::F64x2 {
        let half = self.exponent.max(Lanes::of(-1022.0)).min(Lanes::of(1023.0));
        let rest = self.exponent - half;
        self.mantissa * pow2(half) * pow2(rest)
    }
    /// The natural logarithm of lane `i`; -Infinity of 0.
    #[inline(always)]
    pub fn ln(self, i: usize) -> f64 {
        let m = self.mantissa.ln().to_array();
        let e = self.exponent.to_array();
        match (m.get(i), e.get(i)) {
            (Some(&m), Some(&e)) if -f64::INFINITY < m => m + e * core::f64::consts::LN_2,
            _ => -f64::INFINITY,
        }
    }
}

/// The whole number `e` with 2^e <= x < 2^(e+1), for a normal x > 0.
#[inline(always)]
pub fn exponent_of(x: f64) -> f64 {
    ((x.to_bits() >> 52) & 0x7ff) as f64 - 1023.0
}

/// 2^d for one whole number, 0 below -1022, and no more than 2^1023.
#[inline(always)]
pub fn pow2_one(d: f64) -> f64 {
    let d = if d < -1023.0 { -1023.0 } else { d };
    let d = if d > 1023.0 { 1023.0 } else { d };
    f64::from_bits((d + (MAGIC + 1023.0)).to_bits() << 52)
}
