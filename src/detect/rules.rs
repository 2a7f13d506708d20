//! Rules as detection uses them: who is judged how, and the thresholds that follow from a budget.
//!
//! A mention is judged by the first rule whose scope it fits; the last one, of the section `[detect]`, fits all. A rule
//! that chooses posts (by source, channel or language) has a baseline of its own for each entity; one that chooses
//! entities only does not need one.

use super::horizons::{HORIZONS, LONGEST, ln_under_way};
use crate::config::{DetectConfig, RuleConfig};
use crate::domain::{EntityId, MentionEvent, Severity};
use std::collections::BTreeSet;
use std::time::Duration;

/// Minutes of a month of 30 days.
pub(super) const MONTH: f64 = 43_200.0;

/// Stands between an entity and the rule that has a baseline of its own for it, in what names it in here.
const OF: char = '\u{1f}';

/// A rule, ready to be applied.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rule {
    pub name: String,
    entities: BTreeSet<EntityId>,
    sources: BTreeSet<String>,
    channels: BTreeSet<String>,
    languages: BTreeSet<String>,
    /// Lengths in minutes, the shortest first.
    pub horizons: Vec<i64>,
    /// Alerts accepted per quiet entity and month.
    pub budget: f64,
    pub min_negative: u32,
    pub min_sources: u32,
    /// How much rarer than the budget asks, and how large, an alert has to be to be critical.
    critical_rarity: f64,
    critical_effect: f64,
}

/// All rules in their order; the last one fits all.
pub(super) fn rules(config: &DetectConfig) -> Vec<Rule> {
    let own = config.rules.iter().map(|rule| Rule::of(rule, config));
    let of_all = RuleConfig {
        name: config.rule.clone(),
        ..RuleConfig::default()
    };
    own.chain([Rule::of(&of_all, config)]).collect()
}

/// Which rule judges a mention, and what its entity is called in here.
pub(super) fn judged_by(rules: &[Rule], mention: &MentionEvent) -> (usize, EntityId) {
    let last = rules.len().saturating_sub(1);
    let index = rules
        .iter()
        .position(|rule| rule.fits(mention))
        .unwrap_or(last);
    let entity = &mention.entity;
    match rules.get(index).filter(|rule| rule.chooses_posts()) {
        Some(rule) => (
            index,
            EntityId::from(&*format!("{entity}{OF}{}", rule.name)),
        ),
        None => (index, entity.clone()),
    }
}

/// The rule and the entity of what something is called in here. A rule that is gone is the last one.
pub(super) fn named(rules: &[Rule], key: &EntityId) -> (usize, EntityId) {
    let last = rules.len().saturating_sub(1);
    match key.as_str().split_once(OF) {
        Some((entity, name)) => {
            let index = rules
                .iter()
                .position(|rule| rule.name == name && rule.chooses_posts());
            (index.unwrap_or(last), EntityId::from(entity))
        }
        None => {
            let index = rules
                .iter()
                .position(|rule| !rule.chooses_posts() && rule.is_about(key));
            (index.unwrap_or(last), key.clone())
        }
    }
}

impl Rule {
    fn of(rule: &RuleConfig, config: &DetectConfig) -> Self {
        let minutes = |length: &Duration| (length.as_secs() / 60).clamp(1, LONGEST as u64) as i64;
        let horizons = rule.horizons.as_ref().unwrap_or(&config.horizons);
        let mut horizons: Vec<i64> = horizons.iter().take(HORIZONS).map(minutes).collect();
        horizons.sort_unstable();
        horizons.dedup();
        Self {
            name: rule.name.clone(),
            entities: rule.all_entities().collect(),
            sources: rule.sources.iter().cloned().collect(),
            channels: rule.channels.iter().cloned().collect(),
            languages: rule.languages.iter().cloned().collect(),
            horizons,
            budget: rule.budget.unwrap_or(config.budget).per_month(),
            min_negative: rule.min_negative.unwrap_or(config.min_negative),
            min_sources: rule.min_sources.unwrap_or(config.min_sources),
            critical_rarity: rule.critical_rarity.unwrap_or(config.critical_rarity),
            critical_effect: rule.critical_effect.unwrap_or(config.critical_effect),
        }
    }

    fn is_about(&self, entity: &EntityId) -> bool {
        self.entities.is_empty() || self.entities.contains(entity)
    }

    fn chooses_posts(&self) -> bool {
        [&self.sources, &self.channels, &self.languages]
            .iter()
            .any(|chosen| !chosen.is_empty())
    }

    fn fits(&self, mention: &MentionEvent) -> bool {
        let fits = |chosen: &BTreeSet<String>, one: &str| chosen.is_empty() || chosen.contains(one);
        self.is_about(&mention.entity)
            && fits(&self.sources, &mention.source)
            && fits(&self.channels, &mention.channel)
            && fits(&self.languages, &mention.lang)
    }

    /// The longest horizon, in minutes.
    pub fn longest_horizon(&self) -> i64 {
        self.horizons.last().copied().unwrap_or(1)
    }

    /// Logarithm of the minutes one waits, on average, for an alert that this rule opens by chance.
    pub fn ln_threshold(&self) -> f64 {
        (MONTH / self.budget.max(1e-12)).ln()
    }

    /// Logarithm of the e-value at a moment whose e-detector is this.
    pub fn ln_e_value(&self, ln_minutes: f64) -> f64 {
        ln_minutes - ln_under_way(&self.horizons)
    }

    /// 1 / e-value at that moment, at most 1.
    pub fn p_value(&self, ln_minutes: f64) -> f64 {
        (-self.ln_e_value(ln_minutes)).exp().min(1.0)
    }

    /// By rarity and effect.
    pub fn severity(&self, ln_minutes: f64, effect: f64) -> Severity {
        let rarer = ln_minutes - self.ln_threshold();
        if rarer >= self.critical_rarity.ln() && effect >= self.critical_effect {
            Severity::Critical
        } else {
            Severity::Warning
        }
    }
}
