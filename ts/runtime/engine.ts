/** Which engine answers, and why. */
import { source } from "#source";
import { checkChoice, describe, fail, wrongType } from "../errors.js";
import type { DType } from "../types.js";
import { type Exports, MEMORY_FROM, OWN_PAGES } from "./generated/exports.js";
import { CoreLodging, type Lodging } from "./lodging.js";
import { CoreMemory, type MemoryUse } from "./memory.js";
import {
  type Platform,
  platform,
  type ResponseLike,
  type WasmModule,
  type WasmNamespace,
} from "./platform.js";
import { probe } from "./probe.js";

export { addressOf, type Lodging, lodged, lodgedData } from "./lodging.js";

/** A part of the Rust core: its functions, and the owner of the memory of all parts. */
export interface Core {
  readonly exports: Exports;
  readonly memory: CoreMemory;
}

/** What {@link engine} tells. */
export interface EngineInfo {
  /** `"wasm"`: the Rust core; `"js"`: the reference in TypeScript. */
  readonly name: "wasm" | "js";
  /** Why it is the js engine that answers. */
  readonly reason?: string;
  /** Bytes of the core's memory: all of it, what tensors hold, what is kept as scratch. All 0 where there is no core. */
  readonly memory: MemoryUse;
}

/** Where {@link ready} may take the core from: an address (a URL has `href`), a Response, bytes, a compiled module. */
export type CoreSource =
  | string
  | { readonly href: string }
  | ResponseLike
  | PromiseLike<ResponseLike>
  | ArrayBuffer
  | ArrayBufferView
  | WasmModule;

/** What gives a part's bytes, or the whole core as a module; `undefined`: {@link ready} is given the core. */
export type Source = (() => object) | undefined;

/** What a family needs of the core. It is instantiated when the family is first used. */
export interface Part {
  readonly source: Source;
  core: Core | undefined;
}

/** All that the program has: those of functions that it does not use are not in its bundle. */
export const parts: Part[] = [];
/** What tells whether the core can run, where no part has been needed yet. */
const first: Part = { source, core: undefined };
/** The whole core, where it came as one module. */
let whole: Exports | undefined;
/** The memory of all of them, and the same once something runs in it. */
let room: CoreMemory | undefined;
let memory: CoreMemory | undefined;
/** Why there is no core; set by the attempt that failed. */
let refusal: string | undefined;
/** What {@link setEngine} asked for. */
let wanted: "wasm" | "js" | "auto" = "auto";

/** Says what a family needs of the core; nothing happens yet. Marked pure where it is called: what is not used need not be known. */
export function part(from: Source): Part {
  const known = parts.find((other) => other.source === from);
  if (known !== undefined) return known;
  const made: Part = { source: from, core: undefined };
  parts.push(made);
  return made;
}

/** Why an attempt failed, in a sentence that says what to look at. */
function refused(error: unknown): string {
  const { WebAssembly } = platform();
  if (WebAssembly === undefined) return "WebAssembly is missing";
  if (typeof WebAssembly.validate === "function" && !WebAssembly.validate(probe())) {
    return "WebAssembly has no SIMD here";
  }
  return `WebAssembly was refused (${error})`;
}

function imports(WebAssembly: WasmNamespace): object {
  room ??= new CoreMemory(new WebAssembly.Memory({ initial: OWN_PAGES }));
  return { [MEMORY_FROM]: { memory: room.memory } };
}

/** Puts an instance to use; another call may have been faster. */
function keep(of: Part, exports: object, isWhole: boolean): void {
  memory = room as CoreMemory;
  if (isWhole) whole ??= exports as Exports;
  // a copy, because what is an instance's own is looked up anew at each call
  of.core ??= { exports: { ...(whole ?? (exports as Exports)) }, memory };
}

/** Compiles and instantiates a part. One refusal is enough: nothing is tried again until {@link ready} is called. */
function attempt(of: Part): void {
  if (whole !== undefined) keep(of, whole, true);
  else if (of.source === undefined) refusal = "no core was given: await ready(source)";
  else {
    try {
      // where there is none something throws, and that is told of as what it is
      const { WebAssembly } = platform() as Required<Platform>;
      const given = of.source();
      const isWhole = !isBytes(given);
      const module = isWhole ? given : new WebAssembly.Module(given);
      keep(of, new WebAssembly.Instance(module, imports(WebAssembly)).exports, isWhole);
    } catch (error) {
      refusal = refused(error);
    }
  }
}

/** A part of the core where that answers, `undefined` where the reference does. */
export function current(of: Part): Core | undefined {
  if (wanted === "js") return undefined;
  if (of.core === undefined && refusal === undefined) attempt(of);
  if (refusal === undefined) return of.core;
  if (wanted === "wasm") unavailable();
  return undefined;
}

/** The memory of the core where that answers. Where no part has been needed yet, a probe tells. */
function currentMemory(): CoreMemory | undefined {
  if (wanted === "js") return undefined;
  if (memory === undefined && refusal === undefined) attempt(first);
  if (refusal === undefined) return memory;
  if (wanted === "wasm") unavailable();
  return undefined;
}

/** Room for a tensor in the core's memory, where that answers. */
export function lodge(dtype: DType, length: number): Lodging | undefined {
  const answering = currentMemory();
  return answering && new CoreLodging(answering, dtype, length);
}

function unavailable(): never {
  fail("ENGINE", "setEngine", "name", '"wasm"', `an engine that can run here: ${refusal}`);
}

/**
 * Which engine answers, why, and how much of the core's memory is in use.
 *
 * @example
 * ```ts
 * import { engine } from "perdida";
 * console.log(engine().name); // "wasm", or "js" and engine().reason says why
 * ```
 */
export function engine(): EngineInfo {
  const answering = currentMemory();
  const use = memory?.use ?? { total: 0, allocated: 0, scratch: 0 };
  if (answering !== undefined) return { name: "wasm", memory: use };
  return {
    name: "js",
    reason: wanted === "js" ? 'setEngine("js") asked for it' : (refusal as string),
    memory: use,
  };
}

/**
 * Chooses the engine: `"wasm"` throws where the core cannot run instead of falling back, `"js"` is the reference in
 * TypeScript, `"auto"` (the state at the start) is wasm where it runs and js elsewhere.
 *
 * @throws RangeError with code `ENGINE`: wasm is asked for and refused; the message says why.
 * @example
 * ```ts
 * import { engine, setEngine } from "perdida";
 * setEngine("js");
 * console.log(engine().name); // "js"
 * setEngine("auto");
 * ```
 */
export function setEngine(name: "wasm" | "js" | "auto"): void {
  checkChoice("setEngine", "name", name, ["wasm", "js", "auto"]);
  if (name === "wasm") {
    if (memory === undefined && refusal === undefined) attempt(first);
    if (refusal !== undefined) unavailable();
  }
  wanted = name;
}

/**
 * Compiles the core without blocking and waits for it: all that the functions in the program need. Not needed before a first call (what it
 * needs is compiled then, synchronously, in a millisecond), except with `perdida/slim`, which has no core of its own: there `source` is the
 * address of `perdida.wasm` (Node reads those of files), a Response or its promise, its bytes, or a compiled module. Where a first
 * attempt was refused, a later one that succeeds moves the program from the js to the wasm engine; where the core answers already,
 * `source` is not looked at. Resolves to {@link engine}'s answer; it rejects only where a source was given that is none, or
 * cannot be fetched or read.
 *
 * @example
 * ```ts
 * import { ready } from "perdida";
 * const { name } = await ready();
 * console.log(name); // "wasm"
 * ```
 */
export async function ready(from?: CoreSource | PromiseLike<CoreSource>): Promise<EngineInfo> {
  // a core that answers is not exchanged
  const given =
    from === undefined || (memory !== undefined && refusal === undefined) ? undefined : await from;
  const core = given === undefined ? undefined : await resolved(given);
  if (core === undefined && source === undefined) return engine();
  try {
    if (core !== undefined) await prepare({ source: () => core, core: undefined }, true);
    else for (const of of parts.length === 0 ? [first] : parts) await prepare(of);
    refusal = undefined;
  } catch (error) {
    // a core that answers by now, which another call has brought, goes on answering
    if (core === undefined || memory === undefined) refusal = refused(error);
  }
  return engine();
}

/** What {@link attempt} does, without blocking. */
async function prepare(of: Part, isGiven = false): Promise<void> {
  if (whole !== undefined || of.core !== undefined) return;
  const { WebAssembly } = platform() as Required<Platform>;
  const given = (of.source as () => object)();
  const module = isBytes(given) ? await WebAssembly.compile(given) : given;
  const { exports } = await WebAssembly.instantiate(module, imports(WebAssembly));
  // what compiles may still be another module
  if (isGiven && !("many_scratch" in exports && "energy_f64" in exports))
    throw new Error("this module is not perdida.wasm");
  keep(of, exports, isGiven || module === given);
}

function isBytes(given: object): given is ArrayBuffer | ArrayBufferView {
  return ArrayBuffer.isView(given) || Object.prototype.toString.call(given) === "[object ArrayBuffer]";
}

async function resolved(from: CoreSource): Promise<object> {
  if (typeof from === "string" || (typeof from === "object" && from !== null && "href" in from)) {
    const url = typeof from === "string" ? from : (from as { href: string }).href;
    const { fetch, process, URL } = platform();
    if (url.startsWith("file:")) {
      const { readFile } = process?.getBuiltinModule?.("node:fs/promises") ?? {};
      try {
        if (readFile !== undefined && URL !== undefined) return await readFile(new URL(url));
        if (fetch !== undefined) return await resolved(await fetch(url));
      } catch (error) {
        // told of below
        if (error instanceof Error && "argument" in error) throw error;
      }
      fail("ENGINE", "ready", "source", describe(url), "a file that can be read here, or its bytes");
    }
    if (fetch === undefined)
      fail("ENGINE", "ready", "source", describe(url), "bytes or a module: there is no fetch here");
    return resolved(await fetch(url));
  }
  if (typeof from === "object" && from !== null && "arrayBuffer" in from) {
    if (!from.ok)
      fail("ENGINE", "ready", "source", `a response with status ${from.status}`, "the bytes of perdida.wasm");
    return from.arrayBuffer();
  }
  if (typeof from !== "object" || from === null) {
    wrongType("ready", "source", from, "an address, a Response, bytes or a module");
  }
  return from;
}
