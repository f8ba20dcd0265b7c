/** Contrastive losses as plain loops in double precision: what the kernels compute is defined here; the js engine runs it. */
import { logSumExpOf } from "../../math.js";
import type { FloatArray } from "../../types.js";
import type { ManyReference } from "./many.js";
import { addTimes, dot } from "./measures.js";

/** Vectors of length 1, and what they were divided by: their norms, each taken as at least 1e-12. */
function unitVectors(
  x: FloatArray,
  count: number,
  length: number,
): { readonly data: Float64Array; readonly norms: Float64Array } {
  const data = new Float64Array(count * length);
  const norms = new Float64Array(count);
  for (let i = 0; i < count; i++) {
    const norm = Math.max(Math.sqrt(dot(x, i * length, x, i * length, length)), UNIT_FLOOR);
    norms[i] = norm;
    for (let k = i * length; k < (i + 1) * length; k++) data[k] = (x[k] as number) / norm;
  }
  return { data, norms };
}
const UNIT_FLOOR = 1e-12;

/** The gradient with respect to vectors, from that with respect to their {@link unitVectors}: what is along them is lost. */
function throughUnit(
  grad: FloatArray | undefined,
  ofUnits: Float64Array,
  units: ReturnType<typeof unitVectors>,
  length: number,
): void {
  if (grad === undefined) return;
  for (let i = 0; i < units.norms.length; i++) {
    const norm = units.norms[i] as number;
    const along = norm === UNIT_FLOOR ? 0 : dot(ofUnits, i * length, units.data, i * length, length);
    for (let k = i * length; k < (i + 1) * length; k++)
      grad[k] = ((ofUnits[k] as number) - along * (units.data[k] as number)) / norm;
  }
}

/** How vectors of length 1 attract each other. */
interface Attraction {
  readonly length: number;
  readonly temperature: number;
  /** Room for a logit per vector. */
  readonly logits: Float64Array;
}

/**
 * Cross-entropy of the i-th of x with all of y, the logits being products over the temperature: `share(j)` is the target's probability of
 * j, which is undefined for a vector that is not looked at. Adds `up` times its gradient.
 */
function attract(
  { length, temperature, logits }: Attraction,
  share: (j: number) => number | undefined,
  up: number,
  i: number,
  x: Float64Array,
  y: Float64Array,
  gradX: Float64Array,
  gradY: Float64Array,
): number {
  const count = logits.length;
  for (let j = 0; j < count; j++)
    logits[j] = share(j) === undefined ? -Infinity : dot(x, i * length, y, j * length, length) / temperature;
  const [max, log] = logSumExpOf(logits, 0, count);
  let loss = 0;
  for (let j = 0; j < count; j++) {
    const q = share(j);
    if (q === undefined) continue;
    const logP = (logits[j] as number) - max - log;
    if (q > 0) loss -= q * logP;
    const g = (up / temperature) * (Math.exp(logP) - q);
    addTimes(gradX, i * length, g, y, j * length, length);
    addTimes(gradY, j * length, g, x, i * length, length);
  }
  return loss;
}

/**
 * Cross-entropy of the cosines of each query with all keys over a temperature, the key beside it being the class; symmetric: the
 * mean of that and of the same with queries and keys exchanged. Parameters: temperature, symmetric.
 */
export const infoNce: ManyReference = (
  { rows: count, length, scale, parameters },
  [a, b, , values, gradA, gradB, upstream],
) => {
  const [temperature, symmetric] = parameters as [number, number];
  const [queries, keys] = [unitVectors(a, count, length), unitVectors(b as FloatArray, count, length)];
  const [gradQueries, gradKeys] = [new Float64Array(count * length), new Float64Array(count * length)];
  const { data: x } = queries;
  const { data: y } = keys;
  const how = { length, temperature, logits: new Float64Array(count) };
  const part = symmetric === 1 ? 0.5 : 1;
  let sum = 0;
  for (let i = 0; i < count; i++) {
    const up = part * scale * (upstream?.[i] ?? 1);
    const share = (j: number): number => (i === j ? 1 : 0);
    let loss = attract(how, share, up, i, x, y, gradQueries, gradKeys);
    if (symmetric === 1) loss += attract(how, share, up, i, y, x, gradKeys, gradQueries);
    if (values !== undefined) values[i] = part * loss;
    sum += part * loss;
  }
  throughUnit(gradA, gradQueries, queries, length);
  throughUnit(gradB, gradKeys, keys, length);
  return sum;
};

/**
 * -1/|P| sum over p in P of log softmax over all others of (x_i x_a / temperature), at p: P are the others with the label of i, the
 * vectors are of length 1. An anchor without others of its label does not count. Parameters: temperature, mean.
 */
export const supervisedContrastive: ManyReference = (
  { rows: count, length, scale, parameters },
  [a, , given, values, grad, , upstream, , stats],
) => {
  const labels = given as Int32Array;
  const [temperature, mean] = parameters as [number, number];
  const units = unitVectors(a, count, length);
  const x = units.data;
  const gradient = new Float64Array(count * length);
  const how = { length, temperature, logits: new Float64Array(count) };
  let [sum, counted] = [0, 0];
  for (let i = 0; i < count; i++) {
    let positives = -1;
    for (let j = 0; j < count; j++) if (labels[j] === labels[i]) positives += 1;
    const share = (j: number): number | undefined =>
      i === j ? undefined : labels[j] === labels[i] ? 1 / positives : 0;
    const loss = positives && attract(how, share, upstream?.[i] ?? 1, i, x, x, gradient, gradient);
    if (values !== undefined) values[i] = loss;
    sum += loss;
    if (positives > 0) counted += 1;
  }
  const factor = mean === 1 && counted > 0 ? scale / counted : scale;
  for (let k = 0; k < gradient.length; k++) gradient[k] = factor * (gradient[k] as number);
  throughUnit(grad, gradient, units, length);
  stats?.set([counted, counted]);
  return sum;
};
