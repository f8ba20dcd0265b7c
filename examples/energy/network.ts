/** The models: two small networks, G1 of the question and G2 of the answer, and the energy of a pair, |G1(x) - G2(y)|^2. */
import { randomNormal } from "d3-random";

/** Random numbers in [0, 1). */
export type Source = () => number;

/** Rows of numbers. */
export interface Rows {
  readonly data: Float64Array;
  readonly rows: number;
}

interface Layer {
  readonly from: number;
  readonly to: number;
  /** A row of `to` weights for each input, then the biases. */
  readonly weights: Float64Array;
  readonly grad: Float64Array;
}

/** Dense layers with tanh between them. */
export class Network {
  readonly #layers: Layer[] = [];
  /** What each layer was given at the last call. */
  #inputs: Float64Array[] = [];

  constructor(sizes: readonly number[], random: Source, gain = 1) {
    const normal = randomNormal.source(random)();
    for (let i = 1; i < sizes.length; i++) {
      const [from, to] = [sizes[i - 1] as number, sizes[i] as number];
      const length = (from + 1) * to;
      const spread = gain / Math.sqrt(from);
      const weights = Float64Array.from({ length }, (_, k) =>
        i === 1 || k < from * to ? spread * normal() : 0,
      );
      this.#layers.push({ from, to, weights, grad: new Float64Array(length) });
    }
  }

  /** All weights, and their gradients, layer by layer. */
  get parameters(): readonly { weights: Float64Array; grad: Float64Array }[] {
    return this.#layers;
  }

  run({ data, rows }: Rows): Float64Array {
    let input = data;
    this.#inputs = [];
    this.#layers.forEach(({ from, to, weights }, i) => {
      this.#inputs.push(input);
      const output = new Float64Array(rows * to);
      for (let n = 0; n < rows; n++) {
        const row = output.subarray(n * to, (n + 1) * to);
        row.set(weights.subarray(from * to));
        for (let j = 0; j < from; j++) {
          const x = input[n * from + j] as number;
          if (x === 0) continue;
          for (let k = 0; k < to; k++) row[k] = (row[k] as number) + x * (weights[j * to + k] as number);
        }
      }
      input = i < this.#layers.length - 1 ? output.map(Math.tanh) : output;
    });
    return input;
  }

  /** From the gradient in the last call's output to that in the weights. */
  backward(gradient: Float64Array, rows: number): void {
    let above = gradient;
    for (let i = this.#layers.length - 1; i >= 0; i--) {
      const { from, to, weights, grad } = this.#layers[i] as Layer;
      const input = this.#inputs[i] as Float64Array;
      const below = new Float64Array(rows * from);
      grad.fill(0);
      for (let n = 0; n < rows; n++) {
        for (let j = 0; j < from; j++) {
          const x = input[n * from + j] as number;
          let sum = 0;
          for (let k = 0; k < to; k++) {
            const g = above[n * to + k] as number;
            grad[j * to + k] = (grad[j * to + k] as number) + x * g;
            sum += g * (weights[j * to + k] as number);
          }
          // the slope of tanh, from its value
          below[n * from + j] = sum * (1 - x * x);
        }
        for (let k = 0; k < to; k++) {
          grad[from * to + k] = (grad[from * to + k] as number) + (above[n * to + k] as number);
        }
      }
      above = below;
    }
  }
}

/** The energies of all pairs of questions and answers. */
export class EnergyModel {
  #g1: Float64Array = new Float64Array(0);
  #g2: Float64Array = new Float64Array(0);
  readonly #moments: { m: Float64Array; v: Float64Array }[];
  #steps = 0;

  constructor(
    readonly question: Network,
    readonly answer: Network,
    /** How many numbers G1 and G2 give. */
    readonly size: number,
  ) {
    this.#moments = this.#parameters.map(({ weights }) => ({
      m: new Float64Array(weights.length),
      v: new Float64Array(weights.length),
    }));
  }

  get #parameters() {
    return [...this.question.parameters, ...this.answer.parameters];
  }

  /** [questions, answers]: a row of energies for each question. */
  energies(questions: Rows, answers: Rows): { data: Float64Array; shape: [number, number] } {
    this.#g1 = this.question.run(questions);
    this.#g2 = this.answer.run(answers);
    const [n, k, size] = [questions.rows, answers.rows, this.size];
    const data = new Float64Array(n * k);
    for (let i = 0; i < data.length; i++) {
      const [a, b] = [Math.floor(i / k) * size, (i % k) * size];
      for (let d = 0; d < size; d++) {
        const away = (this.#g1[a + d] as number) - (this.#g2[b + d] as number);
        data[i] = (data[i] as number) + away * away;
      }
    }
    return { data, shape: [n, k] };
  }

  /** One step of Adam against a gradient in the last call's energies, and that of the regulariser, decay / 2 |W|². */
  learn(gradient: ArrayLike<number>, questions: number, answers: number, rate: number, decay = 0): void {
    const { size } = this;
    const [grad1, grad2] = [new Float64Array(questions * size), new Float64Array(answers * size)];
    for (let i = 0; i < questions * answers; i++) {
      const g = 2 * (gradient[i] as number);
      if (g === 0) continue;
      const [a, b] = [Math.floor(i / answers) * size, (i % answers) * size];
      for (let d = 0; d < size; d++) {
        const slope = g * ((this.#g1[a + d] as number) - (this.#g2[b + d] as number));
        grad1[a + d] = (grad1[a + d] as number) + slope;
        grad2[b + d] = (grad2[b + d] as number) - slope;
      }
    }
    this.question.backward(grad1, questions);
    this.answer.backward(grad2, answers);
    this.#adam(rate, decay);
  }

  /** Kingma and Ba 2015, with their constants; the regulariser's slope goes past the moments (Loshchilov and Hutter 2019). */
  #adam(rate: number, decay: number): void {
    this.#steps += 1;
    const [c1, c2] = [1 - 0.9 ** this.#steps, 1 - 0.999 ** this.#steps];
    this.#parameters.forEach(({ weights, grad }, p) => {
      const { m, v } = this.#moments[p] as { m: Float64Array; v: Float64Array };
      for (let i = 0; i < weights.length; i++) {
        const g = grad[i] as number;
        m[i] = 0.9 * (m[i] as number) + 0.1 * g;
        v[i] = 0.999 * (v[i] as number) + 0.001 * g * g;
        const step = (m[i] as number) / c1 / (Math.sqrt((v[i] as number) / c2) + 1e-8);
        weights[i] = (weights[i] as number) * (1 - rate * decay) - rate * step;
      }
    });
  }
}
