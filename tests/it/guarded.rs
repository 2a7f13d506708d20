//! The test server of ClickHouse, which wants a password.

use crate::clickhouse::{SCRIPT, spawn};
use crate::support::Setup;
use std::process::{Child, Command};

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
        let (child, url) = spawn(
            Command::new(python)
                .arg(SCRIPT)
                .env("SQUALL_CLICKHOUSE_USER", "squall")
                .env("SQUALL_CLICKHOUSE_PASSWORD", "correct horse"),
        );
        Some(Self { child, url })
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
