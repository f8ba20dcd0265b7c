/** What a consumer gets: the tarball, installed into an empty project where there is no Rust and no network. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { homedir, tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { publint } from "publint";
import { formatMessage } from "publint/utils";
import ts from "typescript";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { build } from "../scripts/build.mjs";
import { entries, INTERNAL, PARTS } from "../scripts/entries.mjs";
import { setup } from "../scripts/setup.mjs";
import { attempt, environment, npm, ROOT, readJson, run } from "../scripts/support.mjs";
import { REGISTRY } from "../ts/registry.js";
import { type Answer, program, typed, type Wanted } from "./platforms/program.js";

const folder = mkdtempSync(join(tmpdir(), "perdida-consumer-"));
const project = join(folder, "project");
const installed = join(project, "node_modules/perdida");
const manifest = readJson(join(ROOT, "package.json"));
const require = createRequire(import.meta.url);
let tarball: string;

beforeAll(async () => {
  await build(await setup(), { js: true, types: true });
  mkdirSync(project);
  writeFileSync(join(project, "package.json"), '{ "name": "consumer", "private": true }\n');
  await run(...npm(["pack", "--ignore-scripts", "--pack-destination", folder]));
  tarball = join(folder, `perdida-${manifest.version}.tgz`);
  const install = ["install", "--offline", "--ignore-scripts", "--no-audit", "--no-fund", tarball];
  await run(...npm(install), { cwd: project });
}, 300_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** All files below a folder, as paths relative to it. */
function files(below: string): string[] {
  return readdirSync(below, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(below, join(entry.parentPath, entry.name)).replaceAll("\\", "/"))
    .sort();
}

/** What a program prints, run by this Node in the consumer's project with an empty PATH. */
async function consumer(name: string, program: string): Promise<unknown> {
  writeFileSync(join(project, name), program);
  const env = { ...environment([]), PATH: "", Path: "" };
  return JSON.parse(await run(process.execPath, [name], { cwd: project, env }));
}

const PROGRAM = `
const { value, grads } = crossEntropyLoss.valueAndGrad([[1, 2, 3]], [2]);
console.log(JSON.stringify({
  value,
  grad: [...grads.input.data],
  alone: crossEntropyLoss([[1, 2, 3]], [2]),
  engine: engine().name,
  tfjs: [typeof tfLoss, typeof tfCtcLoss],
}));
`;

/** -log softmax([1, 2, 3])[2], and softmax minus the one at 2, each rounded once. */
const EXPECTED = {
  value: 0.4076059644443803,
  grad: [0.09003057317038046, 0.24472847105479764, -0.3347590442251781],
};

function check(answer: unknown): void {
  const { value, grad, alone, engine, tfjs } = answer as {
    value: number;
    grad: number[];
    alone: number;
    engine: string;
    tfjs: string[];
  };
  expect(engine).toBe("wasm");
  expect(value).toBeCloseTo(EXPECTED.value, 14);
  expect(alone).toBe(value);
  expect(grad).toHaveLength(3);
  grad.forEach((g, i) => {
    expect(g).toBeCloseTo(EXPECTED.grad[i] as number, 14);
  });
  expect(tfjs).toEqual(["function", "function"]);
}

describe("a program of a consumer, without Rust", () => {
  test("ESM", async () => {
    const imports =
      'import { crossEntropyLoss, engine } from "perdida";\nimport { tfCtcLoss, tfLoss } from "perdida/tfjs";';
    check(await consumer("program.mjs", imports + PROGRAM));
  });

  test("CommonJS", async () => {
    const imports =
      'const { crossEntropyLoss, engine } = require("perdida");\nconst { tfCtcLoss, tfLoss } = require("perdida/tfjs");';
    check(await consumer("program.cjs", imports + PROGRAM));
  });

  test("no cargo and no rustc were to be found by it", async () => {
    const program = `
const { spawnSync } = require("node:child_process");
console.log(JSON.stringify(["cargo", "rustc"].map((name) => spawnSync(name).error?.code)));`;
    expect(await consumer("path.cjs", program)).toEqual(["ENOENT", "ENOENT"]);
  });

  test("all entries share one core", async () => {
    const program = `
import { allocate, engine } from "perdida";
import * as others from "perdida/tfjs";
const before = engine().memory.allocated;
allocate([1000], "float32");
console.log(JSON.stringify({ more: engine().memory.allocated - before, others: Object.keys(others).length > 0 }));`;
    expect(await consumer("shared.mjs", program)).toEqual({ more: 4000, others: true });
  });
});

describe("gradients, bit for bit", () => {
  const answer = async (name: string, wanted: Wanted, report = "console.log"): Promise<Answer> =>
    (await consumer(name, program(wanted, report))) as Answer;
  const core = join(installed, "dist/perdida.wasm");
  const READ = 'import { readFileSync } from "node:fs";';

  test("are the same in ESM, CommonJS and a worker, and with the core that perdida/slim is given", async () => {
    const { bits, engine } = await answer("bits.mjs", { from: "perdida" });
    expect(engine).toBe("wasm");
    expect(Object.keys(bits)).toContain("crossEntropyLoss");
    const before = `await perdida.ready(readFileSync(${JSON.stringify(core)}));`;
    const others = [
      await answer("bits.cjs", { from: "perdida", format: "cjs" }),
      // what bundlers take that want CommonJS
      await answer("packed.cjs", { from: join(installed, "dist/index.cjs"), format: "cjs" }),
      await answer("slim.mjs", { from: "perdida/slim", imports: READ, before }),
      (await consumer("thread.mjs", thread())) as Answer,
    ];
    for (const other of others) expect(other).toEqual({ bits, engine: "wasm" });

    function thread(): string {
      const imports = 'import { parentPort } from "node:worker_threads";';
      writeFileSync(
        join(project, "worker.mjs"),
        program({ from: "perdida", imports }, "parentPort.postMessage"),
      );
      return `import { Worker } from "node:worker_threads";
new Worker(new URL("worker.mjs", import.meta.url)).on("message", (text) => console.log(text));`;
    }
  });

  test("of perdida/js, in both formats, are those of the js engine, and WebAssembly is never attempted", async () => {
    const { bits } = await answer("js.mjs", { from: "perdida", before: 'perdida.setEngine("js");' });
    for (const format of ["esm", "cjs"] as const) {
      const before = "globalThis.WebAssembly = new Proxy({}, { get() { throw new Error('it was'); } });";
      const js = await answer(`js2.${format === "esm" ? "mjs" : "cjs"}`, {
        from: "perdida/js",
        format,
        before,
      });
      expect(js).toEqual({ bits, engine: "js", reason: "this entry point has no WebAssembly" });
    }
  });

  test("of perdida/slim come from the js engine until it is given a core", async () => {
    const early = await answer("slim2.mjs", { from: "perdida/slim" });
    expect(early.engine).toBe("js");
    expect(early.reason).toContain("await ready(source)");
  });
});

describe("an array in the memory of another instance", () => {
  test("is copied, never misread", async () => {
    const text = `
import { readFileSync } from "node:fs";
import * as one from "perdida";
import * as other from "perdida/slim";
await other.ready(readFileSync(${JSON.stringify(join(installed, "dist/perdida.wasm"))}));
// the same addresses hold other numbers in the other memory
const x = one.allocate([2, 3]);
other.allocate([2, 3]).data.fill(9);
x.data.set([1, 2, 3, 6, 5, 4]);
const grad = one.allocate([2, 3]);
const theirs = other.crossEntropyLoss.valueAndGrad(x, [0, 1], { out: { grads: { input: grad } } });
const own = one.crossEntropyLoss.valueAndGrad(x, [0, 1]);
console.log(JSON.stringify({
  engines: [one.engine().name, other.engine().name],
  values: [theirs.value, own.value],
  grads: [[...grad.data], [...own.grads.input.data].map(Math.fround)],
}));`;
    const { engines, values, grads } = (await consumer("instances.mjs", text)) as {
      engines: string[];
      values: number[];
      grads: number[][];
    };
    expect(engines).toEqual(["wasm", "wasm"]);
    expect(values[0]).toBe(values[1]);
    expect(grads[0]).toEqual(grads[1]);
  });
});

describe("at import", () => {
  const names = entries
    .filter(({ source }) => source !== "workerd")
    .map(({ subpath }) => `perdida${subpath.slice(1)}`);
  test.each(names)("%s does nothing", async (name) => {
    const text = `
const touched = [];
for (const name of ["WebAssembly", "FinalizationRegistry", "fetch", "atob", "Buffer", "setTimeout"]) {
  const value = globalThis[name];
  Object.defineProperty(globalThis, name, { configurable: true, get() { touched.push(name); return value; } });
}
const before = Reflect.ownKeys(globalThis).length;
const exported = await import(${JSON.stringify(name)});
const after = Reflect.ownKeys(globalThis).length;
console.log(JSON.stringify({ touched, added: after - before, exports: Object.keys(exported).length > 0 }));`;
    expect(await consumer("import.mjs", text)).toEqual({ touched: [], added: 0, exports: true });
  });
});

describe("a bundle", () => {
  const losses = REGISTRY.filter(({ entry }) => entry === "perdida");
  const families = [...new Set(losses.map(({ family }) => family))];

  /** What brings a part of the core into a bundle. */
  const packedText = (part: string): string => {
    const source = readFileSync(join(ROOT, `ts/runtime/generated/parts/${part}.ts`), "utf8");
    return /"([\w+/=]{1000,})"/.exec(source)?.[1] as string;
  };

  test.each(families)(
    "of one function of the family %s carries no other family's TypeScript and no other's kernels",
    async (family) => {
      const { name } = losses.find((row) => row.family === family) as { name: string };
      const others = losses.filter((row) => row.family !== family).map((row) => row.name);
      writeFileSync(
        join(project, "entry.mjs"),
        `import { ${name} } from "perdida";\nconsole.log(${name}.name);\n`,
      );
      const { build } = await import("esbuild");
      const options = {
        bundle: true,
        minify: true,
        format: "esm",
        write: false,
        logLevel: "silent",
      } as const;
      const { outputFiles } = await build({ ...options, absWorkingDir: project, entryPoints: ["entry.mjs"] });
      const text = outputFiles[0]?.text ?? "";
      // the name stands in a definition
      const defined = (of: string) => text.includes(`name:"${of}"`);
      expect(defined(name)).toBe(true);
      expect(others.filter(defined)).toEqual([]);
      // each part stands in a bundle as base64
      const carried = PARTS.filter((part) => text.includes(packedText(part)));
      expect(carried).toEqual([family]);
    },
  );

  test("stays within the budgets of package.json", async () => {
    const bin = join(dirname(require.resolve("size-limit/package.json")), "bin.js");
    const { ok, output } = await attempt(process.execPath, [bin]);
    expect(ok, output).toBe(true);
  });
});

describe("a program of a consumer in TypeScript, without the types of Node or of browsers", () => {
  const resolutions = [
    { module: "node16", moduleResolution: "node16", file: "program.mts" },
    { module: "node16", moduleResolution: "node16", file: "program.cts" },
    { module: "nodenext", moduleResolution: "nodenext", file: "program.mts" },
    { module: "esnext", moduleResolution: "bundler", file: "program.ts" },
  ];
  test.each(resolutions)("$moduleResolution, $file", async ({ module, moduleResolution, file }) => {
    const below = join(project, `${moduleResolution}-${file.split(".")[1]}`);
    mkdirSync(below, { recursive: true });
    // what `using` asks for comes with the declarations
    const written = typed(file, { module, moduleResolution, lib: ["es2022"] });
    for (const [name, text] of Object.entries(written)) writeFileSync(join(below, name), text);
    const tsc = join(ROOT, "node_modules/typescript/bin/tsc");
    const { ok, output } = await attempt(process.execPath, [tsc, "-p", below], { cwd: project });
    expect(ok, output).toBe(true);
  });
});

describe("the tarball", () => {
  test("holds what it must and nothing else", () => {
    const other = files(installed).filter((file) => !/^dist\/[\w.-]+\.(c?js|d\.c?ts)$/.test(file));
    expect(other).toEqual(["LICENSE", "README.md", "dist/perdida.wasm", "package.json"]);
  });

  test("has a file for every path that package.json names, and an entry for every one it must have", () => {
    const named = (target: unknown): string[] =>
      typeof target === "string" ? [target] : Object.values(target as object).flatMap(named);
    for (const path of named(manifest.exports)) expect(existsSync(join(installed, path)), path).toBe(true);
    expect(entries.map(({ subpath }) => subpath)).toEqual(
      expect.arrayContaining([".", "./tfjs", "./slim", "./js"]),
    );
  });

  test("has a workerd build for every entry that compiles bytes, so that they share one core there too", () => {
    const of = (kind: string) =>
      entries.filter(({ source }) => source === kind).map(({ subpath }) => subpath);
    expect(of("workerd")).toEqual(of("inline"));
  });

  test("depends on nothing and names no folder of the machine it was built on", () => {
    expect(manifest.dependencies).toBeUndefined();
    for (const file of files(installed)) {
      const content = readFileSync(join(installed, file), "latin1");
      for (const place of [ROOT, homedir()])
        expect(content.includes(place), `${file} names ${place}`).toBe(false);
    }
  });

  test("what is inlined are the parts that were built, and perdida.wasm is the whole", async () => {
    const text = `
import { readFileSync } from "node:fs";
const given = [];
const { Module } = WebAssembly;
WebAssembly.Module = function (bytes) {
  given.push(Buffer.from(bytes));
  return new Module(bytes);
};
const { ctcPosteriors, mseLoss } = await import("perdida");
mseLoss([1], [2]);
ctcPosteriors([[1, 2]], [1]);
const file = (name) => readFileSync(${JSON.stringify(`${join(ROOT, "ts/runtime/generated")}/`)} + name + ".wasm");
const names = ["pointwise", "rowwise", "vectors", "many", "ctc", "align", "energy"];
const nameOf = (bytes) => names.find((name) => bytes.equals(file("parts/" + name)));
console.log(JSON.stringify({
  given: given.map(nameOf).filter((name) => name !== undefined),
  others: given.filter((bytes) => nameOf(bytes) === undefined && bytes.length > 2000).length,
  whole: readFileSync(${JSON.stringify(join(installed, "dist/perdida.wasm"))}).equals(file("core")),
}));`;
    expect(await consumer("inlined.mjs", text)).toEqual({
      given: ["pointwise", "ctc"],
      others: 0,
      whole: true,
    });
  });

  test("has CommonJS as the modules are, `a?.b` and `a ?? b` included, and strict", () => {
    const all = files(join(installed, "dist"));
    const text = (name: string): string => readFileSync(join(installed, "dist", name), "utf8");
    const lax = all.filter((name) => name.endsWith(".cjs") && !text(name).startsWith('"use strict";'));
    expect(lax).toEqual([]);
    // what tsup's own Sucrase makes of them
    expect(all.filter((name) => text(name).includes("optionalAccess"))).toEqual([]);
    /** How often these stand in the chunks that were built together. */
    const count = (chunk: string, end: string): number => {
      const names = all.filter((name) => name.startsWith(`${chunk}-`) && name.endsWith(end));
      return names.flatMap((name) => text(name).match(/\?\.(?!\d)|\?\?/g) ?? []).length;
    };
    for (const chunk of ["node", "js", "none"]) {
      expect(count(chunk, ".cjs"), chunk).toBe(count(chunk, ".js"));
      expect(count(chunk, ".js"), chunk).toBeGreaterThan(0);
    }
  });

  test("declares no property under a name that is shortened", () => {
    const members: string[] = [];
    for (const file of files(join(installed, "dist")).filter((name) => name.endsWith(".d.ts"))) {
      const source = ts.createSourceFile(file, readFileSync(join(installed, "dist", file), "utf8"), 99, true);
      const visit = (node: ts.Node): void => {
        const isMember = ts.isTypeElement(node) || ts.isClassElement(node);
        // private ones of a class are declared as well
        if (isMember && node.name !== undefined) members.push(node.name.getText(source).replace(/^#/, ""));
        ts.forEachChild(node, visit);
      };
      visit(source);
    }
    expect(members).toContain("valueAndGrad");
    expect(members.filter((name) => INTERNAL.includes(name))).toEqual([]);
  });

  test("publint finds nothing", async () => {
    const { messages, pkg } = await publint({ pkgDir: installed, pack: false, strict: true });
    expect(messages.map((message) => formatMessage(message, pkg ?? {}))).toEqual([]);
  });

  test("are the types wrong? they are not", async () => {
    const attw = join(dirname(require.resolve("@arethetypeswrong/cli/package.json")), "dist/index.js");
    const args = [
      attw,
      tarball,
      "--profile",
      "node16",
      "--exclude-entrypoints",
      "perdida.wasm",
      "--no-color",
    ];
    const { ok, output } = await attempt(process.execPath, args);
    expect(ok, output).toBe(true);
  });
});
