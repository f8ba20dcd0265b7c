/** Triplets of a batch as plain loops in double precision: what the kernel computes is defined here; the js engine runs it. */
import { sigmoid, softplus } from "../../math.js";
import type { ManyReference } from "./many.js";
import { add, squaredDistance } from "./measures.js";

/** Which triplets of an anchor count. */
const MINING = { hard: 0, semiHard: 1, all: 2 } as const;

/**
 * max(0, margin + d(a, p) - d(a, n)), or log(1 + exp(d(a, p) - d(a, n))) with a soft margin, over triplets of a batch:
 * hard: the farthest positive and the nearest negative of each anchor; semi-hard: each positive with the nearest negative that
 * is farther than it, or with the farthest where none is; all: all. Of several at one distance the first counts; one that is NaN is
 * taken as the farthest and as the nearest.
 * Parameters: the mining, margin, squared, soft, mean.
 */
export const batchTriplet: ManyReference = (
  { rows: count, length, scale, parameters },
  [x, , given, values, grad, , upstream, , stats],
) => {
  const labels = given as Int32Array;
  const [mining, margin, squared, soft, mean] = parameters as [number, number, number, number, number];
  const distances = new Float64Array(count);
  const gradient = new Float64Array(count * length);
  let [sum, counted, active] = [0, 0, 0];
  /** Adds up*d(i, j) to the gradient. */
  const pull = (up: number, i: number, j: number): void => {
    const d = distances[j] as number;
    if (up === 0 || (squared === 0 && d === 0)) return;
    const factor = squared === 1 ? 2 * up : up / d;
    for (let k = 0; k < length; k++) {
      const g = factor * ((x[i * length + k] as number) - (x[j * length + k] as number));
      add(gradient, i * length + k, g);
      add(gradient, j * length + k, -g);
    }
  };
  for (let i = 0; i < count; i++) {
    for (let j = 0; j < count; j++) {
      const square = squaredDistance(x, i * length, x, j * length, length);
      distances[j] = squared === 1 ? square : Math.sqrt(square);
    }
    const up = upstream?.[i] ?? 1;
    let loss = 0;
    const weights = new Float64Array(count);
    const at = (j: number): number => distances[j] as number;
    const triplet = (p: number, n: number): void => {
      const gap = at(p) - at(n);
      const z = margin + gap;
      const slope = soft === 1 ? sigmoid(gap) : z <= 0 ? 0 : 1;
      loss += soft === 1 ? softplus(gap) : Math.max(0, z);
      counted += 1;
      // a soft margin is never done, however small the slope
      if (slope === 0 && soft === 0) return;
      active += 1;
      add(weights, p, slope);
      add(weights, n, slope);
    };
    const negatives: number[] = [];
    const positives: number[] = [];
    for (let j = 0; j < count; j++) {
      if (labels[j] !== labels[i]) negatives.push(j);
      else if (j !== i) positives.push(j);
    }
    /** The first that is nearest, or with -1 farthest. */
    const most = (from: readonly number[], sign: 1 | -1): number | undefined => {
      let [best] = from;
      for (const j of from) {
        if (Number.isNaN(at(j))) return j;
        if (sign * at(j) < sign * at(best as number)) best = j;
      }
      return best;
    };
    const nearest = most(negatives, 1);
    const farthest = most(positives, -1);
    const against = (p: number): readonly number[] => {
      if (mining !== MINING.semiHard) return negatives;
      const beyond = negatives.filter((n) => Number.isNaN(at(n)) || at(n) > at(p));
      return [most(beyond, 1) ?? (most(negatives, -1) as number)];
    };
    if (nearest !== undefined && farthest !== undefined) {
      if (mining === MINING.hard) triplet(farthest, nearest);
      else for (const p of positives) for (const n of against(p)) triplet(p, n);
    }
    for (const p of positives) pull(up * (weights[p] as number), i, p);
    for (const n of negatives) pull(-up * (weights[n] as number), i, n);
    if (values !== undefined) values[i] = loss;
    sum += loss;
  }
  // of all triplets the mean is that of those above 0
  const divisor = mining === MINING.all ? Math.min(counted, Math.max(active, 1)) : counted;
  const factor = mean === 1 ? scale / divisor : scale;
  if (grad !== undefined)
    for (let k = 0; k < gradient.length; k++) grad[k] = divisor === 0 ? 0 : factor * (gradient[k] as number);
  stats?.set([divisor, active]);
  return sum;
};
