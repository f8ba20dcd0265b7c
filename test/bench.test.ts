/** The benchmarks: they leave nothing out, and what they say of their numbers is true. */
import { describe, expect, test } from "vitest";
import { type Case, idOf, sizeOf } from "../bench/cases.js";
import { agree } from "../bench/engines.js";
import { limitOf } from "../bench/limits.js";
import { estimate, geometricMean, median, Timer } from "../bench/measure.js";
import { ratio } from "../bench/run.js";
import { casesOf, FAMILIES } from "../bench/session.js";
import { duration } from "../bench/table.js";
import * as registry from "../ts/registry.js";

const cases = (await Promise.all(FAMILIES.map(casesOf))).flat();

describe("the cases", () => {
  test("know the registry's families", () => {
    expect(FAMILIES).toEqual(registry.FAMILIES);
  });

  test("have names of their own", () => {
    const ids = cases.map(idOf);
    expect(ids).toEqual([...new Set(ids)]);
  });

  test.each(registry.REGISTRY.map(({ name, entry, family }) => ({ name, entry, family })))(
    "measure $name of $entry",
    ({ name, entry, family }) => {
      const wanted = entry === "perdida/energy" ? `energy.${name}` : name;
      expect(cases.some((one) => one.name === wanted && one.entry === entry && one.family === family)).toBe(
        true,
      );
    },
  );

  test("draw the same numbers each time, as many as their shapes say", () => {
    for (const one of cases.filter(({ bytes }) => bytes < 100_000)) {
      const [first, second] = [one.inputs(), one.inputs()];
      expect(first, idOf(one)).toEqual(second);
      for (const { data, shape } of first) expect(data.length, idOf(one)).toBe(sizeOf(shape));
      for (const name of one.grads)
        expect(
          first.map((input) => input.name),
          idOf(one),
        ).toContain(name);
    }
  });
});

describe("a measurement", () => {
  test("is the middle, with the interval that the order of its numbers gives", () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([4, 1, 2, 3])).toBe(2.5);
    expect(estimate([5])).toEqual({ median: 5, low: 5, high: 5 });
    expect(estimate([5, 1, 4, 2, 3])).toEqual({ median: 3, low: 1, high: 5 });
    // 2 (1 + 9) / 2^9 is below 5 %, and 2 (1 + 9 + 36) / 2^9 is not
    expect(estimate([9, 8, 7, 6, 5, 4, 3, 2, 1])).toEqual({ median: 5, low: 2, high: 8 });
  });

  test("of 5 numbers or more holds the true median in 19 of 20 cases, or in as many as they allow", () => {
    let state = 1;
    const random = () => {
      state = (state * 48271) % 2147483647;
      return state / 2147483647;
    };
    for (const [n, least] of [
      [5, 0.93],
      [7, 0.95],
      [9, 0.95],
      [20, 0.95],
    ] as const) {
      let held = 0;
      for (let i = 0; i < 4000; i++) {
        const { low, high } = estimate(Array.from({ length: n }, () => random() ** 3));
        if (low <= 0.125 && 0.125 <= high) held++;
      }
      expect(held / 4000, `${n} numbers`).toBeGreaterThan(least - 0.01);
    }
  });

  test("takes ratios within a round", () => {
    expect(ratio([2, 40, 6], [1, 20, 3])).toEqual({ median: 2, low: 2, high: 2 });
    expect(geometricMean([1, 4])).toBe(2);
  });

  test("counts the calls of a batch", async () => {
    let calls = 0;
    const timer = new Timer(() => {
      calls++;
      const until = performance.now() + 0.5;
      while (performance.now() < until) {}
    });
    const samples = await timer.samples(5);
    // half a millisecond each, however busy the machine is
    expect(median(samples)).toBeGreaterThan(0.45);
    expect(calls).toBeGreaterThanOrEqual(samples.length);
  });

  test("is written in the unit that suits it", () => {
    expect([12.3456, 0.0123456, 0.0000123].map(duration)).toEqual(["12.3 ms", "12.3 µs", "12.3 ns"]);
  });
});

test("engines that compute something else are told apart", () => {
  expect(agree([1, 2], [1.0005, 2.02])).toBe(true);
  expect(agree([1, 2], [1.01, 2])).toBe(false);
  expect(agree([1, 2], [1, 2.2])).toBe(false);
  expect(agree(undefined, [1])).toBe(true);
});

test("the limit is what takes longer, moving bytes or computing", () => {
  const limits = {
    copy: [
      { bytes: 1000, rate: 100 },
      { bytes: 100_000, rate: 10 },
    ],
    flops: 1000,
  };
  const limit = (bytes: number, flops: number) => limitOf(limits, { bytes, flops } as Case);
  expect(limit(1000, 0)).toBe(10);
  expect(limit(100_000, 0)).toBe(10_000);
  expect(limit(1_000_000, 0)).toBe(100_000);
  // halfway on both scales
  expect(limit(10_000, 0)).toBeCloseTo(10_000 / Math.sqrt(1000), 9);
  expect(limit(1000, 50_000)).toBe(50);
});
