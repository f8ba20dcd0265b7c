/**
 * Gradients against central differences of the value, in double precision, over the registry: of the sum of the losses, and of their sum
 * with a number for each that flows in from above.
 */
import fc from "fast-check";
import { describe, test } from "vitest";
import { REGISTRY } from "../../ts/registry.js";
import { valuesOf } from "../support/close.js";
import { ENGINES, on } from "../support/engines.js";
import { randomStream, sample } from "../support/generate.js";

const RUNS = Number(process.env.PERDIDA_RUNS ?? 80);
const STEP = 1e-5;

const calls = fc.record({
  seed: fc.integer({ min: 0, max: 2 ** 31 }),
  size: fc.integer({ min: 1, max: 9 }),
  weighted: fc.boolean(),
  engine: fc.constantFrom(...ENGINES),
});

for (const row of REGISTRY.filter(({ differentiable }) => differentiable.length > 0)) {
  describe(row.name, () => {
    test(`central differences (${Object.values(row.inputs).join(", ")})`, () => {
      const law = ({ seed, size, weighted }: { seed: number; size: number; weighted: boolean }): void => {
        const { args, options } = sample(row, { seed, dtype: "float64", size });
        const reduction = row.kind === "mapping" ? {} : { reduction: weighted ? "none" : "sum" };
        const all = { ...options, ...reduction };
        const value = row.loss(...args, all);
        const random = randomStream(seed);
        const upstream = Float64Array.from(valuesOf(value), () => (weighted ? 2 * random() - 1 : 1));
        // in the shape of the losses, or in a row
        const shaped = { data: upstream, shape: (value as { shape?: number[] }).shape ?? [] };
        const flowing = weighted ? { upstream: seed % 2 === 0 ? shaped : upstream } : {};
        const { grads } = row.loss.valueAndGrad(...args, { ...all, ...flowing });
        const names = Object.keys(row.inputs);
        const total = (): number => {
          try {
            const values = Array.from(valuesOf(row.loss(...args, all)));
            return values.reduce((sum, v, i) => sum + v * (upstream[i] as number), 0);
          } catch (error) {
            // a step out of the domain of an input
            if ((error as { code?: string }).code === "RANGE") return Number.NaN;
            throw error;
          }
        };
        for (const name in grads) {
          const { data } = args[names.indexOf(name)] as { data: Float64Array };
          const grad = (grads[name] as { data: Float64Array }).data;
          for (let i = 0; i < data.length; i++) {
            const x = data[i] as number;
            const at = (d: number): number => {
              data[i] = x + d;
              const v = total();
              data[i] = x;
              return v;
            };
            const [far, near, here, up, further] = [
              at(-2 * STEP),
              at(-STEP),
              at(0),
              at(STEP),
              at(2 * STEP),
            ] as [number, number, number, number, number];
            if (![far, near, here, up, further].every(Number.isFinite)) continue;
            const slope = (up - near) / (2 * STEP);
            // a kink within reach shows as a jump of the one-sided slopes: not a smooth point
            const jump = Math.abs((further - here) / (2 * STEP) - (here - far) / (2 * STEP));
            const scale = Math.max(1, Math.abs(slope), Math.abs(here));
            if (jump > 1e-3 * scale) continue;
            const error = Math.abs(slope - (grad[i] as number)) / scale;
            if (!(error < 2e-5)) throw new Error(`d/d${name}[${i}] is ${grad[i]}, differences say ${slope}`);
          }
        }
      };
      fc.assert(
        fc.property(calls, (call) => on(call.engine, () => law(call))),
        { numRuns: RUNS },
      );
    });
  });
}
