/** TypeScript consumers: every way of resolving modules, without the types of Node or of a browser. */
import { join } from "node:path";
import { ROOT, readJson, run } from "../../scripts/support.mjs";
import type { Platform, Result } from "./platform.js";
import { project } from "./workshop.js";

const PROGRAM = `
import { allocate, crossEntropyLoss, ready, type Tensor } from "perdida";
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
`;

const WAYS = [
  ["node16", "node16", "program.mts"],
  ["node16", "node16", "program.cts"],
  ["nodenext", "nodenext", "program.mts"],
  ["nodenext", "nodenext", "program.cts"],
  ["esnext", "bundler", "program.ts"],
] as const;

export const types: Platform = {
  name: "TypeScript",
  word: "typescript",
  async run() {
    const folder = join(ROOT, "node_modules/typescript");
    const version = readJson(join(folder, "package.json")).version;
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
      await run(process.execPath, [join(folder, "bin/tsc"), "-p", "."], { cwd });
      results.push({ way: `\`${moduleResolution}\`, \`${file.slice(file.indexOf("."))}\``, version });
    }
    return results;
  },
};
