//! What computes the encoder: the processor, or GPUs that share each batch.

use super::ModelError;
use super::batches;
use super::encoder::{Encoder, GpuEncoder, Request};
use super::folder::Shape;
use super::kernels::{Format, Level};
use super::weights::Weights;
use crate::config::{Devices, ModelConfig, Precision};
use candle_core::{DType, Device};
use std::ops::Range;

/// An encoder where it is computed.
pub(super) enum Computer {
    /// In squall's own kernels.
    Processor(Box<Encoder>),
    /// One encoder for each GPU.
    Gpus(Vec<GpuEncoder>),
}

impl Computer {
    /// Takes the weights of an encoder of the given shape to where the configuration wants it.
    ///
    /// # Errors
    /// Weights that do not fit, which `unfit` makes an error of their file, and GPUs that are not there, with the remedy.
    pub(super) fn take(
        weights: &Weights,
        shape: &Shape,
        config: &ModelConfig,
        unfit: impl Fn(String) -> ModelError,
    ) -> Result<Self, ModelError> {
        let devices = Devices::of(config).map_err(ModelError::Devices)?;
        match devices {
            Devices::Processor => {
                let format = Format::of(config.precision)
                    .ok_or_else(|| ModelError::Devices("f16 is for GPUs".into()))?;
                let encoder = Encoder::take(weights, shape, format).map_err(unfit)?;
                Ok(Self::Processor(Box::new(encoder)))
            }
            Devices::Gpus(numbers) => {
                let dtype = match config.precision {
                    Precision::F16 => DType::F16,
                    Precision::Bf16 => DType::BF16,
                    Precision::Int8 | Precision::F32 => DType::F32,
                };
                let encoders = numbers.into_iter().map(|number| {
                    let device = gpu(number).map_err(ModelError::Devices)?;
                    GpuEncoder::take(weights, shape, device, dtype).map_err(&unfit)
                });
                encoders.collect::<Result<_, _>>().map(Self::Gpus)
            }
        }
    }

    /// Parts of a batch that are computed side by side, of texts of these lengths.
    pub(super) fn parts(&self, lengths: &[usize]) -> Vec<Range<usize>> {
        match self {
            Self::Processor(_) => batches::by_tokens(lengths),
            Self::Gpus(encoders) => batches::shares(lengths, encoders.len()),
        }
    }

    /// Last hidden states of what is wanted of each request, in their order, for the part of this number.
    ///
    /// # Errors
    /// What a GPU says.
    pub(super) fn hidden(&self, part: usize, requests: &[Request]) -> Result<Vec<f32>, String> {
        match self {
            Self::Processor(encoder) => Ok(encoder.hidden(requests)),
            Self::Gpus(encoders) => encoders[part % encoders.len()].hidden(requests),
        }
    }

    /// What it computes with, for people: instructions or GPUs.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Processor(encoder) => encoder.level().name().to_owned(),
            Self::Gpus(encoders) => format!("GPUs: {}", encoders.len()),
        }
    }

    /// Multiplications, each with its addition, that a token takes in the encoder's matrix products, where only the first
    /// token of a text is asked for; not counted on GPUs.
    pub(super) fn multiplications_per_token(&self) -> Option<f64> {
        match self {
            Self::Processor(encoder) => Some(encoder.multiplications_per_token()),
            Self::Gpus(..) => None,
        }
    }

    /// What the processor computes the heads with.
    pub(super) fn level(&self) -> Level {
        match self {
            Self::Processor(encoder) => encoder.level(),
            Self::Gpus(..) => Level::best(),
        }
    }
}

/// A GPU.
///
/// # Errors
/// When squall was built without CUDA, and when there is no driver or no such device, with the remedy.
fn gpu(number: usize) -> Result<Device, String> {
    const REMEDY: &str = "name one that `nvidia-smi` shows, or set model.devices = [\"cpu\"]";
    if !cfg!(feature = "cuda") {
        return Err(format!(
            "model.devices: cuda:{number}: this squall was built without CUDA: build it with --features cuda, or set model.devices = [\"cpu\"]"
        ));
    }
    // Without a driver cudarc panics where it loads CUDA at run time.
    match std::panic::catch_unwind(|| Device::new_cuda(number)) {
        Ok(Ok(device)) => Ok(device),
        Ok(Err(error)) => Err(format!(
            "model.devices: cuda:{number} cannot be used ({error}): {REMEDY}"
        )),
        Err(_) => Err(format!(
            "model.devices: cuda:{number}: no CUDA driver (580 or newer) can be loaded: {REMEDY}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_that_is_not_there_is_an_error_with_a_remedy() {
        let problem = gpu(7).unwrap_err();
        assert!(
            problem.contains("cuda:7") && problem.contains("[\"cpu\"]"),
            "{problem}"
        );
    }
}
