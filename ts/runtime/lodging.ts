/** Numbers of a tensor's that live in the core's memory. */
import type { DType, FloatArray } from "../types.js";
import type { CoreMemory } from "./memory.js";
import { platform, type Registry } from "./platform.js";

/** Where the numbers of a tensor are. */
export interface Lodging {
  /** Their address in the core's memory; 0: they are in an array of JavaScript's. */
  readonly address: number;
  /** The numbers as they are to be seen now. */
  view(): FloatArray;
  /** Gives the room back. */
  give(): void;
}

/** Gives back what was forgotten instead. */
let forgotten: Registry<() => void> | undefined;
/** While a view is in use so is its room: else that could be given to another while numbers are written to it. */
const owners = new WeakMap<FloatArray, Lodging>();

/** A block of the core's memory, filled with zeros. */
export class CoreLodging implements Lodging {
  readonly address: number;
  private seen: FloatArray | undefined;
  /** The memory that the view is of: asking the view itself takes several times as long. */
  private buffer: ArrayBuffer | undefined;

  constructor(
    private readonly memory: CoreMemory,
    private readonly dtype: DType,
    private readonly length: number,
  ) {
    const { bytes } = this;
    const address = memory.take(bytes);
    this.address = address;
    this.view().fill(0);
    const { FinalizationRegistry: Finalizer } = platform();
    if (Finalizer === undefined) return;
    forgotten ??= new Finalizer((give: () => void) => give());
    forgotten.register(this, () => memory.give(address, bytes), this);
  }

  private get bytes(): number {
    return this.length * (this.dtype === "float32" ? 4 : 8);
  }

  view(): FloatArray {
    const { buffer } = this.memory;
    if (this.seen !== undefined && this.buffer === buffer) return this.seen;
    const Type = this.dtype === "float32" ? Float32Array : Float64Array;
    const fresh = new Type(buffer, this.address, this.length);
    this.seen = fresh;
    this.buffer = buffer;
    owners.set(fresh, this);
    return fresh;
  }

  give(): void {
    this.memory.give(this.address, this.bytes);
    forgotten?.unregister(this);
  }
}
