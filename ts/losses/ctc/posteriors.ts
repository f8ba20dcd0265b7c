/** Posteriors: how probable each symbol is at each step, given the target. */
import { type Plan as Batch, door } from "#door/ctc";
import { define, type Family } from "../../define.js";
import { COMMON, flag } from "../../options.js";
import { type CtcReference, ctcLoss as reference } from "../../reference/ctc.js";
import type { FloatArray, Input, Output, Tensor } from "../../types.js";
import {
  type CtcLayout,
  type CtcTargets,
  longestOf,
  OF_TARGETS,
  type Read,
  readSequences,
} from "./sequences.js";

/** Options of {@link ctcPosteriors}. */
export interface CtcPosteriorsOptions {
  /** The class that stands for "no label here". Default 0. */
  blank?: number | undefined;
  /** How many steps of each sample count, [N]. Default: all T. */
  inputLengths?: Input | undefined;
  /** How many labels of each target count, [N]. Default: all there are. */
  targetLengths?: Input | undefined;
  /** Logits are [N, T, C] (`"NTC"`, default) or [T, N, C] (`"TNC"`). */
  layout?: CtcLayout | undefined;
  /** Whether the states of the lattice come back as well. Default false. */
  states?: boolean | undefined;
  /** An array to write into. */
  out?: { value?: Output | undefined } | undefined;
}

/** What {@link ctcPosteriors} gives. */
export interface CtcPosteriors extends Tensor {
  /** With `states: true`, the probability of each state: [T, 2 S + 1] (or with N, as the layout says). */
  states?: Tensor;
}

interface Plan extends Batch, Read {
  /** How many states the longest target has. */
  readonly width: number;
  readonly states: FloatArray | undefined;
}

const family: Family<Plan, CtcReference> = {
  door,
  plan(call) {
    const read = readSequences(call);
    const { samples, steps, timeMajor, single, targetLengths } = read;
    const width = 2 * longestOf(targetLengths) + 1;
    let states: FloatArray | undefined;
    if (call.options.states === true) {
      // they come from the reference, whichever engine answers
      call.planned = true;
      states = call.fresh(samples * steps * width);
      const leading = single ? [steps] : timeMajor ? [steps, samples] : [samples, steps];
      call.extras = { states: { data: states, shape: [...leading, width] } };
    }
    call.lossShape = call.input(0).shape;
    // where there are no factors the kernel gives occupancies in the place of the gradient
    call.take();
    call.valueSlot();
    call.take();
    const asked = { zeroInfinity: false, perLabel: false, backward: true, width, states };
    return Object.assign(read, asked);
  },
};

const occupied = /* @__PURE__ */ define<
  Plan,
  CtcReference,
  { valueAndGrad(...args: unknown[]): { value: Tensor; states?: Tensor } }
>({
  name: "ctcPosteriors",
  inputs: [{ name: "logits" }, { name: "targets", raw: true }],
  options: { ...OF_TARGETS, states: flag(false), out: COMMON.out },
  mapping: true,
  plain: true,
  family,
  reference,
});

/**
 * The probability of each symbol at each step given the target: of all paths that collapse to it, the share that is at this
 * symbol at this step. Each step's add up to 1. They are softmax(logits) minus the gradient of {@link ctcLoss} with
 * reduction `"sum"`.
 *
 * - `logits`, `targets`: as {@link ctcLoss} has them. What comes back lies as the logits do.
 *
 * With `states: true` there are also those of the 2 S + 1 states of the lattice (blank, label, blank, ..., label, blank), computed in double
 * precision by the reference: two labels of a target that are the same class are told apart there. In a batch S is
 * the longest target's.
 *
 * Steps behind `inputLengths` are 0. A target that the input cannot emit, or a step that has NaN, +Infinity or nothing but -Infinity, makes
 * its sample NaN.
 *
 * @throws RangeError `RANK`, `SHAPE`, `LABEL`, `LENGTH`, `NUMBER` and TypeErrors, as {@link ctcLoss}.
 * @see Graves et al., Connectionist Temporal Classification, 2006, section 4.1.
 * @example
 * ```ts
 * import { ctcPosteriors } from "perdida";
 * // "a" in two steps of {blank, a, b}, all alike: paths aa, a-, -a
 * const { data } = ctcPosteriors([[0, 0, 0], [0, 0, 0]], [1]);
 * console.log(data[1].toFixed(4)); // "0.6667"
 * ```
 */
export function ctcPosteriors(
  logits: Input,
  targets: CtcTargets,
  options?: CtcPosteriorsOptions,
): CtcPosteriors;
export function ctcPosteriors(...args: unknown[]): CtcPosteriors {
  const { value, states } = occupied.valueAndGrad(...args);
  return states === undefined ? value : { ...value, states };
}
