/**
 * Laws over the whole registry about samples of a batch: what comes out for one does not depend on those beside it, on its place, or on how
 * many there are, bit for bit; and what flows in only multiplies, exactly where it is a power of two.
 */
import fc from "fast-check";
import { describe, test } from "vitest";
import { type AnyLoss, REGISTRY, type Row } from "../../ts/registry.js";
import { expectSameBits, valuesOf } from "../support/close.js";
import { ENGINES, on } from "../support/engines.js";
import { randomStream, type Sample, sample, withReduction } from "../support/generate.js";
import { type Shaped, taken } from "../support/places.js";

const RUNS = Number(process.env.PERDIDA_RUNS ?? 120);

/** Where the samples of a call stand, and how many they are; none of one that has no such axis. */
function axisOf(row: Row, { args, options }: Sample): { axis: number; count: number } | undefined {
  const { shape } = args[0] as Shaped;
  if (shape.length === 1 && row.layout !== "elements") return undefined;
  const axis = row.layout === "sequences" && options.layout === "TNC" ? 1 : 0;
  return { axis, count: shape[axis] as number };
}

/** The same call for some of its samples. */
function some(row: Row, { args, options }: Sample, places: readonly number[], axis: number) {
  const pick = (list: readonly unknown[]): unknown[] => places.map((place) => list[place]);
  const few: Record<string, unknown> = { ...options };
  for (const name in row.options) {
    const choice = row.options[name] as Row["options"][string];
    if ("domain" in choice && choice.per !== "column" && few[name] !== undefined)
      few[name] = taken(few[name] as Shaped, places, 0);
  }
  if (Array.isArray(few.inputLengths)) few.inputLengths = pick(few.inputLengths);
  return {
    args: args.map((arg, i) =>
      Array.isArray(arg) ? pick(arg) : taken(arg as Shaped, places, i === 0 ? axis : 0),
    ),
    options: few,
  };
}

const arguments_ = fc.record({
  seed: fc.integer({ min: 0, max: 2 ** 31 }),
  dtype: fc.constantFrom("float32" as const, "float64" as const),
  size: fc.oneof(fc.integer({ min: 1, max: 150 }), fc.integer({ min: 150, max: 400 })),
  hostile: fc.boolean(),
});

for (const row of REGISTRY.filter(({ layout }) => layout !== "sets")) {
  const loss: AnyLoss = row.loss;
  const none = row.kind === "mapping" ? {} : { reduction: "none" };
  describe(`${row.entry === "perdida" ? "" : "energy."}${row.name}(${Object.keys(row.inputs).join(", ")})`, () => {
    test("a sample has the same bits among others, anywhere, and alone", () => {
      fc.assert(
        fc.property(arguments_, fc.constantFrom(...ENGINES), fc.boolean(), (wishes, engine, flows) => {
          const s = sample(row, wishes);
          const found = axisOf(row, s);
          if (found === undefined || found.count === 0) return;
          const { axis, count } = found;
          const random = randomStream(wishes.seed + 1);
          const length = random() < 0.3 ? 1 : 1 + Math.floor(random() * (count + 3));
          const places = Array.from({ length }, () => Math.floor(random() * count));
          // a square matrix would be one of all answers, not a row per sample
          const columns = (s.args[0] as Shaped).shape[1] as number;
          if (s.options.marginMatrix !== undefined && [count, places.length].includes(columns)) return;
          on(engine, () => {
            const run = (args: readonly unknown[], options: object) =>
              loss.valueAndGrad(...args, { ...options, ...none });
            const { shape } = run(s.args, s.options).value as Shaped;
            const data = Float64Array.from(
              { length: shape.reduce((a, b) => a * b, 1) },
              () => 4 * random() - 2,
            );
            const upstream: Shaped = {
              data: wishes.dtype === "float32" ? Float32Array.from(data) : data,
              shape,
            };
            const all = run(s.args, flows ? { ...s.options, upstream } : s.options);
            const few = some(row, s, places, axis);
            const own = flows ? { ...few.options, upstream: taken(upstream, places, 0) } : few.options;
            const alone = run(few.args, own);
            expectSameBits(
              (alone.value as Shaped).data,
              taken(all.value as Shaped, places, 0).data,
              `values (${engine})`,
            );
            for (const [name, grad] of Object.entries(all.grads))
              expectSameBits(
                (alone.grads[name] as Shaped).data,
                taken(grad, places, axis).data,
                `gradient of ${name} (${engine})`,
              );
          });
        }),
        { numRuns: RUNS },
      );
    });
  });
}

for (const row of REGISTRY) {
  const loss: AnyLoss = row.loss;
  test(`what flows into ${row.name}(${Object.keys(row.inputs).join(", ")}) multiplies exactly`, () => {
    fc.assert(
      fc.property(arguments_, fc.constantFrom(...ENGINES), (wishes, engine) => {
        const s = sample(row, { ...wishes, hostile: false });
        const options = withReduction(row, s, wishes.seed);
        const run = (factor: number) =>
          on(engine, () =>
            loss.valueAndGrad(...s.args, { ...options, upstream: factor * Number(options.upstream ?? 1) }),
          );
        const [once, more] = [run(1), run(32)];
        expectSameBits(valuesOf(more.value), valuesOf(once.value), `values (${engine})`);
        for (const [name, { data }] of Object.entries(once.grads)) {
          // below these a number has fewer digits, or is 0
          const normal = data instanceof Float32Array ? 2 ** -126 : 2 ** -1022;
          const other = (more.grads[name] as Shaped).data;
          const expected = Array.from(data, (x, i) => {
            const [exact, is] = [32 * x, other[i] as number];
            return Math.abs(x) < normal && Math.abs(is) <= 32 * normal ? is : exact;
          });
          expectSameBits(other, expected, `gradient of ${name} (${engine})`);
        }
      }),
      { numRuns: RUNS / 2 },
    );
  });
}
