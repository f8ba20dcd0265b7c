//! Connectionist temporal classification (Graves et al. 2006): minus the logarithm of the probability that a path through
//! T steps of class probabilities collapses to a target, and its gradient with respect to the logits.
//!
//! A target of S labels has 2 S + 1 states: a blank before each label and one at the end. They stand in pairs, a blank and the
//! label after it, so that what a state takes from is its own pair and the pair before. Probabilities are kept without
//! logarithms; what differs is how their range, thousands of powers of ten, is held:
//!
//! - [`blocks`]: plain doubles beside exponents that stand still for a block of steps, so that a step multiplies and adds and
//!   nothing else. It notices when a number could leave the range of a double, and then gives up.
//! - [`exact`]: mantissa and exponent of each state moved at each step, in double precision. It takes whatever it is given.
//!
//! [`run`] is the one driver: per sample it tries the first and, where that gives up, the second. A sample sees nothing of the
//! others, so its loss and gradient do not depend on the batch.
//!
//! The exponentials of a step are kept where its gradient will be. Once they have been gathered for the last time they become
//! the softmax, while they are in the first cache; on the way back the occupancy of each class is taken off: the gradient is
//! softmax - occupancy.
use crate::rowwise::softmax::{exponentials_below, largest, ln, multiply};
use core::num::NonZero;
use core::ops::Range;
use lanes::{F64x2, Lanes, Real};

pub mod align;
pub mod blocks;
pub mod exact;

/// A batch of sequences but for their logits and gradient. Slices that are absent are empty.
pub struct Batch<'a> {
    /// How many sequences.
    pub samples: usize,
    /// Steps of each, those past its length included.
    pub steps: usize,
    /// Classes, the blank included.
    pub classes: usize,
    /// Length of a row of `targets`.
    pub labels: usize,
    /// Whether the logits are [steps, samples, classes] instead of [samples, steps, classes].
    pub time_major: bool,
    /// The class that stands for no label.
    pub blank: usize,
    /// Whether a target without a path has loss 0 and gradient 0 instead of Infinity and NaN.
    pub zero_infinity: bool,
    /// Whether each loss is divided by max(1, its target's length) in the sum.
    pub per_label: bool,
    /// Class indices, [samples, labels].
    pub targets: &'a [i32],
    /// How many steps count, [samples].
    pub input_lengths: &'a [i32],
    /// How many labels count, [samples].
    pub target_lengths: &'a [i32],
    /// Where the losses go, [samples], or absent.
    pub values: &'a mut [f64],
    /// What multiplies the gradient of each sample, [samples]. Absent: not the gradient is written, but the probability of each class at
    /// each step given the target, which is the softmax minus the gradient.
    pub factors: &'a [f64],
}

/// Room for the kernel's own numbers, as [`Need`] says; what is in it does not matter.
pub struct Room<'a, R> {
    /// Numbers in the precision of the logits.
    pub reals: &'a mut [R],
    /// Numbers in double precision.
    pub doubles: &'a mut [f64],
    /// Indices.
    pub indices: &'a mut [i32],
}

/// How much of each a call needs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Need {
    /// [`Room::reals`].
    pub reals: usize,
    /// [`Room::doubles`].
    pub doubles: usize,
    /// [`Room::indices`].
    pub indices: usize,
}

impl Need {
    /// What no memory has.
    const NEVER: Need = Need { reals: usize::MAX, doubles: usize::MAX, indices: usize::MAX };

    /// What the largest sample of a batch needs; saturates where that cannot be.
    pub fn of(steps: usize, classes: usize, labels: usize, gradients: bool) -> Self {
        // of more than these 4 GiB have no room, and what follows would go beyond 32 bits
        if steps >= 1 << 29 || labels >= 1 << 25 {
            return Self::NEVER;
        }
        let (blocks, exact) = (blocks::need(steps, labels, gradients), exact::need(steps, labels, gradients));
        Self {
            reals: if gradients { 0 } else { TILE.saturating_mul(classes) },
            doubles: steps.saturating_add(blocks.doubles.max(exact.doubles)),
            // where a class stands among those of the target, the ids of the labels, their classes
            indices: blocks
                .indices
                .saturating_add(labels.saturating_mul(2).saturating_add(1))
                .saturating_add(classes),
        }
    }
}

/// A target: its labels by their place among the classes that occur in it.
pub struct Target<'a> {
    /// For each label the place of its class in `classes`.
    pub ids: &'a [i32],
    /// The classes that occur, the blank the first of them.
    pub classes: &'a [i32],
}

impl Target<'_> {
    /// Whether label `i` may follow label `i - 1` without a blank between them.
    #[inline(always)]
    pub fn skips(&self, i: usize) -> bool {
        i > 0 && i < self.ids.len() && self.ids.get(i) != self.ids.get(i - 1)
    }
}

/// Steps that are looked at together.
pub const TILE: usize = 4;
/// One number for each step of a tile.
pub type Tile = [[f64; 2]; 2];

/// The classes of one sample, step by step: its logits, their exponentials, and in the place of those its gradient. Behind it
/// stands [`Rows`] in either precision; the lattices, which are in double precision, exist once. Steps from `t` to `end` are
/// those of a tile: no more than [`TILE`].
pub trait Classes {
    /// Goes on to the sample that begins at a place of the batch and has so many steps.
    fn seek(&mut self, start: usize, steps: usize);
    /// How many steps there are.
    fn steps(&self) -> usize;
    /// Writes one number to the gradient of all classes at some steps.
    fn fill(&mut self, steps: Range<usize>, with: f64);
    /// Takes the exponentials of some steps, with the largest logit of each taken out.
    fn take(&mut self, t: usize, end: usize);
    /// The sum of those of one step: NaN where a logit is NaN or +Infinity, or none is finite.
    fn sum(&self, t: usize) -> f64;
    /// The exponentials of some classes at some steps, 1 at the tile's others.
    fn exponentials(&self, t: usize, end: usize, classes: &[i32], to: &mut [Tile]);
    /// The logits of some classes at one step, the largest of those taken out, and how far that is below the largest of all.
    fn logits(&self, t: usize, classes: &[i32], to: &mut [f64]) -> f64;
    /// Makes the exponentials of some steps the softmax times a factor; or nothing, where the occupancies alone are wanted.
    fn normalise(&mut self, t: usize, end: usize, factor: f64);
    /// Takes the occupancies of some classes, times the factor and the step's share, off the softmax of some steps; they
    /// are 0 afterwards.
    fn differentiate(
        &mut self,
        t: usize,
        end: usize,
        factor: f64,
        classes: &[i32],
        occupancies: &mut [Tile],
        shares: &Tile,
    );
}

/// See [`Classes`]. Exponentials are kept where the gradient goes, or in a few rows of scratch.
struct Rows<'a, L: Lanes> {
    logits: &'a [L::Scalar],
    kept: &'a mut [L::Scalar],
    /// The sum of the exponentials of each step.
    sums: &'a mut [f64],
    steps: usize,
    classes: usize,
    stride: usize,
    start: usize,
    /// Whether `kept` is for so many steps only, in turn.
    ring: Option<NonZero<usize>>,
    /// Whether occupancies are wanted instead of the gradient.
    occupancies: bool,
}

impl<L: Lanes> Rows<'_, L> {
    #[inline(always)]
    fn at(&self, t: usize) -> usize {
        match self.ring {
            Some(length) => (t % length) * self.classes,
            None => t * self.stride + self.start,
        }
    }
    #[inline(always)]
    fn row(&self, t: usize) -> &[L::Scalar] {
        row(self.kept, self.at(t), self.classes)
    }
    #[inline(always)]
    fn row_mut(&mut self, t: usize) -> &mut [L::Scalar] {
        let at = self.at(t);
        self.kept.get_mut(at..).and_then(|s| s.get_mut(..self.classes)).unwrap_or(&mut [])
    }
    /// The rows of a tile's steps from `t` to `end`, the others empty.
    #[inline(always)]
    fn rows_mut(&mut self, t: usize, end: usize) -> [&mut [L::Scalar]; TILE] {
        let at = self.at(t);
        let mut rest = self.kept.get_mut(at..).unwrap_or(&mut []);
        let mut rows: [&mut [L::Scalar]; TILE] = Default::default();
        for row in rows.iter_mut().take(end - t) {
            let behind = self.stride.min(rest.len());
            let (head, tail) = core::mem::take(&mut rest).split_at_mut_checked(behind).unwrap_or_default();
            (*row, rest) = (head.get_mut(..self.classes).unwrap_or(&mut []), tail);
        }
        rows
    }
}

#[inline(always)]
fn row<T>(s: &[T], at: usize, n: usize) -> &[T] {
    s.get(at..).and_then(|s| s.get(..n)).unwrap_or(&[])
}

impl<L: Lanes> Classes for Rows<'_, L> {
    fn seek(&mut self, start: usize, steps: usize) {
        (self.start, self.steps) = (start, steps);
    }
    fn steps(&self) -> usize {
        self.steps
    }
    fn fill(&mut self, steps: Range<usize>, with: f64) {
        for t in steps {
            self.row_mut(t).fill(L::Scalar::from_f64(with));
        }
    }
    fn take(&mut self, t: usize, end: usize) {
        let Self { stride, start, classes, .. } = *self;
        let logits_of = |logits, t| row(logits, t * stride + start, classes);
        // the largest of all steps first: their logits come from afar, and so they come side by side
        for (sum, t) in self.sums.get_mut(t..end).unwrap_or(&mut []).iter_mut().zip(t..) {
            *sum = largest::<L>(logits_of(self.logits, t), false).to_f64();
        }
        for t in t..end {
            let at = self.at(t);
            let Some(sum) = self.sums.get_mut(t) else { return };
            let kept = self.kept.get_mut(at..).and_then(|s| s.get_mut(..classes)).unwrap_or(&mut []);
            let e = exponentials_below::<L>(logits_of(self.logits, t), L::Scalar::from_f64(*sum), kept);
            *sum = if e.max.abs() < f64::INFINITY { e.sum } else { f64::NAN };
        }
    }
    fn sum(&self, t: usize) -> f64 {
        self.sums.get(t).copied().unwrap_or(f64::NAN)
    }
    fn exponentials(&self, t: usize, end: usize, classes: &[i32], to: &mut [Tile]) {
        let row = |t: usize| if t < end { self.row(t) } else { &[] };
        let rows = [row(t), row(t + 1), row(t + 2), row(t + 3)];
        for (to, &class) in to.iter_mut().zip(classes) {
            let [a, b, c, d] = rows.map(|row| row.get(class as usize).map_or(1.0, |x| x.to_f64()));
            *to = [[a, b], [c, d]];
        }
    }
    fn logits(&self, t: usize, classes: &[i32], to: &mut [f64]) -> f64 {
        let row = row(self.logits, t * self.stride + self.start, self.classes);
        let mut best = -f64::INFINITY;
        for (to, &class) in to.iter_mut().zip(classes) {
            *to = row.get(class as usize).map_or(f64::NAN, |x| x.to_f64());
            best = if best < *to { *to } else { best };
        }
        // where none of them is possible they stay -Infinity
        if best > -f64::INFINITY {
            to.iter_mut().for_each(|x| *x -= best);
            return largest::<L>(row, false).to_f64() - best;
        }
        0.0
    }
    fn normalise(&mut self, t: usize, end: usize, factor: f64) {
        for t in t..end {
            let by = if self.occupancies { 0.0 } else { factor / self.sum(t) };
            multiply::<L>(self.row_mut(t), by, 0.0);
        }
    }
    fn differentiate(
        &mut self,
        t: usize,
        end: usize,
        factor: f64,
        classes: &[i32],
        occupancies: &mut [Tile],
        shares: &Tile,
    ) {
        // occupancies are what is taken off, with the other sign and from nothing
        let factor = F64x2::splat(if self.occupancies { -1.0 } else { factor });
        let shares = shares.map(|x| F64x2::from_array(&x) * factor);
        let mut rows = self.rows_mut(t, end);
        for (&class, tile) in classes.iter().zip(occupancies) {
            let [one, two] = [0, 1].map(|i| (F64x2::from_array(&tile[i]) * shares[i]).to_array());
            *tile = Tile::default();
            for (row, x) in rows.iter_mut().zip([one[0], one[1], two[0], two[1]]) {
                if let Some(to) = row.get_mut(class as usize) {
                    *to = *to - L::Scalar::from_f64(x);
                }
            }
        }
    }
}

/// The first `n` vectors of a slice, which moves on behind them; none where there are not so many.
#[inline(never)]
fn cut<'a, const N: usize>(s: &mut &'a mut [f64], n: usize) -> &'a mut [[f64; N]] {
    let (head, tail) = core::mem::take(s).split_at_mut_checked(n * N).unwrap_or_default();
    *s = tail;
    head.as_chunks_mut().0
}

/// Copies as much of a slice as both have.
#[inline(always)]
fn copy<T: Copy>(from: &[T], to: &mut [T]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}

/// A product of many positive numbers, by its logarithm: one is taken when the product has become large.
pub struct Product {
    factor: f64,
    log: f64,
}

impl Product {
    /// 1.
    pub fn one() -> Self {
        Self { factor: 1.0, log: 0.0 }
    }
    /// Multiplies it by x >= 1.
    #[inline(always)]
    pub fn times(&mut self, x: f64) {
        self.factor *= x;
        if !(self.factor < 1e250) {
            self.log = self.ln();
            self.factor = 1.0;
        }
    }
    /// Its logarithm.
    pub fn ln(&self) -> f64 {
        self.log + ln(self.factor)
    }
}

/// Runs the batch and gives the sum of the losses; NaN, and nothing written, where a slice has not the length that it must have.
/// `logits` and `grad`, which may be absent, are [samples, steps, classes], or as `time_major` says.
pub fn run<L: Lanes>(
    b: &mut Batch,
    logits: &[L::Scalar],
    grad: &mut [L::Scalar],
    room: &mut Room<L::Scalar>,
) -> f64 {
    let gradients = !grad.is_empty();
    let lengths = [logits.len(), grad.len(), room.reals.len()];
    let (sums, doubles) = room.doubles.split_at_mut_checked(b.steps).unwrap_or_default();
    let mut rows = Rows::<L> {
        logits,
        kept: if gradients { grad } else { room.reals },
        sums,
        steps: 0,
        classes: b.classes,
        stride: if b.time_major { b.samples.saturating_mul(b.classes) } else { b.classes },
        start: 0,
        ring: if gradients { None } else { NonZero::new(TILE) },
        occupancies: b.factors.is_empty(),
    };
    drive(b, &mut rows, lengths, doubles, room.indices)
}

/// [`run`] for either precision; `lengths` are those of logits, gradient and numbers of room.
#[inline(never)]
fn drive(
    b: &mut Batch,
    rows: &mut dyn Classes,
    lengths: [usize; 3],
    doubles: &mut [f64],
    indices: &mut [i32],
) -> f64 {
    let size = b.samples.saturating_mul(b.steps).saturating_mul(b.classes);
    let [logits, grad, reals] = lengths;
    let gradients = grad != 0;
    let need = Need::of(b.steps, b.classes, b.labels, gradients);
    let fits = logits == size
        && b.targets.len() == b.samples.saturating_mul(b.labels)
        && b.input_lengths.len() == b.samples
        && b.target_lengths.len() == b.samples
        && (b.values.is_empty() || b.values.len() == b.samples)
        && (!gradients || grad == size)
        && (b.factors.is_empty() || b.factors.len() == b.samples)
        && reals >= need.reals
        && doubles.len() >= need.doubles - b.steps
        && indices.len() >= need.indices
        && b.blank < b.classes;
    if !fits {
        return f64::NAN;
    }
    let Some((slots, indices)) = indices.split_at_mut_checked(b.classes) else { return f64::NAN };
    slots.fill(-1);
    let Some((ids, indices)) = indices.split_at_mut_checked(b.labels) else { return f64::NAN };
    let Some((occurring, starts)) = indices.split_at_mut_checked(b.labels + 1) else { return f64::NAN };
    let mut total = 0.0;
    for n in 0..b.samples {
        let length =
            |lengths: &[i32], most: usize| lengths.get(n).map_or(0, |&x| (x.max(0) as usize).min(most));
        let (steps, labels) = (length(b.input_lengths, b.steps), length(b.target_lengths, b.labels));
        rows.seek(n * b.classes * if b.time_major { 1 } else { b.steps }, steps);
        let target = b.targets.get(n * b.labels..).and_then(|s| s.get(..labels)).unwrap_or(&[]);
        let count = number(b.blank, target, slots, ids, occurring);
        let target =
            Target { ids: ids.get(..labels).unwrap_or(&[]), classes: occurring.get(..count).unwrap_or(&[]) };
        let repeats = (1..labels).filter(|&i| !target.skips(i)).count();
        let factor = b.factors.get(n).copied().unwrap_or(0.0);
        let mut loss = f64::INFINITY;
        if steps == 0 && labels == 0 {
            loss = 0.0;
        } else if labels + repeats <= steps {
            loss = match blocks::run(rows, &target, factor, gradients, doubles, starts) {
                Some(loss) => loss,
                None => exact::run(rows, &target, factor, gradients, doubles),
            };
        } else {
            for t in 0..steps {
                rows.take(t, t + 1);
                loss = if rows.sum(t).is_nan() { f64::NAN } else { loss };
            }
        }
        if gradients {
            let spoilt = if loss < f64::INFINITY { 0 } else { steps };
            let without = if b.zero_infinity && loss == f64::INFINITY { 0.0 } else { f64::NAN };
            rows.fill(0..spoilt, without);
            rows.fill(steps..b.steps, 0.0);
        }
        if b.zero_infinity && loss == f64::INFINITY {
            loss = 0.0;
        }
        if let Some(to) = b.values.get_mut(n) {
            *to = loss;
        }
        total += if b.per_label { loss / labels.max(1) as f64 } else { loss };
        for &class in target.classes {
            if let Some(slot) = slots.get_mut(class as usize) {
                *slot = -1;
            }
        }
    }
    total
}

/// Numbers the classes of a target in the order in which they occur, after the blank, and gives how many there are. A label
/// that is no class, which the door's other side does not let in, counts as the blank.
fn number(blank: usize, target: &[i32], slots: &mut [i32], ids: &mut [i32], occurring: &mut [i32]) -> usize {
    let mut count = 0;
    let mut id_of = |class: usize| {
        let Some(slot) = slots.get_mut(class) else { return 0 };
        if *slot < 0 {
            *slot = count as i32;
            if let Some(to) = occurring.get_mut(count) {
                *to = class as i32;
            }
            count += 1;
        }
        *slot
    };
    id_of(blank);
    for (&label, id) in target.iter().zip(ids) {
        *id = id_of(label as usize);
    }
    count
}

#[cfg(test)]
mod tests;
