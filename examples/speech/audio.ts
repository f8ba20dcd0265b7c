/** Sound as numbers: WAV files, and other sampling rates. */

/** Samples per second that everything here works with: the telephone's, which speech is well understood at. */
export const RATE = 8000;

/** Sound of one channel, in [-1, 1]. */
export interface Sound {
  readonly rate: number;
  readonly samples: Float32Array;
}

/** Reads a WAV file of one channel, of 8 or 16 bits. One that was written to a pipe says nothing of its length: it goes to the end. */
export function readWav(bytes: Uint8Array): Sound {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const name = (at: number): string => String.fromCharCode(...bytes.subarray(at, at + 4));
  if (name(0) !== "RIFF" || name(8) !== "WAVE") throw new Error("This is no WAV file.");
  let [rate, bits] = [0, 0];
  for (let at = 12; at + 8 <= bytes.length; ) {
    const length = view.getUint32(at + 4, true);
    const body = at + 8;
    if (name(at) === "fmt ") {
      const [format, channels] = [view.getUint16(body, true), view.getUint16(body + 2, true)];
      [rate, bits] = [view.getUint32(body + 4, true), view.getUint16(body + 14, true)];
      if (format !== 1 || channels !== 1 || (bits !== 8 && bits !== 16)) {
        throw new Error("Only WAV files of one channel with 8 or 16 bits are read here.");
      }
    } else if (name(at) === "data") {
      const size = Math.min(length, bytes.length - body);
      const samples = new Float32Array(Math.floor(size / (bits / 8)));
      for (let i = 0; i < samples.length; i++) {
        samples[i] =
          bits === 8 ? ((bytes[body + i] as number) - 128) / 128 : view.getInt16(body + 2 * i, true) / 32768;
      }
      return { rate, samples };
    }
    at = body + length + (length % 2);
  }
  throw new Error("The WAV file has no sound in it.");
}

/** Writes a WAV file of one channel and 8 bits. */
export function writeWav({ rate, samples }: Sound): Uint8Array {
  const bytes = new Uint8Array(44 + samples.length);
  const view = new DataView(bytes.buffer);
  const name = (at: number, text: string): void => bytes.set(new TextEncoder().encode(text), at);
  name(0, "RIFF");
  view.setUint32(4, 36 + samples.length, true);
  name(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, rate, true);
  view.setUint32(28, rate, true);
  view.setUint16(32, 1, true);
  view.setUint16(34, 8, true);
  name(36, "data");
  view.setUint32(40, samples.length, true);
  samples.forEach((sample, i) => {
    bytes[44 + i] = Math.max(0, Math.min(255, Math.round(128 + 127 * sample)));
  });
  return bytes;
}

/** How many zeros of the sinc are taken on each side. */
const ZEROS = 8;

/** The weights of the samples around a place that lies `part` behind one of them, if every `ratio`-th is kept: a windowed sinc. */
function weights(part: number, ratio: number): Float64Array {
  const reach = Math.ceil(ZEROS * ratio);
  const w = Float64Array.from({ length: 2 * reach + 1 }, (_, i) => {
    const x = (i - reach - part) / ratio;
    if (Math.abs(x) >= ZEROS) return 0;
    const sinc = x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
    return sinc * (0.5 + 0.5 * Math.cos((Math.PI * x) / ZEROS));
  });
  const sum = w.reduce((total, x) => total + x, 0);
  return w.map((x) => x / sum);
}

/** The same sound at a lower rate; what the new one cannot hold is filtered out before. */
export function resample({ rate, samples }: Sound, to: number): Sound {
  if (rate === to) return { rate, samples };
  const ratio = rate / to;
  const reach = Math.ceil(ZEROS * ratio);
  const result = new Float32Array(Math.floor(samples.length / ratio));
  // places between samples come again and again
  const known = new Map<number, Float64Array>();
  for (let i = 0; i < result.length; i++) {
    const whole = Math.floor((i * rate) / to);
    const rest = (i * rate) % to;
    let w = known.get(rest);
    if (w === undefined) {
      w = weights(rest / to, ratio);
      known.set(rest, w);
    }
    let sum = 0;
    for (let k = 0; k < w.length; k++) sum += (w[k] as number) * (samples[whole - reach + k] ?? 0);
    result[i] = sum;
  }
  return { rate: to, samples: result };
}

/** The sound as loud as it goes, without the silence before and behind it but for some milliseconds. */
export function trim({ rate, samples }: Sound, margin = 0.04): Sound {
  let most = 0;
  for (const x of samples) most = Math.max(most, Math.abs(x));
  const loud = (x: number): boolean => Math.abs(x) > 0.01 * most;
  const first = samples.findIndex(loud);
  const last = samples.findLastIndex(loud);
  const extra = Math.round(margin * rate);
  const cut = samples.slice(Math.max(0, first - extra), last + 1 + extra);
  return { rate, samples: cut.map((x) => (0.95 * x) / (most || 1)) };
}
