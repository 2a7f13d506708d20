//! Dead letters: rejected, listed, replayed once the reason is gone, counted once.

use crate::support::{Service, Setup, posts, run, stderr};
use serde_json::Value;

const POSTS: &str = "select count(*) from posts";
const DEAD: &str = "select count(*) from dead_letters";

/// Configuration in which posts may have so many bytes.
fn configure(setup: &Setup, max_text_bytes: usize) {
    let data = setup.folder.path().join("data");
    let text = format!(
        "[run]\ndata_dir = {data:?}\n[api]\nlisten = \"127.0.0.1:0\"\n[kafka]\npartitions = 2\n[score]\nmax_text_bytes = {max_text_bytes}\n"
    );
    setup.write("squall.toml", text.as_bytes());
}

/// Runs `squall dead-letters` and returns its standard output.
fn letters(setup: &Setup, args: &[&str]) -> String {
    let config = setup.config();
    let output = run(&[&["dead-letters", "--config", &config], args].concat());
    assert!(output.status.success(), "{args:?}: {}", stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn listed(setup: &Setup, args: &[&str]) -> Vec<Value> {
    let text = letters(setup, &[&["list", "--json"], args].concat());
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

fn send(setup: &Setup, file: &str) {
    let config = setup.config();
    let output = run(&[
        "replay", "--config", &config, "--input", file, "--topic", "news",
    ]);
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn a_rejected_post_is_replayed_when_the_reason_is_gone_and_is_what_it_was_first() {
    let setup = Setup::new("");
    configure(&setup, 300);
    let long = format!(
        "Acme files for bankruptcy{}",
        ", and more bad news".repeat(20)
    );
    let file = posts(["Acme opens a branch on the high street", &long]);
    let file = setup.write("posts.jsonl", &[&file[..], b"not json\n"].concat());

    let service = Service::start(&setup);
    send(&setup, &file);
    setup.wait_for(POSTS, 1);
    setup.wait_for(DEAD, 2);
    service.stop();
    let long_letter = &listed(&setup, &["--reason", "too_long"])[0];
    let origin = long_letter["origin"].as_str().unwrap();
    let payload: Value = serde_json::from_str(long_letter["payload"].as_str().unwrap()).unwrap();
    assert_eq!(payload["text"], *long);
    assert_eq!(listed(&setup, &[]).len(), 2);
    assert!(letters(&setup, &["list"]).contains(origin));

    // A service with a higher limit. The broker's life is another, its offsets begin again.
    configure(&setup, 65_536);
    let service = Service::start(&setup);
    let done = letters(&setup, &["replay", "--every", "--by", "ann", "--yes"]);
    assert_eq!(done.trim(), "2 dead letters replayed");
    setup.wait_for(POSTS, 2);
    setup.wait_for(DEAD, 3);
    let stored = format!(
        "select recorded_at from posts where id = '{origin}' and first_origin = '{origin}' and text = '{long}'"
    );
    let first = long_letter["recorded_at"]
        .as_str()
        .unwrap()
        .parse::<jiff::Timestamp>();
    setup.wait_for(&stored, first.unwrap().as_millisecond());
    // What is no post is rejected again, as a letter of its own that knows where it came from first.
    let again = &listed(&setup, &[])[..];
    assert_eq!(again.len(), 1, "{again:?}");
    assert_eq!(again[0]["reason"], "not_json");
    let all = listed(&setup, &["--all"]);
    assert_eq!(all.len(), 3);
    let settled = all.iter().find(|one| one["origin"] == origin).unwrap();
    assert_eq!(
        (&settled["settled"]["as"], &settled["settled"]["by"]),
        (&"replayed".into(), &"ann".into())
    );
    let first = all
        .iter()
        .find(|one| one["reason"] == "not_json" && one["settled"]["as"] == "replayed");
    assert_eq!(again[0]["headers"][0]["name"], "squall-origin");
    assert_eq!(again[0]["headers"][0]["value"], first.unwrap()["origin"]);

    let done = letters(&setup, &["drop", "--reason", "not_json", "--by", "ann"]);
    assert_eq!(done.trim(), "1 dead letter dropped");
    setup.wait_for(
        "select count(*) from dead_letter_acts where settled = 'dropped'",
        1,
    );
    service.stop();
    assert_eq!(listed(&setup, &[]), [] as [Value; 0]);
}

#[test]
fn a_letter_replayed_twice_counts_once() {
    let setup = Setup::new("");
    configure(&setup, 300);
    let long = "Boeing files for bankruptcy again and again. ".repeat(10);
    let file = setup.write("posts.jsonl", &posts([&*long]));
    let service = Service::start(&setup);
    send(&setup, &file);
    setup.wait_for(DEAD, 1);
    service.stop();
    configure(&setup, 65_536);
    let service = Service::start(&setup);
    for _ in 0..3 {
        letters(&setup, &["replay", "--every", "--all", "--by", "ann"]);
    }
    setup.wait_for(POSTS, 1);
    service.stop();
    assert_eq!(setup.count(POSTS), 1);
    let mentions = setup.count("select count(*) from mentions");
    assert!(mentions > 0);
    assert_eq!(
        setup.count("select sum(mentions) from entity_minutes"),
        mentions
    );
}
