//! Checks across keys: what no single type can say.

use super::rules::{self, good_horizons};
use super::{Config, Devices, EMBEDDED, FormatConfig, clickhouse_keys, client_keys};
use std::collections::HashSet;
use std::time::Duration;

/// Longest of all durations: a leap year.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

/// Adds a message for everything that cannot work.
pub(super) fn check(config: &Config, errors: &mut Vec<String>) {
    let mut require = |holds: bool, message: &str| {
        if !holds {
            errors.push(message.to_owned());
        }
    };
    for problem in client_keys::problems(config)
        .into_iter()
        .chain(too_large(config))
        .chain(Devices::of(&config.model).err())
    {
        require(false, &problem);
    }

    let kafka = &config.kafka;
    require(
        !kafka.brokers.trim().is_empty(),
        "kafka.brokers: is empty: write \"embedded\" or \"host:9092,…\"",
    );
    require(
        (1..=1000).contains(&kafka.partitions),
        "kafka.partitions: must be from 1 to 1000",
    );
    require(
        !kafka.group.is_empty(),
        "kafka.group: is empty: write the prefix of the consumer groups",
    );
    require(
        !kafka.epoch.is_empty() && !kafka.epoch.contains(':'),
        "kafka.epoch: must not be empty nor contain ':'",
    );
    require(
        kafka.brokers != EMBEDDED || kafka.client.is_empty(),
        "kafka.client: the embedded broker takes no client settings: remove them, or name brokers in kafka.brokers",
    );

    require(
        !config.topics.is_empty(),
        "topics: none is configured: add [[topics]] with name and source",
    );
    require(
        config
            .topics
            .iter()
            .all(|topic| !topic.name.starts_with("squall.")),
        "topics: names that begin with 'squall.' are squall's own: read posts from another topic",
    );
    require(
        config.topics.iter().all(|topic| is_topic_name(&topic.name)),
        "topics: a name may only have letters, digits, '.', '_' and '-' (Kafka's rule), at most 249 of them",
    );
    unique(
        config.topics.iter().map(|topic| topic.name.as_str()),
        "topics",
        &mut require,
    );

    let score = &config.score;
    require(
        !score.languages.is_empty(),
        "score.languages: is empty: nothing would be scored",
    );
    require(
        score.max_text_bytes >= 280,
        "score.max_text_bytes: must be at least 280",
    );
    require(
        score.max_text_bytes <= 900_000,
        "score.max_text_bytes: must be at most 900000, or records outgrow Kafka's limit",
    );
    require(
        score.batch_tokens >= 64,
        "score.batch_tokens: must be at least 64",
    );
    require(
        !score.progress_interval.is_zero(),
        "score.progress_interval: must not be zero",
    );
    require(
        config.model.max_tokens >= 8,
        "model.max_tokens: must be at least 8",
    );

    unique(
        config.lists.iter().map(|list| list.id.as_str()),
        "lists",
        &mut require,
    );
    unique(
        config.campaigns.iter().map(|campaign| campaign.id.as_str()),
        "campaigns",
        &mut require,
    );
    for campaign in &config.campaigns {
        let keys = [
            &campaign.hashtags,
            &campaign.utm_campaigns,
            &campaign.phrases,
            &campaign.authors,
        ];
        require(
            keys.iter().any(|key| !key.is_empty()),
            &format!(
                "campaigns: '{}' names no hashtag, utm_campaign, phrase or author: no post could match",
                campaign.id
            ),
        );
    }

    let store = &config.store;
    require(
        store.flush_rows >= 1,
        "store.flush_rows: must be at least 1",
    );
    require(
        !store.flush_interval.is_zero(),
        "store.flush_interval: must not be zero",
    );

    for problem in clickhouse_keys::problems(&config.clickhouse) {
        require(false, &problem);
    }

    let detect = &config.detect;
    require(
        !detect.rule.is_empty(),
        "detect.rule: is empty: write a name",
    );
    require(
        detect.resolve_e_value >= 1.0 && detect.resolve_e_value.is_finite(),
        "detect.resolve_e_value: must be at least 1",
    );
    require(
        (1.0..=1e100).contains(&detect.critical_rarity)
            && (1.0..=1e100).contains(&detect.critical_effect),
        "detect.critical_rarity, detect.critical_effect: must be at least 1",
    );
    require(
        detect.author_cap >= 1,
        "detect.author_cap: must be at least 1",
    );
    let credible = |value: &f64| (0.0..=1.0).contains(value);
    require(
        detect.credibility.values().all(credible),
        "detect.credibility: must be numbers from 0 to 1, one a source",
    );
    require(
        detect.update_power > 1.0 && detect.update_power <= 1000.0,
        "detect.update_power: must be greater than 1, and at most 1000",
    );
    require(
        detect.min_negative >= 1,
        "detect.min_negative: must be at least 1",
    );
    require(
        detect.min_sources >= 1 && detect.min_sources <= detect.min_negative,
        "detect.min_sources: must be from 1 to detect.min_negative",
    );
    require(
        good_horizons(&detect.horizons),
        "detect.horizons: must be 1 to 8 different lengths of whole minutes from 1m to 240m",
    );
    let sources: Vec<String> = config
        .topics
        .iter()
        .map(|topic| topic.source.clone())
        .collect();
    for problem in rules::problems(detect, &sources, &config.score.languages) {
        require(false, &problem);
    }

    let notify = &config.notify;
    require(notify.attempts >= 1, "notify.attempts: must be at least 1");
    require(
        !notify.timeout.is_zero(),
        "notify.timeout: must not be zero",
    );
    require(
        notify.in_flight >= config.endpoints.len().max(1),
        "notify.in_flight: must be at least 1, and one for each of the endpoints",
    );
    require(
        !notify.retry_waits.is_empty() && notify.retry_waits.len() <= 100,
        "notify.retry_waits: must be 1 to 100 waits: write them like [\"5s\", \"5m\"]",
    );
    require(
        !notify.disable_after.is_zero(),
        "notify.disable_after: must not be zero: an endpoint would be disabled by its first failure",
    );
    require(
        notify.group_from != 1,
        "notify.group_from: one alert is no group: write 2 or more, or 0 for no groups",
    );
    for endpoint in &config.endpoints {
        let rate = endpoint.per_second.unwrap_or(1.0);
        require(
            endpoint.in_flight != Some(0)
                && rate.is_finite()
                && (0.001..=100_000.0).contains(&rate),
            &format!(
                "endpoints '{}': in_flight must be at least 1, per_second from 0.001 to 100000",
                endpoint.name
            ),
        );
        let plain = matches!(
            endpoint.format,
            FormatConfig::Standard | FormatConfig::Template
        );
        let second = Duration::from_secs(1);
        require(
            endpoint
                .alive
                .is_none_or(|every| plain && every >= second && every <= LONGEST),
            &format!(
                "endpoints '{}': alive must be at least 1s, and is for the formats standard and template",
                endpoint.name
            ),
        );
    }
    unique(
        config
            .endpoints
            .iter()
            .map(|endpoint| endpoint.name.as_str()),
        "endpoints",
        &mut require,
    );

    let api = &config.api;
    require(
        api.listen.ip().is_loopback()
            || !api.token.is_empty()
            || !config.tokens.is_empty()
            || !api.identity_header.is_empty(),
        "api.listen: listens beyond loopback, but api.token is empty and there are no [[tokens]]: set one, or listen on 127.0.0.1",
    );
    require(
        api.identity_header.is_empty() || !api.trusted_proxies.is_empty(),
        "api.trusted_proxies: is empty, so that nobody would be believed: name the proxies that set api.identity_header",
    );
    require(
        api.identity_header
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '-'),
        "api.identity_header: is no name of a header: write it as X-Forwarded-User",
    );
    for token in &config.tokens {
        require(
            token.digest().is_some(),
            &format!(
                "tokens '{}': hash must be sha256: and 64 hexadecimal digits: make it with `squall token`",
                token.name
            ),
        );
    }
    unique(
        config.tokens.iter().map(|token| token.name.as_str()),
        "tokens",
        &mut require,
    );
}

/// Values that would be accepted, and then overflow, eat the memory, or make no sense.
fn too_large(config: &Config) -> Vec<String> {
    let (run, score, store) = (&config.run, &config.score, &config.store);
    let (detect, notify) = (&config.detect, &config.notify);
    let numbers = [
        ("score.batch_tokens", score.batch_tokens, 1_000_000),
        ("score.cache_bytes", score.cache_bytes, 1 << 36),
        ("model.max_tokens", config.model.max_tokens, 1_000_000),
        ("store.flush_rows", store.flush_rows, 1_000_000),
        ("notify.in_flight", notify.in_flight, 100_000),
        ("notify.attempts", notify.attempts as usize, 1000),
        ("notify.group_from", notify.group_from, 1000),
        (
            "detect.min_negative",
            detect.min_negative as usize,
            1_000_000,
        ),
    ];
    let durations = [
        ("run.drain_deadline", run.drain_deadline),
        ("score.batch_linger", score.batch_linger),
        ("score.progress_interval", score.progress_interval),
        ("store.flush_interval", store.flush_interval),
        ("detect.resolve_after", detect.resolve_after),
        ("detect.cool_down", detect.cool_down),
        ("detect.copy_lookback", detect.copy_lookback),
        ("detect.lateness", detect.lateness),
        ("detect.max_hold", detect.max_hold),
        ("detect.max_alert_age", detect.max_alert_age),
        ("notify.timeout", notify.timeout),
        ("notify.disable_after", notify.disable_after),
        ("notify.max_silence", notify.max_silence),
        ("notify.group_within", notify.group_within),
        ("notify.group_wait", notify.group_wait),
    ];
    let waits = notify.retry_waits.iter();
    let durations = durations
        .into_iter()
        .chain(waits.map(|wait| ("notify.retry_waits", *wait)));
    let numbers = numbers
        .iter()
        .filter(|(_, value, most)| value > most)
        .map(|(key, _, most)| format!("{key}: must be at most {most}"));
    let durations = durations
        .filter(|(_, value)| *value > LONGEST)
        .map(|(key, _)| format!("{key}: must be at most 366 days (8784h)"));
    numbers.chain(durations).collect()
}

fn unique<'a>(
    ids: impl Iterator<Item = &'a str>,
    place: &str,
    require: &mut impl FnMut(bool, &str),
) {
    let mut seen = HashSet::new();
    for id in ids {
        require(!id.is_empty(), &format!("{place}: an id or name is empty"));
        require(
            seen.insert(id),
            &format!("{place}: '{id}' is there twice: give each its own"),
        );
    }
}

fn is_topic_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 249
        && name != "."
        && name != ".."
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::{Config, load};
    use super::check;
    use std::time::Duration;

    pub(in super::super) fn errors(change: impl FnOnce(&mut Config)) -> Vec<String> {
        let mut config = load(None, std::iter::empty()).unwrap();
        change(&mut config);
        let mut errors = Vec::new();
        check(&config, &mut errors);
        errors
    }

    #[test]
    fn impossible_pairs_are_named() {
        assert!(errors(|_| ()).is_empty());
        assert!(
            errors(|c| c.api.listen = "0.0.0.0:80".parse().unwrap())[0].starts_with("api.listen")
        );
        assert!(
            errors(|c| c.detect.critical_rarity = 0.5)[0].starts_with("detect.critical_rarity")
        );
        assert!(errors(|c| c.detect.resolve_e_value = f64::NAN)[0].starts_with("detect.resolve_"));
        assert!(
            errors(|c| _ = c.detect.credibility.insert("x".into(), 2.0))[0]
                .starts_with("detect.credibility")
        );
        assert!(
            errors(|c| c.detect.horizons[0] = Duration::from_secs(90))[0]
                .starts_with("detect.horizons")
        );
        assert!(errors(|c| c.topics.push(c.topics[0].clone()))[0].contains("twice"));
        assert!(errors(|c| c.topics[0].name = "squall.scored".into())[0].contains("squall's own"));
        assert!(errors(|c| c.notify.in_flight = 0)[0].starts_with("notify.in_flight"));
        assert!(errors(|c| c.kafka.epoch = "a:b".into())[0].starts_with("kafka.epoch"));
    }

    #[test]
    fn values_without_sense_are_too_large() {
        let year = Duration::from_secs(366 * 86_400);
        assert!(
            errors(|c| {
                c.detect.copy_lookback = year;
                c.notify.in_flight = 100_000;
                c.store.flush_rows = 1_000_000;
            })
            .is_empty()
        );
        let one = |errors: Vec<String>, place: &str| {
            assert_eq!(errors.len(), 1, "{errors:?}");
            assert!(errors[0].starts_with(place), "{errors:?}");
        };
        let longer = year + Duration::from_millis(1);
        one(errors(|c| c.detect.copy_lookback = longer), "detect.copy_");
        one(
            errors(|c| c.detect.max_alert_age = Duration::MAX),
            "detect.max_alert_age",
        );
        one(errors(|c| c.notify.timeout = longer), "notify.timeout");
        one(errors(|c| c.notify.in_flight = 100_001), "notify.in_flight");
        one(errors(|c| c.store.flush_rows = usize::MAX), "store.flush_");
        one(
            errors(|c| c.detect.update_power = f64::INFINITY),
            "detect.update",
        );
    }
}
