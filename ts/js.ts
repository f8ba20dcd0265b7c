/** perdida/js: the reference in TypeScript alone. WebAssembly is never attempted. */
export * from "./index.js";
