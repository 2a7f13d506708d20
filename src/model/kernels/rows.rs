//! What is done to each row of a matrix by itself.

use super::Format;
use super::lanes::Lanes;
use super::product::Operand;

at_every_level! {
    /// Layer normalisation (Ba et al., 2016, arXiv:1607.06450) of each row of `values`, in place: mean 0, variance 1, then
    /// times `weight` plus `bias`, whose length is a row's. `epsilon` is added to the variance.
    normalise = normalise_with(values: &mut [f32], weight: &[f32], bias: &[f32], epsilon: f32)
}

at_every_level! {
    /// Fills an operand that has its shape already with rows of `width` numbers.
    convert = convert_with(values: &[f32], width: usize, operand: &mut Operand)
}

/// Does the same with every vector of a row: its place, and the numbers; those beyond the end are `filler`. No function that takes
/// a closure, as that might be compiled by itself, without the instructions of its level.
macro_rules! each_vector {
    ($lanes:ident, $row:expr, $filler:expr, |$at:pat_param, $x:ident| $body:expr) => {
        let whole = $row.chunks_exact(L::N);
        let rest = whole.remainder();
        for (index, numbers) in whole.enumerate() {
            let ($at, $x) = (index * L::N, $lanes.load(numbers));
            $body;
        }
        if !rest.is_empty() {
            let ($at, $x) = ($row.len() - rest.len(), $lanes.load_part(rest, $filler));
            $body;
        }
    };
}

#[inline(always)]
fn normalise_with<L: Lanes>(
    lanes: L,
    values: &mut [f32],
    weight: &[f32],
    bias: &[f32],
    epsilon: f32,
) {
    let width = weight.len();
    for row in values.chunks_exact_mut(width) {
        let mut sum = lanes.splat(0.0);
        each_vector!(lanes, row, 0.0, |_, x| sum = lanes.add(sum, x));
        let mean = lanes.sum(sum) / width as f32;
        let mut squares = lanes.splat(0.0);
        // Beyond the end stands the mean, which adds nothing.
        each_vector!(lanes, row, mean, |_, x| {
            let x = lanes.sub(x, lanes.splat(mean));
            squares = lanes.fma(x, x, squares);
        });
        let mean = lanes.splat(mean);
        let variance = lanes.sum(squares) / width as f32;
        let scale = lanes.splat(1.0 / (variance + epsilon).sqrt());
        for ((numbers, weight), bias) in row
            .chunks_mut(L::N)
            .zip(weight.chunks(L::N))
            .zip(bias.chunks(L::N))
        {
            if numbers.len() == L::N {
                let x = lanes.mul(lanes.sub(lanes.load(numbers), mean), scale);
                lanes.store(lanes.fma(x, lanes.load(weight), lanes.load(bias)), numbers);
            } else {
                let x = lanes.mul(lanes.sub(lanes.load_part(numbers, 0.0), mean), scale);
                let (weight, bias) = (lanes.load_part(weight, 0.0), lanes.load_part(bias, 0.0));
                lanes.store_part(lanes.fma(x, weight, bias), numbers);
            }
        }
    }
}

#[inline(always)]
fn convert_with<L: Lanes>(lanes: L, values: &[f32], width: usize, operand: &mut Operand) {
    let rows = values.chunks_exact(width);
    let words = operand.words.chunks_exact_mut(operand.groups);
    for ((row, words), scales) in rows.zip(words).zip(&mut operand.scales) {
        // What the row does not fill of its last word.
        words[operand.groups - 1] = 0;
        match operand.format {
            Format::Int8 => {
                let mut lowest = lanes.splat(f32::INFINITY);
                let mut highest = lanes.splat(f32::NEG_INFINITY);
                each_vector!(lanes, row, row[0], |_, x| {
                    lowest = lanes.min(lowest, x);
                    highest = lanes.max(highest, x);
                });
                let (lowest, highest) = (lanes.lowest(lowest), lanes.highest(highest));
                let range = highest - lowest;
                let steps = if range > 0.0 { 255.0 / range } else { 0.0 };
                *scales = [range / 255.0, lowest];
                let (steps, from) = (lanes.splat(steps), lanes.splat(lowest));
                let bytes = &mut bytes(words)[..width];
                each_vector!(lanes, row, lowest, |at, x| {
                    // No fused operation: a number halfway between two bytes must fall to the same side at every level.
                    lanes.store_bytes(lanes.mul(lanes.sub(x, from), steps), &mut bytes[at..]);
                });
            }
            Format::Bf16 => {
                in_halves(lanes, row, words);
            }
            Format::F32 => {
                for (word, x) in words.iter_mut().zip(row) {
                    *word = x.to_bits();
                }
            }
        }
    }
}

/// Writes a row's numbers as bf16, two a word; a last half without a number stays as it is.
#[inline(always)]
pub(super) fn in_halves<L: Lanes>(lanes: L, row: &[f32], words: &mut [u32]) {
    let halves = &mut halves(words)[..row.len()];
    each_vector!(lanes, row, 0.0, |at, x| lanes
        .store_halves(x, &mut halves[at..]));
}

fn bytes(words: &mut [u32]) -> &mut [u8] {
    // SAFETY: bytes need no alignment, any bits are a byte, and a word is four of them.
    unsafe { std::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), words.len() * 4) }
}

fn halves(words: &mut [u32]) -> &mut [u16] {
    // SAFETY: a word is aligned for a half, any bits are a half, and a word is two of them.
    unsafe { std::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), words.len() * 2) }
}
