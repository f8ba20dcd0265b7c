/** Connectionist temporal classification: a loss between steps of logits and labels that do not say where they stand. */
import { type Plan as Batch, door } from "#door/ctc";
import { define, type Family } from "../define.js";
import { giveBack, lend } from "../input.js";
import { flag } from "../options.js";
import { type CtcReference, ctcLoss as reference } from "../reference/ctc.js";
import type { Input, Loss } from "../types.js";
import { type CtcLayout, type CtcTargets, OF_TARGETS, type Read, readSequences } from "./ctc/sequences.js";

export * from "./ctc/decode.js";
export * from "./ctc/posteriors.js";
export type { CtcBatch, CtcLayout, CtcSample, CtcTargets } from "./ctc/sequences.js";

interface Plan extends Batch, Read {
  readonly factors: Float64Array;
}

const family: Family<Plan, CtcReference> = {
  door,
  plan(call) {
    const read = readSequences(call);
    const { samples, single, targetLengths } = read;
    const mean = call.reduction === "mean";
    const backward = call.wants("logits");
    call.losses(single ? [] : [samples]);
    const factors = lend(call.where, Float64Array, samples);
    for (let n = 0; n < samples; n++)
      factors[n] = mean ? 1 / (samples * Math.max(1, targetLengths[n] as number)) : 1;
    call.upstreamPerLoss(factors);
    call.valueSlot("double");
    call.gradientSlot(0);
    call.own(backward ? factors : undefined);
    const zeroInfinity = call.options.zeroInfinity as boolean;
    return Object.assign(read, { zeroInfinity, perLabel: mean, backward, factors });
  },
  finish(_call, { inputLengths, targetLengths, factors, targets, own }) {
    giveBack(inputLengths);
    giveBack(targetLengths);
    giveBack(factors);
    if (own) giveBack(targets);
  },
};

/** Options of {@link ctcLoss}. */
export interface CtcOptions {
  /** The class that stands for "no label here". Default 0. */
  blank?: number | undefined;
  /** How many steps of each sample count, [N], or a number for one sample: those behind are never read. Default: all T. */
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
 * but -Infinity makes loss and gradient of its sample NaN, with `zeroInfinity` too. Other samples are not touched by either. A logit of
 * -Infinity is a class of probability 0, and has gradient 0 (PyTorch: NaN at its step).
 *
 * @throws RangeError `RANK`, `SHAPE`: shapes that do not fit; `LABEL`: a target that is no class, or the blank (which PyTorch takes);
 * `LENGTH`: lengths out of range; `NUMBER`: a blank that is no class; TypeError: wrong kinds.
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
    options: { ...OF_TARGETS, zeroInfinity: flag(false) },
    family,
    reference,
  });
