//! The encoder with a model that is none.

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

fn bounds(tokens: usize) -> Bounds {
    Bounds {
        tokens,
        linger: Duration::from_millis(1),
        cache: 0,
    }
}

fn submit_all(
    works: Vec<Vec<u32>>,
    batch_tokens: usize,
) -> (Vec<Result<Vec<f32>, String>>, Vec<usize>) {
    let (queue, receiver) = lanes(works.len());
    let (sender, results) = channel();
    let count = works.len();
    for (index, work) in works.into_iter().enumerate() {
        let texts = work
            .into_iter()
            .map(|first| Passage::from(Tokens(vec![first; 10])))
            .collect();
        let sender = sender.clone();
        let reply: Reply = Box::new(move |result| sender.send((index, result)).unwrap());
        assert!(queue.send(Work { texts, reply }, false).is_ok());
    }
    drop(queue);
    let sizes = Mutex::new(Vec::new());
    let classify = |texts: &[Passage]| {
        sizes.lock().unwrap().push(texts.len());
        fake(texts)
    };
    run(&receiver, bounds(batch_tokens), classify, &Metrics::new());
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
    let (queue, receiver) = lanes(200);
    let (sender, replies) = channel();
    let submit = |first: u32| {
        let sender = sender.clone();
        let work = Work {
            texts: vec![Passage::from(Tokens(vec![first]))],
            reply: Box::new(move |result| sender.send(result.is_ok()).unwrap()),
        };
        assert!(queue.send(work, false).is_ok());
    };
    // A good one in between begins the count anew.
    (0..40).for_each(|_| submit(0));
    submit(1);
    (0..60).for_each(|_| submit(0));
    drop(queue);
    run(&receiver, bounds(8), fake, &Metrics::new());
    drop((receiver, sender));
    let replies: Vec<bool> = replies.iter().collect();
    assert_eq!(replies.len(), 40 + 1 + FAILED_IN_A_ROW - 1);
}

#[test]
fn work_for_an_encoder_that_has_ended_is_refused() {
    let (queue, receiver) = lanes(1);
    drop(receiver);
    let encoder = Encoder {
        queue,
        model: "fake".into(),
    };
    let refused = encoder.submit(Vec::new(), false, Box::new(|_| panic!("nobody answers")));
    assert_eq!(refused, Err(EncoderEnded));
}

/// With one blocking thread for everything, and room for one work in the queue.
#[test]
fn many_posts_take_one_blocking_thread() {
    let (queue, receiver) = lanes(1);
    let encoder = Encoder {
        queue,
        model: "fake".into(),
    };
    let posts: Vec<Vec<Passage>> = (1..=300)
        .map(|n| vec![Passage::from(Tokens(vec![n; 10]))])
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
            run(&receiver, bounds(64), fake, &Metrics::new());
        });
        let scored = scoring.await.unwrap().unwrap();
        assert_eq!(scored.len(), 300);
        assert_eq!(scored[299][0].document.negative, 300.0);
        running.join().unwrap();
    });
}

#[test]
fn one_bad_text_among_many_costs_few_calls() {
    let mut works: Vec<Vec<u32>> = (1..=64).map(|first| vec![first]).collect();
    works[37] = vec![0];
    let (replies, calls) = submit_all(works, 1000);
    let bad = |index: &usize| replies[*index].is_err();
    assert_eq!((0..64).filter(bad).collect::<Vec<_>>(), [37]);
    assert_eq!(replies[38], Ok(vec![39.0]));
    // All, then halves of 32, 16, 8, 4, 2 and 1.
    assert_eq!(calls.len(), 1 + 2 * 6);
}

#[test]
fn texts_that_came_before_are_counted_and_not_computed() {
    let (queue, receiver) = lanes(10);
    for first in [5, 6, 5] {
        let work = Work {
            texts: vec![Passage::from(Tokens(vec![first; 10]))],
            reply: Box::new(move |result| {
                assert_eq!(result.unwrap()[0].document.negative, first as f32)
            }),
        };
        assert!(queue.send(work, false).is_ok());
    }
    drop(queue);
    let metrics = Metrics::new();
    let bounds = Bounds {
        cache: 1 << 20,
        ..bounds(10)
    };
    let computed = Mutex::new(0);
    let classify = |texts: &[Passage]| {
        *computed.lock().unwrap() += texts.len();
        fake(texts)
    };
    run(&receiver, bounds, classify, &metrics);
    assert_eq!(computed.into_inner().unwrap(), 2);
    let text = metrics.render();
    assert!(
        text.contains("squall_cache_lookups_total{outcome=\"hit\"} 1"),
        "{text}"
    );
    assert!(
        text.contains("squall_cache_lookups_total{outcome=\"miss\"} 2"),
        "{text}"
    );
}
