/** What the tests of functions of many vectors have in common. */
import type { FloatArray, Tensor } from "../../ts/types.js";
import { randomStream } from "../support/generate.js";

export type DTypeName = "float32" | "float64";
export const DTYPES = ["float32", "float64"] as const;

/** Bell-shaped numbers [n, d]. */
export function vectorsOf(n: number, d: number, seed: number, dtype: DTypeName = "float32"): Tensor {
  const random = randomStream(seed);
  const data = dtype === "float32" ? new Float32Array(n * d) : new Float64Array(n * d);
  for (let i = 0; i < data.length; i++) data[i] = (random() + random() + random() - 1.5) * 2;
  return { data, shape: [n, d] };
}

/** ||x_i - y_j|| in double precision. */
export function exactDistance(x: Tensor, i: number, y: Tensor, j: number): number {
  const d = x.shape[1] as number;
  let sum = 0;
  for (let k = 0; k < d; k++) sum += ((x.data[i * d + k] as number) - (y.data[j * d + k] as number)) ** 2;
  return Math.sqrt(sum);
}

/** Some rows of a set, copied. */
export function rowsOf(x: Tensor, rows: readonly number[]): Tensor {
  const d = x.shape[1] as number;
  const data = new (x.data.constructor as new (length: number) => FloatArray)(rows.length * d);
  rows.forEach((row, i) => {
    data.set(x.data.subarray(row * d, row * d + d), i * d);
  });
  return { data, shape: [rows.length, d] };
}
