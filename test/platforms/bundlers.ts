/** Bundlers, each with what its users have after its first page of documentation; the bundles run in Chromium. */
import { run } from "../../scripts/support.mjs";
import { html } from "./browsers.js";
import type { Platform, Result } from "./platform.js";
import { program, type Wanted } from "./program.js";
import {
  type Browser,
  browser,
  freePort,
  project,
  reporting,
  serving,
  site,
  tool,
  versionOf,
} from "./workshop.js";

interface Way {
  readonly way: string;
  readonly wanted?: Wanted;
  /** Files beside `main.js` and the page. */
  readonly files?: Readonly<Record<string, string>>;
  /** The page's script, below the project. */
  readonly script: string;
  /** Where the page is, below the project. */
  readonly page?: string;
  readonly engine?: "wasm" | "js";
  /** The command that bundles. */
  readonly args: readonly string[];
  /** A server that is asked for the page instead of the site, at a port. */
  readonly serve?: (port: number) => readonly string[];
}

/** The core as a file of the bundle, by the address that the bundler gives it. */
const slim = (imports: string): Wanted => ({
  from: "perdida/slim",
  imports,
  before: "await perdida.ready(core);",
});

/** webpack's interface, which Rspack has as well. */
const webpackBuild = (get: string): string => `
${get}
const done = (error, stats) => {
  if (error || stats.hasErrors()) throw error ?? new Error(stats.toString());
};
webpack(
  { mode: "production", entry: "./main.js", output: { path: import.meta.dirname + "/out", filename: "main.js" } },
  done,
);
`;

const WEBPACK = { "build.mjs": webpackBuild('import webpack from "webpack";') };
const RSPACK = { "build.mjs": webpackBuild('import { rspack as webpack } from "@rspack/core";') };

const ESBUILD = [
  ...[tool("esbuild/bin/esbuild"), "main.js"],
  ...["--bundle", "--minify", "--format=esm", "--outdir=out", "--log-level=error"],
];

const WAYS: Readonly<Record<string, readonly Way[]>> = {
  vite: [
    {
      way: "build",
      script: "main.js",
      page: "dist/",
      args: [tool("vite/bin/vite.js"), "build", "--base", "./", "--logLevel", "error"],
    },
    {
      way: "dev",
      script: "main.js",
      args: [],
      serve: (port) => [
        tool("vite/bin/vite.js"),
        "--port",
        String(port),
        "--strictPort",
        "--host",
        "127.0.0.1",
      ],
    },
    {
      way: "build, `perdida/slim` with `perdida.wasm?url`",
      wanted: slim('import core from "perdida/perdida.wasm?url";'),
      script: "main.js",
      page: "dist/",
      // top-level await
      args: [tool("vite/bin/vite.js"), "build", "--base", "./", "--logLevel", "error"],
    },
    {
      way: "build, `perdida/js`",
      wanted: { from: "perdida/js" },
      script: "main.js",
      page: "dist/",
      engine: "js",
      args: [tool("vite/bin/vite.js"), "build", "--base", "./", "--logLevel", "error"],
    },
  ],
  webpack: [
    { way: "build", files: WEBPACK, script: "out/main.js", args: ["build.mjs"] },
    {
      way: "build, `perdida/slim` with `new URL`",
      wanted: slim('const core = new URL("perdida/perdida.wasm", import.meta.url);'),
      files: WEBPACK,
      script: "out/main.js",
      args: ["build.mjs"],
    },
  ],
  "@rspack/core": [{ way: "build", files: RSPACK, script: "out/main.js", args: ["build.mjs"] }],
  parcel: [
    {
      way: "build",
      // its users turn on what other bundlers do by themselves: package.json's `exports`
      files: {
        "package.json": JSON.stringify({ "@parcel/resolver-default": { packageExports: true } }),
      },
      script: "main.js",
      page: "out/",
      args: [
        tool("parcel/lib/bin.js"),
        "build",
        "index.html",
        ...[
          "--dist-dir",
          "out",
          "--public-url",
          "./",
          "--no-cache",
          "--no-autoinstall",
          "--log-level",
          "error",
        ],
      ],
    },
  ],
  rollup: [
    {
      way: "build",
      script: "out/main.js",
      args: [
        tool("rollup/dist/bin/rollup"),
        "main.js",
        "-o",
        "out/main.js",
        "-f",
        "es",
        "-p",
        "@rollup/plugin-node-resolve",
        "--silent",
      ],
    },
  ],
  esbuild: [
    { way: "build", script: "out/main.js", args: ESBUILD },
    {
      way: "build, `perdida/slim` with `--loader:.wasm=file`",
      wanted: slim('import file from "perdida/perdida.wasm";\nconst core = new URL(file, import.meta.url);'),
      script: "out/main.js",
      args: [...ESBUILD, "--loader:.wasm=file"],
    },
  ],
};

/** @param tool its package, where the command line names it otherwise */
function platform(word: string, name: string, tool = word): Platform {
  return {
    name,
    word,
    async run() {
      const shown = await browser("chromium");
      const results: Result[] = [];
      for (const [i, way] of (WAYS[tool] ?? []).entries())
        results.push(await bundle(`${word}${i}`, tool, way, shown));
      return results;
    },
  };
}

/** What a bundle of one way gives in a browser. */
async function bundle(id: string, tool: string, one: Way, shown: Browser): Promise<Result> {
  const {
    way,
    wanted = { from: "perdida" },
    files = {},
    script,
    page = "",
    engine = "wasm",
    args,
    serve,
  } = one;
  const { origin } = await site();
  const report = reporting(origin, id);
  const folder = await project(id, {
    "index.html": html(script),
    // Vite copies what lies in public/
    "report.js": report,
    "public/report.js": report,
    "main.js": program(wanted, "report"),
    ...files,
  });
  const visit = (url: string) => shown.visit(url, id);
  if (args.length > 0) await run(process.execPath, args, { cwd: folder });
  const answer =
    serve === undefined
      ? await visit(`${origin}/${id}/${page}`)
      : await freePort().then((port) =>
          serving(process.execPath, serve(port), { cwd: folder, port }, () =>
            visit(`http://127.0.0.1:${port}/`),
          ),
        );
  return { way, version: versionOf(tool), engine, answer };
}

/** What a program gives in a browser, bundled by esbuild. */
export function bundled(id: string, wanted: Wanted, shown: Browser): Promise<Result> {
  return bundle(id, "esbuild", { way: "build", wanted, script: "out/main.js", args: ESBUILD }, shown);
}

export const bundlers: readonly Platform[] = [
  platform("vite", "Vite"),
  platform("webpack", "webpack"),
  platform("rspack", "Rspack", "@rspack/core"),
  platform("rollup", "rollup"),
  platform("esbuild", "esbuild"),
  platform("parcel", "Parcel"),
];
