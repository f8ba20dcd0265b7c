/** The rows of the lecture's table of losses, each ready to be trained with. */
import {
  contrastiveLoss,
  energyLoss,
  hingeLoss,
  logLoss,
  lvq2Loss,
  mceLoss,
  meeLoss,
  nllLoss,
  perceptronLoss,
  squareExponentialLoss,
  squareSquareLoss,
} from "perdida/energy";

/** Energies, a row per sample. */
export interface Energies {
  readonly data: Float64Array;
  readonly shape: readonly number[];
}

/** The mean loss and its gradient in the energies. */
export type Train = (
  energies: Energies,
  answers: Int32Array,
) => { value: number; grads: { energies: { data: ArrayLike<number> } } };

/** Where the answers lie, if they lie anywhere. */
export interface Answers {
  readonly coordinates: Float64Array;
  /** Answers that are no farther apart than this are the same to a margin loss. */
  readonly epsilon: number;
  /** How much of the line an answer stands for. */
  readonly measure: number;
}

/** A row of the table. */
export interface LossRow {
  readonly name: string;
  readonly formula: string;
  /** What the table says of its margin. */
  readonly margin: string;
  /** The loss for answers that are classes, or for answers on a line. */
  readonly on: (answers?: Answers) => Train;
}

/** Y is the correct answer, Y̅ the most offending incorrect one. */
export const LOSSES: readonly LossRow[] = [
  {
    name: "energy",
    formula: "E(Y)",
    margin: "none",
    on: () => (e, y) => energyLoss.valueAndGrad(e, y),
  },
  {
    name: "perceptron",
    formula: "E(Y) − min E(y)",
    margin: "0",
    on: () => (e, y) => perceptronLoss.valueAndGrad(e, y),
  },
  {
    name: "hinge",
    formula: "max(0, m + E(Y) − E(Y̅))",
    margin: "m",
    on: (answers) => (e, y) => hingeLoss.valueAndGrad(e, y, near(answers)),
  },
  {
    name: "log",
    formula: "log(1 + exp(E(Y) − E(Y̅)))",
    margin: "> 0",
    on: (answers) => (e, y) => logLoss.valueAndGrad(e, y, near(answers)),
  },
  {
    name: "LVQ2",
    formula: "min(m, max(0, E(Y) − E(Y̅)))",
    margin: "0",
    on: (answers) => (e, y) => lvq2Loss.valueAndGrad(e, y, near(answers)),
  },
  {
    name: "MCE",
    formula: "1 / (1 + exp(E(Y̅) − E(Y)))",
    margin: "> 0",
    on: (answers) => (e, y) => mceLoss.valueAndGrad(e, y, near(answers)),
  },
  {
    name: "square-square",
    formula: "E(Y)² + max(0, m − E(Y̅))²",
    margin: "m",
    on: (answers) => (e, y) => squareSquareLoss.valueAndGrad(e, y, near(answers)),
  },
  {
    name: "square-exp",
    formula: "E(Y)² + β exp(−E(Y̅))",
    margin: "> 0",
    on: (answers) => (e, y) => squareExponentialLoss.valueAndGrad(e, y, near(answers)),
  },
  {
    name: "NLL/MMI",
    formula: "E(Y) + 1/β log Σ exp(−β E(y))",
    margin: "> 0",
    on: (answers) => {
      if (answers === undefined) return (e, y) => nllLoss.valueAndGrad(e, y);
      // the sum stands for an integral, and exp(-beta E) is to be as narrow as the samples lie
      const logMeasure = new Float64Array(answers.coordinates.length).fill(Math.log(answers.measure));
      return (e, y) => nllLoss.valueAndGrad(e, y, { beta: 4, logMeasure });
    },
  },
  {
    name: "MEE",
    formula: "1 − exp(−β E(Y)) / Σ exp(−β E(y))",
    margin: "> 0",
    on: () => (e, y) => meeLoss.valueAndGrad(e, y),
  },
  {
    name: "contrastive",
    formula: "Σ max(0, E(Y) − E(y) + C(Y, y))",
    margin: "C(Y, y)",
    on: (answers) => {
      if (answers === undefined) return (e, y) => contrastiveLoss.valueAndGrad(e, y);
      // the farther from the correct answer, the higher an answer must be, up to 1
      const { coordinates, epsilon } = answers;
      const size = coordinates.length;
      const marginMatrix = { data: new Float64Array(size * size), shape: [size, size] };
      marginMatrix.data.forEach((_, i) => {
        const apart = Math.abs(
          (coordinates[i % size] as number) - (coordinates[Math.floor(i / size)] as number),
        );
        marginMatrix.data[i] = Math.min(1, apart / (2 * epsilon));
      });
      return (e, y) => contrastiveLoss.valueAndGrad(e, y, { marginMatrix });
    },
  },
];

/** Which answers count as incorrect. */
function near(answers: Answers | undefined): { coordinates?: Float64Array; epsilon?: number } {
  return answers === undefined ? {} : { coordinates: answers.coordinates, epsilon: answers.epsilon };
}
