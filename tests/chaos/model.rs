//! A model made by hand, of 2 kB: a text with `plunge` in it is negative, one with `soar` positive, all others neutral.
//! One layer of BERT whose attention averages the words; the classifier looks for two of them.

use candle_core::{Device, Error, Tensor};
use serde_json::json;
use std::collections::HashMap;
use std::path::Path;

/// Makes a text negative.
pub const NEGATIVE: &str = "plunge";
/// Makes a text positive.
pub const POSITIVE: &str = "soar";

const WORDS: [&str; 6] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", NEGATIVE, POSITIVE];
const WIDTH: usize = 8;

/// Writes the model into a folder.
pub fn write(folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
    std::fs::create_dir_all(folder)?;
    let config = json!({
        "model_type": "bert", "vocab_size": WORDS.len(), "hidden_size": WIDTH, "num_hidden_layers": 1,
        "num_attention_heads": 2, "intermediate_size": WIDTH, "hidden_act": "gelu", "hidden_dropout_prob": 0.1,
        "max_position_embeddings": 64, "type_vocab_size": 2, "initializer_range": 0.02,
        "layer_norm_eps": 1e-12, "pad_token_id": 0,
        "id2label": {"0": "negative", "1": "neutral", "2": "positive"}
    });
    let vocabulary: HashMap<&str, usize> = WORDS.into_iter().zip(0..).collect();
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": WORDS[..4].iter().enumerate().map(|(id, content)| json!({
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
    });
    std::fs::write(folder.join("config.json"), config.to_string())?;
    std::fs::write(folder.join("tokenizer.json"), tokenizer.to_string())?;
    candle_core::safetensors::save(&weights()?, folder.join("model.safetensors"))?;
    Ok(())
}

fn weights() -> Result<HashMap<String, Tensor>, Error> {
    let mut weights = HashMap::new();
    let mut put = |name: &str, rows: usize, cells: &[(usize, usize, f32)]| {
        let mut values = vec![0f32; rows * WIDTH];
        for (row, column, value) in cells {
            values[row * WIDTH + column] = *value;
        }
        let tensor = Tensor::from_vec(values, (rows, WIDTH), &Device::Cpu)?;
        weights.insert(format!("{name}.weight"), tensor);
        Ok::<_, Error>(())
    };
    let diagonal = |value| (0..WIDTH).map(|i| (i, i, value)).collect::<Vec<_>>();
    let layer = "bert.encoder.layer.0";
    // Each kind of word has a direction of its own.
    let directions = [
        (1, 0, 1.0),
        (2, 7, 1.0),
        (3, 6, 1.0),
        (4, 1, 1.0),
        (5, 2, 1.0),
    ];
    put("bert.embeddings.word_embeddings", WORDS.len(), &directions)?;
    put("bert.embeddings.position_embeddings", 64, &[])?;
    put("bert.embeddings.token_type_embeddings", 2, &[])?;
    put(&format!("{layer}.attention.self.query"), WIDTH, &[])?;
    put(&format!("{layer}.attention.self.key"), WIDTH, &[])?;
    put(
        &format!("{layer}.attention.self.value"),
        WIDTH,
        &diagonal(1.0),
    )?;
    put(
        &format!("{layer}.attention.output.dense"),
        WIDTH,
        &diagonal(1.0),
    )?;
    put(&format!("{layer}.intermediate.dense"), WIDTH, &[])?;
    put(&format!("{layer}.output.dense"), WIDTH, &[])?;
    // Small, so that tanh leaves it as it is.
    put("bert.pooler.dense", WIDTH, &diagonal(0.05))?;
    // Against a direction that no word has: exactly 0 where the word is missing.
    let far = 2000.0;
    put(
        "classifier",
        3,
        &[(0, 1, far), (0, 3, -far), (2, 2, far), (2, 3, -far)],
    )?;

    let biases: Vec<(String, usize)> = weights
        .iter()
        .filter(|(name, _)| !name.contains("embeddings"))
        .map(|(name, tensor)| (name.replace(".weight", ".bias"), tensor.dims()[0]))
        .collect();
    for (name, width) in biases {
        weights.insert(
            name,
            Tensor::zeros(width, candle_core::DType::F32, &Device::Cpu)?,
        );
    }
    let neutral = Tensor::new(&[0f32, 4.0, 0.0], &Device::Cpu)?;
    weights.insert("classifier.bias".to_owned(), neutral);
    for norm in [
        "bert.embeddings",
        &format!("{layer}.attention.output"),
        &format!("{layer}.output"),
    ] {
        let ones = Tensor::ones(WIDTH, candle_core::DType::F32, &Device::Cpu)?;
        weights.insert(format!("{norm}.LayerNorm.bias"), ones.zeros_like()?);
        weights.insert(format!("{norm}.LayerNorm.weight"), ones);
    }
    Ok(weights)
}
