//! Softmax and its logarithm, log sum exp, and cross-entropy, smoothed or not, of several rows at a time, a row per lane: the same bits
//! as [`super::entropy`] and [`super::softmax`] have for one.
//!
//! A row of few numbers leaves lanes empty, and most of its time goes to what is done once a row: its largest number, a logarithm,
//! divisions. So four rows become a column, a vector per class. The exponentials take whole vectors however few classes there are, and
//! what is done once a row is done for all of a strip of columns. Rows that stand together are turned for it, and read and written over
//! their ends, where the next one begins; rows whose numbers stand apart, [.., columns, inner], as of images, lie in memory as in a
//! column. In single precision: two lanes gain less.
use super::softmax::{scaled_below, CHAIN, CONFIDENT};
use super::{factor, load, store_tail, Op, Rows};
use core::num::NonZero;
use core::ops::Range;
use lanes::{transpose, F32x4, F64x2, Lanes, Mask};

/// Lanes.
const WIDTH: usize = 4;
/// The most rows of a strip. Of rows that stand apart that is four lines of the cache a class; the processor fetches those behind by itself.
const ROWS: usize = 64;

type Vector = [f32; WIDTH];
/// What stands behind the last class, so that a column has whole squares: no exponential.
const NO_CLASS: Vector = [f32::NEG_INFINITY; WIDTH];

/// A square of numbers, turned.
#[inline(always)]
fn turned(square: &[Vector; WIDTH]) -> [F32x4; WIDTH] {
    transpose(square.map(|x| F32x4::from_array(&x)))
}

/// Puts x - max where x stands in a column, and gives back the largest numbers.
#[inline(never)]
fn below(column: &mut [Vector]) -> Vector {
    let mut max = F32x4::splat(f32::NEG_INFINITY);
    for x in &*column {
        max = max.max(F32x4::from_array(x));
    }
    for x in column {
        (F32x4::from_array(x) - max).store(x);
    }
    max.to_array()
}

/// Adds to the sums of four rows a vector of each, as a row's own would be added.
#[inline(always)]
fn add(sums: &mut [F64x2; WIDTH], rows: [F32x4; WIDTH]) {
    for (sum, x) in sums.iter_mut().zip(rows) {
        *sum = x.add_to_f64(*sum);
    }
}

/// The sums of a column's rows, each as its own would be.
#[inline(never)]
fn sum(column: &[Vector]) -> [f64; WIDTH] {
    let mut sums = [F64x2::zero(); WIDTH];
    for square in column.as_chunks().0 {
        add(&mut sums, turned(square));
    }
    sums.map(|sum| sum.sum())
}

/// The sums of a column's rows, of `n` classes, the same as a long row has them: its vectors are added up in two chains in turn.
#[inline(never)]
fn sum_in_chains(column: &[Vector], n: usize, totals: &mut [f64; WIDTH]) {
    let mut sums = [F64x2::zero(); WIDTH];
    let (pairs, rest) = column.split_at_checked(n - n % (2 * WIDTH)).unwrap_or((&[], &[]));
    for pairs in pairs.as_chunks::<{ 2 * WIDTH }>().0.chunks(CHAIN) {
        let mut chains = [[0.0; WIDTH]; 2 * WIDTH];
        for pair in pairs {
            for (chain, e) in chains.iter_mut().zip(pair) {
                (F32x4::from_array(chain) + F32x4::from_array(e)).store(chain);
            }
        }
        for half in chains.as_chunks().0 {
            add(&mut sums, turned(half));
        }
    }
    for square in rest.as_chunks().0 {
        add(&mut sums, turned(square));
    }
    *totals = sums.map(|sum| sum.sum());
}

/// The sums of a column's exponentials: where nearly all is the largest one, which is exactly 1, that counts apart.
#[inline(always)]
fn add_up(column: &[Vector], n: usize, totals: &mut [f64; WIDTH]) {
    sum_in_chains(column, n, totals);
    if totals.iter().any(|&total| total < CONFIDENT) {
        let (zero, one) = (F32x4::zero(), F32x4::one());
        let mut ones = zero;
        let mut sums = [F64x2::zero(); WIDTH];
        for square in column.as_chunks::<WIDTH>().0 {
            let others = square.map(|e| {
                let e = F32x4::from_array(&e);
                ones = ones + F32x4::keep(e.eq(one), one);
                F32x4::select(e.eq(one), zero, e)
            });
            add(&mut sums, transpose(others));
        }
        for ((total, ones), rest) in totals.iter_mut().zip(ones.to_array()).zip(sums) {
            if *total < CONFIDENT {
                *total = f64::from(ones) + rest.sum();
            }
        }
    }
}

/// What is known of the rows of a strip.
struct Known {
    max: [f32; ROWS],
    /// The sums of the exponentials and their logarithms.
    total: [f64; ROWS],
    log: [f64; ROWS],
    /// The sums of the numbers less the largest, where they are smoothed.
    gaps: [f64; ROWS],
    /// What multiplies the exponentials, what is taken off at all classes, and at the label; before that the exponents of the sums.
    by: [f32; ROWS],
    less: [f32; ROWS],
    off: [f64; ROWS],
}

/// Where a strip stands: number `c` of its row `i` at `start + c * inner + i * step`.
#[derive(Clone, Copy)]
struct Strip {
    n: NonZero<usize>,
    inner: usize,
    step: usize,
    start: usize,
    /// How many rows it has, and how many vectors a column of four.
    count: usize,
    height: NonZero<usize>,
}

impl Strip {
    /// Where class `c` of rows that stand apart is.
    #[inline(always)]
    fn line(self, c: usize) -> Range<usize> {
        let at = self.start + c * self.inner;
        at..at + self.count
    }

    /// Where the rows of column `v` begin that stand together, the last one in place of those that there are not.
    #[inline(always)]
    fn rows(self, v: usize) -> [usize; WIDTH] {
        core::array::from_fn(|i| self.start + (v * WIDTH + i).min(self.count - 1) * self.n.get())
    }

    /// Where number `c` of row `i` stands, if it has one.
    #[inline(always)]
    fn place(self, c: usize, i: usize) -> Option<usize> {
        (c < self.n.get()).then(|| self.start + c * self.inner + i * self.step)
    }

    /// Brings the rows into columns.
    #[inline(never)]
    fn bring(self, input: &[f32], room: &mut [Vector]) {
        if self.inner > 1 {
            for c in 0..self.n.get() {
                let line = F32x4::chunks(input.get(self.line(c)).unwrap_or(&[])).0;
                for (x, to) in line.iter().zip(room.iter_mut().skip(c).step_by(self.height.get())) {
                    *to = *x;
                }
            }
            return;
        }
        for (v, column) in room.chunks_exact_mut(self.height.get()).enumerate() {
            let rows = self.rows(v);
            let squares = column.as_chunks_mut().0.iter_mut();
            // behind a row's end stand numbers of the next one, which count for nothing
            let [a, b, c, d] =
                rows.map(|row| F32x4::chunks(input.get(row..row + self.height.get()).unwrap_or(&[])).0);
            if !d.is_empty() {
                for ((((square, a), b), c), d) in squares.zip(a).zip(b).zip(c).zip(d) {
                    *square = transpose([a, b, c, d].map(F32x4::from_array)).map(|x| x.to_array());
                }
                continue;
            }
            for (k, square) in squares.enumerate() {
                let vector =
                    |row: usize| load::<F32x4>(input.get(row..).unwrap_or(&[]), k, f32::NEG_INFINITY);
                *square = transpose(rows.map(vector)).map(|x| x.to_array());
            }
        }
    }

    /// Takes the exponentials of the rows, each less its largest number, to `terms`.
    #[inline(always)]
    fn exponentials(
        self,
        input: &[f32],
        is_smooth: bool,
        room: &mut [Vector],
        terms: &mut [Vector],
        known: &mut Known,
    ) {
        let (n, height) = (self.n.get(), self.height.get());
        let mut is_finite = true;
        let largest = known.max.as_chunks_mut().0.iter_mut().zip(known.gaps.as_chunks_mut().0);
        for (column, (max, sums)) in room.chunks_exact_mut(height).zip(largest) {
            *max = below(column.get_mut(..n).unwrap_or(&mut []));
            is_finite &= F32x4::from_array(max).abs().lt(F32x4::splat(f32::INFINITY)).all();
            if is_smooth {
                column.iter_mut().skip(n).for_each(|behind| *behind = [0.0; WIDTH]);
                *sums = sum(column);
            }
            column.iter_mut().skip(n).for_each(|behind| *behind = NO_CLASS);
        }
        scaled_below::<F32x4>(room.as_flattened(), 1.0, 0.0, terms.as_flattened_mut());
        for (column, total) in terms.chunks_exact(height).zip(known.total.as_chunks_mut().0) {
            add_up(column, n, total);
        }
        let Known { total, log, off, .. } = known;
        let ([total, log, off], pairs) =
            ([total, log, off].map(|s| s.as_chunks_mut().0), self.count.div_ceil(2));
        for ((total, log), off) in total.iter().zip(log.iter_mut()).zip(off.iter_mut()).take(pairs) {
            let (f, e) = F64x2::from_array(total).ln_begun();
            f.store(log);
            e.store(off);
        }
        for ((total, log), off) in total.iter().zip(log).zip(off).take(pairs) {
            let total = F64x2::from_array(total);
            // a sum is at least 1, or NaN, of which this keeps the latter
            let nothing = total * F64x2::zero();
            (F64x2::from_array(log).ln_ended(F64x2::from_array(off)) + nothing).store(log);
        }
        if is_finite {
            return;
        }
        let rows = known.max.iter().zip(&mut known.total).zip(&mut known.log).enumerate().take(self.count);
        for (i, ((max, total), log)) in rows {
            if !(max.abs() < f32::INFINITY) {
                let mut row = (0..n).filter_map(|c| self.place(c, i).and_then(|at| input.get(at)));
                *total = if row.any(|x| x.is_nan()) { f64::NAN } else { 1.0 };
                *log = *total - 1.0;
            }
        }
    }

    /// The losses of its rows, or without labels their log sum exp, which are the batch's from the `first` on, added to a sum.
    #[inline(always)]
    fn losses(
        self,
        r: &mut Rows<f32>,
        first: usize,
        terms: &mut [Vector],
        known: &mut Known,
        mut sum: f64,
    ) -> f64 {
        let Known { max, total, log, gaps, by, less, off } = known;
        let smoothing = r.p[1];
        let spread = smoothing / self.n.get() as f64;
        let rows = max.iter().zip(total).zip(log).zip(gaps).zip(by).zip(less).zip(off);
        for (i, ((((((max, total), log), gaps), by), less), off)) in rows.enumerate().take(self.count) {
            let (mut value, mut mass) = (0.0, 0.0);
            let label = r.labels.get(first + i).copied();
            let number = |c: usize| self.place(c, i).and_then(|at| r.input.get(at)).map(|&x| f64::from(x));
            let max = f64::from(*max);
            if label.is_some_and(|y| f64::from(y) == r.p[0]) {
                let column = terms.iter_mut().skip(i / WIDTH * self.height.get()).take(self.height.get());
                column.filter_map(|e| e.get_mut(i % WIDTH)).for_each(|e| *e = 0.0);
                (*by, *less) = (0.0, 0.0);
            } else if let Some(x) = label.map_or(Some(0.0), |y| number(y as usize)) {
                let hard = label.map_or(1.0, |y| (1.0 - smoothing) * factor(r.weight, y as usize));
                if hard != 0.0 {
                    value = hard * (*log - (x - max));
                }
                let scale = r.scale * factor(r.upstream, first + i);
                mass = scale * hard;
                let mut all = mass;
                if spread != 0.0 {
                    value += spread * (self.n.get() as f64 * *log - *gaps);
                    all = scale * (hard + smoothing);
                    *less = (scale * spread) as f32;
                }
                *by = (all / *total) as f32;
            } else {
                value = f64::NAN;
                *by = f32::NAN;
            }
            *off = mass;
            if let Some(to) = r.values.get_mut(first + i) {
                *to = value as f32;
            }
            sum += value;
        }
        sum
    }

    /// As [`Strip::losses`] with probabilities for a target; writes the gradients.
    #[inline(always)]
    fn losses_of_probabilities(
        self,
        r: &mut Rows<f32>,
        first: usize,
        [room, terms, shares, products]: [&mut [Vector]; 4],
        known: &mut Known,
        mut sum_of_all: f64,
    ) -> f64 {
        let (n, height) = (self.n.get(), self.height.get());
        self.bring(r.target, shares);
        let (keep, spread) = (F32x4::of(1.0 - r.p[1]), F32x4::of(r.p[1] / n as f64));
        let columns = room.chunks_exact_mut(height).zip(terms.chunks_exact_mut(height));
        let columns = columns.zip(shares.chunks_exact_mut(height)).enumerate();
        let of_columns = known.total.as_chunks::<WIDTH>().0.iter().zip(known.log.as_chunks().0);
        for ((v, ((room, terms), shares)), (totals, logs)) in columns.zip(of_columns) {
            let row = first + v * WIDTH;
            let scales: [f64; WIDTH] = core::array::from_fn(|i| r.scale * factor(r.upstream, row + i));
            let all = |numbers: [f64; WIDTH]| F32x4::from_array(&numbers.map(|x| x as f32));
            let (log, scale) = (all(*logs), all(scales));
            let flowing = -scale * keep;
            let classes = room.iter_mut().zip(shares.iter_mut()).zip(products.iter_mut()).enumerate();
            for (c, ((x, t), product)) in classes {
                if c >= n {
                    (*t, *product) = ([0.0; WIDTH], [0.0; WIDTH]);
                    continue;
                }
                let weight = F32x4::of(factor(r.weight, c));
                let share = (F32x4::from_array(t) * keep + spread) * weight;
                let log_p = F32x4::from_array(x) - log;
                F32x4::keep(share.ne(F32x4::zero()), share * log_p).store(product);
                share.store(t);
                (flowing * weight * log_p).store(x);
            }
            let (losses, masses) = (sum(products), sum(shares));
            let mut of_softmax = [0.0; WIDTH];
            for (i, (loss, mass)) in losses.into_iter().zip(masses).enumerate() {
                of_softmax[i] = scales[i] * mass / totals[i];
                if v * WIDTH + i < self.count {
                    let value = 0.0 - loss;
                    if let Some(to) = r.values.get_mut(row + i) {
                        *to = value as f32;
                    }
                    sum_of_all += value;
                }
            }
            let of_softmax = all(of_softmax);
            for (e, share) in terms.iter_mut().zip(shares) {
                (F32x4::from_array(e) * of_softmax - F32x4::from_array(share) * scale).store(e);
            }
        }
        known.by.fill(1.0);
        known.less.fill(0.0);
        self.write(terms, known, r.grad_input);
        self.write(room, known, r.grad_target);
        sum_of_all
    }

    /// Writes columns as rows, unless there is nowhere: each row multiplied, and a number taken off.
    #[inline(never)]
    fn write(self, columns: &[Vector], known: &Known, to: &mut [f32]) {
        if to.is_empty() {
            return;
        }
        let by = known.by.as_chunks().0.iter().zip(known.less.as_chunks().0);
        let by = by.map(|(by, less)| (F32x4::from_array(by), F32x4::from_array(less)));
        if self.inner > 1 {
            for c in 0..self.n.get() {
                let line = F32x4::chunks_mut(to.get_mut(self.line(c)).unwrap_or(&mut [])).0;
                let numbers = columns.iter().skip(c).step_by(self.height.get()).zip(by.clone());
                for (to, (x, (by, less))) in line.iter_mut().zip(numbers) {
                    (F32x4::from_array(x) * by - less).store(to);
                }
            }
            return;
        }
        for ((v, column), (by, less)) in columns.chunks_exact(self.height.get()).enumerate().zip(by) {
            let rows = self.rows(v);
            let squares = column.as_chunks().0;
            let turned =
                |square: &[Vector; WIDTH]| transpose(square.map(|x| F32x4::from_array(&x) * by - less));
            let is_whole = (v + 1) * WIDTH <= self.count;
            // what is written behind a row's end is written again, by the next row: so such squares come first, and rows in their order
            let first = if is_whole { self.n.get() / WIDTH } else { 0 };
            for (k, square) in squares.iter().enumerate().skip(first).rev() {
                for (row, x) in rows.into_iter().zip(turned(square)).take(self.count - v * WIDTH) {
                    let rest = to.get_mut(row + k * WIDTH..).unwrap_or(&mut []);
                    match rest.first_chunk_mut() {
                        Some(to) => x.store(to),
                        None => store_tail(rest, x),
                    }
                }
            }
            let lines = to.get_mut(rows[0]..).unwrap_or(&mut []).chunks_mut(self.n.get());
            let mut lines = lines.map(|row| F32x4::chunks_mut(row).0);
            let mut line = || lines.next();
            if let (true, Some(a), Some(b), Some(c), Some(d)) = (is_whole, line(), line(), line(), line()) {
                for ((((square, a), b), c), d) in squares.iter().zip(a).zip(b).zip(c).zip(d) {
                    let [of_a, of_b, of_c, of_d] = turned(square);
                    of_a.store(a);
                    of_b.store(b);
                    of_c.store(c);
                    of_d.store(d);
                }
            }
        }
    }

    /// Takes off at the labels what is taken off there.
    #[inline(always)]
    fn take_off(self, labels: &[i32], known: &Known, to: &mut [f32]) {
        for ((i, &label), off) in labels.iter().enumerate().take(self.count).zip(&known.off) {
            if let Some(to) = self.place(label as usize, i).and_then(|at| to.get_mut(at)) {
                *to = (f64::from(*to) - off) as f32;
            }
        }
    }

    /// The softmax of its rows, or the logarithm of that, and the gradients.
    #[inline(always)]
    fn map(
        self,
        is_softmax: bool,
        r: &mut Rows<f32>,
        [room, terms, products]: [&mut [Vector]; 3],
        known: &mut Known,
    ) {
        let n = self.n.get();
        for (i, (by, less)) in known.by.iter_mut().zip(&mut known.less).enumerate().take(self.count) {
            (*by, *less) =
                if is_softmax { ((1.0 / known.total[i]) as f32, 0.0) } else { (1.0, known.log[i] as f32) };
        }
        self.write(if is_softmax { terms } else { room }, known, r.values);
        if r.grad_input.is_empty() {
            return;
        }
        self.bring(r.upstream, room);
        let scale = F32x4::splat(r.scale as f32);
        let columns = room.chunks_exact_mut(self.height.get()).zip(terms.chunks_exact_mut(self.height.get()));
        let of_columns = known.total.as_chunks::<WIDTH>().0.iter().zip(known.by.as_chunks().0);
        for ((upstream, terms), (of_rows, by)) in columns.zip(of_columns) {
            upstream.iter_mut().skip(n).for_each(|behind| *behind = [0.0; WIDTH]);
            let mut sums = [0.0; WIDTH];
            if is_softmax {
                for ((to, g), e) in products.iter_mut().zip(&*upstream).zip(&*terms) {
                    (F32x4::from_array(g) * F32x4::from_array(e)).store(to);
                }
                sum_in_chains(products.get(..self.height.get()).unwrap_or(&[]), n, &mut sums);
            } else {
                sums = sum(upstream);
            }
            let mut totals = [0.0; WIDTH];
            for ((to, sum), of_row) in totals.iter_mut().zip(sums).zip(of_rows) {
                *to = (r.scale * (sum / of_row)) as f32;
            }
            let (total, share) = (F32x4::from_array(&totals), F32x4::from_array(by));
            for (e, g) in terms.iter_mut().zip(&*upstream) {
                let (x, g) = (F32x4::from_array(e), F32x4::from_array(g) * scale);
                if is_softmax { x * share * (g - total) } else { g - x * total }.store(e);
            }
        }
        known.by.fill(1.0);
        known.less.fill(0.0);
        self.write(terms, known, r.grad_input);
    }
}

/// Runs `op` over all rows, whose numbers stand `inner` apart, and gives the sum of the losses: cross-entropy with class indices, with
/// weights or smoothed, or with probabilities, or log sum exp; where `inner` is 1 also softmax and its logarithm, with gradients if
/// something flows in. NaN, and nothing written, where it is another, a slice has not the length that it must have, or `inner` is neither
/// 1 nor a multiple of the lanes. The more room there is, the longer are the strips.
pub fn run(op: Op, r: &mut Rows<f32>, room: &mut [f32]) -> f64 {
    let (n, inner) = (r.columns, r.inner);
    let Some(height) = n.checked_next_multiple_of(WIDTH).and_then(NonZero::new) else { return f64::NAN };
    let Some(columns) = NonZero::new(n) else { return f64::NAN };
    let mapping = op.is_mapping();
    let room = F32x4::chunks_mut(room).0;
    let shared = op == Op::CrossEntropyLossProbabilities;
    let of_products = if shared || op == Op::Softmax && !r.grad_input.is_empty() { height.get() } else { 0 };
    let (products, room) = room.split_at_mut_checked(of_products).unwrap_or_default();
    let each = room.len() / if shared { 3 } else { 2 };
    let (room, rest) = room.split_at_mut(each);
    let (terms, shares) = rest.split_at_mut(each);
    let most = (each / height * WIDTH).min(ROWS);
    let others = matches!(op, Op::CrossEntropyLoss | Op::LogSumExp | Op::LogSoftmax | Op::Softmax);
    let fits = (shared || others && (r.p[1] == 0.0 || r.weight.is_empty() && op == Op::CrossEntropyLoss))
        && most > 0
        && (inner == 1 || inner.is_multiple_of(WIDTH) && !mapping)
        && r.rows.checked_rem(inner) == Some(0)
        && r.fit(op)
        // all 1 flowing in is a case of its own, which rows take
        && !(mapping && r.upstream.is_empty() && !r.grad_input.is_empty());
    if !fits {
        return f64::NAN;
    }
    let (zeros, ones) = ([0.0; ROWS], [1.0; ROWS]);
    let mut known = Known {
        max: [0.0; ROWS],
        total: ones,
        log: zeros,
        gaps: zeros,
        by: [0.0; ROWS],
        less: [0.0; ROWS],
        off: zeros,
    };
    let mut sum = 0.0;
    let mut first = 0;
    while first < r.rows {
        // how far into a sample, and how far it goes
        let (within, left, step) =
            if inner > 1 { (first % inner, inner - first % inner, 1) } else { (0, r.rows - first, n) };
        let count = most.min(left);
        let strip = Strip { n: columns, inner, step, start: (first - within) * n + within, count, height };
        let used = height.get() * count.div_ceil(WIDTH);
        let (Some(room), Some(terms)) = (room.get_mut(..used), terms.get_mut(..used)) else { break };
        strip.bring(r.input, room);
        strip.exponentials(r.input, r.p[1] != 0.0 && !shared, room, terms, &mut known);
        if mapping {
            strip.map(op == Op::Softmax, r, [room, terms, products], &mut known);
        } else if shared {
            let Some(shares) = shares.get_mut(..used) else { break };
            sum = strip.losses_of_probabilities(r, first, [room, terms, shares, products], &mut known, sum);
        } else {
            sum = strip.losses(r, first, terms, &mut known, sum);
            if !r.grad_input.is_empty() {
                strip.write(terms, &known, r.grad_input);
                strip.take_off(r.labels.get(first..).unwrap_or(&[]), &known, r.grad_input);
            }
        }
        first += count;
    }
    sum
}
