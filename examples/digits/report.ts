/** The report: how the training went, and what the network sees in strings it has never seen. */
import { cells, lineChart, mean, thin } from "../support/charts.js";
import { lossFigure, smoothed, timeFigure } from "../support/curves.js";
import { type Content, figure, grid, html, type Markup, page } from "../support/html.js";
import { CLASSES, HEIGHT } from "./data.js";
import { labelErrorRate, type Reading } from "./reading.js";
import type { Step } from "./training.js";

/** What there is to report. */
export interface Results {
  readonly steps: readonly Step[];
  readonly readings: readonly Reading[];
  readonly seed: number;
  /** What the tested digits are called: unseen, or held back. */
  readonly tested: string;
  readonly seconds: number;
}

const percent = (rate: number, digits = 1): string => `${(100 * rate).toFixed(digits)} %`;

/** The whole report as one HTML document. */
export function report({ steps, readings, seed, tested, seconds }: Results): string {
  const rate = labelErrorRate(readings);
  const digits = readings.reduce((sum, { string }) => sum + string.labels.length, 0);
  const wrong = readings.filter(({ errors }) => errors > 0);
  const inLoss = mean(steps.map(({ milliseconds }) => milliseconds.loss));
  const inRest = mean(steps.map(({ milliseconds }) => milliseconds.rest));
  return page({
    title: "Reading strings of handwritten digits",
    lead: html`A small network slides over the columns of an image and says at each one which digit it sees, or none. Nobody told it
where the digits stand: it was given strings and what they say, and the CTC loss did the rest.`,
    facts: [
      {
        value: (100 * rate).toFixed(1),
        unit: "%",
        caption: `label error rate on ${digits} ${tested} digits`,
      },
      {
        value: `${readings.length - wrong.length}`,
        unit: `of ${readings.length}`,
        caption: "strings read without a mistake",
      },
      { value: steps.length.toLocaleString("en"), caption: `training steps of 32 strings, seed ${seed}` },
      {
        value: inLoss.toFixed(2),
        unit: "ms",
        caption: `a step in the loss and its gradient, ${inRest.toFixed(1)} ms in the rest`,
      },
      { value: seconds.toFixed(0), unit: "s", caption: "from start to end" },
    ],
    sections: [
      { title: "Learning", body: curves(steps, rate, `${digits} ${tested}`) },
      {
        title: "What it sees",
        text: `Twelve of the ${readings.length} strings put together from the ${tested} digits. Under each picture stands what was read,
where the network names it, and below that the probability of every class at every column. Most columns are blank (–): the
network names a digit once, when it has seen enough of it.`,
        body: grid(sample(readings, 12).map(card), 340),
      },
      {
        title: wrong.length === 0 ? "No mistakes" : "Its mistakes",
        text:
          wrong.length === 0 ? "Every string was read as it is." : "Every string that was not read as it is.",
        body: grid(wrong.map(card), 340),
      },
    ],
    footer: html`Digits: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998
(CC BY 4.0). Trained on the first 1,347 of 1,797 at most; other people wrote the last 450.`,
  });
}

function curves(steps: readonly Step[], rate: number, tested: string): Markup {
  const rates = steps.map((step) => step.labelErrorRate);
  return grid(
    [
      lossFigure(steps, "strings"),
      figure(
        "Label error rate",
        lineChart({
          x: "step",
          yMin: 0,
          yMax: 0.4,
          format: (y) => `${Math.round(100 * y)} %`,
          series: [
            { name: "each step", ...thin(rates), color: 0, faint: true },
            { name: "smoothed", ...smoothed(rates), color: 0 },
          ],
          points: [{ x: steps.length, y: rate, label: `${percent(rate)} of ${tested}`, color: 1 }],
        }),
        "On each step's own strings, before it learns from them; the point is the test at the end.",
      ),
      timeFigure(steps),
    ],
    340,
  );
}

/** Some of the longer strings, evenly spread over all of them. */
function sample(readings: readonly Reading[], count: number): Reading[] {
  const long = readings.filter(({ string }) => string.labels.length >= 3);
  const stride = Math.max(1, Math.floor(long.length / count));
  return long.filter((_, i) => i % stride === 0).slice(0, count);
}

/** The longest string: five digits of eight columns, four gaps of two. */
const COLUMNS = 48;
/** Pixels of the screen: a column of the picture, a row of the output, the room for the names of those. */
const CELL = 7;
const ROW = 9;
const LEFT = 16;

/** A string, what was read in it, and the network's output, column under column. */
function card({ string, found, probabilities, errors }: Reading): Markup {
  const { columns, pixels, labels } = string;
  const ink = HEIGHT * CELL;
  const output = ink + 28;
  const bottom = output + CLASSES * ROW;
  const names: Content[] = [...Array.from({ length: CLASSES - 1 }, (_, digit) => String(digit)), "–"];
  const place = (column: number): number => LEFT + (column + 0.5) * CELL;
  // digits from above, the blank below them
  const classOf = (row: number): number => (row + 1) % CLASSES;
  const digits = {
    rows: CLASSES - 1,
    columns,
    value: (row: number, t: number) => probabilities[t * CLASSES + classOf(row)] as number,
  };
  const blank = {
    rows: 1,
    columns,
    value: (_: number, t: number) => 0.45 * (probabilities[t * CLASSES] as number),
  };
  const picture = html`<svg viewBox="0 0 ${LEFT + COLUMNS * CELL} ${bottom}" role="img" aria-label="${labels.join(" ")}">
${cells({ rows: HEIGHT, columns, value: (row, t) => pixels[t * HEIGHT + row] as number }, { x: LEFT, y: 0, width: CELL, height: CELL }, "var(--ink)")}
<rect class="gridline" x="${LEFT}" y="${output}" width="${columns * CELL}" height="${CLASSES * ROW}" fill="none"/>
${found.map(({ column }) => html`<line class="gridline" x1="${place(column)}" x2="${place(column)}" y1="${ink + 21}" y2="${bottom - ROW}"/>`)}
${cells(digits, { x: LEFT, y: output, width: CELL, height: ROW }, "var(--s1)")}
${cells(blank, { x: LEFT, y: bottom - ROW, width: CELL, height: ROW }, "var(--s0)")}
${names.map((name, row) => html`<text x="${LEFT - 6}" y="${output + row * ROW + 8}" text-anchor="end" style="font-size: 9px">${name}</text>`)}
${found.map(({ label, column }) => html`<text class="label" x="${place(column)}" y="${ink + 18}" text-anchor="middle" style="font-size: 15px; fill: var(--s1)">${label}</text>`)}
</svg>`;
  const read = found.map(({ label }) => label).join(" ");
  const title =
    errors === 0
      ? labels.join(" ")
      : html`${labels.join(" ")} <mark>read as ${read === "" ? "nothing" : read}</mark>`;
  return figure(title, picture);
}
