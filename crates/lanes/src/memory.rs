//! From addresses to slices: what the door does with the numbers that JavaScript hands it.
//!
//! An address is taken against the memory's present size, what of it is the modules' own, and the alignment of what stands there, and
//! nothing that is written overlaps anything else that the same call takes. So no number that comes in can make a kernel read or write
//! out of bounds, or see one slice change through another; what does not hold becomes the empty slice.
//! In WebAssembly the memory is that which the instance was given. Natively it is an image that a test lends ([`Memory::lend`]), so that
//! a call recorded in JavaScript can be replayed on the portable lanes.
use core::alloc::{GlobalAlloc, Layout};
use core::cell::{Cell, UnsafeCell};
use core::marker::PhantomData;
use core::mem::MaybeUninit;
#[cfg(target_arch = "wasm32")]
use core::sync::atomic::{AtomicBool, Ordering};

/// What a slice may be made of: plain numbers, for which every bit pattern is a value, aligned to their size.
pub trait Plain: Copy + 'static {}
impl Plain for f32 {}
impl Plain for f64 {}
impl Plain for i32 {}
impl Plain for u32 {}

/// How many slices one call may take.
const MOST: usize = 24;

/// Bytes of the room that a call may have beside what it takes.
pub const ROOM: usize = 16384;

/// Where the memory begins that calls may be given: what stands below is the modules' own, the stack and a page of constants each
/// (crates/wasm/build.rs). Nobody who hands over an address down there means well, and to write there breaks every later call.
#[cfg(target_arch = "wasm32")]
const FLOOR: usize = 9 * 65536;
#[cfg(not(target_arch = "wasm32"))]
const FLOOR: usize = 1;

/// Aligned to whole vectors.
#[repr(align(16))]
struct Room(UnsafeCell<[u8; ROOM]>);
// SAFETY: one call runs at a time, and gets it once.
#[cfg(target_arch = "wasm32")]
unsafe impl Sync for Room {}
#[cfg(target_arch = "wasm32")]
static THE_ROOM: Room = Room(UnsafeCell::new([0; ROOM]));

/// The memory for the length of one call.
pub struct Memory<'a> {
    /// Where address 0 is; the instance's own memory starts there.
    #[cfg(not(target_arch = "wasm32"))]
    base: *mut u8,
    size: usize,
    /// What was taken: start, end, and whether it is written to. Only the first `count` are there: clearing the others would be
    /// a tenth of a small call.
    taken: [Cell<MaybeUninit<(usize, usize, bool)>>; MOST],
    count: Cell<usize>,
    has_room: Cell<bool>,
    #[cfg(not(target_arch = "wasm32"))]
    room: Room,
    lifetime: PhantomData<&'a mut u8>,
}

#[cfg(target_arch = "wasm32")]
static BUSY: AtomicBool = AtomicBool::new(false);

impl<'a> Memory<'a> {
    fn new(#[cfg(not(target_arch = "wasm32"))] base: *mut u8, size: usize) -> Self {
        Self {
            #[cfg(not(target_arch = "wasm32"))]
            base,
            size,
            taken: [const { Cell::new(MaybeUninit::uninit()) }; MOST],
            count: Cell::new(0),
            has_room: Cell::new(true),
            #[cfg(not(target_arch = "wasm32"))]
            room: Room(UnsafeCell::new([0; ROOM])),
            lifetime: PhantomData,
        }
    }

    /// Runs one call on the instance's memory; `otherwise` where a call is under way already.
    #[cfg(target_arch = "wasm32")]
    #[inline(always)]
    pub fn with<R>(otherwise: R, call: impl FnOnce(&Memory) -> R) -> R {
        if BUSY.swap(true, Ordering::Relaxed) {
            return otherwise;
        }
        let size = core::arch::wasm32::memory_size(0).saturating_mul(65536);
        let result = call(&Memory::new(size));
        BUSY.store(false, Ordering::Relaxed);
        result
    }

    /// Runs one call on the image that [`Memory::lend`] holds; `otherwise` where there is none.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn with<R>(otherwise: R, call: impl FnOnce(&Memory) -> R) -> R {
        let (base, size) = IMAGE.with(|image| image.replace((core::ptr::null_mut(), 0)));
        if base.is_null() {
            return otherwise;
        }
        let result = call(&Memory::new(base, size));
        IMAGE.with(|image| image.set((base, size)));
        result
    }

    /// Lends an image of a memory to the calls that `calls` makes on this thread; address 0 is its first byte.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn lend<R>(image: &'a mut [u64], calls: impl FnOnce() -> R) -> R {
        IMAGE.with(|lent| lent.set((image.as_mut_ptr().cast(), size_of_val(image))));
        let result = calls();
        IMAGE.with(|lent| lent.set((core::ptr::null_mut(), 0)));
        result
    }

    /// Takes `length` things of so many bytes each, if they can be had: gives back how many. One copy of the code for all doors.
    #[inline(never)]
    fn take(&self, address: usize, length: usize, size: usize, written: bool) -> usize {
        let Some(end) = length.checked_mul(size).and_then(|n| n.checked_add(address)) else { return 0 };
        if address < FLOOR || !address.is_multiple_of(size) || end > self.size {
            return 0;
        }
        let count = self.count.get();
        let Some(free) = self.taken.get(count) else { return 0 };
        for other in self.taken.iter().take(count) {
            // SAFETY: the first `count` were written below.
            let (start, stop, mutable) = unsafe { other.get().assume_init() };
            if address < stop && start < end && (written || mutable) {
                return 0;
            }
        }
        free.set(MaybeUninit::new((address, end, written)));
        self.count.set(count + 1);
        length
    }

    /// Where what was taken stands; anywhere that is aligned if nothing was.
    #[inline(always)]
    fn place<T: Plain>(&self, address: usize, length: usize) -> *mut T {
        if length == 0 {
            return core::ptr::dangling_mut();
        }
        #[cfg(target_arch = "wasm32")]
        let base = core::ptr::null_mut::<u8>();
        #[cfg(not(target_arch = "wasm32"))]
        let base = self.base;
        base.wrapping_add(address).cast()
    }

    /// `length` numbers at `address`; the empty slice where the address is 0 or cannot be taken.
    #[inline(always)]
    pub fn view<T: Plain>(&self, address: usize, length: usize) -> &[T] {
        let length = self.take(address, length, size_of::<T>(), false);
        // SAFETY: in bounds and aligned, any bits are a value, and nothing taken in this call is written there.
        unsafe { core::slice::from_raw_parts(self.place(address, length), length) }
    }

    /// `length` numbers at `address` to write to; the empty slice where the address is 0 or cannot be taken.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)]
    pub fn view_mut<T: Plain>(&self, address: usize, length: usize) -> &mut [T] {
        let length = self.take(address, length, size_of::<T>(), true);
        // SAFETY: as above, and nothing else taken in this call overlaps it.
        unsafe { core::slice::from_raw_parts_mut(self.place(address, length), length) }
    }

    /// Room of [`ROOM`] bytes that holds whatever an earlier call left there: what stands on the stack must be cleared first, which a
    /// small call feels. A call gets it once; then the empty slice.
    #[allow(clippy::mut_from_ref)]
    pub fn room<T: Plain>(&self) -> &mut [T] {
        #[cfg(target_arch = "wasm32")]
        let room = &THE_ROOM;
        #[cfg(not(target_arch = "wasm32"))]
        let room = &self.room;
        let length = if self.has_room.replace(false) { ROOM / size_of::<T>() } else { 0 };
        // SAFETY: aligned, any bits are a value, and it is lent to this call alone, which runs alone, and only once.
        unsafe { core::slice::from_raw_parts_mut(room.0.get().cast(), length) }
    }
}

#[cfg(not(target_arch = "wasm32"))]
std::thread_local! {
    static IMAGE: Cell<(*mut u8, usize)> = const { Cell::new((core::ptr::null_mut(), 0)) };
}

/// Goes through a loop in two halves: what the first gives, at most `N` times, is kept on the stack for the second, without clearing
/// room for it before.
#[inline(always)]
pub fn in_halves<T: Copy, const N: usize>(first: impl Iterator<Item = T>, mut second: impl FnMut(T)) {
    let mut kept = [const { MaybeUninit::<T>::uninit() }; N];
    let mut count = 0;
    for (to, from) in kept.iter_mut().zip(first) {
        to.write(from);
        count += 1;
    }
    for kept in kept.get(..count).unwrap_or(&[]) {
        // SAFETY: the first `count` were written above.
        second(unsafe { kept.assume_init() });
    }
}

/// The allocator of a core that allocates nothing: memory belongs to the TypeScript side.
pub struct NoHeap;

// SAFETY: it never hands out memory.
unsafe impl GlobalAlloc for NoHeap {
    unsafe fn alloc(&self, _: Layout) -> *mut u8 {
        core::ptr::null_mut()
    }
    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}
