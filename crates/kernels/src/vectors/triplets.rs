//! Triplet margin losses: the anchor must be nearer to the positive than to the negative.
use super::measures::{
    add, blocks, blocks_mut, cut_to, flush, holds_squares, padded, Measure, Measured, BLOCKS,
};
use super::{one, Op, Row, Vectors};
use crate::rowwise::{factor, load_tail, store_tail};
use lanes::{F64x2, Lanes, Real};

/// What is added to the differences of distances that have no option for it.
const EPS: f64 = 1e-6;

/// The distance is ||x - y + eps||_p.
pub fn triplet_margin_loss<L: Lanes>(row: &mut Row<L::Scalar>) -> f64 {
    let [p, margin, eps, swap] = row.p;
    triplet::<L>(row, Measure::Norm { p, eps }, margin, swap == 1.0)
}

/// The distance is Euclidean, that of cosines, or Manhattan's.
pub fn triplet_margin_with_distance_loss<L: Lanes>(row: &mut Row<L::Scalar>) -> f64 {
    let [kind, margin, _, swap] = row.p;
    let measure = if kind == 1.0 {
        Measure::CosineDistance
    } else {
        Measure::Norm { p: if kind == 0.0 { 2.0 } else { 1.0 }, eps: EPS }
    };
    triplet::<L>(row, measure, margin, swap == 1.0)
}

/// max(0, margin + d(a, p) - d(a, n)); with `swap` the least of d(a, n) and d(p, n) stands for d(a, n), and two equal ones
/// share the slope. At the kink the slope is 1.
fn triplet<L: Lanes>(row: &mut Row<L::Scalar>, measure: Measure, margin: f64, swap: bool) -> f64 {
    let [a, p, n] = row.x;
    let near = measure.of::<L>(a, p);
    let far = measure.of::<L>(a, n);
    let scale = row.scale;
    let mut pulls = [Some((near, scale)), Some((far, -scale)), None];
    let mut least = far.value;
    if swap {
        // it is NaN only where one of the others is, and z with it
        let swapped = measure.of::<L>(p, n);
        if far.value == swapped.value {
            pulls = [pulls[0], Some((far, -0.5 * scale)), Some((swapped, -0.5 * scale))];
        } else if far.value > swapped.value {
            pulls = [pulls[0], None, Some((swapped, -scale))];
            least = swapped.value;
        }
    }
    let z = margin + near.value - least;
    if z < 0.0 {
        row.grads.iter_mut().for_each(|grad| grad.fill(L::Scalar::ZERO));
        return 0.0;
    }
    gradients::<L>(row, &pulls);
    z
}

/// The eps of a call for [`euclidean`], if it is one.
pub fn euclidean_eps<L: Lanes>(op: Op, v: &Vectors<L::Scalar>) -> Option<f64> {
    let [kind, _, eps, swap] = v.p;
    let (is_euclidean, eps) = match op {
        Op::TripletMarginLoss => (kind == 2.0, eps),
        Op::TripletMarginWithDistanceLoss => (kind == 0.0, EPS),
        _ => (false, 0.0),
    };
    (is_euclidean && swap != 1.0 && v.grads.iter().all(|grad| !grad.is_empty())).then_some(eps)
}

/// Of so many rows the differences are taken before the gradients of the first are written; of long ones, which would leave the first
/// cache meanwhile, of one.
const AHEAD: usize = 4;
/// The bytes of a long row.
const LONG: usize = 1024;

/// All rows for what is used most: the Euclidean distance, with all gradients. It gives the same bits.
///
/// Sums, square roots and divisions are ready for some rows before they are needed, so nothing waits for them. Meanwhile the
/// differences stand where the gradients with respect to positive and negative will.
pub fn euclidean<L: Lanes>(op: Op, v: &mut Vectors<L::Scalar>, eps: f64) -> f64 {
    let (length, margin) = (v.length, v.p[1]);
    let mut sum = 0.0;
    let ahead = if size_of::<L::Scalar>() * length < LONG { AHEAD } else { 1 };
    for first in (0..v.count).step_by(ahead) {
        let mut distances = [F64x2::zero(); AHEAD];
        let rows = first..v.count.min(first + ahead);
        for (to, i) in distances.iter_mut().zip(rows.clone()) {
            let [a, p, n] = v.x.map(|x| whole_row(x, i, length));
            let [_, to_p, to_n] = &mut v.grads;
            let (Some(a), Some(p), Some(n), Some(to_p), Some(to_n)) =
                (a, p, n, whole_row_mut(to_p, i, length), whole_row_mut(to_n, i, length))
            else {
                return f64::NAN;
            };
            *to = differences::<L>(a, p, n, eps, to_p, to_n);
        }
        let ready = distances.map(|squares| {
            let distances = squares.sqrt();
            (distances.to_array(), (F64x2::one() / distances).to_array(), squares.to_array())
        });
        for (([near, far], [by_near, by_far], squares), i) in ready.into_iter().zip(rows) {
            let z = margin + near - far;
            let value = if !squares.iter().all(|&sum| holds_squares::<L>(sum)) {
                one::<L>(op, v, i)
            } else {
                let [to_a, to_p, to_n] = v.grads.each_mut().map(|to| whole_row_mut(to, i, length));
                let (Some(to_a), Some(to_p), Some(to_n)) = (to_a, to_p, to_n) else { return f64::NAN };
                let scale = v.scale * factor(v.upstream, i);
                // the differences are finite: 0 times one is 0
                let scale = if z < 0.0 { 0.0 } else { scale };
                gradients_of_differences::<L>(-scale * by_near, scale * by_far, to_a, to_p, to_n);
                if z < 0.0 {
                    0.0
                } else {
                    z
                }
            };
            sum += value;
            if let Some(to) = v.values.get_mut(i) {
                *to = L::Scalar::from_f64(value);
            }
        }
    }
    sum
}

/// Row `i` of a matrix, which is there, so that all rows are known to have one length.
#[inline(always)]
fn whole_row<R>(s: &[R], i: usize, n: usize) -> Option<&[R]> {
    s.get(i * n..)?.get(..n)
}

/// As [`whole_row`].
#[inline(always)]
fn whole_row_mut<R>(s: &mut [R], i: usize, n: usize) -> Option<&mut [R]> {
    s.get_mut(i * n..)?.get_mut(..n)
}

/// The sums of the squares of a - p + eps and of a - n + eps, as a norm has them to the bit; and these differences.
#[inline(always)]
fn differences<L: Lanes>(
    a: &[L::Scalar],
    p: &[L::Scalar],
    n: &[L::Scalar],
    eps: f64,
    to_p: &mut [L::Scalar],
    to_n: &mut [L::Scalar],
) -> F64x2 {
    let pad = L::of(eps);
    let terms = |a: &L::Array, p: &L::Array, n: &L::Array, to_p: &mut L::Array, to_n: &mut L::Array| {
        let a = L::from_array(a);
        let (near, far) = (a - L::from_array(p) + pad, a - L::from_array(n) + pad);
        near.store(to_p);
        far.store(to_n);
        [near * near, far * far]
    };
    let ((a, a_rest), (p, p_rest), (n, n_rest)) = (blocks::<L>(a), blocks::<L>(p), blocks::<L>(n));
    let ((to_p, to_p_rest), (to_n, to_n_rest)) = (blocks_mut::<L>(to_p), blocks_mut::<L>(to_n));
    let mut sums = [F64x2::zero(); 2];
    let groups = a.chunks(BLOCKS).zip(p.chunks(BLOCKS)).zip(n.chunks(BLOCKS));
    for ((((a, p), n), to_p), to_n) in groups.zip(to_p.chunks_mut(BLOCKS)).zip(to_n.chunks_mut(BLOCKS)) {
        let mut chains = [[L::zero(); 2]; 2];
        let to = to_p.iter_mut().zip(to_n);
        for ((([a0, a1], [p0, p1]), [n0, n1]), ([to_p0, to_p1], [to_n0, to_n1])) in
            a.iter().zip(p).zip(n).zip(to)
        {
            add(&mut chains, [terms(a0, p0, n0, to_p0, to_n0), terms(a1, p1, n1, to_p1, to_n1)]);
        }
        flush(&mut sums, chains);
    }
    if !a_rest.is_empty() {
        let [a0, a1] = padded::<L>(a_rest, 0.0);
        let [p0, p1] = padded::<L>(p_rest, eps);
        let [n0, n1] = padded::<L>(n_rest, eps);
        let ([mut to_p0, mut to_p1], [mut to_n0, mut to_n1]) = ([a0; 2], [a0; 2]);
        flush(
            &mut sums,
            [terms(&a0, &p0, &n0, &mut to_p0, &mut to_n0), terms(&a1, &p1, &n1, &mut to_p1, &mut to_n1)],
        );
        cut_to::<L>(&[to_p0, to_p1], to_p_rest);
        cut_to::<L>(&[to_n0, to_n1], to_n_rest);
    }
    let [near, far] = sums;
    near.zip_low(far) + near.zip_high(far)
}

/// From differences to the gradients.
#[inline(always)]
fn gradients_of_differences<L: Lanes>(
    by_p: f64,
    by_n: f64,
    to_a: &mut [L::Scalar],
    to_p: &mut [L::Scalar],
    to_n: &mut [L::Scalar],
) {
    let (zero, by_p, by_n) = (L::zero(), L::of(by_p), L::of(by_n));
    let gradients = |p: L, n: L| {
        let (p, n) = (zero + p * by_p, zero + n * by_n);
        (zero - (p + n), p, n)
    };
    let (a, a_tail) = L::chunks_mut(to_a);
    let (p, p_tail) = L::chunks_mut(to_p);
    let (n, n_tail) = L::chunks_mut(to_n);
    for ((to_a, to_p), to_n) in a.iter_mut().zip(p).zip(n) {
        let (a, p, n) = gradients(L::from_array(to_p), L::from_array(to_n));
        a.store(to_a);
        p.store(to_p);
        n.store(to_n);
    }
    if !a_tail.is_empty() {
        let load = |tail: &[L::Scalar]| load_tail::<L>(tail, L::Scalar::ZERO);
        let (a, p, n) = gradients(load(p_tail), load(n_tail));
        store_tail(a_tail, a);
        store_tail(p_tail, p);
        store_tail(n_tail, n);
    }
}

/// How a pair of the triplet is pulled at: what was measured, and the factor.
type Pull = Option<(Measured, f64)>;

/// Writes the gradients that are wanted. `pulls` are those of (anchor, positive), (anchor, negative), (positive, negative).
fn gradients<L: Lanes>(row: &mut Row<L::Scalar>, pulls: &[Pull; 3]) {
    let [a, p, n] = row.x;
    let [to_a, to_p, to_n] = &mut row.grads;
    let [near, far, swapped] = pulls;
    if let Some((measured, by)) = near {
        measured.pull::<L>(*by, [a, p], [to_a, to_p], [false; 2]);
    }
    if let Some((measured, by)) = far {
        measured.pull::<L>(*by, [a, n], [to_a, to_n], [true, false]);
    }
    if let Some((measured, by)) = swapped {
        measured.pull::<L>(*by, [p, n], [to_p, to_n], [true, far.is_some()]);
    }
}
