/** Measures the losses, and rivals beside them. See `npm run bench -- --help`. */
import { Command, Option } from "commander";
import { say, script } from "../scripts/support.mjs";
import { type Case, idOf } from "./cases.js";
import { cold } from "./cold.js";
import { type Engine, library, ours } from "./engines.js";
import { append, entriesOf } from "./history.js";
import { type Limits, limitOf, measureLimits } from "./limits.js";
import { commit, machine, nameOf, version } from "./machine.js";
import { estimate, geometricMean } from "./measure.js";
import { peers } from "./peers/index.js";
import { type Results, ratio } from "./run.js";
import { choose, measure, positive } from "./session.js";
import { duration, percent, table, times } from "./table.js";
import { torch } from "./torch.js";

interface Options {
  readonly engines: readonly string[];
  readonly torch: boolean;
  readonly peers: boolean;
  readonly rounds: number;
  readonly time: number;
  readonly record: boolean;
  readonly json: boolean;
}

/** Our own engines by the names that `--engines` takes. */
const OURS = {
  wasm: ["perdida", "wasm", "core"],
  anew: ["perdida, results made anew", "wasm", "anew"],
  arrays: ["perdida, plain arrays", "wasm", "arrays"],
  js: ["perdida js", "js", "arrays"],
} as const;

const command = new Command("npm run bench --")
  .description(
    "Medians of calls, value and gradient, with their 95 % intervals.\n\n" +
      "WORDS choose cases: those in whose family, name or shape one of them is found (ctc, cdist, 1024x1000).\n" +
      "The word cold measures the time from a program's start to the first gradient instead.",
  )
  .argument("[words...]", "which cases; all by default")
  .addOption(
    new Option(
      "--engines <names>",
      "ours: arrays in the core's memory (anew: but no out), in JavaScript's, the js engine",
    )
      .default(["wasm"], "wasm")
      .argParser((text) => text.split(",")),
  )
  .option(
    "--torch",
    "PyTorch's one-thread times beside ours; PERDIDA_PYTHON names a Python that has it",
    false,
  )
  .option("--peers", "other libraries of JavaScript beside ours; installs bench/peers", false)
  .option("--rounds <number>", "how often every case is visited", positive, 5)
  .option("--time <milliseconds>", "how long an engine is timed at a visit", positive, 100)
  .option("--record", "add the run to bench/history", false)
  .option("--json", "the results as JSON, the last thing on stdout", false)
  .parse();

await script(async () => {
  const options = command.opts<Options>();
  const words = command.args;
  if (options.json) console.log = console.error;
  if (words.includes("cold")) return cold(options.json);
  const cases = await choose(words);
  const unknown = options.engines.filter((name) => !(name in OURS));
  if (unknown.length > 0)
    command.error(`--engines: ${unknown.join(", ")} is none of ${Object.keys(OURS).join(", ")}`);

  const engines = await start(options);
  try {
    await bench(cases, engines, options);
  } finally {
    // a process that is left alone would keep this one waiting
    for (const engine of engines) engine.close?.();
  }
});

/** Our engines, the first being the one that others are compared with, and the rivals that are asked for. */
async function start({ engines, torch: withTorch, peers: withPeers }: Options): Promise<Engine[]> {
  const from = await library();
  const own = engines.map((key) => {
    const [name, engine, place] = OURS[key as keyof typeof OURS];
    return ours(from, name, engine, place, version());
  });
  return [...own, ...(withPeers ? await peers() : []), ...(withTorch ? [await torch()] : [])];
}

async function bench(cases: readonly Case[], engines: readonly Engine[], options: Options): Promise<void> {
  const here = machine();
  const limits = await measureLimits();
  const top = limits.copy.map(({ rate }) => (rate / 1e6).toFixed(0)).join(", ");
  say(nameOf(here));
  say(
    `Node ${process.versions.node}; ${engines.map(({ name, version }) => `${name} ${version}`).join("; ")}; ` +
      `copies ${top} GB/s from 4 kB to 128 MB, computes ${(limits.flops / 1e6).toFixed(0)} GFLOP/s`,
  );
  const { results, troubled } = await measure(cases, engines, options, (family, chosen, measured) =>
    console.log(`\n${family}\n${tableOf(chosen, engines, measured, limits)}`),
  );
  if (troubled) process.exitCode = 1;

  const versions = Object.fromEntries([
    ["node", process.versions.node],
    ...engines.map((e) => [e.name, e.version]),
  ]);
  const [time, at] = [new Date().toISOString(), await commit()];
  const run = {
    time,
    commit: at,
    machine: here,
    versions,
    rounds: options.rounds,
    limits,
    results: entriesOf(results),
  };
  if (options.json) process.stdout.write(`${JSON.stringify(run, null, 1)}\n`);
  console.log("");
  if (options.record) say(`added to ${append(run).split(/[\\/]/).slice(-3).join("/")}`);
}

/** Our times, how near they come to the limit, and each rival's times with how many times as long they are. */
function tableOf(
  cases: readonly Case[],
  engines: readonly Engine[],
  results: Results,
  limits: Limits,
): string {
  const [first, ...rivals] = engines as [Engine, ...Engine[]];
  const taking = rivals.filter(({ name }) => cases.some((one) => results.get(idOf(one))?.has(name)));
  const ratios = new Map(taking.map(({ name }) => [name, [] as number[]]));
  // there is no room for the intervals of many
  const cells = (...of: [string, string, string]): string[] => of.slice(0, taking.length === 1 ? 3 : 2);
  const rows = cases.flatMap((one) => {
    const rounds = results.get(idOf(one));
    const mine = rounds?.get(first.name);
    if (rounds === undefined || mine === undefined) return [];
    const { median, low, high } = estimate(mine);
    const beside = taking.flatMap(({ name }) => {
      const theirs = rounds.get(name);
      if (theirs === undefined) return cells("", "", "");
      const between = ratio(theirs, mine);
      ratios.get(name)?.push(between.median);
      const interval = `${times(between.low)} - ${times(between.high)}`;
      return cells(duration(estimate(theirs).median), times(between.median), interval);
    });
    const spread = `${duration(low)} - ${duration(high)}`;
    return [[idOf(one), duration(median), spread, percent(limitOf(limits, one) / median), ...beside]];
  });
  const means = taking.flatMap(({ name }) => {
    const of = ratios.get(name) ?? [];
    return cells("", of.length > 1 ? times(geometricMean(of)) : "", "");
  });
  if (taking.length > 0 && rows.length > 1) rows.push(["geometric mean", "", "", "", ...means]);
  const beside = taking.flatMap(({ name }) => cells(name, "ratio", "interval"));
  return table(["", first.name, "interval", "limit", ...beside], rows);
}
