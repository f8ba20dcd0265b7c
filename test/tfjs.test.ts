/** perdida/tfjs against TensorFlow.js itself: the same gradients, models that learn, no tensors left behind. */
import * as tf from "@tensorflow/tfjs-core";
import * as layers from "@tensorflow/tfjs-layers";
import "@tensorflow/tfjs-backend-cpu";
import "@tensorflow/tfjs-backend-wasm";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import {
  bceWithLogitsLoss,
  crossEntropyLoss,
  ctcLoss,
  huberLoss,
  klDivLoss,
  l1Loss,
  mseLoss,
  multiLabelSoftMarginLoss,
  multiMarginLoss,
  nllLoss,
  tensor,
} from "../ts/index.js";
import { tfCtcLoss, tfLoss } from "../ts/tfjs.js";
import { expectClose, expectSameBits } from "./support/close.js";
import { expectRefusal } from "./support/refusal.js";

const BACKENDS = ["cpu", "wasm"] as const;

// or its cpu backend recommends another one on the console
beforeAll(() => tf.enableProdMode());
afterAll(() => tf.disposeVariables());

/** Numbers that look random and are the same in every run. */
function numbers(count: number, seed = 1): Float32Array {
  return Float32Array.from({ length: count }, (_, i) => 2 * Math.sin(12.9898 * (i + 1) + 78.233 * seed));
}

/** The value and gradient of a scalar function of one tensor, as arrays. */
function valueAndGrad(
  f: (x: tf.Tensor) => tf.Tensor,
  x: tf.Tensor,
): { value: Float32Array; grad: Float32Array } {
  return tf.tidy(() => {
    const { value, grad } = tf.valueAndGrad(f)(x);
    return { value: value.dataSync() as Float32Array, grad: grad.dataSync() as Float32Array };
  });
}

/** How many tensors there are more after a run than before. */
function leaked(run: () => void): number {
  const before = tf.memory().numTensors;
  run();
  return tf.memory().numTensors - before;
}

describe.each(BACKENDS)("on the %s backend", (backend) => {
  beforeEach(async () => {
    await tf.setBackend(backend);
    await tf.ready();
    expect(tf.getBackend()).toBe(backend);
  });

  const N = 7;
  const C = 5;
  const classes = [0, 4, 2, 2, 1, 3, 0];
  const predictions = (): tf.Tensor2D => tf.tensor2d(numbers(N * C), [N, C]);
  const oneHot = (): tf.Tensor => tf.cast(tf.oneHot(tf.tensor1d(classes, "int32"), C), "float32");

  describe("the gradients are those of tf's own losses", () => {
    type TfFunction = (yTrue: tf.Tensor, yPred: tf.Tensor) => tf.Tensor;
    const cases: Record<string, { ours: TfFunction; theirs: TfFunction }> = {
      "crossEntropyLoss, softmaxCrossEntropy": {
        ours: tfLoss(tf, crossEntropyLoss),
        theirs: (y, x) => tf.losses.softmaxCrossEntropy(y, x),
      },
      "crossEntropyLoss, softmaxCrossEntropy with label smoothing": {
        ours: tfLoss(tf, crossEntropyLoss, { labelSmoothing: 0.2 }),
        theirs: (y, x) => tf.losses.softmaxCrossEntropy(y, x, undefined, 0.2),
      },
      "crossEntropyLoss summed, softmaxCrossEntropy summed": {
        ours: tfLoss(tf, crossEntropyLoss, { reduction: "sum" }),
        theirs: (y, x) => tf.losses.softmaxCrossEntropy(y, x, undefined, undefined, tf.Reduction.SUM),
      },
      "crossEntropyLoss unreduced, softmaxCrossEntropy unreduced": {
        ours: tfLoss(tf, crossEntropyLoss, { reduction: "none" }),
        theirs: (y, x) => tf.losses.softmaxCrossEntropy(y, x, undefined, undefined, tf.Reduction.NONE),
      },
      "mseLoss, meanSquaredError": {
        ours: tfLoss(tf, mseLoss),
        theirs: (y, x) => tf.losses.meanSquaredError(y, x),
      },
      "l1Loss summed, absoluteDifference summed": {
        ours: tfLoss(tf, l1Loss, { reduction: "sum" }),
        theirs: (y, x) => tf.losses.absoluteDifference(y, x, undefined, tf.Reduction.SUM),
      },
      "huberLoss, huberLoss": {
        ours: tfLoss(tf, huberLoss, { delta: 0.7 }),
        theirs: (y, x) => tf.losses.huberLoss(y, x, undefined, 0.7),
      },
      "huberLoss unreduced, huberLoss unreduced": {
        ours: tfLoss(tf, huberLoss, { reduction: "none" }),
        theirs: (y, x) => tf.losses.huberLoss(y, x, undefined, undefined, tf.Reduction.NONE),
      },
      "bceWithLogitsLoss, sigmoidCrossEntropy": {
        ours: tfLoss(tf, bceWithLogitsLoss),
        theirs: (y, x) => tf.losses.sigmoidCrossEntropy(y, x),
      },
      "klDivLoss over the batch, in tf's operations": {
        ours: tfLoss(tf, klDivLoss, { reduction: "batchmean" }),
        theirs: (y, x) => tf.neg(tf.div(tf.sum(tf.mul(y, x)), N)),
      },
      "multiLabelSoftMarginLoss, sigmoidCrossEntropy": {
        ours: tfLoss(tf, multiLabelSoftMarginLoss),
        theirs: (y, x) => tf.losses.sigmoidCrossEntropy(y, x),
      },
      "nllLoss with one-hot targets, in tf's operations": {
        ours: tfLoss(tf, nllLoss, { oneHot: true }),
        theirs: (y, x) => tf.neg(tf.mean(tf.sum(tf.mul(y, x), -1))),
      },
      "multiMarginLoss with one-hot targets, in tf's operations": {
        ours: tfLoss(tf, multiMarginLoss, { oneHot: true, margin: 0.5 }),
        theirs: (y, x) => {
          const correct = tf.sum(tf.mul(y, x), -1, true);
          return tf.mean(tf.mul(tf.relu(tf.add(tf.sub(x, correct), 0.5)), tf.sub(1, y)));
        },
      },
    };
    test.each(Object.keys(cases))("%s", (name) => {
      const { ours, theirs } = cases[name] as (typeof cases)[string];
      const [x, y] = [predictions(), oneHot()];
      // what flows in is neither one nor the same for all
      const flowing = [tf.scalar(-3), tf.range(1, N + 1), tf.tensor2d(numbers(N * C, 9), [N, C])];
      const through = (loss: TfFunction) => (p: tf.Tensor) => {
        const value = loss(y, p);
        return tf.sum(tf.mul(value, flowing[value.rank] as tf.Tensor));
      };
      const actual = valueAndGrad(through(ours), x);
      const expected = valueAndGrad(through(theirs), x);
      expectClose(actual.value, expected.value, 5e-6, "value");
      expectClose(actual.grad, expected.grad, 5e-6, "gradient");
      tf.dispose([x, y, ...flowing]);
    });
  });

  test("class indices: one axis, a column, whole floats, arrays", () => {
    const x = predictions();
    const y = oneHot();
    const expected = valueAndGrad((p) => tf.losses.softmaxCrossEntropy(y, p), x);
    const loss = tfLoss(tf, crossEntropyLoss);
    const forms = [
      tf.tensor1d(classes, "int32"),
      tf.tensor1d(classes),
      tf.tensor2d(classes, [N, 1], "int32"),
      tf.tensor2d(classes, [N, 1]),
      classes,
    ];
    for (const form of forms) {
      const actual = valueAndGrad((p) => loss(form, p), x);
      expectClose(actual.value, expected.value, 5e-6, "value");
      expectClose(actual.grad, expected.grad, 5e-6, "gradient");
    }
    tf.dispose([x, y, ...forms.filter((form) => !Array.isArray(form))] as tf.Tensor[]);
  });

  test("a model learns, step by step as with tf's own loss", async () => {
    const x = tf.tensor2d(numbers(60 * 4, 2), [60, 4]);
    const labels = tf.tidy(() => tf.argMax(tf.matMul(x, tf.tensor2d(numbers(12, 3), [4, 3])), 1));
    const y = tf.tidy(() => tf.cast(tf.oneHot(labels as tf.Tensor1D, 3), "float32"));
    const theirs = (yTrue: tf.Tensor, yPred: tf.Tensor): tf.Tensor =>
      tf.losses.softmaxCrossEntropy(yTrue, yPred);
    const histories: number[][] = [];
    for (const loss of [tfLoss(tf, crossEntropyLoss), theirs]) {
      const model = layers.sequential();
      const kernelInitializer = layers.initializers.glorotUniform({ seed: 3 });
      model.add(layers.layers.dense({ units: 8, inputShape: [4], activation: "tanh", kernelInitializer }));
      model.add(layers.layers.dense({ units: 3, kernelInitializer }));
      model.compile({ optimizer: tf.train.adam(0.05), loss, metrics: ["accuracy"] });
      const { history } = await model.fit(x, y, { epochs: 30, batchSize: 20, shuffle: false, verbose: 0 });
      const losses = history.loss as number[];
      expect(losses[0]).toBeGreaterThan(0.6);
      expect(losses.at(-1)).toBeLessThan(0.15);
      expect((history.acc as number[]).at(-1)).toBeGreaterThan(0.95);
      histories.push(losses);
      // evaluate() asks for the value alone
      const [value] = model.evaluate(x, y, { batchSize: 60 }) as tf.Scalar[];
      expect((value as tf.Scalar).dataSync()[0]).toBeLessThan(losses[28] as number);
      model.dispose();
    }
    const [ours = [], reference = []] = histories;
    expectClose(ours, reference, 1e-4, "loss per epoch");
  });

  test("classWeight multiplies the single losses", async () => {
    const x = predictions();
    const y = oneHot();
    const model = layers.sequential();
    model.add(layers.layers.dense({ units: C, inputShape: [C], kernelInitializer: "identity" }));
    model.compile({ optimizer: tf.train.sgd(0), loss: tfLoss(tf, crossEntropyLoss, { reduction: "none" }) });
    const fit = { epochs: 1, batchSize: N, shuffle: false, verbose: 0 } as const;
    const weights = [1, 2, 3, 4, 5];
    const { history } = await model.fit(x, y, { ...fit, classWeight: { 0: 1, 1: 2, 2: 3, 3: 4, 4: 5 } });
    const losses = crossEntropyLoss(tensor(numbers(N * C), [N, C]), classes, { reduction: "none" }).data;
    const expected =
      classes.reduce((sum, label, i) => sum + (losses[i] as number) * (weights[label] as number), 0) / N;
    expectClose(history.loss as number[], [expected], 1e-5, "loss");
    model.dispose();
    tf.dispose([x, y]);
  });

  describe("tfCtcLoss", () => {
    const T = 9;
    const K = 4;
    const targets = [[1, 2, 2], [3], [], [2, 1]];
    const batch = targets.length;
    const logits = numbers(batch * T * K, 4);
    const padded = (fill: number): number[][] =>
      targets.map((labels) => [...labels, fill, fill, fill].slice(0, 3));

    /** What ctcLoss itself says of the same numbers. */
    const direct = (options: object = {}): { value: number; grad: Float32Array } => {
      const { value, grads } = ctcLoss.valueAndGrad(tensor(logits, [batch, T, K]), targets, options);
      return { value, grad: grads.logits.data as Float32Array };
    };

    test("the bits of ctcLoss, whatever form the labels have", () => {
      const x = tf.tensor3d(logits, [batch, T, K]);
      const expected = direct();
      const forms = [
        { labels: targets },
        { labels: tf.tensor2d(padded(-1), [batch, 3], "int32") },
        { labels: tf.tensor2d(padded(-1), [batch, 3]) },
        { labels: tf.tensor3d(padded(-1).flat(), [batch, 3, 1]) },
        { labels: tf.tensor2d(padded(0), [batch, 3], "int32"), padValue: 0 },
        { labels: tf.tensor2d(padded(2), [batch, 3], "int32"), targetLengths: [3, 1, 0, 2] },
        {
          labels: tf.tensor2d(padded(2), [batch, 3], "int32"),
          targetLengths: tf.tensor1d([3, 1, 0, 2], "int32"),
        },
        // one-hot rows of zeros are padding
        { labels: tf.oneHot(tf.tensor2d(padded(-1), [batch, 3], "int32"), K) },
      ];
      for (const { labels, padValue, targetLengths } of forms) {
        const loss = tfCtcLoss(tf, { padValue });
        const actual = valueAndGrad((p) => loss(labels, p, { targetLengths }), x);
        expectSameBits(actual.value, [Math.fround(expected.value)], "value");
        expectSameBits(actual.grad, expected.grad, "gradient");
      }
      x.dispose();
    });

    test("lengths, blank, reductions and what flows in", () => {
      const loss = tfCtcLoss(tf, { blank: 3, reduction: "none", zeroInfinity: true });
      const labels = [[1, 2, 2], [0], [], [2, 1]];
      const inputLengths = [9, 4, 7, 1];
      // steps past the end are not read
      const holed = logits.map((v, i) =>
        Math.floor(i / K) % T >= (inputLengths[Math.floor(i / K / T)] as number) ? NaN : v,
      );
      const flowing = Float32Array.of(1, -2, 0.5, 3);
      const actual = valueAndGrad(
        (p) => tf.sum(tf.mul(loss(labels, p, { inputLengths }), flowing)),
        tf.tensor3d(holed, [batch, T, K]),
      );
      const { value, grads } = ctcLoss.valueAndGrad(tensor(logits, [batch, T, K]), labels, {
        blank: 3,
        reduction: "none",
        zeroInfinity: true,
        inputLengths,
        upstream: flowing,
      });
      // the last sample is too short for its labels
      expect(value.data[3]).toBe(0);
      const sum = flowing.reduce((total, w, i) => total + w * (value.data[i] as number), 0);
      expectClose(actual.value, [sum], 1e-6, "value");
      expectSameBits(actual.grad, grads.logits.data, "gradient");
      const scaled = valueAndGrad(
        (p) => tf.mul(tfCtcLoss(tf, { reduction: "sum" })(targets, p), -0.5),
        tf.tensor3d(logits, [batch, T, K]),
      );
      expectClose(scaled.grad, direct({ reduction: "sum", upstream: -0.5 }).grad, 1e-7, "gradient, scaled");
    });

    test("a model learns to read", async () => {
      // three-column marks, one per class, side by side: the network sees a window of two columns
      const inputs = targets.map((labels) =>
        Array.from({ length: T }, (_, t) => (t % 3 === 1 ? (labels[Math.floor(t / 3)] ?? 0) : 0)),
      );
      const x = tf.cast(tf.oneHot(tf.tensor2d(inputs, [batch, T], "int32"), K), "float32");
      const y = tf.cast(tf.oneHot(tf.tensor2d(padded(-1), [batch, 3], "int32"), K), "float32");
      const model = layers.sequential();
      const kernelInitializer = layers.initializers.glorotUniform({ seed: 1 });
      model.add(
        layers.layers.dense({
          units: 8,
          inputShape: [null, K],
          activation: "tanh",
          kernelInitializer,
        }),
      );
      model.add(layers.layers.dense({ units: K, kernelInitializer }));
      model.compile({ optimizer: tf.train.adam(0.1), loss: tfCtcLoss(tf) });
      const { history } = await model.fit(x, y, { epochs: 60, batchSize: batch, verbose: 0 });
      const losses = history.loss as number[];
      expect(losses[0]).toBeGreaterThan(2);
      expect(losses.at(-1)).toBeLessThan(0.1);
      const best = (tf.argMax(model.predict(x) as tf.Tensor, -1) as tf.Tensor2D).arraySync();
      expect(best.map((steps) => steps.filter((label, t) => label !== 0 && label !== steps[t - 1]))).toEqual(
        targets,
      );
      model.dispose();
    });

    test("refuses what it cannot read", () => {
      const loss = tfCtcLoss(tf);
      const x = tf.tensor3d(logits, [batch, T, K]);
      expect(() => loss(tf.tensor2d([[1], [2]]), x)).toThrow(
        "tfCtcLoss: yTrue is of shape [2, 1], expected labels [4, S] or one-hot rows [4, S, 4]",
      );
      expect(() => loss(tf.zeros([batch, 2, 3]), x)).toThrow(
        "tfCtcLoss: yTrue is of shape [4, 2, 3], expected labels [4, S] or one-hot rows [4, S, 4]",
      );
      expect(() => loss([[1]], tf.zeros([T, K]))).toThrow(
        "tfCtcLoss: yPred is of shape [9, 4], expected [N, T, C]",
      );
      expect(() => loss(tf.tensor2d([1, 2, -1, 2, 1, 1, 1, 1], [4, 2]), x)).toThrow(
        "tfCtcLoss: yTrue[1][1] is 2 behind padding, expected padding (-1) up to the end",
      );
      expect(() => loss(tf.tensor2d([1, 2, 1, 7, 1, 1, 1, 1], [4, 2]), x)).toThrow(
        "tfCtcLoss: yTrue[1][1] is 7, expected a class index in [0, 4), or padding: padValue, which is -1",
      );
      x.dispose();
    });

    test("tells of one row of labels, and lets pass what code of the caller's throws", () => {
      const detached = Int32Array.of(1);
      structuredClone(detached.buffer, { transfer: [detached.buffer] });
      const x = tf.tensor3d(new Float32Array(24), [2, 4, 3]);
      expect(() => tfCtcLoss(tf)([[1], detached], x)).toThrow(
        /^tfCtcLoss: yTrue\[1\] is an array whose buffer is detached/,
      );
      const row = Object.defineProperty([[1]], 1, {
        get() {
          throw null;
        },
      });
      let thrown: unknown = "nothing";
      try {
        tfCtcLoss(tf)(row, x);
      } catch (error) {
        thrown = error;
      }
      expect(thrown).toBe(null);
    });

    test("says what padding is where there is a label that is none", () => {
      const loss = tfCtcLoss(tf);
      const x = tf.tensor3d(logits, [batch, T, K]);
      const blank = "is the blank (0), expected a class index in [0, 4) that is not the blank";
      const labels = tf.tensor2d(padded(0), [batch, 3], "int32");
      expectRefusal(
        () => loss(labels, x),
        "LABEL",
        `tfCtcLoss: yTrue[1][1] ${blank}, or padding: padValue, which is -1`,
      );
      expectRefusal(
        () => loss(tf.oneHot(labels, K), x),
        "LABEL",
        `tfCtcLoss: yTrue[1][1] ${blank}, or padding: a row of zeros (tf.oneHot of -1)`,
      );
      expectRefusal(
        () => loss(padded(0), x),
        "LABEL",
        `tfCtcLoss: yTrue[1][1] ${blank}; arrays are ragged, not padded`,
      );
      expect(() => loss(labels, x, { targetLengths: [3, 2, 0, 2] })).toThrow(
        expect.objectContaining({ argument: "yTrue", message: `tfCtcLoss: yTrue[1][1] ${blank}` }),
      );
      x.dispose();
    });

    test("names its own arguments where ctcLoss refuses", () => {
      const x = tf.tensor3d(logits, [batch, T, K]);
      expectRefusal(
        () => tfCtcLoss(tf, { blank: 4 })(targets, x),
        "NUMBER",
        "tfCtcLoss: blank is 4, expected a class index in [0, 4)",
      );
      expectRefusal(
        () => tfCtcLoss(tf)(targets, x, { inputLengths: [9, 9, 9, 10] }),
        "LENGTH",
        "tfCtcLoss: inputLengths[3] is 10, expected a whole number in [0, 9]",
      );
      expectRefusal(() => tfCtcLoss(tf)([], tf.zeros([0, T, 0])), "SHAPE", "tfCtcLoss: yPred is of shape");
      x.dispose();
    });

    test("refuses lengths that it would pass over", () => {
      const x = tf.tensor3d(logits, [batch, T, K]);
      const loss = (lengths: unknown): unknown => tfCtcLoss(tf)(targets, x, lengths as object);
      expectRefusal(
        () => loss({ inputlengths: [1, 1, 1, 1] }),
        "UNKNOWN_OPTION",
        "tfCtcLoss: inputlengths is no option, expected one of inputLengths, targetLengths; did you mean inputLengths?",
      );
      const others: [unknown, string][] = [
        [[9, 9, 9, 9], "an array of 4"],
        [Int32Array.of(9, 9, 9, 9), "a Int32Array of 4"],
        [tf.tensor1d([9, 9, 9, 9]), "a tf.Tensor"],
        [new Map([["inputLengths", [9, 9, 9, 9]]]), "an object"],
        [9, "9"],
        [null, "null"],
      ];
      for (const [other, words] of others)
        expectRefusal(
          () => loss(other),
          "TYPE",
          `tfCtcLoss: lengths is ${words}, expected { inputLengths, targetLengths }`,
        );
      for (const none of [undefined, {}, { inputLengths: undefined }]) expect(() => loss(none)).not.toThrow();
      x.dispose();
    });

    test("model.fit, trainOnBatch and evaluate of a model of fixed T, with the loss as a metric", async () => {
      const x = tf.tensor3d(logits, [batch, T, K]);
      // such a model wants as many rows of labels as it has steps
      const rows = targets.map((labels) => Array.from({ length: T }, (_, t) => labels[t] ?? -1));
      const y = tf.oneHot(tf.tensor2d(rows, [batch, T], "int32"), K);
      const loss = tfCtcLoss(tf);
      const model = layers.sequential();
      model.add(layers.layers.dense({ units: K, inputShape: [T, K], kernelInitializer: "identity" }));
      model.compile({ optimizer: tf.train.sgd(0), loss, metrics: [loss] });
      const expected = [direct().value, direct().value];
      const fit = { epochs: 1, batchSize: batch, verbose: 0 } as const;
      const { history } = await model.fit(x, y, { ...fit, validationData: [x, y] });
      for (const values of Object.values(history))
        expectClose(values as number[], [expected[0] as number], 1e-5, "loss");
      expect(Object.keys(history)).toHaveLength(4);
      expectClose((await model.trainOnBatch(x, y)) as number[], expected, 1e-5, "trainOnBatch");
      const evaluated = model.evaluate(x, y, { batchSize: batch }) as tf.Scalar[];
      expectClose(
        evaluated.map((value) => value.dataSync()[0] as number),
        expected,
        1e-5,
        "evaluate",
      );
      model.dispose();
      tf.dispose([x, y, ...evaluated]);
    });

    test("learns in a loop of one's own, without a cast", () => {
      const x = tf.tensor3d(logits, [batch, T, K]);
      const model = layers.sequential();
      model.add(layers.layers.dense({ units: K, inputShape: [null, K], kernelInitializer: "identity" }));
      const inputLengths = [9, 7, 5, 3];
      const loss = tfCtcLoss(tf);
      const optimizer = tf.train.adam(0.1);
      const step = (): number => {
        const value = optimizer.minimize(
          () => loss(targets, model.apply(x) as tf.Tensor, { inputLengths }),
          true,
        );
        return (value as tf.Scalar).dataSync()[0] as number;
      };
      const first = step();
      expectClose([first], [direct({ inputLengths }).value], 1e-5, "loss");
      for (let i = 0; i < 5; i++) step();
      expect(step()).toBeLessThan(first);
      model.dispose();
      optimizer.dispose();
      x.dispose();
    });
  });

  test("no tensor is left behind", () => {
    const x = predictions();
    const y = oneHot();
    const logits = tf.tensor3d(numbers(2 * 6 * C, 5), [2, 6, C]);
    for (const reduction of ["mean", "none"] as const) {
      const loss = tfLoss(tf, crossEntropyLoss, { reduction });
      const ctc = tfCtcLoss(tf, { reduction });
      expect(leaked(() => loss(y, x).dispose())).toBe(0);
      expect(leaked(() => ctc([[1], [2]], logits).dispose())).toBe(0);
      expect(leaked(() => valueAndGrad((p) => tf.sum(loss(y, p)), x))).toBe(0);
      expect(leaked(() => valueAndGrad((p) => tf.sum(ctc([[1], [2]], p)), logits))).toBe(0);
      expect(
        leaked(() => expect(() => valueAndGrad((p) => tf.sum(loss([9, 0, 0, 0, 0, 0, 0], p)), x)).toThrow()),
      ).toBe(0);
      const variable = tf.variable(x);
      const optimizer = tf.train.sgd(0.1);
      const step = (): void =>
        optimizer.minimize(() => tf.sum(loss(y, variable)) as tf.Scalar, true)?.dispose();
      step();
      expect(leaked(step)).toBe(0);
      optimizer.dispose();
      variable.dispose();
    }
    tf.dispose([x, y, logits]);
  });

  test("second derivatives are refused instead of being zero", () => {
    const loss = tfLoss(tf, crossEntropyLoss);
    const twice = tf.grad((p) => tf.sum(tf.square(tf.grad((q) => loss(classes, q))(p))));
    expect(() => twice(predictions())).toThrow(
      "tfLoss: the gradient is differentiated again, expected first derivatives only",
    );
  });
});

test("a mean or a sum has the type of a scalar, single losses that of a tensor", () => {
  const model = layers.sequential();
  const optimizer = "sgd";
  const y = tf.tensor1d([1, 0], "int32");
  const x = tf.variable(tf.tensor2d([1, 2, 3, 4], [2, 2]));
  const scalars: tf.Scalar[] = [
    tfLoss(tf, crossEntropyLoss)(y, x),
    tfLoss(tf, crossEntropyLoss, { labelSmoothing: 0.1 })(y, x),
    tfLoss(tf, crossEntropyLoss, { reduction: "sum" })(y, x),
    tfLoss(tf, nllLoss, { oneHot: true })(tf.eye(2), x),
    tfLoss(tf, klDivLoss, { reduction: "batchmean" })(tf.ones([2, 2]), x),
    tfCtcLoss(tf)([[1]], tf.zeros([1, 2, 3])),
    tfCtcLoss(tf, { blank: 0 })([[1]], tf.zeros([1, 2, 3])),
    tfCtcLoss(tf, { reduction: "sum", blank: 1 })([[0]], tf.zeros([1, 2, 3])),
  ];
  expect(scalars.map(({ shape }) => shape)).toEqual(scalars.map(() => []));
  const { value, grads } = tf.variableGrads(() => tfLoss(tf, crossEntropyLoss)(y, x));
  expect([value.shape, grads[x.name]?.shape]).toEqual([[], [2, 2]]);

  const single = tfLoss(tf, crossEntropyLoss, { reduction: "none" });
  const singleCtc = tfCtcLoss(tf, { reduction: "none" });
  const tensors: tf.Tensor[] = [single(y, x), singleCtc([[1], [2]], tf.zeros([2, 2, 3]))];
  expect(tensors.map(({ shape }) => shape)).toEqual([[2], [2]]);
  // @ts-expect-error: no scalar
  expect(() => tf.variableGrads(() => single(y, x))).toThrow();
  // @ts-expect-error: no scalar
  const notScalar: tf.Scalar = singleCtc([[1]], tf.zeros([1, 2, 3]));
  // which it is, is not known here
  const either: tf.Tensor = tfLoss(tf, l1Loss, { reduction: "mean" as "mean" | "none" })(y, y);
  tf.dispose([...scalars, ...tensors, notScalar, either, value, grads]);

  // @ts-expect-error: no such reduction
  expect(() => tfLoss(tf, crossEntropyLoss, { reduction: "batchmean" })(y, x)).toThrow();
  // @ts-expect-error: no such reduction
  expect(() => tfCtcLoss(tf, { reduction: "batchmean" })).toThrow();
  // @ts-expect-error: no such option
  tfLoss(tf, crossEntropyLoss, { labelSmothing: 1 });

  model.add(layers.layers.dense({ units: 2, inputShape: [2] }));
  model.compile({ optimizer, loss: tfLoss(tf, crossEntropyLoss) });
  model.compile({ optimizer, loss: single });
  model.compile({ optimizer, loss: tfCtcLoss(tf) });
  model.compile({ optimizer, loss: tfCtcLoss(tf, { reduction: "none" }) });
  model.dispose();
  tf.dispose([x, y]);
});

test("taken for the loss itself, they say how it is made", () => {
  const tensors = [tf.zeros([1]), tf.zeros([1])] as const;
  const call = (f: unknown): unknown => (f as (...given: unknown[]) => unknown)(...tensors);
  const expected = 'tf is a tf.Tensor, expected TensorFlow.js: import * as tf from "@tensorflow/tfjs"';
  expectRefusal(() => call(tfCtcLoss), "TYPE", `tfCtcLoss: ${expected}; tfCtcLoss(tf) makes the loss`);
  expectRefusal(() => call(tfLoss), "TYPE", `tfLoss: ${expected}; tfLoss(tf, loss) makes the loss`);
  tf.dispose([...tensors]);
});

test("tfCtcLoss refuses its options before the first batch", () => {
  const refused: [object | null, string, string][] = [
    [{ reduction: "avg" }, "OPTION", 'reduction is "avg", expected "none" or "mean" or "sum"'],
    [{ blank: "0" }, "TYPE", 'blank is "0", expected a whole number from 0 on'],
    [{ blank: -1 }, "NUMBER", "blank is -1, expected a whole number from 0 on"],
    [{ zeroInfinity: 1 }, "TYPE", "zeroInfinity is 1, expected true or false"],
    [{ padValue: "0" }, "TYPE", 'padValue is "0", expected a number'],
    [
      { blnk: 1 },
      "UNKNOWN_OPTION",
      "blnk is no option, expected one of blank, padValue, zeroInfinity, reduction; did you mean blank?",
    ],
    [{ inputLengths: [1] }, "UNKNOWN_OPTION", "inputLengths is no option"],
    [null, "TYPE", "options is null, expected an object"],
  ];
  for (const [options, code, message] of refused)
    expectRefusal(() => tfCtcLoss(tf, options as object), code, `tfCtcLoss: ${message}`);
});

test("arguments that are something else", () => {
  const code = (code: string): unknown => expect.objectContaining({ code });
  expect(() => tfLoss({} as typeof tf, crossEntropyLoss)).toThrow(code("TYPE"));
  expect(() => tfLoss(tf, (() => 0) as unknown as typeof crossEntropyLoss)).toThrow(code("TYPE"));
  expect(() => tfLoss(tf, crossEntropyLoss, { upstream: 2 } as object)).toThrow(code("UNKNOWN_OPTION"));
  expect(() => tfLoss(tf, crossEntropyLoss)([0], [[1, 2]] as unknown as tf.Tensor)).toThrow(code("TYPE"));
  expect(() => tfLoss(tf, nllLoss, { oneHot: true })(tf.zeros([1, 2]), tf.zeros([1, 2]))).toThrow(
    code("LABEL"),
  );
  expect(() => tfLoss(tf, nllLoss, { oneHot: true })(tf.scalar(1), tf.zeros([1, 2]))).toThrow(code("TYPE"));
  // a misspelt option is refused by the loss itself
  expect(() => tfLoss(tf, crossEntropyLoss, { labelSmothing: 1 } as object)([0], tf.zeros([1, 2]))).toThrow(
    code("UNKNOWN_OPTION"),
  );
  expect(() => tfLoss(tf, crossEntropyLoss, { oneHot: 1 } as object)).toThrow(
    /oneHot is 1, expected true or false/,
  );
  expect(() => mseLoss(tf.zeros([2]) as unknown as number[], [0, 0])).toThrow(
    "mseLoss: input is a tf.Tensor, expected { data: await x.data(), shape: x.shape }, or the loss from perdida/tfjs",
  );
  // what is wrong with the shapes is said in the terms of the loss
  expect(() => tfLoss(tf, crossEntropyLoss)(tf.zeros([3, 1]), tf.zeros([2, 4]))).toThrow(code("SHAPE"));
});
