//! What is said of many vectors at once: all pairs of two sets, a batch with labels, queries and what is searched.
//!
//! [`run`] checks the slices and calls the function; each works in blocks on [`super::panels`]. Products in
//! bulk are there in both precisions, and so is what is little else, the contrastive losses and the gradients of distances with p = 2; mining and
//! the other norms are written, and compiled, in double precision alone, and calls in single precision go through copies: that is a third
//! of the code, and a decision that hangs on a rounding is made alike.
use super::panels::{convert, Pool};
use super::{all_pairs, contrastive, mining, nearest};
use lanes::{Lanes, Real};

/// The functions by their number at the door; ts/doors/many.ts has the same table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    /// All distances of two sets. `p`: the norm.
    Cdist,
    /// All distances within one set. `p`: the norm.
    CdistSelf,
    /// Triplets of a batch. `p`: the mining (0 hard, 1 semi-hard, 2 all), margin, squared, soft, mean.
    BatchTriplet,
    /// Supervised contrastive. `p`: temperature, mean.
    SupervisedContrastive,
    /// Queries and keys side by side. `p`: temperature, symmetric.
    InfoNce,
    /// The nearest of many. `p`: how many, the metric (0 Euclidean, 1 cosine, 2 minus the product).
    Nearest,
}

impl Op {
    const ALL: [Op; 6] =
        [Op::Cdist, Op::CdistSelf, Op::BatchTriplet, Op::SupervisedContrastive, Op::InfoNce, Op::Nearest];

    /// The function of this number.
    pub fn from_door(op: u32) -> Option<Op> {
        Self::ALL.get(op as usize).copied()
    }

    /// How many values come out, and for which there may be an upstream gradient.
    pub fn values(self, rows: usize, columns: usize, p: &[f64; 5]) -> usize {
        match self {
            Op::Cdist | Op::CdistSelf => rows.saturating_mul(columns),
            Op::Nearest => rows.saturating_mul(p[0] as usize),
            _ => rows,
        }
    }

    /// How many vectors the second set has.
    pub fn others(self, columns: usize) -> usize {
        match self {
            Op::Cdist | Op::InfoNce | Op::Nearest => columns,
            _ => 0,
        }
    }
}

/// How much scratch a call takes: numbers, doubles, integers. As doubles, which do not overflow.
#[derive(Clone, Copy, Debug, Default)]
pub struct Need {
    /// Numbers of the call's precision.
    pub reals: f64,
    /// Doubles.
    pub doubles: f64,
    /// Numbers of single precision.
    pub singles: f64,
    /// Integers.
    pub ints: f64,
}

/// One call. Slices that are absent are empty.
pub struct Many<'a, R> {
    /// Vectors in the first set.
    pub rows: usize,
    /// Vectors in the second set; where there is one set alone, as many as in that.
    pub columns: usize,
    /// Numbers in each vector.
    pub length: usize,
    /// The first set, [rows, length].
    pub a: &'a [R],
    /// The second set, [columns, length], or absent.
    pub b: &'a [R],
    /// Classes of the first set, counted from 0, [rows], or absent.
    pub labels: &'a [i32],
    /// Where the values go, or absent; the gradients of distances with p = 2 are taken from them, and are refused without.
    pub values: &'a mut [R],
    /// Where the gradient with respect to `a` goes, or absent.
    pub grad_a: &'a mut [R],
    /// Where the gradient with respect to `b` goes, or absent.
    pub grad_b: &'a mut [R],
    /// Which vectors are nearest, or absent.
    pub indices: &'a mut [i32],
    /// Losses that count and triplets that are active, or absent.
    pub stats: &'a mut [f64],
    /// The gradient that flows in, one number per value, or absent.
    pub upstream: &'a [R],
    /// Scratch, as much as [`need`] says.
    pub reals: &'a mut [R],
    /// The same.
    pub doubles: &'a mut [f64],
    /// The same.
    pub singles: &'a mut [f32],
    /// The same.
    pub ints: &'a mut [i32],
    /// Multiplies every gradient.
    pub scale: f64,
    /// The options.
    pub p: [f64; 5],
}

/// How much scratch a call takes.
#[inline(never)]
pub fn need(op: Op, rows: usize, columns: usize, length: usize, p: &[f64; 5]) -> Need {
    if length == 0 || (rows == 0 && columns == 0) {
        return Need::default();
    }
    if rows >= 1 << 28 || length >= 1 << 28 {
        // more than 4 GiB, and what is counted in whole numbers below would go beyond 32 bits
        return Need { reals: 1e15, doubles: 1e15, singles: 1e15, ints: 1e15 };
    }
    match op {
        Op::Cdist | Op::CdistSelf => all_pairs::need(op == Op::CdistSelf, rows, columns, length, p[0]),
        Op::BatchTriplet => {
            let need = mining::need(rows, length, p[0]);
            // what `in_doubles` takes: vectors, gradients, upstream gradients and values
            Need { doubles: need.doubles + rows as f64 * (2.0 * length as f64 + 2.0), ..need }
        }
        Op::SupervisedContrastive => contrastive::need(true, false, rows, length),
        Op::InfoNce => contrastive::need(false, p[1] == 1.0, rows, length),
        Op::Nearest => nearest::need(rows, columns, length, p[0]),
    }
}

/// Runs a function of one set that is written in double precision alone on copies.
#[inline(never)]
fn in_doubles<R: Real>(m: &mut Many<R>, f: fn(&mut Many<f64>) -> f64) -> f64 {
    let mut pool = Pool::new(&mut *m.doubles);
    let mut copy = |from: &[R]| {
        let to = pool.take(from.len());
        convert(from, to);
        to
    };
    let (a, upstream) = (&*copy(m.a), &*copy(m.upstream));
    let (values, grad_a) = (copy(m.values), copy(m.grad_a));
    let sum = f(&mut Many {
        rows: m.rows,
        columns: m.columns,
        length: m.length,
        a,
        b: &[],
        labels: m.labels,
        values: &mut *values,
        grad_a: &mut *grad_a,
        grad_b: &mut [],
        indices: &mut [],
        stats: &mut *m.stats,
        upstream,
        reals: &mut [],
        doubles: pool.all(),
        singles: &mut *m.singles,
        ints: &mut *m.ints,
        scale: m.scale,
        p: m.p,
    });
    convert(values, m.values);
    convert(grad_a, m.grad_a);
    sum
}

/// Whether all slices have the lengths that they must have; `lengths`: in the order of [`Many`], but for the labels.
#[inline(never)]
fn fits(
    op: Op,
    rows: usize,
    columns: usize,
    length: usize,
    p: &[f64; 5],
    labels: &[i32],
    lengths: &[usize; 11],
) -> bool {
    let is = |length: usize, count: usize, n: usize| count.checked_mul(n) == Some(length);
    let may_be = |length: usize, count: usize, n: usize| length == 0 || is(length, count, n);
    let others = op.others(columns);
    let values = op.values(rows, columns, p);
    let labelled = matches!(op, Op::BatchTriplet | Op::SupervisedContrastive);
    let need = need(op, rows, columns, length, p);
    let [a, b, of_values, grad_a, grad_b, indices, upstream, reals, doubles, singles, ints] = *lengths;
    is(a, rows, length)
        && is(b, others, length)
        && is(labels.len(), rows, labelled as usize)
        && labels.iter().all(|&l| l >= 0 && (l as usize) < rows)
        && may_be(of_values, values, 1)
        && may_be(grad_a, rows, length)
        && may_be(grad_b, others, length)
        && is(indices, values, (op == Op::Nearest) as usize)
        && may_be(upstream, values, 1)
        && (!matches!(op, Op::CdistSelf | Op::InfoNce) || columns == rows)
        && (op != Op::Nearest || p[0] <= others as f64)
        && reals as f64 >= need.reals
        && doubles as f64 >= need.doubles
        && singles as f64 >= need.singles
        && ints as f64 >= need.ints
}

/// Runs `op` and gives the sum of the losses: 0 where there are no numbers; NaN, and nothing written, where a slice has not the length that it
/// must have.
pub fn run<L: Lanes>(op: Op, m: &mut Many<L::Scalar>) -> f64 {
    let lengths = [
        m.a.len(),
        m.b.len(),
        m.values.len(),
        m.grad_a.len(),
        m.grad_b.len(),
        m.indices.len(),
        m.upstream.len(),
        m.reals.len(),
        m.doubles.len(),
        m.singles.len(),
        m.ints.len(),
    ];
    let fits = fits(op, m.rows, m.columns, m.length, &m.p, m.labels, &lengths);
    if !fits {
        return f64::NAN;
    }
    if m.a.is_empty() && m.b.is_empty() {
        m.stats.fill(0.0);
        return 0.0;
    }
    match op {
        Op::Cdist | Op::CdistSelf => all_pairs::cdist::<L>(op == Op::CdistSelf, m),
        Op::BatchTriplet => in_doubles(m, mining::batch_triplet),
        Op::SupervisedContrastive | Op::InfoNce => contrastive::contrast::<L>(m),
        Op::Nearest => nearest::nearest(m),
    }
}
