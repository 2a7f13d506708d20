//! The encoder's own thread and the queue before it. The queue knows nothing of posts: work is a few
//! tokenised texts and what to do with their sentiments. A batch is closed when it is full of tokens or
//! its oldest work has waited long enough; while one batch runs, the next fills.
//!
//! When the thread ends, replies of work that still waits are dropped uncalled: whoever needs an answer must see
//! to it that the drop of a reply is noticed.

use crate::model::{Model, ModelError, Passage, Scored};
use crate::telemetry::Metrics;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
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
    queue: SyncSender<Work>,
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
    /// Starts the thread. `batch_tokens` bounds a batch (a single longer work still runs), `linger` how long
    /// work waits for company, `queue` how much work may wait.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(
        model: Model,
        batch_tokens: usize,
        linger: Duration,
        queue: usize,
        metrics: Metrics,
    ) -> std::io::Result<Self> {
        let (sender, receiver) = sync_channel(queue);
        let name: Arc<str> = model.name().into();
        std::thread::Builder::new()
            .name("encoder".into())
            .spawn(move || {
                let classify = |texts: &[Passage]| model.score(texts);
                run(&receiver, batch_tokens, linger, classify, &metrics);
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

    /// Queues work. Blocks while the queue is full.
    ///
    /// # Errors
    /// When the encoder has ended; the reply is then dropped.
    pub fn submit(&self, texts: Vec<Passage>, reply: Reply) -> Result<(), EncoderEnded> {
        self.queue
            .send(Work { texts, reply })
            .map_err(|_| EncoderEnded)
    }

    /// Scores the texts of several posts and waits for their sentiments. One blocking thread waits for room in the
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
                encoder.submit(texts, reply).map(|()| receiver)
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

fn run(
    queue: &Receiver<Work>,
    batch_tokens: usize,
    linger: Duration,
    classify: impl Fn(&[Passage]) -> Result<Vec<Scored>, ModelError>,
    metrics: &Metrics,
) {
    let classify = |texts: &[Passage]| guarded(&classify, texts);
    let mut failed = 0;
    let mut next = None;
    while let Some(batch) = gather(queue, batch_tokens, linger, &mut next) {
        let texts: Vec<Passage> = batch
            .iter()
            .flat_map(|work| work.texts.iter().cloned())
            .collect();
        metrics
            .batch_tokens
            .observe(texts.iter().map(|text| text.tokens.len()).sum::<usize>() as f64);
        let begun = Instant::now();
        let result = classify(&texts);
        metrics
            .inference_seconds
            .observe(begun.elapsed().as_secs_f64());
        match result {
            Ok(sentiments) => {
                failed = 0;
                let mut sentiments = sentiments.into_iter();
                for work in batch {
                    let own = sentiments.by_ref().take(work.texts.len()).collect();
                    (work.reply)(Ok(own));
                }
            }
            // One bad text must not take its neighbours with it.
            Err(_) => {
                for work in batch {
                    let own = classify(&work.texts);
                    failed = if own.is_ok() { 0 } else { failed + 1 };
                    if let (Err(problem), FAILED_IN_A_ROW) = (&own, failed) {
                        tracing::error!(%problem, "the encoder ends: {failed} texts in a row could not be scored");
                        return;
                    }
                    (work.reply)(own);
                }
            }
        }
    }
}

/// What the model says; a panic of it, or of the threads it computes on, is an error of these texts.
fn guarded(
    classify: impl Fn(&[Passage]) -> Result<Vec<Scored>, ModelError>,
    texts: &[Passage],
) -> Result<Vec<Scored>, String> {
    match catch_unwind(AssertUnwindSafe(|| classify(texts))) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(panic) => Err(format!("the model panicked: {}", message(&*panic))),
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
}

/// The next batch; none when nobody can send any more. Work that did not fit waits in `next`.
fn gather(
    queue: &Receiver<Work>,
    batch_tokens: usize,
    linger: Duration,
    next: &mut Option<Work>,
) -> Option<Vec<Work>> {
    let tokens = |work: &Work| {
        work.texts
            .iter()
            .map(|text| text.tokens.len())
            .sum::<usize>()
    };
    let first = next.take().or_else(|| queue.recv().ok())?;
    let close_at = Instant::now() + linger;
    let mut total = tokens(&first);
    let mut batch = vec![first];
    while total < batch_tokens {
        let left = close_at.saturating_duration_since(Instant::now());
        match queue.recv_timeout(left) {
            Ok(work) if total + tokens(&work) > batch_tokens => {
                *next = Some(work);
                break;
            }
            Ok(work) => {
                total += tokens(&work);
                batch.push(work);
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
        }
    }
    Some(batch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Sentiment;
    use crate::model::Tokens;
    use std::sync::Mutex;
    use std::sync::mpsc::channel;

    /// Sentiment that tells which text it belongs to; a text that begins with 0 is refused, one with 666 panics.
    fn fake(texts: &[Passage]) -> Result<Vec<Scored>, ModelError> {
        assert!(
            texts.iter().all(|text| text.tokens.0[0] != 666),
            "a bad number"
        );
        if texts.iter().any(|text| text.tokens.0[0] == 0) {
            return Err(ModelError::NotFinite {
                model: "fake".into(),
                text: 0,
                logits: [f32::NAN; 3],
            });
        }
        Ok(texts
            .iter()
            .map(|text| Scored {
                document: Sentiment {
                    negative: text.tokens.0[0] as f32,
                    neutral: 0.0,
                    positive: 0.0,
                },
                entities: Vec::new(),
            })
            .collect())
    }

    fn submit_all(
        works: Vec<Vec<u32>>,
        batch_tokens: usize,
    ) -> (Vec<Result<Vec<f32>, String>>, Vec<usize>) {
        let (queue, receiver) = sync_channel(works.len());
        let (sender, results) = channel();
        let count = works.len();
        for (index, work) in works.into_iter().enumerate() {
            let texts = work
                .into_iter()
                .map(|first| Passage::from(Tokens(vec![first; 10])))
                .collect();
            let sender = sender.clone();
            let reply: Reply = Box::new(move |result| sender.send((index, result)).unwrap());
            queue.send(Work { texts, reply }).unwrap();
        }
        drop(queue);
        let sizes = Mutex::new(Vec::new());
        let classify = |texts: &[Passage]| {
            sizes.lock().unwrap().push(texts.len());
            fake(texts)
        };
        run(
            &receiver,
            batch_tokens,
            Duration::from_millis(1),
            classify,
            &Metrics::new(),
        );
        drop(sender);
        let mut replies: Vec<_> = results.iter().collect();
        replies.sort_by_key(|(index, _)| *index);
        assert_eq!(replies.len(), count, "every work has exactly one reply");
        let replies = replies
            .into_iter()
            .map(|(_, result)| {
                result.map(|sentiments| sentiments.iter().map(|s| s.document.negative).collect())
            })
            .collect();
        (replies, sizes.into_inner().unwrap())
    }

    #[test]
    fn every_work_gets_its_own_sentiments_and_batches_are_bounded_by_tokens() {
        let (replies, sizes) = submit_all(
            vec![vec![1, 2], vec![3], vec![], vec![4, 5, 6], vec![7]],
            30,
        );
        assert_eq!(
            replies,
            [
                Ok(vec![1.0, 2.0]),
                Ok(vec![3.0]),
                Ok(vec![]),
                Ok(vec![4.0, 5.0, 6.0]),
                Ok(vec![7.0])
            ]
        );
        assert!(sizes.iter().all(|size| *size <= 3), "{sizes:?}");
    }

    #[test]
    fn a_bad_text_fails_alone() {
        let (replies, _) = submit_all(vec![vec![1], vec![0], vec![2]], 1000);
        assert_eq!(replies[0], Ok(vec![1.0]));
        assert!(replies[1].is_err());
        assert_eq!(replies[2], Ok(vec![2.0]));
    }

    #[test]
    fn a_panic_of_the_model_is_an_error_of_that_work_alone() {
        let (replies, _) = submit_all(vec![vec![1], vec![666], vec![2]], 1000);
        assert_eq!(replies[0], Ok(vec![1.0]));
        let error = replies[1].as_ref().unwrap_err();
        assert!(error.contains("a bad number"), "{error}");
        assert_eq!(replies[2], Ok(vec![2.0]));
    }

    #[test]
    fn a_model_that_fails_on_everything_ends_the_encoder() {
        let (queue, receiver) = sync_channel(200);
        let (sender, replies) = channel();
        let submit = |first: u32| {
            let sender = sender.clone();
            let work = Work {
                texts: vec![Tokens(vec![first]).into()],
                reply: Box::new(move |result| sender.send(result.is_ok()).unwrap()),
            };
            queue.send(work).unwrap();
        };
        // A good one in between begins the count anew.
        (0..40).for_each(|_| submit(0));
        submit(1);
        (0..60).for_each(|_| submit(0));
        drop(queue);
        run(&receiver, 8, Duration::ZERO, fake, &Metrics::new());
        drop((receiver, sender));
        let replies: Vec<bool> = replies.iter().collect();
        assert_eq!(replies.len(), 40 + 1 + FAILED_IN_A_ROW - 1);
    }

    #[test]
    fn work_for_an_encoder_that_has_ended_is_refused() {
        let (queue, receiver) = sync_channel(1);
        drop(receiver);
        let encoder = Encoder {
            queue,
            model: "fake".into(),
        };
        let refused = encoder.submit(Vec::new(), Box::new(|_| panic!("nobody answers")));
        assert_eq!(refused, Err(EncoderEnded));
    }

    /// With one blocking thread for everything, and room for one work in the queue.
    #[test]
    fn many_posts_take_one_blocking_thread() {
        let (queue, receiver) = sync_channel(1);
        let encoder = Encoder {
            queue,
            model: "fake".into(),
        };
        let posts: Vec<Vec<Passage>> = (1..=300)
            .map(|n| vec![Tokens(vec![n; 10]).into()])
            .collect();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .max_blocking_threads(2)
            .build()
            .unwrap();
        runtime.block_on(async {
            let scoring = tokio::spawn(async move { encoder.score_all(posts).await });
            tokio::task::yield_now().await;
            // Nothing is read from the queue yet, and still there is a thread for others.
            tokio::task::spawn_blocking(|| ()).await.unwrap();
            let running = std::thread::spawn(move || {
                run(&receiver, 64, Duration::ZERO, fake, &Metrics::new());
            });
            let scored = scoring.await.unwrap().unwrap();
            assert_eq!(scored.len(), 300);
            assert_eq!(scored[299][0].document.negative, 300.0);
            running.join().unwrap();
        });
    }
}
