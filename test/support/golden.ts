/** Reading the golden values: float64 results of PyTorch, the inputs exact in float32. */
import { readFileSync } from "node:fs";
import type { Row } from "../../ts/registry.js";

interface GoldenTensor {
  shape: number[];
  dtype: "float" | "int32";
  data: (number | "NaN" | "Infinity" | "-Infinity")[];
}
interface GoldenFile {
  cases: {
    name: string;
    options: Record<string, unknown>;
    inputs: Record<string, GoldenTensor>;
    value: GoldenTensor;
    grads?: Record<string, GoldenTensor>;
  }[];
}

/** One case, in the precision asked for. */
export interface GoldenCase {
  readonly name: string;
  readonly args: readonly unknown[];
  readonly options: Record<string, unknown>;
  readonly value: Numbers;
  readonly grads: Record<string, Numbers>;
}
export interface Numbers {
  readonly shape: readonly number[];
  readonly data: readonly number[];
}

/** JSON has no NaN and no infinities. */
export function numbers(data: GoldenTensor["data"]): number[] {
  return data.map(Number);
}

export function readGolden<T = GoldenFile>(file: string): T {
  return JSON.parse(readFileSync(new URL(`../golden/${file}.json`, import.meta.url), "utf8")) as T;
}

export function goldenCases(row: Row, dtype: "float32" | "float64"): GoldenCase[] {
  const read = ({ shape, dtype: type, data }: GoldenTensor) => {
    const values = numbers(data);
    if (type === "int32") return { shape, data: Int32Array.from(values) };
    return { shape, data: dtype === "float32" ? Float32Array.from(values) : Float64Array.from(values) };
  };
  const files = [row.golden ?? []].flat();
  const cases = files.flatMap((file) => readGolden(file).cases);
  return cases.map(({ name, options, inputs, value, grads }) => {
    const names = Object.keys(row.inputs);
    const extra = Object.entries(inputs).filter(([key]) => !names.includes(key));
    const all = { ...options, ...Object.fromEntries(extra.map(([key, t]) => [key, read(t)])) };
    if (row.layout === "sequences") all.layout = "TNC";
    const plain = (t: GoldenTensor): Numbers => ({ shape: t.shape, data: numbers(t.data) });
    return {
      name,
      args: names.map((key) => {
        const input = inputs[key];
        // the mining losses have their labels among the options
        return input === undefined ? all[key] : read(input);
      }),
      options: Object.fromEntries(Object.entries(all).filter(([key]) => !names.includes(key))),
      value: plain(value),
      grads: Object.fromEntries(Object.entries(grads ?? {}).map(([key, t]) => [key, plain(t)])),
    };
  });
}
