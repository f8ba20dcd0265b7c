/** Tensors: numbers with a shape, on arrays of the user's or in the core's memory. */
import { type Lodging, lodge } from "#engine";
import { checkChoice, fail, shapeText, wrongType } from "./errors.js";
import { checkInUse, floats, isTyped, readShape, sizeOf } from "./input.js";
import { ADDRESS } from "./runtime/lodging.js";
import type { DType, FloatArray, Tensor, TypedArray } from "./types.js";

/** The lengths of the axes; written out, `[4, 3]`, their number is part of a tensor's type. */
export type Axes = readonly number[] | [];

/**
 * Joins numbers and a shape. Nothing is copied: the tensor's `data` is the array that came in. A variable for tensors of any number of
 * axes is a `Tensor`.
 *
 * @param data the numbers, row by row
 * @param shape the lengths of the axes; their product is `data.length`
 * @throws RangeError with code `SHAPE` where they do not fit each other
 * @example
 * ```ts
 * import { softmax, tensor } from "perdida";
 * const x = tensor(new Float32Array([1, 2, 3, 4]), [2, 2]);
 * console.log(softmax(x).shape); // [2, 2]
 * ```
 */
export function tensor<A extends TypedArray, S extends Axes = readonly number[]>(
  data: A,
  shape: S,
): Tensor<A, readonly [...S]> {
  if (!isTyped(data)) wrongType("tensor", "data", data, "a typed array");
  readLengths("tensor", shape);
  if (sizeOf(shape) !== data.length)
    fail("SHAPE", "tensor", "shape", shapeText(shape), `a shape of ${data.length} numbers`);
  return { data, shape };
}

function readLengths(where: string, shape: unknown): readonly number[] {
  if (!Array.isArray(shape)) wrongType(where, "shape", shape, "an array of lengths");
  return readShape(where, "shape", shape);
}

const DISPOSE: typeof Symbol.dispose = Symbol.dispose ?? Symbol.for("Symbol.dispose");

/** An array of JavaScript's, where there is no room in the core. */
function inArray(dtype: DType, length: number): Lodging {
  const view = floats("allocate", dtype, length);
  return { address: undefined, view: () => view, give() {} };
}

/** A tensor in the core's memory: see {@link allocate}. */
export class AllocatedTensor<A extends FloatArray = FloatArray> implements Tensor<A> {
  #lodging: Lodging | undefined;
  /** The lengths of the axes. */
  declare readonly shape: readonly number[];
  /** The precision. */
  declare readonly dtype: DType;

  /** @internal */
  constructor(shape: readonly number[], dtype: DType) {
    const length = sizeOf(shape);
    // they say how much of the memory is this tensor's, so they stay as they are
    Object.defineProperties(this, {
      shape: { value: shape, enumerable: true },
      dtype: { value: dtype, enumerable: true },
    });
    this.#lodging = lodge(dtype, length) ?? inArray(dtype, length);
  }

  /**
   * The numbers, in the core's memory. A growth of that memory detaches arrays that were taken before, so read this
   * property where it is used instead of keeping what it gave.
   */
  get data(): A {
    if (!(#lodging in this)) fail("TYPE", "tensor", "data", "read through a proxy", "the tensor itself");
    checkInUse("tensor", "data", this);
    return (this.#lodging as Lodging).view() as A;
  }

  /** @internal undefined where the numbers are not in the core's memory, or were given back. */
  get [ADDRESS](): number | undefined {
    return #lodging in this ? this.#lodging?.address : undefined;
  }

  /** Whether {@link dispose} was called. */
  get disposed(): boolean {
    return #lodging in this && this.#lodging === undefined;
  }

  /** Gives the memory back; reading `data` then throws. A second call does nothing. */
  dispose(): void {
    this.#lodging?.give();
    this.#lodging = undefined;
  }

  /** `using x = allocate(...)` disposes of it at the end of the block. */
  [DISPOSE](): void {
    this.dispose();
  }
}

/**
 * A tensor of zeros in the core's memory: losses take it, and write to it, without a copy. On the js engine its `data` is an
 * ordinary typed array, so that programs stay the same. It is freed by `dispose()`, by `using`, or after it was forgotten; its `data` keeps
 * it, a `subarray` of that does not.
 *
 * @param shape the lengths of the axes
 * @param dtype `"float32"` (default) or `"float64"`
 * @throws RangeError with code `OUT_OF_MEMORY` where the core's memory (4 GiB at most) has no room
 * @example
 * ```ts
 * import { allocate, softmax } from "perdida";
 * const x = allocate([2, 3]);
 * x.data.set([1, 2, 3, 4, 5, 6]);
 * const y = softmax(x, { out: { value: allocate([2, 3]) } }); // no copy in, none out
 * x.dispose();
 * ```
 */
export function allocate(shape: readonly number[], dtype?: "float32"): AllocatedTensor<Float32Array>;
export function allocate(shape: readonly number[], dtype: "float64"): AllocatedTensor<Float64Array>;
export function allocate(shape: readonly number[], dtype?: DType): AllocatedTensor;
export function allocate(shape: readonly number[], dtype: DType = "float32"): AllocatedTensor {
  const axes = readLengths("allocate", shape);
  checkChoice("allocate", "dtype", dtype, ["float32", "float64"]);
  // it does not change afterwards
  return new AllocatedTensor(Object.freeze(axes), dtype);
}
