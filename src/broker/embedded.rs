//! The embedded broker: librdkafka's in-process mock cluster. It speaks Kafka's protocol on a loopback port
//! of its own, keeps everything in memory, and drops the oldest records of a partition at about 5 MB: what
//! writes to it waits for its readers (see `room`).

use super::{BrokerError, topics};
use crate::config::Config;
use rdkafka::mocking::MockCluster;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;

/// A broker that lives as long as this value.
#[derive(Debug)]
pub struct EmbeddedBroker {
    note: Note,
    place: PathBuf,
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What other processes need to reach it: kept in the data folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Note {
    address: String,
    epoch: String,
}

impl EmbeddedBroker {
    /// Starts a broker with squall's own topics and the configured source topics, and leaves its address in
    /// the data folder for `squall replay`.
    ///
    /// # Errors
    /// [`BrokerError::Embedded`] when the broker or the file cannot be made.
    pub fn start(config: &Config) -> Result<Self, BrokerError> {
        let count = config.kafka.partitions;
        let sources = config
            .topics
            .iter()
            .map(|topic| (topic.name.clone(), count));
        let own = topics::own(count).map(|(name, count)| (name.to_owned(), count));
        let targets = config
            .endpoints
            .iter()
            .filter_map(|endpoint| endpoint.topic());
        let targets = targets.map(|topic| (topic.to_owned(), 1));
        let mut all: Vec<(String, i32)> = own.into_iter().chain(sources).chain(targets).collect();
        let mut seen = std::collections::HashSet::new();
        all.retain(|(name, _)| seen.insert(name.clone()));
        let (stop, stopped) = mpsc::channel();
        let (started, address) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("embedded-broker".into())
            .spawn(move || host(&all, &started, &stopped))
            .map_err(|error| BrokerError::Embedded(error.to_string()))?;
        let address = address
            .recv()
            .map_err(|_| BrokerError::Embedded("its thread ended".into()))?
            .map_err(BrokerError::Embedded)?;
        let note = Note {
            address,
            epoch: new_epoch(),
        };
        let place = note_path(&config.run.data_dir);
        write_note(&place, &note).map_err(|error| {
            BrokerError::Embedded(format!("{}: {error}: check run.data_dir", place.display()))
        })?;
        Ok(Self {
            note,
            place,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// `host:port` to reach it.
    pub fn address(&self) -> &str {
        &self.note.address
    }

    /// Name of its life: another one at each start.
    pub fn epoch(&self) -> &str {
        &self.note.epoch
    }

    /// Address and epoch of the broker that was started last for a data folder.
    pub(super) fn find(data_dir: &Path) -> Result<(String, String), BrokerError> {
        let text = std::fs::read(note_path(data_dir)).map_err(|_| Self::not_running(data_dir))?;
        let note: Note = serde_json::from_slice(&text).map_err(|_| Self::not_running(data_dir))?;
        Ok((note.address, note.epoch))
    }

    pub(super) fn not_running(data_dir: &Path) -> BrokerError {
        BrokerError::NotRunning {
            place: note_path(data_dir).display().to_string(),
        }
    }
}

impl Drop for EmbeddedBroker {
    fn drop(&mut self) {
        // Another process may have started its own broker for this folder since: leave its note alone.
        let ours = std::fs::read(&self.place)
            .ok()
            .and_then(|text| serde_json::from_slice::<Note>(&text).ok());
        if ours.as_ref() == Some(&self.note) {
            let _ = std::fs::remove_file(&self.place);
        }
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Holds the cluster, which must stay on one thread, until `stopped` is hung up.
fn host(
    topics: &[(String, i32)],
    started: &mpsc::Sender<Result<String, String>>,
    stopped: &mpsc::Receiver<()>,
) {
    let cluster = MockCluster::new(1).and_then(|cluster| {
        topics
            .iter()
            .try_for_each(|(name, count)| cluster.create_topic(name, *count, 1))?;
        Ok(cluster)
    });
    match cluster {
        Ok(cluster) => {
            let _ = started.send(Ok(cluster.bootstrap_servers()));
            let _ = stopped.recv();
        }
        Err(error) => {
            let _ = started.send(Err(error.to_string()));
        }
    }
}

fn note_path(data_dir: &Path) -> PathBuf {
    data_dir.join("embedded-broker.json")
}

fn write_note(place: &Path, note: &Note) -> std::io::Result<()> {
    if let Some(folder) = place.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(place, serde_json::to_vec(note)?)
}

/// 64 random bits: no two lives share a name.
fn new_epoch() -> String {
    format!("embedded-{:016x}", rand::random::<u64>())
}
