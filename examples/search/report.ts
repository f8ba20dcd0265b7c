/** The report: how the training went, what comes back for images that were never seen, and where the embedding puts them. */
import type { Digit } from "../digits/data.js";
import { HEIGHT } from "../digits/data.js";
import { cells, lineChart, mean, smooth, thin } from "../support/charts.js";
import { type Content, figure, grid, html, type Markup, page } from "../support/html.js";
import { UNITS } from "./network.js";
import type { Places } from "./plane.js";
import type { Answer, Precision } from "./search.js";
import type { Step } from "./training.js";

/** How it stood after some steps. */
export interface Snapshot {
  readonly steps: number;
  readonly precision: Precision;
  readonly places: Places;
}

/** What there is to report. */
export interface Results {
  readonly steps: readonly Step[];
  readonly digits: readonly Digit[];
  /** What the searched digits are called: unseen, or held back. */
  readonly tested: string;
  readonly answers: readonly Answer[];
  readonly snapshots: readonly Snapshot[];
  /** The search by pixels, which needs no training. */
  readonly byPixels: Precision;
  readonly seed: number;
  readonly seconds: number;
}

const percent = (rate: number): string => (100 * rate).toFixed(1);

/** The whole report as one HTML document. */
export function report(results: Results): string {
  const { steps, digits, tested, answers, snapshots, byPixels, seed, seconds } = results;
  const [before, after] = [snapshots[0], snapshots[snapshots.length - 1]] as [Snapshot, Snapshot];
  const inLoss = mean(steps.map(({ milliseconds }) => milliseconds.loss));
  const inRest = mean(steps.map(({ milliseconds }) => milliseconds.rest));
  const failed = answers.filter(
    ({ query, found }) => digits[found[0] as number]?.label !== digits[query]?.label,
  );
  return page({
    title: "Searching handwritten digits by image",
    lead: html`A small network turns an image into ${UNITS[UNITS.length - 1]} numbers. The batch-hard triplet loss taught it to put images of one digit
near each other and others apart; then each of ${digits.length} ${tested} images was looked up among the others.`,
    facts: [
      { value: percent(after.precision.at1), unit: "%", caption: "of the first hits show the same digit" },
      { value: percent(after.precision.at10), unit: "%", caption: "of the first ten hits do" },
      {
        value: percent(before.precision.at10),
        unit: "%",
        caption: `of the first ten before training, ${percent(byPixels.at10)} % by pixels alone`,
      },
      {
        value: steps.length.toLocaleString("en"),
        caption: `training steps of ${steps[0]?.anchors} images, seed ${seed}`,
      },
      {
        value: inLoss.toFixed(2),
        unit: "ms",
        caption: `a step in the loss and its gradient, ${inRest.toFixed(1)} ms in the rest`,
      },
      { value: seconds.toFixed(0), unit: "s", caption: "from start to end" },
    ],
    sections: [
      { title: "Learning", body: curves(steps, snapshots, tested) },
      {
        title: "Where the embedding puts them",
        text: `The ${digits.length} ${tested} images in the plane in which their embeddings are spread most, from the first step to the last. Each
figure is one image, written as the digit that it shows; each picture is turned so that it moves as little as can be from the one before.`,
        body: html`<style>${PALETTE}</style>${grid(
          snapshots.map((snapshot) =>
            figure(
              snapshot.steps === 0 ? "before training" : `after ${snapshot.steps.toLocaleString("en")} steps`,
              plane(snapshot.places, digits),
              `${percent(snapshot.precision.at1)} % of first hits right, ${percent(snapshot.precision.at10)} % of the first ten`,
            ),
          ),
          340,
        )}`,
      },
      {
        title: "What came back",
        text: "One image of each digit that was searched, on the left, and the ten nearest to it, the nearest first.",
        body: grid(
          sample(answers, digits).map((answer) => row(answer, digits)),
          520,
        ),
      },
      {
        title: failed.length === 0 ? "No first hit is wrong" : "Where the first hit is wrong",
        ...(failed.length > 0 && {
          text: `${failed.length} of ${answers.length} searches; at most twelve are shown.`,
        }),
        body: grid(
          failed.slice(0, 12).map((answer) => row(answer, digits)),
          520,
        ),
      },
    ],
    footer: html`Images: UCI Optical Recognition of Handwritten Digits, see examples/data/README.md. Loss: Hermans, Beyer and Leibe 2017.
Search: exact, <code>nearest</code>.`,
  });
}

function curves(steps: readonly Step[], snapshots: readonly Snapshot[], tested: string): Markup {
  const over = (f: (step: Step) => number): { x: number[]; y: number[] } => thin(steps.map(f));
  const smoothed = (f: (step: Step) => number): { x: number[]; y: number[] } =>
    thin(smooth(steps.map(f), 0.97));
  const share = (step: Step): number => step.active / step.anchors;
  const x = snapshots.map((snapshot) => snapshot.steps);
  return grid(
    [
      figure(
        "Batch-hard triplet loss",
        lineChart({
          x: "steps",
          series: [
            { name: "loss", ...over(({ loss }) => loss), color: 0, faint: true },
            { name: "loss", ...smoothed(({ loss }) => loss), color: 0 },
          ],
        }),
        "Of the anchors of a batch; the mean moves along.",
      ),
      figure(
        "Anchors that still have a gradient",
        lineChart({
          x: "steps",
          format: (y) => `${Math.round(100 * y)} %`,
          yMax: 1,
          series: [
            { name: "active", ...over(share), color: 1, faint: true },
            { name: "active", ...smoothed(share), color: 1 },
          ],
        }),
        "The others are nearer to all of their kind than to any other digit, by the margin.",
      ),
      figure(
        `Precision on ${tested} images`,
        lineChart({
          x: "steps",
          format: (y) => `${Math.round(100 * y)} %`,
          yMax: 1,
          yMin: 0.7,
          series: [
            { name: "first hit", x, y: snapshots.map(({ precision }) => precision.at1), color: 2 },
            { name: "first ten", x, y: snapshots.map(({ precision }) => precision.at10), color: 3 },
          ],
        }),
      ),
    ],
    340,
  );
}

/** The first query of each digit. */
function sample(answers: readonly Answer[], digits: readonly Digit[]): Answer[] {
  return Array.from({ length: 10 }, (_, label) =>
    answers.find(({ query }) => digits[query]?.label === label),
  ).filter((answer) => answer !== undefined);
}

/** A query and what came back. */
function row({ query, found }: Answer, digits: readonly Digit[]): Markup {
  const size = 40;
  const gap = 8;
  const wanted = digits[query] as Digit;
  const picture = (digit: Digit, x: number, color: string): Content => html`
${cells(
  { rows: HEIGHT, columns: 8, value: (r, c) => digit.pixels[c * HEIGHT + r] as number },
  { x, y: 2, width: size / 8, height: size / 8 },
  color,
)}
<rect x="${x}" y="2" width="${size}" height="${size}" fill="none" rx="3" stroke="${color}" stroke-opacity="0.55"/>
<text x="${x + size / 2}" y="${size + 16}" text-anchor="middle" style="fill: ${color}">${digit.label}</text>`;
  const shown = found.map((i, k) => {
    const digit = digits[i] as Digit;
    const color = digit.label === wanted.label ? "var(--right)" : "var(--wrong)";
    return picture(digit, (k + 1) * (size + gap) + 14, color);
  });
  const width = 11 * (size + gap) + 14;
  return html`<figure><svg viewBox="0 0 ${width} ${size + 20}" role="img" aria-label="what came back for a ${wanted.label}">
${picture(wanted, 0, "var(--ink)")}
${shown}
</svg></figure>`;
}

/** Ten colours that can be told apart, on light and on dark paper. */
const PALETTE = Array.from(
  { length: 10 },
  (_, label) =>
    `svg text.d${label} { fill: hsl(${(label * 108) % 360} ${label % 2 === 0 ? 60 : 45}% ${label % 2 === 0 ? 45 : 55}%); }`,
).join("\n");

/** Each image as the digit that it shows. */
function plane(places: Places, digits: readonly Digit[]): Markup {
  const size = 340;
  const reach = places.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  const at = (x: number): string => (size / 2 + (x / reach) * (size / 2 - 10)).toFixed(1);
  return html`<svg viewBox="0 0 ${size} ${size}" role="img" aria-label="embeddings in the plane">
${digits.map(
  ({ label }, i) =>
    html`<text class="d${label}" x="${at(places[2 * i] as number)}" y="${at(-(places[2 * i + 1] as number))}" text-anchor="middle" dy="4">${label}</text>`,
)}
</svg>`;
}
