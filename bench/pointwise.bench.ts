/** The pointwise losses, value and gradient, over n elements: the cost of a call, in the cache, and beyond it. */
import { type Case, type CaseInput, EXP, floats, Numbers } from "./cases.js";

interface Row {
  readonly name: string;
  readonly inputs: (draw: Numbers, shape: readonly number[]) => readonly CaseInput[];
  readonly grads?: readonly string[];
  readonly options?: Readonly<Record<string, unknown>>;
  /** Additions and multiplications per element, value and gradients. */
  readonly flops: number;
}

const REAL = (draw: Numbers, shape: readonly number[]): CaseInput[] => [
  draw.normal("input", shape, 3),
  draw.normal("target", shape, 3),
];
const TO_PROBABILITY = (draw: Numbers, shape: readonly number[]): CaseInput[] => [
  draw.normal("input", shape, 3),
  draw.uniform("target", shape),
];
const TO_SIGN = (draw: Numbers, shape: readonly number[]): CaseInput[] => [
  draw.normal("input", shape, 3),
  draw.signs("target", shape),
];

const ROWS: readonly Row[] = [
  { name: "l1Loss", inputs: REAL, grads: ["input"], flops: 4 },
  { name: "mseLoss", inputs: REAL, flops: 4 },
  { name: "smoothL1Loss", inputs: REAL, flops: 8 },
  { name: "huberLoss", inputs: REAL, flops: 8 },
  {
    name: "bceLoss",
    inputs: (draw, shape) => [draw.uniform("input", shape, 0.01, 0.99), draw.uniform("target", shape)],
    flops: 2 * EXP + 12,
  },
  { name: "bceWithLogitsLoss", inputs: TO_PROBABILITY, flops: 2 * EXP + 12 },
  {
    name: "klDivLoss",
    inputs: (draw, shape) => [draw.logProbabilities("input", shape), draw.uniform("target", shape)],
    options: { reduction: "sum" },
    flops: EXP + 4,
  },
  {
    name: "poissonNllLoss",
    inputs: (draw, shape) =>
      [draw.normal("input", shape), draw.integers("target", shape, 0, 9)].map(asFloats),
    flops: EXP + 4,
  },
  {
    name: "gaussianNllLoss",
    inputs: (draw, shape) => [...REAL(draw, shape), draw.uniform("variance", shape, 0.5, 4)],
    grads: ["input", "variance"],
    flops: EXP + 14,
  },
  { name: "softMarginLoss", inputs: TO_SIGN, flops: 2 * EXP + 8 },
  {
    name: "sigmoidFocalLoss",
    inputs: (draw, shape) => [draw.normal("input", shape, 3), draw.signs("target", shape)].map(asBits),
    flops: 2 * EXP + 20,
  },
  {
    name: "marginRankingLoss",
    inputs: (draw, shape) => [
      draw.normal("input1", shape),
      draw.normal("input2", shape),
      draw.signs("target", shape),
    ],
    grads: ["input1", "input2"],
    flops: 5,
  },
  { name: "hingeEmbeddingLoss", inputs: TO_SIGN, flops: 5 },
];

/** A count of things, as the losses take it: a number. */
function asFloats(input: CaseInput): CaseInput {
  return { ...input, data: Float32Array.from(input.data) };
}

/** 0 and 1 for targets of -1 and 1. */
function asBits(input: CaseInput): CaseInput {
  return input.name === "target"
    ? { ...input, data: (input.data as Float32Array).map((x) => (x + 1) / 2) }
    : input;
}

const SIZES = [16, 4096, 1_000_000];

export const cases: readonly Case[] = ROWS.flatMap(
  ({ name, inputs, grads = ["input"], options = {}, flops }) =>
    SIZES.map((n): Case => {
      const drawn = () => inputs(new Numbers(), [n]);
      const arrays = inputs(new Numbers(), [1]).length + grads.length;
      return {
        family: "pointwise",
        name,
        entry: "perdida",
        shape: `n=${n}`,
        dims: { n },
        options,
        grads,
        inputs: drawn,
        bytes: floats(arrays * n),
        flops: flops * n,
      };
    }),
);
