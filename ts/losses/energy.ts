/**
 * The energy-based losses: one loss per sample of energies [N, K], one energy per answer, and the answers [N] that are
 * correct. Low energy is good: a loss pushes the correct answer down and others up.
 */
import { door, type Plan } from "#door/energy";
import { type Call, define, type Family, type InputRow, numbersOf, readLabels } from "../define.js";
import { fail, shapeText, wrongShape, wrongType } from "../errors.js";
import { flatten, isTyped, type Operand, placeOf, readOperand, sameShape, sizeOf } from "../input.js";
import { array, choice, number } from "../options.js";
import type { EnergyReference, Samples } from "../reference/energy.js";
import * as reference from "../reference/energy.js";
import type { FloatArray, Input, Loss, TypedArray } from "../types.js";

/** Numbers that were ragged, and how many each sample has. */
interface Ragged extends Operand {
  readonly lengths?: readonly number[];
}

/** The family. `indices` says that it is no loss: where the most offending answers stand is asked for. */
const energy = /* @__NO_SIDE_EFFECTS__ */ (indices = false): Family<Plan, EnergyReference> => ({
  door,
  plan(call) {
    const energies = call.input(0);
    const { shape } = energies;
    if (shape.length !== 1 && shape.length !== 2)
      wrongShape(call.where, energies, "[N, K], or [K] for one sample", "RANK");
    const columns = shape[shape.length - 1] as number;
    const leading = shape.slice(0, -1);
    const rows = sizeOf(leading);
    if (columns === 0 && rows > 0) wrongShape(call.where, energies, "at least one answer");
    const { margin, marginMatrix } = call.options;
    const answers = readAnswers(
      call,
      leading,
      columns,
      typeof margin === "function" || typeof marginMatrix === "function",
    );
    const present = readMask(call, energies);
    checkPresent(call, answers, columns, present);
    const { table, per } = readTable(call, answers, rows, columns, present);
    const cloud = readCoordinates(call, rows, columns);
    call.losses(leading);
    // ragged energies are laid out so already
    const masked = present !== undefined && call.options.mask !== undefined;
    call.take(masked ? withoutAbsent(energies, present) : energies);
    call.own(answers);
    call.own(lengthsOf(present, rows, columns));
    call.take(table);
    call.own(cloud.data);
    call.valueSlot();
    const index = indices ? new Int32Array(rows) : undefined;
    call.own(index, true);
    if (indices) call.extras = { index };
    call.gradientSlot(0);
    call.upstreamSlot();
    return {
      rows,
      columns,
      dimensions: cloud.dimensions,
      clouds: cloud.count,
      per,
      epsilon: epsilonOf(call),
    };
  },
  js: reference.runEnergy,
});

/**
 * One array per sample, each of its own length: as [N, the longest], with `behind` behind each. Whatever is not ragged is read as it is.
 */
function readRagged(
  where: string,
  name: string,
  value: unknown,
  read: typeof readOperand,
  behind: number,
): Ragged {
  if (!Array.isArray(value) || value.length === 0) return read(where, name, value);
  // each is asked for once: a getter may give another then
  const rows: (readonly unknown[] | TypedArray)[] = [];
  for (let i = 0; i < value.length; i++) {
    const row: unknown = value[i];
    // no row, or a hole: what is wrong with it is told there
    if (!Array.isArray(row) && !isTyped(row)) return read(where, name, value);
    rows.push(row);
  }
  if (rows.every(({ length }) => length === rows[0]?.length)) return read(where, name, rows);
  const samples = rows.map((row, i) => {
    const sample = read(where, `${name}[${i}]`, row);
    if (sample.shape.length !== 1) {
      fail("SHAPE", where, name, `of shape ${shapeText(sample.shape)}`, "an array of one axis", `[${i}]`);
    }
    return sample;
  });
  const lengths = samples.map(({ data }) => data.length);
  const columns = lengths.reduce((most, length) => Math.max(most, length));
  const single = samples.every(({ precision }) => precision === "float32");
  const size = samples.length * columns;
  const data = (single ? new Float32Array(size) : new Float64Array(size)).fill(behind);
  samples.forEach((sample, i) => {
    for (let k = 0; k < sample.data.length; k++) data[i * columns + k] = Number(sample.data[k]);
  });
  return { name, data, shape: [samples.length, columns], precision: single ? "float32" : "float64", lengths };
}

/** Energies in any form that inputs have, or ragged. */
const readEnergies = (where: string, name: string, value: unknown): Ragged =>
  readRagged(where, name, value, readOperand, Infinity);

/** The correct answers: [N]; for one sample a number or an array of one. */
function readAnswers(call: Call, leading: readonly number[], columns: number, copied: boolean): Int32Array {
  const answers = call.input(1);
  const single = leading.length === 0 && answers.shape.length === 1 && answers.data.length === 1;
  if (!single && !sameShape(answers.shape, leading)) {
    const expected = leading.length === 0 ? "one answer" : `one answer per sample: ${shapeText(leading)}`;
    wrongShape(call.where, answers, expected);
  }
  const labels = readLabels(call.where, answers, 0, columns, `an answer: an index in [0, ${columns})`);
  // a function of the caller's is asked for margins: what was checked stays as it was
  return copied ? new Int32Array(labels) : labels;
}

/** Whether the k-th answer of a sample is there; undefined where all are. */
type Present = (row: number, k: number) => boolean;

/** Which answers are there, from the mask or from the lengths of ragged energies. */
function readMask(call: Call, energies: Ragged): Present | undefined {
  const { lengths, shape } = energies;
  const mask = call.options.mask as Ragged | undefined;
  if (mask === undefined) return lengths === undefined ? undefined : (row, k) => k < (lengths[row] as number);
  if (!sameShape(mask.shape, shape) || !sameShape(mask.lengths ?? [], lengths ?? [])) {
    const expected =
      lengths === undefined
        ? `${shapeText(shape)}, as ${energies.name}`
        : `one array per sample, as long as its ${energies.name}`;
    const received = mask.lengths === undefined ? `of shape ${shapeText(mask.shape)}` : "ragged";
    fail("SHAPE", call.where, "mask", received, expected);
  }
  const data = numbersOf(call.where, mask);
  // a copy, as of the answers
  const present = new Uint8Array(data.length);
  for (let i = 0; i < data.length; i++) {
    const there = Number(data[i]);
    if (there !== 0 && there !== 1)
      fail("RANGE", call.where, "mask", String(data[i]), "0 or 1, false or true", placeOf(i, mask.shape));
    present[i] = there;
  }
  const columns = shape[shape.length - 1] as number;
  return (row, k) => present[row * columns + k] === 1;
}

/** A correct answer must be there. */
function checkPresent(call: Call, answers: Int32Array, columns: number, present: Present | undefined): void {
  if (present === undefined) return;
  answers.forEach((answer, row) => {
    if (!present(row, answer)) {
      const { name, shape } = call.input(1);
      fail(
        "LABEL",
        call.where,
        name,
        String(answer),
        `an answer that is there, of the sample's (an index in [0, ${columns}))`,
        placeOf(row, shape),
      );
    }
  });
}

/** How many of each sample's answers the core looks at: up to the last one that is there. The reference looks at all. */
function lengthsOf(present: Present | undefined, rows: number, columns: number): Int32Array | undefined {
  if (present === undefined) return undefined;
  return Int32Array.from({ length: rows }, (_, row) => {
    let length = columns;
    while (length > 0 && !present(row, length - 1)) length--;
    return length;
  });
}

/** A copy of the energies with +Infinity for answers that are not there; theirs are not read. */
function withoutAbsent(energies: Operand, present: Present): Operand {
  const { data, shape } = energies;
  const columns = shape[shape.length - 1] as number;
  const copy =
    energies.precision === "float32" ? new Float32Array(data.length) : new Float64Array(data.length);
  for (let i = 0; i < data.length; i++) {
    copy[i] = present(Math.floor(i / columns), i % columns) ? Number(data[i]) : Infinity;
  }
  return { name: energies.name, data: copy, shape, precision: energies.precision };
}

/** Log-weights or margins: a row for all, for each correct answer, or for each sample. */
function readTable(
  call: Call,
  answers: Int32Array,
  rows: number,
  columns: number,
  present: Present | undefined,
): { table: Operand | undefined; per: Samples["per"] } {
  const { logMeasure, marginMatrix, margin } = call.options as Record<string, unknown>;
  const f = marginMatrix ?? margin;
  if (typeof f === "function")
    return { table: marginsOf(call, f as Margin, answers, rows, columns, present), per: "sample" };
  const table = (logMeasure ?? marginMatrix) as Operand | undefined;
  if (table === undefined) return { table, per: "all" };
  const { shape } = table;
  const single = shape.length === 1 && shape[0] === columns;
  const matrix = shape.length === 2 && shape[1] === columns;
  if (logMeasure !== undefined) {
    if (single) return { table, per: "all" };
    if (matrix && shape[0] === rows) return { table, per: "sample" };
    wrongShape(call.where, table, `[${columns}] or [${rows}, ${columns}]: one log-weight per answer`);
  }
  if (matrix && shape[0] === columns) return { table, per: "answer" };
  if ((matrix && shape[0] === rows) || (single && rows === 1)) return { table, per: "sample" };
  const expected = `[${columns}, ${columns}], [${rows}, ${columns}] or a function of (y, answer, sample)`;
  return wrongShape(call.where, table, expected);
}

/** Asks a function for the margin of every incorrect answer that is there. */
function marginsOf(
  call: Call,
  margin: Margin,
  answers: Int32Array,
  rows: number,
  columns: number,
  present: Present | undefined,
): Operand {
  const data = new Float64Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    const answer = answers[row] as number;
    for (let k = 0; k < columns; k++) {
      if (k === answer || present?.(row, k) === false) continue;
      const value: unknown = margin(k, answer, row);
      if (typeof value !== "number")
        wrongType(call.where, `margin(${k}, ${answer}, ${row})`, value, "a number");
      data[row * columns + k] = value;
    }
  }
  return { name: "margin", data, shape: [rows, columns], precision: "float64" };
}

/** Where the answers lie, as doubles: both engines must find the same answers incorrect. */
function readCoordinates(
  call: Call,
  rows: number,
  columns: number,
): { data: Float64Array | undefined; dimensions: number; count: number } {
  const coordinates = call.options.coordinates as Operand | undefined;
  if (coordinates === undefined) {
    if (epsilonOf(call) !== 0) {
      fail("OPTION", call.where, "epsilon", String(epsilonOf(call)), "coordinates of the answers beside it");
    }
    return { data: undefined, dimensions: 0, count: 1 };
  }
  const { shape } = coordinates;
  const data = numbersOf(call.where, coordinates);
  const shared = (shape.length === 1 || shape.length === 2) && shape[0] === columns;
  if (!shared && !(shape.length === 3 && shape[0] === rows && shape[1] === columns)) {
    const expected = `[${columns}, D] for all samples, or [${rows}, ${columns}, D]`;
    wrongShape(call.where, coordinates, expected);
  }
  const dimensions = shape.length === 1 ? 1 : (shape[shape.length - 1] as number);
  const doubles = data instanceof Float64Array ? data : Float64Array.from(data as FloatArray, Number);
  return { data: doubles, dimensions, count: shared ? 1 : rows };
}

function epsilonOf(call: Call): number {
  return (call.options.epsilon as number | undefined) ?? 0;
}

/** A mask may be of booleans, nested or not. */
function readBooleans(where: string, name: string, value: unknown): Operand {
  if (Array.isArray(value)) return flatten(where, name, value, true);
  return readOperand(where, name, typeof value === "boolean" ? Number(value) : value);
}

const readPresence = (where: string, name: string, value: unknown): Ragged =>
  readRagged(where, name, value, readBooleans, 0);

/** `{ data, shape }` with plain numbers for data is taken as well: coordinates often come from JSON. */
function readPoints(where: string, name: string, value: unknown): Operand {
  const { data, shape } = (value ?? {}) as { data?: unknown; shape?: unknown };
  return readOperand(
    where,
    name,
    Array.isArray(data) ? { data: readOperand(where, name, data).data, shape } : value,
  );
}

const INPUTS: readonly InputRow[] = [
  { name: "energies", differentiable: true, read: readEnergies },
  { name: "answers", labels: true },
];
const mask = { fallback: undefined, read: readPresence };
/** Which answers count as incorrect. */
const INCORRECT = {
  mask,
  coordinates: { fallback: undefined, read: readPoints },
  epsilon: /* @__PURE__ */ number(0, { least: 0 }),
};

/** What every loss of this entry takes for energies: [N, K] or [K], or one array per sample, each of its own length. */
export type Energies = Input | readonly (readonly number[] | TypedArray)[];

/** Options of every loss of energies. */
export interface EnergyOptions {
  /**
   * Which answers are there, in the shape of the energies, ragged where they are: 1 or true. An answer that is not there is never read (its energy
   * may be NaN), is never the most offending one, and has gradient 0. Default: all are there.
   */
  mask?: Input | readonly boolean[] | readonly (readonly (number | boolean)[] | TypedArray)[] | undefined;
}

/** Options of the losses of the most offending incorrect answer, and of {@link mostOffending}. */
export interface OffenderOptions extends EnergyOptions {
  /** Where the answers lie: [K, D] (or [K]) for all samples, or [N, K, D]. Default: nowhere, all but the correct one count. */
  coordinates?: Input | undefined;
  /** With `coordinates`: only answers farther than this from the correct one, by Euclidean distance, are incorrect. Default 0. */
  epsilon?: number | undefined;
}

/** Options of the losses with a margin. */
export interface MarginOptions extends OffenderOptions {
  /** The margin m. Default 1. */
  margin?: number | undefined;
}

/** A loss of energies. */
export type EnergyLoss<O = unknown> = Loss<[energies: Energies, answers: Input], "energies", O>;

/**
 * Energy loss: `E(Y)`, the energy of the correct answer.
 *
 * It pushes down and never up. Where the energies are distances that cannot fall below 0, or the architecture ties them
 * together, that is enough; elsewhere the surface collapses: all answers get the same low energy.
 *
 * - `energies`: [N, K], [K] for one sample, or ragged. Differentiable: 1 at Y. Of ragged energies the gradient is [N, max K],
 *   with 0 behind each sample's answers; that holds for all losses here.
 * - `answers`: the correct answers [N], whole numbers in [0, K).
 *
 * @throws RangeError `SHAPE`, `RANK`: shapes that do not fit; `LABEL`: an answer that is none, or is not there; TypeError: wrong kinds.
 * @see LeCun, Chopra, Hadsell, Ranzato, Huang, A Tutorial on Energy-Based Learning, 2006, Table 1, as for all losses here.
 * @example
 * ```ts
 * import { energyLoss } from "perdida/energy";
 * console.log(energyLoss([[0.5, 1, 2]], [0])); // 0.5
 * ```
 */
export const energyLoss: EnergyLoss<EnergyOptions> = /* @__PURE__ */ define({
  name: "energyLoss",
  inputs: INPUTS,
  options: { mask },
  family: energy(),
  reference: reference.energyLoss,
});

/**
 * Generalised perceptron loss: `E(Y) - min_y E(y)`, the minimum over all answers, the correct one among them.
 *
 * Never negative, and 0 as soon as no answer is lower than the correct one: it asks for no margin, so it can give every
 * answer the same energy.
 *
 * - `energies`: [N, K], [K] for one sample, or ragged. Differentiable: 1 at Y and -1 at the lowest answer (the first of those
 *   that tie), 0 where that is Y.
 * - `answers`: the correct answers [N], whole numbers in [0, K).
 *
 * @throws RangeError `SHAPE`, `RANK`: shapes that do not fit; `LABEL`: an answer that is none, or is not there; TypeError: wrong kinds.
 * @see LeCun et al. 2006, Table 1; Collins, Discriminative Training Methods for Hidden Markov Models, 2002.
 * @example
 * ```ts
 * import { perceptronLoss } from "perdida/energy";
 * console.log(perceptronLoss([[0.5, 0.25, 2]], [0])); // 0.25
 * ```
 */
export const perceptronLoss: EnergyLoss<EnergyOptions> = /* @__PURE__ */ define({
  name: "perceptronLoss",
  inputs: INPUTS,
  options: { mask },
  family: energy(),
  reference: reference.perceptronLoss,
});

/**
 * Hinge loss: `max(0, m + E(Y) - E(Yi))` with Yi the most offending incorrect answer ({@link mostOffending}). (The printed
 * lecture closes its bracket before E(Yi), which would reward a low one.)
 *
 * - `energies`: [N, K], [K] for one sample, or ragged. Differentiable: 1 at Y and -1 at Yi within the margin; 0 beyond it and
 *   at the kink.
 * - `answers`: the correct answers [N], whole numbers in [0, K).
 *
 * Where no incorrect answer is there, or far enough, the loss is 0.
 *
 * @throws RangeError `SHAPE`, `RANK`: shapes that do not fit; `LABEL`: an answer that is none, or is not there; `NUMBER`: an epsilon
 * below 0; TypeError: wrong kinds, or an epsilon without coordinates.
 * @see LeCun et al. 2006, Table 1; Altun, Johnson, Hofmann, Investigating Loss Functions and Optimization Methods for
 * Discriminative Learning of Label Sequences, 2003.
 * @example
 * ```ts
 * import { hingeLoss } from "perdida/energy";
 * console.log(hingeLoss([[0.5, 1, 2]], [0])); // 0.5
 * // answers that lie within 1.5 of the correct one are no mistakes
 * console.log(hingeLoss([[0.5, 1, 2]], [0], { margin: 2, coordinates: [0, 1, 2], epsilon: 1.5 })); // 0.5
 * ```
 */
export const hingeLoss: EnergyLoss<MarginOptions> = /* @__PURE__ */ define({
  name: "hingeLoss",
  inputs: INPUTS,
  options: { ...INCORRECT, margin: number(1) },
  family: energy(),
  reference: reference.hingeLoss,
  parameters: ["margin"],
});

/**
 * Log loss: `log(1 + exp(E(Y) - E(Yi)))` with Yi the most offending incorrect answer, a hinge without its kink: its margin has
 * no end, and it never stops pushing.
 *
 * - `energies`: [N, K], [K] for one sample, or ragged. Differentiable: s at Y and -s at Yi, with s the sigmoid of E(Y) - E(Yi).
 * - `answers`: the correct answers [N], whole numbers in [0, K).
 *
 * Where no incorrect answer is there, or far enough, the loss is 0.
 *
 * @throws RangeError `SHAPE`, `RANK`: shapes that do not fit; `LABEL`: an answer that is none, or is not there; `NUMBER`: an epsilon
 * below 0; TypeError: wrong kinds, or an epsilon without coordinates.
 * @see LeCun et al. 2006, Table 1.
 * @example
 * ```ts
 * import { logLoss } from "perdida/energy";
 * console.log(logLoss([[1, 1, 2]], [0]).toFixed(4)); // "0.6931"
 * ```
 */
export const logLoss: EnergyLoss<OffenderOptions> = /* @__PURE__ */ define({
  name: "logLoss",
  inputs: INPUTS,
  options: INCORRECT,
  family: energy(),
  reference: reference.logLoss,
});

/**
 * LVQ2 loss: `min(m, max(0, E(Y) - E(Yi)))` with Yi the most offending incorrect answer. It saturates: a sample that is wrong
 * by m or more has loss m and is not pushed any longer, so outliers do not pull.
 *
 * - `energies`: [N, K], [K] for one sample, or ragged. Differentiable: 1 at Y and -1 at Yi between the kinks, 0 beyond and at them.
 * - `answers`: the correct answers [N], whole numbers in [0, K).
 *
 * Where no incorrect answer is there, or far enough, the loss is 0.
 *
 * @throws RangeError `SHAPE`, `RANK`: shapes that do not fit; `LABEL`: an answer that is none, or is not there; `NUMBER`: a margin
 * or an epsilon below 0; TypeError: wrong kinds, or an epsilon without coordinates.
 * @see LeCun et al. 2006, Table 1; Kohonen, Barna, Chrisley, Statistical Pattern Recognition with Neural Networks, 1988.
 * @example
 * ```ts
 * import { lvq2Loss } from "perdida/energy";
 * console.log(lvq2Loss([[5, 1, 2]], [0], { margin: 2 })); // 2
 * ```
 */
export const lvq2Loss: EnergyLoss<MarginOptions> = /* @__PURE__ */ define({
  name: "lvq2Loss",
  inputs: INPUTS,
  options: { ...INCORRECT, margin: number(1, { least: 0 }) },
  family: energy(),
  reference: reference.lvq2Loss,
  parameters: ["margin"],
});

/**
 * Minimum classification error loss: `1 / (1 + exp(-(E(Y) - E(Yi))))` with Yi the most offending incorrect answer: a smooth
 * count of the mistakes.
 *
 * - `energies`: [N, K], [K] for one sample, or ragged. Differentiable: `s (1 - s)` at Y and its negative at Yi, s being the loss.
 * - `answers`: the correct answers [N], whole numbers in [0, K).
 *
 * Where no incorrect answer is there, or far enough, the loss is 0.
 *
 * @throws RangeError `SHAPE`, `RANK`: shapes that do not fit; `LABEL`: an answer that is none, or is not there; `NUMBER`: an epsilon
 * below 0; TypeError: wrong kinds, or an epsilon without coordinates.
 * @see LeCun et al. 2006, Table 1; Juang, Hou, Lee, Minimum Classification Error Rate Methods for Speech Recognition, 1997.
 * @example
 * ```ts
 * import { mceLoss } from "perdida/energy";
 * console.log(mceLoss([[1, 1, 2]], [0])); // 0.5
 * ```
 */
export const mceLoss: EnergyLoss<OffenderOptions> = /* @__PURE__ */ define({
  name: "mceLoss",
  inputs: INPUTS,
  options: INCORRECT,
  family: energy(),
  reference: reference.mceLoss,
});

/**
 * Square-square loss: `E(Y)^2 + max(0, m - E(Yi))^2` with Yi the most offending incorrect answer. For energies that are bounded
 * below by 0: the correct answer is pulled to 0, the other pushed up to m, each on its own.
 *
 * - `energies`: [N, K], [K] for one sample, or ragged. Differentiable: `2 E(Y)` at Y and `-2 max(0, m - E(Yi))` at Yi.
 * - `answers`: the correct answers [N], whole numbers in [0, K).
 *
 * Where no incorrect answer is there, or far enough, `E(Y)^2` is left.
 *
 * @throws RangeError `SHAPE`, `RANK`: shapes that do not fit; `LABEL`: an answer that is none, or is not there; `NUMBER`: an epsilon
 * below 0; TypeError: wrong kinds, or an epsilon without coordinates.
 * @see LeCun et al. 2006, Table 1; LeCun and Huang, Loss Functions for Discriminative Training of Energy-Based Models, 2005.
 * @example
 * ```ts
 * import { squareSquareLoss } from "perdida/energy";
 * console.log(squareSquareLoss([[2, 0.5, 3]], [0])); // 4.25
 * ```
 */
export const squareSquareLoss: EnergyLoss<MarginOptions> = /* @__PURE__ */ define({
  name: "squareSquareLoss",
  inputs: INPUTS,
  options: { ...INCORRECT, margin: number(1) },
  family: energy(),
  reference: reference.squareSquareLoss,
  parameters: ["margin"],
});

/** Options of {@link squareExponentialLoss}. */
export interface SquareExponentialOptions extends OffenderOptions {
  /** How much the repulsion weighs: the beta of Table 1, which multiplies the exponential. From 0 on. Default 1. */
  beta?: number | undefined;
}

/**
 * Square-exponential loss: `E(Y)^2 + beta exp(-E(Yi))` with Yi the most offending incorrect answer: {@link squareSquareLoss} with
 * a margin that has no end.
 *
 * - `energies`: [N, K], [K] for one sample, or ragged. Differentiable: `2 E(Y)` at Y and `-beta exp(-E(Yi))` at Yi.
 * - `answers`: the correct answers [N], whole numbers in [0, K).
 *
 * Where no incorrect answer is there, or far enough, `E(Y)^2` is left.
 *
 * @throws RangeError `SHAPE`, `RANK`: shapes that do not fit; `LABEL`: an answer that is none, or is not there; `NUMBER`: a beta or
 * an epsilon below 0; TypeError: wrong kinds, or an epsilon without coordinates.
 * @see LeCun et al. 2006, Table 1; Osadchy, Miller, LeCun, Synergistic Face Detection and Pose Estimation, 2005.
 * @example
 * ```ts
 * import { squareExponentialLoss } from "perdida/energy";
 * console.log(squareExponentialLoss([[2, 0, 3]], [0])); // 5
 * ```
 */
export const squareExponentialLoss: EnergyLoss<SquareExponentialOptions> = /* @__PURE__ */ define({
  name: "squareExponentialLoss",
  inputs: INPUTS,
  options: { ...INCORRECT, beta: number(1, { least: 0 }) },
  family: energy(),
  reference: reference.squareExponentialLoss,
  parameters: ["beta"],
});

/** Options of {@link nllLoss}. */
export interface EnergyNllOptions extends EnergyOptions {
  /** The inverse temperature, above 0; Infinity is the perceptron loss. Default 1. */
  beta?: number | undefined;
  /** The logarithms of the answers' weights, [K] or [N, K]: with quadrature points for answers, of the points' weights. Default 0. */
  logMeasure?: Input | undefined;
}

/**
 * Negative log-likelihood of the correct answer: `E(Y) + 1/beta log sum_y exp(-beta E(y) + logMeasure(y))`. (The printed lecture
 * drops the minus in the exponent.)
 *
 * With beta 1 and without a measure it is `crossEntropyLoss(-energies, answers)` of perdida (whose own `nllLoss` takes
 * log-probabilities). Where answers are continuous, let
 * them be the points of a quadrature and `logMeasure` the logarithms of its weights: the sum then is the integral. As beta
 * grows it becomes {@link perceptronLoss}; nothing overflows on the way.
 *
 * - `energies`: [N, K], [K] for one sample, or ragged. Differentiable: 1 at Y less the probability of each answer,
 *   `exp(-beta E(y) + logMeasure(y))` over their sum. So it pushes all answers up, the likelier the harder.
 * - `answers`: the correct answers [N], whole numbers in [0, K).
 *
 * @throws RangeError `SHAPE`, `RANK`: shapes that do not fit; `LABEL`: an answer that is none, or is not there; `NUMBER`: a beta that
 * is not above 0; TypeError: wrong kinds.
 * @see LeCun et al. 2006, Table 1 and section 2.2.4.
 * @example
 * ```ts
 * import { nllLoss } from "perdida/energy";
 * console.log(nllLoss([[0, 0]], [0]).toFixed(4)); // "0.6931"
 * // the energy y^2 / 2 over the real line: its integral is sqrt(2 pi)
 * const y = Array.from({ length: 2001 }, (_, i) => (i - 1000) / 100);
 * const logMeasure = y.map(() => Math.log(1 / 100));
 * const loss = nllLoss([y.map((y) => (y * y) / 2)], [1000], { logMeasure });
 * console.log(Math.exp(loss).toFixed(4)); // "2.5066"
 * ```
 */
export const nllLoss: EnergyLoss<EnergyNllOptions> = /* @__PURE__ */ define({
  name: "nllLoss",
  inputs: INPUTS,
  options: { mask, beta: number(1, { above: 0 }), logMeasure: array() },
  family: energy(),
  reference: reference.nllLoss,
  parameters: ["beta"],
});

/** Options of {@link meeLoss}. */
export interface MeeOptions extends EnergyOptions {
  /** The inverse temperature, above 0 and finite. Default 1. */
  beta?: number | undefined;
}

/**
 * Minimum empirical error loss: `1 - exp(-beta E(Y)) / sum_y exp(-beta E(y))`, the probability that an answer drawn by its energy
 * is wrong. Samples that are hopelessly wrong hardly pull, as with {@link mceLoss}.
 *
 * - `energies`: [N, K], [K] for one sample, or ragged. Differentiable: `beta P(Y) ([y is Y] - P(y))`.
 * - `answers`: the correct answers [N], whole numbers in [0, K).
 *
 * @throws RangeError `SHAPE`, `RANK`: shapes that do not fit; `LABEL`: an answer that is none, or is not there; `NUMBER`: a beta that
 * is not above 0 or not finite; TypeError: wrong kinds.
 * @see LeCun et al. 2006, Table 1; Ljolje, Ephraim, Rabiner, Estimation of Hidden Markov Model Parameters by Minimizing Empirical
 * Error Rate, 1990. (The tutorial's table prints the negative of the probability; the 1 makes it an error.)
 * @example
 * ```ts
 * import { meeLoss } from "perdida/energy";
 * console.log(meeLoss([[1, 1, 1, 1]], [0])); // 0.75
 * ```
 */
export const meeLoss: EnergyLoss<MeeOptions> = /* @__PURE__ */ define({
  name: "meeLoss",
  inputs: INPUTS,
  options: { mask, beta: number(1, { above: 0, most: Number.MAX_VALUE }) },
  family: energy(),
  reference: reference.meeLoss,
  parameters: ["beta"],
});

/** How far above the correct answer of a sample an incorrect one, y, must be. */
export type Margin = (y: number, answer: number, sample: number) => number;

/** Options of {@link contrastiveLoss}. */
export interface ContrastiveOptions extends EnergyOptions {
  /** H: `"hinge"` (default) is max(0, z), `"log"` is log(1 + exp(z)). */
  surrogate?: "hinge" | "log" | undefined;
  /**
   * C: [K, K], a row for each correct answer, or [N, K], a row for each sample (where N = K it is read as the first; [K] for one
   * sample), or a function. What it says of the correct answer itself is not looked at. Default: `margin` for all.
   */
  marginMatrix?: Input | Margin | undefined;
  /** C as one number for all, or as a function, where there is no `marginMatrix`. Default 1. */
  margin?: number | Margin | undefined;
}

/**
 * General contrastive loss: `sum over y != Y of H(E(Y) - E(y) + C(Y, y))`: each incorrect answer must be above the correct one by
 * its own margin, such as how wrong it is.
 *
 * - `energies`: [N, K], [K] for one sample, or ragged. Differentiable: `-H'` at each incorrect answer and the sum of H' at Y;
 *   0 at the hinge's kink.
 * - `answers`: the correct answers [N], whole numbers in [0, K).
 *
 * @throws RangeError `SHAPE`, `RANK`: shapes that do not fit; `LABEL`: an answer that is none, or is not there; TypeError: wrong kinds.
 * @see The lecture's general form of margin losses; with the hinge: Weston and Watkins, Multi-class Support Vector Machines, 1998.
 * @example
 * ```ts
 * import { contrastiveLoss } from "perdida/energy";
 * const energies = [[1, 1.5, 4]];
 * console.log(contrastiveLoss(energies, [0])); // 0.5
 * // the farther an answer is from the correct one, the higher it must be
 * console.log(contrastiveLoss(energies, [0], { margin: (y, answer) => 2 * Math.abs(y - answer) })); // 2.5
 * ```
 */
export const contrastiveLoss: EnergyLoss<ContrastiveOptions> = /* @__PURE__ */ define({
  name: "contrastiveLoss",
  inputs: INPUTS,
  options: {
    mask,
    surrogate: choice("hinge", ["hinge", "log"]),
    marginMatrix: {
      fallback: undefined,
      read: (where: string, name: string, value: unknown) =>
        typeof value === "function" ? value : readOperand(where, name, value),
    },
    margin: {
      fallback: 1,
      read: (where: string, name: string, value: unknown) =>
        typeof value === "function" ? value : number(1).read(where, name, value),
    },
  },
  family: energy(),
  reference: reference.contrastiveLoss,
  parameters: ["margin", "surrogate"],
});

/** What {@link mostOffending} gives. */
export interface MostOffending {
  /** Which incorrect answer of each sample has the lowest energy; -1 where none is there, or far enough. */
  readonly index: Int32Array;
  /** Its energy; +Infinity where there is none. In the precision of the energies. */
  readonly energy: FloatArray;
}

interface Search {
  valueAndGrad(...args: unknown[]): { value: { data: FloatArray }; index: Int32Array };
}
const search: Search = /* @__PURE__ */ define({
  name: "mostOffending",
  inputs: INPUTS,
  options: INCORRECT,
  mapping: true,
  plain: true,
  family: energy(true),
  reference: reference.mostOffending,
});

/**
 * The most offending incorrect answer of each sample: the one of lowest energy among those that are not the correct one and, with
 * `coordinates`, lie farther than `epsilon` from it. The first of those that tie; NaN counts as lower than every number, so
 * that it shows.
 *
 * - `energies`: [N, K], [K] for one sample, or ragged.
 * - `answers`: the correct answers [N], whole numbers in [0, K).
 *
 * Where no answer is there, or far enough, the index is -1 and the energy +Infinity. An answer whose energy is +Infinity counts
 * as not there.
 *
 * @throws RangeError `SHAPE`, `RANK`: shapes that do not fit; `LABEL`: an answer that is none, or is not there; `NUMBER`: an epsilon
 * below 0; TypeError: wrong kinds, or an epsilon without coordinates.
 * @see LeCun et al. 2006, section 2.2, definitions 1 (discrete answers) and 2 (continuous ones).
 * @example
 * ```ts
 * import { mostOffending } from "perdida/energy";
 * const energies = [[0.2, 0.3, 0.9], [0.1, 0.5, 0.4]];
 * const { index, energy } = mostOffending(energies, [0, 0]);
 * console.log([...index], [...energy]); // [1, 2] [0.3, 0.4]
 * console.log([...mostOffending(energies, [0, 1], { coordinates: [0, 1, 2], epsilon: 1 }).index]); // [2, -1]
 * ```
 */
export function mostOffending(energies: Energies, answers: Input, options?: OffenderOptions): MostOffending {
  const { value, index } = search.valueAndGrad(energies, answers, options);
  return { index, energy: value.data };
}
