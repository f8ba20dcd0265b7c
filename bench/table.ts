/** Tables for the terminal. */

/** A time, in the unit that suits it. */
export function duration(milliseconds: number): string {
  if (milliseconds >= 1000) return `${(milliseconds / 1000).toPrecision(3)} s`;
  if (milliseconds >= 1) return `${milliseconds.toPrecision(3)} ms`;
  const microseconds = 1000 * milliseconds;
  return microseconds >= 1
    ? `${microseconds.toPrecision(3)} µs`
    : `${(1000 * microseconds).toPrecision(3)} ns`;
}

/** `9.13x` */
export const times = (ratio: number): string => `${ratio < 1000 ? ratio.toPrecision(3) : ratio.toFixed(0)}x`;

export const percent = (share: number): string => `${(100 * share).toFixed(0)} %`;

/** Rows of texts under headings, the first column to the left and all others to the right. */
export function table(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [headings, ...rows];
  const widths = headings.map((_, i) => Math.max(...all.map((row) => (row[i] ?? "").length)));
  const line = (row: readonly string[]): string =>
    widths
      .map((width, i) => (i === 0 ? (row[i] ?? "").padEnd(width) : (row[i] ?? "").padStart(width)))
      .join("  ");
  return all.map((row) => `  ${line(row).trimEnd()}`).join("\n");
}
