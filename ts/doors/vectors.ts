/** The door to the kernels of pairs and triples of vectors. */
import { source } from "#part/vectors";
import type { Door } from "../call.js";
import { door as opened } from "../core.js";

/** What the door takes beside the slots. */
export interface Plan {
  readonly count: number;
  readonly length: number;
}

export const door: Door<Plan> | undefined = /* @__PURE__ */ opened<Plan>(source, {
  numbers: {
    pairwiseDistance: 0,
    cosineSimilarity: 1,
    cosineEmbeddingLoss: 2,
    tripletMarginLoss: 3,
    tripletMarginWithDistanceLoss: 4,
  },
  call(exports, { dtype, op, scale, parameters }, { count, length }, at) {
    const [p0 = 0, p1 = 0, p2 = 0, p3 = 0] = parameters;
    const kernel = dtype === "float32" ? exports.vectors_f32 : exports.vectors_f64;
    const [a, b, c, target, values, gradA, gradB, gradC, upstream] = at;
    return kernel(
      op,
      count,
      length,
      a,
      b,
      c,
      target,
      values,
      gradA,
      gradB,
      gradC,
      upstream,
      scale,
      p0,
      p1,
      p2,
      p3,
    );
  },
});
