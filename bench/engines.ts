/**
 * Who computes a case. Every engine gets the same numbers and says what came out, so that none is timed for computing something
 * else; rivals (torch.ts, peers/) are engines like our own.
 */
import * as perdida from "perdida";
import type { Case, CaseInput } from "./cases.js";
import { type Samples, Timer } from "./measure.js";

/** A case on an engine, ready to be timed. */
export interface Prepared {
  /**
   * The value (of an array: the sum), and for each gradient the sum of what its numbers are without their signs: what engines
   * must agree on. Undefined where the answer is not a number.
   */
  readonly answer: readonly number[] | undefined;
  /** Calls it for about so long; milliseconds per call. */
  samples(milliseconds: number): Promise<Samples>;
  /** Gives back what it holds. */
  close?(): void;
}

/** Who computes. */
export interface Engine {
  readonly name: string;
  readonly version: string;
  /** Undefined where it has no such operation. */
  prepare(one: Case, inputs: readonly CaseInput[]): Promise<Prepared | undefined>;
  close?(): void;
}

/**
 * Where the arrays of a call live: in the core's memory with `out` arrays, as in a training loop; there, but with results made anew;
 * or in JavaScript's.
 */
type Place = "core" | "anew" | "arrays";

type Result = number | { data: ArrayLike<number> };
interface AnyLoss {
  (...args: unknown[]): Result;
  valueAndGrad(...args: unknown[]): { value: Result; grads: Record<string, { data: ArrayLike<number> }> };
}

/** The functions of a build of the library. */
export interface Library {
  readonly perdida: typeof perdida;
  readonly energy: Readonly<Record<string, unknown>>;
}

/** The built library, as programs import it. */
export async function library(): Promise<Library> {
  // an entry point of its own
  const name = "perdida/energy";
  const energy = await import(name).catch(() => ({}));
  return { perdida, energy };
}

function functionOf({ perdida, energy }: Library, { name, entry }: Case): AnyLoss | undefined {
  const from: Readonly<Record<string, unknown>> = entry === "perdida" ? { ...perdida } : energy;
  return from[name.replace("energy.", "")] as AnyLoss | undefined;
}

/** Our own engine. */
export function ours(
  from: Library,
  name: string,
  engine: "wasm" | "js",
  place: Place,
  version: string,
): Engine {
  return {
    name,
    version,
    async prepare(one, inputs) {
      const f = functionOf(from, one);
      if (f === undefined) return undefined;
      const { call, close } = make(from, f, one, inputs, place);
      const { setEngine } = from.perdida;
      const run = async <T>(work: () => T | Promise<T>): Promise<T> => {
        setEngine(engine);
        try {
          return await work();
        } finally {
          setEngine("auto");
        }
      };
      const timer = new Timer(call);
      return {
        answer: await run(() => answerOf(one, call())),
        samples: (milliseconds) => run(() => timer.samples(milliseconds)),
        close,
      };
    },
  };
}

interface Made {
  readonly call: () => unknown;
  readonly close: () => void;
}

function make(
  { perdida: { allocate, tensor } }: Library,
  f: AnyLoss,
  one: Case,
  inputs: readonly CaseInput[],
  place: Place,
): Made {
  const held: { dispose(): void }[] = [];
  const keep = (shape: readonly number[]) => {
    const made = allocate(shape);
    held.push(made);
    return made;
  };
  const placed = new Map<unknown, unknown>();
  for (const { data, shape } of inputs) {
    if (placed.has(data)) continue;
    let arg: unknown = tensor(data, shape);
    if (place !== "arrays" && data instanceof Float32Array) {
      const made = keep(shape);
      made.data.set(data);
      arg = made;
    }
    placed.set(data, arg);
  }
  // an array that comes twice is one set with itself
  const args = [...placed.values()];
  const shapeOf = (name: string) => inputs.find((input) => input.name === name)?.shape as readonly number[];
  const out = {
    ...(one.value !== undefined && { value: keep(one.value) }),
    ...(one.grads.length > 0 && {
      grads: Object.fromEntries(one.grads.map((name) => [name, keep(shapeOf(name))])),
    }),
  };
  // gradients of a mapping need something to flow in
  const isMapping = one.value !== undefined && one.grads.length > 0;
  const options = {
    ...one.options,
    ...(one.grads.length > 0 && { wrt: one.grads }),
    ...(isMapping && { upstream: upstream(one.value as readonly number[], keep) }),
    ...(place === "core" && Object.keys(out).length > 0 && { out }),
  };
  const all = [...args, ...(one.rest ?? []), options];
  return {
    call: one.grads.length > 0 ? () => f.valueAndGrad(...all) : () => f(...all),
    close: () => {
      for (const tensor of held) tensor.dispose();
    },
  };
}

/** 0, 0.1, ... 0.6, 0, ...: a constant one would make the gradient of a softmax 0. */
function upstream<T extends { data: Float32Array }>(
  shape: readonly number[],
  keep: (shape: readonly number[]) => T,
): T {
  const made = keep(shape);
  made.data.set(Array.from(made.data, (_, i) => 0.1 * (i % 7)));
  return made;
}

/** What the engines must agree on, from what a call of ours gave. */
function answerOf(one: Case, result: unknown): number[] | undefined {
  const { value, grads } =
    one.grads.length > 0
      ? (result as ReturnType<AnyLoss["valueAndGrad"]>)
      : { value: result as Result, grads: {} };
  const sum = typeof value === "number" ? value : value.data === undefined ? undefined : total(value.data);
  if (sum === undefined) return undefined;
  return [
    sum,
    ...one.grads.map((name) =>
      total((grads as Record<string, { data: ArrayLike<number> }>)[name]?.data ?? [], Math.abs),
    ),
  ];
}

/** The sum of an array's numbers, or of what `of` makes of them. */
export function total(data: ArrayLike<number>, of: (x: number) => number = (x) => x): number {
  let sum = 0;
  for (let i = 0; i < data.length; i++) sum += of(data[i] as number);
  return sum;
}

/** How far single precision may lead two programs apart in such sums; a CTC gradient in log space is that far off. */
const TOLERANCE = { value: 1e-3, gradient: 3e-2 };

/** Whether two engines computed the same thing. */
export function agree(a: readonly number[] | undefined, b: readonly number[] | undefined): boolean {
  if (a === undefined || b === undefined) return true;
  return a.every((x, i) => {
    const y = b[i];
    if (y === undefined) return true;
    const tolerance = i === 0 ? TOLERANCE.value : TOLERANCE.gradient;
    return Math.abs(x - y) <= tolerance * Math.max(1e-3, Math.abs(x), Math.abs(y));
  });
}
