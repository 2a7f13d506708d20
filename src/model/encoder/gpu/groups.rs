//! Texts of about the same length, which go through attention together: a grid of texts, heads and tokens for each group.

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::ops::softmax_last_dim;

/// Added to the scores of what is not to be seen. Twice this, where padding lies outside the window, is still finite in f16;
/// if it were not, the softmax of a row could be no number.
const UNSEEN: f32 = -30_000.0;

/// The longest text of a group may be so many times as long as its shortest.
const LONGEST: f64 = 1.25;

/// Texts that go through attention together.
pub(super) struct Group {
    texts: usize,
    longest: usize,
    /// First row of its texts, and how many.
    rows: (usize, usize),
    /// Where texts differ in length.
    padded: Option<Padded>,
    /// Where there are layers that see a window, and texts longer than it; added to the scores: [longest, longest].
    window: Option<Tensor>,
}

struct Padded {
    /// Row of each place of the grid; of padding any.
    rows: Tensor,
    /// Place of each row.
    places: Tensor,
    /// What is added to the scores: [texts, 1, 1, longest].
    mask: Tensor,
}

/// What a token sees of its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sight {
    All,
    Window,
}

/// Groups of texts whose lengths, in rising order, are given. Layers that see a window see so many tokens on either side.
pub(super) fn groups(
    lengths: &[usize],
    window: Option<usize>,
    dtype: DType,
    device: &Device,
) -> Result<Vec<Group>> {
    let window = match (window, lengths.last()) {
        (Some(window), Some(&longest)) if window + 1 < longest => {
            Some((window, band(window, longest, dtype, device)?))
        }
        _ => None,
    };
    let mut groups = Vec::new();
    let mut row = 0;
    for lengths in alike(lengths) {
        let longest = lengths.last().copied().unwrap_or(0);
        let rows: usize = lengths.iter().sum();
        let padded = (lengths[0] < longest).then(|| Padded::new(lengths, longest, dtype, device));
        let window = window.as_ref().filter(|(window, _)| window + 1 < longest);
        groups.push(Group {
            texts: lengths.len(),
            longest,
            rows: (row, rows),
            padded: padded.transpose()?,
            window: window
                .map(|(_, band)| band.narrow(0, 0, longest)?.narrow(1, 0, longest))
                .transpose()?,
        });
        row += rows;
    }
    Ok(groups)
}

/// Runs of lengths, which rise, that differ little.
fn alike(lengths: &[usize]) -> Vec<&[usize]> {
    let mut rest = lengths;
    let mut runs = Vec::new();
    while let Some(&shortest) = rest.first() {
        let longest = shortest as f64 * LONGEST;
        let (run, others) = rest.split_at(rest.partition_point(|&one| one as f64 <= longest));
        runs.push(run);
        rest = others;
    }
    runs
}

/// What is added to the scores of a text so long where tokens see so many others on either side; its beginning is that of a
/// shorter text.
fn band(window: usize, longest: usize, dtype: DType, device: &Device) -> Result<Tensor> {
    let mut mask = vec![UNSEEN; longest * longest];
    for (token, row) in mask.chunks_exact_mut(longest).enumerate() {
        row[token.saturating_sub(window)..longest.min(token + window + 1)].fill(0.0);
    }
    Tensor::from_vec(mask, (longest, longest), device)?.to_dtype(dtype)
}

impl Padded {
    fn new(lengths: &[usize], longest: usize, dtype: DType, device: &Device) -> Result<Self> {
        let (mut rows, mut places, mut mask) = (Vec::new(), Vec::new(), Vec::new());
        let mut row = 0;
        for (text, &length) in lengths.iter().enumerate() {
            for place in 0..longest {
                let is_token = place < length;
                rows.push(row + place.min(length - 1) as u32);
                mask.push(if is_token { 0.0 } else { UNSEEN });
                if is_token {
                    places.push((text * longest + place) as u32);
                }
            }
            row += length as u32;
        }
        let shape = (lengths.len(), 1, 1, longest);
        Ok(Self {
            rows: Tensor::new(rows, device)?,
            places: Tensor::new(places, device)?,
            mask: Tensor::from_vec(mask, shape, device)?.to_dtype(dtype)?,
        })
    }
}

impl Group {
    /// The rows of its texts, of all that there are, as a grid: [texts, heads, longest, width of a head].
    pub(super) fn grid(&self, all: &Tensor, heads: usize) -> Result<Tensor> {
        let (begin, count) = self.rows;
        let rows = all.narrow(0, begin, count)?;
        let rows = match &self.padded {
            Some(padded) => rows.index_select(&padded.rows, 0)?,
            None => rows,
        };
        let head = rows.dim(1)? / heads;
        rows.reshape((self.texts, self.longest, heads, head))?
            .transpose(1, 2)?
            .contiguous()
    }

    /// What its texts attend to, of grids of queries, in which the scale of the scores is, keys and values: [rows, attended].
    pub(super) fn attend(
        &self,
        [queries, keys, values]: [&Tensor; 3],
        sight: Sight,
    ) -> Result<Tensor> {
        let mut scores = queries.matmul(&keys.t()?)?;
        if let Some(padded) = &self.padded {
            scores = scores.broadcast_add(&padded.mask)?;
        }
        if let Some(window) = self.window.as_ref().filter(|_| sight == Sight::Window) {
            scores = scores.broadcast_add(window)?;
        }
        let context = softmax_last_dim(&scores)?
            .matmul(values)?
            .transpose(1, 2)?
            .flatten_to(1)?
            .flatten_from(1)?;
        match &self.padded {
            Some(padded) => context.index_select(&padded.places, 0),
            None => Ok(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_about_one_length_are_a_group() {
        let lengths = [4, 4, 5, 6, 7, 100, 125, 126];
        let runs: Vec<Vec<usize>> = alike(&lengths).into_iter().map(<[usize]>::to_vec).collect();
        assert_eq!(runs, [vec![4, 4, 5], vec![6, 7], vec![100, 125], vec![126]]);
        assert!(alike(&[]).is_empty());
    }
}
