//! The encoder on a GPU, in candle's operations.
//!
//! As on the processor all tokens of a batch lie in one matrix without padding. BERT-like layers compute only what is asked for
//! in the last one; ModernBERT's only normalise it. Attention takes texts of about the same length together, a grid for each
//! such group; a window is a mask there.

mod groups;
mod layers;
mod modern;

use super::modern::rotations;
use super::{Names, Request};
use crate::model::folder::Shape;
use crate::model::weights::{Bias, Weights};
use candle_core::{DType, Device, Error, Result, Tensor};
use groups::groups;
use layers::{Layer, Norm, Upload};
use modern::{ModernLayer, Turns};

/// A BERT-like encoder on one device.
pub(in crate::model) struct GpuEncoder {
    device: Device,
    words: Tensor,
    /// Position and token type 0 together, from a text's first token on; none where positions are rotations.
    positions: Option<Tensor>,
    norm: Norm,
    layers: Layers,
    /// Tokens on either side that layers with a window see.
    window: Option<usize>,
}

/// The layers, by where their normalisations stand.
enum Layers {
    /// Behind each part.
    After(Vec<Layer>),
    /// Before each part, and one behind the last layer.
    Before(Vec<ModernLayer>, Norm),
}

impl GpuEncoder {
    /// Takes the weights of an encoder of the given shape to a device, as `dtype`.
    ///
    /// # Errors
    /// When a tensor is missing or has another shape, and what the device says.
    pub(in crate::model) fn take(
        weights: &Weights,
        shape: &Shape,
        device: Device,
        dtype: DType,
    ) -> std::result::Result<Self, String> {
        let upload = Upload {
            device: &device,
            dtype,
        };
        let Some(names) = Names::of(shape.family) else {
            return Self::take_modern(weights, shape, upload);
        };
        let width = shape.hidden_size;
        let layer = |(number, sizes): (usize, &_)| {
            let weights = weights.within(&format!("{}.{number}", names.layers));
            Layer::take(&weights, &names, shape, *sizes, upload)
        };
        let (words, positions) = super::tables(weights, &names, shape)?;
        let rows = positions.len() / width;
        let norm = weights.within(names.embeddings).within("LayerNorm");
        let layers = shape.layers.iter().enumerate().map(layer);
        Ok(Self {
            words: upload.tensor(words, &[shape.vocab_size, width])?,
            positions: Some(upload.tensor(positions, &[rows, width])?),
            norm: upload.norm(&norm, shape, Bias::Given)?,
            layers: Layers::After(layers.collect::<std::result::Result<_, _>>()?),
            window: None,
            device,
        })
    }

    fn take_modern(
        weights: &Weights,
        shape: &Shape,
        upload: Upload,
    ) -> std::result::Result<Self, String> {
        let weights = weights.within("model");
        let embeddings = weights.within("embeddings");
        let sizes = [shape.vocab_size, shape.hidden_size];
        let [global, local] = rotations(shape).map(|rotation| Turns::take(&rotation, upload));
        let (global, local) = (global?, local?);
        let layers = (0..shape.num_hidden_layers).map(|number| {
            let weights = weights.within(&format!("layers.{number}"));
            ModernLayer::take(&weights, shape, number, [&global, &local], upload)
        });
        let norm = |weights: &Weights| upload.norm(weights, shape, Bias::Optional);
        Ok(Self {
            words: upload.tensor(embeddings.take("tok_embeddings.weight", &sizes)?, &sizes)?,
            positions: None,
            norm: norm(&embeddings.within("norm"))?,
            layers: Layers::Before(
                layers.collect::<std::result::Result<_, _>>()?,
                norm(&weights.within("final_norm"))?,
            ),
            window: Some(shape.modern.window()),
            device: upload.device.clone(),
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
        let mut ids = Vec::new();
        let mut begins = vec![0; requests.len()];
        for &text in &order {
            begins[text] = ids.len();
            ids.extend_from_slice(requests[text].tokens);
        }
        let lengths: Vec<usize> = order.iter().map(|&i| requests[i].tokens.len()).collect();
        let groups = groups(&lengths, self.window, self.words.dtype(), &self.device)?;
        let wanted: Vec<u32> = requests
            .iter()
            .zip(&begins)
            .flat_map(|(request, begin)| request.wanted.iter().map(move |at| (begin + at) as u32))
            .collect();
        let wanted = Tensor::new(wanted, &self.device)?;
        let mut hidden = self
            .words
            .index_select(&Tensor::new(ids, &self.device)?, 0)?;
        if let Some(table) = &self.positions {
            let positions: Vec<u32> = lengths.iter().flat_map(|&n| 0..n as u32).collect();
            let positions = Tensor::new(positions, &self.device)?;
            hidden = (hidden + table.index_select(&positions, 0)?)?;
        }
        hidden = self.norm.apply(&hidden)?;
        match &self.layers {
            Layers::After(layers) => {
                for (index, layer) in layers.iter().enumerate() {
                    let only = (index + 1 == layers.len()).then_some(&wanted);
                    hidden = layer.forward(&hidden, &groups, only)?;
                }
            }
            Layers::Before(layers, norm) => {
                for layer in layers {
                    hidden = layer.forward(&hidden, &groups)?;
                }
                hidden = norm.apply(&hidden.index_select(&wanted, 0)?)?;
            }
        }
        hidden.to_dtype(DType::F32)?.flatten_all()?.to_vec1()
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
