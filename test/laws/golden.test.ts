/** Every loss against float64 values and gradients of PyTorch (two of pytorch-metric-learning as well), on both engines, in both precisions. */
import { describe, test } from "vitest";
import { REGISTRY } from "../../ts/registry.js";
import { expectClose, valuesOf } from "../support/close.js";
import { ENGINES, on } from "../support/engines.js";
import { goldenCases } from "../support/golden.js";

const TOLERANCE = { float64: 1e-10, float32: 5e-6 };

for (const row of REGISTRY.filter(({ golden }) => golden !== undefined)) {
  describe(`${row.entry === "perdida" ? "" : "energy."}${row.name} agrees with PyTorch`, () => {
    for (const engine of ENGINES) {
      for (const dtype of ["float64", "float32"] as const) {
        test(`${engine}, ${dtype}`, () => {
          on(engine, () => {
            for (const { name, args, options, value, grads } of goldenCases(row, dtype)) {
              const tolerance = TOLERANCE[dtype];
              expectClose(
                valuesOf(row.loss(...args, options)),
                value.data,
                tolerance,
                `${name}: value alone`,
              );
              const both = row.loss.valueAndGrad(...args, options);
              expectClose(valuesOf(both.value), value.data, tolerance, `${name}: value`);
              for (const input in grads) {
                const expected = grads[input] as { data: readonly number[] };
                const actual = (both.grads[input] as { data: ArrayLike<number> }).data;
                // what comes out where a golden gradient is not finite is laid down in ctc.test.ts
                const finite = expected.data.map((x, i) => (Number.isFinite(x) ? x : (actual[i] as number)));
                expectClose(actual, finite, tolerance, `${name}: gradient of ${input}`);
              }
            }
          });
        });
      }
    }
  });
}
