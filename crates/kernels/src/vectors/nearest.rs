//! The nearest of many vectors to each query, exactly.
//!
//! The queries are packed once; what is searched streams by, eight vectors at a time, packed into one panel. Their products
//! with all queries, of 16-bit numbers ([`super::bounds`]), bound how near they can be, and one comparison of vectors against the
//! worst that a query keeps passes nearly all of them over. The others wait, and their bounds from above already count: of k vectors
//! that are certainly as near as that, the worst is what the next ones are compared with. So about k of them are left in the end;
//! those, or as many as there is room for where vectors are too much alike, are measured in double precision, number by number, and
//! what comes out, ties included, does not hang on how products round.
//!
//! A query keeps k in a heap, the worst on top: those that were measured, and in place of others their bounds.
use super::bounds::{bound, shifted, size, Bounds, Metric, Parts, Source};
use super::many::{Many, Need};
use super::panels::{
    at, convert, groups_from, in_groups, in_panels, row, row_mut, rows_of_mut, square_of, Group, Pool,
    SqrtOf, WIDTH,
};
use super::quantised::{lines, products};
use lanes::{F32x4, I32x4, Ints, Lanes, Mask, Real};

/// The sums of what `f` makes of pairs of numbers, of one vector and each of four, in their order; four at a time, since each addition
/// waits for the one before.
#[inline(always)]
fn sums([a, b0, b1, b2, b3]: [&[f64]; 5], f: impl Fn(f64, f64) -> f64) -> [f64; 4] {
    let mut sums = [0.0; 4];
    for ((((a, b0), b1), b2), b3) in a.iter().zip(b0).zip(b1).zip(b2).zip(b3) {
        for (sum, b) in sums.iter_mut().zip([b0, b1, b2, b3]) {
            *sum += f(*a, *b);
        }
    }
    sums
}

/// The distances of the first of five vectors and each of the others in double precision.
#[inline(never)]
fn distances(metric: Metric, x: [&[f64]; 5]) -> [f64; 4] {
    if metric == Metric::Euclidean {
        return sums(x, |a, b| (a - b) * (a - b)).map(f64::sqrt_of);
    }
    let mut dots = sums(x, |a, b| a * b);
    let norm = |x: &[f64]| square_of(x).sqrt_of().max(1e-8);
    let [a, others @ ..] = x;
    for (dot, b) in dots.iter_mut().zip(others) {
        *dot = if metric == Metric::Dot { -*dot } else { 1.0 - *dot / (norm(a) * norm(b)) };
    }
    dots
}

/// How many of `count` vectors wait at most.
fn room(count: f64, k: f64) -> f64 {
    (2.0 * k + 8.0).min(count)
}

/// How much scratch [`nearest`] takes.
pub fn need(rows: usize, columns: usize, length: usize, k: f64) -> Need {
    let (count, padded) = (rows as f64, in_panels(rows) as f64);
    let waiting = count * room(columns as f64, k);
    Need {
        singles: size(length) as f64 + 3.0 * padded + waiting,
        doubles: count * k + 5.0 * length as f64,
        ints: (padded + WIDTH as f64) * in_groups(lines(length)) as f64
            + WIDTH as f64
            + waiting
            + 2.0 * count,
        ..Need::default()
    }
}

/// Whether a comes after b: farther, or as far and behind it. What is NaN counts as infinitely far.
fn worse(a: (f64, i32), b: (f64, i32)) -> bool {
    let rank = |d: f64| if d.is_nan() { f64::INFINITY } else { d };
    rank(a.0) > rank(b.0) || (rank(a.0) == rank(b.0) && a.1 > b.1)
}

/// The nearest of one query: a heap of distances and places, of which `count` are taken. Where the distance is a bound the place stands
/// with all bits turned, as a negative number.
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
    let of = |second: bool, i: usize| row(if second { b } else { a }, i, length);
    search(
        metric,
        [n, m.columns, length, k as usize],
        (&mut *m.singles, &mut *m.doubles, &mut *m.indices, &mut *m.ints),
        Source {
            singles: [R::singles(a), R::singles(b)],
            read: &|second, i, factor, centre, to| shifted(of(second, i), factor, centre, to),
            read_double: &|second, i, to| convert(of(second, i), to),
        },
    );
    convert(m.doubles, m.values);
    0.0
}

/// Where a search works: numbers in single precision, of each query the distances and places, and integers.
type Room<'a> = (&'a mut [f32], &'a mut [f64], &'a mut [i32], &'a mut [i32]);

/// [`nearest`], one copy of the code for both precisions.
#[inline(never)]
fn search(
    metric: Metric,
    [n, count, length, k]: [usize; 4],
    (singles, doubles, index, ints): Room,
    source: Source,
) {
    let (mut singles, mut doubles, mut ints) = (Pool::new(singles), Pool::new(doubles), Pool::new(ints));
    let high = in_groups(lines(length)) * WIDTH;
    let mut bounds = Bounds::new(metric, source, [count, length], singles.take(size(length)));
    let queries = ints.take(in_panels(n) * high / WIDTH + WIDTH);
    let [base, factor, worst] = [(); 3].map(|()| singles.take(in_panels(n)));
    let of = base.as_chunks_mut().0.iter_mut().zip(factor.as_chunks_mut().0);
    for ((i, panel), (base, factor)) in rows_of_mut(queries, high).enumerate().zip(of) {
        (*base, *factor) = bounds.pack(false, [i * WIDTH, n], panel);
    }
    // until a query keeps k nothing is passed over: no comparison with NaN holds
    worst.fill(f32::NAN);
    let [kept, waiting] = [(); 2].map(|()| ints.take(n));
    kept.fill(0);
    waiting.fill(0);
    let panel = ints.take(high);
    let size = room(count as f64, k as f64) as usize;
    let least = singles.take(n * size);
    let place = ints.take(n * size);
    let (distance, rows) = (doubles.take(n * k), doubles.take(5 * length));
    let mut search = Search {
        metric,
        bounds: &mut bounds,
        k,
        size,
        base,
        factor,
        worst,
        distance,
        index,
        kept,
        least,
        place,
        waiting,
        rows,
        length,
    };
    for first in (0..count).step_by(WIDTH) {
        let parts = search.bounds.pack(true, [first, count], panel);
        let panel = panel.as_chunks().0.as_chunks().0;
        search.panel(queries, panel, &parts, [n, first, count]);
    }
    for i in 0..n {
        search.sift(i);
        search.settle(i);
        search.heap(i).sort(k);
    }
}

/// What is kept while the index streams by.
struct Search<'a, 'b> {
    metric: Metric,
    length: usize,
    bounds: &'a mut Bounds<'b>,
    k: usize,
    /// How many wait at most.
    size: usize,
    /// Of each query: what its bounds are made of, and the worst that it keeps.
    base: &'a [f32],
    factor: &'a [f32],
    worst: &'a mut [f32],
    /// The heaps, and how many each holds.
    distance: &'a mut [f64],
    index: &'a mut [i32],
    kept: &'a mut [i32],
    /// Those that wait: how near they can be, which they are, and how many.
    least: &'a mut [f32],
    place: &'a mut [i32],
    waiting: &'a mut [i32],
    /// Room for five vectors.
    rows: &'a mut [f64],
}

impl Search<'_, '_> {
    fn heap(&mut self, i: usize) -> Heap<'_> {
        Heap { distance: row_mut(self.distance, i, self.k), index: row_mut(self.index, i, self.k) }
    }

    /// Looks at up to eight vectors, from `start` on.
    #[inline(never)]
    fn panel(&mut self, queries: &[i32], panel: &[Group<i32>], parts: &Parts, [n, start, end]: [usize; 3]) {
        let (mut tile, mut least) = ([[0; WIDTH]; 4], [[0.0; WIDTH]; 4]);
        let high = panel.len() * panel.first().map_or(0, |group| group.len());
        for first in (0..n).step_by(F32x4::COUNT) {
            let a = groups_from(queries, high, first, high);
            products(a, panel, lines(self.length), self.bounds.slack as i32, &mut tile);
            let rows = self.base.iter().zip(self.factor).zip(self.worst.iter()).skip(first);
            let mut beyond = F32x4::zero().eq(F32x4::zero());
            for ((line, least), ((base, factor), worst)) in tile.iter().zip(&mut least).zip(rows) {
                let [base, factor, worst] = [base, factor, worst].map(|x| F32x4::splat(*x));
                let others = F32x4::chunks(&parts.0).0.iter().zip(F32x4::chunks(&parts.1).0);
                for ((to, x), (b, f)) in
                    F32x4::chunks_mut(least).0.iter_mut().zip(line.as_chunks().0).zip(others)
                {
                    let product = I32x4::from_array(*x);
                    let bound = bound(product, [base, factor], [b, f].map(F32x4::from_array));
                    bound.store(to);
                    beyond = beyond & worst.le(bound);
                }
            }
            if !beyond.all() {
                for (r, least) in least.iter().enumerate().take(n - first) {
                    self.meet(first + r, least, parts, [start, end]);
                }
            }
        }
    }

    /// Has those wait that may be nearer than the worst that a query keeps.
    #[inline(never)]
    fn meet(&mut self, i: usize, least: &[f32; WIDTH], (_, factors): &Parts, [start, end]: [usize; 2]) {
        let worst = F32x4::splat(at(self.worst, i));
        let nearer = F32x4::chunks(least).0.iter().any(|x| !worst.le(F32x4::from_array(x)).all());
        let count = if nearer { end - start } else { 0 };
        for (c, least) in least.iter().enumerate().take(count) {
            if at(self.worst, i) <= *least {
                continue;
            }
            let j = (start + c) as i32;
            let most = self.bounds.most(*least, [at(self.factor, i), at(factors, c)]);
            if most < f64::INFINITY {
                self.keep(i, (most, !j));
            }
            let waiting = self.waiting.get(i).map_or(0, |&count| count as usize);
            let at = i * self.size + waiting;
            if let (Some(to), Some(place)) = (self.least.get_mut(at), self.place.get_mut(at)) {
                (*to, *place) = (*least, j);
            }
            if let Some(to) = self.waiting.get_mut(i) {
                *to += 1;
            }
            if waiting + 1 >= self.size && self.sift(i) > self.size / 4 * 3 {
                self.settle(i);
            }
        }
    }

    /// Puts one into the heap of a query.
    #[inline(never)]
    fn keep(&mut self, i: usize, one: (f64, i32)) {
        let count = self.kept.get(i).map_or(0, |&count| count as usize);
        let k = self.k;
        let mut heap = self.heap(i);
        if count < k {
            heap.push(count, one);
        } else if worse(heap.get(0), one) {
            heap.replace(k, one);
        }
        let (d, _) = heap.get(0);
        if let Some(to) = self.kept.get_mut(i) {
            *to = (count + 1).min(k) as i32;
        }
        if count + 1 >= k {
            let d = if d.is_nan() { f64::INFINITY } else { d };
            let limit = self.bounds.limit(d);
            if let Some(to) = self.worst.get_mut(i) {
                *to = limit;
            }
        }
    }

    /// Passes over those that wait and are too far by now; how many are left.
    #[inline(never)]
    fn sift(&mut self, i: usize) -> usize {
        let worst = at(self.worst, i);
        let waiting = self.waiting.get(i).map_or(0, |&count| count as usize);
        let (least, place) = (row_mut(self.least, i, self.size), row_mut(self.place, i, self.size));
        let mut left = 0;
        for from in 0..waiting {
            let (Some(&bound), Some(&j)) = (least.get(from), place.get(from)) else { continue };
            if worst <= bound {
                continue;
            }
            if let (Some(to), Some(place)) = (least.get_mut(left), place.get_mut(left)) {
                (*to, *place) = (bound, j);
            }
            left += 1;
        }
        if let Some(to) = self.waiting.get_mut(i) {
            *to = left as i32;
        }
        left
    }

    /// Measures all that wait.
    #[inline(never)]
    fn settle(&mut self, i: usize) {
        // what has been measured stays, bounds give way to distances
        let kept = self.kept.get_mut(i).map_or(0, core::mem::take);
        for j in 0..kept as usize {
            let one = self.heap(i).get(j);
            if one.1 >= 0 {
                self.keep(i, one);
            }
        }
        let waiting = self.waiting.get_mut(i).map_or(0, core::mem::take) as usize;
        let length = self.length;
        (self.bounds.source.read_double)(false, i, row_mut(self.rows, 0, length));
        for first in (0..waiting).step_by(4) {
            // the last one again where there are no four
            let places = [0, 1, 2, 3].map(|r| {
                let at = i * self.size + (first + r).min(waiting - 1);
                self.place.get(at).copied().unwrap_or(0)
            });
            for (r, j) in places.iter().enumerate() {
                (self.bounds.source.read_double)(true, *j as usize, row_mut(self.rows, r + 1, length));
            }
            let rows = [0, 1, 2, 3, 4].map(|r| row(self.rows, r, length));
            let distances = distances(self.metric, rows);
            for one in distances.into_iter().zip(places).take(waiting - first) {
                self.keep(i, one);
            }
        }
    }
}
