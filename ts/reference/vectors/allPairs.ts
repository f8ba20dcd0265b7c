/** The distances of all pairs as plain loops in double precision: what the kernel computes is defined here; the js engine runs it. */
import type { FloatArray } from "../../types.js";
import type { Many } from "./many.js";

/** ||a_i - b_j||_p for all i and j; without b those within a. Parameter: p. */
export function cdist({
  rows,
  columns,
  length,
  a,
  b,
  values,
  gradA,
  gradB,
  upstream,
  scale,
  parameters,
}: Many): number {
  const p = parameters[0] as number;
  const own = b === undefined;
  const other = b ?? a;
  gradA?.fill(0);
  gradB?.fill(0);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) {
      const at = i * columns + j;
      const distance = own && i === j ? 0 : norm(length, p, a, i * length, other, j * length);
      if (values !== undefined) values[at] = distance;
      const up = scale * (upstream === undefined ? 1 : (upstream[at] as number));
      // nothing flows where nothing flows in, even through what is not finite
      if (distance === 0 || up === 0) continue;
      pull(length, p, up, distance, a, i * length, other, j * length, gradA, own ? gradA : gradB);
    }
  }
  return 0;
}

/** ||x - y||_p of the vectors that begin at i and j. */
function norm(length: number, p: number, x: FloatArray, i: number, y: FloatArray, j: number): number {
  let sum = 0;
  let max = 0;
  for (let k = 0; k < length; k++) {
    const d = Math.abs((x[i + k] as number) - (y[j + k] as number));
    sum += p === 1 ? d : d * d;
    max = Math.max(max, d);
  }
  if (p === 1) return sum;
  if (p === 2) return Math.sqrt(sum);
  if (p === Infinity || max === 0 || !Number.isFinite(max)) return max;
  // the largest is taken out, so that no power overflows
  let powers = 0;
  for (let k = 0; k < length; k++) {
    powers += (Math.abs((x[i + k] as number) - (y[j + k] as number)) / max) ** p;
  }
  return max * powers ** (1 / p);
}

/** Adds `up` times the slopes of a distance. That of a largest difference is shared by those that are. */
function pull(
  length: number,
  p: number,
  up: number,
  distance: number,
  x: FloatArray,
  i: number,
  y: FloatArray,
  j: number,
  gradX: FloatArray | undefined,
  gradY: FloatArray | undefined,
): void {
  const difference = (k: number): number => (x[i + k] as number) - (y[j + k] as number);
  let ties = 0;
  for (let k = 0; k < length; k++) if (Math.abs(difference(k)) === distance) ties += 1;
  for (let k = 0; k < length; k++) {
    const d = difference(k);
    let slope = d / distance;
    if (p === 1) slope = d > 0 ? 1 : d < 0 ? -1 : 0;
    else if (p === Infinity) slope = Math.abs(d) === distance ? Math.sign(d) / ties : 0 * d;
    else if (p !== 2) slope = Math.sign(d) * Math.abs(slope) ** (p - 1);
    if (gradX !== undefined) gradX[i + k] = (gradX[i + k] as number) + up * slope;
    if (gradY !== undefined) gradY[j + k] = (gradY[j + k] as number) - up * slope;
  }
}
