//! Functions of many vectors on portable lanes: distances against a naive oracle in double precision within the bound of
//! `vectors::panels`, searches against looking at everything, and refusal of slices that do not fit.
use kernels::vectors::many::{need, run, Many, Op};
use lanes::{F32x4, F64x2, Lanes, Real};
use proptest::prelude::*;

/// What a call writes.
struct Out<R> {
    sum: f64,
    values: Vec<R>,
    grad: Vec<R>,
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
    let [rows, columns, length] = sizes;
    let n = need(op, rows, columns, length, &p);
    let zero = L::Scalar::ZERO;
    let count = op.values(rows, columns, &p);
    let mut out = Out {
        sum: 0.0,
        values: vec![zero; count],
        grad: vec![zero; if op == Op::Nearest { 0 } else { a.len() }],
        indices: vec![-1; if op == Op::Nearest { count } else { 0 }],
        stats: vec![0.0; 2],
    };
    // scratch may hold anything
    let mut reals = vec![L::Scalar::NAN; n.reals as usize];
    let mut doubles = vec![f64::NAN; n.doubles as usize];
    let mut singles = vec![f32::NAN; n.singles as usize];
    let mut ints = vec![-7; n.ints as usize];
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
            grad_b: &mut [],
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

fn nearest_is_found<L: Lanes>(rows: usize, items: usize, length: usize, seed: u64, crowd: bool) {
    let a = vectors::<L::Scalar>(rows, length, seed, crowd);
    let b = vectors::<L::Scalar>(items, length, seed ^ 7, crowd);
    let k = 1 + seed as usize % items;
    let out = call::<L>(Op::Nearest, [rows, items, length], &a, &b, &[], [k as f64, 0.0, 0.0, 0.0, 0.0]);
    for (i, x) in a.chunks(length).enumerate() {
        let mut all: Vec<(f64, i32)> =
            b.chunks(length).enumerate().map(|(j, y)| (exact(x, y), j as i32)).collect();
        all.sort_by(|a, b| a.partial_cmp(b).unwrap());
        let expected: Vec<i32> = all.iter().take(k).map(|&(_, j)| j).collect();
        assert_eq!(&out.indices[i * k..i * k + k], &expected[..]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

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
    fn nearest(rows in 1usize..10, items in 1usize..120, length in 1usize..40, seed: u64, crowd: bool) {
        nearest_is_found::<F32x4>(rows, items, length, seed, crowd);
        nearest_is_found::<F64x2>(rows, items, length, seed, crowd);
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
