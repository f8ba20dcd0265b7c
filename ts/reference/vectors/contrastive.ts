/** Contrastive losses as plain loops in double precision: what the kernels compute is defined here; the js engine runs it. */
import { addUp, logSumExpOf } from "../../math.js";
import type { FloatArray } from "../../types.js";
import type { ManyReference } from "./many.js";
import { dot, normOf } from "./measures.js";

/** Vectors of length 1, and room for a gradient with respect to them. */
interface Units {
  readonly data: Float64Array;
  readonly gradient: Float64Array;
  /** Writes the gradient with respect to the vectors as they were given, times `factor`: what is along them is lost. */
  pull(factor: number, grad: FloatArray | undefined): void;
}

/** What vectors are divided by, at least. */
const UNIT_FLOOR = 1e-12;

function unitVectors(x: FloatArray, length: number): Units {
  const data = new Float64Array(x.length);
  const gradient = new Float64Array(x.length);
  const each = (visit: (first: number, norm: number) => void): void => {
    for (let first = 0; first < x.length; first += length) visit(first, normOf(x, first, length, UNIT_FLOOR));
  };
  each((first, norm) => {
    for (let k = first; k < first + length; k++) data[k] = (x[k] as number) / norm;
  });
  return {
    data,
    gradient,
    pull(factor, grad) {
      if (grad === undefined) return;
      each((first, norm) => {
        const along = norm === UNIT_FLOOR ? 0 : dot(gradient, first, data, first, length);
        for (let k = first; k < first + length; k++)
          grad[k] = (factor * ((gradient[k] as number) - along * (data[k] as number))) / norm;
      });
    },
  };
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

/**
 * Cross-entropy of the cosines of each of a with all of b over a temperature. Without labels the one of b that stands beside it is the
 * class; symmetric: the mean of that and of the same with a and b exchanged. Parameters: temperature, symmetric.
 *
 * With labels there is a alone, each of it is told from all others, and all with its label are the class, each as likely. One without
 * others of its label does not count. Parameters: temperature, mean.
 */
export const contrastive: ManyReference = (
  { rows: count, length, scale, parameters },
  [a, b, labels, values, gradA, gradB, upstream, , stats],
) => {
  const [temperature, option] = parameters as [number, number];
  const first = unitVectors(a, length);
  const second = b === undefined ? first : unitVectors(b, length);
  const isAlike = (i: number, j: number): boolean =>
    labels === undefined ? j === i : j !== i && labels[j] === labels[i];
  const isSymmetric = labels === undefined && option === 1;
  const isMean = labels !== undefined && option === 1;
  const logits = new Float64Array(count);
  let counted = 0;
  const sum = addUp(count, 1, upstream, values, (i, up) => {
    let alike = 0;
    for (let j = 0; j < count; j++) if (isAlike(i, j)) alike += 1;
    if (alike === 0) return 0;
    counted += 1;
    let loss = 0;
    /** Adds the cross-entropy of the i-th of x, and `up` times its gradient. */
    const attract = ({ data: x, gradient: gradX }: Units, { data: y, gradient: gradY }: Units): void => {
      for (let j = 0; j < count; j++)
        logits[j] =
          b === undefined && j === i ? -Infinity : dot(x, i * length, y, j * length, length) / temperature;
      const [max, log] = logSumExpOf(logits, 0, count);
      for (let j = 0; j < count; j++) {
        const q = isAlike(i, j) ? 1 / alike : 0;
        const logP = (logits[j] as number) - max - log;
        if (q > 0) loss -= q * logP;
        const g = (up / temperature) * (Math.exp(logP) - q);
        addTimes(gradX, i * length, g, y, j * length, length);
        addTimes(gradY, j * length, g, x, i * length, length);
      }
    };
    attract(first, second);
    if (isSymmetric) attract(second, first);
    return isSymmetric ? loss / 2 : loss;
  });
  const factor = scale / (isMean ? counted || 1 : isSymmetric ? 2 : 1);
  first.pull(factor, gradA);
  second.pull(factor, gradB);
  stats?.set([counted, counted]);
  return sum;
};
