/**
 * Measuring many cases on many engines. A family's cases are visited in rounds: every engine is timed on every case once in each
 * round, so that what happens on the machine meanwhile meets all of them, and a number per round is left. Rounds are what the
 * intervals are made of, and ratios are taken within a round.
 */
import { type Case, type CaseInput, idOf } from "./cases.js";
import { agree, type Engine, type Prepared } from "./engines.js";
import { type Estimate, estimate, median } from "./measure.js";

/** Milliseconds before the first round: by then V8 has replaced its quick compilation of the core and of our TypeScript. */
const WARM_UP = 150;

/** How often and how long. */
export interface Plan {
  readonly rounds: number;
  /** Milliseconds for an engine on a case in a round. */
  readonly time: number;
}

/** For each case by its name, for each engine by its name: milliseconds per call, one number per round. */
export type Results = Map<string, Map<string, number[]>>;

/** What went on, for the terminal. */
export interface Listener {
  progress(done: number, all: number, what: string): void;
  /** A case that could not be measured on an engine, and why. */
  trouble(one: Case, engine: Engine, why: string): void;
}

interface Contender {
  readonly engine: Engine;
  readonly prepared: Prepared;
}

/** The cases of one family on all engines; the first engine is the one that others must agree with. */
export async function measureFamily(
  cases: readonly Case[],
  engines: readonly Engine[],
  { rounds, time }: Plan,
  listener: Listener,
): Promise<Results> {
  const results: Results = new Map();
  const contests: { one: Case; contenders: Contender[] }[] = [];
  for (const [i, one] of cases.entries()) {
    listener.progress(i, cases.length, "prepares");
    const contenders = await prepare(one, one.inputs(), engines, listener);
    // what is not there yet in our own house is not measured elsewhere either
    if (contenders[0]?.engine !== engines[0]) continue;
    contests.push({ one, contenders });
    results.set(idOf(one), new Map(contenders.map(({ engine }) => [engine.name, []])));
  }
  for (let round = 0; round < rounds; round++) {
    for (const [i, { one, contenders }] of contests.entries()) {
      listener.progress(round * contests.length + i, rounds * contests.length, idOf(one));
      // nobody is always the first after a pause
      for (let k = 0; k < contenders.length; k++) {
        const { engine, prepared } = contenders[(k + round) % contenders.length] as Contender;
        // at first the compilers need a while; later the caches have forgotten it since the last round
        await prepared.samples(round === 0 ? WARM_UP : time / 10);
        results
          .get(idOf(one))
          ?.get(engine.name)
          ?.push(median(await prepared.samples(time)));
      }
    }
  }
  for (const { contenders } of contests) for (const { prepared } of contenders) prepared.close?.();
  return results;
}

async function prepare(
  one: Case,
  inputs: readonly CaseInput[],
  engines: readonly Engine[],
  listener: Listener,
): Promise<Contender[]> {
  const contenders: Contender[] = [];
  for (const engine of engines) {
    try {
      const prepared = await engine.prepare(one, inputs);
      if (prepared === undefined && contenders.length === 0) return [];
      if (prepared === undefined) continue;
      const first = contenders[0]?.prepared.answer;
      if (agree(first, prepared.answer)) contenders.push({ engine, prepared });
      else {
        const numbers = (answer: readonly number[] | undefined) =>
          answer?.map((x) => x.toPrecision(6)).join(" ");
        listener.trouble(
          one,
          engine,
          `it computes something else: ${numbers(prepared.answer)} instead of ${numbers(first)}`,
        );
      }
    } catch (error) {
      listener.trouble(one, engine, error instanceof Error ? error.message : String(error));
    }
  }
  return contenders;
}

/** How many times as long another engine takes, from the ratios within each round. */
export function ratio(of: readonly number[], to: readonly number[]): Estimate {
  return estimate(of.map((milliseconds, round) => milliseconds / (to[round] as number)));
}
