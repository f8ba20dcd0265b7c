/** Reading what a user gave: arrays of every allowed form become {@link Operand}s, or a clear error. */
import { lodged } from "#engine";
import { arrayOf, describe, fail, shapeText, tag, wrongType } from "./errors.js";
import { ownClass, viewOf } from "./runtime/platform.js";
import type { DType, FloatArray, TypedArray } from "./types.js";

/** An input that was looked at: its numbers, its shape, and the precision it asks for (integers ask for none). */
export interface Operand {
  readonly name: string;
  readonly data: TypedArray;
  readonly shape: readonly number[];
  readonly precision: "float32" | "float64" | "integer";
  /** Where the numbers are in the core's memory, if it is known without asking the array: its `buffer` is slow to come by. */
  readonly address?: number;
  /** Whether the numbers stand in an array of the library's, which {@link giveBack} may keep for another. */
  readonly lent?: boolean;
}

/** How many numbers a shape holds. */
export function sizeOf(shape: readonly number[]): number {
  let n = 1;
  for (let i = 0; i < shape.length; i++) n *= shape[i] as number;
  return n;
}

/** Whether two shapes are the same. */
export function sameShape(a: readonly number[], b: readonly number[]): boolean {
  if (a === b) return true;
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** `[2][3]`: where the i-th number of a shape stands, for a message. */
export function placeOf(index: number, shape: readonly number[]): string {
  let place = "";
  let rest = index;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    const n = shape[axis] as number;
    place = `[${rest % n}]${place}`;
    rest = Math.floor(rest / n);
  }
  return place;
}

/** Whether a value is a typed array of numbers, in whichever realm it was made. */
export function isTyped(value: unknown): value is TypedArray {
  // what has the prototype alone, or is a proxy, is none
  if (!ArrayBuffer.isView(value)) return false;
  // the common ones first: asking for the tag takes several times as long
  if (value instanceof Float32Array || value instanceof Float64Array) return true;
  return tag(value) !== "DataView" && tag(value) !== "Float16Array";
}

/** A new array; where there is no room for it that is said in words. */
export function made<A>(where: string, Type: new (length: number) => A, length: number): A {
  try {
    return new Type(length);
  } catch {
    return fail("OUT_OF_MEMORY", where, "the result", `an array of ${length}`, "one that there is room for");
  }
}

/** A new array of a precision. */
export function floats(where: string, dtype: DType, length: number): FloatArray {
  return made<FloatArray>(where, dtype === "float32" ? Float32Array : Float64Array, length);
}

function precisionOf(data: TypedArray): Operand["precision"] {
  if (data instanceof Float32Array) return "float32";
  if (data instanceof Float64Array) return "float64";
  const own = tag(data).toLowerCase();
  return own.startsWith("float") ? (own.slice(0, 7) as DType) : "integer";
}

/** How long a typed array is, whatever it says of itself. */
const lengthOf = /* @__PURE__ */ Object.getOwnPropertyDescriptor(
  /* @__PURE__ */ Object.getPrototypeOf(Int8Array.prototype),
  "length",
)?.get as () => number;

/** Refuses arrays whose numbers can vanish or change while they are read. */
export function checkBuffer(where: string, name: string, data: TypedArray): void {
  const buffer = data.buffer as ArrayBuffer & { resizable?: boolean; growable?: boolean };
  if (data.length === 0 && isDetached(buffer)) wrongBuffer(where, name, "whose buffer is detached");
  if (buffer.resizable === true || buffer.growable === true)
    wrongBuffer(where, name, "on a resizable buffer");
  if (!(buffer instanceof ArrayBuffer) && tag(buffer) === "SharedArrayBuffer")
    wrongBuffer(where, name, "on a SharedArrayBuffer");
}

/** Refuses an array for what it stands on. */
export function wrongBuffer(where: string, name: string, which: string): never {
  fail("BUFFER", where, name, `an array ${which}`, "an array on a fixed, attached ArrayBuffer");
}

/** Refuses an array for its length. */
export function wrongLength(
  where: string,
  name: string,
  length: number,
  expected: number,
  place?: string,
): never {
  fail("LENGTH", where, name, arrayOf(length), arrayOf(expected), place);
}

/**
 * An array that is fit to be read, as one of this realm's own classes: a subclass may have methods and a species of the caller's, which
 * must not run in the middle of a call.
 */
function readable(where: string, name: string, data: TypedArray): TypedArray {
  checkBuffer(where, name, data);
  const prototype: unknown = Object.getPrototypeOf(data);
  // the common ones first, as above
  if (
    prototype === Float32Array.prototype ||
    prototype === Float64Array.prototype ||
    prototype === Int32Array.prototype
  )
    return data;
  return prototype === ownClass(data)?.prototype
    ? data
    : viewOf(data, data.buffer, data.byteOffset, lengthOf.call(data));
}

function isDetached(buffer: ArrayBufferLike): boolean {
  try {
    new Uint8Array(buffer);
    return false;
  } catch {
    return true;
  }
}

/** Refuses a tensor that was disposed of. */
export function checkInUse(where: string, name: string, { disposed }: { readonly disposed?: unknown }): void {
  if (disposed === true) fail("DISPOSED", where, name, "disposed", "a tensor in use");
}

/** Numbers that were looked at; their precision is that of their array. */
function operandOf(
  name: string,
  data: TypedArray,
  shape: readonly number[] = [lengthOf.call(data)],
  lent = false,
): Operand {
  return { name, data, shape, precision: precisionOf(data), lent };
}

/** Reads one input of any of the allowed forms. */
export function readOperand(where: string, name: string, value: unknown): Operand {
  const inCore = lodged(name, value);
  if (inCore !== undefined) return inCore;
  if (typeof value === "number") return operandOf(name, Float64Array.of(value), []);
  if (isTyped(value)) return operandOf(name, readable(where, name, value));
  if (Array.isArray(value)) return flatten(where, name, value);
  if (typeof value === "object" && value !== null) {
    checkInUse(where, name, value);
    const { data, shape, dims, type } = value as Record<"data" | "shape" | "dims" | "type", unknown>;
    // the bits of such numbers in integers, as onnxruntime hands them out
    if (type === "float16" && isTyped(data))
      fail("TYPE", where, name, `a float16 tensor on a ${tag(data)}`, "a tensor of float32 or float64");
    const given = shape ?? dims;
    if (isTyped(data) && Array.isArray(given)) {
      const numbers = readable(where, name, data);
      const axes = readShape(where, name, given);
      const size = sizeOf(axes);
      const length = lengthOf.call(data);
      if (size !== length)
        fail("SHAPE", where, name, `${length} numbers with shape ${shapeText(axes)}`, `${size} numbers`);
      return operandOf(name, numbers, axes);
    }
    if (typeof data === "function" && "dataSync" in value) {
      fail(
        "TYPE",
        where,
        name,
        "a tf.Tensor",
        "{ data: await x.data(), shape: x.shape }, or the loss from perdida/tfjs",
      );
    }
  }
  return wrongType(
    where,
    name,
    value,
    "a number, a typed array, nested arrays of numbers, { data, shape } or { data, dims }",
  );
}

/** How many rows there may be, of nothing: their number goes through the door as 32 bits. Of numbers there are never as many. */
const MOST_ROWS = 2 ** 32 - 1;

/** A copy of a shape, checked: what the caller holds may be something else when it is read again, or run code of the caller's. */
export function readShape(where: string, name: string, shape: readonly unknown[]): readonly number[] {
  const axes: number[] = [];
  let rows = 1;
  for (let i = 0; i < shape.length; i++) {
    const n = shape[i];
    if (typeof n !== "number" || !Number.isInteger(n) || n < 0) {
      fail("SHAPE", where, name, `a shape with ${describe(n)} at ${i}`, "whole numbers from 0 on");
    }
    if (n !== 0) rows *= n;
    axes.push(n);
  }
  if (rows > MOST_ROWS && axes.includes(0)) {
    fail("SHAPE", where, name, `of shape ${shapeText(axes)}`, `axes whose lengths make at most ${MOST_ROWS}`);
  }
  return axes;
}

/**
 * Arrays that what was given was copied to, for the next call: to make one takes several times as long as to fill it (measured: 16
 * doubles, 0.4 microseconds). A call takes what it needs out of here: if another begins before it has ended, that one finds nothing and
 * makes its own, and what an error drops is made anew.
 */
const spares: (Float64Array | Int32Array)[] = [];
/** How many are kept, and how long the longest is. */
const MOST_SPARES = 8;
const LONGEST_SPARE = 16384;

/** An array of `size` numbers, or of up to `most` in steps of `step`; what it holds is left over. */
export function lend<A extends Float64Array | Int32Array>(
  where: string,
  Type: { new (length: number): A; readonly BYTES_PER_ELEMENT: number },
  size: number,
  most = size,
  step = 1,
): A {
  for (let i = spares.length - 1; i >= 0; i--) {
    const spare = spares[i] as Float64Array | Int32Array;
    const { length } = spare;
    if (length < size || length > most || (length - size) % step !== 0) continue;
    if (spare.BYTES_PER_ELEMENT !== Type.BYTES_PER_ELEMENT) continue;
    spares[i] = spares[spares.length - 1] as Float64Array | Int32Array;
    spares.pop();
    return spare as A;
  }
  return made<A>(where, Type, size);
}

/** At the end of a call, when nobody reads the array any more. */
export function giveBack(array: Float64Array | Int32Array): void {
  if (array.length > LONGEST_SPARE) return;
  if (spares.length === MOST_SPARES) spares.shift();
  spares.push(array);
}

/** How deep arrays may be nested. */
const MOST_AXES = 32;

/** Nested arrays, row by row. The lengths along an axis must agree; the innermost may be typed. Booleans are numbers on demand. */
export function flatten(where: string, name: string, nested: readonly unknown[], booleans = false): Operand {
  const shape: number[] = [];
  // whether the innermost arrays are all of single precision
  let single = false;
  for (let level: unknown = nested; Array.isArray(level) || isTyped(level); level = level[0]) {
    // arrays that contain themselves have no end
    if (shape.length === MOST_AXES)
      fail("RANK", where, name, `nested more than ${MOST_AXES} deep`, `at most ${MOST_AXES} axes`);
    shape.push(level.length);
    single = isTyped(level);
  }
  const size = sizeOf(shape);
  const data = lend(where, Float64Array, size);
  let at = 0;
  // what most are; and what is no number after all is told of below
  if (shape.length === 1) {
    while (at < size && typeof nested[at] === "number") data[at] = nested[at++] as number;
    if (at === size) return operandOf(name, data, shape, true);
    at = 0;
  }
  const copy = (level: unknown, depth: number, place: string): void => {
    const length = shape[depth] as number;
    const innermost = depth === shape.length - 1;
    const isRow = isTyped(level) ? innermost : Array.isArray(level);
    const items = level as readonly unknown[];
    if (!isRow || items.length !== length)
      fail("SHAPE", where, name, describe(level), arrayOf(length), place);
    if (isTyped(level)) {
      checkBuffer(where, name, level);
      single &&= precisionOf(level) === "float32";
    } else single &&= !innermost || length === 0;
    for (let i = 0; i < length; i++) {
      const item = items[i];
      if (!innermost) copy(item, depth + 1, `${place}[${i}]`);
      else if (typeof item === "number") data[at++] = item;
      else if (typeof item === "bigint" || (booleans && typeof item === "boolean")) data[at++] = Number(item);
      else wrongType(where, name, item, "a number", `${place}[${i}]`);
    }
  };
  copy(nested, 0, "");
  if (single) return operandOf(name, Float32Array.from(data), shape);
  return operandOf(name, data, shape, true);
}

/** Reads an array to write to, for `"value"` or a gradient. */
export function readOutput(where: string, of: string, value: unknown, length: number): FloatArray {
  const name = of === "value" ? "out.value" : `out.grads.${of}`;
  const data =
    typeof value === "object" && !isTyped(value) ? (value as { data?: unknown } | null)?.data : value;
  if (!isTyped(data) || precisionOf(data) === "integer") {
    wrongType(where, name, value, "a Float32Array, a Float64Array or a tensor of one");
  }
  const numbers = readable(where, name, data);
  const own = lengthOf.call(numbers);
  if (own !== length) wrongLength(where, name, own, length);
  return numbers as FloatArray;
}

/** The strides with which an operand of `from` is walked for each element of `to`, or undefined where it cannot be broadcast. */
export function broadcastStrides(from: readonly number[], to: readonly number[]): number[] | undefined {
  const strides = new Array<number>(to.length).fill(0);
  const lead = to.length - from.length;
  if (lead < 0) return undefined;
  let stride = 1;
  for (let axis = from.length - 1; axis >= 0; axis--) {
    const n = from[axis] as number;
    if (n === to[lead + axis]) strides[lead + axis] = n === 1 ? 0 : stride;
    else if (n !== 1) return undefined;
    stride *= n;
  }
  return strides;
}

/** The shape that two shapes broadcast to, or undefined. */
export function broadcastShape(a: readonly number[], b: readonly number[]): readonly number[] | undefined {
  if (sameShape(a, b)) return a;
  const rank = Math.max(a.length, b.length);
  const shape: number[] = [];
  for (let axis = 0; axis < rank; axis++) {
    const m = a[axis - rank + a.length] ?? 1;
    const n = b[axis - rank + b.length] ?? 1;
    if (m !== n && m !== 1 && n !== 1) return undefined;
    shape.push(m === 1 ? n : m);
  }
  return shape;
}

/**
 * Calls `visit(i, j, count, step)` for each run along the last axis of a shape: of its elements from i on, element k has that of the
 * broadcast operand at j + k * step.
 */
export function walk(
  { shape, strides }: { readonly shape: readonly number[]; readonly strides: readonly number[] },
  visit: (i: number, j: number, count: number, step: number) => void,
): void {
  const size = sizeOf(shape);
  const last = shape.length - 1;
  const [count = 1, step = 0] = [shape[last], strides[last]];
  const index = new Array<number>(shape.length).fill(0);
  let j = 0;
  for (let i = 0; i < size; i += count) {
    visit(i, j, count, step);
    for (let axis = last - 1; axis >= 0; axis--) {
      index[axis] = (index[axis] as number) + 1;
      j += strides[axis] as number;
      if ((index[axis] as number) < (shape[axis] as number)) break;
      j -= (strides[axis] as number) * (shape[axis] as number);
      index[axis] = 0;
    }
  }
}
