//! Models: how good they are, and how they are made.

mod average;
mod base;
mod checkpoint;
pub mod data;
mod error;
pub mod evaluation;
pub mod examples;
pub mod judge;
mod kernels;
mod learner;
pub mod network;
mod optimize;
pub mod predict;
pub mod resampling;
pub mod suite;
mod tensorboard;
mod trainer;

pub use average::Average;
pub use base::Storage;
pub use error::TrainError;
pub use learner::{Method, Rates};
pub use optimize::{Optimisation, Recovery, Step};
pub use trainer::{Event, Outcome, Run, is_unfinished};
