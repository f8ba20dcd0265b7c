//! The energy-based losses against their formulas, written down naively; and what must never happen, whatever comes in.
use kernels::energy::{run, Op, Per, Rows};
use lanes::{F32x4, F64x2, Lanes, Real};
use proptest::prelude::*;

const LOSSES: u32 = 11;

/// A batch that owns its arrays.
#[derive(Clone, Debug)]
struct Batch {
    rows: usize,
    columns: usize,
    energies: Vec<f64>,
    answers: Vec<i32>,
    lengths: Vec<i32>,
    table: Vec<f64>,
    per: Per,
    p: [f64; 2],
}

/// What comes back: the sum, the losses, the gradient.
fn call<L: Lanes>(op: u32, batch: &Batch, with_grad: bool) -> (f64, Vec<f64>, Vec<f64>) {
    let cast = |v: &[f64]| v.iter().map(|&x| L::Scalar::from_f64(x)).collect::<Vec<_>>();
    let back = |v: &[L::Scalar]| v.iter().map(|x| x.to_f64()).collect::<Vec<_>>();
    let (energies, table) = (cast(&batch.energies), cast(&batch.table));
    let mut values = cast(&vec![7.0; batch.rows]);
    let mut grad = cast(&vec![7.0; if with_grad { energies.len() } else { 0 }]);
    let sum = run::<L>(
        Op::from_door(op).unwrap(),
        &mut Rows {
            rows: batch.rows,
            columns: batch.columns,
            dimensions: 0,
            energies: &energies,
            answers: &batch.answers,
            lengths: &batch.lengths,
            table: &table,
            per: batch.per,
            coordinates: &[],
            values: &mut values,
            indices: &mut [],
            grad: &mut grad,
            upstream: &[],
            scale: 1.0,
            epsilon: 0.0,
            p: batch.p,
        },
    );
    (sum, back(&values), back(&grad))
}

/// The loss of one sample as its formula says.
fn naive(op: u32, x: &[f64], y: usize, table: &[f64], p: [f64; 2]) -> f64 {
    let e = x[y];
    let others = || x.iter().enumerate().filter(|&(k, _)| k != y);
    let o = others().map(|(_, &x)| x).fold(f64::INFINITY, f64::min);
    let z = e - o;
    let gibbs = |beta: f64| -> f64 {
        x.iter().enumerate().map(|(k, x)| (table.get(k).unwrap_or(&0.0) - beta * x).exp()).sum()
    };
    match op {
        0 => e,
        1 => e - o.min(e),
        2 => (p[0] + z).max(0.0),
        3 => z.exp().ln_1p(),
        4 => z.max(0.0).min(p[0]),
        5 => 1.0 / (1.0 + (-z).exp()),
        6 => e * e + (p[0] - o).max(0.0).powi(2),
        7 => e * e + p[0] * (-o).exp(),
        8 => e + gibbs(p[0]).ln() / p[0],
        9 => 1.0 - (-p[0] * e).exp() / gibbs(p[0]),
        _ => others()
            .map(|(k, x)| e - x + table.get(k).unwrap_or(&p[0]))
            .map(|z| if p[1] == 0.0 { z.max(0.0) } else { z.exp().ln_1p() })
            .sum(),
    }
}

fn takes_table(op: u32) -> bool {
    op == 8 || op == 10
}

fn batch() -> impl Strategy<Value = (u32, Batch)> {
    (0..LOSSES, 0usize..5, 1usize..70, 0usize..2, any::<bool>(), any::<bool>()).prop_flat_map(
        |(op, rows, columns, surrogate, ragged, tabled)| {
            let table = if takes_table(op) && tabled { columns } else { 0 };
            let energy = (-400..400i32).prop_map(|x| f64::from(x) / 64.0);
            (
                proptest::collection::vec(energy.clone(), rows * columns),
                proptest::collection::vec((0.0..1.0, 0.0..1.0), rows),
                proptest::collection::vec(energy.prop_map(|x| x / 4.0), table),
                prop_oneof![Just(0.5), Just(1.0), Just(2.0)],
            )
                .prop_map(move |(energies, places, table, p)| {
                    let lengths: Vec<i32> = places
                        .iter()
                        .map(|(a, _)| if ragged { 1 + (a * columns as f64) as i32 } else { columns as i32 })
                        .collect();
                    let answers =
                        places.iter().zip(&lengths).map(|((_, b), n)| (b * f64::from(*n)) as i32).collect();
                    let lengths = if ragged { lengths } else { vec![] };
                    let per = Per::All;
                    let p = [p, surrogate as f64];
                    (op, Batch { rows, columns, energies, answers, lengths, table, per, p })
                })
        },
    )
}

fn close(a: f64, b: f64, tolerance: f64) -> bool {
    (a - b).abs() <= tolerance * b.abs().max(1.0)
}

fn agrees<L: Lanes>(op: u32, b: &Batch, tolerance: f64) -> Result<(), TestCaseError> {
    let (sum, values, grad) = call::<L>(op, b, true);
    let (alone, same, _) = call::<L>(op, b, false);
    prop_assert_eq!(sum.to_bits(), alone.to_bits());
    prop_assert_eq!(&values, &same);
    let mut total = 0.0;
    for i in 0..b.rows {
        let n = b.lengths.get(i).map_or(b.columns, |&n| n as usize);
        let x = &b.energies[i * b.columns..][..n];
        let y = b.answers[i] as usize;
        let expected = naive(op, x, y, &b.table, b.p);
        total += expected;
        prop_assert!(close(values[i], expected, tolerance), "{op}: {} and {expected}", values[i]);
        let g = &grad[i * b.columns..][..b.columns];
        prop_assert!(g[n..].iter().all(|&g| g == 0.0));
        // away from ties and kinks the slopes are those of the formula
        for k in 0..n {
            let at = |d: f64| {
                let mut moved = x.to_vec();
                moved[k] += d;
                naive(op, &moved, y, &b.table, b.p)
            };
            let step = 1e-6;
            let (down, up) = ((at(0.0) - at(-step)) / step, (at(step) - at(0.0)) / step);
            if (down - up).abs() < 1e-3 {
                prop_assert!(close(g[k], (down + up) / 2.0, 1e-3), "{op}: slope {} and {down}", g[k]);
            }
        }
    }
    prop_assert!(close(sum, total, tolerance));
    Ok(())
}

proptest! {
    #[test]
    fn losses_and_slopes_are_those_of_the_formulas((op, batch) in batch()) {
        agrees::<F64x2>(op, &batch, 1e-12)?;
        agrees::<F32x4>(op, &batch, 4e-6)?;
    }

    #[test]
    fn a_sample_is_the_same_bits_alone((op, batch) in batch()) {
        let (_, values, grad) = call::<F32x4>(op, &batch, true);
        for i in 0..batch.rows {
            let n = batch.lengths.get(i).map_or(batch.columns, |&n| n as usize);
            let one = Batch {
                rows: 1,
                columns: n,
                energies: batch.energies[i * batch.columns..][..n].to_vec(),
                answers: vec![batch.answers[i]],
                lengths: vec![],
                table: batch.table.iter().copied().take(n).collect(),
                ..batch.clone()
            };
            let (_, value, slope) = call::<F32x4>(op, &one, true);
            prop_assert_eq!(value[0].to_bits(), values[i].to_bits());
            prop_assert_eq!(&slope[..], &grad[i * batch.columns..][..n]);
        }
    }

    #[test]
    fn nothing_is_written_where_lengths_do_not_fit((op, batch) in batch(), which in 0..4) {
        prop_assume!(batch.rows > 0);
        let mut wrong = batch;
        match which {
            0 => drop(wrong.energies.pop()),
            1 => wrong.answers.push(0),
            2 => wrong.lengths = vec![1; wrong.rows + 1],
            _ => wrong.table = vec![0.0; wrong.columns + 1],
        }
        let (sum, values, _) = call::<F64x2>(op, &wrong, false);
        prop_assert!(sum.is_nan());
        prop_assert!(values.iter().all(|&v| v == 7.0));
    }

    #[test]
    fn an_answer_that_is_none_is_nan_and_no_panic((op, batch) in batch(), answer in any::<i32>()) {
        prop_assume!(batch.rows > 0 && !(0..batch.columns as i32).contains(&answer));
        let mut wrong = batch;
        wrong.answers[0] = answer;
        let (_, values, grad) = call::<F64x2>(op, &wrong, true);
        prop_assert!(values[0].is_nan());
        let n = wrong.lengths.first().map_or(wrong.columns, |&n| n as usize);
        prop_assert!(grad[..n].iter().all(|g| g.is_nan()));
        prop_assert!(grad[n..wrong.columns].iter().all(|&g| g == 0.0));
    }

    #[test]
    fn lengths_go_no_further_than_the_columns((op, batch) in batch(), beyond in any::<i32>()) {
        let n = batch.columns as i32;
        let of = |length: i32| call::<F32x4>(op, &Batch { lengths: vec![length; batch.rows], ..batch.clone() }, true);
        let (sum, values, grad) = of(n);
        for beyond in [n + 1, i32::MAX, if beyond < n { -1 } else { beyond }] {
            let (other_sum, other_values, other_grad) = of(beyond);
            prop_assert_eq!(sum.to_bits(), other_sum.to_bits());
            prop_assert_eq!(&values, &other_values);
            prop_assert_eq!(&grad, &other_grad);
        }
    }

    /// Log-weights count relative to each other alone, however large they all are.
    #[test]
    fn a_measure_may_be_of_any_size((_, batch) in batch(), by in -1e3..1e3f64) {
        let nll = 8;
        let near = Batch { table: batch.energies.iter().map(|x| x / 4.0).take(batch.columns).collect(), ..batch };
        let far = Batch { table: near.table.iter().map(|m| m + by).collect(), ..near.clone() };
        let (_, values, grad) = call::<F64x2>(nll, &near, true);
        let (_, moved, same) = call::<F64x2>(nll, &far, true);
        for (a, b) in values.iter().zip(&moved) {
            prop_assert!(close(a + by / near.p[0], *b, 1e-11), "{a} and {b}, moved by {by}");
        }
        for (a, b) in grad.iter().zip(&same) {
            prop_assert!(close(*a, *b, 1e-11), "slopes {a} and {b}, moved by {by}");
        }
    }

    /// What is left of a loss where the answer is far better than all others keeps its digits.
    #[test]
    fn a_log_loss_near_0_is_not_lost(gap in 1f64..700.0) {
        let batch = Batch {
            rows: 1,
            columns: 2,
            energies: vec![0.0, gap],
            answers: vec![0],
            lengths: vec![],
            table: vec![],
            per: Per::All,
            p: [0.0, 1.0],
        };
        let (sum, _, _) = call::<F64x2>(3, &batch, false);
        let expected = (-gap).exp().ln_1p();
        prop_assert!((sum - expected).abs() <= 1e-13 * expected, "{sum}, expected {expected}");
    }
}

#[test]
fn no_number_of_a_door_but_its_own_is_a_loss() {
    assert!(Op::from_door(LOSSES) == Some(Op::MostOffending));
    assert!(Op::from_door(LOSSES + 1).is_none());
    assert!(Per::from_door(3).is_none());
}
