//! What `docker-compose.yml` would give to Docker, Prometheus, Grafana and squall.

use crate::support::{Service, Setup, squall, stderr, until};
use std::process::Command;

/// Passes only with all that the compose file sets.
#[test]
fn squall_takes_the_configuration_of_the_compose_file() {
    let check = |token: &str| {
        squall(&["check-config", "--config", "deploy/squall.toml"])
            .env("SQUALL_KAFKA__EPOCH", "AbCdEfGhIjKlMnOpQrStUg")
            .env("CLICKHOUSE_SQUALL_PASSWORD", "letters")
            .env(token, "letters")
            .output()
            .unwrap()
    };
    let output = check("SQUALL_API_TOKEN");
    assert!(output.status.success(), "{}", stderr(&output));
    let output = check("SQUALL_OTHER_TOKEN");
    assert!(stderr(&output).contains("SQUALL_API_TOKEN"));
}

#[test]
fn the_containers_health_check_understands_squall() {
    let setup = Setup::new("token = \"letters\"\n");
    let service = Service::start(&setup);
    let check = |token: &str| {
        let (_, port) = service.address.rsplit_once(':').unwrap();
        Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/squall-ready"))
            .env("SQUALL_READY_PORT", port)
            .env("SQUALL_API_TOKEN", token)
            .output()
            .unwrap()
    };
    until("squall is ready", || check("letters").status.success());
    assert!(!check("others").status.success());
}

/// See `tests/deployment_test.py`.
#[test]
fn compose_prometheus_and_grafana_files_are_sound() {
    let Ok(python) = std::env::var("SQUALL_TEST_PYTHON") else {
        eprintln!("skipped: SQUALL_TEST_PYTHON names no Python with PyYAML (make test sets it)");
        return;
    };
    let output = Command::new(python)
        .args(["-m", "unittest", "tests/deployment_test.py"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("Python starts");
    assert!(output.status.success(), "{}", stderr(&output));
    eprint!("{}", stderr(&output));
}
