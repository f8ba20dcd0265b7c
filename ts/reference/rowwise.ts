/**
 * The rowwise losses as plain loops in double precision: one loss per row of an input [rows, columns]. What the kernels
 * compute is defined here; the js engine runs it. Cross-entropy and the negative log-likelihood take rows whose numbers stand
 * apart as well, those of an input [N, columns, inner].
 */
import { addUp, logSumExpOf } from "../math.js";
import type { FloatArray } from "../types.js";

/** How the rows lie, and what multiplies each gradient. */
export interface Rows {
  readonly rows: number;
  readonly columns: number;
  /** How far apart the numbers of a row stand: 1, but for an input [N, C, d1, ...]. */
  readonly inner: number;
  readonly scale: number;
  /** The options as numbers, in the order of the kernel's. */
  readonly parameters: readonly number[];
}

/** What a rowwise loss reads and writes. Arrays that are not given or not asked for are undefined. */
export type Arrays = readonly [
  input: FloatArray,
  /** Class indices: one per row, or for sets of labels one row of columns, ended by -1. */
  labels: Int32Array | undefined,
  /** Targets as numbers, [rows, columns]. */
  target: FloatArray | undefined,
  /** One factor per class. */
  weight: FloatArray | undefined,
  /** The single losses come here. */
  values: FloatArray | undefined,
  gradInput: FloatArray | undefined,
  gradTarget: FloatArray | undefined,
  /** What flows in from above: a number per loss. */
  upstream: FloatArray | undefined,
];

/**
 * A loss of one row, whose first number stands at `first`: writes what is not 0 of the input's gradient, and the target's, where they are
 * asked for, and gives the loss.
 */
type OfRow = (row: number, first: number, upstream: number) => number;

/** A rowwise loss, of the rows of a call; a function with a number for each of theirs writes all itself, and gives nothing. */
export type RowwiseReference = (rows: Rows, arrays: Arrays) => OfRow | undefined;

/** Runs a loss over all rows; gives the sum of the losses. */
export function runRowwise(loss: RowwiseReference, all: Rows, arrays: Arrays): number {
  const { rows, columns, inner, scale } = all;
  const [, , , , values, gradInput, , upstream] = arrays;
  gradInput?.fill(0);
  const ofRow = loss(all, arrays);
  if (ofRow === undefined) return 0;
  return addUp(rows, scale, upstream, values, (row, up) => {
    const within = row % inner;
    return ofRow(row, (row - within) * columns + within, up);
  });
}

/** -sum_c q_c w_c log softmax(x)_c, with q the target, smoothed: (1 - s) q + s / C. Parameters: ignoreIndex, s. */
export const crossEntropyLoss: RowwiseReference = (
  { columns, inner, parameters },
  [x, labels, target, weight, , gradInput, gradTarget],
) => {
  const [ignoreIndex, smoothing] = parameters as [number, number];
  const shares = new Float64Array(columns);
  return (row, first, upstream) => {
    const label = labels?.[row];
    if (label === ignoreIndex) return 0;
    const [max, log] = logSumExpOf(x, first, columns, inner);
    let value = 0;
    let mass = 0;
    for (let c = 0; c < columns; c++) {
      const i = first + c * inner;
      const hard = target?.[i] ?? (c === label ? 1 : 0);
      const q = ((1 - smoothing) * hard + smoothing / columns) * (weight?.[c] ?? 1);
      shares[c] = q;
      mass += q;
      // a class without probability adds nothing, even where its log-probability is -Infinity
      if (q !== 0) value -= q * ((x[i] as number) - max - log);
    }
    for (let c = 0; c < columns; c++) {
      const i = first + c * inner;
      const logp = (x[i] as number) - max - log;
      if (gradInput !== undefined) gradInput[i] = upstream * (mass * Math.exp(logp) - (shares[c] as number));
      if (gradTarget !== undefined) gradTarget[i] = -upstream * (1 - smoothing) * (weight?.[c] ?? 1) * logp;
    }
    return value;
  };
};

/** -w_y x_y, the input being log-probabilities. Parameter: ignoreIndex. */
export const nllLoss: RowwiseReference =
  ({ inner, parameters }, [x, labels, , weight, , gradInput]) =>
  (row, first, upstream) => {
    const y = (labels as Int32Array)[row] as number;
    if (y === parameters[0]) return 0;
    const w = weight?.[y] ?? 1;
    const i = first + y * inner;
    if (gradInput !== undefined) gradInput[i] = -upstream * w;
    return -w * (x[i] as number);
  };

/**
 * 1/C sum over labels j in the set, classes i outside of it, of w_j max(0, margin - x_j + x_i)^p. The set ends at the first -1, or is
 * one class alone.
 */
const margins: RowwiseReference = (
  { rows, columns, parameters: [p = 1, margin = 1] },
  [x, labels, , weight, , gradInput],
) => {
  const sets = labels as Int32Array;
  const most = sets.length / rows;
  const inside = new Uint8Array(columns);
  // of many labels: added up in the user's array they could be rounded to single precision each time
  const slopes = new Float64Array(columns);
  return (row, first, upstream) => {
    const set = sets.subarray(row * most, (row + 1) * most);
    inside.fill(0);
    slopes.fill(0);
    for (const j of set) {
      if (j < 0) break;
      inside[j] = 1;
    }
    let value = 0;
    for (const j of set) {
      if (j < 0) break;
      const w = (weight?.[j] ?? 1) / columns;
      const under = margin - (x[first + j] as number);
      let pull = 0;
      for (let i = 0; i < columns; i++) {
        const z = under + (x[first + i] as number);
        if (inside[i] === 1 || z <= 0) continue;
        const factor = w * (p === 1 ? 1 : z);
        const slope = upstream * factor * p;
        value += factor * z;
        pull += slope;
        (slopes[i] as number) += slope;
      }
      (slopes[j] as number) -= pull;
    }
    gradInput?.set(slopes, first);
    return value;
  };
};

/** The margins of a set of one class. Parameters: p, margin. */
export const multiMarginLoss: RowwiseReference = margins;
/** The margins of a set of labels, with p and margin 1. */
export const multiLabelMarginLoss: RowwiseReference = margins;

/** -1/C sum_c w_c (t_c log sigmoid(x_c) + (1 - t_c) log sigmoid(-x_c)). */
export const multiLabelSoftMarginLoss: RowwiseReference =
  ({ columns }, [x, , target, weight, , gradInput]) =>
  (_row, first, upstream) => {
    let value = 0;
    for (let c = 0; c < columns; c++) {
      const z = x[first + c] as number;
      const t = (target as FloatArray)[first + c] as number;
      const w = (weight?.[c] ?? 1) / columns;
      const e = Math.exp(-Math.abs(z));
      const slope = e / (1 + e);
      const against = z >= 0 ? 1 - t : t;
      // what has no share adds nothing, even where |z| is infinite
      value += w * ((against === 0 ? 0 : against * Math.abs(z)) + Math.log1p(e));
      if (gradInput !== undefined)
        gradInput[first + c] = upstream * w * (z >= 0 ? against - slope : slope - against);
    }
    return value;
  };

/** log sum_c exp(x_c); the gradient is the softmax. */
export const logSumExp: RowwiseReference =
  ({ columns }, [x, , , , , gradInput]) =>
  (_row, first, upstream) => {
    const [max, log] = logSumExpOf(x, first, columns);
    for (let i = first; gradInput !== undefined && i < first + columns; i++)
      gradInput[i] = upstream * Math.exp((x[i] as number) - max - log);
    return max + log;
  };

/** y = softmax(x) or its logarithm. Of what flows into y there flows h = g y or h = g into the logarithm: h - softmax(x) sum(h). */
const softmaxOr =
  (isLog: boolean): RowwiseReference =>
  ({ rows, columns, scale }, [x, , , , values, gradInput, , upstream]) => {
    for (let first = 0; first < rows * columns; first += columns) {
      const [max, log] = logSumExpOf(x, first, columns);
      let total = 0;
      for (let i = first; i < first + columns; i++) {
        const logP = (x[i] as number) - max - log;
        const y = isLog ? logP : Math.exp(logP);
        total += scale * (upstream?.[i] ?? 1) * (isLog ? 1 : y);
        (values as FloatArray)[i] = y;
      }
      for (let i = first; gradInput !== undefined && i < first + columns; i++) {
        const p = Math.exp((x[i] as number) - max - log);
        gradInput[i] = scale * (upstream?.[i] ?? 1) * (isLog ? 1 : p) - p * total;
      }
    }
    return undefined;
  };

export const logSoftmax: RowwiseReference = /* @__PURE__ */ softmaxOr(true);
export const softmax: RowwiseReference = /* @__PURE__ */ softmaxOr(false);
