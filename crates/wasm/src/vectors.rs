//! Losses and functions of vectors: one door for all of them, `op` says which.
use kernels::vectors::{run, Op, Vectors};
use lanes::memory::Memory;
use lanes::Real;
use wasm_bindgen::prelude::*;

macro_rules! door {
    ($real:ident, $vectors:ident) => {
        /// A number per row of two or three vectors; `op` and the options `p0` to `p3` as [`Op`] has them. Gives back the
        /// sum of the numbers.
        #[wasm_bindgen]
        #[allow(clippy::too_many_arguments)]
        pub fn $vectors(
            op: u32,
            count: usize,
            length: usize,
            a: usize,
            b: usize,
            c: usize,
            target: usize,
            values: usize,
            grad_a: usize,
            grad_b: usize,
            grad_c: usize,
            upstream: usize,
            scale: f64,
            p0: f64,
            p1: f64,
            p2: f64,
            p3: f64,
        ) -> f64 {
            Memory::with(f64::NAN, |m| {
                let Some(op) = Op::from_door(op) else { return f64::NAN };
                let size = count.saturating_mul(length);
                run::<<$real as Real>::Lanes>(
                    op,
                    &mut Vectors {
                        count,
                        length,
                        x: [a, b, c].map(|x| m.view(x, size)),
                        target: m.view(target, count),
                        values: m.view_mut(values, count),
                        grads: [grad_a, grad_b, grad_c].map(|grad| m.view_mut(grad, size)),
                        upstream: m.view(upstream, count),
                        scale,
                        p: [p0, p1, p2, p3],
                    },
                )
            })
        }
    };
}
door!(f32, vectors_f32);
door!(f64, vectors_f64);
