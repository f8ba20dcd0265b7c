import { relative } from "node:path";
import type { KnipConfig } from "knip";
import { sources } from "./scripts/entries.mjs";
import { ROOT } from "./scripts/support.mjs";

const config: KnipConfig = {
  entry: [
    ...Object.values(sources).map((file) => `${relative(ROOT, file)}!`),
    // which of them is bundled is decided by the entry that is built
    "ts/runtime/source.*.ts",
    // run by scripts/run.mjs
    "examples/*/main.ts",
    "bench/{main,compare,report}.ts",
    "bench/*.bench.ts",
    "test/platforms/main.ts",
  ],
  project: ["ts/**/*.ts", "test/**/*.ts", "bench/**/*.ts", "examples/**/*.ts", "scripts/*.mjs"],
  // programs of the system, not npm's
  ignoreBinaries: ["espeak-ng", "apt-get"],
  ignoreExportsUsedInFile: true,
};
export default config;
