//! State in a compacted topic, for a broker of its own.
//!
//! A takeover of a partition has a name that nobody else has, and every record of its owner has the Kafka key
//! `name/key`. So a former owner that still writes (a process that was stopped for a while, with records in its
//! client) can never displace a record of a later one, neither in the log nor when it is compacted. Taking over is:
//!
//! 1. claim: a record with the key `name`. Claims are ordered by their offsets: the latest is the owner's.
//! 2. read the partition from its beginning to the own claim. What counts is the whole state of the latest takeover
//!    that was completed.
//! 3. copy that state under the own name, then complete the takeover with the record `name/`. From here on nothing
//!    that others write means anything.
//! 4. remove what earlier takeovers have left.
//!
//! A crash anywhere before 3 ends leaves the state where it was. After each write the owner reads on to its end: a claim
//! of another in between means that this write may not count. Then the write fails, and when the owner tries again long
//! enough after that (whoever has really lost the partition knows it by then), it takes the partition over once more: so
//! a process that claims late what is no longer its own does no harm.

use super::{Change, State, StateError, StateResult};
use crate::broker::{
    Acknowledged, BrokerError, Connection, Entry, Outgoing, PartitionReader, Producer, topics,
};
use crate::lock::lock;
use futures::future::BoxFuture;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::OwnedMutexGuard;

/// Whoever still owns a partition so many session timeouts of a consumer after another has claimed its state really does.
const OUTWAIT: u32 = 3;

/// Every value begins with this: the format of what follows.
const FORMAT: u8 = b'1';

/// The state of one role in its topic.
pub struct TopicState {
    connection: Connection,
    producer: Producer,
    role: &'static str,
    topic: &'static str,
    /// Topic whose partitions it is divided like.
    like: &'static str,
    outwait: Duration,
    partitions: Mutex<HashMap<i32, Slot>>,
}

/// Records under way.
type Writing = Vec<Acknowledged>;

type Slot = Arc<tokio::sync::Mutex<Option<Owned>>>;

/// A partition taken over.
struct Owned {
    takeover: Takeover,
    /// Stands behind everything that was checked for claims of others.
    reader: PartitionReader,
    /// When another's claim was seen.
    outdone: Option<Instant>,
}

/// One takeover.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Takeover {
    name: Box<str>,
    /// Offset of its claim.
    claim: i64,
}

impl TopicState {
    /// The state of DETECT.
    pub fn detect(connection: Connection, producer: Producer) -> Self {
        Self::new(
            connection,
            producer,
            "detect",
            topics::DETECT_STATE,
            topics::MENTIONS,
        )
    }

    /// The state of NOTIFY.
    pub fn notify(connection: Connection, producer: Producer) -> Self {
        Self::new(
            connection,
            producer,
            "notify",
            topics::NOTIFY_STATE,
            topics::ALERTS,
        )
    }

    fn new(
        connection: Connection,
        producer: Producer,
        role: &'static str,
        topic: &'static str,
        like: &'static str,
    ) -> Self {
        Self {
            outwait: connection.session_timeout() * OUTWAIT,
            connection,
            producer,
            role,
            topic,
            like,
            partitions: Mutex::default(),
        }
    }

    fn slot(&self, partition: i32) -> Slot {
        lock(&self.partitions).entry(partition).or_default().clone()
    }

    /// Takes a partition over.
    async fn take_over(
        &self,
        partition: i32,
        owned: OwnedMutexGuard<Option<Owned>>,
    ) -> StateResult<(OwnedMutexGuard<Option<Owned>>, HashMap<String, Vec<u8>>)> {
        let count = self.connection.partitions(self.topic);
        if partition >= count {
            let like = self.like;
            let problem = format!(
                "does not exist, there are {count}: give the topic as many partitions as {like}, and start again"
            );
            return Err(self.failed(partition, problem));
        }
        let name: Box<str> = format!("{:016x}", rand::random::<u64>()).into();
        let mut claiming = Writing::default();
        self.send(
            partition,
            &mut claiming,
            name.to_string(),
            b"claim".to_vec(),
        )
        .await?;
        let claim = self.written(partition, claiming).await?;
        let takeover = Takeover { name, claim };
        let (owned, log) = self.read(partition, owned, takeover.clone()).await?;
        let (state, outdated) = log.resolve(&takeover);
        let mut copying = Writing::default();
        for (key, value) in &state {
            self.send(
                partition,
                &mut copying,
                takeover.key(key),
                with_format(value),
            )
            .await?;
        }
        self.written(partition, copying).await?;
        let mut ending = Writing::default();
        let at = claim.to_string().into_bytes();
        self.send(partition, &mut ending, takeover.key(""), at)
            .await?;
        self.written(partition, std::mem::take(&mut ending)).await?;
        for key in outdated {
            self.send(partition, &mut ending, key, Vec::new()).await?;
        }
        self.written(partition, ending).await?;
        Ok((owned, state))
    }

    /// Reads a partition from its beginning to the claim of a takeover, in which the reader stays.
    async fn read(
        &self,
        partition: i32,
        mut owned: OwnedMutexGuard<Option<Owned>>,
        takeover: Takeover,
    ) -> StateResult<(OwnedMutexGuard<Option<Owned>>, Log)> {
        let (connection, role, topic) = (self.connection.clone(), self.role, self.topic);
        let read = move || {
            *owned = None;
            let mut log = Log::default();
            let mut reader = PartitionReader::open(&connection, role, topic, partition)?;
            reader.read_through(takeover.claim, |entry| log.take(entry))?;
            *owned = Some(Owned {
                takeover,
                reader,
                outdone: None,
            });
            Ok((owned, log))
        };
        self.blocking(partition, read).await
    }

    /// Reads on to the last record written, and fails when another has claimed the partition before it.
    async fn check(
        &self,
        partition: i32,
        mut owned: OwnedMutexGuard<Option<Owned>>,
        last: i64,
    ) -> StateResult<()> {
        let check = move || {
            let Some(own) = owned.as_mut() else {
                return Ok(());
            };
            let Owned {
                reader, outdone, ..
            } = own;
            reader.read_through(last, |entry| {
                let (_, key) = Key::parse(&entry)?;
                if key == Key::Claim && !entry.payload.is_empty() {
                    *outdone = Some(Instant::now());
                }
                Ok::<_, Problem>(())
            })?;
            outdone.map_or(Ok(()), |_| Err(Problem::Outdone))
        };
        self.blocking(partition, check).await
    }

    /// Hands a record to the producer; one without bytes removes its key.
    async fn send(
        &self,
        partition: i32,
        writing: &mut Writing,
        key: String,
        payload: Vec<u8>,
    ) -> StateResult<()> {
        let record = Outgoing {
            topic: self.topic.into(),
            partition: Some(partition),
            key: key.into(),
            payload,
            headers: Vec::new(),
            timestamp: None,
        };
        let sent = self.producer.send(record).await;
        writing.push(sent.map_err(|error| self.failed(partition, error.to_string()))?);
        Ok(())
    }

    /// Waits until the broker has every record. Returns the offset of the last; -1 for none.
    async fn written(&self, partition: i32, writing: Writing) -> StateResult<i64> {
        let mut last = -1;
        for acknowledged in writing {
            let written = acknowledged.await;
            (_, last) = written.map_err(|error| self.failed(partition, error.to_string()))?;
        }
        Ok(last)
    }

    async fn blocking<T: Send + 'static>(
        &self,
        partition: i32,
        job: impl FnOnce() -> Result<T, Problem> + Send + 'static,
    ) -> StateResult<T> {
        match tokio::task::spawn_blocking(job).await {
            Ok(done) => done.map_err(|problem| self.failed(partition, problem.to_string())),
            Err(error) => Err(self.failed(partition, error.to_string())),
        }
    }

    fn failed(&self, partition: i32, problem: String) -> StateError {
        StateError {
            place: format!("{}:{partition}", self.topic),
            problem,
        }
    }
}

impl State for TopicState {
    fn load(&self, partition: i32) -> BoxFuture<'_, StateResult<HashMap<String, Vec<u8>>>> {
        Box::pin(async move {
            let owned = self.slot(partition).lock_owned().await;
            Ok(self.take_over(partition, owned).await?.1)
        })
    }

    fn put(&self, partition: i32, changes: Vec<Change>) -> BoxFuture<'_, StateResult<()>> {
        Box::pin(async move {
            let mut owned = self.slot(partition).lock_owned().await;
            if let Some(since) = owned.as_ref().and_then(|owned| owned.outdone) {
                if since.elapsed() < self.outwait {
                    return Err(self.failed(partition, Problem::Outdone.to_string()));
                }
                tracing::warn!(
                    topic = self.topic,
                    partition,
                    "still ours: taken over once more"
                );
                owned = self.take_over(partition, owned).await?.0;
            }
            let Some(takeover) = owned.as_ref().map(|owned| owned.takeover.clone()) else {
                return Err(self.failed(partition, "was not loaded before it was written".into()));
            };
            let mut writing = Writing::default();
            for Change { key, value } in changes {
                let payload = value.map(|value| with_format(&value)).unwrap_or_default();
                self.send(partition, &mut writing, takeover.key(&key), payload)
                    .await?;
            }
            let last = self.written(partition, writing).await?;
            self.check(partition, owned, last).await
        })
    }
}

impl Takeover {
    /// The Kafka key under which its owner keeps a key.
    fn key(&self, key: &str) -> String {
        format!("{}/{key}", self.name)
    }
}

fn with_format(value: &[u8]) -> Vec<u8> {
    [&[FORMAT], value].concat()
}

/// What keeps a reader from going on.
#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error(
        "offset {offset}: {what}: remove what else writes to the topic, or delete the topic to begin anew"
    )]
    Unreadable { offset: i64, what: &'static str },
    #[error(
        "another process has taken it over: what was written may not count, and is written again"
    )]
    Outdone,
}

/// What a record is, by its Kafka key.
#[derive(Debug, PartialEq, Eq)]
enum Key<'a> {
    Claim,
    Complete,
    Value(&'a str),
}

impl<'a> Key<'a> {
    /// Name of the takeover, and what it says.
    fn parse(entry: &Entry<'a>) -> Result<(&'a str, Self), Problem> {
        let unreadable = |what| Problem::Unreadable {
            offset: entry.offset,
            what,
        };
        let text = std::str::from_utf8(entry.key).map_err(|_| unreadable("its key is no text"))?;
        let (name, key) = match text.split_once('/') {
            None => (text, Self::Claim),
            Some((name, "")) => (name, Self::Complete),
            Some((name, key)) => (name, Self::Value(key)),
        };
        let is_name = name.len() == 16 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_name {
            return Err(unreadable("its key is none of squall's"));
        }
        Ok((name, key))
    }
}

/// What stands in a partition.
#[derive(Debug, Default)]
struct Log(HashMap<Box<str>, Written>);

/// What one takeover has written, as far as it is still there.
#[derive(Debug, Default)]
struct Written {
    claim: bool,
    /// Offset of its claim, once it is complete.
    complete: Option<i64>,
    values: HashMap<String, Vec<u8>>,
}

impl Log {
    fn take(&mut self, entry: Entry<'_>) -> Result<(), Problem> {
        let unreadable = |what| Problem::Unreadable {
            offset: entry.offset,
            what,
        };
        let (name, key) = Key::parse(&entry)?;
        if !self.0.contains_key(name) {
            self.0.insert(name.into(), Written::default());
        }
        let Some(written) = self.0.get_mut(name) else {
            return Ok(());
        };
        let removed = entry.payload.is_empty();
        match key {
            Key::Claim => written.claim = !removed,
            Key::Complete if removed => written.complete = None,
            Key::Complete => {
                let claim = std::str::from_utf8(entry.payload)
                    .ok()
                    .and_then(|text| text.parse().ok());
                written.complete = Some(claim.ok_or_else(|| unreadable("it names no offset"))?);
            }
            Key::Value(key) => match entry.payload {
                [] => drop(written.values.remove(key)),
                [FORMAT, value @ ..] => drop(written.values.insert(key.to_owned(), value.to_vec())),
                _ => return Err(unreadable("its value has an unknown format")),
            },
        }
        Ok(())
    }

    /// The state of the latest completed takeover, and the Kafka keys of everything that others than `own` have left,
    /// in the order in which they may go: a takeover counts as complete as long as anything of it is there.
    fn resolve(mut self, own: &Takeover) -> (HashMap<String, Vec<u8>>, Vec<String>) {
        self.0.remove(&own.name);
        let latest = self
            .0
            .iter()
            .filter_map(|(name, written)| Some((written.complete?, name.clone())))
            .max();
        let mut outdated = Vec::new();
        for (name, written) in &self.0 {
            outdated.extend(written.values.keys().map(|key| format!("{name}/{key}")));
            outdated.extend(written.complete.map(|_| format!("{name}/")));
            outdated.extend(written.claim.then(|| name.to_string()));
        }
        let latest = latest.and_then(|(_, name)| self.0.remove(&name));
        (
            latest.map(|written| written.values).unwrap_or_default(),
            outdated,
        )
    }
}

#[cfg(test)]
mod tests;
