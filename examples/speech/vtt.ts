/** Subtitles: words with times as a WebVTT file. */

/** A word and its seconds. */
export interface Cue {
  readonly text: string;
  readonly start: number;
  readonly end: number;
}

/** `00:00:01.250` */
export function timestamp(seconds: number): string {
  const milliseconds = Math.round(1000 * seconds);
  const pad = (n: number, digits = 2): string => String(n).padStart(digits, "0");
  const whole = Math.floor(milliseconds / 1000);
  return `${pad(Math.floor(whole / 3600))}:${pad(Math.floor(whole / 60) % 60)}:${pad(whole % 60)}.${pad(milliseconds % 1000, 3)}`;
}

/** A WebVTT file (W3C, WebVTT: The Web Video Text Tracks Format). */
export function webVtt(cues: readonly Cue[]): string {
  const lines = cues.map(
    ({ text, start, end }, i) => `${i + 1}\n${timestamp(start)} --> ${timestamp(end)}\n${text}\n`,
  );
  return `WEBVTT\n\n${lines.join("\n")}`;
}
