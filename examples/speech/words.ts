/** Ten words and the sounds they are made of: what the network is to hear. */

/** The sounds, about as the International Phonetic Alphabet writes them; class 0 is CTC's blank, class 1 what stands between words. */
const SOUNDS = "z ɪ r oʊ w ʌ n t u θ i f ɔ aɪ v s k ɛ eɪ".split(" ");
export const CLASSES = ["", "|", ...SOUNDS] as const;
export const SEPARATOR = 1;

/** The words of the digits 0 to 9, and their sounds. */
export const WORDS = [
  "zero",
  "one",
  "two",
  "three",
  "four",
  "five",
  "six",
  "seven",
  "eight",
  "nine",
] as const;
const SPOKEN = [
  "z ɪ r oʊ",
  "w ʌ n",
  "t u",
  "θ r i",
  "f ɔ r",
  "f aɪ v",
  "s ɪ k s",
  "s ɛ v n",
  "eɪ t",
  "n aɪ n",
];
const LABELS = SPOKEN.map((word) => word.split(" ").map((sound) => CLASSES.indexOf(sound)));

/** The sounds of digits that are spoken one after the other. */
export function spell(digits: readonly number[]): number[] {
  return digits.flatMap((digit) => LABELS[digit] as number[]);
}

/** The same with separators between the words. */
export function spellApart(digits: readonly number[]): number[] {
  return digits.flatMap((digit, i) => [...(i > 0 ? [SEPARATOR] : []), ...(LABELS[digit] as number[])]);
}

/** The digits that sounds spell, as far as they are the beginning of words; what is left over comes with them. */
function parse(sounds: readonly number[]): { digits: number[]; rest: readonly number[] } | undefined {
  for (let digit = 0; digit < LABELS.length; digit++) {
    const word = LABELS[digit] as number[];
    if (word.length > sounds.length || !word.every((sound, i) => sounds[i] === sound)) continue;
    const behind = parse(sounds.slice(word.length));
    if (behind !== undefined) return { digits: [digit, ...behind.digits], rest: behind.rest };
  }
  const begins = LABELS.some((word) => sounds.every((sound, i) => word[i] === sound));
  return begins ? { digits: [], rest: sounds } : undefined;
}

/** The digits that sounds spell, where they spell nothing else. */
export function digitsOf(sounds: readonly number[]): number[] | undefined {
  const parsed = parse(sounds);
  return parsed?.rest.length === 0 ? parsed.digits : undefined;
}

/** Whether a sound may stand behind others if only the ten words may come of it. */
export function mayFollow(sounds: readonly number[], sound: number): boolean {
  return parse([...sounds, sound]) !== undefined;
}
