//! Whether an endpoint can be reached, without sending it anything.

use super::cause::cause;
use super::endpoint::Endpoint;
use super::guard::Guard;
use reqwest::{Client, redirect};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

impl Endpoint {
    /// Looks its name up, connects, and for https checks the certificate by asking for the head of `/`; the webhook's
    /// own address is not asked for. Each of the three may take `limit`.
    ///
    /// # Errors
    /// What failed, with the remedy; nothing of the URL but scheme, host and port.
    pub async fn reach(&self, guard: &Guard, limit: Duration) -> Result<SocketAddr, String> {
        if self.topic().is_some() {
            return Err("is a topic: the checks of Kafka tell of it".into());
        }
        let url = self.url();
        let host = url.host_str().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = url.port_or_known_default().unwrap_or(443);
        guard.permit_host(url)?;
        let addresses: Vec<SocketAddr> = match timeout(limit, guard.resolve(host)).await {
            Ok(found) => {
                let found = found.map_err(|problem| {
                    format!("{problem}: correct its url, or the resolver of this machine")
                })?;
                let with_port = found.into_iter().map(|one| SocketAddr::new(one.ip(), port));
                with_port.collect()
            }
            Err(_) => {
                return Err(format!(
                    "the name {host} is not answered within {limit:?}: check the resolver of this machine"
                ));
            }
        };
        let connected = timeout(limit, TcpStream::connect(&*addresses)).await;
        let address = match connected.map(|stream| stream.and_then(|stream| stream.peer_addr())) {
            Ok(Ok(address)) => address,
            Ok(Err(error)) => {
                return Err(format!(
                    "cannot connect to {host} port {port} ({error}): start the receiver, or let this machine through the firewall"
                ));
            }
            Err(_) => {
                return Err(format!(
                    "no connection to {host} port {port} within {limit:?}: let this machine through the firewall"
                ));
            }
        };
        if url.scheme() == "https" {
            self.check_certificate(guard, limit).await?;
        }
        Ok(address)
    }

    async fn check_certificate(&self, guard: &Guard, limit: Duration) -> Result<(), String> {
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .dns_resolver(guard.clone())
            .timeout(limit);
        let client = client.build().map_err(|error| {
            format!("TLS cannot be prepared ({error}): install the system's CA certificates")
        })?;
        match client.head(self.place()).send().await {
            Err(error) if error.is_connect() => Err(format!(
                "no secure connection ({}): the receiver needs a certificate that this machine trusts",
                cause(&error)
            )),
            // It speaks TLS; what it thinks of the question does not matter.
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{EndpointConfig, Secret};
    use std::net::TcpListener;

    const LIMIT: Duration = Duration::from_secs(3);

    async fn reach(url: String) -> Result<SocketAddr, String> {
        let secret = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
        let config = EndpointConfig::new("desk", url, vec![Secret::new(secret)]);
        let guard = Guard::new(&["127.0.0.1/32".parse().unwrap()]);
        Endpoint::new(&config).unwrap().reach(&guard, LIMIT).await
    }

    #[tokio::test]
    async fn a_receiver_is_connected_to_and_sent_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let reached = reach(format!("http://{address}/hook?token=hush")).await;
        assert_eq!(reached, Ok(address));
        let (mut stream, _) = listener.accept().unwrap();
        let mut sent = Vec::new();
        std::io::Read::read_to_end(&mut stream, &mut sent).unwrap();
        assert!(sent.is_empty());
    }

    #[tokio::test]
    async fn what_cannot_be_reached_is_told_without_the_address() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let closed = reach(format!("http://{address}/hook?token=hush")).await;
        let error = closed.unwrap_err();
        assert!(
            error.contains("cannot connect") && !error.contains("hush"),
            "{error}"
        );
        let nowhere = reach("http://no-such-host.invalid/hush".into()).await;
        let error = nowhere.unwrap_err();
        assert!(
            error.contains("no-such-host.invalid") && !error.contains("hush"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_receiver_without_tls_is_no_https_endpoint() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { while listener.accept().await.is_ok() {} });
        let error = reach(format!("https://{address}/hush")).await;
        let error = error.unwrap_err();
        assert!(
            error.contains("certificate") && !error.contains("hush"),
            "{error}"
        );
    }
}
