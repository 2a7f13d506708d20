//! Blocks: what is a repeat, what is refused, and where a partition stands.

use super::*;

pub fn a_block_that_was_stored_adds_nothing(fresh: Fresh) {
    run(async {
        let open = fresh();
        let store = open();
        let block = posts_block(0, (0..5).map(post).collect());
        assert_eq!(store.insert(&block).await.unwrap(), inserted(5, 0));
        let before = sums(&*store).await;
        assert_eq!(store.insert(&block).await.unwrap(), inserted(0, 5));
        let part = posts_block(1, (1..3).map(post).collect());
        assert_eq!(store.insert(&part).await.unwrap(), inserted(0, 2));
        assert_eq!(sums(&*store).await, before);
        assert_eq!(rows_of(&*store, "posts").await, 5);
        assert_eq!(rows_of(&*store, "mentions").await, 10);
    });
}

pub fn posts_at_or_below_the_highest_offset_are_repeats(fresh: Fresh) {
    run(async {
        let open = fresh();
        let store = open();
        let in_block = posts_block(0, [0, 1, 1, 0, 4, 3].map(post).to_vec());
        assert_eq!(store.insert(&in_block).await.unwrap(), inserted(3, 3));
        // Begins before the stored end, ends behind it.
        let overlapping = posts_block(2, [1, 0, 4, 3, 4, 5].map(post).to_vec());
        assert_eq!(store.insert(&overlapping).await.unwrap(), inserted(1, 5));

        let mut elsewhere = post(2);
        elsewhere.origin.source.partition = 1;
        let mixed = posts_block(8, vec![post(5), elsewhere]);
        assert_eq!(store.insert(&mixed).await.unwrap(), inserted(1, 1));

        let mut offsets: Vec<_> = all_posts(&*store)
            .await
            .iter()
            .map(|post| (post.origin.source.partition, post.origin.offset))
            .collect();
        offsets.sort_unstable();
        assert_eq!(offsets, [(0, 0), (0, 1), (0, 4), (0, 5), (1, 2)]);
        let position = store.position(&partition("squall.scored", 0)).await;
        assert_eq!(
            position.unwrap(),
            StoredPosition {
                end: 10,
                sources: [(partition("social", 0), 5), (partition("social", 1), 2)].into(),
            }
        );
        // What came through one partition says nothing of another.
        let mut through_another = posts_block(0, vec![post(0)]);
        through_another.partition.partition = 1;
        assert_eq!(
            store.insert(&through_another).await.unwrap(),
            inserted(1, 0)
        );
    });
}

pub fn dead_letters_are_stored_once(fresh: Fresh) {
    run(async {
        let open = fresh();
        let store = open();
        let letter = |offset| DeadLetter {
            origin: post(offset).origin,
            recorded_at: post(offset).recorded_at,
            rejected_at: post(offset).received_at,
            reason: "not_json".into(),
            detail: "it does not begin with '{'".into(),
            key: None,
            payload: "bm90IGpzb24=".into(),
            headers: vec![("trace".into(), "MQ==".into())],
        };
        let letters = |start, offsets: &[i64]| {
            let rows = offsets.iter().copied().map(letter).collect();
            block("squall.dead", start, offsets.len(), Rows::DeadLetters(rows))
        };
        assert_eq!(
            store.insert(&letters(0, &[7, 8])).await.unwrap(),
            inserted(2, 0)
        );
        assert_eq!(
            store.insert(&letters(1, &[8, 7, 8, 9])).await.unwrap(),
            inserted(1, 3)
        );
        assert_eq!(rows_of(&*store, "dead_letters").await, 3);
    });
}

pub fn a_block_that_cannot_be_divided_is_refused(fresh: Fresh) {
    run(async {
        let open = fresh();
        let store = open();
        let acts = |start, count| {
            let act = ControlAct::Feedback {
                post_id: "p".into(),
                entity: None,
                label: Label::Neutral,
                comment: None,
                by: "ann".into(),
                at: Timestamp::EPOCH,
            };
            block(
                "squall.control",
                start,
                count,
                Rows::Control(vec![act; count]),
            )
        };
        assert_eq!(store.insert(&acts(0, 3)).await.unwrap(), inserted(3, 0));
        let error = store.insert(&acts(2, 3)).await.unwrap_err();
        assert!(
            error
                .to_string()
                .contains("squall.control:0:2..5 begins before 3"),
            "{error}"
        );
        assert!(!error.is_retryable());
        assert_eq!(rows_of(&*store, "feedback").await, 3);
        // A gap is none of the store's business.
        assert_eq!(store.insert(&acts(9, 1)).await.unwrap(), inserted(1, 0));
    });
}

pub fn a_new_epoch_is_no_repeat(fresh: Fresh) {
    run(async {
        let open = fresh();
        let store = open();
        let first = posts_block(0, vec![post(0), post(1)]);
        let mut second = first.clone();
        second.partition.epoch = "e2".into();
        let Rows::Posts(posts) = &mut second.rows else {
            unreachable!()
        };
        for post in posts {
            post.origin.source.epoch = "e2".into();
        }
        assert_eq!(store.insert(&first).await.unwrap(), inserted(2, 0));
        assert_eq!(store.insert(&second).await.unwrap(), inserted(2, 0));
        assert_eq!(all_posts(&*store).await.len(), 4);
    });
}

pub fn positions_and_rows_outlive_the_process(fresh: Fresh) {
    run(async {
        let open = fresh();
        let block = posts_block(40, vec![post(3), post(9)]);
        let before = {
            let store = open();
            store.insert(&block).await.unwrap();
            sums(&*store).await
        };
        let store = open();
        assert_eq!(sums(&*store).await, before);
        assert_eq!(
            store.position(&block.partition).await.unwrap(),
            StoredPosition {
                end: 42,
                sources: [(partition("social", 0), 9)].into(),
            }
        );
        assert_eq!(store.insert(&block).await.unwrap(), inserted(0, 2));
        let next = posts_block(42, vec![post(9), post(10)]);
        assert_eq!(store.insert(&next).await.unwrap(), inserted(1, 1));
    });
}

pub fn what_is_not_there_is_empty(fresh: Fresh) {
    run(async {
        let open = fresh();
        let store = open();
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
    });
}
