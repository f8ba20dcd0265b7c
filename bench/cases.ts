/**
 * What is measured: a call of the library, the numbers that go in, and what even a perfect program would have to do for it.
 * A case names a public function and knows nothing of who computes it, so that all engines (engines.ts) get the same one.
 */
import { randomLcg, randomNormal } from "d3-random";
import type { Family } from "../ts/registry.js";

/** An array that goes in. */
export interface CaseInput {
  readonly name: string;
  readonly data: Float32Array | Int32Array;
  readonly shape: readonly number[];
}

/** A call of a public function. */
export interface Case {
  readonly family: Family;
  /** The function: `ctcLoss`. */
  readonly name: string;
  readonly entry: "perdida" | "perdida/energy";
  /** What tells two cases of one function apart: `512x128`, `T=100 N=32 C=32 S=20`. */
  readonly shape: string;
  /** The lengths by which rivals know the case. */
  readonly dims: Readonly<Record<string, number>>;
  /** What stands between the inputs and the options. */
  readonly rest?: readonly unknown[];
  /** The options of the call, beside `out`. */
  readonly options: Readonly<Record<string, unknown>>;
  /** The inputs with a gradient: the call is `valueAndGrad`. None: the value alone is asked for. */
  readonly grads: readonly string[];
  /** The shape of the value, where that is an array and may be written in place. */
  readonly value?: readonly number[];
  /** The arrays, the same ones in every run. Drawn when asked for: they are up to 60 MB. */
  readonly inputs: () => readonly CaseInput[];
  /** What must be read and written at least once. */
  readonly bytes: number;
  /** How many additions and multiplications it takes, roughly; an exp or a log counts {@link EXP}. */
  readonly flops: number;
}

/** The name of a case in tables and in the history. */
export const idOf = ({ name, shape }: Case): string => `${name} ${shape}`;

/** Range reduction and a polynomial of degree 6. */
export const EXP = 16;

/** The bytes of so many numbers in single precision. */
export const floats = (count: number): number => 4 * count;

/** Numbers that are the same in every run. */
export class Numbers {
  readonly #random: () => number;

  constructor(seed = 1) {
    this.#random = randomLcg(seed / 2 ** 20);
  }

  /** From a normal distribution around 0. */
  normal(name: string, shape: readonly number[], deviation = 1): CaseInput {
    return this.#fill(name, shape, randomNormal.source(this.#random)(0, deviation));
  }

  /** Evenly spread in [least, most). */
  uniform(name: string, shape: readonly number[], least = 0, most = 1): CaseInput {
    return this.#fill(name, shape, () => least + (most - least) * this.#random());
  }

  /** 1 and -1. */
  signs(name: string, shape: readonly number[]): CaseInput {
    return this.#fill(name, shape, () => (this.#random() < 0.5 ? -1 : 1));
  }

  /** Whole numbers in [least, most). */
  integers(name: string, shape: readonly number[], least: number, most: number): CaseInput {
    const data = new Int32Array(sizeOf(shape));
    for (let i = 0; i < data.length; i++) data[i] = least + Math.floor((most - least) * this.#random());
    return { name, data, shape };
  }

  /** The logarithms of probabilities, over the last axis. */
  logProbabilities(name: string, shape: readonly number[]): CaseInput {
    const input = this.normal(name, shape);
    eachRow(input, (row) => {
      const sum = Math.log(row.reduce((all, x) => all + Math.exp(x), 0));
      for (let i = 0; i < row.length; i++) row[i] = (row[i] as number) - sum;
    });
    return input;
  }

  /** Probabilities, over the last axis. */
  probabilities(name: string, shape: readonly number[]): CaseInput {
    const input = this.uniform(name, shape);
    eachRow(input, (row) => {
      const sum = row.reduce((all, x) => all + x, 0);
      for (let i = 0; i < row.length; i++) row[i] = (row[i] as number) / sum;
    });
    return input;
  }

  #fill(name: string, shape: readonly number[], draw: () => number): CaseInput {
    const data = new Float32Array(sizeOf(shape));
    for (let i = 0; i < data.length; i++) data[i] = draw();
    return { name, data, shape };
  }
}

function eachRow({ data, shape }: CaseInput, work: (row: Float32Array) => void): void {
  const columns = shape.at(-1) as number;
  for (let first = 0; first < data.length; first += columns)
    work((data as Float32Array).subarray(first, first + columns));
}

/** How many numbers an array of this shape has. */
export const sizeOf = (shape: readonly number[]): number => shape.reduce((size, length) => size * length, 1);
