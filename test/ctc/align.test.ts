/** Forced alignment: the best of all paths, and what is said about it. */
import { describe, expect, test } from "vitest";
import { allocate, ctcAlign, ctcLoss, engine, tensor } from "../../ts/index.js";
import type { CtcAlignment } from "../../ts/losses/ctc/align.js";
import { expectClose, expectSameBits } from "../support/close.js";
import { collapse, draw, logSoftmaxRows, paths, stepsFor } from "../support/ctc.js";
import { ENGINES, on } from "../support/engines.js";
import { randomStream } from "../support/generate.js";
import { numbers, readGolden } from "../support/golden.js";

interface Golden {
  cases: {
    name: string;
    options: { blank: number };
    inputs: { logits: { shape: number[]; data: number[] }; targets: { data: number[] } };
    value: { score: number; path: number[] };
  }[];
}
const PRECISIONS = [
  ["float64", Float64Array, 1e-10],
  ["float32", Float32Array, 5e-6],
] as const;

/** One sample's alignment. */
function align(
  logits: Float32Array | Float64Array,
  classes: number,
  target: readonly (number | "*")[] | Int32Array,
  options: Record<string, unknown> = {},
): CtcAlignment {
  return ctcAlign(tensor(logits, [logits.length / classes, classes]), target, options) as CtcAlignment;
}

/** What must hold of an alignment whatever it is: that labels, spans and score are the same path, and that of the target. */
function consistent(
  a: CtcAlignment,
  logits: ArrayLike<number>,
  classes: number,
  target: ArrayLike<number>,
  blank: number,
  tolerance: number,
): void {
  const logp = logSoftmaxRows(logits, classes);
  expect(collapse(Array.from(a.labels), blank)).toEqual(Array.from(target));
  expect(a.labels.length).toBe(logp.length);
  let score = 0;
  a.labels.forEach((c, t) => {
    score += (logp[t] as number[])[c] as number;
  });
  expectClose([a.score], [score], tolerance, "score");
  expect(a.spans.map(({ label }) => label)).toEqual(Array.from(target));
  let end = 0;
  const covered = new Array<number>(logp.length).fill(blank);
  for (const span of a.spans) {
    expect(span.start).toBeGreaterThanOrEqual(end);
    expect(span.end).toBeGreaterThan(span.start);
    end = span.end;
    let own = 0;
    for (let t = span.start; t < span.end; t++) own += (logp[t] as number[])[span.label] as number;
    expectClose([span.logProb], [own], tolerance, "span");
    covered.fill(span.label, span.start, span.end);
  }
  expect(covered).toEqual(Array.from(a.labels));
}

describe.each(ENGINES)("ctcAlign on %s", { timeout: 60_000 }, (name) => {
  describe.each(PRECISIONS)("in %s", (_dtype, Numbers, tolerance) => {
    test("agrees with PyTorch's float64", () => {
      on(name, () => {
        for (const { name: what, options, inputs, value } of readGolden<Golden>("ctcAlign").cases) {
          const classes = inputs.logits.shape[1] as number;
          const logits = Numbers.from(numbers(inputs.logits.data));
          const a = align(logits, classes, inputs.targets.data, options);
          expectClose([a.score], [value.score], tolerance, what);
          expect(Array.from(a.labels), what).toEqual(value.path);
          consistent(a, logits, classes, inputs.targets.data, options.blank, tolerance);
        }
      });
    });

    test("is the best of all paths", () => {
      on(name, () => {
        const random = randomStream(5);
        for (let round = 0; round < 40; round++) {
          const steps = 1 + Math.floor(random() * 5);
          const classes = 2 + Math.floor(random() * 2);
          const blank = Math.floor(random() * classes);
          const logits = Numbers.from(Float32Array.from({ length: steps * classes }, () => 6 * random() - 3));
          // whatever some path collapses to is a target that can be emitted
          const best = new Map<string, [p: number, path: number[]]>();
          for (const [path, p] of paths(logits, classes)) {
            const key = collapse(path, blank).join();
            if (p > (best.get(key)?.[0] ?? 0)) best.set(key, [p, [...path]]);
          }
          for (const [key, [p, path]] of best) {
            const target = key === "" ? [] : key.split(",").map(Number);
            const a = align(logits, classes, target, { blank });
            expect(Array.from(a.labels), `${key} in ${steps} steps`).toEqual(path);
            expectClose([a.score], [Math.log(p)], tolerance, key);
          }
        }
      });
    });

    test("labels, spans and score are one path, in long and short inputs, dense and sparse targets", () => {
      on(name, () => {
        for (const [seed, steps, classes, labels, scale, repeats] of [
          [1, 1, 3, 0, 2, 0],
          [2, 1, 3, 1, 2, 0],
          [3, 7, 2, 3, 2, 1],
          [4, 33, 5, 16, 2, 0.2],
          [5, 130, 40, 64, 25, 0.2],
          [6, 257, 9, 120, 3, 0.9],
          [7, 1000, 30, 30, 8, 0.1],
          [8, 64, 9, 64, 3, 0],
        ] as const) {
          const { logits, target } = draw({ seed, steps, classes, labels, scale, repeats });
          consistent(align(Numbers.from(logits), classes, target), logits, classes, target, 0, 1e-6);
        }
      });
    });

    test("ties: stay, go on, leave out a blank; end in the last label", () => {
      on(name, () => {
        expect(Array.from(align(new Numbers(12), 3, [1]).labels)).toEqual([1, 1, 1, 1]);
        expect(Array.from(align(new Numbers(18), 3, [1, 2]).labels)).toEqual([1, 2, 2, 2, 2, 2]);
        expect(Array.from(align(new Numbers(12), 3, [1, 1]).labels)).toEqual([1, 0, 1, 1]);
        expect(Array.from(align(new Numbers(9), 3, []).labels)).toEqual([0, 0, 0]);
      });
    });

    test("a wildcard stands for anything", () => {
      on(name, () => {
        // "1 * 2": the middle is a word of classes 3 and 4
        const classes = 5;
        const said = [1, 1, 0, 3, 4, 0, 3, 0, 2, 2];
        const logits = new Numbers(said.length * classes);
        said.forEach((c, t) => {
          logits[t * classes + c] = 6;
        });
        const a = align(logits, classes, [1, "*", 2]);
        expect(a.spans.map(({ label }) => label)).toEqual([1, -1, 2]);
        const [first, star, last] = a.spans as [
          CtcAlignment["spans"][0],
          CtcAlignment["spans"][0],
          CtcAlignment["spans"][0],
        ];
        expect(first.start).toBe(0);
        expect(star.start).toBeLessThanOrEqual(3);
        expect(star.end).toBeGreaterThanOrEqual(7);
        expect(last.end).toBe(10);
        expectClose([star.logProb], [0], tolerance, "a wildcard's probability is 1");
        expectClose(
          [a.score],
          [first.logProb + last.logProb + blanks(a, logits, classes)],
          tolerance,
          "score",
        );
        expect(Array.from(a.labels.subarray(star.start, star.end)).every((c) => c === -1)).toBe(true);
        // without it the word in the middle has to be squeezed into the others
        expect(align(logits, classes, [1, 2]).score).toBeLessThan(a.score - 10);
        expect(align(logits, classes, ["*"]).score).toBe(0);
        // two of them have a blank between
        expect(align(logits, classes, ["*", "*"]).labels).toContain(0);
      });
    });
  });

  /** The log-probability of the blanks of a path. */
  function blanks(a: CtcAlignment, logits: ArrayLike<number>, classes: number): number {
    const logp = logSoftmaxRows(logits, classes);
    return a.labels.reduce((sum, c, t) => (c === 0 ? sum + ((logp[t] as number[])[0] as number) : sum), 0);
  }

  test("a batch is its samples, in both layouts, whatever stands in the padding", () => {
    on(name, () => {
      const classes = 6;
      const samples = [
        [20, 5],
        [1, 0],
        [35, 16],
        [9, 4],
      ].map(([steps, labels], i) =>
        draw({ seed: 20 + i, steps: steps as number, classes, labels: labels as number }),
      );
      const alone = samples.map(({ logits, target }) => align(logits, classes, target));
      const [count, steps] = [samples.length, 40];
      for (const layout of ["NTC", "TNC"] as const) {
        const batch = new Float32Array(count * steps * classes).fill(Number.NaN);
        samples.forEach(({ logits }, n) => {
          for (let t = 0; t < logits.length / classes; t++) {
            const row = logits.subarray(t * classes, (t + 1) * classes);
            batch.set(row, (layout === "NTC" ? n * steps + t : t * count + n) * classes);
          }
        });
        const all = ctcAlign(
          { data: batch, shape: layout === "NTC" ? [count, steps, classes] : [steps, count, classes] },
          samples.map(({ target }) => target),
          { layout, inputLengths: samples.map(({ logits }) => logits.length / classes) },
        );
        expect(all).toEqual(alone);
      }
    });
  });

  test("frame durations give times, a separator gives words", () => {
    on(name, () => {
      // classes: blank, a, b, separator
      const said = [0, 1, 1, 0, 2, 3, 3, 0, 2, 2, 0];
      const logits = said.map((c) => [0, 1, 2, 3].map((k) => (k === c ? 8 : 0)));
      const a = ctcAlign(logits, [1, 2, 3, 2], { frameDuration: 0.01, separator: 3 });
      expect(a.spans.map(({ start, end }) => [start, end])).toEqual([
        [1, 3],
        [4, 5],
        [5, 7],
        [8, 10],
      ]);
      expect(a.spans.map(({ startTime, endTime }) => [startTime, endTime])).toEqual([
        [0.01, 0.03],
        [0.04, 0.05],
        [0.05, 0.07],
        [0.08, 0.1],
      ]);
      expect(a.words?.map(({ labels, start, end }) => ({ labels, start, end }))).toEqual([
        { labels: [1, 2], start: 1, end: 5 },
        { labels: [2], start: 8, end: 10 },
      ]);
      expect(a.words?.[0]?.startTime).toBe(0.01);
      expect(a.words?.[1]?.endTime).toBe(0.1);
      expect(a.words?.[0]?.logProb).toBeCloseTo(
        (a.spans[0]?.logProb as number) + (a.spans[1]?.logProb as number),
        12,
      );
      // the place among a text's words, of which some may have no letter that the alphabet knows
      expect(a.words?.map(({ index }) => index)).toEqual([0, 1]);
      expect(ctcAlign(logits, [3, 3, 1], { separator: 3 }).words?.map(({ index }) => index)).toEqual([2]);
      expect(ctcAlign(logits, [1, 2]).words).toBeUndefined();
      expect(ctcAlign(logits, [1, 2]).spans[0]).not.toHaveProperty("startTime");
    });
  });

  test("slow and fast are the same labels", () => {
    on(name, () => {
      const slow = [1, 1, 1, 1, 0, 2, 2, 2, 2, 2, 0, 0, 3, 3, 3];
      const fast = [1, 2, 3];
      const logits = (said: readonly number[]): number[][] =>
        said.map((c) => [0, 1, 2, 3].map((k) => (k === c ? 8 : 0)));
      for (const said of [slow, fast]) {
        const a = ctcAlign(logits(said), [1, 2, 3]);
        expect(Array.from(a.labels)).toEqual(said);
      }
    });
  });

  test("no path, no distribution, no steps", () => {
    on(name, () => {
      const { logits } = draw({ seed: 30, steps: 4, classes: 3, labels: 0 });
      const nothing = { labels: new Int32Array(0), spans: [], score: -Infinity };
      expect(align(logits, 3, [1, 1, 1])).toEqual(nothing);
      const never = logits.map((x, i) => (i % 3 === 1 ? -Infinity : x));
      expect(align(never, 3, [1])).toEqual(nothing);
      for (const bad of [Number.NaN, Infinity]) {
        expect(align(logits.slice().fill(bad, 5, 6), 3, [1]).score).toBeNaN();
        expect(align(logits.slice().fill(bad, 5, 6), 3, [1, 1, 1]).score).toBeNaN();
      }
      expect(align(logits.slice().fill(-Infinity, 3, 6), 3, [1]).spans).toEqual([]);
      const once = logits.slice().fill(-Infinity, 4, 5);
      expect(align(once, 3, [1]).labels[1]).not.toBe(1);
      expect(align(new Float32Array(0), 3, [])).toEqual({ labels: new Int32Array(0), spans: [], score: 0 });
      expect(align(new Float32Array(0), 3, [1]).score).toBe(-Infinity);
      expect(ctcAlign(tensor(new Float32Array(0), [0, 4, 3]), [])).toEqual([]);
    });
  });

  test("the best path is no more probable than all together", () => {
    on(name, () => {
      for (let seed = 40; seed < 50; seed++) {
        const { logits, target } = draw({ seed, steps: 30, classes: 5, labels: 6 });
        const x = tensor(Float64Array.from(logits), [30, 5]);
        const { score } = ctcAlign(x, target) as CtcAlignment;
        expect(score).toBeLessThanOrEqual(-ctcLoss(x, target, { reduction: "sum" }));
      }
    });
  });
});

describe("the engines", { timeout: 60_000 }, () => {
  test("find the same path in long inputs, in single precision too", () => {
    for (const [seed, steps, classes, labels, scale, up] of [
      [51, 5000, 32, 500, 2, 0],
      [52, 3000, 20, 300, 25, 0],
      [53, 3000, 20, 300, 2, 60],
      [54, 1200, 20, 1000, 2, 0],
    ] as const) {
      const { logits, target } = draw({ seed, steps, classes, labels, scale, repeats: 0.1 });
      for (let t = 0; t < steps; t++) logits[t * classes] = (logits[t * classes] as number) + up;
      const expected = on("js", () => align(logits, classes, target));
      expect(stepsFor(target)).toBeLessThanOrEqual(steps);
      for (const Numbers of [Float32Array, Float64Array]) {
        const actual = on("wasm", () => align(Numbers.from(logits), classes, target));
        expectSameBits(actual.labels, expected.labels, `labels, seed ${seed}`);
        expectClose([actual.score], [expected.score], 1e-6, "score");
      }
    }
  });

  test("give scratch back", () => {
    on("wasm", () => {
      const { logits, target } = draw({ seed: 60, steps: 4000, classes: 20, labels: 600 });
      const held = allocate([4000, 20]);
      held.data.set(logits);
      const before = engine().memory;
      const a = ctcAlign(held, target) as CtcAlignment;
      expect(engine().memory.allocated).toBe(before.allocated);
      expect(a).toEqual(align(logits, 20, target));
      held.dispose();
    });
  });
});

describe("bad input", () => {
  const x = tensor(new Float32Array(60), [2, 6, 5]);
  const cases: [what: string, args: unknown[], code: string, message: string][] = [
    ["rank", [[1, 2], [1]], "RANK", "logits is of shape [2], expected [N, T, C], or [T, C] for one sample"],
    [
      "a label too large",
      [x, [[1], [2, 5]]],
      "LABEL",
      'targets[1][1] is 5, expected a class index in [0, 5) or "*"',
    ],
    [
      "another word",
      [x, [[1], [2, "**"]]],
      "TYPE",
      'targets[1][1] is "**", expected a class index in [0, 5) or "*"',
    ],
    ["-1 is not the way to say it", [x, [[1], [-1]]], "LABEL", "targets[1][0] is -1"],
    ["the blank", [x, [[1], [0]]], "LABEL", "targets[1][0] is the blank (0)"],
    [
      "a separator that is no class",
      [x, [[1], [2]], { separator: 5 }],
      "NUMBER",
      "separator is 5, expected a class index in [0, 5) that is not the blank",
    ],
    ["a separator that is the blank", [x, [[1], [2]], { separator: 0 }], "NUMBER", "separator is 0"],
    [
      "a frame of no length",
      [x, [[1], [2]], { frameDuration: 0 }],
      "NUMBER",
      "frameDuration is 0, expected a number above 0",
    ],
    [
      "an option of the loss",
      [x, [[1], [2]], { reduction: "sum" }],
      "UNKNOWN_OPTION",
      "reduction is no option",
    ],
    [
      "an output, of which there is none that is one array",
      [x, [[1], [2]], { out: {} }],
      "UNKNOWN_OPTION",
      "out is no option",
    ],
    [
      "a misspelt option",
      [x, [[1], [2]], { frameduration: 1 }],
      "UNKNOWN_OPTION",
      "frameduration is no option",
    ],
    [
      "lengths",
      [x, [[1], [2]], { inputLengths: [7, 6] }],
      "LENGTH",
      "inputLengths[0] is 7, expected a whole number in [0, 6]",
    ],
  ];
  test.each(cases)("%s", (_what, args, code, message) => {
    for (const name of ENGINES) {
      const call = (): unknown => on(name, () => (ctcAlign as (...args: unknown[]) => unknown)(...args));
      expect(call).toThrow(
        expect.objectContaining({ code, message: expect.stringContaining(`ctcAlign: ${message}`) }),
      );
    }
  });
});
