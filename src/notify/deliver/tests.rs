//! Deliveries to a real HTTP receiver on this machine.

use super::*;
use crate::config::{Secret, load};
use crate::notify::payload::tests::message;
use axum::body::{Body, Bytes};
use axum::http::Response as Answer;
use futures::StreamExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

mod hostile;

const BODY: &[u8] = br#"{"type":"sentiment.spike.opened"}"#;

/// Long enough never to pass in a test that works; a test that hangs fails by it.
const NEVER: Duration = Duration::from_secs(60);

fn config() -> NotifyConfig {
    NotifyConfig {
        timeout: NEVER,
        attempts: 3,
        retry_waits: vec![Duration::from_millis(1)],
        allow: vec!["127.0.0.1/32".parse().unwrap()],
        ..load(None, std::iter::empty()).unwrap().notify
    }
}

fn impatient() -> NotifyConfig {
    NotifyConfig {
        timeout: Duration::from_millis(200),
        attempts: 2,
        ..config()
    }
}

fn endpoint(url: &str) -> EndpointConfig {
    let secrets = [1u8, 2].map(|byte| {
        use base64::Engine;
        let key = base64::engine::general_purpose::STANDARD.encode([byte; 32]);
        Secret::new(format!("whsec_{key}"))
    });
    EndpointConfig::new("desk", url, secrets.into())
}

/// A receiver that answers each request, numbered from 1, by `answer`; and the requests it got.
struct Receiver {
    url: String,
    requests: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
}

impl Receiver {
    fn port(&self) -> &str {
        let port = self.url.split(':').nth(2).unwrap();
        port.split('/').next().unwrap()
    }

    async fn start<F>(answer: impl Fn(usize) -> F + Clone + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Answer<Body>> + Send + 'static,
    {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/T0/B1?token=hush", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let received = requests.clone();
        let app = axum::Router::new().fallback(move |headers: HeaderMap, body: Bytes| {
            let number = {
                let mut received = received.lock().unwrap();
                received.push((headers, body));
                received.len()
            };
            answer(number)
        });
        tokio::spawn(async { axum::serve(listener, app).await.unwrap() });
        Self { url, requests }
    }

    /// One that gives these answers, one after the other.
    async fn scripted(answers: &'static [(u16, &'static [(&'static str, &'static str)])]) -> Self {
        Self::start(move |number| async move {
            let (status, headers) = answers[number - 1];
            let mut answer = Answer::builder().status(status);
            for (name, value) in headers {
                answer = answer.header(*name, *value);
            }
            answer.body(Body::from("said\n\tthe receiver")).unwrap()
        })
        .await
    }

    fn count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

fn streamed(
    status: u16,
    stream: impl futures::Stream<Item = Bytes> + Send + 'static,
) -> Answer<Body> {
    let body = Body::from_stream(stream.map(Ok::<_, std::convert::Infallible>));
    Answer::builder().status(status).body(body).unwrap()
}

async fn deliver(config: NotifyConfig, url: &str) -> Delivered {
    let notifier = Notifier::new(&config, &[endpoint(url)]).unwrap();
    deliver_by(&notifier).await
}

/// Attempts until the delivery has ended.
async fn deliver_by(notifier: &Notifier) -> Delivered {
    let endpoint = notifier.endpoint("desk").unwrap();
    let id = message().id;
    let mut attempts = 0;
    loop {
        let attempt = notifier.attempt(endpoint, &id, BODY, attempts);
        let attempt = tokio::time::timeout(NEVER, attempt).await.unwrap();
        attempts += 1;
        match attempt.next {
            Next::End(outcome) => {
                return Delivered {
                    outcome,
                    attempts,
                    status: attempt.status,
                    error: attempt.error,
                };
            }
            Next::Again(wait) => tokio::time::sleep(wait).await,
        }
    }
}

/// How a delivery ended.
struct Delivered {
    outcome: Outcome,
    attempts: u32,
    status: Option<u16>,
    error: String,
}

#[tokio::test]
async fn a_delivery_is_signed_with_every_key_and_ends_with_2xx() {
    let receiver = Receiver::scripted(&[(204, &[])]).await;
    let notifier = Notifier::new(&config(), &[endpoint(&receiver.url)]).unwrap();
    let delivery = deliver_by(&notifier).await;

    assert_eq!(delivery.outcome, Outcome::Delivered);
    assert_eq!((delivery.attempts, delivery.status), (1, Some(204)));
    assert_eq!(delivery.error, "");

    let requests = receiver.requests.lock().unwrap();
    let (headers, body) = &requests[0];
    assert_eq!(body, BODY);
    assert_eq!(headers["content-type"], "application/json");
    assert_eq!(headers["webhook-id"], message().id);
    let timestamp = headers["webhook-timestamp"].to_str().unwrap();
    let signed = notifier.endpoints()[0].headers(&message().id, timestamp.parse().unwrap(), BODY);
    let expected = &signed[2].1;
    assert_eq!(headers["webhook-signature"], *expected);
    assert_eq!(expected.split(' ').count(), 2);
}

#[tokio::test]
async fn a_failure_is_tried_again_with_the_same_id() {
    let receiver = Receiver::scripted(&[(500, &[]), (404, &[]), (200, &[])]).await;
    let delivery = deliver(config(), &receiver.url).await;
    assert_eq!(delivery.outcome, Outcome::Delivered);
    assert_eq!((delivery.attempts, delivery.status), (3, Some(200)));
    assert_eq!(delivery.error, "");
    for (headers, body) in receiver.requests.lock().unwrap().iter() {
        assert_eq!(headers["webhook-id"], message().id);
        assert_eq!(body, BODY);
    }
}

#[tokio::test]
async fn what_fails_every_time_is_given_up_and_explained() {
    let receiver = Receiver::scripted(&[(500, &[]), (500, &[]), (503, &[])]).await;
    let delivery = deliver(config(), &receiver.url).await;
    assert_eq!(delivery.outcome, Outcome::Failed);
    assert_eq!((delivery.attempts, delivery.status), (3, Some(503)));
    assert_eq!(
        delivery.error,
        "status 503 Service Unavailable: said the receiver"
    );
    assert_eq!(receiver.count(), 3);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Receiver::scripted(&[(200, &[])]).await;
    let target = elsewhere.url.clone();
    let receiver = Receiver::start(move |_| {
        let target = target.clone();
        async move {
            Answer::builder()
                .status(307)
                .header("location", target)
                .body(Body::empty())
                .unwrap()
        }
    })
    .await;
    let delivery = deliver(config(), &receiver.url).await;
    assert_eq!(delivery.outcome, Outcome::Failed);
    assert_eq!((receiver.count(), elsewhere.count()), (3, 0));
    assert!(
        delivery.error.contains("not followed"),
        "{}",
        delivery.error
    );
}

#[tokio::test]
async fn an_endpoint_that_is_gone_ends_the_delivery() {
    let receiver = Receiver::scripted(&[(410, &[])]).await;
    let notifier = Notifier::new(&config(), &[endpoint(&receiver.url)]).unwrap();
    let first = deliver_by(&notifier).await;
    assert_eq!(first.outcome, Outcome::Gone);
    assert_eq!((first.attempts, first.status), (1, Some(410)));
}

#[tokio::test]
async fn retry_after_is_read_and_capped() {
    let receiver = Receiver::scripted(&[
        (429, &[("retry-after", "86400")]),
        (503, &[("retry-after", "Fri, 01 Jan 2100 00:00:00 GMT")]),
        (503, &[("retry-after", "Fri, 01 Jan 1999 00:00:00 GMT")]),
        (503, &[("retry-after", "86400")]),
        (200, &[]),
    ])
    .await;
    let notifier = Notifier::new(&config(), &[endpoint(&receiver.url)]).unwrap();
    let mut asked = Vec::new();
    for _ in 0..3 {
        let attempt = notifier.request(&notifier.endpoints()[0], "msg_1", BODY);
        asked.push(attempt.await.unwrap_err().retry_after.unwrap());
    }
    assert_eq!(asked[0], Duration::from_secs(86_400));
    assert!(asked[1] > Duration::from_secs(86_400), "{:?}", asked[1]);
    assert_eq!(asked[2], Duration::ZERO);
    let capped = notifier.attempt(&notifier.endpoints()[0], "msg_1", BODY, 0);
    let capped = capped.await.next;
    assert_eq!(capped, Next::Again(retry::longest(&config())));
}

#[tokio::test]
async fn no_answer_in_time_is_a_failure() {
    let receiver = Receiver::start(|_| std::future::pending()).await;
    let delivery = deliver(impatient(), &receiver.url).await;
    assert_eq!(delivery.outcome, Outcome::Failed);
    assert_eq!((delivery.attempts, delivery.status), (2, None));
    assert_eq!(delivery.error, "no answer within 200ms");
}

#[tokio::test]
async fn a_refused_connection_is_explained_without_the_address() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/T0?token=hush", listener.local_addr().unwrap());
    drop(listener);
    let delivery = deliver(config(), &url).await;
    assert_eq!(delivery.outcome, Outcome::Failed);
    assert_eq!((delivery.attempts, delivery.status), (3, None));
    assert!(
        delivery.error.starts_with("cannot connect: "),
        "{}",
        delivery.error
    );
    assert!(!delivery.error.contains("T0"), "{}", delivery.error);
    assert!(!delivery.error.contains("hush"), "{}", delivery.error);
}

/// The system's certificates may be missing where the tests run: then that is what must be said.
#[tokio::test]
async fn an_answer_without_tls_is_a_failure_of_https() {
    let receiver = Receiver::scripted(&[]).await;
    let url = receiver.url.replace("http:", "https:");
    match Notifier::new(&config(), &[endpoint(&url)]) {
        Ok(notifier) => {
            let delivery = deliver_by(&notifier).await;
            assert_eq!((delivery.attempts, delivery.status), (3, None));
            assert!(
                delivery.error.starts_with("cannot connect: "),
                "{}",
                delivery.error
            );
        }
        Err(problems) => assert!(problems[0].contains("CA certificates"), "{problems:?}"),
    }
}

#[test]
fn what_is_wrong_with_any_endpoint_is_reported_at_once() {
    let wrong = endpoint("nowhere");
    let right = endpoint("https://example.com/T0?token=hush");
    let unsigned = EndpointConfig {
        secrets: Vec::new(),
        ..right.clone()
    };
    let problems = Notifier::new(&config(), &[wrong, right, unsigned]).unwrap_err();
    assert_eq!(problems.len(), 2, "{problems:#?}");
    assert!(!problems.concat().contains("hush"), "{problems:#?}");
    assert!(Notifier::new(&config(), &[]).is_ok());
}

#[tokio::test]
async fn an_internal_address_is_connected_to_only_where_it_is_allowed() {
    let receiver = Receiver::scripted(&[(200, &[])]).await;
    let port = receiver.port();
    let closed = NotifyConfig {
        allow: Vec::new(),
        attempts: 1,
        ..config()
    };
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433"] {
        let url = format!("http://{host}:{port}/T0?token=hush");
        let delivery = deliver(closed.clone(), &url).await;
        assert_eq!((delivery.outcome, delivery.status), (Outcome::Failed, None));
        let error = delivery.error;
        assert!(
            error.contains("internal address") && error.contains("notify.allow"),
            "{host}: {error}"
        );
        assert!(!error.contains("hush"), "{error}");
    }
    assert_eq!(receiver.count(), 0, "not even connected to");
    let open = deliver(config(), &format!("http://localhost:{port}/")).await;
    assert_eq!(open.outcome, Outcome::Delivered);
}

/// A name that led to a permitted address at first, and to an internal one at the next connection.
#[tokio::test]
async fn a_name_that_changes_its_mind_is_refused() {
    let receiver = Receiver::start(|_| async {
        let answer = Answer::builder().status(503).header("connection", "close");
        answer.body(Body::empty()).unwrap()
    })
    .await;
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let lookup: crate::notify::guard::Lookup = Arc::new(move |_| {
        let address = match counter.fetch_add(1, Ordering::Relaxed) {
            0 => [127, 0, 0, 1],
            _ => [127, 0, 0, 2],
        };
        Box::pin(async move { Ok(vec![(address, 0).into()]) })
    });
    let port = receiver.port();
    let url = format!("http://rebound.example:{port}/");
    let mut notifier = Notifier::new(&config(), &[endpoint(&url)]).unwrap();
    notifier.guard = Guard::with_lookup(&config().allow, lookup);
    notifier.client = client(&config(), &notifier.guard, &notifier.endpoints).unwrap();
    let delivery = deliver_by(&notifier).await;
    assert_eq!(receiver.count(), 1, "the later ones lead elsewhere");
    assert!(
        delivery
            .error
            .contains("rebound.example leads to 127.0.0.2"),
        "{}",
        delivery.error
    );
}
