/** The documentation is true: examples run and print what they say, docstrings are whole, pages name what is there. */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { optionsOf, withTable } from "../scripts/readme.mjs";
import { ROOT, readJson } from "../scripts/support.mjs";
import * as energy from "../ts/energy.js";
import * as perdida from "../ts/index.js";
import { REGISTRY } from "../ts/registry.js";
import * as tfjs from "../ts/tfjs.js";
import { type Documented, documented, SOURCES } from "./support/docstrings.js";
import { compile, type Example, examplesOf, runExample } from "./support/examples.js";

const PAGES = ["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "CHANGELOG.md"];
const page = (file: string): string => readFileSync(join(ROOT, file), "utf8");
const README = page("README.md");

// or its cpu backend recommends another one on the console
beforeAll(async () => {
  const tf = await import("@tensorflow/tfjs-core");
  tf.enableProdMode();
});

describe("examples", () => {
  const examples = [...SOURCES, "README.md"].flatMap(examplesOf);
  const runs = (mark: string): boolean => mark === "";
  const all = (which: (example: Example) => boolean): [string, Example][] =>
    examples.filter(which).map((example) => [example.place, example]);

  test.each(all(({ mark }) => runs(mark)))("%s prints what it says", (_, example) => runExample(example));

  test.each(all(({ mark }) => !runs(mark)))(
    "%s is TypeScript, and says why it cannot run here",
    (_, example) => {
      expect(["network", "browser"]).toContain(example.mark);
      compile(example.code);
    },
  );

  test("a wrong value, and a line that is not reached, are found", async () => {
    const wrong = (code: string) => runExample({ place: "", mark: "", code });
    await expect(wrong("console.log(1, [2]); // 1 [2]")).resolves.toBeUndefined();
    await expect(wrong("console.log(1 + 1); // 3")).rejects.toThrow("prints 2");
    await expect(wrong("console.log(10); // 1")).rejects.toThrow("prints 10");
    await expect(wrong("if (false)\n  console.log(1); // 1")).rejects.toThrow("never reached");
    await expect(wrong('import { noLoss } from "perdida";')).rejects.toThrow("has no noLoss");
  });
});

/** What the entry points export to call; classes are documented by the functions that make them. */
const exported = Object.entries({ perdida, "perdida/energy": energy, "perdida/tfjs": tfjs }).flatMap(
  ([entry, module]) =>
    Object.entries(module)
      .filter(([, value]) => !/^class\b/.test(String(value)))
      .map(([name]) => ({ entry, name })),
);

describe("docstrings", () => {
  const ofEnergy = (file: string): boolean => /^ts\/losses\/energy[./]/.test(file);
  const docs = documented(SOURCES.filter((file) => !file.startsWith("ts/reference/")));
  /** The declaration of what an entry point exports under a name. */
  const find = (entry: string, name: string): Documented => {
    const found = docs.filter(
      (doc) =>
        doc.name === name &&
        (doc.file.startsWith("ts/losses/") ? ofEnergy(doc.file) === (entry === "perdida/energy") : true) &&
        // what stands in the place of another file where there is no core has its page
        !/^ts\/(define|input|options|registry)\.ts$|\.none\.ts$/.test(doc.file),
    );
    expect(
      found.map(({ file }) => file),
      `the declarations of ${name} of ${entry}`,
    ).toHaveLength(1);
    return found[0] as Documented;
  };

  test.each(exported)(
    "$name of $entry says what it is, and has an example that imports it",
    ({ entry, name }) => {
      const { text, tags } = find(entry, name);
      expect(text).not.toBe("");
      const imports = [...(tags.example ?? "").matchAll(/import \{([^}]*)\} from "([^"]*)"/g)];
      const names = imports
        .filter(([, , from]) => from === entry)
        .flatMap(([, list]) => list?.split(/[ ,]+/));
      expect(names).toContain(name);
    },
  );

  const rows = REGISTRY.map((row) => ({ ...row, title: `${row.name} of ${row.entry}` }));
  test.each(rows)("$title: formula, inputs, options, gradient, errors, source", (row) => {
    const { text, tags, options } = find(row.entry, row.name);
    expect(text, "a formula").toMatch(/`[^`]*[-+*/(|^_][^`]*`|E\(Y\)/);
    for (const input of Object.keys(row.inputs)) expect(text).toContain(`\`${input}\``);
    expect(text).toMatch(/[Dd]ifferentiable|[Gg]radient/);
    expect(tags.throws).toMatch(/(Range|Type)Error/);
    expect(tags.see, "a source").toMatch(/\w/);
    for (const option of optionsOf(row)) {
      const { comment } = options.find(({ name }) => name === option) ?? { comment: "" };
      expect(comment, `the comment on ${option}, with its default`).toMatch(/[Dd]efault/);
    }
  });
});

describe("pages", () => {
  test("the README's table of losses is that of the registry (node scripts/readme.mjs writes it)", () => {
    expect(README).toBe(withTable(README, REGISTRY));
  });

  test("the README lists each error code, and its class", () => {
    const source = page("ts/errors.ts");
    const words = (from: string, to: string): string[] =>
      source.slice(source.indexOf(from), source.indexOf(to, source.indexOf(from))).match(/[A-Z_]{4,}/g) ?? [];
    const ofType = words("const KINDS", "]);");
    const expected = words("export type Code", ";").map(
      (code) => `${code} ${ofType.includes(code) ? "TypeError" : "RangeError"}`,
    );
    const listed = [...README.matchAll(/^\| `([A-Z_]+)` \| (\w+) \|/gm)].map(
      ([, code, type]) => `${code} ${type}`,
    );
    expect(listed).toEqual(expected);
    // and there is a way to each of them
    const sources = SOURCES.map(page).join("\n");
    for (const code of words("export type Code", ";"))
      expect(sources).toMatch(new RegExp(`fail\\(\\s*"${code}"`));
  });

  test("the accuracy of exp and log is what crates/lanes/src/math.rs says", () => {
    const [single = "", double = ""] = page("crates/lanes/src/math.rs").split("pub mod double");
    const stated = (half: string, name: string): string | undefined =>
      new RegExp(`within ([\\d.]+) ulp[^;{}]*?\\n\\s*#\\[inline\\(always\\)\\]\\s*pub fn ${name}\\(`).exec(
        half,
      )?.[1];
    const table = ["exp", "ln", "ln_1p_unit"].map((name) => [stated(single, name), stated(double, name)]);
    const listed = [...README.matchAll(/^\| (?:exp|log)\(.*\| ([\d.]+) \| ([\d.]+) \|$/gm)].map((m) => [
      m[1],
      m[2],
    ]);
    expect(listed).toEqual(table);
    expect(listed.flat().every((figure) => Number(figure) <= 2)).toBe(true);
  });

  test("the README speaks of each export", () => {
    for (const { name } of exported) expect(README).toContain(`\`${name}`);
  });

  test("the changelog begins with this version", () => {
    const [, version] = /^## \[([^\]]+)\]/m.exec(page("CHANGELOG.md")) ?? [];
    expect(version).toBe(readJson(join(ROOT, "package.json")).version);
  });

  test.each(PAGES)("%s: commands, links and paths are there", (file) => {
    const text = page(file);
    const { scripts, exports } = readJson(join(ROOT, "package.json"));
    const commands = [...text.matchAll(/npm (?:run )?((?:(?<=run )[\w:]+)|start|test)\b/g)].map((m) => m[1]);
    for (const name of commands) expect(Object.keys(scripts)).toContain(name);
    const anchors = [...text.matchAll(/^#+ (.*)$/gm)].map(([, title]) =>
      (title as string)
        .toLowerCase()
        .replaceAll(/[^\w\- ]/g, "")
        .replaceAll(" ", "-"),
    );
    for (const [, target = ""] of text.matchAll(/\]\(([^)]+)\)/g)) {
      if (/^https?:/.test(target)) continue;
      if (target.startsWith("#")) expect(anchors).toContain(target.slice(1));
      else expect(existsSync(join(ROOT, dirname(file), target)), target).toBe(true);
    }
    const paths = text.match(/(?<![\w./@-])(?:crates|ts|test|bench|scripts|examples)\/[\w./-]*\w/g) ?? [];
    for (const path of paths) expect(existsSync(join(ROOT, path)), path).toBe(true);
    const entries = text.match(/`perdida\/[\w.]+`/g) ?? [];
    for (const entry of entries) expect(Object.keys(exports)).toContain(`./${entry.slice(9, -1)}`);
  });
});
