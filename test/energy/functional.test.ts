/**
 * The loss functional: exact, whatever the order, the batches and the machines. `npm run test:deep` tries 10^7 hostile numbers
 * instead of 10^5.
 */
import fc from "fast-check";
import { type LossFunctional, type LossFunctionalJson, lossFunctional, nllLoss } from "perdida/energy";
import { describe, expect, test } from "vitest";
import { randomStream } from "../support/generate.js";
import { expectRefusal } from "../support/refusal.js";

const DEEP = process.env.PERDIDA_DEEP === "1";

const view = new DataView(new ArrayBuffer(8));

/** The finite double of these bits, whatever they are. */
function ofBits(bits: bigint): number {
  view.setBigUint64(0, bits);
  return view.getFloat64(0);
}

/** A finite double in units of 2^-1074. */
function units(x: number): bigint {
  view.setFloat64(0, x);
  const bits = view.getBigUint64(0);
  const exponent = (bits >> 52n) & 0x7ffn;
  const fraction = bits & 0xfffffffffffffn;
  const size = exponent === 0n ? fraction : (fraction | (1n << 52n)) << (exponent - 1n);
  return bits >> 63n === 1n ? -size : size;
}

/** Whether x is the double nearest to n / d, in units of 2^-1074, and the even one of two that are equally near. */
function isNearest(x: number, n: bigint, d = 1n): boolean {
  if (n < 0n) return isNearest(-x, -n, d);
  if (x === Infinity) {
    // from half a last place beyond the largest number on
    return n >= d * (units(Number.MAX_VALUE) + units(2 ** 970));
  }
  if (!(x >= 0)) return false;
  view.setFloat64(0, x === 0 ? 0 : x);
  const bits = view.getBigUint64(0);
  const even = bits % 2n === 0n;
  const here = units(x === 0 ? 0 : x);
  const next = ofBits(bits + 1n);
  const above = next === Infinity ? 2n * here - units(ofBits(bits - 1n)) : units(next);
  const below = bits === 0n ? 0n : units(ofBits(bits - 1n));
  const low = d * (here + below);
  const high = d * (here + above);
  return even ? 2n * n >= low && 2n * n <= high : 2n * n > low && 2n * n < high;
}

/** Numbers that break sums: all exponents, cancellation, subnormal numbers, the ends. */
function hostile(random: () => number): number {
  const kind = random();
  const sign = random() < 0.5 ? -1 : 1;
  if (kind < 0.5) {
    const bits = (BigInt(Math.floor(random() * 2 ** 32)) << 32n) | BigInt(Math.floor(random() * 2 ** 32));
    const x = ofBits(bits);
    return Number.isFinite(x) ? x : 1;
  }
  if (kind < 0.6) return sign * Number.MAX_VALUE * random();
  if (kind < 0.7) return sign * Number.MIN_VALUE * Math.floor(random() * 100);
  if (kind < 0.8) return sign * 2 ** (Math.floor(random() * 2098) - 1074);
  if (kind < 0.9) return sign * random();
  return sign * Math.floor(random() * 2 ** 53);
}

/** Everything that is told of one, for comparing bits. */
function told(f: LossFunctional): unknown[] {
  return [f.count, f.sum, f.mean, f.value(), JSON.stringify(f)];
}

const anyDouble = fc.double();
const finite = fc.double({ noNaN: true, noDefaultInfinity: true });

describe("the sum is the true sum, rounded once", () => {
  test.each([
    [[], 0],
    [[1e100, 1, -1e100], 1],
    [[1, 2 ** -53], 1],
    [[1, 2 ** -53, 2 ** -1074], 1 + 2 ** -52],
    [[1 + 2 ** -52, 2 ** -53], 1 + 2 ** -51],
    [[Number.MAX_VALUE, Number.MAX_VALUE, -Number.MAX_VALUE], Number.MAX_VALUE],
    [[Number.MAX_VALUE, 2 ** 970], Infinity],
    [[Number.MAX_VALUE, 2 ** 970, -Number.MIN_VALUE], Number.MAX_VALUE],
    [[-Number.MAX_VALUE, -(2 ** 970)], -Infinity],
    [[Number.MIN_VALUE, Number.MIN_VALUE], 2 * Number.MIN_VALUE],
    [[0.1, 0.2, 0.3, -0.1, -0.2, -0.3], 0],
  ])("%j is %d", (losses, expected) => {
    expect(lossFunctional().add(losses).sum).toBe(expected);
  });

  test("every power of two comes back, and every one with a full mantissa", () => {
    for (let e = -1074; e < 1024; e++) {
      for (const x of [2 ** e, -(2 ** e), 2 ** e * (2 - 2 ** -52)]) {
        if (!Number.isFinite(x)) continue;
        expect(lossFunctional().add(x).sum).toBe(x);
        expect(lossFunctional().add([x, x, x]).mean).toBe(x);
      }
    }
  });

  test("of any numbers; the mean too, even where the sum overflows", () => {
    fc.assert(
      fc.property(fc.array(finite, { maxLength: 40 }), (losses) => {
        const f = lossFunctional().add(losses);
        const exact = losses.reduce((sum, x) => sum + units(x), 0n);
        expect(isNearest(f.sum, exact)).toBe(true);
        if (losses.length > 0) expect(isNearest(f.mean, exact, BigInt(losses.length))).toBe(true);
      }),
      { numRuns: 2000 },
    );
    expect(lossFunctional().add([Number.MAX_VALUE, Number.MAX_VALUE]).mean).toBe(Number.MAX_VALUE);
  });

  test(`of ${DEEP ? "10^7" : "10^5"} hostile numbers, against big integers`, () => {
    const random = randomStream(5);
    const batch = new Float64Array(10_000);
    const f = lossFunctional();
    let exact = 0n;
    for (let n = 0; n < (DEEP ? 1000 : 10); n++) {
      for (let i = 0; i < batch.length; i++) batch[i] = hostile(random);
      f.add(batch);
      for (const x of batch) exact += units(x);
      // now and then what has come so far is taken away, so that what is small decides
      if (n % 7 === 3) {
        const before = batch.map((x) => -x);
        f.add(before);
        for (const x of before) exact += units(x);
      }
      expect(isNearest(f.sum, exact)).toBe(true);
      expect(isNearest(f.mean, exact, BigInt(f.count))).toBe(true);
    }
    expect(BigInt(`0x${f.toJSON().units.replace("-", "")}`)).toBe(exact < 0n ? -exact : exact);
  }, 600_000);

  test("of more equal numbers than a limb has room for", () => {
    const many = new Float64Array(1 << 20).fill(2 - 2 ** -52);
    const f = lossFunctional().add(many).add(many).add(many);
    expect(f.sum).toBe((2 - 2 ** -52) * 3 * 2 ** 20);
    expect(f.mean).toBe(2 - 2 ** -52);
    const negative = lossFunctional()
      .add(many.map((x) => -x))
      .add(many)
      .add(Number.MIN_VALUE);
    expect(negative.sum).toBe(Number.MIN_VALUE);
  });
});

describe("permuting, regrouping and sharding leave every bit", () => {
  test("on any numbers, NaN and infinities among them", () => {
    fc.assert(
      fc.property(
        fc.array(anyDouble, { maxLength: 60 }),
        fc.integer({ min: 1, max: 9 }),
        fc.integer(),
        (losses, size, seed) => {
          const expected = told(lossFunctional().add(losses));
          const random = randomStream(seed);
          const shuffled = losses
            .map((x) => [random(), x] as const)
            .sort(([a], [b]) => a - b)
            .map(([, x]) => x);
          expect(told(lossFunctional().add(shuffled))).toEqual(expected);
          const grouped = lossFunctional();
          const shards: LossFunctional[] = [lossFunctional(), lossFunctional(), lossFunctional()];
          for (let i = 0; i < losses.length; i += size) {
            grouped.add(shuffled.slice(i, i + size));
            (shards[i % 3] as LossFunctional).add(losses.slice(i, i + size));
          }
          expect(told(grouped)).toEqual(expected);
          const [a, b, c] = shards as [LossFunctional, LossFunctional, LossFunctional];
          const left = lossFunctional().merge(a).merge(b).merge(c);
          const right = lossFunctional().merge(c).merge(lossFunctional().merge(b).merge(a));
          const sent = lossFunctional
            .from(JSON.stringify(a))
            .merge(JSON.parse(JSON.stringify(b)) as LossFunctionalJson);
          sent.merge(lossFunctional.from(c.toJSON()));
          for (const f of [left, right, sent]) expect(told(f)).toEqual(expected);
        },
      ),
      { numRuns: 500 },
    );
  });

  test("repeating the samples leaves the mean", () => {
    fc.assert(
      fc.property(
        fc.array(finite, { minLength: 1, maxLength: 20 }),
        fc.integer({ min: 2, max: 9 }),
        (losses, times) => {
          const once = lossFunctional().add(losses);
          const often = lossFunctional();
          for (let i = 0; i < times; i++) often.add(losses);
          expect(often.mean).toBe(once.mean);
          expect(often.count).toBe(times * once.count);
          expect(lossFunctional().merge(once).merge(once).mean).toBe(once.mean);
        },
      ),
    );
    const f = lossFunctional().add([0.1, 0.7]);
    expect(f.merge(f).count).toBe(4);
    expect(f.sum).toBe(lossFunctional().add([0.1, 0.7, 0.1, 0.7]).sum);
  });

  test("a merged one stays as it was", () => {
    const other = lossFunctional().add([1, 2]);
    const before = told(other);
    lossFunctional().add(5).merge(other).add(7);
    expect(told(other)).toEqual(before);
  });
});

test("NaN and infinities are counted, and leave the finite numbers as they are", () => {
  const odd = [Number.NaN, Infinity, -Infinity, -Infinity];
  const { units } = lossFunctional().add([1, -3]).toJSON();
  const all = lossFunctional()
    .add([1, ...odd, -3])
    .toJSON();
  expect(all).toEqual({
    type: "perdida.lossFunctional",
    count: 6,
    units,
    nan: 1,
    positive: 1,
    negative: 2,
  });
});

test("NaN and infinities come out as the true sum has them", () => {
  const sum = (...losses: number[]) => lossFunctional().add(losses).sum;
  expect(sum(1, Infinity)).toBe(Infinity);
  expect(sum(-Infinity, 1e308)).toBe(-Infinity);
  expect(sum(Infinity, -Infinity)).toBeNaN();
  expect(sum(1, Number.NaN, Infinity)).toBeNaN();
  expect(lossFunctional().add([Infinity, 1]).mean).toBe(Infinity);
  expect(lossFunctional().mean).toBeNaN();
  expect(lossFunctional().count).toBe(0);
});

test("it takes numbers, arrays of any depth and type, and the losses of any loss", () => {
  const f = lossFunctional()
    .add(1)
    .add([
      [2, 3],
      [4, 5],
    ])
    .add(Float32Array.of(0.1))
    .add(Int32Array.of(-7))
    .add(BigInt64Array.of(9n))
    .add({ data: Float64Array.of(1, 2), shape: [2, 1] })
    .add({ data: Float64Array.of(3), dims: [1] });
  expect(f.count).toBe(11);
  expect(f.sum).toBe(1 + 14 + 2 + 6 + Math.fround(0.1));
  const energies = [
    [0, 1],
    [1, 0],
    [3, 1],
  ];
  const losses = nllLoss(energies, [0, 0, 1], { reduction: "none" });
  expect(lossFunctional().add(losses).mean).toBeCloseTo(nllLoss(energies, [0, 0, 1]), 15);
});

describe("the regulariser", () => {
  const weights = [3, 4];
  const value = (w: number[]): number => w.reduce((sum, x) => sum + x * x, 0);
  const grad = (w: number[]): number[] => w.map((x) => 2 * x);

  test("is added once, as a function or as two", () => {
    for (const regularizer of [(w: number[]) => ({ value: value(w), grad: grad(w) }), { value, grad }]) {
      const f = lossFunctional({ regularizer }).add([1, 2]).add([3]);
      expect(f.mean).toBe(2);
      expect(f.value(weights)).toBe(27);
      expect(f.valueAndGrad(weights)).toEqual({ value: 27, grad: [6, 8] });
      expect(lossFunctional.from(JSON.stringify(f), { regularizer }).value(weights)).toBe(27);
    }
    const own = lossFunctional({ regularizer: () => ({ value: value(weights), grad: 1 }) }).add(2);
    expect(own.value()).toBe(27);
    expect(own.valueAndGrad().grad).toBe(1);
    const done = lossFunctional({ regularizer: { value: 0.5, grad: [1] } }).add(2);
    expect(done.valueAndGrad()).toEqual({ value: 2.5, grad: [1] });
    expect(lossFunctional().add(1).valueAndGrad(weights)).toEqual({ value: 1, grad: undefined });
    expect(lossFunctional({ regularizer: { value } }).add(1).value(weights)).toBe(26);
  });

  test("and what is none is refused", () => {
    expect(() => lossFunctional({ regularizer: 3 as never })).toThrow(
      /regularizer is 3, expected a function/,
    );
    expect(() => lossFunctional({ regularizer: { value: "3" } as never })).toThrow(TypeError);
    expect(() => lossFunctional({ regulariser: value } as never)).toThrow(/did you mean regularizer/);
    expect(() =>
      lossFunctional({ regularizer: (() => 3) as never })
        .add(1)
        .value(1),
    ).toThrow(/regularizer\(weights\) is 3/);
  });
});

describe("what is no loss, or no functional, is refused and changes nothing", () => {
  test.each([["text"], [[1, "2"]], [[[1], [2, 3]]], [undefined], [{}]])("%j", (losses) => {
    const f = lossFunctional().add([1, 2]);
    const before = told(f);
    expect(() => f.add(losses as never)).toThrow(/lossFunctional.add: losses/);
    expect(told(f)).toEqual(before);
  });

  const good = lossFunctional().add([1, -2, Number.NaN]).toJSON();
  test.each([
    [null, "TYPE", " is null, expected what a lossFunctional's toJSON() gives"],
    [{}, "TYPE", '.type is undefined, expected "perdida.lossFunctional"'],
    [{ ...good, type: "other" }, "TYPE", '.type is "other"'],
    [{ ...good, count: -1 }, "NUMBER", ".count is -1, expected a whole number from 0 on"],
    [{ ...good, count: 1.5 }, "NUMBER", ".count is 1.5"],
    [{ ...good, nan: "1" }, "NUMBER", '.nan is "1"'],
    [{ ...good, units: "12z" }, "TYPE", '.units is "12z", expected a whole number in hexadecimal digits'],
    [{ ...good, units: 12 }, "TYPE", ".units is 12"],
    [{ ...good, units: "f".repeat(600) }, "TYPE", ".units is "],
  ])("%j", (json, code, words) => {
    const f = lossFunctional().add([1, 2]);
    const before = told(f);
    expectRefusal(() => f.merge(json as never), code, `lossFunctional.merge: json${words}`);
    expectRefusal(() => lossFunctional.from(json as never), code, `lossFunctional.from: json${words}`);
    expect(told(f)).toEqual(before);
  });

  test("text that is no JSON", () => {
    expectRefusal(
      () => lossFunctional.from("{"),
      "TYPE",
      'lossFunctional.from: json is "{", expected the text of what a lossFunctional\'s toJSON() gives',
    );
  });
});
