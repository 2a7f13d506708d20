//! Parameters of a query: each is taken by name, and whatever is left over is an error.

use super::Problem;
use crate::config::duration;
use crate::domain::Timestamp;
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use std::time::Duration;

/// The parameters of a request that no handler has taken yet.
pub struct Parameters(Vec<(String, String)>);

/// Half-open interval of event time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// First instant inside.
    pub from: Timestamp,
    /// First instant behind it.
    pub to: Timestamp,
}

impl<S: Sync> FromRequestParts<S> for Parameters {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Query::try_from_uri(&parts.uri)
            .map(|Query(pairs)| Self(pairs))
            .map_err(|_| Problem::invalid("the query is malformed: write it as ?name=value&…"))
    }
}

impl Parameters {
    /// Takes a text; none when it is absent or empty.
    pub fn text(&mut self, name: &str) -> Result<Option<String>, Problem> {
        Ok(self.take(name)?.filter(|text| !text.is_empty()))
    }

    /// Takes a time.
    pub fn time(&mut self, name: &str) -> Result<Option<Timestamp>, Problem> {
        self.parsed(name, |text| text.parse())
    }

    /// Takes a duration of whole minutes.
    pub fn minutes(&mut self, name: &str) -> Result<Option<Duration>, Problem> {
        self.parsed(name, |text| match duration::parse(text)? {
            step if step.as_secs() >= 60 && step.as_millis() % 60_000 == 0 => Ok(step),
            _ => Err(format!(
                "'{text}' is not in whole minutes: write it as 1m, 15m or 1h"
            )),
        })
    }

    /// Takes a number from 1 to `most`.
    pub fn limit(&mut self, name: &str, default: usize, most: usize) -> Result<usize, Problem> {
        let limit = self.parsed(name, |text| match text.parse() {
            Ok(limit) if (1..=most).contains(&limit) => Ok(limit),
            _ => Err(format!("'{text}' is not a number from 1 to {most}")),
        })?;
        Ok(limit.unwrap_or(default))
    }

    /// Takes `from` and `to`: without them the last `length` before `now`.
    pub fn range(&mut self, now: Timestamp, length: Duration) -> Result<Range, Problem> {
        let to = self.time("to")?;
        let from = self.time("from")?;
        let to = to.unwrap_or_else(|| from.map_or(now, |from| now.max(from + length)));
        let from = from.unwrap_or(to - length);
        if from >= to {
            return Err(Problem::invalid(format!(
                "parameter 'from' ({from}) is not before 'to' ({to}): swap them"
            )));
        }
        Ok(Range { from, to })
    }

    /// Nothing may be left over.
    pub fn finish(self) -> Result<(), Problem> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(Problem::invalid(format!(
                "parameter '{name}' is unknown here: leave it out, /openapi.json lists what there is"
            ))),
        }
    }

    fn take(&mut self, name: &str) -> Result<Option<String>, Problem> {
        let mut values = self.0.extract_if(.., |(key, _)| key == name);
        let value = values.next().map(|(_, value)| value);
        match values.next() {
            None => Ok(value),
            Some(_) => Err(Problem::invalid(format!(
                "parameter '{name}' is given more than once: give it once"
            ))),
        }
    }

    fn parsed<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Problem> {
        self.take(name)?
            .map(|text| read(&text))
            .transpose()
            .map_err(|problem| Problem::invalid(format!("parameter '{name}': {problem}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(query: &str) -> Parameters {
        let uri = format!("/?{query}").parse().unwrap();
        Parameters(Query::try_from_uri(&uri).unwrap().0)
    }

    #[test]
    fn each_mistake_names_the_parameter() {
        let detail = |problem: Problem| problem.detail;
        let wrong = parameters("limit=0").limit("limit", 5, 10).unwrap_err();
        assert!(detail(wrong).contains("'limit'"));
        let wrong = parameters("before=noon").time("before").unwrap_err();
        assert!(detail(wrong).contains("'before'"));
        let wrong = parameters("step=90s").minutes("step").unwrap_err();
        assert!(detail(wrong).contains("whole minutes"));
        let wrong = parameters("q=1&q=2").text("q").unwrap_err();
        assert!(detail(wrong).contains("more than once"));
        let wrong = parameters("limt=1").finish().unwrap_err();
        assert!(detail(wrong).contains("'limt'"));
    }

    #[test]
    fn a_range_is_filled_up_from_what_is_given() {
        let now: Timestamp = "2026-11-23T09:00:00Z".parse().unwrap();
        let hour = Duration::from_secs(3600);
        let range = |query| parameters(query).range(now, hour);
        let (from, to) = (now - hour, now);
        assert_eq!(range(""), Ok(Range { from, to }));
        let (from, to) = (now - 3 * hour, now);
        assert_eq!(range("from=2026-11-23T06:00:00Z"), Ok(Range { from, to }));
        let (from, to) = (now - 2 * hour, now - hour);
        assert_eq!(range("to=2026-11-23T08:00:00Z"), Ok(Range { from, to }));
        assert!(range("from=2026-11-23T06:00:00Z&to=2026-11-23T05:00:00Z").is_err());
    }
}
