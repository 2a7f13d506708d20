//! ClickHouse: it answers, its tables are as squall made them, its settings let a repeated block be left out.

use super::clock;
use super::finding::{Finding, Level};
use crate::config::Config;
use crate::store::clickhouse::{ClickHouseFacts, ClickHouseStore, Disk, Replica, Setting};
use crate::store::{StoreError, StoreResult};
use std::collections::BTreeMap;

const SUBJECT: &str = "clickhouse";

/// Oldest server that squall works with, and the first that is too new to be known.
const OLDEST: (u32, u32) = (24, 8);
/// A block touches at most the months of a year and its own.
const PARTITIONS_A_BLOCK: u64 = 13;
const GIGABYTE: u64 = 1 << 30;
/// Seconds that a replica may be behind.
const BEHIND: u64 = 300;

/// What every insert of squall sets. Value, and what happens where the profile says otherwise and cannot be overruled.
const NEEDED: [(&str, &str, &str); 6] = [
    (
        "async_insert",
        "0",
        "blocks would be mixed, and a repeated one stored twice",
    ),
    (
        "insert_deduplicate",
        "1",
        "a repeated block would be stored twice",
    ),
    (
        "deduplicate_insert",
        "enable",
        "a repeated block would be stored twice",
    ),
    (
        "deduplicate_blocks_in_dependent_materialized_views",
        "1",
        "a repeated block would be counted twice in mentions and totals",
    ),
    (
        "materialized_views_ignore_errors",
        "0",
        "mentions and totals could lack what posts have",
    ),
    (
        "parallel_view_processing",
        "0",
        "a view that fails could leave others without the block",
    ),
];

/// The server, where one is configured.
pub(super) async fn check(config: &Config) -> Vec<Finding> {
    let clickhouse = &config.clickhouse;
    if clickhouse.url.is_empty() {
        return Vec::new();
    }
    let store = match ClickHouseStore::new(clickhouse) {
        Ok(store) => store,
        Err(error) => return vec![Finding::failed(SUBJECT, error)],
    };
    match store.inspect(&clickhouse.cluster).await {
        Ok(facts) => judge(&facts, clickhouse.migrate),
        Err(error) => vec![Finding::failed(SUBJECT, error)],
    }
}

fn judge(facts: &ClickHouseFacts, migrates: bool) -> Vec<Finding> {
    let mut findings = vec![judge_version(facts)];
    findings.push(clock::judge("ClickHouse", facts.clock_ahead));
    findings.push(judge_schema(facts, migrates));
    findings.extend(judge_rights(facts));
    findings.extend(judge_settings(&facts.settings));
    findings.extend(judge_disks(&facts.disks));
    findings.extend(judge_cluster(facts));
    findings
}

fn judge_version(facts: &ClickHouseFacts) -> Finding {
    let message = format!("{} answers, version {}", facts.place, facts.server);
    let mut numbers = facts
        .server
        .split('.')
        .map(|number| number.parse().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version < OLDEST {
        let (year, month) = OLDEST;
        return Finding::error(
            SUBJECT,
            format!("{message}, which squall does not know"),
            format!("use ClickHouse {year}.{month} or newer"),
        );
    }
    Finding::ok(SUBJECT, message)
}

fn judge_schema(facts: &ClickHouseFacts, migrates: bool) -> Finding {
    let (found, newest) = (facts.schema, facts.newest);
    match &facts.tables {
        _ if found > newest => Finding::error(
            SUBJECT,
            format!("its schema has version {found}, this squall knows {newest}"),
            "use the newer squall, or another clickhouse.database",
        ),
        None if migrates => Finding::ok(
            SUBJECT,
            match found {
                0 => "its tables are made at the first start".to_owned(),
                _ => format!("the next start brings its schema from version {found} to {newest}"),
            },
        ),
        None => Finding::error(
            SUBJECT,
            match found {
                0 => "it has no tables yet".to_owned(),
                _ => format!("its schema has version {found}, this squall needs {newest}"),
            },
            "run `squall migrate` while no process of squall runs",
        ),
        Some(Ok(())) => Finding::ok(
            SUBJECT,
            format!(
                "schema version {found}: tables, views and deduplication windows are as squall made them"
            ),
        ),
        Some(Err(error)) => Finding::failed(SUBJECT, error),
    }
}

fn judge_rights(facts: &ClickHouseFacts) -> Vec<Finding> {
    let user = &facts.user;
    let Some(refused) = &facts.refused else {
        return vec![Finding::not_checked(
            SUBJECT,
            format!("what user {user} may do, before the tables are there"),
        )];
    };
    if refused.is_empty() {
        return vec![Finding::ok(
            SUBJECT,
            format!("user {user} may read and write every table"),
        )];
    }
    let finding = |(what, error): &(String, StoreError)| {
        Finding::failed(SUBJECT, format!("user {user} cannot {what}: {error}"))
    };
    refused.iter().map(finding).collect()
}

/// Settings of the profile. squall overrules those it needs, where the profile lets it.
fn judge_settings(settings: &StoreResult<BTreeMap<String, Setting>>) -> Vec<Finding> {
    let settings = match settings {
        Ok(settings) => settings,
        Err(error) => {
            return vec![Finding::not_checked(
                SUBJECT,
                format!("settings of the profile: {error}"),
            )];
        }
    };
    let mut findings = Vec::new();
    if let Some(readonly) = settings
        .get("readonly")
        .filter(|setting| setting.value != "0")
    {
        findings.push(Finding::error(
            SUBJECT,
            format!(
                "the user's profile is readonly ({}): nothing can be stored",
                readonly.value
            ),
            "give clickhouse.user a profile with readonly = 0",
        ));
    }
    for (name, needed, otherwise) in NEEDED {
        if let Some(setting) = settings
            .get(name)
            .filter(|setting| setting.value != needed && setting.is_fixed)
        {
            findings.push(Finding::error(
                SUBJECT,
                format!(
                    "the user's profile holds {name} at {}: {otherwise}",
                    setting.value
                ),
                format!("set {name} to {needed} in the profile, or let it be changed"),
            ));
        }
    }
    let partitions = settings.get("max_partitions_per_insert_block");
    let partitions = partitions.and_then(|setting| setting.value.parse::<u64>().ok());
    if let Some(partitions) = partitions.filter(|most| (1..PARTITIONS_A_BLOCK).contains(most)) {
        findings.push(Finding::error(
            SUBJECT,
            format!(
                "max_partitions_per_insert_block is {partitions}: a block of posts from {PARTITIONS_A_BLOCK} months would be refused for ever"
            ),
            format!("set it to {PARTITIONS_A_BLOCK} or more in the user's profile (100 is the server's default)"),
        ));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(
            SUBJECT,
            "the user's profile lets inserts be told apart by their tokens",
        ));
    }
    findings
}

fn judge_disks(disks: &StoreResult<Vec<Disk>>) -> Vec<Finding> {
    let disks = match disks {
        Ok(disks) => disks,
        Err(error) => {
            return vec![Finding::not_checked(
                SUBJECT,
                format!("free space: {error}"),
            )];
        }
    };
    // What lies in an object store has no end.
    let local = disks
        .iter()
        .filter(|disk| (1..u64::MAX).contains(&disk.total));
    let finding = |disk: &Disk| {
        let free = disk.free as f64 / GIGABYTE as f64;
        let message = format!("{free:.1} GB are free on disk {}", disk.name);
        let level = match disk.free {
            free if free < GIGABYTE => Level::Error,
            free if free < 10 * GIGABYTE || free < disk.total / 10 => Level::Warning,
            _ => return Finding::ok(SUBJECT, message),
        };
        Finding::wrong(
            level,
            SUBJECT,
            message,
            "free some, or shorten clickhouse.keep: a full disk stops STORE",
        )
    };
    local.map(finding).collect()
}

fn judge_cluster(facts: &ClickHouseFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    match &facts.in_cluster {
        None => return findings,
        Some(Ok(true)) => {}
        Some(Ok(false)) => findings.push(Finding::error(
            SUBJECT,
            "the server does not know clickhouse.cluster",
            "correct its name, or add it to remote_servers of the server",
        )),
        Some(Err(error)) => {
            findings.push(Finding::not_checked(
                SUBJECT,
                format!("the cluster: {error}"),
            ));
        }
    }
    let replicas = match &facts.replicas {
        Ok(replicas) => replicas,
        Err(error) => {
            findings.push(Finding::not_checked(SUBJECT, format!("replicas: {error}")));
            return findings;
        }
    };
    let named = |is: &dyn Fn(&Replica) -> bool| -> Option<String> {
        let tables = replicas.iter().filter(|replica| is(replica));
        let tables: Vec<&str> = tables.map(|replica| replica.table.as_str()).collect();
        (!tables.is_empty()).then(|| tables.join(", "))
    };
    if let Some(tables) = named(&|replica| replica.is_readonly) {
        findings.push(Finding::error(
            SUBJECT,
            format!("{tables} take no inserts on this replica"),
            "check ClickHouse Keeper, and the server's connection to it",
        ));
    }
    if let Some(tables) = named(&|replica| replica.delay > BEHIND) {
        findings.push(Finding::warning(
            SUBJECT,
            format!("{tables} are more than {BEHIND} s behind the other replicas"),
            "look at system.replication_queue of the server",
        ));
    }
    findings
}

#[cfg(test)]
mod tests;
