/** What a program of calls works on: tensors in the core, plain arrays side by side in one buffer, and what is known of them. */
import type { AllocatedTensor, DType, FloatArray } from "../../ts/index.js";
import { randomStream } from "../support/generate.js";
import type { Library } from "../support/library.js";

/** A place for numbers: a piece of a tensor in the core's memory, or of a buffer of the program's. */
export interface Place {
  readonly owner: AllocatedTensor | ArrayBuffer;
  /** Bytes from the owner's start. */
  readonly offset: number;
  readonly length: number;
  readonly dtype: DType;
}

/** Decisions, the same for the same seed. */
export class Dice {
  private readonly next: () => number;
  constructor(seed: number) {
    this.next = randomStream(seed);
  }
  below(n: number): number {
    return Math.floor(this.next() * n);
  }
  chance(p: number): boolean {
    return this.next() < p;
  }
  pick<T>(of: readonly T[]): T {
    return of[this.below(of.length)] as T;
  }
  seed(): number {
    return this.below(2 ** 31);
  }
}

/** Bytes that a call may write. */
interface Span {
  readonly owner: Place["owner"];
  readonly start: number;
  readonly end: number;
}

const MOST_TENSORS = 12;
/** What is allocated to make the memory grow stays below this. */
const MOST_MEMORY = 48 << 20;

export const WIDTH = { float32: 4, float64: 8 } as const;

export class World {
  readonly tensors: AllocatedTensor[] = [];
  /** Arrays of the program's own lie here, over each other now and then. */
  readonly buffer = new ArrayBuffer(1 << 13);
  private readonly start: number;
  private wanted: "wasm" | "js" | "auto" = "auto";

  constructor(
    readonly library: Library,
    seed: number,
  ) {
    const numbers = new Float32Array(this.buffer);
    const random = randomStream(seed);
    for (let i = 0; i < numbers.length; i++) numbers[i] = 4 * random() - 2;
    library.setEngine("auto");
    this.start = library.engine().memory.allocated;
  }

  /** The engine that answers. */
  get engine(): "wasm" | "js" {
    return this.wanted === "js" ? "js" : "wasm";
  }

  /** Chooses the engine for the calls that follow. */
  choose(name: "wasm" | "js" | "auto"): void {
    this.wanted = name;
    this.library.setEngine(name);
  }

  /** Runs something on one engine. */
  on<T>(name: "wasm" | "js", run: () => T): T {
    this.library.setEngine(name);
    try {
      return run();
    } finally {
      this.library.setEngine(this.wanted);
    }
  }

  /** Whether its owner was not disposed of. */
  isThere({ owner }: Place): boolean {
    return isThere(owner);
  }

  /** A tensor in the core, or on the js engine anywhere. */
  allocate(shape: readonly number[], dtype: DType): AllocatedTensor {
    const tensor = this.library.allocate(shape, dtype);
    this.tensors.push(tensor);
    return tensor;
  }

  /** Makes room between two steps, when no call holds a place any more. */
  trim(): void {
    while (this.tensors.length > MOST_TENSORS) this.drop(0);
  }

  /** Disposes of a tensor. */
  drop(i: number): void {
    const [tensor] = this.tensors.splice(i, 1);
    tensor?.dispose();
    if (tensor !== undefined && !tensor.disposed) throw new Error("a tensor was not disposed of");
  }

  /** Makes the memory grow, within limits. */
  grow(dice: Dice): void {
    const { total } = this.library.engine().memory;
    if (total > MOST_MEMORY) return;
    this.library.allocate([Math.ceil(total / 4) + dice.below(5000)]).dispose();
  }

  /** A place of its own for a tensor. */
  fresh(dice: Dice, shape: readonly number[], dtype: DType): Place {
    const length = shape.reduce((n, m) => n * m, 1);
    const owner = dice.chance(0.6) ? this.allocate(shape, dtype) : new ArrayBuffer(length * WIDTH[dtype]);
    return { owner, offset: 0, length, dtype };
  }

  /** A place for a tensor: of its own, or on what is there already. */
  place(dice: Dice, shape: readonly number[], dtype: DType): Place {
    const length = shape.reduce((n, m) => n * m, 1);
    const bytes = length * WIDTH[dtype];
    const whole = dice.chance(0.5);
    const fits = this.tensors.filter((t) => t.dtype === dtype && t.data.byteLength >= bytes);
    if (fits.length > 0 && dice.chance(0.4)) {
      const owner = dice.pick(fits);
      const room = (owner.data.byteLength - bytes) / WIDTH[dtype];
      return { owner, offset: dice.below(room + 1) * WIDTH[dtype], length, dtype };
    }
    if (whole || bytes > this.buffer.byteLength) return this.fresh(dice, shape, dtype);
    const room = (this.buffer.byteLength - bytes) / WIDTH[dtype];
    return { owner: this.buffer, offset: dice.below(Math.min(room, 64) + 1) * WIDTH[dtype], length, dtype };
  }

  /** Its numbers, as an array on the memory as it is now. */
  view({ owner, offset, length, dtype }: Place): FloatArray {
    const Type = dtype === "float32" ? Float32Array : Float64Array;
    if (owner instanceof ArrayBuffer) return new Type(owner, offset, length);
    const { data } = owner;
    return new Type(data.buffer as ArrayBuffer, data.byteOffset + offset, length);
  }

  /** All bytes that are there; `check` then compares them with those that are there later. */
  snapshot(places: readonly Place[]): Snapshot {
    const owners = new Set<Place["owner"]>([...this.tensors, this.buffer, ...places.map((p) => p.owner)]);
    const before = new Map<Place["owner"], Uint8Array>();
    for (const owner of owners) if (isThere(owner)) before.set(owner, bytesOf(owner).slice());
    return before;
  }

  /** Nothing but `written` has changed since. */
  expectUnchanged(before: Snapshot, written: readonly Place[], what: string): void {
    const spans: Span[] = written.map(({ owner, offset, length, dtype }) => ({
      owner,
      start: offset,
      end: offset + length * WIDTH[dtype],
    }));
    for (const [owner, expected] of before) {
      if (!isThere(owner)) continue;
      const actual = bytesOf(owner);
      if (Buffer.compare(actual, expected) === 0) continue;
      const inside = spans.filter((span) => span.owner === owner);
      for (let i = 0; i < expected.length; i++) {
        if (actual[i] !== expected[i] && !inside.some(({ start, end }) => i >= start && i < end)) {
          const name = owner instanceof ArrayBuffer ? "an array" : `tensor ${this.tensors.indexOf(owner)}`;
          throw new Error(`${what} changed byte ${i} of ${expected.length} of ${name}`);
        }
      }
    }
  }

  /** The end: everything can be given back. */
  close(): void {
    while (this.tensors.length > 0) this.drop(0);
    this.library.setEngine("auto");
    const { allocated, scratch, total } = this.library.engine().memory;
    if (allocated !== this.start) throw new Error(`${allocated - this.start} bytes were not given back`);
    if (scratch > 1 << 20) throw new Error(`${scratch} bytes are kept as scratch`);
    if (total > 4 * MOST_MEMORY) throw new Error(`the memory has grown to ${total} bytes`);
  }
}

/** What stood where. */
export type Snapshot = ReadonlyMap<Place["owner"], Uint8Array>;

function isThere(owner: Place["owner"]): boolean {
  return owner instanceof ArrayBuffer || !owner.disposed;
}

function bytesOf(owner: Place["owner"]): Uint8Array {
  if (owner instanceof ArrayBuffer) return new Uint8Array(owner);
  const { data } = owner;
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
