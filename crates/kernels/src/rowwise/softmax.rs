//! The exponentials of a row, and what follows from them at once: logSumExp, softmax, logSoftmax.
//!
//! Three passes over a row that is in the first cache after the first: the largest number; exp(x - largest), added up, and
//! kept where the gradient will be; a factor on each. The exponential is nearly all of the work, so it is taken
//! once for value and gradient, and nothing is written where no gradient is wanted.
use super::{load, load_tail, store, store_tail, sweep, vectors, Row};
use lanes::{memory::in_halves, F64x2, Ints, Lanes, Real};

/// A row's exponentials, summed up.
#[derive(Clone, Copy, Debug)]
pub struct Exponentials {
    /// The largest number of the row, which was taken out.
    pub max: f64,
    /// sum_c exp(x_c - max): log sum_c exp(x_c) is `max` + the logarithm of this.
    pub sum: f64,
}

impl Exponentials {
    /// The logarithm of the sum.
    #[inline(always)]
    pub fn log(self) -> f64 {
        ln(self.sum)
    }
}

/// As many vectors are added up in their own precision before the sum goes on in doubles; and of so many pairs of vectors the
/// exponentials are taken together, as [`each_exp2_down`] has it.
pub(crate) const CHAIN: usize = 32;
/// Below this sum nearly all is the largest term.
pub(crate) const CONFIDENT: f64 = 1.0625;

/// Sums exp(x_c - max) over a row, and writes the terms to `to` unless that is empty.
///
/// Where the largest number is infinite there is no finite term: then `max + log()` is that infinity, and exp(x_c - max)
/// comes out as exp(x_c - logSumExp) would, 0 or NaN.
pub fn exponentials<L: Lanes>(x: &[L::Scalar], to: &mut [L::Scalar]) -> Exponentials {
    scaled_exponentials::<L>(x, 1.0, to)
}

/// As [`exponentials`], where the largest number of the row is known.
pub fn exponentials_below<L: Lanes>(
    x: &[L::Scalar],
    largest: L::Scalar,
    to: &mut [L::Scalar],
) -> Exponentials {
    scaled_below::<L>(x, 1.0, largest, to)
}

/// The same of the row times `by`. What is taken out, `max`, is the number of the row whose product is the largest (the
/// smallest number for `by` < 0), and it is taken out before `by` multiplies.
pub(crate) fn scaled_exponentials<L: Lanes>(x: &[L::Scalar], by: f64, to: &mut [L::Scalar]) -> Exponentials {
    scaled_below::<L>(x, by, largest::<L>(x, by < 0.0), to)
}

/// As [`scaled_exponentials`], where what is to be taken out is known.
#[inline(never)]
pub(crate) fn scaled_below<L: Lanes>(
    x: &[L::Scalar],
    by: f64,
    largest: L::Scalar,
    to: &mut [L::Scalar],
) -> Exponentials {
    let (max, factor) = (L::splat(largest), L::of(by * core::f64::consts::LOG2_E));
    let behind = if by < 0.0 { L::Scalar::INFINITY } else { -L::Scalar::INFINITY };
    let (pairs, _) = L::chunks(x).0.as_chunks::<2>();
    let mut pairs_to = L::chunks_mut(to).0.as_chunks_mut::<2>().0.iter_mut();
    let mut sum = F64x2::zero();
    for block in pairs.chunks(CHAIN) {
        let mut chains = [L::zero(); 2];
        let halves =
            block.iter().map(|pair| pair.each_ref().map(|x| exp2_halves((L::from_array(x) - max) * factor)));
        in_halves::<_, CHAIN>(halves, |halves| {
            let terms = halves.map(|(f, z)| exp2_whole(f, z));
            if let Some(to) = pairs_to.next() {
                for (to, term) in to.iter_mut().zip(terms) {
                    term.store(to);
                }
            }
            for (chain, term) in chains.iter_mut().zip(terms) {
                *chain = *chain + term;
            }
        });
        sum = chains[1].add_to_f64(chains[0].add_to_f64(sum));
    }
    for i in 2 * pairs.len()..vectors::<L>(x.len()) {
        let term = exp2_down((load::<L>(x, i, behind) - max) * factor);
        store(to, i, term);
        sum = term.add_to_f64(sum);
    }
    let mut sum = sum.sum();
    if sum < CONFIDENT {
        sum = apart::<L>(x, max, factor, behind);
    }
    let max = largest.to_f64();
    if !(max.abs() < f64::INFINITY) {
        sum = if x.iter().any(|x| x.is_nan()) { f64::NAN } else { 1.0 };
    }
    Exponentials { max, sum }
}

/// The same sum, the largest terms, which are exactly 1, counted apart from the others, which may be below the last digit of 1.
#[cold]
#[inline(never)]
fn apart<L: Lanes>(x: &[L::Scalar], max: L, factor: L, behind: L::Scalar) -> f64 {
    let (mut ones, mut rest) = (F64x2::zero(), F64x2::zero());
    for i in 0..vectors::<L>(x.len()) {
        let x = load::<L>(x, i, behind);
        let is_one = x.eq(max);
        ones = L::keep(is_one, L::one()).add_to_f64(ones);
        rest = L::keep(!is_one, exp2_down((x - max) * factor)).add_to_f64(rest);
    }
    ones.sum() + rest.sum()
}

/// One term of [`scaled_exponentials`], the same bits.
#[inline(never)]
pub(crate) fn scaled_exponential<L: Lanes>(x: L::Scalar, max: L::Scalar, by: f64) -> f64 {
    let t = (L::splat(x) - L::splat(max)) * L::of(by * core::f64::consts::LOG2_E);
    exp2_down(t).to_array().as_ref().first().map_or(f64::NAN, |t| t.to_f64())
}

/// exp(x) for x <= 0, and 0 below -88 (double precision: -708.7), where it would become subnormal.
#[inline(always)]
pub(crate) fn exp_down<L: Lanes>(x: L) -> L {
    exp2_down(x * L::of(core::f64::consts::LOG2_E))
}

/// 2^t for t <= 0, and 0 where it would become subnormal.
///
/// t = n + f: the polynomial for f, times 2^n made from bits. One rounding of t = x log2(e) stands for the exact
/// reduction of [`Lanes::exp`], so the relative error grows as |x| / 2 units in the last place, as it does by rounding
/// x - max already; next to the sum, which is 1 or more, it is always below one. In return a vector costs 20 operations.
#[inline(always)]
pub(crate) fn exp2_down<L: Lanes>(t: L) -> L {
    let (f, z) = exp2_halves(t);
    exp2_whole(f, z)
}

/// [`exp2_down`] of at most `N` vectors, one after the other. Each half of it has a loop of its own: chains of operations half as
/// long, of which the processor has more under way at a time. A quarter of the time goes (measured).
#[inline(always)]
pub(crate) fn each_exp2_down<L: Lanes, const N: usize>(t: impl Iterator<Item = L>, mut f: impl FnMut(L)) {
    in_halves::<_, N>(t.map(exp2_halves), |(part, z)| f(exp2_whole(part, z)));
}

/// n + bias in the low bits of the mantissa: shifted up it is the exponent of 2^n, and of 0 where n = -bias.
#[inline(always)]
fn magic<L: Lanes>() -> L {
    L::of((1.5 * (1u64 << L::MANTISSA_BITS) as f64) + L::BIAS as f64)
}

/// f, and n by the [`magic`] number.
#[inline(always)]
fn exp2_halves<L: Lanes>(t: L) -> (L, L) {
    let t = t.max(L::of(-L::BIAS as f64));
    let z = t + magic();
    (t - (z - magic()), z)
}

/// What [`exp2_halves`] took apart.
#[inline(always)]
// a fitted coefficient, near ln 2 and not meant to be it
#[allow(clippy::approx_constant)]
fn exp2_whole<L: Lanes>(f: L, z: L) -> L {
    let f2 = f * f;
    // minimax polynomials of 2^f on [-1/2, 1/2], in pairs so that they do not wait for each other
    let pair = |a: f64, b: f64| L::of(a) + L::of(b) * f;
    let p = if L::COUNT == 4 {
        let low = L::one() + L::of(0.6931470036506653) * f;
        low + (pair(0.24022242426872253, 0.05550733581185341)
            + pair(0.009671512991189957, 0.001326472731307149) * f2)
            * f2
    } else {
        let f4 = f2 * f2;
        let a = pair(1.0, 0.693_147_180_559_945_3)
            + pair(0.240_226_506_959_101_56, 0.055_504_108_664_819_92) * f2;
        let b = pair(0.009_618_129_107_588_335, 0.001_333_355_814_678_992_5)
            + pair(1.540_353_046_251_431_8e-4, 1.525_273_348_998_445_8e-5) * f2;
        let c = pair(1.321_543_308_931_973_2e-6, 1.017_819_802_360_488_5e-7)
            + pair(7.074_105_604_828_931e-9, 4.435_282_398_515_894e-10) * f2;
        a + (b + c * f4) * f4
    };
    p * L::from_bits(z.to_bits().shl(L::MANTISSA_BITS))
}

/// The largest number of a row, or the smallest; NaN is passed over.
pub(crate) fn largest<L: Lanes>(x: &[L::Scalar], smallest: bool) -> L::Scalar {
    if smallest {
        -largest_of::<L, true>(x)
    } else {
        largest_of::<L, false>(x)
    }
}

/// The largest number of a row, or of the row with its signs turned.
#[inline(never)]
fn largest_of<L: Lanes, const TURNED: bool>(x: &[L::Scalar]) -> L::Scalar {
    let turn = |x: L| if TURNED { -x } else { x };
    let least = L::splat(-L::Scalar::INFINITY);
    let (whole, tail) = L::chunks(x);
    let mut max = [least; 4];
    let (fours, rest) = whole.as_chunks::<4>();
    for four in fours {
        for (max, x) in max.iter_mut().zip(four) {
            *max = max.max(turn(L::from_array(x)));
        }
    }
    for x in rest {
        max[0] = max[0].max(turn(L::from_array(x)));
    }
    if !tail.is_empty() {
        let behind = if TURNED { L::Scalar::INFINITY } else { -L::Scalar::INFINITY };
        max[1] = max[1].max(turn(load_tail::<L>(tail, behind)));
    }
    max[0].max(max[1]).max(max[2].max(max[3])).max_lane()
}

/// The logarithm of one number: of sums, in double precision whatever the row's is, so that a loss near 0 keeps its digits.
#[inline(never)]
pub fn ln(x: f64) -> f64 {
    let [y, _] = F64x2::splat(x).ln().to_array();
    y
}

/// Multiplies a row, and takes a number off.
#[inline(never)]
pub fn multiply<L: Lanes>(row: &mut [L::Scalar], by: f64, less: f64) {
    let (by, less) = (L::of(by), L::of(less));
    let (whole, tail) = L::chunks_mut(row);
    for a in whole {
        (L::from_array(a) * by - less).store(a);
    }
    if !tail.is_empty() {
        let x = load_tail::<L>(tail, L::Scalar::ZERO) * by - less;
        store_tail(tail, x);
    }
}

/// sum_c (x_c - max).
#[inline(never)]
pub fn sum_below<L: Lanes>(x: &[L::Scalar], max: f64) -> f64 {
    let largest = L::of(max);
    let (whole, tail) = L::chunks(x);
    let below = |x: L, sum| (x - largest).add_to_f64(sum);
    let sum = whole.iter().fold(F64x2::zero(), |sum, x| below(L::from_array(x), sum));
    below(load_tail(tail, L::Scalar::from_f64(max)), sum).sum()
}

/// log sum_c exp(x_c); the gradient is the softmax.
pub fn log_sum_exp<L: Lanes>(row: &mut Row<L::Scalar>) -> f64 {
    let e = exponentials::<L>(row.x, row.grad);
    multiply::<L>(row.grad, row.scale / e.sum, 0.0);
    e.max + e.log()
}

/// y = x - logSumExp(x); the gradient is g - softmax(x) sum(g).
pub fn log_softmax<L: Lanes>(row: &mut Row<L::Scalar>) {
    let e = exponentials::<L>(row.x, row.grad);
    let (max, log) = (L::of(e.max), L::of(e.log()));
    let zero = L::Scalar::ZERO;
    let (whole, tail) = L::chunks(row.x);
    let (to, to_tail) = L::chunks_mut(row.values);
    for (x, to) in whole.iter().zip(to) {
        (L::from_array(x) - max - log).store(to);
    }
    store_tail(to_tail, load_tail::<L>(tail, zero) - max - log);
    if row.grad.is_empty() {
        return;
    }
    let n = row.x.len();
    let mut total = F64x2::zero();
    sweep(row.upstream.len(), [(row.upstream, zero)], [], |_, [g]: [L; 1], _| {
        total = g.add_to_f64(total);
        []
    });
    let total = if row.upstream.is_empty() { n as f64 } else { total.sum() };
    let (scale, share) = (L::of(row.scale), L::of(row.scale * (total / e.sum)));
    let upstream = (row.upstream, L::Scalar::ONE);
    sweep(n, [upstream], [row.grad], |_, [g]: [L; 1], [e]| [g * scale - e * share]);
}

/// y = exp(x - logSumExp(x)); the gradient is y (g - sum(g y)).
pub fn softmax<L: Lanes>(row: &mut Row<L::Scalar>) {
    if row.grad.is_empty() {
        let e = exponentials::<L>(row.x, row.values);
        return multiply::<L>(row.values, 1.0 / e.sum, 0.0);
    }
    let e = exponentials::<L>(row.x, row.grad);
    // where the largest is infinite there is a NaN among the terms
    let is_plain = row.upstream.is_empty() && e.max.abs() < f64::INFINITY;
    let total = if is_plain { e.sum } else { dot::<L>(row.grad, row.upstream) };
    let total = row.scale * (total / e.sum);
    let [scale, share, total] = [row.scale, 1.0 / e.sum, total].map(L::of);
    let upstream = (row.upstream, L::Scalar::ONE);
    sweep(row.x.len(), [upstream], [row.grad, row.values], |_, [g]: [L; 1], [e, _]| {
        let y = e * share;
        [y * (g * scale - total), y]
    });
}

/// The sum of the products of two rows; NaN where the second is absent.
#[inline(never)]
fn dot<L: Lanes>(a: &[L::Scalar], b: &[L::Scalar]) -> f64 {
    if b.len() != a.len() {
        return f64::NAN;
    }
    let (of_a, of_b) = (L::chunks(a).0.as_chunks::<2>().0, L::chunks(b).0.as_chunks::<2>().0);
    let mut sum = F64x2::zero();
    for (a, b) in of_a.chunks(CHAIN).zip(of_b.chunks(CHAIN)) {
        let mut chains = [L::zero(); 2];
        for (a, b) in a.iter().zip(b) {
            for ((chain, a), b) in chains.iter_mut().zip(a).zip(b) {
                *chain = *chain + L::from_array(a) * L::from_array(b);
            }
        }
        sum = chains[1].add_to_f64(chains[0].add_to_f64(sum));
    }
    for i in 2 * of_a.len()..vectors::<L>(a.len()) {
        sum = (load::<L>(a, i, L::Scalar::ZERO) * load(b, i, L::Scalar::ZERO)).add_to_f64(sum);
    }
    sum.sum()
}
