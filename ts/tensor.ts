/** Tensors: numbers with a shape, on arrays of the user's or in the core's memory. */
import { describe, fail } from "./errors.js";
import { ADDRESS, checkShape, isTyped, sizeOf } from "./input.js";
import { currentMemory } from "./runtime/engine.js";
import type { CoreMemory } from "./runtime/memory.js";
import { platform, type Registry } from "./runtime/platform.js";
import type { DType, FloatArray, Tensor, TypedArray } from "./types.js";

/**
 * Joins numbers and a shape. Nothing is copied: the tensor's `data` is the array that came in.
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
export function tensor<A extends TypedArray>(data: A, shape: readonly number[]): Tensor<A> {
  if (!isTyped(data)) fail("TYPE", "tensor", "data", describe(data), "a typed array");
  if (!Array.isArray(shape)) fail("TYPE", "tensor", "shape", describe(shape), "an array of lengths");
  checkShape("tensor", "shape", shape);
  if (sizeOf(shape) !== data.length) {
    fail("SHAPE", "tensor", "shape", `[${shape.join(", ")}]`, `a shape of ${data.length} numbers`);
  }
  return { data, shape };
}

/** Gives back what a tensor held that was forgotten instead of disposed of. */
let forgotten: Registry<() => void> | undefined;
/** While a view is in use its tensor is: else its block could be given to another while numbers are written to it. */
const owners = new WeakMap<FloatArray, AllocatedTensor>();
const DISPOSE: typeof Symbol.dispose = Symbol.dispose ?? Symbol.for("Symbol.dispose");

/** A tensor in the core's memory: see {@link allocate}. */
export class AllocatedTensor<A extends FloatArray = FloatArray> implements Tensor<A> {
  #memory: CoreMemory | undefined;
  #address: number;
  #view: A | undefined;
  /** The memory that the view is of: asking the view itself takes several times as long. */
  #buffer: ArrayBuffer | undefined;

  /** @internal */
  constructor(
    readonly shape: readonly number[],
    readonly dtype: DType,
    memory: CoreMemory | undefined,
  ) {
    const length = sizeOf(shape);
    this.#memory = memory;
    this.#address = 0;
    if (memory === undefined) {
      this.#view = (dtype === "float32" ? new Float32Array(length) : new Float64Array(length)) as A;
      return;
    }
    const bytes = length * bytesOf(dtype);
    const address = memory.take(bytes);
    this.#address = address;
    this.data.fill(0);
    const { FinalizationRegistry: Finalizer } = platform();
    if (Finalizer === undefined) return;
    forgotten ??= new Finalizer((give: () => void) => give());
    forgotten.register(this, () => memory.give(address, bytes), this);
  }

  /**
   * The numbers, in the core's memory. A growth of that memory detaches arrays that were taken before, so read this
   * property where it is used instead of keeping what it gave.
   */
  get data(): A {
    if (!(#memory in this)) fail("TYPE", "tensor", "data", "read through a proxy", "the tensor itself");
    const memory = this.#memory;
    const view = this.#view;
    if (memory === undefined || (view !== undefined && this.#buffer === memory.buffer)) {
      if (view === undefined) fail("DISPOSED", "tensor", "data", "disposed of", "a tensor that is in use");
      return view;
    }
    if (this.#address === 0) fail("DISPOSED", "tensor", "data", "disposed of", "a tensor that is in use");
    const Type = this.dtype === "float32" ? Float32Array : Float64Array;
    const fresh = new Type(memory.buffer, this.#address, sizeOf(this.shape)) as A;
    this.#view = fresh;
    this.#buffer = memory.buffer;
    owners.set(fresh, this);
    return fresh;
  }

  /** @internal 0 where the numbers are not in the core's memory, or were given back. */
  get [ADDRESS](): number {
    return #address in this ? this.#address : 0;
  }

  /** Whether {@link dispose} was called. */
  get disposed(): boolean {
    return this.#view === undefined && this.#address === 0;
  }

  /** Gives the memory back; reading `data` then throws. A second call does nothing. */
  dispose(): void {
    if (this.#memory !== undefined && this.#address !== 0) {
      this.#memory.give(this.#address, sizeOf(this.shape) * bytesOf(this.dtype));
      forgotten?.unregister(this);
    }
    this.#memory = undefined;
    this.#address = 0;
    this.#view = undefined;
    this.#buffer = undefined;
  }

  /** `using x = allocate(...)` disposes of it at the end of the block. */
  [DISPOSE](): void {
    this.dispose();
  }
}

function bytesOf(dtype: DType): number {
  return dtype === "float32" ? 4 : 8;
}

/**
 * A tensor of zeros in the core's memory: losses take it, and write to it, without a copy. On the js engine its `data` is an
 * ordinary typed array, so that programs stay the same. It is freed by `dispose()`, by `using`, or after it was forgotten.
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
  if (!Array.isArray(shape)) fail("TYPE", "allocate", "shape", describe(shape), "an array of lengths");
  checkShape("allocate", "shape", shape);
  if (dtype !== "float32" && dtype !== "float64") {
    fail("OPTION", "allocate", "dtype", describe(dtype), '"float32" or "float64"');
  }
  return new AllocatedTensor(Object.freeze([...shape]), dtype, currentMemory());
}
