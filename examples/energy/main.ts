/** Trains a small energy-based model with each loss of the lecture's table, and measures what it says. See `npm run example:energy -- --help`. */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { Command } from "commander";
import { engine } from "perdida";
import { readDigits, split } from "../digits/data.js";
import { whole } from "../support/options.js";
import { type Measured, trainOnDigits } from "./digits.js";
import { LOSSES } from "./losses.js";
import { type Film, film } from "./parabola.js";
import { report } from "./report.js";

interface Options {
  readonly epochs: number;
  readonly steps: number;
  readonly seed: number;
  readonly report: string;
}

const command = new Command("npm run example:energy --")
  .description(
    "Trains a small energy-based classifier of handwritten digits with each loss of perdida/energy, from the same start, " +
      "and measures it on 450 digits that other people wrote; then draws how each loss shapes the energies of a problem of one dimension.",
  )
  .option("--epochs <number>", "how often each training digit is seen", whole(1), 30)
  .option("--steps <number>", "steps of the problem of one dimension", whole(60), 1200)
  .option("--seed <number>", "where the random numbers start; the same seed, the same result", whole(0), 1)
  .option("--report <file>", "where to write the report", "reports/energy.html")
  .allowExcessArguments(false)
  .parse();

/** The table's columns, and how wide they are. */
const COLUMNS = ["loss", "formula", "margin", "test error", "mean margin", "collapsed?"];
const WIDTHS = [15, 36, 9, 11, 12, 11];

function line(cells: readonly string[]): string {
  // combining characters take no room
  const length = (text: string): number => text.replace(/\u0305/g, "").length;
  return cells
    .map((cell, i) => cell + " ".repeat(Math.max(1, (WIDTHS[i] as number) - length(cell))))
    .join("")
    .trimEnd();
}

function row({ loss, error, margin, collapsed }: Measured): string {
  const percent = `${(100 * error).toFixed(1)} %`.padStart(7);
  return line([
    loss.name,
    loss.formula,
    loss.margin,
    percent,
    margin.toFixed(3).padStart(8),
    collapsed ? "yes" : "no",
  ]);
}

function main({ epochs, steps, seed, report: file }: Options): void {
  const { training, test } = split(readDigits(new URL("../data/digits.csv", import.meta.url)), false);
  console.log(
    `learns from ${training.length.toLocaleString("en")} digits, measured on ${test.length} others; the losses are perdida's (${engine().name} engine)\n`,
  );
  console.log(line(COLUMNS));
  console.log("─".repeat(WIDTHS.reduce((a, b) => a + b)));
  const measured: Measured[] = [];
  for (const loss of LOSSES) {
    const result = trainOnDigits(loss, training, test, { epochs, seed });
    measured.push(result);
    console.log(row(result));
  }
  console.log(
    "\nY is the correct answer, Y̅ the most offending incorrect one; m and β are 1. Mean margin: E(Y̅) − E(Y) on digits not learnt from.\nCollapsed: a digit's energies are within 1 % of how far apart they were at the start.\n",
  );
  const films: Film[] = [];
  for (const loss of LOSSES) films.push(film(loss, { steps, seed }));
  const seconds = performance.now() / 1000;
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, report({ measured, films, seed, epochs, digits: test.length, seconds }));
  console.log(`report: ${file}, ${seconds.toFixed(1)} s`);
}

main(command.opts<Options>());
