//! Contrastive losses: the softmax of a vector's cosines with all others.
//!
//! [`ROWS`] rows of products of unit vectors at a time, a strip. The exponentials of a row make its loss and the weight of each of its
//! pairs in the gradients. Where each vector is told by all others and tells them in turn, a pair has one weight for both, so that
//! products of weights and vectors are taken once: what that takes of each column, three numbers, is worked out first, from the strips of
//! all columns. Up to [`KEPT`] cosines those stay, and are turned; of more the others are products again, so that no matrix of all pairs is
//! kept. The gradients are products of matrices as the cosines are: all go through [`super::panels::products`], in the precision of
//! the call.
//!
//! A temperature of 0.05 makes errors of the cosines twenty times as large. So the largest cosine is taken off before that divides,
//! which is exact where they are near each other, and what is said of a row, losses above all, is said in double precision. What
//! single precision then loses of the gradient of a sum, relative to max(1, |gradient|), was below 4e-6 at a temperature of 0.07, and up to
//! 8e-5 at 0.01 (measured, 20 to 300 vectors of 7 to 1024 numbers; short vectors lose most).
use super::many::{Many, Need};
use super::panels::{
    at, convert, groups_from, in_groups, in_panels, pack_panel, products, rows_of, rows_of_mut, square_of,
    Group, Pool, SqrtOf, WIDTH,
};
use super::weighted::{accumulate, gather, scatter, take_lines, turn, Line, ROWS};
use crate::rowwise::softmax::{exp2_down, largest, scaled_below};
use lanes::{F64x2, Lanes, Real};

/// What vectors are divided by at least.
const FLOOR: f64 = 1e-12;

/// So many cosines stay from the columns' strips to those of the rows (16 MiB in single precision).
const KEPT: f64 = 4_194_304.0;

/// Vectors of fewer numbers cost less to multiply than to take the exponentials of both ways: within one set each way has its own weights then.
const LONG: usize = 24;

/// How many strips are kept: none, or all; of two sets one more, which is turned.
fn room(one_set: bool, symmetric: bool, rows: usize) -> usize {
    let n = rows as f64;
    if (one_set || symmetric) && n * n <= KEPT {
        rows.div_ceil(ROWS) + usize::from(symmetric)
    } else {
        0
    }
}

/// How much scratch a call of one set, or of two that are told both ways or not, takes.
pub fn need(one_set: bool, symmetric: bool, rows: usize, length: usize) -> Need {
    let (n, width) = (rows as f64, (WIDTH + length) as f64);
    let sets = if one_set { 1.0 } else { 2.0 };
    let panels = n + WIDTH as f64;
    let of_set = 4.0 * panels * width + WIDTH as f64;
    let strips = room(one_set, symmetric, rows).max(1) as f64;
    let of_strips = panels * (strips * ROWS as f64 + 5.0) + (ROWS * ROWS + 2 * WIDTH) as f64;
    Need {
        reals: sets * of_set + of_strips + width,
        doubles: 2.0 * n + sets * n,
        ints: 2.0 * n,
        ..Need::default()
    }
}

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
    let vectors = rows_of(x, length).zip(norms.iter_mut()).zip(rows_of_mut(rows, across));
    for (i, ((x, norm), row)) in vectors.enumerate() {
        *norm = square_of(x).sqrt_of();
        *norm = if *norm < FLOOR { FLOOR } else { *norm };
        for (to, x) in row.as_flattened_mut().iter_mut().zip(x) {
            *to = L::Scalar::from_f64(x.to_f64() / *norm);
        }
        scatter::<L>(row, 1.0, parts, high, i);
    }
    let eights = rows.chunks((across * WIDTH).max(1));
    for (rows, lines) in eights.zip(rows_of_mut(panels, across * WIDTH)) {
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

/// What is kept of each column: of the softmax that tells its vector.
struct Columns<'a, L: Lanes> {
    /// The largest cosine, and what multiplies the exponentials: what flows in, over their sum.
    largest: &'a mut [Line<L>],
    factor: &'a mut [Line<L>],
    /// What is taken off before that at those that are alike: the sum over how many they are.
    share: &'a mut [f64],
}

impl<L: Lanes> Columns<'_, L> {
    #[inline(never)]
    fn put(&mut self, i: usize, largest: L::Scalar, factor: f64, share: f64) {
        let (all, factors) = (self.largest.as_flattened_mut(), self.factor.as_flattened_mut());
        if let (Some(top), Some(by), Some(part)) = (all.get_mut(i), factors.get_mut(i), self.share.get_mut(i))
        {
            (*top, *by, *part) = (largest, L::Scalar::from_f64(factor), share);
        }
    }
}

/// What follows the losses of a row: what is kept of a column, or its weights, together with those of the columns, or nothing.
enum Then<'c, 'a, L: Lanes> {
    Keep(&'c mut Columns<'a, L>),
    Weigh(Option<&'c Columns<'a, L>>),
    Nothing,
}

/// What is before, and what is from there on.
fn split<T>(s: &mut [T], at: usize) -> (&mut [T], &mut [T]) {
    s.split_at_mut_checked(at).unwrap_or((&mut [], &mut []))
}

/// Makes a strip: the cosines of the vectors of x from `first` on with those of y. Those with the first of y are turned, from the strips
/// before that these have.
#[inline(never)]
fn fill<L: Lanes>(lines: &mut [Line<L>], x: &Units<L>, first: usize, y: &Units<L>, before: &[Line<L>]) {
    let high = in_groups(x.length);
    let size = y.count.div_ceil(WIDTH) * ROWS;
    let mut known = 0;
    for strip in rows_of(before, size) {
        let to = lines.get_mut(known / WIDTH * ROWS..).unwrap_or(&mut []);
        turn::<L>(strip.get(first / WIDTH * ROWS..).unwrap_or(&[]), ROWS / WIDTH, to);
        known += ROWS;
    }
    for (j, lines) in (0..y.count).step_by(WIDTH).zip(lines.chunks_exact_mut(ROWS)) {
        if j >= known {
            products::<L>(x.panels.as_flattened(), (high, first), y.from(j), x.length, false, lines);
        }
    }
}

/// What becomes of strips: eight columns of each row, then the next eight of each. The cosines become the weight of each pair in the gradient.
struct Strips<'a, L: Lanes> {
    /// One row of cosines, of exponentials, and of those the other way.
    cosines: &'a mut [Line<L>],
    weights: &'a mut [Line<L>],
    others: &'a mut [Line<L>],
    /// Some columns of the weights: eight rows of each column, then the next eight of each. At the end there is one more line.
    turned: &'a mut [Line<L>],
    temperature: f64,
    /// What multiplies cosines.
    by: f64,
    alike: Alike<'a>,
}

impl<'a, L: Lanes> Strips<'a, L> {
    /// The losses of the rows of a strip, which stand for the vectors from `first` on of `n`, times `part`, on top of `losses`, and what follows.
    /// Gives how many losses count.
    #[inline(never)]
    fn losses(
        &mut self,
        lines: &mut [Line<L>],
        [first, n]: [usize; 2],
        up: &[L::Scalar],
        part: f64,
        losses: &mut [f64],
        mut then: Then<L>,
    ) -> f64 {
        let (mut counted, one_set) = (0.0, self.alike.one_set());
        for r in 0..ROWS.min(n - first) {
            let i = first + r;
            self.take(lines, r, i);
            let cosines = self.cosines.as_flattened().get(..n).unwrap_or(&[]);
            let (mut positives, mut near) = (0.0, 0.0);
            self.alike.each(i, |j| {
                if let Some(x) = cosines.get(j).filter(|_| !(one_set && i == j)) {
                    positives += 1.0;
                    near += x.to_f64();
                }
            });
            let largest = largest::<L>(cosines, false);
            let (mut factor, mut share) = (0.0, 0.0);
            if positives > 0.0 {
                let weights = if matches!(then, Then::Weigh(_)) { &mut *self.weights } else { &mut [] };
                let e = scaled_below::<L>(cosines, self.by, largest, weights.as_flattened_mut());
                let loss = part * ((e.max - near / positives) / self.temperature + e.log());
                if let Some(to) = losses.get_mut(i) {
                    *to += loss;
                }
                counted += 1.0;
                factor = up.get(i).map_or(1.0, |up| up.to_f64()) / e.sum;
                share = e.sum / positives;
            }
            match &mut then {
                Then::Keep(columns) => columns.put(i, largest, factor, share),
                Then::Weigh(columns) => self.weigh(lines, r, i, (factor, share), *columns),
                Then::Nothing => {}
            }
        }
        counted
    }

    /// Takes row `r` of a strip, that of vector `i`, which is none of the others of its set.
    #[inline(never)]
    fn take(&mut self, lines: &[Line<L>], r: usize, i: usize) {
        gather(lines, ROWS, r, self.cosines);
        if let Some(x) = self.cosines.as_flattened_mut().get_mut(i).filter(|_| self.alike.one_set()) {
            *x = -L::Scalar::INFINITY;
        }
    }

    /// Makes weights of the exponentials of the row that was taken, and puts them in the place of its cosines.
    #[inline(never)]
    fn weigh(
        &mut self,
        lines: &mut [Line<L>],
        r: usize,
        i: usize,
        (mut factor, share): (f64, f64),
        columns: Option<&Columns<L>>,
    ) {
        let weights = self.weights.as_flattened_mut();
        if share == 0.0 {
            weights.fill(L::Scalar::ZERO);
        } else {
            // taken off before the sum divides: so small differences stay
            self.alike.each(i, |j| take_off(weights, j, share));
        }
        if let Some(columns) = columns {
            self.add_columns(i, factor, columns);
            factor = 1.0;
        }
        if let Some(w) = self.weights.as_flattened_mut().get_mut(i).filter(|_| self.alike.one_set()) {
            *w = L::Scalar::ZERO;
        }
        scatter::<L>(self.weights, factor, lines, ROWS, r);
    }

    /// Multiplies the weights of the row that was taken, and adds those of its columns.
    #[inline(always)]
    fn add_columns(&mut self, i: usize, factor: f64, columns: &Columns<L>) {
        let by = L::of(self.by * core::f64::consts::LOG2_E);
        let (cosines, _) = L::chunks(self.cosines.as_flattened());
        let (largest, _) = L::chunks(columns.largest.as_flattened());
        let others = self.others.as_flattened_mut();
        for ((x, largest), to) in cosines.iter().zip(largest).zip(L::chunks_mut(others).0) {
            exp2_down((L::from_array(x) - L::from_array(largest)) * by).store(to);
        }
        self.alike.each(i, |j| take_off(others, j, at(columns.share, j)));
        let factor = L::of(factor);
        let (weights, _) = L::chunks_mut(self.weights.as_flattened_mut());
        let (factors, _) = L::chunks(columns.factor.as_flattened());
        for ((to, x), by) in weights.iter_mut().zip(L::chunks(others).0).zip(factors) {
            (L::from_array(to) * factor + L::from_array(x) * L::from_array(by)).store(to);
        }
    }

    /// Adds the weights of a strip times y to one gradient, and times x to another, or none.
    #[inline(never)]
    fn spread(
        &mut self,
        lines: &[Line<L>],
        x: &Units<L>,
        first: usize,
        y: &Units<L>,
        grads: &mut [&mut [Line<L>]; 2],
        [rows_to, columns_to]: [usize; 2],
    ) {
        let (n, high) = (y.count, in_panels(y.count));
        let rows = ROWS.min(n - first);
        for j in (0..n).step_by(ROWS) {
            let columns = ROWS.min(n - j);
            let panels = lines.get(j / WIDTH * ROWS..).unwrap_or(&[]);
            if let Some(grad) = grads.get_mut(rows_to).filter(|grad| !grad.is_empty()) {
                turn::<L>(panels, columns.div_ceil(WIDTH), self.turned);
                accumulate::<L>(self.turned, rows, (y.parts, high), (j, columns), (grad, high), first);
            }
            if let Some(grad) = grads.get_mut(columns_to) {
                accumulate::<L>(panels, columns, (x.parts, high), (first, rows), (grad, high), j);
            }
        }
    }
}

/// Takes something off number `j`.
fn take_off<R: Real>(s: &mut [R], j: usize, share: f64) {
    if let Some(x) = s.get_mut(j) {
        *x = R::from_f64(x.to_f64() - share);
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
    for (i, (to, norm)) in rows_of_mut(to, x.length).zip(x.norms).enumerate() {
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
    let second = if one_set { 0 } else { n };
    let (b, grad_b) = pack::<L>(m.b, second, m.length, [wanted, wanted_b], &mut pool, &mut doubles);
    let y = if one_set { &a } else { &b };
    let losses = doubles.take(n);
    losses.fill(0.0);
    let lined = n.div_ceil(WIDTH);
    let [cosines, weights, others, largest, factor] = [(); 5].map(|()| take_lines::<L>(lined, &mut pool));
    let mut columns = Columns { largest, factor, share: doubles.take(n) };
    let turned = take_lines::<L>(ROWS / WIDTH * ROWS + 1, &mut pool);
    let line = take_lines::<L>(m.length.div_ceil(WIDTH), &mut pool);
    let symmetric = !one_set && option == 1.0;
    let room = room(one_set, symmetric, n);
    let both = symmetric || (one_set && wanted && room > 0 && m.length >= LONG);
    let size = lined * ROWS;
    let lines = pool.take((room.max(1) * size + 1) * WIDTH).as_chunks_mut().0;
    let alike = Alike::new(m.labels, &mut Pool::new(&mut *m.ints));
    // beyond that it is infinite or 0 in single precision, and 0 times infinity is not 0
    let by = (1.0 / temperature).clamp(1e-38, 1e38);
    let mut strips = Strips { cosines, weights, others, turned, temperature, by, alike };
    let part = if symmetric { 0.5 } else { 1.0 };
    let mut grads = [grad_a, grad_b];
    // within one set a pair's weights of both ways stand in two places: one of them serves each vector. That of one way serves both
    let sides = match (one_set, both) {
        (true, true) => [usize::MAX, 0],
        (true, false) => [0, 0],
        _ => [0, 1],
    };
    let (mut told, mut counted) = (0.0, 0.0);
    for rows in [false, true] {
        let (x, y) = if rows { (&a, y) } else { (y, &a) };
        for first in (0..if rows || both { n } else { 0 }).step_by(ROWS) {
            let strip = if rows && symmetric { room } else { first / ROWS };
            let (before, lines) = split(lines, strip.min(room.saturating_sub(1)) * size);
            // what is told is turned from what tells, and within one set from what came before
            let before = if (rows || one_set) && (both || !wanted) { &*before } else { &[] };
            if !(rows && one_set && both) {
                fill(lines, x, first, y, before);
            }
            let then = match (rows, wanted) {
                (false, _) => Then::Keep(&mut columns),
                (true, true) => Then::Weigh(Some(&columns).filter(|_| both)),
                (true, false) => Then::Nothing,
            };
            // within one set the columns are the rows
            let losses = if one_set && !rows { &mut [][..] } else { &mut *losses };
            let count = strips.losses(lines, [first, n], m.upstream, part, losses, then);
            told += count;
            if rows {
                counted += count;
            }
            // where no row has weights there may be what is not finite
            if rows && wanted && told > 0.0 {
                strips.spread(lines, x, first, y, &mut grads, sides);
            }
        }
    }
    let mut scale = m.scale * part / temperature;
    if one_set && option == 1.0 && counted > 0.0 {
        scale /= counted;
    }
    let [grad_a, grad_b] = grads;
    through_unit(&a, grad_a, scale, line, m.grad_a);
    through_unit(&b, grad_b, scale, line, m.grad_b);
    for to in m.stats.iter_mut() {
        *to = counted;
    }
    convert(losses, m.values);
    losses.iter().sum()
}
