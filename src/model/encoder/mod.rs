//! The encoder: token ids in, hidden states out, in squall's own kernels.
//!
//! All tokens of a batch lie in one matrix, a row each, without padding: linear layers do not care which text a row belongs
//! to, and attention looks at the rows of one text at a time. In the last layer only what is asked for is computed.

mod gpu;
mod layers;
mod modern;
mod names;

use super::folder::Shape;
use super::kernels::{Format, Level, Operand, Scratch};
use super::weights::{Bias, Weights};
use crate::lock::lock;
pub(super) use gpu::GpuEncoder;
use layers::Layer;
pub(super) use layers::Norm;
use modern::{ModernLayer, rotations};
use names::Names;
use std::ops::Range;
use std::sync::{Arc, Mutex};

/// A BERT-like encoder, up to its last hidden states.
pub(super) struct Encoder {
    level: Level,
    format: Format,
    width: usize,
    words: Vec<f32>,
    /// Position and token type 0 together, from a text's first token on; empty where positions are rotations.
    positions: Vec<f32>,
    norm: Norm,
    layers: Layers,
    /// Memory of passes that have ended, for those to come.
    idle: Mutex<Vec<Memory>>,
}

/// The layers, by where their normalisations stand.
enum Layers {
    /// Behind each part.
    After(Vec<Layer>),
    /// Before each part, and one behind the last layer.
    Before(Vec<ModernLayer>, Norm),
}

/// A text, and what of it is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    /// Its tokens, special ones included; not empty, not longer than the model has positions, all in its vocabulary.
    pub(super) tokens: &'a [u32],
    /// Places of the tokens whose last hidden states are wanted; 0 is the one that stands for the whole text.
    pub(super) wanted: &'a [usize],
}

/// Where a text's rows lie in the matrices of a layer.
#[derive(Debug, Clone)]
struct Rows {
    /// Of its tokens.
    all: Range<usize>,
    /// Of what is computed for it: the same, but in the last layer.
    asked: Range<usize>,
}

/// What a pass works in.
#[derive(Debug)]
struct Memory {
    operand: Operand,
    hidden: Vec<f32>,
    normed: Vec<f32>,
    queries: Vec<f32>,
    keys_values: Vec<f32>,
    context: Vec<f32>,
    inner: Vec<f32>,
    gate: Vec<f32>,
    attention: Scratch,
}

impl Encoder {
    /// Takes the weights of an encoder of the given shape, and packs them for products in `format`.
    pub(super) fn take(weights: &Weights, shape: &Shape, format: Format) -> Result<Self, String> {
        let Some(names) = Names::of(shape.family) else {
            return Self::take_modern(weights, shape, format);
        };
        let embeddings = weights.within(names.embeddings);
        let (words, positions) = tables(weights, &names, shape)?;
        let layers = shape.layers.iter().enumerate().map(|(layer, &sizes)| {
            let weights = weights.within(&format!("{}.{layer}", names.layers));
            Layer::take(&weights, &names, shape, sizes, format)
        });
        Ok(Self {
            level: Level::best(),
            format,
            width: shape.hidden_size,
            words,
            positions,
            norm: Norm::take(&embeddings.within("LayerNorm"), shape, Bias::Given)?,
            layers: Layers::After(layers.collect::<Result<_, _>>()?),
            idle: Mutex::default(),
        })
    }

    fn take_modern(weights: &Weights, shape: &Shape, format: Format) -> Result<Self, String> {
        let weights = weights.within("model");
        let embeddings = weights.within("embeddings");
        let width = shape.hidden_size;
        let [global, local] = rotations(shape).map(Arc::new);
        let layers = (0..shape.num_hidden_layers).map(|number| {
            let weights = weights.within(&format!("layers.{number}"));
            ModernLayer::take(&weights, shape, number, [&global, &local], format)
        });
        Ok(Self {
            level: Level::best(),
            format,
            width,
            words: embeddings.take("tok_embeddings.weight", &[shape.vocab_size, width])?,
            positions: Vec::new(),
            norm: Norm::take(&embeddings.within("norm"), shape, Bias::Optional)?,
            layers: Layers::Before(
                layers.collect::<Result<_, _>>()?,
                Norm::take(&weights.within("final_norm"), shape, Bias::Optional)?,
            ),
            idle: Mutex::default(),
        })
    }

    /// Products of numbers in its matrix products for each token, but for those of the tokens asked for.
    pub(super) fn multiplications_per_token(&self) -> f64 {
        let all: usize = match &self.layers {
            Layers::After(layers) => {
                let last = layers.len().saturating_sub(1);
                let layers = layers.iter().enumerate();
                layers
                    .map(|(index, layer)| layer.multiplications(index == last))
                    .sum()
            }
            Layers::Before(layers, _) => layers.iter().map(ModernLayer::multiplications).sum(),
        };
        all as f64
    }

    /// What the processor computes it with.
    pub(super) fn level(&self) -> Level {
        self.level
    }

    /// Last hidden states of what is wanted of each request, in their order: rows as wide as the encoder.
    pub(super) fn hidden(&self, requests: &[Request]) -> Vec<f32> {
        let mut memory = self.memory();
        self.embed(requests, &mut memory.hidden);
        let mut rows = Vec::with_capacity(requests.len());
        let mut wanted = Vec::new();
        let mut start = 0;
        for request in requests {
            let all = start..start + request.tokens.len();
            rows.push(Rows {
                all: all.clone(),
                asked: all.clone(),
            });
            start = all.end;
        }
        for (request, rows) in requests.iter().zip(&rows) {
            wanted.extend(request.wanted.iter().map(|place| rows.all.start + place));
        }
        match &self.layers {
            Layers::After(layers) => {
                let last = layers.len().saturating_sub(1);
                for (index, layer) in layers.iter().enumerate() {
                    if index == last {
                        ask_for(requests, &mut rows);
                    }
                    let only = (index == last).then_some(&wanted[..]);
                    layer.forward(self.level, &rows, only, &mut memory);
                }
            }
            Layers::Before(layers, norm) => {
                for layer in layers {
                    layer.forward(self.level, &rows, &mut memory);
                }
                let row = |&row: &usize| &memory.hidden[row * self.width..][..self.width];
                memory.hidden = wanted.iter().flat_map(row).copied().collect();
                norm.apply(self.level, &mut memory.hidden);
            }
        }
        let hidden = memory.hidden.clone();
        let mut idle = lock(&self.idle);
        idle.push(memory);
        hidden
    }

    fn embed(&self, requests: &[Request], hidden: &mut Vec<f32>) {
        hidden.clear();
        for request in requests {
            let first = hidden.len();
            for &token in request.tokens {
                hidden.extend_from_slice(&self.words[token as usize * self.width..][..self.width]);
            }
            for (number, position) in hidden[first..].iter_mut().zip(&self.positions) {
                *number += position;
            }
        }
        self.norm.apply(self.level, hidden);
    }

    fn memory(&self) -> Memory {
        let mut idle = lock(&self.idle);
        idle.pop().unwrap_or_else(|| Memory {
            operand: Operand::new(self.format),
            hidden: Vec::new(),
            normed: Vec::new(),
            queries: Vec::new(),
            keys_values: Vec::new(),
            context: Vec::new(),
            inner: Vec::new(),
            gate: Vec::new(),
            attention: Scratch::default(),
        })
    }
}

/// The words' embeddings, and those of position and token type 0 together from a text's first token on.
fn tables(weights: &Weights, names: &Names, shape: &Shape) -> Result<(Vec<f32>, Vec<f32>), String> {
    let embeddings = weights.within(names.embeddings);
    let width = shape.hidden_size;
    let table = |name: &str, rows| {
        embeddings
            .within(&format!("{name}_embeddings"))
            .take("weight", &[rows, width])
    };
    let mut positions = table("position", shape.max_position_embeddings)?;
    positions.drain(..shape.first_position().min(shape.max_position_embeddings) * width);
    let types = match shape.type_vocab_size {
        0 => vec![0.0; width],
        types => table("token_type", types)?,
    };
    for row in positions.chunks_exact_mut(width) {
        for (position, kind) in row.iter_mut().zip(&types) {
            *position += kind;
        }
    }
    Ok((table("word", shape.vocab_size)?, positions))
}

/// Weight, row by row of an output, and bias.
type Linear = (Vec<f32>, Vec<f32>);

/// Queries with the scale of the scores, 1 / sqrt(width of a head), in them.
fn scaled((mut weight, mut bias): Linear, head: usize) -> Linear {
    let scale = 1.0 / (head as f32).sqrt();
    for number in weight.iter_mut().chain(&mut bias) {
        *number *= scale;
    }
    (weight, bias)
}

/// Weight and bias of a layer's queries, with the scale of the scores, 1 / sqrt(width of a head), in them.
fn queries(
    weights: &Weights,
    names: &Names,
    [width, attended, head]: [usize; 3],
) -> Result<Linear, String> {
    let queries = weights.linear(names.attention[0], width, attended, Bias::Given)?;
    Ok(scaled(queries, head))
}

/// From here on only what is wanted is computed: its rows stand one behind the other.
fn ask_for(requests: &[Request], rows: &mut [Rows]) {
    let mut begin = 0;
    for (request, rows) in requests.iter().zip(rows) {
        rows.asked = begin..begin + request.wanted.len();
        begin = rows.asked.end;
    }
}
