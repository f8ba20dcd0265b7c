/** Gradients against central differences of the value, in double precision, over the registry. */
import fc from "fast-check";
import { describe, test } from "vitest";
import { REGISTRY } from "../../ts/registry.js";
import { sample } from "../support/generate.js";

const RUNS = Number(process.env.PERDIDA_RUNS ?? 40);
const STEP = 1e-5;

for (const row of REGISTRY.filter(({ differentiable }) => differentiable.length > 0)) {
  describe(row.name, () => {
    test(`central differences (${Object.values(row.inputs).join(", ")})`, () => {
      fc.assert(
        fc.property(fc.integer({ min: 0, max: 2 ** 31 }), fc.integer({ min: 1, max: 9 }), (seed, size) => {
          const { args, options } = sample(row, { seed, dtype: "float64", size });
          const all = row.kind === "mapping" ? options : { ...options, reduction: "sum" };
          const { grads } = row.loss.valueAndGrad(...args, all);
          const names = Object.keys(row.inputs);
          const total = (): number => {
            let v: unknown;
            try {
              v = row.loss(...args, all);
            } catch (error) {
              // a step out of the domain of an input
              if ((error as { code?: string }).code === "RANGE") return Number.NaN;
              throw error;
            }
            return typeof v === "number"
              ? v
              : Array.from((v as { data: Float64Array }).data).reduce((a, b) => a + b, 0);
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
              if (!(error < 2e-5))
                throw new Error(`d/d${name}[${i}] is ${grad[i]}, differences say ${slope}`);
            }
          }
        }),
        { numRuns: RUNS },
      );
    });
  });
}
