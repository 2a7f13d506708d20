//! `squall token`: makes a token for the API.

use crate::config::Access;
use crate::domain::hexadecimal;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use std::io::Write;

/// Make a token for the API, and the lines of the configuration that know it
///
/// The token is shown once, on standard error; what goes into the configuration, on standard output, holds only its hash. It
/// is 256 random bits, so that a plain SHA-256 protects it: there is nothing to guess.
#[derive(Debug, clap::Args)]
pub(super) struct Token {
    /// Whose it is: stands in the audit
    name: String,
    /// What it may do
    #[arg(long, value_enum)]
    role: Access,
}

/// Makes one and prints it.
pub(super) fn run(args: &Token) -> anyhow::Result<()> {
    let token = format!("sqt_{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()));
    let lines = lines(&args.name, args.role, &token);
    writeln!(std::io::stderr(), "{token}")?;
    write!(std::io::stdout(), "{lines}")?;
    Ok(())
}

fn lines(name: &str, role: Access, token: &str) -> String {
    let hex = hexadecimal(&Sha256::digest(token));
    let name = toml::Value::String(name.to_owned());
    format!(
        "[[tokens]]\nname = {name}\nrole = \"{}\"\nhash = \"sha256:{hex}\"\n",
        role.name()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;

    #[test]
    fn the_lines_are_a_configuration_that_knows_the_token_and_does_not_hold_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("squall.toml");
        let text = lines("ann \"the\" analyst", Access::Analyst, "sqt_hush");
        assert!(!text.contains("hush"));
        std::fs::write(&path, text).unwrap();
        let config = load(Some(&path), std::iter::empty()).unwrap();
        let token = &config.tokens[0];
        assert_eq!(
            (token.name.as_str(), token.role),
            ("ann \"the\" analyst", Access::Analyst)
        );
        assert_eq!(token.digest().unwrap()[..], Sha256::digest("sqt_hush")[..]);
    }
}
