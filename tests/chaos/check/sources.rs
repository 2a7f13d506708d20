//! Every record of the sources is a row of `posts` once or of `dead_letters` once. Read without FINAL.

use super::note;
use crate::kafka;
use crate::posts::Meant;
use crate::report::Outcome;
use crate::setup::PARTITIONS;
use crate::stage::Stage;
use squall::broker::topics;
use std::collections::{BTreeMap, BTreeSet};

type Offset = (String, i32, i64);

#[derive(Default)]
struct Rows {
    /// Id and entities of each row.
    posts: Vec<(String, BTreeSet<String>)>,
    dead_letters: usize,
}

pub(super) async fn check(stage: &mut Stage<'_>, outcome: &mut Outcome) -> anyhow::Result<()> {
    let database = stage.database;
    let mut rows: BTreeMap<Offset, Rows> = BTreeMap::new();
    let posts = "SELECT topic, partition, offset, id, \
        arrayStringConcat(arrayFilter(entity -> NOT startsWith(entity, 'sector:'), mention_entity), ',') FROM posts";
    for row in database.rows(posts).await? {
        let entities = row[4].split(',').filter(|entity| !entity.is_empty());
        let post = (row[3].clone(), entities.map(str::to_owned).collect());
        rows.entry(offset(&row)?).or_default().posts.push(post);
        outcome.posts += 1;
    }
    for row in database
        .rows("SELECT topic, partition, offset FROM dead_letters")
        .await?
    {
        rows.entry(offset(&row)?).or_default().dead_letters += 1;
        outcome.dead_letters += 1;
    }

    let written = stage.written().await?;
    outcome.sent = written.len();
    let mut wrong = Vec::new();
    for (place, meant) in written {
        let found = rows.remove(place).unwrap_or_default();
        let count = found.posts.len() + found.dead_letters;
        outcome.lost += usize::from(count == 0);
        outcome.doubled += usize::from(count > 1);
        if let Some(problem) = problem(place, meant, &found) {
            wrong.push(format!("{}:{}:{} {problem}", place.0, place.1, place.2));
        }
    }
    wrong.sort();
    wrong.extend(
        rows.into_keys()
            .map(|place| format!("{place:?} was never written")),
    );
    note("source records", wrong, outcome);

    let broker = stage.setup.broker.clone();
    let records = tokio::task::spawn_blocking(move || {
        let scored = kafka::read(&broker, topics::SCORED, PARTITIONS)?.0.len();
        let dead = kafka::read(&broker, topics::DEAD, PARTITIONS)?.0.len();
        Ok::<_, rdkafka::error::KafkaError>(scored + dead)
    });
    outcome.repeats = records.await??.saturating_sub(outcome.sent);
    Ok(())
}

fn problem((topic, partition, offset): &Offset, meant: &Meant, found: &Rows) -> Option<String> {
    let (posts, letters) = (found.posts.len(), found.dead_letters);
    match meant {
        Meant::DeadLetter if (posts, letters) == (0, 1) => None,
        Meant::Post { id, entities } if (posts, letters) == (1, 0) => {
            let origin = format!("{}:{topic}:{partition}:{offset}", crate::setup::EPOCH);
            let expected = (id.clone().unwrap_or(origin), entities.clone());
            (found.posts[0] != expected)
                .then(|| format!("is {:?}, not {expected:?}", found.posts[0]))
        }
        _ => Some(format!("has {posts} posts and {letters} dead letters")),
    }
}

fn offset(row: &[String]) -> anyhow::Result<Offset> {
    Ok((row[0].clone(), row[1].parse()?, row[2].parse()?))
}
