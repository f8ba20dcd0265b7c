/** The engine of an entry point that has no core: it is the reference that answers, always. */
import { checkChoice, fail } from "../errors.js";
import type { EngineInfo } from "./engine.js";

const NONE = "this entry point has no WebAssembly";
let reason = NONE;

/** No room: there are no tensors but arrays of JavaScript's. */
export function lodge(): undefined {}

/** No tensor has an address. */
export function addressOf(): undefined {}
export function lodgedData(): undefined {}
export function lodged(): undefined {}

/** Which engine answers, and why. */
export function engine(): EngineInfo {
  return { name: "js", reason, memory: { total: 0, allocated: 0, scratch: 0 } };
}

/** Refuses all engines but `"js"` and `"auto"`. */
export function setEngine(name: "wasm" | "js" | "auto"): void {
  checkChoice("setEngine", "name", name, ["wasm", "js", "auto"]);
  if (name === "wasm") fail("ENGINE", "setEngine", "name", '"wasm"', `an engine that can run here: ${NONE}`);
  reason = name === "js" ? 'setEngine("js") asked for it' : NONE;
}

/** Ready from the start. */
export async function ready(): Promise<EngineInfo> {
  return engine();
}
