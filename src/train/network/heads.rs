//! The two heads over the encoder's last layer, and their loss.
//!
//! The document's is Hugging Face's `BertForSequenceClassification`: dense and tanh over the first token, then a
//! linear layer. An entity's is the same over the mean of its name's tokens beside the first token, so that one pass
//! serves every entity of a text.

use super::Pass;
use super::batch::{Batch, Target};
use crate::train::kernels::dropout::Dropout;
use candle_core::{D, Device, Result, Tensor};
use candle_nn::ops::log_softmax;

/// Where the dropout of the heads is told apart from that of the layers.
const PLACE: u32 = 1 << 16;

/// Logits in the order of the batch; none where nothing is asked.
pub(super) struct Logits {
    /// [documents, 3]
    pub(super) documents: Option<Tensor>,
    /// [entities, 3]
    pub(super) entities: Option<Tensor>,
}

/// Both heads over hidden vectors [tokens, width].
pub(super) fn logits(
    hidden: &Tensor,
    weights: &[Tensor],
    batch: &Batch,
    dropout: Dropout,
) -> Result<Logits> {
    let device = hidden.device();
    let (document, entity) = weights.split_at(weights.len() / 2);
    let documents = match batch.document_rows(device)? {
        Some(rows) => Some(classify(
            &rows.matmul(hidden)?,
            document,
            dropout.at(PLACE),
        )?),
        None => None,
    };
    let names = batch.entity_rows(device)?;
    let entities = match (names, batch.entity_documents(device)?) {
        (Some(names), Some(documents)) => {
            let beside = [names.matmul(hidden)?, documents.matmul(hidden)?];
            let vectors = Tensor::cat(&beside, 1)?;
            Some(classify(&vectors, entity, dropout.at(PLACE + 1))?)
        }
        _ => None,
    };
    Ok(Logits {
        documents,
        entities,
    })
}

/// Dense, tanh, dropout, linear.
fn classify(vectors: &Tensor, weights: &[Tensor], dropout: Dropout) -> Result<Tensor> {
    let inner = linear(vectors, &weights[0], &weights[1])?.tanh()?;
    let dropped = if dropout.is_none() {
        inner
    } else {
        (&inner * mask(inner.dims2()?, dropout, inner.device())?)?
    };
    linear(&dropped, &weights[2], &weights[3])
}

/// `x wᵀ + b`.
pub(super) fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    x.matmul(&weight.t()?)?.broadcast_add(bias)
}

/// The factors of dropout for a matrix.
pub(super) fn mask(shape: (usize, usize), dropout: Dropout, device: &Device) -> Result<Tensor> {
    let factors = (0..shape.0 * shape.1).map(|index| dropout.factor(index as u32));
    Tensor::from_vec(factors.collect::<Vec<f32>>(), shape, device)
}

/// Cross entropy with smoothed targets, weighted and summed, and how far the halves of a doubled batch are apart.
pub(super) fn loss(logits: &Logits, batch: &Batch, pass: Pass) -> Result<Tensor> {
    let documents = surprise(&logits.documents, &batch.document_targets, pass)?;
    let entities = surprise(&logits.entities, &batch.entity_targets, pass)?;
    match (documents, entities) {
        (Some(documents), Some(entities)) => documents + entities,
        (Some(one), None) | (None, Some(one)) => Ok(one),
        (None, None) => candle_core::bail!("a batch without targets teaches nothing"),
    }
}

fn surprise(logits: &Option<Tensor>, targets: &[Target], pass: Pass) -> Result<Option<Tensor>> {
    let Some(logits) = logits else {
        return Ok(None);
    };
    let known = log_softmax(logits, D::Minus1)?;
    let loss = cross_entropy(&known, targets, pass.smoothing)?;
    if pass.consistency > 0.0 {
        let apart = (divergence(&known, targets)? * f64::from(pass.consistency))?;
        return (loss + apart).map(Some);
    }
    Ok(Some(loss))
}

fn cross_entropy(known: &Tensor, targets: &[Target], smoothing: f32) -> Result<Tensor> {
    let mut values = Vec::with_capacity(targets.len() * 3);
    for target in targets {
        for class in 0..3 {
            let own = f32::from(u8::from(class == target.label as usize));
            values.push(target.weight * (own * (1.0 - smoothing) + smoothing / 3.0));
        }
    }
    let targets = Tensor::from_vec(values, (targets.len(), 3), known.device())?;
    (targets * known)?.sum_all()?.neg()
}

/// The mean of both Kullback-Leibler divergences between the halves of a doubled batch, weighted by the targets and summed.
/// `known` are logarithms of probabilities, [targets, 3].
fn divergence(known: &Tensor, targets: &[Target]) -> Result<Tensor> {
    let half = targets.len() / 2;
    let (first, second) = (known.narrow(0, 0, half)?, known.narrow(0, half, half)?);
    let apart = ((first.exp()? - second.exp()?)? * (first - second)?)?.sum(D::Minus1)?;
    // A doubled target has half its weight, and so has the mean of two divergences.
    let weights: Vec<f32> = targets[..half].iter().map(|target| target.weight).collect();
    (apart * Tensor::new(weights, known.device())?)?.sum_all()
}
