//! Margin losses of a row of scores: multi-class, multi-label, and the soft multi-label one.
use super::{factor, load, no_class, only, places, store, sweep, vectors, Row};
use lanes::{F64x2, Lanes, Real};

/// 1/C sum over c != y of w_y max(0, margin - x_y + x_c)^p; at the kink the slope is 0. NaN counts as a violation.
pub fn multi_margin_loss<L: Lanes>(row: &mut Row<L::Scalar>) -> f64 {
    let label = row.labels.first().copied().unwrap_or(-1);
    let Some(x) = row.x.get(label as usize) else { return no_class(row) };
    let [p, margin] = row.p;
    let n = row.x.len();
    let weight = factor(row.weight, label as usize) / n as f64;
    let base = L::of(margin) - L::splat(*x);
    let factor = L::of(row.scale * weight);
    let zero = L::zero();
    let (mut value, mut pull) = (F64x2::zero(), F64x2::zero());
    let mut i = 0;
    sweep(n, [(row.x, L::Scalar::ZERO)], [&mut *row.grad], |live, [x]: [L; 1], _| {
        let z = base + x;
        let (v, slope) = if p == 1.0 { (z, L::one()) } else { (z * z, z + z) };
        let passive = z.le(zero) | is_column::<L>(i, label);
        let gradient = L::select(passive, zero, slope * factor);
        value = only(live, L::select(passive, zero, v)).add_to_f64(value);
        pull = only(live, gradient).add_to_f64(pull);
        i += 1;
        [gradient]
    });
    if let Some(to) = row.grad.get_mut(label as usize) {
        *to = L::Scalar::from_f64(-pull.sum());
    }
    weight * value.sum()
}

/// 1/C sum over labels j in the set, classes i outside of it, of max(0, 1 - x_j + x_i); at the kink the slope is 0. The
/// set ends at the first -1; a label that stands in it twice counts twice. NaN counts as a violation.
///
/// The gradient is how many violations a class took part in, times a factor: they are counted in the row itself, exactly
/// (whole numbers), and multiplied at the end.
pub fn multi_label_margin_loss<L: Lanes>(row: &mut Row<L::Scalar>) -> f64 {
    let members = row.labels.split(|&j| j == -1).next().unwrap_or(&[]);
    let n = row.x.len();
    if members.iter().any(|&j| j as usize >= n) {
        return no_class(row);
    }
    row.grad.fill(L::Scalar::ZERO);
    let (zero, one) = (L::zero(), L::one());
    let mut value = F64x2::zero();
    for i in 0..vectors::<L>(n) {
        let x = load::<L>(row.x, i, L::Scalar::ZERO);
        // 1 outside of the set, 0 inside and behind the end of the row
        let mut outside = only(places::<L>().lt(L::of((n - i * L::COUNT) as f64)), one);
        for &j in members {
            outside = L::keep(!is_column::<L>(i, j), outside);
        }
        let mut count = zero;
        for &j in members {
            let z = one - L::splat(row.x.get(j as usize).copied().unwrap_or_default()) + x;
            let active = !(z.le(zero) | outside.eq(zero));
            value = L::keep(active, z).add_to_f64(value);
            let violations = L::keep(active, one);
            count = count + violations;
            if let Some(to) = row.grad.get_mut(j as usize) {
                *to = *to - violations.sum();
            }
        }
        let count = load::<L>(row.grad, i, L::Scalar::ZERO) + count;
        store(row.grad, i, count);
    }
    super::softmax::multiply::<L>(row.grad, row.scale / n as f64, 0.0);
    value.sum() / n as f64
}

/// -1/C sum_c w_c (t_c log sigmoid(x_c) + (1 - t_c) log sigmoid(-x_c)); the gradient is w_c (sigmoid(x_c) - t_c) / C.
pub fn multi_label_soft_margin_loss<L: Lanes>(row: &mut Row<L::Scalar>) -> f64 {
    let n = row.x.len();
    let (zero, one) = (L::zero(), L::one());
    let scale = L::of(row.scale / n as f64);
    let mut value = F64x2::zero();
    let x = [(row.x, L::Scalar::ZERO), (row.target, L::Scalar::ZERO), (row.weight, L::Scalar::ONE)];
    sweep(n, x, [&mut *row.grad], |live, [x, t, weight]: [L; 3], _| {
        let is_negative = x.lt(zero);
        let e = (-x.abs()).exp_flushed();
        // the loss is log(1 + e) on the side that x is on, and |x| more on the other; what has no share adds nothing
        let against = L::select(is_negative, t, one - t);
        let v = L::keep(against.ne(zero), against * x.abs()) + e.ln_1p_unit();
        let slope = against - e / (one + e);
        value = only(live, weight * v).add_to_f64(value);
        [scale * weight * L::select(is_negative, -slope, slope)]
    });
    value.sum() / n as f64
}

/// Which lane of the vector at place `i` is this column's.
#[inline(always)]
pub(crate) fn is_column<L: Lanes>(i: usize, column: i32) -> L::Mask {
    places::<L>().eq(L::of(f64::from(column) - (i * L::COUNT) as f64))
}
