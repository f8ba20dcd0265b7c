/** Search: the nearest of many vectors. */
import { define, isWhole } from "../../define.js";
import { describe, fail } from "../../errors.js";
import { made } from "../../input.js";
import { choice } from "../../options.js";
import * as reference from "../../reference/vectors/nearest.js";
import type { FloatArray, Input, Tensor } from "../../types.js";
import { many, readSets } from "./many.js";

/** The distances that {@link nearest} knows, by the kernel's numbers. */
const METRICS = ["euclidean", "cosine", "dot"] as const;

/** Options of {@link nearest}. */
export interface NearestOptions {
  /** `"euclidean"` (default): ||q - x||; `"cosine"`: 1 - cos(q, x), each norm taken as at least 1e-8; `"dot"`: -q x. */
  metric?: (typeof METRICS)[number] | undefined;
}

/** What {@link nearest} finds. */
export interface Nearest {
  /** Which rows of the index, [Q, k], the nearest first. */
  readonly indices: Int32Array;
  /** How far they are, [Q, k]. */
  readonly distances: FloatArray;
  readonly shape: readonly [queries: number, k: number];
}

/** The define driver's two faces, as this file calls them. */
interface Search {
  valueAndGrad(
    queries: Input,
    index: Input,
    k: number,
    options?: NearestOptions,
  ): { value: Tensor; indices: Int32Array };
}

const search: Search = /* @__PURE__ */ define({
  name: "nearest",
  inputs: [{ name: "queries" }, { name: "index" }, { name: "k", raw: true }],
  options: { metric: choice("euclidean", METRICS) },
  mapping: true,
  plain: true,
  family: many((call) => {
    const sets = readSets(call);
    const { rows, columns, parameters } = sets;
    const [, , k] = call.raw;
    if (!isWhole(k, 1, columns + 1)) {
      const expected = `a whole number from 1 to ${columns}, the vectors of index`;
      fail(typeof k === "number" ? "RANGE" : "TYPE", call.where, "k", describe(k), expected);
    }
    call.losses([rows, k]);
    const indices = made(call.where, Int32Array, rows * k);
    call.extras = { indices };
    return Object.assign(sets, { indices, parameters: [k, ...parameters] });
  }),
  reference: reference.nearest,
});

/**
 * The k nearest vectors of an index to each query, exactly: all are looked at. The nearest come first; of several at one distance the one
 * that comes first in the index; what is NaN counts as infinitely far (its distance comes back as NaN).
 *
 * The core goes through the index in one stream and keeps nothing of it. An index that is searched again and again may live in the core's
 * memory ({@link allocate}): then it is not copied, either, where queries have its precision. For plain numbers beside an index of float32
 * the whole index is widened at each search: give them as a Float32Array.
 *
 * - `queries`: [Q, D], `index`: [M, D], `k`: how many, from 1 to M.
 * - `metric`: `"euclidean"` (default), `"cosine"` or `"dot"`.
 * - Gives `{ indices, distances, shape }`, both [Q, k]. Distances are computed in double precision, then rounded to that of the call.
 *
 * @throws RangeError `RANK`, `SHAPE`: shapes that do not fit; `RANGE`: a k beyond the index; TypeError: wrong kinds.
 * @see PyTorch `torch.topk(torch.cdist(queries, index), k, largest=False)`.
 * @example
 * ```ts
 * import { nearest } from "perdida";
 * const { indices, distances } = nearest([[0, 0]], [[3, 4], [1, 0], [0, 2]], 2);
 * console.log(indices.join(), distances.join()); // "1,2" "1,2"
 * ```
 */
export function nearest(queries: Input, index: Input, k: number, options?: NearestOptions): Nearest {
  const { value, indices } = search.valueAndGrad(queries, index, k, options);
  return { indices, distances: value.data, shape: value.shape as [number, number] };
}
