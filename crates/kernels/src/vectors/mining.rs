//! Triplets of a batch with labels, without a matrix of all distances.
//!
//! **Hard**: of each anchor the farthest vector of its class and the nearest of another. Blocks of products tell which pairs could
//! be farther or nearer than the best so far: a pair's squared distance is known up to the bound of [`super::panels`], and only
//! where that leaves it open which of two is better are their differences added up. What is chosen is so the farthest and the nearest
//! by differences, exactly, at the price of products. A pair serves both of its vectors as anchors, so one triangle is
//! enough. Each anchor meets the others in their order, so that of several at one distance the first is kept.
//!
//! **Semi-hard and all**: a few rows of distances at a time, each split into those of the class and the others.
//!
//! Distances that are compared or that a loss is made of are double precision whatever the call's is, added up number by number as
//! the reference has it, so that both choose the same triplets: a margin is the small difference of two distances, and a slope of 0 or 1
//! hangs on its sign. The products of the hard mining, which decide nothing, are single precision in both.
//!
//! A distance that is NaN is taken as the farthest and as the nearest: it shows in the loss.
use super::many::{Many, Need};
use super::panels::{
    arrays, at, bound, convert, differences, exp, in_panels, pull, row, row_mut, rows_of_mut, set_size,
    unpad, Pool, Set, SqrtOf, Tile, WIDTH,
};
use lanes::{F32x4, F64x2, Lanes, Mask};

/// Bytes of panels that stay in the first cache.
const NEAR: usize = 16384;

/// Which triplets of an anchor count: the numbers of the door.
const HARD: f64 = 0.0;
const ALL: f64 = 2.0;

/// What a triplet costs, and where that goes.
struct Loss<'a> {
    set: Set<'a, F64x2>,
    labels: &'a [i32],
    margin: f64,
    squared: bool,
    soft: bool,
    /// What multiplies the gradient of each anchor.
    up: &'a [f64],
    values: &'a mut [f64],
    /// In rows of whole arrays, or empty.
    grad: &'a mut [[f64; 2]],
    counted: f64,
    active: f64,
}

impl Loss<'_> {
    /// The losses of triplets with these distances (where they are squared, their squares: so everywhere here), and their slopes.
    #[inline(never)]
    fn of(&self, near: F64x2, far: F64x2) -> (F64x2, F64x2) {
        let gap = near - far;
        let (zero, one) = (F64x2::zero(), F64x2::one());
        if self.soft {
            let e = exp(-gap.abs());
            let down = gap.lt(zero);
            let log = e.ln_1p_unit();
            return (F64x2::select(down, log, gap + log), F64x2::select(down, e, one) / (one + e));
        }
        let z = F64x2::splat(self.margin) + gap;
        let none = z.le(zero);
        (F64x2::select(none, zero, z), F64x2::select(none, zero, one))
    }

    /// One triplet: its loss and its slope, counted.
    fn one(&mut self, near: f64, far: f64) -> (f64, f64) {
        let (value, slope) = self.of(F64x2::splat(near), F64x2::splat(far));
        let ([value, _], [slope, _]) = (value.to_array(), slope.to_array());
        self.counted += 1.0;
        if self.soft || slope != 0.0 {
            self.active += 1.0;
        }
        (value, slope)
    }

    /// Adds `up` times the slope of the distance of i and j to both of their gradients.
    #[inline(never)]
    fn pull(&mut self, up: f64, i: usize, j: usize, d: f64) {
        let n = self.set.arrays;
        if self.grad.is_empty() || up == 0.0 || (!self.squared && d == 0.0) {
            return;
        }
        let w = if self.squared { 2.0 * up } else { up / d };
        let (x, y) = (self.set.row(i), self.set.row(j));
        pull(row_mut(self.grad, i, n), x, y, w);
        pull(row_mut(self.grad, j, n), y, x, w);
    }
}

/// How much scratch [`batch_triplet`] takes.
pub fn need(rows: usize, length: usize, mining: f64) -> Need {
    let panels = in_panels(rows) as f64;
    let hard = mining == HARD;
    let rows = rows as f64;
    let packed = rows * (length + 2) as f64 + set_size(rows, length);
    let singles = if hard { rows * length as f64 + set_size(rows, length) + 7.0 * panels } else { 0.0 };
    Need { doubles: packed + 6.0 * panels, singles, ints: 2.0 * panels, ..Need::default() }
}

/// max(0, margin + d(a, p) - d(a, n)) or log(1 + exp(d(a, p) - d(a, n))) over triplets of the batch.
pub fn batch_triplet(m: &mut Many<f64>) -> f64 {
    let Many { rows: n, length, .. } = *m;
    let [mining, margin, squared, soft, mean] = m.p;
    let mut pool = Pool::new(&mut *m.doubles);
    let values = pool.take(n);
    let grads = if m.grad_a.is_empty() { 0 } else { n * arrays::<F64x2>(length) * 2 };
    let (grad, _) = pool.take(grads).as_chunks_mut();
    grad.fill([0.0; 2]);
    let mut loss = Loss {
        set: Set::pack(m.a, n, length, &mut pool),
        labels: m.labels,
        margin,
        squared: squared == 1.0,
        soft: soft == 1.0,
        up: m.upstream,
        values,
        grad,
        counted: 0.0,
        active: 0.0,
    };
    let mut ints = Pool::new(&mut *m.ints);
    if mining == HARD {
        hard(&mut loss, m.a, length, &mut Pool::new(&mut *m.singles), &mut ints);
    } else {
        listed(&mut loss, mining == ALL, &mut pool, &mut ints);
    }
    // of all triplets the mean is that of those above 0
    let counted = if mining == ALL { loss.counted.min(loss.active.max(1.0)) } else { loss.counted };
    for (to, x) in m.stats.iter_mut().zip([counted, loss.active]) {
        *to = x;
    }
    let scale = if mean == 1.0 && counted > 0.0 { m.scale / counted } else { m.scale };
    unpad(loss.grad, length, scale, m.grad_a);
    convert(loss.values, m.values);
    loss.values.iter().sum()
}

/// The best of each anchor so far: which it is (-1: there is none), and between which bounds the square of its distance lies.
struct Best<'a> {
    index: &'a mut [i32],
    least: &'a mut [f32],
    most: &'a mut [f32],
    farthest: bool,
}

impl<'a> Best<'a> {
    fn new(n: usize, farthest: bool, singles: &mut Pool<'a, f32>, ints: &mut Pool<'a, i32>) -> Self {
        let best = Self { index: ints.take(n), least: singles.take(n), most: singles.take(n), farthest };
        best.index.fill(-1);
        // nothing is beaten by none
        best.least.fill(-f32::INFINITY);
        best.most.fill(f32::INFINITY);
        best
    }

    /// The square of the distance of i and j is between two bounds, which are NaN if nothing is known of it. Only if the bounds of the best
    /// do not say which is better are both measured.
    #[inline(never)]
    fn meet(&mut self, i: usize, j: usize, (least, most): (f32, f32), exact: &dyn Fn(usize, usize) -> f64) {
        let (Some(index), Some(best_least), Some(best_most)) =
            (self.index.get_mut(i), self.least.get_mut(i), self.most.get_mut(i))
        else {
            return;
        };
        let (better, beaten) = if self.farthest {
            (least > *best_most, most <= *best_least)
        } else {
            (most < *best_least, least >= *best_most)
        };
        let none = *index < 0;
        if *index == j as i32 || (beaten && !none) {
            return;
        }
        if none || better {
            (*index, *best_least, *best_most) = (j as i32, least, most);
            return;
        }
        let (old, new) = (exact(i, *index as usize), exact(i, j));
        let better = if self.farthest { new > old } else { new < old };
        let square = if better || (new.is_nan() && !old.is_nan()) {
            *index = j as i32;
            new
        } else {
            old
        };
        // beside NaN nothing counts any more
        let end = if self.farthest { f32::INFINITY } else { -f32::INFINITY };
        let rounded = |factor: f64| if square.is_nan() { end } else { (square * factor) as f32 };
        (*best_least, *best_most) = (rounded(1.0 - 1e-6), rounded(1.0 + 1e-6));
    }

    fn of(&self, i: usize) -> Option<usize> {
        self.index.get(i).and_then(|&j| usize::try_from(j).ok())
    }
}

/// |a - b|², number by number.
#[inline(never)]
fn measure(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).fold(0.0, |sum, (a, b)| sum + (a - b) * (a - b))
}

/// What a sum of two is a bound of the squared distance with, and the classes, all as single precision.
struct Filter<'a> {
    class: &'a mut [f32],
    low: &'a mut [f32],
    high: &'a mut [f32],
}

#[inline(never)]
fn hard<'a>(
    loss: &mut Loss,
    x: &[f64],
    length: usize,
    singles: &mut Pool<'a, f32>,
    ints: &mut Pool<'a, i32>,
) {
    let n = loss.labels.len();
    let padded = in_panels(n);
    let rounded = singles.take(n * length);
    convert(x, rounded);
    let set = Set::<F32x4>::pack(rounded, n, length, singles);
    let mut far = Best::new(padded, true, singles, ints);
    let mut near = Best::new(padded, false, singles, ints);
    let exact = |i: usize, j: usize| measure(row(x, i, length), row(x, j, length));
    // labels count classes, so they are exact in single precision up to 2^24 vectors
    let filter =
        Filter { class: singles.take(padded), low: singles.take(padded), high: singles.take(padded) };
    // what fills the last panel is like nothing, and farther
    filter.class.fill(-1.0);
    filter.low.fill(f32::INFINITY);
    let e = bound::<F32x4>(set.arrays);
    for (((class, low), high), (label, square)) in filter
        .class
        .iter_mut()
        .zip(filter.low.iter_mut())
        .zip(filter.high.iter_mut())
        .zip(loss.labels.iter().zip(set.squares))
    {
        *class = *label as f32;
        let square = f64::from(*square);
        // what is 0 in single precision may be none in double: nothing is known of it, and this is NaN
        let doubt = e * square * square / square;
        *low = (square - doubt) as f32;
        *high = (square + doubt) as f32;
    }
    let mut tile = [[0.0; WIDTH]; WIDTH];
    let mut which = [0.0; WIDTH];
    let block = (NEAR / 4 / length.max(1) / WIDTH * WIDTH).max(WIDTH);
    for j0 in (0..n).step_by(block) {
        let end = (j0 + block).min(n);
        for i in (0..end).step_by(WIDTH) {
            for j in (j0.max(i)..end).step_by(WIDTH) {
                set.products(i, &set, j, &mut tile);
                for (r, line) in tile.iter().enumerate().take(n - i) {
                    let i = i + r;
                    if !open(line, i, j / WIDTH, &filter, far.least, near.most, &mut which) {
                        continue;
                    }
                    for (c, j) in (j..n.min(j + WIDTH)).enumerate() {
                        let (open, product) = (at(&which, c), at(line, c));
                        if open == 0.0 || i == j {
                            continue;
                        }
                        let alike = at(filter.class, i) == at(filter.class, j);
                        let bound = |part: &[f32]| (at(part, i) + at(part, j)) - (product + product);
                        let bounds = (bound(filter.low), bound(filter.high));
                        let best = if alike { &mut far } else { &mut near };
                        best.meet(i, j, bounds, &exact);
                        best.meet(j, i, bounds, &exact);
                    }
                }
            }
        }
    }
    for i in 0..n {
        let mut value = 0.0;
        if let (Some(p), Some(q)) = (far.of(i), near.of(i)) {
            let distance = |j: usize| if loss.squared { exact(i, j) } else { exact(i, j).sqrt_of() };
            let (d_p, d_n) = (distance(p), distance(q));
            let (one, slope) = loss.one(d_p, d_n);
            value = one;
            let up = loss.up.get(i).unwrap_or(&1.0) * slope;
            loss.pull(up, i, p, d_p);
            loss.pull(-up, i, q, d_n);
        }
        if let Some(to) = loss.values.get_mut(i) {
            *to = value;
        }
    }
}

/// Whether any pair of row i and a panel could be better than the best of either; which of them are not 0.
#[inline(always)]
fn open(
    line: &[f32; WIDTH],
    i: usize,
    panel: usize,
    filter: &Filter,
    far: &[f32],
    near: &[f32],
    which: &mut [f32; WIDTH],
) -> bool {
    let here = |s: &[f32]| F32x4::splat(at(s, i));
    let there = |s: &[f32], v: usize| {
        F32x4::chunks(s).0.get(panel * (WIDTH / F32x4::COUNT) + v).map_or(F32x4::zero(), F32x4::from_array)
    };
    let (class_i, low_i, high_i) = (here(filter.class), here(filter.low), here(filter.high));
    let (far_i, near_i) = (here(far), here(near));
    let mut all = F32x4::zero().eq(F32x4::zero());
    for (v, (x, which)) in F32x4::chunks(line).0.iter().zip(F32x4::chunks_mut(which).0).enumerate() {
        let x = F32x4::from_array(x);
        let twice = x + x;
        let alike = class_i.eq(there(filter.class, v));
        let upper = (high_i + there(filter.high, v)) - twice;
        let lower = (low_i + there(filter.low, v)) - twice;
        let beaten_far = upper.le(far_i) & upper.le(there(far, v));
        let beaten_near = near_i.le(lower) & there(near, v).le(lower);
        let closed = (alike & beaten_far) | (!alike & beaten_near);
        F32x4::select(closed, F32x4::zero(), F32x4::one()).store(which);
        all = all & closed;
    }
    !all.all()
}

/// Vectors of an anchor's class, or others: how far, and which; and what their distance is to be pulled with.
struct List<'a> {
    distance: &'a mut [f64],
    weight: &'a mut [f64],
    index: &'a mut [i32],
    count: usize,
}

impl<'a> List<'a> {
    fn new(n: usize, doubles: &mut Pool<'a, f64>, ints: &mut Pool<'a, i32>) -> Self {
        Self { distance: doubles.take(n), weight: doubles.take(n), index: ints.take(n), count: 0 }
    }

    #[inline(never)]
    fn push(&mut self, j: usize, d: f64) {
        let k = self.count;
        if let (Some(distance), Some(weight), Some(index)) =
            (self.distance.get_mut(k), self.weight.get_mut(k), self.index.get_mut(k))
        {
            (*distance, *weight, *index) = (d, 0.0, j as i32);
            self.count += 1;
        }
    }

    /// The first of the farthest; NaN is farther than all.
    #[inline(never)]
    fn farthest(&self) -> usize {
        let (mut best, mut most) = (0, at(self.distance, 0));
        for (k, &d) in self.distance.iter().enumerate().take(self.count) {
            if d > most || (d.is_nan() && !most.is_nan()) {
                (best, most) = (k, d);
            }
        }
        best
    }

    /// The first of the nearest that are farther than this.
    #[inline(never)]
    fn nearest_above(&self, least: f64) -> Option<usize> {
        let (all, end) = (F64x2::splat(least), F64x2::splat(f64::INFINITY));
        let (whole, tail) = F64x2::chunks(self.distance.get(..self.count).unwrap_or(&[]));
        let above = |best: F64x2, d: F64x2| F64x2::select(all.lt(d), d, end).min(best);
        let best = whole.iter().fold(end, |best, d| above(best, F64x2::from_array(d)));
        let best = above(best, F64x2::load_partial(tail, f64::INFINITY));
        let best = -(-best).max_lane();
        self.distance.iter().take(self.count).position(|&d| d == best && d > least)
    }
}

#[inline(never)]
fn listed<'a>(loss: &mut Loss, all: bool, doubles: &mut Pool<'a, f64>, ints: &mut Pool<'a, i32>) {
    let n = loss.labels.len();
    let padded = in_panels(n);
    let mut alike = List::new(padded, doubles, ints);
    let mut others = List::new(padded, doubles, ints);
    let rows = doubles.take(padded * F64x2::COUNT);
    let mut tile: Tile<f64> = [[0.0; WIDTH]; 4];
    for first in (0..n).step_by(F64x2::COUNT) {
        for j in (0..n).step_by(WIDTH) {
            differences(loss.set.lines_from(first), loss.set.lines_from(j), loss.set.length, &mut tile);
            for (row, line) in rows_of_mut(rows, padded).zip(&tile) {
                for (to, x) in row.iter_mut().skip(j).zip(line) {
                    *to = if loss.squared { *x } else { x.sqrt_of() };
                }
            }
        }
        for r in 0..F64x2::COUNT.min(n - first) {
            let i = first + r;
            (alike.count, others.count) = (0, 0);
            let label = loss.labels.get(i);
            for (j, (&d, other)) in row(rows, r, padded).iter().zip(loss.labels).enumerate() {
                if Some(other) != label {
                    others.push(j, d);
                } else if i != j {
                    alike.push(j, d);
                }
            }
            let mut value = 0.0;
            if alike.count > 0 && others.count > 0 {
                let each = if all { all_triplets } else { semi_hard };
                value = each(loss, &mut alike, &mut others);
                for (list, sign) in [(&alike, 1.0), (&others, -1.0)] {
                    let up = sign * loss.up.get(i).unwrap_or(&1.0);
                    for k in 0..list.count {
                        let j = list.index.get(k).map_or(0, |&j| j as usize);
                        loss.pull(up * at(list.weight, k), i, j, at(list.distance, k));
                    }
                }
            }
            if let Some(to) = loss.values.get_mut(i) {
                *to = value;
            }
        }
    }
}

/// Each of the class with the nearest other that is farther, or with the farthest other.
#[inline(never)]
fn semi_hard(loss: &mut Loss, alike: &mut List, others: &mut List) -> f64 {
    let farthest = others.farthest();
    let unknown = at(others.distance, farthest).is_nan();
    let mut sum = 0.0;
    for (&d, weight) in alike.distance.iter().zip(alike.weight.iter_mut()).take(alike.count) {
        let k = if unknown { farthest } else { others.nearest_above(d).unwrap_or(farthest) };
        let (value, slope) = loss.one(d, at(others.distance, k));
        sum += value;
        *weight = slope;
        if let Some(weight) = others.weight.get_mut(k) {
            *weight += slope;
        }
    }
    sum
}

/// Each of the class with each other.
#[inline(never)]
fn all_triplets(loss: &mut Loss, alike: &mut List, others: &mut List) -> f64 {
    let (zero, one) = (F64x2::zero(), F64x2::one());
    let count = F64x2::splat(others.count as f64);
    let (mut sum, mut active) = (zero, zero);
    for (&d, weight) in alike.distance.iter().zip(alike.weight.iter_mut()).take(alike.count) {
        let mut slopes = zero;
        let mut place = F64x2::from_array(&[0.0, 1.0]);
        let weights = F64x2::chunks_mut(others.weight).0;
        for (far, to) in F64x2::chunks(others.distance).0.iter().zip(weights).take(others.count.div_ceil(2)) {
            let (value, slope) = loss.of(F64x2::splat(d), F64x2::from_array(far));
            // the lists end anywhere in an array
            let inside = place.lt(count);
            let slope = F64x2::select(inside, slope, zero);
            (F64x2::from_array(to) + slope).store(to);
            sum = sum + F64x2::select(inside, value, zero);
            slopes = slopes + slope;
            active = active + F64x2::select(slope.ne(zero), one, zero);
            place = place + F64x2::splat(2.0);
        }
        *weight = slopes.sum();
    }
    let triplets = (alike.count * others.count) as f64;
    loss.active += if loss.soft { triplets } else { active.sum() };
    loss.counted += triplets;
    sum.sum()
}
