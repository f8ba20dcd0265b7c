//! Lanes: four `f32` or two `f64` side by side, and the mathematics of the kernels on them.
//!
//! One trait, [`Lanes`], and two implementations of it: WebAssembly's simd128 where the build has it, arrays
//! everywhere else (native tests, the scalar build). Both do the same IEEE operations in the same order, no libm
//! is called and nothing is fused, so a kernel written on the trait gives the same bits wherever it runs.
//!
//! This crate is the only one with `unsafe` in it: the simd loads and stores (`simd128.rs`), and turning the
//! addresses that come through the door into slices (`memory.rs`).
#![cfg_attr(all(target_arch = "wasm32", target_feature = "simd128"), no_std)]

pub mod math;
pub mod memory;
pub mod scaled;

/// The functions of [`math`] as methods: the same for either kind of lanes.
macro_rules! mathematics {
    ($math:ident: $($name:ident -> $result:ty),*) => {
        $(
            #[inline(always)]
            fn $name(self) -> $result {
                $math::$name(self)
            }
        )*
    };
    ($math:ident) => {
        mathematics!($math: exp -> Self, ln -> Self, ln_1p_unit -> Self, exp_flushed -> Self,
            exp_halves -> (Self, Self), exp_small -> Self, exp_begun -> (Self, Self::Ints), is_special -> Self::Mask,
            ln_begun -> (Self, Self));
        #[inline(always)]
        fn exp_ended(self, n: Self::Ints) -> Self {
            $math::exp_ended(self, n)
        }
        #[inline(always)]
        fn ln_ended(self, e: Self) -> Self {
            $math::ln_ended(self, e)
        }
    };
}

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
mod portable;
#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
pub use portable::{F32x4, F64x2, I32x4, I64x2, M32x4, M64x2};

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod simd128;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub use simd128::{F32x4, F64x2, I32x4, I64x2, M32x4, M64x2};

use core::ops::{Add, BitAnd, BitOr, Div, Mul, Neg, Not, Sub};

/// A scalar that lanes are made of: `f32` or `f64`.
pub trait Real:
    memory::Plain
    + PartialOrd
    + Default
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + 'static
{
    /// The lanes of this scalar.
    type Lanes: Lanes<Scalar = Self>;
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// Positive infinity.
    const INFINITY: Self;
    /// Not a number.
    const NAN: Self;
    /// The distance from 1 to the next larger number.
    const EPSILON: Self;
    /// The nearest number of this precision.
    fn from_f64(x: f64) -> Self;
    /// The same number in double precision.
    fn to_f64(self) -> f64;
    /// The numbers, where they are of single precision.
    #[inline(always)]
    fn singles(_: &[Self]) -> Option<&[f32]> {
        None
    }
    /// Whether this is NaN.
    #[inline(always)]
    #[allow(clippy::eq_op)]
    fn is_nan(self) -> bool {
        self != self
    }
}

/// Lanes that were compared: all bits of a lane set, or none.
pub trait Mask: Copy + BitAnd<Output = Self> + BitOr<Output = Self> + Not<Output = Self> {
    /// Whether any lane is set.
    fn any(self) -> bool;
    /// Whether all lanes are set.
    fn all(self) -> bool;
}

/// Signed integers as wide as the scalar, side by side; arithmetic wraps.
pub trait Ints:
    Copy + Add<Output = Self> + Sub<Output = Self> + BitAnd<Output = Self> + BitOr<Output = Self>
{
    /// The integer of one lane: `i32` or `i64`.
    type Scalar: Copy;
    /// As many scalars as there are lanes.
    type Array: Copy + AsRef<[Self::Scalar]> + AsMut<[Self::Scalar]>;
    /// What a comparison gives.
    type Mask: Mask;
    /// The same number in every lane (cut to the width of a lane).
    fn splat(x: i64) -> Self;
    /// From an array.
    fn from_array(a: Self::Array) -> Self;
    /// To an array.
    fn to_array(self) -> Self::Array;
    /// Shift left by `n` bits.
    fn shl(self, n: u32) -> Self;
    /// Shift right by `n` bits, copying the sign.
    fn shr(self, n: u32) -> Self;
    /// Shift right by `n` bits, filling with zeros.
    fn shr_logical(self, n: u32) -> Self;
    /// self > other, as signed numbers.
    fn gt(self, other: Self) -> Self::Mask;
    /// self == other.
    fn eq(self, other: Self) -> Self::Mask;
    /// Lane by lane `yes` where the mask is set, else `no`.
    fn select(mask: Self::Mask, yes: Self, no: Self) -> Self;
    /// The larger of the two.
    fn max(self, other: Self) -> Self;
    /// The smaller of the two.
    fn min(self, other: Self) -> Self;
}

/// Numbers of one precision side by side.
pub trait Lanes:
    Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self> + Neg<Output = Self>
{
    /// The number of one lane.
    type Scalar: Real<Lanes = Self>;
    /// As many scalars as there are lanes: `[f32; 4]` or `[f64; 2]`.
    type Array: Copy + AsRef<[Self::Scalar]> + AsMut<[Self::Scalar]>;
    /// What a comparison gives.
    type Mask: Mask;
    /// The bits of the numbers, as integers.
    type Ints: Ints<Mask = Self::Mask>;
    /// How many lanes: 4 or 2.
    const COUNT: usize;
    /// Bits of the mantissa without the hidden one: 23 or 52.
    const MANTISSA_BITS: u32;
    /// The exponent's bias: 127 or 1023.
    const BIAS: i64;

    /// The same number in every lane.
    fn splat(x: Self::Scalar) -> Self;
    /// From an array.
    fn from_array(a: &Self::Array) -> Self;
    /// Into an array.
    fn store(self, to: &mut Self::Array);
    /// A slice as whole arrays and what is left over.
    fn chunks(s: &[Self::Scalar]) -> (&[Self::Array], &[Self::Scalar]);
    /// A slice as whole arrays to write to and what is left over.
    fn chunks_mut(s: &mut [Self::Scalar]) -> (&mut [Self::Array], &mut [Self::Scalar]);

    /// The square root, correctly rounded.
    fn sqrt(self) -> Self;
    /// The magnitude.
    fn abs(self) -> Self;
    /// `other < self ? other : self`: one instruction; where either is NaN the answer is `self`.
    fn min(self, other: Self) -> Self;
    /// `self < other ? other : self`: one instruction; where either is NaN the answer is `self`.
    fn max(self, other: Self) -> Self;
    /// self < other.
    fn lt(self, other: Self) -> Self::Mask;
    /// self <= other.
    fn le(self, other: Self) -> Self::Mask;
    /// self == other.
    fn eq(self, other: Self) -> Self::Mask;
    /// self != other; true where either is NaN.
    fn ne(self, other: Self) -> Self::Mask;
    /// Lane by lane `yes` where the mask is set, else `no`.
    fn select(mask: Self::Mask, yes: Self, no: Self) -> Self;
    /// Lane by lane `x` where the mask is set, else 0: one instruction, where [`Lanes::select`] is three on x86.
    fn keep(mask: Self::Mask, x: Self) -> Self;
    /// The bits of the numbers.
    fn to_bits(self) -> Self::Ints;
    /// The numbers of these bits.
    fn from_bits(bits: Self::Ints) -> Self;
    /// Integers as numbers: exact for |x| <= 2^24 (f32; others are rounded) or |x| < 2^51 (f64).
    fn from_ints(x: Self::Ints) -> Self;
    /// The lanes moved up by one, the last lane of `before` coming in at the bottom:
    /// `[before[last], self[0], self[1], ...]`.
    fn shift_in(self, before: Self) -> Self;
    /// The lanes moved down by one, the first lane of `after` coming in at the top:
    /// `[self[1], ..., after[0]]`.
    fn shift_out(self, after: Self) -> Self;
    /// The lower halves of the two, interleaved: `[self[0], other[0], ...]`.
    fn zip_low(self, other: Self) -> Self;
    /// The upper halves of the two, interleaved: `[self[half], other[half], ...]`.
    fn zip_high(self, other: Self) -> Self;

    /// The lanes in double precision, the upper half added to the lower, on top of `acc`: how sums over a batch are kept.
    fn add_to_f64(self, acc: F64x2) -> F64x2;

    /// exp(x), see [`math`].
    fn exp(self) -> Self;
    /// log(x), see [`math`].
    fn ln(self) -> Self;
    /// log(1 + x) for 0 <= x <= 1, see [`math`].
    fn ln_1p_unit(self) -> Self;
    /// exp(x) for x <= 0, and 0 instead of subnormal results: what a softmax needs.
    fn exp_flushed(self) -> Self;
    /// [`Lanes::exp_flushed`] in two halves, each with a short chain of operations: a number, of which
    /// [`Lanes::exp_small`] is to be multiplied by the second one.
    fn exp_halves(self) -> (Self, Self);
    /// exp(x) for |x| <= ln(2)/2.
    fn exp_small(self) -> Self;
    /// [`Lanes::exp`] in two halves: what [`Lanes::exp_ended`] makes it of.
    fn exp_begun(self) -> (Self, Self::Ints);
    /// exp(self) 2^n.
    fn exp_ended(self, n: Self::Ints) -> Self;
    /// Where [`Lanes::ln`] cannot be taken in halves: what is not normal, positive and finite.
    fn is_special(self) -> Self::Mask;
    /// [`Lanes::ln`] in two halves: the f and e that [`Lanes::ln_ended`] makes it of.
    fn ln_begun(self) -> (Self, Self);
    /// log(1 + self) + e log(2).
    fn ln_ended(self, e: Self) -> Self;

    /// 0 in every lane.
    #[inline(always)]
    fn zero() -> Self {
        Self::splat(Self::Scalar::ZERO)
    }
    /// 1 in every lane.
    #[inline(always)]
    fn one() -> Self {
        Self::splat(Self::Scalar::ONE)
    }
    /// A constant, rounded to the precision of the lanes.
    #[inline(always)]
    fn of(x: f64) -> Self {
        Self::splat(Self::Scalar::from_f64(x))
    }
    /// Lane by lane, each from its number. Nothing is written to be read at once as a vector, for which a processor waits.
    fn from_lanes(lane: impl Fn(usize) -> Self::Scalar) -> Self;
    /// The first lanes from `s`, and `fill` where `s` is too short.
    #[inline(always)]
    fn load_partial(s: &[Self::Scalar], fill: Self::Scalar) -> Self {
        Self::from_lanes(|i| s.get(i).copied().unwrap_or(fill))
    }
    /// The first lanes into `s`, as many as it holds.
    #[inline(always)]
    fn store_partial(self, s: &mut [Self::Scalar]) {
        for (to, from) in s.iter_mut().zip(self.to_array().as_ref()) {
            *to = *from;
        }
    }
    /// An array of one number.
    #[inline(always)]
    fn array(x: Self::Scalar) -> Self::Array {
        Self::splat(x).to_array()
    }
    /// As an array.
    fn to_array(self) -> Self::Array;
    /// The lanes' values added up in their own precision, neighbours first.
    #[inline(always)]
    fn sum(self) -> Self::Scalar {
        match *self.to_array().as_ref() {
            [a, b, c, d] => (a + b) + (c + d),
            [a, b] => a + b,
            _ => Self::Scalar::NAN,
        }
    }
    /// The largest lane, where none is NaN. Without a branch: which lane it is cannot be foreseen.
    #[inline(always)]
    fn max_lane(self) -> Self::Scalar {
        let m = self.max(self.shift_out(self));
        let two = m.shift_out(m);
        let m = m.max(two.shift_out(two));
        m.to_array().as_ref().first().copied().unwrap_or(Self::Scalar::NAN)
    }
    /// -1, 0 or 1 by the sign; 0 where NaN.
    #[inline(always)]
    fn signum(self) -> Self {
        let zero = Self::zero();
        let one = Self::one();
        Self::keep(zero.lt(self), one) - Self::keep(self.lt(zero), one)
    }
}

/// A square of numbers, turned: the first [`Lanes::COUNT`] vectors are in use.
#[inline(always)]
pub fn transpose<L: Lanes>(v: [L; 4]) -> [L; 4] {
    let [v0, v1, v2, v3] = v;
    if L::COUNT == 4 {
        let (a, b) = (v0.zip_low(v2), v0.zip_high(v2));
        let (c, d) = (v1.zip_low(v3), v1.zip_high(v3));
        [a.zip_low(c), a.zip_high(c), b.zip_low(d), b.zip_high(d)]
    } else {
        [v0.zip_low(v1), v0.zip_high(v1), v2, v3]
    }
}

macro_rules! real {
    ($t:ident, $l:ident $(, $singles:item)?) => {
        impl Real for $t {
            type Lanes = $l;
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const INFINITY: Self = $t::INFINITY;
            const NAN: Self = $t::NAN;
            const EPSILON: Self = $t::EPSILON;
            #[inline(always)]
            fn from_f64(x: f64) -> Self {
                x as $t
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                self as f64
            }
            $(#[inline(always)] $singles)?
        }
    };
}
real!(
    f32,
    F32x4,
    fn singles(s: &[f32]) -> Option<&[f32]> {
        Some(s)
    }
);
real!(f64, F64x2);
