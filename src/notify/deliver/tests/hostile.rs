//! Receivers that answer as none should.

use super::*;

#[tokio::test]
async fn a_body_that_drips_holds_nothing_up() {
    let receiver = Receiver::start(|number| async move {
        let drip = futures::stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            Some((Bytes::from_static(b"x"), ()))
        });
        streamed(if number == 1 { 500 } else { 200 }, drip)
    })
    .await;
    let config = NotifyConfig {
        attempts: 50,
        ..impatient()
    };
    let delivery = deliver(config, &receiver.url).await;
    assert_eq!(delivery.outcome, Outcome::Delivered);
    assert!(receiver.count() >= 2);
}

#[tokio::test]
async fn an_endless_body_is_read_no_further_than_needed() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = sent.clone();
    let receiver = Receiver::start(move |_| {
        let counter = counter.clone();
        async move {
            let endless = futures::stream::repeat_with(move || {
                counter.fetch_add(1, Ordering::Relaxed);
                Bytes::from(vec![b'x'; 65_536])
            });
            streamed(500, endless)
        }
    })
    .await;
    let delivery = deliver(config(), &receiver.url).await;
    assert_eq!(delivery.outcome, Outcome::Failed);
    assert_eq!(
        delivery.error,
        format!("status 500 Internal Server Error: {}", "x".repeat(200))
    );
    let blocks = sent.load(Ordering::Relaxed);
    assert!(blocks < 3 * 256, "{blocks} blocks of 64 KiB were taken");
}

#[tokio::test]
async fn an_answer_that_is_not_http_is_a_failure() {
    use tokio::io::AsyncWriteExt;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/T0?token=hush", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            stream
                .write_all(b"220 mail.example.com ESMTP\r\n\r\n")
                .await
                .unwrap();
        }
    });
    let delivery = deliver(config(), &url).await;
    assert_eq!(delivery.outcome, Outcome::Failed);
    assert_eq!((delivery.attempts, delivery.status), (3, None));
    assert!(
        !delivery.error.is_empty() && !delivery.error.contains("hush"),
        "{}",
        delivery.error
    );
}

/// A raw answer to each connection.
async fn raw(answer: &'static [u8]) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(answer).await;
        }
    });
    url
}

#[tokio::test]
async fn http_0_9_and_headers_without_end_are_failures() {
    let old = deliver(config(), &raw(b"<html>ok</html>").await).await;
    assert_eq!((old.outcome, old.status), (Outcome::Failed, None));
    assert!(old.error.starts_with("request failed"), "{}", old.error);
    // A status line, then headers that never end: cut off by the timeout.
    let headers = deliver(impatient(), &raw(b"HTTP/1.1 200 OK\r\nX-A: a\r\n").await).await;
    assert_eq!((headers.outcome, headers.status), (Outcome::Failed, None));
}

#[tokio::test]
async fn a_receiver_that_repeats_its_address_gives_no_secret_away() {
    let receiver = Receiver::start(|_| async {
        let said = "Cannot POST /services/B1/hush-hush-hush?token=planted-secret, nor /services/";
        Answer::builder()
            .status(404)
            .body(Body::from(said))
            .unwrap()
    })
    .await;
    let address = "/services/B1/hush-hush-hush?token=planted-secret";
    let url = receiver.url.replace("/T0/B1?token=hush", address);
    let delivery = deliver(config(), &url).await;
    assert_eq!(
        delivery.error,
        "status 404 Not Found: Cannot POST /…/B1/…?token=…, nor /…/"
    );
}

/// A body of nothing, compressed to a thousandth: as an answer it would be 256 MiB.
#[tokio::test]
async fn a_compressed_body_is_neither_undone_nor_read() {
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..256 {
        std::io::Write::write_all(&mut bomb, &[0; 1 << 20]).unwrap();
    }
    let bomb = Bytes::from(bomb.finish().unwrap());
    assert!(bomb.len() < 1 << 20);
    for (status, outcome, error) in [
        (
            500,
            Outcome::Failed,
            "status 500 Internal Server Error: its body is compressed, and is not read",
        ),
        (200, Outcome::Delivered, ""),
    ] {
        let body = bomb.clone();
        let receiver = Receiver::start(move |_| {
            let answer = Answer::builder()
                .status(status)
                .header("content-encoding", "gzip");
            let answer = answer.body(Body::from(body.clone())).unwrap();
            async { answer }
        })
        .await;
        let delivery = deliver(config(), &receiver.url).await;
        assert_eq!((delivery.outcome, &*delivery.error), (outcome, error));
        let requests = receiver.requests.lock().unwrap();
        let asked = |(headers, _): &(HeaderMap, Bytes)| headers.contains_key("accept-encoding");
        assert!(
            !requests.iter().any(asked),
            "nothing compressed is asked for"
        );
    }
}

/// An authority, and receivers that speak TLS with certificates of it.
struct Authority {
    issuer: rcgen::CertifiedIssuer<'static, rcgen::KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut itself = rcgen::CertificateParams::new([]).unwrap();
        itself.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        Self {
            issuer: rcgen::CertifiedIssuer::self_signed(itself, key).unwrap(),
        }
    }

    /// A receiver that takes everything; its certificate is for a name, and valid through these years.
    async fn receiver(
        &self,
        name: &str,
        years: std::ops::Range<i32>,
    ) -> (String, Arc<AtomicUsize>) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        use tokio_rustls::rustls::{ServerConfig, crypto};
        let mut certificate = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
        certificate.not_before = rcgen::date_time_ymd(years.start, 1, 1);
        certificate.not_after = rcgen::date_time_ymd(years.end, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = certificate.signed_by(&key, &self.issuer).unwrap();
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der());
        let provider = Arc::new(crypto::aws_lc_rs::default_provider());
        let tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key.into())
            .unwrap();
        let tls = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!(
            "https://{}/T0/B1?token=hush",
            listener.local_addr().unwrap()
        );
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = connections.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::Relaxed);
                if let Ok(mut stream) = tls.accept(stream).await {
                    let _ = stream.read(&mut [0; 4096]).await;
                    let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await;
                }
            }
        });
        (url, connections)
    }

    /// A notifier that trusts it, and nobody else. The system's own certificates may be missing where the tests run.
    fn trusted(&self, url: &str) -> Notifier {
        let config = config();
        let itself = reqwest::Certificate::from_der(self.issuer.der()).unwrap();
        let guard = Guard::new(&config.allow);
        let builder = builder(&config, &guard).tls_certs_only([itself]);
        Notifier {
            client: builder.build().unwrap(),
            endpoints: vec![Arc::new(Endpoint::new(&endpoint(url)).unwrap())],
            guard,
            config,
        }
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_valid_is_refused_and_explained() {
    let authority = Authority::new();
    let (url, _) = authority.receiver("127.0.0.1", 2020..4000).await;
    let valid = deliver_by(&authority.trusted(&url)).await;
    assert_eq!((valid.outcome, &*valid.error), (Outcome::Delivered, ""));

    let stranger = Authority::new();
    for (issuer, name, years, reason) in [
        (
            &authority,
            "127.0.0.1",
            2020..2021,
            "has expired (2021-01-01",
        ),
        (&authority, "127.0.0.1", 3999..4000, "is not valid yet"),
        (&authority, "127.0.0.2", 2020..4000, "is for another name"),
        (&stranger, "127.0.0.1", 2020..4000, "is not trusted"),
        // What an old self-made one has is said first by what is wrong with itself.
        (
            &stranger,
            "127.0.0.1",
            2020..2021,
            "has expired (2021-01-01",
        ),
    ] {
        let (url, connections) = issuer.receiver(name, years).await;
        let delivery = deliver_by(&authority.trusted(&url)).await;
        assert_eq!(
            (delivery.outcome, delivery.attempts, delivery.status),
            (Outcome::Failed, 3, None),
            "{reason}"
        );
        let error = delivery.error;
        assert!(error.starts_with("cannot connect: the "), "{error}");
        assert!(error.contains(reason) && error.contains(": "), "{error}");
        assert!(!error.contains("hush"), "{error}");
        assert_eq!(connections.load(Ordering::Relaxed), 3, "{reason}");
    }
}
