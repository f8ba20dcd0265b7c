//! CTC for any logits: each state is a mantissa and an exponent of two in double precision ([`Scaled`]), moved at each step.
//!
//! This is where a sample ends whose probabilities lie too far apart for [`super::blocks`]: logits hundreds apart,
//! classes of probability 0, paths that cost more than a float holds in a single step. A state as improbable as 10^-10000
//! keeps all its digits.
//!
//! Only what is stored is brought back to a mantissa in [1, 2): products and sums of a few stand further up, which harms nothing.
//!
//! Trap: where a state takes nothing from another, the exponent must be masked too. A zero with a large exponent would swallow
//! its neighbours in a sum.
use super::{copy, cut, Classes, Need, Product, Target, Tile};
use crate::rowwise::softmax::ln;
use lanes::scaled::{exponent_of, Scaled};
use lanes::{F64x2, Lanes};

/// Two numbers side by side: mantissas, exponents.
type Two = [[f64; 2]; 2];
/// The blanks and the labels of two pairs of states.
type Pairs = [Two; 2];

/// How the states of a sample lie.
#[derive(Clone, Copy)]
struct Shape {
    /// Vectors of pairs in a row.
    width: usize,
    /// Steps of a segment: about the square root of their number, so that segments and their starts take as much room.
    segment: usize,
    segments: usize,
}

impl Shape {
    fn of(steps: usize, labels: usize) -> Self {
        let bits = usize::BITS - steps.saturating_sub(1).leading_zeros();
        let segment = 1 << bits.div_ceil(2).max(3);
        Self { width: labels / 2 + 1, segment, segments: steps.div_ceil(segment).max(1) }
    }
}

/// Doubles that [`run`] needs for any sample of at most so many steps and labels.
pub fn need(steps: usize, labels: usize, gradients: bool) -> Need {
    let Shape { width, segment, segments } = Shape::of(steps, labels);
    let rows = segment + 2 + if gradients { segments } else { 0 };
    // rows of states, the probabilities of the labels, which of them may follow the one before, those of the classes, their
    // occupancies
    let doubles = rows.saturating_mul(8 * width).saturating_add(4 * width + 2 * width + 7 * (labels + 1));
    Need { doubles, ..Need::default() }
}

/// One sample on its way.
struct Lattice<'a> {
    shape: Shape,
    labels: usize,
    /// The states of a segment, a row per step and one more.
    rows: &'a mut [Pairs],
    /// The states at the start of each segment.
    kept: &'a mut [Pairs],
    back: &'a mut [Pairs],
    /// The probabilities of the labels at one step.
    emissions: &'a mut [Two],
    /// 1 where a label may follow the one before it directly, else 0.
    skips: &'a mut [[f64; 2]],
    /// Of the classes that occur: their logits at one step, and the exponentials of those.
    logits: &'a mut [f64],
    table: &'a mut [[f64; 2]],
    /// Their occupancies at one step.
    sums: &'a mut [Tile],
}

/// Vectors as [`Pairs`].
fn pairs(s: &mut [[f64; 2]]) -> &mut [Pairs] {
    s.as_chunks_mut().0.as_chunks_mut().0
}

/// The loss of a sample, its gradient where `steps` keeps it.
pub fn run(
    steps: &mut dyn Classes,
    target: &Target,
    factor: f64,
    gradients: bool,
    doubles: &mut [f64],
) -> f64 {
    whole(steps, target, factor, gradients, doubles).unwrap_or(f64::NAN)
}

fn whole(
    steps: &mut dyn Classes,
    target: &Target,
    factor: f64,
    gradients: bool,
    mut space: &mut [f64],
) -> Option<f64> {
    let (len, labels) = (steps.steps(), target.ids.len());
    let shape = Shape::of(len, labels);
    let Shape { width, segment, segments } = shape;
    let starts = if gradients { segments } else { 0 };
    let s = &mut space;
    let mut lattice = Lattice {
        shape,
        labels,
        rows: pairs(cut(s, 4 * (segment + 1) * width)),
        kept: pairs(cut(s, 4 * starts * width)),
        back: pairs(cut(s, 4 * width)),
        emissions: cut(s, 2 * width).as_chunks_mut().0,
        skips: cut(s, width),
        logits: cut::<1>(s, target.classes.len()).as_flattened_mut(),
        table: cut(s, target.classes.len()),
        sums: cut(s, 2 * target.classes.len()).as_chunks_mut().0,
    };
    lattice.sums.fill(Tile::default());
    for (i, to) in lattice.skips.as_flattened_mut().iter_mut().enumerate() {
        *to = if target.skips(i) { 1.0 } else { 0.0 };
    }
    let mut normalisers = Product::one();
    let mut below = 0.0;
    for t in 0..len {
        steps.take(t, t + 1);
        let sum = steps.sum(t);
        // poisoned by NaN or an infinity: all of the sample is
        if sum.is_nan() {
            return Some(sum);
        }
        normalisers.times(sum);
        below += steps.logits(t, target.classes, lattice.logits);
    }
    lattice.start(0, 0, Some(0).filter(|_| labels > 0))?;
    let mut probability = None;
    for s in 0..segments {
        let from = s * segment;
        if gradients {
            let at = s * width;
            copy(lattice.rows.get(..width)?, lattice.kept.get_mut(at..)?);
        }
        let count = segment.min(len - from);
        probability = lattice.forward(steps, target, from, count);
        if s + 1 < segments {
            let (rows, last) = lattice.rows.split_at_mut_checked(count * width)?;
            copy(last, rows.get_mut(..width)?);
        }
    }
    // mantissa and exponent
    let (mantissa, exponent) = probability?;
    if !(mantissa > 0.0) {
        return Some(if mantissa.is_nan() { mantissa } else { f64::INFINITY });
    }
    let loss = normalisers.ln() + below - (ln(mantissa) + exponent * core::f64::consts::LN_2);
    if gradients {
        lattice.start_back()?;
        for s in (0..segments).rev() {
            let (from, at) = (s * segment, s * width);
            let count = segment.min(len - from);
            copy(lattice.kept.get(at..)?, lattice.rows.get_mut(..width)?);
            lattice.forward(steps, target, from, count);
            for t in (0..count).rev() {
                lattice.backward(steps, target, from, t, exponent + exponent_of(mantissa), factor)?;
            }
        }
    }
    Some(loss)
}

impl Lattice<'_> {
    /// Fills a row (0: the segment's first) with zeros but for the blank and the label of two pairs.
    fn start(&mut self, row: usize, blank: usize, label: Option<usize>) -> Option<()> {
        let width = self.shape.width;
        fill(self.rows.get_mut(row * width..(row + 1) * width)?, blank, label)
    }

    fn start_back(&mut self) -> Option<()> {
        fill(self.back, self.labels, self.labels.checked_sub(1))
    }

    /// The probabilities of the target's labels at a step, and of the blank.
    fn emit(&mut self, steps: &dyn Classes, target: &Target, t: usize) -> Option<Scaled> {
        steps.logits(t, target.classes, self.logits);
        for (to, &x) in self.table.iter_mut().zip(self.logits.iter()) {
            let e = Scaled::exp(F64x2::splat(x));
            *to = [e.mantissa.to_array()[0], e.exponent.to_array()[0]];
        }
        let zero = Scaled::zero();
        let mut ids = target.ids.chunks(2);
        for to in self.emissions.iter_mut() {
            zero.store(to);
            for (lane, &id) in ids.next().unwrap_or(&[]).iter().enumerate() {
                let [mantissa, exponent] = *self.table.get(id as usize)?;
                *to.first_mut()?.get_mut(lane)? = mantissa;
                *to.last_mut()?.get_mut(lane)? = exponent;
            }
        }
        let [mantissa, exponent] = *self.table.first()?;
        Some(Scaled { mantissa: F64x2::splat(mantissa), exponent: F64x2::splat(exponent) })
    }

    /// Walks a segment forwards from its first row, and gives the probability of ending at its last step.
    fn forward(
        &mut self,
        steps: &dyn Classes,
        target: &Target,
        from: usize,
        count: usize,
    ) -> Option<(f64, f64)> {
        let width = self.shape.width;
        let mut ended = None;
        for t in 0..count {
            let blank = self.emit(steps, target, from + t)?;
            let (row, next) = self.rows.get_mut(t * width..(t + 2) * width)?.split_at_mut_checked(width)?;
            let mut before = Scaled::zero();
            let mut end = [(0.0, 0.0); 2];
            for (v, ((row, next), (emission, skips))) in
                row.iter().zip(next).zip(self.emissions.iter().zip(self.skips.iter())).enumerate()
            {
                let of_blank = Scaled::load(&row[0]).times(blank);
                let of_label = Scaled::load(&row[1]).times(Scaled::load(emission));
                let beside = of_label.shift_in(before);
                before = of_label;
                let both = of_blank.plus(beside);
                let may = F64x2::from_array(skips).ne(F64x2::zero());
                let into_label = of_blank.plus(beside.only(may));
                both.normal().store(&mut next[0]);
                of_label.plus(into_label).normal().store(&mut next[1]);
                let lane = |x: Scaled, pair: usize, end: &mut (f64, f64)| {
                    if pair / 2 == v {
                        let (m, e) = (x.mantissa.to_array(), x.exponent.to_array());
                        *end = (*m.get(pair % 2)?, *e.get(pair % 2)?);
                    }
                    Some(())
                };
                lane(of_blank, self.labels, &mut end[0])?;
                if let Some(pair) = self.labels.checked_sub(1) {
                    lane(of_label, pair, &mut end[1])?;
                }
            }
            let [one, other] =
                end.map(|(m, e)| Scaled { mantissa: F64x2::splat(m), exponent: F64x2::splat(e) });
            let sum = if self.labels == 0 { one } else { one.plus(other) };
            let ([m, _], [e, _]) = (sum.mantissa.to_array(), sum.exponent.to_array());
            ended = Some((m, e));
        }
        ended
    }

    /// One step backwards, and the step's gradient.
    fn backward(
        &mut self,
        steps: &mut dyn Classes,
        target: &Target,
        from: usize,
        t: usize,
        exponent: f64,
        factor: f64,
    ) -> Option<()> {
        let width = self.shape.width;
        let blank = self.emit(steps, target, from + t)?;
        let rows = self.rows.get(t * width..(t + 1) * width)?;
        let (mut blank_after, mut label_after) = (Scaled::zero(), Scaled::zero());
        let mut skips_after = F64x2::zero();
        let (mut of_blanks, mut of_labels) = (F64x2::zero(), F64x2::zero());
        let probability = Scaled { mantissa: F64x2::one(), exponent: F64x2::splat(-exponent) };
        let occupancy = |x: &Two, back: Scaled| Scaled::load(x).times(back).times(probability).to_lanes();
        let slices =
            rows.iter().zip(self.emissions.iter_mut()).zip(self.back.iter_mut()).zip(self.skips.iter());
        for (((row, emission), back), skips) in slices.rev() {
            let of_blank = Scaled::load(&back[0]).times(blank);
            let of_label = Scaled::load(&back[1]).times(Scaled::load(emission));
            of_blanks = of_blanks + occupancy(&row[0], of_blank);
            let here = occupancy(&row[1], of_label);
            of_labels = of_labels + here;
            // the probabilities of this step are not needed any more
            here.store(&mut emission[0]);
            let skips = F64x2::from_array(skips);
            let may = skips.shift_out(skips_after).ne(F64x2::zero());
            let beside = of_blank.shift_out(blank_after).plus(of_label.shift_out(label_after).only(may));
            (blank_after, label_after, skips_after) = (of_blank, of_label, skips);
            of_blank.plus(of_label).normal().store(&mut back[0]);
            of_label.plus(beside).normal().store(&mut back[1]);
        }
        let ([a, b], [c, d]) = (of_blanks.to_array(), of_labels.to_array());
        let share = 1.0 / ((a + b) + (c + d));
        self.sums.first_mut()?[0][0] = a + b;
        for (&id, x) in target.ids.iter().zip(self.emissions.iter().flat_map(|e| e[0])) {
            self.sums.get_mut(id as usize)?[0][0] += x;
        }
        let t = from + t;
        steps.normalise(t, t + 1, factor);
        steps.differentiate(t, t + 1, factor, target.classes, self.sums, &[[share, 0.0], [0.0; 2]]);
        Some(())
    }
}

/// Zeros but for the blank and the label of two pairs, which are 1.
fn fill(row: &mut [Pairs], blank: usize, label: Option<usize>) -> Option<()> {
    let zero = Scaled::zero();
    for pairs in row.iter_mut() {
        zero.store(&mut pairs[0]);
        zero.store(&mut pairs[1]);
    }
    let mut one = |pair: usize, which: usize| -> Option<()> {
        let [mantissas, exponents] = row.get_mut(pair / 2)?.get_mut(which)?;
        *mantissas.get_mut(pair % 2)? = 1.0;
        *exponents.get_mut(pair % 2)? = 0.0;
        Some(())
    };
    one(blank, 0)?;
    label.map_or(Some(()), |pair| one(pair, 1))
}
