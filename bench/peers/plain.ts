/** Plain JavaScript: the loop over typed arrays that one writes by hand, in double precision, with no library. */
import { type Case, type CaseInput, sizeOf } from "../cases.js";
import { type Engine, total } from "../engines.js";
import { Timer } from "../measure.js";

type Arrays = readonly (Float32Array | Int32Array)[];
/** Writes the gradients (or, where there are none, the value's numbers) and gives the loss. */
type Loop = (inputs: Arrays, out: readonly Float32Array[], one: Case) => number;

const at = (array: Float32Array | Int32Array, i: number): number => array[i] as number;

/** A mean over elements: the loss of one, whose derivative is put into `slope`. */
let slope = 0;
const elementwise =
  (loss: (x: number, t: number) => number): Loop =>
  ([x, t], [grad], { options }) => {
    const [xs, ts, gs] = [x as Float32Array, t as Float32Array, grad as Float32Array];
    const n = xs.length;
    const scale = options.reduction === "sum" ? 1 : 1 / n;
    let sum = 0;
    for (let i = 0; i < n; i++) {
      sum += loss(at(xs, i), at(ts, i));
      gs[i] = slope * scale;
    }
    return sum * scale;
  };

/** log sum exp of a row. */
function rowLogSumExp(x: Float32Array, first: number, columns: number): number {
  let max = -Infinity;
  for (let c = 0; c < columns; c++) max = Math.max(max, at(x, first + c));
  let sum = 0;
  for (let c = 0; c < columns; c++) sum += Math.exp(at(x, first + c) - max);
  return max + Math.log(sum);
}

const crossEntropy: Loop = ([input, target], [grad], { dims: { rows, columns } }) => {
  const [x, y] = [input as Float32Array, target as Int32Array];
  if (y.length !== rows) return Number.NaN;
  let sum = 0;
  for (let row = 0; row < rows; row++) {
    const first = row * (columns as number);
    const label = at(y, row);
    const lse = rowLogSumExp(x, first, columns as number);
    sum += lse - at(x, first + label);
    if (grad === undefined) continue;
    for (let c = 0; c < (columns as number); c++) {
      grad[first + c] = (Math.exp(at(x, first + c) - lse) - (c === label ? 1 : 0)) / rows;
    }
  }
  return sum / (rows as number);
};

const triplet: Loop = ([anchor, positive, negative], grads, { dims }) => {
  const [a, p, n] = [anchor as Float32Array, positive as Float32Array, negative as Float32Array];
  const [ga, gp, gn] = grads as [Float32Array, Float32Array, Float32Array];
  const [rows, columns] = [dims.n as number, dims.d as number];
  let sum = 0;
  for (let row = 0; row < rows; row++) {
    const first = row * columns;
    let dp = 0;
    let dn = 0;
    for (let i = first; i < first + columns; i++) {
      dp += (at(a, i) - at(p, i) + 1e-6) ** 2;
      dn += (at(a, i) - at(n, i) + 1e-6) ** 2;
    }
    dp = Math.sqrt(dp);
    dn = Math.sqrt(dn);
    const loss = Math.max(0, 1 + dp - dn);
    sum += loss;
    const scale = loss > 0 ? 1 / rows : 0;
    for (let i = first; i < first + columns; i++) {
      const toP = (scale * (at(a, i) - at(p, i) + 1e-6)) / dp;
      const toN = (scale * (at(a, i) - at(n, i) + 1e-6)) / dn;
      ga[i] = toP - toN;
      gp[i] = -toP;
      gn[i] = toN;
    }
  }
  return sum / rows;
};

const cdist: Loop = ([x1, x2], [value], { dims }) => {
  const [x, y, out] = [x1 as Float32Array, x2 as Float32Array, value as Float32Array];
  const [n, d] = [dims.n as number, dims.d as number];
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      let sum = 0;
      for (let k = 0; k < d; k++) sum += (at(x, i * d + k) - at(y, j * d + k)) ** 2;
      out[i * n + j] = Math.sqrt(sum);
    }
  }
  return total(out);
};

const add = (a: number, b: number): number => {
  const most = Math.max(a, b);
  return most === -Infinity ? most : most + Math.log1p(Math.exp(Math.min(a, b) - most));
};

/** Forward and backward in the log space, as the textbook has it. */
const ctc: Loop = ([logits, targets], [grad], { dims: { T, N, C, S } }) => {
  const [x, labels, out] = [logits as Float32Array, targets as Int32Array, grad as Float32Array];
  const [steps, samples, classes, length] = [T, N, C, S] as [number, number, number, number];
  const states = 2 * length + 1;
  const alpha = new Float64Array(steps * states);
  const beta = new Float64Array(2 * states);
  const lse = new Float64Array(steps);
  const occupancy = new Float64Array(classes);
  let sum = 0;
  for (let sample = 0; sample < samples; sample++) {
    const row = (t: number) => (t * samples + sample) * classes;
    const label = (s: number) => (s % 2 === 0 ? 0 : at(labels, sample * length + (s >> 1)));
    const mayskip = (s: number) => s % 2 === 1 && s > 1 && label(s) !== label(s - 2);
    for (let t = 0; t < steps; t++) {
      lse[t] = rowLogSumExp(x, row(t), classes);
      for (let s = 0; s < states; s++) {
        let from = -Infinity;
        if (t === 0) from = s < 2 ? 0 : -Infinity;
        else {
          const before = (t - 1) * states + s;
          from = alpha[before] as number;
          if (s > 0) from = add(from, alpha[before - 1] as number);
          if (mayskip(s)) from = add(from, alpha[before - 2] as number);
        }
        alpha[t * states + s] = from + at(x, row(t) + label(s)) - (lse[t] as number);
      }
    }
    const end = steps * states;
    const total = add(alpha[end - 1] as number, alpha[end - 2] as number);
    sum -= total;
    for (let t = steps - 1; t >= 0; t--) {
      const [now, next] = [(t % 2) * states, ((t + 1) % 2) * states];
      occupancy.fill(0);
      for (let s = 0; s < states; s++) {
        let to = -Infinity;
        if (t === steps - 1) to = s >= states - 2 ? 0 : -Infinity;
        else {
          const emitted = (k: number) =>
            (beta[next + k] as number) + at(x, row(t + 1) + label(k)) - (lse[t + 1] as number);
          to = emitted(s);
          if (s + 1 < states) to = add(to, emitted(s + 1));
          if (s + 2 < states && mayskip(s + 2)) to = add(to, emitted(s + 2));
        }
        beta[now + s] = to;
        occupancy[label(s)] =
          (occupancy[label(s)] as number) + Math.exp((alpha[t * states + s] as number) + to - total);
      }
      for (let c = 0; c < classes; c++) {
        out[row(t) + c] = Math.exp(at(x, row(t) + c) - (lse[t] as number)) - (occupancy[c] as number);
      }
    }
  }
  return sum;
};

const LOOPS: Readonly<Record<string, Loop>> = {
  l1Loss: elementwise((x, t) => {
    slope = Math.sign(x - t);
    return Math.abs(x - t);
  }),
  mseLoss: elementwise((x, t) => {
    slope = 2 * (x - t);
    return (x - t) ** 2;
  }),
  bceWithLogitsLoss: elementwise((x, t) => {
    const e = Math.exp(-Math.abs(x));
    slope = (x >= 0 ? 1 : e) / (1 + e) - t;
    return Math.max(x, 0) - x * t + Math.log1p(e);
  }),
  klDivLoss: elementwise((x, t) => {
    slope = -t;
    return t > 0 ? t * (Math.log(t) - x) : 0;
  }),
  crossEntropyLoss: crossEntropy,
  logSumExp: ([input], [value], { dims: { rows, columns } }) => {
    for (let row = 0; row < (rows as number); row++) {
      (value as Float32Array)[row] = rowLogSumExp(
        input as Float32Array,
        row * (columns as number),
        columns as number,
      );
    }
    return total(value as Float32Array);
  },
  tripletMarginLoss: triplet,
  cdist,
  ctcLoss: ctc,
};

/** The engine. */
export function plain(): Engine {
  return {
    name: "plain JavaScript",
    version: process.versions.v8,
    async prepare(one, inputs: readonly CaseInput[]) {
      const loop = LOOPS[one.name];
      if (loop === undefined || one.shape.includes("probabilities")) return undefined;
      const arrays = inputs.map(({ data }) => data);
      const lengthOf = (name: string) => inputs.find((input) => input.name === name)?.data.length ?? 0;
      const lengths =
        one.grads.length > 0 ? one.grads.map(lengthOf) : one.value === undefined ? [] : [sizeOf(one.value)];
      const out = lengths.map((length) => new Float32Array(length));
      const call = () => loop(arrays, out, one);
      const value = call();
      const gradients = one.grads.length > 0 ? out.map((array) => total(array, Math.abs)) : [];
      const timer = new Timer(call);
      return { answer: [value, ...gradients], samples: (milliseconds) => timer.samples(milliseconds) };
    },
  };
}
