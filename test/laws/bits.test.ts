/**
 * The same bits wherever the core runs. Calls of all functions are recorded at the door, with the memory before and after, and
 * made again by the core built without SIMD and by the native build on portable lanes. One NaN counts as another. Recordings go to files,
 * of which one at a time is in memory: PERDIDA_RUNS may be thousands.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
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
  /** What stands behind what is the modules' own, as far as there is anything but zeros. */
  readonly before: Uint8Array;
  readonly after: Uint8Array;
}

/** How many generated calls of each function. */
const RUNS = Number(process.env.PERDIDA_RUNS ?? 12);
/** Bytes of a file of recordings. */
const FILE = 64 << 20;

const memory = coreMemory();
/** Of this process: the suite runs on two builds at a time. */
const folder = join(ROOT, "target/bits", String(process.pid));
mkdirSync(folder, { recursive: true });
afterAll(() => rmSync(folder, { recursive: true }), 120_000);

/** What has not gone to a file yet. */
let waiting: Buffer[] = [];
let bytes = 0;
let files = 0;
const seen = { names: new Set<string>(), count: 0, changed: false };

function write(): void {
  writeFileSync(join(folder, `${String(files).padStart(6, "0")}.bin`), Buffer.concat(waiting));
  files += 1;
  waiting = [];
  bytes = 0;
}

function keep(call: Recorded): void {
  seen.names.add(call.name);
  seen.count += 1;
  seen.changed ||= Buffer.compare(call.before, call.after) !== 0;
  const encoded = encode(call);
  waiting.push(encoded);
  bytes += encoded.length;
  if (bytes > FILE) write();
}

/** Runs something with every call at the door recorded. */
function recording(run: () => void): void {
  const copy = (): Uint8Array => new Uint8Array(memory.buffer.slice(OWN_END));
  const recorded =
    (name: string, kernel: Kernel): Kernel =>
    (...args) => {
      const before = copy();
      const result = kernel(...args) ?? 0;
      const after = copy();
      const end = Math.max(lastOf(before), lastOf(after));
      const total = memory.buffer.byteLength;
      keep({ name, args, result, total, before: before.subarray(0, end), after: after.subarray(0, end) });
      return result;
    };
  atTheDoor(recorded, run);
}

/** Where the zeros at the end begin, rounded up to whole doubles. */
function lastOf(bytes: Uint8Array): number {
  const words = new Float64Array(bytes.buffer, bytes.byteOffset, bytes.length / 8);
  return 8 * (words.findLastIndex((x) => !Object.is(x, 0)) + 1);
}

function record(row: Row): void {
  const loss: AnyLoss = row.loss;
  // what others have left there is not this function's to keep
  new Uint8Array(memory.buffer, OWN_END).fill(0);
  recording(() => {
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
REGISTRY.forEach(record);
write();
const stackUsed = 65536 - stack().findIndex((byte) => byte !== 0xa5);

describe("the same bits", () => {
  test("calls were recorded, of more than one kernel", () => {
    expect(seen.names.size).toBeGreaterThan(3);
    expect(seen.changed).toBe(true);
  });

  test("a quarter of the stack is enough for all", () => {
    expect(stackUsed).toBeGreaterThan(100);
    expect(stackUsed).toBeLessThan(65536 / 4);
  });

  test("without SIMD", () => {
    const { exports, memory } = scalarCore();
    for (const { name, args, result, total, before, after } of recordings()) {
      if (memory.buffer.byteLength < total) memory.grow((total - memory.buffer.byteLength) / 65536);
      const room = new Uint8Array(memory.buffer, OWN_END);
      room.fill(0, before.length);
      room.set(before);
      const again = (exports[name] as Kernel)(...args) ?? 0;
      if (!Object.is(again, result))
        expect.fail(`${name}(${args.join(", ")}) gave ${again}, expected ${result}`);
      expectSameMemory(room.subarray(0, after.length), after, `${name}(${args.join(", ")})`);
    }
  }, 600_000);

  test("native, on portable lanes", async () => {
    const env = { ...nativeEnvironment(await setup()), PERDIDA_CALLS: folder };
    const args = [
      "test",
      "--quiet",
      "--release",
      "-p",
      "perdida-wasm",
      "--",
      "--ignored",
      "--nocapture",
      "replays",
    ];
    const { ok, output } = await attempt("cargo", args, { env });
    expect(ok, output).toBe(true);
    expect(output).toMatch(/1 passed/);
    expect(output).toContain(`${seen.count} calls gave the same bits`);
  }, 600_000);
});

/** For crates/wasm/src/replay.rs: lengths as u32, arguments and result as f64, all little-endian. */
function encode({ name, args, result, total, before, after }: Recorded): Buffer {
  const head = Buffer.alloc(4 * 5 + 8 * (args.length + 1));
  let at = 0;
  for (const n of [name.length, args.length, total, OWN_END, before.length]) at = head.writeUInt32LE(n, at);
  for (const x of [...args, result]) at = head.writeDoubleLE(x, at);
  return Buffer.concat([head, Buffer.from(name), before, after]);
}

/** All that was recorded, file by file. */
function* recordings(): Generator<Recorded> {
  for (const name of readdirSync(folder).sort()) {
    const file = readFileSync(join(folder, name));
    let at = 0;
    const length = (): number => {
      at += 4;
      return file.readUInt32LE(at - 4);
    };
    const number = (): number => {
      at += 8;
      return file.readDoubleLE(at - 8);
    };
    const part = (bytes: number): Buffer => {
      at += bytes;
      return file.subarray(at - bytes, at);
    };
    while (at < file.length) {
      const [letters, count, total, _start, bytes] = [length(), length(), length(), length(), length()];
      const args = Array.from({ length: count }, number);
      const result = number();
      const name = part(letters).toString();
      yield { name, args, result, total, before: part(bytes), after: part(bytes) };
    }
  }
}
