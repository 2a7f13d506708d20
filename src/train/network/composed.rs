//! The encoder in candle's own operations, for any device, with candle's derivatives.

use super::heads::{linear, mask};
use super::{Batch, EMBEDDINGS, LAYER, Pass, Shape, Taught, head_weights, heads};
use crate::train::kernels::dropout::Dropout;
use candle_core::{D, Device, Result, Tensor, Var};
use candle_nn::ops::softmax;

/// Vectors of the last layer: [tokens, width].
pub(super) fn hidden(
    shape: &Shape,
    weights: &[Tensor],
    batch: &Batch,
    dropout: Dropout,
) -> Result<Tensor> {
    let device = weights[0].device();
    let words = weights[0].index_select(&indices(&batch.ids, device)?, 0)?;
    encode(shape, weights, batch, dropout, &words)
}

/// The same from the word embeddings of the tokens on.
fn encode(
    shape: &Shape,
    weights: &[Tensor],
    batch: &Batch,
    dropout: Dropout,
    words: &Tensor,
) -> Result<Tensor> {
    let device = words.device();
    let positions = weights[1].index_select(&indices(&batch.positions, device)?, 0)?;
    let sum = (words + positions)?.broadcast_add(&weights[2].get(0)?)?;
    let mut x = drop(
        &norm(&sum, &weights[3], &weights[4], shape.layer_norm_eps)?,
        dropout.at(0),
    )?;
    let grid = Grid::new(batch, device)?;
    for layer in 0..shape.layers.len() {
        let weights = &weights[EMBEDDINGS + layer * LAYER..][..LAYER];
        let place = |part: u32| dropout.at(1 + layer as u32 * 3 + part);
        let heads = shape.layers[layer].heads;
        let attended = attend((heads, shape.head_width()), weights, &x, &grid, place(0))?;
        let out = linear(&attended, &weights[6], &weights[7])?;
        let sum = (drop(&out, place(1))? + &x)?;
        let between = norm(&sum, &weights[8], &weights[9], shape.layer_norm_eps)?;
        let inner = linear(&between, &weights[10], &weights[11])?.gelu_erf()?;
        let out = linear(&inner, &weights[12], &weights[13])?;
        let sum = (drop(&out, place(2))? + &between)?;
        x = norm(&sum, &weights[14], &weights[15], shape.layer_norm_eps)?;
    }
    Ok(x)
}

/// Loss and gradients by automatic differentiation.
pub(super) fn learn(
    shape: &Shape,
    weights: &[Tensor],
    batch: &Batch,
    pass: Pass,
) -> Result<Taught> {
    let device = weights[0].device();
    let words = weights[0].index_select(&indices(&batch.ids, device)?, 0)?;
    let words = Var::from_tensor(&words)?;
    let vars = weights[1..]
        .iter()
        .map(Var::from_tensor)
        .collect::<Result<Vec<_>>>()?;
    let tensors: Vec<Tensor> = std::iter::once(words.as_tensor().clone())
        .chain(vars.iter().map(|var| var.as_tensor().clone()))
        .collect();
    let dropout = pass.dropout();
    let hidden = encode(shape, &tensors, batch, dropout, &words)?;
    let logits = heads::logits(&hidden, head_weights(&tensors), batch, dropout)?;
    let loss = heads::loss(&logits, batch, pass)?;
    let gradients = loss.backward()?;
    let gradients = tensors
        .iter()
        .map(|tensor| match gradients.get(tensor) {
            Some(gradient) => gradient.contiguous(),
            None => tensor.zeros_like(),
        })
        .collect::<Result<_>>()?;
    Ok(Taught {
        loss: loss.to_scalar()?,
        gradients,
    })
}

fn indices(values: &[u32], device: &Device) -> Result<Tensor> {
    Tensor::new(values, device)
}

fn drop(x: &Tensor, dropout: Dropout) -> Result<Tensor> {
    x * mask(x.dims2()?, dropout, x.device())?
}

fn norm(x: &Tensor, gain: &Tensor, shift: &Tensor, epsilon: f64) -> Result<Tensor> {
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
    let normal = centred.broadcast_div(&(variance + epsilon)?.sqrt()?)?;
    normal.broadcast_mul(gain)?.broadcast_add(shift)
}

/// Texts side by side, padded to the longest: only attention needs that.
struct Grid {
    texts: usize,
    longest: usize,
    lengths: Vec<usize>,
    /// Token of each place; of padding the first.
    tokens: Tensor,
    /// Place of each token.
    places: Tensor,
    /// 0 for a token, a large negative number for padding: [texts, 1, 1, longest].
    padding: Tensor,
}

impl Grid {
    fn new(batch: &Batch, device: &Device) -> Result<Self> {
        let texts = batch.lengths.len();
        let longest = batch.lengths.iter().copied().max().unwrap_or(0);
        let (mut tokens, mut places, mut padding) = (Vec::new(), Vec::new(), Vec::new());
        let mut first = 0;
        for (text, &length) in batch.lengths.iter().enumerate() {
            for place in 0..longest {
                let is_token = place < length;
                tokens.push(if is_token { (first + place) as u32 } else { 0 });
                padding.push(if is_token { 0f32 } else { -1e9 });
                if is_token {
                    places.push((text * longest + place) as u32);
                }
            }
            first += length;
        }
        Ok(Self {
            texts,
            longest,
            lengths: batch.lengths.clone(),
            tokens: indices(&tokens, device)?,
            places: indices(&places, device)?,
            padding: Tensor::from_vec(padding, (texts, 1, 1, longest), device)?,
        })
    }

    /// The factors of dropout on attention weights, in the order in which the fused kernel counts them.
    fn mask(&self, heads: usize, dropout: Dropout, device: &Device) -> Result<Tensor> {
        let mut factors = vec![1f32; self.texts * heads * self.longest * self.longest];
        let mut index = 0u32;
        for (text, &length) in self.lengths.iter().enumerate() {
            for head in 0..heads {
                for query in 0..length {
                    for key in 0..length {
                        let row = (text * heads + head) * self.longest + query;
                        factors[row * self.longest + key] = dropout.factor(index);
                        index = index.wrapping_add(1);
                    }
                }
            }
        }
        Tensor::from_vec(
            factors,
            (self.texts, heads, self.longest, self.longest),
            device,
        )
    }
}

/// Self-attention of so many heads of a width.
fn attend(
    (heads, head_width): (usize, usize),
    weights: &[Tensor],
    x: &Tensor,
    grid: &Grid,
    dropout: Dropout,
) -> Result<Tensor> {
    let split = |part: usize| -> Result<Tensor> {
        linear(x, &weights[part * 2], &weights[part * 2 + 1])?
            .index_select(&grid.tokens, 0)?
            .reshape((grid.texts, grid.longest, heads, head_width))?
            .transpose(1, 2)?
            .contiguous()
    };
    let (q, k, v) = (split(0)?, split(1)?, split(2)?);
    let scores = (q.matmul(&k.t()?.contiguous()?)? / (head_width as f64).sqrt())?;
    let weights = softmax(&scores.broadcast_add(&grid.padding)?, D::Minus1)?;
    let weights = (weights * grid.mask(heads, dropout, x.device())?)?;
    weights
        .matmul(&v)?
        .transpose(1, 2)?
        .reshape((grid.texts * grid.longest, heads * head_width))?
        .index_select(&grid.places, 0)
}
