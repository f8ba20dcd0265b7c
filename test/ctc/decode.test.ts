/** Decoding: against the ranking of all labellings, and what pruning and hooks do. */
import { describe, expect, test } from "vitest";
import { ctcBeamDecode, ctcGreedyDecode, ctcLoss, tensor } from "../../ts/index.js";
import type { CtcLabelling } from "../../ts/losses/ctc/decode.js";
import { expectClose } from "../support/close.js";
import { collapse, draw, logSoftmaxRows, paths } from "../support/ctc.js";
import { randomStream } from "../support/generate.js";
import { numbers, readGolden } from "../support/golden.js";

interface Golden {
  cases: {
    name: string;
    options: { blank: number };
    inputs: { logits: { shape: [number, number]; data: number[] } };
    value: { greedy: number[]; best: { labels: number[]; logProb: number }[] };
  }[];
}

/** All labellings with their probabilities, best first. */
function ranking(
  logits: ArrayLike<number>,
  classes: number,
  blank: number,
): { labels: number[]; logProb: number }[] {
  const all = new Map<string, { labels: number[]; p: number }>();
  for (const [path, p] of paths(logits, classes)) {
    const labels = collapse(path, blank);
    const found = all.get(labels.join());
    if (found === undefined) all.set(labels.join(), { labels, p });
    else found.p += p;
  }
  return [...all.values()]
    .sort((a, b) => b.p - a.p)
    .map(({ labels, p }) => ({ labels, logProb: Math.log(p) }));
}

describe.each([
  ["float64", Float64Array, 1e-10],
  ["float32", Float32Array, 1e-6],
] as const)("decoding in %s", (_dtype, Numbers, tolerance) => {
  test("the golden rankings", () => {
    for (const { name, options, inputs, value } of readGolden<Golden>("ctcDecode").cases) {
      const x = { data: Numbers.from(numbers(inputs.logits.data)), shape: inputs.logits.shape };
      expect(ctcGreedyDecode(x, options).labels, name).toEqual(value.greedy);
      const found = ctcBeamDecode(x, { ...options, beamWidth: 400, topK: value.best.length });
      expect(
        found.map(({ labels }) => labels),
        name,
      ).toEqual(value.best.map(({ labels }) => labels));
      expectClose(
        found.map((f) => f.logProb),
        value.best.map((f) => f.logProb),
        tolerance,
        name,
      );
    }
  });

  test("a beam wide enough ranks all labellings as enumeration does, and each is minus its loss", () => {
    const random = randomStream(3);
    for (let round = 0; round < 12; round++) {
      const steps = 1 + Math.floor(random() * 6);
      const classes = 2 + Math.floor(random() * 2);
      const blank = Math.floor(random() * classes);
      const logits = Numbers.from(Float32Array.from({ length: steps * classes }, () => 6 * random() - 3));
      const x = { data: logits, shape: [steps, classes] as const };
      const expected = ranking(logits, classes, blank);
      const found = ctcBeamDecode(x, { blank, beamWidth: 5000, topK: 5000 });
      expect(found.map(({ labels }) => labels)).toEqual(expected.map(({ labels }) => labels));
      expectClose(
        found.map((f) => f.logProb),
        expected.map((f) => f.logProb),
        tolerance,
        "log-probabilities",
      );
      for (const { labels, logProb } of found) {
        const loss = ctcLoss({ data: Float64Array.from(logits), shape: [steps, classes] }, labels, {
          blank,
          reduction: "sum",
        });
        expectClose([logProb], [-loss], 1e-11, `${labels}`);
      }
    }
  });
});

describe("greedy decoding", () => {
  test("is the best path's labelling, and says its probability", () => {
    const [steps, classes] = [60, 7];
    const { logits } = draw({ seed: 4, steps, classes, labels: 0 });
    const logp = logSoftmaxRows(logits, classes);
    const path = logp.map((row) => row.indexOf(Math.max(...row)));
    const { labels, logProb } = ctcGreedyDecode({ data: logits, shape: [steps, classes] }, { blank: 3 });
    expect(labels).toEqual(collapse(path, 3));
    expectClose(
      [logProb],
      [path.reduce((sum, c, t) => sum + ((logp[t] as number[])[c] as number), 0)],
      1e-10,
      "its probability",
    );
  });

  test("ties go to the first class; log-probabilities decode alike", () => {
    expect(
      ctcGreedyDecode([
        [0, 0, 0],
        [0, 2, 2],
      ]).labels,
    ).toEqual([1]);
    const logits = draw({ seed: 5, steps: 20, classes: 4, labels: 0 }).logits;
    const logp = logSoftmaxRows(logits, 4);
    const [a, b] = [ctcGreedyDecode({ data: logits, shape: [20, 4] }), ctcGreedyDecode(logp)];
    expect(b.labels).toEqual(a.labels);
    expect(b.logProb).toBeCloseTo(a.logProb, 10);
  });
});

describe("beam search", () => {
  const { logits } = draw({ seed: 6, steps: 40, classes: 6, labels: 0, scale: 3 });
  const x = { data: logits, shape: [40, 6] as const };
  const wide = ctcBeamDecode(x, { beamWidth: 300, topK: 3 });

  test("gives as many as are asked for, best first, one without being asked", () => {
    expect(ctcBeamDecode(x)).toHaveLength(1);
    expect(wide).toHaveLength(3);
    expect(wide.map((f) => f.logProb)).toEqual(wide.map((f) => f.logProb).sort((a, b) => b - a));
    expect(Object.keys(wide[0] as CtcLabelling)).toEqual(["labels", "logProb"]);
    expect(new Set(wide.map(({ labels }) => labels.join())).size).toBe(3);
  });

  test("finds no less probable a labelling than greedy decoding does, and a wider beam none less than a narrow one", () => {
    const greedy = ctcGreedyDecode(x);
    const of = (labels: readonly number[]): number => -ctcLoss(x, labels, { reduction: "sum" });
    expect(of((wide[0] as CtcLabelling).labels)).toBeGreaterThanOrEqual(of(greedy.labels));
    let last = -Infinity;
    for (const beamWidth of [1, 4, 32, 300]) {
      const [best] = ctcBeamDecode(x, { beamWidth }) as [CtcLabelling];
      expect(of(best.labels)).toBeGreaterThanOrEqual(last - 1e-6);
      last = of(best.labels);
      // what was pruned is missing, never added
      expect(best.logProb).toBeLessThanOrEqual(of(best.labels) + 1e-4);
    }
  });

  test("a language model ranks, and log-probabilities stay the logits'", () => {
    const small = draw({ seed: 7, steps: 5, classes: 3, labels: 0 }).logits;
    const y = { data: small, shape: [5, 3] as const };
    const all = ranking(small, 3, 0);
    // a bigram model: its scores depend on the prefix
    const weight = (before: number | undefined, label: number): number =>
      before === label ? -1.5 : label === 1 ? 0.7 : -0.2;
    const lm = (labels: readonly number[]): number =>
      labels.reduce((sum, label, i) => sum + weight(labels[i - 1], label), 0);
    const expected = all
      .map(({ labels, logProb }) => ({ labels, logProb, score: logProb + lm(labels) - 0.3 * labels.length }))
      .sort((a, b) => b.score - a.score);
    const prefixes: number[][] = [];
    const found = ctcBeamDecode(y, {
      beamWidth: 1000,
      topK: 1000,
      extend: (prefix, label) => {
        prefixes.push([...prefix, label]);
        return weight(prefix[prefix.length - 1], label);
      },
      finish: (labels) => -0.3 * labels.length,
    });
    expect(found.map(({ labels }) => labels)).toEqual(expected.map(({ labels }) => labels));
    expectClose(
      found.map((f) => f.logProb),
      expected.map((f) => f.logProb),
      1e-6,
      "log-probabilities",
    );
    expectClose(
      found.map((f) => f.score as number),
      expected.map((f) => f.score),
      1e-6,
      "scores",
    );
    expect(new Set(prefixes.map((p) => p.join())).size, "each prefix is scored once").toBe(prefixes.length);
    // a word list: only what begins a word may go on
    const words = ["1,2,1", "2"];
    const allowed = ctcBeamDecode(y, {
      beamWidth: 100,
      topK: 10,
      extend: (prefix, label) =>
        words.some((word) => word.startsWith([...prefix, label].join())) ? 0 : -Infinity,
      finish: (labels) => (words.includes(labels.join()) ? 0 : -Infinity),
    });
    expect(allowed.map(({ labels }) => labels.join()).sort()).toEqual(words);
  });

  test("what a hook forbids is never kept, never asked about, and never comes back", () => {
    const even = [
      [0, 1, 5],
      [0, 1, 5],
    ];
    const options = { beamWidth: 8, topK: 8 };
    const found = ctcBeamDecode(even, { ...options, extend: (_, label) => (label === 2 ? -Infinity : 0) });
    expect(found.map(({ labels }) => labels)).toEqual([[1], []]);
    // a language model that walks a prefix: there is no way behind what it forbade
    type Trie = { readonly [label: number]: Trie };
    const trie: Trie = { 1: { 1: {} } };
    const walk = (prefix: readonly number[]): Trie => prefix.reduce((at, c) => at[c] as Trie, trie);
    const extend = (prefix: readonly number[], label: number): number =>
      label in walk(prefix) ? 0 : -Infinity;
    const finish = (labels: readonly number[]): number => (walk(labels) ? 0 : -Infinity);
    expect(ctcBeamDecode(even, { ...options, extend, finish }).map(({ labels }) => labels)).toEqual([
      [1],
      [],
    ]);
    // forbidden ones take no places: a beam of 2 holds all that there is
    expect(ctcBeamDecode(even, { beamWidth: 2, topK: 2, extend })).toEqual(
      ctcBeamDecode(even, { ...options, extend }),
    );
    // and the end may be forbidden as well, of all
    expect(ctcBeamDecode(even, { ...options, finish: (l) => (l.length > 1 ? 0 : -Infinity) })).toHaveLength(
      2,
    );
    expect(ctcBeamDecode(even, { ...options, finish: () => -Infinity })).toEqual([]);
    expect(ctcBeamDecode([even, even], { extend: () => -Infinity }).flat()).toMatchObject([
      { labels: [] },
      { labels: [] },
    ]);
  });

  test("what the logits make impossible is left where there is nothing else, unless the end is forbidden", () => {
    const impossible = [[-Infinity, 0]];
    const left = { labels: [], logProb: -Infinity };
    expect(ctcBeamDecode(impossible, { labelThreshold: 1 })).toEqual([left]);
    expect(ctcBeamDecode(impossible, { extend: () => -Infinity })).toEqual([{ ...left, score: -Infinity }]);
    expect(ctcBeamDecode(impossible, { labelThreshold: 1, finish: () => -Infinity })).toEqual([]);
    expect(ctcBeamDecode(impossible, { topK: 9 })).toEqual([{ labels: [1], logProb: 0 }]);
  });

  test("a list of words gives what enumeration leaves of it", () => {
    const random = randomStream(12);
    for (let round = 0; round < 40; round++) {
      const steps = 1 + Math.floor(random() * 5);
      const y = Float64Array.from({ length: steps * 4 }, () => 6 * random() - 3);
      const words = Array.from({ length: 4 }, () =>
        Array.from({ length: Math.floor(random() * 4) }, () => 1 + Math.floor(random() * 3)).join(),
      );
      const expected = ranking(y, 4, 0).filter(({ labels }) => words.includes(labels.join()));
      const found = ctcBeamDecode(
        { data: y, shape: [steps, 4] },
        {
          beamWidth: 100,
          topK: 100,
          extend: (prefix, label) => {
            const begins = (labels: readonly number[]): boolean =>
              words.some((word) => `${word},`.startsWith(labels.map((c) => `${c},`).join("")));
            expect(begins(prefix), `${prefix} is allowed`).toBe(true);
            return begins([...prefix, label]) ? 0 : -Infinity;
          },
          finish: (labels) => (words.includes(labels.join()) ? 0 : -Infinity),
        },
      );
      expect(found.map(({ labels }) => labels)).toEqual(expected.map(({ labels }) => labels));
      expectClose(
        found.map((f) => f.logProb),
        expected.map((f) => f.logProb),
        1e-10,
        `round ${round}`,
      );
    }
  });

  test("a hook is asked once for a prefix and a label as long as the prefix is in the beam, and cannot change it", () => {
    const [steps, classes] = [200, 5];
    // each step has a blank that is nearly certain: prefixes stay
    const y = draw({ seed: 13, steps, classes, labels: 0 }).logits.map((v, i) =>
      i % classes === 0 ? v + 12 : v,
    );
    const asked: string[] = [];
    const given = new Set<readonly number[]>();
    const options = { beamWidth: 1 + classes, topK: 3 };
    const found = ctcBeamDecode(
      { data: y, shape: [steps, classes] },
      {
        ...options,
        extend: (prefix, label) => {
          asked.push(`${prefix};${label}`);
          given.add(prefix);
          expect(() => (prefix as number[]).push(label)).toThrow(TypeError);
          return 0;
        },
      },
    );
    expect(found).toMatchObject(ctcBeamDecode({ data: y, shape: [steps, classes] }, options));
    // without a memory there are beamWidth * (classes - 1) questions at each step
    expect(asked.length).toBeLessThan(0.2 * steps * options.beamWidth * (classes - 1));
    expect(asked.length / given.size, "each array is asked about for each label").toBe(classes - 1);
  });

  test("leaving out early what cannot be among the best changes nothing", () => {
    const add = (a: number, b: number): number => {
      const max = Math.max(a, b);
      return max === -Infinity ? max : max + Math.log(Math.exp(a - max) + Math.exp(b - max));
    };
    /** The search as it is written down everywhere: all extensions, then the best. */
    const plainly = (
      logp: readonly number[][],
      beamWidth: number,
    ): { labels: number[]; logProb: number }[] => {
      type Ends = [blank: number, label: number];
      let beam = new Map<string, Ends>([["", [0, -Infinity]]]);
      for (const row of logp) {
        const next = new Map<string, Ends>();
        const give = (prefix: string, blank: number, label: number): void => {
          const [b, l] = next.get(prefix) ?? [-Infinity, -Infinity];
          next.set(prefix, [add(b, blank), add(l, label)]);
        };
        for (const [prefix, [blank, label]] of beam) {
          const last = prefix === "" ? -1 : Number(prefix.split(",").at(-1));
          give(
            prefix,
            add(blank, label) + (row[0] as number),
            last < 0 ? -Infinity : label + (row[last] as number),
          );
          for (let c = 1; c < row.length; c++) {
            const from = c === last ? blank : add(blank, label);
            give(prefix === "" ? String(c) : `${prefix},${c}`, -Infinity, from + (row[c] as number));
          }
        }
        const ranked = [...next].sort((a, b) => add(...b[1]) - add(...a[1]));
        beam = new Map(ranked.slice(0, beamWidth));
      }
      return [...beam].map(([prefix, ends]) => {
        return { labels: prefix === "" ? [] : prefix.split(",").map(Number), logProb: add(...ends) };
      });
    };
    for (let seed = 50; seed < 62; seed++) {
      const [steps, classes] = [25, 3 + (seed % 4) * 4];
      const { logits: y } = draw({ seed, steps, classes, labels: 0, scale: 1 + (seed % 3) * 2 });
      for (const beamWidth of [1, 3, 10, 40]) {
        const found = ctcBeamDecode({ data: y, shape: [steps, classes] }, { beamWidth, topK: beamWidth });
        const expected = plainly(logSoftmaxRows(y, classes), beamWidth);
        expect(found.map(({ labels }) => labels)).toEqual(expected.map(({ labels }) => labels));
        expectClose(
          found.map((f) => f.logProb),
          expected.map((f) => f.logProb),
          1e-10,
          `seed ${seed}`,
        );
        // and so with a hook that says nothing
        const hooked = ctcBeamDecode(
          { data: y, shape: [steps, classes] },
          { beamWidth, topK: beamWidth, extend: () => 0 },
        );
        expect(hooked.map(({ labels }) => labels)).toEqual(found.map(({ labels }) => labels));
      }
    }
  });

  test("prefixes that come back after they were dropped are the same prefixes", () => {
    // with a beam of 2 prefixes drop out and return all the time: none may be there twice
    for (let seed = 8; seed < 28; seed++) {
      const y = draw({ seed, steps: 60, classes: 3, labels: 0, scale: 1 }).logits;
      for (const beamWidth of [2, 3, 7]) {
        const found = ctcBeamDecode({ data: y, shape: [60, 3] }, { beamWidth, topK: beamWidth });
        expect(new Set(found.map(({ labels }) => labels.join())).size).toBe(found.length);
        for (const { labels, logProb } of found) {
          expect(logProb).toBeLessThanOrEqual(
            1e-4 - ctcLoss({ data: y, shape: [60, 3] }, labels, { reduction: "sum" }),
          );
        }
      }
    }
  });

  test("scores that overflow end nothing", () => {
    const logits = [
      [0, 1, 0],
      [0, 0, 1],
      [0, 1, 0],
    ];
    const [best] = ctcBeamDecode(logits, { extend: () => 1e308 });
    expect(best?.score).toBe(Infinity);
  });

  test("classes of no steps take no room", () => {
    for (const shape of [
      [0, 2 ** 32 - 1],
      [1, 0, 2 ** 32 - 1],
    ]) {
      const nothing = { data: new Float32Array(0), shape };
      expect([ctcBeamDecode(nothing), ctcGreedyDecode(nothing)].flat(3)).toEqual([
        { labels: [], logProb: 0 },
        { labels: [], logProb: 0 },
      ]);
    }
  });

  test("thresholds leave out what is improbable", () => {
    let extensions = 0;
    const extend = (): number => {
      extensions++;
      return 0;
    };
    ctcBeamDecode(x, { beamWidth: 50, extend });
    const all = extensions;
    extensions = 0;
    ctcBeamDecode(x, { beamWidth: 50, extend, labelThreshold: Math.log(0.1), beamThreshold: 6 });
    expect(extensions).toBeGreaterThan(0);
    expect(extensions).toBeLessThan(0.6 * all);
    // thresholds that leave out next to nothing change next to nothing
    const [best] = ctcBeamDecode(x, { beamWidth: 300, labelThreshold: Math.log(1e-4), beamThreshold: 25 });
    expect(best?.labels).toEqual(wide[0]?.labels);
    expect(best?.logProb).toBeCloseTo(wide[0]?.logProb as number, 2);
    expect(ctcBeamDecode(x, { labelThreshold: 0 })[0]?.labels).toEqual([]);
    expect(ctcBeamDecode(x, { beamWidth: 50, topK: 50, beamThreshold: 0 })).toHaveLength(1);
  });
});

describe("batches", () => {
  test("are their samples, in both layouts, whatever stands in the padding", () => {
    const [classes, lengths, steps] = [5, [12, 0, 30], 33];
    const samples = lengths.map(
      (length, i) => draw({ seed: 30 + i, steps: length, classes, labels: 0 }).logits,
    );
    const alone = samples.map((data, n) => ({ data, shape: [lengths[n] as number, classes] as const }));
    for (const layout of ["NTC", "TNC"] as const) {
      const batch = new Float32Array(3 * steps * classes).fill(Number.NaN);
      samples.forEach((logits, n) => {
        for (let t = 0; t < (lengths[n] as number); t++) {
          batch.set(
            logits.subarray(t * classes, (t + 1) * classes),
            (layout === "NTC" ? n * steps + t : t * 3 + n) * classes,
          );
        }
      });
      const shape = layout === "NTC" ? [3, steps, classes] : [steps, 3, classes];
      const options = { layout, inputLengths: lengths, blank: 2 };
      const given = tensor(batch, shape);
      expect(ctcGreedyDecode(given, options)).toEqual(alone.map((one) => ctcGreedyDecode(one, { blank: 2 })));
      expect(ctcBeamDecode(given, { ...options, topK: 2 })).toEqual(
        alone.map((one) => ctcBeamDecode(one, { blank: 2, topK: 2 })),
      );
    }
    expect(ctcGreedyDecode({ data: new Float32Array(0), shape: [0, 3, 4] })).toEqual([]);
    expect(ctcBeamDecode({ data: new Float32Array(0), shape: [0, 4] })).toEqual([{ labels: [], logProb: 0 }]);
  });

  test("a step that is no distribution spoils its sample alone", () => {
    const data = draw({ seed: 40, steps: 8, classes: 3, labels: 0 }).logits;
    const clean = ctcGreedyDecode({ data, shape: [2, 4, 3] });
    for (const bad of [Number.NaN, Infinity]) {
      const spoilt = data.slice().fill(bad, 2, 3);
      const [first, second] = ctcGreedyDecode({ data: spoilt, shape: [2, 4, 3] }) as [
        CtcLabelling,
        CtcLabelling,
      ];
      expect(first).toEqual({ labels: [], logProb: Number.NaN });
      expect(second).toEqual(clean[1]);
      expect(ctcBeamDecode({ data: spoilt, shape: [2, 4, 3] })[0]).toEqual([
        { labels: [], logProb: Number.NaN },
      ]);
    }
  });
});

describe("bad input", () => {
  const x = [
    [0, 1],
    [1, 0],
  ];
  const cases: [what: string, call: () => unknown, code: string, message: string][] = [
    [
      "rank",
      () => ctcGreedyDecode([1, 2] as never),
      "RANK",
      "ctcGreedyDecode: logits is of shape [2], expected [N, T, C], or [T, C] for one sample",
    ],
    [
      "blank",
      () => ctcGreedyDecode(x, { blank: 2 }),
      "NUMBER",
      "ctcGreedyDecode: blank is 2, expected a class index in [0, 2)",
    ],
    [
      "an option of beams",
      () => ctcGreedyDecode(x, { beamWidth: 2 } as never),
      "UNKNOWN_OPTION",
      "ctcGreedyDecode: beamWidth is no option",
    ],
    [
      "no beam",
      () => ctcBeamDecode(x, { beamWidth: 0 }),
      "NUMBER",
      "ctcBeamDecode: beamWidth is 0, expected a whole number from 1 on",
    ],
    ["half a labelling", () => ctcBeamDecode(x, { topK: 1.5 }), "NUMBER", "ctcBeamDecode: topK is 1.5"],
    [
      "a threshold below 0",
      () => ctcBeamDecode(x, { beamThreshold: -1 }),
      "NUMBER",
      "ctcBeamDecode: beamThreshold is -1",
    ],
    [
      "a hook that is none",
      () => ctcBeamDecode(x, { extend: 3 as never }),
      "TYPE",
      "ctcBeamDecode: extend is 3, expected a function",
    ],
    [
      "a hook that gives NaN",
      () => ctcBeamDecode(x, { extend: () => Number.NaN }),
      "NUMBER",
      "ctcBeamDecode: what extend gives is NaN, expected a number below Infinity",
    ],
    [
      "a hook that gives nothing",
      () => ctcBeamDecode(x, { finish: (() => undefined) as never }),
      "TYPE",
      "ctcBeamDecode: what finish gives is undefined",
    ],
    [
      "lengths",
      () => ctcBeamDecode(x, { inputLengths: 3 }),
      "LENGTH",
      "ctcBeamDecode: inputLengths is 3, expected a whole number in [0, 2]",
    ],
  ];
  test.each(cases)("%s", (_what, call, code, message) => {
    expect(call).toThrow(expect.objectContaining({ code, message: expect.stringContaining(message) }));
  });
});
