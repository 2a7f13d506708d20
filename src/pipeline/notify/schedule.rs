//! Which delivery is attempted next.
//!
//! The messages of one alert wait for one another at each endpoint, in a lane; only the first of a lane can be
//! attempted. Nothing else waits for anything, except for a place: there are so many in all, and each endpoint gets
//! an equal share, so that one that answers slowly, or never, leaves the others theirs.

use crate::domain::Timestamp;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

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
    endpoints: BTreeMap<Arc<str>, Endpoint>,
}

#[derive(Debug, Default)]
struct Endpoint {
    in_flight: usize,
    /// By alert: the numbers that wait, and since when each is due.
    lanes: HashMap<Arc<str>, BTreeMap<u64, Timestamp>>,
    /// The first of each lane that is not in flight.
    due: BTreeMap<(Timestamp, u64), Arc<str>>,
}

impl Endpoint {
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
    /// `places` attempts at once, shared by so many endpoints.
    pub fn new(places: usize, endpoints: usize) -> Self {
        Self {
            places,
            share: (places / endpoints.max(1)).max(1),
            in_flight: 0,
            endpoints: BTreeMap::new(),
        }
    }

    /// A further delivery, behind those of its alert.
    pub fn add(&mut self, key: &Key, due: Timestamp) {
        let endpoint = self.endpoints.entry(key.endpoint.clone()).or_default();
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
        let share = self.share;
        let ready = self.endpoints.iter_mut().filter_map(|(name, endpoint)| {
            let (first, _) = endpoint.due.first_key_value()?;
            let ready = endpoint.in_flight < share && first.0 <= now;
            ready.then_some(((endpoint.in_flight, *first), name, endpoint))
        });
        let (_, name, endpoint) = ready.min_by_key(|(rank, ..)| *rank)?;
        let ((_, number), alert) = endpoint.due.pop_first()?;
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
        let open = open.filter(|endpoint| endpoint.in_flight < self.share);
        open.filter_map(|endpoint| Some(endpoint.due.first_key_value()?.0.0))
            .min()
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
    use std::time::Duration;

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

    #[test]
    fn messages_of_one_alert_wait_for_one_another_and_others_do_not() {
        let mut schedule = Schedule::new(10, 1);
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
        let mut schedule = Schedule::new(10, 2);
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
        let mut schedule = Schedule::new(1, 2);
        schedule.add(&key("a", "x", 0), at(0));
        schedule.add(&key("b", "x", 0), at(1));
        let first = schedule.next(at(5)).unwrap();
        assert_eq!((&*first.endpoint, schedule.next(at(5))), ("a", None));
        assert_eq!(schedule.next_due(), None);
        schedule.again(&first, at(5));
        assert_eq!(&*schedule.next(at(5)).unwrap().endpoint, "b");
    }
}
