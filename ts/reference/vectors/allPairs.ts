/** The distances of all pairs as plain loops in double precision: what the kernel computes is defined here; the js engine runs it. */
import { addUp } from "../../math.js";
import type { ManyReference } from "./many.js";
import { lpDistance } from "./measures.js";

/** ||a_i - b_j||_p for all i and j; without b those within a. Parameter: p. */
export const cdist: ManyReference = (
  { rows, columns, length, scale, parameters },
  [a, b, , values, gradA, gradB, upstream],
) => {
  const own = b === undefined;
  const { of, pull } = lpDistance(length, parameters[0] as number, 0)(a, b ?? a, gradA, own ? gradA : gradB);
  gradA?.fill(0);
  gradB?.fill(0);
  return addUp(rows * columns, scale, upstream, values, (at, up) => {
    const j = at % columns;
    const i = (at - j) / columns;
    const distance = own && i === j ? 0 : of(i * length, j * length);
    // nothing flows where nothing flows in, even through what is not finite
    if (up !== 0) pull(up, distance, i * length, j * length);
    return distance;
  });
};
