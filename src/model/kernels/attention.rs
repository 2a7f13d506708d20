//! Attention within one sequence (Vaswani et al., 2017, arXiv:1706.03762), without padding and without a mask.

use super::lanes::Lanes;
use super::product::{CHANNELS, F32, Line, Words, tile_sums, tiles};

/// How the numbers of a row are shared among heads, and what these see.
#[derive(Debug, Clone, Copy)]
pub(in crate::model) struct Heads {
    /// Heads.
    pub(in crate::model) count: usize,
    /// Numbers of each, next to each other.
    pub(in crate::model) width: usize,
    /// How far from a query the keys may be that it sees; none: it sees all.
    pub(in crate::model) window: Option<usize>,
}

/// Rows of queries, keys or values: the first `count` · `width` numbers of every `stride` are a row's.
#[derive(Debug, Clone, Copy)]
pub(in crate::model) struct Strided<'a> {
    /// From the first row's first number to the last row's last.
    pub(in crate::model) values: &'a [f32],
    /// From a row to the next.
    pub(in crate::model) stride: usize,
}

impl Strided<'_> {
    fn rows(self, width: usize) -> usize {
        (self.values.len() + self.stride).saturating_sub(width) / self.stride
    }
}

/// Memory that attention works in, to be used again.
#[derive(Debug, Default)]
pub(in crate::model) struct Scratch {
    queries: Vec<Line>,
    scores: Vec<Line>,
    values: Vec<Line>,
}

at_every_level! {
    /// For each row of `queries` and each head the mean of `values`, weighted by the softmax of the products of the query with
    /// `keys`; any scale of those products has to be in the queries. With a window, queries and keys are rows of the same text from its
    /// beginning. `out` has a row of all heads for each query.
    attention = attention_with(heads: Heads, queries: Strided, keys: Strided, values: Strided, scratch: &mut Scratch, out: &mut [f32])
}

/// The queries lie along the lanes: the softmax over the keys is then the same instructions for 32 queries at once,
/// and lanes without a query are left alone instead of masked.
#[inline(always)]
fn attention_with<L: Lanes>(
    lanes: L,
    heads: Heads,
    queries: Strided,
    keys: Strided,
    values: Strided,
    scratch: &mut Scratch,
    out: &mut [f32],
) {
    let row = heads.count * heads.width;
    let count = out.len() / row;
    let length = keys.rows(row);
    assert!(queries.rows(row) >= count && values.rows(row) == length && length > 0);
    scratch.queries.resize(heads.width, Line::ZERO);
    scratch.scores.resize(length, Line::ZERO);
    scratch.values.resize(length, Line::ZERO);
    for first in (0..row).step_by(heads.width) {
        for panel in (0..count).step_by(CHANNELS) {
            let count = CHANNELS.min(count - panel);
            let from = Strided {
                values: &queries.values[panel * queries.stride + first..],
                ..queries
            };
            turn(lanes, from, count, &mut scratch.queries);
            let operand = Words {
                words: bits(&keys.values[first..]),
                row: keys.stride,
                group: 1,
            };
            let seen = match heads.window {
                None => 0..length,
                Some(window) => panel.saturating_sub(window)..length.min(panel + count + window),
            };
            let scores = &mut scratch.scores[..seen.len()];
            for tile in tiles::<L>(seen.len()) {
                let operand = operand.starting_at(seen.start + tile.start);
                tile_sums::<L, F32>(lanes, operand, &scratch.queries, &mut scores[tile]);
            }
            if let Some(window) = heads.window {
                hide(scores, seen.start, panel, window);
            }
            let sums = softmax(lanes, scores, count);
            for dimension in (0..heads.width).step_by(CHANNELS) {
                let width = CHANNELS.min(heads.width - dimension);
                // The first panel packs the values, further ones find them there.
                if panel == 0 || heads.width > CHANNELS {
                    for (line, from) in scratch
                        .values
                        .iter_mut()
                        .zip(values.values[first + dimension..].chunks(values.stride))
                    {
                        line.0[..width].copy_from_slice(bits(&from[..width]));
                    }
                }
                let operand = Words {
                    words: flat(scores),
                    row: 1,
                    group: CHANNELS,
                };
                let mut means = [Line::ZERO; 14];
                for tile in tiles::<L>(count) {
                    let means = &mut means[..tile.len()];
                    tile_sums::<L, F32>(
                        lanes,
                        operand.starting_at(tile.start),
                        &scratch.values[seen.clone()],
                        means,
                    );
                    for (means, query) in means.iter().zip(tile) {
                        let scale = lanes.splat(1.0 / sums[query]);
                        let out = &mut out[(panel + query) * row + first + dimension..][..width];
                        for (means, out) in means.0.chunks_exact(L::N).zip(out.chunks_mut(L::N)) {
                            let mean = lanes.mul(lanes.as_floats(lanes.load_words(means)), scale);
                            match out.len() == L::N {
                                true => lanes.store(mean, out),
                                false => lanes.store_part(mean, out),
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Queries as columns: a line for each of their numbers. Lanes beyond `count` are zero.
#[inline(always)]
fn turn<L: Lanes>(lanes: L, queries: Strided, count: usize, lines: &mut [Line]) {
    let zero = lanes.splat(0.0);
    for (block, lines) in lines.chunks_mut(L::N).enumerate() {
        for from in (0..CHANNELS).step_by(L::N) {
            let mut square = [zero; 16];
            let square = &mut square[..L::N];
            for (query, vector) in (from..count).zip(square.iter_mut()) {
                let numbers =
                    &queries.values[query * queries.stride + block * L::N..][..lines.len()];
                *vector = match numbers.len() == L::N {
                    true => lanes.load(numbers),
                    false => lanes.load_part(numbers, 0.0),
                };
            }
            if from < count {
                lanes.transpose(square);
            }
            for (line, vector) in lines.iter_mut().zip(square) {
                lanes.store_words(lanes.as_words(*vector), &mut line.0[from..]);
            }
        }
    }
}

/// Takes from each query, `first_query` in the first lane, the scores of keys that are further from it than the window; `first_key` is that of the
/// first line. Its own is always left.
fn hide(scores: &mut [Line], first_key: usize, first_query: usize, window: usize) {
    for (key, line) in (first_key..).zip(scores) {
        for (query, score) in (first_query..).zip(&mut line.0) {
            if key.abs_diff(query) > window {
                *score = f32::NEG_INFINITY.to_bits();
            }
        }
    }
}

/// Turns each lane's scores, one a line, into their exponentials relative to the highest; returns the sums.
#[inline(always)]
fn softmax<L: Lanes>(lanes: L, scores: &mut [Line], count: usize) -> [f32; CHANNELS] {
    let mut sums = [1.0; CHANNELS];
    for from in (0..count).step_by(L::N) {
        let load = |line: &Line| lanes.as_floats(lanes.load_words(&line.0[from..]));
        let mut highest = lanes.splat(f32::NEG_INFINITY);
        for line in scores.iter() {
            highest = lanes.max(highest, load(line));
        }
        let mut sum = lanes.splat(0.0);
        for line in scores.iter_mut() {
            let weight = lanes.exp(lanes.sub(load(line), highest));
            sum = lanes.add(sum, weight);
            lanes.store_words(lanes.as_words(weight), &mut line.0[from..]);
        }
        lanes.store(sum, &mut sums[from..]);
    }
    sums
}

impl Words<'_> {
    #[inline(always)]
    fn starting_at(self, row: usize) -> Self {
        Self {
            words: &self.words[row * self.row..],
            ..self
        }
    }
}

fn bits(floats: &[f32]) -> &[u32] {
    // SAFETY: both have the same size and alignment, and any bits are a word.
    unsafe { std::slice::from_raw_parts(floats.as_ptr().cast(), floats.len()) }
}

fn flat(lines: &[Line]) -> &[u32] {
    // SAFETY: a line is `CHANNELS` words and nothing else: its alignment is its size's divisor.
    unsafe { std::slice::from_raw_parts(lines.as_ptr().cast(), lines.len() * CHANNELS) }
}
