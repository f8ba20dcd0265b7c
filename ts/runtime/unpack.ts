/** How a part of the core gets out of a bundle. */
import { decoded } from "./base64.js";
import { common, commonLength } from "./generated/common.js";
import { unpacker } from "./generated/unpacker.js";
import { type Platform, platform, type WasmMemory, type WasmModule } from "./platform.js";

/** What crates/unpack exports. */
interface Unpacker {
  readonly memory: WasmMemory;
  /** Gives the address of its buffer; to be called first. */
  begin(): number;
  /** Unpacks what stands in the middle of the buffer to one place of it up to another. */
  unpack(from: number, to: number): void;
  /** Makes the module of that, in the middle of the buffer, and gives its length. */
  restore(from: number, to: number): number;
}
/** The middle of the buffer. */
const MIDDLE = 2 ** 18;

let compiled: WasmModule | undefined;

/**
 * A part of the core stands in a bundle packed, as base64, beside a small module that unpacks it (6 to 20 ms at a first
 * call, measured). Deflated it would take two thirds more over the wire; and base64 alone hides from a server's compression
 * what is alike in it.
 */
export function unpacked(packed: string, length: number): Uint8Array {
  const { WebAssembly } = platform() as Required<Platform>;
  // bytes as two hexadecimal digits each
  compiled ??= new WebAssembly.Module(
    Uint8Array.from(unpacker.match(/../g) ?? [], (byte) => Number(`0x${byte}`)),
  );
  // a new one each time: the odds that it learns start at none
  const { memory, begin, unpack, restore } = new WebAssembly.Instance(compiled).exports as Unpacker;
  const middle = begin() + MIDDLE;
  const add = (text: string, from: number, to: number): void => {
    new Uint8Array(memory.buffer).set(decoded(text), middle);
    unpack(from, to);
  };
  // what all parts make use of
  add(common, 0, commonLength);
  const end = commonLength + length;
  add(packed, commonLength, end);
  return new Uint8Array(memory.buffer, middle, restore(commonLength, end));
}
