/** Parts of arrays with a shape. */

/** Numbers and their shape. */
export interface Shaped {
  readonly data: Float32Array | Float64Array | Int32Array;
  readonly shape: readonly number[];
}

/** What stands at some places of an axis, in their order; what stands at -1 is `other`. */
export function taken<N extends Shaped>(
  { data, shape }: N,
  places: readonly number[],
  axis: number,
  other = -Infinity,
): N {
  const inner = shape.slice(axis + 1).reduce((a, b) => a * b, 1);
  const outer = shape.slice(0, axis).reduce((a, b) => a * b, 1);
  const length = shape[axis] as number;
  const made = new (data.constructor as new (n: number) => typeof data)(outer * places.length * inner);
  for (let o = 0; o < outer; o++)
    for (const [k, place] of places.entries()) {
      const [from, to] = [(o * length + place) * inner, (o * places.length + k) * inner];
      if (place < 0) made.fill(other, to, to + inner);
      else made.set(data.subarray(from, from + inner), to);
    }
  return { data: made, shape: shape.map((n, i) => (i === axis ? places.length : n)) } as unknown as N;
}
