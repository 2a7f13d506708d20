//! The role with a broker, receivers, and a state that can fail.

use super::attempt::Attempted;
use super::memory::Memory;
use super::outbox::Job;
use super::schedule::Key;
use super::standings::Answer;
use super::*;
use crate::broker::{Connection, EmbeddedBroker, topics};
use crate::config::{Config, EndpointConfig, Secret, load};
use crate::domain::{AlertKind, Delivery, Expected, Observed, Outcome, Severity, SpikeWindow};
use crate::pipeline::{Stopper, stopping};
use axum::http::{HeaderMap, StatusCode};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::{ClientConfig, TopicPartitionList};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};
use tokio::task::JoinHandle;

/// Long enough never to pass in a test that works.
const NEVER: Duration = Duration::from_secs(60);

/// A message of an alert, without evidence.
pub(super) fn alert(alert_id: &str, revision: u32, at: Timestamp) -> AlertMessage {
    AlertMessage {
        id: format!("msg_{alert_id}_{revision}"),
        alert_id: alert_id.into(),
        kind: match revision {
            0 => AlertKind::Opened,
            _ => AlertKind::Updated,
        },
        revision,
        at,
        received_at: Some(at),
        rule: "negative-spike".into(),
        entity: "ACME".into(),
        severity: Severity::Critical,
        window: SpikeWindow { start: at, end: at },
        observed: Observed {
            mentions: 9,
            negative: 8,
            sources: 7,
            mean_score: -0.5,
        },
        expected: Expected {
            mentions: 1.0,
            negative: 0.5,
        },
        p_value: 1e-9,
        evidence: Vec::new(),
        model: "m".into(),
        explanation: None,
    }
}

/// A receiver that answers everything with one status, and the ids it got. Status 0 never answers.
#[derive(Clone)]
struct Receiver {
    url: String,
    status: Arc<AtomicU16>,
    ids: Arc<Mutex<Vec<String>>>,
}

impl Receiver {
    async fn start(status: u16) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = Self {
            url: format!("http://{}/", listener.local_addr().unwrap()),
            status: Arc::new(AtomicU16::new(status)),
            ids: Arc::default(),
        };
        let (status, ids) = (receiver.status.clone(), receiver.ids.clone());
        let app = axum::Router::new().fallback(move |headers: HeaderMap| {
            let id = headers["webhook-id"].to_str().unwrap().to_owned();
            ids.lock().unwrap().push(id);
            let status = status.load(Ordering::SeqCst);
            async move {
                match StatusCode::from_u16(status) {
                    Ok(status) => status,
                    Err(_) => std::future::pending().await,
                }
            }
        });
        tokio::spawn(async { axum::serve(listener, app).await.unwrap() });
        receiver
    }

    fn ids(&self) -> Vec<String> {
        self.ids.lock().unwrap().clone()
    }

    fn answer(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }
}

/// A broker, what NOTIFY works with, and what it leaves.
struct Scene {
    config: Config,
    connection: Connection,
    state: Arc<Memory>,
    health: Health,
    metrics: Metrics,
    producer: Producer,
    _folder: tempfile::TempDir,
    broker: EmbeddedBroker,
}

/// A role under way.
struct UnderWay {
    stopper: Stopper,
    give_up: CancellationToken,
    task: JoinHandle<Result<(), RoleError>>,
}

impl Scene {
    fn new(receivers: &[(&str, &Receiver)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = load(None, std::iter::empty()).unwrap();
        config.run.data_dir = folder.path().to_owned();
        config.kafka.partitions = 1;
        config.notify.retry_waits = vec![Duration::from_millis(5)];
        config.notify.allow = vec!["127.0.0.1/32".parse().unwrap()];
        config.notify.attempts = 1000;
        config.endpoints = receivers
            .iter()
            .map(|(name, receiver)| {
                let secret = Secret::new("whsec_c3F1YWxsLXNxdWFsbC1zcXVhbGwtc3F1YWxsIQ==");
                EndpointConfig::new(name, &receiver.url, vec![secret])
            })
            .collect();
        let broker = EmbeddedBroker::start(&config).unwrap();
        let connection = Connection::to_embedded(&broker, &config).unwrap();
        Self {
            producer: Producer::new(&connection).unwrap(),
            config,
            connection,
            state: Arc::default(),
            health: Health::default(),
            metrics: Metrics::new(),
            _folder: folder,
            broker,
        }
    }

    /// Another broker, and this as the first endpoint's address.
    fn broker_with(&mut self, folder: &std::path::Path, url: &str) {
        self.config.run.data_dir = folder.to_owned();
        self.config.endpoints[0].url = Secret::new(url);
        self.broker = EmbeddedBroker::start(&self.config).unwrap();
        self.connection = Connection::to_embedded(&self.broker, &self.config).unwrap();
        self.producer = Producer::new(&self.connection).unwrap();
    }

    fn notify(&self) -> Notify {
        Notify {
            notifier: Notifier::new(&self.config.notify, &self.config.endpoints).unwrap(),
            outside: Producer::to_outside(&self.connection, NEVER).unwrap(),
            state: self.state.clone(),
            producer: self.producer.clone(),
            emitter: Emitter::new(&self.connection),
            config: self.config.notify.clone(),
            routing: Routing::new(&self.config).unwrap(),
            connection: self.connection.clone(),
            entity_lists: Arc::new(|id| {
                let bank = id.as_str().starts_with("BANK-");
                bank.then(|| "BANKS".into()).into_iter().collect()
            }),
            max_alert_age: self.config.detect.max_alert_age,
            entity_name: Arc::new(|_| None),
            link_base: "http://127.0.0.1".into(),
            health: self.health.clone(),
            metrics: self.metrics.clone(),
        }
    }

    fn start(&self) -> UnderWay {
        let consumer = Consumer::start(&self.connection, "notify", &[topics::ALERTS], 64).unwrap();
        let (stopper, stopping) = stopping();
        let give_up = CancellationToken::new();
        let task = tokio::spawn(run(
            self.notify(),
            consumer,
            board().1,
            stopping,
            give_up.clone(),
        ));
        UnderWay {
            stopper,
            give_up,
            task,
        }
    }

    async fn send(&self, messages: &[AlertMessage]) {
        let emitter = Emitter::new(&self.connection);
        let records = messages.iter().map(|message| emitter.alert(message));
        send_and_wait(&self.producer, records.collect())
            .await
            .unwrap();
    }

    /// A client that joins no group, which takes seconds.
    fn client(&self) -> BaseConsumer {
        let mut settings = ClientConfig::new();
        settings.set("bootstrap.servers", self.broker.address());
        settings.set("group.id", format!("{}-notify", self.config.kafka.group));
        settings.set("auto.offset.reset", "earliest");
        settings.create().unwrap()
    }

    /// So many outcomes, in the order in which they were written.
    fn outcomes(&self, count: usize) -> Vec<Delivery> {
        let client = self.client();
        let mut list = TopicPartitionList::new();
        list.add_partition(topics::DELIVERIES, 0);
        client.assign(&list).unwrap();
        let records = client.iter().take(count).map(Result::unwrap);
        let read = |record: BorrowedMessage<'_>| {
            serde_json::from_slice(record.payload().unwrap()).unwrap()
        };
        records.map(read).collect()
    }

    /// What the group has committed.
    fn committed(&self) -> Option<i64> {
        let mut list = TopicPartitionList::new();
        list.add_partition(topics::ALERTS, 0);
        let list = self.client().committed_offsets(list, NEVER).unwrap();
        list.elements()[0].offset().to_raw()
    }
}

impl UnderWay {
    async fn end(self, stop: Stop) -> Result<(), RoleError> {
        self.stopper.stop(stop);
        tokio::time::timeout(NEVER, self.task)
            .await
            .unwrap()
            .unwrap()
    }

    /// As by a signal that nobody can catch.
    async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !holds() {
        assert!(begun.elapsed() < NEVER, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort();
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_down_holds_nothing_up_and_gets_all_after_a_restart() {
    let (desk, down) = (Receiver::start(200).await, Receiver::start(500).await);
    let scene = Scene::new(&[("desk", &desk), ("down", &down)]);
    let role = scene.start();
    let now = Timestamp::now();
    let messages = [alert("a", 0, now), alert("a", 1, now), alert("b", 0, now)];
    scene.send(&messages).await;
    until("the desk has all", || desk.ids().len() == 3).await;
    until("the other has failed twice", || down.ids().len() > 4).await;
    let kept = || {
        (
            scene.state.count("message/"),
            scene.state.count("delivery/"),
        )
    };
    until("what has ended is marked", || kept() == (3, 5)).await;
    assert!(
        !down.ids().contains(&"msg_a_1".into()),
        "a's first comes first"
    );
    role.kill().await;
    let attempts_before = down.ids().len();

    down.answer(200);
    let role = scene.start();
    until("all is forgotten", || kept() == (0, 0)).await;
    role.end(Stop::Now).await.unwrap();
    assert_eq!(scene.committed(), Some(3));
    assert_eq!(scene.state.count("done/"), 3);
    let all = sorted(messages.map(|message| message.id).to_vec());
    assert_eq!(sorted(desk.ids()), all, "nothing twice");
    // An attempt that was under way when the role was killed arrives beside its repetition.
    let mut arrived = sorted(down.ids()[attempts_before..].to_vec());
    let attempts = arrived.len();
    arrived.dedup();
    assert_eq!(arrived, all);
    let could_be_under_way = ["msg_a_0", "msg_b_0"].len();
    assert!(attempts <= all.len() + could_be_under_way, "{attempts}");
    let outcomes = scene.outcomes(6);
    for outcome in &outcomes {
        assert_eq!(outcome.outcome, Outcome::Delivered);
        let first = outcome.endpoint == "desk" || outcome.message_id == "msg_a_1";
        assert_eq!(outcome.attempts == 1, first, "{outcome:?}");
    }
    // One that was under way may still be answered, and is then counted beside its repetition.
    let counted = scene.metrics.deliveries.with(["down", "delivered"]).get();
    assert!((3..=attempts as u64).contains(&counted), "{counted}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_saved_is_not_begun_and_the_health_says_why() {
    let desk = Receiver::start(200).await;
    let scene = Scene::new(&[("desk", &desk)]);
    let role = scene.start();
    let now = Timestamp::now();
    scene.send(&[alert("a", 0, now)]).await;
    until("the first is done", || scene.state.count("done/") == 1).await;

    scene.state.broken.store(true, Ordering::SeqCst);
    scene.send(&[alert("b", 0, now), alert("c", 0, now)]).await;
    until("there is trouble", || !scene.health.problems().is_empty()).await;
    let problem = scene.health.problems().remove(0);
    assert!(problem.contains("cannot be written") && problem.contains("memory: broken"));
    assert_eq!(desk.ids(), ["msg_a_0"]);

    scene.state.broken.store(false, Ordering::SeqCst);
    until("all is done", || scene.state.count("done/") == 3).await;
    assert!(scene.health.problems().is_empty());
    role.end(Stop::Now).await.unwrap();
    assert_eq!(sorted(desk.ids()), ["msg_a_0", "msg_b_0", "msg_c_0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_state_nothing_begins_and_nothing_is_lost() {
    let desk = Receiver::start(200).await;
    let scene = Scene::new(&[("desk", &desk)]);
    scene.state.broken.store(true, Ordering::SeqCst);
    scene.send(&[alert("a", 0, Timestamp::now())]).await;
    let role = scene.start();
    until("there is trouble", || !scene.health.problems().is_empty()).await;
    assert!(scene.health.problems()[0].contains("cannot be read"));
    // Given up, it says what is lost with the embedded broker; with another nothing is.
    role.give_up.cancel();
    let error = role.end(Stop::AtEnd).await.unwrap_err().to_string();
    assert!(error.contains("1 alert messages are lost"), "{error}");
    assert!(desk.ids().is_empty());

    scene.state.broken.store(false, Ordering::SeqCst);
    let role = scene.start();
    until("it arrives", || desk.ids() == ["msg_a_0"]).await;
    role.end(Stop::Now).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_comes_again_is_dropped_and_one_that_is_none_a_dead_letter() {
    let desk = Receiver::start(200).await;
    let scene = Scene::new(&[("desk", &desk)]);
    let role = scene.start();
    let now = Timestamp::now();
    scene.send(&[alert("a", 0, now), alert("a", 0, now)]).await;
    until("the first is done", || scene.state.count("done/") == 1).await;
    let mut bad = Emitter::new(&scene.connection).alert(&alert("b", 0, now));
    bad.payload.truncate(20);
    send_and_wait(&scene.producer, vec![bad]).await.unwrap();
    scene.send(&[alert("a", 0, now), alert("b", 0, now)]).await;
    until("the second is done", || scene.state.count("done/") == 2).await;
    role.end(Stop::Now).await.unwrap();
    assert_eq!(scene.committed(), Some(5));
    assert_eq!(desk.ids(), ["msg_a_0", "msg_b_0"]);
    assert_eq!(scene.metrics.repeats_dropped.with(["notify"]).get(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_follows_an_alert_that_was_too_old_is_not_delivered_either() {
    let desk = Receiver::start(200).await;
    let scene = Scene::new(&[("desk", &desk)]);
    let now = Timestamp::now();
    let old = now - scene.config.detect.max_alert_age - Duration::from_secs(1);
    let role = scene.start();
    scene
        .send(&[alert("old", 0, old), alert("new", 0, now)])
        .await;
    until("both are done", || scene.state.count("done/") == 2).await;
    role.end(Stop::Now).await.unwrap();
    let role = scene.start();
    scene
        .send(&[alert("old", 1, now), alert("new", 1, old)])
        .await;
    until("all are done", || scene.state.count("done/") == 4).await;
    role.end(Stop::Now).await.unwrap();
    assert_eq!(desk.ids(), ["msg_new_0", "msg_new_1"]);
    for outcome in scene.outcomes(4) {
        let expected = match &*outcome.alert_id {
            "old" => (Outcome::TooOld, 0),
            _ => (Outcome::Delivered, 1),
        };
        assert_eq!((outcome.outcome, outcome.attempts), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_at_the_end_it_attempts_what_is_due_once_and_keeps_the_rest() {
    let (desk, down) = (Receiver::start(200).await, Receiver::start(500).await);
    let mut scene = Scene::new(&[("desk", &desk), ("down", &down)]);
    // What has failed once is not due again here.
    scene.config.notify.retry_waits = vec![Duration::from_secs(7200)];
    let now = Timestamp::now();
    let messages: Vec<_> = (0..40).map(|n| alert(&n.to_string(), 0, now)).collect();
    scene.send(&messages).await;
    let role = scene.start();
    role.end(Stop::AtEnd).await.unwrap();
    assert_eq!((desk.ids().len(), down.ids().len()), (40, 40));
    assert_eq!(scene.state.count("message/"), 40);
    assert_eq!(scene.committed(), Some(40));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_without_an_answer_is_cut_off_and_comes_again() {
    let silent = Receiver::start(0).await;
    let scene = Scene::new(&[("silent", &silent)]);
    let role = scene.start();
    scene.send(&[alert("a", 0, Timestamp::now())]).await;
    until("it is in flight", || silent.ids().len() == 1).await;
    role.give_up.cancel();
    role.end(Stop::AtEnd).await.unwrap();
    assert_eq!(scene.state.count("message/"), 1);
    silent.answer(204);
    let role = scene.start();
    until("it is done", || scene.state.count("done/") == 1).await;
    role.end(Stop::Now).await.unwrap();
    assert_eq!(silent.ids(), ["msg_a_0", "msg_a_0"], "under one id");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_gone_or_no_longer_configured_ends_its_deliveries() {
    let (desk, gone) = (Receiver::start(500).await, Receiver::start(410).await);
    let mut scene = Scene::new(&[("desk", &desk), ("gone", &gone)]);
    let role = scene.start();
    let now = Timestamp::now();
    scene.send(&[alert("a", 0, now)]).await;
    until("it is gone", || gone.ids().len() == 1).await;
    scene.send(&[alert("b", 0, now)]).await;
    // Two that have ended, and three that the desk fails to take: the third tells that the other is disabled.
    until("both have ended there", || {
        scene.state.count("delivery/") == 5
    })
    .await;
    role.end(Stop::Now).await.unwrap();
    assert_eq!(gone.ids().len(), 1);

    scene.config.endpoints.clear();
    let role = scene.start();
    until("all is done", || scene.state.count("done/") == 3).await;
    role.end(Stop::Now).await.unwrap();
    let outcomes = scene.outcomes(5);
    assert!(
        outcomes
            .iter()
            .all(|outcome| outcome.outcome == Outcome::Gone)
    );
    let errors: Vec<&str> = outcomes.iter().map(|outcome| &*outcome.error).collect();
    assert!(errors[0].starts_with("status 410"), "{errors:?}");
    assert!(errors[1].starts_with("not tried"), "{errors:?}");
    assert!(
        errors[2..]
            .iter()
            .all(|error| error.contains("no longer configured"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_is_only_written_while_the_partition_is_ours() {
    let desk = Receiver::start(200).await;
    let scene = Scene::new(&[("desk", &desk)]);
    let notify = scene.notify();
    let message = alert("a", 0, Timestamp::now());
    let job = Job {
        key: Key {
            endpoint: "desk".into(),
            alert: "a".into(),
            number: 0,
        },
        alert: RawValue::from_string(serde_json::to_string(&message).unwrap()).unwrap(),
        verdict: None,
        attempts: 4,
        first_attempt_at: Some(Timestamp::EPOCH),
    };
    let never = CancellationToken::new();
    let lost = notify.attempt(&job, || false, &never).await.unwrap();
    assert_eq!(lost, Attempted::Dropped);
    let ours = notify.attempt(&job, || true, &never).await.unwrap();
    assert_eq!(ours, Attempted::Ended(Answer::Well));
    let written = scene.outcomes(1).remove(0);
    assert_eq!(
        (written.attempts, written.first_attempt_at),
        (5, Timestamp::EPOCH)
    );
    assert_eq!(
        scene.metrics.deliveries.with(["desk", "delivered"]).get(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_of_kafka_is_an_endpoint_too() {
    let desk = Receiver::start(200).await;
    let folder = tempfile::tempdir().unwrap();
    let mut scene = Scene::new(&[("desk", &desk)]);
    scene.broker_with(folder.path(), "kafka:desk.alerts");
    let role = scene.start();
    scene.send(&[alert("a", 0, Timestamp::now())]).await;
    until("it is done", || scene.state.count("done/") == 1).await;
    role.end(Stop::Now).await.unwrap();
    let client = scene.client();
    let mut list = TopicPartitionList::new();
    list.add_partition("desk.alerts", 0);
    client.assign(&list).unwrap();
    let record = client.iter().next().unwrap().unwrap();
    use rdkafka::message::Headers as _;
    assert_eq!(record.key(), Some("a".as_bytes()));
    let headers = record.headers().unwrap();
    let names: Vec<&str> = headers.iter().map(|header| header.key).collect();
    assert_eq!(
        names,
        ["webhook-id", "webhook-timestamp", "webhook-signature"]
    );
    assert_eq!(headers.get(0).value, Some("msg_a_0".as_bytes()));
    let body: serde_json::Value = serde_json::from_slice(record.payload().unwrap()).unwrap();
    assert_eq!(body["type"], "sentiment.spike.opened");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_do_reaches_it_by_kafka_alone_and_outlives_a_restart() {
    let desk = Receiver::start(200).await;
    let scene = Scene::new(&[("desk", &desk)]);
    let now = Timestamp::now();
    let on = |id: &str, entity: &str| AlertMessage {
        entity: entity.into(),
        ..alert(id, 0, now)
    };
    let act = ControlAct::Silence {
        silence: crate::domain::Silence {
            id: "s1".into(),
            entity: None,
            list: Some("BANKS".into()),
            rule: None,
            from: now - Duration::from_secs(60),
            until: now + Duration::from_secs(3600),
            reason: "stress test".into(),
        },
        by: "ann".into(),
        at: now,
    };
    let role = scene.start();
    let record = Emitter::new(&scene.connection).control(&act);
    send_and_wait(&scene.producer, vec![record]).await.unwrap();
    until("it is kept", || scene.state.count("silence/") == 1).await;
    scene.send(&[on("a", "BANK-1"), on("b", "BA")]).await;
    until("both are done", || scene.state.count("done/") == 2).await;
    role.end(Stop::Now).await.unwrap();
    let role = scene.start();
    scene.send(&[on("c", "BANK-2")]).await;
    until("all are done", || scene.state.count("done/") == 3).await;
    role.end(Stop::Now).await.unwrap();
    assert_eq!(desk.ids(), ["msg_b_0"]);
    let silenced = scene
        .outcomes(3)
        .into_iter()
        .filter(|one| one.outcome == Outcome::Silenced);
    for one in silenced {
        assert!(one.error.contains("silenced by ann until") && one.error.ends_with("stress test"));
        assert_eq!(one.attempts, 0);
    }
    assert_eq!(scene.metrics.deliveries.with(["desk", "silenced"]).get(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_wants_it_is_told_that_squall_is_alive() {
    let (desk, watch) = (Receiver::start(200).await, Receiver::start(200).await);
    let mut scene = Scene::new(&[("desk", &desk), ("watch", &watch)]);
    scene.config.endpoints[1].alive = Some(Duration::from_secs(1));
    let role = scene.start();
    until("it comes again", || watch.ids().len() > 1).await;
    role.end(Stop::Now).await.unwrap();
    let ids = watch.ids();
    assert!(desk.ids().is_empty() && ids[0] != ids[1]);
    assert_eq!(scene.state.count("message/"), 0, "nothing is kept");
}
