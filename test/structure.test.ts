/** The plan of the house (ARCHITECTURE.md): each family has its files, imports go downward, `unsafe` keeps to its room. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, posix, relative } from "node:path";
import { describe, expect, test } from "vitest";
import { aliases, entries } from "../scripts/entries.mjs";
import { ROOT } from "../scripts/support.mjs";
import { FAMILIES, REGISTRY } from "../ts/registry.js";
import { SOURCES } from "./support/docstrings.js";

const read = (file: string): string => readFileSync(join(ROOT, file), "utf8");
/** The files below a folder with an ending, by their paths from the root. */
function below(folder: string, ending: string): string[] {
  if (!existsSync(join(ROOT, folder))) return [];
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })
    .map((file) => `${folder}/${file.replaceAll("\\", "/")}`)
    .filter((file) => file.endsWith(ending));
}

describe.each(FAMILIES)("the family %s", (family) => {
  /** A file of the family's name, and what its folder has. */
  const room = (before: string, after: string): string[] =>
    [`${before}/${family}${after}`, ...below(`${before}/${family}`, after)].filter((file) =>
      existsSync(join(ROOT, file)),
    );
  const files = {
    kernel: room("crates/kernels/src", ".rs"),
    reference: room("ts/reference", ".ts"),
    losses: room("ts/losses", ".ts"),
    test: room("test", ".test.ts"),
    benchmark: room("bench", ".bench.ts"),
  };

  test("has its five files, of its name", () => {
    const kernels = [`crates/kernels/src/${family}.rs`, `crates/kernels/src/${family}/mod.rs`];
    expect(kernels.filter((file) => files.kernel.includes(file))).toHaveLength(1);
    expect(files.reference).toContain(`ts/reference/${family}.ts`);
    expect(files.losses).toContain(`ts/losses/${family}.ts`);
    expect(files.test).toContain(`test/${family}.test.ts`);
    expect(files.benchmark).toContain(`bench/${family}.bench.ts`);
  });

  test.each(REGISTRY.filter((row) => row.family === family).map(({ name }) => name))(
    "%s has its name in its face and its benchmark",
    (name) => {
      for (const room of ["losses", "benchmark"] as const)
        expect(
          files[room].some((file) => new RegExp(`\\b${name}\\b`).test(read(file))),
          room,
        ).toBe(true);
    },
  );
});

describe("imports", () => {
  const entryFiles = new Set(entries.map(({ name }) => `ts/${name}.ts`));
  /** The floors from the ground up; what stands on one knows those below. */
  const FLOORS = [
    "errors, types, math",
    "reference, runtime",
    "tensor, options, input",
    "call",
    "define, core",
    "doors",
    "losses",
    "adapters",
    "entry points",
  ] as const;
  type Floor = (typeof FLOORS)[number];

  /** Where a file stands: its floor, and its part of it, which knows nothing of the other parts. */
  function standing(file: string): { floor: Floor; part: string } {
    const [, first = "", second = ""] = file.replace(/\.d?\.?ts$/, "").split("/");
    if (entryFiles.has(file) || first === "registry") return { floor: "entry points", part: "" };
    if (first === "adapters") return { floor: "adapters", part: second };
    if (first === "losses") return { floor: "losses", part: second };
    if (first === "doors") return { floor: "doors", part: second };
    if (["define", "core"].includes(first)) return { floor: "define, core", part: first };
    if (first === "call") return { floor: "call", part: "" };
    if (["tensor", "options", "input"].includes(first)) return { floor: "tensor, options, input", part: "" };
    if (first === "reference") return { floor: "reference, runtime", part: `reference ${second}` };
    if (first === "runtime") return { floor: "reference, runtime", part: "runtime" };
    if (["errors", "types", "math"].includes(first)) return { floor: "errors, types, math", part: "" };
    throw new Error(`${file} stands on no floor of ARCHITECTURE.md`);
  }

  /** What a name that each entry point has its own file for stands for in most of them. */
  const shared = new Map(
    Object.entries(aliases("inline")).map(([name, file]) => [
      name,
      relative(ROOT, file).replaceAll("\\", "/"),
    ]),
  );
  /** What a file imports or hands on, within the library. */
  const imports = new Map(
    SOURCES.map((file) => [
      file,
      [...read(file).matchAll(/^(?:import|export)\b[^;"]*?from "([.#][^"]*)";|^import "(\.[^"]*)";/gm)].map(
        ([, from, bare]) => {
          const to = (from ?? bare) as string;
          return shared.get(to) ?? posix.join(dirname(file), to).replace(/\.js$/, ".ts");
        },
      ),
    ]),
  );
  const within = (file: string): string[] =>
    (imports.get(file) ?? []).filter((to) => !to.includes("/generated/"));

  test.each(SOURCES)("%s knows only what stands below it", (file) => {
    const from = standing(file);
    for (const to of within(file)) {
      expect(existsSync(join(ROOT, to)), `${file} imports ${to}`).toBe(true);
      const below = standing(to);
      const [high, low] = [FLOORS.indexOf(from.floor), FLOORS.indexOf(below.floor)];
      const isAllowed = low < high || (low === high && from.part === below.part);
      expect(isAllowed, `${file} (${from.floor}) imports ${to} (${below.floor})`).toBe(true);
    }
  });

  test("what has no floor is refused, and so is an import upward or sideways", () => {
    expect(() => standing("ts/elsewhere.ts")).toThrow("stands on no floor");
    expect(standing("ts/losses/ctc/align.ts")).toEqual(standing("ts/losses/ctc.ts"));
    expect(standing("ts/losses/ctc.ts")).not.toEqual(standing("ts/losses/vectors.ts"));
    expect(standing("ts/reference/ctc.ts")).not.toEqual(standing("ts/runtime/engine.ts"));
  });

  test("there are no circles", () => {
    const done = new Set<string>();
    const visit = (file: string, way: readonly string[]): void => {
      if (way.includes(file)) throw new Error([...way.slice(way.indexOf(file)), file].join(" -> "));
      if (done.has(file)) return;
      for (const to of within(file)) visit(to, [...way, file]);
      done.add(file);
    };
    for (const file of SOURCES) visit(file, []);
    expect(done.size).toBeGreaterThanOrEqual(SOURCES.length);
  });

  test("no entry point reaches the registry", () => {
    const reached = new Set<string>();
    const visit = (file: string): void => {
      if (reached.has(file)) return;
      reached.add(file);
      within(file).forEach(visit);
    };
    for (const file of entryFiles) visit(file);
    expect([...reached]).toContain("ts/define.ts");
    expect([...reached]).not.toContain("ts/registry.ts");
  });

  test("no package is bundled", () => {
    const packages = SOURCES.flatMap((file) =>
      [...read(file).matchAll(/^(?:import|export)\b[^;"]*?from "([^."#][^"]*)";/gm)].map(
        ([, from]) => `${file} ${from}`,
      ),
    );
    expect(packages).toEqual([]);
  });
});

describe("Rust", () => {
  /** The text of a source without its comments and strings. */
  const code = (file: string): string =>
    read(file)
      .replaceAll(/"(?:[^"\\\n]|\\.)*"/g, '""')
      .replaceAll(/\/\/.*$/gm, "");
  const crates = readdirSync(join(ROOT, "crates"));
  const sources = crates
    .flatMap((crate) => below(`crates/${crate}`, ".rs"))
    .filter((file) => !file.includes("/target/"));

  test("unsafe keeps to crates/lanes", () => {
    const has = (file: string): boolean => /\bunsafe\b/.test(code(file));
    const rooms = new Set(sources.filter(has).map((file) => file.split("/")[1]));
    expect([...rooms]).toEqual(["lanes"]);
    expect(read("crates/kernels/src/lib.rs")).toContain("#![forbid(unsafe_code)]");
  });

  /** The crates of this workspace, and wasm-bindgen, that a crate is built with. */
  const knows = (crate: string): string[] => {
    const [, part = ""] = /^\[dependencies\]\n([^[]*)/m.exec(read(`crates/${crate}/Cargo.toml`)) ?? [];
    return [...part.matchAll(/^([\w-]+)/gm)].map(([name]) => name);
  };

  test("the door knows the kernels, the kernels lanes, and lanes nothing", () => {
    expect(knows("lanes")).toEqual([]);
    expect(knows("kernels")).toEqual(["lanes"]);
    expect(knows("wasm").sort()).toEqual(["kernels", "lanes", "wasm-bindgen"]);
    for (const crate of ["lanes", "kernels"])
      for (const file of below(`crates/${crate}/src`, ".rs"))
        expect(code(file), file).not.toContain("wasm_bindgen");
  });

  test("of the kernels only ctc, energy and vectors know others: rowwise and pointwise", () => {
    const ground = ["rowwise", "pointwise"];
    for (const family of FAMILIES) {
      for (const file of sources.filter((file) => file.startsWith(`crates/kernels/src/${family}`))) {
        const known = [...code(file).matchAll(/\bcrate::(\w+)/g)].map(([, name]) => name as string);
        const others = known.filter((name) => name !== family);
        const allowed = ground.includes(family) ? [] : ground;
        expect(
          others.filter((name) => !allowed.includes(name)),
          file,
        ).toEqual([]);
      }
    }
  });

  test("kernels use no allocator and no libm", () => {
    expect(read("crates/kernels/src/lib.rs")).toContain("#![no_std]");
    for (const file of below("crates/kernels/src", ".rs").filter((name) => !name.endsWith("tests.rs")))
      expect(code(file), file).not.toMatch(/\bextern crate (alloc|std)\b|\b(alloc|std|libm)::/);
  });
});
