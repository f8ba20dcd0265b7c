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
//! double precision and writes them where they are wanted. A loss sees one [`Row`] and nothing else. It goes over its
//! vectors twice: for the measures, and, while they are in the first cache, once more for the gradients. Euclidean triplets are the one
//! exception ([`triplets::euclidean`]): they are used most, and some rows at a time are faster.
use crate::rowwise::{factor, row, row_mut};
use lanes::{Lanes, Real};

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
    /// The vectors; for pairs the third is empty.
    pub x: [&'a [R]; 3],
    /// Whether the two are alike: the target is 1.
    pub alike: bool,
    /// Where the gradients go, or empty.
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
    if let Some(eps) = triplets::euclidean_eps::<L>(op, v) {
        return triplets::euclidean::<L>(op, v, eps);
    }
    for i in 0..count {
        let value = one::<L>(op, v, i);
        sum += value;
        if let Some(to) = v.values.get_mut(i) {
            *to = L::Scalar::from_f64(value);
        }
    }
    sum
}

/// The value of one row, which writes its gradients.
#[inline(never)]
fn one<L: Lanes>(op: Op, v: &mut Vectors<L::Scalar>, i: usize) -> f64 {
    let mut one = Row {
        x: v.x.map(|x| row(x, i, v.length)),
        alike: v.target.get(i).is_some_and(|&t| t == L::Scalar::ONE),
        grads: v.grads.each_mut().map(|grad| row_mut(grad, i, v.length)),
        scale: v.scale * factor(v.upstream, i),
        p: v.p,
    };
    match op {
        Op::PairwiseDistance => pairs::pairwise_distance::<L>(&mut one),
        Op::CosineSimilarity => pairs::cosine_similarity::<L>(&mut one),
        Op::CosineEmbeddingLoss => pairs::cosine_embedding_loss::<L>(&mut one),
        Op::TripletMarginLoss => triplets::triplet_margin_loss::<L>(&mut one),
        Op::TripletMarginWithDistanceLoss => triplets::triplet_margin_with_distance_loss::<L>(&mut one),
    }
}
