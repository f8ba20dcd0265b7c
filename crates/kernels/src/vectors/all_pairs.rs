//! The distances of all pairs of two sets, or within one.
//!
//! As many columns at a time as leave their panels in the second cache, and of them squares of [`SIDE`], which within one set are
//! also turned and written to the other side of the diagonal: the other triangle is never computed. Either way a square writes whole
//! lines of the cache: its rows may all fall into one set of the first cache, and what is written by halves is fetched twice.
use super::many::{Many, Need};
use super::panels::{
    at, convert, distances, exp_all, in_panels, row, row_mut, rows_of, rows_of_mut, set_size, Pool, Set,
    SqrtOf, WIDTH,
};
use super::weighted::{accumulate, gather, scatter, take_lines, turn, Line, ROWS};
use lanes::{transpose, F64x2, Lanes, Mask, Real};

/// Rows and columns that are computed before they are written: a line of the cache of single precision.
const SIDE: usize = 16;
/// Distances of so many rows and columns, panel by panel.
type Square<R> = [[[R; WIDTH]; SIDE]; SIDE / WIDTH];
/// As many bytes of panels stay in the second cache: a tile takes them from there as fast as it works.
const NEAR: usize = 131072;

/// Columns whose panels stay in the second cache.
fn wide<L: Lanes>(arrays: usize) -> usize {
    (NEAR / size_of::<L::Array>() / arrays.max(1) / SIDE * SIDE).max(SIDE)
}

/// As many vectors stand side by side.
const FOUR: usize = 4;
/// An array of each of them. Double precision whatever the call's is.
type Fours = [[f64; 2]; FOUR];
/// As many factors are multiplied rather than a logarithm taken.
const WHOLE: f64 = 7.0;

/// Of the differences of a vector to each of four the largest, or the sum of the sizes; NaN where one is.
#[inline(never)]
fn measure(add_up: bool, x: &[[f64; 2]], y: &[Fours], to: &mut [f64; FOUR]) {
    let mut sums = [F64x2::zero(); FOUR];
    let mut largest = sums;
    for (x, y) in x.iter().zip(y) {
        for ((sum, max), y) in sums.iter_mut().zip(&mut largest).zip(y) {
            let d = (F64x2::from_array(x) - F64x2::from_array(y)).abs();
            *sum = *sum + d;
            *max = max.max(d);
        }
    }
    for ((to, sum), max) in to.iter_mut().zip(&sums).zip(&largest) {
        let sum = sum.sum();
        *to = if add_up | sum.is_nan() { sum } else { max.max_lane() };
    }
}

/// x^p for x >= 0, in place.
#[inline(never)]
fn powers(x: &mut [[f64; 2]], p: [f64; 2]) {
    for x in x.iter_mut() {
        (F64x2::from_array(x).ln() * F64x2::from_array(&p)).store(x);
    }
    exp_all(x);
}

/// The slopes of a vector's distance to one of four, in `u`, without their signs and what they have in common: |d / max|^(p - 1), or 1 where
/// a difference is the largest (p = Infinity); all 0 where nothing flows in (`by` is 0). Gives the sum of |d / max|^p, or how many are the
/// largest.
#[inline(never)]
fn bend(
    p: f64,
    x: &[[f64; 2]],
    (y, lane): (&[Fours], usize),
    max: f64,
    by: f64,
    t: &mut [[f64; 2]],
    u: &mut [Fours],
) -> f64 {
    let (zero, one, largest) = (F64x2::zero(), F64x2::one(), F64x2::splat(max));
    // spares checks
    let lane = lane % FOUR;
    let mut sum = zero;
    // with p = 1 all slopes are 1 and stay so
    if p == 1.0 {
        return 0.0;
    }
    if p == f64::INFINITY {
        for ((x, y), u) in x.iter().zip(y).zip(u.iter_mut()) {
            let v = F64x2::from_array(x) - F64x2::from_array(&y[lane]);
            let tie = F64x2::select(v.abs().eq(largest), one, v * zero);
            sum = sum + tie;
            tie.store(&mut u[lane]);
        }
    } else if max != 0.0 {
        // the largest is taken out, so that no power overflows
        for (((x, y), t), u) in x.iter().zip(y).zip(t.iter_mut()).zip(u.iter_mut()) {
            let v = F64x2::from_array(x) - F64x2::from_array(&y[lane]);
            (v.abs() / largest).store(t);
            u[lane] = *t;
        }
        let q = p - 1.0;
        let whole = q.min(WHOLE) as u32;
        if q == f64::from(whole) {
            for _ in 1..whole {
                for (t, u) in t.iter_mut().zip(u.iter()) {
                    (F64x2::from_array(t) * F64x2::from_array(&u[lane])).store(t);
                }
            }
        } else {
            powers(t, [q; 2]);
        }
        for (t, u) in t.iter().zip(u.iter_mut()) {
            sum = sum + F64x2::from_array(&u[lane]) * F64x2::from_array(t);
            u[lane] = *t;
        }
    }
    // nothing flows where nothing flows in, even through what is not finite
    if by == 0.0 {
        for u in u {
            u[lane] = [0.0; 2];
        }
    }
    sum.sum()
}

/// Adds slopes times `by`, and with the signs of x - y, to the gradient of x, and takes them off those of y.
#[inline(never)]
fn pull(
    x: &[[f64; 2]],
    y: &[Fours],
    u: &[Fours],
    by: &[f64; FOUR],
    to_x: &mut [[f64; 2]],
    to_y: &mut [Fours],
) {
    let zero = F64x2::zero();
    let by = by.map(F64x2::splat);
    for ((((x, y), u), to_x), to_y) in x.iter().zip(y).zip(u).zip(to_x).zip(to_y) {
        let mut slopes = by;
        for (slope, u) in slopes.iter_mut().zip(u) {
            *slope = *slope * F64x2::from_array(u);
        }
        let [s0, s1, s2, s3] = slopes.map(|slope| slope.to_bits());
        // most are 0 where the largest counts
        if F64x2::from_bits((s0 | s1) | (s2 | s3)).ne(zero).any() {
            let mut sum = F64x2::from_array(to_x);
            for ((slope, y), to) in slopes.iter().zip(y).zip(to_y) {
                let slope = (F64x2::from_array(x) - F64x2::from_array(y)).signum() * *slope;
                sum = sum + slope;
                (F64x2::from_array(to) - slope).store(to);
            }
            sum.store(to_x);
        }
    }
}

/// How much scratch [`cdist`] takes.
pub fn need(own: bool, rows: usize, columns: usize, length: usize, p: f64) -> Need {
    if p == 2.0 {
        let (rows, columns) = (rows as f64, if own { 0.0 } else { columns as f64 });
        let sets = set_size(rows, length) + set_size(columns, length);
        // parts, gradients and the sums of weights of both sets, two squares of weights and a vector
        let width = (length + WIDTH) as f64;
        let of_gradients = (rows + columns + 4.0 * WIDTH as f64) * (2.0 * width + 1.0);
        let squares = 2.0 * (ROWS * ROWS + WIDTH) as f64;
        return Need { reals: sets + of_gradients + squares + width, ..Need::default() };
    }
    // the second set and its gradient, both in fours, four slopes, a vector, its gradient, and powers, in whole arrays
    let vectors = 2.0 * (columns as f64 + 3.0) + 4.0 + 3.0;
    Need { doubles: vectors * (length + 1) as f64, ..Need::default() }
}

/// ||a_i - b_j||_p for all i and j, and the gradients. `own`: b is a, and the diagonal is 0 whatever stands there.
pub fn cdist<L: Lanes>(own: bool, m: &mut Many<L::Scalar>) -> f64 {
    let Many { rows, columns, length, scale, .. } = *m;
    let wanted = [!m.grad_a.is_empty(), !m.grad_b.is_empty()];
    if m.p[0] == 2.0 {
        // the gradients are taken from the distances
        if rows.checked_mul(columns) != Some(m.values.len()) {
            return if wanted == [false; 2] { 0.0 } else { f64::NAN };
        }
        let mut pool = Pool::new(&mut *m.reals);
        let a = Set::<L>::pack(m.a, rows, length, &mut pool);
        let second = if own { None } else { Some(Set::<L>::pack(m.b, columns, length, &mut pool)) };
        let b = second.as_ref().unwrap_or(&a);
        euclidean(&a, b, m.values);
        if wanted == [false; 2] {
            return 0.0;
        }
        let line = take_lines::<L>(length.div_ceil(WIDTH), &mut pool);
        let [square, turned] = [(); 2].map(|()| take_lines::<L>(ROWS / WIDTH * ROWS + 1, &mut pool));
        let mut pull = Pull {
            rows: Side::new(&a, m.a, false, wanted[0], line, &mut pool),
            columns: Side::new(b, m.b, own, wanted[1], line, &mut pool),
            own,
            upstream: m.upstream,
            scale,
            square,
            turned,
            line,
        };
        for i in (0..rows).step_by(ROWS) {
            for j in (if own { i } else { 0 }..b.count).step_by(ROWS) {
                pull.block([i, j], m.values);
            }
        }
        pull.rows.give(pull.line, m.grad_a);
        pull.columns.give(pull.line, m.grad_b);
        return 0.0;
    }
    let Many { a, b, upstream, .. } = *m;
    let (values, grad_a, grad_b) = (&mut *m.values, &mut *m.grad_a, &mut *m.grad_b);
    slopes(
        (own, m.p[0]),
        [rows, columns],
        length,
        wanted != [false; 2],
        &mut *m.doubles,
        &|second, i, to| convert(row(if second { b } else { a }, i, length), to),
        &|at| scale * upstream.get(at).map_or(1.0, |u| u.to_f64()),
        &mut |at, d| convert(d, values.get_mut(at..).unwrap_or(&mut [])),
        &mut |second, i, grad| {
            convert(grad, row_mut(if second { &mut *grad_b } else { &mut *grad_a }, i, length))
        },
    );
    0.0
}

/// The distances of all norms but 2 and their gradients, in double precision: `read(second, i)` gives a vector, `up(at)` what flows in, `put`
/// takes a distance and `give(second, i)` a gradient. One copy of the code for both precisions.
#[inline(never)]
#[allow(clippy::too_many_arguments)]
fn slopes(
    (own, p): (bool, f64),
    [rows, columns]: [usize; 2],
    length: usize,
    wanted: bool,
    doubles: &mut [f64],
    read: &dyn Fn(bool, usize, &mut [f64]),
    up: &dyn Fn(usize) -> f64,
    put: &mut dyn FnMut(usize, &[f64]),
    give: &mut dyn FnMut(bool, usize, &[f64]),
) {
    let n = (length + 1) >> 1;
    let is_power = p != 1.0 && p != f64::INFINITY;
    doubles.fill(0.0);
    let mut pool = Pool::new(doubles);
    let fours = columns.div_ceil(FOUR);
    let mut take = |count: usize| pool.take(count * 2 * n).as_chunks_mut().0;
    let [second, grads, u] =
        [take(FOUR * fours), take(FOUR * fours), take(FOUR)].map(|all| all.as_chunks_mut().0);
    let [x, line, t] = [take(1), take(1), take(1)];
    u.fill([[1.0; 2]; FOUR]);
    for j in 0..columns {
        read(!own, j, x.as_flattened_mut());
        add_to_one(row_mut(second, j / FOUR, n), j, x);
    }
    for i in 0..rows {
        read(false, i, x.as_flattened_mut());
        line.fill([0.0; 2]);
        let mut first = 0;
        if own {
            first = i + 1;
            put(i * columns + i, &[0.0]);
        }
        for four in first / FOUR..fours {
            let y = row(second, four, n);
            let mut distances = [0.0; FOUR];
            measure(p == 1.0, x, y, &mut distances);
            // where no slopes are wanted, none has to be cleared
            let mut by = [if wanted { 0.0 } else { 1.0 }; FOUR];
            let (from, end) = (first.max(four * FOUR), columns.min((four + 1) * FOUR));
            if wanted || is_power {
                let mut roots = [[0.0; 2]; FOUR];
                for lane in 0..FOUR {
                    let j = four * FOUR + lane;
                    let mut d = 0.0;
                    if j >= from && j < end {
                        d = distances[lane];
                        if wanted && d != 0.0 {
                            by[lane] = up(i * columns + j) + if own { up(j * columns + i) } else { 0.0 };
                        }
                    }
                    roots[lane] = [bend(p, x, (y, lane), d, by[lane], t, u); 2];
                }
                if is_power {
                    powers(&mut roots, [1.0 / p, (p - 1.0) / p]);
                }
                for j in from..end {
                    let lane = j % FOUR;
                    // neither is less than 1 but where there is nothing to divide by; NaN where the distance is not finite
                    let [root, share] = roots[lane].map(|root| if 1.0 < root { root } else { 1.0 });
                    by[lane] /= share;
                    if is_power {
                        distances[lane] *= root;
                    }
                }
            }
            put(i * columns + from, distances.get(from % FOUR..end - four * FOUR).unwrap_or(&[]));
            if own {
                for j in from..end {
                    put(j * columns + i, &[distances[j % FOUR]]);
                }
            }
            if wanted {
                pull(x, y, u, &by, line, row_mut(grads, four, n));
            }
        }
        if own {
            add_to_one(row_mut(grads, i / FOUR, n), i, line);
        } else {
            give(false, i, line.as_flattened());
        }
    }
    for j in 0..columns {
        one_of(row(grads, j / FOUR, n), j, line);
        give(!own, j, line.as_flattened());
    }
}

/// One of four vectors.
#[inline(never)]
fn one_of(from: &[Fours], i: usize, to: &mut [[f64; 2]]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = from[i % FOUR];
    }
}

/// Adds to one of four vectors.
#[inline(never)]
fn add_to_one(to: &mut [Fours], i: usize, x: &[[f64; 2]]) {
    for (to, x) in to.iter_mut().zip(x) {
        let to = &mut to[i % FOUR];
        (F64x2::from_array(to) + F64x2::from_array(x)).store(to);
    }
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
                        mirror::<L>(&square, [i, j], b.count, values);
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
fn mirror<L: Lanes>(
    square: &Square<L::Scalar>,
    [i, j]: [usize; 2],
    columns: usize,
    values: &mut [L::Scalar],
) {
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

/// One of the sets of [`Pull`].
struct Side<'g, 'a, L: Lanes> {
    set: &'g Set<'a, L>,
    /// The vectors in parts of `high` lines; 0 stands for those whose products mean nothing.
    parts: &'a [Line<L>],
    high: usize,
    /// In parts as well: what is to be taken off each vector times the sum of its weights.
    grad: &'a mut [Line<L>],
    sums: &'a mut [Line<L>],
    wanted: bool,
}

impl<'g, 'a, L: Lanes> Side<'g, 'a, L> {
    /// `own`: what would be here is on the other side.
    #[inline(never)]
    fn new(
        set: &'g Set<'a, L>,
        x: &[L::Scalar],
        own: bool,
        wanted: bool,
        line: &mut [Line<L>],
        pool: &mut Pool<'a, L::Scalar>,
    ) -> Self {
        // an odd number of panels: else a vector's parts may all fall into one set of the first cache
        let high = if own { 0 } else { in_panels(set.count) | WIDTH };
        let parts = take_lines::<L>(line.len() * high, pool);
        for (i, (x, square)) in rows_of(x, set.length).zip(set.squares).enumerate() {
            if !square.is_nan() {
                convert(x, line.as_flattened_mut());
                scatter::<L>(line, 1.0, parts, high, i);
            }
        }
        let of_gradient = if wanted { high } else { 0 };
        let grad = take_lines::<L>(line.len() * of_gradient, pool);
        Self { set, parts, high, grad, sums: take_lines::<L>(of_gradient / WIDTH, pool), wanted }
    }

    /// Adds `count` vectors of another side from `first` on, times weights, to what is taken off `sums` vectors from `start` on.
    #[inline(never)]
    fn add(
        &mut self,
        weights: &[Line<L>],
        [start, sums]: [usize; 2],
        other: (&[Line<L>], usize),
        [first, count]: [usize; 2],
    ) {
        accumulate::<L>(weights, sums, other, (first, count), (self.grad, self.high), start);
        let to = self.sums.iter_mut().skip(start / WIDTH);
        for (panel, to) in weights.chunks_exact(ROWS).zip(to).take(sums.div_ceil(WIDTH)) {
            for (v, to) in L::chunks_mut(to).0.iter_mut().enumerate() {
                // in runs of as many, as the products
                let weights = panel.iter().take(count).filter_map(|line| L::chunks(line).0.get(v));
                (L::from_array(to) + weights.fold(L::zero(), |sum, w| sum + L::from_array(w))).store(to);
            }
        }
    }

    /// Takes a vector times a factor off vector `i`.
    #[inline(never)]
    fn take_off(&mut self, i: usize, line: &[Line<L>], factor: f64) {
        if !self.wanted {
            return;
        }
        let factor = L::of(factor);
        for (k, x) in line.iter().enumerate() {
            if let Some(to) = self.grad.get_mut(k * self.high + i) {
                for (to, x) in L::chunks_mut(to).0.iter_mut().zip(L::chunks(x).0) {
                    (L::from_array(to) + factor * L::from_array(x)).store(to);
                }
            }
        }
    }

    /// Writes the gradient.
    #[inline(never)]
    fn give(&self, line: &mut [Line<L>], output: &mut [L::Scalar]) {
        for (i, to) in rows_of_mut(output, self.set.length).enumerate() {
            gather(self.parts, self.high, i, line);
            let sum = L::splat(at(self.sums.as_flattened(), i));
            for (k, x) in line.iter_mut().enumerate() {
                let off = self.grad.get(k * self.high + i).map_or(&[][..], |line| L::chunks(line).0);
                for (x, off) in L::chunks_mut(x).0.iter_mut().zip(off) {
                    // in this order nothing becomes -0
                    ((L::zero() - L::from_array(off)) + sum * L::from_array(x)).store(x);
                }
            }
            convert(line.as_flattened(), to);
        }
    }
}

/// The gradients with p = 2. That of a pair is up (a - b) / d: of a vector the sum of its weights up / d times itself, less those on the other
/// side each times its weight, which are products of matrices. That is exact enough where products tell the distance (the head of
/// [`super::panels`] says where: there a vector is at most twice as long as the distance); of other pairs the differences are taken.
struct Pull<'g, 'a, L: Lanes> {
    rows: Side<'g, 'a, L>,
    columns: Side<'g, 'a, L>,
    /// Whether the columns are the rows: nothing is in that side then but the set.
    own: bool,
    /// What flows in, or nothing, and what multiplies it.
    upstream: &'g [L::Scalar],
    scale: f64,
    /// Distances, and then weights, of up to [`ROWS`] rows and columns: a strip, and the same turned. At the end of each there is one more line.
    square: &'a mut [Line<L>],
    turned: &'a mut [Line<L>],
    /// A vector.
    line: &'a mut [Line<L>],
}

impl<L: Lanes> Pull<'_, '_, L> {
    /// Takes the pairs of up to [`ROWS`] rows and columns from `i` and `j` on; `values` are all distances.
    #[inline(never)]
    fn block(&mut self, [i, j]: [usize; 2], values: &[L::Scalar]) {
        let (a, b) = (self.rows.set, self.columns.set);
        let (rows, columns) = (ROWS.min(a.count - i), ROWS.min(b.count - j));
        let wide = columns.div_ceil(WIDTH);
        // within one set the pairs on the other side of the diagonal are these
        let [mirrored, diagonal] = [i < j, i == j].map(|it| it && self.own);
        for r in 0..rows {
            let start = (i + r) * b.count + j;
            let eights = values.get(start..start + columns).unwrap_or(&[]).chunks(WIDTH);
            for (d, line) in eights.zip(self.square.iter_mut().skip(r).step_by(ROWS)) {
                for (to, d) in line.iter_mut().zip(d) {
                    *to = *d;
                }
            }
        }
        self.weigh([i, rows], [j, columns], diagonal);
        let of_rows = (self.rows.parts, self.rows.high);
        let of_columns = if self.own { of_rows } else { (self.columns.parts, self.columns.high) };
        if self.rows.wanted {
            turn::<L>(self.square, wide, self.turned);
            self.rows.add(self.turned, [i, rows], of_columns, [j, columns]);
        }
        if mirrored || self.columns.wanted {
            let to = if self.own { &mut self.rows } else { &mut self.columns };
            to.add(self.square, [j, columns], of_rows, [i, rows]);
        }
    }

    /// Puts weights in the place of distances. Pairs that products do not tell, or whose weight is so large or small that a product with it
    /// would not be exact, are pulled one by one. (What stands behind the last column is not looked at.)
    #[inline(never)]
    fn weigh(&mut self, [i, rows]: [usize; 2], [j, columns]: [usize; 2], diagonal: bool) {
        let (quarter, zero) = (L::of(0.25), L::zero());
        let [least, most] = range::<L>().map(L::of);
        let mut up = [L::Scalar::from_f64(self.flows(i, j)); WIDTH];
        // a row after the other: lines of the cache below each other may all fall into one set
        for i in i..i + rows {
            for j in (j..j + columns).step_by(WIDTH) {
                let others = row(self.columns.set.squares, j / WIDTH, WIDTH);
                let flowing = self.upstream.get(i * self.columns.set.count + j..).unwrap_or(&[]);
                for (k, (up, x)) in up.iter_mut().zip(flowing).enumerate() {
                    let x = if self.own { self.flows(i, j + k) } else { self.scale * x.to_f64() };
                    *up = L::Scalar::from_f64(x);
                }
                let place = (j % ROWS) / WIDTH * ROWS + i % ROWS;
                let Some(line) = self.square.get_mut(place) else { return };
                let distances = *line;
                let own = L::splat(at(self.rows.set.squares, i));
                let mut all = zero.eq(zero);
                let parts = L::chunks(others).0.iter().zip(L::chunks(&up).0);
                for (d, (other, up)) in L::chunks_mut(line).0.iter_mut().zip(parts) {
                    let (x, up, n) = (L::from_array(d), L::from_array(up), own + L::from_array(other));
                    let w = up / x;
                    let exact = (least.le(w.abs()) & w.abs().le(most)) | up.eq(zero);
                    let told = zero.lt(x) & (n * quarter).le(x * x) & exact;
                    all = all & told;
                    L::select(told, w, zero).store(d);
                }
                if !all.all() {
                    let weights = *line;
                    for (k, j) in (j..self.columns.set.count.min(j + WIDTH)).enumerate() {
                        if at(&weights, k) == L::Scalar::ZERO {
                            self.pull_near([i, j], at(&distances, k), diagonal);
                        }
                    }
                }
            }
        }
    }

    /// What flows into a pair: within one set into both of its places.
    #[inline(never)]
    fn flows(&self, i: usize, j: usize) -> f64 {
        let columns = self.columns.set.count;
        let at = |place: usize| self.upstream.get(place).map_or(1.0, |up| up.to_f64());
        self.scale * (at(i * columns + j) + if self.own { at(j * columns + i) } else { 0.0 })
    }

    /// One pair by its differences; `diagonal`: its other place has its turn. At distance 0 there is no slope, and nothing flows where nothing flows
    /// in, even through what is not finite.
    #[inline(never)]
    fn pull_near(&mut self, [i, j]: [usize; 2], d: L::Scalar, diagonal: bool) {
        let up = self.flows(i, j);
        if up == 0.0 || d == L::Scalar::ZERO {
            return;
        }
        let (x, y) = (self.rows.set.row(i), self.columns.set.row(j));
        let [least, most] = range::<L>();
        let plain = |x: f64| least <= x.abs() && x.abs() <= most;
        let mut d = d.to_f64();
        if plain(d) && plain(up) {
            let (up, d) = (L::of(up), L::of(d));
            let slopes = L::chunks_mut(self.line.as_flattened_mut()).0.iter_mut();
            for (to, (x, y)) in slopes.zip(x.iter().zip(y)) {
                ((L::from_array(y) - L::from_array(x)) / d * up).store(to);
            }
        } else {
            let numbers = || x.iter().zip(y).flat_map(|(x, y)| x.as_ref().iter().zip(y.as_ref()));
            let differences = || numbers().map(|(x, y)| y.to_f64() - x.to_f64());
            if L::COUNT == 4 {
                d = differences().fold(0.0, |sum, x| sum + x * x).sqrt_of();
            }
            for (to, x) in self.line.as_flattened_mut().iter_mut().zip(differences()) {
                *to = L::Scalar::from_f64(x / d * up);
            }
        }
        self.rows.take_off(i, self.line, 1.0);
        if !diagonal {
            let to = if self.own { &mut self.rows } else { &mut self.columns };
            to.take_off(j, self.line, -1.0);
        }
    }
}

/// Between these magnitudes products of weights and vectors are exact enough and do not overflow.
fn range<L: Lanes>() -> [f64; 2] {
    if L::COUNT == 4 {
        [1e-30, 1e30]
    } else {
        [1e-290, 1e290]
    }
}
