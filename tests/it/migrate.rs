//! `squall migrate`, and what is wrong with a ClickHouse server.

use crate::guarded::Server;
use crate::support::{Setup, run, stderr};

/// What `squall migrate` prints, and on success only.
fn migrated(setup: &Setup) -> String {
    let output = run(&["migrate", "--config", &setup.config()]);
    assert!(output.status.success(), "{}", stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// What it says when it fails.
fn refused(setup: &Setup) -> String {
    let output = run(&["migrate", "--config", &setup.config()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    stderr(&output)
}

#[test]
fn tables_are_made_once() {
    let setup = Setup::new("");
    assert_eq!(migrated(&setup), "version 1\nversion 2\nversion 3\n");
    assert!(migrated(&setup).starts_with("nothing to do"));

    let Some(server) = Server::start() else {
        return;
    };
    let setup = server.setup("password = \"correct horse\"\nmigrate = false\n");
    assert!(migrated(&setup).starts_with("version 1: "));
    assert!(migrated(&setup).starts_with("nothing to do"));
}

#[test]
fn a_wrong_password_and_a_server_that_is_none_are_named_with_the_remedy() {
    let Some(server) = Server::start() else {
        return;
    };
    let setup = server.setup("password = \"wrong horse\"\n");
    let text = refused(&setup);
    assert!(text.contains(&server.url), "{text}");
    assert!(text.contains("Authentication failed"), "{text}");
    assert!(
        text.contains("check clickhouse.user and clickhouse.password"),
        "{text}"
    );
    assert!(!text.contains("horse"), "{text}");

    let setup = Setup::new("[clickhouse]\nurl = \"http://127.0.0.1:9\"\n");
    let text = refused(&setup);
    assert!(
        text.contains("http://127.0.0.1:9/squall: cannot be reached"),
        "{text}"
    );

    let setup = Setup::new("[clickhouse]\nurl = \"http://squall:hunter2@localhost:8123\"\n");
    let text = refused(&setup);
    assert!(
        text.contains("clickhouse.url: must not name a user") && !text.contains("hunter2"),
        "{text}"
    );
}
