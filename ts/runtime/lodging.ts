/** Numbers of a tensor's that live in the core's memory. */
import type { DType, FloatArray, Tensor, TypedArray } from "../types.js";
import type { CoreMemory } from "./memory.js";
import { platform, type Registry } from "./platform.js";

/** Where the numbers of a tensor are. */
export interface Lodging {
  /** Their address in the core's memory; undefined: they are in an array of JavaScript's. */
  readonly address: number | undefined;
  /** The numbers as they are to be seen now. */
  view(): FloatArray;
  /** Gives the room back. */
  give(): void;
}

/** Where a tensor in the core's memory tells its address. */
export const ADDRESS: unique symbol = /* @__PURE__ */ Symbol("address");

/** The address of a tensor in the core's memory; undefined of anything else. */
export function addressOf(value: unknown): number | undefined {
  return typeof value === "object" && value !== null ? (value as { [ADDRESS]?: number })[ADDRESS] : undefined;
}

/** The numbers of a tensor at an address in the core's memory, if it is one and has so many. */
export function lodgedData(value: unknown, address: number, length: number): FloatArray | undefined {
  if (address === 0) return undefined;
  const { data } = value as Tensor;
  return data.length === length ? data : undefined;
}

/** A tensor in the core's memory as an input; undefined of anything else. */
export function lodged(name: string, value: unknown): Lodged | undefined {
  const address = addressOf(value);
  return address === undefined ? undefined : new Lodged(name, value as Tensor & { dtype: DType }, address);
}

/**
 * An input that is a tensor in the core's memory. Its numbers are asked for where they are used: code of the caller's that runs in between
 * may dispose of it, or make the memory grow.
 */
class Lodged {
  readonly shape: readonly number[];
  readonly precision: DType;
  constructor(
    readonly name: string,
    private readonly tensor: Tensor & { readonly dtype: DType },
    readonly address: number,
  ) {
    this.shape = tensor.shape;
    this.precision = tensor.dtype;
  }
  get data(): TypedArray {
    return this.tensor.data;
  }
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
