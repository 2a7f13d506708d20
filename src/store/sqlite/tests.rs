//! The contract, and what only SQLite can do wrong.

use super::*;
use crate::store::contract::{Subject, contract_tests, post, posts_block, run, varied_post};
use std::os::unix::fs::PermissionsExt;
use tempfile::TempDir;

/// A new database in a folder that lives as long as what opens it.
fn fresh() -> Option<Subject> {
    let folder = tempfile::tempdir().unwrap();
    let all_time = (
        Timestamp::from_millis(i64::MIN),
        Timestamp::from_millis(i64::MAX),
    );
    Some(Subject {
        open: Box::new(move || {
            Box::new(SqliteStore::open(&folder.path().join("squall.db")).unwrap())
        }),
        fresh,
        times: all_time,
        steps: all_time,
        tells_repeats: true,
        cases: 48,
    })
}

contract_tests!(fresh);

fn database() -> (TempDir, PathBuf, SqliteStore) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("squall.db");
    let store = SqliteStore::open(&path).unwrap();
    (folder, path, store)
}

fn refused(path: &Path) -> StoreError {
    let error = SqliteStore::open(path).err().expect("it opened");
    assert!(error.to_string().contains(&path.display().to_string()));
    error
}

fn posts(store: &SqliteStore) -> u64 {
    run(store.row_counts()).unwrap()[0].1
}

#[test]
fn what_is_below_the_stored_end_adds_nothing_and_what_crosses_it_is_refused() {
    let (_folder, _path, store) = database();
    run(async {
        let block = posts_block(10, (0..5).map(post).collect());
        store.insert(&block).await.unwrap();
        let part = posts_block(11, (0..3).map(post).collect());
        assert_eq!(store.insert(&part).await.unwrap().rows, 0);
        let crossing = posts_block(14, (4..7).map(post).collect());
        let error = store.insert(&crossing).await.unwrap_err();
        assert!(!error.is_retryable());
        assert!(
            error
                .to_string()
                .contains("squall.scored:0:14..17 begins before 15"),
            "{error}"
        );
        // A gap is none of the store's business; its end is known to the offset.
        let mut behind = posts_block(20, vec![post(7)]);
        behind.end = 25;
        store.insert(&behind).await.unwrap();
        let position = store.position(&behind.partition).await.unwrap();
        assert_eq!(position.end, 25);
    });
    assert_eq!(posts(&store), 6);
}

/// A database as squall's first version left it.
#[test]
fn a_database_of_version_1_is_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("squall.db");
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch(schema::TABLES).unwrap();
    connection
        .execute_batch(
            "INSERT INTO posts VALUES (1, 'e1', 'social', 0, 7, 0, 0, 0, 0, 'm', 0, 'old', 'social', 'forum', 'Acme', '',
             NULL, 'en', NULL, NULL, NULL, NULL, NULL, NULL, '[]', '[]', 'live', NULL, 0, 0, NULL, NULL, NULL);
             INSERT INTO dead_letters VALUES ('e1', 'social', 0, 3, 0, 5, 'not_json', '', NULL, '', '[]');
             INSERT INTO acknowledgements VALUES ('acme', 'ann', 5);
             INSERT INTO positions VALUES ('e1', 'squall.scored', 0, 8);
             PRAGMA application_id = 0x7371756c; PRAGMA user_version = 1;",
        )
        .unwrap();
    drop(connection);
    let (store, versions) = SqliteStore::migrate(&path).unwrap();
    assert_eq!(versions, 1..3);
    run(async {
        let block = posts_block(8, vec![post(8)]);
        store.insert(&block).await.unwrap();
        assert_eq!(store.position(&block.partition).await.unwrap().end, 9);
        let old = PostQuery {
            id: Some("old".into()),
            ..PostQuery::default()
        };
        assert_eq!(store.posts(&old).await.unwrap().len(), 1);
        let letters = store.dead_letters(&DeadLetterQuery::default()).await;
        assert_eq!(letters.unwrap().len(), 1);
        let own = &block.partition;
        assert_eq!(store.rows_between(own, 0, 99).await.unwrap(), 1);
    });
    drop(store);
    assert!(SqliteStore::migrate(&path).unwrap().1.is_empty());
}

#[test]
fn folders_are_made_and_only_the_owner_reads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/down/squall.db");
    let store = SqliteStore::open(&path).unwrap();
    run(store.insert(&posts_block(0, vec![post(0)]))).unwrap();
    for file in fs::read_dir(path.parent().unwrap()).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file:?}");
    }
}

#[test]
fn what_is_no_store_of_squall_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("notes.txt");
    fs::write(&text, "These are my notes. ".repeat(100)).unwrap();
    let error = refused(&text);
    assert!(error.to_string().contains("another file") && !error.is_retryable());
    assert_eq!(fs::read(&text).unwrap().len(), 2000);

    let foreign = folder.path().join("foreign.db");
    let connection = Connection::open(&foreign).unwrap();
    connection
        .execute_batch("CREATE TABLE posts (mine TEXT)")
        .unwrap();
    let before = fs::read(&foreign).unwrap();
    let error = refused(&foreign);
    assert!(error.to_string().contains("another program") && !error.is_retryable());
    assert_eq!(fs::read(&foreign).unwrap(), before);

    let beneath_a_file = text.join("squall.db");
    assert!(refused(&beneath_a_file).to_string().contains("store.path"));
    assert!(refused(folder.path()).to_string().contains("store.path"));
}

#[test]
fn a_newer_database_is_refused() {
    let (_folder, path, store) = database();
    drop(store);
    let connection = Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    assert!(matches!(
        refused(&path),
        StoreError::Newer {
            found: 99,
            known: 3,
            ..
        }
    ));
}

#[test]
fn a_locked_database_can_be_tried_again() {
    let (_folder, path, store) = database();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    lock(&store.shared.writer)
        .busy_timeout(Duration::ZERO)
        .unwrap();
    let block = posts_block(0, vec![post(0)]);
    let error = run(store.insert(&block)).unwrap_err();
    assert!(error.is_retryable(), "{error}");
    assert!(error.to_string().contains("another process"), "{error}");
    assert_eq!(posts(&store), 0);
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(run(store.insert(&block)).unwrap().rows, 1);
}

#[test]
fn a_full_disk_stores_nothing_and_can_be_tried_again() {
    let (_folder, _path, store) = database();
    let limit = |pages: i64| {
        let writer = lock(&store.shared.writer);
        writer
            .pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
            .unwrap();
    };
    run(store.insert(&posts_block(0, vec![post(0)]))).unwrap();
    limit(40);
    let block = posts_block(1, (1..5000).map(post).collect());
    let error = run(store.insert(&block)).unwrap_err();
    assert!(error.is_retryable(), "{error}");
    assert!(error.to_string().contains("free some space"), "{error}");
    assert_eq!(posts(&store), 1);
    limit(1 << 30);
    assert_eq!(run(store.insert(&block)).unwrap().rows, 4999);
}

#[test]
fn a_block_that_fails_in_the_middle_leaves_nothing() {
    let (_folder, path, store) = database();
    let other = Connection::open(&path).unwrap();
    let block = posts_block(0, (0..10).map(post).collect());
    for table in [
        "mentions",
        "campaign_posts",
        "campaign_contributors",
        "positions",
        "version",
    ] {
        let event = if table == "version" {
            "UPDATE"
        } else {
            "INSERT"
        };
        other
            .execute_batch(&format!(
                "CREATE TRIGGER fail BEFORE {event} ON {table} BEGIN SELECT RAISE(ABORT, 'broken on purpose'); END"
            ))
            .unwrap();
        let error = run(store.insert(&block)).unwrap_err();
        assert!(error.to_string().contains("broken on purpose"), "{error}");
        let counts = run(store.row_counts()).unwrap();
        assert!(
            counts.iter().all(|(_, rows)| *rows == 0),
            "{table}: {counts:?}"
        );
        assert_eq!(run(store.position(&block.partition)).unwrap().end, 0);
        other.execute_batch("DROP TRIGGER fail").unwrap();
    }
    assert_eq!(run(store.insert(&block)).unwrap().rows, 10);
}

/// The files as a crash would leave them, with a block written but not committed.
#[test]
fn a_crash_before_the_commit_leaves_nothing() {
    let (folder, path, store) = database();
    let block = posts_block(0, (0..2000).map(post).collect());
    let crashed = |name: &str| {
        let copy = folder.path().join(name);
        for ending in ["", "-wal"] {
            let name = |path: &Path| format!("{}{ending}", path.display());
            fs::copy(name(&path), name(&copy)).unwrap();
        }
        SqliteStore::open(&copy).unwrap()
    };
    {
        let mut writer = lock(&store.shared.writer);
        // So that pages go to the log before the commit.
        writer.pragma_update(None, "cache_size", 10).unwrap();
        let transaction = writer.transaction().unwrap();
        write::block(&transaction, &block).unwrap();
        let store = crashed("before.db");
        assert_eq!(posts(&store), 0);
        assert_eq!(run(store.position(&block.partition)).unwrap().end, 0);
        assert_eq!(run(store.insert(&block)).unwrap().rows, 2000);
        transaction.commit().unwrap();
    }
    let store = crashed("after.db");
    assert_eq!(posts(&store), 2000);
    assert_eq!(run(store.insert(&block)).unwrap().rows, 0);
}

#[test]
fn writes_of_another_process_are_seen() {
    let (_folder, path, store) = database();
    let other = SqliteStore::open(&path).unwrap();
    let before = run(store.version()).unwrap();
    run(other.insert(&posts_block(0, vec![post(0)]))).unwrap();
    assert_ne!(run(store.version()).unwrap(), before);
    assert_eq!(posts(&store), 1);
}

#[test]
fn many_may_read_while_one_writes() {
    let (_folder, _path, store) = database();
    let store = &store;
    run(async {
        let blocks: Vec<_> = (0..5)
            .map(|n| posts_block(n * 50, (n * 50..n * 50 + 50).map(post).collect()))
            .collect();
        let writing = async {
            for block in &blocks {
                store.insert(block).await.unwrap();
            }
        };
        let reading = futures::future::join_all((0..40).map(async |_| {
            let counts = store.row_counts().await.unwrap();
            assert_eq!(counts[0].1 * 2, counts[1].1, "a block seen in part");
        }));
        futures::join!(writing, reading);
    });
    assert_eq!(posts(store), 250);
    assert!(lock(&store.shared.readers).len() <= READERS);
}

/// 100,000 posts with 1.5 mentions each: `cargo test --lib -- --ignored --nocapture insert_speed`.
#[test]
#[ignore = "prints figures, proves nothing"]
fn insert_speed() {
    let (_folder, path, store) = database();
    let mut slowest = Duration::ZERO;
    let mut total = Duration::ZERO;
    for start in (0..100_000).step_by(5000) {
        let block = posts_block(start, (start..start + 5000).map(varied_post).collect());
        let began = std::time::Instant::now();
        run(store.insert(&block)).unwrap();
        slowest = slowest.max(began.elapsed());
        total += began.elapsed();
    }
    drop(store);
    let bytes = fs::metadata(&path).unwrap().len();
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap();
    println!(
        "{:.0} posts/s, {:.0} rows/s, slowest block {slowest:?}, {} bytes a post, {peak}",
        100_000.0 / total.as_secs_f64(),
        250_000.0 / total.as_secs_f64(),
        bytes / 100_000,
    );
}
