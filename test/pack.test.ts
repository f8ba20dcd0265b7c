/** The core in a bundle: what is packed comes out of the unpacker as it was. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { Code, constantsFirst, inOrderOfUse, localsOf, numberAt, ranked } from "../scripts/code.mjs";
import { aliases, PARTS } from "../scripts/entries.mjs";
import { MIDDLE, pack, unpacked } from "../scripts/pack.mjs";
import { unpacker } from "../ts/runtime/generated/unpacker.js";
import { randomStream } from "./support/generate.js";

const UNPACKER = Buffer.from(unpacker, "hex");

/** The last of some pieces, unpacked one after the other. */
function unpackedLast(...all: { packed: Uint8Array; bytes: Uint8Array }[]): Uint8Array {
  return unpacked(UNPACKER, all).bytes;
}

/** What is made of unpacked bytes that stand at some place of the buffer. */
function restored(bytes: Uint8Array, at: number): Uint8Array {
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(UNPACKER));
  const { memory, begin, restore } = exports as unknown as {
    memory: WebAssembly.Memory;
    begin(): number;
    restore(from: number, to: number): number;
  };
  const address = begin();
  new Uint8Array(memory.buffer).set(bytes, address + at);
  const length = restore(at, at + bytes.length);
  return new Uint8Array(memory.buffer).slice(address + MIDDLE, address + MIDDLE + length);
}

test.each(PARTS)("the part %s of the core is unpacked to what was built", async (part) => {
  const { source } = (await import(aliases("inline")[`#part/${part}`] as string)) as { source(): Uint8Array };
  const built = readFileSync(`ts/runtime/generated/parts/${part}.packed.wasm`);
  expect(Buffer.compare(source(), built)).toBe(0);
});

test("the unpacker stays under the 4 KB that every browser compiles on its main thread", () => {
  expect(UNPACKER.length).toBeLessThanOrEqual(4096);
});

/**
 * How many constants of 16 bytes stand in loops, but for those that end in a byte of zeros, and how many of these do not stand before a loop
 * within it, on the way to a local.
 */
function constantsInLoops(module: Uint8Array): { all: number; left: number } {
  const found = { all: 0, left: 0 };
  for (const body of functionsOf(module)) {
    const code = new Code();
    const loops = [0];
    body.forEach((byte, i) => {
      const isOpcode = code.kind === 0;
      if (isOpcode && byte >= 2 && byte <= 4) loops.push((loops.at(-1) as number) + (byte === 3 ? 1 : 0));
      if (isOpcode && byte === 0x0b) loops.pop();
      code.pass(byte);
      const isConstant = !isOpcode && code.kind === 0 && code.opcode === 0x10c && byte !== 0;
      if (!isConstant || loops.at(-1) === 0) return;
      found.all++;
      if (body[i + 1] !== 0x21) found.left++;
    });
  }
  return found;
}

/** The instructions of each function of a module. */
function functionsOf(module: Uint8Array): Uint8Array[] {
  let at = 8;
  while (module[at] !== 10) {
    const [length, start] = numberAt(module, at + 1);
    at = start + length;
  }
  let [count, place] = numberAt(module, numberAt(module, at + 1)[1]);
  const functions: Uint8Array[] = [];
  for (; count > 0; count--) {
    const [length, start] = numberAt(module, place);
    place = start + length;
    const body = module.subarray(start, place);
    functions.push(body.subarray(localsOf(body, [])[1]));
  }
  return functions;
}

test("no constant of the core but zeros and the like stays in the innermost loop that uses it, where V8 would make it anew", () => {
  const { all, left } = constantsInLoops(readFileSync("ts/runtime/generated/core.wasm"));
  expect(left).toBe(0);
  // before loops within others
  expect(all).toBeGreaterThan(100);
});

test("constants go before the innermost loop, and only out of loops", () => {
  const constant = (last: number) => [0xfd, 12, ...Array(15).fill(7), last];
  const [block, loop, end] = [[2, 0x40], [3, 0x40], [0x0b]] as [number[], number[], number[]];
  const local = (opcode: number, n: number) => [opcode, 128 + n, 0];
  const moduleOf = (locals: number[], body: number[]) => {
    const code = [1, ...leb(locals.length + body.length), ...locals, ...body];
    const before = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 5, 1, 0x60, 1, 0x7f, 0, 3, 2, 1, 0, 10];
    return Uint8Array.from([...before, ...leb(code.length), ...code]);
  };
  const before = moduleOf(
    [1, 1, 0x7b],
    [
      ...constant(1),
      ...loop,
      ...[...block, ...constant(2), ...end, ...constant(0)],
      ...[...loop, ...constant(3), ...end],
      ...end,
      ...constant(4),
      ...end,
    ],
  );
  const after = moduleOf(
    [2, 1, 0x7b, 130, 0, 0x7b],
    [
      ...[...constant(1), ...constant(2), ...local(0x21, 2)],
      ...loop,
      ...[...block, ...local(0x20, 2), ...end, ...constant(0)],
      ...[...constant(3), ...local(0x21, 3), ...loop, ...local(0x20, 3), ...end],
      ...end,
      ...constant(4),
      ...end,
    ],
  );
  expect([...constantsFirst(before)]).toEqual([...after]);
  // as many locals as two bytes tell apart, two of them the function's own, and one more
  const many = (n: number) =>
    moduleOf(
      [1, 1, 0x7b],
      [...Array.from({ length: n }, () => [...loop, ...constant(1), 0x1a, ...end]), end].flat(),
    );
  expect(WebAssembly.validate(constantsFirst(many(2 ** 14 - 2)) as BufferSource)).toBe(true);
  expect(() => constantsFirst(many(2 ** 14 - 1))).toThrow("The locals are too many for two bytes.");
});

test("any bytes come back", { timeout: 60_000 }, () => {
  const next = randomStream(1);
  let before: ReturnType<typeof pack> | undefined;
  for (const [length, values, repeats] of [
    [1, 256, 0],
    [2, 1, 0],
    [2000, 1, 0],
    [3000, 2, 0],
    [3000, 256, 0],
    [5000, 256, 0.9],
    [5000, 30, 0.5],
  ] as const) {
    const bytes = new Uint8Array(length);
    for (let i = 0; i < length; ) {
      // a literal, or a repetition from anywhere before
      const from = Math.floor(next() * i);
      const count = next() < repeats ? 1 + Math.floor(next() * 50) : 1;
      for (let k = 0; k < count && i < length; k++, i++) {
        bytes[i] = count > 1 && i > 0 ? (bytes[from + k] as number) : Math.floor(next() * values);
      }
    }
    const made = pack(bytes);
    expect(Buffer.compare(unpackedLast(made), bytes)).toBe(0);
    if (values === 1 && length > 2) expect(made.packed.length).toBeLessThan(60);
    // after others, which it makes use of
    if (before !== undefined) {
      const after = pack(bytes, before);
      expect(Buffer.compare(unpackedLast(before, after), bytes)).toBe(0);
      const again = pack(before.bytes, before);
      expect(again.packed.length).toBeLessThan(30);
      expect(Buffer.compare(unpackedLast(before, again), before.bytes)).toBe(0);
    }
    before = made;
  }
});

/** A number of LEB128. */
function leb(n: number): number[] {
  return n < 128 ? [n] : [128 + (n % 128), ...leb(Math.floor(n / 128))];
}

/** A module with the sections that count here, and functions of random instructions: not valid, but whole. */
function randomModule(next: () => number): Uint8Array {
  const below = (n: number) => Math.floor(next() * n);
  const some = (n: number, of: () => number[]) => Array.from({ length: n }, of);
  const section = (id: number, items: number[][]) => {
    const content = [...leb(items.length), ...items.flat()];
    return [id, ...leb(content.length), ...content];
  };
  const type = () => [0x7b, 0x7c, 0x7d, 0x7e, 0x7f].slice(below(5), 6).slice(0, 1);
  const params = some(1 + below(5), () => some(below(5), type).flat());
  const results = params.map(() => some(below(2), type).flat());
  const uses = some(below(200), () => [below(params.length)]);
  const body = ([of]: number[]) => {
    const groups = some(below(5), () => [...leb(below(next() < 0.1 ? 300 : 20)), ...type()]);
    const counts = groups.map(([low = 0, high = 0]) => (low < 128 ? low : low + 128 * high - 128));
    const locals = counts.reduce((a, b) => a + b, (params[of ?? 0] ?? []).length);
    const offset = () => leb(below(2 ** (1 + below(16))));
    const bytes = (n: number) => some(n, () => [below(256)]).flat();
    const nested = (depth: number): number[] =>
      some(below(depth > 3 ? 4 : 12), () => {
        const local = () => (locals === 0 ? [1] : [0x20 + below(3), ...leb(below(locals))]);
        const kinds: (() => number[])[] = [
          ...[local, local, local, local, local],
          () => [0x45 + below(120)],
          () => [2 + below(3), 0x40, ...nested(depth + 1), 0x0b],
          () => [0x0c + below(2), below(4)],
          () => [0x10, ...offset()],
          () => [0x11, ...leb(below(params.length)), 0],
          () => [0x0e, 3, ...some(4, () => [below(128)]).flat()],
          () => [0x28 + below(23), below(4), ...offset()],
          () => [0x41, ...offset()],
          () => [0x43, ...bytes(4)],
          () => [0x44, ...bytes(8)],
          () => [0xfc, 10, 0, 0],
          () => [0xfc, 11, 0],
          () => [0xfd, below(12), below(4), ...offset()],
          () => [0xfd, 12, ...bytes(16)],
          () => [0xfd, 21 + below(14), below(16)],
          () => [0xfd, 84 + below(8), below(4), ...offset(), below(16)],
          () => [0xfd, 128 + below(128), 1],
        ];
        return kinds[below(kinds.length)]?.() ?? [];
      }).flat();
    const code = [...leb(groups.length), ...groups.flat(), ...nested(0), 0x0b];
    return [...leb(code.length), ...code];
  };
  return Uint8Array.from([
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(
      1,
      params.map((types, i) => [
        0x60,
        types.length,
        ...types,
        results[i]?.length ?? 0,
        ...(results[i] ?? []),
      ]),
    ),
    ...section(3, uses),
    ...section(5, [[0, 1]]),
    ...section(10, uses.map(body)),
    ...section(
      11,
      some(below(3), () => [1, 3, below(256), below(256), below(256)]),
    ),
  ]);
}

test("functions come back from their locals' ranks", { timeout: 60_000 }, () => {
  const next = randomStream(2);
  let changed = 0;
  for (let i = 0; i < 200; i++) {
    const random = randomModule(next);
    const module = inOrderOfUse(random);
    if (Buffer.compare(module, random) !== 0) changed++;
    expect(Buffer.compare(inOrderOfUse(module), module)).toBe(0);
    expect(Buffer.compare(restored(ranked(module), i), constantsFirst(module))).toBe(0);
  }
  // a module whose locals stand in another order is refused and not spoilt
  expect(changed).toBeGreaterThan(100);
  expect(() => {
    for (let i = 0; i < 20; i++) ranked(randomModule(next));
  }).toThrow("A local is used before one that stands before it.");
});

test("what is no module is unpacked and restored to something", () => {
  const next = randomStream(3);
  const module = ranked(inOrderOfUse(randomModule(next)));
  for (let i = 0; i < 300; i++) {
    // some bytes of a module are others, or all are
    const bytes = i % 3 === 0 ? new Uint8Array(1000).fill(128) : module.slice();
    for (let k = 0; k < bytes.length; k++) {
      if (next() < (i % 3 === 0 ? 1 - i / 300 : 0.01)) bytes[k] = Math.floor(next() * 256);
    }
    expect(restored(bytes, 0).length).toBeGreaterThan(0);
    expect(() => unpackedLast({ packed: bytes, bytes: new Uint8Array(5000) })).not.toThrow();
  }
});
