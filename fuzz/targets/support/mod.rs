//! What the targets share: bytes become the arguments of a call at the door, and every call is watched.
//!
//! A call is made of slots, as the driver in ts/define.ts makes it: arrays that go in, arrays that are written, room for the kernel.
//! They lie apart in an image of a memory that ends where the last of them does, so that the address sanitizer sees what goes over
//! its end. Some calls then get other addresses: misaligned, overlapping, behind the end. Of every call:
//!
//! - it does not panic, and touches nothing outside of the image;
//! - made again with other rubbish in its outputs and its scratch it gives the same bits;
//! - where the addresses are as they should be, what goes in and what lies between the slots stays as it was.
#![allow(dead_code)]
use arbitrary::Unstructured;
use lanes::memory::Memory;
use lanes::Real;

/// Larger arrays than this get an address, but not the room.
const MOST_BYTES: usize = 1 << 18;
/// What lies between two slots.
const GUARD: usize = 32;
/// What stands in outputs, scratch and guards before a call and before its repetition.
const RUBBISH: [u8; 2] = [0xa5, 0x7f];
/// Counts and lengths that nobody has: those at which 32 bits end, which is what a count has in WebAssembly, and those at which a count
/// ends here. What one of them does to the first there, one does to the second here: a product that goes over, and is seen.
const ABSURD: [usize; 22] = [
    1 << 16,
    (1 << 16) + 1,
    1 << 24,
    (1 << 28) - 1,
    1 << 29,
    1 << 30,
    (1 << 31) - 1,
    1 << 31,
    (1 << 31) + 1,
    (1 << 32) - 2,
    (1 << 32) - 1,
    0x5555_5556,
    1 << 32,
    1 << 53,
    usize::MAX / 16 + 1,
    usize::MAX / 8 + 1,
    usize::MAX / 4 + 2,
    usize::MAX / 3 + 1,
    usize::MAX / 2,
    usize::MAX / 2 + 1,
    usize::MAX - 1,
    usize::MAX,
];
/// Numbers at which formulas break.
const HOSTILE: [f64; 20] = [
    f64::NAN,
    f64::INFINITY,
    -f64::INFINITY,
    0.0,
    -0.0,
    1e-45,
    -1e-45,
    5e-324,
    1e-38,
    1e38,
    -1e38,
    1e30,
    -1e30,
    1e300,
    -1e300,
    88.8,
    -104.0,
    709.9,
    1.0,
    16_777_217.0,
];

/// Takes decisions from the fuzzer's bytes; 0 when they are used up.
pub struct Draw<'a> {
    bytes: Unstructured<'a>,
}

impl<'a> Draw<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes: Unstructured::new(bytes) }
    }
    fn byte(&mut self) -> usize {
        usize::from(self.bytes.arbitrary::<u8>().unwrap_or(0))
    }
    fn word(&mut self) -> u32 {
        self.bytes.arbitrary::<u32>().unwrap_or(0)
    }
    /// One of `n` cases.
    pub fn below(&mut self, n: usize) -> usize {
        self.byte() % n.max(1)
    }
    /// True in so many of 16 cases.
    pub fn chance(&mut self, of_16: usize) -> bool {
        self.byte() % 16 >= 16 - of_16
    }
    /// A count or a length: small, or now and then absurd.
    pub fn length(&mut self, most: usize) -> usize {
        match self.byte() {
            n @ 0..=250 => n % (most + 1),
            _ => ABSURD[self.below(ABSURD.len())],
        }
    }
    /// An option: one of some, or now and then any number.
    pub fn option(&mut self, of: &[f64]) -> f64 {
        match self.byte() {
            n @ 0..=200 => of[n % of.len()],
            _ => self.number(),
        }
    }
    /// Any number.
    pub fn number(&mut self) -> f64 {
        match self.below(3) {
            0 => HOSTILE[self.below(HOSTILE.len())],
            1 => f64::from(f32::from_bits(self.word())),
            _ => f64::from(self.word() as i32) / 65536.0,
        }
    }
}

/// A stream of numbers in [0, 1) (xorshift64*).
struct Stream(u64);
impl Stream {
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1u64 << 53) as f64
    }
    fn below(&mut self, n: usize) -> usize {
        (self.next() * n as f64) as usize
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Single,
    Double,
    Int,
    Bytes,
}

#[derive(Clone, Copy, PartialEq)]
enum Role {
    In,
    Out,
    Work,
}

struct Slot {
    kind: Kind,
    role: Role,
    length: usize,
    /// Bytes that it really has.
    room: usize,
    address: usize,
    content: Vec<u8>,
    /// Whether what is written there may mean nothing.
    loose: bool,
}

/// A slot by its number.
pub type Id = usize;

/// A call at the door.
pub struct Call {
    double: bool,
    slots: Vec<Slot>,
    /// Whether all that goes in is what a program that means well would hand over: numbers of everyday size, labels that are classes.
    pub everyday: bool,
}

/// What came of a call whose addresses were as they should be.
pub struct Outcome {
    pub result: f64,
    outs: Vec<Vec<f64>>,
    written: Vec<bool>,
}

impl Outcome {
    /// The numbers of an output.
    pub fn numbers(&self, slot: Id) -> &[f64] {
        &self.outs[slot]
    }
    /// Whether any of it was written.
    pub fn is_written(&self, slot: Id) -> bool {
        self.written[slot]
    }
    /// No number of an output that was written is NaN.
    pub fn expect_numbers(&self, what: &str) {
        assert!(!self.result.is_nan(), "{what}: the result is NaN");
        for (slot, numbers) in self.outs.iter().enumerate() {
            if self.written[slot] {
                let at = numbers.iter().position(|x| x.is_nan());
                assert!(at.is_none(), "{what}: number {at:?} of slot {slot} is NaN");
            }
        }
    }
}

impl Call {
    pub fn new(double: bool) -> Self {
        Self { double, slots: Vec::new(), everyday: true }
    }

    fn push(&mut self, kind: Kind, role: Role, length: usize, content: Vec<u8>) -> Id {
        let bytes = length.saturating_mul(width(kind));
        let made = if kind == Kind::Bytes { length } else { Self::made(length) };
        let room = if made < length || bytes > MOST_BYTES { 0 } else { bytes };
        if room < bytes {
            self.everyday = false;
        }
        self.slots.push(Slot { kind, role, length, room, address: 0, content, loose: false });
        self.slots.len() - 1
    }

    fn kind(&self) -> Kind {
        if self.double {
            Kind::Double
        } else {
            Kind::Single
        }
    }

    /// How many of a content are really made.
    fn made(length: usize) -> usize {
        if length.saturating_mul(8) > MOST_BYTES {
            0
        } else {
            length
        }
    }

    /// Numbers of the call's precision that go in; everyday ones are in [low, high).
    pub fn reals(&mut self, d: &mut Draw, length: usize, low: f64, high: f64) -> Id {
        let values = self.values(d, length, low, high);
        let double = self.double;
        let content = values.iter().flat_map(|&x| to_bytes(x, double)).collect();
        self.push(self.kind(), Role::In, length, content)
    }

    /// Doubles that go in, in either precision.
    pub fn doubles(&mut self, d: &mut Draw, length: usize, low: f64, high: f64) -> Id {
        let values = self.values(d, length, low, high);
        self.push(Kind::Double, Role::In, length, values.iter().flat_map(|x| x.to_le_bytes()).collect())
    }

    fn values(&mut self, d: &mut Draw, length: usize, low: f64, high: f64) -> Vec<f64> {
        let mut stream = Stream(u64::from(d.word()) << 1 | 1);
        let way = d.byte() % 16;
        let constant = low + (high - low) * stream.next();
        let mut values: Vec<f64> = (0..Self::made(length))
            .map(|_| match way {
                0..=7 => low + (high - low) * stream.next(),
                // ties
                8 => constant,
                9 => low + (high - low) * (stream.below(4) as f64) / 4.0,
                10 => 30.0 * (low + (high - low) * stream.next()),
                11 | 12 if stream.next() > 0.1 => low + (high - low) * stream.next(),
                11 | 12 => HOSTILE[stream.below(HOSTILE.len())],
                13 => HOSTILE[stream.below(HOSTILE.len())],
                14 => f64::from(f32::from_bits((stream.next() * 4_294_967_296.0) as u32)),
                _ => f64::from_bits((stream.next() * 18_446_744_073_709_551_616.0) as u64),
            })
            .collect();
        if way >= 10 {
            self.everyday = false;
        }
        // single numbers that the fuzzer has in its hand
        for _ in 0..d.byte().saturating_sub(250) {
            let (at, x) = (d.word() as usize, d.number());
            if !values.is_empty() {
                let n = values.len();
                values[at % n] = x;
                self.everyday = false;
            }
        }
        values
    }

    /// Whole numbers that go in: from `low` to `high`, that one excluded, or now and then others.
    pub fn ints(&mut self, d: &mut Draw, length: usize, low: i64, high: i64) -> Id {
        self.ints_except(d, length, low, high, None)
    }

    /// The same without one of them.
    pub fn ints_except(
        &mut self,
        d: &mut Draw,
        length: usize,
        low: i64,
        high: i64,
        except: Option<usize>,
    ) -> Id {
        let except = except.map_or(i64::MAX, |x| x as i64).max(low);
        let high = if except < high { high - 1 } else { high };
        let mut stream = Stream(u64::from(d.word()) << 1 | 1);
        let way = d.byte() % 8;
        let span = (high - low).clamp(0, 1 << 31) as usize;
        if way == 7 || span == 0 {
            self.everyday = false;
        }
        let constant = low + stream.below(span) as i64;
        let content = (0..Self::made(length)).flat_map(|_| {
            let wild = way == 7 && stream.next() < 0.3;
            let x = if wild {
                [-1, i64::from(i32::MIN), i64::from(i32::MAX), high, high + 1, low - 1, -2][stream.below(7)]
            } else if way == 6 {
                constant
            } else {
                low + stream.below(span) as i64
            };
            (if x >= except { x + 1 } else { x } as i32).to_le_bytes()
        });
        let content = content.collect();
        self.push(Kind::Int, Role::In, length, content)
    }

    /// Numbers of the call's precision that are written.
    pub fn out(&mut self, length: usize) -> Id {
        self.push(self.kind(), Role::Out, length, Vec::new())
    }
    /// Doubles that are written.
    pub fn out_doubles(&mut self, length: usize) -> Id {
        self.push(Kind::Double, Role::Out, length, Vec::new())
    }
    /// Whole numbers that are written.
    pub fn out_ints(&mut self, length: usize) -> Id {
        self.push(Kind::Int, Role::Out, length, Vec::new())
    }
    /// Scratch.
    pub fn work(&mut self, bytes: usize) -> Id {
        self.push(Kind::Bytes, Role::Work, bytes, Vec::new())
    }
    /// Nothing.
    pub fn absent(&mut self) -> Id {
        self.push(Kind::Bytes, Role::In, 0, Vec::new())
    }
    /// An array that may be left out.
    pub fn maybe(&mut self, d: &mut Draw, of_16: usize, make: impl FnOnce(&mut Self, &mut Draw) -> Id) -> Id {
        if d.chance(of_16) {
            make(self, d)
        } else {
            self.absent()
        }
    }
    /// What is written to these may hang on what was there before: it means nothing, as another output says.
    pub fn loosen(&mut self, slots: &[Id]) {
        for &slot in slots {
            self.slots[slot].loose = true;
        }
    }
    /// Whether a slot has something in it.
    pub fn is_there(&self, slot: Id) -> bool {
        self.slots[slot].length > 0
    }

    /// With PERDIDA_SHOW it prints what goes in and short outputs. Places the slots, makes the call twice and looks at what it has left behind.
    pub fn run(mut self, d: &mut Draw, door: impl Fn(&[usize]) -> f64) -> Option<Outcome> {
        let mut end = 64;
        for slot in &mut self.slots {
            if slot.length == 0 {
                continue;
            }
            slot.address = end;
            end = (end + slot.room + GUARD).next_multiple_of(16);
        }
        // the last slot ends where the memory does, but for the rest of a word
        let size = match self.slots.iter().rev().find(|slot| slot.length > 0) {
            Some(last) => (last.address + last.room).next_multiple_of(8),
            None => 64,
        };
        let mut proper =
            self.slots.iter().all(|slot| slot.room == slot.length.saturating_mul(width(slot.kind)));
        let mut addresses: Vec<usize> = self.slots.iter().map(|slot| slot.address).collect();
        if d.chance(3) {
            proper = false;
            for _ in 0..=d.below(3) {
                let (i, k) = (d.below(addresses.len()), d.below(addresses.len()));
                let near = d.below(64);
                addresses[i] = match d.below(8) {
                    0 => addresses[i].saturating_add(1 + near % 15),
                    1 => addresses[k],
                    2 => addresses[k].saturating_add(4 * near),
                    3 => size.saturating_sub(near),
                    4 => size + near,
                    5 => (1 << 32) - 1 - near,
                    6 => ABSURD[near % ABSURD.len()] & !15,
                    _ => 0,
                };
            }
        }
        if std::env::var_os("PERDIDA_SHOW").is_some() {
            for (slot, at) in self.slots.iter().zip(&addresses) {
                let numbers: Vec<f64> = slot
                    .content
                    .chunks_exact(width(slot.kind))
                    .map(|bytes| number(bytes, slot.kind))
                    .collect();
                eprintln!("{} numbers at {at}: {numbers:?}", slot.length);
            }
        }
        let mut images: Vec<Vec<u8>> = Vec::new();
        let mut results = [0.0; 2];
        for (rubbish, result) in RUBBISH.iter().zip(&mut results) {
            let mut image = vec![0u64; size / 8];
            let before: Vec<u8> = {
                let mut bytes = vec![*rubbish; size];
                for slot in &self.slots {
                    let n = slot.content.len().min(slot.room);
                    bytes[slot.address..slot.address + n].copy_from_slice(&slot.content[..n]);
                }
                bytes
            };
            for (word, bytes) in image.iter_mut().zip(before.chunks_exact(8)) {
                *word = u64::from_le_bytes(bytes.try_into().unwrap());
            }
            *result = Memory::lend(&mut image, || door(&addresses));
            images.push(image.iter().flat_map(|word| word.to_le_bytes()).collect());
            if std::env::var_os("PERDIDA_SHOW").is_some() {
                for slot in self.slots.iter().filter(|slot| slot.role == Role::Out && slot.length < 16) {
                    let bytes = &images[images.len() - 1][slot.address..slot.address + slot.room];
                    let numbers: Vec<f64> =
                        bytes.chunks_exact(width(slot.kind)).map(|bytes| number(bytes, slot.kind)).collect();
                    eprintln!("written at {}: {numbers:?}", slot.address);
                }
            }
            if proper {
                self.expect_untouched(&before, &images[images.len() - 1]);
            }
        }
        if !proper {
            return None;
        }
        let [first, second] = results;
        assert!(
            first.to_bits() == second.to_bits() || (first.is_nan() && second.is_nan()),
            "gave {first}, and {second} when repeated"
        );
        let mut outcome = Outcome { result: first, outs: Vec::new(), written: Vec::new() };
        for (i, slot) in self.slots.iter().enumerate() {
            let mut numbers = Vec::new();
            let mut written = false;
            if slot.role == Role::Out {
                let bytes = |image: &[u8]| image[slot.address..slot.address + slot.room].to_vec();
                let (a, b) = (bytes(&images[0]), bytes(&images[1]));
                for (k, (a, b)) in
                    a.chunks_exact(width(slot.kind)).zip(b.chunks_exact(width(slot.kind))).enumerate()
                {
                    let (x, y) = (number(a, slot.kind), number(b, slot.kind));
                    let left = a.iter().all(|&x| x == RUBBISH[0]) && b.iter().all(|&x| x == RUBBISH[1]);
                    assert!(
                        left || slot.loose || a == b || (x.is_nan() && y.is_nan()),
                        "number {k} of slot {i} is {x}, and {y} when repeated"
                    );
                    written |= !left;
                    numbers.push(x);
                }
            }
            outcome.outs.push(numbers);
            outcome.written.push(written);
        }
        Some(outcome)
    }

    /// Nothing but outputs and scratch has changed.
    fn expect_untouched(&self, before: &[u8], after: &[u8]) {
        let mut at = 0;
        for slot in self.slots.iter().filter(|slot| slot.role != Role::In && slot.length > 0) {
            assert!(
                before[at..slot.address] == after[at..slot.address],
                "written before slot at {}",
                slot.address
            );
            at = slot.address + slot.room;
        }
        assert!(before[at..] == after[at..], "written behind the last output");
    }
}

fn width(kind: Kind) -> usize {
    match kind {
        Kind::Single | Kind::Int => 4,
        Kind::Double => 8,
        Kind::Bytes => 1,
    }
}

fn to_bytes(x: f64, double: bool) -> Vec<u8> {
    if double {
        x.to_le_bytes().to_vec()
    } else {
        f32::from_f64(x).to_le_bytes().to_vec()
    }
}

fn number(bytes: &[u8], kind: Kind) -> f64 {
    match kind {
        Kind::Single => f64::from(f32::from_le_bytes(bytes.try_into().unwrap())),
        Kind::Double => f64::from_le_bytes(bytes.try_into().unwrap()),
        Kind::Int => f64::from(i32::from_le_bytes(bytes.try_into().unwrap())),
        Kind::Bytes => f64::from(bytes[0]),
    }
}
