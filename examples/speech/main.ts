/** Learns to hear spoken digits with the CTC loss, and says when each word is spoken. See `npm run example:speech -- --help`. */
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
import { writeWav } from "./audio.js";
import { logMel } from "./features.js";
import { align, errorRates, hear } from "./hearing.js";
import {
  findSpeaker,
  nameOf,
  type Recording,
  readKept,
  speakAll,
  UNHEARD,
  VOICES,
  type Wish,
  wish,
} from "./recordings.js";
import { report } from "./report.js";
import { Listener, type Step, train } from "./training.js";
import { webVtt } from "./vtt.js";
import { spell } from "./words.js";

interface Options {
  readonly steps: number;
  readonly seed: number;
  readonly report: string;
  readonly kept: boolean;
  readonly install: boolean;
  readonly record?: string;
}

const command = new Command("npm run example:speech --")
  .description(
    "Learns to hear digits that espeak-ng speaks, is tested on voices that it never heard, and aligns a recording with its words.",
  )
  .option("--steps <number>", "training steps of 16 recordings each", whole(1), 900)
  .option("--seed <number>", "where the random numbers start", whole(0), 1)
  .option(
    "--report <file>",
    "where to write the report; the WebVTT file stands beside it",
    "reports/speech.html",
  )
  .option("--kept", "use only the recordings that are kept in the repository", false)
  .option("--no-install", "do not install espeak-ng where it is missing")
  .option("--record <folder>", "write the recordings that are kept anew, and do nothing else")
  .allowExcessArguments(false)
  .parse();

/** Of this voice the same words are kept slowly and fast. */
const PAIR = "en-us+m4";

/** The recordings that are kept: some to learn from, and of voices that are not among those a test and the same words slowly and fast. */
const KEPT: readonly Omit<Wish, "pitch">[] = [
  ...[
    "031",
    "4926",
    "587",
    "1740",
    "8253",
    "6194",
    "9305",
    "2718",
    "7460",
    "3589",
    "0627",
    "5138",
    "4691",
    "7802",
    "9354",
    "1826",
    "8037",
    "2469",
    "6158",
    "3904",
    "7215",
    "0483",
    "9671",
    "5260",
  ].map((digits, i) => ({
    digits: Array.from(digits, Number),
    voice: VOICES[(i * 11) % VOICES.length] as string,
    speed: 165 + ((i * 37) % 90),
  })),
  { digits: [2, 7, 9, 0, 5], voice: PAIR, speed: 120 },
  { digits: [2, 7, 9, 0, 5], voice: PAIR, speed: 270 },
  { digits: [3, 8, 1, 5, 4], voice: "en-us+f3", speed: 160 },
  { digits: [6, 0, 4, 9], voice: "en-gb+m6", speed: 190 },
  { digits: [1, 6, 3, 8], voice: "en-gb+belinda", speed: 190 },
];

/** Recordings to learn from and to be tested on. */
interface Material {
  readonly lessons: readonly Recording[];
  readonly tests: readonly Recording[];
  readonly source: string;
  /** The one that is aligned for the report. */
  readonly shown: Recording;
}

const LESSONS = 480;
const TESTS = 70;

async function gather(
  { kept: onlyKept, install, seed }: Options,
  kept: readonly Recording[],
): Promise<Material> {
  if (onlyKept || !findSpeaker(install, (line) => console.log(line))) {
    if (!onlyKept) {
      console.log(
        "espeak-ng is missing: takes the recordings that are kept here (to install it: apt-get install espeak-ng)",
      );
    }
    console.log(
      "half a minute of speech: enough to learn it by heart, not to understand voices that are not in it",
    );
    // the pair is for the report, not for the test
    const unheard = ({ voice }: Recording): boolean => UNHEARD.includes(voice) && voice !== PAIR;
    return {
      lessons: kept.filter((one) => !unheard(one)),
      tests: kept.filter(unheard),
      source: "those that are kept",
      shown: kept.find((one) => one.digits.length > 3) as Recording,
    };
  }
  const random = randomLcg(seed + 0.5);
  const wishes = [
    ...Array.from({ length: LESSONS }, () => wish(random, VOICES, 2 + Math.floor(4 * random()))),
    ...Array.from({ length: TESTS }, (_, i) => wish(random, [UNHEARD[i % UNHEARD.length] as string], 5)),
  ];
  const bar = progressBar("{bar} {value}/{total} recordings");
  bar.start(wishes.length, 0);
  const recordings = await speakAll(wishes, (count) => bar.update(count));
  bar.stop();
  return {
    lessons: recordings.slice(0, LESSONS),
    tests: recordings.slice(LESSONS),
    source: "made by espeak-ng",
    shown: find(kept, "en-us+f3", 160),
  };
}

async function record(folder: string): Promise<void> {
  mkdirSync(folder, { recursive: true });
  for (const recording of await speakAll(
    KEPT.map((one) => ({ ...one, pitch: 50 })),
    () => {},
  )) {
    writeFileSync(`${folder}/${nameOf(recording)}`, writeWav(recording.sound));
  }
}

/** A recording that is kept. */
function find(kept: readonly Recording[], voice: string, speed: number): Recording {
  const found = kept.find((one) => one.voice === voice && one.speed === speed);
  if (found === undefined) throw new Error(`There is no recording of ${voice} at ${speed} words a minute.`);
  return found;
}

async function main(options: Options): Promise<void> {
  const { steps: count, seed, report: file } = options;
  if (options.record !== undefined) {
    await record(options.record);
    return;
  }
  const kept = readKept();
  const { lessons, tests, source, shown } = await gather(options, kept);
  const voices = new Set(lessons.map(({ voice }) => voice)).size;
  await startTensorFlow();
  const network = new Listener(seed);
  console.log(
    `learns from ${lessons.length} recordings of ${voices} voices; the loss is computed by perdida (${engine().name} engine)`,
  );

  let stopped = false;
  // a second Ctrl-C ends it at once
  process.once("SIGINT", () => {
    stopped = true;
  });
  const steps: Step[] = [];
  const bar = progressBar(
    "{bar} {value}/{total}  {eta_formatted} to go  loss {loss}  ms a step: {inLoss} in the loss, {inRest} in the rest",
  );
  const smoothed = (of: (step: Step) => number): number =>
    smooth(steps.slice(-100).map(of), 0.95).at(-1) ?? Number.NaN;
  bar.start(count, 0, { loss: "-", inLoss: "-", inRest: "-" });
  const material = lessons.map(({ sound, digits }) => ({
    features: logMel(sound.samples),
    labels: spell(digits),
  }));
  for (const step of train(network, material, count, randomLcg(seed))) {
    steps.push(step);
    bar.update(steps.length, {
      loss: smoothed(({ loss }) => loss).toFixed(3),
      inLoss: smoothed(({ milliseconds }) => milliseconds.loss).toFixed(2),
      inRest: smoothed(({ milliseconds }) => milliseconds.rest).toFixed(1),
    });
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

  const pair = [find(kept, PAIR, 120), find(kept, PAIR, 270)];
  const heard = tests.map((recording) => hear(network, recording));
  const aligned = align(network, shown);
  const seconds = performance.now() / 1000;
  const subtitles = file.replace(/(\.html)?$/, ".vtt");
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(subtitles, webVtt(aligned.cues));
  writeFileSync(
    file,
    report({
      ...{ steps, aligned, recordings: lessons.length, voices, source, seconds },
      heard,
      known: lessons.includes(shown),
      pair: pair.map((recording) => align(network, recording)),
    }),
  );
  for (const { text, start, end } of aligned.cues)
    console.log(`${start.toFixed(2).padStart(6)} s to ${end.toFixed(2)} s  ${text}`);
  console.log(`words with times: ${subtitles}; report: ${file}`);
  const rates = errorRates(heard);
  console.log(`${(100 * rates.digits).toFixed(1)} % of digits wrong with a beam search that knows the words`);
  console.log(
    `label error rate ${(100 * rates.labels).toFixed(1)} % on ${rates.count.toLocaleString("en")} sounds of unheard voices, ${seconds.toFixed(1)} s`,
  );
}

await main(command.opts<Options>());
