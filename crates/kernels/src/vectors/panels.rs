//! Sets of vectors, packed so that the products of many pairs come cheap.
//!
//! |a - b|² is |a|² + |b|² - 2ab, and products of all pairs share their loads: [`products`] keeps eight vectors of sums in
//! registers, a few rows of one set against the eight columns of a *panel* of the other, so a step of the vectors' length costs
//! eight multiplications, eight additions and six loads; then come the next few rows, while the panel is in the first cache. For that
//! a set is packed: eight vectors side by side, number by number ([`Set::pack`]). Every pair's products are added up in the same order wherever the pair stands in a tile, and
//! a panel's missing vectors are zeros, so a pair's result does not depend on what is around it. Nothing is fused: with
//! 128-bit lanes a core that can fuse 256-bit ones does less than half of its work per cycle here (measured).
//!
//! **What the product loses.** Let u be half of EPSILON, n = |a|² + |b|², and c = [`RUN`] + length / RUN + 2: products are added up in
//! runs of RUN, and those in turn. Then the product is off by at most c u (sum of |a_k b_k|) <= c u n / 2, twice that is in the
//! distance, and what |a|² and |b|² (added up in double precision), the sum and the difference round adds less than
//! 6 u n. So the squared distance is off by less than E n with E = (c + 6) u, *relative* to it by E n / d². That is nothing for
//! vectors that are far apart and everything for those that differ in their last bits. [`distances`] therefore takes the product
//! where d² >= n / 4: then the distance is off by at most 2 E (9e-6 at length 64, a tenth of that is usual), and elsewhere the
//! differences are added up, which loses less than (length / 8 + 6) u, however near the two are, and costs about four times as much
//! (measured: sets of nothing but near pairs take 2.3 times as long at length 128). Searches for the nearest or
//! farthest need no such choice: they pass over a pair whose product is beyond the best so far by more than the bound, and
//! compare differences for the few that are left.
use core::slice::{ChunksExact, ChunksExactMut};
use lanes::{transpose, F64x2, Lanes, Mask, Real};

/// Vectors that stand side by side in a panel.
pub const WIDTH: usize = 8;
/// As many products are added up one after the other; then the sum is added to the sum of those before.
pub const RUN: usize = 64;
/// Lines of a panel that stand together: as many as [`products`] has in a row.
pub const LINES: usize = 8;
/// One number of each vector of a panel, for some of the vectors' numbers.
pub type Group<R> = [[R; WIDTH]; LINES];

/// Products, or distances, of some rows and a panel: the first [`Lanes::COUNT`] rows are in use.
pub type Tile<R> = [[R; WIDTH]; 4];

/// Scratch, handed out in pieces.
pub struct Pool<'a, T> {
    rest: &'a mut [T],
}

impl<'a, T> Pool<'a, T> {
    /// All of this.
    pub fn new(rest: &'a mut [T]) -> Self {
        Self { rest }
    }
    /// All that is left.
    pub fn all(self) -> &'a mut [T] {
        self.rest
    }
    /// The next `n`, or nothing where there are not so many.
    #[inline(never)]
    pub fn take(&mut self, n: usize) -> &'a mut [T] {
        let rest = core::mem::take(&mut self.rest);
        match rest.split_at_mut_checked(n) {
            Some((taken, left)) => {
                self.rest = left;
                taken
            }
            None => &mut [],
        }
    }
}

/// Numbers in another precision.
#[inline(never)]
pub fn convert<A: Real, B: Real>(from: &[A], to: &mut [B]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = B::from_f64(from.to_f64());
    }
}

/// How many arrays of lanes hold `length` numbers.
pub fn arrays<L: Lanes>(length: usize) -> usize {
    length.div_ceil(L::COUNT)
}

/// `length`, rounded up to whole groups of lines.
pub fn in_groups(length: usize) -> usize {
    length.div_ceil(LINES) * LINES
}

/// `count`, rounded up to whole panels.
pub fn in_panels(count: usize) -> usize {
    count.div_ceil(WIDTH) * WIDTH
}

/// Row `i` of rows of `n`; empty where there is none.
#[inline(always)]
pub fn row<T>(s: &[T], i: usize, n: usize) -> &[T] {
    s.get(i * n..).and_then(|s| s.get(..n)).unwrap_or(&[])
}

/// All rows of `n` numbers, which are one at least: where nothing can panic, nothing about it is in the core.
#[inline(always)]
pub fn rows_of<T>(s: &[T], n: usize) -> ChunksExact<'_, T> {
    s.chunks_exact(n.max(1))
}

/// As [`rows_of`], to write to.
#[inline(always)]
pub fn rows_of_mut<T>(s: &mut [T], n: usize) -> ChunksExactMut<'_, T> {
    s.chunks_exact_mut(n.max(1))
}

/// As [`row`], to write to.
#[inline(always)]
pub fn row_mut<T>(s: &mut [T], i: usize, n: usize) -> &mut [T] {
    s.get_mut(i * n..).and_then(|s| s.get_mut(..n)).unwrap_or(&mut [])
}

/// Number `i`, or 0.
#[inline(always)]
pub fn at<R: Real>(s: &[R], i: usize) -> R {
    s.get(i).copied().unwrap_or(R::ZERO)
}

/// How many numbers of scratch a set takes, in either precision, as a double: nothing overflows on the way.
#[inline(never)]
pub fn set_size(count: f64, length: usize) -> f64 {
    let panels = count + WIDTH as f64;
    count * (length + 3) as f64 + panels * (in_groups(length) + 1) as f64 + WIDTH as f64
}

/// Vectors of one length.
pub struct Set<'a, L: Lanes> {
    /// How many.
    pub count: usize,
    /// How many arrays of lanes each takes.
    pub arrays: usize,
    /// How many numbers each has.
    pub length: usize,
    /// The vectors, each filled up with zeros to whole arrays.
    rows: &'a [L::Array],
    /// The panels: lines of eight numbers, one of each vector; as many lines as a vector has numbers, zeros included. At the
    /// end there is one more line.
    lines: &'a [L::Scalar],
    /// |x|² of each vector, 0 for those that fill the last panel; NaN where the square is so large or so small that a product
    /// with it means nothing.
    pub squares: &'a [L::Scalar],
}

impl<'a, L: Lanes> Set<'a, L> {
    /// Packs vectors of at least one number.
    #[inline(never)]
    pub fn pack(x: &'a [L::Scalar], count: usize, length: usize, pool: &mut Pool<'a, L::Scalar>) -> Self {
        let length = length.max(1);
        let vector = arrays::<L>(length);
        let padded = vector * L::COUNT;
        let copy = pool.take(if padded != length { count * padded } else { 0 });
        let high = in_groups(length);
        let lines = pool.take(in_panels(count) * high + WIDTH);
        let squares = pool.take(in_panels(count));
        squares.fill(L::Scalar::ZERO);
        for (to, x) in rows_of_mut(copy, padded).zip(rows_of(x, length)) {
            to.fill(L::Scalar::ZERO);
            for (to, x) in to.iter_mut().zip(x) {
                *to = *x;
            }
        }
        let rows: &'a [L::Scalar] = if copy.is_empty() { x } else { copy };
        for (row, square) in rows_of(rows, padded).zip(squares.iter_mut()) {
            *square = usable_square::<L>(L::chunks(row).0);
        }
        for (panel, lines) in rows_of_mut(lines, high * WIDTH).enumerate() {
            pack_panel::<L>(
                rows.get(panel * WIDTH * padded..).unwrap_or(&[]),
                padded,
                lines.as_chunks_mut().0,
            );
        }
        Self { count, arrays: vector, length, rows: L::chunks(rows).0, lines, squares }
    }

    /// Vector `i`, filled up with zeros; nothing where there is none.
    #[inline(always)]
    pub fn row(&self, i: usize) -> &'a [L::Array] {
        row(self.rows, i, self.arrays)
    }

    /// The products of vectors from `i` on, as many as `to` has lines, with those of the panel that vector `j` of another set is in.
    #[inline(always)]
    pub fn products(&self, i: usize, other: &Self, j: usize, to: &mut [[L::Scalar; WIDTH]]) {
        let high = in_groups(self.length);
        products::<L>(self.lines, (high, i), other.lines_from(j), self.length, false, to);
    }

    /// The lines of the panel that vector `i` is in, each from the number of that vector on; what is before it in the next
    /// line is at the end.
    #[inline(always)]
    pub fn lines_from(&self, i: usize) -> &'a [Group<L::Scalar>] {
        let high = in_groups(self.length);
        groups_from(self.lines, high, i, high)
    }
}

/// Of panels that are `high` lines each, `count` lines of the one that number `i` is in, each from that number on: there has to be one
/// line more at the end.
#[inline(always)]
pub fn groups_from<R>(panels: &[R], high: usize, i: usize, count: usize) -> &[Group<R>] {
    let first = i / WIDTH * high * WIDTH + i % WIDTH;
    panels.get(first..).and_then(|s| s.get(..count * WIDTH)).unwrap_or(&[]).as_chunks().0.as_chunks().0
}

/// One copy of the code for all exponentials but those of rows.
#[inline(never)]
pub fn exp_all(x: &mut [[f64; 2]]) {
    for x in x {
        F64x2::from_array(x).exp().store(x);
    }
}

/// Of one vector.
pub fn exp(x: F64x2) -> F64x2 {
    let mut x = [x.to_array()];
    exp_all(&mut x);
    let [x] = x;
    F64x2::from_array(&x)
}

/// The square root of one number.
pub trait SqrtOf {
    /// The square root, correctly rounded.
    fn sqrt_of(self) -> Self;
}
impl<R: Real> SqrtOf for R {
    #[inline(always)]
    fn sqrt_of(self) -> Self {
        at(R::Lanes::splat(self).sqrt().to_array().as_ref(), 0)
    }
}

/// |x|² in double precision, number by number.
#[inline(never)]
pub fn square_of<R: Real>(x: &[R]) -> f64 {
    x.iter().fold(0.0, |sum, x| sum + x.to_f64() * x.to_f64())
}

/// |x|² where products of x can be trusted, else NaN. 0 is exact for the zero vector alone.
fn usable_square<L: Lanes>(x: &[L::Array]) -> L::Scalar {
    let mut sum = F64x2::zero();
    let mut zero = true;
    for a in x {
        let v = L::from_array(a);
        zero &= v.eq(L::zero()).all();
        sum = (v * v).add_to_f64(sum);
    }
    let sum = sum.sum();
    let (least, most) = if L::COUNT == 4 { (1e-28, 1e36) } else { (1e-270, 1e300) };
    if zero || (sum > least && sum < most) {
        L::Scalar::from_f64(sum)
    } else {
        L::Scalar::NAN
    }
}

/// Packs the first eight rows of `x`; zeros where there are fewer. `lines` is at least as long as a vector.
#[inline(never)]
pub fn pack_panel<L: Lanes>(x: &[L::Scalar], length: usize, lines: &mut [[L::Scalar; WIDTH]]) {
    for group in 0..WIDTH / L::COUNT {
        let row = |r: usize| L::chunks(row(x, group * L::COUNT + r, length));
        let rows = [row(0), row(1), row(2 % L::COUNT), row(3 % L::COUNT)];
        for (v, lines) in lines.chunks_exact_mut(L::COUNT).enumerate() {
            let block = rows.map(|(whole, tail)| match whole.get(v) {
                Some(a) => L::from_array(a),
                None => load_tail(if v == whole.len() { tail } else { &[] }),
            });
            for (line, column) in lines.iter_mut().zip(transpose(block)) {
                if let Some(to) = L::chunks_mut(line).0.get_mut(group) {
                    column.store(to);
                }
            }
        }
    }
}

/// One copy of the code for tails: they are few, and it is not short.
#[inline(never)]
fn load_tail<L: Lanes>(tail: &[L::Scalar]) -> L {
    L::load_partial(tail, L::Scalar::ZERO)
}

/// The lines of two groups, of which there are `left`, handed to `line` in pairs. Written out, so that addresses are one pointer and
/// constants, and with a way out after each line: V8 11.3 puts the loads of a stretch without branches before all else, and those of
/// two lines would not fit its 15 registers.
macro_rules! by_lines {
    ($line:ident, $a:ident, $b:ident, $left:ident: $($k:literal)*) => {
        'group: {
            $(
                $line(&$a[$k], &$b[$k]);
                if $left == $k + 1 {
                    break 'group;
                }
            )*
        }
    };
}
pub(super) use by_lines;

/// The products of vectors, as many as `to` has lines, with the eight of a panel, over `length` lines: instead of what there is, or added to
/// that. The vectors are those from `first` on in the panels `a`, which are `high` lines each.
#[inline(never)]
pub fn products<L: Lanes>(
    a: &[L::Scalar],
    (high, first): (usize, usize),
    b: &[Group<L::Scalar>],
    length: usize,
    add: bool,
    to: &mut [[L::Scalar; WIDTH]],
) {
    for (k, b) in b.chunks(RUN / LINES).enumerate() {
        let (a, add) = (a.get(k * RUN * WIDTH..).unwrap_or(&[]), add || k > 0);
        for (i, to) in (first..).step_by(L::COUNT).zip(to.chunks_exact_mut(L::COUNT)) {
            let a = groups_from(a, high, i, b.len() * LINES);
            let mut sum = [L::zero(); 8];
            let mut left = length.wrapping_sub(k * RUN);
            for (a, b) in a.iter().zip(b) {
                let mut line = |a: &[L::Scalar; WIDTH], b: &[L::Scalar; WIDTH]| {
                    let (b, _) = L::chunks(b);
                    for (sum, a) in sum.chunks_exact_mut(WIDTH / L::COUNT).zip(a) {
                        let a = L::splat(*a);
                        for (sum, b) in sum.iter_mut().zip(b) {
                            *sum = *sum + a * L::from_array(b);
                        }
                    }
                };
                by_lines!(line, a, b, left: 0 1 2 3 4 5 6 7);
                left = left.wrapping_sub(LINES);
            }
            for (line, sum) in to.iter_mut().zip(sum.chunks_exact(WIDTH / L::COUNT)) {
                for (to, sum) in L::chunks_mut(line).0.iter_mut().zip(sum) {
                    (if add { L::from_array(to) + *sum } else { *sum }).store(to);
                }
            }
        }
    }
}

/// E of this file's head, for vectors of so many arrays: by how much of |a|² + |b|² a squared distance may be off. Twice
/// as much as was derived, for what the comparison with a bound rounds.
pub fn bound<L: Lanes>(arrays: usize) -> f64 {
    let c = (RUN + arrays * L::COUNT / RUN + 2) as f64;
    (c + 6.0) * L::Scalar::EPSILON.to_f64()
}

/// |a_i - b_j| for vectors from i on of one set, as many as `to` has lines, and the panel of b_j. The distance of a vector to itself is
/// 0 whatever stands there.
#[inline(always)]
pub fn distances<L: Lanes>(
    a: &Set<L>,
    i: usize,
    b: &Set<L>,
    j: usize,
    tile: &mut [[L::Scalar; WIDTH]],
    to: &mut [[L::Scalar; WIDTH]],
) {
    a.products(i, b, j, tile);
    let (squares, _) = L::chunks(row(b.squares, j / WIDTH, WIDTH));
    let (quarter, zero) = (L::of(0.25), L::zero());
    let mut all = zero.eq(zero);
    for ((line, tile), own) in to.iter_mut().zip(tile.iter()).zip(a.squares.get(i..).unwrap_or(&[])) {
        let own = L::splat(*own);
        let others = squares.iter().zip(L::chunks(tile).0);
        for (to, (other, product)) in L::chunks_mut(line).0.iter_mut().zip(others) {
            let n = own + L::from_array(other);
            let product = L::from_array(product);
            let d = n - (product + product);
            all = all & (n * quarter).le(d);
            d.sqrt().store(to);
        }
    }
    if !all.all() {
        measure_near(a, i, b, j, tile, to);
    }
}

/// Those of [`distances`] that products do not tell.
#[inline(never)]
fn measure_near<L: Lanes>(
    a: &Set<L>,
    i: usize,
    b: &Set<L>,
    j: usize,
    tile: &[[L::Scalar; WIDTH]],
    to: &mut [[L::Scalar; WIDTH]],
) {
    let quarter = L::Scalar::from_f64(0.25);
    let j = j / WIDTH * WIDTH;
    // as many as there are, which also keeps this from being unrolled
    for (r, i) in (i..a.count.min(i + to.len())).enumerate() {
        for (k, j) in (j..b.count.min(j + WIDTH)).enumerate() {
            let place = r * WIDTH + k;
            let n = at(a.squares, i) + at(b.squares, j);
            let product = at(tile.as_flattened(), place);
            let d = if core::ptr::eq(a, b) && i == j {
                L::Scalar::ZERO
            } else if !(n * quarter <= n - (product + product)) {
                distance::<L>(a.row(i), b.row(j))
            } else {
                continue;
            };
            if let Some(to) = to.as_flattened_mut().get_mut(place) {
                *to = d;
            }
        }
    }
}

/// 2^600: squares of differences of double precision neither overflow nor vanish once they are so much smaller or larger.
const UP: f64 = f64::from_bits((1023 + 600) << 52);

/// |a - b| by differences. Where squares would overflow or vanish they are taken in double precision, and in that of scaled differences.
#[inline(never)]
pub fn distance<L: Lanes>(a: &[L::Array], b: &[L::Array]) -> L::Scalar {
    let mut sum = [L::zero(); 4];
    let (a_fours, a_rest) = a.as_chunks::<4>();
    let (b_fours, b_rest) = b.as_chunks::<4>();
    for (a, b) in a_fours.iter().zip(b_fours) {
        for ((sum, a), b) in sum.iter_mut().zip(a).zip(b) {
            let d = L::from_array(a) - L::from_array(b);
            *sum = *sum + d * d;
        }
    }
    for ((sum, a), b) in sum.iter_mut().zip(a_rest).zip(b_rest) {
        let d = L::from_array(a) - L::from_array(b);
        *sum = *sum + d * d;
    }
    let [s0, s1, s2, s3] = sum;
    let square = ((s0 + s1) + (s2 + s3)).sum();
    let (least, most, up) = if L::COUNT == 4 { (1e-28, 1e36, 1.0) } else { (1e-270, 1e300, UP) };
    if L::Scalar::from_f64(least) < square && square < L::Scalar::from_f64(most) {
        return square.sqrt_of();
    }
    let scale = if square < L::Scalar::ONE { up } else { 1.0 / up };
    let mut sum = 0.0;
    for (a, b) in a.iter().zip(b) {
        for (a, b) in a.as_ref().iter().zip(b.as_ref()) {
            let d = (a.to_f64() - b.to_f64()) * scale;
            sum += d * d;
        }
    }
    L::Scalar::from_f64(sum.sqrt_of() / scale)
}

/// The squared distances of two vectors, the first of the lines of `a`, and the eight of a panel, number by number as a reference
/// would have it.
#[inline(never)]
pub fn differences(a: &[Group<f64>], b: &[Group<f64>], length: usize, to: &mut [[f64; WIDTH]]) {
    let mut sum = [F64x2::zero(); 8];
    for (a, b) in a.as_flattened().iter().zip(b.as_flattened()).take(length) {
        for (sum, a) in sum.chunks_exact_mut(4).zip(a) {
            let a = F64x2::splat(*a);
            for (sum, b) in sum.iter_mut().zip(F64x2::chunks(b).0) {
                let d = a - F64x2::from_array(b);
                *sum = *sum + d * d;
            }
        }
    }
    for (line, sum) in to.iter_mut().zip(sum.chunks_exact(4)) {
        for (to, sum) in F64x2::chunks_mut(line).0.iter_mut().zip(sum) {
            sum.store(to);
        }
    }
}

/// to += w (own - x).
#[inline(never)]
pub fn pull(to: &mut [[f64; 2]], own: &[[f64; 2]], x: &[[f64; 2]], w: f64) {
    let w = F64x2::splat(w);
    for ((to, own), x) in to.iter_mut().zip(own).zip(x) {
        (F64x2::from_array(to) + (F64x2::from_array(own) - F64x2::from_array(x)) * w).store(to);
    }
}

/// Writes rows of whole arrays, times a factor, to rows of `length` numbers.
#[inline(never)]
pub fn unpad<R: Real>(from: &[[f64; 2]], length: usize, factor: f64, to: &mut [R]) {
    for (to, from) in rows_of_mut(to, length).zip(rows_of(from, length.div_ceil(2))) {
        for (to, from) in to.iter_mut().zip(from.as_flattened()) {
            *to = R::from_f64(from * factor);
        }
    }
}
