/** Running the same thing on both engines. */
import { engine, setEngine } from "../../ts/index.js";

export const ENGINES = ["wasm", "js"] as const;
export type EngineName = (typeof ENGINES)[number];

/** Runs with one engine chosen and goes back to the automatic choice. */
export function on<T>(name: EngineName, run: () => T): T {
  setEngine(name);
  try {
    if (engine().name !== name) throw new Error(`the engine is ${engine().name}, not ${name}`);
    return run();
  } finally {
    setEngine("auto");
  }
}
