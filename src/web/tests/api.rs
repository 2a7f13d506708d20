use super::*;
use crate::domain::{ControlAct, Label, Timestamp};
use crate::web::fake::NOW;
use serde_json::json;
use std::time::Duration;

fn detail(problem: &Value) -> &str {
    problem["detail"].as_str().unwrap()
}

#[tokio::test]
async fn every_route_is_described_and_answers_as_described() {
    let server = start().await;
    let api = server.json("/openapi.json").await;
    let described: Vec<&String> = api["paths"].as_object().unwrap().keys().collect();
    let routed: Vec<&str> = include_str!("../server.rs")
        .split(".route(")
        .skip(1)
        .filter_map(|rest| rest.split('"').nth(1))
        .filter(|path| {
            path.starts_with("/v1/") || !path.contains('{') && path.ends_with(['z', 's', 'n'])
        })
        .filter(|path| *path != "/login")
        .collect();
    assert_eq!(routed.len(), 21, "{routed:?}");
    for path in &routed {
        assert!(
            described.iter().any(|known| known == path),
            "{path} is not described"
        );
    }
    assert_eq!(described.len(), routed.len());
    for (path, methods) in api["paths"].as_object().unwrap() {
        let path = match path.as_str() {
            "/v1/alerts/{id}/ack" => "/v1/alerts/c0ffee01/ack".to_owned(),
            "/v1/alerts/{id}" => "/v1/alerts/c0ffee01".to_owned(),
            "/v1/campaigns/{id}/report" => "/v1/campaigns/spring/report".to_owned(),
            path => path.replace("{id}", "HLVN"),
        };
        for (method, operation) in methods.as_object().unwrap() {
            let request = match method.as_str() {
                "get" => server.get(&path),
                "delete" => server.client.delete(format!("{}{path}", server.base)),
                _ => server.post(&path).body("{}"),
            };
            let status = request.send().await.unwrap().status();
            let known = operation["responses"].as_object().unwrap();
            assert!(
                known.contains_key(status.as_str()),
                "{method} {path}: {status}"
            );
            // NOTIFY runs elsewhere, and nobody on loopback sees the audit.
            let elsewhere = [
                "/v1/deliveries",
                "/v1/endpoints",
                "/v1/silences",
                "/v1/audit",
            ];
            assert_eq!(
                status.is_success(),
                method == "get" && !elsewhere.contains(&path.as_str()),
                "{method} {path}: {status}"
            );
        }
    }
}

#[tokio::test]
async fn references_of_the_description_lead_somewhere() {
    fn walk(value: &Value, api: &Value) {
        match value {
            Value::Object(fields) => {
                if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
                    assert!(api.pointer(&reference[1..]).is_some(), "{reference}");
                }
                fields.values().for_each(|value| walk(value, api));
            }
            Value::Array(items) => items.iter().for_each(|value| walk(value, api)),
            _ => {}
        }
    }
    let api: Value = serde_json::from_str(include_str!("../openapi.json")).unwrap();
    walk(&api, &api);
}

#[tokio::test]
async fn entities_and_timelines_are_read_by_range() {
    let server = start().await;
    let all = server.json("/v1/entities").await;
    let first = &all["entities"][0];
    assert_eq!(first["entity"], "HLVN");
    assert_eq!(first["name"], "Halvorsen Batteries");
    assert_eq!(first["kind"], "company");
    assert!(first["mean_score"].as_f64().unwrap() < 0.0);
    let early = "?from=2026-11-23T03:00:00Z&to=2026-11-23T04:00:00Z";
    let part = server.json(&format!("/v1/entities{early}")).await;
    assert!(part["entities"][0]["mentions"].as_u64() < first["mentions"].as_u64());

    let timeline = server
        .json(&format!("/v1/entities/EUR%2FXAU/timeline{early}&step=15m"))
        .await;
    assert_eq!(
        (&timeline["entity"], &timeline["step"]),
        (&json!("EUR/XAU"), &json!("15m"))
    );
    for point in timeline["points"].as_array().unwrap() {
        let start: Timestamp = point["start"].as_str().unwrap().parse().unwrap();
        assert_eq!(start, start.floor(Duration::from_secs(900)));
    }
    let unknown = server.get("/v1/entities/NOBODY/timeline");
    let problem = server.refused(unknown, StatusCode::NOT_FOUND).await;
    assert!(detail(&problem).contains("'NOBODY'"));
}

#[tokio::test]
async fn posts_are_read_page_by_page() {
    let server = start().await;
    let first = server.json("/v1/posts?entity=HLVN&limit=10").await;
    let posts = first["posts"].as_array().unwrap();
    assert_eq!(posts.len(), 10);
    assert_eq!(posts[0]["event_time"], "2026-11-23T09:27:31.000Z");
    let before = first["next_before"].as_str().unwrap();
    let second = server
        .json(&format!("/v1/posts?entity=HLVN&limit=10&before={before}"))
        .await;
    assert!(second["posts"][0]["event_time"].as_str() < Some(before));
    let campaign = server.json("/v1/posts?campaign=spring&limit=500").await;
    assert_eq!(campaign["next_before"], Value::Null);
}

#[tokio::test]
async fn wrong_parameters_are_named_with_their_remedy() {
    let server = start().await;
    for (path, words) in [
        ("/v1/posts?limit=501", ["'limit'", "1 to 500"]),
        ("/v1/posts?limit=ten", ["'limit'", "'ten'"]),
        ("/v1/posts?limit=", ["'limit'", "1 to 500"]),
        ("/v1/posts?befor=x", ["'befor'", "unknown"]),
        ("/v1/posts?before=yesterday", ["'before'", "2026-"]),
        ("/v1/posts?limit=1&limit=2", ["'limit'", "once"]),
        (
            "/v1/entities?from=2026-11-23T09:00:00Z&to=2026-11-23T08:00:00Z",
            ["'from'", "swap"],
        ),
        (
            "/v1/entities/HLVN/timeline?step=30s",
            ["'step'", "whole minutes"],
        ),
        (
            "/v1/entities/HLVN/timeline?step=1m&from=2020-01-01T00:00:00Z",
            ["'step'", "longer"],
        ),
        (
            "/v1/campaigns/spring/report?format=pdf",
            ["'format'", "markdown"],
        ),
    ] {
        let problem = server
            .refused(server.get(path), StatusCode::BAD_REQUEST)
            .await;
        for word in words {
            assert!(detail(&problem).contains(word), "{path}: {problem}");
        }
    }
    let topic = server
        .post("/v1/posts?topic=squall.alerts")
        .body("{\"text\":\"a\"}");
    let problem = server.refused(topic, StatusCode::BAD_REQUEST).await;
    assert!(detail(&problem).contains("news, social"));
}

#[tokio::test]
async fn posts_are_taken_in_as_they_came() {
    let server = start().await;
    let sent = [
        r#"{"id":"a","title":"One", "new_field":1}"#,
        r#"{"text":"Two"}"#,
    ];
    let body = format!("[{}]", sent.join(","));
    let response = server
        .post("/v1/posts?topic=social")
        .body(body)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    let accepted: Value = response.json().await.unwrap();
    assert_eq!(
        accepted["accepted"],
        json!([
            {"id": "a", "topic": "social", "partition": 0, "offset": 0},
            {"id": "1:social:0:1", "topic": "social", "partition": 0, "offset": 1},
        ])
    );
    let single = server.post("/v1/posts").body(sent[0]).send().await.unwrap();
    assert_eq!(single.status(), StatusCode::ACCEPTED);
    let submissions = server.asked.submissions.lock().unwrap();
    assert_eq!(
        submissions[0].posts,
        sent.map(|post| post.as_bytes().to_vec())
    );
    assert_eq!(submissions[1].topic, "news");
}

#[tokio::test]
async fn one_bad_post_refuses_all_and_is_named() {
    let server = start().await;
    let body = r#"{"posts": [{"text": "good"}, {"text": 5}, {"id": "empty"}]}"#;
    let problem = server
        .refused(server.post("/v1/posts").body(body), StatusCode::BAD_REQUEST)
        .await;
    let errors = problem["errors"].as_array().unwrap();
    let named: Vec<_> = errors
        .iter()
        .map(|error| (&error["index"], &error["reason"]))
        .collect();
    assert_eq!(
        named,
        [
            (&json!(1), &json!("wrong_type")),
            (&json!(2), &json!("no_text"))
        ]
    );
    let long = format!(r#"{{"text": "{}"}}"#, "x".repeat(1001));
    for body in [
        "",
        "[]",
        "[1",
        "nonsense",
        "{\"posts\": []}",
        "\u{0}",
        &long,
    ] {
        let request = server.post("/v1/posts").body(body.to_owned());
        server.refused(request, StatusCode::BAD_REQUEST).await;
    }
    let request = server.post("/v1/posts").body(vec![0xff, 0xfe]);
    server.refused(request, StatusCode::BAD_REQUEST).await;
    let request = server.post("/v1/posts").body("x".repeat(5 << 20));
    let problem = server.refused(request, StatusCode::PAYLOAD_TOO_LARGE).await;
    assert!(detail(&problem).contains("4 MiB"));
    assert!(server.asked.submissions.lock().unwrap().is_empty());
}

#[tokio::test]
async fn one_post_is_scored_as_one_and_several_as_several() {
    let server = start().await;
    let score = async |body: &str| -> Value {
        let response = server
            .post("/v1/score")
            .body(body.to_owned())
            .send()
            .await
            .unwrap();
        response.json().await.unwrap()
    };
    assert_eq!(score(r#"{"id":"a","text":"x"}"#).await["id"], "a");
    let several = score(r#"{"posts":[{"id":"a","text":"x"},{"id":"b","text":"y"}]}"#).await;
    assert_eq!(several["posts"][1]["id"], "b");
    let without = start_with("", scene(), |web| web.score = None).await;
    let request = without.post("/v1/score").body(r#"{"text":"x"}"#);
    without
        .refused(request, StatusCode::SERVICE_UNAVAILABLE)
        .await;
}

/// Whether a value is as a schema says, with every field described.
fn fits(value: &Value, schema: &Value, api: &Value) -> bool {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let listed = |name: &str| schema[name].as_array().cloned().unwrap_or_default();
    let mut schemas = vec![schema];
    schemas.extend(schema["$ref"].as_str().and_then(|to| api.pointer(&to[1..])));
    let fields_fit = value
        .as_object()
        .into_iter()
        .flatten()
        .all(|(name, field)| {
            let described = schemas
                .iter()
                .find_map(|schema| schema["properties"].get(name));
            described.is_some_and(|described| fits(field, described, api))
        });
    let items_fit = value
        .as_array()
        .into_iter()
        .flatten()
        .all(|item| fits(item, &schema["items"], api));
    let all_there = schemas.iter().all(|schema| {
        let required = schema["required"].as_array();
        required
            .into_iter()
            .flatten()
            .all(|name| value.get(name.as_str().unwrap()).is_some())
    });
    let types = [listed("type"), vec![schema["type"].clone()]].concat();
    (schema["type"].is_null() || types.contains(&json!(kind)))
        && (schema["enum"].is_null() || listed("enum").contains(value))
        && fields_fit
        && items_fit
        && all_there
}

#[tokio::test]
async fn what_is_not_scored_is_null_and_described_so() {
    let server = start().await;
    let api = server.json("/openapi.json").await;
    let described = &api["components"]["schemas"]["Scored"];
    let body = r#"{"posts":[{"text":"Batteries burn"},{"id":"b","text":"Batterier brinner","lang":"sv"}]}"#;
    let response = server.post("/v1/score").body(body).send().await.unwrap();
    let answer: Value = response.json().await.unwrap();
    for line in answer["posts"].as_array().unwrap() {
        assert!(fits(line, described, &api), "{line}");
        let mut wrong = line.clone();
        wrong["label"] = json!("awful");
        assert!(!fits(&wrong, described, &api));
        wrong = line.clone();
        wrong.as_object_mut().unwrap().remove("score");
        assert!(!fits(&wrong, described, &api));
    }
    let [scored, unknown] = [0, 1].map(|place| &answer["posts"][place]);
    assert_eq!(
        (&scored["label"], &scored["lang"]),
        (&json!("negative"), &json!("en"))
    );
    for verdict in [unknown, &unknown["entities"][0]] {
        assert_eq!(
            (&verdict["label"], &verdict["score"]),
            (&Value::Null, &Value::Null)
        );
        assert!(verdict.get("label").is_some() && verdict.get("p_negative").is_none());
    }
    assert_eq!(unknown["model"], "");
}

#[tokio::test]
async fn alerts_are_read_and_acknowledged() {
    let server = start().await;
    let alerts = server.json("/v1/alerts?entity=HLVN").await;
    let alert = &alerts["alerts"][0];
    assert_eq!(alert["alert_id"], "c0ffee01");
    assert_eq!(
        (&alert["open"], &alert["acknowledged"]),
        (&json!(true), &Value::Null)
    );
    let request = server
        .post("/v1/alerts/c0ffee01/ack")
        .json(&json!({"by": " Kim "}));
    assert_eq!(request.send().await.unwrap().status(), StatusCode::ACCEPTED);
    let alerts = server.json("/v1/alerts?entity=HLVN").await;
    assert_eq!(alerts["alerts"][0]["acknowledged"]["by"], "Kim");

    let unknown = server
        .post("/v1/alerts/nothing/ack")
        .json(&json!({"by": "Kim"}));
    server.refused(unknown, StatusCode::NOT_FOUND).await;
    for (body, word) in [
        (json!({"by": "  "}), "'by'"),
        (json!({"by": 5}), "'by'"),
        (json!({"by": "Kim", "at": "now"}), "at"),
        (json!({}), "by"),
    ] {
        let request = server.post("/v1/alerts/c0ffee01/ack").json(&body);
        let problem = server.refused(request, StatusCode::BAD_REQUEST).await;
        assert!(detail(&problem).contains(word), "{problem}");
    }
    assert_eq!(server.asked.acts.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn feedback_is_about_a_post_and_what_it_mentions() {
    let server = start().await;
    let send = |body: Value| server.post("/v1/feedback").json(&body);
    let good = json!({"post_id": "hostile", "entity": "HLVN", "label": "neutral", "by": "Kim"});
    let response = send(good.clone()).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    {
        let acts = server.asked.acts.lock().unwrap();
        assert!(matches!(
            &acts[0],
            ControlAct::Feedback {
                label: Label::Neutral,
                ..
            }
        ));
    }
    let mut other = good.clone();
    other["entity"] = json!("ORLA");
    server.refused(send(other), StatusCode::BAD_REQUEST).await;
    let mut unknown = good.clone();
    unknown["post_id"] = json!("nothing");
    server.refused(send(unknown), StatusCode::NOT_FOUND).await;
    let mut label = good;
    label["label"] = json!("awful");
    let problem = server.refused(send(label), StatusCode::BAD_REQUEST).await;
    assert!(detail(&problem).contains("'label'"), "{problem}");
}

#[tokio::test]
async fn reports_come_with_their_type_and_run_nothing() {
    let server = start().await;
    let path = "/v1/campaigns/spring/report?format=csv&from=2026-11-01T00:00:00Z";
    let response = server.get(path).send().await.unwrap();
    assert_eq!(header(&response, "content-type"), "text/csv");
    assert!(header(&response, "content-security-policy").contains("sandbox"));
    {
        let reports = server.asked.reports.lock().unwrap();
        assert_eq!(reports[0].format, "csv");
        assert_eq!(reports[0].from.to_string(), "2026-11-01T00:00:00.000Z");
        assert!(reports[0].to > Timestamp::from_millis(NOW));
    }
    let unknown = server.get("/v1/campaigns/autumn/report");
    server.refused(unknown, StatusCode::NOT_FOUND).await;
}

#[tokio::test]
async fn a_store_that_fails_is_told_without_its_place() {
    let server = start().await;
    *server.store.broken.lock().unwrap() = true;
    for path in ["/v1/alerts", "/v1/entities", "/readyz", "/"] {
        let problem = server
            .refused(server.get(path), StatusCode::SERVICE_UNAVAILABLE)
            .await;
        assert!(!problem.to_string().contains("secret"), "{problem}");
    }
    let page = server
        .get("/")
        .header("accept", "text/html")
        .send()
        .await
        .unwrap();
    assert_eq!(page.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        page.text()
            .await
            .unwrap()
            .contains("<h1>Service Unavailable</h1>")
    );
    assert_eq!(
        server.get("/healthz").send().await.unwrap().status(),
        StatusCode::OK
    );
}

#[tokio::test]
async fn readiness_gives_its_reasons_and_metrics_their_type() {
    let reasons = || {
        vec![
            "kafka: no broker answers".to_owned(),
            "model: loading".to_owned(),
        ]
    };
    let server = start_with("", scene(), |web| web.ready = Arc::new(reasons)).await;
    let problem = server
        .refused(server.get("/readyz"), StatusCode::SERVICE_UNAVAILABLE)
        .await;
    assert!(detail(&problem).contains("no broker answers"));
    assert_eq!(problem["errors"].as_array().unwrap().len(), 2);
    let metrics = server.get("/metrics").send().await.unwrap();
    assert!(header(&metrics, "content-type").starts_with("text/plain; version=0.0.4"));
    assert!(
        metrics
            .text()
            .await
            .unwrap()
            .contains("squall_posts_consumed_total 5")
    );
}

#[tokio::test]
async fn events_tell_the_version_and_end_with_the_server() {
    let server = start().await;
    let mut events = server.get("/v1/events").send().await.unwrap();
    assert_eq!(header(&events, "content-type"), "text/event-stream");
    let first = events.chunk().await.unwrap().unwrap();
    assert_eq!(&first[..], b"data: {\"version\":1}\n\n");
    server.store.acknowledge("c0ffee01", "Kim");
    let second = events.chunk().await.unwrap().unwrap();
    assert_eq!(&second[..], b"data: {\"version\":2}\n\n");
    server.shutdown.cancel();
    assert_eq!(events.chunk().await.unwrap(), None);
    server.task.await.unwrap().unwrap();
}
