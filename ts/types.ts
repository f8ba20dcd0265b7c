/** The arrays of numbers that go in as they are. */
export type TypedArray =
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Uint8ClampedArray
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array;

/** The arrays that values and gradients come back in. */
export type FloatArray = (Float32Array | Float64Array) & Reducible;

/** What both of them have, which TypeScript lets nobody call where it is one or the other: there are three ways to call it. */
interface Reducible {
  reduce(step: Step<number>): number;
  reduce(step: Step<number>, initial: number): number;
  reduce<R>(step: Step<R>, initial: R): R;
  reduceRight(step: Step<number>): number;
  reduceRight(step: Step<number>, initial: number): number;
  reduceRight<R>(step: Step<R>, initial: R): R;
}
type Step<R> = (previous: R, current: number, index: number, array: FloatArray) => R;

/** The two precisions: float32 is computed in single precision, float64 in double precision. */
export type DType = "float32" | "float64";

/** Nested arrays of numbers, `[[1, 2], [3, 4]]`; the innermost may be typed arrays. */
export type Nested = readonly number[] | readonly TypedArray[] | readonly Nested[];

/** Numbers and the shape `S` they stand in, row by row (the last axis is contiguous). */
export interface Tensor<A extends TypedArray = FloatArray, S extends readonly number[] = readonly number[]> {
  readonly data: A;
  readonly shape: S;
}

/** A tensor of which others call the shape `dims`, as onnxruntime does; its types allow text for data, which is refused. */
export interface DimsTensor {
  readonly data: TypedArray | readonly string[];
  readonly dims: readonly number[];
}

/**
 * What a loss takes for an input: a number, a typed array (one axis), nested arrays, or `{ data, shape }` or
 * `{ data, dims }`. Float32Arrays are computed in single precision; as soon as a Float64Array or plain numbers take part,
 * in double precision. Arrays of integers go with either, and alone in double; class indices, answers and options choose nothing.
 */
export type Input = number | TypedArray | Nested | Tensor<TypedArray> | DimsTensor;

/** How the losses of the elements, rows or samples become one: not at all, by their mean, by their sum. */
export type Reduction = "none" | "mean" | "sum";

/** Where to write: an array of the right length, or a tensor whose data is one. */
export type Output = FloatArray | { readonly data: FloatArray };

/** The options that every loss takes; `G` are the names of its differentiable inputs, `R` reductions of its own. */
export interface CommonOptions<G extends string = string, R extends string = never> {
  /** `"mean"` (default; of no losses NaN) and `"sum"` give a number, `"none"` a tensor of the single losses. */
  reduction?: Reduction | R | undefined;
  /**
   * The gradient that flows in from above, dL/d(value): a number (default 1), or with reduction `"none"` also one number per
   * loss, of a {@link Mapping} per number of the value. The gradients that come out are multiplied by it.
   */
  upstream?: Input | undefined;
  /** The inputs to differentiate (default: all differentiable ones). No work is done for others. */
  wrt?: readonly G[] | undefined;
  /**
   * Arrays to write into, so that nothing is allocated; `value` has length 1 for a mean or a sum. They may live in the core's memory
   * ({@link allocate}), and may be the inputs or overlap them: what is computed is what comes of the inputs as they were. It takes the
   * place of what they held; nothing is added up.
   */
  out?:
    | { value?: Output | undefined; grads?: { readonly [name in G]?: Output | undefined } | undefined }
    | undefined;
}

/** A value together with the gradients of its differentiable inputs, by the inputs' names. */
export interface ValueAndGrad<V, G extends string> {
  value: V;
  grads: { [name in G]: Tensor };
}

/** What makes the value a number. */
export interface Reducing<R extends string = never> {
  reduction?: Exclude<Reduction, "none"> | R | undefined;
}

/** The gradients that are asked for, of which alone the type of the result speaks. */
export interface Wanted<W extends string> {
  wrt?: readonly W[] | undefined;
}

/**
 * A loss: called, it gives the value; `.valueAndGrad` gives the value and the gradients in one pass.
 * `I` are its inputs, `G` the names of the differentiable ones, `O` its own options, `R` its own reductions, `E` what `.valueAndGrad` gives
 * beside value and gradients.
 */
export interface Loss<
  I extends readonly unknown[],
  G extends string,
  O = unknown,
  R extends string = never,
  E = unknown,
> {
  /** One loss per element, row or sample. */
  (...args: [...I, options: O & CommonOptions<G> & { reduction: "none" }]): Tensor;
  /** The mean or the sum of the losses. */
  (...args: [...I, options?: O & CommonOptions<G, R> & Reducing<R>]): number;
  /** Where only the program knows the reduction. */
  (...args: [...I, options?: O & CommonOptions<G, R>]): number | Tensor;
  /** The losses and the gradient of their sum, weighted with `upstream`. */
  valueAndGrad<W extends G = G>(
    ...args: [...I, options: O & CommonOptions<G> & Wanted<W> & { reduction: "none" }]
  ): ValueAndGrad<Tensor, W> & E;
  /** The mean or sum of the losses, and its gradient times `upstream`. */
  valueAndGrad<W extends G = G>(
    ...args: [...I, options?: O & CommonOptions<G, R> & Wanted<W> & Reducing<R>]
  ): ValueAndGrad<number, W> & E;
  valueAndGrad<W extends G = G>(
    ...args: [...I, options?: O & CommonOptions<G, R> & Wanted<W>]
  ): ValueAndGrad<number | Tensor, W> & E;
}

/** A function that is no loss: it gives a tensor, and has the same two faces. */
export interface Mapping<I extends readonly unknown[], G extends string, O = unknown> {
  /** The value. */
  (...args: [...I, options?: O & Omit<CommonOptions<G>, "reduction">]): Tensor;
  /** The value, and the gradient of sum(upstream * value). */
  valueAndGrad<W extends G = G>(
    ...args: [...I, options?: O & Omit<CommonOptions<G>, "reduction"> & Wanted<W>]
  ): ValueAndGrad<Tensor, W>;
}
