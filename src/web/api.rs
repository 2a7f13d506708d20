//! What programs read: health, metrics, entities, timelines, posts, alerts, reports. JSON unless said otherwise.

use super::parameters::{Parameters, Range};
use super::server::{Shared, Squall};
use super::{Problem, ReportRequest};
use crate::domain::{AlertKind, CampaignId, EntityId, Timestamp};
use crate::store::{AlertQuery, AlertRow, EntityTotals, PostQuery};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// How far back a campaign's figures go unless asked otherwise.
pub const CAMPAIGN_RANGE: Duration = Duration::from_secs(30 * 24 * 3600);
/// Most steps of a timeline.
const MAX_STEPS: u128 = 10_080;

/// `GET /healthz`: the process answers.
pub async fn health() -> Json<Value> {
    Json(json!({"status": "alive"}))
}

/// `GET /readyz`: whether it can work, and if not, why.
pub async fn ready(State(shared): Squall) -> Result<Json<Value>, Problem> {
    let mut reasons = (shared.web.ready)();
    if let Err(error) = shared.web.store.version().await {
        tracing::warn!(%error, "not ready");
        reasons.push("the store does not answer".into());
    }
    if reasons.is_empty() {
        return Ok(Json(json!({"status": "ready"})));
    }
    Err(Problem {
        errors: reasons
            .iter()
            .map(|reason| json!({"detail": reason}))
            .collect(),
        ..Problem::unavailable(format!("not ready: {}", reasons.join("; ")))
    })
}

/// `GET /metrics`, in the text format of Prometheus.
pub async fn metrics(State(shared): Squall) -> Response {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], (shared.web.metrics)()).into_response()
}

/// `GET /openapi.json`
pub async fn openapi() -> Response {
    let kind = "application/json";
    ([(header::CONTENT_TYPE, kind)], include_str!("openapi.json")).into_response()
}

/// `GET /v1/entities?from&to`: totals of every entity that was mentioned, by default in the last day.
pub async fn entities(
    State(shared): Squall,
    mut parameters: Parameters,
) -> Result<Json<Value>, Problem> {
    let range = parameters.range(stream_end(&shared).await?, DAY)?;
    parameters.finish()?;
    let totals = shared.web.store.entities(range.from, range.to).await?;
    let entities: Vec<Value> = totals
        .iter()
        .map(|totals| entity_view(&shared, totals))
        .collect();
    Ok(Json(
        json!({"from": range.from, "to": range.to, "entities": entities}),
    ))
}

/// `GET /v1/entities/{id}/timeline?from&to&step`: one entity in steps, by default six hours in steps of 5 minutes.
pub async fn timeline(
    State(shared): Squall,
    Path(id): Path<String>,
    mut parameters: Parameters,
) -> Result<Json<Value>, Problem> {
    let Range { from, to } = parameters.range(stream_end(&shared).await?, 6 * HOUR)?;
    let step = parameters
        .minutes("step")?
        .unwrap_or(Duration::from_secs(300));
    parameters.finish()?;
    if to.since(from).as_millis() / step.as_millis() > MAX_STEPS {
        return Err(Problem::invalid(format!(
            "parameter 'step' cuts the range into more than {MAX_STEPS} steps: make it longer, or the range shorter"
        )));
    }
    let entity = EntityId::from(id.as_str());
    let points = shared.web.store.timeline(&entity, from, to, step).await?;
    if points.is_empty() && (shared.web.entities)(&entity).is_none() {
        return Err(unknown_entity(&id));
    }
    let points: Vec<Value> = points
        .iter()
        .map(|point| with(json!(point), "mean_score", json!(point.totals.mean_score())))
        .collect();
    let step = crate::config::duration::format(step);
    Ok(Json(
        json!({"entity": id, "from": from, "to": to, "step": step, "points": points}),
    ))
}

/// `GET /v1/posts?entity&campaign&before&limit`: posts, latest first.
pub async fn posts(
    State(shared): Squall,
    mut parameters: Parameters,
) -> Result<Json<Value>, Problem> {
    let query = PostQuery {
        entity: parameters
            .text("entity")?
            .map(|id| EntityId::from(id.as_str())),
        campaign: parameters
            .text("campaign")?
            .map(|id| CampaignId::from(id.as_str())),
        id: parameters.text("id")?,
        before: parameters.time("before")?,
        limit: parameters.limit("limit", 50, 500)?,
    };
    parameters.finish()?;
    let posts = shared.web.store.posts(&query).await?;
    let next = (posts.len() == query.limit)
        .then(|| posts.last().map(|post| post.event_time))
        .flatten();
    Ok(Json(json!({"posts": posts, "next_before": next})))
}

/// `GET /v1/alerts?entity&limit`: alerts as they stand, latest first.
pub async fn alerts(
    State(shared): Squall,
    mut parameters: Parameters,
) -> Result<Json<Value>, Problem> {
    let query = AlertQuery {
        entity: parameters
            .text("entity")?
            .map(|id| EntityId::from(id.as_str())),
        alert_id: None,
        limit: parameters.limit("limit", 50, 500)?,
    };
    parameters.finish()?;
    let alerts = shared.web.store.alerts(&query).await?;
    let alerts: Vec<Value> = alerts
        .iter()
        .map(|alert| alert_view(&shared, alert))
        .collect();
    Ok(Json(json!({"alerts": alerts})))
}

/// `GET /v1/campaigns/{id}/report?format&from&to`: the reach report, by default of the last 30 days as JSON.
pub async fn report(
    State(shared): Squall,
    Path(id): Path<String>,
    mut parameters: Parameters,
) -> Result<Response, Problem> {
    const FORMATS: [&str; 4] = ["json", "html", "csv", "markdown"];
    let range = parameters.range(stream_end(&shared).await?, CAMPAIGN_RANGE)?;
    let format = parameters.text("format")?;
    parameters.finish()?;
    let wanted = format.as_deref().unwrap_or(FORMATS[0]);
    let format = FORMATS
        .into_iter()
        .find(|known| *known == wanted)
        .ok_or_else(|| {
            Problem::invalid(format!(
                "parameter 'format': '{wanted}' is unknown: choose one of {}",
                FORMATS.join(", ")
            ))
        })?;
    let report = (shared.web.report)(ReportRequest {
        campaign: CampaignId::from(id.as_str()),
        from: range.from,
        to: range.to,
        format,
    })
    .await?;
    // A report in HTML is a document of its own that carries its styles inside, and runs nothing.
    let policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox; frame-ancestors 'none'";
    let headers = [
        (header::CONTENT_TYPE, report.content_type),
        (header::CONTENT_SECURITY_POLICY, policy),
    ];
    Ok((headers, report.body).into_response())
}

/// The end of the minute that the stream has reached: the "now" of every default range. The machine's
/// clock where the store is empty.
pub async fn stream_end(shared: &Shared) -> Result<Timestamp, Problem> {
    let latest = shared.web.store.latest().await?;
    Ok(minute_after(latest.unwrap_or_else(Timestamp::now)))
}

/// The end of the minute an instant lies in.
pub fn minute_after(instant: Timestamp) -> Timestamp {
    let minute = Duration::from_secs(60);
    instant.floor(minute) + minute
}

/// Whether an alert is over.
pub fn is_open(kind: AlertKind) -> bool {
    matches!(kind, AlertKind::Opened | AlertKind::Updated)
}

pub fn unknown_entity(id: &str) -> Problem {
    Problem::not_found(format!(
        "entity '{id}' is not in the dictionary, and nothing mentions it: check the id"
    ))
}

fn entity_view(shared: &Shared, totals: &EntityTotals) -> Value {
    let known = (shared.web.entities)(&totals.entity);
    let mut view = json!(totals);
    view["mean_score"] = json!(totals.totals.mean_score());
    view["name"] = json!(known.as_ref().map(|entity| &entity.name));
    view["sector"] = json!(known.as_ref().map(|entity| &entity.sector));
    view["kind"] = json!(known.as_ref().map(|entity| entity.kind));
    view
}

/// One alert as it stands.
///
/// # Errors
/// 404 where there is none.
pub async fn find_alert(shared: &Shared, id: &str) -> Result<AlertRow, Problem> {
    let query = AlertQuery {
        alert_id: Some(id.to_owned()),
        limit: 1,
        ..AlertQuery::default()
    };
    let alerts = shared.web.store.alerts(&query).await?;
    let found = alerts.into_iter().next();
    found.ok_or_else(|| Problem::not_found(format!("there is no alert '{id}'")))
}

pub fn alert_view(shared: &Shared, alert: &AlertRow) -> Value {
    let mut view = json!(alert.latest);
    view["open"] = json!(is_open(alert.latest.kind));
    view["opened_at"] = json!(alert.opened_at);
    view["entity_name"] =
        json!((shared.web.entities)(&alert.latest.entity).map(|entity| entity.name));
    view["acknowledged"] = match &alert.acknowledged {
        Some((by, at)) => json!({"by": by, "at": at}),
        None => Value::Null,
    };
    view["deliveries"] = json!(alert.deliveries);
    view
}

fn with(mut object: Value, name: &str, value: Value) -> Value {
    object[name] = value;
    object
}
