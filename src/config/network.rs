//! Networks as people write them: `10.1.0.0/16`, `fd00::/8`, or one address.

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serializer, de::Error};
use std::net::IpAddr;

/// Reads one.
pub fn parse(text: &str) -> Result<IpNet, String> {
    let text = text.trim();
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| {
            format!("'{text}' is no network: write it as 10.1.0.0/16, fd00::/8, or one address")
        })
}

/// For `#[serde(with = …)]`.
pub fn serialize<S: Serializer>(list: &[IpNet], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(list.iter().map(ToString::to_string))
}

/// For `#[serde(with = …)]`.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    let read: Result<Vec<IpNet>, String> = texts.iter().map(|text| parse(text)).collect();
    read.map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_is_a_network_of_one() {
        assert_eq!(parse("127.0.0.1").unwrap().to_string(), "127.0.0.1/32");
        assert_eq!(parse("::1").unwrap().to_string(), "::1/128");
        assert_eq!(parse("10.1.0.0/16").unwrap().to_string(), "10.1.0.0/16");
        for wrong in ["", "localhost", "10.1.0.0/33", "1.2.3"] {
            assert!(parse(wrong).unwrap_err().contains("no network"), "{wrong}");
        }
    }
}
