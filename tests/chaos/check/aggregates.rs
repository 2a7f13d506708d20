//! What follows from `posts` equals a recount from it.

use super::compare;
use crate::database::Database;
use crate::report::Outcome;

const MENTIONS: &str = "SELECT topic, partition, offset, ordinal, entity, p_negative, id
    FROM posts
    ARRAY JOIN mention_ordinal AS ordinal, mention_entity AS entity, mention_p_negative AS p_negative";

const MINUTES: &str = "SELECT entity, toUnixTimestamp(toStartOfMinute(event_time)), count(), countIf(isNotNull(negative)),
        countIf(negative >= neutral AND negative >= positive), countIf(positive > negative AND positive > neutral),
        sum(toFloat64(ifNull(negative, 0))), sum(toFloat64(ifNull(neutral, 0))), sum(toFloat64(ifNull(positive, 0)))
    FROM posts
    ARRAY JOIN mention_entity AS entity, mention_p_negative AS negative, mention_p_neutral AS neutral,
        mention_p_positive AS positive
    GROUP BY 1, 2";

const HOURS: &str = "SELECT campaign, channel, toUnixTimestamp(toStartOfHour(event_time)), count(),
        countIf(isNotNull(impressions)), sum(toFloat64(ifNull(impressions, 0))), sum(toFloat64(ifNull(likes, 0))),
        countIf(isNotNull(p_negative)), sum(toFloat64(ifNull(p_negative, 0))), uniqExact(author)
    FROM posts ARRAY JOIN campaigns AS campaign
    GROUP BY 1, 2, 3";

pub(super) async fn check(database: &Database, outcome: &mut Outcome) -> anyhow::Result<()> {
    outcome.mentions = compare(
        database,
        "mentions",
        (
            "SELECT topic, partition, offset, ordinal, entity, p_negative, post_id FROM mentions",
            MENTIONS,
        ),
        outcome,
    )
    .await?;
    compare(
        database,
        "entity_minutes",
        (
            "SELECT entity, toUnixTimestamp(minute), sum(mentions), sum(scored), sum(negative), sum(positive),
                sum(sum_negative), sum(sum_neutral), sum(sum_positive) FROM entity_minutes GROUP BY 1, 2",
            MINUTES,
        ),
        outcome,
    )
    .await?;
    compare(
        database,
        "campaign_hours",
        (
            "SELECT campaign, channel, toUnixTimestamp(hour), sum(posts), sum(posts_with_impressions), sum(impressions),
                ifNull(sum(likes), 0), sum(scored), sum(sum_negative), uniqCombined64Merge(contributors)
                FROM campaign_hours GROUP BY 1, 2, 3",
            HOURS,
        ),
        outcome,
    )
    .await?;
    // A retracted post brings no evidence, so its mentions belong to no story.
    compare(
        database,
        "mention_clusters",
        (
            "SELECT topic, partition, offset, ordinal, entity FROM mention_clusters FINAL",
            "SELECT topic, partition, offset, ordinal, entity FROM posts
                ARRAY JOIN mention_ordinal AS ordinal, mention_entity AS entity WHERE status != 'retracted'",
        ),
        outcome,
    )
    .await?;
    Ok(())
}
