//! What the web server gets from the other parts.

use super::{Parts, Role};
use crate::broker::{BrokerError, Lag, Outgoing};
use crate::campaign::report::{CampaignReport, Format, Subject};
use crate::domain::{ControlAct, Origin, Post, SourcePartition, Timestamp};
use crate::pipeline::{Encoder, Reader, Receipt, ScoreLine, send_all};
use crate::web::{self, Problem, Report, ReportRequest, Submission, Web};
use axum::http::StatusCode;
use std::fmt::Display;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Serves the page and the API until `closing`.
pub(super) async fn serve(
    listener: TcpListener,
    parts: Arc<Parts>,
    joining: Vec<(Role, Lag)>,
    closing: CancellationToken,
) {
    let Some(store) = parts.store.clone() else {
        return;
    };
    let matcher = parts.matcher.clone();
    let metrics = parts.metrics.clone();
    let scoring = parts.scoring.clone();
    let web = Web {
        store,
        entities: Arc::new(move |id| matcher.entity(id).cloned()),
        campaigns: parts.config.campaigns.clone(),
        topics: parts.config.topics.clone(),
        max_text_bytes: parts.config.score.max_text_bytes,
        config: parts.config.api.clone(),
        score: scoring.map(|(reader, encoder)| -> web::Call<_, _> {
            Arc::new(move |posts| Box::pin(score(reader.clone(), encoder.clone(), posts)))
        }),
        produce: with(&parts, produce),
        control: with(&parts, control),
        report: with(&parts, report),
        metrics: Arc::new(move || metrics.render()),
        ready: Arc::new(move || {
            let absent = joining.iter().filter(|(_, lag)| !lag.has_joined());
            absent
                .map(|(role, _)| format!("role {role} has not joined its consumer group yet"))
                .collect()
        }),
    };
    if let Err(error) = web::serve(listener, web, closing).await {
        tracing::error!(%error, "the page and the API have ended");
    }
}

/// A call that shares the parts.
fn with<A, B, F>(parts: &Arc<Parts>, call: fn(Arc<Parts>, A) -> F) -> web::Call<A, B>
where
    A: 'static,
    F: Future<Output = Result<B, Problem>> + Send + 'static,
{
    let parts = parts.clone();
    Arc::new(move |argument| Box::pin(call(parts.clone(), argument)))
}

/// Scores posts as `squall score` does.
async fn score(
    reader: Arc<Reader>,
    encoder: Encoder,
    posts: Vec<Post>,
) -> Result<Vec<serde_json::Value>, Problem> {
    let received_at = Timestamp::now();
    let read = move || {
        let receipt = |offset| Receipt {
            origin: Origin {
                source: SourcePartition {
                    epoch: "api".into(),
                    topic: "score".into(),
                    partition: 0,
                },
                offset,
            },
            source: "api".into(),
            recorded_at: None,
            received_at,
        };
        let read = posts
            .into_iter()
            .enumerate()
            .map(|(n, post)| reader.read(post, receipt(n as i64)));
        read.collect::<Vec<_>>()
    };
    let readings = tokio::task::spawn_blocking(read)
        .await
        .map_err(|error| failed(&error))?;
    let scored = readings.into_iter().map(|reading| async {
        let sentiments = encoder
            .score(reading.texts().to_vec())
            .await
            .map_err(|error| failed(&error))?;
        let post = reading.finish(&sentiments, encoder.model(), Timestamp::now());
        serde_json::to_value(ScoreLine::of(&post)).map_err(|error| failed(&error))
    });
    futures::future::try_join_all(scored).await
}

/// Writes posts to their topic and waits until the broker has them.
async fn produce(parts: Arc<Parts>, submission: Submission) -> Result<Vec<Origin>, Problem> {
    let topic: Arc<str> = submission.topic.into();
    let records = submission.posts.into_iter().map(|payload| Outgoing {
        topic: topic.clone(),
        partition: None,
        key: String::new(),
        payload,
        timestamp: None,
    });
    let acknowledged = send_all(&parts.producer, records.collect())
        .await
        .map_err(|error| away(&error))?;
    let mut origins = Vec::with_capacity(acknowledged.len());
    for one in acknowledged {
        let (partition, offset) = one.await.map_err(|error| away(&error))?;
        let source = SourcePartition {
            epoch: parts.emitter.epoch.clone(),
            topic: topic.clone(),
            partition,
        };
        origins.push(Origin { source, offset });
    }
    Ok(origins)
}

async fn control(parts: Arc<Parts>, act: ControlAct) -> Result<(), Problem> {
    for one in send_all(&parts.producer, vec![parts.emitter.control(&act)])
        .await
        .map_err(|error| away(&error))?
    {
        one.await.map_err(|error| away(&error))?;
    }
    Ok(())
}

/// Renders a campaign's report.
async fn report(parts: Arc<Parts>, request: ReportRequest) -> Result<Report, Problem> {
    let Some(store) = &parts.store else {
        return Err(Problem::unavailable("this process has no store"));
    };
    let format: Format = request.format.parse().map_err(Problem::invalid)?;
    let figures = store
        .campaign(&request.campaign, request.from, request.to)
        .await?;
    let configured = parts
        .config
        .campaigns
        .iter()
        .find(|campaign| campaign.id == request.campaign);
    let subject = Subject {
        name: configured.map_or_else(
            || request.campaign.to_string(),
            |campaign| campaign.name.clone(),
        ),
        campaign: request.campaign,
        from: Some(request.from),
        to: Some(request.to),
        made_at: Timestamp::now(),
    };
    let body = CampaignReport::new(subject, &figures).render(format);
    Ok(Report {
        content_type: format.media_type(),
        body,
    })
}

/// The log gets the error; the client, who may be anyone, only that something failed.
fn failed(error: &dyn Display) -> Problem {
    tracing::error!(%error, "a request of the API has failed");
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "squall failed: see its log",
    )
}

fn away(error: &BrokerError) -> Problem {
    tracing::error!(%error, "the broker did not take what the API was sent");
    Problem::unavailable("the broker is not available: try again in a moment")
}
