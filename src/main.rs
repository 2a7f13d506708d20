//! Parse and call.

use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    squall::faults::arm();
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

fn is_broken_pipe(error: &(dyn std::error::Error + 'static)) -> bool {
    let io = error
        .downcast_ref::<std::io::Error>()
        .map(std::io::Error::kind);
    let json = error
        .downcast_ref::<serde_json::Error>()
        .and_then(serde_json::Error::io_error_kind);
    io.or(json) == Some(std::io::ErrorKind::BrokenPipe)
}
