//! Energy-based losses: one door for all of them, `op` says which.
use kernels::energy::{run, Op, Per, Rows};
use lanes::memory::Memory;
use lanes::Real;
use wasm_bindgen::prelude::*;

macro_rules! door {
    ($real:ident, $energy:ident) => {
        /// A loss per sample; `op`, `per`, `p0` and `p1` as [`Op`] and [`Per`] have them. `clouds` is how many sets of
        /// coordinates there are: 1 or one per sample. Gives back the sum of the losses.
        #[wasm_bindgen]
        #[allow(clippy::too_many_arguments)]
        pub fn $energy(
            op: u32,
            rows: usize,
            columns: usize,
            dimensions: usize,
            per: u32,
            clouds: usize,
            energies: usize,
            answers: usize,
            lengths: usize,
            table: usize,
            coordinates: usize,
            values: usize,
            indices: usize,
            grad: usize,
            upstream: usize,
            scale: f64,
            epsilon: f64,
            p0: f64,
            p1: f64,
        ) -> f64 {
            Memory::with(f64::NAN, |m| {
                let (Some(op), Some(per)) = (Op::from_door(op), Per::from_door(per)) else { return f64::NAN };
                let size = rows.saturating_mul(columns);
                let cloud = columns.saturating_mul(dimensions);
                run::<<$real as Real>::Lanes>(
                    op,
                    &mut Rows {
                        rows,
                        columns,
                        dimensions,
                        energies: m.view(energies, size),
                        answers: m.view(answers, rows),
                        lengths: m.view(lengths, rows),
                        table: m.view(table, per.rows(rows, columns).saturating_mul(columns)),
                        per,
                        coordinates: m.view(coordinates, clouds.saturating_mul(cloud)),
                        values: m.view_mut(values, rows),
                        indices: m.view_mut(indices, rows),
                        grad: m.view_mut(grad, size),
                        upstream: m.view(upstream, rows),
                        scale,
                        epsilon,
                        p: [p0, p1],
                    },
                )
            })
        }
    };
}
door!(f32, energy_f32);
door!(f64, energy_f64);
