//! Types, codecs, and the columns that several tables have.

use super::Column;

/// Few distinct values.
pub const WORD: &str = "LowCardinality(String)";
/// A time.
pub const TIME: &str = "DateTime64(3, 'UTC')";
/// Any text.
pub const TEXT: &str = "String";
/// A count that may be unknown.
pub const COUNT: &str = "Nullable(UInt64)";
/// A probability; none where there is none.
pub const PROBABILITY: &str = "Nullable(Float32)";
/// A sum of counts of rows.
pub const SUM: &str = "SimpleAggregateFunction(sum, UInt64)";
/// Exact up to 2^53, and no overflow behind: numbers of a post are whatever its sender claims.
pub const LARGE_SUM: &str = "SimpleAggregateFunction(sum, Float64)";
/// The same of counts of which some are unknown; none when all are.
pub const KNOWN_SUM: &str = "SimpleAggregateFunction(sum, Nullable(Float64))";
/// A maximum of offsets.
pub const HIGHEST: &str = "SimpleAggregateFunction(max, Int64)";

/// Values that grow little by little.
pub const RISING: &str = "CODEC(Delta(8), ZSTD(1))";
/// Long texts: most of what is stored, rarely read.
pub const LONG: &str = "CODEC(ZSTD(3))";
/// What compresses badly, a little.
pub const SHORT: &str = "CODEC(ZSTD(1))";

/// Month of the record's timestamp: what rows are partitioned by and go by, never what a post claims.
///
/// At most 12 months before squall received it, so that a block received within one touches at most 13 partitions: beyond 100
/// the server refuses it, at every retry.
pub const STORED_MONTH: Column = (
    "stored_month",
    "Date",
    "DEFAULT toStartOfMonth(toDate(greatest(least(recorded_at, received_at), subtractMonths(received_at, 12)), 'UTC'))",
);
/// The same of what is copied from another table.
pub const STORED_MONTH_GIVEN: Column = ("stored_month", "Date", "");
/// For tables whose rows bring no bounded time. No key has it: a block repeated is another second.
pub const STORED_AT: Column = ("stored_at", "DateTime('UTC')", "DEFAULT now()");

/// Epoch under which squall's log was read.
pub const LOG_EPOCH: Column = ("log_epoch", WORD, "");
/// Topic of squall's own that the row came through.
pub const LOG_TOPIC: Column = ("log_topic", WORD, "");
/// Its partition.
pub const LOG_PARTITION: Column = ("log_partition", "Int32", "");
/// The record in it.
pub const LOG_OFFSET: Column = ("log_offset", "Int64", RISING);
/// Epoch of the origin.
pub const EPOCH: Column = ("epoch", WORD, "");
/// Topic of the origin.
pub const TOPIC: Column = ("topic", WORD, "");
/// Partition of the origin.
pub const PARTITION: Column = ("partition", "Int32", "");
/// Offset of the origin.
pub const OFFSET: Column = ("offset", "Int64", RISING);

/// Offsets of a log rise with time, as does what tables are ordered by: a part or granule holds a short range.
pub const BY_LOG: &str = "by_log log_offset TYPE minmax GRANULARITY 4";
