/** The network: it looks at a string through a window of a few columns and says, at each place, which digit it sees there, if any. */
import * as tf from "@tensorflow/tfjs-core";
import { Dense } from "../support/tensorflow.js";
import { CLASSES, type DigitString, HEIGHT } from "./data.js";

/** Columns that are seen at once, the place itself in their middle. */
const WINDOW = 11;
/** Numbers per layer: from the window's pixels to the logits. */
const UNITS = [WINDOW * HEIGHT, 256, 128, CLASSES];

/** Strings as the network takes them: a window per column, and how many columns there are of each string. */
export interface Batch {
  readonly windows: tf.Tensor3D;
  readonly inputLengths: number[];
}

/** Cuts strings into windows, [N, T, WINDOW * HEIGHT]; strings shorter than the longest are filled up with paper. */
export function cut(strings: readonly DigitString[]): Batch {
  const inputLengths = strings.map(({ columns }) => columns);
  const steps = Math.max(...inputLengths);
  const size = WINDOW * HEIGHT;
  const values = new Float32Array(strings.length * steps * size);
  strings.forEach(({ columns, pixels }, n) => {
    for (let t = 0; t < columns; t++) {
      const first = t - (WINDOW - 1) / 2;
      const seen = pixels.subarray(Math.max(0, first) * HEIGHT, (first + WINDOW) * HEIGHT);
      values.set(seen, (n * steps + t) * size + Math.max(0, -first) * HEIGHT);
    }
  });
  return { windows: tf.tensor3d(values, [strings.length, steps, size]), inputLengths };
}

/** Dense layers over each window. */
export class Network {
  readonly #layers: Dense;

  constructor(seed: number) {
    this.#layers = new Dense(UNITS, seed);
  }

  get variables(): tf.Variable[] {
    return this.#layers.variables;
  }

  /** The logits, [N, T, classes]. */
  logits(windows: tf.Tensor3D): tf.Tensor3D {
    return this.#layers.apply(windows);
  }
}
