//! What the random crashes of the simulation do not come by.

use super::super::memory::apply;
use super::super::tests::alert;
use super::*;
use crate::domain::Outcome;
use crate::pipeline::notify::kept::Progress;

const MAX_AGE: Duration = Duration::from_secs(3600);

fn limits() -> Limits {
    Limits {
        places: 8,
        endpoints: ["desk", "down"].map(Known::for_tests).into(),
        longest_wait: Duration::from_secs(600),
        disable_after: Duration::from_secs(86_400),
        max_silence: Duration::from_secs(3600),
        grouping: Grouping::FOR_TESTS,
    }
}

impl Known {
    /// Without limits of its own.
    pub(in super::super) fn for_tests(name: &str) -> Self {
        Self {
            name: name.into(),
            address: "x".into(),
            limit: Limit::default(),
        }
    }
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::EPOCH + Duration::from_secs(seconds)
}

fn accept(outbox: &mut Outbox, message: &AlertMessage, endpoints: &[&str]) -> Accepted {
    accept_member(outbox, message, &[], endpoints)
}

fn accept_member(
    outbox: &mut Outbox,
    message: &AlertMessage,
    lists: &[EntityId],
    endpoints: &[&str],
) -> Accepted {
    let raw = RawValue::from_string(serde_json::to_string(message).unwrap()).unwrap();
    let route = Route {
        lists,
        wanting: endpoints.iter().map(|name| (*name).into()).collect(),
        held: &|name, _| (name == "asleep").then(|| at(3600)),
    };
    outbox.accept(message, raw, route, MAX_AGE, 1, at(0))
}

fn save(outbox: &mut Outbox, state: &mut HashMap<String, Vec<u8>>) {
    while let Some(changes) = outbox.write() {
        apply(state, changes);
        outbox.saved();
    }
}

#[test]
fn what_a_wrong_clock_has_put_off_waits_no_longer_than_any() {
    let mut state = HashMap::new();
    let mut outbox = Outbox::restore(HashMap::new(), limits(), at(0));
    accept(&mut outbox, &alert("a", 0, at(0)), &["desk"]);
    save(&mut outbox, &mut state);
    let job = outbox.next(at(0)).unwrap();
    outbox.failed(job.key, at(0), at(1_000_000), &Answer::Untried, at(0));
    save(&mut outbox, &mut state);
    let mut outbox = Outbox::restore(state, limits(), at(10));
    assert_eq!(outbox.next_due(), Some(at(610)));
    assert!(outbox.next(at(609)).is_none());
    let job = outbox.next(at(610)).unwrap();
    assert_eq!((job.attempts, job.first_attempt_at), (1, Some(at(0))));
}

#[test]
fn what_cannot_be_read_is_left_alone_and_what_belongs_to_nothing_goes() {
    let mut state = HashMap::new();
    let mut outbox = Outbox::restore(HashMap::new(), limits(), at(0));
    accept(&mut outbox, &alert("a", 0, at(0)), &["desk"]);
    save(&mut outbox, &mut state);
    let progress = kept::put(
        "delivery/gone/desk".into(),
        &Progress {
            attempts: 1,
            due: at(1),
            first_attempt_at: None,
            ended: false,
        },
    );
    let of_newer = Change {
        key: "delivery/newer/desk".into(),
        ..progress.clone()
    };
    apply(&mut state, vec![progress, of_newer]);
    for key in [
        "message/newer",
        "delivery/msg_a_0/desk",
        "done/odd",
        "what/else",
    ] {
        state.insert(key.into(), b"{}".to_vec());
    }
    let before = state.len();
    let mut outbox = Outbox::restore(state.clone(), limits(), at(0));
    assert_eq!(outbox.pending(), 1);
    save(&mut outbox, &mut state);
    assert_eq!(state.len(), before - 1);
    assert!(!state.contains_key("delivery/gone/desk"));
    let job = outbox.next(at(0)).unwrap();
    assert_eq!((&*job.key.alert, job.attempts), ("a", 0));
    outbox.ended(job.key, &Answer::Well, at(0));
    save(&mut outbox, &mut state);
    assert!(state.contains_key("done/msg_a_0") && state.contains_key("message/newer"));
}

#[test]
fn so_many_are_kept_and_then_no_more_is_read() {
    let mut outbox = Outbox::restore(HashMap::new(), limits(), at(0));
    let mut state = HashMap::new();
    for number in 0..MOST_PENDING / 2 {
        assert!(outbox.has_room());
        accept(
            &mut outbox,
            &alert(&number.to_string(), 0, at(0)),
            &["desk", "down"],
        );
    }
    assert!(!outbox.has_room());
    save(&mut outbox, &mut state);
    let job = outbox.next(at(0)).unwrap();
    outbox.ended(job.key, &Answer::Well, at(0));
    assert!(outbox.has_room());

    let mut long = alert("long", 0, at(0));
    long.model = "x".repeat(1 << 20);
    let mut outbox = Outbox::restore(HashMap::new(), limits(), at(0));
    for number in 0..MOST_BYTES >> 20 {
        assert!(outbox.has_room(), "{number}");
        long.id = number.to_string();
        accept(&mut outbox, &long, &["desk"]);
    }
    assert!(!outbox.has_room());
    let first = outbox.write().unwrap();
    let messages = first
        .iter()
        .filter(|change| change.key.starts_with("message/"));
    assert!(
        (1..=4).contains(&messages.count()),
        "a write is bounded by its bytes"
    );
}

#[test]
fn what_nobody_wants_is_done_at_once() {
    let mut outbox = Outbox::restore(HashMap::new(), limits(), at(0));
    let message = alert("a", 0, at(0));
    assert_eq!(accept(&mut outbox, &message, &[]), Accepted::Unwanted);
    // That nobody was told of it is remembered: nobody is told of its end either.
    let written = outbox.write().unwrap();
    assert_eq!(
        written
            .iter()
            .map(|change| &*change.key)
            .collect::<Vec<_>>(),
        ["alert/a"]
    );
    assert_eq!((outbox.saved(), outbox.pending()), (Some(1), 0));
    assert_eq!(accept(&mut outbox, &message, &["desk"]), Accepted::New);
    assert_eq!(accept(&mut outbox, &message, &["desk"]), Accepted::Known);
}

#[test]
fn an_endpoint_that_is_disabled_is_told_to_the_others_once_and_over_a_restart() {
    let mut state = HashMap::new();
    let mut outbox = Outbox::restore(HashMap::new(), limits(), at(0));
    accept(&mut outbox, &alert("a", 0, at(0)), &["down"]);
    save(&mut outbox, &mut state);
    let failed = Answer::Failed("status 500".into());
    for day in [0, 1] {
        let now = at(day * 86_400);
        let job = outbox.next(now).unwrap();
        assert_eq!(job.verdict, None);
        outbox.failed(job.key, now, now, &failed, now);
        save(&mut outbox, &mut state);
    }
    let mut outbox = Outbox::restore(state.clone(), limits(), at(86_400));
    let jobs: Vec<Job> = std::iter::from_fn(|| outbox.next(at(86_400))).collect();
    let told = jobs
        .iter()
        .find(|job| &*job.key.endpoint == "desk")
        .unwrap();
    let Notice::EndpointDisabled(disabled) = Notice::read(told.alert.get()).unwrap() else {
        panic!("{}", told.alert);
    };
    assert_eq!(disabled.endpoint, "down");
    let ends = jobs
        .iter()
        .find(|job| &*job.key.endpoint == "down")
        .unwrap();
    let verdict = ends.verdict.clone().unwrap();
    assert_eq!(verdict.outcome, Outcome::Disabled);
    assert!(verdict.reason.contains("not tried") && verdict.reason.contains("status 500"));
    assert_eq!(jobs.len(), 2);
}

#[test]
fn what_is_held_waits_for_its_time_also_over_a_restart() {
    let mut state = HashMap::new();
    let mut outbox = Outbox::restore(HashMap::new(), limits(), at(0));
    accept(&mut outbox, &alert("a", 0, at(0)), &["asleep", "desk"]);
    save(&mut outbox, &mut state);
    let mut outbox = Outbox::restore(state, limits(), at(1));
    assert_eq!(&*outbox.next(at(1)).unwrap().key.endpoint, "desk");
    assert!(outbox.next(at(3599)).is_none());
    assert_eq!(outbox.next_due(), Some(at(3600)));
    assert_eq!(&*outbox.next(at(3600)).unwrap().key.endpoint, "asleep");
}

#[test]
fn ten_banks_that_fall_together_are_two_messages_and_a_group() {
    let mut state = HashMap::new();
    let mut outbox = Outbox::restore(HashMap::new(), limits(), at(0));
    let banks = ["BANKS".into()];
    let mut sent = Vec::new();
    // Ten open within two minutes; the process is started anew after each.
    for bank in 0..10 {
        let message = AlertMessage {
            entity: format!("BANK-{bank}").as_str().into(),
            ..alert(&format!("a{bank}"), 0, at(bank * 12))
        };
        let accepted = accept_member(&mut outbox, &message, &banks, &["desk"]);
        assert_eq!(matches!(accepted, Accepted::New), bank < 2, "{accepted:?}");
        let now = at(bank * 12);
        outbox.tell_groups(now, &|_, _| None, now);
        save(&mut outbox, &mut state);
        while let Some(job) = outbox.next(now) {
            if job.verdict.is_none() {
                sent.push(Notice::read(job.alert.get()).unwrap());
            }
            outbox.ended(job.key, &Answer::Well, now);
            save(&mut outbox, &mut state);
        }
        outbox = Outbox::restore(state.clone(), limits(), now);
    }
    let kinds: Vec<&str> = sent.iter().map(Notice::event_type).collect();
    assert_eq!(
        kinds[..3],
        [
            "sentiment.spike.opened",
            "sentiment.spike.opened",
            "sentiment.group.opened"
        ]
    );
    assert!(
        kinds[3..]
            .iter()
            .all(|kind| *kind == "sentiment.group.updated")
    );
    let Notice::Group(last) = sent.last().unwrap() else {
        panic!("{sent:?}")
    };
    assert_eq!((last.members.len(), last.revision), (10, 7));
    let ids: std::collections::HashSet<String> = sent.iter().map(Notice::id).collect();
    assert_eq!(ids.len(), sent.len());
}
