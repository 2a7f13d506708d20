//! Of alerts: one of them, silences, endpoints, deliveries, the audit.

use super::access::Identity;
use super::ingest::{accept, object, who, words};
use super::parameters::Parameters;
use super::server::{Shared, Squall};
use super::{Problem, api};
use crate::domain::{ControlAct, EntityId, Silence, Timestamp};
use crate::pipeline::notify::View;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Value, json};

/// Most deliveries in one answer.
const MOST: usize = 500;

/// `GET /v1/alerts/{id}`: one alert, with how its deliveries ended.
pub async fn alert(
    State(shared): Squall,
    Path(id): Path<String>,
    parameters: Parameters,
) -> Result<Json<Value>, Problem> {
    parameters.finish()?;
    let alert = api::find_alert(&shared, &id).await?;
    Ok(Json(api::alert_view(&shared, &alert)))
}

/// `GET /v1/deliveries?endpoint&limit`: those that have not ended: pending, and held because of quiet hours.
pub async fn deliveries(
    State(shared): Squall,
    mut parameters: Parameters,
) -> Result<Json<Value>, Problem> {
    let endpoint = parameters.text("endpoint")?;
    let limit = parameters.limit("limit", 100, MOST)?;
    parameters.finish()?;
    let view = view(&shared, usize::MAX).await?;
    let of = |name: &str| endpoint.as_deref().is_none_or(|one| one == name);
    let deliveries = view.deliveries.iter().filter(|one| of(&one.endpoint));
    let deliveries: Vec<_> = deliveries.take(limit).collect();
    Ok(Json(
        json!({"pending": view.pending, "deliveries": deliveries}),
    ))
}

/// `GET /v1/endpoints`: how each is doing.
pub async fn endpoints(
    State(shared): Squall,
    parameters: Parameters,
) -> Result<Json<Value>, Problem> {
    parameters.finish()?;
    let view = view(&shared, 0).await?;
    Ok(Json(json!({"endpoints": view.endpoints})))
}

/// `POST /v1/endpoints/{name}/test`: sends a sample, once, and says what came of it.
pub async fn test(
    State(shared): Squall,
    Path(endpoint): Path<String>,
    Extension(identity): Extension<Identity>,
    parameters: Parameters,
    body: Bytes,
) -> Result<Json<Value>, Problem> {
    parameters.finish()?;
    let by = by(&identity, &body)?;
    let at = Timestamp::now();
    (shared.web.control)(ControlAct::Test {
        endpoint: endpoint.clone(),
        by,
        at,
    })
    .await?;
    let said = (shared.web.test)(endpoint.clone()).await?;
    Ok(Json(
        json!({"endpoint": endpoint, "delivered": said.is_empty(), "error": said}),
    ))
}

/// `POST /v1/endpoints/{name}/enable`: sends to an endpoint again that was disabled.
pub async fn enable(
    State(shared): Squall,
    Path(endpoint): Path<String>,
    Extension(identity): Extension<Identity>,
    parameters: Parameters,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), Problem> {
    parameters.finish()?;
    let by = by(&identity, &body)?;
    let answer = json!({"endpoint": endpoint, "by": by});
    let at = Timestamp::now();
    accept(&shared, ControlAct::Enable { endpoint, by, at }, answer).await
}

/// `GET /v1/silences`: those that have not ended.
pub async fn silences(
    State(shared): Squall,
    parameters: Parameters,
) -> Result<Json<Value>, Problem> {
    parameters.finish()?;
    let view = view(&shared, 0).await?;
    Ok(Json(json!({"silences": view.silences})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    entity: Option<EntityId>,
    list: Option<EntityId>,
    rule: Option<String>,
    from: Option<Timestamp>,
    until: Option<Timestamp>,
    reason: String,
    by: Option<String>,
}

/// `POST /v1/silences`: nobody hears of some alerts for a while.
pub async fn silence(
    State(shared): Squall,
    Extension(identity): Extension<Identity>,
    parameters: Parameters,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), Problem> {
    parameters.finish()?;
    let wanted: Wanted = object(&body)?;
    let by = who(&identity, wanted.by.as_deref())?;
    let now = Timestamp::now();
    let from = wanted.from.unwrap_or(now);
    let silence = Silence {
        id: Silence::new_id(),
        entity: wanted.entity,
        list: wanted.list,
        rule: wanted.rule,
        from,
        until: wanted.until.unwrap_or(from),
        reason: words("reason", &wanted.reason)?,
    };
    silence
        .check(shared.web.max_silence, now)
        .map_err(Problem::invalid)?;
    let answer = json!({"silence": silence, "by": by});
    let at = now;
    accept(&shared, ControlAct::Silence { silence, by, at }, answer).await
}

/// `DELETE /v1/silences/{id}`: ends a silence before its time.
pub async fn unsilence(
    State(shared): Squall,
    Path(id): Path<String>,
    Extension(identity): Extension<Identity>,
    parameters: Parameters,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), Problem> {
    parameters.finish()?;
    let by = by(&identity, &body)?;
    let answer = json!({"id": id, "by": by});
    let at = Timestamp::now();
    accept(&shared, ControlAct::Unsilence { id, by, at }, answer).await
}

/// `GET /v1/audit?limit`: what people have done, latest first.
pub async fn audit(
    State(shared): Squall,
    mut parameters: Parameters,
) -> Result<Json<Value>, Problem> {
    let limit = parameters.limit("limit", 100, 1000)?;
    parameters.finish()?;
    let acts = shared.web.store.audit(limit).await?;
    Ok(Json(json!({"acts": acts})))
}

/// Who asks, where a body need only say so if nothing else does.
fn by(identity: &Identity, body: &[u8]) -> Result<String, Problem> {
    #[derive(Default, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct By {
        by: Option<String>,
    }
    let given: By = match body.trim_ascii().is_empty() {
        true => By::default(),
        false => object(body)?,
    };
    who(identity, given.by.as_deref())
}

async fn view(shared: &Shared, most: usize) -> Result<View, Problem> {
    let elsewhere = || {
        Problem::unavailable(
            "NOTIFY does not run in this process, or has not started yet: ask the process that runs the roles notify and api",
        )
    };
    let board = shared.web.board.as_ref().ok_or_else(elsewhere)?;
    board.ask(most).await.ok_or_else(elsewhere)
}
