//! Blocks: stored once whatever happens, and where partitions stand.

use super::*;

pub async fn a_block_that_was_stored_adds_nothing(subject: &Subject) {
    let store = subject.open().await;
    let block = posts_block(0, (0..5).map(post).collect());
    subject.insert(&*store, &block).await;
    let before = sums(&*store).await;
    subject.insert_again(&*store, &block).await;
    // Others come between.
    let next = posts_block(5, (5..9).map(post).collect());
    subject.insert(&*store, &next).await;
    let after = sums(&*store).await;
    assert_ne!(after, before);
    subject.insert_again(&*store, &block).await;
    subject.insert_again(&*subject.open().await, &next).await;
    assert_eq!(sums(&*store).await, after);
    assert_eq!(rows_of(&*store, "posts").await, 9);
    assert_eq!(rows_of(&*store, "mentions").await, 18);
}

pub async fn positions_tell_the_highest_offsets(subject: &Subject) {
    let store = subject.open().await;
    let own = partition("squall.scored", 0);
    let mut elsewhere = post(2);
    elsewhere.origin.source.partition = 1;
    // Offsets 11 and 13 were left out as repeats.
    let block = Block {
        partition: own.clone(),
        start: 10,
        end: 15,
        rows: Rows::Posts(vec![post(4), elsewhere, post(7)]),
        offsets: vec![10, 12, 14],
    };
    subject.insert(&*store, &block).await;
    let position = store.position(&own).await.unwrap();
    assert_eq!(position.end, 15);
    let sources = [(partition("social", 0), 7), (partition("social", 1), 2)];
    assert_eq!(position.sources, sources.into());

    subject
        .insert(&*store, &posts_block(15, vec![post(8)]))
        .await;
    let position = store.position(&own).await.unwrap();
    assert_eq!(position.end, 16);
    let sources = [(partition("social", 0), 8), (partition("social", 1), 2)];
    assert_eq!(position.sources, sources.into());
    // What came through one partition says nothing of another.
    let other = store.position(&partition("squall.scored", 1)).await;
    assert_eq!(other.unwrap(), StoredPosition::default());
    let mut through_another = posts_block(0, vec![post(0)]);
    through_another.partition.partition = 1;
    subject.insert(&*store, &through_another).await;
    let position = store.position(&through_another.partition).await.unwrap();
    assert_eq!(position.end, 1);
    assert_eq!(position.sources, [(partition("social", 0), 0)].into());
    assert_eq!(rows_of(&*store, "posts").await, 5);
}

pub async fn a_new_epoch_is_no_repeat(subject: &Subject) {
    let store = subject.open().await;
    let first = posts_block(0, vec![post(0), post(1)]);
    let mut second = first.clone();
    second.partition.epoch = "e2".into();
    let Rows::Posts(posts) = &mut second.rows else {
        unreachable!()
    };
    for post in posts {
        post.origin.source.epoch = "e2".into();
    }
    subject.insert(&*store, &first).await;
    subject.insert(&*store, &second).await;
    assert_eq!(all_posts(&*store).await.len(), 4);
}

pub async fn positions_and_rows_outlive_the_process(subject: &Subject) {
    let block = posts_block(40, vec![post(3), post(9)]);
    let before = {
        let store = subject.open().await;
        subject.insert(&*store, &block).await;
        sums(&*store).await
    };
    let store = subject.open().await;
    assert_eq!(sums(&*store).await, before);
    assert_eq!(
        store.position(&block.partition).await.unwrap(),
        StoredPosition {
            end: 42,
            sources: [(partition("social", 0), 9)].into(),
        }
    );
    subject.insert_again(&*store, &block).await;
    let next = posts_block(42, vec![post(10), post(11)]);
    subject.insert(&*store, &next).await;
    assert_eq!(rows_of(&*store, "posts").await, 4);
}

pub async fn rows_of_a_range_are_counted(subject: &Subject) {
    let store = subject.open().await;
    let own = partition("squall.scored", 0);
    let block = Block {
        partition: own.clone(),
        start: 10,
        end: 20,
        rows: Rows::Posts((0..3).map(post).collect()),
        offsets: vec![11, 15, 19],
    };
    subject.insert(&*store, &block).await;
    let counted = async |partition: &SourcePartition, start, end| {
        store.rows_between(partition, start, end).await.unwrap()
    };
    assert_eq!(counted(&own, 10, 20).await, 3);
    assert_eq!(counted(&own, 0, 11).await, 0);
    assert_eq!(counted(&own, 11, 19).await, 2);
    assert_eq!(counted(&own, i64::MIN, i64::MAX).await, 3);
    assert_eq!(counted(&own, 20, 10).await, 0);
    assert_eq!(counted(&partition("squall.scored", 1), 0, 99).await, 0);
    assert_eq!(counted(&partition("squall.alerts", 0), 0, 99).await, 0);
    subject.insert_again(&*store, &block).await;
    assert_eq!(counted(&own, 10, 20).await, 3);
}

pub async fn an_epoch_belongs_to_one_cluster(subject: &Subject) {
    let store = subject.open().await;
    store.claim_epoch("e1", "cluster-a").await.unwrap();
    store.claim_epoch("e1", "cluster-a").await.unwrap();
    store.claim_epoch("e2", "cluster-b").await.unwrap();
    let error = store.claim_epoch("e1", "cluster-b").await.unwrap_err();
    assert!(!error.is_retryable());
    assert_eq!(
        error.to_string(),
        "kafka.epoch 'e1' was stored from cluster cluster-a, this is cluster cluster-b: give each cluster an epoch of its own"
    );
    // It was not taken over.
    let store = subject.open().await;
    store.claim_epoch("e1", "cluster-a").await.unwrap();
    assert!(store.claim_epoch("e2", "cluster-a").await.is_err());
}

pub async fn a_block_of_any_kind_is_stored_once(subject: &Subject) {
    let store = subject.open().await;
    let at = Timestamp::EPOCH;
    let acts = vec![
        feedback("p1"),
        ControlAct::Acknowledge {
            alert_id: "acme".into(),
            by: "ann".into(),
            at,
        },
        ControlAct::DeadLetter {
            origin: post(0).origin,
            settled: Settled::Dropped,
            by: "ann".into(),
            at,
        },
        feedback("p1"),
    ];
    let blocks = [
        block("squall.control", 0, 4, Rows::Control(acts)),
        block(
            "squall.dead",
            0,
            2,
            Rows::DeadLetters(vec![letter(1), letter(2)]),
        ),
        block(
            "squall.alerts",
            0,
            1,
            Rows::Alerts(vec![alert("acme", AlertKind::Opened, 0, 0)]),
        ),
    ];
    for block in &blocks {
        let version = store.version().await.unwrap();
        subject.insert(&*store, block).await;
        assert_ne!(
            store.version().await.unwrap(),
            version,
            "{:?}",
            block.partition
        );
        subject.insert_again(&*store, block).await;
        let position = store.position(&block.partition).await.unwrap();
        assert_eq!(position.end, block.end);
        let rows = store.rows_between(&block.partition, 0, 99).await.unwrap();
        assert_eq!(rows, block.rows.count() as u64);
    }
    let sources = store.position(&blocks[1].partition).await.unwrap().sources;
    assert_eq!(sources, [(partition("social", 0), 2)].into());
    assert_eq!(rows_of(&*store, "feedback").await, 2);
    assert_eq!(rows_of(&*store, "dead_letters").await, 2);
    assert_eq!(rows_of(&*store, "alerts").await, 1);
}

pub async fn rows_without_offsets_are_refused(subject: &Subject) {
    let store = subject.open().await;
    let mut block = posts_block(0, vec![post(0), post(1)]);
    block.offsets.pop();
    let error = store.insert(&block).await.unwrap_err();
    assert!(!error.is_retryable());
    assert!(
        error.to_string().contains("e1:squall.scored:0:0:2"),
        "{error}"
    );
    assert_eq!(rows_of(&*store, "posts").await, 0);
}

pub async fn what_is_not_there_is_empty(subject: &Subject) {
    let store = subject.open().await;
    let (from, to) = all_time();
    let own = partition("squall.scored", 0);
    assert_eq!(store.latest().await.unwrap(), None);
    assert_eq!(
        store.position(&own).await.unwrap(),
        StoredPosition::default()
    );
    let empty = store.version().await.unwrap();
    let nothing = store.insert(&posts_block(0, Vec::new())).await.unwrap();
    assert_eq!(nothing, Inserted::default());
    assert_eq!(store.version().await.unwrap(), empty);

    store.insert(&posts_block(0, vec![post(0)])).await.unwrap();
    assert_ne!(store.version().await.unwrap(), empty);
    let figures = store.campaign(&"nobody's".into(), from, to).await;
    assert_eq!(figures.unwrap(), CampaignFigures::default());
    // The wrong way round.
    assert_eq!(store.entities(to, from).await.unwrap(), []);
    assert_eq!(store.campaigns(to, from).await.unwrap(), []);
    let absent = PostQuery {
        id: Some("post".into()),
        ..PostQuery::default()
    };
    assert_eq!(store.posts(&absent).await.unwrap(), []);
    assert_eq!(store.alerts(&AlertQuery::default()).await.unwrap(), []);
    let letters = store.dead_letters(&DeadLetterQuery::default()).await;
    assert_eq!(letters.unwrap(), []);
    assert!(store.replayed(&[]).await.unwrap().is_empty());
}

pub fn feedback(post_id: &str) -> ControlAct {
    ControlAct::Feedback {
        post_id: post_id.into(),
        entity: None,
        label: Label::Neutral,
        comment: None,
        by: "ann".into(),
        at: Timestamp::EPOCH,
    }
}
