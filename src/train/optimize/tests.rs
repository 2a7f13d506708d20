//! A tiny model made smaller.

use super::importance::importance;
use super::prune::{choose, multiplications, prune, without};
use super::*;
use crate::model::testing;
use crate::train::network::{EMBEDDINGS, LAYER};
use candle_core::DType;
use std::fs;

const DEV: &str = r#"{"text": "acme beats a profit", "label": "positive", "entities": [{"name": "acme", "label": "positive"}]}
{"text": "acme cuts a profit", "label": "negative", "entities": [{"name": "acme", "label": "negative"}]}
{"text": "a outlook profit", "label": "neutral"}
"#;

/// A base in a folder, and a file to judge it by.
fn bench() -> (tempfile::TempDir, Base, Vec<data::Question>) {
    let folder = tempfile::tempdir().unwrap();
    testing::write(folder.path(), DType::F32);
    let dev = folder.path().join("dev.jsonl");
    fs::write(&dev, DEV).unwrap();
    let base = Base::read(folder.path(), 0, &Device::Cpu).unwrap();
    let questions = data::questions(&[dev], &base.tokenizer(16).unwrap()).unwrap();
    (folder, base, questions)
}

/// Sets a column of a matrix to zero.
fn clear(matrix: &mut Tensor, columns: std::ops::Range<usize>) {
    let mut rows = matrix.to_vec2::<f32>().unwrap();
    for row in &mut rows {
        row[columns.clone()].fill(0.0);
    }
    *matrix = Tensor::new(rows, &Device::Cpu).unwrap();
}

fn logits(shape: &Shape, weights: &[Tensor], questions: &[data::Question]) -> Vec<f32> {
    let answers = answer(shape, weights, questions).unwrap();
    let all = answers.documents.iter().chain(&answers.entities);
    all.flat_map(|(_, logits)| *logits).collect()
}

/// What adds nothing does nothing; without it the model says the same.
#[test]
fn what_does_nothing_is_left_out_first_and_not_missed() {
    let (_folder, mut base, questions) = bench();
    // Of 2 heads of 4 the first, of 16 units the third add nothing.
    clear(&mut base.weights[EMBEDDINGS + 6], 0..4);
    clear(&mut base.weights[EMBEDDINGS + 12], 2..3);
    let Base { shape, weights, .. } = &base;
    let does = importance(shape, weights, &questions).unwrap();
    assert_eq!(does[0].heads[0], 0.0);
    assert!(does[0].heads[1] > 0.0);
    assert_eq!(does[0].units[2], 0.0);
    assert!(does[0].units.iter().filter(|does| **does > 0.0).count() >= 14);

    let saved = 4 * 8 * 4;
    let kept = choose(shape, &does, saved);
    let (narrower, left) = prune(shape, weights, &kept).unwrap();
    assert_eq!(narrower.layers[0].heads, 1);
    assert_eq!(multiplications(shape) - multiplications(&narrower), saved);
    let (before, after) = (
        logits(shape, weights, &questions),
        logits(&narrower, &left, &questions),
    );
    for (before, after) in before.iter().zip(&after) {
        assert!((before - after).abs() < 1e-5, "{before} {after}");
    }
}

#[test]
fn a_pruned_model_is_the_same_to_training_and_to_scoring() {
    let (folder, base, questions) = bench();
    let does = importance(&base.shape, &base.weights, &questions).unwrap();
    let kept = choose(&base.shape, &does, 4 * 8 * 4 + 1);
    let (shape, weights) = prune(&base.shape, &base.weights, &kept).unwrap();
    let pruned = base.with(shape, weights);
    for (storage, tolerance) in [(Storage::Full, 1e-4), (Storage::Bytes, 0.1)] {
        let out = folder.path().join(format!("{storage:?}"));
        fs::create_dir(&out).unwrap();
        let calibration = Calibration::default();
        pruned
            .write(&out, &pruned.weights, &calibration, storage)
            .unwrap();
        let read = Base::read(&out, 0, &Device::Cpu).unwrap();
        assert_eq!(read.shape, pruned.shape);
        let model = Model::open(&testing::model_config(out.to_string_lossy())).unwrap();
        let answers = answer(&pruned.shape, &pruned.weights, &questions).unwrap();
        for (question, (_, expected)) in questions.iter().zip(&answers.documents) {
            let logits = model
                .logits(std::slice::from_ref(&question.passage.tokens))
                .unwrap()[0];
            for (logit, expected) in logits.iter().zip(expected) {
                assert!((logit - expected).abs() < tolerance, "{logit} {expected}");
            }
        }
    }
}

#[test]
fn a_layer_is_left_out_whole() {
    let (_folder, base, _) = bench();
    let (shorter, left) = without(&base.shape, &base.weights, 0);
    assert!(shorter.layers.is_empty());
    assert_eq!(base.weights.len() - left.len(), LAYER);
    assert_eq!(left.len(), shorter.weights().len());
}

fn optimisation(folder: &Path, max_drop: f64) -> Optimisation {
    Optimisation {
        model: folder.to_owned(),
        dev: vec![folder.join("dev.jsonl")],
        suite: None,
        out: folder.join("out"),
        max_drop,
        share: 0.2,
        recovery: None,
        settings: testing::model_config(""),
    }
}

#[test]
fn the_smallest_that_holds_is_written_with_all_steps() {
    let (folder, ..) = bench();
    let run = optimisation(folder.path(), 1.0);
    let mut told = 0;
    let steps = run.go(&mut |_| told += 1).unwrap();
    assert_eq!(told, steps.len());
    // Nothing is too much: in the end the layer has one head, and its units, fewer than must stay.
    let [given, bytes, .., last] = &steps[..] else {
        panic!("{steps:?}");
    };
    assert_eq!(given.multiplications, bytes.multiplications);
    assert!(bytes.bytes < given.bytes);
    assert_eq!(last.multiplications, 4 * 8 * 4 + 2 * 8 * 16);
    let model = Model::open(&testing::model_config(run.out.to_string_lossy())).unwrap();
    assert!(!model.knows_entities(), "the given model does not, either");
    let kept = fs::read_to_string(run.out.join("optimize.json")).unwrap();
    assert!(kept.contains(&last.what), "{kept}");
    assert!(!run.out.join("optimize").exists());
}

#[test]
fn a_step_that_loses_too_much_ends_the_search() {
    let (folder, ..) = bench();
    // No model reaches an F1 that is higher than that of the given one by 2.
    let run = optimisation(folder.path(), -2.0);
    let refused = run.go(&mut |_| {}).unwrap_err().to_string();
    assert!(refused.contains("--max-drop"), "{refused}");
    assert!(!run.out.join("model.safetensors").exists());
}

#[test]
fn a_new_head_for_entities_is_not_made_in_passing() {
    let (folder, ..) = bench();
    let mut run = optimisation(folder.path(), 1.0);
    run.recovery = Some(Recovery {
        train: Vec::new(),
        corrections: None,
        epochs: 1.0,
        rate: 1e-4,
        seed: 1,
    });
    let refused = run.go(&mut |_| {}).unwrap_err().to_string();
    assert!(refused.contains("squall train"), "{refused}");
}

const TRAIN: &str = r#"{"text": "acme beats its outlook", "label": "positive", "entities": [{"name": "acme", "label": "positive"}]}
{"text": "acme cuts its outlook", "label": "negative", "entities": [{"name": "acme", "label": "negative"}]}
{"text": "acme beats profit", "label": "positive", "entities": [{"name": "acme", "label": "positive"}]}
{"text": "acme cuts profit", "label": "negative", "entities": [{"name": "acme", "label": "negative"}]}
{"text": "a profit", "label": "neutral"}
{"text": "its outlook", "label": "neutral"}
"#;

/// Models that were never taught, with a head for entities: with lessons after each step of pruning they come to more than
/// without, over all steps, as what is left at the last has hardly room for a lesson.
#[test]
fn lessons_after_pruning_are_learnt() {
    let (mut taught, mut left) = (0.0, 0.0);
    for _ in 0..4 {
        let (folder, mut base, _) = bench();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("train.jsonl"), TRAIN).unwrap();
        fs::create_dir(at("untaught")).unwrap();
        base.knows_entities = true;
        let calibration = Calibration::default();
        base.write(&at("untaught"), &base.weights, &calibration, Storage::Full)
            .unwrap();
        let merits = |recovery| {
            let run = Optimisation {
                model: at("untaught"),
                recovery,
                ..optimisation(folder.path(), 2.0)
            };
            let steps = run.go(&mut |_| {}).unwrap();
            let pruned = steps.iter().skip(2).map(|step| merit(&step.report));
            pruned.sum::<f64>() / (steps.len() - 2) as f64
        };
        taught += merits(Some(Recovery {
            train: vec![Source {
                path: at("train.jsonl"),
                weight: 1.0,
                calibrates: false,
            }],
            corrections: None,
            epochs: 150.0,
            rate: 0.01,
            seed: 1,
        }));
        left += merits(None);
    }
    assert!(taught > left + 0.2, "{taught} {left}");
}
