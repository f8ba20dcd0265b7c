/** Labellings out of steps of logits, in double precision: the best path's, and the most probable ones by prefix beam search. */
import type { Sample } from "../ctc.js";

/** A labelling and the logarithm of its probability. */
export interface Labelling {
  readonly labels: number[];
  readonly logProb: number;
}

/** The classes of the largest logits (the first of those that are alike), merged, without blanks; its path's log-probability. */
export function greedyDecode(sample: Sample): Labelling {
  const { steps, classes, blank, logits, at, max, log, known } = sample;
  if (known !== 0) return { labels: [], logProb: known };
  const labels: number[] = [];
  let logProb = 0;
  let last = blank;
  for (let t = 0; t < steps; t++) {
    const row = at(t, classes);
    const best = logits.indexOf(max[t] as number, row) - row;
    logProb -= log[t] as number;
    if (best !== blank && best !== last) labels.push(best);
    last = best;
  }
  return { labels, logProb };
}

/** How a beam search is done. */
export interface Beam {
  readonly beamWidth: number;
  readonly topK: number;
  /** Added to the score of a prefix that a label is put behind. */
  readonly extend: ((prefix: readonly number[], label: number) => number) | undefined;
  /** Added to the score of a labelling that ends. */
  readonly finish: ((labels: readonly number[]) => number) | undefined;
  /** A class whose log-probability at a step is below this is put behind no prefix. */
  readonly labelThreshold: number;
  /** Prefixes that score so much less than the best one are dropped. */
  readonly beamThreshold: number;
}

/** A labelling and its score: its log-probability and what the hooks added. */
export interface Scored extends Labelling {
  readonly score: number;
}

/** A prefix, as a node in a tree of prefixes: the same labels are the same node, however they were reached. */
interface Prefix {
  readonly parent: Prefix | undefined;
  /** The last label; the root's is the blank. */
  readonly label: number;
  /** What the hook added on the way here. */
  readonly added: number;
  children: Map<number, Prefix> | undefined;
  /** log-probability of all paths so far that end in a blank, of those that end in the label, and of both. */
  inBlank: number;
  inLabel: number;
  whole: number;
  /** The last, and what was added. */
  score: number;
  /** What ends in a blank and in the label at the step that is being made. */
  nextInBlank: number;
  nextInLabel: number;
}

/** log(exp(a) + exp(b)). */
const add = (a: number, b: number): number => {
  const most = Math.max(a, b);
  return most === -Infinity ? most : most + Math.log1p(Math.exp(-Math.abs(a - b)));
};

function node(parent: Prefix | undefined, label: number, added: number, whole = -Infinity): Prefix {
  return {
    parent,
    label,
    added,
    children: undefined,
    inBlank: whole,
    inLabel: -Infinity,
    whole,
    score: whole,
    nextInBlank: -Infinity,
    nextInLabel: -Infinity,
  };
}

function labelsOf(prefix: Prefix): number[] {
  const labels: number[] = [];
  for (let p = prefix; p.parent !== undefined; p = p.parent) labels.push(p.label);
  return labels.reverse();
}

/**
 * Prefix beam search: at each step every prefix stays as it is (a blank, or its last label again) or gets a label put behind it, and
 * the `beamWidth` that score best go on. Where the beam is wide enough for all prefixes that there are, the log-probabilities are exact.
 */
export function beamDecode(sample: Sample, beam: Beam): Scored[] {
  const { steps, classes, blank, logits, at, max, log, known } = sample;
  const { extend, finish, labelThreshold, beamThreshold, beamWidth, topK } = beam;
  if (known !== 0) return [{ labels: [], logProb: known, score: known }];
  // best first
  let prefixes = new Set([node(undefined, blank, 0, 0)]);
  const logp = new Float64Array(classes);
  /** The log-probability of all paths that put a label behind a prefix: the same label again is a new one only behind a blank. */
  const extended = (p: Prefix, c: number): number =>
    (c === p.label ? p.inBlank : p.whole) + (logp[c] as number);
  for (let t = 0; t < steps; t++) {
    const row = at(t, classes);
    const [largest, rest] = [max[t] as number, log[t] as number];
    for (let c = 0; c < classes; c++) logp[c] = (logits[row + c] as number) - largest - rest;
    // every prefix as it is: a blank, or its last label again, which may come anew as well
    const met = [...prefixes];
    let most = -Infinity;
    let least = met.length === beamWidth ? Infinity : -Infinity;
    for (const p of met) {
      const { label } = p;
      // the root has none, which is in no beam
      const parent = p.parent as Prefix;
      const again = logp[label] as number;
      p.nextInBlank = p.whole + (logp[blank] as number);
      p.nextInLabel = p.inLabel + again;
      if (prefixes.has(parent) && again >= labelThreshold)
        p.nextInLabel = add(p.nextInLabel, extended(parent, label));
      const stays = add(p.nextInBlank, p.nextInLabel) + p.added;
      most = Math.max(most, stays);
      least = Math.min(least, stays);
    }
    // what is below this is not among the best; a hook may still raise it
    const cutoff = extend === undefined ? Math.max(least, most - beamThreshold) : -Infinity;
    const top = (met[0] as Prefix).score;
    const live: number[] = [];
    for (let c = 0; c < classes; c++) {
      const own = logp[c] as number;
      if (c !== blank && own >= labelThreshold && top + own >= cutoff) live.push(c);
    }
    // best first: of the new prefixes that come of one, no more than the beam holds can be in it, but for its own label, which may
    // come of less
    if (extend === undefined) live.sort((a, b) => (logp[b] as number) - (logp[a] as number));
    for (const p of prefixes) {
      let labels: number[] | undefined;
      let left = extend === undefined ? beamWidth + 1 : live.length;
      for (const c of live) {
        if (left === 0 || p.whole + (logp[c] as number) + p.added < cutoff) break;
        let child = p.children?.get(c);
        if (child !== undefined && prefixes.has(child)) continue;
        left--;
        const reached = extended(p, c);
        if (reached === -Infinity || reached + p.added < cutoff) continue;
        if (child === undefined) {
          labels ??= extend && labelsOf(p);
          child = node(p, c, p.added + (extend === undefined ? 0 : extend(labels as number[], c)));
          p.children ??= new Map();
          p.children.set(c, child);
        }
        child.nextInBlank = -Infinity;
        child.nextInLabel = reached;
        met.push(child);
      }
    }
    for (const p of met) {
      p.inBlank = p.nextInBlank;
      p.inLabel = p.nextInLabel;
      p.whole = add(p.inBlank, p.inLabel);
      p.score = p.whole + p.added;
    }
    met.sort((a, b) => b.score - a.score);
    const lowest = (met[0] as Prefix).score - beamThreshold;
    // NaN, where hooks have made a score infinite, leaves nothing out
    prefixes = new Set(met.slice(0, beamWidth).filter((p) => !(p.score < lowest)));
    // out of the tree goes what is in no beam and has nothing behind it that is
    for (let p of met) {
      while (!prefixes.has(p) && !p.children?.size && p.parent !== undefined) {
        p.parent.children?.delete(p.label);
        p = p.parent;
      }
    }
  }
  const results = Array.from(prefixes, (p) => {
    const labels = labelsOf(p);
    return { labels, logProb: p.whole, score: p.score + (finish === undefined ? 0 : finish(labels)) };
  });
  // what has probability 0 is no labelling, unless nothing else is left
  const possible = results.filter(({ logProb }) => logProb > -Infinity);
  const found = possible.length > 0 ? possible : results.slice(0, 1);
  return found.sort((a, b) => b.score - a.score).slice(0, topK);
}
