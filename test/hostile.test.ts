/** What hostile and clumsy callers hand over: refused in words before anything is written, or answered rightly, by both engines. */
import { describe, expect, test } from "vitest";
import * as energies from "../ts/energy.js";
import * as library from "../ts/index.js";
import { expectRefusal } from "./support/refusal.js";

const { allocate, engine, setEngine, tensor, AllocatedTensor } = library;

/** What an answer may have. */
interface Found {
  readonly value: { readonly data: Float32Array };
  readonly grads: Record<string, { readonly data: Float32Array }>;
  readonly data: Float32Array;
  readonly states: { readonly shape: readonly number[] };
  readonly active: number;
  readonly energy: number;
}
type Face = ((...args: unknown[]) => Found) & { valueAndGrad(...args: unknown[]): Found };
// the types would not let most of this in
const all = { ...library, ...energies } as unknown as Record<string, Face>;
const call = (name: string, ...args: unknown[]): Found => (all[name] as Face)(...args);
const both = (name: string, ...args: unknown[]): Found => (all[name] as Face).valueAndGrad(...args);

const detach = (array: { readonly buffer: unknown }): void => {
  const buffer = array.buffer as ArrayBuffer;
  structuredClone(buffer, { transfer: [buffer] });
};
const times = <T>(n: number, x: T): T[] => new Array<T>(n).fill(x);
/** [n, 1] and [1, n]: broadcast, they have n * n numbers. */
const column = (n: number, ...ones: number[]) => ({ data: new Float32Array(n), shape: [n, 1, ...ones] });
const row = (n: number, ...ones: number[]) => ({ data: new Float32Array(n), shape: [1, n, ...ones] });

describe.each(["wasm", "js"] as const)("on the %s engine", (name) => {
  const on = (what: string, run: () => void): void =>
    test(what, () => {
      setEngine(name);
      run();
      setEngine("auto");
    });
  const refused = (what: string, run: () => unknown, code: string, words: string): void =>
    on(what, () => {
      const before = engine().memory.allocated;
      expectRefusal(run, code, words);
      expect(engine().memory.allocated).toBe(before);
    });

  describe("arrays that are none", () => {
    const proxy = new Proxy(new Float32Array(3), {});
    const fake = Object.create(Float32Array.prototype) as object;
    const lying = Object.defineProperty(new Float32Array(3), "length", { value: 100 });
    refused("a proxy", () => call("mseLoss", proxy, 1), "TYPE", "input is an object");
    refused("a prototype alone", () => call("mseLoss", fake, 1), "TYPE", "input is an object");
    refused("tensor of a proxy", () => call("tensor", proxy, [3]), "TYPE", "data is an object");
    refused("a length of its own", () => call("mseLoss", lying, 1), "BUFFER", "an argument is an array");
    for (const input of [proxy, fake])
      refused(
        "among outputs",
        () => both("mseLoss", [1, 2, 3], 1, { out: { grads: { input } } }),
        "TYPE",
        "out.grads.input",
      );
    type Growing<B> = new (length: number, options: { maxByteLength: number }) => B;
    const growing = { maxByteLength: 16 };
    const gone = new Float32Array(2);
    detach(gone);
    for (const [which, array] of [
      ["whose buffer is detached", gone],
      [
        "on a resizable buffer",
        new Float32Array(new (ArrayBuffer as unknown as Growing<ArrayBuffer>)(8, growing)),
      ],
      [
        "on a resizable buffer",
        new Float32Array(new (SharedArrayBuffer as unknown as Growing<SharedArrayBuffer>)(8, growing)),
      ],
      ["on a SharedArrayBuffer", new Float32Array(new SharedArrayBuffer(8))],
    ] as const) {
      const expected = `is an array ${which}, expected an array on a fixed, attached ArrayBuffer`;
      const kind = array.buffer.constructor.name;
      refused(`${which}, ${kind}`, () => call("mseLoss", array, 1), "BUFFER", `input ${expected}`);
      refused(
        `an output ${which}, ${kind}`,
        () => both("mseLoss", [1, 2], 1, { out: { grads: { input: array } } }),
        "BUFFER",
        `out.grads.input ${expected}`,
      );
    }
    on("an array of nothing on a buffer that is there is one", () => {
      expect(call("mseLoss", new Float32Array(0), new Float32Array(0), { reduction: "sum" })).toBe(0);
    });
    on("a length of its own, in the core's memory", () => {
      const [t, u] = [allocate([4]), allocate([40])];
      const value = Object.defineProperty(t.data, "length", { value: 40 });
      expectRefusal(
        () => call("mseLoss", times(40, 2), 1, { reduction: "none", out: { value } }),
        "LENGTH",
        "out.value is an array of 4, expected an array of 40",
      );
      expect(u.data.every((x) => x === 0)).toBe(true);
      for (const one of [t, u]) one.dispose();
    });
  });

  describe("subclasses of typed arrays run nothing of their own in a call", () => {
    const boom = (): never => {
      throw new Error("the caller's own code");
    };
    class Mine extends Float32Array {
      static get [Symbol.species](): never {
        return boom();
      }
      override get [Symbol.toStringTag](): never {
        return "Mine" as never;
      }
      override subarray = boom;
      override slice = boom;
      override set = boom;
    }
    on("in, out, in pieces, over each other", () => {
      for (const n of [3, 50_000]) {
        const [x, value, grad] = [new Mine(n).fill(3), new Mine(n), new Mine(n)];
        const given = { reduction: "none", out: { value, grads: { input: grad } } };
        const found = both("mseLoss", x, new Float32Array(n), given);
        expect(found.value.data).toBe(value);
        expect([value[n - 1], grad[n - 1]]).toEqual([9, 6]);
        both("mseLoss", x, new Float32Array(n), { reduction: "sum", out: { grads: { input: x } } });
        expect([x[0], x[n - 1]]).toEqual([6, 6]);
      }
    });
    on("with sums over what was broadcast, and callbacks", () => {
      const [x, grad] = [new Mine(1).fill(3), new Mine(1)];
      both("mseLoss", x, new Float32Array(5), { reduction: "sum", out: { grads: { input: grad } } });
      expect(grad[0]).toBe(30);
      const half = (a: Float64Array, b: Float64Array) => ({
        value: Math.abs((a[0] as number) - (b[0] as number)),
        gradX: [1],
        gradY: [-1],
      });
      both("tripletMarginWithDistanceLoss", x, new Mine(1), new Mine(1), {
        distance: half,
        out: { grads: { anchor: grad } },
      });
      expect(grad[0]).toBe(0);
    });
  });

  describe("code of the caller's that runs while arguments are read", () => {
    on("a getter of an output's array may dispose of another output, whose block is then not written", () => {
      const value = allocate([2], "float64");
      let other: library.AllocatedTensor | undefined;
      const input = {
        shape: [2, 3],
        get data() {
          value.dispose();
          other ??= allocate([2], "float64");
          other.data.fill(7);
          return new Float64Array(6);
        },
      };
      const x = { data: new Float64Array(6), shape: [2, 3] };
      expectRefusal(
        () => both("crossEntropyLoss", x, [0, 1], { reduction: "none", out: { value, grads: { input } } }),
        "DISPOSED",
        "crossEntropyLoss: out.value is disposed, expected a tensor in use",
      );
      expect(Array.from(other?.data ?? [])).toEqual([7, 7]);
      other?.dispose();
    });
    on(
      "shapes and names are read before any array has its place: what disposes of an output later is not asked",
      () => {
        for (const spoilt of ["shape", "wrt"]) {
          const value = allocate([2], "float64");
          let isIn = false;
          let other: library.AllocatedTensor | undefined;
          const spoil = <T extends object>(array: T): T =>
            new Proxy(array, {
              get(target, key, receiver) {
                // the slot of the value is there by now
                if (isIn && other === undefined) {
                  value.dispose();
                  other = allocate([2], "float64");
                  other.data.fill(7);
                }
                return Reflect.get(target, key, receiver) as unknown;
              },
            });
          const out = {
            get value() {
              isIn = true;
              return value;
            },
          };
          const shape = spoilt === "shape" ? spoil([2]) : [2];
          const wrt = spoilt === "wrt" ? spoil(["input"]) : ["input"];
          const upstream = { data: Float64Array.of(1, 1), shape };
          const answer = both("mseLoss", [1, 2], 0, { reduction: "none", wrt, upstream, out });
          expect(Array.from(other?.data ?? [7, 7])).toEqual([7, 7]);
          expect(Array.from(answer.value.data)).toEqual([1, 4]);
          value.dispose();
        }
      },
    );
    on("each property of an output is asked for once, and a tensor comes back itself", () => {
      let asked = 0;
      const input = {
        shape: [2],
        get data() {
          asked += 1;
          return new Float64Array(2);
        },
      };
      expect(both("mseLoss", [1, 2], 0, { out: { grads: { input } } }).grads.input).toBe(input);
      expect(asked).toBe(1);
    });
    on("a function of margins may change or take away the answers: they were read", () => {
      for (const spoil of [(a: Int32Array) => a.fill(99), detach]) {
        const answers = Int32Array.of(0);
        const margin = (): number => {
          if (answers.length > 0) spoil(answers);
          return 1;
        };
        const { value, grads } = both("contrastiveLoss", [[1, 1.5]], answers, { margin });
        expect(value).toBe(0.5);
        expect(Array.from(grads.energies?.data ?? [])).toEqual([1, -1]);
      }
    });
    const two = [
      [1, 2],
      [3, 1],
    ];
    const distance = () => ({ value: 1, gradX: [1, 1], gradY: [1, 1] });
    for (const [loss, argument, args] of [
      ["crossEntropyLoss", "target", (gone) => [two, gone]],
      ["nllLoss", "target", (gone) => [two, gone]],
      ["multiMarginLoss", "target", (gone) => [two, gone]],
      ["multiMarginLoss", "upstream", (gone) => [two, [1, 0], { upstream: gone }]],
      [
        "mseLoss",
        "upstream",
        (gone) => [[1, 2], [3, 3], { upstream: { data: gone.subarray(1), shape: [] } }],
      ],
      ["ctcLoss", "upstream", (gone) => [[two, two], [[1], [1]], { upstream: gone }]],
      ["energyLoss", "answers", (gone) => [two, gone]],
      ["hingeLoss", "coordinates", (gone) => [two, [0, 1], { coordinates: gone, epsilon: 0.5 }]],
      ["tripletMarginWithDistanceLoss", "positive", (gone) => [[1, 2], gone, [3, 3], { distance }]],
    ] as [string, string, (gone: Int32Array) => unknown[]][]) {
      for (const reduction of ["mean", "none"]) {
        if (argument === "upstream" && (loss === "mseLoss") !== (reduction === "mean")) continue;
        refused(
          `${loss}, ${reduction}: ${argument} is taken away before it is read`,
          () => {
            const gone = Int32Array.of(1, 0);
            const [a, b, ...rest] = args(gone);
            const given = rest.filter((other) => Array.isArray(other));
            const options = rest.find((other) => !Array.isArray(other)) as object | undefined;
            const out = {
              get value() {
                detach(gone);
                return undefined;
              },
            };
            return both(loss, a, b, ...given, { ...options, reduction, out });
          },
          "BUFFER",
          "is an array whose buffer was detached meanwhile",
        );
      }
    }
    on("or the mask, wherever that stands", () => {
      const lodged = allocate([1, 3]);
      lodged.data.set([1, 1, 0]);
      const outside = Float32Array.of(1, 1, 0);
      let big: library.AllocatedTensor | undefined;
      for (const [mask, spoil] of [
        [tensor(outside.slice(), [1, 3]), (mask: library.Tensor) => mask.data.fill(0)],
        [tensor(outside, [1, 3]), () => outside.length > 0 && detach(outside)],
        [lodged, () => (big ??= allocate([Math.ceil(engine().memory.total / 4) + 1]))],
        [lodged, () => lodged.dispose()],
      ] as const) {
        const margin = (): number => {
          spoil(mask as library.Tensor);
          return 1;
        };
        const { value, grads } = both("contrastiveLoss", [[1, 1.5, Number.NaN]], [0], { mask, margin });
        expect(value).toBe(0.5);
        expect(Array.from(grads.energies?.data ?? [])).toEqual([1, -1, 0]);
      }
      big?.dispose();
    });
    on("hooks of a beam search may take away the logits, and change the labels that they are given", () => {
      const numbers = [0, 1, 2, 2, 0, 1, 1, 2, 0];
      const options = { topK: 3, extend: () => 0 };
      const expected = call("ctcBeamDecode", tensor(Float32Array.from(numbers), [3, 3]), options);
      const outside = Float32Array.from(numbers);
      const lodged = allocate([3, 3]);
      lodged.data.set(numbers);
      let big: library.AllocatedTensor | undefined;
      for (const [logits, spoil] of [
        [tensor(outside, [3, 3]), () => outside.length > 0 && detach(outside)],
        [lodged, () => (big ??= allocate([Math.ceil(engine().memory.total / 4) + 1]))],
        [lodged, () => lodged.dispose()],
      ] as const) {
        const extend = (): number => {
          spoil();
          return 0;
        };
        expect(call("ctcBeamDecode", logits, { topK: 3, extend })).toEqual(expected);
      }
      big?.dispose();
      const finish = (labels: number[]): number => labels.push(99) * 0;
      const found = call("ctcBeamDecode", tensor(Float32Array.from(numbers), [3, 3]), { topK: 3, finish });
      expect(found).toEqual(expected);
    });
    for (const decode of ["ctcGreedyDecode", "ctcBeamDecode"])
      refused(
        `${decode}: logits are taken away before they are read`,
        () => {
          const gone = Float32Array.of(0, 1, 1, 0);
          const options = {
            get blank() {
              detach(gone);
              return 0;
            },
          };
          return call(decode, tensor(gone, [2, 2]), options);
        },
        "BUFFER",
        "is an array whose buffer was detached meanwhile",
      );
    on("what a distance gives is asked for once", () => {
      let asked = 0;
      const distance = () => ({
        get value() {
          return asked++ % 2 === 0 ? 1 : "x";
        },
        gradX: [1],
        gradY: [1],
      });
      expectRefusal(
        () => both("tripletMarginWithDistanceLoss", [[1]], [[2]], [[3]], { distance }),
        "TYPE",
        "distance(x, y).value",
      );
      expect(asked).toBe(2);
    });
    refused(
      "a distance's gradient on a DataView",
      () =>
        both("tripletMarginWithDistanceLoss", [1], [2], [3], {
          distance: () => ({ value: 1, gradX: new DataView(new ArrayBuffer(8)), gradY: [1] }),
        }),
      "TYPE",
      "distance(x, y).gradX is a DataView of 8",
    );
    on("a shape that is something else when it is read again does not reach the books of the memory", () => {
      let asked = 0;
      const shape = new Proxy([4], {
        get: (target, key, receiver) =>
          key === "0" ? (asked++ === 0 ? 4 : "x") : Reflect.get(target, key, receiver),
      });
      const before = engine().memory.allocated;
      const t = allocate(shape);
      expect([t.data.length, [...t.shape]]).toEqual([4, [4]]);
      t.dispose();
      expect(engine().memory.allocated).toBe(before);
    });
  });

  on("shape and precision of a tensor in the core cannot be assigned", () => {
    const t = allocate([2, 3]);
    expect(t).toBeInstanceOf(AllocatedTensor);
    expect(() => Object.assign(t, { shape: [1000] })).toThrow(TypeError);
    expect(() => Object.assign(t, { dtype: "float64" })).toThrow(TypeError);
    expect(t.data.length).toBe(6);
    t.dispose();
  });

  describe("more than there is room for", () => {
    const full = (what: string, run: () => unknown): void => refused(what, run, "OUT_OF_MEMORY", "expected");
    full("a sparse array", () => call("mseLoss", new Array(2 ** 32 - 1), 1));
    full("arrays that are nested in many places", () => {
      let x: unknown[] = times(1000, 1);
      for (let i = 0; i < 4; i++) x = times(1000, x);
      return call("mseLoss", x, 1);
    });
    full("what is broadcast", () => call("mseLoss", column(1e6), row(1e6)));
    full("vectors that are", () => call("pairwiseDistance", column(1e6, 1), row(1e6, 1)));
    full("copies for a distance", () =>
      call("tripletMarginWithDistanceLoss", column(1e6, 1), row(1e6, 1), row(1e6, 1), { distance: () => 0 }),
    );
    full("the nearest", () => call("nearest", column(2e5), column(2e5), 2e5));
    full("a tensor", () => allocate([2 ** 53]));
    full("a tensor of no number's size", () => allocate([1e300, 1e300]));
  });

  describe("enormous counts of nothing", () => {
    const none = { data: new Float32Array(0), shape: [0, 2 ** 30, 3] };
    const one = { data: new Float32Array(0), shape: [2 ** 30, 0, 3] };
    for (const [logits, layout] of [
      [none, "TNC"],
      [one, "NTC"],
    ] as const) {
      const words = "at most 1048576 samples that have no steps";
      for (const loss of ["ctcLoss", "ctcPosteriors", "ctcAlign"])
        for (const targets of [[], new Int32Array(0), { data: new Int32Array(0), shape: [2 ** 30, 0] }])
          refused(`${loss}, ${layout}`, () => call(loss, logits, targets, { layout }), "SHAPE", words);
      for (const decode of ["ctcGreedyDecode", "ctcBeamDecode"])
        refused(`${decode}, ${layout}`, () => call(decode, logits, { layout }), "SHAPE", words);
    }
    on("no sample of enormous length is answered", () => {
      expect(call("ctcLoss", none, [], { reduction: "sum" })).toBe(0);
      expect(call("ctcGreedyDecode", none)).toEqual([]);
    });
    const rows = { data: new Float32Array(0), shape: [2 ** 31, 0] };
    for (const loss of [
      "crossEntropyLoss",
      "logSumExp",
      "softmax",
      "cdist",
      "energyLoss",
      "pairwiseDistance",
      "infoNceLoss",
    ])
      refused(
        `${loss} of rows of nothing`,
        () => call(loss, rows, ...(loss.length < 10 && loss !== "infoNceLoss" ? [] : [rows])),
        "SHAPE",
        "at least one",
      );
    on("empty batches of wide rows are answered", () => {
      const wide = { data: new Float32Array(0), shape: [0, 1000, 50257] };
      expect(call("softmax", wide).data.length).toBe(0);
      expect(call("mseLoss", wide, wide, { reduction: "sum" })).toBe(0);
      expect(call("batchHardTripletLoss", { data: new Float32Array(0), shape: [0, 0] }, [])).toBeNaN();
      // of no vectors of so many numbers the core made a trap, and was of no use afterwards
      for (const length of [4, 2 ** 31, 2 ** 32 - 1])
        for (const loss of ["batchAllTripletLoss", "batchHardTripletLoss", "supervisedContrastiveLoss"]) {
          const empty = both(loss, { data: new Float32Array(0), shape: [0, length] }, []);
          expect([empty.value, empty.active]).toEqual([Number.NaN, 0]);
          expect(call("logSumExp", [0, 0]).data[0]).toBe(Math.log(2));
        }
    });
    refused(
      "a target that is longer than 32 bits say",
      () => call("ctcLoss", [[[0, 0]]], [new Array(2 ** 31)]),
      "LENGTH",
      "targetLengths[0] is 2147483648",
    );
  });

  describe("more than a call has arguments", () => {
    const n = 200_000;
    on("samples of energies", () => {
      const x = Array.from({ length: n }, (_, i) => (i % 2 === 0 ? [1, 2] : [1]));
      expect(call("energyLoss", x, new Int32Array(n))).toBe(1);
    });
    on("samples of which the states are asked for", () => {
      const targets = { data: new Int32Array(n).fill(1), shape: [n, 1] };
      const found = call("ctcPosteriors", { data: new Float32Array(2 * n), shape: [n, 1, 2] }, targets, {
        states: true,
      });
      expect(found.states.shape).toEqual([n, 1, 3]);
    });
    on("coordinates of a continuous answer", () => {
      const energy = (y: Float64Array) => ({
        value: y.reduce((sum, x) => sum + x * x, 0),
        grad: y.map((x) => 2 * x),
      });
      const found = call("mostOffendingContinuous", energy, new Float64Array(n), {
        epsilon: 1,
        starts: 1,
        steps: 3,
      });
      expect(found.energy).toBeCloseTo(1, 6);
    });
  });

  describe("collections and nests in the place of options and masks", () => {
    const cycle: unknown[] = [];
    for (let i = 0; i < 10; i++) cycle.push(cycle);
    refused(
      "a map",
      () => call("mseLoss", 1, 1, new Map([["reduction", "sum"]])),
      "TYPE",
      "options is a collection",
    );
    refused("an array of outputs", () => call("mseLoss", 1, 1, { out: [] }), "TYPE", "out is an array of 0");
    refused(
      "an array of gradients",
      () => both("mseLoss", 1, 1, { out: { grads: [] } }),
      "TYPE",
      "out.grads is an array of 0",
    );
    refused(
      "a mask that contains itself",
      () => call("energyLoss", [[1, 2]], [0], { mask: cycle }),
      "RANK",
      "mask is nested more than 32 deep",
    );
    const points = (data: unknown) => () =>
      call("hingeLoss", [[1, 2]], [0], { coordinates: { data, shape: [2, 1] } });
    refused("coordinates of words", points(["1", "2"]), "TYPE", 'coordinates[0] is "1", expected a number');
    refused("coordinates of nothing", points(new Array(2 ** 30)), "TYPE", "coordinates[0] is undefined");
    refused("coordinates that contain themselves", points(cycle), "RANK", "coordinates is nested");
    refused(
      "energies of nothing",
      () => call("hingeLoss", new Array(3), [0]),
      "TYPE",
      "energies[0] is undefined",
    );
    on("booleans are a mask, and no energies", () => {
      expect(call("energyLoss", [[1, 2]], [0], { mask: [[true, false]] })).toBe(1);
      expectRefusal(
        () => call("energyLoss", [[true, false]], [0]),
        "TYPE",
        "energies[0][0] is true, expected a number",
      );
    });
    refused(
      "labels that were taken away",
      () => {
        const set = new Int32Array(2);
        detach(set);
        return call("multiLabelMarginLoss", [[1, 2]], [set]);
      },
      "BUFFER",
      "target[0] is an array whose buffer is detached",
    );
    on("bigints are numbers, broadcast or not, few or many", () => {
      for (const n of [2, 100]) {
        const numbers = Array.from({ length: n }, (_, i) => i);
        const big = BigInt64Array.from(numbers, BigInt);
        for (const target of [3, numbers.map((i) => 2 * i)])
          expect(both("mseLoss", big, target)).toEqual(both("mseLoss", numbers, target));
        expect(both("softmax", big)).toEqual(both("softmax", numbers));
      }
    });
    on("labels as bigints are whole numbers, and told apart beyond 2^53", () => {
      expect(call("multiLabelMarginLoss", [[1, 2]], [BigInt64Array.of(0n)])).toBe(
        call("multiLabelMarginLoss", [[1, 2]], [[0]]),
      );
      const x = [
        [1, 2],
        [3, 4],
        [5, 6],
      ];
      const labels = BigInt64Array.of(2n ** 60n, 2n ** 60n + 1n, 2n ** 60n);
      expect(both("batchAllTripletLoss", x, labels).active).toBe(
        both("batchAllTripletLoss", x, [0, 1, 0]).active,
      );
    });
  });

  describe("callbacks and records of the energies", () => {
    on("gradients as bigints are numbers", () => {
      const ask = (grad: unknown) =>
        call("mostOffendingContinuous", () => ({ value: 1, grad }), 1, { starts: 2 });
      expect(ask(BigInt64Array.of(0n))).toEqual(ask([0]));
    });
    refused(
      "starts that no memory has room for",
      () => call("mostOffendingContinuous", () => 0, 1, { starts: 2 ** 53 }),
      "NUMBER",
      "starts is 9007199254740992",
    );
    const from = (json: unknown) => () => energies.lossFunctional.from(json as never);
    refused("text that is no JSON", from("{"), "TYPE", 'json is "{"');
    const whole = { type: "perdida.lossFunctional", count: 1, units: "0", nan: 1, positive: 1, negative: 0 };
    refused("more numbers that are none than numbers", from(whole), "NUMBER", "json.count is 1");
  });
});
