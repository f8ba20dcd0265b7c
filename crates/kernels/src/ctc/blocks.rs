//! CTC on plain doubles, with exponents that stand still for a block of steps.
//!
//! Each state has a double and, apart from it, an exponent of two. At the start of a block every double is brought to about 1 and
//! the exponents take what it had more or less; then, for up to [`MOST`] steps, the exponents stay. What a state adds of
//! another is multiplied by the power of two that lies between their exponents, and those factors are the same for the whole
//! block. So a step of two pairs of states costs five multiplications and three additions, without a maximum, a shift
//! or a logarithm.
//!
//! Within a block a double must not leave its range. Upwards: in n steps a state can take from n pairs before it only, so its
//! exponent is raised ([`RAISE`]) towards the largest of those. Downwards: a state loses at most what the least probable of the
//! target's classes takes from it in each step, which is looked at beforehand, and a block ends before that adds up to
//! [`DECAY`]; a state that stands further ([`DROP`]) below its raised exponent makes the block shorter. Where not even one step
//! can be taken like this, the sample is given up, and [`super::exact`] does it. So nothing that is computed here was ever
//! rounded to zero.
//!
//! Doubles, even where the logits are single: with floats a loss near 0 keeps five digits after 400 steps (measured), since what
//! unlikely paths add at each step falls below half a unit in the last place, and the range is too small for what trained networks
//! give. They cost half of the lanes.
//!
//! What is stored of a state are the sums before the step's own probability is multiplied in: with those of the way forward and
//! those of the way back, which have it in, an occupancy is a product and no division. Occupancies of a step are divided by
//! their own sum, which is 1 but for rounding: errors that all states of a step share go away.
//!
//! Only the band of states that can be reached and can still reach the end is walked. The steps are cut into segments whose
//! states stay in the second cache; where there is more than one, the way forward leaves a row at the start of each, and the
//! way back computes each segment once more. That is faster than reading all rows from memory, and bounds the memory.
//!
//! Probabilities are gathered from classes to labels, and occupancies scattered back, for [`TILE`] steps at a time: one look at a
//! label's class serves all of them, and they are transposed on the way.
use super::{copy, cut, Classes, Need, Product, Target, Tile, TILE};
use crate::rowwise::softmax::ln;
use lanes::scaled::{exponent_of, exponents, pow2, pow2_one};
use lanes::{F64x2 as V, Lanes, Mask};

/// Steps of a block at most.
const MOST: usize = 32;
/// Powers of two that a state may stand below the largest of those it can take from within a block. On the way back it may do so as well,
/// and by as much more as there are paths in both blocks, up to 3^32 in each; what makes a product of both an occupancy is then smaller than
/// 2^-(2 * 420 + 2 * 51), and must not be rounded to zero.
const RAISE: f64 = 420.0;
/// Powers of two that a state may stand below its exponent at the start of a block.
const DROP: f64 = 400.0;
/// Powers of two that a state may lose within a block.
const DECAY: f64 = 600.0;
/// The exponent of zero.
const NOTHING: f64 = -1e300;
/// Bytes that a vector of pairs takes at a step: its states, and the probabilities of its labels.
const BYTES: usize = 3 * size_of::<Two>();
/// Vectors of pairs of a segment, so that they stay in the second cache.
const SEGMENT: usize = (320 << 10) / BYTES;
/// Vectors of pairs of a sample up to which they are kept in one segment, and nothing is computed twice.
const WHOLE: usize = (4 << 20) / BYTES;

/// Two numbers side by side.
type Two = [f64; 2];
/// The blanks and the labels of two pairs of states, or their exponents.
type Pairs = [Two; 2];
/// What a step forwards multiplies with: into a blank the label before it, into a label the blank of its pair, the same for what
/// came from the label before.
type Factors = [Two; 3];
/// The way back at two pairs, side by side, since all of it is read at every step: the states; what a step multiplies with, into a
/// blank the label of its pair, into a label the blank and the label after; what makes a product of both ways an occupancy.
type Back = [Two; 7];

/// How the states of a sample lie.
#[derive(Clone, Copy)]
struct Shape {
    /// Vectors of pairs in a row.
    width: usize,
    /// Steps of a segment: whole blocks.
    segment: usize,
    /// How many segments there are.
    segments: usize,
}

impl Shape {
    fn of(steps: usize, labels: usize) -> Self {
        let width = labels / 2 + 1;
        let whole = steps.saturating_mul(width) <= WHOLE;
        let segment = if whole { steps } else { SEGMENT / width }.next_multiple_of(MOST).max(MOST);
        Self { width, segment, segments: steps.div_ceil(segment).max(1) }
    }
}

/// What [`run`] needs for any sample of at most so many steps and labels; the indices are where blocks start.
pub fn need(steps: usize, labels: usize, gradients: bool) -> Need {
    let Shape { width, segments, .. } = Shape::of(steps, labels);
    let steps = steps.next_multiple_of(MOST).max(MOST);
    // no segment has more: either it is short, or it has so many vectors, rounded up to whole blocks
    let cells = width.saturating_mul(steps).min((MOST * width).saturating_add(WHOLE));
    let starts = if gradients { segments.saturating_mul(4 * width) } else { 0 };
    // emissions, rows, their exponents; starts; current, skips, factors, back, its exponents; table, sums; blanks, least
    let parts = [5 * cells + 2 * width, starts, 15 * width, 4 * (labels + 1), steps];
    let doubles = parts.iter().fold(0usize, |sum, &n| sum.saturating_add(n)).saturating_mul(2);
    Need { doubles, indices: steps + 1, ..Need::default() }
}

/// One sample on its way.
struct Lattice<'a> {
    shape: Shape,
    labels: usize,
    steps: usize,
    /// The probabilities of the labels, unnormalised, for each step of a segment; on the way back their occupancies.
    emissions: &'a mut [Two],
    /// The same of the blank, and the least of both.
    blanks: &'a mut [Tile],
    least: &'a mut [Tile],
    /// The states of a segment, a row per step and one more.
    rows: &'a mut [Pairs],
    /// The exponents of a segment's blocks, and where those start.
    exponents: &'a mut [Pairs],
    starts: &'a mut [i32],
    /// The exponents of the row that is being worked at, and how many of its vectors are written.
    current: &'a mut [Pairs],
    top: usize,
    /// The states at the start of each segment, and their exponents.
    kept: &'a mut [Pairs],
    kept_exponents: &'a mut [Pairs],
    /// 1 where a label may follow the one before it directly, else 0.
    skips: &'a mut [Two],
    factors: &'a mut [Factors],
    /// The probabilities of the classes that occur, for the steps of a tile; their occupancies.
    table: &'a mut [Tile],
    sums: &'a mut [Tile],
    back: &'a mut [Back],
    back_exponents: &'a mut [Pairs],
}

/// What a step back leaves to be scattered.
#[derive(Clone, Copy, Default)]
struct Stepped {
    /// The sum of all occupancies, and of the blanks'.
    sum: f64,
    blanks: f64,
    /// The vectors in which its labels' occupancies are.
    band: (usize, usize),
}

/// Whether a block could be begun.
enum Begun {
    Yes,
    /// It would have too many steps.
    TooLong,
}

impl<'a> Lattice<'a> {
    fn of(
        target: &Target,
        steps: usize,
        mut space: &'a mut [f64],
        starts: &'a mut [i32],
        gradients: bool,
    ) -> Option<Self> {
        let labels = target.ids.len();
        let shape = Shape::of(steps, labels);
        let Shape { width, segment, segments } = shape;
        let kept = if gradients { segments * width } else { 0 };
        let s = &mut space;
        let made = Self {
            shape,
            labels,
            steps,
            emissions: cut(s, segment * width),
            blanks: cut(s, 2 * segment / TILE).as_chunks_mut().0,
            least: cut(s, 2 * segment / TILE).as_chunks_mut().0,
            rows: cut(s, 2 * (segment + 1) * width).as_chunks_mut().0,
            exponents: cut(s, 2 * segment * width).as_chunks_mut().0,
            starts: starts.get_mut(..segment + 1)?,
            current: cut(s, 2 * width).as_chunks_mut().0,
            top: width,
            kept: cut(s, 2 * kept).as_chunks_mut().0,
            kept_exponents: cut(s, 2 * kept).as_chunks_mut().0,
            skips: cut(s, width),
            factors: cut(s, 3 * width).as_chunks_mut().0,
            table: cut(s, 2 * target.classes.len()).as_chunks_mut().0,
            sums: cut(s, 2 * target.classes.len()).as_chunks_mut().0,
            back: cut(s, 7 * width).as_chunks_mut().0,
            back_exponents: cut(s, 2 * width).as_chunks_mut().0,
        };
        for (i, to) in made.skips.as_flattened_mut().iter_mut().enumerate() {
            *to = if target.skips(i) { 1.0 } else { 0.0 };
        }
        clear(made.rows.get_mut(..width)?);
        // both first states can be reached, the label if there is one
        for to in made.rows.first_mut()?.iter_mut().take(1 + labels.min(1)) {
            to[0] = 1.0;
        }
        clear(made.current);
        Some(made)
    }

    /// The steps of a segment: the first, and how many.
    fn span(&self, segment: usize) -> (usize, usize) {
        let from = segment * self.shape.segment;
        (from, self.shape.segment.min(self.steps.saturating_sub(from)))
    }

    /// The vectors of the band in which the states of the steps `t..=end` lie: those that can be reached by then, and from
    /// which the end could be reached one step before.
    fn band(&self, t: usize, end: usize) -> (usize, usize) {
        let low = (self.labels + t).saturating_sub(self.steps + 1);
        (low / 2, self.labels.min(end) / 2 + 1)
    }

    /// Brings the probabilities of the target's classes at the steps of a tile into rows of labels.
    #[inline(never)]
    fn gather(
        &mut self,
        steps: &dyn Classes,
        target: &Target,
        from: usize,
        start: usize,
        len: usize,
    ) -> Option<()> {
        let width = self.shape.width;
        steps.exponentials(from + start, from + len, target.classes, self.table);
        let mut least = [V::one(); 2];
        for of_class in self.table.iter() {
            least = [least[0].min(V::from_array(&of_class[0])), least[1].min(V::from_array(&of_class[1]))];
        }
        *self.blanks.get_mut(start / TILE)? = *self.table.first()?;
        *self.least.get_mut(start / TILE)? = least.map(|x| x.to_array());
        let rows = self.emissions.get_mut(start * width..(start + TILE) * width)?;
        let (rows, last) = rows.split_at_mut_checked(2 * width)?;
        let ((one, two), (three, four)) =
            (rows.split_at_mut_checked(width)?, last.split_at_mut_checked(width)?);
        let table = &*self.table;
        let tile = |id: Option<&i32>| {
            id.and_then(|&id| table.get(id as usize)).map_or([V::zero(); 2], |x| x.map(|x| V::from_array(&x)))
        };
        let (pairs, odd) = target.ids.as_chunks::<2>();
        let mut pairs = pairs.iter();
        for (((one, two), three), four) in one.iter_mut().zip(two).zip(three).zip(four) {
            let (a, b) = match pairs.next() {
                Some([a, b]) => (tile(Some(a)), tile(Some(b))),
                // behind the last pair of labels: the odd one, if there is one, and padding
                None => (tile(odd.first()), [V::zero(); 2]),
            };
            a[0].zip_low(b[0]).store(one);
            a[0].zip_high(b[0]).store(two);
            a[1].zip_low(b[1]).store(three);
            a[1].zip_high(b[1]).store(four);
        }
        Some(())
    }

    /// The probability of the blank at a step of the segment.
    fn blank(&self, step: usize) -> Option<f64> {
        self.blanks.as_flattened().as_flattened().get(step).copied()
    }

    /// How many steps from `t` on (of `len`) a block may have for what the states lose in it; 0 where one is too much.
    fn longest(&self, t: usize, len: usize) -> usize {
        let least = self.least.as_flattened().as_flattened().get(t..len).unwrap_or(&[]);
        let mut lost = 0.0;
        for (n, &x) in least.iter().take(MOST).enumerate() {
            // a class of probability 0 is lost at once
            lost += if x > 0.0 { -exponent_of(x) } else { f64::INFINITY };
            if lost > DECAY {
                return n;
            }
        }
        least.len().min(MOST)
    }

    /// Walks a segment forwards from its first row, and gives the number of its blocks.
    fn forward(&mut self, from: usize, len: usize) -> Option<usize> {
        let width = self.shape.width;
        let last = from + len == self.steps;
        let (mut blocks, mut t) = (0, 0);
        self.top = width;
        while t < len {
            let mut n = self.longest(t, len);
            let mut band = self.band(from + t, from + t + n);
            while n > 0 && matches!(self.begin(t, blocks, n, band)?, Begun::TooLong) {
                n /= 2;
                band = self.band(from + t, from + t + n);
            }
            if n == 0 {
                return None;
            }
            *self.starts.get_mut(blocks)? = t as i32;
            blocks += 1;
            let (low, high) = band;
            self.top = high;
            let end = if last { (t + n).min(len - 1) } else { t + n };
            for step in t..end {
                let blank = self.blank(step)?;
                let (row, next) =
                    self.rows.get_mut(step * width..(step + 2) * width)?.split_at_mut_checked(width)?;
                forward_step(
                    row.get(low..high)?,
                    self.emissions.get(step * width + low..step * width + high)?,
                    self.factors.get(low..high)?,
                    blank,
                    next.get_mut(low..high)?,
                );
            }
            t += n;
        }
        *self.starts.get_mut(blocks)? = len as i32;
        clear(self.rows.get_mut(len * width + self.top..(len + 1) * width)?);
        Some(blocks)
    }

    /// Gives row `t` new exponents for a block of `n` steps, and finds the block's factors; changes no state if that is too many.
    #[inline(never)]
    fn begin(&mut self, t: usize, block: usize, n: usize, (low, high): (usize, usize)) -> Option<Begun> {
        let width = self.shape.width;
        let row = self.rows.get_mut(t * width + low..t * width + high)?;
        // what has come into the band since the last block was not written yet
        if let Some(fresh) = row.get_mut(self.top.saturating_sub(low)..) {
            clear(fresh);
        }
        self.top = self.top.max(high);
        let old = self.current.get_mut(low..high)?;
        let new = self.exponents.get_mut(block * width + low..block * width + high)?;
        let levels = self.factors.as_flattened_mut().get_mut(..high - low)?;
        let (mut last, mut last_most) = (V::splat(NOTHING), V::splat(NOTHING));
        for (((row, old), new), level) in row.iter().zip(old.iter()).zip(new.iter_mut()).zip(&mut *levels) {
            let [blank, label] = [own(&row[0], &old[0]), own(&row[1], &old[1])];
            let pair = blank.max(label);
            let most = pair.shift_in(last);
            (if n > 1 { most.max(most.shift_in(last_most)) } else { most }).store(level);
            (last, last_most) = (pair, most);
            *new = [blank.to_array(), label.to_array()];
        }
        widen(levels, n);
        let mut lost = Lost::none();
        for (new, level) in new.iter_mut().zip(levels) {
            let [blank, label] = new.map(|x| V::from_array(&x));
            let most = V::from_array(level) - V::splat(RAISE);
            let [of_blank, of_label] = [blank.max(most), label.max(most.max(blank - V::splat(RAISE)))];
            lost.see(blank, of_blank);
            lost.see(label, of_label);
            *new = [of_blank.to_array(), of_label.to_array()];
        }
        if lost.any() {
            return Some(Begun::TooLong);
        }
        let mut before = V::splat(NOTHING);
        let slices = row.iter_mut().zip(old.iter_mut()).zip(new.iter()).zip(self.factors.get_mut(low..high)?);
        for ((((row, old), new), factors), skips) in slices.zip(self.skips.get(low..high)?) {
            let [of_blank, of_label] = row;
            move_to([of_blank, of_label], old, new);
            let [blank, label] = new.map(|x| V::from_array(&x));
            let beside = label.shift_in(before);
            before = label;
            let in_pair = pow2(blank - label);
            let skip = in_pair * V::from_array(skips);
            *factors = [pow2(beside - blank).to_array(), in_pair.to_array(), skip.to_array()];
        }
        Some(Begun::Yes)
    }

    /// The probability of the target, unnormalised, at the last of a segment's `len` steps: its logarithm, and the exponent
    /// of the power of two below it.
    fn probability(&self, len: usize) -> Option<(f64, f64)> {
        let (width, step) = (self.shape.width, len - 1);
        let state = |pair: usize, which: usize| -> Option<(f64, f64)> {
            let of = |s: &[Pairs], at: usize| s.get(at + pair / 2)?.get(which)?.get(pair % 2).copied();
            Some((of(self.rows, step * width)?, of(self.current, 0)?))
        };
        let (mut x, mut e) = state(self.labels, 0)?;
        x *= self.blank(step)?;
        if let Some(pair) = self.labels.checked_sub(1) {
            let (y, f) = state(pair, 1)?;
            let y = y * self.emissions.get(step * width + pair / 2)?.get(pair % 2)?;
            // a state that nothing has reached has no exponent worth the name
            let most = if y == 0.0 || (x != 0.0 && f < e) { e } else { f };
            x = x * pow2_one(e - most) + y * pow2_one(f - most);
            e = most;
        }
        if !(x > 0.0) {
            return Some((-f64::INFINITY, 0.0));
        }
        Some((ln(x) + e * core::f64::consts::LN_2, e + exponent_of(x)))
    }

    /// Puts the way back at the end: both last states are where a path may end.
    fn start_back(&mut self) -> Option<()> {
        clear(self.back);
        clear(self.back_exponents);
        clear(self.sums);
        let mut end = |pair: usize, which: usize| -> Option<()> {
            *self.back.get_mut(pair / 2)?.get_mut(which)?.get_mut(pair % 2)? = 1.0;
            Some(())
        };
        end(self.labels, 0)?;
        self.labels.checked_sub(1).map_or(Some(()), |pair| end(pair, 1))
    }

    /// Walks a segment of so many blocks backwards, and makes the softmax of its steps the gradient. `exponent` is the
    /// probability's.
    #[inline(never)]
    fn backward(
        &mut self,
        steps: &mut dyn Classes,
        target: &Target,
        (from, len): (usize, usize),
        blocks: usize,
        exponent: f64,
        factor: f64,
    ) -> Option<()> {
        let width = self.shape.width;
        let mut stepped = [Stepped::default(); TILE];
        for block in (0..blocks).rev() {
            let start = *self.starts.get(block)? as usize;
            let mut end = *self.starts.get(block + 1)? as usize;
            while end > start {
                let mut n = end - start;
                let mut band = self.band(from + start, from + end);
                while n > 0 && matches!(self.begin_back(end - 1, block, n, band, exponent)?, Begun::TooLong) {
                    n /= 2;
                    band = self.band(from + end - n, from + end);
                }
                if n == 0 {
                    return None;
                }
                let (low, high) = band;
                for step in (end - n..end).rev() {
                    let j = step % TILE;
                    let blank = self.blank(step)?;
                    let (sum, blanks) = backward_step(
                        self.rows.get(step * width + low..step * width + high)?,
                        self.back.get_mut(low..high)?,
                        blank,
                        self.emissions.get_mut(step * width + low..step * width + high)?,
                    );
                    *stepped.get_mut(j)? = Stepped { sum, blanks, band };
                    if j == 0 {
                        let stepped = stepped.get(..TILE.min(len - step))?;
                        self.scatter(steps, target, (from, step), factor, stepped)?;
                    }
                }
                end -= n;
            }
        }
        Some(())
    }

    /// Gives the way back new exponents at row `t`, for a block of `n` steps, and finds its factors and those of the occupancies.
    /// None where both ways are so small that what makes a product of them an occupancy is no double.
    #[inline(never)]
    fn begin_back(
        &mut self,
        t: usize,
        block: usize,
        n: usize,
        (low, high): (usize, usize),
        exponent: f64,
    ) -> Option<Begun> {
        let width = self.shape.width;
        let back = self.back.get_mut(low..high)?;
        let old = self.back_exponents.get_mut(low..high)?;
        // the way forward is done with them here
        let new = self.current.get_mut(low..high)?;
        // in the order in which the way back goes, from the last on
        let levels = self.factors.as_flattened_mut().get_mut(..high - low)?;
        let (mut last, mut last_most) = (V::splat(NOTHING), V::splat(NOTHING));
        let slices = back.iter().zip(old.iter()).zip(new.iter_mut()).rev();
        for (((back, old), new), level) in slices.zip(&mut *levels) {
            let [blank, label] = [own(&back[0], &old[0]), own(&back[1], &old[1])];
            let pair = blank.max(label);
            let most = pair.shift_out(last);
            (if n > 1 { most.max(most.shift_out(last_most)) } else { most }).store(level);
            (last, last_most) = (pair, most);
            *new = [blank.to_array(), label.to_array()];
        }
        widen(levels, n);
        let mut lost = Lost::none();
        for (new, level) in new.iter_mut().rev().zip(levels) {
            let [blank, label] = new.map(|x| V::from_array(&x));
            let most = V::from_array(level) - V::splat(RAISE);
            let [of_blank, of_label] = [blank.max(most.max(label - V::splat(RAISE))), label.max(most)];
            lost.see(blank, of_blank);
            lost.see(label, of_label);
            *new = [of_blank.to_array(), of_label.to_array()];
        }
        if lost.any() {
            return Some(Begun::TooLong);
        }
        let ahead = self.exponents.get(block * width + low..block * width + high)?;
        let states = self.rows.get(t * width + low..t * width + high)?;
        let (mut blank_after, mut label_after, mut skips_after) =
            (V::splat(NOTHING), V::splat(NOTHING), V::zero());
        let mut beyond = V::zero().ne(V::zero());
        let slices = back.iter_mut().zip(old.iter_mut()).zip(new.iter()).zip(self.skips.get(low..high)?);
        for (((((back, old), new), skips), ahead), states) in slices.zip(ahead).zip(states).rev() {
            let [of_blank, of_label, from_label, from_blank, from_next, blank_occupancy, label_occupancy] =
                back;
            move_to([of_blank, of_label], old, new);
            let [blank, label] = new.map(|x| V::from_array(&x));
            let skips = V::from_array(skips);
            pow2(label - blank).store(from_label);
            pow2(blank.shift_out(blank_after) - label).store(from_blank);
            (pow2(label.shift_out(label_after) - label) * skips.shift_out(skips_after)).store(from_next);
            (blank_after, label_after, skips_after) = (blank, label, skips);
            let mut occupancy = |ahead: &Two, back: V, state: &Two, to: &mut Two| {
                let e = V::from_array(ahead) + (back - V::splat(exponent));
                beyond = beyond | (V::splat(1022.0).lt(e) & V::from_array(state).ne(V::zero()));
                pow2(e).store(to);
            };
            occupancy(&ahead[0], blank, &states[0], blank_occupancy);
            occupancy(&ahead[1], label, &states[1], label_occupancy);
        }
        if beyond.any() {
            return None;
        }
        Some(Begun::Yes)
    }

    /// Makes the softmax of some steps the gradient: takes the occupancies off, times a factor.
    #[inline(never)]
    fn scatter(
        &mut self,
        steps: &mut dyn Classes,
        target: &Target,
        (from, step): (usize, usize),
        factor: f64,
        stepped: &[Stepped],
    ) -> Option<()> {
        let width = self.shape.width;
        let low = stepped.iter().map(|s| s.band.0).min()?;
        let high = stepped.iter().map(|s| s.band.1).max()?;
        let tile = self.emissions.get_mut(step * width..(step + TILE) * width)?;
        for (k, Stepped { band, .. }) in stepped.iter().enumerate() {
            // what one step has in its band and another has not
            let at = k * width;
            tile.get_mut(at + low..at + band.0)?.fill(Two::default());
            tile.get_mut(at + band.1..at + high)?.fill(Two::default());
        }
        let sums = &mut *self.sums;
        let mut add = |id: i32, x: [V; 2]| {
            if let Some(to) = sums.get_mut(id as usize) {
                (V::from_array(&to[0]) + x[0]).store(&mut to[0]);
                (V::from_array(&to[1]) + x[1]).store(&mut to[1]);
            }
        };
        let row = |k: usize| tile.get(k * width + low..k * width + high);
        let rows = row(0)?.iter().zip(row(1)?).zip(row(2)?).zip(row(3)?);
        let (pairs, odd) = target.ids.as_chunks::<2>();
        let mut pairs = pairs.get(low..)?.iter();
        for (((one, two), three), four) in rows {
            let [one, two, three, four] = [one, two, three, four].map(V::from_array);
            let first = [one.zip_low(two), three.zip_low(four)];
            match pairs.next() {
                Some(&[a, b]) => {
                    add(a, first);
                    add(b, [one.zip_high(two), three.zip_high(four)]);
                }
                None => odd.iter().for_each(|&id| add(id, first)),
            }
        }
        let (mut shares, mut of_blank) = (Tile::default(), Tile::default());
        let tile = shares.as_flattened_mut().iter_mut().zip(of_blank.as_flattened_mut());
        for ((share, to), Stepped { sum, blanks, .. }) in tile.zip(stepped) {
            // some path is somewhere: else numbers have left their range
            if !(*sum > 0.0) {
                return None;
            }
            (*share, *to) = (1.0 / sum, *blanks);
        }
        *self.sums.first_mut()? = of_blank;
        let t = from + step;
        steps.differentiate(t, t + stepped.len(), factor, target.classes, self.sums, &shares);
        Some(())
    }
}

/// The exponents that states have in all, [`NOTHING`] where they are 0.
#[inline(always)]
fn own(x: &Two, e: &Two) -> V {
    let x = V::from_array(x);
    V::select(x.eq(V::zero()), V::splat(NOTHING), V::from_array(e) + exponents(x))
}

/// Moves two pairs from their exponents to new ones.
#[inline(always)]
fn move_to(states: [&mut Two; 2], old: &mut Pairs, new: &Pairs) {
    for ((x, old), new) in states.into_iter().zip(old).zip(new) {
        (V::from_array(x) * pow2(V::from_array(old) - V::from_array(new))).store(x);
        *old = *new;
    }
}

/// From the largest of the one or two pairs before each, two side by side, makes the largest of the n before it; of as many as the next
/// power of two where n is none.
#[inline(never)]
fn widen(levels: &mut [Two], n: usize) {
    let mut by = 1;
    while 2 * by < n {
        for i in (by..levels.len()).rev() {
            if let Some((before, [here, ..])) = levels.split_at_mut_checked(i) {
                let before = before.get(i - by).map_or(V::splat(NOTHING), V::from_array);
                V::from_array(here).max(before).store(here);
            }
        }
        by *= 2;
    }
}

/// Whether a state stands too far below its new exponent.
struct Lost(<V as Lanes>::Mask);

impl Lost {
    fn none() -> Self {
        Self(V::zero().ne(V::zero()))
    }
    #[inline(always)]
    fn see(&mut self, own: V, new: V) {
        self.0 = self.0 | (V::splat(DROP).lt(new - own) & own.ne(V::splat(NOTHING)));
    }
    fn any(self) -> bool {
        self.0.any()
    }
}

/// One step forwards: from the sums of a row, with the row's own probabilities, the sums of the next.
#[inline(never)]
fn forward_step(row: &[Pairs], emissions: &[Two], factors: &[Factors], blank: f64, next: &mut [Pairs]) {
    let blank = V::splat(blank);
    let mut before = V::zero();
    for (((row, emission), factors), next) in row.iter().zip(emissions).zip(factors).zip(next) {
        let of_blank = V::from_array(&row[0]) * blank;
        let of_label = V::from_array(&row[1]) * V::from_array(emission);
        let beside = of_label.shift_in(before) * V::from_array(&factors[0]);
        before = of_label;
        (of_blank + beside).store(&mut next[0]);
        let in_pair = of_blank * V::from_array(&factors[1]);
        (of_label + (in_pair + beside * V::from_array(&factors[2]))).store(&mut next[1]);
    }
}

/// One step backwards: in the place of a row's probabilities the occupancies of its labels, from its sums and those of the way back,
/// which then go on to the row before. Gives the sum of all occupancies, and of the blanks'.
#[inline(never)]
fn backward_step(row: &[Pairs], back: &mut [Back], blank: f64, emissions: &mut [Two]) -> (f64, f64) {
    let blank = V::splat(blank);
    let (mut blank_after, mut label_after) = (V::zero(), V::zero());
    let (mut blanks, mut labels) = (V::zero(), V::zero());
    for ((row, back), emission) in row.iter().zip(back).zip(emissions).rev() {
        let [to_blank, to_label, from_label, from_blank, from_next, blank_occupancy, label_occupancy] = back;
        let of_blank = V::from_array(to_blank) * blank;
        let of_label = V::from_array(to_label) * V::from_array(emission);
        blanks = blanks + V::from_array(&row[0]) * V::from_array(blank_occupancy) * of_blank;
        let here = V::from_array(&row[1]) * V::from_array(label_occupancy) * of_label;
        here.store(emission);
        labels = labels + here;
        let next_blank = of_blank.shift_out(blank_after) * V::from_array(from_blank);
        let next_label = of_label.shift_out(label_after) * V::from_array(from_next);
        (blank_after, label_after) = (of_blank, of_label);
        (of_blank + of_label * V::from_array(from_label)).store(to_blank);
        (of_label + (next_blank + next_label)).store(to_label);
    }
    let blanks = blanks.sum();
    (blanks + labels.sum(), blanks)
}

/// Zeros, once for all that need them.
#[inline(never)]
fn clear<const N: usize>(s: &mut [[Two; N]]) {
    s.as_flattened_mut().as_flattened_mut().fill(0.0);
}

/// The loss of a sample, its gradient where `steps` keeps it; None where a number would leave the range of a double.
pub fn run(
    steps: &mut dyn Classes,
    target: &Target,
    factor: f64,
    gradients: bool,
    doubles: &mut [f64],
    starts: &mut [i32],
) -> Option<f64> {
    let mut lattice = Lattice::of(target, steps.steps(), doubles, starts, gradients)?;
    let Shape { width, segments, .. } = lattice.shape;
    let mut normalisers = Product::one();
    let (mut probability, mut blocks) = (None, 0);
    for s in 0..segments {
        let (from, len) = lattice.span(s);
        for start in (0..len).step_by(TILE) {
            let (t, end) = (from + start, from + len.min(start + TILE));
            steps.take(t, end);
            for t in t..end {
                let sum = steps.sum(t);
                // poisoned by NaN or an infinity: all of the sample is
                if sum.is_nan() {
                    return Some(sum);
                }
                normalisers.times(sum);
            }
            lattice.gather(steps, target, from, start, len)?;
            if gradients && s + 1 == segments {
                steps.normalise(t, end, factor);
            }
        }
        if gradients {
            let at = s * width;
            copy(lattice.rows.get(..width)?, lattice.kept.get_mut(at..)?);
            copy(lattice.current, lattice.kept_exponents.get_mut(at..)?);
        }
        blocks = lattice.forward(from, len)?;
        if s + 1 < segments {
            let (rows, last) = lattice.rows.split_at_mut_checked(len * width)?;
            copy(last, rows.get_mut(..width)?);
        } else {
            probability = Some(lattice.probability(len)?);
        }
    }
    let (log, exponent) = probability?;
    if log == -f64::INFINITY {
        return Some(f64::INFINITY);
    }
    if gradients {
        lattice.start_back()?;
        for s in (0..segments).rev() {
            let (from, len) = lattice.span(s);
            if s + 1 < segments {
                let at = s * width;
                copy(lattice.kept.get(at..)?, lattice.rows.get_mut(..width)?);
                copy(lattice.kept_exponents.get(at..)?, lattice.current);
                for start in (0..len).step_by(TILE) {
                    lattice.gather(steps, target, from, start, len)?;
                    steps.normalise(from + start, from + len.min(start + TILE), factor);
                }
                blocks = lattice.forward(from, len)?;
            }
            lattice.backward(steps, target, (from, len), blocks, exponent, factor)?;
        }
    }
    Some(normalisers.ln() - log)
}
