//! The encoder: token ids in, hidden states out, in squall's own kernels.
//!
//! All tokens of a batch lie in one matrix, a row each, without padding: linear layers do not care which text a row belongs
//! to, and attention looks at the rows of one text at a time. In the last layer only what is asked for is computed.

mod layers;
mod names;

use super::folder::Shape;
use super::kernels::{Format, Level, Operand, Scratch};
use super::weights::Weights;
use layers::{Layer, Norm};
use names::Names;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// A BERT-like encoder, up to its last hidden states.
pub(super) struct Encoder {
    level: Level,
    format: Format,
    width: usize,
    words: Vec<f32>,
    /// Position and token type 0 together, from a text's first token on.
    positions: Vec<f32>,
    norm: Norm,
    layers: Vec<Layer>,
    /// Memory of passes that have ended, for those to come.
    idle: Mutex<Vec<Memory>>,
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
    queries: Vec<f32>,
    keys_values: Vec<f32>,
    context: Vec<f32>,
    inner: Vec<f32>,
    attention: Scratch,
}

impl Encoder {
    /// Takes the weights of an encoder of the given shape, and packs them for products in `format`.
    pub(super) fn take(weights: &Weights, shape: &Shape, format: Format) -> Result<Self, String> {
        let names = Names::of(shape.family);
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
        let layers = shape.layers.iter().enumerate().map(|(layer, &sizes)| {
            let weights = weights.within(&format!("{}.{layer}", names.layers));
            Layer::take(&weights, &names, shape, sizes, format)
        });
        Ok(Self {
            level: Level::best(),
            format,
            width,
            words: table("word", shape.vocab_size)?,
            positions,
            norm: Norm::take(&embeddings.within("LayerNorm"), shape)?,
            layers: layers.collect::<Result<_, _>>()?,
            idle: Mutex::default(),
        })
    }

    /// The format of its products.
    pub(super) fn format(&self) -> Format {
        self.format
    }

    /// Products of numbers in its matrix products for each token, but for those of the tokens asked for.
    pub(super) fn multiplications_per_token(&self) -> f64 {
        let last = self.layers.len().saturating_sub(1);
        let layers = self.layers.iter().enumerate();
        layers
            .map(|(index, layer)| layer.multiplications(index == last))
            .sum::<usize>() as f64
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
        let last = self.layers.len().saturating_sub(1);
        for (index, layer) in self.layers.iter().enumerate() {
            if index == last {
                for (request, rows) in requests.iter().zip(&mut rows) {
                    let begin = wanted.len();
                    wanted.extend(request.wanted.iter().map(|place| rows.all.start + place));
                    rows.asked = begin..wanted.len();
                }
            }
            let only = (index == last).then_some(&wanted[..]);
            layer.forward(self.level, &rows, only, &mut memory);
        }
        let hidden = memory.hidden.clone();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push(memory);
        hidden
    }

    fn embed(&self, requests: &[Request], hidden: &mut Vec<f32>) {
        hidden.clear();
        for request in requests {
            for (&token, position) in request.tokens.iter().zip(self.positions.chunks(self.width)) {
                let word = &self.words[token as usize * self.width..][..self.width];
                hidden.extend(
                    word.iter()
                        .zip(position)
                        .map(|(word, position)| word + position),
                );
            }
        }
        self.norm.apply(self.level, hidden);
    }

    fn memory(&self) -> Memory {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.pop().unwrap_or_else(|| Memory {
            operand: Operand::new(self.format),
            hidden: Vec::new(),
            queries: Vec::new(),
            keys_values: Vec::new(),
            context: Vec::new(),
            inner: Vec::new(),
            attention: Scratch::default(),
        })
    }
}
