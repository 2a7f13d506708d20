//! A squall process under test, and what it needs.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Longest wait for anything; only a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(120);

/// The program under test, run in the crate's root, where the bundled model is.
pub fn squall(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_squall"));
    command
        .args(args)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null());
    command
}

/// Runs the program to its end.
pub fn run(args: &[&str]) -> Output {
    squall(args).output().expect("squall starts")
}

/// Standard error as text.
pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A configuration file in a folder of its own.
pub struct Setup {
    pub folder: tempfile::TempDir,
}

impl Setup {
    /// The defaults with a data folder and a free port of their own, and `more` behind them.
    pub fn new(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let text = format!("[run]\ndata_dir = {data:?}\n[api]\nlisten = \"127.0.0.1:0\"\n{more}");
        std::fs::write(folder.path().join("squall.toml"), text).unwrap();
        Self { folder }
    }

    pub fn config(&self) -> String {
        self.path("squall.toml")
    }

    pub fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// Writes a file into the folder and returns its path.
    pub fn write(&self, name: &str, content: &[u8]) -> String {
        std::fs::write(self.folder.path().join(name), content).unwrap();
        self.path(name)
    }

    /// A single number from the store.
    pub fn count(&self, query: &str) -> i64 {
        let path = self.folder.path().join("data/squall.db");
        let open = || {
            rusqlite::Connection::open_with_flags(&path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)
        };
        open()
            .and_then(|db| db.query_row(query, [], |row| row.get(0)))
            .unwrap_or(-1)
    }

    /// Waits until a query gives a number.
    pub fn wait_for(&self, query: &str, number: i64) {
        until(
            &format!("{query} = {number} (now {})", self.count(query)),
            || self.count(query) == number,
        );
    }
}

/// A running service. Killed when dropped.
pub struct Service {
    child: Child,
    log: Receiver<String>,
    seen: Vec<String>,
    pub address: String,
}

impl Service {
    /// Starts `squall run` and waits until it says where it listens.
    pub fn start(setup: &Setup) -> Self {
        Self::start_with(setup, &[])
    }

    pub fn start_with(setup: &Setup, args: &[&str]) -> Self {
        let mut all = vec!["run", "--config"];
        let config = setup.config();
        all.push(&config);
        all.extend(args);
        let with_page = !args.contains(&"--roles") || args.iter().any(|arg| arg.contains("api"));
        Self::of(squall(&all), with_page)
    }

    /// Starts a command of `squall run`.
    pub fn of(mut command: Command, with_page: bool) -> Self {
        let mut child = command
            .stderr(Stdio::piped())
            .spawn()
            .expect("squall starts");
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, log) = channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let mut service = Self {
            child,
            log,
            seen: Vec::new(),
            address: String::new(),
        };
        let line = service.wait_for_log(if with_page {
            "page and API at"
        } else {
            "squall runs"
        });
        if let Some((_, address)) = line.split_once("at http://") {
            service.address = address.trim().to_owned();
        }
        service
    }

    /// Waits for a line of the log that contains a text.
    pub fn wait_for_log(&mut self, text: &str) -> String {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            match self.log.recv_timeout(Duration::from_millis(200)) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
                Err(_) => break,
            }
        }
        panic!(
            "no line with '{text}' in the log:\n{}",
            self.seen.join("\n")
        );
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills it, and tells all that it has logged.
    pub fn kill(mut self) -> String {
        self.child.kill().unwrap();
        self.wait();
        // The other end closes with the process.
        let rest: Vec<String> = self.log.iter().collect();
        [self.seen.as_slice(), &rest].concat().join("\n")
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &id])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Waits for the end of the process.
    pub fn wait(&mut self) -> ExitStatus {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("squall has not ended");
    }

    /// SIGTERM, and a clean end.
    pub fn stop(mut self) {
        self.signal("-TERM");
        let status = self.wait();
        let log: Vec<String> = self.log.try_iter().collect();
        assert!(
            status.success(),
            "{status}\n{}\n{}",
            self.seen.join("\n"),
            log.join("\n")
        );
    }

    /// Resident memory in MB.
    pub fn resident_megabytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .unwrap_or_default();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .unwrap_or("0");
        line.split_whitespace()
            .next()
            .and_then(|n| n.parse::<u64>().ok())
            .unwrap_or(0)
            / 1024
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until something holds.
pub fn until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Data that a clone does not have: beside the project, or where SQUALL_SHARED says. None with a message.
pub fn shared(file: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let folder = std::env::var_os("SQUALL_SHARED").map_or(beside, PathBuf::from);
    let path = folder.join(file);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: {} is not there", path.display());
    None
}

/// One JSON line for each text.
pub fn posts<'a>(texts: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
    let lines = texts
        .into_iter()
        .map(|text| serde_json::json!({ "text": text }).to_string() + "\n");
    lines.collect::<String>().into_bytes()
}
