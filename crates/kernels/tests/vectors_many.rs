//! Functions of many vectors on portable lanes: distances against a naive oracle in double precision within the bound of
//! `vectors::panels`, searches against looking at everything, and refusal of slices that do not fit.
use kernels::vectors::bounds::Metric;
use kernels::vectors::many::{need, run, Many, Op};
use lanes::{F32x4, F64x2, Lanes, Real};
use proptest::prelude::*;

/// What a call writes.
struct Out<R> {
    sum: f64,
    values: Vec<R>,
    grad: Vec<R>,
    grad_b: Vec<R>,
    indices: Vec<i32>,
    stats: Vec<f64>,
}

fn call<L: Lanes>(
    op: Op,
    sizes: [usize; 3],
    a: &[L::Scalar],
    b: &[L::Scalar],
    labels: &[i32],
    p: [f64; 5],
) -> Out<L::Scalar> {
    // scratch may hold anything
    call_in::<L>((f64::NAN, 0x7fff_8001), op, sizes, a, b, labels, p)
}

/// A call whose scratch holds these numbers.
fn call_in<L: Lanes>(
    (scratch, int): (f64, i32),
    op: Op,
    sizes: [usize; 3],
    a: &[L::Scalar],
    b: &[L::Scalar],
    labels: &[i32],
    p: [f64; 5],
) -> Out<L::Scalar> {
    let [rows, columns, length] = sizes;
    let n = need(op, rows, columns, length, &p);
    let zero = L::Scalar::ZERO;
    let count = op.values(rows, columns, &p);
    let mut out = Out {
        sum: 0.0,
        values: vec![zero; count],
        grad: vec![zero; if op == Op::Nearest { 0 } else { a.len() }],
        grad_b: vec![zero; if op == Op::Nearest { 0 } else { b.len() }],
        indices: vec![-1; if op == Op::Nearest { count } else { 0 }],
        stats: vec![0.0; 2],
    };
    let mut reals = vec![L::Scalar::from_f64(scratch); n.reals as usize];
    let mut doubles = vec![scratch; n.doubles as usize];
    let mut singles = vec![scratch as f32; n.singles as usize];
    let mut ints = vec![int; n.ints as usize];
    out.sum = run::<L>(
        op,
        &mut Many {
            rows,
            columns,
            length,
            a,
            b,
            labels,
            values: &mut out.values,
            grad_a: &mut out.grad,
            grad_b: &mut out.grad_b,
            indices: &mut out.indices,
            stats: &mut out.stats,
            upstream: &[],
            reals: &mut reals,
            doubles: &mut doubles,
            singles: &mut singles,
            ints: &mut ints,
            scale: 1.0,
            p,
        },
    );
    out
}

fn exact<R: Real>(a: &[R], b: &[R]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a.to_f64() - b.to_f64()).powi(2)).sum::<f64>().sqrt()
}

/// Numbers by turns wide and nearly the same.
fn vectors<R: Real>(count: usize, length: usize, seed: u64, crowd: bool) -> Vec<R> {
    let mut state = seed | 1;
    (0..count * length)
        .map(|i| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let x = (state >> 40) as f64 / (1u64 << 24) as f64 - 0.5;
            R::from_f64(if crowd { 3.0 + (i % length) as f64 + x * 1e-5 } else { x * 4.0 })
        })
        .collect()
}

fn distances_are_within_the_bound<L: Lanes>(
    rows: usize,
    columns: usize,
    length: usize,
    seed: u64,
    crowd: bool,
) {
    let a = vectors::<L::Scalar>(rows, length, seed, crowd);
    let b = vectors::<L::Scalar>(columns, length, seed ^ 99, crowd);
    let bound = (32.0 + (length.div_ceil(32)) as f64 + 8.0) * L::Scalar::EPSILON.to_f64();
    let p = [2.0, 0.0, 0.0, 0.0, 0.0];
    let two = call::<L>(Op::Cdist, [rows, columns, length], &a, &b, &[], p);
    for (i, x) in a.chunks(length).enumerate() {
        for (j, y) in b.chunks(length).enumerate() {
            let (d, e) = (two.values[i * columns + j].to_f64(), exact(x, y));
            assert!((d - e).abs() <= bound * e, "{d} is not {e}");
        }
    }
    let one = call::<L>(Op::CdistSelf, [rows, rows, length], &a, &[], &[], p);
    for (i, x) in a.chunks(length).enumerate() {
        for (j, y) in a.chunks(length).enumerate() {
            let (d, e) = (one.values[i * rows + j].to_f64(), exact(x, y));
            assert!((d - e).abs() <= bound * e, "{d} is not {e}");
            assert!(d == one.values[j * rows + i].to_f64());
        }
    }
}

fn hardest_is_found<L: Lanes>(rows: usize, length: usize, seed: u64, crowd: bool) {
    let a = vectors::<L::Scalar>(rows, length, seed, crowd);
    let labels: Vec<i32> = (0..rows).map(|i| ((i * i + i / 3) % 4) as i32 % rows as i32).collect();
    let out = call::<L>(Op::BatchTriplet, [rows, rows, length], &a, &[], &labels, [0.0, 0.25, 0.0, 0.0, 0.0]);
    for (i, x) in a.chunks(length).enumerate() {
        let (mut far, mut near) = (f64::NEG_INFINITY, f64::INFINITY);
        for (j, y) in a.chunks(length).enumerate() {
            let d = exact(x, y);
            if labels[i] != labels[j] {
                near = near.min(d);
            } else if i != j {
                far = far.max(d);
            }
        }
        let expected = if far.is_finite() && near.is_finite() { (0.25 + far - near).max(0.0) } else { 0.0 };
        assert!(
            (out.values[i].to_f64() - expected).abs() < 1e-6,
            "{} is not {expected}",
            out.values[i].to_f64()
        );
    }
    assert!(out.stats[1] <= out.stats[0]);
}

/// The distance that a search compares, number by number.
fn measured<R: Real>(metric: usize, a: &[R], b: &[R]) -> f64 {
    let of = |f: &dyn Fn(f64, f64) -> f64| {
        a.iter().zip(b).fold(0.0, |sum, (a, b)| sum + f(a.to_f64(), b.to_f64()))
    };
    let norm = |x: &[R]| x.iter().fold(0.0, |sum, x| sum + x.to_f64() * x.to_f64()).sqrt().max(1e-8);
    match metric {
        0 => of(&|a, b| (a - b) * (a - b)).sqrt(),
        1 => 1.0 - of(&|a, b| a * b) / (norm(a) * norm(b)),
        _ => -of(&|a, b| a * b),
    }
}

/// Vectors around one place, which is so many times farther away than they are apart.
fn clustered<R: Real>(count: usize, length: usize, seed: u64, far: f64) -> Vec<R> {
    let place = vectors::<f64>(1, length, 11, false);
    let x = vectors::<f64>(count, length, seed, false);
    x.iter().enumerate().map(|(i, x)| R::from_f64(place[i % length] + x / far)).collect()
}

/// Vectors as searches meet them. 0 spread, 1 crowded, 2 few different ones, 3 not negative, 4 around few places, 5 with some numbers
/// that are none, or far too large or small, and vectors of zeros.
fn searched<R: Real>(count: usize, length: usize, seed: u64, kind: usize) -> Vec<R> {
    let mut x = vectors::<R>(count, length, seed, kind == 1);
    let places = vectors::<R>(3, length, 5, false);
    for (i, x) in x.chunks_mut(length).enumerate() {
        let turn = (seed as usize >> 3).wrapping_add(i.wrapping_mul(0x9e37)) >> 2;
        for (k, x) in x.iter_mut().enumerate() {
            let place = places[turn % 3 * length + k];
            *x = match kind {
                2 => place,
                3 => R::from_f64(x.to_f64().abs()),
                4 => R::from_f64(place.to_f64() + x.to_f64() * 1e-3),
                5 if turn % 5 == 0 => R::from_f64(0.0),
                5 if turn % 5 == 1 && k == turn % length => {
                    let odd = [f64::NAN, f64::INFINITY, -f64::INFINITY, 1e30, -1e19, 1e-30, 3e38, 1e-42];
                    R::from_f64(odd[turn / 5 % odd.len()])
                }
                5 if turn % 5 == 2 => R::from_f64(x.to_f64() * if turn % 2 == 0 { 1e-22 } else { 1e-60 }),
                5 if turn % 5 == 3 => R::from_f64(x.to_f64() * 1e17),
                _ => *x,
            };
        }
    }
    x
}

fn is_nearest<L: Lanes>(a: &[L::Scalar], b: &[L::Scalar], length: usize, seed: u64, metric: usize) {
    let (rows, items) = (a.len() / length, b.len() / length);
    let k = match seed % 4 {
        0 => 1,
        1 => items,
        _ => 1 + (seed >> 2) as usize % items,
    };
    let p = [k as f64, metric as f64, 0.0, 0.0, 0.0];
    let out = call::<L>(Op::Nearest, [rows, items, length], a, b, &[], p);
    let rank = |d: f64| if d.is_nan() { f64::INFINITY } else { d };
    for (i, x) in a.chunks(length).enumerate() {
        let mut all: Vec<(f64, i32)> =
            b.chunks(length).enumerate().map(|(j, y)| (measured(metric, x, y), j as i32)).collect();
        all.sort_by(|a, b| (rank(a.0), a.1).partial_cmp(&(rank(b.0), b.1)).unwrap());
        for (at, (d, j)) in (i * k..).zip(all.into_iter().take(k)) {
            let (expected, actual) = (L::Scalar::from_f64(d), out.values[at]);
            assert_eq!(out.indices[at], j, "{:?} and {d}", actual.to_f64());
            assert!(expected == actual || (expected.is_nan() && actual.is_nan()));
        }
    }
}

/// What is said of distances by rough products holds, and says something of those that are `tight`, but of every third vector.
fn bounds_hold<L: Lanes>(a: &[L::Scalar], b: &[L::Scalar], length: usize, tight: &[Metric]) {
    use kernels::vectors::bounds::{bound, shifted, size, Bounds, Source};
    use kernels::vectors::{panels::convert, quantised as q};
    use lanes::{F32x4, I32x4, Ints};
    let sets = [a, b];
    let counts = sets.map(|x| x.len() / length);
    let of = |second: bool, i: usize| &sets[usize::from(second)][i * length..][..length];
    for metric in [Metric::Euclidean, Metric::Cosine, Metric::Dot] {
        let mut room = vec![f32::NAN; size(length)];
        let source = Source {
            singles: sets.map(<L::Scalar as Real>::singles),
            read: &|second, i, factor, centre, to| shifted(of(second, i), factor, centre, to),
            read_double: &|second, i, to| convert(of(second, i), to),
        };
        let mut bounds = Bounds::new(metric, source, [counts[1], length], &mut room);
        let mut panel = vec![0; (length.div_ceil(16) + 1) * 64];
        let mut query = panel.clone();
        for j in (0..counts[1]).step_by(8) {
            let (base, factor) = bounds.pack(true, [j, counts[1]], &mut panel);
            for i in (0..counts[0]).step_by(8) {
                let (own_base, own_factor) = bounds.pack(false, [i, counts[0]], &mut query);
                let mut tile = [[0; 8]; 4];
                let start = bounds.slack as i32;
                let of_group = |x: &[i32]| x.as_chunks().0.as_chunks().0.to_vec();
                q::products(&of_group(&query), &of_group(&panel), q::lines(length), start, &mut tile);
                for (r, line) in tile.iter().enumerate().take(counts[0] - i) {
                    for (c, product) in line.iter().enumerate().take(counts[1] - j) {
                        let own = [own_base[r], own_factor[r]].map(F32x4::splat);
                        let other = [base[c], factor[c]].map(F32x4::splat);
                        let least = bound(I32x4::splat(i64::from(*product)), own, other).to_array()[0];
                        let distance = measured(metric as usize, of(false, i + r), of(true, j + c));
                        // a distance that is no number is infinitely far
                        assert!(!(least > bounds.limit(distance)), "{metric:?}: {least} for {distance}");
                        let most = bounds.most(least, [own_factor[r], factor[c]]);
                        assert!(!(most < distance), "{metric:?}: {most} for {distance}");
                        if tight.contains(&metric) && (j + c) % 3 != 0 {
                            assert!(
                                least > 0.75 * bounds.limit(distance),
                                "{metric:?}: {least} for {distance}"
                            );
                            assert!(most < 1.25 * distance, "{metric:?}: {most} for {distance}");
                        }
                    }
                }
            }
        }
    }
}

fn nearest_is_found<L: Lanes>([rows, items, length]: [usize; 3], seed: u64, kind: usize, metric: usize) {
    let a = searched::<L::Scalar>(rows, length, seed, kind);
    let b = searched::<L::Scalar>(items, length, seed ^ 7, kind);
    is_nearest::<L>(&a, &b, length, seed, metric);
}

/// Rough products are off by less than is said of them.
fn products_are_within_slack(length: usize, seed: u64, kind: usize) {
    use kernels::vectors::{panels::in_panels, quantised as q};
    let width = in_panels(length);
    let sets = [seed, seed ^ 7].map(|seed| {
        let mut x = searched::<f32>(8, width, seed, kind);
        x.chunks_mut(width).for_each(|x| x[length..].fill(0.0));
        let mut panel = vec![[[0; 8]; 8]; width.div_ceil(16) + 1];
        let squares = q::pack(x.as_chunks().0, width / 8, &mut panel);
        (x, panel, squares)
    });
    let [(a, a_panel, a_squares), (b, b_panel, b_squares)] = sets;
    let mut tile = [[0; 8]; 4];
    q::products(&a_panel, &b_panel, q::lines(length), 7, &mut tile);
    for (i, line) in tile.iter().enumerate() {
        for (j, product) in line.iter().enumerate() {
            let (x, y) = (&a[i * width..][..width], &b[j * width..][..width]);
            let expected: f64 = x.iter().zip(y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
            let scale = f64::from(q::scale(a_squares[i])) * f64::from(q::scale(b_squares[j]));
            if scale.is_finite() {
                let off = f64::from(product - 7) - expected * scale;
                assert!(off.abs() <= q::slack(length), "{off} of {}", q::slack(length));
            }
        }
    }
}

#[test]
fn distances_within_a_set_are_those_of_the_set_to_itself() {
    for (count, length) in [(1, 3), (4, 1), (9, 5), (13, 16)] {
        let mut a = vectors::<f64>(count, length, 11, false);
        // two that are alike
        if count > 5 {
            a.copy_within(2 * length..3 * length, 5 * length);
        }
        for p in [1.0, 1.5, 2.0, 3.0, 9.0, f64::INFINITY] {
            let options = [p, 0.0, 0.0, 0.0, 0.0];
            let own = call::<F64x2>(Op::CdistSelf, [count, count, length], &a, &[], &[], options);
            let two = call::<F64x2>(Op::Cdist, [count, count, length], &a, &a, &[], options);
            for (i, (x, y)) in own.values.iter().zip(&two.values).enumerate() {
                assert!((x - y).abs() <= 1e-14 * y, "p = {p}, pair {i}: {x} and {y}");
            }
            for (x, (y, z)) in own.grad.iter().zip(two.grad.iter().zip(&two.grad_b)) {
                assert!((x - (y + z)).abs() <= 1e-12 * count as f64, "p = {p}: {x} and {y} + {z}");
            }
        }
    }
}

/// Distances with any p and their gradients against sums of powers, NaN in some place or none.
fn norms_are_those_of_powers<L: Lanes>([rows, columns, length]: [usize; 3], seed: u64, p: f64, nan: usize) {
    let a = vectors::<L::Scalar>(rows, length, seed, false);
    let mut b = vectors::<L::Scalar>(columns, length, seed ^ 99, false);
    if let Some(x) = b.get_mut(nan) {
        *x = L::Scalar::NAN;
    }
    let out = call::<L>(Op::Cdist, [rows, columns, length], &a, &b, &[], [p, 0.0, 0.0, 0.0, 0.0]);
    let mut grads = vec![0.0; a.len()];
    for (i, x) in a.chunks(length).enumerate() {
        for (j, y) in b.chunks(length).enumerate() {
            let d: Vec<f64> = x.iter().zip(y).map(|(x, y)| x.to_f64() - y.to_f64()).collect();
            let max = d.iter().fold(0f64, |max, d| max.max(d.abs()));
            let sum: f64 = d.iter().map(|d| (d.abs() / max).powf(p)).sum();
            let expected = if p.is_infinite() { max } else { max * sum.powf(1.0 / p) };
            let value = out.values[i * columns + j].to_f64();
            if nan / length == j {
                assert!(value.is_nan());
                continue;
            }
            assert!((value - expected).abs() <= 16.0 * L::Scalar::EPSILON.to_f64() * expected.max(1e-9));
            let ties = d.iter().filter(|d| d.abs() == max).count() as f64;
            for (to, d) in grads[i * length..].iter_mut().zip(&d) {
                let slope = match (p.is_infinite(), d.abs() == max) {
                    (true, true) => 1.0 / ties,
                    (true, false) => 0.0,
                    _ => (d.abs() / expected).powf(p - 1.0),
                };
                *to += if *d == 0.0 { 0.0 } else { slope * d.signum() };
            }
        }
    }
    if nan >= b.len() {
        // a power p of what is rounded is off by p roundings
        let bound = (8.0 + 2.0 * p.min(100.0)) * L::Scalar::EPSILON.to_f64() * columns as f64;
        for (g, e) in out.grad.iter().zip(&grads) {
            assert!((g.to_f64() - e).abs() <= bound, "{} is not {e} with p = {p}", g.to_f64());
        }
        let total = |x: &[L::Scalar]| x.iter().map(|x| x.to_f64()).sum::<f64>();
        let bound = L::Scalar::EPSILON.to_f64() * (rows * columns * length) as f64 * 8.0;
        assert!((total(&out.grad) + total(&out.grad_b)).abs() <= bound);
    }
}

/// The gradients of distances between vectors that are as near to each other as they are far from 0, which products do not tell.
fn near_pairs_have_the_slopes_of_their_differences<L: Lanes>(length: usize, size: f64, apart: f64) {
    let (rows, columns) = (9, 20);
    let set = |count, seed| -> Vec<L::Scalar> {
        let x = vectors::<f64>(count, length, seed, false);
        x.iter().map(|x| L::Scalar::from_f64(size / (length as f64).sqrt() + apart * x)).collect()
    };
    let (a, b) = (set(rows, 5), set(columns, 6));
    let out = call::<L>(Op::Cdist, [rows, columns, length], &a, &b, &[], [2.0, 0.0, 0.0, 0.0, 0.0]);
    for (i, x) in a.chunks(length).enumerate() {
        for k in 0..length {
            let slope = |y: &[L::Scalar]| (x[k].to_f64() - y[k].to_f64()) / exact(x, y);
            let expected: f64 = b.chunks(length).map(slope).sum();
            let (got, bound) =
                (out.grad[i * length + k].to_f64(), columns as f64 * 8.0 * L::Scalar::EPSILON.to_f64());
            assert!(
                (got - expected).abs() <= bound,
                "{got}, expected {expected}: {length} numbers, {size}, {apart}"
            );
        }
    }
}

#[test]
fn near_pairs() {
    for length in [1, 3, 16, 40] {
        for size in [0.1, 1.0, 30.0] {
            for apart in [1e-1, 1e-2, 1e-3] {
                near_pairs_have_the_slopes_of_their_differences::<F32x4>(length, size, apart * size);
                near_pairs_have_the_slopes_of_their_differences::<F64x2>(length, size, apart * size);
            }
        }
    }
}

/// A pair at distance 0 has no slope, whatever the pair before it in the same lane left behind.
#[test]
fn no_slope_at_distance_0_is_left_from_another_pair() {
    let length = 5;
    for p in [1.0, 1.5, 3.0, 9.0, f64::INFINITY] {
        for odd in [f64::NAN, f64::INFINITY, 1e300] {
            let a = vectors::<f64>(1, length, 3, false);
            let mut b = a.repeat(12);
            b[..length].fill(odd);
            let out = call::<F64x2>(Op::Cdist, [1, 12, length], &a, &b, &[], [p, 0.0, 0.0, 0.0, 0.0]);
            assert!(out.values[1..].iter().chain(&out.grad_b[length..]).all(|&x| x == 0.0), "p = {p}, {odd}");
        }
    }
}

#[test]
fn gradients_of_distances_need_the_distances() {
    let (a, b) = (vectors::<f32>(5, 3, 1, false), vectors::<f32>(4, 3, 2, false));
    for (op, columns, b) in [(Op::Cdist, 4, &b[..]), (Op::CdistSelf, 5, &[])] {
        for wanted in [false, true] {
            let p = [2.0, 0.0, 0.0, 0.0, 0.0];
            let reals = need(op, 5, columns, 3, &p).reals as usize;
            let mut grad = vec![9.0; if wanted { 15 } else { 0 }];
            let sum = run::<F32x4>(
                op,
                &mut Many {
                    rows: 5,
                    columns,
                    length: 3,
                    a: &a,
                    b,
                    labels: &[],
                    values: &mut [],
                    grad_a: &mut grad,
                    grad_b: &mut [],
                    indices: &mut [],
                    stats: &mut [],
                    upstream: &[],
                    reals: &mut vec![0.0; reals],
                    doubles: &mut [],
                    singles: &mut [],
                    ints: &mut [],
                    scale: 1.0,
                    p,
                },
            );
            assert_eq!(sum.is_nan(), wanted);
            assert!(grad.iter().all(|&x| x == 9.0));
        }
    }
}

/// A negative is farther than the positive: one that is just as far is passed over for the next.
#[test]
fn semi_hard_negatives_are_farther_than_the_positive() {
    // on a line: the positive of 0 is at 1, others at -1, 2 and 3
    let a = [0.0, 1.0, -1.0, 2.0, 3.0];
    let p = [1.0, 5.0, 0.0, 0.0, 0.0];
    let out = call::<F64x2>(Op::BatchTriplet, [5, 5, 1], &a, &[], &[0, 0, 1, 1, 1], p);
    // d(0, 1) = 1, and the nearest beyond is at 2
    assert_eq!(out.values[0], 5.0 + 1.0 - 2.0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn norms(
        rows in 1usize..9, columns in 1usize..14, length in 1usize..40, seed: u64, nan in 0usize..1000,
        p in prop::sample::select(vec![1.0, 1.5, 2.5, 3.0, 4.0, 5.0, 8.0, 9.0, 40.0, f64::INFINITY])
    ) {
        norms_are_those_of_powers::<F32x4>([rows, columns, length], seed, p, nan);
        norms_are_those_of_powers::<F64x2>([rows, columns, length], seed, p, nan);
    }

    #[test]
    fn distances(rows in 1usize..70, columns in 1usize..70, length in 1usize..70, seed: u64, crowd: bool) {
        distances_are_within_the_bound::<F32x4>(rows, columns, length, seed, crowd);
        distances_are_within_the_bound::<F64x2>(rows, columns, length, seed, crowd);
    }

    #[test]
    fn hardest(rows in 1usize..90, length in 1usize..40, seed: u64, crowd: bool) {
        hardest_is_found::<F32x4>(rows, length, seed, crowd);
        hardest_is_found::<F64x2>(rows, length, seed, crowd);
    }

    #[test]
    fn nearest(
        rows in 1usize..10, items in 1usize..160, length in 1usize..70, seed: u64, kind in 0usize..6, metric in 0usize..3
    ) {
        nearest_is_found::<F32x4>([rows, items, length], seed, kind, metric);
        nearest_is_found::<F64x2>([rows, items, length], seed, kind, metric);
    }

    #[test]
    fn nearest_in_a_cluster(
        rows in 1usize..10, items in 1usize..160, length in 1usize..70, seed: u64, far in 0f64..8.0, metric in 0usize..3
    ) {
        let far = 10f64.powf(far);
        is_nearest::<F32x4>(
            &clustered(rows, length, seed, far), &clustered(items, length, seed ^ 7, far), length, seed, metric
        );
        is_nearest::<F64x2>(
            &clustered(rows, length, seed, far), &clustered(items, length, seed ^ 7, far), length, seed, metric
        );
    }

    #[test]
    fn bounds(
        rows in 1usize..10, items in 1usize..50, length in 1usize..70, seed: u64, far in 0f64..8.0, kind in 0usize..8
    ) {
        // of some of them none, then all, then the index alone stand around one place
        let far = 10f64.powf(far);
        let cluster = [kind > 5, kind > 6];
        macro_rules! with {
            ($lanes:ty, $real:ty) => {{
                let set = |count, seed, around| {
                    if around { clustered::<$real>(count, length, seed, far) } else { searched(count, length, seed, kind.min(5)) }
                };
                bounds_hold::<$lanes>(&set(rows, seed, cluster[1]), &set(items, seed ^ 7, cluster[0]), length, &[]);
            }};
        }
        with!(F32x4, f32);
        with!(F64x2, f64);
    }

    #[test]
    fn rough_products(length in 1usize..300, seed: u64, kind in 0usize..6) {
        products_are_within_slack(length, seed, kind);
    }
}

#[test]
fn rough_products_of_one_number_and_of_many() {
    for kind in [0, 3, 5] {
        for length in [1, 2, 20_000, 100_001] {
            products_are_within_slack(length, 3, kind);
        }
    }
}

/// However far away the place is, also where some vectors are not usable, bounds tell vectors around it apart.
#[test]
fn bounds_around_one_place_are_tight() {
    for far in [1e1, 1e2, 1e3] {
        for length in [16, 33, 128] {
            let a = clustered::<f32>(4, length, 3, far);
            let mut b = clustered::<f32>(200, length, 4, far);
            bounds_hold::<F32x4>(&a, &b, length, &[Metric::Euclidean, Metric::Cosine]);
            let wide = |x: &[f32]| x.iter().map(|x| f64::from(*x)).collect::<Vec<_>>();
            bounds_hold::<F64x2>(&wide(&a), &wide(&b), length, &[Metric::Euclidean, Metric::Cosine]);
            for (i, x) in b.chunks_mut(length).enumerate().filter(|(i, _)| i % 3 == 0) {
                x.fill([f32::NAN, f32::INFINITY, 1e30, 1e12, -1e18][i / 3 % 5]);
            }
            bounds_hold::<F32x4>(&a, &b, length, &[Metric::Euclidean]);
        }
    }
}

/// Losses and gradients are the same whatever scratch holds, of which there is no more than is asked for.
fn from_any_scratch<L: Lanes>(count: usize, length: usize) {
    let a = vectors::<L::Scalar>(count, length, 5, false);
    let b = vectors::<L::Scalar>(count, length, 6, false);
    let labels: Vec<i32> = (0..count).map(|i| if i + 3 < count { i % 5 } else { i } as i32).collect();
    let bits = |x: &[L::Scalar]| x.iter().map(|x| x.to_f64().to_bits()).collect::<Vec<_>>();
    for (op, p0, p1) in [
        (Op::SupervisedContrastive, 0.1, 1.0),
        (Op::InfoNce, 0.1, 0.0),
        (Op::InfoNce, 0.1, 1.0),
        (Op::Cdist, 2.0, 0.0),
        (Op::CdistSelf, 2.0, 0.0),
        (Op::Cdist, 1.0, 0.0),
        (Op::CdistSelf, 3.5, 0.0),
        (Op::Cdist, f64::INFINITY, 0.0),
    ] {
        let b = if matches!(op, Op::InfoNce | Op::Cdist) { &b[..] } else { &[] };
        let labels = if op == Op::SupervisedContrastive { &labels[..] } else { &[] };
        let [one, other] = [(f64::NAN, i32::MIN), (3e37, 3)].map(|scratch| {
            let p = [p0, p1, 0.0, 0.0, 0.0];
            let out = call_in::<L>(scratch, op, [count, count, length], &a, b, labels, p);
            assert!(out.values.iter().chain(&out.grad).chain(&out.grad_b).all(|x| !x.is_nan()));
            [bits(&out.values), bits(&out.grad), bits(&out.grad_b), vec![out.sum.to_bits()]]
        });
        assert_eq!(one, other, "{op:?} {count} x {length}");
    }
}

#[test]
fn what_comes_out_does_not_depend_on_what_scratch_holds() {
    for count in [1, 2, 7, 8, 9, 63, 64, 65, 128, 150] {
        for length in [1, 8, 23, 24, 65] {
            from_any_scratch::<F32x4>(count, length);
            from_any_scratch::<F64x2>(count, length);
        }
    }
    for count in [2047, 2048, 2049] {
        from_any_scratch::<F32x4>(count, 24);
    }
}

#[test]
fn slices_that_do_not_fit_are_refused() {
    let a = vectors::<f32>(5, 3, 1, false);
    let labels = [0, 0, 1, 1, 0];
    let p = [0.0, 1.0, 0.0, 0.0, 0.0];
    assert!(!call::<F32x4>(Op::BatchTriplet, [5, 5, 3], &a, &[], &labels, p).sum.is_nan());
    for (a, labels) in [
        (&a[1..], &labels[..]),
        (&a[..], &labels[1..]),
        (&a[..], &[0, 0, 1, 5, 0]),
        (&a[..], &[0, 0, 1, -1, 0]),
    ] {
        let out = call::<F32x4>(Op::BatchTriplet, [5, 5, 3], a, &[], labels, p);
        assert!(out.sum.is_nan());
        assert!(out.values.iter().chain(&out.grad).all(|&x| x == 0.0));
    }
    let p = [1.0, 0.1, 0.0, 0.0, 0.0];
    assert!(call::<F32x4>(Op::InfoNce, [5, 4, 3], &a, &a[..12], &[], p).sum.is_nan());
    assert!(call::<F32x4>(Op::Cdist, [5, 4, 3], &a, &a, &[], p).sum.is_nan());
    // found by the fuzzer: one set has as many columns as rows, and no more are nearest than there are
    assert!(call::<F32x4>(Op::CdistSelf, [5, 7, 3], &a, &[], &[], p).sum.is_nan());
    let out = call::<F32x4>(Op::Nearest, [5, 4, 3], &a, &a[..12], &[], [5.0, 0.0, 0.0, 0.0, 0.0]);
    assert!(out.sum.is_nan() && out.indices.iter().all(|&k| k == -1));
}

#[test]
fn what_no_memory_has_is_worked_out_without_an_overflow() {
    for op in
        [Op::Cdist, Op::CdistSelf, Op::BatchTriplet, Op::SupervisedContrastive, Op::InfoNce, Op::Nearest]
    {
        for many in [1 << 28, 1 << 31, (1 << 32) - 1, usize::MAX / 2, usize::MAX] {
            for [rows, columns, length] in [[many, 3, 3], [3, 3, many], [many; 3]] {
                let found = need(op, rows, columns, length, &[1.0; 5]);
                assert!(
                    found.doubles + found.singles + found.reals > 1e12,
                    "{op:?} {rows} {columns} {length}"
                );
            }
            assert_eq!(need(op, 0, 0, many, &[1.0; 5]).doubles, 0.0);
        }
    }
}
