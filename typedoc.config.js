import { sources } from "./scripts/entries.mjs";

/** @type {Partial<import("typedoc").TypeDocOptions>} */
export default {
  name: "perdida",
  entryPoints: Object.values(sources),
  tsconfig: "tsconfig.lib.json",
  out: "docs/api",
  plugin: ["./scripts/optionsOf.mjs"],
  readme: "README.md",
  excludeInternal: true,
  excludePrivate: true,
  // it lets FloatArray be reduced, and is no type that anybody names
  intentionallyNotExported: ["ts/types.ts:Reducible"],
  // links to sources need a remote, which not every clone has
  disableSources: true,
  treatWarningsAsErrors: true,
};
