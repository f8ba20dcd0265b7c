/** A problem of one dimension: y near x². What the energy of every pair (x, y) is, and how a loss pushes it, can be drawn. */
import { randomLcg, randomNormal, randomUniform } from "d3-random";
import type { Answers, LossRow } from "./losses.js";
import { EnergyModel, Network, type Rows } from "./network.js";

const SAMPLES = 160;
const SIZE = 8;
const RATE = 4e-3;

/** The answers are points of a line: so many of them, from here to there. */
export const GRID = { count: 61, from: -0.4, to: 1.4 };
/** As many columns of a picture, x from -1 to 1. */
export const COLUMNS = 40;

const spacing = (GRID.to - GRID.from) / (GRID.count - 1);
const POINTS = Float64Array.from({ length: GRID.count }, (_, k) => GRID.from + k * spacing);
const ANSWERS: Answers = { coordinates: POINTS, epsilon: 0.25, measure: spacing };
const ANSWER_ROWS: Rows = { data: POINTS, rows: GRID.count };
/** The x in the middle of each column. */
const MIDDLES: Rows = {
  data: Float64Array.from({ length: COLUMNS }, (_, i) => -1 + (2 * (i + 0.5)) / COLUMNS),
  rows: COLUMNS,
};

/** A moment of the training. */
export interface Frame {
  readonly step: number;
  /** Energies, [COLUMNS, GRID.count]. */
  readonly surface: Float64Array;
  /** The loss's gradient, gathered in the same cells: where it is positive the energy is pushed down, elsewhere up. */
  readonly push: Float64Array;
}

/** A training with one loss. */
export interface Film {
  readonly loss: LossRow;
  readonly frames: readonly Frame[];
  /** How far the answer of lowest energy is from x², on average over the columns. */
  readonly error: number;
  /** How far apart the highest and lowest energies of a column are, on average, against the start. */
  readonly relief: number;
}

/** Trains with one loss, from the same start and on the same samples for each. */
export function film(loss: LossRow, { steps, seed }: { steps: number; seed: number }): Film {
  const random = randomLcg(seed / 1000);
  const model = new EnergyModel(
    new Network([1, 24, SIZE], random, 0.8),
    new Network([1, 24, SIZE], random, 0.8),
    SIZE,
  );
  const uniform = randomUniform.source(random)(-1, 1);
  const noise = randomNormal.source(random)(0, 0.05);
  const x = Float64Array.from({ length: SAMPLES }, uniform);
  const y = Int32Array.from(x, (at) => {
    const k = Math.round((at * at + noise() - GRID.from) / spacing);
    return Math.min(GRID.count - 1, Math.max(0, k));
  });
  const questions = { data: x, rows: SAMPLES };
  const train = loss.on(ANSWERS);
  // at the start, when it has begun, in the middle and at the end
  const moments = [0, Math.round(steps / 60), Math.round(steps / 8), steps];
  const frames: Frame[] = [];
  for (let step = 0; step <= steps; step++) {
    const { grads } = train(model.energies(questions, ANSWER_ROWS), y);
    const gradient = grads.energies.data;
    if (moments.includes(step)) {
      const push = new Float64Array(COLUMNS * GRID.count);
      for (let i = 0; i < SAMPLES * GRID.count; i++) {
        const column = Math.min(
          COLUMNS - 1,
          Math.floor((((x[Math.floor(i / GRID.count)] as number) + 1) / 2) * COLUMNS),
        );
        const cell = column * GRID.count + (i % GRID.count);
        push[cell] = (push[cell] as number) + (gradient[i] as number);
      }
      frames.push({ step, surface: model.energies(MIDDLES, ANSWER_ROWS).data, push });
      model.energies(questions, ANSWER_ROWS);
    }
    if (step < steps) model.learn(gradient, SAMPLES, GRID.count, RATE);
  }
  const [first, last] = [frames[0] as Frame, frames[frames.length - 1] as Frame];
  return {
    loss,
    frames,
    error: errorOf(last.surface),
    relief: reliefOf(last.surface) / reliefOf(first.surface),
  };
}

function column(surface: Float64Array, i: number): Float64Array {
  return surface.subarray(i * GRID.count, (i + 1) * GRID.count);
}

function errorOf(surface: Float64Array): number {
  let sum = 0;
  MIDDLES.data.forEach((x, i) => {
    const energies = column(surface, i);
    sum += Math.abs((POINTS[energies.indexOf(Math.min(...energies))] as number) - x * x);
  });
  return sum / COLUMNS;
}

function reliefOf(surface: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < COLUMNS; i++) sum += Math.max(...column(surface, i)) - Math.min(...column(surface, i));
  return sum / COLUMNS;
}
