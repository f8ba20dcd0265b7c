/** The digits: reading them, dealing them out, putting them side by side into strings, and bending copies of them for training. */
import { readFileSync } from "node:fs";
import { shuffler } from "d3-array";
import { randomInt, randomLcg, randomNormal, randomUniform } from "d3-random";

/** Digits are 8 x 8 pixels; a string is as high and as long as its digits and gaps are. */
export const HEIGHT = 8;
const WIDTH = 8;
/** The ten digits, and the blank that CTC needs, which stands first. */
export const CLASSES = 11;

/** One scanned digit: its pixels column by column, 0 (paper) to 1 (ink). */
export interface Digit {
  readonly label: number;
  readonly pixels: Float32Array;
}

/** A string of digits: its pixels column by column, and what it says. */
export interface DigitString {
  readonly labels: readonly number[];
  readonly columns: number;
  readonly pixels: Float32Array;
}

/** Random numbers in [0, 1). */
export type Source = () => number;

/** Reads `label,p00..p77` with pixels row by row, 0 to 16. */
export function readDigits(file: URL): Digit[] {
  const [, ...lines] = readFileSync(file, "utf8").trimEnd().split("\n");
  return lines.map((line) => {
    const [label, ...values] = line.split(",").map(Number) as [number, ...number[]];
    const pixels = new Float32Array(WIDTH * HEIGHT);
    values.forEach((value, i) => {
      pixels[(i % WIDTH) * HEIGHT + Math.floor(i / WIDTH)] = value / 16;
    });
    return { label, pixels };
  });
}

/** How many rows, in the order of the scans, are there to learn from; the last ones were written by other people. */
const TRAINING = 1347;
/** How many of those are held back where choices are made (`--validate`). */
const HELD_BACK = 270;

/** What is learnt from and what is tested on. The test digits are never looked at where choices are made. */
export function split(digits: readonly Digit[], validate: boolean): { training: Digit[]; test: Digit[] } {
  return validate
    ? { training: digits.slice(0, TRAINING - HELD_BACK), test: digits.slice(TRAINING - HELD_BACK, TRAINING) }
    : { training: digits.slice(0, TRAINING), test: digits.slice(TRAINING) };
}

/**
 * The test: every digit once, in strings of 1, 2, 3, 4, 5, 1, 2, ... digits with gaps of 0 to 2 columns. Who stands beside whom
 * is shuffled once and for all, so that the test is the same whatever the seed of the training.
 */
export function testStrings(digits: readonly Digit[]): DigitString[] {
  const random = randomLcg(0.45);
  const shuffled = shuffler(random)([...digits]);
  const gap = randomInt.source(random)(0, 3);
  const strings: DigitString[] = [];
  for (let at = 0; at < shuffled.length; ) {
    const length = (strings.length % 5) + 1;
    strings.push(join(shuffled.slice(at, at + length), gap));
    at += length;
  }
  return strings;
}

/** An endless supply of strings to learn from: 1 to 5 digits each, every digit bent a little differently each time. */
export function trainingStrings(digits: readonly Digit[], random: Source): () => DigitString {
  const pick = randomInt.source(random)(0, digits.length);
  const length = randomInt.source(random)(1, 6);
  const gap = randomInt.source(random)(0, 3);
  const bend = bender(random);
  return () =>
    join(
      Array.from({ length: length() }, () => bend(digits[pick()] as Digit)),
      gap,
    );
}

/** Puts digits side by side. */
function join(digits: readonly Digit[], gap: () => number): DigitString {
  const starts: number[] = [];
  let columns = 0;
  for (const digit of digits) {
    if (starts.length > 0) columns += gap();
    starts.push(columns);
    columns += digit.pixels.length / HEIGHT;
  }
  const pixels = new Float32Array(columns * HEIGHT);
  digits.forEach((digit, i) => {
    pixels.set(digit.pixels, (starts[i] as number) * HEIGHT);
  });
  return { labels: digits.map((digit) => digit.label), columns, pixels };
}

/** What other hands would have made of a digit: shifted, scaled, turned, slanted, written with more or less pressure. */
export function bender(random: Source): (digit: Digit) => Digit {
  const shift = randomNormal.source(random)(0, 0.35);
  const scale = randomNormal.source(random)(1, 0.08);
  const turn = randomNormal.source(random)(0, 0.1);
  const slant = randomNormal.source(random)(0, 0.15);
  const pressure = randomUniform.source(random)(0.75, 1.3);
  const grain = randomNormal.source(random)(0, 0.03);
  const middle = (WIDTH - 1) / 2;
  return ({ label, pixels }) => {
    const [sin, cos, k] = [Math.sin(turn()), Math.cos(turn()), slant()];
    const [sx, sy, dx, dy, gamma] = [scale(), scale(), shift(), shift(), pressure()];
    const bent = new Float32Array(pixels.length);
    for (let x = 0; x < WIDTH; x++) {
      for (let y = 0; y < HEIGHT; y++) {
        // where in the original this pixel comes from
        const u = x - middle - dx;
        const v = y - middle - dy;
        const ink = between(
          pixels,
          middle + (cos * u - sin * v + k * v) / sx,
          middle + (sin * u + cos * v) / sy,
        );
        bent[x * HEIGHT + y] = Math.min(1, Math.max(0, ink ** gamma + grain()));
      }
    }
    return { label, pixels: bent };
  };
}

/** The ink at a place between pixels: from the four around it, with paper beyond the edge. */
function between(pixels: Float32Array, x: number, y: number): number {
  const left = Math.floor(x);
  const top = Math.floor(y);
  let sum = 0;
  for (let column = left; column <= left + 1; column++) {
    for (let row = top; row <= top + 1; row++) {
      if (column < 0 || column >= WIDTH || row < 0 || row >= HEIGHT) continue;
      sum += (1 - Math.abs(x - column)) * (1 - Math.abs(y - row)) * (pixels[column * HEIGHT + row] as number);
    }
  }
  return sum;
}
