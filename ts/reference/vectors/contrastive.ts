/** Contrastive losses as plain loops in double precision: what the kernels compute is defined here; the js engine runs it. */
import { logSumExpOf } from "../../math.js";
import type { FloatArray } from "../../types.js";
import type { ManyReference } from "./many.js";
import { dot } from "./measures.js";

/** Vectors of length 1, what they were divided by (their norms, each taken as at least 1e-12), and room for a gradient. */
interface Units {
  readonly data: Float64Array;
  readonly norms: Float64Array;
  readonly gradient: Float64Array;
}
const UNIT_FLOOR = 1e-12;

function unitVectors(x: FloatArray, count: number, length: number): Units {
  const data = new Float64Array(count * length);
  const norms = new Float64Array(count);
  for (let i = 0; i < count; i++) {
    const norm = Math.max(Math.sqrt(dot(x, i * length, x, i * length, length)), UNIT_FLOOR);
    norms[i] = norm;
    for (let k = i * length; k < (i + 1) * length; k++) data[k] = (x[k] as number) / norm;
  }
  return { data, norms, gradient: new Float64Array(count * length) };
}

/** The gradient with respect to vectors, `factor` times that with respect to their {@link unitVectors}: what is along them is lost. */
function throughUnit(
  grad: FloatArray | undefined,
  { data, norms, gradient }: Units,
  length: number,
  factor: number,
): void {
  if (grad === undefined) return;
  for (let i = 0; i < norms.length; i++) {
    const norm = norms[i] as number;
    const along = norm === UNIT_FLOOR ? 0 : dot(gradient, i * length, data, i * length, length);
    for (let k = i * length; k < (i + 1) * length; k++)
      grad[k] = (factor * ((gradient[k] as number) - along * (data[k] as number))) / norm;
  }
}

/** Adds `factor` times the vector of y that begins at j to that of `to` that begins at i. */
function addTimes(
  to: Float64Array,
  i: number,
  factor: number,
  y: Float64Array,
  j: number,
  length: number,
): void {
  for (let k = 0; k < length; k++) to[i + k] = (to[i + k] as number) + factor * (y[j + k] as number);
}

/** How vectors of length 1 attract each other. */
interface Attraction {
  readonly length: number;
  readonly temperature: number;
  /** Room for a logit per vector. */
  readonly logits: Float64Array;
  /** The target: a probability per vector. */
  readonly target: Float64Array;
}

/** None is passed over. */
const NONE = -1;

/**
 * Cross-entropy of the i-th of x with all of y but one, the logits being products over the temperature. Adds `up` times its gradient.
 */
function attract(
  { length, temperature, logits, target }: Attraction,
  but: number,
  up: number,
  i: number,
  { data: x, gradient: gradX }: Units,
  { data: y, gradient: gradY }: Units,
): number {
  const count = logits.length;
  for (let j = 0; j < count; j++)
    logits[j] = j === but ? -Infinity : dot(x, i * length, y, j * length, length) / temperature;
  const [max, log] = logSumExpOf(logits, 0, count);
  let loss = 0;
  for (let j = 0; j < count; j++) {
    if (j === but) continue;
    const q = target[j] as number;
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
  const queries = unitVectors(a, count, length);
  const keys = unitVectors(b as FloatArray, count, length);
  const target = new Float64Array(count);
  const how = { length, temperature, logits: new Float64Array(count), target };
  const part = symmetric === 1 ? 0.5 : 1;
  let sum = 0;
  for (let i = 0; i < count; i++) {
    const up = upstream?.[i] ?? 1;
    target[i] = 1;
    let loss = attract(how, NONE, up, i, queries, keys);
    if (symmetric === 1) loss += attract(how, NONE, up, i, keys, queries);
    target[i] = 0;
    if (values !== undefined) values[i] = part * loss;
    sum += part * loss;
  }
  throughUnit(gradA, queries, length, part * scale);
  throughUnit(gradB, keys, length, part * scale);
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
  const target = new Float64Array(count);
  const how = { length, temperature, logits: new Float64Array(count), target };
  let [sum, counted] = [0, 0];
  for (let i = 0; i < count; i++) {
    let positives = -1;
    for (let j = 0; j < count; j++) if (labels[j] === labels[i]) positives += 1;
    for (let j = 0; j < count; j++) target[j] = labels[j] === labels[i] ? 1 / positives : 0;
    const loss = positives && attract(how, i, upstream?.[i] ?? 1, i, units, units);
    if (values !== undefined) values[i] = loss;
    sum += loss;
    if (positives > 0) counted += 1;
  }
  throughUnit(grad, units, length, mean === 1 && counted > 0 ? scale / counted : scale);
  stats?.set([counted, counted]);
  return sum;
};
