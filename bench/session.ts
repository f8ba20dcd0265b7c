/** What bench/main.ts and bench/compare.ts have in common: choosing cases, starting engines, measuring family by family. */
import { InvalidArgumentError } from "commander";
import { Failure, say } from "../scripts/support.mjs";
import type { Family } from "../ts/registry.js";
import { type Case, idOf } from "./cases.js";
import type { Engine } from "./engines.js";
import { measureFamily, type Plan, type Results } from "./run.js";

/** The registry's own list is not imported: it brings the library from its sources, and what is measured is the built one. */
export const FAMILIES: readonly Family[] = ["pointwise", "rowwise", "vectors", "ctc", "energy"];

/** The cases of a family. */
export async function casesOf(family: Family): Promise<readonly Case[]> {
  const { cases } = (await import(`./${family}.bench.ts`)) as { cases: readonly Case[] };
  return cases;
}

/** The cases that a word is found in; all where there are no words. */
export async function choose(words: readonly string[]): Promise<Case[]> {
  const all = (await Promise.all(FAMILIES.map(casesOf))).flat();
  const chosen = all.filter(
    (one) =>
      words.length === 0 ||
      words.some((word) => `${one.family} ${idOf(one)}`.toLowerCase().includes(word.toLowerCase())),
  );
  if (chosen.length === 0) {
    throw new Failure(`no case has ${words.join(" or ")} in its name; families: ${FAMILIES.join(", ")}`);
  }
  return chosen;
}

/** Reads a number above 0 from the command line. */
export function positive(text: string): number {
  const value = Number(text);
  if (!(value > 0 && value < Infinity)) throw new InvalidArgumentError("It must be a number above 0.");
  return value;
}

/** What became of a run. */
export interface Outcome {
  readonly results: Results;
  /** Whether an engine failed at a case or computed something else. */
  readonly troubled: boolean;
}

/** Measures, and shows each family when it is done. */
export async function measure(
  cases: readonly Case[],
  engines: readonly Engine[],
  plan: Plan,
  show: (family: Family, cases: readonly Case[], results: Results) => void,
): Promise<Outcome> {
  const results: Results = new Map();
  let troubled = false;
  const listener = {
    progress(done: number, all: number, what: string) {
      if (process.stderr.isTTY) process.stderr.write(`\x1b[2K\r  ${done} of ${all}: ${what}`);
    },
    trouble(one: Case, engine: Engine, why: string) {
      troubled = true;
      clear();
      say(`${engine.name} at ${idOf(one)}: ${why.split("\n")[0]}`);
    },
  };
  const clear = () => {
    if (process.stderr.isTTY) process.stderr.write("\x1b[2K\r");
  };
  for (const family of FAMILIES) {
    const chosen = cases.filter((one) => one.family === family);
    if (chosen.length === 0) continue;
    const measured = await measureFamily(chosen, engines, plan, listener);
    clear();
    const absent = new Set(chosen.filter((one) => !measured.has(idOf(one))).map(({ name }) => name));
    if (absent.size > 0 && !troubled) say(`not there yet: ${[...absent].join(", ")}`);
    for (const [id, times] of measured) results.set(id, times);
    if (measured.size === 0) continue;
    show(
      family,
      chosen.filter((one) => measured.has(idOf(one))),
      measured,
    );
  }
  return { results, troubled };
}
