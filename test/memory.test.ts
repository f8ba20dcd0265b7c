/** The memory layer: tensors in the core, views over growth, scratch, giving back. */
import { beforeAll, describe, expect, test } from "vitest";
import { contrastiveLoss } from "../ts/energy.js";
import {
  AllocatedTensor,
  allocate,
  cdist,
  crossEntropyLoss,
  ctcAlign,
  ctcLoss,
  ctcPosteriors,
  engine,
  mseLoss,
  setEngine,
  softmax,
  tensor,
} from "../ts/index.js";
import { CoreMemory } from "../ts/runtime/memory.js";
import type { WasmMemory } from "../ts/runtime/platform.js";
import { ENGINES, on } from "./support/engines.js";
import { randomStream } from "./support/generate.js";
import { freshLibrary } from "./support/library.js";
import { expectRefusal } from "./support/refusal.js";

beforeAll(() => setEngine("wasm"));

const filled = (n: number): Float32Array => Float32Array.from({ length: n }, (_, i) => Math.sin(i));

describe("tensor", () => {
  test("copies nothing", () => {
    const data = new Float32Array(6);
    const t = tensor(data, [2, 3]);
    expect(t.data).toBe(data);
    expect(t.shape).toEqual([2, 3]);
  });
  test("refuses shapes that do not fit", () => {
    expect(() => tensor(new Float32Array(6), [2, 2])).toThrow(
      "tensor: shape is [2, 2], expected a shape of 6 numbers",
    );
    expect(() => tensor(new Float32Array(6), [-1, -6])).toThrow(RangeError);
    expect(() => tensor([1, 2] as unknown as Float32Array, [2])).toThrow(TypeError);
    // there are no numbers in it, but its rows would have to be counted
    expect(() => tensor(new Float32Array(0), [2 ** 20, 0, 2 ** 20])).toThrow(
      expect.objectContaining({ name: "RangeError", code: "SHAPE" }),
    );
  });
});

describe("allocate", () => {
  test("gives zeros, also where something lay before", () => {
    const a = allocate([4, 4]);
    a.data.fill(7);
    a.dispose();
    const b = allocate([4, 4]);
    expect(Array.from(b.data)).toEqual(new Array(16).fill(0));
    b.dispose();
  });

  test("is counted, and given back by dispose, once", () => {
    const before = engine().memory.allocated;
    const t = allocate([100], "float64");
    expect(engine().memory.allocated).toBe(before + 800);
    t.dispose();
    t.dispose();
    expect(engine().memory.allocated).toBe(before);
    expect(t.disposed).toBe(true);
    expectRefusal(() => t.data, "DISPOSED", "tensor: data is disposed, expected a tensor in use");
  });

  test.each(ENGINES)("is refused by name once it is disposed of (%s)", (name) => {
    on(name, () => {
      const gone = allocate([3]);
      gone.dispose();
      const x = [1, 2, 3];
      const refused = (where: string, call: () => unknown): void =>
        expectRefusal(call, "DISPOSED", `${where} is disposed, expected a tensor in use`);
      refused("mseLoss: input", () => mseLoss(gone, x));
      refused("mseLoss: target", () => mseLoss(x, gone));
      refused("crossEntropyLoss: target", () => crossEntropyLoss([x, x, x], gone));
      refused("crossEntropyLoss: weight", () => crossEntropyLoss([x], [0], { weight: gone }));
      refused("mseLoss: upstream", () => mseLoss.valueAndGrad(x, x, { reduction: "none", upstream: gone }));
      refused("softmax: out.value", () => softmax(x, { out: { value: gone } }));
      refused("mseLoss: out.grads.input", () =>
        mseLoss.valueAndGrad(x, x, { out: { grads: { input: gone } } }),
      );
      refused("contrastiveLoss: energies", () => contrastiveLoss(gone, 0));
    });
  });

  test("shows its shape and precision to whoever lists or copies it", () => {
    const t = allocate([2, 3], "float64");
    expect({ ...t }).toEqual({ shape: [2, 3], dtype: "float64" });
    t.dispose();
  });

  test("Symbol.dispose gives back", () => {
    const before = engine().memory.allocated;
    const t = allocate([10]);
    t[Symbol.dispose]();
    expect(engine().memory.allocated).toBe(before);
  });

  test("views stay right when the memory grows", () => {
    const t = allocate([3]);
    t.data.set([1, 2, 3]);
    const old = t.data;
    const big = allocate([(engine().memory.total / 4) | 0]);
    expect(old.length, "the old view is detached").toBe(0);
    expect(Array.from(t.data)).toEqual([1, 2, 3]);
    expect(softmax(t).data.length).toBe(3);
    big.dispose();
    t.dispose();
  });

  test("growth in the middle of a call leaves inputs and outputs in the core right", () => {
    const n = 64;
    const x = allocate([1, n]);
    x.data.set(filled(n));
    const expected = softmax({ data: filled(n), shape: [1, n] }, {}).data;
    // the js copy of this upstream is so large that scratch has to grow for it
    const rows = Math.ceil((engine().memory.total * 1.5) / 4 / n);
    const wide = allocate([1, n]);
    const big = { data: new Float32Array(rows * n).fill(0.5), shape: [rows, n] };
    const raw = x.data;
    const out = softmax(tensor(raw, [1, n]), { out: { value: wide.data } });
    expect(Array.from(out.data)).toEqual(Array.from(expected));
    const before = engine().memory.total;
    const labels = new Int32Array(rows);
    const { value } = crossEntropyLoss.valueAndGrad(big, labels, { weight: x.data.map(() => 1) });
    expect(engine().memory.total).toBeGreaterThan(before);
    expect(value).toBeCloseTo(Math.log(n), 5);
    expect(Array.from(wide.data)).toEqual(Array.from(expected));
    x.dispose();
    wide.dispose();
  });

  test("an output view taken before a growth comes back as a live view", () => {
    const rows = Math.ceil((engine().memory.total * 1.2) / 4 / 8);
    const x = new Float32Array(rows * 8);
    const value = allocate([rows]);
    const given = value.data;
    const result = crossEntropyLoss(tensor(x, [rows, 8]), new Int32Array(rows), {
      reduction: "none",
      out: { value: given },
    });
    expect(result.data.length).toBe(rows);
    expect(result.data[rows - 1]).toBeCloseTo(Math.log(8), 6);
    value.dispose();
  });

  test("what is written after the kernel was called may live in the core, and the memory may have grown", () => {
    const n = Math.ceil((engine().memory.total * 1.2) / 4);
    const x = new Float32Array(n).fill(0.5);
    const value = allocate([1]);
    const mean = crossEntropyLoss(tensor(x, [1, n]), [0], { out: { value } });
    expect(value.data[0]).toBeCloseTo(mean, 5);
    const target = allocate([1]);
    const m = Math.ceil((engine().memory.total * 1.2) / 4);
    const wide = tensor(new Float32Array(m).fill(0.5), [m]);
    const one = tensor(Float32Array.of(1), [1]);
    mseLoss.valueAndGrad(wide, one, { out: { grads: { target } } });
    expect(target.data[0]).toBeCloseTo(1, 5);
    value.dispose();
    target.dispose();
  });

  describe("code of the caller's that runs while arguments are read", () => {
    const energies = [1, 2, 3, 4, 5, 6];
    const lodged = (): AllocatedTensor<Float64Array> => {
      const e = allocate([2, 3], "float64");
      e.data.set(energies);
      return e;
    };
    test("may make the memory grow", () => {
      const e = lodged();
      let big: AllocatedTensor | undefined;
      const margin = (): number => {
        big ??= allocate([engine().memory.total / 2]);
        return 1;
      };
      const { value, grads } = contrastiveLoss.valueAndGrad(e, [0, 1], { margin });
      const expected = contrastiveLoss.valueAndGrad(tensor(Float64Array.from(energies), [2, 3]), [0, 1]);
      expect(value).toBe(expected.value);
      expect(Array.from(grads.energies.data)).toEqual(Array.from(expected.grads.energies.data));
      big?.dispose();
      big = undefined;
      // a view that the caller holds is lost
      const view = tensor(e.data, [2, 3]);
      expect(() => contrastiveLoss(view, [0, 1], { margin })).toThrow(
        expect.objectContaining({ name: "TypeError", code: "BUFFER" }),
      );
      (big as AllocatedTensor | undefined)?.dispose();
      e.dispose();
    });
    test("may dispose of an input, which is refused", () => {
      const before = engine().memory.allocated;
      const e = lodged();
      const margin = (): number => {
        e.dispose();
        return 1;
      };
      expect(() => contrastiveLoss(e, [0, 1], { margin })).toThrow(
        expect.objectContaining({ name: "TypeError", code: "DISPOSED" }),
      );
      expect(engine().memory.allocated).toBe(before);
    });
    test("may dispose of an output: what another has in its place stays as it is", () => {
      const value = allocate([2]);
      const grad = allocate([2, 3]);
      let other: AllocatedTensor | undefined;
      const grads = {
        get input() {
          value.dispose();
          other = allocate([2]);
          other.data.fill(7);
          return grad;
        },
      };
      const run = (): unknown =>
        crossEntropyLoss.valueAndGrad(tensor(Float32Array.from(energies), [2, 3]), [0, 1], {
          reduction: "none",
          out: { value, grads },
        });
      expect(run).toThrow(expect.objectContaining({ name: "TypeError", code: "DISPOSED" }));
      expect(Array.from(other?.data ?? [])).toEqual([7, 7]);
      expect(grad.data.every((g) => g === 0)).toBe(true);
      other?.dispose();
      grad.dispose();
    });
    test("may allocate the outputs", () => {
      const x = allocate([2, 3]);
      x.data.set(energies);
      const kept: AllocatedTensor[] = [];
      const keep = (length: number): AllocatedTensor => {
        const t = allocate([length]);
        kept.push(t);
        return t;
      };
      const out = {
        get value() {
          keep(engine().memory.total / 2);
          return keep(2);
        },
      };
      const { value } = crossEntropyLoss.valueAndGrad(x, [0, 1], { reduction: "none", out });
      const plain = crossEntropyLoss(tensor(Float32Array.from(energies), [2, 3]), [0, 1], {
        reduction: "none",
      });
      expect(Array.from(value.data)).toEqual(Array.from(plain.data));
      for (const t of [...kept, x]) t.dispose();
    });
  });

  test("a result or scratch that there can be no room for is a RangeError before anything is written", () => {
    const full = expect.objectContaining({ name: "RangeError", code: "OUT_OF_MEMORY" });
    const before = engine().memory;
    const long = tensor(new Float32Array(1e6), [1e6, 1]);
    expect(() => cdist(long, long)).toThrow(full);
    // more than 32 bits can say
    const logits = tensor(new Float32Array(400_000), [200_000, 2]);
    const labels = new Int32Array(100_000).fill(1);
    const grads = { logits: new Float32Array(400_000).fill(7) };
    expect(() => ctcLoss.valueAndGrad(logits, labels, { out: { grads } })).toThrow(full);
    expect(grads.logits.every((g) => g === 7)).toBe(true);
    expect(() => ctcAlign(logits, labels)).toThrow(full);
    expect(() => ctcPosteriors(logits, labels)).toThrow(full);
    expect(engine().memory).toEqual(before);
  });

  test("a proxy of a tensor is refused in words", () => {
    const t = allocate([2]);
    const around = new Proxy(t, {});
    const wrong = expect.objectContaining({
      name: "TypeError",
      code: "TYPE",
      argument: "data",
      received: "read through a proxy",
    });
    expect(() => softmax(around)).toThrow(wrong);
    expect(() => softmax([1, 2], { out: { value: around } })).toThrow(wrong);
    t.dispose();
  });

  test("a forgotten tensor is collected", async () => {
    const { gc } = globalThis as { gc?: () => void };
    if (gc === undefined) throw new Error("run with --expose-gc");
    const before = engine().memory.allocated;
    (() => {
      for (let i = 0; i < 100; i++) allocate([1000]);
    })();
    for (let i = 0; i < 50 && engine().memory.allocated > before; i++) {
      gc();
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    expect(engine().memory.allocated).toBe(before);
  });

  test("a view keeps its tensor's block", async () => {
    const { gc } = globalThis as { gc?: () => void };
    if (gc === undefined) throw new Error("run with --expose-gc");
    const view = ((): Float32Array => {
      const t = allocate([5]);
      return t.data;
    })();
    view.fill(3);
    for (let i = 0; i < 5; i++) {
      gc();
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    const others = Array.from({ length: 20 }, () => allocate([5]));
    expect(Array.from(view)).toEqual([3, 3, 3, 3, 3]);
    for (const t of others) t.dispose();
  });

  test("more than there can be is a RangeError and changes nothing", () => {
    const before = engine().memory;
    expect(() => allocate([2 ** 30, 2])).toThrow(
      expect.objectContaining({ name: "RangeError", code: "OUT_OF_MEMORY" }),
    );
    expect(engine().memory).toEqual(before);
    expect(() => allocate([2.5])).toThrow(expect.objectContaining({ code: "SHAPE" }));
    expect(() => allocate([2], "float16" as "float32")).toThrow(expect.objectContaining({ code: "OPTION" }));
  });

  test("on the js engine it is an ordinary array", () => {
    setEngine("js");
    const t = allocate([2, 2]);
    setEngine("wasm");
    expect(t).toBeInstanceOf(AllocatedTensor);
    expect(Array.from(t.data)).toEqual([0, 0, 0, 0]);
    expect(softmax(t).data.length).toBe(4);
    t.dispose();
    expect(t.disposed).toBe(true);
  });
});

describe("scratch", () => {
  test("10,000 calls with out allocate nothing and leave the memory where it was", () => {
    const [rows, columns] = [8, 10];
    const x = tensor(filled(rows * columns), [rows, columns]);
    const labels = Int32Array.from({ length: rows }, (_, i) => i);
    const grad = new Float32Array(rows * columns);
    const options = { out: { grads: { input: grad } } };
    const { value: first } = crossEntropyLoss.valueAndGrad(x, labels, options);
    const before = engine().memory;
    // every typed array that is made goes through its constructor: count those of the library
    const made = { count: 0 };
    const { Float32Array: F32, Float64Array: F64, Int32Array: I32 } = globalThis;
    const counted = <T extends abstract new (...a: never[]) => object>(Type: T): T =>
      new Proxy(Type, {
        construct(target, args, newTarget) {
          made.count += 1;
          return Reflect.construct(target, args, newTarget) as object;
        },
      });
    Object.assign(globalThis, {
      Float32Array: counted(F32),
      Float64Array: counted(F64),
      Int32Array: counted(I32),
    });
    try {
      for (let i = 0; i < 10_000; i++) {
        const { value, grads } = crossEntropyLoss.valueAndGrad(x, labels, options);
        if (value !== first || grads.input.data !== grad) throw new Error(`call ${i}`);
      }
    } finally {
      Object.assign(globalThis, { Float32Array: F32, Float64Array: F64, Int32Array: I32 });
    }
    expect(made.count).toBe(0);
    expect(engine().memory).toEqual(before);
  });

  test("tensors of the core's memory need none, however large", async () => {
    const library = await freshLibrary();
    const shape = [256, 1024];
    const [x, y] = [library.allocate(shape), library.allocate(shape)];
    library.softmax(library.allocate([1, 4]), { out: { value: library.allocate([1, 4]) } });
    const before = library.engine().memory;
    library.softmax(x, { out: { value: y } });
    library.softmax(tensor(x.data, shape), { out: { value: y.data } });
    expect(library.engine().memory).toEqual(before);
    expect(y.data[0]).toBe(1 / 1024);
  });

  test("large scratch is given back", () => {
    const n = 1 << 20;
    const { allocated, scratch } = engine().memory;
    softmax(tensor(new Float32Array(n), [1024, n / 1024]));
    expect(engine().memory).toMatchObject({ allocated, scratch });
  });
});

describe("outputs", () => {
  test("may be the inputs themselves", () => {
    for (const name of ENGINES) {
      on(name, () => {
        const x = filled(30);
        const expected = crossEntropyLoss.valueAndGrad(tensor(x, [5, 6]), [0, 1, 2, 3, 4]);
        const inside = allocate([5, 6]);
        inside.data.set(x);
        const outside = tensor(x.slice(), [5, 6]);
        for (const t of [inside, outside]) {
          const { value, grads } = crossEntropyLoss.valueAndGrad(t, [0, 1, 2, 3, 4], {
            out: { grads: { input: t } },
          });
          expect(value).toBe(expected.value);
          expect(grads.input).toBe(t);
          expect(Array.from(t.data)).toEqual(Array.from(expected.grads.input.data));
        }
        inside.dispose();
      });
    }
  });

  test("may have another precision than the call", () => {
    const grad = new Float64Array(3);
    const { grads } = crossEntropyLoss.valueAndGrad(new Float32Array([1, 2, 3]), 0, {
      out: { grads: { input: grad } },
    });
    expect(grads.input.data).toBe(grad);
    expect(grad[2]).toBeCloseTo(0.665, 3);
  });

  test("come back as tensors of their shape", () => {
    for (const name of ENGINES) {
      on(name, () => {
        const [value, input] = [new Float32Array(2), new Float32Array(6)];
        const x = tensor(filled(6), [2, 3]);
        const answer = crossEntropyLoss.valueAndGrad(x, [0, 2], {
          reduction: "none",
          out: { value, grads: { input } },
        });
        expect(answer.value.data).toBe(value);
        expect(answer.grads.input.data).toBe(input);
        expect([answer.value.shape, answer.grads.input.shape]).toEqual([[2], [2, 3]]);
      });
    }
  });

  test("a reduced value is written as well as returned, last of all", () => {
    const value = new Float64Array(1);
    expect(crossEntropyLoss([1, 2, 3], 0, { out: { value } })).toBe(value[0]);
    for (const name of ENGINES) {
      on(name, () => {
        const input = new Float64Array(3);
        const out = { value: input.subarray(0, 1), grads: { input } };
        const answer = mseLoss.valueAndGrad([1, 2, 3], 0, { reduction: "sum", out });
        expect([answer.value, ...input]).toEqual([14, 14, 4, 6]);
      });
    }
  });
});

/** A memory of JavaScript's, of at most so many pages. */
function pagesOf(most: number): WasmMemory & { grown: number } {
  let pages = 1;
  const memory = {
    buffer: new ArrayBuffer(65536),
    grown: 0,
    grow(more: number) {
      if (pages + more > most) throw new RangeError("no room");
      pages += more;
      memory.buffer = new ArrayBuffer(pages * 65536);
      memory.grown += 1;
      return pages - more;
    },
  };
  return memory;
}

describe("growth", () => {
  test("is of an eighth at least, so that many small tensors cost few growths", () => {
    const pages = pagesOf(1000);
    const memory = new CoreMemory(pages);
    for (let i = 0; i < 500; i++) memory.take(65536);
    expect(pages.grown).toBeLessThan(60);
    expect(memory.use.total).toBeLessThan(1.2 * 500 * 65536);
  });

  test("takes what is left where there is no room for so much", () => {
    const memory = new CoreMemory(pagesOf(100));
    memory.take(95 * 65536);
    for (let i = 0; i < 4; i++) memory.take(65536);
    expect(memory.use.total).toBe(100 * 65536);
    expect(() => memory.take(1)).toThrow(/the core's memory/);
    expect(memory.use).toEqual({ total: 100 * 65536, allocated: 99 * 65536, scratch: 0 });
  });
});

describe("the list of free blocks", () => {
  test("never hands out the same byte twice and forgets none (10,000 random steps)", () => {
    const memory = new CoreMemory(pagesOf(Infinity));
    const random = randomStream(1);
    const live: { start: number; bytes: number }[] = [];
    for (let step = 0; step < 10_000; step++) {
      if (live.length > 0 && random() < 0.5) {
        const [{ start, bytes }] = live.splice(Math.floor(random() * live.length), 1) as [
          { start: number; bytes: number },
        ];
        memory.give(start, bytes);
      } else {
        const bytes = Math.floor(random() ** 4 * 50_000) + 1;
        const start = memory.take(bytes);
        expect(start % 16).toBe(0);
        for (const other of live) {
          if (start < other.start + other.bytes && other.start < start + bytes)
            throw new Error(`overlap at step ${step}`);
        }
        live.push({ start, bytes });
      }
    }
    for (const { start, bytes } of live) memory.give(start, bytes);
    expect(memory.use.allocated).toBe(0);
    // everything is one block again: all of it can be taken at once without growing
    const { total } = memory.use;
    memory.take(total - 65536);
    expect(memory.use.total).toBe(total);
  });
});
