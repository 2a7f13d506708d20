//! A BERT encoder that can be trained (Devlin et al., 2018, arXiv:1810.04805), with a head for the document and one
//! for the entities it names.
//!
//! Texts stand one behind the other in a batch, as rows of one matrix: nothing is computed on padding. On the CPU
//! forward and backward pass are `fused`, written by hand; other devices take `composed`, which leaves the
//! derivatives to candle. Weights have Hugging Face's names, and those of the entity head begin with `entity.`.

mod batch;
mod composed;
mod fused;
mod heads;

pub use batch::{Batch, Target};

use super::kernels::dropout::Dropout;
use crate::model::LayerShape;
use candle_core::{Result, Tensor, Var};
use serde::Deserialize;

/// Shape of an encoder, as `config.json` tells it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Shape {
    /// Number of tokens the tokenizer knows.
    pub vocab_size: usize,
    /// Width of a token's vector.
    pub hidden_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Heads of attention in a whole layer.
    pub num_attention_heads: usize,
    /// Units of the feed-forward part of a whole layer.
    pub intermediate_size: usize,
    /// Most tokens of a text.
    pub max_position_embeddings: usize,
    /// Kinds of token; squall knows one.
    pub type_vocab_size: usize,
    /// Least variance in layer normalisation.
    pub layer_norm_eps: f64,
    /// Of each layer, from the first; only some of the heads and units may be left.
    #[serde(skip)]
    pub layers: Vec<LayerShape>,
}

/// Weights of the embeddings: words, positions, types, gain and shift of the normalisation.
pub(super) const EMBEDDINGS: usize = 5;
/// Weights of a layer.
pub(super) const LAYER: usize = 16;
/// Weights of the two heads.
const HEADS: usize = 8;

/// A weight: its name and shape.
#[derive(Debug, Clone, PartialEq)]
pub struct Weight {
    /// Hugging Face's name.
    pub name: String,
    /// Its dimensions; those of a linear layer are outputs, inputs.
    pub shape: Vec<usize>,
}

impl Shape {
    /// Width of a head of attention.
    pub fn head_width(&self) -> usize {
        self.hidden_size / self.num_attention_heads
    }

    /// A layer of which nothing is left out.
    pub fn whole(&self) -> LayerShape {
        LayerShape {
            heads: self.num_attention_heads,
            inner: self.intermediate_size,
        }
    }

    /// Every weight, in the order in which this module takes and gives them.
    pub fn weights(&self) -> Vec<Weight> {
        let width = self.hidden_size;
        let mut weights = Vec::new();
        let mut add = |name: String, shape: Vec<usize>| weights.push(Weight { name, shape });
        let embeddings = "bert.embeddings";
        for (name, rows) in [
            ("word", self.vocab_size),
            ("position", self.max_position_embeddings),
            ("token_type", self.type_vocab_size),
        ] {
            add(
                format!("{embeddings}.{name}_embeddings.weight"),
                vec![rows, width],
            );
        }
        add(format!("{embeddings}.LayerNorm.weight"), vec![width]);
        add(format!("{embeddings}.LayerNorm.bias"), vec![width]);
        let mut linear = |name: String, outputs: usize, inputs: usize| {
            add(format!("{name}.weight"), vec![outputs, inputs]);
            add(format!("{name}.bias"), vec![outputs]);
        };
        // A normalisation has gain and shift where a linear layer has weight and bias: without inputs.
        for (number, &LayerShape { heads, inner }) in self.layers.iter().enumerate() {
            let layer = format!("bert.encoder.layer.{number}");
            let attended = heads * self.head_width();
            for part in ["query", "key", "value"] {
                linear(format!("{layer}.attention.self.{part}"), attended, width);
            }
            linear(format!("{layer}.attention.output.dense"), width, attended);
            linear(format!("{layer}.attention.output.LayerNorm"), width, 0);
            linear(format!("{layer}.intermediate.dense"), inner, width);
            linear(format!("{layer}.output.dense"), width, inner);
            linear(format!("{layer}.output.LayerNorm"), width, 0);
        }
        linear("bert.pooler.dense".into(), width, width);
        linear("classifier".into(), 3, width);
        linear("entity.dense".into(), width, 2 * width);
        linear("entity.classifier".into(), 3, width);
        for weight in &mut weights {
            weight.shape.retain(|&size| size > 0);
        }
        weights
    }
}

/// What a batch taught.
pub struct Taught {
    /// Loss, summed over the batch's targets with their weights.
    pub loss: f32,
    /// Gradient of each weight. That of the word embeddings holds one row for each token of the batch.
    pub gradients: Vec<Tensor>,
}

/// How a pass is made.
#[derive(Debug, Clone, Copy)]
pub struct Pass {
    /// Share of values dropped; 0 for scoring.
    pub dropout: f32,
    /// What is dropped follows from it.
    pub seed: u32,
    /// Share of a target's probability that is spread over all classes (Szegedy et al., 2016).
    pub smoothing: f32,
    /// Above 0 the batch has been doubled, and what both halves answer for the same text, between which only what is dropped
    /// differs, is drawn together: the mean of the two Kullback-Leibler divergences times this is added to the cross entropy
    /// (R-Drop: Liang et al., 2021, arXiv:2106.14448).
    pub consistency: f32,
}

impl Pass {
    fn dropout(&self) -> Dropout {
        if self.dropout > 0.0 {
            Dropout::new(self.dropout, self.seed)
        } else {
            Dropout::NONE
        }
    }
}

/// Logits of documents and of entities: negative, neutral, positive each.
pub type Logits = (Vec<[f32; 3]>, Vec<[f32; 3]>);

/// Logits of a batch's documents and entities, in its order.
///
/// # Errors
/// When the weights do not have the shape.
pub fn logits(shape: &Shape, weights: &[Tensor], batch: &Batch) -> Result<Logits> {
    let hidden = if on_cpu(weights) {
        fused::forward(shape, weights, batch, Dropout::NONE)?.hidden
    } else {
        composed::hidden(shape, weights, batch, Dropout::NONE)?
    };
    let logits = heads::logits(&hidden, head_weights(weights), batch, Dropout::NONE)?;
    Ok((rows(&logits.documents)?, rows(&logits.entities)?))
}

/// Loss of a batch and its gradients.
///
/// # Errors
/// When the weights do not have the shape.
pub fn learn(shape: &Shape, weights: &[Tensor], batch: &Batch, pass: Pass) -> Result<Taught> {
    if on_cpu(weights) {
        learn_fused(shape, weights, batch, pass)
    } else {
        composed::learn(shape, weights, batch, pass)
    }
}

/// The heads are small: candle differentiates them, the encoder is differentiated by hand.
fn learn_fused(shape: &Shape, weights: &[Tensor], batch: &Batch, pass: Pass) -> Result<Taught> {
    let dropout = pass.dropout();
    let forward = fused::forward(shape, weights, batch, dropout)?;
    let hidden = Var::from_tensor(&forward.hidden)?;
    let head = head_weights(weights)
        .iter()
        .map(Var::from_tensor)
        .collect::<Result<Vec<_>>>()?;
    let tensors: Vec<Tensor> = head.iter().map(|var| var.as_tensor().clone()).collect();
    let logits = heads::logits(&hidden, &tensors, batch, dropout)?;
    let loss = heads::loss(&logits, batch, pass)?;
    let gradients = loss.backward()?;
    let of = |tensor: &Tensor| match gradients.get(tensor) {
        Some(gradient) => gradient.contiguous(),
        None => tensor.zeros_like(),
    };
    let mut all = fused::backward(shape, weights, batch, dropout, &forward, &of(&hidden)?)?;
    for tensor in &tensors {
        all.push(of(tensor)?);
    }
    Ok(Taught {
        loss: loss.to_scalar()?,
        gradients: all,
    })
}

fn on_cpu(weights: &[Tensor]) -> bool {
    weights
        .first()
        .is_none_or(|weight| weight.device().is_cpu())
}

fn head_weights(weights: &[Tensor]) -> &[Tensor] {
    &weights[weights.len() - HEADS..]
}

fn rows(logits: &Option<Tensor>) -> Result<Vec<[f32; 3]>> {
    let Some(logits) = logits else {
        return Ok(Vec::new());
    };
    let rows = logits.to_vec2::<f32>()?;
    Ok(rows.iter().map(|row| [row[0], row[1], row[2]]).collect())
}

#[cfg(test)]
mod tests;
