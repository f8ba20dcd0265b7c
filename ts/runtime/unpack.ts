/** How a part of the core gets out of a bundle. */
import { decoded } from "./base64.js";
import { common, commonLength } from "./generated/common.js";
import { unpacker } from "./generated/unpacker.js";
import { platform, type WasmMemory, type WasmModule } from "./platform.js";

/** What crates/unpack exports. */
interface Unpacker {
  readonly memory: WasmMemory;
  /** Unpacks what stands in the middle of its buffer to one place of it up to another, and gives its address. */
  unpack(from: number, to: number): number;
}
/** The middle of the buffer. */
const MIDDLE = 2 ** 18;

let compiled: WasmModule | undefined;

/**
 * A part of the core stands in a bundle packed, as base64, beside a small module that unpacks it (2 to 4 ms, measured). Deflated it
 * would take two fifths more over the wire; and base64 alone hides from a server's compression what is alike in it.
 */
export function unpacked(packed: string, length: number): Uint8Array {
  const { WebAssembly } = platform();
  if (WebAssembly === undefined) throw undefined;
  compiled ??= new WebAssembly.Module(decoded(unpacker));
  // a new one each time: the odds that it learns start at none
  const { memory, unpack } = new WebAssembly.Instance(compiled).exports as Unpacker;
  const address = unpack(0, 0);
  const add = (text: string, from: number, to: number): void => {
    new Uint8Array(memory.buffer).set(decoded(text), address + MIDDLE);
    unpack(from, to);
  };
  // what all parts make use of
  add(common, 0, commonLength);
  add(packed, commonLength, commonLength + length);
  return new Uint8Array(memory.buffer, address + commonLength, length);
}
