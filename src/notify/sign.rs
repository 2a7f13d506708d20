//! Signatures of Standard Webhooks 1.0.0 (<https://www.standardwebhooks.com>), symmetric scheme `v1`.

use crate::config::Secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt;

/// What every secret begins with.
const PREFIX: &str = "whsec_";

/// Length of the key in bytes, as the specification bounds it.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// The remedy in every error about a secret.
const REMEDY: &str = "make one with: echo \"whsec_$(openssl rand -base64 32)\"";

/// A key that signs deliveries. Debug does not show it.
#[derive(Clone)]
pub struct SigningKey(Hmac<Sha256>);

impl SigningKey {
    /// Reads a secret: `whsec_` and the base64 of 24 to 64 bytes.
    ///
    /// # Errors
    /// What is wrong and how to make a secret; never a part of the secret.
    pub fn parse(secret: &Secret) -> Result<Self, String> {
        let encoded = secret
            .expose()
            .strip_prefix(PREFIX)
            .ok_or_else(|| format!("the secret does not begin with {PREFIX}: {REMEDY}"))?;
        let key = STANDARD
            .decode(encoded)
            .map_err(|_| format!("what follows {PREFIX} is not base64: {REMEDY}"))?;
        if !KEY_BYTES.contains(&key.len()) {
            return Err(format!(
                "the secret holds {} bytes, not {} to {}: {REMEDY}",
                key.len(),
                KEY_BYTES.start(),
                KEY_BYTES.end(),
            ));
        }
        Hmac::new_from_slice(&key)
            .map(Self)
            .map_err(|e| e.to_string())
    }

    /// `v1,` and the base64 of HMAC-SHA256 over `{id}.{timestamp}.{body}`.
    fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let mut mac = self.0.clone();
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The `webhook-signature` header: one signature per key, a space between them. `timestamp` is that of the
/// attempt, in Unix seconds, as it stands in `webhook-timestamp`.
pub fn signatures(keys: &[SigningKey], id: &str, timestamp: i64, body: &[u8]) -> String {
    keys.iter()
        .map(|key| key.sign(id, timestamp, body))
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(bytes: &[u8]) -> Secret {
        Secret::new(format!("{PREFIX}{}", STANDARD.encode(bytes)))
    }

    /// Expected values computed with Python's hmac module.
    #[test]
    fn signs_the_known_vectors() {
        let signed = |key: &[u8], id, timestamp, body: &str| {
            let key = SigningKey::parse(&secret(key)).unwrap();
            signatures(&[key], id, timestamp, body.as_bytes())
        };
        let counting: Vec<u8> = (0..64).collect();
        let body = r#"{"type":"squall.test"}"#;
        assert_eq!(
            signed(&counting[..32], "msg_0a1b2c", 1_763_888_040, body),
            "v1,drmupi8xdqa0fJ6zlxVE0A6avAkba+iAe/VuWuYeAzo="
        );
        assert_eq!(
            signed(&[0xff; 24], "msg_0a1b2c", 1_763_888_040, body),
            "v1,lBGfHSBRMAuvy3tOAXFDSaGgJqZXDeGRNgVRiHBFpXY="
        );
        assert_eq!(
            signed(&counting, "msg_ü", 0, ""),
            "v1,ud7xCv8endm3Zik3PmrfpYQEJN6jV64JHcHuvf4irac="
        );
    }

    #[test]
    fn each_key_of_a_rotation_signs_for_itself() {
        let keys = [[1; 24], [2; 24]].map(|key| SigningKey::parse(&secret(&key)).unwrap());
        let both = signatures(&keys, "msg_1", 7, b"{}");
        let alone = keys
            .each_ref()
            .map(|key| signatures(std::slice::from_ref(key), "msg_1", 7, b"{}"));
        assert_ne!(alone[0], alone[1]);
        assert_eq!(both, alone.join(" "));
    }

    #[test]
    fn a_wrong_secret_is_explained_and_not_shown() {
        let short = secret(&[7; 23]);
        let long = secret(&[7; 65]);
        let no_prefix = Secret::new(STANDARD.encode([7; 32]));
        let no_base64 = Secret::new(format!("{PREFIX}{}~", STANDARD.encode([7; 32])));
        for (secret, problem) in [
            (&short, "holds 23 bytes"),
            (&long, "holds 65 bytes"),
            (&no_prefix, "does not begin with whsec_"),
            (&no_base64, "not base64"),
            (&Secret::default(), "does not begin with whsec_"),
        ] {
            let error = SigningKey::parse(secret).unwrap_err();
            assert!(
                error.contains(problem) && error.contains("openssl rand"),
                "{error}"
            );
            assert!(!error.contains("BwcH"), "shows the secret: {error}");
        }
        assert!(SigningKey::parse(&secret(&[7; 24])).is_ok());
        assert!(SigningKey::parse(&secret(&[7; 64])).is_ok());
    }

    #[test]
    fn debug_hides_the_key() {
        let key = SigningKey::parse(&secret(&[7; 32])).unwrap();
        assert_eq!(format!("{key:?}"), "***");
    }
}
