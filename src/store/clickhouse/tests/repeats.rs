//! Blocks that come again, after success, failure, or half of it.

use super::*;
use crate::store::clickhouse::testing::Mortal;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};

/// Posts of many months, each with two mentions and a campaign.
fn many(start: i64, count: i64) -> Block {
    let made = |n: i64| {
        let mut post = post(n);
        post.recorded_at = post.recorded_at - Duration::from_secs(n as u64 % 9 * 40 * 86_400);
        post.author.as_mut().unwrap().id = format!("author-{}", n % 700);
        post
    };
    posts_block(start, (start..start + count).map(made).collect())
}

#[test]
fn a_long_block_is_one_block_and_is_there_once() {
    let Some((database, store)) = prepared() else {
        return;
    };
    let mut block = many(0, 50_000);
    if let crate::store::Rows::Posts(posts) = &mut block.rows {
        // 20 MB.
        let text = "Sharply lower. ".repeat(25);
        posts
            .iter_mut()
            .for_each(|post| post.text.clone_from(&text));
    }
    run(store.insert(&block)).unwrap();
    let once = stored(&database);
    assert_eq!(once[..4], [50_000, 100_000, 100_000, 50_000]);
    run(store.insert(&block)).unwrap();
    run(database.store().insert(&block)).unwrap();
    assert_eq!(stored(&database), once);
}

/// The client gives the insert up somewhere on its way, and makes it again.
#[test]
fn an_insert_that_was_given_up_is_completed() {
    let Some((mut database, store)) = prepared() else {
        return;
    };
    let began = std::time::Instant::now();
    run(store.insert(&many(0, 20_000))).unwrap();
    let usual = began.elapsed();
    let mut given_up = 0;
    for n in 1..8 {
        let block = many(n * 20_000, 20_000);
        database.config.timeout = usual * n as u32 / 7;
        if let Err(error) = run(database.store().insert(&block)) {
            assert!(error.is_retryable(), "{error}");
            given_up += 1;
        }
        run(store.insert(&block)).unwrap();
        let once = stored(&database);
        let posts = (n as u64 + 1) * 20_000;
        assert_eq!(once[..4], [posts, posts * 2, posts * 2, posts]);
        run(store.insert(&block)).unwrap();
        assert_eq!(stored(&database), once);
    }
    assert!(given_up > 0, "none of them took longer than its time");
}

/// The answer is lost after the server has done everything.
#[test]
fn an_insert_whose_answer_is_lost_is_there_once() {
    let Some((mut database, store)) = prepared() else {
        return;
    };
    let muted = mute(&database.config.url);
    let url = std::mem::replace(&mut database.config.url, muted);
    database.config.timeout = Duration::from_secs(2);
    let block = many(0, 100);
    let muted = database.store();
    database.config.url = url;
    let error = run(muted.insert(&block)).unwrap_err();
    assert!(error.is_retryable(), "{error}");
    assert_eq!(database.number("SELECT count() FROM posts"), 100);
    let once = stored(&database);
    run(store.insert(&block)).unwrap();
    assert_eq!(stored(&database), once);
}

/// Address of something that hands requests on, and answers too, but for those to inserts.
fn mute(url: &str) -> String {
    let server = url.trim_start_matches("http://").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let mut to_server = TcpStream::connect(&server).unwrap();
            let mut from_server = to_server.try_clone().unwrap();
            let (mut from_client, mut to_client) = (client.try_clone().unwrap(), client);
            let muted = Arc::new(AtomicBool::new(false));
            let seen = muted.clone();
            std::thread::spawn(move || {
                let mut buffer = [0; 65_536];
                while let Ok(read @ 1..) = from_client.read(&mut buffer) {
                    if buffer[..read].windows(6).any(|text| text == b"INSERT") {
                        seen.store(true, Ordering::SeqCst);
                    }
                    let _ = to_server.write_all(&buffer[..read]);
                }
            });
            std::thread::spawn(move || {
                let mut buffer = [0; 65_536];
                while let Ok(read @ 1..) = from_server.read(&mut buffer) {
                    if !muted.load(Ordering::SeqCst) {
                        let _ = to_client.write_all(&buffer[..read]);
                    }
                }
            });
        }
    });
    format!("http://{address}")
}

/// The insert fails in each of the tables in turn, after others took the block.
#[test]
fn an_insert_that_failed_half_way_is_completed() {
    let Some((database, store)) = prepared() else {
        return;
    };
    for (n, table) in [
        "mentions",
        "entity_minutes",
        "campaign_hours",
        "campaign_contributors",
        "positions",
    ]
    .iter()
    .enumerate()
    {
        let block = many(n as i64 * 100, 100);
        database.execute(&[&format!(
            "ALTER TABLE {table} ADD CONSTRAINT never CHECK length(toString(tuple(*))) < 0"
        )]);
        for _ in 0..2 {
            run(store.insert(&block)).unwrap_err();
        }
        database.execute(&[&format!("ALTER TABLE {table} DROP CONSTRAINT never")]);
        run(store.insert(&block)).unwrap();
        let once = stored(&database);
        let posts = (n as u64 + 1) * 100;
        assert_eq!(once[..4], [posts, posts * 2, posts * 2, posts], "{table}");
        run(store.insert(&block)).unwrap();
        assert_eq!(stored(&database), once, "{table}");
    }
}

/// Tokens outlive the server, as rows do.
#[test]
fn a_block_that_comes_again_after_the_server_was_killed_is_there_once() {
    let folder = tempfile::tempdir().unwrap();
    let blocks = [many(0, 1000), many(1000, 30_000)];
    let Some(server) = Mortal::start(folder.path()) else {
        return;
    };
    let store = ClickHouseStore::new(&server.config).unwrap();
    run(store.prepare(false)).unwrap();
    run(store.insert(&blocks[0])).unwrap();
    // In the midst of the second.
    std::thread::scope(|scope| {
        let inserting = scope.spawn(|| run(store.insert(&blocks[1])));
        std::thread::sleep(Duration::from_millis(150));
        server.kill();
        if let Err(error) = inserting.join().unwrap() {
            assert!(error.is_retryable(), "{error}");
        }
    });

    let server = Mortal::start(folder.path()).unwrap();
    let store = ClickHouseStore::new(&server.config).unwrap();
    run(store.prepare(false)).unwrap();
    for block in &blocks {
        run(store.insert(block)).unwrap();
        run(store.insert(block)).unwrap();
    }
    let counts = run(store.row_counts()).unwrap();
    let of = |table| counts.iter().find(|(name, _)| *name == table).unwrap().1;
    assert_eq!((of("posts"), of("mentions")), (31_000, 62_000));
    let (from, to) = (Timestamp::EPOCH, Timestamp::from_millis(i64::MAX));
    let entities = run(store.entities(from, to)).unwrap();
    assert!(
        entities
            .iter()
            .all(|entity| entity.totals.mentions == 31_000)
    );
    let campaign = run(store.campaign(&"spring".into(), from, to)).unwrap();
    assert_eq!(campaign.total.posts, 31_000);
    server.kill();
}

/// What the promise rests on: without a window, a repeated block is there twice.
#[test]
fn without_its_window_a_table_doubles() {
    let Some((database, store)) = prepared() else {
        return;
    };
    database
        .execute(&["ALTER TABLE mentions MODIFY SETTING non_replicated_deduplication_window = 0"]);
    let block = many(0, 10);
    for _ in 0..2 {
        run(store.insert(&block)).unwrap();
    }
    assert_eq!(stored(&database)[..2], [10, 40]);
}
