//! Losses and functions of vectors: one number of two or three vectors that stand in the same row.
//!
//! - [`measures`]: how far two vectors are apart, or how alike they are, and the slope of that;
//! - [`pairs`]: the measures themselves, and the cosine embedding loss;
//! - [`triplets`]: the triplet margin losses;
//! - [`many`]: what is said of sets of vectors: all distances ([`all_pairs`]), losses of triplets that are mined in a batch
//!   ([`mining`]) and contrastive ones ([`contrastive`]), on products of [`panels`], and of [`weighted`] vectors for their gradients; the
//!   nearest of a set ([`nearest`]), on [`quantised`] ones.
//!
//! [`run`] is the one driver. It cuts the arrays into rows, works out what multiplies a row's gradient, adds the losses up in
//! double precision and writes them where they are wanted. A loss is given one [`Row`] and what was measured of it. Some rows are
//! measured before the gradients of the first are written, so that nothing waits for square roots and divisions. Euclidean
//! triplets, which are used most, have a way of their own ([`triplets::euclidean`]).
//!
//! Gradients may be written over the end of their row, so rows go in their order, and each writes all that is its own, first without
//! adding to what is there.
use crate::rowwise::factor;
use core::ops::Range;
use lanes::{Lanes, Real};
use measures::{Measure, Measured};

pub mod all_pairs;
pub mod bounds;
pub mod contrastive;
pub mod many;
pub mod measures;
pub mod mining;
pub mod nearest;
pub mod pairs;
pub mod panels;
pub mod quantised;
pub mod triplets;
mod weighted;

/// The losses by their number at the door; ts/doors/vectors.ts has the same table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    /// ||x1 - x2 + eps||_p. `p`: the norm, eps.
    PairwiseDistance,
    /// The cosine of the angle between x1 and x2.
    CosineSimilarity,
    /// Cosine embedding. `p`: margin.
    CosineEmbeddingLoss,
    /// Triplet margin of norms. `p`: the norm, margin, eps, swap (1 or 0).
    TripletMarginLoss,
    /// Triplet margin of a distance. `p`: the distance (0 Euclidean, 1 cosine, 2 Manhattan), margin, unused, swap (1 or 0).
    TripletMarginWithDistanceLoss,
}

impl Op {
    const ALL: [Op; 5] = [
        Op::PairwiseDistance,
        Op::CosineSimilarity,
        Op::CosineEmbeddingLoss,
        Op::TripletMarginLoss,
        Op::TripletMarginWithDistanceLoss,
    ];

    /// The loss of this number.
    pub fn from_door(op: u32) -> Option<Op> {
        Self::ALL.get(op as usize).copied()
    }

    /// Whether there are three vectors in a row, and not two.
    pub fn is_of_triplets(self) -> bool {
        matches!(self, Op::TripletMarginLoss | Op::TripletMarginWithDistanceLoss)
    }

    /// What is measured of two of them.
    fn measure(self, p: [f64; 4]) -> Measure {
        match self {
            Op::PairwiseDistance => pairs::pairwise_distance(p),
            Op::CosineSimilarity => pairs::cosine_similarity(),
            Op::CosineEmbeddingLoss => Measure::SmoothCosine,
            Op::TripletMarginLoss => triplets::triplet_margin_loss(p),
            Op::TripletMarginWithDistanceLoss => triplets::triplet_margin_with_distance_loss(p),
        }
    }
}

/// A batch of pairs or triplets. Slices that are absent are empty.
pub struct Vectors<'a, R> {
    /// How many rows.
    pub count: usize,
    /// How many numbers in each vector.
    pub length: usize,
    /// The vectors, [count, length] each; the third is absent for pairs.
    pub x: [&'a [R]; 3],
    /// 1 or -1 for each row, [count], or absent.
    pub target: &'a [R],
    /// Where the values go, [count], or absent.
    pub values: &'a mut [R],
    /// Where the gradient with respect to each of `x` goes, or absent.
    pub grads: [&'a mut [R]; 3],
    /// The gradient that flows in, one number per value, or absent.
    pub upstream: &'a [R],
    /// Multiplies every gradient.
    pub scale: f64,
    /// The options.
    pub p: [f64; 4],
}

/// One row, as a loss sees it.
pub struct Row<'a, R> {
    /// The vectors, and what stands behind them; for pairs the third is empty.
    pub x: [&'a [R]; 3],
    /// How many numbers each has.
    pub length: usize,
    /// Whether the two are alike: the target is 1.
    pub alike: bool,
    /// Where the gradients go, and those of the rows behind, which are written later; or empty.
    pub grads: [&'a mut [R]; 3],
    /// What multiplies the gradient: the row's upstream gradient is in it already.
    pub scale: f64,
    /// The options.
    pub p: [f64; 4],
}

/// Runs `op` over all rows and gives the sum of the values: 0 where vectors have no numbers; NaN, and nothing written, where a slice has
/// not the length that it must have.
pub fn run<L: Lanes>(op: Op, v: &mut Vectors<L::Scalar>) -> f64 {
    let (count, length) = (v.count, v.length);
    let third = if op.is_of_triplets() { length } else { 0 };
    let is = |length: usize, n: usize| count.checked_mul(n) == Some(length);
    let may_be = |length: usize, n: usize| length == 0 || is(length, n);
    let [a, b, c] = v.x.map(<[_]>::len);
    let [grad_a, grad_b, grad_c] = v.grads.each_ref().map(|grad| grad.len());
    let fits = is(a, length)
        && is(b, length)
        && is(c, third)
        && may_be(grad_a, length)
        && may_be(grad_b, length)
        && may_be(grad_c, third)
        && (is(v.target.len(), 1) || op != Op::CosineEmbeddingLoss && v.target.is_empty())
        && may_be(v.values.len(), 1)
        && may_be(v.upstream.len(), 1);
    if !fits || length == 0 {
        // rows of nothing may be more than anybody can go through
        return if fits { 0.0 } else { f64::NAN };
    }
    let mut sum = 0.0;
    let eps = triplets::in_one_go::<L>(op, v);
    let most = if eps.is_some() { triplets::AHEAD } else { AHEAD };
    let ahead = if length < LONG / size_of::<L::Scalar>() { most } else { 1 };
    let mut measured = [[Measured::NOTHING; 3]; AHEAD];
    for first in (0..count).step_by(ahead) {
        let rows = first..count.min(first + ahead);
        sum = match eps {
            Some(eps) => triplets::euclidean::<L>(op, v, rows, eps, &mut measured, sum),
            None => run_some::<L>(op, v, rows, &mut measured, sum),
        };
    }
    sum
}

/// What was measured of some rows: of the first vector with the others, and of those with each other.
type Ahead = [[Measured; 3]; AHEAD];

/// Runs some rows, [`AHEAD`] at most, and adds their values to a sum.
#[inline(never)]
fn run_some<L: Lanes>(
    op: Op,
    v: &mut Vectors<L::Scalar>,
    rows: Range<usize>,
    measured: &mut Ahead,
    mut sum: f64,
) -> f64 {
    let length = v.length;
    let measure = op.measure(v.p);
    let swap = op.is_of_triplets() && v.p[3] == 1.0;
    let pairs = if swap { 3 } else { 1 + usize::from(op.is_of_triplets()) };
    for (measured, i) in measured.iter_mut().zip(rows.clone()) {
        let [a, b, c] = v.x.map(|x| x.get(i * length..).unwrap_or(&[]));
        for (to, pair) in measured.iter_mut().zip([[a, b], [a, c], [b, c]]).take(pairs) {
            measure.of::<L>(pair, length, to);
        }
    }
    for (measured, i) in measured.iter().zip(rows) {
        let row = &mut Row {
            x: v.x.map(|x| x.get(i * length..).unwrap_or(&[])),
            length,
            alike: v.target.get(i).is_some_and(|&t| t == L::Scalar::ONE),
            grads: v.grads.each_mut().map(|grad| grad.get_mut(i * length..).unwrap_or(&mut [])),
            scale: v.scale * factor(v.upstream, i),
            p: v.p,
        };
        let value = match op {
            Op::PairwiseDistance | Op::CosineSimilarity => pairs::plain::<L>(row, measured),
            Op::CosineEmbeddingLoss => pairs::cosine_embedding_loss::<L>(row, measured),
            Op::TripletMarginLoss | Op::TripletMarginWithDistanceLoss => {
                triplets::triplet::<L>(row, measured, swap)
            }
        };
        sum += value;
        if let Some(to) = v.values.get_mut(i) {
            *to = L::Scalar::from_f64(value);
        }
    }
    sum
}

/// Of so many rows the measures are taken before the gradients of the first are written; of long ones, which would leave the first
/// cache meanwhile, of one.
const AHEAD: usize = 16;
/// The bytes of a long row.
const LONG: usize = 1024;
