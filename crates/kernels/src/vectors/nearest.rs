//! The nearest of many vectors to each query, exactly.
//!
//! The queries are packed once; what is searched streams by, eight vectors at a time, packed into one panel. Their products
//! with all queries, in single precision, bound how near they can be ([`super::panels`]), and one comparison of vectors against the worst
//! that a query keeps passes nearly all of them over. Those that are left are measured in double precision, number by number, so
//! what comes out, ties included, does not hang on how products round. A query keeps its nearest in a heap, the worst on top.
use super::many::{Many, Need};
use super::panels::{
    at, bound, convert, in_groups, in_panels, pack_panel, products, row, row_mut, set_size, square_of, Group,
    Pool, Set, SqrtOf, Tile, RUN, WIDTH,
};
use lanes::{F32x4, Lanes, Mask, Real};

/// How far two vectors are apart.
#[derive(Clone, Copy, PartialEq)]
enum Metric {
    Euclidean,
    Cosine,
    Dot,
}

impl Metric {
    /// The distance in double precision.
    #[inline(never)]
    fn distance<R: Real>(self, a: &[R], b: &[R]) -> f64 {
        let pairs = a.iter().zip(b).map(|(a, b)| (a.to_f64(), b.to_f64()));
        if self == Metric::Euclidean {
            return pairs.fold(0.0, |sum, (a, b)| sum + (a - b) * (a - b)).sqrt_of();
        }
        let dot = pairs.fold(0.0, |sum, (a, b)| sum + a * b);
        if self == Metric::Dot {
            return -dot;
        }
        let norm = |x: &[R]| square_of(x).sqrt_of().max(1e-8);
        1.0 - dot / (norm(a) * norm(b))
    }

    /// The numbers (base, factor) of a vector for which `base + base' - factor factor' product` is at most the distance
    /// that is compared (Euclidean: its square), whatever the product rounds. NaN where products cannot be trusted.
    #[inline(never)]
    fn parts(self, square: f32, query: bool, arrays: usize) -> (f32, f32) {
        // the squares of a panel are added up as products are, and may be off by as much
        let e = 2.0 * bound::<F32x4>(arrays);
        let square = f64::from(square);
        let (base, factor) = match self {
            Metric::Euclidean => (square * (1.0 - e), if query { 2.0 } else { 1.0 }),
            Metric::Dot => (-square * e, 1.0),
            Metric::Cosine => {
                let norm = square.sqrt_of();
                // shorter vectors than that are divided by a constant
                (if query { 1.0 - 4.0 * e } else { 0.0 }, if norm > 2e-8 { 1.0 / norm } else { f64::NAN })
            }
        };
        (base as f32, factor as f32)
    }
}

/// How much scratch [`nearest`] takes.
pub fn need(rows: usize, length: usize, k: f64) -> Need {
    let panel = (in_groups(length) + length) * WIDTH;
    let (numbers, padded) = (rows as f64 * length as f64, in_panels(rows) as f64);
    let singles = set_size(rows as f64, length) + numbers + panel as f64 + 3.0 * padded;
    Need { singles, doubles: rows as f64 * k, ints: rows as f64, ..Need::default() }
}

/// Whether a comes after b: farther, or as far and behind it. What is NaN counts as infinitely far.
fn worse(a: (f64, i32), b: (f64, i32)) -> bool {
    let rank = |d: f64| if d.is_nan() { f64::INFINITY } else { d };
    rank(a.0) > rank(b.0) || (rank(a.0) == rank(b.0) && a.1 > b.1)
}

/// The nearest of one query: a heap of distances and places, of which `count` are taken.
struct Heap<'a> {
    distance: &'a mut [f64],
    index: &'a mut [i32],
}

impl Heap<'_> {
    fn get(&self, i: usize) -> (f64, i32) {
        (at(self.distance, i), self.index.get(i).copied().unwrap_or(0))
    }
    fn set(&mut self, i: usize, (distance, index): (f64, i32)) {
        if let (Some(d), Some(j)) = (self.distance.get_mut(i), self.index.get_mut(i)) {
            (*d, *j) = (distance, index);
        }
    }
    /// Puts one in at the end.
    #[inline(never)]
    fn push(&mut self, count: usize, one: (f64, i32)) {
        let mut i = count;
        while i > 0 {
            let parent = (i - 1) / 2;
            if !worse(one, self.get(parent)) {
                break;
            }
            self.set(i, self.get(parent));
            i = parent;
        }
        self.set(i, one);
    }
    /// Puts one in place of the worst of `count`.
    #[inline(never)]
    fn replace(&mut self, count: usize, one: (f64, i32)) {
        let mut i = 0;
        loop {
            let mut child = 2 * i + 1;
            if child >= count {
                break;
            }
            if child + 1 < count && worse(self.get(child + 1), self.get(child)) {
                child += 1;
            }
            if !worse(self.get(child), one) {
                break;
            }
            self.set(i, self.get(child));
            i = child;
        }
        self.set(i, one);
    }
    /// Sorts, the nearest first.
    fn sort(&mut self, count: usize) {
        for end in (1..count).rev() {
            let (last, worst) = (self.get(end), self.get(0));
            self.replace(end, last);
            self.set(end, worst);
        }
    }
}

/// The k nearest of `b` to each of `a`. Gives 0.
pub fn nearest<R: Real>(m: &mut Many<R>) -> f64 {
    let (n, length) = (m.rows, m.length);
    let [k, metric, ..] = m.p;
    let metric = if metric == 0.0 {
        Metric::Euclidean
    } else if metric == 1.0 {
        Metric::Cosine
    } else {
        Metric::Dot
    };
    let Many { a, b, .. } = *m;
    let size = [n, m.columns, length, k as usize];
    search(
        metric,
        size,
        (&mut *m.singles, &mut *m.doubles, &mut *m.indices, &mut *m.ints),
        &|second, first, to| {
            let x = if second { b } else { a };
            convert(x.get(first * length..).unwrap_or(&[]), to);
        },
        &|i, j| metric.distance(row(a, i, length), row(b, j, length)),
    );
    convert(m.doubles, m.values);
    0.0
}

/// Where a search works: its sets in single precision, and of each query the distances and places, and how many these are.
type Room<'a> = (&'a mut [f32], &'a mut [f64], &'a mut [i32], &'a mut [i32]);

/// [`nearest`], one copy of the code for both precisions: `read(second, first)` gives vectors of a set from the first on, `measure(i, j)`
/// the distance of a query and a vector.
#[inline(never)]
fn search(
    metric: Metric,
    [n, count, length, k]: [usize; 4],
    (singles, doubles, indices, ints): Room,
    read: &dyn Fn(bool, usize, &mut [f32]),
    measure: &dyn Fn(usize, usize) -> f64,
) {
    let mut pool = Pool::new(singles);
    let rounded = pool.take(n * length);
    read(false, 0, rounded);
    let set = Set::<F32x4>::pack(rounded, n, length, &mut pool);
    let mut search = Search::new(&set, metric, k, &mut pool, doubles, indices, ints);
    let items = pool.take(WIDTH * length);
    for first in (0..count).step_by(WIDTH) {
        let items = items.get_mut(..WIDTH.min(count - first) * length).unwrap_or(&mut []);
        read(true, first, items);
        search.panel(items, length, first, measure);
    }
    search.sort();
}

/// What is kept while the index streams by.
struct Search<'a> {
    set: &'a Set<'a, F32x4>,
    metric: Metric,
    k: usize,
    /// The panel.
    lines: &'a mut [Group<f32>],
    /// Of each query: what its bounds are made of, and the worst that it keeps.
    base: &'a mut [f32],
    factor: &'a mut [f32],
    worst: &'a mut [f32],
    /// The heaps, and how many each holds.
    distance: &'a mut [f64],
    index: &'a mut [i32],
    count: &'a mut [i32],
}

impl<'a> Search<'a> {
    fn new(
        set: &'a Set<'a, F32x4>,
        metric: Metric,
        k: usize,
        pool: &mut Pool<'a, f32>,
        distance: &'a mut [f64],
        index: &'a mut [i32],
        count: &'a mut [i32],
    ) -> Self {
        let (lines, _) = pool.take(in_groups(set.length) * WIDTH).as_chunks_mut();
        let (lines, _) = lines.as_chunks_mut();
        let [base, factor, worst] = [(); 3].map(|_| pool.take(in_panels(set.count)));
        for ((base, factor), square) in base.iter_mut().zip(factor.iter_mut()).zip(set.squares) {
            (*base, *factor) = metric.parts(*square, true, set.arrays);
        }
        // until a query keeps k nothing is passed over: no comparison with NaN holds
        worst.fill(f32::NAN);
        count.fill(0);
        Self { set, metric, k, lines, base, factor, worst, distance, index, count }
    }

    fn heap(&mut self, i: usize) -> Heap<'_> {
        Heap { distance: row_mut(self.distance, i, self.k), index: row_mut(self.index, i, self.k) }
    }

    /// Looks at up to eight vectors, from `start` on.
    #[inline(never)]
    fn panel(&mut self, items: &[f32], length: usize, start: usize, measure: &dyn Fn(usize, usize) -> f64) {
        pack_panel::<F32x4>(items, length, self.lines.as_flattened_mut());
        let parts = squares(self.lines.as_flattened())
            .map(|square| self.metric.parts(square, false, self.set.arrays));
        let (bases, factors) = (parts.map(|(base, _)| base), parts.map(|(_, factor)| factor));
        let mut tile: Tile<f32> = [[0.0; WIDTH]; 4];
        for first in (0..self.set.count).step_by(F32x4::COUNT) {
            products::<F32x4>(self.set.lines_from(first), self.lines, self.set.length, &mut tile);
            for (r, line) in tile.iter().enumerate().take(self.set.count - first) {
                let i = first + r;
                let here = |s: &[f32]| F32x4::splat(at(s, i));
                let (base, factor, worst) = (here(self.base), here(self.factor), here(self.worst));
                let mut beyond = F32x4::zero().eq(F32x4::zero());
                let mut least = [0.0; WIDTH];
                let others = F32x4::chunks(&bases).0.iter().zip(F32x4::chunks(&factors).0);
                for ((to, x), (b, f)) in
                    F32x4::chunks_mut(&mut least).0.iter_mut().zip(F32x4::chunks(line).0).zip(others)
                {
                    let product = (factor * F32x4::from_array(f)) * F32x4::from_array(x);
                    let bound = (base + F32x4::from_array(b)) - product;
                    bound.store(to);
                    beyond = beyond & worst.le(bound);
                }
                if !beyond.all() {
                    self.meet(i, &least, start, items.len() / length, measure);
                }
            }
        }
    }

    /// Compares what may be nearer than the worst that a query keeps.
    #[inline(never)]
    fn meet(
        &mut self,
        i: usize,
        least: &[f32; WIDTH],
        start: usize,
        items: usize,
        measure: &dyn Fn(usize, usize) -> f64,
    ) {
        for (c, least) in least.iter().enumerate().take(items) {
            let worst = at(self.worst, i);
            if worst <= *least {
                continue;
            }
            let one = (measure(i, start + c), (start + c) as i32);
            let count = self.count.get(i).map_or(0, |&count| count as usize);
            let k = self.k;
            let mut heap = self.heap(i);
            if count < k {
                heap.push(count, one);
            } else if worse(heap.get(0), one) {
                heap.replace(k, one);
            }
            let (d, _) = heap.get(0);
            if let Some(to) = self.count.get_mut(i) {
                *to = (count + 1).min(k) as i32;
            }
            if count + 1 >= k {
                let d = if d.is_nan() { f64::INFINITY } else { d };
                let limit = if self.metric == Metric::Euclidean { d * d } else { d };
                if let Some(to) = self.worst.get_mut(i) {
                    // rounded up
                    *to = (limit + limit.abs() * 1e-6) as f32;
                }
            }
        }
    }

    fn sort(&mut self) {
        let k = self.k;
        for i in 0..self.set.count {
            self.heap(i).sort(k);
        }
    }
}

/// |x|² of each vector of a panel, NaN where products with it cannot be trusted.
#[inline(never)]
fn squares(lines: &[[f32; WIDTH]]) -> [f32; WIDTH] {
    let mut total = [F32x4::zero(); 2];
    for lines in lines.chunks(RUN) {
        let mut sum = [F32x4::zero(); 2];
        for line in lines {
            for (sum, x) in sum.iter_mut().zip(F32x4::chunks(line).0) {
                let x = F32x4::from_array(x);
                *sum = *sum + x * x;
            }
        }
        for (total, sum) in total.iter_mut().zip(sum) {
            *total = *total + sum;
        }
    }
    let mut squares = [0.0; WIDTH];
    for (to, total) in F32x4::chunks_mut(&mut squares).0.iter_mut().zip(total) {
        total.store(to);
    }
    squares.map(|square| if square > 1e-28 && square < 1e36 { square } else { f32::NAN })
}
