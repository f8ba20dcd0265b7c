/** Learns to read strings of one to five handwritten digits, with the CTC loss, in about a minute. See `npm start -- --help`. */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { setImmediate } from "node:timers/promises";
import { Command } from "commander";
import { randomLcg } from "d3-random";
import { engine } from "perdida";
import { smooth } from "../support/charts.js";
import { whole } from "../support/options.js";
import { progressBar } from "../support/progress.js";
import { startTensorFlow } from "../support/tensorflow.js";
import { readDigits, split, testStrings, trainingStrings } from "./data.js";
import { Network } from "./network.js";
import { labelErrorRate, read } from "./reading.js";
import { report } from "./report.js";
import { type Step, train } from "./training.js";

interface Options {
  readonly steps: number;
  readonly seed: number;
  readonly report: string;
  readonly validate: boolean;
}

const command = new Command("npm start --")
  .description(
    "Learns to read strings of one to five handwritten digits, then reads 450 digits that other people wrote.",
  )
  .option("--steps <number>", "training steps of 32 strings each", whole(1), 2000)
  .option("--seed <number>", "where the random numbers start; the same seed, the same result", whole(0), 1)
  .option("--report <file>", "where to write the report", "reports/digits.html")
  .option("--validate", "for making choices: hold back 270 of the training digits and test on those", false)
  .allowExcessArguments(false)
  .parse();

const DECAY = 0.97;
const last = (values: ArrayLike<number>): number => values[values.length - 1] ?? Number.NaN;

/** How it stands after some steps. */
function standing(steps: readonly Step[]): { loss: string; errors: string; inLoss: string; inRest: string } {
  const recent = steps.slice(-150);
  const smoothed = (f: (step: Step) => number): number => last(smooth(recent.map(f), DECAY));
  return {
    loss: smoothed(({ loss }) => loss).toFixed(3),
    errors: (100 * smoothed((step) => step.labelErrorRate)).toFixed(1),
    inLoss: smoothed(({ milliseconds }) => milliseconds.loss).toFixed(2),
    inRest: smoothed(({ milliseconds }) => milliseconds.rest).toFixed(1),
  };
}

async function main({ steps: count, seed, report: file, validate }: Options): Promise<void> {
  const { training, test } = split(readDigits(new URL("../data/digits.csv", import.meta.url)), validate);
  const tested = validate ? "held-back" : "unseen";
  await startTensorFlow();
  const network = new Network(seed);
  console.log(
    `learns from ${training.length.toLocaleString("en")} digits; the loss is computed by perdida (${engine().name} engine)`,
  );

  let stopped = false;
  // a second Ctrl-C ends it at once
  process.once("SIGINT", () => {
    stopped = true;
  });
  const steps: Step[] = [];
  const bar = progressBar(
    "{bar} {value}/{total}  {eta_formatted} to go  loss {loss}  label errors {errors} %  " +
      "ms a step: {inLoss} in the loss, {inRest} in the rest",
  );
  bar.start(count, 0, { loss: "-", errors: "-", inLoss: "-", inRest: "-" });
  for (const step of train(network, trainingStrings(training, randomLcg(seed)), count)) {
    steps.push(step);
    bar.update(steps.length, standing(steps));
    // lets Ctrl-C be heard
    await setImmediate();
    if (stopped) break;
  }
  bar.stop();
  if (stopped) {
    const { loss, errors } = standing(steps);
    console.log(
      `stopped after ${steps.length} of ${count} steps: loss ${loss}, ${errors} % label errors on training strings`,
    );
    process.exitCode = 130;
    return;
  }

  const readings = read(network, testStrings(test));
  const seconds = performance.now() / 1000;
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, report({ steps, readings, seed, tested, seconds }));
  const inLoss = steps.reduce((sum, { milliseconds }) => sum + milliseconds.loss, 0) / 1000;
  const inRest = steps.reduce((sum, { milliseconds }) => sum + milliseconds.rest, 0) / 1000;
  console.log(
    `training: ${inLoss.toFixed(1)} s in the loss and its gradient, ${inRest.toFixed(1)} s in the rest`,
  );
  console.log(`report: ${file}`);
  const rate = (100 * labelErrorRate(readings)).toFixed(1);
  console.log(`label error rate ${rate} % on ${test.length} ${tested} digits, ${seconds.toFixed(1)} s`);
}

await main(command.opts<Options>());
