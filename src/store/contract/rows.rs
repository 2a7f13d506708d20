//! Rows: posts as they were and as they are asked for, alerts, clusters.

use super::*;

pub async fn posts_read_back_as_they_were_stored(subject: &Subject) {
    let store = subject.open().await;
    let mut bare = post(1);
    bare.author = None;
    bare.engagement = None;
    bare.url = None;
    bare.sentiment = None;
    bare.lang.clear();
    bare.model.clear();
    bare.mentions.clear();
    bare.campaigns.clear();
    bare.tags.clear();
    let mut correction = post(2);
    correction.status = PostStatus::Corrected;
    correction.replaces = Some("post-0".into());
    correction.backfill = true;
    let mut retraction = post(3);
    retraction.status = PostStatus::Retracted;
    retraction.replaces = Some("post-0".into());
    let mut hostile = post(4);
    hostile.text = format!("'); DROP TABLE posts; --\0{}", "🌪️ü".repeat(9000));
    hostile.id = "\0\"' OR 1=1; --".into();
    hostile.channel = "|<script>\u{202e}".into();
    hostile.tags = vec![String::new(), "\u{0}\",".into()];
    hostile.campaigns = vec!["'; DROP TABLE campaign_hours; --\0".into()];
    hostile.mentions = vec![mention(7, "\0 '); DELETE FROM posts; --", Some(NEGATIVE))];

    let mut long_ago = post(5);
    long_ago.recorded_at = at("2011-01-01T00:00:00Z");

    let posts = vec![
        post(0),
        bare,
        correction,
        retraction,
        hostile.clone(),
        long_ago,
    ];
    store.insert(&posts_block(0, posts.clone())).await.unwrap();
    let mut read = all_posts(&*store).await;
    read.reverse();
    assert_eq!(read, posts);

    for query in [
        PostQuery {
            id: Some(hostile.id.clone()),
            ..PostQuery::default()
        },
        PostQuery {
            entity: Some(hostile.mentions[0].entity.clone()),
            ..PostQuery::default()
        },
        PostQuery {
            campaign: Some(hostile.campaigns[0].clone()),
            ..PostQuery::default()
        },
    ] {
        let found = store.posts(&query).await.unwrap();
        assert_eq!(found, [hostile.clone()], "{query:?}");
    }
    let (from, to) = all_time();
    let figures = store.campaign(&hostile.campaigns[0], from, to).await;
    assert_eq!(figures.unwrap().channels[0].0, hostile.channel);
}

pub async fn posts_are_found_by_what_is_asked(subject: &Subject) {
    let store = subject.open().await;
    let mut posts: Vec<_> = (0..6).map(post).collect();
    posts[1].mentions = vec![mention(0, "OTHER", None)];
    posts[2].campaigns.clear();
    posts[3].id = "post-0".into();
    // The same entity twice is still one post.
    posts[4].mentions.push(mention(2, "ACME", None));
    // Late: stored last, but not the latest.
    posts[5].event_time = posts[0].event_time;
    store.insert(&posts_block(0, posts.clone())).await.unwrap();

    let ask = async |query: PostQuery| -> Vec<i64> {
        let found = store.posts(&query).await.unwrap();
        found.iter().map(|post| post.origin.offset).collect()
    };
    let any = || PostQuery {
        limit: 100,
        ..PostQuery::default()
    };
    let entity = Some(EntityId::from("ACME"));
    let campaign = Some(CampaignId::from("spring"));
    let id = Some("post-0".to_owned());
    let before = Some(posts[3].event_time);

    assert_eq!(ask(any()).await, [4, 3, 2, 1, 5, 0]);
    let query = PostQuery { limit: 2, ..any() };
    assert_eq!(ask(query).await, [4, 3]);
    let query = PostQuery { before, ..any() };
    assert_eq!(ask(query).await, [2, 1, 5, 0]);
    let query = PostQuery {
        entity: entity.clone(),
        ..any()
    };
    assert_eq!(ask(query.clone()).await, [4, 3, 2, 5, 0]);
    assert_eq!(ask(PostQuery { limit: 2, ..query }).await, [4, 3]);
    let query = PostQuery {
        campaign: campaign.clone(),
        ..any()
    };
    assert_eq!(ask(query).await, [4, 3, 1, 5, 0]);
    let query = PostQuery {
        entity: entity.clone(),
        campaign: campaign.clone(),
        before,
        ..any()
    };
    assert_eq!(ask(query).await, [5, 0]);
    let query = PostQuery { id, ..any() };
    assert_eq!(ask(query.clone()).await, [3, 0]);
    let query = PostQuery {
        entity,
        campaign,
        before,
        ..query
    };
    assert_eq!(ask(query).await, [0]);
}

pub async fn limits_are_kept_in_bounds(subject: &Subject) {
    let store = subject.open().await;
    let posts: Vec<_> = (0..MAX_ROWS as i64 + 5).map(post).collect();
    store.insert(&posts_block(0, posts)).await.unwrap();
    for (limit, found) in [(0, 1), (1, 1), (usize::MAX, MAX_ROWS)] {
        let query = PostQuery {
            limit,
            ..PostQuery::default()
        };
        assert_eq!(store.posts(&query).await.unwrap().len(), found, "{limit}");
    }
}

pub fn alert(alert_id: &str, kind: AlertKind, revision: u32, seconds: u64) -> AlertMessage {
    let start = at("2026-11-23T09:14:00Z");
    AlertMessage {
        id: message_id(alert_id, kind, revision),
        alert_id: alert_id.into(),
        kind,
        revision,
        at: start + Duration::from_secs(seconds),
        received_at: None,
        rule: "negative-spike".into(),
        entity: alert_id.to_uppercase().as_str().into(),
        severity: Severity::Critical,
        window: SpikeWindow {
            start,
            end: start + Duration::from_secs(60),
        },
        observed: Observed {
            mentions: 41,
            negative: 33,
            sources: 19,
            mean_score: -0.75,
        },
        expected: Expected {
            mentions: 9.25,
            negative: 1.5,
        },
        p_value: 1e-11,
        evidence: vec![Evidence {
            post_id: "p'1".into(),
            title: "Acme \0 recalls".into(),
            url: None,
            score: -0.5,
            copies: 7,
        }],
        model: "squall-mini".into(),
        explanation: None,
    }
}

pub async fn an_alert_is_shown_with_its_latest_message(subject: &Subject) {
    let store = subject.open().await;
    let messages = vec![
        alert("acme", AlertKind::Opened, 0, 0),
        alert("beta", AlertKind::Opened, 0, 10),
        alert("acme", AlertKind::Updated, 1, 20),
    ];
    let delivery = Delivery {
        message_id: messages[0].id.clone(),
        alert_id: "acme".into(),
        endpoint: "desk".into(),
        outcome: Outcome::Failed,
        attempts: 3,
        status: Some(503),
        error: "503 Service Unavailable".into(),
        first_attempt_at: messages[0].at,
        ended_at: messages[2].at,
    };
    let acknowledge = |by: &str, seconds| ControlAct::Acknowledge {
        alert_id: "acme".into(),
        by: by.into(),
        at: at("2026-11-23T10:00:00Z") + Duration::from_secs(seconds),
    };
    // An acknowledgement may be stored before the alert; the first by its own time counts.
    let acts = vec![
        acknowledge("ben", 9),
        acknowledge("ann", 5),
        acknowledge("cat", 7),
    ];
    let blocks = [
        block("squall.control", 0, 3, Rows::Control(acts)),
        block("squall.alerts", 0, 3, Rows::Alerts(messages.clone())),
        block(
            "squall.deliveries",
            0,
            1,
            Rows::Deliveries(vec![delivery.clone()]),
        ),
        // Sent again under new offsets, after a restart of who wrote them.
        block("squall.alerts", 3, 3, Rows::Alerts(messages.clone())),
        block(
            "squall.deliveries",
            1,
            1,
            Rows::Deliveries(vec![delivery.clone()]),
        ),
    ];
    for block in &blocks {
        store.insert(block).await.unwrap();
    }

    let any = AlertQuery {
        limit: 10,
        ..AlertQuery::default()
    };
    let rows = store.alerts(&any).await.unwrap();
    let acme = AlertRow {
        opened_at: messages[0].at,
        latest: messages[2].clone(),
        acknowledged: Some(("ann".into(), at("2026-11-23T10:00:05Z"))),
        deliveries: vec![delivery],
    };
    let beta = AlertRow {
        opened_at: messages[1].at,
        latest: messages[1].clone(),
        acknowledged: None,
        deliveries: Vec::new(),
    };
    assert_eq!(rows, [acme.clone(), beta.clone()]);
    let one = AlertQuery {
        limit: 0,
        ..AlertQuery::default()
    };
    assert_eq!(store.alerts(&one).await.unwrap().len(), 1);
    let by_entity = AlertQuery {
        entity: Some("BETA".into()),
        ..any.clone()
    };
    assert_eq!(store.alerts(&by_entity).await.unwrap(), [beta]);
    let by_id = AlertQuery {
        alert_id: Some("acme".into()),
        ..any
    };
    assert_eq!(store.alerts(&by_id).await.unwrap(), [acme]);
}

pub async fn clusters_and_feedback_are_counted(subject: &Subject) {
    let store = subject.open().await;
    let cluster = |ordinal, novelty| MentionCluster {
        origin: post(1).origin,
        ordinal,
        entity: "ACME".into(),
        event_time: post(1).event_time,
        cluster: "e1:social:0:0".into(),
        novelty,
    };
    let rows = Rows::Clusters(vec![cluster(0, 1.0), cluster(1, 0.0)]);
    let first = block("squall.clusters", 0, 2, rows);
    store.insert(&first).await.unwrap();
    let again = block(
        "squall.clusters",
        2,
        1,
        Rows::Clusters(vec![cluster(0, 0.5)]),
    );
    store.insert(&again).await.unwrap();
    assert_eq!(rows_of(&*store, "mention_clusters").await, 2);
    assert_eq!(rows_of(&*store, "feedback").await, 0);
}
