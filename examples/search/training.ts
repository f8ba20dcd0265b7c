/** The training: batches of a few images of each digit, and the batch-hard triplet loss of their embeddings. */
import { randomInt } from "d3-random";
import { batchHardTripletLoss } from "perdida";
import { bender, type Digit, type Source } from "../digits/data.js";
import type { Network } from "./network.js";
import { imagesOf } from "./search.js";

/** Images of each digit in a batch. With many more every anchor meets an outlier, and the embedding shrinks to a point before it spreads. */
const EACH = 3;
/** How much farther another digit must be than the same one. */
export const MARGIN = 0.3;

/** What one step came to. */
export interface Step {
  readonly loss: number;
  /** How many of the batch's anchors are not yet nearer to all of their kind than to any other, by the margin. */
  readonly active: number;
  readonly anchors: number;
  readonly milliseconds: { readonly loss: number; readonly rest: number };
}

/** Trains step by step. */
export function* train(
  network: Network,
  digits: readonly Digit[],
  random: Source,
  steps: number,
): Generator<Step> {
  const kinds = Array.from({ length: 10 }, (_, label) => digits.filter((digit) => digit.label === label));
  const picks = kinds.map((kind) => randomInt.source(random)(0, kind.length));
  const bend = bender(random);
  const anchors = kinds.length * EACH;
  const labels = Int32Array.from({ length: anchors }, (_, i) => Math.floor(i / EACH));
  for (let step = 0; step < steps; step++) {
    const start = performance.now();
    const batch = Array.from(labels, (label) =>
      bend((kinds[label] as Digit[])[picks[label]?.() ?? 0] as Digit),
    );
    const embeddings = network.embed(imagesOf(batch));
    const before = performance.now();
    const { value, grads, active } = batchHardTripletLoss.valueAndGrad(embeddings, labels, {
      margin: MARGIN,
    });
    const after = performance.now();
    // the rate falls along a half cosine
    network.step(
      grads.embeddings.data as Float32Array,
      0.003 * 0.5 * (1 + Math.cos((Math.PI * step) / steps)),
    );
    const loss = after - before;
    yield { loss: value, active, anchors, milliseconds: { loss, rest: performance.now() - start - loss } };
  }
}
