/** The softmax family and the margin losses over rows of class scores, value and gradient. */
import { type Case, type CaseInput, EXP, floats, Numbers } from "./cases.js";

interface Row {
  readonly name: string;
  readonly sizes: readonly (readonly [rows: number, columns: number])[];
  readonly inputs: (draw: Numbers, rows: number, columns: number) => readonly CaseInput[];
  readonly options?: Readonly<Record<string, unknown>>;
  /** Tells cases of one function apart that differ in more than their size. */
  readonly note?: string;
  readonly value?: (rows: number, columns: number) => readonly number[];
  /** The value alone. */
  readonly forward?: boolean;
  /** Additions and multiplications per element. */
  readonly flops: number;
}

type Size = readonly [number, number];
const SMALL: readonly Size[] = [
  [1, 16],
  [32, 128],
];
const LARGE: readonly Size[] = [
  [1024, 1000],
  [64, 50_000],
];
const SQUARE: Size = [1024, 1000];
/** Many rows of few classes. */
const SHORT: Size = [8192, 21];

const SCORES = (draw: Numbers, rows: number, columns: number): CaseInput[] => [
  draw.normal("input", [rows, columns]),
];
const TO_CLASS = (draw: Numbers, rows: number, columns: number): CaseInput[] => [
  ...SCORES(draw, rows, columns),
  draw.integers("target", [rows], 0, columns),
];
const PER_ROW = (rows: number): number[] => [rows];
const WHOLE = (rows: number, columns: number): number[] => [rows, columns];

const ROWS: readonly Row[] = [
  { name: "crossEntropyLoss", sizes: [...SMALL, [1024, 10], ...LARGE], inputs: TO_CLASS, flops: EXP + 4 },
  {
    name: "crossEntropyLoss",
    note: "probabilities",
    sizes: [SHORT, SQUARE],
    inputs: (draw, rows, columns) => [
      ...SCORES(draw, rows, columns),
      draw.probabilities("target", [rows, columns]),
    ],
    flops: EXP + 8,
  },
  {
    name: "crossEntropyLoss",
    note: "smoothed",
    sizes: [SHORT, SQUARE],
    inputs: TO_CLASS,
    options: { labelSmoothing: 0.1 },
    flops: EXP + 6,
  },
  {
    // eight pictures of 64 x 64 pixels
    name: "crossEntropyLoss",
    note: "pixels",
    sizes: [[8 * 64 * 64, 21]],
    inputs: (draw, _, columns) => [
      draw.normal("input", [8, columns, 64, 64]),
      draw.integers("target", [8, 64, 64], 0, columns),
    ],
    flops: EXP + 4,
  },
  {
    name: "nllLoss",
    sizes: [...SMALL, SQUARE],
    inputs: (draw, rows, columns) => [
      draw.logProbabilities("input", [rows, columns]),
      draw.integers("target", [rows], 0, columns),
    ],
    flops: 0,
  },
  { name: "multiMarginLoss", sizes: [...SMALL, SQUARE], inputs: TO_CLASS, flops: 4 },
  {
    // every fourth row of columns names its labels, five of them
    name: "multiLabelMarginLoss",
    sizes: [...SMALL, SQUARE],
    inputs: (draw, rows, columns) => {
      const target = new Int32Array(rows * columns).fill(-1);
      for (let row = 0; row < rows; row++) {
        for (let k = 0; k < 5; k++) target[row * columns + k] = (7 * row + 3 * k) % columns;
      }
      return [...SCORES(draw, rows, columns), { name: "target", data: target, shape: [rows, columns] }];
    },
    flops: 5 * 3,
  },
  {
    name: "multiLabelSoftMarginLoss",
    sizes: [...SMALL, SQUARE],
    inputs: (draw, rows, columns) => {
      const target = draw.signs("target", [rows, columns]);
      const bits = { ...target, data: (target.data as Float32Array).map((x) => (x + 1) / 2) };
      return [...SCORES(draw, rows, columns), bits];
    },
    flops: 2 * EXP + 8,
  },
  {
    name: "logSumExp",
    sizes: [...SMALL, ...LARGE],
    inputs: SCORES,
    value: PER_ROW,
    forward: true,
    flops: EXP + 2,
  },
  { name: "logSoftmax", sizes: [...SMALL, SHORT, SQUARE], inputs: SCORES, value: WHOLE, flops: EXP + 4 },
  { name: "softmax", sizes: [...SMALL, SHORT, SQUARE], inputs: SCORES, value: WHOLE, flops: EXP + 5 },
  {
    name: "softmax",
    note: "value",
    sizes: [SQUARE],
    inputs: SCORES,
    value: WHOLE,
    forward: true,
    flops: EXP + 3,
  },
  {
    name: "crossEntropyLoss",
    note: "value",
    sizes: [SQUARE],
    inputs: TO_CLASS,
    forward: true,
    flops: EXP + 2,
  },
];

export const cases: readonly Case[] = ROWS.flatMap((row) =>
  row.sizes.map(([rows, columns]): Case => {
    const { name, inputs, options = {}, note, value, forward = false, flops } = row;
    const elements = rows * columns;
    const written = (forward ? 0 : elements) + (value?.(rows, columns).reduce((a, b) => a * b, 1) ?? 0);
    // the one loss that looks at one number of a row
    const read =
      name === "nllLoss" ? 0 : elements * (note === "probabilities" || /multiLabel/.test(name) ? 2 : 1);
    return {
      family: "rowwise",
      name,
      entry: "perdida",
      shape: `${rows}x${columns}${note === undefined ? "" : ` ${note}`}`,
      dims: { rows, columns },
      options,
      grads: forward ? [] : ["input"],
      ...(value !== undefined && { value: value(rows, columns) }),
      inputs: () => inputs(new Numbers(), rows, columns),
      bytes: floats(read + written),
      flops: flops * elements,
    };
  }),
);
