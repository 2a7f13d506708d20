//! ClickHouse: the engine behind HTTP in a process of its own, or the server that an environment variable names.

use anyhow::{Context as _, bail};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Names a server that the tests may use, `http://user:password@host:8123` or without a user.
const SERVER: &str = "SQUALL_TEST_CLICKHOUSE";
/// Names a Python with the engine, as `make test` does.
const PYTHON: &str = "SQUALL_TEST_PYTHON";

/// A server, of which each run has a database.
pub struct Server {
    child: Option<Child>,
    address: String,
}

impl Server {
    /// Starts a server of its own, or takes the named one. None, with a message, where there is neither.
    pub fn start(folder: &Path) -> anyhow::Result<Option<Self>> {
        if let Ok(address) = std::env::var(SERVER) {
            return Ok(Some(Self {
                child: None,
                address,
            }));
        }
        let Ok(python) = std::env::var(PYTHON) else {
            eprintln!(
                "skipped: {PYTHON} names no Python with chdb-core (make test sets it), nor {SERVER} a server; \
                 two processes cannot share SQLite"
            );
            return Ok(None);
        };
        std::fs::create_dir_all(folder)?;
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clickhouse_server.py");
        let mut child = Command::new(python)
            .arg(script)
            .arg("--data")
            .arg(folder.join("data"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(folder.join("clickhouse.log"))?)
            .spawn()
            .context("the engine's server")?;
        let mut line = String::new();
        if let Some(output) = child.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        let Some(host) = line.trim().strip_prefix("listening ") else {
            bail!(
                "the engine's server does not start: {}",
                std::fs::read_to_string(folder.join("clickhouse.log")).unwrap_or_default()
            );
        };
        let address = format!("http://{host}");
        Ok(Some(Self {
            child: Some(child),
            address,
        }))
    }

    /// A database that does not exist yet.
    pub fn database(&self, name: &str) -> anyhow::Result<Database> {
        Ok(Database {
            address: self.address.clone(),
            name: name.to_owned(),
            client: reqwest::Client::builder()
                .no_proxy()
                .timeout(Duration::from_secs(30))
                .tls_certs_only([])
                .build()?,
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The database of one run.
pub struct Database {
    /// Address of the server.
    pub address: String,
    /// Its name.
    pub name: String,
    client: reqwest::Client,
}

impl Database {
    /// The rows that a query answers with, as text.
    pub async fn rows(&self, sql: &str) -> anyhow::Result<Vec<Vec<String>>> {
        let url = format!("{}/?database={}", self.address, self.name);
        let response = self
            .client
            .post(url)
            .body(format!("{sql} FORMAT TSV"))
            .send()
            .await?;
        let (status, text) = (response.status(), response.text().await?);
        if !status.is_success() {
            bail!("{sql}: {text}");
        }
        let row = |line: &str| line.split('\t').map(str::to_owned).collect();
        Ok(text.lines().map(row).collect())
    }

    /// Removes it.
    pub async fn drop(&self) -> anyhow::Result<()> {
        let url = format!("{}/", self.address);
        let sql = format!("DROP DATABASE IF EXISTS {} SYNC", self.name);
        self.client.post(url).body(sql).send().await?;
        Ok(())
    }
}
