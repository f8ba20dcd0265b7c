//! The distances of all pairs of two sets, or within one.
//!
//! In blocks: as many columns as leave their panels in the first cache, for 64 rows. Within one set a block's distances are also
//! turned in registers and written to the other side of the diagonal, so that the other triangle is never computed.
use super::many::{Many, Need};
use super::panels::{
    at, convert, differences, distances, pull, row_mut, transpose, unpad, Pool, Set, SqrtOf, Tile, WIDTH,
};
use lanes::{F64x2, Lanes, Real};

/// Rows of a block, and the most columns.
const BLOCK: usize = 64;
/// Rows of a tile of the gradients.
const ROWS: usize = 4;
/// As many bytes of panels stay in the first cache beside all else.
const NEAR: usize = 16384;

/// Columns of a block: a part of [`BLOCK`], so that blocks are on the diagonal as a whole or not at all.
fn wide<L: Lanes>(arrays: usize) -> usize {
    let mut wide = BLOCK;
    while wide > WIDTH && wide * arrays * size_of::<L::Array>() > NEAR {
        wide /= 2;
    }
    wide
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
    (x.ln() * F64x2::splat(p)).exp()
}

/// How much scratch [`cdist`] takes.
pub fn need<L: Lanes>(own: bool, rows: usize, columns: usize, length: usize) -> Need {
    let (rows, columns) = (rows as f64, if own { 0.0 } else { columns as f64 });
    let vectors = (rows + columns) * length as f64;
    Need {
        reals: Set::<L>::size(rows, length) + Set::<L>::size(columns, length) + (BLOCK * BLOCK) as f64,
        // copies, what they are packed to, and gradients
        doubles: 2.0 * vectors
            + rows
            + columns
            + Set::<F64x2>::size(rows, length)
            + Set::<F64x2>::size(columns, length),
        ..Need::default()
    }
}

/// ||a_i - b_j||_p for all i and j, and the gradients. `own`: b is a, and the diagonal is 0 whatever stands there.
pub fn cdist<L: Lanes>(own: bool, m: &mut Many<L::Scalar>) -> f64 {
    let Many { rows, columns, length, scale, .. } = *m;
    let norm = Norm::of(m.p[0]);
    if norm == Norm::Two && !m.values.is_empty() {
        let mut pool = Pool::new(&mut *m.reals);
        let a = Set::<L>::pack(m.a, rows, length, false, &mut pool);
        let second = if own { None } else { Some(Set::<L>::pack(m.b, columns, length, false, &mut pool)) };
        let b = second.as_ref().unwrap_or(&a);
        let turned = pool.take(BLOCK * BLOCK);
        for i in (0..rows).step_by(BLOCK) {
            for j in (if own { i } else { 0 }..columns).step_by(wide::<L>(a.arrays)) {
                block(own, &a, b, i, j, &mut *m.values, turned);
            }
        }
    }
    if norm == Norm::Two && m.grad_a.is_empty() && m.grad_b.is_empty() {
        return 0.0;
    }
    let mut pool = Pool::new(&mut *m.doubles);
    let mut set = |x: &[L::Scalar], count: usize, wanted: bool| {
        let copy = pool.take(x.len());
        convert(x, copy);
        let set = Set::<F64x2>::pack(copy, count, length, false, &mut pool);
        let (grad, _) = pool.take(if wanted { count * set.arrays * 2 } else { 0 }).as_chunks_mut();
        grad.fill([0.0; 2]);
        // the gradient goes where the copy was
        (set, grad, copy)
    };
    let (a, grad_a, copy_a) = set(m.a, rows, !m.grad_a.is_empty());
    let (second, grad_b, copy_b) = set(m.b, if own { 0 } else { columns }, !m.grad_b.is_empty());
    let b = if own { &a } else { &second };
    let upstream = m.upstream;
    let up = |at: usize| scale * upstream.get(at).map_or(1.0, |u| u.to_f64());
    let values = &mut *m.values;
    let mut put = |at: usize, d: f64| {
        if let Some(to) = values.get_mut(at) {
            *to = L::Scalar::from_f64(d);
        }
    };
    let mut slopes = Slopes { own, norm, a: &a, b, grad_a, grad_b };
    slopes.run(&up, &mut put);
    unpad(slopes.grad_a, length, 1.0, copy_a);
    unpad(slopes.grad_b, length, 1.0, copy_b);
    convert(copy_a, m.grad_a);
    convert(copy_b, m.grad_b);
    0.0
}

/// The distances from i and j on, with p = 2.
#[inline(never)]
fn block<L: Lanes>(
    own: bool,
    a: &Set<L>,
    b: &Set<L>,
    i0: usize,
    j0: usize,
    values: &mut [L::Scalar],
    turned: &mut [L::Scalar],
) {
    let columns = b.count;
    let mirrored = own && j0 >= i0 + BLOCK;
    let (tall, wide) = (BLOCK.min(a.count - i0), wide::<L>(a.arrays).min(columns - j0));
    let mut tile: Tile<L::Scalar> = [[L::Scalar::ZERO; WIDTH]; 4];
    for i in (i0..i0 + tall).step_by(L::COUNT) {
        for j in (j0..j0 + wide).step_by(WIDTH) {
            distances(a, i, b, j, &mut tile);
            for (r, line) in tile.iter_mut().enumerate().take(L::COUNT.min(i0 + tall - i)) {
                if own {
                    if let Some(x) = line.get_mut((i + r).wrapping_sub(j)) {
                        *x = L::Scalar::ZERO;
                    }
                }
                let first = (i + r) * columns + j;
                let to = values.get_mut(first..first + WIDTH.min(columns - j)).unwrap_or(&mut []);
                if let Ok(to) = <&mut [L::Scalar; WIDTH]>::try_from(&mut *to) {
                    *to = *line;
                } else {
                    copy(line, to);
                }
            }
            if mirrored {
                turn::<L>(&tile, i - i0, j - j0, turned);
            }
        }
    }
    if mirrored {
        for (c, line) in turned.chunks_exact(BLOCK).enumerate().take(wide) {
            let first = (j0 + c) * columns + i0;
            copy(line, values.get_mut(first..first + tall).unwrap_or(&mut []));
        }
    }
}

/// Copies as much as there is room for: one copy of the code.
#[inline(never)]
fn copy<T: Copy>(from: &[T], to: &mut [T]) {
    for (to, x) in to.iter_mut().zip(from) {
        *to = *x;
    }
}

/// Rows of a tile become columns.
#[inline(always)]
fn turn<L: Lanes>(tile: &Tile<L::Scalar>, row: usize, column: usize, to: &mut [L::Scalar]) {
    let (to, _) = L::chunks_mut(to);
    for group in 0..WIDTH / L::COUNT {
        let line =
            |line: &[L::Scalar; WIDTH]| L::chunks(line).0.get(group).map_or(L::zero(), |a| L::from_array(a));
        let [l0, l1, l2, l3] = tile;
        let lines = transpose([line(l0), line(l1), line(l2), line(l3)]);
        for (c, line) in lines.into_iter().enumerate().take(L::COUNT) {
            let place = ((column + group * L::COUNT + c) * BLOCK + row) / L::COUNT;
            if let Some(to) = to.get_mut(place) {
                line.store(to);
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
                        differences(self.a.lines_from(i), self.b.lines_from(j), tile);
                    }
                }
                for (r, line) in tile.iter_mut().enumerate().take(rows - i) {
                    for (c, d) in line.iter_mut().enumerate().take(columns - j) {
                        let (i, j) = (i + r, j + c);
                        if self.own && j <= i {
                            *d = 0.0;
                            if i == j && self.norm != Norm::Two {
                                put(i * columns + j, 0.0);
                            }
                            continue;
                        }
                        *d = if self.norm == Norm::Two {
                            d.sqrt_of()
                        } else {
                            let d = self.norm.distance(self.a.row(i), self.b.row(j));
                            put(i * columns + j, d);
                            if self.own {
                                put(j * columns + i, d);
                            }
                            d
                        };
                    }
                }
                if !(self.grad_a.is_empty() && self.grad_b.is_empty()) {
                    self.pull_tile(i, j, &tile, up);
                }
            }
        }
    }

    /// The gradients of the pairs of a tile; at distance 0 there is none.
    #[inline(never)]
    fn pull_tile(&mut self, i0: usize, j0: usize, tile: &Tile<f64>, up: &dyn Fn(usize) -> f64) {
        let (rows, columns, n) = (self.a.count, self.b.count, self.a.arrays);
        // what a difference is multiplied by, where one number is enough for that
        let mut weights: Tile<f64> = [[0.0; WIDTH]; 4];
        for ((r, line), weights) in tile.iter().enumerate().zip(&mut weights).take(rows - i0) {
            for ((c, &d), weight) in line.iter().enumerate().zip(weights).take(columns - j0) {
                let (i, j) = (i0 + r, j0 + c);
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
                    *weight = factor / d;
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

/// to += sum of w_k (own - x_k) over eight vectors of a set from `first` on, four at a time; 0 where there is none.
#[inline(never)]
fn pull_line(to: &mut [[f64; 2]], own: Vector, set: &Set<F64x2>, first: usize, w: &[f64; WIDTH]) {
    for (w, k) in w.as_chunks::<4>().0.iter().zip([0, 4]) {
        if w == &[0.0; ROWS] {
            continue;
        }
        // what weighs nothing is not looked at: it may be infinite
        let [x0, x1, x2, x3] =
            [0, 1, 2, 3].map(|j| if at(w, j) == 0.0 { own } else { set.row(first + k + j) });
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
