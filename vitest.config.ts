import { join } from "node:path";
import { defineConfig } from "vitest/config";
import { aliases, sources } from "./scripts/entries.mjs";
import { ROOT } from "./scripts/support.mjs";

// Tests run on ts/ itself; test/package.test.ts is about dist/ and brings a consumer's own Node.
const alias = Object.entries({ ...aliases("inline"), ...sources }).map(([name, file]) => ({
  find: new RegExp(`^${name}$`),
  replacement: file,
}));

/** Puts the core that was built without SIMD, whole, in the place of the parts that ship. */
const scalarCore = {
  name: "scalar-core",
  load(id: string) {
    if (!/\/ts\/runtime\/generated\/parts\/\w+\.ts$/.test(id)) return undefined;
    const file = JSON.stringify(join(ROOT, "ts/runtime/generated/core.scalar.wasm"));
    return `import { readFileSync } from "node:fs";
export const source = () => new WebAssembly.Module(readFileSync(${file}));`;
  },
};

// a process of its own, in which tests may ask for a collection of garbage; a project inherits no time limit
const process_ = { pool: "forks" as const, execArgv: ["--expose-gc"], testTimeout: 60_000 };

export default defineConfig({
  test: {
    projects: [
      { resolve: { alias }, test: { name: "simd", include: ["test/**/*.test.ts"], ...process_ } },
      {
        resolve: { alias },
        plugins: [scalarCore],
        test: { name: "scalar", include: ["test/laws/**/*.test.ts"], ...process_ },
      },
    ],
  },
});
