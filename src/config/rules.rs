//! `[[rules]]`: who is judged how.

use super::{Budget, DetectConfig, duration};
use crate::domain::EntityId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::Duration;

/// `[[rules]]`. An empty scope is everything; what is not given is as in `[detect]`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the keys are documented in squall.toml")]
pub struct RuleConfig {
    pub name: String,
    #[serde(default)]
    pub entities: Vec<EntityId>,
    #[serde(default)]
    pub lists: Vec<EntityId>,
    #[serde(default)]
    pub sectors: Vec<String>,
    #[serde(default)]
    pub sources: Vec<String>,
    #[serde(default)]
    pub channels: Vec<String>,
    #[serde(default)]
    pub languages: Vec<String>,
    #[serde(
        default,
        with = "duration::optional_list",
        skip_serializing_if = "Option::is_none"
    )]
    pub horizons: Option<Vec<Duration>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_negative: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_sources: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub critical_rarity: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub critical_effect: Option<f64>,
}

impl RuleConfig {
    /// All entities it names, lists and sectors as the entities that they are; none means all.
    pub fn all_entities(&self) -> impl Iterator<Item = EntityId> {
        let sectors = self
            .sectors
            .iter()
            .map(|name| EntityId::from(&*format!("sector:{name}")));
        self.entities
            .iter()
            .chain(&self.lists)
            .cloned()
            .chain(sectors)
    }

    /// Whether whatever fits the other rule fits this one too.
    fn covers(&self, other: &Self) -> bool {
        fn wider<T: Ord>(own: impl Iterator<Item = T>, others: impl Iterator<Item = T>) -> bool {
            let (own, others): (BTreeSet<T>, BTreeSet<T>) = (own.collect(), others.collect());
            own.is_empty() || !others.is_empty() && others.is_subset(&own)
        }
        wider(self.all_entities(), other.all_entities())
            && wider(self.sources.iter(), other.sources.iter())
            && wider(self.channels.iter(), other.channels.iter())
            && wider(self.languages.iter(), other.languages.iter())
    }
}

/// What is wrong with the rules, and with thresholds that no mention can reach. `sources` are those of the topics,
/// `languages` those that are scored.
pub(super) fn problems(
    detect: &DetectConfig,
    sources: &[String],
    languages: &[String],
) -> Vec<String> {
    let mut problems = Vec::new();
    for (index, rule) in detect.rules.iter().enumerate() {
        let name = &rule.name;
        let mut say = |problem: String| problems.push(format!("rules: '{name}' {problem}"));
        let earlier = &detect.rules[..index];
        if name.is_empty() || name.chars().any(char::is_control) {
            say("has no name: write a name".into());
        }
        if *name == detect.rule || earlier.iter().any(|other| other.name == *name) {
            say("is there twice (detect.rule names one too): give each its own".into());
        }
        if let Some(other) = earlier.iter().find(|other| other.covers(rule)) {
            say(format!(
                "can never fire: whatever fits it is judged by '{}' before it: put the narrower rule first, or remove one",
                other.name
            ));
        }
        for source in rule
            .sources
            .iter()
            .filter(|source| !sources.contains(source))
        {
            say(format!(
                "can never fire on the source '{source}': no topic has it"
            ));
        }
        for language in rule
            .languages
            .iter()
            .filter(|language| !languages.contains(language))
        {
            say(format!(
                "can never fire on the language '{language}': it is not in score.languages"
            ));
        }
        let min_negative = rule.min_negative.unwrap_or(detect.min_negative);
        let min_sources = rule.min_sources.unwrap_or(detect.min_sources);
        if !(1..=min_negative).contains(&min_sources) || min_negative > 1_000_000 {
            say("can never fire: min_sources must be from 1 to min_negative, and that at most 1000000".into());
        }
        if rule
            .horizons
            .as_ref()
            .is_some_and(|horizons| !good_horizons(horizons))
        {
            say(
                "can never fire: horizons must be 1 to 8 lengths of whole minutes from 1m to 240m"
                    .into(),
            );
        }
        let positive = |number: Option<f64>| number.is_none_or(|n| n >= 1.0 && n.is_finite());
        if !positive(rule.critical_rarity) || !positive(rule.critical_effect) {
            say("has a critical_rarity or critical_effect below 1".into());
        }
    }
    problems
}

/// Whether these are horizons.
pub(super) fn good_horizons(horizons: &[Duration]) -> bool {
    let distinct: BTreeSet<&Duration> = horizons.iter().collect();
    let minutes = |length: &Duration| {
        length.subsec_nanos() == 0
            && length.as_secs().is_multiple_of(60)
            && (1..=240).contains(&(length.as_secs() / 60))
    };
    (1..=8).contains(&horizons.len())
        && distinct.len() == horizons.len()
        && horizons.iter().all(minutes)
}

#[cfg(test)]
mod tests {
    use super::super::load;
    use super::*;

    fn of(rules: &[RuleConfig]) -> Vec<String> {
        let mut config = load(None, std::iter::empty()).unwrap();
        config.detect.rules = rules.to_vec();
        problems(
            &config.detect,
            &["news".into(), "social".into()],
            &config.score.languages,
        )
    }

    fn rule(name: &str) -> RuleConfig {
        RuleConfig {
            name: name.into(),
            ..RuleConfig::default()
        }
    }

    #[test]
    fn rules_that_never_fire_are_named() {
        let banks = RuleConfig {
            sectors: vec!["Banks".into()],
            ..rule("banks")
        };
        let bank = RuleConfig {
            entities: vec!["sector:Banks".into()],
            sources: vec!["news".into()],
            ..rule("bank news")
        };
        assert!(of(&[bank.clone(), banks.clone()]).is_empty());
        assert!(of(&[banks.clone(), bank])[0].contains("judged by 'banks' before it"));
        assert!(of(&[rule("all"), banks.clone()])[0].contains("'all'"));
        assert!(of(&[banks.clone(), banks.clone()]).len() == 2);
        assert!(
            of(&[RuleConfig {
                sources: vec!["fax".into()],
                ..rule("a")
            }])[0]
                .contains("no topic has it")
        );
        assert!(
            of(&[RuleConfig {
                languages: vec!["tlh".into()],
                ..rule("a")
            }])[0]
                .contains("score.languages")
        );
        assert!(
            of(&[RuleConfig {
                min_sources: Some(9),
                ..rule("a")
            }])[0]
                .contains("min_sources")
        );
        assert!(
            of(&[RuleConfig {
                horizons: Some(vec![]),
                ..rule("a")
            }])[0]
                .contains("horizons")
        );
        assert!(
            of(&[RuleConfig {
                critical_effect: Some(f64::NAN),
                ..rule("a")
            }])[0]
                .contains("critical")
        );
        assert!(
            of(&[rule("")])[0].contains("no name")
                && of(&[rule("negative-spike")])[0].contains("twice")
        );
    }
}
