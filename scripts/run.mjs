/**
 * Runs a program of this repository that is written in TypeScript, on the built library, after all set-up that it needs:
 *
 *   node scripts/run.mjs examples/digits/main.ts [its arguments]
 */
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { build } from "./build.mjs";
import { setup } from "./setup.mjs";
import { Failure, ROOT, script } from "./support.mjs";

await script(async () => {
  const [program, ...args] = process.argv.slice(2);
  if (program === undefined) throw new Failure("usage: node scripts/run.mjs PROGRAM.ts [ARGUMENTS]");
  await build(await setup(), { js: true });
  const { register } = await import("tsx/esm/api");
  register({ tsconfig: false });
  const file = resolve(ROOT, program);
  // the program runs in this process: it has the terminal and the signals to itself
  process.argv = [process.execPath, file, ...args];
  await import(pathToFileURL(file).href);
});
