use super::*;
use crate::config::load;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn hours(from: &str, to: &str, zone: &str, days: &[&str]) -> HoursConfig {
    HoursConfig {
        from: from.into(),
        to: to.into(),
        zone: zone.into(),
        days: days.iter().map(|day| (*day).into()).collect(),
    }
}

fn config(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = load(None, std::iter::empty()).unwrap();
    config.endpoints = ["desk", "banks", "oncall"]
        .map(|name| EndpointConfig::new(name, "https://example.com", Vec::new()))
        .into();
    change(&mut config);
    config
}

fn wanting(routing: &Routing, entity: &str, list: &str, severity: Severity, now: &str) -> String {
    let (entity, lists) = (entity.into(), [list.into()]);
    let subject = Subject {
        entity: &entity,
        lists: &lists,
        rule: "negative-spike",
        severity,
    };
    let names: Vec<_> = routing.wanting(subject, at(now)).into_iter().collect();
    names.join(" ")
}

fn route(endpoint: &str) -> RouteConfig {
    RouteConfig {
        endpoints: vec![endpoint.into()],
        entities: Vec::new(),
        lists: Vec::new(),
        rules: Vec::new(),
        min_severity: Severity::Warning,
        hours: None,
    }
}

#[test]
fn an_endpoint_gets_what_its_routes_name_and_all_where_none_names_it() {
    let routing = Routing::new(&config(|config| {
        let banks = RouteConfig {
            lists: vec!["BANKS".into()],
            ..route("banks")
        };
        let boeing = RouteConfig {
            entities: vec!["BA".into()],
            min_severity: Severity::Critical,
            ..route("banks")
        };
        let work = hours("09:00", "17:30", "Europe/London", &["mon", "tue"]);
        let oncall = RouteConfig {
            hours: Some(work),
            ..route("oncall")
        };
        config.routes = vec![banks, boeing, oncall];
    }))
    .unwrap();
    let monday = "2026-11-23T10:00:00Z";
    let wednesday = "2026-11-25T10:00:00Z";
    assert_eq!(
        wanting(&routing, "JPM", "BANKS", Severity::Warning, monday),
        "banks desk oncall"
    );
    assert_eq!(
        wanting(&routing, "JPM", "BANKS", Severity::Warning, wednesday),
        "banks desk"
    );
    assert_eq!(
        wanting(&routing, "BA", "PLANES", Severity::Warning, wednesday),
        "desk"
    );
    assert_eq!(
        wanting(&routing, "BA", "PLANES", Severity::Critical, wednesday),
        "banks desk"
    );
    assert_eq!(
        wanting(&routing, "BANKS", "", Severity::Warning, wednesday),
        "banks desk",
        "the list's own"
    );
}

#[test]
fn quiet_hours_hold_warnings_and_escalate_what_is_critical() {
    let routing = Routing::new(&config(|config| {
        config.routes = vec![RouteConfig {
            entities: vec!["NOBODY".into()],
            ..route("oncall")
        }];
        config.quiet_hours = vec![QuietConfig {
            endpoints: vec!["desk".into()],
            hours: hours("22:00", "07:00", "Europe/Berlin", &[]),
            escalate_to: vec!["oncall".into()],
        }];
    }))
    .unwrap();
    let night = "2026-11-23T23:30:00Z";
    let morning = at("2026-11-24T06:00:00Z");
    assert_eq!(
        routing.held("desk", Severity::Warning, at(night)),
        Some(morning)
    );
    assert_eq!(routing.held("desk", Severity::Critical, at(night)), None);
    assert_eq!(routing.held("banks", Severity::Warning, at(night)), None);
    assert_eq!(routing.held("desk", Severity::Warning, morning), None);
    assert_eq!(
        wanting(&routing, "BA", "", Severity::Critical, night),
        "banks desk oncall"
    );
    assert_eq!(
        wanting(&routing, "BA", "", Severity::Warning, night),
        "banks desk"
    );
    assert_eq!(
        wanting(
            &routing,
            "BA",
            "",
            Severity::Critical,
            "2026-11-23T12:00:00Z"
        ),
        "banks desk"
    );
}

#[test]
fn hours_follow_the_clocks_of_their_zone_over_midnight_and_the_change_of_summer_time() {
    let of = |config: HoursConfig, now: &str| Hours::new(&config).unwrap().end(at(now));
    // Berlin puts its clocks forward at 01:00 UTC on 29 March 2026: the night is an hour shorter.
    let night = || hours("22:00", "07:00", "Europe/Berlin", &[]);
    assert_eq!(
        of(night(), "2026-03-28T21:30:00Z"),
        Some(at("2026-03-29T05:00:00Z"))
    );
    assert_eq!(
        of(night(), "2026-03-27T21:30:00Z"),
        Some(at("2026-03-28T06:00:00Z"))
    );
    // Friday's night ends on Saturday, Saturday has none.
    let friday = || hours("22:00", "07:00", "UTC", &["fri"]);
    assert!(of(friday(), "2026-11-28T03:00:00Z").is_some());
    assert!(of(friday(), "2026-11-28T23:00:00Z").is_none());
    let whole = hours("00:00", "00:00", "UTC", &["sun"]);
    assert_eq!(
        of(whole, "2026-11-29T12:00:00Z"),
        Some(at("2026-11-30T00:00:00Z"))
    );
}

#[test]
fn what_is_wrong_is_told_at_once() {
    let problems = Routing::new(&config(|config| {
        config.routes = vec![route("dsk")];
        config.quiet_hours = vec![
            QuietConfig {
                endpoints: vec!["desk".into()],
                hours: hours("22", "7:00", "UTC", &[]),
                escalate_to: vec!["nobody".into()],
            },
            QuietConfig {
                endpoints: vec!["desk".into()],
                hours: hours("22:00", "07:00", "Mars/Olympus", &[]),
                escalate_to: Vec::new(),
            },
            QuietConfig {
                endpoints: vec!["desk".into()],
                hours: hours("22:00", "07:00", "UTC", &["funday"]),
                escalate_to: Vec::new(),
            },
        ];
    }))
    .unwrap_err();
    let text = problems.join("\n");
    for part in [
        "routes[0]: 'dsk' is no endpoint",
        "'nobody' is no endpoint",
        "'22' is no time",
        "Mars/Olympus",
        "'funday' is no day",
    ] {
        assert!(text.contains(part), "{text}");
    }
}
