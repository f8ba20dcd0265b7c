/** The door to the kernels of connectionist temporal classification: the loss, and the posteriors. */
import { source } from "#part/ctc";
import type { Door } from "../call.js";
import { door as opened } from "../core.js";
import type { Layout } from "../reference/ctc.js";

/** What the door takes beside the slots. */
export interface Plan extends Layout {
  readonly zeroInfinity: boolean;
  /** Whether each loss is divided by max(1, its target's length) in the sum. */
  readonly perLabel: boolean;
  /** Whether there is more to do than to add up the losses. */
  readonly backward: boolean;
}

export const door: Door<Plan> | undefined = /* @__PURE__ */ opened<Plan>(source, {
  numbers: {},
  scratch(exports, { dtype }, { steps, classes, labels, backward }) {
    const bytes = dtype === "float32" ? exports.ctc_scratch_f32 : exports.ctc_scratch_f64;
    return bytes(steps, classes, labels, Number(backward));
  },
  call(exports, { dtype }, plan, at) {
    const kernel = dtype === "float32" ? exports.ctc_f32 : exports.ctc_f64;
    const [logits, targets, inputLengths, targetLengths, values, grad, factors, scratch] = at;
    return kernel(
      plan.samples,
      plan.steps,
      plan.classes,
      plan.labels,
      Number(plan.timeMajor),
      plan.blank,
      Number(plan.zeroInfinity),
      Number(plan.perLabel),
      logits,
      targets,
      inputLengths,
      targetLengths,
      values,
      grad,
      factors,
      scratch,
    );
  },
});
