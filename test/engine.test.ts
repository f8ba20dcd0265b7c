/** The choice of the engine: every refusal ends in the js engine with its reason; nothing changes behind a program's back. */
import { readFileSync } from "node:fs";
import vm from "node:vm";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { freshLibrary, type Library } from "./support/library.js";

type Wasm = Record<"Module" | "Instance" | "Memory" | "validate" | "compile" | "instantiate", unknown>;
const original = (globalThis as unknown as { WebAssembly: Wasm }).WebAssembly;

function install(replacement: unknown): void {
  Object.defineProperty(globalThis, "WebAssembly", {
    value: replacement,
    configurable: true,
    writable: true,
  });
}
function refusing(method: "Module" | "Instance", error: () => Error): Wasm {
  return {
    ...properties(original),
    [method]: class {
      constructor() {
        throw error();
      }
    },
  };
}
function properties(wasm: Wasm): Wasm {
  const { Module, Instance, Memory, validate, compile, instantiate } = wasm;
  return { Module, Instance, Memory, validate, compile, instantiate };
}
beforeEach(() => install(original));
afterEach(() => install(original));

function answers(library: Library): void {
  const { value, grads } = library.crossEntropyLoss.valueAndGrad([[1, 2, 3]], [2]);
  expect(value).toBeCloseTo(0.40760596, 7);
  expect(grads.input.data[0]).toBeCloseTo(0.09003057, 7);
}

describe("a refusal ends in the js engine, and engine() says why", () => {
  test("no WebAssembly", async () => {
    install(undefined);
    const library = await freshLibrary();
    answers(library);
    expect(library.engine()).toEqual({
      name: "js",
      reason: "WebAssembly is missing",
      memory: { total: 0, allocated: 0, scratch: 0 },
    });
  });

  test("a content security policy without 'wasm-unsafe-eval': V8's own error", async () => {
    const context = vm.createContext({}, { codeGeneration: { strings: true, wasm: false } });
    const theirs = vm.runInContext("WebAssembly", context) as Wasm;
    install(theirs);
    const library = await freshLibrary();
    answers(library);
    const { name, reason } = library.engine();
    expect(name).toBe("js");
    expect(reason).toMatch(/^WebAssembly was refused \(CompileError: .*code generation disallowed/i);
  });

  test("no SIMD", async () => {
    install({
      ...refusing("Module", () => new Error("invalid opcode 0xfd")),
      validate: () => false,
    });
    const library = await freshLibrary();
    answers(library);
    expect(library.engine().reason).toBe("WebAssembly has no SIMD here");
  });

  test("Chrome's limit of 4 KB on the main thread; an asynchronous ready() then brings the core", async () => {
    const limit =
      "WebAssembly.Compile is disallowed on the main thread, if the buffer size is larger than 4KB.";
    class Module extends WebAssembly.Module {
      constructor(bytes: Uint8Array<ArrayBuffer>) {
        if (bytes.byteLength > 4096) throw new RangeError(limit);
        super(bytes);
      }
    }
    install({ ...properties(original), Module });
    const library = await freshLibrary();
    answers(library);
    expect(library.engine()).toMatchObject({
      name: "js",
      reason: `WebAssembly was refused (RangeError: ${limit})`,
    });
    const info = await library.ready();
    expect(info.name).toBe("wasm");
    expect(library.engine().reason).toBeUndefined();
    answers(library);
  });

  test("a core that nothing here decodes; without Buffer atob does", async () => {
    for (const [missing, expected] of [
      [["Buffer", "atob"], "WebAssembly was refused (Error: no way to decode base64)"],
      [["Buffer"], undefined],
    ] as const) {
      const library = await freshLibrary();
      for (const name of missing) vi.stubGlobal(name, undefined);
      try {
        answers(library);
        expect(library.engine().reason).toBe(expected);
      } finally {
        vi.unstubAllGlobals();
      }
    }
  });

  test("refused when it is instantiated", async () => {
    install(refusing("Instance", () => new Error("Refused to create a WebAssembly object")));
    const library = await freshLibrary();
    answers(library);
    expect(library.engine().reason).toBe(
      "WebAssembly was refused (Error: Refused to create a WebAssembly object)",
    );
  });

  test("one attempt: a program that was refused is not asked again", async () => {
    const attempts = vi.fn();
    install(
      refusing("Module", () => {
        attempts();
        return new Error("no");
      }),
    );
    const library = await freshLibrary();
    answers(library);
    answers(library);
    library.engine();
    expect(attempts).toHaveBeenCalledTimes(1);
  });
});

describe("setEngine", () => {
  test('"wasm" throws instead of falling back', async () => {
    install(undefined);
    const library = await freshLibrary();
    expect(() => library.setEngine("wasm")).toThrow(
      expect.objectContaining({ name: "RangeError", code: "ENGINE" }),
    );
    expect(() => library.setEngine("wasm")).toThrow(/WebAssembly is missing/);
    answers(library);
  });

  test("names that are none are refused", async () => {
    const library = await freshLibrary();
    expect(() => library.setEngine("webgpu" as "js")).toThrow(
      'setEngine: name is "webgpu", expected "wasm" or "js" or "auto"',
    );
  });

  test("goes to js and back", async () => {
    const library = await freshLibrary();
    library.setEngine("js");
    expect(library.engine()).toMatchObject({ name: "js", reason: 'setEngine("js") asked for it' });
    library.setEngine("auto");
    expect(library.engine().name).toBe("wasm");
  });

  test("a tensor of the core's memory is read right by the js engine", async () => {
    const { allocate, setEngine, softmax } = await freshLibrary();
    const t = allocate([2]);
    t.data.set([1, 1]);
    setEngine("js");
    expect(Array.from(softmax(t).data)).toEqual([0.5, 0.5]);
  });
});

/** The sizes of the modules that are compiled while something runs. */
function compiled(run: () => void): number[] {
  const sizes: number[] = [];
  class Module extends WebAssembly.Module {
    constructor(bytes: Uint8Array<ArrayBuffer>) {
      super(bytes);
      sizes.push(bytes.byteLength);
    }
  }
  install({ ...properties(original), Module });
  try {
    run();
  } finally {
    install(original);
  }
  return sizes;
}
const sizeOf = (part: string): number =>
  readFileSync(new URL(`../ts/runtime/generated/parts/${part}.packed.wasm`, import.meta.url)).length;

describe("the parts of the core", () => {
  test("are compiled when a function of theirs is first called, once", async () => {
    const library = await freshLibrary();
    const { mseLoss, softmax } = library;
    const parts = compiled(() => {
      answers(library);
      mseLoss([1], [2]);
      softmax([1, 2]);
      mseLoss([1], [2]);
    }).filter((size) => size > 4096);
    expect(parts).toEqual([sizeOf("rowwise"), sizeOf("pointwise")]);
  });

  test("are not compiled for a tensor, nor for the question which engine answers", async () => {
    const library = await freshLibrary();
    const parts = compiled(() => {
      const before = library.engine().memory.total;
      library.allocate([2]);
      library.setEngine("wasm");
      expect(library.engine().name).toBe("wasm");
      expect(before).toBeGreaterThan(0);
    });
    const all = ["pointwise", "rowwise", "vectors", "many", "ctc", "align", "energy"].map(sizeOf);
    expect(parts.filter((size) => all.includes(size))).toEqual([]);
    answers(library);
  });

  test("are all there after ready(): nothing is compiled any more", async () => {
    const library = await freshLibrary();
    await library.ready();
    const parts = compiled(() => {
      answers(library);
      library.mseLoss([1], [2]);
      library.ctcLoss([[1, 2]], [1]);
      library.ctcPosteriors([[1, 2]], [1]);
      library.ctcAlign([[1, 2]], [1]);
      library.cdist([[1, 2]], [[3, 4]]);
    });
    expect(parts).toEqual([]);
  });

  test("are compiled by one ready() only, and not at all where the whole core is there", async () => {
    for (const whole of [
      undefined,
      readFileSync(new URL("../ts/runtime/generated/core.wasm", import.meta.url)),
    ]) {
      const library = await freshLibrary();
      await library.ready(whole);
      const compile = vi.fn();
      install({ ...properties(original), compile });
      expect((await library.ready()).name).toBe("wasm");
      expect(compile).not.toHaveBeenCalled();
      install(original);
      answers(library);
    }
  });

  test("share one memory: a tensor goes from one to the other without a copy", async () => {
    const { allocate, engine, mseLoss, pairwiseDistance, softmax } = await freshLibrary();
    const x = allocate([1, 4]);
    x.data.set([1, 2, 3, 4]);
    const y = softmax(x, { out: { value: allocate([1, 4]) } });
    const before = engine().memory;
    const difference = [1, 2, 3, 4].map((n, i) => n - (y.data[i] as number));
    const squares = difference.reduce((sum, d) => sum + d * d, 0);
    expect(mseLoss(x, y)).toBeCloseTo(squares / 4, 5);
    expect(pairwiseDistance(x, y).data[0]).toBeCloseTo(Math.sqrt(squares), 4);
    expect(engine().memory.allocated).toBe(before.allocated);
  });

  test("one that is refused later ends in the js engine for all, and engine() says why", async () => {
    const library = await freshLibrary();
    answers(library);
    expect(library.engine().name).toBe("wasm");
    install(refusing("Module", () => new Error("no more")));
    expect(library.mseLoss([1], [3])).toBe(4);
    expect(library.engine()).toMatchObject({
      name: "js",
      reason: "WebAssembly was refused (Error: no more)",
    });
    answers(library);
    expect(() => library.setEngine("wasm")).toThrow(/no more/);
    install(original);
    expect((await library.ready()).name).toBe("wasm");
    expect(library.mseLoss([1], [3])).toBe(4);
  });

  test("the whole core takes the place of those that were refused", async () => {
    install(refusing("Module", () => new Error("no")));
    const library = await freshLibrary();
    answers(library);
    install(original);
    const whole = readFileSync(new URL("../ts/runtime/generated/core.wasm", import.meta.url));
    expect((await library.ready(whole)).name).toBe("wasm");
    const parts = compiled(() => {
      answers(library);
      library.mseLoss([1], [2]);
    });
    expect(parts).toEqual([]);
  });
});

describe("ready", () => {
  const bytes = (): Uint8Array => readFileSync(new URL("../ts/runtime/generated/core.wasm", import.meta.url));

  test.each([
    ["its own core", () => undefined],
    ["bytes", bytes],
    ["an ArrayBuffer", () => Uint8Array.from(bytes()).buffer],
    ["a compiled module", () => new WebAssembly.Module(Uint8Array.from(bytes()))],
    ["a Response", () => new Response(Uint8Array.from(bytes()))],
    ["the promise of a Response", () => Promise.resolve(new Response(Uint8Array.from(bytes())))],
    ["an address", () => `data:application/wasm;base64,${Buffer.from(bytes()).toString("base64")}`],
    ["a URL", () => new URL(`data:application/wasm;base64,${Buffer.from(bytes()).toString("base64")}`)],
  ])("takes %s", async (_name, source) => {
    const library = await freshLibrary();
    const info = await library.ready(source() as never);
    expect(info.name).toBe("wasm");
    answers(library);
  });

  test("a response that is none and an answer that is no core are told apart", async () => {
    const library = await freshLibrary();
    await expect(library.ready(new Response("not found", { status: 404 }))).rejects.toThrow(/status 404/);
    const info = await library.ready(new Uint8Array([1, 2, 3]));
    expect(info).toMatchObject({ name: "js" });
    expect(info.reason).toMatch(/CompileError/);
  });

  test.each([null, 5, true, Symbol("core")])("what is no source is refused in words: %s", async (source) => {
    const library = await freshLibrary();
    await expect(library.ready(source as never)).rejects.toMatchObject({ code: "TYPE", argument: "source" });
    answers(library);
  });

  /** Modules that compile, and are none of this library's. */
  const others = {
    empty: [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    // (module (func (export "many_scratch")))
    similar: [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 4, 1, 0x60, 0, 0, 3, 2, 1, 0, 7, 16, 1, 12]
      .concat([...Buffer.from("many_scratch")])
      .concat([0, 0, 10, 4, 1, 2, 0, 0x0b]),
  };
  test.each(Object.entries(others))("another module is no core: %s", async (_name, module) => {
    const library = await freshLibrary();
    const info = await library.ready(Uint8Array.from(module));
    expect(info.name).toBe("js");
    expect(info.reason).toContain("this module is not perdida.wasm");
    answers(library);
    expect((await library.ready(bytes())).name).toBe("wasm");
    answers(library);
  });

  test("of calls side by side, in any order, one that succeeds is enough", async () => {
    const wrong = [Uint8Array.of(1, 2, 3), Uint8Array.from(others.empty)];
    for (const sources of [
      [bytes(), ...wrong],
      [...wrong, bytes()],
      [wrong[0], bytes(), wrong[1], bytes()],
    ]) {
      const library = await freshLibrary();
      await Promise.all(sources.map((source) => library.ready(source)));
      expect(library.engine().name).toBe("wasm");
      const t = library.allocate([3]);
      t.data.set([1, 2, 3]);
      expect(library.logSumExp(t).data[0]).toBeCloseTo(3.4076059, 6);
      t.dispose();
      expect((await library.ready(wrong[0])).name).toBe("wasm");
    }
  });
});

test("the wasm engine is the one that answers here", async () => {
  const library = await freshLibrary();
  expect(library.engine().name).toBe("wasm");
  expect(library.engine().memory.total).toBeGreaterThan(0);
});

test("nothing happens at import", async () => {
  const attempts = vi.fn();
  install(
    new Proxy(original, {
      get(target, name) {
        attempts(name);
        return Reflect.get(target, name) as unknown;
      },
    }),
  );
  const library = await freshLibrary();
  expect(attempts).not.toHaveBeenCalled();
  answers(library);
  expect(attempts).toHaveBeenCalled();
});
