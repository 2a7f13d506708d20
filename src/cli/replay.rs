//! `squall replay`.

use crate::broker::{Acknowledged, BrokerError, Connection, Outgoing, Producer};
use crate::config::Config;
use crate::connect::{Line, Lines, Pace};
use crate::domain::Post;
use anyhow::bail;
use indicatif::{ProgressBar, ProgressStyle};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Acknowledgements that may be under way.
const IN_FLIGHT: usize = 4096;

/// Send posts from a file into a topic, as they are: malformed lines too, which squall then puts into the
/// dead letters.
#[derive(Debug, clap::Args)]
pub(super) struct Replay {
    /// JSON Lines file of posts; `-` is standard input
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Topic to send to, one of the configured
    #[arg(long, value_name = "TOPIC")]
    topic: String,
    /// Posts a second
    #[arg(long, value_name = "N", conflicts_with = "speed", allow_negative_numbers = true, value_parser = rate)]
    rate: Option<Pace>,
    /// So many times as fast as they were published
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = speed)]
    speed: Option<Pace>,
}

/// Longest line sent: Kafka's default limit of a record is 1 MB. Of a longer one the beginning is sent,
/// which is no post, and so stands in the dead letters.
const MAX_LINE_BYTES: usize = 900_000;

/// Sends every line; returns when the broker has them all.
pub(super) async fn run(args: Replay, config: Config) -> anyhow::Result<()> {
    let mut pace = args.rate.or(args.speed);
    let lines = Lines::open(&args.input, MAX_LINE_BYTES)?;
    let connection = tokio::task::spawn_blocking(move || Connection::open(&config)).await??;
    if connection.partitions(&args.topic) == 0 {
        bail!(
            "--topic: the broker has no topic '{}': start `squall run` with it under [[topics]], or create it",
            args.topic
        );
    }
    let producer = Producer::new(&connection)?;
    let size = std::fs::metadata(&args.input).map_or(0, |metadata| metadata.len());
    let bar = progress(size);
    let topic: Arc<str> = args.topic.as_str().into();

    let (sender, mut read) = mpsc::channel(256);
    tokio::task::spawn_blocking(move || read_lines(lines, &sender));
    let (to_acknowledge, mut acknowledged) = mpsc::channel::<Acknowledged>(IN_FLIGHT);
    let counting = tokio::spawn(async move {
        let mut sent = 0u64;
        while let Some(acknowledged) = acknowledged.recv().await {
            acknowledged.await?;
            sent += 1;
        }
        Ok::<_, BrokerError>(sent)
    });
    let begun = Instant::now();
    while let Some(line) = read.recv().await {
        let (line, bytes): (Line, u64) = line?;
        if line.cut {
            tracing::warn!(
                "{} line {}: longer than {MAX_LINE_BYTES} bytes: only its beginning is sent",
                args.input.display(),
                line.number
            );
        }
        if let Some(pace) = &mut pace {
            let published_at = Post::decode(&line.bytes, usize::MAX)
                .ok()
                .and_then(|post| post.published_at);
            tokio::time::sleep(pace.wait(published_at, begun.elapsed())).await;
        }
        let record = Outgoing {
            topic: topic.clone(),
            partition: None,
            key: Vec::new(),
            payload: line.bytes,
            headers: Vec::new(),
            timestamp: None,
        };
        if to_acknowledge
            .send(producer.send(record).await?)
            .await
            .is_err()
        {
            break;
        }
        bar.set_position(bytes);
    }
    drop(to_acknowledge);
    let sent = counting.await??;
    bar.finish_and_clear();
    let seconds = begun.elapsed().max(Duration::from_millis(1)).as_secs_f64();
    tracing::info!(
        "{sent} lines sent to {} in {seconds:.1} s ({:.0} a second)",
        args.topic,
        sent as f64 / seconds
    );
    Ok(())
}

fn rate(text: &str) -> Result<Pace, String> {
    Pace::rate(number(text)?)
}

fn speed(text: &str) -> Result<Pace, String> {
    Pace::speed(number(text)?)
}

fn number(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| format!("'{text}' is no number"))
}

fn read_lines(mut lines: Lines, sender: &mpsc::Sender<anyhow::Result<(Line, u64)>>) {
    while let Some(line) = lines.next() {
        let line = line
            .map(|line| (line, lines.bytes_read()))
            .map_err(anyhow::Error::new);
        if sender.blocking_send(line).is_err() {
            break;
        }
    }
}

/// A bar on a terminal, by bytes of the file; a spinner for standard input.
fn progress(size: u64) -> ProgressBar {
    let style = "{bar:40} {bytes}/{total_bytes} {eta}";
    let bar = if size == 0 {
        ProgressBar::new_spinner()
    } else {
        ProgressBar::new(size)
    };
    match ProgressStyle::with_template(style) {
        Ok(style) if size > 0 => bar.with_style(style),
        _ => bar,
    }
}
