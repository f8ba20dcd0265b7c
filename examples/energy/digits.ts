/** The digits: a small energy-based classifier, from the same start for every loss. */
import { shuffler } from "d3-array";
import { randomLcg } from "d3-random";
import { mostOffending } from "perdida/energy";
import type { Digit } from "../digits/data.js";
import type { LossRow } from "./losses.js";
import { EnergyModel, Network, type Rows } from "./network.js";

const CLASSES = 10;
/** How many numbers an image and an answer are turned into. */
const SIZE = 16;
const BATCH = 32;
const RATE = 2e-3;
/** R(W) is this half times |W|². */
const DECAY = 1;
/** Below this share of what it was at the start, a surface counts as collapsed. */
const FLAT = 0.01;

/** What came out of a training. */
export interface Measured {
  readonly loss: LossRow;
  /** The share of test digits whose lowest energy is another answer's. */
  readonly error: number;
  /** How far, on average, the most offending answer is above the correct one on test digits. */
  readonly margin: number;
  /** How far apart a digit's highest and lowest energies are, on average, against the start. */
  readonly relief: number;
  readonly collapsed: boolean;
}

/** Digits as rows of pixels, and what they are. */
interface Batch {
  readonly questions: Rows;
  readonly answers: Int32Array;
}

function rowsOf(digits: readonly Digit[]): Batch {
  const length = digits[0]?.pixels.length ?? 0;
  const data = new Float64Array(digits.length * length);
  digits.forEach(({ pixels }, i) => {
    data.set(pixels, i * length);
  });
  return { questions: { data, rows: digits.length }, answers: Int32Array.from(digits, ({ label }) => label) };
}

/** The ten answers, each with an input of its own. */
const ANSWERS: Rows = {
  data: Float64Array.from({ length: CLASSES * CLASSES }, (_, i) => Number(i % (CLASSES + 1) === 0)),
  rows: CLASSES,
};

/** Trains with one loss and measures on digits that it has not seen. */
export function trainOnDigits(
  loss: LossRow,
  training: readonly Digit[],
  test: readonly Digit[],
  { epochs, seed }: { epochs: number; seed: number },
): Measured {
  const random = randomLcg(seed / 1000);
  const model = new EnergyModel(
    new Network([64, 64, SIZE], random, 0.5),
    new Network([CLASSES, SIZE], random, 1),
    SIZE,
  );
  const unseen = rowsOf(test);
  const { relief: before } = measure(model, unseen);
  const shuffle = shuffler(random);
  const train = loss.on();
  const steps = epochs * Math.ceil(training.length / BATCH);
  let step = 0;
  for (let epoch = 0; epoch < epochs; epoch++) {
    const order = shuffle([...training]);
    for (let at = 0; at < order.length; at += BATCH, step++) {
      const { questions, answers } = rowsOf(order.slice(at, at + BATCH));
      const { grads } = train(model.energies(questions, ANSWERS), answers);
      model.learn(grads.energies.data, questions.rows, CLASSES, RATE * (1 - step / steps), DECAY);
    }
  }
  const { error, margin, relief } = measure(model, unseen);
  return { loss, error, margin, relief: relief / before, collapsed: relief < FLAT * before };
}

function measure(
  model: EnergyModel,
  { questions, answers }: Batch,
): { error: number; margin: number; relief: number } {
  const energies = model.energies(questions, ANSWERS);
  const { energy } = mostOffending(energies, answers);
  let [errors, margin, relief] = [0, 0, 0];
  answers.forEach((answer, i) => {
    const row = energies.data.subarray(i * CLASSES, (i + 1) * CLASSES);
    const above = (energy[i] as number) - (row[answer] as number);
    // where both are the same it is no answer
    if (!(above > 0)) errors += 1;
    margin += above;
    relief += Math.max(...row) - Math.min(...row);
  });
  const n = answers.length;
  return { error: errors / n, margin: margin / n, relief: relief / n };
}
