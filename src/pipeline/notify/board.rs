//! What NOTIFY shows of itself when it is asked: pending and held deliveries, silences, endpoints.

use super::outbox::Outbox;
use super::rules::KeptSilence;
use super::standings::Standing;
use crate::domain::Timestamp;
use serde::Serialize;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Questions that wait for an answer.
const CAPACITY: usize = 16;

/// Asks NOTIFY, where it runs in this process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Board(mpsc::Sender<Question>);

/// The other end.
#[derive(Debug)]
pub struct Questions(mpsc::Receiver<Question>);

type Question = (usize, oneshot::Sender<View>);

/// What stands in the outbox.
#[derive(Debug, Default, Serialize)]
pub struct View {
    /// Deliveries that have not ended.
    pub pending: usize,
    /// The first of them, in the order in which their messages came.
    pub deliveries: Vec<PendingDelivery>,
    /// Silences that have not ended.
    pub silences: Vec<KeptSilence>,
    /// All endpoints.
    pub endpoints: Vec<EndpointView>,
}

/// A delivery that has not ended.
#[derive(Debug, Serialize)]
pub struct PendingDelivery {
    /// The receiver's `webhook-id`.
    pub message_id: Arc<str>,
    /// The alert.
    pub alert_id: Arc<str>,
    /// The endpoint.
    pub endpoint: Arc<str>,
    /// `pending`, or `held`: nothing was attempted, because of quiet hours.
    pub state: &'static str,
    /// Attempts that have failed.
    pub attempts: u32,
    /// When the next may be made.
    pub due: Timestamp,
    /// When the first was made.
    pub first_attempt_at: Option<Timestamp>,
    /// When the message came.
    pub accepted_at: Timestamp,
}

/// How an endpoint is doing.
#[derive(Debug, Serialize)]
pub struct EndpointView {
    /// Its name.
    pub name: Arc<str>,
    /// Since when it fails, and whether it is disabled.
    #[serde(flatten)]
    pub standing: Standing,
    /// What to do, where it is disabled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// Makes a pair.
pub fn board() -> (Board, Questions) {
    let (sender, receiver) = mpsc::channel(CAPACITY);
    (Board(sender), Questions(receiver))
}

impl Board {
    /// What stands in the outbox, with at most `most` deliveries; none when NOTIFY has ended, or has no partition.
    pub async fn ask(&self, most: usize) -> Option<View> {
        let (sender, receiver) = oneshot::channel();
        self.0.send((most, sender)).await.ok()?;
        receiver.await.ok()
    }
}

impl Questions {
    /// The next question; waits for ever when nobody can ask.
    pub(crate) async fn next(&mut self) -> Question {
        match self.0.recv().await {
            Some(question) => question,
            None => std::future::pending().await,
        }
    }
}

/// Answers a question from the outbox.
pub(super) fn view(outbox: &Outbox, most: usize, now: Timestamp) -> View {
    View {
        pending: outbox.pending(),
        deliveries: outbox.pending_deliveries(now).take(most).collect(),
        silences: outbox
            .silences()
            .filter(|kept| kept.silence.until > now)
            .cloned()
            .collect(),
        endpoints: outbox
            .standings()
            .map(|(name, standing)| EndpointView {
                name: name.clone(),
                standing: standing.clone(),
                remedy: standing.disabled.as_ref().map(|one| one.remedy(name)),
            })
            .collect(),
    }
}
