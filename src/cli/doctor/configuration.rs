//! The configuration, the dictionary, the lists.

use super::counted;
use super::finding::Finding;
use crate::app;
use crate::config::Config;

const SUBJECT: &str = "configuration";
const DICTIONARY: &str = "dictionary";

/// A configuration that cannot be read: a finding for each line of its errors.
pub(super) fn broken(error: &anyhow::Error) -> Vec<Finding> {
    let text = format!("{error:#}");
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(|line| Finding::failed(SUBJECT, line)).collect()
}

/// What it holds, and whether the dictionary and the lists can be read.
pub(super) fn check(config: &Config) -> Vec<Finding> {
    let mut findings = vec![Finding::ok(
        SUBJECT,
        format!(
            "{}, {}, {}, {}",
            counted(config.topics.len(), "source topic"),
            counted(config.lists.len(), "list"),
            counted(config.campaigns.len(), "campaign"),
            counted(config.endpoints.len(), "endpoint")
        ),
    )];
    let dictionary = match app::dictionary(config) {
        Ok(dictionary) => dictionary,
        Err(error) => {
            findings.push(Finding::failed(DICTIONARY, format!("{error:#}")));
            return findings;
        }
    };
    findings.push(match app::matcher(config, &dictionary) {
        Ok(_) => Finding::ok(
            DICTIONARY,
            format!("{} entities", dictionary.entities().len()),
        ),
        Err(error) => Finding::failed(DICTIONARY, format!("{error:#}")),
    });
    findings
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;
    use crate::config;

    #[test]
    fn each_error_of_the_configuration_is_a_finding() {
        let variables = [
            ("SQUALL_STORE__FLUSH_ROWS", "0"),
            ("SQUALL_KAFKA__PARTITIONS", "0"),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let error = config::load(None, variables.into_iter()).unwrap_err();
        let findings = broken(&error.into());
        assert!(findings.len() >= 2, "{findings:?}");
        assert!(findings.iter().all(|finding| finding.level == Level::Error));
        let all: String = findings.iter().map(Finding::to_string).collect();
        assert!(
            all.contains("store.flush_rows") && all.contains("kafka.partitions"),
            "{all}"
        );
    }

    #[test]
    fn the_defaults_are_good_and_a_missing_dictionary_is_an_error() {
        let mut config = config::load(None, std::iter::empty()).unwrap();
        assert!(
            check(&config)
                .iter()
                .all(|finding| finding.level == Level::Ok)
        );
        config.entities.dictionary = "no/such/file.csv".into();
        let findings = check(&config);
        assert_eq!(findings.last().unwrap().level, Level::Error);
    }
}
