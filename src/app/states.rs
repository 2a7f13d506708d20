//! What the roles remember over a restart.

use crate::broker::{Connection, Producer};
use crate::config::{Config, EMBEDDED};
use crate::state::{SqliteState, State, StateResult, TopicState};
use std::sync::Arc;

/// File in the data folder that holds it when the broker is embedded.
const FILE: &str = "state.db";

/// The state of each role: in one file when the broker is embedded, else in topics.
pub(super) struct States(Option<SqliteState>);

impl States {
    /// Opens the file, where there is one.
    ///
    /// # Errors
    /// What is wrong with it, with the remedy.
    pub fn open(config: &Config) -> StateResult<Self> {
        let embedded = config.kafka.brokers == EMBEDDED;
        let open = || SqliteState::open(&config.run.data_dir.join(FILE), "detect");
        Ok(Self(embedded.then(open).transpose()?))
    }

    /// What DETECT has learnt.
    pub fn detect(&self, connection: &Connection, producer: &Producer) -> Arc<dyn State> {
        match &self.0 {
            Some(file) => Arc::new(file.of("detect")),
            None => Arc::new(TopicState::detect(connection.clone(), producer.clone())),
        }
    }

    /// NOTIFY's deliveries.
    pub fn notify(&self, connection: &Connection, producer: &Producer) -> Arc<dyn State> {
        match &self.0 {
            Some(file) => Arc::new(file.of("notify")),
            None => Arc::new(TopicState::notify(connection.clone(), producer.clone())),
        }
    }
}
