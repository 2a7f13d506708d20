//! What DETECT has decided and counted equals what one detector decides that reads its log from the beginning to the end
//! and never dies: so no window was doubled or short, no baseline lost, and no alert has another id.

use super::{counted, differences, note};
use crate::kafka;
use crate::report::Outcome;
use crate::setup::PARTITIONS;
use crate::stage::Stage;
use anyhow::Context as _;
use squall::broker::{Connection, Producer, topics};
use squall::config::{self, Config};
use squall::detect::{Decision, Detector, snapshot};
use squall::domain::{AlertMessage, DetectionRecord, Origin};
use squall::state::{State as _, TopicState};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The alert messages that there must be.
pub(super) async fn check(
    stage: &Stage<'_>,
    outcome: &mut Outcome,
) -> anyhow::Result<Vec<AlertMessage>> {
    let path = stage.setup.config_of("a")?;
    let config = config::load(Some(&path), std::iter::empty())
        .map_err(|errors| anyhow::anyhow!("{errors}"))?;
    let broker = stage.setup.broker.clone();
    let (records, expired) =
        tokio::task::spawn_blocking(move || kafka::read(&broker, topics::MENTIONS, PARTITIONS))
            .await??;
    if expired {
        note(
            "mentions",
            vec!["the broker has dropped some: the stream is too long".to_owned()],
            outcome,
        );
    }
    let mut detectors: HashMap<i32, Detector> = HashMap::new();
    let mut alerts = Vec::new();
    let mut clusters = BTreeMap::new();
    let mut mentioned = BTreeMap::new();
    for record in &records {
        let event: DetectionRecord =
            serde_json::from_slice(record.payload.as_deref().unwrap_or_default())
                .context("a record of squall.mentions")?;
        if let DetectionRecord::Mention(mention) = &event {
            let place = place(&mention.origin, mention.ordinal);
            // Once, however often the log repeats it.
            mentioned.insert(format!("{place} {}", mention.entity), 1);
        }
        let detector = detectors
            .entry(record.partition)
            .or_insert_with(|| Detector::new(&config.detect));
        for decision in detector.apply(record.offset, &event) {
            match decision {
                Decision::Alert(message) => alerts.push(message),
                Decision::Cluster(one) => {
                    let place = place(&one.origin, one.ordinal);
                    *clusters
                        .entry(format!("{place} {}", one.cluster))
                        .or_default() += 1;
                }
            }
        }
    }
    let stored = "SELECT topic, partition, offset, ordinal, cluster FROM mention_clusters FINAL";
    let stored = stage
        .database
        .rows(stored)
        .await?
        .into_iter()
        .map(|row| (row.join(" "), 1));
    differences("stories", stored.collect(), clusters, outcome);
    // A retracted post brings no evidence.
    let posted = "SELECT topic, partition, offset, number - 1, entity FROM posts \
        ARRAY JOIN mention_entity AS entity, arrayEnumerate(mention_entity) AS number WHERE status != 'retracted'";
    let posted = counted(stage.database.rows(posted).await?);
    differences("mentions in the log", mentioned, posted, outcome);
    let found = remembered(config).await?;
    let expected = counts(detectors.into_values().map(learnt))?;
    differences("mentions that DETECT remembers", found, expected, outcome);
    Ok(alerts)
}

/// A mention's place among all.
fn place(origin: &Origin, ordinal: u32) -> String {
    let source = &origin.source;
    format!(
        "{} {} {} {ordinal}",
        source.topic, source.partition, origin.offset
    )
}

/// Everything that the detector of a partition has learnt, as it would be saved.
fn learnt(mut detector: Detector) -> HashMap<String, Vec<u8>> {
    let checkpoint = detector.checkpoint(&Arc::from("a detector that never dies"));
    let changes = checkpoint.into_iter().flat_map(|all| all.entities);
    changes
        .filter_map(|(key, value)| Some((key, value?)))
        .collect()
}

/// Mentions of each entity in what is remembered of each partition. One that was forgotten, because its mentions were of
/// long ago, counts from its next mention on.
fn counts(
    states: impl Iterator<Item = HashMap<String, Vec<u8>>>,
) -> anyhow::Result<BTreeMap<String, i64>> {
    let mut counts = BTreeMap::new();
    for state in states {
        let mentions = snapshot::mentions(&state).map_err(anyhow::Error::msg)?;
        for (entity, mentions) in mentions.into_iter().filter(|(_, mentions)| *mentions > 0) {
            *counts.entry(format!("{entity} {mentions}")).or_default() += 1;
        }
    }
    Ok(counts)
}

/// What DETECT has saved.
async fn remembered(config: Config) -> anyhow::Result<BTreeMap<String, i64>> {
    let opening = tokio::task::spawn_blocking(move || Connection::open(&config));
    let connection = opening.await??;
    let producer = Producer::new(&connection)?;
    let state = TopicState::detect(connection, producer);
    let mut saved = Vec::new();
    for partition in 0..PARTITIONS {
        saved.push(state.load(partition).await?);
    }
    counts(saved.into_iter())
}
