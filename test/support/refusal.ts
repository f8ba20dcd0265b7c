/** What every error of the library carries. */
import { expect } from "vitest";

/** Codes of values that are out of range; the others say that a thing is of the wrong kind. */
const OUT_OF_RANGE = /^(RANGE|SHAPE|RANK|NUMBER|LENGTH|LABEL|OUT_OF_MEMORY)$/;

/** Runs what must be refused, with this code and these words, by an error with all its details. */
export function expectRefusal(run: () => unknown, code: string, message: string): void {
  let error: unknown;
  try {
    run();
  } catch (e) {
    error = e;
  }
  expect(error).toBeInstanceOf(Error);
  expect((error as Error).message).toContain(message);
  expect(error).toMatchObject({
    code,
    argument: expect.any(String),
    expected: expect.any(String),
    received: expect.any(String),
  });
  expect(error).toBeInstanceOf(OUT_OF_RANGE.test(code) ? RangeError : TypeError);
}
