/** The figures that every training with a CTC loss has in its report. */
import { lineChart, mean, smooth, thin } from "./charts.js";
import { figure, type Markup } from "./html.js";

/** What is known of each step. */
export interface Step {
  readonly loss: number;
  readonly milliseconds: { readonly loss: number; readonly rest: number };
}

/** A curve of one number per step, smoothed over about a fiftieth of the training. */
export function smoothed(values: readonly number[]): { x: number[]; y: number[] } {
  return thin(smooth(values, 1 - 1 / Math.max(4, values.length / 50)));
}

/** The loss; `on` says of what. */
export function lossFigure(steps: readonly Step[], on: string): Markup {
  const losses = steps.map(({ loss }) => loss);
  return figure(
    "CTC loss",
    lineChart({
      x: "step",
      log: true,
      series: [
        { name: "each step", ...thin(losses), color: 0, faint: true },
        { name: "smoothed", ...smoothed(losses), color: 0 },
      ],
    }),
    `Nats per label, on ${on} that were bent at random. Pale: single steps.`,
  );
}

/** Where the time of a step went. */
export function timeFigure(steps: readonly Step[]): Markup {
  const loss = smoothed(steps.map(({ milliseconds }) => milliseconds.loss));
  const rest = smoothed(steps.map(({ milliseconds }) => milliseconds.rest));
  return figure(
    "Time per step",
    lineChart({
      x: "step",
      stacked: true,
      // the first steps warm up
      yMax: 1.5 * (mean(loss.y) + mean(rest.y)),
      format: (y) => `${y} ms`,
      series: [
        { name: "CTC loss and gradient", ...loss, color: 1 },
        { name: "everything else", ...rest, color: 0 },
      ],
    }),
  );
}
