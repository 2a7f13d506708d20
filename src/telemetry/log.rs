//! The log: structured events on standard error, so that standard output stays data.

use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Environment variable that sets what is logged, as `tracing_subscriber` reads it: `debug`, `info,squall::notify=debug`.
const VARIABLE: &str = "SQUALL_LOG";

/// What is logged without it. The Kafka client repeats every lost connection; its warnings suffice.
const DEFAULT: &str = "info,rdkafka=warn,librdkafka=warn";

/// How a line of the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people; in colour on a terminal, unless `NO_COLOR` is set.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging to standard error, for the whole process. A second call does nothing. A value of `SQUALL_LOG`
/// that cannot be read is reported in the log, and the default taken.
pub fn init(format: LogFormat) {
    let (filter, problem) = filter(std::env::var(VARIABLE).ok().as_deref());
    // A log that cannot be written (a closed pipe) must not bring the process down: nothing is printed about it.
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .log_internal_errors(false);
    let started = match format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Text => {
            let colour = std::io::stderr().is_terminal()
                && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
            builder.with_ansi(colour).try_init()
        }
    };
    if let (Ok(()), Some(problem)) = (started, problem) {
        tracing::warn!("{problem}");
    }
}

/// The filter that `value` describes; the default and what is wrong when it describes none.
fn filter(value: Option<&str>) -> (EnvFilter, Option<String>) {
    let value = value.filter(|value| !value.trim().is_empty());
    match value.map(EnvFilter::try_new) {
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => {
            let problem =
                format!("{VARIABLE}: {error}: write it as debug, or as info,squall::notify=debug");
            (EnvFilter::new(DEFAULT), Some(problem))
        }
        None => (EnvFilter::new(DEFAULT), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_cannot_be_read_is_replaced_and_reported() {
        let default = EnvFilter::new(DEFAULT).to_string();
        for (value, expected, wrong) in [
            (None, default.as_str(), false),
            (Some(" "), &default, false),
            (Some("debug"), "debug", false),
            (Some("squall=verbose"), &default, true),
        ] {
            let (filter, problem) = filter(value);
            assert_eq!(filter.to_string(), expected, "{value:?}");
            assert_eq!(problem.is_some(), wrong, "{value:?}: {problem:?}");
        }
    }
}
