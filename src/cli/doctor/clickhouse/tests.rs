//! Made-up facts, and a server.

use super::*;
use crate::store::clickhouse::testing::Database;

fn setting(value: &str, is_fixed: bool) -> Setting {
    Setting {
        value: value.into(),
        is_fixed,
    }
}

/// As ClickHouse 26.2 has them when nobody changed anything.
fn defaults() -> BTreeMap<String, Setting> {
    let defaults = [
        ("readonly", "0"),
        ("async_insert", "1"),
        ("insert_deduplicate", "1"),
        ("deduplicate_insert", "enable"),
        ("deduplicate_blocks_in_dependent_materialized_views", "1"),
        ("materialized_views_ignore_errors", "0"),
        ("parallel_view_processing", "0"),
        ("max_partitions_per_insert_block", "100"),
    ];
    let defaults = defaults.map(|(name, value)| (name.to_owned(), setting(value, false)));
    defaults.into_iter().collect()
}

fn facts() -> ClickHouseFacts {
    ClickHouseFacts {
        place: "http://db:8123/squall".into(),
        server: "25.8.1.1".into(),
        user: "squall".into(),
        clock_ahead: 3,
        schema: 1,
        newest: 1,
        tables: Some(Ok(())),
        refused: Some(Vec::new()),
        settings: Ok(defaults()),
        disks: Ok(vec![Disk {
            name: "default".into(),
            free: 100 * GIGABYTE,
            total: 200 * GIGABYTE,
        }]),
        in_cluster: None,
        replicas: Ok(Vec::new()),
    }
}

/// What is found besides that all is well.
fn found(change: impl FnOnce(&mut ClickHouseFacts)) -> Vec<(Level, String)> {
    let mut facts = facts();
    change(&mut facts);
    let findings = judge(&facts, true).into_iter();
    let findings = findings.filter(|finding| finding.level != Level::Ok);
    findings
        .map(|finding| (finding.level, finding.to_string()))
        .collect()
}

fn one(change: impl FnOnce(&mut ClickHouseFacts)) -> (Level, String) {
    let mut found = found(change);
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

fn set(name: &str, value: &str, is_fixed: bool) -> Vec<(Level, String)> {
    found(|facts| {
        let settings = facts.settings.as_mut().unwrap();
        settings.insert(name.into(), setting(value, is_fixed));
    })
}

#[test]
fn a_server_as_it_should_be_has_nothing_to_be_found() {
    assert_eq!(found(|_| {}), []);
}

#[test]
fn a_profile_that_breaks_exactly_once_is_an_error_unless_squall_overrules_it() {
    for (name, value) in [
        ("async_insert", "1"),
        ("insert_deduplicate", "0"),
        ("deduplicate_insert", "disable"),
        ("deduplicate_blocks_in_dependent_materialized_views", "0"),
        ("materialized_views_ignore_errors", "1"),
    ] {
        let found = set(name, value, true);
        assert_eq!(found[0].0, Level::Error, "{name}");
        assert!(found[0].1.contains(name), "{found:?}");
        assert_eq!(set(name, value, false), [], "{name}");
    }
    assert_eq!(set("readonly", "2", false)[0].0, Level::Error);
    assert_eq!(
        set("max_partitions_per_insert_block", "10", false)[0].0,
        Level::Error
    );
    assert_eq!(
        set("max_partitions_per_insert_block", "0", false),
        [],
        "no limit"
    );
    let older = found(|facts| {
        drop(
            facts
                .settings
                .as_mut()
                .unwrap()
                .remove("deduplicate_insert"),
        )
    });
    assert_eq!(older, [], "a server that does not know it");
}

#[test]
fn what_is_missing_or_altered_is_an_error_with_its_remedy() {
    assert_eq!(one(|facts| facts.server = "24.3.5".into()).0, Level::Error);
    assert_eq!(one(|facts| facts.clock_ahead = -90_000).0, Level::Error);
    let newer = one(|facts| {
        facts.schema = 2;
        facts.tables = None;
    });
    assert!(
        newer.0 == Level::Error && newer.1.contains("newer squall"),
        "{newer:?}"
    );
    let altered = one(|facts| {
        facts.tables = Some(Err(StoreError::Unusable {
            place: "db".into(),
            problem: "table posts: column text is missing: add it".into(),
        }));
    });
    assert!(
        altered.0 == Level::Error && altered.1.ends_with("add it"),
        "{altered:?}"
    );
    let refused = one(|facts| {
        let error = StoreError::Unusable {
            place: "db".into(),
            problem: "Not enough privileges: grant it to clickhouse.user".into(),
        };
        facts.refused = Some(vec![("write posts".into(), error)]);
    });
    assert!(
        refused.1.contains("user squall cannot write posts"),
        "{refused:?}"
    );
}

#[test]
fn a_database_without_tables_is_fine_where_squall_makes_them() {
    let bare = |migrates| {
        let mut facts = facts();
        facts.schema = 0;
        (facts.tables, facts.refused) = (None, None);
        let findings = judge(&facts, migrates);
        findings.iter().map(|finding| finding.level).max().unwrap()
    };
    assert_eq!(bare(true), Level::NotChecked);
    assert_eq!(bare(false), Level::Error);
}

#[test]
fn disks_and_replicas_are_judged() {
    let disk = |free| one(|facts| facts.disks.as_mut().unwrap()[0].free = free).0;
    assert_eq!(disk(GIGABYTE / 2), Level::Error);
    assert_eq!(disk(15 * GIGABYTE), Level::Warning);
    let replica = |is_readonly, delay| Replica {
        table: "posts".into(),
        is_readonly,
        delay,
    };
    let cluster = |known: bool, replica: Replica| {
        found(|facts| {
            facts.in_cluster = Some(Ok(known));
            facts.replicas = Ok(vec![replica]);
        })
    };
    assert_eq!(cluster(true, replica(false, 0)), []);
    assert_eq!(cluster(false, replica(false, 0))[0].0, Level::Error);
    assert_eq!(cluster(true, replica(true, 0))[0].0, Level::Error);
    assert_eq!(cluster(true, replica(false, 900))[0].0, Level::Warning);
}

#[tokio::test]
async fn a_server_is_looked_at_before_and_after_its_tables_are_made_and_altered() {
    let Some(database) = Database::fresh() else {
        return;
    };
    let mut config = crate::config::load(None, std::iter::empty()).unwrap();
    config.clickhouse = database.config.clone();
    let worst = |findings: &[Finding]| findings.iter().map(|finding| finding.level).max();
    let before = check(&config).await;
    assert_eq!(worst(&before), Some(Level::NotChecked), "{before:?}");

    database.store().migrate().await.unwrap();
    let after = check(&config).await;
    let wrong =
        |finding: &&Finding| !finding.is_fine() && !finding.message.contains("free on disk");
    assert_eq!(after.iter().find(wrong), None);
    let said = |text: &str| after.iter().any(|finding| finding.message.contains(text));
    assert!(
        said("may read and write every table") && said("schema version"),
        "{after:?}"
    );

    database.execute(&[
        "ALTER TABLE entity_minutes MODIFY SETTING non_replicated_deduplication_window = 10",
    ]);
    let altered = check(&config).await;
    let error = altered
        .iter()
        .find(|finding| finding.level == Level::Error)
        .unwrap();
    assert!(error.message.contains("entity_minutes"), "{error}");
    assert_eq!(database.number("SELECT count() FROM posts"), 0);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_one_error() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut config = crate::config::load(None, std::iter::empty()).unwrap();
    config.clickhouse.url = format!("http://{address}");
    let findings = check(&config).await;
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].level, Level::Error);
    assert!(
        findings[0].message.contains("clickhouse.url"),
        "{findings:?}"
    );
}
