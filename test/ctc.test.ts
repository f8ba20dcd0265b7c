/**
 * CTC: against sums over all paths, against a lattice of logarithms, and laws: what comes out for a sample does not depend on
 * the batch, the place or the padding around it.
 */
import { describe, expect, test } from "vitest";
import {
  allocate,
  crossEntropyLoss,
  ctcLoss,
  engine,
  logSoftmax,
  setEngine,
  softmax,
  tensor,
} from "../ts/index.js";
import { expectClose, expectSameBits } from "./support/close.js";
import { byEnumeration, byLogarithms, draw, gradientOf, stepsFor } from "./support/ctc.js";
import { ENGINES, on } from "./support/engines.js";
import { randomStream } from "./support/generate.js";

const DEEP = process.env.PERDIDA_DEEP === "1";
const PRECISIONS = [
  ["float64", Float64Array, 1e-11],
  ["float32", Float32Array, 5e-6],
] as const;

/** One call for one sample: its loss and its gradient. */
function one(
  logits: Float32Array | Float64Array,
  classes: number,
  target: readonly number[] | Int32Array,
  options: Record<string, unknown> = {},
): { value: number; grad: ArrayLike<number> } {
  const x = tensor(logits, [logits.length / classes, classes]);
  const { value, grads } = ctcLoss.valueAndGrad(x, target, { reduction: "sum", ...options });
  return { value: value as number, grad: grads.logits.data };
}

/** All targets of up to so many labels out of the classes without the blank. */
function* targetsUpTo(length: number, classes: number, blank: number): Generator<number[]> {
  yield [];
  if (length === 0) return;
  for (const rest of targetsUpTo(length - 1, classes, blank)) {
    if (rest.length < length - 1) continue;
    for (let c = 0; c < classes; c++) if (c !== blank) yield [...rest, c];
  }
  for (let shorter = length - 1; shorter > 0; shorter--) {
    for (const target of targetsUpTo(shorter, classes, blank)) if (target.length === shorter) yield target;
  }
}

describe.each(ENGINES)("ctcLoss on %s", { timeout: 60_000 }, (name) => {
  describe.each(PRECISIONS)("in %s", (_dtype, Numbers, tolerance) => {
    test("is that of logarithms for flat logits, which an untrained network gives", () => {
      on(name, () => {
        for (const [steps, classes, target] of [
          [28, 2, new Array(9).fill(1)],
          [19, 9, [1, 2, 3, 4, 5, 6, 7, 8, 1]],
          [40, 4, Array.from({ length: 20 }, (_, i) => 1 + (i % 3))],
        ] as const) {
          const logits = new Numbers(steps * classes).fill(1.25);
          const known = byLogarithms(logits, classes, target, 0);
          const { value, grad } = one(logits, classes, target);
          const what = `${steps} steps, ${classes} classes`;
          expectClose([value], [known.loss], tolerance, what);
          expectClose(grad, gradientOf(logits, classes, known), tolerance, what);
        }
      });
    });
    test("is the sum over all paths", () => {
      on(name, () => {
        const random = randomStream(7);
        for (const [steps, classes, blank] of [
          [1, 2, 0],
          [2, 2, 1],
          [3, 2, 0],
          [3, 3, 2],
          [4, 3, 1],
          [5, 3, 0],
          [6, 2, 0],
          [4, 4, 3],
        ] as const) {
          const logits = Numbers.from(Float32Array.from({ length: steps * classes }, () => 6 * random() - 3));
          for (const target of new Set(targetsUpTo(3, classes, blank))) {
            const known = byEnumeration(logits, classes, target, blank);
            const { value, grad } = one(logits, classes, target, { blank });
            const what = `T ${steps}, C ${classes}, target ${target}`;
            if (known.loss === Infinity) {
              expect(value, what).toBe(Infinity);
              expect(Array.from(grad).every(Number.isNaN), what).toBe(true);
              continue;
            }
            expectClose([value], [known.loss], tolerance, what);
            expectClose(grad, gradientOf(logits, classes, known), tolerance, what);
          }
        }
      });
    });

    test("agrees with a lattice of logarithms", () => {
      on(name, () => {
        for (const [seed, steps, classes, labels, scale] of [
          [1, 30, 5, 12, 2],
          [2, 100, 20, 40, 1],
          [3, 64, 3, 31, 25],
          [4, 17, 300, 4, 8],
          [5, 300, 12, 0, 3],
          [6, 301, 12, 1, 3],
        ] as const) {
          const { logits, target } = draw({ seed, steps, classes, labels, scale });
          const known = byLogarithms(logits, classes, target, 0);
          const { value, grad } = one(Numbers.from(logits), classes, target);
          expectClose([value], [known.loss], Math.min(tolerance, 1e-6), `loss of case ${seed}`);
          expectClose(grad, gradientOf(logits, classes, known), tolerance, `gradient of case ${seed}`);
        }
      });
    });

    test("counts paths where all classes are alike", () => {
      on(name, () => {
        // S labels, r of them the same as the one before: binomial(T + S - r, 2 S) paths of C^T
        const logBinomial = (n: number, k: number): number =>
          Array.from({ length: k }, (_, i) => Math.log((n - i) / (k - i))).reduce((sum, log) => sum + log, 0);
        for (const [steps, target, repeats] of [
          [7, [1, 2, 3], 0],
          [12, [1, 2, 1, 2], 0],
          [9, [1, 1, 2], 1],
          [9, [3, 3, 3], 2],
          [5, [1, 1, 1], 2],
          // more paths than a double can count
          [2000, Array.from({ length: 700 }, (_, i) => 1 + (i % 2)), 0],
        ] as const) {
          const { value } = one(new Numbers(steps * 4), 4, target);
          const log = logBinomial(steps + target.length - repeats, 2 * target.length);
          expectClose([value], [steps * Math.log(4) - log], tolerance, `${target} in ${steps} steps`);
        }
      });
    });

    test("one step and one label: cross-entropy; no label: cross-entropy with blanks", () => {
      on(name, () => {
        const { logits } = draw({ seed: 11, steps: 6, classes: 9, labels: 0 });
        const x = Numbers.from(logits);
        const row = x.slice(9, 18);
        const expected = crossEntropyLoss.valueAndGrad(tensor(row, [1, 9]), [4]);
        const { value, grad } = one(row, 9, [4], { blank: 2 });
        expectClose([value], [expected.value], tolerance, "one label");
        expectClose(grad, expected.grads.input.data, tolerance, "its gradient");
        const blanks = crossEntropyLoss.valueAndGrad(tensor(x, [6, 9]), new Int32Array(6).fill(2), {
          reduction: "sum",
        });
        const none = one(x, 9, [], { blank: 2 });
        expectClose([none.value], [blanks.value], tolerance, "no label");
        expectClose(none.grad, blanks.grads.input.data, tolerance, "its gradient");
      });
    });

    test("a target as long as the input: one path", () => {
      on(name, () => {
        const { logits, target } = draw({ seed: 12, steps: 40, classes: 7, labels: 40, repeats: 0 });
        const x = tensor(Numbers.from(logits), [40, 7]);
        const expected = crossEntropyLoss.valueAndGrad(x, target, { reduction: "sum" });
        const { value, grad } = one(x.data, 7, target);
        expectClose([value], [expected.value], tolerance, "value");
        expectClose(grad, expected.grads.input.data, tolerance, "gradient");
        expect(one(x.data, 7, [...target, 1]).value).toBe(Infinity);
      });
    });

    test("log-probabilities are logits, a constant per step changes nothing, time runs both ways", () => {
      on(name, () => {
        const [steps, classes] = [25, 6];
        const { logits, target } = draw({ seed: 13, steps, classes, labels: 8 });
        const x = Numbers.from(logits);
        const expected = one(x, classes, target);
        const logp = logSoftmax(tensor(x, [steps, classes])).data as typeof x;
        const shifted = x.map((v, i) => v + Math.floor(i / classes));
        const reversed = x.slice();
        for (let t = 0; t < steps; t++) {
          const from = (steps - 1 - t) * classes;
          reversed.set(x.subarray(from, from + classes), t * classes);
        }
        for (const same of [logp, shifted]) {
          const { value, grad } = one(same, classes, target);
          expectClose([value], [expected.value], tolerance, "value");
          expectClose(grad, expected.grad, tolerance, "gradient");
        }
        const back = one(reversed, classes, target.slice().reverse());
        expectClose([back.value], [expected.value], tolerance, "value, reversed");
        const grad = Array.from(back.grad);
        const forth = Array.from({ length: steps }, (_, t) =>
          grad.slice((steps - 1 - t) * classes, (steps - t) * classes),
        ).flat();
        expectClose(forth, expected.grad, tolerance, "gradient, reversed");
      });
    });

    test("the gradient of each step adds up to 0", () => {
      on(name, () => {
        const [steps, classes] = [200, 11];
        const { logits, target } = draw({ seed: 14, steps, classes, labels: 60, scale: 9 });
        const { grad } = one(Numbers.from(logits), classes, target);
        for (let t = 0; t < steps; t++) {
          let sum = 0;
          for (let c = 0; c < classes; c++) sum += grad[t * classes + c] as number;
          expect(Math.abs(sum)).toBeLessThan(tolerance);
        }
      });
    });

    test("what cannot be emitted is Infinity with gradient NaN, or 0 and 0 with zeroInfinity", () => {
      on(name, () => {
        const random = randomStream(3);
        const [samples, steps, classes] = [3, 4, 3];
        const x = new Numbers(samples * steps * classes).map(() => random());
        // the first needs five steps; the others are as usual, and the last ends early
        const targets = [[1, 1, 1], [1, 2], [2]];
        const options = { reduction: "none", inputLengths: [4, 4, 3] } as const;
        const given = tensor(x, [samples, steps, classes]);
        const { value, grads } = ctcLoss.valueAndGrad(given, targets, options);
        const zero = ctcLoss.valueAndGrad(given, targets, { ...options, zeroInfinity: true });
        expect(value.data[0]).toBe(Infinity);
        expect(zero.value.data[0]).toBe(0);
        const size = steps * classes;
        expectSameBits(grads.logits.data.slice(0, size), new Array(size).fill(Number.NaN), "gradient");
        expectSameBits(zero.grads.logits.data.slice(0, size), new Array(size).fill(0), "gradient, zero");
        expectSameBits(zero.value.data.slice(1), value.data.slice(1), "other losses");
        expectSameBits(zero.grads.logits.data.slice(size), grads.logits.data.slice(size), "other gradients");
        expect(value.data.slice(1).every(Number.isFinite)).toBe(true);
        expectSameBits(
          grads.logits.data.slice(-classes),
          new Array(classes).fill(0),
          "past the last's length",
        );
        const spoilt = x.slice().fill(Number.NaN, 4, 5);
        expect(
          ctcLoss(tensor(spoilt, [samples, steps, classes]), targets, { ...options, zeroInfinity: true })
            .data[0],
        ).toBeNaN();
        // the steps past an input's length keep gradient 0 there as well
        const short = ctcLoss.valueAndGrad(given, [[1, 1], [1], [2]], {
          ...options,
          inputLengths: [2, 4, 3],
        });
        expect(Array.from(short.grads.logits.data.slice(2 * classes, size)).every((g) => g === 0)).toBe(true);
        expect(Array.from(short.grads.logits.data.slice(0, 2 * classes)).every(Number.isNaN)).toBe(true);
        expect(ctcLoss(given, targets, { inputLengths: [4, 4, 3] })).toBe(Infinity);
        expect(ctcLoss(given, targets, { inputLengths: [4, 4, 3], zeroInfinity: true })).toBeGreaterThan(0);
      });
    });

    test("a class of probability 0 is one that no path takes", () => {
      on(name, () => {
        const [steps, classes] = [5, 4];
        const { logits, target } = draw({ seed: 21, steps, classes, labels: 2, repeats: 0 });
        const x = Numbers.from(logits);
        const other = [1, 2, 3].find((c) => !target.includes(c)) as number;
        // a class that is not in the target; the blank at one step
        for (const c of [other, 0]) {
          const y = x.slice();
          y[2 * classes + c] = -Infinity;
          const low = x.slice();
          low[2 * classes + c] = -1e4;
          const [a, b] = [one(y, classes, target), one(low, classes, target)];
          expectClose([a.value], [b.value], tolerance, `value, class ${c}`);
          expectClose(a.grad, b.grad, tolerance, `gradient, class ${c}`);
          expect(a.grad[2 * classes + c]).toBe(0);
        }
        // a label that never is: no path
        const never = x.map((v, i) => (i % classes === target[0] ? -Infinity : v));
        const { value, grad } = one(never, classes, target);
        expect(value).toBe(Infinity);
        expect(Array.from(grad).every(Number.isNaN)).toBe(true);
        const zero = one(never, classes, target, { zeroInfinity: true });
        expect(zero.value).toBe(0);
        expect(Array.from(zero.grad).every((g) => g === 0)).toBe(true);
      });
    });

    test("a step that is no distribution makes its sample NaN, and no other", () => {
      on(name, () => {
        const [samples, steps, classes] = [3, 6, 4];
        const { logits } = draw({ seed: 22, steps: samples * steps, classes, labels: 0 });
        const x = Numbers.from(logits);
        const targets = [[1, 2], [3], [2, 2]];
        const options = { reduction: "none", inputLengths: [6, 5, 6] } as const;
        const expected = ctcLoss.valueAndGrad(tensor(x, [samples, steps, classes]), targets, options);
        const size = steps * classes;
        for (const [at, ...bad] of [
          [size + 9, Number.NaN],
          [size + 8, Infinity],
          [size, -Infinity, -Infinity, -Infinity, -Infinity],
          [size + 16, Number.NaN],
        ] as const) {
          for (const zeroInfinity of [false, true]) {
            const y = x.slice();
            y.set(bad, at);
            const { value, grads } = ctcLoss.valueAndGrad(tensor(y, [samples, steps, classes]), targets, {
              ...options,
              zeroInfinity,
            });
            expectSameBits(
              value.data,
              [expected.value.data[0], Number.NaN, expected.value.data[2]] as number[],
              "losses",
            );
            const grad = expected.grads.logits.data.slice();
            grad.fill(Number.NaN, size, size + 5 * classes);
            expectSameBits(grads.logits.data, grad, "gradients");
          }
        }
      });
    });

    test("logits of 1e30 drown the others, but nothing breaks", () => {
      on(name, () => {
        const [steps, classes] = [6, 4];
        const { logits } = draw({ seed: 24, steps, classes, labels: 0 });
        for (const [at, to, expected] of [
          [1, 1e30, 0],
          [3, 1e30, 1e30],
          [1, -1e30, 0],
        ] as const) {
          const x = Numbers.from(logits);
          x[2 * classes + at] = to;
          const { value, grad } = one(x, classes, [1, 2]);
          if (expected === 0) expect(value).toBeLessThan(100);
          else expectClose([value], [expected], 1e-6, "value");
          for (let t = 0; t < steps; t++) {
            let sum = 0;
            for (let c = 0; c < classes; c++) sum += grad[t * classes + c] as number;
            expect(Math.abs(sum)).toBeLessThan(1e-6);
          }
        }
      });
    });

    test("padding is never read", () => {
      on(name, () => {
        const [samples, steps, classes, labels] = [3, 9, 5, 4];
        const { logits, target } = draw({
          seed: 23,
          steps: samples * steps,
          classes,
          labels: samples * labels,
        });
        const inputLengths = [9, 4, 0];
        const targetLengths = [4, 1, 0];
        for (const layout of ["NTC", "TNC"] as const) {
          const at = (n: number, t: number): number => (layout === "NTC" ? n * steps + t : t * samples + n);
          const clean = Numbers.from(logits);
          const dirty = clean.slice();
          for (let n = 0; n < samples; n++) {
            for (let t = inputLengths[n] as number; t < steps; t++) {
              dirty.fill(Number.NaN, at(n, t) * classes, (at(n, t) + 1) * classes);
            }
          }
          const padded = target.slice();
          for (let n = 0; n < samples; n++) {
            padded.fill(-99, n * labels + (targetLengths[n] as number), (n + 1) * labels);
          }
          const shape = layout === "NTC" ? [samples, steps, classes] : [steps, samples, classes];
          const options = { layout, inputLengths, targetLengths, reduction: "none" } as const;
          const a = ctcLoss.valueAndGrad(tensor(clean, shape), tensor(target, [samples, labels]), options);
          const b = ctcLoss.valueAndGrad(tensor(dirty, shape), tensor(padded, [samples, labels]), options);
          expectSameBits(b.value.data, a.value.data, "losses");
          expectSameBits(b.grads.logits.data, a.grads.logits.data, "gradients");
          expect(a.value.data[2]).toBe(0);
          for (let n = 0; n < samples; n++) {
            for (let t = inputLengths[n] as number; t < steps; t++) {
              for (let c = 0; c < classes; c++) expect(b.grads.logits.data[at(n, t) * classes + c]).toBe(0);
            }
          }
        }
      });
    });

    test("a sample's numbers are the same bits wherever it stands", () => {
      on(name, () => {
        const classes = 9;
        const random = randomStream(31);
        const samples = [
          [20, 5],
          [33, 16],
          [1, 1],
          [64, 0],
          [64, 31],
          [7, 3],
        ].map(([steps, labels], i) =>
          draw({
            seed: 40 + i,
            steps: steps as number,
            classes,
            labels: labels as number,
            scale: 1 + 5 * random(),
          }),
        );
        const alone = samples.map(({ logits, target }) => one(Numbers.from(logits), classes, target));
        const orders = [[0, 1, 2, 3, 4, 5], [5, 3, 1, 0, 2, 4], [2], [4, 2], [0, 0, 0]];
        for (const layout of ["NTC", "TNC"] as const) {
          for (const order of orders) {
            for (const extra of [0, 5]) {
              const length = (n: number): number =>
                (samples[n] as { logits: Float32Array }).logits.length / classes;
              const steps = Math.max(...order.map(length)) + extra;
              const count = order.length;
              const batch = new Numbers(count * steps * classes).fill(Number.NaN);
              const at = (i: number, t: number): number =>
                (layout === "NTC" ? i * steps + t : t * count + i) * classes;
              order.forEach((n, i) => {
                const { logits } = samples[n] as { logits: Float32Array };
                for (let t = 0; t < length(n); t++) {
                  batch.set(logits.subarray(t * classes, (t + 1) * classes), at(i, t));
                }
              });
              const { value, grads } = ctcLoss.valueAndGrad(
                tensor(batch, layout === "NTC" ? [count, steps, classes] : [steps, count, classes]),
                order.map((n) => (samples[n] as { target: Int32Array }).target),
                { layout, inputLengths: order.map(length), reduction: "none" },
              );
              order.forEach((n, i) => {
                const expected = alone[n] as { value: number; grad: ArrayLike<number> };
                expectSameBits([value.data[i] as number], [Numbers.of(expected.value)[0] as number], "loss");
                for (let t = 0; t < length(n); t++) {
                  const row = grads.logits.data.subarray(at(i, t), at(i, t) + classes);
                  expectSameBits(
                    row,
                    Array.from(expected.grad).slice(t * classes, (t + 1) * classes),
                    "gradient",
                  );
                }
              });
            }
          }
        }
      });
    });
  });

  test("reductions are PyTorch's, and upstream multiplies each loss's gradient", () => {
    on(name, () => {
      const [samples, steps, classes] = [3, 8, 4];
      const { logits } = draw({ seed: 51, steps: samples * steps, classes, labels: 0 });
      const x = tensor(Float64Array.from(logits), [samples, steps, classes]);
      const targets = [[1, 2, 3], [], [2]];
      const none = ctcLoss.valueAndGrad(x, targets, { reduction: "none" });
      const losses = none.value.data as Float64Array;
      const size = steps * classes;
      const weighted = (weights: readonly number[]): Float64Array =>
        Float64Array.from(none.grads.logits.data, (g, i) => g * (weights[Math.floor(i / size)] as number));
      expect(none.value.shape).toEqual([3]);
      const sum = ctcLoss.valueAndGrad(x, targets, { reduction: "sum", upstream: 2 });
      expectClose([sum.value], [losses.reduce((a, b) => a + b)], 1e-14, "sum");
      expectClose(sum.grads.logits.data, weighted([2, 2, 2]), 1e-14, "its gradient");
      const mean = ctcLoss.valueAndGrad(x, targets);
      const [a, b, c] = losses as unknown as [number, number, number];
      expectClose([mean.value], [(a / 3 + b + c) / 3], 1e-14, "mean");
      expectClose(mean.grads.logits.data, weighted([1 / 9, 1 / 3, 1 / 3]), 1e-14, "its gradient");
      const each = ctcLoss.valueAndGrad(x, targets, { reduction: "none", upstream: [0.5, -1, 3] });
      expectClose(each.grads.logits.data, weighted([0.5, -1, 3]), 1e-14, "upstream per loss");
    });
  });

  test("empty batches, no steps, one sample without its axis", () => {
    on(name, () => {
      const nothing = tensor(new Float32Array(0), [0, 5, 3]);
      expect(ctcLoss(nothing, [])).toBeNaN();
      expect(ctcLoss(nothing, [], { reduction: "sum" })).toBe(0);
      expect(ctcLoss(nothing, [], { reduction: "none" }).shape).toEqual([0]);
      expect(ctcLoss.valueAndGrad(nothing, []).grads.logits.shape).toEqual([0, 5, 3]);
      const still = tensor(new Float32Array(0), [2, 0, 3]);
      const { value, grads } = ctcLoss.valueAndGrad(still, [[], [1]], { reduction: "none" });
      expect(Array.from(value.data)).toEqual([0, Infinity]);
      expect(grads.logits.shape).toEqual([2, 0, 3]);
      const { logits, target } = draw({ seed: 52, steps: 9, classes: 4, labels: 3 });
      const single = ctcLoss.valueAndGrad(tensor(logits, [9, 4]), target, {
        reduction: "none",
        inputLengths: 7,
      });
      const batch = ctcLoss.valueAndGrad(tensor(logits, [1, 9, 4]), [target], {
        reduction: "none",
        inputLengths: [7],
      });
      expect(single.value.shape).toEqual([]);
      expect(single.grads.logits.shape).toEqual([9, 4]);
      expectSameBits(single.value.data, batch.value.data, "value");
      expectSameBits(single.grads.logits.data, batch.grads.logits.data, "gradient");
    });
  });

  test("targets of every form are the same targets", () => {
    on(name, () => {
      const [samples, steps, classes] = [3, 9, 5];
      const { logits } = draw({ seed: 53, steps: samples * steps, classes, labels: 0 });
      const x = tensor(logits, [samples, steps, classes]);
      const ragged = [[3, 1, 1], [4], []];
      const padded = [3, 1, 1, 4, 0, 0, 0, 0, 0];
      const targetLengths = [3, 1, 0];
      const expected = ctcLoss(x, ragged);
      const forms: [targets: never, lengths?: unknown][] = [
        [ragged.map((row) => Int32Array.from(row)) as never],
        [[[3, 1, 1], Uint8Array.of(4), []] as never],
        [
          [
            [3, 1, 1],
            [4, 0, 0],
            [0, 0, 0],
          ] as never,
          targetLengths,
        ],
        [tensor(Int32Array.from(padded), [3, 3]) as never, targetLengths],
        [tensor(Int32Array.from(padded), [3, 3]) as never, Int32Array.from(targetLengths)],
        [
          { data: Float32Array.from(padded), dims: [3, 3] } as never,
          tensor(Uint8Array.from(targetLengths), [3]),
        ],
        [
          { data: BigInt64Array.from(padded.map(BigInt)), dims: [3, 3] } as never,
          { data: BigInt64Array.from(targetLengths.map(BigInt)), dims: [3] },
        ],
        [[[3, 1, 1, 2], [4, 3], [2]] as never, targetLengths],
      ];
      for (const [targets, lengths] of forms) {
        expect(ctcLoss(x, targets, { targetLengths: lengths as never })).toBe(expected);
      }
      expect(ctcLoss({ data: logits, dims: [samples, steps, classes] }, ragged)).toBe(expected);
      const nested = Array.from({ length: samples }, (_, n) =>
        Array.from({ length: steps }, (_, t) =>
          logits.subarray((n * steps + t) * classes, (n * steps + t + 1) * classes),
        ),
      );
      expect(ctcLoss(nested, ragged)).toBe(expected);
    });
  });

  test("an option whose getter calls the loss again disturbs nothing", () => {
    on(name, () => {
      const { logits, target } = draw({ seed: 54, steps: 12, classes: 5, labels: 4 });
      const x = tensor(logits, [2, 6, 5]);
      const targets = [Array.from(target.slice(0, 2)), Array.from(target.slice(2))];
      const expected = ctcLoss.valueAndGrad(x, targets, { reduction: "none" });
      const row = targets[1] as number[];
      const again = new Proxy(row, {
        get(of, key) {
          if (key === "0") ctcLoss(x, [[1], [1]], { inputLengths: [1, 1] });
          return Reflect.get(of, key);
        },
      });
      const actual = ctcLoss.valueAndGrad(x, [targets[0] as number[], again], { reduction: "none" });
      expectSameBits(actual.value.data, expected.value.data, "losses");
      expectSameBits(actual.grads.logits.data, expected.grads.logits.data, "gradients");
    });
  });

  test("a training loop with out buffers allocates no array and no memory", () => {
    on(name, () => {
      const [samples, steps, classes] = [4, 20, 6];
      const x = allocate([samples, steps, classes]);
      const grad = allocate([samples, steps, classes]);
      x.data.set(draw({ seed: 55, steps: samples * steps, classes, labels: 0 }).logits);
      const loose = new Float32Array(x.data);
      const looseGrad = new Float32Array(x.data.length);
      const targets = [[1, 2, 3], [4], [5, 5], []];
      const step = (i: number): void => {
        targets[3] = i % 2 === 0 ? [] : [1, 2];
        const inputLengths = [20, 19, 18, 3 + (i % 10)];
        ctcLoss.valueAndGrad(x, targets, { inputLengths, out: { grads: { logits: grad } } });
        ctcLoss.valueAndGrad(tensor(loose, x.shape), targets, {
          inputLengths,
          out: { grads: { logits: looseGrad } },
        });
      };
      step(0);
      step(1);
      const before = engine().memory;
      let made = 0;
      const kinds = ["Float32Array", "Float64Array", "Int32Array", "Uint8Array"] as const;
      const originals = kinds.map((kind) => globalThis[kind]);
      const count = name === "wasm";
      kinds.forEach((kind, i) => {
        const construct = (target: never, args: never, newTarget: never): never => {
          made++;
          return Reflect.construct(target, args, newTarget) as never;
        };
        if (count) Object.assign(globalThis, { [kind]: new Proxy(originals[i] as never, { construct }) });
      });
      try {
        for (let i = 0; i < (count ? 10_000 : 200); i++) step(i);
      } finally {
        kinds.forEach((kind, i) => {
          Object.assign(globalThis, { [kind]: originals[i] });
        });
      }
      expect(made).toBe(0);
      expect(engine().memory).toEqual(before);
      expectSameBits(grad.data, looseGrad, "in the core and outside");
      x.dispose();
      grad.dispose();
    });
  });

  test("wrt leaves the gradient out; a gradient may be written over its logits", () => {
    on(name, () => {
      const { logits, target } = draw({ seed: 56, steps: 15, classes: 5, labels: 5 });
      const expected = one(logits, 5, target);
      const x = tensor(logits, [15, 5]);
      expect(ctcLoss.valueAndGrad(x, target, { wrt: [] }).grads).toEqual({});
      const over = logits.slice();
      const out = { grads: { logits: over } };
      const { value } = ctcLoss.valueAndGrad(tensor(over, [15, 5]), target, { reduction: "sum", out });
      expect(value).toBe(expected.value);
      expectSameBits(over, expected.grad, "gradient");
    });
  });
});

describe.each(ENGINES)("exactness in long sequences on %s", { timeout: 60_000 }, (name) => {
  /** Float32 against logarithms in double precision: the gradient absolutely, the loss relatively; float64 as well. */
  const compare = (wish: Parameters<typeof draw>[0] & { up?: number }, slack?: number): void => {
    on(name, () => {
      const { up = 0, classes } = wish;
      const { target } = draw(wish);
      // as many steps as the target needs and `slack` more, or those that were wished for
      const steps = slack === undefined ? wish.steps : stepsFor(target) + slack;
      const { logits } = draw({ ...wish, steps, labels: 0 });
      for (let i = 0; i < logits.length; i += classes) logits[i] = (logits[i] as number) + up;
      const known = byLogarithms(logits, classes, target, 0);
      const expected = gradientOf(logits, classes, known);
      for (const [Numbers, forGradient, forLoss] of [
        [Float32Array, 1e-5, 1e-6],
        [Float64Array, 1e-9, 1e-10],
      ] as const) {
        const { value, grad } = one(Numbers.from(logits), classes, target);
        const what = `${Numbers.name} of ${JSON.stringify(wish)}`;
        expect(Math.abs(value / known.loss - 1), `loss, ${what}`).toBeLessThan(forLoss);
        let worst = 0;
        for (let i = 0; i < expected.length; i++) {
          worst = Math.max(worst, Math.abs((grad[i] as number) - (expected[i] as number)));
        }
        expect(worst, `gradient, ${what}`).toBeLessThan(forGradient);
      }
    });
  };

  test("5,000 steps, 500 labels, 32 classes", () => {
    compare({ seed: 61, steps: 5000, classes: 32, labels: 500, repeats: 0.1 });
  });
  test("peaky logits, scale 25", () => {
    compare({ seed: 62, steps: 700, classes: 20, labels: 100, scale: 25 });
  });
  test("blanks at +60", () => {
    compare({ seed: 63, steps: 500, classes: 12, labels: 120, up: 60 });
  });
  test("targets as long as the input allows, with and without repeats", () => {
    for (const repeats of [0, 0.4, 1]) {
      for (const slack of [0, 1, 7]) {
        compare({ seed: 64, steps: 0, classes: 9, labels: 150, repeats, scale: 6 }, slack);
      }
    }
  });
  test.runIf(DEEP)("20,000 steps", { timeout: 600_000 }, () => {
    compare({ seed: 65, steps: 20_000, classes: 32, labels: 300 });
    compare({ seed: 66, steps: 20_000, classes: 16, labels: 60, scale: 25 });
    compare({ seed: 67, steps: 20_000, classes: 16, labels: 60, up: 60 });
    compare({ seed: 68, steps: 0, classes: 16, labels: 2000, repeats: 0.3 }, 5);
  });

  test("a probability of 10^-10000 comes back, and its gradient", () => {
    on(name, () => {
      // label 1 is e^-60 below the blank at every step but must come 400 times: e^-24000
      const [steps, classes] = [900, 3];
      const logits = new Float64Array(steps * classes);
      for (let t = 0; t < steps; t++) logits[t * classes] = 60;
      const target = Array.from({ length: 400 }, (_, i) => 1 + (i % 2));
      const { value, grad } = one(logits, classes, target);
      // every path with 400 labels and else blanks has the same probability, longer labels cost e^-60 each:
      // the labels' places are all choices of 400 of 900 steps, without a blank between needed
      let choices = 0;
      for (let i = 0; i < 400; i++) choices += Math.log(900 - i) - Math.log(400 - i);
      const expected = 400 * 60 - choices + steps * Math.log1p(2 * Math.exp(-60));
      expect(Math.abs(value / expected - 1)).toBeLessThan(1e-12);
      expect(value).toBeGreaterThan(Math.log(10) * 10_000);
      // each of the steps is a label with probability 400 / 900
      for (let t = 0; t < steps; t++) expect(grad[t * classes]).toBeCloseTo(400 / 900, 10);
    });
  });
});

test.runIf(DEEP)(
  "20,000 steps and 2,000 labels run in bounded memory that is given back",
  { timeout: 600_000 },
  () => {
    setEngine("wasm");
    const before = engine().memory;
    const { logits, target } = draw({ seed: 71, steps: 20_000, classes: 64, labels: 2000 });
    const { value, grad } = one(logits, 64, target);
    const after = engine().memory;
    expect(Number.isFinite(value)).toBe(true);
    expect(Array.from(grad).every(Number.isFinite)).toBe(true);
    expect(after.total).toBeLessThan(2 ** 30);
    expect(after.allocated).toBe(before.allocated);
    expect(after.scratch).toBeLessThanOrEqual(1 << 20);
    const js = on("js", () => one(logits, 64, target));
    expectClose([value], [js.value], 1e-6, "loss");
    expectClose(grad, js.grad, 1e-5, "gradient");
    setEngine("auto");
  },
);

describe("bad input", () => {
  const x = (...shape: number[]) => tensor(new Float32Array(shape.reduce((a, b) => a * b, 1)), shape);
  const batch = x(2, 6, 5);
  const good = [[1, 2], [3]];
  const detached = (): Int32Array => {
    const array = new Int32Array(2);
    structuredClone(array.buffer, { transfer: [array.buffer] });
    return array;
  };
  const cases: [what: string, args: unknown[], code: string, message: string][] = [
    ["rank 1", [x(6), [1]], "RANK", "logits is of shape [6], expected [N, T, C], or [T, C] for one sample"],
    [
      "rank 4",
      [x(1, 2, 6, 5), [[1]], { layout: "TNC" }],
      "RANK",
      "logits is of shape [1, 2, 6, 5], expected [T, N, C], or [T, C] for one sample",
    ],
    ["no classes", [x(2, 6, 0), good], "SHAPE", "logits is of shape [2, 6, 0], expected at least one class"],
    ["a number for logits", [1, [1]], "RANK", "logits is of shape []"],
    ["text", ["abc", good], "TYPE", 'logits is "abc", expected'],
    [
      "no targets",
      [batch],
      "ARGUMENT_COUNT",
      "the number of arguments is 1, expected 2 (logits, targets) and the options",
    ],
    ["targets missing", [batch, undefined], "TYPE", "targets is undefined"],
    [
      "too few targets",
      [batch, [[1]]],
      "SHAPE",
      "targets is an array of 1, expected one target per sample: 2",
    ],
    [
      "too many targets",
      [batch, [[1], [1], [1]]],
      "SHAPE",
      "targets is an array of 3, expected one target per sample: 2",
    ],
    ["flat targets for a batch", [batch, [1, 2]], "TYPE", "targets[0] is 1, expected an array of labels"],
    [
      "one typed array for a batch",
      [batch, Int32Array.of(1, 2)],
      "RANK",
      "targets is of shape [2], expected [N, S], or one array of labels per sample",
    ],
    [
      "targets of another batch size",
      [batch, tensor(new Int32Array(6).fill(1), [3, 2])],
      "SHAPE",
      "targets is of shape [3, 2], expected one row per sample: [2, S]",
    ],
    [
      "targets with three axes",
      [batch, tensor(new Int32Array(4).fill(1), [2, 2, 1])],
      "RANK",
      "targets is of shape [2, 2, 1]",
    ],
    [
      "nested targets for one sample",
      [x(6, 5), [[1, 2]]],
      "TYPE",
      "targets[0] is an array of 2, expected a class index in [0, 5)",
    ],
    [
      "a label too large",
      [batch, [[1], [2, 1, 3, 7]]],
      "LABEL",
      "targets[1][3] is 7, expected a class index in [0, 5)",
    ],
    [
      "a label too large, typed",
      [batch, tensor(Int32Array.of(1, 2, 3, 5), [2, 2])],
      "LABEL",
      "targets[1][1] is 5, expected a class index in [0, 5)",
    ],
    [
      "a negative label",
      [batch, [[1, -1], [2]]],
      "LABEL",
      "targets[0][1] is -1, expected a class index in [0, 5)",
    ],
    ["a fraction", [x(6, 5), [1.5]], "LABEL", "targets[0] is 1.5, expected a class index in [0, 5)"],
    ["NaN", [x(6, 5), [Number.NaN]], "LABEL", "targets[0] is NaN, expected a class index in [0, 5)"],
    [
      "a label that is text",
      [batch, [["1"], [2]]],
      "TYPE",
      'targets[0][0] is "1", expected a class index in [0, 5)',
    ],
    [
      "the blank",
      [batch, [[1], [2, 0]]],
      "LABEL",
      "targets[1][1] is the blank (0), expected a class index in [0, 5) that is not the blank",
    ],
    ["another blank", [batch, [[1], [3]], { blank: 3 }], "LABEL", "targets[1][0] is the blank (3)"],
    [
      "blank too large",
      [batch, good, { blank: 5 }],
      "NUMBER",
      "blank is 5, expected a class index in [0, 5)",
    ],
    [
      "blank negative",
      [batch, good, { blank: -1 }],
      "NUMBER",
      "blank is -1, expected a whole number from 0 on",
    ],
    ["blank a fraction", [batch, good, { blank: 0.5 }], "NUMBER", "blank is 0.5"],
    ["blank NaN", [batch, good, { blank: Number.NaN }], "NUMBER", "blank is NaN"],
    [
      "an input length too large",
      [batch, good, { inputLengths: [6, 7] }],
      "LENGTH",
      "inputLengths[1] is 7, expected a whole number in [0, 6]",
    ],
    [
      "a negative input length",
      [batch, good, { inputLengths: [-1, 6] }],
      "LENGTH",
      "inputLengths[0] is -1, expected a whole number in [0, 6]",
    ],
    [
      "a NaN input length",
      [batch, good, { inputLengths: [6, Number.NaN] }],
      "LENGTH",
      "inputLengths[1] is NaN, expected a whole number in [0, 6]",
    ],
    [
      "a broken input length",
      [batch, good, { inputLengths: Float32Array.of(1.5, 2) }],
      "LENGTH",
      "inputLengths[0] is 1.5",
    ],
    [
      "too few input lengths",
      [batch, good, { inputLengths: [6] }],
      "LENGTH",
      "inputLengths is an array of 1, expected one length per sample: 2",
    ],
    [
      "one input length for a batch",
      [batch, good, { inputLengths: 6 }],
      "TYPE",
      "inputLengths is 6, expected one length per sample: 2",
    ],
    [
      "input lengths as text",
      [batch, good, { inputLengths: ["6", 6] }],
      "TYPE",
      'inputLengths[0] is "6", expected a whole number in [0, 6]',
    ],
    [
      "a target length too large",
      [batch, good, { targetLengths: [2, 2] }],
      "LENGTH",
      "targetLengths[1] is 2, expected a whole number in [0, 1]",
    ],
    [
      "a target length beyond S",
      [batch, tensor(new Int32Array(4).fill(1), [2, 2]), { targetLengths: [3, 1] }],
      "LENGTH",
      "targetLengths[0] is 3, expected a whole number in [0, 2]",
    ],
    [
      "a negative target length",
      [batch, good, { targetLengths: [-1, 1] }],
      "LENGTH",
      "targetLengths[0] is -1",
    ],
    [
      "a NaN target length",
      [batch, good, { targetLengths: [Number.NaN, 1] }],
      "LENGTH",
      "targetLengths[0] is NaN",
    ],
    ["an unknown option", [batch, good, { pad: 1 }], "UNKNOWN_OPTION", "pad is no option"],
    [
      "a misspelt option",
      [batch, good, { inputLenghts: [1, 1] }],
      "UNKNOWN_OPTION",
      "inputLenghts is no option, expected one of reduction, upstream, wrt, out, blank, inputLengths, targetLengths, layout, zeroInfinity; did you mean inputLengths?",
    ],
    [
      "a wrong layout",
      [batch, good, { layout: "NCT" }],
      "OPTION",
      'layout is "NCT", expected "NTC" or "TNC"',
    ],
    [
      "a wrong reduction",
      [batch, good, { reduction: "avg" }],
      "OPTION",
      'reduction is "avg", expected "none" or "mean" or "sum"',
    ],
    [
      "zeroInfinity as a number",
      [batch, good, { zeroInfinity: 1 }],
      "TYPE",
      "zeroInfinity is 1, expected true or false",
    ],
    [
      "upstream per loss for a mean",
      [batch, good, { upstream: [1, 2] }],
      "SHAPE",
      "upstream is of shape [2]",
    ],
    [
      "upstream of another length",
      [batch, good, { upstream: [1, 2, 3], reduction: "none" }],
      "SHAPE",
      "upstream is of shape [3], expected a number or [2]",
    ],
    [
      "an output of another length",
      [batch, good, { out: { grads: { logits: new Float32Array(7) } } }],
      "LENGTH",
      "out.grads.logits is an array of 7, expected an array of 60",
    ],
    [
      "wrt of targets",
      [batch, good, { wrt: ["targets"] }],
      "OPTION",
      'wrt[0] is "targets", expected one of logits',
    ],
    [
      "detached labels",
      [batch, [detached(), [1]]],
      "BUFFER",
      "targets[0] is an array whose buffer is detached",
    ],
    [
      "shared logits",
      [{ data: new Float32Array(new SharedArrayBuffer(120)), shape: [1, 6, 5] }, [[1]]],
      "BUFFER",
      "logits is an array on a SharedArrayBuffer",
    ],
  ];
  test.each(cases)("%s", (_what, args, code, message) => {
    for (const name of ENGINES) {
      on(name, () => {
        const before = new Float32Array(60).fill(3);
        const call = args[2] as { out?: unknown } | undefined;
        const options =
          call?.out === undefined && args.length > 1 ? [{ ...call, out: { grads: { logits: before } } }] : [];
        const given = options.length > 0 && args.length > 1 ? [args[0], args[1], ...options] : args;
        let error:
          | (Error & { code?: string; argument?: string; expected?: string; received?: string })
          | undefined;
        try {
          (ctcLoss.valueAndGrad as (...args: unknown[]) => unknown)(...given);
        } catch (thrown) {
          error = thrown as Error;
        }
        expect(error?.message).toContain(`ctcLoss: ${message}`);
        expect(error?.code).toBe(code);
        expect(error?.argument).toBeTypeOf("string");
        expect(error?.expected).toBeTypeOf("string");
        expect(error?.received).toBeTypeOf("string");
        const kinds = ["ARGUMENT_COUNT", "BUFFER", "DISPOSED", "TYPE", "OPTION", "UNKNOWN_OPTION"];
        expect(error).toBeInstanceOf(kinds.includes(code) ? TypeError : RangeError);
        expect(before.every((v) => v === 3)).toBe(true);
      });
    }
  });

  test("a disposed tensor", () => {
    const held = allocate([1, 6, 5]);
    held.dispose();
    expect(() => ctcLoss(held, [[1]])).toThrow(expect.objectContaining({ code: "DISPOSED" }));
  });

  test("an error leaves nothing behind that a later call trips over", () => {
    const expected = ctcLoss(batch, good);
    for (let i = 0; i < 3; i++) {
      expect(() => ctcLoss(batch, [[1], [9]])).toThrow(RangeError);
      expect(ctcLoss(batch, good)).toBe(expected);
    }
    expect(softmax([0, 0]).data[0]).toBe(0.5);
  });
});
