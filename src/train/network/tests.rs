//! The fused passes against candle's own operations and derivatives.

use super::*;
use crate::domain::Label;
use crate::model::{Passage, Tokens};
use candle_core::Device;

fn shape() -> Shape {
    Shape {
        vocab_size: 20,
        hidden_size: 24,
        num_hidden_layers: 2,
        num_attention_heads: 3,
        intermediate_size: 40,
        layers: vec![
            LayerShape {
                heads: 3,
                inner: 40,
            },
            // Optimised: a head and a unit are left out.
            LayerShape {
                heads: 2,
                inner: 39,
            },
        ],
        max_position_embeddings: 16,
        type_vocab_size: 2,
        layer_norm_eps: 1e-12,
    }
}

fn random(shape: &Shape) -> Vec<Tensor> {
    shape
        .weights()
        .into_iter()
        .map(|weight| Tensor::randn(0f32, 0.3, weight.shape, &Device::Cpu).unwrap())
        .collect()
}

fn batch() -> Batch {
    let passage = |ids: &[u32], entities: Vec<(usize, Vec<usize>)>| Passage {
        tokens: Tokens(ids.to_vec()),
        entities,
    };
    let target = |label, weight| Target { label, weight };
    let mut batch = Batch::default();
    batch.teach(
        &passage(&[2, 7, 9, 3], vec![(0, vec![1, 2]), (1, vec![2])]),
        Some(target(Label::Negative, 0.5)),
        &[
            (0, target(Label::Positive, 1.0)),
            (1, target(Label::Neutral, 0.2)),
        ],
    );
    batch.teach(
        &passage(&[2, 3], Vec::new()),
        Some(target(Label::Positive, 1.0)),
        &[],
    );
    batch.teach(
        &passage(&[2, 9, 9, 11, 19, 0, 3], vec![(4, vec![3])]),
        None,
        &[(0, target(Label::Neutral, 1.0))],
    );
    batch
}

fn largest_difference(a: &Tensor, b: &Tensor) -> f32 {
    let difference = (a - b).unwrap().abs().unwrap().flatten_all().unwrap();
    difference.max(0).unwrap().to_scalar::<f32>().unwrap()
}

#[test]
fn fused_gradients_are_those_of_automatic_differentiation() {
    let shape = shape();
    let weights = random(&shape);
    for (dropout, consistency) in [(0.0, 0.0), (0.3, 0.0), (0.3, 2.0)] {
        let pass = Pass {
            dropout,
            seed: 5,
            smoothing: 0.1,
            consistency,
        };
        let mut batch = batch();
        if consistency > 0.0 {
            batch = batch.doubled();
        }
        let fused = learn_fused(&shape, &weights, &batch, pass).unwrap();
        let composed = composed::learn(&shape, &weights, &batch, pass).unwrap();
        assert!((fused.loss - composed.loss).abs() < 1e-4, "{}", fused.loss);
        assert_eq!(fused.gradients.len(), weights.len());
        for ((name, fused), composed) in shape
            .weights()
            .iter()
            .zip(&fused.gradients)
            .zip(&composed.gradients)
        {
            let scale = largest_difference(composed, &composed.zeros_like().unwrap());
            let difference = largest_difference(fused, composed);
            assert!(
                difference < 1e-4 + 1e-3 * scale,
                "{}: {difference} of {scale}",
                name.name
            );
        }
    }
}

#[test]
fn a_text_alone_has_the_logits_it_has_in_company() {
    let shape = shape();
    let weights = random(&shape);
    let passages = [
        vec![2u32, 5, 6, 3],
        vec![2, 3],
        vec![2, 8, 9, 10, 11, 12, 3],
    ]
    .map(|ids| Passage {
        tokens: Tokens(ids),
        entities: vec![(0, vec![1])],
    });
    let mut together = Batch::default();
    passages.iter().for_each(|passage| together.add(passage));
    let (documents, entities) = logits(&shape, &weights, &together).unwrap();
    for (index, passage) in passages.iter().enumerate() {
        let mut alone = Batch::default();
        alone.add(passage);
        let (document, entity) = logits(&shape, &weights, &alone).unwrap();
        for class in 0..3 {
            assert!((document[0][class] - documents[index][class]).abs() < 1e-4);
            assert!((entity[0][class] - entities[index][class]).abs() < 1e-4);
        }
    }
}

/// A doubled batch without dropout has two halves that agree, and teaches what the batch does; with dropout the divergence is added,
/// here worked out from the logits of both halves.
#[test]
fn halves_that_disagree_are_drawn_together() {
    let shape = shape();
    let weights = random(&shape);
    let loss = |batch: &Batch, dropout, consistency| {
        let pass = Pass {
            dropout,
            seed: 3,
            smoothing: 0.1,
            consistency,
        };
        learn(&shape, &weights, batch, pass).unwrap().loss
    };
    let doubled = batch().doubled();
    let difference = loss(&doubled, 0.0, 5.0) - loss(&batch(), 0.0, 0.0);
    assert!(difference.abs() < 1e-4, "{difference}");

    let dropout = Dropout::new(0.3, 3);
    let hidden = composed::hidden(&shape, &weights, &doubled, dropout).unwrap();
    let logits = heads::logits(&hidden, head_weights(&weights), &doubled, dropout).unwrap();
    let mut expected = 0.0;
    let weighted = [
        (rows(&logits.documents).unwrap(), vec![0.5, 1.0]),
        (rows(&logits.entities).unwrap(), vec![1.0, 0.2, 1.0]),
    ];
    for (logits, weights) in weighted {
        let probabilities: Vec<[f32; 3]> = logits.iter().map(|row| softmax(*row)).collect();
        let (first, second) = probabilities.split_at(weights.len());
        for ((p, q), weight) in first.iter().zip(second).zip(weights) {
            let divergence = |p: &[f32; 3], q: &[f32; 3]| -> f32 {
                p.iter().zip(q).map(|(p, q)| p * (p / q).ln()).sum()
            };
            expected += weight * (divergence(p, q) + divergence(q, p)) / 2.0;
        }
    }
    let added = loss(&doubled, 0.3, 2.0) - loss(&doubled, 0.3, 0.0);
    assert!(
        expected > 0.01 && (added - 2.0 * expected).abs() < 1e-3,
        "{added} {expected}"
    );
}

fn softmax(row: [f32; 3]) -> [f32; 3] {
    let exponentials = row.map(f32::exp);
    let sum: f32 = exponentials.iter().sum();
    exponentials.map(|one| one / sum)
}

#[test]
fn other_seeds_drop_other_values() {
    let (shape, batch) = (shape(), batch());
    let weights = random(&shape);
    let loss = |seed| {
        let pass = Pass {
            dropout: 0.2,
            seed,
            smoothing: 0.0,
            consistency: 0.0,
        };
        learn(&shape, &weights, &batch, pass).unwrap().loss
    };
    assert_eq!(loss(1), loss(1));
    assert_ne!(loss(1), loss(2));
}
