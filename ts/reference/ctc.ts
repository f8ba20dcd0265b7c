/**
 * Connectionist temporal classification in double precision: the forward and the backward pass over the lattice, and what
 * follows from them. What the kernels compute is defined here; the js engine runs it.
 *
 * A target of S labels becomes 2 S + 1 states: blank, label, blank, ..., label, blank. A path starts in one of the first two
 * and ends in one of the last two; at each step it stays, goes on to the next state, or leaves out a blank that stands between two
 * different labels. alpha[t][s] is the probability of all beginnings that are in state s at step t, beta[t][s] that of all
 * ends that begin there: time runs the other way, all else is the same. Their product is the probability of all paths through
 * (t, s), with the emission of this step in it twice.
 *
 * A lattice value is a mantissa and, apart from it, an exponent of 2^64, both doubles: nothing underflows, and no digit is lost
 * to the size of a logarithm, which grows with every step. The largest logit of each step is taken out of it, and the softmax's
 * denominators, which are 1 or more then, come in at the end.
 */
import { addUp, logSumExpOf } from "../math.js";
import type { FloatArray } from "../types.js";

/** How a batch of samples is laid out. */
export interface Layout {
  readonly samples: number;
  readonly steps: number;
  readonly classes: number;
  /** The length of a row of targets. */
  readonly labels: number;
  /** Whether logits are [steps, samples, classes] instead of [samples, steps, classes]. */
  readonly timeMajor: boolean;
  readonly blank: number;
}

/** The arrays that every function of a batch begins with. */
export type Inputs = readonly [
  logits: FloatArray,
  /** Class indices, [samples, labels]. */
  targets: Int32Array,
  inputLengths: Int32Array,
  targetLengths: Int32Array,
];

/** What {@link ctcLoss} is told beside. */
interface LossLayout extends Layout {
  readonly zeroInfinity: boolean;
  /** Whether each loss is divided by max(1, its target's length) in the sum. */
  readonly perLabel: boolean;
  /**
   * Where it is asked for, the probability of each state at each step given the target comes here: rows of `width`, as many as the longest
   * target has, laid out as the logits' rows.
   */
  readonly states?: FloatArray | undefined;
  readonly width?: number;
}

/** A loss over sequences: writes what is asked for and gives the sum of the losses. */
export type CtcReference = (
  layout: LossLayout,
  arrays: readonly [
    ...Inputs,
    /** The single losses come here. */
    values: FloatArray | undefined,
    /** Laid out as the logits. */
    grad: FloatArray | undefined,
    /** What multiplies the gradient of each sample; without it what comes is the probability of each symbol given the target. */
    factors: FloatArray | undefined,
  ],
) => number;

/** One sample of a batch, as far as its lengths go. */
export interface Sample {
  readonly steps: number;
  readonly classes: number;
  readonly blank: number;
  /** The symbol of each state, and two blanks at either end: so all states have neighbours, and all rows of states are alike. */
  readonly symbols: Int32Array;
  readonly logits: FloatArray;
  /** Where a step's row begins in arrays that are laid out as the logits, in rows of this width. */
  readonly at: (t: number, width: number) => number;
  /**
   * The largest logit of each step, and the logarithm of the softmax's denominator relative to it: log softmax(x) is x - max - log, in
   * this order.
   */
  readonly max: Float64Array;
  readonly log: Float64Array;
  /**
   * What is known of the loss beforehand: NaN where a step is no distribution, because it has NaN, +Infinity or nothing but -Infinity;
   * Infinity where there are too few steps: each label takes one, and two that are alike have a blank between them; else 0.
   */
  readonly known: number;
}

/** What exponents are of. Mantissas are kept within SMALL and LARGE: all that matters is that sums and products of a few do not overflow. */
const LARGE = 2 ** 64;
const SMALL = 2 ** -64;
const LOG_LARGE = 64 * Math.LN2;
/** The same in two parts, of which the first has so few bits that its multiples are exact (fdlibm's parts of ln 2). */
const LOG_LARGE_HIGH = 64 * 6.931471803691238e-1;
const LOG_LARGE_LOW = 64 * 1.9082149292705877e-10;
/** Up to this exponent a value is zero, whatever its mantissa: below every other, and sums of many of them are still finite. */
const ZERO = -1e300;
/** Up to so many lattice values are kept; beyond, they are computed again in blocks of steps. */
const KEPT = 1 << 17;

/** SMALL^d for whole d; 0 from 17 on. */
const POWERS: Float64Array = /* @__PURE__ */ Float64Array.from({ length: 18 }, (_, d) => SMALL ** d);
/** LARGE^d for whole d <= 0. */
const power = (d: number): number => (d > -18 ? (POWERS[-d | 0] as number) : 0);

/**
 * The two passes over one sample: -log P, Infinity where there is no path, NaN where a row of logits is no distribution.
 * `visit` gets, for each step from the last to the first, the probability of each state at that step given the target; it is not called
 * where the loss is not finite.
 */
export function pass(sample: Sample, visit?: (step: number, occupancy: Float64Array) => void): number {
  const { steps, classes, symbols, logits, at, max, log, known } = sample;
  if (known !== 0) return known;
  const width = symbols.length;
  const last = width - 3;
  // rows of alpha: the one that each block of steps begins with, and behind them those within one block; for the loss alone two in turn
  const isKept = steps * width <= KEPT;
  const block = visit === undefined ? 2 : isKept ? steps + 1 : 1 + Math.floor(Math.sqrt(steps));
  const firsts = visit === undefined ? 1 : 1 + Math.floor(steps / block);
  /** Where alpha is after so many steps. */
  const alpha = (made: number): number =>
    (made % block === 0 ? (made / block) % firsts : firsts - 1 + (made % block)) * width;
  /** And beta, where so many are left before it. */
  const beta = (left: number): number => (firsts - 1 + block + (left % 2)) * width;
  const mantissas = new Float64Array((firsts + block + 1) * width);
  const exponents = new Float64Array(mantissas.length).fill(ZERO);

  /** The probabilities of a step's symbols, but for its denominator: exp(logit - max), as mantissas and exponents. */
  const emitted = new Float64Array(classes);
  const scales = new Float64Array(classes);
  const emitting = [...new Set(symbols)];

  /**
   * to[s] = (from[s] + from[s + way] + from[s + 2 way]) emission(s), the last where a blank may be left out between the two:
   * `way` is -1 where paths come from, and 1 where they go to.
   */
  const step = (t: number, from: number, to: number, way: 1 | -1): void => {
    const row = at(t, classes);
    for (const c of emitting) {
      const x = (logits[row + c] as number) - (max[t] as number);
      const n = Math.max(ZERO, Math.ceil(x / LOG_LARGE));
      scales[c] = n;
      // kept within its bounds where x is so large that it has no digit behind the point
      const rest = x - n * LOG_LARGE_HIGH - n * LOG_LARGE_LOW;
      emitted[c] = Math.exp(Math.max(-LOG_LARGE, Math.min(0, rest)));
    }
    for (let s = 2; s <= last; s++) {
      const c = symbols[s] as number;
      let i = from + s;
      let m = mantissas[i] as number;
      let e = exponents[i] as number;
      for (let more = symbols[s + 2 * way] === c ? 1 : 2; more > 0; more--) {
        i += way;
        const own = mantissas[i] as number;
        const exponent = exponents[i] as number;
        // the larger exponent wins, the other mantissa is brought down to it
        if (exponent > e) {
          m = own + m * power(e - exponent);
          e = exponent;
        } else m += exponent === e ? own : own * power(exponent - e);
      }
      m *= emitted[c] as number;
      e += scales[c] as number;
      if (m > LARGE) {
        m *= SMALL;
        e++;
      } else if (m < SMALL) {
        m *= LARGE;
        e--;
      }
      mantissas[to + s] = m;
      exponents[to + s] = e;
    }
  };

  for (const start of [alpha(0) + 2, beta(steps) + last]) {
    mantissas[start] = 1;
    exponents[start] = 0;
  }
  let loss = 0;
  for (let t = 0; t < steps; t++) {
    step(t, alpha(t), alpha(t + 1), -1);
    loss += log[t] as number;
  }
  const occupancy = new Float64Array(width);
  for (let t = steps - 1; t >= 0; t--) {
    // alpha within this block was written over: again from its beginning on
    const made = t + 1;
    if (made < steps && (made + 1) % block === 0)
      for (let u = made + 1 - block; u < made; u++) step(u, alpha(u), alpha(u + 1), -1);
    step(t, beta(t + 1), beta(t), 1);
    // all paths through each state, relative to the largest exponent, and their sum: that of all paths
    const [i, j] = [alpha(t + 1), beta(t)];
    let most = 2 * ZERO;
    for (let s = 2; s <= last; s++) {
      const e =
        (exponents[i + s] as number) +
        (exponents[j + s] as number) -
        (scales[symbols[s] as number] as number);
      occupancy[s] = e;
      if (e > most) most = e;
    }
    if (most <= ZERO) return Infinity;
    let total = 0;
    for (let s = 2; s <= last; s++) {
      const m =
        ((mantissas[i + s] as number) * (mantissas[j + s] as number)) /
        (emitted[symbols[s] as number] as number);
      const p = m * power((occupancy[s] as number) - most);
      occupancy[s] = p;
      total += p;
    }
    if (t === steps - 1) loss -= Math.log(total) + most * LOG_LARGE;
    if (visit === undefined) break;
    // divided by their sum these are probabilities
    for (let s = 2; s <= last; s++) occupancy[s] = (occupancy[s] as number) / total;
    visit(t, occupancy);
  }
  return loss;
}

/** How many classes there are logits of: no room is made for those of nothing, which may be any number. */
const classesOf = ({ samples, steps, classes }: Layout): number => (samples * steps > 0 ? classes : 0);

/** The n-th sample of a batch. */
export function sampleOf(layout: Layout, inputs: readonly [...Inputs, ...unknown[]], n: number): Sample {
  const { steps: most, samples, labels, timeMajor, blank } = layout;
  const classes = classesOf(layout);
  const [logits, targets, inputLengths, targetLengths] = inputs;
  const steps = inputLengths[n] as number;
  const length = targetLengths[n] as number;
  const symbols = new Int32Array(2 * length + 5).fill(blank);
  let needed = length;
  for (let i = 0; i < length; i++) {
    const label = targets[n * labels + i] as number;
    symbols[2 * i + 3] = label;
    if (symbols[2 * i + 1] === label) needed++;
  }
  const max = new Float64Array(steps);
  const log = new Float64Array(steps);
  const [first, stride] = timeMajor ? [n, samples] : [n * most, 1];
  const at = (t: number, width: number): number => (first + t * stride) * width;
  let known = needed > steps ? Infinity : 0;
  for (let t = 0; t < steps; t++) {
    [max[t], log[t]] = logSumExpOf(logits, at(t, classes), classes);
    if (!Number.isFinite(max[t])) known = Number.NaN;
  }
  return { steps, classes, blank, symbols, logits, at, max, log, known };
}

/** -log of the sum, over all paths that collapse to the target, of prod_t softmax(x_t); the gradient is softmax - occupancy. */
export const ctcLoss: CtcReference = (layout, arrays) => {
  const { samples, zeroInfinity, perLabel, states, width = 0 } = layout;
  const classes = classesOf(layout);
  const [, , , targetLengths, values, grad, factors] = arrays;
  const occupied = new Float64Array(classes);
  grad?.fill(0);
  states?.fill(0);
  return addUp(samples, 1, factors, values, (n, factor) => {
    const sample = sampleOf(layout, arrays, n);
    const { steps, symbols, logits, at, max, log } = sample;
    const visit = (t: number, occupancy: Float64Array): void => {
      states?.set(occupancy.subarray(2, -2), at(t, width));
      occupied.fill(0);
      for (let s = 2; s < symbols.length - 2; s++) {
        const c = symbols[s] as number;
        occupied[c] = (occupied[c] as number) + (occupancy[s] as number);
      }
      const row = at(t, classes);
      const [largest, rest] = [max[t] as number, log[t] as number];
      for (let c = 0; c < classes; c++) {
        const q = occupied[c] as number;
        (grad as FloatArray)[row + c] =
          factors === undefined ? q : factor * (Math.exp((logits[row + c] as number) - largest - rest) - q);
      }
    };
    const loss = pass(sample, grad && visit);
    const value = zeroInfinity && loss === Infinity ? 0 : loss;
    if (!Number.isFinite(value)) {
      for (let t = 0; t < steps; t++) {
        grad?.fill(Number.NaN, at(t, classes), at(t, classes) + classes);
        states?.fill(Number.NaN, at(t, width), at(t, width) + width);
      }
    }
    return perLabel ? value / Math.max(1, targetLengths[n] as number) : value;
  });
};
