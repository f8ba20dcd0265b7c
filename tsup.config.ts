import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, posix, resolve } from "node:path";
import { transform } from "sucrase";
import { defineConfig, type Options } from "tsup";
import { aliases, entries, INTERNAL, PARTS, type Source } from "./scripts/entries.mjs";

// Entries with the same source of the core are built together and share chunks: one engine and one memory for all of them.
const common: Options = {
  target: "es2022",
  platform: "neutral",
  splitting: true,
  treeshake: false,
  minify: true,
  // used where `minify` is "terser"
  terserOptions: {
    ecma: 2020,
    // functions stand at the start, side by side, where they compress better
    compress: {
      passes: 2,
      inline: false,
      reduce_funcs: false,
      hoist_funs: true,
      unsafe_methods: true,
      // no property of a user's is read and then not used
      pure_getters: true,
    },
    format: { comments: false, preserve_annotations: true },
  },
  tsconfig: "tsconfig.lib.json",
  outDir: "dist",
  silent: true,
};

/**
 * The same as CommonJS. Asked for that, tsup also rewrites `a?.b` and `a ?? b` into calls with arrays and closures, since it leaves
 * Sucrase's older syntax on: small calls took 1.2 to 1.6 times as long (measured).
 */
function asCommonJs(options: Options): Options {
  return {
    ...options,
    name: `${options.name}, cjs`,
    outExtension: () => ({ js: ".cjs" }),
    // a module would need no "use strict"; a copy, since terser writes into what it is given
    terserOptions: { ...structuredClone(options.terserOptions), module: false, toplevel: true },
    plugins: [
      {
        name: "CommonJS",
        renderChunk: (code) => ({
          code: transform(code, { transforms: ["imports"], disableESTransforms: true }).code,
        }),
      },
    ],
  };
}

/** What every family stands on, as paths from ts/ on, or names that each entry point has its own file for. */
const BASE = ["call", "define", "errors", "input", "math", "options", "tensor", "#engine"];
/** And beneath it where there is a core. */
const CORE_BASE = ["core", "runtime/lodging", "runtime/memory", "runtime/platform"];

/** The parts of the core that a file needs, itself or by a file of ts/losses that it imports. */
function partsOf(file: string): string[] {
  const text = readFileSync(`ts/${file}.ts`, "utf8");
  const own = [...text.matchAll(/from "#door\/(\w+)"/g)].map(([, part]) => part as string);
  // what is only handed on is no need
  const imported = [...text.matchAll(/^(?:import|\}) [^"]*from "(\.[^"]+)\.js"/gm)]
    .map(([, to]) => posix.join(posix.dirname(file), to as string))
    .filter((to) => to.startsWith("losses/"));
  return [...new Set([...own, ...imported.flatMap(partsOf)])].sort();
}

/** The files of ts/losses, as paths from ts/ on. */
const LOSSES: readonly string[] = readdirSync("ts/losses", { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith(".ts"))
  .map((file) => `losses/${file.slice(0, -3).replaceAll("\\", "/")}`);

/** A folder for files that only the build needs. */
function made(name: string): string {
  const folder = join("node_modules/.cache/perdida", name);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  return folder;
}

/**
 * The families as entries that nobody imports (scripts/build.mjs removes them), so that each becomes a chunk of its own: a bundler
 * drops those that a program does not use, whole. Within one file it would have to prove every statement free of effects. What
 * needs other parts of the core than its family's first file does is an entry of its own.
 * Each entry also names the base, which so is reached by all of them and comes out in one piece: every further file costs a
 * start in Node about 0.3 ms (measured with 17 files, 8 and 1).
 */
function families(source: Source): Record<string, string> {
  const folder = made(source);
  const groupOf = (file: string): string => {
    const family = file.split("/")[1] as string;
    const parts = partsOf(file).join("-");
    return parts === "" || parts === partsOf(`losses/${family}`).join("-") ? family : `${family}-${parts}`;
  };
  const groups = new Map<string, string[]>();
  for (const file of LOSSES) groups.set(groupOf(file), [...(groups.get(groupOf(file)) ?? []), file]);
  return Object.fromEntries(
    [...groups].map(([name, own]) => {
      const base = source === "js" ? BASE : [...BASE, ...CORE_BASE];
      const lines = [...own, ...base].map((file) => {
        const from = file.startsWith("#") ? file : resolve("ts", file);
        return `export * from ${JSON.stringify(from)};\n`;
      });
      writeFileSync(join(folder, `${name}.ts`), lines.join(""));
      return [`${source}-${name}`, join(folder, `${name}.ts`)];
    }),
  );
}

function code(source: Source): Options[] {
  const built = entries.filter((entry) => entry.source === source);
  if (built.length === 0) return [];
  const suffix = source === "workerd" ? ".workerd" : "";
  const modules: Options = {
    ...common,
    name: source,
    entry: {
      ...Object.fromEntries(built.map(({ name }) => [`${name}${suffix}`, `ts/${name}.ts`])),
      ...families(source),
    },
    format: ["esm"],
    // after esbuild, which sees across files; its names make a bundle's text alike, which saves 5 % of what is sent (measured)
    minify: "terser",
    esbuildOptions(options) {
      options.minify = true;
      options.alias = aliases(source);
      options.mangleProps = new RegExp(`^(${INTERNAL.join("|")})$`);
      options.chunkNames = `${source}-[hash]`;
    },
    // the one file that is imported and not bundled
    esbuildPlugins: [
      {
        name: "core.wasm",
        setup: (build) =>
          build.onResolve({ filter: /\/core\.wasm$/ }, () => ({ path: "./perdida.wasm", external: true })),
      },
    ],
  };
  return source === "workerd" || source === "inline" ? [modules] : [modules, asCommonJs(modules)];
}

/**
 * For Node, and for whoever takes CommonJS, few files, since there every one costs a start 1 to 2 ms (measured with 8 and 2): the main
 * entry in one chunk, which the others reach whole too, so that it comes out in one piece. Nothing is dropped.
 */
function whole(isForNode: boolean): Options {
  const chunk = isForNode ? "node" : "whole";
  const folder = made(chunk);
  const all = `import ${JSON.stringify(resolve("ts/index.ts"))};\n`;
  const wrapped = entries
    .filter((entry) => entry.source === "inline")
    .map(({ name }): [string, string] => {
      const path = join(folder, `${name}.ts`);
      writeFileSync(path, `${all}export * from ${JSON.stringify(resolve("ts", `${name}.ts`))};\n`);
      return [isForNode ? `${name}.node` : name, path];
    });
  // Node reads it from the disk: bytes that need no unpacking save 2 to 3 ms of a start, which is more than their length costs (measured).
  // Bundlers that want CommonJS for browsers get them packed.
  const plain = (isForNode ? PARTS : []).map((part) => {
    const path = join(folder, `part-${part}.ts`);
    const bytes = resolve("ts/runtime/generated/parts", `${part}.wasm`);
    const lines = [
      `import bytes from ${JSON.stringify(bytes)};`,
      `import { decoded } from ${JSON.stringify(resolve("ts/runtime/base64.ts"))};`,
      "export const source = () => decoded(bytes);",
    ];
    writeFileSync(path, lines.join("\n"));
    return [`#part/${part}`, resolve(path)];
  });
  return {
    ...common,
    name: chunk,
    entry: Object.fromEntries(wrapped),
    format: ["esm"],
    loader: { ".wasm": "base64" },
    esbuildOptions(options) {
      options.alias = { ...aliases("inline"), ...Object.fromEntries(plain) };
      options.mangleProps = new RegExp(`^(${INTERNAL.join("|")})$`);
      options.chunkNames = `${chunk}-[hash]`;
      options.treeShaking = false;
      options.ignoreAnnotations = true;
    },
  };
}

const types: Options = {
  ...common,
  name: "types",
  entry: Object.fromEntries(entries.map(({ name }) => [name, `ts/${name}.ts`])),
  format: ["esm", "cjs"],
  dts: {
    only: true,
    // AllocatedTensor has Symbol.dispose
    banner: '/// <reference lib="esnext.disposable" />',
    // tsup itself sets baseUrl
    compilerOptions: { ignoreDeprecations: "6.0" },
  },
};

const forNode = whole(true);

// `tsup --config-name` does not exist: scripts/build.mjs says by a variable which half it wants
export default defineConfig(
  process.env.PERDIDA_BUILD === "types"
    ? types
    : [
        ...(["inline", "js", "none", "workerd"] as const).flatMap((source) => code(source)),
        forNode,
        asCommonJs(forNode),
        asCommonJs(whole(false)),
      ],
);
