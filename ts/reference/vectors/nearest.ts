/** Search as plain loops in double precision: what the kernel computes is defined here; the js engine runs it. */
import type { FloatArray } from "../../types.js";
import type { ManyReference } from "./many.js";
import { dot, FLOOR, normOf, squaredDistance } from "./measures.js";

/** ||a - b||, 1 - cos, -a b: the numbers of the kernel. */
const METRIC = { euclidean: 0, cosine: 1, dot: 2 } as const;

/**
 * The k nearest items of each query: the nearest first, of several at one distance the first; what is NaN comes last.
 * Parameters: k, the metric.
 */
export const nearest: ManyReference = (
  { rows: queries, columns: items, length, parameters },
  [a, b, , distances, , , , indices],
) => {
  const [k, metric] = parameters as [number, number];
  const all = b as FloatArray;
  /** Of cosines alone: each vector meets all of the other set. */
  const norms = (x: FloatArray, count: number): Float64Array =>
    Float64Array.from({ length: metric === METRIC.cosine ? count : 0 }, (_, i) =>
      normOf(x, i * length, length, FLOOR),
    );
  const [normsA, normsB] = [norms(a, queries), norms(all, items)];
  const distanceOf = (i: number, j: number): number => {
    if (metric === METRIC.euclidean)
      return Math.sqrt(squaredDistance(a, i * length, all, j * length, length));
    const product = dot(a, i * length, all, j * length, length);
    if (metric === METRIC.dot) return -product;
    return 1 - product / ((normsA[i] as number) * (normsB[j] as number));
  };
  for (let i = 0; i < queries; i++) {
    // the best so far, in order; the rank of NaN is the last
    const best: Best[] = [];
    for (let j = 0; j < items; j++) {
      const distance = distanceOf(i, j);
      const rank = Number.isNaN(distance) ? Infinity : distance;
      let at = best.length;
      while (at > 0 && rank < (best[at - 1] as Best).rank) at--;
      if (at === k) continue;
      best.splice(at, 0, { distance, rank, index: j });
      if (best.length > k) best.pop();
    }
    best.forEach(({ distance, index }, n) => {
      (indices as Int32Array)[i * k + n] = index;
      (distances as FloatArray)[i * k + n] = distance;
    });
  }
  return 0;
};
interface Best {
  distance: number;
  rank: number;
  index: number;
}
