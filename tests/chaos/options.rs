//! The command line: that of a test program as far as others call it so, and options of its own.

use crate::scenarios::Scenario;

/// Runs of the test.
const RUNS: u64 = 20;
const HELP: &str = "usage: chaos [--runs N] [--seed S] [--parallel P] [--broken token|plan|repeats] [--outbox DELIVERIES]";

/// What is asked for.
#[derive(Debug)]
pub struct Options {
    /// How many runs.
    pub runs: u64,
    /// Seed of the first; each further one has the next.
    pub seed: u64,
    /// How many at once.
    pub parallel: usize,
    /// So many deliveries in the outbox while it is killed, in place of everything else.
    pub outbox: Option<usize>,
    broken: Vec<String>,
}

impl Options {
    /// Reads arguments. None when nothing is to be done: a list was asked for, or other tests.
    pub fn read(arguments: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut options = Self {
            runs: RUNS,
            seed: 1,
            parallel: 2,
            outbox: None,
            broken: Scenario::ALL
                .map(|scenario| scenario.promise().to_owned())
                .into(),
        };
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            let mut number = || {
                let value = arguments.next().unwrap_or_default();
                value
                    .parse::<u64>()
                    .map_err(|_| format!("{argument} wants a number, not '{value}': {HELP}"))
            };
            match argument.as_str() {
                "--runs" => {
                    options.runs = number()?;
                    options.broken.clear();
                }
                "--outbox" => {
                    options.outbox = Some(number()?.max(40) as usize);
                    if !options.broken.is_empty() {
                        options.runs = 1;
                    }
                }
                "--seed" => options.seed = number()?,
                "--parallel" => options.parallel = number()?.max(1) as usize,
                "--broken" => {
                    options.runs = 0;
                    options.broken = vec![arguments.next().unwrap_or_default()];
                }
                "--list" => {
                    println!("chaos: test");
                    return Ok(None);
                }
                "--ignored" => return Ok(None),
                // What a test program is told besides.
                "--format" | "--test-threads" | "--color" | "--skip" => drop(arguments.next()),
                flag if flag.starts_with("--") => {}
                filter if "chaos".contains(filter) => {}
                _ => return Ok(None),
            }
        }
        Ok(Some(options))
    }

    /// Whether nothing was asked for in particular.
    pub fn is_test(&self) -> bool {
        self.runs > 0 && self.broken.len() == Scenario::ALL.len()
    }

    /// Whether this promise is to be switched off.
    pub fn wants(&self, scenario: Scenario) -> bool {
        self.broken
            .iter()
            .any(|promise| promise == scenario.promise())
    }
}
