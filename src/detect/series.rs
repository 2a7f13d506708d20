//! wip
use crate::domain::Timestamp;
/// x
pub struct SeriesPoint {
    /// x
    pub anomaly_score: f64,
    /// x
    pub expected: f64,
    /// x
    pub fired: bool,
}
/// x
pub fn judge_series(
    rows: impl Iterator<Item = (Timestamp, f64)>,
) -> impl Iterator<Item = SeriesPoint> {
    rows.map(|_| SeriesPoint {
        anomaly_score: 0.0,
        expected: 0.0,
        fired: false,
    })
}
