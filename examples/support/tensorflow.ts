/** Small networks in TensorFlow.js: the wasm backend, dense layers, a running mean of their weights. */
import * as tf from "@tensorflow/tfjs-core";
import "@tensorflow/tfjs-backend-wasm";
// the gradients of tf's operations come with it
import "@tensorflow/tfjs-layers";

/** Makes the wasm backend answer. */
export async function startTensorFlow(): Promise<void> {
  const events = ["uncaughtException", "unhandledRejection"] as const;
  const before = events.map((event) => process.listeners(event as "uncaughtException"));
  await tf.setBackend("wasm");
  await tf.ready();
  // its glue puts its whole source on the screen when something is thrown
  events.forEach((event, i) => {
    for (const listener of process.listeners(event as "uncaughtException")) {
      if (!before[i]?.includes(listener)) process.removeListener(event, listener);
    }
  });
}

/**
 * The product of two matrices. Its gradient transposes before it multiplies: tf's own asks the kernel to do that, and then the
 * wasm backend takes a slow path (measured: a training step as a whole in a quarter of the time).
 */
const matMul = tf.customGrad((...inputs) => {
  const [a, b, save] = inputs as [tf.Tensor2D, tf.Tensor2D, (tensors: tf.Tensor[]) => void];
  save([a, b]);
  return {
    value: tf.matMul(a, b),
    gradFunc: (dy, [x, w]) => [
      tf.matMul(dy as tf.Tensor2D, tf.transpose(w as tf.Tensor2D)),
      tf.matMul(tf.transpose(x as tf.Tensor2D), dy as tf.Tensor2D),
    ],
  };
});

/** Dense layers, ReLU between them. */
export class Dense {
  readonly variables: tf.Variable[] = [];

  /** `units`: how many numbers go in, stand between the layers, and come out. */
  constructor(
    private readonly units: readonly number[],
    seed: number,
  ) {
    for (let i = 1; i < units.length; i++) {
      const [from, to] = [units[i - 1] as number, units[i] as number];
      // He et al. 2015: the variance that keeps the scale through ReLUs
      const weights = tf.randomNormal([from, to], 0, Math.sqrt(2 / from), "float32", 1000 * seed + i);
      this.variables.push(tf.variable(weights), tf.variable(tf.zeros([to])));
      weights.dispose();
    }
  }

  /** [N, T, numbers in] -> [N, T, numbers out]. */
  apply(input: tf.Tensor3D): tf.Tensor3D {
    const [n, t, size] = input.shape;
    let x: tf.Tensor = tf.reshape(input, [n * t, size]);
    for (let i = 0; i < this.variables.length; i += 2) {
      if (i > 0) x = tf.relu(x);
      x = tf.add(matMul(x, this.variables[i] as tf.Tensor), this.variables[i + 1] as tf.Tensor);
    }
    return tf.reshape(x, [n, t, this.units[this.units.length - 1] as number]);
  }
}

/** A running mean of the weights, which reads better than the weights of any one step (Polyak and Juditsky 1992). */
export class Average {
  readonly #mean: tf.Variable[];

  constructor(
    private readonly network: { readonly variables: readonly tf.Variable[] },
    private readonly decay = 0.99,
  ) {
    this.#mean = network.variables.map((weights) => tf.variable(weights, false));
  }

  update(): void {
    this.network.variables.forEach((weights, i) => {
      const mean = this.#mean[i] as tf.Variable;
      tf.tidy(() => mean.assign(tf.add(tf.mul(mean, this.decay), tf.mul(weights, 1 - this.decay))));
    });
  }

  /** Gives the network the mean for its weights. */
  apply(): void {
    this.network.variables.forEach((weights, i) => {
      weights.assign(this.#mean[i] as tf.Variable);
    });
  }
}

/** Up quickly, level, and down along a cosine, so that the last steps are small. */
export function learningRate(most: number, step: number, steps: number): number {
  const warm = Math.min(1, (step + 1) / 50);
  const done = Math.max(0, (step / steps - 0.3) / 0.7);
  return most * warm * (0.01 + 0.99 * 0.5 * (1 + Math.cos(Math.PI * done)));
}
