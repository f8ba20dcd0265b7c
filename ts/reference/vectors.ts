/**
 * The functions of vectors as plain loops in double precision: one number per row of inputs [count, length]. What the kernels
 * compute is defined here; the js engine runs it.
 */
import { addUp } from "../math.js";
import type { FloatArray } from "../types.js";
import { add, type Between, cosine, cosineDistance, lpDistance, smoothCosine } from "./vectors/measures.js";

/** How the vectors lie, and what multiplies each gradient. */
export interface Vectors {
  readonly count: number;
  readonly length: number;
  readonly scale: number;
  /** The options as numbers, in the order of the kernel's. */
  readonly parameters: readonly number[];
  /** What a caller's own distance gave, for each pair of a triplet. */
  readonly measured?: readonly Measured[] | undefined;
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
  (measure: (v: Vectors) => Between): VectorsReference =>
  (v, [a, b, , , , gradA, gradB]) => {
    const { of, pull } = measure(v)(a, b, gradA, gradB);
    return (upstream, at) => {
      const value = of(at, at);
      pull(upstream, value, at, at);
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
  const { of, pull } = smoothCosine(v.length)(a, b, gradA, gradB);
  const margin = v.parameters[0] as number;
  return (upstream, at, row) => {
    const cos = of(at, at);
    const isAlike = target?.[row] === 1;
    if (isAlike || !(cos < margin)) pull(isAlike ? -upstream : upstream, cos, at, at);
    return isAlike ? 1 - cos : Math.max(0, cos - margin);
  };
};

/** max(0, margin + d(a, p) - d(a, n)), with `swap` the least of d(a, n) and d(p, n) in its place. */
const triplets =
  (distance: (v: Vectors) => Between): VectorsReference =>
  (v, [a, p, n, , , gradA, gradB, gradC]) => {
    const between = distance(v);
    const positive = between(a, p, gradA, gradB);
    const far = between(a, n as FloatArray, gradA, gradC, 1);
    const swapped = between(p, n as FloatArray, gradB, gradC, 2);
    const [, margin, , swap] = v.parameters as [number, number, number, number];
    return (upstream, at) => {
      const toPositive = positive.of(at, at);
      const toNegative = far.of(at, at);
      const across = swap === 1 ? swapped.of(at, at) : Infinity;
      const z = margin + toPositive - Math.min(toNegative, across);
      if (!(z < 0)) {
        // the slope of the least of two equal distances is shared
        const part = toNegative > across ? 0 : toNegative === across && swap === 1 ? 0.5 : 1;
        positive.pull(upstream, toPositive, at, at);
        if (part > 0) far.pull(-upstream * part, toNegative, at, at);
        if (part < 1) swapped.pull(-upstream * (1 - part), across, at, at);
      }
      return Math.max(0, z);
    };
  };

/** The distance is ||x - y + eps||_p. Parameters: p, margin, eps, swap. */
export const tripletMarginLoss: VectorsReference = /* @__PURE__ */ triplets(({ length, parameters }) =>
  lpDistance(length, parameters[0] as number, parameters[2] as number),
);

/** What a caller's own distance gave for one of the pairs of each triplet, with its gradients where they are wanted. */
export interface Measured {
  /** One for each triplet. */
  readonly distances: Float64Array;
  readonly gradX: Float64Array;
  readonly gradY: Float64Array;
}

/** Distances that were measured beforehand. */
const measuredDistance =
  (length: number, measured: readonly Measured[]): Between =>
  (_x, _y, gradX, gradY, pair = 0) => {
    const given = measured[pair] as Measured;
    return {
      of: (i) => given.distances[i / length] as number,
      pull(factor, _value, i) {
        for (let k = i; k < i + length; k++) {
          add(gradX, k, factor * (given.gradX[k] as number));
          add(gradY, k, factor * (given.gradY[k] as number));
        }
      },
    };
  };

/** The distance is Euclidean, that of cosines, or Manhattan's. Parameters: the distance as 0, 1, 2; margin, nothing, swap. */
export const tripletMarginWithDistanceLoss: VectorsReference = /* @__PURE__ */ triplets((v) => {
  const { length, parameters, measured } = v;
  if (measured !== undefined) return measuredDistance(length, measured);
  if (parameters[0] === 1) return cosineDistance(length);
  return lpDistance(length, parameters[0] === 0 ? 2 : 1, 1e-6);
});
