import { basename, join } from "node:path";
import { defineConfig } from "vitest/config";
import { aliases, sources } from "./scripts/entries.mjs";
import { ROOT } from "./scripts/support.mjs";

// Tests run on ts/ itself; those of what the families do and refuse also on dist/, as bundlers take it, since names are shortened there;
// test/package.test.ts is about the package, and brings a consumer's own Node.
/** A path as Vite has it on every system. */
const slashed = (file: string): string => file.replaceAll("\\", "/");
const alias = Object.entries({ ...aliases("inline"), ...sources }).map(([name, file]) => ({
  find: new RegExp(`^${name}$`),
  replacement: slashed(file),
}));

/** The files of the entry points, to their names. */
const ENTRIES = new Map(Object.values(sources).map((file) => [slashed(file), basename(file, ".ts")]));
const REGISTRY = slashed(join(ROOT, "ts/registry.ts"));
/** What a plugin's hooks are called on. */
interface Resolver {
  resolve(id: string, importer?: string, options?: { skipSelf: boolean }): Promise<{ id: string } | null>;
}

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

/** Puts what is published in the place of the entry points, for tests and for the registry. What else of ts/ a test imports is itself. */
const published = {
  name: "published",
  enforce: "pre" as const,
  async resolveId(this: Resolver, id: string, importer: string | undefined) {
    const found = await this.resolve(id, importer, { skipSelf: true });
    // the registry takes the losses one family at a time
    const family = importer === REGISTRY ? /\/losses\/(\w+)/.exec(found?.id ?? "")?.[1] : undefined;
    const name =
      family === undefined ? ENTRIES.get(found?.id ?? "") : family === "energy" ? "energy" : "index";
    return name === undefined ? found : join(ROOT, "dist", `${name}.js`);
  },
};

// a process of its own, in which tests may ask for a collection of garbage; a project inherits no time limit
const process_ = { pool: "forks" as const, execArgv: ["--expose-gc"], testTimeout: 60_000 };

/** The tests of what the families do and refuse; they know of the library what it exports. */
const FAMILIES = [
  "test/{calls,hostile,memory,pointwise,rowwise,vectors,ctc,energy,tfjs}.test.ts",
  "test/{vectors,ctc,energy,fuzz}/*.test.ts",
  "test/laws/{golden,engines}.test.ts",
];

export default defineConfig({
  test: {
    projects: [
      { resolve: { alias }, test: { name: "simd", include: ["test/**/*.test.ts"], ...process_ } },
      {
        resolve: { alias },
        plugins: [scalarCore],
        test: { name: "scalar", include: ["test/laws/**/*.test.ts"], ...process_ },
      },
      {
        resolve: { alias },
        plugins: [published],
        test: { name: "published", include: FAMILIES, ...process_ },
      },
    ],
  },
});
