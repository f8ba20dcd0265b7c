/**
 * Connectionist temporal classification in double precision: the forward and the backward pass over the lattice, and what
 * follows from them. What the kernels compute is defined here; the js engine runs it.
 *
 * A target of S labels becomes 2 S + 1 states: blank, label, blank, ..., label, blank. A path starts in one of the first two
 * and ends in one of the last two; at each step it stays, goes on to the next state, or leaves out a blank that stands between two
 * different labels. alpha[t][s] is the probability of all beginnings that are in state s at step t, beta[t][s] that of all
 * ends that go on from there, and their product is that of all paths through (t, s).
 *
 * A lattice value is a mantissa and, apart from it, an exponent of two, both doubles: nothing underflows, and no digit is lost
 * to the size of a logarithm, which grows with every step. The largest logit of each step is taken out of it, and the softmax's
 * denominators, which are 1 or more then, come in at the end.
 */
import { logSumExpOf } from "../math.js";
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

/** One sample: logits [steps, classes] whose rows are `stride` apart, and its target. */
export interface Sample {
  readonly steps: number;
  readonly classes: number;
  readonly blank: number;
  readonly logits: FloatArray;
  readonly first: number;
  readonly stride: number;
  readonly target: Int32Array;
  /**
   * The largest logit of each step, and the logarithm of the softmax's denominator relative to it: log softmax(x) is x - max - log, in
   * this order.
   */
  readonly max: Float64Array;
  readonly log: Float64Array;
  /** Whether each step is a distribution: none has NaN, +Infinity or nothing but -Infinity. */
  readonly valid: boolean;
}

/** The exponent of zero: below every other, and sums of many of them are still finite. */
const NOTHING = -1e300;
/** 2^-d for whole d; 0 from 1100 on. */
const HALVES: Float64Array = /* @__PURE__ */ Float64Array.from({ length: 1100 }, (_, d) => 2 ** -d);
/** Mantissas are kept within these: all that matters is that sums and products of a few do not overflow. */
const LARGE = 2 ** 64;
const SMALL = 2 ** -64;
/** Above this an exponential is a mantissa as it is. */
const PLAIN = -40;
/** Up to so many lattice values are kept; beyond, they are computed again in blocks of steps. */
const KEPT = 1 << 17;

/** 2^d for whole d <= 0. */
function pow2(d: number): number {
  return d > -1100 ? (HALVES[-d | 0] as number) : 0;
}

/** Rows of mantissas and exponents; behind two entries that are always zero, so that state s has its neighbours s - 1 and s - 2. */
class Lattice {
  readonly width: number;
  readonly mantissa: Float64Array;
  readonly exponent: Float64Array;
  constructor(
    rows: number,
    readonly states: number,
  ) {
    this.width = states + 4;
    this.mantissa = new Float64Array(rows * this.width);
    this.exponent = new Float64Array(rows * this.width).fill(NOTHING);
  }
  /** Where state 0 of a row stands. */
  at(row: number): number {
    return row * this.width + 2;
  }
  set(row: number, state: number, value: number): void {
    this.mantissa[this.at(row) + state] = value;
    this.exponent[this.at(row) + state] = 0;
  }
  copy(row: number, from: Lattice, fromRow: number): void {
    const start = fromRow * this.width;
    this.mantissa.set(from.mantissa.subarray(start, start + this.width), row * this.width);
    this.exponent.set(from.exponent.subarray(start, start + this.width), row * this.width);
  }
}

/** Whether so many steps can emit a target: each label takes one, and two that are alike have a blank between them. */
export function feasible(target: Int32Array, steps: number): boolean {
  let needed = target.length;
  for (let i = 1; i < target.length; i++) if (target[i] === target[i - 1]) needed++;
  return needed <= steps;
}

/**
 * The two passes over one sample: -log P, Infinity where there is no path, NaN where a row of logits is no distribution.
 * `visit` gets, for each step from the last to the first, the probability of each state at that step given the target; it is not called
 * where the loss is not finite.
 */
export function pass(sample: Sample, visit?: (step: number, occupancy: Float64Array) => void): number {
  const { steps, blank, logits, first, stride, target, max, log, valid } = sample;
  if (!valid) return Number.NaN;
  if (!feasible(target, steps)) return Infinity;
  if (steps === 0) return 0;

  // the symbols of the target, each once; 0 is the blank. States know theirs by its place in this list
  const symbols = [blank];
  const places = new Map<number, number>();
  const states = 2 * target.length + 1;
  const symbol = new Int32Array(states);
  /** Whether state s may be entered from s - 2. */
  const skip = new Uint8Array(states + 2);
  for (let i = 0; i < target.length; i++) {
    const label = target[i] as number;
    let place = places.get(label);
    if (place === undefined) {
      place = symbols.length;
      symbols.push(label);
      places.set(label, place);
    }
    symbol[2 * i + 1] = place;
    if (i > 0 && label !== target[i - 1]) skip[2 * i + 1] = 1;
  }

  const emitted = new Float64Array(symbols.length);
  const exponents = new Float64Array(symbols.length);
  /** The probabilities of a step, but for its denominator: the exponentials of logits, with the largest taken out. */
  const emit = (t: number): void => {
    for (let k = 0; k < symbols.length; k++) {
      const x = (logits[first + t * stride + (symbols[k] as number)] as number) - (max[t] as number);
      if (x > PLAIN) {
        emitted[k] = Math.exp(x);
        exponents[k] = 0;
        continue;
      }
      // e^x = 2^n e^r
      const n = Math.round(x * Math.LOG2E);
      const r = Math.max(-0.35, Math.min(0.35, x - n * 6.931471803691238e-1 - n * 1.9082149292705877e-10));
      emitted[k] = x === -Infinity ? 0 : Math.exp(r);
      exponents[k] = x === -Infinity ? NOTHING : n;
    }
  };

  /**
   * to[s] = from[s] + from[s + way] + from[s + 2 way], the last where a blank may be left out between the two:
   * `way` is -1 where paths come from, and 1 where they go to.
   */
  const join = (from: Lattice, fromRow: number, to: Lattice, toRow: number, way: 1 | -1): void => {
    const { mantissa: fm, exponent: fe } = from;
    const { mantissa: tm, exponent: te } = to;
    const skips = way < 0 ? 0 : 2;
    let i = from.at(fromRow);
    let j = to.at(toRow);
    for (let s = 0; s < states; s++, i++, j++) {
      // the larger exponent wins, the other mantissa is brought down to it; nearly always they are the same
      let m = fm[i] as number;
      let e = fe[i] as number;
      const far = skip[s + skips] === 1 ? 2 : 1;
      for (let k = 1; k <= far; k++) {
        const own = fm[i + k * way] as number;
        const exponent = fe[i + k * way] as number;
        if (exponent === e) m += own;
        else if (exponent > e) {
          m = own + m * pow2(e - exponent);
          e = exponent;
        } else m += own * pow2(exponent - e);
      }
      tm[j] = m;
      te[j] = e;
    }
  };

  /** row[s] = row[s] emission(s). */
  const weigh = (lattice: Lattice, row: number): void => {
    const { mantissa, exponent } = lattice;
    let i = lattice.at(row);
    for (let s = 0; s < states; s++, i++) {
      const k = symbol[s] as number;
      let m = (mantissa[i] as number) * (emitted[k] as number);
      let e = (exponent[i] as number) + (exponents[k] as number);
      if (m > LARGE) {
        m *= SMALL;
        e += 64;
      } else if (m < SMALL) {
        m *= LARGE;
        e = m === 0 ? NOTHING : e - 64;
      }
      mantissa[i] = m;
      exponent[i] = e;
    }
  };

  /** The step to row t of alpha, `emit(t)` having been called. */
  const advance = (t: number): void => {
    join(alpha, (t - 1) % block, alpha, t % block, -1);
    weigh(alpha, t % block);
  };

  // alpha: rows of one block of steps, and a copy of the first row of each block
  const block = visit === undefined ? 2 : steps * states <= KEPT ? steps : Math.ceil(Math.sqrt(steps));
  const alpha = new Lattice(block, states);
  const starts = new Lattice(visit === undefined ? 0 : Math.ceil(steps / block), states);
  let denominators = 0;
  for (let t = 0; t < steps; t++) {
    emit(t);
    denominators += log[t] as number;
    if (t > 0) advance(t);
    else {
      alpha.set(0, 0, 1);
      if (states > 1) alpha.set(0, 1, 1);
      weigh(alpha, 0);
    }
    if (visit !== undefined && t % block === 0) starts.copy(t / block, alpha, 0);
  }

  // beta, without the emission of its own step
  let beta = new Lattice(1, states);
  let next = new Lattice(1, states);
  beta.set(0, states - 1, 1);
  if (states > 1) beta.set(0, states - 2, 1);
  const occupancy = new Float64Array(states);
  /** The products of a row of alpha and of beta, relative to the largest exponent, and their sum: that of all paths. */
  const meet = (row: number, beta: Lattice): readonly [total: number, exponent: number] => {
    const i = alpha.at(row);
    const j = beta.at(0);
    let most = 2 * NOTHING;
    for (let s = 0; s < states; s++) {
      const e = (alpha.exponent[i + s] as number) + (beta.exponent[j + s] as number);
      if (e > most) most = e;
    }
    let total = 0;
    for (let s = 0; s < states; s++) {
      const e = (alpha.exponent[i + s] as number) + (beta.exponent[j + s] as number);
      const m = (alpha.mantissa[i + s] as number) * (beta.mantissa[j + s] as number) * pow2(e - most);
      occupancy[s] = m;
      total += m;
    }
    return [total, most];
  };
  const [p, exponent] = meet((steps - 1) % block, beta);
  if (p === 0) return Infinity;
  for (let t = steps - 1; t >= 0 && visit !== undefined; t--) {
    const begin = t - (t % block);
    if (t < steps - 1) {
      if (t % block === block - 1) {
        // this block of alpha was written over: again from its first row on
        alpha.copy(0, starts, begin / block);
        for (let u = begin + 1; u <= t; u++) {
          emit(u);
          advance(u);
        }
      }
      [beta, next] = [next, beta];
      emit(t + 1);
      weigh(next, 0);
      join(next, 0, beta, 0, 1);
    }
    // divided by their sum these are probabilities
    const [total] = meet(t - begin, beta);
    for (let s = 0; s < states; s++) occupancy[s] = (occupancy[s] as number) / total;
    visit(t, occupancy);
  }
  return denominators - (Math.log(p) + exponent * Math.LN2);
}

/** The n-th sample of a batch, as far as its lengths go. */
export function sampleOf(layout: Layout, inputs: readonly [...Inputs, ...unknown[]], n: number): Sample {
  const { steps, samples, classes, labels, timeMajor, blank } = layout;
  const [logits, targets, inputLengths, targetLengths] = inputs;
  const count = inputLengths[n] as number;
  const first = n * (timeMajor ? classes : steps * classes);
  const stride = timeMajor ? samples * classes : classes;
  const target = targets.subarray(n * labels, n * labels + (targetLengths[n] as number));
  const max = new Float64Array(count);
  const log = new Float64Array(count);
  let valid = true;
  for (let t = 0; t < count; t++) {
    const [largest, rest] = logSumExpOf(logits, first + t * stride, classes);
    max[t] = largest;
    log[t] = rest;
    valid &&= Number.isFinite(largest);
  }
  return { steps: count, classes, blank, logits, first, stride, target, max, log, valid };
}

/** -log of the sum, over all paths that collapse to the target, of prod_t softmax(x_t); the gradient is softmax - occupancy. */
export const ctcLoss: CtcReference = (layout, arrays) => {
  const { samples, classes, blank, timeMajor, zeroInfinity, perLabel, states, width = 0 } = layout;
  const [, , , , values, grad, factors] = arrays;
  const occupied = new Float64Array(classes);
  grad?.fill(0);
  states?.fill(0);
  let sum = 0;
  for (let n = 0; n < samples; n++) {
    const sample = sampleOf(layout, arrays, n);
    const { steps, first, stride, target, logits, max, log } = sample;
    const factor = factors?.[n];
    const stateRow = (t: number): number => (timeMajor ? t * samples + n : n * layout.steps + t) * width;
    const visit = (t: number, occupancy: Float64Array): void => {
      states?.set(occupancy, stateRow(t));
      occupied.fill(0);
      for (let s = 0; s < occupancy.length; s++) {
        const c = s % 2 === 0 ? blank : (target[(s - 1) / 2] as number);
        occupied[c] = (occupied[c] as number) + (occupancy[s] as number);
      }
      const row = first + t * stride;
      const [largest, rest] = [max[t] as number, log[t] as number];
      for (let c = 0; c < classes; c++) {
        const q = occupied[c] as number;
        (grad as FloatArray)[row + c] =
          factor === undefined ? q : factor * (Math.exp((logits[row + c] as number) - largest - rest) - q);
      }
    };
    const loss = pass(sample, grad === undefined ? undefined : visit);
    const value = zeroInfinity && loss === Infinity ? 0 : loss;
    if (!Number.isFinite(value)) {
      for (let t = 0; t < steps; t++) {
        grad?.fill(Number.NaN, first + t * stride, first + t * stride + classes);
        states?.fill(Number.NaN, stateRow(t), stateRow(t) + width);
      }
    }
    if (values !== undefined) values[n] = value;
    sum += perLabel ? value / Math.max(1, target.length) : value;
  }
  return sum;
};
