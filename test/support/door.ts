/** The core at its door: what is called there. */
import { type Core, current, parts } from "../../ts/runtime/engine.js";
import { OWN_PAGES } from "../../ts/runtime/generated/exports.js";

export type Kernel = (...args: number[]) => number;

/** Where the modules' own stack and constants end. */
export const OWN_END = OWN_PAGES * 65536;

/** Puts something in the place of the functions of all parts of the core while `run` runs. */
export function atTheDoor(replace: (name: string, kernel: Kernel) => Kernel, run: () => void): void {
  const cores = parts.map((part) => current(part) as Core);
  const originals = cores.map(({ exports }) => exports);
  for (const core of cores) {
    const replaced = Object.entries(core.exports).map(([name, kernel]) => [
      name,
      replace(name, kernel as Kernel),
    ]);
    Object.assign(core, { exports: Object.fromEntries(replaced) });
  }
  try {
    run();
  } finally {
    cores.forEach((core, i) => {
      Object.assign(core, { exports: originals[i] });
    });
  }
}

/** The memory that they share. */
export function coreMemory(): WebAssembly.Memory {
  return (current(parts[0] as (typeof parts)[0]) as Core).memory.memory as WebAssembly.Memory;
}
