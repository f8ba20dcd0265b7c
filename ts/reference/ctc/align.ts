/**
 * The best path through a target's lattice (Viterbi), in double precision: the lattice of ../ctc.ts with the largest of what
 * comes in instead of the sum.
 *
 * What multiplies all states of a step alike does not change which path is best, so logits are taken relative to their step's
 * largest, and the softmax denominators come in at the end, along the path. Ties: a path rather stays in its state than goes on to
 * the next, and rather that than leaves out a blank; it rather ends in the last label than in the blank behind.
 */
import type { FloatArray } from "../../types.js";
import { feasible, type Inputs, type Layout, sampleOf } from "../ctc.js";

/** Stands in a target for any class: it has probability 1 at each step. */
export const WILDCARD = -1;

/** A batch, and where its alignments go. */
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

export const ctcAlign: AlignReference = (layout, arrays) => {
  const [, , , , scores] = arrays;
  for (let n = 0; n < layout.samples; n++) scores[n] = align(layout, arrays, n);
  return 0;
};

function align(layout: Layout, arrays: Arrays, n: number): number {
  const { steps, blank, logits, first, stride, target, max, log, valid } = sampleOf(layout, arrays, n);
  const [, , , , , path, starts, ends, logProbs] = arrays;
  if (!valid) return Number.NaN;
  if (!feasible(target, steps)) return -Infinity;
  if (steps === 0) return 0;
  const states = 2 * target.length + 1;
  const symbol = (s: number): number => (s % 2 === 0 ? blank : (target[(s - 1) / 2] as number));
  /** The logarithm of a symbol's probability, but for its step's denominator. */
  const emission = (t: number, c: number): number =>
    c === WILDCARD ? (log[t] as number) : (logits[first + t * stride + c] as number) - (max[t] as number);

  // behind two states that no path is in
  let best = new Float64Array(states + 2).fill(-Infinity);
  let before = new Float64Array(states + 2).fill(-Infinity);
  /** From how many states below each state was entered. */
  const back = new Uint8Array(steps * states);
  best[2] = 0;
  for (let t = 0; t < steps; t++) {
    [before, best] = [best, before];
    for (let s = 0; s < states; s++) {
      let from = 0;
      const far = s > 1 && s % 2 === 1 && symbol(s) !== symbol(s - 2) ? 2 : 1;
      for (let k = 1; k <= far; k++)
        if ((before[s + 2 - k] as number) > (before[s + 2 - from] as number)) from = k;
      best[s + 2] = (before[s + 2 - from] as number) + emission(t, symbol(s));
      back[t * states + s] = from;
    }
  }
  let s = states - 1;
  if (s > 0 && (best[s + 1] as number) >= (best[s + 2] as number)) s--;
  if (best[s + 2] === -Infinity) return -Infinity;

  const labels = n * layout.labels;
  logProbs.fill(0, labels, labels + target.length);
  let score = 0;
  for (let t = steps - 1; t >= 0; t--) {
    const c = symbol(s);
    path[n * layout.steps + t] = c;
    const logProb = emission(t, c) - (log[t] as number);
    score += logProb;
    if (s % 2 === 1) {
      const i = labels + (s - 1) / 2;
      if (ends[i] === 0) ends[i] = t + 1;
      starts[i] = t;
      logProbs[i] = (logProbs[i] as number) + logProb;
    }
    s -= back[t * states + s] as number;
  }
  return score;
}
