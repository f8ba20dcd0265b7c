/** What the functions over sequences have in common: reading logits, targets and lengths. */
import type { Call } from "../../define.js";
import { arrayOf, fail, wrongShape, wrongType } from "../../errors.js";
import { checkBuffer, isTyped, type Operand, readOperand, sizeOf } from "../../input.js";
import { anything, choice, number, type OptionValues } from "../../options.js";
import type { Input, TypedArray } from "../../types.js";

/** Which axis of logits comes first: the samples (N) or the steps (T); the classes (C) are last. */
export type CtcLayout = "NTC" | "TNC";

/** The options of all functions over steps of logits. */
export const OF_LOGITS = {
  blank: /* @__PURE__ */ number(0, { least: 0, integer: true }),
  inputLengths: /* @__PURE__ */ anything(),
  layout: /* @__PURE__ */ choice<CtcLayout>("NTC", ["NTC", "TNC"]),
};
/** And of those that take targets. */
export const OF_TARGETS = {
  blank: OF_LOGITS.blank,
  inputLengths: OF_LOGITS.inputLengths,
  targetLengths: /* @__PURE__ */ anything(),
  layout: OF_LOGITS.layout,
};

/**
 * Targets of class indices: one array per sample, as long as its target; or [N, S], filled up behind the lengths that
 * `targetLengths` says; for one sample [S].
 */
export type CtcTargets = Input | readonly (readonly number[] | TypedArray)[];

/** Logits of which the types say that they are of one sample, [T, C]. */
export type CtcSample =
  | readonly (readonly number[])[]
  | readonly TypedArray[]
  | { readonly data: TypedArray; readonly shape: readonly [number, number] }
  | { readonly data: TypedArray; readonly dims: readonly [number, number] };
/** Logits of which the types say that they are of a batch, with three axes. */
export type CtcBatch =
  | readonly (readonly (readonly number[])[])[]
  | readonly (readonly TypedArray[])[]
  | { readonly data: TypedArray; readonly shape: readonly [number, number, number] }
  | { readonly data: TypedArray; readonly dims: readonly [number, number, number] };

/** How the logits lie. */
export interface Shape {
  readonly samples: number;
  readonly steps: number;
  readonly classes: number;
  readonly timeMajor: boolean;
  readonly blank: number;
  /** There is one sample, which has come without the axis of samples. */
  readonly single: boolean;
}

/** How many samples without steps there may be: no memory bounds them, but each is gone through, and has a result. */
const MOST_EMPTY = 2 ** 20;

/** Looks at the shape of logits, and whether the blank is one of their classes. */
export function readShape(
  where: string,
  logits: Operand,
  { layout, blank }: OptionValues<typeof OF_LOGITS>,
): Shape {
  const { shape } = logits;
  const timeMajor = layout === "TNC";
  const single = shape.length === 2;
  if (!single && shape.length !== 3)
    wrongShape(where, logits, `${timeMajor ? "[T, N, C]" : "[N, T, C]"}, or [T, C] for one sample`, "RANK");
  const classes = shape[shape.length - 1] as number;
  if (classes === 0) wrongShape(where, logits, "at least one class");
  if (blank >= classes) fail("NUMBER", where, "blank", String(blank), `a class index in [0, ${classes})`);
  const [a, b] = shape as [number, number];
  const samples = single ? 1 : timeMajor ? b : a;
  if (samples > MOST_EMPTY && sizeOf(shape) === 0)
    wrongShape(where, logits, `at most ${MOST_EMPTY} samples that have no steps`);
  if (single) return { samples, steps: a, classes, timeMajor: false, blank, single };
  return { samples, steps: timeMajor ? a : b, classes, timeMajor, blank, single };
}

/**
 * Arrays that a call leaves to the next one, so that a loop allocates nothing. A call takes what it needs out of here: if another
 * begins before it has ended, that one finds nothing and makes its own, and what an error drops is made anew.
 */
export class Spare<A extends Int32Array | Float64Array> {
  private kept: A | undefined;
  constructor(private readonly make: new (length: number) => A) {}
  /** An array of this length; what it holds is left over. */
  take(length: number): A {
    const { kept } = this;
    this.kept = undefined;
    return kept?.length === length ? kept : new this.make(length);
  }
  /** The same for rows that may be longer than they must be. */
  takeRows(rows: number, width: number): A {
    const found = this.kept === undefined || rows === 0 ? 0 : this.kept.length / rows;
    const fits = Number.isInteger(found) && found >= width && found <= 2 * width + 8;
    return this.take(rows * (fits ? found : width));
  }
  /** Gives an array back. */
  give(array: A): void {
    if (array.length <= 1 << 20) this.kept = array;
  }
}

/** The numbers of an array of any form with one axis, or undefined. */
function listOf(where: string, name: string, given: unknown): ArrayLike<unknown> | undefined {
  if (Array.isArray(given)) return given;
  if (isTyped(given) || (typeof given === "object" && given !== null))
    return readOperand(where, name, given).data;
  return undefined;
}

/** A number as it may stand in a list; bigints come out of 64-bit tensors. */
function numberOf(where: string, name: string, item: unknown, expected: string, place: string): number {
  if (typeof item === "bigint") return Number(item);
  if (typeof item !== "number") wrongType(where, name, item, expected, place);
  return item;
}

/**
 * Reads one length per sample into `to`: whole numbers up to `most` of the sample. Where none are given it is `most` itself.
 */
export function readLengths(
  where: string,
  name: string,
  given: unknown,
  single: boolean,
  most: (sample: number) => number,
  to: Int32Array,
): void {
  const list = single && typeof given === "number" ? [given] : listOf(where, name, given);
  if (given !== undefined && list?.length !== to.length) {
    const expected = `one length per sample: ${to.length}`;
    if (list === undefined) wrongType(where, name, given, expected);
    fail("LENGTH", where, name, arrayOf(list.length), expected);
  }
  for (let n = 0; n < to.length; n++) {
    const limit = most(n);
    if (list === undefined) {
      to[n] = limit;
      // more than 32 bits say, or the length of something that is not what it says
      if (to[n] !== limit)
        fail("LENGTH", where, name, String(limit), "a whole number below 2 ** 31", `[${n}]`);
      continue;
    }
    const expected = `a whole number in [0, ${limit}]`;
    const place = typeof given === "number" ? "" : `[${n}]`;
    const length = numberOf(where, name, list[n], expected, place);
    if (!(Number.isInteger(length) && length >= 0 && length <= limit)) {
      fail("LENGTH", where, name, String(length), expected, place);
    }
    to[n] = length;
  }
}

/** Stands in a target for a symbol that may be anything. */
export const WILDCARD = -1;

/** Arrays for what a call reads, from call to call. */
export interface Spares {
  readonly inputLengths: Spare<Int32Array>;
  readonly targetLengths: Spare<Int32Array>;
  readonly labels: Spare<Int32Array>;
}

/** At the start there are none. */
export const spares = /* @__NO_SIDE_EFFECTS__ */ (): Spares => ({
  inputLengths: new Spare<Int32Array>(Int32Array),
  targetLengths: new Spare<Int32Array>(Int32Array),
  labels: new Spare<Int32Array>(Int32Array),
});

/** The logits, targets and lengths of a call, read. */
export interface Read extends Shape {
  /** The length of a row of targets. */
  readonly labels: number;
  readonly targets: Targets;
  readonly inputLengths: Int32Array;
  readonly targetLengths: Int32Array;
}

/** Reads a call whose inputs are logits and, raw, targets, and names the four slots that all kernels begin with. */
export function readSequences(call: Call, spare: Spares, wildcard = false): Read {
  const { where } = call;
  const options = call.options as OptionValues<typeof OF_TARGETS>;
  const logits = call.input(0);
  const shape = readShape(where, logits, options);
  const { samples, steps, single } = shape;
  const inputLengths = spare.inputLengths.take(samples);
  const targetLengths = spare.targetLengths.take(samples);
  readLengths(where, "inputLengths", options.inputLengths, single, () => steps, inputLengths);
  const targets = readTargets(
    { where, shape, given: options.targetLengths, lengths: targetLengths, spare: spare.labels, wildcard },
    call.raw[1],
  );
  call.real(logits);
  call.ints(targets.labels);
  call.ints(inputLengths);
  call.ints(targetLengths);
  return { ...shape, labels: targets.width, targets, inputLengths, targetLengths };
}

/** Targets that were read: class indices in rows of `width`. */
export interface Targets {
  readonly labels: Int32Array;
  readonly width: number;
  /** Whether `labels` is an array of the library's. */
  readonly own: boolean;
}

/** How targets are read: who asks, what is a label, and where numbers are written to. */
interface Reading {
  readonly where: string;
  readonly shape: Shape;
  /** `targetLengths` as it was given. */
  readonly given: unknown;
  /** The lengths go here. */
  readonly lengths: Int32Array;
  readonly spare: Spare<Int32Array>;
  /** Whether `"*"` is a label. */
  readonly wildcard: boolean;
}

/** Reads targets of any form; an Int32Array is used where it stands. */
function readTargets(reading: Reading, targets: unknown): Targets {
  const { where, shape, given, lengths, spare } = reading;
  const { samples, single } = shape;
  if (Array.isArray(targets)) {
    const rows: readonly unknown[] = single ? [targets] : targets;
    if (rows.length !== samples) {
      fail("SHAPE", where, "targets", arrayOf(rows.length), `one target per sample: ${samples}`);
    }
    for (let n = 0; n < samples; n++) {
      const row = rows[n];
      if (isTyped(row)) checkBuffer(where, `targets[${n}]`, row);
      else if (!Array.isArray(row)) wrongType(where, "targets", row, "an array of labels", `[${n}]`);
    }
    const length = (n: number): number => (rows[n] as ArrayLike<unknown>).length;
    readLengths(where, "targetLengths", given, single, length, lengths);
    let width = 0;
    for (let n = 0; n < samples; n++) width = Math.max(width, lengths[n] as number);
    const labels = spare.takeRows(samples, width);
    width = samples === 0 ? 0 : labels.length / samples;
    for (let n = 0; n < samples; n++) {
      const row = rows[n] as ArrayLike<unknown>;
      const count = lengths[n] as number;
      for (let i = 0; i < count; i++) labels[n * width + i] = readLabel(reading, row[i], n, i);
    }
    return { labels, width, own: true };
  }
  const operand = readOperand(where, "targets", targets);
  const axes = operand.shape.length;
  if (axes !== (single ? 1 : 2)) {
    const expected = single ? "[S], or an array of labels" : "[N, S], or one array of labels per sample";
    wrongShape(where, operand, expected, "RANK");
  }
  const width = operand.shape[axes - 1] as number;
  if (!single && operand.shape[0] !== samples)
    wrongShape(where, operand, `one row per sample: [${samples}, S]`);
  readLengths(where, "targetLengths", given, single, () => width, lengths);
  const { data } = operand;
  const own = !(data instanceof Int32Array);
  const labels = own ? spare.take(data.length) : data;
  for (let n = 0; n < samples; n++) {
    const count = lengths[n] as number;
    for (let i = 0; i < count; i++) {
      const label = readLabel(reading, data[n * width + i], n, i);
      if (own) labels[n * width + i] = label;
    }
  }
  return { labels, width, own };
}

function isClass(x: number, classes: number): boolean {
  return x >= 0 && x < classes && Number.isInteger(x);
}

/** One label of sample n. */
function readLabel(reading: Reading, item: unknown, n: number, i: number): number {
  const { where, wildcard } = reading;
  const { classes, single, blank } = reading.shape;
  if (typeof item === "number" && isClass(item, classes) && item !== blank) return item;
  if (wildcard && item === "*") return WILDCARD;
  const place = single ? `[${i}]` : `[${n}][${i}]`;
  const expected = `a class index in [0, ${classes})${wildcard ? ' or "*"' : ""}`;
  const label = numberOf(where, "targets", item, expected, place);
  if (label === blank)
    fail("LABEL", where, "targets", `the blank (${blank})`, `${expected} that is not the blank`, place);
  if (!isClass(label, classes)) fail("LABEL", where, "targets", String(label), expected, place);
  return label;
}
