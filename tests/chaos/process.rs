//! A squall process: started, killed, stopped and continued.

use crate::setup::Setup;
use anyhow::bail;
use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Makes the tables, as `squall migrate` does before a first start: a process that dies while it makes them leaves a lock
/// that others respect for half a minute. Blocking.
pub fn migrate(setup: &Setup) -> anyhow::Result<()> {
    let output = Command::new(&setup.program)
        .args(["migrate", "--config"])
        .arg(setup.config_of("migrate")?)
        // The engine has only just begun, and others with it.
        .env("SQUALL_CLICKHOUSE__TIMEOUT", "60s")
        .stdin(Stdio::null())
        .output()?;
    if !output.status.success() {
        bail!(
            "squall migrate: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

/// A running `squall run`. Killed when dropped.
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts one; `faults` as in `SQUALL_FAULTS`.
    pub fn start(setup: &Setup, name: &str, faults: &str) -> io::Result<Self> {
        let faults_log = setup.faults_log();
        let environment = [
            ("SQUALL_FAULTS", faults.as_ref()),
            ("SQUALL_FAULTS_LOG", faults_log.as_os_str()),
        ];
        let (config, log) = (setup.config_of(name)?, setup.log_of(name));
        Self::run(&setup.program, &config, &log, &environment)
    }

    /// Starts one with a configuration; what it says comes behind what stands in `log`.
    pub fn run(
        program: &Path,
        config: &Path,
        log: &Path,
        environment: &[(&str, &OsStr)],
    ) -> io::Result<Self> {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)?;
        let child = Command::new(program)
            .args(["run", "--config"])
            .arg(config)
            .envs(environment.iter().copied())
            .env("TOKIO_WORKER_THREADS", "2")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        Ok(Self { child })
    }

    /// Sends a signal, `-KILL` for example. A process that has ended takes none.
    pub fn signal(&self, signal: &str) {
        let _ = Command::new("kill")
            .args([signal, &self.child.id().to_string()])
            .stderr(Stdio::null())
            .status();
    }

    /// How it ended; none while it runs.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// How it ended; none while it still runs at that time.
    pub async fn ended_by(&mut self, until: Instant) -> Option<ExitStatus> {
        loop {
            match self.ended() {
                None if Instant::now() < until => {
                    tokio::time::sleep(Duration::from_millis(30)).await
                }
                status => return status,
            }
        }
    }

    /// Kills it, and waits until it is gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
