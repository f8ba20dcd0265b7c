/** Losses that contrast each vector with all others by a softmax of cosines. */
import { define } from "../../define.js";
import { wrongShape } from "../../errors.js";
import { flag, number } from "../../options.js";
import * as reference from "../../reference/vectors/contrastive.js";
import type { Input, Loss } from "../../types.js";
import { many, readSets } from "./many.js";
import { type BatchLoss, finishBatch, planBatch } from "./mining.js";

/** Options of {@link supervisedContrastiveLoss}. */
export interface SupervisedContrastiveOptions {
  /** What the cosines are divided by; above 0. Default 0.1. */
  temperature?: number | undefined;
}

const temperature = /* @__PURE__ */ number(0.1, { above: 0 });

/**
 * Supervised contrastive loss: each vector should be told from all others by the company of its class,
 * `-1/|P| sum over p in P of log(exp(x_i x_p / temperature) / sum over a != i of exp(x_i x_a / temperature))`, with P the others of i's
 * class and all vectors brought to length 1 first (each norm taken as at least 1e-12).
 *
 * An anchor without another of its class has loss 0 and is not counted: the mean divides by the others, and is NaN where there
 * are none. `active` is how many anchors count.
 *
 * The cosines of up to 2048 vectors are kept during a call (N x N numbers, at most 16 MiB in single precision, by which the core's memory may
 * grow); of more no matrix of all is kept, and memory grows with N.
 *
 * - `embeddings`: [N, D]. Differentiable, through their normalisation.
 * - `labels`: [N], whole numbers.
 *
 * @throws RangeError `RANK`, `SHAPE`: shapes that do not fit; `LABEL`: a label that is no whole number; `NUMBER`: a temperature that is
 * not positive; TypeError: wrong kinds.
 * @see Khosla et al., Supervised Contrastive Learning, 2020, equation 2 (the sum outside of the logarithm).
 * @example
 * ```ts
 * import { supervisedContrastiveLoss } from "perdida";
 * const embeddings = [[1, 0], [1, 0], [0, 1], [0, 1]];
 * console.log(supervisedContrastiveLoss(embeddings, [0, 0, 1, 1], { temperature: 1 }).toFixed(4)); // "0.5514"
 * ```
 */
export const supervisedContrastiveLoss: BatchLoss<SupervisedContrastiveOptions> = /* @__PURE__ */ define({
  name: "supervisedContrastiveLoss",
  inputs: [
    { name: "embeddings", differentiable: true },
    { name: "labels", raw: true },
  ],
  options: { temperature },
  family: many((call) => planBatch(call, call.parameters), finishBatch),
  reference: reference.contrastive,
});

/** Options of {@link infoNceLoss}. */
export interface InfoNceOptions {
  /** What the cosines are divided by; above 0. Default 0.1. */
  temperature?: number | undefined;
  /** Whether keys are also told by their queries: the mean of both ways. Default false. */
  symmetric?: boolean | undefined;
}

/**
 * InfoNCE: each query should be nearest to the key beside it, of all keys of the batch:
 * `-log(exp(q_i k_i / temperature) / sum over j of exp(q_i k_j / temperature))`, all vectors brought to length 1 first (each norm taken as
 * at least 1e-12). With `symmetric` the mean of that and of the same with queries and keys exchanged, as CLIP has it.
 *
 * With `symmetric` the cosines of up to 2048 pairs are kept during a call (N x N numbers, at most 16 MiB in single precision, by which the
 * core's memory may grow); of more, and one way, no matrix of all is kept: memory grows with N.
 *
 * - `query`, `key`: [N, D]. Both differentiable, through their normalisation.
 *
 * @throws RangeError `RANK`, `SHAPE`: shapes that do not fit; `NUMBER`: a temperature that is not positive; TypeError: wrong kinds.
 * @see van den Oord, Li, Vinyals, Representation Learning with Contrastive Predictive Coding, 2018, equation 4.
 * @example
 * ```ts
 * import { infoNceLoss } from "perdida";
 * console.log(infoNceLoss([[1, 0], [0, 1]], [[1, 0], [0, 1]], { temperature: 1 }).toFixed(4)); // "0.3133"
 * ```
 */
export const infoNceLoss: Loss<[query: Input, key: Input], "query" | "key", InfoNceOptions> =
  /* @__PURE__ */ define({
    name: "infoNceLoss",
    inputs: [
      { name: "query", differentiable: true },
      { name: "key", differentiable: true },
    ],
    options: { temperature, symmetric: flag(false) },
    family: many((call) => {
      const sets = readSets(call);
      const { rows, columns, length } = sets;
      if (columns !== rows) wrongShape(call.where, call.input(1), `one key per query: [${rows}, ${length}]`);
      call.losses([rows]);
      return sets;
    }),
    reference: reference.contrastive,
  });
