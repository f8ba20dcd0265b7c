//! Contrastive losses: the softmax of a vector's cosines with all others.
//!
//! A few rows of products of unit vectors at a time; each row's exponentials serve its loss and its weights, and the weights go
//! into the gradients at once, so that no matrix of all pairs is kept. All in double precision: a temperature of 0.05 makes errors of
//! the cosines twenty times as large.
use super::many::{Many, Need};
use super::panels::{
    add_four, at, convert, in_panels, products, row, row_mut, set_size, Pool, Set, Tile, UNIT_FLOOR, WIDTH,
};
use crate::rowwise::softmax::{exponentials, multiply};
use lanes::{F64x2, Lanes};

/// Rows that are worked on at a time.
const ROWS: usize = 4;

/// How much scratch a call takes; there may be no second set.
pub fn need(rows: usize, columns: usize, length: usize) -> Need {
    let width = in_panels(rows.max(columns)) as f64;
    let (rows, columns) = (rows as f64, columns as f64);
    let sets = set_size(rows, length) + set_size(columns, length);
    let grads = (rows + columns) * (length + 1) as f64;
    Need { doubles: sets + grads + width * (2 * ROWS) as f64 + rows, ..Need::default() }
}

/// Vectors of length 1.
type Units<'a> = Set<'a, F64x2>;

/// Some rows of cosines over the temperature, and what becomes of them: the weight of each pair in the gradient.
struct Strip<'a> {
    logits: &'a mut [f64],
    weights: &'a mut [f64],
    width: usize,
    /// Whether a row has weights.
    live: [bool; ROWS],
    temperature: f64,
}

impl<'a> Strip<'a> {
    fn new(count: usize, temperature: f64, pool: &mut Pool<'a, f64>) -> Self {
        let width = in_panels(count);
        let [logits, weights] = [(); 2].map(|_| pool.take(width * ROWS));
        Self { logits, weights, width, live: [false; ROWS], temperature }
    }

    /// The cosines of the vectors of x from `first` on with all of y, over the temperature.
    #[inline(never)]
    fn fill(&mut self, x: &Units, first: usize, y: &Units) {
        let mut tile: Tile<f64> = [[0.0; WIDTH]; 4];
        for r in (0..ROWS).step_by(F64x2::COUNT) {
            for j in (0..y.count).step_by(WIDTH) {
                products::<F64x2>(x.lines_from(first + r), y.lines_from(j), x.length, &mut tile);
                for (k, line) in tile.iter().enumerate().take(F64x2::COUNT) {
                    convert(line, self.logits.get_mut((r + k) * self.width + j..).unwrap_or(&mut []));
                }
            }
        }
        multiply::<F64x2>(self.logits, 1.0 / self.temperature);
    }

    /// Softmax of row r without what is at `but`. Gives log sum exp; `share(j)` is what the target has at j, and `up` is what
    /// multiplies the weights.
    #[inline(never)]
    fn softmax(
        &mut self,
        r: usize,
        count: usize,
        but: Option<usize>,
        share: &dyn Fn(usize) -> f64,
        up: f64,
    ) -> f64 {
        let logits = row_mut(self.logits, r, self.width).get_mut(..count).unwrap_or(&mut []);
        let weights = row_mut(self.weights, r, self.width).get_mut(..count).unwrap_or(&mut []);
        if let Some(own) = but.and_then(|i| logits.get_mut(i)) {
            *own = -f64::INFINITY;
        }
        let e = exponentials::<F64x2>(logits, weights);
        for (j, w) in weights.iter_mut().enumerate() {
            *w = up * (*w / e.sum - share(j));
        }
        if let Some(live) = self.live.get_mut(r) {
            *live = true;
        }
        e.max + e.log()
    }

    /// Adds the weights times y to the gradient of x, and times x to that of y (or of x, where the two are one set).
    #[inline(never)]
    fn spread(
        &self,
        x: &Units,
        first: usize,
        y: &Units,
        grad_x: &mut [[f64; 2]],
        grad_y: Option<&mut [[f64; 2]]>,
    ) {
        let n = x.arrays;
        // what is not there, or has no weights, weighs nothing: one that has stands for it
        let Some(some) = self.live.iter().position(|&live| live) else { return };
        let live = |r: usize| self.live.get(r) == Some(&true);
        for r in (0..ROWS).filter(|&r| live(r)) {
            let to = row_mut(grad_x, first + r, n);
            for j in (0..y.count).step_by(4) {
                let vectors = [0, 1, 2, 3].map(|k| y.row((j + k).min(y.count - 1)));
                add_four(to, vectors, self.weights(r * self.width + j, 1));
            }
        }
        let vectors = [0, 1, 2, 3].map(|r| x.row(first + if live(r) { r } else { some }));
        for (j, to) in grad_y.unwrap_or(grad_x).chunks_exact_mut(n).enumerate() {
            add_four(to, vectors, self.weights(j, self.width));
        }
    }

    /// Four weights, so far from each other.
    #[inline(never)]
    fn weights(&self, first: usize, step: usize) -> [f64; 4] {
        [0, 1, 2, 3].map(|k| at(self.weights, first + k * step))
    }
}

/// The gradient with respect to vectors, from that with respect to the unit vectors: what is along them is lost.
#[inline(never)]
fn through_unit(set: &Units, grad: &[[f64; 2]], length: usize, scale: f64, to: &mut [f64]) {
    for (i, to) in to.chunks_exact_mut(length.max(1)).enumerate() {
        let (unit, grad) = (set.row(i).as_flattened(), row(grad, i, set.arrays).as_flattened());
        let norm = at(set.squares, i);
        // below the floor the vector was divided by a constant
        let along =
            if norm <= UNIT_FLOOR { 0.0 } else { unit.iter().zip(grad).fold(0.0, |sum, (u, g)| sum + u * g) };
        for (to, (unit, grad)) in to.iter_mut().zip(unit.iter().zip(grad)) {
            *to = (grad - along * unit) * scale / norm;
        }
    }
}

/// A gradient of so many vectors in scratch, or none.
fn gradient<'a>(wanted: bool, set: &Units, pool: &mut Pool<'a, f64>) -> &'a mut [[f64; 2]] {
    let (grad, _) = pool.take(if wanted { set.count * set.arrays * 2 } else { 0 }).as_chunks_mut();
    grad.fill([0.0; 2]);
    grad
}

/// -1/|P| sum over p in P of log softmax over all others of (x_i x_a / temperature), at p.
pub fn supervised_contrastive(m: &mut Many<f64>) -> f64 {
    let [temperature, mean, ..] = m.p;
    let n = m.rows;
    let mut pool = Pool::new(&mut *m.doubles);
    let set = Set::<F64x2>::pack(m.a, n, m.length, true, &mut pool);
    let grad = gradient(!m.grad_a.is_empty(), &set, &mut pool);
    let losses = pool.take(n);
    let mut strip = Strip::new(n, temperature, &mut pool);
    let mut counted = 0.0;
    for first in (0..n).step_by(ROWS) {
        strip.fill(&set, first, &set);
        counted += supervised_rows(&mut strip, first, m.labels, m.upstream, losses);
        if !grad.is_empty() {
            strip.spread(&set, first, &set, grad, None);
        }
    }
    let scale = if mean == 1.0 && counted > 0.0 { m.scale / counted } else { m.scale };
    through_unit(&set, grad, m.length, scale, m.grad_a);
    for to in m.stats.iter_mut() {
        *to = counted;
    }
    convert(losses, m.values);
    losses.iter().sum()
}

/// Some rows of [`supervised_contrastive`]. Gives how many of them count.
#[inline(never)]
fn supervised_rows(strip: &mut Strip, first: usize, labels: &[i32], up: &[f64], losses: &mut [f64]) -> f64 {
    let n = labels.len();
    let mut counted = 0.0;
    strip.live = [false; ROWS];
    strip.weights.fill(0.0);
    for r in 0..ROWS.min(n - first) {
        let i = first + r;
        let positive = |j: usize| j != i && labels.get(j) == labels.get(i);
        let (mut positives, mut near) = (0.0, 0.0);
        for (j, x) in row(strip.logits, r, strip.width).iter().enumerate().take(n) {
            if positive(j) {
                positives += 1.0;
                near += x;
            }
        }
        let mut loss = 0.0;
        if positives > 0.0 {
            let share = |j: usize| if positive(j) { 1.0 / positives } else { 0.0 };
            let up = up.get(i).unwrap_or(&1.0) / strip.temperature;
            loss = strip.softmax(r, n, Some(i), &share, up) - near / positives;
            counted += 1.0;
        }
        if let Some(to) = losses.get_mut(i) {
            *to = loss;
        }
    }
    counted
}

/// Cross-entropy of the cosines of each query with all keys, the key beside it being the class; symmetric: the mean of that and of the
/// same with queries and keys exchanged.
pub fn info_nce(m: &mut Many<f64>) -> f64 {
    let [temperature, symmetric, ..] = m.p;
    let n = m.rows;
    let mut pool = Pool::new(&mut *m.doubles);
    let queries = Set::<F64x2>::pack(m.a, n, m.length, true, &mut pool);
    let keys = Set::<F64x2>::pack(m.b, n, m.length, true, &mut pool);
    let grad_a = gradient(!m.grad_a.is_empty(), &queries, &mut pool);
    let grad_b = gradient(!m.grad_b.is_empty(), &keys, &mut pool);
    let losses = pool.take(n);
    losses.fill(0.0);
    let mut strip = Strip::new(n, temperature, &mut pool);
    let part = if symmetric == 1.0 { 0.5 } else { 1.0 };
    let mut way = (&queries, &keys, &mut *grad_a, &mut *grad_b);
    for _ in 0..if symmetric == 1.0 { 2 } else { 1 } {
        let (x, y, grad_x, grad_y) = way;
        for first in (0..n).step_by(ROWS) {
            strip.fill(x, first, y);
            info_nce_rows(&mut strip, first, n, part, part * m.scale, m.upstream, losses);
            if !(grad_x.is_empty() && grad_y.is_empty()) {
                strip.spread(x, first, y, grad_x, Some(grad_y));
            }
        }
        way = (y, x, grad_y, grad_x);
    }
    through_unit(&queries, grad_a, m.length, 1.0, m.grad_a);
    through_unit(&keys, grad_b, m.length, 1.0, m.grad_b);
    convert(losses, m.values);
    losses.iter().sum()
}

/// Some rows of [`info_nce`].
#[inline(never)]
fn info_nce_rows(
    strip: &mut Strip,
    first: usize,
    n: usize,
    part: f64,
    scale: f64,
    up: &[f64],
    losses: &mut [f64],
) {
    strip.live = [false; ROWS];
    strip.weights.fill(0.0);
    for r in 0..ROWS.min(n - first) {
        let i = first + r;
        let own = at(strip.logits, r * strip.width + i);
        let share = |j: usize| if j == i { 1.0 } else { 0.0 };
        let up = scale * up.get(i).unwrap_or(&1.0) / strip.temperature;
        let log_sum = strip.softmax(r, n, None, &share, up);
        if let Some(to) = losses.get_mut(i) {
            *to += part * (log_sum - own);
        }
    }
}
