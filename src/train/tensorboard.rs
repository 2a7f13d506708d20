//! Event files that TensorBoard reads: records framed as TFRecord, each one `Event` of TensorFlow's protocol buffers
//! (`tensorflow/core/util/event.proto`), of which scalars and histograms are written.

use super::error::TrainError;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Buckets of a histogram.
const BUCKETS: usize = 30;

/// An event file that grows.
pub struct EventFile {
    path: PathBuf,
    file: File,
}

impl EventFile {
    /// Begins a new file in a folder; a run that is resumed has several, which TensorBoard joins.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn create(folder: &Path) -> Result<Self, TrainError> {
        let now = seconds();
        let path = folder.join(format!(
            "events.out.tfevents.{now:.6}.squall.{}",
            std::process::id()
        ));
        let file = File::create(&path).map_err(TrainError::file(&path))?;
        let mut events = Self { path, file };
        events.write(&event(now, 0, |event| event.bytes(3, b"brain.Event:2")))?;
        Ok(events)
    }

    /// Writes numbers of a step.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn scalars(&mut self, step: usize, values: &[(&str, f64)]) -> Result<(), TrainError> {
        let mut summary = Message::default();
        for (tag, value) in values {
            summary.message(1, |entry| {
                entry.bytes(1, tag.as_bytes());
                entry.float(2, *value as f32);
            });
        }
        self.write(&event(seconds(), step, |event| event.bytes(5, &summary.0)))
    }

    /// Writes how values are spread, in buckets of equal width.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn histogram(&mut self, step: usize, tag: &str, values: &[f32]) -> Result<(), TrainError> {
        let finite = values
            .iter()
            .map(|value| f64::from(*value))
            .filter(|value| value.is_finite());
        let (mut low, mut high, mut count, mut sum, mut squares) =
            (f64::MAX, f64::MIN, 0.0, 0.0, 0.0);
        for value in finite.clone() {
            (low, high) = (low.min(value), high.max(value));
            (count, sum, squares) = (count + 1.0, sum + value, squares + value * value);
        }
        if count == 0.0 {
            return Ok(());
        }
        let width = ((high - low) / BUCKETS as f64).max(f64::MIN_POSITIVE);
        let mut buckets = [0f64; BUCKETS];
        for value in finite {
            buckets[(((value - low) / width) as usize).min(BUCKETS - 1)] += 1.0;
        }
        let limits: Vec<f64> = (1..=BUCKETS)
            .map(|bucket| low + width * bucket as f64)
            .collect();
        let mut summary = Message::default();
        summary.message(1, |entry| {
            entry.bytes(1, tag.as_bytes());
            entry.message(5, |histogram| {
                for (field, value) in [low, high, count, sum, squares].into_iter().enumerate() {
                    histogram.double(field as u32 + 1, value);
                }
                histogram.doubles(6, &limits);
                histogram.doubles(7, &buckets);
            });
        });
        self.write(&event(seconds(), step, |event| event.bytes(5, &summary.0)))
    }

    fn write(&mut self, event: &Message) -> Result<(), TrainError> {
        self.file
            .write_all(&record(&event.0))
            .map_err(TrainError::file(&self.path))
    }
}

fn seconds() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0.0, |now| now.as_secs_f64())
}

fn event(time: f64, step: usize, fill: impl FnOnce(&mut Message)) -> Message {
    let mut event = Message::default();
    event.double(1, time);
    event.number(2, step as u64);
    fill(&mut event);
    event
}

/// A protocol buffer as it is written.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn key(&mut self, field: u32, kind: u32) {
        self.varint(u64::from(field << 3 | kind));
    }

    fn number(&mut self, field: u32, value: u64) {
        self.key(field, 0);
        self.varint(value);
    }

    fn double(&mut self, field: u32, value: f64) {
        self.key(field, 1);
        self.0.extend(value.to_le_bytes());
    }

    fn float(&mut self, field: u32, value: f32) {
        self.key(field, 5);
        self.0.extend(value.to_le_bytes());
    }

    fn bytes(&mut self, field: u32, value: &[u8]) {
        self.key(field, 2);
        self.varint(value.len() as u64);
        self.0.extend(value);
    }

    fn doubles(&mut self, field: u32, values: &[f64]) {
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        self.bytes(field, &bytes);
    }

    fn message(&mut self, field: u32, fill: impl FnOnce(&mut Message)) {
        let mut inner = Message::default();
        fill(&mut inner);
        self.bytes(field, &inner.0);
    }
}

/// A TFRecord: length, its checksum, the data, its checksum.
fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut record = length.to_vec();
    record.extend(masked_checksum(&length).to_le_bytes());
    record.extend(data);
    record.extend(masked_checksum(data).to_le_bytes());
    record
}

/// CRC-32C, rotated and shifted as TFRecord wants it.
fn masked_checksum(data: &[u8]) -> u32 {
    checksum(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli), reflected, bit by bit: events are few and small.
fn checksum(data: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in data {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let carry = crc & 1;
            crc >>= 1;
            if carry == 1 {
                crc ^= 0x82f6_3b78;
            }
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_castagnolis() {
        // The check value of CRC-32C, and RFC 3720's of 32 zeros.
        assert_eq!(checksum(b"123456789"), 0xe306_9283);
        assert_eq!(checksum(&[0; 32]), 0x8a91_36aa);
    }

    #[test]
    fn records_are_framed_and_hold_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut events = EventFile::create(folder.path()).unwrap();
        events
            .scalars(300, &[("loss", 0.5), ("rate", 1e-5)])
            .unwrap();
        events
            .histogram(300, "weights", &[0.0, 1.0, 1.0, f32::NAN])
            .unwrap();
        events.histogram(300, "none", &[]).unwrap();
        let bytes = std::fs::read(&events.path).unwrap();
        let mut rest = &bytes[..];
        let mut records = Vec::new();
        while !rest.is_empty() {
            let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            let record = record(&rest[12..12 + length]);
            assert_eq!(&rest[..record.len()], record);
            records.push(rest[12..12 + length].to_vec());
            rest = &rest[record.len()..];
        }
        assert_eq!(records.len(), 3);
        let has = |record: &[u8], part: &[u8]| record.windows(part.len()).any(|at| at == part);
        assert!(has(&records[0], b"brain.Event:2"));
        // Step 300 is the varint ac 02; a scalar is its tag and a float.
        assert!(has(&records[1], &[0x10, 0xac, 0x02]));
        assert!(has(
            &records[1],
            &[b"\x0a\x04loss\x15", &0.5f32.to_le_bytes()[..]].concat()
        ));
        assert!(has(&records[2], &3f64.to_le_bytes()));
    }
}
