/** Triplets that are found in a batch of embeddings with labels. */
import { type Call, define } from "../../define.js";
import { flag, number } from "../../options.js";
import { MINING, batchTriplet as reference } from "../../reference/vectors/mining.js";
import type { Input, Loss, ValueAndGrad } from "../../types.js";
import { many, type Plan, readClasses, readSets } from "./many.js";

/** A batch with labels: [N, D] and [N]. */
export function planBatch(call: Call, parameters: readonly number[]): Plan {
  const sets = readSets(call);
  const { rows } = sets;
  const labels = readClasses(call, rows);
  call.lossShape = [rows];
  const mean = call.reduction === "mean" ? 1 : 0;
  return Object.assign(sets, { labels, parameters: [...parameters, mean], stats: new Float64Array(2) });
}

/** A mean divides by the losses that count, which only the kernel knows. */
export function finishBatch(call: Call, plan: Plan): void {
  const [counted, active] = plan.stats as Float64Array;
  if (call.reduction === "mean") call.divisor = counted as number;
  call.extras = { active };
}

/** Options of {@link batchHardTripletLoss}, {@link batchSemiHardTripletLoss} and {@link batchAllTripletLoss}. */
export interface BatchTripletOptions {
  /** How much farther than the positive the negative must be; from 0 on. Default 1. */
  margin?: number | undefined;
  /** Whether squared distances are compared. Default false. */
  squared?: boolean | undefined;
  /** log(1 + exp(d(a, p) - d(a, n))) in place of the hinge: there is no margin then, and no triplet is ever done. Default false. */
  softMargin?: boolean | undefined;
}

/** What `valueAndGrad` of a loss that mines gives. */
export interface MinedValueAndGrad<V> extends ValueAndGrad<V, "embeddings"> {
  /** How many triplets have a gradient; of `supervisedContrastiveLoss` how many anchors count. */
  active: number;
}

/** A loss of a batch with labels; one loss per anchor. */
export type BatchLoss<O> = Loss<
  [embeddings: Input, labels: Input],
  "embeddings",
  O,
  never,
  Pick<MinedValueAndGrad<unknown>, "active">
>;

const mined = /* @__NO_SIDE_EFFECTS__ */ (name: string, mining: number): BatchLoss<BatchTripletOptions> =>
  define({
    name,
    inputs: [
      { name: "embeddings", differentiable: true },
      { name: "labels", raw: true },
    ],
    options: { margin: number(1, { least: 0 }), squared: flag(false), softMargin: flag(false) },
    family: many((call) => planBatch(call, [mining, ...call.parameters]), finishBatch),
    reference,
  });

/**
 * Batch-hard triplet loss: each anchor with the farthest vector of its class and the nearest of another,
 * `max(0, margin + max_p d(a, p) - min_n d(a, n))` with Euclidean distances d; with `squared` their squares; with `softMargin`
 * `log(1 + exp(max_p d(a, p) - min_n d(a, n)))`. Of several at one distance the first counts.
 *
 * An anchor without another of its class, or without one of another class, has loss 0 and is not counted: the mean divides by the
 * others, and is NaN where there are none. The value of `valueAndGrad` comes with `active`, how many triplets have a gradient. No matrix
 * of all distances is kept: memory grows with N. A distance that is NaN is taken as the farthest and as the nearest.
 *
 * - `embeddings`: [N, D]. Differentiable: the slopes of the two distances; 0 at the kink, and 0 at distance 0 where it is not squared.
 * - `labels`: [N], whole numbers.
 *
 * @throws RangeError `RANK`, `SHAPE`: shapes that do not fit; `LABEL`: a label that is no whole number; `NUMBER`: a margin below 0;
 * TypeError: wrong kinds.
 * @see Hermans, Beyer, Leibe, In Defense of the Triplet Loss for Person Re-Identification, 2017, equation 5 and section 2.
 * @example
 * ```ts
 * import { batchHardTripletLoss } from "perdida";
 * const embeddings = [[0, 0], [3, 4], [0, 1], [6, 8]];
 * const { value, active, grads } = batchHardTripletLoss.valueAndGrad(embeddings, [0, 0, 1, 1]);
 * console.log(value.toFixed(4), active); // "5.2991" 4
 * console.log(grads.embeddings.shape); // [4, 2]
 * ```
 */
export const batchHardTripletLoss: BatchLoss<BatchTripletOptions> = /* @__PURE__ */ mined(
  "batchHardTripletLoss",
  MINING.hard,
);

/**
 * Batch semi-hard triplet loss: each pair of one class with the nearest negative that is farther than the positive, or, where there is
 * none, with the farthest negative: `max(0, margin + d(a, p) - d(a, n))`. Distances, `squared` and `softMargin` as in
 * {@link batchHardTripletLoss}; FaceNet has squared distances and a margin of 0.2.
 *
 * The mean is over all pairs of an anchor and a positive for which there is a negative; a single loss (reduction `"none"`) is
 * the sum over the pairs of an anchor.
 *
 * - `embeddings`: [N, D]. Differentiable.
 * - `labels`: [N], whole numbers.
 *
 * @throws RangeError `RANK`, `SHAPE`: shapes that do not fit; `LABEL`: a label that is no whole number; `NUMBER`: a margin below 0;
 * TypeError: wrong kinds.
 * @see Schroff, Kalenichenko, Philbin, FaceNet: A Unified Embedding for Face Recognition and Clustering, 2015, section 3.2.
 * @example
 * ```ts
 * import { batchSemiHardTripletLoss } from "perdida";
 * console.log(batchSemiHardTripletLoss([[0], [1], [2.5], [7]], [0, 0, 1, 1], { margin: 2 }).toFixed(4)); // "1.6250"
 * ```
 */
export const batchSemiHardTripletLoss: BatchLoss<BatchTripletOptions> = /* @__PURE__ */ mined(
  "batchSemiHardTripletLoss",
  MINING.semiHard,
);

/**
 * Batch-all triplet loss: every anchor with every positive and every negative, `max(0, margin + d(a, p) - d(a, n))`, and the mean over
 * those that are above 0. Distances, `squared` and `softMargin` as in {@link batchHardTripletLoss}.
 *
 * The mean divides by the active triplets: those that the network has learnt already do not dilute it. It is 0 where none is active, and
 * NaN where there is no triplet at all. A single loss (reduction `"none"`) is the sum over the triplets of an anchor.
 *
 * - `embeddings`: [N, D]. Differentiable.
 * - `labels`: [N], whole numbers.
 *
 * @throws RangeError `RANK`, `SHAPE`: shapes that do not fit; `LABEL`: a label that is no whole number; `NUMBER`: a margin below 0;
 * TypeError: wrong kinds.
 * @see Hermans, Beyer, Leibe, In Defense of the Triplet Loss for Person Re-Identification, 2017, equation 6 and table 1 (the mean
 * over those that are not 0).
 * @example
 * ```ts
 * import { batchAllTripletLoss } from "perdida";
 * const { value, active } = batchAllTripletLoss.valueAndGrad([[0], [1], [2.5], [7]], [0, 0, 1, 1], { margin: 2 });
 * console.log(value.toFixed(4), active); // "2.3000" 5
 * ```
 */
export const batchAllTripletLoss: BatchLoss<BatchTripletOptions> = /* @__PURE__ */ mined(
  "batchAllTripletLoss",
  MINING.all,
);
