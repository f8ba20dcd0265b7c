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
  const single = shape.length === 2;
  const timeMajor = layout === "TNC" && !single;
  if (!single && shape.length !== 3)
    wrongShape(where, logits, `${timeMajor ? "[T, N, C]" : "[N, T, C]"}, or [T, C] for one sample`, "RANK");
  const classes = shape[shape.length - 1] as number;
  if (classes === 0) wrongShape(where, logits, "at least one class");
  if (blank >= classes) fail("NUMBER", where, "blank", String(blank), `a class index in [0, ${classes})`);
  const [a, b] = shape as [number, number];
  const samples = single ? 1 : timeMajor ? b : a;
  if (samples > MOST_EMPTY && sizeOf(shape) === 0)
    wrongShape(where, logits, `at most ${MOST_EMPTY} samples that have no steps`);
  return { samples, steps: single || timeMajor ? a : b, classes, timeMajor, blank, single };
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

/** Reads one length per sample: whole numbers up to `most` of the sample. Where none are given it is `most` itself. */
export function readLengths(
  where: string,
  name: string,
  given: unknown,
  samples: number,
  single: boolean,
  most: (sample: number) => number,
): Int32Array {
  const list = single && typeof given === "number" ? [given] : listOf(where, name, given);
  if (given !== undefined && list?.length !== samples) {
    const expected = `one length per sample: ${samples}`;
    if (list === undefined) wrongType(where, name, given, expected);
    fail("LENGTH", where, name, arrayOf(list.length), expected);
  }
  const lengths = lend(where, Int32Array, samples);
  for (let n = 0; n < samples; n++) {
    const limit = most(n);
    let length = limit;
    if (list !== undefined) {
      const expected = `a whole number in [0, ${limit}]`;
      const place = typeof given === "number" ? "" : `[${n}]`;
      length = numberOf(where, name, list[n], expected, place);
      if (!isWhole(length, 0, limit + 1)) fail("LENGTH", where, name, String(length), expected, place);
    }
    lengths[n] = length;
    // more than 32 bits say, or the length of something that is not what it says
    if (lengths[n] !== length)
      fail("LENGTH", where, name, String(length), "a whole number below 2 ** 31", `[${n}]`);
  }
  return lengths;
}

/** Stands in a target for a symbol that may be anything. */
export const WILDCARD = -1;

/** Targets that were read: class indices in rows of `labels`. */
interface Targets {
  readonly targets: Int32Array;
  readonly labels: number;
  /** Whether `targets` is an array of the library's. */
  readonly own: boolean;
  readonly targetLengths: Int32Array;
}

/** The logits, targets and lengths of a call, read. */
export interface Read extends Shape, Targets {
  readonly inputLengths: Int32Array;
}

/** Reads a call whose inputs are logits and, raw, targets, and names the four slots that all kernels begin with. */
export function readSequences(call: Call, wildcard = false): Read {
  const { where } = call;
  const options = call.options as OptionValues<typeof OF_TARGETS>;
  const logits = call.input(0);
  const shape = readShape(where, logits, options);
  const { samples, steps, single } = shape;
  const inputLengths = readLengths(where, "inputLengths", options.inputLengths, samples, single, () => steps);
  const { targets, labels, own, targetLengths } = readTargets(call, shape, options.targetLengths, wildcard);
  call.take(logits);
  call.own(targets);
  call.own(inputLengths);
  call.own(targetLengths);
  // not a spread: to add to one takes V8 forty times as long (measured: half of a small call)
  return Object.assign(shape, { targets, labels, own, inputLengths, targetLengths });
}

/** Reads targets of any form, and the `given` lengths of them; an Int32Array is used where it stands. */
function readTargets({ where, raw }: Call, shape: Shape, given: unknown, wildcard: boolean): Targets {
  const { samples, single } = shape;
  const [, targets] = raw;
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
  const most = (n: number): number => rows?.[n]?.length ?? width;
  const lengths = readLengths(where, "targetLengths", given, samples, single, most);
  const own = !(data instanceof Int32Array);
  const across = width;
  let labels = data as Int32Array;
  if (own) {
    // rows may be longer than they must be
    let least = width;
    for (let n = 0; n < samples; n++) least = Math.max(least, lengths[n] as number);
    labels = lend(where, Int32Array, samples * least, samples * (2 * least + 8), samples);
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
  return { targets: labels, labels: width, own, targetLengths: lengths };
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
