/** The door to the kernel of alignment. */
import { source } from "#part/align";
import type { Door } from "../call.js";
import { door as opened } from "../core.js";
import type { Layout } from "../reference/ctc.js";

/** What the door takes beside the slots. */
export type Plan = Layout;

export const door: Door<Plan> | undefined = /* @__PURE__ */ opened<Plan>(source, {
  numbers: {},
  scratch(exports, { dtype }, { steps, classes, labels }) {
    const bytes = dtype === "float32" ? exports.ctc_align_scratch_f32 : exports.ctc_align_scratch_f64;
    return bytes(steps, classes, labels);
  },
  call(exports, { dtype }, { samples, steps, classes, labels, timeMajor, blank }, at) {
    const kernel = dtype === "float32" ? exports.ctc_align_f32 : exports.ctc_align_f64;
    const [logits, targets, inputLengths, targetLengths, scores, path, starts, ends, logProbs, , scratch] =
      at;
    return kernel(
      samples,
      steps,
      classes,
      labels,
      Number(timeMajor),
      blank,
      logits,
      targets,
      inputLengths,
      targetLengths,
      scores,
      path,
      starts,
      ends,
      logProbs,
      scratch,
    );
  },
});
