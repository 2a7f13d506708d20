//! One thing that was looked at, and what was found.

use serde::Serialize;
use std::fmt;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Level {
    /// As it should be.
    Ok,
    /// It could not be looked at.
    NotChecked,
    /// It works now, and will not when something else fails.
    Warning,
    /// It does not work, or breaks a promise.
    Error,
}

/// What was found. Displays as one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) level: Level,
    /// What was looked at, one word or two.
    pub(super) subject: &'static str,
    /// What is so.
    pub(super) message: String,
    /// What to do; none where the message says it, or nothing is to be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) remedy: Option<String>,
}

impl Finding {
    pub(super) fn ok(subject: &'static str, message: impl Into<String>) -> Self {
        Self::new(Level::Ok, subject, message.into(), None)
    }

    /// Why it could not be looked at.
    pub(super) fn not_checked(subject: &'static str, message: impl Into<String>) -> Self {
        Self::new(Level::NotChecked, subject, message.into(), None)
    }

    pub(super) fn warning(
        subject: &'static str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::wrong(Level::Warning, subject, message, remedy)
    }

    pub(super) fn error(
        subject: &'static str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::wrong(Level::Error, subject, message, remedy)
    }

    /// A warning or an error.
    pub(super) fn wrong(
        level: Level,
        subject: &'static str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::new(level, subject, message.into(), Some(remedy.into()))
    }

    /// An error of a part of squall, which ends with its remedy.
    pub(super) fn failed(subject: &'static str, error: impl fmt::Display) -> Self {
        Self::new(Level::Error, subject, error.to_string(), None)
    }

    /// Whether nothing is to be done.
    pub(super) fn is_fine(&self) -> bool {
        self.level <= Level::NotChecked
    }

    fn new(level: Level, subject: &'static str, message: String, remedy: Option<String>) -> Self {
        Self {
            level,
            subject,
            message,
            remedy,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Ok => "ok",
            Level::NotChecked => "not checked",
            Level::Warning => "warning",
            Level::Error => "error",
        };
        // An error of several lines stays one line.
        let message = self.message.replace('\n', " ");
        write!(f, "{level:<11}  {}: {message}", self.subject)?;
        match &self.remedy {
            Some(remedy) => write!(f, ": {remedy}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_one_line_with_its_remedy_last() {
        let finding = Finding::warning("endpoints", "none is\nconfigured", "add one");
        assert_eq!(
            finding.to_string(),
            "warning      endpoints: none is configured: add one"
        );
        let json = serde_json::to_value(Finding::not_checked("clock", "no broker")).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"level": "not_checked", "subject": "clock", "message": "no broker"})
        );
    }
}
