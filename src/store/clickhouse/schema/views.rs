//! What follows from an insert: one into `posts` fills five tables more, and they cannot disagree.
//!
//! A change to a view's query changes how its blocks are told apart: only with no plan open.

use super::View;

/// Positions of a table whose rows come from no source partition.
macro_rules! sourceless {
    ($table:literal) => {
        View {
            name: concat!($table, "_to_positions"),
            target: "positions",
            query: concat!(
                "SELECT log_epoch, log_topic, log_partition, '' AS source_epoch, '' AS source_topic,
    toInt32(-1) AS source_partition, max(row.log_offset) AS log_offset, toInt64(-1) AS source_offset
FROM {database}.",
                $table,
                " AS row
GROUP BY log_epoch, log_topic, log_partition"
            ),
        }
    };
}

/// All views, each after the tables it reads and fills.
pub const VIEWS: &[View] = &[
    View {
        name: "posts_to_mentions",
        target: "mentions",
        // A tie goes to negative, then neutral, as everywhere.
        query: "SELECT epoch, topic, partition, offset, mention.1 AS ordinal, mention.2 AS entity, source, channel,
    published_at, event_time, received_at, scored_at, stored_month, model, mention.6 AS relevance,
    mention.3 AS p_negative, mention.4 AS p_neutral, mention.5 AS p_positive, mention.5 - mention.3 AS score,
    multiIf(isNull(mention.3) OR isNull(mention.4) OR isNull(mention.5), NULL,
        mention.3 >= mention.4 AND mention.3 >= mention.5, 'negative', mention.4 >= mention.5, 'neutral', 'positive') AS label,
    id AS post_id, author, backfill
FROM {database}.posts
ARRAY JOIN arrayZip(mention_ordinal, mention_entity, mention_p_negative, mention_p_neutral, mention_p_positive,
    mention_relevance) AS mention",
    },
    View {
        name: "mentions_to_entity_minutes",
        target: "entity_minutes",
        query: "SELECT entity,
    toDateTime(intDiv(greatest(0, least(toUnixTimestamp64Milli(event_time), 4294967295000)), 60000) * 60, 'UTC') AS minute,
    stored_month, count() AS mentions, countIf(isNotNull(label)) AS scored, countIf(label = 'negative') AS negative,
    countIf(label = 'positive') AS positive, sum(toFloat64(ifNull(p_negative, 0))) AS sum_negative,
    sum(toFloat64(ifNull(p_neutral, 0))) AS sum_neutral, sum(toFloat64(ifNull(p_positive, 0))) AS sum_positive
FROM {database}.mentions
GROUP BY entity, minute, stored_month",
    },
    View {
        name: "posts_to_campaign_hours",
        target: "campaign_hours",
        query: "SELECT campaign, channel,
    toDateTime(intDiv(greatest(0, least(toUnixTimestamp64Milli(event_time), 4294967295000)), 3600000) * 3600, 'UTC') AS hour,
    stored_month, count() AS posts, countIf(isNotNull(post.impressions)) AS posts_with_impressions,
    sum(toFloat64(ifNull(post.impressions, 0))) AS impressions,
    sum(if(isNull(post.impressions), 0, toFloat64(ifNull(post.likes, 0)) + toFloat64(ifNull(post.shares, 0)) + toFloat64(ifNull(post.comments, 0)))) AS engagements_with_impressions,
    sum(toFloat64(post.likes)) AS likes, sum(toFloat64(post.shares)) AS shares, sum(toFloat64(post.comments)) AS comments,
    countIf(isNotNull(p_negative)) AS scored, sum(toFloat64(ifNull(p_negative, 0))) AS sum_negative,
    sum(toFloat64(ifNull(p_neutral, 0))) AS sum_neutral, sum(toFloat64(ifNull(p_positive, 0))) AS sum_positive,
    uniqCombined64StateIf(ifNull(author, ''), isNotNull(author)) AS contributors
FROM {database}.posts AS post
ARRAY JOIN arrayDistinct(campaigns) AS campaign
GROUP BY campaign, channel, hour, stored_month",
    },
    View {
        name: "posts_to_campaign_contributors",
        target: "campaign_contributors",
        // Bounded, so that a sum of them is exact.
        query: "SELECT campaign, channel,
    toDateTime(intDiv(greatest(0, least(toUnixTimestamp64Milli(event_time), 4294967295000)), 3600000) * 3600, 'UTC') AS hour,
    ifNull(post.author, '') AS author, stored_month, max(least(ifNull(post.followers, 0), 9007199254740992)) AS followers
FROM {database}.posts AS post
ARRAY JOIN arrayDistinct(campaigns) AS campaign
WHERE isNotNull(post.author)
GROUP BY campaign, channel, hour, author, stored_month",
    },
    View {
        name: "posts_to_positions",
        target: "positions",
        query: "SELECT log_epoch, log_topic, log_partition, epoch AS source_epoch, topic AS source_topic,
    partition AS source_partition, max(row.log_offset) AS log_offset, max(row.offset) AS source_offset
FROM {database}.posts AS row
GROUP BY log_epoch, log_topic, log_partition, source_epoch, source_topic, source_partition",
    },
    View {
        name: "dead_letters_to_positions",
        target: "positions",
        query: "SELECT log_epoch, log_topic, log_partition, epoch AS source_epoch, topic AS source_topic,
    partition AS source_partition, max(row.log_offset) AS log_offset, max(row.offset) AS source_offset
FROM {database}.dead_letters AS row
GROUP BY log_epoch, log_topic, log_partition, source_epoch, source_topic, source_partition",
    },
    sourceless!("mention_clusters"),
    sourceless!("alerts"),
    sourceless!("deliveries"),
    sourceless!("feedback"),
    sourceless!("acknowledgements"),
    sourceless!("dead_letter_acts"),
    sourceless!("audit"),
];
