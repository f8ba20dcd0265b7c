/** The programs of the platforms: compute.mjs, with the library before it and a report behind it. */
import { readFileSync } from "node:fs";

/** What a platform answers. */
export interface Answer {
  readonly engine: "wasm" | "js";
  readonly reason?: string;
  /** For each function: the bits of the value, and a hash over those of the gradients. */
  readonly bits: Readonly<Record<string, string>>;
  /** How often the content security policy was violated, where there is one. */
  readonly violations?: number;
}

/** The text of compute.mjs: the loader that runs this would rewrite the function itself. */
export const COMPUTE = readFileSync(new URL("compute.mjs", import.meta.url), "utf8").replace(
  /^export .*$/m,
  "",
);

const ANSWER = "JSON.stringify(compute(perdida))";

/** How the program gets the library. */
export interface Wanted {
  /** The module: `perdida`, or an address. */
  readonly from: string;
  readonly format?: "esm" | "cjs";
  /** Statements before: what `from` needs (imports), and what is to be awaited. */
  readonly imports?: string;
  readonly before?: string;
}

/** A program that computes the answer as text and does something with it: the name of a function, or what makes a statement. */
export function program(
  { from, format = "esm", imports = "", before = "" }: Wanted,
  report: string | ((answer: string) => string),
): string {
  const get =
    format === "esm"
      ? `import * as perdida from ${JSON.stringify(from)};`
      : `const perdida = require(${JSON.stringify(from)});`;
  return `${get}
${imports}
${COMPUTE}
${before}
${typeof report === "string" ? `${report}(${ANSWER});` : report(ANSWER)}
`;
}

/** What a consumer writes in TypeScript, and what the types must refuse. */
const TYPED = `
import { allocate, crossEntropyLoss, ctcGreedyDecode, ready, type Reduction, type Tensor, tensor } from "perdida";
import * as js from "perdida/js";
import * as slim from "perdida/slim";
import { tfLoss } from "perdida/tfjs";
const { value, grads } = crossEntropyLoss.valueAndGrad([[1, 2, 3]], [2]);
export const loss: number = value;
export const grad: Tensor = grads.input;
export const largest: number = grad.data.reduce((a, b) => Math.max(a, b), 0);
export const same: typeof js.crossEntropyLoss = slim.crossEntropyLoss;
export const adapter: Function = tfLoss;
export async function start(bytes: Uint8Array): Promise<string> {
  using x = allocate([2, 3]);
  return (await ready()).name + (await slim.ready(bytes)).name + x.data.length;
}
// @ts-expect-error: no such input
grads.nothing;
// @ts-expect-error: no such reduction
crossEntropyLoss([[1, 2, 3]], [2], { reduction: "average" });
// a rank that is written out is known
export const one: number[] = ctcGreedyDecode(tensor(new Float32Array(12), [4, 3])).labels;
export const two: number[] | undefined = [ctcGreedyDecode(allocate([1, 4, 3]))].flat()[0]?.labels;
const { data, shape } = JSON.parse('{ "data": [1, 2], "shape": [2] }');
export const read: number = crossEntropyLoss(tensor(Float32Array.from(data), shape), 0);
let grown = allocate([2, 3]);
grown = allocate(shape);
grown.dispose();
export function reduced(reduction: Reduction): number | Tensor {
  // @ts-expect-error: it may be a tensor
  crossEntropyLoss([[1, 2, 3]], [2], { reduction }).toFixed();
  return crossEntropyLoss.valueAndGrad([[1, 2, 3]], [2], { reduction }).value;
}
`;

/** A project of a consumer in TypeScript, without the types of Node or of a browser: its files. */
export function typed(
  file: string,
  options: { readonly module: string; readonly moduleResolution: string; readonly lib: readonly string[] },
): Record<string, string> {
  const own = { target: "es2022", types: [], strict: true, skipLibCheck: false, noEmit: true };
  const config = { compilerOptions: { ...options, ...own }, files: [file] };
  return { [file]: TYPED, "tsconfig.json": JSON.stringify(config) };
}
