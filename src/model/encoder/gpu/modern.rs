//! One layer of ModernBERT in candle's operations; see [`super::super::modern`].

use super::super::modern::{Linears, Rotation};
use super::groups::{Group, Sight};
use super::layers::{Linear, Norm, Upload, activate};
use crate::model::folder::{Activation, Shape};
use crate::model::weights::{Bias, Weights};
use candle_core::{Result, Tensor};
use candle_nn::rotary_emb::rope;

/// Cosine and sine of the rotations, each [positions, half of a head's width].
#[derive(Debug, Clone)]
pub(super) struct Turns([Tensor; 2]);

impl Turns {
    pub(super) fn take(rotation: &Rotation, upload: Upload) -> std::result::Result<Self, String> {
        let (pairs, turns) = rotation.turns();
        let sizes = [turns.len() / pairs, pairs];
        let table = |part: usize| {
            let numbers = turns.iter().map(|turn| turn[part]).collect();
            upload.tensor(numbers, &sizes)
        };
        Ok(Self([table(0)?, table(1)?]))
    }

    /// Turns a grid of queries or keys.
    fn apply(&self, grid: &Tensor) -> Result<Tensor> {
        let [cos, sin] = &self.0;
        rope(grid, cos, sin)
    }
}

/// Self-attention and the gated feed-forward part, each with its normalisation before it.
pub(super) struct ModernLayer {
    heads: usize,
    sight: Sight,
    turns: Turns,
    /// None in the first layer.
    attention_norm: Option<Norm>,
    /// Queries, keys, values; the scale of the scores is in the queries.
    projections: [Linear; 3],
    attended: Linear,
    inner_norm: Norm,
    inner: Linear,
    activation: Activation,
    gate: Linear,
    outer: Linear,
}

impl ModernLayer {
    pub(super) fn take(
        weights: &Weights,
        shape: &Shape,
        number: usize,
        [global, local]: [&Turns; 2],
        upload: Upload,
    ) -> std::result::Result<Self, String> {
        let linears = Linears::take(weights, shape)?;
        let norm = |name: &str| upload.norm(&weights.within(name), shape, Bias::Optional);
        let (sight, turns) = match shape.modern.is_global(number) {
            true => (Sight::All, global),
            false => (Sight::Window, local),
        };
        Ok(Self {
            heads: shape.num_attention_heads,
            sight,
            turns: turns.clone(),
            attention_norm: (number > 0).then(|| norm("attn_norm")).transpose()?,
            projections: [
                upload.linear(linears.queries)?,
                upload.linear(linears.keys)?,
                upload.linear(linears.values)?,
            ],
            attended: upload.linear(linears.attended)?,
            inner_norm: norm("mlp_norm")?,
            inner: upload.linear(linears.inner)?,
            activation: shape.hidden_act,
            gate: upload.linear(linears.gate)?,
            outer: upload.linear(linears.outer)?,
        })
    }

    /// The layer's hidden states.
    pub(super) fn forward(&self, hidden: &Tensor, groups: &[Group]) -> Result<Tensor> {
        let normed = match &self.attention_norm {
            Some(norm) => norm.apply(hidden)?,
            None => hidden.clone(),
        };
        let [queries, keys, values] = &self.projections;
        let (queries, keys) = (queries.apply(&normed)?, keys.apply(&normed)?);
        let values = values.apply(&normed)?;
        let attended = |group: &Group| {
            let grid = |rows| group.grid(rows, self.heads);
            let turned = |rows| self.turns.apply(&grid(rows)?);
            group.attend(
                [&turned(&queries)?, &turned(&keys)?, &grid(&values)?],
                self.sight,
            )
        };
        let contexts: Vec<Tensor> = groups.iter().map(attended).collect::<Result<_>>()?;
        let context = Tensor::cat(&contexts, 0)?;
        let hidden = (self.attended.apply(&context)? + hidden)?;
        let normed = self.inner_norm.apply(&hidden)?;
        let inner = activate(&self.inner.apply(&normed)?, self.activation)?;
        let gated = (inner * self.gate.apply(&normed)?)?;
        self.outer.apply(&gated)? + hidden
    }
}
