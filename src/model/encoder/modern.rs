//! One layer of ModernBERT (Warner et al., 2024, arXiv:2412.13663): normalisations stand before the parts, positions are rotations
//! of queries and keys (Su et al., 2021, arXiv:2104.09864), most layers attend to a window, and the feed-forward part is gated
//! (Shazeer, 2020, arXiv:2002.05202).

use super::layers::{Norm, epilogue, sized};
use super::{Linear, Memory, Rows, scaled};
use crate::model::folder::Shape;
use crate::model::kernels::{Epilogue, Format, Heads, Level, Packed, Strided, attention, product};
use crate::model::weights::{Bias, Weights};
use std::sync::Arc;

/// Cosine and sine by which the pairs of a head are turned at each position: `width / 2` of each a position.
pub(super) struct Rotation {
    pairs: usize,
    turns: Vec<[f32; 2]>,
}

impl Rotation {
    /// Those of `positions` positions, of heads of a width; pair `i` turns by `theta` to the power of `-2 i / width` a position.
    pub(super) fn new(theta: f64, width: usize, positions: usize) -> Self {
        let pairs = width / 2;
        let turn = |position: usize, pair: usize| {
            let angle = position as f64 * theta.powf(-2.0 * pair as f64 / width as f64);
            [angle.cos() as f32, angle.sin() as f32]
        };
        let places =
            (0..positions).flat_map(|position| (0..pairs).map(move |pair| (position, pair)));
        Self {
            pairs,
            turns: places
                .map(|(position, pair)| turn(position, pair))
                .collect(),
        }
    }

    /// Pairs of a head, and cosine and sine of each at each position.
    pub(super) fn turns(&self) -> (usize, &[[f32; 2]]) {
        (self.pairs, &self.turns)
    }

    /// Turns all heads of each of a text's rows, the first at position 0.
    fn apply(&self, rows: &mut [f32], row: usize) {
        for (row, turns) in rows
            .chunks_exact_mut(row)
            .zip(self.turns.chunks_exact(self.pairs))
        {
            for head in row.chunks_exact_mut(2 * self.pairs) {
                let (first, second) = head.split_at_mut(self.pairs);
                for ((a, b), [cos, sin]) in first.iter_mut().zip(second).zip(turns) {
                    (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
                }
            }
        }
    }
}

/// The rotations of layers that see the whole text, and of those that see a window.
pub(super) fn rotations(shape: &Shape) -> [Rotation; 2] {
    let head = shape.hidden_size / shape.num_attention_heads;
    let of = |theta| Rotation::new(theta, head, shape.longest());
    shape.modern.thetas.map(of)
}

/// The linear layers of a layer, apart from each other.
pub(super) struct Linears {
    /// The scale of the scores, 1 / sqrt(width of a head), is in here.
    pub(super) queries: Linear,
    pub(super) keys: Linear,
    pub(super) values: Linear,
    pub(super) attended: Linear,
    pub(super) inner: Linear,
    pub(super) gate: Linear,
    pub(super) outer: Linear,
}

impl Linears {
    /// Takes them from the weights of a layer.
    ///
    /// # Errors
    /// When a tensor is missing or has another shape.
    pub(super) fn take(weights: &Weights, shape: &Shape) -> Result<Self, String> {
        let (width, inner) = (shape.hidden_size, shape.intermediate_size);
        let linear =
            |name: &str, inputs, outputs| weights.linear(name, inputs, outputs, Bias::Optional);
        let all = linear("attn.Wqkv", width, 3 * width)?;
        let both = linear("mlp.Wi", width, 2 * inner)?;
        // One of the layers that stand one below the other in a matrix, with so many outputs each.
        let part = |(weight, bias): (&[f32], &[f32]), outputs: usize, number: usize| {
            let weight = &weight[number * outputs * width..][..outputs * width];
            (
                weight.to_vec(),
                bias[number * outputs..][..outputs].to_vec(),
            )
        };
        let third = |number| part((&all.0, &all.1), width, number);
        let half = |number| part((&both.0, &both.1), inner, number);
        Ok(Self {
            queries: scaled(third(0), width / shape.num_attention_heads),
            keys: third(1),
            values: third(2),
            attended: linear("attn.Wo", width, width)?,
            inner: half(0),
            gate: half(1),
            outer: linear("mlp.Wo", inner, width)?,
        })
    }
}

/// Self-attention and the gated feed-forward part, each with its normalisation before it.
pub(super) struct ModernLayer {
    heads: Heads,
    rotation: Arc<Rotation>,
    /// None in the first layer.
    attention_norm: Option<Norm>,
    /// The scale of the scores, 1 / sqrt(width of a head), is in here.
    queries: Packed,
    keys: Packed,
    values: Packed,
    attended: Packed,
    inner_norm: Norm,
    inner: Packed,
    activation: Epilogue,
    gate: Packed,
    outer: Packed,
}

impl ModernLayer {
    pub(super) fn take(
        weights: &Weights,
        shape: &Shape,
        number: usize,
        [global, local]: [&Arc<Rotation>; 2],
        format: Format,
    ) -> Result<Self, String> {
        let is_global = shape.modern.is_global(number);
        let heads = Heads {
            count: shape.num_attention_heads,
            width: shape.hidden_size / shape.num_attention_heads,
            window: (!is_global).then(|| shape.modern.window()),
            exact: format == Format::F32,
        };
        let linears = Linears::take(weights, shape)?;
        let packed = |(weight, bias): Linear| {
            Packed::new(format, weight.len() / bias.len(), &weight, Some(&bias))
        };
        let norm = |name: &str| Norm::take(&weights.within(name), shape, Bias::Optional);
        Ok(Self {
            heads,
            rotation: Arc::clone(if is_global { global } else { local }),
            attention_norm: (number > 0).then(|| norm("attn_norm")).transpose()?,
            queries: packed(linears.queries),
            keys: packed(linears.keys),
            values: packed(linears.values),
            attended: packed(linears.attended),
            inner_norm: norm("mlp_norm")?,
            inner: packed(linears.inner),
            activation: epilogue(shape.hidden_act),
            gate: packed(linears.gate),
            outer: packed(linears.outer),
        })
    }

    /// Products of numbers for each token.
    pub(super) fn multiplications(&self) -> usize {
        let attention = [&self.queries, &self.keys, &self.values, &self.attended];
        let all = attention
            .into_iter()
            .chain([&self.inner, &self.gate, &self.outer]);
        all.map(|packed| packed.inputs() * packed.outputs()).sum()
    }

    /// The layer's hidden states in place of those before it.
    pub(super) fn forward(&self, level: Level, texts: &[Rows], memory: &mut Memory) {
        let width = self.queries.inputs();
        let Memory {
            operand,
            hidden,
            normed,
            queries,
            keys_values,
            context,
            inner,
            gate,
            attention: scratch,
        } = memory;
        normed.clone_from(hidden);
        if let Some(norm) = &self.attention_norm {
            norm.apply(level, normed);
        }
        operand.set(level, normed, width);
        let queries = sized(queries, hidden.len());
        product(level, operand, &self.queries, Epilogue::Store, queries);
        let (keys, values) = sized(keys_values, 2 * hidden.len()).split_at_mut(hidden.len());
        product(level, operand, &self.keys, Epilogue::Store, keys);
        product(level, operand, &self.values, Epilogue::Store, values);
        let context = sized(context, hidden.len());
        for text in texts {
            let rows = text.all.start * width..text.all.end * width;
            self.rotation.apply(&mut queries[rows.clone()], width);
            self.rotation.apply(&mut keys[rows.clone()], width);
            let strided = |values| Strided {
                values,
                stride: width,
            };
            let (queries, keys) = (
                strided(&queries[rows.clone()]),
                strided(&keys[rows.clone()]),
            );
            let values = strided(&values[rows.clone()]);
            let window = self.heads.window;
            let heads = Heads {
                // What sees the whole text needs none.
                window: window.filter(|window| window + 1 < text.all.len()),
                ..self.heads
            };
            let out = &mut context[rows];
            attention(level, heads, queries, keys, values, scratch, out);
        }
        operand.set(level, context, width);
        product(level, operand, &self.attended, Epilogue::Add, hidden);

        normed.clone_from(hidden);
        self.inner_norm.apply(level, normed);
        operand.set(level, normed, width);
        let units = hidden.len() / width * self.inner.outputs();
        let (inner, gate) = (sized(inner, units), sized(gate, units));
        product(level, operand, &self.inner, self.activation, inner);
        product(level, operand, &self.gate, Epilogue::Store, gate);
        for (unit, gate) in inner.iter_mut().zip(&*gate) {
            *unit *= gate;
        }
        operand.set(level, inner, self.inner.outputs());
        product(level, operand, &self.outer, Epilogue::Add, hidden);
    }
}
