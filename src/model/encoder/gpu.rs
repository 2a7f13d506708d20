//! The encoder on a GPU, in candle's operations.
//!
//! As on the processor all tokens of a batch lie in one matrix without padding, and the last layer computes only what is
//! asked for. Attention takes texts of about the same length together, a grid for each such group.

use super::{Names, Request};
use crate::model::folder::{Activation, Shape};
use crate::model::weights::{Bias, Weights};
use candle_core::{DType, Device, Error, Result, Tensor};
use candle_nn::ops::{layer_norm, softmax_last_dim};

/// Added to the scores of padding. A larger one would be infinite in f16, and the softmax of a row then no number.
const PADDING: f32 = -30_000.0;

/// The longest text of a group may be so many times as long as its shortest.
const LONGEST: f64 = 1.25;

/// A BERT-like encoder on one device.
pub(in crate::model) struct GpuEncoder {
    device: Device,
    words: Tensor,
    /// Position and token type 0 together, from a text's first token on.
    positions: Tensor,
    norm: Norm,
    layers: Vec<Layer>,
}

struct Norm {
    weight: Tensor,
    bias: Tensor,
    epsilon: f32,
}

struct Linear {
    /// [inputs, outputs]
    weight: Tensor,
    bias: Tensor,
}

struct Layer {
    heads: usize,
    /// Queries, keys, values; the scale of the scores is in the queries.
    projections: [Linear; 3],
    attended: Linear,
    attended_norm: Norm,
    inner: Linear,
    activation: Activation,
    outer: Linear,
    outer_norm: Norm,
}

/// Texts that go through attention together.
struct Group {
    texts: usize,
    longest: usize,
    /// First row of its texts, and how many.
    rows: (usize, usize),
    /// Where texts differ in length.
    padded: Option<Padded>,
}

struct Padded {
    /// Row of each place of the grid; of padding any.
    rows: Tensor,
    /// Place of each row.
    places: Tensor,
    /// What is added to the scores: [texts, 1, 1, longest].
    mask: Tensor,
}

impl GpuEncoder {
    /// Takes the weights of an encoder of the given shape to a device, as `dtype`.
    ///
    /// # Errors
    /// When a tensor is missing or has another shape, when the family is ModernBERT, and what the device says.
    pub(in crate::model) fn take(
        weights: &Weights,
        shape: &Shape,
        device: Device,
        dtype: DType,
    ) -> std::result::Result<Self, String> {
        let names = Names::of(shape.family)
            .ok_or("ModernBERT is computed on the processor only: set model.devices = [\"cpu\"]")?;
        let width = shape.hidden_size;
        let tensor = |values: Vec<f32>, sizes: &[usize]| {
            Tensor::from_vec(values, sizes, &Device::Cpu)
                .and_then(|tensor| tensor.to_dtype(dtype)?.to_device(&device))
                .map_err(|error| error.to_string())
        };
        let norm = |weights: &Weights| -> std::result::Result<Norm, String> {
            Ok(Norm {
                weight: tensor(weights.take("weight", &[width])?, &[width])?,
                bias: tensor(weights.bias(width, Bias::Given)?, &[width])?,
                epsilon: shape.layer_norm_eps as f32,
            })
        };
        let linear = |(weight, bias): (Vec<f32>, Vec<f32>)| -> std::result::Result<Linear, String> {
            let outputs = bias.len();
            let inputs = weight.len() / outputs;
            let weight = tensor(weight, &[outputs, inputs])?;
            let transposed = weight.t().and_then(|weight| weight.contiguous());
            Ok(Linear {
                weight: transposed.map_err(|error| error.to_string())?,
                bias: tensor(bias, &[outputs])?,
            })
        };
        let layer = |(number, sizes): (usize, &crate::model::LayerShape)| {
            let weights = weights.within(&format!("{}.{number}", names.layers));
            let head = width / shape.num_attention_heads;
            let attended = sizes.heads * head;
            let take = |name, inputs, outputs| weights.linear(name, inputs, outputs, Bias::Given);
            let [_, key, value] = names.attention;
            Ok(Layer {
                heads: sizes.heads,
                projections: [
                    linear(super::queries(&weights, &names, [width, attended, head])?)?,
                    linear(take(key, width, attended)?)?,
                    linear(take(value, width, attended)?)?,
                ],
                attended: linear(take(names.attended, attended, width)?)?,
                attended_norm: norm(&weights.within(names.attended_norm))?,
                inner: linear(take(names.inner, width, sizes.inner)?)?,
                activation: shape.hidden_act,
                outer: linear(take(names.outer, sizes.inner, width)?)?,
                outer_norm: norm(&weights.within(names.outer_norm))?,
            })
        };
        let (words, positions) = super::tables(weights, &names, shape)?;
        let layers = shape.layers.iter().enumerate().map(layer);
        let rows = positions.len() / width;
        Ok(Self {
            words: tensor(words, &[shape.vocab_size, width])?,
            positions: tensor(positions, &[rows, width])?,
            norm: norm(&weights.within(names.embeddings).within("LayerNorm"))?,
            layers: layers.collect::<std::result::Result<_, String>>()?,
            device,
        })
    }

    /// Last hidden states of what is wanted of each request, in their order: rows as wide as the encoder. What does not
    /// fit into the device's memory is halved.
    ///
    /// # Errors
    /// What the device says, where a text does not fit by itself, or anything else is wrong.
    pub(in crate::model) fn hidden(
        &self,
        requests: &[Request],
    ) -> std::result::Result<Vec<f32>, String> {
        halving(requests, &|requests: &[Request]| self.pass(requests))
            .map_err(|error| error.to_string())
    }

    fn pass(&self, requests: &[Request]) -> Result<Vec<f32>> {
        let mut order: Vec<usize> = (0..requests.len()).collect();
        order.sort_by_key(|&text| requests[text].tokens.len());
        let (mut ids, mut positions) = (Vec::new(), Vec::new());
        let mut begins = vec![0; requests.len()];
        for &text in &order {
            begins[text] = ids.len();
            ids.extend_from_slice(requests[text].tokens);
            positions.extend(0..requests[text].tokens.len() as u32);
        }
        let lengths: Vec<usize> = order.iter().map(|&i| requests[i].tokens.len()).collect();
        let groups = self.groups(&lengths)?;
        let wanted: Vec<u32> = requests
            .iter()
            .zip(&begins)
            .flat_map(|(request, begin)| request.wanted.iter().map(move |at| (begin + at) as u32))
            .collect();
        let wanted = Tensor::new(wanted, &self.device)?;
        let words = self
            .words
            .index_select(&Tensor::new(ids, &self.device)?, 0)?;
        let positions = Tensor::new(positions, &self.device)?;
        let positions = self.positions.index_select(&positions, 0)?;
        let mut hidden = self.norm.apply(&(words + positions)?)?;
        for (index, layer) in self.layers.iter().enumerate() {
            let only = (index + 1 == self.layers.len()).then_some(&wanted);
            hidden = layer.forward(&hidden, &groups, only)?;
        }
        hidden.to_dtype(DType::F32)?.flatten_all()?.to_vec1()
    }

    /// Groups of texts whose lengths, in rising order, are given.
    fn groups(&self, lengths: &[usize]) -> Result<Vec<Group>> {
        let mut groups = Vec::new();
        let mut row = 0;
        for lengths in alike(lengths) {
            let longest = lengths.last().copied().unwrap_or(0);
            let rows: usize = lengths.iter().sum();
            let padded = lengths[0] < longest;
            groups.push(Group {
                texts: lengths.len(),
                longest,
                rows: (row, rows),
                padded: match padded {
                    true => Some(Padded::new(
                        lengths,
                        longest,
                        self.words.dtype(),
                        &self.device,
                    )?),
                    false => None,
                },
            });
            row += rows;
        }
        Ok(groups)
    }
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

impl Padded {
    fn new(lengths: &[usize], longest: usize, dtype: DType, device: &Device) -> Result<Self> {
        let (mut rows, mut places, mut mask) = (Vec::new(), Vec::new(), Vec::new());
        let mut row = 0;
        for (text, &length) in lengths.iter().enumerate() {
            for place in 0..longest {
                let is_token = place < length;
                rows.push(row + place.min(length - 1) as u32);
                mask.push(if is_token { 0.0 } else { PADDING });
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

impl Norm {
    fn apply(&self, rows: &Tensor) -> Result<Tensor> {
        layer_norm(rows, &self.weight, &self.bias, self.epsilon)
    }
}

impl Linear {
    fn apply(&self, rows: &Tensor) -> Result<Tensor> {
        rows.matmul(&self.weight)?.broadcast_add(&self.bias)
    }
}

impl Layer {
    /// The layer's hidden states; with `only`, of these rows alone.
    fn forward(&self, hidden: &Tensor, groups: &[Group], only: Option<&Tensor>) -> Result<Tensor> {
        let [queries, keys, values] = &self.projections;
        let projected = [
            queries.apply(hidden)?,
            keys.apply(hidden)?,
            values.apply(hidden)?,
        ];
        let contexts = groups
            .iter()
            .map(|group| self.attend(&projected, group))
            .collect::<Result<Vec<_>>>()?;
        let mut context = Tensor::cat(&contexts, 0)?;
        let mut hidden = hidden.clone();
        if let Some(rows) = only {
            context = context.index_select(rows, 0)?;
            hidden = hidden.index_select(rows, 0)?;
        }
        let sum = (self.attended.apply(&context)? + hidden)?;
        let between = self.attended_norm.apply(&sum)?;
        let inner = self.inner.apply(&between)?;
        let inner = match self.activation {
            Activation::Gelu => inner.gelu_erf()?,
            Activation::Relu => inner.relu()?,
        };
        self.outer_norm
            .apply(&(self.outer.apply(&inner)? + between)?)
    }

    /// What the texts of a group attend to: [rows, attended].
    fn attend(&self, projected: &[Tensor; 3], group: &Group) -> Result<Tensor> {
        let (begin, count) = group.rows;
        let grid = |tensor: &Tensor| -> Result<Tensor> {
            let rows = tensor.narrow(0, begin, count)?;
            let rows = match &group.padded {
                Some(padded) => rows.index_select(&padded.rows, 0)?,
                None => rows,
            };
            let head = rows.dim(1)? / self.heads;
            rows.reshape((group.texts, group.longest, self.heads, head))?
                .transpose(1, 2)?
                .contiguous()
        };
        let [queries, keys, values] = projected;
        let mut scores = grid(queries)?.matmul(&grid(keys)?.t()?)?;
        if let Some(padded) = &group.padded {
            scores = scores.broadcast_add(&padded.mask)?;
        }
        let context = softmax_last_dim(&scores)?
            .matmul(&grid(values)?)?
            .transpose(1, 2)?
            .flatten_to(1)?
            .flatten_from(1)?;
        match &group.padded {
            Some(padded) => context.index_select(&padded.places, 0),
            None => Ok(context),
        }
    }
}

/// The results of all requests, by halves where all at once are too many for the device's memory.
fn halving<R>(requests: &[R], pass: &impl Fn(&[R]) -> Result<Vec<f32>>) -> Result<Vec<f32>> {
    match pass(requests) {
        Err(error) if requests.len() > 1 && out_of_memory(&error) => {
            let (first, second) = requests.split_at(requests.len() / 2);
            let mut hidden = halving(first, pass)?;
            hidden.extend(halving(second, pass)?);
            Ok(hidden)
        }
        result => result,
    }
}

/// CUDA names this error CUDA_ERROR_OUT_OF_MEMORY, "out of memory"; candle hands it on as words.
fn out_of_memory(error: &Error) -> bool {
    let words = error.to_string().to_lowercase();
    words.contains("out of memory") || words.contains("out_of_memory")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn texts_of_about_one_length_are_a_group() {
        let lengths = [4, 4, 5, 6, 7, 100, 125, 126];
        let runs: Vec<Vec<usize>> = alike(&lengths).into_iter().map(<[usize]>::to_vec).collect();
        assert_eq!(runs, [vec![4, 4, 5], vec![6, 7], vec![100, 125], vec![126]]);
        assert!(alike(&[]).is_empty());
    }

    #[test]
    fn what_does_not_fit_into_memory_is_halved_and_other_errors_are_not() {
        let seen = RefCell::new(Vec::new());
        let at_most_three = |requests: &[f32]| {
            seen.borrow_mut().push(requests.len());
            match requests.len() {
                ..=3 => Ok(requests.to_vec()),
                _ => Err(Error::Msg(
                    "DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")".into(),
                )),
            }
        };
        let requests: Vec<f32> = (0..10).map(|n| n as f32).collect();
        assert_eq!(halving(&requests, &at_most_three).unwrap(), requests);
        assert_eq!(*seen.borrow(), [10, 5, 2, 3, 5, 2, 3]);
        let never = |_: &[f32]| -> Result<Vec<f32>> { Err(Error::Msg("out of memory".into())) };
        assert!(halving(&requests[..1], &never).is_err());
        let calls = RefCell::new(0);
        let broken = |_: &[f32]| -> Result<Vec<f32>> {
            *calls.borrow_mut() += 1;
            Err(Error::Msg("CUDA_ERROR_ILLEGAL_ADDRESS".into()))
        };
        assert!(halving(&requests, &broken).is_err());
        assert_eq!(*calls.borrow(), 1);
    }
}
