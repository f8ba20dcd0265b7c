/**
 * The pointwise losses: identities between them, the places where their formulas have traps, broadcasting, and what is
 * refused. Golden values, agreement of the engines and central differences are laws over the registry (test/laws).
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type AllocatedTensor,
  allocate,
  bceLoss,
  bceWithLogitsLoss,
  crossEntropyLoss,
  gaussianNllLoss,
  hingeEmbeddingLoss,
  huberLoss,
  klDivLoss,
  l1Loss,
  logSoftmax,
  marginRankingLoss,
  mseLoss,
  nllLoss,
  poissonNllLoss,
  sigmoidFocalLoss,
  smoothL1Loss,
  softMarginLoss,
  tensor,
} from "../ts/index.js";
import type { AnyLoss } from "../ts/registry.js";
import { REGISTRY } from "../ts/registry.js";
import type { Input, Loss, Output } from "../ts/types.js";
import { expectClose, expectSameBits, valuesOf } from "./support/close.js";
import { ENGINES, on } from "./support/engines.js";
import { sample } from "./support/generate.js";
import { expectRefusal } from "./support/refusal.js";

const NONE = { reduction: "none" } as const;
const TOLERANCE = 1e-12;

/** Numbers of everyday size. */
const real = fc.double({ min: -6, max: 6, noNaN: true });
const probability = fc.double({ min: 1e-6, max: 1 - 1e-6, noNaN: true });
const arrays = (...of: fc.Arbitrary<number>[]): fc.Arbitrary<Float64Array[]> =>
  fc
    .integer({ min: 0, max: 40 })
    .chain((n) =>
      fc.tuple(
        ...of.map((x) => fc.array(x, { minLength: n, maxLength: n }).map((a) => Float64Array.from(a))),
      ),
    );
const map = (a: ArrayLike<number>, f: (x: number) => number): Float64Array => Float64Array.from(a, f);

/** Value and gradients of two calls are the same but for a factor. */
function expectAlike(
  actual: { value: unknown; grads: object },
  expected: { value: unknown; grads: object },
  names: readonly string[],
  factor = 1,
): void {
  expectClose(
    valuesOf(actual.value),
    map(valuesOf(expected.value), (x) => factor * x),
    TOLERANCE,
    "value",
  );
  for (const name of names) {
    const [a, e] = [actual, expected].map(
      ({ grads }) => (grads as Record<string, { data: ArrayLike<number> }>)[name]?.data,
    );
    expectClose(
      a as ArrayLike<number>,
      map(e as ArrayLike<number>, (x) => factor * x),
      TOLERANCE,
      `gradient of ${name}`,
    );
  }
}

/** Runs a property on each engine. */
function holds(
  title: string,
  inputs: fc.Arbitrary<Float64Array[]>,
  law: (...a: Float64Array[]) => void,
): void {
  for (const engine of ENGINES) {
    test(`${title} (${engine})`, () => {
      on(engine, () =>
        fc.assert(
          fc.property(inputs, (a) => law(...a)),
          { numRuns: 60 },
        ),
      );
    });
  }
}

describe("identities", () => {
  const two = arrays(real, real);
  const both = ["input", "target"];
  holds("huber with delta 1 is smooth L1 with beta 1", two, (x, t) => {
    expectAlike(huberLoss.valueAndGrad(x, t, NONE), smoothL1Loss.valueAndGrad(x, t, NONE), both);
  });
  holds("huber with delta d is d times smooth L1 with beta d", two, (x, t) => {
    const d = 2.5;
    expectAlike(
      huberLoss.valueAndGrad(x, t, { ...NONE, delta: d }),
      smoothL1Loss.valueAndGrad(x, t, { ...NONE, beta: d }),
      both,
      d,
    );
  });
  holds("smooth L1 with beta 0 is L1", two, (x, t) => {
    expectAlike(smoothL1Loss.valueAndGrad(x, t, { ...NONE, beta: 0 }), l1Loss.valueAndGrad(x, t, NONE), both);
  });
  holds("huber with an infinite delta is half the squared error", two, (x, t) => {
    expectAlike(
      huberLoss.valueAndGrad(x, t, { ...NONE, delta: Infinity }),
      mseLoss.valueAndGrad(x, t, NONE),
      both,
      0.5,
    );
  });
  holds("Gaussian likelihood with variance 1 is half the squared error", two, (x, t) => {
    expectAlike(gaussianNllLoss.valueAndGrad(x, t, 1, NONE), mseLoss.valueAndGrad(x, t, NONE), both, 0.5);
  });
  holds("`full` adds a constant to the Gaussian likelihood", arrays(real, real, probability), (x, t, v) => {
    const whole = gaussianNllLoss.valueAndGrad(x, t, v, { ...NONE, full: true });
    const part = gaussianNllLoss.valueAndGrad(x, t, v, NONE);
    expectAlike(
      { value: { data: map(whole.value.data, (y) => y - Math.log(2 * Math.PI) / 2) }, grads: whole.grads },
      part,
      [...both, "variance"],
    );
  });
  holds("binary cross-entropy of a sigmoid is that of the logits", arrays(real, probability), (x, t) => {
    const p = map(x, (z) => 1 / (1 + Math.exp(-z)));
    const ofLogits = bceWithLogitsLoss.valueAndGrad(x, t, NONE);
    const ofP = bceLoss.valueAndGrad(p, t, NONE);
    const chained = ofP.grads.input.data.map((g, i) => g * (p[i] as number) * (1 - (p[i] as number)));
    expectAlike({ value: ofP.value, grads: { ...ofP.grads, input: { data: chained } } }, ofLogits, both);
  });
  holds("focal loss with gamma 0 is cross-entropy", arrays(real, probability), (x, t) => {
    const ce = bceWithLogitsLoss.valueAndGrad(x, t, NONE);
    expectAlike(sigmoidFocalLoss.valueAndGrad(x, t, { ...NONE, gamma: 0, alpha: -1 }), ce, ["input"]);
    expectAlike(sigmoidFocalLoss.valueAndGrad(x, t, { ...NONE, gamma: 0, alpha: 0.5 }), ce, ["input"], 0.5);
  });
  test("focal loss of targets beyond 0 and 1 has a power of a negative number where gamma is a whole one", () => {
    const [x, t] = [
      [-2, -1, 0.5, 2, 3],
      [-0.5, 1.5, -0.25, 1.75, 2],
    ];
    for (const gamma of [1, 2, 3, 4, 2.5]) {
      // the reference raises to a power as JavaScript does
      const by = (engine: "wasm" | "js") =>
        on(engine, () => sigmoidFocalLoss.valueAndGrad(x, t, { gamma, alpha: 0.25, reduction: "none" }));
      const [wasm, js] = [by("wasm"), by("js")];
      expectClose(wasm.value.data, js.value.data, TOLERANCE, `gamma ${gamma}: value`);
      expectClose(wasm.grads.input.data, js.grads.input.data, TOLERANCE, `gamma ${gamma}: gradient`);
    }
  });
  holds("focal loss weighs the classes with alpha and 1 - alpha", arrays(real), (x) => {
    for (const [t, w] of [
      [1, 0.3],
      [0, 0.7],
    ] as const) {
      const target = map(x, () => t);
      const plain = sigmoidFocalLoss.valueAndGrad(x, target, { ...NONE, alpha: -1 });
      expectAlike(sigmoidFocalLoss.valueAndGrad(x, target, { ...NONE, alpha: 0.3 }), plain, ["input"], w);
    }
  });
  holds(
    "focal loss is its formula, of targets between 0 and 1 as well",
    arrays(real, probability),
    (x, t) => {
      const [alpha, gamma] = [0.3, 1.5];
      const ce = bceWithLogitsLoss.valueAndGrad(x, t, NONE);
      const [value, input] = [map(x, () => 0), map(x, () => 0)];
      x.forEach((z, i) => {
        const [y, loss] = [t[i] as number, ce.value.data[i] as number];
        const [p, notP] = [1 / (1 + Math.exp(-z)), 1 / (1 + Math.exp(z))];
        const q = p * (1 - y) + notP * y;
        const a = alpha * y + (1 - alpha) * (1 - y);
        value[i] = a * q ** gamma * loss;
        const pull = gamma * q ** (gamma - 1) * (1 - 2 * y) * p * notP * loss;
        input[i] = a * (q ** gamma * (ce.grads.input.data[i] as number) + pull);
      });
      expectAlike(
        sigmoidFocalLoss.valueAndGrad(x, t, { ...NONE, alpha, gamma }),
        { value: { data: value }, grads: { input: { data: input } } },
        ["input"],
      );
    },
  );
  holds(
    "a weight of 1 is none, a weight of w is w times as much",
    arrays(probability, probability),
    (x, t) => {
      for (const loss of [bceLoss, bceWithLogitsLoss]) {
        const plain = loss.valueAndGrad(x, t, NONE);
        expectAlike(loss.valueAndGrad(x, t, { ...NONE, weight: map(x, () => 1) }), plain, both);
        expectAlike(loss.valueAndGrad(x, t, { ...NONE, weight: 3 }), plain, both, 3);
      }
    },
  );
  holds(
    "a posWeight of 1 is none; it multiplies the loss where the target is 1 and leaves it where it is 0",
    arrays(real, probability),
    (x, t) => {
      expectAlike(
        bceWithLogitsLoss.valueAndGrad(x, t, { ...NONE, posWeight: 1 }),
        bceWithLogitsLoss.valueAndGrad(x, t, NONE),
        both,
      );
      for (const [y, w] of [
        [1, 4],
        [0, 1],
      ] as const) {
        const target = map(x, () => y);
        const plain = bceWithLogitsLoss.valueAndGrad(x, target, NONE);
        expectAlike(
          bceWithLogitsLoss.valueAndGrad(x, target, { ...NONE, posWeight: 4 }),
          plain,
          ["input"],
          w,
        );
      }
    },
  );
  holds(
    "soft margin is cross-entropy with the targets 1 and 0 for 1 and -1",
    arrays(real, fc.constantFrom(-1, 1)),
    (x, t) => {
      expectAlike(
        softMarginLoss.valueAndGrad(x, t, NONE),
        bceWithLogitsLoss.valueAndGrad(
          x,
          map(t, (y) => (y + 1) / 2),
          NONE,
        ),
        ["input"],
      );
    },
  );
  holds("KL divergence of log-targets is that of the targets", arrays(real, probability), (x, p) => {
    const plain = klDivLoss.valueAndGrad(x, p, NONE);
    const logs = klDivLoss.valueAndGrad(x, map(p, Math.log), { ...NONE, logTarget: true });
    const chained = plain.grads.target.data.map((g, i) => g * (p[i] as number));
    expectAlike(logs, { value: plain.value, grads: { ...plain.grads, target: { data: chained } } }, both);
  });
  holds("KL divergence is cross-entropy less the target's entropy", arrays(real), (z) => {
    if (z.length === 0) return;
    const logits = tensor(z, [1, z.length]);
    const target = logSoftmax(
      tensor(
        map(z, (x) => Math.cos(5 * x)),
        [1, z.length],
      ),
    );
    const q = tensor(map(target.data, Math.exp), [1, z.length]);
    const entropy = -q.data.reduce((sum, p, i) => sum + p * (target.data[i] as number), 0);
    const kl = klDivLoss(logSoftmax(logits), q, { reduction: "batchmean" });
    expectClose([kl + entropy], [crossEntropyLoss(logits, q)], TOLERANCE, "cross-entropy");
    const oneHot = map(z, () => 0);
    oneHot[0] = 1;
    expectClose(
      [klDivLoss(logSoftmax(logits), tensor(oneHot, [1, z.length]), { reduction: "sum" })],
      [nllLoss(logSoftmax(logits), [0])],
      TOLERANCE,
      "one class has all the probability",
    );
  });
  holds("Poisson likelihood of a rate is that of its logarithm", arrays(real, fc.nat(20)), (x, t) => {
    const rate = map(x, Math.exp);
    const ofLogs = poissonNllLoss.valueAndGrad(x, t, { ...NONE, full: true });
    const ofRates = poissonNllLoss.valueAndGrad(rate, t, { ...NONE, full: true, logInput: false, eps: 0 });
    const chained = ofRates.grads.input.data.map((g, i) => g * (rate[i] as number));
    expectAlike({ value: ofRates.value, grads: { input: { data: chained } } }, ofLogs, ["input"]);
  });
  holds("hinge embedding is margin ranking against the margin where the target is -1", two, (x, y) => {
    const minus = map(x, () => -1);
    const hinge = hingeEmbeddingLoss.valueAndGrad(x, minus, { ...NONE, margin: 0.5 });
    const ranking = marginRankingLoss.valueAndGrad(
      x,
      map(y, () => 0),
      map(x, () => 1),
      { ...NONE, margin: 0.5 },
    );
    expectAlike(hinge, { value: ranking.value, grads: { input: ranking.grads.input1 } }, ["input"]);
  });
  holds(
    "mean, sum and batchmean are the sum over n, 1 and the first axis",
    arrays(real, probability),
    (x, t) => {
      const n = x.length;
      if (n === 0) return;
      const shape = [n, 1];
      const [a, b] = [tensor(x, shape), tensor(t, shape)];
      const sum = klDivLoss.valueAndGrad(a, b, { reduction: "sum" });
      expectAlike(klDivLoss.valueAndGrad(a, b), sum, both, 1 / n);
      expectAlike(klDivLoss.valueAndGrad(a, b, { reduction: "batchmean" }), sum, both, 1 / n);
      const flat = klDivLoss.valueAndGrad(tensor(x, [1, n]), tensor(t, [1, n]), { reduction: "batchmean" });
      expectAlike(flat, sum, both);
    },
  );
});

/** An input of a broadcast, as it is given and written out. */
interface Side {
  readonly narrow: { readonly data: Float64Array; readonly shape: readonly number[] };
  readonly wide: ReturnType<typeof tensor<Float64Array>>;
  readonly places: readonly number[];
}

for (const engine of ENGINES) {
  const check = (title: string, run: () => void): void => {
    test(title, () => on(engine, run));
  };
  const values = (loss: unknown, ...args: unknown[]): number[] => {
    const options = {
      ...NONE,
      ...(args.length > 0 && isOptions(args[args.length - 1]) ? (args.pop() as object) : {}),
    };
    return Array.from(valuesOf((loss as AnyLoss)(...args, options)));
  };
  const slopes = (loss: unknown, name: string, ...args: unknown[]): number[] => {
    const options = { ...NONE, ...(isOptions(args[args.length - 1]) ? (args.pop() as object) : {}) };
    return Array.from((loss as AnyLoss).valueAndGrad(...args, options).grads[name]?.data ?? []);
  };

  describe(`traps (${engine})`, () => {
    check("binary cross-entropy at 0 and 1: logarithms stop at -100, the slope at 1/1e-12 of float32", () => {
      const [x, t] = [
        [0, 1, 0, 1],
        [0, 1, 1, 0],
      ];
      expect(values(bceLoss, x, t).map(Math.abs)).toEqual([0, 0, 100, 100]);
      const steep = 1 / Math.fround(1e-12);
      expectClose(slopes(bceLoss, "input", x, t), [0, 0, -steep, steep], 1e-15, "gradient");
      expect(slopes(bceLoss, "target", x, t)).toEqual([100, -100, 100, -100]);
    });
    check("binary cross-entropy next to 0 and 1 is exact", () => {
      // PyTorch 2.9 in float64
      const value = [
        29.933606208922594, 27.631021115928547, 25.328436022934504, 29.933295312068765, 25.328435940194137,
      ];
      expectClose(
        values(bceLoss, [1e-13, 1e-12, 1e-11, 1 - 1e-13, 1 - 1e-11], [1, 1, 1, 0, 0]),
        value,
        1e-15,
        "value",
      );
    });
    check("NaN flows through the range check of probabilities", () => {
      expect(values(bceLoss, [Number.NaN, 0.5], [1, 1])[0]).toBeNaN();
      expect(slopes(bceLoss, "input", [Number.NaN, 0.5], [1, 1])).toEqual([Number.NaN, -2]);
    });
    check("logits of +-1000 and +-Infinity", () => {
      const x = [1000, 1000, -1000, -1000, Infinity, Infinity, -Infinity, -Infinity];
      const t = [0, 1, 0, 1, 0, 1, 0, 1];
      const losses = [1000, 0, 0, 1000, Infinity, 0, 0, Infinity];
      const slope = [1, 0, 0, -1, 1, 0, 0, -1];
      expect(values(bceWithLogitsLoss, x, t)).toEqual(losses);
      expect(slopes(bceWithLogitsLoss, "input", x, t).map((g) => g + 0)).toEqual(slope);
      expect(values(bceWithLogitsLoss, x, t, { posWeight: 2 })).toEqual(
        losses.map((v, i) => (t[i] === 1 ? 2 * v : v)),
      );
      expect(slopes(bceWithLogitsLoss, "input", x, t, { posWeight: 2 }).map((g) => g + 0)).toEqual([
        1, 0, 0, -2, 1, 0, 0, -2,
      ]);
      const signs = t.map((y) => 2 * y - 1);
      expect(values(softMarginLoss, x, signs)).toEqual(losses);
      expect(slopes(softMarginLoss, "input", x, signs).map((g) => g + 0)).toEqual(slope);
      for (const gamma of [0, 0.5, 1, 2]) {
        expect(values(sigmoidFocalLoss, x, t, { gamma, alpha: -1 })).toEqual(losses);
        expect(slopes(sigmoidFocalLoss, "input", x, t, { gamma, alpha: -1 }).map((g) => g + 0)).toEqual(
          slope,
        );
      }
    });
    check("focal loss of a hopeless and of a perfect prediction with gamma below 1", () => {
      const { value, grads } = sigmoidFocalLoss.valueAndGrad([-40, 40], [1, 1], {
        gamma: 0.5,
        alpha: -1,
        reduction: "none",
      });
      expectClose(value.data, [40, 0], 1e-8, "value");
      expectClose(grads.input.data, [-1, 0], 1e-8, "gradient");
    });
    check("KL divergence: a target of 0 adds nothing, 0 log 0 = 0, even against log 0", () => {
      expect(values(klDivLoss, [-1, -Infinity, 0], [0, 0, 0])).toEqual([0, 0, 0]);
      expect(slopes(klDivLoss, "input", [-1, -Infinity, 0], [0, 0, 0]).map((g) => g + 0)).toEqual([0, 0, 0]);
      expect(values(klDivLoss, [-1, -Infinity], [0.5, 0.5])).toEqual([0.5 * (Math.log(0.5) + 1), Infinity]);
      const logs = [-Infinity, -Infinity];
      expect(values(klDivLoss, [-1, -Infinity], logs, { logTarget: true })).toEqual([0, 0]);
      expect(slopes(klDivLoss, "target", [-1, -Infinity], logs, { logTarget: true })).toEqual([0, 0]);
    });
    check("Poisson: Stirling's term begins above 1", () => {
      expect(values(poissonNllLoss, [0, 0, 0], [0, 1, 0.5], { full: true })).toEqual(
        values(poissonNllLoss, [0, 0, 0], [0, 1, 0.5]),
      );
      expectClose(
        values(poissonNllLoss, [0], [2], { full: true }),
        [1 + 2 * Math.log(2) - 2 + 0.5 * Math.log(4 * Math.PI)],
        1e-15,
        "t = 2",
      );
      expect(values(poissonNllLoss, [0], [1], { logInput: false, eps: 0 })).toEqual([Infinity]);
    });
    check("Gaussian: the variance has a floor, which the gradient passes over", () => {
      // PyTorch 2.9 in float64
      expectClose(
        values(gaussianNllLoss, [0, 1], [0, 0], [0, 1e-7]),
        [-6.907755278982137, 499993.092244721],
        1e-14,
        "value",
      );
      expectClose(
        slopes(gaussianNllLoss, "variance", [0, 1], [0, 0], [0, 1e-7]),
        [500000, -499999500000],
        1e-14,
        "gradient",
      );
    });
    check("at a kink: 0 for absolute errors, the slope of the active side for hinges, as PyTorch", () => {
      expect(slopes(l1Loss, "input", [1], [1]).map(Math.abs)).toEqual([0]);
      expect(slopes(smoothL1Loss, "input", [1], [1], { beta: 0 }).map(Math.abs)).toEqual([0]);
      expect(slopes(marginRankingLoss, "input1", [1], [1], [1])).toEqual([-1]);
      expect(slopes(hingeEmbeddingLoss, "input", [1], [-1])).toEqual([-1]);
    });
    check("nothing to average is NaN, nothing to add up is 0", () => {
      for (const loss of [l1Loss, mseLoss, klDivLoss, bceLoss, softMarginLoss] as unknown as AnyLoss[]) {
        expect(loss([], [])).toBeNaN();
        expect(loss([], [], { reduction: "sum" })).toBe(0);
        expect(loss.valueAndGrad([], []).grads.input?.data.length).toBe(0);
      }
      expect(
        klDivLoss(tensor(new Float32Array(0), [0, 3]), tensor(new Float32Array(0), [0, 3]), {
          reduction: "batchmean",
        }),
      ).toBeNaN();
    });
  });

  describe(`broadcasting (${engine})`, () => {
    const grid = [
      [1, 2, 3],
      [4, 5, 6],
    ];
    check("input and target: the gradient of what was repeated is the sum over its copies", () => {
      for (const loss of [l1Loss, mseLoss, smoothL1Loss, huberLoss, klDivLoss] as Loss<
        [Input, Input],
        "input" | "target"
      >[]) {
        for (const [small, whole] of [
          [
            2.5,
            [
              [2.5, 2.5, 2.5],
              [2.5, 2.5, 2.5],
            ],
          ],
          [
            [1, 0.5, 9],
            [
              [1, 0.5, 9],
              [1, 0.5, 9],
            ],
          ],
          [
            [[7], [0.25]],
            [
              [7, 7, 7],
              [0.25, 0.25, 0.25],
            ],
          ],
          [
            [[[0.1, 0.2, 0.3]]],
            [
              [
                [0.1, 0.2, 0.3],
                [0.1, 0.2, 0.3],
              ],
            ],
          ],
        ] as const) {
          const narrow = loss.valueAndGrad(grid, small, NONE);
          const wide = loss.valueAndGrad(grid, whole, NONE);
          expectSameBits(narrow.value.data, wide.value.data, `${loss.name}: value`);
          expectSameBits(narrow.grads.input.data, wide.grads.input.data, `${loss.name}: gradient of input`);
          const all = wide.grads.target.data;
          const summed = new Float64Array(narrow.grads.target.data.length);
          const per = (i: number) =>
            summed.length === 1 ? 0 : summed.length === 3 ? i % 3 : Math.floor(i / 3);
          all.forEach((g, i) => {
            summed[per(i)] = (summed[per(i)] as number) + g;
          });
          expectClose(narrow.grads.target.data, summed, 1e-14, `${loss.name}: gradient of target`);
          // and the other way round
          expectSameBits(
            valuesOf(loss(small, grid, NONE)),
            valuesOf(loss(whole, grid, NONE)),
            `${loss.name}: swapped`,
          );
        }
      }
      expect(l1Loss.valueAndGrad(grid, [[0]], NONE).grads.target.shape).toEqual([1, 1]);
      expect(l1Loss(3, 1)).toBe(2);
      expect(l1Loss(3, 1, NONE)).toEqual({ data: Float64Array.of(2), shape: [] });
    });
    check("over any axes: as if every number had been written out", () => {
      const axis = fc.record({
        length: fc.integer({ min: 1, max: 4 }),
        of: fc.constantFrom("both", "input", "target"),
      });
      fc.assert(
        fc.property(fc.array(axis, { maxLength: 4 }), fc.boolean(), fc.boolean(), (axes, short, lodged) => {
          const shape = axes.map(({ length }) => length);
          const count = (lengths: number[]): number => lengths.reduce((n, length) => n * length, 1);
          const side = (name: string, seed: number): Side => {
            const own = axes.map(({ length, of }) => (of === "both" || of === name ? length : 1));
            const data = Float64Array.from({ length: count(own) }, (_, i) => Math.sin(9 * i + seed));
            // which of them stands at each place of the whole
            const places = Array.from({ length: count(shape) }, (_, i) => {
              let [rest, place, stride] = [i, 0, 1];
              for (let d = shape.length - 1; d >= 0; d--) {
                place += own[d] === 1 ? 0 : stride * (rest % (shape[d] as number));
                stride *= own[d] as number;
                rest = Math.floor(rest / (shape[d] as number));
              }
              return place;
            });
            // axes of length 1 at the front need not be there
            const first = own.findIndex((length) => length !== 1);
            const given = short && name === "target" ? own.slice(first < 0 ? own.length : first) : own;
            return {
              narrow: { data, shape: given },
              wide: tensor(
                Float64Array.from(places, (place) => data[place] as number),
                shape,
              ),
              places,
            };
          };
          const [input, target] = [side("input", 0), side("target", 1)];
          // in the core's memory they are spread as well, and added up there
          const kept: AllocatedTensor<Float64Array>[] = [];
          const inCore = ({ data, shape }: Side["narrow"]): Side["narrow"] => {
            const made = allocate(shape, "float64");
            made.data.set(data);
            kept.push(made);
            return made;
          };
          const [x, y, gradX, gradY] = [input, target, input, target].map((side) =>
            lodged ? inCore(side.narrow) : side.narrow,
          ) as [Input, Input, Output, Output];
          const out = lodged ? { grads: { input: gradX, target: gradY } } : undefined;
          const narrow = mseLoss.valueAndGrad(x, y, { ...NONE, out });
          const wide = mseLoss.valueAndGrad(input.wide, target.wide, NONE);
          expect(narrow.value).toEqual(wide.value);
          for (const [name, side] of [
            ["input", input],
            ["target", target],
          ] as const) {
            const sums = map(side.narrow.data, () => 0);
            side.places.forEach((place, i) => {
              sums[place] = (sums[place] as number) + (wide.grads[name].data[i] as number);
            });
            expectClose(narrow.grads[name].data, sums, 1e-14, name);
            expect(narrow.grads[name].shape).toEqual(side.narrow.shape);
          }
          for (const made of kept) made.dispose();
        }),
        { numRuns: 200 },
      );
    });
    check("weight and posWeight: any shape that broadcasts to the input's", () => {
      const target = [
        [0, 1, 0.5],
        [1, 0.25, 0],
      ];
      const rows = [[2], [3]];
      const columns = [1, 2, 4];
      const byRow = [
        [2, 2, 2],
        [3, 3, 3],
      ];
      const byColumn = [columns, columns];
      for (const option of ["weight", "posWeight"]) {
        const run = (w: unknown) =>
          (bceWithLogitsLoss as unknown as AnyLoss).valueAndGrad(grid, target, { ...NONE, [option]: w });
        expect(run(rows)).toEqual(run(byRow));
        expect(run(columns)).toEqual(run(byColumn));
        expect(run(2)).toEqual(
          run([
            [2, 2, 2],
            [2, 2, 2],
          ]),
        );
        expect(run(Float64Array.of(1, 2, 4))).toEqual(run(byColumn));
        expect(() => run([1, 2])).toThrow(
          `bceWithLogitsLoss: ${option} is of shape [2], expected a shape that broadcasts to [2, 3]`,
        );
        expect(() => run([byRow])).toThrow(`bceWithLogitsLoss: ${option} is of shape [1, 2, 3]`);
      }
    });
    check("variance: per element, per row with or without its last axis, or one number", () => {
      const target = [
        [0, 1, 5],
        [2, 2, 2],
      ];
      const whole = gaussianNllLoss.valueAndGrad(
        grid,
        target,
        [
          [2, 2, 2],
          [3, 3, 3],
        ],
        NONE,
      );
      const sums = [0, 1].map((r) =>
        [0, 1, 2].reduce((sum, c) => sum + (whole.grads.variance.data[3 * r + c] as number), 0),
      );
      for (const variance of [
        [[2], [3]],
        [2, 3],
      ]) {
        const narrow = gaussianNllLoss.valueAndGrad(grid, target, variance, NONE);
        expect(narrow.value).toEqual(whole.value);
        expectClose(narrow.grads.variance.data, sums, 1e-14, "gradient of variance");
        expect(narrow.grads.variance.shape).toEqual(Array.isArray(variance[0]) ? [2, 1] : [2]);
      }
      expect(gaussianNllLoss(grid, target, 2)).toBe(
        gaussianNllLoss(grid, target, [
          [2, 2, 2],
          [2, 2, 2],
        ]),
      );
      expect(gaussianNllLoss.valueAndGrad(grid, target, 2).grads.variance.shape).toEqual([]);
      for (const variance of [[1, 2, 3], [[1, 2, 3]], [2]]) {
        expect(() => gaussianNllLoss(grid, target, variance)).toThrow(
          "gaussianNllLoss: variance is of shape",
        );
      }
    });
    check("margin ranking: as many axes everywhere, which broadcast", () => {
      const { value, grads } = marginRankingLoss.valueAndGrad(grid, [[2], [5]], [[1, -1, 1]], NONE);
      expect(value.shape).toEqual([2, 3]);
      expect(Array.from(value.data)).toEqual([1, 0, 0, 1, 0, 0]);
      expect(Array.from(grads.input1.data, (g) => g + 0)).toEqual([-1, 1, 0, -1, 1, 0]);
      expect(Array.from(grads.input2.data, (g) => g + 0)).toEqual([0, 0]);
    });
    check("gradients of broadcast inputs against central differences", () => {
      const target = Float64Array.of(0.3, -0.7, 1.1);
      const { grads } = huberLoss.valueAndGrad(grid, target);
      for (let i = 0; i < 3; i++) {
        const at = (d: number): number =>
          huberLoss(grid, map(target, (t) => t).fill((target[i] as number) + d, i, i + 1));
        expect(grads.target.data[i]).toBeCloseTo((at(1e-6) - at(-1e-6)) / 2e-6, 8);
      }
    });
  });

  describe(`bad input (${engine})`, () => {
    const untouched = Float64Array.of(7, 7);
    const out = () => ({ grads: { input: untouched } });
    const cases: [title: string, run: () => unknown, code: string, message: string][] = [
      [
        "a probability above 1",
        () => bceLoss([0.5, 1.5], [1, 0]),
        "RANGE",
        "bceLoss: input[1] is 1.5, expected a probability in [0, 1]",
      ],
      [
        "one below 0",
        () => bceLoss([[0.5], [-0.1]], [[1], [0]]),
        "RANGE",
        "bceLoss: input[1][0] is -0.1, expected a probability in [0, 1]",
      ],
      ["an infinite one", () => bceLoss([Infinity], [1]), "RANGE", "bceLoss: input[0] is Infinity"],
      [
        "a hinge target of 0",
        () => hingeEmbeddingLoss([1, 2], [1, 0]),
        "RANGE",
        "hingeEmbeddingLoss: target[1] is 0, expected 1 or -1",
      ],
      [
        "a hinge target of NaN",
        () => hingeEmbeddingLoss([1], [Number.NaN]),
        "RANGE",
        "hingeEmbeddingLoss: target[0] is NaN, expected 1 or -1",
      ],
      [
        "one that is broadcast",
        () =>
          hingeEmbeddingLoss(
            [
              [1, 2],
              [3, 4],
            ],
            [1, 2],
          ),
        "RANGE",
        "hingeEmbeddingLoss: target[1] is 2, expected 1 or -1",
      ],
      [
        "a negative variance",
        () => gaussianNllLoss([1], [1], [-1]),
        "RANGE",
        "gaussianNllLoss: variance[0] is -1, expected a variance: 0 or more",
      ],
      [
        "a negative number for all variances",
        () => gaussianNllLoss([1], [1], -1),
        "RANGE",
        "gaussianNllLoss: variance is -1",
      ],
      [
        "shapes that do not broadcast",
        () => mseLoss([1, 2], [1, 2, 3]),
        "SHAPE",
        "mseLoss: target is of shape [3], expected a shape that broadcasts with [2]",
      ],
      [
        "broadcasting where PyTorch refuses it",
        () => bceLoss([[0.5]], [1]),
        "SHAPE",
        "bceLoss: target is of shape [1], expected the shape of input: [1, 1]",
      ],
      [
        "the same with logits",
        () => bceWithLogitsLoss([[1, 2]], [1, 0]),
        "SHAPE",
        "bceWithLogitsLoss: target is of shape [2], expected the shape of input: [1, 2]",
      ],
      [
        "the same for focal loss",
        () => sigmoidFocalLoss([1, 2], 1),
        "SHAPE",
        "sigmoidFocalLoss: target is of shape [], expected the shape of input: [2]",
      ],
      [
        "a target larger than the input",
        () => softMarginLoss([1], [1, -1]),
        "SHAPE",
        "softMarginLoss: target is of shape [2], expected a shape that broadcasts to [1]",
      ],
      [
        "different numbers of axes",
        () => marginRankingLoss([[1]], [1], [[1]]),
        "RANK",
        "marginRankingLoss: input2 is of shape [1], expected 2 axes, as input1",
      ],
      [
        "a negative beta",
        () => smoothL1Loss([1], [1], { beta: -1 }),
        "NUMBER",
        "smoothL1Loss: beta is -1, expected a number from 0 on",
      ],
      [
        "a delta of 0",
        () => huberLoss([1], [1], { delta: 0 }),
        "NUMBER",
        "huberLoss: delta is 0, expected a number above 0",
      ],
      [
        "a margin that is no number",
        () => hingeEmbeddingLoss([1], [1], { margin: Number.NaN }),
        "NUMBER",
        "hingeEmbeddingLoss: margin is NaN",
      ],
      [
        "an alpha above 1",
        () => sigmoidFocalLoss([1], [1], { alpha: 2 }),
        "NUMBER",
        "sigmoidFocalLoss: alpha is 2, expected a number up to 1",
      ],
      [
        "a negative gamma",
        () => sigmoidFocalLoss([1], [1], { gamma: -1 }),
        "NUMBER",
        "sigmoidFocalLoss: gamma is -1, expected a number from 0 on",
      ],
      [
        "a flag that is none",
        () => klDivLoss([1], [1], { logTarget: 1 as never }),
        "TYPE",
        "klDivLoss: logTarget is 1, expected true or false",
      ],
      [
        "batchmean elsewhere",
        () => mseLoss([1], [1], { reduction: "batchmean" as never }),
        "OPTION",
        'mseLoss: reduction is "batchmean", expected "none" or "mean" or "sum"',
      ],
      [
        "a misspelt option",
        () => bceWithLogitsLoss([1], [1], { posweight: 1 } as never),
        "UNKNOWN_OPTION",
        "did you mean posWeight?",
      ],
      [
        "another loss's option",
        () => l1Loss([1], [1], { beta: 1 } as never),
        "UNKNOWN_OPTION",
        "l1Loss: beta is no option",
      ],
      [
        "too few inputs",
        () => (gaussianNllLoss as unknown as AnyLoss)([1], [1]),
        "ARGUMENT_COUNT",
        "gaussianNllLoss: the number of arguments is 2, expected 3 (input, target, variance) and the options",
      ],
      ["words", () => l1Loss("1" as never, [1]), "TYPE", 'l1Loss: input is "1"'],
      [
        "a gradient that there is none of",
        () => hingeEmbeddingLoss.valueAndGrad([1], [1], { wrt: ["target" as never] }),
        "OPTION",
        "hingeEmbeddingLoss: wrt[0]",
      ],
    ];
    for (const [title, run, code, message] of cases) {
      check(title, () => {
        expectRefusal(run, code, message);
      });
    }
    check("nothing is written before the numbers were checked", () => {
      expect(() => bceLoss.valueAndGrad([0.5, 2], [1, 0], { out: out() })).toThrow(RangeError);
      expect(() => hingeEmbeddingLoss.valueAndGrad([0.5, 2], [1, 0], { out: out() })).toThrow(RangeError);
      expect(() => gaussianNllLoss.valueAndGrad([0.5, 2], [1, 0], [1, -1], { out: out() })).toThrow(
        RangeError,
      );
      expect(Array.from(untouched)).toEqual([7, 7]);
    });
  });

  describe(`one element at a time (${engine})`, () => {
    for (const row of REGISTRY.filter(({ family }) => family === "pointwise")) {
      check(
        `${row.name}(${Object.values(row.inputs).join(", ")}): an element gives the same bits wherever it stands, whatever stands beside it`,
        () => {
          for (const dtype of ["float32", "float64"] as const) {
            const { args, options } = sample(
              { ...row, options: {} },
              { seed: 99, dtype, size: 70, hostile: true },
            );
            const required = Object.fromEntries(
              Object.entries(row.options)
                .filter(([name]) => name === "logTarget")
                .map(([name, choice]) => [name, (choice as unknown[])[0]]),
            );
            const all = { ...options, ...required, ...NONE };
            const tensors = args as { data: Float32Array | Float64Array; shape: number[] }[];
            const n = tensors[0]?.data.length as number;
            const whole = row.loss.valueAndGrad(...args, all);
            for (let i = 0; i < n; i++) {
              const alone = row.loss.valueAndGrad(...tensors.map(({ data }) => data.slice(i, i + 1)), all);
              expectSameBits(
                valuesOf(alone.value),
                Array.from(valuesOf(whole.value)).slice(i, i + 1),
                `value of element ${i}`,
              );
              for (const name in whole.grads) {
                const [one, many] = [alone, whole].map(({ grads }) =>
                  Array.from((grads[name] as { data: ArrayLike<number> }).data),
                ) as [number[], number[]];
                expectSameBits(one, many.slice(i, i + 1), `gradient of ${name} at element ${i}`);
              }
            }
          }
        },
      );
    }
    check("arrays that go to the core in pieces give the same bits as those that live there", () => {
      for (const n of [16384, 16385, 40_000]) {
        const x = Float32Array.from({ length: n }, (_, i) => 3 * Math.sin(0.7 * i));
        const t = Float32Array.from({ length: n }, (_, i) => Math.cos(3 * i) ** 2);
        const [a, b] = [allocate([n]), allocate([n])];
        a.data.set(x);
        b.data.set(t);
        for (const options of [{}, { reduction: "none" as const, upstream: t }, { weight: t }]) {
          const inside = bceWithLogitsLoss.valueAndGrad(a, b, options as object);
          // one in the core's memory, one not, one of another type
          for (const input of [x, a, Float64Array.from(x)]) {
            const isDouble = input instanceof Float64Array;
            const outside = bceWithLogitsLoss.valueAndGrad(input, t, options as object);
            const compare = isDouble
              ? (p: ArrayLike<number>, q: ArrayLike<number>, what: string) => expectClose(p, q, 1e-5, what)
              : expectSameBits;
            compare(valuesOf(outside.value), valuesOf(inside.value), `value of ${n}`);
            compare(outside.grads.input.data, inside.grads.input.data, `gradient of input of ${n}`);
            compare(outside.grads.target.data, inside.grads.target.data, `gradient of target of ${n}`);
          }
        }
        // what is written may be what is read, and may lie across it
        const expected = bceWithLogitsLoss.valueAndGrad(x, t).grads.input.data;
        const shared = new Float32Array(n + 1);
        shared.set(x);
        const out = { grads: { input: shared.subarray(1) } };
        bceWithLogitsLoss.valueAndGrad(shared.subarray(0, n), t, { wrt: ["input"], out });
        expectSameBits(shared.subarray(1), expected, `shifted output of ${n}`);
        a.dispose();
        b.dispose();
      }
    });
    check("more elements than a block holds", () => {
      const n = 2500;
      const x = Float64Array.from({ length: n }, (_, i) => Math.sin(i));
      const t = Float64Array.from({ length: n }, (_, i) => Math.cos(3 * i) ** 2);
      const weight = Float64Array.from({ length: n }, (_, i) => 1 + (i % 7));
      const posWeight = Float64Array.from({ length: n }, (_, i) => 1 + (i % 3));
      const upstream = Float64Array.from({ length: n }, (_, i) => Math.sin(0.1 * i));
      const whole = bceWithLogitsLoss.valueAndGrad(x, t, { ...NONE, weight, posWeight, upstream });
      for (const i of [0, 1, 1023, 1024, 1025, 2047, 2048, n - 1]) {
        const one = (a: Float64Array) => a.slice(i, i + 1);
        const alone = bceWithLogitsLoss.valueAndGrad(one(x), one(t), {
          ...NONE,
          weight: one(weight),
          posWeight: one(posWeight),
          upstream: one(upstream),
        });
        expectSameBits(alone.value.data, whole.value.data.slice(i, i + 1), `value ${i}`);
        expectSameBits(
          alone.grads.input.data,
          whole.grads.input.data.slice(i, i + 1),
          `gradient of input ${i}`,
        );
        expectSameBits(
          alone.grads.target.data,
          whole.grads.target.data.slice(i, i + 1),
          `gradient of target ${i}`,
        );
      }
    });
  });
}

function isOptions(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value);
}
