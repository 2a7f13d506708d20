//! What is wrong with a server or its tables is said, with the table and the remedy.

use super::*;

fn refused(store: &ClickHouseStore) -> String {
    let error = run(store.prepare(false)).unwrap_err();
    assert!(!error.is_retryable(), "{error}");
    error.to_string()
}

#[test]
fn what_was_altered_by_hand_is_named() {
    let Some((database, store)) = prepared() else {
        return;
    };
    let cases = [
        (
            "ALTER TABLE mentions DROP COLUMN backfill",
            "ALTER TABLE mentions ADD COLUMN backfill Bool",
            "table mentions: column backfill is missing",
        ),
        (
            "ALTER TABLE posts MODIFY COLUMN lang String",
            "ALTER TABLE posts MODIFY COLUMN lang LowCardinality(String)",
            "table posts: column lang is String, not LowCardinality(String)",
        ),
        (
            "ALTER TABLE deliveries ADD COLUMN mine UInt8",
            "ALTER TABLE deliveries DROP COLUMN mine",
            "table deliveries: column mine is not squall's and has no default",
        ),
        (
            "ALTER TABLE positions MODIFY SETTING non_replicated_deduplication_window = 100",
            "ALTER TABLE positions RESET SETTING non_replicated_deduplication_window",
            "table positions: non_replicated_deduplication_window is below",
        ),
    ];
    for (alter, undo, told) in cases {
        database.execute(&[alter]);
        let text = refused(&store);
        assert!(text.contains(told), "{text}");
        database.execute(&[undo]);
        if undo.contains("RESET") {
            let text = refused(&store);
            let (_, remedy) = text.rsplit_once(": ").unwrap();
            database.execute(&[remedy]);
        }
        run(store.prepare(false)).unwrap();
    }
    database.execute(&["ALTER TABLE posts ADD COLUMN mine UInt8 DEFAULT 7"]);
    run(store.prepare(false)).unwrap();
    run(store.insert(&posts_block(0, vec![post(0)]))).unwrap();
}

#[test]
fn views_that_were_altered_or_lost_are_named_and_can_be_restored() {
    let Some((database, store)) = prepared() else {
        return;
    };
    database.execute(&[
        "ALTER TABLE mentions_to_entity_minutes MODIFY QUERY SELECT entity, toStartOfMinute(event_time) AS minute, stored_month FROM mentions",
    ]);
    let text = refused(&store);
    assert!(
        text.contains("view mentions_to_entity_minutes: its query was altered"),
        "{text}"
    );
    database.execute(&["DROP TABLE mentions_to_entity_minutes"]);
    let text = refused(&store);
    assert!(
        text.contains("view mentions_to_entity_minutes: it is missing"),
        "{text}"
    );
    let (_, remedy) = text.split_once("restore it (").unwrap();
    let (remedy, _) = remedy.rsplit_once("), and").unwrap();
    database.execute(&[remedy]);
    run(store.prepare(false)).unwrap();
}

#[test]
fn a_newer_schema_is_refused() {
    let Some((database, store)) = prepared() else {
        return;
    };
    database.execute(&["INSERT INTO migrations (version, squall) VALUES (99, 'later')"]);
    let error = run(store.prepare(false)).unwrap_err();
    assert!(matches!(
        error,
        StoreError::Newer {
            found: 99,
            known: migrate::VERSION,
            ..
        }
    ));
    assert!(matches!(
        run(store.migrate()).unwrap_err(),
        StoreError::Newer { .. }
    ));
}

#[test]
fn where_nothing_may_be_altered_what_is_missing_is_told() {
    let Some(mut database) = Database::fresh() else {
        return;
    };
    database.config.migrate = false;
    let store = database.store();
    let error = run(store.prepare(false)).unwrap_err();
    // Somebody may run `squall migrate` meanwhile.
    assert!(error.is_retryable(), "{error}");
    assert!(
        error
            .to_string()
            .contains("no tables yet: run `squall migrate`"),
        "{error}"
    );
    let error = run(store.insert(&posts_block(0, vec![post(0)]))).unwrap_err();
    assert!(error.to_string().contains("squall migrate"), "{error}");

    assert_eq!(run(store.migrate()).unwrap().len(), 2);
    run(store.prepare(false)).unwrap();
    run(store.insert(&posts_block(0, vec![post(0)]))).unwrap();
}

#[test]
fn tables_of_somebody_else_are_left_alone() {
    let Some(database) = Database::fresh() else {
        return;
    };
    let store = database.store();
    run(store.session.ddl(&store.session.tables.create_database())).unwrap();
    database.execute(&[
        "CREATE TABLE posts (mine String) ENGINE = MergeTree ORDER BY mine SETTINGS non_replicated_deduplication_window = 100000",
    ]);
    let error = run(store.prepare(false)).unwrap_err();
    assert!(!error.is_retryable(), "{error}");
    assert_eq!(database.number("SELECT count() FROM posts"), 0);
    let columns =
        "SELECT count() FROM system.columns WHERE database = currentDatabase() AND table = 'posts'";
    assert_eq!(database.number(columns), 1);
}
