/** perdida/slim: the same without the core's bytes. `await ready(source)` brings them; until then the js engine answers. */
export * from "./index.js";
