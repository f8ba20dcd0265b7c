/**
 * The same bits wherever the core runs. Calls of all functions are recorded at the door, with the memory before and after, and
 * made again by the core built without SIMD, by the native build on portable lanes, and by another processor where there is one
 * (PERDIDA_OTHER_NODE). One NaN counts as another. Recordings go to files, of which one at a time is in memory: PERDIDA_RUNS may be
 * thousands.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { nativeEnvironment, setup } from "../../scripts/setup.mjs";
import { attempt, ROOT } from "../../scripts/support.mjs";
import { ctcAlign, nearest } from "../../ts/index.js";
import { type AnyLoss, REGISTRY, type Row } from "../../ts/registry.js";
import type { Tensor } from "../../ts/types.js";
import { draw } from "../support/ctc.js";
import { atTheDoor, coreMemory, type Kernel, OWN_END } from "../support/door.js";
import { randomStream, sample, withReduction } from "../support/generate.js";
import { encode, type Recorded, replay } from "../support/recordings.mjs";

/** How many generated calls of each function: with fewer than 12 not all kernels have their turn. */
const RUNS = Math.max(12, Number(process.env.PERDIDA_RUNS ?? 12));
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
const seen = { exports: new Set<string>(), names: new Set<string>(), count: 0, changed: false };

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
  const recorded = (name: string, kernel: Kernel): Kernel => {
    seen.exports.add(name);
    return (...args) => {
      const before = copy();
      const result = kernel(...args) ?? 0;
      const after = copy();
      const end = Math.max(lastOf(before), lastOf(after));
      const total = memory.buffer.byteLength;
      const [start, from, to] = [OWN_END, before.subarray(0, end), after.subarray(0, end)];
      keep({ name, args, result, total, start, before: from, after: to });
      return result;
    };
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

/** The functions without a gradient, which have no row. */
function recordOthers(): void {
  const metrics = ["euclidean", "cosine", "dot"] as const;
  recording(() => {
    for (let seed = 1; seed <= RUNS; seed++) {
      const Numbers = seed % 2 === 0 ? Float32Array : Float64Array;
      const [steps, classes] = [2 + ((seed * 13) % 40), 7];
      const { logits, target } = draw({ seed, steps, classes, labels: steps >> 1, scale: 4 });
      ctcAlign({ data: Numbers.from(logits), shape: [steps, classes] }, target);

      const random = randomStream(seed);
      const [count, length] = [1 + ((seed * 53) % 200), 1 + ((seed * 29) % 70)];
      const number = (): number => (seed % 3 === 0 && random() < 0.01 ? NaN : random());
      const vectors = (n: number): Tensor => ({
        data: Numbers.from(Array.from({ length: n * length }, number)),
        shape: [n, length],
      });
      const metric = metrics[seed % 3] as (typeof metrics)[number];
      nearest(vectors(1 + (seed % 9)), vectors(count), Math.min(count, 1 + (seed % 7)), { metric });
    }
  });
}

/** The page at the start of the memory is the stack, which grows downward (crates/wasm/build.rs). */
const stack = (): Uint8Array => new Uint8Array(memory.buffer, 0, 65536);
stack().fill(0xa5);
REGISTRY.forEach(record);
recordOthers();
write();
const stackUsed = 65536 - stack().findIndex((byte) => byte !== 0xa5);

describe("the same bits", () => {
  test("calls of everything that the core exports were recorded", () => {
    expect([...seen.names].sort()).toEqual([...seen.exports].sort());
    expect(seen.changed).toBe(true);
  });

  test("a quarter of the stack is enough for all", () => {
    expect(stackUsed).toBeGreaterThan(100);
    expect(stackUsed).toBeLessThan(65536 / 4);
  });

  test("without SIMD", () => {
    const scalar = new URL("../../ts/runtime/generated/core.scalar.wasm", import.meta.url);
    expect(replay(readFileSync(scalar), folder)).toBe(seen.count);
  }, 600_000);

  /** A Node of another processor: `qemu-aarch64-static -L /usr/aarch64-linux-gnu NODE`, say. */
  const [command, ...before] = process.env.PERDIDA_OTHER_NODE?.match(/\S+/g) ?? [];
  test.skipIf(command === undefined)(
    "on another processor",
    async () => {
      const script = fileURLToPath(new URL("../support/recordings.mjs", import.meta.url));
      const core = fileURLToPath(new URL("../../dist/perdida.wasm", import.meta.url));
      const { output } = await attempt(command as string, [...before, script, core, folder]);
      expect(output).toContain(`${seen.count} calls gave the same bits`);
    },
    3_600_000,
  );

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
