//! The dashboards: they ask for metrics that exist, and every query of theirs runs on ClickHouse's engine filled by the
//! demo's stream, returns rows, and says what a recount of the posts says.

use crate::clickhouse::{Database, Server};
use crate::grafana::{CLICKHOUSE, Choice, PROMETHEUS, Sent, dashboards, list, text};
use crate::support::{Service, Setup, until};
use serde_json::Value;
use squall::broker::{Connection, Outgoing, Producer};
use squall::connect::{Pace, demo};
use squall::domain::Timestamp;
use squall::telemetry::Metrics;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::Instant;

/// Names of all samples that squall exposes.
fn exposed() -> BTreeSet<String> {
    let metrics = Metrics::new();
    // A family shows up once it has a member.
    metrics.posts_consumed.with(["t"]).inc();
    metrics.posts_rejected.with(["r"]).inc();
    metrics.consumer_lag.with(["r", "t", "0"]).set(1);
    metrics.blocked_seconds.with(["s"]).inc_by(1.0);
    metrics.alerts.with(["r", "s"]).inc();
    metrics.deliveries.with(["e", "o"]).inc();
    metrics.store_rows.with(["t"]).inc();
    metrics.records_expired.with(["t"]).inc();
    metrics.role_blocked.with(["w"]).set(1);
    metrics.deliveries_pending.with(["e"]).set(1);
    metrics.delivery_overdue_seconds.with(["e"]).set(1.0);
    metrics.state_errors.with(["r"]).inc();
    let lines = metrics.render();
    let names = lines.lines().filter(|line| !line.starts_with('#'));
    names
        .map(|line| line.split(['{', ' ']).next().unwrap().to_owned())
        .collect()
}

/// Names of squall's metrics in expressions of Prometheus.
fn asked(expressions: &str) -> Vec<&str> {
    expressions
        .match_indices("squall_")
        .map(|(at, _)| {
            let behind = &expressions[at..];
            let end = behind.find(|c: char| !c.is_alphanumeric() && c != '_');
            &behind[..end.unwrap_or(behind.len())]
        })
        .collect()
}

/// Each target of each panel of a dashboard, with the panel's title.
fn targets(dashboard: &Value) -> impl Iterator<Item = (&str, &Value)> {
    list(dashboard, "/panels").iter().flat_map(|panel| {
        let title = text(panel, "/title");
        list(panel, "/targets")
            .iter()
            .map(move |target| (title, target))
    })
}

#[test]
fn every_metric_of_a_dashboard_or_rule_is_exposed() {
    let exposed = exposed();
    let mut expressions: Vec<(String, String)> = Vec::new();
    for (file, dashboard) in dashboards() {
        for (title, target) in targets(&dashboard) {
            if text(target, "/datasource/type") == PROMETHEUS {
                let place = format!("{file}: {title}");
                expressions.push((place, text(target, "/expr").to_owned()));
            }
        }
    }
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/prometheus/alerts.yml");
    let rules = std::fs::read_to_string(rules).unwrap();
    expressions.push(("alerts.yml".into(), rules));
    let mut count = 0;
    for (place, expression) in &expressions {
        for name in asked(expression) {
            count += 1;
            assert!(exposed.contains(name), "{place}: {name} is not exposed");
        }
    }
    assert!(count >= 30, "only {count} metrics are asked for");
}

/// A receiver of webhooks that takes everything: alerts are delivered, so deliveries are stored.
fn receiver() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let _ = connection.read(&mut [0; 65_536]);
            let _ = connection.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
        }
    });
    url
}

/// The demo's world as a configuration, with rows going into a database of ClickHouse.
fn configuration(setup: &Setup, database: &Database) -> String {
    let dictionary = setup.write("entities.csv", demo::dictionary_csv().as_bytes());
    let listed = |values: &[&str]| serde_json::to_string(values).unwrap();
    let mut more = format!(
        "public_url = \"http://127.0.0.1\"\n\
         [kafka]\npartitions = 2\n\
         [entities]\ndictionary = {dictionary:?}\n\
         [clickhouse]\nurl = {:?}\ndatabase = {:?}\n\
         [detect]\nmax_hold = \"1h\"\n\
         [notify]\nallow = [\"127.0.0.1\"]\n[[endpoints]]\nname = \"desk\"\nurl = {:?}\nsecrets = [\"whsec_c3F1YWxsLXNxdWFsbC1zcXVhbGwtc3F1YWxsIQ==\"]\n",
        database.address,
        database.name,
        receiver()
    );
    for entities in demo::lists() {
        let members: Vec<&str> = entities.entities.iter().map(|id| id.as_str()).collect();
        more += &format!(
            "[[lists]]\nid = {:?}\nname = {:?}\nentities = {}\n",
            entities.id.as_str(),
            entities.name,
            listed(&members)
        );
    }
    for campaign in demo::campaigns() {
        more += &format!(
            "[[campaigns]]\nid = {:?}\nname = {:?}\nhashtags = {:?}\nutm_campaigns = {:?}\nphrases = {:?}\nauthors = {:?}\n",
            campaign.id.as_str(),
            campaign.name,
            campaign.hashtags,
            campaign.utm_campaigns,
            campaign.phrases,
            campaign.authors
        );
    }
    more
}

/// Sends the demo's stream through `squall run` into ClickHouse, until nothing is under way. Returns its end.
async fn fill(database: &Database) -> Timestamp {
    let setup = Setup::new("");
    let more = configuration(&setup, database);
    let config = setup.config();
    let begun = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, begun + &more).unwrap();

    let service = Service::start(&setup);
    let loaded = squall::config::load(Some(config.as_ref()), std::iter::empty()).unwrap();
    let connection = tokio::task::spawn_blocking(move || Connection::open(&loaded).unwrap());
    let producer = Producer::new(&connection.await.unwrap()).unwrap();
    let end = Timestamp::now();
    let posts = demo::stream(end);
    let count = posts.len();
    // As fast as the demo: a partition that is far ahead of the others would be unlike any real stream.
    let mut pace = Pace::speed(120.0).unwrap();
    let begun = Instant::now();
    let mut last = None;
    for post in posts {
        tokio::time::sleep(pace.wait(Some(post.at), begun.elapsed())).await;
        let record = Outgoing {
            topic: post.topic.into(),
            partition: None,
            key: Vec::new(),
            headers: Vec::new(),
            payload: post.payload,
            timestamp: Some(post.at),
        };
        last = Some(tokio::spawn(producer.send(record).await.unwrap()));
    }
    last.unwrap().await.unwrap().unwrap();
    until("all posts and dead letters are in ClickHouse", || {
        let posts = database.number("SELECT count() FROM posts");
        posts + database.number("SELECT count() FROM dead_letters") == count as f64
    });
    // A drained service has stored what came of them: clusters, alerts, deliveries.
    service.stop();
    end
}

fn seconds(at: Timestamp) -> i64 {
    at.millis() / 1000
}

/// The same, looked at in the middle of the crisis of a stream that ended at `end`, when its alert is open.
fn crisis_sent(sent: &Sent, end: Timestamp) -> Sent {
    Sent {
        to: seconds(end) - 1800,
        ..sent.clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_runs_on_clickhouse_and_returns_rows() {
    let folder = tempfile::tempdir().unwrap();
    let Some(server) = Server::start(folder.path(), "squall") else {
        return;
    };
    let end = fill(&server.database()).await;
    drop(server);
    // The same data, seen by the user that Grafana is.
    let server = Server::start(folder.path(), "grafana").expect("it started before");
    let database = server.database();
    if server.is_own() {
        let refused = database.refusal("INSERT INTO epochs (epoch, cluster) VALUES ('a', 'b')");
        assert!(refused.contains("ACCESS_DENIED"), "{refused}");
    }
    // Deliveries and dead letters are as late as the filling was.
    let to = seconds(Timestamp::now()) + 1;
    let mut count = 0;
    for (file, dashboard) in dashboards() {
        let mut sent = Sent {
            from: to - 3 * 3600,
            to,
            step: 60,
            variables: BTreeMap::new(),
        };
        for variable in list(&dashboard, "/templating/list") {
            let name = text(variable, "/name");
            let choice = choose(&database, &sent, variable);
            sent.variables.insert(name.to_owned(), choice);
        }
        for (title, target) in targets(&dashboard) {
            if text(target, "/datasource/type") != CLICKHOUSE {
                continue;
            }
            count += 1;
            let mut query = sent.query(text(target, "/rawSql"));
            let mut rows = database.rows(&query);
            if rows.is_empty() {
                // What is open now may rightly be nothing, once the alert has resolved: then in the middle of the crisis.
                query = crisis_sent(&sent, end).query(text(target, "/rawSql"));
                rows = database.rows(&query);
            }
            assert!(!rows.is_empty(), "{file}: {title}: no rows: {query}");
            assert!(
                rows.iter().any(|row| row.iter().any(is_something)),
                "{file}: {title}: nothing but nothing: {query}"
            );
        }
        if let Some(Choice::Some(_)) = sent.variables.get("campaign") {
            campaign_figures_are_those_of_the_posts(&database, &dashboard, &sent);
        }
        if sent.variables.contains_key("entity") {
            let sent = crisis_sent(&sent, end);
            entity_figures_are_those_of_the_posts(&database, &dashboard, &sent);
        }
    }
    assert!(count >= 30, "only {count} queries were run");
    if !server.is_own() {
        database.rows(&format!("DROP DATABASE {} SYNC", database.name));
    }
}

/// Sets a variable as Grafana does when a dashboard is opened: everything, what is preset, or the first of the list.
fn choose(database: &Database, sent: &Sent, variable: &Value) -> Choice {
    let name = text(variable, "/name");
    match text(variable, "/type") {
        "custom" => Choice::Some(vec![text(variable, "/current/value").to_owned()]),
        "query" => {
            let query = sent.query(text(variable, "/query/rawSql"));
            let found = database.rows(&query);
            let values: Vec<String> = found
                .iter()
                .map(|row| row[0].as_str().expect("a text").to_owned())
                .collect();
            assert!(!values.is_empty(), "{name}: no values: {query}");
            match variable["includeAll"].as_bool() {
                Some(true) => Choice::All,
                // The demo's company in trouble; for any other variable its first value.
                _ => Choice::Some(vec![
                    values
                        .iter()
                        .find(|value| *value == demo::CRISIS_ENTITY)
                        .unwrap_or(&values[0])
                        .clone(),
                ]),
            }
        }
        other => panic!("{name}: type {other} is not known here"),
    }
}

fn is_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        _ => true,
    }
}

/// The rows of a panel.
fn figures(database: &Database, dashboard: &Value, sent: &Sent, title: &str) -> Vec<Vec<Value>> {
    let (_, target) = targets(dashboard)
        .find(|(found, _)| *found == title)
        .unwrap_or_else(|| panic!("no panel '{title}'"));
    database.rows(&sent.query(text(target, "/rawSql")))
}

fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("{value} is no number"))
}

fn campaign_figures_are_those_of_the_posts(database: &Database, dashboard: &Value, sent: &Sent) {
    let posts = format!("FROM posts WHERE has(campaigns, '{}')", demo::CAMPAIGN);
    for (title, recount, tolerance) in [
        ("Posts", format!("SELECT count() {posts}"), 0.0),
        (
            "Contributors",
            format!("SELECT uniqExact(author) {posts}"),
            0.02,
        ),
        (
            "Potential audience",
            format!(
                "SELECT sum(f) FROM (SELECT max(followers) AS f {posts} AND author IS NOT NULL GROUP BY author)"
            ),
            0.0,
        ),
        (
            "Impressions observed",
            format!("SELECT sum(impressions) {posts}"),
            0.0,
        ),
        (
            "Engagement per impression",
            format!(
                "SELECT sumIf(ifNull(likes, 0) + ifNull(shares, 0) + ifNull(comments, 0), impressions IS NOT NULL) / sum(impressions) {posts}"
            ),
            1e-9,
        ),
        (
            "Mean sentiment",
            format!("SELECT avg(toFloat64(p_positive) - toFloat64(p_negative)) {posts}"),
            1e-6,
        ),
    ] {
        let shown = number(&figures(database, dashboard, sent, title)[0][0]);
        let counted = database.number(&recount);
        assert!(counted != 0.0, "{title}: the demo has none");
        assert!(
            (shown - counted).abs() <= tolerance * counted.abs(),
            "{title}: {shown}, but the posts say {counted}"
        );
    }
    // All channels one by one, which is another branch of every query, add up to all of them.
    let channels = figures(database, dashboard, sent, "Channels");
    let mut posts = 0.0;
    for channel in &channels {
        let mut sent = sent.clone();
        let value = channel[0].as_str().unwrap().to_owned();
        let one = Choice::Some(vec![value]);
        sent.variables.insert("channel".into(), one);
        posts += number(&figures(database, dashboard, &sent, "Posts")[0][0]);
    }
    assert!(channels.len() > 1);
    let all = &figures(database, dashboard, sent, "Posts")[0][0];
    assert_eq!(posts, number(all));
}

fn entity_figures_are_those_of_the_posts(database: &Database, dashboard: &Value, sent: &Sent) {
    let crisis = demo::CRISIS_ENTITY;
    let mention = format!(
        "FROM posts ARRAY JOIN mention_entity AS entity, mention_p_negative AS negative, mention_p_neutral AS neutral,
             mention_p_positive AS positive
         WHERE entity = '{crisis}' AND negative >= neutral AND negative >= positive"
    );
    let mut sent = sent.clone();
    let until = sent.to / 60 * 60;
    let window = "900";
    let one = |value: &str| Choice::Some(vec![value.to_owned()]);
    sent.variables.insert("window".into(), one(window));
    let ranking = figures(database, dashboard, &sent, "Now against usual");
    assert_eq!(ranking[0][0], crisis, "{ranking:?}");
    let counted = database.number(&format!(
        "SELECT count() {mention} AND event_time >= toDateTime({}) AND event_time < toDateTime({})",
        until - 900 + 60,
        until + 60
    ));
    assert!(counted > 20.0, "{counted}");
    assert_eq!(number(&ranking[0][1]), counted);

    // The watch list with a choice of its own.
    let chosen = Choice::Some(vec![crisis.to_owned(), "INCOME".to_owned()]);
    sent.variables.insert("watch".into(), chosen);
    let watched = figures(database, dashboard, &sent, "Watch list");
    assert_eq!(watched[0], ranking[0]);
    assert!(watched.len() <= 2);

    // Stories count each negative mention once.
    let stories = figures(
        database,
        dashboard,
        &sent,
        "Latest negative stories about $entity",
    );
    assert!(stories.iter().any(|story| number(&story[2]) > 0.0));
    assert!(
        stories
            .iter()
            .all(|story| story[1].as_str().is_some_and(|text| !text.is_empty()))
    );

    let open = figures(database, dashboard, &sent, "Open alerts");
    let [critical, warning] = &open[0][..] else {
        panic!("{open:?}");
    };
    assert!(number(critical) + number(warning) >= 1.0, "{open:?}");
}
