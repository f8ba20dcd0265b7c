/** Reading: from the network's output to labels, and how many of them are wrong. */
import * as tf from "@tensorflow/tfjs-core";
import { softmax, tensor } from "perdida";
import { editDistance } from "../support/distance.js";
import { CLASSES, type DigitString } from "./data.js";
import { cut, type Network } from "./network.js";

/** A string as the network read it. */
export interface Reading {
  readonly string: DigitString;
  readonly found: readonly Found[];
  /** The edit distance to what the string says. */
  readonly errors: number;
  /** The probability of each class at each column, column by column; class 0 is the blank. */
  readonly probabilities: Float32Array;
}

/** A label, and the column where the network first names it. */
export interface Found {
  readonly label: number;
  readonly column: number;
}

/** The best class of each column, repetitions and blanks left out: greedy decoding. */
export function decode(scores: ArrayLike<number>, start: number, columns: number): Found[] {
  const found: Found[] = [];
  let last = 0;
  for (let column = 0; column < columns; column++) {
    const at = start + column * CLASSES;
    let best = 0;
    for (let c = 1; c < CLASSES; c++)
      if ((scores[at + c] as number) > (scores[at + best] as number)) best = c;
    if (best !== 0 && best !== last) found.push({ label: best - 1, column });
    last = best;
  }
  return found;
}

/** How far what was found is from what a string says. */
export function errorsOf(found: readonly Found[], string: DigitString): number {
  return editDistance(
    found.map(({ label }) => label),
    string.labels,
  );
}

/** Errors over labels. */
export function labelErrorRate(readings: readonly { errors: number; string: DigitString }[]): number {
  let errors = 0;
  let labels = 0;
  for (const reading of readings) {
    errors += reading.errors;
    labels += reading.string.labels.length;
  }
  return errors / labels;
}

/** Reads strings. */
export function read(network: Network, strings: readonly DigitString[]): Reading[] {
  const [logits, steps] = tf.tidy(() => {
    const output = network.logits(cut(strings).windows);
    return [output.dataSync() as Float32Array, output.shape[1]];
  });
  return strings.map((string, n) => {
    const start = n * steps * CLASSES;
    const found = decode(logits, start, string.columns);
    const scores = logits.slice(start, start + string.columns * CLASSES);
    const probabilities = softmax(tensor(scores, [string.columns, CLASSES])).data as Float32Array;
    return { string, found, errors: errorsOf(found, string), probabilities };
  });
}
