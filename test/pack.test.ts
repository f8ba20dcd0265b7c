/** The core in a bundle: what is packed comes out of the unpacker as it was. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { aliases, PARTS } from "../scripts/entries.mjs";
import { pack } from "../scripts/pack.mjs";
import { unpacker } from "../ts/runtime/generated/unpacker.js";
import { randomStream } from "./support/generate.js";

/** As ts/runtime/unpack.ts does it with the parts of the core: one after the other into one buffer. */
function unpacked(...all: { packed: Uint8Array; bytes: Uint8Array }[]): Uint8Array {
  const module = new WebAssembly.Module(Buffer.from(unpacker, "base64"));
  const { memory, unpack } = new WebAssembly.Instance(module).exports as {
    memory: WebAssembly.Memory;
    unpack(from: number, to: number): number;
  };
  const address = unpack(0, 0);
  let [from, to] = [0, 0];
  for (const { packed, bytes } of all) {
    [from, to] = [to, to + bytes.length];
    new Uint8Array(memory.buffer).set(packed, address + 2 ** 18);
    unpack(from, to);
  }
  return new Uint8Array(memory.buffer).slice(address + from, address + to);
}

test.each(PARTS)("the part %s of the core is unpacked to what was built", async (part) => {
  const { source } = (await import(aliases("inline")[`#part/${part}`] as string)) as { source(): Uint8Array };
  const built = readFileSync(`ts/runtime/generated/parts/${part}.wasm`);
  expect(Buffer.compare(source(), built)).toBe(0);
});

test("the unpacker stays under the 4 KB that every browser compiles on its main thread", () => {
  expect(Buffer.from(unpacker, "base64").length).toBeLessThan(1700);
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
    expect(Buffer.compare(unpacked(made), bytes)).toBe(0);
    if (values === 1 && length > 2) expect(made.packed.length).toBeLessThan(60);
    // after others, which it makes use of
    if (before !== undefined) {
      const after = pack(bytes, before);
      expect(Buffer.compare(unpacked(before, after), bytes)).toBe(0);
      const again = pack(before.bytes, before);
      expect(again.packed.length).toBeLessThan(30);
      expect(Buffer.compare(unpacked(before, again), before.bytes)).toBe(0);
    }
    before = made;
  }
});
