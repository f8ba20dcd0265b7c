//! Lanes on WebAssembly's simd128.
use crate::math::{double, single};
use crate::{Ints, Lanes, Mask};
use core::arch::wasm32::*;
use core::ops::{Add, BitAnd, BitOr, Div, Mul, Neg, Not, Sub};

macro_rules! operator {
    ($t:ident, $trait:ident, $method:ident, $f:ident) => {
        impl $trait for $t {
            type Output = Self;
            #[inline(always)]
            fn $method(self, o: Self) -> Self {
                Self($f(self.0, o.0))
            }
        }
    };
}

macro_rules! lanes {
    (
        $float:ident($scalar:ident), $ints:ident($int:ident), $mask:ident, $n:literal, $mantissa:literal, $bias:literal, $math:ident, $widen:ident;
        $splat:ident $add:ident $sub:ident $mul:ident $div:ident $neg:ident $sqrt:ident $abs:ident $pmin:ident $pmax:ident
        $lt:ident $le:ident $eq:ident $ne:ident $shift_in:ident $shift_out:ident $zip_low:ident $zip_high:ident $make:ident;
        $isplat:ident $iadd:ident $isub:ident $ishl:ident $ishr:ident $ushr:ident $igt:ident $ieq:ident $imax:ident $imin:ident
        $all:ident $convert:ident
    ) => {
        /// Numbers side by side.
        #[derive(Clone, Copy, Debug)]
        pub struct $float(pub(crate) v128);
        /// Integers side by side.
        #[derive(Clone, Copy, Debug)]
        pub struct $ints(pub(crate) v128);
        /// The outcome of a comparison.
        #[derive(Clone, Copy, Debug)]
        pub struct $mask(pub(crate) v128);

        operator!($float, Add, add, $add);
        operator!($float, Sub, sub, $sub);
        operator!($float, Mul, mul, $mul);
        operator!($float, Div, div, $div);
        operator!($ints, Add, add, $iadd);
        operator!($ints, Sub, sub, $isub);
        operator!($ints, BitAnd, bitand, v128_and);
        operator!($ints, BitOr, bitor, v128_or);
        operator!($mask, BitAnd, bitand, v128_and);
        operator!($mask, BitOr, bitor, v128_or);
        impl Neg for $float {
            type Output = Self;
            #[inline(always)]
            fn neg(self) -> Self {
                Self($neg(self.0))
            }
        }
        impl Not for $mask {
            type Output = Self;
            #[inline(always)]
            fn not(self) -> Self {
                Self(v128_not(self.0))
            }
        }
        impl Mask for $mask {
            #[inline(always)]
            fn any(self) -> bool {
                v128_any_true(self.0)
            }
            #[inline(always)]
            fn all(self) -> bool {
                $all(self.0)
            }
        }
        impl Ints for $ints {
            type Scalar = $int;
            type Array = [$int; $n];
            type Mask = $mask;
            #[inline(always)]
            fn splat(x: i64) -> Self {
                Self($isplat(x as $int))
            }
            #[inline(always)]
            fn from_array(a: [$int; $n]) -> Self {
                // SAFETY: an array of 16 bytes; v128_load asks for no alignment.
                Self(unsafe { v128_load(a.as_ptr().cast()) })
            }
            #[inline(always)]
            fn to_array(self) -> [$int; $n] {
                let mut a = [0; $n];
                // SAFETY: an array of 16 bytes; v128_store asks for no alignment.
                unsafe { v128_store(a.as_mut_ptr().cast(), self.0) };
                a
            }
            #[inline(always)]
            fn shl(self, n: u32) -> Self {
                Self($ishl(self.0, n))
            }
            #[inline(always)]
            fn shr(self, n: u32) -> Self {
                Self($ishr(self.0, n))
            }
            #[inline(always)]
            fn shr_logical(self, n: u32) -> Self {
                Self($ushr(self.0, n))
            }
            #[inline(always)]
            fn gt(self, o: Self) -> $mask {
                $mask($igt(self.0, o.0))
            }
            #[inline(always)]
            fn eq(self, o: Self) -> $mask {
                $mask($ieq(self.0, o.0))
            }
            #[inline(always)]
            fn select(m: $mask, yes: Self, no: Self) -> Self {
                Self(v128_bitselect(yes.0, no.0, m.0))
            }
            #[inline(always)]
            fn max(self, o: Self) -> Self {
                Self($imax(self.0, o.0))
            }
            #[inline(always)]
            fn min(self, o: Self) -> Self {
                Self($imin(self.0, o.0))
            }
        }
        impl Lanes for $float {
            type Scalar = $scalar;
            type Array = [$scalar; $n];
            type Mask = $mask;
            type Ints = $ints;
            const COUNT: usize = $n;
            const MANTISSA_BITS: u32 = $mantissa;
            const BIAS: i64 = $bias;
            #[inline(always)]
            fn splat(x: $scalar) -> Self {
                Self($splat(x))
            }
            #[inline(always)]
            fn from_lanes(lane: impl Fn(usize) -> $scalar) -> Self {
                Self($make(lane))
            }
            #[inline(always)]
            fn from_array(a: &[$scalar; $n]) -> Self {
                // SAFETY: an array of 16 bytes; v128_load asks for no alignment.
                Self(unsafe { v128_load(a.as_ptr().cast()) })
            }
            #[inline(always)]
            fn store(self, to: &mut [$scalar; $n]) {
                // SAFETY: an array of 16 bytes; v128_store asks for no alignment.
                unsafe { v128_store(to.as_mut_ptr().cast(), self.0) }
            }
            #[inline(always)]
            fn to_array(self) -> [$scalar; $n] {
                let mut a = [0.0; $n];
                self.store(&mut a);
                a
            }
            #[inline(always)]
            fn chunks(s: &[$scalar]) -> (&[[$scalar; $n]], &[$scalar]) {
                s.as_chunks::<$n>()
            }
            #[inline(always)]
            fn chunks_mut(s: &mut [$scalar]) -> (&mut [[$scalar; $n]], &mut [$scalar]) {
                s.as_chunks_mut::<$n>()
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                Self($sqrt(self.0))
            }
            #[inline(always)]
            fn abs(self) -> Self {
                Self($abs(self.0))
            }
            #[inline(always)]
            fn min(self, o: Self) -> Self {
                Self($pmin(self.0, o.0))
            }
            #[inline(always)]
            fn max(self, o: Self) -> Self {
                Self($pmax(self.0, o.0))
            }
            #[inline(always)]
            fn lt(self, o: Self) -> $mask {
                $mask($lt(self.0, o.0))
            }
            #[inline(always)]
            fn le(self, o: Self) -> $mask {
                $mask($le(self.0, o.0))
            }
            #[inline(always)]
            fn eq(self, o: Self) -> $mask {
                $mask($eq(self.0, o.0))
            }
            #[inline(always)]
            fn ne(self, o: Self) -> $mask {
                $mask($ne(self.0, o.0))
            }
            #[inline(always)]
            fn select(m: $mask, yes: Self, no: Self) -> Self {
                Self(v128_bitselect(yes.0, no.0, m.0))
            }
            #[inline(always)]
            fn keep(m: $mask, x: Self) -> Self {
                Self(v128_and(m.0, x.0))
            }
            #[inline(always)]
            fn to_bits(self) -> $ints {
                $ints(self.0)
            }
            #[inline(always)]
            fn from_bits(bits: $ints) -> Self {
                Self(bits.0)
            }
            #[inline(always)]
            fn from_ints(x: $ints) -> Self {
                Self($convert(x.0))
            }
            #[inline(always)]
            fn shift_in(self, before: Self) -> Self {
                Self($shift_in(before.0, self.0))
            }
            #[inline(always)]
            fn shift_out(self, after: Self) -> Self {
                Self($shift_out(self.0, after.0))
            }
            #[inline(always)]
            fn zip_low(self, o: Self) -> Self {
                Self($zip_low(self.0, o.0))
            }
            #[inline(always)]
            fn zip_high(self, o: Self) -> Self {
                Self($zip_high(self.0, o.0))
            }
            #[inline(always)]
            fn add_to_f64(self, acc: F64x2) -> F64x2 {
                $widen(self, acc)
            }
            mathematics!($math);
        }
    };
}

#[inline(always)]
fn make_4(lane: impl Fn(usize) -> f32) -> v128 {
    f32x4(lane(0), lane(1), lane(2), lane(3))
}
#[inline(always)]
fn make_2(lane: impl Fn(usize) -> f64) -> v128 {
    f64x2(lane(0), lane(1))
}
#[inline(always)]
fn shift_in_4(before: v128, x: v128) -> v128 {
    i32x4_shuffle::<3, 4, 5, 6>(before, x)
}
#[inline(always)]
fn shift_out_4(x: v128, after: v128) -> v128 {
    i32x4_shuffle::<1, 2, 3, 4>(x, after)
}
#[inline(always)]
fn shift_in_2(before: v128, x: v128) -> v128 {
    i64x2_shuffle::<1, 2>(before, x)
}
#[inline(always)]
fn shift_out_2(x: v128, after: v128) -> v128 {
    i64x2_shuffle::<1, 2>(x, after)
}
#[inline(always)]
fn zip_low_4(a: v128, b: v128) -> v128 {
    i32x4_shuffle::<0, 4, 1, 5>(a, b)
}
#[inline(always)]
fn zip_high_4(a: v128, b: v128) -> v128 {
    i32x4_shuffle::<2, 6, 3, 7>(a, b)
}
#[inline(always)]
fn zip_low_2(a: v128, b: v128) -> v128 {
    i64x2_shuffle::<0, 2>(a, b)
}
#[inline(always)]
fn zip_high_2(a: v128, b: v128) -> v128 {
    i64x2_shuffle::<1, 3>(a, b)
}
/// simd128 has no 64-bit maximum, minimum and conversion.
#[inline(always)]
fn i64x2_max(a: v128, b: v128) -> v128 {
    v128_bitselect(a, b, i64x2_gt(a, b))
}
#[inline(always)]
fn i64x2_min(a: v128, b: v128) -> v128 {
    v128_bitselect(b, a, i64x2_gt(a, b))
}
/// Adds 1.5 * 2^52, in which the integer then stands in the low bits of the mantissa, and takes it off again.
#[inline(always)]
fn f64x2_convert_i64x2(x: v128) -> v128 {
    let magic = f64x2_splat(6755399441055744.0);
    f64x2_sub(i64x2_add(x, magic), magic)
}
#[inline(always)]
fn add_single(x: F32x4, acc: F64x2) -> F64x2 {
    let low = f64x2_promote_low_f32x4(x.0);
    let high = f64x2_promote_low_f32x4(i64x2_shuffle::<1, 1>(x.0, x.0));
    F64x2(f64x2_add(acc.0, f64x2_add(low, high)))
}
#[inline(always)]
fn add_double(x: F64x2, acc: F64x2) -> F64x2 {
    acc + x
}

lanes!(
    F32x4(f32), I32x4(i32), M32x4, 4, 23, 127, single, add_single;
    f32x4_splat f32x4_add f32x4_sub f32x4_mul f32x4_div f32x4_neg f32x4_sqrt f32x4_abs f32x4_pmin f32x4_pmax
    f32x4_lt f32x4_le f32x4_eq f32x4_ne shift_in_4 shift_out_4 zip_low_4 zip_high_4 make_4;
    i32x4_splat i32x4_add i32x4_sub i32x4_shl i32x4_shr u32x4_shr i32x4_gt i32x4_eq i32x4_max i32x4_min
    i32x4_all_true f32x4_convert_i32x4
);
lanes!(
    F64x2(f64), I64x2(i64), M64x2, 2, 52, 1023, double, add_double;
    f64x2_splat f64x2_add f64x2_sub f64x2_mul f64x2_div f64x2_neg f64x2_sqrt f64x2_abs f64x2_pmin f64x2_pmax
    f64x2_lt f64x2_le f64x2_eq f64x2_ne shift_in_2 shift_out_2 zip_low_2 zip_high_2 make_2;
    i64x2_splat i64x2_add i64x2_sub i64x2_shl i64x2_shr u64x2_shr i64x2_gt i64x2_eq i64x2_max i64x2_min
    i64x2_all_true f64x2_convert_i64x2
);

impl I32x4 {
    /// Each lane as two numbers of 16 bits: the lower two multiplied, the upper two, and both added up; wraps.
    #[inline(always)]
    pub fn dot_pairs(self, o: Self) -> Self {
        Self(i32x4_dot_i16x8(self.0, o.0))
    }
    /// The lanes of both as numbers of 16 bits, two to a lane, the first in the lower half; what is beyond 16 bits becomes
    /// the nearest that is not.
    #[inline(always)]
    pub fn to_pairs(self, o: Self) -> Self {
        Self(i16x8_narrow_i32x4(self.0, o.0))
    }
}
