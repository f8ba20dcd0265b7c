/**
 * The pointwise losses as plain loops in double precision: one loss per element. What the kernels compute is defined
 * here; the js engine runs it.
 */
import type { FloatArray } from "../types.js";

/**
 * A pointwise loss: of so many elements, `x` and `t` being its first two inputs, it writes the losses and their plain derivatives with
 * respect to both; writing all that it has is cheaper than asking which are wanted. `parameters` are the options as numbers, in
 * the order of the kernel's. Few losses have a third array of factors or inputs, and its derivative.
 */
export type PointwiseReference = (
  count: number,
  x: FloatArray,
  t: FloatArray,
  value: Float64Array,
  gradX: Float64Array,
  gradT: Float64Array,
  parameters: readonly [number, number, number],
  third: FloatArray | undefined,
  gradThird: Float64Array,
) => void;

/** What all losses have in common. */
interface Plan {
  /** What multiplies each gradient. */
  readonly scale: number;
  readonly parameters: readonly number[];
}

/** The arrays of a call: those that are not given or not asked for are undefined. */
type Arrays = readonly [
  a: FloatArray,
  b: FloatArray,
  c: FloatArray | undefined,
  /** A factor per element, of value and gradients. */
  weight: FloatArray | undefined,
  posWeight: FloatArray | undefined,
  /** The single losses come here. */
  values: FloatArray | undefined,
  gradA: FloatArray | undefined,
  gradB: FloatArray | undefined,
  gradC: FloatArray | undefined,
  /** What flows in from above: a number per loss. */
  upstream: FloatArray | undefined,
];

/** So many elements at a time: the scratch of a block stays in the first cache. */
const BLOCK = 1024;
/** The losses of a block and their derivatives. */
let scratch: readonly Float64Array[] | undefined;

/** Runs a loss over all elements, block by block, and applies weights and upstream gradients; gives the sum of the losses. */
export function runPointwise(loss: PointwiseReference, plan: Plan, arrays: Arrays): number {
  const { scale, parameters } = plan;
  const [a, b, c, weight, posWeight, values, , , , upstream] = arrays;
  const count = a.length;
  let sum = 0;
  if (count > BLOCK) {
    for (let first = 0; first < count; first += BLOCK) {
      const block = arrays.map((array) => array?.subarray(first, first + BLOCK));
      sum += runPointwise(loss, plan, block as unknown as Arrays);
    }
    return sum;
  }
  scratch ??= [0, 1, 2, 3].map(() => new Float64Array(BLOCK));
  const [value, gradA, gradB, gradC] = scratch as [Float64Array, Float64Array, Float64Array, Float64Array];
  loss(count, a, b, value, gradA, gradB, parameters as [number, number, number], c ?? posWeight, gradC);
  for (let i = 0; i < count; i++) {
    const v = (weight === undefined ? 1 : (weight[i] as number)) * (value[i] as number);
    if (values !== undefined) values[i] = v;
    sum += v;
  }
  for (let k = 1; k <= 3; k++) {
    const to = arrays[5 + k];
    const slopes = scratch[k] as Float64Array;
    for (let i = 0; to !== undefined && i < count; i++) {
      const w = weight === undefined ? 1 : (weight[i] as number);
      const up = upstream === undefined ? scale : scale * (upstream[i] as number);
      to[i] = up * w * (slopes[i] as number);
    }
  }
  return sum;
}

/** |x - t|; at 0 the slope is 0. */
export const l1Loss: PointwiseReference = (count, x, t, value, gradX, gradT) => {
  for (let i = 0; i < count; i++) {
    const d = (x[i] as number) - (t[i] as number);
    const slope = d > 0 ? 1 : d < 0 ? -1 : 0;
    value[i] = Math.abs(d);
    gradX[i] = slope;
    gradT[i] = -slope;
  }
};

/** (x - t)^2. */
export const mseLoss: PointwiseReference = (count, x, t, value, gradX, gradT) => {
  for (let i = 0; i < count; i++) {
    const d = (x[i] as number) - (t[i] as number);
    const slope = 2 * d;
    value[i] = d * d;
    gradX[i] = slope;
    gradT[i] = -slope;
  }
};

/** d^2 / (2 beta) where |d| < beta, else |d| - beta / 2; d = x - t. Parameter: beta. */
export const smoothL1Loss: PointwiseReference = (count, x, t, value, gradX, gradT, [beta]) => {
  for (let i = 0; i < count; i++) {
    const d = (x[i] as number) - (t[i] as number);
    const z = Math.abs(d);
    const slope = z < beta ? d / beta : Math.sign(d);
    value[i] = z < beta ? 0.5 * d * slope : z - 0.5 * beta;
    gradX[i] = slope;
    gradT[i] = -slope;
  }
};

/** d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2); d = x - t. Parameter: delta. */
export const huberLoss: PointwiseReference = (count, x, t, value, gradX, gradT, [delta]) => {
  for (let i = 0; i < count; i++) {
    const d = (x[i] as number) - (t[i] as number);
    const z = Math.abs(d);
    const slope = z <= delta ? d : delta * Math.sign(d);
    value[i] = z <= delta ? 0.5 * d * slope : delta * (z - 0.5 * delta);
    gradX[i] = slope;
    gradT[i] = -slope;
  }
};

/** -(t log x + (1 - t) log(1 - x)), each logarithm at least -100. */
export const bceLoss: PointwiseReference = (count, x, t, value, gradX, gradT) => {
  for (let i = 0; i < count; i++) {
    const p = x[i] as number;
    const y = t[i] as number;
    const logP = Math.max(Math.log(p), -100);
    const logNotP = Math.max(Math.log1p(-p), -100);
    value[i] = (y - 1) * logNotP - y * logP;
    // PyTorch's constant, which is a float32
    gradX[i] = (p - y) / Math.max(p * (1 - p), Math.fround(1e-12));
    gradT[i] = logNotP - logP;
  }
};

/** -(w t log s(x) + (1 - t) log s(-x)), s being the sigmoid and w posWeight. */
export const bceWithLogitsLoss: PointwiseReference = (
  count,
  x,
  t,
  value,
  gradX,
  gradT,
  _parameters,
  posWeight,
) => {
  for (let i = 0; i < count; i++) {
    const z = x[i] as number;
    const y = t[i] as number;
    const w = posWeight === undefined ? 1 : (posWeight[i] as number);
    const e = Math.exp(-Math.abs(z));
    const tail = Math.log1p(e);
    const slope = e / (1 + e);
    // -log s(z) and -log s(-z) are `tail` on the side of z and |z| + tail on the other
    const both = w * y + (1 - y);
    const against = z >= 0 ? 1 - y : w * y;
    // what has no share adds nothing, even where |z| is infinite
    value[i] = (against === 0 ? 0 : against * Math.abs(z)) + both * tail;
    gradX[i] = z >= 0 ? against - both * slope : both * slope - against;
    gradT[i] = z >= 0 ? (w - 1) * tail - z : (w - 1) * tail - w * z;
  }
};

/** t (log t - x), or exp(t) (t - x) with logTarget; 0 where the target's probability is. Parameter: logTarget. */
export const klDivLoss: PointwiseReference = (count, x, t, value, gradX, gradT, [logTarget]) => {
  for (let i = 0; i < count; i++) {
    const y = t[i] as number;
    const q = logTarget === 1 ? Math.exp(y) : y;
    const gap = (logTarget === 1 ? y : Math.log(y)) - (x[i] as number);
    value[i] = q === 0 ? 0 : q * gap;
    gradX[i] = -q;
    gradT[i] = logTarget === 1 ? (q === 0 ? 0 : q * (gap + 1)) : gap + 1;
  }
};

/**
 * exp(x) - t x, or x - t log(x + eps) without logInput. With `full` also Stirling's approximation of log t!, for t > 1:
 * t log t - t + log(2 pi t) / 2. Parameters: logInput, full, eps.
 */
export const poissonNllLoss: PointwiseReference = (
  count,
  x,
  t,
  value,
  gradX,
  _gradT,
  [logInput, full, eps],
) => {
  for (let i = 0; i < count; i++) {
    const z = x[i] as number;
    const y = t[i] as number;
    const rate = Math.exp(z);
    let v = logInput === 1 ? rate - y * z : z - y * Math.log(z + eps);
    if (full === 1 && !(y <= 1)) v += y * Math.log(y) - y + 0.5 * Math.log(2 * Math.PI * y);
    value[i] = v;
    gradX[i] = logInput === 1 ? rate - y : 1 - y / (z + eps);
  }
};

/** log(1 + exp(-t x)). */
export const softMarginLoss: PointwiseReference = (count, x, t, value, gradX) => {
  for (let i = 0; i < count; i++) {
    const y = t[i] as number;
    const z = -y * (x[i] as number);
    const e = Math.exp(-Math.abs(z));
    value[i] = Math.max(z, 0) + Math.log1p(e);
    gradX[i] = -y * ((z >= 0 ? 1 : e) / (1 + e));
  }
};

/**
 * a q^gamma BCE(x, t), with q = s(x) (1 - t) + s(-x) t how far the prediction is off, and a = alpha t + (1 - alpha) (1 - t), or
 * 1 where alpha < 0. Parameters: alpha, gamma.
 */
export const sigmoidFocalLoss: PointwiseReference = (count, x, t, value, gradX, _gradT, [alpha, gamma]) => {
  for (let i = 0; i < count; i++) {
    const z = x[i] as number;
    const y = t[i] as number;
    const e = Math.exp(-Math.abs(z));
    const p = (z >= 0 ? 1 : e) / (1 + e);
    const notP = (z >= 0 ? e : 1) / (1 + e);
    const against = z >= 0 ? 1 - y : y;
    const bce = (against === 0 ? 0 : against * Math.abs(z)) + Math.log1p(e);
    const q = p * (1 - y) + notP * y;
    const focus = q ** gamma;
    const a = alpha < 0 ? 1 : alpha * y + (1 - alpha) * (1 - y);
    // d(q^gamma) = gamma q^gamma dq / q, and where dq is 0 that is all
    const dq = p * notP * (1 - 2 * y);
    const pull = dq === 0 || gamma === 0 ? 0 : (bce * gamma * focus * dq) / q;
    value[i] = a * focus * bce;
    gradX[i] = a * (focus * (p - y) + pull);
  }
};

/** (log v + (x - t)^2 / v) / 2 with v = max(variance, eps); with `full` also log(2 pi) / 2. Parameters: full, eps. */
export const gaussianNllLoss: PointwiseReference = (
  count,
  x,
  t,
  value,
  gradX,
  gradT,
  [full, eps],
  variance,
  gradVariance,
) => {
  const constant = full === 1 ? 0.5 * Math.log(2 * Math.PI) : 0;
  for (let i = 0; i < count; i++) {
    const d = (x[i] as number) - (t[i] as number);
    const v = Math.max((variance as FloatArray)[i] as number, eps);
    value[i] = 0.5 * (Math.log(v) + (d * d) / v) + constant;
    gradX[i] = d / v;
    gradT[i] = -d / v;
    // the floor is passed over, as if v were the variance itself
    gradVariance[i] = (0.5 / v) * (1 - (d * d) / v);
  }
};

/** max(0, margin - t (x1 - x2)); at the kink the slope is that of the loss above 0. Parameter: margin. */
export const marginRankingLoss: PointwiseReference = (count, x1, x2, value, gradX, gradT, [margin], t) => {
  for (let i = 0; i < count; i++) {
    const y = (t as FloatArray)[i] as number;
    const z = margin - y * ((x1[i] as number) - (x2[i] as number));
    value[i] = Math.max(z, 0);
    gradX[i] = z >= 0 ? -y : 0;
    gradT[i] = z >= 0 ? y : 0;
  }
};

/** x where t = 1, max(0, margin - x) where t = -1; at the kink the slope is -1. Parameter: margin. */
export const hingeEmbeddingLoss: PointwiseReference = (count, x, t, value, gradX, _gradT, [margin]) => {
  for (let i = 0; i < count; i++) {
    const z = x[i] as number;
    const similar = t[i] === 1;
    value[i] = similar ? z : Math.max(margin - z, 0);
    gradX[i] = similar ? 1 : margin - z >= 0 ? -1 : 0;
  }
};
