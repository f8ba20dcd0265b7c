/**
 * The wasm engine: how a call gets through the door. Arrays that live in the core's memory go in by address, others through scratch; an
 * output that overlaps anything goes through scratch as well.
 */
import {
  type Call,
  checkAttached,
  checkDomain,
  type Domain,
  type Door,
  NOWHERE,
  OUTSIDE,
  overlap,
  type Slot,
  spread,
} from "./call.js";
import { type Core, current, part, type Source } from "./runtime/engine.js";
import type { Exports } from "./runtime/generated/exports.js";
import type { CoreMemory } from "./runtime/memory.js";
import { viewOf } from "./runtime/platform.js";
import type { FloatArray, TypedArray } from "./types.js";

/** What a kernel is handed: the address of each slot, or 0 where there is none. No family has more than eleven. */
export type Addresses = [
  number,
  number,
  number,
  number,
  number,
  number,
  number,
  number,
  number,
  number,
  number,
  ...number[],
];

/** How the kernels of a part of the core are called. `P` is what the family keeps for a call. */
export interface Kernels<P> {
  /** The kernels' numbers, by the names of the losses: the table of the family in crates/kernels/src. None where there is one kernel. */
  readonly numbers: { readonly [name: string]: number };
  /** Calls the kernel; gives the sum of the losses. */
  call(exports: Exports, call: Call, plan: P, at: Addresses): number;
  /** How many bytes of scratch the kernel needs: its address is the last one. */
  readonly scratch?: (exports: Exports, call: Call, plan: P) => number;
  /**
   * Of a family that works element by element: the plan for so many elements. Long arrays that must be copied then go through scratch
   * piece by piece.
   */
  readonly piece?: (count: number) => P;
}

/** All of them have one form here, so that a call costs no more in a program that uses many. */
interface Known {
  readonly call: Kernels<unknown>["call"];
  readonly scratch: Kernels<unknown>["scratch"] | undefined;
  readonly piece: Kernels<unknown>["piece"] | undefined;
}

/** The door to a part of the core, whose bytes or module `source` gives. */
export function door<P>(source: Source, { numbers, ...kernels }: Kernels<P>): Door<P> {
  const { call, scratch, piece } = kernels as Kernels<unknown>;
  const known: Known = { call, scratch, piece };
  const of = part(source);
  return {
    numbers,
    run(call, plan) {
      const core = current(of);
      return core === undefined ? undefined : run(core, known, call, plan);
    },
  };
}

/** Whether what a slot has at its address overlaps what another one has at its own. What has no place compares as nothing does. */
function overlapsInPlace(slot: Slot, slots: readonly Slot[], at: Addresses, real: number): boolean {
  const start = at[slot.place] as number;
  if (start === 0) return false;
  const end = start + bytesOf(slot, real);
  for (let k = 0; k < slots.length; k++) {
    const other = slots[k] as Slot;
    if (other === slot) continue;
    const first = at[other.place] as number;
    if (first !== 0 && first < end && start < first + bytesOf(other, real)) return true;
  }
  return false;
}

/** Whether the kernel can use the array of a slot where it stands, if that is in the core's memory. */
function fits({ kind, array, length, address, wide }: Slot, real: number): boolean {
  if (address === OUTSIDE || wide !== undefined || length === 0) return false;
  if (kind === "int") return array instanceof Int32Array;
  return real === 8 || kind === "double" ? array instanceof Float64Array : array instanceof Float32Array;
}

/** Bytes of what a slot holds, where a real takes so many. */
function bytesOf({ kind, length }: Slot, real: number): number {
  return length * (kind === "real" ? real : kind === "double" ? 8 : kind === "int" ? 4 : 1);
}

/** Bytes that a slot takes in scratch, where each starts at a vector's width. */
function roomFor(slot: Slot, real: number): number {
  return Math.ceil(bytesOf(slot, real) / 16) * 16;
}

function run({ memory, exports }: Core, kernels: Known, call: Call, plan: unknown): number {
  const { slots, dtype } = call;
  // long enough for every family
  const at: Addresses = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
  const needed = kernels.scratch === undefined ? 0 : kernels.scratch(exports, call, plan);
  // 32 bits of the core's are a signed number here
  if (needed !== 0)
    call.push("bytes", undefined, needed < 0 ? needed + 2 ** 32 : needed, false, OUTSIDE, call.places++);
  const real = dtype === "float32" ? 4 : 8;
  let bytes = 0;
  let written = false;
  for (let i = 0; i < slots.length; i++) {
    const slot = slots[i] as Slot;
    checkAttached(slot, call.where);
    if (slot.place === NOWHERE) continue;
    let address = 0;
    if (fits(slot, real)) {
      const array = slot.array as FloatArray;
      address = slot.address > 0 ? slot.address : memory.holds(array) ? array.byteOffset : 0;
    }
    at[slot.place] = address;
    if (address === 0) bytes += roomFor(slot, real);
    else written ||= slot.out;
  }
  // what is written must overlap nothing else: else it goes through scratch as well
  if (written) {
    for (const slot of slots.filter((slot) => slot.out && overlapsInPlace(slot, slots, at, real))) {
      at[slot.place] = 0;
      bytes += roomFor(slot, real);
    }
  }
  if (bytes > PIECE * real && kernels.piece !== undefined && canGoInPieces(call))
    return inPieces(memory, exports, kernels, call, at, real);
  const start = bytes === 0 ? 0 : enter(memory, bytes, slots);
  try {
    let next = start;
    for (let i = 0; i < slots.length && bytes > 0; i++) {
      const slot = slots[i] as Slot;
      if (at[slot.place] !== 0 || slot.length === 0) continue;
      at[slot.place] = next;
      if (slot.array !== undefined && !slot.out) copyIn(memory, next, slot, real);
      next += roomFor(slot, real);
    }
    if (call.domain !== undefined) check(exports, call, at);
    const sum = kernels.call(exports, call, plan, at);
    for (let i = 0; i < slots.length && bytes > 0; i++) {
      const slot = slots[i] as Slot;
      const address = at[slot.place] as number;
      if (slot.out && address >= start && address < start + bytes) copyOut(memory, address, slot, real);
    }
    return sum;
  } finally {
    if (bytes > 0) memory.leave(start, bytes);
  }
}

/** Refuses numbers outside of their domain. The core searches them where they were placed; only what it finds is told of here. */
function check(exports: Exports, call: Call, at: Addresses): void {
  const { kind } = call.domain as Domain;
  const { length, place } = call.checked as Slot;
  const find = call.dtype === "float32" ? exports.find_invalid_f32 : exports.find_invalid_f64;
  if (find(kind, length, at[place] as number) >= 0) checkDomain(call);
}

/**
 * How many elements make a piece: few enough for the second cache, so that copying costs little. The kernel adds up by such
 * pieces too (crates/kernels/src/pointwise), so a sum has the same bits either way.
 */
const PIECE = 16384;

/**
 * No array is spread, so all have one length, and those that are written lie apart. What is refused must be found before anything is
 * written: then there are no pieces.
 */
function canGoInPieces({ slots, domain }: Call): boolean {
  if (domain !== undefined) return false;
  const present = slots.filter((slot) => slot.place !== NOWHERE);
  return present.every(
    (slot) =>
      slot.wide === undefined &&
      (!slot.out || !present.some((other) => other !== slot && overlap(slot, other))),
  );
}

/** On long arrays, see {@link Kernels.piece}. Those that have an address already stay in place. */
function inPieces(
  memory: CoreMemory,
  exports: Exports,
  kernels: Known,
  call: Call,
  at: Addresses,
  real: number,
): number {
  const { slots } = call;
  const copied = slots.filter(({ place }) => at[place] === 0);
  const bytes = copied.length * PIECE * real;
  const start = enter(memory, bytes, slots);
  try {
    const { length } = copied[0] as Slot;
    let sum = 0;
    for (let first = 0; first < length; first += PIECE) {
      const count = Math.min(PIECE, length - first);
      const here = at.map((address) => address && address + first * real) as Addresses;
      const pieces = copied.map(({ kind, array, out, place }, k) => {
        const address = start + k * PIECE * real;
        const from = array as FloatArray;
        const piece = viewOf(from, from.buffer, from.byteOffset + first * from.BYTES_PER_ELEMENT, count);
        here[place] = address;
        return { kind, array: piece, count, out, address, place, wide: undefined, length: count };
      });
      for (const piece of pieces) if (!piece.out) copyIn(memory, piece.address, piece, real);
      sum += kernels.call(exports, call, kernels.piece?.(count), here);
      for (const piece of pieces) if (piece.out) copyOut(memory, piece.address, piece, real);
    }
    return sum;
  } finally {
    memory.leave(start, bytes);
  }
}

/** Takes scratch. Where the memory grows for it, arrays that live there are viewed anew: growth detaches the old views. */
function enter(memory: CoreMemory, bytes: number, slots: readonly Slot[]): number {
  const kept = memory.enterKept(bytes);
  if (kept !== 0) return kept;
  const offsets = slots.map(({ array }) =>
    array !== undefined && memory.holds(array) ? array.byteOffset : -1,
  );
  const before = memory.buffer;
  const start = memory.enter(bytes);
  if (memory.buffer !== before) {
    slots.forEach((slot, i) => {
      const offset = offsets[i] as number;
      if (offset >= 0) slot.array = memory.viewAnew(slot.array as TypedArray, offset, slot.count);
    });
  }
  return start;
}

/** The core's memory, seen as what a slot holds. */
function viewFor(memory: CoreMemory, { kind }: Slot, real: number): FloatArray | Int32Array {
  return kind === "int" ? memory.i32 : kind === "double" || real === 8 ? memory.f64 : memory.f32;
}

/** Up to here a loop is cheaper than the call of set(). */
const SHORT = 64;

function copyIn(memory: CoreMemory, address: number, slot: Slot, real: number): void {
  const { length } = slot;
  const array = slot.array as FloatArray;
  const whole = viewFor(memory, slot, real);
  const first = address / whole.BYTES_PER_ELEMENT;
  if (slot.wide !== undefined || typeof array[0] === "bigint")
    spread(whole.subarray(first, first + length), slot);
  else if (length <= SHORT) copyShort(array, 0, whole, first, length);
  else whole.set(array, first);
}

function copyOut(memory: CoreMemory, address: number, slot: Slot, real: number): void {
  const { length } = slot;
  const array = slot.array as FloatArray;
  const whole = viewFor(memory, slot, real);
  const first = address / whole.BYTES_PER_ELEMENT;
  if (length <= SHORT) copyShort(whole, first, array, 0, length);
  else array.set(whole.subarray(first, first + length));
}

function copyShort(
  from: FloatArray | Int32Array,
  at: number,
  to: FloatArray | Int32Array,
  first: number,
  length: number,
): void {
  // a loop over arrays of one known type is compiled to a few instructions
  if (from instanceof Float32Array && to instanceof Float32Array) {
    for (let i = 0; i < length; i++) to[first + i] = from[at + i] as number;
  } else if (from instanceof Float64Array && to instanceof Float64Array) {
    for (let i = 0; i < length; i++) to[first + i] = from[at + i] as number;
  } else for (let i = 0; i < length; i++) to[first + i] = from[at + i] as number;
}
