//! Checks of `[clickhouse]`. Names of it become part of statements.

use super::ClickHouseConfig;
use reqwest::Url;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);
/// Longest time that rows are kept: the server's dates end in 2149.
const LONGEST_KEPT: Duration = Duration::from_secs(36_500 * 86_400);

/// What is wrong with `[clickhouse]`; nothing where it is not used.
pub(super) fn problems(config: &ClickHouseConfig) -> Vec<String> {
    if config.url.is_empty() {
        return Vec::new();
    }
    let mut problems = Vec::new();
    let url = Url::parse(&config.url).ok().filter(|url| {
        matches!(url.scheme(), "http" | "https") && url.host_str().is_some_and(|h| !h.is_empty())
    });
    match url {
        None => problems.push("url: is no address: write \"http://host:8123\""),
        Some(url) if !url.username().is_empty() || url.password().is_some() => problems.push(
            "url: must not name a user or password: set clickhouse.user and clickhouse.password",
        ),
        Some(url) if url.path() != "/" || url.query().is_some() || url.fragment().is_some() => {
            problems.push("url: must end after the port: set clickhouse.database for the database");
        }
        Some(_) => {}
    }
    let is_name = |name: &str, more: &str| {
        let known = |c: char| c.is_ascii_alphanumeric() || c == '_' || more.contains(c);
        name.len() <= 128 && name.chars().all(known)
    };
    if config.database.is_empty() || !is_name(&config.database, "") {
        problems.push("database: may only have letters, digits and '_', and at least one of them");
    }
    if !is_name(&config.cluster, "-.{}") {
        problems.push("cluster: may only have letters, digits, '_', '-' and '.'");
    }
    if config.user.is_empty() {
        problems.push("user: is empty: write \"default\", or who may write");
    }
    if config.keep < DAY || config.keep > LONGEST_KEPT {
        problems.push("keep: must be from 1 day (24h) to 100 years (876000h)");
    }
    if config.timeout < Duration::from_secs(1) || config.timeout > Duration::from_secs(3600) {
        problems.push("timeout: must be from 1s to 1h");
    }
    let named = problems
        .iter()
        .map(|problem| format!("clickhouse.{problem}"));
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::super::check::tests::errors;
    use std::time::Duration;

    #[test]
    fn the_section_of_clickhouse_is_checked_where_it_is_used() {
        let with = |change: fn(&mut Config)| {
            errors(|c| {
                c.clickhouse.url = "http://db:8123".into();
                change(c);
            })
        };
        assert_eq!(with(|_| ()), Vec::<String>::new());
        assert!(errors(|c| c.clickhouse.database = "a b".into()).is_empty());
        assert!(with(|c| c.clickhouse.url = "https://db:8443/".into()).is_empty());
        assert!(with(|c| c.clickhouse.cluster = "{cluster}".into()).is_empty());
        let one = |errors: Vec<String>, place: &str| {
            assert_eq!(errors.len(), 1, "{errors:?}");
            assert!(errors[0].starts_with(place), "{errors:?}");
        };
        one(
            with(|c| c.clickhouse.url = "db:8123".into()),
            "clickhouse.url",
        );
        one(
            with(|c| c.clickhouse.url = "tcp://db:9000".into()),
            "clickhouse.url",
        );
        let secret = "http://squall:hunter2@db:8123";
        let told = with(|c| c.clickhouse.url = "http://squall:hunter2@db:8123".into());
        assert!(secret.contains("hunter2") && !told[0].contains("hunter2"));
        one(told, "clickhouse.url");
        one(with(|c| c.clickhouse.url += "/squall"), "clickhouse.url");
        one(
            with(|c| c.clickhouse.url += "?database=x"),
            "clickhouse.url",
        );
        one(
            with(|c| c.clickhouse.database.clear()),
            "clickhouse.database",
        );
        one(
            with(|c| c.clickhouse.database = "a`b".into()),
            "clickhouse.database",
        );
        one(
            with(|c| c.clickhouse.cluster = "'".into()),
            "clickhouse.cluster",
        );
        one(
            with(|c| c.clickhouse.keep = Duration::from_secs(3600)),
            "clickhouse.keep",
        );
        one(
            with(|c| c.clickhouse.keep = Duration::MAX),
            "clickhouse.keep",
        );
        one(
            with(|c| c.clickhouse.timeout = Duration::ZERO),
            "clickhouse.timeout",
        );
    }
}
