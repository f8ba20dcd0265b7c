/**
 * The rowwise losses: identities between them and with the pointwise ones, the traps of their formulas, what a mean divides by, what
 * is refused. Golden values, agreement of the engines and central differences are laws over the registry (test/laws).
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  bceWithLogitsLoss,
  crossEntropyLoss,
  klDivLoss,
  logSoftmax,
  logSumExp,
  multiLabelMarginLoss,
  multiLabelSoftMarginLoss,
  multiMarginLoss,
  nllLoss,
  softmax,
  tensor,
} from "../ts/index.js";
import { type AnyLoss, REGISTRY } from "../ts/registry.js";
import { expectClose, expectSameBits, valuesOf } from "./support/close.js";
import { ENGINES, on } from "./support/engines.js";
import { randomStream, sample } from "./support/generate.js";

const NONE = { reduction: "none" } as const;
const TOLERANCE = 1e-12;
type Answer = { value: unknown; grads: Record<string, { data: ArrayLike<number> }> };

/** Value and gradients agree, up to a factor. */
function expectAlike(actual: Answer, expected: Answer, names: readonly string[], factor = 1): void {
  const times = (a: ArrayLike<number>): number[] => Array.from(a, (x) => factor * x);
  expectClose(valuesOf(actual.value), times(valuesOf(expected.value)), TOLERANCE, "value");
  for (const name of names) {
    const [a, e] = [actual, expected].map(({ grads }) => grads[name]?.data as ArrayLike<number>);
    expectClose(a as ArrayLike<number>, times(e as ArrayLike<number>), TOLERANCE, `gradient of ${name}`);
  }
}

/** Rows of scores [N, C] and a class for each; sizes around those of vectors. */
interface Batch {
  readonly x: { data: Float64Array; shape: [number, number] };
  readonly classes: number[];
  readonly columns: number;
}
const batches: fc.Arbitrary<Batch> = fc
  .tuple(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 11 }))
  .chain(([rows, columns]) =>
    fc
      .tuple(
        fc.array(fc.double({ min: -8, max: 8, noNaN: true }), {
          minLength: rows * columns,
          maxLength: rows * columns,
        }),
        fc.array(fc.nat(columns - 1), { minLength: rows, maxLength: rows }),
      )
      .map(([numbers, classes]) => ({
        x: { data: Float64Array.from(numbers), shape: [rows, columns] as [number, number] },
        classes,
        columns,
      })),
  );

/** Runs a property on each engine. */
function holds(title: string, law: (batch: Batch) => void): void {
  for (const engine of ENGINES)
    test(`${title} (${engine})`, () =>
      on(engine, () => fc.assert(fc.property(batches, law), { numRuns: 60 })));
}

/** Rows that are 1 at a class and 0 elsewhere. */
function oneHot(classes: readonly number[], columns: number): ReturnType<typeof tensor> {
  const data = new Float64Array(classes.length * columns);
  classes.forEach((c, row) => {
    data[row * columns + c] = 1;
  });
  return tensor(data, [classes.length, columns]);
}

describe("identities", () => {
  holds("smoothing 0 and weight 1 are none", ({ x, classes, columns }) => {
    const plain = crossEntropyLoss.valueAndGrad(x, classes);
    const weight = new Float64Array(columns).fill(1);
    expectAlike(crossEntropyLoss.valueAndGrad(x, classes, { labelSmoothing: 0, weight }), plain, ["input"]);
    expectAlike(nllLoss.valueAndGrad(x, classes, { weight }), nllLoss.valueAndGrad(x, classes), ["input"]);
    expectAlike(
      multiMarginLoss.valueAndGrad(x, classes, { weight }),
      multiMarginLoss.valueAndGrad(x, classes),
      ["input"],
    );
  });
  holds("cross-entropy of classes is that of one-hot probabilities", ({ x, classes, columns }) => {
    for (const labelSmoothing of [0, 0.3]) {
      expectAlike(
        crossEntropyLoss.valueAndGrad(x, classes, { ...NONE, labelSmoothing }),
        crossEntropyLoss.valueAndGrad(x, oneHot(classes, columns), { ...NONE, labelSmoothing }),
        ["input"],
      );
    }
  });
  holds("it is the negative log-likelihood of logSoftmax", ({ x, classes }) => {
    const whole = crossEntropyLoss.valueAndGrad(x, classes);
    const logp = logSoftmax(x);
    const outer = nllLoss.valueAndGrad(logp, classes);
    const inner = logSoftmax.valueAndGrad(x, { upstream: outer.grads.input });
    expectAlike({ value: outer.value, grads: inner.grads }, whole, ["input"]);
  });
  holds("it is the divergence from softmax, and the entropy of the target", ({ x, classes, columns }) => {
    const target = softmax(
      tensor(
        Float64Array.from(x.data, (v) => -v / 2),
        x.shape,
      ),
    );
    const entropy = -Array.from(target.data).reduce((sum, q) => sum + q * Math.log(q), 0);
    const divergence = klDivLoss(logSoftmax(x), target, { reduction: "sum" });
    const value = crossEntropyLoss(x, target, { reduction: "sum" });
    expectClose([value], [divergence + entropy], TOLERANCE, `${classes.length} x ${columns}`);
  });
  holds("labelSmoothing 1 forgets the target", ({ x, classes, columns }) => {
    const other = classes.map((c) => (c + 1) % columns);
    const smooth = { labelSmoothing: 1 };
    expectAlike(
      crossEntropyLoss.valueAndGrad(x, classes, smooth),
      crossEntropyLoss.valueAndGrad(x, other, smooth),
      ["input"],
    );
  });
  holds("a weight is a factor of its classes' losses and gradients", ({ x, classes, columns }) => {
    const weight = Float64Array.from({ length: columns }, (_, c) => c + 0.5);
    const upstream = Float64Array.from(classes, (c) => weight[c] as number);
    for (const loss of [crossEntropyLoss, nllLoss, multiMarginLoss] as unknown as AnyLoss[]) {
      const { value } = loss.valueAndGrad(x, classes, { ...NONE, weight });
      const plain = loss.valueAndGrad(x, classes, { ...NONE, upstream });
      const { grads } = loss.valueAndGrad(x, classes, { reduction: "sum", weight });
      const weighted = Array.from(valuesOf(plain.value), (v, i) => v * (upstream[i] as number));
      expectAlike({ value, grads }, { value: { data: weighted }, grads: plain.grads }, ["input"]);
    }
  });
  holds("logSumExp, logSoftmax and softmax are one function's faces", ({ x, columns }) => {
    const lse = logSumExp.valueAndGrad(x);
    const logp = logSoftmax(x).data;
    const p = softmax(x).data;
    const row = (i: number): number => Math.floor(i / columns);
    expectClose(
      logp,
      Array.from(x.data, (v, i) => v - (lse.value.data[row(i)] as number)),
      TOLERANCE,
      "logSoftmax",
    );
    expectClose(p, Array.from(logp, Math.exp), TOLERANCE, "softmax");
    expectClose(lse.grads.input.data, p, TOLERANCE, "the slope of logSumExp");
  });
  holds("a constant added to a row changes nothing but logSumExp", ({ x, classes }) => {
    const moved = tensor(
      Float64Array.from(x.data, (v) => v + 16),
      x.shape,
    );
    expectAlike(crossEntropyLoss.valueAndGrad(moved, classes), crossEntropyLoss.valueAndGrad(x, classes), [
      "input",
    ]);
    expectClose(softmax(moved).data, softmax(x).data, TOLERANCE, "softmax");
    expectClose(
      logSumExp(moved).data,
      Array.from(logSumExp(x).data, (v) => v + 16),
      TOLERANCE,
      "logSumExp",
    );
  });
  holds(
    "the soft margin of labels is binary cross-entropy, averaged over the classes",
    ({ x, classes, columns }) => {
      const target = oneHot(classes, columns);
      expectAlike(
        multiLabelSoftMarginLoss.valueAndGrad(x, target),
        bceWithLogitsLoss.valueAndGrad(x, target),
        ["input"],
      );
    },
  );
  holds("sets of one label have the loss of a class with margin 1", ({ x, classes }) => {
    expectAlike(
      multiLabelMarginLoss.valueAndGrad(
        x,
        classes.map((c) => [c]),
      ),
      multiMarginLoss.valueAndGrad(x, classes),
      ["input"],
    );
  });
  holds("a class of two is a logistic loss of the difference", ({ x: { data } }) => {
    const z = Array.from(data);
    const two = z.map((v) => [v, 0]);
    expectAlike(
      {
        value: crossEntropyLoss(
          two,
          z.map(() => 0),
        ),
        grads: {},
      },
      {
        value: bceWithLogitsLoss(
          z,
          z.map(() => 1),
        ),
        grads: {},
      },
      [],
    );
  });
});

/** [N, C, D] from [N, D, C]. */
function turned(data: Float32Array | Float64Array, places: number, columns: number): typeof data {
  return data.map((_, i) => {
    const [sample, column, place] = [
      Math.floor(i / places / columns),
      Math.floor(i / places) % columns,
      i % places,
    ];
    return data[(sample * places + place) * columns + column] as number;
  });
}

type Numbers = ArrayLike<number>;

/** A row of scores per position, beside the same rows one under the other. */
interface Positions {
  readonly samples: number;
  readonly columns: number;
  readonly behind: readonly number[];
  readonly dtype: "float32" | "float64";
  /** How far scores are from 0: of wide ones the largest has nearly all of the probability. */
  readonly spread: number;
  readonly odd: boolean;
  readonly seed: number;
}
const positions: fc.Arbitrary<Positions> = fc.record({
  samples: fc.integer({ min: 1, max: 3 }),
  columns: fc.integer({ min: 1, max: 9 }),
  behind: fc.oneof(
    fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 3 }),
    fc.integer({ min: 1, max: 40 }).map((d) => [d]),
    // more rows than are brought together at a time, and more than a strip of pixels
    fc.constantFrom([37, 41], [8, 25]),
  ),
  dtype: fc.constantFrom("float32", "float64"),
  spread: fc.constantFrom(6, 6, 60),
  odd: fc.boolean(),
  seed: fc.nat(),
});

describe("a row of classes per position", () => {
  for (const engine of ENGINES) {
    test(`is the same rows one under the other, to the last bit of each (${engine})`, () =>
      on(engine, () =>
        fc.assert(
          fc.property(positions, ({ samples, columns, behind, dtype, spread, odd, seed }) => {
            const places = behind.reduce((a, b) => a * b, 1);
            const rows = samples * places;
            const random = randomStream(seed);
            const draw = (n: number): Float32Array | Float64Array => {
              const numbers = Array.from({ length: n }, () => spread * (2 * random() - 1));
              return dtype === "float32" ? Float32Array.from(numbers) : Float64Array.from(numbers);
            };
            const pick = (n: number): number => Math.floor(random() * n);
            // log-probabilities and shares: no loss is below 0, so that none cancels another in a sum
            const flat = [-1, 1].map((sign) => draw(rows * columns).map((x) => sign * Math.abs(x)));
            const reduction = ["none", "mean", "sum"][pick(3)];
            if (odd && reduction === "none")
              for (let i = 0; i < rows; i += 5)
                (flat[0] as Float64Array)[pick(rows * columns)] = [NaN, Infinity, -Infinity][
                  pick(3)
                ] as number;
            const [x, shares] = flat.map((data) => ({ data, shape: [rows, columns] }));
            const [image, imageShares] = flat.map((data) => ({
              data: turned(data, places, columns),
              shape: [samples, columns, ...behind],
            }));
            const classes = Int32Array.from({ length: rows }, () => pick(columns));
            const upstream = draw(rows);
            const options = {
              reduction,
              ...(pick(2) === 0 ? { weight: draw(columns).map(Math.abs) } : {}),
            };
            const shape = [samples, ...behind];
            const compare = (
              loss: unknown,
              of: unknown,
              target: unknown,
              imageTarget: unknown,
              more = {},
            ) => {
              const all = { ...options, ...more, ...(options.reduction === "none" ? { upstream } : {}) };
              const expected = (loss as AnyLoss).valueAndGrad(of, target, all);
              const actual = (loss as AnyLoss).valueAndGrad(image, imageTarget, all);
              const values = [actual, expected].map((of) => valuesOf(of.value)) as [Numbers, Numbers];
              // sums are added up in other groups, and each addition rounds
              if (options.reduction === "none") expectSameBits(...values, "value");
              else expectClose(...values, rows * Number.EPSILON, "value");
              if (options.reduction === "none")
                expect((actual.value as { shape: readonly number[] }).shape).toEqual(shape);
              for (const name in expected.grads) {
                const { data, shape } = actual.grads[name] as {
                  data: Float64Array;
                  shape: readonly number[];
                };
                expect(shape).toEqual(image?.shape);
                const wide = turned(expected.grads[name]?.data as Float64Array, places, columns);
                expectSameBits(data, wide, `gradient of ${name}`);
              }
            };
            const smooth = { labelSmoothing: pick(2) / 4 };
            const ignore = { ignoreIndex: pick(columns) };
            const map = { data: classes, shape };
            compare(nllLoss, x, classes, map, ignore);
            compare(crossEntropyLoss, x, classes, map, { ...ignore, ...smooth });
            compare(crossEntropyLoss, x, shares, imageShares, smooth);
          }),
          { numRuns: 100 },
        ),
      ));
    test(`one position alone has what it has among others (${engine})`, () =>
      on(engine, () => {
        const random = randomStream(11);
        const [columns, places] = [7, 50];
        const image = Float32Array.from({ length: columns * places }, () => 8 * random() - 4);
        const classes = Int32Array.from({ length: places }, () => Math.floor(random() * columns));
        const all = crossEntropyLoss.valueAndGrad(
          tensor(image, [1, columns, places]),
          tensor(classes, [1, places]),
          NONE,
        );
        for (let i = 0; i < places; i++) {
          const column = (data: ArrayLike<number>): Float32Array =>
            Float32Array.from({ length: columns }, (_, c) => data[c * places + i] as number);
          const one = crossEntropyLoss.valueAndGrad(column(image), classes[i] as number, NONE);
          expectSameBits(one.value.data, [all.value.data[i] as number], `loss ${i}`);
          expectSameBits(one.grads.input.data, column(all.grads.input.data), `gradient ${i}`);
        }
      }));
    test(`[N, C, 1] is [N, C]; no position has no loss (${engine})`, () =>
      on(engine, () => {
        const x = Float64Array.of(1, 2, 3, 4, 0, 1);
        const column = crossEntropyLoss.valueAndGrad(tensor(x, [2, 3, 1]), [[2], [1]], NONE);
        const plain = crossEntropyLoss.valueAndGrad(tensor(x, [2, 3]), [2, 1], NONE);
        expectSameBits(column.value.data, plain.value.data, "value");
        expectSameBits(column.grads.input.data, plain.grads.input.data, "gradient");
        expect([column.value.shape, column.grads.input.shape]).toEqual([
          [2, 1],
          [2, 3, 1],
        ]);
        const none = nllLoss.valueAndGrad(
          tensor(new Float64Array(0), [2, 3, 0]),
          tensor(new Int32Array(0), [2, 0]),
        );
        expect(none.value).toBe(Number.NaN);
        expect(none.grads.input.shape).toEqual([2, 3, 0]);
      }));
    test(`gradients may be written over the scores (${engine})`, () =>
      on(engine, () => {
        const numbers = Float64Array.from({ length: 24 }, (_, i) => Math.sin(i));
        const target = tensor(
          Int32Array.from({ length: 8 }, (_, i) => i % 3),
          [2, 4],
        );
        const expected = crossEntropyLoss.valueAndGrad(tensor(numbers.slice(), [2, 3, 4]), target);
        const input = numbers.slice();
        crossEntropyLoss.valueAndGrad(tensor(input, [2, 3, 4]), target, { out: { grads: { input } } });
        expectSameBits(input, expected.grads.input.data, "gradient");
      }));
  }
});

for (const engine of ENGINES) {
  const check = (title: string, run: () => void): void => {
    test(title, () => on(engine, run));
  };
  const values = (loss: unknown, ...args: unknown[]): number[] =>
    Array.from(valuesOf((loss as AnyLoss)(...args)));
  const slopes = (loss: unknown, ...args: unknown[]): number[] =>
    Array.from((loss as AnyLoss).valueAndGrad(...args).grads.input?.data ?? [], (g) => g + 0);

  describe(`traps (${engine})`, () => {
    check("logits of +-1000 neither overflow nor vanish", () => {
      const x = [
        [1000, -1000, 0],
        [-1000, -1000, -1000],
        [1000, 1000, 1000],
      ];
      expect(values(crossEntropyLoss, x, [1, 0, 0], NONE)[0]).toBe(2000);
      expectClose(
        values(crossEntropyLoss, x, [0, 0, 0], NONE),
        [0, Math.log(3), Math.log(3)],
        1e-15,
        "value",
      );
      expect(slopes(crossEntropyLoss, x, [1, 0, 0], { reduction: "sum" }).slice(0, 3)).toEqual([1, -1, 0]);
      expectClose(values(logSumExp, x), [1000, Math.log(3) - 1000, Math.log(3) + 1000], 1e-15, "logSumExp");
    });
    check("a class of logit -Infinity has probability 0, and the others are as if it were not there", () => {
      const x = [[0, -Infinity, 0]];
      expect(values(softmax, x)).toEqual([0.5, 0, 0.5]);
      expect(values(logSoftmax, x)[1]).toBe(-Infinity);
      expectClose(values(crossEntropyLoss, x, [0]), [Math.LN2], 1e-15, "value");
      expectClose(slopes(crossEntropyLoss, x, [0]), [-0.5, 0, 0.5], 1e-15, "gradient");
      expect(values(crossEntropyLoss, x, [1])).toEqual([Infinity]);
      // probability 0 of the target's own: 0 log 0 is 0
      expectClose(values(crossEntropyLoss, x, [[1, 0, 0]]), [Math.LN2], 1e-15, "with probabilities");
    });
    check("a row of nothing but -Infinity", () => {
      const x = [[-Infinity, -Infinity]];
      expect(values(logSumExp, x)).toEqual([-Infinity]);
      expect(values(softmax, x)).toEqual([Number.NaN, Number.NaN]);
    });
    check("logits of +Infinity", () => {
      expect(values(logSumExp, [[Infinity, 0]])).toEqual([Infinity]);
      expect(values(logSumExp, [[Infinity, -Infinity]])).toEqual([Infinity]);
      expect(values(crossEntropyLoss, [[Infinity, 0]], [1])).toEqual([Infinity]);
      expect(values(softmax, [[Infinity, 0]])).toEqual([Number.NaN, 0]);
      expect(values(logSoftmax, [[Infinity, 0]])).toEqual([Number.NaN, -Infinity]);
    });
    check("soft margins of labels at infinite logits: no share, no loss", () => {
      const x = [Infinity, Infinity, Infinity, -Infinity, -Infinity, -Infinity].map((v) => [v, 0]);
      const target = [0, 1, 0.5, 0, 1, 0.5].map((t) => [t, 0]);
      const rest = Math.LN2 / 2;
      expectClose(
        values(multiLabelSoftMarginLoss, x, target, NONE),
        [Infinity, rest, Infinity, rest, Infinity, Infinity],
        1e-15,
        "value",
      );
      const of = slopes(multiLabelSoftMarginLoss, x, target, NONE).filter((_, i) => i % 2 === 0);
      expect(of.map((slope) => slope + 0)).toEqual([0.5, 0, 0.25, 0, -0.5, -0.25]);
    });
    check("soft margins of labels keep the digits of slopes that are nearly 0", () => {
      const x = Float32Array.of(30, -30, 17, -17);
      const expected = [30, 30, 17, 17].map((z) => -1 / (1 + Math.exp(z)) / 4);
      const of = slopes(multiLabelSoftMarginLoss, x, [1, 0, 1, 0]);
      for (const [i, e] of expected.entries()) {
        const ratio = (of[i] as number) / (i % 2 === 0 ? e : -e);
        expect(Math.abs(ratio - 1)).toBeLessThan(1e-6);
      }
    });
    check("-1 in the first place of a row of labels: the set is empty", () => {
      const x = [
        [0.1, 0.2, 0.4],
        [0.1, 0.2, 0.4],
      ];
      const padded = [
        [-1, 2, 1],
        [2, -1, 0],
      ];
      expect(values(multiLabelMarginLoss, x, padded, NONE)[0]).toBe(0);
      expect(slopes(multiLabelMarginLoss, x, padded).slice(0, 3)).toEqual([0, 0, 0]);
      // what follows the first -1 is not looked at
      expectSameBits(
        values(multiLabelMarginLoss, x, padded, NONE),
        values(multiLabelMarginLoss, x, [[], [2]], NONE),
        "ragged",
      );
      expectClose(values(multiLabelMarginLoss, x, [[], [2]], NONE), [0, (0.7 + 0.8) / 3], 1e-15, "value");
    });
    check("slopes of many labels are rounded once", () => {
      const columns = 3000;
      const x = Float32Array.from({ length: columns }, (_, i) => Math.sin(i * i));
      const set = Array.from({ length: columns / 2 }, (_, i) => 2 * i);
      const [single, double] = [x, Float64Array.from(x)].map((data) =>
        slopes(multiLabelMarginLoss, data, set),
      );
      expectClose(single as number[], double as number[], 2e-7, "gradient");
    });
    check("NaN in a row touches no other row", () => {
      for (const row of REGISTRY.filter(({ family }) => family === "rowwise")) {
        const drawn = sample(row, { seed: 5, dtype: "float64", size: 4 });
        const [input] = drawn.args as [{ data: Float64Array; shape: number[] }];
        const columns = input.shape[1] as number;
        const rows = input.shape[0] as number;
        const options = { ...drawn.options, ...(row.kind === "loss" ? NONE : {}), upstream: undefined };
        const run = (): Answer => row.loss.valueAndGrad(...drawn.args, options);
        const clean = run();
        for (let spoilt = 0; spoilt < rows; spoilt++) {
          const kept = input.data[spoilt * columns] as number;
          input.data[spoilt * columns] = Number.NaN;
          const { value, grads } = run();
          input.data[spoilt * columns] = kept;
          for (const [now, then] of [
            [valuesOf(value), valuesOf(clean.value)],
            [grads.input?.data, clean.grads.input?.data],
          ] as [ArrayLike<number>, ArrayLike<number>][]) {
            const width = then.length / rows;
            const others = (a: ArrayLike<number>): number[] =>
              Array.from(a).filter((_, i) => Math.floor(i / width) !== spoilt);
            expectSameBits(others(now), others(then), `${row.name}, row ${spoilt}`);
          }
        }
      }
    });
    check("NaN at the target's own place comes out", () => {
      const x = [[Number.NaN, 1]];
      expect(values(crossEntropyLoss, x, [0])).toEqual([Number.NaN]);
      expect(values(multiMarginLoss, x, [0])).toEqual([Number.NaN]);
      expect(values(multiLabelMarginLoss, x, [[0]])).toEqual([Number.NaN]);
      expect(values(nllLoss, x, [0])).toEqual([Number.NaN]);
    });
    check("what has no share is not looked at: ignored rows, classes of weight 0", () => {
      const x = [
        [1, 2],
        [Number.NaN, Infinity],
      ];
      const smooth = { labelSmoothing: 0.5 };
      expect(values(crossEntropyLoss, x, [0, -100], smooth)).toEqual(
        values(crossEntropyLoss, x.slice(0, 1), [0], smooth),
      );
      expect(slopes(crossEntropyLoss, x, [0, -100], smooth).slice(2)).toEqual([0, 0]);
      const weight = [1, 0];
      expect(values(crossEntropyLoss, [[0, -Infinity]], [0], { ...smooth, weight })).toEqual([0]);
    });
    check("at the kink of a margin the slope is 0", () => {
      // as far apart as the margin is wide, the last one in a vector of its own
      const x = [[2, 1, 1, 1, 1]];
      for (const [loss, target] of [
        [multiMarginLoss, [0]],
        [multiLabelMarginLoss, [[0, -1, -1, -1, -1]]],
      ] as unknown as [AnyLoss, unknown][]) {
        const { data } = loss.valueAndGrad(x, target).grads.input as { data: ArrayLike<number> };
        expect(Array.from(data, Math.abs)).toEqual([0, 0, 0, 0, 0]);
      }
    });
    check("float32 stays float32, whatever the labels are", () => {
      const x = tensor(Float32Array.of(1, 2, 3, 4), [2, 2]);
      for (const labels of [[0, 1], Int32Array.of(0, 1), Float64Array.of(0, 1)])
        expect(crossEntropyLoss.valueAndGrad(x, labels).grads.input.data).toBeInstanceOf(Float32Array);
    });
  });

  describe(`means (${engine})`, () => {
    const x = [
      [1, 2, 3],
      [0, 0, 0],
      [3, 1, 2],
    ];
    check("divide by the weights of the targets that count", () => {
      const weight = [1, 2, 4];
      const single = values(crossEntropyLoss, x, [2, 1, 0], { ...NONE, weight });
      const sum = single.reduce((a, b) => a + b, 0);
      expectClose(values(crossEntropyLoss, x, [2, 1, 0], { weight }), [sum / 7], 1e-15, "classes");
      const rows = [
        [0, 0, 1],
        [0, 1, 0],
        [1, 0, 0],
      ];
      expectClose(values(crossEntropyLoss, x, rows, { weight }), [sum / 3], 1e-15, "probabilities");
    });
    check("pass over ignored targets, which have loss 0 and gradient 0", () => {
      for (const loss of [crossEntropyLoss, nllLoss]) {
        expect(values(loss, x, [2, -100, 0], NONE)[1]).toBe(0);
        expectClose(values(loss, x, [2, -100, 0]), values(loss, [x[0], x[2]], [2, 0]), 1e-15, "mean");
        expect(slopes(loss, x, [2, -100, 0]).slice(3, 6)).toEqual([0, 0, 0]);
        expectClose(
          values(loss, x, [2, 1, 0], { ignoreIndex: 1 }),
          values(loss, x, [2, -100, 0]),
          1e-15,
          "index",
        );
      }
    });
    check("over nothing are NaN, and sums 0", () => {
      for (const loss of [crossEntropyLoss, nllLoss]) {
        expect(values(loss, x, [-100, -100, -100])).toEqual([Number.NaN]);
        expect(values(loss, x, [-100, -100, -100], { reduction: "sum" })).toEqual([0]);
      }
      const empty = tensor(new Float64Array(0), [0, 3]);
      expect(values(crossEntropyLoss, empty, new Int32Array(0))).toEqual([Number.NaN]);
      expect(values(multiMarginLoss, empty, new Int32Array(0), { reduction: "sum" })).toEqual([0]);
    });
    check("one row alone has the shapes of a row", () => {
      const { value, grads } = crossEntropyLoss.valueAndGrad([1, 2, 3], 2, NONE);
      expect(value.shape).toEqual([]);
      expect(grads.input.shape).toEqual([3]);
      expectSameBits(value.data, values(crossEntropyLoss, [[1, 2, 3]], [2], NONE), "value");
      for (const set of [[2, 0], Int32Array.of(2, 0, -1)])
        expect(multiLabelMarginLoss.valueAndGrad([1, 2, 3], set)).toEqual({
          value: multiLabelMarginLoss([[1, 2, 3]], [[2, 0]]),
          grads: { input: { data: expect.any(Float64Array), shape: [3] } },
        });
    });
  });

  describe(`shapes of what goes over the last axis (${engine})`, () => {
    const x = tensor(
      Float64Array.from({ length: 24 }, (_, i) => Math.sin(i)),
      [2, 3, 4],
    );
    check("any number of axes before it", () => {
      expect(logSumExp(x).shape).toEqual([2, 3]);
      expect(softmax(x).shape).toEqual([2, 3, 4]);
      const { value, grads } = logSumExp.valueAndGrad(x, { upstream: logSumExp(x) });
      expect(value.shape).toEqual([2, 3]);
      expect(grads.input.shape).toEqual([2, 3, 4]);
      const first = tensor(x.data.slice(0, 4), [4]);
      expectSameBits(softmax(x).data.subarray(0, 4), softmax(first).data, "the first row alone");
      const soft = multiLabelSoftMarginLoss(x, softmax(x), NONE);
      expect(soft.shape).toEqual([2, 3]);
      const row = softmax(first);
      expectSameBits(soft.data.subarray(0, 1), multiLabelSoftMarginLoss(first, row, NONE).data, "its loss");
    });
  });

  describe(`bad input (${engine})`, () => {
    const x = [[1, 2, 3]];
    const cases: [title: string, run: () => unknown, code: string, message: string][] = [
      [
        "a class that there is not",
        () =>
          crossEntropyLoss(
            [
              [1, 2, 3],
              [1, 2, 3],
            ],
            [0, 3],
          ),
        "LABEL",
        "crossEntropyLoss: target[1] is 3, expected a class index in [0, 3) or ignoreIndex (-100)",
      ],
      ["a class between two", () => nllLoss(x, [0.5]), "LABEL", "nllLoss: target[0] is 0.5"],
      [
        "a class of NaN",
        () => multiMarginLoss(x, [Number.NaN]),
        "LABEL",
        "multiMarginLoss: target[0] is NaN",
      ],
      [
        "ignoreIndex where there is none",
        () => multiMarginLoss(x, [-100]),
        "LABEL",
        "multiMarginLoss: target[0] is -100, expected a class index in [0, 3)",
      ],
      [
        "a label below -1",
        () => multiLabelMarginLoss(x, [[0, -2]]),
        "LABEL",
        "multiLabelMarginLoss: target[0][1] is -2, expected a class index in [0, 3), or -1 at the end",
      ],
      [
        "more labels than classes",
        () => multiLabelMarginLoss(x, [[0, 1, 2, 0]]),
        "LENGTH",
        "multiLabelMarginLoss: target[0] is an array of 4, expected at most 3 labels",
      ],
      [
        "a set too few",
        () =>
          multiLabelMarginLoss(
            [
              [1, 2],
              [3, 4],
            ],
            [[0]],
          ),
        "SHAPE",
        "multiLabelMarginLoss: target is an array of 1, expected one array of labels per row: 2",
      ],
      [
        "targets that fit neither way",
        () => crossEntropyLoss(x, [0, 1]),
        "SHAPE",
        "crossEntropyLoss: target is of shape [2], expected [1] or [1, 3]",
      ],
      [
        "probabilities where only classes go",
        () => nllLoss(x, [[1, 0, 0]]),
        "SHAPE",
        "nllLoss: target is of shape [1, 3], expected [1]",
      ],
      [
        "three axes",
        () => multiMarginLoss([[[1, 2]]], [[0]]),
        "RANK",
        "multiMarginLoss: input is of shape [1, 1, 2], expected [N, C], or [C] for one row",
      ],
      [
        "a number for a row",
        () => nllLoss(1, 0),
        "RANK",
        "nllLoss: input is of shape [], expected at least one axis",
      ],
      [
        "targets in the order of other libraries",
        () => crossEntropyLoss(tensor(new Float64Array(24), [2, 3, 4]), tensor(new Int32Array(6), [2, 3])),
        "SHAPE",
        "crossEntropyLoss: target is of shape [2, 3], expected [2, 4] or [2, 3, 4]",
      ],
      [
        "probabilities per position where only classes go",
        () => nllLoss(tensor(new Float64Array(24), [2, 3, 4]), tensor(new Float64Array(24), [2, 3, 4])),
        "SHAPE",
        "nllLoss: target is of shape [2, 3, 4], expected [2, 4]",
      ],
      [
        "a class that there is not, in a picture",
        () =>
          nllLoss(tensor(new Float64Array(12), [1, 3, 2, 2]), tensor(Int32Array.of(0, 2, 3, 1), [1, 2, 2])),
        "LABEL",
        "nllLoss: target[0][1][0] is 3, expected a class index in [0, 3) or ignoreIndex (-100)",
      ],
      [
        "weights per position",
        () =>
          crossEntropyLoss(tensor(new Float64Array(24), [2, 3, 4]), tensor(new Int32Array(8), [2, 4]), {
            weight: [1, 1, 1, 1],
          }),
        "SHAPE",
        "crossEntropyLoss: weight is of shape [4], expected one factor per class: [3]",
      ],
      [
        "an upstream gradient per class",
        () =>
          crossEntropyLoss(tensor(new Float64Array(24), [2, 3, 4]), tensor(new Int32Array(8), [2, 4]), {
            ...NONE,
            upstream: tensor(new Float64Array(6), [2, 3]),
          }),
        "SHAPE",
        "crossEntropyLoss: upstream is of shape [2, 3], expected a number or [2, 4]",
      ],
      ["no axis", () => softmax(1), "RANK", "softmax: input is of shape [], expected at least one axis"],
      [
        "an array in itself",
        () => {
          const around: unknown[] = [];
          around.push(around);
          softmax(around as number[]);
        },
        "RANK",
        "softmax: input is nested more than 32 deep, expected at most 32 axes",
      ],
      [
        "no class",
        () => logSumExp(tensor(new Float64Array(0), [2, 0])),
        "SHAPE",
        "logSumExp: input is of shape [2, 0], expected at least one class",
      ],
      [
        "weights of another length",
        () => crossEntropyLoss(x, [0], { weight: [1, 2] }),
        "SHAPE",
        "crossEntropyLoss: weight is of shape [2], expected one factor per class: [3]",
      ],
      [
        "a smoothing above 1",
        () => crossEntropyLoss(x, [0], { labelSmoothing: 1.5 }),
        "NUMBER",
        "crossEntropyLoss: labelSmoothing is 1.5",
      ],
      [
        "another power",
        () => multiMarginLoss(x, [0], { p: 3 as never }),
        "OPTION",
        "multiMarginLoss: p is 3",
      ],
      [
        "an ignoreIndex that is no whole number",
        () => nllLoss(x, [0], { ignoreIndex: 0.5 }),
        "NUMBER",
        "nllLoss: ignoreIndex is 0.5",
      ],
      [
        "a gradient of labels",
        () => nllLoss.valueAndGrad(x, [0], { wrt: ["target" as never] }),
        "OPTION",
        "nllLoss: wrt[0]",
      ],
    ];
    for (const [title, run, code, message] of cases) {
      check(title, () => {
        let error: unknown;
        try {
          run();
        } catch (e) {
          error = e;
        }
        expect((error as Error | undefined)?.message).toContain(message);
        const type = code === "OPTION" ? TypeError : RangeError;
        expect(error).toBeInstanceOf(type);
        expect(error).toMatchObject({ code, argument: expect.any(String), expected: expect.any(String) });
      });
    }
    check("nothing is written before the labels were checked", () => {
      const input = Float64Array.of(7, 7, 7);
      const value = Float64Array.of(7);
      const options = { ...NONE, out: { value, grads: { input } } };
      expect(() => crossEntropyLoss.valueAndGrad(x, [3], options)).toThrow(RangeError);
      expect(() => multiLabelMarginLoss.valueAndGrad(x, [[5]], options)).toThrow(RangeError);
      expect([...input, ...value]).toEqual([7, 7, 7, 7]);
    });
  });
}
