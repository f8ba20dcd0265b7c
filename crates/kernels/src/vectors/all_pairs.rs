//! The distances of all pairs of two sets, or within one.
//!
//! As many columns at a time as leave their panels in the second cache, and of them squares of [`SIDE`], which within one set are
//! also turned and written to the other side of the diagonal: the other triangle is never computed. Either way a square writes whole
//! lines of the cache: its rows may all fall into one set of the first cache, and what is written by halves is fetched twice.
use super::many::{Many, Need};
use super::panels::{
    at, convert, differences, distances, exp, pull, row_mut, set_size, unpad, Pool, Set, SqrtOf, Tile, WIDTH,
};
use lanes::{transpose, F64x2, Lanes, Real};

/// Rows and columns that are computed before they are written: a line of the cache of single precision.
const SIDE: usize = 16;
/// Distances of so many rows and columns, panel by panel.
type Square<R> = [[[R; WIDTH]; SIDE]; SIDE / WIDTH];
/// Rows of a tile of the gradients.
const ROWS: usize = 4;
/// As many bytes of panels stay in the second cache: a tile takes them from there as fast as it works.
const NEAR: usize = 131072;

/// Columns whose panels stay in the second cache.
fn wide<L: Lanes>(arrays: usize) -> usize {
    (NEAR / (arrays * size_of::<L::Array>()) / SIDE * SIDE).max(SIDE)
}

/// The norm of a difference. Double precision whatever the call's is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Norm {
    One,
    Two,
    Max,
    Power(f64),
}

/// A vector in whole arrays.
type Vector<'a> = &'a [[f64; 2]];

impl Norm {
    fn of(p: f64) -> Self {
        if p == 1.0 {
            Norm::One
        } else if p == 2.0 {
            Norm::Two
        } else if p == f64::INFINITY {
            Norm::Max
        } else {
            Norm::Power(p)
        }
    }

    /// ||a - b||, for all but 2.
    #[inline(never)]
    fn distance(self, a: Vector, b: Vector) -> f64 {
        let fold = |f: &dyn Fn(F64x2, F64x2) -> F64x2| {
            a.iter().zip(b).fold(F64x2::zero(), |acc, (a, b)| {
                f(acc, (F64x2::from_array(a) - F64x2::from_array(b)).abs())
            })
        };
        if self == Norm::One {
            return fold(&|sum, d| sum + d).sum();
        }
        let [x, y] = fold(&|max, d| F64x2::select(max.lt(d) | d.ne(d), d, max)).to_array();
        let max = if x < y || y.is_nan() { y } else { x };
        let Norm::Power(p) = self else { return max };
        // the largest is taken out, so that no power overflows
        if !(0.0 < max && max < f64::INFINITY) {
            return max;
        }
        let sum = fold(&|sum, d| sum + power(d / F64x2::splat(max), p)).sum();
        max * at(&power(F64x2::splat(sum), 1.0 / p).to_array(), 0)
    }

    /// to += up times the slope at x of ||x - y||, which is `d`.
    #[inline(never)]
    fn pull(self, to: &mut [[f64; 2]], x: Vector, y: Vector, up: f64, d: f64) {
        let all = F64x2::splat(d);
        let (zero, one) = (F64x2::zero(), F64x2::one());
        let each = |to: &mut [[f64; 2]], up: f64, f: &dyn Fn(F64x2) -> F64x2| {
            for ((to, x), y) in to.iter_mut().zip(x).zip(y) {
                let slope = f(F64x2::from_array(x) - F64x2::from_array(y));
                (F64x2::from_array(to) + F64x2::splat(up) * slope).store(to);
            }
        };
        match self {
            Norm::Two => pull(to, x, y, up / d),
            Norm::One => each(to, up, &|v| v.signum()),
            Norm::Max => {
                let ties = x.iter().zip(y).fold(zero, |n, (x, y)| {
                    let v = F64x2::from_array(x) - F64x2::from_array(y);
                    n + F64x2::select(v.abs().eq(all), one, zero)
                });
                // there is none where the distance is NaN
                let ties = ties.sum().max(1.0);
                each(to, up / ties, &|v| F64x2::select(v.abs().eq(all), v.signum(), v * zero));
            }
            Norm::Power(p) => each(to, up, &|v| v.signum() * power(v.abs() / all, p - 1.0)),
        }
    }
}

/// x^p for x >= 0.
#[inline(never)]
fn power(x: F64x2, p: f64) -> F64x2 {
    exp(x.ln() * F64x2::splat(p))
}

/// How much scratch [`cdist`] takes.
pub fn need(own: bool, rows: usize, columns: usize, length: usize) -> Need {
    let (rows, columns) = (rows as f64, if own { 0.0 } else { columns as f64 });
    let vectors = (rows + columns) * length as f64;
    Need {
        reals: set_size(rows, length) + set_size(columns, length),
        // copies, what they are packed to, and gradients
        doubles: 2.0 * vectors + rows + columns + set_size(rows, length) + set_size(columns, length),
        ..Need::default()
    }
}

/// ||a_i - b_j||_p for all i and j, and the gradients. `own`: b is a, and the diagonal is 0 whatever stands there.
pub fn cdist<L: Lanes>(own: bool, m: &mut Many<L::Scalar>) -> f64 {
    let Many { rows, columns, length, scale, .. } = *m;
    let norm = Norm::of(m.p[0]);
    if norm == Norm::Two && !m.values.is_empty() {
        let mut pool = Pool::new(&mut *m.reals);
        let a = Set::<L>::pack(m.a, rows, length, &mut pool);
        let second = if own { None } else { Some(Set::<L>::pack(m.b, columns, length, &mut pool)) };
        let b = second.as_ref().unwrap_or(&a);
        euclidean(&a, b, m.values);
    }
    if norm == Norm::Two && m.grad_a.is_empty() && m.grad_b.is_empty() {
        return 0.0;
    }
    let Many { a, b, upstream, .. } = *m;
    let (values, grad_a, grad_b) = (&mut *m.values, &mut *m.grad_a, &mut *m.grad_b);
    let wanted = [!grad_a.is_empty(), !grad_b.is_empty()];
    slopes(
        (own, norm),
        [rows, columns],
        length,
        wanted,
        &mut *m.doubles,
        &|second, to| convert(if second { b } else { a }, to),
        &|at| scale * upstream.get(at).map_or(1.0, |u| u.to_f64()),
        &mut |at, d| {
            if let Some(to) = values.get_mut(at) {
                *to = L::Scalar::from_f64(d);
            }
        },
        &mut |second, grad| unpad(grad, length, 1.0, if second { &mut *grad_b } else { &mut *grad_a }),
    );
    0.0
}

/// The gradients, and the distances of all norms but 2: `read(second)` gives a set, `up(at)` what flows in, `put` takes a distance and
/// `give(second)` a gradient in rows of whole arrays. One copy of the code for both precisions.
#[inline(never)]
#[allow(clippy::too_many_arguments)]
fn slopes(
    (own, norm): (bool, Norm),
    [rows, columns]: [usize; 2],
    length: usize,
    [wanted_a, wanted_b]: [bool; 2],
    doubles: &mut [f64],
    read: &dyn Fn(bool, &mut [f64]),
    up: &dyn Fn(usize) -> f64,
    put: &mut dyn FnMut(usize, f64),
    give: &mut dyn FnMut(bool, &[[f64; 2]]),
) {
    let mut pool = Pool::new(doubles);
    let mut set = |second: bool, count: usize, wanted: bool| {
        let copy = pool.take(count * length);
        read(second, copy);
        let set = Set::<F64x2>::pack(copy, count, length, &mut pool);
        let (grad, _) = pool.take(if wanted { count * set.arrays * 2 } else { 0 }).as_chunks_mut();
        grad.fill([0.0; 2]);
        (set, grad)
    };
    let (a, grad_a) = set(false, rows, wanted_a);
    let (second, grad_b) = set(true, if own { 0 } else { columns }, wanted_b);
    let b = if own { &a } else { &second };
    let mut slopes = Slopes { own, norm, a: &a, b, grad_a, grad_b };
    slopes.run(up, put);
    give(false, slopes.grad_a);
    give(true, slopes.grad_b);
}

/// All distances with p = 2; of one set with itself where the two are the same.
#[inline(never)]
fn euclidean<L: Lanes>(a: &Set<L>, b: &Set<L>, values: &mut [L::Scalar]) {
    let own = core::ptr::eq(a, b);
    let mut tile = [[L::Scalar::ZERO; WIDTH]; SIDE];
    let mut square: Square<L::Scalar> = [[[L::Scalar::ZERO; WIDTH]; SIDE]; SIDE / WIDTH];
    let wide = wide::<L>(b.arrays);
    for j0 in (0..b.count).step_by(wide) {
        let end = (j0 + wide).min(b.count);
        for i in (0..if own { end } else { a.count }).step_by(SIDE) {
            for j in (if own { j0.max(i) } else { j0 }..end).step_by(SIDE) {
                for (j, panel) in (j..end).step_by(WIDTH).zip(&mut square) {
                    distances(a, i, b, j, &mut tile, panel);
                }
                if i + SIDE <= a.count && j + SIDE <= b.count {
                    write(&square, [i, j], b.count, values);
                    if own {
                        turn::<L>(&square, [i, j], b.count, values);
                    }
                } else {
                    write_some(own, square.as_flattened().as_flattened(), [i, j], [a.count, b.count], values);
                }
            }
        }
    }
}

/// Writes a square whose first pair is (i, j).
#[inline(always)]
fn write<R: Real>(square: &Square<R>, [i, j]: [usize; 2], columns: usize, values: &mut [R]) {
    for r in 0..SIDE {
        let to = values.get_mut((i + r) * columns + j..).and_then(|s| s.first_chunk_mut::<SIDE>());
        for (to, panel) in to.into_iter().flat_map(|to| to.as_chunks_mut().0).zip(square) {
            if let Some(line) = panel.get(r) {
                *to = *line;
            }
        }
    }
}

/// Writes a square of distances to the other side of the diagonal: four columns at a time, as lines.
#[inline(always)]
fn turn<L: Lanes>(square: &Square<L::Scalar>, [i, j]: [usize; 2], columns: usize, values: &mut [L::Scalar]) {
    for (panel, j) in square.iter().zip((j..).step_by(WIDTH)) {
        for c in (0..WIDTH).step_by(4) {
            let lines = values.get_mut((j + c) * columns + i..).unwrap_or(&mut []).chunks_mut(columns.max(1));
            let mut lines = lines.filter_map(|line| line.first_chunk_mut::<SIDE>());
            let mut line = || lines.next().map(|line| L::chunks_mut(line).0);
            let (Some(to0), Some(to1), Some(to2), Some(to3)) = (line(), line(), line(), line()) else {
                return;
            };
            let blocks = panel.chunks_exact(L::COUNT);
            for ((((rows, to0), to1), to2), to3) in blocks.zip(to0).zip(to1).zip(to2).zip(to3) {
                let [v0, v1, v2, v3] = turned::<L>(rows, c);
                v0.store(to0);
                v1.store(to1);
                v2.store(to2);
                v3.store(to3);
            }
        }
    }
}

/// Four columns, from `c` on, of as many lines as there are lanes.
#[inline(always)]
fn turned<L: Lanes>(rows: &[[L::Scalar; WIDTH]], c: usize) -> [L; 4] {
    let vector = |r: usize, v: usize| {
        let line = rows.get(r).and_then(|line| L::chunks(line).0.get(c / L::COUNT + v));
        line.map_or(L::zero(), |a| L::from_array(a))
    };
    if L::COUNT == 4 {
        transpose([vector(0, 0), vector(1, 0), vector(2, 0), vector(3, 0)])
    } else {
        let [v0, v1, ..] = transpose([vector(0, 0), vector(1, 0), L::zero(), L::zero()]);
        let [v2, v3, ..] = transpose([vector(0, 1), vector(1, 1), L::zero(), L::zero()]);
        [v0, v1, v2, v3]
    }
}

/// As [`write`], at the edges.
#[inline(never)]
fn write_some<R: Real>(
    own: bool,
    square: &[R],
    [i0, j0]: [usize; 2],
    [rows, columns]: [usize; 2],
    values: &mut [R],
) {
    for i in i0..rows.min(i0 + SIDE) {
        for j in j0..columns.min(j0 + SIDE) {
            let d = at(square, (j - j0) / WIDTH * SIDE * WIDTH + (i - i0) * WIDTH + (j - j0) % WIDTH);
            if let Some(to) = values.get_mut(i * columns + j) {
                *to = d;
            }
            if let Some(to) = values.get_mut(j * columns + i).filter(|_| own) {
                *to = d;
            }
        }
    }
}

/// What the gradients take: pairs one after the other, in double precision.
struct Slopes<'g, 'a> {
    own: bool,
    norm: Norm,
    a: &'g Set<'a, F64x2>,
    b: &'g Set<'a, F64x2>,
    /// In rows of whole arrays, or empty.
    grad_a: &'a mut [[f64; 2]],
    grad_b: &'a mut [[f64; 2]],
}

impl Slopes<'_, '_> {
    /// Gives `put` the distances of all norms but 2, and adds up the gradients. `up(at)` is what flows in.
    #[inline(never)]
    fn run(&mut self, up: &dyn Fn(usize) -> f64, put: &mut dyn FnMut(usize, f64)) {
        let (rows, columns) = (self.a.count, self.b.count);
        let mut tile: Tile<f64> = [[0.0; WIDTH]; 4];
        for i in (0..rows).step_by(ROWS) {
            for j in (if self.own { i / WIDTH * WIDTH } else { 0 }..columns).step_by(WIDTH) {
                if self.norm == Norm::Two {
                    for (half, tile) in tile.chunks_exact_mut(F64x2::COUNT).enumerate() {
                        let i = i + half * F64x2::COUNT;
                        differences(self.a.lines_from(i), self.b.lines_from(j), self.a.length, tile);
                    }
                }
                for (i, line) in (i..rows).zip(&mut tile) {
                    for (j, d) in (j..columns).zip(line) {
                        *d = self.measure(i, j, *d, put);
                    }
                }
                if !(self.grad_a.is_empty() && self.grad_b.is_empty()) {
                    self.pull_tile(i, j, &tile, up);
                }
            }
        }
    }

    /// The distance of a pair, 0 where that of the pair turned counts; `square` is that of the norm 2.
    #[inline(never)]
    fn measure(&self, i: usize, j: usize, square: f64, put: &mut dyn FnMut(usize, f64)) -> f64 {
        let columns = self.b.count;
        if self.own && j < i {
            return 0.0;
        }
        if self.norm == Norm::Two {
            return if self.own && i == j { 0.0 } else { square.sqrt_of() };
        }
        let d = if self.own && i == j { 0.0 } else { self.norm.distance(self.a.row(i), self.b.row(j)) };
        put(i * columns + j, d);
        if self.own {
            put(j * columns + i, d);
        }
        d
    }

    /// The gradients of the pairs of a tile; at distance 0 there is none.
    #[inline(never)]
    fn pull_tile(&mut self, i0: usize, j0: usize, tile: &Tile<f64>, up: &dyn Fn(usize) -> f64) {
        let (rows, columns, n) = (self.a.count, self.b.count, self.a.arrays);
        // what a difference is multiplied by, where one number is enough for that
        let mut weights: Tile<f64> = [[0.0; WIDTH]; 4];
        for i in i0..rows.min(i0 + ROWS) {
            for (k, j) in (j0..columns.min(j0 + WIDTH)).enumerate() {
                let place = (i - i0) * WIDTH + k;
                let d = at(tile.as_flattened(), place);
                if d == 0.0 {
                    continue;
                }
                let mut factor = up(i * columns + j);
                if self.own {
                    factor += up(j * columns + i);
                }
                if factor == 0.0 {
                    continue;
                }
                if self.norm == Norm::Two && factor / d != 0.0 {
                    if let Some(weight) = weights.as_flattened_mut().get_mut(place) {
                        *weight = factor / d;
                    }
                    continue;
                }
                let (x, y) = (self.a.row(i), self.b.row(j));
                self.norm.pull(row_mut(self.grad_a, i, n), x, y, factor, d);
                let other = if self.own { &mut *self.grad_a } else { &mut *self.grad_b };
                self.norm.pull(row_mut(other, j, n), y, x, factor, d);
            }
        }
        if self.norm != Norm::Two {
            return;
        }
        for (r, w) in weights.iter().enumerate().take(rows - i0) {
            pull_line(row_mut(self.grad_a, i0 + r, n), self.a.row(i0 + r), self.b, j0, w);
        }
        let other = if self.own { &mut *self.grad_a } else { &mut *self.grad_b };
        for c in 0..WIDTH.min(columns - j0) {
            let mut w = [0.0; WIDTH];
            for (w, weights) in w.iter_mut().zip(&weights) {
                *w = at(weights, c);
            }
            pull_line(row_mut(other, j0 + c, n), self.b.row(j0 + c), self.a, i0, &w);
        }
    }
}

/// to += sum of w_k (own - x_k) over the vectors of a set from `first` on that weigh something, four at a time.
#[inline(never)]
fn pull_line(to: &mut [[f64; 2]], own: Vector, set: &Set<F64x2>, first: usize, w: &[f64]) {
    for (w, first) in w.as_chunks::<4>().0.iter().zip((first..).step_by(4)) {
        if w == &[0.0; ROWS] {
            continue;
        }
        // what weighs nothing is not looked at: it may be infinite
        let [x0, x1, x2, x3] = [0, 1, 2, 3].map(|j| if at(w, j) == 0.0 { own } else { set.row(first + j) });
        let [w0, w1, w2, w3] = w.map(F64x2::splat);
        let others = x0.iter().zip(x1).zip(x2.iter().zip(x3));
        for ((to, own), ((x0, x1), (x2, x3))) in to.iter_mut().zip(own).zip(others) {
            let own = F64x2::from_array(own);
            let part = |w: F64x2, x: &[f64; 2]| w * (own - F64x2::from_array(x));
            (F64x2::from_array(to) + ((part(w0, x0) + part(w1, x1)) + (part(w2, x2) + part(w3, x3))))
                .store(to);
        }
    }
}
