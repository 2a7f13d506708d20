//! What can go wrong with a model.

use std::path::PathBuf;

/// Why a model cannot be opened, or a text not be scored.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The folder, or a file in it, cannot be read.
    #[error(
        "{}: {problem}: model.source must be a folder with config.json, tokenizer.json and model.safetensors, or hub:owner/name",
        path.display()
    )]
    Unreadable {
        /// Folder or file.
        path: PathBuf,
        /// What the system said.
        problem: std::io::Error,
    },
    /// A file is there, but squall cannot use it.
    #[error("{}: {problem}", path.display())]
    Unfit {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the remedy.
        problem: String,
    },
    /// The hub did not give the model.
    #[error("hub:{repository}: {problem}")]
    Hub {
        /// `owner/name`.
        repository: String,
        /// What is wrong, with the remedy.
        problem: String,
        /// Whether the same call may succeed later.
        retryable: bool,
    },
    /// The model gave a number that is none.
    #[error(
        "model {model}: text {text} of the batch has logits {logits:?}: the weights are damaged: fetch the model again; or, in f16, too large: set model.precision = \"bf16\""
    )]
    NotFinite {
        /// Name of the model.
        model: String,
        /// Index of the text in the batch.
        text: usize,
        /// The logits: negative, neutral, positive.
        logits: [f32; 3],
    },
    /// `model.devices` names what is not there or does not fit.
    #[error("{0}")]
    Devices(String),
    /// A GPU did not do what it was asked for.
    #[error(
        "model {model}: a GPU failed: {problem}: see `nvidia-smi`; model.devices names the GPUs"
    )]
    Device {
        /// Name of the model.
        model: String,
        /// What it said.
        problem: String,
    },
    /// Tokens that are not of this model's tokenizer: none at all, too many, or ids it does not know.
    #[error(
        "model {model}: text {text} of the batch is not of this model's tokenizer: encode it with Model::tokenizer"
    )]
    ForeignTokens {
        /// Name of the model.
        model: String,
        /// Index of the text in the batch.
        text: usize,
    },
}

impl ModelError {
    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Hub {
                retryable: true,
                ..
            }
        )
    }
}
