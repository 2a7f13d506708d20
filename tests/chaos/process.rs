//! A squall process: started, killed, stopped and continued.

use crate::setup::Setup;
use anyhow::bail;
use std::io;
use std::process::{Child, Command, ExitStatus, Stdio};

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
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(setup.log_of(name))?;
        let child = Command::new(&setup.program)
            .args(["run", "--config"])
            .arg(setup.config_of(name)?)
            .env("SQUALL_FAULTS", faults)
            .env("SQUALL_FAULTS_LOG", setup.faults_log())
            .env("RUST_LOG", "info,squall=debug,librdkafka=warn")
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
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
