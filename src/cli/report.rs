//! `squall report`: reports from the store.

use super::UsageError;
use crate::app;
use crate::campaign::report::{CampaignReport, Format, Subject};
use crate::config::Config;
use crate::domain::{CampaignId, Timestamp};
use crate::store::Store;
use anyhow::{Context, bail};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Make a report from what is stored.
#[derive(Debug, Clone, clap::Args)]
pub struct Report {
    /// What to report on.
    #[command(subcommand)]
    pub kind: ReportKind,
}

/// Kinds of reports.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum ReportKind {
    /// The reach of a campaign: posts, contributors, audience, impressions, engagements and sentiment.
    Campaign(CampaignArgs),
}

/// Arguments of `squall report campaign`.
#[derive(Debug, Clone, clap::Args)]
pub struct CampaignArgs {
    /// Id of the campaign.
    #[arg(value_name = "ID")]
    pub id: String,
    /// Beginning of the period, as 2026-11-23T09:00:00Z; whole hours are reported [default: the first post].
    #[arg(long, value_name = "TIME")]
    pub from: Option<Timestamp>,
    /// End of the period, itself outside [default: the last post].
    #[arg(long, value_name = "TIME")]
    pub to: Option<Timestamp>,
    /// How it is written.
    #[arg(long, value_name = "FORMAT", default_value = Format::Markdown.name(), value_parser = formats())]
    pub format: Format,
    /// File to write it to; - is standard output.
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub output: PathBuf,
}

fn formats() -> impl TypedValueParser<Value = Format> {
    PossibleValuesParser::new(Format::ALL.map(Format::name)).try_map(|name| name.parse::<Format>())
}

/// Opens the store there is; makes none.
///
/// # Errors
/// When there is none, or it cannot be opened.
pub fn store(config: &Config) -> anyhow::Result<Arc<dyn Store>> {
    let path = config.run.data_dir.join(&config.store.path);
    if config.clickhouse.url.is_empty() && !path.exists() {
        bail!(
            "{}: no store is there: start `squall run` with this configuration, or set run.data_dir or store.path to one that has run",
            path.display()
        );
    }
    app::open_store(config)
}

/// Makes the report and writes it.
///
/// # Errors
/// The store cannot be read, no campaign has the id (the known ones are listed), the period is empty, or the
/// output cannot be written.
pub async fn run(args: &Report, config: &Config, store: &dyn Store) -> anyhow::Result<()> {
    let ReportKind::Campaign(args) = &args.kind;
    write(&args.output, &campaign(args, config, store).await?)
}

async fn campaign(
    args: &CampaignArgs,
    config: &Config,
    store: &dyn Store,
) -> anyhow::Result<String> {
    let earliest = Timestamp::from_millis(i64::MIN);
    let latest = Timestamp::from_millis(i64::MAX);
    let (from, to) = (args.from.unwrap_or(earliest), args.to.unwrap_or(latest));
    if from >= to {
        return Err(UsageError(format!(
            "the period from {from} to {to} is empty: --to must be later than --from"
        ))
        .into());
    }
    let id = CampaignId::from(args.id.as_str());
    let figures = store.campaign(&id, from, to).await?;
    if figures.total.posts == 0 && !config.campaigns.iter().any(|campaign| campaign.id == id) {
        let stored = store.campaigns(earliest, latest).await?;
        let mut known: BTreeSet<CampaignId> = stored.into_iter().map(|(id, _)| id).collect();
        known.extend(config.campaigns.iter().map(|campaign| campaign.id.clone()));
        if !known.contains(&id) {
            bail!(unknown(&id, &known));
        }
    }
    let subject = Subject::new(id, &config.campaigns, args.from, args.to, Timestamp::now());
    Ok(CampaignReport::new(subject, &figures).render(args.format))
}

fn unknown(id: &CampaignId, known: &BTreeSet<CampaignId>) -> String {
    if known.is_empty() {
        return format!(
            "no campaign '{id}': none is configured and no stored post belongs to one; add it as [[campaigns]] to the configuration"
        );
    }
    let known: Vec<&str> = known.iter().map(CampaignId::as_str).collect();
    format!(
        "no campaign '{id}': the known ones are {}",
        known.join(", ")
    )
}

fn write(output: &Path, text: &str) -> anyhow::Result<()> {
    if output == Path::new("-") {
        return std::io::stdout()
            .write_all(text.as_bytes())
            .context("cannot write to standard output");
    }
    std::fs::write(output, text)
        .with_context(|| format!("cannot write {}: check the path", output.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract::{post, posts_block};
    use crate::store::sqlite::SqliteStore;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        report: Report,
    }

    fn parse(arguments: &[&str]) -> Result<Report, clap::Error> {
        let arguments = ["report", "campaign"].iter().chain(arguments);
        Command::try_parse_from(arguments).map(|command| command.report)
    }

    /// Runs the command over a store with ten posts of the campaign `spring`, `autumn` configured.
    async fn run_with(arguments: &[&str]) -> anyhow::Result<String> {
        let folder = tempfile::tempdir()?;
        let store = SqliteStore::open(&folder.path().join("squall.db"))?;
        let posts = (0..10).map(post).collect();
        store.insert(&posts_block(0, posts)).await?;
        let mut config: Config = toml::from_str(include_str!("../config/squall.toml"))?;
        config.campaigns = toml::from_str::<toml::Table>("id = 'autumn'\nname = 'Autumn sale'")
            .and_then(|campaign| campaign.try_into().map(|campaign| vec![campaign]))?;
        let output = folder.path().join("report");
        let file = output.display().to_string();
        let arguments = [arguments, &["--output", &file]].concat();
        run(&parse(&arguments)?, &config, &store).await?;
        Ok(std::fs::read_to_string(output)?)
    }

    #[tokio::test]
    async fn each_format_is_written() {
        let json = run_with(&["spring", "--format", "json"]).await.unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["total"]["posts"], 10);
        assert_eq!(json["total"]["contributors"], 3);
        assert_eq!(json["total"]["observed_impressions"], 9000);
        assert_eq!(json["from"], "2026-11-23T09:00:00.000Z");
        let csv = run_with(&["spring", "--format", "csv"]).await.unwrap();
        assert_eq!(csv.lines().count(), 4);
        let html = run_with(&["spring", "--format", "html"]).await.unwrap();
        assert!(html.starts_with("<!DOCTYPE html>"));
        assert!(
            run_with(&["spring"])
                .await
                .unwrap()
                .starts_with("# Reach of spring")
        );
    }

    #[tokio::test]
    async fn the_period_is_what_is_asked() {
        let before = ["spring", "--to", "2026-11-23T09:00:00Z", "--format", "json"];
        let json: serde_json::Value =
            serde_json::from_str(&run_with(&before).await.unwrap()).unwrap();
        assert_eq!(json["total"]["posts"], 0);
        let empty = ["spring", "--from", "2026-11-23", "--to", "2026-11-23"];
        let error = run_with(&empty).await.unwrap_err().to_string();
        assert!(error.contains("--to must be later"), "{error}");
    }

    #[tokio::test]
    async fn an_unknown_campaign_is_told_from_an_empty_one() {
        let error = run_with(&["sprint"]).await.unwrap_err().to_string();
        assert!(
            error.contains("'sprint'") && error.contains("autumn, spring"),
            "{error}"
        );
        let empty = run_with(&["autumn"]).await.unwrap();
        assert!(empty.starts_with("# Reach of Autumn sale"), "{empty}");
    }

    #[test]
    fn wrong_usage_is_named() {
        for arguments in [
            &["spring", "--format", "pdf"][..],
            &["spring", "--from", "soon"],
            &[],
        ] {
            assert!(parse(arguments).is_err(), "{arguments:?}");
        }
    }
}
