//! Rows whose numbers stand apart: brought together and taken back, for every part of them; lengths that do not fit harm nothing.
use kernels::rowwise::{run, turn, Op, Rows};
use lanes::F64x2;

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
                    for (apart, together) in [(0, 0), (24, 0), (0, 12), (24, 12), (5, 7)] {
                        for back in [false, true] {
                            let of = [columns, inner, first, rows];
                            turn(&mut vec![1.0; apart], &mut vec![2.0; together], of, back);
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
