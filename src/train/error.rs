//! What can go wrong with training.

use super::examples::ExampleError;
use crate::model::ModelError;
use std::path::PathBuf;

/// Why a model was not trained.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A file of examples is bad.
    #[error(transparent)]
    Examples(#[from] ExampleError),
    /// The base model, or the one made, is bad.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A file cannot be read or written.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        problem: std::io::Error,
    },
    /// What was given does not fit together, with the remedy.
    #[error("{0}")]
    Unfit(String),
    /// The loss is not a number.
    #[error(
        "step {step}: the loss is {loss}: lower --learning-rate; the best checkpoint so far is kept, and nothing was written over it"
    )]
    NotFinite {
        /// The step, from 1.
        step: usize,
        /// The loss, or the norm of the gradient.
        loss: f32,
    },
    /// The computation failed.
    #[error("training: {0}")]
    Compute(#[from] candle_core::Error),
}

impl TrainError {
    /// About a file.
    pub(super) fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |problem| Self::File { path, problem }
    }
}
