/** The most offending continuous answer, against dense grids: energies with many minima, minima inside of the ball, bounds. */
import fc from "fast-check";
import { mostOffending, mostOffendingContinuous } from "perdida/energy";
import { describe, expect, test, vi } from "vitest";
import { randomStream } from "../support/generate.js";

vi.setConfig({ testTimeout: 60_000 });

interface Wave {
  readonly amplitude: number;
  readonly phase: number;
  readonly frequency: readonly number[];
}

/** A bowl with waves on it: several minima, smooth. */
function wavy(seed: number, size: number) {
  const random = randomStream(seed);
  const center = Array.from({ length: size }, () => 2 * random() - 1);
  const depth = 0.05 + 0.2 * random();
  const waves: Wave[] = Array.from({ length: 3 }, () => ({
    amplitude: 0.3 + 0.7 * random(),
    phase: 6 * random(),
    frequency: Array.from({ length: size }, () => 4 * random() - 2),
  }));
  return (y: ArrayLike<number>) => {
    let value = 0;
    const grad = new Array<number>(size).fill(0);
    for (let d = 0; d < size; d++) {
      const away = (y[d] as number) - (center[d] as number);
      value += depth * away * away;
      grad[d] = 2 * depth * away;
    }
    for (const { amplitude, phase, frequency } of waves) {
      let angle = phase;
      for (let d = 0; d < size; d++) angle += (frequency[d] as number) * (y[d] as number);
      value += amplitude * Math.cos(angle);
      for (let d = 0; d < size; d++) {
        grad[d] = (grad[d] as number) - amplitude * (frequency[d] as number) * Math.sin(angle);
      }
    }
    return { value, grad };
  };
}

type Energy = ReturnType<typeof wavy>;
const length = (y: ArrayLike<number>, to: readonly number[]): number =>
  Math.hypot(...to.map((t, d) => (y[d] as number) - t));

/** The lowest energy on a grid over [-4, 4] in each coordinate, outside of the ball; with the sphere's own points. */
function lowestOnGrid(energy: Energy, answer: readonly number[], epsilon: number): number {
  let least = Infinity;
  const look = (y: number[]): void => {
    if (length(y, answer) >= epsilon * (1 - 1e-12) && y.every((x) => Math.abs(x) <= 4)) {
      least = Math.min(least, energy(y).value);
    }
  };
  const [a, b] = answer as [number, number];
  if (answer.length === 1) {
    for (let i = 0; i <= 40_000; i++) look([-4 + i / 5000]);
    look([a - epsilon]);
    look([a + epsilon]);
  } else {
    for (let i = 0; i <= 400; i++) for (let j = 0; j <= 400; j++) look([-4 + i / 50, -4 + j / 50]);
    for (let i = 0; i < 5000; i++) {
      const angle = (2 * Math.PI * i) / 5000;
      look([a + epsilon * Math.cos(angle), b + epsilon * Math.sin(angle)]);
    }
  }
  return least;
}

describe.each([1, 2])("in %i dimensions", (size) => {
  test("it finds what a dense grid finds, or lower, and never inside of the ball or out of bounds", () => {
    let onSurface = 0;
    for (let seed = 0; seed < (size === 1 ? 60 : 25); seed++) {
      const random = randomStream(seed + 1000);
      const energy = wavy(seed, size);
      const answer = Array.from({ length: size }, () => 4 * random() - 2);
      const epsilon = 0.2 + 1.3 * random();
      const found = mostOffendingContinuous(energy, answer, { epsilon, bounds: [-4, 4] });
      const grid = lowestOnGrid(energy, answer, epsilon);
      expect(found.energy, `seed ${seed}`).toBeLessThanOrEqual(grid + 1e-9);
      // a grid is at most so much coarser than the bottom of a valley
      expect(found.energy, `seed ${seed}`).toBeGreaterThan(grid - (size === 1 ? 1e-6 : 2e-3));
      expect(energy(found.answer).value).toBe(found.energy);
      const distance = length(found.answer, answer);
      expect(distance).toBeGreaterThanOrEqual(epsilon);
      for (const x of found.answer) expect(Math.abs(x)).toBeLessThanOrEqual(4);
      if (distance < epsilon * (1 + 1e-9)) onSurface++;
    }
    // both cases occurred
    expect(onSurface).toBeGreaterThan(3);
    expect(onSurface).toBeLessThan(size === 1 ? 57 : 22);
  });

  test("without bounds as well", () => {
    for (let seed = 0; seed < 20; seed++) {
      const energy = wavy(seed, size);
      const answer = Array.from({ length: size }, (_, d) => 0.3 - d);
      const found = mostOffendingContinuous(energy, answer, { epsilon: 0.5, starts: 60 });
      expect(found.energy, `seed ${seed}`).toBeLessThanOrEqual(lowestOnGrid(energy, answer, 0.5) + 1e-9);
    }
  });

  test("where the only minimum is inside of the ball the answer is on the surface", () => {
    const minimum = Array.from({ length: size }, (_, d) => 0.2 + 0.1 * d);
    const weights = [1, 7];
    const energy = (y: ArrayLike<number>) => ({
      value: minimum.reduce((sum, m, d) => sum + (weights[d] as number) * ((y[d] as number) - m) ** 2, 0),
      grad: minimum.map((m, d) => 2 * (weights[d] as number) * ((y[d] as number) - m)),
    });
    const answer = new Array<number>(size).fill(0);
    const found = mostOffendingContinuous(energy, answer, { epsilon: 1 });
    expect(length(found.answer, answer)).toBeCloseTo(1, 12);
    expect(length(found.answer, answer)).toBeGreaterThanOrEqual(1);
    expect(found.energy).toBeCloseTo(lowestOnGrid(energy, answer, 1), 5);
    if (size === 1) expect([...found.answer]).toEqual([1]);
  });
});

describe("where it starts and ends", () => {
  const bowl = (y: Float64Array) => ({
    value: y.reduce((sum, x) => sum + x * x, 0),
    grad: y.map((x) => 2 * x),
  });

  test("the same seed, the same bits; another seed begins elsewhere", () => {
    const energy = wavy(3, 2);
    const run = (seed: number) =>
      mostOffendingContinuous(energy, [0, 0], { epsilon: 1, starts: 1, steps: 3, seed });
    expect(run(5)).toEqual(run(5));
    const energies = new Set(Array.from({ length: 12 }, (_, seed) => run(seed).energy.toFixed(6)));
    expect(energies.size).toBeGreaterThan(1);
  });

  test("a narrow valley is followed to its end", () => {
    // Rosenbrock's; the lowest point, (1, 1), is outside of the ball
    const energy = ([x, y]: Float64Array | readonly number[]) => {
      const [a, b] = [x as number, y as number];
      return {
        value: (1 - a) ** 2 + 100 * (b - a * a) ** 2,
        grad: [-2 * (1 - a) - 400 * a * (b - a * a), 200 * (b - a * a)],
      };
    };
    const found = mostOffendingContinuous(energy, [-1, 1], { epsilon: 0.5, steps: 1000, bounds: [-2, 2] });
    expect(found.energy).toBeLessThan(1e-8);
  });

  test("in many dimensions, scaled unevenly, with the lowest point in the ball", () => {
    const size = 12;
    const energy = (y: Float64Array) => ({
      value: y.reduce((sum, x, d) => sum + (d + 1) * x * x, 0),
      grad: y.map((x, d) => 2 * (d + 1) * x),
    });
    const found = mostOffendingContinuous(energy, new Float64Array(size), { epsilon: 2 });
    // along the flattest direction
    expect(found.energy).toBeCloseTo(4, 7);
    expect(Math.abs(found.answer[0] as number)).toBeCloseTo(2, 3);
  });

  test("bounds of each coordinate's own, and infinite ones", () => {
    const found = mostOffendingContinuous(bowl, [0, 0], {
      epsilon: 1,
      bounds: [
        [-0.5, 0.25],
        [-Infinity, Infinity],
      ],
    });
    expect(found.energy).toBeCloseTo(1, 12);
    const corner = mostOffendingContinuous(bowl, [0, 0], {
      epsilon: 1,
      bounds: [
        [-0.5, 0.8],
        [-0.5, 0.8],
      ],
    });
    expect(corner.energy).toBeCloseTo(1, 12);
    expect(Math.max(...corner.answer)).toBeLessThanOrEqual(0.8);
  });

  test("where the bounds leave nothing outside of the ball there is no answer", () => {
    const found = mostOffendingContinuous(bowl, [0, 0], { epsilon: 2, bounds: [-1, 1] });
    expect([...found.answer, found.energy]).toEqual([Number.NaN, Number.NaN, Infinity]);
    const one = mostOffendingContinuous(bowl, 0, { epsilon: 1, bounds: [-0.5, 0.5] });
    expect([...one.answer, one.energy]).toEqual([Number.NaN, Infinity]);
    // a corner is left, and found
    const corner = mostOffendingContinuous(bowl, [0, 0], { epsilon: 1.4, bounds: [-1, 1] });
    expect(corner.energy).toBeCloseTo(1.96, 9);
    // the farthest from the answer, on whichever side of each coordinate that is
    for (const signs of [
      [1, 1],
      [1, -1, -1],
      [-1, -1, 1, 1, -1, 1],
    ]) {
      const answer = signs.map((sign) => 0.6 * sign);
      const bounds = signs.map((sign) => (sign > 0 ? [0, 1] : [-1, 0]) as [number, number]);
      const { energy } = mostOffendingContinuous(bowl, answer, {
        epsilon: 0.9999 * Math.hypot(...answer),
        bounds,
      });
      expect(energy).toBeCloseTo(0, 6);
    }
    const touched = mostOffendingContinuous(bowl, 0, { epsilon: 1, bounds: [-0.5, 1] });
    expect([...touched.answer, touched.energy]).toEqual([1, 1]);
  });

  test("epsilon 0 leaves all answers, and a number is an answer of one coordinate", () => {
    const found = mostOffendingContinuous(
      ([y]) => ({ value: ((y as number) - 3) ** 2, grad: 2 * ((y as number) - 3) }),
      0,
    );
    expect(found.answer).toBeInstanceOf(Float64Array);
    expect(found.answer[0]).toBeCloseTo(3, 6);
  });

  test("places where the energy is no number are passed over", () => {
    const energy = ([y]: Float64Array) => {
      const x = y as number;
      return x < -0.5
        ? { value: Number.NaN, grad: Number.NaN }
        : { value: x * x + x / 10, grad: 2 * x + 0.1 };
    };
    const found = mostOffendingContinuous(energy, 0, { epsilon: 0.25, bounds: [-2, 2] });
    expect(found.answer[0]).toBeCloseTo(-0.25, 12);
    const nothing = mostOffendingContinuous(() => ({ value: Number.NaN, grad: 0 }), 0, { epsilon: 1 });
    expect([...nothing.answer, nothing.energy]).toEqual([Number.NaN, Infinity]);
  });

  test("energies and places of another scale: the same search, to the last bit", () => {
    const bounds = [-4, 4] as const;
    for (let seed = 0; seed < 10; seed++) {
      const energy = wavy(seed, 2);
      const options = { epsilon: 0.5, starts: 6, steps: 30, seed };
      const found = mostOffendingContinuous(energy, [0.5, -1], { ...options, bounds });
      const louder = mostOffendingContinuous(
        (y) => {
          const { value, grad } = energy(y);
          return { value: 1024 * value, grad: grad.map((g) => 1024 * g) };
        },
        [0.5, -1],
        { ...options, bounds },
      );
      expect(louder).toEqual({ answer: found.answer, energy: 1024 * found.energy });
      const wider = mostOffendingContinuous(
        (y) => {
          const { value, grad } = energy(y.map((x) => x / 8));
          return { value, grad: grad.map((g) => g / 8) };
        },
        [4, -8],
        { ...options, epsilon: 4, bounds: [-32, 32] },
      );
      expect(wider).toEqual({ answer: found.answer.map((x) => 8 * x), energy: found.energy });
    }
  });

  test("on the surface it comes to rest long before it may not ask any more", () => {
    let asked = 0;
    const energy = ([a, b]: Float64Array) => {
      asked++;
      const [x, y] = [a as number, b as number];
      return { value: x * x + 2 * y * y, grad: [2 * x, 4 * y] };
    };
    const found = mostOffendingContinuous(energy, [0, 0], { epsilon: 2 });
    expect(found.energy).toBeCloseTo(4, 12);
    expect(asked).toBeLessThan((24 * 200) / 4);
  });

  test("it asks no more often than it may, and at no forbidden place", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 1000 }),
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 1, max: 20 }),
        (seed, starts, steps) => {
          const energy = wavy(seed, 2);
          let asked = 0;
          mostOffendingContinuous(
            (y) => {
              asked++;
              expect(length(y, [0.5, 0])).toBeGreaterThanOrEqual(0.7);
              expect(Math.max(...y.map(Math.abs))).toBeLessThanOrEqual(1);
              return energy(y);
            },
            [0.5, 0],
            { epsilon: 0.7, starts, steps, seed, bounds: [-1, 1] },
          );
          expect(asked).toBeLessThanOrEqual((starts + 1) * steps);
        },
      ),
      { numRuns: 60 },
    );
  });
});

describe("several samples, and all answers at once", () => {
  const energies = [wavy(21, 2), wavy(22, 2), wavy(23, 2)];
  const answers = [
    [0, 0],
    [1, -1],
    [-0.5, 2],
  ];
  const options = { epsilon: 0.8, bounds: [-4, 4] as const };

  test("are the same as one by one", () => {
    const one = answers.map((answer, i) => mostOffendingContinuous(energies[i] as Energy, answer, options));
    const data = Float64Array.from(answers.flat());
    const many = mostOffendingContinuous(
      (y, i) => (energies[i] as Energy)(y),
      { data, shape: [3, 2] },
      options,
    );
    let calls = 0;
    const batch = mostOffendingContinuous(
      ({ data, shape }, samples) => {
        calls++;
        expect(shape).toEqual([samples.length, 2]);
        const given = Array.from(samples, (s, i) => (energies[s] as Energy)(data.subarray(2 * i, 2 * i + 2)));
        return { value: given.map(({ value }) => value), grad: given.map(({ grad }) => grad) };
      },
      { data, shape: [3, 2] },
      { ...options, batch: true },
    );
    expect(batch).toEqual(many);
    expect(calls).toBeLessThanOrEqual(200);
    expect(many.energy).toEqual(Float64Array.from(one, ({ energy }) => energy));
    expect(many.answer).toEqual({
      data: Float64Array.from(one.flatMap(({ answer }) => [...answer])),
      shape: [3, 2],
    });
  });

  test("on a grid of answers it is mostOffending", () => {
    const energy = wavy(9, 1);
    const grid = Array.from({ length: 8001 }, (_, i) => -4 + i / 1000);
    const { index } = mostOffending([grid.map((y) => energy([y]).value)], [5000], {
      coordinates: grid,
      epsilon: 0.5,
    });
    const { answer } = mostOffendingContinuous(energy, grid[5000] as number, {
      epsilon: 0.5,
      bounds: [-4, 4],
    });
    expect(Math.abs((answer[0] as number) - (grid[index[0] as number] as number))).toBeLessThan(0.001);
  });
});

test("bounds may take the answer away while they are read: it was read", () => {
  const answer = Float64Array.of(1, 2);
  const bounds: [number, number][] = [
    [0, 3],
    [0, 3],
  ];
  const energy = (y: Float64Array) => ({ value: (y[0] as number) + (y[1] as number), grad: [1, 1] });
  const options = { epsilon: 0.5, starts: 4 };
  const expected = mostOffendingContinuous(energy, answer.slice(), { ...options, bounds });
  const get = (): [number, number] => {
    if (answer.length > 0) structuredClone(answer.buffer, { transfer: [answer.buffer] });
    return [0, 3];
  };
  const spoiling = Object.defineProperty([...bounds], 0, { get });
  expect(mostOffendingContinuous(energy, answer, { ...options, bounds: spoiling })).toEqual(expected);
});

describe("what does not fit is refused", () => {
  const flat = () => ({ value: 0, grad: [0, 0] });
  test.each([
    [() => mostOffendingContinuous(3 as never, [0, 0]), "TYPE", /energy is 3, expected a function/],
    [() => mostOffendingContinuous(flat, [0, Number.NaN]), "RANGE", /answer is NaN, expected finite/],
    [() => mostOffendingContinuous(flat, [Infinity, 0]), "RANGE", /answer is Infinity, expected finite/],
    [() => mostOffendingContinuous(flat, []), "SHAPE", /answer is of shape \[0\]/],
    [() => mostOffendingContinuous(flat, [0, 0], { epsilon: -1 }), "NUMBER", /epsilon is -1/],
    [() => mostOffendingContinuous(flat, [0, 0], { starts: 0 }), "NUMBER", /starts is 0/],
    [() => mostOffendingContinuous(flat, [0, 0], { bounds: [1, 0] }), "RANGE", /bounds is \[1, 0\]/],
    [() => mostOffendingContinuous(flat, [0, 0], { bounds: [[0, 1]] }), "LENGTH", /bounds is an array of 1/],
    [
      () =>
        mostOffendingContinuous(flat, [0, 0], {
          bounds: [
            [0, 1],
            [0, Number.NaN],
          ],
        }),
      "RANGE",
      /bounds\[1\]/,
    ],
    [
      () => mostOffendingContinuous(flat, [0, 0], { bounds: [[0, 1], 5] as never }),
      "TYPE",
      /bounds\[1\] is 5, expected \[low, high\], or 2 of those/,
    ],
    [
      () => mostOffendingContinuous(flat, [0, 0], { bounds: 5 as never }),
      "TYPE",
      /bounds is 5, expected \[low, high\]/,
    ],
    [() => mostOffendingContinuous(flat, [0, 0, 0]), "LENGTH", /energy\(y\)\.grad is 2 numbers, expected 3/],
    [
      () => mostOffendingContinuous(() => ({ grad: [0] }) as never, [0]),
      "TYPE",
      /energy\(y\)\.value is undefined/,
    ],
    [() => mostOffendingContinuous((() => 0) as never, [0]), "TYPE", /energy\(y\)\.value is undefined/],
    [
      () => mostOffendingContinuous(flat, [0, 0], { batch: 1 as never }),
      "TYPE",
      /batch is 1, expected true or false/,
    ],
    [
      () => mostOffendingContinuous(flat, [0, 0], { epsilom: 1 } as never),
      "UNKNOWN_OPTION",
      /did you mean epsilon/,
    ],
  ] as const)("%#", (run, code, message) => {
    expect(run).toThrow(expect.objectContaining({ code, message: expect.stringMatching(message) }));
  });
});
