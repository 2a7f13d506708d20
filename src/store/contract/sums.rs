//! Aggregates at the edges: of time, of numbers, of steps.

use super::*;

pub async fn times_of_1970_and_9999_are_found(subject: &Subject) {
    let store = subject.open().await;
    let (earliest, latest) = subject.times;
    let times = [
        earliest,
        at("1970-01-01T00:00:00Z"),
        at("2026-11-23T09:14:00Z"),
        latest,
    ];
    let mut posts: Vec<_> = (0..4).map(post).collect();
    for (post, time) in posts.iter_mut().zip(times) {
        post.event_time = time;
        post.published_at = time;
    }
    // What lies beyond is kept as near as can be.
    let (first, last) = all_time();
    let mut beyond = posts.clone();
    (beyond[0].event_time, beyond[0].published_at) = (first, first);
    (beyond[3].event_time, beyond[3].published_at) = (last, last);
    store.insert(&posts_block(0, beyond)).await.unwrap();
    posts.reverse();
    assert_eq!(all_posts(&*store).await, posts);
    assert_eq!(store.latest().await.unwrap(), Some(latest));

    let acme = EntityId::from("ACME");
    let hour = Duration::from_secs(3600);
    let step = |time: Timestamp| time.clamp(subject.steps.0, subject.steps.1).floor(hour);
    for time in times {
        let to = time + Duration::from_millis(1);
        // Nothing begins at the last instant, so the interval that ends there holds the minute before it.
        let points = store.timeline(&acme, time, to, hour).await.unwrap();
        assert_eq!(points.len(), 1, "{time}");
        assert_eq!(points[0].start, step(time));
        assert_eq!(store.entities(time, to).await.unwrap().len(), 2, "{time}");
        let figures = store.campaign(&"spring".into(), time, to).await.unwrap();
        let there = times.iter().filter(|other| step(**other) == step(time));
        assert_eq!(figures.total.posts, there.count() as u64, "{time}");
        assert_eq!(figures.hours[0].0, step(time));
    }
    let points = store.timeline(&acme, earliest, latest, hour).await.unwrap();
    assert_eq!(points.len(), BTreeSet::from(times.map(step)).len());
}

pub async fn no_number_from_outside_poisons_the_sums(subject: &Subject) {
    let store = subject.open().await;
    let mut posts: Vec<_> = (0..4).map(post).collect();
    let broken = Sentiment {
        negative: f32::NAN,
        neutral: f32::INFINITY,
        positive: 0.0,
    };
    posts[0].sentiment = Some(broken);
    posts[0].mentions = vec![mention(0, "ACME", Some(broken))];
    posts[0].mentions[0].relevance = f32::NAN;
    for (post, followers) in posts.iter_mut().zip([u64::MAX, 7, u64::MAX, 1]) {
        post.author.as_mut().unwrap().followers = Some(followers);
        post.engagement = Some(Engagement {
            impressions: Some(u64::MAX),
            likes: Some(u64::MAX),
            shares: Some(u64::MAX),
            comments: None,
        });
    }
    // Two blocks, so that sums meet what is stored.
    let second = posts.split_off(2);
    store.insert(&posts_block(0, posts)).await.unwrap();
    store.insert(&posts_block(2, second)).await.unwrap();

    let (from, to) = all_time();
    let entities = store.entities(from, to).await.unwrap();
    let acme = &entities[0];
    assert_eq!((acme.entity.as_str(), acme.totals.mentions), ("ACME", 4));
    assert_eq!(acme.totals.scored, 3);
    assert_eq!(acme.totals.mean_score(), Some(-0.625));
    let figures = store.campaign(&"spring".into(), from, to).await.unwrap();
    let total = figures.total;
    assert_eq!((total.posts, total.scored, total.contributors), (4, 3, 3));
    assert_eq!(total.sums.negative, 2.25);
    assert!(total.impressions >= 1 << 53);
    assert!(total.potential_audience >= 1 << 53);
    assert!(total.engagement.likes >= Some(1 << 53));
    assert_eq!(total.engagement.comments, None);
    assert_eq!(all_posts(&*store).await.len(), 4);
}

pub async fn steps_of_a_timeline_are_whole_minutes(subject: &Subject) {
    let store = subject.open().await;
    let start = at("2026-11-23T09:00:00Z");
    let mut posts: Vec<_> = (0..4).map(post).collect();
    for (post, seconds) in posts.iter_mut().zip([0, 59, 61, 3600]) {
        post.event_time = start + Duration::from_secs(seconds);
    }
    store.insert(&posts_block(0, posts)).await.unwrap();
    let acme = EntityId::from("ACME");
    let steps = async |from: u64, to: u64, step: Duration| -> Vec<(u64, u64)> {
        let (from, to) = (
            start + Duration::from_secs(from),
            start + Duration::from_secs(to),
        );
        let points = store.timeline(&acme, from, to, step).await.unwrap();
        let told =
            |point: &TimelinePoint| (point.start.since(start).as_secs(), point.totals.mentions);
        points.iter().map(told).collect()
    };
    let minute = Duration::from_secs(60);
    assert_eq!(steps(0, 3601, minute).await, [(0, 2), (60, 1), (3600, 1)]);
    assert_eq!(steps(0, 3600, minute).await, [(0, 2), (60, 1)]);
    // Bounds widen to whole minutes, steps are rounded up to them.
    assert_eq!(steps(30, 61, Duration::ZERO).await, [(0, 2), (60, 1)]);
    assert_eq!(steps(61, 90, minute).await, [(60, 1)]);
    let step = Duration::from_secs(61);
    assert_eq!(steps(0, 3600, step).await, [(0, 3)]);
    assert_eq!(steps(0, 7200, Duration::MAX).await.len(), 1);
}

pub async fn timelines_of_all_entities_count_from_their_beginning(subject: &Subject) {
    let store = subject.open().await;
    let start = at("2026-11-23T09:07:00Z");
    let seconds = |seconds: u64| start + Duration::from_secs(seconds);
    let mut posts: Vec<_> = (0..6).map(post).collect();
    for (post, time) in posts.iter_mut().zip([0, 899, 900, 1799, 3600, 4500]) {
        post.event_time = seconds(time);
    }
    posts[3].mentions.truncate(1);
    posts[5].mentions[0].entity = "LATE".into();
    store.insert(&posts_block(0, posts)).await.unwrap();
    let told = async |from: Timestamp, to: Timestamp, step: Duration| {
        let timelines = store.timelines(from, to, step).await.unwrap();
        let points = |timeline: &EntityTimeline| -> Vec<(u64, u64)> {
            let point =
                |point: &TimelinePoint| (point.start.since(start).as_secs(), point.totals.mentions);
            timeline.points.iter().map(point).collect()
        };
        timelines
            .iter()
            .map(|timeline| (timeline.entity.to_string(), points(timeline)))
            .collect::<Vec<_>>()
    };
    let quarter = Duration::from_secs(900);
    let acme = ("ACME".to_owned(), vec![(0, 2), (900, 2), (3600, 1)]);
    let tech = ("TECH".to_owned(), vec![(0, 2), (900, 1), (3600, 1)]);
    let expected = [acme, tech];
    assert_eq!(told(seconds(0), seconds(4500), quarter).await, expected);
    // Bounds widen to whole minutes, steps are rounded up to them.
    let step = Duration::from_secs(899);
    assert_eq!(told(seconds(59), seconds(4441), step).await, expected);
    let shifted = [
        ("ACME".to_owned(), vec![(840, 3)]),
        ("TECH".to_owned(), vec![(840, 2)]),
    ];
    assert_eq!(
        told(seconds(840), seconds(1800), 2 * quarter).await,
        shifted
    );
    assert_eq!(told(seconds(4500), seconds(4500), quarter).await, []);
    let (from, to) = all_time();
    assert_eq!(
        store
            .timelines(from, to, Duration::MAX)
            .await
            .unwrap()
            .len(),
        3
    );
}
