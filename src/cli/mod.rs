//! The command line: one file a command. Data goes to standard output, everything else to standard error;
//! exit status 0 is success, 1 failure, 2 wrong usage.

mod alerts;
mod average;
mod backtest;
mod bench;
mod check_config;
mod dead_letters;
mod demo;
mod detect;
mod doctor;
mod eval;
mod files;
mod migrate;
mod optimize;
mod replay;
mod report;
mod score;
mod serve;
mod signals;
mod token;
mod train;

use crate::app::Role;
use crate::config::{self, Config};
use crate::telemetry::{self, LogFormat};
use clap::{CommandFactory as _, Parser, Subcommand};
use std::io::Write as _;
use std::path::PathBuf;

/// A streaming sentiment monitor: financial news and social posts in; sentiment per company, signed spike
/// alerts and campaign reach out.
///
/// Begin with `squall demo`: it needs nothing else and shows everything on a page.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, propagate_version = true)]
pub struct Cli {
    /// Configuration; without one the documented defaults count (see `squall check-config --defaults`)
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How the log on standard error is written
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
enum Command {
    /// Show everything on a replayed stream of two hours: scores, alerts, campaigns, the page
    Demo(demo::Demo),
    /// Run the service: read posts from Kafka, score, store, detect, notify, serve the page
    Run(Serve),
    /// Send posts from a file into a topic
    Replay(replay::Replay),
    /// Score posts from a file, one line of JSON each
    Score(score::Score),
    /// Measure a model on labelled texts
    Eval(eval::Eval),
    /// Make a model from labelled texts
    Train(train::Train),
    Average(average::AverageModels),
    Optimize(optimize::Optimize),
    /// Look for spikes in a plain series of counts
    Detect(detect::Detect),
    Backtest(backtest::Backtest),
    /// Write a report
    Report(report::Report),
    Alerts(alerts::Alerts),
    DeadLetters(dead_letters::DeadLetters),
    /// Check a configuration, or print the documented defaults
    CheckConfig(check_config::CheckConfig),
    Doctor(doctor::Doctor),
    /// Bring the tables of the configured store up to date, while no process of squall writes to it
    Migrate,
    /// Measure speed: scoring, and the way from a post to its alert
    Bench(bench::Bench),
    Token(token::Token),
    /// Write shell completions
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

/// Arguments that are well formed and cannot be meant so: exit status 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub(crate) String);

/// Run the service.
#[derive(Debug, clap::Args)]
struct Serve {
    /// Roles of this process; all without it. Several processes with the same configuration share the work
    #[arg(long, value_enum, value_delimiter = ',', value_name = "ROLE,…")]
    roles: Vec<Role>,
}

impl Cli {
    /// How the log is written.
    pub fn log_format(&self) -> LogFormat {
        self.log_format
    }
}

/// Says on standard error why the program ends: a plain line for people, an event of the log for programs.
pub fn say_error(error: &anyhow::Error, format: LogFormat) {
    // `{:#}` writes the chain of causes on one line.
    match format {
        LogFormat::Text => drop(writeln!(std::io::stderr(), "squall: {error:#}")),
        LogFormat::Json => tracing::error!("{error:#}"),
    }
}

/// Runs a command.
///
/// # Errors
/// What is shown to the user, with place and remedy.
pub fn run(cli: Cli) -> anyhow::Result<()> {
    let Cli {
        config: file,
        log_format,
        command,
    } = cli;
    telemetry::init(log_format);
    let config = || -> anyhow::Result<Config> {
        // What is not UTF-8 belongs to others, or is wrong and found so.
        let environment = std::env::vars_os().map(|(name, value)| {
            let text = |os: std::ffi::OsString| os.to_string_lossy().into_owned();
            (text(name), text(value))
        });
        Ok(config::load(file.as_deref(), environment)?)
    };
    match command {
        Command::Demo(args) => block_on(demo::run(args, config()?)),
        Command::Run(args) => block_on(serve::run(args.roles.into_iter().collect(), config()?)),
        Command::Replay(args) => block_on(replay::run(args, config()?)),
        Command::Score(args) => score::run(&args, config()?),
        Command::Eval(args) => eval::run(&args, &config()?),
        Command::Train(args) => train::run(&args),
        Command::Average(args) => average::run(&args),
        Command::Optimize(args) => optimize::run(&args, &config()?),
        Command::Detect(args) => detect::run(&args),
        Command::Backtest(args) => backtest::run(&args, &config()?),
        Command::Report(args) => {
            let config = config()?;
            let store = report::store(&config)?;
            block_on(async { report::run(&args, &config, &*store).await })
        }
        Command::Alerts(args) => block_on(alerts::run(args, config()?)),
        Command::DeadLetters(args) => block_on(dead_letters::run(args, config()?)),
        Command::CheckConfig(args) => check_config::run(&args, config),
        Command::Doctor(args) => block_on(doctor::run(args, config)),
        Command::Migrate => {
            let config = config()?;
            block_on(async { migrate::run(&config).await })
        }
        Command::Bench(args) => block_on(bench::run(args, config()?)),
        Command::Token(args) => token::run(&args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "squall", &mut script);
            std::io::stdout().write_all(&script)?;
            Ok(())
        }
    }
}

fn block_on(command: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(command);
    // Blocking work that is still under way must not hold the process.
    runtime.shutdown_background();
    result
}
