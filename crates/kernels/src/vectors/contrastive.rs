//! Contrastive losses: the softmax of a vector's cosines with all others.
//!
//! [`ROWS`] rows of products of unit vectors at a time; each row's exponentials serve its loss and its weights, and the weights go
//! into the gradients at once, so that no matrix of all pairs is kept. The gradients are products of matrices as the cosines are: all
//! go through [`super::panels::products`], in the precision of the call.
//!
//! A temperature of 0.05 makes errors of the cosines twenty times as large. So the largest cosine is taken off before that divides,
//! which is exact where they are near each other, and what is said of a row, losses above all, is said in double precision. What
//! single precision then loses of the gradient of a sum, relative to max(1, |gradient|), was below 4e-6 at a temperature of 0.07, and up to
//! 6e-5 at 0.01 (measured, 20 to 300 vectors of 7 to 1024 numbers; short vectors lose most).
use super::many::{Many, Need};
use super::panels::{
    convert, groups_from, in_groups, in_panels, pack_panel, products, square_of, Group, Pool, SqrtOf, RUN,
    WIDTH,
};
use crate::rowwise::softmax::{largest, scaled_below};
use lanes::{F64x2, Lanes, Real};

/// Rows that are worked on at a time, and columns whose weights go into the gradients at a time.
const ROWS: usize = RUN;

/// What vectors are divided by at least.
const FLOOR: f64 = 1e-12;

/// How much scratch a call with so many sets takes.
pub fn need(sets: f64, rows: usize, length: usize) -> Need {
    let (n, width) = (rows as f64, (WIDTH + length) as f64);
    let panels = n + WIDTH as f64;
    let of_set = 4.0 * panels * width + WIDTH as f64;
    let of_strip = panels * (ROWS + 2) as f64 + (ROWS * ROWS + 2 * WIDTH) as f64;
    Need { reals: sets * of_set + of_strip + width, doubles: n + sets * n, ints: 2.0 * n, ..Need::default() }
}

/// Eight numbers side by side.
type Line<L> = [<L as Lanes>::Scalar; WIDTH];

/// Vectors of length 1.
struct Units<'a, L: Lanes> {
    count: usize,
    /// How many numbers each has.
    length: usize,
    /// The vectors in whole lines.
    rows: &'a [Line<L>],
    /// What each was divided by.
    norms: &'a [f64],
    /// The vectors as [`super::panels`] has them: one number of each of eight vectors, then the next. At the end there is one more line.
    panels: &'a [Line<L>],
    /// Eight numbers of each vector, then the next eight of each: [`in_panels`] lines of each. Empty where there are no gradients.
    parts: &'a [Line<L>],
}

/// Lines of eight from scratch.
#[inline(never)]
fn take_lines<'a, L: Lanes>(count: usize, pool: &mut Pool<'a, L::Scalar>) -> &'a mut [Line<L>] {
    let (lines, _) = pool.take(count * WIDTH).as_chunks_mut();
    lines.fill([L::Scalar::ZERO; WIDTH]);
    lines
}

/// A row out of parts that are `high` lines each.
#[inline(never)]
fn gather<R: Real>(parts: &[[R; WIDTH]], high: usize, i: usize, to: &mut [[R; WIDTH]]) {
    for (k, to) in to.iter_mut().enumerate() {
        if let Some(line) = parts.get(k * high + i) {
            *to = *line;
        }
    }
}

/// The other way round, times a factor.
#[inline(never)]
fn scatter<L: Lanes>(row: &[Line<L>], factor: f64, parts: &mut [Line<L>], high: usize, i: usize) {
    let factor = L::of(factor);
    for (k, line) in row.iter().enumerate() {
        if let Some(to) = parts.get_mut(k * high + i) {
            for (to, x) in L::chunks_mut(to).0.iter_mut().zip(L::chunks(line).0) {
                (L::from_array(x) * factor).store(to);
            }
        }
    }
}

/// Packs vectors, and gives them with room for a gradient, if one is wanted, and their own.
#[inline(never)]
fn pack<'a, L: Lanes>(
    x: &[L::Scalar],
    count: usize,
    length: usize,
    [wanted, own]: [bool; 2],
    pool: &mut Pool<'a, L::Scalar>,
    doubles: &mut Pool<'a, f64>,
) -> (Units<'a, L>, &'a mut [Line<L>]) {
    let (across, high) = (length.div_ceil(WIDTH), in_panels(count));
    let rows = take_lines::<L>(count * across, pool);
    let panels = take_lines::<L>(high * across + 1, pool);
    let mut take = |wanted: bool| take_lines::<L>(if wanted { high * across } else { 0 }, pool);
    let (parts, grad) = (take(wanted), take(own));
    let norms = doubles.take(count);
    let vectors = x.chunks_exact(length).zip(norms.iter_mut()).zip(rows.chunks_exact_mut(across));
    for (i, ((x, norm), row)) in vectors.enumerate() {
        *norm = square_of(x).sqrt_of();
        *norm = if *norm < FLOOR { FLOOR } else { *norm };
        for (to, x) in row.as_flattened_mut().iter_mut().zip(x) {
            *to = L::Scalar::from_f64(x.to_f64() / *norm);
        }
        scatter::<L>(row, 1.0, parts, high, i);
    }
    let eights = rows.chunks(across * WIDTH);
    for (rows, lines) in eights.zip(panels.chunks_exact_mut(across * WIDTH)) {
        pack_panel::<L>(rows.as_flattened(), across * WIDTH, lines);
    }
    (Units { count, length, rows, norms, panels, parts }, grad)
}

impl<'a, L: Lanes> Units<'a, L> {
    /// The lines of the panel that vector `i` is in, each from the number of that vector on.
    #[inline(never)]
    fn from(&self, i: usize) -> &'a [Group<L::Scalar>] {
        let high = in_groups(self.length);
        groups_from(self.panels.as_flattened(), high, i, high)
    }
}

/// Which vectors are alike: of one set those of one label, of two those that stand side by side.
struct Alike<'a> {
    labels: &'a [i32],
    /// The first vector of each label, and of each vector the next of its label, or -1. Empty where there are two sets.
    first: &'a [i32],
    next: &'a [i32],
}

impl<'a> Alike<'a> {
    fn new(labels: &'a [i32], pool: &mut Pool<'a, i32>) -> Self {
        let [first, next] = [(); 2].map(|()| pool.take(labels.len()));
        first.fill(-1);
        for (i, label) in labels.iter().enumerate().rev() {
            if let (Some(first), Some(next)) = (first.get_mut(*label as usize), next.get_mut(i)) {
                *next = core::mem::replace(first, i as i32);
            }
        }
        Self { labels, first, next }
    }

    /// Whether there is one set, in which no vector is compared with itself.
    fn one_set(&self) -> bool {
        !self.labels.is_empty()
    }

    /// Those that vector `i` is alike, in their order; where there is one set itself as well.
    #[inline(always)]
    fn each(&self, i: usize, mut f: impl FnMut(usize)) {
        let start = self.labels.get(i).and_then(|label| self.first.get(*label as usize));
        let mut j = start.map_or(i, |j| *j as usize);
        // -1 is no vector
        while j < usize::MAX >> 1 {
            f(j);
            j = self.next.get(j).map_or(usize::MAX, |j| *j as usize);
        }
    }
}

/// Some rows of cosines, and what becomes of them: the weight of each pair in the gradient.
struct Strip<'a, L: Lanes> {
    /// Eight columns of each row, then the next eight of each. At the end there is one more line.
    lines: &'a mut [Line<L>],
    /// One row of cosines, and of weights, which is empty where there are no gradients.
    cosines: &'a mut [Line<L>],
    weights: &'a mut [Line<L>],
    /// Some columns of the weights: eight rows of each column, then the next eight of each. As above there is one more line.
    turned: &'a mut [Line<L>],
    temperature: f64,
}

impl<'a, L: Lanes> Strip<'a, L> {
    fn new(count: usize, wanted: bool, temperature: f64, pool: &mut Pool<'a, L::Scalar>) -> Self {
        let panels = count.div_ceil(WIDTH);
        let mut take = |count: usize, wanted: bool| take_lines::<L>(if wanted { count } else { 0 }, pool);
        Self {
            lines: take(panels * ROWS + 1, true),
            cosines: take(panels, true),
            weights: take(panels, wanted),
            turned: take(ROWS / WIDTH * ROWS + 1, wanted),
            temperature,
        }
    }

    /// The cosines of the vectors of x from `first` on with all of y.
    #[inline(never)]
    fn fill(&mut self, x: &Units<L>, first: usize, y: &Units<L>) {
        for (panel, lines) in self.lines.chunks_exact_mut(ROWS).enumerate() {
            let y = y.from(panel * WIDTH);
            let high = in_groups(x.length);
            products::<L>(x.panels.as_flattened(), (high, first), y, x.length, false, lines);
        }
    }

    /// The losses of the rows, which stand for the vectors from `first` on, times `part`, on top of `losses`; instead of the cosines
    /// there are the weights then. Gives how many losses count.
    #[inline(never)]
    fn losses(
        &mut self,
        first: usize,
        alike: &Alike,
        up: &[L::Scalar],
        part: f64,
        losses: &mut [f64],
    ) -> f64 {
        let mut counted = 0.0;
        let n = losses.len();
        // what is larger is infinite in single precision, and 0 times that is not 0
        let by = (1.0 / self.temperature).min(1e38);
        for (r, to) in losses.iter_mut().skip(first).take(ROWS).enumerate() {
            gather(self.lines, ROWS, r, self.cosines);
            let i = first + r;
            let cosines = self.cosines.as_flattened_mut().get_mut(..n).unwrap_or(&mut []);
            let weights = self.weights.as_flattened_mut().get_mut(..n).unwrap_or(&mut []);
            let (mut positives, mut near) = (0.0, 0.0);
            alike.each(i, |j| {
                if let Some(x) = cosines.get(j) {
                    positives += 1.0;
                    near += x.to_f64();
                }
            });
            // the vector itself is none of the others
            let itself = cosines.get_mut(i).filter(|_| alike.one_set());
            if let Some(x) = itself {
                positives -= 1.0;
                near -= x.to_f64();
                *x = -L::Scalar::INFINITY;
            }
            let mut factor = 0.0;
            if positives > 0.0 {
                let e = scaled_below::<L>(cosines, by, largest::<L>(cosines, false), weights);
                *to += part * ((e.max - near / positives) / self.temperature + e.log());
                counted += 1.0;
                factor = up.get(i).map_or(1.0, |up| up.to_f64()) / e.sum;
                // taken off before the sum divides: so small differences stay
                let share = e.sum / positives;
                alike.each(i, |j| {
                    if let Some(w) = weights.get_mut(j) {
                        *w = L::Scalar::from_f64(w.to_f64() - share);
                    }
                });
                if let Some(w) = weights.get_mut(i).filter(|_| alike.one_set()) {
                    *w = L::Scalar::ZERO;
                }
            } else {
                weights.fill(L::Scalar::ZERO);
            }
            scatter::<L>(self.weights, factor, self.lines, ROWS, r);
        }
        counted
    }

    /// Adds the weights times y to the gradient of x, and times x to that of y (or of x, where the two are one set).
    #[inline(never)]
    fn spread(
        &mut self,
        x: &Units<L>,
        first: usize,
        y: &Units<L>,
        grad_x: &mut [Line<L>],
        grad_y: &mut [Line<L>],
    ) {
        let n = y.count;
        let rows = ROWS.min(n - first);
        for j in (0..n).step_by(ROWS) {
            let columns = ROWS.min(n - j);
            let panels = self.lines.get(j / WIDTH * ROWS..).unwrap_or(&[]);
            if !grad_x.is_empty() {
                turn::<L>(panels, columns.div_ceil(WIDTH), self.turned);
                accumulate::<L>(self.turned, rows, y, (j, columns), grad_x, first);
            }
            let to = if core::ptr::eq(x, y) { &mut *grad_x } else { &mut *grad_y };
            accumulate::<L>(panels, columns, x, (first, rows), to, j);
        }
    }
}

/// Turns some panels of [`ROWS`] lines.
#[inline(never)]
fn turn<L: Lanes>(panels: &[Line<L>], count: usize, to: &mut [Line<L>]) {
    for (p, lines) in panels.chunks_exact(ROWS).enumerate().take(count) {
        for (square, to) in lines.chunks_exact(WIDTH).zip(to.chunks_exact_mut(ROWS)) {
            pack_panel::<L>(
                square.as_flattened(),
                WIDTH,
                to.get_mut(p * WIDTH..).and_then(|s| s.get_mut(..WIDTH)).unwrap_or(&mut []),
            );
        }
    }
}

/// Adds sums of `count` vectors of x from `first` on, each times a weight, to `sums` lines of `to` from `start` on. The weights stand in
/// panels of [`ROWS`] lines: one of each of eight sums.
#[inline(never)]
fn accumulate<L: Lanes>(
    weights: &[Line<L>],
    sums: usize,
    x: &Units<L>,
    (first, count): (usize, usize),
    to: &mut [Line<L>],
    start: usize,
) {
    let (high, size) = (in_panels(x.count), in_groups(count));
    let sums = sums.next_multiple_of(L::COUNT);
    let (mut from, mut at) = (first, start);
    while let (Some(x), Some(to)) = (x.parts.get(from..from + size), to.get_mut(at..at + sums)) {
        products::<L>(weights.as_flattened(), (ROWS, 0), x.as_chunks().0, count, true, to);
        from += high;
        at += high;
    }
}

/// The gradient with respect to vectors, from that with respect to the unit vectors: what is along them is lost.
#[inline(never)]
fn through_unit<L: Lanes>(
    x: &Units<L>,
    grad: &[Line<L>],
    scale: f64,
    line: &mut [Line<L>],
    to: &mut [L::Scalar],
) {
    for (i, (to, norm)) in to.chunks_exact_mut(x.length).zip(x.norms).enumerate() {
        gather(grad, in_panels(x.count), i, line);
        let unit = x.rows.get(i * line.len()..).unwrap_or(&[]);
        let (unit, _) = L::chunks(unit.as_flattened());
        let (grad, _) = L::chunks_mut(line.as_flattened_mut());
        let mut along = F64x2::zero();
        // at the floor the vector was divided by a constant
        if *norm > FLOOR {
            for (unit, grad) in unit.iter().zip(&*grad) {
                along = (L::from_array(unit) * L::from_array(grad)).add_to_f64(along);
            }
        }
        let (along, factor) = (L::of(along.sum()), L::of(scale / norm));
        for (unit, grad) in unit.iter().zip(grad) {
            ((L::from_array(grad) - along * L::from_array(unit)) * factor).store(grad);
        }
        convert(line.as_flattened(), to);
    }
}

/// Of one set with labels, or without them of two that stand side by side: minus the mean of log softmax of the cosines of a vector over
/// the temperature, at those of its label among all others of its set, or at the one beside it among all of the other set;
/// symmetric: the mean of that and of the same with the sets exchanged.
pub fn contrast<L: Lanes>(m: &mut Many<L::Scalar>) -> f64 {
    // the option is `mean` with labels, without them `symmetric`
    let [temperature, option, ..] = m.p;
    let n = m.rows;
    let one_set = !m.labels.is_empty();
    let (wanted_a, wanted_b) = (!m.grad_a.is_empty(), !m.grad_b.is_empty());
    let wanted = wanted_a || wanted_b;
    let (mut pool, mut doubles) = (Pool::new(&mut *m.reals), Pool::new(&mut *m.doubles));
    let (a, grad_a) = pack::<L>(m.a, n, m.length, [wanted, wanted_a], &mut pool, &mut doubles);
    let (b, grad_b) =
        pack::<L>(m.b, if one_set { 0 } else { n }, m.length, [wanted, wanted_b], &mut pool, &mut doubles);
    let mut strip = Strip::<L>::new(n, wanted, temperature, &mut pool);
    let line = take_lines::<L>(m.length.div_ceil(WIDTH), &mut pool);
    let alike = Alike::new(m.labels, &mut Pool::new(&mut *m.ints));
    let losses = doubles.take(n);
    losses.fill(0.0);
    let ways = if option == 1.0 && !one_set { 2 } else { 1 };
    let part = 1.0 / f64::from(ways);
    let mut counted = 0.0;
    let mut way = (&a, if one_set { &a } else { &b }, &mut *grad_a, &mut *grad_b);
    for _ in 0..ways {
        let (x, y, grad_x, grad_y) = way;
        for first in (0..n).step_by(ROWS) {
            strip.fill(x, first, y);
            let count = strip.losses(first, &alike, m.upstream, part, losses);
            // where no row has weights there may be what is not finite
            if wanted && count > 0.0 {
                strip.spread(x, first, y, grad_x, grad_y);
            }
            counted += count;
        }
        way = (y, x, grad_y, grad_x);
    }
    let mut scale = m.scale * part / temperature;
    if one_set && option == 1.0 && counted > 0.0 {
        scale /= counted;
    }
    through_unit(&a, grad_a, scale, line, m.grad_a);
    through_unit(&b, grad_b, scale, line, m.grad_b);
    for to in m.stats.iter_mut() {
        *to = counted;
    }
    convert(losses, m.values);
    losses.iter().sum()
}
