//! The encoder's own thread and the queue before it. The queue knows nothing of posts: work is a few
//! tokenised texts and what to do with their sentiments. A batch is closed when it is full of tokens or
//! its oldest work has waited long enough; while one batch runs, the next fills. Urgent work goes first. Texts that came
//! before are not computed again.
//!
//! When the thread ends, replies of work that still waits are dropped uncalled: whoever needs an answer must see
//! to it that the drop of a reply is noticed.

mod lanes;

use crate::config::ScoreConfig;
use crate::model::{Cache, Model, ModelError, Passage, Scored};
use crate::telemetry::Metrics;
use lanes::{Receiver, Sender, lanes};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What becomes of a work's sentiments: one for each text, or why there are none.
pub type Reply = Box<dyn FnOnce(Result<Vec<Scored>, String>) + Send>;

/// So many works in a row that failed each by itself, and it is not they that are bad: the encoder ends, so
/// that a model that fails does not turn the whole stream into dead letters.
const FAILED_IN_A_ROW: usize = 50;

/// The encoder's thread has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the encoder has ended: the log says why")]
pub struct EncoderEnded;

struct Work {
    texts: Vec<Passage>,
    reply: Reply,
}

/// Hands texts to the encoder. Cheap to clone; the thread ends when all are gone.
#[derive(Clone)]
pub struct Encoder {
    queue: Sender<Work>,
    model: Arc<str>,
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder")
            .field("model", &self.model)
            .finish_non_exhaustive()
    }
}

impl Encoder {
    /// Starts the thread. A batch has `batch_tokens` at most (a single longer work still runs), work waits `batch_linger` for company, and
    /// `cache_bytes` are taken for the sentiments of texts that may come again. In each lane there is room for `queue` works.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(
        model: Model,
        config: &ScoreConfig,
        queue: usize,
        metrics: Metrics,
    ) -> std::io::Result<Self> {
        let (sender, receiver) = lanes(queue);
        let name: Arc<str> = model.name().into();
        let bounds = Bounds {
            tokens: config.batch_tokens,
            linger: config.batch_linger,
            cache: config.cache_bytes,
        };
        std::thread::Builder::new()
            .name("encoder".into())
            .spawn(move || {
                let classify = |texts: &[Passage]| model.score(texts);
                run(&receiver, bounds, classify, &metrics);
            })?;
        Ok(Self {
            queue: sender,
            model: name,
        })
    }

    /// Name of the model.
    pub fn model(&self) -> &Arc<str> {
        &self.model
    }

    /// Queues work. Blocks while its lane is full.
    ///
    /// # Errors
    /// When the encoder has ended; the reply is then dropped.
    pub fn submit(
        &self,
        texts: Vec<Passage>,
        urgent: bool,
        reply: Reply,
    ) -> Result<(), EncoderEnded> {
        self.queue
            .send(Work { texts, reply }, urgent)
            .map_err(|_| EncoderEnded)
    }

    /// Scores the texts of several posts, urgently, and waits for their sentiments. One blocking thread waits for room in the
    /// queue, however many posts there are.
    ///
    /// # Errors
    /// What the model says is wrong with the first bad ones.
    pub async fn score_all(&self, posts: Vec<Vec<Passage>>) -> Result<Vec<Vec<Scored>>, String> {
        let encoder = self.clone();
        let submit = move || {
            let submit_one = |texts| {
                let (sender, receiver) = tokio::sync::oneshot::channel();
                let reply: Reply = Box::new(|result| drop(sender.send(result)));
                encoder.submit(texts, true, reply).map(|()| receiver)
            };
            posts
                .into_iter()
                .map(submit_one)
                .collect::<Result<Vec<_>, _>>()
        };
        let submitted = tokio::task::spawn_blocking(submit)
            .await
            .map_err(|error| error.to_string())?
            .map_err(|error| error.to_string())?;
        let mut all = Vec::with_capacity(submitted.len());
        for reply in submitted {
            all.push(
                reply
                    .await
                    .unwrap_or_else(|_| Err(EncoderEnded.to_string()))?,
            );
        }
        Ok(all)
    }
}

/// What a batch and the cache may take.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    tokens: usize,
    linger: Duration,
    cache: usize,
}

fn run(
    queue: &Receiver<Work>,
    bounds: Bounds,
    classify: impl Fn(&[Passage]) -> Result<Vec<Scored>, ModelError>,
    metrics: &Metrics,
) {
    let mut cache = Cache::new(bounds.cache);
    let mut classify = |texts: &[Passage]| {
        let computed = |texts: &[Passage]| guarded(&classify, texts, metrics);
        let (scored, lookups) = cache.score(texts, computed)?;
        metrics.count_cache(lookups.hits, lookups.misses);
        Ok(scored)
    };
    let mut failed = 0;
    while let Some(batch) = gather(queue, bounds) {
        if !settle(batch, &mut classify, &mut failed) {
            return;
        }
    }
}

/// Scores works and answers them. One bad text must not take its neighbours with it: works that fail together are halved until
/// the bad ones are alone. False when so many failed by themselves that it is the model that is bad.
fn settle(
    mut works: Vec<Work>,
    classify: &mut impl FnMut(&[Passage]) -> Result<Vec<Scored>, String>,
    failed: &mut usize,
) -> bool {
    let texts: Vec<Passage> = works
        .iter()
        .flat_map(|work| work.texts.iter().cloned())
        .collect();
    match classify(&texts) {
        Ok(scored) => {
            *failed = 0;
            let mut scored = scored.into_iter();
            for work in works {
                let own = scored.by_ref().take(work.texts.len()).collect();
                (work.reply)(Ok(own));
            }
            true
        }
        Err(_) if works.len() > 1 => {
            let rest = works.split_off(works.len() / 2);
            settle(works, classify, failed) && settle(rest, classify, failed)
        }
        Err(problem) => {
            *failed += 1;
            if *failed == FAILED_IN_A_ROW {
                tracing::error!(%problem, "the encoder ends: {failed} texts in a row could not be scored");
                return false;
            }
            for work in works {
                (work.reply)(Err(problem.clone()));
            }
            true
        }
    }
}

/// What the model says; a panic of it, or of the threads it computes on, is an error of these texts.
fn guarded(
    classify: impl Fn(&[Passage]) -> Result<Vec<Scored>, ModelError>,
    texts: &[Passage],
    metrics: &Metrics,
) -> Result<Vec<Scored>, String> {
    let tokens: usize = texts.iter().map(|text| text.tokens.len()).sum();
    metrics.batch_tokens.observe(tokens as f64);
    let begun = Instant::now();
    let result = catch_unwind(AssertUnwindSafe(|| classify(texts)));
    metrics
        .inference_seconds
        .observe(begun.elapsed().as_secs_f64());
    match result {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(panic) => Err(format!("the model panicked: {}", message(&*panic))),
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
}

/// The next batch; none when nobody can send any more.
fn gather(queue: &Receiver<Work>, bounds: Bounds) -> Option<Vec<Work>> {
    let tokens = |work: &Work| {
        work.texts
            .iter()
            .map(|text| text.tokens.len())
            .sum::<usize>()
    };
    let first = queue.first()?;
    let close_at = Instant::now() + bounds.linger;
    let mut total = tokens(&first);
    let mut batch = vec![first];
    while total < bounds.tokens
        && let Some(work) = queue.next(close_at, |work| total + tokens(work) <= bounds.tokens)
    {
        total += tokens(&work);
        batch.push(work);
    }
    Some(batch)
}

#[cfg(test)]
mod tests;
