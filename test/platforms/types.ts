/**
 * TypeScript consumers: every way of resolving modules, without the types of Node or of a browser, by the compiler that the library is
 * built with, by the oldest that knows the types (`using`), and by the newest.
 */
import { join } from "node:path";
import { ROOT, readJson, run } from "../../scripts/support.mjs";
import type { Platform, Result } from "./platform.js";
import { project, TOOLS } from "./workshop.js";

const PROGRAM = `
import { allocate, crossEntropyLoss, ctcGreedyDecode, ready, type Reduction, type Tensor, tensor } from "perdida";
import * as js from "perdida/js";
import * as slim from "perdida/slim";
import { tfLoss } from "perdida/tfjs";
const { value, grads } = crossEntropyLoss.valueAndGrad([[1, 2, 3]], [2]);
export const loss: number = value;
export const grad: Tensor = grads.input;
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

const WAYS = [
  ["node16", "node16", "program.mts"],
  ["node16", "node16", "program.cts"],
  ["nodenext", "nodenext", "program.mts"],
  ["nodenext", "nodenext", "program.cts"],
  ["esnext", "bundler", "program.ts"],
] as const;

const COMPILERS = [
  join(TOOLS, "typescript-5.2"),
  join(ROOT, "node_modules/typescript"),
  join(TOOLS, "typescript-7"),
];

export const types: Platform = {
  name: "TypeScript",
  word: "typescript",
  async run() {
    const version = COMPILERS.map((folder) => readJson(join(folder, "package.json")).version).join(", ");
    const results: Result[] = [];
    for (const [i, [module, moduleResolution, file]] of WAYS.entries()) {
      const lib = ["es2022", "esnext.disposable"];
      const compilerOptions = { module, moduleResolution, target: "es2022", lib, types: [], strict: true };
      const config = {
        compilerOptions: { ...compilerOptions, skipLibCheck: false, noEmit: true },
        files: [file],
      };
      const cwd = await project(`typescript${i}`, {
        [file]: PROGRAM,
        "tsconfig.json": JSON.stringify(config),
      });
      for (const folder of COMPILERS)
        await run(process.execPath, [join(folder, "bin/tsc"), "-p", "."], { cwd });
      results.push({ way: `\`${moduleResolution}\`, \`${file.slice(file.indexOf("."))}\``, version });
    }
    return results;
  },
};
