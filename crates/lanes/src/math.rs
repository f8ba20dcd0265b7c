//! exp, log and log1p on lanes, in single and in double precision, without libm.
//!
//! The errors stated are the worst that were measured (tests/accuracy.rs, `npm run test:accuracy`), in units of the last
//! place of the true result: in single precision over every number there is, in double precision over ten million.
// constants stand as they were computed, with the digits that say so
#![allow(clippy::excessive_precision)]

/// Functions on four `f32`.
pub mod single {
    use crate::{F32x4, I32x4, Ints, Lanes, M32x4, Mask};

    /// 1.5 * 2^23: added to a small number it leaves the nearest integer in the low bits of the mantissa.
    const MAGIC: f32 = 12582912.0;
    const LN2_HI: f32 = 0.693359375;
    const LN2_LO: f32 = -2.121_944_4e-4;

    /// The r with x = n ln(2) + r, |r| <= ln(2)/2, n being an integer; and the bits of n + `bias`: in the low bits, below zeros that
    /// a shift to the exponent's place leaves alone.
    #[inline(always)]
    fn reduced(x: F32x4, bias: f32) -> (F32x4, I32x4) {
        let magic = F32x4::splat(MAGIC + bias);
        let z = x * F32x4::splat(core::f32::consts::LOG2_E) + magic;
        let n = z - magic;
        ((x - n * F32x4::splat(LN2_HI)) - n * F32x4::splat(LN2_LO), z.to_bits())
    }

    /// exp(r) for |r| <= ln(2)/2: 1 + r + r^2 p(r), p being the best polynomial of degree 4 for the rest.
    #[inline(always)]
    pub fn exp_small(r: F32x4) -> F32x4 {
        let of = F32x4::splat;
        let r2 = r * r;
        let a = of(4.999_999_3e-1) + of(1.666_652e-1) * r;
        let b = of(4.166_839e-2) + of(8.368_745e-3) * r;
        let p = (a + b * r2) + of(1.381_454_1e-3) * (r2 * r2);
        (p * r2 + r) + F32x4::one()
    }

    /// exp(x), within 1.03 ulp. Overflows to Infinity, underflows through the subnormal numbers to 0.
    #[inline(always)]
    pub fn exp(x: F32x4) -> F32x4 {
        let (r, n) = exp_begun(x);
        exp_ended(r, n)
    }

    /// What [`exp_ended`] makes exp(x) of.
    #[inline(always)]
    pub fn exp_begun(x: F32x4) -> (F32x4, I32x4) {
        let (r, bits) = reduced(x.max(F32x4::splat(-104.0)).min(F32x4::splat(89.0)), 0.0);
        (r, bits - F32x4::splat(MAGIC).to_bits())
    }

    /// exp(r) 2^n.
    #[inline(always)]
    pub fn exp_ended(r: F32x4, n: I32x4) -> F32x4 {
        // 2^n in two steps: one alone would leave the exponent's range at both ends
        let half = n.shr(1);
        let bias = I32x4::splat(127);
        exp_small(r) * F32x4::from_bits((half + bias).shl(23)) * F32x4::from_bits((n - half + bias).shl(23))
    }

    /// The r of which [`exp_small`], times the second number, is exp(x), for x <= 88.
    #[inline(always)]
    pub fn exp_halves(x: F32x4) -> (F32x4, F32x4) {
        // -88 is where n = -127, and the bits of 2^n are those of 0; times a NaN that is NaN
        let (r, bits) = reduced(x.max(F32x4::splat(-88.0)), 127.0);
        (r, F32x4::from_bits(bits.shl(23)))
    }

    /// exp(x) for x <= 88, within 1.03 ulp; from where it is less than 2^-126.5 on it is 0.
    #[inline(always)]
    pub fn exp_flushed(x: F32x4) -> F32x4 {
        let (r, scale) = exp_halves(x);
        exp_small(r) * scale
    }

    /// log(x), within 0.87 ulp: -Infinity at 0, NaN below.
    #[inline(always)]
    pub fn ln(x: F32x4) -> F32x4 {
        let of = F32x4::splat;
        let zero = F32x4::zero();
        let is_special = is_special(x).any();
        let (scaled, shift) = if is_special {
            let tiny = x.lt(of(f32::MIN_POSITIVE));
            (F32x4::select(tiny, x * of(8388608.0), x), F32x4::select(tiny, of(23.0), zero))
        } else {
            (x, zero)
        };
        let (f, e) = ln_begun(scaled);
        let y = ln_ended(f, e - shift);
        if !is_special {
            return y;
        }
        let y = F32x4::select(x.eq(zero), of(f32::NEG_INFINITY), y);
        let y = F32x4::select(x.lt(zero), of(f32::NAN), y);
        F32x4::select(x.lt(of(f32::INFINITY)), y, x)
    }

    /// Where x is not normal, positive and finite: the sum of the bits overflows for all numbers but those.
    #[inline(always)]
    pub fn is_special(x: F32x4) -> M32x4 {
        (x.to_bits() + I32x4::splat(0x7f80_0000)).gt(I32x4::splat(-0x0100_0001))
    }

    /// What [`ln_ended`] makes log(x) of, where x is not special: the f and e with x = (1 + f) 2^e.
    #[inline(always)]
    pub fn ln_begun(x: F32x4) -> (F32x4, F32x4) {
        // 1 + f in [sqrt(1/2), sqrt(2)): the exponent is counted from sqrt(1/2)'s bits on
        let bits = x.to_bits();
        let e = (bits - I32x4::splat(0x3f3504f3)).shr(23);
        (F32x4::from_bits(bits - e.shl(23)) - F32x4::one(), F32x4::from_ints(e))
    }

    /// log(1 + f) + e log(2).
    #[inline(always)]
    pub fn ln_ended(f: F32x4, e: F32x4) -> F32x4 {
        let of = F32x4::splat;
        let f2 = f * f;
        let a = of(3.333_333_1e-1) + of(-2.499_999_4e-1) * f;
        let b = of(2.000_071_5e-1) + of(-1.666_805_7e-1) * f;
        let c = of(1.424_932_3e-1) + of(-1.242_014_1e-1) * f;
        let d = of(1.167_699_9e-1) + of(-1.151_461e-1) * f;
        let p = (a + b * f2) + ((c + d * f2) + of(7.037_683_6e-2) * (f2 * f2)) * (f2 * f2);
        let y = p * (f * f2) + e * of(LN2_LO) - of(0.5) * f2;
        f + y + e * of(LN2_HI)
    }

    /// log(1 + x) for 0 <= x <= 1, within 1.86 ulp, without a division: x - x^2 q(x), q being the best polynomial of its
    /// degree for (x - log(1 + x)) / x^2.
    #[inline(always)]
    pub fn ln_1p_unit(x: F32x4) -> F32x4 {
        let of = F32x4::splat;
        let x2 = x * x;
        let a = of(4.999_993_3e-1) + of(-3.333_051_1e-1) * x;
        let b = of(2.495_858_8e-1) + of(-1.969_540_1e-1) * x;
        let c = of(1.535_539_7e-1) + of(-1.068_055_6e-1) * x;
        let d = of(5.766_445e-2) + of(-2.020_458_8e-2) * x;
        let e = of(3.318_473e-3) * (x2 * x2);
        let q = (a + b * x2) + ((c + d * x2) + e) * (x2 * x2);
        x - q * x2
    }
}

/// Functions on two `f64`.
pub mod double {
    use crate::{F64x2, I64x2, Ints, Lanes, M64x2, Mask};

    /// 1.5 * 2^52, as [`super::single`] has it.
    const MAGIC: f64 = 6755399441055744.0;
    const LN2_HI: f64 = 6.931_471_803_691_238e-1;
    const LN2_LO: f64 = 1.908_214_929_270_587_7e-10;

    /// As [`super::single`] has it.
    #[inline(always)]
    fn reduced(x: F64x2, bias: f64) -> (F64x2, I64x2) {
        let magic = F64x2::splat(MAGIC + bias);
        let z = x * F64x2::splat(core::f64::consts::LOG2_E) + magic;
        let n = z - magic;
        ((x - n * F64x2::splat(LN2_HI)) - n * F64x2::splat(LN2_LO), z.to_bits())
    }

    /// A polynomial of x, with its coefficients in pairs, the highest first: its even and its odd powers do not wait for each other.
    #[inline(always)]
    fn polynomial<const N: usize>(x: F64x2, x2: F64x2, pairs: [[f64; 2]; N]) -> F64x2 {
        let mut pairs = pairs.into_iter().map(|pair| pair.map(F64x2::splat));
        let first = pairs.next().unwrap_or([F64x2::zero(); 2]);
        let [even, odd] = pairs.fold(first, |[even, odd], [a, b]| [even * x2 + a, odd * x2 + b]);
        even + odd * x
    }

    /// exp(r) for |r| <= ln(2)/2.
    #[inline(always)]
    pub fn exp_small(r: F64x2) -> F64x2 {
        const PAIRS: [[f64; 2]; 6] = [
            [1.0 / 6227020800.0, 0.0],
            [1.0 / 39916800.0, 1.0 / 479001600.0],
            [1.0 / 362880.0, 1.0 / 3628800.0],
            [1.0 / 5040.0, 1.0 / 40320.0],
            [1.0 / 120.0, 1.0 / 720.0],
            [1.0 / 6.0, 1.0 / 24.0],
        ];
        let r2 = r * r;
        let p = F64x2::splat(0.5) + polynomial(r, r2, PAIRS) * r;
        (p * r2 + r) + F64x2::one()
    }

    /// exp(x), within 0.95 ulp. Overflows to Infinity, underflows through the subnormal numbers to 0.
    #[inline(always)]
    pub fn exp(x: F64x2) -> F64x2 {
        let (r, n) = exp_begun(x);
        exp_ended(r, n)
    }

    /// What [`exp_ended`] makes exp(x) of.
    #[inline(always)]
    pub fn exp_begun(x: F64x2) -> (F64x2, I64x2) {
        let (r, bits) = reduced(x.max(F64x2::splat(-746.0)).min(F64x2::splat(710.0)), 0.0);
        (r, bits - F64x2::splat(MAGIC).to_bits())
    }

    /// exp(r) 2^n.
    #[inline(always)]
    pub fn exp_ended(r: F64x2, n: I64x2) -> F64x2 {
        let half = n.shr(1);
        let bias = I64x2::splat(1023);
        exp_small(r) * F64x2::from_bits((half + bias).shl(52)) * F64x2::from_bits((n - half + bias).shl(52))
    }

    /// The r of which [`exp_small`], times the second number, is exp(x), for x <= 709.
    #[inline(always)]
    pub fn exp_halves(x: F64x2) -> (F64x2, F64x2) {
        let (r, bits) = reduced(x.max(F64x2::splat(-709.0)), 1023.0);
        (r, F64x2::from_bits(bits.shl(52)))
    }

    /// exp(x) for x <= 709, within 0.96 ulp; from where it is less than 2^-1022.5 on it is 0.
    #[inline(always)]
    pub fn exp_flushed(x: F64x2) -> F64x2 {
        let (r, scale) = exp_halves(x);
        exp_small(r) * scale
    }

    /// log(x), within 0.83 ulp: -Infinity at 0, NaN below.
    #[inline(always)]
    pub fn ln(x: F64x2) -> F64x2 {
        let zero = F64x2::zero();
        let is_special = is_special(x).any();
        let (scaled, shift) = if is_special {
            let tiny = x.lt(F64x2::splat(f64::MIN_POSITIVE));
            let scaled = F64x2::select(tiny, x * F64x2::splat(4503599627370496.0), x);
            (scaled, F64x2::select(tiny, F64x2::splat(52.0), zero))
        } else {
            (x, zero)
        };
        let (f, e) = ln_begun(scaled);
        let y = ln_ended(f, e - shift);
        if !is_special {
            return y;
        }
        let y = F64x2::select(x.eq(zero), F64x2::splat(f64::NEG_INFINITY), y);
        let y = F64x2::select(x.lt(zero), F64x2::splat(f64::NAN), y);
        F64x2::select(x.lt(F64x2::splat(f64::INFINITY)), y, x)
    }

    /// As [`super::single`] has it.
    #[inline(always)]
    pub fn is_special(x: F64x2) -> M64x2 {
        let limits = (I64x2::splat(0x7ff0_0000_0000_0000), I64x2::splat(-0x0020_0000_0000_0001));
        (x.to_bits() + limits.0).gt(limits.1)
    }

    /// What [`ln_ended`] makes log(x) of, where x is not special: the f and e with x = (1 + f) 2^e.
    #[inline(always)]
    pub fn ln_begun(x: F64x2) -> (F64x2, F64x2) {
        let bits = x.to_bits();
        let e = (bits - I64x2::splat(0x3fe6a09e667f3bcd)).shr(52);
        (F64x2::from_bits(bits - e.shl(52)) - F64x2::one(), F64x2::from_ints(e))
    }

    /// log(1 + f) + e log(2), log(1 + f) being f - s (f - R) with s = f / (2 + f), R = f^2/2 + the series in s^2.
    #[inline(always)]
    pub fn ln_ended(f: F64x2, e: F64x2) -> F64x2 {
        const PAIRS: [[f64; 2]; 4] = [
            [1.479819860511658591e-1, 0.0],
            [1.818357216161805012e-1, 1.531383769920937332e-1],
            [2.857142874366239149e-1, 2.222219843214978396e-1],
            [6.666666666666735130e-1, 3.999999999940941908e-1],
        ];
        let s = f / (F64x2::splat(2.0) + f);
        let z = s * s;
        let p = polynomial(z, z * z, PAIRS);
        let half = F64x2::splat(0.5) * f * f;
        e * F64x2::splat(LN2_HI) - ((half - (s * (half + p * z) + e * F64x2::splat(LN2_LO))) - f)
    }

    /// log(1 + x) for 0 <= x <= 1, within 1.24 ulp: the series of [`ln`] without a reduction, so longer.
    #[inline(always)]
    pub fn ln_1p_unit(x: F64x2) -> F64x2 {
        const PAIRS: [[f64; 2]; 5] = [
            [8.340_098_966_982_188_7e-2, 1.701_857_994_231_989_4e-1],
            [1.330_097_351_260_724_6e-1, 1.210_608_684_051_750_6e-1],
            [1.818_174_392_469_662_6e-1, 1.538_655_992_844_915_9e-1],
            [2.857_142_854_785_384_7e-1, 2.222_222_396_973_635e-1],
            [6.666_666_666_666_63e-1, 4.000_000_000_015_724e-1],
        ];
        let s = x / (F64x2::splat(2.0) + x);
        let z = s * s;
        let p = polynomial(z, z * z, PAIRS);
        let half = F64x2::splat(0.5) * x * x;
        x - (half - s * (half + p * z))
    }
}
