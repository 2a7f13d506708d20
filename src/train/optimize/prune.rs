//! Leaving out heads, units and layers: which, and what is left of the weights.

use super::importance::Importance;
use crate::model::LayerShape;
use crate::train::network::{EMBEDDINGS, LAYER, Shape};
use candle_core::{Result, Tensor};

/// Fewest units of a layer.
const FEWEST_UNITS: usize = 32;

/// What of a layer is kept, by number.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Kept {
    heads: Vec<usize>,
    units: Vec<usize>,
}

/// Multiplications for a token in the products of all layers.
pub(super) fn multiplications(shape: &Shape) -> usize {
    let of = |layer: &LayerShape| layer.heads * head_cost(shape) + layer.inner * unit_cost(shape);
    shape.layers.iter().map(of).sum()
}

/// A head has columns or rows of four matrices.
fn head_cost(shape: &Shape) -> usize {
    4 * shape.hidden_size * shape.head_width()
}

/// A unit has a row of one matrix and a column of another.
fn unit_cost(shape: &Shape) -> usize {
    2 * shape.hidden_size
}

/// Leaves out the heads and units that do least for what they cost, until `multiplications` fewer are made for a token. Of each layer a
/// head and [`FEWEST_UNITS`] units stay, so that it can be less.
pub(super) fn choose(
    shape: &Shape,
    importance: &[Importance],
    multiplications: usize,
) -> Vec<Kept> {
    let mut parts: Vec<(f64, usize, Part)> = Vec::new();
    for (layer, one) in importance.iter().enumerate() {
        let (head, unit) = (head_cost(shape), unit_cost(shape));
        let heads = one.heads.iter().enumerate();
        parts.extend(heads.map(|(number, does)| (does / head as f64, layer, Part::Head(number))));
        let units = one.units.iter().enumerate();
        parts.extend(units.map(|(number, does)| (does / unit as f64, layer, Part::Unit(number))));
    }
    parts.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut kept: Vec<Kept> = shape
        .layers
        .iter()
        .map(|layer| Kept {
            heads: (0..layer.heads).collect(),
            units: (0..layer.inner).collect(),
        })
        .collect();
    let mut saved = 0;
    for (_, layer, part) in parts {
        if saved >= multiplications {
            break;
        }
        let kept = &mut kept[layer];
        match part {
            Part::Head(number) if kept.heads.len() > 1 => {
                kept.heads.retain(|head| *head != number);
                saved += head_cost(shape);
            }
            Part::Unit(number) if kept.units.len() > FEWEST_UNITS => {
                kept.units.retain(|unit| *unit != number);
                saved += unit_cost(shape);
            }
            _ => {}
        }
    }
    kept
}

enum Part {
    Head(usize),
    Unit(usize),
}

/// The shape and weights of what is kept of each layer.
///
/// # Errors
/// When the weights do not have the shape.
pub(super) fn prune(
    shape: &Shape,
    weights: &[Tensor],
    kept: &[Kept],
) -> Result<(Shape, Vec<Tensor>)> {
    let mut pruned = shape.clone();
    let mut left = weights.to_vec();
    for (number, kept) in kept.iter().enumerate() {
        let layer = &mut left[EMBEDDINGS + number * LAYER..][..LAYER];
        let width = shape.head_width();
        let rows_of = |&head: &usize| head * width..(head + 1) * width;
        let heads = indices(kept.heads.iter().flat_map(rows_of), &layer[0])?;
        let units = indices(kept.units.iter().copied(), &layer[0])?;
        // Query, key and value, weight and bias each; then the matrix behind them, the units' own, and the one behind those.
        for (weight, chosen, dimension) in (0..6).map(|weight| (weight, &heads, 0)).chain([
            (6, &heads, 1),
            (10, &units, 0),
            (11, &units, 0),
            (12, &units, 1),
        ]) {
            layer[weight] = layer[weight]
                .index_select(chosen, dimension)?
                .contiguous()?;
        }
        pruned.layers[number] = LayerShape {
            heads: kept.heads.len(),
            inner: kept.units.len(),
        };
    }
    Ok((pruned, left))
}

fn indices(chosen: impl Iterator<Item = usize>, beside: &Tensor) -> Result<Tensor> {
    let chosen: Vec<u32> = chosen.map(|index| index as u32).collect();
    Tensor::new(chosen, beside.device())
}

/// The shape and weights without a layer.
pub(super) fn without(shape: &Shape, weights: &[Tensor], layer: usize) -> (Shape, Vec<Tensor>) {
    let mut shorter = shape.clone();
    shorter.layers.remove(layer);
    let mut left = weights.to_vec();
    left.drain(EMBEDDINGS + layer * LAYER..EMBEDDINGS + (layer + 1) * LAYER);
    (shorter, left)
}
