//! Which addresses are connected to: none that belongs to this machine, to a network of its own, or to a cloud's
//! metadata, unless it is allowed by name of its network.
//!
//! The check is in the resolver that the HTTP client connects by, so that it is made of the very addresses that are
//! connected to, at each new connection: a name that leads elsewhere later is checked then. What is no name but an
//! address is not resolved, and is checked before each request.

use futures::future::BoxFuture;
use ipnet::IpNet;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

/// Networks of IPv4 that are not the public internet's: the registry of special addresses (RFC 6890), shared and
/// benchmarking space, multicast, reserved; and Azure's wire server, which lies among public ones.
const INTERNAL_V4: [([u8; 4], u8); 16] = [
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    ([192, 88, 99, 0], 24),
    ([192, 168, 0, 0], 16),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    ([224, 0, 0, 0], 4),
    ([240, 0, 0, 0], 4),
    ([168, 63, 129, 16], 32),
];

/// Looks a name up.
pub type Lookup =
    Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync>;

/// Lets only permitted addresses through. Cheap to clone.
#[derive(Clone)]
pub struct Guard {
    allowed: Arc<[IpNet]>,
    lookup: Lookup,
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guard")
            .field("allowed", &self.allowed)
            .finish_non_exhaustive()
    }
}

impl Guard {
    /// One that also lets these networks through, and asks the system's resolver.
    pub fn new(allowed: &[IpNet]) -> Self {
        Self::with_lookup(
            allowed,
            Arc::new(|name| {
                Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.collect()) })
            }),
        )
    }

    /// One that asks another resolver.
    pub fn with_lookup(allowed: &[IpNet], lookup: Lookup) -> Self {
        Self {
            allowed: allowed.into(),
            lookup,
        }
    }

    /// Whether an address may be connected to.
    ///
    /// # Errors
    /// What keeps it, with the remedy.
    pub fn permit(&self, address: IpAddr) -> Result<(), String> {
        let inner = inner(address);
        let allowed = |one: IpAddr| self.allowed.iter().any(|network| network.contains(&one));
        if !is_internal(address)
            || allowed(address)
            || inner.is_some_and(|inner| allowed(inner.into()))
        {
            return Ok(());
        }
        Err(format!(
            "{address} is an internal address, refused: add its network to notify.allow if alerts are meant to go there"
        ))
    }

    /// The same of a URL's host, where that is an address and no name.
    ///
    /// # Errors
    /// As [`Guard::permit`].
    pub fn permit_host(&self, url: &Url) -> Result<(), String> {
        let host = url.host_str().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        host.parse().map_or(Ok(()), |address| self.permit(address))
    }

    /// The permitted addresses of a name, port 0.
    ///
    /// # Errors
    /// That it is not found, or what keeps the last of its addresses.
    pub async fn resolve(&self, name: &str) -> Result<Vec<SocketAddr>, String> {
        let found = (self.lookup)(name.to_owned()).await;
        let found = found.map_err(|error| format!("the name {name} is not found ({error})"))?;
        let mut refused = format!("the name {name} has no address");
        let permitted = found.into_iter().filter(|address| {
            self.permit(address.ip())
                .map_err(|problem| refused = format!("{name} leads to {problem}"))
                .is_ok()
        });
        let permitted: Vec<SocketAddr> = permitted.collect();
        match permitted.is_empty() {
            true => Err(refused),
            false => Ok(permitted),
        }
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let addresses = Guard::resolve(&guard, name.as_str()).await?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// Whether an address is not the public internet's.
fn is_internal(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_internal_v4(address),
        IpAddr::V6(address) => match inner(address.into()) {
            Some(inner) => is_internal_v4(inner),
            None => is_internal_v6(address),
        },
    }
}

fn is_internal_v4(address: Ipv4Addr) -> bool {
    INTERNAL_V4.iter().any(|(network, bits)| {
        let mask = u32::MAX << (32 - bits);
        address.to_bits() & mask == Ipv4Addr::from(*network).to_bits()
    })
}

/// Only 2000::/3 is given out; of that, what is for documentation, and for protocols (Teredo among them), is not.
fn is_internal_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    let public = first & 0xe000 == 0x2000;
    let protocols = first == 0x2001 && second < 0x0200;
    let documentation =
        (first == 0x2001 && second == 0x0db8) || (first == 0x3fff && second < 0x1000);
    !public || protocols || documentation
}

/// The IPv4 address that an IPv6 one leads to: mapped (::ffff:0:0/96), compatible (::/96), translated
/// (64:ff9b::/96), 6to4 (2002::/16). None where it is IPv6's own; ::1 and :: are that too.
fn inner(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(address) = address else {
        return None;
    };
    let of = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] => Some(of(high, low)),
        [0, 0, 0, 0, 0, 0, 0, 0..=1] => None,
        [0, 0, 0, 0, 0, 0, high, low] => Some(of(high, low)),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(of(high, low)),
        [0x2002, high, low, ..] => Some(of(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn permits(guard: &Guard, address: &str) -> bool {
        guard.permit(address.parse().unwrap()).is_ok()
    }

    #[test]
    fn whatever_is_internal_is_refused_in_every_form() {
        let guard = Guard::new(&[]);
        for internal in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "192.0.0.192",
            "198.18.0.1",
            "224.0.0.1",
            "239.255.255.250",
            "255.255.255.255",
            "168.63.129.16",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "::10.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::1",
            "2001::1",
            "fe80::1",
            "fec0::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "2001:db8::1",
            "100::1",
            "4000::1",
        ] {
            assert!(!permits(&guard, internal), "{internal}");
        }
        for public in [
            "1.1.1.1",
            "8.8.8.8",
            "172.32.0.1",
            "100.128.0.1",
            "169.253.0.1",
            "2606:4700::1111",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2002:808:808::1",
        ] {
            assert!(permits(&guard, public), "{public}");
        }
    }

    #[test]
    fn what_is_allowed_is_let_through_also_in_its_other_forms() {
        let allowed = ["127.0.0.1/32", "10.1.0.0/16", "fd00::/8"].map(|one| one.parse().unwrap());
        let guard = Guard::new(&allowed);
        for address in ["127.0.0.1", "::ffff:127.0.0.1", "10.1.9.9", "fd00::7"] {
            assert!(permits(&guard, address), "{address}");
        }
        for address in ["127.0.0.2", "10.2.0.1", "::1", "fc00::1"] {
            assert!(!permits(&guard, address), "{address}");
        }
        let told = guard.permit([127, 0, 0, 2].into()).unwrap_err();
        assert!(
            told.contains("127.0.0.2") && told.contains("notify.allow"),
            "{told}"
        );
    }

    #[test]
    fn an_address_in_a_url_is_seen_however_it_is_written() {
        let guard = Guard::new(&[]);
        for url in [
            "http://127.0.0.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://0177.0.0.1/",
            "http://[::1]/",
            "http://[::ffff:7f00:1]/",
            "http://127.1/",
            "http://169.254.169.254/latest/meta-data/",
        ] {
            assert!(guard.permit_host(&url.parse().unwrap()).is_err(), "{url}");
        }
        assert!(
            guard
                .permit_host(&"http://localhost/".parse().unwrap())
                .is_ok(),
            "a name, checked when resolved"
        );
    }

    #[tokio::test]
    async fn a_name_is_checked_at_each_look_up() {
        let asked = Arc::new(AtomicUsize::new(0));
        let lookup: Lookup = Arc::new(move |_| {
            let answer = match asked.fetch_add(1, Ordering::Relaxed) {
                0 => ["93.184.216.34:0", "127.0.0.1:0"],
                _ => ["169.254.169.254:0", "[::1]:0"],
            };
            Box::pin(async move { Ok(answer.map(|one| one.parse().unwrap()).to_vec()) })
        });
        let guard = Guard::with_lookup(&[], lookup);
        let first = Guard::resolve(&guard, "rebound.example").await.unwrap();
        assert_eq!(
            first,
            ["93.184.216.34:0".parse().unwrap()],
            "the internal one is left out"
        );
        let second = Guard::resolve(&guard, "rebound.example").await.unwrap_err();
        assert!(second.contains("rebound.example leads to ::1"), "{second}");
    }
}
