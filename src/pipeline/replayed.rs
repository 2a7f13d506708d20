//! Records written again from the dead letters, and the headers that tell SCORE where they came from first.
//!
//! Whoever may write to a source topic may set these headers. They are believed as far as a replay could have said
//! them of this record, and no further: [`first`] tells the rule. What a forger gains is to have a post of the same
//! partition, which was rejected and is not yet replayed, taken for a repeat; nothing that is stored can be touched.

use super::dead_letter::is_whole;
use crate::broker::Outgoing;
use crate::domain::{DeadLetter, Origin, Timestamp};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// Header with the first origin of a replayed record, `epoch:topic:partition:offset`.
pub const ORIGIN: &str = "squall-origin";
/// Header with the timestamp of the first record, in milliseconds since the Unix epoch.
pub const TIMESTAMP: &str = "squall-timestamp";

/// Longest name of an epoch that is believed, in bytes.
const LONGEST_EPOCH: usize = 255;

/// What a replayed record was first.
#[derive(Debug, Clone, PartialEq)]
pub struct First {
    /// Where it came from.
    pub origin: Origin,
    /// Its timestamp then; none where the header is missing or no time.
    pub recorded_at: Option<Timestamp>,
}

/// What the headers of a record at `own` tell of its first life; none for a record that is no replay.
///
/// A first origin is believed when its topic and partition are those of the record, its epoch could be one (1 to
/// 255 bytes without control characters) and, where the epoch is the record's own, its offset is lower: a replay
/// always comes behind what it replays. What is malformed or not believed is left out of account.
pub fn first(own: &Origin, headers: &[(String, Vec<u8>)]) -> Option<First> {
    let text = |name: &str| {
        let (_, value) = headers.iter().find(|(key, _)| key == name)?;
        std::str::from_utf8(value).ok()
    };
    if !headers.iter().any(|(key, _)| key == ORIGIN) {
        return None;
    }
    let origin = text(ORIGIN).and_then(|text| text.parse().ok());
    let Some(origin) = origin.filter(|origin| is_believed(origin, own)) else {
        tracing::debug!(%own, "the header {ORIGIN} is not that of a replay of this record: left out of account");
        return None;
    };
    let millis = text(TIMESTAMP).and_then(|text| text.parse::<i64>().ok());
    let millis = millis.filter(|millis| *millis >= 0);
    if millis.is_none() {
        tracing::debug!(%own, "the header {TIMESTAMP} is missing or no time: the record's own counts");
    }
    Some(First {
        origin,
        recorded_at: millis.map(Timestamp::from_millis),
    })
}

fn is_believed(first: &Origin, own: &Origin) -> bool {
    let (was, is) = (&first.source, &own.source);
    was.topic == is.topic
        && was.partition == is.partition
        && is_plausible(&was.epoch)
        && (was.epoch != is.epoch || first.offset < own.offset)
}

fn is_plausible(epoch: &str) -> bool {
    (1..=LONGEST_EPOCH).contains(&epoch.len()) && !epoch.chars().any(char::is_control)
}

/// Why a dead letter's record cannot be written again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotReplayable {
    /// Only a beginning of it is there.
    #[error(
        "only its beginning was kept: send the post again from where it came from, and drop the letter"
    )]
    Cut,
    /// A record of squall's own.
    #[error(
        "it is a record of squall's own, and what exactly once rests on is the place where it stood: replay or send again the post it was made of, and drop the letter"
    )]
    Own,
    /// What is stored is not what was written.
    #[error(
        "the letter is damaged, it cannot be decoded: send the post again from where it came from"
    )]
    Damaged,
}

/// A dead letter's record as it is written again: its first bytes, key and headers, to its first topic and partition,
/// with the two headers in front. They tell the very first origin, also of a record that was itself a replay.
///
/// The record's own timestamp is the time of writing. The first one travels in the header, because Kafka removes
/// records by their timestamp, and may refuse old ones: a record with that of its first life could be gone before
/// SCORE reads it.
///
/// # Errors
/// [`NotReplayable`].
pub fn again(letter: &DeadLetter) -> Result<Outgoing, NotReplayable> {
    if is_own(letter) {
        return Err(NotReplayable::Own);
    }
    if !is_whole(letter) {
        return Err(NotReplayable::Cut);
    }
    let decode = |text: &String| BASE64.decode(text).map_err(|_| NotReplayable::Damaged);
    let headers = letter.headers.iter();
    let headers = headers
        .map(|(key, value)| Ok((key.clone(), decode(value)?)))
        .collect::<Result<Vec<_>, _>>()?;
    let (origin, recorded_at) = match first(&letter.origin, &headers) {
        Some(first) => (
            first.origin,
            first.recorded_at.unwrap_or(letter.recorded_at),
        ),
        None => (letter.origin.clone(), letter.recorded_at),
    };
    let millis = recorded_at.millis().max(0);
    let own = [
        (ORIGIN.to_owned(), origin.to_string().into_bytes()),
        (TIMESTAMP.to_owned(), millis.to_string().into_bytes()),
    ];
    let others = headers
        .into_iter()
        .filter(|(key, _)| key != ORIGIN && key != TIMESTAMP);
    Ok(Outgoing {
        topic: letter.origin.source.topic.clone(),
        partition: Some(letter.origin.source.partition),
        key: letter
            .key
            .as_ref()
            .map(decode)
            .transpose()?
            .unwrap_or_default(),
        payload: decode(&letter.payload)?,
        headers: own.into_iter().chain(others).collect(),
        timestamp: None,
    })
}

/// Whether a letter's record is one of squall's own topics.
pub fn is_own(letter: &DeadLetter) -> bool {
    letter.origin.source.topic.starts_with("squall.")
}

#[cfg(test)]
mod tests {
    use super::super::dead_letter::dead_letter;
    use super::super::dead_letter::tests::record;
    use super::*;
    use crate::broker::Record;
    use proptest::prelude::*;

    fn own() -> Origin {
        "e:social:0:7".parse().unwrap()
    }

    fn headers(origin: &str, timestamp: &str) -> Vec<(String, Vec<u8>)> {
        vec![
            ("trace".into(), b"1".to_vec()),
            (ORIGIN.into(), origin.into()),
            (TIMESTAMP.into(), timestamp.into()),
        ]
    }

    /// The record that a replay becomes when it is read at an offset.
    fn read(outgoing: Outgoing, offset: i64) -> Record {
        Record {
            topic: outgoing.topic,
            partition: outgoing.partition.unwrap(),
            offset,
            timestamp: Some(Timestamp::from_millis(99_000)),
            key: Some(outgoing.key),
            payload: outgoing.payload,
            headers: outgoing.headers,
            assignment: 0,
        }
    }

    #[test]
    fn a_replay_is_known_and_other_claims_are_not_believed() {
        let told = first(&own(), &headers("e:social:0:3", "1700000000000")).unwrap();
        assert_eq!(told.origin, "e:social:0:3".parse().unwrap());
        assert_eq!(
            told.recorded_at,
            Some(Timestamp::from_millis(1_700_000_000_000))
        );
        // A former life of the cluster, whose offsets have nothing to do with these.
        assert!(first(&own(), &headers("former:social:0:900", "1")).is_some());
        for forged in [
            "e:social:0:7",
            "e:social:0:8",
            "e:social:1:3",
            "e:news:0:3",
            "e\u{1}:social:0:3",
            ":social:0:3",
            "e:social:0:-3",
            "",
            "nonsense",
        ] {
            assert_eq!(first(&own(), &headers(forged, "1")), None, "{forged:?}");
        }
        assert_eq!(
            first(
                &own(),
                &headers(&format!("{}:social:0:3", "e".repeat(256)), "1")
            ),
            None
        );
        assert_eq!(first(&own(), &[(TIMESTAMP.into(), b"1".to_vec())]), None);
    }

    #[test]
    fn a_timestamp_that_is_none_leaves_the_records_own() {
        for wrong in ["", "-1", "1.5", "soon", "99999999999999999999"] {
            let told = first(&own(), &headers("e:social:0:3", wrong)).unwrap();
            assert_eq!(told.recorded_at, None, "{wrong:?}");
        }
        let far = first(&own(), &headers("e:social:0:3", &i64::MAX.to_string()));
        assert!(far.unwrap().recorded_at.is_some());
    }

    #[test]
    fn a_replay_that_is_rejected_again_keeps_its_first_origin() {
        let mut came = record(b"\xff not a post".to_vec());
        came.timestamp = Some(Timestamp::from_millis(5_000));
        came.key = Some(b"\xfekey".to_vec());
        came.headers = vec![
            ("trace".into(), vec![0xff]),
            (ORIGIN.into(), b"forged".to_vec()),
        ];
        let letter = dead_letter(&"e".into(), &came, "not_utf8", "at byte 0");
        let outgoing = again(&letter).unwrap();
        assert_eq!(outgoing.payload, came.payload);
        assert_eq!(Some(&outgoing.key), came.key.as_ref());
        assert_eq!((&*outgoing.topic, outgoing.partition), ("social", Some(0)));
        let expected = [
            (ORIGIN.to_owned(), b"e:social:0:1".to_vec()),
            (TIMESTAMP.to_owned(), b"5000".to_vec()),
            ("trace".to_owned(), vec![0xff]),
        ];
        assert_eq!(outgoing.headers, expected);

        let second = dead_letter(&"e".into(), &read(outgoing, 40), "not_utf8", "at byte 0");
        assert_eq!(second.origin.offset, 40);
        let third = again(&second).unwrap();
        assert_eq!(third.headers, expected);
        // And in a later life of the cluster, where offsets begin again.
        let later = dead_letter(&"later".into(), &read(third, 0), "not_utf8", "at byte 0");
        assert_eq!(again(&later).unwrap().headers, expected);
    }

    #[test]
    fn what_is_cut_or_squalls_own_is_refused() {
        let cut = record(vec![b'x'; 300_000]);
        let cut = dead_letter(&"e".into(), &cut, "not_json", "expected value");
        assert_eq!(again(&cut), Err(NotReplayable::Cut));
        let mut own = record(b"{}".to_vec());
        own.topic = "squall.scored".into();
        let own = dead_letter(&"e".into(), &own, "unreadable", "missing field");
        assert_eq!(again(&own), Err(NotReplayable::Own));
        let whole = record(b"{}".to_vec());
        let mut damaged = dead_letter(&"e".into(), &whole, "no_text", "no text");
        damaged.payload = "not base64!".into();
        assert_eq!(again(&damaged), Err(NotReplayable::Damaged));
    }

    proptest! {
        #[test]
        fn no_header_makes_squall_panic(
            values in prop::collection::vec(
                (prop_oneof![Just(ORIGIN.to_owned()), Just(TIMESTAMP.to_owned()), ".*"],
                 prop_oneof![prop::collection::vec(any::<u8>(), 0..40),
                             "[a-z:0-9-]{0,30}".prop_map(String::into_bytes)]), 0..5)
        ) {
            if let Some(told) = first(&own(), &values) {
                prop_assert_eq!(told.origin.source.topic, own().source.topic);
            }
        }
    }
}
