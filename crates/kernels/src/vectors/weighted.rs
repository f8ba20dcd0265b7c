//! Sums of vectors, each times a weight: the products of gradients. Weights stand in *strips* of rows as they come out of
//! [`super::panels::products`], a line of eight columns of each row; vectors in *parts*, eight numbers of each, then the next eight.
use super::panels::{in_groups, pack_panel, products, Pool, RUN, WIDTH};
use lanes::{Lanes, Real};

/// Rows of a strip, and columns whose weights are worked on at a time.
pub const ROWS: usize = RUN;

/// Eight numbers side by side.
pub type Line<L> = [<L as Lanes>::Scalar; WIDTH];

/// Lines of eight from scratch.
#[inline(never)]
pub fn take_lines<'a, L: Lanes>(count: usize, pool: &mut Pool<'a, L::Scalar>) -> &'a mut [Line<L>] {
    let (lines, _) = pool.take(count * WIDTH).as_chunks_mut();
    lines.fill([L::Scalar::ZERO; WIDTH]);
    lines
}

/// A row out of parts that are `high` lines each.
#[inline(never)]
pub fn gather<R: Real>(parts: &[[R; WIDTH]], high: usize, i: usize, to: &mut [[R; WIDTH]]) {
    for (k, to) in to.iter_mut().enumerate() {
        if let Some(line) = parts.get(k * high + i) {
            *to = *line;
        }
    }
}

/// The other way round, times a factor.
#[inline(never)]
pub fn scatter<L: Lanes>(row: &[Line<L>], factor: f64, parts: &mut [Line<L>], high: usize, i: usize) {
    let factor = L::of(factor);
    for (k, line) in row.iter().enumerate() {
        if let Some(to) = parts.get_mut(k * high + i) {
            for (to, x) in L::chunks_mut(to).0.iter_mut().zip(L::chunks(line).0) {
                (L::from_array(x) * factor).store(to);
            }
        }
    }
}

/// Turns some panels of [`ROWS`] lines.
#[inline(never)]
pub fn turn<L: Lanes>(panels: &[Line<L>], count: usize, to: &mut [Line<L>]) {
    for (p, lines) in panels.chunks_exact(ROWS).enumerate().take(count) {
        for (square, to) in lines.chunks_exact(WIDTH).zip(to.chunks_exact_mut(ROWS)) {
            pack_panel::<L>(
                square.as_flattened(),
                WIDTH,
                to.get_mut(p * WIDTH..).and_then(|s| s.get_mut(..WIDTH)).unwrap_or(&mut []),
            );
        }
    }
}

/// Adds sums of `count` vectors from `first` on, each times a weight, to `sums` lines of `to` from `start` on. The vectors are in parts that
/// are `high` lines each, and so are the sums. The weights stand in panels of [`ROWS`] lines: one of each of eight sums.
#[inline(never)]
pub fn accumulate<L: Lanes>(
    weights: &[Line<L>],
    sums: usize,
    (parts, high): (&[Line<L>], usize),
    (first, count): (usize, usize),
    (to, to_high): (&mut [Line<L>], usize),
    start: usize,
) {
    let size = in_groups(count);
    let sums = sums.next_multiple_of(L::COUNT);
    let (mut from, mut at) = (first, start);
    while let (Some(x), Some(to)) = (parts.get(from..from + size), to.get_mut(at..at + sums)) {
        products::<L>(weights.as_flattened(), (ROWS, 0), x.as_chunks().0, count, true, to);
        from += high;
        at += to_high;
    }
}
