//! Where posts come from besides Kafka: files, sent at a rate or in the rhythm of their own times.

mod file;
mod pace;

pub use file::{FileError, Line, Lines, MAX_LINE_BYTES};
pub use pace::Pace;
