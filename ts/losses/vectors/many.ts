/** What the functions of many vectors have in common: how their arrays are laid out, and how the core is called. */
import { door, type Plan as Sets } from "#door/many";
import type { Call, Family } from "../../define.js";
import { describe, fail, wrongShape } from "../../errors.js";
import { type Operand, placeOf, readOperand } from "../../input.js";
import type { ManyReference } from "../../reference/vectors/many.js";

/** What a function of this family says of a call: how many vectors there are, and what its kernel takes beside them. */
export interface Plan extends Sets {
  /** The class of each vector of the first set. */
  readonly labels?: Int32Array;
  /** Where the kernel writes indices. */
  readonly indices?: Int32Array;
  /** Where it says how many losses a mean divides by, and how many triplets are active. */
  readonly stats?: Float64Array;
}

/** The family: `read` looks at the inputs of a call and sets its `lossShape`. */
export const many = /* @__NO_SIDE_EFFECTS__ */ (
  read: (call: Call) => Plan,
  finish?: (call: Call, plan: Plan) => void,
): Family<Plan, ManyReference> => ({
  door,
  plan(call) {
    const plan = read(call);
    const { labels, indices, stats } = plan;
    const { inputs } = call;
    call.take(inputs[0]);
    call.take(inputs[1]);
    call.own(labels);
    call.valueSlot();
    call.gradientSlot(0);
    call.gradientSlot(1);
    call.upstreamSlot();
    call.own(indices, true);
    call.own(stats, true);
    return plan;
  },
  finish,
});

/** How many vectors there are in the sets of a call, [N, D] and where there is a second [M, D], and what all kernels take of them. */
export function readSets(call: Call): Sets {
  const { where, inputs, parameters } = call;
  const [rows, length] = readSet(where, call.input(0));
  const second = inputs[1];
  const [columns, other] = second === undefined ? [rows, length] : readSet(where, second);
  if (other !== length)
    wrongShape(where, second as Operand, `vectors of ${length} numbers, as ${call.input(0).name}`);
  return { rows, columns, length, parameters };
}

function readSet(where: string, set: Operand): readonly [count: number, length: number] {
  if (set.shape.length !== 2) wrongShape(where, set, "[N, D]: vectors in rows", "RANK");
  const [count, length] = set.shape as [number, number];
  if (length === 0 && count > 0) wrongShape(where, set, "vectors of at least one number");
  return [count, length];
}

/**
 * The labels of a batch, renumbered from 0 on in the order in which they appear: only whether two are the same counts. The input is
 * `raw`, so that plain numbers for labels do not make the call one of double precision.
 */
export function readClasses(call: Call, count: number): Int32Array {
  const labels = readOperand(call.where, "labels", call.raw[1]);
  const { data, shape } = labels;
  if (shape.length !== 1 || data.length !== count)
    wrongShape(call.where, labels, `one label per vector: [${count}]`);
  const classes = new Map<number | bigint, number>();
  const result = new Int32Array(count);
  for (let k = 0; k < count; k++) {
    // a bigint as it is: two of them may be one number
    const label = data[k] as number | bigint;
    if (typeof label === "number" && !Number.isInteger(label))
      fail("LABEL", call.where, "labels", describe(data[k]), "a whole number", placeOf(k, shape));
    let known = classes.get(label);
    if (known === undefined) {
      known = classes.size;
      classes.set(label, known);
    }
    result[k] = known;
  }
  return result;
}
