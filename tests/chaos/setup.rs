//! What every squall process of a run is told: one configuration, but for the folder of its own.

use std::io;
use std::path::{Path, PathBuf};

/// Partitions of every topic that has several.
pub const PARTITIONS: i32 = 2;
/// `kafka.group`.
pub const GROUP: &str = "squall";
/// `kafka.epoch`.
pub const EPOCH: &str = "chaos";
/// `session.timeout.ms`: a process that is silent for longer is taken for dead.
pub const SESSION: std::time::Duration = std::time::Duration::from_millis(2000);
/// Webhook endpoints.
pub const ENDPOINTS: [&str; 2] = ["desk", "archive"];

/// The lines of an endpoint.
pub fn endpoint(name: &str, url: &str) -> String {
    format!(
        "[[endpoints]]\nname = \"{name}\"\nurl = \"{url}\"\nsecrets = [\"whsec_c3F1YWxsLXNxdWFsbC1zcXVhbGwtc3F1YWxsIQ==\"]\n"
    )
}

/// The lines of the broker; more of its `kafka.client` may follow.
pub fn kafka(broker: &str) -> String {
    format!(
        r#"[kafka]
brokers = "{broker}"
epoch = "{EPOCH}"
group = "{GROUP}"
partitions = {PARTITIONS}
[kafka.client]
"session.timeout.ms" = "{}"
"heartbeat.interval.ms" = "200""#,
        SESSION.as_millis()
    )
}

/// Where things are.
pub struct Setup {
    /// Folder of the run.
    pub folder: PathBuf,
    /// The program under test.
    pub program: PathBuf,
    /// The tiny model.
    pub model: PathBuf,
    /// `host:port` of the broker.
    pub broker: String,
    /// Address of the proxy before the database.
    pub clickhouse: String,
    /// Name of the run's database.
    pub database: String,
    /// Address of the webhook receiver.
    pub receiver: String,
}

impl Setup {
    /// Writes what all processes read: once, since they may read it at any time.
    pub fn write_dictionary(&self) -> io::Result<()> {
        std::fs::write(self.dictionary(), crate::posts::DICTIONARY)
    }

    fn dictionary(&self) -> PathBuf {
        self.folder.join("entities.csv")
    }

    /// Writes the configuration of one process and returns its path.
    pub fn config_of(&self, process: &str) -> io::Result<PathBuf> {
        let dictionary = self.dictionary();
        let data = self.folder.join(process);
        let Self {
            model,
            broker,
            clickhouse,
            database,
            receiver,
            ..
        } = self;
        let kafka = kafka(broker);
        let endpoints = ENDPOINTS.map(|name| endpoint(name, &format!("{receiver}/{name}")));
        let text = format!(
            r#"
[run]
data_dir = {data:?}
drain_deadline = "6s"
{kafka}
"max.poll.interval.ms" = "15000"
"fetch.wait.max.ms" = "20"
"fetch.queue.backoff.ms" = "20"
[score]
progress_interval = "300ms"
[model]
source = {model:?}
[entities]
dictionary = {dictionary:?}
[store]
flush_rows = 60
flush_interval = "250ms"
[clickhouse]
url = "{clickhouse}"
database = "{database}"
timeout = "2s"
[detect]
min_negative = 4
min_sources = 3
resolve_after = "10m"
cool_down = "10m"
checkpoint_interval = "500ms"
max_alert_age = "8760h"
[notify]
timeout = "1s"
attempts = 200
group_from = 0
retry_waits = ["30ms", "100ms", "200ms"]
allow = ["127.0.0.1"]
[api]
listen = "127.0.0.1:0"
{}"#,
            endpoints.concat()
        );
        let path = self.folder.join(format!("{process}.toml"));
        std::fs::write(&path, text)?;
        Ok(path)
    }

    /// The file in which processes note the faults that have hit them.
    pub fn faults_log(&self) -> PathBuf {
        self.folder.join("faults.log")
    }

    /// The faults that have hit processes so far.
    pub fn faults(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.faults_log()).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }

    /// What a process says.
    pub fn log_of(&self, process: &str) -> PathBuf {
        self.folder.join(format!("{process}.log"))
    }
}

/// Copies the program, so that a build meanwhile changes nothing.
pub fn copy_program(folder: &Path) -> io::Result<PathBuf> {
    let program = folder.join("squall");
    std::fs::hard_link(env!("CARGO_BIN_EXE_squall"), &program)
        .or_else(|_| std::fs::copy(env!("CARGO_BIN_EXE_squall"), &program).map(drop))?;
    Ok(program)
}
