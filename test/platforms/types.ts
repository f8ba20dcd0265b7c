/**
 * TypeScript consumers: every way of resolving modules, without the types of Node or of a browser, by the compiler that the library is
 * built with, by the oldest that knows the types (`using`), and by the newest.
 */
import { join } from "node:path";
import { ROOT, readJson, run } from "../../scripts/support.mjs";
import type { Platform, Result } from "./platform.js";
import { typed } from "./program.js";
import { project, TOOLS } from "./workshop.js";

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
      const cwd = await project(`typescript${i}`, typed(file, { module, moduleResolution, lib }));
      for (const folder of COMPILERS)
        await run(process.execPath, [join(folder, "bin/tsc"), "-p", "."], { cwd });
      results.push({ way: `\`${moduleResolution}\`, \`${file.slice(file.indexOf("."))}\``, version });
    }
    return results;
  },
};
