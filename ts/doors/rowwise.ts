/** The door to the rowwise kernels. */
import { source } from "#part/rowwise";
import type { Call, Door } from "../call.js";
import { door as opened } from "../core.js";
import type { Exports } from "../runtime/generated/exports.js";

/** What the door takes beside the slots. */
export interface Plan {
  readonly rows: number;
  readonly columns: number;
  /** How far apart the numbers of a row stand: the product of the axes behind the classes. */
  readonly inner: number;
}

const CROSS_ENTROPY = 0;
/** Cross-entropy has a kernel of its own for targets that are no classes. */
const CROSS_ENTROPY_PROBABILITIES = 1;
const NLL = 2;
const LOG_SUM_EXP = 6;
/** From here on there is a value per number of the input. */
const LOG_SOFTMAX = 7;

export const door: Door<Plan> | undefined = /* @__PURE__ */ opened<Plan>(source, {
  numbers: {
    crossEntropyLoss: CROSS_ENTROPY,
    nllLoss: NLL,
    multiMarginLoss: 3,
    multiLabelMarginLoss: 4,
    multiLabelSoftMarginLoss: 5,
    logSumExp: LOG_SUM_EXP,
    logSoftmax: LOG_SOFTMAX,
    softmax: 8,
  },
  scratch: (_exports, call, plan) =>
    plan.inner === 1 || call.op === NLL ? 0 : 4 * turnedAtATime(plan.columns) * plan.columns * bytesOf(call),
  call: run,
});
/** The addresses of the arrays of rows that stand side by side. */
type Eight = readonly [number, number, number, number, number, number, number, number, ...number[]];

function bytesOf({ dtype }: Call): number {
  return dtype === "float32" ? 4 : 8;
}

/** Up to how many columns the kernel that takes several rows at a time is faster (measured). */
function mostColumns(
  { op }: Call,
  { rows, columns, inner }: Plan,
  labels: number,
  withGradient: boolean,
): number {
  // nothing has to be turned
  if (inner % 4 === 0) return 128;
  if (inner > 1 || rows < 4) return 0;
  if (op === LOG_SUM_EXP || labels !== 0) return rows < 8 ? 28 : 100;
  if (rows < 8) return 0;
  if (op === CROSS_ENTROPY) return 60;
  if (op === LOG_SOFTMAX) return withGradient ? 60 : 100;
  // rows of whole vectors are quick one at a time
  return columns % 4 === 0 ? 28 : 64;
}

/** Whether that kernel takes these rows, and is faster. */
function goInStrips(call: Call, plan: Plan, at: Eight): boolean {
  const { dtype, op, parameters } = call;
  const [, labels, , weight, , gradInput, , upstream] = at;
  const withGradient = gradInput !== 0;
  const isTaken =
    op >= LOG_SOFTMAX
      ? !withGradient || upstream !== 0
      : op === LOG_SUM_EXP || (op === CROSS_ENTROPY && (labels === 0 || parameters[1] === 0 || weight === 0));
  return isTaken && dtype === "float32" && plan.columns <= mostColumns(call, plan, labels, withGradient);
}

/** Runs a kernel: on rows as they stand, or where it does not take them so, on rows brought together. */
function run(exports: Exports, call: Call, plan: Plan, at: Eight): number {
  const [p0 = 0, p1 = 0] = call.parameters;
  const inStrips = goInStrips(call, plan, at);
  if (plan.inner !== 1 && call.op !== NLL && !inStrips) return rowsApart(exports, call, plan, at);
  const kernel = inStrips
    ? exports.rowwise_strips_f32
    : call.dtype === "float32"
      ? exports.rowwise_f32
      : exports.rowwise_f64;
  const [input, labels, target, weight, values, gradInput, gradTarget, upstream] = at;
  return kernel(
    call.op === CROSS_ENTROPY && labels === 0 ? CROSS_ENTROPY_PROBABILITIES : call.op,
    plan.rows,
    plan.columns,
    input,
    labels,
    target,
    weight,
    values,
    gradInput,
    gradTarget,
    upstream,
    call.scale,
    p0,
    p1,
    plan.inner,
  );
}

/** So many numbers of rows that stand apart are brought together at a time: what stays in the first cache. */
const TURNED = 2048;

/** How many rows these are. */
function turnedAtATime(columns: number): number {
  return Math.max(16, Math.floor(TURNED / columns));
}

/** Brings rows together, as many at a time as there is room for, and takes their gradients back. */
function rowsApart(exports: Exports, call: Call, plan: Plan, at: Eight): number {
  const { columns, inner } = plan;
  const [input, labels, target, weight, values, gradInput, gradTarget, upstream, room = 0] = at;
  const turned = turnedAtATime(columns);
  const bytes = bytesOf(call);
  let sum = 0;
  for (let first = 0; first < plan.rows; first += turned) {
    const rows = Math.min(turned, plan.rows - first);
    const place = (apart: number, i: number): number => apart && room + i * turned * columns * bytes;
    const turn = (apart: number, i: number, back = 0): number => {
      const to = place(apart, i);
      if (to) exports.turn_rows(apart, to, plan.rows, columns, inner, first, rows, bytes, back);
      return to;
    };
    const from = (address: number, size: number): number => address && address + first * size;
    sum += run(exports, call, { rows, columns, inner: 1 }, [
      turn(input, 0),
      from(labels, 4),
      turn(target, 1),
      weight,
      from(values, bytes),
      place(gradInput, 2),
      place(gradTarget, 3),
      from(upstream, bytes),
    ]);
    turn(gradInput, 2, 1);
    turn(gradTarget, 3, 1);
  }
  return sum;
}
