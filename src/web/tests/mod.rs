//! The API over real connections and the store in memory.

mod api;
mod guard;
mod pages;

use super::fake::{Asked, FakeStore, scene, web};
use super::{Web, serve};
use reqwest::{Client, RequestBuilder, Response, StatusCode, redirect};
use serde_json::Value;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

struct Server {
    base: String,
    client: Client,
    store: Arc<FakeStore>,
    asked: Arc<Asked>,
    shutdown: CancellationToken,
    task: JoinHandle<std::io::Result<()>>,
}

async fn start() -> Server {
    start_with("", scene(), |_| ()).await
}

async fn start_with(token: &str, store: FakeStore, change: impl FnOnce(&mut Web)) -> Server {
    let (store, asked) = (Arc::new(store), Arc::new(Asked::default()));
    let mut web = web(store.clone(), asked.clone(), token);
    change(&mut web);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(serve(listener, web, shutdown.clone()));
    let client = Client::builder()
        .redirect(redirect::Policy::none())
        .build()
        .unwrap();
    Server {
        base,
        client,
        store,
        asked,
        shutdown,
        task,
    }
}

impl Server {
    fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("{}{path}", self.base))
    }

    fn post(&self, path: &str) -> RequestBuilder {
        self.client.post(format!("{}{path}", self.base))
    }

    async fn json(&self, path: &str) -> Value {
        let response = self.get(path).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.json().await.unwrap()
    }

    async fn page(&self, path: &str) -> String {
        let response = self
            .get(path)
            .header("accept", "text/html")
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.text().await.unwrap()
    }

    /// Sends JSON and expects problem details with this status: the whole of them.
    async fn refused(&self, request: RequestBuilder, status: StatusCode) -> Value {
        problem(request.send().await.unwrap(), status).await
    }
}

async fn problem(response: Response, status: StatusCode) -> Value {
    assert_eq!(response.status(), status);
    assert_eq!(
        header(&response, "content-type"),
        "application/problem+json"
    );
    let problem: Value = response.json().await.unwrap();
    assert_eq!(problem["status"], status.as_u16());
    assert_eq!(problem["type"], "about:blank");
    assert_eq!(problem["title"], status.canonical_reason().unwrap());
    assert!(
        problem["detail"]
            .as_str()
            .is_some_and(|detail| !detail.is_empty())
    );
    problem
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}
