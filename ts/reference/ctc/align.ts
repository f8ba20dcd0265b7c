/**
 * The best path through a target's lattice (Viterbi), in double precision: the lattice of ../ctc.ts with the largest of what
 * comes in instead of the sum.
 *
 * What multiplies all states of a step alike does not change which path is best, so logits are taken relative to their step's
 * largest, and the softmax denominators come in at the end, along the path. Ties: a path rather stays in its state than goes on to
 * the next, and rather that than leaves out a blank; it rather ends in the last label than in the blank behind.
 */
import { addUp } from "../../math.js";
import type { FloatArray } from "../../types.js";
import { type Inputs, type Layout, sampleOf } from "../ctc.js";

/** Stands in a target for any class: it has probability 1 at each step. */
export const WILDCARD = -1;

/** A batch, and where its alignments go: 0 where nothing is written. */
type Arrays = readonly [
  ...Inputs,
  /** The log-probability of each best path; -Infinity where there is none, NaN where a step is no distribution. */
  scores: FloatArray,
  /** The symbol of each step, [samples, steps]: a class, or the wildcard. */
  path: Int32Array,
  /** The first step of each label and the one behind its last, [samples, labels]. */
  starts: Int32Array,
  ends: Int32Array,
  /** The log-probability of each label's steps, [samples, labels]. */
  logProbs: FloatArray,
];

/** Writes the alignments. What has no path is left alone but for its score. */
export type AlignReference = (layout: Layout, arrays: Arrays) => number;

export const ctcAlign: AlignReference = (layout, arrays) =>
  addUp(layout.samples, 1, undefined, arrays[4], (n) => align(layout, arrays, n));

function align(layout: Layout, arrays: Arrays, n: number): number {
  const { steps, classes, symbols, logits, at, max, log, known } = sampleOf(layout, arrays, n);
  const [, , , , , path, starts, ends, logProbs] = arrays;
  if (known !== 0) return -known;
  const width = symbols.length;
  /** The logarithm of a symbol's probability at a step, but for its denominator. */
  const emission = (t: number, row: number, c: number): number =>
    c === WILDCARD ? (log[t] as number) : (logits[row + c] as number) - (max[t] as number);

  let best = new Float64Array(width).fill(-Infinity);
  let before = best.slice();
  /** From how many states below each state was entered. */
  const back = new Uint8Array(steps * width);
  best[2] = 0;
  for (let t = 0; t < steps; t++) {
    const row = at(t, classes);
    [before, best] = [best, before];
    for (let s = 2; s < width - 2; s++) {
      const c = symbols[s] as number;
      let from = 0;
      const far = symbols[s - 2] === c ? 1 : 2;
      for (let k = 1; k <= far; k++) if ((before[s - k] as number) > (before[s - from] as number)) from = k;
      best[s] = (before[s - from] as number) + emission(t, row, c);
      back[t * width + s] = from;
    }
  }
  let s = width - 3;
  if ((best[s - 1] as number) >= (best[s] as number)) s--;
  if (best[s] === -Infinity) return -Infinity;

  let score = 0;
  for (let t = steps - 1; t >= 0; t--) {
    const c = symbols[s] as number;
    path[n * layout.steps + t] = c;
    const logProb = emission(t, at(t, classes), c) - (log[t] as number);
    score += logProb;
    // labels stand between blanks
    if (s % 2 === 1) {
      const i = n * layout.labels + (s - 3) / 2;
      ends[i] ||= t + 1;
      starts[i] = t;
      logProbs[i] = (logProbs[i] as number) + logProb;
    }
    s -= back[t * width + s] as number;
  }
  return score;
}
