//! Tests of the whole: the bundled model, and tiny ones that are broken on purpose.

use super::encoder::GpuEncoder;
use super::*;
use crate::config::Precision;
use candle_core::DType;
use serde_json::{Value, json};
use std::path::Path;

/// The model that comes with the project.
fn bundled(precision: Precision) -> Model {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/models/squall-mini");
    let config = ModelConfig {
        precision,
        ..testing::model_config(folder)
    };
    Model::open(&config).unwrap()
}

/// Largest difference of a logit from the reference implementation's, and how many of the texts have its label.
fn distance_from_reference(model: &Model) -> (f64, usize) {
    let reference = include_str!("../../tests/data/model_reference.jsonl");
    let lines: Vec<Value> = reference
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 24);
    let texts: Vec<&str> = lines
        .iter()
        .map(|line| line["text"].as_str().unwrap())
        .collect();
    let tokens = model.tokenizer().encode_all(&texts);
    let logits = model.logits(&tokens).unwrap();
    let mut largest = 0f64;
    let mut agreeing = 0;
    for ((line, tokens), logits) in lines.iter().zip(&tokens).zip(&logits) {
        assert_eq!(line["ids"], json!(tokens.0), "{line}");
        let expected: Vec<f64> = line["logits"]
            .as_array()
            .unwrap()
            .iter()
            .map(|logit| logit.as_f64().unwrap())
            .collect();
        for (expected, &logit) in expected.iter().zip(logits) {
            largest = largest.max((expected - f64::from(logit)).abs());
        }
        let highest = |logits: &[f64]| (0..3).max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
        let mut ordered = expected.clone();
        ordered.sort_by(f64::total_cmp);
        // Of the text "a" nobody can tell, and the reference hardly does.
        let is_undecided = ordered[2] - ordered[1] < 0.1;
        let agrees = highest(&expected) == highest(&logits.map(f64::from));
        agreeing += usize::from(agrees || is_undecided);
    }
    println!("largest difference {largest:.2e}, {agreeing} labels agree");
    (largest, agreeing)
}

#[test]
fn logits_agree_with_the_reference_implementation() {
    for (precision, tolerance) in [
        (Precision::F32, 1e-3),
        (Precision::Bf16, 0.2),
        (Precision::Int8, 0.5),
    ] {
        let (largest, agreeing) = distance_from_reference(&bundled(precision));
        assert!(largest <= tolerance, "{precision:?} {largest}");
        assert_eq!(agreeing, 24, "{precision:?}");
    }
}

fn assert_near(logits: &[f32; 3], expected: &[f32; 3], tolerance: f32, of: &str) {
    for (logit, expected) in logits.iter().zip(expected) {
        assert!(
            (logit - expected).abs() < tolerance,
            "{of}: {logit} {expected}"
        );
    }
}

fn family_file(family: &str, file: &str) -> PathBuf {
    let families = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/families");
    families.join(family).join(file)
}

/// A folder with the tiny model of a family.
fn family_folder(family: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(family_file(family, file), folder.path().join(file)).unwrap();
    }
    let tokenizer = testing::tokenizer().to_string();
    std::fs::write(folder.path().join("tokenizer.json"), tokenizer).unwrap();
    folder
}

/// Tiny random models of each family, and what `transformers` computes with them; `scripts/family_fixtures.py` made both.
#[test]
fn every_family_agrees_with_the_reference_implementation() {
    for family in [
        "bert",
        "roberta",
        "xlm-roberta",
        "distilbert",
        "multi-label",
        "modernbert",
        "modernbert-mean",
    ] {
        let model = open(&family_folder(family)).unwrap();
        let reference = family_file(family, "reference.jsonl");
        let reference = std::fs::read_to_string(reference).unwrap();
        let lines: Vec<Value> = reference
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines.len(), 5);
        let texts: Vec<Tokens> = lines
            .iter()
            .map(|line| Tokens(serde_json::from_value(line["ids"].clone()).unwrap()))
            .collect();
        let logits = model.logits(&texts).unwrap();
        let sentiments = model.classify(&texts).unwrap();
        for ((line, logits), sentiment) in lines.iter().zip(logits).zip(sentiments) {
            let expected: [f32; 3] = serde_json::from_value(line["logits"].clone()).unwrap();
            assert_near(&logits, &expected, 1e-3, family);
            let probability = match family {
                "multi-label" => 1.0 / (1.0 + (-expected[0]).exp()),
                _ => softmax(expected).negative,
            };
            assert!((sentiment.negative - probability).abs() < 1e-3, "{family}");
        }
        let longest = Tokens(vec![5; model.max_positions]);
        assert!(model.logits(&[longest]).is_ok(), "{family}");
        assert_eq!(model.max_positions, 64, "{family}");
    }
}

/// What GPUs compute, on the processor, where candle has the same operations.
#[test]
fn the_encoder_for_gpus_agrees_with_that_for_processors() {
    for family in [
        "bert",
        "roberta",
        "xlm-roberta",
        "distilbert",
        "multi-label",
        "modernbert",
        "modernbert-mean",
    ] {
        let folder = family_folder(family);
        let mut model = open(&folder).unwrap();
        let ids = |length: usize| Tokens((0..length as u32).map(|n| 4 + n * 7 % 8).collect());
        // Groups of one length, of several, and texts by themselves, on either of two encoders.
        let texts: Vec<Tokens> = [9, 3, 60, 3, 10, 9, 3, 8, 1, 33, 20, 20].map(ids).into();
        let expected = model.logits(&texts).unwrap();
        for (dtype, tolerance) in [(DType::F32, 1e-3), (DType::F16, 0.05)] {
            let read = Folder::read(folder.path()).unwrap();
            let description = Description::read(&read.config).unwrap();
            let weights = Weights::of(&read.weights).unwrap();
            let encoder = || {
                let device = candle_core::Device::Cpu;
                GpuEncoder::take(&weights, &description.shape, device, dtype).unwrap()
            };
            model.encoder = Computer::Gpus(vec![encoder(), encoder()]);
            let logits = model.logits(&texts).unwrap();
            for (logits, expected) in logits.iter().zip(&expected) {
                assert_near(logits, expected, tolerance, &format!("{family} {dtype:?}"));
            }
        }
    }
}

#[test]
fn the_company_of_other_texts_does_not_change_a_text() {
    let model = bundled(Precision::Int8);
    let texts: Vec<Tokens> = [
        "Borealis Bank beats forecasts, raises dividend",
        "a",
        &"Acme cuts its outlook. ".repeat(200),
        "Acme cuts its outlook, and its dividend",
    ]
    .map(|text| model.tokenizer().encode(text))
    .into();
    let together = model.logits(&texts).unwrap();
    for (text, together) in texts.iter().zip(together) {
        let alone = model.logits(std::slice::from_ref(text)).unwrap()[0];
        for (alone, together) in alone.iter().zip(together) {
            assert!((alone - together).abs() < 1e-4, "{alone} {together}");
        }
    }
    assert!(model.classify(&[]).unwrap().is_empty());
}

#[test]
fn any_token_of_any_text_can_be_asked_for() {
    let model = bundled(Precision::F32);
    let texts = [
        "Acme cuts its outlook",
        "Borealis Bank beats forecasts, raises dividend",
    ];
    let tokens = model.tokenizer().encode_all(&texts);
    let asked = |places: [&'static [usize]; 2]| {
        let requests: Vec<Request> = tokens
            .iter()
            .zip(places)
            .map(|(tokens, wanted)| Request {
                tokens: &tokens.0,
                wanted,
            })
            .collect();
        model.encoder.hidden(0, &requests).unwrap()
    };
    let (all, some) = (asked([&[0, 1, 2, 3], &[0, 1, 2]]), asked([&[3, 1], &[2]]));
    let width = all.len() / 7;
    for (some, place) in some.chunks(width).zip([3, 1, 6]) {
        for (some, all) in some.iter().zip(&all[place * width..]) {
            assert!((some - all).abs() < 1e-5, "{some} {all}");
        }
    }
    assert_eq!(asked([&[], &[2]]).len(), width);
}

#[test]
fn a_long_text_is_cut_and_a_strange_one_read() {
    let model = bundled(Precision::F32);
    let long = "é🚀 profit".repeat(100_000);
    for text in [&long[..], "", " \n\t", "\u{10ffff}\0\u{202e}", "[SEP][PAD]"] {
        let tokens = model.tokenizer().encode(text);
        assert!((2..=512).contains(&tokens.len()), "{}", tokens.len());
        let sum = model.classify(&[tokens]).unwrap()[0];
        assert!((sum.negative + sum.neutral + sum.positive - 1.0).abs() < 1e-5);
    }
    assert_eq!(model.tokenizer().encode(&long).len(), 512);
}

fn tiny(dtype: DType) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    testing::write(folder.path(), dtype);
    folder
}

fn open(folder: &tempfile::TempDir) -> Result<Model, ModelError> {
    Model::open(&testing::model_config(folder.path().to_string_lossy()))
}

fn refusal(folder: &tempfile::TempDir) -> String {
    let error = open(folder).err().expect("a model that must be refused");
    assert!(!error.is_retryable(), "{error}");
    error.to_string()
}

fn edit(folder: &tempfile::TempDir, file: &str, change: impl FnOnce(&mut Value)) {
    let path = folder.path().join(file);
    let mut value: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut value);
    std::fs::write(path, value.to_string()).unwrap();
}

#[test]
fn halves_on_disk_are_computed_in_f32() {
    let text = |model: &Model| {
        let tokens = model.tokenizer().encode("Acme beats its outlook");
        model.logits(&[tokens]).unwrap()[0]
    };
    let weights = testing::weights();
    let full = tiny(DType::F32);
    testing::write_weights(full.path(), weights.clone(), DType::F32);
    let expected = text(&open(&full).unwrap());
    for (dtype, tolerance) in [(DType::F16, 0.01), (DType::BF16, 0.1)] {
        let half = tiny(dtype);
        testing::write_weights(half.path(), weights.clone(), dtype);
        for (half, full) in text(&open(&half).unwrap()).iter().zip(expected) {
            assert!((half - full).abs() < tolerance, "{dtype:?} {half} {full}");
        }
    }
}

#[test]
fn labels_in_another_order_move_the_logits() {
    let folder = tiny(DType::F32);
    let logits = |folder| {
        let model = open(folder).unwrap();
        model
            .logits(&[model.tokenizer().encode("a profit")])
            .unwrap()[0]
    };
    let [negative, neutral, positive] = logits(&folder);
    edit(&folder, "config.json", |config| {
        config["id2label"] = json!({"0": "Positive", "1": "negative", "2": "NEUTRAL"});
    });
    assert_eq!(logits(&folder), [neutral, positive, negative]);
}

#[test]
fn the_name_tells_models_apart() {
    let folder = tiny(DType::F32);
    let before = open(&folder).unwrap().name().to_owned();
    let base = folder.path().file_name().unwrap().to_string_lossy();
    let (name, fingerprint) = before.rsplit_once('@').unwrap();
    assert_eq!((name, fingerprint.len()), (&*base, 8));
    testing::write_weights(folder.path(), testing::weights(), DType::F32);
    assert_ne!(open(&folder).unwrap().name(), before);
}

#[test]
fn what_is_missing_or_broken_is_named() {
    let missing = Model::open(&testing::model_config("no/such/folder"));
    let message = missing.err().unwrap().to_string();
    assert!(message.starts_with("no/such/folder: "), "{message}");

    for file in folder::FILES {
        let folder = tiny(DType::F32);
        let path = folder.path().join(file);
        let bytes = std::fs::read(&path).unwrap();
        for length in [0, 5, bytes.len() / 2, bytes.len() - 1] {
            std::fs::write(&path, &bytes[..length]).unwrap();
            let message = refusal(&folder);
            assert!(message.contains(file), "{message}");
        }
        std::fs::remove_file(&path).unwrap();
        let message = refusal(&folder);
        assert!(message.contains(file), "{message}");
    }
}

#[test]
fn weights_that_do_not_fit_the_configuration_are_named() {
    let folder = tiny(DType::F32);
    for (name, tensor) in testing::weights() {
        let mut without = testing::weights();
        without.remove(&name);
        testing::write_weights(folder.path(), without.clone(), DType::F32);
        let message = refusal(&folder);
        assert!(message.contains(&name), "{message}");
        without.insert(
            name.clone(),
            tensor.flatten_all().unwrap().repeat(2).unwrap(),
        );
        testing::write_weights(folder.path(), without, DType::F32);
        let message = refusal(&folder);
        assert!(message.contains(&name), "{message}");
    }
}

#[test]
fn impossible_configurations_are_refused() {
    for (key, value, expected) in [
        ("num_attention_heads", json!(0), "num_attention_heads"),
        ("num_attention_heads", json!(3), "num_attention_heads"),
        ("num_hidden_layers", json!(2), "layer.1"),
        ("model_type", json!("gpt2"), "'gpt2'"),
        ("hidden_act", json!("silu"), "silu"),
        ("hidden_size", json!("8"), "config.json"),
        ("vocab_size", json!(500), "word_embeddings"),
        ("id2label", json!({"0": "LABEL_0"}), "LABEL_0"),
    ] {
        let folder = tiny(DType::F32);
        edit(&folder, "config.json", |config| config[key] = value);
        let message = refusal(&folder);
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn a_tokenizer_of_another_model_is_refused() {
    let folder = tiny(DType::F32);
    edit(&folder, "tokenizer.json", |tokenizer| {
        tokenizer["model"]["vocab"]["zebra"] = 999.into();
    });
    let message = refusal(&folder);
    assert!(
        message.contains("tokenizer does not fit the model"),
        "{message}"
    );
    edit(&folder, "tokenizer.json", |tokenizer| {
        *tokenizer = testing::tokenizer();
        tokenizer["post_processor"] = Value::Null;
    });
    let message = refusal(&folder);
    assert!(message.contains("special tokens"), "{message}");
}

#[test]
fn damaged_weights_are_found_when_the_model_is_opened() {
    let folder = tiny(DType::F32);
    let mut weights = testing::weights();
    let pooler = weights.get_mut("bert.pooler.dense.bias").unwrap();
    *pooler = (pooler.zeros_like().unwrap() * f64::NAN).unwrap();
    testing::write_weights(folder.path(), weights, DType::F32);
    let message = refusal(&folder);
    assert!(message.contains("damaged"), "{message}");
}

#[test]
fn tokens_of_another_tokenizer_are_refused() {
    let model = open(&tiny(DType::F32)).unwrap();
    let good = model.tokenizer().encode("acme");
    for bad in [vec![], vec![12], vec![1; 33]] {
        let error = model.classify(&[good.clone(), Tokens(bad)]).unwrap_err();
        assert!(
            matches!(error, ModelError::ForeignTokens { text: 1, .. }),
            "{error}"
        );
    }
}

proptest::proptest! {
    #[test]
    fn probabilities_sum_to_one(a in -1e30f32..1e30, b in -100f32..100.0, c in -1f32..1.0) {
        let sentiment = softmax([a, b, c]);
        let sum = sentiment.negative + sentiment.neutral + sentiment.positive;
        proptest::prop_assert!((sum - 1.0).abs() < 1e-5);
    }
}
