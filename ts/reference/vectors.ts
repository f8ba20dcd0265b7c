/**
 * The functions of vectors as plain loops in double precision: one number per row of inputs [count, length]. What the kernels
 * compute is defined here; the js engine runs it.
 */
import type { FloatArray } from "../types.js";
import {
  addTimes,
  cosine,
  cosineDistance,
  lpDistance,
  type Measure,
  smoothCosine,
} from "./vectors/measures.js";

/** What a function of pairs or triples of vectors reads and writes. Arrays that are not given or not asked for are undefined. */
export interface Vectors {
  readonly count: number;
  readonly length: number;
  /** The inputs in their order, [count, length]; the third is there for triples. */
  readonly a: FloatArray;
  readonly b: FloatArray;
  readonly c: FloatArray | undefined;
  /** A number per row. */
  readonly target: FloatArray | undefined;
  /** The single values come here. */
  readonly values: FloatArray | undefined;
  readonly gradA: FloatArray | undefined;
  readonly gradB: FloatArray | undefined;
  readonly gradC: FloatArray | undefined;
  /** What flows in from above: a number per row, and a factor for all. */
  readonly upstream: FloatArray | undefined;
  readonly scale: number;
  /** The options as numbers, in the order of the kernel's. */
  readonly parameters: readonly number[];
}

/** A function of vectors: writes what is asked for and gives the sum of the values. */
export type VectorsReference = (v: Vectors) => number;

/** Calls `value(row, first, upstream)` for each row, `first` being the index of its first number, gradients being 0 at the start. */
function eachRow(v: Vectors, value: (row: number, first: number, upstream: number) => number): number {
  for (const grad of [v.gradA, v.gradB, v.gradC]) grad?.fill(0);
  let sum = 0;
  for (let row = 0; row < v.count; row++) {
    const one = value(row, row * v.length, v.scale * (v.upstream?.[row] ?? 1));
    if (v.values !== undefined) v.values[row] = one;
    sum += one;
  }
  return sum;
}

/** A measure of pairs. */
const ofPairs =
  (measure: (v: Vectors) => Measure): VectorsReference =>
  (v) => {
    const { of, pull } = measure(v);
    const { a, b, gradA, gradB } = v;
    return eachRow(v, (_row, first, upstream) => {
      const value = of(a, first, b, first);
      pull(upstream, value, a, first, b, first, gradA, gradB);
      return value;
    });
  };

/** ||x1 - x2 + eps||_p. Parameters: p, eps. */
export const pairwiseDistance: VectorsReference = /* @__PURE__ */ ofPairs(({ length, parameters }) =>
  lpDistance(length, parameters[0] as number, parameters[1] as number),
);

/** x1 x2 / (|x1| |x2|). */
export const cosineSimilarity: VectorsReference = /* @__PURE__ */ ofPairs(({ length }) => cosine(length));

/** 1 - cos where the target is 1, max(0, cos - margin) where it is -1. Parameter: margin. */
export const cosineEmbeddingLoss: VectorsReference = (v) => {
  const { of, pull } = smoothCosine(v.length);
  const { a, b, gradA, gradB } = v;
  const margin = v.parameters[0] as number;
  return eachRow(v, (row, first, upstream) => {
    const cos = of(a, first, b, first);
    if (v.target?.[row] === 1) {
      pull(-upstream, cos, a, first, b, first, gradA, gradB);
      return 1 - cos;
    }
    if (!(cos < margin)) pull(upstream, cos, a, first, b, first, gradA, gradB);
    return Math.max(0, cos - margin);
  });
};

/** max(0, margin + d(a, p) - d(a, n)), with `swap` the least of d(a, n) and d(p, n) in its place. */
function triplets(v: Vectors, { of, pull }: Measure, margin: number, swap: boolean): number {
  const { a, b: p, gradA, gradB, gradC } = v;
  const n = v.c as FloatArray;
  return eachRow(v, (_row, at, upstream) => {
    const near = of(a, at, p, at);
    const far = of(a, at, n, at);
    const swapped = swap ? of(p, at, n, at) : Infinity;
    const z = margin + near - (swap ? Math.min(far, swapped) : far);
    if (!(z < 0)) {
      // the slope of the least of two equal distances is shared
      const part = !swap ? 1 : far === swapped ? 0.5 : far > swapped ? 0 : 1;
      pull(upstream, near, a, at, p, at, gradA, gradB);
      if (part > 0) pull(-upstream * part, far, a, at, n, at, gradA, gradC);
      if (part < 1) pull(-upstream * (1 - part), swapped, p, at, n, at, gradB, gradC);
    }
    return Math.max(0, z);
  });
}

/** The distance is ||x - y + eps||_p. Parameters: p, margin, eps, swap. */
export const tripletMarginLoss: VectorsReference = (v) => {
  const [p, margin, eps, swap] = v.parameters as [number, number, number, number];
  return triplets(v, lpDistance(v.length, p, eps), margin, swap === 1);
};

/** The distance is Euclidean, that of cosines, or Manhattan's. Parameters: the distance as 0, 1, 2; margin, nothing, swap. */
export const tripletMarginWithDistanceLoss: VectorsReference = (v) => {
  const [kind, margin, , swap] = v.parameters as [number, number, number, number];
  const distance = kind === 1 ? cosineDistance(v.length) : lpDistance(v.length, kind === 0 ? 2 : 1, 1e-6);
  return triplets(v, distance, margin, swap === 1);
};

/** A caller's own distance of two vectors, with its gradients. */
type OwnDistance = (
  x: Float64Array,
  y: Float64Array,
) => {
  readonly value: number;
  readonly gradX?: ArrayLike<number> | undefined;
  readonly gradY?: ArrayLike<number> | undefined;
};

/** The same with a caller's own distance. Its gradients are copied: it may use their arrays again. */
export function tripletsByDistance(v: Vectors, distance: OwnDistance, margin: number, swap: boolean): number {
  const { length } = v;
  const vector = (x: FloatArray, i: number): Float64Array => (x as Float64Array).slice(i, i + length);
  interface Kept {
    x: FloatArray;
    y: FloatArray;
    gradX: ArrayLike<number>;
    gradY: ArrayLike<number>;
  }
  /** The gradients of the pairs of one triplet. */
  let kept: Kept[] = [];
  let last = -1;
  const wanted = v.gradA !== undefined || v.gradB !== undefined || v.gradC !== undefined;
  return triplets(
    v,
    {
      of(x, i, y, j) {
        if (i !== last) kept = [];
        last = i;
        const { value, gradX, gradY } = distance(vector(x, i), vector(y, j));
        if (wanted)
          kept.push({ x, y, gradX: Float64Array.from(gradX ?? []), gradY: Float64Array.from(gradY ?? []) });
        return value;
      },
      pull(factor, _value, x, i, y, j, gradX, gradY) {
        const pair = kept.find((k) => k.x === x && k.y === y);
        if (pair === undefined) return;
        addTimes(gradX, i, factor, pair.gradX, 0, length);
        addTimes(gradY, j, factor, pair.gradY, 0, length);
      },
    },
    margin,
    swap,
  );
}
