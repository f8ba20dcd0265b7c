/** Losses and distances of vectors: pairs, triplets, and all vectors of one set against all of another. */
import { type Case, type CaseInput, floats, Numbers } from "./cases.js";

interface Row {
  readonly name: string;
  readonly sizes: readonly (readonly [vectors: number, length: number])[];
  readonly inputs: (draw: Numbers, n: number, d: number) => readonly CaseInput[];
  readonly grads?: readonly string[];
  readonly options?: Readonly<Record<string, unknown>>;
  readonly note?: string;
  readonly rest?: readonly unknown[];
  readonly value?: (n: number) => readonly number[];
  /** Additions and multiplications for n vectors of length d, at least: distances of many pairs take no more than their products. */
  readonly flops: (n: number, d: number) => number;
}

type Size = readonly [number, number];
const SMALL: readonly Size[] = [
  [1, 16],
  [32, 128],
];
const PAIRS: readonly Size[] = [...SMALL, [4096, 10], [4096, 512]];
const TRIPLETS: readonly Size[] = [...SMALL, [4096, 3], [1024, 128], [4096, 512]];
/** The value alone. */
const VALUES: readonly Size[] = [
  [4096, 3],
  [1024, 100],
];
/** Every vector with every other. */
const ALL: readonly Size[] = [
  [8, 16],
  [512, 128],
  [2048, 64],
];

const vectors =
  (...names: string[]) =>
  (draw: Numbers, n: number, d: number): CaseInput[] =>
    names.map((name) => draw.normal(name, [n, d]));
const TRIPLET = ["anchor", "positive", "negative"];

const labelled = (draw: Numbers, n: number, d: number): CaseInput[] => [
  draw.normal("embeddings", [n, d]),
  draw.integers("labels", [n], 0, Math.max(2, Math.floor(n / 8))),
];

const ROWS: readonly Row[] = [
  {
    name: "cosineEmbeddingLoss",
    sizes: PAIRS,
    inputs: (draw, n, d) => [...vectors("input1", "input2")(draw, n, d), draw.signs("target", [n])],
    grads: ["input1", "input2"],
    flops: (n, d) => 14 * n * d,
  },
  {
    name: "tripletMarginLoss",
    sizes: TRIPLETS,
    inputs: vectors(...TRIPLET),
    grads: TRIPLET,
    flops: (n, d) => 11 * n * d,
  },
  {
    name: "tripletMarginLoss",
    note: "value",
    sizes: VALUES,
    inputs: vectors(...TRIPLET),
    flops: (n, d) => 6 * n * d,
  },
  {
    name: "tripletMarginWithDistanceLoss",
    note: "cosine",
    sizes: [[1024, 128]],
    inputs: vectors(...TRIPLET),
    grads: TRIPLET,
    options: { distance: "cosine" },
    flops: (n, d) => 24 * n * d,
  },
  {
    name: "infoNceLoss",
    sizes: [
      [8, 16],
      [256, 128],
      [1024, 128],
    ],
    inputs: vectors("query", "key"),
    grads: ["query", "key"],
    flops: (n, d) => 6 * n * n * d,
  },
  {
    name: "infoNceLoss",
    note: "symmetric",
    sizes: [[1024, 128]],
    options: { symmetric: true },
    inputs: vectors("query", "key"),
    grads: ["query", "key"],
    flops: (n, d) => 6 * n * n * d,
  },
  {
    name: "batchHardTripletLoss",
    sizes: [...ALL, [1024, 128]],
    inputs: labelled,
    grads: ["embeddings"],
    flops: (n, d) => n * n * d,
  },
  {
    name: "batchSemiHardTripletLoss",
    sizes: ALL,
    inputs: labelled,
    grads: ["embeddings"],
    flops: (n, d) => n * n * d,
  },
  {
    // all triplets: cubic
    name: "batchAllTripletLoss",
    sizes: [
      [8, 16],
      [64, 64],
      [256, 64],
    ],
    inputs: labelled,
    grads: ["embeddings"],
    flops: (n, d) => n * n * d + n * n * 8,
  },
  {
    name: "supervisedContrastiveLoss",
    sizes: [
      [8, 16],
      [256, 128],
      [1024, 128],
    ],
    inputs: labelled,
    grads: ["embeddings"],
    flops: (n, d) => 3 * n * n * d,
  },
  {
    name: "pairwiseDistance",
    sizes: PAIRS,
    inputs: vectors("x1", "x2"),
    grads: ["x1", "x2"],
    value: (n) => [n],
    flops: (n, d) => 6 * n * d,
  },
  {
    name: "cosineSimilarity",
    sizes: PAIRS,
    inputs: vectors("x1", "x2"),
    grads: ["x1", "x2"],
    value: (n) => [n],
    flops: (n, d) => 14 * n * d,
  },
  {
    name: "pairwiseDistance",
    note: "value",
    sizes: VALUES,
    inputs: vectors("x1", "x2"),
    value: (n) => [n],
    flops: (n, d) => 4 * n * d,
  },
  {
    name: "cosineSimilarity",
    note: "value",
    sizes: VALUES,
    inputs: vectors("x1", "x2"),
    value: (n) => [n],
    flops: (n, d) => 6 * n * d,
  },
  {
    name: "cdist",
    sizes: ALL,
    inputs: vectors("x1", "x2"),
    value: (n) => [n, n],
    flops: (n, d) => 2 * n * n * d,
  },
  {
    // one set with itself: rivals get the same array twice, ours gets it once
    name: "cdist",
    note: "self",
    sizes: ALL,
    inputs: (draw, n, d) => {
      const x1 = draw.normal("x1", [n, d]);
      return [x1, { ...x1, name: "x2" }];
    },
    value: (n) => [n, n],
    flops: (n, d) => n * n * d,
  },
  {
    name: "cdist",
    note: "gradients",
    sizes: [
      [512, 128],
      [2048, 64],
    ],
    inputs: vectors("x1", "x2"),
    grads: ["x1", "x2"],
    value: (n) => [n, n],
    flops: (n, d) => 6 * n * n * d,
  },
  {
    name: "nearest",
    note: "k=10",
    sizes: [
      [4096, 128],
      [100_000, 128],
    ],
    // the first 64 ask
    inputs: (draw, n, d) => [draw.normal("queries", [64, d]), draw.normal("index", [n, d])],
    rest: [10],
    flops: (n, d) => 2 * 64 * n * d,
  },
];

export const cases: readonly Case[] = ROWS.flatMap((row) =>
  row.sizes.map(([n, d]): Case => {
    const { name, inputs, grads = [], options = {}, note, rest = [], value, flops } = row;
    const read = name === "nearest" ? (64 + n) * d : inputs(new Numbers(), 1, 1).length * n * d;
    const written = grads.length * n * d + (value?.(n).reduce((a, b) => a * b, 1) ?? 0);
    return {
      family: "vectors",
      name,
      entry: "perdida",
      shape: `${n}x${d}${note === undefined ? "" : ` ${note}`}`,
      dims: { n, d },
      options,
      rest,
      grads,
      ...(value !== undefined && { value: value(n) }),
      inputs: () => inputs(new Numbers(), n, d),
      bytes: floats(read + written),
      flops: flops(n, d),
    };
  }),
);
