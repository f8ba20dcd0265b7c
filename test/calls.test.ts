/** What the driver of all losses refuses, and what it leaves undone. */

import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, describe, expect, test, vi } from "vitest";
import { ROOT } from "../scripts/support.mjs";
import * as energies from "../ts/energy.js";
import * as perdida from "../ts/index.js";
import { REGISTRY } from "../ts/registry.js";
import { ENGINES, on } from "./support/engines.js";
import { sample } from "./support/generate.js";
import { freshLibrary } from "./support/library.js";
import { expectRefusal } from "./support/refusal.js";

const { crossEntropyLoss, ctcAlign, ctcLoss, ctcPosteriors, cdist, mseLoss, tensor } = perdida;

/** The functions of both entries by name; each has an nllLoss. */
const named = {
  ...energies,
  ...perdida,
  "energy.nllLoss": energies.nllLoss,
} as unknown as Record<string, (...args: unknown[]) => unknown>;

afterEach(() => vi.unstubAllGlobals());

describe.each(ENGINES)("%s", (engine) => {
  const check = (name: string, body: () => void) => test(name, () => on(engine, body));

  check("a gradient that is asked for by name and that there is not is refused", () => {
    const logits = new Float32Array([1, 2, 3]);
    const grads = { target: new Float32Array(1) };
    expectRefusal(
      () => crossEntropyLoss.valueAndGrad(logits, 1, { wrt: ["target"], out: { grads } }),
      "OPTION",
      'crossEntropyLoss: wrt[0] is "target", which has no gradient here, expected one of input',
    );
    expect(Object.keys(crossEntropyLoss.valueAndGrad(logits, 1).grads)).toEqual(["input"]);
    const soft = crossEntropyLoss.valueAndGrad(logits, logits, { wrt: ["target"] });
    expect(Object.keys(soft.grads)).toEqual(["target"]);
    expectRefusal(
      () => cdist.valueAndGrad([[1, 2]], { wrt: ["x2" as "x1"] }),
      "OPTION",
      'cdist: wrt[0] is "x2", which has no gradient here, expected one of x1',
    );
    // named twice is named
    expect(mseLoss.valueAndGrad([1], [2], { wrt: ["input", "input"] }).grads.input.data[0]).toBe(-2);
  });

  check("no sample, however many steps it would have had: nothing to do", () => {
    const logits = tensor(new Float32Array(0), [0, 2 ** 30, 2]);
    const from = performance.now();
    expect(ctcLoss.valueAndGrad(logits, []).value).toBeNaN();
    expect(ctcLoss(logits, [], { reduction: "sum" })).toBe(0);
    expect(ctcPosteriors(logits, []).shape).toEqual([0, 2 ** 30, 2]);
    expect(ctcAlign(logits, [])).toEqual([]);
    expect(performance.now() - from).toBeLessThan(1000);
  });

  check("the bits of float16 numbers in integers are refused", () => {
    const bits = new Uint16Array([0x3c00, 0x4000]);
    for (const shape of [{ dims: [2] }, { shape: [2] }]) {
      expectRefusal(
        () => mseLoss({ data: bits, type: "float16", ...shape } as unknown as perdida.Tensor, [1, 2]),
        "TYPE",
        "mseLoss: input is a float16 tensor on a Uint16Array, expected a tensor of float32 or float64",
      );
    }
    // integers they are where nothing else is said
    expect(mseLoss(new Uint16Array([1, 2]), [1, 2])).toBe(0);
    expect(mseLoss({ data: new Float32Array([1, 2]), dims: [2] }, [1, 2])).toBe(0);
  });
});

describe("numbers among the options", () => {
  const [x, xs, steps] = [[1, 2], [[1, 2]], [[1, 2, 3]]];
  const energy = () => ({ value: 0, grad: 0 });
  const from0 = "a number from 0 on";
  const from1 = "a number from 1 on";
  const above0 = "a number above 0";
  const count = "a whole number from 1 on";
  // what is refused, and beside it what is not
  const limits: [
    loss: string,
    args: unknown[],
    option: string,
    is: string,
    refused: number[],
    allowed: number[],
  ][] = [
    ["smoothL1Loss", [x, x], "beta", from0, [-1e-9], [0, Infinity]],
    ["huberLoss", [x, x], "delta", above0, [0], [1e-9, Infinity]],
    ["poissonNllLoss", [x, x], "eps", from0, [-1e-9], [0]],
    ["sigmoidFocalLoss", [x, x], "alpha", "a number up to 1", [1.001], [1, -1]],
    ["sigmoidFocalLoss", [x, x], "gamma", from0, [-1e-9], [0]],
    ["gaussianNllLoss", [x, x, 1], "eps", from0, [-1e-9], [0]],
    ["marginRankingLoss", [x, x, x], "margin", "a number", [Number.NaN], [-1, Infinity]],
    ["hingeEmbeddingLoss", [x, [1, -1]], "margin", "a number", [Number.NaN], [-1]],
    ["crossEntropyLoss", [xs, [1]], "labelSmoothing", `${from0} up to 1`, [-1e-9, 1.001], [0, 1]],
    ...["crossEntropyLoss", "nllLoss"].map((loss): (typeof limits)[0] => [
      loss,
      [xs, [1]],
      "ignoreIndex",
      "a whole number from -2147483648 on up to 2147483647",
      [0.5, -(2 ** 31) - 1, 2 ** 31],
      [-(2 ** 31), 2 ** 31 - 1],
    ]),
    ["multiMarginLoss", [xs, [1]], "margin", "a number", [Number.NaN], [-1]],
    ["pairwiseDistance", [x, x], "p", from1, [0.999], [1, Infinity]],
    ["pairwiseDistance", [x, x], "eps", "a number", [Number.NaN], [-1]],
    ["cdist", [xs], "p", from1, [0.999], [1, Infinity]],
    ["cosineEmbeddingLoss", [x, x, 1], "margin", "a number", [Number.NaN], [-1]],
    ["tripletMarginLoss", [x, x, x], "p", from1, [0.999], [1, Infinity]],
    ["tripletMarginLoss", [x, x, x], "margin", above0, [0], [1e-9]],
    ["tripletMarginWithDistanceLoss", [x, x, x], "margin", above0, [0], [1e-9]],
    ...["batchHardTripletLoss", "batchSemiHardTripletLoss", "batchAllTripletLoss"].map(
      (loss): (typeof limits)[0] => [loss, [xs, [1]], "margin", from0, [-1e-9], [0]],
    ),
    ["supervisedContrastiveLoss", [xs, [1]], "temperature", above0, [0], [1e-9]],
    ["infoNceLoss", [xs, xs], "temperature", above0, [0], [1e-9]],
    ["ctcLoss", [steps, [1]], "blank", "a whole number from 0 on", [-1, 0.5], [0, 2]],
    ["ctcAlign", [steps, [1]], "frameDuration", above0, [0], [1e-9]],
    ["ctcAlign", [steps, [1]], "separator", "a whole number from 0 on", [-1, 0.5], [1, 2]],
    ["ctcBeamDecode", [steps], "beamWidth", count, [0, 1.5], [1]],
    ["ctcBeamDecode", [steps], "topK", count, [0, 1.5], [1]],
    ["ctcBeamDecode", [steps], "beamThreshold", from0, [-1e-9], [0, Infinity]],
    ["ctcBeamDecode", [steps], "labelThreshold", "a number", [Number.NaN], [-Infinity]],
    ["hingeLoss", [xs, [1]], "margin", "a number", [Number.NaN], [-1]],
    ["hingeLoss", [xs, [1]], "epsilon", from0, [-1e-9], [0]],
    ["lvq2Loss", [xs, [1]], "margin", from0, [-1e-9], [0]],
    ["squareSquareLoss", [xs, [1]], "margin", "a number", [Number.NaN], [-1]],
    ["squareExponentialLoss", [xs, [1]], "beta", from0, [-1e-9], [0]],
    ["energy.nllLoss", [xs, [1]], "beta", above0, [0], [1e-9, Infinity]],
    ["meeLoss", [xs, [1]], "beta", `${above0} up to ${Number.MAX_VALUE}`, [0, Infinity], [1e-9]],
    ["contrastiveLoss", [xs, [1]], "margin", "a number", [Number.NaN], [-1]],
    [
      "mostOffendingContinuous",
      [energy, 0],
      "epsilon",
      `${from0} up to ${Number.MAX_VALUE}`,
      [-1e-9, Infinity],
      [0],
    ],
    ["mostOffendingContinuous", [energy, 0], "starts", `${count} up to 1048576`, [0, 1.5, 2 ** 20 + 1], [1]],
    ["mostOffendingContinuous", [energy, 0], "steps", count, [0, 1.5], [1]],
    ["mostOffendingContinuous", [energy, 0], "seed", "a whole number", [0.5, Infinity], [-1]],
  ];
  test.each(limits)("%s(%j): %s is %s", (name, args, option, expected, refused, allowed) => {
    const loss = named[name];
    const run = (value: unknown) => () => loss?.(...args, { [option]: value });
    const words = (received: string): string => `: ${option} is ${received}, expected ${expected}`;
    for (const value of [...refused, Number.NaN]) expectRefusal(run(value), "NUMBER", words(String(value)));
    if (name !== "contrastiveLoss") expectRefusal(run("1"), "TYPE", words('"1"'));
    for (const value of allowed) expect(run(value)).not.toThrow();
  });
});

describe("an option that is not given is what the documentation says", () => {
  const [x, zeros, rows] = [
    [1, 4, -3],
    [0, 0, 0],
    [
      [0, 3],
      [1, 1],
      [5, 2],
      [2, 2],
    ],
  ];
  const classes = [0, 0, 1, 1];
  const steps = [[[2, 1, 0.5]], [[1, 0, 3]], [[0.5, 2, 1]]];
  // the default, and what gives something else on these arguments
  const defaults: [loss: string, args: unknown[], option: string, value: unknown, other: unknown][] = [
    ["smoothL1Loss", [x, zeros], "beta", 1, 2],
    ["huberLoss", [x, zeros], "delta", 1, 2],
    ["klDivLoss", [x, [0.5, 1, 2]], "logTarget", false, true],
    ["poissonNllLoss", [x, [1, 2, 3]], "logInput", true, false],
    ["poissonNllLoss", [x, [1, 2, 3]], "full", false, true],
    ["poissonNllLoss", [zeros, [1, 2, 3], { logInput: false }], "eps", 1e-8, 2e-8],
    ["sigmoidFocalLoss", [x, [1, 1, 0]], "alpha", 0.25, 0.3],
    ["sigmoidFocalLoss", [x, [1, 1, 0]], "gamma", 2, 3],
    ["gaussianNllLoss", [x, zeros, zeros], "eps", 1e-6, 2e-6],
    ["gaussianNllLoss", [x, zeros, [1, 2, 3]], "full", false, true],
    ["marginRankingLoss", [x, zeros, [1, -1, 1]], "margin", 0, 1],
    ["hingeEmbeddingLoss", [x, [1, 1, -1]], "margin", 1, 2],
    ["crossEntropyLoss", [rows, [0, 1, 1, 1]], "ignoreIndex", -100, 1],
    ["crossEntropyLoss", [rows, classes], "labelSmoothing", 0, 0.1],
    ["nllLoss", [rows, [0, 1, 1, 1]], "ignoreIndex", -100, 1],
    ["multiMarginLoss", [rows, classes], "p", 1, 2],
    ["multiMarginLoss", [rows, classes], "margin", 1, 2],
    ["pairwiseDistance", [x, zeros], "p", 2, 3],
    ["pairwiseDistance", [zeros, zeros], "eps", 1e-6, 2e-6],
    ["cdist", [rows], "p", 2, 3],
    ["cosineEmbeddingLoss", [[1, 2], [2, 1], -1], "margin", 0, 0.1],
    ["tripletMarginLoss", [x, [1, 5, 1], zeros], "margin", 1, 2],
    ["tripletMarginLoss", [x, [1, 5, 1], zeros], "p", 2, 3],
    ["tripletMarginLoss", [zeros, zeros, [0.5, 0, 0]], "eps", 1e-6, 2e-6],
    ["tripletMarginLoss", [x, zeros, [1, 1, 1]], "swap", false, true],
    ["tripletMarginWithDistanceLoss", [x, [1, 5, 1], zeros], "distance", "euclidean", "manhattan"],
    ["tripletMarginWithDistanceLoss", [x, [1, 5, 1], zeros], "margin", 1, 2],
    ["tripletMarginWithDistanceLoss", [x, zeros, [1, 1, 1]], "swap", false, true],
    ...["batchHardTripletLoss", "batchSemiHardTripletLoss", "batchAllTripletLoss"].flatMap((loss) =>
      (
        [
          ["margin", 1, 2],
          ["squared", false, true],
          ["softMargin", false, true],
        ] as const
      ).map(([option, value, other]): (typeof defaults)[0] => [loss, [rows, classes], option, value, other]),
    ),
    ["supervisedContrastiveLoss", [rows, classes], "temperature", 0.1, 0.2],
    ["infoNceLoss", [rows, [...rows].reverse()], "temperature", 0.1, 0.2],
    [
      "infoNceLoss",
      [
        rows,
        [
          [1, 2],
          [3, 0],
          [0, 1],
          [2, 2],
        ],
      ],
      "symmetric",
      false,
      true,
    ],
    ["nearest", [rows, rows, 3], "metric", "euclidean", "dot"],
    [
      "ctcLoss",
      [
        [
          [
            [2, 1, 0.5],
            [1, 0, 3],
          ],
        ],
        [[1]],
      ],
      "blank",
      0,
      2,
    ],
    ["ctcLoss", [steps, [[1, 2], [1], [1]]], "zeroInfinity", false, true],
    ["ctcGreedyDecode", [steps], "layout", "NTC", "TNC"],
    ["ctcBeamDecode", [steps], "topK", 1, 2],
    ["hingeLoss", [rows, classes], "margin", 1, 2],
    ["lvq2Loss", [rows, [1, 1, 0, 0]], "margin", 1, 2],
    ["squareSquareLoss", [rows, classes], "margin", 1, 2],
    ["squareExponentialLoss", [rows, classes], "beta", 1, 2],
    ["energy.nllLoss", [rows, classes], "beta", 1, 2],
    ["meeLoss", [rows, classes], "beta", 1, 2],
    ["contrastiveLoss", [rows, classes], "surrogate", "hinge", "log"],
    ["contrastiveLoss", [rows, classes], "margin", 1, 2],
  ];
  test.each(defaults)("%s(%j): %s is %j", (name, args, option, value, other) => {
    const own = args.filter((arg) => typeof arg === "object" && !Array.isArray(arg))[0] as object | undefined;
    const inputs = args.filter((arg) => arg !== own);
    const loss = named[name];
    const run = (options: object): unknown => loss?.(...inputs, { ...own, ...options });
    expect(run({ [option]: value })).toEqual(run({}));
    expect(run({ [option]: other })).not.toEqual(run({}));
  });
});

test("an input that is not there is refused by its name", () => {
  for (const row of REGISTRY) {
    const { args } = sample(row, { seed: 3, dtype: "float64", size: 4 });
    Object.keys(row.inputs).forEach((name, i) => {
      // may be left out
      if (name === "x2" && row.name === "cdist") return;
      for (const nothing of [undefined, null]) {
        const given = args.map((arg, at) => (at === i ? nothing : arg));
        expectRefusal(() => row.loss(...given), "TYPE", `${row.name}: ${name} is ${nothing}, expected `);
      }
    });
  }
});

test("rows decide the precision, if all of them are typed; labels do not", () => {
  const [single, plain] = [Float32Array.of(1, 2), [3, 4]];
  for (const [given, Numbers] of [
    [[single, single], Float32Array],
    [[single, plain], Float64Array],
    [[plain, single], Float64Array],
    [[plain, plain], Float64Array],
    [[single, Float64Array.of(3, 4)], Float64Array],
  ] as const) {
    // the types would not let rows of two kinds in
    const rows = given as unknown as perdida.Input;
    const { data, shape } = perdida.softmax(rows);
    expect(data).toBeInstanceOf(Numbers);
    expect(shape).toEqual([2, 2]);
    const { grads } = perdida.cosineEmbeddingLoss.valueAndGrad(rows, rows, [1, -1]);
    expect(grads.input1.data).toBeInstanceOf(Numbers);
    expect(crossEntropyLoss.valueAndGrad(rows, [1, 0]).grads.input.data).toBeInstanceOf(Numbers);
    const mined = perdida.batchAllTripletLoss.valueAndGrad(rows, [1, 0]);
    expect(mined.grads.embeddings.data).toBeInstanceOf(Numbers);
  }
});

test("what flows into a reduced loss is a number in any form", () => {
  for (const name of ENGINES) {
    on(name, () => {
      const grad = (upstream: perdida.Input) => mseLoss.valueAndGrad([1, 2], 0, { upstream }).grads.input;
      for (const three of [[3], Float32Array.of(3), BigInt64Array.of(3n), tensor(Int32Array.of(3), [])])
        expect(grad(three)).toEqual(grad(3));
      expect(Array.from(grad(3).data)).toEqual([3, 6]);
      expectRefusal(
        () => grad([1, 2]),
        "SHAPE",
        'mseLoss: upstream is of shape [2], expected a number with reduction "mean"',
      );
    });
  }
});

test("of a long text the first 40 characters are told", () => {
  const refused = (text: string, told: string): void =>
    expectRefusal(() => mseLoss([1], [1], { reduction: text as "mean" }), "OPTION", `is "${told}", expected`);
  refused("x".repeat(40), "x".repeat(40));
  refused("x".repeat(41), `${"x".repeat(40)}...`);
});

test("a distance of the caller's own needs no core", async () => {
  const library = await freshLibrary();
  const module = vi.spyOn(WebAssembly, "Module");
  try {
    const distance = (x: Float64Array, y: Float64Array) => ({
      value: Math.abs((x[0] as number) - (y[0] as number)),
      gradX: [1],
      gradY: [-1],
    });
    const { value } = library.tripletMarginWithDistanceLoss.valueAndGrad([[1]], [[2]], [[4]], { distance });
    expect(value).toBe(0);
    expect(module).not.toHaveBeenCalled();
  } finally {
    module.mockRestore();
  }
});

test("a distance of the caller's own may make the memory grow under the tensors that it is called for", () => {
  const [a, p, n] = [1, 2, 4].map((x) => {
    const made = perdida.allocate([1, 1], "float64");
    made.data[0] = x;
    return made;
  }) as [perdida.AllocatedTensor, perdida.AllocatedTensor, perdida.AllocatedTensor];
  const grads = { anchor: perdida.allocate([1, 1], "float64") };
  let large: perdida.AllocatedTensor | undefined;
  const distance = (x: Float64Array, y: Float64Array) => {
    large ??= perdida.allocate([perdida.engine().memory.total]);
    return { value: Math.abs((x[0] as number) - (y[0] as number)), gradX: [7], gradY: [0] };
  };
  const options = { distance, margin: 3, wrt: ["anchor"] as const, out: { grads } };
  const result = perdida.tripletMarginWithDistanceLoss.valueAndGrad(a, p, n, options);
  expect(result.value).toBe(1);
  expect(result.grads.anchor).toBe(grads.anchor);
  for (const made of [a, p, n, grads.anchor, large]) made?.dispose();
});

describe("ready", () => {
  const core = pathToFileURL(join(ROOT, "ts/runtime/generated/core.wasm"));

  test.each([
    ["a URL", core],
    ["its text", core.href],
  ])("reads a file: %s", async (_name, source) => {
    const library = await freshLibrary();
    expect((await library.ready(source)).name).toBe("wasm");
  });

  test.each([
    ["that is not there", new URL("none.wasm", core), process],
    ["where there is no way to read it", core, { ...process, getBuiltinModule: undefined }],
  ])("a file %s is refused", async (_name, source, stub) => {
    vi.stubGlobal("process", stub);
    const library = await freshLibrary();
    await expect(library.ready(source)).rejects.toMatchObject({
      name: "RangeError",
      code: "ENGINE",
      argument: "source",
      received: JSON.stringify(source.href.length > 40 ? `${source.href.slice(0, 40)}...` : source.href),
      expected: "a file that can be read here, or its bytes",
    });
  });
});
