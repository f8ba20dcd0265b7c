/**
 * Losses that find their triplets in a batch: against a search by hand and each other; anchors that do not count;
 * memory; what is refused. Golden values, agreement of the engines and central differences are laws over the registry (test/laws).
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  batchAllTripletLoss,
  batchHardTripletLoss,
  batchSemiHardTripletLoss,
  engine,
} from "../../ts/index.js";
import type { Tensor } from "../../ts/types.js";
import { expectClose, expectSameBits } from "../support/close.js";
import { ENGINES, on } from "../support/engines.js";
import { randomStream } from "../support/generate.js";
import { DTYPES, exactDistance, vectorsOf } from "./support.js";

const NONE = { reduction: "none" } as const;
const ALL = { batchHardTripletLoss, batchSemiHardTripletLoss, batchAllTripletLoss };

function labelsOf(n: number, classes: number, seed: number): Int32Array {
  const random = randomStream(seed);
  return Int32Array.from({ length: n }, () => Math.floor(random() * classes));
}

/** max_p d(a, p) - min_n d(a, n) of an anchor by looking at all; undefined where it does not count. */
function hardestGap(x: Tensor, labels: Int32Array, i: number): number | undefined {
  let [far, near] = [-Infinity, Infinity];
  labels.forEach((label, j) => {
    if (j === i) return;
    const d = exactDistance(x, i, x, j);
    if (label === labels[i]) far = Math.max(far, d);
    else near = Math.min(near, d);
  });
  return far === -Infinity || near === Infinity ? undefined : far - near;
}

describe("batch-hard", () => {
  for (const dtype of DTYPES) {
    test(`finds what looking at every pair finds, in large batches and crowds too (${dtype})`, () => {
      for (const [n, d, classes, spread] of [
        [300, 19, 7, 1],
        [257, 64, 40, 1],
        [200, 33, 3, 1e-3],
        [200, 33, 3, 1e-6],
        [120, 130, 5, 1e-7],
      ] as const) {
        const x = vectorsOf(n, d, n + d, dtype);
        if (spread < 1) {
          // all vectors nearly the same: products say nothing of their distances
          x.data.forEach((v, at) => {
            x.data[at] = 3 + (at % d) + spread * v;
          });
        }
        const labels = labelsOf(n, classes, d);
        const { data } = batchHardTripletLoss(x, labels, { ...NONE, margin: 0.5 });
        const expected = Array.from(labels, (_, i) => Math.max(0, 0.5 + (hardestGap(x, labels, i) ?? -1)));
        expectClose(data, expected, dtype === "float32" ? 1e-7 : 1e-14, `${n} x ${d}, spread ${spread}`);
      }
    });
  }

  test("of several at one distance the first counts", () => {
    // two positives and two negatives at one distance: only the first of each is pulled
    const x = [[0], [1], [-1], [2], [-2]];
    for (const engine of ENGINES) {
      on(engine, () => {
        const { grads } = batchHardTripletLoss.valueAndGrad(x, [0, 0, 0, 1, 1], {
          margin: 5,
          ...NONE,
          upstream: [1, 0, 0, 0, 0],
        });
        expect(Array.from(grads.embeddings.data, (g) => g + 0)).toEqual([0, 1, 0, -1, 0]);
      });
    }
  });
});

for (const [name, loss] of Object.entries(ALL)) {
  for (const engine of ENGINES) {
    describe(`${name} (${engine})`, () => {
      const check = (title: string, run: () => void): void => {
        test(title, () => on(engine, run));
      };
      check(
        "an anchor without a positive or without a negative contributes nothing and is not counted",
        () => {
          const x = vectorsOf(6, 5, 3, "float64");
          const some = loss.valueAndGrad({ data: x.data.slice(0, 20), shape: [4, 5] }, [0, 0, 1, 1]);
          // the last two have no positive of their own class, and are negatives of all others: their own losses are 0
          const more = loss(x, [0, 0, 1, 1, 2, 3], NONE).data;
          expect(Array.from(more.slice(4))).toEqual([0, 0]);
          const lonely = loss.valueAndGrad(x, [0, 1, 2, 3, 4, 5]);
          expect(lonely).toEqual({ value: Number.NaN, grads: lonely.grads, active: 0 });
          expect(Array.from(lonely.grads.embeddings.data, Math.abs)).toEqual(new Array(30).fill(0));
          const alike = loss.valueAndGrad(x, [7, 7, 7, 7, 7, 7], { reduction: "sum" });
          expect([alike.value, alike.active]).toEqual([0, 0]);
          expect(some.active).toBeGreaterThan(0);
        },
      );
      check("the mean, the sum and the single losses belong together, as do their gradients", () => {
        const x = vectorsOf(24, 8, 11, "float64");
        const labels = labelsOf(24, 4, 1);
        for (const options of [{ margin: 0.7 }, { margin: 0.2, squared: true }, { softMargin: true }]) {
          const none = loss.valueAndGrad(x, labels, { ...options, ...NONE });
          const sum = loss.valueAndGrad(x, labels, { ...options, reduction: "sum" });
          const mean = loss.valueAndGrad(x, labels, options);
          expectClose([sum.value], [Array.from(none.value.data).reduce((a, b) => a + b, 0)], 1e-12, "sum");
          expectSameBits(none.grads.embeddings.data, sum.grads.embeddings.data, "gradients");
          const counted = sum.value / mean.value;
          expect(Math.abs(counted - Math.round(counted))).toBeLessThan(1e-9);
          expectClose(
            mean.grads.embeddings.data,
            sum.grads.embeddings.data.map((g) => g / counted),
            1e-12,
            "mean",
          );
          expect([none.active, mean.active]).toEqual([sum.active, sum.active]);
          if (loss === batchAllTripletLoss) expect(Math.round(counted)).toBe(mean.active);
        }
      });
      check("only whether labels are the same counts", () => {
        const x = vectorsOf(12, 3, 5);
        const labels = labelsOf(12, 3, 9);
        const one = loss.valueAndGrad(x, labels);
        const other = loss.valueAndGrad(
          x,
          Array.from(labels, (l) => [1e9, -4, 0][l] as number),
        );
        expect(other.value).toBe(one.value);
        expectSameBits(other.grads.embeddings.data, one.grads.embeddings.data, "gradient");
      });
      check("vectors that coincide have finite gradients", () => {
        const x = new Float32Array(40).fill(0.3);
        const { value, grads } = loss.valueAndGrad({ data: x, shape: [8, 5] }, [0, 0, 1, 1, 2, 2, 3, 3]);
        expect(value).toBe(1);
        expect(Array.from(grads.embeddings.data, Math.abs)).toEqual(new Array(40).fill(0));
      });
      check("what does not fit is refused by name", () => {
        const x = vectorsOf(4, 3, 1);
        const refuse = (run: () => unknown, code: string, argument: string): void =>
          expect(run).toThrow(expect.objectContaining({ code, argument }));
        refuse(() => loss(x.data, [0, 0, 1, 1]), "RANK", "embeddings");
        refuse(() => loss(x, [0, 0, 1]), "SHAPE", "labels");
        refuse(() => loss(x, [0, 0, 1.5, 1]), "LABEL", "labels");
        refuse(() => loss(x, [0, 0, 1, 1], { margin: -1 }), "NUMBER", "margin");
        refuse(() => loss(x, [0, 0, 1, 1], { squared: 1 as unknown as boolean }), "TYPE", "squared");
        refuse(() => loss(x, [0, 0, 1, 1], { soft: true } as object), "UNKNOWN_OPTION", "soft");
        expect(() => loss(x, [0, 0, 1.5, 1])).toThrow(
          `${loss.name}: labels[2] is 1.5, expected a whole number`,
        );
      });
    });
  }
}

test("losses are ordered: batch-all at most counts what batch-hard counts, semi-hard lies below hard", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 4, max: 40 }),
      fc.integer({ min: 1, max: 12 }),
      fc.integer(),
      (n, d, seed) => {
        const x = vectorsOf(n, d, seed, "float64");
        const labels = labelsOf(n, 3, seed);
        const hard = batchHardTripletLoss(x, labels, NONE).data;
        const all = batchAllTripletLoss(x, labels, NONE).data;
        const semi = batchSemiHardTripletLoss(x, labels, NONE).data;
        labels.forEach((label, i) => {
          const alike = labels.filter((l) => l === label).length - 1;
          const triplets = alike * (n - 1 - alike);
          expect(all[i]).toBeLessThanOrEqual((hard[i] as number) * triplets * (1 + 1e-12) + 1e-12);
          expect(semi[i]).toBeLessThanOrEqual((hard[i] as number) * alike * (1 + 1e-12) + 1e-12);
        });
      },
    ),
    { numRuns: 100 },
  );
});

test("vectors are told apart however small they are, those of double precision too that are 0 in single", () => {
  const x = vectorsOf(40, 5, 1, "float64");
  const labels = labelsOf(40, 4, 1);
  // powers of two, by which everything comes out the same
  for (const loss of Object.values(ALL)) {
    const expected = loss.valueAndGrad(x, labels, { ...NONE, margin: 0 });
    for (const exponent of [-70, -140, -160, -300, 300]) {
      const by = 2 ** exponent;
      const scaled = { data: x.data.map((v) => v * by), shape: x.shape };
      const { value, grads } = loss.valueAndGrad(scaled, labels, { ...NONE, margin: 0 });
      const what = `${loss.name} at 2^${exponent}`;
      expectSameBits(
        value.data.map((v) => v / by),
        expected.value.data,
        what,
      );
      expectSameBits(grads.embeddings.data, expected.grads.embeddings.data, what);
    }
  }
});

test("no matrix of all pairs is kept", () => {
  on("wasm", () => {
    const scratch = (n: number): number => {
      for (const loss of Object.values(ALL)) loss.valueAndGrad(vectorsOf(n, 4, 1), labelsOf(n, n / 4, 1));
      return engine().memory.total;
    };
    const before = scratch(10);
    // all pairs of 3,000 vectors would be 36 MB in single precision
    expect(scratch(3000) - before).toBeLessThan(4e6);
  });
});
