//! Dead letters: a record as it came, and why it goes no further.

use crate::broker::Record;
use crate::domain::{DeadLetter, Origin, SourcePartition, Timestamp};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::sync::Arc;

/// Bytes of a record that squall writes. Kafka's limit, and that of its client, is 1,000,000 unless someone
/// raised it, with key and framing: one record over it and the role could never go on.
pub(super) const MAX_RECORD: usize = 950_000;

/// Identity of a record.
pub(super) fn origin(epoch: &Arc<str>, record: &Record) -> Origin {
    let source = SourcePartition {
        epoch: epoch.clone(),
        topic: record.topic.clone(),
        partition: record.partition,
    };
    Origin {
        source,
        offset: record.offset,
    }
}

/// Bytes of a rejected record that are kept: all of almost any record, and never more than can be written. Base64
/// makes four bytes of three; a control character in a header's name or in the detail becomes six bytes of JSON.
const KEPT_PAYLOAD: usize = 256 << 10;
const KEPT_KEY: usize = 16 << 10;
const KEPT_HEADERS: usize = 64 << 10;
const KEPT_DETAIL: usize = 4 << 10;
/// What a header counts besides its bytes.
const HEADER: usize = 16;

/// A record as it came, and why it goes no further. Of a large one only the beginning is kept; `detail` then
/// says so.
pub(super) fn dead_letter(
    epoch: &Arc<str>,
    record: &Record,
    reason: &str,
    detail: &str,
) -> DeadLetter {
    let now = Timestamp::now();
    let mut end = detail.len().min(KEPT_DETAIL);
    while !detail.is_char_boundary(end) {
        end -= 1;
    }
    let mut detail = detail[..end].to_owned();
    let mut beginning = |what: &str, bytes: &[u8], kept: usize| {
        if bytes.len() > kept {
            let all = bytes.len();
            detail.push_str(&format!(
                "; of the {what} only {kept} of {all} bytes are kept"
            ));
        }
        BASE64.encode(&bytes[..bytes.len().min(kept)])
    };
    let payload = beginning("payload", &record.payload, KEPT_PAYLOAD);
    let key = record
        .key
        .as_ref()
        .map(|key| beginning("key", key, KEPT_KEY));
    let mut bytes = 0;
    let headers: Vec<_> = record
        .headers
        .iter()
        .take_while(|(key, value)| {
            bytes += key.len() + value.len() + HEADER;
            bytes <= KEPT_HEADERS
        })
        .map(|(key, value)| (key.clone(), BASE64.encode(value)))
        .collect();
    if headers.len() < record.headers.len() {
        let (kept, all) = (headers.len(), record.headers.len());
        detail.push_str(&format!("; only {kept} of {all} headers are kept"));
    }
    DeadLetter {
        origin: origin(epoch, record),
        recorded_at: record.timestamp.unwrap_or(now),
        rejected_at: now,
        reason: reason.to_owned(),
        detail,
        key,
        payload,
        headers,
    }
}

/// Whether all of the record is in its letter. `detail` says where it is not, behind everything else.
pub(super) fn is_whole(letter: &DeadLetter) -> bool {
    let last = letter.detail.rsplit("; ").next().unwrap_or_default();
    !((last.starts_with("of the ") || last.starts_with("only ")) && last.ends_with(" are kept"))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::domain::Post;

    /// A record as the consumer gives it.
    pub fn record(payload: Vec<u8>) -> Record {
        Record {
            topic: "social".into(),
            partition: 0,
            offset: 1,
            timestamp: None,
            key: None,
            payload,
            headers: Vec::new(),
            assignment: 0,
        }
    }

    fn letter(record: &Record) -> DeadLetter {
        let error = Post::decode(&record.payload, 64 << 10).unwrap_err();
        dead_letter(&"e".into(), record, error.reason(), &error.to_string())
    }

    fn size(letter: &DeadLetter) -> usize {
        serde_json::to_vec(letter).unwrap().len()
    }

    #[test]
    fn the_dead_letter_of_a_large_record_can_be_written() {
        let long = format!(r#"{{"text": "{}"}}"#, "x".repeat(900_000));
        let letter_of_long = letter(&record(long.clone().into()));
        assert_eq!(letter_of_long.reason, "too_long");
        assert!(size(&letter_of_long) < MAX_RECORD);
        assert!(
            letter_of_long.detail.contains("262144 of 900012 bytes"),
            "{}",
            letter_of_long.detail
        );
        let kept = BASE64.decode(&letter_of_long.payload).unwrap();
        assert_eq!(kept, long.as_bytes()[..KEPT_PAYLOAD]);

        // The reader's message quotes what it has read.
        let status = format!(
            r#"{{"text": "a", "status": "{}"}}"#,
            "\\u0001".repeat(150_000)
        );
        let mut worst = record(status.into());
        worst.key = Some(vec![0; 500_000]);
        worst.headers = vec![("\u{1}".repeat(40), Vec::new()); 100_000];
        let letter_of_worst = letter(&worst);
        assert_eq!(letter_of_worst.reason, "wrong_type");
        let bytes = size(&letter_of_worst);
        assert!(bytes < MAX_RECORD, "{bytes} bytes");
        worst.headers = vec![(String::new(), Vec::new()); 100_000];
        assert!(size(&letter(&worst)) < MAX_RECORD);
        assert!(
            !is_whole(&letter(&worst)) && !is_whole(&letter_of_worst) && !is_whole(&letter_of_long)
        );
        worst.headers.clear();
        assert!(!is_whole(&letter(&worst)));
    }

    #[test]
    fn the_dead_letter_of_a_small_record_is_whole() {
        let mut small = record(b"not json".to_vec());
        small.key = Some(b"key".to_vec());
        small.headers = vec![("trace".into(), b"1".to_vec())];
        let letter = letter(&small);
        assert_eq!(letter.payload, BASE64.encode("not json"));
        assert_eq!(letter.key, Some(BASE64.encode("key")));
        assert_eq!(letter.headers, [("trace".to_owned(), BASE64.encode("1"))]);
        assert!(is_whole(&letter), "{}", letter.detail);
    }
}
