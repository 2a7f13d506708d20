//! Parse and call.

use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = squall::cli::Cli::parse();
    match squall::cli::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // `{:#}` writes the chain of causes on one line.
            eprintln!("squall: {error:#}");
            ExitCode::FAILURE
        }
    }
}
