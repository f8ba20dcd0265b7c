//! Products of many pairs, roughly, in half the time of [`super::panels`]: vectors of 16-bit whole numbers.
//!
//! One instruction multiplies eight of these and adds up neighbours, so a panel's line holds two numbers of each vector, in the
//! halves of a 32-bit integer. What it is good for is to tell that a pair is *not* of interest.
//!
//! **What is lost.** A vector x becomes X = c x + r with c = [`UNIT`] / |x|: each number is off by at most 1/2 and what c x rounds, so
//! |r| <= D = sqrt(length) / 2 + 2^-7. Whole numbers are added up without loss: |X| <= UNIT + D (a number of X is below 2^15, a sum
//! of products below 2^31). For two vectors of factors c and c', X X' - c c' x x' = c x r' + r X', which is at most UNIT D +
//! D (UNIT + D), whatever the two are: [`slack`] is that, and 2^-19 UNIT² for what c, and a comparison in single precision that follows,
//! round. So c c' x x' < X X' + slack, and it is more than X X' - slack. At length 128 slack is 3.5e-4 of UNIT² = c c' |x| |x'|.
//! That is of products, so it is little beside distances where vectors stand around 0: [`super::bounds`] brings them there first.
use super::panels::{by_lines, row, rows_of, Group, SqrtOf, WIDTH};
use lanes::{transpose, F32x4, F64x2, I32x4, Ints, Lanes};

/// The length that vectors get.
pub const UNIT: f64 = 32766.0;

/// How many numbers a vector has at most: sums of longer ones could overflow.
const LONGEST: usize = 1 << 27;

/// By how much products may be off.
pub fn slack(length: usize) -> f64 {
    let d = (length as f64).sqrt_of() / 2.0 + 1.0 / 128.0;
    (2.0 * UNIT + d) * d + UNIT * UNIT / 524288.0
}

/// The factor of a vector, from the square of its length.
pub fn scale(square: f32) -> f32 {
    (UNIT / f64::from(square).sqrt_of()) as f32
}

/// How many lines a vector of this length has in a panel.
pub fn lines(length: usize) -> usize {
    length.div_ceil(2)
}

/// |x|² in single precision, off by at most 8 ulp, where it may serve; else NaN. 0 is that of the zero vector alone.
#[inline(never)]
pub fn usable_square(x: &[[f32; WIDTH]]) -> f32 {
    let mut sum = F64x2::zero();
    for run in x.chunks(4) {
        let mut sums = [F32x4::zero(); 2];
        for x in run {
            for (sum, x) in sums.iter_mut().zip(F32x4::chunks(x).0) {
                let x = F32x4::from_array(x);
                *sum = *sum + x * x;
            }
        }
        sum = (sums[0] + sums[1]).add_to_f64(sum);
    }
    let sum = sum.sum();
    let is_zero = sum == 0.0 && x.as_flattened().iter().all(|&x| x == 0.0);
    if x.len() <= LONGEST / WIDTH && (is_zero || (sum > 1e-28 && sum < 1e36)) {
        sum as f32
    } else {
        f32::NAN
    }
}

/// Eight numbers of each of four vectors at a time.
type Rows<'a> = [&'a [[f32; WIDTH]]; 4];

/// Packs numbers of four vectors into one half of lines. Of a vector without a factor they are whatever comes, but the same in every build.
#[inline(never)]
fn pack_half([a, b, c, d]: Rows, squares: &[f32; 4], half: usize, lines: &mut [[i32; WIDTH]]) {
    let scales = squares.map(|square| F32x4::splat(scale(square)));
    // 1.5 * 2^23: added to a number, it leaves the nearest whole one in the last bits
    let (magic, least) = (F32x4::splat(12582912.0), F32x4::splat(-32767.0));
    for ((((lines, a), b), c), d) in lines.as_chunks_mut::<4>().0.iter_mut().zip(a).zip(b).zip(c).zip(d) {
        let mut pairs = [least; 4];
        for ((pairs, x), scale) in pairs.iter_mut().zip([a, b, c, d]).zip(scales) {
            let (x, _) = F32x4::chunks(x);
            // what is NaN becomes `least`
            let [x, y] = [0, 1].map(|i| {
                let x = least.max(F32x4::from_array(&x[i]) * scale) + magic;
                x.to_bits() - magic.to_bits()
            });
            *pairs = F32x4::from_bits(x.to_pairs(y));
        }
        for (line, pairs) in lines.iter_mut().zip(transpose(pairs)) {
            if let Some(to) = line.as_chunks_mut().0.get_mut(half) {
                *to = pairs.to_bits().to_array();
            }
        }
    }
}

/// Packs up to eight vectors of `blocks` times eight numbers into a panel and gives |x|² of each, NaN where products with it cannot be
/// trusted.
#[inline(never)]
pub fn pack(x: &[[f32; WIDTH]], blocks: usize, panel: &mut [Group<i32>]) -> [f32; WIDTH] {
    let mut squares = [f32::NAN; WIDTH];
    for (square, x) in squares.iter_mut().zip(rows_of(x, blocks)) {
        *square = usable_square(x);
    }
    for (half, squares) in squares.as_chunks::<4>().0.iter().enumerate() {
        let rows = [0, 1, 2, 3].map(|r| {
            let r = half * 4 + r;
            // the first one again where there are no eight
            row(x, if (r + 1) * blocks <= x.len() { r } else { 0 }, blocks)
        });
        pack_half(rows, squares, half, panel.as_flattened_mut());
    }
    squares
}

/// `from` and the products of four vectors, the first of the lines of `a`, with the eight of a panel, over `left` lines.
#[inline(never)]
pub fn products(a: &[Group<i32>], b: &[Group<i32>], left: usize, from: i32, to: &mut [[i32; WIDTH]; 4]) {
    let mut sum = [I32x4::splat(from.into()); 8];
    let mut left = left;
    let (a, b) = (a.as_flattened().as_chunks::<4>().0, b.as_flattened().as_chunks::<4>().0);
    for (a, b) in a.iter().zip(b).take(left.div_ceil(4)) {
        let mut line = |a: &[i32; WIDTH], b: &[i32; WIDTH]| {
            let (b, _) = b.as_chunks();
            for (sum, a) in sum.chunks_exact_mut(2).zip(a) {
                let a = I32x4::splat((*a).into());
                for (sum, b) in sum.iter_mut().zip(b) {
                    *sum = *sum + a.dot_pairs(I32x4::from_array(*b));
                }
            }
        };
        by_lines!(line, a, b, left: 0 1 2 3);
        left = left.wrapping_sub(a.len());
    }
    for (line, sum) in to.iter_mut().zip(sum.chunks_exact(2)) {
        for (to, sum) in line.as_chunks_mut().0.iter_mut().zip(sum) {
            *to = sum.to_array();
        }
    }
}
