/** Every export of the core, called as nobody calls it: with numbers of any size at any place. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { MEMORY_FROM, OWN_PAGES } from "../ts/runtime/generated/exports.js";
import { type Kernel, OWN_END } from "./support/door.js";
import { randomStream } from "./support/generate.js";

const PAGE = 65536;
const END = OWN_END + 4 * PAGE;
/** Bytes of the modules' own that a call may change beside its stack: the room of crates/lanes/src/memory.rs. */
const ROOM = 16384;
const CALLS = Number(process.env.PERDIDA_RUNS ?? 150);

/** An instance of its own, in a memory of its own. */
class Door {
  readonly memory = new WebAssembly.Memory({ initial: END / PAGE, maximum: END / PAGE });
  readonly exports: Record<string, Kernel>;
  /** What no call changes: the constants of all modules. */
  readonly own: Uint8Array;
  constructor(module: WebAssembly.Module) {
    const { exports } = new WebAssembly.Instance(module, { [MEMORY_FROM]: { memory: this.memory } });
    this.exports = exports as Record<string, Kernel>;
    this.own = new Uint8Array(this.memory.buffer, PAGE, (OWN_PAGES - 1) * PAGE).slice();
  }
  call(name: string, args: readonly number[]): number {
    return (this.exports[name] as Kernel)(...args);
  }
  /** It is as good as new: it answers rightly, and what is its own is as it was. */
  expectUsable(what: string): void {
    const numbers = new Float64Array(this.memory.buffer, OWN_END, 4);
    numbers.set([1, 2, 3, 0]);
    this.call("rowwise_f64", [6, 1, 3, OWN_END, 0, 0, 0, OWN_END + 24, 0, 0, 0, 1, 0, 0, 1]);
    if (numbers[3] !== 3.4076059644443806)
      throw new Error(`${what}: log sum exp is ${numbers[3]} afterwards`);
    const own = new Uint8Array(this.memory.buffer, PAGE, this.own.length);
    if (Buffer.compare(own, this.own) === 0) return;
    const first = own.findIndex((byte, i) => byte !== this.own[i]);
    const last = own.findLastIndex((byte, i) => byte !== this.own[i]);
    if (last - first >= ROOM) throw new Error(`${what}: changed bytes ${first} to ${last} of the constants`);
  }
}

/** What a count or an address is not: JavaScript hands over its lowest 32 bits. */
const EDGES = [
  ...[0, -0, 1, 2, 3, 5, 7, 12, 13, 16, 32, 64, 100, 4096, 65535, 65536, 65537, OWN_END - 16, OWN_END - 1],
  ...[OWN_END, OWN_END + 16, END - 64, END - 16, END - 8, END - 4, END - 1, END, END + 16],
  ...[2 ** 24, 2 ** 28 - 1, 2 ** 29, 2 ** 30, 2 ** 31 - 1, 2 ** 31, 2 ** 31 + 1, 2 ** 32 - 16, 2 ** 32 - 1],
  ...[2 ** 32, 2 ** 32 + 1, 2 ** 32 + 5, 2 ** 40, 2 ** 53 - 1, 2 ** 53, 2 ** 63, 2 ** 64, 0x55555556, 1e300],
  ...[Number.NaN, Infinity, -Infinity, -1, -2, -16, -(2 ** 31), -(2 ** 31) - 1, 0.5, 1.5, -0.5],
];

const GENERATED = new URL("../ts/runtime/generated/", import.meta.url);

describe.each(["core.wasm", "core.scalar.wasm"])("%s", (file) => {
  const module = new WebAssembly.Module(readFileSync(new URL(file, GENERATED)));
  const names = WebAssembly.Module.exports(module)
    .filter(({ kind }) => kind === "function")
    .map(({ name }) => name);

  test.each(names)("%s takes any numbers, at once, and leaves everything usable", (name) => {
    const door = new Door(module);
    const random = randomStream(1);
    const below = (n: number): number => Math.floor(random() * n);
    const draw = (): number => {
      const kind = random();
      if (kind < 0.35) return EDGES[below(EDGES.length)] as number;
      if (kind < 0.7) return below(14);
      return kind < 0.95 ? OWN_END + 16 * below((END - OWN_END) / 16) : below(2 ** 32);
    };
    const count = (door.exports[name] as Kernel).length;
    const start = performance.now();
    for (let i = 0; i < CALLS; i++) {
      const args = Array.from({ length: count }, draw);
      const what = `${name}(${args.join(", ")})`;
      try {
        door.call(name, args);
      } catch (error) {
        throw new Error(`${what} traps: ${error}`);
      }
      door.expectUsable(what);
    }
    // a call that goes through as many empty rows as 32 bits can say takes longer alone
    expect(performance.now() - start).toBeLessThan(10_000);
  });

  test("the modules' own memory is refused, up to its last byte", () => {
    const door = new Door(module);
    const sum = (input: number): number =>
      door.call("rowwise_f64", [6, 1, 2, input, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1]);
    expect(sum(OWN_END)).toBe(Math.log(2));
    for (const input of [8, 1024, PAGE - 8, PAGE, OWN_END - 16, OWN_END - 8]) expect(sum(input)).toBeNaN();
    const before = new Uint8Array(door.memory.buffer, 0, OWN_END).slice();
    for (const values of [8, 1024, PAGE, 2 * PAGE, OWN_END - 16]) {
      // values over the stack, the constants
      const args = [6, 2, 2, OWN_END, 0, 0, 0, values, 0, 0, 0, 1, 0, 0, 1];
      expect(door.call("rowwise_f64", args)).toBe(2 * Math.log(2));
    }
    const after = new Uint8Array(door.memory.buffer, PAGE, OWN_END - PAGE);
    expect(Buffer.compare(after, before.subarray(PAGE))).toBe(0);
  });

  // found by calling it with any numbers
  test("what no memory has room for is no trap, and no loop without an end", () => {
    const door = new Door(module);
    for (const name of ["ctc_scratch_f32", "ctc_scratch_f64"])
      for (const steps of [2 ** 30 + 1, 2 ** 31, 2 ** 32 - 1])
        expect(door.call(name, [steps, 5, 3, 1]) >>> 0).toBe(2 ** 32 - 1);
    // no vectors, of a number of numbers that there can be no room for
    const nothing = [2 ** 40, 0, -1, 6, 0, 3222389930, 1, OWN_END, 100, 100, 13, OWN_END + 64, OWN_END + 128];
    for (const name of ["many_f32", "many_f64"])
      for (let op = 0; op < 6; op++)
        door.call(name, [op, ...nothing, 4096, 16, -0.5, 851984, 2 ** 32 - 1, 65535]);
    for (const name of ["vectors_f32", "vectors_f64"])
      expect(door.call(name, [1, 2 ** 32 - 1, 0, ...new Array(9).fill(0), 1, 0, 0, 0, 0])).toBe(0);
    door.expectUsable("afterwards");
  });
});
