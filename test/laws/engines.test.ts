/**
 * Laws over the whole registry on generated arguments, hostile numbers among them: the engines agree, `wrt` and `out`
 * change nothing but what is computed and where it goes, over the inputs as well, a value comes out alike with and without its gradient.
 */
import fc from "fast-check";
import { describe, test } from "vitest";
import { allocate } from "../../ts/index.js";
import { type AnyLoss, REGISTRY, type Row } from "../../ts/registry.js";
import { agree } from "../support/agree.js";
import { expectSameBits, valuesOf } from "../support/close.js";
import { ENGINES, on } from "../support/engines.js";
import { randomStream, sample, withReduction } from "../support/generate.js";

const RUNS = Number(process.env.PERDIDA_RUNS ?? 120);
const arguments_ = fc.record({
  seed: fc.integer({ min: 0, max: 2 ** 31 }),
  dtype: fc.constantFrom("float32" as const, "float64" as const),
  size: fc.integer({ min: 1, max: 70 }),
  hostile: fc.boolean(),
});
type Wishes = { seed: number; dtype: "float32" | "float64"; size: number; hostile: boolean };

function call(row: Row, wishes: Wishes) {
  const s = sample(row, wishes);
  return { args: s.args, options: withReduction(row, s, wishes.seed), hostile: s.hostile };
}

/**
 * The largest of the losses that a number was made of. Where hostile ones cancel (1e30 and -1e30 of hingeEmbeddingLoss), what is left
 * depends on the order they are added up in: it is as exact as the largest is.
 */
function largestLoss(loss: AnyLoss, args: readonly unknown[], options: object): number {
  const { value } = on("js", () => loss.valueAndGrad(...args, { ...options, reduction: "none", wrt: [] }));
  let largest = 0;
  for (const x of Array.from(valuesOf(value)))
    if (Number.isFinite(x)) largest = Math.max(largest, Math.abs(x));
  return largest;
}

function title(row: Row): string {
  return `${row.entry === "perdida" ? "" : "energy."}${row.name}(${Object.entries(row.inputs)
    .map(([n, d]) => `${n}: ${d}`)
    .join(", ")})`;
}

for (const row of REGISTRY) {
  const loss: AnyLoss = row.loss;
  describe(title(row), () => {
    test("the wasm engine agrees with the reference", () => {
      fc.assert(
        fc.property(arguments_, (wishes) => {
          const { args, options, hostile } = call(row, wishes);
          const wasm = on("wasm", () => loss.valueAndGrad(...args, options));
          const js = on("js", () => loss.valueAndGrad(...args, options));
          const terms = hostile && typeof js.value === "number" ? largestLoss(loss, args, options) : 0;
          agree(valuesOf(wasm.value), valuesOf(js.value), wishes.dtype, hostile, "value", terms);
          for (const name in js.grads) {
            const [a, e] = [wasm.grads[name], js.grads[name]].map(
              (g) => (g as { data: ArrayLike<number> }).data,
            ) as [ArrayLike<number>, ArrayLike<number>];
            agree(a, e, wishes.dtype, hostile, `gradient of ${name}`);
          }
        }),
        { numRuns: RUNS },
      );
    });

    test("they agree where each loss has a gradient of its own that flows in", () => {
      fc.assert(
        fc.property(arguments_, (wishes) => {
          const { args, options } = sample(row, { ...wishes, hostile: false });
          const plain = { ...options, ...(row.kind === "mapping" ? {} : { reduction: "none" }) };
          const value = on("js", () => loss(...args, plain)) as { data: ArrayLike<number>; shape: number[] };
          const random = randomStream(wishes.seed);
          const data = Float64Array.from(value.data, () => 4 * random() - 2);
          const flowing = { ...plain, upstream: { data, shape: value.shape } };
          const by = (engine: "wasm" | "js") => on(engine, () => loss.valueAndGrad(...args, flowing).grads);
          const [wasm, js] = [by("wasm"), by("js")];
          for (const [name, { data }] of Object.entries(js)) {
            agree((wasm[name] as { data: ArrayLike<number> }).data, data, wishes.dtype, false, name);
          }
        }),
        { numRuns: RUNS / 2 },
      );
    });

    test("a value comes out alike with and without its gradient", () => {
      fc.assert(
        fc.property(arguments_, (wishes) => {
          const { args, options } = call(row, wishes);
          const { upstream: _, ...plain } = options as { upstream?: unknown };
          expectSameBits(
            valuesOf(loss(...args, plain)),
            valuesOf(loss.valueAndGrad(...args, plain).value),
            "value",
          );
        }),
        { numRuns: RUNS / 2 },
      );
    });

    test("wrt leaves out what was not asked for and changes nothing else", () => {
      fc.assert(
        fc.property(arguments_, fc.subarray([...row.differentiable]), (wishes, wrt) => {
          const { args, options } = call(row, wishes);
          const all = loss.valueAndGrad(...args, options);
          const some = loss.valueAndGrad(...args, { ...options, wrt });
          const names = Object.keys(some.grads).sort().join();
          if (
            names !==
            wrt
              .filter((n) => n in all.grads)
              .sort()
              .join()
          )
            throw new Error(`gradients of ${names}`);
          for (const name of Object.keys(some.grads)) {
            expectSameBits(
              (some.grads[name] as { data: ArrayLike<number> }).data,
              (all.grads[name] as { data: ArrayLike<number> }).data,
              name,
            );
          }
        }),
        { numRuns: RUNS / 2 },
      );
    });

    test("a gradient may be written over its input, on either engine", () => {
      fc.assert(
        fc.property(arguments_, fc.constantFrom(...ENGINES), fc.boolean(), (wishes, engine, lodged) => {
          const { args, options } = call(row, wishes);
          on(engine, () => {
            const expected = loss.valueAndGrad(...args, options);
            const grads: Record<string, unknown> = {};
            const kept: { dispose(): void }[] = [];
            const inputs = args.map((arg, i) => {
              const name = Object.keys(row.inputs)[i] as string;
              if (expected.grads[name] === undefined) return arg;
              const { data, shape } = arg as { data: Float32Array; shape: number[] };
              if (!lodged) {
                grads[name] = { data: data.slice(), shape };
                return grads[name];
              }
              const tensor = allocate(shape, wishes.dtype);
              tensor.data.set(data);
              kept.push(tensor);
              grads[name] = tensor;
              return tensor;
            });
            const actual = loss.valueAndGrad(...inputs, { ...options, out: { grads } });
            expectSameBits(valuesOf(actual.value), valuesOf(expected.value), "value");
            for (const name in grads)
              expectSameBits(
                (grads[name] as { data: ArrayLike<number> }).data,
                (expected.grads[name] as { data: ArrayLike<number> }).data,
                name,
              );
            for (const tensor of kept) tensor.dispose();
          });
        }),
        { numRuns: RUNS / 2 },
      );
    });

    test("arrays in the core's memory, in and out, give the same bits", () => {
      fc.assert(
        fc.property(arguments_, (wishes) => {
          const { args, options } = call(row, wishes);
          const expected = loss.valueAndGrad(...args, options);
          const held: { dispose(): void }[] = [];
          const lodge = (t: unknown): unknown => {
            const { data, shape } = t as { data: Float32Array; shape: number[] };
            if (!(data instanceof Float32Array) && !((data as unknown) instanceof Float64Array)) return t;
            const tensor = allocate(shape, data instanceof Float32Array ? "float32" : "float64");
            tensor.data.set(data);
            held.push(tensor);
            return tensor;
          };
          try {
            const inside = args.map((a) =>
              typeof a === "object" && a !== null && "data" in a ? lodge(a) : a,
            );
            const grads = Object.fromEntries(
              Object.entries(expected.grads).map(([name, g]) => [
                name,
                lodge({
                  data: new (g.data.constructor as Float32ArrayConstructor)(g.data.length),
                  shape: g.shape,
                }),
              ]),
            );
            const value = typeof expected.value === "number" ? undefined : lodge(expected.value);
            const actual = loss.valueAndGrad(...inside, { ...options, out: { value, grads } });
            expectSameBits(valuesOf(actual.value), valuesOf(expected.value), "value");
            for (const name in grads) {
              if (actual.grads[name] !== grads[name]) throw new Error(`out.grads.${name} did not come back`);
              expectSameBits(
                (grads[name] as { data: ArrayLike<number> }).data,
                (expected.grads[name] as { data: ArrayLike<number> }).data,
                name,
              );
            }
          } finally {
            for (const tensor of held) tensor.dispose();
          }
        }),
        { numRuns: RUNS / 2 },
      );
    });
  });
}
