/** What the search example rests on: the gradient of its network, and how it draws embeddings in the plane. */
import { describe, expect, test } from "vitest";
import { type Matrix, Network, UNITS } from "../examples/search/network.js";
import { align, project } from "../examples/search/plane.js";
import { randomStream } from "./support/generate.js";

function matrix(rows: number, columns: number, seed: number): Matrix {
  const random = randomStream(seed);
  return {
    data: Float32Array.from({ length: rows * columns }, () => random() - 0.3),
    shape: [rows, columns],
  };
}

describe("the search example", () => {
  test("its network gives vectors of length 1, and learns to turn them", () => {
    const network = new Network(3);
    const images = matrix(12, UNITS[0], 1);
    const target = matrix(12, UNITS[3], 2);
    const agreement = (): number => {
      const { data } = network.embed(images);
      for (let row = 0; row < 12; row++)
        expect(Math.hypot(...data.subarray(row * 16, row * 16 + 16))).toBeCloseTo(1, 5);
      return data.reduce((sum, x, i) => sum + x * (target.data[i] as number), 0);
    };
    const before = agreement();
    for (let step = 0; step < 100; step++) {
      network.embed(images);
      // the slope of minus the agreement
      network.step(
        target.data.map((t) => -t),
        0.003,
      );
    }
    const most = Array.from({ length: 12 }, (_, row) =>
      Math.hypot(...target.data.subarray(row * 16, row * 16 + 16)),
    );
    expect(agreement()).toBeGreaterThan(before + 3);
    expect(agreement()).toBeGreaterThan(0.95 * most.reduce((a, b) => a + b, 0));
  });

  test("the plane is the one of the largest spread", () => {
    const random = randomStream(5);
    const data = Float32Array.from(
      { length: 400 * 6 },
      (_, i) => (random() - 0.5) * ([1, 9, 0.1, 0.2, 5, 0.1][i % 6] as number) + 7,
    );
    const places = project({ data, shape: [400, 6] });
    const along = (axis: number, column: number): number => {
      let [sum, square, own] = [0, 0, 0];
      for (let row = 0; row < 400; row++) {
        const [x, y] = [places[2 * row + axis] as number, (data[6 * row + column] as number) - 7];
        sum += x * y;
        square += x * x;
        own += y * y;
      }
      return Math.abs(sum) / Math.sqrt(square * own);
    };
    expect(along(0, 1)).toBeGreaterThan(0.98);
    expect(along(1, 4)).toBeGreaterThan(0.98);
  });

  test("places that were turned and mirrored are turned back", () => {
    const random = randomStream(7);
    const places = Float64Array.from({ length: 60 }, () => random() - 0.5);
    for (const [angle, sign] of [
      [0.4, 1],
      [2.9, 1],
      [-1.3, -1],
      [3, -1],
    ] as const) {
      const moved = new Float64Array(60);
      for (let i = 0; i < 60; i += 2) {
        const [x, y] = [places[i] as number, sign * (places[i + 1] as number)];
        moved[i] = Math.cos(angle) * x - Math.sin(angle) * y;
        moved[i + 1] = Math.sin(angle) * x + Math.cos(angle) * y;
      }
      align(moved, places).forEach((x, i) => {
        expect(x).toBeCloseTo(places[i] as number, 10);
      });
    }
  });
});
