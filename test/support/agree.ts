/** Whether the engines agree: the core in its precision, the reference in doubles. */
import { difference } from "./close.js";

/** How far two precisions may be apart: errors grow with the numbers that were added up on the way. `terms` is their size. */
export function agree(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  dtype: string,
  hostile: boolean,
  what: string,
  terms = 0,
): void {
  const tolerance = dtype === "float32" ? 2e-5 : 1e-11;
  // float32 overflows and underflows where doubles do not, so hostile numbers may then end as infinities or zeros
  if (actual.length !== expected.length)
    throw new Error(`${what}: ${actual.length} numbers, expected ${expected.length}`);
  for (let i = 0; i < expected.length; i++) {
    const [a, e] = [actual[i] as number, expected[i] as number];
    if (difference(a, e) <= tolerance || Math.abs(a - e) <= tolerance * terms) continue;
    if (
      hostile &&
      dtype === "float32" &&
      (Math.abs(e) > 1e30 || (Number.isNaN(e) !== Number.isNaN(a) && beyond(a, e)))
    )
      continue;
    throw new Error(`${what}[${i}] is ${a}, expected ${e} (${dtype})`);
  }
}

/** One of the two is not finite: an overflow inside of float32. */
function beyond(a: number, e: number): boolean {
  return !Number.isFinite(a) || !Number.isFinite(e);
}
