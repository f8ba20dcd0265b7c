/** Forced alignment: where the labels of a target stand. */
import { door } from "#door/align";
import { type Call, define, type Family } from "../../define.js";
import { fail } from "../../errors.js";
import { number } from "../../options.js";
import { type AlignReference, ctcAlign as reference } from "../../reference/ctc/align.js";
import type { Input, TypedArray } from "../../types.js";
import {
  type CtcBatch,
  type CtcLayout,
  type CtcSample,
  type CtcTargets,
  OF_TARGETS,
  type Read,
  readSequences,
} from "./sequences.js";

/** The steps of one label of a target. */
export interface CtcSpan {
  /** The class; -1 for `"*"`. */
  label: number;
  /** Its first step, and the one behind its last. */
  start: number;
  end: number;
  /** The log-probability of its steps. */
  logProb: number;
  /** The same places in seconds, where `frameDuration` is given. */
  startTime?: number;
  endTime?: number;
}

/** The labels between two separators. */
export interface CtcWord extends Omit<CtcSpan, "label"> {
  labels: number[];
  /** Which word of the target it is, empty ones counted, which have no entry: as in text.split(" "). */
  index: number;
}

/** The best path of one sample. */
export interface CtcAlignment {
  /** The symbol of each step that counts: a class, blanks included, or -1 for `"*"`. Empty where the target has no path. */
  labels: Int32Array;
  /** One per label of the target, in their order; none where the target has no path. */
  spans: CtcSpan[];
  /** Where `separator` is given. */
  words?: CtcWord[];
  /** The log-probability of the path; -Infinity where there is none, NaN where a step is no distribution. */
  score: number;
}

/** Targets for {@link ctcAlign}: `"*"` may stand in arrays of labels. */
export type CtcAlignTargets =
  | CtcTargets
  | readonly (number | "*")[]
  | readonly (readonly (number | "*")[] | TypedArray)[];

/** Options of {@link ctcAlign}. */
export interface CtcAlignOptions {
  /** The class that stands for "no label here". Default 0. */
  blank?: number | undefined;
  /** How many steps of each sample count, [N]. Default: all T. */
  inputLengths?: Input | undefined;
  /** How many labels of each target count, [N]. Default: all there are. */
  targetLengths?: Input | undefined;
  /** Logits are [N, T, C] (`"NTC"`, default) or [T, N, C] (`"TNC"`). */
  layout?: CtcLayout | undefined;
  /** Seconds from one step to the next: spans and words then have times as well. */
  frameDuration?: number | undefined;
  /** The class that stands between words: spans then are merged into words as well. */
  separator?: number | undefined;
}

interface Plan extends Read {
  readonly scores: Float64Array;
  readonly path: Int32Array;
  readonly starts: Int32Array;
  readonly ends: Int32Array;
  readonly logProbs: Float64Array;
}

/** The options that are the alignment's own. */
interface Own {
  readonly frameDuration: number | undefined;
  readonly separator: number | undefined;
}

const family: Family<Plan, AlignReference> = {
  door,
  plan(call) {
    const { separator } = call.options as unknown as Own;
    const read = readSequences(call, true);
    const { samples, steps, classes, labels, blank } = read;
    if (separator !== undefined && (separator >= classes || separator === blank)) {
      const expected = `a class index in [0, ${classes}) that is not the blank`;
      fail("NUMBER", call.where, "separator", String(separator), expected);
    }
    const scores = new Float64Array(samples);
    const path = new Int32Array(samples * steps);
    const starts = new Int32Array(samples * labels);
    const ends = new Int32Array(samples * labels);
    const logProbs = new Float64Array(samples * labels);
    for (const result of [scores, path, starts, ends, logProbs]) call.own(result, true);
    // the scores come back with the rest: there is no value beside them
    call.lossShape = [0];
    call.valueSlot();
    return Object.assign(read, { scores, path, starts, ends, logProbs });
  },
  finish(call, plan) {
    const alignments = Array.from({ length: plan.samples }, (_, n) => alignment(call, plan, n));
    call.extras = { alignments: plan.single ? alignments[0] : alignments };
  },
};

/** What came out for sample n. */
function alignment(call: Call, plan: Plan, n: number): CtcAlignment {
  const { frameDuration, separator } = call.options as unknown as Own;
  const score = plan.scores[n] as number;
  const found = Number.isFinite(score);
  const first = n * plan.steps;
  const labels = plan.path.slice(first, first + (found ? (plan.inputLengths[n] as number) : 0));
  const timed = <S extends CtcSpan | CtcWord>(span: S): S =>
    frameDuration === undefined
      ? span
      : Object.assign(span, { startTime: span.start * frameDuration, endTime: span.end * frameDuration });
  const spans: CtcSpan[] = [];
  const words: CtcWord[] = [];
  let word: CtcWord | undefined;
  let index = 0;
  const count = found ? (plan.targetLengths[n] as number) : 0;
  for (let i = n * plan.labels; i < n * plan.labels + count; i++) {
    const label = plan.targets[i] as number;
    const start = plan.starts[i] as number;
    const end = plan.ends[i] as number;
    const logProb = plan.logProbs[i] as number;
    spans.push(timed({ label, start, end, logProb }));
    if (label === separator) {
      word = undefined;
      index++;
    } else if (word === undefined) {
      word = { labels: [label], index, start, end, logProb };
      words.push(word);
    } else {
      word.labels.push(label);
      word.end = end;
      word.logProb += logProb;
    }
  }
  return { labels, spans, score, ...(separator !== undefined && { words: words.map(timed) }) };
}

const aligned = /* @__PURE__ */ define<
  Plan,
  AlignReference,
  { valueAndGrad(...args: unknown[]): { alignments: CtcAlignment & CtcAlignment[] } }
>({
  name: "ctcAlign",
  inputs: [{ name: "logits" }, { name: "targets", raw: true }],
  options: {
    ...OF_TARGETS,
    frameDuration: number(undefined, { above: 0 }),
    separator: number(undefined, { least: 0, integer: true }),
  },
  mapping: true,
  plain: true,
  family,
  reference,
});

/**
 * Forced alignment: the most probable path of a target (Viterbi), and with it the steps of each label. One sample gives one
 * alignment, a batch an array of them.
 *
 * - `logits`: [N, T, C] (or as `layout` says), or [T, C] for one sample; log-probabilities are logits as well.
 * - `targets`: as {@link ctcLoss} has them. In arrays of labels `"*"` stands for anything, a word that the alphabet cannot
 *   spell: it has probability 1 at each step that it takes (at least one), and its label is -1 in what comes out.
 *
 * `labels` has the symbol of each step, blanks included; `spans` one entry per label of the target: its steps [`start`, `end`) and their
 * log-probability; `score` is that of the whole path. With `frameDuration` (seconds per step) spans have times too, with
 * `separator` (a class) there are `words`: the labels between separators, from the first's start to the last's end.
 *
 * Ties: a path rather stays in its state than goes on to the next, and rather that than leaves out a blank; it
 * rather ends in the last label than in the blank behind it. A target that the input cannot emit has score -Infinity and no spans, a
 * sample with a step that has NaN, +Infinity or nothing but -Infinity has score NaN and no spans.
 *
 * It keeps about S bytes per step, 2 S in double precision: cut hours of speech into pieces. Two `"*"` side by side need a blank between
 * them.
 *
 * @throws RangeError `RANK`, `SHAPE`, `LABEL`, `LENGTH`, `NUMBER` and TypeErrors, as {@link ctcLoss}.
 * @see torchaudio `forced_align`; Graves et al., Connectionist Temporal Classification, 2006.
 * @example
 * ```ts
 * import { ctcAlign } from "perdida";
 * const logits = [[0, 3, 0], [0, 3, 0], [3, 0, 0], [0, 0, 3]];
 * const { labels, spans } = ctcAlign(logits, [1, 2], { frameDuration: 0.01 });
 * console.log(labels.join()); // "1,1,0,2"
 * console.log(spans[1].start, spans[1].endTime); // 3 0.04
 * ```
 */
export function ctcAlign(
  logits: CtcSample,
  targets: CtcAlignTargets,
  options?: CtcAlignOptions,
): CtcAlignment;
export function ctcAlign(
  logits: CtcBatch,
  targets: CtcAlignTargets,
  options?: CtcAlignOptions,
): CtcAlignment[];
export function ctcAlign(
  logits: Input,
  targets: CtcAlignTargets,
  options?: CtcAlignOptions,
): CtcAlignment | CtcAlignment[];
export function ctcAlign(...args: unknown[]): CtcAlignment | CtcAlignment[] {
  return aligned.valueAndGrad(...args).alignments;
}
