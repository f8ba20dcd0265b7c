/** Searching by image: what is nearest to a digit among all others, and how often that is the same digit. */
import { nearest } from "perdida";
import type { Digit } from "../digits/data.js";
import type { Matrix } from "./network.js";

/** What came back for one query: places of digits, the nearest first. */
export interface Answer {
  readonly query: number;
  readonly found: readonly number[];
}

/** How good a search is. */
export interface Precision {
  /** How many of the first hits show the digit that was searched. */
  readonly at1: number;
  /** How many of the first ten. */
  readonly at10: number;
}

/** Digits as rows of pixels. */
export function imagesOf(digits: readonly Digit[]): Matrix {
  const data = new Float32Array(digits.length * 64);
  digits.forEach(({ pixels }, i) => {
    data.set(pixels, i * 64);
  });
  return { data, shape: [digits.length, 64] };
}

/** Searches the ten nearest others of each vector. */
export function searchAll(vectors: Matrix): Answer[] {
  const [count] = vectors.shape;
  const k = 11;
  const { indices } = nearest(vectors, vectors, k);
  return Array.from({ length: count }, (_, query) => ({
    query,
    // a vector finds itself first, or one that is the same
    found: Array.from(indices.subarray(query * k, query * k + k))
      .filter((i) => i !== query)
      .slice(0, k - 1),
  }));
}

/** How many of what came back show the digit that was searched. */
export function precision(answers: readonly Answer[], digits: readonly Digit[]): Precision {
  const right = ({ query, found }: Answer, first: number): number =>
    found.slice(0, first).filter((i) => digits[i]?.label === digits[query]?.label).length / first;
  const mean = (first: number): number =>
    answers.reduce((sum, answer) => sum + right(answer, first), 0) / answers.length;
  return { at1: mean(1), at10: mean(10) };
}
