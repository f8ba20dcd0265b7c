/** What the references of functions of many vectors read and write. */
import type { FloatArray } from "../../types.js";

/** How the vectors lie, and what multiplies each gradient. */
export interface Many {
  /** Vectors in the first set and in the second; where there is one set alone, as many as in that. */
  readonly rows: number;
  readonly columns: number;
  /** Numbers in each vector. */
  readonly length: number;
  readonly scale: number;
  /** The options as numbers, in the order of the kernel's. */
  readonly parameters: readonly number[];
}

/** The arrays of a call: those that are not given or not asked for are undefined. */
export type Arrays = readonly [
  a: FloatArray,
  b: FloatArray | undefined,
  /** The class of each vector of the first set. */
  labels: Int32Array | undefined,
  values: FloatArray | undefined,
  gradA: FloatArray | undefined,
  gradB: FloatArray | undefined,
  /** What flows in from above: a number per value. */
  upstream: FloatArray | undefined,
  indices: Int32Array | undefined,
  /** Where it is written how many losses a mean divides by, and how many triplets are active. */
  stats: FloatArray | undefined,
];

/** A function of many vectors: writes what is asked for and gives the sum of the losses. */
export type ManyReference = (m: Many, arrays: Arrays) => number;
