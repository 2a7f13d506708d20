//! One attempt at a delivery, and how it ended.

use super::Notify;
use super::outbox::Job;
use super::standings::Answer;
use crate::broker::{BrokerError, Outgoing};
use crate::domain::{Delivery, Outcome, Timestamp};
use crate::faults;
use crate::notify::{Attempt, Endpoint, Facts, Next, Notice};
use crate::pipeline::emit::send_and_wait;
use tokio_util::sync::CancellationToken;

/// What an attempt leaves to be saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Attempted {
    /// The delivery has ended, and its outcome is written.
    Ended(Answer),
    /// The delivery is to be attempted again.
    Failed {
        first_attempt_at: Timestamp,
        due: Timestamp,
        answer: Answer,
    },
    /// Nothing: it was given up, or its result is no longer ours to write. It will be attempted again.
    Dropped,
}

impl Notify {
    /// Attempts a delivery; where it ends with that, writes its outcome, if `holds` still says so. `give_up` cuts
    /// off an attempt that has no answer yet.
    ///
    /// # Errors
    /// When the outcome cannot be written, for good.
    pub(super) async fn attempt(
        &self,
        job: &Job,
        holds: impl Fn() -> bool,
        give_up: &CancellationToken,
    ) -> Result<Attempted, BrokerError> {
        let Ok(notice) = Notice::read(job.alert.get()) else {
            // It was read once: it can be read again.
            return Ok(Attempted::Dropped);
        };
        let begun = Timestamp::now();
        let mut delivery = Delivery {
            message_id: notice.id(),
            alert_id: notice.subject(),
            endpoint: job.key.endpoint.to_string(),
            outcome: Outcome::Gone,
            attempts: job.attempts,
            status: None,
            error: String::new(),
            first_attempt_at: job.first_attempt_at.unwrap_or(begun),
            ended_at: begun,
        };
        let mut answer = Answer::Untried;
        match (&job.verdict, self.notifier.endpoint(&job.key.endpoint)) {
            (Some(verdict), _) => {
                delivery.outcome = verdict.outcome;
                delivery.error = verdict.reason.clone();
            }
            (None, None) => delivery.error = "the endpoint is no longer configured".into(),
            (None, Some(endpoint)) => {
                faults::reach("notify.sending");
                let attempt = self.send(endpoint, &notice, job.attempts);
                let Some(Attempt {
                    status,
                    error,
                    next,
                }) = give_up.run_until_cancelled(attempt).await
                else {
                    return Ok(Attempted::Dropped);
                };
                let now = Timestamp::now();
                delivery.attempts += 1;
                delivery.outcome = match next {
                    Next::End(outcome) => outcome,
                    Next::Again(wait) => {
                        tracing::debug!(
                            endpoint = endpoint.name(),
                            place = endpoint.place(),
                            message = delivery.message_id,
                            attempt = delivery.attempts,
                            error,
                            "attempt failed, the next follows in {wait:.1?}"
                        );
                        return Ok(Attempted::Failed {
                            first_attempt_at: delivery.first_attempt_at,
                            due: now + wait,
                            answer: Answer::Failed(error),
                        });
                    }
                };
                answer = match delivery.outcome {
                    Outcome::Delivered => Answer::Well,
                    Outcome::Gone => Answer::Gone(error.clone()),
                    Outcome::Unwritable => Answer::Untried,
                    _ => Answer::Failed(error.clone()),
                };
                delivery.status = status;
                delivery.error = error;
                delivery.ended_at = now;
            }
        }
        if delivery.outcome == Outcome::Delivered {
            faults::reach("notify.delivered");
        }
        if !holds() {
            return Ok(Attempted::Dropped);
        }
        send_and_wait(&self.producer, vec![self.emitter.delivery(&delivery)]).await?;
        self.count(&delivery, &notice);
        faults::reach("notify.written");
        Ok(Attempted::Ended(answer))
    }

    /// Writes a notice for an endpoint and sends it once.
    pub(super) async fn send(&self, endpoint: &Endpoint, notice: &Notice, before: u32) -> Attempt {
        let facts = Facts {
            entity_name: &*self.entity_name,
            link_base: &self.link_base,
        };
        let body = match endpoint.write(notice, facts) {
            Ok(body) => body,
            // The same notice fails again each time: to try again is no use.
            Err(problem) => {
                return Attempt {
                    status: None,
                    error: format!("the message could not be written: {problem}"),
                    next: Next::End(Outcome::Unwritable),
                };
            }
        };
        let id = notice.id();
        let Some(topic) = endpoint.topic() else {
            return self.notifier.attempt(endpoint, &id, &body, before).await;
        };
        match self.produce(endpoint, topic, notice, body).await {
            Ok(()) => Attempt::delivered(None),
            Err(error) => Attempt {
                status: None,
                error: error.to_string(),
                next: self.notifier.after_failure(before, None),
            },
        }
    }

    /// Writes a notice to a topic, keyed by what it is about, with the headers of a webhook.
    async fn produce(
        &self,
        endpoint: &Endpoint,
        topic: &str,
        notice: &Notice,
        body: Vec<u8>,
    ) -> Result<(), BrokerError> {
        let seconds = Timestamp::now().millis().div_euclid(1000);
        let headers = endpoint.headers(&notice.id(), seconds, &body).into_iter();
        let record = Outgoing {
            topic: topic.into(),
            partition: None,
            key: notice.subject().into_bytes(),
            headers: headers
                .map(|(name, value)| (name.to_owned(), value.into_bytes()))
                .collect(),
            payload: body,
            timestamp: None,
        };
        self.outside.send(record).await?.await.map(drop)
    }

    fn count(&self, delivery: &Delivery, notice: &Notice) {
        let (endpoint, outcome) = (&delivery.endpoint, delivery.outcome);
        let labels = [endpoint.as_str(), outcome.name()];
        self.metrics.deliveries.with(labels).inc();
        if outcome.is_failure() {
            tracing::warn!(
                endpoint,
                message = delivery.message_id,
                attempts = delivery.attempts,
                error = delivery.error,
                "alert not delivered: {}",
                outcome.name()
            );
        } else if outcome == Outcome::Delivered
            && let Notice::Alert(message) = notice
            && let Some(received) = message.received_at
        {
            let seconds = delivery.ended_at.since(received).as_secs_f64();
            self.metrics.alert_seconds.observe(seconds);
        }
    }
}
