import { probe } from "./probe.js";

/** The core is in this bundle, each part beside the functions that need it; before one of them is called this tells whether it can run. */
export const source: () => Uint8Array = probe;
