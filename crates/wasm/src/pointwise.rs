//! Pointwise losses: one door for all of them, `op` says which.
use kernels::pointwise::{run, Elements, Op};
use lanes::memory::Memory;
use lanes::Real;
use wasm_bindgen::prelude::*;

macro_rules! door {
    ($real:ident, $pointwise:ident) => {
        /// A loss per element; `op` and `p0` to `p2` as [`Op`] has them. Gives back the sum of the losses.
        #[wasm_bindgen]
        #[allow(clippy::too_many_arguments)]
        pub fn $pointwise(
            op: u32,
            count: usize,
            a: usize,
            b: usize,
            c: usize,
            weight: usize,
            pos_weight: usize,
            values: usize,
            grad_a: usize,
            grad_b: usize,
            grad_c: usize,
            upstream: usize,
            scale: f64,
            p0: f64,
            p1: f64,
            p2: f64,
        ) -> f64 {
            Memory::with(f64::NAN, |m| {
                let Some(op) = Op::from_door(op) else { return f64::NAN };
                run::<<$real as Real>::Lanes>(
                    op,
                    &mut Elements {
                        count,
                        inputs: [a, b, c].map(|address| m.view(address, count)),
                        weight: m.view(weight, count),
                        pos_weight: m.view(pos_weight, count),
                        values: m.view_mut(values, count),
                        grads: [grad_a, grad_b, grad_c].map(|address| m.view_mut(address, count)),
                        upstream: m.view(upstream, count),
                        scale,
                        p: [p0, p1, p2],
                        room: m.room(),
                    },
                )
            })
        }
    };
}
door!(f32, pointwise_f32);
door!(f64, pointwise_f64);
