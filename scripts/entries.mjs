/**
 * The entry points. package.json's `exports` is the one list of them, and all else is read off it: a target `dist/NAME.js` or
 * `dist/NAME.cjs` is built from `ts/NAME.ts`. To add an entry, write `ts/NAME.ts` and add its paths to `exports`.
 *
 * Where the core comes from is all that differs between them (`#source` in ts/runtime/engine.ts, `#part/NAME` in ts/doors): `js` has
 * neither core nor doors (`#engine`, `#door/NAME`), `slim` has its own source, and `dist/NAME.workerd.js`, under the condition `workerd`, is `ts/NAME.ts` with the core as a
 * module. `dist/NAME.node.js` and `.node.cjs` have nothing of their own: they are `dist/NAME.js` in fewer files, for Node where nothing bundles.
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
 * What `#engine`, `#source`, each `#door/NAME` and each `#part/NAME` stand for. Only where the core is inlined has a part a file of its
 * own; elsewhere it comes from where the whole core does. `js` has no core, and so nothing that leads to one.
 *
 * @param {Source} source @returns {Record<string, string>}
 */
export function aliases(source) {
  const file = (/** @type {string} */ name) => join(ROOT, `ts/${name}.ts`);
  const isAlone = source === "js";
  const own = file(`runtime/source.${source}`);
  const doors = PARTS.map((part) => [`#door/${part}`, file(`doors/${isAlone ? "none" : part}`)]);
  const parts = PARTS.map((part) => [
    `#part/${part}`,
    source === "inline" ? file(`runtime/generated/parts/${part}`) : own,
  ]);
  return {
    "#engine": file(isAlone ? "runtime/engine.none" : "runtime/engine"),
    ...Object.fromEntries(isAlone ? doors : [["#source", own], ...doors, ...parts]),
  };
}

/** What programs import, to the file in ts/ that it is built from. */
export const sources = Object.fromEntries(
  entries
    .filter(({ source }) => source !== "workerd")
    .map(({ name, subpath }) => [`perdida${subpath.slice(1)}`, join(ROOT, `ts/${name}.ts`)]),
);

/**
 * Names of properties that no user meets: they are shortened in what is published. A name here must be nobody's option, field of a
 * result, or method of JavaScript (test/package.test.ts looks through the declarations), and its property must not be looked up by a
 * string: the gradient of an input is, and nothing here says `grads.input`.
 *
 * @type {readonly string[]}
 */
export const INTERNAL = [
  "lossShape",
  "upstreamSlot",
  "upstreamPerLoss",
  "gradientSlot",
  "valueSlot",
  "divisor",
  "extras",
  "planned",
  "places",
  "differentiable",
  "reference",
  "parameters",
  "mapping",
  "reductions",
  "precision",
  "lent",
  "fallback",
  "arenaSize",
  "arenaTaken",
  "arena",
  "enterKept",
  "timeMajor",
  "perLabel",
  "strides",
  "nextInLabel",
  "nextInBlank",
  "inLabel",
  "inBlank",
  "signature",
  "readUpstream",
  "usual",
  "defaults",
  "table",
  "inputs",
  "family",
  "slots",
  "place",
  "holds",
  "columns",
  "samples",
  "scale",
  "factors",
  "stats",
  "parent",
  "children",
  "added",
  "inner",
  "output",
  "checked",
  "domain",
  "backward",
  "within",
  "lengths",
  "symbols",
  "where",
  "wide",
  "own",
  "take",
  "least",
  "above",
  "integer",
  "raw",
  "width",
  "read",
  "single",
  "address",
  "kind",
  "door",
  "numbers",
  "slot",
  "rows",
  "classes",
  "pull",
  "options",
  "input",
  "scores",
  "measured",
  "plain",
  "optional",
  "plan",
  "fresh",
  "wants",
  "path",
  "array",
  "first",
  "losses",
  "piece",
  "refresh",
  "viewAnew",
  "enter",
  "leave",
  "logProbs",
  "alignments",
  "whole",
  "seen",
  "used",
  "core",
  "free",
  "give",
  "view",
  "rank",
];
