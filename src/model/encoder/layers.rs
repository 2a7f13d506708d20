//! One layer of the encoder.

use super::{Memory, Names, Rows};
use crate::model::folder::{Activation, LayerShape, Shape};
use crate::model::kernels::{
    Epilogue, Format, Heads, Level, Packed, Strided, attention, normalise, product,
};
use crate::model::weights::{Bias, Weights};

/// Rows that go through the feed-forward part together: what lies between its two products then stays in the
/// processor's second cache.
const INNER_ROWS: usize = 42;

/// Layer normalisation.
pub(in crate::model) struct Norm {
    weight: Vec<f32>,
    bias: Vec<f32>,
    epsilon: f32,
}

impl Norm {
    pub(in crate::model) fn take(
        weights: &Weights,
        shape: &Shape,
        bias: Bias,
    ) -> Result<Self, String> {
        Ok(Self {
            weight: weights.take("weight", &[shape.hidden_size])?,
            bias: weights.bias(shape.hidden_size, bias)?,
            epsilon: shape.layer_norm_eps as f32,
        })
    }

    pub(in crate::model) fn apply(&self, level: Level, rows: &mut [f32]) {
        normalise(level, rows, &self.weight, &self.bias, self.epsilon);
    }
}

/// Self-attention and feed-forward, each with its residual and normalisation behind it.
pub(super) struct Layer {
    heads: Heads,
    /// The scale of the scores, 1 / sqrt(width of a head), is in here.
    queries: Packed,
    /// Keys, then values.
    keys_values: Packed,
    attended: Packed,
    attended_norm: Norm,
    inner: Packed,
    activation: Epilogue,
    outer: Packed,
    outer_norm: Norm,
}

impl Layer {
    pub(super) fn take(
        weights: &Weights,
        names: &Names,
        shape: &Shape,
        layer: LayerShape,
        format: Format,
    ) -> Result<Self, String> {
        let (width, inner) = (shape.hidden_size, layer.inner);
        let heads = Heads {
            count: layer.heads,
            width: width / shape.num_attention_heads,
            window: None,
            exact: format == Format::F32,
        };
        let attended = heads.count * heads.width;
        let [_, key, value] = names.attention;
        let sizes = [width, attended, heads.width];
        let (queries, queries_bias) = super::queries(weights, names, sizes)?;
        let (mut keys_values, mut keys_values_bias) =
            weights.linear(key, width, attended, Bias::Given)?;
        let (values, values_bias) = weights.linear(value, width, attended, Bias::Given)?;
        keys_values.extend(values);
        keys_values_bias.extend(values_bias);
        let packed = |name: &str, inputs, outputs| -> Result<Packed, String> {
            let (weight, bias) = weights.linear(name, inputs, outputs, Bias::Given)?;
            Ok(Packed::new(format, inputs, &weight, Some(&bias)))
        };
        Ok(Self {
            heads,
            queries: Packed::new(format, width, &queries, Some(&queries_bias)),
            keys_values: Packed::new(format, width, &keys_values, Some(&keys_values_bias)),
            attended: packed(names.attended, attended, width)?,
            attended_norm: Norm::take(&weights.within(names.attended_norm), shape, Bias::Given)?,
            inner: packed(names.inner, width, inner)?,
            activation: epilogue(shape.hidden_act),
            outer: packed(names.outer, inner, width)?,
            outer_norm: Norm::take(&weights.within(names.outer_norm), shape, Bias::Given)?,
        })
    }

    /// Products of numbers for each token; in the last layer for one that is not asked for.
    pub(super) fn multiplications(&self, last: bool) -> usize {
        let all = [&self.queries, &self.attended, &self.inner, &self.outer];
        let of = |packed: &Packed| packed.inputs() * packed.outputs();
        let asked: usize = all.into_iter().map(of).sum();
        of(&self.keys_values) + if last { 0 } else { asked }
    }

    /// The layer's hidden states in place of those before it; with `only`, of these rows alone.
    pub(super) fn forward(
        &self,
        level: Level,
        texts: &[Rows],
        only: Option<&[usize]>,
        memory: &mut Memory,
    ) {
        let (width, attended) = (self.queries.inputs(), self.queries.outputs());
        let (operand, hidden) = (&mut memory.operand, &mut memory.hidden);

        operand.set(level, hidden, width);
        let rows = hidden.len() / width;
        let keys_values = sized(&mut memory.keys_values, rows * attended * 2);
        product(
            level,
            operand,
            &self.keys_values,
            Epilogue::Store,
            keys_values,
        );
        if let Some(rows) = only {
            let row = |&row: &usize| &hidden[row * width..][..width];
            *hidden = rows.iter().flat_map(row).copied().collect();
            operand.set(level, hidden, width);
        }
        let rows = hidden.len() / width;
        let queries = sized(&mut memory.queries, rows * attended);
        product(level, operand, &self.queries, Epilogue::Store, queries);

        let context = sized(&mut memory.context, rows * attended);
        for text in texts.iter().filter(|text| !text.asked.is_empty()) {
            let asked = text.asked.start * attended..text.asked.end * attended;
            let all = &keys_values[text.all.start * 2 * attended..text.all.end * 2 * attended];
            let queries = Strided {
                values: &queries[asked.clone()],
                stride: attended,
            };
            let keys = Strided {
                values: &all[..all.len() - attended],
                stride: 2 * attended,
            };
            let values = Strided {
                values: &all[attended..],
                stride: 2 * attended,
            };
            let (scratch, out) = (&mut memory.attention, &mut context[asked]);
            attention(level, self.heads, queries, keys, values, scratch, out);
        }
        operand.set(level, context, attended);
        product(level, operand, &self.attended, Epilogue::Add, hidden);
        self.attended_norm.apply(level, hidden);

        for rows in hidden.chunks_mut(INNER_ROWS * width) {
            let inner = sized(&mut memory.inner, rows.len() / width * self.inner.outputs());
            operand.set(level, rows, width);
            product(level, operand, &self.inner, self.activation, inner);
            operand.set(level, inner, self.inner.outputs());
            product(level, operand, &self.outer, Epilogue::Add, rows);
            self.outer_norm.apply(level, rows);
        }
    }
}

/// What a product ends with where an activation follows it.
pub(super) fn epilogue(activation: Activation) -> Epilogue {
    match activation {
        Activation::Gelu => Epilogue::Gelu,
        Activation::Relu => Epilogue::Relu,
    }
}

/// Makes a buffer's length right; what stands in it does not matter.
pub(super) fn sized(buffer: &mut Vec<f32>, length: usize) -> &mut [f32] {
    buffer.resize(length, 0.0);
    buffer
}
