/** The door to the kernels of many vectors. */
import { source } from "#part/many";
import type { Call, Door } from "../call.js";
import { door as opened } from "../core.js";

/** What the door takes beside the slots. */
export interface Plan {
  /** Vectors in the first set and in the second; where there is one set alone, as many as in that. */
  readonly rows: number;
  readonly columns: number;
  /** Numbers in each vector. */
  readonly length: number;
  /** Whether the distances are those within one set. */
  readonly within?: boolean;
  readonly parameters: readonly number[];
}

/** The distances within one set have a kernel of their own. */
const CDIST_WITHIN = 1;

function kernelOf({ op }: Call, { within }: Plan): number {
  return within === true ? CDIST_WITHIN : op;
}

export const door: Door<Plan> | undefined = /* @__PURE__ */ opened<Plan>(source, {
  numbers: {
    cdist: 0,
    batchHardTripletLoss: 2,
    batchSemiHardTripletLoss: 2,
    batchAllTripletLoss: 2,
    supervisedContrastiveLoss: 3,
    infoNceLoss: 4,
    nearest: 5,
  },
  scratch(exports, call, plan) {
    const { rows, columns, length, parameters } = plan;
    const isDouble = Number(call.dtype === "float64");
    const [p0 = 0, p1 = 0] = parameters;
    return exports.many_scratch(isDouble, kernelOf(call, plan), rows, columns, length, p0, p1);
  },
  call(exports, call, plan, at) {
    const { rows, columns, length, parameters } = plan;
    const [p0 = 0, p1 = 0, p2 = 0, p3 = 0, p4 = 0] = parameters;
    const kernel = call.dtype === "float32" ? exports.many_f32 : exports.many_f64;
    const [a, b, labels, values, gradA, gradB, upstream, indices, stats, scratch] = at;
    const arrays = [a, b, labels, values, gradA, gradB, upstream, indices, stats, scratch] as const;
    return kernel(kernelOf(call, plan), rows, columns, length, ...arrays, call.scale, p0, p1, p2, p3, p4);
  },
});
