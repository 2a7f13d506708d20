//! ClickHouse for tests: the engine behind HTTP in a process of its own, or the server that an environment variable
//! names.

use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A server, ended when dropped if it is our own.
pub struct Server {
    child: Option<Child>,
    address: String,
}

impl Server {
    /// Takes the server that `SQUALL_TEST_CLICKHOUSE` names (`http://host:8123`), or starts one of its own. None, with a
    /// message, where there is neither.
    pub fn start(folder: &Path) -> Option<Self> {
        if let Ok(address) = std::env::var("SQUALL_TEST_CLICKHOUSE") {
            return Some(Self {
                child: None,
                address,
            });
        }
        let Ok(python) = std::env::var("SQUALL_TEST_PYTHON") else {
            eprintln!(
                "skipped: SQUALL_TEST_PYTHON names no Python with chdb-core (make test sets it), nor \
                 SQUALL_TEST_CLICKHOUSE a server"
            );
            return None;
        };
        let mut child = Command::new(python)
            .arg(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/clickhouse_server.py"
            ))
            .arg("--data")
            .arg(folder.join("clickhouse"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the engine's server starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let host = line.trim().strip_prefix("listening ");
        let address = format!("http://{}", host.expect("the engine's server listens"));
        Some(Self {
            child: Some(child),
            address,
        })
    }

    /// A database of this test.
    pub fn database(&self, name: &str) -> Database {
        Database {
            address: self.address.clone(),
            name: format!("squall_{name}_{}", std::process::id()),
        }
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

/// A database that squall makes.
pub struct Database {
    pub address: String,
    pub name: String,
}

impl Database {
    /// The rows of a query. Fails the test when the server refuses it.
    pub fn rows(&self, query: &str) -> Vec<Vec<Value>> {
        match self.ask(query) {
            Ok(rows) => rows,
            Err(problem) => panic!("{problem}\n{query}"),
        }
    }

    /// The single number of a query; not a number while the database is not there.
    pub fn number(&self, query: &str) -> f64 {
        let rows = self.ask(query).unwrap_or_default();
        let number = rows.first().and_then(|row| row.first()?.as_f64());
        number.unwrap_or(f64::NAN)
    }

    fn ask(&self, query: &str) -> Result<Vec<Vec<Value>>, String> {
        let url = format!(
            "{}/?database={}&default_format=JSONCompactEachRow&output_format_json_quote_64bit_integers=0",
            self.address, self.name
        );
        let ask = async {
            let client = reqwest::Client::builder().no_proxy().build().unwrap();
            let answer = client.post(&url).body(query.to_owned()).send().await;
            let answer = answer.map_err(|error| error.to_string())?;
            let refused = !answer.status().is_success();
            let text = answer.text().await.map_err(|error| error.to_string())?;
            if refused { Err(text) } else { Ok(text) }
        };
        let text = tokio::task::block_in_place(|| {
            let here = tokio::runtime::Handle::current();
            here.block_on(ask)
        })?;
        text.lines()
            .map(|line| serde_json::from_str(line).map_err(|error| format!("{error}: {line}")))
            .collect()
    }
}
