/** What the functions over sequences have in common: reading logits, targets and lengths. */
import { type Call, isWhole, raggedRows } from "../../define.js";
import { arrayOf, fail, wrongShape, wrongType } from "../../errors.js";
import { isTyped, lend, type Operand, readOperand, sizeOf } from "../../input.js";
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
    if (!isWhole(length, 0, limit + 1)) fail("LENGTH", where, name, String(length), expected, place);
    to[n] = length;
  }
}

/** Stands in a target for a symbol that may be anything. */
export const WILDCARD = -1;

/** The logits, targets and lengths of a call, read. */
export interface Read extends Shape {
  /** The length of a row of targets. */
  readonly labels: number;
  readonly targets: Targets;
  readonly inputLengths: Int32Array;
  readonly targetLengths: Int32Array;
}

/** Reads a call whose inputs are logits and, raw, targets, and names the four slots that all kernels begin with. */
export function readSequences(call: Call, wildcard = false): Read {
  const { where } = call;
  const options = call.options as OptionValues<typeof OF_TARGETS>;
  const logits = call.input(0);
  const shape = readShape(where, logits, options);
  const { samples, steps, single } = shape;
  const inputLengths = lend(where, Int32Array, samples);
  const targetLengths = lend(where, Int32Array, samples);
  readLengths(where, "inputLengths", options.inputLengths, single, () => steps, inputLengths);
  const targets = readTargets(call, shape, options.targetLengths, targetLengths, wildcard);
  call.take(logits);
  call.own(targets.labels);
  call.own(inputLengths);
  call.own(targetLengths);
  return { ...shape, labels: targets.width, targets, inputLengths, targetLengths };
}

/** Targets that were read: class indices in rows of `width`. */
export interface Targets {
  readonly labels: Int32Array;
  readonly width: number;
  /** Whether `labels` is an array of the library's. */
  readonly own: boolean;
}

/** Reads targets of any form, and `given` lengths of them into `lengths`; an Int32Array is used where it stands. */
function readTargets(
  { where, raw }: Call,
  shape: Shape,
  given: unknown,
  lengths: Int32Array,
  wildcard: boolean,
): Targets {
  const { samples, single } = shape;
  const targets = raw[1];
  let rows: readonly ArrayLike<unknown>[] | undefined;
  let data: TypedArray | undefined;
  let width = 0;
  if (Array.isArray(targets))
    rows = raggedRows(where, "targets", targets, samples, single, "one target per sample");
  else {
    const operand = readOperand(where, "targets", targets);
    const axes = operand.shape.length;
    if (axes !== (single ? 1 : 2)) {
      const expected = single ? "[S], or an array of labels" : "[N, S], or one array of labels per sample";
      wrongShape(where, operand, expected, "RANK");
    }
    width = operand.shape[axes - 1] as number;
    if (!single && operand.shape[0] !== samples)
      wrongShape(where, operand, `one row per sample: [${samples}, S]`);
    data = operand.data;
  }
  readLengths(where, "targetLengths", given, single, (n) => rows?.[n]?.length ?? width, lengths);
  const own = !(data instanceof Int32Array);
  const across = width;
  let labels = data as Int32Array;
  if (own) {
    // rows may be longer than they must be
    const least = lengths.reduce((most, length) => Math.max(most, length), width);
    const fits = (length: number) =>
      length % samples === 0 && length >= samples * least && length <= samples * (2 * least + 8);
    labels = lend(where, Int32Array, samples * least, fits);
    width = samples === 0 ? 0 : labels.length / samples;
  }
  for (let n = 0; n < samples; n++) {
    const count = lengths[n] as number;
    for (let i = 0; i < count; i++) {
      const item =
        rows === undefined ? (data as TypedArray)[n * across + i] : (rows[n] as ArrayLike<unknown>)[i];
      const label = readLabel(where, shape, wildcard, item, n, i);
      if (own) labels[n * width + i] = label;
    }
  }
  return { labels, width, own };
}

/** One label of sample n. */
function readLabel(
  where: string,
  { classes, single, blank }: Shape,
  wildcard: boolean,
  item: unknown,
  n: number,
  i: number,
): number {
  if (isWhole(item, 0, classes) && item !== blank) return item;
  if (wildcard && item === "*") return WILDCARD;
  const place = single ? `[${i}]` : `[${n}][${i}]`;
  const expected = `a class index in [0, ${classes})${wildcard ? ' or "*"' : ""}`;
  const label = numberOf(where, "targets", item, expected, place);
  if (label === blank)
    fail("LABEL", where, "targets", `the blank (${blank})`, `${expected} that is not the blank`, place);
  if (!isWhole(label, 0, classes)) fail("LABEL", where, "targets", String(label), expected, place);
  return label;
}
