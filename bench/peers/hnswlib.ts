/** hnswlib: its exact search, in native code, of an index that was built before. */
import type { Case, CaseInput } from "../cases.js";
import { type Engine, total } from "../engines.js";
import { Timer } from "../measure.js";
import { load, versionOf } from "./load.js";

interface BruteforceSearch {
  initIndex(size: number): void;
  addPoint(point: number[], label: number): void;
  searchKnn(query: number[], k: number): { distances: number[]; neighbors: number[] };
}
interface Hnswlib {
  readonly BruteforceSearch: new (space: "l2", dimensions: number) => BruteforceSearch;
}

/** The engine; undefined where the package could not be built. */
export function hnswlib(): Engine | undefined {
  let hnswlib: Hnswlib;
  try {
    hnswlib = load<Hnswlib>("hnswlib-node");
  } catch {
    return undefined;
  }
  return {
    name: "hnswlib-node",
    version: versionOf("hnswlib-node"),
    async prepare(one: Case, inputs: readonly CaseInput[]) {
      if (one.name !== "nearest") return undefined;
      const [queries, index] = inputs.map(({ data, shape }) => {
        const [n, d] = shape as [number, number];
        return Array.from({ length: n }, (_, i) => Array.from(data.subarray(i * d, (i + 1) * d)));
      }) as [number[][], number[][]];
      const search = new hnswlib.BruteforceSearch("l2", one.dims.d as number);
      search.initIndex(index.length);
      for (const [i, point] of index.entries()) search.addPoint(point, i);
      const k = one.rest?.[0] as number;
      const call = () => queries.map((query) => search.searchKnn(query, k));
      const answer = [total(call().flatMap(({ distances }) => distances.map(Math.sqrt)))];
      const timer = new Timer(call);
      return { answer, samples: (milliseconds) => timer.samples(milliseconds) };
    },
  };
}
