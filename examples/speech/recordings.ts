/** Digits, spoken by espeak-ng in many voices: as many as are wanted where it is installed, else a handful that are kept here. */
import { execFile, spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { promisify } from "node:util";
import { RATE, readWav, resample, type Sound, trim } from "./audio.js";
import { WORDS } from "./words.js";

/** A recording and what is said in it. */
export interface Recording {
  readonly digits: readonly number[];
  readonly voice: string;
  /** Words per minute. */
  readonly speed: number;
  readonly sound: Sound;
}

/** What is to be said, and how. */
export interface Wish {
  readonly digits: readonly number[];
  readonly voice: string;
  readonly speed: number;
  /** 0 to 99; 50 is the voice's own. */
  readonly pitch: number;
}

/** Voices to learn from, and voices that are only for the test: other throats, and another accent. */
const ACCENTS = ["en-us", "en-gb", "en-gb-x-rp", "en-gb-scotland"];
const THROATS = [
  "m1",
  "m2",
  "m3",
  "m5",
  "m7",
  "m8",
  "f1",
  "f2",
  "f4",
  "f5",
  "edward",
  "steph",
  "michel",
  "linda",
];
export const VOICES = ACCENTS.flatMap((accent) => THROATS.map((throat) => `${accent}+${throat}`));
export const UNHEARD = [
  "en-us+m4",
  "en-gb+m6",
  "en-us+f3",
  "en-gb-x-gbclan+f3",
  "en-gb+belinda",
  "en-us+andy",
  "en-gb-scotland+adam",
];

const KEPT = new URL("../data/speech/", import.meta.url);

/** Whether espeak-ng can be asked; as root on Debian it is installed first, unless that is not wanted. */
export function findSpeaker(install: boolean, tell: (line: string) => void): boolean {
  const there = (): boolean => spawnSync("espeak-ng", ["--version"]).status === 0;
  if (there()) return true;
  const command = "apt-get install -y --no-install-recommends espeak-ng";
  if (!install || process.getuid?.() !== 0 || spawnSync("apt-get", ["--version"]).status !== 0) return false;
  tell(command);
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const wait = ["-o", "DPkg::Lock::Timeout=300"];
  spawnSync("apt-get", [...wait, "update", "-qq"], { env });
  spawnSync("apt-get", [...wait, ...command.split(" ").slice(1)], { env });
  return there();
}

const run = promisify(execFile);

/** Has espeak-ng say something. */
export async function speak({ digits, voice, speed, pitch }: Wish): Promise<Recording> {
  const text = digits.map((digit) => WORDS[digit]).join(" ");
  const args = ["-v", voice, "-s", String(speed), "-p", String(pitch), "--stdout", text];
  const { stdout } = await run("espeak-ng", args, { encoding: "buffer", maxBuffer: 1 << 26 });
  return { digits, voice, speed, sound: trim(resample(readWav(stdout), RATE)) };
}

/** Has it say many things, a few at a time. */
export async function speakAll(wishes: readonly Wish[], done: (count: number) => void): Promise<Recording[]> {
  const recordings = new Array<Recording>(wishes.length);
  let next = 0;
  let finished = 0;
  const worker = async (): Promise<void> => {
    while (next < wishes.length) {
      const i = next++;
      recordings[i] = await speak(wishes[i] as Wish);
      done(++finished);
    }
  };
  await Promise.all([worker(), worker(), worker()]);
  return recordings;
}

/** Draws digits and a way to say them. */
export function wish(random: () => number, voices: readonly string[], length: number): Wish {
  const whole = (n: number): number => Math.floor(random() * n);
  return {
    digits: Array.from({ length }, () => whole(10)),
    voice: voices[whole(voices.length)] as string,
    speed: 110 + whole(180),
    pitch: 20 + whole(60),
  };
}

/** The name of a recording that is kept says what is in it: `38154_en-us+m3_175.wav`. */
export function nameOf({ digits, voice, speed }: Pick<Recording, "digits" | "voice" | "speed">): string {
  return `${digits.join("")}_${voice}_${speed}.wav`;
}

/** The recordings that are kept. */
export function readKept(): Recording[] {
  const names = readdirSync(KEPT).filter((name) => name.endsWith(".wav"));
  return names.sort().map((name) => {
    const [digits, voice, speed] = name.replace(/\.wav$/, "").split("_") as [string, string, string];
    const sound = readWav(readFileSync(new URL(encodeURIComponent(name), KEPT)));
    return { digits: Array.from(digits, Number), voice, speed: Number(speed), sound };
  });
}
