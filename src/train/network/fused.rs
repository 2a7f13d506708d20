//! The encoder on the CPU: matrix products by candle, everything between them by the kernels, and the backward pass
//! by hand, so that memory is passed over as seldom as can be.

use super::{Batch, EMBEDDINGS, LAYER, Shape};
use crate::train::kernels::attention::{Layout, attend, attend_backward};
use crate::train::kernels::dropout::Dropout;
use crate::train::kernels::pointwise::{
    add_bias, bias_dropout_add, bias_gelu, column_sums, dropout as drop, gelu_backward, layer_norm,
    layer_norm_backward,
};
use crate::train::kernels::{values, write};
use candle_core::{Device, Result, Tensor};

/// What the backward pass needs of the forward pass.
pub(super) struct Forward {
    /// Vectors of the last layer: [tokens, width].
    pub(super) hidden: Tensor,
    /// Sum of the embeddings, before their normalisation.
    embedded: Tensor,
    layers: Vec<Layer>,
}

/// Of one layer: [tokens, width] each, `q`, `k`, `v` and `attended` [tokens, width of its heads], `inner` and `activated`
/// [tokens, inner width].
struct Layer {
    input: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    attended: Tensor,
    /// Before the first normalisation, and after it.
    first_sum: Tensor,
    between: Tensor,
    /// Before GELU, and after it.
    inner: Tensor,
    activated: Tensor,
    /// Before the second normalisation.
    second_sum: Tensor,
}

/// Vectors of the last layer, and what came before them.
pub(super) fn forward(
    shape: &Shape,
    weights: &[Tensor],
    batch: &Batch,
    dropout: Dropout,
) -> Result<Forward> {
    let embedded = embed(shape, weights, batch)?;
    let epsilon = shape.layer_norm_eps as f32;
    let mut hidden = dropped(
        &norm(&embedded, &weights[3], &weights[4], epsilon)?,
        dropout.at(0),
    )?;
    let mut layers = Vec::with_capacity(shape.layers.len());
    for number in 0..shape.layers.len() {
        let layout = layout(shape, number, batch);
        let weights = &weights[EMBEDDINGS + number * LAYER..][..LAYER];
        let place = |part: u32| dropout.at(1 + number as u32 * 3 + part);
        let input = hidden;
        let project = |part: usize| -> Result<Tensor> {
            let out = product(&input, &weights[part * 2])?;
            let bias = values(&weights[part * 2 + 1])?;
            write(&out, |out| add_bias(out, &bias))?;
            Ok(out)
        };
        let (q, k, v) = (project(0)?, project(1)?, project(2)?);
        let attended = {
            let mut out = vec![0f32; q.elem_count()];
            let of = q.shape();
            let (q, k, v) = (values(&q)?, values(&k)?, values(&v)?);
            attend(layout, &q, &k, &v, place(0), &mut out);
            Tensor::from_vec(out, of, &Device::Cpu)?
        };
        let first_sum = product(&attended, &weights[6])?;
        join(&first_sum, &weights[7], &input, place(1))?;
        let between = norm(&first_sum, &weights[8], &weights[9], epsilon)?;

        let inner = product(&between, &weights[10])?;
        let mut activated = vec![0f32; inner.elem_count()];
        let bias = values(&weights[11])?;
        write(&inner, |inner| bias_gelu(inner, &bias, &mut activated))?;
        let activated = Tensor::from_vec(activated, inner.shape(), &Device::Cpu)?;
        let second_sum = product(&activated, &weights[12])?;
        join(&second_sum, &weights[13], &between, place(2))?;
        hidden = norm(&second_sum, &weights[14], &weights[15], epsilon)?;
        layers.push(Layer {
            input,
            q,
            k,
            v,
            attended,
            first_sum,
            between,
            inner,
            activated,
            second_sum,
        });
    }
    Ok(Forward {
        hidden,
        embedded,
        layers,
    })
}

/// Gradients of all weights but the heads', from that of the last layer's vectors. The first holds a row a token.
pub(super) fn backward(
    shape: &Shape,
    weights: &[Tensor],
    batch: &Batch,
    dropout: Dropout,
    forward: &Forward,
    gradient: &Tensor,
) -> Result<Vec<Tensor>> {
    let epsilon = shape.layer_norm_eps as f32;
    let mut gradient = gradient.clone();
    let mut by_layer = Vec::with_capacity(shape.layers.len());
    for number in (0..shape.layers.len()).rev() {
        let layout = layout(shape, number, batch);
        let weights = &weights[EMBEDDINGS + number * LAYER..][..LAYER];
        let place = |part: u32| dropout.at(1 + number as u32 * 3 + part);
        let layer = &forward.layers[number];

        let [sum, gain2, shift2] =
            norm_backward(&layer.second_sum, &weights[14], epsilon, &gradient)?;
        let out = dropped(&sum, place(2))?;
        let [weight_f, bias_f] = linear_gradients(&out, &layer.activated)?;
        let inner = out.matmul(&weights[12])?;
        let x = values(&layer.inner)?;
        write(&inner, |inner| gelu_backward(&x, inner))?;
        let [weight_i, bias_i] = linear_gradients(&inner, &layer.between)?;
        let between = inner.matmul(&weights[10])?;
        add(&between, &sum)?;

        let [sum, gain1, shift1] = norm_backward(&layer.first_sum, &weights[8], epsilon, &between)?;
        let out = dropped(&sum, place(1))?;
        let [weight_o, bias_o] = linear_gradients(&out, &layer.attended)?;
        let attended = out.matmul(&weights[6])?;
        let [q, k, v] = attention_backward(layout, layer, place(0), &attended)?;
        let mut gradients = Vec::with_capacity(LAYER);
        for (part, gradient) in [&q, &k, &v].into_iter().enumerate() {
            gradients.extend(linear_gradients(gradient, &layer.input)?);
            add(&sum, &gradient.matmul(&weights[part * 2])?)?;
        }
        gradients.extend([
            weight_o, bias_o, gain1, shift1, weight_i, bias_i, weight_f, bias_f, gain2, shift2,
        ]);
        by_layer.push(gradients);
        gradient = sum;
    }
    let normed = dropped(&gradient, dropout.at(0))?;
    let [rows, gain, shift] = norm_backward(&forward.embedded, &weights[3], epsilon, &normed)?;
    let (positions, types) = embedding_gradients(shape, batch, &rows)?;
    let mut all = vec![rows, positions, types, gain, shift];
    all.extend(by_layer.into_iter().rev().flatten());
    Ok(all)
}

fn layout<'b>(shape: &Shape, layer: usize, batch: &'b Batch) -> Layout<'b> {
    let heads = shape.layers[layer].heads;
    Layout {
        lengths: &batch.lengths,
        heads,
        width: heads * shape.head_width(),
    }
}

fn embed(shape: &Shape, weights: &[Tensor], batch: &Batch) -> Result<Tensor> {
    let width = shape.hidden_size;
    let [words, positions, types] = [
        values(&weights[0])?,
        values(&weights[1])?,
        values(&weights[2])?,
    ];
    let mut sum = Vec::with_capacity(batch.tokens() * width);
    for (&id, &position) in batch.ids.iter().zip(&batch.positions) {
        let word = &words[id as usize * width..][..width];
        let position = &positions[position as usize * width..][..width];
        let parts = word.iter().zip(position).zip(&types[..width]);
        sum.extend(parts.map(|((word, position), kind)| word + position + kind));
    }
    Tensor::from_vec(sum, (batch.tokens(), width), &Device::Cpu)
}

/// Gradients of positions and types, from those of the tokens.
fn embedding_gradients(shape: &Shape, batch: &Batch, rows: &Tensor) -> Result<(Tensor, Tensor)> {
    let width = shape.hidden_size;
    let rows = values(rows)?;
    let mut positions = vec![0f32; shape.max_position_embeddings * width];
    for (row, &position) in rows.chunks_exact(width).zip(&batch.positions) {
        let to = &mut positions[position as usize * width..][..width];
        to.iter_mut().zip(row).for_each(|(to, from)| *to += from);
    }
    let mut types = vec![0f32; shape.type_vocab_size * width];
    column_sums(&rows, &mut types[..width]);
    let positions = (positions, shape.max_position_embeddings);
    let [positions, types] = [positions, (types, shape.type_vocab_size)]
        .map(|(values, rows)| Tensor::from_vec(values, (rows, width), &Device::Cpu));
    Ok((positions?, types?))
}

/// `x wᵀ`.
fn product(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    x.matmul(&weight.t()?)
}

/// `to += from`.
fn add(to: &Tensor, from: &Tensor) -> Result<()> {
    let from = values(from)?;
    write(to, |to| crate::train::kernels::adamw::add(to, &from))
}

/// `out = dropout(out + bias) + residual`.
fn join(out: &Tensor, bias: &Tensor, residual: &Tensor, dropout: Dropout) -> Result<()> {
    let (bias, residual) = (values(bias)?, values(residual)?);
    write(out, |out| bias_dropout_add(out, &bias, &residual, dropout))
}

fn dropped(x: &Tensor, dropout: Dropout) -> Result<Tensor> {
    let mut out = vec![0f32; x.elem_count()];
    drop(&values(x)?, dropout, &mut out);
    Tensor::from_vec(out, x.shape(), &Device::Cpu)
}

fn norm(x: &Tensor, gain: &Tensor, shift: &Tensor, epsilon: f32) -> Result<Tensor> {
    let mut out = vec![0f32; x.elem_count()];
    layer_norm(
        &values(x)?,
        &values(gain)?,
        &values(shift)?,
        epsilon,
        &mut out,
    );
    Tensor::from_vec(out, x.shape(), &Device::Cpu)
}

/// Gradients of input, gain and shift.
fn norm_backward(
    x: &Tensor,
    gain: &Tensor,
    epsilon: f32,
    gradient: &Tensor,
) -> Result<[Tensor; 3]> {
    let width = gain.elem_count();
    let mut out = vec![0f32; x.elem_count()];
    let (mut gains, mut shifts) = (vec![0f32; width], vec![0f32; width]);
    layer_norm_backward(
        &values(x)?,
        &values(gain)?,
        epsilon,
        &values(gradient)?,
        &mut out,
        &mut gains,
        &mut shifts,
    );
    Ok([
        Tensor::from_vec(out, x.shape(), &Device::Cpu)?,
        Tensor::from_vec(gains, width, &Device::Cpu)?,
        Tensor::from_vec(shifts, width, &Device::Cpu)?,
    ])
}

/// Gradients of weight and bias of a linear layer, from that of its output and its input.
fn linear_gradients(gradient: &Tensor, input: &Tensor) -> Result<[Tensor; 2]> {
    let mut bias = vec![0f32; gradient.dim(1)?];
    column_sums(&values(gradient)?, &mut bias);
    let outputs = bias.len();
    Ok([
        gradient.t()?.matmul(input)?,
        Tensor::from_vec(bias, outputs, &Device::Cpu)?,
    ])
}

/// Gradients of queries, keys and values.
fn attention_backward(
    layout: Layout<'_>,
    layer: &Layer,
    dropout: Dropout,
    gradient: &Tensor,
) -> Result<[Tensor; 3]> {
    let zeros = || vec![0f32; layer.q.elem_count()];
    let (mut q, mut k, mut v) = (zeros(), zeros(), zeros());
    attend_backward(
        layout,
        &values(&layer.q)?,
        &values(&layer.k)?,
        &values(&layer.v)?,
        dropout,
        &values(gradient)?,
        &mut q,
        &mut k,
        &mut v,
    );
    let tensor = |values| Tensor::from_vec(values, layer.q.shape(), &Device::Cpu);
    Ok([tensor(q)?, tensor(k)?, tensor(v)?])
}
