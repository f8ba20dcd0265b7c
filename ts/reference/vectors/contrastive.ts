/** Contrastive losses as plain loops in double precision: what the kernels compute is defined here; the js engine runs it. */
import type { FloatArray } from "../../types.js";
import type { Many } from "./many.js";
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

/** log sum_j exp(x_j), but for one. */
function logSumExp(x: Float64Array, but = -1): number {
  let max = -Infinity;
  for (let j = 0; j < x.length; j++) if (j !== but) max = Math.max(max, x[j] as number);
  let sum = 0;
  for (let j = 0; j < x.length; j++) if (j !== but) sum += Math.exp((x[j] as number) - max);
  return max + Math.log(sum);
}

/**
 * Cross-entropy of the cosines of each query with all keys over a temperature, the key beside it being the class; symmetric: the
 * mean of that and of the same with queries and keys exchanged. Parameters: temperature, symmetric.
 */
export function infoNce({ rows: count, length, a, b, values, upstream, scale, ...rest }: Many): number {
  const [temperature, symmetric] = rest.parameters as [number, number];
  const [queries, keys] = [unitVectors(a, count, length), unitVectors(b as FloatArray, count, length)];
  const [gradQueries, gradKeys] = [new Float64Array(count * length), new Float64Array(count * length)];
  const losses = new Float64Array(count);
  const logits = new Float64Array(count);
  const towards = (
    x: Float64Array,
    y: Float64Array,
    gradX: Float64Array,
    gradY: Float64Array,
    part: number,
  ): void => {
    for (let i = 0; i < count; i++) {
      for (let j = 0; j < count; j++) logits[j] = dot(x, i * length, y, j * length, length) / temperature;
      const logSum = logSumExp(logits);
      losses[i] = (losses[i] as number) + part * (logSum - (logits[i] as number));
      const up = (part * scale * (upstream?.[i] ?? 1)) / temperature;
      for (let j = 0; j < count; j++) {
        const g = up * (Math.exp((logits[j] as number) - logSum) - (i === j ? 1 : 0));
        addTimes(gradX, i * length, g, y, j * length, length);
        addTimes(gradY, j * length, g, x, i * length, length);
      }
    }
  };
  const part = symmetric === 1 ? 0.5 : 1;
  towards(queries.data, keys.data, gradQueries, gradKeys, part);
  if (symmetric === 1) towards(keys.data, queries.data, gradKeys, gradQueries, part);
  throughUnit(rest.gradA, gradQueries, queries, length);
  throughUnit(rest.gradB, gradKeys, keys, length);
  values?.set(losses);
  return losses.reduce((sum, loss) => sum + loss, 0);
}

/**
 * -1/|P| sum over p in P of log softmax over all others of (x_i x_a / temperature), at p: P are the others with the label of i, the
 * vectors are of length 1. An anchor without others of its label does not count. Parameters: temperature, mean.
 */
export function supervisedContrastive({ rows: count, length, a, labels: given, ...rest }: Many): number {
  const { values, gradA: grad, upstream, stats, parameters } = rest;
  const labels = given as Int32Array;
  const [temperature, mean] = parameters as [number, number];
  const units = unitVectors(a, count, length);
  const x = units.data;
  const gradient = new Float64Array(count * length);
  const logits = new Float64Array(count);
  let [sum, counted] = [0, 0];
  for (let i = 0; i < count; i++) {
    if (values !== undefined) values[i] = 0;
    let positives = 0;
    for (let j = 0; j < count; j++) {
      if (j === i) continue;
      if (labels[j] === labels[i]) positives += 1;
      logits[j] = dot(x, i * length, x, j * length, length) / temperature;
    }
    if (positives === 0) continue;
    const logSum = logSumExp(logits, i);
    const up = (upstream?.[i] ?? 1) / temperature;
    let loss = 0;
    for (let j = 0; j < count; j++) {
      if (j === i) continue;
      const logP = (logits[j] as number) - logSum;
      const share = labels[j] === labels[i] ? 1 / positives : 0;
      if (share > 0) loss -= share * logP;
      const g = up * (Math.exp(logP) - share);
      addTimes(gradient, i * length, g, x, j * length, length);
      addTimes(gradient, j * length, g, x, i * length, length);
    }
    if (values !== undefined) values[i] = loss;
    sum += loss;
    counted += 1;
  }
  const scale = mean === 1 && counted > 0 ? rest.scale / counted : rest.scale;
  for (let k = 0; k < gradient.length; k++) gradient[k] = scale * (gradient[k] as number);
  throughUnit(grad, gradient, units, length);
  stats?.set([counted, counted]);
  return sum;
}
