/**
 * Proves the package where people use it, and writes down what was run: packs it, installs it into a project for each platform,
 * computes gradients there and compares their bits with Node's, of the same engine.
 *
 *   npm run test:platforms [-- node22 deno chromium ...]
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { build } from "../../scripts/build.mjs";
import { setup } from "../../scripts/setup.mjs";
import { Failure, ROOT, say, script, seconds } from "../../scripts/support.mjs";
import { browsers } from "./browsers.js";
import { bundlers } from "./bundlers.js";
import { next } from "./next.js";
import type { Platform, Result } from "./platform.js";
import { type Answer, program } from "./program.js";
import { reactNative } from "./reactNative.js";
import { runtimes } from "./runtimes.js";
import { type Row, update } from "./table.js";
import { tensorflow } from "./tensorflow.js";
import { types } from "./types.js";
import { answerOf, close, installTools, NotHere, project } from "./workshop.js";

const PLATFORMS: readonly Platform[] = [
  ...runtimes,
  ...browsers,
  ...bundlers,
  next,
  reactNative,
  tensorflow,
  types,
];

/** Where the table stands. */
const README = join(ROOT, "README.md");

/** What this Node answers, by engine. */
async function expected(): Promise<Record<"wasm" | "js", Answer>> {
  const folder = await project("expected", {
    "wasm.mjs": program({ from: "perdida" }, "console.log"),
    "js.mjs": program({ from: "perdida", before: 'perdida.setEngine("js");' }, "console.log"),
  });
  const [wasm, js] = [
    await answerOf(process.execPath, ["wasm.mjs"], folder),
    await answerOf(process.execPath, ["js.mjs"], folder),
  ];
  if (wasm.engine !== "wasm") throw new Failure(`no wasm in this Node: ${wasm.reason}`);
  return { wasm, js };
}

/** What is wrong with a result; undefined where nothing is. */
function complaint(
  { engine, answer, violations }: Result,
  wanted: Record<"wasm" | "js", Answer>,
): string | undefined {
  if (engine === undefined || answer === undefined) return undefined;
  if (answer.engine !== engine) {
    return `the ${answer.engine} engine answers, expected ${engine}${answer.reason === undefined ? "" : ` (${answer.reason})`}`;
  }
  const other = Object.keys(wanted[engine].bits).filter(
    (name) => answer.bits[name] !== wanted[engine].bits[name],
  );
  if (other.length > 0) {
    const of = other.map((name) => `${name} ${answer.bits[name]}, Node's ${wanted[engine].bits[name]}`);
    return `other bits than Node's: ${of.join("; ")}`;
  }
  if (violations !== undefined && violations !== (answer.violations ?? 0) > 0) {
    return `${answer.violations} violations of the policy, expected ${violations ? "some" : "none"}`;
  }
  return undefined;
}

await script(async () => {
  const words = process.argv.slice(2);
  const unknown = words.filter((word) => !PLATFORMS.some((platform) => platform.word === word));
  if (unknown.length > 0) {
    throw new Failure(
      `${unknown.join(", ")}: none of ${PLATFORMS.map((platform) => platform.word).join(", ")}`,
    );
  }
  await build(await setup(), { js: true, types: true });
  await installTools();
  const rows: Row[] = [];
  const count = { passed: 0, failed: 0, skipped: 0 };
  try {
    const wanted = await expected();
    say(`compares the gradients of ${Object.keys(wanted.wasm.bits).join(", ")}`);
    for (const platform of PLATFORMS.filter(({ word }) => words.length === 0 || words.includes(word))) {
      const from = performance.now();
      const took = () => seconds(performance.now() - from);
      try {
        for (const result of await platform.run()) {
          const wrong = complaint(result, wanted);
          count[wrong === undefined ? "passed" : "failed"]++;
          const { way, version, engine } = result;
          say(
            `${wrong === undefined ? "ok    " : "FAILED"} ${platform.name} ${version}, ${way}${wrong === undefined ? "" : `: ${wrong}`}`,
          );
          const outcome = wrong !== undefined ? "**fails**" : engine === undefined ? "compiles" : "same bits";
          rows.push({ platform: platform.name, version, way, engine: engine ?? "", outcome });
        }
        say(`${platform.name}: ${took()}`);
      } catch (error) {
        const isAbsent = error instanceof NotHere;
        count[isAbsent ? "skipped" : "failed"]++;
        say(
          `${isAbsent ? "not run" : "FAILED"} ${platform.name} after ${took()}: ${error instanceof Error ? error.message : error}`,
        );
        if (!isAbsent)
          rows.push({ platform: platform.name, version: "", way: "", engine: "", outcome: "**fails**" });
      }
    }
  } finally {
    await close();
  }
  const names = PLATFORMS.map(({ name }) => name);
  writeFileSync(README, update(readFileSync(README, "utf8"), rows, names));
  console.log(
    `${count.passed} passed, ${count.failed} failed${count.skipped > 0 ? `, ${count.skipped} skipped` : ""}`,
  );
  // a server or a browser that is slow to end does not keep it waiting
  process.exit(count.failed > 0 ? 1 : 0);
});
