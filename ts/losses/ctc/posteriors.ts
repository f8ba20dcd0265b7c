/** Posteriors: how probable each symbol is at each step, given the target. */
import { source } from "#part/ctc";
import { type Arrays, define, type Family } from "../../define.js";
import { anything, choice, flag, number } from "../../options.js";
import { ctcPosteriors as ctcPosteriorsReference } from "../../reference/ctc.js";
import { part } from "../../runtime/engine.js";
import type { FloatArray, Input, Output, Tensor } from "../../types.js";
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

interface Plan extends Shape {
  readonly labels: number;
  readonly blank: number;
  readonly targetLengths: Int32Array;
  readonly states: FloatArray | undefined;
}

interface Read {
  readonly blank: number;
  readonly inputLengths: unknown;
  readonly targetLengths: unknown;
  readonly layout: CtcLayout;
  readonly states: boolean;
}

const spare = /* @__PURE__ */ new Spare<Int32Array>(Int32Array);

const kernels = /* @__PURE__ */ part(source);

const family: Family<Plan, typeof ctcPosteriorsReference> = {
  part: kernels,
  plan(call) {
    const { where } = call;
    const { blank, layout, ...given } = call.options as unknown as Read;
    const logits = call.input(0);
    const shape = readShape(where, logits, layout);
    const { samples, steps, classes, single } = shape;
    checkBlank(where, blank, classes);
    const inputLengths = new Int32Array(samples);
    const targetLengths = new Int32Array(samples);
    readLengths(where, "inputLengths", given.inputLengths, single, () => steps, inputLengths);
    const reading = { where, shape, blank, given: given.targetLengths, lengths: targetLengths, spare };
    const { labels: targets, width } = readTargets(reading, call.raw[1]);
    let states: FloatArray | undefined;
    if (given.states) {
      // they come from the reference, whichever engine answers
      call.planned = true;
      states = call.fresh(samples * steps * (2 * Math.max(0, ...targetLengths) + 1));
    }
    call.lossShape = logits.shape;
    call.real(logits);
    call.ints(targets);
    call.ints(inputLengths);
    call.ints(targetLengths);
    call.valueSlot();
    return { ...shape, labels: width, blank, targetLengths, states };
  },
  scratch(exports, call, { steps, classes, labels }) {
    const bytes = call.dtype === "float32" ? exports.ctc_scratch_f32 : exports.ctc_scratch_f64;
    return bytes(steps, classes, labels, 1);
  },
  wasm(exports, call, { samples, steps, classes, labels, timeMajor, blank }, at) {
    const kernel = call.dtype === "float32" ? exports.ctc_f32 : exports.ctc_f64;
    const [logits, targets, inputLengths, targetLengths, values, scratch] = at as Six;
    const time = Number(timeMajor);
    // without factors the kernel gives occupancies in the place of the gradient
    return kernel(
      samples,
      steps,
      classes,
      labels,
      time,
      blank,
      0,
      0,
      logits,
      targets,
      inputLengths,
      targetLengths,
      0,
      values,
      0,
      scratch,
    );
  },
  js(reference, _call, plan, at: Arrays) {
    const { samples, steps, classes, labels, timeMajor, blank } = plan;
    const batch = {
      ...{ samples, steps, classes, labels, timeMajor, blank },
      logits: at[0] as FloatArray,
      targets: at[1] as Int32Array,
      inputLengths: at[2] as Int32Array,
      targetLengths: at[3] as Int32Array,
    };
    reference(batch, at[4] as FloatArray, plan.states);
    return 0;
  },
  finish(call, plan) {
    call.extras = { plan };
  },
};
type Six = [number, number, number, number, number, number];

const occupied = /* @__PURE__ */ define<
  Plan,
  typeof ctcPosteriorsReference,
  { valueAndGrad(...args: unknown[]): { value: Tensor; plan: Plan } }
>({
  name: "ctcPosteriors",
  inputs: [{ name: "logits" }, { name: "targets", raw: true }],
  options: {
    blank: number(0, { least: 0, integer: true }),
    inputLengths: anything(),
    targetLengths: anything(),
    layout: choice("NTC", LAYOUTS),
    states: flag(false),
  },
  mapping: true,
  plain: true,
  family,
  op: 0,
  reference: ctcPosteriorsReference,
});

/**
 * The probability of each symbol at each step given the target: of all paths that collapse to it, the share that is at this
 * symbol at this step. Each step's add up to 1. They are softmax(logits) minus the gradient of {@link ctcLoss}.
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
  const { value, plan } = occupied.valueAndGrad(...args);
  const { samples, steps, timeMajor, single, targetLengths, states } = plan;
  if (states === undefined) return value;
  const leading = single ? [steps] : timeMajor ? [steps, samples] : [samples, steps];
  const width = 2 * Math.max(0, ...targetLengths) + 1;
  return { data: value.data, shape: value.shape, states: { data: states, shape: [...leading, width] } };
}
