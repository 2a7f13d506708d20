//! STORE against the embedded broker and a real SQLite database, with what a crash leaves behind made by hand.

use super::*;
use crate::broker::EmbeddedBroker;
use crate::domain::{Origin, ScoredPost};
use crate::pipeline::emit::send_and_wait;
use crate::store::contract::{partition, post};
use crate::store::sqlite::SqliteStore;
use crate::store::{Block, PostQuery, StoreError};
use plan::LeftOut;

/// A broker with one partition of each topic, and an empty database.
struct Bench {
    broker: EmbeddedBroker,
    connection: Connection,
    database: Arc<SqliteStore>,
    health: Health,
    metrics: Metrics,
    _folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = crate::config::load(None, std::iter::empty()).unwrap();
        config.run.data_dir = folder.path().into();
        config.kafka.partitions = 1;
        let broker = EmbeddedBroker::start(&config).unwrap();
        let connection = Connection::to_embedded(&broker, &config).unwrap();
        let database = Arc::new(SqliteStore::open(&folder.path().join("squall.db")).unwrap());
        Self {
            broker,
            connection,
            database,
            health: Health::default(),
            metrics: Metrics::new(),
            _folder: folder,
        }
    }

    fn role(&self) -> Store {
        assert!(!self.broker.address().is_empty());
        Store {
            database: self.database.clone(),
            connection: self.connection.clone(),
            producer: Producer::new(&self.connection).unwrap(),
            emitter: Emitter::new(&self.connection),
            config: crate::config::load(None, std::iter::empty()).unwrap().store,
            health: self.health.clone(),
            metrics: self.metrics.clone(),
        }
    }

    fn consumer(&self) -> Consumer {
        Consumer::start(&self.connection, "store", &topics::STORED, 64).unwrap()
    }

    /// `squall.scored`, partition 0.
    fn own(&self) -> SourcePartition {
        SourcePartition {
            epoch: self.connection.epoch().clone(),
            topic: topics::SCORED.into(),
            partition: 0,
        }
    }

    /// Writes posts of these source offsets as SCORE would.
    async fn scored(&self, offsets: &[i64]) {
        let posts = offsets.iter().copied().map(post);
        self.write(posts.collect()).await;
    }

    async fn write(&self, posts: Vec<ScoredPost>) {
        let role = self.role();
        let records = posts.iter().map(|post| {
            let mut records = role.emitter.scored(post);
            records.retain(|record| &*record.topic == topics::SCORED);
            records.remove(0)
        });
        send_and_wait(&role.producer, records.collect())
            .await
            .unwrap();
    }

    /// Commits as a process that then died.
    async fn committed(&self, offset: i64, metadata: &str) {
        let mut consumer = self.consumer();
        let topic: Arc<str> = topics::SCORED.into();
        let assignment = loop {
            if let Some(Event::Assigned(all)) = consumer.next().await
                && let Some(own) = all.iter().find(|one| one.topic == topic)
            {
                break own.assignment;
            }
        };
        let key = (&topic, 0);
        let commits = consumer.commits();
        commits
            .commit(key, assignment, offset, metadata.to_owned())
            .await
            .unwrap();
        let gone = commits.commit(key, assignment + 100, 1, String::new());
        assert_eq!(gone.await, Err(crate::broker::CommitError::Gone));
        consumer.close().await;
    }

    /// Runs the role over everything there is.
    async fn run(&self) {
        let (stopper, stopping) = super::super::stopping();
        stopper.stop(Stop::AtEnd);
        run_role(self.role(), self.consumer(), stopping).await;
    }

    async fn stored(&self) -> Vec<i64> {
        let query = PostQuery {
            limit: 1000,
            ..PostQuery::default()
        };
        let posts = self.database.posts(&query).await.unwrap();
        let mut offsets: Vec<i64> = posts.iter().map(|post| post.origin.offset).collect();
        offsets.sort_unstable();
        offsets
    }
}

async fn run_role(role: Store, consumer: Consumer, stopping: Stopping) {
    super::run(role, consumer, stopping).await.unwrap();
}

/// A plan of the first `end` records, without some.
fn plan(end: i64, left_out: &[i64]) -> Plan {
    let mut plan = Plan {
        end,
        rows: end as usize - left_out.len(),
        made_at: Timestamp::now(),
        left_out: LeftOut::default(),
    };
    left_out
        .iter()
        .for_each(|offset| plan.left_out.add(*offset));
    plan
}

#[tokio::test(flavor = "multi_thread")]
async fn repeats_are_left_out_and_what_is_committed_is_not_read_again() {
    let bench = Bench::new();
    bench.scored(&[0, 1, 2, 1, 2, 3]).await;
    bench.run().await;
    assert_eq!(bench.stored().await, [0, 1, 2, 3]);
    bench.scored(&[3, 2, 4]).await;
    bench.run().await;
    assert_eq!(bench.stored().await, [0, 1, 2, 3, 4]);
    assert_eq!(bench.metrics.repeats_dropped.with(["store"]).get(), 4);
    assert_eq!(bench.metrics.store_rows.with(["posts"]).get(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planned_block_is_built_again_as_it_was_planned() {
    let bench = Bench::new();
    // Offset 3 was left out, since a former owner knew more: it is not asked why.
    bench.scored(&[0, 1, 2, 3, 4, 5, 6]).await;
    bench.committed(0, &plan(5, &[3]).text(0)).await;
    bench.run().await;
    assert_eq!(bench.stored().await, [0, 1, 2, 4, 5, 6]);
    let position = bench.database.position(&bench.own()).await.unwrap();
    assert_eq!(position.end, 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_was_inserted_and_not_ended_adds_nothing() {
    let bench = Bench::new();
    bench.scored(&[0, 1, 2, 3, 4, 5]).await;
    let block = Block {
        partition: bench.own(),
        start: 0,
        end: 4,
        rows: Rows::Posts((0..4).map(post).collect()),
        offsets: (0..4).collect(),
    };
    bench.database.insert(&block).await.unwrap();
    bench.committed(0, &plan(4, &[]).text(0)).await;
    bench.run().await;
    assert_eq!(bench.stored().await, [0, 1, 2, 3, 4, 5]);
    assert_eq!(bench.metrics.store_rows.with(["posts"]).get(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offset_that_was_set_back_doubles_nothing() {
    let bench = Bench::new();
    bench.scored(&[0, 1, 2]).await;
    bench.run().await;
    bench.committed(1, "").await;
    bench.scored(&[3]).await;
    bench.run().await;
    assert_eq!(bench.stored().await, [0, 1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_replays_of_one_origin_the_first_is_stored() {
    let bench = Bench::new();
    let replay = |offset| ScoredPost {
        first_origin: Some(Origin {
            source: partition("social", 0),
            offset: 2,
        }),
        ..post(offset)
    };
    bench
        .write(vec![post(5), replay(6), replay(7), post(8)])
        .await;
    bench.run().await;
    assert_eq!(bench.stored().await, [5, 6, 8]);
    bench.write(vec![replay(9), post(10)]).await;
    bench.run().await;
    assert_eq!(bench.stored().await, [5, 6, 8, 10]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_cannot_be_read_goes_to_the_dead_letters() {
    let bench = Bench::new();
    let record = crate::broker::Outgoing {
        topic: topics::SCORED.into(),
        partition: Some(0),
        key: Vec::new(),
        headers: Vec::new(),
        payload: b"{}".to_vec(),
        timestamp: None,
    };
    let producer = Producer::new(&bench.connection).unwrap();
    send_and_wait(&producer, vec![record]).await.unwrap();
    bench.scored(&[0]).await;
    bench.run().await;
    bench.run().await;
    assert_eq!(bench.stored().await, [0]);
    let counts = bench.database.row_counts().await.unwrap();
    assert!(counts.contains(&("dead_letters", 1)), "{counts:?}");
}

/// Runs the role until it is in trouble, then ends it as SIGTERM does, and returns what it said.
async fn trouble(bench: &Bench) -> String {
    let (stopper, stopping) = super::super::stopping();
    let running = tokio::spawn(run_role(bench.role(), bench.consumer(), stopping));
    let problem = loop {
        if let Some(problem) = bench.health.problems().pop() {
            break problem;
        }
        assert!(!running.is_finished());
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    stopper.stop(Stop::Now);
    running.await.unwrap();
    problem
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_knows_more_than_the_group_stops_the_partition() {
    let bench = Bench::new();
    bench.scored(&[0, 1]).await;
    let block = Block {
        partition: bench.own(),
        start: 0,
        end: 9,
        rows: Rows::Posts(vec![post(100)]),
        offsets: vec![8],
    };
    bench.database.insert(&block).await.unwrap();
    let problem = trouble(&bench).await;
    assert!(problem.contains("rows up to offset 9"), "{problem}");
    assert!(problem.contains("kafka.epoch"), "{problem}");
    assert_eq!(bench.stored().await, [100]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plan_of_another_version_is_not_touched() {
    let bench = Bench::new();
    bench.scored(&[0, 1]).await;
    bench.committed(0, "squall-plan-9 2 2 0 ").await;
    let problem = trouble(&bench).await;
    assert!(problem.contains("another version"), "{problem}");
    assert_eq!(bench.stored().await, [] as [i64; 0]);
}

/// A lane of its own, whose planned range has expired in Kafka but for what is given.
async fn with_expired_plan(
    bench: &Bench,
    plan: &Plan,
    low: i64,
) -> (Lane, mpsc::UnboundedSender<Arrived>) {
    let consumer = bench.consumer();
    let (sender, records) = mpsc::unbounded_channel();
    let role = bench.role();
    let lane = Lane {
        own: bench.own(),
        assigned: Assigned {
            topic: topics::SCORED.into(),
            partition: 0,
            assignment: 0,
            committed: Some(0),
            metadata: plan.text(0),
            low: Some(low),
        },
        records,
        inflow: Arc::new(Inflow::new(|_| ())),
        commits: consumer.commits(),
        patience: Patience {
            what: "store squall.scored:0".into(),
            ending: CancellationToken::new(),
            health: bench.health.clone(),
            metrics: bench.metrics.clone(),
        },
        revoked: CancellationToken::new(),
        shared: Arc::new(Shared {
            database: role.database,
            producer: role.producer,
            emitter: role.emitter,
            config: role.config,
            metrics: role.metrics,
            plans: OpenPlans::default(),
            busy: AtomicUsize::new(0),
            most_bytes: BLOCK_BYTES,
        }),
    };
    consumer.close().await;
    (lane, sender)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planned_block_whose_records_have_expired_is_never_forgotten_silently() {
    let bench = Bench::new();
    let (lane, _records) = with_expired_plan(&bench, &plan(5, &[1]), 7).await;
    let ending = lane.patience.ending.clone();
    let running = tokio::spawn(lane.run());
    while bench.health.problems().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let problem = bench.health.problems().remove(0);
    assert!(problem.contains("of the 4 rows planned"), "{problem}");
    assert!(problem.contains("only 0 are in the store and 0 in Kafka"));
    let lost = bench.metrics.records_expired.with([topics::SCORED]);
    assert_eq!(lost.get(), 4);
    ending.cancel();
    running.await.unwrap().unwrap();

    // With its rows in the store it is complete; the commit then finds the partition gone, as nobody consumes.
    let block = Block {
        partition: bench.own(),
        start: 0,
        end: 5,
        rows: Rows::Posts([0, 2, 3, 4].map(post).to_vec()),
        offsets: vec![0, 2, 3, 4],
    };
    bench.database.insert(&block).await.unwrap();
    let (lane, _records) = with_expired_plan(&bench, &plan(5, &[1]), 7).await;
    lane.run().await.unwrap();
    assert!(bench.health.problems().is_empty());
}

fn patience(ending: &CancellationToken, health: &Health) -> Patience {
    Patience {
        what: "store".into(),
        ending: ending.clone(),
        health: health.clone(),
        metrics: Metrics::new(),
    }
}

#[tokio::test]
async fn the_database_is_asked_until_it_answers_and_trouble_is_told_and_taken_back() {
    let (ending, health) = (CancellationToken::new(), Health::default());
    let attempts = AtomicUsize::new(0);
    let patience = patience(&ending, &health);
    let answer = patience.until(|| {
        let attempt = attempts.fetch_add(1, Ordering::Relaxed);
        if attempt == 5 {
            assert_eq!(health.problems(), ["store: store db: away"]);
        }
        let away = StoreError::Unavailable {
            place: "db".into(),
            problem: "away".into(),
        };
        std::future::ready(if attempt < 6 { Err(away) } else { Ok(attempt) })
    });
    assert_eq!(answer.await, Ok(6));
    assert!(health.problems().is_empty());
}

#[tokio::test]
async fn who_is_to_end_does_not_wait_for_the_database() {
    let (ending, health) = (CancellationToken::new(), Health::default());
    let patience = patience(&ending, &health);
    let refused = || std::future::ready(Err::<(), _>(StoreError::Query("no such table".into())));
    ending.cancel();
    assert_eq!(patience.until(refused).await, Err(GivenUp));
    assert_eq!(health.problems().len(), 1, "it will not mend itself");
    let works = || std::future::ready(Ok(1));
    assert_eq!(
        patience.until(works).await,
        Ok(1),
        "an end is no reason not to store"
    );
}

#[test]
fn gathering_stops_before_a_plan_grows_too_long() {
    use gather::{Gathered, Seen};
    let memory = Arc::new(Semaphore::new(1_000_000));
    let mut gathered = Gathered::new(topics::SCORED, 1_000_000_000);
    let mut seen = Seen::default();
    let mut next = 0;
    let payload = |offset: i64| {
        // Every other record is a repeat, far from the last one.
        let origin = if offset % 2 == 0 { offset } else { 0 };
        serde_json::to_vec(&post(origin)).unwrap()
    };
    while !gathered.plan_is_full() {
        let record = crate::broker::Record {
            topic: topics::SCORED.into(),
            partition: 0,
            offset: 1_000_000_000 + next * 97,
            timestamp: None,
            key: None,
            payload: payload(next),
            headers: Vec::new(),
            assignment: 0,
        };
        let permit = memory.clone().try_acquire_owned().unwrap();
        gathered.take(Arrived { record, permit }, &mut seen);
        next += 1;
    }
    assert!(next > 100, "{next}");
    let text = gathered.plan(Timestamp::now()).text(gathered.start);
    assert!(
        text.len() <= plan::MAX_TEXT && text.len() > 1500,
        "{}",
        text.len()
    );
}
