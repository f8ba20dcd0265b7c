//! Energy-based losses: a row is the energies of the answers to one question, of which one is the correct answer. Low energy is
//! good, so a loss pushes the correct answer's energy down and those of others up.
//!
//! - [`offender`]: the most offending incorrect answer, the one of lowest energy, and the losses of it and the correct one;
//! - [`gibbs`]: the losses of all answers by their probability, exp(-beta E);
//! - [`contrastive`]: the sum over the incorrect answers, each against the correct one.
//!
//! [`run`] is the one driver, as in [`crate::rowwise`]. An answer of energy +Infinity is as if it were not there: that is how
//! samples have different numbers of answers.
use crate::rowwise::{factor, row, row_mut};
use lanes::{Lanes, Real};

pub mod contrastive;
pub mod gibbs;
pub mod offender;

/// The losses by their number at the door; ts/doors/energy.ts has the same table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    /// The energy of the correct answer.
    EnergyLoss,
    /// Against the lowest energy of all.
    PerceptronLoss,
    /// max(0, m + difference). `p`: m.
    HingeLoss,
    /// log(1 + exp(difference)).
    LogLoss,
    /// min(m, max(0, difference)). `p`: m.
    Lvq2Loss,
    /// 1 / (1 + exp(-difference)).
    MceLoss,
    /// Squares of the energy and of what the other lacks to m. `p`: m.
    SquareSquareLoss,
    /// Square of the energy and beta exp(-other). `p`: beta.
    SquareExponentialLoss,
    /// Negative log-likelihood. `p`: beta; the table holds log-weights.
    NllLoss,
    /// Minimum empirical error. `p`: beta.
    MeeLoss,
    /// The sum over the incorrect answers. `p`: the margin where there is no table, 0 for hinge and 1 for log.
    ContrastiveLoss,
    /// No loss: where the most offending incorrect answer stands, and its energy.
    MostOffending,
}

impl Op {
    const ALL: [Op; 12] = [
        Op::EnergyLoss,
        Op::PerceptronLoss,
        Op::HingeLoss,
        Op::LogLoss,
        Op::Lvq2Loss,
        Op::MceLoss,
        Op::SquareSquareLoss,
        Op::SquareExponentialLoss,
        Op::NllLoss,
        Op::MeeLoss,
        Op::ContrastiveLoss,
        Op::MostOffending,
    ];

    /// The loss of this number.
    pub fn from_door(op: u32) -> Option<Op> {
        Self::ALL.get(op as usize).copied()
    }
}

/// What a table of numbers per answer has a row for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Per {
    /// There is one row for all.
    All,
    /// Each correct answer.
    Answer,
    /// Each sample.
    Sample,
}

impl Per {
    /// By its number at the door.
    pub fn from_door(per: u32) -> Option<Per> {
        [Per::All, Per::Answer, Per::Sample].get(per as usize).copied()
    }

    /// How many rows the table has.
    pub fn rows(self, samples: usize, answers: usize) -> usize {
        match self {
            Per::All => 1,
            Per::Answer => answers,
            Per::Sample => samples,
        }
    }
}

/// A batch of samples. Slices that are absent are empty.
pub struct Rows<'a, R> {
    /// How many samples.
    pub rows: usize,
    /// How many answers each has.
    pub columns: usize,
    /// How many coordinates an answer has.
    pub dimensions: usize,
    /// The energies, [rows, columns].
    pub energies: &'a [R],
    /// The correct answers, [rows].
    pub answers: &'a [i32],
    /// How many of a sample's answers are looked at, [rows], or absent: all. So what is behind them, which is there because
    /// others have more, cannot change how a sample's numbers are added up.
    pub lengths: &'a [i32],
    /// Log-weights or margins: rows of [columns], or absent.
    pub table: &'a [R],
    /// What the table has a row for.
    pub per: Per,
    /// Where the answers lie, [columns, dimensions] or [rows, columns, dimensions], or absent.
    pub coordinates: &'a [f64],
    /// Where the losses go, [rows], or absent.
    pub values: &'a mut [R],
    /// Where the most offending incorrect answers go, [rows], or absent.
    pub indices: &'a mut [i32],
    /// Where the gradient goes, [rows, columns], or absent.
    pub grad: &'a mut [R],
    /// The gradient that flows in, [rows], or absent.
    pub upstream: &'a [R],
    /// Multiplies every gradient.
    pub scale: f64,
    /// Only answers farther than this from the correct one are incorrect.
    pub epsilon: f64,
    /// The options.
    pub p: [f64; 2],
}

/// One sample, as a loss sees it.
pub struct Row<'a, R: Real> {
    /// The energies.
    pub x: &'a [R],
    /// Which of them is the correct answer's.
    pub answer: usize,
    /// Its energy.
    pub own: R,
    /// The log-weights or margins, or empty.
    pub table: &'a [R],
    /// The answers' coordinates, or empty.
    pub points: &'a [f64],
    /// How many coordinates an answer has.
    pub dimensions: usize,
    /// Only answers farther than this from the correct one are incorrect.
    pub epsilon: f64,
    /// Where the gradient goes, or empty.
    pub grad: &'a mut [R],
    /// What multiplies the gradient.
    pub scale: f64,
    /// The options.
    pub p: [f64; 2],
    /// Room to work in, for all samples.
    pub work: &'a mut contrastive::Work<R::Lanes>,
}

impl<R: Real> Row<'_, R> {
    /// Adds to the gradient of one answer.
    fn push(&mut self, answer: usize, slope: f64) {
        if let Some(to) = self.grad.get_mut(answer) {
            *to = R::from_f64(to.to_f64() + self.scale * slope);
        }
    }
}

/// Runs `op` over all samples and gives the sum of the losses; NaN, and nothing written, where a slice has not the length
/// that it must have.
pub fn run<L: Lanes>(op: Op, r: &mut Rows<L::Scalar>) -> f64 {
    let size = r.rows.checked_mul(r.columns);
    let cloud = r.columns.checked_mul(r.dimensions);
    let table = r.per.rows(r.rows, r.columns).checked_mul(r.columns);
    let is = |length: usize, n: Option<usize>| n == Some(length);
    let may_be = |length: usize, n: Option<usize>| length == 0 || is(length, n);
    let shared = is(r.coordinates.len(), cloud);
    let fits = is(r.energies.len(), size)
        && r.answers.len() == r.rows
        && may_be(r.lengths.len(), Some(r.rows))
        && may_be(r.table.len(), table)
        && (shared || may_be(r.coordinates.len(), cloud.and_then(|n| n.checked_mul(r.rows))))
        && may_be(r.values.len(), Some(r.rows))
        && may_be(r.indices.len(), Some(r.rows))
        && may_be(r.grad.len(), size)
        && may_be(r.upstream.len(), Some(r.rows));
    if !fits {
        return f64::NAN;
    }
    // where there are no coordinates nothing says that so many could be counted
    let own_cloud = if r.coordinates.is_empty() { 0 } else { cloud.unwrap_or(0) };
    let mut sum = 0.0;
    let mut work = [[L::array(L::Scalar::ZERO); contrastive::BLOCK]; 2];
    for (i, &answer) in r.answers.iter().enumerate() {
        let answer = answer as usize;
        let x = row(r.energies, i, r.columns);
        let grad = row_mut(r.grad, i, r.columns);
        let length = r.lengths.get(i).map_or(x.len(), |&n| x.len().min(n as usize));
        let (x, _) = x.split_at(length);
        let (grad, behind) = grad.split_at_mut(length.min(grad.len()));
        behind.fill(L::Scalar::ZERO);
        let mut index = -1;
        let value = match x.get(answer).copied() {
            // the door's other side lets no such answer in, and a kernel must not guess
            None => {
                grad.fill(L::Scalar::NAN);
                f64::NAN
            }
            Some(own) => {
                let of = |per| match per {
                    Per::All => 0,
                    Per::Answer => answer,
                    Per::Sample => i,
                };
                let mut one = Row {
                    x,
                    answer,
                    own,
                    table: row(r.table, of(r.per), r.columns).get(..length).unwrap_or(&[]),
                    points: if shared { r.coordinates } else { row(r.coordinates, i, own_cloud) },
                    dimensions: r.dimensions,
                    epsilon: r.epsilon,
                    grad,
                    scale: r.scale * factor(r.upstream, i),
                    p: r.p,
                    work: &mut work,
                };
                match op {
                    Op::NllLoss => gibbs::nll_loss::<L>(&mut one),
                    Op::MeeLoss => gibbs::mee_loss::<L>(&mut one),
                    Op::ContrastiveLoss => contrastive::contrastive_loss::<L>(&mut one),
                    Op::MostOffending => {
                        let found = offender::most_offending::<L>(&one);
                        index = found.index.map_or(-1, |k| k as i32);
                        found.energy
                    }
                    _ => offender::loss::<L>(op, &mut one),
                }
            }
        };
        sum += value;
        if let Some(to) = r.values.get_mut(i) {
            *to = L::Scalar::from_f64(value);
        }
        if let Some(to) = r.indices.get_mut(i) {
            *to = index;
        }
    }
    sum
}
