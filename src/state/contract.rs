//! What every state must keep: one test for all of them.

use super::{Change, State};
use std::collections::HashMap;

pub(super) fn changes(pairs: &[(&str, Option<&str>)]) -> Vec<Change> {
    let change = |(key, value): &(&str, Option<&str>)| Change {
        key: (*key).to_owned(),
        value: value.map(|value| value.as_bytes().to_vec()),
    };
    pairs.iter().map(change).collect()
}

pub(super) fn values(pairs: &[(&str, &str)]) -> HashMap<String, Vec<u8>> {
    let value = |(key, value): &(&str, &str)| ((*key).to_owned(), value.as_bytes().to_vec());
    pairs.iter().map(value).collect()
}

/// Two handles of one state, as two processes have them: `second` takes over from `first`.
pub(super) async fn check(first: &dyn State, second: &dyn State) {
    let unloaded = first.put(0, changes(&[("a", Some("0"))])).await;
    assert!(unloaded.is_err(), "written before it was loaded");

    assert_eq!(first.load(0).await.unwrap(), values(&[]));
    let long = "x".repeat(100_000);
    first
        .put(
            0,
            changes(&[("a", Some("1")), ("b", Some("1")), ("c", Some("1"))]),
        )
        .await
        .unwrap();
    // In their order: the last counts. An empty value is one, and any text is a key.
    first
        .put(
            0,
            changes(&[("a", Some("2")), ("a", Some("3")), ("b", None)]),
        )
        .await
        .unwrap();
    first
        .put(0, changes(&[("empty", Some("")), ("9/x:ü", Some(&long))]))
        .await
        .unwrap();
    let kept = values(&[("a", "3"), ("c", "1"), ("empty", ""), ("9/x:ü", &long)]);
    assert_eq!(first.load(0).await.unwrap(), kept);
    assert_eq!(
        first.load(1).await.unwrap(),
        values(&[]),
        "another partition"
    );

    // What is removed after a takeover stays away.
    assert_eq!(second.load(0).await.unwrap(), kept);
    second
        .put(
            0,
            changes(&[
                ("a", None),
                ("empty", None),
                ("9/x:ü", None),
                ("d", Some("1")),
            ]),
        )
        .await
        .unwrap();
    let kept = values(&[("c", "1"), ("d", "1")]);
    assert_eq!(second.load(0).await.unwrap(), kept);

    // A former owner neither sets, nor removes, nor brings back what was removed.
    let late = [
        ("a", Some("late")),
        ("c", Some("late")),
        ("d", None),
        ("e", Some("late")),
    ];
    let _refused = first.put(0, changes(&late)).await;
    assert_eq!(second.load(0).await.unwrap(), kept);

    // There and back again, several times.
    for (round, owner) in [first, second, second, first].into_iter().enumerate() {
        let round = round.to_string();

        assert_eq!(owner.load(0).await.unwrap().get("c"), Some(&b"1".to_vec()));
        owner
            .put(0, changes(&[("round", Some(&round)), (&round, Some("1"))]))
            .await
            .unwrap();
    }
    let kept = first.load(0).await.unwrap();
    assert_eq!(kept.len(), 2 + 1 + 4, "{kept:?}");
    assert_eq!(kept["round"], b"3");
}
