//! Pointwise losses: one loss per element of arrays of one length.
//!
//! - [`errors`]: what is far from its target pays: absolute, squared, and between the two;
//! - [`binary`]: two classes: binary cross-entropy, soft margin, focal loss;
//! - [`likelihood`]: distributions: Kullback-Leibler, Poisson, Gauss;
//! - [`margins`]: hinges: margin ranking, hinge embedding.
//!
//! [`run`] is the one driver. It goes over the arrays in blocks that stay in the first cache; what is left behind the last whole
//! vector goes through a vector filled up with zeros. Of a block, a loss writes the values and the derivatives that are
//! asked for ([`Block::each`]), times the scale; then the driver, once for all losses, applies weights and upstream
//! gradients, hands out the values and adds them up in double precision. All of that in the one loop of each loss was twice the
//! code and no faster (measured). Blocks also let a loss have an exponential or a logarithm prepared: there is one copy of
//! these long functions, and short loops over a block are faster than a long one (see [`functions`]).
use lanes::{F64x2, Lanes, Mask, Real};

pub mod binary;
pub mod errors;
mod functions;
pub mod likelihood;
pub mod margins;

/// The losses by their number at the door; ts/doors/pointwise.ts has the same table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    /// Absolute error.
    L1Loss,
    /// Squared error.
    MseLoss,
    /// Smooth L1. `p`: beta.
    SmoothL1Loss,
    /// Huber. `p`: delta.
    HuberLoss,
    /// Binary cross-entropy of probabilities.
    BceLoss,
    /// Binary cross-entropy of logits.
    BceWithLogitsLoss,
    /// Kullback-Leibler. `p`: logTarget.
    KlDivLoss,
    /// Poisson. `p`: logInput, full, eps.
    PoissonNllLoss,
    /// Soft margin.
    SoftMarginLoss,
    /// Focal. `p`: alpha, gamma.
    SigmoidFocalLoss,
    /// Gauss, with three inputs. `p`: full, eps.
    GaussianNllLoss,
    /// Margin ranking, with three inputs. `p`: margin.
    MarginRankingLoss,
    /// Hinge embedding. `p`: margin.
    HingeEmbeddingLoss,
}

impl Op {
    const ALL: [Op; 13] = [
        Op::L1Loss,
        Op::MseLoss,
        Op::SmoothL1Loss,
        Op::HuberLoss,
        Op::BceLoss,
        Op::BceWithLogitsLoss,
        Op::KlDivLoss,
        Op::PoissonNllLoss,
        Op::SoftMarginLoss,
        Op::SigmoidFocalLoss,
        Op::GaussianNllLoss,
        Op::MarginRankingLoss,
        Op::HingeEmbeddingLoss,
    ];

    /// The loss of this number.
    pub fn from_door(op: u32) -> Option<Op> {
        Self::ALL.get(op as usize).copied()
    }

    /// How many inputs there are.
    pub fn inputs(self) -> usize {
        if matches!(self, Op::GaussianNllLoss | Op::MarginRankingLoss) {
            3
        } else {
            2
        }
    }

    /// With respect to how many of them there is a gradient.
    pub fn gradients(self) -> usize {
        match self {
            Op::PoissonNllLoss | Op::SoftMarginLoss | Op::SigmoidFocalLoss | Op::HingeEmbeddingLoss => 1,
            Op::GaussianNllLoss => 3,
            _ => 2,
        }
    }

    fn run<L: Lanes>(self, block: &mut Block<L>) {
        match self {
            Op::L1Loss => errors::l1_loss(block),
            Op::MseLoss => errors::mse_loss(block),
            Op::SmoothL1Loss => errors::smooth_l1_loss(block),
            Op::HuberLoss => errors::huber_loss(block),
            Op::BceLoss => binary::bce_loss(block),
            Op::BceWithLogitsLoss => binary::bce_with_logits_loss(block),
            Op::KlDivLoss => likelihood::kl_div_loss(block),
            Op::PoissonNllLoss => likelihood::poisson_nll_loss(block),
            Op::SoftMarginLoss => binary::soft_margin_loss(block),
            Op::SigmoidFocalLoss => binary::sigmoid_focal_loss(block),
            Op::GaussianNllLoss => likelihood::gaussian_nll_loss(block),
            Op::MarginRankingLoss => margins::margin_ranking_loss(block),
            Op::HingeEmbeddingLoss => margins::hinge_embedding_loss(block),
        }
    }
}

/// All elements of a call. Slices that are absent are empty.
pub struct Elements<'a, R> {
    /// How many.
    pub count: usize,
    /// The inputs in their order.
    pub inputs: [&'a [R]; 3],
    /// A factor of value and gradients, or absent.
    pub weight: &'a [R],
    /// A factor of the positive class, or absent.
    pub pos_weight: &'a [R],
    /// Where the single losses go, or absent.
    pub values: &'a mut [R],
    /// Where the gradients with respect to the inputs go; each may be absent.
    pub grads: [&'a mut [R]; 3],
    /// The gradient that flows in, one number per loss, or absent.
    pub upstream: &'a [R],
    /// Multiplies every gradient.
    pub scale: f64,
    /// The options.
    pub p: [f64; 3],
    /// Room for [`ROOM`] arrays of a block, whatever they hold.
    pub room: &'a mut [R],
}

/// How many vectors a block has at most.
const BLOCK: usize = 64;
/// Arrays of a block that a call needs: one for the values, the others for what losses prepare.
const ROOM: usize = 4;
/// So many numbers are added up at a time: a call is the sum of the calls of its pieces of this length, to the bit (ts/core.ts makes
/// use of it).
pub const PIECE: usize = 16384;

/// A block, as a loss sees it.
pub struct Block<'a, L: Lanes> {
    /// How many vectors it has.
    n: usize,
    inputs: [&'a [L::Array]; 3],
    pos_weight: &'a [L::Array],
    p: [f64; 3],
    value: &'a mut [L::Array; BLOCK],
    /// Where the derivatives with respect to the inputs go, times `scale`; empty where one is not asked for.
    slopes: [&'a mut [L::Array]; 3],
    scale: L,
    /// Room for what a loss prepares.
    work: &'a mut [[L::Array; BLOCK]; ROOM - 1],
}

impl<'a, L: Lanes> Block<'a, L> {
    /// An option as a vector.
    #[inline(always)]
    fn p(&self, i: usize) -> L {
        L::of(self.p.get(i).copied().unwrap_or(0.0))
    }

    /// Whether an option that is a flag is set.
    #[inline(always)]
    fn flag(&self, i: usize) -> bool {
        self.p.get(i) == Some(&1.0)
    }

    /// The first `I` inputs, of just the length of the block, so that going over them needs no more checks.
    #[inline(always)]
    fn first_inputs<const I: usize>(&self) -> Option<[&'a [L::Array]; I]> {
        let mut inputs: [&'a [L::Array]; I] = [&[]; I];
        for (to, from) in inputs.iter_mut().zip(self.inputs) {
            *to = from.get(..self.n)?;
        }
        Some(inputs)
    }

    /// Goes over the block: from the first `I` inputs and the first `W` of what was prepared to the value and the derivatives
    /// with respect to the first `G` inputs.
    #[inline(always)]
    fn each<const I: usize, const W: usize, const G: usize>(
        &mut self,
        loss: impl Fn([L; I], [L; W]) -> (L, [L; G]),
    ) {
        let Some(inputs) = self.first_inputs::<I>() else { return };
        let Some(work) = self.work.first_chunk::<W>() else { return };
        let Some(slopes) = self.slopes.first_chunk_mut::<G>() else { return };
        for i in 0..self.n.min(BLOCK) {
            let (v, derivatives) = loss(inputs.map(|s| at(s, i)), work.each_ref().map(|s| at(s, i)));
            if let Some(to) = self.value.get_mut(i) {
                v.store(to);
            }
            for (slope, d) in slopes.iter_mut().zip(derivatives) {
                if let Some(to) = slope.get_mut(i) {
                    (self.scale * d).store(to);
                }
            }
        }
    }

    /// Prepares work array `k`: a function of a number for each element, from the inputs and the first `W` of what was prepared already.
    #[inline(always)]
    fn prepare<const I: usize, const W: usize>(
        &mut self,
        k: usize,
        function: impl FnOnce(&mut [L::Array], &mut [L::Array]),
        argument: impl Fn([L; I], [L; W]) -> L,
    ) {
        self.put::<I, W>(argument);
        let (x, to) =
            (self.value.get_mut(..self.n), self.work.get_mut(k).and_then(|to| to.get_mut(..self.n)));
        if let (Some(x), Some(to)) = (x, to) {
            function(x, to);
        }
    }

    /// Puts numbers where the values will be.
    #[inline(always)]
    fn put<const I: usize, const W: usize>(&mut self, argument: impl Fn([L; I], [L; W]) -> L) {
        let (Some(inputs), Some(work)) = (self.first_inputs::<I>(), self.work.first_chunk::<W>()) else {
            return;
        };
        for (i, to) in self.value.iter_mut().take(self.n).enumerate() {
            argument(inputs.map(|s| at(s, i)), work.each_ref().map(|s| at(s, i))).store(to);
        }
    }

    /// Prepares e = exp(-|x|) and log(1 + e) in the first two work arrays, x being the first input.
    #[inline(always)]
    fn prepare_logistic(&mut self) {
        let ([x, ..], [e, tail, ..]) = (self.inputs, &mut *self.work);
        functions::logistic::<L>(x, e, tail);
    }

    /// The same of an x that is computed.
    #[inline(always)]
    fn prepare_logistic_of<const I: usize>(&mut self, argument: impl Fn([L; I]) -> L) {
        self.put(|x, []| argument(x));
        let [e, tail, ..] = &mut *self.work;
        functions::logistic::<L>(self.value.get(..self.n).unwrap_or(&[]), e, tail);
    }
}

/// The vector at place `i`, which is there.
#[inline(always)]
fn at<L: Lanes>(s: &[L::Array], i: usize) -> L {
    s.get(i).map_or(L::zero(), L::from_array)
}

/// The arrays of one block; absent ones are empty.
struct Arrays<'a, L: Lanes> {
    inputs: [&'a [L::Array]; 3],
    weight: &'a [L::Array],
    pos_weight: &'a [L::Array],
    upstream: &'a [L::Array],
    values: &'a mut [L::Array],
    grads: [&'a mut [L::Array]; 3],
}

impl<'a, L: Lanes> Arrays<'a, L> {
    /// Takes off the first `n` vectors of those that are there.
    #[inline(always)]
    fn next(&mut self, n: usize) -> Arrays<'a, L> {
        let take = |s: &mut &'a [L::Array]| s.split_off(..n).unwrap_or(&[]);
        let take_mut = |s: &mut &'a mut [L::Array]| s.split_off_mut(..n).unwrap_or(&mut []);
        Arrays {
            inputs: self.inputs.each_mut().map(take),
            weight: take(&mut self.weight),
            pos_weight: take(&mut self.pos_weight),
            upstream: take(&mut self.upstream),
            values: take_mut(&mut self.values),
            grads: self.grads.each_mut().map(take_mut),
        }
    }
}

/// What the blocks of a call have in common, and their room, used by one after the other.
struct Pass<'a, L: Lanes> {
    op: Op,
    p: [f64; 3],
    scale: L,
    /// Of the losses: the sums of the piece that is under way, by the place of a vector in its block, and that of the pieces before it.
    sums: [F64x2; 2],
    total: f64,
    value: &'a mut [L::Array; BLOCK],
    work: &'a mut [[L::Array; BLOCK]; ROOM - 1],
}

impl<L: Lanes> Pass<'_, L> {
    /// Before the block that begins with vector `first`.
    #[inline(always)]
    fn begin(&mut self, first: usize) {
        if first > 0 && (first * L::COUNT).is_multiple_of(PIECE) {
            self.end();
        }
    }

    /// After a piece.
    fn end(&mut self) {
        let [even, odd] = core::mem::replace(&mut self.sums, [F64x2::zero(); 2]);
        self.total += (even + odd).sum();
    }

    /// A block of `n` vectors, of which the last has `lanes` numbers.
    #[inline(never)]
    fn block(&mut self, n: usize, lanes: usize, mut a: Arrays<L>) {
        self.op.run(&mut Block {
            n,
            inputs: a.inputs,
            pos_weight: a.pos_weight,
            p: self.p,
            value: self.value,
            slopes: a.grads.each_mut().map(|grad| &mut **grad),
            scale: self.scale,
            work: self.work,
        });
        let Some(value) = self.value.get_mut(..n) else { return };
        if !a.weight.is_empty() || !a.upstream.is_empty() {
            multiply::<L>(value, a.weight);
            for grad in a.grads {
                multiply::<L>(grad, a.weight);
                multiply::<L>(grad, a.upstream);
            }
        }
        for (to, value) in a.values.iter_mut().zip(value.iter()) {
            L::from_array(value).store(to);
        }
        if lanes < L::COUNT {
            // the losses of what the vector was filled up with
            if let Some(last) = value.last_mut() {
                L::load_partial(last.as_ref().get(..lanes).unwrap_or(&[]), L::Scalar::ZERO).store(last);
            }
        }
        let [mut even, mut odd] = self.sums;
        let (pairs, rest) = value.as_chunks::<2>();
        for [a, b] in pairs {
            even = L::from_array(a).add_to_f64(even);
            odd = L::from_array(b).add_to_f64(odd);
        }
        for v in rest {
            even = L::from_array(v).add_to_f64(even);
        }
        self.sums = [even, odd];
    }
}

/// Multiplies by factors, where there are any.
#[inline(never)]
fn multiply<L: Lanes>(to: &mut [L::Array], factors: &[L::Array]) {
    for (to, factor) in to.iter_mut().zip(factors) {
        (L::from_array(factor) * L::from_array(to)).store(to);
    }
}

/// The one vector behind the whole ones, filled up with zeros; nothing where the array is absent.
fn tail<L: Lanes>(s: &[L::Scalar]) -> Option<L::Array> {
    (!s.is_empty()).then(|| L::load_partial(L::chunks(s).1, L::Scalar::ZERO).to_array())
}

/// Runs `op` over all elements and gives the sum of the losses; NaN, and nothing written, where a slice has not the length that
/// it must have.
pub fn run<L: Lanes>(op: Op, e: &mut Elements<L::Scalar>) -> f64 {
    let may_be = |length: usize| length == 0 || length == e.count;
    let fits = e.inputs.iter().enumerate().all(|(i, s)| s.len() == if i < op.inputs() { e.count } else { 0 })
        && [e.weight, e.pos_weight, e.upstream].iter().all(|s| may_be(s.len()))
        && may_be(e.values.len())
        && e.grads
            .iter()
            .enumerate()
            .all(|(i, s)| s.is_empty() || (s.len() == e.count && i < op.gradients()));
    let room = L::chunks_mut(e.room).0.as_chunks_mut::<BLOCK>().0;
    let (true, Some([value, work @ ..])) = (fits, room.first_chunk_mut::<ROOM>()) else { return f64::NAN };
    let mut pass = Pass::<L> {
        op,
        p: e.p,
        scale: L::splat(L::Scalar::from_f64(e.scale)),
        sums: [F64x2::zero(); 2],
        total: 0.0,
        value,
        work,
    };
    let (whole, left) = (e.count / L::COUNT, e.count % L::COUNT);
    let mut rest = Arrays::<L> {
        inputs: e.inputs.map(|s| L::chunks(s).0),
        weight: L::chunks(e.weight).0,
        pos_weight: L::chunks(e.pos_weight).0,
        upstream: L::chunks(e.upstream).0,
        values: L::chunks_mut(e.values).0,
        grads: e.grads.each_mut().map(|s| L::chunks_mut(s).0),
    };
    for first in (0..whole).step_by(BLOCK) {
        pass.begin(first);
        let n = BLOCK.min(whole - first);
        pass.block(n, L::COUNT, rest.next(n));
    }
    if left > 0 {
        let inputs = e.inputs.map(tail::<L>);
        let factors = [e.weight, e.pos_weight, e.upstream].map(tail::<L>);
        let mut values = tail::<L>(e.values);
        let mut grads = e.grads.each_ref().map(|s| tail::<L>(s));
        let [weight, pos_weight, upstream] = factors.each_ref().map(Option::as_slice);
        let arrays = Arrays {
            inputs: inputs.each_ref().map(Option::as_slice),
            weight,
            pos_weight,
            upstream,
            values: values.as_mut_slice(),
            grads: grads.each_mut().map(Option::as_mut_slice),
        };
        pass.begin(whole);
        pass.block(1, left, arrays);
        let outputs = [&mut *e.values].into_iter().chain(e.grads.iter_mut().map(|s| &mut **s));
        for (to, from) in outputs.zip([values].into_iter().chain(grads)) {
            if let Some(from) = from {
                L::from_array(&from).store_partial(L::chunks_mut(to).1);
            }
        }
    }
    pass.end();
    pass.total
}

/// What the numbers of an input must be, by its number at the door.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Domain {
    /// From 0 to 1, or NaN.
    Probability,
    /// 1 or -1.
    Sign,
    /// From 0 on, or NaN.
    NotNegative,
}

impl Domain {
    const ALL: [Domain; 3] = [Domain::Probability, Domain::Sign, Domain::NotNegative];

    /// The domain of this number.
    pub fn from_door(domain: u32) -> Option<Domain> {
        Self::ALL.get(domain as usize).copied()
    }

    /// The place of the first number that is not in the domain.
    pub fn find_invalid<L: Lanes>(self, s: &[L::Scalar]) -> Option<usize> {
        let (low, high) = match self {
            Domain::Probability => (L::zero(), L::one()),
            Domain::Sign => (L::one(), L::one()),
            Domain::NotNegative => (L::zero(), L::splat(L::Scalar::INFINITY)),
        };
        let is_sign = self == Domain::Sign;
        let is_invalid = |x: L| {
            // a NaN is no sign, and as good as any other number
            let x = if is_sign { L::zero().max(x.abs()) } else { x };
            (x.lt(low) | high.lt(x)).any()
        };
        let (whole, _) = L::chunks(s);
        let first = whole.iter().position(|x| is_invalid(L::from_array(x))).unwrap_or(whole.len()) * L::COUNT;
        let place = s.get(first..)?.iter().position(|x| is_invalid(L::splat(*x)))?;
        Some(first + place)
    }
}
