//! Starts the consuming roles.

use super::{OnAlert, Parts, Running};
use crate::broker::{BrokerError, Consumer, Producer, topics};
use crate::domain::EntityId;
use crate::lock::lock;
use crate::pipeline::{detect, notify, score, stopping, store};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Records a consumer may hold ready for its role.
const CAPACITY: usize = 512;
/// The embedded broker makes room for what DETECT has committed: at so many bytes of a partition, a fifth of what each
/// writer may have there, it commits.
const CHECKPOINT_BYTES: usize = 256 << 10;

/// A part of the service that can run in a process of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum)]
pub enum Role {
    /// Reads posts and scores them.
    Score,
    /// Writes what was scored and decided into the store.
    Store,
    /// Finds spikes and decides on alerts.
    Detect,
    /// Delivers alerts.
    Notify,
    /// The page, the HTTP API, metrics.
    Api,
}

impl Role {
    /// All roles.
    pub fn all() -> BTreeSet<Self> {
        BTreeSet::from([
            Self::Score,
            Self::Store,
            Self::Detect,
            Self::Notify,
            Self::Api,
        ])
    }

    /// The word on the command line, in group names and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Score => "score",
            Self::Store => "store",
            Self::Detect => "detect",
            Self::Notify => "notify",
            Self::Api => "api",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Starts one consuming role; [`Running`] then tells whether it has joined its group.
pub(super) fn start(
    role: Role,
    parts: &Arc<Parts>,
    on_alert: &OnAlert,
    give_up: &CancellationToken,
    running: &mut Running,
) -> anyhow::Result<()> {
    let (stopper, stopping) = stopping();
    let mut consumer = |topics: &[&str]| {
        let consumer = Consumer::start(&parts.connection, role.name(), topics, CAPACITY)?;
        running.joining.push((role, consumer.lag()));
        Ok::<_, BrokerError>(consumer)
    };
    let config = &parts.config;
    match role {
        Role::Score => {
            let Some((reader, encoder)) = parts.scoring.clone() else {
                return Ok(());
            };
            let topics: Vec<&str> = config
                .topics
                .iter()
                .map(|topic| topic.name.as_str())
                .collect();
            let score = score::Score {
                reader,
                encoder,
                producer: parts.producer.clone(),
                emitter: parts.emitter.clone(),
                config: config.score.clone(),
                sources: config
                    .topics
                    .iter()
                    .map(|t| (t.name.clone(), t.source.clone()))
                    .collect(),
                metrics: parts.metrics.clone(),
            };
            let consumer = consumer(&topics)?;
            running.spawn(role, stopper, score::run(score, consumer, stopping));
        }
        Role::Store => {
            let Some(database) = parts.store.clone() else {
                return Ok(());
            };
            let store = store::Store {
                database,
                connection: parts.connection.clone(),
                producer: parts.producer.clone(),
                emitter: parts.emitter.clone(),
                config: config.store.clone(),
                health: parts.health.clone(),
                metrics: parts.metrics.clone(),
            };
            let consumer = consumer(&topics::STORED)?;
            running.spawn(role, stopper, store::run(store, consumer, stopping));
        }
        Role::Detect => {
            let embedded = parts.connection.is_embedded();
            let detect = detect::Detect {
                producer: parts.producer.clone(),
                emitter: parts.emitter.clone(),
                config: config.detect.clone(),
                calendar: parts.calendar.clone(),
                state: parts.states.detect(&parts.connection, &parts.producer),
                checkpoint_bytes: if embedded {
                    CHECKPOINT_BYTES
                } else {
                    usize::MAX
                },
                on_alert: on_alert.clone(),
                metrics: parts.metrics.clone(),
                health: parts.health.clone(),
            };
            let consumer = consumer(&[topics::MENTIONS])?;
            running.spawn(role, stopper, detect::run(detect, consumer, stopping));
        }
        Role::Notify => {
            let (matcher, lists) = (parts.matcher.clone(), parts.matcher.clone());
            let notify = notify::Notify {
                notifier: parts.notifier.clone(),
                outside: Producer::to_outside(&parts.connection, config.notify.timeout)?,
                producer: parts.producer.clone(),
                emitter: parts.emitter.clone(),
                state: parts.states.notify(&parts.connection, &parts.producer),
                config: config.notify.clone(),
                routing: parts.routing.clone(),
                connection: parts.connection.clone(),
                entity_lists: Arc::new(move |id: &EntityId| lists.lists_of(id).to_vec()),
                max_alert_age: config.detect.max_alert_age,
                entity_name: Arc::new(move |id: &EntityId| {
                    matcher.entity(id).map(|entity| entity.name.clone())
                }),
                link_base: parts.link_base.clone(),
                health: parts.health.clone(),
                metrics: parts.metrics.clone(),
            };
            let Some(questions) = lock(&parts.questions).take() else {
                return Ok(());
            };
            let consumer = consumer(&[topics::ALERTS])?;
            let give_up = give_up.clone();
            running.spawn(
                role,
                stopper,
                notify::run(notify, consumer, questions, stopping, give_up),
            );
        }
        Role::Api => return Ok(()),
    }
    Ok(())
}
