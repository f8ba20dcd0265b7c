/** Training: strings in, CTC loss, gradients, one step of Adam; and the time that each part of it takes. */
import * as tf from "@tensorflow/tfjs-core";
import { tfCtcLoss } from "perdida/tfjs";
import { Average, learningRate } from "../support/tensorflow.js";
import { CLASSES, type DigitString } from "./data.js";
import { cut, type Network } from "./network.js";
import { decode, errorsOf, labelErrorRate } from "./reading.js";

/** Strings per step. */
const BATCH = 32;
const LEARNING_RATE = 4e-3;

/** One step: what it found, and the milliseconds it took. */
export interface Step {
  readonly loss: number;
  /** Of its own strings, before it learnt from them. */
  readonly labelErrorRate: number;
  readonly milliseconds: { readonly loss: number; readonly rest: number };
}

/** Trains a network; each step is taken when it is asked for. At the end the network holds the running mean of its weights. */
export function* train(network: Network, next: () => DigitString, steps: number): Generator<Step> {
  const ctcLoss = tfCtcLoss(tf);
  const adam = tf.train.adam(LEARNING_RATE);
  const average = new Average(network);
  for (let step = 0; step < steps; step++) {
    const begin = performance.now();
    let inLoss = 0;
    // tf's types keep it to themselves
    (adam as unknown as { learningRate: number }).learningRate = learningRate(LEARNING_RATE, step, steps);
    const strings = Array.from({ length: BATCH }, next);
    // class 0 is the blank
    const labels = strings.map((string) => string.labels.map((label) => label + 1));
    const { windows, inputLengths } = cut(strings);
    let readings: { errors: number; string: DigitString }[] = [];
    const value = adam.minimize(
      () => {
        const logits = network.logits(windows);
        readings = readingsOf(strings, logits);
        const before = performance.now();
        const loss = ctcLoss(labels, logits, { inputLengths });
        inLoss = performance.now() - before;
        return loss;
      },
      true,
      network.variables,
    ) as tf.Scalar;
    average.update();
    const loss = value.dataSync()[0] as number;
    tf.dispose([windows, value]);
    const whole = performance.now() - begin;
    yield {
      loss,
      labelErrorRate: labelErrorRate(readings),
      milliseconds: { loss: inLoss, rest: whole - inLoss },
    };
  }
  average.apply();
}

function readingsOf(
  strings: readonly DigitString[],
  logits: tf.Tensor3D,
): { errors: number; string: DigitString }[] {
  const scores = logits.dataSync();
  const steps = logits.shape[1];
  return strings.map((string, n) => {
    return { errors: errorsOf(decode(scores, n * steps * CLASSES, string.columns), string), string };
  });
}
