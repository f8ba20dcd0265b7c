/**
 * Calls at the door, recorded in files and made again on a core in a memory of its own. Plain JavaScript, so that any Node runs it, that
 * of another processor too:
 *
 *   node test/support/recordings.mjs core.wasm FOLDER
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

/**
 * One call at the door. `before` and `after` are the memory from `start` on, where what is the modules' own ends, as far as there is
 * anything but zeros.
 *
 * @typedef {{ name: string, args: readonly number[], result: number, total: number, start: number, before: Uint8Array, after: Uint8Array }} Recorded
 */

/**
 * Lengths as u32, arguments and result as f64, all little-endian; crates/wasm/src/replay.rs reads that as well.
 *
 * @param {Recorded} call
 */
export function encode({ name, args, result, total, start, before, after }) {
  const head = Buffer.alloc(4 * 5 + 8 * (args.length + 1));
  let at = 0;
  for (const n of [name.length, args.length, total, start, before.length]) at = head.writeUInt32LE(n, at);
  for (const x of [...args, result]) at = head.writeDoubleLE(x, at);
  return Buffer.concat([head, Buffer.from(name), before, after]);
}

/**
 * All that was recorded, file by file.
 *
 * @param {string} folder
 * @returns {Generator<Recorded>}
 */
function* recordings(folder) {
  for (const name of readdirSync(folder).sort()) {
    const file = readFileSync(join(folder, name));
    let at = 0;
    const length = () => {
      at += 4;
      return file.readUInt32LE(at - 4);
    };
    const number = () => {
      at += 8;
      return file.readDoubleLE(at - 8);
    };
    const part = (/** @type {number} */ bytes) => {
      at += bytes;
      return file.subarray(at - bytes, at);
    };
    while (at < file.length) {
      const [letters, count] = [length(), length()];
      const [total, start, bytes] = [length(), length(), length()];
      const args = Array.from({ length: count }, number);
      const result = number();
      const name = part(letters).toString();
      yield { name, args, result, total, start, before: part(bytes), after: part(bytes) };
    }
  }
}

/**
 * Whether two words of a memory are the same, or are parts of numbers that are NaN on both sides.
 *
 * @param {DataView} a
 * @param {DataView} b
 * @param {number} at
 */
function sameWord(a, b, at) {
  if (a.getUint32(at, true) === b.getUint32(at, true)) return true;
  const single = (/** @type {DataView} */ view) => Number.isNaN(view.getFloat32(at, true));
  const double = (/** @type {DataView} */ view) => Number.isNaN(view.getFloat64(at & ~7, true));
  return (single(a) && single(b)) || (double(a) && double(b));
}

/**
 * Makes all calls of a folder again.
 *
 * @param {BufferSource} bytes the core
 * @param {string} folder
 * @returns {number} how many there were: all gave the bits that were recorded; others are an error
 */
export function replay(bytes, folder) {
  const module = new WebAssembly.Module(bytes);
  /** @type {WebAssembly.Memory | undefined} */
  let memory;
  /** @type {WebAssembly.Exports} */
  let exports = {};
  let zeros = Buffer.alloc(0);
  let calls = 0;
  for (const { name, args, result, total, start, before, after } of recordings(folder)) {
    const call = () => `${name}(${args.join(", ")})`;
    if (memory === undefined) {
      memory = new WebAssembly.Memory({ initial: start / 65536 });
      // it is all that a core imports
      const imported = { memory };
      const imports = WebAssembly.Module.imports(module).map(({ module }) => [module, imported]);
      exports = new WebAssembly.Instance(module, Object.fromEntries(imports)).exports;
    }
    if (memory.buffer.byteLength < total) memory.grow((total - memory.buffer.byteLength) / 65536);
    const room = new Uint8Array(memory.buffer, start);
    room.fill(0, before.length);
    room.set(before);
    const kernel = /** @type {(...args: readonly number[]) => number | undefined} */ (exports[name]);
    const again = kernel(...args) ?? 0;
    if (!Object.is(again, result)) throw new Error(`${call()} gave ${again}, expected ${result}`);
    const expected = new DataView(after.buffer, after.byteOffset, after.byteLength);
    const actual = new DataView(memory.buffer, start);
    for (let at = 0; at < after.length; at += 4) {
      if (!sameWord(actual, expected, at))
        throw new Error(`${call()}: other bits at byte ${at} of ${after.length}`);
    }
    const behind = room.subarray(after.length);
    if (zeros.length < behind.length) zeros = Buffer.alloc(behind.length);
    if (!zeros.subarray(0, behind.length).equals(behind))
      throw new Error(`${call()}: other bits behind byte ${after.length}`);
    calls += 1;
  }
  return calls;
}

const [, program = "", wasm = "", folder = ""] = process.argv;
if (import.meta.url === pathToFileURL(program).href) {
  console.log(`${replay(readFileSync(wasm), folder)} calls gave the same bits`);
}
