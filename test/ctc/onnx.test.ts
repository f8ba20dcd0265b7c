/** What a network run by onnxruntime gives goes into the decoders as it is: a small model, made here, from features to logits. */
import { InferenceSession, Tensor } from "onnxruntime-web";
import { expect, test } from "vitest";
import { ctcAlign, ctcBeamDecode, ctcGreedyDecode, ctcLoss, ctcPosteriors } from "../../ts/index.js";
import { expectClose } from "../support/close.js";

/** Fields of a protocol buffer: a number's is a varint, all others are bytes with their length before them. */
type Field = readonly [tag: number, value: number | string | Uint8Array];

function varint(n: number): number[] {
  const bytes: number[] = [];
  for (let rest = n; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return [...bytes, rest];
    bytes.push((rest % 128) + 128);
  }
}

function message(...fields: readonly Field[]): Uint8Array {
  return Uint8Array.from(
    fields.flatMap(([tag, value]) => {
      if (typeof value === "number") return [...varint(tag * 8), ...varint(value)];
      const bytes = typeof value === "string" ? new TextEncoder().encode(value) : value;
      return [...varint(tag * 8 + 2), ...varint(bytes.length), ...bytes];
    }),
  );
}

const FLOAT = 1;

/** Numbers that belong to the model (onnx.proto3: TensorProto). */
function constant(name: string, dims: readonly number[], data: Float32Array): Uint8Array {
  return message(...dims.map((d): Field => [1, d]), [2, FLOAT], [8, name], [9, new Uint8Array(data.buffer)]);
}

/** An input or an output of floats (ValueInfoProto); an axis is as long as is said, or any length. */
function port(name: string, axes: readonly (number | string)[]): Uint8Array {
  const shape = message(...axes.map((a): Field => [1, message(typeof a === "number" ? [1, a] : [2, a])]));
  return message([1, name], [2, message([1, message([1, FLOAT], [2, shape])])]);
}

function node(operator: string, inputs: readonly string[], output: string): Uint8Array {
  return message(...inputs.map((name): Field => [1, name]), [2, output], [3, operator], [4, operator]);
}

/** logits = features W + b (ModelProto). */
function model(features: number, classes: number, weight: Float32Array, bias: Float32Array): Uint8Array {
  const graph = message(
    [1, node("MatMul", ["features", "W"], "product")],
    [1, node("Add", ["product", "b"], "logits")],
    [2, "linear"],
    [5, constant("W", [features, classes], weight)],
    [5, constant("b", [classes], bias)],
    [11, port("features", ["N", "T", features])],
    [12, port("logits", ["N", "T", classes])],
  );
  return message([1, 8], [7, graph], [8, message([1, ""], [2, 13])]);
}

test("onnxruntime's tensors go in as they are", { timeout: 60_000 }, async () => {
  const classes = 5;
  // each class has a feature of its own; the blank's is the last
  const weight = new Float32Array(classes * classes);
  for (let c = 0; c < classes; c++) weight[((c + classes - 1) % classes) * classes + c] = 9;
  const session = await InferenceSession.create(
    model(classes, classes, weight, Float32Array.of(0.5, 0, 0, 0, 0)),
  );
  const said = [
    [0, 3, 3, 0, 1, 0, 1, 4],
    [2, 2, 2, 2, 0, 0, 0, 0],
  ];
  const features = new Float32Array(
    said.flat().flatMap((c) => Array.from({ length: classes }, (_, f) => ((f + 1) % classes === c ? 1 : 0))),
  );
  const { logits } = await session.run({ features: new Tensor("float32", features, [2, 8, classes]) });
  if (logits === undefined) throw new Error("the model gave nothing");
  expect(logits.dims).toEqual([2, 8, classes]);
  const given = logits as { data: Float32Array; dims: readonly number[] };

  expect([ctcGreedyDecode(given)].flat().map(({ labels }) => labels)).toEqual([[3, 1, 1, 4], [2]]);
  expect([ctcBeamDecode(given, { beamWidth: 8 })].flat(2).map(({ labels }) => labels)).toEqual([
    [3, 1, 1, 4],
    [2],
  ]);

  // targets and lengths as such networks have them: 64-bit integers
  const targets = new Tensor("int64", BigInt64Array.of(3n, 1n, 1n, 4n, 2n, 0n, 0n, 0n), [2, 4]) as {
    data: BigInt64Array;
    dims: readonly number[];
  };
  const targetLengths = new Tensor("int64", BigInt64Array.of(4n, 1n), [2]) as {
    data: BigInt64Array;
    dims: readonly number[];
  };
  const alignments = [ctcAlign(given, targets, { targetLengths })].flat();
  expect(alignments.map(({ labels }) => Array.from(labels))).toEqual(said);
  expect(alignments[0]?.spans.map(({ start, end }) => [start, end])).toEqual([
    [1, 3],
    [4, 5],
    [6, 7],
    [7, 8],
  ]);

  const { value, grads } = ctcLoss.valueAndGrad(given, targets, { targetLengths, reduction: "none" });
  expect(grads.logits.shape).toEqual([2, 8, classes]);
  expectClose(
    Array.from(value.data, (loss) => Math.exp(-loss)),
    [1, 1],
    0.01,
    "probabilities",
  );
  expect(ctcPosteriors(given, targets, { targetLengths }).data[classes + 3]).toBeGreaterThan(0.99);
});
