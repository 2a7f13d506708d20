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
    /// Fills an operand that has its number of rows already with rows of `width` numbers.
    convert = convert_with(values: &[f32], width: usize, operand: &mut Operand)
}

/// Vectors of a row that are worked on side by side: a sum or an extreme waits for the one before it, so there are as many.
const CHAINS: usize = 4;

/// Does the same with every vector of a row: its place, the numbers, and the chain it belongs to; numbers beyond the end are `filler`. No
/// function that takes a closure, as that might be compiled by itself, without the instructions of its level.
macro_rules! each_vector {
    ($lanes:ident, $row:expr, $filler:expr, |$at:pat_param, $x:ident, $chain:pat_param| $body:expr) => {
        let blocks = $row.chunks_exact(CHAINS * L::N);
        let rest = blocks.remainder();
        for (block, numbers) in blocks.enumerate() {
            for chain in 0..CHAINS {
                let $at = (block * CHAINS + chain) * L::N;
                let ($x, $chain) = ($lanes.load(&numbers[chain * L::N..]), chain);
                $body;
            }
        }
        for (index, numbers) in rest.chunks(L::N).enumerate() {
            let $at = $row.len() - rest.len() + index * L::N;
            let ($x, $chain) = ($lanes.load_part(numbers, $filler), 0);
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
        let mut sums = [lanes.splat(0.0); CHAINS];
        each_vector!(lanes, row, 0.0, |_, x, chain| sums[chain] =
            lanes.add(sums[chain], x));
        let mean = together(lanes, sums) / width as f32;
        let mut squares = [lanes.splat(0.0); CHAINS];
        // Beyond the end stands the mean, which adds nothing.
        each_vector!(lanes, row, mean, |_, x, chain| {
            let x = lanes.sub(x, lanes.splat(mean));
            squares[chain] = lanes.fma(x, x, squares[chain]);
        });
        let mean = lanes.splat(mean);
        let variance = together(lanes, squares) / width as f32;
        let scale = lanes.splat(1.0 / (variance + epsilon).sqrt());
        for ((numbers, weight), bias) in row
            .chunks_mut(L::N)
            .zip(weight.chunks(L::N))
            .zip(bias.chunks(L::N))
        {
            let x = lanes.mul(lanes.sub(lanes.load_part(numbers, 0.0), mean), scale);
            let (weight, bias) = (lanes.load_part(weight, 0.0), lanes.load_part(bias, 0.0));
            lanes.store_part(lanes.fma(x, weight, bias), numbers);
        }
    }
}

/// The sum of all chains and lanes.
#[inline(always)]
fn together<L: Lanes>(lanes: L, [a, b, c, d]: [L::F; CHAINS]) -> f32 {
    lanes.sum(lanes.add(lanes.add(a, b), lanes.add(c, d)))
}

#[inline(always)]
fn convert_with<L: Lanes>(lanes: L, values: &[f32], width: usize, operand: &mut Operand) {
    let widened = operand.format == Format::Bf16 && !L::HALVES;
    operand.groups = match widened {
        true => width.next_multiple_of(2),
        false => width.div_ceil(operand.format.in_a_word()),
    };
    operand.words.resize(operand.rows * operand.groups, 0);
    let rows = values.chunks_exact(width);
    let words = operand.words.chunks_exact_mut(operand.groups);
    for ((row, words), scales) in rows.zip(words).zip(&mut operand.scales) {
        // What the row does not fill of its last word.
        words[operand.groups - 1] = 0;
        match operand.format {
            Format::Int8 => {
                let mut lowest = [lanes.splat(f32::INFINITY); CHAINS];
                let mut highest = [lanes.splat(f32::NEG_INFINITY); CHAINS];
                each_vector!(lanes, row, row[0], |_, x, chain| {
                    lowest[chain] = lanes.min(lowest[chain], x);
                    highest[chain] = lanes.max(highest[chain], x);
                });
                let ([a, b, c, d], [e, f, g, h]) = (lowest, highest);
                let lowest = lanes.lowest(lanes.min(lanes.min(a, b), lanes.min(c, d)));
                let highest = lanes.highest(lanes.max(lanes.max(e, f), lanes.max(g, h)));
                let range = highest - lowest;
                let steps = if range > 0.0 { 255.0 / range } else { 0.0 };
                *scales = [range / 255.0, lowest];
                let (steps, from) = (lanes.splat(steps), lanes.splat(lowest));
                let bytes = &mut bytes(words)[..width];
                each_vector!(lanes, row, lowest, |at, x, _| {
                    // No fused operation: a number halfway between two bytes must fall to the same side at every level.
                    lanes.store_bytes(lanes.mul(lanes.sub(x, from), steps), &mut bytes[at..]);
                });
            }
            Format::Bf16 if widened => {
                let floats = &mut floats(words)[..width];
                each_vector!(lanes, row, 0.0, |at, x, _| lanes
                    .store_part(lanes.round_to_halves(x), &mut floats[at..]));
            }
            Format::Bf16 => {
                in_halves(lanes, row, words);
            }
            Format::F32 => {
                floats(words).copy_from_slice(row);
            }
        }
    }
}

/// Writes a row's numbers as bf16, two a word; a last half without a number stays as it is.
#[inline(always)]
fn in_halves<L: Lanes>(lanes: L, row: &[f32], words: &mut [u32]) {
    let halves = &mut halves(words)[..row.len()];
    each_vector!(lanes, row, 0.0, |at, x, _| lanes
        .store_halves(x, &mut halves[at..]));
}

fn floats(words: &mut [u32]) -> &mut [f32] {
    // SAFETY: both have the same size and alignment, and any bits are either.
    unsafe { std::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), words.len()) }
}

fn bytes(words: &mut [u32]) -> &mut [u8] {
    // SAFETY: bytes need no alignment, any bits are a byte, and a word is four of them.
    unsafe { std::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), words.len() * 4) }
}

/// Words as halves of 16 bits.
pub(super) fn halves(words: &mut [u32]) -> &mut [u16] {
    // SAFETY: a word is aligned for a half, any bits are a half, and a word is two of them.
    unsafe { std::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), words.len() * 2) }
}
