/**
 * The rowwise losses as plain loops in double precision: one loss per row of an input [rows, columns]. What the kernels
 * compute is defined here; the js engine runs it. Cross-entropy and the negative log-likelihood take rows whose numbers stand
 * apart as well, those of an input [N, columns, inner].
 */
import type { FloatArray } from "../types.js";

/** What a rowwise loss reads and writes. Arrays that are not given or not asked for are undefined. */
export interface Rows {
  readonly rows: number;
  readonly columns: number;
  /** How far apart the numbers of a row stand: 1, but for an input [N, C, d1, ...]. */
  readonly inner: number;
  readonly input: FloatArray;
  /** Class indices: one per row, or for sets of labels one row of columns, ended by -1. */
  readonly labels: Int32Array | undefined;
  /** Targets as numbers, [rows, columns]. */
  readonly target: FloatArray | undefined;
  /** One factor per class. */
  readonly weight: FloatArray | undefined;
  /** The single losses come here. */
  readonly values: FloatArray | undefined;
  readonly gradInput: FloatArray | undefined;
  readonly gradTarget: FloatArray | undefined;
  /** What flows in from above: a number per loss, and a factor for all. */
  readonly upstream: FloatArray | undefined;
  readonly scale: number;
  /** The options as numbers, in the order of the kernel's. */
  readonly parameters: readonly number[];
}

/** A rowwise loss: writes what is asked for and gives the sum of the losses. */
export type RowwiseReference = (r: Rows) => number;

/** Calls `loss(row, first, upstream)` for each row, `first` being the index of the row's first number. */
function eachRow(r: Rows, loss: (row: number, first: number, upstream: number) => number): number {
  const { columns, inner } = r;
  let sum = 0;
  for (let row = 0; row < r.rows; row++) {
    const within = row % inner;
    const value = loss(row, (row - within) * columns + within, r.scale * (r.upstream?.[row] ?? 1));
    if (r.values !== undefined) r.values[row] = value;
    sum += value;
  }
  return sum;
}

/**
 * log sum_c exp(x_c) of one row as the largest number and the logarithm of the rest: log softmax(x)_c is (x_c - max) - log, in
 * this order, which stays right where x is so large that max + log is max. An infinite largest number has log 0.
 */
function rowLogSumExp(
  x: FloatArray,
  first: number,
  columns: number,
  inner = 1,
): readonly [max: number, log: number] {
  const end = first + columns * inner;
  let max = -Infinity;
  for (let i = first; i < end; i += inner) {
    const v = x[i] as number;
    if (v > max || Number.isNaN(v)) max = v;
  }
  if (!Number.isFinite(max)) return [max, 0];
  let sum = 0;
  for (let i = first; i < end; i += inner) sum += Math.exp((x[i] as number) - max);
  return [max, Math.log(sum)];
}

/** -sum_c q_c w_c log softmax(x)_c, with q the target, smoothed: (1 - s) q + s / C. Parameters: ignoreIndex, s. */
export const crossEntropyLoss: RowwiseReference = (r) => {
  const { columns, inner, input: x, labels, target, weight, gradInput, gradTarget, parameters } = r;
  const [ignoreIndex, smoothing] = parameters as [number, number];
  const spread = smoothing / columns;
  return eachRow(r, (row, first, upstream) => {
    const label = labels?.[row];
    if (labels !== undefined && label === ignoreIndex) {
      for (let c = 0; c < columns && gradInput !== undefined; c++) gradInput[first + c * inner] = 0;
      return 0;
    }
    const [max, log] = rowLogSumExp(x, first, columns, inner);
    const share = (c: number): number => {
      const hard = label === undefined ? (target?.[first + c * inner] as number) : c === label ? 1 : 0;
      return ((1 - smoothing) * hard + spread) * (weight?.[c] ?? 1);
    };
    let value = 0;
    let mass = 0;
    for (let c = 0; c < columns; c++) {
      const q = share(c);
      mass += q;
      // a class without probability adds nothing, even where its log-probability is -Infinity
      if (q !== 0) value -= q * ((x[first + c * inner] as number) - max - log);
    }
    for (let c = 0; c < columns; c++) {
      const i = first + c * inner;
      const logp = (x[i] as number) - max - log;
      if (gradInput !== undefined) gradInput[i] = upstream * (mass * Math.exp(logp) - share(c));
      if (gradTarget !== undefined) gradTarget[i] = -upstream * (1 - smoothing) * (weight?.[c] ?? 1) * logp;
    }
    return value;
  });
};

/** -w_y x_y, the input being log-probabilities. Parameter: ignoreIndex. */
export const nllLoss: RowwiseReference = (r) => {
  const { inner, input: x, labels, weight, gradInput, parameters } = r;
  // each number is in one row, so all of them can be cleared at once
  gradInput?.fill(0);
  return eachRow(r, (row, first, upstream) => {
    const y = (labels as Int32Array)[row] as number;
    if (y === parameters[0]) return 0;
    const w = weight?.[y] ?? 1;
    const i = first + y * inner;
    if (gradInput !== undefined) gradInput[i] = -upstream * w;
    return -w * (x[i] as number);
  });
};

/** 1/C sum over c != y of w_y max(0, margin - x_y + x_c)^p. Parameters: p, margin. */
export const multiMarginLoss: RowwiseReference = (r) => {
  const { columns, input: x, labels, weight, gradInput, parameters } = r;
  const [p, margin] = parameters as [number, number];
  return eachRow(r, (row, first, upstream) => {
    const y = (labels as Int32Array)[row] as number;
    const w = (weight?.[y] ?? 1) / columns;
    let value = 0;
    let pull = 0;
    for (let c = 0; c < columns; c++) {
      const z = margin - (x[first + y] as number) + (x[first + c] as number);
      const active = c !== y && !(z <= 0);
      if (active) value += w * (p === 1 ? z : z * z);
      const g = active ? upstream * w * (p === 1 ? 1 : 2 * z) : 0;
      pull += g;
      if (gradInput !== undefined && c !== y) gradInput[first + c] = g;
    }
    if (gradInput !== undefined) gradInput[first + y] = -pull;
    return value;
  });
};

/** 1/C sum over labels j in the set, classes i outside of it, of max(0, 1 - x_j + x_i). The set ends at the first -1. */
export const multiLabelMarginLoss: RowwiseReference = (r) => {
  const { columns, input: x, labels, gradInput } = r;
  const inside = new Uint8Array(columns);
  return eachRow(r, (_row, first, upstream) => {
    const set = (labels as Int32Array).subarray(first, first + columns);
    const end = set.indexOf(-1);
    const members = end < 0 ? set : set.subarray(0, end);
    inside.fill(0);
    for (const j of members) inside[j] = 1;
    gradInput?.fill(0, first, first + columns);
    let value = 0;
    for (const j of members) {
      for (let i = 0; i < columns; i++) {
        const z = 1 - (x[first + j] as number) + (x[first + i] as number);
        if (inside[i] === 1 || z <= 0) continue;
        value += z / columns;
        if (gradInput !== undefined) {
          gradInput[first + i] = (gradInput[first + i] as number) + upstream / columns;
          gradInput[first + j] = (gradInput[first + j] as number) - upstream / columns;
        }
      }
    }
    return value;
  });
};

/** -1/C sum_c w_c (t_c log sigmoid(x_c) + (1 - t_c) log sigmoid(-x_c)). */
export const multiLabelSoftMarginLoss: RowwiseReference = (r) => {
  const { columns, input: x, target, weight, gradInput } = r;
  return eachRow(r, (_row, first, upstream) => {
    let value = 0;
    for (let c = 0; c < columns; c++) {
      const z = x[first + c] as number;
      const t = (target as FloatArray)[first + c] as number;
      const w = (weight?.[c] ?? 1) / columns;
      const e = Math.exp(-Math.abs(z));
      // softplus(z) - t z, without overflow
      value += w * (Math.max(z, 0) - t * z + Math.log1p(e));
      if (gradInput !== undefined) gradInput[first + c] = upstream * w * ((z >= 0 ? 1 : e) / (1 + e) - t);
    }
    return value;
  });
};

/** log sum_c exp(x_c); the gradient is the softmax. */
export const logSumExp: RowwiseReference = (r) => {
  const { columns, input: x, gradInput } = r;
  return eachRow(r, (_row, first, upstream) => {
    const [max, log] = rowLogSumExp(x, first, columns);
    if (gradInput !== undefined) {
      for (let c = 0; c < columns; c++)
        gradInput[first + c] = upstream * Math.exp((x[first + c] as number) - max - log);
    }
    return max + log;
  });
};

/** y = x - logSumExp(x); the gradient is g - softmax(x) sum(g). */
export const logSoftmax: RowwiseReference = (r) => {
  const { rows, columns, input: x, values, gradInput, upstream, scale } = r;
  let sum = 0;
  for (let first = 0; first < rows * columns; first += columns) {
    const [max, log] = rowLogSumExp(x, first, columns);
    let total = 0;
    for (let i = first; i < first + columns; i++) total += scale * (upstream?.[i] ?? 1);
    for (let i = first; i < first + columns; i++) {
      const y = (x[i] as number) - max - log;
      sum += y;
      if (values !== undefined) values[i] = y;
      if (gradInput !== undefined) gradInput[i] = scale * (upstream?.[i] ?? 1) - Math.exp(y) * total;
    }
  }
  return sum;
};

/** y = exp(x - logSumExp(x)); the gradient is y (g - sum(g y)). */
export const softmax: RowwiseReference = (r) => {
  const { rows, columns, input: x, values, gradInput, upstream, scale } = r;
  let sum = 0;
  for (let first = 0; first < rows * columns; first += columns) {
    const [max, log] = rowLogSumExp(x, first, columns);
    let total = 0;
    for (let i = first; i < first + columns; i++) {
      const y = Math.exp((x[i] as number) - max - log);
      sum += y;
      total += scale * (upstream?.[i] ?? 1) * y;
      if (values !== undefined) values[i] = y;
    }
    if (gradInput === undefined) continue;
    for (let i = first; i < first + columns; i++) {
      const y = Math.exp((x[i] as number) - max - log);
      gradInput[i] = y * (scale * (upstream?.[i] ?? 1) - total);
    }
  }
  return sum;
};
