//! When a failed attempt is followed by the next.

use crate::config::NotifyConfig;
use crate::domain::Timestamp;
use std::time::Duration;

/// Factor between the bounds of one wait and the next.
const GROWTH: u32 = 4;

/// How long to wait after the `failed`-th failed attempt (from 1).
///
/// Exponential backoff with full jitter: uniform between 0 and the bound, so that receivers that failed together are
/// not asked again together (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015). `jitter`
/// is uniform in [0, 1). What the receiver asked for in `Retry-After` comes on top; the sum is at most
/// `retry_delay_max`.
pub fn wait(
    config: &NotifyConfig,
    failed: u32,
    retry_after: Option<Duration>,
    jitter: f64,
) -> Duration {
    let growth = GROWTH.saturating_pow(failed.saturating_sub(1));
    let bound = config
        .retry_delay
        .saturating_mul(growth)
        .min(config.retry_delay_max);
    retry_after
        .unwrap_or_default()
        .saturating_add(bound.mul_f64(jitter))
        .min(config.retry_delay_max)
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
    use proptest::prelude::*;

    fn config() -> NotifyConfig {
        NotifyConfig {
            timeout: Duration::from_secs(20),
            attempts: 8,
            retry_delay: Duration::from_secs(1),
            retry_delay_max: Duration::from_secs(600),
            in_flight: 1,
        }
    }

    #[test]
    fn the_bound_grows_fourfold_up_to_the_greatest() {
        let bounds: Vec<u64> = (1..=7)
            .map(|failed| wait(&config(), failed, None, 1.0).as_secs())
            .collect();
        assert_eq!(bounds, [1, 4, 16, 64, 256, 600, 600]);
        assert_eq!(wait(&config(), 3, None, 0.5), Duration::from_secs(8));
        assert_eq!(wait(&config(), 3, None, 0.0), Duration::ZERO);
    }

    #[test]
    fn waits_at_least_as_long_as_the_receiver_asks_but_not_for_ever() {
        let asked = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(wait(&config(), 1, asked(30), 0.0), Duration::from_secs(30));
        assert_eq!(
            wait(&config(), 1, asked(30), 0.5),
            Duration::from_millis(30_500)
        );
        assert_eq!(
            wait(&config(), 1, asked(u64::MAX), 0.5),
            Duration::from_secs(600)
        );
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
            prop_assert!(wait(&config(), failed, asked, jitter) <= config().retry_delay_max);
        }
    }
}
