/** A bar that says how far the work is and how long it still takes. */
import cliProgress, { Presets, SingleBar } from "cli-progress";

/** `format` as cli-progress has it. */
export function progressBar(format: string): SingleBar {
  return new SingleBar(
    {
      format,
      barsize: 20,
      hideCursor: true,
      // a line now and then where there is no terminal
      noTTYOutput: true,
      notTTYSchedule: 5000,
      // before the first step nobody knows: the library then has words in the place of a number, or "0"
      formatTime: (time: number, options, roundTo) =>
        typeof time === "number" ? cliProgress.Format.TimeFormat(time, options, roundTo) : "...",
    },
    Presets.shades_classic,
  );
}
