//! Consumer, producer and embedded broker together.

use squall::broker::{
    Connection, Consumer, EmbeddedBroker, Event, Outgoing, Producer, Record, Stop,
};
use squall::config::{self, Config};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

fn config(folder: &std::path::Path) -> Config {
    let mut config = config::load(None, std::iter::empty()).unwrap();
    config.run.data_dir = folder.to_owned();
    config.kafka.partitions = 2;
    config
}

fn outgoing(number: usize, bytes: usize) -> Outgoing {
    Outgoing {
        topic: "news".into(),
        partition: Some((number % 2) as i32),
        key: Vec::new(),
        payload: format!("{number:0bytes$}").into_bytes(),
        headers: Vec::new(),
        timestamp: None,
    }
}

async fn send_all(producer: &Producer, numbers: std::ops::Range<usize>, bytes: usize) {
    let mut acknowledged = Vec::new();
    for number in numbers {
        acknowledged.push(tokio::spawn(
            producer.send(outgoing(number, bytes)).await.unwrap(),
        ));
    }
    for one in acknowledged {
        one.await.unwrap().unwrap();
    }
}

fn number(record: &Record) -> usize {
    String::from_utf8(record.payload.clone())
        .unwrap()
        .parse()
        .unwrap()
}

/// Reads until the consumer has stopped, marking each record done.
async fn read_until_stopped(consumer: &mut Consumer) -> Vec<Record> {
    let commits = consumer.commits();
    let mut records = Vec::new();
    while let Some(event) = consumer.next().await {
        match event {
            Event::Record(record) => {
                commits.done(
                    &record.topic,
                    record.partition,
                    record.assignment,
                    record.offset + 1,
                );
                records.push(record);
            }
            Event::Stopped => break,
            Event::Failed(error) => panic!("{error}"),
            Event::Assigned(_) | Event::Revoked(_) | Event::Expired(_) => {}
        }
    }
    records
}

async fn assigned(consumer: &mut Consumer) {
    loop {
        match consumer.next().await.expect("the consumer lives") {
            Event::Assigned(partitions) if !partitions.is_empty() => return,
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_loses_nothing_that_the_embedded_broker_would_trim() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let broker = EmbeddedBroker::start(&config).unwrap();
    let connection = Connection::open(&config).unwrap();
    assert_eq!(&**connection.epoch(), broker.epoch());
    let producer = Producer::new(&connection).unwrap();
    // 30 MB into two partitions that keep 5 MB each, into a channel of 8, read slowly.
    let writer = {
        let producer = producer.clone();
        tokio::spawn(async move { send_all(&producer, 0..3000, 10_000).await })
    };
    let mut consumer = Consumer::start(&connection, "score", &["news"], 8).unwrap();
    let commits = consumer.commits();
    let mut seen = HashSet::new();
    while seen.len() < 3000 {
        match consumer.next().await.expect("the consumer lives") {
            Event::Record(record) => {
                assert!(
                    seen.insert(number(&record)),
                    "{} came twice",
                    number(&record)
                );
                commits.done(
                    &record.topic,
                    record.partition,
                    record.assignment,
                    record.offset + 1,
                );
                if seen.len() % 500 == 0 {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
            Event::Failed(error) => panic!("{error}"),
            _ => {}
        }
    }
    writer.await.unwrap();
    consumer.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_at_the_end_it_delivers_all_and_the_next_one_goes_on_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let broker = EmbeddedBroker::start(&config).unwrap();
    let connection = Connection::to_embedded(&broker, &config).unwrap();
    let producer = Producer::new(&connection).unwrap();
    send_all(&producer, 0..200, 10).await;

    let mut first = Consumer::start(&connection, "score", &["news", "social"], 16).unwrap();
    assigned(&mut first).await;
    first.stop(Stop::AtEnd);
    let read = read_until_stopped(&mut first).await;
    first.close().await;
    assert_eq!(read.len(), 200);
    for partition in 0..2 {
        let order: Vec<i64> = read
            .iter()
            .filter(|r| r.partition == partition)
            .map(|r| r.offset)
            .collect();
        assert_eq!(order, (0..100).collect::<Vec<_>>());
    }

    send_all(&producer, 200..210, 10).await;
    let mut second = Consumer::start(&connection, "score", &["news", "social"], 16).unwrap();
    assigned(&mut second).await;
    second.stop(Stop::AtEnd);
    let read = read_until_stopped(&mut second).await;
    second.close().await;
    let numbers: HashSet<usize> = read.iter().map(number).collect();
    assert_eq!(numbers, (200..210).collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_consumers_share_the_partitions_and_every_record_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let broker = EmbeddedBroker::start(&config).unwrap();
    let connection = Connection::to_embedded(&broker, &config).unwrap();
    let producer = Producer::new(&connection).unwrap();
    let (found, mut numbers) = tokio::sync::mpsc::channel(1000);
    let read = |mut consumer: Consumer,
                found: tokio::sync::mpsc::Sender<(usize, usize)>,
                who: usize| async move {
        let commits = consumer.commits();
        while let Some(event) = consumer.next().await {
            if let Event::Record(record) = event {
                commits.done(
                    &record.topic,
                    record.partition,
                    record.assignment,
                    record.offset + 1,
                );
                if found.send((who, number(&record))).await.is_err() {
                    break;
                }
            }
        }
        consumer.close().await;
    };
    let mut first = Consumer::start(&connection, "score", &["news"], 16).unwrap();
    assigned(&mut first).await;
    let one = tokio::spawn(read(first, found.clone(), 1));
    send_all(&producer, 0..100, 10).await;
    let mut second = Consumer::start(&connection, "score", &["news"], 16).unwrap();
    assigned(&mut second).await;
    let two = tokio::spawn(read(second, found.clone(), 2));
    drop(found);
    send_all(&producer, 100..300, 10).await;
    let mut seen = HashSet::new();
    let mut readers = HashSet::new();
    while seen.len() < 300 {
        let (who, number) = numbers.recv().await.unwrap();
        seen.insert(number);
        readers.insert(who);
    }
    assert_eq!(
        readers,
        HashSet::from([1, 2]),
        "both take part after the rebalance"
    );
    numbers.close();
    send_all(&producer, 300..304, 10).await;
    one.await.unwrap();
    two.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lag_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let broker = EmbeddedBroker::start(&config).unwrap();
    let connection = Connection::to_embedded(&broker, &config).unwrap();
    let producer = Producer::new(&connection).unwrap();
    send_all(&producer, 0..20, 10).await;
    let mut consumer = Consumer::start(&connection, "score", &["news"], 100).unwrap();
    assigned(&mut consumer).await;
    let lag = consumer.lag();
    let news: Arc<str> = "news".into();
    while lag.remaining(&news, 0) != Some(10) || lag.remaining(&news, 1) != Some(10) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let commits = consumer.commits();
    for _ in 0..20 {
        let Some(Event::Record(record)) = consumer.next().await else {
            panic!("a record")
        };
        let next = record.offset + 1;
        commits.done(&record.topic, record.partition, record.assignment, next);
    }
    let none = async {
        while lag.remaining(&news, 0) != Some(0) || lag.remaining(&news, 1) != Some(0) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let patience = Duration::from_secs(60);
    let ended = tokio::time::timeout(patience, none).await;
    ended.expect("what is committed remains no longer");
    consumer.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_partition_waits_alone_and_goes_on_where_it_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let broker = EmbeddedBroker::start(&config).unwrap();
    let connection = Connection::to_embedded(&broker, &config).unwrap();
    let producer = Producer::new(&connection).unwrap();
    let mut consumer = Consumer::start(&connection, "score", &["news"], 4).unwrap();
    let commits = consumer.commits();
    send_all(&producer, 0..20, 10).await;
    let mut numbers = [Vec::new(), Vec::new()];
    let mut assignments = [0, 0];
    let mut held = None;
    while numbers[1].len() < 510 || numbers[0].len() < 510 {
        let Some(event) = consumer.next().await else {
            panic!("the consumer ended");
        };
        let Event::Record(record) = event else {
            continue;
        };
        let partition = record.partition as usize;
        numbers[partition].push(number(&record));
        assignments[partition] = record.assignment;
        if held.is_none() && numbers.iter().all(|numbers| numbers.len() == 10) {
            commits.hold(&record.topic, 0, assignments[0], true);
            // An assignment that is none is not listened to.
            commits.hold(&record.topic, 1, assignments[1] + 100, true);
            held = Some((record.topic.clone(), assignments[0]));
            tokio::time::sleep(Duration::from_secs(3)).await;
            send_all(&producer, 20..1020, 10).await;
        }
        if numbers[1].len() == 510 && numbers[0].len() == 10 {
            let (topic, assignment) = held.clone().unwrap();
            commits.hold(&topic, 0, assignment, false);
        }
        let odd_done = numbers[1].len() == 510;
        assert!(held.is_none() || numbers[0].len() == 10 || odd_done);
    }
    for (partition, numbers) in numbers.iter().enumerate() {
        let all: Vec<usize> = (0..1020).filter(|n| n % 2 == partition).collect();
        assert_eq!(*numbers, all);
    }
    consumer.close().await;
}

#[test]
fn a_broker_that_is_not_there_is_named_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path());
    let error = Connection::open(&config).unwrap_err().to_string();
    assert!(
        error.contains("squall run") && error.contains("embedded-broker.json"),
        "{error}"
    );
    config.kafka.brokers = "127.0.0.1:1".into();
    let error = Connection::open(&config).unwrap_err().to_string();
    assert!(
        error.contains("127.0.0.1:1") && error.contains("check kafka.brokers"),
        "{error}"
    );
}
