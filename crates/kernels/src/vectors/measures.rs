//! How far two vectors are apart, or how alike they are, and how that changes with each of them.
//!
//! A [`Measure`] goes once over two vectors and gives a [`Measured`]: the number, and the few numbers that its slope is made
//! of ([`Slope`]). [`Measured::pull`] goes over them again and writes the gradient, or adds it to what is there.
//!
//! Sums are kept in as many chains as hide the latency of an addition, for a block in the precision of the lanes, from there
//! on in doubles. What single precision cannot hold is found by looking at the sums, one row at a time, and done again
//! with more care: squares that overflow or vanish (the largest difference is taken out), short vectors in a cosine (doubles).
use crate::rowwise::{load, load_tail, store, store_tail, vectors};
use core::slice::from_ref;
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
    /// d by
    Difference { by: f64 },
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
    eps: f64,
}

impl Measure {
    /// Measures two vectors.
    pub fn of<L: Lanes>(self, x: &[L::Scalar], y: &[L::Scalar]) -> Measured {
        match self {
            Measure::Norm { p, eps } => norm::<L>(x, y, p, eps),
            _ => cosine::<L>(x, y, self),
        }
    }
}

impl Measured {
    /// Writes `by` times the gradients with respect to the two vectors, which are those that were measured, where there is room for
    /// them; or adds them. A zero that is written is positive.
    #[inline(never)]
    pub fn pull<L: Lanes>(
        &self,
        by: f64,
        [x, y]: [&[L::Scalar]; 2],
        [to_x, to_y]: [&mut [L::Scalar]; 2],
        add: [bool; 2],
    ) {
        let eps = L::of(self.eps);
        // a loop for each would be more code: what is there is masked
        let [keep_x, keep_y] = add.map(|add| L::Ints::splat(if add { -1 } else { 0 }));
        let and = |before: L, keep: L::Ints, gradient: L| L::from_bits(before.to_bits() & keep) + gradient;
        match self.slope {
            Slope::Difference { by: slope } if !to_x.is_empty() && !to_y.is_empty() => {
                let by = L::of(by * slope);
                both(x, y, to_x, to_y, |x, y, to_x, to_y| {
                    let d = (x - y + eps) * by;
                    (and(to_x, keep_x, d), and(to_y, keep_y, -d))
                });
            }
            Slope::Sign if !to_x.is_empty() && !to_y.is_empty() => {
                let by = L::of(by);
                both(x, y, to_x, to_y, |x, y, to_x, to_y| {
                    let d: L = x - y + eps;
                    let d = d.signum() * by;
                    (and(to_x, keep_x, d), and(to_y, keep_y, -d))
                });
            }
            Slope::Cosine { cross, along, careful: false } if !to_x.is_empty() && !to_y.is_empty() => {
                let (by, cross, [along_x, along_y]) = (L::of(by), L::of(cross), along.map(L::of));
                both(x, y, to_x, to_y, |x, y, to_x, to_y| {
                    let (of_x, of_y) = (by * (cross * y - along_x * x), by * (cross * x - along_y * y));
                    (and(to_x, keep_x, of_x), and(to_y, keep_y, of_y))
                });
            }
            slope => {
                let [add_x, add_y] = add;
                // the sum of slopes is not asked for
                if !to_x.is_empty() {
                    bend::<L>(slope, [x, y], self.eps, by, to_x, add_x);
                }
                if !to_y.is_empty() {
                    bend::<L>(slope.turned(), [y, x], -self.eps, by, to_y, add_y);
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

/// Writes functions of two vectors, and of what is there already.
#[inline(always)]
fn both<L: Lanes>(
    x: &[L::Scalar],
    y: &[L::Scalar],
    to_x: &mut [L::Scalar],
    to_y: &mut [L::Scalar],
    f: impl Fn(L, L, L, L) -> (L, L),
) {
    let ((x, x_tail), (y, y_tail)) = (L::chunks(x), L::chunks(y));
    let ((to_x, to_x_tail), (to_y, to_y_tail)) = (L::chunks_mut(to_x), L::chunks_mut(to_y));
    for (((x, y), to_x), to_y) in x.iter().zip(y).zip(to_x).zip(to_y) {
        let (of_x, of_y) = f(L::from_array(x), L::from_array(y), L::from_array(to_x), L::from_array(to_y));
        of_x.store(to_x);
        of_y.store(to_y);
    }
    if !x_tail.is_empty() {
        let load = |tail: &[L::Scalar]| load_tail::<L>(tail, L::Scalar::ZERO);
        let (of_x, of_y) = f(load(x_tail), load(y_tail), load(to_x_tail), load(to_y_tail));
        store_tail(to_x_tail, of_x);
        store_tail(to_y_tail, of_y);
    }
}

/// Writes or adds `by` times any slope with respect to x, where there is room for it, and gives the sum of the sizes. What is
/// used seldom goes here: there is one copy of all of it.
#[inline(never)]
fn bend<L: Lanes>(
    slope: Slope,
    [x, y]: [&[L::Scalar]; 2],
    eps: f64,
    by: f64,
    to: &mut [L::Scalar],
    add: bool,
) -> f64 {
    if let Slope::Cosine { cross, along: [along, _], careful: true } = slope {
        for ((to, x), y) in to.iter_mut().zip(x).zip(y) {
            let before = if add { to.to_f64() } else { 0.0 };
            *to = L::Scalar::from_f64(before + by * (cross * y.to_f64() - along * x.to_f64()));
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
            Slope::Difference { by: slope } => d * L::of(by * slope),
            Slope::Sign => d.signum() * L::of(by),
            // 0, or NaN where d is
            Slope::Largest { max, by: slope } => {
                L::select(d.abs().eq(L::of(max)), d.signum() * L::of(by * slope), L::zero() * d)
            }
            Slope::Power { max, q, by: slope } => {
                let slope = power(d.abs() / L::of(max), q) * L::of(by * slope);
                L::select(d.lt(L::zero()), -slope, slope)
            }
            Slope::Cosine { cross, along: [along, _], .. } => {
                L::of(by) * (L::of(cross) * y - L::of(along) * x)
            }
        };
        sum = slope.abs().add_to_f64(sum);
        if !to.is_empty() {
            let before = if add { load::<L>(to, i, zero) } else { L::zero() };
            store(to, i, before + slope);
        }
    }
    sum.sum()
}

/// ||x - y + eps||_p, and its slope: sign(d) (|d| / ||d||)^(p - 1), and 0 at distance 0.
#[inline(never)]
fn norm<L: Lanes>(x: &[L::Scalar], y: &[L::Scalar], p: f64, eps: f64) -> Measured {
    let pad = L::of(eps);
    if p == 2.0 {
        let squares = squares::<L>(x, y, eps);
        if holds_squares::<L>(squares) {
            let value = sqrt(squares);
            return Measured { value, slope: Slope::Difference { by: 1.0 / value }, eps };
        }
    }
    let mut largest = L::zero();
    let [sum] = sums::<L, 1>(x, y, eps, |x, y| {
        let d: L = (x - y + pad).abs();
        largest = largest.max(d);
        [d]
    });
    let max = if sum.is_nan() { f64::NAN } else { largest.max_lane().to_f64() };
    if max == 0.0 {
        return Measured { value: 0.0, slope: Slope::Still, eps };
    }
    if p == 1.0 {
        return Measured { value: sum, slope: Slope::Sign, eps };
    }
    // beyond any precision a large p is the largest
    let is_largest = p > 1e30;
    if !is_largest && !(max < f64::INFINITY) {
        return Measured { value: max, slope: Slope::Difference { by: 1.0 / max }, eps };
    }
    // how many are the largest, which share its slope; or the powers: the largest is taken out, so that none overflows
    let slope =
        if is_largest { Slope::Largest { max, by: 1.0 } } else { Slope::Power { max, q: p, by: 1.0 } };
    let total = bend::<L>(slope, [x, y], eps, 1.0, &mut [], false);
    if is_largest {
        return Measured { value: max, slope: Slope::Largest { max, by: 1.0 / total }, eps };
    }
    let q = p - 1.0;
    let root = |of: f64| first(long_power(F64x2::splat(total), of / p));
    Measured { value: max * root(1.0), slope: Slope::Power { max, q, by: root(-q) }, eps }
}

/// The sum of the squares of x - y + eps.
#[inline(always)]
fn squares<L: Lanes>(x: &[L::Scalar], y: &[L::Scalar], pad: f64) -> f64 {
    let eps = L::of(pad);
    let [squares] = sums::<L, 1>(x, y, pad, |x, y| {
        let d = x - y + eps;
        [d * d]
    });
    squares
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
fn cosine<L: Lanes>(x: &[L::Scalar], y: &[L::Scalar], measure: Measure) -> Measured {
    let [mut dot, mut xx, mut yy] = sums::<L, 3>(x, y, 0.0, |x, y| [x * y, x * x, y * y]);
    let usual = |square: f64| 1.0 / 64.0 < square && square < 1e30;
    let careful = L::MANTISSA_BITS < 52 && !(usual(xx) && usual(yy));
    if careful {
        (dot, xx, yy) = (0.0, 0.0, 0.0);
        for (x, y) in x.iter().zip(y) {
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
    let slope = Slope::Cosine { cross: sign * cross, along: along.map(|part| sign * part), careful };
    Measured { value, slope, eps: 0.0 }
}

/// Two vectors are taken at once: two chains of sums hide the latency of an addition.
pub type Block<L> = [<L as Lanes>::Array; 2];

/// N sums of terms over two vectors. Behind their end stand 0 and `pad`, for which the terms must be 0.
#[inline(always)]
fn sums<L: Lanes, const N: usize>(
    x: &[L::Scalar],
    y: &[L::Scalar],
    pad: f64,
    mut terms: impl FnMut(L, L) -> [L; N],
) -> [f64; N] {
    let (x, x_rest) = blocks::<L>(x);
    let (y, y_rest) = blocks::<L>(y);
    let last;
    let mut rest = None;
    if !x_rest.is_empty() {
        last = (padded::<L>(x_rest, 0.0), padded::<L>(y_rest, pad));
        rest = Some((from_ref(&last.0), from_ref(&last.1)));
    }
    let mut totals = [F64x2::zero(); N];
    for (x, y) in x.chunks(BLOCKS).zip(y.chunks(BLOCKS)).chain(rest) {
        let mut chains = [[L::zero(); N]; 2];
        for ([x0, x1], [y0, y1]) in x.iter().zip(y) {
            add(
                &mut chains,
                [terms(L::from_array(x0), L::from_array(y0)), terms(L::from_array(x1), L::from_array(y1))],
            );
        }
        flush(&mut totals, chains);
    }
    totals.map(|total| total.sum())
}

/// Adds two chains to sums in doubles.
#[inline(always)]
pub fn flush<L: Lanes, const N: usize>(totals: &mut [F64x2; N], [one, two]: [[L; N]; 2]) {
    for ((total, one), two) in totals.iter_mut().zip(one).zip(two) {
        *total = (one + two).add_to_f64(*total);
    }
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

/// A slice as whole blocks and what is left over.
#[inline(always)]
pub fn blocks<L: Lanes>(s: &[L::Scalar]) -> (&[Block<L>], &[L::Scalar]) {
    let (blocks, _) = L::chunks(s).0.as_chunks();
    (blocks, s.get(blocks.len() * 2 * L::COUNT..).unwrap_or(&[]))
}

/// As [`blocks`], to write to.
#[inline(always)]
pub fn blocks_mut<L: Lanes>(s: &mut [L::Scalar]) -> (&mut [Block<L>], &mut [L::Scalar]) {
    let whole = s.len() / (2 * L::COUNT) * (2 * L::COUNT);
    let (s, rest) = s.split_at_mut_checked(whole).unwrap_or_default();
    (L::chunks_mut(s).0.as_chunks_mut().0, rest)
}

/// What is left over, filled up to a block.
#[inline(never)]
pub fn padded<L: Lanes>(rest: &[L::Scalar], fill: f64) -> Block<L> {
    let fill = L::Scalar::from_f64(fill);
    let (whole, tail) = L::chunks(rest);
    let last = if tail.is_empty() { L::array(fill) } else { load_tail::<L>(tail, fill).to_array() };
    match whole.first() {
        Some(one) => [*one, last],
        None => [last, L::array(fill)],
    }
}

/// The other way round: of a block what there is room for.
#[inline(never)]
pub fn cut_to<L: Lanes>([one, two]: &Block<L>, to: &mut [L::Scalar]) {
    let (first, second) = to.split_at_mut(L::COUNT.min(to.len()));
    store_tail(first, L::from_array(one));
    store_tail(second, L::from_array(two));
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
