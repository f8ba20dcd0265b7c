/** perdida/energy: losses of energy-based models, with value and gradient. */

export {
  type ContinuousOffender,
  type ContinuousOffenders,
  type ContinuousOptions,
  type EnergyOfAnswer,
  type EnergyOfAnswers,
  type Gradient,
  mostOffendingContinuous,
} from "./losses/energy/continuous.js";
export {
  type FunctionalOptions,
  type LossFunctional,
  type LossFunctionalJson,
  lossFunctional,
  type Regularizer,
  type ValueAndGradOf,
} from "./losses/energy/functional.js";
export * from "./losses/energy.js";
export type * from "./types.js";
