/**
 * The public API on random programs of calls (program.ts says what must hold). A few seconds by default, from a fixed seed and from one that
 * is drawn anew; `npm run fuzz -- --minutes 60 --seed 1` runs it for as long as is asked. What it found stands in found.ts, and is run first.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { freshLibrary } from "../support/library.js";
import { FOUND } from "./found.js";
import { KINDS, runProgram, type Step } from "./program.js";

const MINUTES = Number(process.env.PERDIDA_FUZZ_MINUTES ?? 0);
const SEED = Number(process.env.PERDIDA_FUZZ_SEED ?? 0);
/** Programs on one instance of the library. */
const PROGRAMS = 40;

const programs = fc.array(
  fc.record({
    kind: fc.constantFrom(...KINDS),
    seed: fc.integer({ min: 0, max: 2 ** 31 - 1 }),
  }),
  { minLength: 1, maxLength: 40 },
);

/** So many programs from a seed; gives how many calls they made. */
async function fuzz(seed: number, numRuns: number): Promise<number> {
  const library = await freshLibrary();
  let calls = 0;
  fc.assert(
    fc.property(programs, (steps) => {
      calls += runProgram(library, steps);
    }),
    { seed, numRuns },
  );
  return calls;
}

describe.runIf(FOUND.length > 0)("what was found", () => {
  test.each(FOUND)("$what", async ({ steps }) => {
    runProgram(await freshLibrary(), steps as Step[]);
  });
});

const drawn = Math.floor(Math.random() * 2 ** 31);
const seeds = MINUTES > 0 ? [] : [1, drawn];

describe("programs of calls", () => {
  test.each(seeds)("from seed %i", async (seed) => {
    expect(await fuzz(seed, PROGRAMS)).toBeGreaterThan(100);
  });

  test.runIf(MINUTES > 0)(
    `for ${MINUTES} minutes of processor time, seed ${SEED}`,
    async () => {
      const used = (): number => {
        const { user, system } = process.cpuUsage();
        return (user + system) / 60e6;
      };
      const start = used();
      let [calls, round, said, failures] = [0, 0, 0, 0];
      while (used() - start < MINUTES) {
        try {
          calls += await fuzz((SEED + round) | 0, PROGRAMS);
        } catch (error) {
          failures += 1;
          const { message, cause } = error as Error;
          const program = /^Counterexample.*$/m.exec(message)?.[0] ?? message;
          console.error(`seed ${SEED + round}: ${program}\n${(cause as Error | undefined)?.stack}`);
          if (failures >= 50) throw error;
        }
        round += 1;
        if (used() - start - said >= 1) {
          said = used() - start;
          console.log(
            `${said.toFixed(1)} min: ${round * PROGRAMS} programs, ${calls} calls, ${failures} failures`,
          );
        }
      }
      console.log(
        `${(used() - start).toFixed(1)} minutes: ${round * PROGRAMS} programs, ${calls} calls, ${failures} failures`,
      );
      expect(failures).toBe(0);
    },
    MINUTES * 60_000 * 20 + 60_000,
  );
});
