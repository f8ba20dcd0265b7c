/**
 * A memory that is full: an error says so, and everything that is there stays as it was and goes on working. The whole 4 GiB with
 * `npm run test:deep` (it takes as much of the machine's memory); else a WebAssembly.Memory with a lower maximum, which the engine
 * refuses to grow in the same way.
 */
import { afterEach, describe, expect, test, vi } from "vitest";
import { OWN_PAGES } from "../../ts/runtime/generated/exports.js";
import { expectSameBits } from "../support/close.js";
import { freshLibrary, type Library } from "../support/library.js";

const DEEP = process.env.PERDIDA_DEEP === "1";
const PAGE = 65536;

afterEach(() => vi.unstubAllGlobals());

/** A library whose memory has so many pages at most. */
async function withCeiling(pages: number): Promise<Library> {
  class Memory extends WebAssembly.Memory {
    constructor(size: WebAssembly.MemoryDescriptor) {
      super({ ...size, maximum: pages });
    }
  }
  vi.stubGlobal("WebAssembly", Object.assign(Object.create(WebAssembly), { Memory }));
  const library = await freshLibrary();
  library.setEngine("wasm");
  return library;
}

const full = expect.objectContaining({
  name: "RangeError",
  code: "OUT_OF_MEMORY",
  argument: "the core's memory",
  expected: expect.any(String),
  received: expect.any(String),
});

function fillsUp(library: Library, ceiling: number, chunk: number): void {
  const { allocate, crossEntropyLoss, engine, softmax } = library;
  const n = 1000;
  const labels = Int32Array.from({ length: n }, (_, i) => i % 10);
  const scores = Float32Array.from({ length: n * 10 }, (_, i) => Math.sin(i));
  const expected = crossEntropyLoss.valueAndGrad({ data: scores, shape: [n, 10] }, labels);
  const start = engine().memory;

  // each tensor has its number at both ends
  const tensors: ReturnType<typeof allocate>[] = [];
  const take = (bytes: number): void => {
    const tensor = allocate([bytes / 4]);
    tensors.push(tensor);
    tensor.data[0] = tensors.length;
    tensor.data[tensor.data.length - 1] = tensors.length;
  };
  const expectWhole = (): void => {
    for (const [i, { data }] of tensors.entries())
      if (data[0] !== i + 1 || data[data.length - 1] !== i + 1) throw new Error(`tensor ${i} was changed`);
  };
  // room for a gradient, and then everything that there is, in ever smaller pieces
  const x = allocate([n, 10]);
  x.data.set(scores);
  const grad = allocate([n, 10]);
  for (let bytes = chunk; bytes >= 16; bytes /= 2) {
    for (;;) {
      try {
        take(bytes);
      } catch (error) {
        expect(error).toEqual(full);
        break;
      }
    }
  }
  const { total, allocated, scratch } = engine().memory;
  expect(total).toBe(ceiling);
  expect(allocated + scratch).toBeGreaterThan(ceiling - (OWN_PAGES + 1) * PAGE);
  const before = engine().memory;
  expect(() => allocate([4])).toThrow(full);
  expect(engine().memory).toEqual(before);
  expectWhole();

  // without more scratch than is kept calls go on, on the lowest addresses and on the highest
  const { value } = crossEntropyLoss.valueAndGrad(x, labels, { out: { grads: { input: grad } } });
  expect(value).toBe(expected.value);
  expectSameBits(grad.data, expected.grads.input.data, "the gradient");
  const last = tensors.findLast(
    ({ data }) => data.length >= 64 && data.length < 1 << 16,
  ) as (typeof tensors)[0];
  const [head, tail] = [last.data[0] as number, last.data[last.data.length - 1] as number];
  last.data.fill(1).set([2, 3], 5);
  const rows = { data: last.data, shape: [last.data.length / 4, 4] };
  expectSameBits(softmax(rows).data, softmax({ ...rows, data: last.data.slice() }).data, "softmax");
  softmax(rows, { out: { value: last } });
  expect(last.data.every((p) => p > 0 && p < 1)).toBe(true);
  last.data[0] = head;
  last.data[last.data.length - 1] = tail;

  // with more they are refused, and nothing is written
  const large = { data: new Float32Array(2 * 1024 * 1024).fill(1), shape: [1024, 2048] };
  const out = new Float32Array(large.data.length).fill(7);
  expect(() => softmax(large, { out: { value: out } })).toThrow(full);
  expect(out.every((p) => p === 7)).toBe(true);
  expect(engine().memory).toEqual(before);
  expectWhole();

  // what is given back can be had again, in one piece
  const [first, second] = tensors as [(typeof tensors)[0], (typeof tensors)[0]];
  const room = first.data.byteLength + second.data.byteLength;
  first.dispose();
  second.dispose();
  tensors.splice(0, 2);
  const again = allocate([room / 4]);
  expect(engine().memory).toEqual(before);
  again.dispose();
  expect(crossEntropyLoss({ data: scores, shape: [n, 10] }, labels)).toBe(expected.value);
  for (const tensor of [...tensors, x, grad]) tensor.dispose();
  expect(engine().memory).toEqual({ ...start, total: ceiling });
  allocate([(ceiling - (OWN_PAGES + 4) * PAGE - scratch) / 4]).dispose();
  expect(engine().memory.total).toBe(ceiling);
}

describe("a memory that is full", () => {
  test("of 16 MiB", async () => {
    const library = await withCeiling(256);
    fillsUp(library, 256 * PAGE, 1 << 21);
  });

  test.runIf(DEEP)(
    "of 4 GiB",
    async () => {
      const library = await freshLibrary();
      library.setEngine("wasm");
      const start = performance.now();
      fillsUp(library, 65536 * PAGE, 1 << 28);
      const { total } = library.engine().memory;
      console.log(`filled ${total} bytes in ${((performance.now() - start) / 1000).toFixed(1)} s`);
    },
    600_000,
  );
});
