//! How far two vectors are apart, or how alike they are, and how that changes with each of them.
//!
//! A [`Measure`] goes once over two vectors and gives a [`Measured`]: the number, and the few numbers that its slope is made
//! of ([`Slope`]). [`Measured::pull`] goes over them again and writes the gradient, or adds it to what is there.
//!
//! Sums are kept in as many chains as hide the latency of an addition, for a block in the precision of the lanes, from there
//! on in doubles. What single precision cannot hold is found by looking at the sums, one row at a time, and done again
//! with more care: squares that overflow or vanish (the largest difference is taken out), short vectors in a cosine (doubles).
use crate::rowwise::{load_tail, store_tail};
use core::slice::from_ref;
use lanes::{F64x2, Ints, Lanes, Real};

/// As many blocks are added up in their own precision before the sum goes on in doubles.
const BLOCKS: usize = 16;

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
    /// The sign of d where |d| is the largest, shared by those that are.
    Largest { max: f64 },
    /// The sign of d times (|d| / max)^q by.
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

/// The vector of a pair that a gradient is with respect to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Side {
    /// x
    First,
    /// y
    Second,
}

impl Measure {
    /// Whether only the difference counts: then the two gradients are opposite.
    pub fn is_of_difference(self) -> bool {
        matches!(self, Measure::Norm { .. })
    }

    /// Measures two vectors.
    pub fn of<L: Lanes>(self, x: &[L::Scalar], y: &[L::Scalar]) -> Measured {
        match self {
            Measure::Norm { p, eps } => {
                let (value, slope) = norm::<L>(x, y, p, eps);
                Measured { value, slope, eps }
            }
            _ => cosine::<L>(x, y, self),
        }
    }
}

impl Measured {
    /// Writes `by` times the gradient with respect to one of the two vectors, which are those that were measured; or adds it.
    /// A zero that is written is positive.
    #[inline(never)]
    pub fn pull<L: Lanes>(
        &self,
        by: f64,
        side: Side,
        x: &[L::Scalar],
        y: &[L::Scalar],
        to: &mut [L::Scalar],
        add: bool,
    ) {
        let signed = if side == Side::First { by } else { -by };
        let eps = L::of(self.eps);
        if !add && !matches!(self.slope, Slope::Difference { .. } | Slope::Cosine { .. }) {
            to.fill(L::Scalar::ZERO);
        }
        match self.slope {
            Slope::Still => {}
            Slope::Difference { by } => {
                let by = L::of(signed * by);
                each(to, add, x, y, |x: L, y| (x - y + eps) * by);
            }
            Slope::Sign => {
                let by = L::of(signed);
                each(to, true, x, y, |x: L, y| (x - y + eps).signum() * by);
            }
            Slope::Largest { max } => {
                let max = L::of(max);
                let [ties] = sums::<L, 1, 1>(x, y, self.eps, |x, y| {
                    [L::select((x - y + eps).abs().eq(max), L::one(), L::zero())]
                });
                let by = L::of(signed / ties);
                each(to, true, x, y, |x, y| {
                    let d: L = x - y + eps;
                    // 0, or NaN where d is
                    L::select(d.abs().eq(max), d.signum() * by, L::zero() * d)
                });
            }
            Slope::Power { max, q, by } => {
                let (max, by) = (L::of(max), L::of(signed * by));
                each(to, true, x, y, |x, y| {
                    let d: L = x - y + eps;
                    let slope = power(d.abs() / max, q) * by;
                    L::select(d.lt(L::zero()), -slope, slope)
                });
            }
            Slope::Cosine { cross, along: [first, second], careful } => {
                let (own, other, along) = if side == Side::First { (x, y, first) } else { (y, x, second) };
                if careful {
                    for ((to, own), other) in to.iter_mut().zip(own).zip(other) {
                        let before = if add { to.to_f64() } else { 0.0 };
                        let slope = cross * other.to_f64() - along * own.to_f64();
                        *to = L::Scalar::from_f64(before + by * slope);
                    }
                } else {
                    let (by, cross, along) = (L::of(by), L::of(cross), L::of(along));
                    each(to, add, own, other, |own, other| by * (cross * other - along * own));
                }
            }
        }
    }
}

/// The negative of a gradient, or of the sum of two.
#[inline(never)]
pub fn opposite<L: Lanes>(one: &[L::Scalar], two: Option<&[L::Scalar]>, to: &mut [L::Scalar]) {
    match two {
        Some(two) => each(to, false, one, two, |x: L, y| L::zero() - (x + y)),
        None => each(to, false, one, one, |x: L, _| L::zero() - x),
    }
}

/// ||x - y + eps||_p, and its slope: sign(d) (|d| / ||d||)^(p - 1), and 0 at distance 0.
#[inline(never)]
fn norm<L: Lanes>(x: &[L::Scalar], y: &[L::Scalar], p: f64, pad: f64) -> (f64, Slope) {
    let eps = L::of(pad);
    if p == 2.0 {
        let squares = squares::<L>(x, y, pad);
        if holds_squares::<L>(squares) {
            let distance = sqrt(squares);
            return (distance, Slope::Difference { by: 1.0 / distance });
        }
    }
    let mut largest = L::zero();
    let [sum] = sums::<L, 1, 4>(x, y, pad, |x, y| {
        let d: L = (x - y + eps).abs();
        largest = largest.max(d);
        [d]
    });
    let max = if sum.is_nan() { f64::NAN } else { largest.max_lane().to_f64() };
    if max == 0.0 {
        return (0.0, Slope::Still);
    }
    if p == 1.0 {
        return (sum, Slope::Sign);
    }
    // beyond any precision a large p is the largest
    if p > 1e30 {
        return (max, Slope::Largest { max });
    }
    let q = p - 1.0;
    if max.is_nan() || max == f64::INFINITY {
        return (max, Slope::Difference { by: 1.0 / max });
    }
    // the largest is taken out, so that no power overflows
    let by = L::of(max);
    let [powers] = sums::<L, 1, 1>(x, y, pad, |x: L, y| [power((x - y + eps).abs() / by, p)]);
    let root = |of: f64| first(long_power(F64x2::splat(powers), of / p));
    (max * root(1.0), Slope::Power { max, q, by: root(-q) })
}

/// The sum of the squares of x - y + eps.
#[inline(never)]
pub fn squares<L: Lanes>(x: &[L::Scalar], y: &[L::Scalar], eps: f64) -> f64 {
    let add = L::of(eps);
    let [squares] = sums::<L, 1, 4>(x, y, eps, |x, y| {
        let d = x - y + add;
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
    let [mut dot, mut xx, mut yy] = sums::<L, 3, 2>(x, y, 0.0, |x, y| [x * y, x * x, y * y]);
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

/// As many vectors as are taken at once.
type Block<L, const CHAINS: usize> = [<L as Lanes>::Array; CHAINS];

/// N sums of terms over two vectors. Behind their end stand 0 and `pad`, so that `x - y + pad` is 0 there. Four chains hide
/// the latency of an addition; where a term costs much, one will do.
#[inline(always)]
fn sums<L: Lanes, const N: usize, const CHAINS: usize>(
    x: &[L::Scalar],
    y: &[L::Scalar],
    pad: f64,
    mut terms: impl FnMut(L, L) -> [L; N],
) -> [f64; N] {
    let (x, x_rest) = blocks::<L, CHAINS>(x);
    let (y, y_rest) = blocks::<L, CHAINS>(y);
    let whole = x.chunks(BLOCKS).zip(y.chunks(BLOCKS));
    let last;
    let mut rest = None;
    if !x_rest.is_empty() {
        last = (padded::<L, CHAINS>(x_rest, 0.0), padded::<L, CHAINS>(y_rest, pad));
        rest = Some((from_ref(&last.0), from_ref(&last.1)));
    }
    let mut totals = [F64x2::zero(); N];
    for (x, y) in whole.chain(rest) {
        let mut chains = [[L::zero(); N]; CHAINS];
        for (x, y) in x.iter().zip(y) {
            for ((chain, x), y) in chains.iter_mut().zip(x).zip(y) {
                for (sum, term) in chain.iter_mut().zip(terms(L::from_array(x), L::from_array(y))) {
                    *sum = *sum + term;
                }
            }
        }
        let mut sum = [L::zero(); N];
        for chain in chains {
            for (sum, chain) in sum.iter_mut().zip(chain) {
                *sum = *sum + chain;
            }
        }
        for (total, sum) in totals.iter_mut().zip(sum) {
            *total = sum.add_to_f64(*total);
        }
    }
    totals.map(|total| total.sum())
}

/// A slice as whole blocks and what is left over.
#[inline(always)]
fn blocks<L: Lanes, const CHAINS: usize>(s: &[L::Scalar]) -> (&[Block<L, CHAINS>], &[L::Scalar]) {
    let (blocks, _) = L::chunks(s).0.as_chunks::<CHAINS>();
    (blocks, s.get(blocks.len() * CHAINS * L::COUNT..).unwrap_or(&[]))
}

/// What is left over, filled up to a block.
#[inline(never)]
fn padded<L: Lanes, const CHAINS: usize>(rest: &[L::Scalar], fill: f64) -> Block<L, CHAINS> {
    let fill = L::Scalar::from_f64(fill);
    let mut block = [L::array(fill); CHAINS];
    for (to, from) in block.iter_mut().zip(rest.chunks(L::COUNT)) {
        *to = load_tail::<L>(from, fill).to_array();
    }
    block
}

/// Writes a function of two vectors, or adds it to what is there. (A constant `add` halves the code.)
#[inline(always)]
fn each<L: Lanes>(to: &mut [L::Scalar], add: bool, x: &[L::Scalar], y: &[L::Scalar], f: impl Fn(L, L) -> L) {
    let (x, x_tail) = L::chunks(x);
    let (y, y_tail) = L::chunks(y);
    let (to, to_tail) = L::chunks_mut(to);
    let after = |before: L, x: L, y: L| (if add { before } else { L::zero() }) + f(x, y);
    for ((to, x), y) in to.iter_mut().zip(x).zip(y) {
        after(L::from_array(to), L::from_array(x), L::from_array(y)).store(to);
    }
    if !to_tail.is_empty() {
        let zero = L::Scalar::ZERO;
        let last = after(load_tail(to_tail, zero), load_tail(x_tail, zero), load_tail(y_tail, zero));
        store_tail(to_tail, last);
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
