//! Everything of a run: broker, proxy, receiver, and squall's processes.

use crate::broker::Broker;
use crate::database::Database;
use crate::posts::{Feed, Meant};
use crate::process::{self, Process};
use crate::proxy::Proxy;
use crate::receiver::Receiver;
use crate::setup::Setup;
use anyhow::{Context as _, bail};
use rdkafka::ClientConfig;
use rdkafka::producer::future_producer::DeliveryFuture;
use rdkafka::producer::{FutureProducer, FutureRecord};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

/// How long a process may take to end when it is told to.
const END: Duration = Duration::from_secs(20);
/// The slot of the process that comes and goes.
const THIRD: usize = 2;

/// Where a run finds what all runs share.
pub struct Place<'a> {
    /// Folder of the run.
    pub folder: &'a Path,
    /// The program under test.
    pub program: &'a Path,
    /// The model.
    pub model: &'a Path,
    /// The run's database.
    pub database: &'a Database,
}

/// Everything of a run.
pub struct Stage<'a> {
    pub setup: Setup,
    pub proxy: Proxy,
    pub receiver: Receiver,
    pub database: &'a Database,
    broker: Broker,
    producer: FutureProducer,
    under_way: Vec<(&'static str, DeliveryFuture, Meant)>,
    written: Written,
    slots: Vec<Slot>,
    /// What the driver has done to processes, by name.
    pub done: BTreeMap<&'static str, u64>,
    /// Processes that have ended although nobody made them: their exit status.
    pub ended: Vec<String>,
    /// Processes that were seen to have died by a signal: the driver's, or their own at a named point.
    died: u64,
}

/// What was written to the sources, by topic, partition and offset.
pub type Written = HashMap<(String, i32, i64), Meant>;

/// A place for a process, and those that follow it.
struct Slot {
    name: &'static str,
    process: Option<Process>,
    /// When the next is started; none: not at all.
    start_at: Option<Instant>,
    continue_at: Option<Instant>,
    /// Whether it was told to end.
    ending: bool,
}

impl<'a> Stage<'a> {
    /// Starts broker, proxy and receiver; no squall yet.
    pub async fn new(place: &Place<'a>) -> anyhow::Result<Self> {
        std::fs::create_dir_all(place.folder)?;
        let broker = Broker::start().context("the broker")?;
        let proxy = Proxy::start(&place.database.address).await?;
        let receiver = Receiver::start().await?;
        let producer = ClientConfig::new()
            .set("bootstrap.servers", &broker.address)
            .set("enable.idempotence", "true")
            .set("linger.ms", "2")
            .create()?;
        let setup = Setup {
            folder: place.folder.to_owned(),
            program: place.program.to_owned(),
            model: place.model.to_owned(),
            broker: broker.address.clone(),
            clickhouse: proxy.address(),
            database: place.database.name.clone(),
            receiver: receiver.address.clone(),
        };
        setup.write_dictionary()?;
        // The proxy runs on these threads too.
        tokio::task::block_in_place(|| process::migrate(&setup))?;
        let slot = |name| Slot {
            name,
            process: None,
            start_at: None,
            continue_at: None,
            ending: false,
        };
        Ok(Self {
            setup,
            proxy,
            receiver,
            database: place.database,
            broker,
            producer,
            under_way: Vec::new(),
            written: Written::new(),
            slots: ["a", "b", "c"].map(slot).into(),
            done: BTreeMap::new(),
            ended: Vec::new(),
            died: 0,
        })
    }

    /// Writes the records of one step of the stream.
    pub fn send(&mut self, feed: &mut Feed) -> anyhow::Result<()> {
        for record in feed.next() {
            let outgoing: FutureRecord<'_, (), Vec<u8>> = FutureRecord::to(record.topic)
                .partition(record.partition)
                .timestamp(record.timestamp.millis())
                .payload(&record.payload);
            match self.producer.send_result(outgoing) {
                Ok(delivery) => self.under_way.push((record.topic, delivery, record.meant)),
                Err((error, _)) => bail!("the producer: {error}"),
            }
        }
        Ok(())
    }

    /// Waits until the broker has all that was sent; returns what was written since the beginning.
    pub async fn written(&mut self) -> anyhow::Result<&Written> {
        for (topic, delivery, meant) in std::mem::take(&mut self.under_way) {
            let delivery = delivery.await.context("the producer has ended")?;
            let at = delivery
                .map_err(|(error, _)| error)
                .context("the producer")?;
            self.written
                .insert((topic.to_owned(), at.partition, at.offset), meant);
        }
        Ok(&self.written)
    }

    /// Starts a process in a slot; `faults` as in `SQUALL_FAULTS`.
    pub fn start(&mut self, slot: usize, faults: &str) -> std::io::Result<()> {
        let process = Process::start(&self.setup, self.slots[slot].name, faults)?;
        let slot = &mut self.slots[slot];
        slot.process = Some(process);
        slot.start_at = None;
        slot.continue_at = None;
        slot.ending = false;
        Ok(())
    }

    /// Whether a process runs in a slot.
    pub fn runs(&self, slot: usize) -> bool {
        self.slots[slot].process.is_some()
    }

    /// `kill -9`.
    pub fn kill(&mut self, slot: usize) {
        if let Some(process) = &self.slots[slot].process {
            process.signal("-KILL");
            *self.done.entry("killed").or_default() += 1;
        }
    }

    /// SIGTERM: another starts in its place when it has ended.
    pub fn terminate(&mut self, slot: usize) {
        if self.end(slot) {
            *self.done.entry("ended").or_default() += 1;
        }
    }

    /// SIGSTOP, and SIGCONT at the given time.
    pub fn pause(&mut self, slot: usize, until: Instant) {
        if let Some(process) = &self.slots[slot].process {
            process.signal("-STOP");
            self.slots[slot].continue_at = Some(until);
            *self.done.entry("paused").or_default() += 1;
        }
    }

    /// A third process joins, if there is none.
    pub fn add(&mut self, faults: &str) -> std::io::Result<()> {
        if !self.runs(THIRD) {
            self.start(THIRD, faults)?;
            *self.done.entry("added").or_default() += 1;
        }
        Ok(())
    }

    /// It leaves.
    pub fn remove(&mut self) {
        if self.end(THIRD) {
            *self.done.entry("removed").or_default() += 1;
        }
    }

    /// Tells a process to end, once: a second signal would end it at once.
    fn end(&mut self, slot: usize) -> bool {
        let slot = &mut self.slots[slot];
        let process = slot.process.as_ref().filter(|_| !slot.ending);
        if let Some(process) = process {
            process.signal("-TERM");
            slot.ending = true;
        }
        process.is_some()
    }

    /// Continues whatever was paused, and starts what is missing, at once.
    pub fn go_on_now(&mut self) {
        let now = Instant::now();
        for slot in &mut self.slots {
            slot.continue_at = slot.continue_at.map(|_| now);
            slot.start_at = slot.start_at.map(|_| now);
        }
    }

    /// Whether the broker still lives: librdkafka's mock cluster fails an assertion of its own when a member that was
    /// paused joins its group while its last request to join is not answered.
    pub fn broker_lives(&mut self) -> bool {
        self.broker.lives()
    }

    /// Continues the paused whose time has come, and starts others in the places of those that have ended: `next` says
    /// with which faults, and how long after the end.
    pub fn look_after(
        &mut self,
        mut next: impl FnMut() -> (String, Duration),
    ) -> anyhow::Result<()> {
        if !self.broker.lives() {
            bail!("the broker has ended by itself");
        }
        let now = Instant::now();
        for index in 0..self.slots.len() {
            let slot = &mut self.slots[index];
            let status = slot.process.as_mut().and_then(Process::ended);
            if let Some(status) = status {
                slot.process = None;
                self.died += u64::from(status.code().is_none());
                if is_unasked(status, slot.ending) {
                    let said = last_line(&self.setup.log_of(slot.name));
                    self.ended.push(format!("{}: {status}: {said}", slot.name));
                }
                let slot = &mut self.slots[index];
                slot.start_at = (index != THIRD).then(|| now + next().1);
            } else if slot.continue_at.is_some_and(|at| at <= now) {
                slot.continue_at = None;
                if let Some(process) = &slot.process {
                    process.signal("-CONT");
                }
            }
            if self.slots[index].start_at.is_some_and(|at| at <= now) {
                let faults = next().0;
                self.start(index, &faults)?;
            }
        }
        Ok(())
    }

    /// Tells all processes to end and waits for it; returns what did not go well. A fault that was armed before may still
    /// kill one.
    pub async fn end_all(&mut self) -> Vec<String> {
        let until = Instant::now() + END;
        let mut failures = Vec::new();
        for slot in 0..self.slots.len() {
            self.end(slot);
        }
        for slot in &mut self.slots {
            let Some(mut process) = slot.process.take() else {
                continue;
            };
            let status = process.ended_by(until).await;
            let noted = self.setup.faults().into_iter();
            let kills = noted.filter(|fault| fault.starts_with("kill")).count() as u64
                + self.done.get("killed").copied().unwrap_or_default();
            match status {
                Some(status) if status.success() => {}
                // One that dies at a named point notes it before it does.
                Some(status) if status.code().is_none() && self.died < kills => self.died += 1,
                Some(status) => {
                    failures.push(format!("{} has not ended well: {status}", slot.name))
                }
                None => failures.push(format!("{} has not ended after SIGTERM", slot.name)),
            }
        }
        failures
    }
}

/// What a process has said last.
fn last_line(log: &Path) -> String {
    let log = std::fs::read_to_string(log).unwrap_or_default();
    log.lines().last().unwrap_or_default().to_owned()
}

/// Whether a process has ended although nobody made it.
fn is_unasked(status: ExitStatus, ending: bool) -> bool {
    // A status without a code is a signal's: ours, or that of a named point.
    status.code().is_some_and(|code| !ending && code != 0)
}
