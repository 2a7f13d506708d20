//! A store in memory and the calls of the other roles, for tests and for looking at the page.

mod scene;

pub use scene::{NOW, scene};

use super::{Problem, Report, ReportRequest, Submission, Web};
use crate::config::{ApiConfig, Secret, TopicConfig};
use crate::domain::{
    Campaign, CampaignId, ControlAct, Engagement, EntityId, Label, Origin, Outcome, Post,
    ScoredPost, SourcePartition, Timestamp,
};
use crate::pipeline::ScoreLine;
use crate::pipeline::notify::{self, Board, Disabled, EndpointView, Standing, View};
use crate::store::*;
use futures::future::BoxFuture;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[derive(Default)]
pub struct FakeStore {
    pub posts: Mutex<Vec<ScoredPost>>,
    pub alerts: Mutex<Vec<AlertRow>>,
    pub version: Mutex<i64>,
    pub broken: Mutex<bool>,
}

impl FakeStore {
    /// Adds a post as SCORE would have stored it.
    pub fn add(&self, post: ScoredPost) {
        self.posts.lock().unwrap().push(post);
        *self.version.lock().unwrap() += 1;
    }

    pub fn acknowledge(&self, id: &str, by: &str) {
        for alert in self.alerts.lock().unwrap().iter_mut() {
            if alert.latest.alert_id == id {
                alert.acknowledged = Some((by.to_owned(), Timestamp::from_millis(NOW)));
            }
        }
        *self.version.lock().unwrap() += 1;
    }

    fn answer<'a, T: Send + 'a>(&self, answer: T) -> BoxFuture<'a, StoreResult<T>> {
        let result = match *self.broken.lock().unwrap() {
            true => Err(StoreError::Unavailable {
                place: "/secret/path/squall.db".into(),
                problem: "disk I/O error".into(),
            }),
            false => Ok(answer),
        };
        Box::pin(async move { result })
    }

    fn sums<K: Ord>(
        &self,
        from: Timestamp,
        to: Timestamp,
        key: impl Fn(&ScoredPost, &EntityId) -> Option<K>,
    ) -> BTreeMap<K, MentionTotals> {
        let mut sums: BTreeMap<K, MentionTotals> = BTreeMap::new();
        for post in self.posts.lock().unwrap().iter() {
            if post.event_time < from || post.event_time >= to {
                continue;
            }
            for mention in &post.mentions {
                let Some(key) = key(post, &mention.entity) else {
                    continue;
                };
                let sum = sums.entry(key).or_default();
                sum.mentions += 1;
                if let Some(sentiment) = mention.sentiment {
                    sum.scored += 1;
                    sum.negative += u64::from(sentiment.label() == Label::Negative);
                    sum.positive += u64::from(sentiment.label() == Label::Positive);
                    sum.sum_negative += f64::from(sentiment.negative);
                    sum.sum_neutral += f64::from(sentiment.neutral);
                    sum.sum_positive += f64::from(sentiment.positive);
                }
            }
        }
        sums
    }

    fn campaign_posts(&self, id: &CampaignId, from: Timestamp, to: Timestamp) -> Vec<ScoredPost> {
        let posts = self.posts.lock().unwrap();
        posts
            .iter()
            .filter(|post| {
                post.campaigns.contains(id) && post.event_time >= from && post.event_time < to
            })
            .cloned()
            .collect()
    }
}

fn campaign_totals<'a>(posts: impl Iterator<Item = &'a ScoredPost>) -> CampaignTotals {
    let mut totals = CampaignTotals::default();
    let mut followers: HashMap<&str, u64> = HashMap::new();
    for post in posts {
        totals.posts += 1;
        if let Some(author) = &post.author {
            let known = followers.entry(&author.id).or_default();
            *known = (*known).max(author.followers.unwrap_or_default());
        }
        if let Some(engagement) = post.engagement {
            totals.posts_with_impressions += u64::from(engagement.impressions.is_some());
            totals.impressions += engagement.impressions.unwrap_or_default();
            let sum = &mut totals.engagement;
            let add = |a: Option<u64>, b: Option<u64>| {
                a.or(b)
                    .map(|_| a.unwrap_or_default() + b.unwrap_or_default())
            };
            *sum = Engagement {
                impressions: None,
                likes: add(sum.likes, engagement.likes),
                shares: add(sum.shares, engagement.shares),
                comments: add(sum.comments, engagement.comments),
            };
        }
        if let Some(sentiment) = &post.sentiment {
            totals.scored += 1;
            totals.sums.add(sentiment);
        }
    }
    totals.contributors = followers.len() as u64;
    totals.potential_audience = followers.values().sum();
    totals
}

impl Store for FakeStore {
    fn prepare(&self, _: bool) -> BoxFuture<'_, StoreResult<()>> {
        self.answer(())
    }

    fn claim_epoch<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, StoreResult<()>> {
        self.answer(())
    }

    fn rows_between<'a>(
        &'a self,
        _: &'a SourcePartition,
        _: i64,
        _: i64,
    ) -> BoxFuture<'a, StoreResult<u64>> {
        self.answer(0)
    }

    fn replayed<'a>(&'a self, _: &'a [Origin]) -> BoxFuture<'a, StoreResult<HashSet<Origin>>> {
        self.answer(HashSet::new())
    }

    fn dead_letters<'a>(
        &'a self,
        _: &'a DeadLetterQuery,
    ) -> BoxFuture<'a, StoreResult<Vec<DeadLetterRow>>> {
        self.answer(Vec::new())
    }

    fn insert<'a>(&'a self, _: &'a Block) -> BoxFuture<'a, StoreResult<Inserted>> {
        self.answer(Inserted::default())
    }

    fn position<'a>(
        &'a self,
        _: &'a SourcePartition,
    ) -> BoxFuture<'a, StoreResult<StoredPosition>> {
        self.answer(StoredPosition::default())
    }

    fn version(&self) -> BoxFuture<'_, StoreResult<i64>> {
        self.answer(*self.version.lock().unwrap())
    }

    fn latest(&self) -> BoxFuture<'_, StoreResult<Option<Timestamp>>> {
        let posts = self.posts.lock().unwrap();
        self.answer(posts.iter().map(|post| post.event_time).max())
    }

    fn entities(
        &self,
        from: Timestamp,
        to: Timestamp,
    ) -> BoxFuture<'_, StoreResult<Vec<EntityTotals>>> {
        let sums = self.sums(from, to, |_, entity| Some(entity.clone()));
        let mut entities: Vec<EntityTotals> = sums
            .into_iter()
            .map(|(entity, totals)| EntityTotals { entity, totals })
            .collect();
        entities.sort_by_key(|entity| std::cmp::Reverse(entity.totals.mentions));
        self.answer(entities)
    }

    fn timeline<'a>(
        &'a self,
        entity: &'a EntityId,
        from: Timestamp,
        to: Timestamp,
        step: Duration,
    ) -> BoxFuture<'a, StoreResult<Vec<TimelinePoint>>> {
        let sums = self.sums(from, to, |post, mentioned| {
            (mentioned == entity).then(|| post.event_time.floor(step))
        });
        self.answer(
            sums.into_iter()
                .map(|(start, totals)| TimelinePoint { start, totals })
                .collect(),
        )
    }

    fn timelines(
        &self,
        from: Timestamp,
        to: Timestamp,
        step: Duration,
    ) -> BoxFuture<'_, StoreResult<Vec<EntityTimeline>>> {
        let sums = self.sums(from, to, |post, entity| {
            let into = post.event_time.since(from).as_millis() as u64;
            let start = into - into % step.as_millis() as u64;
            Some((entity.clone(), from + Duration::from_millis(start)))
        });
        let mut timelines: BTreeMap<EntityId, Vec<TimelinePoint>> = BTreeMap::new();
        for ((entity, start), totals) in sums {
            let points = timelines.entry(entity).or_default();
            points.push(TimelinePoint { start, totals });
        }
        let timelines = timelines.into_iter();
        self.answer(
            timelines
                .map(|(entity, points)| EntityTimeline { entity, points })
                .collect(),
        )
    }

    fn posts<'a>(&'a self, query: &'a PostQuery) -> BoxFuture<'a, StoreResult<Vec<ScoredPost>>> {
        let fits = |post: &&ScoredPost| {
            query
                .entity
                .as_ref()
                .is_none_or(|id| post.mentions.iter().any(|mention| mention.entity == *id))
                && query
                    .campaign
                    .as_ref()
                    .is_none_or(|id| post.campaigns.contains(id))
                && query.id.as_ref().is_none_or(|id| post.id == *id)
                && query.before.is_none_or(|before| post.event_time < before)
        };
        let mut posts: Vec<ScoredPost> = self
            .posts
            .lock()
            .unwrap()
            .iter()
            .filter(fits)
            .cloned()
            .collect();
        posts.sort_by_key(|post| std::cmp::Reverse(post.event_time));
        posts.truncate(query.limit);
        self.answer(posts)
    }

    fn alerts<'a>(&'a self, query: &'a AlertQuery) -> BoxFuture<'a, StoreResult<Vec<AlertRow>>> {
        let fits = |alert: &&AlertRow| {
            query
                .entity
                .as_ref()
                .is_none_or(|id| alert.latest.entity == *id)
                && query
                    .alert_id
                    .as_ref()
                    .is_none_or(|id| alert.latest.alert_id == *id)
        };
        let mut alerts: Vec<AlertRow> = self
            .alerts
            .lock()
            .unwrap()
            .iter()
            .filter(fits)
            .cloned()
            .collect();
        alerts.sort_by_key(|alert| std::cmp::Reverse(alert.latest.at));
        alerts.truncate(query.limit);
        self.answer(alerts)
    }

    fn campaigns(
        &self,
        from: Timestamp,
        to: Timestamp,
    ) -> BoxFuture<'_, StoreResult<Vec<(CampaignId, CampaignTotals)>>> {
        let ids: std::collections::BTreeSet<CampaignId> = {
            let posts = self.posts.lock().unwrap();
            posts
                .iter()
                .flat_map(|post| post.campaigns.clone())
                .collect()
        };
        let totals = ids.into_iter().map(|id| {
            let posts = self.campaign_posts(&id, from, to);
            (id, campaign_totals(posts.iter()))
        });
        self.answer(totals.filter(|(_, totals)| totals.posts > 0).collect())
    }

    fn campaign<'a>(
        &'a self,
        id: &'a CampaignId,
        from: Timestamp,
        to: Timestamp,
    ) -> BoxFuture<'a, StoreResult<CampaignFigures>> {
        let posts = self.campaign_posts(id, from, to);
        let hour = Duration::from_secs(3600);
        let mut channels: BTreeMap<String, Vec<&ScoredPost>> = BTreeMap::new();
        let mut hours: BTreeMap<(Timestamp, String), Vec<&ScoredPost>> = BTreeMap::new();
        for post in &posts {
            channels.entry(post.channel.clone()).or_default().push(post);
            let cell = (post.event_time.floor(hour), post.channel.clone());
            hours.entry(cell).or_default().push(post);
        }
        self.answer(CampaignFigures {
            total: campaign_totals(posts.iter()),
            channels: channels
                .into_iter()
                .map(|(channel, posts)| (channel, campaign_totals(posts.into_iter())))
                .collect(),
            hours: hours
                .into_iter()
                .map(|((hour, channel), posts)| (hour, channel, campaign_totals(posts.into_iter())))
                .collect(),
        })
    }

    fn post_count(&self) -> BoxFuture<'_, StoreResult<u64>> {
        self.answer(self.posts.lock().unwrap().len() as u64)
    }

    fn audit(&self, limit: usize) -> BoxFuture<'_, StoreResult<Vec<AuditRow>>> {
        let row = AuditRow {
            at: Timestamp::from_millis(NOW),
            by: "ann".into(),
            act: "acknowledge".into(),
            subject: "c0ffee01".into(),
            detail: "{}".into(),
        };
        Box::pin(async move { Ok(vec![row; limit.min(1)]) })
    }

    fn row_counts(&self) -> BoxFuture<'_, StoreResult<Vec<(&'static str, u64)>>> {
        unreachable!("the page counts no rows")
    }
}

/// What the other roles were asked to do.
#[derive(Default)]
pub struct Asked {
    pub acts: Mutex<Vec<ControlAct>>,
    pub submissions: Mutex<Vec<Submission>>,
    pub reports: Mutex<Vec<ReportRequest>>,
}

/// An API over the fake store. Acknowledgements reach the store, as STORE would carry them.
pub fn web(store: Arc<FakeStore>, asked: Arc<Asked>, token: &str) -> Web {
    let (acts, submissions, reports) = (asked.clone(), asked.clone(), asked);
    let acknowledged = store.clone();
    Web {
        store,
        entities: Arc::new(scene::entity),
        campaigns: vec![Campaign {
            id: "spring".into(),
            name: "Spring launch".into(),
            hashtags: vec!["#springlaunch".into()],
            utm_campaigns: vec!["spring-2026".into()],
            phrases: Vec::new(),
            authors: Vec::new(),
        }],
        topics: ["news", "social"]
            .map(|name| TopicConfig {
                name: name.into(),
                source: name.into(),
            })
            .to_vec(),
        max_text_bytes: 1000,
        config: ApiConfig {
            listen: ([127, 0, 0, 1], 8080).into(),
            token: Secret::new(token),
            ..crate::config::load(None, std::iter::empty()).unwrap().api
        },
        tokens: Vec::new(),
        score: Some(Arc::new(|posts: Vec<Post>| {
            let scored = posts
                .iter()
                .map(|post| serde_json::json!(ScoreLine::of(&scene::scored(post))))
                .collect();
            Box::pin(async move { Ok(scored) })
        })),
        produce: Arc::new(move |submission: Submission| {
            let origins = (0..submission.posts.len() as i64)
                .map(|offset| Origin {
                    source: SourcePartition {
                        epoch: "1".into(),
                        topic: submission.topic.as_str().into(),
                        partition: 0,
                    },
                    offset,
                })
                .collect();
            submissions.submissions.lock().unwrap().push(submission);
            Box::pin(async move { Ok(origins) })
        }),
        control: Arc::new(move |act| {
            if let ControlAct::Acknowledge { alert_id, by, .. } = &act {
                acknowledged.acknowledge(alert_id, by);
            }
            acts.acts.lock().unwrap().push(act);
            Box::pin(async { Ok(()) })
        }),
        board: None,
        test: Arc::new(|_| Box::pin(async { Ok(String::new()) })),
        max_silence: Duration::from_secs(720 * 3600),
        report: Arc::new(move |request: ReportRequest| {
            let answer = match request.campaign.as_str() {
                "spring" => Ok(Report {
                    content_type: "text/csv",
                    body: "channel,posts\n".into(),
                }),
                other => Err(Problem::not_found(format!(
                    "there is no campaign '{other}'"
                ))),
            };
            reports.reports.lock().unwrap().push(request);
            Box::pin(async move { answer })
        }),
        metrics: Arc::new(|| "squall_posts_consumed_total 5\n".into()),
        ready: Arc::new(Vec::new),
    }
}

/// NOTIFY with one endpoint that is well and one that is disabled. Needs a runtime.
pub fn board_with_one_disabled() -> Board {
    let since = Timestamp::from_millis(NOW) - Duration::from_secs(3 * 3600);
    let (board, mut questions) = notify::board();
    tokio::spawn(async move {
        loop {
            let (_, asking) = questions.next().await;
            let disabled = Disabled {
                at: since,
                outcome: Outcome::Gone,
                reason: "it has answered 410 Gone: nothing more is sent to it (status 410 Gone: <b>moved</b>)".into(),
            };
            let endpoint = |name: &str, disabled: Option<Disabled>| EndpointView {
                name: name.into(),
                remedy: disabled.as_ref().map(|one| one.remedy(name)),
                standing: Standing {
                    disabled,
                    ..Standing::default()
                },
            };
            let _ = asking.send(View {
                endpoints: vec![endpoint("archive", None), endpoint("desk", Some(disabled))],
                ..View::default()
            });
        }
    });
    board
}

/// Serves the scene for people and browsers, with new posts coming in, until it is killed:
/// `SQUALL_WEB_LISTEN=127.0.0.1:8099 cargo test --lib web::fake::look -- --ignored`
#[tokio::test]
#[ignore = "serves until it is killed"]
async fn look() {
    let listen = std::env::var("SQUALL_WEB_LISTEN").unwrap_or("127.0.0.1:8099".into());
    let token = std::env::var("SQUALL_WEB_TOKEN").unwrap_or_default();
    let listener = tokio::net::TcpListener::bind(&listen).await.unwrap();
    let store = Arc::new(match std::env::var("SQUALL_WEB_EMPTY") {
        Ok(_) => FakeStore::default(),
        Err(_) => scene(),
    });
    let mut web = web(store.clone(), Arc::default(), &token);
    if std::env::var("SQUALL_WEB_DISABLED").is_ok() {
        web.board = Some(board_with_one_disabled());
    }
    if std::env::var("SQUALL_WEB_LIVE").is_ok() {
        tokio::spawn(async move {
            for i in 0u64.. {
                tokio::time::sleep(Duration::from_millis(700)).await;
                let at = Timestamp::from_millis(NOW) + Duration::from_secs(i + 1);
                store.add(scene::live(i, at));
            }
        });
    }
    super::serve(listener, web, Default::default())
        .await
        .unwrap();
}
