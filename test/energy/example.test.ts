/** The example: what its table and its pictures say, on a small scale. */
import { describe, expect, test, vi } from "vitest";
import { readDigits, split } from "../../examples/digits/data.js";
import { trainOnDigits } from "../../examples/energy/digits.js";
import { LOSSES, type LossRow } from "../../examples/energy/losses.js";
import { COLUMNS, film, GRID } from "../../examples/energy/parabola.js";
import { report } from "../../examples/energy/report.js";

vi.setConfig({ testTimeout: 120_000 });

const named = (name: string): LossRow => LOSSES.find((loss) => loss.name === name) as LossRow;
const { training, test: unseen } = split(
  readDigits(new URL("../../examples/data/digits.csv", import.meta.url)),
  false,
);

describe("on the digits", () => {
  test("a loss that pushes up learns them with a margin; one that does not flattens the energies", () => {
    const options = { epochs: 8, seed: 1 };
    const hinge = trainOnDigits(named("hinge"), training, unseen, options);
    const energy = trainOnDigits(named("energy"), training, unseen, options);
    expect(hinge.error).toBeLessThan(0.15);
    expect(hinge.margin).toBeGreaterThan(0.5);
    expect(hinge.collapsed).toBe(false);
    expect(energy.margin).toBeLessThan(0.25 * hinge.margin);
    expect(energy.relief).toBeLessThan(0.3 * hinge.relief);
    // from the same start, the same result
    expect(trainOnDigits(named("hinge"), training, unseen, options)).toEqual(hinge);
  });
});

describe("on y near x²", () => {
  test("all losses begin with the same surface, and each is drawn", () => {
    const films = LOSSES.map((loss) => film(loss, { steps: 120, seed: 2 }));
    for (const { frames } of films) {
      expect(frames.map(({ step }) => step)).toEqual([0, 2, 15, 120]);
      expect(frames[0]?.surface).toEqual(films[0]?.frames[0]?.surface);
      expect(frames[0]?.surface).toHaveLength(COLUMNS * GRID.count);
    }
    // the energy loss pushes down and never up; the others do both
    for (const { loss, frames } of films) {
      const push = frames.flatMap((frame) => [...frame.push]);
      expect(Math.max(...push), loss.name).toBeGreaterThan(0);
      expect(Math.min(...push) < 0, loss.name).toBe(loss.name !== "energy");
    }
    const measured = LOSSES.map((loss) => ({ loss, error: 0.1, margin: 1, relief: 1, collapsed: false }));
    const html = report({ measured, films, seed: 2, epochs: 1, digits: 450, seconds: 1 });
    for (const { name } of LOSSES) expect(html).toContain(`<h3>${name}: `);
    expect(html).not.toMatch(/NaN|undefined/);
  });
});
