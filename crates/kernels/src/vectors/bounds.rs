//! How near two vectors can be, from rough products ([`super::quantised`]): for searches, which pass over most of what they see.
//!
//! What is bounded is half the squared distance; where the metric is the cosine one, of vectors made of length 1: that is 1 minus the
//! cosine; else minus the product. Where vectors lie around one place, as embeddings do, rough products cannot tell them apart. So a
//! **centre** c is taken off: distances stay what they are, and -q y is -q (y - c) - q c, whose last part is the same for all y (the
//! query stands as it is). The centre is found from a sample of the index, and used where it takes off more than half of the squares.
//!
//! **What is lost.** Whatever c is, the bounds hold. Let u be 2^-24, x' what of a vector is packed, less the centre, and s = |x'|. The
//! centre is made of numbers of single precision, so a number of x' is one difference, rounded: off by u of *itself*, however
//! far away the centre is. That makes s² wrong by 2 u of it, and a product of two by 2 u s s'. What slack does not hold is the [`Doubt`] of
//! each vector:
//! - Euclidean: s² is also off by 16 u (8 ulp), and by u where it becomes s² / 2 in single precision. Two sums of the bound, the
//!   products and what is measured (in double precision, of 2^27 numbers at most) take 7 u of s² + s'² more. [`ROUNDING`] is 67 u.
//! - cosine: x times 1 / |x| is off by 11 u, and by u of s when the centre is taken off: together by less than e = 16 u. Two
//!   vectors d apart seem to be at most 2 e nearer or farther, and d² / 2 is off by less than 2 e (s + s') + 2 e². What is measured may be off by
//!   2^-51 for each number. Without a centre vectors stand as they are: then s = 1, and what 1 / |x| is off has room in the slack.
//! - product: q c is off by 2 u |q| |c| in the numbers of q and when it is rounded, a sum and what is measured take 2 u of that more.
//!   All of it is the query's.
use super::panels::{in_panels, row, rows_of_mut, Pool, SqrtOf, WIDTH};
use super::quantised::{pack, scale, slack, usable_square, UNIT};
use lanes::{F32x4, I32x4, Lanes, Real};

/// What comparisons in single precision may lose, of the sum of two squares.
const ROUNDING: f64 = 4e-6;

/// Shorter vectors have no cosines: the product is divided by a constant.
const SHORT: f64 = 2e-8;

/// Of so many vectors the centre is found at most.
const SAMPLE: usize = 16;

/// How far two vectors are apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Metric {
    /// The length of the difference.
    Euclidean,
    /// 1 minus the cosine.
    Cosine,
    /// Minus the product.
    Dot,
}

/// Writes a vector times a factor, less the centre, in single precision.
pub type Read<'a> = &'a dyn Fn(bool, usize, f64, &[f32], &mut [f32]);

/// Where the vectors of queries (false) and of the index (true) come from.
pub struct Source<'a> {
    /// Both, where they are of single precision.
    pub singles: [Option<&'a [f32]>; 2],
    /// One of them less the centre.
    pub read: Read<'a>,
    /// One of them in double precision.
    pub read_double: &'a dyn Fn(bool, usize, &mut [f64]),
}

/// `x` times a factor, less the centre; what `to` has more than `x` stays.
#[inline(always)]
pub fn shifted<R: Real>(x: &[R], factor: f64, centre: &[f32], to: &mut [f32]) {
    if let Some(x) = R::singles(x) {
        for (to, x) in to.iter_mut().zip(x) {
            *to = *x;
        }
        let by = F32x4::of(factor);
        for (to, c) in F32x4::chunks_mut(to).0.iter_mut().zip(F32x4::chunks(centre).0) {
            (F32x4::from_array(to) * by - F32x4::from_array(c)).store(to);
        }
    } else {
        for ((to, x), c) in to.iter_mut().zip(x).zip(centre) {
            *to = (x.to_f64() * factor - f64::from(*c)) as f32;
        }
    }
}

/// What of a vector is not certain, from its length s: (a s + b) s + c.
type Doubt = [f64; 3];

/// What the bounds of a panel's vectors are made of: the base and the factor of each.
pub type Parts = ([f32; WIDTH], [f32; WIDTH]);

/// What is at most what is compared, of a query and four vectors: from their product, to which slack has been added, and the base and
/// the factor of either side.
#[inline(always)]
pub fn bound(product: I32x4, [base, factor]: [F32x4; 2], [b, f]: [F32x4; 2]) -> F32x4 {
    (base + b) - (factor * f) * F32x4::from_ints(product)
}

/// Whether most squares are at least a quarter of this one.
#[inline(never)]
fn is_usual(square: f32, squares: &[f32]) -> bool {
    let (mut more, mut less) = (0, 0);
    for other in squares {
        more += i32::from(square <= 4.0 * *other);
        less += i32::from(4.0 * *other < square);
    }
    more > less
}

/// What is known of a search before it begins.
pub struct Bounds<'a> {
    metric: Metric,
    /// What was given.
    pub source: Source<'a>,
    length: usize,
    /// What is added to products.
    pub slack: f64,
    /// Zeros where there is none.
    centre: &'a mut [f32],
    centred: bool,
    zeros: &'a [f32],
    /// Room for eight vectors.
    block: &'a mut [f32],
    /// That of queries and that of the index.
    doubts: [Doubt; 2],
}

/// How many numbers of scratch [`Bounds`] take.
pub fn size(length: usize) -> usize {
    (WIDTH + 2) * in_panels(length)
}

impl<'a> Bounds<'a> {
    /// Of vectors of `length` numbers, of which the index has `count`; `room`: scratch of [`size`].
    #[inline(never)]
    pub fn new(metric: Metric, source: Source<'a>, [count, length]: [usize; 2], room: &'a mut [f32]) -> Self {
        room.fill(0.0);
        let mut room = Pool::new(room);
        let [centre, zeros] = [(); 2].map(|()| room.take(in_panels(length)));
        let (slack, block) = (slack(length), room.all());
        let mut bounds = Self {
            metric,
            source,
            length,
            slack,
            centre,
            centred: false,
            zeros,
            block,
            doubts: [[0.0; 3]; 2],
        };
        let far = bounds.find_centre(count);
        let u = 1.0 / 16777216.0;
        bounds.doubts = match metric {
            Metric::Euclidean => [[ROUNDING / 2.0, 0.0, 0.0]; 2],
            Metric::Cosine => {
                let (e, measured) = (16.0 * u, length as f64 * 2.0 * f64::EPSILON);
                [[ROUNDING / 2.0, 2.0 * e, e * e + measured]; 2]
            }
            Metric::Dot => [[0.0, 4.0 * u * far, 0.0], [0.0; 3]],
        };
        bounds
    }

    /// Looks for a centre, and gives its length, or 0: the mean of some vectors, but for those whose squares are more than four times
    /// those of most of them, or cannot be trusted.
    #[inline(never)]
    fn find_centre(&mut self, count: usize) -> f64 {
        let block = core::mem::take(&mut self.block);
        let x = block.get_mut(..in_panels(self.length)).unwrap_or(&mut []);
        let step = count.div_ceil(SAMPLE).max(1);
        let mut squares = [f32::NAN; SAMPLE];
        let (mut taken, mut sum) = (0.0, 0.0);
        // first the squares
        for turn in 0..2 * SAMPLE {
            let place = turn % SAMPLE;
            if place * step >= count {
                continue;
            }
            self.write(true, place * step, [self.metric == Metric::Cosine, false], x);
            let square = usable_square(x.as_chunks().0);
            if turn < SAMPLE {
                squares[place] = square;
            } else if is_usual(square, &squares) {
                for (c, x) in self.centre.iter_mut().zip(&*x) {
                    *c += *x;
                }
                taken += 1.0;
                sum += f64::from(square);
            }
        }
        for c in self.centre.iter_mut() {
            *c *= (1.0 / taken) as f32;
        }
        self.block = block;
        let square = f64::from(usable_square(self.centre.as_chunks().0));
        self.centred = square > 0.5 * sum / taken;
        if self.centred {
            return square.sqrt_of();
        }
        self.centre.fill(0.0);
        0.0
    }

    /// Writes a vector, made one of length 1 or not (NaN where that cannot be), less the centre or not.
    #[inline(never)]
    fn write(&self, second: bool, i: usize, [unit, centred]: [bool; 2], to: &mut [f32]) {
        let mut by = 1.0;
        if unit {
            (self.source.read)(second, i, by, self.zeros, to);
            let length = f64::from(usable_square(to.as_chunks().0)).sqrt_of();
            if !(length > SHORT) {
                if let Some(x) = to.first_mut() {
                    *x = f32::NAN;
                }
                return;
            }
            by = 1.0 / length;
        }
        (self.source.read)(second, i, by, if centred { self.centre } else { self.zeros }, to);
    }

    /// Packs up to eight vectors of a set of `count`, from the first on, and gives what their bounds are made of.
    #[inline(never)]
    pub fn pack(&mut self, second: bool, [first, count]: [usize; 2], panel: &mut [i32]) -> Parts {
        let count = WIDTH.min(count - first);
        let (high, length) = (in_panels(self.length), self.length);
        let centred = self.centred && (second || self.metric != Metric::Dot);
        let unit = centred && self.metric == Metric::Cosine;
        let block = core::mem::take(&mut self.block);
        let singles = self.source.singles[usize::from(second)];
        let x = match singles {
            // as they stand, where their numbers come in eights
            Some(x) if high == length && !centred => {
                x.get(first * length..).and_then(|x| x.get(..count * length))
            }
            _ => {
                for (i, to) in rows_of_mut(block, high).enumerate().take(count) {
                    self.write(second, first + i, [unit, centred], to);
                }
                block.get(..count * high)
            }
        };
        let x = x.unwrap_or(&[]).as_chunks().0;
        let squares = pack(x, high / WIDTH, panel.as_chunks_mut().0.as_chunks_mut().0);
        let mut parts = ([0.0; WIDTH], [0.0; WIDTH]);
        for (i, ((square, base), factor)) in
            squares.into_iter().zip(&mut parts.0).zip(&mut parts.1).enumerate()
        {
            // in double precision what is not 0 may have become so
            let square = if singles.is_some() || square > 0.0 { square } else { f32::NAN };
            let length = f64::from(square).sqrt_of();
            let by = if self.metric != Metric::Cosine || unit {
                1.0
            } else if length > SHORT {
                length
            } else {
                f64::NAN
            };
            let size = length / by;
            let whole = if self.metric != Metric::Dot {
                size * size / 2.0
            } else if second {
                0.0
            } else {
                let x = row(x, i, high / WIDTH).as_flattened();
                x.iter().zip(&*self.centre).fold(0.0, |sum, (x, c)| sum - f64::from(*x) * f64::from(*c))
            };
            *base = (whole - self.doubt(second, size)) as f32;
            *factor = (1.0 / (f64::from(scale(square)) * by)) as f32;
        }
        self.block = block;
        parts
    }

    /// By how much the part that a vector of this length has in a bound may be off.
    fn doubt(&self, second: bool, size: f64) -> f64 {
        let [a, b, c] = self.doubts[usize::from(second)];
        (a * size + b) * size + c
    }

    /// What is at least the distance of two vectors, from what is at most what is compared, and the factors of both.
    pub fn most(&self, least: f32, factors: [f32; 2]) -> f64 {
        let [f, g] = factors.map(f64::from);
        let doubts = self.doubt(false, UNIT * f) + self.doubt(true, UNIT * g);
        // more than the distance even between zeros: what was measured goes first
        let most = f64::from(least) + 2.1 * (self.slack * (f * g) + doubts) + 1e-300;
        if self.metric == Metric::Euclidean {
            (2.0 * most).sqrt_of()
        } else {
            most
        }
    }

    /// What is compared with bounds where a distance is, rounded up.
    pub fn limit(&self, distance: f64) -> f32 {
        let d = if self.metric == Metric::Euclidean { distance * distance / 2.0 } else { distance };
        // from 0 as well
        (d + d.abs() * 1e-6 + 1e-44) as f32
    }
}
