/**
 * Contrastive losses: identities with cross-entropy and each other, anchors that do not count, zero vectors, and
 * what is refused. Golden values, agreement of the engines and central differences are laws over the registry (test/laws).
 */
import { describe, expect, test } from "vitest";
import { crossEntropyLoss, infoNceLoss, supervisedContrastiveLoss } from "../../ts/index.js";
import type { Tensor } from "../../ts/types.js";
import { expectClose, expectSameBits, valuesOf } from "../support/close.js";
import { ENGINES, on } from "../support/engines.js";
import { DTYPES, vectorsOf } from "./support.js";

const NONE = { reduction: "none" } as const;

/** All cosines over a temperature. */
function logits(x: Tensor, y: Tensor, temperature: number): Tensor {
  const [n, d] = x.shape as [number, number];
  const dot = (a: Tensor, i: number, b: Tensor, j: number): number => {
    let sum = 0;
    for (let k = 0; k < d; k++) sum += (a.data[i * d + k] as number) * (b.data[j * d + k] as number);
    return sum;
  };
  const data = Float64Array.from({ length: n * n }, (_, at) => {
    const [i, j] = [Math.floor(at / n), at % n];
    return dot(x, i, y, j) / Math.sqrt(dot(x, i, x, i) * dot(y, j, y, j)) / temperature;
  });
  return { data, shape: [n, n] };
}

for (const engine of ENGINES) {
  const check = (title: string, run: () => void): void => {
    test(`${title} (${engine})`, () => on(engine, run));
  };
  describe("infoNceLoss", () => {
    check("is cross-entropy of the cosines, the key beside the query being the class", () => {
      const [q, k] = [vectorsOf(70, 9, 1, "float64"), vectorsOf(70, 9, 2, "float64")];
      const each = Int32Array.from({ length: 70 }, (_, i) => i);
      const one = crossEntropyLoss(logits(q, k, 0.2), each, NONE).data;
      const other = crossEntropyLoss(logits(k, q, 0.2), each, NONE).data;
      expectClose(infoNceLoss(q, k, { temperature: 0.2, ...NONE }).data, one, 1e-12, "one way");
      const both = infoNceLoss(q, k, { temperature: 0.2, symmetric: true, ...NONE }).data;
      expectClose(
        both,
        one.map((loss, i) => (loss + (other[i] as number)) / 2),
        1e-12,
        "both ways",
      );
    });
    check("both ways: exchanging queries and keys exchanges the gradients", () => {
      const [q, k] = [vectorsOf(33, 6, 3, "float64"), vectorsOf(33, 6, 4, "float64")];
      const one = infoNceLoss.valueAndGrad(q, k, { symmetric: true });
      const other = infoNceLoss.valueAndGrad(k, q, { symmetric: true });
      expect(one.value).toBeCloseTo(other.value, 12);
      expectClose(one.grads.query.data, other.grads.key.data, 1e-12, "query");
      expectClose(one.grads.key.data, other.grads.query.data, 1e-12, "key");
    });
    check("a loss near 0 is not lost in single precision", () => {
      const x = { data: Float32Array.of(1, 0, 0, 1), shape: [2, 2] };
      expect(infoNceLoss(x, x, { temperature: 0.05 })).toBeCloseTo(Math.log1p(Math.exp(-20)), 14);
    });
    check("zero vectors have finite losses and gradients", () => {
      const { value, grads } = infoNceLoss.valueAndGrad(
        [
          [0, 0],
          [1, 0],
        ],
        [
          [1, 1],
          [0, 0],
        ],
      );
      expect(Number.isFinite(value)).toBe(true);
      for (const g of [...grads.query.data, ...grads.key.data]) expect(Number.isFinite(g)).toBe(true);
    });
    check("what does not fit is refused by name", () => {
      const x = vectorsOf(4, 3, 1);
      const refuse = (run: () => unknown, code: string, argument: string): void =>
        expect(run).toThrow(expect.objectContaining({ code, argument }));
      refuse(() => infoNceLoss(x.data, x.data), "RANK", "query");
      refuse(() => infoNceLoss(x, vectorsOf(4, 2, 1)), "SHAPE", "key");
      refuse(() => infoNceLoss(x, vectorsOf(5, 3, 1)), "SHAPE", "key");
      refuse(() => infoNceLoss(x, x, { temperature: 0 }), "NUMBER", "temperature");
    });
  });

  describe("supervisedContrastiveLoss", () => {
    check("with pairs alone it is infoNce of all others", () => {
      // classes of two: the one positive of an anchor is a class among all others
      const n = 20;
      const x = vectorsOf(n, 7, 5, "float64");
      const labels = Int32Array.from({ length: n }, (_, i) => i >> 1);
      const own = logits(x, x, 0.3).data;
      const others = new Float64Array(n * (n - 1));
      const positive = new Int32Array(n);
      for (let i = 0; i < n; i++) {
        let at = 0;
        for (let j = 0; j < n; j++) {
          if (j === i) continue;
          if (labels[j] === labels[i]) positive[i] = at;
          others[i * (n - 1) + at++] = own[i * n + j] as number;
        }
      }
      const expected = crossEntropyLoss({ data: others, shape: [n, n - 1] }, positive, NONE).data;
      expectClose(
        supervisedContrastiveLoss(x, labels, { temperature: 0.3, ...NONE }).data,
        expected,
        1e-12,
        "value",
      );
    });
    check("an anchor without another of its class is not counted", () => {
      const x = vectorsOf(5, 4, 6, "float64");
      const { value, active } = supervisedContrastiveLoss.valueAndGrad(x, [0, 0, 1, 1, 2]);
      const each = supervisedContrastiveLoss(x, [0, 0, 1, 1, 2], NONE).data;
      expect(each[4]).toBe(0);
      expect(active).toBe(4);
      expect(value).toBeCloseTo(Array.from(each).reduce((a, b) => a + b, 0) / 4, 12);
      const lonely = supervisedContrastiveLoss.valueAndGrad(x, [0, 1, 2, 3, 4]);
      expect([lonely.value, lonely.active]).toEqual([Number.NaN, 0]);
      expect(Array.from(lonely.grads.embeddings.data, Math.abs)).toEqual(new Array(20).fill(0));
    });
    check("the gradient is at a right angle to each vector", () => {
      const x = vectorsOf(12, 6, 7, "float64");
      const { grads } = supervisedContrastiveLoss.valueAndGrad(x, [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2]);
      for (let i = 0; i < 12; i++) {
        let along = 0;
        for (let k = i * 6; k < i * 6 + 6; k++)
          along += (x.data[k] as number) * (grads.embeddings.data[k] as number);
        expect(Math.abs(along)).toBeLessThan(1e-13);
      }
    });
  });
}

// 64 rows go together; within one set vectors of 24 numbers and more have their weights of both ways at once; of up to 2048 the cosines stay
describe.each([
  [1, 5],
  [63, 5],
  [64, 30],
  [65, 24],
  [150, 70],
  [150, 5],
  [2048, 24],
  [2100, 24],
])("the engines agree on %i vectors of %i numbers", (n, d) => {
  const upstream = Array.from({ length: n }, (_, i) => Math.cos(i));
  const options = { ...NONE, upstream };
  test.each(n < 2000 ? DTYPES : (["float32"] as const))("%s", (dtype) => {
    const [x, y] = [vectorsOf(n, d, 8, dtype), vectorsOf(n, d, 9, dtype)];
    // the last vectors are without company
    const labels = Int32Array.from({ length: n }, (_, i) => (i < n - 3 ? i % 7 : i));
    const runs: Record<string, () => { value: number | Tensor; grads: Record<string, Tensor> }> = {
      supervised: () => supervisedContrastiveLoss.valueAndGrad(x, labels, options),
      bothWays: () => infoNceLoss.valueAndGrad(x, y, { ...options, symmetric: true }),
      oneWay: () => infoNceLoss.valueAndGrad(x, y, options),
      ofQueries: () => infoNceLoss.valueAndGrad(x, y, { ...options, wrt: ["query"] }),
      ofKeys: () => infoNceLoss.valueAndGrad(x, y, { ...options, symmetric: true, wrt: ["key"] }),
    };
    for (const [name, run] of Object.entries(runs).slice(0, n < 2000 ? 5 : 2)) {
      const [actual, expected] = [on("wasm", run), on("js", run)];
      const tolerance = dtype === "float32" ? 1e-5 : 1e-13;
      expectClose(valuesOf(actual.value), valuesOf(expected.value), tolerance, name);
      for (const [input, grad] of Object.entries(expected.grads)) {
        expectClose((actual.grads[input] as Tensor).data, grad.data, tolerance, `${name}: ${input}`);
      }
    }
    const { value } = supervisedContrastiveLoss.valueAndGrad(x, labels, options);
    expectSameBits(supervisedContrastiveLoss(x, labels, options).data, value.data, "the value alone");
  });
});

test.each(ENGINES)("what is not finite stays out where no loss counts (%s)", (engine) => {
  on(engine, () => {
    const { grads } = supervisedContrastiveLoss.valueAndGrad(
      [
        [Number.NaN, 0],
        [0, 1],
      ],
      [0, 1],
      { reduction: "sum" },
    );
    expect(Array.from(grads.embeddings.data.subarray(2))).toEqual([0, 0]);
  });
});

test.each(ENGINES)("a temperature beyond single precision leaves all alike (%s)", (engine) => {
  const x = { data: Float32Array.of(1, 0, 0, 1), shape: [2, 2] };
  on(engine, () => expect(infoNceLoss(x, x, { temperature: 1e46 })).toBeCloseTo(Math.LN2, 7));
});
