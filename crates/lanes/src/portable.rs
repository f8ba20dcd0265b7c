//! Lanes as plain arrays: every target without simd128. The yardstick of `simd128.rs`: same operations, same order.
use crate::math::{double, single};
use crate::{Ints, Lanes, Mask};
use core::ops::{Add, BitAnd, BitOr, Div, Mul, Neg, Not, Sub};

macro_rules! lanes {
    ($float:ident, $scalar:ident, $ints:ident, $int:ident, $uint:ident, $mask:ident, $n:literal, $mantissa:literal, $bias:literal, $math:ident, $widen:ident) => {
        /// Numbers side by side.
        #[derive(Clone, Copy, Debug)]
        pub struct $float([$scalar; $n]);
        /// Integers side by side.
        #[derive(Clone, Copy, Debug)]
        pub struct $ints([$int; $n]);
        /// The outcome of a comparison.
        #[derive(Clone, Copy, Debug)]
        pub struct $mask([bool; $n]);

        impl $float {
            #[inline(always)]
            fn zip(self, o: Self, f: impl Fn($scalar, $scalar) -> $scalar) -> Self {
                Self(core::array::from_fn(|i| f(self.0[i], o.0[i])))
            }
            #[inline(always)]
            fn map(self, f: impl Fn($scalar) -> $scalar) -> Self {
                Self(self.0.map(f))
            }
            #[inline(always)]
            fn test(self, o: Self, f: impl Fn($scalar, $scalar) -> bool) -> $mask {
                $mask(core::array::from_fn(|i| f(self.0[i], o.0[i])))
            }
        }
        impl $ints {
            #[inline(always)]
            fn zip(self, o: Self, f: impl Fn($int, $int) -> $int) -> Self {
                Self(core::array::from_fn(|i| f(self.0[i], o.0[i])))
            }
        }
        impl Add for $float {
            type Output = Self;
            #[inline(always)]
            fn add(self, o: Self) -> Self {
                self.zip(o, |a, b| a + b)
            }
        }
        impl Sub for $float {
            type Output = Self;
            #[inline(always)]
            fn sub(self, o: Self) -> Self {
                self.zip(o, |a, b| a - b)
            }
        }
        impl Mul for $float {
            type Output = Self;
            #[inline(always)]
            fn mul(self, o: Self) -> Self {
                self.zip(o, |a, b| a * b)
            }
        }
        impl Div for $float {
            type Output = Self;
            #[inline(always)]
            fn div(self, o: Self) -> Self {
                self.zip(o, |a, b| a / b)
            }
        }
        impl Neg for $float {
            type Output = Self;
            #[inline(always)]
            fn neg(self) -> Self {
                self.map(|a| -a)
            }
        }
        impl Add for $ints {
            type Output = Self;
            #[inline(always)]
            fn add(self, o: Self) -> Self {
                self.zip(o, $int::wrapping_add)
            }
        }
        impl Sub for $ints {
            type Output = Self;
            #[inline(always)]
            fn sub(self, o: Self) -> Self {
                self.zip(o, $int::wrapping_sub)
            }
        }
        impl BitAnd for $ints {
            type Output = Self;
            #[inline(always)]
            fn bitand(self, o: Self) -> Self {
                self.zip(o, |a, b| a & b)
            }
        }
        impl BitOr for $ints {
            type Output = Self;
            #[inline(always)]
            fn bitor(self, o: Self) -> Self {
                self.zip(o, |a, b| a | b)
            }
        }
        impl BitAnd for $mask {
            type Output = Self;
            #[inline(always)]
            fn bitand(self, o: Self) -> Self {
                Self(core::array::from_fn(|i| self.0[i] & o.0[i]))
            }
        }
        impl BitOr for $mask {
            type Output = Self;
            #[inline(always)]
            fn bitor(self, o: Self) -> Self {
                Self(core::array::from_fn(|i| self.0[i] | o.0[i]))
            }
        }
        impl Not for $mask {
            type Output = Self;
            #[inline(always)]
            fn not(self) -> Self {
                Self(self.0.map(|a| !a))
            }
        }
        impl Mask for $mask {
            #[inline(always)]
            fn any(self) -> bool {
                self.0.iter().any(|&b| b)
            }
            #[inline(always)]
            fn all(self) -> bool {
                self.0.iter().all(|&b| b)
            }
        }
        impl Ints for $ints {
            type Scalar = $int;
            type Array = [$int; $n];
            type Mask = $mask;
            #[inline(always)]
            fn splat(x: i64) -> Self {
                Self([x as $int; $n])
            }
            #[inline(always)]
            fn from_array(a: [$int; $n]) -> Self {
                Self(a)
            }
            #[inline(always)]
            fn to_array(self) -> [$int; $n] {
                self.0
            }
            #[inline(always)]
            fn shl(self, n: u32) -> Self {
                Self(self.0.map(|a| a.wrapping_shl(n)))
            }
            #[inline(always)]
            fn shr(self, n: u32) -> Self {
                Self(self.0.map(|a| a.wrapping_shr(n)))
            }
            #[inline(always)]
            fn shr_logical(self, n: u32) -> Self {
                Self(self.0.map(|a| (a as $uint).wrapping_shr(n) as $int))
            }
            #[inline(always)]
            fn gt(self, o: Self) -> $mask {
                $mask(core::array::from_fn(|i| self.0[i] > o.0[i]))
            }
            #[inline(always)]
            fn eq(self, o: Self) -> $mask {
                $mask(core::array::from_fn(|i| self.0[i] == o.0[i]))
            }
            #[inline(always)]
            fn select(m: $mask, yes: Self, no: Self) -> Self {
                Self(core::array::from_fn(|i| if m.0[i] { yes.0[i] } else { no.0[i] }))
            }
            #[inline(always)]
            fn max(self, o: Self) -> Self {
                self.zip(o, Ord::max)
            }
            #[inline(always)]
            fn min(self, o: Self) -> Self {
                self.zip(o, Ord::min)
            }
        }
        impl $float {
            #[inline(always)]
            fn bits(self) -> $ints {
                $ints(self.0.map(|a| a.to_bits() as $int))
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
                Self([x; $n])
            }
            #[inline(always)]
            fn from_lanes(lane: impl Fn(usize) -> $scalar) -> Self {
                Self(core::array::from_fn(lane))
            }
            #[inline(always)]
            fn from_array(a: &[$scalar; $n]) -> Self {
                Self(*a)
            }
            #[inline(always)]
            fn store(self, to: &mut [$scalar; $n]) {
                *to = self.0;
            }
            #[inline(always)]
            fn to_array(self) -> [$scalar; $n] {
                self.0
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
                self.map(|a| a.sqrt())
            }
            #[inline(always)]
            fn abs(self) -> Self {
                self.map(|a| a.abs())
            }
            #[inline(always)]
            fn min(self, o: Self) -> Self {
                self.zip(o, |a, b| if b < a { b } else { a })
            }
            #[inline(always)]
            fn max(self, o: Self) -> Self {
                self.zip(o, |a, b| if a < b { b } else { a })
            }
            #[inline(always)]
            fn lt(self, o: Self) -> $mask {
                self.test(o, |a, b| a < b)
            }
            #[inline(always)]
            fn le(self, o: Self) -> $mask {
                self.test(o, |a, b| a <= b)
            }
            #[inline(always)]
            fn eq(self, o: Self) -> $mask {
                self.test(o, |a, b| a == b)
            }
            #[inline(always)]
            fn ne(self, o: Self) -> $mask {
                self.test(o, |a, b| a != b)
            }
            #[inline(always)]
            fn select(m: $mask, yes: Self, no: Self) -> Self {
                Self(core::array::from_fn(|i| if m.0[i] { yes.0[i] } else { no.0[i] }))
            }
            #[inline(always)]
            fn keep(m: $mask, x: Self) -> Self {
                Self::select(m, x, Self::zero())
            }
            #[inline(always)]
            fn to_bits(self) -> $ints {
                self.bits()
            }
            #[inline(always)]
            fn from_bits(bits: $ints) -> Self {
                Self(bits.0.map(|a| $scalar::from_bits(a as $uint)))
            }
            #[inline(always)]
            fn from_ints(x: $ints) -> Self {
                Self(x.0.map(|a| a as $scalar))
            }
            #[inline(always)]
            fn shift_in(self, before: Self) -> Self {
                Self(core::array::from_fn(|i| if i == 0 { before.0[$n - 1] } else { self.0[i - 1] }))
            }
            #[inline(always)]
            fn shift_out(self, after: Self) -> Self {
                Self(core::array::from_fn(|i| if i + 1 == $n { after.0[0] } else { self.0[i + 1] }))
            }
            #[inline(always)]
            fn zip_low(self, o: Self) -> Self {
                Self(core::array::from_fn(|i| if i % 2 == 0 { self.0[i / 2] } else { o.0[i / 2] }))
            }
            #[inline(always)]
            fn zip_high(self, o: Self) -> Self {
                Self(core::array::from_fn(
                    |i| if i % 2 == 0 { self.0[($n + i) / 2] } else { o.0[($n + i) / 2] },
                ))
            }
            #[inline(always)]
            fn add_to_f64(self, acc: F64x2) -> F64x2 {
                $widen(self, acc)
            }
            mathematics!($math);
        }
    };
}

lanes!(F32x4, f32, I32x4, i32, u32, M32x4, 4, 23, 127, single, add_single);
lanes!(F64x2, f64, I64x2, i64, u64, M64x2, 2, 52, 1023, double, add_double);

#[inline(always)]
fn add_single(x: F32x4, acc: F64x2) -> F64x2 {
    let [a, b, c, d] = x.0.map(f64::from);
    acc + (F64x2([a, b]) + F64x2([c, d]))
}
#[inline(always)]
fn add_double(x: F64x2, acc: F64x2) -> F64x2 {
    acc + x
}

impl I32x4 {
    /// Each lane as two numbers of 16 bits: the lower two multiplied, the upper two, and both added up; wraps.
    #[inline(always)]
    pub fn dot_pairs(self, o: Self) -> Self {
        let both = |x: i32| (x as i16 as i32, x >> 16);
        self.zip(o, |a, b| {
            let ((a0, a1), (b0, b1)) = (both(a), both(b));
            (a0 * b0).wrapping_add(a1 * b1)
        })
    }
    /// The lanes of both as numbers of 16 bits, two to a lane, the first in the lower half; what is beyond 16 bits becomes
    /// the nearest that is not.
    #[inline(always)]
    pub fn to_pairs(self, o: Self) -> Self {
        let cut = |x: i32| x.clamp(i16::MIN.into(), i16::MAX.into());
        let pair = |a: i32, b: i32| (cut(a) & 0xffff) | (cut(b) << 16);
        let ([a, b, c, d], [e, f, g, h]) = (self.0, o.0);
        Self([pair(a, b), pair(c, d), pair(e, f), pair(g, h)])
    }
}
