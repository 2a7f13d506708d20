//! Deliveries that outlive the process: an endpoint that is down, a service that is killed.

use crate::support::{Service, Setup, squall, until};
use squall::broker::{Connection, Producer};
use squall::config;
use squall::domain::{AlertKind, AlertMessage, Severity, Timestamp};
use squall::notify::{Notice, sample};
use squall::pipeline::Emitter;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const SECRET: &str = "whsec_c3F1YWxsLXNxdWFsbC1zcXVhbGwtc3F1YWxsIQ==";

/// The opening of an alert.
fn alert(number: usize) -> AlertMessage {
    let now = Timestamp::now();
    let Notice::Alert(sample) = sample(now) else {
        unreachable!("a sample is an alert");
    };
    AlertMessage {
        id: format!("msg_{number}"),
        alert_id: format!("alert-{number}"),
        kind: AlertKind::Opened,
        received_at: Some(now),
        entity: "BA".into(),
        severity: Severity::Critical,
        ..*sample
    }
}

/// Writes alerts as DETECT does.
async fn write_alerts(setup: &Setup, numbers: std::ops::Range<usize>) {
    let config = config::load(Some(Path::new(&setup.config())), std::iter::empty()).unwrap();
    let connection = tokio::task::spawn_blocking(move || Connection::open(&config).unwrap());
    let connection = connection.await.unwrap();
    let emitter = Emitter::new(&connection);
    let producer = Producer::new(&connection).unwrap();
    let records = numbers.map(|number| emitter.alert(&alert(number)));
    // Each is awaited by a task of its own: room in the embedded broker comes back as they are acknowledged.
    let mut writing = JoinSet::new();
    for record in records {
        writing.spawn(producer.send(record).await.unwrap());
    }
    for written in writing.join_all().await {
        written.unwrap();
    }
}

/// Takes everything, at an address that was free before. The ids in the order in which they came.
async fn receive(address: std::net::SocketAddr) -> Arc<Mutex<Vec<String>>> {
    let ids = Arc::new(Mutex::new(Vec::new()));
    let received = ids.clone();
    let app = axum::Router::new().fallback(move |headers: axum::http::HeaderMap| {
        let id = headers["webhook-id"].to_str().unwrap().to_owned();
        received.lock().unwrap().push(id);
        std::future::ready(())
    });
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    tokio::spawn(async { axum::serve(listener, app).await.unwrap() });
    ids
}

fn free_address() -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// Starts a service that logs each attempt.
fn start_telling(setup: &Setup) -> Service {
    let mut command = squall(&["run", "--config", &setup.config()]);
    command.env("SQUALL_LOG", "info,squall::pipeline::notify::attempt=debug");
    Service::of(command, true)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pending_when_the_process_is_killed_arrives_once_after_the_next_start() {
    const COUNT: usize = 200;
    let address = free_address();
    let setup = Setup::new(&format!(
        "[notify]\nattempts = 1000\nretry_waits = [\"100ms\", \"300ms\", \"500ms\"]\nallow = [\"127.0.0.1\"]\n\
         [[endpoints]]\nname = \"desk\"\nurl = \"http://{address}/\"\nsecrets = [\"{SECRET}\"]\n"
    ));
    let mut service = start_telling(&setup);
    write_alerts(&setup, 0..COUNT).await;
    service.wait_for_log("attempt=5");
    service.signal("-KILL");
    service.wait();
    let killed_at = Timestamp::now().millis();

    // Still down: told to end, it does not wait for what cannot be delivered.
    let mut service = start_telling(&setup);
    service.wait_for_log("attempt=7");
    let begun = Instant::now();
    service.stop();
    assert!(begun.elapsed() < Duration::from_secs(15));

    let ids = receive(address).await;
    let service = Service::start(&setup);
    let count = COUNT as i64;
    setup.wait_for(
        "select count(*) from deliveries where outcome = 'delivered'",
        count,
    );
    service.stop();
    let ids = ids.lock().unwrap().clone();
    let distinct: BTreeSet<&String> = ids.iter().collect();
    assert_eq!((ids.len(), distinct.len()), (COUNT, COUNT));
    let before = format!("select count(*) from deliveries where first_attempt_at < {killed_at}");
    assert_eq!(
        setup.count(&before),
        count,
        "the first attempt is remembered"
    );
    assert!(setup.count("select min(attempts) from deliveries") > 2);
    assert!(setup.count("select max(attempts) from deliveries") > 6);
}

/// Prints how fast pending deliveries are restored and delivered; `cargo test --test it -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn ten_thousand_pending_deliveries() {
    const COUNT: usize = 10_000;
    let address = free_address();
    let setup = Setup::new(&format!(
        "[notify]\nattempts = 1000\nretry_waits = [\"500ms\"]\nallow = [\"127.0.0.1\"]\n\
         [[endpoints]]\nname = \"desk\"\nurl = \"http://{address}/\"\nsecrets = [\"{SECRET}\"]\n"
    ));
    let service = Service::start(&setup);
    let begun = Instant::now();
    write_alerts(&setup, 0..COUNT).await;
    let pending = format!("squall_deliveries_pending{{endpoint=\"desk\"}} {COUNT}");
    loop {
        let metrics = reqwest::get(service.url("/metrics")).await.unwrap();
        if metrics.text().await.unwrap().contains(&pending) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    println!("{COUNT} alerts read and saved in {:.1?}", begun.elapsed());
    service.signal("-KILL");
    drop(service);

    let ids = receive(address).await;
    let mut service = Service::start(&setup);
    service.wait_for_log("deliveries were pending");
    until("the first arrives", || !ids.lock().unwrap().is_empty());
    let begun = Instant::now();
    until("all have arrived", || ids.lock().unwrap().len() >= COUNT);
    let took = begun.elapsed();
    let rate = COUNT as f64 / took.as_secs_f64();
    println!(
        "delivered in {took:.1?}: {rate:.0} deliveries/s; {} requests",
        ids.lock().unwrap().len()
    );
    let delivered = "select count(*) from deliveries where outcome = 'delivered'";
    setup.wait_for(delivered, COUNT as i64);
    service.stop();
}
