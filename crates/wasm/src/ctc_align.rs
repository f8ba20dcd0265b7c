//! CTC: the best path of each sequence of a batch.
use crate::ctc_room::{bytes, places};
use kernels::ctc::align::{need, run, Alignments};
use kernels::ctc::Room;
use lanes::memory::Memory;
use lanes::Real;
use wasm_bindgen::prelude::*;

macro_rules! door {
    ($real:ident, $align:ident, $scratch:ident) => {
        /// Bytes of scratch that a call needs.
        #[wasm_bindgen]
        pub fn $scratch(steps: usize, classes: usize, labels: usize) -> usize {
            bytes(need::<<$real as Real>::Lanes>(steps, classes, labels), size_of::<$real>())
        }

        /// An alignment per sample. Gives back the sum of the scores.
        #[wasm_bindgen]
        #[allow(clippy::too_many_arguments)]
        pub fn $align(
            samples: usize,
            steps: usize,
            classes: usize,
            labels: usize,
            time_major: u32,
            blank: usize,
            logits: usize,
            targets: usize,
            input_lengths: usize,
            target_lengths: usize,
            scores: usize,
            path: usize,
            starts: usize,
            ends: usize,
            log_probs: usize,
            scratch: usize,
        ) -> f64 {
            Memory::with(f64::NAN, |m| {
                let per_step = samples.saturating_mul(steps);
                let per_label = samples.saturating_mul(labels);
                let need = need::<<$real as Real>::Lanes>(steps, classes, labels);
                let [doubles, reals, indices] = places(scratch, need, size_of::<$real>());
                let mut room = Room {
                    reals: m.view_mut(reals, need.reals),
                    doubles: m.view_mut(doubles, need.doubles),
                    indices: m.view_mut(indices, need.indices),
                };
                let mut batch = Alignments {
                    samples,
                    steps,
                    classes,
                    labels,
                    time_major: time_major != 0,
                    blank,
                    logits: m.view(logits, per_step.saturating_mul(classes)),
                    targets: m.view(targets, per_label),
                    input_lengths: m.view(input_lengths, samples),
                    target_lengths: m.view(target_lengths, samples),
                    scores: m.view_mut(scores, samples),
                    path: m.view_mut(path, per_step),
                    starts: m.view_mut(starts, per_label),
                    ends: m.view_mut(ends, per_label),
                    log_probs: m.view_mut(log_probs, per_label),
                };
                run::<<$real as Real>::Lanes>(&mut batch, &mut room)
            })
        }
    };
}
door!(f32, ctc_align_f32, ctc_align_scratch_f32);
door!(f64, ctc_align_f64, ctc_align_scratch_f64);
