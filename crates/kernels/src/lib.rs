//! The losses: slices in, slices out, nothing allocated.
//!
//! One file or folder per family. A family has one driver, which does blocks, tails, weights, reductions and the upstream
//! gradient once; a loss adds what happens to one element, one row or one pair. Every kernel is generic over
//! [`lanes::Lanes`], so single and double precision are one text.
#![no_std]
#![forbid(unsafe_code)]

pub mod ctc;
pub mod energy;
pub mod pointwise;
pub mod rowwise;
pub mod vectors;
