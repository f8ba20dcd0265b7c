//! Rowwise losses: one door for all of them, `op` says which.
use kernels::rowwise::{run, strips, turn, Op, Rows};
use lanes::memory::Memory;
use lanes::{F32x4, F64x2};
use wasm_bindgen::prelude::*;

macro_rules! door {
    ($real:ident, $rowwise:ident, $run:expr) => {
        /// A loss per row; `op`, `p0` and `p1` as [`Op`] has them. Gives back the sum of the losses.
        #[wasm_bindgen]
        #[allow(clippy::too_many_arguments)]
        pub fn $rowwise(
            op: u32,
            rows: usize,
            columns: usize,
            input: usize,
            labels: usize,
            target: usize,
            weight: usize,
            values: usize,
            grad_input: usize,
            grad_target: usize,
            upstream: usize,
            scale: f64,
            p0: f64,
            p1: f64,
            inner: usize,
        ) -> f64 {
            Memory::with(f64::NAN, |m| {
                let Some(op) = Op::from_door(op) else { return f64::NAN };
                let size = rows.saturating_mul(columns);
                let per_value = if op.is_mapping() { size } else { rows };
                let targets = rows.saturating_mul(op.targets(columns));
                let mut r = Rows::<$real> {
                    rows,
                    columns,
                    inner,
                    input: m.view(input, size),
                    labels: m.view(labels, rows.saturating_mul(op.labels(columns))),
                    target: m.view(target, targets),
                    weight: m.view(weight, columns),
                    values: m.view_mut(values, per_value),
                    grad_input: m.view_mut(grad_input, size),
                    grad_target: m.view_mut(grad_target, targets),
                    upstream: m.view(upstream, per_value),
                    scale,
                    p: [p0, p1],
                };
                ($run)(op, &mut r, m)
            })
        }
    };
}
door!(f32, rowwise_f32, |op, r, _: &Memory| run::<F32x4>(op, r));
door!(f64, rowwise_f64, |op, r, _: &Memory| run::<F64x2>(op, r));
// several rows at a time
door!(f32, rowwise_strips_f32, |op, r, m: &Memory| strips::run(op, r, m.room()));

/// [`turn`] of `rows` rows of `all` that there are, of numbers of 4 or 8 bytes; `back` is 0 or 1.
#[wasm_bindgen]
#[allow(clippy::too_many_arguments)]
pub fn turn_rows(
    apart: usize,
    together: usize,
    all: usize,
    columns: usize,
    inner: usize,
    first: usize,
    rows: usize,
    bytes: usize,
    back: u32,
) {
    let of = [columns, inner, first, rows];
    let (all, some) = (all.saturating_mul(columns), rows.saturating_mul(columns));
    Memory::with((), |m| {
        if bytes == 4 {
            turn::<f32>(m.view_mut(apart, all), m.view_mut(together, some), of, back != 0)
        } else {
            turn::<f64>(m.view_mut(apart, all), m.view_mut(together, some), of, back != 0)
        }
    })
}
