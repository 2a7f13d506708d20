//! The folder training begins with, and the one it ends with: Hugging Face's files and names.

use super::error::TrainError;
use super::learner::random;
use super::network::Shape;
use crate::domain::Label;
use crate::model::weights::{self, Stored, Weights};
use crate::model::{Calibration, Tokenizer, layers};
use candle_core::{DType, Device, Tensor};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Deviation of weights that begin anew.
const INITIAL: f32 = 0.02;

/// How weights are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// 32 bits.
    Full,
    /// 16 bits.
    Half,
    /// The large matrices in 8 bits with a scale for each row, the rest in 32: a quarter of the size. Hugging Face's
    /// transformers refuses such a folder.
    Bytes,
}

/// A BERT encoder to begin with.
#[derive(Clone)]
pub struct Base {
    /// Its shape.
    pub shape: Shape,
    /// Its weights in the shape's order, f32; the heads are new where it has none for squall's labels.
    pub weights: Vec<Tensor>,
    /// Whether it has a head for entities that is not new. Without one none is written.
    pub knows_entities: bool,
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
        let mut shape: Shape = serde_json::from_value(Value::Object(config.clone()))
            .map_err(|e| unfit(e.to_string()))?;
        let heads = shape.num_attention_heads;
        if heads == 0 || shape.hidden_size == 0 || !shape.hidden_size.is_multiple_of(heads) {
            return Err(unfit(
                "hidden_size cannot be shared among num_attention_heads".into(),
            ));
        }
        let listed = config.get("squall").and_then(|squall| squall.get("layers"));
        let listed = listed.map(|layers| serde_json::from_value(layers.clone()));
        let listed = listed.transpose();
        let listed = listed.map_err(|e| unfit(format!("squall.layers: {e}")))?;
        shape.layers = layers(listed, shape.num_hidden_layers, shape.whole()).map_err(unfit)?;
        let has_labels = config.get("id2label") == Some(&labels());
        let (weights, knows_entities) = read_weights(folder, &shape, has_labels, seed, device)?;
        Ok(Self {
            shape,
            weights,
            knows_entities,
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

    /// The bytes of its `tokenizer.json`.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn tokenizer_json(&self) -> Result<Vec<u8>, TrainError> {
        std::fs::read(&self.tokenizer).map_err(TrainError::file(&self.tokenizer))
    }

    /// The same with other weights, of another shape.
    pub fn with(&self, shape: Shape, weights: Vec<Tensor>) -> Self {
        Self {
            shape,
            weights,
            ..self.clone()
        }
    }

    /// How its logits become probabilities, where that was fitted.
    pub fn calibration(&self) -> Calibration {
        let squall = self.config.get("squall").cloned().unwrap_or_default();
        serde_json::from_value(squall).unwrap_or_default()
    }

    /// Writes a folder with these weights, in the base's shape, that squall reads; Hugging Face's transformers does, too, if they are
    /// floats and all layers are whole.
    ///
    /// # Errors
    /// When a file cannot be written; what was there before is then still whole.
    pub fn write(
        &self,
        folder: &Path,
        weights: &[Tensor],
        calibration: &Calibration,
        storage: Storage,
    ) -> Result<(), TrainError> {
        let tokenizer = self.tokenizer_json()?;
        let path = folder.join("model.safetensors");
        let named = self.shape.weights().into_iter().map(|weight| weight.name);
        let named = named
            .zip(weights)
            .filter(|(name, _)| self.knows_entities || !name.starts_with("entity."));
        match storage {
            Storage::Full => write_weights(&path, named, DType::F32)?,
            Storage::Half => write_weights(&path, named, DType::F16)?,
            Storage::Bytes => write_bytes(&path, named)?,
        }
        replace(&folder.join("tokenizer.json"), &tokenizer)?;
        let config = Value::Object(self.written_config(calibration, storage));
        let config = serde_json::to_string_pretty(&config).unwrap_or_default() + "\n";
        replace(&folder.join("config.json"), config.as_bytes())
    }

    fn written_config(&self, calibration: &Calibration, storage: Storage) -> Map<String, Value> {
        let mut config = self.config.clone();
        let shape = &self.shape;
        let names: HashMap<&str, usize> =
            Label::ALL.map(Label::name).into_iter().zip(0..).collect();
        let mut squall = json!(calibration);
        if shape.layers.iter().any(|layer| *layer != shape.whole()) {
            squall["layers"] = json!(shape.layers);
        }
        for (key, value) in [
            ("architectures", json!(["BertForSequenceClassification"])),
            ("num_hidden_layers", json!(shape.layers.len())),
            ("id2label", labels()),
            ("label2id", json!(names)),
            ("squall", squall),
        ] {
            config.insert(key.into(), value);
        }
        config.remove("torch_dtype");
        config.remove("quantization_config");
        let dtype = match storage {
            Storage::Half => "float16",
            Storage::Full | Storage::Bytes => "float32",
        };
        config.insert("dtype".into(), json!(dtype));
        if storage == Storage::Bytes {
            // Whoever does not know the format is to say so, and not take the integers for weights.
            let format = json!({"quant_method": "squall", "bits": 8});
            config.insert("quantization_config".into(), format);
        }
        config
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
) -> Result<(Vec<Tensor>, bool), TrainError> {
    let path = folder.join("model.safetensors");
    let unfit = |problem: String| TrainError::Unfit(format!("{}: {problem}", path.display()));
    let bytes = std::fs::read(&path).map_err(TrainError::file(&path))?;
    let kept = Weights::read(&bytes).map_err(unfit)?;
    let mut weights = Vec::new();
    for (number, weight) in shape.weights().into_iter().enumerate() {
        let name = &*weight.name;
        let is_class = !name.starts_with("bert.");
        // The encoder alone, as sentence-transformers writes it, has no prefix.
        let bare = name.strip_prefix("bert.").unwrap_or(name);
        let found = [name, bare].into_iter().find(|name| kept.has(name));
        let tensor = match found {
            Some(found) if !is_class || has_labels => {
                let numbers = kept.take(found, &weight.shape).map_err(unfit)?;
                Tensor::from_vec(numbers, &weight.shape[..], device)?
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
    Ok((weights, has_labels && kept.has("entity.dense.weight")))
}

/// Writes weights by name, so that the file is the old or the new one.
///
/// # Errors
/// When it cannot be written.
pub(super) fn write_weights<'t>(
    path: &Path,
    weights: impl Iterator<Item = (String, &'t Tensor)>,
    dtype: DType,
) -> Result<(), TrainError> {
    let mut named = HashMap::new();
    for (name, tensor) in weights {
        let tensor = tensor.to_device(&Device::Cpu)?.to_dtype(dtype)?;
        named.insert(name, tensor);
    }
    write_tensors(path, &named)
}

/// The same with the large matrices in eight bits.
fn write_bytes<'t>(
    path: &Path,
    weights: impl Iterator<Item = (String, &'t Tensor)>,
) -> Result<(), TrainError> {
    let mut stored = Vec::new();
    for (name, tensor) in weights {
        if is_large(&name, tensor) {
            let [integers, scales] = Stored::bytes(tensor)?;
            stored.push((weights::scale_of(&name), scales));
            stored.push((name, integers));
        } else {
            stored.push((name, Stored::floats(tensor)?));
        }
    }
    let file = weights::serialise(&stored).map_err(TrainError::Unfit)?;
    replace(path, &file)
}

/// Whether a weight is written in eight bits: the words, and the matrices of the layers and of the heads' first step.
fn is_large(name: &str, weight: &Tensor) -> bool {
    let layers = ["bert.encoder.", "bert.pooler.", "entity.dense."];
    weight.rank() == 2
        && (name.contains("word_embeddings") || layers.iter().any(|part| name.starts_with(part)))
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
