/**
 * The rowwise losses: one loss per row of an input [N, C], or per position of [N, C, d1, ..., dk], and the functions over the last
 * axis that they rest on.
 */
import { door, type Plan } from "#door/rowwise";
import { type Call, define, type Family, type InputRow, isWhole, raggedRows, readLabels } from "../define.js";
import { arrayOf, describe, fail, shapeText, wrongShape } from "../errors.js";
import { type Operand, readOperand, sameShape, sizeOf } from "../input.js";
import { array, choice, number } from "../options.js";
import type { RowwiseReference } from "../reference/rowwise.js";
import * as reference from "../reference/rowwise.js";
import type { Input, Loss, Mapping } from "../types.js";

/** What the targets of a rowwise loss are: a class per row, numbers in the shape of the input, a set of classes per row. */
type Targets = "classes" | "numbers" | "classes or numbers" | "sets" | "none";

/** Whole numbers that a label option may be: what an Int32Array holds. */
const INT32 = 2 ** 31;

/**
 * The family: there is a value per row of an input [N, C] or [C]; per row along the last axis of any input; per number of it; or per
 * position of an input of any rank, whose classes are its second axis.
 */
const rowwise = (
  targets: Targets,
  per: "row" | "last axis" | "number" | "position" = "row",
): Family<Plan, RowwiseReference> => ({
  door,
  plan(call) {
    const input = call.input(0);
    const { shape } = input;
    const rank = shape.length;
    if (per === "row" && (rank === 0 || rank > 2))
      wrongShape(call.where, input, "[N, C], or [C] for one row", "RANK");
    if (rank === 0) wrongShape(call.where, input, "at least one axis", "RANK");
    const apart = per === "position" && rank > 2;
    const columns = shape[apart ? 1 : rank - 1] as number;
    const leading = apart ? [shape[0] as number, ...shape.slice(2)] : shape.slice(0, -1);
    const rows = sizeOf(leading);
    if (columns === 0 && rows > 0) wrongShape(call.where, input, "at least one class");
    const { weight, ignoreIndex } = call.options as { weight?: Operand; ignoreIndex?: number };
    if (weight !== undefined && !sameShape(weight.shape, [columns]))
      wrongShape(call.where, weight, `one factor per class: [${columns}]`);
    const labels = readTargets(call, targets, leading, columns, ignoreIndex);
    call.losses(per === "number" ? shape : leading, rows);
    // PyTorch's mean: over the weights of the targets that count
    if (ignoreIndex !== undefined && labels !== undefined && call.reduction === "mean") {
      let total = 0;
      for (let i = 0; i < labels.length; i++) {
        const label = labels[i] as number;
        if (label !== ignoreIndex) total += Number(weight?.data[label] ?? 1);
      }
      call.divisor = total;
    }
    const numbers = labels === undefined ? call.inputs[1] : undefined;
    call.take(input);
    call.own(labels);
    call.take(numbers);
    call.take(weight);
    call.valueSlot();
    call.gradientSlot(0);
    call.gradientSlot(numbers === undefined ? 2 : 1);
    call.upstreamSlot();
    // 0 / 0 where there is no sample
    return { rows, columns, inner: (apart && rows / (leading[0] as number)) || 1 };
  },
  js: reference.runRowwise,
});

/** Class indices or sets of them as an Int32Array; undefined where the targets are numbers, or there are none. */
function readTargets(
  call: Call,
  targets: Targets,
  leading: readonly number[],
  columns: number,
  ignoreIndex: number | undefined,
): Int32Array | undefined {
  const { shape } = call.input(0);
  const target = call.inputs[1];
  if (target === undefined) return targets === "sets" ? readSets(call, shape, columns) : undefined;
  if (targets !== "numbers" && sameShape(target.shape, leading)) {
    const also = ignoreIndex === undefined ? "" : ` or ignoreIndex (${ignoreIndex})`;
    return readLabels(call.where, target, 0, columns, `a class index in [0, ${columns})${also}`, ignoreIndex);
  }
  if (targets === "classes" || !sameShape(target.shape, shape)) {
    const [classes, numbers] = [shapeText(leading), shapeText(shape)];
    const either = `${classes} or ${numbers}`;
    wrongShape(
      call.where,
      target,
      targets === "classes" ? classes : targets === "numbers" ? numbers : either,
    );
  }
  return undefined;
}

/** Sets of labels: [N, C] ended by -1, or ragged arrays. */
function readSets(call: Call, shape: readonly number[], columns: number): Int32Array {
  const given = call.raw[1];
  const expected = `a class index in [0, ${columns}), or -1 at the end`;
  if (!Array.isArray(given)) {
    const target = readOperand(call.where, "target", given);
    if (!sameShape(target.shape, shape))
      wrongShape(call.where, target, `${shapeText(shape)}, or one array of labels per row`);
    return readLabels(call.where, target, -1, columns, expected);
  }
  const single = shape.length === 1;
  const labels = new Int32Array(sizeOf(shape)).fill(-1);
  const rows = single ? 1 : (shape[0] as number);
  raggedRows(call.where, "target", given, rows, single, "one array of labels per row").forEach((set, row) => {
    const place = single ? "" : `[${row}]`;
    if (set.length > columns)
      fail("LENGTH", call.where, "target", arrayOf(set.length), `at most ${columns} labels`, place);
    for (let i = 0; i < set.length; i++) {
      const item = set[i];
      const label = typeof item === "bigint" ? Number(item) : item;
      if (!isWhole(label, -1, columns))
        fail("LABEL", call.where, "target", describe(item), expected, `${place}[${i}]`);
      labels[row * columns + i] = label;
    }
  });
  return labels;
}

const INPUT_AND_LABELS: readonly InputRow[] = [
  { name: "input", differentiable: true },
  { name: "target", labels: true },
];
/** Classes, or probabilities that are differentiable as well. */
const INPUT_AND_CLASSES: readonly InputRow[] = [
  { name: "input", differentiable: true },
  { name: "target", differentiable: true, labels: "fewer axes" },
];
const INPUT_AND_SCORES: readonly InputRow[] = [{ name: "input", differentiable: true }, { name: "target" }];
const INPUT_ALONE: readonly InputRow[] = [{ name: "input", differentiable: true }];
const weight = /* @__PURE__ */ array();
const ignoreIndex = /* @__PURE__ */ number(-100, { least: -INT32, most: INT32 - 1, integer: true });

/** Options of {@link crossEntropyLoss}. */
export interface CrossEntropyOptions {
  /** One factor per class, [C]. Default: all 1. */
  weight?: Input | undefined;
  /**
   * A class index that is passed over: it adds nothing and has no gradient. Default -100. With probabilities it says nothing (where
   * PyTorch refuses one that is not negative).
   */
  ignoreIndex?: number | undefined;
  /** How much of the target's probability is spread over all classes, in [0, 1]. Default 0. */
  labelSmoothing?: number | undefined;
}

/**
 * Cross-entropy between logits and a target class or target probabilities.
 *
 * For a row x of logits and class y: `-w_y log softmax(x)_y`. With probabilities q: `-sum_c w_c q_c log softmax(x)_c`. With
 * `labelSmoothing` s the target is `(1 - s) q + s / C` for both. The mean divides by the sum of w_y over the targets that are
 * not ignored (class indices) or by how many rows there are (probabilities), as PyTorch; over no valid target it is NaN.
 *
 * - `input`: logits, [N, C], [C] for one row, or [N, C, d1, ..., dk] with a row of classes per position: pixels, steps.
 *   Differentiable: `softmax(x)_c sum_k w_k q_k - w_c q_c`, q being the target.
 * - `target`: class indices (whole numbers in [0, C) or `ignoreIndex`) in the shape of `input` without C: [N], [N, d1, ..., dk]
 *   or a number. Or probabilities in the shape of `input`, then differentiable as well: `-(1 - s) w_c log softmax(x)_c`. They
 *   are not checked to add up to one.
 *
 * A class that has no share in the target, or weight 0, adds nothing even where its logit is -Infinity (PyTorch: NaN with
 * probabilities, `labelSmoothing` or weight 0), nor does a target that is ignored, whatever its row holds (PyTorch: NaN in its gradient
 * where that has NaN or +Infinity). A row with +Infinity: see {@link softmax}.
 *
 * With `reduction: "none"` there is a loss per target: the shape of `input` without C.
 *
 * @throws RangeError `SHAPE`, `RANK`: shapes that do not fit; `LABEL`: a target that is no class; `NUMBER`: a labelSmoothing outside
 * [0, 1], an ignoreIndex that is no 32-bit integer; TypeError: wrong kinds.
 * @see PyTorch `nn.CrossEntropyLoss`; label smoothing: Szegedy et al., Rethinking the Inception Architecture for Computer
 * Vision, 2016, section 7.
 * @example
 * ```ts
 * import { crossEntropyLoss } from "perdida";
 * const logits = [[2, 1, 0], [0, 1, 2]];
 * const { value, grads } = crossEntropyLoss.valueAndGrad(logits, [0, 2]);
 * console.log(value.toFixed(4)); // "0.4076"
 * console.log(grads.input.shape); // [2, 3]
 *
 * // an image of 1 x 2 pixels: its classes are the second axis, [1, 3, 1, 2]
 * const image = [[[[2, 0]], [[1, 1]], [[0, 2]]]];
 * console.log(crossEntropyLoss(image, [[[0, 2]]]).toFixed(4)); // "0.4076"
 * ```
 */
export const crossEntropyLoss: Loss<[input: Input, target: Input], "input" | "target", CrossEntropyOptions> =
  /* @__PURE__ */ define({
    name: "crossEntropyLoss",
    inputs: INPUT_AND_CLASSES,
    options: { weight, ignoreIndex, labelSmoothing: number(0, { least: 0, most: 1 }) },
    family: rowwise("classes or numbers", "position"),
    reference: reference.crossEntropyLoss,
  });

/** Options of {@link nllLoss}. */
export interface NllOptions {
  /** One factor per class, [C]. Default: all 1. */
  weight?: Input | undefined;
  /** A target that is passed over: it adds nothing and has no gradient. Default -100. */
  ignoreIndex?: number | undefined;
}

/**
 * Negative log-likelihood of log-probabilities: `-w_y x_y` for a row x and class y. With {@link logSoftmax} before it, it
 * is {@link crossEntropyLoss}. The mean divides by the sum of w_y over the targets that are not ignored.
 *
 * - `input`: log-probabilities, [N, C], [C] for one row, or [N, C, d1, ..., dk] with a row of classes per position.
 *   Differentiable: `-w_y` at y, 0 elsewhere.
 * - `target`: class indices, whole numbers in [0, C) or `ignoreIndex`, in the shape of `input` without C: [N],
 *   [N, d1, ..., dk] or a number. With `reduction: "none"` there is a loss for each.
 *
 * @throws RangeError `SHAPE`, `RANK`: shapes that do not fit; `LABEL`: a target that is no class; `NUMBER`: an ignoreIndex that is no
 * 32-bit integer; TypeError: wrong kinds.
 * @see PyTorch `nn.NLLLoss`.
 * @example
 * ```ts
 * import { nllLoss } from "perdida";
 * console.log(nllLoss([[-0.5, -1, -2]], [1])); // 1
 * ```
 */
export const nllLoss: Loss<[input: Input, target: Input], "input", NllOptions> = /* @__PURE__ */ define({
  name: "nllLoss",
  inputs: INPUT_AND_LABELS,
  options: { weight, ignoreIndex },
  family: rowwise("classes", "position"),
  reference: reference.nllLoss,
});

/** Options of {@link multiMarginLoss}. */
export interface MultiMarginOptions {
  /** The power of each violation: 1 (default) or 2. */
  p?: 1 | 2 | undefined;
  /** How far the target's score must be above every other. Default 1. */
  margin?: number | undefined;
  /** One factor per class, [C]: that of the target counts. Default: all 1. */
  weight?: Input | undefined;
}

/**
 * Multi-class margin (hinge) loss: `1/C sum over c != y of w_y max(0, margin - x_y + x_c)^p` for a row x and class y.
 *
 * - `input`: scores, [N, C] or [C]. Differentiable; at the kink the gradient is 0. NaN makes the loss of its row NaN (PyTorch passes
 *   over it).
 * - `target`: class indices [N], whole numbers in [0, C); for one row [C] a number.
 *
 * @throws RangeError `SHAPE`, `RANK`: shapes that do not fit; `LABEL`: a target that is no class; TypeError: wrong kinds.
 * @see PyTorch `nn.MultiMarginLoss`; Crammer and Singer, On the Algorithmic Implementation of Multiclass Kernel-based Vector
 * Machines, 2001 (there with the largest violation, here with their mean).
 * @example
 * ```ts
 * import { multiMarginLoss } from "perdida";
 * console.log(multiMarginLoss([[0.1, 0.2, 0.4, 0.8]], [3]).toFixed(4)); // "0.3250"
 * ```
 */
export const multiMarginLoss: Loss<[input: Input, target: Input], "input", MultiMarginOptions> =
  /* @__PURE__ */ define({
    name: "multiMarginLoss",
    inputs: INPUT_AND_LABELS,
    options: {
      p: choice(1, [1, 2]),
      margin: number(1),
      weight,
    },
    family: rowwise("classes"),
    reference: reference.multiMarginLoss,
  });

/**
 * Multi-label margin loss: every label of a row's set must score at least 1 above every class outside of it,
 * `1/C sum over j in the set, i outside, of max(0, 1 - x_j + x_i)`.
 *
 * - `input`: scores, [N, C] or [C]. Differentiable; at the kink the gradient is 0. NaN that is compared makes the loss of its row NaN
 *   (PyTorch passes over it).
 * - `target`: the sets: [N, C] of class indices, each row ended by its first -1 (what follows must be classes or -1, and
 *   counts for nothing), or ragged arrays, `[[3, 0], [], [1]]`. An empty set has loss 0; a label that stands twice counts twice.
 *
 * @throws RangeError `SHAPE`, `RANK`, `LENGTH`: shapes that do not fit; `LABEL`: a target that is no class; TypeError: wrong kinds.
 * @see PyTorch `nn.MultiLabelMarginLoss`.
 * @example
 * ```ts
 * import { multiLabelMarginLoss } from "perdida";
 * console.log(multiLabelMarginLoss([[0.1, 0.2, 0.4, 0.8]], [[3, 0]]).toFixed(4)); // "0.8500"
 * ```
 */
export const multiLabelMarginLoss: Loss<
  [input: Input, target: Input | readonly (readonly number[] | Int32Array)[]],
  "input"
> = /* @__PURE__ */ define({
  name: "multiLabelMarginLoss",
  inputs: [
    { name: "input", differentiable: true },
    { name: "target", raw: true },
  ],
  family: rowwise("sets"),
  reference: reference.multiLabelMarginLoss,
});

/** Options of {@link multiLabelSoftMarginLoss}. */
export interface MultiLabelSoftMarginOptions {
  /** One factor per class, [C]. Default: all 1. */
  weight?: Input | undefined;
}

/**
 * Multi-label soft margin loss: a binary cross-entropy with logits per class, averaged over the classes of a row,
 * `-1/C sum_c w_c (t_c log sigmoid(x_c) + (1 - t_c) log sigmoid(-x_c))`. Nothing overflows; a term that has no share (`t_c = 1` or
 * `t_c = 0`) adds nothing even at an infinite logit (where PyTorch gives NaN).
 *
 * - `input`: logits, [N, C], or [..., C] of any rank, with a loss per row. Differentiable: `w_c (sigmoid(x_c) - t_c) / C`.
 * - `target`: numbers of the same shape, usually 0 or 1.
 *
 * @throws RangeError `SHAPE`, `RANK`: shapes that do not fit; TypeError: wrong kinds.
 * @see PyTorch `nn.MultiLabelSoftMarginLoss`.
 * @example
 * ```ts
 * import { multiLabelSoftMarginLoss } from "perdida";
 * console.log(multiLabelSoftMarginLoss([[0, 0]], [[1, 0]]).toFixed(4)); // "0.6931"
 * ```
 */
export const multiLabelSoftMarginLoss: Loss<
  [input: Input, target: Input],
  "input",
  MultiLabelSoftMarginOptions
> = /* @__PURE__ */ define({
  name: "multiLabelSoftMarginLoss",
  inputs: INPUT_AND_SCORES,
  options: { weight },
  family: rowwise("numbers", "last axis"),
  reference: reference.multiLabelSoftMarginLoss,
});

/**
 * `log sum_c exp(x_c)` over the last axis, without overflow.
 *
 * - `input`, called x here: [..., C]; the value has the shape without the last axis. Differentiable: `upstream * softmax(x)`.
 *   A row of nothing but -Infinity gives -Infinity, with gradient NaN.
 *
 * @throws RangeError `RANK`, `SHAPE`: no last axis, or an empty one; TypeError: wrong kinds.
 * @see PyTorch `torch.logsumexp` with `dim=-1`.
 * @example
 * ```ts
 * import { logSumExp } from "perdida";
 * console.log(logSumExp([[1000, 1000]]).data[0].toFixed(4)); // "1000.6931"
 * ```
 */
export const logSumExp: Mapping<[input: Input], "input"> = /* @__PURE__ */ define({
  name: "logSumExp",
  inputs: INPUT_ALONE,
  mapping: true,
  family: rowwise("none", "last axis"),
  reference: reference.logSumExp,
});

/**
 * log softmax over the last axis: `x - logSumExp(x)`. A row with +Infinity has NaN there and -Infinity elsewhere (PyTorch: all NaN); one
 * of nothing but -Infinity is NaN.
 *
 * - `input`, called x here: [..., C]; the value has the same shape. Differentiable: `g - softmax(x) sum(g)` with g the
 *   upstream gradient.
 *
 * @throws RangeError `RANK`, `SHAPE`: no last axis, or an empty one; TypeError: wrong kinds.
 * @see PyTorch `nn.LogSoftmax` with `dim=-1`.
 * @example
 * ```ts
 * import { logSoftmax } from "perdida";
 * console.log(logSoftmax([0, 0]).data[0].toFixed(4)); // "-0.6931"
 * ```
 */
export const logSoftmax: Mapping<[input: Input], "input"> = /* @__PURE__ */ define({
  name: "logSoftmax",
  inputs: INPUT_ALONE,
  mapping: true,
  family: rowwise("none", "number"),
  reference: reference.logSoftmax,
});

/**
 * Softmax over the last axis: `exp(x - logSumExp(x))`, positive and adding up to one. A row with +Infinity has NaN there and 0 elsewhere
 * (PyTorch: all NaN); one of nothing but -Infinity is NaN.
 *
 * - `input`, called x here: [..., C]; the value has the same shape. Differentiable: `y (g - sum(g y))` with g the upstream
 *   gradient, y the value: without one it is 0, up to rounding, since y adds up to one.
 *
 * @throws RangeError `RANK`, `SHAPE`: no last axis, or an empty one; TypeError: wrong kinds.
 * @see PyTorch `nn.Softmax` with `dim=-1`.
 * @example
 * ```ts
 * import { softmax } from "perdida";
 * console.log(softmax([0, 0, 0, 0]).data[0]); // 0.25
 * ```
 */
export const softmax: Mapping<[input: Input], "input"> = /* @__PURE__ */ define({
  name: "softmax",
  inputs: INPUT_ALONE,
  mapping: true,
  family: rowwise("none", "number"),
  reference: reference.softmax,
});
