import { relative } from "node:path";
import type { KnipConfig } from "knip";
import { sources } from "./scripts/entries.mjs";
import { ROOT } from "./scripts/support.mjs";

const config: KnipConfig = {
  entry: [
    ...Object.values(sources).map((file) => `${relative(ROOT, file)}!`),
    // which of them is bundled is decided by the entry that is built
    "ts/runtime/source.*.ts",
    "ts/runtime/engine.none.ts",
    "ts/doors/none.ts",
    // what the build makes imports it
    "ts/runtime/unpack.ts",
    // run by scripts/run.mjs
    "examples/*/main.ts",
    "bench/{main,compare,report}.ts",
    "bench/*.bench.ts",
    "test/platforms/main.ts",
  ],
  project: ["ts/**/*.ts", "test/**/*.ts", "bench/**/*.ts", "examples/**/*.ts", "scripts/*.mjs"],
  // tsup asks for it where a bundle is to go through it
  ignoreDependencies: ["terser"],
  // programs of the system, not npm's
  ignoreBinaries: ["espeak-ng", "apt-get"],
  ignoreExportsUsedInFile: true,
};
export default config;
