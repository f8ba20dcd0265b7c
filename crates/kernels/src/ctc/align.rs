//! Forced alignment: the best path of a target (Viterbi), and where it leaves the labels.
//!
//! The states and their pairs are those of [`super`]; logarithms are added and the largest of what comes in is kept, so a step
//! of a vector of pairs is a few additions and comparisons. What all states of a step have in common does not change which
//! path is best: logits are taken relative to their step's largest, and the softmax's denominators are looked at along the path
//! alone.
//!
//! Steps are done [`GROUP`] at a time and vector by vector, so that a vector's states stay in registers for the whole group: of
//! the vector before it is only its labels at the start of each of those steps that are needed. The logits of a group come by class,
//! a vector of steps each, and are turned into vectors of labels. From where each state was entered are three bits per pair and
//! step.
//!
//! Sums of thousands of logarithms would leave single precision behind. So every [`RENEW`] groups each vector's states are
//! brought near 0 and what that takes is kept apart, in double precision: neighbours differ by it when they meet, and nothing else does.
//!
//! Ties: a path rather stays in its state than goes on to the next, and rather that than leaves out a blank; it rather ends in the
//! last label than in the blank behind it.
use super::{Need, Product, Room};
use crate::rowwise::softmax::{exponentials, ln};
use lanes::{Ints, Lanes, Real};

/// Steps that are done at a time.
const GROUP: usize = 4;
/// Groups after which the states are brought near 0.
const RENEW: usize = 4;
/// The rows of the table of logits before those of the target's classes: the blank, anything, and what is behind the target's end.
const BLANK: usize = 0;
const WILDCARD: usize = 1;
const BEYOND: usize = 2;
const CLASSES: usize = 3;
/// What stands for the class in the rows that have none.
const NO_CLASS: i32 = -1;

/// A batch of sequences, and where their alignments go.
pub struct Alignments<'a, R> {
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
    /// The logits.
    pub logits: &'a [R],
    /// Class indices, [samples, labels]; -1 stands for anything, which has probability 1.
    pub targets: &'a [i32],
    /// How many steps count, [samples].
    pub input_lengths: &'a [i32],
    /// How many labels count, [samples].
    pub target_lengths: &'a [i32],
    /// Where the paths' log-probabilities go, [samples]: -infinity where there is no path, NaN where a step is no distribution.
    pub scores: &'a mut [f64],
    /// Where the symbol of each step goes, [samples, steps].
    pub path: &'a mut [i32],
    /// Where the first step of each label goes, [samples, labels], and the one behind its last.
    pub starts: &'a mut [i32],
    /// See `starts`.
    pub ends: &'a mut [i32],
    /// Where the log-probability of each label's steps goes, [samples, labels].
    pub log_probs: &'a mut [f64],
}

type Array<L> = <L as Lanes>::Array;

/// Vectors of pairs in a row.
fn width<L: Lanes>(labels: usize) -> usize {
    labels / L::COUNT + 1
}

/// What the largest sample of a batch needs; saturates where that cannot be.
pub fn need<L: Lanes>(steps: usize, classes: usize, labels: usize) -> Need {
    // as in Need::of
    if steps >= 1 << 29 || labels >= 1 << 29 {
        return Need::NEVER;
    }
    let width = width::<L>(labels);
    let table = (labels + CLASSES).saturating_mul(GROUP / L::COUNT);
    let bits = steps.div_ceil(GROUP).saturating_mul(width);
    let vectors = bits.saturating_add(4 * width).saturating_add(table);
    Need {
        reals: vectors.saturating_mul(L::COUNT),
        // the largest logit and the sum of the exponentials of each step, what was taken out of each vector
        doubles: steps.saturating_mul(2).saturating_add(width),
        // where a class stands in the table, the rows of the labels, the classes of the rows
        indices: classes.saturating_add(width * L::COUNT).saturating_add(labels + CLASSES),
    }
}

/// One sample: its logits, and the shape of its lattice.
struct Sample<'a, R> {
    logits: &'a [R],
    steps: usize,
    classes: usize,
    stride: usize,
    start: usize,
    labels: usize,
}

impl<R: Real> Sample<'_, R> {
    #[inline(always)]
    fn row(&self, t: usize) -> &[R] {
        let at = t * self.stride + self.start;
        self.logits.get(at..).and_then(|s| s.get(..self.classes)).unwrap_or(&[])
    }
}

/// The states, and what a step needs of each vector.
struct Lattice<'a, L: Lanes> {
    width: usize,
    blanks: &'a mut [Array<L>],
    labels: &'a mut [Array<L>],
    /// 0 where a label may follow the one before it directly, else -infinity.
    skips: &'a mut [Array<L>],
    /// How much further down than its own the states of the vector before are counted.
    gaps: &'a mut [Array<L>],
    /// What was taken out of each vector's states.
    offsets: &'a mut [f64],
    /// The logits of a group, its steps side by side, a row per class.
    table: &'a mut [L::Scalar],
    /// The row of each label in the table, [`BEYOND`] behind the last.
    ids: &'a [i32],
    /// The class of each row of the table.
    rows: &'a [i32],
    /// Whether the target has labels that stand for anything.
    wild: bool,
    /// Three bits per step of a group and per pair, as a whole number: whether the blank was entered from the label before, the label
    /// from its blank, and from the label before.
    bits: &'a mut [Array<L>],
}

/// The first `n` of a slice, which moves on behind them.
#[inline(always)]
fn cut<'a, T>(s: &mut &'a mut [T], n: usize) -> Option<&'a mut [T]> {
    let (head, tail) = core::mem::take(s).split_at_mut_checked(n)?;
    *s = tail;
    Some(head)
}

/// Row `i` of rows of `n`, as far as `most`.
fn row_mut<T>(s: &mut [T], i: usize, n: usize, most: usize) -> Option<&mut [T]> {
    s.get_mut(i.checked_mul(n)?..)?.get_mut(..most)
}

/// Aligns the batch and gives the sum of the scores; NaN, and nothing written, where a slice has not the length that it must have.
pub fn run<L: Lanes>(b: &mut Alignments<L::Scalar>, room: &mut Room<L::Scalar>) -> f64 {
    let per_step = b.samples.saturating_mul(b.steps);
    let per_label = b.samples.saturating_mul(b.labels);
    let need = need::<L>(b.steps, b.classes, b.labels);
    let fits = b.logits.len() == per_step.saturating_mul(b.classes)
        && b.targets.len() == per_label
        && b.input_lengths.len() == b.samples
        && b.target_lengths.len() == b.samples
        && b.scores.len() == b.samples
        && b.path.len() == per_step
        && b.starts.len() == per_label
        && b.ends.len() == per_label
        && b.log_probs.len() == per_label
        && room.reals.len() >= need.reals
        && room.doubles.len() >= need.doubles
        && room.indices.len() >= need.indices
        && b.blank < b.classes;
    if !fits {
        return f64::NAN;
    }
    if let Some(slots) = room.indices.get_mut(..b.classes) {
        slots.fill(-1);
    }
    let mut total = 0.0;
    for n in 0..b.samples {
        let score = align::<L>(b, room, n).unwrap_or(-f64::INFINITY);
        if let Some(to) = b.scores.get_mut(n) {
            *to = score;
        }
        total += score;
    }
    total
}

/// The score of a sample; None where it has no path.
fn align<L: Lanes>(b: &mut Alignments<L::Scalar>, room: &mut Room<L::Scalar>, n: usize) -> Option<f64> {
    let length = |lengths: &[i32], most: usize| lengths.get(n).map_or(0, |&x| (x.max(0) as usize).min(most));
    let (steps, labels) = (length(b.input_lengths, b.steps), length(b.target_lengths, b.labels));
    let target = b.targets.get(n * b.labels..).and_then(|s| s.get(..labels))?;
    let (stride, start) = if b.time_major {
        (b.samples * b.classes, n * b.classes)
    } else {
        (b.classes, n * b.steps * b.classes)
    };
    let sample = Sample { logits: b.logits, steps, classes: b.classes, stride, start, labels };

    let mut doubles = &mut *room.doubles;
    let (largest, sums) = (cut(&mut doubles, steps)?, cut(&mut doubles, steps)?);
    let width = width::<L>(labels);
    let mut indices = &mut *room.indices;
    let slots = cut(&mut indices, b.classes)?;
    let ids = cut(&mut indices, width * L::COUNT)?;
    let rows = number(target, b.blank, slots, ids, indices)?;
    let count = rows.len();

    let (table, reals) = room.reals.split_at_mut_checked(count * GROUP)?;
    let mut reals = L::chunks_mut(reals).0;
    let r = &mut reals;
    let mut lattice = Lattice::<L> {
        width,
        blanks: cut(r, width)?,
        labels: cut(r, width)?,
        skips: cut(r, width)?,
        gaps: cut(r, width)?,
        table,
        bits: cut(r, steps.div_ceil(GROUP) * width)?,
        offsets: cut(&mut doubles, width)?,
        ids,
        rows,
        wild: ids.contains(&(WILDCARD as i32)),
    };
    lattice.start()?;
    // a step that is no distribution outweighs a target without a path
    let repeats = target.windows(2).filter(|pair| pair.first() == pair.last()).count();
    let feasible = labels + repeats <= steps;
    for (group, first) in (0..steps).step_by(GROUP).enumerate() {
        for t in first..steps.min(first + GROUP) {
            let e = exponentials::<L>(sample.row(t), &mut []);
            if !e.max.is_finite() || e.sum.is_nan() {
                return Some(f64::NAN);
            }
            (*largest.get_mut(t)?, *sums.get_mut(t)?) = (e.max, e.sum);
        }
        if feasible {
            if group % RENEW == 0 {
                lattice.renew();
            }
            lattice.look_up(&sample, first, largest, sums)?;
            lattice.advance(&sample, first)?;
        }
    }
    if !feasible {
        return None;
    }

    // the path's end
    let end = lattice.state(lattice.blanks, labels)?;
    let last = labels.checked_sub(1).and_then(|i| lattice.state(lattice.labels, i)).unwrap_or(-f64::INFINITY);
    if end.max(last) == -f64::INFINITY {
        return None;
    }
    let from = if last >= end { (labels.checked_sub(1)?, true) } else { (labels, false) };
    let way = Way {
        path: row_mut(b.path, n, b.steps, steps)?,
        starts: row_mut(b.starts, n, b.labels, labels)?,
        ends: row_mut(b.ends, n, b.labels, labels)?,
        log_probs: row_mut(b.log_probs, n, b.labels, labels)?,
    };
    let logit = |t: usize, class: i32| {
        sample.row(t).get(class as usize).map(|x| x.to_f64() - largest.get(t).copied().unwrap_or(0.0))
    };
    trace(target, b.blank as i32, from, sums, way, &logit, &|t, pair| lattice.bits(t, steps, pair))
}

/// Numbers the classes of a target: writes the row of each label in the table to `ids`, and gives the class of each row. `slots` are
/// -1 before and after.
#[inline(never)]
fn number<'a>(
    target: &[i32],
    blank: usize,
    slots: &mut [i32],
    ids: &mut [i32],
    rows: &'a mut [i32],
) -> Option<&'a [i32]> {
    ids.fill(BEYOND as i32);
    rows.get_mut(..CLASSES)?.copy_from_slice(&[blank as i32, NO_CLASS, NO_CLASS]);
    let mut count = CLASSES;
    for (&label, id) in target.iter().zip(ids) {
        let Some(slot) = slots.get_mut(label as usize) else {
            *id = WILDCARD as i32;
            continue;
        };
        if *slot < 0 {
            *slot = count as i32;
            *rows.get_mut(count)? = label;
            count += 1;
        }
        *id = *slot;
    }
    let rows = rows.get(..count)?;
    for &class in rows.get(CLASSES..)? {
        *slots.get_mut(class as usize)? = -1;
    }
    Some(rows)
}

/// Where a path is written to.
struct Way<'a> {
    path: &'a mut [i32],
    starts: &'a mut [i32],
    ends: &'a mut [i32],
    log_probs: &'a mut [f64],
}

/// Follows the path back from its end, a pair and whether it is its label, and gives its score. `logit` is relative to the largest of its
/// step, and None for what stands for anything, which has probability 1. One copy of the code for both precisions.
#[inline(never)]
fn trace(
    target: &[i32],
    blank: i32,
    from: (usize, bool),
    sums: &[f64],
    way: Way,
    logit: &dyn Fn(usize, i32) -> Option<f64>,
    bits: &dyn Fn(usize, usize) -> Option<u32>,
) -> Option<f64> {
    let (mut pair, mut in_label) = from;
    // logits are added up, denominators multiplied: of the whole path, and of a label
    let (mut score, mut own) = (0.0, 0.0);
    let (mut denominators, mut own_denominators) = (Product::one(), Product::one());
    let mut entered = true;
    for (t, (symbol, &sum)) in way.path.iter_mut().zip(sums).enumerate().rev() {
        *symbol = if in_label { *target.get(pair)? } else { blank };
        if in_label && entered {
            *way.ends.get_mut(pair)? = t as i32 + 1;
            (own, own_denominators) = (0.0, Product::one());
        }
        if let Some(x) = logit(t, *symbol) {
            (score, own) = (score + x, own + x);
            denominators.times(sum);
            own_denominators.times(sum);
        }
        let here = (pair, in_label);
        let bits = bits(t, pair)?;
        if in_label && bits & 4 != 0 || !in_label && bits & 1 != 0 {
            (pair, in_label) = (pair.checked_sub(1)?, true);
        } else if bits & 2 != 0 {
            in_label = false;
        }
        entered = here != (pair, in_label);
        if let (label, true) = here {
            if entered || t == 0 {
                *way.starts.get_mut(label)? = t as i32;
                *way.log_probs.get_mut(label)? = own - own_denominators.ln();
            }
        }
    }
    Some(score - denominators.ln())
}

impl<L: Lanes> Lattice<'_, L> {
    /// Before the first step all is in the first blank.
    fn start(&mut self) -> Option<()> {
        let dead = L::array(-L::Scalar::INFINITY);
        self.blanks.fill(dead);
        self.labels.fill(dead);
        self.offsets.fill(0.0);
        *self.blanks.first_mut()?.as_mut().first_mut()? = L::Scalar::ZERO;
        let mut before = None;
        for (ids, to) in self.ids.chunks(L::COUNT).zip(self.skips.iter_mut()) {
            for (&id, to) in ids.iter().zip(to.as_mut()) {
                let may = before.is_some_and(|before| before != id);
                *to = if may { L::Scalar::ZERO } else { -L::Scalar::INFINITY };
                before = Some(id);
            }
        }
        Some(())
    }

    /// Brings each vector's best state near 0, by a whole number.
    fn renew(&mut self) {
        let mut below = 0.0;
        let states = self.blanks.iter_mut().zip(self.labels.iter_mut());
        for ((blanks, labels), (offset, gap)) in states.zip(self.offsets.iter_mut().zip(self.gaps.iter_mut()))
        {
            let (b, l) = (L::from_array(blanks), L::from_array(labels));
            let best = b.max(l).max_lane().to_f64();
            if best > -f64::INFINITY {
                // nothing is rounded by a whole number that is not too large
                let by = if best.abs() < 1e9 { best as i32 as f64 } else { best };
                (b - L::of(by)).store(blanks);
                (l - L::of(by)).store(labels);
                *offset += by;
            } else {
                *offset = below;
            }
            *gap = L::array(L::Scalar::from_f64(below - *offset));
            below = *offset;
        }
    }

    /// The logits of a group of steps from `t` on, relative to the largest of each step, a row per class.
    fn look_up(&mut self, sample: &Sample<L::Scalar>, t: usize, largest: &[f64], sums: &[f64]) -> Option<()> {
        let zero = [L::Scalar::ZERO; GROUP];
        let (mut rows, mut most, mut any) = ([&[][..]; GROUP], zero, zero);
        for (k, t) in (t..sample.steps.min(t + GROUP)).enumerate() {
            *rows.get_mut(k)? = sample.row(t);
            *most.get_mut(k)? = L::Scalar::from_f64(*largest.get(t)?);
            if self.wild {
                *any.get_mut(k)? = L::Scalar::from_f64(ln(*sums.get(t)?));
            }
        }
        let table = self.table.as_chunks_mut::<GROUP>().0;
        for (&class, to) in self.rows.iter().zip(&mut *table) {
            for ((to, row), &most) in to.iter_mut().zip(&rows).zip(&most) {
                *to = row.get(class as usize).map_or(-L::Scalar::INFINITY, |&x| x - most);
            }
        }
        *table.get_mut(WILDCARD)? = any;
        Some(())
    }

    /// A group of steps from `t` on.
    fn advance(&mut self, sample: &Sample<L::Scalar>, t: usize) -> Option<()> {
        let count = GROUP.min(sample.steps - t);
        // only the band of pairs that can be reached and can still reach the end
        let last = self.width.min((t + GROUP - 1) / L::COUNT + 1);
        let first = (sample.labels + t).saturating_sub(sample.steps + 1) / L::COUNT;
        let none = L::splat(-L::Scalar::INFINITY);
        let zero = <L::Ints as Ints>::splat(0);
        let flag = |mask, bit: i64| <L::Ints as Ints>::select(mask, <L::Ints as Ints>::splat(bit), zero);
        let mut blank = [L::zero(); GROUP];
        for (to, &x) in blank.iter_mut().zip(self.table.get(BLANK * GROUP..)?) {
            *to = L::splat(x);
        }
        // the labels of the vector before, at the start of each step
        let mut carried = [none; GROUP];
        let row = t / GROUP * self.width;
        let bits = self.bits.get_mut(row + first..row + last)?;
        let states = self.blanks.get_mut(first..last)?.iter_mut().zip(self.labels.get_mut(first..last)?);
        let others = self.skips.get(first..last)?.iter().zip(self.gaps.get(first..last)?);
        let ids = self.ids.get(first * L::COUNT..)?.chunks_exact(L::COUNT);
        for ((((blanks, labels), (skips, gap)), ids), bits) in states.zip(others).zip(ids).zip(bits) {
            let (mut b, mut l) = (L::from_array(blanks), L::from_array(labels));
            let (skips, gap) = (L::from_array(skips), L::from_array(gap));
            let emissions = emissions::<L>(self.table, ids);
            let mut from = zero;
            let steps = blank.iter().zip(&emissions).zip(carried.iter_mut()).take(count);
            for ((&blank, &label), carried) in steps {
                let before = l.shift_in(*carried + gap);
                *carried = l;
                let skip = before + skips;
                let own = l.max(b);
                from = from.shl(3) | flag(b.lt(before), 1) | flag(l.lt(b), 2) | flag(own.lt(skip), 4);
                b = b.max(before) + blank;
                l = own.max(skip) + label;
            }
            b.store(blanks);
            l.store(labels);
            L::from_ints(from).store(bits);
        }
        Some(())
    }

    /// The logarithm of a pair's state.
    fn state(&self, states: &[Array<L>], pair: usize) -> Option<f64> {
        let x = states.get(pair / L::COUNT)?.as_ref().get(pair % L::COUNT)?;
        Some(x.to_f64() + *self.offsets.get(pair / L::COUNT)?)
    }

    /// The bits of a pair at step `t` of `steps`.
    #[inline(always)]
    fn bits(&self, t: usize, steps: usize, pair: usize) -> Option<u32> {
        let group = t / GROUP;
        let bits = self.bits.get(group * self.width + pair / L::COUNT)?.as_ref().get(pair % L::COUNT)?;
        let behind = GROUP.min(steps - group * GROUP) - 1 - t % GROUP;
        Some(bits.to_f64() as u32 >> (3 * behind) & 7)
    }
}

/// The logits of a vector of labels at the steps of a group: rows of steps by label become vectors of labels by step.
#[inline(always)]
fn emissions<L: Lanes>(table: &[L::Scalar], ids: &[i32]) -> [L; GROUP] {
    let whole = L::chunks(table).0;
    let at = |lane: usize, part: usize| {
        let id = ids.get(lane).map_or(BEYOND, |&id| id as usize);
        whole.get(id * (GROUP / L::COUNT) + part).map_or(L::splat(-L::Scalar::INFINITY), L::from_array)
    };
    if L::COUNT == GROUP {
        let (a, b, c, d) = (at(0, 0), at(1, 0), at(2, 0), at(3, 0));
        let (low, other) = (a.zip_low(c), b.zip_low(d));
        let (high, another) = (a.zip_high(c), b.zip_high(d));
        [low.zip_low(other), low.zip_high(other), high.zip_low(another), high.zip_high(another)]
    } else {
        let (a, b) = ((at(0, 0), at(0, 1)), (at(1, 0), at(1, 1)));
        [a.0.zip_low(b.0), a.0.zip_high(b.0), a.1.zip_low(b.1), a.1.zip_high(b.1)]
    }
}
