//! One layer of the encoder, in candle's operations, and how weights get to a device.

use super::super::{Names, queries};
use super::groups::{Group, Sight};
use crate::model::folder::{Activation, LayerShape, Shape};
use crate::model::weights::{Bias, Weights};
use candle_core::{DType, Device, Result, Tensor};
use candle_nn::ops::layer_norm;

/// Where weights go, and as what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Upload<'a> {
    pub(super) device: &'a Device,
    pub(super) dtype: DType,
}

impl Upload<'_> {
    pub(super) fn tensor(
        self,
        values: Vec<f32>,
        sizes: &[usize],
    ) -> std::result::Result<Tensor, String> {
        Tensor::from_vec(values, sizes, &Device::Cpu)
            .and_then(|tensor| tensor.to_dtype(self.dtype)?.to_device(self.device))
            .map_err(|error| error.to_string())
    }

    pub(super) fn norm(
        self,
        weights: &Weights,
        shape: &Shape,
        bias: Bias,
    ) -> std::result::Result<Norm, String> {
        let width = shape.hidden_size;
        Ok(Norm {
            weight: self.tensor(weights.take("weight", &[width])?, &[width])?,
            bias: self.tensor(weights.bias(width, bias)?, &[width])?,
            epsilon: shape.layer_norm_eps as f32,
        })
    }

    pub(super) fn linear(
        self,
        (weight, bias): (Vec<f32>, Vec<f32>),
    ) -> std::result::Result<Linear, String> {
        let outputs = bias.len();
        let inputs = weight.len() / outputs;
        let weight = self.tensor(weight, &[outputs, inputs])?;
        let transposed = weight.t().and_then(|weight| weight.contiguous());
        Ok(Linear {
            weight: transposed.map_err(|error| error.to_string())?,
            bias: self.tensor(bias, &[outputs])?,
        })
    }
}

/// Layer normalisation.
pub(super) struct Norm {
    weight: Tensor,
    bias: Tensor,
    epsilon: f32,
}

/// A linear layer.
pub(super) struct Linear {
    /// [inputs, outputs]
    weight: Tensor,
    bias: Tensor,
}

/// Self-attention and feed-forward, each with its residual and normalisation behind it.
pub(super) struct Layer {
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

impl Norm {
    pub(super) fn apply(&self, rows: &Tensor) -> Result<Tensor> {
        layer_norm(rows, &self.weight, &self.bias, self.epsilon)
    }
}

impl Linear {
    pub(super) fn apply(&self, rows: &Tensor) -> Result<Tensor> {
        rows.matmul(&self.weight)?.broadcast_add(&self.bias)
    }
}

/// What stands between the two products of a feed-forward part.
pub(super) fn activate(inner: &Tensor, activation: Activation) -> Result<Tensor> {
    match activation {
        Activation::Gelu => inner.gelu_erf(),
        Activation::Relu => inner.relu(),
    }
}

impl Layer {
    pub(super) fn take(
        weights: &Weights,
        names: &Names,
        shape: &Shape,
        sizes: LayerShape,
        upload: Upload,
    ) -> std::result::Result<Self, String> {
        let width = shape.hidden_size;
        let head = width / shape.num_attention_heads;
        let attended = sizes.heads * head;
        let linear = |name, inputs, outputs| {
            upload.linear(weights.linear(name, inputs, outputs, Bias::Given)?)
        };
        let norm = |name| upload.norm(&weights.within(name), shape, Bias::Given);
        let queries = queries(weights, names, [width, attended, head])?;
        let [_, key, value] = names.attention;
        Ok(Self {
            heads: sizes.heads,
            projections: [
                upload.linear(queries)?,
                linear(key, width, attended)?,
                linear(value, width, attended)?,
            ],
            attended: linear(names.attended, attended, width)?,
            attended_norm: norm(names.attended_norm)?,
            inner: linear(names.inner, width, sizes.inner)?,
            activation: shape.hidden_act,
            outer: linear(names.outer, sizes.inner, width)?,
            outer_norm: norm(names.outer_norm)?,
        })
    }

    /// The layer's hidden states; with `only`, of these rows alone.
    pub(super) fn forward(
        &self,
        hidden: &Tensor,
        groups: &[Group],
        only: Option<&Tensor>,
    ) -> Result<Tensor> {
        let [queries, keys, values] = &self.projections;
        let projected = [
            queries.apply(hidden)?,
            keys.apply(hidden)?,
            values.apply(hidden)?,
        ];
        let attended = |group: &Group| {
            let [queries, keys, values] = &projected;
            let grid = |rows| group.grid(rows, self.heads);
            group.attend([&grid(queries)?, &grid(keys)?, &grid(values)?], Sight::All)
        };
        let contexts: Vec<Tensor> = groups.iter().map(attended).collect::<Result<_>>()?;
        let mut context = Tensor::cat(&contexts, 0)?;
        let mut hidden = hidden.clone();
        if let Some(rows) = only {
            context = context.index_select(rows, 0)?;
            hidden = hidden.index_select(rows, 0)?;
        }
        let sum = (self.attended.apply(&context)? + hidden)?;
        let between = self.attended_norm.apply(&sum)?;
        let inner = self.inner.apply(&between)?;
        let inner = activate(&inner, self.activation)?;
        self.outer_norm
            .apply(&(self.outer.apply(&inner)? + between)?)
    }
}
