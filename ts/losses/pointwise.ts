/** The pointwise losses: one loss per element of inputs that have, or broadcast to, one shape. */
import { door, type Plan } from "#door/pointwise";
import {
  broadcastInputs,
  type Call,
  type Domain,
  define,
  type Family,
  type InputRow,
  sameRank,
} from "../define.js";
import { shapeText, wrongShape } from "../errors.js";
import { broadcastStrides, type Operand, sameShape, sizeOf } from "../input.js";
import { array, flag, number } from "../options.js";
import type { PointwiseReference } from "../reference/pointwise.js";
import * as reference from "../reference/pointwise.js";
import type { Input, Loss } from "../types.js";

/** The shapes in which the inputs are broadcast, where those are not their own: with axes of length 1 at the end. */
type Shapes = readonly (readonly number[])[] | undefined;

/**
 * The family. What differs between its losses beside their formulas: shapes that are refused although they broadcast together, or are
 * taken with other axes; an input whose numbers are checked.
 */
const pointwise = /* @__NO_SIDE_EFFECTS__ */ (
  shapesOf?: (call: Call) => Shapes,
  domain?: Domain,
): Family<Plan, PointwiseReference> => ({
  door,
  plan(call) {
    const { inputs } = call;
    const shapes = shapesOf?.(call);
    const shape = broadcastInputs(call, inputs.length, shapes);
    call.losses(shape);
    if (call.reduction === "batchmean") call.divisor = call.input(0).shape[0] ?? 1;
    call.domain = domain;
    for (let i = 0; i < 3; i++) {
      // not past the end: that alone is 3 % of a small call (measured)
      const slot = call.take(i < inputs.length ? inputs[i] : undefined, shape, shapes?.[i]);
      if (domain?.input === i) call.checked = slot;
    }
    const { weight, posWeight } = call.options as { weight?: Operand; posWeight?: Operand };
    takeFactors(call, weight, shape);
    takeFactors(call, posWeight, shape);
    call.valueSlot();
    for (let i = 0; i < 3; i++) call.gradientSlot(i, shape, shapes?.[i]);
    call.upstreamSlot();
    return { count: sizeOf(shape) };
  },
  js: reference.runPointwise,
});

/** The inputs have one shape. */
function same(call: Call): undefined {
  const { name, shape } = call.input(0);
  if (!sameShape(call.input(1).shape, shape))
    wrongShape(call.where, call.input(1), `the shape of ${name}: ${shapeText(shape)}`);
}

/** The target broadcasts to the input. */
function likeInput(call: Call): undefined {
  checkBroadcast(call, call.input(1), call.input(0).shape);
}

/** The inputs have the same number of axes. */
function ofSameRank(call: Call): undefined {
  sameRank(call, 3);
}

/** An option that is an array of factors. */
function takeFactors(call: Call, given: Operand | undefined, shape: readonly number[]): void {
  if (given !== undefined) checkBroadcast(call, given, shape);
  call.take(given, shape);
}

/** Refuses an array whose shape does not broadcast to this one. */
function checkBroadcast(call: Call, given: Operand, shape: readonly number[]): void {
  if (broadcastStrides(given.shape, shape) === undefined)
    wrongShape(call.where, given, `a shape that broadcasts to ${shapeText(shape)}`);
}

const INPUT: InputRow = { name: "input", differentiable: true };
const INPUT_AND_TARGET: readonly InputRow[] = [INPUT, { name: "target", differentiable: true }];
const INPUT_AND_FIXED_TARGET: readonly InputRow[] = [INPUT, { name: "target" }];

/**
 * Absolute error: `|x - t|` per element.
 *
 * - `input`, `target`: any shapes that broadcast together. Both differentiable: `sign(x - t)` and its negative; 0 where they
 *   are equal.
 *
 * @throws RangeError `SHAPE`: shapes that do not broadcast; TypeError: wrong kinds.
 * @see PyTorch `nn.L1Loss`.
 * @example
 * ```ts
 * import { l1Loss } from "perdida";
 * console.log(l1Loss([1, 2, 3], [1, 4, 7])); // 2
 * ```
 */
export const l1Loss: Loss<[input: Input, target: Input], "input" | "target"> = /* @__PURE__ */ define({
  name: "l1Loss",
  inputs: INPUT_AND_TARGET,
  family: pointwise(),
  reference: reference.l1Loss,
});

/**
 * Squared error: `(x - t)^2` per element.
 *
 * - `input`, `target`: any shapes that broadcast together. Both differentiable: `2 (x - t)` and its negative.
 *
 * @throws RangeError `SHAPE`: shapes that do not broadcast; TypeError: wrong kinds.
 * @see PyTorch `nn.MSELoss`.
 * @example
 * ```ts
 * import { mseLoss } from "perdida";
 * const { value, grads } = mseLoss.valueAndGrad([1, 2], [0, 4]);
 * console.log(value); // 2.5
 * console.log(grads.input.data.join()); // "1,-2"
 * ```
 */
export const mseLoss: Loss<[input: Input, target: Input], "input" | "target"> = /* @__PURE__ */ define({
  name: "mseLoss",
  inputs: INPUT_AND_TARGET,
  family: pointwise(),
  reference: reference.mseLoss,
});

/** Options of {@link smoothL1Loss}. */
export interface SmoothL1Options {
  /** Where the parabola becomes a line, from 0 (then it is {@link l1Loss}) on. Default 1. */
  beta?: number | undefined;
}

/**
 * Smooth L1: a parabola near 0 and a line of slope 1 beyond. With d = x - t: `d^2 / (2 beta)` where `|d| < beta`, else
 * `|d| - beta / 2`. {@link huberLoss} with delta = beta is beta times this.
 *
 * - `input`, `target`: any shapes that broadcast together. Both differentiable: `clamp(d / beta, -1, 1)` and its negative.
 *
 * @throws RangeError `SHAPE`: shapes that do not broadcast; `NUMBER`: a negative beta; TypeError: wrong kinds.
 * @see PyTorch `nn.SmoothL1Loss`; Girshick, Fast R-CNN, 2015, section 2.3.
 * @example
 * ```ts
 * import { smoothL1Loss } from "perdida";
 * console.log(smoothL1Loss([0.5, 3], [0, 0], { reduction: "none" }).data.join()); // "0.125,2.5"
 * ```
 */
export const smoothL1Loss: Loss<[input: Input, target: Input], "input" | "target", SmoothL1Options> =
  /* @__PURE__ */ define({
    name: "smoothL1Loss",
    inputs: INPUT_AND_TARGET,
    options: { beta: number(1, { least: 0 }) },
    family: pointwise(),
    reference: reference.smoothL1Loss,
  });

/** Options of {@link huberLoss}. */
export interface HuberOptions {
  /** Where the parabola becomes a line, and that line's slope; above 0. Default 1. */
  delta?: number | undefined;
}

/**
 * Huber loss: a parabola near 0 and a line of slope delta beyond. With d = x - t: `d^2 / 2` where `|d| <= delta`, else
 * `delta (|d| - delta / 2)`.
 *
 * - `input`, `target`: any shapes that broadcast together. Both differentiable: `clamp(d, -delta, delta)` and its negative.
 *
 * @throws RangeError `SHAPE`: shapes that do not broadcast; `NUMBER`: a delta that is not positive; TypeError: wrong kinds.
 * @see PyTorch `nn.HuberLoss`; Huber, Robust Estimation of a Location Parameter, 1964.
 * @example
 * ```ts
 * import { huberLoss } from "perdida";
 * console.log(huberLoss([1, 5], [0, 0], { delta: 2, reduction: "none" }).data.join()); // "0.5,8"
 * ```
 */
export const huberLoss: Loss<[input: Input, target: Input], "input" | "target", HuberOptions> =
  /* @__PURE__ */ define({
    name: "huberLoss",
    inputs: INPUT_AND_TARGET,
    options: { delta: number(1, { above: 0 }) },
    family: pointwise(),
    reference: reference.huberLoss,
  });

/** Options of {@link bceLoss}. */
export interface BceOptions {
  /** Factors of the losses, in a shape that broadcasts to the input's. Default: all 1. */
  weight?: Input | undefined;
}

/**
 * Binary cross-entropy between probabilities and targets: `-w (t log x + (1 - t) log(1 - x))` per element. Each logarithm is
 * taken as -100 where it is less, so that the loss is finite at 0 and 1. For logits use {@link bceWithLogitsLoss}: it is
 * exact where a sigmoid saturates.
 *
 * - `input`: probabilities in [0, 1], any shape. Differentiable: `w (x - t) / max(x (1 - x), 1e-12)`.
 * - `target`: the same shape, usually in [0, 1] (PyTorch refuses others). Differentiable: `w (log(1 - x) - log x)`, with the
 *   logarithms of the loss: at most 100 w, where PyTorch's gradient is infinite at an input of 0 or 1.
 *
 * @throws RangeError `RANGE`: an input outside [0, 1] (NaN is none: it flows through; PyTorch refuses it); `SHAPE`: shapes that differ,
 * a weight that does not broadcast; TypeError: wrong kinds.
 * @see PyTorch `nn.BCELoss`.
 * @example
 * ```ts
 * import { bceLoss } from "perdida";
 * const { value, grads } = bceLoss.valueAndGrad([0.5, 0.9], [0, 1]);
 * console.log(value.toFixed(4)); // "0.3993"
 * console.log(grads.input.data[0]); // 1
 * ```
 */
export const bceLoss: Loss<[input: Input, target: Input], "input" | "target", BceOptions> =
  /* @__PURE__ */ define({
    name: "bceLoss",
    inputs: INPUT_AND_TARGET,
    options: { weight: array() },
    family: pointwise(same, {
      input: 0,
      kind: 0,
      holds: (x) => !(x < 0 || x > 1),
      expected: "a probability in [0, 1]",
    }),
    reference: reference.bceLoss,
  });

/** Options of {@link bceWithLogitsLoss}. */
export interface BceWithLogitsOptions {
  /** Factors of the losses, in a shape that broadcasts to the input's. Default: all 1. */
  weight?: Input | undefined;
  /**
   * Factors of the positive term, usually one per class: above 1 they favour recall. They broadcast to the input's shape.
   * Default: all 1.
   */
  posWeight?: Input | undefined;
}

/**
 * Binary cross-entropy between logits and targets: `-w (p t log s(x) + (1 - t) log s(-x))` per element, with s the sigmoid
 * and p the posWeight. Nothing overflows, whatever the logit; where a term has no share (`t = 1` or `t = 0`) it adds nothing
 * even at an infinite logit (where PyTorch gives NaN).
 *
 * - `input`: logits, any shape. Differentiable: `w (s(x) (p t + 1 - t) - p t)`.
 * - `target`: the same shape, usually in [0, 1]. Differentiable: `w (log s(-x) - p log s(x))`.
 *
 * @throws RangeError `SHAPE`: shapes that differ, a weight or posWeight that does not broadcast; TypeError: wrong kinds.
 * @see PyTorch `nn.BCEWithLogitsLoss`.
 * @example
 * ```ts
 * import { bceWithLogitsLoss } from "perdida";
 * const { value, grads } = bceWithLogitsLoss.valueAndGrad([0, 1000], [1, 1]);
 * console.log(value.toFixed(4)); // "0.3466"
 * console.log(grads.input.data.join()); // "-0.25,0"
 * ```
 */
export const bceWithLogitsLoss: Loss<
  [input: Input, target: Input],
  "input" | "target",
  BceWithLogitsOptions
> = /* @__PURE__ */ define({
  name: "bceWithLogitsLoss",
  inputs: INPUT_AND_TARGET,
  options: { weight: array(), posWeight: array() },
  family: pointwise(same),
  reference: reference.bceWithLogitsLoss,
});

/** Options of {@link klDivLoss}. */
export interface KlDivOptions {
  /** Whether the target holds log-probabilities too. Default false. */
  logTarget?: boolean | undefined;
}

/**
 * Kullback-Leibler divergence of a target distribution from an input of log-probabilities: `t (log t - x)` per element, or
 * `exp(t) (t - x)` with `logTarget`. Where the target's probability is 0 the loss is 0. Summed over the classes it is the divergence:
 * the reduction `"batchmean"` gives its mean over the input's first axis, while `"mean"` divides by the number of elements, as PyTorch.
 * Of one distribution alone, [C], that is `"sum"`. Probabilities for an input are not noticed; a divergence below 0 tells of them.
 *
 * - `input`: log-probabilities; `target`: probabilities, or log-probabilities with `logTarget`; any shapes that broadcast together.
 *   Both differentiable: `-t` and `log t + 1 - x` (infinite where t is 0; PyTorch: NaN), or `-exp(t)` and `exp(t) (t - x + 1)`.
 *
 * @throws RangeError `SHAPE`: shapes that do not broadcast; TypeError: wrong kinds.
 * @see PyTorch `nn.KLDivLoss`; Kullback and Leibler, On Information and Sufficiency, 1951.
 * @example
 * ```ts
 * import { klDivLoss, logSoftmax } from "perdida";
 * const x = logSoftmax([[0, 0], [0, 0]]);
 * console.log(klDivLoss(x, [[1, 0], [0.5, 0.5]], { reduction: "batchmean" }).toFixed(4)); // "0.3466"
 * ```
 */
export const klDivLoss: Loss<[input: Input, target: Input], "input" | "target", KlDivOptions, "batchmean"> =
  /* @__PURE__ */ define({
    name: "klDivLoss",
    inputs: INPUT_AND_TARGET,
    options: { logTarget: flag(false) },
    reductions: ["batchmean"],
    family: pointwise(),
    reference: reference.klDivLoss,
  });

/** Options of {@link poissonNllLoss}. */
export interface PoissonNllOptions {
  /** Whether the input is the logarithm of the expected count. Default true. */
  logInput?: boolean | undefined;
  /** Whether Stirling's approximation of log t! is added, for t > 1. Default false. */
  full?: boolean | undefined;
  /** Added to the input before its logarithm is taken, where `logInput` is false. Default 1e-8. */
  eps?: number | undefined;
}

/**
 * Negative log-likelihood of counts under a Poisson distribution: `exp(x) - t x` per element, or `x - t log(x + eps)` without
 * `logInput`. The term log t! is left out, or with `full` approximated by `t log t - t + log(2 pi t) / 2` where t > 1.
 *
 * - `input`: the logarithm of the expected count (or the count itself), `target`: counts; any shapes that broadcast together.
 *   The input is differentiable: `exp(x) - t`, or `1 - t / (x + eps)`.
 *
 * @throws RangeError `SHAPE`: shapes that do not broadcast; `NUMBER`: a negative eps; TypeError: wrong kinds.
 * @see PyTorch `nn.PoissonNLLLoss`.
 * @example
 * ```ts
 * import { poissonNllLoss } from "perdida";
 * console.log(poissonNllLoss([0, 0], [1, 3])); // 1
 * console.log(poissonNllLoss([2], [3], { logInput: false, full: true }).toFixed(4)); // "1.6846"
 * ```
 */
export const poissonNllLoss: Loss<[input: Input, target: Input], "input", PoissonNllOptions> =
  /* @__PURE__ */ define({
    name: "poissonNllLoss",
    inputs: INPUT_AND_FIXED_TARGET,
    options: { logInput: flag(true), full: flag(false), eps: number(1e-8, { least: 0 }) },
    family: pointwise(),
    reference: reference.poissonNllLoss,
  });

/**
 * Soft margin (logistic) loss: `log(1 + exp(-t x))` per element, without overflow (PyTorch gives Infinity, with gradient NaN, where
 * exp(-t x) overflows).
 *
 * - `input`: scores, any shape. Differentiable: `-t s(-t x)`, with s the sigmoid.
 * - `target`: 1 or -1 (other numbers are taken as they are), in a shape that broadcasts to the input's.
 *
 * @throws RangeError `SHAPE`: a target that does not broadcast; TypeError: wrong kinds.
 * @see PyTorch `nn.SoftMarginLoss`.
 * @example
 * ```ts
 * import { softMarginLoss } from "perdida";
 * console.log(softMarginLoss([0, -1000], [1, 1], { reduction: "none" }).data[1]); // 1000
 * ```
 */
export const softMarginLoss: Loss<[input: Input, target: Input], "input"> = /* @__PURE__ */ define({
  name: "softMarginLoss",
  inputs: INPUT_AND_FIXED_TARGET,
  family: pointwise(likeInput),
  reference: reference.softMarginLoss,
});

/** Options of {@link sigmoidFocalLoss}. */
export interface SigmoidFocalOptions {
  /** The weight of the positive class, up to 1, that of the negative one being `1 - alpha`; below 0: no weights. Default 0.25. */
  alpha?: number | undefined;
  /** How strongly what is predicted well already is turned down; from 0 (not at all) on. Default 2. */
  gamma?: number | undefined;
}

/**
 * Focal loss on logits: binary cross-entropy that pays less attention to what is predicted well, `a q^gamma BCE(x, t)` per
 * element, with s the sigmoid, `q = s(x) (1 - t) + s(-x) t` how far the prediction is off and `a = alpha t + (1 - alpha) (1 - t)`.
 * With gamma 0 and alpha -1 it is {@link bceWithLogitsLoss}. Nothing overflows; an infinite logit has the loss that it tends to, 0 or
 * Infinity (torchvision: NaN), or NaN where alpha gives it no weight.
 *
 * - `input`: logits, any shape. Differentiable: `a (q^gamma (s(x) - t) + gamma q^(gamma - 1) (1 - 2 t) s(x) s(-x) BCE(x, t))`.
 * - `target`: the same shape, 0 or 1 or between.
 *
 * The default reduction is `"mean"` as everywhere here; torchvision's is `"none"`.
 *
 * @throws RangeError `SHAPE`: shapes that differ; `NUMBER`: an alpha above 1, a negative gamma; TypeError: wrong kinds.
 * @see torchvision `ops.sigmoid_focal_loss`; Lin, Goyal, Girshick, He, Dollár, Focal Loss for Dense Object Detection, 2017.
 * @example
 * ```ts
 * import { sigmoidFocalLoss } from "perdida";
 * console.log(sigmoidFocalLoss([0, 4], [1, 1], { reduction: "sum" }).toFixed(4)); // "0.0433"
 * ```
 */
export const sigmoidFocalLoss: Loss<[input: Input, target: Input], "input", SigmoidFocalOptions> =
  /* @__PURE__ */ define({
    name: "sigmoidFocalLoss",
    inputs: INPUT_AND_FIXED_TARGET,
    options: { alpha: number(0.25, { most: 1 }), gamma: number(2, { least: 0 }) },
    family: pointwise(same),
    reference: reference.sigmoidFocalLoss,
  });

/** Options of {@link gaussianNllLoss}. */
export interface GaussianNllOptions {
  /** Whether the constant `log(2 pi) / 2` is added. Default false. */
  full?: boolean | undefined;
  /** The least variance that is computed with. Default 1e-6. */
  eps?: number | undefined;
}

/** A variance per element, or per row: then its last axis is missing or of length 1. */
function alignVariance(call: Call): Shapes {
  const [x, t, variance] = call.inputs as [Operand, Operand, Operand];
  const { shape } = variance;
  if (shape.length === 0 || sameShape(shape, x.shape)) return undefined;
  const rows = x.shape.slice(0, -1);
  const column = [...rows, 1];
  if (!(sameShape(shape, rows) || sameShape(shape, column)))
    wrongShape(call.where, variance, `a number or ${[x.shape, column, rows].map(shapeText).join(" or ")}`);
  return [x.shape, t.shape, column];
}

/**
 * Negative log-likelihood of targets under Gaussians: `(log v + (x - t)^2 / v) / 2` per element, with `v = max(variance, eps)`.
 * With `full` the constant `log(2 pi) / 2` is added.
 *
 * - `input`: expectations, `target`: samples; any shapes that broadcast together.
 * - `variance`: not negative: the input's shape, or one for each row of it (the last axis missing, or of length 1), or a number for
 *   all.
 *
 * All three are differentiable: `(x - t) / v`, its negative, and `(1 - (x - t)^2 / v) / (2 v)`. The floor eps is passed over in
 * the gradient, so that a variance below it is still pulled up.
 *
 * @throws RangeError `RANGE`: a negative variance; `SHAPE`: shapes that do not fit; `NUMBER`: a negative eps; TypeError: wrong kinds.
 * @see PyTorch `nn.GaussianNLLLoss`; Nix and Weigend, Estimating the Mean and Variance of the Target Probability Distribution, 1994.
 * @example
 * ```ts
 * import { gaussianNllLoss } from "perdida";
 * console.log(gaussianNllLoss([1, 2], [0, 2], 1)); // 0.25
 * ```
 */
export const gaussianNllLoss: Loss<
  [input: Input, target: Input, variance: Input],
  "input" | "target" | "variance",
  GaussianNllOptions
> = /* @__PURE__ */ define({
  name: "gaussianNllLoss",
  inputs: [...INPUT_AND_TARGET, { name: "variance", differentiable: true }],
  options: { full: flag(false), eps: number(1e-6, { least: 0 }) },
  family: pointwise(alignVariance, {
    input: 2,
    kind: 2,
    holds: (x) => !(x < 0),
    expected: "a variance: 0 or more",
  }),
  reference: reference.gaussianNllLoss,
});

/** Options of {@link marginRankingLoss}. */
export interface MarginRankingOptions {
  /** How far apart the two scores must be. Default 0. */
  margin?: number | undefined;
}

/**
 * Margin ranking loss: the first score must be above the second by a margin where the target is 1, below it where it is -1,
 * `max(0, margin - t (x1 - x2))` per element.
 *
 * - `input1`, `input2`: scores. Differentiable: `-t` and `t` where the loss is above 0 or at the kink, else 0.
 * - `target`: 1 or -1 (other numbers are taken as they are).
 *
 * The three have the same number of axes and broadcast together.
 *
 * @throws RangeError `RANK`, `SHAPE`: shapes that do not fit; TypeError: wrong kinds.
 * @see PyTorch `nn.MarginRankingLoss`.
 * @example
 * ```ts
 * import { marginRankingLoss } from "perdida";
 * const { value, grads } = marginRankingLoss.valueAndGrad([1, 3], [2, 1], [1, 1], { reduction: "sum" });
 * console.log(value); // 1
 * console.log(grads.input1.data.join()); // "-1,0"
 * ```
 */
export const marginRankingLoss: Loss<
  [input1: Input, input2: Input, target: Input],
  "input1" | "input2",
  MarginRankingOptions
> = /* @__PURE__ */ define({
  name: "marginRankingLoss",
  inputs: [
    { name: "input1", differentiable: true },
    { name: "input2", differentiable: true },
    { name: "target" },
  ],
  options: { margin: number(0) },
  family: pointwise(ofSameRank),
  reference: reference.marginRankingLoss,
});

/** Options of {@link hingeEmbeddingLoss}. */
export interface HingeEmbeddingOptions {
  /** How far apart what is not alike must be. Default 1. */
  margin?: number | undefined;
}

/**
 * Hinge embedding loss on distances: what is alike is pulled together, what is not is pushed apart as far as the margin:
 * `x` where the target is 1, `max(0, margin - x)` where it is -1, per element.
 *
 * - `input`: distances. Differentiable: 1 where the target is 1; where it is -1, -1 up to the margin and 0 beyond.
 * - `target`: 1 or -1.
 *
 * Their shapes broadcast together.
 *
 * @throws RangeError `RANGE`: a target other than 1 and -1 (PyTorch adds both terms for it); `SHAPE`: shapes that do not broadcast;
 * TypeError: wrong kinds.
 * @see PyTorch `nn.HingeEmbeddingLoss`.
 * @example
 * ```ts
 * import { hingeEmbeddingLoss } from "perdida";
 * console.log(hingeEmbeddingLoss([0.5, 0.25], [1, -1], { reduction: "sum" })); // 1.25
 * ```
 */
export const hingeEmbeddingLoss: Loss<[input: Input, target: Input], "input", HingeEmbeddingOptions> =
  /* @__PURE__ */ define({
    name: "hingeEmbeddingLoss",
    inputs: INPUT_AND_FIXED_TARGET,
    options: { margin: number(1) },
    family: pointwise(undefined, {
      input: 1,
      kind: 1,
      holds: (t) => t === 1 || t === -1,
      expected: "1 or -1",
    }),
    reference: reference.hingeEmbeddingLoss,
  });
