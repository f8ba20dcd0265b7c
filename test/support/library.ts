/** The library in an instance of its own, as a program that has just been started has it: its memory starts small, and grows again and again. */
import { vi } from "vitest";

type Index = typeof import("../../ts/index.js");
type Energy = typeof import("../../ts/energy.js");
type Registry = typeof import("../../ts/registry.js");

/** All of one instance. */
export interface Library extends Index {
  readonly energy: Energy;
  readonly rows: Registry["REGISTRY"];
}

export async function freshLibrary(): Promise<Library> {
  vi.resetModules();
  const index = await import("../../ts/index.js");
  const energy = await import("../../ts/energy.js");
  const { REGISTRY } = await import("../../ts/registry.js");
  return { ...index, energy, rows: REGISTRY };
}
