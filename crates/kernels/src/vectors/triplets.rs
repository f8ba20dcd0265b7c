//! Triplet margin losses: the anchor must be nearer to the positive than to the negative.
use super::measures::{holds_squares, opposite, squares, Measure, Measured, Side};
use super::Row;
use crate::rowwise::{load_tail, store_tail};
use lanes::{F64x2, Lanes, Real};

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
        Measure::Norm { p: if kind == 0.0 { 2.0 } else { 1.0 }, eps: 1e-6 }
    };
    triplet::<L>(row, measure, margin, swap == 1.0)
}

/// max(0, margin + d(a, p) - d(a, n)); with `swap` the least of d(a, n) and d(p, n) stands for d(a, n), and two equal ones
/// share the slope. At the kink the slope is 1.
fn triplet<L: Lanes>(row: &mut Row<L::Scalar>, measure: Measure, margin: f64, swap: bool) -> f64 {
    if let (Measure::Norm { p: 2.0, eps }, false) = (measure, swap) {
        if let Some(value) = euclidean_triplet::<L>(row, margin, eps) {
            return value;
        }
    }
    let [a, p, n] = row.x;
    let near = measure.of::<L>(a, p);
    let far = measure.of::<L>(a, n);
    let mut pulls = [Some((near, row.scale)), Some((far, -row.scale)), None];
    let mut least = far.value;
    if swap {
        // it is NaN only where one of the others is, and z with it
        let swapped = measure.of::<L>(p, n);
        if far.value == swapped.value {
            let half = -0.5 * row.scale;
            pulls = [Some((near, row.scale)), Some((far, half)), Some((swapped, half))];
        } else if far.value > swapped.value {
            pulls = [Some((near, row.scale)), None, Some((swapped, -row.scale))];
            least = swapped.value;
        }
    }
    let z = margin + near.value - least;
    if z < 0.0 {
        row.grads.iter_mut().for_each(|grad| grad.fill(L::Scalar::ZERO));
        return 0.0;
    }
    gradients::<L>(row, measure, &pulls);
    z
}

/// The same for what is used most: the Euclidean distance, all gradients or none, and no square that overflows or vanishes.
/// It gives the same bits. The two square roots, and the two divisions, are one instruction; the gradients are one loop.
fn euclidean_triplet<L: Lanes>(row: &mut Row<L::Scalar>, margin: f64, eps: f64) -> Option<f64> {
    let [a, p, n] = row.x;
    let [grad_a, grad_p, grad_n] = &mut row.grads;
    let wanted = !grad_a.is_empty();
    if grad_p.is_empty() == wanted || grad_n.is_empty() == wanted {
        return None;
    }
    let squares = [squares::<L>(a, p, eps), squares::<L>(a, n, eps)];
    if !squares.iter().all(|&sum| holds_squares::<L>(sum)) {
        return None;
    }
    let distances = F64x2::from_array(&squares).sqrt();
    let [near, far] = distances.to_array();
    let z = margin + near - far;
    if z < 0.0 {
        [grad_a, grad_p, grad_n].into_iter().for_each(|grad| grad.fill(L::Scalar::ZERO));
        return Some(0.0);
    }
    if wanted {
        let [by_near, by_far] = (F64x2::one() / distances).to_array();
        let (to_p, to_n) = (L::of(-row.scale * by_near), L::of(row.scale * by_far));
        let (zero, eps) = (L::zero(), L::of(eps));
        let gradients = |a: L, p: L, n: L| {
            let (p, n) = (zero + (a - p + eps) * to_p, zero + (a - n + eps) * to_n);
            (zero - (p + n), p, n)
        };
        let ((a, a_tail), (p, p_tail), (n, n_tail)) = (L::chunks(a), L::chunks(p), L::chunks(n));
        let (to_a, to_a_tail) = L::chunks_mut(grad_a);
        let (to_p, to_p_tail) = L::chunks_mut(grad_p);
        let (to_n, to_n_tail) = L::chunks_mut(grad_n);
        let to = to_a.iter_mut().zip(to_p).zip(to_n);
        for (((to_a, to_p), to_n), ((a, p), n)) in to.zip(a.iter().zip(p).zip(n)) {
            let (a, p, n) = gradients(L::from_array(a), L::from_array(p), L::from_array(n));
            a.store(to_a);
            p.store(to_p);
            n.store(to_n);
        }
        if !a_tail.is_empty() {
            let load = |tail: &[L::Scalar]| load_tail::<L>(tail, L::Scalar::ZERO);
            let (a, p, n) = gradients(load(a_tail), load(p_tail), load(n_tail));
            store_tail(to_a_tail, a);
            store_tail(to_p_tail, p);
            store_tail(to_n_tail, n);
        }
    }
    Some(z)
}

/// How a pair of the triplet is pulled at: what was measured, and the factor.
type Pull = Option<(Measured, f64)>;

/// A pull, the side of the vector that a gradient is with respect to, and the pair.
type Of<'a, L> = (&'a Pull, Side, &'a [<L as Lanes>::Scalar], &'a [<L as Lanes>::Scalar]);

/// Writes the gradients that are wanted. `pulls` are those of (anchor, positive), (anchor, negative), (positive, negative).
///
/// Where two pairs are pulled at they share one vector. If only differences count, its gradient is the negative of the other
/// two, each of which is of one pair.
fn gradients<L: Lanes>(row: &mut Row<L::Scalar>, measure: Measure, pulls: &[Pull; 3]) {
    let [a, p, n] = row.x;
    let [one, two, three] = pulls;
    let [grad_a, grad_p, grad_n] = &mut row.grads;
    let (first, second) = (Side::First, Side::Second);
    let write = |grad: &mut [L::Scalar], sides: [Of<L>; 2]| {
        if grad.is_empty() {
            return;
        }
        let mut add = false;
        for (pull, side, x, y) in sides {
            if let Some((measured, by)) = pull {
                measured.pull::<L>(*by, side, x, y, grad, add);
                add = true;
            }
        }
    };
    write(grad_p, [(one, second, a, p), (three, first, p, n)]);
    write(grad_n, [(two, second, a, n), (three, second, p, n)]);
    if measure.is_of_difference() && three.is_none() && !grad_p.is_empty() && !grad_n.is_empty() {
        opposite::<L>(grad_p, Some(grad_n), grad_a);
    } else {
        write(grad_a, [(one, first, a, p), (two, first, a, n)]);
    }
}
