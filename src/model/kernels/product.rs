//! Matrix products: rows of activations times weights that were packed once, when the model was opened.
//!
//! One layout serves all formats. A row is cut into groups of 32 bits: four bytes, two bf16 or one f32. Weights lie in
//! panels of 32 output channels; a panel has a [`Line`] for each group, with that group's weights of all 32 channels. A tile of
//! some rows and one panel keeps its sums in registers while it walks along the groups: for each, one word of a row
//! is copied to all lanes and multiplied with the channels' words. Where the processor has no products of bf16, or slow ones, a row's bf16 are
//! f32 of a word each, and the channels' words are taken apart as they come.

use super::Format;
use super::lanes::{Lanes, pair};
use super::plain::half;

/// Output channels of a panel.
pub(super) const CHANNELS: usize = 32;

/// Most rows of a tile on any level.
const MOST_ROWS: usize = 2 * HALF;

/// Rows of a tile that are reached from one place.
const HALF: usize = 7;

/// One word for each channel of a panel, aligned for vectors.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
pub(super) struct Line(pub(super) [u32; CHANNELS]);

impl Line {
    pub(super) const ZERO: Self = Self([0; CHANNELS]);
}

/// A linear layer's weights and bias, packed.
#[derive(Debug)]
pub(in crate::model) struct Packed {
    format: Format,
    inputs: usize,
    outputs: usize,
    /// Lines of each panel.
    groups: usize,
    lines: Vec<Line>,
    channels: Vec<Channels>,
}

/// What of each channel of a panel is applied to its sums.
#[derive(Debug)]
struct Channels {
    /// What one step of the channel's integers is worth; 1 in other formats.
    scale: [f32; CHANNELS],
    /// Sum of the channel's weights: what a row's shift is multiplied with.
    total: [f32; CHANNELS],
    bias: [f32; CHANNELS],
}

impl Packed {
    /// Packs `weights`, an `outputs` x `inputs` matrix row by row as Hugging Face stores it, and `bias`, one for each
    /// output, or none.
    ///
    /// In int8 each channel is scaled by its largest weight to -127..127.
    pub(in crate::model) fn new(
        format: Format,
        inputs: usize,
        weights: &[f32],
        bias: Option<&[f32]>,
    ) -> Self {
        let outputs = weights.len() / inputs.max(1);
        let groups = inputs.div_ceil(format.in_a_word());
        let panels = outputs.div_ceil(CHANNELS);
        let mut packed = Self {
            format,
            inputs,
            outputs,
            groups,
            lines: vec![Line::ZERO; panels * groups],
            channels: Vec::with_capacity(panels),
        };
        for panel in 0..panels {
            let mut channels = Channels {
                scale: [1.0; CHANNELS],
                total: [0.0; CHANNELS],
                bias: [0.0; CHANNELS],
            };
            let first = panel * CHANNELS;
            let lines = &mut packed.lines[panel * groups..][..groups];
            for channel in 0..CHANNELS.min(outputs - first) {
                let row = &weights[(first + channel) * inputs..][..inputs];
                if format == Format::Int8 {
                    channels.scale[channel] = int8_step(row);
                }
                let scale = channels.scale[channel];
                let mut total = 0i32;
                for (line, group) in lines.iter_mut().zip(row.chunks(format.in_a_word())) {
                    line.0[channel] = match format {
                        Format::Int8 => {
                            let mut bytes = [0; 4];
                            for (byte, weight) in bytes.iter_mut().zip(group) {
                                let whole = (weight / scale).round() as i8;
                                total += i32::from(whole);
                                *byte = whole as u8;
                            }
                            u32::from_le_bytes(bytes)
                        }
                        Format::Bf16 => {
                            let second = group.get(1).copied().unwrap_or(0.0);
                            pair(half(group[0]), half(second))
                        }
                        Format::F32 => group[0].to_bits(),
                    };
                }
                channels.total[channel] = total as f32 * scale;
                channels.bias[channel] = bias.map_or(0.0, |bias| bias[first + channel]);
            }
            packed.channels.push(channels);
        }
        packed
    }

    /// Numbers in a row that goes in.
    pub(in crate::model) fn inputs(&self) -> usize {
        self.inputs
    }

    /// Numbers in a row that comes out.
    pub(in crate::model) fn outputs(&self) -> usize {
        self.outputs
    }
}

/// What an integer is worth when a row's largest number becomes 127 or -127.
pub(in crate::model) fn int8_step(row: &[f32]) -> f32 {
    let largest = row.iter().fold(0f32, |most, number| most.max(number.abs()));
    if largest > 0.0 { largest / 127.0 } else { 1.0 }
}

impl Format {
    /// Numbers in a word of 32 bits.
    pub(super) fn in_a_word(self) -> usize {
        match self {
            Self::Int8 => 4,
            Self::Bf16 => 2,
            Self::F32 => 1,
        }
    }
}

/// Rows of activations in a product's format. Its memory is used again by the next [`Operand::set`].
#[derive(Debug)]
pub(in crate::model) struct Operand {
    pub(super) format: Format,
    pub(super) rows: usize,
    /// Words of a row. Where products of bf16 are those of f32, a bf16 is a word, and the words are even in number.
    pub(super) groups: usize,
    pub(super) words: Vec<u32>,
    /// Of each row: what one step of its integers is worth, and the number that a zero stands for. 1 and 0 in other
    /// formats.
    pub(super) scales: Vec<[f32; 2]>,
}

impl Operand {
    /// No rows, of a format.
    pub(in crate::model) fn new(format: Format) -> Self {
        Self {
            format,
            rows: 0,
            groups: 0,
            words: Vec::new(),
            scales: Vec::new(),
        }
    }

    /// Takes `values`, rows of `width` numbers, in place of what it had.
    ///
    /// In int8 each row is scaled and shifted so that its lowest number is 0 and its highest 255.
    pub(in crate::model) fn set(&mut self, level: super::Level, values: &[f32], width: usize) {
        self.rows = values.len() / width.max(1);
        self.scales.resize(self.rows, [1.0, 0.0]);
        super::rows::convert(level, values, width, self);
    }
}

/// What becomes of a product's sums, after scales and bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::model) enum Epilogue {
    /// They are stored.
    Store,
    /// Their Gaussian error linear unit is stored.
    Gelu,
    /// Those above zero are stored, zero for the others.
    Relu,
    /// They are added to what stands there.
    Add,
}

at_every_level! {
    /// `out` = `rows` · `weights`ᵀ + bias, then the epilogue. `out` has a row of [`Packed::outputs`] numbers for each of `rows`,
    /// which must have the format and the width of `weights`.
    product = product_with(rows: &Operand, weights: &Packed, epilogue: Epilogue, out: &mut [f32])
}

#[inline(always)]
fn product_with<L: Lanes>(
    lanes: L,
    rows: &Operand,
    weights: &Packed,
    epilogue: Epilogue,
    out: &mut [f32],
) {
    assert_eq!(rows.format, weights.format);
    assert_eq!(out.len(), rows.rows * weights.outputs);
    match weights.format {
        Format::Int8 => panels::<L, INT8>(lanes, rows, weights, epilogue, out),
        Format::Bf16 if L::HALVES => panels::<L, BF16>(lanes, rows, weights, epilogue, out),
        Format::Bf16 => panels::<L, WIDENED>(lanes, rows, weights, epilogue, out),
        Format::F32 => panels::<L, F32>(lanes, rows, weights, epilogue, out),
    }
}

const INT8: u8 = 0;
const BF16: u8 = 1;
pub(super) const F32: u8 = 2;
/// Weights of two bf16 a word, rows of a bf16 a word, as an f32: products are of f32.
const WIDENED: u8 = 3;
/// Two 16-bit integers a word, in rows and in panels.
pub(super) const SHORTS: u8 = 4;

/// Words of a row for each line of a panel.
const fn words_of_line(format: u8) -> usize {
    if format == WIDENED { 2 } else { 1 }
}

#[inline(always)]
fn panels<L: Lanes, const FORMAT: u8>(
    lanes: L,
    rows: &Operand,
    weights: &Packed,
    epilogue: Epilogue,
    out: &mut [f32],
) {
    assert_eq!(rows.groups, weights.groups * words_of_line(FORMAT));
    let mut sums = [Line::ZERO; MOST_ROWS];
    let operand = Words::new(&rows.words, rows.groups, 1);
    for (panel, channels) in weights.channels.iter().enumerate() {
        let lines = &weights.lines[panel * weights.groups..][..weights.groups];
        let first = panel * CHANNELS;
        let width = CHANNELS.min(weights.outputs - first);
        for tile in tiles::<L>(rows.rows) {
            let sums = &mut sums[..tile.len()];
            let operand = operand.starting_at(tile.start);
            tile_sums::<L, FORMAT>(lanes, operand, lines, CHANNELS, sums);
            let out = &mut out[tile.start * weights.outputs + first..];
            let scales = &rows.scales[tile];
            // Whole panels are nearly all there are: there nothing has to be asked of a vector.
            macro_rules! finish {
                ($($epilogue:ident)*) => {
                    match epilogue {
                        $(Epilogue::$epilogue if width == CHANNELS => {
                            finish::<L, FORMAT, { Epilogue::$epilogue as u8 }>(
                                lanes, sums, scales, channels, out, [weights.outputs, CHANNELS],
                            );
                        }
                        Epilogue::$epilogue => {
                            finish::<L, FORMAT, { Epilogue::$epilogue as u8 }>(
                                lanes, sums, scales, channels, out, [weights.outputs, width],
                            );
                        })*
                    }
                };
            }
            finish!(Store Gelu Relu Add);
        }
    }
}

/// Scales, bias and epilogue of a tile. Its first row begins where `out` does, the next `stride` numbers behind it; `width` numbers of each are the
/// panel's.
#[inline(always)]
fn finish<L: Lanes, const FORMAT: u8, const EPILOGUE: u8>(
    lanes: L,
    sums: &[Line],
    scales: &[[f32; 2]],
    channels: &Channels,
    out: &mut [f32],
    [stride, width]: [usize; 2],
) {
    for ((sums, &[scale, shift]), out) in sums.iter().zip(scales).zip(out.chunks_mut(stride)) {
        let out = &mut out[..width];
        for at in (0..width).step_by(L::N) {
            let sums = lanes.load_words(&sums.0[at..]);
            let bias = lanes.load(&channels.bias[at..]);
            let value = if FORMAT == INT8 {
                let total = lanes.load(&channels.total[at..]);
                let shifted = lanes.fma(lanes.splat(shift), total, bias);
                let sums = lanes.mul(lanes.to_floats(sums), lanes.load(&channels.scale[at..]));
                lanes.fma(sums, lanes.splat(scale), shifted)
            } else {
                lanes.add(lanes.as_floats(sums), bias)
            };
            let out = &mut out[at..];
            let value = if EPILOGUE == Epilogue::Gelu as u8 {
                lanes.gelu(value)
            } else if EPILOGUE == Epilogue::Relu as u8 {
                lanes.max(value, lanes.splat(0.0))
            } else if EPILOGUE == Epilogue::Add as u8 {
                lanes.add(value, lanes.load_part(out, 0.0))
            } else {
                value
            };
            lanes.store_part(value, out);
        }
    }
}

/// Cuts `rows` into as few tiles as the level allows, as even as can be: a low tile makes less of the registers.
#[inline(always)]
pub(super) fn tiles<L: Lanes>(rows: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let tiles = rows.div_ceil(L::ROWS);
    (0..tiles).map(move |tile| tile * rows / tiles..(tile + 1) * rows / tiles)
}

/// Words of a matrix: that of a row and a group is at `row` · the one + `group` · the other.
#[derive(Clone, Copy)]
pub(super) struct Words<'a> {
    words: &'a [u32],
    row: usize,
    group: usize,
    /// Of 1, 3, 5 and [`HALF`] rows in bytes.
    distances: [usize; 4],
}

impl<'a> Words<'a> {
    /// Those of `words`, with the distances of rows and of groups.
    #[inline(always)]
    pub(super) fn new(words: &'a [u32], row: usize, group: usize) -> Self {
        let bytes = row * size_of::<u32>();
        Self {
            words,
            row,
            group,
            // Kept from the compiler, which would make additions of them again.
            distances: std::hint::black_box([bytes, 3 * bytes, 5 * bytes, HALF * bytes]),
        }
    }

    /// The same without its first rows.
    #[inline(always)]
    pub(super) fn starting_at(self, row: usize) -> Self {
        Self {
            words: &self.words[row * self.row..],
            ..self
        }
    }

    /// The word of a row in the column that begins there. Sums and doubles of the distances reach all rows of a tile by what an address can
    /// hold, with one addition a column: without them each row's address would be added up, in instructions that products wait for.
    #[inline(always)]
    fn of_row(&self, column: *const u32, row: usize) -> *const u32 {
        let [one, three, five, half] = self.distances;
        let column = match row < HALF {
            true => column,
            false => column.wrapping_byte_add(half),
        };
        column.wrapping_byte_add(match row % HALF {
            0 => 0,
            1 => one,
            2 => 2 * one,
            3 => three,
            4 => 4 * one,
            5 => five,
            _ => 2 * three,
        })
    }
}

/// Sums of a tile: for each row and channel, the dot product along the groups. Integers of integers, else f32. Of the panel's channels the first `width`
/// are asked for; what becomes of others is open.
#[inline(always)]
pub(super) fn tile_sums<L: Lanes, const FORMAT: u8>(
    lanes: L,
    rows: Words,
    panel: &[Line],
    width: usize,
    sums: &mut [Line],
) {
    macro_rules! by_rows {
        ($($rows:literal)*) => {
            match sums.len() {
                $($rows => if let Ok(sums) = sums.try_into() && $rows <= L::ROWS {
                    tile_of::<L, FORMAT, $rows>(lanes, rows, panel, width, sums);
                },)*
                other => unreachable!("a tile of {other} rows"),
            }
        };
    }
    by_rows!(1 2 3 4 5 6 7 8 9 10 11 12 13 14);
}

/// Two vectors of channels at a time, or one, where that is enough.
#[inline(always)]
fn tile_of<L: Lanes, const FORMAT: u8, const ROWS: usize>(
    lanes: L,
    rows: Words,
    panel: &[Line],
    width: usize,
    sums: &mut [Line; ROWS],
) {
    if width <= L::N {
        columns::<L, FORMAT, ROWS, 1>(lanes, rows, panel, 0, sums);
        return;
    }
    for from in (0..width).step_by(2 * L::N) {
        columns::<L, FORMAT, ROWS, 2>(lanes, rows, panel, from, sums);
    }
}

/// Has a line brought into the second cache, where the processor is asked for that.
#[inline(always)]
fn prefetch(line: *const Line) {
    #[cfg(target_arch = "x86_64")]
    for bytes in [0, 64] {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: every such processor has the instruction, and nothing is read: an address that is none is as good.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(line.wrapping_byte_add(bytes).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = line;
}

/// The sums of some vectors of channels, from a channel on.
#[inline(always)]
fn columns<L: Lanes, const FORMAT: u8, const ROWS: usize, const VECTORS: usize>(
    lanes: L,
    rows: Words,
    panel: &[Line],
    from: usize,
    sums: &mut [Line; ROWS],
) {
    let words = words_of_line(FORMAT);
    let last = (ROWS - 1) * rows.row + (panel.len() * words).saturating_sub(1) * rows.group;
    assert!(panel.is_empty() || last < rows.words.len());
    let zero = lanes.splat_word(0);
    let mut tile = [[zero; VECTORS]; ROWS];
    let mut column = rows.words.as_ptr();
    for line in panel {
        // The panel behind this one comes next: a model's weights do not fit into the caches that are near.
        prefetch(std::ptr::from_ref(line).wrapping_add(panel.len()));
        let mut line_words = [zero; VECTORS];
        for (vector, words) in line_words.iter_mut().enumerate() {
            *words = lanes.load_words(&line.0[from + vector * L::N..]);
        }
        for word in 0..words {
            let mut weights = line_words;
            if FORMAT == WIDENED {
                for weights in &mut weights {
                    *weights = lanes.as_words(lanes.halves(*weights)[word]);
                }
            }
            for (row, tile) in tile.iter_mut().enumerate() {
                // SAFETY: row < ROWS, and this is the column of one of the panel's words: the last of these was seen to be there.
                let word = lanes.splat_word(unsafe { *rows.of_row(column, row) });
                for (sum, weights) in tile.iter_mut().zip(weights) {
                    *sum = match FORMAT {
                        INT8 => lanes.dot_bytes(*sum, word, weights),
                        SHORTS => lanes.dot_shorts(*sum, word, weights),
                        BF16 => {
                            lanes.as_words(lanes.dot_halves(lanes.as_floats(*sum), word, weights))
                        }
                        _ => {
                            let (word, weights) = (lanes.as_floats(word), lanes.as_floats(weights));
                            lanes.as_words(lanes.fma(word, weights, lanes.as_floats(*sum)))
                        }
                    };
                }
            }
            column = column.wrapping_add(rows.group);
        }
    }
    for (sums, tile) in sums.iter_mut().zip(tile) {
        for (vector, sum) in tile.into_iter().enumerate() {
            lanes.store_words(sum, &mut sums.0[from + vector * L::N..]);
        }
    }
}
