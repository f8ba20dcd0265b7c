/** TensorFlow.js on its wasm and cpu backends: the losses that it has, and others written with its operations, as its users do. */
import type * as TensorFlow from "@tensorflow/tfjs-core";
import type { Case, CaseInput } from "../cases.js";
import { type Engine, total } from "../engines.js";
import { Timer } from "../measure.js";
import { load, versionOf } from "./load.js";

type Tf = typeof TensorFlow;
type Tensor = TensorFlow.Tensor;
type Inputs = Readonly<Record<string, Tensor>>;
type Operation = (tf: Tf, inputs: Inputs, one: Case) => Tensor;

const input = (inputs: Inputs, name: string): Tensor => inputs[name] as Tensor;

const onPair =
  (f: (tf: Tf, x: Tensor, target: Tensor) => Tensor): Operation =>
  (tf, inputs) =>
    f(tf, input(inputs, "input"), input(inputs, "target"));

/** The distance of rows, with PyTorch's eps. */
const distance = (tf: Tf, x: Tensor, y: Tensor): Tensor =>
  tf.sqrt(tf.sum(tf.square(tf.add(tf.sub(x, y), 1e-6)), -1));

const cosine = (tf: Tf, x: Tensor, y: Tensor): Tensor => {
  const squared = (v: Tensor) => tf.add(tf.sum(tf.square(v), -1), 1e-12);
  return tf.div(tf.sum(tf.mul(x, y), -1), tf.sqrt(tf.mul(squared(x), squared(y))));
};

/** Without a matrix of all differences, for which there is no room. */
const allDistances = (tf: Tf, x: Tensor, y: Tensor): Tensor => {
  const squares = (v: Tensor, axis: number) => tf.expandDims(tf.sum(tf.square(v), 1), axis);
  const products = tf.matMul(x as TensorFlow.Tensor2D, y as TensorFlow.Tensor2D, false, true);
  return tf.sqrt(tf.relu(tf.sub(tf.add(squares(x, 1), squares(y, 0)), tf.mul(products, 2))));
};

const OPERATIONS: Readonly<Record<string, Operation>> = {
  l1Loss: onPair((tf, x, t) => tf.losses.absoluteDifference(t, x)),
  mseLoss: onPair((tf, x, t) => tf.losses.meanSquaredError(t, x)),
  huberLoss: onPair((tf, x, t) => tf.losses.huberLoss(t, x)),
  bceWithLogitsLoss: onPair((tf, x, t) => tf.losses.sigmoidCrossEntropy(t, x)),
  bceLoss: onPair((tf, x, t) => tf.losses.logLoss(t, x)),
  klDivLoss: onPair((tf, x, t) => tf.sum(tf.mul(t, tf.sub(tf.log(t), x)))),
  softMarginLoss: onPair((tf, x, t) => tf.mean(tf.softplus(tf.neg(tf.mul(x, t))))),
  // the classes were made one-hot before
  crossEntropyLoss: onPair((tf, x, t) => tf.losses.softmaxCrossEntropy(t, x)),
  multiLabelSoftMarginLoss: onPair((tf, x, t) => tf.losses.sigmoidCrossEntropy(t, x)),
  logSumExp: (tf, inputs) => tf.logSumExp(input(inputs, "input"), -1),
  softmax: (tf, inputs) => tf.softmax(input(inputs, "input"), -1),
  logSoftmax: (tf, inputs) => tf.logSoftmax(input(inputs, "input"), -1),
  tripletMarginLoss: (tf, inputs) => {
    const anchor = input(inputs, "anchor");
    const [near, far] = [
      distance(tf, anchor, input(inputs, "positive")),
      distance(tf, anchor, input(inputs, "negative")),
    ];
    return tf.mean(tf.relu(tf.add(tf.sub(near, far), 1)));
  },
  cosineEmbeddingLoss: (tf, inputs) => {
    const cos = cosine(tf, input(inputs, "input1"), input(inputs, "input2"));
    return tf.mean(tf.where(tf.greater(input(inputs, "target"), 0), tf.sub(1, cos), tf.relu(cos)));
  },
  pairwiseDistance: (tf, inputs) => distance(tf, input(inputs, "x1"), input(inputs, "x2")),
  cosineSimilarity: (tf, inputs) => cosine(tf, input(inputs, "x1"), input(inputs, "x2")),
  cdist: (tf, inputs) => allDistances(tf, input(inputs, "x1"), input(inputs, "x2")),
  nearest: (tf, inputs, one) => {
    const distances = allDistances(tf, input(inputs, "queries"), input(inputs, "index"));
    return tf.neg(tf.topk(tf.neg(distances), one.rest?.[0] as number).values);
  },
};

/** tfjsctcloss takes one-hot labels, filled up with the last class, which is the blank. */
interface TfCtc {
  ctcLossGradient(labels: Tensor, logits: Tensor): Tensor;
}

/** What goes in: classes one-hot; for CTC the layout and the place of the blank that the package wants. */
function tensors(tf: Tf, one: Case, inputs: readonly CaseInput[]): Inputs | undefined {
  const named = Object.fromEntries(
    inputs.map(({ name, data, shape }) => [
      name,
      tf.tensor(data, [...shape], data instanceof Int32Array ? "int32" : "float32"),
    ]),
  );
  if (one.name === "crossEntropyLoss" && named.target?.dtype === "int32") {
    named.target = tf.cast(
      tf.oneHot(named.target as TensorFlow.Tensor1D, one.dims.columns as number),
      "float32",
    );
  }
  if (one.name !== "ctcLoss") return named;
  const { T, C } = one.dims as { T: number; C: number };
  const turn = [...Array(C).keys()].map((c) => (c + 1) % C);
  const logits = tf.gather(tf.transpose(named.logits as Tensor, [1, 0, 2]), turn, 2);
  const labels = tf.sub(named.targets as Tensor, 1) as TensorFlow.Tensor2D;
  const padded = tf.pad(
    labels,
    [
      [0, 0],
      [0, T - (one.dims.S as number)],
    ],
    C - 1,
  );
  return { logits, targets: tf.cast(tf.oneHot(tf.cast(padded, "int32"), C), "float32") };
}

function engine(tf: Tf, backend: "wasm" | "cpu", ctc: TfCtc | undefined): Engine {
  return {
    name: ctc === undefined ? `tfjs ${backend}` : `tfjsctcloss ${backend}`,
    version: versionOf(ctc === undefined ? "@tensorflow/tfjs-core" : "tfjsctcloss"),
    async prepare(one, inputs) {
      // the search takes the cpu backend seconds
      const skipped = backend === "cpu" && one.name === "nearest";
      const operation = ctc === undefined && !skipped ? OPERATIONS[one.name] : undefined;
      // the long ones take the package minutes and gigabytes
      const isCtc =
        ctc !== undefined &&
        one.name === "ctcLoss" &&
        (one.dims.T as number) * (one.dims.S as number) <= 2000;
      if (operation === undefined && !isCtc) return undefined;
      await tf.setBackend(backend);
      const placed = tensors(tf, one, inputs) as Inputs;
      const names = one.grads;
      const f = (...varied: Tensor[]): Tensor => {
        const all = { ...placed, ...Object.fromEntries(names.map((name, i) => [name, varied[i] as Tensor])) };
        if (operation !== undefined) return operation(tf, all, one);
        return tf.sum((ctc as TfCtc).ctcLossGradient(input(all, "targets"), input(all, "logits")));
      };
      const varied = names.map((name) => input(placed, name));
      const isMapping = one.value !== undefined;
      const length = isMapping ? (one.value as readonly number[]).reduce((a, b) => a * b, 1) : 1;
      const upstream = isMapping
        ? tf.tensor(
            Float32Array.from({ length }, (_, i) => 0.1 * (i % 7)),
            [...(one.value as readonly number[])],
          )
        : undefined;
      const withGradients = tf.valueAndGrads(f);
      const run = () => (names.length > 0 ? withGradients(varied, upstream) : { value: f(), grads: [] });
      const answer = tf.tidy(() => {
        const { value, grads } = run();
        return [total(value.dataSync()), ...grads.map((grad) => total(grad.dataSync(), Math.abs))];
      });
      const timer = new Timer(() => tf.tidy(() => void run()));
      return {
        answer,
        async samples(milliseconds) {
          await tf.setBackend(backend);
          return timer.samples(milliseconds);
        },
        close: () => {
          for (const tensor of Object.values(placed)) tensor.dispose();
          upstream?.dispose();
        },
      };
    },
  };
}

/** Both backends, and tfjsctcloss on the one that it runs on. */
export async function tensorflow(): Promise<Engine[]> {
  const events = ["uncaughtException", "unhandledRejection"] as const;
  const before = events.map((event) => process.listeners(event as "uncaughtException"));
  try {
    const tf = load<Tf>("@tensorflow/tfjs-core");
    // no advice on the screen, no checks
    tf.enableProdMode();
    load("@tensorflow/tfjs-backend-cpu");
    load<{ setThreadsCount(count: number): void }>("@tensorflow/tfjs-backend-wasm").setThreadsCount(1);
    const ctc = load<TfCtc>("tfjsctcloss");
    await tf.setBackend("wasm");
    await tf.ready();
    return [engine(tf, "wasm", undefined), engine(tf, "cpu", undefined), engine(tf, "cpu", ctc)];
  } finally {
    // its glue puts its whole source on the screen when something is thrown
    events.forEach((event, i) => {
      for (const listener of process.listeners(event as "uncaughtException")) {
        if (!before[i]?.includes(listener)) process.removeListener(event, listener);
      }
    });
  }
}
