/** perdida/tfjs: the losses in TensorFlow.js, differentiable. TensorFlow.js itself is passed in, never imported. */
export {
  type DifferentiableLoss,
  type TensorFlow,
  type TensorFlowTensor,
  type TfCtcLengths,
  type TfCtcOptions,
  type TfLossOptions,
  tfCtcLoss,
  tfLoss,
} from "./adapters/tensorflow.js";
