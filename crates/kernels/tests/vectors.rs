//! The driver of the vectors family on slices of any lengths, and laws that need no reference.
use kernels::vectors::{run, Op, Vectors};
use lanes::{Lanes, Real};
use proptest::prelude::*;

/// What a call takes, with arrays of any lengths.
#[derive(Clone, Debug)]
struct Arguments {
    op: u32,
    count: usize,
    length: usize,
    x: [Vec<f64>; 3],
    target: Vec<f64>,
    values: usize,
    grads: [usize; 3],
    upstream: Vec<f64>,
    scale: f64,
    p: [f64; 4],
}

/// Written where nothing should be.
const UNTOUCHED: f64 = -77.0;

/// What came out: the sum, the values and the gradients.
type Outcome = (f64, Vec<f64>, [Vec<f64>; 3]);

fn call<L: Lanes>(a: &Arguments) -> Outcome {
    let of = |x: &[f64]| -> Vec<L::Scalar> { x.iter().map(|&x| L::Scalar::from_f64(x)).collect() };
    let back = |x: &[L::Scalar]| -> Vec<f64> { x.iter().map(|x| x.to_f64()).collect() };
    let x = [0, 1, 2].map(|i| of(&a.x[i]));
    let (target, upstream) = (of(&a.target), of(&a.upstream));
    let mut values = of(&vec![UNTOUCHED; a.values]);
    let mut grads = a.grads.map(|n| of(&vec![UNTOUCHED; n]));
    let [ga, gb, gc] = &mut grads;
    let op = Op::from_door(a.op).expect("an op");
    let sum = run::<L>(
        op,
        &mut Vectors {
            count: a.count,
            length: a.length,
            x: [&x[0], &x[1], &x[2]],
            target: &target,
            values: &mut values,
            grads: [ga, gb, gc],
            upstream: &upstream,
            scale: a.scale,
            p: a.p,
        },
    );
    (sum, back(&values), [0, 1, 2].map(|i| back(&grads[i])))
}

/// Everyday numbers, and others.
fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        8 => -3.0..3.0f64,
        1 => prop::sample::select(vec![0.0, -0.0, f64::NAN, f64::INFINITY, -f64::INFINITY, 1e30, -1e30, 1e-30, 1e-45]),
    ]
}

fn numbers(length: usize) -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(number(), length)
}

/// The options of each op, by the table of [`Op`].
fn options(op: u32) -> impl Strategy<Value = [f64; 4]> {
    let norm = prop::sample::select(vec![1.0, 1.3, 2.0, 3.0, 4.5, f64::INFINITY]);
    let eps = prop::sample::select(vec![1e-6, 0.0]);
    (norm, eps, 0.1..2.0f64, 0..3u32, any::<bool>()).prop_map(move |(norm, eps, margin, kind, swap)| {
        let swap = f64::from(u8::from(swap));
        match op {
            0 => [norm, eps, 0.0, 0.0],
            2 => [margin - 1.0, 0.0, 0.0, 0.0],
            3 => [norm, margin, eps, swap],
            _ => [f64::from(kind), margin, 0.0, swap],
        }
    })
}

/// All ops by their numbers, and those of distances alone.
const ALL: &[u32] = &[0, 1, 2, 3, 4];
const DISTANCES: &[u32] = &[0, 3];

/// Arguments that fit.
fn fitting(ops: &'static [u32]) -> impl Strategy<Value = Arguments> {
    // more rows than are measured ahead, and more numbers than are added up in their own precision, now and then
    let shape = prop_oneof![
        8 => (0..4usize, 1..45usize),
        2 => (0..40usize, 1..12usize),
        1 => (0..4usize, 250..600usize),
    ];
    (prop::sample::select(ops), shape).prop_flat_map(|(op, (count, length))| {
        let size = count * length;
        let third = if op > 2 { size } else { 0 };
        let signs =
            prop::collection::vec(prop::sample::select(vec![1.0, -1.0]), if op == 2 { count } else { 0 });
        let may = |n: usize| prop::sample::select(vec![0, n]);
        (
            (numbers(size), numbers(size), numbers(third), signs),
            (may(count), may(size), may(size), may(third)),
            may(count).prop_flat_map(numbers),
            -2.0..2.0f64,
            options(op),
        )
            .prop_map(move |((a, b, c, target), (values, ga, gb, gc), upstream, scale, p)| {
                Arguments {
                    op,
                    count,
                    length,
                    x: [a, b, c],
                    target,
                    values,
                    grads: [ga, gb, gc],
                    upstream,
                    scale,
                    p,
                }
            })
    })
}

/// Arguments of which some slices have another length, down to nothing.
fn mismatched() -> impl Strategy<Value = Arguments> {
    let lengths = prop::collection::vec(prop::option::weighted(0.3, 0..70usize), 9);
    let sizes = prop::option::weighted(
        0.2,
        prop::sample::select(vec![0, 1, 3, 1 << 31, usize::MAX / 2 + 1, usize::MAX]),
    );
    (fitting(ALL), lengths, sizes.clone(), sizes).prop_map(|(mut a, lengths, count, length)| {
        let mut vectors: Vec<&mut Vec<f64>> = a.x.iter_mut().collect();
        vectors.extend([&mut a.target, &mut a.upstream]);
        for (vector, length) in vectors.into_iter().zip(&lengths) {
            if let Some(n) = *length {
                vector.resize(n, 0.5);
            }
        }
        let [ga, gb, gc] = &mut a.grads;
        for (size, length) in [&mut a.values, ga, gb, gc].into_iter().zip(lengths.iter().skip(5)) {
            *size = length.unwrap_or(*size);
        }
        // counts that are out of all proportion need no arrays: none fits
        a.count = count.unwrap_or(a.count);
        a.length = length.unwrap_or(a.length);
        a
    })
}

/// Whether each slice is as long as `Vectors` says.
fn fits(a: &Arguments) -> bool {
    let Some(size) = a.count.checked_mul(a.length) else { return false };
    let may = |length: usize, n: usize| length == 0 || length == n;
    a.x[0].len() == size
        && a.x[1].len() == size
        && a.x[2].len() == (if a.op > 2 { size } else { 0 })
        && (a.target.len() == a.count || (a.op != 2 && a.target.is_empty()))
        && may(a.values, a.count)
        && may(a.upstream.len(), a.count)
        && a.grads
            .iter()
            .zip([size, size, if a.op > 2 { size } else { 0 }])
            .all(|(&length, n)| may(length, n))
}

fn same_bits(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len()
        && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()))
}

/// Row `i` alone.
fn only(a: &Arguments, i: usize) -> Arguments {
    let cut = |v: &[f64], n: usize| v.get(i * n..(i + 1) * n).unwrap_or(&[]).to_vec();
    let n = a.length;
    Arguments {
        count: 1,
        x: [0, 1, 2].map(|k| cut(&a.x[k], n)),
        target: cut(&a.target, 1),
        values: a.values.min(1),
        grads: a.grads.map(|g| g.min(n)),
        upstream: cut(&a.upstream, 1),
        ..a.clone()
    }
}

fn check_rows<L: Lanes>(a: &Arguments) {
    let (_, values, grads) = call::<L>(a);
    for i in 0..a.count {
        let (sum, value, grad) = call::<L>(&only(a, i));
        assert!(a.values == 0 || same_bits(&values[i..=i], &value), "value of row {i}");
        assert!(a.values == 0 || same_bits(&[L::Scalar::from_f64(sum).to_f64()], &value), "sum of row {i}");
        for k in 0..3 {
            let of_row = grads[k].get(i * a.length..(i + 1) * a.length).unwrap_or(&[]);
            assert!(same_bits(of_row, &grad[k]), "gradient {k} of row {i}: {of_row:?}, alone {:?}", grad[k]);
        }
    }
}

/// The value of row `i` by plain loops in double precision.
fn plain(a: &Arguments, i: usize) -> f64 {
    let [x, y, z] = [0, 1, 2].map(|k| a.x[k].get(i * a.length..(i + 1) * a.length).unwrap_or(&[]));
    let norm = |x: &[f64], y: &[f64], p: f64, eps: f64| {
        let d = x.iter().zip(y).map(|(x, y)| (x - y + eps).abs());
        if p == f64::INFINITY {
            d.fold(0.0, f64::max)
        } else {
            d.map(|d| d.powf(p)).sum::<f64>().powf(1.0 / p)
        }
    };
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    let cosine = |x: &[f64], y: &[f64]| dot(x, y) / (dot(x, x) * dot(y, y)).sqrt();
    let [p0, p1, p2, p3] = a.p;
    let distance = |x: &[f64], y: &[f64]| match a.op {
        3 => norm(x, y, p0, p2),
        _ if p0 == 1.0 => 1.0 - cosine(x, y),
        _ => norm(x, y, if p0 == 0.0 { 2.0 } else { 1.0 }, 1e-6),
    };
    match a.op {
        0 => norm(x, y, p0, p1),
        1 => cosine(x, y),
        2 if a.target[i] == 1.0 => 1.0 - cosine(x, y),
        2 => (cosine(x, y) - p0).max(0.0),
        _ => {
            let far = distance(x, z);
            let far = if p3 == 1.0 { far.min(distance(y, z)) } else { far };
            (p1 + distance(x, y) - far).max(0.0)
        }
    }
}

fn check_plain<L: Lanes>(a: &Arguments, tolerance: f64) {
    let (sum, values, _) = call::<L>(a);
    let expected: Vec<f64> = (0..a.count).map(|i| plain(a, i)).collect();
    let close = |x: f64, y: f64| (x - y).abs() <= tolerance * (1.0 + y.abs());
    for (i, (&x, &y)) in values.iter().zip(&expected).enumerate() {
        assert!(close(x, y), "value of row {i} is {x}, expected {y}");
    }
    let total = expected.iter().sum::<f64>();
    assert!(close(sum, total), "the sum is {sum}, expected {total}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// A driver that got slices that do not fit gives NaN and writes nothing; one that got others writes everything.
    #[test]
    fn lengths_that_do_not_fit_do_no_harm(a in mismatched()) {
        for (sum, values, grads) in [call::<lanes::F32x4>(&a), call::<lanes::F64x2>(&a)] {
            let mut written = values.iter().chain(grads.iter().flatten());
            if fits(&a) {
                prop_assert!(written.all(|&x| x != UNTOUCHED));
            } else {
                prop_assert!(sum.is_nan());
                prop_assert!(written.all(|&x| x == UNTOUCHED));
            }
        }
    }

    /// What comes out for a row is the same bits alone, whatever stands beside it.
    #[test]
    fn rows_know_nothing_of_each_other(a in fitting(ALL)) {
        check_rows::<lanes::F32x4>(&a);
        check_rows::<lanes::F64x2>(&a);
    }

    /// Values are those of plain loops, however many rows there are, and however long.
    #[test]
    fn values_are_those_of_plain_loops(a in fitting(ALL), gradients in any::<bool>()) {
        let size = a.count * a.length;
        let third = if a.op > 2 { size } else { 0 };
        let grads = if gradients { [size, size, third] } else { [0; 3] };
        // everyday numbers, of which no vector is short
        let x = a.x.clone().map(|x| x.iter().map(|x| if x.abs() <= 3.0 { x + 4.0 } else { 1.0 }).collect());
        let a = Arguments { x, values: a.count, grads, ..a };
        check_plain::<lanes::F32x4>(&a, 1e-4);
        check_plain::<lanes::F64x2>(&a, 1e-10);
    }

    /// A gradient that is not wanted leaves the others as they are.
    #[test]
    fn gradients_are_independent(a in fitting(ALL), without in 0..3usize) {
        let size = a.count * a.length;
        let all = Arguments { grads: [size, size, if a.op > 2 { size } else { 0 }], ..a };
        let mut some = all.clone();
        some.grads[without] = 0;
        let (_, _, expected) = call::<lanes::F32x4>(&all);
        let (_, _, actual) = call::<lanes::F32x4>(&some);
        for k in (0..3).filter(|&k| k != without) {
            prop_assert!(same_bits(&actual[k], &expected[k]), "gradient {k}: {:?}, with all {:?}", actual[k], expected[k]);
        }
    }

    /// The gradients of a distance add up to nothing: only differences count.
    #[test]
    fn gradients_of_distances_add_up_to_nothing(a in fitting(DISTANCES)) {
        let size = a.count * a.length;
        let all = Arguments { grads: [size, size, if a.op == 3 { size } else { 0 }], ..a };
        let (_, _, [ga, gb, gc]) = call::<lanes::F64x2>(&all);
        for i in 0..size {
            let sum = ga[i] + gb[i] + gc.get(i).copied().unwrap_or(0.0);
            let size = ga[i].abs() + gb[i].abs();
            prop_assert!(sum.abs() <= 1e-15 * size || sum.is_nan(), "{} + {} + {:?}", ga[i], gb[i], gc.get(i));
        }
    }
}

#[test]
fn doors_know_five_ops() {
    assert_eq!((0..5).filter_map(Op::from_door).count(), 5);
    assert_eq!(Op::from_door(5), None);
    assert_eq!(Op::from_door(u32::MAX), None);
}
