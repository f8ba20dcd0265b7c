//! Rowwise losses and functions: what is said of a row of scores, one row at a time.
//!
//! - [`softmax`]: the exponentials of a row, and with them logSumExp, softmax and logSoftmax;
//! - [`entropy`]: cross-entropy and the negative log-likelihood;
//! - [`strips`]: the softmax family and cross-entropy of few columns, several rows at a time;
//! - [`margins`]: the multi-class and multi-label margin losses.
//!
//! [`run`] is the driver. It cuts the arrays into rows, works out what multiplies a row's gradient, adds the losses up in
//! double precision and writes them where they are wanted. A loss sees one [`Row`] and nothing else, so what comes out for
//! a row cannot depend on the others; but for two that go over the rows themselves, for speed: the negative log-likelihood, which
//! looks at one number of each, and [`strips`]. [`turn`] brings rows together whose numbers stand apart.
use lanes::{Lanes, Real};

pub mod entropy;
pub mod margins;
pub mod softmax;
pub mod strips;

/// The losses by their number at the door; ts/doors/rowwise.ts has the same table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    /// Cross-entropy with class indices. `p`: ignoreIndex, labelSmoothing.
    CrossEntropyLoss,
    /// Cross-entropy with probabilities. `p`: unused, labelSmoothing.
    CrossEntropyLossProbabilities,
    /// Negative log-likelihood of log-probabilities. `p`: ignoreIndex.
    NllLoss,
    /// Multi-class margin. `p`: the power (1 or 2), margin.
    MultiMarginLoss,
    /// Multi-label margin.
    MultiLabelMarginLoss,
    /// Multi-label soft margin.
    MultiLabelSoftMarginLoss,
    /// log sum exp.
    LogSumExp,
    /// x - logSumExp(x).
    LogSoftmax,
    /// exp(x - logSumExp(x)).
    Softmax,
}

impl Op {
    const ALL: [Op; 9] = [
        Op::CrossEntropyLoss,
        Op::CrossEntropyLossProbabilities,
        Op::NllLoss,
        Op::MultiMarginLoss,
        Op::MultiLabelMarginLoss,
        Op::MultiLabelSoftMarginLoss,
        Op::LogSumExp,
        Op::LogSoftmax,
        Op::Softmax,
    ];

    /// The loss of this number.
    pub fn from_door(op: u32) -> Option<Op> {
        Self::ALL.get(op as usize).copied()
    }

    /// Whether there is a value per number of the input, and not one per row.
    pub fn is_mapping(self) -> bool {
        matches!(self, Op::LogSoftmax | Op::Softmax)
    }

    /// How many labels a row of so many columns has.
    pub fn labels(self, columns: usize) -> usize {
        match self {
            Op::CrossEntropyLoss | Op::NllLoss | Op::MultiMarginLoss => 1,
            Op::MultiLabelMarginLoss => columns,
            _ => 0,
        }
    }

    /// How many targets that are numbers a row has.
    pub fn targets(self, columns: usize) -> usize {
        match self {
            Op::CrossEntropyLossProbabilities | Op::MultiLabelSoftMarginLoss => columns,
            _ => 0,
        }
    }
}

/// A batch of rows. Slices that are absent are empty.
pub struct Rows<'a, R> {
    /// How many rows.
    pub rows: usize,
    /// How many numbers in each.
    pub columns: usize,
    /// How far apart these stand, [.., columns, inner]: 1 but for a loss that takes them so.
    pub inner: usize,
    /// The scores, [rows, columns].
    pub input: &'a [R],
    /// Class indices, [rows]; for sets of labels [rows, columns].
    pub labels: &'a [i32],
    /// Targets as numbers, [rows, columns].
    pub target: &'a [R],
    /// A factor per class, [columns], or absent.
    pub weight: &'a [R],
    /// Where the losses go, [rows] (functions: [rows, columns]), or absent.
    pub values: &'a mut [R],
    /// Where the gradient with respect to `input` goes, or absent.
    pub grad_input: &'a mut [R],
    /// Where the gradient with respect to `target` goes, or absent.
    pub grad_target: &'a mut [R],
    /// The gradient that flows in, one number per value, or absent.
    pub upstream: &'a [R],
    /// Multiplies every gradient.
    pub scale: f64,
    /// The options.
    pub p: [f64; 2],
}

impl<R> Rows<'_, R> {
    /// Whether each slice has the length that it must have.
    fn fit(&self, op: Op) -> bool {
        let per_value = if op.is_mapping() { self.columns } else { 1 };
        let is = |length: usize, n: usize| self.rows.checked_mul(n) == Some(length);
        let may_be = |length: usize, n: usize| length == 0 || is(length, n);
        is(self.input.len(), self.columns)
            && is(self.labels.len(), op.labels(self.columns))
            && is(self.target.len(), op.targets(self.columns))
            && (self.weight.is_empty() || self.weight.len() == self.columns)
            && may_be(self.values.len(), per_value)
            && may_be(self.grad_input.len(), self.columns)
            && may_be(self.grad_target.len(), op.targets(self.columns))
            && may_be(self.upstream.len(), per_value)
    }
}

/// One row, as a loss sees it.
pub struct Row<'a, R> {
    /// The scores.
    pub x: &'a [R],
    /// The class index, or the set of labels; empty where the loss takes none.
    pub labels: &'a [i32],
    /// The targets as numbers, or empty.
    pub target: &'a [R],
    /// The factors of the classes, or empty.
    pub weight: &'a [R],
    /// For functions, where the values go, or empty.
    pub values: &'a mut [R],
    /// Where the gradient goes, or empty.
    pub grad: &'a mut [R],
    /// Where the gradient with respect to the target goes, or empty.
    pub grad_target: &'a mut [R],
    /// For functions, the upstream gradient of each value, or empty.
    pub upstream: &'a [R],
    /// What multiplies the gradient: for losses the row's upstream gradient is in it already.
    pub scale: f64,
    /// The options.
    pub p: [f64; 2],
}

/// Row `i` of a matrix with rows of `n` numbers; empty where there is none.
#[inline(always)]
pub(crate) fn row<T>(s: &[T], i: usize, n: usize) -> &[T] {
    s.get(i * n..).and_then(|s| s.get(..n)).unwrap_or(&[])
}

/// As [`row`], to write to.
#[inline(always)]
pub(crate) fn row_mut<T>(s: &mut [T], i: usize, n: usize) -> &mut [T] {
    s.get_mut(i * n..).and_then(|s| s.get_mut(..n)).unwrap_or(&mut [])
}

/// The vector at place `i` of a slice, counted in vectors; `fill` behind its end, so everywhere if it is absent.
#[inline(always)]
pub(crate) fn load<L: Lanes>(s: &[L::Scalar], i: usize, fill: L::Scalar) -> L {
    let (whole, tail) = L::chunks(s);
    match whole.get(i) {
        Some(a) => L::from_array(a),
        None if i == whole.len() => load_tail(tail, fill),
        None => L::splat(fill),
    }
}

/// Writes the vector at place `i`, as far as the slice goes.
#[inline(always)]
pub(crate) fn store<L: Lanes>(s: &mut [L::Scalar], i: usize, x: L) {
    let (whole, tail) = L::chunks_mut(s);
    let count = whole.len();
    match whole.get_mut(i) {
        Some(a) => x.store(a),
        None if i == count => store_tail(tail, x),
        None => {}
    }
}

/// One copy of the code for tails: they are few, and it is not short.
#[inline(never)]
pub(crate) fn load_tail<L: Lanes>(tail: &[L::Scalar], fill: L::Scalar) -> L {
    L::load_partial(tail, fill)
}

/// As [`load_tail`].
#[inline(never)]
pub(crate) fn store_tail<L: Lanes>(tail: &mut [L::Scalar], x: L) {
    x.store_partial(tail);
}

/// Goes over a row of `n` numbers: from the vectors of `x`, each with what stands for it where it is absent or at an end, and of what
/// stands in `to`, to what will; what is absent there is not written. The mask that the function is told is of what is no end.
#[inline(always)]
pub(crate) fn sweep<L: Lanes, const V: usize, const G: usize>(
    n: usize,
    x: [(&[L::Scalar], L::Scalar); V],
    mut to: [&mut [L::Scalar]; G],
    mut f: impl FnMut(L::Mask, [L; V], [L; G]) -> [L; G],
) {
    let (whole, left) = (n / L::COUNT, n % L::COUNT);
    let all = L::zero().eq(L::zero());
    let vectors = x.map(|(x, _)| L::chunks(x).0);
    let fills = x.map(|(_, fill)| L::splat(fill));
    let mut outputs = to.each_mut().map(|to| L::chunks_mut(to).0);
    for i in 0..whole {
        let mut from = fills;
        for (from, x) in from.iter_mut().zip(&vectors) {
            if let Some(x) = x.get(i) {
                *from = L::from_array(x);
            }
        }
        let before = outputs.each_ref().map(|to| to.get(i).map_or(L::zero(), L::from_array));
        for (to, after) in outputs.iter_mut().zip(f(all, from, before)) {
            if let Some(to) = to.get_mut(i) {
                after.store(to);
            }
        }
    }
    if left > 0 {
        let live = places::<L>().lt(L::of(left as f64));
        let tail = |s: &[L::Scalar], fill| load_tail::<L>(L::chunks(s).1, fill);
        let before = to.each_ref().map(|to| tail(to, L::Scalar::ZERO));
        for (to, after) in to.iter_mut().zip(f(live, x.map(|(x, fill)| tail(x, fill)), before)) {
            store_tail(L::chunks_mut(to).1, after);
        }
    }
}

/// 0, 1, ...
#[inline(always)]
pub(crate) fn places<L: Lanes>() -> L {
    L::from_lanes(|i| L::Scalar::from_f64(i as f64))
}

/// x where the mask is set, else 0. With [`Lanes::keep`] multi-margin loss takes 1.4 times as long (measured): this is left out where all
/// of the mask is known.
#[inline(always)]
fn only<L: Lanes>(mask: L::Mask, x: L) -> L {
    L::select(mask, x, L::zero())
}

/// How many vectors a row of `n` numbers takes.
#[inline(always)]
pub(crate) fn vectors<L: Lanes>(n: usize) -> usize {
    n.div_ceil(L::COUNT)
}

/// Number `i` of an optional array.
#[inline(always)]
pub(crate) fn factor<R: Real>(s: &[R], i: usize) -> f64 {
    s.get(i).map_or(1.0, |w| w.to_f64())
}

/// What a row gives whose label is no class: the door's other side lets none in, and a kernel must not guess.
#[cold]
fn no_class<R: Real>(row: &mut Row<R>) -> f64 {
    row.grad.fill(R::NAN);
    f64::NAN
}

/// Runs `op` over all rows and gives the sum of the losses: 0 where rows have no numbers; NaN, and nothing written, where a slice has
/// not the length that it must have.
pub fn run<L: Lanes>(op: Op, r: &mut Rows<L::Scalar>) -> f64 {
    let mapping = op.is_mapping();
    let per_label = op.labels(r.columns);
    let per_target = op.targets(r.columns);
    let fits = r.fit(op) && (r.inner == 1 || op == Op::NllLoss && r.rows.checked_rem(r.inner) == Some(0));
    if !fits || r.columns == 0 {
        // rows of nothing may be more than anybody can go through
        return if fits { 0.0 } else { f64::NAN };
    }
    if op == Op::NllLoss {
        return entropy::nll_losses(r);
    }
    let mut sum = 0.0;
    for i in 0..r.rows {
        let scale = if mapping { r.scale } else { r.scale * factor(r.upstream, i) };
        let mut one = Row {
            x: row(r.input, i, r.columns),
            labels: row(r.labels, i, per_label),
            target: row(r.target, i, per_target),
            weight: r.weight,
            values: if mapping { row_mut(r.values, i, r.columns) } else { &mut [] },
            grad: row_mut(r.grad_input, i, r.columns),
            grad_target: row_mut(r.grad_target, i, per_target),
            upstream: if mapping { row(r.upstream, i, r.columns) } else { &[] },
            scale,
            p: r.p,
        };
        let value = match op {
            Op::CrossEntropyLoss | Op::CrossEntropyLossProbabilities => {
                entropy::cross_entropy_loss::<L>(&mut one)
            }
            // gone through above
            Op::NllLoss => break,
            Op::MultiMarginLoss => margins::multi_margin_loss::<L>(&mut one),
            Op::MultiLabelMarginLoss => margins::multi_label_margin_loss::<L>(&mut one),
            Op::MultiLabelSoftMarginLoss => margins::multi_label_soft_margin_loss::<L>(&mut one),
            Op::LogSumExp => softmax::log_sum_exp::<L>(&mut one),
            // functions are not added up
            Op::LogSoftmax => {
                softmax::log_softmax::<L>(&mut one);
                0.0
            }
            Op::Softmax => {
                softmax::softmax::<L>(&mut one);
                0.0
            }
        };
        sum += value;
        if !mapping {
            if let Some(to) = r.values.get_mut(i) {
                *to = L::Scalar::from_f64(value);
            }
        }
    }
    sum
}

/// Brings rows together whose numbers stand apart, or with `back` takes them where they were: `rows` rows of `apart`,
/// [.., columns, inner], from the `first` on, as `together`, [rows, columns]. Nothing is done where these do not fit.
#[inline(never)]
pub fn turn<R: Real>(
    apart: &mut [R],
    together: &mut [R],
    [columns, inner, first, rows]: [usize; 4],
    back: bool,
) {
    let all = first.checked_add(rows).and_then(|n| n.checked_mul(columns));
    let fits = columns > 0
        && rows.checked_mul(columns) == Some(together.len())
        && all.is_some_and(|all| all <= apart.len())
        && columns.checked_mul(inner).and_then(|n| apart.len().checked_rem(n)) == Some(0);
    let mut done = 0;
    while fits && done < rows {
        let within = (first + done) % inner.max(1);
        let some = (inner - within).min(rows - done);
        let start = (first + done - within) * columns + within;
        for c in 0..columns {
            let line = apart.get_mut(start + c * inner..).and_then(|s| s.get_mut(..some)).unwrap_or(&mut []);
            let column = together.iter_mut().skip(done * columns + c).step_by(columns);
            if back {
                line.iter_mut().zip(column).for_each(|(far, near)| *far = *near);
            } else {
                line.iter().zip(column).for_each(|(far, near)| *near = *far);
            }
        }
        done += some;
    }
}
