/** What the references of functions of many vectors read and write. */
import type { FloatArray } from "../../types.js";

/** One call. Arrays that are not given or not asked for are undefined. */
export interface Many {
  /** Vectors in the first set and in the second; where there is one set alone, as many as in that. */
  readonly rows: number;
  readonly columns: number;
  /** Numbers in each vector. */
  readonly length: number;
  readonly a: FloatArray;
  readonly b: FloatArray | undefined;
  /** The class of each vector of the first set. */
  readonly labels: Int32Array | undefined;
  readonly values: FloatArray | undefined;
  readonly gradA: FloatArray | undefined;
  readonly gradB: FloatArray | undefined;
  /** What flows in from above: a number per value, and a factor for all. */
  readonly upstream: FloatArray | undefined;
  readonly indices: Int32Array | undefined;
  /** Where it is written how many losses a mean divides by, and how many triplets are active. */
  readonly stats: FloatArray | undefined;
  readonly scale: number;
  /** The options as numbers, in the order of the kernel's. */
  readonly parameters: readonly number[];
}

/** A function of many vectors: writes what is asked for and gives the sum of the losses. */
export type ManyReference = (m: Many) => number;
