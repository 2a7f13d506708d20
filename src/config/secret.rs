//! Secrets: a text that masks itself wherever it could be printed.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// A text that may be secret. Debug, Display and Serialize show `***`; only [`Secret::expose`] gives it away.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself: hand it on only to what needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether nothing was configured.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Replaces `env:NAME` and `file:/path` by what is there.
    ///
    /// # Errors
    /// A message with the remedy when the variable or the file cannot be read.
    pub fn resolve(&mut self) -> Result<(), String> {
        if let Some(name) = self.0.strip_prefix("env:") {
            self.0 = std::env::var(name)
                .map_err(|_| format!("environment variable {name} is not set: set it"))?;
        } else if let Some(path) = self.0.strip_prefix("file:") {
            let text = std::fs::read_to_string(path).map_err(|e| {
                format!("cannot read {path}: {e}: check the path and its permissions")
            })?;
            self.0 = text.trim_end().to_owned();
        }
        Ok(())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("***")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_printed() {
        let secret = Secret::new("hush");
        let shown = format!(
            "{secret} {secret:?} {}",
            serde_json::to_string(&secret).unwrap()
        );
        assert!(!shown.contains("hush"), "{shown}");
    }

    #[test]
    fn a_secret_is_read_from_a_file_and_a_missing_one_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "hush\n").unwrap();
        let mut secret = Secret::new(format!("file:{}", path.display()));
        secret.resolve().unwrap();
        assert_eq!(secret.expose(), "hush");
        assert!(
            Secret::new("env:SQUALL_NO_SUCH_VARIABLE")
                .resolve()
                .unwrap_err()
                .contains("SQUALL_NO_SUCH_VARIABLE")
        );
    }
}
