//! Blocks that come again, after success, failure, or half of it.

use super::*;

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

/// The answer never comes: the insert is given up by the client, and made again.
#[test]
fn an_insert_that_was_given_up_is_completed() {
    let Some((mut database, store)) = prepared() else {
        return;
    };
    let block = many(0, 30_000);
    for milliseconds in [1, 5, 20, 60, 120, 250] {
        database.config.timeout = Duration::from_millis(milliseconds);
        if let Err(error) = run(database.store().insert(&block)) {
            assert!(error.is_retryable(), "{error}");
        }
    }
    run(store.insert(&block)).unwrap();
    let once = stored(&database);
    assert_eq!(once[..4], [30_000, 60_000, 60_000, 30_000]);
    run(store.insert(&block)).unwrap();
    assert_eq!(stored(&database), once);
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
