//! CTC: the loss of a batch of sequences.
use crate::ctc_room::{bytes, places};
use kernels::ctc::{run, Batch, Need, Room};
use lanes::memory::Memory;
use lanes::Real;
use wasm_bindgen::prelude::*;

macro_rules! door {
    ($real:ident, $ctc:ident, $scratch:ident) => {
        /// Bytes of scratch that a call needs.
        #[wasm_bindgen]
        pub fn $scratch(steps: usize, classes: usize, labels: usize, gradients: u32) -> usize {
            bytes(Need::of(steps, classes, labels, gradients != 0), size_of::<$real>())
        }

        /// A loss per sample. Gives back their sum; with `per_label` each is divided by its target's length first. Without
        /// `factors` there are occupancies in the place of the gradient.
        #[wasm_bindgen]
        #[allow(clippy::too_many_arguments)]
        pub fn $ctc(
            samples: usize,
            steps: usize,
            classes: usize,
            labels: usize,
            time_major: u32,
            blank: usize,
            zero_infinity: u32,
            per_label: u32,
            logits: usize,
            targets: usize,
            input_lengths: usize,
            target_lengths: usize,
            values: usize,
            grad: usize,
            factors: usize,
            scratch: usize,
        ) -> f64 {
            Memory::with(f64::NAN, |m| {
                let size = samples.saturating_mul(steps).saturating_mul(classes);
                let gradients = grad != 0 && size != 0;
                let need = Need::of(steps, classes, labels, gradients);
                let [doubles, reals, indices] = places(scratch, need, size_of::<$real>());
                let mut room = Room {
                    reals: m.view_mut(reals, need.reals),
                    doubles: m.view_mut(doubles, need.doubles),
                    indices: m.view_mut(indices, need.indices),
                };
                let mut batch = Batch {
                    samples,
                    steps,
                    classes,
                    labels,
                    time_major: time_major != 0,
                    blank,
                    zero_infinity: zero_infinity != 0,
                    per_label: per_label != 0,
                    targets: m.view(targets, samples.saturating_mul(labels)),
                    input_lengths: m.view(input_lengths, samples),
                    target_lengths: m.view(target_lengths, samples),
                    values: m.view_mut(values, samples),
                    factors: m.view(factors, samples),
                };
                let grad = if gradients { m.view_mut(grad, size) } else { &mut [] };
                run::<<$real as Real>::Lanes>(&mut batch, m.view(logits, size), grad, &mut room)
            })
        }
    };
}
door!(f32, ctc_f32, ctc_scratch_f32);
door!(f64, ctc_f64, ctc_scratch_f64);
