/**
 * What the lecture says of each loss, held against trained models: three classes of points in a plane, a training set and points
 * held out, and two kinds of energy, that of a linear score, and the squared distance of a linear image of the point to a place
 * learnt for each class, which cannot fall below 0.
 */
import {
  energyLoss,
  hingeLoss,
  logLoss,
  lossFunctional,
  lvq2Loss,
  mostOffending,
  nllLoss,
  perceptronLoss,
  squareSquareLoss,
} from "perdida/energy";
import { describe, expect, test, vi } from "vitest";
import type { Tensor } from "../../ts/types.js";
import { randomStream } from "../support/generate.js";

vi.setConfig({ testTimeout: 60_000 });

const CLASSES = 3;

interface Points {
  readonly x: readonly (readonly [number, number])[];
  readonly labels: Int32Array;
}

/** Points around the corners of a triangle. */
function points(count: number, spread: number, seed: number): Points {
  const random = randomStream(seed);
  const bell = (): number => random() + random() + random() + random() - 2;
  const labels = Int32Array.from({ length: count }, (_, i) => i % CLASSES);
  const x = Array.from(labels, (label) => {
    const angle = (2 * Math.PI * label) / CLASSES;
    return [Math.cos(angle) + spread * bell(), Math.sin(angle) + spread * bell()] as const;
  });
  return { x, labels };
}

/** A model with its weights in one array: the energies of all classes of all points, and what a gradient in them is in the weights. */
interface Model {
  readonly weights: Float64Array;
  energies(data: Points): Tensor<Float64Array>;
  gradient(data: Points, grad: ArrayLike<number>): Float64Array;
}

/** E_k(x) = w_k x + b_k. */
function linear(seed: number): Model {
  const random = randomStream(seed);
  const weights = Float64Array.from({ length: 3 * CLASSES }, () => random() - 0.5);
  const at = (k: number, i: number): number => weights[3 * k + i] as number;
  return {
    weights,
    energies({ x }) {
      const data = new Float64Array(x.length * CLASSES);
      x.forEach(([a, b], n) => {
        for (let k = 0; k < CLASSES; k++) data[n * CLASSES + k] = at(k, 0) * a + at(k, 1) * b + at(k, 2);
      });
      return { data, shape: [x.length, CLASSES] };
    },
    gradient({ x }, grad) {
      const result = new Float64Array(weights.length);
      x.forEach(([a, b], n) => {
        for (let k = 0; k < CLASSES; k++) {
          const g = grad[n * CLASSES + k] as number;
          [a, b, 1].forEach((input, i) => {
            result[3 * k + i] = (result[3 * k + i] as number) + g * input;
          });
        }
      });
      return result;
    },
  };
}

/** E_k(x) = |A x + b - v_k|^2: the weights are A (4), b (2) and the v_k (2 each). */
function distances(seed: number): Model {
  const random = randomStream(seed);
  const weights = Float64Array.from({ length: 6 + 2 * CLASSES }, () => 2 * random() - 1);
  const at = (i: number): number => weights[i] as number;
  const away = ([a, b]: readonly [number, number], k: number, i: number): number =>
    at(2 * i) * a + at(2 * i + 1) * b + at(4 + i) - at(6 + 2 * k + i);
  return {
    weights,
    energies({ x }) {
      const data = new Float64Array(x.length * CLASSES);
      x.forEach((p, n) => {
        for (let k = 0; k < CLASSES; k++) data[n * CLASSES + k] = away(p, k, 0) ** 2 + away(p, k, 1) ** 2;
      });
      return { data, shape: [x.length, CLASSES] };
    },
    gradient({ x }, grad) {
      const result = new Float64Array(weights.length);
      const add = (i: number, g: number): void => {
        result[i] = (result[i] as number) + g;
      };
      x.forEach((p, n) => {
        for (let k = 0; k < CLASSES; k++) {
          for (let i = 0; i < 2; i++) {
            const g = 2 * away(p, k, i) * (grad[n * CLASSES + k] as number);
            add(2 * i, g * p[0]);
            add(2 * i + 1, g * p[1]);
            add(4 + i, g);
            add(6 + 2 * k + i, -g);
          }
        }
      });
      return result;
    },
  };
}

type AnyLoss = typeof energyLoss;

/** Gradient descent on the loss functional: the mean loss plus decay / 2 |W|^2. */
function train(
  model: Model,
  data: Points,
  loss: AnyLoss,
  options: object,
  { steps = 1000, rate = 0.05, decay = 0 } = {},
): void {
  const { weights } = model;
  for (let step = 0; step < steps; step++) {
    const { grads } = loss.valueAndGrad(model.energies(data), data.labels, options);
    const grad = model.gradient(data, grads.energies.data);
    weights.forEach((w, i) => {
      weights[i] = w - rate * ((grad[i] as number) + decay * w);
    });
  }
}

/** How far the most offending answer of each point is above the correct one. */
function margins(model: Model, data: Points): number[] {
  const energies = model.energies(data);
  const { energy } = mostOffending(energies, data.labels);
  return Array.from(
    energy,
    (e, n) => e - (energies.data[n * CLASSES + (data.labels[n] as number)] as number),
  );
}

/** How far apart the energies of a point's answers are, at most over all points: 0 is flat. */
function relief(model: Model, data: Points): number {
  const { data: e } = model.energies(data);
  return Math.max(
    ...data.x.map((_, n) => {
      const row = e.subarray(n * CLASSES, (n + 1) * CLASSES);
      return Math.max(...row) - Math.min(...row);
    }),
  );
}

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
const share = (values: readonly number[], holds: (x: number) => boolean): number =>
  values.filter(holds).length / values.length;

const training = points(90, 0.15, 1);
const heldOut = points(600, 0.15, 2);

describe("energy loss", () => {
  test("the surface collapses: every answer of every point ends with the same energy", () => {
    const model = distances(3);
    const before = relief(model, heldOut);
    train(model, training, energyLoss, {}, { steps: 6000, rate: 0.3 });
    expect(before).toBeGreaterThan(1);
    expect(relief(model, heldOut)).toBeLessThan(1e-6 * before);
    // and the loss calls that perfect
    expect(energyLoss(model.energies(heldOut), heldOut.labels)).toBeLessThan(1e-6);
  });

  test("where a loss pushes up as well, the same model from the same start does not", () => {
    const model = distances(3);
    train(model, training, hingeLoss as AnyLoss, {}, { steps: 6000, rate: 0.3 });
    expect(relief(model, heldOut)).toBeGreaterThan(1);
    expect(share(margins(model, heldOut), (m) => m > 0)).toBe(1);
  });
});

describe("perceptron loss", () => {
  test("a flat surface is as good as any: no loss at all", () => {
    const energies = heldOut.x.map(() => [0.7, 0.7, 0.7]);
    expect(perceptronLoss(energies, heldOut.labels)).toBe(0);
  });

  test("the least regulariser makes every answer's energy the same; the hinge withstands it", () => {
    const options = { steps: 8000, rate: 0.25, decay: 0.01 };
    const flat = distances(4);
    const before = relief(flat, heldOut);
    train(flat, training, perceptronLoss, {}, options);
    expect(relief(flat, heldOut)).toBeLessThan(1e-4 * before);
    expect(perceptronLoss(flat.energies(heldOut), heldOut.labels)).toBeLessThan(1e-4);
    const held = distances(4);
    train(held, training, hingeLoss as AnyLoss, {}, options);
    expect(relief(held, heldOut)).toBeGreaterThan(1);
  });

  test("it stops as soon as nothing is wrong, whatever the margin", () => {
    const model = linear(5);
    train(model, training, perceptronLoss, {}, { steps: 2000, rate: 0.01 });
    expect(perceptronLoss(model.energies(training), training.labels)).toBe(0);
    expect(Math.min(...margins(model, training))).toBeLessThan(0.1);
  });
});

describe("hinge and square-square loss hold a margin", () => {
  test.each([0.5, 1, 3])("hinge, m = %d, on points held out", (margin) => {
    const model = linear(6);
    train(model, training, hingeLoss as AnyLoss, { margin }, { steps: 5000, rate: 0.3 });
    // nothing is left to push on the training points, all of them have the margin
    expect(hingeLoss(model.energies(training), training.labels, { margin })).toBe(0);
    expect(Math.min(...margins(model, training))).toBeGreaterThanOrEqual(margin);
    const found = margins(model, heldOut);
    expect(share(found, (m) => m >= margin)).toBeGreaterThan(0.95);
    expect(Math.min(...found)).toBeGreaterThan(0.5 * margin);
    // and no more than was asked for: most pushing has stopped near m
    expect(Math.min(...margins(model, training))).toBeLessThan(1.2 * margin);
  });

  test.each([0.5, 1, 3])("square-square, m = %d, on points held out", (margin) => {
    const close = points(90, 0.05, 7);
    const others = points(600, 0.05, 8);
    const model = distances(6);
    train(model, close, squareSquareLoss as AnyLoss, { margin }, { steps: 8000, rate: 0.02 });
    const energies = model.energies(others);
    const correct = Array.from(others.labels, (label, n) => energies.data[n * CLASSES + label] as number);
    const wrong = [...mostOffending(energies, others.labels).energy];
    // the correct answer is pulled to 0, the others are pushed up to m
    expect(mean(correct)).toBeLessThan(0.05 * margin);
    expect(share(wrong, (e) => e > 0.9 * margin)).toBeGreaterThan(0.8);
    expect(Math.min(...wrong)).toBeGreaterThan(0.6 * margin);
    expect(share(margins(model, others), (m) => m > 0.8 * margin)).toBeGreaterThan(0.95);
  });
});

describe("negative log-likelihood", () => {
  test("goes to the perceptron loss as beta grows, up to 1e6, on a trained model's energies", () => {
    // classes that overlap, so that there is a loss to go to
    const mixed = points(300, 1.1, 9);
    const model = linear(10);
    train(model, mixed, nllLoss as AnyLoss, {}, { steps: 2000, rate: 0.5 });
    const doubles = model.energies(mixed);
    const singles = { data: Float32Array.from(doubles.data), shape: doubles.shape };
    for (const energies of [doubles, singles]) {
      const limit = perceptronLoss.valueAndGrad(energies, mixed.labels);
      expect(limit.value).toBeGreaterThan(0.01);
      const apart = [1, 10, 1e2, 1e3, 1e4, 1e5, 1e6].map((beta) => {
        const { value, grads } = nllLoss.valueAndGrad(energies, mixed.labels, { beta });
        expect(Number.isFinite(value)).toBe(true);
        expect(grads.energies.data.every(Number.isFinite)).toBe(true);
        expect(value - limit.value).toBeLessThanOrEqual(Math.log(CLASSES) / beta + 1e-15);
        return value - limit.value;
      });
      // it only ever falls
      for (let i = 1; i < apart.length; i++) expect(apart[i]).toBeLessThanOrEqual(apart[i - 1] as number);
      expect(apart[6]).toBeLessThan(1e-6);
      const { grads } = nllLoss.valueAndGrad(energies, mixed.labels, { beta: 1e6 });
      const differences = Array.from(grads.energies.data, (g, i) =>
        Math.abs(g - (limit.grads.energies.data[i] as number)),
      );
      expect(Math.max(...differences)).toBeLessThan(1e-6);
    }
  });

  test("trained with a large beta, a model goes the perceptron's way", () => {
    const mixed = points(300, 1.1, 9);
    const [a, b] = [linear(10), linear(10)];
    train(a, mixed, nllLoss as AnyLoss, { beta: 1e6 }, { steps: 60 });
    train(b, mixed, perceptronLoss, {}, { steps: 60 });
    a.weights.forEach((w, i) => {
      expect(w).toBeCloseTo(b.weights[i] as number, 6);
    });
  });
});

describe("LVQ2 loss", () => {
  test("saturates: what is hopelessly wrong has loss m and is pushed no more, so it spoils nothing", () => {
    // one label in nine is wrong
    const labels = training.labels.map((label, i) => (i % 9 === 0 ? (label + 1) % CLASSES : label));
    const spoilt = { x: training.x, labels };
    const margin = 1;
    const model = linear(11);
    // begins with what the hinge has learnt from clean points, with energies wide apart
    train(model, training, hingeLoss as AnyLoss, { margin: 4 }, { steps: 5000, rate: 0.1 });
    train(model, spoilt, lvq2Loss as AnyLoss, { margin }, { steps: 3000, rate: 0.1 });
    const { value, grads } = lvq2Loss.valueAndGrad(model.energies(spoilt), labels, {
      margin,
      reduction: "none",
    });
    const wrong = Array.from(labels, (label, i) => label !== training.labels[i]);
    wrong.forEach((isWrong, i) => {
      if (!isWrong) return;
      expect(value.data[i]).toBe(margin);
      expect([...grads.energies.data.subarray(i * CLASSES, (i + 1) * CLASSES)].map((g) => g + 0)).toEqual([
        0, 0, 0,
      ]);
    });
    expect(share(margins(model, heldOut), (m) => m > 0)).toBe(1);
    // the hinge goes on pulling at each of them, by as much as at any other
    const pulled = hingeLoss.valueAndGrad(model.energies(spoilt), labels, { margin, reduction: "none" }).grads
      .energies.data;
    wrong.forEach((isWrong, i) => {
      if (isWrong) expect(pulled[i * CLASSES + (labels[i] as number)]).toBe(1);
    });
  });
});

describe("log loss", () => {
  test("never stops pushing: the margin grows as long as it is trained, where the hinge has come to rest", () => {
    const [log, hinge] = [linear(12), linear(12)];
    const least: number[] = [];
    const rested: number[] = [];
    for (const steps of [500, 1000, 2000, 4000]) {
      train(log, training, logLoss as AnyLoss, {}, { steps, rate: 0.8 });
      train(hinge, training, hingeLoss as AnyLoss, {}, { steps, rate: 0.8 });
      least.push(Math.min(...margins(log, training)));
      rested.push(Math.min(...margins(hinge, training)));
      const { value, grads } = logLoss.valueAndGrad(log.energies(training), training.labels, {
        reduction: "none",
      });
      // every single sample is pushed still
      for (const loss of value.data) expect(loss).toBeGreaterThan(0);
      training.labels.forEach((label, i) => {
        expect(grads.energies.data[i * CLASSES + label]).toBeGreaterThan(0);
      });
    }
    for (let i = 1; i < least.length; i++) expect(least[i]).toBeGreaterThan((least[i - 1] as number) + 0.3);
    expect(new Set(rested).size).toBe(1);
    const { grads } = hingeLoss.valueAndGrad(hinge.energies(training), training.labels);
    expect(grads.energies.data.every((g) => g === 0)).toBe(true);
  });

  test("even at a margin of 80 in single precision", () => {
    const { grads } = logLoss.valueAndGrad(Float32Array.of(0, 80), [0]);
    expect(grads.energies.data[0]).toBeGreaterThan(0);
    expect(grads.energies.data[1]).toBeLessThan(0);
  });
});

test("the loss functional of a trained model: the mean over points held out, in any shards, plus the regulariser", () => {
  const model = linear(13);
  train(model, training, nllLoss as AnyLoss, {}, { steps: 200 });
  const regularizer = (w: Float64Array) => ({
    value: 0.05 * w.reduce((sum, x) => sum + x * x, 0),
    grad: w.map((x) => 0.1 * x),
  });
  const losses = nllLoss(model.energies(heldOut), heldOut.labels, { reduction: "none" }).data;
  const whole = lossFunctional({ regularizer }).add(losses);
  const shards = [0, 1, 2].map((s) => lossFunctional().add(losses.filter((_, i) => i % 3 === s)));
  const merged = shards.reduceRight((all, shard) => all.merge(shard), lossFunctional({ regularizer }));
  expect(merged.value(model.weights)).toBe(whole.value(model.weights));
  expect(whole.mean).toBeCloseTo(nllLoss(model.energies(heldOut), heldOut.labels), 14);
});
