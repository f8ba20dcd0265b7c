/** The packages of this folder. They are optional, and large: required as they are, past the loader that runs the TypeScript. */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { hashOf, npm, readJson, readText, run, step, writeWhole } from "../../scripts/support.mjs";

const FOLDER = fileURLToPath(new URL(".", import.meta.url));
const STAMP = join(FOLDER, "node_modules/.installed");

/** Installs the packages where they are not, or are others than the lock file's. */
export async function install(): Promise<void> {
  const wanted = hashOf(["bench/peers/package-lock.json"], [process.platform, process.arch]);
  if (readText(STAMP) === wanted) return;
  const [command, args] = npm(["ci", "--prefix", FOLDER, "--no-audit", "--no-fund", "--loglevel=error"]);
  await step("installs the peers", (tell) => run(command, args, { cwd: FOLDER, tell }));
  writeWhole(STAMP, wanted);
}

const require = createRequire(join(FOLDER, "package.json"));

/** A package of this folder; its type is the caller's word. */
export function load<T>(name: string): T {
  return require(name) as T;
}

/** The version that is installed. */
export function versionOf(name: string): string {
  const file = join(FOLDER, "node_modules", name, "package.json");
  return existsSync(file) ? readJson(file).version : "missing";
}
