/** perdida/energy: what the losses of energies say, answer by answer, and what comes out where the field has traps. */
import fc from "fast-check";
import { allocate, crossEntropyLoss } from "perdida";
import * as energy from "perdida/energy";
import {
  contrastiveLoss,
  type Energies,
  energyLoss,
  hingeLoss,
  logLoss,
  lvq2Loss,
  mceLoss,
  meeLoss,
  mostOffending,
  nllLoss,
  perceptronLoss,
  squareExponentialLoss,
  squareSquareLoss,
} from "perdida/energy";
import { describe, expect, test } from "vitest";
import type { Input, Tensor } from "../ts/types.js";
import { expectClose, expectSameBits } from "./support/close.js";
import { ENGINES, on } from "./support/engines.js";
import { randomStream } from "./support/generate.js";

/** All losses, as functions of energies and answers with any options. */
type AnyLoss = {
  (energies: Energies, answers: Input, options?: object): number;
  valueAndGrad(
    energies: Energies,
    answers: Input,
    options?: object,
  ): { value: number | Tensor; grads: { energies: Tensor } };
};
const LOSSES = {
  energyLoss,
  perceptronLoss,
  hingeLoss,
  logLoss,
  lvq2Loss,
  mceLoss,
  squareSquareLoss,
  squareExponentialLoss,
  nllLoss,
  meeLoss,
  contrastiveLoss,
} as unknown as Record<string, AnyLoss>;
/** Those that look at the most offending incorrect answer. */
const OF_OFFENDER = [
  "hingeLoss",
  "logLoss",
  "lvq2Loss",
  "mceLoss",
  "squareSquareLoss",
  "squareExponentialLoss",
];
/** The losses with options that make a difference. */
const VARIANTS: readonly [name: string, options: object][] = [
  ...Object.keys(LOSSES).map((name) => [name, {}] as [string, object]),
  ["contrastiveLoss", { surrogate: "log" }],
  ["nllLoss", { beta: 7 }],
];

/** What a loss gives for each sample, with the gradient. */
function single(name: string, energies: Energies, answers: Input, options: object = {}) {
  const { value, grads } = (LOSSES[name] as AnyLoss).valueAndGrad(energies, answers, {
    ...options,
    reduction: "none",
  });
  return { values: (value as Tensor).data, grad: grads.energies.data, shape: grads.energies.shape };
}

function draw(n: number, random: () => number, scale = 2): number[] {
  return Array.from({ length: n }, () => scale * (random() + random() + random() - 1.5));
}

describe.each(ENGINES)("on the %s engine", (engine) => {
  const here = (title: string, run: () => void): void => {
    test(title, () => on(engine, run));
  };

  describe("the most offending incorrect answer", () => {
    here("is the lowest that is not the correct one, the first where two tie", () => {
      const energies = [
        [0.5, 2, 1, 1, 3],
        [7, 7, 7, 7, 7],
        [5, 4, 3, 2, 1],
      ];
      const { index, energy } = mostOffending(energies, [0, 0, 4]);
      expect([...index]).toEqual([2, 1, 3]);
      expect([...energy]).toEqual([1, 7, 2]);
      expect(index).toBeInstanceOf(Int32Array);
      expect(energy).toBeInstanceOf(Float64Array);
      const single = mostOffending(new Float32Array([0, 3, 2]), Int32Array.of(0));
      expect([...single.index]).toEqual([2]);
      expect(single.energy).toBeInstanceOf(Float32Array);
      // answers are as exact in one precision as in the other
      expect(mostOffending(new Float32Array([0, 3, 2]), [0]).energy).toBeInstanceOf(Float32Array);
      expect(hingeLoss.valueAndGrad(new Float32Array([0, 3, 2]), 0).grads.energies.data).toBeInstanceOf(
        Float32Array,
      );
    });

    here("is the same as a search one by one finds", () => {
      const random = randomStream(1);
      for (let run = 0; run < 200; run++) {
        const columns = 1 + Math.floor(random() * 70);
        const dimensions = Math.floor(random() * 3);
        const energies = Float32Array.from({ length: columns }, () =>
          random() < 0.2 ? 1 : random() < 0.05 ? Infinity : random() * 3,
        );
        const points = Array.from({ length: columns }, () =>
          Array.from({ length: dimensions }, () => Math.floor(random() * 3)),
        );
        const answer = Math.floor(random() * columns);
        const epsilon = random() < 0.5 ? 0 : 1;
        let found = -1;
        for (let k = 0; k < columns; k++) {
          const distance = Math.hypot(
            ...(points[k] as number[]).map((x, d) => x - ((points[answer] as number[])[d] as number)),
          );
          if (k === answer || (dimensions > 0 && distance <= epsilon)) continue;
          if ((energies[k] as number) < (found < 0 ? Infinity : (energies[found] as number))) found = k;
        }
        const options = dimensions > 0 ? { coordinates: points, epsilon } : {};
        const { index, energy } = mostOffending(energies, answer, options);
        expect([...index], JSON.stringify({ run })).toEqual([found]);
        expect(energy[0]).toBe(found < 0 ? Infinity : energies[found]);
      }
    });

    here("lies farther than epsilon, not at it; coordinates may differ from sample to sample", () => {
      const energies = [
        [0, 1, 2, 3],
        [0, 1, 2, 3],
      ];
      const at = (options: object) => [...mostOffending(energies, [0, 0], options).index];
      expect(at({ coordinates: [0, 0.5, 1, 1.5], epsilon: 0.5 })).toEqual([2, 2]);
      expect(at({ coordinates: [0, 0.5, 1, 1.5], epsilon: 0.49 })).toEqual([1, 1]);
      expect(at({ coordinates: [0, 0.5, 1, 1.5], epsilon: 1.5 })).toEqual([-1, -1]);
      expect(at({ coordinates: [0, 0, 1, 1.5] })).toEqual([2, 2]);
      const clouds = [
        [[0], [1], [2], [3]],
        [[0], [9], [1], [1]],
      ];
      expect(at({ coordinates: clouds, epsilon: 1 })).toEqual([2, 1]);
      // a triangle with sides 3, 4 and 5
      const triangle = [
        [0, 0],
        [3, 4],
        [3, 0],
      ];
      expect([...mostOffending([0, 1, 2], 0, { coordinates: triangle, epsilon: 4.9 }).index]).toEqual([1]);
      expect([...mostOffending([0, 1, 2], 0, { coordinates: triangle, epsilon: 5 }).index]).toEqual([-1]);
    });

    here("is NaN where an incorrect energy is, and only there", () => {
      const energies = [
        [0, 1, Number.NaN, -5, Number.NaN],
        [0, 1, 2, 3, 4],
        [Number.NaN, 1, 2, 3, 4],
      ];
      const { index, energy } = mostOffending(energies, [0, 0, 0]);
      expect([...index]).toEqual([2, 1, 1]);
      expect([...energy]).toEqual([Number.NaN, 1, 1]);
      const wide = new Float32Array(67).fill(1);
      wide[65] = Number.NaN;
      expect([...mostOffending(wide, 3).index]).toEqual([65]);
      wide[30] = Number.NaN;
      expect([...mostOffending(wide, 3).index]).toEqual([30]);
    });

    here("of samples that have not as many answers each", () => {
      const { index, energy } = mostOffending([[3, 1], [2, 5, 4], [7]], [1, 0, 0]);
      expect([...index]).toEqual([0, 2, -1]);
      expect([...energy]).toEqual([3, 4, Infinity]);
    });

    here("is -1 and +Infinity where there is none", () => {
      for (const [energies, options] of [
        [[1], {}],
        [[1, Infinity], {}],
        [[1, 2], { mask: [1, 0] }],
        [[1, 2], { coordinates: [0, 1], epsilon: 1 }],
      ] as const) {
        const { index, energy } = mostOffending(energies, 0, options);
        expect([...index, ...energy]).toEqual([-1, Infinity]);
      }
    });
  });

  describe("where no incorrect answer is far enough", () => {
    const cases: [string, number][] = [
      ["hingeLoss", 0],
      ["logLoss", 0],
      ["lvq2Loss", 0],
      ["mceLoss", 0],
      ["squareSquareLoss", 9],
      ["squareExponentialLoss", 9],
      ["contrastiveLoss", 0],
      ["perceptronLoss", 0],
      ["nllLoss", 0],
      ["meeLoss", 0],
    ];
    for (const [name, expected] of cases) {
      here(`${name} is ${expected}`, () => {
        const slope = expected === 9 ? 6 : 0;
        for (const own of [3, -3]) {
          const { values, grad } = single(name, [[own, 99]], [0], { mask: [[true, false]] });
          expect([...values]).toEqual([expected]);
          expect([...grad].map((g) => g + 0)).toEqual([Math.sign(own) * slope + 0, 0]);
        }
        if (!OF_OFFENDER.includes(name)) return;
        const near = single(name, [[3, 1, 2]], [0], { coordinates: [0, 1, 1], epsilon: 1 });
        expect([...near.values]).toEqual([expected]);
        expect([...near.grad].map((g) => g + 0)).toEqual([slope, 0, 0]);
      });
    }

    here("an infinite energy of the correct answer does not make it NaN", () => {
      for (const name of ["hingeLoss", "logLoss", "lvq2Loss", "mceLoss", "contrastiveLoss"]) {
        expect([...single(name, [[Infinity, 1]], [0], { mask: [[1, 0]] }).values], name).toEqual([0]);
      }
    });
  });

  here("energies that are all infinite have no probabilities, with a measure as without", () => {
    for (const columns of [1, 3, 9]) {
      for (const dtype of [Float32Array, Float64Array]) {
        const energies = new dtype(columns).fill(Infinity);
        const nothing = new dtype(columns).fill(Number.NaN);
        for (const options of [{}, { logMeasure: new dtype(columns).fill(-3) }])
          expectSameBits(single("nllLoss", energies, 0, options).grad, nothing, JSON.stringify(options));
      }
    }
  });

  here("contrastiveLoss keeps its margin where energies are large and near each other", () => {
    for (const surrogate of ["hinge", "log"]) {
      for (const columns of [3, 9]) {
        for (const energy of [2e9, 1e30]) {
          const energies = new Float32Array(columns).fill(energy);
          const { values, grad } = single("contrastiveLoss", energies, 1, { surrogate, margin: 1 });
          const each = surrogate === "hinge" ? 1 : Math.log1p(Math.E);
          expect(values[0]).toBeCloseTo((columns - 1) * each, 5);
          expect(grad[0]).toBeCloseTo(surrogate === "hinge" ? -1 : -1 / (1 + Math.exp(-1)), 6);
        }
      }
    }
  });

  describe("samples with different numbers of answers", () => {
    const samples = [[1, 0.5, 2.5], [0.25], [3, 1, 2, 0, 5, 4, 1, 2, 3, 0.125, 1], [2, 1]];
    const answers = [0, 0, 3, 1];

    for (const [name, options] of VARIANTS) {
      here(`${name} ${JSON.stringify(options)}: ragged, masked and alone are the same bits`, () => {
        for (const dtype of [Float32Array, Float64Array]) {
          const columns = 11;
          const ragged = single(
            name,
            samples.map((s) => dtype.from(s)),
            Int32Array.from(answers),
            options,
          );
          expect(ragged.shape).toEqual([4, columns]);
          const data = new dtype(4 * columns).fill(Number.NaN);
          const mask = new Uint8Array(data.length);
          samples.forEach((s, i) => {
            data.set(s, i * columns);
            mask.fill(1, i * columns, i * columns + s.length);
          });
          const shape = [4, columns];
          const masked = single(name, { data, shape }, Int32Array.from(answers), {
            ...options,
            mask: { data: mask, shape },
          });
          expectSameBits(masked.values, ragged.values, "values");
          expectSameBits(masked.grad, ragged.grad, "gradients");
          samples.forEach((s, i) => {
            const alone = single(name, dtype.from(s), Int32Array.of(answers[i] as number), options);
            expectSameBits(alone.values, ragged.values.subarray(i, i + 1), `sample ${i}`);
            expectSameBits(
              alone.grad,
              ragged.grad.subarray(i * columns, i * columns + s.length),
              `gradient ${i}`,
            );
            const behind = ragged.grad.subarray(i * columns + s.length, (i + 1) * columns);
            expectSameBits(behind, new dtype(behind.length), "behind");
          });
        }
      });

      here(
        `${name} ${JSON.stringify(options)}: a ragged mask is one with nothing behind the energies`,
        () => {
          const holes = [[1, 0, 1], [1], [1, 1, 0, 1, 0, 1, 1, 0, 1, 1, 0], [true, true]] as (
            | number
            | boolean
          )[][];
          const wide = (rows: readonly (readonly (number | boolean)[])[], behind: number) =>
            rows.map((row) => Array.from({ length: 11 }, (_, k) => Number(row[k] ?? behind)));
          const ragged = single(name, samples, answers, { ...options, mask: holes });
          const masked = single(name, wide(samples, Number.NaN), answers, {
            ...options,
            mask: wide(holes, 0),
          });
          expectSameBits(ragged.values, masked.values, "values");
          expectSameBits(ragged.grad, masked.grad, "gradients");
          const all = samples.map((row) => row.map(() => true));
          const present = single(name, samples, answers, { ...options, mask: all });
          const none = single(name, samples, answers, options);
          expectSameBits(present.values, none.values, "all there: values");
          expectSameBits(present.grad, none.grad, "all there: gradients");
        },
      );

      here(`${name} ${JSON.stringify(options)}: leaves out what a mask leaves out anywhere`, () => {
        const mask = [true, false, true, true, false, true];
        const full = [1, Number.NaN, 0.5, 2, -Infinity, 0.75];
        const kept = full.filter((_, k) => mask[k]);
        const a = single(name, full, 2, { ...options, mask });
        const b = single(name, kept, 1, options);
        expectClose(a.values, b.values, 1e-14, "values");
        expectClose(
          a.grad.filter((_, k) => mask[k]),
          b.grad,
          1e-14,
          "gradients",
        );
        expect(a.grad[1]).toBe(0);
        expect(a.grad[4]).toBe(0);
      });
    }
  });

  here(
    "a mask over energies in the core's memory: they are passed over there as well, and stay as they are",
    () => {
      const energies = allocate([2, 3], "float64");
      energies.data.set([1, Number.NaN, 2, Number.NaN, 3, 4]);
      const mask = { data: Uint8Array.of(1, 0, 1, 0, 1, 1), shape: [2, 3] };
      for (const [name, options] of VARIANTS) {
        const inside = single(name, energies, [0, 2], { ...options, mask });
        const outside = single(name, { data: energies.data.slice(), shape: [2, 3] }, [0, 2], {
          ...options,
          mask,
        });
        expectSameBits(inside.values, outside.values, name);
        expectSameBits(inside.grad, outside.grad, name);
        expect(inside.values.every(Number.isFinite)).toBe(true);
      }
      expect([...energies.data]).toEqual([1, Number.NaN, 2, Number.NaN, 3, 4]);
      energies.dispose();
    },
  );

  here("a row that a getter gives is asked for once", () => {
    let asked = 0;
    const rows = Object.defineProperty([[1], [2, 3], [4]], 1, {
      get: () => (asked++ === 0 ? [2, 3] : [9, 9, 9, 9, 9, 9]),
    });
    expectSameBits(
      single("nllLoss", rows, [0, 0, 0]).values,
      single("nllLoss", [[1], [2, 3], [4]], [0, 0, 0]).values,
      "values",
    );
  });

  here("what a measure or a margin says of an answer that is not there is not looked at", () => {
    const mask = [true, false, true, true];
    const energies = [1, 5, 0.5, 2];
    const given = [0.5, Number.NaN, -0.25, 0];
    const [kept, alone] = [energies, given].map((row) => row.filter((_, k) => mask[k])) as [
      number[],
      number[],
    ];
    const a = single("nllLoss", energies, 2, { mask, logMeasure: given });
    const b = single("nllLoss", kept, 1, { logMeasure: alone });
    expectClose(a.values, b.values, 1e-14, "nllLoss");
    expectClose(
      a.grad.filter((_, k) => mask[k]),
      b.grad,
      1e-14,
      "nllLoss",
    );
    for (const surrogate of ["hinge", "log"]) {
      const c = single("contrastiveLoss", energies, 2, { mask, surrogate, marginMatrix: given });
      const d = single("contrastiveLoss", kept, 1, { surrogate, marginMatrix: alone });
      expectClose(c.values, d.values, 1e-14, surrogate);
    }
  });

  describe("the formulas", () => {
    const random = randomStream(7);
    const energies = Array.from({ length: 6 }, () => draw(5, random));
    const answers = [0, 1, 2, 3, 4, 0];
    const lowest = (row: number[], except = -1): number => Math.min(...row.filter((_, k) => k !== except));
    const expected: Record<string, (e: number, o: number, row: number[], y: number) => number> = {
      energyLoss: (e) => e,
      perceptronLoss: (e, _, row) => e - lowest(row),
      hingeLoss: (e, o) => Math.max(0, 1 + e - o),
      logLoss: (e, o) => Math.log(1 + Math.exp(e - o)),
      lvq2Loss: (e, o) => Math.min(1, Math.max(0, e - o)),
      mceLoss: (e, o) => 1 / (1 + Math.exp(o - e)),
      squareSquareLoss: (e, o) => e ** 2 + Math.max(0, 1 - o) ** 2,
      squareExponentialLoss: (e, o) => e ** 2 + Math.exp(-o),
      nllLoss: (e, _, row) => e + Math.log(row.reduce((sum, x) => sum + Math.exp(-x), 0)),
      meeLoss: (e, _, row) => 1 - Math.exp(-e) / row.reduce((sum, x) => sum + Math.exp(-x), 0),
      contrastiveLoss: (e, _, row, y) =>
        row.reduce((sum, x, k) => sum + (k === y ? 0 : Math.max(0, e - x + 1)), 0),
    };
    for (const name in LOSSES) {
      here(name, () => {
        const { values } = single(name, energies, answers);
        const formula = energies.map((row, i) => {
          const y = answers[i] as number;
          return expected[name]?.(row[y] as number, lowest(row, y), row, y) as number;
        });
        expectClose(values, formula, 1e-14, name);
      });
    }

    here("the squares and the exponential weigh as their options say", () => {
      expect(squareExponentialLoss([[2, 0]], [0], { beta: 0.25 })).toBe(4.25);
      expect(squareSquareLoss([[2, 0]], [0], { margin: 3 })).toBe(13);
      expect(hingeLoss([[2, 0]], [0], { margin: 3 })).toBe(5);
      expect(lvq2Loss([[2, 0]], [0], { margin: 3 })).toBe(2);
      expect(lvq2Loss([[9, 0]], [0], { margin: 3 })).toBe(3);
    });
  });

  describe("one loss and another", () => {
    const random = randomStream(11);
    const rows = Array.from({ length: 8 }, () => draw(13, random, 6));
    const answers = rows.map((_, i) => (5 * i) % 13);

    here("nllLoss with beta 1 is the cross-entropy of the energies' negatives", () => {
      const ours = nllLoss.valueAndGrad(rows, answers);
      const theirs = crossEntropyLoss.valueAndGrad(
        rows.map((row) => row.map((e) => -e)),
        answers,
      );
      expectClose([ours.value], [theirs.value], 1e-14, "value");
      expectClose(
        ours.grads.energies.data,
        theirs.grads.input.data.map((g) => -g),
        1e-14,
        "gradient",
      );
    });

    here("nllLoss becomes perceptronLoss as beta grows, and at 1e6 nothing overflows", () => {
      const limit = perceptronLoss.valueAndGrad(rows, answers);
      let before = Infinity;
      for (const beta of [1, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e300, Infinity]) {
        const { value, grads } = nllLoss.valueAndGrad(rows, answers, { beta });
        const apart = value - limit.value;
        // log K / beta is all that they can be apart
        expect(apart).toBeLessThanOrEqual(Math.log(13) / beta + 1e-15 * Math.abs(value));
        expect(apart).toBeGreaterThanOrEqual(-1e-15 * Math.abs(value));
        expect(apart).toBeLessThanOrEqual(before);
        before = apart;
        if (beta < 1e4) continue;
        expectClose(grads.energies.data, limit.grads.energies.data, 1e-12, `gradient at ${beta}`);
      }
      const big = rows.map((row) => Float32Array.from(row, (e) => e * 1e30));
      const { value, grads } = nllLoss.valueAndGrad(big, Int32Array.from(answers), { beta: 1e6 });
      expect(Number.isFinite(value)).toBe(true);
      expect(grads.energies.data.every(Number.isFinite)).toBe(true);
    });

    here("nllLoss over the points of a quadrature is the integral", () => {
      // E(y) = (y - 1)^2 / 2 over the real line, unevenly spaced: y = sinh(t)
      const t = Array.from({ length: 4001 }, (_, i) => (i - 2000) / 500);
      const y = t.map(Math.sinh);
      const logMeasure = t.map((t) => Math.log(Math.cosh(t) / 500));
      for (const beta of [0.5, 1, 30]) {
        const loss = nllLoss([y.map((y) => (y - 1) ** 2 / 2)], [2000], { beta, logMeasure });
        expect(loss).toBeCloseTo(0.5 + Math.log(Math.sqrt((2 * Math.PI) / beta)) / beta, 9);
      }
    });

    here("a measure of the samples' own: the same as that for all where they are the same", () => {
      const measure = draw(13, random);
      const shared = nllLoss.valueAndGrad(rows, answers, { logMeasure: measure });
      const each = nllLoss.valueAndGrad(rows, answers, { logMeasure: rows.map(() => measure) });
      expect(each).toEqual(shared);
      // twice the weight is as one answer twice
      const twice = nllLoss([[1, 2]], [0], { logMeasure: [0, Math.log(2)] });
      expect(twice).toBeCloseTo(nllLoss([[1, 2, 2]], [0]), 14);
    });

    here("with two answers contrastiveLoss is hingeLoss, or logLoss", () => {
      const pairs = rows.map((row) => row.slice(0, 2));
      const of = rows.map((_, i) => i % 2);
      expectClose(
        single("contrastiveLoss", pairs, of).values,
        single("hingeLoss", pairs, of).values,
        1e-14,
        "hinge",
      );
      const options = { surrogate: "log", margin: 0 };
      const [a, b] = [single("contrastiveLoss", pairs, of, options), single("logLoss", pairs, of)];
      expectClose(a.values, b.values, 1e-14, "log");
      expectClose(a.grad, b.grad, 1e-14, "log");
    });

    here("contrastiveLoss: a matrix by answers, one by samples, a function and a number agree", () => {
      const margin = (y: number, answer: number): number => Math.abs(y - answer) / 4;
      const matrix = Array.from({ length: 13 }, (_, a) => Array.from({ length: 13 }, (_, y) => margin(y, a)));
      for (const surrogate of ["hinge", "log"] as const) {
        const byAnswer = contrastiveLoss.valueAndGrad(rows, answers, { surrogate, marginMatrix: matrix });
        const bySample = contrastiveLoss.valueAndGrad(rows, answers, {
          surrogate,
          marginMatrix: answers.map((a) => matrix[a] as number[]),
        });
        expect(bySample).toEqual(byAnswer);
        expect(contrastiveLoss.valueAndGrad(rows, answers, { surrogate, marginMatrix: margin })).toEqual(
          byAnswer,
        );
        expect(contrastiveLoss.valueAndGrad(rows, answers, { surrogate, margin })).toEqual(byAnswer);
        const half = { surrogate, marginMatrix: () => 0.5 };
        const [a, b] = [
          contrastiveLoss(rows, answers, half),
          contrastiveLoss(rows, answers, { surrogate, margin: 0.5 }),
        ];
        expect(a).toBeCloseTo(b, 12);
        // the matrix counts, where there is one
        for (const other of [0.5, () => 0.5])
          expect(
            contrastiveLoss.valueAndGrad(rows, answers, { surrogate, marginMatrix: matrix, margin: other }),
          ).toEqual(byAnswer);
      }
    });

    here("a margin function is asked once for each incorrect answer that is there, and for no other", () => {
      const asked: string[] = [];
      contrastiveLoss([[1, 2], [1, 2, 3, 4], [5]], [1, 2, 0], {
        margin: (y, answer, sample) => {
          asked.push(`${sample}:${answer}:${y}`);
          return 1;
        },
      });
      expect(asked).toEqual(["0:1:0", "1:2:0", "1:2:1", "1:2:3"]);
    });

    here("contrastiveLoss with log keeps the digits of small losses and of large ones", () => {
      const far = new Float32Array(1001).fill(18.5);
      far[0] = 0;
      const loss = contrastiveLoss(far, Int32Array.of(0), { surrogate: "log", margin: 0 });
      expect(loss / (1000 * Math.log1p(Math.exp(-18.5)))).toBeCloseTo(1, 5);
      const near = new Float32Array(100_001).fill(-3);
      near[0] = 0;
      const large = contrastiveLoss(near, Int32Array.of(0), { surrogate: "log", margin: 0 });
      expect(large / (100_000 * Math.log1p(Math.exp(3)))).toBeCloseTo(1, 5);
    });
  });

  describe("the slopes at the kinks", () => {
    here("are 0", () => {
      expect([...single("hingeLoss", [[0, 1]], [0]).grad].map((g) => g + 0)).toEqual([0, 0]);
      expect([...single("lvq2Loss", [[1, 1]], [0]).grad].map((g) => g + 0)).toEqual([0, 0]);
      expect([...single("lvq2Loss", [[2, 1]], [0]).grad].map((g) => g + 0)).toEqual([0, 0]);
      expect([...single("contrastiveLoss", [[0, 1, 0.5]], [0]).grad]).toEqual([1, 0, -1]);
    });
    here("of the perceptron are 0 where the correct answer is the first of the lowest", () => {
      expect([...single("perceptronLoss", [[1, 1, 2]], [0]).grad]).toEqual([0, 0, 0]);
      expect([...single("perceptronLoss", [[1, 1, 2]], [1]).grad]).toEqual([-1, 1, 0]);
    });
  });

  here("NaN and infinities stay in their own sample", () => {
    const bad = [
      [Number.NaN, 1, 2],
      [1, Number.NaN, 2],
      [Infinity, -Infinity, 0],
    ];
    for (const [name, options] of VARIANTS) {
      const clean = single(
        name,
        [
          [1, 2, 3],
          [3, 2, 1],
        ],
        [0, 1],
        options,
      );
      const mixed = single(name, [[1, 2, 3], ...bad, [3, 2, 1]], [0, 0, 0, 0, 1], options);
      expectSameBits([mixed.values[0], mixed.values[4]] as number[], clean.values, name);
      expectSameBits([...mixed.grad.slice(0, 3), ...mixed.grad.slice(12)], clean.grad, name);
    }
  });

  here("an empty batch has a mean of NaN, a sum of 0, and nothing for each", () => {
    for (const name in LOSSES) {
      const none = { data: new Float32Array(0), shape: [0, 3] };
      const loss = LOSSES[name] as AnyLoss;
      expect(loss(none, new Int32Array(0)), name).toBeNaN();
      expect(loss(none, new Int32Array(0), { reduction: "sum" }), name).toBe(0);
      expect([...single(name, none, new Int32Array(0)).values]).toEqual([]);
    }
  });
});

describe("a sample's loss does not depend on its batch", () => {
  test.each(VARIANTS)("%s %j", (name, options) => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 2 ** 31 }),
        fc.integer({ min: 1, max: 150 }),
        fc.integer({ min: 2, max: 5 }),
        fc.boolean(),
        (seed, columns, rows, float64) => {
          const random = randomStream(seed);
          const type = float64 ? Float64Array : Float32Array;
          const data = type.from(draw(rows * columns, random));
          const answers = Int32Array.from({ length: rows }, () => Math.floor(random() * columns));
          const all = single(name, { data, shape: [rows, columns] }, answers, options);
          for (let i = 0; i < rows; i++) {
            const row = data.slice(i * columns, (i + 1) * columns);
            const alone = single(name, row, Int32Array.of(answers[i] as number), options);
            expectSameBits(alone.values, all.values.subarray(i, i + 1), "value");
            expectSameBits(alone.grad, all.grad.subarray(i * columns, (i + 1) * columns), "gradient");
          }
        },
      ),
      { numRuns: 25 },
    );
  });
});

describe("what does not fit is refused before anything is written", () => {
  const cases: [string, () => unknown, string, RegExp][] = [
    ["a rank", () => hingeLoss({ data: new Float32Array(8), shape: [2, 2, 2] }, [0, 0]), "RANK", /energies/],
    [
      "no answers",
      () => hingeLoss({ data: new Float32Array(0), shape: [2, 0] }, [0, 0]),
      "SHAPE",
      /at least one answer/,
    ],
    ["no energies", () => hingeLoss([], 0), "SHAPE", /energies is of shape \[0\], .*at least one answer/],
    [
      "too few answers",
      () => hingeLoss([[1, 2]], [0, 1]),
      "SHAPE",
      /answers is of shape \[2\], expected one answer per sample: \[1\]/,
    ],
    [
      "answers for one sample",
      () => hingeLoss([1, 2], [0, 1]),
      "SHAPE",
      /answers is of shape \[2\], expected one answer$/,
    ],
    ["an answer that is none", () => nllLoss([[1, 2]], [2]), "LABEL", /answers\[0\] is 2, .*\[0, 2\)/],
    ["half an answer", () => nllLoss([[1, 2]], [0.5]), "LABEL", /answers\[0\] is 0\.5/],
    ["an answer behind a ragged sample", () => nllLoss([[1], [1, 2]], [1, 0]), "LABEL", /answers\[0\] is 1/],
    [
      "an answer that is masked out",
      () => meeLoss([[1, 2]], [1], { mask: [[1, 0]] }),
      "LABEL",
      /answers\[0\] is 1/,
    ],
    ["an empty ragged sample", () => nllLoss([[], [1, 2]], [0, 0]), "LABEL", /answers\[0\] is 0/],
    ["a mask's shape", () => nllLoss([[1, 2]], [1], { mask: [1, 0] }), "SHAPE", /mask/],
    ["a mask's number", () => nllLoss([[1, 2]], [1], { mask: [[1, 2]] }), "RANGE", /mask\[0\]\[1\] is 2/],
    [
      "a mask beside ragged energies",
      () =>
        nllLoss([[1], [1, 2]], [0, 0], {
          mask: [
            [1, 1],
            [1, 1],
          ],
        }),
      "SHAPE",
      /mask is of shape \[2, 2\], expected one array per sample, as long as its energies/,
    ],
    [
      "a ragged mask of other lengths",
      () => nllLoss([[1], [1, 2]], [0, 0], { mask: [[1, 1], [1]] }),
      "SHAPE",
      /mask is ragged, expected one array per sample, as long as its energies/,
    ],
    [
      "a ragged mask beside energies that are not",
      () =>
        nllLoss(
          [
            [1, 2],
            [1, 2],
          ],
          [0, 0],
          { mask: [[1, 1], [1]] },
        ),
      "SHAPE",
      /mask is ragged, expected \[2, 2\], as energies/,
    ],
    ["epsilon alone", () => hingeLoss([[1, 2]], [1], { epsilon: 1 }), "OPTION", /coordinates/],
    [
      "a negative epsilon",
      () => hingeLoss([[1, 2]], [1], { coordinates: [0, 1], epsilon: -1 }),
      "NUMBER",
      /epsilon/,
    ],
    [
      "coordinates of others",
      () => mostOffending([[1, 2]], [1], { coordinates: [0, 1, 2] }),
      "SHAPE",
      /coordinates/,
    ],
    ["a beta of 0", () => nllLoss([[1, 2]], [1], { beta: 0 }), "NUMBER", /beta/],
    ["a measure of others", () => nllLoss([[1, 2]], [1], { logMeasure: [1, 2, 3] }), "SHAPE", /logMeasure/],
    [
      "a matrix of others",
      () => contrastiveLoss([[1, 2]], [1], { marginMatrix: [[1, 2, 3]] }),
      "SHAPE",
      /marginMatrix/,
    ],
    [
      "a margin that is none",
      () => contrastiveLoss([[1, 2]], [1], { margin: () => "1" as unknown as number }),
      "TYPE",
      /margin\(0, 1, 0\) is "1"/,
    ],
    [
      "a surrogate that is none",
      () => contrastiveLoss([[1, 2]], [1], { surrogate: "square" as "log" }),
      "OPTION",
      /"hinge" or "log"/,
    ],
    [
      "an option of another loss",
      () => energyLoss([[1, 2]], [1], { margin: 1 } as object),
      "UNKNOWN_OPTION",
      /margin/,
    ],
    ["a ragged tensor", () => nllLoss([[1, 2], [[1]] as unknown as number[]], [0, 0]), "SHAPE", /energies/],
  ];
  test.each(cases)("%s", (_, run, code, message) => {
    try {
      run();
    } catch (error) {
      expect((error as { code: string }).code).toBe(code);
      expect((error as Error).message).toMatch(message);
      return;
    }
    expect.fail("nothing was thrown");
  });

  test("nothing is written", () => {
    const grad = new Float64Array(4).fill(7);
    const options = { out: { grads: { energies: grad } } };
    expect(() =>
      nllLoss.valueAndGrad(
        [
          [1, 2],
          [3, 4],
        ],
        [0, 2],
        options,
      ),
    ).toThrow(/answers\[1\]/);
    expect([...grad]).toEqual([7, 7, 7, 7]);
  });
});

test("the entry is a list of its own: it does not pass on the main one", () => {
  expect(Object.keys(energy)).toEqual(expect.arrayContaining([...Object.keys(LOSSES), "mostOffending"]));
  expect(energy).not.toHaveProperty("crossEntropyLoss");
  expect(energy).not.toHaveProperty("engine");
});
