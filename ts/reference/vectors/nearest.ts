/** Search as plain loops in double precision: what the kernel computes is defined here; the js engine runs it. */
import type { FloatArray } from "../../types.js";
import type { Many } from "./many.js";

/** ||a - b||, 1 - cos, -a b: the numbers of the kernel. */
const METRIC = { cosine: 1, dot: 2 } as const;

/**
 * The k nearest items of each query: the nearest first, of several at one distance the first; what is NaN comes last.
 * Parameters: k, the metric.
 */
export function nearest({ rows: queries, columns: items, length, a, b: given, ...rest }: Many): number {
  const [k, metric] = rest.parameters as [number, number];
  const [b, indices, distances] = [
    given as FloatArray,
    rest.indices as Int32Array,
    rest.values as FloatArray,
  ];
  const dot = (x: FloatArray, i: number, y: FloatArray, j: number): number => {
    let sum = 0;
    for (let c = 0; c < length; c++) sum += (x[i * length + c] as number) * (y[j * length + c] as number);
    return sum;
  };
  const norm = (x: FloatArray, i: number): number => Math.max(Math.sqrt(dot(x, i, x, i)), 1e-8);
  const distanceOf = (i: number, j: number): number => {
    if (metric === METRIC.dot) return -dot(a, i, b, j);
    if (metric === METRIC.cosine) return 1 - dot(a, i, b, j) / (norm(a, i) * norm(b, j));
    let sum = 0;
    for (let c = 0; c < length; c++)
      sum += ((a[i * length + c] as number) - (b[j * length + c] as number)) ** 2;
    return Math.sqrt(sum);
  };
  // the best so far, in order: distances, their ranks (NaN is the last), indices
  const best = Array.from({ length: k }, () => ({ distance: 0, rank: 0, index: -1 }));
  for (let i = 0; i < queries; i++) {
    let found = 0;
    for (let j = 0; j < items; j++) {
      const distance = distanceOf(i, j);
      const rank = Number.isNaN(distance) ? Infinity : distance;
      if (found === k && rank >= (best[k - 1] as Best).rank) continue;
      const next = best[found < k ? found : k - 1] as Best;
      let at = found < k ? found : k - 1;
      for (; at > 0 && rank < (best[at - 1] as Best).rank; at--) best[at] = best[at - 1] as Best;
      best[at] = Object.assign(next, { distance, rank, index: j });
      found = Math.min(found + 1, k);
    }
    best.forEach(({ distance, index }, n) => {
      indices[i * k + n] = index;
      distances[i * k + n] = distance;
    });
  }
  return 0;
}
interface Best {
  distance: number;
  rank: number;
  index: number;
}
