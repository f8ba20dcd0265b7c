//! The door: what JavaScript can call. One export per call shape and precision, numbers only, no mathematics.
//!
//! Addresses are bytes into the core's memory, 0 where there is nothing. They become slices through
//! [`lanes::memory::Memory`], which checks each one; an array that does not fit reaches the kernels empty, and kernels do
//! nothing with what is empty.
//!
//! Each family is a feature, and built alone it is a module of its own; all of them work on one memory (build.rs).
#![cfg_attr(all(target_arch = "wasm32", target_feature = "simd128"), no_std)]

#[cfg(feature = "ctc")]
pub mod ctc;
#[cfg(feature = "align")]
pub mod ctc_align;
#[cfg(any(feature = "ctc", feature = "align"))]
mod ctc_room;
#[cfg(any(feature = "pointwise", feature = "vectors"))]
pub mod domain;
#[cfg(feature = "energy")]
pub mod energy;
#[cfg(feature = "pointwise")]
pub mod pointwise;
#[cfg(feature = "rowwise")]
pub mod rowwise;
#[cfg(feature = "vectors")]
pub mod vectors;
#[cfg(feature = "many")]
pub mod vectors_many;

/// Nothing is formatted: a panic would be a trap, but scripts/build.mjs refuses a core that can panic.
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    core::arch::wasm32::unreachable()
}

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
#[global_allocator]
static HEAP: lanes::memory::NoHeap = lanes::memory::NoHeap;

#[cfg(all(
    test,
    feature = "pointwise",
    feature = "rowwise",
    feature = "vectors",
    feature = "many",
    feature = "ctc",
    feature = "align",
    feature = "energy"
))]
mod replay;
