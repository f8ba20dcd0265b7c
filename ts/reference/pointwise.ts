/**
 * The pointwise losses as plain loops in double precision: one loss per element. What the kernels compute is defined
 * here; the js engine runs it.
 */
import type { FloatArray } from "../types.js";

/** A block of elements: each loss reads its inputs and writes its losses and their plain derivatives. */
export interface Elements {
  readonly count: number;
  /** The inputs in their order. */
  readonly a: FloatArray;
  readonly b: FloatArray;
  readonly c: FloatArray;
  readonly posWeight: FloatArray | undefined;
  readonly value: Float64Array;
  /** The derivatives with respect to a, b, c: those that a loss has. Writing all of them is cheaper than asking which. */
  readonly gradA: Float64Array;
  readonly gradB: Float64Array;
  readonly gradC: Float64Array;
  /** The options as numbers, in the order of the kernel's. */
  readonly parameters: readonly number[];
}

/** A pointwise loss. */
export type PointwiseReference = (e: Elements) => void;

/** All of a call: what goes into {@link Elements}, and what every loss has in common. */
export interface Pointwise {
  readonly count: number;
  /** The inputs in their order: as many as there are. */
  readonly a: FloatArray;
  readonly b: FloatArray;
  readonly c: FloatArray | undefined;
  /** A factor per element, of value and gradients. */
  readonly weight: FloatArray | undefined;
  readonly posWeight: FloatArray | undefined;
  /** The single losses and the gradients come here where they are asked for. */
  readonly values: FloatArray | undefined;
  readonly gradA: FloatArray | undefined;
  readonly gradB: FloatArray | undefined;
  readonly gradC: FloatArray | undefined;
  /** What flows in from above: a number per loss, and a factor for all. */
  readonly upstream: FloatArray | undefined;
  readonly scale: number;
  readonly parameters: readonly number[];
}

/** So many elements at a time: the scratch of a block stays in the first cache. */
const BLOCK = 1024;
let scratch:
  | { readonly value: Float64Array; readonly grads: readonly [Float64Array, Float64Array, Float64Array] }
  | undefined;

/** Runs a loss over all elements, block by block, and applies weights and upstream gradients; gives the sum of the losses. */
export function runPointwise(loss: PointwiseReference, call: Pointwise): number {
  const { weight, posWeight, values, upstream, scale, parameters } = call;
  const grads = [call.gradA, call.gradB, call.gradC];
  const fresh = () => new Float64Array(BLOCK);
  scratch ??= { value: fresh(), grads: [fresh(), fresh(), fresh()] };
  const { value } = scratch;
  const [gradA, gradB, gradC] = scratch.grads;
  let sum = 0;
  for (let first = 0; first < call.count; first += BLOCK) {
    const count = Math.min(BLOCK, call.count - first);
    const part = (array: FloatArray | undefined): FloatArray =>
      array === undefined ? gradC : call.count <= BLOCK ? array : array.subarray(first, first + count);
    const [a, b, c] = [part(call.a), part(call.b), part(call.c)];
    loss({ count, a, b, c, posWeight: posWeight && part(posWeight), value, gradA, gradB, gradC, parameters });
    for (let i = 0; i < count; i++) {
      const v = (weight === undefined ? 1 : (weight[first + i] as number)) * (value[i] as number);
      if (values !== undefined) values[first + i] = v;
      sum += v;
    }
    for (let k = 0; k < 3; k++) {
      const to = grads[k];
      if (to === undefined) continue;
      const from = scratch.grads[k] as Float64Array;
      for (let i = 0; i < count; i++) {
        const w = weight === undefined ? 1 : (weight[first + i] as number);
        const up = upstream === undefined ? scale : scale * (upstream[first + i] as number);
        to[first + i] = up * w * (from[i] as number);
      }
    }
  }
  return sum;
}

/** |x - t|; at 0 the slope is 0. */
export const l1Loss: PointwiseReference = ({ count, a: x, b: t, value, gradA, gradB }) => {
  for (let i = 0; i < count; i++) {
    const d = (x[i] as number) - (t[i] as number);
    const slope = d > 0 ? 1 : d < 0 ? -1 : 0;
    value[i] = Math.abs(d);
    gradA[i] = slope;
    gradB[i] = -slope;
  }
};

/** (x - t)^2. */
export const mseLoss: PointwiseReference = ({ count, a: x, b: t, value, gradA, gradB }) => {
  for (let i = 0; i < count; i++) {
    const d = (x[i] as number) - (t[i] as number);
    value[i] = d * d;
    gradA[i] = 2 * d;
    gradB[i] = -2 * d;
  }
};

/** d^2 / (2 beta) where |d| < beta, else |d| - beta / 2; d = x - t. Parameter: beta. */
export const smoothL1Loss: PointwiseReference = ({ count, a: x, b: t, value, gradA, gradB, parameters }) => {
  const beta = parameters[0] as number;
  for (let i = 0; i < count; i++) {
    const d = (x[i] as number) - (t[i] as number);
    const z = Math.abs(d);
    const slope = z < beta ? d / beta : d > 0 ? 1 : d < 0 ? -1 : 0 * d;
    value[i] = z < beta ? (0.5 * d * d) / beta : z - 0.5 * beta;
    gradA[i] = slope;
    gradB[i] = -slope;
  }
};

/** d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2); d = x - t. Parameter: delta. */
export const huberLoss: PointwiseReference = ({ count, a: x, b: t, value, gradA, gradB, parameters }) => {
  const delta = parameters[0] as number;
  for (let i = 0; i < count; i++) {
    const d = (x[i] as number) - (t[i] as number);
    const z = Math.abs(d);
    const slope = z <= delta ? d : d > 0 ? delta : d < 0 ? -delta : d;
    value[i] = z <= delta ? 0.5 * d * d : delta * (z - 0.5 * delta);
    gradA[i] = slope;
    gradB[i] = -slope;
  }
};

/** The least x (1 - x) that the gradient of {@link bceLoss} divides by: PyTorch's constant, which is a float32. */
const BCE_EPSILON = /* @__PURE__ */ Math.fround(1e-12);

/** -(t log x + (1 - t) log(1 - x)), each logarithm at least -100. */
export const bceLoss: PointwiseReference = ({ count, a: x, b: t, value, gradA, gradB }) => {
  for (let i = 0; i < count; i++) {
    const p = x[i] as number;
    const y = t[i] as number;
    const logP = Math.max(Math.log(p), -100);
    const logNotP = Math.max(Math.log1p(-p), -100);
    value[i] = (y - 1) * logNotP - y * logP;
    gradA[i] = (p - y) / Math.max(p * (1 - p), BCE_EPSILON);
    gradB[i] = logNotP - logP;
  }
};

/** A product in which a factor of 0 wins over an infinite one: what has no share adds nothing. */
function share(factor: number, x: number): number {
  return factor === 0 && x === Infinity ? 0 : factor * x;
}

/** -(w t log s(x) + (1 - t) log s(-x)), s being the sigmoid and w posWeight. */
export const bceWithLogitsLoss: PointwiseReference = ({
  count,
  a: x,
  b: t,
  posWeight,
  value,
  gradA,
  gradB,
}) => {
  for (let i = 0; i < count; i++) {
    const z = x[i] as number;
    const y = t[i] as number;
    const w = posWeight === undefined ? 1 : (posWeight[i] as number);
    const size = Math.abs(z);
    const e = Math.exp(-size);
    const tail = Math.log1p(e);
    const slope = e / (1 + e);
    // -log s(z) and -log s(-z) are `tail` on the side of z and |z| + tail on the other
    const both = w * y + (1 - y);
    const against = z >= 0 ? 1 - y : w * y;
    value[i] = share(against, size) + both * tail;
    gradA[i] = z >= 0 ? against - both * slope : both * slope - against;
    gradB[i] = z >= 0 ? (w - 1) * tail - z : (w - 1) * tail - w * z;
  }
};

/** t (log t - x), or exp(t) (t - x) with logTarget; 0 where the target's probability is. Parameter: logTarget. */
export const klDivLoss: PointwiseReference = ({ count, a: x, b: t, value, gradA, gradB, parameters }) => {
  const logTarget = parameters[0] === 1;
  for (let i = 0; i < count; i++) {
    const y = t[i] as number;
    const q = logTarget ? Math.exp(y) : y;
    const gap = (logTarget ? y : Math.log(y)) - (x[i] as number);
    value[i] = q === 0 ? 0 : q * gap;
    gradA[i] = -q;
    gradB[i] = logTarget ? (q === 0 ? 0 : q * (gap + 1)) : gap + 1;
  }
};

/**
 * exp(x) - t x, or x - t log(x + eps) without logInput. With `full` also Stirling's approximation of log t!, for t > 1:
 * t log t - t + log(2 pi t) / 2. Parameters: logInput, full, eps.
 */
export const poissonNllLoss: PointwiseReference = ({ count, a: x, b: t, value, gradA, parameters }) => {
  const [logInput, full, eps] = [parameters[0] === 1, parameters[1] === 1, parameters[2] as number];
  for (let i = 0; i < count; i++) {
    const z = x[i] as number;
    const y = t[i] as number;
    const rate = Math.exp(z);
    let v = logInput ? rate - y * z : z - y * Math.log(z + eps);
    if (full && !(y <= 1)) v += y * Math.log(y) - y + 0.5 * Math.log(2 * Math.PI * y);
    value[i] = v;
    gradA[i] = logInput ? rate - y : 1 - y / (z + eps);
  }
};

/** log(1 + exp(-t x)). */
export const softMarginLoss: PointwiseReference = ({ count, a: x, b: t, value, gradA }) => {
  for (let i = 0; i < count; i++) {
    const y = t[i] as number;
    const z = -y * (x[i] as number);
    const e = Math.exp(-Math.abs(z));
    value[i] = Math.max(z, 0) + Math.log1p(e);
    gradA[i] = -y * ((z >= 0 ? 1 : e) / (1 + e));
  }
};

/**
 * a q^gamma BCE(x, t), with q = s(x) (1 - t) + s(-x) t how far the prediction is off, and a = alpha t + (1 - alpha) (1 - t), or
 * 1 where alpha < 0. Parameters: alpha, gamma.
 */
export const sigmoidFocalLoss: PointwiseReference = ({ count, a: x, b: t, value, gradA, parameters }) => {
  const [alpha, gamma] = parameters as [number, number];
  for (let i = 0; i < count; i++) {
    const z = x[i] as number;
    const y = t[i] as number;
    const size = Math.abs(z);
    const e = Math.exp(-size);
    const p = (z >= 0 ? 1 : e) / (1 + e);
    const notP = (z >= 0 ? e : 1) / (1 + e);
    const bce = share(z >= 0 ? 1 - y : y, size) + Math.log1p(e);
    const q = p * (1 - y) + notP * y;
    const focus = q ** gamma;
    const a = alpha < 0 ? 1 : alpha * y + (1 - alpha) * (1 - y);
    // d(q^gamma) = gamma q^gamma dq / q, and where dq is 0 that is all
    const dq = p * notP * (1 - 2 * y);
    const pull = dq === 0 || gamma === 0 ? 0 : (bce * gamma * focus * dq) / q;
    value[i] = a * focus * bce;
    gradA[i] = a * (focus * (p - y) + pull);
  }
};

/** (log v + (x - t)^2 / v) / 2 with v = max(variance, eps); with `full` also log(2 pi) / 2. Parameters: full, eps. */
export const gaussianNllLoss: PointwiseReference = ({
  count,
  a: x,
  b: t,
  c: variance,
  value,
  gradA,
  gradB,
  gradC,
  parameters,
}) => {
  const [full, eps] = parameters as [number, number];
  const constant = full === 1 ? 0.5 * Math.log(2 * Math.PI) : 0;
  for (let i = 0; i < count; i++) {
    const d = (x[i] as number) - (t[i] as number);
    const v = Math.max(variance[i] as number, eps);
    value[i] = 0.5 * (Math.log(v) + (d * d) / v) + constant;
    gradA[i] = d / v;
    gradB[i] = -d / v;
    // the floor is passed over, as if v were the variance itself
    gradC[i] = (0.5 / v) * (1 - (d * d) / v);
  }
};

/** max(0, margin - t (x1 - x2)); at the kink the slope is that of the loss above 0. Parameter: margin. */
export const marginRankingLoss: PointwiseReference = ({
  count,
  a: x1,
  b: x2,
  c: t,
  value,
  gradA,
  gradB,
  parameters,
}) => {
  const margin = parameters[0] as number;
  for (let i = 0; i < count; i++) {
    const y = t[i] as number;
    const z = margin - y * ((x1[i] as number) - (x2[i] as number));
    value[i] = Math.max(z, 0);
    gradA[i] = z >= 0 ? -y : 0;
    gradB[i] = z >= 0 ? y : 0;
  }
};

/** x where t = 1, max(0, margin - x) where t = -1; at the kink the slope is -1. Parameter: margin. */
export const hingeEmbeddingLoss: PointwiseReference = ({ count, a: x, b: t, value, gradA, parameters }) => {
  const margin = parameters[0] as number;
  for (let i = 0; i < count; i++) {
    const z = x[i] as number;
    const similar = t[i] === 1;
    value[i] = similar ? z : Math.max(margin - z, 0);
    gradA[i] = similar ? 1 : margin - z >= 0 ? -1 : 0;
  }
};
