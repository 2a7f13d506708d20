//! When a failed attempt is followed by the next.

use crate::config::NotifyConfig;
use crate::domain::Timestamp;
use std::time::Duration;

/// Each wait is up to this part of it longer or shorter.
const JITTER: f64 = 0.1;

/// How long to wait after the `failed`-th failed attempt (from 1): as configured, by default the schedule of Standard
/// Webhooks 1.0.0. `jitter`, uniform in [0, 1), spreads receivers that failed together. A receiver that asks for
/// longer in `Retry-After` gets it, up to the [`longest`] wait.
pub fn wait(
    config: &NotifyConfig,
    failed: u32,
    retry_after: Option<Duration>,
    jitter: f64,
) -> Duration {
    let waits = &config.retry_waits;
    let at = (failed.saturating_sub(1) as usize).min(waits.len().saturating_sub(1));
    let wait = waits.get(at).copied().unwrap_or_default();
    wait.mul_f64(1.0 + JITTER * (2.0 * jitter - 1.0))
        .max(retry_after.unwrap_or_default())
        .min(longest(config))
}

/// No wait is longer than this.
pub fn longest(config: &NotifyConfig) -> Duration {
    let longest = config.retry_waits.iter().max().copied();
    longest.unwrap_or_default().mul_f64(1.0 + JITTER)
}

/// Reads `Retry-After` (RFC 9110, 10.2.3): seconds, or a date in the preferred form
/// (`Sun, 06 Nov 1994 08:49:37 GMT`). None for anything else, the obsolete forms of a date among it.
pub fn retry_after(header: &str, now: Timestamp) -> Option<Duration> {
    let header = header.trim();
    if let Ok(seconds) = header.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(header).ok()?;
    Some(Timestamp::from_millis(date.timestamp().as_millisecond()).since(now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;
    use proptest::prelude::*;

    fn config() -> NotifyConfig {
        load(None, std::iter::empty()).unwrap().notify
    }

    #[test]
    fn by_default_ten_attempts_take_75_hours() {
        let config = config();
        let waits: Vec<Duration> = (1..config.attempts)
            .map(|failed| wait(&config, failed, None, 0.5))
            .collect();
        assert_eq!(waits.len(), 9);
        let total: Duration = waits.iter().sum();
        assert_eq!(total, Duration::from_secs(75 * 3600 + 35 * 60 + 5));
        let spread = |jitter| wait(&config, 2, None, jitter).as_secs();
        assert_eq!((spread(0.0), spread(1.0)), (270, 330));
        assert_eq!(wait(&config, 500, None, 0.5), Duration::from_secs(86_400));
    }

    #[test]
    fn waits_at_least_as_long_as_the_receiver_asks_but_not_for_ever() {
        let asked = |seconds| Some(Duration::from_secs(seconds));
        let after = |failed, seconds| wait(&config(), failed, asked(seconds), 0.5).as_secs();
        assert_eq!(after(1, 30), 30);
        assert_eq!(after(2, 30), 300, "it waits longer anyway");
        assert_eq!(after(1, u64::MAX), longest(&config()).as_secs());
    }

    #[test]
    fn reads_seconds_and_dates() {
        let now: Timestamp = "1994-11-06T08:49:07Z".parse().unwrap();
        for (header, seconds) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(30)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("-5", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(
                retry_after(header, now),
                seconds.map(Duration::from_secs),
                "{header}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_header_and_any_count_give_a_bounded_wait(
            header in "\\PC{0,40}",
            failed in any::<u32>(),
            jitter in 0.0..1.0f64,
        ) {
            let asked = retry_after(&header, Timestamp::EPOCH);
            prop_assert!(wait(&config(), failed, asked, jitter) <= longest(&config()));
        }
    }
}
