/**
 * A soak: mixed calls, all functions in both precisions, on both engines, with tensors in the core and without, with errors among them. In
 * the end the core's memory is where it was, and the heap of JavaScript as well. A few thousand of them; a million with `npm run
 * test:deep`, or as many as PERDIDA_SOAK says.
 */
import { beforeAll, expect, test } from "vitest";
import { type AllocatedTensor, allocate, engine, setEngine } from "../../ts/index.js";
import { type AnyLoss, REGISTRY } from "../../ts/registry.js";
import { randomStream, sample, withReduction } from "../support/generate.js";

const CALLS = Number(process.env.PERDIDA_SOAK ?? (process.env.PERDIDA_DEEP === "1" ? 1e6 : 4000));
/** Samples of each function in each precision. */
const SAMPLES = 6;
/** What the heap may have gained in the end: compiled code, counters. */
const HEAP = 2 << 20;

beforeAll(() => setEngine("auto"));

interface Tensor {
  readonly data: Float32Array | Float64Array;
  readonly shape: readonly number[];
}
interface Prepared {
  readonly loss: AnyLoss;
  readonly args: readonly unknown[];
  readonly options: Record<string, unknown>;
  /** What comes out, to know its shapes. */
  readonly grads: Record<string, Tensor>;
}

const isTensor = (x: unknown): x is Tensor => {
  const data = (x as { data?: unknown } | null)?.data;
  return data instanceof Float32Array || data instanceof Float64Array;
};

function prepare(): Prepared[] {
  return REGISTRY.flatMap((row, r) =>
    Array.from({ length: 2 * SAMPLES }, (_, i) => {
      const seed = 1000 * r + i;
      const dtype = i % 2 === 0 ? ("float32" as const) : ("float64" as const);
      const s = sample(row, { seed, dtype, size: 1 + ((seed * 13) % 40), hostile: i % 5 === 0 });
      const options = withReduction(row, s, seed);
      const { grads } = row.loss.valueAndGrad(...s.args, options);
      return { loss: row.loss, args: s.args, options, grads };
    }),
  );
}

/** A tensor in the core with the numbers of another. */
function lodged({ data, shape }: Tensor): AllocatedTensor {
  const tensor = allocate(shape, data instanceof Float32Array ? "float32" : "float64");
  tensor.data.set(data);
  return tensor;
}

function refused(run: () => unknown): void {
  try {
    run();
  } catch (error) {
    if (typeof (error as { code?: unknown }).code === "string") return;
    throw error;
  }
  throw new Error("was not refused");
}

const KINDS = 9;

/** One call of one of several kinds. */
function once({ loss, args, options, grads }: Prepared, kind: number): void {
  switch (kind) {
    case 0: {
      const { upstream: _, wrt: __, ...plain } = options;
      loss(...args, plain);
      break;
    }
    case 1:
    case 2:
      loss.valueAndGrad(...args, options);
      break;
    case 3: {
      const inside = args.map((x) => (isTensor(x) ? lodged(x) : x));
      const out = Object.fromEntries(Object.entries(grads).map(([name, g]) => [name, lodged(g)]));
      loss.valueAndGrad(...inside, { ...options, out: { grads: out } });
      for (const x of [...inside, ...Object.values(out)])
        if (isTensor(x) && "dispose" in x) (x as unknown as AllocatedTensor).dispose();
      break;
    }
    case 4: {
      // the output is the input
      const inside = args.map((x) => (isTensor(x) ? lodged(x) : x));
      const first = inside[0] as AllocatedTensor;
      const name = Object.keys(grads)[0];
      const fits = name !== undefined && grads[name]?.data.length === first.data.length;
      loss.valueAndGrad(...inside, fits ? { ...options, out: { grads: { [name]: first } } } : options);
      for (const x of inside) if (isTensor(x) && "dispose" in x) (x as unknown as AllocatedTensor).dispose();
      break;
    }
    case 5:
      refused(() => loss.valueAndGrad(...args, { ...options, bogus: 1 }));
      break;
    case 6:
      refused(() => loss.valueAndGrad("nonsense", ...args.slice(1), options));
      break;
    case 7:
      setEngine("js");
      loss.valueAndGrad(...args, options);
      setEngine("auto");
      break;
    default:
      // forgotten
      allocate([8]);
  }
}

test(`${CALLS} mixed calls leave the memory where it was`, async () => {
  const { gc } = globalThis as { gc?: () => void };
  if (gc === undefined) throw new Error("run with --expose-gc");
  const prepared = prepare();
  const random = randomStream(1);
  const some = (n: number): void => {
    for (let i = 0; i < n; i++) {
      const which = prepared[Math.floor(random() * prepared.length)] as Prepared;
      // few are forgotten: what collects them is the collector of garbage
      const kind = random() < 0.001 ? KINDS - 1 : Math.floor(random() * (KINDS - 1));
      once(which, kind);
    }
  };
  /** Has the garbage collected, and what was forgotten given back. */
  const settle = async (allocated: number): Promise<void> => {
    for (let i = 0; i < 100; i++) {
      gc();
      await new Promise((resolve) => setTimeout(resolve, 5));
      if (i > 1 && engine().memory.allocated === allocated) return;
    }
  };
  const before = engine().memory.allocated;
  // by then every kind of call with every loss has had its place, more than once
  some(CALLS / 2);
  await settle(before);
  const warm = { memory: engine().memory, heap: process.memoryUsage().heapUsed };
  const start = performance.now();
  for (let part = 0; part < 5; part++) {
    some(CALLS / 10);
    await settle(before);
  }
  const end = { memory: engine().memory, heap: process.memoryUsage().heapUsed };
  console.log(
    `${CALLS} calls, ${((performance.now() - start) / 1000).toFixed(1)} s for the second half; ` +
      `the core's memory ${JSON.stringify(warm.memory)} -> ${JSON.stringify(end.memory)}, heap ${warm.heap} -> ${end.heap} bytes`,
  );
  expect(warm.memory.allocated).toBe(before);
  expect(end.memory).toEqual(warm.memory);
  expect(end.heap - warm.heap).toBeLessThan(HEAP);
}, 1_800_000);
