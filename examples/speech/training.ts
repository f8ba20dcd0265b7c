/** The network and its training: from features to sounds, with the CTC loss. */
import * as tf from "@tensorflow/tfjs-core";
import { tfCtcLoss } from "perdida/tfjs";
import { Average, Dense, learningRate } from "../support/tensorflow.js";
import { BANDS, type Features } from "./features.js";
import { CLASSES, SEPARATOR } from "./words.js";

/** Steps that are looked at together: every second one of those around the place itself. */
const REACH = 10;
const OFFSETS = Array.from({ length: REACH + 1 }, (_, i) => 2 * i - REACH);
const UNITS = [OFFSETS.length * BANDS, 192, 96, CLASSES.length];
/**
 * Added to the logits of the blank and of what stands between words. Left to itself, a network trained with CTC says each sound in a
 * single step, anywhere near it, and the blank everywhere else: that is the easiest way to be right about what is said, and says
 * little about when. Where the blank is dear from the start, it is sounds that fill the steps, and the network learns how long they
 * are; only where nothing can be heard it pays the price in the end. The separator is in no lesson: where a recording is aligned, it
 * takes one step between two words, at the best place.
 */
const COST = -30;
/** Steps on each side that are taken together when a recording is listened to. */
const BLUR = 1;
/** Recordings per step. */
const BATCH = 16;
const LEARNING_RATE = 4e-3;

/** What is heard, and what is said. */
export interface Lesson {
  readonly features: Features;
  readonly labels: readonly number[];
}

/** Dense layers over windows of features. */
export class Listener {
  readonly #layers: Dense;

  constructor(seed: number) {
    this.#layers = new Dense(UNITS, seed);
  }

  get variables(): tf.Variable[] {
    return this.#layers.variables;
  }

  /** The logits of some sounds, [N, T, classes]; shorter ones are filled up with silence. */
  logits(sounds: readonly Features[]): tf.Tensor3D {
    const steps = Math.max(...sounds.map((sound) => sound.steps));
    const size = OFFSETS.length * BANDS;
    const windows = new Float32Array(sounds.length * steps * size);
    sounds.forEach((sound, n) => {
      for (let t = 0; t < sound.steps; t++) {
        OFFSETS.forEach((offset, k) => {
          // before the beginning and behind the end all goes on as it stands there
          const at = Math.max(0, Math.min(sound.steps - 1, t + offset)) * BANDS;
          windows.set(sound.values.subarray(at, at + BANDS), (n * steps + t) * size + k * BANDS);
        });
      }
    });
    return tf.tidy(() => {
      const costs = tf.tensor1d(CLASSES.map((_, label) => (label <= SEPARATOR ? COST : 0)));
      const logits = this.#layers.apply(tf.tensor3d(windows, [sounds.length, steps, size]));
      return tf.add(logits, costs) as tf.Tensor3D;
    });
  }

  /** The logits of one sound as numbers, [T, classes]; each the mean of some steps, for no sound is shorter than those. */
  listen(sound: Features): { data: Float32Array; shape: readonly [number, number] } {
    const logits = this.logits([sound]);
    const data = logits.dataSync() as Float32Array;
    logits.dispose();
    const classes = CLASSES.length;
    const means = data.map((_, i) => {
      const t = Math.floor(i / classes);
      const [first, last] = [Math.max(0, t - BLUR), Math.min(sound.steps - 1, t + BLUR)];
      let sum = 0;
      for (let u = first; u <= last; u++) sum += data[u * classes + (i % classes)] as number;
      return sum / (last - first + 1);
    });
    return { data: means, shape: [sound.steps, classes] };
  }
}

/** A sound that is somewhat other: faster or slower, of another throat, another tone, with noise; the more, the greater `strength`. */
function bend({ steps, values }: Features, strength: number, random: () => number): Features {
  const normal = (): number => random() + random() + random() + random() - 2;
  const speed = Math.exp(0.15 * strength * normal());
  const shift = strength * normal();
  const noise = 0.3 * strength * random();
  const gain = Math.exp(0.15 * strength * normal());
  const tilt = Array.from({ length: 3 }, (_, k) => (0.3 * strength * normal()) / (k + 1));
  const length = Math.max(1, Math.round(steps / speed));
  const bent = new Float32Array(length * BANDS);
  const tone = Float32Array.from({ length: BANDS }, (_, band) =>
    tilt.reduce((sum, x, k) => sum + x * Math.cos((Math.PI * (k + 1) * (band + 0.5)) / BANDS), 0),
  );
  for (let t = 0; t < length; t++) {
    const from = Math.min(steps - 1, Math.round((t * steps) / length)) * BANDS;
    for (let band = 0; band < BANDS; band++) {
      const place = Math.max(0, Math.min(BANDS - 1.001, band + shift * (band / BANDS + 0.3)));
      const [low, part] = [Math.floor(place), place % 1];
      const value = (values[from + low] as number) * (1 - part) + (values[from + low + 1] as number) * part;
      bent[t * BANDS + band] = gain * value + (tone[band] as number) + noise * normal();
    }
  }
  // a stripe of time and one of frequency are missing (Park et al. 2019, SpecAugment)
  const hide = (of: number, most: number, at: (i: number) => (k: number) => number, others: number): void => {
    const size = Math.floor(random() * most);
    const first = Math.floor(random() * Math.max(1, of - size));
    for (let i = first; i < Math.min(of, first + size); i++)
      for (let k = 0; k < others; k++) bent[at(i)(k)] = 0;
  };
  hide(length, 6 * strength, (t) => (band) => t * BANDS + band, BANDS);
  hide(BANDS, 6 * strength, (band) => (t) => t * BANDS + band, length);
  return { steps: length, values: bent };
}

/** One step: what it found, and the milliseconds it took. */
export interface Step {
  readonly loss: number;
  readonly milliseconds: { readonly loss: number; readonly rest: number };
}

/** Trains; each step is taken when it is asked for. At the end the network holds the running mean of its weights. */
export function* train(
  network: Listener,
  lessons: readonly Lesson[],
  steps: number,
  random: () => number,
): Generator<Step> {
  // the fewer voices there are, the more others have to be made up
  const strength = lessons.length < 100 ? 0.9 : 0.5;
  // what is bent may become too short for its labels: then it teaches nothing
  const ctcLoss = tfCtcLoss(tf, { zeroInfinity: true });
  const adam = tf.train.adam(LEARNING_RATE);
  const average = new Average(network);
  for (let step = 0; step < steps; step++) {
    const begin = performance.now();
    let inLoss = 0;
    // tf's types keep it to themselves
    (adam as unknown as { learningRate: number }).learningRate = learningRate(LEARNING_RATE, step, steps);
    const drawn = Array.from(
      { length: BATCH },
      () => lessons[Math.floor(random() * lessons.length)] as Lesson,
    );
    const sounds = drawn.map(({ features }) => bend(features, strength, random));
    const inputLengths = sounds.map((sound) => sound.steps);
    const value = adam.minimize(
      () => {
        const logits = network.logits(sounds);
        const before = performance.now();
        const loss = ctcLoss(
          drawn.map(({ labels }) => labels),
          logits,
          { inputLengths },
        );
        inLoss = performance.now() - before;
        return loss;
      },
      true,
      network.variables,
    ) as tf.Scalar;
    average.update();
    const loss = value.dataSync()[0] as number;
    value.dispose();
    yield { loss, milliseconds: { loss: inLoss, rest: performance.now() - begin - inLoss } };
  }
  average.apply();
}
