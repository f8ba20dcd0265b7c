/** The door to the pointwise kernels. */
import { source } from "#part/pointwise";
import type { Door } from "../call.js";
import { door as opened } from "../core.js";

/** What the door takes beside the slots. */
export interface Plan {
  readonly count: number;
}

export const door: Door<Plan> | undefined = /* @__PURE__ */ opened<Plan>(source, {
  numbers: {
    l1Loss: 0,
    mseLoss: 1,
    smoothL1Loss: 2,
    huberLoss: 3,
    bceLoss: 4,
    bceWithLogitsLoss: 5,
    klDivLoss: 6,
    poissonNllLoss: 7,
    softMarginLoss: 8,
    sigmoidFocalLoss: 9,
    gaussianNllLoss: 10,
    marginRankingLoss: 11,
    hingeEmbeddingLoss: 12,
  },
  piece: (count) => ({ count }),
  call(exports, { dtype, op, scale, parameters }, { count }, at) {
    const kernel = dtype === "float32" ? exports.pointwise_f32 : exports.pointwise_f64;
    return kernel(
      op,
      count,
      at[0],
      at[1],
      at[2],
      at[3],
      at[4],
      at[5],
      at[6],
      at[7],
      at[8],
      at[9],
      scale,
      parameters[0] ?? 0,
      parameters[1] ?? 0,
      parameters[2] ?? 0,
    );
  },
});
