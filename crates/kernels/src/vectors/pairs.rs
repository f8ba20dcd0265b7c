//! Functions and losses of two vectors.
use super::measures::{Measure, Measured};
use super::Row;
use lanes::{Lanes, Real};

/// ||x1 - x2 + eps||_p.
pub fn pairwise_distance<L: Lanes>(row: &mut Row<L::Scalar>) -> f64 {
    let [p, eps, ..] = row.p;
    plain::<L>(row, Measure::Norm { p, eps })
}

/// x1 x2 / (|x1| |x2|).
pub fn cosine_similarity<L: Lanes>(row: &mut Row<L::Scalar>) -> f64 {
    plain::<L>(row, Measure::Cosine)
}

/// 1 - cos where the two are alike, else max(0, cos - margin); at the kink the slope is 1.
pub fn cosine_embedding_loss<L: Lanes>(row: &mut Row<L::Scalar>) -> f64 {
    let [margin, ..] = row.p;
    let [x, y, _] = row.x;
    let cos = Measure::SmoothCosine.of::<L>(x, y);
    if row.alike {
        gradients::<L>(row, &cos, -row.scale);
        return 1.0 - cos.value;
    }
    let beyond = cos.value - margin;
    if beyond < 0.0 {
        row.grads.iter_mut().for_each(|grad| grad.fill(L::Scalar::ZERO));
        return 0.0;
    }
    gradients::<L>(row, &cos, row.scale);
    beyond
}

/// A measure, as it is.
fn plain<L: Lanes>(row: &mut Row<L::Scalar>, measure: Measure) -> f64 {
    let [x, y, _] = row.x;
    let measured = measure.of::<L>(x, y);
    gradients::<L>(row, &measured, row.scale);
    measured.value
}

/// Writes those that are wanted of the two gradients.
fn gradients<L: Lanes>(row: &mut Row<L::Scalar>, measured: &Measured, by: f64) {
    let [x, y, _] = row.x;
    let [to_x, to_y, _] = &mut row.grads;
    measured.pull::<L>(by, [x, y], [to_x, to_y], [false; 2]);
}
