/** What the functions over sequences have in common: reading logits, targets and lengths. */
import { describe, fail, shapeText } from "../../errors.js";
import { checkBuffer, isTyped, type Operand, readOperand } from "../../input.js";
import type { Input, TypedArray } from "../../types.js";

/** Which axis of logits comes first: the samples (N) or the steps (T); the classes (C) are last. */
export type CtcLayout = "NTC" | "TNC";
/** The layouts of a batch of logits. */
export const LAYOUTS: readonly CtcLayout[] = ["NTC", "TNC"];

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
  /** There is one sample, which has come without the axis of samples. */
  readonly single: boolean;
}

/** Looks at the shape of logits. */
export function readShape(where: string, { name, shape }: Operand, layout: CtcLayout): Shape {
  const timeMajor = layout === "TNC";
  if (shape.length !== 2 && shape.length !== 3) {
    const axes = timeMajor ? "[T, N, C]" : "[N, T, C]";
    fail("RANK", where, name, `of shape ${shapeText(shape)}`, `${axes}, or [T, C] for one sample`);
  }
  const single = shape.length === 2;
  const classes = shape[shape.length - 1] as number;
  if (classes === 0) fail("SHAPE", where, name, `of shape ${shapeText(shape)}`, "at least one class");
  const [a, b] = shape as [number, number];
  if (single) return { samples: 1, steps: a, classes, timeMajor: false, single };
  return { samples: timeMajor ? b : a, steps: timeMajor ? a : b, classes, timeMajor, single };
}

/** Checks that the blank is a class. */
export function checkBlank(where: string, blank: number, classes: number): void {
  if (blank >= classes) fail("NUMBER", where, "blank", String(blank), `a class index in [0, ${classes})`);
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
  if (typeof item !== "number") fail("TYPE", where, name, describe(item), expected, place);
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
  if (given !== undefined && list === undefined) {
    fail("TYPE", where, name, describe(given), `one length per sample: ${to.length}`);
  }
  if (list !== undefined && list.length !== to.length) {
    fail("LENGTH", where, name, `an array of ${list.length}`, `one length per sample: ${to.length}`);
  }
  for (let n = 0; n < to.length; n++) {
    const limit = most(n);
    if (list === undefined) {
      to[n] = limit;
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

/** Targets that were read: class indices in rows of `width`. */
export interface Targets {
  readonly labels: Int32Array;
  readonly width: number;
  /** Whether `labels` is an array of the library's. */
  readonly own: boolean;
}

/** How targets are read: who asks, what is a label, and where numbers are written to. */
export interface Reading {
  readonly where: string;
  readonly shape: Shape;
  readonly blank: number;
  /** `targetLengths` as it was given. */
  readonly given: unknown;
  /** The lengths go here. */
  readonly lengths: Int32Array;
  readonly spare: Spare<Int32Array>;
  /** Whether `"*"` is a label. */
  readonly wildcard?: boolean;
}

/** Reads targets of any form; an Int32Array is used where it stands. */
export function readTargets(reading: Reading, targets: unknown): Targets {
  const { where, shape, given, lengths, spare } = reading;
  const { samples, single } = shape;
  if (Array.isArray(targets)) {
    const rows: readonly unknown[] = single ? [targets] : targets;
    if (rows.length !== samples) {
      fail("SHAPE", where, "targets", `an array of ${rows.length}`, `one target per sample: ${samples}`);
    }
    for (let n = 0; n < samples; n++) {
      const row = rows[n];
      if (isTyped(row)) checkBuffer(where, `targets[${n}]`, row);
      else if (!Array.isArray(row)) {
        fail("TYPE", where, "targets", describe(row), "an array of labels", `[${n}]`);
      }
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
    fail("RANK", where, "targets", `of shape ${shapeText(operand.shape)}`, expected);
  }
  const width = operand.shape[axes - 1] as number;
  if (!single && operand.shape[0] !== samples) {
    fail(
      "SHAPE",
      where,
      "targets",
      `of shape ${shapeText(operand.shape)}`,
      `one row per sample: [${samples}, S]`,
    );
  }
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

/** One label of sample n. */
function readLabel(reading: Reading, item: unknown, n: number, i: number): number {
  const { classes, single } = reading.shape;
  if (
    typeof item === "number" &&
    item >= 0 &&
    item < classes &&
    Number.isInteger(item) &&
    item !== reading.blank
  ) {
    return item;
  }
  if (reading.wildcard === true && item === "*") return WILDCARD;
  const { where, blank } = reading;
  const place = single ? `[${i}]` : `[${n}][${i}]`;
  const star = reading.wildcard === true ? ' or "*"' : "";
  const expected = `a class index in [0, ${classes})${star}`;
  const label = numberOf(where, "targets", item, expected, place);
  if (label === blank)
    fail("LABEL", where, "targets", `the blank (${blank})`, `${expected} that is not the blank`, place);
  if (!(label >= 0 && label < classes && Number.isInteger(label))) {
    fail("LABEL", where, "targets", String(label), expected, place);
  }
  return label;
}
