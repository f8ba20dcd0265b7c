/** Posteriors: against enumeration and the gradient, symbols and states. */
import { describe, expect, test } from "vitest";
import { allocate, ctcLoss, ctcPosteriors, softmax, tensor } from "../../ts/index.js";
import { expectClose, expectSameBits } from "../support/close.js";
import { byEnumeration, draw } from "../support/ctc.js";
import { ENGINES, on } from "../support/engines.js";
import { numbers, readGolden } from "../support/golden.js";

interface Golden {
  cases: {
    name: string;
    options: { blank: number };
    inputs: { logits: { shape: number[]; data: number[] }; targets: { data: number[] } };
    value: { data: number[] };
  }[];
}

describe.each(ENGINES)("ctcPosteriors on %s", (name) => {
  describe.each([
    ["float64", Float64Array, 1e-10],
    ["float32", Float32Array, 1e-6],
  ] as const)("in %s", (_dtype, Numbers, tolerance) => {
    test("agrees with PyTorch's float64", () => {
      on(name, () => {
        for (const { name: what, options, inputs, value } of readGolden<Golden>("ctcPosteriors").cases) {
          const x = tensor(Numbers.from(numbers(inputs.logits.data)), inputs.logits.shape);
          const { data, shape } = ctcPosteriors(x, inputs.targets.data, options);
          expect(shape).toEqual(inputs.logits.shape);
          expect(data).toBeInstanceOf(Numbers);
          expectClose(data, value.data, tolerance, what);
        }
      });
    });

    test("is the share of the paths, adds up to 1, and is never negative", () => {
      on(name, () => {
        for (let seed = 1; seed < 12; seed++) {
          const [steps, classes] = [5, 3];
          const { logits, target } = draw({ seed, steps, classes, labels: seed % 4, repeats: 0.3 });
          const known = byEnumeration(logits, classes, Array.from(target), 0);
          if (known.loss === Infinity) continue;
          const x = tensor(Numbers.from(logits), [steps, classes]);
          const { data, states } = ctcPosteriors(x, target, { states: true });
          expectClose(data, known.occupancy, tolerance, `symbols, seed ${seed}`);
          expect(Math.min(...data)).toBeGreaterThanOrEqual(0);
          expect(states?.shape).toEqual([steps, 2 * target.length + 1]);
          for (let t = 0; t < steps; t++) {
            let sum = 0;
            for (let c = 0; c < classes; c++) sum += data[t * classes + c] as number;
            expect(Math.abs(sum - 1)).toBeLessThan(tolerance);
            const row = Array.from((states as { data: Float64Array }).data).slice(
              t * (2 * target.length + 1),
              (t + 1) * (2 * target.length + 1),
            );
            expect(Math.abs(row.reduce((a, b) => a + b) - 1)).toBeLessThan(tolerance);
            // the states of a symbol together are the symbol
            for (let c = 0; c < classes; c++) {
              const own = row.filter((_, s) => (s % 2 === 0 ? 0 : target[(s - 1) / 2]) === c);
              expectClose(
                [own.reduce((a, b) => a + b, 0)],
                [data[t * classes + c] as number],
                tolerance,
                "symbol",
              );
            }
          }
          const without = ctcPosteriors(x, target);
          expect(without.states).toBeUndefined();
          expectClose(without.data, data, tolerance, "with and without states");
        }
      });
    });

    test("what is improbable keeps its digits", () => {
      on(name, () => {
        // two steps, the blank e^60 times as probable as the label at the first
        const logits = Numbers.of(60, 0, 0, 0);
        const { data } = ctcPosteriors(tensor(logits, [2, 2]), [1]);
        const p = Math.exp(-60);
        const [a0, b0, a1, b1] = [data[1], data[0], data[3], data[2]] as [number, number, number, number];
        // paths: blank a (e^60 of all), a blank, a a
        expect(b0).toBeCloseTo(1, 6);
        expect(a0 / (2 * p)).toBeCloseTo(1, 4);
        expect(a1).toBeCloseTo(1, 6);
        expect(b1 / p).toBeCloseTo(1, 4);
      });
    });

    test("is softmax - gradient", () => {
      on(name, () => {
        const { logits, target } = draw({ seed: 20, steps: 120, classes: 9, labels: 40, scale: 4 });
        const x = tensor(Numbers.from(logits), [120, 9]);
        const { grads } = ctcLoss.valueAndGrad(x, target, { reduction: "sum" });
        const expected = softmax(x).data.map((p, i) => p - (grads.logits.data[i] as number));
        expectClose(ctcPosteriors(x, target).data, expected, tolerance, "posteriors");
      });
    });
  });

  test("are as exact where a class that no path takes is more probable by far", () => {
    on(name, () => {
      const { logits: drawn, target } = draw({ seed: 22, steps: 60, classes: 3, labels: 12, repeats: 0 });
      // neither the blank nor a label
      const [others, labels] = [2, Array.from(target, () => 1)];
      // of few digits, so that nothing is lost where they are shifted
      const logits = (shift: number, other: number): Float64Array =>
        Float64Array.from(drawn, (x, i) => (i % 3 === others ? other : Math.round(x * 1024) / 1024 - shift));
      const expected = ctcPosteriors(tensor(logits(0, -Infinity), [60, 3]), labels).data;
      for (const shift of [30, 700, 10000.25, 1000000.25]) {
        const { data } = ctcPosteriors(tensor(logits(shift, 0), [60, 3]), labels);
        for (let i = 0; i < data.length; i++) {
          const [a, e] = [data[i] as number, expected[i] as number];
          if (Math.abs(a - e) > 2e-14 * e) throw new Error(`${a} is not ${e}, shifted by ${shift}`);
        }
      }
    });
  });

  test("batches in both layouts; padding is 0, what has no path is NaN", () => {
    on(name, () => {
      const [count, steps, classes] = [3, 8, 4];
      const { logits } = draw({ seed: 21, steps: count * steps, classes, labels: 0 });
      const targets = [[1, 2], [1, 1, 1, 1, 1], [3]];
      const inputLengths = [8, 8, 5];
      const size = steps * classes;
      const time = new Float32Array(logits.length);
      for (let n = 0; n < count; n++) {
        for (let t = 0; t < steps; t++) {
          time.set(
            logits.subarray((n * steps + t) * classes, (n * steps + t + 1) * classes),
            (t * count + n) * classes,
          );
        }
      }
      const options = { inputLengths, states: true };
      const a = ctcPosteriors(tensor(logits, [count, steps, classes]), targets, options);
      const b = ctcPosteriors(tensor(time, [steps, count, classes]), targets, { ...options, layout: "TNC" });
      expect(a.states?.shape).toEqual([3, 8, 11]);
      expect(b.states?.shape).toEqual([8, 3, 11]);
      for (const flag of [true, false]) {
        const p = ctcPosteriors(tensor(logits, [count, steps, classes]), targets, {
          inputLengths,
          states: flag,
        });
        expect(Array.from(p.data.subarray(size, 2 * size)).every(Number.isNaN)).toBe(true);
        expect(Array.from(p.data.subarray(2 * size + 5 * classes)).every((v) => v === 0)).toBe(true);
        for (const n of [0, 2]) {
          const own = tensor(logits.slice(n * size, n * size + (inputLengths[n] as number) * classes), [
            inputLengths[n] as number,
            classes,
          ]);
          expectSameBits(
            p.data.subarray(n * size, n * size + own.data.length),
            ctcPosteriors(own, targets[n] as number[], { states: flag }).data,
            `sample ${n}`,
          );
        }
      }
      for (let n = 0; n < count; n++) {
        for (let t = 0; t < steps; t++) {
          for (const [one, other, width] of [
            [a.data, b.data, classes],
            [a.states?.data as Float32Array, b.states?.data as Float32Array, 11],
          ] as const) {
            expectSameBits(
              other.subarray((t * count + n) * width, (t * count + n + 1) * width),
              one.subarray((n * steps + t) * width, (n * steps + t + 1) * width),
              "layouts",
            );
          }
        }
      }
    });
  });

  test("writes where it is told to", () => {
    on(name, () => {
      const { logits, target } = draw({ seed: 22, steps: 6, classes: 4, labels: 2 });
      const value = allocate([6, 4]);
      const given = ctcPosteriors(tensor(logits, [6, 4]), target, { out: { value } });
      expect(given).toBe(value);
      expectSameBits(value.data, ctcPosteriors(tensor(logits, [6, 4]), target).data, "posteriors");
      value.dispose();
      expect(() => ctcPosteriors(tensor(logits, [6, 4]), [0])).toThrow(
        "ctcPosteriors: targets[0] is the blank (0)",
      );
    });
  });
});
