//! `squall doctor`, on the embedded broker with SQLite, and on ClickHouse.

use crate::guarded::Server;
use crate::support::{Service, Setup, run, stderr};
use serde_json::Value;

/// What `squall doctor --json` finds, and its exit status.
fn doctor(setup: &Setup) -> (Value, Option<i32>) {
    let output = run(&["doctor", "--json", "--config", &setup.config()]);
    let report = serde_json::from_slice(&output.stdout);
    (
        report.unwrap_or_else(|_| panic!("{}", stderr(&output))),
        output.status.code(),
    )
}

/// Messages of a level.
fn of_level(report: &Value, level: &str) -> Vec<String> {
    let findings = report["findings"].as_array().unwrap().iter();
    let findings = findings.filter(|finding| finding["level"] == level);
    let text = |finding: &Value| {
        let word = |key: &str| finding[key].as_str().unwrap_or_default().to_owned();
        format!(
            "{}: {}: {}",
            word("subject"),
            word("message"),
            word("remedy")
        )
    };
    findings.map(text).collect()
}

#[test]
fn an_embedded_service_is_healthy_before_and_while_it_runs() {
    let setup = Setup::new("");
    let (report, status) = doctor(&setup);
    assert_eq!(
        (status, &report["healthy"]),
        (Some(0), &true.into()),
        "{report}"
    );
    assert!(
        !setup.folder.path().join("data").exists(),
        "nothing is made"
    );
    let unchecked = of_level(&report, "not_checked");
    assert!(
        unchecked.iter().any(|one| one.contains("none runs")),
        "{unchecked:?}"
    );

    let service = Service::start(&setup);
    let (report, status) = doctor(&setup);
    assert_eq!(
        (status, &report["errors"]),
        (Some(0), &0.into()),
        "{report}"
    );
    let ok = of_level(&report, "ok");
    let said = |text: &str| ok.iter().any(|one| one.contains(text));
    assert!(said("kafka: the broker of `squall run` answers"), "{ok:?}");
    assert!(said("topics: 2 source topics and squall's own"), "{ok:?}");
    assert!(said("store: SQLite") && said("schema version"), "{ok:?}");
    assert!(said("groups: squall-store"), "{ok:?}");
    service.stop();

    let output = run(&["doctor", "--config", &setup.config()]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{text}"
    );
    assert!(
        text.lines()
            .any(|line| line.starts_with("warning      endpoints: none")),
        "{text}"
    );
    assert!(text.trim_end().ends_with("not checked"), "{text}");
}

#[test]
fn what_is_wrong_is_an_error_with_its_remedy_and_no_secret() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let setup = Setup::new(&format!(
        "[model]\nsource = \"no/such/model\"\n[notify]\nallow = [\"127.0.0.1\"]\n[[endpoints]]\nname = \"desk\"\nurl = \"http://{address}/hush\"\nsecrets = [\"whsec_c3F1YWxsLXNxdWFsbC1zcXVhbGwtc3F1YWxsIQ==\"]\n"
    ));
    let (report, status) = doctor(&setup);
    assert_eq!(status, Some(1));
    let errors = of_level(&report, "error");
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(
        errors[0].starts_with("model: model.source no/such/model"),
        "{errors:?}"
    );
    assert!(
        errors[1].contains("'desk'") && errors[1].contains("start the receiver"),
        "{errors:?}"
    );
    assert!(!report.to_string().contains("hush"));

    setup.write(
        "squall.toml",
        b"[store]\nflush_rows = 0\n[kafka]\npartitions = 0\n",
    );
    let (report, status) = doctor(&setup);
    let errors = of_level(&report, "error");
    assert_eq!(status, Some(1));
    assert!(
        errors.iter().any(|one| one.contains("store.flush_rows")),
        "{errors:?}"
    );
    assert!(
        errors.iter().any(|one| one.contains("kafka.partitions")),
        "{errors:?}"
    );
}

#[test]
fn clickhouse_is_looked_at_before_and_after_its_tables_are_made() {
    let Some(server) = Server::start() else {
        return;
    };
    let setup = server.setup("password = \"correct horse\"\nmigrate = false\n");
    let (report, status) = doctor(&setup);
    let errors = of_level(&report, "error");
    assert_eq!((status, errors.len()), (Some(1), 1), "{errors:?}");
    assert!(errors[0].contains("run `squall migrate`"), "{errors:?}");

    assert!(
        run(&["migrate", "--config", &setup.config()])
            .status
            .success()
    );
    let (report, _) = doctor(&setup);
    let errors = of_level(&report, "error");
    let disk = |one: &&String| !one.contains("free on disk");
    assert_eq!(errors.iter().filter(disk).count(), 0, "{errors:?}");
    let ok = of_level(&report, "ok");
    let said = |text: &str| ok.iter().any(|one| one.contains(text));
    assert!(
        said(&server.url) && said("may read and write every table"),
        "{ok:?}"
    );
    assert!(
        said("clock: that of ClickHouse") && said("deduplication windows"),
        "{ok:?}"
    );

    let setup = server.setup("password = \"wrong horse\"\n");
    let (report, status) = doctor(&setup);
    assert_eq!(status, Some(1));
    let errors = of_level(&report, "error");
    assert!(
        errors.iter().any(|one| one.contains("clickhouse.password")),
        "{errors:?}"
    );
    assert!(!report.to_string().contains("horse"));
}
