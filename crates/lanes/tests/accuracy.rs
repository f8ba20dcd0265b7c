//! How far the elementary functions are from the truth, in units of the last place (ulp) of the true result: over every
//! single-precision number, and over ten million double-precision ones. Minutes of work, so behind a command of its own:
//!
//!     npm run test:accuracy
//!
//! which prints the worst error of each function and where it is; the doc comments of `math.rs` state them. The truth for
//! single precision is the double-precision function of the standard library. For double precision it is computed here with
//! numbers of twice the precision ([`Pair`]); the standard library is asked only whether that is sane.
use lanes::{F32x4, F64x2, Lanes};

/// The worst that any function may do.
const LIMIT: f64 = 2.0;

/// 2^e for any e of a double's range and beyond: Infinity or 0.
fn pow2(e: i32) -> f64 {
    if e > 1023 {
        f64::INFINITY
    } else if e >= -1022 {
        f64::from_bits(((e + 1023) as u64) << 52)
    } else if e >= -1074 {
        f64::from_bits(1 << (e + 1074))
    } else {
        0.0
    }
}

/// The e with 2^e <= |x| < 2^(e+1), for a normal number.
fn exponent(x: f64) -> i32 {
    ((x.to_bits() >> 52) & 0x7ff) as i32 - 1023
}

/// The worst error so far and where it was.
#[derive(Clone, Copy)]
struct Worst {
    error: f64,
    at: f64,
}

impl Worst {
    fn new() -> Self {
        Self { error: 0.0, at: f64::NAN }
    }
    fn see(&mut self, error: f64, at: f64) {
        // a NaN is worse than everything
        if (error.is_nan() || error > self.error) && !self.error.is_nan() {
            *self = Self { error, at };
        }
    }
    fn or(self, other: Self) -> Self {
        let mut worst = self;
        worst.see(other.error, other.at);
        worst
    }
    fn report(self, name: &str) {
        println!("{name}: {:.3} ulp at {:e}", self.error, self.at);
        assert!(self.error <= LIMIT, "{name} is off by {} ulp at {:e}", self.error, self.at);
    }
}

mod single {
    use super::*;

    /// The error of `got` in ulp of the true result, which is given in double precision.
    fn error(got: f32, truth: f64) -> f64 {
        if truth.is_nan() {
            return if got.is_nan() { 0.0 } else { f64::NAN };
        }
        // half way from the largest number to the one that would follow, results round to infinity
        let limit = f64::from(f32::MAX) + 2f64.powi(103);
        if truth.abs() >= limit || got.is_infinite() {
            return if f64::from(got) == truth
                || (got.is_infinite() && truth.abs() >= limit && (got > 0.0) == (truth > 0.0))
            {
                0.0
            } else {
                f64::NAN
            };
        }
        if f64::from(got) == truth {
            return 0.0;
        }
        (f64::from(got) - truth).abs() / pow2(exponent(truth).max(-126) - 23)
    }

    /// Every number of single precision for which `is_in` holds, by its bits.
    fn all(is_in: fn(f32) -> bool, function: fn(F32x4) -> F32x4, truth: fn(f64) -> f64) -> Worst {
        let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
        let share = (1u64 << 32).div_ceil(threads).next_multiple_of(4);
        let part = |thread: u64| {
            let mut worst = Worst::new();
            for first in (thread * share..((thread + 1) * share).min(1 << 32)).step_by(4) {
                let x = [0, 1, 2, 3].map(|i| f32::from_bits((first + i) as u32));
                if !x.iter().any(|&x| is_in(x)) {
                    continue;
                }
                for (x, y) in x.into_iter().zip(function(F32x4::from_array(&x)).to_array()) {
                    if is_in(x) {
                        worst.see(error(y, truth(f64::from(x))), f64::from(x));
                    }
                }
            }
            worst
        };
        std::thread::scope(|scope| {
            let parts: Vec<_> = (0..threads).map(|thread| scope.spawn(move || part(thread))).collect();
            parts.into_iter().map(|part| part.join().unwrap()).fold(Worst::new(), Worst::or)
        })
    }

    #[test]
    #[ignore = "every number of single precision: npm run test:accuracy"]
    fn exp() {
        all(|_| true, F32x4::exp, f64::exp).report("exp, single");
    }

    #[test]
    #[ignore = "every number of single precision: npm run test:accuracy"]
    fn exp_flushed() {
        // where 2^n becomes 0 the two sides of the edge are right
        const EDGE: f64 = -126.5 * std::f64::consts::LN_2;
        let truth = |x: f64| if x < EDGE { 0.0 } else { x.exp() };
        let is_in = |x: f32| x.is_nan() || (x <= 88.0 && (f64::from(x) - EDGE).abs() >= 1e-4);
        all(is_in, F32x4::exp_flushed, truth).report("exp_flushed, single");
    }

    #[test]
    #[ignore = "every number of single precision: npm run test:accuracy"]
    fn ln() {
        all(|_| true, F32x4::ln, f64::ln).report("ln, single");
    }

    #[test]
    #[ignore = "every number of single precision: npm run test:accuracy"]
    fn ln_1p_unit() {
        all(|x| x.is_nan() || (0.0..=1.0).contains(&x), F32x4::ln_1p_unit, f64::ln_1p)
            .report("ln_1p_unit, single");
    }
}

mod double {
    use super::*;

    /// A number as the sum of two doubles that do not overlap: about 106 bits.
    #[derive(Clone, Copy)]
    struct Pair {
        high: f64,
        low: f64,
    }

    impl Pair {
        const LN_2: Pair = Pair { high: std::f64::consts::LN_2, low: 2.319_046_813_846_299_6e-17 };

        fn of(x: f64) -> Self {
            Self { high: x, low: 0.0 }
        }
        /// a + b without an error.
        fn sum(a: f64, b: f64) -> Self {
            let high = a + b;
            let rest = high - a;
            Self { high, low: (a - (high - rest)) + (b - rest) }
        }
        /// a + b where |a| >= |b|.
        fn fast_sum(a: f64, b: f64) -> Self {
            let high = a + b;
            Self { high, low: b - (high - a) }
        }
        fn plus(self, other: Self) -> Self {
            let (high, low) = (Self::sum(self.high, other.high), Self::sum(self.low, other.low));
            let half = Self::fast_sum(high.high, high.low + low.high);
            Self::fast_sum(half.high, half.low + low.low)
        }
        fn minus(self, other: Self) -> Self {
            self.plus(Self { high: -other.high, low: -other.low })
        }
        fn times(self, other: Self) -> Self {
            let high = self.high * other.high;
            let low = self.high.mul_add(other.high, -high) + (self.high * other.low + self.low * other.high);
            Self::fast_sum(high, low)
        }
        fn over(self, other: Self) -> Self {
            let first = self.high / other.high;
            let rest = self.minus(other.times(Self::of(first)));
            let second = rest.high / other.high;
            let rest = rest.minus(other.times(Self::of(second)));
            Self::fast_sum(first, second).plus(Self::of(rest.high / other.high))
        }
        /// The same times 2^e, for results within the range.
        fn scaled(self, e: i32) -> Self {
            Self { high: self.high * pow2(e), low: self.low * pow2(e) }
        }
    }

    /// exp(x) = y 2^n: the pair y, around 1, and n.
    fn exp(x: f64) -> (Pair, i32) {
        let n = (x * std::f64::consts::LOG2_E).round();
        // r / 256 is small enough for twelve terms; squared eight times
        let r = Pair::of(x).minus(Pair::LN_2.times(Pair::of(n))).scaled(-8);
        let mut p = Pair::of(0.0);
        for k in (1..=13).rev() {
            // exp(r) - 1 = r (1 + r/2 (1 + r/3 (...)))
            p = r.over(Pair::of(f64::from(k))).times(Pair::of(1.0).plus(p));
        }
        // (1 + p)^2 - 1 = 2 p + p^2 keeps what 1 + p would round off
        for _ in 0..8 {
            p = p.scaled(1).plus(p.times(p));
        }
        (Pair::of(1.0).plus(p), n as i32)
    }

    /// log of a positive pair: 2^e m with m around 1, log m = 2 artanh((m - 1) / (m + 1)).
    fn ln(x: Pair) -> Pair {
        let tiny = x.high < 1e-290;
        let x = if tiny { x.scaled(200) } else { x };
        let mut e = exponent(x.high);
        if x.high * pow2(-e) > std::f64::consts::SQRT_2 {
            e += 1;
        }
        // in two steps: 2^-1024 is no normal number
        let m = x.scaled(-(e / 2)).scaled(-(e - e / 2));
        let s = m.minus(Pair::of(1.0)).over(m.plus(Pair::of(1.0)));
        let z = s.times(s);
        let mut p = Pair::of(0.0);
        for k in (0..=24).rev() {
            p = p.times(z).plus(Pair::of(1.0).over(Pair::of(f64::from(2 * k + 1))));
        }
        let e = f64::from(if tiny { e - 200 } else { e });
        Pair::LN_2.times(Pair::of(e)).plus(s.times(p).scaled(1))
    }

    /// The error of `got` in ulp of the true result y 2^n.
    fn error(got: f64, y: Pair, n: i32) -> f64 {
        if got.is_nan() {
            return f64::NAN;
        }
        // both divided by 2^n, in two steps; exact, for y is around 1 or n is 0
        let got = got * pow2(-(n / 2)) * pow2(-(n - n / 2));
        let ulp = exponent(y.high).max(-1022 - n) - 52;
        (((got - y.high) - y.low) / pow2(ulp)).abs()
    }

    /// Random bits, the same in every run (splitmix64).
    struct Random(u64);
    impl Random {
        fn bits(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        }
        fn between(&mut self, low: f64, high: f64) -> f64 {
            low + (high - low) * ((self.bits() >> 11) as f64 / 2f64.powi(53))
        }
        /// Every exponent in the range as likely as every other.
        fn magnitude(&mut self, low: i32, high: i32) -> f64 {
            let e = low + (self.bits() % (high - low) as u64) as i32;
            if e < -1022 {
                return f64::from_bits(self.bits() >> 12 >> (-1022 - e).min(51) | 1);
            }
            f64::from_bits(((e + 1023) as u64) << 52 | self.bits() >> 12)
        }
    }

    const SAMPLES: usize = 10_000_000;

    /// Ten million numbers, of which each third is drawn in one of three ways.
    fn sample(
        draw: impl Fn(&mut Random, usize) -> f64,
        function: fn(F64x2) -> F64x2,
        truth: impl Fn(f64) -> (Pair, i32),
        std: fn(f64) -> f64,
    ) -> Worst {
        let mut random = Random(1);
        let mut worst = Worst::new();
        for i in 0..SAMPLES / 2 {
            let x = [draw(&mut random, i % 3), draw(&mut random, (i + 1) % 3)];
            for (x, y) in x.into_iter().zip(function(F64x2::from_array(&x)).to_array()) {
                let (truth, n) = truth(x);
                let sane = error(std(x), truth, n);
                assert!(
                    sane <= 1.5,
                    "the reference itself: {x:e} {} {} 2^{n}, std {:e}",
                    truth.high,
                    truth.low,
                    std(x)
                );
                worst.see(error(y, truth, n), x);
            }
        }
        worst
    }

    #[test]
    #[ignore = "ten million samples: npm run test:accuracy"]
    fn exp_is_accurate() {
        let draw = |random: &mut Random, way: usize| match way {
            0 => random.between(-745.0, 709.7),
            1 => random.between(-2.0, 2.0),
            _ => random.magnitude(-60, 9) * if random.bits() & 1 == 0 { 1.0 } else { -1.0 },
        };
        sample(draw, F64x2::exp, exp, f64::exp).report("exp, double");
        let draw = |random: &mut Random, way: usize| match way {
            0 => random.between(-707.0, 0.0),
            1 => random.between(-2.0, 2.0),
            _ => -random.magnitude(-60, 9),
        };
        sample(draw, F64x2::exp_flushed, exp, f64::exp).report("exp_flushed, double");
    }

    #[test]
    #[ignore = "ten million samples: npm run test:accuracy"]
    fn ln_is_accurate() {
        let draw = |random: &mut Random, way: usize| match way {
            0 => random.magnitude(-1074, 1024),
            1 => random.between(0.5, 2.0),
            _ => random.between(0.99, 1.01),
        };
        sample(draw, F64x2::ln, |x| (ln(Pair::of(x)), 0), f64::ln).report("ln, double");
    }

    fn ln_1p(x: f64) -> (Pair, i32) {
        // where x^2 / 2 is no more than a thousandth of an ulp, log(1 + x) = x - x^2 / 2
        if x.abs() < 1e-20 {
            return (Pair::of(x), 0);
        }
        (ln(Pair::sum(1.0, x)), 0)
    }

    #[test]
    #[ignore = "ten million samples: npm run test:accuracy"]
    fn ln_1p_unit_is_accurate() {
        let draw = |random: &mut Random, way: usize| match way {
            0 => random.magnitude(-1074, -1),
            1 => random.between(0.0, 1.0),
            _ => random.between(0.4, 0.5),
        };
        sample(draw, F64x2::ln_1p_unit, ln_1p, f64::ln_1p).report("ln_1p_unit, double");
    }
}

/// Where the functions have no error but a value that they must have, in both precisions.
macro_rules! special_numbers {
    ($name:ident, $lanes:ident, $real:ident, $least_ln:literal, $over:literal, $under:literal, $nans:expr) => {
        #[test]
        fn $name() {
            let check = |name: &str, function: fn($lanes) -> $lanes, cases: &[($real, $real)]| {
                for &(x, expected) in cases {
                    let y = *function($lanes::splat(x)).to_array().first().unwrap();
                    let is_same = y.to_bits() == expected.to_bits() || (y.is_nan() && expected.is_nan());
                    assert!(is_same, "{name}({x}) is {y}, expected {expected}");
                }
            };
            let (infinity, nan, least) = ($real::INFINITY, $real::NAN, $real::from_bits(1));
            let exp = [
                (0.0, 1.0),
                (-0.0, 1.0),
                (infinity, infinity),
                (-infinity, 0.0),
                ($over, infinity),
                (least, 1.0),
            ];
            check("exp", $lanes::exp, &exp);
            check("exp", $lanes::exp, &[($under, least), ($under - 1.0, 0.0)]);
            check(
                "exp_flushed",
                $lanes::exp_flushed,
                &[(0.0, 1.0), (-0.0, 1.0), (-infinity, 0.0), ($under, 0.0)],
            );
            let ln = [
                (1.0, 0.0),
                (0.0, -infinity),
                (-0.0, -infinity),
                (-1.0, nan),
                (-infinity, nan),
                (-least, nan),
            ];
            check("ln", $lanes::ln, &ln);
            check("ln", $lanes::ln, &[(infinity, infinity), (least, $least_ln)]);
            check("ln_1p_unit", $lanes::ln_1p_unit, &[(0.0, 0.0), (least, least)]);
            // a NaN is one whatever else its bits say
            for bits in $nans {
                let x = $real::from_bits(bits);
                check("exp", $lanes::exp, &[(x, nan)]);
                check("exp_flushed", $lanes::exp_flushed, &[(x, nan)]);
                check("ln", $lanes::ln, &[(x, nan)]);
                check("ln_1p_unit", $lanes::ln_1p_unit, &[(x, nan)]);
            }
        }
    };
}
special_numbers!(
    special_numbers_single,
    F32x4,
    f32,
    -103.278_93,
    89.0,
    -103.5,
    [0x7fc0_0000, 0xffc0_0000, 0x7fc0_0001, 0x7fff_ffff, 0xffd2_3456, 0x7f80_0001]
);
special_numbers!(
    special_numbers_double,
    F64x2,
    f64,
    -744.440_071_921_381_2,
    710.0,
    -745.0,
    [
        0x7ff8_0000_0000_0000,
        0xfff8_0000_0000_0000,
        0x7ff8_0000_0000_0001,
        0x7fff_ffff_ffff_ffff,
        0x7ff0_0000_0000_0001
    ]
);
