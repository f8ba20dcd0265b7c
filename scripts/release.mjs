/**
 * All that must hold before a version is published, short of publishing it:
 *
 *   node scripts/release.mjs [--quick]
 *
 * The clone is clean, the version is new and told of in CHANGELOG.md, every check and every platform passes, the sizes and the cold
 * start stay within their budgets, the documentation builds, and the tarball holds what it must. A check that fails stops no other.
 * --quick leaves out what takes minutes: the tests and the platforms.
 */
import { join } from "node:path";
import { build } from "./build.mjs";
import { setup } from "./setup.mjs";
import { attempt, npm, ROOT, readJson, readText, run, say, script, seconds } from "./support.mjs";

/** Milliseconds from the import to the first gradient in a fresh Node. */
const COLD_START = 15;
/**
 * Kilobytes of the tarball, which everybody downloads. Two fifths are the core as Node takes it, once for `import` and once for `require`: a
 * start is 2 to 3 ms shorter where nothing is unpacked.
 */
const TARBALL = 900;

/** A check gives a sentence about what it saw, or throws.
 * @type {{ name: string, slow?: boolean, check: () => Promise<string> }[]} */
const CHECKS = [
  {
    name: "clone",
    async check() {
      const changed = (await run("git", ["status", "--porcelain"])).trim();
      if (changed !== "") throw new Error(`not committed:\n${changed}`);
      return (await run("git", ["rev-parse", "--short=12", "HEAD"])).trim();
    },
  },
  {
    name: "version",
    async check() {
      const { version } = readJson(join(ROOT, "package.json"));
      if (!/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version)) throw new Error(`${version} is no semantic version`);
      const locked = readJson(join(ROOT, "package-lock.json")).version;
      if (locked !== version) throw new Error(`package-lock.json is of ${locked}`);
      const cargo = /^version = "([^"]+)"/m.exec(readText(join(ROOT, "Cargo.toml")))?.[1];
      if (cargo !== undefined && cargo !== version) throw new Error(`Cargo.toml is of ${cargo}`);
      const heading = new RegExp(`^## \\[?v?${version.replaceAll(".", "\\.")}\\b`, "m");
      if (!heading.test(readText(join(ROOT, "CHANGELOG.md"))))
        throw new Error(`CHANGELOG.md says nothing of ${version}`);
      const tags = (await run("git", ["tag", "--list", `v${version}`])).trim();
      if (tags !== "") throw new Error(`v${version} is tagged already`);
      return version;
    },
  },
  { name: "tests", slow: true, check: () => program(["run", "test"], /^\d+ passed, 0 failed$/m) },
  {
    name: "platforms",
    slow: true,
    check: () => program(["run", "test:platforms"], /^\d+ passed, 0 failed.*$/m),
  },
  { name: "sizes", check: () => program(["exec", "--", "size-limit"], /^.*Size: .*$/gm) },
  {
    name: "cold start",
    async check() {
      const text = await program(["run", "bench", "--", "cold", "--json"], /^\{.*\}$/m);
      const times = Object.entries(JSON.parse(text));
      for (const [way, milliseconds] of times) {
        if (milliseconds > COLD_START)
          throw new Error(`${way}: ${milliseconds} ms, the budget is ${COLD_START}`);
      }
      return times.map(([way, milliseconds]) => `${way} ${milliseconds} ms`).join(", ");
    },
  },
  { name: "documentation", check: () => program(["run", "docs"], /generated at .*$/m) },
  {
    name: "tarball",
    async check() {
      const [packed] = JSON.parse(await run(...npm(["pack", "--dry-run", "--json", "--ignore-scripts"])));
      /** @type {string[]} */
      const files = packed.files.map((/** @type {{ path: string }} */ { path }) => path);
      const missing = ["LICENSE", "README.md", "package.json", "dist/index.js", "dist/perdida.wasm"].filter(
        (f) => !files.includes(f),
      );
      if (missing.length > 0) throw new Error(`it lacks ${missing.join(", ")}`);
      const other = files.filter((file) => !/^(LICENSE|README\.md|package\.json|dist\/.*)$/.test(file));
      if (other.length > 0) throw new Error(`it holds ${other.join(", ")}`);
      const kilobytes = packed.size / 1000;
      if (kilobytes > TARBALL) throw new Error(`${kilobytes.toFixed(0)} kB, the budget is ${TARBALL}`);
      return `${files.length} files, ${kilobytes.toFixed(0)} kB`;
    },
  },
];

/** Runs npm and looks for what it must print.
 * @param {string[]} args @param {RegExp} wanted @returns {Promise<string>} the matches */
async function program(args, wanted) {
  const [command, all] = npm(args);
  const { ok, output } = await attempt(command, all);
  const found = output.match(wanted);
  if (!ok || found === null) throw new Error(output.trim().split("\n").slice(-40).join("\n"));
  return found.map((line) => line.trim()).join("; ");
}

await script(async () => {
  const isQuick = process.argv.includes("--quick");
  await build(await setup(), { js: true, types: true });
  let passed = 0;
  let failed = 0;
  for (const { name, slow = false, check } of CHECKS) {
    if (slow && isQuick) continue;
    const began = performance.now();
    try {
      const seen = await check();
      passed++;
      say(`ok     ${name.padEnd(14)} ${seen} (${seconds(performance.now() - began)})`);
    } catch (error) {
      failed++;
      say(`FAILED ${name.padEnd(14)} ${error instanceof Error ? error.message : error}`);
    }
  }
  console.log(`${passed} passed, ${failed} failed`);
  if (failed > 0) process.exitCode = 1;
});
