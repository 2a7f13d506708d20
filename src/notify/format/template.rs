//! Templates of the user's own (minijinja, the syntax of Jinja): what they see is the body of the format `standard`, and
//! `summary`, a line of text.

use super::{Facts, summary};
use crate::notify::payload::notice_body;
use crate::notify::{MAX_BODY_BYTES, Notice};
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, context};
use std::path::Path;

/// Steps that one rendering may take: far more than any body needs, milliseconds of work.
const FUEL: u64 = 50_000;
/// Longest template.
const MOST_BYTES: u64 = 256 << 10;
const NAME: &str = "template";

/// A template, read and parsed. Values are written as JSON, so that no text of a post can end a string.
pub struct Template(Environment<'static>);

impl std::fmt::Debug for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Template")
    }
}

impl Template {
    /// Reads and parses a file.
    ///
    /// # Errors
    /// File, line and what is wrong.
    pub fn open(path: &Path) -> Result<Self, String> {
        let place = path.display();
        let length = std::fs::metadata(path).map(|metadata| metadata.len());
        if length.is_ok_and(|length| length > MOST_BYTES) {
            return Err(format!(
                "template {place}: over {MOST_BYTES} bytes: shorten it"
            ));
        }
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("template {place}: cannot be read: {error}"))?;
        Self::parse(text).map_err(|problem| format!("template {place}: {problem}"))
    }

    /// Parses a text.
    pub(super) fn parse(text: String) -> Result<Self, String> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| AutoEscape::Json);
        environment.set_fuel(Some(FUEL));
        environment
            .add_template_owned(NAME, text)
            .map_err(|error| explain(&error))?;
        Ok(Self(environment))
    }

    /// What it writes of a notice.
    ///
    /// # Errors
    /// The line and what is wrong, or that it writes no JSON.
    pub(super) fn body(&self, notice: &Notice, facts: Facts<'_>) -> Result<Vec<u8>, String> {
        let body = notice_body(notice, facts.entity_name, facts.link_base);
        let body: serde_json::Value = serde_json::from_slice(&body).map_err(|e| e.to_string())?;
        let values = context! {
            summary => summary(notice, facts),
            id => notice.id(),
            severity => notice.severity().name(),
            ..minijinja::Value::from(Serde(&body))
        };
        let template = self.0.get_template(NAME).map_err(|error| explain(&error))?;
        let mut written = Bounded(Vec::new());
        template
            .render_captured_to(values, &mut written)
            .map_err(|error| explain(&error))?;
        let json: Result<serde::de::IgnoredAny, _> = serde_json::from_slice(&written.0);
        json.map_err(|error| format!("what it writes is no JSON: {error}"))?;
        Ok(written.0)
    }
}

/// Takes no more than a body may have.
struct Bounded(Vec<u8>);

impl std::io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_BODY_BYTES {
            return Err(std::io::Error::other(format!(
                "it writes more than {MAX_BODY_BYTES} bytes"
            )));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// In one line, without the text of the template or the values.
fn explain(error: &minijinja::Error) -> String {
    let line = error.line().map(|line| format!("line {line}: "));
    let detail = error.detail().map(|detail| format!(" ({detail})"));
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    let more = detail.or(cause).unwrap_or_default();
    format!("{}{}{more}", line.unwrap_or_default(), error.kind()).replace('\n', " ")
}
