//! Laws of the pointwise driver, natively: it never panics and writes nothing where lengths do not fit; an element comes out
//! alike wherever it stands; the search for invalid numbers finds the first.
use kernels::pointwise::{run, Domain, Elements, Op, PIECE};
use lanes::{F32x4, F64x2};
use proptest::prelude::*;

/// The arrays of a call, as vectors; where there is none they are empty.
#[derive(Clone, Debug)]
struct Call {
    op: Op,
    count: usize,
    inputs: [Vec<f32>; 3],
    factors: [Vec<f32>; 3],
    outputs: [Vec<f32>; 4],
    p: [f64; 3],
}

impl Call {
    fn run(&mut self) -> f64 {
        let [values, a, b, c] = &mut self.outputs;
        let [weight, pos_weight, upstream] = &self.factors;
        run::<F32x4>(
            self.op,
            &mut Elements {
                count: self.count,
                inputs: self.inputs.each_ref().map(Vec::as_slice),
                weight,
                pos_weight,
                values,
                grads: [a, b, c],
                upstream,
                scale: 0.5,
                p: self.p,
                room: &mut [f32::NAN; 1024],
            },
        )
    }

    /// The same call about element `i` alone.
    fn only(&self, i: usize) -> Call {
        let one = |v: &Vec<f32>| v.get(i).map_or(vec![], |x| vec![*x]);
        Call {
            count: 1,
            inputs: self.inputs.each_ref().map(one),
            factors: self.factors.each_ref().map(one),
            outputs: self.outputs.each_ref().map(one),
            ..self.clone()
        }
    }
}

fn op() -> impl Strategy<Value = Op> {
    let all: Vec<Op> = (0..).map_while(Op::from_door).collect();
    prop::sample::select(all)
}

fn numbers(n: usize) -> impl Strategy<Value = Vec<f32>> {
    let number = prop_oneof![
        8 => -3f32..3.0,
        1 => prop::sample::select(vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0, 1.0, -1.0, 1e-45, 1e30]),
    ];
    prop::collection::vec(number, n)
}

/// An array of `n` numbers, or none.
fn optional(n: usize) -> impl Strategy<Value = Vec<f32>> {
    prop_oneof![Just(vec![]).boxed(), numbers(n).boxed()]
}

fn options() -> impl Strategy<Value = [f64; 3]> {
    prop::array::uniform3(prop::sample::select(vec![0.0, 1.0, 2.0, 0.5, -1.0]))
}

/// A call whose arrays fit.
fn fitting() -> impl Strategy<Value = Call> {
    (op(), 0..300usize, options()).prop_flat_map(|(op, count, p)| {
        let third = if op.inputs() == 3 { count } else { 0 };
        let inputs = (numbers(count), numbers(count), numbers(third)).prop_map(|(a, b, c)| [a, b, c]);
        (inputs, prop::array::uniform3(optional(count)), prop::array::uniform4(optional(count))).prop_map(
            move |(inputs, factors, mut outputs)| {
                for none in outputs.iter_mut().skip(1 + op.gradients()) {
                    none.clear();
                }
                Call { op, count, inputs, factors, outputs, p }
            },
        )
    })
}

/// A call whose arrays have any lengths.
fn any_lengths() -> impl Strategy<Value = Call> {
    let array = || (0..40usize).prop_flat_map(numbers);
    let lengths =
        (prop::array::uniform3(array()), prop::array::uniform3(array()), prop::array::uniform4(array()));
    (op(), 0..40usize, lengths, options()).prop_map(|(op, count, (inputs, factors, outputs), p)| Call {
        op,
        count,
        inputs,
        factors,
        outputs,
        p,
    })
}

/// A call of which one array alone does not fit: it is an element longer, or one shorter.
fn with_one_that_does_not_fit() -> impl Strategy<Value = Call> {
    (fitting(), 0..10usize, any::<bool>()).prop_map(|(mut call, which, longer)| {
        let (n, is_input) = (call.count, which < 3);
        let mut arrays = call.inputs.iter_mut().chain(&mut call.factors).chain(&mut call.outputs);
        let array = arrays.nth(which).expect("there are ten");
        array.resize(if longer || (n < 2 && !is_input) || n == 0 { n + 1 } else { n - 1 }, 1.0);
        call
    })
}

fn bits(arrays: &[Vec<f32>]) -> Vec<Vec<u32>> {
    let of = |x: &f32| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() };
    arrays.iter().map(|a| a.iter().map(of).collect()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn arrays_that_do_not_fit_give_nan_and_stay_as_they_are(
        mut call in prop_oneof![any_lengths().boxed(), with_one_that_does_not_fit().boxed()]
    ) {
        let n = call.count;
        let fit = |arrays: &[Vec<f32>]| arrays.iter().all(|a| a.is_empty() || a.len() == n);
        let is_input = |(i, a): (usize, &Vec<f32>)| a.len() == if i < call.op.inputs() { n } else { 0 };
        let no_more = call.outputs.iter().skip(1 + call.op.gradients()).all(Vec::is_empty);
        let is_fitting = call.inputs.iter().enumerate().all(is_input) && fit(&call.factors) && fit(&call.outputs);
        prop_assume!(!(is_fitting && no_more));
        let before = call.clone();
        prop_assert!(call.run().is_nan());
        prop_assert_eq!(bits(&call.outputs), bits(&before.outputs));
    }

    #[test]
    fn a_gradient_that_there_is_none_of_is_refused(call in fitting(), number in 0..3usize) {
        prop_assume!(call.count > 0 && number >= call.op.gradients());
        let mut call = call;
        call.outputs[1 + number] = vec![7.0; call.count];
        prop_assert!(call.run().is_nan());
        prop_assert!(call.outputs[1 + number].iter().all(|&x| x == 7.0));
    }

    #[test]
    fn an_element_comes_out_alike_wherever_it_stands(mut call in fitting()) {
        let before = call.clone();
        let sum = call.run();
        let mut sums = 0.0;
        for i in 0..call.count {
            let mut one = before.only(i);
            sums += one.run();
            let expected = call.only(i);
            prop_assert_eq!(bits(&one.outputs), bits(&expected.outputs), "{:?} at {}", call.op, i);
        }
        let is_same = sum == sums || (sum.is_nan() && sums.is_nan()) || (sum - sums).abs() <= 1e-9 * sum.abs().max(1.0);
        prop_assert!(is_same || !sums.is_finite() || sums.abs() > 1e20, "{sum} instead of {sums}");
    }

    #[test]
    fn the_value_is_the_same_without_gradients(mut call in fitting()) {
        let mut alone = call.clone();
        for gradient in &mut alone.outputs[1..] {
            gradient.clear();
        }
        let (with, without) = (call.run(), alone.run());
        prop_assert!(with.to_bits() == without.to_bits() || (with.is_nan() && without.is_nan()));
        prop_assert_eq!(bits(&call.outputs[..1]), bits(&alone.outputs[..1]));
    }

    #[test]
    fn the_first_invalid_number_is_found(domain in 0..3u32, n in 0..400usize, spoilt in 0..500usize, by in numbers(1)) {
        let domain = Domain::from_door(domain).unwrap();
        let is_valid = |x: f32| match domain {
            Domain::Probability => x.is_nan() || (0.0..=1.0).contains(&x),
            Domain::Sign => x == 1.0 || x == -1.0,
            Domain::NotNegative => x.is_nan() || x >= 0.0,
        };
        let mut x = vec![1f32; n];
        if let Some(to) = x.get_mut(spoilt) {
            *to = by[0];
        }
        let expected = x.iter().position(|x| !is_valid(*x));
        prop_assert_eq!(domain.find_invalid::<F32x4>(&x), expected);
        let x: Vec<f64> = x.into_iter().map(f64::from).collect();
        prop_assert_eq!(domain.find_invalid::<F64x2>(&x), expected);
    }
}

#[test]
fn numbers_at_the_door_are_places_in_the_tables_and_others_are_refused() {
    let all: Vec<Op> = (0..).map_while(Op::from_door).collect();
    assert!(all.len() >= 13);
    assert!(all.iter().enumerate().all(|(i, op)| *op as usize == i));
    assert_eq!(Op::from_door(u32::MAX), None);
    assert_eq!(Domain::from_door(3), None);
}

#[test]
fn a_call_is_the_sum_of_its_pieces() {
    for n in [PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 2 * PIECE + 5] {
        // of all sizes, so that the order of a sum is seen in its last bits
        let number = |i: usize, step: f32| (i as f32 * step).sin() * 10f32.powi((i % 13) as i32 - 6);
        let inputs = [0.37f32, 0.11].map(|step| (0..n).map(|i| number(i, step)).collect::<Vec<_>>());
        let part = |from: usize, to: usize| {
            let [x, t] = inputs.each_ref().map(|s| s[from..to].to_vec());
            let (count, op) = (to - from, Op::MseLoss);
            let (factors, outputs) = ([const { vec![] }; 3], [const { vec![] }; 4]);
            Call { op, count, inputs: [x, t, vec![]], factors, outputs, p: [0.0; 3] }.run()
        };
        let sum =
            (0..n).step_by(PIECE).map(|first| part(first, n.min(first + PIECE))).fold(0.0, |a, b| a + b);
        assert_eq!(part(0, n).to_bits(), sum.to_bits(), "{n} elements");
    }
}
