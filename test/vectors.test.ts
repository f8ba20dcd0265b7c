/**
 * Functions and losses of vectors: identities between them, coinciding and zero vectors, shapes, a caller's own distance, and what
 * is refused. Golden values, agreement of the engines and central differences are laws over the registry (test/laws).
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  allocate,
  cosineEmbeddingLoss,
  cosineSimilarity,
  type Distance,
  hingeEmbeddingLoss,
  marginRankingLoss,
  mseLoss,
  pairwiseDistance,
  tensor,
  tripletMarginLoss,
  tripletMarginWithDistanceLoss,
} from "../ts/index.js";
import { type AnyLoss, REGISTRY } from "../ts/registry.js";
import type { FloatArray, Tensor } from "../ts/types.js";
import { expectClose, expectSameBits, valuesOf } from "./support/close.js";
import { ENGINES, on } from "./support/engines.js";
import { randomStream, sample } from "./support/generate.js";
import { expectRefusal } from "./support/refusal.js";

const NONE = { reduction: "none" } as const;

/** Some matrices [N, D] of everyday numbers. */
const matrices = (howMany: number): fc.Arbitrary<Tensor<Float64Array>[]> =>
  fc
    .tuple(fc.integer({ min: 0, max: 6 }), fc.integer({ min: 1, max: 20 }), fc.integer())
    .map(([n, d, seed]) => {
      const random = randomStream(seed);
      return Array.from({ length: howMany }, () =>
        tensor(
          Float64Array.from({ length: n * d }, () => 4 * random() - 2),
          [n, d],
        ),
      );
    });

function holds(title: string, howMany: number, law: (...a: Tensor<Float64Array>[]) => void): void {
  for (const engine of ENGINES) {
    test(`${title} (${engine})`, () => {
      on(engine, () =>
        fc.assert(
          fc.property(matrices(howMany), (a) => law(...a)),
          { numRuns: 60 },
        ),
      );
    });
  }
}
const map = (a: ArrayLike<number>, f: (x: number, i: number) => number): Float64Array =>
  Float64Array.from(a, f);
const ones = (t: Tensor, x = 1): Float64Array => new Float64Array(t.shape[0] as number).fill(x);

/** Gradients of two calls are the same. */
function expectGradients(
  actual: Record<string, Tensor>,
  expected: Record<string, Tensor>,
  tolerance = 1e-12,
): void {
  expect(Object.keys(actual).sort()).toEqual(Object.keys(expected).sort());
  for (const name in expected) {
    expectClose(
      (actual[name] as Tensor).data,
      (expected[name] as Tensor).data,
      tolerance,
      `gradient of ${name}`,
    );
    expect((actual[name] as Tensor).shape).toEqual((expected[name] as Tensor).shape);
  }
}

describe("identities", () => {
  holds("the squared distance is the sum of squared errors", 2, (x, y) => {
    const d = pairwiseDistance(x, y, { eps: 0 });
    const errors = mseLoss(x, y, NONE).data;
    const length = x.shape[1] as number;
    const sums = map(d.data, (_, i) =>
      Array.from(errors.slice(i * length, (i + 1) * length)).reduce((a, b) => a + b, 0),
    );
    expectClose(
      map(d.data, (v) => v * v),
      sums,
      1e-12,
      "squares",
    );
  });
  holds("of all norms that of 1 is the largest and that of Infinity the least", 2, (x, y) => {
    const norms = [1, 1.5, 2, 3, 8, 1000, Infinity].map((p) => pairwiseDistance(x, y, { p }).data);
    for (let k = 1; k < norms.length; k++) {
      norms[k]?.forEach((v, i) => {
        expect(v).toBeLessThanOrEqual((norms[k - 1]?.[i] as number) * (1 + 1e-14));
      });
    }
    expectClose(norms[5] as FloatArray, norms[6] as FloatArray, 0.01, "p = 1000 is nearly Infinity");
  });
  holds("the norm of 2 computed as any p is the norm of 2", 2, (x, y) => {
    const near = pairwiseDistance.valueAndGrad(x, y, { p: 2 + 1e-13 });
    const two = pairwiseDistance.valueAndGrad(x, y, { p: 2 });
    expectClose(near.value.data, two.value.data, 1e-11, "value");
    expectGradients(near.grads, two.grads, 1e-11);
  });
  holds(
    "the cosine of scaled vectors is that of the vectors, and the gradient is at a right angle",
    2,
    (x, y) => {
      const { value, grads } = cosineSimilarity.valueAndGrad(x, y);
      expectClose(
        cosineSimilarity(
          tensor(
            map(x.data, (v) => 3 * v),
            x.shape,
          ),
          y,
        ).data,
        value.data,
        1e-13,
        "value",
      );
      const length = x.shape[1] as number;
      value.data.forEach((_, row) => {
        let dot = 0;
        for (let k = row * length; k < (row + 1) * length; k++)
          dot += (x.data[k] as number) * (grads.x1.data[k] as number);
        expect(Math.abs(dot)).toBeLessThan(1e-12);
      });
    },
  );
  holds("cosine embedding is made of cosines", 2, (small, other) => {
    // norms from 1 on, so that 1e-12 beside their squares does not show
    const [x, y] = [small, other].map(({ data, shape }) =>
      tensor(
        map(data, (v) => v + (v < 0 ? -1 : 1)),
        shape,
      ),
    ) as [Tensor, Tensor];
    const cos = cosineSimilarity(x, y).data;
    expectClose(
      cosineEmbeddingLoss(x, y, ones(x), NONE).data,
      map(cos, (c) => 1 - c),
      1e-10,
      "alike",
    );
    expectClose(
      cosineEmbeddingLoss(x, y, ones(x, -1), { ...NONE, margin: 0.2 }).data,
      map(cos, (c) => Math.max(0, c - 0.2)),
      1e-10,
      "not alike",
    );
  });
  holds("triplet margin is margin ranking of its distances", 3, (a, p, n) => {
    for (const options of [{ p: 1 }, {}, { p: 3 }, { p: Infinity }]) {
      const [near, far] = [pairwiseDistance(a, p, options), pairwiseDistance(a, n, options)];
      const ranking = marginRankingLoss(far, near, ones(a), { ...NONE, margin: 1.5 });
      expectClose(
        tripletMarginLoss(a, p, n, { ...options, ...NONE, margin: 1.5 }).data,
        ranking.data,
        1e-12,
        "value",
      );
    }
  });
  holds("swapped: the nearer of two distances counts", 3, (a, p, n) => {
    const [near, far, between] = [pairwiseDistance(a, p), pairwiseDistance(a, n), pairwiseDistance(p, n)];
    const least = { data: map(far.data, (d, i) => Math.min(d, between.data[i] as number)), shape: far.shape };
    const ranking = marginRankingLoss(least, near, ones(a), { ...NONE, margin: 1 });
    expectClose(tripletMarginLoss(a, p, n, { ...NONE, swap: true }).data, ranking.data, 1e-12, "value");
  });
  holds("the known distances are norms and cosines, also as a caller's own", 3, (a, p, n) => {
    for (const swap of [false, true]) {
      const all = { ...NONE, margin: 1.2, swap };
      const euclidean = tripletMarginWithDistanceLoss.valueAndGrad(a, p, n, all);
      const norms = tripletMarginLoss.valueAndGrad(a, p, n, all);
      expectClose(euclidean.value.data, norms.value.data, 1e-12, "euclidean");
      expectGradients(euclidean.grads, norms.grads);
      const manhattan = tripletMarginWithDistanceLoss.valueAndGrad(a, p, n, {
        ...all,
        distance: "manhattan",
      });
      const sums = tripletMarginLoss.valueAndGrad(a, p, n, { ...all, p: 1 });
      expectClose(manhattan.value.data, sums.value.data, 1e-12, "manhattan");
      expectGradients(manhattan.grads, sums.grads);
      const cosine = tripletMarginWithDistanceLoss.valueAndGrad(a, p, n, { ...all, distance: "cosine" });
      // its gradients' arrays may be used again, and it may call the library
      const [gradX, gradY] = [new Float64Array(a.shape[1] as number), new Float64Array(a.shape[1] as number)];
      const own: Distance = (x, y) => {
        const { value, grads } = cosineSimilarity.valueAndGrad(x, y);
        gradX.set(grads.x1.data.map((g) => -g));
        gradY.set(grads.x2.data.map((g) => -g));
        return { value: 1 - (value.data[0] as number), gradX, gradY };
      };
      const called = tripletMarginWithDistanceLoss.valueAndGrad(a, p, n, { ...all, distance: own });
      expectClose(called.value.data, cosine.value.data, 1e-12, "own");
      expectGradients(called.grads, cosine.grads);
    }
  });
  holds("a distance goes into hinge embedding", 2, (x, y) => {
    const d = pairwiseDistance(x, y);
    expectClose(hingeEmbeddingLoss(d, ones(x), NONE).data, d.data, 0, "alike");
  });
});

interface Outcome {
  readonly value: Tensor;
  readonly grads: Readonly<Record<string, Tensor>>;
}

describe("single precision against double", () => {
  test("cosines keep their digits where vectors are short, long, or of one direction", () => {
    for (const size of [1e-30, 1e-7, 1e-3, 0.1, 1, 1e10, 1e18]) {
      for (const length of [1, 2, 5, 40]) {
        const random = randomStream(length);
        const x = Float32Array.from({ length }, () => size * (0.5 + random()));
        const y = x.map((v, k) => (k === 0 ? -v : v));
        for (const [one, two] of [
          [x, x.map((v) => 1.7 * v)],
          [x, y],
          [y, x.map((v) => v / size)],
        ] as const) {
          const single = on("wasm", () => cosineSimilarity.valueAndGrad(one, two));
          const double = on("js", () =>
            cosineSimilarity.valueAndGrad(Float64Array.from(one), Float64Array.from(two)),
          );
          expectClose(single.value.data, double.value.data, 1e-6, `cosine at ${size}`);
          expectClose(single.grads.x1.data, double.grads.x1.data, 5e-6, `gradient of x1 at ${size}`);
          expectClose(single.grads.x2.data, double.grads.x2.data, 5e-6, `gradient of x2 at ${size}`);
        }
      }
    }
  });

  test("long vectors, in any number, agree with the reference", () => {
    const random = randomStream(5);
    for (const [count, length] of [
      [37, 5],
      [19, 255],
      [5, 256],
      [3, 300],
      [18, 601],
    ] as const) {
      const draw = (): Tensor<Float32Array> => ({
        data: Float32Array.from({ length: count * length }, () => 4 * random() - 1),
        shape: [count, length],
      });
      const [a, b, c] = [draw(), draw(), draw()];
      const signs = Float32Array.from({ length: count }, (_, i) => (i % 3 === 0 ? -1 : 1));
      const none = { reduction: "none" } as const;
      const calls: Record<string, () => unknown> = {
        pairwiseDistance: () => pairwiseDistance.valueAndGrad(a, b),
        "pairwiseDistance, p = 1": () => pairwiseDistance.valueAndGrad(a, b, { p: 1 }),
        "pairwiseDistance, p = 3": () => pairwiseDistance.valueAndGrad(a, b, { p: 3 }),
        "pairwiseDistance, p = Infinity": () => pairwiseDistance.valueAndGrad(a, b, { p: Infinity }),
        cosineSimilarity: () => cosineSimilarity.valueAndGrad(a, b),
        cosineEmbeddingLoss: () => cosineEmbeddingLoss.valueAndGrad(a, b, signs, none),
        tripletMarginLoss: () => tripletMarginLoss.valueAndGrad(a, b, c, none),
        "tripletMarginLoss, swap": () => tripletMarginLoss.valueAndGrad(a, b, c, { swap: true, ...none }),
        "tripletMarginWithDistanceLoss, cosine": () =>
          tripletMarginWithDistanceLoss.valueAndGrad(a, b, c, { distance: "cosine", ...none }),
      };
      for (const [name, call] of Object.entries(calls)) {
        const [wasm, js] = ENGINES.map((engine) => on(engine, call)) as [Outcome, Outcome];
        const what = `${name}, ${count} of ${length}`;
        expectClose(wasm.value.data, js.value.data, 5e-6, what);
        for (const [of, { data }] of Object.entries(js.grads))
          expectClose((wasm.grads[of] as Tensor).data, data, 5e-6, `${what}: gradient of ${of}`);
      }
    }
  });

  test("a cosine that is no number is the least of two", () => {
    const call = () =>
      tripletMarginWithDistanceLoss([[1, 0]], [[1e200, 0]], [[1e200, 1]], { distance: "cosine", swap: true });
    for (const engine of ENGINES) expect(on(engine, call)).toBeNaN();
  });

  test("what flows into a norm of the largest reaches all", () => {
    const call = () =>
      pairwiseDistance.valueAndGrad([[1, 2]], [[0, 0]], { p: Infinity, upstream: Number.NaN }).grads.x1.data;
    for (const engine of ENGINES) expect([...on(engine, call)]).toEqual([Number.NaN, Number.NaN]);
  });

  test("any norm keeps its digits", () => {
    const random = randomStream(7);
    for (const p of [1.01, 1.1, 1.5, 2, 2.5, 3, 4, 6.5, 10]) {
      const [x, y] = [0, 1].map(() => Float32Array.from({ length: 203 }, () => 4 * random() - 2)) as [
        Float32Array,
        Float32Array,
      ];
      const single = on("wasm", () => pairwiseDistance.valueAndGrad(x, y, { p }));
      const double = on("js", () =>
        pairwiseDistance.valueAndGrad(Float64Array.from(x), Float64Array.from(y), { p }),
      );
      expectClose(single.value.data, double.value.data, 1e-6, `p = ${p}`);
      expectClose(single.grads.x1.data, double.grads.x1.data, 2e-6, `gradient for p = ${p}`);
      expectClose(single.grads.x2.data, double.grads.x2.data, 2e-6, `gradient for p = ${p}`);
    }
  });
});

for (const engine of ENGINES) {
  const check = (title: string, run: () => void): void => {
    test(title, () => on(engine, run));
  };

  describe(`traps (${engine})`, () => {
    check(
      "coinciding vectors: distance eps as PyTorch, and without eps distance 0 with gradient 0, for every norm",
      () => {
        const x = [[1, 2]];
        expectClose(pairwiseDistance(x, x).data, [Math.SQRT2 * 1e-6], 1e-15, "distance");
        for (const dtype of [Float32Array, Float64Array]) {
          const same = tensor(dtype.of(1, 2, -3), [1, 3]);
          for (const p of [1, 1.5, 2, 3, Infinity]) {
            const { value, grads } = pairwiseDistance.valueAndGrad(same, same, { p, eps: 0 });
            expect(value.data[0]).toBe(0);
            for (const grad of [grads.x1, grads.x2])
              expect(Array.from(grad.data, Math.abs)).toEqual([0, 0, 0]);
            const loss = tripletMarginLoss.valueAndGrad(same, same, same, { p, eps: 0 });
            expect(loss.value).toBe(1);
            for (const grad of Object.values(loss.grads))
              expect(Array.from(grad.data, Math.abs)).toEqual([0, 0, 0]);
          }
          const loss = tripletMarginLoss.valueAndGrad(same, same, same);
          expect(loss.value).toBeCloseTo(1, 6);
          for (const grad of Object.values(loss.grads)) expect(grad.data.every(Number.isFinite)).toBe(true);
        }
      },
    );
    check("zero vectors have cosine 0 and a finite gradient, PyTorch's", () => {
      const similarity = cosineSimilarity.valueAndGrad([0, 0], [1, 2]);
      expect(similarity.value.data[0]).toBe(0);
      expectClose(similarity.grads.x1.data, [44721359.549995795, 89442719.09999159], 1e-14, "gradient of x1");
      expect(Array.from(similarity.grads.x2.data, Math.abs)).toEqual([0, 0]);
      expect(Array.from(cosineSimilarity.valueAndGrad([0, 0], [0, 0]).grads.x1.data, Math.abs)).toEqual([
        0, 0,
      ]);
      for (const [target, sign] of [
        [1, -1],
        [-1, 1],
      ] as const) {
        const { value, grads } = cosineEmbeddingLoss.valueAndGrad([0, 0], [1, 2], target);
        expect(value).toBe(target === 1 ? 1 : 0);
        expectClose(
          grads.input1.data,
          [sign * 447213.5963934019, sign * 894427.1927868038],
          1e-14,
          "gradient of input1",
        );
        expect(Array.from(grads.input2.data, Math.abs)).toEqual([0, 0]);
      }
    });
    check("a vector is not closer to itself than can be", () => {
      const random = randomStream(5);
      for (let n = 0; n < 200; n++) {
        const x = Array.from({ length: 8 }, () => 2000 * random() - 1000);
        expect(cosineEmbeddingLoss(x, x, 1)).toBeGreaterThanOrEqual(0);
      }
    });
    check("equal largest differences share the slope, equal distances of a swap too", () => {
      // a p beyond any precision is as Infinity
      for (const p of [1e31, 1e300, Infinity]) {
        const { value, grads } = pairwiseDistance.valueAndGrad([1, 2, 5], [3, 4, 5], { p, eps: 0 });
        expect(Array.from(value.data), `p = ${p}`).toEqual([2]);
        expect(Array.from(grads.x1.data, (g) => g + 0)).toEqual([-0.5, -0.5, 0]);
      }
      // PyTorch 2.9 in float64
      for (const upstream of [1, 3]) {
        const options = { swap: true, eps: 0, upstream };
        const { grads } = tripletMarginLoss.valueAndGrad([[1, 0]], [[-1, 0]], [[0, 1]], options);
        const times = (x: number[]): number[] => x.map((slope) => upstream * slope);
        expectClose(grads.anchor.data, times([0.6464466094067263, 0.35355339059327373]), 1e-15, "anchor");
        expectClose(
          grads.positive.data,
          times([-0.6464466094067263, 0.35355339059327373]),
          1e-15,
          "positive",
        );
        expectClose(grads.negative.data, times([0, -0.7071067811865475]), 1e-15, "negative");
      }
    });
    check("large and small vectors do not overflow in any norm", () => {
      for (const [dtype, sizes, tolerance] of [
        [Float64Array, [1e-200, 1e-150, 1, 1e150, 1e200], 1e-12],
        [Float32Array, [1e-37, 1e-25, 1, 1e25, 1e37], 5e-7],
      ] as const) {
        for (const size of sizes) {
          const x = tensor(dtype.of(3 * size, 0), [2]);
          const y = tensor(dtype.of(0, 4 * size), [2]);
          for (const p of [1, 1.5, 2, 3, 40, Infinity]) {
            const { value, grads } = pairwiseDistance.valueAndGrad(x, y, { p, eps: 0 });
            const expected = p === 1 ? 7 : p === Infinity ? 4 : (3 ** p + 4 ** p) ** (1 / p);
            expectClose([(value.data[0] as number) / size], [expected], tolerance, `p = ${p}, ${size}`);
            const slopes =
              p === Infinity ? [0, -1] : [(3 / expected) ** (p - 1), -((4 / expected) ** (p - 1))];
            expectClose(
              grads.x1.data,
              p === 1 ? [1, -1] : slopes,
              tolerance,
              `gradient for p = ${p}, ${size}`,
            );
            const [near, far] = [tensor(dtype.of(0, 0), [2]), tensor(dtype.of(0, size / 4), [2])];
            const loss = tripletMarginLoss.valueAndGrad(near, x, far, { p, eps: 0, reduction: "sum" });
            expect(loss.value).toBeGreaterThanOrEqual(1);
            expectClose(loss.grads.positive.data, [1, 0], tolerance, `positive for p = ${p}, ${size}`);
            expectClose(loss.grads.negative.data, [0, -1], tolerance, `negative for p = ${p}, ${size}`);
          }
        }
      }
    });
    check("infinities and NaN: what is infinitely far", () => {
      const { value, grads } = tripletMarginLoss.valueAndGrad([[0, 0]], [[Infinity, 1]], [[2, Infinity]]);
      expect(value).toBeNaN();
      // the pair of positive and negative has no part in it
      expect(Array.from(grads.negative.data, (g) => g + 0)).toEqual([0, Number.NaN]);
      expect(Array.from(grads.positive.data, (g) => g + 0)).toEqual([Number.NaN, 0]);
      const beyond = tripletMarginLoss.valueAndGrad([[0, 0]], [[1, 1]], [[2, Infinity]]);
      expect(beyond.value).toBe(0);
      expect(Array.from(beyond.grads.negative.data)).toEqual([0, 0]);
      for (const swap of [false, true]) {
        const one = tripletMarginLoss([[0, 0]], [[1, 1]], [[2, Number.NaN]], { swap });
        const two = tripletMarginLoss([[0, Number.NaN]], [[1, 1]], [[2, 3]], { swap });
        expect([one, two]).toEqual([Number.NaN, Number.NaN]);
      }
    });
    check("nothing to average is NaN, nothing to add up is 0", () => {
      const none = tensor(new Float32Array(0), [0, 3]);
      expect(tripletMarginLoss(none, none, none)).toBeNaN();
      expect(tripletMarginLoss(none, none, none, { reduction: "sum" })).toBe(0);
      expect(cosineEmbeddingLoss(none, none, new Float32Array(0), { reduction: "sum" })).toBe(0);
      expect(pairwiseDistance(none, none)).toEqual({ data: new Float32Array(0), shape: [0] });
      expect(tripletMarginLoss.valueAndGrad(none, none, none).grads.anchor.shape).toEqual([0, 3]);
    });
  });

  describe(`shapes (${engine})`, () => {
    const x = [
      [1, 2, 3],
      [0, 1, -1],
    ];
    const y = [
      [2, 2, 0],
      [1, 5, 1],
    ];
    check("one pair, many, and axes before", () => {
      const flat = pairwiseDistance(x, y);
      expect(flat.shape).toEqual([2]);
      expect(pairwiseDistance(x[0] as number[], y[0] as number[])).toEqual({
        data: flat.data.slice(0, 1),
        shape: [],
      });
      expect(pairwiseDistance([x, y], [y, x]).shape).toEqual([2, 2]);
      expect(tripletMarginLoss(x[0] as number[], y[0] as number[], x[1] as number[])).toBe(
        tripletMarginLoss(x.slice(0, 1), y.slice(0, 1), x.slice(1)),
      );
      expect(tripletMarginLoss([x], [y], [x], NONE).shape).toEqual([1, 2]);
      expect(cosineEmbeddingLoss(x[0] as number[], y[0] as number[], -1)).toBe(
        cosineEmbeddingLoss(x.slice(0, 1), y.slice(0, 1), [-1]),
      );
    });
    check("broadcasting: the gradient of what was repeated is the sum over its copies", () => {
      const narrow = cosineSimilarity.valueAndGrad(x, y[0] as number[]);
      const wide = cosineSimilarity.valueAndGrad(x, [y[0], y[0]] as number[][]);
      expectSameBits(narrow.value.data, wide.value.data, "value");
      expectClose(
        narrow.grads.x2.data,
        [0, 1, 2].map((k) => (wide.grads.x2.data[k] as number) + (wide.grads.x2.data[k + 3] as number)),
        1e-15,
        "x2",
      );
      const one = tripletMarginLoss.valueAndGrad(x, [y[0]] as number[][], y);
      const two = tripletMarginLoss.valueAndGrad(x, [y[0], y[0]] as number[][], y);
      expect(one.value).toBe(two.value);
      expect(one.grads.positive.shape).toEqual([1, 3]);
      expectClose(
        one.grads.positive.data,
        [0, 1, 2].map(
          (k) => (two.grads.positive.data[k] as number) + (two.grads.positive.data[k + 3] as number),
        ),
        1e-15,
        "positive",
      );
      const embedded = cosineEmbeddingLoss(x, [y[0]] as number[][], [1, -1], NONE);
      expect(embedded).toEqual(cosineEmbeddingLoss(x, [y[0], y[0]] as number[][], [1, -1], NONE));
      expect(cosineEmbeddingLoss(x, y, [1], NONE)).toEqual(cosineEmbeddingLoss(x, y, [1, 1], NONE));
    });
  });

  describe(`a caller's own distance (${engine})`, () => {
    const [a, p, n] = [
      [
        [0, 0],
        [1, 1],
      ],
      [
        [1, 0],
        [1, 2],
      ],
      [
        [2, 1],
        [1, 1],
      ],
    ];
    const squared: Distance = (x, y) => {
      const d = x.map((v, k) => v - (y[k] as number));
      return {
        value: d.reduce((sum, v) => sum + v * v, 0),
        gradX: d.map((v) => 2 * v),
        gradY: Array.from(d, (v) => -2 * v),
      };
    };
    check("its gradients are used, weighted and averaged", () => {
      const { value, grads } = tripletMarginWithDistanceLoss.valueAndGrad(a, p, n, {
        distance: squared,
        margin: 7,
        upstream: 3,
      });
      expect(value).toBe((7 + 1 - 5 + (7 + 1 - 0)) / 2);
      // 3 / 2 of: 2 (a - p) - 2 (a - n)
      expectClose(grads.anchor.data, [3, 3, 0, -3], 1e-15, "anchor");
      expectClose(grads.positive.data, [3, 0, 0, 3], 1e-15, "positive");
      expectClose(grads.negative.data, [-6, -3, 0, 0], 1e-15, "negative");
    });
    check("it is asked triplet by triplet, of each for its pairs", () => {
      const asked: string[] = [];
      const noted: Distance = (x, y) => {
        asked.push(`${x}|${y}`);
        return squared(x, y);
      };
      tripletMarginWithDistanceLoss(a, p, n, { distance: noted, swap: true });
      expect(asked).toEqual(["0,0|1,0", "0,0|2,1", "1,0|2,1", "1,1|1,2", "1,1|1,1", "1,2|1,1"]);
    });
    check("values alone need no gradients, and float32 stays float32", () => {
      const plain: Distance = (x, y) => ({ value: squared(x, y).value });
      const floats = [a, p, n].map((m) => tensor(Float32Array.from(m.flat()), [2, 2])) as [
        Tensor,
        Tensor,
        Tensor,
      ];
      expect(tripletMarginWithDistanceLoss(...floats, { distance: plain, margin: 7, ...NONE }).data).toEqual(
        Float32Array.of(3, 8),
      );
      expect(() => tripletMarginWithDistanceLoss.valueAndGrad(...floats, { distance: plain })).toThrow(
        "tripletMarginWithDistanceLoss: distance(x, y).gradX is undefined, expected an array of 2",
      );
      const words = ((...[x, y]: Parameters<Distance>) => ({
        ...squared(x, y),
        gradY: [1, "a"],
      })) as unknown as Distance;
      expect(() => tripletMarginWithDistanceLoss.valueAndGrad(...floats, { distance: words })).toThrow(
        'tripletMarginWithDistanceLoss: distance(x, y).gradY[1] is "a", expected a number',
      );
    });
    check("writes into `out`, broadcasts, and does only what `wrt` asks for", () => {
      const anchor = new Float64Array(2);
      const { grads } = tripletMarginWithDistanceLoss.valueAndGrad([[0, 0]], p, n, {
        distance: squared,
        margin: 9,
        reduction: "sum",
        wrt: ["anchor"],
        out: { grads: { anchor } },
      });
      expect(Object.keys(grads)).toEqual(["anchor"]);
      expectClose(anchor, [2 * (-1 + 2 - 1 + 1), 2 * (0 + 1 - 2 + 1)], 1e-15, "anchor");
    });
    check("may grow the core's memory, in which inputs and outputs live", () => {
      const lodge = (m: number[][]) => {
        const t = allocate([2, 2], "float64");
        t.data.set(m.flat());
        return t;
      };
      const inputs = [a, p, n].map((m) => lodge(m)) as [
        ReturnType<typeof lodge>,
        ReturnType<typeof lodge>,
        ReturnType<typeof lodge>,
      ];
      const out = lodge([
        [9, 9],
        [9, 9],
      ]);
      const upstream = allocate([2], "float64");
      upstream.data.set([1, 2]);
      const held: { dispose(): void }[] = [...inputs, out, upstream];
      const growing: Distance = (x, y) => {
        held.push(allocate([200_000], "float64"));
        return squared(x, y);
      };
      const { value, grads } = tripletMarginWithDistanceLoss.valueAndGrad(...inputs, {
        distance: growing,
        margin: 7,
        upstream,
        ...NONE,
        out: { grads: { anchor: out } },
      });
      expect(Array.from(value.data)).toEqual([3, 8]);
      expect(grads.anchor).toBe(out);
      expectClose(out.data, [2, 2, 0, -4], 1e-15, "anchor");
      for (const one of held) one.dispose();
    });
    check("what it throws comes out, and nothing was written", () => {
      const anchor = Float64Array.of(7, 7, 7, 7);
      let calls = 0;
      const failing: Distance = (x, y) => {
        calls += 1;
        if (calls === 3) throw new Error("no distance today");
        return squared(x, y);
      };
      expect(() =>
        tripletMarginWithDistanceLoss.valueAndGrad(a, p, n, {
          distance: failing,
          out: { grads: { anchor } },
        }),
      ).toThrow("no distance today");
      expect(Array.from(anchor)).toEqual([7, 7, 7, 7]);
    });
  });

  describe(`bad input (${engine})`, () => {
    const own = (given: unknown) => () =>
      tripletMarginWithDistanceLoss.valueAndGrad([1, 2], [3, 4], [5, 6], {
        distance: () => given as { value: number },
      });
    const cases: [title: string, run: () => unknown, code: string, message: string][] = [
      [
        "shapes that do not broadcast",
        () => pairwiseDistance([[1, 2]], [[1, 2, 3]]),
        "SHAPE",
        "pairwiseDistance: x2 is of shape [1, 3], expected a shape that broadcasts with [1, 2]",
      ],
      [
        "vectors of nothing",
        () => cosineSimilarity([[], []], [[], []]),
        "SHAPE",
        "cosineSimilarity: x1 is of shape [2, 0], expected vectors of at least one number",
      ],
      [
        "a norm that is none",
        () => pairwiseDistance([1], [2], { p: 0.5 }),
        "NUMBER",
        "pairwiseDistance: p is 0.5, expected a number from 1 on",
      ],
      [
        "the same in triplets",
        () => tripletMarginLoss([1], [2], [3], { p: 0 }),
        "NUMBER",
        "tripletMarginLoss: p is 0, expected a number from 1 on",
      ],
      [
        "a margin of 0",
        () => tripletMarginLoss([1], [2], [3], { margin: 0 }),
        "NUMBER",
        "tripletMarginLoss: margin is 0, expected a number above 0",
      ],
      [
        "a margin below",
        () => tripletMarginWithDistanceLoss([1], [2], [3], { margin: -1 }),
        "NUMBER",
        "tripletMarginWithDistanceLoss: margin is -1, expected a number above 0",
      ],
      [
        "different numbers of axes",
        () => tripletMarginLoss([[1]], [1], [[1]]),
        "RANK",
        "tripletMarginLoss: positive is of shape [1], expected 2 axes, as anchor",
      ],
      [
        "a target that is neither 1 nor -1",
        () => cosineEmbeddingLoss([[1], [1]], [[1], [1]], [1, 0]),
        "RANGE",
        "cosineEmbeddingLoss: target[1] is 0, expected 1 or -1",
      ],
      [
        "a target of NaN",
        () => cosineEmbeddingLoss([1], [1], Number.NaN),
        "RANGE",
        "cosineEmbeddingLoss: target is NaN, expected 1 or -1",
      ],
      [
        "targets for one pair",
        () => cosineEmbeddingLoss([1, 2], [1, 2], [1]),
        "RANK",
        "cosineEmbeddingLoss: target is of shape [1], expected one number",
      ],
      [
        "one target for many pairs",
        () => cosineEmbeddingLoss([[1, 2]], [[1, 2]], 1),
        "RANK",
        "cosineEmbeddingLoss: target is of shape [], expected [N]: one number per pair",
      ],
      [
        "too many axes",
        () => cosineEmbeddingLoss([[[1]]], [[[1]]], [[1]]),
        "RANK",
        "cosineEmbeddingLoss: input1 is of shape [1, 1, 1], expected [N, D], or [D] for one pair",
      ],
      [
        "too few targets",
        () => cosineEmbeddingLoss([[1], [2], [3]], [[1], [2], [3]], [1, -1]),
        "SHAPE",
        "cosineEmbeddingLoss: target is of shape [2], expected [3]",
      ],
      [
        "an unknown distance",
        () => tripletMarginWithDistanceLoss([1], [2], [3], { distance: "euclid" as never }),
        "OPTION",
        'tripletMarginWithDistanceLoss: distance is "euclid", expected "euclidean" or "cosine" or "manhattan" or a function',
      ],
      [
        "a distance that gives nothing",
        own(undefined),
        "TYPE",
        "tripletMarginWithDistanceLoss: distance(x, y) is undefined, expected an object { value, gradX, gradY }",
      ],
      ["one that gives a number", own(3), "TYPE", "tripletMarginWithDistanceLoss: distance(x, y) is 3"],
      [
        "one without a value",
        own({}),
        "TYPE",
        "tripletMarginWithDistanceLoss: distance(x, y).value is undefined, expected a number",
      ],
      [
        "one with half a gradient",
        own({ value: 1, gradX: [1, 2], gradY: [1] }),
        "LENGTH",
        "tripletMarginWithDistanceLoss: distance(x, y).gradY is an array of 1, expected an array of 2",
      ],
      [
        "an option of another loss",
        () => tripletMarginWithDistanceLoss([1], [2], [3], { p: 2 } as never),
        "UNKNOWN_OPTION",
        "tripletMarginWithDistanceLoss: p is no option",
      ],
      [
        "a reduction of what is no loss",
        () => pairwiseDistance([1], [2], { reduction: "sum" } as never),
        "UNKNOWN_OPTION",
        "pairwiseDistance: reduction is no option",
      ],
      ["words", () => cosineSimilarity("x" as never, [1]), "TYPE", 'cosineSimilarity: x1 is "x"'],
    ];
    for (const [title, run, code, message] of cases) {
      check(title, () => {
        expectRefusal(run, code, message);
      });
    }
    check("nothing is written before the targets were checked", () => {
      const input1 = Float64Array.of(7, 7);
      expect(() =>
        cosineEmbeddingLoss.valueAndGrad([[1], [2]], [[1], [2]], [1, 2], { out: { grads: { input1 } } }),
      ).toThrow(RangeError);
      expect(Array.from(input1)).toEqual([7, 7]);
    });
  });

  describe(`one row at a time (${engine})`, () => {
    for (const row of REGISTRY.filter(({ family, layout }) => family === "vectors" && layout === "vectors")) {
      check(`${row.name}: a row gives the same bits wherever it stands, whatever stands beside it`, () => {
        for (const dtype of ["float32", "float64"] as const) {
          for (const seed of [1, 2, 3, 4, 5, 6, 7, 8]) {
            const { args, options } = sample(row, { seed, dtype, size: 37, hostile: true });
            const tensors = args as { data: Float32Array | Float64Array; shape: number[] }[];
            const shape = tensors[0]?.shape as number[];
            if (shape.length !== 2) continue;
            const [rows, length] = shape as [number, number];
            const all = row.kind === "loss" ? { ...options, ...NONE } : options;
            const loss: AnyLoss = row.loss;
            const whole = loss.valueAndGrad(...args, all);
            for (let i = 0; i < rows; i++) {
              const one = tensors.map(({ data, shape: own }) =>
                own.length === 1
                  ? { data: data.slice(i, i + 1), shape: [1] }
                  : { data: data.slice(i * length, (i + 1) * length), shape: [1, length] },
              );
              const alone = loss.valueAndGrad(...one, all);
              expectSameBits(
                valuesOf(alone.value),
                Array.from(valuesOf(whole.value)).slice(i, i + 1),
                `value of row ${i}`,
              );
              for (const name in whole.grads) {
                const many = Array.from((whole.grads[name] as Tensor).data).slice(
                  i * length,
                  (i + 1) * length,
                );
                expectSameBits((alone.grads[name] as Tensor).data, many, `gradient of ${name} in row ${i}`);
              }
            }
          }
        }
      });
    }
  });
}
