//! When the next post of a replay is due.

use crate::domain::Timestamp;
use std::time::Duration;

/// A longer step between posts, forward or backward, is not waited for: it is a wrong date, or a gap.
const LONGEST_STEP: Duration = Duration::from_secs(3600);

/// Says when each post of a replay is due, counted from its start. What is overdue is sent at once, so that delays
/// in sending do not add up.
#[derive(Debug, Clone)]
pub struct Pace {
    rhythm: Rhythm,
    due: Duration,
}

#[derive(Debug, Clone)]
enum Rhythm {
    /// Equal intervals.
    Even(Duration),
    /// The posts' own times, so many times as fast.
    Own(StreamTime, f64),
}

/// Where a stream is by the times of its posts.
#[derive(Debug, Clone, Default)]
struct StreamTime {
    /// The latest time, wrong ones aside.
    at: Option<Timestamp>,
    /// A time far from it: the stream has moved there, if the next post is near it too.
    elsewhere: Option<Timestamp>,
}

impl Pace {
    /// `per_second` posts a second.
    ///
    /// # Errors
    /// When that is no positive number.
    pub fn rate(per_second: f64) -> Result<Self, String> {
        let interval = divide(Duration::from_secs(1), positive(per_second)?);
        Ok(Self {
            rhythm: Rhythm::Even(interval),
            due: Duration::ZERO,
        })
    }

    /// In the rhythm of the posts' times of publication, `factor` times as fast.
    ///
    /// A post without a time, or earlier than one before it, is due at once. So is one more than an hour away from
    /// the others; if the next one is near it, the stream goes on from there.
    ///
    /// # Errors
    /// When that is no positive number.
    pub fn speed(factor: f64) -> Result<Self, String> {
        Ok(Self {
            rhythm: Rhythm::Own(StreamTime::default(), positive(factor)?),
            due: Duration::ZERO,
        })
    }

    /// How long to wait before sending the next post, published at `published_at`, when `elapsed` has passed since
    /// the start. To be called once for each post, in order.
    pub fn wait(&mut self, published_at: Option<Timestamp>, elapsed: Duration) -> Duration {
        let due = match &mut self.rhythm {
            Rhythm::Even(interval) => {
                let next = self.due.saturating_add(*interval);
                std::mem::replace(&mut self.due, next)
            }
            Rhythm::Own(time, factor) => {
                let step = published_at.map_or(Duration::ZERO, |to| time.advance(to));
                self.due = self.due.saturating_add(divide(step, *factor));
                self.due
            }
        };
        due.saturating_sub(elapsed)
    }
}

impl StreamTime {
    /// Moves on to a post's time; returns how far that is.
    fn advance(&mut self, to: Timestamp) -> Duration {
        let near = |one: Timestamp| to.since(one).max(one.since(to)) <= LONGEST_STEP;
        match self.at {
            Some(at) if near(at) => {
                self.at = Some(at.max(to));
                self.elsewhere = None;
                to.since(at)
            }
            Some(_) if !self.elsewhere.is_some_and(near) => {
                self.elsewhere = Some(to);
                Duration::ZERO
            }
            _ => {
                self.at = Some(to);
                self.elsewhere = None;
                Duration::ZERO
            }
        }
    }
}

fn positive(number: f64) -> Result<f64, String> {
    if number.is_finite() && number > 0.0 {
        Ok(number)
    } else {
        Err(format!("{number} is not a positive number"))
    }
}

/// The quotient, or the longest duration where it is longer.
fn divide(duration: Duration, divisor: f64) -> Duration {
    Duration::try_from_secs_f64(duration.as_secs_f64() / divisor).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const START: i64 = 1_763_888_040_000;

    /// When posts published so many seconds after [`START`] are due, in seconds.
    fn due(pace: &mut Pace, seconds: &[i64]) -> Vec<f64> {
        seconds
            .iter()
            .map(|second| {
                let published_at = Timestamp::from_millis(START + second * 1000);
                pace.wait(Some(published_at), Duration::ZERO).as_secs_f64()
            })
            .collect()
    }

    #[test]
    fn a_rate_is_even_whatever_the_times() {
        let mut pace = Pace::rate(4.0).unwrap();
        assert_eq!(due(&mut pace, &[0, 500, -7, 9]), [0.0, 0.25, 0.5, 0.75]);
        assert_eq!(pace.wait(None, Duration::ZERO), Duration::from_secs(1));
        assert_eq!(
            pace.wait(None, Duration::from_secs(1)),
            Duration::from_millis(250)
        );
        assert_eq!(pace.wait(None, Duration::from_secs(60)), Duration::ZERO);
    }

    #[test]
    fn a_speed_keeps_the_rhythm() {
        let mut pace = Pace::speed(10.0).unwrap();
        assert_eq!(due(&mut pace, &[0, 20, 20, 50]), [0.0, 2.0, 2.0, 5.0]);
        assert_eq!(
            pace.wait(None, Duration::from_secs(3)),
            Duration::from_secs(2)
        );
    }

    #[test]
    fn a_late_post_holds_nothing_up() {
        let mut pace = Pace::speed(1.0).unwrap();
        assert_eq!(
            due(&mut pace, &[0, 100, 40, 101]),
            [0.0, 100.0, 100.0, 101.0]
        );
    }

    #[test]
    fn one_wrong_date_changes_nothing() {
        let (past, future) = (-1_700_000_000, 2_300_000_000);
        for wrong in [past, future] {
            let mut pace = Pace::speed(1.0).unwrap();
            assert_eq!(
                due(&mut pace, &[0, 10, wrong, 30, 40]),
                [0.0, 10.0, 10.0, 30.0, 40.0]
            );
            let mut pace = Pace::speed(1.0).unwrap();
            assert_eq!(due(&mut pace, &[wrong, 0, 10, 25]), [0.0, 0.0, 0.0, 15.0]);
        }
    }

    #[test]
    fn a_gap_is_not_waited_for() {
        let night = 8 * 3600;
        let mut pace = Pace::speed(1.0).unwrap();
        assert_eq!(
            due(&mut pace, &[0, 10, night, night + 5, night + 20]),
            [0.0, 10.0, 10.0, 10.0, 25.0]
        );
    }

    #[test]
    fn refuses_what_is_no_pace() {
        for number in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(Pace::rate(number).is_err(), "{number}");
            assert!(Pace::speed(number).is_err(), "{number}");
        }
    }

    proptest! {
        #[test]
        fn posts_are_due_in_order_and_nothing_overflows(
            millis in proptest::collection::vec(proptest::option::of(any::<i64>()), 0..50),
            number in prop_oneof![Just(f64::MIN_POSITIVE), Just(f64::MAX), 0.001..1000.0f64],
        ) {
            for mut pace in [Pace::rate(number).unwrap(), Pace::speed(number).unwrap()] {
                let mut last = Duration::ZERO;
                for millis in &millis {
                    let due = pace.wait(millis.map(Timestamp::from_millis), Duration::ZERO);
                    prop_assert!(due >= last);
                    last = due;
                }
            }
        }
    }
}
