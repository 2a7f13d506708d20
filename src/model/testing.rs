//! A tiny random model for tests.

use crate::config::{ModelConfig, Precision};
use candle_core::{DType, Device, Tensor};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Words the tiny tokenizer knows, after the special tokens.
const WORDS: [&str; 8] = [
    "acme", "cuts", "its", "outlook", "beats", "##s", "a", "profit",
];

/// `config.json` of the tiny model.
pub(crate) fn config() -> Value {
    json!({
        "model_type": "bert", "vocab_size": 4 + WORDS.len(), "hidden_size": 8, "num_hidden_layers": 1,
        "num_attention_heads": 2, "intermediate_size": 16, "hidden_act": "gelu", "hidden_dropout_prob": 0.1,
        "max_position_embeddings": 32, "type_vocab_size": 2, "initializer_range": 0.02,
        "layer_norm_eps": 1e-12, "pad_token_id": 0,
        "id2label": {"0": "negative", "1": "neutral", "2": "positive"}
    })
}

/// `tokenizer.json` of the tiny model.
pub(crate) fn tokenizer() -> Value {
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"];
    let vocabulary: HashMap<&str, usize> = special.into_iter().chain(WORDS).zip(0..).collect();
    json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": special.iter().enumerate().map(|(id, content)| json!({
            "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true
        })).collect::<Vec<_>>(),
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": null, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
        "decoder": null,
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocabulary}
    })
}

/// Random weights of the tiny model, under Hugging Face's names.
pub(crate) fn weights() -> HashMap<String, Tensor> {
    let mut shapes: Vec<(String, Vec<usize>)> = Vec::new();
    let mut dense = |name: &str, outputs: usize, inputs: usize| {
        shapes.push((format!("{name}.weight"), vec![outputs, inputs]));
        shapes.push((format!("{name}.bias"), vec![outputs]));
    };
    let layer = "bert.encoder.layer.0";
    for name in ["query", "key", "value"] {
        dense(&format!("{layer}.attention.self.{name}"), 8, 8);
    }
    dense(&format!("{layer}.attention.output.dense"), 8, 8);
    dense(&format!("{layer}.intermediate.dense"), 16, 8);
    dense(&format!("{layer}.output.dense"), 8, 16);
    dense("bert.pooler.dense", 8, 8);
    dense("classifier", 3, 8);
    for name in [
        "bert.embeddings.LayerNorm".to_owned(),
        format!("{layer}.attention.output.LayerNorm"),
        format!("{layer}.output.LayerNorm"),
    ] {
        shapes.push((format!("{name}.weight"), vec![8]));
        shapes.push((format!("{name}.bias"), vec![8]));
    }
    for (name, rows) in [
        ("word", 4 + WORDS.len()),
        ("position", 32),
        ("token_type", 2),
    ] {
        shapes.push((
            format!("bert.embeddings.{name}_embeddings.weight"),
            vec![rows, 8],
        ));
    }
    shapes
        .into_iter()
        .map(|(name, shape)| {
            let tensor = Tensor::randn(0f32, 0.5, shape, &Device::Cpu).unwrap();
            (name, tensor)
        })
        .collect()
}

/// Writes the tiny model into a folder, the weights as `dtype`.
pub(crate) fn write(folder: &Path, dtype: DType) {
    std::fs::write(folder.join("config.json"), config().to_string()).unwrap();
    std::fs::write(folder.join("tokenizer.json"), tokenizer().to_string()).unwrap();
    write_weights(folder, weights(), dtype);
}

/// Writes weights into a folder.
pub(crate) fn write_weights(folder: &Path, weights: HashMap<String, Tensor>, dtype: DType) {
    let weights: HashMap<String, Tensor> = weights
        .into_iter()
        .map(|(name, tensor)| (name, tensor.to_dtype(dtype).unwrap()))
        .collect();
    candle_core::safetensors::save(&weights, folder.join("model.safetensors")).unwrap();
}

/// Configuration that opens a folder.
pub(crate) fn model_config(source: impl Into<String>) -> ModelConfig {
    ModelConfig {
        source: source.into(),
        cache_dir: PathBuf::from("no-cache-in-this-test"),
        hub: "http://127.0.0.1:1".into(),
        max_tokens: 512,
        precision: Precision::F32,
        devices: vec!["cpu".into()],
    }
}
