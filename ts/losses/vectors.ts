/** Functions and losses of vectors: the last axis is a vector, one number per vector comes out. */
import { door, type Plan as Lengths } from "#door/vectors";
import {
  broadcastInputs,
  type Call,
  type Domain,
  define,
  type Family,
  type InputRow,
  numbersOf,
  sameRank,
  spread,
} from "../define.js";
import { arrayOf, describe, fail, quoted, shapeText, wrongShape, wrongType } from "../errors.js";
import {
  broadcastShape,
  broadcastStrides,
  isTyped,
  made,
  type Operand,
  sizeOf,
  wrongLength,
} from "../input.js";
import { flag, number } from "../options.js";
import type { Measured, VectorsReference } from "../reference/vectors.js";
import * as reference from "../reference/vectors.js";
import type { Input, Loss, Mapping } from "../types.js";

interface Plan extends Lengths {
  /** What a caller's own distance gave: it is called before arrays are placed, for it may call this library itself. */
  readonly measured: readonly Measured[] | undefined;
}

const SIGNS: Domain = { input: 2, kind: 1, holds: (t) => t === 1 || t === -1, expected: "1 or -1" };

/** The family: all inputs are vectors, or the third is a target for each pair. */
const vectors = /* @__NO_SIDE_EFFECTS__ */ (isLabelled = false): Family<Plan, VectorsReference> => ({
  door,
  plan(call) {
    const { where, inputs } = call;
    const target = isLabelled ? call.input(2) : undefined;
    const sets = isLabelled ? 2 : inputs.length;
    // functions of pairs broadcast over axes as well, the losses, which have three inputs, do not: as PyTorch
    if (inputs.length === 3) sameRank(call, sets);
    if (target !== undefined) checkTargetRank(call, target);
    const pairs = broadcastInputs(call, sets);
    const length = pairs[pairs.length - 1] ?? 1;
    const rows = pairs.slice(0, -1);
    // there is one loss per vector and target
    const leading = target === undefined ? rows : broadcastShape(rows, target.shape);
    if (leading === undefined) wrongShape(where, target as Operand, shapeText(rows));
    const shape = target === undefined ? pairs : [...leading, length];
    const count = sizeOf(leading);
    if (length === 0 && count > 0) wrongShape(where, call.input(0), "vectors of at least one number");
    call.losses(leading);
    const { distance } = call.options;
    const measured =
      typeof distance === "function" ? measure(call, distance as Distance, shape, length) : undefined;
    call.planned = measured !== undefined;
    for (let i = 0; i < 3; i++) call.take(i < sets && !call.planned ? inputs[i] : undefined, shape);
    call.checked = call.take(target, leading);
    call.domain = target && SIGNS;
    call.valueSlot();
    for (let i = 0; i < 3; i++) call.gradientSlot(i, shape);
    call.upstreamSlot();
    return { count, length, measured };
  },
  js: reference.runVectors,
});

/** One target for one pair [D], or a row of targets for a row of pairs [N, D], as PyTorch. */
function checkTargetRank(call: Call, target: Operand): void {
  const input = call.input(0);
  const rank = input.shape.length;
  if (rank !== 1 && rank !== 2) wrongShape(call.where, input, "[N, D], or [D] for one pair", "RANK");
  if (target.shape.length === rank - 1) return;
  wrongShape(call.where, target, rank === 1 ? "one number" : "[N]: one number per pair", "RANK");
}

/** The pairs of a triplet that have a distance; the last of them where the negative may be swapped. */
const PAIRS = [
  [0, 1],
  [0, 2],
  [1, 2],
] as const;
const SLOPES = ["gradX", "gradY"] as const;

/**
 * Asks a caller's own distance for the pairs of all triplets, on copies of their vectors, and copies what it gave, if it is what it should
 * have given: it may use its arrays again.
 */
function measure(call: Call, distance: Distance, shape: readonly number[], length: number): Measured[] {
  const { where, gradients, inputs, options } = call;
  const size = sizeOf(shape);
  const copies = (inputs as Operand[]).map((input) => {
    const copy = made(where, Float64Array, size);
    const strides = broadcastStrides(input.shape, shape) as number[];
    spread(copy, { array: numbersOf(where, input), wide: { shape, strides } });
    return copy;
  });
  const pairs = PAIRS.slice(0, options.swap === true ? 3 : 2);
  const measured = pairs.map(() => ({
    distances: new Float64Array(size / length || 0),
    gradX: new Float64Array(size),
    gradY: new Float64Array(size),
  }));
  for (let first = 0; first < size; first += length) {
    const vector = (i: number) => (copies[i] as Float64Array).slice(first, first + length);
    pairs.forEach(([x, y], pair) => {
      const to = measured[pair] as Measured;
      const given: unknown = distance(vector(x), vector(y));
      if (typeof given !== "object" || given === null)
        wrongType(where, "distance(x, y)", given, "an object { value, gradX, gradY }");
      // each property is asked for once: what was checked is what is used
      const { value } = given as { value?: unknown };
      if (typeof value !== "number") wrongType(where, "distance(x, y).value", value, "a number");
      to.distances[first / length] = value;
      for (const name of gradients ? SLOPES : []) {
        const argument = `distance(x, y).${name}`;
        const slopes = (given as Record<string, unknown>)[name];
        if (!Array.isArray(slopes) && !isTyped(slopes)) wrongType(where, argument, slopes, arrayOf(length));
        const own = slopes.length;
        if (own !== length) wrongLength(where, argument, own, length);
        for (let i = 0; i < length; i++) {
          const slope: unknown = slopes[i];
          if (typeof slope !== "number") wrongType(where, argument, slope, "a number", `[${i}]`);
          to[name][first + i] = slope;
        }
      }
    });
  }
  return measured;
}

const PAIR: readonly InputRow[] = [
  { name: "x1", differentiable: true },
  { name: "x2", differentiable: true },
];
const TRIPLET: readonly InputRow[] = [
  { name: "anchor", differentiable: true },
  { name: "positive", differentiable: true },
  { name: "negative", differentiable: true },
];

/** Options of {@link pairwiseDistance}. */
export interface PairwiseDistanceOptions {
  /** The norm: from 1 to Infinity. Default 2. */
  p?: number | undefined;
  /** Added to each difference. Default 1e-6. */
  eps?: number | undefined;
}

/**
 * The distance of each vector of x1 to that of x2 beside it: `||x1 - x2 + eps||_p` over the last axis.
 *
 * - `x1`, `x2`: [..., D], shapes that broadcast together; the value has the shape without the last axis. Both differentiable:
 *   `d |d|^(p-2) / ||d||^(p-1)` with `d = x1 - x2 + eps`, and its negative; 0 at distance 0. For p = Infinity the slope is that of the
 *   largest difference, shared where several are.
 *
 * @throws RangeError `SHAPE`: shapes that do not broadcast, vectors of no numbers; `NUMBER`: a p below 1; TypeError: wrong kinds.
 * @see PyTorch `nn.PairwiseDistance`.
 * @example
 * ```ts
 * import { pairwiseDistance } from "perdida";
 * const { value, grads } = pairwiseDistance.valueAndGrad([[0, 0]], [[3, 4]], { eps: 0 });
 * console.log(value.data[0]); // 5
 * console.log(grads.x1.data[0].toFixed(4)); // "-0.6000"
 * ```
 */
export const pairwiseDistance: Mapping<[x1: Input, x2: Input], "x1" | "x2", PairwiseDistanceOptions> =
  /* @__PURE__ */ define({
    name: "pairwiseDistance",
    inputs: PAIR,
    options: { p: number(2, { least: 1 }), eps: number(1e-6) },
    mapping: true,
    family: vectors(),
    reference: reference.pairwiseDistance,
  });

/**
 * The cosine of the angle between each vector of x1 and that of x2 beside it: `x1 x2 / (|x1| |x2|)` over the last axis, each norm
 * taken as at least 1e-8, so that a zero vector has cosine 0 with every other.
 *
 * - `x1`, `x2`: [..., D], shapes that broadcast together; the value has the shape without the last axis. Both differentiable:
 *   `(u2 - cos u1) / |x1|` with u the unit vectors, and the same the other way round.
 *
 * There is no `dim`: of vectors of more than two axes PyTorch takes axis 1 by default, this the last.
 *
 * @throws RangeError `SHAPE`: shapes that do not broadcast, vectors of no numbers; TypeError: wrong kinds.
 * @see PyTorch `nn.CosineSimilarity`.
 * @example
 * ```ts
 * import { cosineSimilarity } from "perdida";
 * console.log(cosineSimilarity([3, 4], [4, 3]).data[0]); // 0.96
 * ```
 */
export const cosineSimilarity: Mapping<[x1: Input, x2: Input], "x1" | "x2"> = /* @__PURE__ */ define({
  name: "cosineSimilarity",
  inputs: PAIR,
  mapping: true,
  family: vectors(),
  reference: reference.cosineSimilarity,
});

/** Options of {@link cosineEmbeddingLoss}. */
export interface CosineEmbeddingOptions {
  /** The cosine up to which vectors that are not alike may come near each other, usually from 0 to 0.5. Default 0. */
  margin?: number | undefined;
}

/**
 * Cosine embedding loss: vectors that are alike are turned into one direction, others are turned apart as far as the margin:
 * `1 - cos` where the target is 1, `max(0, cos - margin)` where it is -1. To the squared norms in cos 1e-12 is added, so that
 * zero vectors have a finite gradient.
 *
 * - `input1`, `input2`: [N, D] or [D] for one pair, broadcast together (before the cosine is taken; PyTorch takes the norm of a
 *   vector of one number alone). Differentiable: minus or plus the gradient of the cosine; 0 where the loss of a target of -1
 *   is beyond the margin.
 * - `target`: 1 or -1, [N] or one number.
 *
 * @throws RangeError `RANGE`: a target other than 1 and -1 (PyTorch takes it, with loss 0); `RANK`, `SHAPE`: shapes that do not fit;
 * TypeError: wrong kinds.
 * @see PyTorch `nn.CosineEmbeddingLoss`.
 * @example
 * ```ts
 * import { cosineEmbeddingLoss } from "perdida";
 * console.log(cosineEmbeddingLoss([[3, 4], [1, 0]], [[4, 3], [0, 1]], [1, -1], { reduction: "sum" }).toFixed(4)); // "0.0400"
 * ```
 */
export const cosineEmbeddingLoss: Loss<
  [input1: Input, input2: Input, target: Input],
  "input1" | "input2",
  CosineEmbeddingOptions
> = /* @__PURE__ */ define({
  name: "cosineEmbeddingLoss",
  inputs: [
    { name: "input1", differentiable: true },
    { name: "input2", differentiable: true },
    { name: "target", labels: true },
  ],
  options: { margin: number(0) },
  family: vectors(true),
  reference: reference.cosineEmbeddingLoss,
});

/** Options of {@link tripletMarginLoss}. */
export interface TripletMarginOptions {
  /** How much farther than the positive the negative must be; above 0. Default 1. */
  margin?: number | undefined;
  /** The norm of the distances: from 1 to Infinity. Default 2. */
  p?: number | undefined;
  /** Added to each difference. Default 1e-6. */
  eps?: number | undefined;
  /** Whether the negative may be compared with the positive where it is nearer to that than to the anchor. Default false. */
  swap?: boolean | undefined;
}

/**
 * Triplet margin loss: the anchor must be nearer to the positive than to the negative by a margin,
 * `max(0, margin + d(a, p) - d(a, n))` with `d(x, y) = ||x - y + eps||_p`. With `swap` the least of d(a, n) and d(p, n) stands for d(a, n).
 *
 * - `anchor`, `positive`, `negative`: [N, D], [D] for one triplet, or with more axes before the last; as many axes each, broadcast
 *   together (all three, before distances are taken; PyTorch: each pair for itself). All differentiable: the gradients of the distances
 *   ({@link pairwiseDistance}) where the loss is above 0 or at its kink; 0 at distance 0.
 *
 * @throws RangeError `RANK`, `SHAPE`: shapes that do not fit; `NUMBER`: a margin that is not positive, a p below 1; TypeError: wrong kinds.
 * @see PyTorch `nn.TripletMarginLoss`; Balntas, Riba, Ponsa, Mikolajczyk, Learning Local Feature Descriptors with Triplets and Shallow
 * Convolutional Neural Networks, 2016 (the swap).
 * @example
 * ```ts
 * import { tripletMarginLoss } from "perdida";
 * const { value, grads } = tripletMarginLoss.valueAndGrad([[0, 0]], [[3, 4]], [[0, 5]], { eps: 0 });
 * console.log(value); // 1
 * console.log(grads.negative.data.join()); // "0,-1"
 * ```
 */
export const tripletMarginLoss: Loss<
  [anchor: Input, positive: Input, negative: Input],
  "anchor" | "positive" | "negative",
  TripletMarginOptions
> = /* @__PURE__ */ define({
  name: "tripletMarginLoss",
  inputs: TRIPLET,
  options: {
    p: number(2, { least: 1 }),
    margin: number(1, { above: 0 }),
    eps: number(1e-6),
    swap: flag(false),
  },
  family: vectors(),
  reference: reference.tripletMarginLoss,
});

/** A distance of two vectors, and its gradient with respect to each. */
export interface DistanceAndGrad {
  readonly value: number;
  /** Needed only where gradients are asked for. */
  readonly gradX?: ArrayLike<number> | undefined;
  readonly gradY?: ArrayLike<number> | undefined;
}

/** A distance of one's own: it is given two vectors to read, and keeps nothing of them. */
export type Distance = (x: Float64Array, y: Float64Array) => DistanceAndGrad;

/** The distances that {@link tripletMarginWithDistanceLoss} knows. */
const DISTANCES = ["euclidean", "cosine", "manhattan"] as const;

/** Options of {@link tripletMarginWithDistanceLoss}. */
export interface TripletMarginWithDistanceOptions {
  /**
   * `"euclidean"` (default) and `"manhattan"`: `||x - y + 1e-6||` with p = 2 and 1; `"cosine"`: 1 - {@link cosineSimilarity}; or a function
   * of two vectors that gives the distance and its gradients.
   */
  distance?: (typeof DISTANCES)[number] | Distance | undefined;
  /** How much farther than the positive the negative must be; above 0. Default 1. */
  margin?: number | undefined;
  /** Whether the negative may be compared with the positive where it is nearer to that than to the anchor. Default false. */
  swap?: boolean | undefined;
}

/**
 * Triplet margin loss with any distance: `max(0, margin + d(a, p) - d(a, n))`. With `swap` the least of d(a, n) and d(p, n) stands for
 * d(a, n).
 *
 * A function `distance(x, y)` gets two vectors as Float64Arrays (to be read, not kept) and gives `{ value, gradX, gradY }`; the gradients
 * are needed by `valueAndGrad` only, and their arrays may be used again at the next call. It runs in TypeScript, in double
 * precision, whichever engine answers; it may call this library.
 *
 * - `anchor`, `positive`, `negative`: [N, D], [D] for one triplet, or with more axes before the last; as many axes each, broadcast
 *   together (all three, before distances are taken; PyTorch: each pair for itself). All differentiable: the gradients of the distances
 *   where the loss is above 0 or at its kink.
 *
 * @throws RangeError `RANK`, `SHAPE`: shapes that do not fit; `NUMBER`: a margin that is not positive; `LENGTH`: a gradient of a distance
 * that does not fit; TypeError: wrong kinds.
 * @see PyTorch `nn.TripletMarginWithDistanceLoss`.
 * @example
 * ```ts
 * import { tripletMarginWithDistanceLoss } from "perdida";
 * const [anchor, positive, negative] = [[[0, 0]], [[1, 0]], [[2, 1]]];
 * const squared = (x: Float64Array, y: Float64Array) => {
 *   const gradX = x.map((v, i) => 2 * (v - y[i]!));
 *   return { value: gradX.reduce((sum, g) => sum + g * g, 0) / 4, gradX, gradY: gradX.map((g) => -g) };
 * };
 * console.log(tripletMarginWithDistanceLoss(anchor, positive, negative, { distance: squared, margin: 6 })); // 2
 * console.log(tripletMarginWithDistanceLoss(anchor, positive, negative, { distance: "manhattan", margin: 6 }).toFixed(4)); // "4.0000"
 * ```
 */
export const tripletMarginWithDistanceLoss: Loss<
  [anchor: Input, positive: Input, negative: Input],
  "anchor" | "positive" | "negative",
  TripletMarginWithDistanceOptions
> = /* @__PURE__ */ define({
  name: "tripletMarginWithDistanceLoss",
  inputs: TRIPLET,
  options: {
    distance: {
      fallback: "euclidean",
      words: DISTANCES,
      read(where: string, name: string, value: unknown) {
        if (typeof value !== "function" && !DISTANCES.includes(value as "cosine"))
          fail("OPTION", where, name, describe(value), `${quoted(DISTANCES)} or a function`);
        return value;
      },
    },
    margin: number(1, { above: 0 }),
    swap: flag(false),
  },
  family: vectors(),
  reference: reference.tripletMarginWithDistanceLoss,
  parameters: ["distance", "margin", "eps", "swap"],
});
