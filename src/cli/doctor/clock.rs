//! Clocks: event time, retention and the age of alerts go by them.

use super::finding::Finding;

const SUBJECT: &str = "clock";
/// A post may claim to be so far ahead of its record, in milliseconds: clocks further apart show in event times.
const APART: u64 = 5_000;
const FAR_APART: u64 = 60_000;

/// `ahead`: milliseconds that the clock of `whose` is ahead of this machine's.
pub(super) fn judge(whose: &str, ahead: i64) -> Finding {
    let apart = ahead.unsigned_abs();
    let seconds = apart as f64 / 1000.0;
    let message = match ahead {
        0.. => format!("that of {whose} is {seconds:.1} s ahead of this machine's"),
        _ => format!("that of {whose} is {seconds:.1} s behind this machine's"),
    };
    let remedy = "run a time service (NTP) on both";
    match apart {
        FAR_APART.. => Finding::error(SUBJECT, message, remedy),
        APART.. => Finding::warning(SUBJECT, message, remedy),
        _ => Finding::ok(SUBJECT, message),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    #[test]
    fn clocks_that_are_apart_are_named_with_their_direction() {
        assert_eq!(judge("x", 4_999).level, Level::Ok);
        assert_eq!(judge("x", -5_000).level, Level::Warning);
        assert_eq!(judge("x", i64::MIN).level, Level::Error);
        assert!(judge("x", -90_000).message.contains("90.0 s behind"));
        assert!(judge("x", 90_000).message.contains("90.0 s ahead"));
    }
}
