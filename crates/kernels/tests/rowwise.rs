//! Rows whose numbers stand apart: brought together and taken back, for every part of them. Strips of rows against rows alone. Lengths
//! that do not fit harm nothing.
use kernels::rowwise::{run, strips, turn, Op, Rows};
use lanes::{F32x4, F64x2, Lanes, Real};

/// Number c of row i of [.., columns, inner].
fn place(i: usize, c: usize, columns: usize, inner: usize) -> usize {
    (i - i % inner) * columns + c * inner + i % inner
}

#[test]
fn rows_come_together_and_go_back() {
    for (samples, columns, inner) in [(1, 3, 5), (2, 4, 3), (3, 1, 2), (2, 5, 1)] {
        let all = samples * inner;
        let apart: Vec<f32> = (0..all * columns).map(|x| x as f32).collect();
        for first in 0..all {
            for rows in 1..=all - first {
                let of = [columns, inner, first, rows];
                let mut together = vec![-1.0; rows * columns];
                turn(&mut apart.clone(), &mut together, of, false);
                let mut back = vec![-1.0; apart.len()];
                turn(&mut back, &mut together, of, true);
                let mut expected = vec![-1.0; apart.len()];
                for row in 0..rows {
                    for c in 0..columns {
                        let at = place(first + row, c, columns, inner);
                        assert_eq!(together[row * columns + c], apart[at], "{of:?}");
                        expected[at] = apart[at];
                    }
                }
                assert_eq!(back, expected, "{of:?}");
            }
        }
    }
}

#[test]
fn lengths_that_do_not_fit_harm_nothing() {
    const MANY: usize = usize::MAX;
    let each = [0, 1, 2, 3, 4, 100, MANY / 2, MANY / 3 + 1, MANY];
    for columns in each {
        for inner in each {
            for first in each {
                for rows in each {
                    for (apart, together) in [(0, 0), (24, 0), (0, 12), (24, 12), (24, 11), (24, 13), (5, 7)]
                    {
                        for back in [false, true] {
                            let of = [columns, inner, first, rows];
                            let (mut apart, mut together) = (vec![1.0; apart], vec![2.0; together]);
                            let size = rows.checked_mul(columns);
                            turn(&mut apart, &mut together, of, back);
                            let to = if back { &apart } else { &together };
                            let all = first.checked_add(rows).and_then(|n| n.checked_mul(columns));
                            let samples = columns.checked_mul(inner).and_then(|n| apart.len().checked_rem(n));
                            let fits = size == Some(together.len())
                                && all.is_some_and(|all| all <= apart.len())
                                && samples == Some(0);
                            let brought = if back { 2.0 } else { 1.0 };
                            let count = to.iter().filter(|&&x| x == brought).count();
                            assert_eq!(count, if fits { together.len() } else { 0 }, "{of:?} {back}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn rows_of_nothing_are_not_gone_through() {
    let rows = Rows {
        rows: usize::MAX,
        columns: 0,
        inner: 1,
        input: &[0.0f64; 0],
        labels: &[],
        target: &[],
        weight: &[],
        values: &mut [],
        grad_input: &mut [],
        grad_target: &mut [],
        upstream: &[],
        scale: 1.0,
        p: [0.0; 2],
    };
    assert_eq!(run::<F64x2>(Op::Softmax, &mut { rows }), 0.0);
}

/// The arrays of any rowwise call, the labels as numbers: input, labels, target, weight, upstream, values, the two gradients.
#[derive(Clone)]
struct Call {
    op: Op,
    rows: usize,
    columns: usize,
    inner: usize,
    arrays: [Vec<f64>; 8],
}

/// Stands where nothing was written.
const UNTOUCHED: f64 = 9.0;

impl Call {
    /// A call whose arrays fit, and which has all that it may have.
    fn fitting(op: Op, rows: usize, columns: usize, inner: usize) -> Self {
        let (size, targets) = (rows * columns, rows * op.targets(columns));
        let per_value = if op.is_mapping() { size } else { rows };
        let numbers = |n: usize, x: f64| vec![x; n];
        let arrays = [
            numbers(size, 0.5),
            numbers(rows * op.labels(columns), 0.0),
            numbers(targets, 0.5),
            numbers(columns, 1.0),
            numbers(per_value, 2.0),
            numbers(per_value, UNTOUCHED),
            numbers(size, UNTOUCHED),
            numbers(if op == Op::CrossEntropyLossProbabilities { targets } else { 0 }, UNTOUCHED),
        ];
        Self { op, rows, columns, inner, arrays }
    }

    /// The sum; what was written is in the arrays.
    fn run<L: Lanes>(&mut self, kernel: impl Fn(Op, &mut Rows<L::Scalar>) -> f64) -> f64 {
        let reals =
            self.arrays.each_ref().map(|a| a.iter().map(|&x| L::Scalar::from_f64(x)).collect::<Vec<_>>());
        let labels: Vec<i32> = self.arrays[1].iter().map(|&x| x as i32).collect();
        let [input, _, target, weight, upstream, mut values, mut grad_input, mut grad_target] = reals;
        let sum = kernel(
            self.op,
            &mut Rows {
                rows: self.rows,
                columns: self.columns,
                inner: self.inner,
                input: &input,
                labels: &labels,
                target: &target,
                weight: &weight,
                values: &mut values,
                grad_input: &mut grad_input,
                grad_target: &mut grad_target,
                upstream: &upstream,
                scale: 1.0,
                p: [if self.op == Op::MultiMarginLoss { 1.0 } else { -100.0 }, 0.0],
            },
        );
        for (to, from) in self.arrays.iter_mut().skip(5).zip([values, grad_input, grad_target]) {
            *to = from.iter().map(|x| x.to_f64()).collect();
        }
        sum
    }

    /// How many numbers were written.
    fn written(&self) -> usize {
        self.arrays[5..].iter().flatten().filter(|&&x| x != UNTOUCHED).count()
    }
}

/// Of a call that fits one array at a time gets another length: it is refused, and nothing is written.
fn one_that_does_not_fit_is_refused<L: Lanes>(
    call: &Call,
    kernel: &impl Fn(Op, &mut Rows<L::Scalar>) -> f64,
) {
    let op = call.op;
    let mut all = call.clone();
    assert!(!all.run::<L>(kernel).is_nan(), "{op:?}");
    assert_eq!(all.written(), call.arrays[5..].iter().flatten().count(), "{op:?}");
    for which in 0..8 {
        for longer in [false, true] {
            let mut other = call.clone();
            let n = other.arrays[which].len();
            if n == 0 && !longer {
                continue;
            }
            other.arrays[which].resize(if longer { n + 1 } else { n - 1 }, UNTOUCHED);
            let sum = other.run::<L>(kernel);
            assert!(sum.is_nan() && other.written() == 0, "{op:?}: array {which}, longer: {longer}");
        }
    }
    for inner in [0, 2, 3, 5, usize::MAX] {
        let mut other = Call { inner, ..call.clone() };
        if (op != Op::NllLoss && inner % 4 != 0) || call.rows.checked_rem(inner) != Some(0) {
            assert!(other.run::<L>(kernel).is_nan() && other.written() == 0, "{op:?} {inner}");
        }
    }
}

#[test]
fn arrays_that_do_not_fit_are_refused_one_by_one() {
    for op in (0..).map_while(Op::from_door) {
        let call = Call::fitting(op, 8, 3, 1);
        one_that_does_not_fit_is_refused::<F32x4>(&call, &run::<F32x4>);
        one_that_does_not_fit_is_refused::<F64x2>(&call, &run::<F64x2>);
    }
    one_that_does_not_fit_is_refused::<F64x2>(&Call::fitting(Op::NllLoss, 8, 3, 4), &run::<F64x2>);
    let in_strips = |op: Op, r: &mut Rows<f32>| strips::run(op, r, &mut [0.0; 256]);
    for op in [Op::CrossEntropyLoss, Op::LogSumExp, Op::LogSoftmax, Op::Softmax] {
        one_that_does_not_fit_is_refused::<F32x4>(&Call::fitting(op, 8, 3, 1), &in_strips);
    }
    for inner in [1, 4] {
        let call = Call::fitting(Op::CrossEntropyLossProbabilities, 8, 3, inner);
        one_that_does_not_fit_is_refused::<F32x4>(&call, &in_strips);
    }
    one_that_does_not_fit_is_refused::<F32x4>(&Call::fitting(Op::CrossEntropyLoss, 8, 3, 4), &in_strips);
}

/// Loss and gradient of a row whose label is no class are NaN, and those of the others what they were.
fn no_class_is_nan<L: Lanes>(call: &Call, kernel: &impl Fn(Op, &mut Rows<L::Scalar>) -> f64) {
    let (columns, inner) = (call.columns, call.inner);
    let mut good = call.clone();
    assert!(!good.run::<L>(kernel).is_nan());
    for row in 0..call.rows {
        for label in [-2, columns as i32, columns as i32 + 1, 1000, i32::MAX, i32::MIN] {
            let mut bad = call.clone();
            let per_row = bad.op.labels(columns);
            bad.arrays[1][row * per_row] = f64::from(label);
            assert!(bad.run::<L>(kernel).is_nan(), "{:?} {label}", call.op);
            for i in 0..call.rows {
                let what = format!("{:?}: row {i}, label {label} in row {row}", call.op);
                let is = |a: f64, b: f64| if i == row { a.is_nan() } else { a == b };
                assert!(is(bad.arrays[5][i], good.arrays[5][i]), "{what}");
                for at in (0..columns).map(|c| place(i, c, columns, inner)) {
                    assert!(is(bad.arrays[6][at], good.arrays[6][at]), "{what}");
                }
            }
        }
    }
}

#[test]
fn a_label_that_is_no_class_makes_its_row_nan_and_no_other() {
    for op in [Op::CrossEntropyLoss, Op::NllLoss, Op::MultiMarginLoss, Op::MultiLabelMarginLoss] {
        for columns in [3, 4, 9] {
            no_class_is_nan::<F32x4>(&Call::fitting(op, 8, columns, 1), &run::<F32x4>);
            no_class_is_nan::<F64x2>(&Call::fitting(op, 8, columns, 1), &run::<F64x2>);
        }
    }
    no_class_is_nan::<F64x2>(&Call::fitting(Op::NllLoss, 8, 3, 4), &run::<F64x2>);
    let in_strips = |op: Op, r: &mut Rows<f32>| strips::run(op, r, &mut [0.0; 256]);
    for inner in [1, 4] {
        no_class_is_nan::<F32x4>(&Call::fitting(Op::CrossEntropyLoss, 8, 3, inner), &in_strips);
    }
}

/// A batch of cross-entropy with the arrays that it needs.
#[derive(Clone)]
struct Batch {
    rows: usize,
    columns: usize,
    input: Vec<f32>,
    labels: Vec<i32>,
    weight: Vec<f32>,
    values: Vec<f32>,
    grad: Vec<f32>,
    upstream: Vec<f32>,
    ignored: f64,
    smoothing: f64,
}

impl Batch {
    fn rows(&mut self, inner: usize) -> Rows<'_, f32> {
        Rows {
            rows: self.rows,
            columns: self.columns,
            inner,
            input: &self.input,
            labels: &self.labels,
            target: &[],
            weight: &self.weight,
            values: &mut self.values,
            grad_input: &mut self.grad,
            grad_target: &mut [],
            upstream: &self.upstream,
            scale: 0.3,
            p: [self.ignored, self.smoothing],
        }
    }
}

#[test]
fn strips_have_the_bits_of_rows() {
    let mut state = 1u64;
    let mut random = move || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1 << 24) as f32
    };
    // columns around vectors and pairs of them, beyond a chain of sums, and rows that are no whole strip
    for columns in [1, 2, 3, 4, 5, 7, 8, 9, 16, 21, 24, 31, 255, 256, 257, 300, 600] {
        let shapes = [
            (1, 4, 3.0),
            (2, 16, 40.0),
            (1, 76, 0.5),
            (3, 68, 12.0),
            (1, 132, 1e30),
            (5, 1, 3.0),
            (131, 1, 30.0),
        ];
        let kinds = [Some(0.0), Some(0.1), Some(1.0), None];
        for ((samples, inner, spread), smoothing) in
            shapes.into_iter().flat_map(|shape| kinds.map(|kind| (shape, kind)))
        {
            // without: log sum exp
            let is_entropy = smoothing.is_some();
            let smoothing = smoothing.unwrap_or(0.0);
            let rows = samples * inner;
            let mut numbers =
                |n: usize, spread: f32| (0..n).map(|_| spread * (2.0 * random() - 1.0)).collect();
            let mut together = Batch {
                rows,
                columns,
                input: numbers(rows * columns, spread),
                labels: vec![],
                weight: if samples == 2 || smoothing > 0.0 { vec![] } else { numbers(columns, 1.0) },
                values: vec![0.0; rows],
                grad: vec![0.0; rows * columns],
                upstream: if samples == 1 { vec![] } else { numbers(rows, 1.0) },
                ignored: if inner == 76 { 0.0 } else { -100.0 },
                smoothing,
            };
            let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, 0.0];
            for factors in [&mut together.weight, &mut together.upstream] {
                for (i, factor) in factors.iter_mut().enumerate().skip(1).step_by(6) {
                    *factor = odd[i % 5];
                }
            }
            for i in 0..rows {
                let label = match i % 11 {
                    3 => -100,
                    5 => columns as i32,
                    6 => -1,
                    _ => (random() * columns as f32) as i32 % columns as i32,
                };
                together.labels.extend(is_entropy.then_some(label));
                if i % 7 == 2 {
                    together.input[i * columns + i % columns] = odd[i % 5];
                }
            }
            let mut apart = together.clone();
            for i in 0..rows {
                for c in 0..columns {
                    apart.input[place(i, c, columns, inner)] = together.input[i * columns + c];
                }
            }
            let op = if is_entropy { Op::CrossEntropyLoss } else { Op::LogSumExp };
            let expected = run::<F32x4>(op, &mut together.rows(1));
            // room for one column of four rows, and for more than are taken
            for columns_of_room in [1, 40] {
                let mut room = vec![f32::NAN; 8 * columns.next_multiple_of(4) * columns_of_room];
                let sum = strips::run(op, &mut apart.rows(inner), &mut room);
                let what = format!("{columns} columns, {samples} x {inner}, smoothed by {smoothing}");
                let is_same = sum.to_bits() == expected.to_bits() || (sum.is_nan() && expected.is_nan());
                assert!(is_same, "{what}: {sum} is not {expected}");
                for i in 0..rows {
                    assert!(same(apart.values[i], together.values[i]), "{what}: loss {i}");
                    for c in 0..columns {
                        let at = place(i, c, columns, inner);
                        let (actual, expected) = (apart.grad[at], together.grad[i * columns + c]);
                        assert!(same(actual, expected), "{what}: slope {i} {c}: {actual} is not {expected}");
                    }
                }
            }
        }
    }
}

#[test]
fn functions_in_strips_have_the_bits_of_rows() {
    let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, 3e38];
    let mut state = 7u64;
    let mut random = move || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        2.0 * (state >> 40) as f32 / (1 << 24) as f32 - 1.0
    };
    let widths = [1, 2, 3, 4, 5, 7, 8, 9, 16, 21, 24, 31, 64, 255, 256, 257, 300];
    for (columns, rows) in widths.into_iter().flat_map(|n| [1, 3, 4, 9, 70, 131].map(|rows| (n, rows))) {
        for (op, is_odd, with_gradient) in [Op::Softmax, Op::LogSoftmax]
            .into_iter()
            .flat_map(|op| [(op, false, true), (op, true, true), (op, false, false), (op, true, false)])
        {
            let size = rows * columns;
            let mut numbers = |spread: f32| (0..size).map(|_| spread * random()).collect::<Vec<f32>>();
            let (mut input, mut upstream) = (numbers(20.0), numbers(2.0));
            // some rows with one of them, some with the other, some with both
            for (array, step) in [(&mut input, 3 * columns + 1), (&mut upstream, 2 * columns + 1)] {
                for (i, x) in array.iter_mut().enumerate().skip(step % 5).step_by(step).filter(|_| is_odd) {
                    *x = odd[i % 5];
                }
            }
            let run_with = |f: &mut dyn FnMut(&mut Rows<f32>) -> f64| {
                let (mut values, mut grad) =
                    (vec![9.0; size], vec![9.0; if with_gradient { size } else { 0 }]);
                let sum = f(&mut Rows {
                    rows,
                    columns,
                    inner: 1,
                    input: &input,
                    labels: &[],
                    target: &[],
                    weight: &[],
                    values: &mut values,
                    grad_input: &mut grad,
                    grad_target: &mut [],
                    upstream: if with_gradient { &upstream } else { &[] },
                    scale: 0.3,
                    p: [0.0; 2],
                });
                assert_eq!(sum, 0.0);
                [values, grad]
            };
            let expected = run_with(&mut |r| run::<F32x4>(op, r));
            for columns_of_room in [1, 40] {
                let mut room = vec![f32::NAN; (8 * columns_of_room + 4) * columns.next_multiple_of(4)];
                let actual = run_with(&mut |r| strips::run(op, r, &mut room));
                for (actual, expected) in actual.iter().zip(&expected) {
                    for (i, (&a, &b)) in actual.iter().zip(expected).enumerate() {
                        assert!(same(a, b), "{op:?} {rows} x {columns}, number {i}: {a} is not {b}");
                    }
                }
            }
        }
    }
}

#[test]
fn probabilities_in_strips_have_the_bits_of_rows() {
    let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, 0.0, 3e38];
    let mut state = 3u64;
    let mut random = move || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1 << 24) as f32
    };
    let shapes = [(1, 1), (3, 1), (9, 1), (70, 1), (131, 1), (1, 4), (3, 68), (1, 76)];
    for (columns, (samples, inner)) in
        [1, 2, 3, 4, 5, 8, 9, 21, 31, 64, 257, 300].into_iter().flat_map(|n| shapes.map(|shape| (n, shape)))
    {
        for kind in 0..32 {
            let is = |bit: u32| kind >> bit & 1 == 1;
            let (rows, size) = (samples * inner, samples * inner * columns);
            let mut numbers = |n: usize| (0..n).map(|_| random()).collect::<Vec<f32>>();
            let mut arrays = [numbers(size), numbers(size), numbers(columns), numbers(rows)];
            arrays[0].iter_mut().for_each(|x| *x = 60.0 * *x - 30.0);
            for (k, array) in arrays.iter_mut().enumerate().filter(|_| is(0)) {
                for (i, x) in array.iter_mut().enumerate().skip(k + 1).step_by(3 * columns + 1) {
                    *x = odd[(i + k) % 6];
                }
            }
            let [input, target, weight, upstream] = &arrays;
            let some = |array: &[f32], is: bool| if is { array.to_vec() } else { vec![] };
            let (weight, upstream) = (some(weight, is(1)), some(upstream, is(2)));
            let run_with =
                |inner: usize, input: &[f32], target: &[f32], f: &mut dyn FnMut(&mut Rows<f32>) -> f64| {
                    let mut to = [rows, size, size].map(|n| vec![9.0; n]);
                    let [values, grad_input, grad_target] = &mut to;
                    let sum = f(&mut Rows {
                        rows,
                        columns,
                        inner,
                        input,
                        labels: &[],
                        target,
                        weight: &weight,
                        values,
                        grad_input: if kind % 3 == 1 { &mut [] } else { grad_input },
                        grad_target: if kind % 3 == 2 { &mut [] } else { grad_target },
                        upstream: &upstream,
                        scale: 0.3,
                        p: [0.0, if is(3) { 0.1 } else { f64::from(kind >> 4 & 1) }],
                    });
                    (sum, to)
                };
            let op = Op::CrossEntropyLossProbabilities;
            let (expected, together) = run_with(1, input, target, &mut |r| run::<F32x4>(op, r));
            let apart = |together: &[f32]| {
                let mut apart = together.to_vec();
                for (i, c) in (0..rows).flat_map(|i| (0..columns).map(move |c| (i, c))) {
                    apart[place(i, c, columns, inner)] = together[i * columns + c];
                }
                apart
            };
            let [input, target] = [apart(input), apart(target)];
            for columns_of_room in [1, 40] {
                let mut room = vec![f32::NAN; (12 * columns_of_room + 4) * columns.next_multiple_of(4)];
                let (sum, actual) = run_with(inner, &input, &target, &mut |r| strips::run(op, r, &mut room));
                let what = format!("{columns} columns, {samples} x {inner}, {kind}");
                let is_same = sum.to_bits() == expected.to_bits() || (sum.is_nan() && expected.is_nan());
                assert!(is_same, "{what}: {sum} is not {expected}");
                let wanted = [together[0].clone(), apart(&together[1]), apart(&together[2])];
                for (of, (actual, expected)) in actual.iter().zip(&wanted).enumerate() {
                    for (i, (&a, &b)) in actual.iter().zip(expected).enumerate() {
                        assert!(same(a, b), "{what}: number {i} of {of}: {a} is not {b}");
                    }
                }
            }
        }
    }
}

#[test]
fn strips_refuse_what_they_do_not_take() {
    let fitting = (1, 24, 0.0, 48);
    for (op, (inner, upstream, smoothing, room), fits) in [
        (Op::Softmax, fitting, true),
        (Op::Softmax, (1, 0, 0.0, 48), false),
        (Op::Softmax, (4, 24, 0.0, 48), false),
        (Op::Softmax, (1, 24, 0.1, 48), false),
        (Op::Softmax, (1, 24, 0.0, 47), false),
        (Op::LogSoftmax, (1, 24, 0.0, 32), true),
        (Op::LogSoftmax, (1, 0, 0.0, 32), false),
        (Op::LogSumExp, (4, 8, 0.0, 32), true),
        (Op::CrossEntropyLoss, (4, 8, 0.1, 32), true),
        (Op::NllLoss, (1, 8, 0.0, 48), false),
        (Op::MultiMarginLoss, (1, 8, 0.0, 48), false),
        (Op::MultiLabelMarginLoss, (1, 8, 0.0, 48), false),
    ] {
        let mut values = vec![9.0; if op.is_mapping() { 24 } else { 8 }];
        let mut grad = [9.0; 24];
        let sum = strips::run(
            op,
            &mut Rows {
                rows: 8,
                columns: 3,
                inner,
                input: &[0.5; 24],
                labels: &vec![0; 8 * op.labels(3)],
                target: &[],
                weight: &[],
                values: &mut values,
                grad_input: &mut grad,
                grad_target: &mut [],
                upstream: &vec![1.0; upstream],
                scale: 1.0,
                p: [if op == Op::CrossEntropyLoss { -100.0 } else { 0.0 }, smoothing],
            },
            &mut vec![0.0; room],
        );
        assert_eq!(!sum.is_nan(), fits, "{op:?} {inner} {upstream} {smoothing} {room}");
        let is_written = values.iter().chain(&grad).any(|&x| x != 9.0);
        assert_eq!(is_written, fits, "{op:?} {inner} {upstream} {smoothing} {room}");
    }
}

#[test]
fn strips_do_not_smooth_with_weights() {
    let mut batch = Batch {
        rows: 8,
        columns: 3,
        input: vec![0.5; 24],
        labels: vec![0; 8],
        weight: vec![1.0; 3],
        values: vec![9.0; 8],
        grad: vec![9.0; 24],
        upstream: vec![],
        ignored: -100.0,
        smoothing: 0.1,
    };
    assert!(strips::run(Op::CrossEntropyLoss, &mut batch.rows(1), &mut [0.0; 64]).is_nan());
    assert!(batch.values.iter().chain(&batch.grad).all(|&x| x == 9.0));
}

/// The same bits, or NaN both.
fn same(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

#[test]
fn strips_that_do_not_fit_are_not_written() {
    const MANY: usize = usize::MAX;
    for rows in [0, 1, 8, 16, MANY / 2, MANY] {
        for columns in [0, 1, 3, MANY / 3 + 1, MANY] {
            for inner in [0, 1, 4, 6, 8, MANY - 3, MANY] {
                for (size, labels, room) in
                    [(24, 8, 64), (24, 8, 31), (23, 8, 64), (24, 7, 64), (0, 0, 64), (48, 16, 64)]
                {
                    let mut batch = Batch {
                        rows,
                        columns,
                        input: vec![0.5; size],
                        labels: vec![0; labels],
                        weight: vec![],
                        values: vec![9.0; labels],
                        grad: vec![9.0; size],
                        upstream: vec![],
                        ignored: -100.0,
                        smoothing: 0.0,
                    };
                    let sum = strips::run(Op::CrossEntropyLoss, &mut batch.rows(inner), &mut vec![0.0; room]);
                    let fits = rows == labels
                        && columns > 0
                        && rows.checked_mul(columns) == Some(size)
                        && [1, 4, 8].contains(&inner)
                        && room > 31
                        && rows > 0;
                    let is_written = batch.values.iter().chain(&batch.grad).any(|&x| x != 9.0);
                    let fits = fits && rows.is_multiple_of(inner);
                    assert_eq!(is_written, fits, "{rows} {columns} {inner} {size} {labels} {room}");
                    assert!(sum.is_nan() || fits || rows == 0, "{rows} {columns} {inner}: {sum}");
                }
            }
        }
    }
}
