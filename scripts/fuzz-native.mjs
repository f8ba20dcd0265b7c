/**
 * Fuzzes the door natively: the core on portable lanes, with the checks of a debug build and the address sanitizer.
 *
 *   node scripts/fuzz-native.mjs [--minutes 5] [--seed N] [targets, by default all that fuzz/ has]
 *
 * The targets take turns until their minutes of processor time are used up, so a machine that is busy with other things makes it take
 * longer and do no less. It needs `rustup toolchain install nightly` and `cargo install cargo-fuzz`. An input that breaks something is
 * kept in fuzz/artifacts; `PERDIDA_SHOW=1 fuzz/target/.../release/TARGET INPUT` shows what it was.
 */
import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { attempt, Failure, ROOT, run, script } from "./support.mjs";

/** Seconds of a turn. */
const TURN = 60;

const FUZZ = join(ROOT, "fuzz");
const every = readdirSync(join(FUZZ, "targets"))
  .filter((file) => file.endsWith(".rs"))
  .map((file) => file.slice(0, -3));

await script(async () => {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { minutes: { type: "string", default: "5" }, seed: { type: "string" } },
  });
  const minutes = Number(values.minutes);
  const seed = Number(values.seed ?? 1 + Math.floor(Math.random() * 1e9));
  if (!(minutes > 0 && Number.isInteger(seed))) throw new Failure("--minutes and --seed take numbers");
  const unknown = positionals.filter((target) => !every.includes(target));
  if (unknown.length > 0) throw new Failure(`${unknown[0]} is none of ${every.join(", ")}`);
  const targets = positionals.length > 0 ? positionals : every;

  console.log(`fuzzes ${targets.join(", ")} for ${minutes} minutes of processor time, seed ${seed}`);
  const hint =
    "Fuzzing needs the nightly toolchain (rustup toolchain install nightly) and cargo install cargo-fuzz.";
  await run("cargo", ["+nightly", "fuzz", "build", "--fuzz-dir", FUZZ], { hint });
  const triple = /^host: (.+)$/m.exec(await run("rustc", ["+nightly", "-vV"]))?.[1];
  const program = (/** @type {string} */ target) => join(FUZZ, "target", `${triple}`, "release", target);

  const total = new Map(targets.map((target) => [target, { cases: 0, seconds: 0, failures: 0 }]));
  const used = () => [...total.values()].reduce((sum, { seconds }) => sum + seconds, 0);
  for (let turn = 0; used() < minutes * 60; turn++) {
    const target = /** @type {string} */ (targets[turn % targets.length]);
    const [corpus, artifacts] = [join(FUZZ, "corpus", target), join(FUZZ, "artifacts", target)];
    for (const folder of [corpus, artifacts]) mkdirSync(folder, { recursive: true });
    const left = Math.ceil(minutes * 60 - used());
    const options = [
      `-max_total_time=${Math.max(1, Math.min(TURN, left))}`,
      `-seed=${seed + turn}`,
      "-max_len=256",
      // a machine may stop it for a while
      "-timeout=200",
      "-print_final_stats=1",
      `-artifact_prefix=${artifacts}/`,
    ];
    // the shell's `time` knows what a program has used
    const timed = 'TIMEFORMAT="processor %U %S"; time "$@"';
    const { ok, output } = await attempt("bash", ["-c", timed, "bash", program(target), corpus, ...options]);
    const number = (/** @type {RegExp} */ what) => Number(what.exec(output)?.[1] ?? 0);
    const one = /** @type {{ cases: number, seconds: number, failures: number }} */ (total.get(target));
    const seconds = number(/processor ([\d.]+)/) + number(/processor [\d.]+ ([\d.]+)/);
    one.cases += number(/stat::number_of_executed_units:\s*(\d+)/);
    one.seconds += Math.max(seconds, 0.1);
    if (!ok) {
      one.failures += 1;
      const words = output
        .split("\n")
        .filter((line) => /panicked|^SUMMARY|Test unit written|^\w.*slot/.test(line));
      console.error(`${target}, seed ${seed + turn}:\n  ${words.join("\n  ") || output.slice(-2000)}`);
      if (one.failures > 20) throw new Failure(`${target} fails again and again`);
    }
    console.log(
      `${(used() / 60).toFixed(1).padStart(6)} min  ${target.padEnd(10)} ${one.cases} cases, ${one.failures} failures`,
    );
  }
  for (const [target, { cases, seconds, failures }] of total)
    console.log(
      `${target.padEnd(10)} ${String(cases).padStart(9)} cases in ${(seconds / 60).toFixed(1)} minutes, ${failures} failures`,
    );
  const failures = [...total.values()].reduce((sum, one) => sum + one.failures, 0);
  console.log(`${[...total.values()].reduce((sum, one) => sum + one.cases, 0)} cases, ${failures} failures`);
  if (failures > 0) process.exitCode = 1;
});
