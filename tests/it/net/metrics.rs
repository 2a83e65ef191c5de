//! Metrics: names, types, help texts, labels, and the values that the same work always gives.

use std::collections::BTreeSet;

use koschei::log::EventLog;

use super::{Family, repository};
use crate::feed;
use crate::web::prometheus::healthy;
use crate::web_site::Pages;

/// Suffixes of gauges with a time or an age from the clock.
const OF_NOW: [&str; 3] = ["_timestamp_seconds", "_time_seconds", "_last_seconds"];

/// Returns one line for each series. Times and durations are left out.
fn shown(text: &str) -> String {
    let mut shown = String::new();
    for line in text.lines() {
        let name = line.split(['{', ' ']).next().unwrap();
        if line.starts_with('#') {
            shown += line;
        } else if name.ends_with("_bucket") {
            continue;
        } else if name.ends_with("_seconds_sum") || OF_NOW.iter().any(|end| name.ends_with(end)) {
            shown += line.rsplit_once(' ').unwrap().0;
        } else {
            shown += line;
        }
        shown.push('\n');
    }
    shown
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_is_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let nothing = feed::sqlite(dir.path(), "nothing.db").await;
    let mut pages = Pages::idle(&nothing).await;
    let log = healthy(dir.path(), &pages.metrics).await;
    pages.follow(&log, None);
    pages.follower.caught_up().await;
    assert_eq!(pages.get("/").await.status, 200);
    let text = shown(&pages.metrics.render());
    pages.stop().await;
    log.close().await;
    let mut family = Family::new("metrics");
    // A list of files to change counts on each name.
    family.is_whole("metrics", &text);
    family.done();
    // Every metric that the code names.
    let mut named = BTreeSet::new();
    for entry in std::fs::read_dir(repository("src/telemetry")).unwrap().map(|e| e.unwrap().path()) {
        let code = std::fs::read_to_string(entry).unwrap();
        let word = |s: &&str| s.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        let strings = code.split('"').filter(|s| s.starts_with("koschei_")).filter(word);
        named.extend(strings.map(str::to_owned));
    }
    assert!(named.len() > 40, "{named:?}");
    let missing: Vec<&String> = named.iter().filter(|n| !text.contains(&format!("# TYPE {n} "))).collect();
    assert!(missing.is_empty(), "nothing is kept of {missing:?}");
}
