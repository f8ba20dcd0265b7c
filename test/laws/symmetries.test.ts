/**
 * What has no order has none: classes, the components of vectors, the vectors of a set, the answers of energies, in another order, give
 * the same numbers in that order; classes that cannot be change nothing; and what is symmetric is.
 */
import { shuffler } from "d3-array";
import fc from "fast-check";
import { describe, test } from "vitest";
import * as e from "../../ts/energy.js";
import * as p from "../../ts/index.js";
import type { AnyLoss } from "../../ts/registry.js";
import { agree } from "../support/agree.js";
import { ENGINES, on } from "../support/engines.js";
import { randomStream } from "../support/generate.js";
import { taken } from "../support/places.js";

interface Numbers {
  readonly data: Float32Array | Float64Array;
  readonly shape: readonly [number, number];
}

/** What a law draws from. */
interface Chance {
  /** Rows of real numbers, some of them large. */
  readonly x: (rows: number, columns: number) => Numbers;
  /** A whole number below another. */
  readonly below: (n: number) => number;
  /** So many places in a random order. */
  readonly order: (n: number) => number[];
  readonly rows: number;
  readonly columns: number;
}

/** Two things that must be alike, and how large the numbers are that were added up for them, if it is much. */
type Pair = readonly [what: string, actual: unknown, expected: unknown, terms?: number];

const RUNS = Number(process.env.PERDIDA_RUNS ?? 120);
const wishes = fc.record({
  seed: fc.integer({ min: 0, max: 2 ** 31 }),
  dtype: fc.constantFrom("float32" as const, "float64" as const),
  engine: fc.constantFrom(...ENGINES),
  rows: fc.integer({ min: 1, max: 20 }),
  columns: fc.integer({ min: 2, max: 70 }),
});

function law(name: string, pairsOf: (chance: Chance) => readonly Pair[]): void {
  test(name, () => {
    fc.assert(
      fc.property(wishes, ({ seed, dtype, engine, rows, columns }) => {
        const random = randomStream(seed);
        const below = (n: number): number => Math.floor(random() * n);
        const x = (n: number, m: number): Numbers => {
          const data = new (dtype === "float32" ? Float32Array : Float64Array)(n * m);
          for (let i = 0; i < data.length; i++)
            data[i] = (random() + random() + random() - 1.5) * (below(10) === 0 ? 30 : 2);
          return { data, shape: [n, m] };
        };
        const order = (n: number): number[] => shuffler(random)([...Array(n).keys()]);
        on(engine, () => {
          for (const [what, actual, expected, terms] of pairsOf({ x, below, order, rows, columns }))
            agree(numbers(actual), numbers(expected), dtype, false, `${what} (${engine})`, terms);
        });
      }),
      { numRuns: RUNS },
    );
  });
}

const numbers = (of: unknown): ArrayLike<number> =>
  typeof of === "number" ? [of] : ((of as Numbers).data ?? (of as ArrayLike<number>));

/** The columns of a matrix in another order; what stands at -1 is `other`. */
const columnsOf = (of: unknown, order: readonly number[], other?: number): Numbers =>
  taken(of as Numbers, order, 1, other);

const rowsOf = (of: unknown, order: readonly number[]): Numbers => taken(of as Numbers, order, 0);

function transposed(of: unknown): Numbers {
  const { data, shape } = of as Numbers;
  const [n, m] = shape;
  return { data: data.map((_, i) => data[(i % n) * m + Math.floor(i / n)] as number), shape: [m, n] };
}

/** For each place where it has gone. */
const inverse = (order: readonly number[]): number[] => order.map((_, c) => order.indexOf(c));

const list = <T>(n: number, f: () => T): T[] => Array.from({ length: n }, f);
const NOWHERE = [-1, -1, -1];
const any = (loss: unknown): AnyLoss => loss as AnyLoss;

describe("classes in another order", () => {
  for (const loss of [p.crossEntropyLoss, p.nllLoss, p.multiMarginLoss].map(any)) {
    law(loss.name, ({ x, below, order, rows, columns }) => {
      const [input, places, weight] = [x(rows, columns), order(columns), list(columns, () => below(5))];
      const target = list(rows, () => below(columns));
      const to = inverse(places);
      const a = loss.valueAndGrad(input, target, { weight });
      const b = loss.valueAndGrad(
        columnsOf(input, places),
        target.map((c) => to[c]),
        { weight: places.map((c) => weight[c]) },
      );
      return [
        ["value", b.value, a.value],
        ["gradient", b.grads.input, columnsOf(a.grads.input, places)],
      ];
    });
  }

  law("multiLabelMarginLoss", ({ x, below, order, rows, columns }) => {
    const [input, places] = [x(rows, columns), order(columns)];
    const to = inverse(places);
    const sets = list(rows, () => order(columns).fill(-1, below(columns + 1)));
    const a = p.multiLabelMarginLoss.valueAndGrad(input, sets);
    const moved = sets.map((set) => set.map((c) => to[c] ?? -1));
    const b = p.multiLabelMarginLoss.valueAndGrad(columnsOf(input, places), moved);
    return [
      ["value", b.value, a.value],
      ["gradient", b.grads.input, columnsOf(a.grads.input, places)],
    ];
  });

  for (const map of [p.softmax, p.logSoftmax]) {
    law(map.name, ({ x, order, rows, columns }) => {
      const [input, places] = [x(rows, columns), order(columns)];
      return [["value", map(columnsOf(input, places)), columnsOf(map(input), places)]];
    });
  }

  law("the sequence losses, the blank among them", ({ x, below, order, rows, columns }) => {
    const [steps, classes] = [2 + rows, Math.min(columns, 12)];
    const [logits, places] = [x(steps, classes), order(classes)];
    const target = list(1 + below(steps / 2), () => 1 + below(classes - 1));
    const to = inverse(places);
    const named = (labels: ArrayLike<number>): number[] => Array.from(labels, (c) => to[c] as number);
    const [moved, labels, options] = [columnsOf(logits, places), named(target), { blank: to[0] as number }];
    const loss = p.ctcLoss.valueAndGrad(logits, target);
    const other = p.ctcLoss.valueAndGrad(moved, labels, options);
    const [path, otherPath] = [p.ctcAlign(logits, target), p.ctcAlign(moved, labels, options)];
    const [greedy, otherGreedy] = [p.ctcGreedyDecode(logits), p.ctcGreedyDecode(moved, options)];
    const [beam] = p.ctcBeamDecode(logits, { beamWidth: 5 });
    const [otherBeam] = p.ctcBeamDecode(moved, { ...options, beamWidth: 5 });
    const from = p.ctcPosteriors(logits, target);
    return [
      ["value", other.value, loss.value],
      ["gradient", other.grads.logits, columnsOf(loss.grads.logits, places)],
      ["posteriors", p.ctcPosteriors(moved, labels, options), columnsOf(from, places)],
      ["score", otherPath.score, path.score],
      ["path", otherPath.labels, named(path.labels)],
      ["greedy", otherGreedy.labels, named(greedy.labels)],
      ["its probability", otherGreedy.logProb, greedy.logProb],
      ["beam", otherBeam?.labels, named(beam?.labels ?? [])],
      ["its probability", otherBeam?.logProb, beam?.logProb],
    ];
  });
});

describe("classes that cannot be change nothing", () => {
  law("logSumExp, softmax, logSoftmax", ({ x, rows, columns }) => {
    const [input, kept] = [x(rows, columns), [...Array(columns).keys()]];
    const more = columnsOf(input, [...kept, ...NOWHERE]);
    return [
      ["logSumExp", p.logSumExp(more), p.logSumExp(input)],
      ["softmax", columnsOf(p.softmax(more), kept), p.softmax(input)],
      ["logSoftmax", columnsOf(p.logSoftmax(more), kept), p.logSoftmax(input)],
    ];
  });

  law("crossEntropyLoss", ({ x, below, rows, columns }) => {
    const [input, kept] = [x(rows, columns), [...Array(columns).keys()]];
    const all = [...kept, ...NOWHERE];
    const [target, shares] = [list(rows, () => below(columns)), p.softmax(x(rows, columns))];
    const hard = p.crossEntropyLoss.valueAndGrad(input, target);
    const harder = p.crossEntropyLoss.valueAndGrad(columnsOf(input, all), target);
    const soft = p.crossEntropyLoss.valueAndGrad(input, shares);
    const softer = p.crossEntropyLoss.valueAndGrad(columnsOf(input, all), columnsOf(shares, all, 0));
    return [
      ["value", harder.value, hard.value],
      ["gradient", columnsOf(harder.grads.input, kept), hard.grads.input],
      ["value of shares", softer.value, soft.value],
      ["gradient of shares", columnsOf(softer.grads.input, kept), soft.grads.input],
      ["gradient to shares", columnsOf(softer.grads.target, kept), soft.grads.target],
    ];
  });

  law("ctcLoss", ({ x, below, rows, columns }) => {
    const [steps, classes] = [2 + rows, Math.min(columns, 12)];
    const [logits, kept] = [x(steps, classes), [...Array(classes).keys()]];
    const target = list(1 + below(steps / 2), () => 1 + below(classes - 1));
    const few = p.ctcLoss.valueAndGrad(logits, target);
    const more = p.ctcLoss.valueAndGrad(columnsOf(logits, [...kept, ...NOWHERE]), target);
    return [
      ["value", more.value, few.value],
      ["gradient", columnsOf(more.grads.logits, kept), few.grads.logits],
    ];
  });
});

describe("components in another order, and sides exchanged", () => {
  for (const norm of [1, 1.5, 2, 3, Infinity]) {
    law(`cdist, p = ${norm}`, ({ x, order, rows, columns }) => {
      const [a, b, axes] = [x(rows, columns), x(rows + 3, columns), order(columns)];
      const upstream = x(rows, rows + 3);
      const there = p.cdist.valueAndGrad(a, b, { p: norm, upstream });
      const back = p.cdist.valueAndGrad(b, a, { p: norm, upstream: transposed(upstream) });
      const moved = [columnsOf(a, axes), columnsOf(b, axes)] as const;
      const other = p.cdist.valueAndGrad(...moved, { p: norm, upstream });
      return [
        ["value, exchanged", transposed(back.value), there.value],
        ["gradient of x1, exchanged", back.grads.x2, there.grads.x1, 100],
        ["gradient of x2, exchanged", back.grads.x1, there.grads.x2, 100],
        ["value", other.value, there.value],
        ["gradient of x1", other.grads.x1, columnsOf(there.grads.x1, axes), 100],
      ];
    });

    law(`pairwiseDistance, p = ${norm}`, ({ x, order, rows, columns }) => {
      const [a, b, axes] = [x(rows, columns), x(rows, columns), order(columns)];
      const options = { p: norm, eps: 0 };
      const there = p.pairwiseDistance.valueAndGrad(a, b, options);
      const back = p.pairwiseDistance.valueAndGrad(b, a, options);
      const other = p.pairwiseDistance.valueAndGrad(columnsOf(a, axes), columnsOf(b, axes), options);
      return [
        ["value, exchanged", back.value, there.value],
        ["gradient, exchanged", back.grads.x2, there.grads.x1],
        ["opposite gradients", Array.from(numbers(there.grads.x2), (g) => -g), there.grads.x1],
        ["value", other.value, there.value],
        ["gradient", other.grads.x1, columnsOf(there.grads.x1, axes)],
      ];
    });
  }

  law("infoNceLoss", ({ x, order, rows, columns }) => {
    const [query, key, places] = [x(rows, columns), x(rows, columns), order(rows)];
    const options = { temperature: 0.3 };
    const one = p.infoNceLoss.valueAndGrad(query, key, options);
    const moved = p.infoNceLoss.valueAndGrad(rowsOf(query, places), rowsOf(key, places), options);
    const both = p.infoNceLoss.valueAndGrad(query, key, { ...options, symmetric: true });
    const exchanged = p.infoNceLoss.valueAndGrad(key, query, { ...options, symmetric: true });
    return [
      ["value", moved.value, one.value],
      ["gradient", moved.grads.query, rowsOf(one.grads.query, places)],
      ["symmetric value", exchanged.value, both.value],
      ["symmetric gradient", exchanged.grads.query, both.grads.key],
      ["both ways", both.value, (one.value + (p.infoNceLoss(key, query, options) as number)) / 2],
    ];
  });
});

describe("vectors in another order, their labels renamed", () => {
  const NAMES = [7, -3, 12, 5];
  const losses = [
    p.batchHardTripletLoss,
    p.batchSemiHardTripletLoss,
    p.batchAllTripletLoss,
    p.supervisedContrastiveLoss,
  ].map(any);
  for (const loss of losses) {
    const isTriplet = loss.name.endsWith("TripletLoss");
    for (const options of [{}, isTriplet ? { softMargin: true } : { temperature: 0.5 }]) {
      law(`${loss.name} ${JSON.stringify(options)}`, ({ x, below, order, rows, columns }) => {
        const n = rows + 6;
        const [embeddings, labels, places, axes] = [
          x(n, columns),
          list(n, () => below(4)),
          order(n),
          order(columns),
        ];
        const one = loss.valueAndGrad(embeddings, labels, options);
        const renamed = places.map((i) => NAMES[labels[i] as number]);
        const moved = loss.valueAndGrad(rowsOf(embeddings, places), renamed, options);
        const turned = loss.valueAndGrad(columnsOf(embeddings, axes), labels, options);
        return [
          ["value", moved.value, one.value],
          ["gradient", moved.grads.embeddings, rowsOf(one.grads.embeddings, places)],
          ["value, other axes", turned.value, one.value],
          ["gradient, other axes", turned.grads.embeddings, columnsOf(one.grads.embeddings, axes)],
        ];
      });
    }
  }

  for (const metric of ["euclidean", "cosine", "dot"] as const) {
    law(`nearest, ${metric}`, ({ x, order, rows, columns }) => {
      const n = 5 * rows + 5;
      const [queries, index, places] = [x(3, columns), x(n, columns), order(n)];
      const one = p.nearest(queries, index, 4, { metric });
      const moved = p.nearest(queries, rowsOf(index, places), 4, { metric });
      return [
        ["distances", moved.distances, one.distances],
        ["indices", Array.from(moved.indices, (i) => places[i] as number), one.indices],
      ];
    });
  }
});

describe("answers in another order", () => {
  const losses = [
    e.energyLoss,
    e.perceptronLoss,
    e.hingeLoss,
    e.logLoss,
    e.lvq2Loss,
    e.mceLoss,
    e.squareSquareLoss,
    e.squareExponentialLoss,
    e.nllLoss,
    e.meeLoss,
    e.contrastiveLoss,
  ].map(any);
  for (const loss of losses) {
    law(loss.name, ({ x, below, order, rows, columns }) => {
      const [energies, places] = [x(rows, columns), order(columns)];
      const answers = list(rows, () => below(columns));
      const to = inverse(places);
      const one = loss.valueAndGrad(energies, answers);
      const moved = loss.valueAndGrad(
        columnsOf(energies, places),
        answers.map((c) => to[c]),
      );
      return [
        ["value", moved.value, one.value],
        ["gradient", moved.grads.energies, columnsOf(one.grads.energies, places)],
      ];
    });
  }
});
