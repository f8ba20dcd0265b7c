/** The losses of energy-based learning over K energies of N samples, value and gradient. */
import { type Case, EXP, floats, Numbers } from "./cases.js";

/** Additions and multiplications per energy, value and gradient. */
const LOSSES: Readonly<Record<string, number>> = {
  energyLoss: 0,
  perceptronLoss: 1,
  hingeLoss: 1,
  logLoss: 1,
  lvq2Loss: 1,
  mceLoss: 1,
  squareSquareLoss: 1,
  squareExponentialLoss: 1,
  nllLoss: EXP + 4,
  meeLoss: EXP + 6,
  contrastiveLoss: 4,
};

const SIZES = [
  [1, 16],
  [32, 128],
  [1024, 1000],
] as const;

export const cases: readonly Case[] = Object.entries(LOSSES).flatMap(([name, flops]) =>
  SIZES.map(
    ([n, k]): Case => ({
      family: "energy",
      name: `energy.${name}`,
      entry: "perdida/energy",
      shape: `${n}x${k}`,
      dims: { n, k },
      options: {},
      grads: ["energies"],
      inputs: () => {
        const draw = new Numbers();
        return [draw.uniform("energies", [n, k], 0, 4), draw.integers("answers", [n], 0, k)];
      },
      bytes: floats(2 * n * k),
      flops: flops * n * k,
    }),
  ),
);
