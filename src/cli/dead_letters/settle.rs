//! `squall dead-letters replay` and `drop`.

use super::pages::Pages;
use super::{counted, printable};
use crate::broker::{BrokerError, Connection, Outgoing, Producer};
use crate::config::Config;
use crate::domain::{ControlAct, DeadLetter, Origin, Settled, Timestamp};
use crate::pipeline::{Emitter, replayed};
use crate::store::{DeadLetterQuery, DeadLetterRow, Store};
use anyhow::{Context as _, bail};
use std::collections::BTreeMap;
use std::io::{BufRead, IsTerminal as _, Write as _};
use std::time::Duration;

/// How long the broker may take for one record.
const TIMEOUT: Duration = Duration::from_secs(20);

/// What is to be done with which letters.
pub(super) struct Settling {
    pub(super) settled: Settled,
    pub(super) by: String,
    pub(super) query: DeadLetterQuery,
    pub(super) limit: Option<usize>,
    /// Whether someone at a terminal is asked first.
    pub(super) ask: bool,
}

impl Settling {
    fn verb(&self) -> &'static str {
        match self.settled {
            Settled::Replayed => "replay",
            Settled::Dropped => "drop",
        }
    }
}

/// Settles the letters: a replayed one is in its topic again before it is marked.
///
/// A crash between the two leaves it open; it is then replayed a second time and counts once, because the record
/// carries its first origin.
pub(super) async fn run(
    mut settling: Settling,
    store: &dyn Store,
    config: Config,
) -> anyhow::Result<()> {
    let opening = config.clone();
    let connection = tokio::task::spawn_blocking(move || Connection::open(&opening)).await??;
    // What is rejected from now on is not meant.
    let now = Timestamp::now();
    settling.query.to = Some(settling.query.to.map_or(now, |to| to.min(now)));
    let by_reason = count(&settling, store).await?;
    let all: usize = by_reason.values().sum();
    if all == 0 {
        println!("{} {}: none matches", counted(0), settling.settled.name());
        return Ok(());
    }
    let stdin = std::io::stdin();
    if settling.ask && stdin.is_terminal() {
        let reasons: Vec<String> = by_reason
            .iter()
            .map(|(reason, count)| format!("{} {count}", printable(reason)))
            .collect();
        let reasons = reasons.join(", ");
        let question = format!("{} {} ({reasons})?", settling.verb(), counted(all));
        if !is_confirmed(&question, &mut stdin.lock())? {
            bail!("nothing was {}", settling.settled.name());
        }
    }
    let writer = Writer {
        producer: Producer::with_timeout(&connection, TIMEOUT)?,
        emitter: Emitter::new(&connection),
        connection,
        config,
    };
    let (done, refused) = writer.settle(&settling, store).await?;
    println!("{} {}", counted(done), settling.settled.name());
    if refused > 0 {
        bail!(
            "{} could not be {}: each is named above",
            counted(refused),
            settling.settled.name()
        );
    }
    Ok(())
}

/// Letters that match, by reason.
async fn count(settling: &Settling, store: &dyn Store) -> anyhow::Result<BTreeMap<String, usize>> {
    let mut by_reason = BTreeMap::new();
    let mut pages = pages(settling, store);
    loop {
        let rows = pages.next().await?;
        if rows.is_empty() {
            return Ok(by_reason);
        }
        for row in rows {
            *by_reason.entry(row.letter.reason).or_default() += 1;
        }
    }
}

fn pages<'a>(settling: &Settling, store: &'a dyn Store) -> Pages<'a> {
    Pages::new(
        store,
        settling.query.clone(),
        settling.limit.unwrap_or(usize::MAX),
    )
}

/// Whether the answer is yes.
fn is_confirmed(question: &str, answers: &mut dyn BufRead) -> std::io::Result<bool> {
    let mut err = std::io::stderr();
    write!(err, "{question} [y/N] ")?;
    err.flush()?;
    let mut answer = String::new();
    answers.read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// Writes records, and what was done.
struct Writer {
    producer: Producer,
    emitter: Emitter,
    connection: Connection,
    config: Config,
}

impl Writer {
    /// Settles page by page, in each the oldest first. Returns how many were settled, and how many were refused.
    async fn settle(
        &self,
        settling: &Settling,
        store: &dyn Store,
    ) -> anyhow::Result<(usize, usize)> {
        let (mut done, mut refused) = (0, 0);
        let mut pages = pages(settling, store);
        loop {
            let rows = pages.next().await?;
            if rows.is_empty() {
                return Ok((done, refused));
            }
            let (origins, failed) = match settling.settled {
                Settled::Replayed => self.replay(&rows).await,
                Settled::Dropped => (
                    rows.into_iter().map(|row| row.letter.origin).collect(),
                    Ok(0),
                ),
            };
            let acts = origins.into_iter().map(|origin| ControlAct::DeadLetter {
                origin,
                settled: settling.settled,
                by: settling.by.clone(),
                at: Timestamp::now(),
            });
            let acts = acts
                .map(|act| self.emitter.control(&act))
                .collect::<Vec<_>>();
            let broken = || {
                format!(
                    "after {} {}: run the command again for the others",
                    counted(done),
                    settling.settled.name()
                )
            };
            let marked = acts.len();
            for written in self.write(acts).await {
                written.with_context(broken)?;
            }
            let failed = failed.with_context(broken)?;
            done += marked;
            refused += failed;
        }
    }

    /// Writes the records of letters again. Returns the origins of those that the broker has, and how many were
    /// refused, or what the broker did not take.
    async fn replay(&self, rows: &[DeadLetterRow]) -> (Vec<Origin>, Result<usize, BrokerError>) {
        let mut refused = 0;
        let mut origins = Vec::new();
        let mut records = Vec::new();
        for DeadLetterRow { letter, .. } in rows.iter().rev() {
            match self.record(letter) {
                Ok(record) => {
                    origins.push(letter.origin.clone());
                    records.push(record);
                }
                Err(reason) => {
                    let origin = printable(&letter.origin.to_string());
                    tracing::warn!("{origin}: not replayed: {reason}");
                    refused += 1;
                }
            }
        }
        let mut failed = Ok(refused);
        let mut there = Vec::new();
        for (origin, written) in origins.into_iter().zip(self.write(records).await) {
            match written {
                Ok(()) => there.push(origin),
                Err(error) => failed = Err(error),
            }
        }
        (there, failed)
    }

    /// The record of a letter, if someone would read it.
    fn record(&self, letter: &DeadLetter) -> Result<Outgoing, String> {
        let record = replayed::again(letter).map_err(|reason| reason.to_string())?;
        let source = &letter.origin.source;
        if !self
            .config
            .topics
            .iter()
            .any(|topic| *topic.name == *source.topic)
        {
            return Err(format!(
                "nobody reads topic {}: add it under [[topics]]",
                printable(&source.topic)
            ));
        }
        let partitions = self.connection.partitions(&source.topic);
        if source.partition >= partitions {
            return Err(format!(
                "topic {} has {partitions} partitions now, and this letter is of number {}: create it with as many as before",
                source.topic, source.partition
            ));
        }
        Ok(record)
    }

    /// Writes records in order and waits for each. A result for each record, up to the first that the producer did not
    /// take.
    async fn write(&self, records: Vec<Outgoing>) -> Vec<Result<(), BrokerError>> {
        let mut under_way = Vec::with_capacity(records.len());
        for record in records {
            let place = record.topic.to_string();
            // The embedded broker takes a record when its readers have made room, which a service that ends never does.
            let sent = tokio::time::timeout(TIMEOUT, self.producer.send(record)).await;
            let sent = sent.unwrap_or(Err(BrokerError::NoRoom { place }));
            let refused = sent.is_err();
            under_way.push(sent);
            if refused {
                break;
            }
        }
        let mut written = Vec::with_capacity(under_way.len());
        for one in under_way {
            written.push(match one {
                Ok(acknowledged) => acknowledged.await.map(drop),
                Err(error) => Err(error),
            });
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use super::super::pages::tests::{letter, store};
    use super::*;
    use crate::broker::{Consumer, EmbeddedBroker, Event, Record, topics};
    use crate::store::sqlite::SqliteStore;

    /// A store, and the broker of a `squall run`.
    struct Bench {
        folder: tempfile::TempDir,
        store: SqliteStore,
        config: Config,
        _broker: EmbeddedBroker,
    }

    impl Bench {
        async fn new(letters: Vec<DeadLetter>) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let mut config = crate::config::load(None, std::iter::empty()).unwrap();
            config.run.data_dir = folder.path().into();
            config.kafka.partitions = 1;
            Self {
                store: store(folder.path(), letters).await,
                _broker: EmbeddedBroker::start(&config).unwrap(),
                config,
                folder,
            }
        }

        async fn settle(&self, settled: Settled, reason: Option<&str>) -> anyhow::Result<()> {
            let query = DeadLetterQuery {
                reason: reason.map(str::to_owned),
                limit: 2,
                ..DeadLetterQuery::default()
            };
            let settling = Settling {
                settled,
                by: "ann".into(),
                query,
                limit: None,
                ask: false,
            };
            run(settling, &self.store, self.config.clone()).await
        }

        /// So many records of a topic.
        async fn read(&self, topic: &str, count: usize) -> Vec<Record> {
            assert!(self.folder.path().exists());
            let connection = Connection::open(&self.config).unwrap();
            let role = topics::readers(topic)[0];
            let mut consumer = Consumer::start(&connection, role, &[topic], 16).unwrap();
            let mut records = Vec::new();
            while records.len() < count {
                match consumer.next().await.unwrap() {
                    Event::Record(record) => records.push(record),
                    Event::Failed(error) => panic!("{error}"),
                    _ => {}
                }
            }
            consumer.close().await;
            records
        }
    }

    fn acts(records: &[Record]) -> Vec<(String, Settled)> {
        let read = |record: &Record| match serde_json::from_slice(&record.payload).unwrap() {
            ControlAct::DeadLetter {
                origin,
                settled,
                by,
                ..
            } => {
                assert_eq!(by, "ann");
                (origin.to_string(), settled)
            }
            other => panic!("{other:?}"),
        };
        records.iter().map(read).collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_replay_is_written_as_it_came_and_then_marked() {
        let bench = Bench::new((0..5).map(|n| letter(n, n)).collect()).await;
        bench
            .settle(Settled::Replayed, Some("not_json"))
            .await
            .unwrap();
        let written = bench.read("news", 3).await;
        let payloads: Vec<_> = written.iter().map(|record| &record.payload[..]).collect();
        assert_eq!(
            payloads,
            [b"letter 2", b"letter 4", b"letter 0"],
            "each page from its oldest"
        );
        assert_eq!(
            written[0].headers,
            [
                ("squall-origin".to_owned(), b"e:news:0:2".to_vec()),
                ("squall-timestamp".to_owned(), b"1000002".to_vec()),
                ("trace".to_owned(), vec![0xff])
            ]
        );
        let replayed = |offset| (format!("e:news:0:{offset}"), Settled::Replayed);
        let marked = acts(&bench.read(topics::CONTROL, 3).await);
        assert_eq!(marked, [replayed(2), replayed(4), replayed(0)]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_cannot_be_replayed_is_left_open_and_the_others_are_not() {
        let mut own = letter(1, 1);
        own.origin = "e:squall.scored:0:1".parse().unwrap();
        let mut cut = letter(2, 2);
        cut.detail
            .push_str("; of the payload only 262144 of 900012 bytes are kept");
        let mut elsewhere = letter(3, 3);
        elsewhere.origin = "e:old-topic:0:3".parse().unwrap();
        let mut gone = letter(4, 4);
        gone.origin = "e:news:7:4".parse().unwrap();
        let letters = vec![letter(0, 0), own, cut, elsewhere, gone];
        let bench = Bench::new(letters).await;
        let error = bench.settle(Settled::Replayed, None).await.unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("4 dead letters could not be replayed"),
            "{error}"
        );
        assert_eq!(bench.read("news", 1).await[0].payload, b"letter 0");
        assert_eq!(acts(&bench.read(topics::CONTROL, 1).await).len(), 1);
        // All of them can be dropped.
        bench.settle(Settled::Dropped, None).await.unwrap();
        let marked = acts(&bench.read(topics::CONTROL, 6).await);
        let dropped = marked
            .iter()
            .filter(|(_, settled)| *settled == Settled::Dropped);
        assert_eq!(dropped.count(), 5);
    }

    #[test]
    fn only_a_yes_is_a_yes() {
        for (answer, yes) in [
            ("y\n", true),
            ("YES\n", true),
            ("n\n", false),
            ("\n", false),
            ("", false),
            ("yeah\n", false),
        ] {
            assert_eq!(
                is_confirmed("drop?", &mut answer.as_bytes()).unwrap(),
                yes,
                "{answer:?}"
            );
        }
    }
}
