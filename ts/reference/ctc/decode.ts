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
    let best = 0;
    while (best < classes - 1 && logits[row + best] !== max[t]) best++;
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
  readonly label: number;
  children: Map<number, Prefix> | undefined;
  /** What the hook added on the way here. */
  readonly added: number;
  /** log-probability of all paths so far that end in a blank, of those that end in the label, and of both. */
  inBlank: number;
  inLabel: number;
  whole: number;
  /** The same at the step that is being made. */
  nextInBlank: number;
  nextInLabel: number;
  /** Whether it is in the beam, and in the one that is being made. */
  kept: boolean;
  met: boolean;
}

/** log(exp(a) + exp(b)). */
const add = (a: number, b: number): number => {
  const most = Math.max(a, b);
  return most === -Infinity ? most : most + Math.log1p(Math.exp(-Math.abs(a - b)));
};

function node(parent: Prefix | undefined, label: number, added: number): Prefix {
  const none = -Infinity;
  const at = { inBlank: none, inLabel: none, whole: none, nextInBlank: none, nextInLabel: none };
  return { parent, label, children: undefined, added, ...at, kept: false, met: false };
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
  const root = node(undefined, blank, 0);
  root.inBlank = 0;
  root.whole = 0;
  root.kept = true;
  let prefixes = [root];
  const score = (p: Prefix): number => p.whole + p.added;
  for (let t = 0; t < steps; t++) {
    const row = at(t, classes);
    const [largest, rest] = [max[t] as number, log[t] as number];
    const logp = (c: number): number => (logits[row + c] as number) - largest - rest;
    const met: Prefix[] = [];
    const meet = (p: Prefix): void => {
      if (p.met) return;
      p.met = true;
      p.nextInBlank = -Infinity;
      p.nextInLabel = -Infinity;
      met.push(p);
    };
    // every prefix as it is: a blank, or its last label again
    let most = -Infinity;
    let least = Infinity;
    let top = -Infinity;
    for (const p of prefixes) {
      meet(p);
      p.nextInBlank = p.whole + logp(blank);
      if (p.parent !== undefined) p.nextInLabel = p.inLabel + logp(p.label);
      const stays = add(p.nextInBlank, p.nextInLabel) + p.added;
      most = Math.max(most, stays);
      least = Math.min(least, stays);
      top = Math.max(top, score(p));
    }
    // what is below this is not among the best; a hook may still raise it
    const full = prefixes.length === beamWidth ? least : -Infinity;
    const cutoff = extend === undefined ? Math.max(full, most - beamThreshold) : -Infinity;
    const live: [label: number, logProb: number][] = [];
    for (let c = 0; c < classes; c++) {
      const x = logp(c);
      if (c !== blank && x >= labelThreshold && x > -Infinity && top + x >= cutoff) live.push([c, x]);
    }
    // best first: of the new prefixes that come of one, no more than the beam holds can be in it, but for its own label, which may
    // come of less
    if (extend === undefined) live.sort((a, b) => b[1] - a[1]);
    const enough = extend === undefined ? beamWidth + 1 : live.length;
    for (const p of prefixes) {
      // behind a label the same label is a new one only where a blank is between them
      const from = (c: number): number => (p.parent !== undefined && c === p.label ? p.inBlank : p.whole);
      for (const child of p.children?.values() ?? []) {
        if (child.kept && logp(child.label) >= labelThreshold) {
          child.nextInLabel = add(child.nextInLabel, from(child.label) + logp(child.label));
        }
      }
      let labels: number[] | undefined;
      let left = enough;
      for (const [c, logProb] of live) {
        if (left === 0 || p.whole + logProb + p.added < cutoff) break;
        let child = p.children?.get(c);
        if (child?.kept) continue;
        left--;
        const reached = from(c) + logProb;
        if (reached === -Infinity || reached + p.added < cutoff) continue;
        p.children ??= new Map();
        if (child === undefined) {
          if (extend !== undefined) labels ??= labelsOf(p);
          child = node(p, c, p.added + (extend === undefined ? 0 : extend(labels as number[], c)));
          p.children.set(c, child);
        }
        meet(child);
        child.nextInLabel = reached;
      }
    }
    for (const p of prefixes) p.kept = false;
    for (const p of met) {
      p.met = false;
      p.inBlank = p.nextInBlank;
      p.inLabel = p.nextInLabel;
      p.whole = add(p.inBlank, p.inLabel);
    }
    met.sort((a, b) => score(b) - score(a));
    const lowest = score(met[0] ?? root) - beamThreshold;
    prefixes = [];
    for (const p of met) {
      if (prefixes.length === beamWidth || !(score(p) >= lowest)) break;
      p.kept = true;
      prefixes.push(p);
    }
    met.forEach(forget);
  }
  const results = prefixes.map((p) => {
    const labels = labelsOf(p);
    return { labels, logProb: p.whole, score: score(p) + (finish === undefined ? 0 : finish(labels)) };
  });
  // what has probability 0 is no labelling, unless nothing else is left
  const possible = results.filter(({ logProb }) => logProb > -Infinity);
  const found = possible.length > 0 ? possible : results.slice(0, 1);
  return found.sort((a, b) => b.score - a.score).slice(0, topK);
}

/** Takes prefixes out of the tree that are in no beam and have none behind them that is. */
function forget(prefix: Prefix): void {
  let p = prefix;
  while (!p.kept && !p.children?.size && p.parent !== undefined) {
    p.parent.children?.delete(p.label);
    p = p.parent;
  }
}
