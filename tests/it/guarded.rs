//! The test server of ClickHouse, which wants a password.

use crate::support::Setup;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

/// The test server with a user and a password. Ends when dropped.
pub struct Server {
    child: Child,
    pub url: String,
}

impl Server {
    /// None, and a message, without SQUALL_TEST_PYTHON.
    pub fn start() -> Option<Self> {
        let Some(python) = std::env::var_os("SQUALL_TEST_PYTHON") else {
            eprintln!("skipped: SQUALL_TEST_PYTHON is not set, as `make test` does");
            return None;
        };
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clickhouse_server.py");
        let mut child = Command::new(python)
            .arg(script)
            .env("SQUALL_CLICKHOUSE_USER", "squall")
            .env("SQUALL_CLICKHOUSE_PASSWORD", "correct horse")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the test server starts");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.next().unwrap().unwrap();
        let address = line.strip_prefix("listening ").unwrap();
        Some(Self {
            url: format!("http://{address}"),
            child,
        })
    }

    /// A configuration that names it, and `more` in the same section.
    pub fn setup(&self, more: &str) -> Setup {
        Setup::new(&format!(
            "[clickhouse]\nurl = \"{}\"\nuser = \"squall\"\n{more}",
            self.url
        ))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its standard input closes, and it removes its data.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
