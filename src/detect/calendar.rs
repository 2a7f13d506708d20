//! When an exchange is open: what hour of what kind of day it is for an entity.
//!
//! A calendar is a TOML file with one `[[exchange]]` each. Time zones are POSIX rules (`EST5EDT,M3.2.0,M11.1.0`), so that
//! daylight saving needs no database, and a file can be replaced where a rule changes:
//!
//! ```toml
//! [[exchange]]
//! id = "XNYS"
//! zone = "EST5EDT,M3.2.0,M11.1.0"
//! weekend = [6, 7]                        # ISO weekdays, Monday is 1
//! holidays = ["2026-12-25"]               # like the last day of the weekend
//! early_closes = { "2026-11-27" = 13 }    # from this local hour on like the first day of the weekend
//! until = "2027-12-31"                    # the last day it knows: later ones are ordinary weekdays
//!
//! [[event]]
//! entity = "ACME"                         # while it lasts mentions are expected to be many: nothing is learnt
//! tag = "earnings"
//! from = "2026-10-29T20:00:00Z"
//! to = "2026-10-30T14:00:00Z"
//! ```

use crate::domain::{EntityId, Timestamp};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The calendar that is compiled in.
pub const BUNDLED: &str = include_str!("calendar.toml");

/// Kinds of hours: 24 of each of seven kinds of days.
pub(super) const CELLS: usize = 168;

/// Milliseconds of an hour.
const HOUR: i64 = 3_600_000;

/// Exchanges and scheduled events.
#[derive(Debug, Clone, Default)]
pub struct Calendar {
    exchanges: Vec<Exchange>,
    events: HashMap<EntityId, Vec<Event>>,
    /// Where entities are traded that are not at the first exchange.
    places: HashMap<EntityId, usize>,
}

#[derive(Debug, Clone)]
struct Exchange {
    id: String,
    zone: TimeZone,
    weekend: BTreeSet<i8>,
    holidays: BTreeSet<Date>,
    early_closes: BTreeMap<Date, i8>,
    until: Option<Date>,
}

/// Something that was announced before, such as the day of the quarterly figures.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Event {
    entity: EntityId,
    tag: String,
    from: Timestamp,
    to: Timestamp,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    exchange: Vec<Entry>,
    #[serde(default)]
    event: Vec<Event>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: String,
    zone: String,
    #[serde(default)]
    weekend: Vec<i8>,
    #[serde(default)]
    holidays: Vec<String>,
    #[serde(default)]
    early_closes: BTreeMap<String, i8>,
    until: Option<String>,
}

impl Calendar {
    /// The calendar that is compiled in; one that knows only UTC should that ever be unreadable.
    pub fn bundled() -> Self {
        Self::parse(BUNDLED).unwrap_or_default()
    }

    /// Reads a calendar file.
    ///
    /// # Errors
    /// The entry, and what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        let exchanges: Result<Vec<_>, _> = file.exchange.into_iter().map(Exchange::read).collect();
        let mut calendar = Self {
            exchanges: exchanges?,
            ..Self::default()
        };
        for event in file.event {
            if event.to <= event.from {
                return Err(format!(
                    "event '{}' of {}: ends before it begins",
                    event.tag, event.entity
                ));
            }
            let events = calendar.events.entry(event.entity.clone()).or_default();
            events.push(event);
        }
        Ok(calendar)
    }

    /// Makes this exchange the one of all entities for which [`Self::place`] says nothing else. False when it is not here.
    pub fn prefer(&mut self, exchange: &str) -> bool {
        let Some(at) = self.exchanges.iter().position(|one| one.id == exchange) else {
            return false;
        };
        if at > 0 {
            let swapped = |place: &mut usize| match *place {
                0 => *place = at,
                place_of if place_of == at => *place = 0,
                _ => {}
            };
            self.places.values_mut().for_each(swapped);
            self.exchanges.swap(0, at);
        }
        true
    }

    /// Says where an entity is traded. False when that exchange is not here.
    pub fn place(&mut self, entity: EntityId, exchange: &str) -> bool {
        let at = self.exchanges.iter().position(|one| one.id == exchange);
        at.map(|at| self.places.insert(entity, at)).is_some()
    }

    /// Exchanges that know nothing of the year from an instant on: their holidays should be looked up.
    pub fn ending(&self, now: Timestamp) -> Vec<String> {
        let in_a_year = date_of(now.millis() + 365 * 24 * HOUR);
        let ends = |one: &&Exchange| one.until.is_some_and(|until| until < in_a_year);
        let ending = self.exchanges.iter().filter(ends);
        ending.map(|one| one.id.clone()).collect()
    }

    /// What kind of hour an instant lies in where the entity is traded: its number below [`CELLS`].
    pub(super) fn cell(&self, entity: &EntityId, at: Timestamp) -> usize {
        let place = self.places.get(entity).copied().unwrap_or(0);
        match self.exchanges.get(place) {
            Some(exchange) => exchange.cell(at),
            None => plain_cell(at),
        }
    }

    /// The kind of hour at the first exchange.
    pub(super) fn common_cell(&self, at: Timestamp) -> usize {
        self.exchanges
            .first()
            .map_or_else(|| plain_cell(at), |exchange| exchange.cell(at))
    }

    /// What was announced of an entity for this instant.
    pub(super) fn event(&self, entity: &EntityId, at: Timestamp) -> Option<&str> {
        let events = self.events.get(entity)?;
        let now = events.iter().find(|one| one.from <= at && at < one.to)?;
        Some(&now.tag)
    }
}

impl Exchange {
    fn read(entry: Entry) -> Result<Self, String> {
        let of = |problem: String| format!("exchange '{}': {problem}", entry.id);
        let date = |text: &String| {
            let read = text.parse::<Date>();
            read.map_err(|_| of(format!("'{text}' is no date: write it as 2026-12-25")))
        };
        let zone = TimeZone::posix(&entry.zone).map_err(|_| {
            of(format!(
                "zone '{}' is no POSIX rule such as EST5EDT,M3.2.0,M11.1.0",
                entry.zone
            ))
        })?;
        if let Some(day) = entry.weekend.iter().find(|day| !(1..=7).contains(*day)) {
            return Err(of(format!("weekend: {day} is no ISO weekday from 1 to 7")));
        }
        let early = entry.early_closes.iter().map(|(day, hour)| match hour {
            0..=23 => Ok((date(day)?, *hour)),
            _ => Err(of(format!("early_closes: {hour} is no hour"))),
        });
        Ok(Self {
            early_closes: early.collect::<Result<_, _>>()?,
            holidays: entry.holidays.iter().map(date).collect::<Result<_, _>>()?,
            until: entry.until.as_ref().map(date).transpose()?,
            weekend: entry.weekend.iter().copied().collect(),
            zone,
            id: entry.id,
        })
    }

    fn cell(&self, at: Timestamp) -> usize {
        let Ok(instant) = jiff::Timestamp::from_millisecond(at.millis()) else {
            return plain_cell(at);
        };
        let local = self.zone.to_datetime(instant);
        let (date, hour) = (local.date(), local.hour());
        let weekday = date.weekday().to_monday_one_offset();
        let closed = || self.weekend.last().copied().unwrap_or(weekday);
        let day = if self.holidays.contains(&date) {
            closed()
        } else if self
            .early_closes
            .get(&date)
            .is_some_and(|from| hour >= *from)
        {
            self.weekend.first().copied().unwrap_or(weekday)
        } else {
            weekday
        };
        (day as usize - 1) * 24 + hour as usize
    }
}

/// The hour of the weekday in UTC.
fn plain_cell(at: Timestamp) -> usize {
    // 1970-01-01 was a Thursday.
    (at.millis().div_euclid(HOUR) + 72).rem_euclid(CELLS as i64) as usize
}

fn date_of(millis: i64) -> Date {
    jiff::Timestamp::from_millisecond(millis).map_or(Date::MAX, |instant| {
        TimeZone::UTC.to_datetime(instant).date()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn cell(text: &str) -> (usize, usize) {
        let cell = Calendar::bundled().cell(&"ACME".into(), at(text));
        (cell / 24 + 1, cell % 24)
    }

    #[test]
    fn the_hour_is_that_of_the_exchange_whatever_the_clocks_do() {
        // Ten in the morning in New York, in winter, in summer, and around the change of the clocks.
        assert_eq!(cell("2026-01-14T15:30:00Z"), (3, 10));
        assert_eq!(cell("2026-07-15T14:30:00Z"), (3, 10));
        assert_eq!(cell("2026-03-06T15:00:00Z"), (5, 10));
        assert_eq!(cell("2026-03-09T14:00:00Z"), (1, 10));
    }

    #[test]
    fn a_holiday_is_a_sunday_and_after_an_early_close_it_is_saturday() {
        assert_eq!(cell("2026-12-25T15:00:00Z"), (7, 10));
        assert_eq!(cell("2026-11-27T17:59:00Z"), (5, 12));
        assert_eq!(cell("2026-11-27T18:00:00Z"), (6, 13));
    }

    #[test]
    fn behind_its_end_a_calendar_knows_weekdays_only_and_says_so() {
        let calendar = Calendar::bundled();
        assert_eq!(cell("2099-12-25T15:00:00Z"), (5, 10));
        assert!(calendar.ending(at("2025-11-01T00:00:00Z")).is_empty());
        assert!(
            calendar
                .ending(at("2099-01-01T00:00:00Z"))
                .contains(&"XNYS".to_owned())
        );
    }

    #[test]
    fn entities_are_where_they_are_traded() {
        let mut calendar = Calendar::bundled();
        let acme = EntityId::from("ACME");
        assert!(calendar.place(acme.clone(), "XLON") && !calendar.place(acme.clone(), "XXXX"));
        let noon = at("2026-01-14T12:00:00Z");
        assert_eq!(calendar.cell(&acme, noon) % 24, 12);
        assert_eq!(calendar.cell(&"OTHER".into(), noon) % 24, 7);
        assert!(calendar.prefer("XLON"));
        assert_eq!(calendar.cell(&acme, noon) % 24, 12);
        assert_eq!(calendar.cell(&"OTHER".into(), noon) % 24, 12);
    }

    #[test]
    fn what_is_announced_lasts_as_long_as_it_says() {
        let text = "[[event]]\nentity = \"ACME\"\ntag = \"earnings\"\nfrom = \"2026-10-29T20:00:00Z\"\nto = \"2026-10-30T14:00:00Z\"\n";
        let calendar = Calendar::parse(text).unwrap();
        let event = |text| calendar.event(&"ACME".into(), at(text));
        assert_eq!(event("2026-10-29T20:00:00Z"), Some("earnings"));
        assert_eq!(event("2026-10-30T14:00:00Z"), None);
        assert_eq!(
            calendar.event(&"OTHER".into(), at("2026-10-29T21:00:00Z")),
            None
        );
    }

    #[test]
    fn what_cannot_be_meant_is_named() {
        let entry = |rest: &str| Calendar::parse(&format!("[[exchange]]\nid = \"X\"\n{rest}"));
        for (rest, says) in [
            ("zone = \"Mars\"", "zone 'Mars'"),
            (
                "zone = \"UTC0\"\nholidays = [\"soon\"]",
                "'soon' is no date",
            ),
            ("zone = \"UTC0\"\nweekend = [8]", "8 is no ISO weekday"),
            (
                "zone = \"UTC0\"\nearly_closes = { \"2026-01-01\" = 24 }",
                "24 is no hour",
            ),
        ] {
            let problem = entry(rest).unwrap_err();
            assert!(problem.contains(says), "{problem}");
        }
    }

    proptest! {
        #[test]
        fn every_instant_has_a_cell(millis in any::<i64>()) {
            let calendar = Calendar::bundled();
            let at = Timestamp::from_millis(millis);
            prop_assert!(calendar.common_cell(at) < CELLS);
            prop_assert!(Calendar::default().common_cell(at) < CELLS);
        }
    }
}
