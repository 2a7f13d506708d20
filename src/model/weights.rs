//! Files of weights: safetensors under Hugging Face's names, f32, f16 or bf16; matrices also in eight bits.
//!
//! A matrix in eight bits is a tensor of I8 under its usual name, [rows, columns], and beside it, named `NAME_scale`, one f32 for each
//! row, [rows, 1]: a weight is its integer times the scale of its row. That is how the `compressed-tensors` format of vLLM
//! names and shapes them, too.

use super::ModelError;
use super::folder::File;
use super::kernels::int8_step;
use candle_core::{DType, Device, Tensor};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use std::rc::Rc;

/// What is appended to the name of a matrix for that of its scales.
const SCALE: &str = "_scale";

/// Whether a weight has a bias beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bias {
    /// It must.
    Given,
    /// Where it has none, it is zero.
    Optional,
}

/// The tensors of a file; [`Weights::within`] goes down the tree of their names.
pub(crate) struct Weights<'a> {
    file: Rc<SafeTensors<'a>>,
    prefix: String,
}

impl<'a> Weights<'a> {
    /// Those of a model's file.
    pub(super) fn of(file: &'a File) -> Result<Self, ModelError> {
        Self::read(&file.bytes).map_err(|problem| file.unfit(problem))
    }

    /// Those of the bytes of a safetensors file.
    ///
    /// # Errors
    /// When it is cut short or is none.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, String> {
        let file = SafeTensors::deserialize(bytes).map_err(|e| {
            format!("{e}: not a whole safetensors file: remove it and fetch the model again")
        })?;
        Ok(Self {
            file: Rc::new(file),
            prefix: String::new(),
        })
    }

    /// Those whose names begin with `part` and a point.
    pub(super) fn within(&self, part: &str) -> Self {
        Self {
            file: Rc::clone(&self.file),
            prefix: format!("{}{part}.", self.prefix),
        }
    }

    /// Whether there is a tensor of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.view(name).is_some()
    }

    /// The numbers of a tensor, row by row.
    ///
    /// # Errors
    /// When it is missing, has another shape, or a number in it is none.
    pub(crate) fn take(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, String> {
        let full = format!("{}{name}", self.prefix);
        let unfit = |problem: String| {
            format!(
                "{full} {problem}: not the weights of a sequence classifier of config.json's shape, fetch the model again"
            )
        };
        let view = self.view(name).ok_or_else(|| unfit("is missing".into()))?;
        if view.shape() != shape {
            return Err(unfit(format!(
                "has shape {:?}, config.json asks for {shape:?}",
                view.shape()
            )));
        }
        let numbers = match view.dtype() {
            Dtype::I8 => {
                let scales = self.view(&format!("{name}{SCALE}"));
                scaled(&view, scales.as_ref()).map_err(unfit)?
            }
            _ => floats(&view).map_err(unfit)?,
        };
        match numbers.iter().all(|number| number.is_finite()) {
            true => Ok(numbers),
            false => Err(format!(
                "{full} has numbers that are none: the weights are damaged, fetch the model again"
            )),
        }
    }

    /// Weight and bias of a linear layer.
    ///
    /// # Errors
    /// As for [`Weights::take`].
    pub(super) fn linear(
        &self,
        name: &str,
        inputs: usize,
        outputs: usize,
        bias: Bias,
    ) -> Result<(Vec<f32>, Vec<f32>), String> {
        let weights = self.within(name);
        let weight = weights.take("weight", &[outputs, inputs])?;
        Ok((weight, weights.bias(outputs, bias)?))
    }

    /// The bias beside a weight, one for each of its outputs.
    ///
    /// # Errors
    /// As for [`Weights::take`].
    pub(super) fn bias(&self, outputs: usize, bias: Bias) -> Result<Vec<f32>, String> {
        match bias {
            Bias::Optional if !self.has("bias") => Ok(vec![0.0; outputs]),
            _ => self.take("bias", &[outputs]),
        }
    }

    fn view(&self, name: &str) -> Option<TensorView<'a>> {
        self.file.tensor(&format!("{}{name}", self.prefix)).ok()
    }
}

/// Floats of any width.
fn floats(view: &TensorView) -> Result<Vec<f32>, String> {
    let dtype = match view.dtype() {
        Dtype::F32 => DType::F32,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        other => return Err(format!("is {other:?}, squall reads f32, f16, bf16 and I8")),
    };
    let read = || {
        Tensor::from_raw_buffer(view.data(), dtype, view.shape(), &Device::Cpu)?
            .to_dtype(DType::F32)?
            .flatten_all()?
            .to_vec1::<f32>()
    };
    read().map_err(|e| e.to_string())
}

/// A matrix in eight bits with the scales of its rows.
fn scaled(view: &TensorView, scales: Option<&TensorView>) -> Result<Vec<f32>, String> {
    let &[rows, columns] = view.shape() else {
        return Err("is I8 and no matrix".into());
    };
    let scales = scales.ok_or_else(|| format!("is I8 and has no {SCALE} beside it"))?;
    if scales.shape() != [rows, 1] {
        return Err(format!(
            "has scales of shape {:?}, not [{rows}, 1]",
            scales.shape()
        ));
    }
    let scales = floats(scales)?;
    let whole = view.data().chunks_exact(columns.max(1)).zip(scales);
    let row = |(row, scale): (&[u8], f32)| {
        let number = move |byte: &u8| f32::from(*byte as i8) * scale;
        row.iter().map(number).collect::<Vec<f32>>()
    };
    Ok(whole.flat_map(row).collect())
}

/// A tensor as it is written.
pub(crate) struct Stored {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Stored {
    /// Floats, f32.
    ///
    /// # Errors
    /// When memory cannot be had.
    pub(crate) fn floats(tensor: &Tensor) -> candle_core::Result<Self> {
        let numbers = tensor.flatten_all()?.to_vec1::<f32>()?;
        Ok(Self {
            dtype: Dtype::F32,
            shape: tensor.dims().to_vec(),
            bytes: numbers.into_iter().flat_map(f32::to_le_bytes).collect(),
        })
    }

    /// A matrix in eight bits, each row scaled by its largest number to -127..127; and the scales.
    ///
    /// # Errors
    /// When it is no matrix.
    pub(crate) fn bytes(matrix: &Tensor) -> candle_core::Result<[Self; 2]> {
        let rows = matrix.to_dtype(DType::F32)?.to_vec2::<f32>()?;
        let (mut bytes, mut scales) = (Vec::with_capacity(matrix.elem_count()), Vec::new());
        for row in &rows {
            let scale = int8_step(row);
            bytes.extend(
                row.iter()
                    .map(|number| (number / scale).round() as i8 as u8),
            );
            scales.extend(scale.to_le_bytes());
        }
        let integers = Self {
            dtype: Dtype::I8,
            shape: matrix.dims().to_vec(),
            bytes,
        };
        let scales = Self {
            dtype: Dtype::F32,
            shape: vec![rows.len(), 1],
            bytes: scales,
        };
        Ok([integers, scales])
    }
}

/// The name of a matrix's scales.
pub(crate) fn scale_of(name: &str) -> String {
    format!("{name}{SCALE}")
}

/// The bytes of a safetensors file with these tensors.
///
/// # Errors
/// When a tensor's bytes do not fit its shape.
pub(crate) fn serialise(tensors: &[(String, Stored)]) -> Result<Vec<u8>, String> {
    let mut views = Vec::with_capacity(tensors.len());
    for (name, stored) in tensors {
        let view = TensorView::new(stored.dtype, stored.shape.clone(), &stored.bytes);
        views.push((name, view.map_err(|e| format!("{name}: {e}"))?));
    }
    safetensors::serialize(views, None).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The rounding error of a weight is at most half a step of its row.
        #[test]
        fn a_matrix_in_eight_bits_is_within_half_a_step(
            rows in prop::collection::vec(prop::collection::vec(-3f32..3.0, 5), 1..9)
        ) {
            let matrix = Tensor::new(rows.clone(), &Device::Cpu).unwrap();
            let [integers, scales] = Stored::bytes(&matrix).unwrap();
            let file = serialise(&[("m".into(), integers), (scale_of("m"), scales)]).unwrap();
            let read = Weights::read(&file).unwrap().take("m", &[rows.len(), 5]).unwrap();
            for (row, read) in rows.iter().zip(read.chunks_exact(5)) {
                let largest = row.iter().fold(0f32, |most, number| most.max(number.abs()));
                for (number, read) in row.iter().zip(read) {
                    prop_assert!((number - read).abs() <= 0.501 * largest / 127.0);
                }
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(weights) = Weights::read(&bytes) {
                let _ = weights.take("m", &[1]);
            }
        }
    }

    #[test]
    fn eight_bits_without_their_scales_are_refused() {
        let matrix = Tensor::new(&[[1f32, 2.0], [3.0, 4.0]], &Device::Cpu).unwrap();
        let [integers, scales] = Stored::bytes(&matrix).unwrap();
        let alone = serialise(&[("m".into(), integers)]).unwrap();
        let refused = |file: &[u8]| Weights::read(file).unwrap().take("m", &[2, 2]).unwrap_err();
        assert!(refused(&alone).contains("_scale"));
        let [integers, _] = Stored::bytes(&matrix).unwrap();
        let short = Stored {
            shape: vec![1, 1],
            bytes: scales.bytes[..4].to_vec(),
            ..scales
        };
        let short = serialise(&[("m".into(), integers), (scale_of("m"), short)]).unwrap();
        assert!(refused(&short).contains("[1, 1]"));
    }
}
