/** onnxruntime-web: the operators that compute a value of ours, in models of one node; it has no gradients. */
import type { Case, CaseInput } from "../cases.js";
import { type Engine, total } from "../engines.js";
import { Timer } from "../measure.js";
import { load, versionOf } from "./load.js";

interface OrtTensor {
  readonly data: Float32Array;
}
interface Ort {
  readonly env: { logLevel: string; readonly wasm: { numThreads: number } };
  readonly Tensor: new (type: string, data: Float32Array | Int32Array, dims: readonly number[]) => OrtTensor;
  readonly InferenceSession: {
    create(
      model: Uint8Array,
    ): Promise<{ run(feeds: object): Promise<Record<string, OrtTensor>>; release(): Promise<void> }>;
  };
}

type Attribute = readonly [name: string, value: string | number | readonly number[]];
interface Operator {
  readonly type: string;
  readonly domain?: string;
  readonly attributes: readonly Attribute[];
}

const OPERATORS: Readonly<Record<string, Operator>> = {
  logSumExp: {
    type: "ReduceLogSumExp",
    attributes: [
      ["axes", [-1]],
      ["keepdims", 0],
    ],
  },
  softmax: { type: "Softmax", attributes: [["axis", -1]] },
  crossEntropyLoss: { type: "SoftmaxCrossEntropyLoss", attributes: [["reduction", "mean"]] },
  cdist: { type: "CDist", domain: "com.microsoft", attributes: [["metric", "euclidean"]] },
};

/** A field of a protocol buffer: text, bytes, or a whole number. */
function field(number: number, value: string | Uint8Array | number): number[] {
  if (typeof value === "number") return [...varint(8 * number), ...varint(value)];
  const bytes = typeof value === "string" ? new TextEncoder().encode(value) : value;
  return [...varint(8 * number + 2), ...varint(bytes.length), ...bytes];
}

/** Seven bits a byte; a negative one has ten bytes. */
function varint(value: number): number[] {
  const bytes = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  return [...bytes, Number(rest)];
}

const message = (...fields: number[][]): Uint8Array => Uint8Array.from(fields.flat());

/** The numbers of the fields are those of onnx.proto3. */
function modelOf(operator: Operator, inputs: readonly CaseInput[]): Uint8Array {
  const attribute = ([name, value]: Attribute) => {
    if (typeof value === "string") return message(field(1, name), field(4, value), field(20, 3));
    if (typeof value === "number") return message(field(1, name), field(3, value), field(20, 2));
    return message(field(1, name), ...value.map((one) => field(8, one)), field(20, 7));
  };
  const described = ({ name, data, shape }: CaseInput) => {
    const dims = message(...shape.map((length) => field(1, message(field(1, length)))));
    const tensor = message(field(1, data instanceof Float32Array ? 1 : 6), field(2, dims));
    return message(field(1, name), field(2, message(field(1, tensor))));
  };
  const node = message(
    ...inputs.map(({ name }) => field(1, name)),
    field(2, "value"),
    field(4, operator.type),
    ...operator.attributes.map((one) => field(5, attribute(one))),
    ...(operator.domain === undefined ? [] : [field(7, operator.domain)]),
  );
  const value = message(field(1, "value"), field(2, message(field(1, message(field(1, 1))))));
  const graph = message(
    field(1, node),
    field(2, "graph"),
    ...inputs.map((one) => field(11, described(one))),
    field(12, value),
  );
  const opset = (domain: string, version: number) => field(8, message(field(1, domain), field(2, version)));
  return message(field(1, 8), field(7, graph), opset("", 17), opset("com.microsoft", 1));
}

/** The engine, on one thread. */
export function onnxruntime(): Engine {
  const ort = load<Ort>("onnxruntime-web");
  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = "error";
  return {
    name: "onnxruntime-web",
    version: versionOf("onnxruntime-web"),
    async prepare(one: Case, inputs: readonly CaseInput[]) {
      const operator = OPERATORS[one.name];
      if (operator === undefined || one.grads.length > 0) return undefined;
      const session = await ort.InferenceSession.create(modelOf(operator, inputs));
      const feeds = Object.fromEntries(
        inputs.map(({ name, data, shape }) => [
          name,
          new ort.Tensor(data instanceof Float32Array ? "float32" : "int32", data, shape),
        ]),
      );
      const { value } = await session.run(feeds);
      const timer = new Timer(() => session.run(feeds), true);
      return {
        answer: value === undefined ? undefined : [total(value.data)],
        samples: (milliseconds) => timer.samples(milliseconds),
        close: () => void session.release(),
      };
    },
  };
}
