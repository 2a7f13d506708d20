//! How much each head of attention and each unit of the feed-forward part does.
//!
//! What the loss would change by, to first order, if one were left out: the gradient along a mask in front of it, as in Michel,
//! Levy and Neubig (2019, arXiv:1905.10650) for heads and Molchanov et al. (2019, arXiv:1906.10771) for units. That gradient needs no
//! pass of its own: what leaves a head or a unit goes through its columns of one matrix, so it is the sum over these columns of
//! weight times gradient.

use crate::domain::Label;
use crate::model::workers;
use crate::train::data::Question;
use crate::train::network::{self, Batch, EMBEDDINGS, LAYER, Pass, Shape, Target};
use candle_core::{Result, Tensor};

/// Texts whose gradients are taken together. With more of them changes in both directions cancel.
const TEXTS: usize = 8;

/// Weight of a layer through which what leaves its heads goes, and that for its units.
const FROM_HEADS: usize = 6;
const FROM_UNITS: usize = 12;

/// Of one layer; the larger, the more would change without it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Importance {
    pub(super) heads: Vec<f64>,
    pub(super) units: Vec<f64>,
}

/// The mean over the questions, in groups of [`TEXTS`], of the absolute change of the loss.
///
/// # Errors
/// When the weights do not have the shape.
pub(super) fn importance(
    shape: &Shape,
    weights: &[Tensor],
    questions: &[Question],
) -> Result<Vec<Importance>> {
    let groups: Vec<&[Question]> = questions.chunks(TEXTS).collect();
    let found = workers::map(&groups, |group| of_group(shape, weights, group));
    let mut sum: Option<Vec<Importance>> = None;
    for one in found {
        let one = one?;
        match &mut sum {
            None => sum = Some(one),
            Some(sum) => sum.iter_mut().zip(one).for_each(|(sum, one)| {
                add(&mut sum.heads, &one.heads);
                add(&mut sum.units, &one.units);
            }),
        }
    }
    Ok(sum.unwrap_or_default())
}

fn add(sum: &mut [f64], one: &[f64]) {
    sum.iter_mut().zip(one).for_each(|(sum, one)| *sum += one);
}

fn of_group(shape: &Shape, weights: &[Tensor], group: &[Question]) -> Result<Vec<Importance>> {
    let mut batch = Batch::default();
    let target = |label: Label| Target {
        label,
        weight: 1.0 / group.len() as f32,
    };
    for question in group {
        let known = question.entities.iter();
        let entities: Vec<(usize, Target)> = known
            .filter_map(|&(label, place)| Some((place?, target(label))))
            .collect();
        batch.teach(&question.passage, question.document.map(target), &entities);
    }
    let pass = Pass {
        dropout: 0.0,
        seed: 0,
        smoothing: 0.0,
        consistency: 0.0,
    };
    let taught = network::learn(shape, weights, &batch, pass)?;
    let of_layer = |layer: usize| {
        let first = EMBEDDINGS + layer * LAYER;
        let along =
            |weight: usize| columns(&weights[first + weight], &taught.gradients[first + weight]);
        let heads = along(FROM_HEADS)?;
        let head = |columns: &[f64]| columns.iter().sum::<f64>().abs();
        Ok(Importance {
            heads: heads.chunks_exact(shape.head_width()).map(head).collect(),
            units: along(FROM_UNITS)?.into_iter().map(f64::abs).collect(),
        })
    };
    (0..shape.layers.len()).map(of_layer).collect()
}

/// Sum over each column of weight times gradient.
fn columns(weight: &Tensor, gradient: &Tensor) -> Result<Vec<f64>> {
    let sums = (weight * gradient)?.sum(0)?.to_vec1::<f32>()?;
    Ok(sums.into_iter().map(f64::from).collect())
}
