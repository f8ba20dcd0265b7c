/** Embeddings in two dimensions: the plane in which they are spread most, turned so that it moves little from picture to picture. */
import type { Matrix } from "./network.js";

/** Places in the plane, x and y by turns. */
export type Places = Float64Array;

/** Projects on the two main axes, scaled so that the mean distance from the middle is 1. */
export function project({ data, shape: [rows, columns] }: Matrix): Places {
  const middle = new Float64Array(columns);
  data.forEach((x, i) => {
    middle[i % columns] = (middle[i % columns] as number) + x / rows;
  });
  const centred = Float64Array.from(data, (x, i) => x - (middle[i % columns] as number));
  const axes: Float64Array[] = [];
  for (let axis = 0; axis < 2; axis++) axes.push(mainAxis(centred, columns, axes));
  const places = new Float64Array(rows * 2);
  let spread = 0;
  for (let row = 0; row < rows; row++) {
    axes.forEach((axis, k) => {
      places[2 * row + k] = dot(axis, centred.subarray(row * columns, row * columns + columns));
    });
    spread += Math.hypot(places[2 * row] as number, places[2 * row + 1] as number) / rows;
  }
  return places.map((x) => x / spread);
}

/** The direction of the largest variance at a right angle to others, by powers of the covariance. */
function mainAxis(centred: Float64Array, columns: number, others: readonly Float64Array[]): Float64Array {
  let axis = Float64Array.from({ length: columns }, (_, k) => Math.cos(k * k + 1));
  for (let round = 0; round < 100; round++) {
    const next = new Float64Array(columns);
    for (let first = 0; first < centred.length; first += columns) {
      const row = centred.subarray(first, first + columns);
      const along = dot(axis, row);
      row.forEach((x, k) => {
        next[k] = (next[k] as number) + along * x;
      });
    }
    for (const other of others) {
      const along = dot(next, other);
      other.forEach((x, k) => {
        next[k] = (next[k] as number) - along * x;
      });
    }
    const norm = Math.sqrt(dot(next, next));
    axis = next.map((x) => x / norm);
  }
  return axis;
}

function dot(a: Float64Array, b: Float64Array): number {
  return a.reduce((sum, x, k) => sum + x * (b[k] as number), 0);
}

/** Turns and mirrors places so that they lie as near as can be to others (Schönemann 1966, in the plane). */
export function align(places: Places, to: Places): Places {
  let [xx, xy, yx, yy] = [0, 0, 0, 0];
  for (let i = 0; i < places.length; i += 2) {
    const [x, y, u, v] = [places[i], places[i + 1], to[i], to[i + 1]] as [number, number, number, number];
    xx += x * u;
    xy += x * v;
    yx += y * u;
    yy += y * v;
  }
  const turned = Math.hypot(xx + yy, xy - yx);
  const mirrored = Math.hypot(xx - yy, xy + yx);
  const sign = turned >= mirrored ? 1 : -1;
  const angle = sign === 1 ? Math.atan2(xy - yx, xx + yy) : Math.atan2(xy + yx, xx - yy);
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  const result = new Float64Array(places.length);
  for (let i = 0; i < places.length; i += 2) {
    const [x, y] = [places[i] as number, sign * (places[i + 1] as number)];
    result[i] = cos * x - sin * y;
    result[i + 1] = sin * x + cos * y;
  }
  return result;
}
