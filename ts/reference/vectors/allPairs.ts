/** The distances of all pairs as plain loops in double precision: what the kernel computes is defined here; the js engine runs it. */
import type { ManyReference } from "./many.js";
import { lpDistance } from "./measures.js";

/** ||a_i - b_j||_p for all i and j; without b those within a. Parameter: p. */
export const cdist: ManyReference = (
  { rows, columns, length, scale, parameters },
  [a, b, , values, gradA, gradB, upstream],
) => {
  const { of, pull } = lpDistance(length, parameters[0] as number, 0);
  const own = b === undefined;
  const other = b ?? a;
  gradA?.fill(0);
  gradB?.fill(0);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) {
      const at = i * columns + j;
      const distance = own && i === j ? 0 : of(a, i * length, other, j * length, 0);
      if (values !== undefined) values[at] = distance;
      const up = scale * (upstream?.[at] ?? 1);
      // nothing flows where nothing flows in, even through what is not finite
      if (up !== 0) pull(up, distance, a, i * length, other, j * length, gradA, own ? gradA : gradB, 0);
    }
  }
  return 0;
};
