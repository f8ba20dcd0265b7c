/** What the tests of the sequence losses compare with: sums over all paths, and a lattice of logarithms. */
import { randomStream } from "./generate.js";

/** What a path over the steps stands for: repeated classes merged, then blanks taken out. */
export function collapse(path: readonly number[], blank: number): number[] {
  return path.filter((c, t) => c !== blank && c !== path[t - 1]);
}

/** log softmax of each row. */
export function logSoftmaxRows(logits: ArrayLike<number>, classes: number): number[][] {
  return Array.from({ length: logits.length / classes }, (_, t) => {
    const row = Array.from({ length: classes }, (_, c) => logits[t * classes + c] as number);
    const max = Math.max(...row);
    const lse = max + Math.log(row.reduce((sum, x) => sum + Math.exp(x - max), 0));
    return row.map((x) => x - lse);
  });
}

/** Every path over the steps with its probability. */
export function* paths(logits: ArrayLike<number>, classes: number): Generator<[path: number[], p: number]> {
  const logp = logSoftmaxRows(logits, classes);
  const path = new Array<number>(logp.length).fill(0);
  for (;;) {
    yield [path, Math.exp(path.reduce((sum, c, t) => sum + ((logp[t] as number[])[c] as number), 0))];
    let t = path.length - 1;
    while (t >= 0 && path[t] === classes - 1) path[t--] = 0;
    if (t < 0) return;
    path[t] = (path[t] as number) + 1;
  }
}

/** A loss and the probability of each class at each step given the target. */
export interface Known {
  loss: number;
  occupancy: Float64Array;
}

/** By adding up all paths that collapse to the target. */
export function byEnumeration(
  logits: ArrayLike<number>,
  classes: number,
  target: readonly number[],
  blank: number,
): Known {
  const occupancy = new Float64Array(logits.length);
  let total = 0;
  for (const [path, p] of paths(logits, classes)) {
    if (collapse(path, blank).join() !== target.join()) continue;
    total += p;
    path.forEach((c, t) => {
      occupancy[t * classes + c] = (occupancy[t * classes + c] as number) + p;
    });
  }
  return { loss: -Math.log(total), occupancy: occupancy.map((x) => x / total) };
}

/**
 * The textbook's way (Graves et al. 2006, section 4.1) with logarithms of doubles. Each step's are kept relative to their
 * largest, and only states that can be reached and can still reach the end are looked at, so that they stay small.
 */
export function byLogarithms(
  logits: ArrayLike<number>,
  classes: number,
  target: ArrayLike<number>,
  blank: number,
): Known {
  const steps = logits.length / classes;
  const states = 2 * target.length + 1;
  const symbol = (s: number): number => (s % 2 === 0 ? blank : (target[(s - 1) / 2] as number));
  const skips = (s: number): boolean => s > 1 && s % 2 === 1 && symbol(s) !== symbol(s - 2);
  const logp = logSoftmaxRows(logits, classes);
  // the fewest steps in which state s is reached, and from which the end is reached
  const from = new Int32Array(states + 1);
  for (let s = 1; s < states; s++) {
    from[s] =
      s < 2 ? 0 : Math.min((from[s - 1] as number) + 1, skips(s) ? (from[s - 2] as number) + 1 : steps);
  }
  const to = new Int32Array(states + 1);
  for (let s = states - 3; s >= 0; s--) {
    to[s] = Math.min((to[s + 1] as number) + 1, skips(s + 2) ? (to[s + 2] as number) + 1 : steps);
  }
  const inside = (t: number, s: number): boolean =>
    t >= (from[s] as number) && steps - 1 - t >= (to[s] as number);
  const add = (a: number, b: number, c: number): number => {
    const max = Math.max(a, b, c);
    return max === -Infinity
      ? max
      : max + Math.log(Math.exp(a - max) + Math.exp(b - max) + Math.exp(c - max));
  };
  /** Takes the largest out of a row and gives it. */
  const relative = (row: Float64Array): number => {
    let max = -Infinity;
    for (const x of row) if (x > max) max = x;
    for (let s = 0; s < row.length; s++) row[s] = (row[s] as number) - max;
    return max;
  };
  const none = new Float64Array(states).fill(-Infinity);
  const alpha: Float64Array[] = [];
  let offset = 0;
  for (let t = 0; t < steps; t++) {
    const row = none.slice();
    const before = alpha[t - 1] ?? none;
    for (let s = 0; s < states; s++) {
      if (!inside(t, s)) continue;
      const sum =
        t === 0
          ? 0
          : add(
              before[s] as number,
              before[s - 1] ?? -Infinity,
              skips(s) ? (before[s - 2] as number) : -Infinity,
            );
      row[s] = sum + ((logp[t] as number[])[symbol(s)] as number);
    }
    offset += relative(row);
    alpha.push(row);
  }
  const last = alpha[steps - 1] as Float64Array;
  const loss = -(offset + add(last[states - 1] as number, last[states - 2] ?? -Infinity, -Infinity));
  const occupancy = new Float64Array(logits.length);
  let beta = none.slice().fill(0, Math.max(0, states - 2));
  for (let t = steps - 1; t >= 0; t--) {
    if (t < steps - 1) {
      const next = beta.map((x, s) => x + ((logp[t + 1] as number[])[symbol(s)] as number));
      beta = none.slice();
      for (let s = 0; s < states; s++) {
        if (!inside(t, s)) continue;
        beta[s] = add(
          next[s] as number,
          next[s + 1] ?? -Infinity,
          s + 2 < states && skips(s + 2) ? (next[s + 2] as number) : -Infinity,
        );
      }
      relative(beta);
    }
    const through = beta.map((x, s) => x + ((alpha[t] as Float64Array)[s] as number));
    relative(through);
    const sum = through.reduce((total, x) => total + Math.exp(x), 0);
    for (let s = 0; s < states; s++) {
      const i = t * classes + symbol(s);
      occupancy[i] = (occupancy[i] as number) + Math.exp(through[s] as number) / sum;
    }
  }
  return { loss, occupancy };
}

/** The gradient: softmax - occupancy. */
export function gradientOf(logits: ArrayLike<number>, classes: number, { occupancy }: Known): Float64Array {
  const logp = logSoftmaxRows(logits, classes).flat();
  return occupancy.map((x, i) => Math.exp(logp[i] as number) - x);
}

/** Random logits, and a target without the blank; `repeats` says how often a label is the one before it again. */
export function draw(wish: {
  seed: number;
  steps: number;
  classes: number;
  labels: number;
  blank?: number;
  scale?: number;
  repeats?: number;
}): { logits: Float32Array; target: Int32Array } {
  const { seed, steps, classes, labels, blank = 0, scale = 2, repeats = 0.2 } = wish;
  const random = randomStream(seed);
  const logits = Float32Array.from(
    { length: steps * classes },
    () => scale * (random() + random() + random() + random() - 2),
  );
  const target = new Int32Array(labels);
  for (let i = 0; i < labels; i++) {
    let label = 0;
    do label = Math.floor(random() * classes);
    while (label === blank || (classes > 2 && label === target[i - 1]));
    target[i] = i > 0 && random() < repeats ? (target[i - 1] as number) : label;
  }
  return { logits, target };
}

/** How many steps a target takes at least. */
export function stepsFor(target: ArrayLike<number>): number {
  let steps = target.length;
  for (let i = 1; i < target.length; i++) if (target[i] === target[i - 1]) steps++;
  return steps;
}
