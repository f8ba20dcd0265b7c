/** The report: how the training went, and where in a recording the words are. */
import { cells } from "../support/charts.js";
import { lossFigure, timeFigure } from "../support/curves.js";
import { type Content, figure, grid, html, type Markup, page } from "../support/html.js";
import { writeWav } from "./audio.js";
import { BANDS, STEP } from "./features.js";
import { type Aligned, errorRates, type Heard } from "./hearing.js";
import type { Step } from "./training.js";
import { CLASSES, SEPARATOR, spell, WORDS } from "./words.js";

/** What there is to report. */
export interface Results {
  readonly steps: readonly Step[];
  readonly heard: readonly Heard[];
  readonly aligned: Aligned;
  /** The same words, spoken slowly and fast. */
  readonly pair: readonly Aligned[];
  /** Whether the network has learned from the recordings that are shown. */
  readonly known: boolean;
  /** How many recordings it learned from, and of how many voices. */
  readonly recordings: number;
  readonly voices: number;
  /** Where the recordings came from. */
  readonly source: string;
  readonly seconds: number;
}

const percent = (rate: number): string => `${(100 * rate).toFixed(1)} %`;
const say = (digits: readonly number[]): string => digits.map((digit) => WORDS[digit]).join(" ");

/** The whole report as one HTML document. */
export function report(results: Results): string {
  const { steps, heard, aligned, pair, known, recordings, voices, source, seconds } = results;
  const rates = errorRates(heard);
  const unheard = [...new Set(heard.map(({ recording }) => recording.voice))];
  const inLoss = steps.reduce((sum, { milliseconds }) => sum + milliseconds.loss, 0) / steps.length;
  const inRest = steps.reduce((sum, { milliseconds }) => sum + milliseconds.rest, 0) / steps.length;
  return page({
    title: "Hearing digits, and where they are",
    lead: html`A small network listens to spoken digits in steps of 10 ms and says at each which sound it hears, if any. It was told
what is said in each recording, but not when: the CTC loss found that out. Once it hears, the best path through what is
said gives each word its time.`,
    facts: [
      {
        value: (100 * rates.labels).toFixed(1),
        unit: "%",
        caption: `label error rate on ${rates.count.toLocaleString("en")} sounds of voices it never heard`,
      },
      {
        value: (100 * rates.digits).toFixed(1),
        unit: "%",
        caption: "of digits wrong, with a beam search that knows the words",
      },
      {
        value: recordings.toLocaleString("en"),
        caption: `recordings of ${voices} voices to learn from, ${source}`,
      },
      {
        value: inLoss.toFixed(2),
        unit: "ms",
        caption: `a step in the loss and its gradient, ${inRest.toFixed(1)} ms in the rest`,
      },
      { value: seconds.toFixed(0), unit: "s", caption: "from start to end" },
    ],
    sections: [
      {
        title: "Where the words are",
        text: html`A voice ${known ? "from the lessons" : "that the network never heard"} says "${say(aligned.recording.digits)}". From above: the energy in ${BANDS} bands of
frequency; the words where the best path has them; what the network hears by itself; and, given the words, how
probable each sound is at each step, with the best path drawn around. The words with their times are in the WebVTT file too.`,
        body: [figure(title(aligned), [picture(aligned), player(aligned)], times(aligned))],
      },
      {
        title: "Slow and fast are the same labels",
        text: "The same words by the same voice at two speeds: CTC leaves it to each step whether something is said there, so the length of a word does not matter.",
        body: html`<div style="display: grid; gap: 18px; margin-top: 18px">${pair.map((one) => figure(title(one), [picture(one), player(one)], heardIn(one, heard)))}</div>`,
      },
      { title: "Learning", body: grid([lossFigure(steps, "recordings"), timeFigure(steps)], 340) },
      {
        title: "Voices it never heard",
        body: html`<div class="wide"><table><tr><th>voice of espeak-ng</th><th>recordings</th><th>sounds wrong</th><th>digits wrong</th></tr>${unheard.map(
          (voice) => {
            const own = heard.filter(({ recording }) => recording.voice === voice);
            const rate = errorRates(own);
            return html`<tr><td>${voice}</td><td>${own.length}</td><td>${percent(rate.labels)}</td><td>${percent(rate.digits)}</td></tr>`;
          },
        )}</table></div>`,
      },
    ],
    footer: html`All voices are those of espeak-ng, a speech synthesiser. Features: log-mel energies, 25 ms windows every 10 ms, 8 kHz.`,
  });
}

function title({ recording }: Aligned): Markup {
  return html`${say(recording.digits)} <span style="color: var(--soft); font-weight: 400">${recording.voice}, ${recording.speed} words a minute</span>`;
}

/** The sound itself, to listen to. */
function player({ recording }: Aligned): Markup {
  const bytes = Buffer.from(writeWav(recording.sound)).toString("base64");
  return html`<audio controls preload="none" style="width: 100%; height: 32px; margin-top: 12px" src="data:audio/wav;base64,${bytes}"></audio>`;
}

function times({ cues }: Aligned): Content {
  return cues.map(
    ({ text, start, end }, i) => html`${i > 0 && " · "}${text} ${start.toFixed(2)}–${end.toFixed(2)} s`,
  );
}

function heardIn({ recording }: Aligned, heard: readonly Heard[]): Content {
  const own = heard.find((one) => one.recording === recording);
  if (own === undefined) return undefined;
  const sounds = own.labels.map((label) => CLASSES[label]).join(" ");
  return `The network by itself hears: ${sounds}`;
}

/** The width of a picture, and the heights of its parts. */
const WIDTH = 1060;
const LEFT = 36;
const BAND = 5;
const ROW = 11;
const GAP = 30;

/** Spectrogram, words, what the network hears, and what it hears given the words with the best path. */
function picture({ recording, features, output, posteriors, alignment, cues }: Aligned): Markup {
  const { steps, values } = features;
  const step = (WIDTH - LEFT) / steps;
  const x = (t: number): string => (LEFT + t * step).toFixed(1);
  // the sounds in the order in which they are said, then what is between them
  const used = [...new Set(spell(recording.digits))].filter((label) => label !== SEPARATOR);
  const rows = [...used, SEPARATOR, 0];
  const names = rows.map((label) => (label === 0 ? "–" : CLASSES[label]));
  const spectrogram = {
    rows: BANDS,
    columns: steps,
    value: (row: number, t: number) => 0.3 + 0.33 * (values[t * BANDS + BANDS - 1 - row] as number),
  };
  const probability = (of: ArrayLike<number>) => ({
    rows: rows.length,
    columns: steps,
    value: (row: number, t: number) =>
      (rows[row] === 0 ? 0.35 : 1) * (of[t * CLASSES.length + (rows[row] as number)] as number),
  });
  const words = BANDS * BAND + 8;
  const heard = words + 26 + GAP;
  const given = heard + rows.length * ROW + GAP;
  const bottom = given + rows.length * ROW;
  const labelled = (
    y: number,
  ): Markup => html`${names.map((name, row) => html`<text x="${LEFT - 8}" y="${y + (row + 0.8) * ROW}" text-anchor="end">${name}</text>`)}
<rect class="gridline" x="${LEFT}" y="${y}" width="${WIDTH - LEFT}" height="${rows.length * ROW}" fill="none"/>`;
  const seconds = Array.from({ length: Math.floor(steps * STEP * 5) + 1 }, (_, k) => k / 5);
  return html`<svg viewBox="0 0 ${WIDTH} ${bottom + 20}" role="img" aria-label="spectrogram, posteriors and alignment of ${say(recording.digits)}">
${cells(spectrogram, { x: LEFT, y: 0, width: step, height: BAND }, "var(--ink)")}
<text x="${LEFT - 8}" y="9" text-anchor="end">3.8</text><text x="${LEFT - 8}" y="${(BANDS * BAND) / 2 + 4}" text-anchor="end">kHz</text><text x="${LEFT - 8}" y="${BANDS * BAND}" text-anchor="end">0.1</text>
${cues.map(
  ({
    text,
    start,
    end,
  }) => html`<rect x="${x(start / STEP)}" y="${words}" width="${(((end - start) / STEP) * step).toFixed(1)}" height="22" rx="4" fill="var(--s1)" fill-opacity="0.18" stroke="var(--s1)"/>
<line class="gridline" x1="${x(start / STEP)}" x2="${x(start / STEP)}" y1="0" y2="${bottom}"/><line class="gridline" x1="${x(end / STEP)}" x2="${x(end / STEP)}" y1="0" y2="${bottom}"/>
<text class="label" x="${x((start + end) / 2 / STEP)}" y="${words + 15}" text-anchor="middle" style="fill: var(--s1); font-size: 12px">${text}</text>`,
)}
<text x="${LEFT}" y="${heard - 8}">what the network hears</text>
${cells(probability(output), { x: LEFT, y: heard, width: step, height: ROW }, "var(--s0)")}${labelled(heard)}
<text x="${LEFT}" y="${given - 8}">given the words, and the best path</text>
${cells(probability(posteriors), { x: LEFT, y: given, width: step, height: ROW }, "var(--s2)")}${labelled(given)}
${alignment.spans.map(({ label, start, end }) => html`<rect x="${x(start)}" y="${given + rows.indexOf(label) * ROW}" width="${((end - start) * step).toFixed(1)}" height="${ROW}" fill="none" stroke="var(--s1)" stroke-width="1.5"/>`)}
${seconds.map((s) => html`<text x="${x(s / STEP)}" y="${bottom + 16}" text-anchor="middle">${s.toFixed(1)} s</text>`)}
</svg>`;
}
