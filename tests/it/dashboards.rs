//! The dashboards ask for metrics that exist.

use squall::telemetry::Metrics;

#[test]
fn every_metric_of_a_dashboard_is_exposed() {
    let metrics = Metrics::new();
    // A family shows up once it has a member.
    metrics.posts_consumed.with(["t"]).inc();
    metrics.posts_rejected.with(["r"]).inc();
    metrics.consumer_lag.with(["r", "t", "0"]).set(1);
    metrics.blocked_seconds.with(["s"]).inc_by(1.0);
    metrics.alerts.with(["r", "s"]).inc();
    metrics.deliveries.with(["e", "o"]).inc();
    metrics.store_rows.with(["t"]).inc();
    let exposed = metrics.render();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/dashboards");
    let mut asked = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
        for panel in dashboard["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().unwrap() {
                let query = target["expr"].as_str().unwrap();
                for (at, _) in query.match_indices("squall_") {
                    let name: String = query[at..]
                        .chars()
                        .take_while(|c| c.is_alphanumeric() || *c == '_')
                        .collect();
                    asked += 1;
                    assert!(exposed.contains(&name), "{name} is not exposed: {query}");
                }
            }
        }
    }
    assert!(asked >= 10, "only {asked} metrics are asked for");
}
