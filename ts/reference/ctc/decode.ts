/** Labellings out of steps of logits, in double precision: the best path's, and the most probable ones by prefix beam search. */
import { softplus } from "../../math.js";
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
  /** Added to the score of a prefix that a label is put behind; -Infinity forbids it. */
  readonly extend: ((prefix: readonly number[], label: number) => number) | undefined;
  /** Added to the score of a labelling that ends; -Infinity forbids it. */
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
  readonly children: Map<number, Prefix>;
  /** log-probability of all paths so far that end in a blank, of those that end in the label, and of both. */
  inBlank: number;
  inLabel: number;
  whole: number;
  /** What ends in a blank and in the label at the step that is being made, and the score there: both, and what was added. */
  nextInBlank: number;
  nextInLabel: number;
  score: number;
}

/** What goes to the hook for a prefix, and what it gave for each label. */
type Asked = [labels: readonly number[], gains: number[]];

/** log(exp(a) + exp(b)). */
const add = (a: number, b: number): number => {
  const most = Math.max(a, b);
  return most === -Infinity ? most : most + softplus(-Math.abs(a - b));
};

/** The root, or a prefix that is not in the beam yet: what it has of paths is not read before it is. */
function node(parent: Prefix | undefined, label: number, added: number): Prefix {
  return {
    parent,
    label,
    added,
    children: new Map(),
    inBlank: 0,
    inLabel: -Infinity,
    whole: 0,
    nextInBlank: 0,
    nextInLabel: 0,
    score: 0,
  };
}

/** The order of what has scores; those that are alike keep theirs. */
const bestFirst = (a: { readonly score: number }, b: { readonly score: number }): number => b.score - a.score;

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
  // best first, each with its labels for `extend`, which no hook can change, and what that gave for each label behind it
  let met = [node(undefined, blank, 0)];
  let prefixes = new Map<Prefix, Asked>(met.map((p) => [p, [Object.freeze([]), []]]));
  const logp = new Float64Array(classes);
  /** The log-probability of all paths that put a label behind a prefix: the same label again is a new one only behind a blank. */
  const extended = (p: Prefix, c: number): number =>
    (c === p.label ? p.inBlank : p.whole) + (logp[c] as number);
  for (let t = 0; t < steps; t++) {
    const row = at(t, classes);
    const [largest, rest] = [max[t] as number, log[t] as number];
    const live: number[] = [];
    for (let c = 0; c < classes; c++) {
      const own = (logits[row + c] as number) - largest - rest;
      logp[c] = own;
      if (c !== blank && own >= labelThreshold) live.push(c);
    }
    // every prefix as it is: a blank, or its last label again, which may come anew as well
    for (const p of met) {
      // the root has no parent, which is in no beam
      const { parent, label } = p as Prefix & { readonly parent: Prefix };
      p.nextInBlank = p.whole + (logp[blank] as number);
      p.nextInLabel = p.inLabel + (logp[label] as number);
      if (prefixes.has(parent) && (logp[label] as number) >= labelThreshold)
        p.nextInLabel = add(p.nextInLabel, extended(parent, label));
      p.score = add(p.nextInBlank, p.nextInLabel) + p.added;
    }
    /** What scores below this is not among the best. NaN, where hooks have made a score infinite, leaves nothing out. */
    let cutoff = -Infinity;
    const select = (): void => {
      met.sort(bestFirst);
      cutoff = (met[0] as Prefix).score - beamThreshold;
      met = met.slice(0, beamWidth).filter((p) => !(p.score < cutoff));
      cutoff = met[beamWidth - 1]?.score ?? cutoff;
    };
    for (const [p, [labels, gains]] of prefixes) {
      for (const c of live) {
        const reached = extended(p, c);
        if (reached === -Infinity) continue;
        if (extend) gains[c] ??= extend(labels, c);
        const added = p.added + (gains[c] ?? 0);
        const score = reached + added;
        // forbidden, or not among the best
        if (!(score > -Infinity) || score < cutoff) continue;
        const old = p.children.get(c);
        if (prefixes.has(old as Prefix)) continue;
        const child = old ?? node(p, c, added);
        child.nextInBlank = -Infinity;
        child.nextInLabel = reached;
        child.score = score;
        // now and then, so that few are made and sorted that are not among the best
        if (met.push(child) > 2 * beamWidth) select();
      }
    }
    select();
    const before = prefixes;
    prefixes = new Map();
    for (const p of met) {
      p.inBlank = p.nextInBlank;
      p.inLabel = p.nextInLabel;
      p.whole = add(p.inBlank, p.inLabel);
      let asked = before.get(p);
      if (asked === undefined) {
        const parent = p.parent as Prefix;
        parent.children.set(p.label, p);
        const [labels] = before.get(parent) as Asked;
        asked = [extend ? Object.freeze([...labels, p.label]) : labels, []];
      }
      prefixes.set(p, asked);
    }
    // out of the tree goes what is in no beam and has nothing behind it that is
    for (let p of before.keys()) {
      while (!prefixes.has(p) && !p.children.size && p.parent) {
        p.parent.children.delete(p.label);
        p = p.parent;
      }
    }
  }
  // what has probability 0 is no labelling, unless nothing else is left
  const possible = met.filter(({ whole }) => whole > -Infinity);
  const results: Scored[] = [];
  for (const p of possible.length > 0 ? possible : met.slice(0, 1)) {
    const added = finish?.(labelsOf(p)) ?? 0;
    if (added > -Infinity) results.push({ labels: labelsOf(p), logProb: p.whole, score: p.score + added });
  }
  return results.sort(bestFirst).slice(0, topK);
}
