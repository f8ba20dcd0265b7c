/** What became faster or slower. See `npm run bench:compare -- --help`. */
import { existsSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { Command } from "commander";
import { cacheFolder, Failure, run, say, script, step } from "../scripts/support.mjs";
import { idOf } from "./cases.js";
import { type Engine, type Library, library, ours } from "./engines.js";
import { history, last } from "./history.js";
import { type Limits, limitOf, measureLimits } from "./limits.js";
import { machine, nameOf, version } from "./machine.js";
import { type Estimate, estimate, geometricMean } from "./measure.js";
import { ratio } from "./run.js";
import { choose, measure, positive } from "./session.js";
import { duration, table, times } from "./table.js";

interface Options {
  readonly against?: string;
  readonly rounds: number;
  readonly time: number;
}

/** Two runs of one commit differ by as much here and there, whatever their intervals say: where arrays lie, what else goes on. */
const NOISE = 1.1;
/** In one run the two sides meet the same machine. */
const NOISE_IN_ONE_RUN = 1.03;

const command = new Command("npm run bench:compare --")
  .description(
    "The time of each kernel, divided by that of its last record on this machine in bench/history.\n" +
      "Flagged are those whose interval lies beyond what noise explains; it ends with 1 where one got slower.\n\n" +
      "With --against, the library of a commit is built and measured in turns with the present one: far less noise.",
  )
  .argument("[words...]", "which cases; all by default")
  .option("--against <commit>", "compare with this commit instead of with the history")
  .option("--rounds <number>", "how often every case is visited", positive, 7)
  .option("--time <milliseconds>", "how long a library is timed at a visit", positive, 60)
  .parse();

/** The library of another commit, built from its own files, which are kept in the cache. */
async function libraryOf(name: string): Promise<{ from: Library; commit: string }> {
  const commit = (await run("git", ["rev-parse", "--verify", `${name}^{commit}`])).trim().slice(0, 12);
  const folder = join(cacheFolder(), "bench", commit);
  if (!existsSync(join(folder, "package.json"))) {
    mkdirSync(folder, { recursive: true });
    const archive = `${folder}.tar`;
    await run("git", ["archive", "--output", archive, commit]);
    await run("tar", ["-xf", archive, "-C", folder]);
    rmSync(archive);
  }
  await step(`builds ${commit}`, (tell) =>
    run(process.execPath, ["scripts/build.mjs", "js"], { cwd: folder, tell }),
  );
  const load = async (entry: string) => {
    const file = join(folder, "dist", `${entry}.js`);
    return existsSync(file) ? import(pathToFileURL(file).href) : {};
  };
  return { from: { perdida: await load("index"), energy: await load("energy") }, commit };
}

interface Row {
  readonly id: string;
  readonly now: number;
  readonly before: number;
  readonly ratio: Estimate;
}

/** Now over then, from two medians and their intervals: the least and the most that they allow. */
function quotient(now: Estimate, then: Estimate): Estimate {
  return { median: now.median / then.median, low: now.low / then.high, high: now.high / then.low };
}

await script(async () => {
  const { against, ...plan } = command.opts<Options>();
  const cases = await choose(command.args);
  const engine = ours(await library(), "perdida", "wasm", "core", version());
  say(nameOf(machine()));
  const rows = against === undefined ? await withHistory(engine) : await withCommit(engine, against);
  const noise = against === undefined ? NOISE : NOISE_IN_ONE_RUN;
  if (rows.length === 0) throw new Failure("there is nothing to compare with: npm run bench -- --record");
  const verdict = ({ ratio: { low, high } }: Row): string =>
    low > noise ? "SLOWER" : high < 1 / noise ? "faster" : "";
  const lines = [...rows]
    .sort((a, b) => b.ratio.median - a.ratio.median)
    .map((row) => {
      const { median, low, high } = row.ratio;
      const interval = `${times(low)} - ${times(high)}`;
      return [row.id, duration(row.before), duration(row.now), times(median), interval, verdict(row)];
    });
  const slower = rows.filter((row) => verdict(row) === "SLOWER").length;
  console.log(`\n${table(["", "before", "now", "ratio", "interval", ""], lines)}\n`);
  const mean = geometricMean(rows.map((row) => row.ratio.median));
  say(
    `${rows.length} compared, geometric mean ${times(mean)}; ${slower} got slower than noise (${times(noise)})`,
  );
  if (slower > 0) process.exitCode = 1;

  async function withCommit(engine: Engine, name: string): Promise<Row[]> {
    const { from, commit } = await libraryOf(name);
    const before = ours(from, "before", "wasm", "core", commit);
    say(`against ${commit}, in turns`);
    const { results } = await measure(cases, [engine, before], plan, () => {});
    return [...results].flatMap(([id, engines]) => {
      const [now, then] = [engines.get("perdida"), engines.get("before")];
      if (now === undefined || then === undefined) return [];
      return [{ id, now: estimate(now).median, before: estimate(then).median, ratio: ratio(now, then) }];
    });
  }

  async function withHistory(engine: Engine): Promise<Row[]> {
    const runs = history(machine());
    const known = cases.filter((one) => last(runs, "perdida", idOf(one)) !== undefined);
    if (known.length === 0) return [];
    const limits = await measureLimits();
    const { results } = await measure(known, [engine], plan, () => {});
    const commits = new Set<string>();
    const rows = known.flatMap((one) => {
      const id = idOf(one);
      const record = last(runs, "perdida", id);
      const rounds = results.get(id)?.get("perdida");
      if (record === undefined || rounds === undefined) return [];
      commits.add(record.run.commit);
      const now = estimate(rounds);
      const raw = quotient(now, record.estimate);
      // the machine itself may be slower or faster today, by as much as a case's limit is: both readings count
      const drift = limitOf(limits, one) / limitOf(record.run.limits as Limits, one);
      const low = Math.min(raw.low, raw.low / drift);
      const high = Math.max(raw.high, raw.high / drift);
      return [
        { id, now: now.median, before: record.estimate.median, ratio: { median: raw.median, low, high } },
      ];
    });
    say(`against the last records, of ${[...commits].join(", ")}`);
    return rows;
  }
});
