//! The most offending incorrect answer, and the losses that look at it and at the correct answer alone.
use super::{Op, Row};
use crate::rowwise::softmax::{largest, ln};
use lanes::{F64x2, Lanes, Mask, Real};

/// An answer of lowest energy.
#[derive(Clone, Copy, Debug)]
pub struct Offender {
    /// Where it stands; none where every energy is +Infinity, or there is no incorrect answer.
    pub index: Option<usize>,
    /// Its energy, +Infinity where there is none.
    pub energy: f64,
}

impl Offender {
    const NONE: Offender = Offender { index: None, energy: f64::INFINITY };

    /// The lower of two, this one where they tie. NaN is lower than every number: it must come through.
    #[inline(always)]
    fn or(self, later: Offender) -> Offender {
        let replaced = !self.energy.is_nan() && (later.energy.is_nan() || later.energy < self.energy);
        if replaced {
            later
        } else {
            self
        }
    }
}

/// The first of the lowest energies of a slice that stands behind `before` others.
#[inline(never)]
fn lowest<L: Lanes>(x: &[L::Scalar], before: usize) -> Offender {
    let infinity = L::Scalar::INFINITY;
    let low = largest::<L>(x, true);
    // one look for the lowest, and for a NaN, which the search above passes over
    let (whole, tail) = L::chunks(x);
    let (mut first, mut bad) = (None, None);
    for (a, i) in whole.iter().zip(0..) {
        let v = L::from_array(a);
        if first.is_none() && v.eq(L::splat(low)).any() {
            first = Some(i);
        }
        if v.ne(v).any() {
            bad = Some(i);
            break;
        }
    }
    let block = bad.or(first).unwrap_or(whole.len());
    let within = whole.get(block).map_or(tail, |a| a.as_ref());
    let nan = |x: &[L::Scalar]| x.iter().position(|x| x.is_nan());
    // a NaN in the tail comes before a number in any block
    let found = match (bad, nan(tail)) {
        (None, Some(k)) => Some((whole.len() * L::COUNT + k, L::Scalar::NAN)),
        (Some(_), _) => nan(within).map(|k| (block * L::COUNT + k, L::Scalar::NAN)),
        _ => within.iter().position(|x| *x == low).map(|k| (block * L::COUNT + k, low)),
    };
    match found {
        Some((k, energy)) if energy.is_nan() || energy < infinity => {
            Offender { index: Some(before + k), energy: energy.to_f64() }
        }
        _ => Offender::NONE,
    }
}

/// The lowest energy among the answers that are not the correct one, and farther from it than epsilon where they have
/// coordinates.
pub fn most_offending<L: Lanes>(row: &Row<L::Scalar>) -> Offender {
    let y = row.answer;
    if row.points.is_empty() {
        let before = row.x.get(..y).unwrap_or(&[]);
        let after = row.x.get(y + 1..).unwrap_or(&[]);
        return lowest::<L>(before, 0).or(lowest::<L>(after, y + 1));
    }
    let d = row.dimensions;
    let here = row.points.get(y * d..(y + 1) * d).unwrap_or(&[]);
    let mut found = Offender::NONE;
    for ((x, there), k) in row.x.iter().zip(row.points.chunks_exact(d.max(1))).zip(0..) {
        let energy = x.to_f64();
        let is_incorrect = k != y && distance(here, there) > row.epsilon;
        if is_incorrect && energy != f64::INFINITY {
            found = found.or(Offender { index: Some(k), energy });
        }
    }
    found
}

/// The Euclidean distance, in double precision whatever the energies are in: both engines must find the same answers incorrect.
fn distance(a: &[f64], b: &[f64]) -> f64 {
    let mut sum = 0.0;
    for (a, b) in a.iter().zip(b) {
        sum += (a - b) * (a - b);
    }
    let [root, _] = F64x2::splat(sum).sqrt().to_array();
    root
}

/// The losses of the correct answer's energy and that of the most offending one.
pub fn loss<L: Lanes>(op: Op, row: &mut Row<L::Scalar>) -> f64 {
    let other = match op {
        Op::EnergyLoss => Offender::NONE,
        Op::PerceptronLoss => lowest::<L>(row.x, 0),
        _ => most_offending::<L>(row),
    };
    let (value, down, up) = slopes(op, row.own.to_f64(), other, row.p[0]);
    row.grad.fill(L::Scalar::ZERO);
    row.push(row.answer, down);
    if let Some(k) = other.index {
        row.push(k, up);
    }
    value
}

/// The loss of the correct answer's energy e and the most offending one's, o, and its slopes in e and in o. Where there is
/// no other, o is +Infinity, and what looks at the difference e - o is 0.
#[inline(never)]
fn slopes(op: Op, e: f64, other: Offender, m: f64) -> (f64, f64, f64) {
    let o = other.energy;
    let z = if other.index.is_none() { -f64::INFINITY } else { e - o };
    let exponent = if op == Op::SquareExponentialLoss { -o } else { -z.abs() };
    let [t, _] = F64x2::splat(exponent).exp().to_array();
    // 1 / (1 + exp(-z))
    let sigmoid = (if z < 0.0 { t } else { 1.0 }) / (1.0 + t);
    match op {
        Op::EnergyLoss => (e, 1.0, 0.0),
        Op::PerceptronLoss => (e - o, 1.0, -1.0),
        Op::HingeLoss => {
            let (lack, slope) = positive(m + z);
            (lack, slope, -slope)
        }
        Op::Lvq2Loss if z > 0.0 && z >= m => (m, 0.0, 0.0),
        Op::Lvq2Loss => {
            let (excess, slope) = positive(z);
            (excess, slope, -slope)
        }
        Op::LogLoss => {
            // what rounding 1 + t lost is put back to first order
            let u = 1.0 + t;
            let log = ln(u) + (t - (u - 1.0)) / u;
            (log + if z < 0.0 { 0.0 } else { z }, sigmoid, -sigmoid)
        }
        Op::MceLoss => {
            let slope = t / ((1.0 + t) * (1.0 + t));
            (sigmoid, slope, -slope)
        }
        Op::SquareSquareLoss => {
            let (lack, _) = positive(m - o);
            (e * e + lack * lack, 2.0 * e, -2.0 * lack)
        }
        _ => (e * e + m * t, 2.0 * e, -m * t),
    }
}

/// max(0, z) and its slope, which is 0 at the kink; NaN is let through.
fn positive(z: f64) -> (f64, f64) {
    if z <= 0.0 {
        (0.0, 0.0)
    } else {
        (z, 1.0)
    }
}
