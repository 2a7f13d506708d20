//! ClickHouse for tests: the engine behind HTTP in a process of its own, or the server that an environment variable
//! names.

use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The engine behind HTTP.
pub const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clickhouse_server.py");

/// A server, ended when dropped if it is our own.
pub struct Server {
    child: Option<Child>,
    address: String,
}

impl Server {
    /// Takes the server that `SQUALL_TEST_CLICKHOUSE` names (`http://host:8123`), or starts one of its own over the data
    /// in a folder, on which all have the rights of a user of `deploy/clickhouse/users.d`. None, with a message, where
    /// there is neither.
    pub fn start(folder: &Path, user: &str) -> Option<Self> {
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
        let (child, address) = spawn(
            Command::new(python)
                .arg(SCRIPT)
                .arg("--data")
                .arg(folder.join("clickhouse"))
                .current_dir(rights(folder, user)),
        );
        Some(Self {
            child: Some(child),
            address,
        })
    }

    /// Whether it has the rights it was asked to have: a server that somebody named has those that it has.
    pub fn is_own(&self) -> bool {
        self.child.is_some()
    }

    /// A database of this process: the one that rights are given on, or one that nobody else has.
    pub fn database(&self) -> Database {
        let name = match self.child {
            Some(_) => "squall".to_owned(),
            None => format!("squall_{}", std::process::id()),
        };
        Database {
            address: self.address.clone(),
            name,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It ends when its standard input closes, and leaves its data in order.
            drop(child.stdin.take());
            let _ = child.wait();
        }
    }
}

/// Starts the engine's server, which ends when its standard input closes. Returns its address too.
pub fn spawn(command: &mut Command) -> (Child, String) {
    let mut child = command
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
    (child, address)
}

/// A folder to start the engine in: it reads `config.xml` where it is started, and knows one user, `default`, who
/// becomes the one named.
fn rights(folder: &Path, user: &str) -> std::path::PathBuf {
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/deploy/clickhouse/users.d/squall.xml"
    );
    let text = std::fs::read_to_string(file).unwrap();
    let between = |text: &str, tag: &str| -> String {
        let behind = text.split_once(&format!("<{tag}>")).unwrap().1;
        behind
            .split_once(&format!("</{tag}>"))
            .unwrap()
            .0
            .to_owned()
    };
    let (profiles, users) = (between(&text, "profiles"), between(&text, "users"));
    let one = between(&users, user);
    let password = one
        .lines()
        .find(|line| line.contains("<password "))
        .unwrap();
    let one = one.replace(password, "<no_password/>");
    let folder = folder.join(user);
    std::fs::create_dir_all(&folder).unwrap();
    let users = folder.join("users.xml");
    let text = format!(
        "<clickhouse><profiles><default/>{profiles}</profiles><quotas><default/></quotas>\
         <users><default>{one}</default></users></clickhouse>"
    );
    std::fs::write(&users, text).unwrap();
    let config = format!(
        "<clickhouse><users_config>{}</users_config></clickhouse>",
        users.display()
    );
    std::fs::write(folder.join("config.xml"), config).unwrap();
    folder
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

    /// Why a query is refused.
    pub fn refusal(&self, query: &str) -> String {
        self.ask(query).expect_err("it is refused")
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
