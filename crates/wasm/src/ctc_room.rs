//! CTC: how a call's scratch is divided.
use kernels::ctc::Need;

/// Where doubles, reals and indices stand in scratch: each at a multiple of 16.
pub(crate) fn places(scratch: usize, need: Need, real: usize) -> [usize; 3] {
    let next =
        |at: usize, bytes: usize| at.saturating_add(bytes).checked_next_multiple_of(16).unwrap_or(usize::MAX);
    let reals = next(scratch, need.doubles.saturating_mul(8));
    let indices = next(reals, need.reals.saturating_mul(real));
    [scratch, reals, indices]
}

/// How much that is.
pub(crate) fn bytes(need: Need, real: usize) -> usize {
    let [_, _, indices] = places(0, need, real);
    indices.saturating_add(need.indices.saturating_mul(4))
}
