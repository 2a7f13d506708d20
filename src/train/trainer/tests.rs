//! Whole runs of a tiny model.

use super::*;
use crate::domain::Label;
use crate::model::{Model, testing};

/// A base, data and a folder for the model.
struct Bench(tempfile::TempDir);

const TRAIN: &str = r#"{"text": "acme beats its outlook", "label": "positive", "entities": [{"name": "acme", "label": "positive"}]}
{"text": "acme cuts its outlook", "label": "negative", "entities": [{"name": "acme", "label": "negative"}]}
{"text": "acme beats profit", "label": "positive", "entities": [{"name": "acme", "label": "positive"}]}
{"text": "acme cuts profit", "label": "negative"}
{"text": "a profit outlook", "label": "neutral"}
{"text": "its outlook", "label": "neutral"}
"#;
const DEV: &str = r#"{"text": "acme beats a profit", "label": "positive", "entities": [{"name": "acme", "label": "positive"}]}
{"text": "acme cuts a profit", "label": "negative", "entities": [{"name": "acme", "label": "negative"}]}
{"text": "a outlook profit", "label": "neutral"}
"#;

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().join("base");
        std::fs::create_dir(&base).unwrap();
        testing::write(&base, DType::F32);
        std::fs::write(folder.path().join("train.jsonl"), TRAIN).unwrap();
        std::fs::write(folder.path().join("dev.jsonl"), DEV).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, out: &str) -> Run {
        Run {
            train: vec![Source {
                path: self.path("train.jsonl"),
                weight: 1.0,
                calibrates: false,
            }],
            dev: vec![self.path("dev.jsonl")],
            corrections: None,
            base: self.path("base"),
            out: self.path(out),
            data: data::Options {
                class_weights: [1.0; 3],
                conflicting_weight: 1.0,
                calibration_share: 0.0,
            },
            method: Method::Full,
            epochs: 6.0,
            batch: 2,
            max_tokens: 16,
            rates: Rates {
                encoder: 0.01,
                heads: 0.02,
                decay: 0.01,
                longest_gradient: 1.0,
            },
            warm_up: 0.1,
            dropout: 0.1,
            smoothing: 0.05,
            consistency: 0.0,
            seed: 3,
            judgements: 1,
            patience: 1000,
            checkpoint_every: 2,
            storage: Storage::Full,
            device: Device::Cpu,
        }
    }

    fn weights(&self, out: &str) -> std::collections::HashMap<String, Tensor> {
        let path = self.path(out).join("model.safetensors");
        candle_core::safetensors::load(path, &Device::Cpu).unwrap()
    }
}

/// An entity that is named once.
fn one(name: std::ops::Range<usize>) -> Vec<std::ops::Range<usize>> {
    vec![name]
}

/// Runs until after a step.
fn killed_at(run: &Run, last: usize) -> std::thread::Result<Result<Outcome, TrainError>> {
    let go = || {
        run.go(&mut |event| {
            if matches!(event, Event::Step { step, .. } if *step == last) {
                std::panic::resume_unwind(Box::new("killed"));
            }
        })
    };
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(go))
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn a_model_learns_and_the_folder_scores_as_it_did_in_training() {
    let bench = Bench::new();
    let run = Run {
        epochs: 200.0,
        dropout: 0.0,
        ..bench.run("out")
    };
    let mut losses = Vec::new();
    let outcome = run
        .go(&mut |event| {
            if let Event::Step { loss, .. } = event {
                losses.push(*loss);
            }
        })
        .unwrap();
    // What it says of texts it has not seen hangs on the last bits of a processor's sums; that it learns does not.
    let mean = |losses: &[f32]| losses.iter().sum::<f32>() / losses.len() as f32;
    let (first, last) = (mean(&losses[..15]), mean(&losses[losses.len() - 15..]));
    assert!(last < 0.5 * first, "{first} {last}");

    // The judgement of training is what the model in the folder says.
    let model = Model::open(&testing::model_config(run.out.to_string_lossy())).unwrap();
    assert!(model.knows_entities());
    let dev = [
        ("acme beats a profit", Some(0..4), Label::Positive),
        ("acme cuts a profit", Some(0..4), Label::Negative),
        ("a outlook profit", None, Label::Neutral),
    ];
    let (mut right, mut entities_right) = (0, 0);
    for (text, name, label) in dev {
        let names: Vec<_> = name.map(one).into_iter().collect();
        let passages = model.tokenizer().passages(text, &names, 1);
        let scored = &model.score(&passages).unwrap()[0];
        right += usize::from(scored.document.label() == label);
        entities_right += scored
            .entities
            .iter()
            .filter(|entity| entity.label() == label)
            .count();
    }
    let report = &outcome.report;
    let documents = report.documents.as_ref().unwrap().accuracy;
    let entities = report.entities.as_ref().unwrap().all.accuracy;
    assert_eq!(
        (documents, entities),
        (right as f64 / 3.0, entities_right as f64 / 2.0),
        "{report}"
    );
    let passages = model
        .tokenizer()
        .passages("acme cuts a profit", &[one(0..4)], 1);
    let scored = &model.score(&passages).unwrap()[0];

    // The same logits, computed by the engine of inference and by the network of training.
    let base = Base::read(&run.out, 0, &Device::Cpu).unwrap();
    let mut batch = Batch::default();
    batch.add(&passages[0]);
    let (documents, entities) = network::logits(&base.shape, &base.weights, &batch).unwrap();
    let expected = crate::model::calibration::sentiment(entities[0], crate::model::Scaling::NONE);
    assert!((expected.negative - scored.entities[0].negative).abs() < 1e-4);
    let logits = model.logits(&[passages[0].tokens.clone()]).unwrap()[0];
    for (logit, expected) in logits.iter().zip(documents[0]) {
        assert!((logit - expected).abs() < 1e-3, "{logit} {expected}");
    }

    let kept: Vec<String> = std::fs::read_dir(run.out.join("training"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    assert!(
        kept.contains(&"run.json".to_owned()) && kept.len() == 2,
        "{kept:?}"
    );
}

/// A run that is killed after any step, and begun again, makes the model that it would have made.
#[test]
fn a_run_that_was_killed_goes_on_as_if_it_had_not_been() {
    let bench = Bench::new();
    let whole = bench.run("whole").go(&mut |_| {}).unwrap();
    for last in [3, 6, 11] {
        let name = format!("killed-{last}");
        let run = bench.run(&name);
        let killed = killed_at(&run, last);
        assert!(killed.is_err() && is_unfinished(&run.out));
        let mut begun = 0;
        let resumed = run
            .go(&mut |event| {
                if let Event::Ready { begun: step, .. } = event {
                    begun = *step;
                }
            })
            .unwrap();
        assert!(begun > 0 && begun <= last, "{begun}");
        assert_eq!(
            (resumed.steps, resumed.best_step),
            (whole.steps, whole.best_step)
        );
        let (whole, resumed) = (bench.weights("whole"), bench.weights(&name));
        for (tensor, expected) in &whole {
            assert_eq!(values(&resumed[tensor]), values(expected), "{tensor}");
        }
        assert!(!is_unfinished(&run.out));
    }
}

#[test]
fn other_options_do_not_go_on_with_a_run() {
    let bench = Bench::new();
    let run = bench.run("out");
    assert!(killed_at(&run, 3).is_err());
    let other = Run { seed: 4, ..run };
    let error = other.go(&mut |_| {}).unwrap_err().to_string();
    assert!(
        error.contains("progress.json") && error.contains("other data or options"),
        "{error}"
    );
}

#[test]
fn a_loss_that_is_no_number_ends_the_run_and_leaves_no_model() {
    let bench = Bench::new();
    let mut weights = testing::weights();
    let bad = Tensor::full(f32::MAX, (8, 8), &Device::Cpu).unwrap();
    weights.insert(
        "bert.encoder.layer.0.attention.output.dense.weight".into(),
        bad,
    );
    testing::write_weights(&bench.path("base"), weights, DType::F32);
    let run = bench.run("out");
    let error = run.go(&mut |_| {}).unwrap_err();
    assert!(
        matches!(error, TrainError::NotFinite { step: 1, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("lower --learning-rate"));
    assert!(!run.out.join("model.safetensors").exists());
}

#[test]
fn lora_learns_little_and_leaves_the_embeddings() {
    let bench = Bench::new();
    let (mut all, mut narrow) = (0, 0);
    let count = |to: &mut usize, event: &Event| {
        if let Event::Ready { learnt, .. } = event {
            *to = *learnt;
        }
    };
    bench
        .run("full")
        .go(&mut |event| count(&mut all, event))
        .unwrap();
    let run = Run {
        method: Method::Lora { rank: 2 },
        epochs: 150.0,
        dropout: 0.0,
        ..bench.run("lora")
    };
    let mut losses = Vec::new();
    run.go(&mut |event| {
        count(&mut narrow, event);
        if let Event::Step { loss, .. } = event {
            losses.push(*loss);
        }
    })
    .unwrap();
    assert!(narrow < all, "{narrow} of {all}");
    let (base, made) = (testing_weights(&bench), bench.weights("lora"));
    let words = "bert.embeddings.word_embeddings.weight";
    assert_eq!(values(&base[words]), values(&made[words]));
    let query = "bert.encoder.layer.0.attention.self.query.weight";
    assert_ne!(values(&base[query]), values(&made[query]));
    let mean = |losses: &[f32]| losses.iter().sum::<f32>() / losses.len() as f32;
    let (first, last) = (mean(&losses[..10]), mean(&losses[losses.len() - 10..]));
    assert!(last < 0.9 * first, "{first} became {last}");
}

fn testing_weights(bench: &Bench) -> std::collections::HashMap<String, Tensor> {
    let path = bench.path("base").join("model.safetensors");
    candle_core::safetensors::load(path, &Device::Cpu).unwrap()
}

#[test]
fn bad_folders_are_named() {
    let bench = Bench::new();
    let refusal = |run: Run| run.go(&mut |_| {}).unwrap_err().to_string();
    let missing = Run {
        base: bench.path("nowhere"),
        ..bench.run("out")
    };
    assert!(refusal(missing).contains("nowhere/config.json"));
    std::fs::write(bench.path("file"), "").unwrap();
    assert!(refusal(bench.run("file")).contains("file/training"));
    std::fs::write(bench.path("base/model.safetensors"), "cut").unwrap();
    assert!(refusal(bench.run("out")).contains("not a whole safetensors file"));
    std::fs::write(bench.path("base/config.json"), r#"{"model_type": "gpt2"}"#).unwrap();
    assert!(refusal(bench.run("out")).contains("'bert'"));
}

#[test]
fn early_stopping_counts_judgements_since_the_best() {
    let judgement = |step, merit| Judgement {
        step,
        loss: 1.0,
        merit,
        report: json!({}),
    };
    let progress = Progress {
        judgements: vec![
            judgement(1, 0.5),
            judgement(2, 0.7),
            judgement(3, 0.7),
            judgement(4, 0.6),
        ],
        ..Progress::default()
    };
    assert_eq!(
        (progress.best().unwrap().step, progress.since_best()),
        (2, 2)
    );
    assert_eq!(Progress::default().since_best(), 0);
}

#[test]
fn a_full_disk_leaves_the_file_that_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("progress.json");
    base::replace(&path, b"old").unwrap();
    // Where the unfinished file should go nothing can be written.
    std::fs::create_dir(path.with_extension("unfinished")).unwrap();
    assert!(base::replace(&path, b"new").is_err());
    let tensors = std::collections::HashMap::new();
    let error = base::write_tensors(&path, &tensors)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("progress.json") && error.contains("make room"),
        "{error}"
    );
    assert_eq!(std::fs::read(&path).unwrap(), b"old");
}

/// `scripts/training/reference.py` trained the folder with squall and wrote what transformers makes of it.
#[test]
fn transformers_gives_the_same_logits() {
    let folder = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/data/tiny_model"
    ));
    let base = Base::read(folder, 0, &Device::Cpu).unwrap();
    let model = Model::open(&testing::model_config(folder.to_string_lossy())).unwrap();
    let lines = include_str!("../../../tests/data/tiny_model/logits.jsonl");
    let mut spread = 0f64;
    for line in lines.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let tokens = model.tokenizer().encode(line["text"].as_str().unwrap());
        assert_eq!(json!(tokens.0), line["ids"]);
        let passage = crate::model::Passage {
            tokens: tokens.clone(),
            entities: vec![(0, vec![1])],
        };
        let mut batch = Batch::default();
        batch.add(&passage);
        let (documents, entities) = network::logits(&base.shape, &base.weights, &batch).unwrap();
        let engine = model.logits(&[tokens]).unwrap()[0];
        for class in 0..3 {
            let expected = line["logits"][class].as_f64().unwrap();
            let entity = line["entity_logits"][class].as_f64().unwrap();
            spread = spread.max(expected.abs());
            assert!(
                (f64::from(documents[0][class]) - expected).abs() < 1e-4,
                "{line}"
            );
            assert!((f64::from(engine[class]) - expected).abs() < 1e-4, "{line}");
            assert!(
                (f64::from(entities[0][class]) - entity).abs() < 1e-4,
                "{line}"
            );
        }
    }
    assert!(
        spread > 0.5,
        "logits that are all alike tell nothing: {spread}"
    );
}
