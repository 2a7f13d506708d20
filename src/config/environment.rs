//! Keys set by environment variables.

use super::load::FREE;
use toml::{Table, Value};

/// `SQUALL_API__LISTEN=…` as the table `{api = {listen = …}}`; none where the variable is not one of these.
///
/// Where the default is a string, the variable's text is the value as it is; elsewhere it is read as TOML.
pub(super) fn from_environment(
    name: &str,
    value: &str,
    defaults: &Table,
) -> Option<Result<Table, String>> {
    let (section, key) = name.strip_prefix("SQUALL_")?.split_once("__")?;
    let path = format!("{section}__{key}").to_lowercase();
    let keys: Vec<&str> = path.split("__").collect();
    if keys.starts_with(&FREE.split('.').collect::<Vec<_>>()) {
        return Some(Err(format!(
            "{name}: {FREE} cannot be set by a variable: write the key into the file, its value may be \"env:NAME\""
        )));
    }
    let defaults = Value::Table(defaults.clone());
    let default = keys
        .iter()
        .try_fold(&defaults, |table, key| table.get(*key));
    let value = match default {
        Some(Value::String(_)) => Value::String(value.to_owned()),
        _ => format!("value = {value}")
            .parse::<Table>()
            .ok()
            .and_then(|mut table| table.remove("value"))
            .unwrap_or_else(|| Value::String(value.to_owned())),
    };
    let nested = keys.iter().rfold(value, |inner, key| {
        Value::Table(Table::from_iter([((*key).to_owned(), inner)]))
    });
    match nested {
        Value::Table(table) => Some(Ok(table)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, ConfigErrors, load};

    fn load_environment(set: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        load(None, set.iter().map(owned))
    }

    #[test]
    fn the_environment_overrides_the_file() {
        let config = load_environment(&[
            ("SQUALL_API__LISTEN", "127.0.0.1:9000"),
            ("SQUALL_KAFKA__PARTITIONS", "7"),
            ("SQUALL_DETECT__HORIZONS", "[\"2m\"]"),
            ("SQUALL_LOG", "debug"),
        ])
        .unwrap();
        assert_eq!(config.api.listen.port(), 9000);
        assert_eq!(config.kafka.partitions, 7);
        assert_eq!(config.detect.horizons.len(), 1);
        let unknown = load_environment(&[("SQUALL_API__NOPE", "1")]).unwrap_err();
        assert!(unknown.to_string().contains("api.nope"), "{unknown}");
    }

    #[test]
    fn a_variable_for_a_string_is_taken_as_it_is() {
        let config = load_environment(&[
            ("SQUALL_KAFKA__EPOCH", "2"),
            ("SQUALL_API__TOKEN", "123456"),
            ("SQUALL_KAFKA__GROUP", "true"),
            ("SQUALL_NOTIFY__TIMEOUT", "3s"),
        ])
        .unwrap();
        assert_eq!(config.kafka.epoch, "2");
        assert_eq!(config.api.token.expose(), "123456");
        assert_eq!(config.kafka.group, "true");
        assert_eq!(config.notify.timeout.as_secs(), 3);
    }

    #[test]
    fn client_settings_are_not_taken_from_variables() {
        for name in [
            "SQUALL_KAFKA__CLIENT__SASL_PASSWORD",
            "SQUALL_KAFKA__CLIENT",
        ] {
            let error = load_environment(&[(name, "hush")]).unwrap_err().to_string();
            assert!(
                error.contains(name) && error.contains("env:NAME"),
                "{error}"
            );
            assert!(!error.contains("hush"), "{error}");
        }
    }
}
