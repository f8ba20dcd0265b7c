/**
 * The history of measurements: bench/history/DATE.jsonl, kept in git. A line is a run: when, of which commit, on which machine,
 * and milliseconds per call with their interval, for each engine and case. Lines are added and never changed.
 */
import { appendFileSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Limits } from "./limits.js";
import { type Machine, nameOf } from "./machine.js";
import { type Estimate, estimate } from "./measure.js";
import type { Results } from "./run.js";

const FOLDER = fileURLToPath(new URL("history", import.meta.url));

/** A median with its interval, as it is written. */
type Entry = readonly [median: number, low: number, high: number];

/** One run. */
export interface Run {
  readonly time: string;
  readonly commit: string;
  readonly machine: Machine;
  /** Of Node and of every engine. */
  readonly versions: Readonly<Record<string, string>>;
  readonly rounds: number;
  readonly limits: Limits;
  /** By engine and case. */
  readonly results: Readonly<Record<string, Readonly<Record<string, Entry>>>>;
}

/** Four digits: more is noise, and fills the repository. */
const short = (x: number): number => Number(x.toPrecision(4));

/** What is written of measurements. */
export function entriesOf(results: Results): Run["results"] {
  const byEngine: Record<string, Record<string, Entry>> = {};
  for (const [id, engines] of results) {
    for (const [engine, rounds] of engines) {
      const { median, low, high } = estimate(rounds);
      byEngine[engine] ??= {};
      byEngine[engine][id] = [short(median), short(low), short(high)];
    }
  }
  return byEngine;
}

/** Adds a run. @returns the file it went to */
export function append(run: Run): string {
  const limits = {
    flops: short(run.limits.flops),
    copy: run.limits.copy.map(({ bytes, rate }) => ({ bytes, rate: short(rate) })),
  };
  mkdirSync(FOLDER, { recursive: true });
  const file = join(FOLDER, `${run.time.slice(0, 10)}.jsonl`);
  appendFileSync(file, `${JSON.stringify({ ...run, limits })}\n`);
  return file;
}

/** All runs, the oldest first; those of one machine, if one is named. */
export function history(of?: Machine): Run[] {
  let names: string[] = [];
  try {
    names = readdirSync(FOLDER).filter((name) => name.endsWith(".jsonl"));
  } catch {
    // there is none yet
  }
  const runs = names.sort().flatMap((name) =>
    readFileSync(join(FOLDER, name), "utf8")
      .split("\n")
      .filter(Boolean)
      .map((line) => JSON.parse(line) as Run),
  );
  return of === undefined ? runs : runs.filter(({ machine }) => nameOf(machine) === nameOf(of));
}

/** The last record of a case on an engine. */
export function last(
  runs: readonly Run[],
  engine: string,
  id: string,
): { run: Run; estimate: Estimate } | undefined {
  const run = runs.findLast(({ results }) => results[engine]?.[id] !== undefined);
  const [median, low, high] = run?.results[engine]?.[id] ?? [];
  if (run === undefined || median === undefined || low === undefined || high === undefined) return undefined;
  return { run, estimate: { median, low, high } };
}
