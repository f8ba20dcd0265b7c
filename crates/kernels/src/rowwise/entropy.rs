//! Cross-entropy between a row of logits and a class or probabilities, and the negative log-likelihood alone.
use super::softmax::{exponentials, multiply, sum_below};
use super::{factor, no_class, only, sweep, Row, Rows};
use lanes::{F64x2, Lanes, Real};

/// -sum_c q_c log softmax(x)_c with q_c = w_c ((1 - s) t_c + s / C); t is the target, or 1 at the label and 0 elsewhere.
/// The gradient is softmax(x) sum(q) - q, and -(1 - s) w_c log softmax(x)_c with respect to t. A class without
/// a share (q_c = 0) adds nothing, even where its logarithm is -Infinity.
///
/// q is in two parts, because one is usually not there: `hard`, the label's, and the spread over all classes, `soft`.
pub fn cross_entropy_loss<L: Lanes>(row: &mut Row<L::Scalar>) -> f64 {
    let [ignore_index, smoothing] = row.p;
    let label = row.labels.first().copied();
    if label.is_some_and(|y| f64::from(y) == ignore_index) {
        row.grad.fill(L::Scalar::ZERO);
        return 0.0;
    }
    let e = exponentials::<L>(row.x, row.grad);
    let log = e.log();
    let (mut value, mut mass, mut hard) = (0.0, 0.0, 0.0);
    if let Some(y) = label {
        let Some(x) = row.x.get(y as usize) else { return no_class(row) };
        hard = (1.0 - smoothing) * factor(row.weight, y as usize);
        mass = hard;
        if hard != 0.0 {
            value = hard * (log - (x.to_f64() - e.max));
        }
    }
    let count = row.x.len() as f64;
    let spread = smoothing / count;
    // without weights all classes have the same share, so the sum of their logarithms is that of the numbers less as many logarithms
    if label.is_some() && (spread == 0.0 || row.weight.is_empty()) {
        let mut less = 0.0;
        if spread != 0.0 {
            value += spread * (count * log - sum_below::<L>(row.x, e.max));
            mass += smoothing;
            less = row.scale * spread;
        }
        multiply::<L>(row.grad, row.scale * mass / e.sum, less);
    } else {
        let (one, zero) = (L::Scalar::ONE, L::Scalar::ZERO);
        let (max, log) = (L::of(e.max), L::of(log));
        let (keep, spread) = (L::of(1.0 - smoothing), L::of(spread));
        let upstream = L::of(-row.scale) * keep;
        let n = row.x.len();
        let (mut values, mut masses) = (F64x2::zero(), F64x2::zero());
        let (target, weight) = ((row.target, zero), (row.weight, one));
        sweep(n, [(row.x, zero), target, weight], [&mut *row.grad_target], |live, [x, t, w]: [L; 3], _| {
            let soft = only(live, (t * keep + spread) * w);
            let log_p = x - max - log;
            values = L::keep(soft.ne(L::zero()), soft * log_p).add_to_f64(values);
            masses = soft.add_to_f64(masses);
            [upstream * w * log_p]
        });
        value -= values.sum();
        mass += masses.sum();
        let (of_softmax, scale) = (L::of(row.scale * mass / e.sum), L::of(row.scale));
        if !row.grad.is_empty() {
            sweep(n, [target, weight], [&mut *row.grad], |_, [t, w]: [L; 2], [e]| {
                [e * of_softmax - (t * keep + spread) * w * scale]
            });
        }
    }
    if let Some(to) = label.and_then(|y| row.grad.get_mut(y as usize)) {
        *to = L::Scalar::from_f64(to.to_f64() - row.scale * hard);
    }
    value
}

/// -w_y x_y of each row, which is of log-probabilities: nothing else of a row is looked at, so they are gone through as they stand.
#[inline(never)]
pub fn nll_losses<R: Real>(r: &mut Rows<R>) -> f64 {
    r.grad_input.fill(R::ZERO);
    let mut sum = 0.0;
    for (i, &label) in r.labels.iter().enumerate() {
        // where number 0 of the row stands; the others follow `inner` apart
        let within = if r.inner > 1 { i % r.inner } else { 0 };
        let start = (i - within) * r.columns + within;
        let y = label as usize;
        let place = if y < r.columns { start + y * r.inner } else { usize::MAX };
        let mut value = 0.0;
        if f64::from(label) == r.p[0] {
            // nothing
        } else if let Some(x) = r.input.get(place) {
            let weight = factor(r.weight, y);
            value = -weight * x.to_f64();
            if let Some(to) = r.grad_input.get_mut(place) {
                *to = R::from_f64(-(r.scale * factor(r.upstream, i)) * weight);
            }
        } else {
            value = f64::NAN;
            for to in r.grad_input.iter_mut().skip(start).step_by(r.inner.max(1)).take(r.columns) {
                *to = R::NAN;
            }
        }
        if let Some(to) = r.values.get_mut(i) {
            *to = R::from_f64(value);
        }
        sum += value;
    }
    sum
}
