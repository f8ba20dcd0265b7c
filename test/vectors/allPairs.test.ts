/**
 * The distances of all pairs: the bound of their error, also for vectors that differ in their last digits, symmetry, batch invariance,
 * and what is refused. Golden values, agreement of the engines and central differences are laws over the registry (test/laws).
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { allocate, cdist } from "../../ts/index.js";
import type { Tensor } from "../../ts/types.js";
import { expectClose, expectSameBits } from "../support/close.js";
import { ENGINES, on } from "../support/engines.js";
import { DTYPES, type DTypeName, exactDistance, rowsOf, vectorsOf } from "./support.js";

const HALF_EPSILON = { float32: 2 ** -24, float64: 2 ** -53 };

/** The bound that crates/kernels/src/vectors/panels.rs derives for the relative error of a distance, 2 E with E = (c + 6) u. */
function bound(length: number, dtype: DTypeName): number {
  const c = 32 + Math.ceil(length / 32) + 2;
  return 2 * (c + 6) * HALF_EPSILON[dtype];
}

function worstError(x: Tensor, y: Tensor, value: Tensor): number {
  let worst = 0;
  const m = y.shape[0] as number;
  value.data.forEach((d, at) => {
    const exact = exactDistance(x, Math.floor(at / m), y, at % m);
    worst = Math.max(worst, exact === 0 ? d : Math.abs(d - exact) / exact);
  });
  return worst;
}

/** Vectors around one far point, that differ from it by about `spread` relative to its length; some are the same. */
function crowd(n: number, d: number, spread: number, seed: number, dtype: DTypeName): Tensor {
  const x = vectorsOf(n, d, seed, dtype);
  const centre = vectorsOf(1, d, seed + 1).data;
  x.data.forEach((v, at) => {
    const c = 10 * (centre[at % d] as number);
    x.data[at] = Math.floor(at / d) % 5 === 0 ? c : c * (1 + spread * v);
  });
  return x;
}

describe("the relative error of a distance is bounded", () => {
  const spreads = [1, 0.3, 0.1, 1e-2, 1e-3, 1e-5, 1e-6, 3e-7, 1e-7];
  for (const dtype of DTYPES) {
    for (const length of [1, 3, 17, 64, 129, 1000]) {
      test(`${dtype}, length ${length}`, () => {
        for (const spread of dtype === "float32" ? spreads : [...spreads, 1e-10, 1e-13, 1e-15]) {
          const x = crowd(20, length, spread, length, dtype);
          const y = crowd(13, length, spread, length, dtype);
          const across = cdist(x, y);
          expect(worstError(x, y, across), `spread ${spread}`).toBeLessThanOrEqual(bound(length, dtype));
          expect(worstError(x, x, cdist(x)), `spread ${spread}, one set`).toBeLessThanOrEqual(
            bound(length, dtype),
          );
        }
      });
    }
  }

  test("where |a|² + |b|² - 2ab has no digit left", () => {
    const x = { data: Float32Array.of(1000, 1000, 1000, 1000.0001), shape: [2, 2] };
    const { value, grads } = cdist.valueAndGrad(x);
    expect(value.data[1]).toBeCloseTo(Math.fround(1000.0001) - 1000, 12);
    expectClose(grads.x1.data, [0, -2, 0, 2], 1e-6, "gradient");
  });

  test("of numbers whose squares overflow or vanish", () => {
    for (const scale of [1e-30, 1e-42, 1e25, 1e37]) {
      const x = { data: Float32Array.of(3 * scale, 0, 0, 4 * scale), shape: [2, 2] };
      const { value, grads } = cdist.valueAndGrad(x);
      const expected = Math.hypot(x.data[0] as number, x.data[3] as number);
      expect((value.data[1] as number) / expected).toBeCloseTo(1, 3);
      expectClose(grads.x1.data, [1.2, -1.6, -1.2, 1.6], 2e-3, `gradient at ${scale}`);
    }
  });
});

describe("the gradient is that of the reference", () => {
  const shapes = [
    [1, 1, 1],
    [3, 130, 7],
    [64, 64, 8],
    [65, 9, 24],
    [150, 140, 33],
  ] as const;
  for (const dtype of DTYPES) {
    for (const [n, m, d] of shapes) {
      test(`${dtype}, ${n} and ${m} of length ${d}`, () => {
        // far apart, in crowds where products tell nothing, and of all kinds
        for (const spread of [1, 1e-2, 1e-4, 0]) {
          const x = spread === 1 ? vectorsOf(n, d, 1, dtype) : crowd(n, d, spread, 1, dtype);
          const y = spread === 1 ? vectorsOf(m, d, 2, dtype) : crowd(m, d, spread, 1, dtype);
          // a fifth of the pairs is masked, and with it what is not finite
          const masked = (i: number, j: number): boolean =>
            (i + 3 * j) % 5 === 0 || j === m - 1 || i === n - 1;
          const upstream = (rows: number, columns: number): Float64Array =>
            Float64Array.from({ length: rows * columns }, (_, at) => {
              const [i, j] = [Math.floor(at / columns), at % columns];
              return masked(i, j) || (rows === columns && masked(j, i)) ? 0 : Math.cos(at);
            });
          if (m > 1) y.data.fill(Number.NaN, (m - 1) * d, (m - 1) * d + 1);
          if (n > 1) x.data.fill(Number.POSITIVE_INFINITY, (n - 1) * d);
          const runs: (() => { grads: Record<string, Tensor> })[] = [
            () => cdist.valueAndGrad(x, y, { upstream: upstream(n, m) }),
            () => cdist.valueAndGrad(x, y, { upstream: upstream(n, m), wrt: ["x2"] }),
            () => cdist.valueAndGrad(x, { upstream: upstream(n, n) }),
            () => cdist.valueAndGrad(rowsOf(x, [0]), { upstream: 2 }),
          ];
          runs.forEach((run, k) => {
            const [actual, expected] = [on("wasm", run).grads, on("js", run).grads];
            for (const [name, { data }] of Object.entries(expected)) {
              const tolerance = (dtype === "float32" ? 4e-7 : 1e-15) * (n + m);
              expectClose((actual[name] as Tensor).data, data, tolerance, `${k}: ${name}, spread ${spread}`);
            }
          });
        }
      });
    }
  }
});

test("a gradient is finite and keeps its digits where the weight of a difference would not", () => {
  const many = (n: number, ...x: number[]): Float32Array =>
    Float32Array.from({ length: n * x.length }, (_, i) => x[i % x.length] as number);
  const cases: [x: Float32Array, y: Float32Array, length: number, upstream: number][] = [
    [many(1, 3, 0), many(1, 0, 4), 2, Number.POSITIVE_INFINITY],
    [many(1, 3e-12, 0), many(1, 0, 4e-12), 2, 1e30],
    [many(1, 1e-11), many(9, 0), 1, 1e27],
    [many(1, 4e17), many(8, -4e17), 1, 1e-29],
    [many(1, 4e17), many(9, -4e17), 1, 1e-27],
    [many(1, 2e38, 2e38, 3e38), many(1, 0, 0, 0), 3, 1],
    [many(1, 3e38, 0), many(1, -3e38, 0), 2, 1],
    [many(1, 3e-45, 0), many(1, 0, 4e-45), 2, 1],
    [many(1, 3, 1), many(1, 1, 1), 2, 1e39],
  ];
  for (const [x, y, length, upstream] of cases) {
    const run = () =>
      cdist.valueAndGrad(
        { data: x, shape: [x.length / length, length] },
        { data: y, shape: [y.length / length, length] },
        { upstream },
      );
    const [actual, expected] = [on("wasm", run).grads, on("js", run).grads];
    for (const name of ["x1", "x2"] as const) {
      const [a, b] = [actual[name].data, expected[name].data];
      const relative = (i: number): number => (a[i] === b[i] ? 1 : (a[i] as number) / (b[i] as number));
      expectClose(
        Array.from(a, (_, i) => relative(i)),
        new Array(a.length).fill(1),
        1e-6,
        `${name} at ${upstream}`,
      );
    }
  }
});

describe("one set", () => {
  for (const engine of ENGINES) {
    for (const dtype of DTYPES) {
      test(`is symmetric bit for bit, with an exact 0 on the diagonal (${engine}, ${dtype})`, () => {
        on(engine, () => {
          for (const [n, d] of [
            [1, 5],
            [7, 3],
            [64, 16],
            [131, 20],
            [70, 33],
            [140, 130],
          ] as const) {
            for (const p of [1, 1.5, 2, Infinity]) {
              const x = vectorsOf(n, d, n + p, dtype);
              x.data[0] = Number.NaN;
              const { data } = cdist(x, { p });
              for (let i = 0; i < n; i++) {
                expect(data[i * n + i]).toBe(0);
                for (let j = 0; j < i; j++) expect(Object.is(data[i * n + j], data[j * n + i])).toBe(true);
              }
            }
          }
        });
      });
    }
  }

  test("has the distances and gradients of two sets that are the same", () => {
    const x = vectorsOf(90, 24, 5, "float64");
    const upstream = vectorsOf(90, 90, 6, "float64");
    for (let i = 0; i < 90; i++) upstream.data[i * 91] = 0;
    for (const p of [1, 2, 3, Infinity]) {
      const one = cdist.valueAndGrad(x, { p, upstream });
      const two = cdist.valueAndGrad(x, { data: Float64Array.from(x.data), shape: x.shape }, { p, upstream });
      expectClose(one.value.data, two.value.data, 1e-12, "value");
      expectClose(
        one.grads.x1.data,
        two.grads.x1.data.map((g, i) => g + (two.grads.x2.data[i] as number)),
        1e-11,
        "gradient",
      );
    }
  });
});

test("what comes out for a pair does not depend on what else is in the sets, bit for bit", () => {
  fc.assert(
    fc.property(
      fc.record({
        n: fc.integer({ min: 1, max: 80 }),
        m: fc.integer({ min: 1, max: 150 }),
        d: fc.integer({ min: 1, max: 90 }),
        seed: fc.integer(),
        dtype: fc.constantFrom(...DTYPES),
        p: fc.constantFrom(1, 2, 2.5, Infinity),
      }),
      ({ n, m, d, seed, dtype, p }) => {
        const x = vectorsOf(n, d, seed, dtype);
        const y = vectorsOf(m, d, seed + 1, dtype);
        // some pairs are near enough for differences
        for (let k = 0; k < Math.min(n, m) * d; k += 3) y.data[k] = x.data[k] as number;
        const whole = cdist(x, y, { p }).data;
        const [i, j] = [Math.abs(seed) % n, Math.abs(seed >> 3) % m];
        const alone = cdist(rowsOf(x, [i]), rowsOf(y, [j]), { p }).data;
        expectSameBits(alone, [whole[i * m + j] as number], "alone");
        const exchanged = cdist(rowsOf(y, [j]), rowsOf(x, [i]), { p }).data;
        expectSameBits(exchanged, [whole[i * m + j] as number], "exchanged");
        const together = {
          data:
            dtype === "float32"
              ? Float32Array.of(...x.data, ...y.data)
              : Float64Array.of(...x.data, ...y.data),
          shape: [n + m, d],
        };
        expectSameBits([cdist(together, { p }).data[i * (n + m) + n + j] as number], alone, "within one set");
      },
    ),
    { numRuns: 150 },
  );
});

describe("norms", () => {
  test("of any p are between those of 1 and Infinity, and meet 2", () => {
    const [x, y] = [vectorsOf(9, 7, 1, "float64"), vectorsOf(5, 7, 2, "float64")];
    const values = [1, 1.5, 2, 3, 8, Infinity].map((p) => cdist(x, y, { p }).data);
    for (let k = 1; k < values.length; k++) {
      values[k]?.forEach((v, i) => {
        expect(v).toBeLessThanOrEqual((values[k - 1]?.[i] as number) * (1 + 1e-14));
      });
    }
    expectClose(cdist(x, y, { p: 2 + 1e-13 }).data, values[2] as Float64Array, 1e-11, "any p");
  });
  test("at distance 0 the gradient is 0 for all of them", () => {
    for (const p of [1, 1.5, 2, 3, Infinity]) {
      for (const dtype of DTYPES) {
        const x = vectorsOf(3, 4, 3, dtype);
        const { value, grads } = cdist.valueAndGrad(rowsOf(x, [1, 1]), rowsOf(x, [1]), { p });
        expect(Array.from(value.data)).toEqual([0, 0]);
        for (const g of [...grads.x1.data, ...grads.x2.data]) expect(Math.abs(g)).toBe(0);
      }
    }
  });
});

describe("arguments", () => {
  const x = vectorsOf(3, 4, 1);
  test("a set without vectors gives nothing", () => {
    const none = { data: new Float32Array(0), shape: [0, 4] };
    expect(cdist(none, x).shape).toEqual([0, 3]);
    const { value, grads } = cdist.valueAndGrad(x, none);
    expect(value.shape).toEqual([3, 0]);
    expect(Array.from(grads.x1.data)).toEqual(new Array(12).fill(0));
    expect(cdist(none).shape).toEqual([0, 0]);
  });
  test("arrays in the core's memory are written in place", () => {
    const held = allocate([3, 4], "float32");
    const out = allocate([3, 3], "float32");
    held.data.set(x.data);
    expect(cdist(held, { out: { value: out } })).toBe(out);
    expectSameBits(out.data, cdist(x).data, "value");
    held.dispose();
    out.dispose();
  });
  test("what does not fit is refused by name, and nothing is written", () => {
    const out = new Float32Array(9).fill(7);
    const refuse = (run: () => unknown, code: string, argument: string): void => {
      expect(run).toThrow(expect.objectContaining({ code, argument }));
      expect(Array.from(out)).toEqual(new Array(9).fill(7));
    };
    refuse(() => cdist(x.data, { out: { value: out } }), "RANK", "x1");
    refuse(() => cdist(x, vectorsOf(3, 5, 1), { out: { value: out } }), "SHAPE", "x2");
    refuse(() => cdist(x, { p: 0.5, out: { value: out } }), "NUMBER", "p");
    refuse(() => cdist(x, { p: Number.NaN, out: { value: out } }), "NUMBER", "p");
    refuse(() => cdist.valueAndGrad(x, { upstream: [1, 2], out: { value: out } }), "SHAPE", "upstream");
    refuse(() => cdist({ data: new Float32Array(0), shape: [3, 0] }, { out: { value: out } }), "SHAPE", "x1");
    refuse(() => cdist(x, x, { out: { value: new Float32Array(8) } }), "LENGTH", "out.value");
  });
});
