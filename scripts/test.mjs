/**
 * All checks, or a group of them, after all set-up that they need:
 *
 *   node scripts/test.mjs [static | rust | js] [filters for vitest]
 *
 * A check that fails stops no other. A static check counts as one test. The last line is "N passed, N failed".
 */
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { build } from "./build.mjs";
import { nativeEnvironment, setup, wasmEnvironment } from "./setup.mjs";
import { attempt, Failure, ROOT, readJson, say, script, seconds } from "./support.mjs";

/** @typedef {import("./setup.mjs").Toolchain} Toolchain */
/** @typedef {{ passed: number, failed: number, skipped?: number }} Count */
/** @typedef {{ group: "static" | "rust" | "js", name: string, run: (toolchain: Toolchain, filters: string[]) => Promise<Count> }} Check */

const CLIPPY = ["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"];
const CLIPPY_SIMD = [
  "clippy",
  "--workspace",
  "--quiet",
  "--target",
  "wasm32-unknown-unknown",
  "--",
  "-D",
  "warnings",
];

/** A workspace apart. */
const FUZZ = join(ROOT, "fuzz/Cargo.toml");
const CLIPPY_FUZZ = [
  "clippy",
  "--manifest-path",
  FUZZ,
  "--locked",
  "--all-targets",
  "--quiet",
  "--",
  "-D",
  "warnings",
];

/** @param {import("./support.mjs").RunOptions} options @param {string} command @param {string[]} args @returns {Promise<Count>} */
async function one(options, command, args) {
  const { ok } = await attempt(command, args, { output: "inherit", ...options });
  return { passed: Number(ok), failed: Number(!ok) };
}

/** The path of an npm package's program, to be run by this Node. @param {string} path */
const bin = (path) => join(ROOT, "node_modules", path);

/** @type {Check[]} */
const checks = [
  {
    group: "static",
    name: "rustfmt",
    run: (toolchain) => one({ env: nativeEnvironment(toolchain) }, "cargo", ["fmt", "--all", "--check"]),
  },
  {
    group: "static",
    name: "rustfmt on the fuzzers",
    run: (toolchain) =>
      one({ env: nativeEnvironment(toolchain) }, "cargo", ["fmt", "--manifest-path", FUZZ, "--check"]),
  },
  {
    group: "static",
    name: "clippy",
    run: (toolchain) => one({ env: nativeEnvironment(toolchain) }, "cargo", CLIPPY),
  },
  {
    // the code behind `cfg(target_feature = "simd128")`, which the native build does not see
    group: "static",
    name: "clippy on the simd128 build",
    async run(toolchain) {
      // a std of our own making is not one that clippy finds
      if (toolchain.way === "debian") return { passed: 0, failed: 0, skipped: 1 };
      const env = wasmEnvironment(toolchain, { RUSTFLAGS: "-C target-feature=+simd128" });
      return one({ env }, "cargo", CLIPPY_SIMD);
    },
  },
  {
    // libFuzzer itself, which is C++, is not needed for that: nothing is linked
    group: "static",
    name: "clippy on the fuzzers",
    run: (toolchain) =>
      one(
        { env: { ...nativeEnvironment(toolchain), CUSTOM_LIBFUZZER_PATH: join(ROOT, "fuzz/none.a") } },
        "cargo",
        CLIPPY_FUZZ,
      ),
  },
  {
    group: "static",
    name: "biome",
    run: () => one({}, process.execPath, [bin("@biomejs/biome/bin/biome"), "check", "--error-on-warnings"]),
  },
  {
    group: "static",
    name: "tsc",
    run: () => one({}, process.execPath, [bin("typescript/bin/tsc"), "--build"]),
  },
  {
    group: "static",
    name: "knip",
    run: () => one({}, process.execPath, [bin("knip/bin/knip.js")]),
  },
  { group: "rust", name: "cargo test", run: cargoTest },
  { group: "js", name: "vitest", run: vitest },
];

/** @param {Toolchain} toolchain @returns {Promise<Count>} */
async function cargoTest(toolchain) {
  const env = nativeEnvironment(toolchain);
  const args = ["test", "--workspace", "--no-fail-fast"];
  const { ok, stdout } = await attempt("cargo", args, { env, output: "show" });
  const count = { passed: 0, failed: 0, skipped: 0 };
  for (const [, passed, failed, ignored] of stdout.matchAll(
    /^test result: .*? (\d+) passed; (\d+) failed; (\d+) ignored/gm,
  )) {
    count.passed += Number(passed);
    count.failed += Number(failed);
    count.skipped += Number(ignored);
  }
  // it did not compile, or ended in the middle
  if (!ok && count.failed === 0) count.failed = 1;
  return count;
}

/** @param {Toolchain} _ @param {string[]} filters @returns {Promise<Count>} */
async function vitest(_, filters) {
  const file = join(ROOT, "reports/vitest.json");
  mkdirSync(join(ROOT, "reports"), { recursive: true });
  rmSync(file, { force: true });
  const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${file}`];
  const args = [bin("vitest/vitest.mjs"), "run", ...reporters, ...filters];
  const { ok } = await attempt(process.execPath, args, { output: "inherit" });
  const report = readJson(file);
  const passed = report?.numPassedTests ?? 0;
  const skipped = (report?.numPendingTests ?? 0) + (report?.numTodoTests ?? 0);
  /** @type {{ status: string, assertionResults: { status: string }[] }[]} */
  const files = report?.testResults ?? [];
  // a file that fails as a whole, by not loading or in a hook, has no failed test of its own
  const whole = files.filter(
    (f) => f.status === "failed" && !f.assertionResults.some((a) => a.status === "failed"),
  ).length;
  const failed = (report?.numFailedTests ?? 0) + whole;
  return { passed, failed: failed === 0 && (!ok || passed === 0) ? 1 : failed, skipped };
}

await script(async () => {
  const [group, ...filters] = process.argv.slice(2);
  const chosen = checks.filter((check) => group === undefined || group === check.group);
  if (chosen.length === 0) throw new Failure(`${group} is none of static, rust, js`);
  const total = { passed: 0, failed: 0 };
  /** @type {string[]} */
  const lines = [];
  /** @param {string} name @param {Count} count @param {number} started */
  const add = (name, { passed, failed, skipped = 0 }, started) => {
    total.passed += passed;
    total.failed += failed;
    const counts = `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`;
    lines.push(
      `  ${failed > 0 ? "FAILED" : "ok    "} ${name.padEnd(28)} ${counts.padEnd(32)} ${seconds(performance.now() - started)}`,
    );
  };

  const toolchain = await setup();
  const started = performance.now();
  const isWhole = group === undefined || group === "js";
  try {
    await build(toolchain, { js: isWhole, types: isWhole, scalar: isWhole });
    add("build", { passed: 1, failed: 0 }, started);
  } catch (error) {
    // the other checks may say more about why
    console.error(error instanceof Failure ? error.message : error);
    add("build", { passed: 0, failed: 1 }, started);
  }
  for (const check of chosen) {
    say(`${check.name} ...`);
    const began = performance.now();
    add(check.name, await check.run(toolchain, filters), began);
  }
  console.log(`\n${lines.join("\n")}\n  in all ${seconds()}\n`);
  console.log(`${total.passed} passed, ${total.failed} failed`);
  if (total.failed > 0) process.exitCode = 1;
});
