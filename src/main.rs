//! Parse and call.

use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    squall::faults::arm();
    one_thread_an_operation();
    let cli = squall::cli::Cli::parse();
    let format = cli.log_format();
    match squall::cli::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read the output has enough: `squall score … | head`.
        Err(error) if error.chain().any(is_broken_pipe) => ExitCode::SUCCESS,
        Err(error) => {
            squall::cli::say_error(&error, format);
            match error.is::<squall::cli::UsageError>() {
                true => ExitCode::from(2),
                false => ExitCode::FAILURE,
            }
        }
    }
}

/// Texts are shared among the cores as a whole, in scoring and in training; candle's threads, which meet after every
/// operation, would take up to twice the processor time. Whoever sets the variable keeps the choice.
fn one_thread_an_operation() {
    const THREADS: &str = "RAYON_NUM_THREADS";
    if std::env::var_os(THREADS).is_none() {
        // SAFETY: no other thread runs yet, so none can read the environment meanwhile.
        unsafe { std::env::set_var(THREADS, "1") };
    }
}

fn is_broken_pipe(error: &(dyn std::error::Error + 'static)) -> bool {
    let io = error
        .downcast_ref::<std::io::Error>()
        .map(std::io::Error::kind);
    let json = error
        .downcast_ref::<serde_json::Error>()
        .and_then(serde_json::Error::io_error_kind);
    io.or(json) == Some(std::io::ErrorKind::BrokenPipe)
}
