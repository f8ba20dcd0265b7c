//! Functions and losses of two vectors.
use super::measures::{Measure, Measured};
use super::Row;
use lanes::Lanes;

/// ||x1 - x2 + eps||_p.
pub fn pairwise_distance([p, eps, ..]: [f64; 4]) -> Measure {
    Measure::Norm { p, eps }
}

/// x1 x2 / (|x1| |x2|).
pub fn cosine_similarity() -> Measure {
    Measure::Cosine
}

/// A measure, as it is.
pub fn plain<L: Lanes>(row: &mut Row<L::Scalar>, [measured, ..]: &[Measured; 3]) -> f64 {
    gradients::<L>(row, measured, row.scale);
    measured.value
}

/// 1 - cos where the two are alike, else max(0, cos - margin); at the kink the slope is 1.
pub fn cosine_embedding_loss<L: Lanes>(row: &mut Row<L::Scalar>, [cos, ..]: &[Measured; 3]) -> f64 {
    if row.alike {
        gradients::<L>(row, cos, -row.scale);
        return 1.0 - cos.value;
    }
    let [margin, ..] = row.p;
    let beyond = cos.value - margin;
    // then the cosine is finite, and so are its slopes: 0 times one is 0
    let is_apart = beyond < 0.0;
    gradients::<L>(row, cos, if is_apart { 0.0 } else { row.scale });
    if is_apart {
        0.0
    } else {
        beyond
    }
}

/// Writes those that are wanted of the two gradients.
fn gradients<L: Lanes>(row: &mut Row<L::Scalar>, measured: &Measured, by: f64) {
    let [x, y, _] = row.x;
    let [to_x, to_y, _] = &mut row.grads;
    measured.pull::<L>(by, [x, y], row.length, [to_x, to_y], [false; 2]);
}
