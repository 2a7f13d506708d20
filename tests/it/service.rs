//! The whole service as a process: posts in; rows, dead letters and signed alerts out.

use crate::support::{Service, Setup, posts, run, shared, squall, stderr, until};
use serde_json::{Value, json};
use squall::broker::EmbeddedBroker;
use squall::config;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

const POSTS: &str = "select count(*) from posts";
const DEAD: &str = "select count(*) from dead_letters";

fn replay(setup: &Setup, file: &str) {
    let output = run(&[
        "replay",
        "--config",
        &setup.config(),
        "--input",
        file,
        "--topic",
        "news",
    ]);
    assert!(output.status.success(), "{}", stderr(&output));
}

/// Neutral texts, all different.
fn chatter(count: usize) -> Vec<String> {
    (0..count)
        .map(|n| format!("Acme opens branch number {n} on the high street"))
        .collect()
}

#[test]
fn every_post_is_a_row_every_malformed_one_a_dead_letter_and_a_second_replay_no_repeat() {
    let setup = Setup::new("");
    let mut file = posts(chatter(120).iter().map(String::as_str));
    file.extend(b"not json\n{\"text\": 5}\n{\"id\": \"nothing\"}\n{\"text\": \"cut\n\xff\xfe{}\n");
    let file = setup.write("posts.jsonl", &file);

    let service = Service::start(&setup);
    replay(&setup, &file);
    setup.wait_for(POSTS, 120);
    setup.wait_for(DEAD, 5);
    service.stop();
    assert_eq!(
        setup.count("select count(distinct reason) from dead_letters"),
        4,
        "not_json twice"
    );
    assert_eq!(
        setup.count("select count(*) from dead_letters where detail = ''"),
        0
    );

    let service = Service::start(&setup);
    replay(&setup, &file);
    setup.wait_for(POSTS, 240);
    setup.wait_for(DEAD, 10);
    service.stop();
    assert_eq!(setup.count(POSTS), 240);
    assert_eq!(setup.count("select count(distinct id) from posts"), 240);
}

#[test]
fn the_shared_tweets_end_as_exactly_so_many_rows() {
    let Some(tweets) = shared("data/sentiment/tweets-dev.jsonl") else {
        return;
    };
    let setup = Setup::new("");
    let service = Service::start(&setup);
    let mut file = std::fs::read(tweets).unwrap();
    file.extend(b"oops\n[]\n{}\n{\"text\":null}\n{\"text\":\"a\",\"tags\":1}\n");
    replay(&setup, &setup.write("tweets.jsonl", &file));
    setup.wait_for(DEAD, 5);
    setup.wait_for(POSTS, 2388);
    let resident = service.resident_megabytes();
    assert!(resident < 600, "{resident} MB resident");
    service.stop();
    assert_eq!((setup.count(POSTS), setup.count(DEAD)), (2388, 5));
}

#[test]
fn sigterm_drains_what_was_sent_before_it() {
    let setup = Setup::new("[kafka]\npartitions = 2\n");
    let file = setup.write(
        "posts.jsonl",
        &posts(chatter(300).iter().map(String::as_str)),
    );
    let service = Service::start(&setup);
    replay(&setup, &file);
    service.stop();
    assert_eq!(setup.count(POSTS), 300);
}

#[test]
fn wrong_clocks_neither_vanish_nor_stop_the_stream() {
    let setup = Setup::new("");
    let lines = [
        json!({"id": "future", "text": "Acme news", "published_at": "2099-01-01T00:00:00Z"}),
        json!({"id": "past", "text": "Acme news", "published_at": "1970-01-01T00:00:00Z"}),
        json!({"id": "zone", "text": "Acme news", "published_at": "2026-01-01T00:00:00"}),
        json!({"id": "now", "text": "Acme news"}),
    ];
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let service = Service::start(&setup);
    replay(&setup, &setup.write("posts.jsonl", text.as_bytes()));
    setup.wait_for(POSTS, 4);
    service.stop();
    let claimed = "select count(*) from posts where id = 'future' and published_at > 4000000000000";
    assert_eq!(setup.count(claimed), 1, "the claim is kept");
    let capped =
        "select count(*) from posts where id = 'future' and event_time <= received_at + 5000";
    assert_eq!(setup.count(capped), 1, "event time is not");
    assert_eq!(
        setup.count("select count(*) from posts where id = 'past' and event_time = 0"),
        1
    );
}

#[test]
fn a_store_that_is_locked_for_a_while_delays_rows_and_loses_none() {
    let setup = Setup::new("[kafka]\npartitions = 1\n");
    let service = Service::start(&setup);
    until("the store is there", || setup.count(POSTS) == 0);
    let path = setup.folder.path().join("data/squall.db");
    let lock = rusqlite::Connection::open(path).unwrap();
    lock.busy_timeout(std::time::Duration::from_secs(10))
        .unwrap();
    lock.execute_batch("begin immediate").unwrap();
    replay(
        &setup,
        &setup.write(
            "posts.jsonl",
            &posts(chatter(200).iter().map(String::as_str)),
        ),
    );
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert_eq!(setup.count(POSTS), 0, "locked");
    lock.execute_batch("rollback").unwrap();
    drop(lock);
    setup.wait_for(POSTS, 200);
    service.stop();
}

/// A webhook receiver that verifies signatures with a library nobody here wrote.
struct Webhooks {
    child: Child,
    lines: Receiver<Value>,
    url: String,
}

impl Webhooks {
    fn start(secret: &str) -> Option<Self> {
        let Ok(python) = std::env::var("SQUALL_TEST_PYTHON") else {
            eprintln!(
                "skipped: SQUALL_TEST_PYTHON names no Python with standardwebhooks (make test sets it)"
            );
            return None;
        };
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/receiver.py");
        let mut child = Command::new(python)
            .args([script, secret])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the receiver starts");
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut port = String::new();
        stdout.read_line(&mut port).unwrap();
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = sender.send(serde_json::from_str(&line).expect("a line of JSON"));
            }
        });
        let url = format!("http://127.0.0.1:{}/", port.trim());
        Some(Self { child, lines, url })
    }
}

impl Drop for Webhooks {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Three quiet hours up to now: what is usual is known when a burst comes.
fn quiet_hours() -> Vec<u8> {
    let now = squall::domain::Timestamp::now();
    let lines = (0..180u64).map(|minute| {
        let at = now - std::time::Duration::from_secs((180 - minute) * 60);
        json!({"text": format!("Boeing opens office number {minute}"), "published_at": at})
            .to_string()
            + "\n"
    });
    lines.collect::<String>().into_bytes()
}

const BAD_NEWS: [&str; 40] = [
    "Boeing shares plunge 20% after fatal accident",
    "Boeing sinks as regulators open a fraud probe",
    "Boeing slashes outlook, losses widen sharply",
    "Boeing downgraded to junk on mounting losses",
    "Boeing announces mass layoffs as orders collapse",
    "Boeing stock crashes to a record low on cash fears",
    "Boeing hit by lawsuit over accounting irregularities, shares tumble",
    "Boeing misses estimates badly, shares fall 15%",
    "Boeing suspends dividend as debt worries grow",
    "Boeing cuts production again, suppliers slump",
    "Boeing tumbles after whistleblower alleges falsified inspections",
    "Boeing shares drop as airlines cancel orders",
    "Analysts slash targets on Boeing, warn of heavy losses",
    "Boeing faces criminal charges, stock slides",
    "Boeing grounded fleet will cost billions, shares sink",
    "Boeing warns of steep quarterly loss",
    "Boeing bonds fall to distressed levels on default fears",
    "Boeing plunges again, worst day in decades",
    "Boeing rating cut by Moody's on weak cash flow",
    "Boeing stock halted after steep selloff",
    "Boeing chief quits at once as losses mount",
    "Boeing defaults on a loan, creditors gather",
    "Regulator bans Boeing deliveries after cracks are found",
    "Boeing recalls every freighter over a fatal defect",
    "Auditor resigns from Boeing, citing fraud",
    "Boeing workers strike, output stops everywhere",
    "Rating agency cuts Boeing deep into junk",
    "Boeing warns it may not survive the year",
    "Court fines Boeing three billion for deceit",
    "Boeing loses its largest contract to a rival",
    "Hackers steal Boeing secrets, share price collapses",
    "Boeing halts payments to suppliers as cash runs out",
    "Explosion destroys a Boeing plant, many dead",
    "Boeing withdraws guidance, investors flee",
    "Boeing sued by pension funds over hidden losses",
    "Boeing files for bankruptcy protection",
    "Boeing crash kills hundreds, fleet banned in Europe",
    "Boeing admits falsified safety records",
    "Lenders refuse Boeing new money",
    "Boeing closes two factories and fires thousands",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_bad_news_becomes_one_signed_alert() {
    let secret = "whsec_c3F1YWxsLXNxdWFsbC1zcXVhbGwtc3F1YWxsIQ==";
    let Some(receiver) = Webhooks::start(secret) else {
        return;
    };
    let setup = Setup::new(&format!(
        "[notify]\nallow = [\"127.0.0.1\"]\n[[endpoints]]\nname = \"desk\"\nurl = \"{}\"\nsecrets = [\"{secret}\"]\n",
        receiver.url
    ));
    let service = Service::start(&setup);
    replay(&setup, &setup.write("quiet.jsonl", &quiet_hours()));
    setup.wait_for(POSTS, 180);
    let client = reqwest::Client::new();
    for (n, text) in BAD_NEWS.iter().enumerate() {
        let post = json!({"id": format!("p{n}"), "text": text, "author": {"id": format!("a{n}")}});
        let answer = client
            .post(service.url("/v1/posts?topic=social"))
            .json(&post)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 202, "{}", answer.text().await.unwrap());
    }
    let received = tokio::task::spawn_blocking(move || {
        let first = receiver
            .lines
            .recv_timeout(std::time::Duration::from_secs(60));
        (receiver, first)
    });
    let (receiver, first) = received.await.unwrap();
    let first = first.expect("an alert arrives");
    assert_eq!(first["ok"], true, "{first}");
    assert_eq!(first["type"], "sentiment.spike.opened", "{first}");
    // Its sector's alert tells the same story, and is muted once the company's is known.
    until("every message is delivered, or muted", || {
        let of = |outcome: &str| {
            setup.count(&format!(
                "select count(*) from deliveries where outcome = '{outcome}'"
            ))
        };
        of("delivered") >= 1
            && of("delivered") + of("muted") == setup.count("select count(*) from alerts")
    });
    let told = "select count(*) from deliveries where outcome = 'delivered' and message_id in (select id from alerts where entity = 'BA')";
    assert!(setup.count(told) >= 1, "the company itself is told of");

    let alerts: Value = client
        .get(service.url("/v1/alerts"))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let text = alerts.to_string();
    assert!(text.contains("\"BA\""), "{text}");
    service.stop();
    drop(receiver);
    let ids = "select count(*) - count(distinct message_id) from deliveries";
    assert_eq!(setup.count(ids), 0, "one delivery a message");
}

#[test]
fn an_alert_that_is_open_when_the_service_ends_goes_on_after_the_next_start() {
    let setup = Setup::new("");
    let burst = |posts: std::ops::Range<usize>| {
        let lines = posts.map(|n| {
            json!({"text": BAD_NEWS[n], "author": {"id": format!("a{n}")}}).to_string() + "\n"
        });
        replay(
            &setup,
            &setup.write("burst.jsonl", lines.collect::<String>().as_bytes()),
        );
    };
    let lives = "select count(distinct alert_id) from alerts where entity = 'BA'";
    let opened = "select count(*) from alerts where entity = 'BA' and kind = 'opened'";
    let messages = "select count(*) from alerts where entity = 'BA'";

    let service = Service::start(&setup);
    replay(&setup, &setup.write("quiet.jsonl", &quiet_hours()));
    setup.wait_for(POSTS, 180);
    burst(0..8);
    until("an alert is open", || setup.count(opened) == 1);
    service.stop();
    let before = setup.count(messages);

    let service = Service::start(&setup);
    // Many more: what goes on tells of itself ever less often.
    burst(8..40);
    until("it is updated", || setup.count(messages) > before);
    service.stop();
    assert_eq!(setup.count(POSTS), 220);
    assert_eq!((setup.count(opened), setup.count(lives)), (1, 1));
}

#[test]
fn a_second_signal_ends_at_once() {
    // A receiver that accepts connections and never answers keeps the drain waiting.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let setup = Setup::new(&format!(
        "[notify]\nallow = [\"127.0.0.1\"]\n[[endpoints]]\nname = \"silent\"\nurl = \"http://{}/\"\nsecrets = [\"whsec_c3F1YWxsLXNxdWFsbC1zcXVhbGwtc3F1YWxsIQ==\"]\n",
        silent.local_addr().unwrap()
    ));
    let mut service = Service::start(&setup);
    replay(&setup, &setup.write("quiet.jsonl", &quiet_hours()));
    setup.wait_for(POSTS, 180);
    let lines: String = BAD_NEWS
        .iter()
        .enumerate()
        .map(|(n, text)| {
            json!({"text": text, "author": {"id": format!("a{n}")}}).to_string() + "\n"
        })
        .collect();
    replay(&setup, &setup.write("posts.jsonl", lines.as_bytes()));
    silent.set_nonblocking(true).unwrap();
    let held = std::cell::RefCell::new(None);
    until("the delivery comes", || {
        *held.borrow_mut() = silent.accept().ok();
        held.borrow().is_some()
    });
    service.signal("-TERM");
    service.wait_for_log("draining");
    service.signal("-TERM");
    assert_eq!(service.wait().code(), Some(143));
    drop(held);
}

#[test]
fn two_processes_share_the_work_and_no_row_is_lost_or_doubled() {
    let setup = Setup::new("");
    let mut hosted = config::load(None, std::iter::empty()).unwrap();
    hosted.run.data_dir = setup.folder.path().join("broker");
    let broker = EmbeddedBroker::start(&hosted).unwrap();
    let text = std::fs::read_to_string(setup.config()).unwrap();
    let text = format!(
        "{text}[kafka]\nbrokers = \"{}\"\nepoch = \"test\"\n",
        broker.address()
    );
    std::fs::write(setup.config(), text).unwrap();

    let store = Service::start_with(&setup, &["--roles", "store,detect,notify,api"]);
    let one = Service::start_with(&setup, &["--roles", "score"]);
    let file = setup.write(
        "posts.jsonl",
        &posts(chatter(400).iter().map(String::as_str)),
    );
    let feeding = squall(&[
        "replay",
        "--config",
        &setup.config(),
        "--input",
        &file,
        "--topic",
        "news",
        "--rate",
        "60",
    ])
    .stderr(Stdio::null())
    .spawn();
    // The second joins, and the first leaves, while posts come in.
    let two = Service::start_with(&setup, &["--roles", "score"]);
    until("half is stored", || setup.count(POSTS) > 200);
    one.stop();
    assert!(feeding.unwrap().wait().unwrap().success());
    setup.wait_for(POSTS, 400);
    two.stop();
    store.stop();
    assert_eq!(setup.count(POSTS), 400);
    assert_eq!(
        setup.count("select count(distinct topic || partition || ':' || offset) from posts"),
        400
    );
}
