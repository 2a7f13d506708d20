//! Dead letters, what is done with them, and posts that replays became.

use super::*;

/// A letter of the record at an offset of `social`, rejected so many seconds after the first.
pub fn letter(offset: i64) -> DeadLetter {
    DeadLetter {
        origin: post(offset).origin,
        recorded_at: post(offset).recorded_at,
        rejected_at: post(offset).received_at,
        reason: "not_json".into(),
        detail: "it does not begin with '{'".into(),
        key: None,
        payload: "bm90IGpzb24=".into(),
        headers: vec![("trace".into(), "MQ==".into())],
    }
}

fn letters_block(letters: Vec<DeadLetter>) -> Block {
    block("squall.dead", 0, letters.len(), Rows::DeadLetters(letters))
}

async fn offsets(store: &dyn Store, query: DeadLetterQuery) -> Vec<i64> {
    let rows = store.dead_letters(&query).await.unwrap();
    rows.iter().map(|row| row.letter.origin.offset).collect()
}

fn any() -> DeadLetterQuery {
    DeadLetterQuery {
        limit: 100,
        ..DeadLetterQuery::default()
    }
}

pub async fn dead_letters_are_found_by_what_is_asked(subject: &Subject) {
    let store = subject.open().await;
    let mut letters: Vec<_> = (0..5).map(letter).collect();
    letters[1].origin.source.topic = "news".into();
    letters[1].key = Some("a2V5".into());
    letters[2].reason = "too_long'; --\0".into();
    letters[3].origin.source.epoch = "e0".into();
    letters[4].rejected_at = letters[0].rejected_at - Duration::from_secs(1);
    letters[4].headers.clear();
    let block = letters_block(letters.clone());
    subject.insert(&*store, &block).await;
    subject.insert_again(&*store, &block).await;

    let rows = store.dead_letters(&any()).await.unwrap();
    let read: Vec<_> = rows.iter().map(|row| row.letter.clone()).collect();
    let latest_first = [3, 2, 1, 0, 4].map(|n: usize| letters[n].clone());
    assert_eq!(read, latest_first);
    assert!(rows.iter().all(|row| row.settled.is_none()));

    let ask = async |query| offsets(&*store, query).await;
    let reason = Some("too_long'; --\0".to_owned());
    assert_eq!(ask(DeadLetterQuery { reason, ..any() }).await, [2]);
    let topic = Some("news".to_owned());
    assert_eq!(ask(DeadLetterQuery { topic, ..any() }).await, [1]);
    let origin = Some(letters[3].origin.clone());
    assert_eq!(ask(DeadLetterQuery { origin, ..any() }).await, [3]);
    let origin = Some(post(3).origin);
    assert!(ask(DeadLetterQuery { origin, ..any() }).await.is_empty());
    let (from, to) = (Some(letters[0].rejected_at), Some(letters[2].rejected_at));
    assert_eq!(ask(DeadLetterQuery { from, ..any() }).await, [3, 2, 1, 0]);
    assert_eq!(ask(DeadLetterQuery { from, to, ..any() }).await, [1, 0]);
    let topic = Some("social".to_owned());
    let query = DeadLetterQuery {
        from,
        to,
        topic,
        ..any()
    };
    assert_eq!(ask(query).await, [0]);
    assert_eq!(ask(DeadLetterQuery { limit: 2, ..any() }).await, [3, 2]);
    assert_eq!(ask(DeadLetterQuery { limit: 0, ..any() }).await, [3]);
}

pub async fn a_dead_letter_is_settled_by_the_last_act(subject: &Subject) {
    let store = subject.open().await;
    subject
        .insert(&*store, &letters_block((0..3).map(letter).collect()))
        .await;
    let act = |offset, settled, by: &str, seconds| ControlAct::DeadLetter {
        origin: post(offset).origin,
        settled,
        by: by.into(),
        at: at("2026-11-23T10:00:00Z") + Duration::from_secs(seconds),
    };
    let acts = vec![
        act(1, Settled::Dropped, "ann", 5),
        act(1, Settled::Replayed, "ben", 9),
        act(1, Settled::Dropped, "cat", 7),
        act(2, Settled::Dropped, "ann", 1),
        // Of a letter that is not there.
        act(7, Settled::Dropped, "ann", 1),
    ];
    let block = block("squall.control", 0, acts.len(), Rows::Control(acts));
    // An act that is older than what is known may be no row.
    store.insert(&block).await.unwrap();
    subject.insert_again(&*store, &block).await;

    assert_eq!(offsets(&*store, any()).await, [0]);
    let all = DeadLetterQuery {
        settled: true,
        ..any()
    };
    let rows = store.dead_letters(&all).await.unwrap();
    let settled: Vec<_> = rows.into_iter().map(|row| row.settled).collect();
    let at = |seconds| at("2026-11-23T10:00:00Z") + Duration::from_secs(seconds);
    assert_eq!(
        settled,
        [
            Some((Settled::Dropped, "ann".to_owned(), at(1))),
            Some((Settled::Replayed, "ben".to_owned(), at(9))),
            None,
        ]
    );
}

pub async fn replays_are_known_by_their_first_origin(subject: &Subject) {
    let store = subject.open().await;
    let first = |offset| Origin {
        source: partition("news", 3),
        offset,
    };
    let mut replay = post(4);
    replay.first_origin = Some(first(17));
    let block = posts_block(0, vec![post(0), replay.clone(), post(5)]);
    subject.insert(&*store, &block).await;
    assert_eq!(all_posts(&*store).await[1], replay);

    let mut other_epoch = first(17);
    other_epoch.source.epoch = "e2".into();
    let asked = [first(17), first(1), first(18), other_epoch, post(0).origin];
    let found = store.replayed(&asked).await.unwrap();
    assert_eq!(found, HashSet::from([first(17)]));
    let many: Vec<_> = (0..2500).map(first).collect();
    let found = store.replayed(&many).await.unwrap();
    assert_eq!(found, HashSet::from([first(17)]));
}

/// Every act is in the audit, each once, whatever else it is, and by the offset where it is nothing else.
pub async fn every_act_is_audited(subject: &Subject) {
    let store = subject.open().await;
    let time = at("2026-11-23T10:00:00Z");
    let acts = vec![
        ControlAct::Acknowledge {
            alert_id: "acme".into(),
            by: "ann".into(),
            at: time,
        },
        ControlAct::Unsilence {
            id: "s1".into(),
            by: "ben".into(),
            at: time + Duration::from_secs(1),
        },
        ControlAct::Test {
            endpoint: "desk".into(),
            by: "cat".into(),
            at: time + Duration::from_secs(2),
        },
    ];
    let block = block("squall.control", 0, 3, Rows::Control(acts));
    store.insert(&block).await.unwrap();
    store.insert(&block).await.unwrap();
    let rows = store.audit(10).await.unwrap();
    let told: Vec<_> = rows
        .iter()
        .map(|row| (row.by.as_str(), row.act.as_str(), row.subject.as_str()))
        .collect();
    let expected = [
        ("cat", "test", "desk"),
        ("ben", "unsilence", "s1"),
        ("ann", "acknowledge", "acme"),
    ];
    assert_eq!(told, expected);
    assert!(rows[0].detail.contains("desk") && rows[2].at == time);
    assert_eq!(store.audit(1).await.unwrap().len(), 1);
    let there = store.rows_between(&block.partition, 0, 3).await.unwrap();
    assert_eq!(there, 3, "each is counted once");
    assert_eq!(store.position(&block.partition).await.unwrap().end, 3);
}
