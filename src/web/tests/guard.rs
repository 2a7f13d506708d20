use super::*;
use crate::config::{Access, Secret, TokenConfig};
use serde_json::json;

const TOKEN: &str = "a long secret";

async fn guarded() -> Server {
    start_with(TOKEN, scene(), |_| ()).await
}

/// Logs in and returns the session cookie.
async fn session(server: &Server) -> String {
    let login = server
        .post("/login")
        .body("token=a+long+secret&next=%2Falerts%2Fc0ffee01");
    let response = login.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    assert_eq!(header(&response, "location"), "/alerts/c0ffee01");
    let cookie = header(&response, "set-cookie");
    assert!(cookie.contains("; HttpOnly; SameSite=Strict"), "{cookie}");
    assert!(!cookie.contains("secret"), "{cookie}");
    cookie.split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn with_a_token_only_health_is_open() {
    let server = guarded().await;
    for path in ["/healthz", "/login", "/assets/squall.css"] {
        let response = server.get(path).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
    }
    for path in [
        "/",
        "/readyz",
        "/metrics",
        "/openapi.json",
        "/v1/alerts",
        "/v1/events",
        "/nothing",
        "/entities/HLVN",
    ] {
        let response = server.get(path).send().await.unwrap();
        assert!(header(&response, "www-authenticate").starts_with("Bearer"));
        problem(response, StatusCode::UNAUTHORIZED).await;
        let wrong = server.get(path).bearer_auth("a long secrex");
        server.refused(wrong, StatusCode::UNAUTHORIZED).await;
    }
    let right = server
        .get("/v1/alerts")
        .bearer_auth(TOKEN)
        .send()
        .await
        .unwrap();
    assert_eq!(right.status(), StatusCode::OK);
    let ack = server
        .post("/v1/alerts/c0ffee01/ack")
        .json(&json!({"by": "Kim"}));
    server.refused(ack, StatusCode::UNAUTHORIZED).await;
}

#[tokio::test]
async fn a_browser_is_asked_for_the_token_and_brought_back() {
    let server = guarded().await;
    let response = server
        .get("/entities/HLVN?hours=2")
        .header("accept", "text/html")
        .send()
        .await
        .unwrap();
    assert_eq!(
        header(&response, "location"),
        "/login?next=%2Fentities%2FHLVN%3Fhours%3D2"
    );
    let wrong = server
        .post("/login")
        .body("token=guess&next=/")
        .send()
        .await
        .unwrap();
    assert_eq!(wrong.status(), StatusCode::UNAUTHORIZED);
    assert!(
        wrong
            .text()
            .await
            .unwrap()
            .contains("This is not the token.")
    );

    let cookie = session(&server).await;
    let page = server
        .get("/")
        .header("cookie", &cookie)
        .send()
        .await
        .unwrap();
    assert_eq!(page.status(), StatusCode::OK);
    let forged = format!("{cookie}0");
    let page = server
        .get("/")
        .header("cookie", &forged)
        .send()
        .await
        .unwrap();
    assert_eq!(page.status(), StatusCode::UNAUTHORIZED);
    for next in [
        "//evil.example",
        "https://evil.example",
        "/\\evil.example",
        "/%0d%0aset-cookie:x",
        "/%C3%A9",
    ] {
        let login = server
            .post("/login")
            .body(format!("token=a+long+secret&next={next}"));
        let response = login.send().await.unwrap();
        assert_eq!(header(&response, "location"), "/", "{next}");
    }
}

#[tokio::test]
async fn a_session_changes_nothing_for_another_site() {
    let server = guarded().await;
    let cookie = session(&server).await;
    let ack = || {
        server
            .post("/alerts/c0ffee01/ack")
            .header("cookie", &cookie)
            .body("by=Kim&from=card")
    };
    server.refused(ack(), StatusCode::FORBIDDEN).await;
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        server
            .refused(ack().header(name, value), StatusCode::FORBIDDEN)
            .await;
    }
    assert!(server.asked.acts.lock().unwrap().is_empty());
    let own = ack().header("origin", &server.base).send().await.unwrap();
    assert_eq!(own.status(), StatusCode::SEE_OTHER);
    let own = ack()
        .header("sec-fetch-site", "same-origin")
        .send()
        .await
        .unwrap();
    assert_eq!(own.status(), StatusCode::SEE_OTHER);
    assert_eq!(server.asked.acts.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn without_a_token_other_sites_change_nothing_either() {
    let server = start().await;
    let send = || server.post("/v1/posts").body("{\"text\":\"a\"}");
    let foreign = send().header("origin", "https://evil.example");
    server.refused(foreign, StatusCode::FORBIDDEN).await;
    let foreign = send()
        .header("sec-fetch-site", "cross-site")
        .header("origin", &server.base);
    server.refused(foreign, StatusCode::FORBIDDEN).await;
    assert_eq!(send().send().await.unwrap().status(), StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_strange_host_is_refused_on_loopback() {
    let server = start_with("", scene(), |web| {
        web.config.public_url = "https://squall.example/".into();
    })
    .await;
    for host in [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "10.0.0.1",
        "",
    ] {
        let response = server.get("/").header("host", host).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::MISDIRECTED_REQUEST, "{host}");
    }
    for host in [
        "localhost:8080",
        "127.0.0.1",
        "[::1]:8080",
        "127.1.2.3:9",
        "Squall.example",
    ] {
        let response = server.get("/").header("host", host).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{host}");
    }
    let everywhere = start_with(TOKEN, scene(), |web| {
        web.config.listen = ([0, 0, 0, 0], 8080).into();
    })
    .await;
    let request = everywhere
        .get("/v1/alerts")
        .header("host", "anything")
        .bearer_auth(TOKEN);
    assert_eq!(request.send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn every_answer_is_locked_down() {
    let server = start().await;
    for path in [
        "/",
        "/entities/HLVN",
        "/v1/alerts",
        "/nothing",
        "/assets/squall.js",
        "/healthz",
    ] {
        let response = server.get(path).send().await.unwrap();
        let policy = header(&response, "content-security-policy");
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(header(&response, "x-content-type-options"), "nosniff");
        assert_eq!(header(&response, "referrer-policy"), "same-origin");
        let kept = header(&response, "cache-control") != "no-store";
        assert_eq!(kept, path.starts_with("/assets/"), "{path}");
    }
}

#[tokio::test]
async fn an_unknown_address_is_a_page_for_people_and_a_problem_for_programs() {
    let server = start().await;
    server
        .refused(server.get("/nothing"), StatusCode::NOT_FOUND)
        .await;
    let page = server
        .get("/nothing")
        .header("accept", "text/html")
        .send()
        .await
        .unwrap();
    assert_eq!(page.status(), StatusCode::NOT_FOUND);
    assert!(page.text().await.unwrap().contains("<h1>Not Found</h1>"));
    let response = server.get("/v1/score").send().await.unwrap();
    assert_eq!(header(&response, "allow"), "POST");
    problem(response, StatusCode::METHOD_NOT_ALLOWED).await;
    server
        .refused(server.get("/entities/%ff"), StatusCode::BAD_REQUEST)
        .await;
}

fn token(name: &str, role: Access, token: &str) -> TokenConfig {
    use sha2::{Digest, Sha256};
    let hex = crate::domain::hexadecimal(&Sha256::digest(token));
    TokenConfig {
        name: name.into(),
        role,
        hash: Secret::new(format!("sha256:{hex}")),
    }
}

#[tokio::test]
async fn a_token_has_a_name_and_a_role_and_the_name_counts() {
    let server = start_with("", scene(), |web| {
        web.tokens = vec![
            token("ann", Access::Analyst, "sqt_of-ann"),
            token("vic", Access::Viewer, "sqt_of-vic"),
        ];
    })
    .await;
    server
        .refused(server.get("/v1/alerts"), StatusCode::UNAUTHORIZED)
        .await;
    let hash = token("ann", Access::Analyst, "sqt_of-ann").hash;
    let by_hash = server.get("/v1/alerts").bearer_auth(hash.expose());
    server.refused(by_hash, StatusCode::UNAUTHORIZED).await;
    let ack = |token: &str, by: Value| {
        server
            .post("/v1/alerts/c0ffee01/ack")
            .bearer_auth(token)
            .json(&by)
    };
    let told = server
        .refused(ack("sqt_of-vic", json!({})), StatusCode::FORBIDDEN)
        .await;
    assert!(
        told["detail"]
            .as_str()
            .unwrap()
            .contains("the role viewer may not"),
        "{told}"
    );
    let done = ack("sqt_of-ann", json!({"by": "someone else"}))
        .send()
        .await
        .unwrap();
    assert_eq!(done.status(), StatusCode::ACCEPTED);
    let acts = server.asked.acts.lock().unwrap();
    let crate::domain::ControlAct::Acknowledge { by, .. } = &acts[0] else {
        panic!("{acts:?}");
    };
    assert_eq!(
        (acts.len(), by.as_str()),
        (1, "ann"),
        "whom the token names"
    );
}

#[tokio::test]
async fn a_session_of_a_named_token_is_that_name_and_no_hash_makes_one() {
    let server = start_with("", scene(), |web| {
        web.tokens = vec![token("vic", Access::Viewer, "sqt_of-vic")];
    })
    .await;
    let login = server
        .post("/login")
        .body("token=sqt_of-vic&next=/")
        .send()
        .await
        .unwrap();
    let cookie = header(&login, "set-cookie")
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    let page = server
        .get("/")
        .header("cookie", &cookie)
        .send()
        .await
        .unwrap();
    assert_eq!(page.status(), StatusCode::OK);
    let ack = server
        .post("/v1/alerts/c0ffee01/ack")
        .header("cookie", &cookie);
    let ack = ack
        .header("sec-fetch-site", "same-origin")
        .json(&json!({"by": "vic"}));
    server.refused(ack, StatusCode::FORBIDDEN).await;
    let hash = token("vic", Access::Viewer, "sqt_of-vic").hash;
    let hex = hash.expose().trim_start_matches("sha256:");
    let forged = server
        .get("/v1/alerts")
        .header("cookie", format!("squall_session={hex}"));
    server.refused(forged, StatusCode::UNAUTHORIZED).await;
}

#[tokio::test]
async fn a_proxy_is_believed_only_from_its_address() {
    for (trusted, expected) in [
        ("127.0.0.0/8", StatusCode::OK),
        ("10.0.0.1/32", StatusCode::UNAUTHORIZED),
    ] {
        let server = start_with("", scene(), |web| {
            web.config.identity_header = "x-forwarded-user".into();
            web.config.trusted_proxies = vec![trusted.parse().unwrap()];
        })
        .await;
        let named = server.get("/v1/alerts").header("X-Forwarded-User", "ann");
        assert_eq!(named.send().await.unwrap().status(), expected);
        server
            .refused(server.get("/v1/alerts"), StatusCode::UNAUTHORIZED)
            .await;
        let twice = server
            .get("/v1/alerts")
            .header("X-Forwarded-User", "ann")
            .header("x-forwarded-user", "bob");
        server.refused(twice, StatusCode::UNAUTHORIZED).await;
    }
}
