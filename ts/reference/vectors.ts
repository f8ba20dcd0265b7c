/**
 * The functions of vectors as plain loops in double precision: one number per row of inputs [count, length]. What the kernels
 * compute is defined here; the js engine runs it.
 */
import { addUp } from "../math.js";
import type { FloatArray } from "../types.js";
import { add, cosine, cosineDistance, lpDistance, type Measure, smoothCosine } from "./vectors/measures.js";

/** How the vectors lie, and what multiplies each gradient. */
export interface Vectors {
  readonly count: number;
  readonly length: number;
  readonly scale: number;
  /** The options as numbers, in the order of the kernel's. */
  readonly parameters: readonly number[];
  /** What a caller's own distance gave. */
  readonly measured?: Measured | undefined;
}

/** What a function of pairs or triples of vectors reads and writes. Arrays that are not given or not asked for are undefined. */
export type Arrays = readonly [
  /** The inputs in their order, [count, length]; the third is there for triples. */
  a: FloatArray,
  b: FloatArray,
  c: FloatArray | undefined,
  /** A number per row. */
  target: FloatArray | undefined,
  /** The single values come here. */
  values: FloatArray | undefined,
  gradA: FloatArray | undefined,
  gradB: FloatArray | undefined,
  gradC: FloatArray | undefined,
  /** What flows in from above: a number per row. */
  upstream: FloatArray | undefined,
];

/** The value of one row, whose vectors begin at `first`: adds to the gradients that are asked for. */
type OfRow = (upstream: number, first: number, row: number) => number;

/** A function of the vectors of a call. */
export type VectorsReference = (v: Vectors, arrays: Arrays) => OfRow;

/** Runs a function over all rows, gradients being 0 at the start; gives the sum of the values. */
export function runVectors(f: VectorsReference, v: Vectors, arrays: Arrays): number {
  const [, , , , values, gradA, gradB, gradC, upstream] = arrays;
  for (const grad of [gradA, gradB, gradC]) grad?.fill(0);
  const ofRow = f(v, arrays);
  return addUp(v.count, v.scale, upstream, values, (row, up) => ofRow(up, row * v.length, row));
}

/** A measure of pairs. */
const ofPairs =
  (measure: (v: Vectors) => Measure): VectorsReference =>
  (v, [a, b, , , , gradA, gradB]) => {
    const { of, pull } = measure(v);
    return (upstream, first) => {
      const value = of(a, first, b, first, 0);
      pull(upstream, value, a, first, b, first, gradA, gradB, 0);
      return value;
    };
  };

/** ||x1 - x2 + eps||_p. Parameters: p, eps. */
export const pairwiseDistance: VectorsReference = /* @__PURE__ */ ofPairs(({ length, parameters }) =>
  lpDistance(length, parameters[0] as number, parameters[1] as number),
);

/** x1 x2 / (|x1| |x2|). */
export const cosineSimilarity: VectorsReference = /* @__PURE__ */ ofPairs(({ length }) => cosine(length));

/** 1 - cos where the target is 1, max(0, cos - margin) where it is -1. Parameter: margin. */
export const cosineEmbeddingLoss: VectorsReference = (v, [a, b, , target, , gradA, gradB]) => {
  const { of, pull } = smoothCosine(v.length);
  const margin = v.parameters[0] as number;
  return (upstream, first, row) => {
    const cos = of(a, first, b, first, 0);
    const isAlike = target?.[row] === 1;
    if (isAlike || !(cos < margin))
      pull(isAlike ? -upstream : upstream, cos, a, first, b, first, gradA, gradB, 0);
    return isAlike ? 1 - cos : Math.max(0, cos - margin);
  };
};

/** max(0, margin + d(a, p) - d(a, n)), with `swap` the least of d(a, n) and d(p, n) in its place. */
const triplets =
  (distance: (v: Vectors) => Measure): VectorsReference =>
  (v, [a, p, negative, , , gradA, gradB, gradC]) => {
    const { of, pull } = distance(v);
    const n = negative as FloatArray;
    const [, margin, , swap] = v.parameters as [number, number, number, number];
    return (upstream, at) => {
      const near = of(a, at, p, at, 0);
      const far = of(a, at, n, at, 1);
      const swapped = swap === 1 ? of(p, at, n, at, 2) : Infinity;
      const least = swap === 1 ? Math.min(far, swapped) : far;
      const z = margin + near - least;
      if (!(z < 0)) {
        // the slope of the least of two equal distances is shared
        const part = swap === 0 ? 1 : far === swapped ? 0.5 : far > swapped ? 0 : 1;
        pull(upstream, near, a, at, p, at, gradA, gradB, 0);
        if (part > 0) pull(-upstream * part, far, a, at, n, at, gradA, gradC, 1);
        if (part < 1) pull(-upstream * (1 - part), swapped, p, at, n, at, gradB, gradC, 2);
      }
      return Math.max(0, z);
    };
  };

/** The distance is ||x - y + eps||_p. Parameters: p, margin, eps, swap. */
export const tripletMarginLoss: VectorsReference = /* @__PURE__ */ triplets(({ length, parameters }) =>
  lpDistance(length, parameters[0] as number, parameters[2] as number),
);

/** What a caller's own distance gave: for each triplet those of its pairs side by side, with their gradients where they are wanted. */
export interface Measured {
  readonly distances: Float64Array;
  readonly gradX: Float64Array;
  readonly gradY: Float64Array;
}

/** Distances that were measured beforehand. */
function measuredDistance({ count, length }: Vectors, measured: Measured): Measure {
  const pairs = measured.distances.length / count;
  return {
    of: (_x, i, _y, _j, pair) => measured.distances[(i / length) * pairs + pair] as number,
    pull(factor, _value, _x, i, _y, j, gradX, gradY, pair) {
      const at = i * pairs + pair * length;
      for (let k = 0; k < length; k++) {
        add(gradX, i + k, factor * (measured.gradX[at + k] as number));
        add(gradY, j + k, factor * (measured.gradY[at + k] as number));
      }
    },
  };
}

/** The distance is Euclidean, that of cosines, or Manhattan's. Parameters: the distance as 0, 1, 2; margin, nothing, swap. */
export const tripletMarginWithDistanceLoss: VectorsReference = /* @__PURE__ */ triplets((v) => {
  const { length, parameters, measured } = v;
  if (measured !== undefined) return measuredDistance(v, measured);
  const [kind] = parameters;
  return kind === 1 ? cosineDistance(length) : lpDistance(length, kind === 0 ? 2 : 1, 1e-6);
});
