//! Where posts come from besides Kafka: files, sent at a rate or in the rhythm of their own times, and the
//! demo's stream.

pub mod demo;
mod file;
mod pace;

pub use file::{FileError, Line, Lines, MAX_LINE_BYTES};
pub use pace::Pace;
