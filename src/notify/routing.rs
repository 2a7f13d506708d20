//! Which endpoints a message goes to, and when: routes, and quiet hours by time zone.

use crate::config::{Config, EndpointConfig, HoursConfig, QuietConfig, RouteConfig};
use crate::domain::{EntityId, Severity, Timestamp};
use jiff::ToSpan;
use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What routes look at.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The entity.
    pub entity: &'a EntityId,
    /// Lists it is on.
    pub lists: &'a [EntityId],
    /// Name of the rule.
    pub rule: &'a str,
    /// How bad it is.
    pub severity: Severity,
}

/// The rules of an installation.
#[derive(Debug, Clone, Default)]
pub struct Routing {
    endpoints: Vec<(Arc<str>, Severity)>,
    routes: Vec<(RouteConfig, Option<Hours>)>,
    quiet: Vec<(QuietConfig, Hours)>,
}

impl Routing {
    /// Checks `[[routes]]` and `[[quiet_hours]]`.
    ///
    /// # Errors
    /// All that is wrong with them, each with the remedy.
    pub fn new(config: &Config) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let known = |name: &String| config.endpoints.iter().any(|one| one.name == *name);
        let mut hours = |place: &str, hours: Option<&HoursConfig>, named: Vec<&String>| {
            for name in named.iter().filter(|name| !known(name)) {
                problems.push(format!(
                    "{place}: '{name}' is no endpoint: add it under [[endpoints]], or correct the name"
                ));
            }
            let read = hours.map(Hours::new)?;
            read.map_err(|problem| problems.push(format!("{place}: {problem}")))
                .ok()
        };
        let mut routes = Vec::new();
        for (index, route) in config.routes.iter().enumerate() {
            let place = format!("routes[{index}]");
            let read = hours(
                &place,
                route.hours.as_ref(),
                route.endpoints.iter().collect(),
            );
            routes.push((route.clone(), read));
        }
        let mut quiet = Vec::new();
        for (index, one) in config.quiet_hours.iter().enumerate() {
            let named = one.endpoints.iter().chain(&one.escalate_to).collect();
            if let Some(read) = hours(&format!("quiet_hours[{index}]"), Some(&one.hours), named) {
                quiet.push((one.clone(), read));
            }
        }
        let endpoint = |one: &EndpointConfig| (one.name.as_str().into(), one.min_severity);
        match problems.is_empty() {
            true => Ok(Self {
                endpoints: config.endpoints.iter().map(endpoint).collect(),
                routes,
                quiet,
            }),
            false => Err(problems),
        }
    }

    /// The endpoints that want a message: those of the routes that fit, and those that no route names. Where one has quiet
    /// hours, a critical message goes also to whom they escalate to.
    pub fn wanting(&self, subject: Subject<'_>, now: Timestamp) -> BTreeSet<Arc<str>> {
        let mut wanting = BTreeSet::new();
        for (name, least) in &self.endpoints {
            let mut named = self
                .routes
                .iter()
                .filter(|(route, _)| is_in(&route.endpoints, name));
            let routed = match named.clone().next() {
                None => true,
                Some(_) => named.any(|(route, hours)| fits(route, hours.as_ref(), subject, now)),
            };
            if routed && subject.severity >= *least {
                wanting.insert(name.clone());
            }
        }
        if subject.severity == Severity::Critical {
            let quiet = self.quiet.iter().filter(|(quiet, hours)| {
                quiet
                    .endpoints
                    .iter()
                    .any(|name| wanting.contains(name.as_str()))
                    && hours.end(now).is_some()
            });
            let escalated: Vec<Arc<str>> = quiet
                .flat_map(|(quiet, _)| &quiet.escalate_to)
                .map(|name| name.as_str().into())
                .collect();
            wanting.extend(escalated);
        }
        wanting
    }

    /// Until when a message waits for an endpoint, because it has quiet hours. Critical ones never do.
    pub fn held(&self, endpoint: &str, severity: Severity, now: Timestamp) -> Option<Timestamp> {
        let quiet = self
            .quiet
            .iter()
            .filter(|(quiet, _)| is_in(&quiet.endpoints, endpoint));
        let ends = quiet.filter_map(|(_, hours)| hours.end(now)).max();
        ends.filter(|_| severity < Severity::Critical)
    }
}

fn is_in(names: &[String], name: &str) -> bool {
    names.iter().any(|one| one == name)
}

/// Whether all that a route names fits; what it leaves out fits always.
fn fits(route: &RouteConfig, hours: Option<&Hours>, subject: Subject<'_>, now: Timestamp) -> bool {
    let any = route.entities.is_empty() && route.lists.is_empty();
    let listed = |list: &EntityId| list == subject.entity || subject.lists.contains(list);
    let named = route.entities.contains(subject.entity) || route.lists.iter().any(listed);
    (any || named)
        && (route.rules.is_empty() || is_in(&route.rules, subject.rule))
        && subject.severity >= route.min_severity
        && hours.is_none_or(|hours| hours.end(now).is_some())
}

/// Hours of the week in a time zone, as clocks there show them.
#[derive(Debug, Clone)]
struct Hours {
    from: Time,
    to: Time,
    zone: TimeZone,
    days: Vec<Weekday>,
}

const DAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

impl Hours {
    fn new(config: &HoursConfig) -> Result<Self, String> {
        let time = |text: &str| {
            let fits = text.len() == 5 && text.as_bytes()[2] == b':';
            let time = text.parse::<Time>().ok().filter(|_| fits);
            time.ok_or_else(|| format!("'{text}' is no time: write it as 22:00"))
        };
        let zone = TimeZone::get(&config.zone).map_err(|_| {
            format!(
                "'{}' is no time zone: write it as Europe/Berlin, or UTC",
                config.zone
            )
        })?;
        let day = |text: &String| {
            let day = DAYS
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(text));
            day.map(|(_, day)| *day).ok_or_else(|| {
                format!("'{text}' is no day: write mon, tue, wed, thu, fri, sat or sun")
            })
        };
        let days: Vec<Weekday> = config.days.iter().map(day).collect::<Result<_, _>>()?;
        Ok(Self {
            from: time(&config.from)?,
            to: time(&config.to)?,
            zone,
            days: match days.is_empty() {
                true => DAYS.map(|(_, day)| day).to_vec(),
                false => days,
            },
        })
    }

    /// The end of the hours that an instant lies in; none where it lies outside. Hours that go over midnight belong to the
    /// day on which they begin; equal times are a whole day.
    fn end(&self, now: Timestamp) -> Option<Timestamp> {
        let instant = jiff::Timestamp::from_millisecond(now.millis()).ok()?;
        let today = self.zone.to_datetime(instant).date();
        let yesterday = today.checked_sub(1.day()).ok()?;
        [yesterday, today].into_iter().find_map(|day| {
            if !self.days.contains(&day.weekday()) {
                return None;
            }
            let last = match self.to <= self.from {
                true => day.checked_add(1.day()).ok()?,
                false => day,
            };
            let from = self.zone.to_timestamp(day.to_datetime(self.from)).ok()?;
            let to = self.zone.to_timestamp(last.to_datetime(self.to)).ok()?;
            let inside = from <= instant && instant < to;
            inside.then(|| Timestamp::from_millis(to.as_millisecond()))
        })
    }
}

#[cfg(test)]
mod tests;
