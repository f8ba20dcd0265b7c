/**
 * The table of losses in README.md, between its two marks, from ts/registry.ts:
 *
 *   node scripts/readme.mjs
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { build } from "./build.mjs";
import { setup } from "./setup.mjs";
import { Failure, isMain, ROOT, say, script, writeWhole } from "./support.mjs";

/** @typedef {import("../ts/registry.js").Row} Row */

const BEGIN = "<!-- losses -->";
const END = "<!-- /losses -->";
const HEAD = ["function", "inputs", "options", "formula", "PyTorch", "source"];
/** What the first lines of the table's parts say. @type {Record<string, string>} */
const TITLES = {
  pointwise: "**Pointwise**: one loss per element",
  rowwise: "**Rowwise**: one loss per row of scores; functions of the last axis",
  vectors: "**Vectors**: distances and likeness of vectors, [..., D]",
  ctc: "**Sequences**",
  energy: "**Energies** (`perdida/energy`): one loss per row of energies",
};
const COMMON = ["reduction", "upstream", "wrt", "out"];

/** The options that a function knows: it says so itself where it is asked for one that it does not know. @param {Row} row */
export function optionsOf({ name, loss, inputs }) {
  try {
    loss(...Object.keys(inputs).map(() => [[1]]), { "no such option": 1 });
  } catch (error) {
    const { code, expected } = /** @type {{ code?: string, expected?: string }} */ (error);
    const [, known] = /^one of (.*)$/.exec(expected ?? "") ?? [];
    if (code === "UNKNOWN_OPTION" && known !== undefined)
      return known.split(", ").filter((option) => !COMMON.includes(option));
  }
  throw new Failure(`${name} does not say which options it knows`);
}

/** The rows of each function together, family by family. @param {readonly Row[]} registry */
function grouped(registry) {
  const order = Object.keys(TITLES);
  /** @type {Map<string, Row[]>} */
  const groups = new Map();
  for (const row of registry.toSorted((a, b) => order.indexOf(a.family) - order.indexOf(b.family))) {
    const key = `${row.entry} ${row.name}`;
    groups.set(key, [...(groups.get(key) ?? []), row]);
  }
  return groups.values();
}

/** @param {string} text */
const code = (text) => `\`${text.replaceAll("|", "\\|")}\``;

/** The table: one line per function, by family, else in the order of the registry. @param {readonly Row[]} registry */
export function lossTable(registry) {
  const lines = [line(HEAD), line(HEAD.map(() => "---"))];
  /** @type {string | undefined} */
  let family;
  for (const rows of grouped(registry)) {
    const row = /** @type {Row} */ (rows[0]);
    if (row.family !== family) lines.push(line([TITLES[row.family] ?? row.family, "", "", "", "", ""]));
    family = row.family;
    /** @param {(row: Row) => string | undefined} of */
    const all = (of) => [...new Set(rows.map(of))].filter((text) => text !== undefined);
    lines.push(
      line([
        code(row.name),
        Object.keys(row.inputs).join(", "),
        optionsOf(row).join(", "),
        all(({ formula }) => formula)
          .map(code)
          .join("; "),
        all(({ torch }) => torch)
          .map(code)
          .join(", "),
        [...new Set(all(({ paper }) => paper).flatMap((text) => text.split("; ")))].join("; "),
      ]),
    );
  }
  return lines.join("\n");
}

/** @param {readonly string[]} cells */
function line(cells) {
  return `| ${cells.join(" | ")} |`;
}

/** The page with a new table. @param {string} page @param {readonly Row[]} registry */
export function withTable(page, registry) {
  const [from, to] = [page.indexOf(BEGIN), page.indexOf(END)];
  if (from < 0 || to < from) throw new Failure(`README.md has no ${BEGIN} ... ${END}`);
  return `${page.slice(0, from + BEGIN.length)}\n${lossTable(registry)}\n${page.slice(to)}`;
}

if (isMain(import.meta.url)) {
  await script(async () => {
    await build(await setup());
    const { register } = await import("tsx/esm/api");
    register({ tsconfig: join(ROOT, "tsconfig.base.json") });
    const { REGISTRY } = await import("../ts/registry.js");
    const file = join(ROOT, "README.md");
    writeWhole(file, withTable(readFileSync(file, "utf8"), REGISTRY));
    say(`wrote the ${REGISTRY.length} rows of ts/registry.ts into README.md`);
  });
}
