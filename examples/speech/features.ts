/** What the network hears: every 10 ms the energy in bands that are as wide as the ear's, as logarithms. */
import { RATE } from "./audio.js";

/** Seconds from one step to the next. */
export const STEP = 0.01;
/** Samples of a step, and of the 25 ms that are looked at around it. */
const HOP = RATE * STEP;
const WINDOW = RATE * 0.025;
const SIZE = 256;
/** Bands, and the frequencies between which they lie. */
export const BANDS = 24;
const [LOWEST, HIGHEST] = [80, 3800];

/** Steps of features, [steps, BANDS]. */
export interface Features {
  readonly steps: number;
  readonly values: Float32Array;
}

/** The ear's scale of pitch (O'Shaughnessy 1987). */
const mel = (hertz: number): number => 2595 * Math.log10(1 + hertz / 700);
const hertz = (m: number): number => 700 * (10 ** (m / 2595) - 1);

/** Triangles over the frequencies, each from the middle of the one before to that of the one behind it. */
const FILTERS = Array.from({ length: BANDS }, (_, band) => {
  const [from, to] = [mel(LOWEST), mel(HIGHEST)];
  const edge = (k: number): number => hertz(from + ((to - from) * k) / (BANDS + 1));
  const [low, middle, high] = [edge(band), edge(band + 1), edge(band + 2)];
  return Float64Array.from({ length: SIZE / 2 }, (_, bin) => {
    const f = (bin * RATE) / SIZE;
    return Math.max(0, Math.min((f - low) / (middle - low), (high - f) / (high - middle)));
  });
});
const HANN = Float64Array.from(
  { length: WINDOW },
  (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * (i + 0.5)) / WINDOW),
);

/** The squared magnitudes of a Fourier transform (radix 2, Cooley and Tukey 1965); `real` has SIZE numbers and is written over. */
function power(real: Float64Array): Float64Array {
  const imaginary = new Float64Array(SIZE);
  for (let i = 1, j = 0; i < SIZE; i++) {
    let bit = SIZE >> 1;
    for (; (j & bit) !== 0; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) [real[i], real[j]] = [real[j] as number, real[i] as number];
  }
  for (let length = 2; length <= SIZE; length *= 2) {
    const half = length / 2;
    for (let k = 0; k < half; k++) {
      const [cos, sin] = [Math.cos((2 * Math.PI * k) / length), -Math.sin((2 * Math.PI * k) / length)];
      for (let i = k; i < SIZE; i += length) {
        const [a, b] = [real[i + half] as number, imaginary[i + half] as number];
        const [x, y] = [a * cos - b * sin, a * sin + b * cos];
        real[i + half] = (real[i] as number) - x;
        imaginary[i + half] = (imaginary[i] as number) - y;
        real[i] = (real[i] as number) + x;
        imaginary[i] = (imaginary[i] as number) + y;
      }
    }
  }
  return Float64Array.from(
    { length: SIZE / 2 },
    (_, k) => (real[k] as number) ** 2 + (imaginary[k] as number) ** 2,
  );
}

/** Log-mel features. What is 60 dB below the loudest is silence; each band has mean 0, and all together have variance 1. */
export function logMel(samples: Float32Array): Features {
  const steps = Math.max(1, Math.ceil(samples.length / HOP));
  const energies = new Float64Array(steps * BANDS);
  let most = 0;
  for (let t = 0; t < steps; t++) {
    const frame = new Float64Array(SIZE);
    const start = Math.round((t + 0.5) * HOP - WINDOW / 2);
    for (let i = 0; i < WINDOW; i++) {
      // what the mouth loses at high frequencies is given back
      const x = (samples[start + i] ?? 0) - 0.97 * (samples[start + i - 1] ?? 0);
      frame[i] = x * (HANN[i] as number);
    }
    const spectrum = power(frame);
    for (let band = 0; band < BANDS; band++) {
      const filter = FILTERS[band] as Float64Array;
      let energy = 0;
      for (let k = 0; k < SIZE / 2; k++) energy += (filter[k] as number) * (spectrum[k] as number);
      energies[t * BANDS + band] = energy;
      most = Math.max(most, energy);
    }
  }
  const values = Float32Array.from(energies, (e) => Math.log10(Math.max(e / (most || 1), 1e-6)));
  // what is the same all the time is the throat's or the microphone's, not what is said
  for (let band = 0; band < BANDS; band++) {
    let mean = 0;
    for (let t = 0; t < steps; t++) mean += (values[t * BANDS + band] as number) / steps;
    for (let t = 0; t < steps; t++) values[t * BANDS + band] = (values[t * BANDS + band] as number) - mean;
  }
  const deviation = Math.sqrt(values.reduce((sum, x) => sum + x * x, 0) / values.length) || 1;
  return { steps, values: values.map((x) => x / deviation) };
}
