/**
 * A program of calls, and what must hold of each, whatever its arguments are:
 *
 * - it throws an error with all its details and has written nothing, or
 * - it gives the bits that the same call gives on copies of its inputs, wherever those lie and whatever they share with the outputs,
 *   and has written nothing but its outputs;
 * - the other engine agrees;
 * - what was allocated can be given back.
 */
import type { DType, FloatArray } from "../../ts/index.js";
import type { AnyLoss, Row } from "../../ts/registry.js";
import { agree } from "../support/agree.js";
import { expectSameBits, valuesOf } from "../support/close.js";
import { sample, withReduction } from "../support/generate.js";
import type { Library } from "../support/library.js";
import { aside, callWithCallback } from "./callbacks.js";
import { junk, refusesOutputs, wrongOutput } from "./junk.js";
import { Dice, type Place, WIDTH, World } from "./world.js";

export const KINDS = [
  "call",
  "aliased",
  "wrong",
  "wrong output",
  "callback",
  "aside",
  "allocate",
  "dispose",
  "grow",
  "engine",
] as const;
export interface Step {
  readonly kind: (typeof KINDS)[number];
  readonly seed: number;
}

/** Runs a program, and gives how many calls of the library it has compared. */
export function runProgram(library: Library, steps: readonly Step[]): number {
  const world = new World(library, steps.length);
  let calls = 0;
  try {
    for (const { kind, seed } of steps) {
      const dice = new Dice(seed);
      world.trim();
      if (kind === "allocate") world.allocate([dice.below(100), dice.below(4)], dice.pick(DTYPES));
      else if (kind === "dispose") world.drop(dice.below(world.tensors.length));
      else if (kind === "grow") world.grow(dice);
      else if (kind === "engine") world.choose(dice.pick(["wasm", "js", "auto"]));
      else {
        calls += 1;
        if (kind === "callback") callWithCallback(world, dice, call);
        else if (kind === "aside") aside(world, dice);
        else call(world, dice, kind);
      }
    }
  } catch (error) {
    // what is left over is no news
    while (world.tensors.length > 0) world.drop(0);
    library.setEngine("auto");
    throw error;
  }
  world.close();
  return calls;
}

const DTYPES: readonly DType[] = ["float32", "float64"];

/** What a call gave, or how it was refused. */
export interface Outcome {
  readonly value?: unknown;
  readonly grads?: Record<string, { readonly data: FloatArray; readonly shape: readonly number[] }>;
  readonly error?: { readonly code: string; readonly message: string };
}

/** Runs a call, and looks at its error, if it ends in one. */
export function outcome(run: () => unknown): Outcome {
  try {
    return run() as Outcome;
  } catch (error) {
    const { code, argument, expected, received, message } = error as Record<string, unknown>;
    if (!(error instanceof TypeError || error instanceof RangeError)) throw error;
    for (const detail of [code, argument, expected, received]) {
      if (typeof detail !== "string") throw new Error(`an error without details: ${(error as Error).stack}`);
    }
    return { error: { code: code as string, message: message as string } };
  }
}

/** An argument that was placed somewhere. */
interface Placed {
  readonly place: Place;
  readonly shape: readonly number[];
}

function isTensor(x: unknown): x is { data: FloatArray; shape: readonly number[] } {
  const data = (x as { data?: unknown } | null)?.data;
  return data instanceof Float32Array || data instanceof Float64Array;
}

/** What goes in, on the memory as it is now. */
export function argument(world: World, { place, shape }: Placed, form: number): unknown {
  const { owner } = place;
  const isWhole = !(owner instanceof ArrayBuffer) && owner.shape.join() === shape.join();
  if (isWhole && form < 6) return owner;
  const data = world.view(place);
  if (form === 6) return { data, dims: shape };
  return form === 7 && shape.length === 1 ? data : { data, shape };
}

/**
 * Makes one call on inputs that lie anywhere, with outputs that may lie on them, and compares it. `alone`: its places are its own, for
 * calls from within another.
 */
export function call(
  world: World,
  dice: Dice,
  kind: "call" | "aliased" | "wrong" | "wrong output",
  alone = false,
): void {
  const { library } = world;
  const row: Row = dice.pick(library.rows);
  const loss: AnyLoss = row.loss;
  const dtype = dice.pick(DTYPES);
  const wishes = {
    seed: dice.seed(),
    dtype,
    size: dice.chance(0.05) ? 400 : 1 + dice.below(40),
    hostile: dice.chance(0.3),
  };
  const drawn = sample(row, wishes);
  const options = withReduction(row, drawn, wishes.seed);
  const what = `${row.name}, seed ${wishes.seed}, ${dtype}, size ${wishes.size}`;
  const some = (shape: readonly number[]): Place =>
    alone ? world.fresh(dice, shape, dtype) : world.place(dice, shape, dtype);

  // inputs are placed one after the other, each perhaps over the one before: what counts is what stands there in the end
  const placed = drawn.args.map((x): Placed | undefined => {
    if (!isTensor(x)) return undefined;
    const place = some(x.shape);
    world.view(place).set(x.data);
    return { place, shape: x.shape };
  });
  // an allocation may have made room by giving back what was placed before
  if (placed.some((p) => p !== undefined && !world.isThere(p.place))) return;
  const plain: unknown[] = drawn.args.map((x, i) => {
    const p = placed[i];
    return p === undefined ? x : { data: world.view(p.place).slice(), shape: p.shape };
  });
  const isIntact = drawn.args.every((x, i) => !isTensor(x) || sameBits(x.data, (plain[i] as typeof x).data));

  let wrong = -1;
  if (kind === "wrong") {
    if (dice.chance(0.5)) {
      wrong = dice.below(plain.length);
      plain[wrong] = junk(dice);
    } else options[dice.pick([...Object.keys(row.options), ...COMMON])] = junk(dice);
    if (dice.chance(0.1)) plain.push(options);
  }
  const withGradient = dice.chance(0.8);
  const run = (args: readonly unknown[], with_: object): Outcome =>
    outcome(() => (withGradient ? loss.valueAndGrad(...args, with_) : { value: loss(...args, with_) }));
  if (withGradient && dice.chance(0.3)) options.wrt ??= row.differentiable.filter(() => dice.chance(0.5));
  const expected = {
    js: world.on("js", () => run(plain, options)),
    wasm: world.on("wasm", () => run(plain, options)),
  };
  if (expected.js.error?.code !== expected.wasm.error?.code) {
    throw new Error(
      `${what}: js ${expected.js.error?.message ?? "answers"}, wasm ${expected.wasm.error?.message ?? "answers"}`,
    );
  }
  if (isIntact && kind !== "wrong" && expected.js.error !== undefined)
    throw new Error(`${what} is refused: ${expected.js.error.message}`);
  if (isIntact && kind !== "wrong" && !("error" in expected.js))
    compareEngines(expected.wasm, expected.js, dtype, drawn.hostile, what, distances(row, plain) / 16);

  const outputs = new Map<string, { place: Place; given: () => unknown }>();
  const out = (name: string, shape: readonly number[]): void => {
    const inputs = placed.flatMap((p) => (p === undefined ? [] : [p.place]));
    const onInput = kind === "aliased" && dice.chance(0.6) ? shifted(dice, inputs, shape, dtype) : undefined;
    const place =
      onInput ??
      (kind === "call" || alone
        ? world.fresh(dice, shape, dice.chance(0.1) ? dice.pick(DTYPES) : dtype)
        : world.place(dice, shape, dtype));
    const form = dice.below(8);
    outputs.set(name, { place, given: () => argument(world, { place, shape }, form) });
  };
  const answer = expected[world.engine];
  if (answer.error === undefined && options.out === undefined) {
    const { value, grads = {} } = answer;
    if (dice.chance(0.5)) out("value", isTensor(value) ? value.shape : [1]);
    for (const name in grads) if (dice.chance(0.5)) out(name, grads[name]?.shape as number[]);
  }
  const places = [
    ...placed.flatMap((p) => (p === undefined ? [] : [p.place])),
    ...[...outputs.values()].map(({ place }) => place),
  ];
  if (places.some((place) => !world.isThere(place))) return;
  const forms = placed.map(() => dice.below(8));
  const given: Record<string, unknown> = {};
  for (const [name, { given: make }] of outputs) given[name] = make();
  const { value: outValue, ...outGrads } = given;
  const faulty = kind === "wrong output" && outputs.size > 0 ? dice.pick([...outputs.keys()]) : undefined;
  if (faulty !== undefined) {
    const length = outputs.get(faulty)?.place.length as number;
    if (faulty === "value") given.value = wrongOutput(world, dice, length);
    else outGrads[faulty] = wrongOutput(world, dice, length);
  }
  const args = plain.map((x, i) => {
    const p = placed[i];
    if (p === undefined || i === wrong) return x;
    return argument(world, p, forms[i] as number);
  });
  const before = world.snapshot(places);
  const withOut =
    outputs.size === 0
      ? options
      : { ...options, out: { value: faulty === "value" ? given.value : outValue, grads: outGrads } };
  const actual = run(args, withOut);

  if (faulty !== undefined && (withGradient || faulty === "value")) {
    if (!refusesOutputs(actual.error?.code))
      throw new Error(`${what}: a wrong output for ${faulty} gives ${actual.error?.message ?? "no error"}`);
    world.expectUnchanged(before, [], `${what}, refused,`);
    return;
  }
  if (actual.error !== undefined || answer.error !== undefined) {
    if (actual.error?.code !== answer.error?.code) {
      throw new Error(
        `${what}: ${actual.error?.message ?? "answers"}, but on copies ${answer.error?.message ?? "it answers"}`,
      );
    }
    world.expectUnchanged(before, [], `${what}, refused,`);
    return;
  }
  const written = [...outputs.values()].map(({ place }) => place);
  world.expectUnchanged(before, written, what);
  const isShared = (place: Place): boolean =>
    written.some((other) => other !== place && overlap(place, other));
  const compare = (name: string, got: unknown, want: ArrayLike<number>): void => {
    const output = outputs.get(name);
    if (output === undefined) {
      expectSameBits(valuesOf(got), want, `${what}: ${name}`);
      return;
    }
    if (isShared(output.place)) return;
    const numbers = world.view(output.place);
    const where = `${what}: ${name}, in ${describe(output.place)}`;
    // an output of doubles in a call of single precision may get more digits than the call's own array: from the js engine, which adds
    // up in it, from losses of sequences, and where a gradient is added up over what was broadcast
    const alike = numbers instanceof Float32Array === want instanceof Float32Array;
    if (!alike) agree(numbers, want, "float32", true, where);
    else expectSameBits(numbers, numbers instanceof Float32Array ? Float32Array.from(want) : want, where);
  };
  compare("value", actual.value, valuesOf(answer.value));
  for (const name in answer.grads) {
    compare(name, actual.grads?.[name], (answer.grads[name] as { data: FloatArray }).data);
  }
}

/** Options that every function has, or that one has. */
const COMMON = [
  "reduction",
  "upstream",
  "wrt",
  "out",
  "weight",
  "margin",
  "p",
  "blank",
  "inputLengths",
  "targetLengths",
  "layout",
  "ignoreIndex",
  "marginMatrix",
  "coordinates",
  "bogus",
];

function describe({ owner, offset, length }: Place): string {
  return `${owner instanceof ArrayBuffer ? "an array" : "a tensor"} from byte ${offset}, ${length} numbers`;
}

/** A place that begins at an input or near it. */
function shifted(
  dice: Dice,
  inputs: readonly Place[],
  shape: readonly number[],
  dtype: DType,
): Place | undefined {
  const length = shape.reduce((n, m) => n * m, 1);
  const bytes = length * WIDTH[dtype];
  const fits = inputs.filter(({ owner }) => sizeOf(owner) >= bytes);
  if (fits.length === 0) return undefined;
  const { owner, offset } = dice.pick(fits);
  const most = sizeOf(owner) - bytes;
  const near = offset + WIDTH[dtype] * (dice.chance(0.5) ? 0 : dice.below(9) - 4);
  const from = Math.min(Math.max(0, near), most);
  return { owner, offset: from - (from % WIDTH[dtype]), length, dtype };
}

function sizeOf(owner: Place["owner"]): number {
  return owner instanceof ArrayBuffer ? owner.byteLength : owner.data.byteLength;
}

function overlap(a: Place, b: Place): boolean {
  return (
    a.owner === b.owner &&
    a.offset < b.offset + b.length * WIDTH[b.dtype] &&
    b.offset < a.offset + a.length * WIDTH[a.dtype]
  );
}

function sameBits(a: FloatArray, b: FloatArray): boolean {
  return a.length === b.length && a.every((x, i) => Object.is(x, b[i]));
}

/**
 * How large the distances between vectors may be. A loss may be the difference of two of them, and is as exact as they are: to some
 * units in the last place, of which {@link agree} has 168 to its tolerance.
 */
function distances(row: Row, args: readonly unknown[]): number {
  if (row.family !== "vectors") return 0;
  return args.filter(isTensor).reduce((sum, { data, shape }) => {
    const length = shape[shape.length - 1] ?? 1;
    const sizes = new Float64Array(Math.ceil(data.length / length) || 1);
    data.forEach((x, i) => {
      const vector = Math.floor(i / length);
      sizes[vector] = (sizes[vector] as number) + Math.abs(x);
    });
    return sum + Math.max(...sizes);
  }, 0);
}

/** The two engines on the same arguments; `terms` is the size of what cancels in a value. */
export function compareEngines(
  wasm: Outcome,
  js: Outcome,
  dtype: DType,
  hostile: boolean,
  what: string,
  terms: number,
): void {
  // where hostile losses cancel in a sum, what is left is as exact as the largest of them: the laws look at that
  if (hostile && typeof js.value === "number") return;
  agree(valuesOf(wasm.value), valuesOf(js.value), dtype, hostile, `${what}: value`, terms);
  for (const name in js.grads) {
    const [a, e] = [wasm.grads?.[name]?.data ?? [], js.grads[name]?.data ?? []];
    agree(a, e, dtype, hostile, `${what}: gradient of ${name}`);
  }
}
