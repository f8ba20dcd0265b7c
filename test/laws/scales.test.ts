/**
 * Losses that are homogeneous: numbers of another unit, by a power of two, give the same losses in another unit. The other laws compare
 * with 1 where numbers are small; here errors are relative to the largest number, and so are those of numbers that are tiny or huge.
 */
import { describe, expect, test } from "vitest";
import * as e from "../../ts/energy.js";
import * as p from "../../ts/index.js";
import { expectClose } from "../support/close.js";
import { ENGINES, on } from "../support/engines.js";
import { randomStream } from "../support/generate.js";

type Numbers = { data: Float32Array | Float64Array; shape: number[] };
interface Answer {
  value: ArrayLike<number>;
  grads: Record<string, ArrayLike<number>>;
}

/** Makes numbers of a shape, in the unit of the run. */
type Draw = (...shape: number[]) => Numbers;

interface Law {
  /** The power of the unit in which the value is. */
  readonly degree: number;
  /** Distances are compared by their squares, in double precision: those have to be numbers of it. */
  readonly squares?: boolean;
  /** Vectors that are shorter than a floor count as that long. */
  readonly floor?: boolean;
  readonly call: (draw: Draw, unit: number) => { value: unknown; grads?: Record<string, unknown> };
}

const NONE = { reduction: "none" } as const;
const SIGNS = [1, -1, -1, 1, 1, -1];
const LABELS = [0, 1, 0, 2, 1, 0];

const LAWS: Readonly<Record<string, Law>> = {
  l1Loss: { degree: 1, call: (x) => p.l1Loss.valueAndGrad(x(7, 3), x(7, 3), NONE) },
  mseLoss: { degree: 2, call: (x) => p.mseLoss.valueAndGrad(x(7, 3), x(7, 3), NONE) },
  huberLoss: { degree: 2, call: (x, unit) => p.huberLoss.valueAndGrad(x(9), x(9), { delta: unit, ...NONE }) },
  smoothL1Loss: {
    degree: 1,
    call: (x, unit) => p.smoothL1Loss.valueAndGrad(x(9), x(9), { beta: unit, ...NONE }),
  },
  marginRankingLoss: {
    degree: 1,
    call: (x, unit) => p.marginRankingLoss.valueAndGrad(x(6), x(6), SIGNS, { margin: unit, ...NONE }),
  },
  hingeEmbeddingLoss: {
    degree: 1,
    call: (x, unit) => p.hingeEmbeddingLoss.valueAndGrad(x(6), SIGNS, { margin: unit, ...NONE }),
  },
  multiMarginLoss: {
    degree: 1,
    call: (x, unit) => p.multiMarginLoss.valueAndGrad(x(6, 5), LABELS, { margin: unit, ...NONE }),
  },
  "multiMarginLoss, p = 2": {
    degree: 2,
    call: (x, unit) => p.multiMarginLoss.valueAndGrad(x(6, 5), LABELS, { margin: unit, p: 2, ...NONE }),
  },
  ...Object.fromEntries(
    [1, 1.5, 2, 3, Infinity].flatMap((norm): [string, Law][] => [
      [
        `pairwiseDistance, p = ${norm}`,
        { degree: 1, call: (x) => p.pairwiseDistance.valueAndGrad(x(6, 5), x(6, 5), { p: norm, eps: 0 }) },
      ],
      [`cdist, p = ${norm}`, { degree: 1, call: (x) => p.cdist.valueAndGrad(x(6, 5), x(9, 5), { p: norm }) }],
      [
        `cdist of one set, p = ${norm}`,
        { degree: 1, call: (x) => p.cdist.valueAndGrad(x(9, 5), { p: norm }) },
      ],
      [
        `tripletMarginLoss, p = ${norm}`,
        {
          degree: 1,
          call: (x, unit) =>
            p.tripletMarginLoss.valueAndGrad(x(6, 5), x(6, 5), x(6, 5), {
              p: norm,
              eps: 0,
              margin: unit,
              ...NONE,
            }),
        },
      ],
    ]),
  ),
  "cdist of vectors that are alike": {
    degree: 1,
    call: (x) => {
      const [a, b] = [x(9, 40), x(9, 40)];
      b.data.forEach((v, i) => {
        b.data[i] = (a.data[i] as number) + v / 1024;
      });
      return p.cdist.valueAndGrad(a, b);
    },
  },
  batchHardTripletLoss: {
    degree: 1,
    squares: true,
    call: (x, unit) => p.batchHardTripletLoss.valueAndGrad(x(6, 5), LABELS, { margin: unit, ...NONE }),
  },
  batchSemiHardTripletLoss: {
    degree: 1,
    squares: true,
    call: (x, unit) => p.batchSemiHardTripletLoss.valueAndGrad(x(6, 5), LABELS, { margin: unit, ...NONE }),
  },
  batchAllTripletLoss: {
    degree: 1,
    squares: true,
    call: (x, unit) => p.batchAllTripletLoss.valueAndGrad(x(6, 5), LABELS, { margin: unit, ...NONE }),
  },
  "batchHardTripletLoss, squared": {
    degree: 2,
    call: (x, unit) =>
      p.batchHardTripletLoss.valueAndGrad(x(6, 5), LABELS, { squared: true, margin: unit ** 2, ...NONE }),
  },
  "nearest, euclidean": {
    degree: 1,
    squares: true,
    call: (x) => ({ value: p.nearest(x(3, 5), x(70, 5), 4).distances }),
  },
  "nearest, dot": {
    degree: 2,
    call: (x) => ({ value: p.nearest(x(3, 5), x(70, 5), 4, { metric: "dot" }).distances }),
  },
  "nearest, cosine": {
    degree: 0,
    squares: true,
    floor: true,
    call: (x) => ({ value: p.nearest(x(3, 5), x(70, 5), 4, { metric: "cosine" }).distances }),
  },
  energyLoss: { degree: 1, call: (x) => e.energyLoss.valueAndGrad(x(6, 5), LABELS, NONE) },
  perceptronLoss: { degree: 1, call: (x) => e.perceptronLoss.valueAndGrad(x(6, 5), LABELS, NONE) },
  hingeLoss: {
    degree: 1,
    call: (x, unit) => e.hingeLoss.valueAndGrad(x(6, 5), LABELS, { margin: unit, ...NONE }),
  },
  squareSquareLoss: {
    degree: 2,
    call: (x, unit) => e.squareSquareLoss.valueAndGrad(x(6, 5), LABELS, { margin: unit, ...NONE }),
  },
  contrastiveLoss: {
    degree: 1,
    call: (x, unit) => e.contrastiveLoss.valueAndGrad(x(6, 5), LABELS, { margin: unit, ...NONE }),
  },
  "nllLoss of energies": {
    degree: 1,
    call: (x, unit) => e.nllLoss.valueAndGrad(x(6, 5), LABELS, { beta: 1 / unit, ...NONE }),
  },
};

const PRECISIONS = {
  // squares are within single precision, and beyond it
  float32: { Type: Float32Array, tolerance: 5e-6, exponents: [-110, -60, -30, 30, 60, 110], most: 120 },
  float64: { Type: Float64Array, tolerance: 1e-12, exponents: [-980, -500, -270, 270, 500, 980], most: 1000 },
} as const;

const numbers = (of: unknown): ArrayLike<number> =>
  typeof of === "number" ? [of] : ((of as Numbers).data ?? (of as ArrayLike<number>));

function answer({ call }: Law, unit: number, Type: typeof Float32Array | typeof Float64Array): Answer {
  const random = randomStream(7);
  const draw: Draw = (...shape) => {
    const data = new Type(shape.reduce((a, b) => a * b, 1));
    for (let i = 0; i < data.length; i++) data[i] = Math.fround(4 * random() - 2) * unit;
    return { data, shape };
  };
  const { value, grads = {} } = call(draw, unit);
  const slopes = Object.entries(grads).map(([name, grad]) => [name, numbers(grad)]);
  return { value: numbers(value), grads: Object.fromEntries(slopes) };
}

/** Numbers in a unit against those in the unit 1; errors are relative to the largest. */
function expectScaled(
  actual: ArrayLike<number>,
  base: ArrayLike<number>,
  by: number,
  tolerance: number,
  what: string,
): void {
  const most = Math.max(...Array.from(base, Math.abs));
  expect(most, what).toSatisfy((x: number) => x > 0 && x < Infinity);
  const share = (x: number): number => x / most;
  expectClose(
    Array.from(actual, (x) => share(x / by)),
    Array.from(base, share),
    tolerance,
    what,
  );
}

describe.each(ENGINES)("%s", (engine) => {
  describe.each(["float32", "float64"] as const)("%s", (dtype) => {
    const { Type, tolerance, exponents, most } = PRECISIONS[dtype];
    test.each(Object.keys(LAWS))("%s", (name) => {
      const law = LAWS[name] as Law;
      on(engine, () => {
        const base = answer(law, 1, Type);
        const power = law.squares && dtype === "float64" ? 2 : Math.max(1, law.degree);
        const fit = exponents.filter((k) => Math.abs(k) * power <= most && !(law.floor && k < 0));
        expect(fit.length).toBeGreaterThan(1);
        for (const k of fit) {
          const { value, grads } = answer(law, 2 ** k, Type);
          expectScaled(value, base.value, 2 ** (k * law.degree), tolerance, `value at 2^${k}`);
          for (const [of, grad] of Object.entries(grads)) {
            const slopes = base.grads[of] as ArrayLike<number>;
            expectScaled(grad, slopes, 2 ** (k * (law.degree - 1)), tolerance, `${of}'s gradient at 2^${k}`);
          }
        }
      });
    });
  });
});
