/**
 * Fuzzes the public API: random programs of calls, each against the other engine and against the same call on copies (test/fuzz).
 *
 *   node scripts/fuzz.mjs [--minutes 5] [--seed N]
 *
 * The minutes are of processor time. The seed is printed; the same seed makes the same programs. What fails is printed as the shortest
 * program that shows it, for test/fuzz/found.ts.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { build } from "./build.mjs";
import { setup } from "./setup.mjs";
import { attempt, Failure, ROOT, script } from "./support.mjs";

await script(async () => {
  const { values } = parseArgs({
    options: { minutes: { type: "string", default: "5" }, seed: { type: "string" } },
  });
  const minutes = Number(values.minutes);
  const seed = Number(values.seed ?? 1 + Math.floor(Math.random() * 1e9));
  if (!(minutes > 0 && Number.isInteger(seed))) throw new Failure("--minutes and --seed take numbers");
  await build(await setup());
  console.log(`fuzzes the public API for ${minutes} minutes of processor time, seed ${seed}`);
  const env = { ...process.env, PERDIDA_FUZZ_MINUTES: `${minutes}`, PERDIDA_FUZZ_SEED: `${seed}` };
  const args = ["run", "--project", "simd", "--disableConsoleIntercept=true", "test/fuzz/fuzz.test.ts"];
  const vitest = join(ROOT, "node_modules/vitest/vitest.mjs");
  const { ok } = await attempt(process.execPath, [vitest, ...args], { env, output: "inherit" });
  if (!ok) process.exitCode = 1;
});
