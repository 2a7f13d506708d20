//! What the web server gets from the other parts.

use super::{Parts, Role};
use crate::broker::{BrokerError, Lag, Outgoing, Producer};
use crate::campaign::report::{CampaignReport, Format, Subject};
use crate::config::EMBEDDED;
use crate::domain::{ControlAct, EntityId, Origin, Post, SourcePartition, Timestamp};
use crate::model::Scored;
use crate::notify::{Endpoint, Facts, Notifier, sample};
use crate::pipeline::{Encoder, Reader, Reading, Receipt, ScoreLine};
use crate::web::{self, Problem, Report, ReportRequest, Submission, Web};
use axum::http::StatusCode;
use std::fmt::Display;
use std::io;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Serves the page and the API until `closing`. With the embedded broker nothing is taken after `shutdown`, because
/// nobody would read it.
///
/// # Errors
/// What ended the serving before it was told to end.
pub(super) async fn serve(
    listener: TcpListener,
    parts: Arc<Parts>,
    joining: Vec<(Role, Lag)>,
    closing: CancellationToken,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let Some(store) = parts.store.clone() else {
        return Ok(());
    };
    // SCORE reads the embedded broker to the end that it saw when the drain began, and no further.
    let ending = (parts.config.kafka.brokers == EMBEDDED).then_some(shutdown);
    let matcher = parts.matcher.clone();
    let metrics = parts.metrics.clone();
    let health = parts.health.clone();
    let scoring = parts.scoring.clone();
    let web = Web {
        store,
        entities: Arc::new(move |id| matcher.entity(id).cloned()),
        campaigns: parts.config.campaigns.clone(),
        topics: parts.config.topics.clone(),
        max_text_bytes: parts.config.score.max_text_bytes,
        config: parts.config.api.clone(),
        tokens: parts.config.tokens.clone(),
        score: scoring.map(|(reader, encoder)| -> web::Call<_, _> {
            Arc::new(move |posts| Box::pin(score(reader.clone(), encoder.clone(), posts)))
        }),
        produce: to_the_end(with(&parts, produce), ending.clone()),
        control: to_the_end(with(&parts, control), ending),
        board: parts.board.clone(),
        test: with(&parts, test),
        max_silence: parts.config.notify.max_silence,
        report: with(&parts, report),
        metrics: Arc::new(move || metrics.render()),
        ready: Arc::new(move || {
            let absent = joining.iter().filter(|(_, lag)| !lag.has_joined());
            absent
                .map(|(role, _)| format!("role {role} has not joined its consumer group yet"))
                .chain(health.problems())
                .collect()
        }),
    };
    web::serve(listener, web, closing).await
}

/// Runs a call that writes in a task of its own, which goes on when the request is dropped (its client has gone, its
/// time is up): what the writer has begun must be acknowledged, or its room in the embedded broker never comes back.
/// Refused once `ending` is cancelled; what was still under way then is refused too, as it may come too late.
fn to_the_end<A, B>(call: web::Call<A, B>, ending: Option<CancellationToken>) -> web::Call<A, B>
where
    A: 'static,
    B: Send + 'static,
{
    let refused = move || match &ending {
        Some(ending) if ending.is_cancelled() => Err(Problem::unavailable(
            "squall is ending: send it again after the next start",
        )),
        _ => Ok(()),
    };
    Arc::new(move |argument| {
        let refused = refused.clone();
        if let Err(problem) = refused() {
            return Box::pin(std::future::ready(Err(problem)));
        }
        let work = tokio::spawn(call(argument));
        Box::pin(async move {
            let answer = work.await.map_err(|error| failed(&error))?;
            refused()?;
            answer
        })
    })
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
            first_origin: None,
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
    let texts = readings.iter().map(|reading| reading.texts().to_vec());
    let scored = encoder
        .score_all(texts.collect())
        .await
        .map_err(|error| failed(&error))?;
    let line = |(reading, scored): (Reading, Vec<Scored>)| {
        let post = reading.finish(&scored, encoder.model(), Timestamp::now());
        serde_json::to_value(ScoreLine::of(&post)).map_err(|error| failed(&error))
    };
    readings.into_iter().zip(scored).map(line).collect()
}

/// Writes posts to their topic and waits until the broker has them.
async fn produce(parts: Arc<Parts>, submission: Submission) -> Result<Vec<Origin>, Problem> {
    let topic: Arc<str> = submission.topic.into();
    let records = submission.posts.into_iter().map(|payload| Outgoing {
        topic: topic.clone(),
        partition: None,
        key: Vec::new(),
        payload,
        headers: Vec::new(),
        timestamp: None,
    });
    let written = write(&parts.intake, records).await?;
    let origin = |(partition, offset)| Origin {
        source: SourcePartition {
            epoch: parts.emitter.epoch.clone(),
            topic: topic.clone(),
            partition,
        },
        offset,
    };
    Ok(written.into_iter().map(origin).collect())
}

async fn control(parts: Arc<Parts>, act: ControlAct) -> Result<(), Problem> {
    write(&parts.intake, [parts.emitter.control(&act)]).await?;
    Ok(())
}

/// Writes records and waits for every one that was begun, also where another has failed.
async fn write(
    producer: &Producer,
    records: impl IntoIterator<Item = Outgoing>,
) -> Result<Vec<(i32, i64)>, Problem> {
    let mut begun = Vec::new();
    let mut refused = None;
    for record in records {
        match producer.send(record).await {
            Ok(acknowledged) => begun.push(acknowledged),
            Err(error) => {
                refused = Some(error);
                break;
            }
        }
    }
    let written: Result<Vec<_>, BrokerError> =
        futures::future::join_all(begun).await.into_iter().collect();
    match refused {
        Some(error) => Err(away(&error)),
        None => written.map_err(|error| away(&error)),
    }
}

/// Sends a sample to an endpoint, once.
async fn test(parts: Arc<Parts>, endpoint: String) -> Result<String, Problem> {
    let Some(found) = parts.notifier.endpoint(&endpoint) else {
        return Err(Problem::not_found(format!(
            "there is no endpoint '{endpoint}'"
        )));
    };
    let matcher = parts.matcher.clone();
    let name = move |id: &EntityId| matcher.entity(id).map(|entity| entity.name.clone());
    Ok(send_sample(&parts.notifier, found, &name, &parts.link_base).await)
}

/// Sends a sample and says what went wrong; nothing where it was taken.
pub async fn send_sample(
    notifier: &Notifier,
    endpoint: &Endpoint,
    entity_name: &(dyn Fn(&EntityId) -> Option<String> + Send + Sync),
    link_base: &str,
) -> String {
    if endpoint.topic().is_some() {
        return "a topic is not tested: look at what comes there".into();
    }
    let facts = Facts {
        entity_name,
        link_base,
    };
    let sample = sample(Timestamp::now());
    match endpoint.write(&sample, facts) {
        Ok(body) => {
            // The last of the attempts: no other follows.
            let id = sample.id();
            notifier.attempt(endpoint, &id, &body, u32::MAX).await.error
        }
        Err(problem) => problem,
    }
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
    let subject = Subject::new(
        request.campaign,
        &parts.config.campaigns,
        Some(request.from),
        Some(request.to),
        Timestamp::now(),
    );
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

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::{Semaphore, mpsc};

    /// A call that waits for a permit, and says when it has ended.
    fn call(gate: &Arc<Semaphore>, done: mpsc::UnboundedSender<()>) -> web::Call<(), ()> {
        let gate = gate.clone();
        Arc::new(move |()| {
            let (gate, done) = (gate.clone(), done.clone());
            Box::pin(async move {
                gate.acquire()
                    .await
                    .map_err(|error| failed(&error))?
                    .forget();
                let _ = done.send(());
                Ok(())
            })
        })
    }

    #[tokio::test]
    async fn what_was_begun_is_ended_although_the_request_is_dropped() {
        let gate = Arc::new(Semaphore::new(0));
        let (done, mut ended) = mpsc::unbounded_channel();
        let request = to_the_end(call(&gate, done), None)(());
        drop(request);
        gate.add_permits(1);
        assert_eq!(ended.recv().await, Some(()));
    }

    #[tokio::test]
    async fn nothing_is_taken_by_a_service_that_ends() {
        let gate = Arc::new(Semaphore::new(1));
        let (done, _ended) = mpsc::unbounded_channel();
        let ending = CancellationToken::new();
        let produce = to_the_end(call(&gate, done), Some(ending.clone()));
        produce(()).await.unwrap();
        let under_way = produce(());
        ending.cancel();
        gate.add_permits(2);
        for answer in [under_way.await, produce(()).await] {
            let problem = answer.unwrap_err();
            assert_eq!(problem.status, StatusCode::SERVICE_UNAVAILABLE);
            assert!(problem.detail.contains("squall is ending"));
        }
    }
}
