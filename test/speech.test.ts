/** The parts of the speech example: sound, features, words, subtitles, and the recordings that are kept. */
import { readdirSync, statSync } from "node:fs";
import { ctcAlign } from "perdida";
import { describe, expect, test } from "vitest";
import { RATE, readWav, resample, trim, writeWav } from "../examples/speech/audio.js";
import { BANDS, logMel } from "../examples/speech/features.js";
import { nameOf, readKept, UNHEARD, VOICES } from "../examples/speech/recordings.js";
import { timestamp, webVtt } from "../examples/speech/vtt.js";
import { CLASSES, digitsOf, mayFollow, SEPARATOR, spell, spellApart } from "../examples/speech/words.js";
import { editDistance } from "../examples/support/distance.js";

const tone = (hertz: number, rate: number, seconds: number): Float32Array =>
  Float32Array.from({ length: rate * seconds }, (_, i) => 0.8 * Math.sin((2 * Math.PI * hertz * i) / rate));

describe("sound", () => {
  test("comes back from a WAV file as well as 8 bits can hold it", () => {
    const samples = tone(440, RATE, 0.1);
    const { rate, samples: again } = readWav(writeWav({ rate: RATE, samples }));
    expect(rate).toBe(RATE);
    expect(again.length).toBe(samples.length);
    samples.forEach((x, i) => {
      expect(Math.abs(x - (again[i] as number))).toBeLessThan(0.013);
    });
    expect(() => readWav(new Uint8Array(60))).toThrow("This is no WAV file.");
  });

  test("keeps what a lower rate can hold and loses the rest", () => {
    const power = (x: Float32Array): number => x.reduce((sum, v) => sum + v * v, 0) / x.length;
    const low = resample({ rate: 22050, samples: tone(700, 22050, 0.5) }, RATE);
    expect(low.samples.length).toBe(4000);
    expect(power(low.samples)).toBeCloseTo(0.32, 2);
    expect(power(resample({ rate: 22050, samples: tone(6000, 22050, 0.5) }, RATE).samples)).toBeLessThan(
      1e-4,
    );
  });

  test("is trimmed to what is loud", () => {
    const samples = new Float32Array(3 * RATE);
    samples.set(
      tone(300, RATE, 1).map((x) => x / 4),
      RATE,
    );
    const cut = trim({ rate: RATE, samples }, 0.05).samples;
    expect(cut.length / RATE).toBeCloseTo(1.1, 2);
    expect(Math.max(...cut)).toBeCloseTo(0.95, 2);
  });
});

describe("features", () => {
  test("come every 10 ms, a tone's in its band, higher tones' in higher bands", () => {
    const loudest = (hertz: number): number => {
      // silence first, so that the tone is what differs
      const samples = new Float32Array(RATE);
      samples.set(tone(hertz, RATE, 0.5), RATE / 2);
      const { steps, values } = logMel(samples);
      expect(steps).toBe(100);
      expect(values.length).toBe(steps * BANDS);
      const row = values.subarray(80 * BANDS, 81 * BANDS);
      return row.indexOf(Math.max(...row));
    };
    const bands = [200, 500, 1000, 2000, 3500].map(loudest);
    expect(bands).toEqual([...bands].sort((a, b) => a - b));
    expect(new Set(bands).size).toBe(5);
  });

  test("do not depend on how loud it is", () => {
    const samples = tone(500, RATE, 0.3).map((x, i) => x * Math.sin(i / 500));
    const [loud, quiet] = [logMel(samples), logMel(samples.map((x) => x / 8))];
    loud.values.forEach((x, i) => {
      expect(quiet.values[i]).toBeCloseTo(x, 3);
    });
  });
});

describe("words", () => {
  test("are spelt and read back", () => {
    for (const digits of [[], [7], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], [6, 6, 7, 1, 9]]) {
      expect(digitsOf(spell(digits))).toEqual(digits);
      expect(spellApart(digits).filter((label) => label !== SEPARATOR)).toEqual(spell(digits));
    }
    expect(digitsOf(spell([8, 2]).slice(1))).toBeUndefined();
    const sounds = spell([3, 8]);
    expect(sounds.every((sound, i) => mayFollow(sounds.slice(0, i), sound))).toBe(true);
    expect(mayFollow(sounds, CLASSES.indexOf("k"))).toBe(false);
  });

  test("errors are counted", () => {
    expect(editDistance([1, 2, 3], [1, 2, 3])).toBe(0);
    expect(editDistance([1, 3], [1, 2, 3])).toBe(1);
    expect(editDistance([2, 1, 2, 4], [1, 2, 3])).toBe(2);
    expect(editDistance([], [5, 5])).toBe(2);
  });
});

test("subtitles are WebVTT", () => {
  expect(timestamp(0)).toBe("00:00:00.000");
  expect(timestamp(3725.0504)).toBe("01:02:05.050");
  const cues = [
    { text: "two", start: 0.05, end: 0.25 },
    { text: "six", start: 59.9996, end: 61 },
  ];
  expect(webVtt(cues)).toBe(
    "WEBVTT\n\n1\n00:00:00.050 --> 00:00:00.250\ntwo\n\n2\n00:01:00.000 --> 00:01:01.000\nsix\n",
  );
});

describe("the recordings that are kept", () => {
  const folder = new URL("../examples/data/speech/", import.meta.url);
  const kept = readKept();

  test("are small, and named by what is in them", () => {
    const names = readdirSync(folder);
    expect(kept.map(nameOf).sort()).toEqual(names.sort());
    const bytes = names.reduce(
      (sum, name) => sum + statSync(new URL(encodeURIComponent(name), folder)).size,
      0,
    );
    expect(bytes).toBeLessThan(300_000);
    for (const { sound } of kept) {
      expect(sound.rate).toBe(RATE);
      expect(sound.samples.length).toBeGreaterThan(RATE / 2);
    }
  });

  test("voices to learn from and voices for the test are others", () => {
    expect(VOICES.filter((voice) => UNHEARD.includes(voice))).toEqual([]);
    const throat = (voice: string): string => voice.split("+")[1] as string;
    expect(UNHEARD.map(throat).filter((one) => VOICES.map(throat).includes(one))).toEqual([]);
    expect(kept.filter(({ voice }) => UNHEARD.includes(voice)).length).toBeGreaterThanOrEqual(4);
    expect(kept.every(({ voice }) => UNHEARD.includes(voice) || VOICES.includes(voice))).toBe(true);
  });

  test("have steps enough for their sounds, slowly and fast", () => {
    for (const { digits, sound } of kept) {
      const { steps } = logMel(sound.samples);
      const target = spellApart(digits);
      const even = {
        data: new Float32Array(steps * CLASSES.length),
        shape: [steps, CLASSES.length] as const,
      };
      const { words = [] } = ctcAlign(even, target, { separator: SEPARATOR });
      expect(words.map(({ labels }) => digitsOf(labels)?.[0])).toEqual(digits);
    }
  });
});
