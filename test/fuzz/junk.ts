/** What does not belong there. */
import type { Dice, World } from "./world.js";

/** An array whose buffer is gone. */
function detached(length: number): Float32Array {
  const array = new Float32Array(length);
  structuredClone(array.buffer, { transfer: [array.buffer] });
  return array;
}

type Resizable = new (length: number, options: { maxByteLength: number }) => ArrayBuffer;

const ring: unknown[] = [];
ring.push(ring);

/** Made anew each time: a call must not be able to spoil it for the next. */
const JUNK: readonly (() => unknown)[] = [
  () => undefined,
  () => null,
  () => true,
  () => "mean",
  () => "",
  () => Number.NaN,
  () => Infinity,
  () => -1,
  () => 0,
  () => 0.5,
  () => 3,
  () => 1e9,
  () => 2 ** 31,
  () => 2 ** 53,
  () => -0,
  () => 7n,
  () => Symbol("s"),
  () => () => 1,
  () => new Date(0),
  () => /x/,
  () => new Map(),
  () => ({}),
  () => Object.create(null),
  () => [],
  () => [[]],
  () => [[1, 2], [3]],
  () => [[1], 2],
  () => [1, "2", 3],
  () => [1, undefined],
  () => new Array(3),
  () => [Number.NaN, Infinity],
  () => [0, 1, 2, 3],
  () => [-1, 1e10, 0.5],
  () => [[0, 1]],
  () => [["input"], 1],
  () => ["input"],
  () => ["input", "input"],
  () => ring,
  () => Int32Array.of(0, 1, 2),
  () => BigInt64Array.of(0n, 5n),
  () => Uint8ClampedArray.of(1, 2),
  () => new Float32Array(0),
  () => new Float64Array(5),
  () => new DataView(new ArrayBuffer(8)),
  () => new ArrayBuffer(8),
  () => detached(3),
  () => new Float32Array(new SharedArrayBuffer(8)),
  () => new Float32Array(new (ArrayBuffer as unknown as Resizable)(8, { maxByteLength: 16 })),
  () => ({ data: new Float32Array(4), shape: [2, 2] }),
  () => ({ data: new Float32Array(4), shape: [4, 2] }),
  () => ({ data: new Float32Array(0), shape: [3, 0] }),
  () => ({ data: new Float32Array(0), shape: [0, 3] }),
  () => ({ data: new Float32Array(0), shape: [1000, 0] }),
  () => ({ data: new Float32Array(0), shape: [2 ** 40, 0] }),
  () => ({ data: new Float32Array(0), shape: [2 ** 20, 2 ** 20, 0, 2 ** 20] }),
  () => ({ data: new Float32Array(4), shape: [-2, -2] }),
  () => ({ data: new Float32Array(4), shape: [2, Number.NaN] }),
  () => ({ data: new Float32Array(1), shape: new Array(40).fill(1) }),
  () => ({ data: new Float32Array(1), shape: [] }),
  () => ({ data: [1, 2], shape: [2] }),
  () => ({ data: detached(3), shape: [0] }),
  () => ({ data: Float32Array.of(1, 2), dims: [2] }),
  () => ({ data: Float32Array.of(1, 2), shape: "2" }),
  () => ({ value: new Float32Array(1) }),
  () => ({ value: 3 }),
  () => ({ grads: { input: new Float32Array(1), x1: new Float64Array(2) } }),
  () => ({ grads: [] }),
  () => ({ reduction: "sum", bogus: 1 }),
  () => new Proxy({}, {}),
  () => new Proxy([1, 2, 3], {}),
];

export function junk(dice: Dice): unknown {
  return dice.pick(JUNK)();
}

/** What cannot be written to, or has not the length. */
export function wrongOutput(world: World, dice: Dice, length: number): unknown {
  const gone = world.library.allocate([length]);
  gone.dispose();
  return dice.pick([
    () => new Float32Array(length + 1 + dice.below(3)),
    () => new Float64Array(length + 1),
    () => world.allocate([length + 1], "float32"),
    () => new Int32Array(length),
    () => new Array(length).fill(0),
    () => "out",
    () => 0,
    () => ({}),
    () => ({ data: new Array(length).fill(0) }),
    () => gone,
    () => (length === 0 ? "none" : detached(length)),
    () => new Float32Array(new SharedArrayBuffer(length * 4)),
    () =>
      new Float32Array(
        new (ArrayBuffer as unknown as Resizable)(length * 4, { maxByteLength: length * 4 + 16 }),
      ),
    () => new DataView(new ArrayBuffer(length * 4)),
  ])();
}

/** The codes that an output may be refused with. */
export function refusesOutputs(code: string | undefined): boolean {
  return code === "TYPE" || code === "LENGTH" || code === "BUFFER" || code === "DISPOSED";
}
