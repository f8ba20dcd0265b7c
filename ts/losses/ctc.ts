/** Connectionist temporal classification: a loss between steps of logits and labels that do not say where they stand. */
import { source } from "#part/ctc";
import { type Arrays, type Call, define, type Family } from "../define.js";
import { anything, choice, flag, number } from "../options.js";
import { type CtcReference, ctcLoss as reference } from "../reference/ctc.js";
import { part } from "../runtime/engine.js";
import type { FloatArray, Input, Loss } from "../types.js";
import {
  type CtcLayout,
  type CtcTargets,
  checkBlank,
  LAYOUTS,
  readLengths,
  readShape,
  readTargets,
  type Shape,
  Spare,
} from "./ctc/sequences.js";

export * from "./ctc/decode.js";
export * from "./ctc/posteriors.js";
export type { CtcBatch, CtcLayout, CtcSample, CtcTargets } from "./ctc/sequences.js";

interface Plan extends Shape {
  readonly labels: number;
  readonly blank: number;
  readonly zeroInfinity: boolean;
  readonly perLabel: boolean;
  /** Arrays of the library's, for the next call. */
  readonly lent: Lent;
}

interface Lent {
  readonly inputLengths: Int32Array;
  readonly targetLengths: Int32Array;
  readonly factors: Float64Array;
  readonly labels: Int32Array | undefined;
}

const spare = {
  inputLengths: /* @__PURE__ */ new Spare<Int32Array>(Int32Array),
  targetLengths: /* @__PURE__ */ new Spare<Int32Array>(Int32Array),
  factors: /* @__PURE__ */ new Spare<Float64Array>(Float64Array),
  labels: /* @__PURE__ */ new Spare<Int32Array>(Int32Array),
};

/** The options as they were read. */
interface Read {
  readonly blank: number;
  readonly inputLengths: unknown;
  readonly targetLengths: unknown;
  readonly layout: CtcLayout;
  readonly zeroInfinity: boolean;
}

const kernels = /* @__PURE__ */ part(source);

const family: Family<Plan, CtcReference> = {
  part: kernels,
  plan(call) {
    const { where, reduction } = call;
    const { blank, layout, zeroInfinity, ...given } = call.options as unknown as Read;
    const logits = call.input(0);
    const shape = readShape(where, logits, layout);
    const { samples, steps, single } = shape;
    checkBlank(where, blank, shape.classes);
    const inputLengths = spare.inputLengths.take(samples);
    const targetLengths = spare.targetLengths.take(samples);
    readLengths(where, "inputLengths", given.inputLengths, single, () => steps, inputLengths);
    const targets = readTargets(
      { where, shape, blank, given: given.targetLengths, lengths: targetLengths, spare: spare.labels },
      call.raw[1],
    );
    call.lossShape = single ? [] : [samples];
    const mean = reduction === "mean";
    if (mean) call.divisor = samples;
    const factors: Float64Array = spare.factors.take(samples);
    for (let n = 0; n < samples; n++) {
      factors[n] = mean ? 1 / (samples * Math.max(1, targetLengths[n] as number)) : 1;
    }
    call.upstreamPerLoss(factors, factors as Float64Array<ArrayBuffer>);
    call.real(logits);
    call.ints(targets.labels);
    call.ints(inputLengths);
    call.ints(targetLengths);
    call.valueSlot("double");
    call.gradientSlot(0);
    if (call.wants("logits")) call.doubles(factors);
    else call.absent();
    const labels = targets.own ? targets.labels : undefined;
    const lent = { inputLengths, targetLengths, factors, labels };
    return { ...shape, labels: targets.width, blank, zeroInfinity, perLabel: mean, lent };
  },
  scratch(exports, call, { steps, classes, labels }) {
    const bytes = call.dtype === "float32" ? exports.ctc_scratch_f32 : exports.ctc_scratch_f64;
    return bytes(steps, classes, labels, Number(call.wants("logits")));
  },
  wasm(exports, call, plan, at) {
    const { samples, steps, classes, labels } = plan;
    const kernel = call.dtype === "float32" ? exports.ctc_f32 : exports.ctc_f64;
    const [logits, targets, inputLengths, targetLengths, values, grad, factors, scratch] = at as Eight;
    return kernel(
      samples,
      steps,
      classes,
      labels,
      Number(plan.timeMajor),
      plan.blank,
      Number(plan.zeroInfinity),
      Number(plan.perLabel),
      logits,
      targets,
      inputLengths,
      targetLengths,
      values,
      grad,
      factors,
      scratch,
    );
  },
  js(reference, _call: Call, { lent: _, single: __, ...plan }, at: Arrays) {
    return reference({
      ...plan,
      logits: at[0] as FloatArray,
      targets: at[1] as Int32Array,
      inputLengths: at[2] as Int32Array,
      targetLengths: at[3] as Int32Array,
      values: at[4] as FloatArray | undefined,
      grad: at[5] as FloatArray | undefined,
      factors: at[6] as FloatArray | undefined,
    });
  },
  finish(_call, { lent }) {
    spare.inputLengths.give(lent.inputLengths);
    spare.targetLengths.give(lent.targetLengths);
    spare.factors.give(lent.factors);
    if (lent.labels !== undefined) spare.labels.give(lent.labels);
  },
};
type Eight = [number, number, number, number, number, number, number, number];

/** Options of {@link ctcLoss}. */
export interface CtcOptions {
  /** The class that stands for "no label here". Default 0. */
  blank?: number | undefined;
  /** How many steps of each sample count, [N]: those behind are never read. Default: all T. */
  inputLengths?: Input | undefined;
  /** How many labels of each target count, [N]. Default: all there are. */
  targetLengths?: Input | undefined;
  /** Logits are [N, T, C] (`"NTC"`, default) or [T, N, C] (`"TNC"`, as in PyTorch). */
  layout?: CtcLayout | undefined;
  /** Whether targets that the input cannot emit have loss 0 and gradient 0 instead of Infinity and NaN. Default false. */
  zeroInfinity?: boolean | undefined;
}

/**
 * Connectionist temporal classification: `-log sum over paths of prod_t softmax(x_t)`, over all paths (a class per step) that
 * become the target when repeated classes are merged and then blanks are taken out. It learns to read sequences whose labels do
 * not say where they stand: handwriting, speech.
 *
 * The mean divides each sample's loss by max(1, length of its target) and the sum by N, as PyTorch.
 *
 * - `logits`: [N, T, C] (or as `layout` says), or [T, C] for one sample. Log-probabilities are logits as well: log-softmax
 *   leaves them as they are. Differentiable: softmax minus the probability of each symbol at each step given the target.
 *   Steps behind `inputLengths` have gradient 0.
 * - `targets`: class indices without blanks. Ragged arrays, `[[3, 1], [4]]`; or [N, S], filled up with anything behind
 *   `targetLengths`; for one sample [S]. An Int32Array is read where it stands.
 *
 * A target that the input cannot emit (longer than it, counting one more step between two labels that are alike, or of
 * probability 0) has loss Infinity and gradient NaN, or 0 and 0 with `zeroInfinity`. A step that has NaN, +Infinity or nothing
 * but -Infinity makes loss and gradient of its sample NaN. Other samples are not touched by either.
 *
 * @throws RangeError `RANK`, `SHAPE`: shapes that do not fit; `LABEL`: a target that is no class, or the blank; `LENGTH`: lengths
 * out of range; TypeError: wrong kinds.
 * @see PyTorch `nn.CTCLoss`; Graves, Fernandez, Gomez and Schmidhuber, Connectionist Temporal Classification, 2006.
 * @example
 * ```ts
 * import { ctcLoss } from "perdida";
 * // two steps of {blank, a, b}, all alike: "a" has the paths aa, a-, -a of 9
 * const logits = [[0, 0, 0], [0, 0, 0]];
 * const { value, grads } = ctcLoss.valueAndGrad(logits, [1]);
 * console.log(value.toFixed(4)); // "1.0986"
 * console.log(grads.logits.shape); // [2, 3]
 * ```
 */
export const ctcLoss: Loss<[logits: Input, targets: CtcTargets], "logits", CtcOptions> =
  /* @__PURE__ */ define({
    name: "ctcLoss",
    inputs: [
      { name: "logits", differentiable: true },
      { name: "targets", raw: true },
    ],
    options: {
      blank: number(0, { least: 0, integer: true }),
      inputLengths: anything(),
      targetLengths: anything(),
      layout: choice("NTC", LAYOUTS),
      zeroInfinity: flag(false),
    },
    family,
    op: 0,
    reference,
  });
