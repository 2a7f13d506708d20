//! Matrix products: rows of activations times weights that were packed once, when the model was opened.
//!
//! One layout serves all formats. A row is cut into groups of 32 bits: four bytes, two bf16 or one f32. Weights lie in
//! panels of 32 output channels; a panel has a [`Line`] for each group, with that group's weights of all 32 channels. A tile of
//! some rows and one panel keeps its sums in registers while it walks along the groups: for each, one word of a row
//! is copied to all lanes and multiplied with the channels' words.

use super::Format;
use super::lanes::{Lanes, pair};
use super::plain::half;

/// Output channels of a panel.
pub(super) const CHANNELS: usize = 32;

/// Most rows of a tile on any level.
const MOST_ROWS: usize = 14;

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
    /// Words of a row.
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
        self.groups = width.div_ceil(self.format.in_a_word());
        self.words.resize(self.rows * self.groups, 0);
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
    assert_eq!((rows.format, rows.groups), (weights.format, weights.groups));
    assert_eq!(out.len(), rows.rows * weights.outputs);
    match weights.format {
        Format::Int8 => panels::<L, INT8>(lanes, rows, weights, epilogue, out),
        Format::Bf16 => panels::<L, BF16>(lanes, rows, weights, epilogue, out),
        Format::F32 => panels::<L, F32>(lanes, rows, weights, epilogue, out),
    }
}

const INT8: u8 = 0;
pub(super) const BF16: u8 = 1;
pub(super) const F32: u8 = 2;

#[inline(always)]
fn panels<L: Lanes, const FORMAT: u8>(
    lanes: L,
    rows: &Operand,
    weights: &Packed,
    epilogue: Epilogue,
    out: &mut [f32],
) {
    let mut sums = [Line::ZERO; MOST_ROWS];
    for (panel, channels) in weights.channels.iter().enumerate() {
        let lines = &weights.lines[panel * weights.groups..][..weights.groups];
        let first = panel * CHANNELS;
        let width = CHANNELS.min(weights.outputs - first);
        for tile in tiles::<L>(rows.rows) {
            let operand = Words {
                words: &rows.words[tile.start * rows.groups..],
                row: rows.groups,
                group: 1,
            };
            tile_sums::<L, FORMAT>(lanes, operand, lines, &mut sums[..tile.len()]);
            for (sums, row) in sums.iter().zip(tile) {
                let [scale, shift] = rows.scales[row];
                let out = &mut out[row * weights.outputs + first..][..width];
                for at in (0..width).step_by(L::N) {
                    let sums = lanes.load_words(&sums.0[at..]);
                    let value = if FORMAT == INT8 {
                        let shifted = lanes.fma(
                            lanes.splat(shift),
                            lanes.load(&channels.total[at..]),
                            lanes.load(&channels.bias[at..]),
                        );
                        let sums =
                            lanes.mul(lanes.to_floats(sums), lanes.load(&channels.scale[at..]));
                        lanes.fma(sums, lanes.splat(scale), shifted)
                    } else {
                        lanes.add(lanes.as_floats(sums), lanes.load(&channels.bias[at..]))
                    };
                    let out = &mut out[at..];
                    let value = match epilogue {
                        Epilogue::Store => value,
                        Epilogue::Gelu => lanes.gelu(value),
                        Epilogue::Relu => lanes.max(value, lanes.splat(0.0)),
                        Epilogue::Add => lanes.add(value, lanes.load_part(out, 0.0)),
                    };
                    match out.len() >= L::N {
                        true => lanes.store(value, out),
                        false => lanes.store_part(value, out),
                    }
                }
            }
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
    pub(super) words: &'a [u32],
    pub(super) row: usize,
    pub(super) group: usize,
}

/// Sums of a tile: for each row and channel, the dot product along the groups. Integers in int8, else f32.
#[inline(always)]
pub(super) fn tile_sums<L: Lanes, const FORMAT: u8>(
    lanes: L,
    rows: Words,
    panel: &[Line],
    sums: &mut [Line],
) {
    macro_rules! by_rows {
        ($($rows:literal)*) => {
            match sums.len() {
                $($rows => if let Ok(sums) = sums.try_into() && $rows <= L::ROWS {
                    tile_of::<L, FORMAT, $rows>(lanes, rows, panel, sums);
                },)*
                other => unreachable!("a tile of {other} rows"),
            }
        };
    }
    by_rows!(1 2 3 4 5 6 7 8 9 10 11 12 13 14);
}

#[inline(always)]
fn tile_of<L: Lanes, const FORMAT: u8, const ROWS: usize>(
    lanes: L,
    rows: Words,
    panel: &[Line],
    sums: &mut [Line; ROWS],
) {
    // Two vectors of channels at a time.
    columns::<L, FORMAT, ROWS, 0>(lanes, rows, panel, sums);
    if L::N == 8 {
        columns::<L, FORMAT, ROWS, 16>(lanes, rows, panel, sums);
    }
}

#[inline(always)]
fn columns<L: Lanes, const FORMAT: u8, const ROWS: usize, const FROM: usize>(
    lanes: L,
    rows: Words,
    panel: &[Line],
    sums: &mut [Line; ROWS],
) {
    let last = (ROWS - 1) * rows.row + panel.len().saturating_sub(1) * rows.group;
    assert!(panel.is_empty() || last < rows.words.len());
    let zero = lanes.splat_word(0);
    let mut tile = [[zero; 2]; ROWS];
    for (group, line) in panel.iter().enumerate() {
        let weights = [
            lanes.load_words(&line.0[FROM..]),
            lanes.load_words(&line.0[FROM + L::N..]),
        ];
        for (row, tile) in tile.iter_mut().enumerate() {
            // SAFETY: row < ROWS and group < panel.len(), and the last of these words was seen to be there.
            let word = unsafe {
                *rows
                    .words
                    .get_unchecked(row * rows.row + group * rows.group)
            };
            let word = lanes.splat_word(word);
            for (sum, weights) in tile.iter_mut().zip(weights) {
                *sum = match FORMAT {
                    INT8 => lanes.dot_bytes(*sum, word, weights),
                    BF16 => lanes.as_words(lanes.dot_halves(lanes.as_floats(*sum), word, weights)),
                    _ => {
                        let (word, weights) = (lanes.as_floats(word), lanes.as_floats(weights));
                        lanes.as_words(lanes.fma(word, weights, lanes.as_floats(*sum)))
                    }
                };
            }
        }
    }
    for (sums, tile) in sums.iter_mut().zip(tile) {
        for (half, sum) in tile.into_iter().enumerate() {
            let to = &mut sums.0[FROM + half * L::N..];
            lanes.store_words(sum, to);
        }
    }
}
