//! How far two vectors are apart, or how alike they are, and how that changes with each of them.
//!
//! A [`Measure`] goes once over two vectors and gives a [`Measured`]: the number, and the few numbers that its slope is made
//! of ([`Slope`]). [`Measured::pull`] goes over them again and writes the gradient, or adds it to what is there.
//!
//! Vectors are told of from their first number on to the end of all rows, and how many numbers they have. So the last ones of a vector
//! are read as a whole, with some of the next one, which count for nothing, and are written so, before the next row is: for vectors of
//! a few numbers that is half of the time (measured).
//!
//! Sums are kept in as many chains as hide the latency of an addition, for a block in the precision of the lanes, from there
//! on in doubles. What single precision cannot hold is found by looking at the sums, one row at a time, and done again
//! with more care: squares that overflow or vanish (the largest difference is taken out), short vectors in a cosine (doubles).
use crate::rowwise::{load, load_tail, places, store, vectors};
use lanes::{F64x2, Ints, Lanes, Real};

/// As many blocks are added up in their own precision before the sum goes on in doubles.
pub const BLOCKS: usize = 32;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Measure {
    /// ||x - y + eps||_p, for p from 1 to Infinity.
    Norm {
        /// The norm.
        p: f64,
        /// Added to each difference.
        eps: f64,
    },
    /// x y / (|x| |y|), each norm taken as at least 1e-8.
    Cosine,
    /// 1 - [`Measure::Cosine`].
    CosineDistance,
    /// x y / sqrt((|x|^2 + e) (|y|^2 + e)) with e = 1e-12: smooth at 0.
    SmoothCosine,
}

/// How a measure changes with one of its vectors; d = x - y + eps.
#[derive(Clone, Copy, Debug)]
enum Slope {
    /// Not at all.
    Still,
    /// d over the number that was measured.
    Difference,
    /// The sign of d.
    Sign,
    /// The sign of d where |d| is the largest, by
    Largest { max: f64, by: f64 },
    /// The sign of d times (|d| / max)^q by
    Power { max: f64, q: f64, by: f64 },
    /// cross y - along x, and the same the other way round.
    Cosine { cross: f64, along: [f64; 2], careful: bool },
}

/// What came out for two vectors.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// The number.
    pub value: f64,
    slope: Slope,
    /// What was added to each difference.
    pub eps: f64,
}

impl Measure {
    /// Measures two vectors of `n` numbers.
    pub fn of<L: Lanes>(self, vectors: [&[L::Scalar]; 2], n: usize, to: &mut Measured) {
        match self {
            Measure::Norm { p, eps } => norm::<L>(vectors, n, p, eps, to),
            _ => cosine::<L>(vectors, n, self, to),
        }
    }
}

impl Measured {
    /// Before anything was measured.
    pub const NOTHING: Self = Self { value: 0.0, slope: Slope::Still, eps: 0.0 };

    /// What multiplies the difference of two vectors to be its slope, if that is all.
    pub fn by(&self) -> Option<f64> {
        matches!(self.slope, Slope::Difference).then(|| 1.0 / self.value)
    }

    /// Writes `by` times the gradients with respect to the two vectors, which are those that were measured, where there is room for
    /// them; or adds them. A zero that is written is positive.
    #[inline(never)]
    pub fn pull<L: Lanes>(
        &self,
        mut by: f64,
        [x, y]: [&[L::Scalar]; 2],
        n: usize,
        [to_x, to_y]: [&mut [L::Scalar]; 2],
        add: [bool; 2],
    ) {
        if to_x.is_empty() && to_y.is_empty() {
            return;
        }
        if let Some(slope) = self.by() {
            by *= slope;
        }
        let (eps, factor) = (L::of(self.eps), L::of(by));
        // a loop for each would be more code: what is there is masked
        let [keep_x, keep_y] = add.map(|add| L::Ints::splat(if add { -1 } else { 0 }));
        let and = |before: L, keep: L::Ints, gradient: L| L::from_bits(before.to_bits() & keep) + gradient;
        let n_all = room::<L>(n);
        let is_there = to_x.len().min(to_y.len()) >= n_all;
        match self.slope {
            Slope::Difference if is_there => both(n_all, [x, y], [to_x, to_y], |[x, y], [to_x, to_y]| {
                let d: L = (x - y + eps) * factor;
                [and(to_x, keep_x, d), and(to_y, keep_y, -d)]
            }),
            Slope::Sign if is_there => both(n_all, [x, y], [to_x, to_y], |[x, y], [to_x, to_y]| {
                let d: L = x - y + eps;
                let d = d.signum() * factor;
                [and(to_x, keep_x, d), and(to_y, keep_y, -d)]
            }),
            Slope::Cosine { cross, along, careful: false } if is_there => {
                let (cross, [along_x, along_y]) = (L::of(cross), along.map(L::of));
                both(n_all, [x, y], [to_x, to_y], |[x, y]: [L; 2], [to_x, to_y]| {
                    let of_x = factor * (cross * y - along_x * x);
                    let of_y = factor * (cross * x - along_y * y);
                    [and(to_x, keep_x, of_x), and(to_y, keep_y, of_y)]
                });
            }
            slope => {
                let [add_x, add_y] = add;
                if !to_x.is_empty() {
                    bend::<L>(slope, [x, y], n, self.eps, by, to_x, add_x);
                }
                if !to_y.is_empty() {
                    bend::<L>(slope.turned(), [y, x], n, -self.eps, by, to_y, add_y);
                }
            }
        }
    }
}

impl Slope {
    /// For the vectors the other way round.
    fn turned(self) -> Slope {
        match self {
            Slope::Cosine { cross, along: [x, y], careful } => {
                Slope::Cosine { cross, along: [y, x], careful }
            }
            slope => slope,
        }
    }
}

/// Writes functions of two vectors, so many numbers of each, and of what is there already.
#[inline(always)]
fn both<L: Lanes>(
    n: usize,
    x: [&[L::Scalar]; 2],
    to: [&mut [L::Scalar]; 2],
    f: impl Fn([L; 2], [L; 2]) -> [L; 2],
) {
    let [x0, x1] = x.map(|x| part::<L>(x, n));
    let [to0, to1] = to.map(|to| part_mut::<L>(to, n));
    for (((x0, x1), to0), to1) in x0.iter().zip(x1).zip(to0).zip(to1) {
        let [of0, of1] = f([x0, x1].map(L::from_array), [&*to0, to1].map(L::from_array));
        of0.store(to0);
        of1.store(to1);
    }
}

/// The first numbers of a slice, as lanes.
#[inline(always)]
pub fn part<L: Lanes>(x: &[L::Scalar], n: usize) -> &[L::Array] {
    L::chunks(x.get(..n).unwrap_or(&[])).0
}

/// As [`part`], to write to.
#[inline(always)]
pub fn part_mut<L: Lanes>(to: &mut [L::Scalar], n: usize) -> &mut [L::Array] {
    L::chunks_mut(to.get_mut(..n).unwrap_or(&mut [])).0
}

/// The numbers of as many lanes as hold `n`: where a row has so many, with those of the next one, and its gradients as well, it is
/// gone over without an end of its own.
#[inline(always)]
pub fn room<L: Lanes>(n: usize) -> usize {
    vectors::<L>(n) * L::COUNT
}

/// Writes or adds `by` times any slope with respect to x, or where there is no room for it gives the sum of the sizes. What is
/// used seldom goes here: there is one copy of all of it.
#[inline(never)]
fn bend<L: Lanes>(
    slope: Slope,
    vectors_of: [&[L::Scalar]; 2],
    n: usize,
    eps: f64,
    by: f64,
    to: &mut [L::Scalar],
    add: bool,
) -> f64 {
    let [x, y] = vectors_of.map(|x| x.get(..n).unwrap_or(&[]));
    let to = to.get_mut(..n).unwrap_or(&mut []);
    if let Slope::Cosine { cross, along: [along, _], careful: true } = slope {
        for ((to, x), y) in to.iter_mut().zip(x).zip(y) {
            let before = if add { to.to_f64() } else { 0.0 };
            let slope = L::Scalar::from_f64(before + by * (cross * y.to_f64() - along * x.to_f64()));
            // what is too small for single precision is a zero of its sign
            *to = L::Scalar::ZERO + slope;
        }
        return 0.0;
    }
    let (zero, pad) = (L::Scalar::ZERO, L::Scalar::from_f64(eps));
    let mut sum = F64x2::zero();
    for i in 0..vectors::<L>(x.len()) {
        let (x, y) = (load::<L>(x, i, zero), load::<L>(y, i, pad));
        let d = x - y + L::splat(pad);
        let slope = match slope {
            Slope::Still => L::zero(),
            Slope::Difference => d * L::of(by),
            Slope::Sign => d.signum() * L::of(by),
            // 0, or NaN where d is, or what flows in
            Slope::Largest { max, by: slope } => {
                L::select(d.abs().eq(L::of(max)), d.signum() * L::of(by * slope), L::zero() * L::of(by) * d)
            }
            Slope::Power { max, q, by: slope } => {
                let slope = power(d.abs() / L::of(max), q) * L::of(by * slope);
                L::select(d.lt(L::zero()), -slope, slope)
            }
            Slope::Cosine { cross, along: [along, _], .. } => {
                L::of(by) * (L::of(cross) * y - L::of(along) * x)
            }
        };
        if to.is_empty() {
            sum = slope.abs().add_to_f64(sum);
        } else {
            let before = if add { load::<L>(to, i, zero) } else { L::zero() };
            store(to, i, before + slope);
        }
    }
    sum.sum()
}

/// ||x - y + eps||_p, and its slope: sign(d) (|d| / ||d||)^(p - 1), and 0 at distance 0.
#[inline(never)]
fn norm<L: Lanes>(vectors: [&[L::Scalar]; 2], n: usize, p: f64, eps: f64, to: &mut Measured) {
    let pad = L::of(eps);
    to.eps = eps;
    if p == 2.0 {
        let [squares] = sums::<L, 1>(vectors, n, eps, |x, y| {
            let d = x - y + pad;
            [d * d]
        });
        if holds_squares::<L>(squares) {
            to.value = sqrt(squares);
            to.slope = Slope::Difference;
            return;
        }
    }
    let mut largest = L::zero();
    let [sum] = sums::<L, 1>(vectors, n, eps, |x, y| {
        let d: L = (x - y + pad).abs();
        largest = largest.max(d);
        [d]
    });
    let max = if sum.is_nan() { f64::NAN } else { largest.max_lane().to_f64() };
    let is_sum = p == 1.0;
    to.value = if is_sum { sum } else { max };
    // beyond any precision a large p is the largest
    let is_largest = p > 1e30;
    if max == 0.0 {
        to.slope = Slope::Still;
    } else if is_sum {
        to.slope = Slope::Sign;
    } else if !is_largest && !(max < f64::INFINITY) {
        to.slope = Slope::Difference;
    } else {
        // how many are the largest, which share its slope; or the powers: the largest is taken out, so that none overflows
        let slope = |by: f64, q: f64| {
            if is_largest {
                Slope::Largest { max, by }
            } else {
                Slope::Power { max, q, by }
            }
        };
        let total = bend::<L>(slope(1.0, p), vectors, n, eps, 1.0, &mut [], false);
        if is_largest {
            to.slope = slope(1.0 / total, p);
            return;
        }
        let q = p - 1.0;
        let root = |of: f64| first(long_power(F64x2::splat(total), of / p));
        to.value = max * root(1.0);
        to.slope = slope(root(-q), q);
    }
}

/// Whether no square that matters in the sum has overflowed or vanished.
#[inline(always)]
pub fn holds_squares<L: Lanes>(sum: f64) -> bool {
    let e = L::Scalar::EPSILON.to_f64();
    let least = e * e * e * e;
    least < sum && sum < 1.0 / least
}

/// The cosine of two vectors, and its slopes: (v - cos u) / |x| with u and v the unit vectors.
///
/// That is a difference of like numbers where the vectors point the same way, so its error is one of rounding over |x|: where
/// a norm is below 1/8, or so large that its square is near overflow, single precision is left for double.
#[inline(never)]
fn cosine<L: Lanes>(vectors: [&[L::Scalar]; 2], n: usize, measure: Measure, to: &mut Measured) {
    let [mut dot, mut xx, mut yy] = sums::<L, 3>(vectors, n, 0.0, |x, y| [x * y, x * x, y * y]);
    let usual = |square: f64| 1.0 / 64.0 < square && square < 1e30;
    let careful = L::MANTISSA_BITS < 52 && !(usual(xx) && usual(yy));
    if careful {
        (dot, xx, yy) = (0.0, 0.0, 0.0);
        let [x, y] = vectors;
        for (x, y) in x.iter().zip(y).take(n) {
            let (x, y) = (x.to_f64(), y.to_f64());
            dot += x * y;
            xx += x * x;
            yy += y * y;
        }
    }
    let (cos, cross, along);
    if measure == Measure::SmoothCosine {
        // PyTorch's constant is a float32
        let e = f64::from(1e-12f32);
        (xx, yy) = (xx + e, yy + e);
        let product = sqrt(xx * yy);
        cos = dot / product;
        cross = 1.0 / product;
        along = [cos / xx, cos / yy];
    } else {
        let at_least = |norm: f64| if norm < 1e-8 { 1e-8 } else { norm };
        let (x, y) = (sqrt(xx), sqrt(yy));
        let product = at_least(x) * at_least(y);
        cos = dot / product;
        cross = 1.0 / product;
        // d|x|/dx = x / |x|, which is 0 for the zero vector; the floor is passed over, as PyTorch does
        let part = |norm: f64| if norm == 0.0 { 0.0 } else { cos / (at_least(norm) * norm) };
        along = [part(x), part(y)];
    }
    let (value, sign) = if measure == Measure::CosineDistance { (1.0 - cos, -1.0) } else { (cos, 1.0) };
    to.value = value;
    to.slope = Slope::Cosine { cross: sign * cross, along: along.map(|part| sign * part), careful };
}

/// N sums of terms over two vectors of `n` numbers. Behind their end stand 0 and `pad`, for which the terms must be 0.
///
/// Two blocks of lanes are taken at once: two chains of sums hide the latency of an addition.
#[inline(always)]
fn sums<L: Lanes, const N: usize>(
    vectors: [&[L::Scalar]; 2],
    n: usize,
    pad: f64,
    mut terms: impl FnMut(L, L) -> [L; N],
) -> [f64; N] {
    let [x, y] = vectors.map(|x| blocks::<L>(x.get(..n).unwrap_or(&[])));
    let mut totals = [F64x2::zero(); N];
    for (x, y) in x.chunks(BLOCKS).zip(y.chunks(BLOCKS)) {
        let mut chains = [[L::zero(); N]; 2];
        for ([x0, x1], [y0, y1]) in x.iter().zip(y) {
            add(&mut chains, [(x0, y0), (x1, y1)].map(|(x, y)| terms(L::from_array(x), L::from_array(y))));
        }
        flush(&mut totals, chains);
    }
    if let Some([[x0, x1], [y0, y1]]) = last::<L>(vectors, n, pad) {
        flush(&mut totals, [terms(x0, y0), terms(x1, y1)]);
    }
    totals.map(|total| total.sum())
}

/// Adds a block's terms to two chains.
#[inline(always)]
pub fn add<L: Lanes, const N: usize>(chains: &mut [[L; N]; 2], terms: [[L; N]; 2]) {
    for (chain, terms) in chains.iter_mut().zip(terms) {
        for (sum, term) in chain.iter_mut().zip(terms) {
            *sum = *sum + term;
        }
    }
}

/// Adds two chains to sums in doubles.
#[inline(always)]
pub fn flush<L: Lanes, const N: usize>(totals: &mut [F64x2; N], [one, two]: [[L; N]; 2]) {
    for ((total, one), two) in totals.iter_mut().zip(one).zip(two) {
        *total = (one + two).add_to_f64(*total);
    }
}

/// What is left over of two vectors of `n` numbers, filled up to a block of each.
#[inline(always)]
fn last<L: Lanes>(x: [&[L::Scalar]; 2], n: usize, pad: f64) -> Option<[[L; 2]; 2]> {
    let left = n % (2 * L::COUNT);
    if left == 0 {
        return None;
    }
    let fills = [L::zero(), L::of(pad)];
    let [is_one, is_two] = [0, L::COUNT].map(|first| places::<L>().lt(L::of(left as f64 - first as f64)));
    let mut ends = fills.map(|fill| [fill; 2]);
    for ((end, x), fill) in ends.iter_mut().zip(x).zip(fills) {
        let rest = x.get(n - left..).unwrap_or(&[]);
        let [one, two] = blocks::<L>(rest).first().map_or_else(|| padded::<L>(rest), |block| *block);
        *end = [L::select(is_one, L::from_array(&one), fill), L::select(is_two, L::from_array(&two), fill)];
    }
    Some(ends)
}

/// A slice as whole blocks.
#[inline(always)]
fn blocks<L: Lanes>(s: &[L::Scalar]) -> &[[L::Array; 2]] {
    L::chunks(s).0.as_chunks().0
}

/// What there is at the end of all rows, as a block; what stands behind it is of no account.
#[inline(never)]
fn padded<L: Lanes>(rest: &[L::Scalar]) -> [L::Array; 2] {
    let (whole, tail) = L::chunks(rest);
    let last = load_tail::<L>(tail, L::Scalar::ZERO).to_array();
    match whole.first() {
        Some(one) => [*one, last],
        None => [last; 2],
    }
}

/// t^q for 0 <= t <= 1 and q > 0; of the whole numbers the small ones need no logarithm.
#[inline(always)]
fn power<L: Lanes>(t: L, q: f64) -> L {
    if q == 1.0 {
        t
    } else if q == 2.0 {
        t * t
    } else if q == 3.0 {
        t * t * t
    } else if L::MANTISSA_BITS < 52 {
        short_power(t, q)
    } else {
        long_power(t, q)
    }
}

/// exp(q log t), once for all that need it.
#[inline(never)]
fn long_power<L: Lanes>(t: L, q: f64) -> L {
    (t.ln() * L::of(q)).exp()
}

/// 2^(q log2 t) in single precision, off by less than 1.6e-7 (absolutely: it is at most 1); a t below the normal numbers is 0.
///
/// log2 t = e + log2 m with m in [sqrt(1/2), sqrt(2)), by way of s = (m - 1) / (m + 1), in which it is odd; 2^y = 2^n 2^f as a
/// polynomial of f in [-1/2, 1/2] times 2^n made from bits. Minimax polynomials. About 40 operations for four numbers.
#[inline(always)]
fn short_power<L: Lanes>(t: L, q: f64) -> L {
    let shift = L::MANTISSA_BITS;
    let bits = t.to_bits();
    let exponent = (bits - L::of(core::f64::consts::FRAC_1_SQRT_2).to_bits()).shr(shift);
    let m = L::from_bits(bits - exponent.shl(shift));
    let s = (m - L::one()) / (m + L::one());
    let z = s * s;
    let pair = |x: L, a: f64, b: f64| L::of(a) + L::of(b) * x;
    let odd = pair(z, 2.8853900797890155, 0.9617988475788081)
        + pair(z, 0.5767143908409952, 0.4317356955802257) * (z * z);
    let y = (L::from_ints(exponent) + s * odd) * L::of(q);
    // n + bias in the low bits of the mantissa: shifted up it is the exponent of 2^n, and of 0 where n = -bias
    let y = y.max(L::of(-L::BIAS as f64));
    let magic = L::of((1.5 * (1u64 << shift) as f64) + L::BIAS as f64);
    let n = y + magic;
    let f = y - (n - magic);
    let f2 = f * f;
    let power = pair(f, 1.0, 0.6931469775963932)
        + (pair(f, 0.24022242083557133, 0.05550733747223694)
            + pair(f, 0.009671512723054807, 0.001326472600395607) * f2)
            * f2;
    let power = power * L::from_bits(n.to_bits().shl(shift));
    L::select(t.lt(L::of(f64::from(f32::MIN_POSITIVE))), L::zero(), power)
}

/// The square root, correctly rounded.
#[inline(always)]
fn sqrt(x: f64) -> f64 {
    first(F64x2::splat(x).sqrt())
}

/// One of two lanes.
#[inline(always)]
fn first(x: F64x2) -> f64 {
    let [x, _] = x.to_array();
    x
}

#[cfg(test)]
mod tests {
    use super::*;
    use lanes::F32x4;

    /// Every t of a fine grid in the logarithm, and all of them near 1, for powers from near 0 to hundreds.
    #[test]
    fn short_powers_are_near_the_powers() {
        let mut worst = 0.0;
        let mut see = |t: f32, q: f64| {
            let [short, ..] = short_power(F32x4::splat(t), q).to_array();
            let error = (f64::from(short) - first(long_power(F64x2::splat(f64::from(t)), q))).abs();
            worst = if error > worst { error } else { worst };
        };
        for q in [0.01, 0.1, 0.5, 1.5, 2.5, 5.0, 9.0, 40.0, 300.0] {
            for bits in (f32::MIN_POSITIVE.to_bits()..=1f32.to_bits()).rev().step_by(200_009) {
                see(f32::from_bits(bits), q);
            }
            for bits in (0.99f32.to_bits()..=1f32.to_bits()).step_by(29) {
                see(f32::from_bits(bits), q);
            }
        }
        assert!(worst < 1.6e-7, "{worst:e}");
        let ends = short_power(F32x4::from_array(&[0.0, 1e-45, 1.0, 1.0]), 0.5).to_array();
        assert_eq!(ends, [0.0, 0.0, 1.0, 1.0]);
    }
}
