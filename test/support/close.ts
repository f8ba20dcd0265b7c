/** Comparing numbers: the error is relative to max(1, |expected|); NaN and infinities must be the same. */
import { expect } from "vitest";

export function difference(actual: number, expected: number): number {
  if (Number.isNaN(expected)) return Number.isNaN(actual) ? 0 : Infinity;
  if (!Number.isFinite(expected)) return actual === expected ? 0 : Infinity;
  const d = Math.abs(actual - expected) / Math.max(1, Math.abs(expected));
  return Number.isNaN(d) ? Infinity : d;
}

export function expectClose(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: number,
  what: string,
): void {
  expect(actual.length, `${what}: length`).toBe(expected.length);
  let worst = 0;
  let at = -1;
  for (let i = 0; i < expected.length; i++) {
    const d = difference(actual[i] as number, expected[i] as number);
    if (d > worst) {
      worst = d;
      at = i;
    }
  }
  if (worst > tolerance) {
    expect.fail(
      `${what}[${at}] is ${actual[at]}, expected ${expected[at]} within ${tolerance} (off by ${worst.toExponential(2)})`,
    );
  }
}

/** The same bits; every NaN equals every other. */
export function expectSameBits(actual: ArrayLike<number>, expected: ArrayLike<number>, what: string): void {
  expect(actual.length, `${what}: length`).toBe(expected.length);
  for (let i = 0; i < expected.length; i++) {
    if (!Object.is(actual[i], expected[i]))
      expect.fail(`${what}[${i}] is ${actual[i]}, expected the bits of ${expected[i]}`);
  }
}

/** A value of either kind as an array. */
export function valuesOf(value: unknown): ArrayLike<number> {
  return typeof value === "number" ? [value] : (value as { data: ArrayLike<number> }).data;
}
