// Edge runtimes compile no bytes but import a module that was compiled with the worker.
import module from "./generated/core.wasm";

/** The core was compiled when the worker was uploaded. */
export const source: () => object = () => module;
