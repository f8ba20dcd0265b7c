/** Triplets of a batch as plain loops in double precision: what the kernel computes is defined here; the js engine runs it. */
import { addUp, sigmoid, softplus } from "../../math.js";
import type { ManyReference } from "./many.js";
import { add, squaredDistance } from "./measures.js";

/** Which triplets of an anchor count: the numbers of the kernel. */
export const MINING = { hard: 0, semiHard: 1, all: 2 } as const;

/**
 * max(0, margin + d(a, p) - d(a, n)), or log(1 + exp(d(a, p) - d(a, n))) with a soft margin, over triplets of a batch:
 * hard: the farthest positive and the nearest negative of each anchor; semi-hard: each positive with the nearest negative that
 * is farther than it, or with the farthest where none is; all: all. Of several at one distance the first counts; one that is NaN is
 * taken as the farthest and as the nearest.
 * Parameters: the mining, margin, squared, soft, mean.
 */
export const batchTriplet: ManyReference = (
  { rows: count, length, scale, parameters },
  [x, , labels, values, grad, , upstream, , stats],
) => {
  const [mining, margin, squared, soft, mean] = parameters as [number, number, number, number, number];
  const distances = new Float64Array(count);
  const weights = new Float64Array(count);
  const gradient = new Float64Array(count * length);
  const at = (j: number): number => distances[j] as number;
  /** The nearest of some, or with -1 the farthest, of those beyond a distance, all by default: the first of several, and of all the first NaN. */
  const most = (sign: 1 | -1, from: readonly number[], beyond = -1): number | undefined => {
    let best: number | undefined;
    for (const j of from) {
      if (Number.isNaN(at(j))) return j;
      if (at(j) > beyond && (best === undefined || sign * at(j) < sign * at(best))) best = j;
    }
    return best;
  };
  let counted = 0;
  let active = 0;
  const sum = addUp(count, 1, upstream, values, (i, up) => {
    const positives: number[] = [];
    const negatives: number[] = [];
    for (let j = 0; j < count; j++) {
      const square = squaredDistance(x, i * length, x, j * length, length);
      distances[j] = squared === 1 ? square : Math.sqrt(square);
      if (j !== i) (labels?.[j] === labels?.[i] ? positives : negatives).push(j);
    }
    if (positives.length === 0 || negatives.length === 0) return 0;
    const farthest = (from: readonly number[]): number => most(-1, from) as number;
    const against = (p: number): readonly number[] => {
      if (mining === MINING.all) return negatives;
      // semi-hard: where none is farther than the positive, the farthest
      return [most(1, negatives, mining === MINING.hard ? -1 : at(p)) ?? farthest(negatives)];
    };
    weights.fill(0);
    let loss = 0;
    for (const p of mining === MINING.hard ? [farthest(positives)] : positives) {
      for (const n of against(p)) {
        const gap = at(p) - at(n);
        const z = margin + gap;
        const slope = soft === 1 ? sigmoid(gap) : z <= 0 ? 0 : 1;
        loss += soft === 1 ? softplus(gap) : Math.max(0, z);
        counted += 1;
        // a soft margin is never done, however small the slope
        active += soft === 1 ? 1 : slope;
        add(weights, p, slope);
        add(weights, n, -slope);
      }
    }
    for (const j of positives.concat(negatives)) {
      const weight = up * (weights[j] as number);
      if (weight === 0 || (squared === 0 && at(j) === 0)) continue;
      const factor = squared === 1 ? 2 * weight : weight / at(j);
      for (let k = 0; k < length; k++) {
        const g = factor * ((x[i * length + k] as number) - (x[j * length + k] as number));
        add(gradient, i * length + k, g);
        add(gradient, j * length + k, -g);
      }
    }
    return loss;
  });
  // of all triplets the mean is that of those above 0
  const divisor = mining === MINING.all ? Math.min(counted, Math.max(active, 1)) : counted;
  const factor = mean === 1 ? scale / (divisor || 1) : scale;
  if (grad !== undefined)
    for (let k = 0; k < gradient.length; k++) grad[k] = factor * (gradient[k] as number);
  stats?.set([divisor, active]);
  return sum;
};
