/** What the functions over sequences have in common: reading logits, targets and lengths. */
import { type Call, isWhole, raggedRows } from "../../define.js";
import { arrayOf, fail, wrongShape, wrongType } from "../../errors.js";
import { lend, type Operand, readOperand, sizeOf } from "../../input.js";
import { anything, choice, number, type OptionValues } from "../../options.js";
import { WILDCARD } from "../../reference/ctc/align.js";
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

/** How the logits lie, and how long each sample is. */
export interface Logits {
  readonly samples: number;
  readonly steps: number;
  readonly classes: number;
  readonly timeMajor: boolean;
  readonly blank: number;
  /** The length of a row of targets; 0 where there are none. */
  readonly labels: number;
  /** There is one sample, which has come without the axis of samples. */
  readonly single: boolean;
  readonly inputLengths: Int32Array;
}

/** How many samples without steps there may be: no memory bounds them, but each is gone through, and has a result. */
const MOST_EMPTY = 2 ** 20;

/** Looks at the shape of logits, whether the blank is one of their classes, and how many steps count. */
export function readLogits(
  where: string,
  logits: Operand,
  { layout, blank, inputLengths: given }: OptionValues<typeof OF_LOGITS>,
): Logits {
  const { shape } = logits;
  const single = shape.length === 2;
  const timeMajor = layout === "TNC" && !single;
  if (!single && shape.length !== 3)
    wrongShape(where, logits, `${timeMajor ? "[T, N, C]" : "[N, T, C]"}, or [T, C] for one sample`, "RANK");
  const [a, b, classes] = (single ? [1, ...shape] : shape) as [number, number, number];
  const [samples, steps] = timeMajor ? [b, a] : [a, b];
  if (classes === 0) wrongShape(where, logits, "at least one class");
  if (blank >= classes) fail("NUMBER", where, "blank", String(blank), `a class index in [0, ${classes})`);
  if (samples > MOST_EMPTY && sizeOf(shape) === 0)
    wrongShape(where, logits, `at most ${MOST_EMPTY} samples that have no steps`);
  const inputLengths = readLengths(where, "inputLengths", given, samples, single, () => steps);
  return { samples, steps, classes, timeMajor, blank, labels: 0, single, inputLengths };
}

/** A whole number in [0, below), as it may stand in a list: bigints come out of 64-bit tensors. */
function readWhole(
  code: "LABEL" | "LENGTH",
  where: string,
  name: string,
  item: unknown,
  below: number,
  expected: string,
  place: string,
): number {
  const value = typeof item === "bigint" ? Number(item) : item;
  if (typeof value !== "number") wrongType(where, name, item, expected, place);
  if (!isWhole(value, 0, below)) fail(code, where, name, String(value), expected, place);
  return value;
}

/** Reads one length per sample: whole numbers up to `most` of the sample. Where none are given it is `most` itself. */
function readLengths(
  where: string,
  name: string,
  given: unknown,
  samples: number,
  single: boolean,
  most: (sample: number) => number,
): Int32Array {
  let list: ArrayLike<unknown> | undefined;
  if (Array.isArray(given)) list = given;
  else if (typeof given === "object" && given !== null) list = readOperand(where, name, given).data;
  else if (single && typeof given === "number") list = [given];
  if (given !== undefined && list?.length !== samples) {
    const expected = `one length per sample: ${samples}`;
    if (list === undefined) wrongType(where, name, given, expected);
    fail("LENGTH", where, name, arrayOf(list.length), expected);
  }
  const lengths = lend(where, Int32Array, samples);
  for (let n = 0; n < samples; n++) {
    const longest = most(n);
    // an Int32Array holds no more; an array that is not there yet may claim any length
    const limit = Math.min(longest, 2 ** 31 - 1);
    const length = list === undefined ? longest : list[n];
    const place = typeof given === "number" ? "" : `[${n}]`;
    // what is told of it is put together only where it is needed
    lengths[n] = isWhole(length, 0, limit + 1)
      ? length
      : readWhole("LENGTH", where, name, length, limit + 1, `a whole number in [0, ${limit}]`, place);
  }
  return lengths;
}

/** The longest of some lengths, or `least`. */
export function longestOf(lengths: Int32Array, least = 0): number {
  let most = least;
  for (let n = 0; n < lengths.length; n++) most = Math.max(most, lengths[n] as number);
  return most;
}

/** The logits, targets and lengths of a call, read. */
export interface Read extends Logits {
  /** Class indices in rows of `labels`. */
  readonly targets: Int32Array;
  /** Whether `targets` is an array of the library's. */
  readonly own: boolean;
  readonly targetLengths: Int32Array;
}

/**
 * Reads a call whose inputs are logits and, raw, targets of any form, and names the four slots that all kernels begin with. An Int32Array is
 * used where it stands.
 */
export function readSequences(call: Call, wildcard = false): Read {
  const { where } = call;
  const options = call.options as OptionValues<typeof OF_TARGETS>;
  const logits = call.input(0);
  const read = readLogits(where, logits, options);
  const { samples, classes, blank, single, inputLengths } = read;
  const given = call.raw[1];
  let rows: readonly ArrayLike<unknown>[] | undefined;
  let data: TypedArray | undefined;
  let width = 0;
  if (Array.isArray(given))
    rows = raggedRows(where, "targets", given, samples, single, "one target per sample");
  else {
    const operand = readOperand(where, "targets", given);
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
  const targetLengths = readLengths(where, "targetLengths", options.targetLengths, samples, single, most);
  const own = !(data instanceof Int32Array);
  let targets = data as Int32Array;
  if (own) {
    // rows may be longer than they must be
    const least = longestOf(targetLengths, width);
    targets = lend(where, Int32Array, samples * least, samples * (2 * least + 8), samples);
  }
  const labels = samples === 0 ? 0 : targets.length / samples;
  for (let n = 0; n < samples; n++) {
    const row = rows?.[n];
    const count = targetLengths[n] as number;
    for (let i = 0; i < count; i++) {
      let label = row === undefined ? (data as TypedArray)[n * width + i] : row[i];
      if (wildcard && label === "*") label = WILDCARD;
      else if (!isWhole(label, 0, classes) || label === blank) {
        const place = single ? `[${i}]` : `[${n}][${i}]`;
        const expected = `a class index in [0, ${classes})${wildcard ? ' or "*"' : ""}`;
        label = readWhole("LABEL", where, "targets", label, classes, expected, place);
        if (label === blank)
          fail(
            "LABEL",
            where,
            "targets",
            `the blank (${blank})`,
            `${expected} that is not the blank (padding: targetLengths)`,
            place,
          );
      }
      if (own) targets[n * labels + i] = label as number;
    }
  }
  call.take(logits);
  call.own(targets);
  call.own(inputLengths);
  call.own(targetLengths);
  // not a spread: to add to one takes V8 forty times as long (measured: half of a small call)
  return Object.assign(read, { targets, labels, own, targetLengths });
}
