//! Functions of many vectors at once: one door for all of them, `op` says which.
use kernels::vectors::many::{need, run, Many, Need, Op};
use lanes::memory::{Memory, Plain};
use lanes::Real;
use wasm_bindgen::prelude::*;

/// Where the pieces of a call's scratch begin and how long they are, in bytes from its address: doubles, numbers of the call's
/// precision, singles, integers; each is rounded up to whole doubles.
#[inline(never)]
fn pieces(need: Need, real: usize) -> [(f64, f64); 4] {
    let mut end = 0.0;
    [(need.doubles, 8.0), (need.reals, real as f64), (need.singles, 4.0), (need.ints, 4.0)].map(
        |(count, width)| {
            let start = end;
            end = start + count * width;
            // whole numbers, so this rounds up
            end += (8.0 - end % 8.0) % 8.0;
            (start, count)
        },
    )
}

// one copy of the checks for each kind of slice: there are many slices
#[inline(never)]
fn view<'m, T: Plain>(m: &'m Memory, address: usize, length: usize) -> &'m [T] {
    m.view(address, length)
}
#[inline(never)]
fn view_mut<'m, T: Plain>(m: &'m Memory, address: usize, length: usize) -> &'m mut [T] {
    m.view_mut(address, length)
}

/// How many bytes of scratch a call takes.
#[wasm_bindgen]
#[allow(clippy::too_many_arguments)]
pub fn many_scratch(
    double: bool,
    op: u32,
    rows: usize,
    columns: usize,
    length: usize,
    p0: f64,
    p1: f64,
) -> f64 {
    let Some(op) = Op::from_door(op) else { return 0.0 };
    let need = need(op, rows, columns, length, &[p0, p1, 0.0, 0.0, 0.0]);
    let [_, _, _, (start, count)] = pieces(need, if double { 8 } else { 4 });
    start + count * 4.0
}

macro_rules! door {
    ($real:ident, $many:ident) => {
        /// A function of many vectors; `op` and the parameters as [`Op`] has them. Gives back the sum of the losses.
        #[wasm_bindgen]
        #[allow(clippy::too_many_arguments)]
        pub fn $many(
            op: u32,
            rows: usize,
            columns: usize,
            length: usize,
            a: usize,
            b: usize,
            labels: usize,
            values: usize,
            grad_a: usize,
            grad_b: usize,
            upstream: usize,
            indices: usize,
            stats: usize,
            scratch: usize,
            scale: f64,
            p0: f64,
            p1: f64,
            p2: f64,
            p3: f64,
            p4: f64,
        ) -> f64 {
            Memory::with(f64::NAN, |m| {
                type L = <$real as Real>::Lanes;
                let Some(op) = Op::from_door(op) else { return f64::NAN };
                let p = [p0, p1, p2, p3, p4];
                let need = need(op, rows, columns, length, &p);
                let [doubles, reals, singles, ints] = pieces(need, size_of::<$real>())
                    .map(|(start, count)| (scratch.saturating_add(start as usize), count as usize));
                let others = op.others(columns);
                let per_value = op.values(rows, columns, &p);
                run::<L>(
                    op,
                    &mut Many {
                        rows,
                        columns,
                        length,
                        a: view(m, a, rows.saturating_mul(length)),
                        b: view(m, b, others.saturating_mul(length)),
                        labels: view(m, labels, rows),
                        values: view_mut(m, values, per_value),
                        grad_a: view_mut(m, grad_a, rows.saturating_mul(length)),
                        grad_b: view_mut(m, grad_b, others.saturating_mul(length)),
                        indices: view_mut(m, indices, per_value),
                        stats: view_mut(m, stats, 2),
                        upstream: view(m, upstream, per_value),
                        reals: view_mut(m, reals.0, reals.1),
                        doubles: view_mut(m, doubles.0, doubles.1),
                        singles: view_mut(m, singles.0, singles.1),
                        ints: view_mut(m, ints.0, ints.1),
                        scale,
                        p,
                    },
                )
            })
        }
    };
}
door!(f32, many_f32);
door!(f64, many_f64);
