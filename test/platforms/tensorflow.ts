/** TensorFlow.js on the graphics processor: models that learn by perdida/tfjs, and gradients that come back with the same bits. */
import { bundled } from "./bundlers.js";
import type { Platform, Result } from "./platform.js";
import { browser, versionOf } from "./workshop.js";

const IMPORTS = `
import * as tf from "@tensorflow/tfjs-core";
import { layers, sequential } from "@tensorflow/tfjs-layers";
import "@tensorflow/tfjs-backend-webgl";
import { tfCtcLoss, tfLoss } from "perdida/tfjs";
`;

/** Throws where something is wrong; the program then goes on as on all platforms. */
const CHECKS = `
const { crossEntropyLoss, ctcLoss } = perdida;
const check = (holds, what) => {
  if (!holds) throw new Error(what);
};
const numbers = (length, seed) => Float32Array.from({ length }, (_, i) => 2 * Math.sin(12.9898 * (i + 1) + 78.233 * seed));

check(await tf.setBackend("webgl"), "there is no webgl");
await tf.ready();

// the numbers come from the graphics processor, and the gradients go back to it
const same = async (name, loss, target, x, own) => {
  const onGpu = tf.mul(tf.tensor(x.data, x.shape), 1);
  const { value, grad } = tf.valueAndGrad((p) => loss(target, p))(onGpu);
  const [values, slopes] = [await value.data(), await tf.mul(grad, 1).data()];
  const { grads, value: expected } = own(x);
  check(values[0] === Math.fround(expected), name + ": " + values[0] + ", expected " + expected);
  const [gradient] = Object.values(grads);
  slopes.forEach((slope, i) => check(slope === gradient.data[i], name + ": another gradient at " + i));
};
const targets = [[1, 2], [3, 3, 1]];
const steps = { data: numbers(2 * 9 * 5, 1), shape: [2, 9, 5] };
await same("tfCtcLoss", tfCtcLoss(tf), targets, steps, (x) => ctcLoss.valueAndGrad(x, targets));
const classes = new Int32Array([0, 4, 2, 2, 1, 3, 0]);
const rows = { data: numbers(7 * 5, 2), shape: [7, 5] };
const indices = tf.tensor1d(classes, "int32");
await same("tfLoss", tfLoss(tf, crossEntropyLoss), indices, rows, (x) => crossEntropyLoss.valueAndGrad(x, classes));

// two symbols in each sequence of twelve steps, by model.fit
const words = Array.from({ length: 9 }, (_, n) => [1 + (n % 3), 1 + Math.floor(n / 3)]);
const shown = ([a, b]) =>
  Array.from({ length: 12 }, (_, t) => [1, 2, 3].map((c) => Number(c === (t < 6 ? a : b) && t % 6 > 1)));
const model = sequential();
model.add(layers.dense({ units: 16, activation: "relu", inputShape: [null, 3] }));
model.add(layers.dense({ units: 4 }));
model.compile({ optimizer: tf.train.adam(0.05), loss: tfCtcLoss(tf) });
const [x, y] = [tf.tensor3d(words.map(shown)), tf.oneHot(tf.tensor2d(words, [9, 2], "int32"), 4)];
const { history } = await model.fit(x, y, { epochs: 60, batchSize: 9, verbose: 0 });
const [first, last] = [history.loss[0], history.loss.at(-1)];
check(last < first / 10, "model.fit went from " + first + " to " + last);

// a loop of one's own, which leaves no tensors behind
const w = tf.variable(tf.tensor2d(numbers(12, 3), [4, 3]));
const [features, labels] = [tf.tensor2d(numbers(32, 5), [8, 4]), tf.tensor1d([0, 1, 2, 0, 1, 2, 0, 1], "int32")];
const [optimizer, loss] = [tf.train.sgd(0.5), tfLoss(tf, crossEntropyLoss)];
const step = async () => {
  const value = optimizer.minimize(() => loss(labels, tf.matMul(features, w)), true);
  const [number] = await value.data();
  value.dispose();
  return number;
};
const before = await step();
const { numTensors } = tf.memory();
let after = before;
for (let n = 0; n < 40; n++) after = await step();
check(after < before / 1.5, "the loop went from " + before + " to " + after);
check(tf.memory().numTensors === numTensors, "tensors were left behind");
`;

const BROWSERS = [
  ["chromium", "Chromium"],
  ["firefox-shown", "Firefox"],
  ["webkit", "WebKitGTK"],
] as const;

export const tensorflow: Platform = {
  name: "TensorFlow.js",
  word: "tensorflow",
  async run() {
    const version = versionOf("@tensorflow/tfjs-core");
    const results: Result[] = [];
    for (const [name, title] of BROWSERS) {
      const shown = await browser(name);
      const wanted = { from: "perdida", imports: IMPORTS, before: CHECKS };
      const result = await bundled(`tensorflow-${name}`, wanted, shown);
      results.push({ ...result, way: `webgl, ${title} ${shown.version}`, version });
    }
    return results;
  },
};
