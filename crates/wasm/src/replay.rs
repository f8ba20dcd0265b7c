//! Makes calls again that were recorded at the door of the WebAssembly build, on portable lanes, and compares every bit of the
//! memory. `test/laws/bits.test.ts` records them; `PERDIDA_CALLS` names the folder of its files.
extern crate std;
use lanes::memory::Memory;
use std::vec;
use std::vec::Vec;

/// A number as the door takes it, from one that JavaScript handed over.
trait Argument {
    fn from_number(x: f64) -> Self;
}
/// What a door gives back, as the number that JavaScript sees.
trait Answer {
    fn to_number(self) -> f64;
}
macro_rules! numbers {
    ($($t:ident)*) => {$(
        impl Argument for $t {
            fn from_number(x: f64) -> Self { x as Self }
        }
        impl Answer for $t {
            fn to_number(self) -> f64 { self as f64 }
        }
    )*};
}
numbers!(u32 i32 usize f64);
impl Answer for () {
    fn to_number(self) -> f64 {
        0.0
    }
}
impl Argument for bool {
    fn from_number(x: f64) -> Self {
        x != 0.0
    }
}

/// A function of the door, whatever its arguments.
trait Door<A> {
    fn call(&self, args: &[f64]) -> f64;
}
macro_rules! doors {
    ($($a:ident)*) => {
        impl<F, R: Answer, $($a: Argument),*> Door<($($a,)*)> for F
        where
            F: Fn($($a),*) -> R,
        {
            #[allow(non_snake_case)]
            fn call(&self, args: &[f64]) -> f64 {
                let mut args = args.iter();
                $(let $a = $a::from_number(*args.next().expect("an argument is missing"));)*
                assert!(args.next().is_none(), "too many arguments");
                self($($a),*).to_number()
            }
        }
    };
    ($first:ident $($rest:ident)*; all) => {
        doors!($first $($rest)*);
        doors!($($rest)*; all);
    };
    (; all) => {};
}
doors!(A B C D E F2 G H I J K L M N O P Q R2 S T U V W X; all);

fn call<A>(door: impl Door<A>, args: &[f64]) -> f64 {
    door.call(args)
}

macro_rules! table {
    ($name:expr, $args:expr; $($door:path)*) => {
        match $name {
            $(n if stringify!($door).ends_with(&std::format!(":: {n}")) || stringify!($door).ends_with(&std::format!("::{n}")) => call($door, $args),)*
            other => panic!("{other} is not in the table of {}", file!()),
        }
    };
}

/// The door by its name.
fn make(name: &str, args: &[f64]) -> f64 {
    table!(name, args;
        crate::rowwise::rowwise_f32 crate::rowwise::rowwise_f64 crate::rowwise::turn_rows crate::rowwise::rowwise_strips_f32
        crate::pointwise::pointwise_f32 crate::pointwise::pointwise_f64
        crate::domain::find_invalid_f32 crate::domain::find_invalid_f64
        crate::energy::energy_f32 crate::energy::energy_f64
        crate::vectors_many::many_f32 crate::vectors_many::many_f64 crate::vectors_many::many_scratch
        crate::vectors::vectors_f32 crate::vectors::vectors_f64
        crate::ctc::ctc_f32 crate::ctc::ctc_f64 crate::ctc::ctc_scratch_f32 crate::ctc::ctc_scratch_f64
        crate::ctc_align::ctc_align_f32 crate::ctc_align::ctc_align_f64
        crate::ctc_align::ctc_align_scratch_f32 crate::ctc_align::ctc_align_scratch_f64
    )
}

struct Reader<'a>(&'a [u8]);
impl<'a> Reader<'a> {
    fn bytes(&mut self, n: usize) -> &'a [u8] {
        let (head, tail) = self.0.split_at(n);
        self.0 = tail;
        head
    }
    fn length(&mut self) -> usize {
        u32::from_le_bytes(self.bytes(4).try_into().unwrap()) as usize
    }
    fn number(&mut self) -> f64 {
        f64::from_le_bytes(self.bytes(8).try_into().unwrap())
    }
}

/// Whether two memories hold the same bits, a NaN counting as any other.
fn difference(a: &[u8], b: &[u8]) -> Option<usize> {
    let single = |x: &[u8], at: usize| f32::from_le_bytes(x[at..at + 4].try_into().unwrap()).is_nan();
    let double =
        |x: &[u8], at: usize| f64::from_le_bytes(x[at & !7..(at & !7) + 8].try_into().unwrap()).is_nan();
    (0..b.len()).step_by(4).find(|&at| {
        a[at..at + 4] != b[at..at + 4]
            && !(single(a, at) && single(b, at))
            && !(double(a, at) && double(b, at))
    })
}

#[test]
#[ignore = "needs the recording that PERDIDA_CALLS names"]
fn replays() {
    let folder = std::env::var("PERDIDA_CALLS").expect("PERDIDA_CALLS is not set");
    let mut count = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        count += replay(&std::fs::read(file.unwrap().path()).unwrap());
    }
    assert!(count > 0, "nothing was recorded");
    std::println!("{count} calls gave the same bits");
}

/// Makes the calls of one file, and gives how many there are.
fn replay(recording: &[u8]) -> usize {
    let mut reader = Reader(recording);
    let mut count = 0;
    while !reader.0.is_empty() {
        let [name, arguments, total, start, length] = core::array::from_fn(|_| reader.length());
        let args: Vec<f64> = (0..arguments).map(|_| reader.number()).collect();
        let result = reader.number();
        let name = core::str::from_utf8(reader.bytes(name)).unwrap();
        let (before, after) = (reader.bytes(length), reader.bytes(length));
        let mut image = vec![0u64; total / 8];
        let words = start / 8..(start + length) / 8;
        for (to, from) in image[words.clone()].iter_mut().zip(before.chunks(8)) {
            *to = u64::from_le_bytes(from.try_into().unwrap());
        }
        let again = Memory::lend(&mut image, || make(name, &args));
        let same = again.to_bits() == result.to_bits() || (again.is_nan() && result.is_nan());
        assert!(same, "{name}{args:?} gave {again}, expected {result}");
        let behind = &image[words.end..];
        assert!(behind.iter().all(|&word| word == 0), "{name}{args:?}: other bits behind byte {length}");
        let actual: Vec<u8> = image[words].iter().flat_map(|word| word.to_le_bytes()).collect();
        if let Some(at) = difference(&actual, after) {
            panic!("{name}{args:?}: other bits at byte {at} of {length}");
        }
        count += 1;
    }
    count
}
