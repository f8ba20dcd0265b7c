/**
 * The most offending incorrect answer where answers are points of a space: the lowest energy outside of a ball around the correct
 * answer, and inside of bounds.
 *
 * Several searches run side by side, one evaluation each per round. A search goes down the slope: along the gradient without what
 * would lead out of the bounds or into the ball, and back onto the sphere where it stands on that. Its step is that of
 * Barzilai and Borwein (1988), halved until the energy falls enough (Armijo), so a round never makes it worse.
 */
import { describe, fail, shapeText } from "../../errors.js";
import { isTyped, type Operand, readOperand, sizeOf } from "../../input.js";
import { anything, flag, number, readOptions } from "../../options.js";
import type { Input, Tensor, TypedArray } from "../../types.js";

const WHERE = "mostOffendingContinuous";

/** A gradient: as many numbers as the answer has coordinates; one number does where it has one. */
export type Gradient = number | readonly number[] | TypedArray | Tensor<TypedArray>;

/** An energy with its gradient, of one answer y; `sample` says of which sample, where there are several. */
export type EnergyOfAnswer = (
  y: Float64Array,
  sample: number,
) => { readonly value: number; readonly grad: Gradient };

/** The energies of many answers at once, [M, D], with their gradients [M, D]; `samples` says of which sample each is. */
export type EnergyOfAnswers = (
  y: Tensor<Float64Array>,
  samples: Int32Array,
) => { readonly value: ArrayLike<number> | Tensor; readonly grad: Gradient | readonly (readonly number[])[] };

/** Options of {@link mostOffendingContinuous}. */
export interface ContinuousOptions {
  /** How far from the correct answer an incorrect one must be. From 0 on. Default 0: the lowest of all answers. */
  epsilon?: number | undefined;
  /** How many places the search starts from, at most 2^20. Default 24. */
  starts?: number | undefined;
  /** How many times the energy is asked for, at most, from each start. Default 200. */
  steps?: number | undefined;
  /**
   * Where answers may lie: [low, high] for all coordinates, or one pair for each. Infinities are allowed. Default: anywhere;
   * unless all are finite, searches start within `epsilon + max(10 epsilon, 5)` of the correct answer.
   */
  bounds?: readonly [number, number] | readonly (readonly [number, number])[] | undefined;
  /** Where the random numbers start: the same seed, the same answer. Default 0. */
  seed?: number | undefined;
}

/** What {@link mostOffendingContinuous} finds for one answer. */
export interface ContinuousOffender {
  /** The incorrect answer; NaN where the bounds leave none outside of the ball. */
  readonly answer: Float64Array;
  /** Its energy; +Infinity where there is none. */
  readonly energy: number;
}

/** And for several: a row and a number for each. */
export interface ContinuousOffenders {
  readonly answer: Tensor<Float64Array>;
  readonly energy: Float64Array;
}

/** The part of the space that is searched: a box without a ball. */
class Region {
  constructor(
    readonly center: Float64Array,
    readonly epsilon: number,
    readonly low: Float64Array,
    readonly high: Float64Array,
  ) {}

  /**
   * Puts y to the nearest place in the bounds and then, if that is in the ball, or with `onSphere` anyway, onto the sphere;
   * whether there is a place.
   */
  settle(y: Float64Array, direction: Float64Array, onSphere: boolean): boolean {
    const { center, epsilon } = this;
    // both in turn, where the ball lies across the bounds
    for (let turn = 0; turn < 50; turn++) {
      y.forEach((x, d) => {
        y[d] = Math.min(Math.max(x, this.low[d] as number), this.high[d] as number);
      });
      const distance = this.distance(y);
      if (distance >= epsilon && !(onSphere && turn === 0)) return true;
      center.forEach((c, d) => {
        const unit = distance > 0 ? ((y[d] as number) - c) / distance : (direction[d] as number);
        y[d] = c + unit * epsilon;
      });
      // rounding must not leave it inside
      for (let ulps = 1; ulps < 16 && this.distance(y) < epsilon; ulps++) {
        center.forEach((c, d) => {
          y[d] = c + ((y[d] as number) - c) * (1 + ulps * Number.EPSILON);
        });
      }
      if (this.#inBounds(y)) return this.distance(y) >= epsilon;
    }
    return false;
  }

  /** How far y is from the correct answer, by the one and the other way to round it: the nearer. */
  distance(y: Float64Array): number {
    const away = y.map((x, d) => x - (this.center[d] as number));
    return Math.min(lengthOf(away), Math.sqrt(away.reduce((sum, x) => sum + x * x, 0)));
  }

  #inBounds(y: Float64Array): boolean {
    return y.every((x, d) => x >= (this.low[d] as number) && x <= (this.high[d] as number));
  }

  /** The corner of the bounds that is farthest from the center, if the bounds are finite. */
  farthest(): Float64Array {
    return this.center.map((c, d) => {
      const [low, high] = [this.low[d] as number, this.high[d] as number];
      return c - low > high - c ? low : high;
    });
  }

  /** The gradient without what leads out of the bounds and, on the sphere, into the ball; whether the sphere holds it. */
  project(y: Float64Array, grad: Float64Array): { slope: Float64Array; held: boolean } {
    const slope = grad.map((g, d) => {
      const out =
        g > 0 ? (y[d] as number) <= (this.low[d] as number) : (y[d] as number) >= (this.high[d] as number);
      return out ? 0 : g;
    });
    const distance = this.distance(y);
    if (this.epsilon === 0 || distance > this.epsilon * (1 + 1e-12)) return { slope, held: false };
    let inward = 0;
    let free = 0;
    for (let d = 0; d < y.length; d++) {
      if (slope[d] === 0) continue;
      const normal = ((y[d] as number) - (this.center[d] as number)) / distance;
      inward += (slope[d] as number) * normal;
      free += normal * normal;
    }
    if (inward <= 0) return { slope, held: false };
    for (let d = 0; d < y.length; d++) {
      if (slope[d] === 0) continue;
      const normal = ((y[d] as number) - (this.center[d] as number)) / distance;
      slope[d] = (slope[d] as number) - (inward / free) * normal;
    }
    return { slope, held: true };
  }
}

/** One search. */
class Search {
  /** Where the energy is asked for next. */
  candidate: Float64Array;
  done = false;
  energy = Infinity;
  #y: Float64Array | undefined;
  #slope!: Float64Array;
  #held = false;
  #step = 0;

  constructor(
    readonly sample: number,
    private readonly region: Region,
    /** How far the first step may lead. */
    private readonly reach: number,
    private readonly direction: Float64Array,
    start: Float64Array,
  ) {
    this.candidate = start;
    if (!region.settle(start, direction, false)) this.done = true;
  }

  get answer(): Float64Array | undefined {
    return this.#y;
  }

  /** Takes the energy of the candidate, and finds the next one. */
  told(value: number, grad: Float64Array): void {
    const y = this.#y;
    if (y === undefined) {
      // where the energy is no number there is no slope to go down
      if (!(value < Infinity)) this.done = true;
      else this.#move(value, grad);
    } else {
      let moved = 0;
      for (let d = 0; d < y.length; d++) moved += ((this.candidate[d] as number) - (y[d] as number)) ** 2;
      if (value <= this.energy - (1e-4 * moved) / this.#step) this.#move(value, grad);
      else this.#step /= 4;
    }
    if (!this.done) this.#propose();
  }

  #move(value: number, grad: Float64Array): void {
    const before = this.#y;
    const slopeBefore = this.#slope;
    const y = this.candidate;
    const { slope, held } = this.region.project(y, grad);
    this.energy = value;
    this.#y = y;
    this.#slope = slope;
    this.#held = held;
    const steepness = lengthOf(slope);
    if (!(steepness > 0) || value === -Infinity) {
      this.done = true;
      return;
    }
    if (before === undefined) {
      this.#step = this.reach / steepness;
      return;
    }
    // the curvature between the last two places
    let along = 0;
    let moved = 0;
    for (let d = 0; d < y.length; d++) {
      const s = (y[d] as number) - (before[d] as number);
      along += s * ((slope[d] as number) - (slopeBefore[d] as number));
      moved += s * s;
    }
    this.#step = along > 0 ? moved / along : 4 * this.#step;
    this.#step = Math.min(this.#step, (1000 * this.reach) / steepness);
  }

  #propose(): void {
    const y = this.#y as Float64Array;
    for (let tries = 0; tries < 60; tries++) {
      const next = y.map((x, d) => x - this.#step * (this.#slope[d] as number));
      const settled = this.region.settle(next, this.direction, this.#held);
      if (settled && next.some((x, d) => Math.abs(x - (y[d] as number)) > 4e-16 * Math.abs(x))) {
        this.candidate = next;
        return;
      }
      // no smaller step will be seen
      if (settled) break;
      this.#step /= 4;
    }
    this.done = true;
  }
}

/** How many arguments a call may have for certain. */
const MOST_ARGUMENTS = 16384;

/** The length of a vector of however many coordinates. */
function lengthOf(v: Float64Array): number {
  if (v.length <= MOST_ARGUMENTS) return Math.hypot(...v);
  let length = 0;
  for (let i = 0; i < v.length; i += MOST_ARGUMENTS)
    length = Math.hypot(length, ...v.subarray(i, i + MOST_ARGUMENTS));
  return length;
}

/** Random numbers in [0, 1), the same for the same seed (mulberry32). */
function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let z = state;
    z = Math.imul(z ^ (z >>> 15), z | 1);
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
    return ((z ^ (z >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A direction, all equally likely (Box and Muller). */
function direction(size: number, random: () => number): Float64Array {
  const v = Float64Array.from(
    { length: size },
    () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random()),
  );
  const length = lengthOf(v);
  return length > 0 ? v.map((x) => x / length) : v.fill(1 / Math.sqrt(size));
}

/**
 * The starts: in finite bounds spread evenly over them (a lattice of irrational steps, shifted at random), elsewhere at random
 * distances from the correct answer, near and far. Every third is on the sphere, in opposite directions by turns.
 */
function searches(sample: number, region: Region, starts: number, random: () => number): Search[] {
  const { center, epsilon, low, high } = region;
  const size = center.length;
  const bounded = low.every((x, d) => Number.isFinite(x) && Number.isFinite(high[d] as number));
  const extent = bounded ? lengthOf(low.map((x, d) => (high[d] as number) - x)) : Math.max(20 * epsilon, 10);
  // the number above 1 with g^(size + 1) = g + 1: its powers' multiples fill a box most evenly (Roberts 2018)
  let g = 2;
  for (let i = 0; i < 50; i++) g = (1 + g) ** (1 / (size + 1));
  const shift = center.map(() => random());
  let last = direction(size, random);
  const found: Search[] = [];
  for (let i = 0; i < starts; i++) {
    const ahead = i % 2 === 0 ? direction(size, random) : last.map((x) => -x);
    last = ahead;
    const start = center.map((c, d) => {
      if (i < 2 || i % 3 === 0) return c + (ahead[d] as number) * epsilon;
      if (bounded) {
        const [from, to] = [low[d] as number, high[d] as number];
        return from + (to - from) * (((shift[d] as number) + (i + 1) / g ** (d + 1)) % 1);
      }
      // from the sphere's neighbourhood to far away
      return c + (ahead[d] as number) * (epsilon + (extent / 2) * 100 ** -random());
    });
    found.push(new Search(sample, region, extent / 20, ahead, start));
  }
  // bounds may leave no more than a corner
  if (bounded && found.every((search) => search.done)) {
    found.push(new Search(sample, region, extent / 20, last, region.farthest()));
  }
  return found;
}

/** Reads bounds for each coordinate. */
function readBounds(bounds: unknown, size: number): [low: Float64Array, high: Float64Array] {
  const low = new Float64Array(size).fill(-Infinity);
  const high = new Float64Array(size).fill(Infinity);
  if (bounds === undefined) return [low, high];
  const expected = `[low, high], or ${size} of those`;
  if (!Array.isArray(bounds)) fail("TYPE", WHERE, "bounds", describe(bounds), expected);
  const single = typeof bounds[0] === "number";
  if (!single && bounds.length !== size)
    fail("LENGTH", WHERE, "bounds", `an array of ${bounds.length}`, expected);
  for (let d = 0; d < size; d++) {
    const pair: unknown = single ? bounds : bounds[d];
    const place = single ? "" : `[${d}]`;
    if (!(Array.isArray(pair) || isTyped(pair)) || pair.length !== 2)
      fail("TYPE", WHERE, "bounds", describe(pair), expected, place);
    const [from, to] = pair as [unknown, unknown];
    if (typeof from !== "number" || typeof to !== "number" || !(from <= to)) {
      fail(
        "RANGE",
        WHERE,
        "bounds",
        `[${describe(from)}, ${describe(to)}]`,
        "a low end up to a high one",
        place,
      );
    }
    low[d] = from;
    high[d] = to;
  }
  return [low, high];
}

/** The numbers of what a caller's energy gave. */
function numbersOf(name: string, given: unknown, length: number): Float64Array {
  const { data } = readOperand(WHERE, name, given);
  if (data.length !== length) fail("LENGTH", WHERE, name, `${data.length} numbers`, String(length));
  return Float64Array.from(data as ArrayLike<number>, Number);
}

/** Asks for the energies of all candidates and tells them. */
type Ask = (active: readonly Search[]) => void;

function oneByOne(energy: EnergyOfAnswer, size: number): Ask {
  return (active) => {
    for (const search of active) {
      const given: unknown = energy(search.candidate.slice(), search.sample);
      const { value, grad } = (given ?? {}) as { value?: unknown; grad?: unknown };
      if (typeof value !== "number") fail("TYPE", WHERE, "energy(y).value", describe(value), "a number");
      search.told(value, numbersOf("energy(y).grad", grad, size));
    }
  };
}

function allAtOnce(energy: EnergyOfAnswers, size: number): Ask {
  return (active) => {
    const data = new Float64Array(active.length * size);
    active.forEach((search, i) => {
      data.set(search.candidate, i * size);
    });
    const samples = Int32Array.from(active, ({ sample }) => sample);
    const given: unknown = energy({ data, shape: [active.length, size] }, samples);
    const { value, grad } = (given ?? {}) as { value?: unknown; grad?: unknown };
    const values = numbersOf("energy(y).value", value, active.length);
    const grads = numbersOf("energy(y).grad", grad, active.length * size);
    active.forEach((search, i) => {
      search.told(values[i] as number, grads.slice(i * size, (i + 1) * size));
    });
  };
}

/** Reads the correct answers as rows. */
function readAnswer(answer: Input): { operand: Operand; rows: number; size: number } {
  const operand = readOperand(WHERE, "answer", answer);
  const { shape } = operand;
  const size = shape.length === 0 ? 1 : (shape[shape.length - 1] as number);
  if (shape.length > 2 || size === 0) {
    fail("SHAPE", WHERE, "answer", `of shape ${shapeText(shape)}`, "a number, [D] or [N, D]");
  }
  const rows = sizeOf(shape) / size;
  for (let i = 0; i < operand.data.length; i++) {
    if (!Number.isFinite(Number(operand.data[i])))
      fail("RANGE", WHERE, "answer", String(operand.data[i]), "finite numbers");
  }
  return { operand, rows, size };
}

/**
 * The most offending incorrect answer where answers are continuous: the answer of lowest energy at least `epsilon` away from the
 * correct one. It is searched for by descent from several starts, with the caller's energy and gradient, so it is the lowest
 * answer that those lead to: more starts find more, and bounds in the scale of the answers. Where the energy is lowest inside of the ball, the answer is on its surface.
 *
 * - `energy`: `(y) => ({ value, grad })` for one answer y, a Float64Array of its D coordinates. With `batch: true` it is asked
 *   for the answers of all searches of a round at once: `({ data, shape: [M, D] }, samples) => ({ value: [M], grad: [M, D] })`.
 * - `answer`: the correct one: a number, or [D]; or [N, D] for N samples. Then the energy's second argument says which sample an
 *   answer belongs to.
 *
 * Gives `{ answer, energy }`: a Float64Array [D] and a number; for N samples a tensor [N, D] and a Float64Array [N]. Where the
 * bounds leave no answer outside of the ball, the answer is NaN and the energy +Infinity, as {@link mostOffending} has it.
 * Places where the energy is NaN or +Infinity are passed over.
 *
 * @throws RangeError `NUMBER`, `RANGE`, `SHAPE`, `LENGTH`: options, bounds, answers or gradients that do not fit; TypeError: wrong kinds.
 * @see LeCun et al. 2006, section 2.2, definition 2; Barzilai and Borwein, Two-Point Step Size Gradient Methods, 1988.
 * @example
 * ```ts
 * import { mostOffendingContinuous } from "perdida/energy";
 * // two valleys, at -1 and (a little higher) at 1
 * const energy = ([y]: Float64Array) => ({ value: (y ** 2 - 1) ** 2 + y / 10, grad: [4 * y * (y ** 2 - 1) + 1 / 10] });
 * const found = mostOffendingContinuous(energy, -1, { epsilon: 0.5, bounds: [-2, 2] });
 * console.log(found.answer[0].toFixed(2), found.energy.toFixed(2)); // "0.99" "0.10"
 * ```
 */
export function mostOffendingContinuous(
  energy: EnergyOfAnswer,
  answer: number | readonly number[] | TypedArray,
  options?: ContinuousOptions & { batch?: false | undefined },
): ContinuousOffender;
export function mostOffendingContinuous(
  energy: EnergyOfAnswers,
  answer: number | readonly number[] | TypedArray,
  options: ContinuousOptions & { batch: true },
): ContinuousOffender;
export function mostOffendingContinuous(
  energy: EnergyOfAnswer,
  answer: readonly (readonly number[])[] | readonly TypedArray[],
  options?: ContinuousOptions & { batch?: false | undefined },
): ContinuousOffenders;
export function mostOffendingContinuous(
  energy: EnergyOfAnswers,
  answer: readonly (readonly number[])[] | readonly TypedArray[],
  options: ContinuousOptions & { batch: true },
): ContinuousOffenders;
export function mostOffendingContinuous(
  energy: EnergyOfAnswer,
  answer: Input,
  options?: ContinuousOptions & { batch?: false | undefined },
): ContinuousOffender | ContinuousOffenders;
export function mostOffendingContinuous(
  energy: EnergyOfAnswers,
  answer: Input,
  options: ContinuousOptions & { batch: true },
): ContinuousOffender | ContinuousOffenders;
export function mostOffendingContinuous(
  energy: EnergyOfAnswer | EnergyOfAnswers,
  answer: Input,
  options?: ContinuousOptions & { batch?: boolean | undefined },
): ContinuousOffender | ContinuousOffenders {
  const table = {
    epsilon: number(0, { least: 0, most: Number.MAX_VALUE }),
    starts: number(24, { least: 1, most: 2 ** 20, integer: true }),
    steps: number(200, { least: 1, integer: true }),
    seed: number(0, { integer: true }),
    bounds: anything(),
    batch: flag(false),
  };
  const { epsilon, starts, steps, seed, bounds, batch } = readOptions(WHERE, table, options);
  if (typeof energy !== "function") fail("TYPE", WHERE, "energy", describe(energy), "a function");
  const { operand, rows, size } = readAnswer(answer);
  // before the bounds, of which a getter may be code of the caller's
  const data = Float64Array.from(operand.data as ArrayLike<number>, Number);
  const [low, high] = readBounds(bounds, size);
  const all: Search[][] = [];
  for (let i = 0; i < rows; i++) {
    // a sample's search is the same alone and among others
    const region = new Region(data.slice(i * size, (i + 1) * size), epsilon, low, high);
    all.push(searches(i, region, starts, randomNumbers(seed)));
  }
  const ask = batch ? allAtOnce(energy as EnergyOfAnswers, size) : oneByOne(energy as EnergyOfAnswer, size);
  for (let step = 0; step < steps; step++) {
    const active = all.flat().filter(({ done }) => !done);
    if (active.length === 0) break;
    ask(active);
  }
  const answers = new Float64Array(rows * size).fill(Number.NaN);
  const energies = new Float64Array(rows).fill(Infinity);
  all.forEach((found, i) => {
    for (const search of found) {
      if (search.answer === undefined || !(search.energy < (energies[i] as number))) continue;
      energies[i] = search.energy;
      answers.set(search.answer, i * size);
    }
  });
  if (operand.shape.length < 2) return { answer: answers, energy: energies[0] as number };
  return { answer: { data: answers, shape: operand.shape }, energy: energies };
}
