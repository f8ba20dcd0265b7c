/** What the driver of all losses refuses, and what it leaves undone. */

import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, describe, expect, test, vi } from "vitest";
import { ROOT } from "../scripts/support.mjs";
import * as perdida from "../ts/index.js";
import { ENGINES, on } from "./support/engines.js";
import { expectRefusal } from "./support/refusal.js";

const { crossEntropyLoss, ctcAlign, ctcLoss, ctcPosteriors, cdist, mseLoss, tensor } = perdida;

/** A fresh copy of the library, as a program that has just been started has it. */
async function fresh(): Promise<typeof perdida> {
  vi.resetModules();
  return import("../ts/index.js");
}
afterEach(() => vi.unstubAllGlobals());

describe.each(ENGINES)("%s", (engine) => {
  const check = (name: string, body: () => void) => test(name, () => on(engine, body));

  check("a gradient that is asked for by name and that there is not is refused", () => {
    const logits = new Float32Array([1, 2, 3]);
    const grads = { target: new Float32Array(1) };
    expectRefusal(
      () => crossEntropyLoss.valueAndGrad(logits, 1, { wrt: ["target"], out: { grads } }),
      "OPTION",
      'crossEntropyLoss: wrt[0] is "target", which has no gradient here, expected one of input',
    );
    expect(Object.keys(crossEntropyLoss.valueAndGrad(logits, 1).grads)).toEqual(["input"]);
    const soft = crossEntropyLoss.valueAndGrad(logits, logits, { wrt: ["target"] });
    expect(Object.keys(soft.grads)).toEqual(["target"]);
    expectRefusal(
      () => cdist.valueAndGrad([[1, 2]], { wrt: ["x2" as "x1"] }),
      "OPTION",
      'cdist: wrt[0] is "x2", which has no gradient here, expected one of x1',
    );
    // named twice is named
    expect(mseLoss.valueAndGrad([1], [2], { wrt: ["input", "input"] }).grads.input.data[0]).toBe(-2);
  });

  check("no sample, however many steps it would have had: nothing to do", () => {
    const logits = tensor(new Float32Array(0), [0, 2 ** 30, 2]);
    const from = performance.now();
    expect(ctcLoss.valueAndGrad(logits, []).value).toBeNaN();
    expect(ctcLoss(logits, [], { reduction: "sum" })).toBe(0);
    expect(ctcPosteriors(logits, []).shape).toEqual([0, 2 ** 30, 2]);
    expect(ctcAlign(logits, [])).toEqual([]);
    expect(performance.now() - from).toBeLessThan(1000);
  });

  check("the bits of float16 numbers in integers are refused", () => {
    const bits = new Uint16Array([0x3c00, 0x4000]);
    for (const shape of [{ dims: [2] }, { shape: [2] }]) {
      expectRefusal(
        () => mseLoss({ data: bits, type: "float16", ...shape } as unknown as perdida.Tensor, [1, 2]),
        "TYPE",
        "mseLoss: input is a float16 tensor on a Uint16Array, expected a tensor of float32 or float64",
      );
    }
    // integers they are where nothing else is said
    expect(mseLoss(new Uint16Array([1, 2]), [1, 2])).toBe(0);
    expect(mseLoss({ data: new Float32Array([1, 2]), dims: [2] }, [1, 2])).toBe(0);
  });
});

test("a distance of the caller's own needs no core", async () => {
  const library = await fresh();
  const module = vi.spyOn(WebAssembly, "Module");
  try {
    const distance = (x: Float64Array, y: Float64Array) => ({
      value: Math.abs((x[0] as number) - (y[0] as number)),
      gradX: [1],
      gradY: [-1],
    });
    const { value } = library.tripletMarginWithDistanceLoss.valueAndGrad([[1]], [[2]], [[4]], { distance });
    expect(value).toBe(0);
    expect(module).not.toHaveBeenCalled();
  } finally {
    module.mockRestore();
  }
});

test("a distance of the caller's own may make the memory grow under the tensors that it is called for", () => {
  const [a, p, n] = [1, 2, 4].map((x) => {
    const made = perdida.allocate([1, 1], "float64");
    made.data[0] = x;
    return made;
  }) as [perdida.AllocatedTensor, perdida.AllocatedTensor, perdida.AllocatedTensor];
  const grads = { anchor: perdida.allocate([1, 1], "float64") };
  let large: perdida.AllocatedTensor | undefined;
  const distance = (x: Float64Array, y: Float64Array) => {
    large ??= perdida.allocate([perdida.engine().memory.total]);
    return { value: Math.abs((x[0] as number) - (y[0] as number)), gradX: [7], gradY: [0] };
  };
  const options = { distance, margin: 3, wrt: ["anchor"] as const, out: { grads } };
  const result = perdida.tripletMarginWithDistanceLoss.valueAndGrad(a, p, n, options);
  expect(result.value).toBe(1);
  expect(result.grads.anchor).toBe(grads.anchor);
  for (const made of [a, p, n, grads.anchor, large]) made?.dispose();
});

describe("ready", () => {
  const core = pathToFileURL(join(ROOT, "ts/runtime/generated/core.wasm"));

  test.each([
    ["a URL", core],
    ["its text", core.href],
  ])("reads a file: %s", async (_name, source) => {
    const library = await fresh();
    expect((await library.ready(source)).name).toBe("wasm");
  });

  test.each([
    ["that is not there", new URL("none.wasm", core), process],
    ["where there is no way to read it", core, { ...process, getBuiltinModule: undefined }],
  ])("a file %s is refused", async (_name, source, stub) => {
    vi.stubGlobal("process", stub);
    const library = await fresh();
    await expect(library.ready(source)).rejects.toMatchObject({
      name: "RangeError",
      code: "ENGINE",
      argument: "source",
      received: JSON.stringify(source.href.length > 40 ? `${source.href.slice(0, 40)}...` : source.href),
      expected: "a file that can be read here, or its bytes",
    });
  });
});
