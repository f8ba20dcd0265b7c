/** Draws the history of measurements: `npm run bench:report`, into reports/bench.html. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { scaleLinear, scaleLog } from "d3-scale";
import { lineChart, type Series } from "../examples/support/charts.js";
import { figure, grid, html, type Markup, page, type Section } from "../examples/support/html.js";
import { Failure, ROOT, say, script } from "../scripts/support.mjs";
import { type Case, idOf } from "./cases.js";
import { history, type Run } from "./history.js";
import { limitOf } from "./limits.js";
import { machine, nameOf } from "./machine.js";
import { geometricMean } from "./measure.js";
import { choose, FAMILIES } from "./session.js";
import { duration, percent, times } from "./table.js";

const FILE = "reports/bench.html";
const US = "perdida";

/** One bar: a name, how long it is, what is written beside it. */
interface Bar {
  readonly name: string;
  readonly value: number;
  readonly label: string;
  readonly color?: number;
}

const ROW = 18;

/** How bars are drawn: the room for names, for bars and for what stands behind them; the axis. */
interface Axis {
  readonly room: readonly [names: number, bars: number, labels: number];
  readonly from?: number;
  readonly to: number;
  readonly log?: boolean;
}

/** Bars to the right, one below the other. On a logarithmic axis they begin at `from`. */
function bars(
  rows: readonly Bar[],
  { room: [left, length, right], from = 0, to, log = false }: Axis,
): Markup {
  const x = (log ? scaleLog() : scaleLinear()).domain([from, to]).range([0, length]).clamp(true);
  return html`<svg viewBox="0 0 ${left + length + right} ${rows.length * ROW}" role="img">${rows.map(
    ({ name, value, label, color = 0 }, i) => {
      const y = i * ROW;
      const width = Math.max(1, x(value));
      return html`
<text x="${left - 8}" y="${y + 13}" text-anchor="end">${name}</text>
<rect x="${left}" y="${y + 3}" width="${width.toFixed(1)}" height="${ROW - 6}" rx="2" fill="var(--s${color % 5})"/>
<text x="${(left + width + 6).toFixed(1)}" y="${y + 13}">${label}</text>`;
    },
  )}
</svg>`;
}

/** The last time of a case on an engine, and the run it is of. */
function latest(
  runs: readonly Run[],
  engine: string,
  id: string,
): { milliseconds: number; run: Run } | undefined {
  const run = runs.findLast(({ results }) => results[engine]?.[id] !== undefined);
  const milliseconds = run?.results[engine]?.[id]?.[0];
  return run === undefined || milliseconds === undefined ? undefined : { milliseconds, run };
}

/** A function's cases over the runs: one line per size. */
function overTime(runs: readonly Run[], cases: readonly Case[]): Markup | undefined {
  const series = cases.flatMap((one): Series[] => {
    const points = runs.flatMap(({ results }, i) => {
      const milliseconds = results[US]?.[idOf(one)]?.[0];
      return milliseconds === undefined ? [] : [{ x: i + 1, y: milliseconds }];
    });
    // a line needs two ends
    const drawn = points.length === 1 ? [points[0], { ...points[0], x: (points[0]?.x ?? 0) + 0.5 }] : points;
    if (points.length === 0) return [];
    return [{ name: one.shape, x: drawn.map((p) => p?.x as number), y: drawn.map((p) => p?.y as number) }];
  });
  if (series.length === 0) return undefined;
  const all = series.flatMap(({ y }) => Array.from(y));
  const [least, most] = [Math.min(...all), Math.max(...all)];
  return lineChart({ series, x: "run", log: true, yMin: least / 1.5, yMax: most * 1.5, format: duration });
}

/** A case on every engine that has it, the fastest first. */
function beside(runs: readonly Run[], one: Case): Markup | undefined {
  const id = idOf(one);
  // rivals are compared within one run
  const run = runs.findLast(
    ({ results }) => Object.values(results).filter((of) => of[id] !== undefined).length > 1,
  );
  const ours = run?.results[US]?.[id]?.[0];
  if (run === undefined || ours === undefined) return undefined;
  const rows = Object.entries(run.results).flatMap(([engine, of]): Bar[] => {
    const milliseconds = of[id]?.[0];
    if (milliseconds === undefined) return [];
    const label =
      engine === US ? duration(milliseconds) : `${duration(milliseconds)}, ${times(milliseconds / ours)}`;
    return [{ name: engine, value: milliseconds, label, color: engine === US ? 0 : 1 }];
  });
  rows.sort((a, b) => a.value - b.value);
  const [least, most] = [rows[0]?.value ?? 1, rows.at(-1)?.value ?? 1];
  return bars(rows, { room: [120, 150, 110], log: true, from: least / 3, to: most });
}

function sections(runs: readonly Run[], cases: readonly Case[]): Section[] {
  const compared = cases.flatMap((one) => {
    const picture = beside(runs, one);
    return picture === undefined ? [] : [figure(idOf(one), picture)];
  });
  const distances = FAMILIES.flatMap((family) => {
    const rows = cases
      .filter((one) => one.family === family)
      .flatMap((one): Bar[] => {
        const found = latest(runs, US, idOf(one));
        if (found === undefined) return [];
        const share = limitOf(found.run.limits, one) / found.milliseconds;
        return [{ name: idOf(one), value: share, label: percent(share), color: 2 }];
      });
    return rows.length === 0 ? [] : [figure(family, bars(rows, { room: [250, 220, 50], to: 1 }))];
  });
  const curves = FAMILIES.flatMap((family) => {
    const ofFamily = cases.filter((one) => one.family === family);
    const names = [...new Set(ofFamily.map(({ name }) => name))];
    return names.flatMap((name) => {
      const picture = overTime(
        runs,
        ofFamily.filter((one) => one.name === name),
      );
      return picture === undefined ? [] : [figure(name, picture)];
    });
  });
  const none = html`<p>Nothing was recorded yet.</p>`;
  return [
    {
      title: "Beside others",
      text: "Milliseconds per call of value and gradient, each from the last run in which rivals took part, on a logarithmic axis; the factor is how many times as long as ours.",
      body: compared.length > 0 ? grid(compared, 360) : none,
    },
    {
      title: "Distance to the limit",
      text: "The least time in which this machine could move the bytes of a case or do its arithmetic, both measured from WebAssembly in the same run, as a share of ours. Small cases are all overhead.",
      body: distances.length > 0 ? grid(distances, 520) : none,
    },
    {
      title: "Over time",
      text: "Medians of each function by size, one point per recorded run on this machine.",
      body: curves.length > 0 ? grid(curves, 320) : none,
    },
    {
      title: "Runs",
      body: html`<table><tr><th>run</th><th>time</th><th>commit</th><th>engines</th></tr>${runs.map(
        ({ time, commit, versions }, i) =>
          html`<tr><td>${i + 1}</td><td>${time.slice(0, 16).replace("T", " ")}</td><td><code>${commit}</code></td><td>${Object.entries(
            versions,
          )
            .map(([name, version]) => `${name} ${version}`)
            .join(", ")}</td></tr>`,
      )}</table>`,
    },
  ];
}

await script(async () => {
  const all = history();
  // the machine with the last run is drawn: this one, where it has any
  const here = history(machine());
  const newest = (here.length > 0 ? here : all).at(-1);
  if (newest === undefined) throw new Failure("bench/history is empty: npm run bench -- --record");
  const runs = history(newest.machine);
  const cases = await choose([]);
  const against = runs.findLast(({ results }) => results.PyTorch !== undefined);
  const facts = FAMILIES.flatMap((family) => {
    const ratios = cases
      .filter((one) => one.family === family)
      .flatMap((one) => {
        const [ours, theirs] = [US, "PyTorch"].map((engine) => against?.results[engine]?.[idOf(one)]?.[0]);
        return ours === undefined || theirs === undefined ? [] : [theirs / ours];
      });
    if (ratios.length === 0) return [];
    return [
      {
        value: times(geometricMean(ratios)),
        caption: `${family}: PyTorch's time over ours, geometric mean of ${ratios.length}`,
      },
    ];
  });
  const text = page({
    title: "How fast perdida is",
    lead: html`${runs.length} runs on ${nameOf(newest.machine)}; the last on ${newest.time.slice(0, 10)}.`,
    facts,
    sections: sections(runs, cases),
    footer: html`Made by <code>npm run bench:report</code> from <code>bench/history</code>; added to by <code>npm run bench -- --record</code>.`,
  });
  mkdirSync(join(ROOT, "reports"), { recursive: true });
  writeFileSync(join(ROOT, FILE), text);
  say(`${FILE}: ${runs.length} runs`);
});
