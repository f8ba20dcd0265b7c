/** SimSIMD: distances of two vectors in native code with the machine's widest instructions, called pair by pair; a search keeps the least. */
import type { Case, CaseInput } from "../cases.js";
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
      if (one.name !== "cdist" && one.name !== "nearest") return undefined;
      const [x, y] = inputs.map(({ data, shape }) => {
        const [n, d] = shape as [number, number];
        return Array.from({ length: n }, (_, i) => (data as Float32Array).subarray(i * d, (i + 1) * d));
      }) as [Float32Array[], Float32Array[]];
      const [of, place] = [y.length, new Nearest((one.rest?.[0] as number) ?? 0)];
      const out = new Float32Array(one.name === "cdist" ? x.length * of : x.length * place.k);
      const call = () => {
        for (let i = 0; i < x.length; i++) {
          place.clear();
          for (let j = 0; j < of; j++) {
            const square = simsimd.sqeuclidean(x[i] as Float32Array, y[j] as Float32Array);
            if (one.name === "cdist") out[i * of + j] = Math.sqrt(square);
            else place.see(square);
          }
          if (one.name === "nearest") out.set(place.distances.map(Math.sqrt), i * place.k);
        }
      };
      call();
      const timer = new Timer(call);
      return { answer: [total(out)], samples: (milliseconds) => timer.samples(milliseconds) };
    },
  };
}

/** The k least numbers, in their order. */
class Nearest {
  readonly distances: Float64Array;

  constructor(readonly k: number) {
    this.distances = new Float64Array(k);
  }

  clear(): void {
    this.distances.fill(Infinity);
  }

  see(distance: number): void {
    const { distances, k } = this;
    if (!(distance < (distances[k - 1] as number))) return;
    let at = k - 1;
    for (; at > 0 && (distances[at - 1] as number) > distance; at--)
      distances[at] = distances[at - 1] as number;
    distances[at] = distance;
  }
}
