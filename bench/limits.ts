/**
 * What this machine can do at best from WebAssembly, measured in the same run as everything else: how fast bytes are copied, for
 * as many of them as a case moves, and how many additions and multiplications of four-lane vectors it does.
 */
import { ROOT, run } from "../scripts/support.mjs";
import type { Case } from "./cases.js";
import { type Samples, Timer } from "./measure.js";

/** Vectors that wait for each other only every twelfth instruction: more than enough for any core's pipelines. */
const CHAINS = 12;
const STEPS = 20_000;
const PAGES = 4096;

const names = Array.from({ length: CHAINS }, (_, i) => `$v${i}`);
// the factor is 1 and the summand 0, so that no number grows or becomes denormal
const SOURCE = `
(module
  (memory (export "memory") ${PAGES})
  (func (export "copy") (param $to i32) (param $from i32) (param $bytes i32)
    (memory.copy (local.get $to) (local.get $from) (local.get $bytes)))
  (func (export "compute") (param $steps i32) (param $factor f32) (param $summand f32) (result f32)
    (local $f v128) (local $s v128) ${names.map((name) => `(local ${name} v128)`).join(" ")}
    (local.set $f (f32x4.splat (local.get $factor)))
    (local.set $s (f32x4.splat (local.get $summand)))
    ${names.map((name) => `(local.set ${name} (local.get $f))`).join("\n    ")}
    (loop $again
      ${names
        .map(
          (name) =>
            `(local.set ${name} (f32x4.add (f32x4.mul (local.get ${name}) (local.get $f)) (local.get $s)))`,
        )
        .join("\n      ")}
      (local.set $steps (i32.sub (local.get $steps) (i32.const 1)))
      (br_if $again (local.get $steps)))
    (f32x4.extract_lane 0 ${names
      .slice(1)
      .reduce((sum, name) => `(f32x4.add ${sum} (local.get ${name}))`, `(local.get ${names[0]})`)})))`;

interface Exports {
  readonly memory: WebAssembly.Memory;
  copy(to: number, from: number, bytes: number): void;
  compute(steps: number, factor: number, summand: number): number;
}

/** Binaryen in a Node of its own: the loader that runs this program would take six seconds to look through it. */
const ASSEMBLER = `
import binaryen from "binaryen";
const module = binaryen.parseText(process.argv[1]);
module.setFeatures(binaryen.Features.SIMD128 | binaryen.Features.BulkMemory | binaryen.Features.BulkMemoryOpt);
console.log(Buffer.from(module.emitBinary()).toString("base64"));`;

async function build(): Promise<Exports> {
  const text = await run(process.execPath, ["--input-type=module", "--eval", ASSEMBLER, SOURCE], {
    cwd: ROOT,
  });
  const { instance } = await WebAssembly.instantiate(Buffer.from(text, "base64"));
  return instance.exports as unknown as Exports;
}

/** What was measured of the machine. */
export interface Limits {
  /** Bytes per millisecond when so many bytes are copied: each is read once and written once. */
  readonly copy: readonly { readonly bytes: number; readonly rate: number }[];
  /** Additions and multiplications per millisecond. */
  readonly flops: number;
}

/** From what stays in the first cache to what fits in none. */
const SIZES = [1 << 12, 1 << 15, 1 << 18, 1 << 21, 1 << 24, 1 << 27];

/** Takes a second or two. A limit is the best that was seen: whatever else the machine did meanwhile is no part of it. */
export async function measureLimits(): Promise<Limits> {
  const { copy, compute, memory } = await build();
  // untouched pages are not there yet
  new Uint8Array(memory.buffer).fill(1);
  const rates = [];
  for (const bytes of SIZES) {
    const half = bytes / 2;
    const milliseconds = least(await new Timer(() => copy(half, 0, half)).samples(100));
    rates.push({ bytes, rate: bytes / milliseconds });
  }
  const milliseconds = least(await new Timer(() => compute(STEPS, 1, 0)).samples(100));
  return { copy: rates, flops: (STEPS * CHAINS * 4 * 2) / milliseconds };
}

/** They may be too many for arguments. */
const least = (samples: Samples): number => samples.reduce((a, b) => Math.min(a, b));

/** The least time a case could take, in milliseconds: moving its bytes or doing its arithmetic, whichever is longer. */
export function limitOf({ copy, flops }: Limits, { bytes, flops: work }: Case): number {
  const above = copy.findIndex((one) => one.bytes >= bytes);
  const [high, low] = [
    copy.at(above) as Limits["copy"][0],
    copy[Math.max(0, above - 1)] ?? (copy[0] as Limits["copy"][0]),
  ];
  const t = above <= 0 ? 1 : Math.log(bytes / low.bytes) / Math.log(high.bytes / low.bytes);
  const rate = low.rate ** (1 - t) * high.rate ** t;
  return Math.max(bytes / rate, work / flops);
}
