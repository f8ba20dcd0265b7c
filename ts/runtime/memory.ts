/**
 * The one owner of the core's memory, which all parts share. The core itself allocates nothing; blocks are handed out here, from a list of what
 * is free, so that their bookkeeping cannot be overwritten by numbers and nothing is hidden from `engine().memory`.
 */
import { fail } from "../errors.js";
import type { TypedArray } from "../types.js";
import { viewOf, type WasmMemory } from "./platform.js";

const PAGE = 65536;
/** Blocks start at multiples of this: a vector's width. */
const ALIGN = 16;
/** Scratch up to this size is kept between calls; a larger one goes back after each call. */
const KEPT = 1 << 20;

interface Block {
  start: number;
  end: number;
}

/** Bytes of the core's memory: all of it, what tensors hold, what is kept for scratch. */
export interface MemoryUse {
  readonly total: number;
  readonly allocated: number;
  readonly scratch: number;
}

export class CoreMemory {
  /** The whole memory in each type; made anew when it grows, which detaches the old ones. */
  f32!: Float32Array;
  f64!: Float64Array;
  i32!: Int32Array;
  buffer!: ArrayBuffer;
  /** What is free, by address; neighbours are merged. */
  private readonly free: Block[] = [];
  private end: number;
  private used = 0;
  private arena = 0;
  private arenaSize = 0;
  private arenaTaken = false;

  constructor(readonly memory: WasmMemory) {
    this.refresh();
    // what the modules have there (stack, constants) stays as it is
    this.end = this.buffer.byteLength;
  }

  private refresh(): void {
    this.buffer = this.memory.buffer;
    this.f32 = new Float32Array(this.buffer);
    this.f64 = new Float64Array(this.buffer);
    this.i32 = new Int32Array(this.buffer);
  }

  get use(): MemoryUse {
    return { total: this.buffer.byteLength, allocated: this.used - this.arenaSize, scratch: this.arenaSize };
  }

  /** Whether an array lives here. The offset is asked first: a small array of JavaScript's has no buffer until that is asked for. */
  holds(array: ArrayBufferView): boolean {
    return array.byteOffset >= PAGE && array.buffer === this.buffer;
  }

  /** The numbers that a view had at an address, viewed anew: growth detaches views. */
  viewAnew(view: TypedArray, address: number, count: number): TypedArray {
    return viewOf(view, this.buffer, address, count);
  }

  /** A block of at least `bytes`, at a multiple of 16. Throws a RangeError where memory is exhausted and changes nothing then. */
  take(bytes: number): number {
    const size = rounded(bytes);
    for (let i = 0; i < this.free.length; i++) {
      const block = this.free[i] as Block;
      if (block.end - block.start < size) continue;
      const start = block.start;
      block.start += size;
      if (block.start === block.end) this.free.splice(i, 1);
      this.used += size;
      return start;
    }
    // the last free block may reach the end, then only what it lacks is grown
    const last = this.free[this.free.length - 1];
    const start = last !== undefined && last.end === this.end ? last.start : this.end;
    const least = Math.ceil((start + size - this.end) / PAGE);
    // an eighth more than there is: in Node a growth costs milliseconds, however small, once there is much (measured: 2 from 64 MB on)
    let pages = Math.max(least, Math.floor(this.end / PAGE / 8));
    try {
      try {
        this.memory.grow(pages);
      } catch {
        pages = least;
        this.memory.grow(pages);
      }
    } catch {
      fail(
        "OUT_OF_MEMORY",
        "perdida",
        "the core's memory",
        `${this.end} bytes`,
        `room for ${bytes} more (at most 4 GiB in all)`,
      );
    }
    this.refresh();
    if (start !== this.end) this.free.pop();
    this.end += pages * PAGE;
    if (start + size < this.end) this.free.push({ start: start + size, end: this.end });
    this.used += size;
    return start;
  }

  /** Gives a block back. */
  give(start: number, bytes: number): void {
    const size = rounded(bytes);
    const end = start + size;
    let i = this.free.length;
    while (i > 0 && (this.free[i - 1] as Block).start > start) i--;
    const before = this.free[i - 1];
    const after = this.free[i];
    if (before !== undefined && before.end === start) {
      before.end = end;
      if (after !== undefined && after.start === end) {
        before.end = after.end;
        this.free.splice(i, 1);
      }
    } else if (after !== undefined && after.start === end) {
      after.start = start;
    } else {
      this.free.splice(i, 0, { start, end });
    }
    this.used -= size;
  }

  /** What {@link enter} gives where it has room without growing the memory; else 0. */
  enterKept(bytes: number): number {
    if (this.arenaTaken || bytes > this.arenaSize) return 0;
    this.arenaTaken = true;
    return this.arena;
  }

  /** Scratch for one call: the kept block where it is large enough and not in use. Give it back with {@link leave}. */
  enter(bytes: number): number {
    const kept = this.enterKept(bytes);
    if (kept !== 0) return kept;
    if (this.arenaTaken || bytes > KEPT) return this.take(bytes);
    // twice as much as before, so that a growing program does not do this at every call
    const size = rounded(Math.min(KEPT, Math.max(bytes, 2 * this.arenaSize, 4096)));
    const arena = this.take(size);
    if (this.arenaSize > 0) this.give(this.arena, this.arenaSize);
    this.arena = arena;
    this.arenaSize = size;
    this.arenaTaken = true;
    return arena;
  }

  /** The end of what {@link enter} began, with the same size. */
  leave(start: number, bytes: number): void {
    if (this.arenaTaken && start === this.arena) this.arenaTaken = false;
    else this.give(start, bytes);
  }
}

function rounded(bytes: number): number {
  return Math.max(ALIGN, Math.ceil(bytes / ALIGN) * ALIGN);
}
