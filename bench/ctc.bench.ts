/** CTC from the logits: loss and gradient, and what else is read off the same lattice. */
import { type Case, EXP, floats, Numbers } from "./cases.js";

type Shape = readonly [T: number, N: number, C: number, S: number];

/** Speech in small batches, long ones, one of many classes, one that is very long; and the cost of a call. */
const SHAPES: readonly Shape[] = [
  [100, 32, 32, 20],
  [500, 16, 64, 60],
  [1000, 8, 32, 150],
  [150, 1, 5000, 30],
  [5000, 1, 32, 500],
  [16, 1, 8, 4],
  [64, 4, 16, 10],
];

/** A search that asks a language model: its prefixes grow long. */
const HOOKED: Shape = [1000, 1, 32, 20];

const LAYOUT = { layout: "TNC" } as const;

function over(name: string, [T, N, C, S]: Shape, rest: Partial<Case>, targets: boolean): Case {
  const elements = T * N * C;
  const states = T * N * (2 * S + 1);
  return {
    family: "ctc",
    name,
    entry: "perdida",
    shape: `T=${T} N=${N} C=${C} S=${S}`,
    dims: { T, N, C, S },
    options: LAYOUT,
    grads: [],
    inputs: () => {
      const draw = new Numbers();
      const logits = draw.normal("logits", [T, N, C]);
      return targets ? [logits, draw.integers("targets", [N, S], 1, C)] : [logits];
    },
    // the logits and the gradient; the lattice need not leave the cache
    bytes: floats(2 * elements),
    // an exp and the gradient of each logit; three terms of a sum and an emission, forward and backward
    flops: (EXP + 4) * elements + 12 * states,
    ...rest,
  };
}

export const cases: readonly Case[] = [
  ...SHAPES.map((shape) =>
    over("ctcLoss", shape, { grads: ["logits"], options: { ...LAYOUT, reduction: "sum" } }, true),
  ),
  ...SHAPES.slice(0, 2).flatMap((shape) => [
    over("ctcPosteriors", shape, {}, true),
    over("ctcAlign", shape, {}, true),
    over("ctcGreedyDecode", shape, { flops: (EXP + 2) * shape[0] * shape[1] * shape[2] }, false),
  ]),
  over("ctcBeamDecode", [100, 1, 32, 20], { options: { ...LAYOUT, beamWidth: 16 } }, false),
  over("ctcBeamDecode", HOOKED, { options: { ...LAYOUT, beamWidth: 16, extend: () => 0 } }, false),
];
