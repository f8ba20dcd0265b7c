/** Functions of numbers, without overflow, and sums. */
import type { FloatArray } from "./types.js";

/**
 * log sum exp of numbers that stand `inner` apart, as the largest and the logarithm of the rest: log softmax(x) is (x - max) - log, in
 * this order, which stays right where x is so large that max + log is max. An infinite largest number has log 0; it is NaN where one is.
 */
export function logSumExpOf(
  x: FloatArray,
  first: number,
  count: number,
  inner = 1,
): readonly [max: number, log: number] {
  const end = first + count * inner;
  let max = -Infinity;
  for (let i = first; i < end; i += inner) max = Math.max(max, x[i] as number);
  if (!Number.isFinite(max)) return [max, 0];
  let sum = 0;
  for (let i = first; i < end; i += inner) sum += Math.exp((x[i] as number) - max);
  return [max, Math.log(sum)];
}

/** log(1 + exp(z)). */
export function softplus(z: number): number {
  return Math.max(z, 0) + Math.log1p(Math.exp(-Math.abs(z)));
}

/** 1 / (1 + exp(-z)). */
export function sigmoid(z: number): number {
  const e = Math.exp(-Math.abs(z));
  return (z >= 0 ? 1 : e) / (1 + e);
}

/** Writes a loss per row where they are asked for, each given what flows in from above; gives their sum. */
export function addUp(
  rows: number,
  scale: number,
  upstream: FloatArray | undefined,
  values: FloatArray | undefined,
  loss: (row: number, upstream: number) => number,
): number {
  let sum = 0;
  for (let row = 0; row < rows; row++) {
    const value = loss(row, scale * (upstream?.[row] ?? 1));
    if (values !== undefined) values[row] = value;
    sum += value;
  }
  return sum;
}
