/** Forced alignment on the core without SIMD, call by call beside the one that ships; test/laws/bits.test.ts does it for the losses. */
import { expect, test } from "vitest";
import { ctcAlign, tensor } from "../../ts/index.js";
import { draw } from "../support/ctc.js";
import { atTheDoor, coreMemory, type Kernel, OWN_END, scalarCore } from "../support/door.js";

test("the core without SIMD gives the same bits", () => {
  const memory = coreMemory();
  const { exports: scalar, memory: other } = scalarCore();
  let compared = 0;
  const twice = (name: string, kernel: Kernel): Kernel => {
    if (!/^ctc_align_f\d\d$/.test(name)) return kernel;
    return (...args) => {
      const before = memory.buffer.slice(OWN_END);
      const result = kernel(...args);
      if (other.buffer.byteLength < memory.buffer.byteLength) {
        other.grow((memory.buffer.byteLength - other.buffer.byteLength) / 65536);
      }
      new Uint8Array(other.buffer).set(new Uint8Array(before), OWN_END);
      expect((scalar[name] as Kernel)(...args)).toBe(result);
      const [a, b] = [memory, other].map((m) => Buffer.from(m.buffer, OWN_END, before.byteLength)) as [
        Buffer,
        Buffer,
      ];
      expect(Buffer.compare(a, b)).toBe(0);
      compared++;
      return result;
    };
  };
  atTheDoor(twice, () => {
    for (let seed = 70; seed < 90; seed++) {
      const { logits, target } = draw({
        seed,
        steps: seed - 60,
        classes: 7,
        labels: (seed - 60) >> 1,
        scale: 4,
      });
      for (const Numbers of [Float32Array, Float64Array])
        ctcAlign(tensor(Numbers.from(logits), [logits.length / 7, 7]), target);
    }
  });
  expect(compared).toBe(40);
});
