//! Triplet margin losses: the anchor must be nearer to the positive than to the negative.
use super::measures::{add, flush, holds_squares, part, part_mut, room, Measure, Measured, BLOCKS};
use super::{run_some, Ahead, Op, Row, Vectors};
use crate::rowwise::{factor, row, row_mut};
use core::ops::Range;
use lanes::{F64x2, Lanes, Real};

/// The distance is ||x - y + eps||_p.
pub fn triplet_margin_loss([p, _, eps, _]: [f64; 4]) -> Measure {
    Measure::Norm { p, eps }
}

/// The distance is Euclidean, that of cosines, or Manhattan's.
pub fn triplet_margin_with_distance_loss([kind, ..]: [f64; 4]) -> Measure {
    // there is no option for what is added to differences
    let norm = |p| Measure::Norm { p, eps: 1e-6 };
    match kind {
        0.0 => norm(2.0),
        1.0 => Measure::CosineDistance,
        _ => norm(1.0),
    }
}

/// max(0, margin + d(a, p) - d(a, n)); with `swap` the least of d(a, n) and d(p, n) stands for d(a, n), and two equal ones
/// share the slope. At the kink the slope is 1. `measured` are d(a, p), d(a, n), and d(p, n) with `swap`.
pub fn triplet<L: Lanes>(row: &mut Row<L::Scalar>, [near, far, swapped]: &[Measured; 3], swap: bool) -> f64 {
    let [_, margin, ..] = row.p;
    let scale = row.scale;
    let mut pulls = [Some((near, scale)), Some((far, -scale)), None];
    let mut least = far.value;
    if swap {
        if far.value == swapped.value {
            pulls = [pulls[0], Some((far, -0.5 * scale)), Some((swapped, -0.5 * scale))];
        } else if far.value > swapped.value {
            pulls = [pulls[0], None, Some((swapped, -scale))];
            least = swapped.value;
        } else if swapped.value.is_nan() {
            // of cosines also where the others are numbers
            least = swapped.value;
        }
    }
    let z = margin + near.value - least;
    let is_far = z < 0.0;
    if row.grads.iter().any(|grad| !grad.is_empty()) {
        gradients::<L>(row, &pulls, is_far);
    }
    if is_far {
        0.0
    } else {
        z
    }
}

/// How a pair of the triplet is pulled at: what was measured, and the factor.
type Pull<'a> = Option<(&'a Measured, f64)>;

/// Writes the gradients that are wanted. `pulls` are those of (anchor, positive), (anchor, negative), (positive, negative).
fn gradients<L: Lanes>(row: &mut Row<L::Scalar>, pulls: &[Pull; 3], is_zero: bool) {
    let [a, p, n] = row.x;
    let length = row.length;
    let n_all = room::<L>(length);
    let is_there = row.grads.iter().all(|grad| grad.len() >= n_all);
    let [to_a, to_p, to_n] = &mut row.grads;
    if let (true, [Some((near, by_p)), Some((far, by_n)), None]) = (is_there, pulls) {
        let is_finite = near.value + far.value < f64::INFINITY;
        if let (true, Some(slope_p), Some(slope_n)) = (is_finite, near.by(), far.by()) {
            // all in one go
            let zero = L::zero();
            let by = |by: f64| L::of(if is_zero { 0.0 } else { -by });
            let (by_p, by_n, eps) = (by(by_p * slope_p), by(by_n * slope_n), L::of(near.eps));
            let [a, p, n] = row.x.map(|x| part::<L>(x, n_all));
            let to_p_and_n = part_mut::<L>(to_p, n_all).iter_mut().zip(part_mut::<L>(to_n, n_all));
            let to = part_mut::<L>(to_a, n_all).iter_mut().zip(to_p_and_n);
            for (((a, p), n), (to_a, (to_p, to_n))) in a.iter().zip(p).zip(n).zip(to) {
                let [a, p, n] = [a, p, n].map(L::from_array);
                let (p, n) = (zero + (a - p + eps) * by_p, zero + (a - n + eps) * by_n);
                (zero - (p + n)).store(to_a);
                p.store(to_p);
                n.store(to_n);
            }
            return;
        }
    }
    if is_zero {
        for grad in &mut row.grads {
            grad.iter_mut().take(length).for_each(|to| *to = L::Scalar::ZERO);
        }
        return;
    }
    let [near, far, swapped] = pulls;
    if let Some((measured, by)) = near {
        measured.pull::<L>(*by, [a, p], length, [to_a, to_p], [false; 2]);
    }
    if let Some((measured, by)) = far {
        measured.pull::<L>(*by, [a, n], length, [to_a, to_n], [true, false]);
    }
    if let Some((measured, by)) = swapped {
        measured.pull::<L>(*by, [p, n], length, [to_p, to_n], [true, far.is_some()]);
    }
}

/// The eps of a call for [`euclidean`], if it is one: vectors of whole lanes, and all gradients.
pub fn in_one_go<L: Lanes>(op: Op, v: &Vectors<L::Scalar>) -> Option<f64> {
    let all = op.is_of_triplets() && v.p[3] != 1.0 && v.grads.iter().all(|grad| !grad.is_empty());
    match op.measure(v.p) {
        Measure::Norm { p: 2.0, eps } if all && v.length.is_multiple_of(L::COUNT) => Some(eps),
        _ => None,
    }
}

/// As many rows are measured ahead here.
pub const AHEAD: usize = 4;

/// Some rows of what is used most: the Euclidean distance, with all gradients. It gives the same bits in 0.7 to 0.9 of the time (measured).
///
/// Both distances are measured at once, and meanwhile the differences stand where the gradients with respect to positive and negative
/// will.
pub fn euclidean<L: Lanes>(
    op: Op,
    v: &mut Vectors<L::Scalar>,
    rows: Range<usize>,
    eps: f64,
    measured: &mut Ahead,
    mut sum: f64,
) -> f64 {
    let (n, margin) = (v.length, v.p[1]);
    let mut distances = [F64x2::zero(); AHEAD];
    for (to, i) in distances.iter_mut().zip(rows.clone()) {
        let [_, to_p, to_n] = v.grads.each_mut().map(|to| row_mut(to, i, n));
        *to = differences::<L>(v.x.map(|x| row(x, i, n)), eps, [to_p, to_n]);
    }
    let ready = distances.map(|squares| {
        let distances = squares.sqrt();
        (distances.to_array(), (F64x2::one() / distances).to_array(), squares.to_array())
    });
    for (([near, far], [by_near, by_far], squares), i) in ready.into_iter().zip(rows) {
        if !squares.into_iter().all(holds_squares::<L>) {
            sum = run_some::<L>(op, v, i..i + 1, measured, sum);
            continue;
        }
        let z = margin + near - far;
        let scale = v.scale * factor(v.upstream, i);
        // the differences are finite: 0 times one is 0
        let (value, scale) = if z < 0.0 { (0.0, 0.0) } else { (z, scale) };
        let to = v.grads.each_mut().map(|to| row_mut(to, i, n));
        gradients_of_differences::<L>(-scale * by_near, scale * by_far, to);
        sum += value;
        if let Some(to) = v.values.get_mut(i) {
            *to = L::Scalar::from_f64(value);
        }
    }
    sum
}

/// The sums of the squares of a - p + eps and of a - n + eps, as a norm has them to the bit; and these differences.
#[inline(always)]
fn differences<L: Lanes>(x: [&[L::Scalar]; 3], eps: f64, to: [&mut [L::Scalar]; 2]) -> F64x2 {
    let pad = L::of(eps);
    let terms = |a: &L::Array, p: &L::Array, n: &L::Array, to_p: &mut L::Array, to_n: &mut L::Array| {
        let a = L::from_array(a);
        let (near, far) = (a - L::from_array(p) + pad, a - L::from_array(n) + pad);
        near.store(to_p);
        far.store(to_n);
        [near * near, far * far]
    };
    let [(a, a_last), (p, p_last), (n, n_last)] = x.map(|x| L::chunks(x).0.as_chunks::<2>());
    let [(to_p, to_p_last), (to_n, to_n_last)] = to.map(|to| L::chunks_mut(to).0.as_chunks_mut::<2>());
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
    if let ([a], [p], [n], [to_p], [to_n]) = (a_last, p_last, n_last, to_p_last, to_n_last) {
        flush(&mut sums, [terms(a, p, n, to_p, to_n), [L::zero(); 2]]);
    }
    let [near, far] = sums;
    near.zip_low(far) + near.zip_high(far)
}

/// From differences to the gradients.
#[inline(always)]
fn gradients_of_differences<L: Lanes>(by_p: f64, by_n: f64, to: [&mut [L::Scalar]; 3]) {
    let (zero, by_p, by_n) = (L::zero(), L::of(by_p), L::of(by_n));
    let [a, p, n] = to.map(|to| L::chunks_mut(to).0);
    for ((to_a, to_p), to_n) in a.iter_mut().zip(p).zip(n) {
        let (p, n) = (zero + L::from_array(to_p) * by_p, zero + L::from_array(to_n) * by_n);
        (zero - (p + n)).store(to_a);
        p.store(to_p);
        n.store(to_n);
    }
}
