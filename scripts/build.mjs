/**
 * The Rust core and the bundles. Each part is left alone while nothing that it is made from has changed.
 *
 *   node scripts/build.mjs [wasm | js | all] [--scalar]
 *
 * wasm: crates/ -> ts/runtime/generated/ (core.wasm; its parts as modules in parts/, as text that unpacks to others beside them; the types of
 * their exports in exports.ts).
 * js: ts/ -> dist/*.js, *.cjs; all (by default): the types too, then the sizes. --scalar: also core.scalar.wasm, the core
 * built without SIMD, which only tests use.
 */
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { constantsFirst, inOrderOfUse, ranked } from "./code.mjs";
import { PARTS } from "./entries.mjs";
import { pack, unpacked } from "./pack.mjs";
import { CLONE_LOCK, setup, wasmEnvironment } from "./setup.mjs";
import {
  Failure,
  hashOf,
  isMain,
  ROOT,
  readJson,
  readText,
  run,
  script,
  step,
  withLock,
  writeWhole,
} from "./support.mjs";

/** @typedef {import("./setup.mjs").Toolchain} Toolchain */

const GENERATED = join(ROOT, "ts/runtime/generated");
const DIST = join(ROOT, "dist");
const require = createRequire(import.meta.url);

const PAGE = 65536;
/** What a module takes its memory from, as wasm-bindgen names it. */
const MEMORY_FROM = "./core_bg.js";
/** The start of each generated file. */
const NOTE = "// Made by scripts/build.mjs.\n";

/**
 * The two builds of the core. Loops are written out half as far as usual: nothing is slower, and all parts together are 0.6 kB smaller
 * packed (measured). `stamp` keeps the hash of what it was made from.
 */
const CORES = {
  simd: {
    flags: [
      "-C target-feature=+simd128",
      ...["unroll-runtime=false", "unroll-threshold=150", "vectorize-loops=false"].map(
        (flag) => `-C llvm-args=-${flag}`,
      ),
    ].join(" "),
    file: "core.wasm",
  },
  scalar: { flags: "", file: "core.scalar.wasm" },
};

/** @param {Toolchain} toolchain @param {"simd" | "scalar"} kind */
async function buildCore(toolchain, kind) {
  const { flags, file } = CORES[kind];
  const stamp = join(GENERATED, `${file}.made-from`);
  const binaryen = readJson(join(ROOT, "node_modules/binaryen/package.json")).version;
  const inputs = [
    "crates",
    "Cargo.toml",
    "Cargo.lock",
    "scripts/build.mjs",
    "scripts/code.mjs",
    "scripts/entries.mjs",
    "scripts/pack.mjs",
  ];
  const made = hashOf(inputs, [toolchain.rustc, binaryen], (path) => /^crates\/\w+\/tests$/.test(path));
  if (readText(stamp) === made && existsSync(join(GENERATED, file))) return;
  await step(`builds the core (${kind})`, async (tell) => {
    /** @param {string | undefined} part */
    const module = async (part) => {
      const built = await buildModule(toolchain, part, flags, join(ROOT, "target/core", part ?? kind), tell);
      // the scalar build is for tests alone
      if (kind === "simd") checkPanics(built.bytes, part);
      return built;
    };
    const { bytes, types } = await module(undefined);
    // without SIMD there are none, and no locals for them either
    writeWhole(join(GENERATED, file), kind === "simd" ? constantsFirst(bytes) : bytes);
    if (kind === "simd") {
      writeWhole(join(GENERATED, "exports.ts"), NOTE + exportTypes(types));
      const unpacker = await buildUnpacker(toolchain, tell);
      // as hexadecimal digits: what is alike in it is seen by a server's compression, and a tenth less is left than of base64 (measured)
      writeWhole(join(GENERATED, "unpacker.ts"), NOTE + text("unpacker", unpacker, "hex"));
      /** @type {Map<string, Buffer>} */
      const parts = new Map();
      for (const part of PARTS) {
        const { bytes, split } = await module(part);
        writeWhole(join(GENERATED, "parts", `${part}.wasm`), constantsFirst(bytes));
        parts.set(part, split);
      }
      const start = ranked(/** @type {Buffer} */ (parts.get(COMMON.part))).subarray(0, COMMON.length);
      const common = pack(start);
      const length = `export const commonLength: number = ${common.bytes.length};\n`;
      writeWhole(join(GENERATED, "common.ts"), `${NOTE}${text("common", common.packed)}${length}`);
      for (const [part, split] of parts) {
        const built = constantsFirst(split);
        writeWhole(join(GENERATED, "parts", `${part}.packed.wasm`), built);
        const piece = pack(ranked(split), common);
        // the two sides of the format know the same things, in two languages
        if (Buffer.compare(unpacked(unpacker, [common, piece]).restored(), built) !== 0)
          throw new Failure(`The core's part ${part} is not unpacked to what was built.`);
        writeWhole(
          join(GENERATED, "parts", `${part}.ts`),
          partSource(part, piece.packed, piece.bytes.length),
        );
      }
    }
    writeWhole(stamp, made);
  });
}

/** @param {string} name @param {Uint8Array} bytes @param {"base64" | "hex"} [as] */
function text(name, bytes, as = "base64") {
  return `export const ${name}: string =\n  "${Buffer.from(bytes).toString(as)}";\n`;
}

/**
 * What is unpacked before each part, so that this has something to repeat, and odds that know such code: the start of a part. So all
 * parts together are 7 % smaller (measured); more of it would make one small loss larger.
 */
const COMMON = { part: "rowwise", length: 8192 };

/**
 * The file that brings a part into a bundle; `length` is that of what is unpacked, before it is a module.
 *
 * @param {string} part @param {Uint8Array} packed @param {number} length
 */
function partSource(part, packed, length) {
  return `${NOTE}import { unpacked } from "../../unpack.js";

${text("packed", packed).replace("export ", "")}
/** The part ${JSON.stringify(part)} of the core. */
export const source = (): Uint8Array => unpacked(packed, ${length});
`;
}

/**
 * One part of the core, or the whole.
 *
 * @param {Toolchain} toolchain @param {string | undefined} part @param {string} flags @param {string} out @param {(text: string) => void} tell
 * @returns {Promise<{ bytes: Buffer, split: Buffer, types: string }>} as {@link prune} makes it for files and for packing, and the
 * declarations of its exports
 */
async function buildModule(toolchain, part, flags, out, tell) {
  rmSync(out, { recursive: true, force: true });
  const how = ["--release", "--target", "web", "--mode", "no-install", "--no-opt", "--no-pack"];
  const where = ["--out-dir", out, "--out-name", "core"];
  const features = part === undefined ? [] : ["--", "--no-default-features", "--features", part];
  await run("wasm-pack", ["build", "crates/wasm", ...how, ...where, ...features], {
    env: wasmEnvironment(toolchain, { RUSTFLAGS: flags }),
    tell,
  });
  const { bytes, split } = await prune(readFileSync(join(out, "core_bg.wasm")), part);
  for (const made of [bytes, split]) checkPlace(made, part);
  return { bytes, split, types: readText(join(out, "core_bg.wasm.d.ts")) };
}

/** Whether a module keeps to its page of the memory (crates/wasm/build.rs). @param {Buffer} bytes @param {string | undefined} part */
function checkPlace(bytes, part) {
  const place = 1 + (part === undefined ? PARTS.length : PARTS.indexOf(part));
  // it is refused where it needs more than the memory up to the end of its page
  const memory = new WebAssembly.Memory({ initial: place + 1 });
  new WebAssembly.Instance(new WebAssembly.Module(Uint8Array.from(bytes)), { [MEMORY_FROM]: { memory } });
  if (new Uint8Array(memory.buffer, 0, place * PAGE).some((byte) => byte !== 0)) {
    throw new Failure(`The core's part ${part ?? "with all"} has constants below its page of the memory.`);
  }
}

/**
 * Whether nothing in a module of the core that is published can panic: what can has the place in its source among the constants.
 *
 * @param {Buffer} bytes @param {string | undefined} part
 */
function checkPanics(bytes, part) {
  const place = /[\w/]+\.rs/.exec(bytes.toString("latin1"));
  if (place !== null) throw new Failure(`The core${part ? `'s part ${part}` : ""} can panic: ${place[0]}`);
}

/**
 * The module that unpacks the core in a bundle (crates/unpack), as small as it gets: it is not packed itself.
 *
 * @param {Toolchain} toolchain @param {(text: string) => void} tell @returns {Promise<Buffer>}
 */
async function buildUnpacker(toolchain, tell) {
  const out = join(ROOT, "target/unpack");
  const target = "wasm32-unknown-unknown";
  const flags = ["--package", "perdida-unpack", "--release", "--target", target, "--target-dir", out];
  await run("cargo", ["build", ...flags], { env: wasmEnvironment(toolchain, { RUSTFLAGS: "" }), tell });
  return (await prune(readFileSync(join(out, target, "release/unpack.wasm")))).bytes;
}

/** What wasm-bindgen adds for its own glue, which is not used here. @param {string} name */
const isGlue = (name) => name.startsWith("__");

/**
 * Cuts what only the glue needs, and with it every import but the memory, and all custom sections, and has Binaryen make the rest small:
 * no slower (measured), and less where it is packed.
 *
 * @param {Uint8Array} core @param {string} [part]
 * @returns {Promise<{ bytes: Buffer, split: Buffer }>} the module, and the same with a local for each number that is set: as fast
 * (measured), longer as a file, and 3 % shorter packed, since that a local is new takes next to nothing to say, and which old one is used
 * again does not
 */
async function prune(core, part) {
  const { default: binaryen } = await import("binaryen");
  const module = binaryen.readBinary(core);
  for (const { name } of WebAssembly.Module.exports(new WebAssembly.Module(Uint8Array.from(core)))) {
    if (isGlue(name)) module.removeExport(name);
  }
  binaryen.setOptimizeLevel(2);
  binaryen.setShrinkLevel(2);
  // the first kilobyte of the memory is the far end of the stack, where no address that is looked at lies: sums become offsets
  binaryen.setLowMemoryUnused(true);
  // not a long function into the one that calls it, where that takes registers from a product's loop (3 % of cdist); the other parts
  // pack better with it
  binaryen.setOneCallerInlineMaxSize(part === "many" ? 20 : -1);
  module.optimize();
  module.optimize();
  // the two precisions of a function side by side
  module.runPasses(["reorder-functions-by-name"]);
  const strip = ["strip-debug", "strip-producers", "strip-target-features"];
  module.runPasses(["remove-unused-module-elements", ...strip]);
  const emitted = () => Buffer.from(inOrderOfUse(module.emitBinary()));
  const bytes = emitted();
  module.runPasses(["ssa-nomerge", "vacuum"]);
  const split = emitted();
  module.dispose();
  const imports = WebAssembly.Module.imports(new WebAssembly.Module(bytes));
  const others = imports.filter(({ module, name }) => module !== MEMORY_FROM || name !== "memory");
  if (others.length > 0) {
    throw new Failure(
      `The core must import its memory alone, but asks for ${others.map(({ name }) => name).join(", ")}.`,
    );
  }
  return { bytes, split };
}

/** The exports as an interface, from wasm-pack's declarations of the raw module.
 * @param {string} declarations */
function exportTypes(declarations) {
  const members = [...declarations.matchAll(/^export const (\w+): (.+);$/gm)]
    .filter(([, name]) => name !== "memory" && !isGlue(/** @type {string} */ (name)))
    .map(([, name, type]) => `  readonly ${name}: ${type};`);
  return `/** What the core exports, each part some of it: numbers in, numbers out. */
export interface Exports {
${members.join("\n")}
}

/** What the modules take their memory from. */
export const MEMORY_FROM = ${JSON.stringify(MEMORY_FROM)};
/** Pages at the start of the memory that are the modules' own: the stack, and for each its constants. */
export const OWN_PAGES: number = ${PARTS.length + 2};
`;
}

/** Runs tsup for one half of dist/, when something has changed. The stamps stand outside of dist/, which is published whole.
 * @param {"code" | "types"} half */
async function buildDist(half) {
  const stamp = join(ROOT, "node_modules/.perdida-built", half);
  const isTypes = (/** @type {string} */ name) => /\.d\.c?ts$/.test(name);
  const present = existsSync(DIST)
    ? readdirSync(DIST).filter((name) => isTypes(name) === (half === "types"))
    : [];
  const inputs = [
    "ts",
    "package.json",
    "package-lock.json",
    "tsup.config.ts",
    "tsconfig.lib.json",
    "scripts/entries.mjs",
  ];
  const made = hashOf(inputs, []);
  if (readText(stamp) === [made, ...present].join("\n")) return;
  await step(half === "types" ? "builds the declarations" : "builds the bundles", async (tell) => {
    for (const name of present) rmSync(join(DIST, name));
    const tsup = join(ROOT, "node_modules/tsup", require("tsup/package.json").bin.tsup);
    await run(process.execPath, [tsup], { env: { ...process.env, PERDIDA_BUILD: half }, tell });
    if (half === "code") {
      writeWhole(join(DIST, "perdida.wasm"), readFileSync(join(GENERATED, "core.wasm")));
      // entries that are there for their chunks alone: see tsup.config.ts
      for (const name of readdirSync(DIST).filter((file) =>
        /^(inline|js|none|workerd)-(?![A-Z\d]{8}\.)/.test(file),
      ))
        rmSync(join(DIST, name));
    }
    const built = readdirSync(DIST).filter((name) => isTypes(name) === (half === "types"));
    writeWhole(stamp, [made, ...built].join("\n"));
  });
}

/** @param {string[]} files */
function size(files) {
  const bytes = files.map((file) => readFileSync(file));
  const sum = (/** @type {Uint8Array[]} */ list) => list.reduce((all, { length }) => all + length, 0);
  const kB = (/** @type {number} */ n) => `${(n / 1000).toFixed(1).padStart(6)} kB`;
  return `${kB(sum(bytes))}, gzipped ${kB(sum(bytes.map((b) => gzipSync(b, { level: 9 }))))}`;
}

/** A bundle and the chunks it imports. @param {string} name @param {Set<string>} [seen] @returns {string[]} */
export function withChunks(name, seen = new Set()) {
  if (!seen.has(name)) {
    seen.add(name);
    const imported = readText(join(DIST, name)).matchAll(
      /(?:from|import|require\()\s*["']\.\/([^"']+\.c?js)["']/g,
    );
    for (const [, chunk] of imported) withChunks(/** @type {string} */ (chunk), seen);
  }
  return [...seen];
}

function printSizes() {
  console.log(`  ${"core.wasm".padEnd(20)} ${size([join(GENERATED, "core.wasm")])}`);
  for (const name of readdirSync(DIST).filter((file) => /^[a-z]+(\.workerd)?\.js$/.test(file))) {
    console.log(`  ${name.padEnd(20)} ${size(withChunks(name).map((file) => join(DIST, file)))}`);
  }
}

/** Builds what is asked for and out of date.
 * @param {Toolchain} toolchain
 * @param {{ js?: boolean, types?: boolean, scalar?: boolean }} [wanted] beside the core itself */
export async function build(toolchain, { js = false, types = false, scalar = false } = {}) {
  await withLock(CLONE_LOCK, async () => {
    await buildCore(toolchain, "simd");
    if (scalar) await buildCore(toolchain, "scalar");
    if (js) await buildDist("code");
    if (types) await buildDist("types");
  });
}

if (isMain(import.meta.url)) {
  await script(async () => {
    const [what = "all"] = process.argv.slice(2).filter((word) => !word.startsWith("--"));
    if (!["wasm", "js", "all"].includes(what)) throw new Failure(`${what} is none of wasm, js, all`);
    const toolchain = await setup();
    const scalar = process.argv.includes("--scalar");
    await build(toolchain, { js: what !== "wasm", types: what === "all", scalar });
    if (what !== "wasm") printSizes();
  });
}
