/** The distances of all pairs of vectors. */
import { define } from "../../define.js";
import { number } from "../../options.js";
import * as reference from "../../reference/vectors/allPairs.js";
import type { CommonOptions, Input, Mapping, Tensor, ValueAndGrad } from "../../types.js";
import { many, readSets } from "./many.js";

/** Options of {@link cdist}. */
export interface CdistOptions {
  /** The norm: from 1 to Infinity. Default 2. */
  p?: number | undefined;
}

/** The type of {@link cdist}: the second set may be left out. */
export interface Cdist extends Mapping<[x1: Input, x2: Input], "x1" | "x2", CdistOptions> {
  /** The distances within one set. */
  (x1: Input, options?: CdistOptions & Omit<CommonOptions<"x1">, "reduction">): Tensor;
  /** The distances of two sets. */
  (x1: Input, x2: Input, options?: CdistOptions & Omit<CommonOptions<"x1" | "x2">, "reduction">): Tensor;
  valueAndGrad: {
    /** The distances within one set, and the gradient of sum(upstream * value). */
    (x1: Input, options?: CdistOptions & Omit<CommonOptions<"x1">, "reduction">): ValueAndGrad<Tensor, "x1">;
    /** The distances of two sets, and the gradients of sum(upstream * value). */
    <W extends "x1" | "x2" = "x1" | "x2">(
      x1: Input,
      x2: Input,
      options?: CdistOptions &
        Omit<CommonOptions<"x1" | "x2">, "reduction"> & { wrt?: readonly W[] | undefined },
    ): ValueAndGrad<Tensor, W>;
  };
}

/**
 * The distance of each vector of x1 to each of x2: `||x1_i - x2_j||_p` for all i and j. Without x2 those within x1: then one triangle
 * is computed, the other is the same bits, and the diagonal is exactly 0.
 *
 * For p = 2 the core computes products, |a|² + |b|² - 2ab, where those are exact enough, and adds up differences where they are not:
 * vectors that differ in their last digits only have the right distance. What comes out for a pair does not depend on what else is
 * in the sets.
 *
 * - `x1`: [N, D], `x2`: [M, D] or left out; the value is [N, M]. Both differentiable: of a pair,
 *   `d |d|^(p-2) / ||d||^(p-1)` with `d = x1_i - x2_j`, and its negative; 0 at distance 0. For p = Infinity the slope is that of the
 *   largest difference, shared where several are (PyTorch's cdist gives each of them all of it, its norms share it). NaN makes a distance
 *   NaN at every p (PyTorch's largest difference passes over it).
 *
 * @throws RangeError `RANK`, `SHAPE`: shapes that do not fit, vectors of no numbers; `NUMBER`: a p below 1; TypeError: wrong kinds.
 * @see PyTorch `torch.cdist`.
 * @example
 * ```ts
 * import { cdist } from "perdida";
 * console.log(cdist([[0, 0], [3, 4]]).data.join()); // "0,5,5,0"
 * const { value, grads } = cdist.valueAndGrad([[0, 0]], [[3, 4], [6, 8]], { p: 1 });
 * console.log(value.data.join(), value.shape); // "7,14" [1, 2]
 * console.log(grads.x1.data.join()); // "-2,-2"
 * ```
 */
export const cdist: Cdist = /* @__PURE__ */ define({
  name: "cdist",
  inputs: [
    { name: "x1", differentiable: true },
    { name: "x2", differentiable: true, optional: true },
  ],
  options: { p: number(2, { least: 1 }) },
  mapping: true,
  family: many((call) => {
    const { rows, columns, length, parameters } = readSets(call);
    call.losses([rows, columns]);
    return { rows, columns, length, parameters, within: call.inputs[1] === undefined };
  }),
  reference: reference.cdist,
});
