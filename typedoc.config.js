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
  // links to sources need a remote, which not every clone has
  disableSources: true,
  treatWarningsAsErrors: true,
};
