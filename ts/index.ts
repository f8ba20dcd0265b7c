/** perdida: loss functions with value and gradient. The entry with the core inlined. */

export { type CoreSource, type EngineInfo, engine, ready, setEngine } from "#engine";
export * from "./losses/ctc/align.js";
export * from "./losses/ctc.js";
export * from "./losses/pointwise.js";
export * from "./losses/rowwise.js";
export { type Cdist, type CdistOptions, cdist } from "./losses/vectors/allPairs.js";
export {
  type InfoNceOptions,
  infoNceLoss,
  type SupervisedContrastiveOptions,
  supervisedContrastiveLoss,
} from "./losses/vectors/contrastive.js";
export {
  type BatchLoss,
  type BatchTripletOptions,
  batchAllTripletLoss,
  batchHardTripletLoss,
  batchSemiHardTripletLoss,
  type MinedValueAndGrad,
} from "./losses/vectors/mining.js";
export { type Nearest, type NearestOptions, nearest } from "./losses/vectors/nearest.js";
export * from "./losses/vectors.js";
export type { MemoryUse } from "./runtime/memory.js";
export type { ResponseLike, WasmModule } from "./runtime/platform.js";
export { AllocatedTensor, type Axes, allocate, tensor } from "./tensor.js";
export type * from "./types.js";
