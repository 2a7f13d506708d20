//! The demo, and its page in a real browser.

use crate::support::squall;
use squall::connect::demo;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

/// Name of the company of the crisis.
fn crisis_name() -> &'static str {
    let line = demo::dictionary_csv()
        .lines()
        .find(|line| line.starts_with(demo::CRISIS_ENTITY));
    line.and_then(|line| line.split(',').nth(1))
        .expect("the dictionary has it")
}

/// Kills the process when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn demo_command(args: &[&str]) -> Command {
    let mut command = squall(args);
    command.env("SQUALL_API__LISTEN", "127.0.0.1:0");
    command
}

fn browser() -> Option<&'static str> {
    let found = ["chromium", "chromium-browser", "google-chrome"]
        .into_iter()
        .find(|name| {
            Command::new(name)
                .arg("--version")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok()
        });
    if found.is_none() {
        eprintln!("skipped: no Chromium here (Debian, Ubuntu: apt install chromium)");
    }
    found
}

#[test]
fn the_demo_works_through_its_stream_and_finds_the_crisis_and_nothing_else() {
    let output = demo_command(&["demo", "--once"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let opened: Vec<&str> = text
        .lines()
        .filter(|line| line.contains(" opened "))
        .collect();
    let crisis = format!("({})", demo::CRISIS_ENTITY);
    assert!(opened.iter().any(|line| line.contains(&crisis)), "{text}");
    // The crisis touches the company and the lists it belongs to; everything else is calm.
    let touched: Vec<String> = demo::lists()
        .into_iter()
        .filter(|list| {
            list.entities
                .iter()
                .any(|id| id.as_str() == demo::CRISIS_ENTITY)
        })
        .map(|list| format!("({})", list.id))
        .collect();
    for line in &opened {
        let expected = line.contains(&crisis)
            || line.contains("(sector:")
            || touched.iter().any(|list| line.contains(list));
        assert!(expected, "an alert nobody expects: {line}\n{text}");
    }
}

#[test]
fn the_page_shows_the_crisis_in_a_browser() {
    let Some(browser) = browser() else { return };
    let child = demo_command(&["demo"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut running = Running(child);
    let mut lines = BufReader::new(running.0.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    let page = lines
        .find_map(|line| line.strip_prefix("page: ").map(str::to_owned))
        .expect("an address");
    let crisis = format!("({})", demo::CRISIS_ENTITY);
    lines
        .find(|line| line.contains(" opened ") && line.contains(&crisis))
        .expect("the crisis alert");
    // The alert reaches the store, and with it the page, a moment later.
    let mut dom = String::new();
    for _ in 0..40 {
        let profile = tempfile::tempdir().unwrap();
        // The page keeps a stream of events open, so the browser is not told to wait for a quiet network.
        let output = Command::new("timeout")
            .args(["30", browser, "--headless", "--no-sandbox", "--disable-gpu"])
            .args([
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
            ])
            .args(["--disable-sync", "--dump-dom"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(&page)
            .output()
            .unwrap();
        dom = String::from_utf8_lossy(&output.stdout).into_owned();
        if dom.contains(crisis_name()) && dom.contains("class=\"alert") {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(500));
    }
    assert!(dom.contains(crisis_name()), "{dom}");
    assert!(dom.contains("class=\"alert"), "{dom}");
}
