//! Unpacks the core, whose parts stand in a bundle as scripts/pack.mjs has packed it: three tenths smaller than deflated.
//!
//! As in LZMA, the bytes are cut into literals and repetitions of what came before, and each decision in that is a bit, coded
//! with the odds that it had under like circumstances before (a range coder: G. N. N. Martin 1979). What a byte is in an
//! instruction counts among these circumstances: an opcode, a local's index, an offset. That is 5 % (measured). This is a WebAssembly
//! module of its own, and a small one, because such a loop over bits has to run at full speed from the start: in JavaScript
//! that has yet to be compiled it takes ten times as long (measured).
//!
//! One buffer holds both: what is unpacked from its start on, what is packed from its middle on. What was unpacked before in the
//! same instance is there for what comes next: repetitions reach into it, and the odds are those that it left. The numbers in
//! the buffer are atomic only so that they may change without `unsafe`: in a module without threads that is a plain load or store.
#![cfg_attr(target_arch = "wasm32", no_std)]
use core::sync::atomic::{AtomicU64, AtomicU8, Ordering::Relaxed};

/// Bytes of the buffer.
const ROOM: usize = 1 << 19;
static BUFFER: [AtomicU8; ROOM] = [const { AtomicU8::new(0) }; ROOM];

/// For each context the odds of a 0 in 2^16ths, by which they follow fast and slowly (bits 0 and 16), less one half, so that they
/// start as 0; and how often it was met (bit 32): at first the odds follow faster than later.
const CONTEXTS: usize = 1 << 17;
static ODDS: [AtomicU64; CONTEXTS] = [const { AtomicU64::new(0) }; CONTEXTS];
const HALF: u64 = 0x8000_8000;
/// An n-th bit moves the odds by 1 / (n + FIRST) of the way, up to a last share for each of the two.
const FIRST: u32 = 3;
const FAST: u32 = 12;
const SLOW: u32 = 250;

// Where the contexts of each kind of decision start. The first ones are for each of 16 states, some for each of 16 kinds of bytes or of the
// 4 recent distances.
const IS_REPETITION: usize = 0;
const IS_RECENT: usize = 256;
const WHICH: usize = 272;
const IS_LONG: usize = 336;
const LENGTHS: usize = 400;
const DISTANCES: usize = LENGTHS + 2 * NUMBER;
const LITERALS: usize = DISTANCES + 4 * NUMBER;
/// What a number takes.
const NUMBER: usize = 704;

fn byte(at: usize) -> usize {
    BUFFER[at % ROOM].load(Relaxed).into()
}

/// The decoder: where it reads, and the numbers of the range coder.
struct Bits {
    at: usize,
    range: u32,
    code: u32,
}

impl Bits {
    /// The next bit, in a context.
    #[inline(never)]
    fn next(&mut self, context: usize) -> usize {
        while self.range < 1 << 24 {
            self.range <<= 8;
            self.code = self.code << 8 | byte(self.at) as u32;
            self.at += 1;
        }
        let place = &ODDS[context % CONTEXTS];
        let odds = place.load(Relaxed) ^ HALF;
        let (a, b, met) = (odds as u32 & 0xffff, odds as u32 >> 16, (odds >> 32) as u32);
        let bound = (self.range >> 12) * ((a + b) >> 5);
        let bit = self.code >= bound;
        let (fast, slow) = (FAST.min(met + FIRST), met + FIRST);
        let (a, b) = if bit {
            self.code -= bound;
            self.range -= bound;
            (a - a / fast, b - b / slow)
        } else {
            self.range = bound;
            (a + (0xffff - a) / fast, b + (0xffff - b) / slow)
        };
        let met = (SLOW - FIRST).min(met + 1);
        place.store((u64::from(met) << 32 | u64::from(b << 16 | a)) ^ HALF, Relaxed);
        bit.into()
    }

    /// Bits until they are as many as `end` has behind its first, each in the context of those before it.
    #[inline(never)]
    fn until(&mut self, context: usize, end: usize) -> usize {
        let mut seen = 1;
        while seen < end {
            seen = 2 * seen + self.next(context + seen);
        }
        seen - end
    }

    /// A number: how many bits it has and the second one of them, then the others, of which the first four count as context.
    #[inline(never)]
    fn number(&mut self, context: usize) -> usize {
        let size = self.until(context, 64);
        if size < 4 {
            return size;
        }
        let (mut seen, mut number) = (1, 2 | size & 1);
        for _ in 1..size / 2 {
            let bit = self.next(context + 64 + 16 * size + if seen < 16 { seen } else { 0 });
            seen = 2 * seen + bit;
            number = 2 * number + bit;
        }
        number
    }
}

/// What of an instruction comes next, where bytes are code: the rest is taken for code as well, and what is told of it is of less use.
struct Code {
    /// 0: an opcode. 1 to 4: an alignment, an offset, some other number, bytes of a constant. 5: an opcode after the prefix of SIMD.
    /// 6: its end. 8 to 10: the index of a local that is got, set, or both.
    kind: usize,
    opcode: usize,
    /// How many bytes of the operand there were.
    index: usize,
    /// How many bytes the constant still has.
    left: usize,
}

impl Code {
    /// The context of a literal, from 0 to 127.
    fn class(&self) -> usize {
        if self.kind == 0 {
            64 + self.opcode % 64
        } else {
            4 * self.kind + self.index.min(3)
        }
    }

    /// A byte has come.
    #[inline(never)]
    fn pass(&mut self, byte: usize) {
        self.index += 1;
        match self.kind {
            0 if byte == 0xfd => self.kind = 5,
            0 | 5 => {
                self.opcode = byte + 256 * usize::from(self.kind == 5);
                self.index = 0;
                (self.kind, self.left) = match self.opcode {
                    0x20..=0x22 => (self.opcode - 24, 0),
                    2..=4 | 0x0c..=0x10 | 0x23..=0x24 | 0x3f..=0x42 => (3, 0),
                    0x28..=0x3e | 0x100..=0x10b | 0x154..=0x15d => (1, 0),
                    0x43 => (4, 4),
                    0x44 => (4, 8),
                    0x10c..=0x10d => (4, 16),
                    0x115..=0x122 => (4, 1),
                    0x180.. => (6, 0),
                    _ => (0, 0),
                };
            }
            1 => self.kind = 2,
            4 => {
                self.left -= 1;
                if self.left == 0 {
                    self.kind = 0;
                }
            }
            // the last byte of a number
            _ if byte < 128 => self.kind = 0,
            _ => {}
        }
    }
}

/// Unpacks bytes to one place of the buffer up to another; where these are the same it only says where the buffer stands.
#[no_mangle]
pub extern "C" fn unpack(from: usize, to: usize) -> usize {
    let mut bits = Bits { at: ROOM / 2, range: 0, code: 0 };
    // 4 bytes make the first code
    for _ in 0..4 {
        bits.code = bits.code << 8 | byte(bits.at) as u32;
        bits.at += 1;
    }
    bits.range = u32::MAX;
    // of what kind the last two tokens were
    let mut state = 0;
    // the distances of the last repetitions, less 1
    let [mut first, mut second, mut third, mut fourth] = [0; 4];
    let mut code = Code { kind: 0, opcode: 0, index: 0, left: 0 };
    let mut i = from;
    while i < to {
        let (kind, mut rest);
        if bits.next(IS_REPETITION + 16 * code.kind + state) == 0 {
            let context = LITERALS + 0x300 * code.class();
            // after a repetition the byte that would have come next in it is a context until a bit differs
            let mut like = if state & 3 == 0 { 0 } else { 0x100 };
            let mut expected = byte(i.wrapping_sub(first + 1));
            let mut seen = 1;
            while seen < 0x100 {
                expected <<= 1;
                let bit = bits.next(context + like + (expected & like) + seen);
                like &= if bit == 1 { expected } else { !expected };
                seen = 2 * seen + bit;
            }
            BUFFER[i % ROOM].store(seen as u8, Relaxed);
            (kind, rest) = (0, 1);
        } else if bits.next(IS_RECENT + state) == 0 {
            rest = 2 + bits.number(LENGTHS);
            let context = DISTANCES + NUMBER * (if rest < 5 { rest - 2 } else { 3 });
            (first, second, third, fourth) = (bits.number(context), first, second, third);
            kind = 1;
        } else {
            let which = bits.until(WHICH + 4 * state, 4);
            rest = 1;
            if bits.next(IS_LONG + 4 * state + which) == 1 {
                rest = 2 + bits.number(LENGTHS + NUMBER);
            }
            (first, second, third, fourth) = match which {
                0 => (first, second, third, fourth),
                1 => (second, first, third, fourth),
                2 => (third, first, second, fourth),
                _ => (fourth, first, second, third),
            };
            kind = if rest > 1 { 2 } else { 3 };
        }
        state = ((4 * state) & 15) | kind;
        while rest > 0 {
            if kind > 0 {
                BUFFER[i % ROOM].store(byte(i.wrapping_sub(first + 1)) as u8, Relaxed);
            }
            code.pass(byte(i));
            i += 1;
            rest -= 1;
        }
    }
    BUFFER.as_ptr() as usize
}

/// Nothing here panics.
#[cfg(target_arch = "wasm32")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    core::arch::wasm32::unreachable()
}
