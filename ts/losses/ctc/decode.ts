/** Decoding: labellings out of logits, without a target. */
import { numbersOf } from "../../define.js";
import { describe, fail } from "../../errors.js";
import { readOperand } from "../../input.js";
import { callback, number, type OptionTable, type OptionValues, readOptions } from "../../options.js";
import { beamDecode, greedyDecode } from "../../reference/ctc/decode.js";
import { type Sample, sampleOf } from "../../reference/ctc.js";
import type { FloatArray, Input } from "../../types.js";
import { type CtcBatch, type CtcLayout, type CtcSample, OF_LOGITS, readLogits } from "./sequences.js";

/** A labelling: class indices without blanks, and the logarithm of its probability. */
export interface CtcLabelling {
  labels: number[];
  logProb: number;
  /** What labellings are ranked by where a hook has a say: `logProb` and what the hooks added. */
  score?: number;
}

/** Options of {@link ctcGreedyDecode}. */
export interface CtcDecodeOptions {
  /** The class that stands for "no label here". Default 0. */
  blank?: number | undefined;
  /** How many steps of each sample count, [N]. Default: all T. */
  inputLengths?: Input | undefined;
  /** Logits are [N, T, C] (`"NTC"`, default) or [T, N, C] (`"TNC"`). */
  layout?: CtcLayout | undefined;
}

/** Options of {@link ctcBeamDecode}. */
export interface CtcBeamOptions extends CtcDecodeOptions {
  /** How many prefixes go on after each step. Default 16. */
  beamWidth?: number | undefined;
  /** How many labellings come back, at most `beamWidth`. Default 1. */
  topK?: number | undefined;
  /**
   * Scores an extension: it is given a prefix and the label that is put behind it, and what it gives back is added to the score: a
   * language model's log-probability times a weight, a bonus per label. -Infinity forbids the extension
   * and all that would come of it. It is asked once per prefix and label while the prefix is in the beam; the prefix is frozen.
   */
  extend?: ((prefix: readonly number[], label: number) => number) | undefined;
  /** Scores the end: what it gives back for a whole labelling is added to its score. -Infinity forbids the labelling. */
  finish?: ((labels: readonly number[]) => number) | undefined;
  /** A class whose log-probability at a step is below this is put behind no prefix there. Default -Infinity. */
  labelThreshold?: number | undefined;
  /** Prefixes that score so much less than the best one are dropped. Default Infinity. */
  beamThreshold?: number | undefined;
}

/** What a search may ask the caller. */
type Hooks = Pick<CtcBeamOptions, "extend" | "finish">;

/** Reads logits and options, and decodes each sample. */
function decode<T extends OptionTable & typeof OF_LOGITS, R>(
  where: string,
  table: T,
  logits: unknown,
  given: unknown,
  run: (sample: Sample, options: OptionValues<T>) => R,
): R | R[] {
  const operand = readOperand(where, "logits", logits);
  const options = readOptions(where, table, given) as OptionValues<T & typeof OF_LOGITS> & Hooks;
  const read = readLogits(where, operand, options);
  const data = numbersOf(where, operand);
  // hooks are code of the caller's, which may change the logits, or take their memory away
  const numbers =
    options.extend || options.finish || typeof data[0] === "bigint"
      ? Float64Array.from(data as ArrayLike<number>, Number)
      : (data as FloatArray);
  const none = new Int32Array(read.samples);
  const inputs = [numbers, none, read.inputLengths, none] as const;
  const decoded = Array.from(none, (_, n) => run(sampleOf(read, inputs, n), options));
  return read.single ? (decoded[0] as R) : decoded;
}

/**
 * The labelling of the most probable path: the class of the largest logit at each step (the first of those that are alike), repeats
 * merged, blanks taken out. `logProb` is the path's. One sample gives one labelling, a batch an array of them; a sample with
 * a step that has NaN, +Infinity or nothing but -Infinity gives no labels and `logProb` NaN.
 *
 * - `logits`: [N, T, C] (or as `layout` says), or [T, C] for one sample; log-probabilities are logits as well. onnxruntime's tensors go
 *   in as they are.
 *
 * @throws RangeError `RANK`, `SHAPE`, `LENGTH`, `NUMBER` and TypeErrors, as {@link ctcLoss}.
 * @see Graves et al., Connectionist Temporal Classification, 2006, section 3.2 (best path decoding).
 * @example
 * ```ts
 * import { ctcGreedyDecode } from "perdida";
 * const logits = [[0, 3, 0], [0, 3, 0], [3, 0, 0], [0, 3, 0], [0, 0, 3]];
 * console.log(ctcGreedyDecode(logits).labels.join()); // "1,1,2"
 * ```
 */
export function ctcGreedyDecode(logits: CtcSample, options?: CtcDecodeOptions): CtcLabelling;
export function ctcGreedyDecode(logits: CtcBatch, options?: CtcDecodeOptions): CtcLabelling[];
export function ctcGreedyDecode(logits: Input, options?: CtcDecodeOptions): CtcLabelling | CtcLabelling[];
export function ctcGreedyDecode(logits: Input, options?: CtcDecodeOptions): CtcLabelling | CtcLabelling[] {
  return decode("ctcGreedyDecode", OF_LOGITS, logits, options, greedyDecode);
}

const beam = {
  ...OF_LOGITS,
  beamWidth: /* @__PURE__ */ number(16, { least: 1, integer: true }),
  topK: /* @__PURE__ */ number(1, { least: 1, integer: true }),
  extend: /* @__PURE__ */ callback<NonNullable<CtcBeamOptions["extend"]>>(),
  finish: /* @__PURE__ */ callback<NonNullable<CtcBeamOptions["finish"]>>(),
  labelThreshold: /* @__PURE__ */ number(-Infinity),
  beamThreshold: /* @__PURE__ */ number(Infinity, { least: 0 }),
};

/** A hook, refused where what it gives is no score. */
function checked<A extends unknown[]>(
  name: string,
  hook: ((...args: A) => unknown) | undefined,
): ((...args: A) => number) | undefined {
  return (
    hook &&
    ((...args) => {
      const score = hook(...args);
      const isNumber = typeof score === "number";
      if (isNumber && score < Infinity) return score;
      const code = isNumber ? "NUMBER" : "TYPE";
      return fail(code, "ctcBeamDecode", `what ${name} gives`, describe(score), "a number below Infinity");
    })
  );
}

/**
 * The most probable labellings by prefix beam search: probabilities of paths that collapse to the same labels are added
 * up on the way. Gives the `topK` best that it found, best first; for a batch one such array per sample. Where the beam is wide enough for
 * all prefixes that there are, `logProb` is exact: minus {@link ctcLoss} of the same labels.
 *
 * - `logits`: as {@link ctcGreedyDecode} has them; where that gives NaN, so does this, once.
 *
 * `extend(prefix, label)` and `finish(labels)` add to a labelling's score, which then ranks them and comes back as `score`; `logProb` stays
 * what the logits say. Scores that are alike keep the order in which their prefixes were found. `labelThreshold` and
 * `beamThreshold` leave out what is improbable, to be faster. Where the hooks forbid all labellings, the array is empty.
 *
 * @throws RangeError `RANK`, `SHAPE`, `LENGTH`, `NUMBER` and TypeErrors, as {@link ctcLoss}.
 * @see Graves and Jaitly, Towards End-to-End Speech Recognition with Recurrent Neural Networks, 2014, section 5; Hannun et al.,
 * First-Pass Large Vocabulary Continuous Speech Recognition using Bi-Directional Recurrent DNNs, 2014 (with a language model).
 * @example
 * ```ts
 * import { ctcBeamDecode } from "perdida";
 * // the best path has no label, but two paths of "1" are more probable together
 * const logits = [[0.6, 0.4], [0.6, 0.4]].map((row) => row.map(Math.log));
 * const [best] = ctcBeamDecode(logits, { beamWidth: 4 });
 * console.log(best.labels.join(), Math.exp(best.logProb).toFixed(2)); // "1" "0.64"
 * ```
 */
export function ctcBeamDecode(logits: CtcSample, options?: CtcBeamOptions): CtcLabelling[];
export function ctcBeamDecode(logits: CtcBatch, options?: CtcBeamOptions): CtcLabelling[][];
export function ctcBeamDecode(logits: Input, options?: CtcBeamOptions): CtcLabelling[] | CtcLabelling[][];
export function ctcBeamDecode(logits: Input, options?: CtcBeamOptions): CtcLabelling[] | CtcLabelling[][] {
  return decode("ctcBeamDecode", beam, logits, options, (sample, o): CtcLabelling[] => {
    const extend = checked("extend", o.extend);
    const finish = checked("finish", o.finish);
    const found = beamDecode(sample, { ...o, extend, finish });
    return extend || finish ? found : found.map(({ labels, logProb }) => ({ labels, logProb }));
  });
}
