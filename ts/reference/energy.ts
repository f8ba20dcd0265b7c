/**
 * The energy-based losses as plain loops in double precision: one loss per sample, which is a row of energies [rows, columns],
 * one per answer. What the kernels compute is defined here; the js engine runs it.
 *
 * Low energy is good. An answer of energy +Infinity is as if it were not there.
 */
import { addUp, sigmoid, softplus } from "../math.js";
import type { FloatArray } from "../types.js";

/** What a loss reads and writes. Arrays that are not given or not asked for are undefined. */
export interface Samples {
  readonly rows: number;
  readonly columns: number;
  readonly energies: FloatArray;
  /** The correct answers. */
  readonly answers: Int32Array;
  /** Log-weights or margins: one row for all, one per correct answer, or one per sample. */
  readonly table: FloatArray | undefined;
  readonly per: "all" | "answer" | "sample";
  /** Where the answers lie: [columns, dimensions], or that for each sample (clouds = rows). */
  readonly coordinates: Float64Array | undefined;
  readonly dimensions: number;
  readonly clouds: number;
  /** Only answers farther than this from the correct one are incorrect. */
  readonly epsilon: number;
  /** The single losses come here. */
  readonly values: FloatArray | undefined;
  /** Where the most offending incorrect answers stand comes here. */
  readonly indices: Int32Array | undefined;
  readonly grad: FloatArray | undefined;
  /** What flows in from above: a number per loss, and a factor for all. */
  readonly upstream: FloatArray | undefined;
  readonly scale: number;
  /** The options as numbers, in the order of the kernel's. */
  readonly parameters: readonly number[];
}

/** An energy-based loss: writes what is asked for and gives the sum of the losses. */
export type EnergyReference = (s: Samples) => number;

/** The arrays of a call, in the order of the kernel's. */
type Arrays = readonly [
  energies: FloatArray,
  answers: Int32Array,
  lengths: unknown,
  table: FloatArray | undefined,
  coordinates: Float64Array | undefined,
  values: FloatArray | undefined,
  indices: Int32Array | undefined,
  grad: FloatArray | undefined,
  upstream: FloatArray | undefined,
];

/** Runs a loss over all samples; gives the sum of the losses. */
export function runEnergy(
  loss: EnergyReference,
  plan: Omit<
    Samples,
    "energies" | "answers" | "table" | "coordinates" | "values" | "indices" | "grad" | "upstream"
  >,
  [energies, answers, , table, coordinates, values, indices, grad, upstream]: Arrays,
): number {
  return loss({ energies, answers, table, coordinates, values, indices, grad, upstream, ...plan });
}

/** One sample: its place among the others, the index of its first energy, its correct answer and that one's energy. */
interface Sample {
  readonly row: number;
  readonly first: number;
  readonly answer: number;
  readonly own: number;
  readonly upstream: number;
}

/** Calls `loss(sample)` for each sample, with a gradient of zeros to add to. */
function eachSample(s: Samples, loss: (sample: Sample) => number): number {
  return addUp(s.rows, s.scale, s.upstream, s.values, (row, upstream) => {
    const first = row * s.columns;
    const answer = s.answers[row] as number;
    const own = s.energies[first + answer] as number;
    s.grad?.fill(0, first, first + s.columns);
    return loss({ row, first, answer, own, upstream });
  });
}

/** A number of the table for one answer of a sample. */
function tableOf(s: Samples, { row, answer }: Sample): (k: number) => number {
  const { table, columns, per } = s;
  const start = columns * (per === "all" ? 0 : per === "answer" ? answer : row);
  return (k) => table?.[start + k] as number;
}

/** An answer, and its energy; index -1 and +Infinity where there is none. */
interface Found {
  readonly index: number;
  readonly energy: number;
}

/** The first of the lowest energies among the answers that count; NaN is lower than every number. */
function lowest(s: Samples, { first }: Sample, counts: (k: number) => boolean): Found {
  let index = -1;
  let energy = Infinity;
  for (let k = 0; k < s.columns; k++) {
    if (!counts(k)) continue;
    const e = s.energies[first + k] as number;
    if (Number.isNaN(e)) return { index: k, energy: e };
    if (e < energy) {
      index = k;
      energy = e;
    }
  }
  return { index, energy };
}

/** The most offending incorrect answer: not the correct one, and farther from it than epsilon where answers have coordinates. */
function offender(s: Samples, sample: Sample): Found {
  const { coordinates, dimensions, columns, epsilon } = s;
  const { answer } = sample;
  if (coordinates === undefined) return lowest(s, sample, (k) => k !== answer);
  const cloud = s.clouds === 1 ? 0 : sample.row * columns * dimensions;
  return lowest(s, sample, (k) => {
    if (k === answer) return false;
    let sum = 0;
    for (let d = 0; d < dimensions; d++) {
      const between =
        (coordinates[cloud + answer * dimensions + d] as number) -
        (coordinates[cloud + k * dimensions + d] as number);
      sum += between * between;
    }
    return Math.sqrt(sum) > epsilon;
  });
}

/** Where the most offending incorrect answers stand, and their energies. */
export const mostOffending: EnergyReference = (s) =>
  eachSample(s, (sample) => {
    const { index, energy } = offender(s, sample);
    if (s.indices !== undefined) s.indices[sample.row] = index;
    return energy;
  });

/** E(Y). */
export const energyLoss: EnergyReference = (s) =>
  eachSample(s, ({ first, answer, own, upstream }) => {
    if (s.grad !== undefined) s.grad[first + answer] = upstream;
    return own;
  });

/** E(Y) - min_y E(y). */
export const perceptronLoss: EnergyReference = (s) =>
  eachSample(s, (sample) => {
    const { index, energy } = lowest(s, sample, () => true);
    push(s, sample, index, 1, -1);
    return sample.own - energy;
  });

/** Adds the slopes of the correct answer's energy and another's to the gradient. */
function push(
  { grad }: Samples,
  { first, answer, upstream }: Sample,
  other: number,
  down: number,
  up: number,
): void {
  if (grad === undefined) return;
  grad[first + answer] = upstream * down;
  if (other >= 0) grad[first + other] = (grad[first + other] as number) + upstream * up;
}

/** The value of a loss and its slopes in the correct answer's energy and in the most offending one's. */
type Slopes = readonly [value: number, down: number, up: number];

/** A loss of the correct answer's energy e and the most offending one's, o, which is +Infinity where there is none. */
function ofPair(loss: (e: number, o: number, parameter: number) => Slopes): EnergyReference {
  return (s) =>
    eachSample(s, (sample) => {
      const { index, energy } = offender(s, sample);
      const [value, down, up] = loss(sample.own, energy, s.parameters[0] as number);
      push(s, sample, index, down, up);
      return value;
    });
}

/** A loss of the difference z = e - o, which is -Infinity where there is no other. */
function ofDifference(
  loss: (z: number, parameter: number) => readonly [value: number, slope: number],
): EnergyReference {
  return ofPair((e, o, parameter) => {
    const [value, slope] = loss(o === Infinity ? -Infinity : e - o, parameter);
    return [value, slope, -slope];
  });
}

/** max(0, m + e - o); at the kink the slope is 0. Parameter: m. */
export const hingeLoss: EnergyReference = /* @__PURE__ */ ofDifference((z, m) =>
  m + z <= 0 ? [0, 0] : [m + z, 1],
);

/** log(1 + exp(e - o)). */
export const logLoss: EnergyReference = /* @__PURE__ */ ofDifference((z) => [softplus(z), sigmoid(z)]);

/** min(m, max(0, e - o)); at the kinks the slope is 0. Parameter: m. */
export const lvq2Loss: EnergyReference = /* @__PURE__ */ ofDifference((z, m) =>
  z <= 0 ? [0, 0] : z >= m ? [m, 0] : [z, 1],
);

/** 1 / (1 + exp(-(e - o))). */
export const mceLoss: EnergyReference = /* @__PURE__ */ ofDifference((z) => [
  sigmoid(z),
  sigmoid(z) * sigmoid(-z),
]);

/** e^2 + max(0, m - o)^2. Parameter: m. */
export const squareSquareLoss: EnergyReference = /* @__PURE__ */ ofPair((e, o, m) => {
  const lack = Math.max(m - o, 0);
  return [e * e + lack * lack, 2 * e, -2 * lack];
});

/** e^2 + beta exp(-o). Parameter: beta. */
export const squareExponentialLoss: EnergyReference = /* @__PURE__ */ ofPair((e, o, beta) => {
  const repulsion = beta * Math.exp(-o);
  return [e * e + repulsion, 2 * e, -repulsion];
});

/** log sum_y exp(-beta E(y) + m(y)) in two parts, -beta least + log, and the probability of each answer. */
function gibbs(
  s: Samples,
  sample: Sample,
): { least: number; log: number; probability: (k: number) => number; rest: number } {
  const { columns, energies } = s;
  const { first, answer } = sample;
  const measure = s.table === undefined ? () => 0 : tableOf(s, sample);
  const { energy: least } = lowest(s, sample, () => true);
  const beta = Math.min(s.parameters[0] as number, Number.MAX_VALUE);
  // beta multiplies differences that are exact where they matter
  const exponent = (k: number): number => {
    const e = energies[first + k] as number;
    return e === Infinity ? -Infinity : beta * (least - e) + measure(k);
  };
  if (!Number.isFinite(least)) {
    // exp(-beta E - logSumExp) is 0 for all others, and none of them has a finite share of an infinite sum
    const probability = (k: number): number => ((energies[first + k] as number) > least ? 0 : Number.NaN);
    return { least, log: 0, probability, rest: 1 - probability(answer) };
  }
  let shift = -Infinity;
  for (let k = 0; k < columns; k++) {
    const t = exponent(k);
    if (t > shift || Number.isNaN(t)) shift = t;
  }
  let sum = 0;
  let others = 0;
  for (let k = 0; k < columns; k++) {
    const weight = Math.exp(exponent(k) - shift);
    sum += weight;
    if (k !== answer) others += weight;
  }
  return {
    least,
    log: shift + Math.log(sum),
    probability: (k) => Math.exp(exponent(k) - shift) / sum,
    rest: others / sum,
  };
}

/** E(Y) + 1/beta log sum_y exp(-beta E(y) + m(y)). Parameter: beta. */
export const nllLoss: EnergyReference = (s) =>
  eachSample(s, (sample) => {
    const { first, answer, own, upstream } = sample;
    const { least, log, probability, rest } = gibbs(s, sample);
    if (s.grad !== undefined) {
      for (let k = 0; k < s.columns; k++) s.grad[first + k] = 0 - upstream * probability(k);
      s.grad[first + answer] = upstream * rest;
    }
    return own - least + log / (s.parameters[0] as number);
  });

/** 1 - exp(-beta E(Y)) / sum_y exp(-beta E(y)). Parameter: beta. */
export const meeLoss: EnergyReference = (s) =>
  eachSample(s, (sample) => {
    const { first, answer, upstream } = sample;
    const { probability, rest } = gibbs(s, sample);
    const slope = (s.parameters[0] as number) * probability(answer);
    if (s.grad !== undefined) {
      for (let k = 0; k < s.columns; k++) s.grad[first + k] = 0 - upstream * slope * probability(k);
      s.grad[first + answer] = upstream * slope * rest;
    }
    return rest;
  });

/** sum over y != Y of H(E(Y) - E(y) + C(Y, y)). Parameters: C where there is no table; 0 for H(z) = max(0, z), 1 for log(1 + exp(z)). */
export const contrastiveLoss: EnergyReference = (s) =>
  eachSample(s, (sample) => {
    const { first, answer, own, upstream } = sample;
    const [constant, log] = s.parameters as [number, number];
    const margin = s.table === undefined ? () => constant : tableOf(s, sample);
    let value = 0;
    let pull = 0;
    for (let k = 0; k < s.columns; k++) {
      const e = s.energies[first + k] as number;
      if (k === answer || e === Infinity) continue;
      const z = own - e + margin(k);
      const slope = log === 1 ? sigmoid(z) : z <= 0 ? 0 : 1;
      value += log === 1 ? softplus(z) : Math.max(z, 0);
      pull += slope;
      if (s.grad !== undefined) s.grad[first + k] = 0 - upstream * slope;
    }
    if (s.grad !== undefined) s.grad[first + answer] = upstream * pull;
    return value;
  });
