//! What each table holds, and why it is laid out so.

use super::{Column, Engine, Kept, Table};

const WORD: &str = "LowCardinality(String)";
const TIME: &str = "DateTime64(3, 'UTC')";
const TEXT: &str = "String";
const COUNT: &str = "Nullable(UInt64)";
const PROBABILITY: &str = "Nullable(Float32)";
const SUM: &str = "SimpleAggregateFunction(sum, UInt64)";
/// Exact up to 2^53, and no overflow behind: numbers of a post are whatever its sender claims.
const LARGE_SUM: &str = "SimpleAggregateFunction(sum, Float64)";
const KNOWN_SUM: &str = "SimpleAggregateFunction(sum, Nullable(Float64))";
const HIGHEST: &str = "SimpleAggregateFunction(max, Int64)";

/// Values that grow little by little.
const RISING: &str = "CODEC(Delta(8), ZSTD(1))";
/// Long texts: a third smaller than with the default, and still read at some 500 MB/s.
const LONG: &str = "CODEC(ZSTD(3))";
/// What compresses badly, a little.
const SHORT: &str = "CODEC(ZSTD(1))";

/// Month of the record's timestamp: what rows are partitioned by and go by, never what a post claims.
///
/// At most 12 months before squall received it, so that no block touches more than a few partitions more than the
/// months it was read in: beyond 100 the server refuses it, at every retry.
const STORED_MONTH: Column = (
    "stored_month",
    "Date",
    "DEFAULT toStartOfMonth(toDate(greatest(least(recorded_at, received_at), subtractMonths(received_at, 12)), 'UTC'))",
);
/// The same of what is copied from another table.
const STORED_MONTH_GIVEN: Column = ("stored_month", "Date", "");
/// For tables whose rows bring no bounded time. No key has it: a block repeated is another second.
const STORED_AT: Column = ("stored_at", "DateTime('UTC')", "DEFAULT now()");

const LOG_EPOCH: Column = ("log_epoch", WORD, "");
const LOG_TOPIC: Column = ("log_topic", WORD, "");
const LOG_PARTITION: Column = ("log_partition", "Int32", "");
const LOG_OFFSET: Column = ("log_offset", "Int64", RISING);
const EPOCH: Column = ("epoch", WORD, "");
const TOPIC: Column = ("topic", WORD, "");
const PARTITION: Column = ("partition", "Int32", "");
const OFFSET: Column = ("offset", "Int64", RISING);

/// Offsets of a log rise with time, as does what tables are ordered by: a part or granule holds a short range.
const BY_LOG: &str = "by_log log_offset TYPE minmax GRANULARITY 4";

/// All tables that rows go to, in the order in which they are made. `migrations` is not among them: see `migrate`.
pub const TABLES: &[Table] = &[
    // The page and dashboards read the latest, or a range of time. Texts of one time resemble each other as much as
    // those of any other order. The origin makes the order total: a page ends where the next one begins.
    Table {
        name: "posts",
        columns: &[
            EPOCH,
            TOPIC,
            PARTITION,
            OFFSET,
            LOG_EPOCH,
            LOG_TOPIC,
            LOG_PARTITION,
            LOG_OFFSET,
            ("published_at", TIME, RISING),
            ("event_time", TIME, RISING),
            ("received_at", TIME, RISING),
            ("scored_at", TIME, RISING),
            ("recorded_at", TIME, RISING),
            STORED_MONTH,
            ("id", TEXT, SHORT),
            ("first_origin", TEXT, ""),
            ("source", WORD, ""),
            ("channel", WORD, ""),
            ("title", TEXT, LONG),
            ("text", TEXT, LONG),
            ("url", "Nullable(String)", LONG),
            ("lang", WORD, ""),
            ("author", "Nullable(String)", SHORT),
            ("followers", COUNT, SHORT),
            ("impressions", COUNT, SHORT),
            ("likes", COUNT, SHORT),
            ("shares", COUNT, SHORT),
            ("comments", COUNT, SHORT),
            ("tags", "Array(String)", SHORT),
            ("campaigns", "Array(String)", SHORT),
            (
                "status",
                "Enum8('live' = 1, 'corrected' = 2, 'retracted' = 3)",
                "",
            ),
            ("replaces", "Nullable(String)", ""),
            ("backfill", "Bool", ""),
            ("signature", "UInt64", ""),
            ("model", WORD, ""),
            ("p_negative", PROBABILITY, SHORT),
            ("p_neutral", PROBABILITY, SHORT),
            ("p_positive", PROBABILITY, SHORT),
            ("mention_ordinal", "Array(UInt32)", SHORT),
            ("mention_entity", "Array(String)", SHORT),
            ("mention_p_negative", "Array(Nullable(Float32))", SHORT),
            ("mention_p_neutral", "Array(Nullable(Float32))", SHORT),
            ("mention_p_positive", "Array(Nullable(Float32))", SHORT),
            ("mention_relevance", "Array(Float32)", SHORT),
        ],
        // A post by its id, a replay by its first origin, posts of a campaign: rare among all others.
        indexes: &[
            BY_LOG,
            "by_id id TYPE bloom_filter(0.001) GRANULARITY 1",
            "by_first_origin first_origin TYPE bloom_filter(0.001) GRANULARITY 1",
            "by_campaign campaigns TYPE bloom_filter(0.01) GRANULARITY 1",
        ],
        engine: Engine::Plain,
        order: "event_time, epoch, topic, partition, offset",
        kept: Kept::ByMonth,
    },
    // Always asked for by entity, latest first. What it shares with its post is repeated: no query needs a join.
    Table {
        name: "mentions",
        columns: &[
            EPOCH,
            TOPIC,
            PARTITION,
            OFFSET,
            ("ordinal", "UInt32", ""),
            ("entity", WORD, ""),
            ("source", WORD, ""),
            ("channel", WORD, ""),
            ("published_at", TIME, RISING),
            ("event_time", TIME, RISING),
            ("received_at", TIME, RISING),
            ("scored_at", TIME, RISING),
            STORED_MONTH_GIVEN,
            ("model", WORD, ""),
            ("relevance", "Float32", SHORT),
            ("p_negative", PROBABILITY, SHORT),
            ("p_neutral", PROBABILITY, SHORT),
            ("p_positive", PROBABILITY, SHORT),
            ("score", PROBABILITY, SHORT),
            ("label", "LowCardinality(Nullable(String))", ""),
            ("post_id", TEXT, SHORT),
            ("author", "Nullable(String)", SHORT),
            ("backfill", "Bool", ""),
        ],
        indexes: &[],
        engine: Engine::Plain,
        order: "entity, event_time, epoch, topic, partition, offset, ordinal",
        kept: Kept::ByMonth,
    },
    // Read as a ranking of all entities over the last hours, and as the timeline of one over days: an hour is one run of
    // rows, and within it an entity is.
    Table {
        name: "entity_minutes",
        columns: &[
            ("entity", WORD, ""),
            ("minute", "DateTime('UTC')", "CODEC(Delta(4), ZSTD(1))"),
            STORED_MONTH_GIVEN,
            ("mentions", SUM, SHORT),
            ("scored", SUM, SHORT),
            ("negative", SUM, SHORT),
            ("positive", SUM, SHORT),
            ("sum_negative", LARGE_SUM, SHORT),
            ("sum_neutral", LARGE_SUM, SHORT),
            ("sum_positive", LARGE_SUM, SHORT),
        ],
        indexes: &[],
        engine: Engine::Aggregating,
        order: "toStartOfHour(minute), entity, minute",
        kept: Kept::ByMonth,
    },
    // Read by campaign and range of hours. Few rows: one for each campaign, channel and hour.
    Table {
        name: "campaign_hours",
        columns: &[
            ("campaign", WORD, ""),
            ("channel", WORD, ""),
            ("hour", "DateTime('UTC')", ""),
            STORED_MONTH_GIVEN,
            ("posts", SUM, ""),
            ("posts_with_impressions", SUM, ""),
            ("impressions", LARGE_SUM, ""),
            ("engagements_with_impressions", LARGE_SUM, ""),
            ("likes", KNOWN_SUM, ""),
            ("shares", KNOWN_SUM, ""),
            ("comments", KNOWN_SUM, ""),
            ("scored", SUM, ""),
            ("sum_negative", LARGE_SUM, ""),
            ("sum_neutral", LARGE_SUM, ""),
            ("sum_positive", LARGE_SUM, ""),
            (
                "contributors",
                "AggregateFunction(uniqCombined64, String)",
                "",
            ),
        ],
        indexes: &[],
        engine: Engine::Aggregating,
        order: "campaign, hour, channel",
        kept: Kept::ByMonth,
    },
    // The potential audience: each author counts once over any range of hours, with the most followers seen in it. That
    // is a maximum for each author and then a sum, of which no mergeable state is kept.
    Table {
        name: "campaign_contributors",
        columns: &[
            ("campaign", WORD, ""),
            ("channel", WORD, ""),
            ("hour", "DateTime('UTC')", ""),
            ("author", TEXT, SHORT),
            STORED_MONTH_GIVEN,
            ("followers", "SimpleAggregateFunction(max, UInt64)", SHORT),
        ],
        indexes: &[],
        engine: Engine::Aggregating,
        order: "campaign, hour, channel, author",
        kept: Kept::ByMonth,
    },
    // Asked for by the page with its whole alert. `at` is event time and may be anything: no partition by it.
    Table {
        name: "alerts",
        columns: &[
            LOG_EPOCH,
            LOG_TOPIC,
            LOG_PARTITION,
            LOG_OFFSET,
            ("id", TEXT, ""),
            ("alert_id", TEXT, ""),
            ("revision", "UInt32", ""),
            ("kind", WORD, ""),
            ("at", TIME, ""),
            ("rule", WORD, ""),
            ("entity", WORD, ""),
            ("severity", WORD, ""),
            ("message", TEXT, LONG), // the whole, JSON
            STORED_AT,
        ],
        indexes: &[],
        engine: Engine::Replacing(""),
        order: "alert_id, revision, id",
        kept: Kept::BySelf,
    },
    Table {
        name: "deliveries",
        columns: &[
            LOG_EPOCH,
            LOG_TOPIC,
            LOG_PARTITION,
            LOG_OFFSET,
            ("message_id", TEXT, ""),
            ("alert_id", TEXT, ""),
            ("endpoint", WORD, ""),
            ("outcome", WORD, ""),
            ("attempts", "UInt32", ""),
            ("status", "Nullable(UInt16)", ""),
            ("error", TEXT, SHORT),
            ("first_attempt_at", TIME, ""),
            ("ended_at", TIME, ""),
            STORED_AT,
        ],
        indexes: &[],
        engine: Engine::Replacing(""),
        order: "alert_id, message_id, endpoint, ended_at",
        kept: Kept::BySelf,
    },
    // As many rows as mentions, and asked for like them. Entity and time follow from the mention, so this is its key
    // all the same. Of two the one written later counts.
    Table {
        name: "mention_clusters",
        columns: &[
            LOG_EPOCH,
            LOG_TOPIC,
            LOG_PARTITION,
            LOG_OFFSET,
            EPOCH,
            TOPIC,
            PARTITION,
            OFFSET,
            ("ordinal", "UInt32", ""),
            ("entity", WORD, ""),
            ("event_time", TIME, RISING),
            ("cluster", TEXT, SHORT),
            ("novelty", "Float32", SHORT),
            STORED_AT,
        ],
        indexes: &[BY_LOG],
        engine: Engine::Replacing("log_offset"),
        order: "entity, event_time, epoch, topic, partition, offset, ordinal",
        kept: Kept::BySelf,
    },
    Table {
        name: "feedback",
        columns: &[
            LOG_EPOCH,
            LOG_TOPIC,
            LOG_PARTITION,
            LOG_OFFSET,
            ("post_id", TEXT, ""),
            ("entity", "Nullable(String)", ""),
            ("label", WORD, ""),
            ("comment", "Nullable(String)", SHORT),
            ("by", TEXT, ""),
            ("at", TIME, ""),
            STORED_AT,
        ],
        indexes: &[],
        engine: Engine::Plain,
        order: "at, post_id",
        kept: Kept::BySelf,
    },
    // The first by its own time counts, so the time is in the key.
    Table {
        name: "acknowledgements",
        columns: &[
            LOG_EPOCH,
            LOG_TOPIC,
            LOG_PARTITION,
            LOG_OFFSET,
            ("alert_id", TEXT, ""),
            ("by", TEXT, ""),
            ("at", TIME, ""),
            STORED_AT,
        ],
        indexes: &[],
        engine: Engine::Replacing(""),
        order: "alert_id, at, by",
        kept: Kept::BySelf,
    },
    // The last by its own time counts.
    Table {
        name: "dead_letter_acts",
        columns: &[
            LOG_EPOCH,
            LOG_TOPIC,
            LOG_PARTITION,
            LOG_OFFSET,
            EPOCH,
            TOPIC,
            PARTITION,
            OFFSET,
            ("settled", WORD, ""),
            ("by", TEXT, ""),
            ("at", TIME, ""),
            STORED_AT,
        ],
        indexes: &[],
        engine: Engine::Replacing(""),
        order: "epoch, topic, partition, offset, at, settled, by",
        kept: Kept::BySelf,
    },
    // Listed latest first; usually few, but all of a broken source.
    Table {
        name: "dead_letters",
        columns: &[
            LOG_EPOCH,
            LOG_TOPIC,
            LOG_PARTITION,
            LOG_OFFSET,
            EPOCH,
            TOPIC,
            PARTITION,
            OFFSET,
            ("recorded_at", TIME, RISING),
            ("rejected_at", TIME, RISING),
            (
                "stored_month",
                "Date",
                "DEFAULT toStartOfMonth(toDate(greatest(least(recorded_at, rejected_at), subtractMonths(rejected_at, 12)), 'UTC'))",
            ),
            ("reason", WORD, ""),
            ("detail", TEXT, SHORT),
            ("key", "Nullable(String)", SHORT),
            ("payload", TEXT, LONG), // base64, as are key and values of headers
            ("headers", TEXT, SHORT), // JSON
        ],
        indexes: &[BY_LOG],
        engine: Engine::Plain,
        order: "rejected_at, epoch, topic, partition, offset",
        kept: Kept::ByMonth,
    },
    // Where each partition of squall's topics stands, and each source partition that came through it. A few hundred
    // rows; never removed, since what is below a position is not stored again. `source_partition` is -1 where the
    // rows have no source.
    Table {
        name: "positions",
        columns: &[
            LOG_EPOCH,
            LOG_TOPIC,
            LOG_PARTITION,
            ("source_epoch", WORD, ""),
            ("source_topic", WORD, ""),
            ("source_partition", "Int32", ""),
            ("log_offset", HIGHEST, ""),
            ("source_offset", HIGHEST, ""),
        ],
        indexes: &[],
        engine: Engine::Aggregating,
        order: "log_epoch, log_topic, log_partition, source_epoch, source_topic, source_partition",
        kept: Kept::Always,
    },
    // Which Kafka cluster an epoch belongs to: who claimed it first.
    Table {
        name: "epochs",
        columns: &[
            ("epoch", TEXT, ""),
            ("cluster", TEXT, ""),
            ("claimed_at", TIME, "DEFAULT now64(3)"),
        ],
        indexes: &[],
        engine: Engine::Plain,
        order: "epoch, claimed_at, cluster",
        kept: Kept::Always,
    },
];
