//! The contract, and what only ClickHouse can do wrong.

use super::testing::Database;
use super::*;
use crate::store::contract::{Subject, contract_tests, post, posts_block, run, varied_post};
use std::sync::Arc;

mod refusals;
mod repeats;

fn fresh() -> Option<Subject> {
    let database = Database::fresh()?;
    let at = |text: &str| text.parse().unwrap();
    Some(Subject {
        open: Box::new(move || Box::new(database.store())),
        fresh,
        times: (at("1900-01-01T00:00:00Z"), at("2299-12-31T23:59:59.999Z")),
        steps: (at("1970-01-01T00:00:00Z"), at("2106-02-07T06:28:00Z")),
        // Only the server knows.
        tells_repeats: false,
        cases: 12,
    })
}

contract_tests!(fresh);

/// A prepared store in a new database.
fn prepared() -> Option<(Database, ClickHouseStore)> {
    let database = Database::fresh()?;
    let store = database.store();
    run(store.prepare(false)).unwrap();
    Some((database, store))
}

/// What was inserted, as it lies there: rows of each table, or sums over them, without FINAL.
fn stored(database: &Database) -> Vec<u64> {
    [
        "SELECT count() FROM posts",
        "SELECT count() FROM mentions",
        "SELECT sum(mentions) FROM entity_minutes",
        "SELECT sum(posts) FROM campaign_hours",
        "SELECT count() FROM campaign_contributors",
        "SELECT count() FROM positions",
    ]
    .map(|sql| database.number(sql))
    .to_vec()
}

#[test]
fn opening_reaches_nobody_and_a_server_that_is_away_can_be_tried_again() {
    let mut config = crate::config::load(None, std::iter::empty())
        .unwrap()
        .clickhouse;
    config.url = "http://127.0.0.1:9".into();
    let store = ClickHouseStore::new(&config).unwrap();
    let error = run(store.prepare(false)).unwrap_err();
    assert!(error.is_retryable(), "{error}");
    let text = error.to_string();
    assert!(
        text.starts_with("store http://127.0.0.1:9/squall: cannot be reached"),
        "{text}"
    );
    assert!(text.contains("check clickhouse.url"), "{text}");
}

#[test]
fn a_prepared_schema_is_left_alone() {
    let Some((database, store)) = prepared() else {
        return;
    };
    let altered = "SELECT toUInt64(sum(cityHash64(name, toString(uuid), toString(metadata_modification_time), create_table_query)))
        FROM system.tables WHERE database = currentDatabase()";
    let before = database.number(altered);
    std::thread::sleep(Duration::from_millis(1100));
    run(store.prepare(false)).unwrap();
    assert_eq!(run(store.migrate()).unwrap(), Vec::<String>::new());
    assert_eq!(database.number(altered), before);
}

#[test]
fn rows_are_kept_as_long_as_configured() {
    let Some((mut database, _store)) = prepared() else {
        return;
    };
    database.config.keep = Duration::from_secs(3 * 86_400);
    let store = database.store();
    let done = run(store.migrate()).unwrap();
    assert_eq!(done.len(), 12, "{done:?}");
    assert_eq!(run(store.migrate()).unwrap(), Vec::<String>::new());
    let with = "SELECT count() FROM system.tables WHERE database = currentDatabase()
        AND engine_full LIKE '%toIntervalSecond(259200)%'";
    assert_eq!(database.number(with), 12);
}

#[test]
fn of_several_that_migrate_at_once_each_ends_with_the_schema() {
    let Some(database) = Database::fresh() else {
        return;
    };
    let store = Arc::new(database.store());
    let results = run(async {
        let tries = (0..4).map(|_| {
            let store = database.store();
            async move { store.migrate().await }
        });
        futures::future::join_all(tries).await
    });
    for result in results {
        if let Err(error) = result {
            assert!(error.is_retryable(), "{error}");
            assert!(
                error.to_string().contains("wait for that to end"),
                "{error}"
            );
        }
    }
    run(store.prepare(false)).unwrap();
    assert_eq!(database.number("SELECT count() FROM migrations"), 2);
    let left = "SELECT count() FROM system.tables WHERE database = currentDatabase() AND name LIKE 'migrating%'";
    assert_eq!(database.number(left), 0);
}

#[test]
fn a_migration_that_died_is_taken_over_and_one_that_lives_is_not() {
    let Some(database) = Database::fresh() else {
        return;
    };
    let store = database.store();
    run(store.session.ddl(&store.session.tables.create_database())).unwrap();
    let now = database.number("SELECT toUInt64(toUnixTimestamp(now()))");
    let lock = |since: u64| {
        format!(
            "CREATE TABLE migrating (nothing UInt8) ENGINE = Memory COMMENT 'process 7 on db1, {since}'"
        )
    };
    database.execute(&[&lock(now - 10)]);
    let error = run(store.prepare(false)).unwrap_err();
    assert!(error.is_retryable(), "{error}");
    assert!(
        error
            .to_string()
            .contains("process 7 on db1 is migrating it, last heard of 1"),
        "{error}"
    );

    database.execute(&["DROP TABLE migrating", &lock(now - 1000)]);
    run(store.prepare(false)).unwrap();
    let left = "SELECT count() FROM system.tables WHERE database = currentDatabase() AND name LIKE 'migrating%'";
    assert_eq!(database.number(left), 0);
}

/// Blocks of 10,000 and 50,000 posts with 1.5 mentions each:
/// `cargo test --lib clickhouse -- --ignored --nocapture insert_speed`.
#[test]
#[ignore = "prints figures, proves nothing"]
fn insert_speed() {
    let Some((database, store)) = prepared() else {
        return;
    };
    let mut start = 0;
    for length in [10_000, 50_000] {
        let mut total = Duration::ZERO;
        for _ in 0..300_000 / length {
            let block = posts_block(start, (start..start + length).map(varied_post).collect());
            let began = std::time::Instant::now();
            run(store.insert(&block)).unwrap();
            total += began.elapsed();
            start += length;
        }
        println!(
            "blocks of {length}: {:.0} posts/s",
            300_000.0 / total.as_secs_f64()
        );
    }
    let bytes =
        "SELECT sum(bytes_on_disk) FROM system.parts WHERE database = currentDatabase() AND active";
    println!("{} bytes a post", database.number(bytes) / start as u64);
}
