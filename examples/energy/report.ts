/** The report: the table with what was measured, and for each loss how it shaped the energies. */
import { quantile } from "d3-array";
import { cells } from "../support/charts.js";
import { figure, grid, html, type Markup, page } from "../support/html.js";
import type { Measured } from "./digits.js";
import { COLUMNS, type Film, type Frame, GRID } from "./parabola.js";

/** What there is to report. */
export interface Results {
  readonly measured: readonly Measured[];
  readonly films: readonly Film[];
  readonly seed: number;
  readonly epochs: number;
  /** How many digits were tested on. */
  readonly digits: number;
  readonly seconds: number;
}

const percent = (share: number, digits = 1): string => `${(100 * share).toFixed(digits)} %`;

/** The whole report as one HTML document. */
export function report({ measured, films, seed, epochs, digits, seconds }: Results): string {
  const best = measured.reduce((a, b) => (b.error < a.error ? b : a));
  const collapsed = measured.filter((row) => row.collapsed);
  return page({
    title: "What losses do to energies",
    lead: html`An energy-based model gives every answer an energy and answers with the lowest. Training must push the correct answer
down, and it must keep the others up: not every loss does. The same small model was trained with each loss, from the same start.`,
    facts: [
      { value: String(measured.length), caption: "losses, one training each" },
      {
        value: (100 * best.error).toFixed(1),
        unit: "%",
        caption: `of ${digits} unseen digits wrong at best (${best.loss.name})`,
      },
      {
        value: String(collapsed.length),
        caption: `collapsed${collapsed.length > 0 ? `: ${collapsed.map(({ loss }) => loss.name).join(", ")}` : ""}`,
      },
      { value: String(epochs), caption: `times each training digit was seen, seed ${seed}` },
      { value: seconds.toFixed(0), unit: "s", caption: "from start to end" },
    ],
    sections: [
      {
        title: "Digits",
        text: html`The energy is the squared distance of the image's code to the answer's, both learnt, so it cannot fall below 0; a little of
the weights' squares is added to the mean loss. Y is the
correct answer, Y̅ the most offending incorrect one, m and β are 1. The column margin is what the loss asks for by its formula; the
three behind it were measured on digits not learnt from. The mean margin is E(Y̅) − E(Y), and the relief how far a digit's highest energy is above its
lowest, as a share of what it was at the start; below 1 % it counts as collapsed.`,
        body: table(measured),
      },
      {
        title: "y near x²",
        text: html`Answers are points of a line. Dark is low energy, against the lowest above each x; the thin line is x². Each strip shows the surface at the start, when
the training has begun, in its middle and at its end. Blue is where the loss pushes the energy down at that moment, orange where it
pushes up, the stronger the more. A loss that has come to rest pushes nowhere.`,
        body: grid(films.map(strip), 540),
      },
    ],
    footer: html`Losses: LeCun, Chopra, Hadsell, Ranzato, Huang, A Tutorial on Energy-Based Learning, 2006, table 1. Digits: E. Alpaydin and
C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998 (CC BY 4.0).`,
  });
}

function table(measured: readonly Measured[]): Markup {
  return html`<div class="wide"><table>
<tr><th>loss</th><th>formula</th><th>margin</th><th>test error</th><th>mean margin</th><th>relief</th><th>collapsed?</th></tr>
${measured.map(
  ({ loss, error, margin, relief, collapsed }) => html`<tr>
<td>${loss.name}</td><td>${loss.formula}</td><td>${loss.margin}</td>
<td>${error > 0.2 ? html`<mark>${percent(error)}</mark>` : percent(error)}</td>
<td>${margin > 0.05 ? margin.toFixed(2) : html`<mark>${margin.toFixed(4)}</mark>`}</td>
<td>${times(relief)}</td>
<td>${collapsed ? html`<mark>yes</mark>` : "no"}</td>
</tr>`,
)}
</table></div>`;
}

const CELL = { width: 3, height: 2 };
const PICTURE = { width: COLUMNS * CELL.width, height: GRID.count * CELL.height };
const GAP = 10;

function strip({ loss, frames, error, relief }: Film): Markup {
  const surfaces = frames.map(({ surface }) => aboveLowest(surface));
  const start = quantile(surfaces[0] as Float64Array, 0.75) as number;
  const width = frames.length * (PICTURE.width + GAP) - GAP;
  const picture = html`<svg viewBox="0 0 ${width} ${PICTURE.height + 16}" role="img" aria-label="energies of ${loss.name} over training">
${frames.map((frame, i) => {
  const surface = surfaces[i] as Float64Array;
  // what has become flat shows as flat, and in what has become steep the valley is still seen
  const scale = Math.max(start, quantile(surface, 0.5) as number);
  return moment(frame, surface, scale, i * (PICTURE.width + GAP));
})}
</svg>`;
  const caption = `Lowest energy ${error.toFixed(2)} from x² on average; relief ${times(relief)} the start's.`;
  return figure(`${loss.name}: ${loss.formula}`, picture, caption);
}

const times = (share: number): string =>
  share < 2 ? percent(share, share < 0.1 ? 1 : 0) : `${share.toFixed(0)} times`;

/** How far each energy is above the lowest of its column: a loss need not care for more. */
function aboveLowest(surface: Float64Array): Float64Array {
  return surface.map((e, i) => {
    const first = i - (i % GRID.count);
    return e - Math.min(...surface.subarray(first, first + GRID.count));
  });
}

function moment({ step, push }: Frame, surface: Float64Array, scale: number, x: number): Markup {
  const box = { x, y: 0, ...CELL };
  // high answers are above
  const at = (values: Float64Array) => (row: number, column: number) =>
    values[column * GRID.count + GRID.count - 1 - row] as number;
  const most = push.reduce((m, g) => Math.max(m, Math.abs(g)), 0);
  const strength = (sign: number) => (row: number, column: number) =>
    most === 0 ? 0 : Math.sqrt(Math.max(0, (sign * at(push)(row, column)) / most));
  const size = { rows: GRID.count, columns: COLUMNS };
  const height = (y: number): number => ((GRID.to - y) / (GRID.to - GRID.from)) * PICTURE.height;
  const curve = Array.from({ length: 41 }, (_, i) => {
    const u = -1 + i / 20;
    return `${(x + ((u + 1) / 2) * PICTURE.width).toFixed(1)},${height(u * u).toFixed(1)}`;
  });
  return html`
${cells({ ...size, value: (row, column) => 0.5 * (1 - at(surface)(row, column) / scale) }, box, "var(--soft)")}
${cells({ ...size, value: strength(1) }, box, "var(--s0)")}
${cells({ ...size, value: strength(-1) }, box, "var(--s1)")}
<polyline points="${curve.join(" ")}" fill="none" stroke="var(--ink)" stroke-width="0.6" stroke-opacity="0.7"/>
<rect x="${x}" y="0" width="${PICTURE.width}" height="${PICTURE.height}" fill="none" class="gridline"/>
<text x="${x}" y="${PICTURE.height + 13}">${step === 0 ? "start" : `step ${step.toLocaleString("en")}`}</text>`;
}
