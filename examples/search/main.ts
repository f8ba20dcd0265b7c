/** Learns to search handwritten digits by image, with batch-hard triplets, in about half a minute. See `npm run example:search -- --help`. */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { setImmediate } from "node:timers/promises";
import { Command } from "commander";
import { randomLcg } from "d3-random";
import { engine } from "perdida";
import { type Digit, readDigits, split } from "../digits/data.js";
import { smooth } from "../support/charts.js";
import { whole } from "../support/options.js";
import { progressBar } from "../support/progress.js";
import { Network } from "./network.js";
import { align, project } from "./plane.js";
import { report, type Snapshot } from "./report.js";
import { imagesOf, type Precision, precision, searchAll } from "./search.js";
import { type Step, train } from "./training.js";

interface Options {
  readonly steps: number;
  readonly seed: number;
  readonly report: string;
  readonly validate: boolean;
}

const command = new Command("npm run example:search --")
  .description(
    "Learns embeddings of handwritten digits, then looks up each of 450 digits that other people wrote among the others.",
  )
  .option("--steps <number>", "training steps of 30 images each", whole(1), 2000)
  .option("--seed <number>", "where the random numbers start; the same seed, the same result", whole(0), 1)
  .option("--report <file>", "where to write the report", "reports/search.html")
  .option("--validate", "for making choices: hold back 270 of the training digits and search those", false)
  .allowExcessArguments(false)
  .parse();

const percent = (rate: number): string => `${(100 * rate).toFixed(1)} %`;
const words = ({ at1, at10 }: Precision): string =>
  `${percent(at1)} of first hits, ${percent(at10)} of the first ten`;

/** How it stands now. */
function snapshot(
  network: Network,
  digits: readonly Digit[],
  steps: number,
  last: Snapshot | undefined,
): Snapshot {
  const embeddings = network.embed(imagesOf(digits));
  const places = project(embeddings);
  return {
    steps,
    precision: precision(searchAll(embeddings), digits),
    places: last === undefined ? places : align(places, last.places),
  };
}

async function main({ steps: count, seed, report: file, validate }: Options): Promise<void> {
  const { training, test } = split(readDigits(new URL("../data/digits.csv", import.meta.url)), validate);
  const tested = validate ? "held-back" : "unseen";
  const network = new Network(seed);
  const byPixels = precision(searchAll(imagesOf(test)), test);
  const snapshots = [snapshot(network, test, 0, undefined)];
  console.log(
    `learns from ${training.length.toLocaleString("en")} digits; loss and search are perdida's (${engine().name} engine)`,
  );

  let stopped = false;
  // a second Ctrl-C ends it at once
  process.once("SIGINT", () => {
    stopped = true;
  });
  const steps: Step[] = [];
  const pictures = new Set([0.01, 0.03, 0.1, 0.3, 1].map((part) => Math.max(1, Math.round(part * count))));
  const bar = progressBar(
    "{bar} {value}/{total}  {eta_formatted} to go  loss {loss}  active anchors {active}",
  );
  bar.start(count, 0, { loss: "-", active: "-" });
  for (const step of train(network, training, randomLcg(seed), count)) {
    steps.push(step);
    const recent = smooth(
      steps.slice(-100).map(({ loss }) => loss),
      0.95,
    );
    bar.update(steps.length, {
      loss: recent[recent.length - 1]?.toFixed(3),
      active: `${step.active} of ${step.anchors}`,
    });
    if (pictures.has(steps.length)) {
      snapshots.push(snapshot(network, test, steps.length, snapshots[snapshots.length - 1]));
    }
    // lets Ctrl-C be heard
    await setImmediate();
    if (stopped) break;
  }
  bar.stop();
  if (stopped) {
    console.log(`stopped after ${steps.length} of ${count} steps`);
    process.exitCode = 130;
    return;
  }

  const answers = searchAll(network.embed(imagesOf(test)));
  const [before, after] = [snapshots[0], snapshots[snapshots.length - 1]] as [Snapshot, Snapshot];
  const seconds = performance.now() / 1000;
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, report({ steps, digits: test, tested, answers, snapshots, byPixels, seed, seconds }));
  const inLoss = steps.reduce((sum, { milliseconds }) => sum + milliseconds.loss, 0) / 1000;
  const inRest = steps.reduce((sum, { milliseconds }) => sum + milliseconds.rest, 0) / 1000;
  console.log(
    `training: ${inLoss.toFixed(1)} s in the loss and its gradient, ${inRest.toFixed(1)} s in the rest`,
  );
  console.log(`report: ${file}`);
  console.log(`right, by pixels: ${words(byPixels)}`);
  console.log(`before training: ${words(before.precision)}`);
  console.log(
    `after training: ${words(after.precision)}; ${test.length} ${tested} digits, ${seconds.toFixed(1)} s`,
  );
}

await main(command.opts<Options>());
