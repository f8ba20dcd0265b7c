/** What the digits example rests on: the test digits are unseen, each is read once, and the strings are the same in every run. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { HEIGHT, readDigits, split, testStrings, trainingStrings } from "../examples/digits/data.js";

const file = new URL("../examples/data/digits.csv", import.meta.url);
const digits = readDigits(file);

describe("the digits example", () => {
  test("reads the file: labels, and pixels column by column", () => {
    const lines = readFileSync(file, "utf8").trimEnd().split("\n").slice(1);
    expect(digits.length).toBe(1797);
    lines.forEach((line, i) => {
      const [label, ...pixels] = line.split(",").map(Number);
      const digit = digits[i] as (typeof digits)[number];
      expect(digit.label).toBe(label);
      expect(digit.pixels).toEqual(
        Float32Array.from(
          { length: 64 },
          (_, k) => (pixels[(k % HEIGHT) * 8 + Math.floor(k / HEIGHT)] as number) / 16,
        ),
      );
    });
  });

  test("trains on the first 1,347, tests on the last 450, and chooses among the first 1,347", () => {
    const final = split(digits, false);
    expect(final.training).toEqual(digits.slice(0, 1347));
    expect(final.test).toEqual(digits.slice(1347));
    const choosing = split(digits, true);
    expect([...choosing.training, ...choosing.test]).toEqual(digits.slice(0, 1347));
  });

  test("puts every test digit into one string, with gaps of 0 to 2 blank columns, the same way every time", () => {
    const { test } = split(digits, false);
    const strings = testStrings(test);
    expect(strings.map(({ labels }) => labels.length)).toEqual(
      Array.from({ length: 150 }, (_, i) => (i % 5) + 1),
    );
    expect(testStrings(test)).toEqual(strings);

    const key = (pixels: Float32Array): string => pixels.join();
    const left = new Map<string, number>();
    for (const { pixels, label } of test)
      left.set(`${label}:${key(pixels)}`, (left.get(`${label}:${key(pixels)}`) ?? 0) + 1);
    const gaps = new Set<number>();
    for (const { labels, pixels, columns } of strings) {
      expect(pixels.length).toBe(columns * HEIGHT);
      let start = 0;
      labels.forEach((label, i) => {
        // the gap before it is as wide as it must be for a test digit to stand here
        const gap =
          i === 0
            ? 0
            : [0, 1, 2].find(
                (g) => left.get(`${label}:${key(slice(pixels, start + g))}`) && isBlank(pixels, start, g),
              );
        expect(gap).toBeDefined();
        gaps.add(gap as number);
        start += gap as number;
        const found = `${label}:${key(slice(pixels, start))}`;
        expect(left.get(found)).toBeGreaterThan(0);
        left.set(found, (left.get(found) as number) - 1);
        start += 8;
      });
      expect(start).toBe(columns);
    }
    expect([...left.values()].every((count) => count === 0)).toBe(true);
    expect([...gaps].sort()).toEqual([0, 1, 2]);
  });

  test("bends training digits, but not beyond recognition, and depends on nothing but the random numbers", () => {
    const source = (): (() => number) => {
      let state = 1;
      return () => {
        state = (state * 16807) % 2147483647;
        return state / 2147483647;
      };
    };
    const { training } = split(digits, false);
    const [next, again] = [trainingStrings(training, source()), trainingStrings(training, source())];
    for (let i = 0; i < 50; i++) {
      const string = next();
      expect(again()).toEqual(string);
      expect(string.labels.length).toBeGreaterThanOrEqual(1);
      expect(string.labels.length).toBeLessThanOrEqual(5);
      expect(Math.min(...string.pixels)).toBeGreaterThanOrEqual(0);
      expect(Math.max(...string.pixels)).toBeLessThanOrEqual(1);
      const ink = string.pixels.reduce((sum, value) => sum + value, 0) / string.labels.length;
      expect(ink).toBeGreaterThan(8);
      expect(ink).toBeLessThan(36);
    }
  });
});

function slice(pixels: Float32Array, column: number): Float32Array {
  return pixels.slice(column * HEIGHT, (column + 8) * HEIGHT);
}

function isBlank(pixels: Float32Array, column: number, count: number): boolean {
  return pixels.slice(column * HEIGHT, (column + count) * HEIGHT).every((value) => value === 0);
}
