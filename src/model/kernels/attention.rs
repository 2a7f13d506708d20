//! Attention within one sequence (Vaswani et al., 2017, arXiv:1706.03762), without padding and without a mask.

use super::lanes::Lanes;
use super::product::{CHANNELS, F32, Line, SHORTS, Words, tile_sums, tiles};
use super::rows::halves;
use std::f32::consts::LOG2_E;

/// How the numbers of a row are shared among heads, and what these see.
#[derive(Debug, Clone, Copy)]
pub(in crate::model) struct Heads {
    /// Heads.
    pub(in crate::model) count: usize,
    /// Numbers of each, next to each other.
    pub(in crate::model) width: usize,
    /// How far from a query the keys may be that it sees; none: it sees all.
    pub(in crate::model) window: Option<usize>,
    /// Whether products are of f32; else they are of 16-bit integers, which take half the instructions.
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
    /// Rows of words of two short integers; unused where products are of f32.
    packed_queries: Vec<u32>,
    packed_keys: Vec<u32>,
    queries: Vec<Line>,
    scores: Vec<Line>,
    values: Vec<Line>,
}

/// Queries with which products of short integers pay: with fewer, making integers takes as long as they save.
const FEWEST_QUERIES: usize = 48;

/// Most keys whose products are of short integers: with more of them too few bits would be left of each integer.
const MOST_KEYS: usize = 1024;

/// The least step of queries and keys as integers: with it a score that is hidden, the lowest integer, is 2^-128 or less of the highest.
const LEAST_STEP: f32 = 1.0 / 4096.0;

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
    let row = heads.count * heads.width;
    let pays = out.len() >= FEWEST_QUERIES * row && keys.rows(row) <= MOST_KEYS;
    match pays && !heads.exact {
        true => attend::<L, SHORTS>(lanes, heads, queries, keys, values, scratch, out),
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
    let numbers = if FORMAT == SHORTS { 2 } else { 1 };
    let words = heads.width.div_ceil(numbers);
    scratch.queries.resize(words, Line::ZERO);
    scratch.scores.resize(length, Line::ZERO);
    scratch.values.resize(length.div_ceil(numbers), Line::ZERO);
    let [key_bits, query_bits] = shared_bits(heads.width);
    let [weight_bits, value_bits] = match FORMAT {
        SHORTS => shared_bits(length),
        _ => [0; 2],
    };
    for first in (0..row).step_by(heads.width) {
        let (queries, keys, values) = (queries.from(first), keys.from(first), values.from(first));
        // What a step of the integers is worth; that of the f32 is 1.
        let [mut key_step, mut query_step, mut value_step] = [1.0; 3];
        if FORMAT == SHORTS {
            let (all, asked) = ([length, heads.width], [count, heads.width]);
            key_step = step(lanes, keys, all, key_bits, LEAST_STEP);
            query_step = step(lanes, queries, asked, query_bits, LEAST_STEP);
            value_step = step(lanes, values, all, value_bits, f32::MIN_POSITIVE);
            pack(lanes, keys, all, key_step, &mut scratch.packed_keys);
        }
        let keys = match FORMAT {
            SHORTS => Words::new(&scratch.packed_keys, words, 1),
            _ => Words::new(bits(keys.values), keys.stride, 1),
        };
        for panel in (0..count).step_by(CHANNELS) {
            let count = CHANNELS.min(count - panel);
            let mut queries = queries.from(panel * queries.stride);
            if FORMAT == SHORTS {
                let (asked, packed) = ([count, heads.width], &mut scratch.packed_queries);
                pack(lanes, queries, asked, query_step, packed);
                queries = Strided {
                    values: as_floats(&scratch.packed_queries),
                    stride: words,
                };
            }
            turn(lanes, queries, count, &mut scratch.queries);
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
                let keys = keys.starting_at(seen.start + tile.start);
                let scores = &mut scores[tile];
                tile_sums::<L, FORMAT>(lanes, keys, &scratch.queries, count, scores);
            }
            if let Some(window) = heads.window {
                let hidden = match FORMAT {
                    SHORTS => i32::MIN as u32,
                    _ => f32::NEG_INFINITY.to_bits(),
                };
                hide(scores, hidden, seen.start, panel, window);
            }
            let scale = [query_step * key_step * LOG2_E, weight_bits as f32];
            let sums = softmax::<L, FORMAT>(lanes, scores, count, scale);
            for dimension in (0..heads.width).step_by(CHANNELS) {
                let width = CHANNELS.min(heads.width - dimension);
                // The first panel packs the values, further ones find them there.
                if panel == 0 || heads.width > CHANNELS {
                    let (from, lines) = (values.from(dimension), &mut scratch.values);
                    columns::<L, FORMAT>(lanes, from, [length, width], value_step, lines);
                }
                let weights = Words::new(flat(scores), 1, CHANNELS);
                let seen = seen.start / numbers..seen.end.div_ceil(numbers);
                let mut means = [Line::ZERO; 14];
                for tile in tiles::<L>(count) {
                    let means = &mut means[..tile.len()];
                    tile_sums::<L, FORMAT>(
                        lanes,
                        weights.starting_at(tile.start),
                        &scratch.values[seen.clone()],
                        width,
                        means,
                    );
                    for (means, query) in means.iter().zip(tile) {
                        let scale = lanes.splat(value_step / sums[query]);
                        let out = &mut out[(panel + query) * row + first + dimension..][..width];
                        for (means, out) in means.0.chunks_exact(L::N).zip(out.chunks_mut(L::N)) {
                            let sums = numbers_of::<L, FORMAT>(lanes, means);
                            lanes.store_part(lanes.mul(sums, scale), out);
                        }
                    }
                }
            }
        }
    }
}

/// Bits of two integers so that as many of their products as `terms` have a sum of 30 bits: each may be 2 to this power, and has 14 bits at most.
fn shared_bits(terms: usize) -> [u32; 2] {
    let bits = 30 - terms.next_power_of_two().ilog2().min(30);
    [bits / 2, bits.div_ceil(2)].map(|bits| bits.min(14))
}

/// What one step of integers is worth when the largest of the first `width` numbers of `count` rows becomes 2 to the power of `bits`, `least` at
/// least; no finite number if one of them is none.
#[inline(always)]
fn step<L: Lanes>(
    lanes: L,
    rows: Strided,
    [count, width]: [usize; 2],
    bits: u32,
    least: f32,
) -> f32 {
    let mut largest = [lanes.splat_word(0); 2];
    for row in 0..count {
        for pair in rows.values[row * rows.stride..][..width].chunks(2 * L::N) {
            for (numbers, largest) in pair.chunks(L::N).zip(&mut largest) {
                *largest = lanes.larger_size(*largest, lanes.load_part(numbers, 0.0));
            }
        }
    }
    // As words, since the larger of a number and of one that is none is the number.
    let mut words = [0; 32];
    lanes.store_words(largest[0], &mut words);
    lanes.store_words(largest[1], &mut words[L::N..]);
    let largest = words.iter().fold(0, |most: u32, word| most.max(*word));
    let step = f32::from_bits(largest) / (1 << bits) as f32;
    if step < least { least } else { step }
}

/// The first `width` numbers of `count` rows in steps, as words of two short integers.
#[inline(always)]
fn pack<L: Lanes>(
    lanes: L,
    rows: Strided,
    [count, width]: [usize; 2],
    step: f32,
    words: &mut Vec<u32>,
) {
    let length = width.div_ceil(2);
    let steps = lanes.splat(1.0 / step);
    words.resize(count * length, 0);
    for (row, words) in (0..count).zip(words.chunks_mut(length)) {
        // What the row does not fill of its last word.
        words[length - 1] = 0;
        let numbers = rows.values[row * rows.stride..][..width].chunks(L::N);
        for (numbers, shorts) in numbers.zip(halves(words)[..width].chunks_mut(L::N)) {
            lanes.store_shorts(lanes.mul(lanes.load_part(numbers, 0.0), steps), shorts);
        }
    }
}

/// The first `width` numbers, 32 at most, of `count` rows of values: a line for each row, or in steps as short integers for every two of them.
#[inline(always)]
fn columns<L: Lanes, const FORMAT: u8>(
    lanes: L,
    rows: Strided,
    [count, width]: [usize; 2],
    step: f32,
    lines: &mut [Line],
) {
    let zeros = [0.0; CHANNELS];
    let steps = lanes.splat(1.0 / step);
    let row = |row: usize| match row < count {
        true => &rows.values[row * rows.stride..][..width],
        false => &zeros[..width],
    };
    for (index, line) in lines.iter_mut().enumerate() {
        if FORMAT == SHORTS {
            let pairs = row(2 * index)
                .chunks(L::N)
                .zip(row(2 * index + 1).chunks(L::N));
            for ((first, second), words) in pairs.zip(line.0.chunks_mut(L::N)) {
                let first = lanes.mul(lanes.load_part(first, 0.0), steps);
                let second = lanes.mul(lanes.load_part(second, 0.0), steps);
                lanes.store_words(lanes.pair_shorts(first, second), words);
            }
        } else {
            for (numbers, words) in row(index).chunks(L::N).zip(line.0.chunks_mut(L::N)) {
                lanes.store_words(lanes.as_words(lanes.load_part(numbers, 0.0)), words);
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
                *vector = lanes.load_part(numbers, 0.0);
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

/// Makes the scores of keys `hidden` that are further from a query than the window; `first_key` is the key of the first line, `first_query` the query
/// of the first lane. Its own is always left.
fn hide(scores: &mut [Line], hidden: u32, first_key: usize, first_query: usize, window: usize) {
    for (key, line) in (first_key..).zip(scores) {
        for (query, score) in (first_query..).zip(&mut line.0) {
            if key.abs_diff(query) > window {
                *score = hidden;
            }
        }
    }
}

/// Sums of products as numbers.
#[inline(always)]
fn numbers_of<L: Lanes, const FORMAT: u8>(lanes: L, sums: &[u32]) -> L::F {
    match FORMAT {
        SHORTS => lanes.to_floats(lanes.load_words(sums)),
        _ => lanes.as_floats(lanes.load_words(sums)),
    }
}

/// Turns each lane's scores, one a line, times `scale` into weights: 2 to the power of what they are above the highest, times 2 to the power of
/// `bits`. Short integers are two a line, of keys that follow each other. Returns the sums.
#[inline(always)]
fn softmax<L: Lanes, const FORMAT: u8>(
    lanes: L,
    scores: &mut [Line],
    count: usize,
    [scale, bits]: [f32; 2],
) -> [f32; CHANNELS] {
    let mut sums = [1.0; CHANNELS];
    let scale = lanes.splat(scale);
    for from in (0..count).step_by(L::N) {
        // Several at a time, as each has to wait for the one before.
        let mut highest = [lanes.splat(f32::NEG_INFINITY); 4];
        for lines in scores.chunks(highest.len()) {
            for (highest, line) in highest.iter_mut().zip(lines) {
                *highest = lanes.max(*highest, numbers_of::<L, FORMAT>(lanes, &line.0[from..]));
            }
        }
        let [a, b, c, d] = highest;
        let highest = lanes.max(lanes.max(a, b), lanes.max(c, d));
        let shift = lanes.sub(lanes.splat(bits), lanes.mul(highest, scale));
        let mut sum = lanes.splat(0.0);
        if FORMAT == SHORTS {
            for pair in 0..scores.len().div_ceil(2) {
                let first = weight::<L, FORMAT>(lanes, &scores[2 * pair].0[from..], scale, shift);
                let second = match scores.get(2 * pair + 1) {
                    Some(line) => weight::<L, FORMAT>(lanes, &line.0[from..], scale, shift),
                    None => lanes.splat(0.0),
                };
                sum = lanes.add(sum, lanes.add(first, second));
                let words = &mut scores[pair].0[from..];
                lanes.store_words(lanes.pair_shorts(first, second), words);
            }
        } else {
            for line in scores.iter_mut() {
                let weight = weight::<L, FORMAT>(lanes, &line.0[from..], scale, shift);
                sum = lanes.add(sum, weight);
                lanes.store_words(lanes.as_words(weight), &mut line.0[from..]);
            }
        }
        lanes.store(sum, &mut sums[from..]);
    }
    sums
}

/// 2 to the power of scores times `scale` plus `shift`.
#[inline(always)]
fn weight<L: Lanes, const FORMAT: u8>(lanes: L, scores: &[u32], scale: L::F, shift: L::F) -> L::F {
    lanes.exp2(lanes.fma(numbers_of::<L, FORMAT>(lanes, scores), scale, shift))
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
