//! `squall check-config`.

use crate::app;
use crate::config::{self, Config};
use anyhow::Context as _;
use std::io::Write as _;

/// Check a configuration.
#[derive(Debug, clap::Args)]
pub(super) struct CheckConfig {
    /// Print the documented default configuration instead
    #[arg(long)]
    defaults: bool,
    /// Print the configuration as it counts, secrets masked
    #[arg(long, conflicts_with = "defaults")]
    show: bool,
}

/// Checks what can be checked without a broker: keys, types, pairs, dictionary, lists, endpoints.
pub(super) fn run(
    args: &CheckConfig,
    config: impl FnOnce() -> anyhow::Result<Config>,
) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if args.defaults {
        out.write_all(config::DEFAULTS.as_bytes())?;
        return Ok(());
    }
    let config = config()?;
    let dictionary = app::dictionary(&config)?;
    app::matcher(&config, &dictionary)?;
    app::calendar(&config.detect)?;
    let notifier = app::notifier(&config)?;
    if args.show {
        let shown =
            toml::to_string(&config).context("the configuration cannot be written as TOML")?;
        out.write_all(shown.as_bytes())?;
        for endpoint in notifier.endpoints() {
            writeln!(
                out,
                "# endpoint '{}' is at {}",
                endpoint.name(),
                endpoint.place()
            )?;
        }
    } else {
        writeln!(
            out,
            "the configuration is good: {} topics, {} entities, {} lists, {} campaigns, {} endpoints",
            config.topics.len(),
            dictionary.entities().len(),
            config.lists.len(),
            config.campaigns.len(),
            config.endpoints.len()
        )?;
    }
    Ok(())
}
