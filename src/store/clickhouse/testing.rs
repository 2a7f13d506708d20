//! A server for tests: the engine itself behind `tests/clickhouse_server.py`, or a real one.
//!
//! SQUALL_TEST_CLICKHOUSE, an address, names a real one, with SQUALL_TEST_CLICKHOUSE_USER and _PASSWORD. Else
//! SQUALL_TEST_PYTHON runs the script, once for all tests of the program; it ends with it. Without either the tests say
//! so and pass.

use super::ClickHouseStore;
use super::client::Session;
use crate::config::{self, ClickHouseConfig, Secret};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// How a server is reached.
struct Server {
    url: String,
    user: String,
    password: String,
    /// The script, which ends with this program: its standard input closes then.
    child: Option<Child>,
}

/// A database of its own, removed when dropped.
pub struct Database {
    /// The section that names it.
    pub config: ClickHouseConfig,
}

impl Database {
    /// A new database with nothing in it; none, and a message, where there is no server.
    pub fn fresh() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let server = server()?;
        let mut config = config::load(None, std::iter::empty()).unwrap().clickhouse;
        config.url = server.url.clone();
        config.user = server.user.clone();
        config.password = Secret::new(server.password.as_str());
        config.database = format!(
            "squall_test_{}_{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        Some(Self { config })
    }

    /// Opens it.
    pub fn store(&self) -> ClickHouseStore {
        ClickHouseStore::new(&self.config).unwrap()
    }

    /// Runs statements in it.
    pub fn execute(&self, statements: &[&str]) {
        let session = Session::new(&self.config).unwrap();
        block_on(async {
            for statement in statements {
                let result = session.query(statement).execute().await;
                result.unwrap_or_else(|error| panic!("{statement}: {error}"));
            }
        });
    }

    /// A single number.
    pub fn number(&self, sql: &str) -> u64 {
        let session = Session::new(&self.config).unwrap();
        block_on(async { session.query(sql).fetch_one().await.unwrap() })
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let session = Session::new(&self.config).unwrap();
        let sql = format!("DROP DATABASE IF EXISTS {} SYNC", session.tables.database);
        block_on(async {
            let _ = session.ddl(&sql).await;
        });
    }
}

/// A server of one test, that can be killed. Its data is kept in a folder.
pub struct Mortal {
    server: Server,
    /// The section that names it.
    pub config: ClickHouseConfig,
}

impl Mortal {
    /// Starts it; none, and a message, without SQUALL_TEST_PYTHON.
    pub fn start(folder: &Path) -> Option<Self> {
        let server = script(&["--data", folder.to_str().unwrap()])?;
        let mut config = config::load(None, std::iter::empty()).unwrap().clickhouse;
        config.url.clone_from(&server.url);
        Some(Self { server, config })
    }

    /// Ends it with SIGKILL.
    pub fn kill(mut self) {
        let child = self.server.child.as_mut().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

/// Runs something to its end, also from within another runtime.
fn block_on<T: Send>(work: impl Future<Output = T> + Send) -> T {
    std::thread::scope(|scope| {
        scope
            .spawn(|| crate::store::contract::run(work))
            .join()
            .unwrap()
    })
}

fn server() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    SERVER.get_or_init(start).as_ref()
}

fn start() -> Option<Server> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(url) = variable("SQUALL_TEST_CLICKHOUSE") {
        return Some(Server {
            url,
            user: variable("SQUALL_TEST_CLICKHOUSE_USER").unwrap_or_else(|| "default".into()),
            password: variable("SQUALL_TEST_CLICKHOUSE_PASSWORD").unwrap_or_default(),
            child: None,
        });
    }
    script(&[])
}

/// Starts the script.
fn script(arguments: &[&str]) -> Option<Server> {
    let Some(python) = std::env::var_os("SQUALL_TEST_PYTHON") else {
        eprintln!("skipped: set SQUALL_TEST_PYTHON as `make test` does, or SQUALL_TEST_CLICKHOUSE");
        return None;
    };
    let mut child = Command::new(python)
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/clickhouse_server.py"
        ))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the test server starts");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines.next().and_then(Result::ok).unwrap_or_default();
    let address = line.strip_prefix("listening ").expect("an address");
    Some(Server {
        url: format!("http://{address}"),
        user: "default".into(),
        password: String::new(),
        child: Some(child),
    })
}
