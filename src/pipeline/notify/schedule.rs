//! Which delivery is attempted next.
//!
//! The messages of one alert wait for one another at each endpoint, in a lane; only the first of a lane can be
//! attempted. Nothing else waits for anything, except for a place: there are so many in all, and each endpoint gets
//! an equal share, so that one that answers slowly, or never, leaves the others theirs. An endpoint may have limits of
//! its own below that: so many attempts at once, so many begun a second.

use super::outbox::Known;
use crate::domain::Timestamp;
use crate::notify::Limit;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// One message of one alert on its way to one endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub endpoint: Arc<str>,
    pub alert: Arc<str>,
    /// Number of the message.
    pub number: u64,
}

/// Deliveries that may be attempted, by endpoint.
#[derive(Debug)]
pub(super) struct Schedule {
    places: usize,
    share: usize,
    in_flight: usize,
    limits: HashMap<Arc<str>, Limit>,
    endpoints: BTreeMap<Arc<str>, Endpoint>,
}

#[derive(Debug, Default)]
struct Endpoint {
    in_flight: usize,
    /// Most attempts at once; 0 before the first delivery.
    most: usize,
    rate: Option<Rate>,
    /// By alert: the numbers that wait, and since when each is due.
    lanes: HashMap<Arc<str>, BTreeMap<u64, Timestamp>>,
    /// The first of each lane that is not in flight.
    due: BTreeMap<(Timestamp, u64), Arc<str>>,
}

/// A bucket of tokens, one an attempt: a second's worth may be begun at once.
#[derive(Debug, Clone, Copy)]
struct Rate {
    per_second: f64,
    tokens: f64,
    at: Timestamp,
}

impl Rate {
    /// Tokens at an instant; a clock that goes back adds none.
    fn fill(&mut self, now: Timestamp) {
        let added = now.since(self.at).as_secs_f64() * self.per_second;
        self.tokens = (self.tokens + added).min(self.per_second.max(1.0));
        self.at = now;
    }

    /// When there is a whole token.
    fn next(&self) -> Timestamp {
        let missing = (1.0 - self.tokens).max(0.0) / self.per_second;
        // A millisecond more: instants are cut to milliseconds.
        match missing > 0.0 {
            true => self.at + Duration::from_secs_f64(missing) + Duration::from_millis(1),
            false => self.at,
        }
    }
}

impl Endpoint {
    fn new(limit: Limit, share: usize) -> Self {
        Self {
            most: limit.in_flight.unwrap_or(share).min(share),
            rate: limit.per_second.map(|per_second| Rate {
                per_second,
                tokens: per_second.max(1.0),
                at: Timestamp::EPOCH,
            }),
            ..Self::default()
        }
    }

    /// When its first delivery may be attempted.
    fn next_due(&self) -> Option<Timestamp> {
        let due = self.due.first_key_value()?.0.0;
        Some(self.rate.map_or(due, |rate| due.max(rate.next())))
    }

    fn offer_first(&mut self, alert: &Arc<str>) {
        if let Some((number, due)) = self
            .lanes
            .get(alert)
            .and_then(|lane| lane.first_key_value())
        {
            self.due.insert((*due, *number), alert.clone());
        }
    }
}

impl Schedule {
    /// `places` attempts at once, shared by these endpoints.
    pub fn new(places: usize, endpoints: &[Known]) -> Self {
        let limits = endpoints.iter();
        Self {
            places,
            share: (places / endpoints.len().max(1)).max(1),
            in_flight: 0,
            limits: limits
                .map(|known| (known.name.clone(), known.limit))
                .collect(),
            endpoints: BTreeMap::new(),
        }
    }

    /// A further delivery, behind those of its alert.
    pub fn add(&mut self, key: &Key, due: Timestamp) {
        let (limits, share) = (&self.limits, self.share);
        let endpoint = self.endpoints.entry(key.endpoint.clone());
        let endpoint = endpoint.or_insert_with_key(|name| {
            Endpoint::new(limits.get(name).copied().unwrap_or_default(), share)
        });
        let lane = endpoint.lanes.entry(key.alert.clone()).or_default();
        lane.insert(key.number, due);
        if lane.len() == 1 {
            endpoint.offer_first(&key.alert);
        }
    }

    /// A delivery to be attempted now, if one is due and there is a place for it; it takes the place. Of several
    /// endpoints the one with the fewest attempts in flight comes first.
    pub fn next(&mut self, now: Timestamp) -> Option<Key> {
        if self.in_flight >= self.places {
            return None;
        }
        let ready = self.endpoints.iter_mut().filter_map(|(name, endpoint)| {
            if let Some(rate) = &mut endpoint.rate {
                rate.fill(now);
            }
            let (first, _) = endpoint.due.first_key_value()?;
            let ready = endpoint.in_flight < endpoint.most && endpoint.next_due()? <= now;
            ready.then_some(((endpoint.in_flight, *first), name, endpoint))
        });
        let (_, name, endpoint) = ready.min_by_key(|(rank, ..)| *rank)?;
        let ((_, number), alert) = endpoint.due.pop_first()?;
        if let Some(rate) = &mut endpoint.rate {
            rate.tokens -= 1.0;
        }
        endpoint.in_flight += 1;
        self.in_flight += 1;
        Some(Key {
            endpoint: name.clone(),
            alert,
            number,
        })
    }

    /// When the next delivery is due for which there is a place.
    pub fn next_due(&self) -> Option<Timestamp> {
        if self.in_flight >= self.places {
            return None;
        }
        let open = self.endpoints.values();
        let open = open.filter(|endpoint| endpoint.in_flight < endpoint.most);
        open.filter_map(Endpoint::next_due).min()
    }

    /// An attempt has failed: the delivery gives its place back, and is due again later.
    pub fn again(&mut self, key: &Key, due: Timestamp) {
        if let Some(endpoint) = self.endpoints.get_mut(&key.endpoint) {
            self.in_flight -= 1;
            endpoint.in_flight -= 1;
            if let Some(lane) = endpoint.lanes.get_mut(&key.alert) {
                lane.insert(key.number, due);
            }
            endpoint.offer_first(&key.alert);
        }
    }

    /// A delivery has ended: it gives its place back, and the next message of its alert comes first.
    pub fn end(&mut self, key: &Key) {
        if let Some(endpoint) = self.endpoints.get_mut(&key.endpoint) {
            self.in_flight -= 1;
            endpoint.in_flight -= 1;
            if let Some(lane) = endpoint.lanes.get_mut(&key.alert) {
                lane.remove(&key.number);
                if lane.is_empty() {
                    endpoint.lanes.remove(&key.alert);
                }
            }
            endpoint.offer_first(&key.alert);
        }
    }

    /// For each endpoint that ever had a delivery: how many wait or are in flight, and since when the one that waits
    /// longest for an attempt is due.
    pub fn waiting(&self) -> impl Iterator<Item = (&str, usize, Option<Timestamp>)> {
        self.endpoints.iter().map(|(name, endpoint)| {
            let waiting = endpoint.lanes.values().map(BTreeMap::len).sum();
            let oldest = endpoint.due.first_key_value().map(|((due, _), _)| *due);
            (&**name, waiting, oldest)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::EPOCH + Duration::from_secs(seconds)
    }

    fn key(endpoint: &str, alert: &str, number: u64) -> Key {
        Key {
            endpoint: endpoint.into(),
            alert: alert.into(),
            number,
        }
    }

    fn all(schedule: &mut Schedule, now: Timestamp) -> Vec<Key> {
        std::iter::from_fn(|| schedule.next(now)).collect()
    }

    fn known(names: &[&str], limit: Limit) -> Vec<Known> {
        let known = names.iter().map(|name| Known {
            name: (*name).into(),
            address: String::new(),
            limit,
        });
        known.collect()
    }

    fn places(places: usize, names: &[&str]) -> Schedule {
        Schedule::new(places, &known(names, Limit::default()))
    }

    #[test]
    fn an_endpoint_gets_no_more_at_once_nor_a_second_than_it_is_meant_to() {
        let limit = Limit {
            in_flight: Some(3),
            per_second: Some(2.0),
        };
        let mut schedule = Schedule::new(100, &known(&["slack"], limit));
        for number in 0..10 {
            schedule.add(&key("slack", &number.to_string(), number), at(100));
        }
        let begun = all(&mut schedule, at(100));
        assert_eq!(begun.len(), 2, "a second's worth");
        assert!(
            schedule.next_due().unwrap() > at(100),
            "it waits for a token"
        );
        let more = all(&mut schedule, at(102));
        assert_eq!(more.len(), 1, "three are in flight");
        assert_eq!(schedule.next_due(), None);
        begun.iter().chain(&more).for_each(|one| schedule.end(one));
        assert_eq!(all(&mut schedule, at(102)).len(), 1);
        let next = schedule.next_due().unwrap();
        assert_eq!(all(&mut schedule, next).len(), 1);
    }

    #[test]
    fn messages_of_one_alert_wait_for_one_another_and_others_do_not() {
        let mut schedule = places(10, &["desk"]);
        for (alert, number) in [("a", 0), ("a", 1), ("b", 2)] {
            schedule.add(&key("desk", alert, number), at(number));
        }
        assert_eq!(schedule.next_due(), Some(at(0)));
        let begun = all(&mut schedule, at(9));
        assert_eq!(begun, [key("desk", "a", 0), key("desk", "b", 2)]);
        schedule.again(&begun[0], at(20));
        assert_eq!(
            schedule.next(at(19)),
            None,
            "the second of a waits for the first"
        );
        assert_eq!(schedule.next_due(), Some(at(20)));
        assert_eq!(schedule.next(at(20)), Some(begun[0].clone()));
        schedule.end(&begun[0]);
        assert_eq!(schedule.next(at(20)), Some(key("desk", "a", 1)));
        let waiting: Vec<_> = schedule.waiting().collect();
        assert_eq!(waiting, [("desk", 2, None)]);
    }

    #[test]
    fn an_endpoint_that_never_answers_leaves_the_others_their_share() {
        let mut schedule = places(10, &["dead", "desk"]);
        for number in 0..100 {
            schedule.add(&key("dead", &number.to_string(), number), at(0));
        }
        assert_eq!(all(&mut schedule, at(1)).len(), 5);
        assert_eq!(schedule.next_due(), None, "nothing to wait for but a place");
        for number in 100..200 {
            schedule.add(&key("desk", &number.to_string(), number), at(1));
        }
        let desk = all(&mut schedule, at(1));
        assert_eq!(desk.len(), 5);
        for one in &desk {
            assert_eq!(&*one.endpoint, "desk");
            schedule.end(one);
            assert_eq!(&*schedule.next(at(1)).unwrap().endpoint, "desk");
        }
    }

    #[test]
    fn one_place_goes_round() {
        let mut schedule = places(1, &["a", "b"]);
        schedule.add(&key("a", "x", 0), at(0));
        schedule.add(&key("b", "x", 0), at(1));
        let first = schedule.next(at(5)).unwrap();
        assert_eq!((&*first.endpoint, schedule.next(at(5))), ("a", None));
        assert_eq!(schedule.next_due(), None);
        schedule.again(&first, at(5));
        assert_eq!(&*schedule.next(at(5)).unwrap().endpoint, "b");
    }
}
