/** Search: against sorting all distances, ties, what is not finite, an index in the core's memory, and what is refused. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { allocate, type NearestOptions, nearest } from "../../ts/index.js";
import type { Tensor } from "../../ts/types.js";
import { expectSameBits } from "../support/close.js";
import { ENGINES, on } from "../support/engines.js";
import { DTYPES, rowsOf, vectorsOf } from "./support.js";

const METRICS = ["euclidean", "cosine", "dot"] as const;

/** All items by their distance, computed in double precision, number by number. */
function sorted(
  q: Tensor,
  i: number,
  index: Tensor,
  metric: NearestOptions["metric"],
): { index: number; distance: number }[] {
  const [items, d] = index.shape as [number, number];
  const all = Array.from({ length: items }, (_, j) => {
    let [dot, square, a, b] = [0, 0, 0, 0];
    for (let k = 0; k < d; k++) {
      const [x, y] = [q.data[i * d + k] as number, index.data[j * d + k] as number];
      dot += x * y;
      square += (x - y) * (x - y);
      a += x * x;
      b += y * y;
    }
    const cosine = 1 - dot / (Math.max(Math.sqrt(a), 1e-8) * Math.max(Math.sqrt(b), 1e-8));
    return { index: j, distance: metric === "dot" ? -dot : metric === "cosine" ? cosine : Math.sqrt(square) };
  });
  const rank = (x: number): number => (Number.isNaN(x) ? Infinity : x);
  return all.sort((x, y) =>
    rank(x.distance) === rank(y.distance) ? x.index - y.index : rank(x.distance) < rank(y.distance) ? -1 : 1,
  );
}

function expectNearest(q: Tensor, index: Tensor, k: number, metric: NearestOptions["metric"]): void {
  const { indices, distances, shape } = nearest(q, index, k, { metric });
  const queries = q.shape[0] as number;
  expect(shape).toEqual([queries, k]);
  // k is a number of neighbours: it asks for no precision
  const isSingle = [q, index].every(({ data }) => data instanceof Float32Array);
  expect(distances).toBeInstanceOf(isSingle ? Float32Array : Float64Array);
  for (let i = 0; i < queries; i++) {
    const expected = sorted(q, i, index, metric).slice(0, k);
    const rounded = distances instanceof Float32Array ? Math.fround : (x: number) => x;
    expect(Array.from(indices.slice(i * k, i * k + k))).toEqual(expected.map(({ index: j }) => j));
    expectSameBits(
      distances.slice(i * k, i * k + k),
      expected.map(({ distance }) => rounded(distance)),
      `query ${i}`,
    );
  }
}

for (const engine of ENGINES) {
  describe(`nearest (${engine})`, () => {
    test("is what sorting all distances gives, to the last bit", () => {
      on(engine, () =>
        fc.assert(
          fc.property(
            fc.record({
              queries: fc.integer({ min: 1, max: 11 }),
              items: fc.integer({ min: 1, max: 200 }),
              d: fc.integer({ min: 1, max: 70 }),
              seed: fc.integer(),
              dtype: fc.constantFrom(...DTYPES),
              metric: fc.constantFrom(...METRICS),
              kind: fc.constantFrom("spread", "crowded", "clustered", "spoiled", "few", "positive", "mixed"),
            }),
            ({ queries, items, d, seed, dtype, metric, kind }) => {
              const [q, index] = [vectorsOf(queries, d, seed, dtype), vectorsOf(items, d, seed + 1, dtype)];
              for (const { data } of [q, index]) {
                for (let at = 0; at < data.length; at++) {
                  const [i, k, x] = [Math.floor(at / d), at % d, data[at] as number];
                  if (kind === "crowded") data[at] = 5 + k + 1e-6 * x;
                  // around one place, which queries and index share or not; and some of them no numbers, or far away
                  if (kind === "clustered" || kind === "spoiled")
                    data[at] = 3 * Math.cos(k + (seed % 3)) + x * 10 ** -(Math.abs(seed) % 6);
                  if (kind === "clustered" && data === q.data && seed % 2 === 0) data[at] = x;
                  if (kind === "spoiled" && i % 5 === 2)
                    data[at] = [Number.NaN, Infinity, 1e30, -1e12][i % 4] as number;
                  // many at one distance
                  if (kind === "few") data[at] = ((i % 3) + 1) * Math.sin(k);
                  if (kind === "positive") data[at] = Math.abs(x);
                  // zeros, and lengths from those whose squares vanish to those whose squares overflow
                  if (kind === "mixed")
                    data[at] = x * ([0, 1, 1e-3, 1e-24, 1e15, 1e22][(i * 7) % 6] as number);
                }
              }
              expectNearest(q, index, 1 + (Math.abs(seed) % items), metric);
            },
          ),
          { numRuns: engine === "wasm" ? 300 : 60 },
        ),
      );
    });
    test("of several at one distance the first comes first, and zero vectors are vectors", () => {
      on(engine, () => {
        const index = { data: Float32Array.of(0, 0, 1, 0, 0, 1, -1, 0, 1, 0, 0, 0), shape: [6, 2] };
        for (const metric of METRICS) {
          expectNearest({ data: Float32Array.of(0, 0, 1, 0), shape: [2, 2] }, index, 6, metric);
        }
        expect(Array.from(nearest([[0, 0]], index, 4).indices)).toEqual([0, 5, 1, 2]);
      });
    });
    test("what is NaN or infinitely far comes last, and numbers whose squares overflow are compared", () => {
      on(engine, () => {
        const data = Float32Array.of(
          Number.NaN,
          0,
          3,
          4,
          Infinity,
          1,
          1e30,
          0,
          1e-42,
          0,
          0,
          2,
          1e30,
          1e30,
          0,
          0,
          1,
          1,
        );
        for (const metric of METRICS) {
          for (const k of [1, 4, 9]) {
            expectNearest(
              { data: Float32Array.of(0, 0, 1e30, 1, 1, Number.NaN), shape: [3, 2] },
              { data, shape: [9, 2] },
              k,
              metric,
            );
          }
        }
      });
    });
  });
}

test("in an index of many vectors", () => {
  const [q, index] = [vectorsOf(3, 32, 1), vectorsOf(6000, 32, 2)];
  for (const metric of METRICS) for (const k of [1, 10, 300]) expectNearest(q, index, k, metric);
});

test("around one place, however near to each other, and as each query alone", () => {
  for (const dtype of DTYPES) {
    for (const near of [1e-1, 1e-3, 1e-6]) {
      const [q, index] = [vectorsOf(9, 40, 1, dtype), vectorsOf(2000, 40, 2, dtype)];
      for (const { data } of [q, index]) {
        for (let at = 0; at < data.length; at++) data[at] = Math.sin(at % 40) + near * (data[at] as number);
      }
      for (const metric of METRICS) {
        expectNearest(q, index, 7, metric);
        const all = nearest(q, index, 7, { metric });
        for (let i = 0; i < 9; i++) {
          const alone = nearest(rowsOf(q, [i]), index, 7, { metric });
          expect(Array.from(alone.indices)).toEqual(Array.from(all.indices.slice(i * 7, i * 7 + 7)));
          expectSameBits(alone.distances, all.distances.slice(i * 7, i * 7 + 7), "alone");
        }
      }
    }
  }
});

test("an index in the core's memory is searched where it stands, and a query alone finds what it finds among others", () => {
  const [q, x] = [vectorsOf(13, 16, 1), vectorsOf(3000, 16, 2)];
  const index = allocate([3000, 16], "float32");
  index.data.set(x.data);
  const expected = nearest(q, x, 5);
  const actual = nearest(q, index, 5);
  expect(Array.from(actual.indices)).toEqual(Array.from(expected.indices));
  expectSameBits(actual.distances, expected.distances, "distances");
  for (let i = 0; i < 13; i++) {
    const alone = nearest(rowsOf(q, [i]), index, 5);
    expect(Array.from(alone.indices)).toEqual(Array.from(expected.indices.slice(i * 5, i * 5 + 5)));
    expectSameBits(alone.distances, expected.distances.slice(i * 5, i * 5 + 5), "alone");
  }
  index.dispose();
});

test("what does not fit is refused by name", () => {
  const x = vectorsOf(4, 3, 1);
  const refuse = (run: () => unknown, code: string, argument: string): void =>
    expect(run).toThrow(expect.objectContaining({ code, argument }));
  refuse(() => nearest(x.data, x, 1), "RANK", "queries");
  refuse(() => nearest(x, vectorsOf(4, 2, 1), 1), "SHAPE", "index");
  refuse(() => nearest(x, x, 5), "RANGE", "k");
  refuse(() => nearest(x, x, 0), "RANGE", "k");
  refuse(() => nearest(x, x, 1.5), "RANGE", "k");
  refuse(() => nearest(x, x, "2" as unknown as number), "TYPE", "k");
  refuse(() => nearest(x, x, 2, { metric: "manhattan" as "dot" }), "OPTION", "metric");
  refuse(() => nearest(x, x, 2, { reduction: "sum" } as object), "UNKNOWN_OPTION", "reduction");
  refuse(() => nearest(x, x, 2, { out: {} } as object), "UNKNOWN_OPTION", "out");
  expect(() => nearest(x, x, 5)).toThrow(
    "nearest: k is 5, expected a whole number from 1 to 4, the vectors of index",
  );
  expect(nearest({ data: new Float32Array(0), shape: [0, 3] }, x, 2).shape).toEqual([0, 2]);
});
