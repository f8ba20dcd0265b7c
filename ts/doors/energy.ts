/** The door to the kernels of energies. */
import { source } from "#part/energy";
import type { Door } from "../call.js";
import { door as opened } from "../core.js";

/** What a table of numbers per answer has a row for. */
type Per = "all" | "answer" | "sample";
const PER = { all: 0, answer: 1, sample: 2 };

/** What the door takes beside the slots. */
export interface Plan {
  readonly rows: number;
  readonly columns: number;
  readonly dimensions: number;
  readonly clouds: number;
  readonly per: Per;
  readonly epsilon: number;
}

export const door: Door<Plan> | undefined = /* @__PURE__ */ opened<Plan>(source, {
  numbers: {
    energyLoss: 0,
    perceptronLoss: 1,
    hingeLoss: 2,
    logLoss: 3,
    lvq2Loss: 4,
    mceLoss: 5,
    squareSquareLoss: 6,
    squareExponentialLoss: 7,
    nllLoss: 8,
    meeLoss: 9,
    contrastiveLoss: 10,
    mostOffending: 11,
  },
  call(exports, { dtype, op, scale, parameters }, { rows, columns, dimensions, clouds, per, epsilon }, at) {
    const [p0 = 0, p1 = 0] = parameters;
    const kernel = dtype === "float32" ? exports.energy_f32 : exports.energy_f64;
    const [energies, answers, lengths, table, coordinates, values, places, grad, upstream] = at;
    return kernel(
      op,
      rows,
      columns,
      dimensions,
      PER[per],
      clouds,
      energies,
      answers,
      lengths,
      table,
      coordinates,
      values,
      places,
      grad,
      upstream,
      scale,
      epsilon,
      p0,
      p1,
    );
  },
});
