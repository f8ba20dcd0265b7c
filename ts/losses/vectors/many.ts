/** What the functions of many vectors have in common: how their arrays are laid out, and how the core is called. */
import { source } from "#part/many";
import { type Arrays, type Call, type Family, wrongShape } from "../../define.js";
import { describe, fail, shapeText } from "../../errors.js";
import { placeOf, readOperand } from "../../input.js";
import type { ManyReference } from "../../reference/vectors/many.js";
import { part } from "../../runtime/engine.js";
import type { FloatArray } from "../../types.js";

/** The kernels' numbers: the table in crates/kernels/src/vectors/many.rs. */
export const OP = {
  cdist: 0,
  cdistSelf: 1,
  batchTriplet: 2,
  supervisedContrastive: 3,
  infoNce: 4,
  nearest: 5,
} as const;

/** A call that was checked: which kernel, and what it needs to know beside the arrays. */
export interface Plan {
  readonly op: number;
  readonly rows: number;
  readonly columns: number;
  readonly length: number;
  readonly parameters: readonly number[];
  /** Where the kernel says how many losses a mean divides by, and how many triplets are active. */
  readonly stats?: Float64Array;
}

const kernels = /* @__PURE__ */ part(source);

/** The family, with a plan for each shape of call. */
export const many = /* @__NO_SIDE_EFFECTS__ */ (
  plan: (call: Call) => Plan,
  finish?: (call: Call, plan: Plan) => void,
): Family<Plan, ManyReference> => ({
  part: kernels,
  plan,
  finish(call, plan) {
    finish?.(call, plan);
    return undefined;
  },
  scratch: (exports, { dtype }, { op, rows, columns, length, parameters: [p0 = 0] }) =>
    exports.many_scratch(dtype === "float64" ? 1 : 0, op, rows, columns, length, p0),
  wasm(exports, call, { op, rows, columns, length, parameters }, at) {
    const [p0 = 0, p1 = 0, p2 = 0, p3 = 0, p4 = 0] = parameters;
    const kernel = call.dtype === "float32" ? exports.many_f32 : exports.many_f64;
    const [a, b, labels, values, gradA, gradB, upstream, indices, stats, scratch] = at as Ten;
    const arrays = [a, b, labels, values, gradA, gradB, upstream, indices, stats, scratch] as const;
    return kernel(op, rows, columns, length, ...arrays, call.scale, p0, p1, p2, p3, p4);
  },
  js(reference, call, { rows, columns, length, parameters }, at: Arrays) {
    const [a, b, , values, gradA, gradB, upstream, , stats] = at as (FloatArray | undefined)[];
    return reference({
      rows,
      columns,
      length,
      a: a as FloatArray,
      b,
      labels: at[2] as Int32Array | undefined,
      values,
      gradA,
      gradB,
      upstream,
      indices: at[7] as Int32Array | undefined,
      stats,
      scale: call.scale,
      parameters,
    });
  },
});
type Ten = [number, number, number, number, number, number, number, number, number, number];

/** The shape of the i-th input, which is a set of vectors: [N, D]. */
export function readSet(call: Call, i: number, as?: number): readonly [count: number, length: number] {
  const { name, shape } = call.input(i);
  if (shape.length !== 2)
    fail("RANK", call.where, name, `of shape ${shapeText(shape)}`, "[N, D]: vectors in rows");
  const [count, length] = shape as [number, number];
  if (as !== undefined && length !== as)
    wrongShape(call, i, `vectors of ${as} numbers, as ${call.input(0).name}`);
  if (length === 0 && count > 0) wrongShape(call, i, "vectors of at least one number");
  return [count, length];
}

/**
 * The labels of a batch, renumbered from 0 on in the order in which they appear: only whether two are the same counts. The input is
 * `raw`, so that plain numbers for labels do not make the call one of double precision.
 */
export function readClasses(call: Call, i: number, count: number): Int32Array {
  const { name, data, shape } = readOperand(call.where, "labels", call.raw[i]);
  if (shape.length !== 1 || data.length !== count) {
    fail("SHAPE", call.where, name, `of shape ${shapeText(shape)}`, `one label per vector: [${count}]`);
  }
  const classes = new Map<number, number>();
  const result = new Int32Array(count);
  for (let k = 0; k < count; k++) {
    const label = Number(data[k]);
    if (!Number.isInteger(label))
      fail("LABEL", call.where, name, describe(data[k]), "a whole number", placeOf(k, shape));
    let known = classes.get(label);
    if (known === undefined) {
      known = classes.size;
      classes.set(label, known);
    }
    result[k] = known;
  }
  return result;
}
