/** How far apart two vectors are, or how alike, as plain loops in double precision. */
import type { FloatArray } from "../../types.js";

/** Some vectors of one array, or what is to be added to their gradients; undefined where nobody asked. */
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

/**
 * The cosine of the angle between two vectors, or 1 less that as a distance. To the square of each norm something is added, and a
 * norm is taken as at least `floor`.
 */
const angle =
  (added: number, floor: number, isDistance = false) =>
  (length: number): Between =>
  (x, y, gradX, gradY) => {
    const norm = (z: FloatArray, i: number): number => Math.sqrt(dot(z, i, z, i, length) + added);
    return {
      of(i, j) {
        const divisor = Math.max(norm(x, i), floor) * Math.max(norm(y, j), floor);
        const cos = dot(x, i, y, j, length) / divisor;
        return isDistance ? 1 - cos : cos;
      },
      pull(up, value, i, j) {
        const factor = isDistance ? -up : up;
        const cos = isDistance ? 1 - value : value;
        const [normX, normY] = [norm(x, i), norm(y, j)];
        const [atLeastX, atLeastY] = [Math.max(normX, floor), Math.max(normY, floor)];
        const divisor = atLeastX * atLeastY;
        // d|x|/dx = x / |x|, which is 0 for the zero vector; the floor is passed over, as PyTorch does
        const alongX = cos / (atLeastX * (normX || Infinity));
        const alongY = cos / (atLeastY * (normY || Infinity));
        for (let k = 0; k < length; k++) {
          const [xk, yk] = [x[i + k] as number, y[j + k] as number];
          add(gradX, i + k, factor * (yk / divisor - alongX * xk));
          add(gradY, j + k, factor * (xk / divisor - alongY * yk));
        }
      },
    };
  };

/** x y / (|x| |y|), each norm taken as at least 1e-8. */
export const cosine = /* @__PURE__ */ angle(0, 1e-8);
/** 1 - cosine. */
export const cosineDistance = /* @__PURE__ */ angle(0, 1e-8, true);
/** x y / sqrt((|x|^2 + e) (|y|^2 + e)): smooth at 0. e is PyTorch's constant, which is a float32. */
export const smoothCosine = /* @__PURE__ */ angle(/* @__PURE__ */ Math.fround(1e-12), 0);
