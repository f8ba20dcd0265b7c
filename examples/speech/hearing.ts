/** Hearing: what the network makes of a recording, and where in it the words are. */
import { type CtcAlignment, ctcAlign, ctcBeamDecode, ctcGreedyDecode, ctcPosteriors, softmax } from "perdida";
import { editDistance } from "../support/distance.js";
import { type Features, logMel, STEP } from "./features.js";
import type { Recording } from "./recordings.js";
import type { Listener } from "./training.js";
import type { Cue } from "./vtt.js";
import { digitsOf, mayFollow, SEPARATOR, spell, spellApart, WORDS } from "./words.js";

/** A recording as the network heard it. */
export interface Heard {
  readonly recording: Recording;
  /** The sounds, as the best path has them. */
  readonly labels: readonly number[];
  /** The digits, found by a beam search that knows the ten words. */
  readonly digits: readonly number[];
  /** Edit distances to what was said. */
  readonly labelErrors: number;
  readonly digitErrors: number;
}

/** Listens to a recording. */
export function hear(network: Listener, recording: Recording): Heard {
  const logits = network.listen(logMel(recording.sound.samples));
  const { labels } = ctcGreedyDecode(logits);
  const [best] = ctcBeamDecode(logits, {
    beamWidth: 24,
    labelThreshold: Math.log(1e-4),
    // no word but those that there are
    extend: (prefix, label) => (mayFollow(prefix, label) ? 0 : -Infinity),
    finish: (all) => (digitsOf(all) === undefined ? -Infinity : 0),
  });
  const digits = digitsOf(best?.labels ?? []) ?? [];
  return {
    recording,
    labels,
    digits,
    labelErrors: editDistance(labels, spell(recording.digits)),
    digitErrors: editDistance(digits, recording.digits),
  };
}

/** Errors over what was said, in labels and in digits. */
export function errorRates(heard: readonly Heard[]): { labels: number; digits: number; count: number } {
  const sum = (of: (one: Heard) => number): number => heard.reduce((total, one) => total + of(one), 0);
  const count = sum(({ recording }) => spell(recording.digits).length);
  return {
    labels: sum((one) => one.labelErrors) / count,
    digits: sum((one) => one.digitErrors) / sum(({ recording }) => recording.digits.length),
    count,
  };
}

/** Where in a recording the words are that are known to be in it. */
export interface Aligned {
  readonly recording: Recording;
  readonly features: Features;
  /** The network's probabilities, and those given what was said, [T, classes]. */
  readonly output: ArrayLike<number>;
  readonly posteriors: ArrayLike<number>;
  readonly alignment: CtcAlignment;
  readonly cues: readonly Cue[];
}

/** Aligns a recording with what was said. */
export function align(network: Listener, recording: Recording): Aligned {
  const features = logMel(recording.sound.samples);
  const logits = network.listen(features);
  const target = spellApart(recording.digits);
  const alignment = ctcAlign(logits, target, { frameDuration: STEP, separator: SEPARATOR });
  const cues = (alignment.words ?? []).map(({ startTime = 0, endTime = 0 }, i) => {
    return { text: WORDS[recording.digits[i] as number] as string, start: startTime, end: endTime };
  });
  const { data: posteriors } = ctcPosteriors(logits, target);
  return { recording, features, output: softmax(logits).data, posteriors, alignment, cues };
}
