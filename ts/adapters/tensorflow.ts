/**
 * The bridge to TensorFlow.js: numbers are read out of its tensors, the loss answers, and `tf.customGrad` puts value and gradient
 * back where its tape finds them. What is used of TensorFlow.js is described here by its shape, so that neither this library
 * nor its declarations ask for it to be installed.
 */
import { type Details, describe, fail, isRecord, shapeText } from "../errors.js";
import { isTyped, sizeOf } from "../input.js";
import { ctcLoss } from "../losses/ctc.js";
import { anything, choice, flag, number, readOptions } from "../options.js";
import type { Input, Reduction, Tensor, TypedArray } from "../types.js";

/** What is used of a `tf.Tensor`. */
export interface TensorFlowTensor {
  readonly shape: number[];
  readonly dtype: string;
  dataSync(): TypedArray;
}

/**
 * What is used of TensorFlow.js: `import * as tf from "@tensorflow/tfjs"`, or `"@tensorflow/tfjs-core"`. `T` is its `tf.Tensor`, `S`
 * its `tf.Scalar`.
 */
export interface TensorFlow<T extends TensorFlowTensor, S extends T = T> {
  customGrad(f: () => { value: T; gradFunc: (dy: T) => T[] }): (...inputs: T[]) => T;
  tensor(values: Float32Array, shape: number[], dtype: "float32"): T;
  mul(a: T, b: T): T;
  /** Never called: it is here for its type, which is what `optimizer.minimize` asks of a loss. */
  scalar?(value: number): S;
}

/** A loss of two inputs, of which the first is what a model predicts: any of this library's, or one that behaves like them. */
export interface DifferentiableLoss<O> {
  valueAndGrad(
    input: Tensor<TypedArray>,
    target: Input,
    options?: O,
  ): { value: number | Tensor; grads: { readonly [name: string]: Tensor } };
}

/** Options of {@link tfLoss} beside those of the loss. */
export interface TfLossOptions {
  /**
   * Whether `yTrue` holds one-hot rows, [..., C], for a loss that takes class indices, [...]. `model.fit` wants `yTrue` in the
   * shape of the model's output, so this is how such losses are used with it. Default false.
   */
  oneHot?: boolean | undefined;
}

/** The options of a loss that are left to the caller, but for the reduction: the others {@link tfLoss} sets itself. */
type Left<O> = Partial<Omit<O, "upstream" | "wrt" | "out" | "reduction">>;

/** The reductions of a loss, which may have some of its own. */
type ReductionOf<O> = Reduction | (O extends { reduction?: infer R } ? NonNullable<R> : never);

/** The gradient with respect to the prediction: the first of the gradients, which stand in the order of the inputs. */
interface Answer {
  readonly value: number | Tensor;
  readonly gradient: Tensor;
}

/** How the loss is asked: for the value and the gradient in one pass, with the gradient that flows in where there is one. */
type Ask = (input: Tensor<TypedArray>, upstream: TypedArray | undefined) => Answer;

/**
 * Makes a loss of this library one of TensorFlow.js's: `(yTrue, yPred) => tf.Tensor`, differentiable with respect to `yPred`.
 *
 * It goes where TensorFlow.js takes a loss, `model.compile({ loss })`, and into loops of one's own
 * (`optimizer.minimize(() => loss(yTrue, model.apply(x) as tf.Tensor))`).
 *
 * - `yPred`: the loss's first input (`input`, `embeddings`, ...). Where the loss takes logits, so does this: the model's last
 *   layer has no softmax or sigmoid then.
 * - `yTrue`: its second (`target`, `labels`, ...), a tf.Tensor or anything that the loss itself takes. Class indices may
 *   stand in a column, [N, 1]. It counts as given: no gradient flows to it.
 *
 * Gives a scalar (reduction `"mean"`, default, or `"sum"`), computed in one pass with its gradient; with `"none"` a tensor of
 * the single losses, which is what `classWeight` in `model.fit` multiplies, at the price of a second pass for the gradient.
 * The numbers are read with `dataSync()`: the cpu, wasm and webgl backends can do that. Second derivatives are refused.
 *
 * `model.fit` and `trainOnBatch` refuse a `yTrue` whose shape is not the output's: give class indices as one-hot rows there
 * (which `crossEntropyLoss` takes as probabilities; for other losses see `oneHot`).
 *
 * @param tf TensorFlow.js
 * @param loss a loss of two inputs
 * @param options the loss's own (but for `upstream`, `wrt` and `out`), and `oneHot`
 * @throws TypeError `TYPE` where `tf` or `loss` is something else; `UNKNOWN_OPTION` for the three options; RangeError `LABEL`: a row
 * without a positive number, with `oneHot`; what the loss throws
 * @example
 * ```ts
 * import * as tf from "@tensorflow/tfjs";
 * import { crossEntropyLoss } from "perdida";
 * import { tfLoss } from "perdida/tfjs";
 * const model = tf.sequential({ layers: [tf.layers.dense({ units: 3, inputShape: [4] })] });
 * model.compile({ optimizer: "adam", loss: tfLoss(tf, crossEntropyLoss, { labelSmoothing: 0.1 }) });
 * await model.fit(tf.randomNormal([8, 4]), tf.oneHot([0, 1, 2, 0, 1, 2, 0, 1], 3));
 * ```
 */
export function tfLoss<
  T extends TensorFlowTensor,
  O extends object,
  S extends T = T,
  R extends ReductionOf<O> = "mean",
>(
  tf: TensorFlow<T, S>,
  loss: DifferentiableLoss<O>,
  options?: Left<O> & TfLossOptions & { reduction?: R | undefined },
): (yTrue: T | Input, yPred: T) => R extends "none" ? T : S {
  checkTensorFlow("tfLoss", tf, "tfLoss(tf, loss)");
  if (typeof loss?.valueAndGrad !== "function") {
    fail("TYPE", "tfLoss", "loss", describe(loss), "a loss, which has valueAndGrad");
  }
  const { oneHot = false, ...own } = (options ?? {}) as TfLossOptions & { reduction?: string };
  if (typeof oneHot !== "boolean") fail("TYPE", "tfLoss", "oneHot", describe(oneHot), "true or false");
  for (const name of ["upstream", "wrt", "out"]) {
    if (name in own)
      fail(
        "UNKNOWN_OPTION",
        "tfLoss",
        name,
        "an option that it sets itself",
        "the other options of the loss",
      );
  }
  // the name of the first input, once an answer has shown it: from then on no other gradient is computed
  let first: string | undefined;
  return (yTrue, yPred) => {
    checkTensor("tfLoss", "yPred", yPred);
    let target = plain(yTrue) as Input;
    if (oneHot) target = indices(target);
    const ask: Ask = (input, upstream) => {
      const call = (given: Input): ReturnType<DifferentiableLoss<O>["valueAndGrad"]> =>
        loss.valueAndGrad(input, given, {
          ...own,
          ...(upstream === undefined ? undefined : { upstream }),
          ...(first === undefined ? undefined : { wrt: [first] }),
        } as unknown as O);
      const { value, grads } = column(call, target);
      first ??= Object.keys(grads)[0] as string;
      return { value, gradient: grads[first] as Tensor };
    };
    return differentiable(tf, "tfLoss", yPred, ask);
  };
}

/** Options of {@link tfCtcLoss}. */
export interface TfCtcOptions<R extends Reduction = Reduction> {
  /** The class that stands for "no label". Default 0. */
  blank?: number | undefined;
  /** What fills `yTrue` behind the labels. Default -1. */
  padValue?: number | undefined;
  /** Whether targets longer than the input can emit have loss 0 and gradient 0 instead of Infinity and NaN. Default false. */
  zeroInfinity?: boolean | undefined;
  /** `"mean"` (default; each loss over its target's length first, as PyTorch), `"sum"`, or `"none"` for one loss per sample. */
  reduction?: R | undefined;
}

/** How they are read: all that can be told of them is told before the first batch. */
const OPTIONS = {
  blank: /* @__PURE__ */ number(0, { least: 0, integer: true }),
  padValue: /* @__PURE__ */ number(-1),
  zeroInfinity: /* @__PURE__ */ flag(false),
  reduction: /* @__PURE__ */ choice<Reduction>("mean", ["none", "mean", "sum"]),
};

/** The lengths of one batch, [N] each. */
export interface TfCtcLengths<T> {
  /** How many steps of each sample count. Default: all T. */
  inputLengths?: T | Input | undefined;
  /** How many labels of each target count. Default: those before the first `padValue`. */
  targetLengths?: T | Input | undefined;
}

// ctcLoss looks at them itself
const LENGTHS = { inputLengths: /* @__PURE__ */ anything(), targetLengths: /* @__PURE__ */ anything() };

/**
 * Connectionist temporal classification for TensorFlow.js: `(yTrue, yPred, lengths?) => tf.Tensor`, differentiable with respect
 * to `yPred`. It learns to read sequences (handwriting, speech) from labels that do not say where each label stands.
 *
 * - `yPred`: logits, [N, T, C]: the model's last layer is dense with C units and no softmax.
 * - `yTrue`: labels in one of three forms. Class indices [N, S] (or [N, S, 1]), filled up with `padValue` behind the
 *   labels; one-hot rows [N, S, C], filled up with rows of zeros; or ragged arrays, `[[3, 1], [4]]`. `model.fit` asks for one-hot:
 *   it refuses a `yTrue` whose axes are not as many as, or known and other than, the output's. No gradient flows to it.
 * - `lengths`: `{ inputLengths, targetLengths }`, for samples that end before T (what stands behind is never read), in
 *   loops of one's own: `optimizer.minimize(() => loss(labels, model.apply(x) as tf.Tensor, { inputLengths }))`. They count
 *   steps of `yPred`, behind the model's strides. `model.fit` passes none: there every sample has T
 *   steps, and a model learns to give the blank in what was filled up.
 *
 * Gives a scalar, or with reduction `"none"` one loss per sample, [N]; see {@link tfLoss}, which this does as well.
 *
 * @param tf TensorFlow.js
 * @param options of the loss
 * @throws TypeError `TYPE` where `tf` is something else, `TYPE`, `OPTION`, `UNKNOWN_OPTION` and RangeError `NUMBER` for options, at
 * once; the loss: RangeError `RANK`, `SHAPE`, `LABEL`; TypeError `TYPE`, `UNKNOWN_OPTION` for lengths; what `ctcLoss` throws
 * @see Graves et al., Connectionist Temporal Classification, 2006
 * @example
 * ```ts
 * import * as tf from "@tensorflow/tfjs";
 * import { tfCtcLoss } from "perdida/tfjs";
 * const model = tf.sequential({ layers: [tf.layers.dense({ units: 11, inputShape: [null, 88] })] });
 * model.compile({ optimizer: "adam", loss: tfCtcLoss(tf) });
 * await model.fit(tf.randomNormal([2, 20, 88]), tf.oneHot([[3, 1, 4], [1, 5, 9]], 11));
 * ```
 */
export function tfCtcLoss<T extends TensorFlowTensor, S extends T = T, R extends Reduction = "mean">(
  tf: TensorFlow<T, S>,
  options?: TfCtcOptions<R>,
): (
  yTrue: T | Input | readonly (readonly number[] | Int32Array)[],
  yPred: T,
  lengths?: TfCtcLengths<T>,
) => R extends "none" ? T : S {
  checkTensorFlow("tfCtcLoss", tf, "tfCtcLoss(tf)");
  const { padValue, ...own } = readOptions("tfCtcLoss", OPTIONS, options);
  return (yTrue, yPred, lengths = {}) => {
    checkTensor("tfCtcLoss", "yPred", yPred);
    if (yPred.shape.length !== 3)
      fail("RANK", "tfCtcLoss", "yPred", `of shape ${shapeText(yPred.shape)}`, "[N, T, C]");
    if (!isRecord(lengths) || isTensor(lengths) || Symbol.iterator in lengths)
      fail("TYPE", "tfCtcLoss", "lengths", inWords(lengths), "{ inputLengths, targetLengths }");
    const counts = readOptions("tfCtcLoss", LENGTHS, lengths);
    const [inputLengths, targetLengths] = [counts.inputLengths, counts.targetLengths].map(plain) as Input[];
    const given = plain(yTrue);
    const { targets, counted, padding } = isShaped(given)
      ? sequences(given, yPred.shape, targetLengths === undefined ? padValue : undefined)
      : {
          targets: given as Input,
          padding: targetLengths === undefined ? "; arrays are ragged, not padded" : "",
        };
    const ask: Ask = (input, upstream) => {
      try {
        const { value, grads } = ctcLoss.valueAndGrad(input, targets, {
          ...own,
          inputLengths,
          targetLengths: targetLengths ?? counted,
          upstream,
          wrt: ["logits"],
        });
        return { value, gradient: grads.logits };
      } catch (error) {
        retell(error, padding);
      }
    };
    return differentiable(tf, "tfCtcLoss", yPred, ask);
  };
}

/** Throws what `ctcLoss` refused by the names that the caller knows; of a label it adds what padding is: mostly that was meant. */
function retell(error: unknown, padding: string): never {
  // a getter of the caller's may throw anything
  if (!(error instanceof Error)) throw error;
  const { code, received, expected, message } = error as Details & Error;
  const told = /^ctcLoss: (\w+)(\S*) is /.exec(message);
  if (told === null) throw error;
  const [, argument, place] = told as unknown as [string, string, string];
  const name = argument === "logits" ? "yPred" : argument === "targets" ? "yTrue" : argument;
  // the hint of ctcLoss names an option that the caller does not have
  const own = code === "LABEL" ? expected.replace(/ \(.*/, "") + padding : expected;
  fail(code, "tfCtcLoss", name, received, own, place);
}

/** A node on the tape: the value of a loss, with its gradient with respect to `yPred`. */
function differentiable<T extends TensorFlowTensor, V extends T>(
  tf: TensorFlow<T>,
  where: string,
  yPred: T,
  ask: Ask,
): V {
  // TensorFlow.js has single precision only
  const tensorOf = ({ data, shape }: Tensor): T =>
    tf.tensor(data instanceof Float32Array ? data : Float32Array.from(data), [...shape], "float32");
  const op = tf.customGrad(() => {
    const input = read(yPred);
    const { value, gradient } = ask(input, undefined);
    const reduced = typeof value === "number";
    const gradFunc = (dy: T): T[] => {
      // the gradient itself may not be differentiated: its own gradient would be silently zero
      const once = tf.customGrad(() => ({
        value: reduced ? tf.mul(tensorOf(gradient), dy) : tensorOf(ask(input, dy.dataSync()).gradient),
        gradFunc: () => fail("TYPE", where, "the gradient", "differentiated again", "first derivatives only"),
      }));
      return [once(yPred, dy)];
    };
    return { value: tensorOf(reduced ? { data: Float32Array.of(value), shape: [] } : value), gradFunc };
  });
  return op(yPred) as V;
}

/** The numbers of a tensor, without its tape. */
function read(tensor: TensorFlowTensor): Tensor<TypedArray> {
  return { data: tensor.dataSync(), shape: tensor.shape };
}

/** A tensor's numbers; anything else as it is. */
function plain(value: unknown): unknown {
  return isTensor(value) ? read(value) : value;
}

function isTensor<T extends TensorFlowTensor>(value: unknown): value is T {
  return typeof (value as TensorFlowTensor | null | undefined)?.dataSync === "function";
}

function isShaped(value: unknown): value is Tensor<TypedArray> {
  return (
    typeof value === "object" && value !== null && "data" in value && isTyped(value.data) && "shape" in value
  );
}

function inWords(value: unknown): string {
  return isTensor(value) ? "a tf.Tensor" : describe(value);
}

/** `call` is how the loss is made: where it is taken for the loss itself, TensorFlow.js calls it with tensors. */
function checkTensorFlow(where: string, tf: unknown, call: string): void {
  if (typeof (tf as { customGrad?: unknown } | undefined)?.customGrad !== "function") {
    const made = isTensor(tf) ? `; ${call} makes the loss` : "";
    fail("TYPE", where, "tf", inWords(tf), `TensorFlow.js: import * as tf from "@tensorflow/tfjs"${made}`);
  }
}

function checkTensor(where: string, name: string, value: unknown): void {
  if (!isTensor(value)) fail("TYPE", where, name, describe(value), "a tf.Tensor");
}

/** Calls a loss; where it refuses the shape of targets that stand in a column, [..., 1], once more with the column laid flat. */
function column<R>(call: (target: Input) => R, target: Input): R {
  if (!isShaped(target) || target.shape.length < 2 || target.shape[target.shape.length - 1] !== 1)
    return call(target);
  try {
    return call(target);
  } catch (error) {
    // a refused call has written nothing
    const { code } = error as { code?: unknown };
    if (code !== "SHAPE" && code !== "RANK") throw error;
    return call({ data: target.data, shape: target.shape.slice(0, -1) });
  }
}

/** Class indices from one-hot rows. */
function indices(target: Input): Tensor<TypedArray> {
  if (!isShaped(target) || target.shape.length === 0) {
    fail("TYPE", "tfLoss", "yTrue", describe(target), "a tf.Tensor of one-hot rows, [..., C]");
  }
  const columns = target.shape[target.shape.length - 1] as number;
  const shape = target.shape.slice(0, -1);
  const classes = new Int32Array(sizeOf(shape));
  for (let row = 0; row < classes.length; row++) classes[row] = hot(target.data, row * columns, columns);
  const cold = classes.indexOf(-1);
  if (cold >= 0) fail("LABEL", "tfLoss", "yTrue", "a row of zeros", "a one-hot row", `[${cold}]`);
  return { data: classes, shape };
}

/** Where the largest positive number of a row stands, or -1. */
function hot(data: TypedArray, start: number, columns: number): number {
  let best = -1;
  let most = 0;
  for (let c = 0; c < columns; c++) {
    const x = Number(data[start + c]);
    if (x > most) {
      most = x;
      best = c;
    }
  }
  return best;
}

/** Targets as labels [N, S]; how many count: those before the first that is padding; and what padding is, for a message. */
function sequences(
  given: Tensor<TypedArray>,
  logits: readonly number[],
  padValue: number | undefined,
): { targets: Tensor<TypedArray>; counted: Int32Array | undefined; padding: string } {
  const { shape } = given;
  const [n, s] = shape as [number, number];
  const classes = logits[2] as number;
  const oneHot = shape.length === 3 && shape[2] === classes;
  if (!(shape.length === 2 || oneHot || (shape.length === 3 && shape[2] === 1)) || n !== logits[0]) {
    const batch = logits[0] as number;
    const expected = `labels [${batch}, S] or one-hot rows [${batch}, S, ${classes}]`;
    fail("SHAPE", "tfCtcLoss", "yTrue", `of shape ${shapeText(shape)}`, expected);
  }
  let { data } = given;
  let pad = padValue;
  if (oneHot) {
    const labels = new Int32Array(n * s);
    for (let i = 0; i < labels.length; i++) labels[i] = hot(data, i * classes, classes);
    data = labels;
    if (padValue !== undefined) pad = -1;
  }
  const targets = { data, shape: [n, s] };
  if (pad === undefined) return { targets, counted: undefined, padding: "" };
  const lengths = new Int32Array(n);
  for (let i = 0; i < n; i++) {
    let length = 0;
    while (length < s && Number(data[i * s + length]) !== pad) length++;
    for (let j = length; j < s; j++) {
      const label = Number(data[i * s + j]);
      if (label !== pad)
        fail(
          "LABEL",
          "tfCtcLoss",
          "yTrue",
          `${label} behind padding`,
          `padding (${pad}) up to the end`,
          `[${i}][${j}]`,
        );
    }
    lengths[i] = length;
  }
  const padding = `, or padding: ${oneHot ? "a row of zeros (tf.oneHot of -1)" : `padValue, which is ${pad}`}`;
  return { targets, counted: lengths, padding };
}
