/** How far apart two vectors are, or how alike, as plain loops in double precision. */
import type { FloatArray } from "../../types.js";

/** Some vectors of one array, or what is to be added to their gradients; undefined where nobody asked. */
export type Rows = FloatArray | undefined;

/** How far two vectors are apart (or how alike they are), and how that changes with each. */
export interface Measure {
  /** Of the vectors of x and y that begin at i and j; `pair` says which of a sample's pairs they are. */
  of(x: FloatArray, i: number, y: FloatArray, j: number, pair: number): number;
  /** Adds `factor` times the gradient of {@link of}, which gave `value`. */
  pull(
    factor: number,
    value: number,
    x: FloatArray,
    i: number,
    y: FloatArray,
    j: number,
    gradX: Rows,
    gradY: Rows,
    pair: number,
  ): void;
}

/** Adds to one number of a gradient. */
export function add(to: Rows, at: number, g: number): void {
  if (to !== undefined) to[at] = (to[at] as number) + g;
}

/** x y, of the vectors that begin at i and j. */
export function dot(x: FloatArray, i: number, y: FloatArray, j: number, length: number): number {
  let sum = 0;
  for (let k = 0; k < length; k++) sum += (x[i + k] as number) * (y[j + k] as number);
  return sum;
}

/** |x - y|^2, of the vectors that begin at i and j. */
export function squaredDistance(x: FloatArray, i: number, y: FloatArray, j: number, length: number): number {
  let sum = 0;
  for (let k = 0; k < length; k++) sum += ((x[i + k] as number) - (y[j + k] as number)) ** 2;
  return sum;
}

/** ||x - y + eps||_p, with slope 0 at distance 0. The slope of a largest difference is shared by those that are. */
export function lpDistance(length: number, p: number, eps: number): Measure {
  const difference = (x: FloatArray, i: number, y: FloatArray, j: number, k: number): number =>
    (x[i + k] as number) - (y[j + k] as number) + eps;
  return {
    of(x, i, y, j) {
      let sum = 0;
      let max = 0;
      for (let k = 0; k < length; k++) {
        const d = Math.abs(difference(x, i, y, j, k));
        sum += p === 1 ? d : d * d;
        max = Math.max(max, d);
      }
      if (p === 1) return sum;
      // NaN and squares that neither vanish nor overflow
      if (p === 2 && !(sum < 1e-250 || sum === Infinity)) return Math.sqrt(sum);
      if (p === Infinity || max === 0 || !Number.isFinite(max)) return max;
      // the largest is taken out, so that no power overflows
      let powers = 0;
      for (let k = 0; k < length; k++) powers += (Math.abs(difference(x, i, y, j, k)) / max) ** p;
      return max * powers ** (1 / p);
    },
    pull(factor, distance, x, i, y, j, gradX, gradY) {
      if (distance === 0) return;
      // beyond any precision a large p is the largest
      const isLargest = p > 1e30;
      let ties = 0;
      if (isLargest)
        for (let k = 0; k < length; k++) if (Math.abs(difference(x, i, y, j, k)) === distance) ties += 1;
      for (let k = 0; k < length; k++) {
        const d = difference(x, i, y, j, k);
        let slope = d / distance;
        if (p === 1) slope = d > 0 ? 1 : d < 0 ? -1 : 0;
        else if (isLargest) slope = Math.abs(d) === distance ? Math.sign(d) / ties : 0 * d;
        else if (p !== 2) slope = Math.sign(d) * Math.abs(slope) ** (p - 1);
        add(gradX, i + k, factor * slope);
        add(gradY, j + k, -factor * slope);
      }
    },
  };
}

/**
 * x y over something that is near |x| |y|: `norms` gives it, of the squares of the two norms, and how much of x and of y the slope with
 * respect to each loses for a cosine of 1.
 */
function angle(
  length: number,
  norms: (xx: number, yy: number) => readonly [divisor: number, alongX: number, alongY: number],
): Measure {
  const normsOf = (x: FloatArray, i: number, y: FloatArray, j: number) =>
    norms(dot(x, i, x, i, length), dot(y, j, y, j, length));
  return {
    of: (x, i, y, j) => dot(x, i, y, j, length) / normsOf(x, i, y, j)[0],
    pull(factor, cos, x, i, y, j, gradX, gradY) {
      const [divisor, alongX, alongY] = normsOf(x, i, y, j);
      for (let k = 0; k < length; k++) {
        const [xk, yk] = [x[i + k] as number, y[j + k] as number];
        add(gradX, i + k, factor * (yk / divisor - cos * alongX * xk));
        add(gradY, j + k, factor * (xk / divisor - cos * alongY * yk));
      }
    },
  };
}

/** The cosine of the angle between two vectors, each norm taken as at least 1e-8. */
export const cosine = (length: number): Measure =>
  angle(length, (xx, yy) => {
    const [normX, normY] = [Math.sqrt(xx), Math.sqrt(yy)];
    const [atLeastX, atLeastY] = [Math.max(normX, 1e-8), Math.max(normY, 1e-8)];
    // d|x|/dx = x / |x|, which is 0 for the zero vector; the floor is passed over, as PyTorch does
    const along = (atLeast: number, norm: number): number => (norm === 0 ? 0 : 1 / (atLeast * norm));
    return [atLeastX * atLeastY, along(atLeastX, normX), along(atLeastY, normY)];
  });

/** 1 - cosine. */
export function cosineDistance(length: number): Measure {
  const { of, pull } = cosine(length);
  return {
    of: (...pair) => 1 - of(...pair),
    pull: (factor, distance, ...rest) => pull(-factor, 1 - distance, ...rest),
  };
}

/** x y / sqrt((|x|^2 + e) (|y|^2 + e)): smooth at 0. e is PyTorch's constant, which is a float32. */
export function smoothCosine(length: number): Measure {
  const floor = Math.fround(1e-12);
  return angle(length, (xx, yy) => {
    const [squareX, squareY] = [xx + floor, yy + floor];
    return [Math.sqrt(squareX * squareY), 1 / squareX, 1 / squareY];
  });
}
