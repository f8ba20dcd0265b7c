/**
 * The tests that take long, at their full size: `node scripts/deep.mjs [filters for vitest]`. Which those are they say themselves, by
 * looking at PERDIDA_DEEP.
 */
process.env.PERDIDA_DEEP = "1";
const [, , ...filters] = process.argv;
process.argv.splice(
  2,
  filters.length,
  "js",
  ...(filters.length > 0 ? filters : ["energy/functional", "test/memory/"]),
);
await import("./test.mjs");
