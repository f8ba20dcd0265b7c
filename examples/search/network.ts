/** A small network written by hand: dense layers with ReLU between them, a sphere at the end, and Adam. It turns an image into an embedding. */
import { randomLcg, randomNormal } from "d3-random";

/** Numbers per layer: from the pixels of a digit to its embedding. */
export const UNITS = [64, 192, 96, 16] as const;
const LAYERS = UNITS.length - 1;

/** Rows of numbers. */
export interface Matrix {
  readonly data: Float32Array;
  readonly shape: [rows: number, columns: number];
}

/** One layer: its weights [from, to], then its biases, and what Adam remembers of their gradients. */
interface Layer {
  readonly from: number;
  readonly to: number;
  readonly values: Float32Array;
  readonly gradient: Float32Array;
  readonly mean: Float32Array;
  readonly square: Float32Array;
}

export class Network {
  readonly #layers: readonly Layer[];
  /** What each layer was given, kept for the way back. */
  #inputs: Float32Array[] = [];
  /** What came out last, of length 1, and the lengths before. */
  #units = new Float32Array(0);
  #norms = new Float32Array(0);
  #steps = 0;

  constructor(seed: number) {
    const source = randomNormal.source(randomLcg(seed));
    this.#layers = Array.from({ length: LAYERS }, (_, i) => {
      const [from, to] = [UNITS[i] as number, UNITS[i + 1] as number];
      const size = (from + 1) * to;
      // He et al. 2015: the variance that keeps the scale through ReLUs
      const draw = source(0, Math.sqrt(2 / from));
      const values = Float32Array.from({ length: size }, (_, k) => (k < from * to ? draw() : 0));
      const [gradient, mean, square] = [1, 2, 3].map(() => new Float32Array(size)) as [
        Float32Array,
        Float32Array,
        Float32Array,
      ];
      return { from, to, values, gradient, mean, square };
    });
  }

  /** The embeddings of images, of length 1: so the loss can only turn them apart, not shrink them all to one point. */
  embed(images: Matrix): Matrix {
    const rows = images.shape[0];
    let x = images.data;
    this.#inputs = [];
    this.#layers.forEach(({ from, to, values }, layer) => {
      this.#inputs.push(x);
      const y = new Float32Array(rows * to);
      for (let row = 0; row < rows; row++) {
        const out = y.subarray(row * to, row * to + to);
        out.set(values.subarray(from * to));
        for (let k = 0; k < from; k++) {
          const input = x[row * from + k] as number;
          // paper, and what a ReLU has cut off
          if (input === 0) continue;
          const first = k * to;
          for (let j = 0; j < to; j++) out[j] = (out[j] as number) + input * (values[first + j] as number);
        }
        if (layer < LAYERS - 1) for (let j = 0; j < to; j++) if ((out[j] as number) < 0) out[j] = 0;
      }
      x = y;
    });
    const size = UNITS[LAYERS] as number;
    this.#norms = new Float32Array(rows);
    this.#units = new Float32Array(x.length);
    for (let row = 0; row < rows; row++) {
      const norm = Math.hypot(...x.subarray(row * size, row * size + size)) || 1;
      this.#norms[row] = norm;
      for (let j = row * size; j < row * size + size; j++) this.#units[j] = (x[j] as number) / norm;
    }
    return { data: this.#units, shape: [rows, size] };
  }

  /** Takes one step of Adam against the gradient with respect to the embeddings that {@link embed} gave last. */
  step(gradient: Float32Array, rate: number): void {
    let up = this.#throughNorm(gradient);
    for (let layer = LAYERS - 1; layer >= 0; layer--) {
      const { from, to, values, gradient: sum } = this.#layers[layer] as Layer;
      const x = this.#inputs[layer] as Float32Array;
      const down = new Float32Array(x.length);
      sum.fill(0);
      for (let row = 0; row * to < up.length; row++) {
        const g = up.subarray(row * to, row * to + to);
        for (let j = 0; j < to; j++) sum[from * to + j] = (sum[from * to + j] as number) + (g[j] as number);
        for (let k = 0; k < from; k++) {
          const input = x[row * from + k] as number;
          // where a ReLU has cut the input off nothing flows back either
          if (input === 0) continue;
          const first = k * to;
          let back = 0;
          for (let j = 0; j < to; j++) {
            const gj = g[j] as number;
            back += gj * (values[first + j] as number);
            sum[first + j] = (sum[first + j] as number) + input * gj;
          }
          down[row * from + k] = back;
        }
      }
      up = down;
    }
    this.#steps += 1;
    for (const one of this.#layers) adam(one, this.#steps, rate);
  }

  /** The gradient before the embeddings were brought to length 1: what is along them is lost. */
  #throughNorm(gradient: Float32Array): Float32Array {
    const size = UNITS[LAYERS] as number;
    const result = new Float32Array(gradient.length);
    this.#norms.forEach((norm, row) => {
      let along = 0;
      for (let j = row * size; j < row * size + size; j++)
        along += (gradient[j] as number) * (this.#units[j] as number);
      for (let j = row * size; j < row * size + size; j++)
        result[j] = ((gradient[j] as number) - along * (this.#units[j] as number)) / norm;
    });
    return result;
  }
}

/** Kingma and Ba 2015. */
function adam({ values, gradient, mean, square }: Layer, step: number, rate: number): void {
  const [first, second] = [0.9, 0.999];
  const scale = (rate * Math.sqrt(1 - second ** step)) / (1 - first ** step);
  for (let i = 0; i < values.length; i++) {
    const g = gradient[i] as number;
    const m = first * (mean[i] as number) + (1 - first) * g;
    const v = second * (square[i] as number) + (1 - second) * g * g;
    mean[i] = m;
    square[i] = v;
    values[i] = (values[i] as number) - (scale * m) / (Math.sqrt(v) + 1e-8);
  }
}
