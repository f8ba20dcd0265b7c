/** SimSIMD: distances of two vectors in native code with the machine's widest instructions, called pair by pair. */
import { type Case, type CaseInput, sizeOf } from "../cases.js";
import { type Engine, total } from "../engines.js";
import { Timer } from "../measure.js";
import { load, versionOf } from "./load.js";

interface SimSimd {
  sqeuclidean(a: Float32Array, b: Float32Array): number;
}

/** The engine; undefined where the package has no build for the machine. */
export function simsimd(): Engine | undefined {
  let simsimd: SimSimd;
  try {
    simsimd = load<SimSimd>("simsimd");
  } catch {
    return undefined;
  }
  return {
    name: "simsimd",
    version: versionOf("simsimd"),
    async prepare(one: Case, inputs: readonly CaseInput[]) {
      if (one.name !== "cdist") return undefined;
      const { n, d } = one.dims as { n: number; d: number };
      const [x, y] = inputs.map(({ data }) =>
        Array.from({ length: n }, (_, i) => (data as Float32Array).subarray(i * d, (i + 1) * d)),
      ) as [Float32Array[], Float32Array[]];
      const out = new Float32Array(sizeOf(one.value as readonly number[]));
      const call = () => {
        for (let i = 0; i < n; i++) {
          for (let j = 0; j < n; j++)
            out[i * n + j] = Math.sqrt(simsimd.sqeuclidean(x[i] as Float32Array, y[j] as Float32Array));
        }
      };
      call();
      const timer = new Timer(call);
      return { answer: [total(out)], samples: (milliseconds) => timer.samples(milliseconds) };
    },
  };
}
