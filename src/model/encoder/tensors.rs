//! The tensors of a model's file.

use crate::model::ModelError;
use crate::model::folder::File;
use candle_core::{DType, Device, Error};
use candle_nn::VarBuilder;

/// Tensors under Hugging Face's names; [`Tensors::within`] goes down their tree.
pub(in crate::model) struct Tensors<'a>(VarBuilder<'a>);

impl<'a> Tensors<'a> {
    /// The tensors of a safetensors file, f32, f16 or bf16.
    pub(in crate::model) fn of(file: &'a File) -> Result<Self, ModelError> {
        let cut = |e: Error| {
            let e = first_line(&e);
            file.unfit(format!(
                "{e}: not a whole safetensors file: remove it and fetch the model again"
            ))
        };
        let tensors = VarBuilder::from_slice_safetensors(&file.bytes, DType::F32, &Device::Cpu);
        Ok(Self(tensors.map_err(cut)?))
    }

    /// Those whose names begin with `part` and a point.
    pub(in crate::model) fn within(&self, part: &str) -> Self {
        Self(self.0.pp(part))
    }

    /// Whether there is a tensor of this name.
    pub(in crate::model) fn has(&self, name: &str) -> bool {
        self.0.contains_tensor(name)
    }

    /// The numbers of a tensor, row by row.
    ///
    /// # Errors
    /// When it is missing, has another shape, or a number in it is none.
    pub(in crate::model) fn take(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, String> {
        let read = || self.0.get(shape, name)?.flatten_all()?.to_vec1::<f32>();
        let numbers = read().map_err(|e| {
            let e = first_line(&e);
            format!("{e}: not the weights of a sequence classifier of config.json's shape, fetch the model again")
        })?;
        match numbers.iter().all(|number| number.is_finite()) {
            true => Ok(numbers),
            false => Err(format!(
                "{}.{name} has numbers that are none: the weights are damaged, fetch the model again",
                self.0.prefix()
            )),
        }
    }

    /// Weight and bias of a linear layer.
    ///
    /// # Errors
    /// As for [`Tensors::take`].
    pub(in crate::model) fn linear(
        &self,
        name: &str,
        inputs: usize,
        outputs: usize,
    ) -> Result<(Vec<f32>, Vec<f32>), String> {
        let tensors = self.within(name);
        Ok((
            tensors.take("weight", &[outputs, inputs])?,
            tensors.take("bias", &[outputs])?,
        ))
    }
}

/// The message without the backtrace that may follow it.
fn first_line(error: &Error) -> String {
    let message = error.to_string();
    message.lines().next().unwrap_or_default().to_owned()
}
