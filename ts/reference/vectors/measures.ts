/** How far apart two vectors are, or how alike, as plain loops in double precision. */
import type { FloatArray } from "../../types.js";

/** What gradients are added to; undefined where nobody asked. */
export type Rows = FloatArray | undefined;

/** How far two vectors are apart (or how alike they are), and how that changes with each. */
export interface Measure {
  /** Of the vectors that begin at i and j. */
  of(i: number, j: number): number;
  /** Adds `factor` times the gradient of {@link of}, which gave `value`. */
  pull(factor: number, value: number, i: number, j: number): void;
}

/** A measure of vectors of x and of y, which adds to their gradients; `pair` says which of a sample's pairs they are, 0 by default. */
export type Between = (x: FloatArray, y: FloatArray, gradX: Rows, gradY: Rows, pair?: number) => Measure;

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

/** |x| of the vector that begins at i, taken as at least `floor`. */
export function normOf(x: FloatArray, i: number, length: number, floor: number): number {
  return Math.max(Math.sqrt(dot(x, i, x, i, length)), floor);
}

/** |x - y|^2, of the vectors that begin at i and j. */
export function squaredDistance(x: FloatArray, i: number, y: FloatArray, j: number, length: number): number {
  let sum = 0;
  for (let k = 0; k < length; k++) sum += ((x[i + k] as number) - (y[j + k] as number)) ** 2;
  return sum;
}

/** ||x - y + eps||_p, with slope 0 at distance 0. The slope of a largest difference is shared by those that are. */
export const lpDistance =
  (length: number, p: number, eps: number): Between =>
  (x, y, gradX, gradY) => {
    return {
      of(i, j) {
        let sum = 0;
        let max = 0;
        for (let k = 0; k < length; k++) {
          const d = Math.abs((x[i + k] as number) - (y[j + k] as number) + eps);
          sum += p === 1 ? d : d * d;
          max = Math.max(max, d);
        }
        if (p === 1) return sum;
        // NaN and squares that neither vanish nor overflow
        if (p === 2 && !(sum < 1e-250 || sum === Infinity)) return Math.sqrt(sum);
        if (p === Infinity || max === 0 || !Number.isFinite(max)) return max;
        // the largest is taken out, so that no power overflows
        let powers = 0;
        for (let k = 0; k < length; k++)
          powers += (Math.abs((x[i + k] as number) - (y[j + k] as number) + eps) / max) ** p;
        return max * powers ** (1 / p);
      },
      pull(factor, distance, i, j) {
        if (distance === 0) return;
        // beyond any precision a large p is the largest
        const isLargest = p > 1e30;
        let ties = 0;
        if (isLargest)
          for (let k = 0; k < length; k++)
            if (Math.abs((x[i + k] as number) - (y[j + k] as number) + eps) === distance) ties += 1;
        for (let k = 0; k < length; k++) {
          const d = (x[i + k] as number) - (y[j + k] as number) + eps;
          let slope = d / distance;
          if (p === 1) slope = d > 0 ? 1 : d < 0 ? -1 : 0;
          else if (isLargest) slope = Math.abs(d) === distance ? Math.sign(d) / ties : 0 * d;
          else if (p !== 2) slope = Math.sign(d) * Math.abs(slope) ** (p - 1);
          add(gradX, i + k, factor * slope);
          add(gradY, j + k, -factor * slope);
        }
      },
    };
  };

/** From |x|^2 and |y|^2: what x y is divided by, and the reciprocals of what takes cos along x and y out of the slopes. */
type Norms = (xx: number, yy: number) => [divisor: number, alongX: number, alongY: number];

/** The cosine of the angle between two vectors, or 1 less that as a distance. */
const angle =
  (norms: Norms, isDistance = false) =>
  (length: number): Between =>
  (x, y, gradX, gradY) => {
    const of = (i: number, j: number): ReturnType<Norms> =>
      norms(dot(x, i, x, i, length), dot(y, j, y, j, length));
    return {
      of(i, j) {
        const cos = dot(x, i, y, j, length) / of(i, j)[0];
        return isDistance ? 1 - cos : cos;
      },
      pull(up, value, i, j) {
        const factor = isDistance ? -up : up;
        const cos = isDistance ? 1 - value : value;
        const [divisor, alongX, alongY] = of(i, j);
        for (let k = 0; k < length; k++) {
          const [xk, yk] = [x[i + k] as number, y[j + k] as number];
          add(gradX, i + k, factor * (yk / divisor - cos * alongX * xk));
          add(gradY, j + k, factor * (xk / divisor - cos * alongY * yk));
        }
      },
    };
  };

/** What the norms of a cosine are taken as at least. */
export const FLOOR = 1e-8;
const floored: Norms = (xx, yy) => {
  const [normX, normY] = [Math.sqrt(xx), Math.sqrt(yy)];
  const [atLeastX, atLeastY] = [Math.max(normX, FLOOR), Math.max(normY, FLOOR)];
  // d|x|/dx = x / |x|, which is 0 for the zero vector; the floor is passed over, as PyTorch does
  return [
    atLeastX * atLeastY,
    normX === 0 ? 0 : 1 / (atLeastX * normX),
    normY === 0 ? 0 : 1 / (atLeastY * normY),
  ];
};

/** PyTorch's constant, which is a float32. */
const SMOOTH = /* @__PURE__ */ Math.fround(1e-12);
/** The root of the product, which is exact for two vectors that are the same. */
const smooth: Norms = (xx, yy) => [
  Math.sqrt((xx + SMOOTH) * (yy + SMOOTH)),
  1 / (xx + SMOOTH),
  1 / (yy + SMOOTH),
];

/** x y / (|x| |y|), each norm taken as at least 1e-8. */
export const cosine = /* @__PURE__ */ angle(floored);
/** 1 - cosine. */
export const cosineDistance = /* @__PURE__ */ angle(floored, true);
/** x y / sqrt((|x|^2 + e) (|y|^2 + e)): smooth at 0. */
export const smoothCosine = /* @__PURE__ */ angle(smooth);
