/** Charts as SVG, drawn with d3's scales and shapes. Colours come from the page ({@link page}), so that they fit light and dark. */
import { extent } from "d3-array";
import { scaleLinear, scaleLog } from "d3-scale";
import { area, curveMonotoneX, line } from "d3-shape";
import { html, Markup } from "./html.js";

/** A line of a chart: y over x, or over 1, 2, 3, ... */
export interface Series {
  readonly name: string;
  readonly y: ArrayLike<number>;
  readonly x?: ArrayLike<number>;
  /** Which of the page's colours, 0 to 4. Default: its place among the series. */
  readonly color?: number;
  /** Drawn thin and pale, without a name: the raw numbers behind a smoothed line. */
  readonly faint?: boolean;
}

/** A single point that stands out. */
export interface Point {
  readonly x: number;
  readonly y: number;
  readonly label: string;
  readonly color?: number;
}

/** What a line chart shows. */
export interface LineChart {
  readonly series: readonly Series[];
  readonly points?: readonly Point[];
  readonly x: string;
  /** How numbers on the y axis are written. */
  readonly format?: (y: number) => string;
  /** A logarithmic y axis. */
  readonly log?: boolean;
  /** Lines lie on top of each other and what is below them is filled: parts of a whole. */
  readonly stacked?: boolean;
  readonly yMin?: number;
  readonly yMax?: number;
  readonly width?: number;
  readonly height?: number;
}

const MARGIN = { top: 12, right: 12, bottom: 34, left: 44 };

const paint = (color: number): string => `var(--s${color % 5})`;
const at = (value: number): string => String(Math.round(value * 10) / 10);

/** How many charts have been drawn. */
let drawn = 0;

/** Lines over steps; below them their names, where there is more than one. */
export function lineChart(chart: LineChart): Markup {
  const { points = [], format = String, log = false, stacked = false, width = 380, height = 230 } = chart;
  const series: readonly Drawn[] = stacked ? stack(chart.series) : chart.series;
  const shown = (value: number | undefined): boolean =>
    Number.isFinite(value) && !(log && (value as number) <= 0);
  const all = (of: "x" | "y"): number[] => [
    ...series.flatMap((one) => Array.from(one.y, (y, k) => (of === "y" ? y : xOf(one, k)))),
    ...points.map((point) => point[of]),
  ];
  const [left, right, top, bottom] = [MARGIN.left, width - MARGIN.right, MARGIN.top, height - MARGIN.bottom];
  const x = scaleLinear(extent(all("x")) as [number, number], [left, right]);
  const [least, most] = extent(all("y").filter(shown)) as [number, number];
  // lines may be cut off, points are not
  const highest = Math.max(chart.yMax ?? most, ...points.map((point) => point.y).filter(shown));
  const domain = [chart.yMin ?? (log ? least : Math.min(0, least)), highest];
  const y = log ? scaleLog(domain, [bottom, top]) : scaleLinear(domain, [bottom, top]).nice(5);
  const ticks = log ? y.ticks(4).filter(isRound) : y.ticks(5);
  // what lies beyond the axis is cut off, and the cut needs a name of its own in the page
  const cut = `cut${++drawn}`;
  const names = series.filter((one) => one.faint !== true);

  const rule = (tick: number): Markup => html`
<line class="gridline" x1="${left}" x2="${right}" y1="${at(y(tick))}" y2="${at(y(tick))}"/>
<text x="${left - 8}" y="${at(y(tick) + 4)}" text-anchor="end">${format(tick)}</text>`;
  const step = (tick: number): Markup => html`
<text x="${at(x(tick))}" y="${bottom + 16}" text-anchor="middle">${tick.toLocaleString("en")}</text>`;
  const curve = (one: Drawn, i: number): Markup => {
    const { base, color = i, faint = false } = one;
    const indices = Array.from(one.y, (_, k) => k).filter((k) => shown(one.y[k]));
    const px = (k: number): number => x(xOf(one, k));
    const py = (k: number): number => y(one.y[k] as number);
    if (base === undefined) {
      const path = line(px, py).curve(curveMonotoneX).digits(1)(indices);
      return html`
<path d="${path ?? ""}" fill="none" stroke="${paint(color)}" stroke-linejoin="round" ${faint ? FAINT : STRONG}/>`;
    }
    const below = (k: number): number => y(base[k] as number);
    const path = area(px, below, py).curve(curveMonotoneX).digits(1)(indices);
    return html`
<path d="${path ?? ""}" fill="${paint(color)}" fill-opacity="0.85"/>`;
  };
  const dot = (point: Point): Markup => {
    const [cx, cy, color] = [x(point.x), y(point.y), paint(point.color ?? 1)];
    return html`
<circle cx="${at(cx)}" cy="${at(cy)}" r="5" fill="${color}" stroke="var(--card)" stroke-width="2"/>
<text class="label" x="${at(cx - 10)}" y="${at(Math.max(cy - 26, top))}" text-anchor="end" ${HALO} style="fill: ${color}">${point.label}</text>`;
  };
  return html`<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${names.map((one) => one.name).join(", ")} over ${chart.x}">
<clipPath id="${cut}"><rect x="${left}" y="${top - 2}" width="${width - left}" height="${bottom - top + 4}"/></clipPath>
${ticks.map(rule)}
${x.ticks(5).map(step)}
<text x="${(left + right) / 2}" y="${height - 2}" text-anchor="middle">${chart.x}</text>
<g clip-path="url(#${cut})">${series.map(curve)}
</g>
${points.map(dot)}
</svg>
${names.length > 1 && legend(names.map(({ name, color }, i) => ({ name, color: color ?? i })))}`;
}

const FAINT = new Markup('stroke-width="1" stroke-opacity="0.28"');
const STRONG = new Markup('stroke-width="2"');
/** Letters stay legible where they stand on a line. */
const HALO = new Markup('paint-order="stroke" stroke="var(--card)" stroke-width="4"');

function legend(names: readonly { name: string; color: number }[]): Markup {
  return html`<div class="legend">${names.map(({ name, color }) => html`<span style="--color: ${paint(color)}">${name}</span>`)}</div>`;
}

function xOf(series: Series, k: number): number {
  return series.x === undefined ? k + 1 : (series.x[k] as number);
}

/** Ticks of a logarithmic axis that are worth a number: 1, 2 and 5 of each decade. */
function isRound(tick: number): boolean {
  const leading = Math.round(tick / 10 ** Math.floor(Math.log10(tick) + 1e-9));
  return leading === 1 || leading === 2 || leading === 5;
}

/** A series with what it stands on, where it is stacked. */
interface Drawn extends Series {
  readonly base?: Float64Array;
}

function stack(series: readonly Series[]): Drawn[] {
  let base = new Float64Array(series[0]?.y.length ?? 0);
  return series.map((one, i) => {
    const y = base.map((below, k) => below + (one.y[k] as number));
    const result = { ...one, color: one.color ?? i, y, base };
    base = y;
    return result;
  });
}

/** Numbers in [0, 1] in rows and columns. */
export interface Cells {
  readonly rows: number;
  readonly columns: number;
  readonly value: (row: number, column: number) => number;
}

/** A place in a drawing. */
export interface Box {
  readonly x: number;
  readonly y: number;
  /** The size of a cell. */
  readonly width: number;
  readonly height: number;
}

/** How many shades are told apart. */
const SHADES = 16;

/** Cells in shades of a colour: one path per shade, which is small, and sharp at any size. */
export function cells({ rows, columns, value }: Cells, { x, y, width, height }: Box, color: string): Markup {
  const shades = Array.from({ length: SHADES + 1 }, () => "");
  for (let row = 0; row < rows; row++) {
    for (let start = 0; start < columns; ) {
      const shade = shadeOf(value(row, start));
      let end = start + 1;
      while (end < columns && shadeOf(value(row, end)) === shade) end++;
      if (shade > 0)
        shades[shade] +=
          `M${at(x + start * width)} ${at(y + row * height)}h${at((end - start) * width)}v${at(height)}h${at((start - end) * width)}z`;
      start = end;
    }
  }
  return html`<g fill="${color}" shape-rendering="crispEdges">${shades.map(
    (path, shade) =>
      path !== "" && html`<path fill-opacity="${Math.round((100 * shade) / SHADES) / 100}" d="${path}"/>`,
  )}</g>`;
}

function shadeOf(value: number): number {
  return Math.round(SHADES * Math.min(1, Math.max(0, value)));
}

/** The mean of some numbers. */
export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** A mean that moves along with the numbers: each counts `decay` times as much as the one after it. */
export function smooth(values: ArrayLike<number>, decay: number): Float64Array {
  const result = new Float64Array(values.length);
  let sum = 0;
  let weight = 0;
  for (let i = 0; i < values.length; i++) {
    sum = decay * sum + (values[i] as number);
    weight = decay * weight + 1;
    result[i] = sum / weight;
  }
  return result;
}

/** At most `count` of the numbers, evenly spread, with the last: a curve of thousands of points looks no different for it. */
export function thin(values: ArrayLike<number>, count = 300): { x: number[]; y: number[] } {
  const n = Math.min(count, values.length);
  const x = Array.from({ length: n }, (_, i) => Math.round(((i + 1) * values.length) / n));
  return { x, y: x.map((k) => values[k - 1] as number) };
}
