/**
 * The same bits wherever the core runs. Calls of all functions are recorded at the door, with the memory before and after, and
 * made again by the core built without SIMD and by the native build on portable lanes. One NaN counts as another.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { nativeEnvironment, setup } from "../../scripts/setup.mjs";
import { attempt, ROOT } from "../../scripts/support.mjs";
import { type AnyLoss, REGISTRY, type Row } from "../../ts/registry.js";
import { atTheDoor, coreMemory, type Kernel, OWN_END, scalarCore } from "../support/door.js";
import { sample, withReduction } from "../support/generate.js";

/** One call at the door. */
interface Recorded {
  readonly name: string;
  readonly args: readonly number[];
  readonly result: number;
  readonly total: number;
  /** What stands behind what is the modules' own. */
  readonly before: Uint8Array;
  readonly after: Uint8Array;
}

/** How many generated calls of each function. */
const RUNS = Number(process.env.PERDIDA_RUNS ?? 12);

const memory = coreMemory();

/** Runs something with every call at the door recorded. */
function recording(run: () => void): Recorded[] {
  const calls: Recorded[] = [];
  const copy = (): Uint8Array => new Uint8Array(memory.buffer.slice(OWN_END));
  const recorded =
    (name: string, kernel: Kernel): Kernel =>
    (...args) => {
      const before = copy();
      const result = kernel(...args) ?? 0;
      calls.push({ name, args, result, total: memory.buffer.byteLength, before, after: copy() });
      return result;
    };
  atTheDoor(recorded, run);
  return calls;
}

function calls(row: Row): Recorded[] {
  const loss: AnyLoss = row.loss;
  return recording(() => {
    for (let seed = 1; seed <= RUNS; seed++) {
      const dtype = seed % 2 === 0 ? "float32" : "float64";
      const s = sample(row, {
        seed: seed * 7919,
        dtype,
        size: 1 + ((seed * 13) % 70),
        hostile: seed % 3 === 0,
      });
      loss.valueAndGrad(...s.args, withReduction(row, s, seed));
    }
  });
}

/** Whether two words of a memory are the same, or are parts of numbers that are NaN on both sides. */
function sameWord(a: DataView, b: DataView, at: number): boolean {
  if (a.getUint32(at, true) === b.getUint32(at, true)) return true;
  const single = (view: DataView): boolean => Number.isNaN(view.getFloat32(at, true));
  const double = (view: DataView): boolean => Number.isNaN(view.getFloat64(at & ~7, true));
  return (single(a) && single(b)) || (double(a) && double(b));
}

function expectSameMemory(actual: Uint8Array, expected: Uint8Array, what: string): void {
  const [a, e] = [actual, expected].map((x) => new DataView(x.buffer, x.byteOffset, x.byteLength)) as [
    DataView,
    DataView,
  ];
  for (let at = 0; at < expected.length; at += 4) {
    if (!sameWord(a, e, at)) expect.fail(`${what}: other bits at byte ${at} of ${expected.length}`);
  }
}

/** The page at the start of the memory is the stack, which grows downward (crates/wasm/build.rs). */
const stack = (): Uint8Array => new Uint8Array(memory.buffer, 0, 65536);
stack().fill(0xa5);
const recorded = REGISTRY.flatMap(calls);
const stackUsed = 65536 - stack().findIndex((byte) => byte !== 0xa5);

describe("the same bits", () => {
  test("calls were recorded, of more than one kernel", () => {
    expect(new Set(recorded.map(({ name }) => name)).size).toBeGreaterThan(3);
    expect(recorded.some(({ before, after }) => Buffer.compare(before, after) !== 0)).toBe(true);
  });

  test("a quarter of the stack is enough for all", () => {
    expect(stackUsed).toBeGreaterThan(100);
    expect(stackUsed).toBeLessThan(65536 / 4);
  });

  test("without SIMD", () => {
    const { exports, memory } = scalarCore();
    for (const { name, args, result, total, before, after } of recorded) {
      if (memory.buffer.byteLength < total) memory.grow((total - memory.buffer.byteLength) / 65536);
      new Uint8Array(memory.buffer).set(before, OWN_END);
      const again = (exports[name] as Kernel)(...args) ?? 0;
      if (!Object.is(again, result))
        expect.fail(`${name}(${args.join(", ")}) gave ${again}, expected ${result}`);
      expectSameMemory(
        new Uint8Array(memory.buffer, OWN_END, after.length),
        after,
        `${name}(${args.join(", ")})`,
      );
    }
  });

  test("native, on portable lanes", async () => {
    const file = join(ROOT, "target/bits/calls.bin");
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, Buffer.concat(recorded.map(encode)));
    const env = { ...nativeEnvironment(await setup()), PERDIDA_CALLS: file };
    const args = ["test", "--quiet", "--release", "-p", "perdida-wasm", "--", "--ignored", "replays"];
    const { ok, output } = await attempt("cargo", args, { env });
    expect(ok, output).toBe(true);
    expect(output).toMatch(/1 passed/);
  }, 300_000);
});

/** For crates/wasm/src/replay.rs: lengths as u32, arguments and result as f64, all little-endian. */
function encode({ name, args, result, total, before, after }: Recorded): Buffer {
  const head = Buffer.alloc(4 * 5 + 8 * (args.length + 1));
  let at = 0;
  for (const n of [name.length, args.length, total, OWN_END, before.length]) at = head.writeUInt32LE(n, at);
  for (const x of [...args, result]) at = head.writeDoubleLE(x, at);
  return Buffer.concat([head, Buffer.from(name), before, after]);
}
