//! The folder training begins with, and the one it ends with: Hugging Face's files and names.

use super::error::TrainError;
use super::learner::random;
use super::network::Shape;
use crate::domain::Label;
use crate::model::{Calibration, Tokenizer};
use candle_core::{DType, Device, Tensor};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Deviation of weights that begin anew.
const INITIAL: f32 = 0.02;

/// A BERT encoder to begin with.
pub struct Base {
    /// Its shape.
    pub shape: Shape,
    /// Its weights in the shape's order, f32; the heads are new where it has none for squall's labels.
    pub weights: Vec<Tensor>,
    config: Map<String, Value>,
    tokenizer: PathBuf,
}

impl Base {
    /// Reads a folder with `config.json`, `tokenizer.json` and `model.safetensors`. `seed` decides how new heads begin.
    ///
    /// # Errors
    /// When a file is missing or not one of a BERT encoder.
    pub fn read(folder: &Path, seed: u64, device: &Device) -> Result<Self, TrainError> {
        let path = folder.join("config.json");
        let unfit = |problem: String| TrainError::Unfit(format!("{}: {problem}", path.display()));
        let bytes = std::fs::read(&path).map_err(TrainError::file(&path))?;
        let config: Map<String, Value> =
            serde_json::from_slice(&bytes).map_err(|e| unfit(e.to_string()))?;
        if config.get("model_type").and_then(Value::as_str) != Some("bert") {
            return Err(unfit(
                "model_type is not 'bert': choose a BERT encoder as --base".into(),
            ));
        }
        if config.get("hidden_act").is_some_and(|act| act != "gelu") {
            return Err(unfit(
                "hidden_act is not 'gelu': choose another --base".into(),
            ));
        }
        let shape: Shape = serde_json::from_value(Value::Object(config.clone()))
            .map_err(|e| unfit(e.to_string()))?;
        let heads = shape.num_attention_heads;
        if heads == 0 || shape.hidden_size == 0 || !shape.hidden_size.is_multiple_of(heads) {
            return Err(unfit(
                "hidden_size cannot be shared among num_attention_heads".into(),
            ));
        }
        let has_labels = config.get("id2label") == Some(&labels());
        let weights = read_weights(folder, &shape, has_labels, seed, device)?;
        Ok(Self {
            shape,
            weights,
            config,
            tokenizer: folder.join("tokenizer.json"),
        })
    }

    /// Its tokenizer, for texts of at most so many tokens.
    ///
    /// # Errors
    /// When it does not fit.
    pub fn tokenizer(&self, max_tokens: usize) -> Result<Tokenizer, TrainError> {
        let most = self.shape.max_position_embeddings;
        Ok(Tokenizer::open(
            &self.tokenizer,
            self.shape.vocab_size,
            max_tokens.min(most),
        )?)
    }

    /// Writes a folder with these weights, as `dtype`, that Hugging Face's transformers and squall read.
    ///
    /// # Errors
    /// When a file cannot be written; what was there before is then still whole.
    pub fn write(
        &self,
        folder: &Path,
        weights: &[Tensor],
        calibration: &Calibration,
        dtype: DType,
    ) -> Result<(), TrainError> {
        let mut config = self.config.clone();
        let names: HashMap<&str, usize> =
            Label::ALL.map(Label::name).into_iter().zip(0..).collect();
        for (key, value) in [
            ("architectures", json!(["BertForSequenceClassification"])),
            ("id2label", labels()),
            ("label2id", json!(names)),
            (
                "dtype",
                json!(if dtype == DType::F16 {
                    "float16"
                } else {
                    "float32"
                }),
            ),
            ("squall", json!(calibration)),
        ] {
            config.insert(key.into(), value);
        }
        config.remove("torch_dtype");
        let config = serde_json::to_string_pretty(&config).unwrap_or_default() + "\n";
        write_weights(
            &folder.join("model.safetensors"),
            &self.shape,
            weights,
            dtype,
        )?;
        let tokenizer =
            std::fs::read(&self.tokenizer).map_err(TrainError::file(&self.tokenizer))?;
        replace(&folder.join("tokenizer.json"), &tokenizer)?;
        replace(&folder.join("config.json"), config.as_bytes())
    }
}

/// `id2label` of squall's models.
fn labels() -> Value {
    json!({"0": "negative", "1": "neutral", "2": "positive"})
}

fn read_weights(
    folder: &Path,
    shape: &Shape,
    has_labels: bool,
    seed: u64,
    device: &Device,
) -> Result<Vec<Tensor>, TrainError> {
    let path = folder.join("model.safetensors");
    let unfit = |problem: String| TrainError::Unfit(format!("{}: {problem}", path.display()));
    std::fs::metadata(&path).map_err(TrainError::file(&path))?;
    let kept = candle_core::safetensors::load(&path, device)
        .map_err(|e| unfit(format!("{e}: not a whole safetensors file")))?;
    let mut weights = Vec::new();
    for (number, weight) in shape.weights().into_iter().enumerate() {
        let name = &*weight.name;
        let is_class = !name.starts_with("bert.");
        // The encoder alone, as sentence-transformers writes it, has no prefix.
        let bare = name.strip_prefix("bert.").unwrap_or(name);
        let found = kept.get(name).or_else(|| kept.get(bare));
        let tensor = match found {
            Some(tensor) if !is_class || has_labels => {
                if tensor.dims() != weight.shape {
                    return Err(unfit(format!(
                        "{name} has shape {:?}, config.json says {:?}",
                        tensor.dims(),
                        weight.shape
                    )));
                }
                tensor.to_dtype(DType::F32)?.contiguous()?
            }
            _ if is_class || name.starts_with("bert.pooler.") => match weight.shape[..] {
                [rows, columns] => random(
                    (rows, columns),
                    INITIAL,
                    seed.wrapping_add(number as u64),
                    device,
                )?,
                _ => Tensor::zeros(&weight.shape[..], DType::F32, device)?,
            },
            _ => {
                return Err(unfit(format!(
                    "{name} is missing: choose a BERT encoder as --base"
                )));
            }
        };
        weights.push(tensor);
    }
    Ok(weights)
}

/// Writes weights by name, so that the file is the old or the new one.
///
/// # Errors
/// When it cannot be written.
pub(super) fn write_weights(
    path: &Path,
    shape: &Shape,
    weights: &[Tensor],
    dtype: DType,
) -> Result<(), TrainError> {
    let mut named = HashMap::new();
    for (weight, tensor) in shape.weights().into_iter().zip(weights) {
        let tensor = tensor.to_device(&Device::Cpu)?.to_dtype(dtype)?;
        named.insert(weight.name, tensor);
    }
    write_tensors(path, &named)
}

/// Writes tensors, so that the file is the old or the new one.
///
/// # Errors
/// When it cannot be written.
pub(super) fn write_tensors(
    path: &Path,
    tensors: &HashMap<String, Tensor>,
) -> Result<(), TrainError> {
    let unfinished = path.with_extension("unfinished");
    candle_core::safetensors::save(tensors, &unfinished).map_err(|problem| {
        let _ = std::fs::remove_file(&unfinished);
        let problem = problem.to_string();
        let problem = problem.lines().next().unwrap_or_default();
        TrainError::file(path)(std::io::Error::other(format!(
            "{problem}: make room, and start again: training goes on where it was"
        )))
    })?;
    settle(&unfinished, path)
}

/// Writes a file, so that it is the old or the new one.
///
/// # Errors
/// When it cannot be written.
pub(super) fn replace(path: &Path, content: &[u8]) -> Result<(), TrainError> {
    let unfinished = path.with_extension("unfinished");
    std::fs::write(&unfinished, content).map_err(|problem| {
        let _ = std::fs::remove_file(&unfinished);
        TrainError::file(path)(problem)
    })?;
    settle(&unfinished, path)
}

/// Makes sure that a file is on the disk, and gives it its name.
fn settle(unfinished: &Path, path: &Path) -> Result<(), TrainError> {
    let synced = std::fs::File::open(unfinished).and_then(|file| file.sync_all());
    synced.map_err(TrainError::file(path))?;
    std::fs::rename(unfinished, path).map_err(TrainError::file(path))
}
