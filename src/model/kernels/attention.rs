//! Attention within one sequence (Vaswani et al., 2017, arXiv:1706.03762), without padding and without a mask.

use super::lanes::Lanes;
use super::product::{BF16, CHANNELS, F32, Line, Words, tile_sums, tiles};
use super::rows::in_halves;

/// How the numbers of a row are shared among heads, and what these see.
#[derive(Debug, Clone, Copy)]
pub(in crate::model) struct Heads {
    /// Heads.
    pub(in crate::model) count: usize,
    /// Numbers of each, next to each other.
    pub(in crate::model) width: usize,
    /// How far from a query the keys may be that it sees; none: it sees all.
    pub(in crate::model) window: Option<usize>,
    /// Whether products are of f32; else they are of bf16, their sums of f32, where the processor is faster with these.
    pub(in crate::model) exact: bool,
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
    /// The same without its first numbers.
    fn from(self, first: usize) -> Self {
        Self {
            values: &self.values[first..],
            ..self
        }
    }

    fn rows(self, width: usize) -> usize {
        (self.values.len() + self.stride).saturating_sub(width) / self.stride
    }
}

/// Memory that attention works in, to be used again.
#[derive(Debug, Default)]
pub(in crate::model) struct Scratch {
    /// Rows of words of two bf16; unused in f32.
    packed_queries: Vec<u32>,
    packed_keys: Vec<u32>,
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
    match L::HALVES && !heads.exact {
        true => attend::<L, BF16>(lanes, heads, queries, keys, values, scratch, out),
        false => attend::<L, F32>(lanes, heads, queries, keys, values, scratch, out),
    }
}

/// The queries lie along the lanes: the softmax over the keys is then the same instructions for 32 queries at once,
/// and lanes without a query are left alone instead of masked.
#[inline(always)]
fn attend<L: Lanes, const FORMAT: u8>(
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
    // Numbers in a word.
    let numbers = if FORMAT == BF16 { 2 } else { 1 };
    let words = heads.width.div_ceil(numbers);
    scratch.queries.resize(words, Line::ZERO);
    scratch.scores.resize(length, Line::ZERO);
    scratch.values.resize(length.div_ceil(numbers), Line::ZERO);
    for first in (0..row).step_by(heads.width) {
        if FORMAT == BF16 {
            pack(
                lanes,
                keys.from(first),
                length,
                heads.width,
                &mut scratch.packed_keys,
            );
        }
        for panel in (0..count).step_by(CHANNELS) {
            let count = CHANNELS.min(count - panel);
            let from = queries.from(panel * queries.stride + first);
            let operand = if FORMAT == BF16 {
                pack(lanes, from, count, heads.width, &mut scratch.packed_queries);
                let from = Strided {
                    values: as_floats(&scratch.packed_queries),
                    stride: words,
                };
                turn(lanes, from, count, &mut scratch.queries);
                Words {
                    words: &scratch.packed_keys,
                    row: words,
                    group: 1,
                }
            } else {
                turn(lanes, from, count, &mut scratch.queries);
                Words {
                    words: bits(&keys.values[first..]),
                    row: keys.stride,
                    group: 1,
                }
            };
            let seen = match heads.window {
                None => 0..length,
                // Whole words of values: the first may hold a key before the window, which is then hidden.
                Some(window) => {
                    let start = panel.saturating_sub(window) / numbers * numbers;
                    start..length.min(panel + count + window)
                }
            };
            let scores = &mut scratch.scores[..seen.len()];
            for tile in tiles::<L>(seen.len()) {
                let operand = operand.starting_at(seen.start + tile.start);
                tile_sums::<L, FORMAT>(lanes, operand, &scratch.queries, &mut scores[tile]);
            }
            if let Some(window) = heads.window {
                hide(scores, seen.start, panel, window);
            }
            let sums = softmax::<L, FORMAT>(lanes, scores, count);
            for dimension in (0..heads.width).step_by(CHANNELS) {
                let width = CHANNELS.min(heads.width - dimension);
                // The first panel packs the values, further ones find them there.
                if panel == 0 || heads.width > CHANNELS {
                    let from = values.from(first + dimension);
                    columns::<L, FORMAT>(lanes, from, length, width, &mut scratch.values);
                }
                let operand = Words {
                    words: flat(scores),
                    row: 1,
                    group: CHANNELS,
                };
                let seen = seen.start / numbers..seen.end.div_ceil(numbers);
                let mut means = [Line::ZERO; 14];
                for tile in tiles::<L>(count) {
                    let means = &mut means[..tile.len()];
                    tile_sums::<L, FORMAT>(
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

/// The first `width` numbers of each row as words of two bf16.
#[inline(always)]
fn pack<L: Lanes>(lanes: L, rows: Strided, count: usize, width: usize, words: &mut Vec<u32>) {
    let length = width.div_ceil(2);
    words.resize(count * length, 0);
    for (row, words) in (0..count).zip(words.chunks_mut(length)) {
        // What the row does not fill of its last word.
        words[length - 1] = 0;
        in_halves(lanes, &rows.values[row * rows.stride..][..width], words);
    }
}

/// The first `width` numbers, 32 at most, of each row of values: a line for each row, in bf16 for every two of them.
#[inline(always)]
fn columns<L: Lanes, const FORMAT: u8>(
    lanes: L,
    rows: Strided,
    count: usize,
    width: usize,
    lines: &mut [Line],
) {
    let row = |row: usize| &rows.values[row * rows.stride..][..width];
    if FORMAT != BF16 {
        for (index, line) in lines.iter_mut().enumerate() {
            line.0[..width].copy_from_slice(bits(row(index)));
        }
        return;
    }
    let zeros = [0.0; CHANNELS];
    for (index, line) in lines.iter_mut().enumerate() {
        let second = if 2 * index + 1 < count {
            row(2 * index + 1)
        } else {
            &zeros[..width]
        };
        let pairs = row(2 * index).chunks(L::N).zip(second.chunks(L::N));
        for ((first, second), words) in pairs.zip(line.0.chunks_mut(L::N)) {
            let (first, second) = (lanes.load_part(first, 0.0), lanes.load_part(second, 0.0));
            lanes.store_words(lanes.pair_halves(first, second), words);
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

/// Turns each lane's scores, one a line, into their exponentials relative to the highest, in bf16 two a line; returns the sums.
#[inline(always)]
fn softmax<L: Lanes, const FORMAT: u8>(
    lanes: L,
    scores: &mut [Line],
    count: usize,
) -> [f32; CHANNELS] {
    let mut sums = [1.0; CHANNELS];
    for from in (0..count).step_by(L::N) {
        let mut highest = lanes.splat(f32::NEG_INFINITY);
        for line in scores.iter() {
            highest = lanes.max(highest, lanes.as_floats(lanes.load_words(&line.0[from..])));
        }
        let mut sum = lanes.splat(0.0);
        if FORMAT == BF16 {
            for pair in 0..scores.len().div_ceil(2) {
                let first = weight(lanes, &scores[2 * pair], from, highest);
                let second = match scores.get(2 * pair + 1) {
                    Some(line) => weight(lanes, line, from, highest),
                    None => lanes.splat(0.0),
                };
                sum = lanes.add(sum, lanes.add(first, second));
                lanes.store_words(
                    lanes.pair_halves(first, second),
                    &mut scores[pair].0[from..],
                );
            }
        } else {
            for line in scores.iter_mut() {
                let weight = weight(lanes, line, from, highest);
                sum = lanes.add(sum, weight);
                lanes.store_words(lanes.as_words(weight), &mut line.0[from..]);
            }
        }
        lanes.store(sum, &mut sums[from..]);
    }
    sums
}

/// The exponentials of a line's scores, from a lane on, relative to the highest.
#[inline(always)]
fn weight<L: Lanes>(lanes: L, line: &Line, from: usize, highest: L::F) -> L::F {
    let scores = lanes.as_floats(lanes.load_words(&line.0[from..]));
    lanes.exp(lanes.sub(scores, highest))
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

fn as_floats(words: &[u32]) -> &[f32] {
    // SAFETY: both have the same size and alignment, and any bits are a number.
    unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), words.len()) }
}
