//! Histograms read back out of rendered metrics.

/// The metric of the time from received to stored.
pub(super) const END_TO_END: &str = "squall_end_to_end_seconds";

/// Cumulative counts by upper bound, as Prometheus writes them.
pub(super) fn buckets(text: &str, name: &str) -> Vec<(String, u64)> {
    let prefix = format!("{name}_bucket{{le=\"");
    text.lines()
        .filter_map(|line| {
            let (bound, count) = line.strip_prefix(&prefix)?.split_once("\"} ")?;
            Some((bound.to_owned(), count.parse().ok()?))
        })
        .collect()
}

/// Bound of the bucket that holds the percentile.
pub(super) fn upper_bound(buckets: &[(String, u64)], percentile: u64) -> String {
    let total = buckets.last().map_or(0, |(_, count)| *count);
    let bucket = buckets
        .iter()
        .find(|(_, count)| total > 0 && count * 100 >= total * percentile);
    bucket.map_or("?".into(), |(bound, _)| format!("{bound} s"))
}

/// What was counted between two renderings.
pub(super) fn buckets_since(before: &str, after: &str, name: &str) -> Vec<(String, u64)> {
    let earlier = buckets(before, name).into_iter();
    let counted = buckets(after, name).into_iter().zip(earlier);
    counted
        .map(|((bound, count), (_, before))| (bound, count - before))
        .collect()
}
