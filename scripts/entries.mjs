/**
 * The entry points. package.json's `exports` is the one list of them, and all else is read off it: a target `dist/NAME.js` or
 * `dist/NAME.cjs` is built from `ts/NAME.ts`. To add an entry, write `ts/NAME.ts` and add its paths to `exports`.
 *
 * Where the core comes from is all that differs between them (`#source` in ts/runtime/engine.ts, `#part/NAME` in the families' files):
 * `js` and `slim` have their own sources, and `dist/NAME.workerd.js`, under the condition `workerd`, is `ts/NAME.ts` with the core as a
 * module. `dist/NAME.node.js` has nothing of its own: it is `dist/NAME.js` in fewer files, for Node where nothing bundles.
 */
import { join } from "node:path";
import { ROOT, readJson } from "./support.mjs";

/** @typedef {"inline" | "js" | "none" | "workerd"} Source */
/** @typedef {{ name: string, subpath: string, source: Source }} Entry `name` is that of the file in ts/ */

/** @param {unknown} target @returns {string[]} all paths below a target of `exports` */
function paths(target) {
  return typeof target === "string" ? [target] : Object.values(target ?? {}).flatMap(paths);
}

/** @param {string} name @param {boolean} isWorkerd @returns {Source} */
function sourceOf(name, isWorkerd) {
  if (isWorkerd) return "workerd";
  return name === "js" ? "js" : name === "slim" ? "none" : "inline";
}

/** @returns {Entry[]} */
function read() {
  const found = new Map();
  const { exports } = readJson(join(ROOT, "package.json"));
  for (const [subpath, target] of Object.entries(exports)) {
    for (const path of paths(target)) {
      const [, name, variant] = /^\.\/dist\/([\w-]+)(\.workerd|\.node)?\.c?js$/.exec(path) ?? [];
      if (name === undefined) continue;
      const source = sourceOf(name, variant === ".workerd");
      found.set(`${name} ${source}`, { name, subpath, source });
    }
  }
  return [...found.values()];
}

export const entries = read();

/** The parts of the core: the features of crates/wasm, in the order of their pages in its build.rs. */
export const PARTS = ["pointwise", "rowwise", "vectors", "many", "ctc", "align", "energy"];

/**
 * What `#source` and each `#part/NAME` stand for. Only where the core is inlined has a part a file of its own; elsewhere it comes from
 * where the whole core does.
 *
 * @param {Source} source @returns {Record<string, string>}
 */
export function aliases(source) {
  const own = join(ROOT, `ts/runtime/source.${source}.ts`);
  const of = (/** @type {string} */ part) =>
    source === "inline" ? join(ROOT, `ts/runtime/generated/parts/${part}.ts`) : own;
  return { "#source": own, ...Object.fromEntries(PARTS.map((part) => [`#part/${part}`, of(part)])) };
}

/** What programs import, to the file in ts/ that it is built from. */
export const sources = Object.fromEntries(
  entries
    .filter(({ source }) => source !== "workerd")
    .map(({ name, subpath }) => [`perdida${subpath.slice(1)}`, join(ROOT, `ts/${name}.ts`)]),
);
