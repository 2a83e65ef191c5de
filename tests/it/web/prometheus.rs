//! Runs every query of the dashboard and of the alert rules on a real Prometheus that scrapes real
//! metrics.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use koschei::base::clock;
use koschei::bus::Recording;
use koschei::config::Config;
use koschei::event::Source;
use koschei::intake::recording;
use koschei::log::EventLog;
use koschei::model::{Class, Timestamp};
use koschei::telemetry::{AnnouncementQueue, FileOutcome, Metrics, QueueLengths, Submission};
use koschei::writer::Writer;
use serde_json::Value;

use crate::feed;
use crate::prometheus_server::Prometheus;
use crate::web_site::Pages;

fn ours(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Collects everything named `expr` in the dashboard: queries of panels and annotations.
fn expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(text) if name == "expr" => found.push(text.clone()),
                    _ => expressions(member, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|i| expressions(i, found)),
        _ => {}
    }
}

fn dashboard() -> Value {
    serde_json::from_str(&std::fs::read_to_string(ours("grafana/koschei.json")).unwrap()).unwrap()
}

/// Returns a query with Grafana's variables filled in.
fn filled(query: &str) -> String {
    query.replace("$__rate_interval", "1m").replace("$job", ".*").replace("$instance", ".*")
}

/// Returns the metric names in a query.
fn names(query: &str) -> BTreeSet<String> {
    let words = query.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let ours = |w: &&str| w.starts_with("koschei_") || *w == "process_start_time_seconds" || *w == "up";
    words.filter(ours).map(str::to_owned).collect()
}

/// Returns the metric a series belongs to. A histogram has three series.
fn family(name: &str) -> &str {
    ["_bucket", "_sum", "_count"].into_iter().find_map(|s| name.strip_suffix(s)).unwrap_or(name)
}

/// Returns the metrics of a process that ingested a recording and works with a healthy hub.
pub(crate) async fn healthy(dir: &Path, metrics: &Metrics) -> koschei::log::AnyLog {
    let now = clock::now();
    let log = feed::sqlite(dir, "metrics.db").await;
    let data = feed::recorded("koji");
    let settings = Config::default().settings(Source::Recording);
    metrics.intake_begins(now);
    let mut writer = Writer::open(&log, settings, feed::archive(&data), metrics.clone()).await.unwrap();
    let recording = Recording::open(&data.join("events.jsonl")).unwrap();
    recording::feed(&mut writer, recording, 100, &mut |_, _| {}).await.unwrap();
    metrics.rebuilds_of(writer.state(), writer.state().recorded_at);
    metrics.causes_of(writer.state());
    metrics.hub_known("primary", Duration::from_secs(86_400), None);
    metrics.delivery_begins();
    metrics.waiting(QueueLengths { commands: 0, ..QueueLengths::from(log.counts().await.unwrap()) });
    metrics.hub_up("primary", true);
    metrics.reconciled("primary", now, 2, 1);
    for method in ["getBuild", "listTagged"] {
        metrics.hub_request(method, None, 0.02);
    }
    metrics.hub_request("getBuild", Some(Class::Unavailable), 1.0);
    metrics.look_pending(2);
    metrics.file_request(FileOutcome::Fetched);
    metrics.submission(Submission::Submitted);
    metrics.loop_begins("look", Duration::from_secs(3_600), now);
    metrics.sent(3, 1);
    metrics.announced(koschei::announce::koschei_messages::PACKAGE);
    metrics.announcements_waiting(AnnouncementQueue::default(), now);
    metrics.events_published(3);
    metrics.events_behind(0);
    metrics.snapshot_at(log.head().await.unwrap().seq);
    metrics.snapshots_take(1_000_000);
    metrics.snapshot_held(0.1);
    metrics.last_message(now);
    log
}

/// Checks that a query returns data, if it must.
fn has_data(prometheus: &Prometheus, query: &str) -> bool {
    // Nothing was restarted, so this annotation has nothing to mark.
    !prometheus.query(query).is_empty() || query.starts_with("changes(process_start_time_seconds")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_of_dashboard_and_alerts_works() {
    let dir = tempfile::tempdir().unwrap();
    let nothing = feed::sqlite(dir.path(), "nothing.db").await;
    let mut pages = Pages::idle(&nothing).await;
    let metrics = pages.metrics.clone();
    let log = healthy(dir.path(), &metrics).await;
    pages.follow(&log, None);
    pages.follower.caught_up().await;
    assert_eq!(pages.get("/").await.status, 200);
    let prometheus = Prometheus::start(pages.address, &ours("deploy/prometheus/koschei.rules.yml")).await;
    prometheus.until("enough scrapes for a rate", |p| !p.query("count_over_time(up[1m]) >= 3").is_empty()).await;
    // Counters must change before rates mean something.
    pages.page("/packages").await;

    let mut queries = Vec::new();
    expressions(&dashboard(), &mut queries);
    assert!(queries.len() > 50, "{}", queries.len());
    for query in &queries {
        prometheus.until(query, |p| has_data(p, &filled(query))).await;
    }
    // Every metric is shown, and every shown metric exists.
    let shown: BTreeSet<String> = queries.iter().flat_map(|q| names(q)).map(|n| family(&n).to_owned()).collect();
    let text = metrics.render();
    let exported = text.lines().filter_map(|l| l.strip_prefix("# TYPE ")?.split(' ').next().map(str::to_owned));
    let mut exported: BTreeSet<String> = exported.collect();
    exported.insert("up".to_owned());
    assert_eq!(shown, exported);
    let rules = std::fs::read_to_string(ours("deploy/prometheus/koschei.rules.yml")).unwrap();
    let known: BTreeSet<String> = prometheus.names().into_iter().collect();
    let expressions: String = rules.lines().filter(|l| !l.contains("alert:") && !l.contains("name:")).collect();
    for name in names(&expressions) {
        assert!(known.contains(&name), "{name} is in no scrape");
    }

    // Everything is well, so no alert is even pending.
    prometheus.until("alerts evaluated", |p| p.alerts().len() == 20).await;
    let active = |p: &Prometheus| -> Vec<String> {
        p.alerts().into_iter().filter(|(_, state)| state != "inactive").map(|(name, _)| name).collect()
    };
    let parked = ["KoscheiMessagesParked"];
    // The machine may be too busy for one scrape. That passes.
    let well = |p: &Prometheus| active(p).iter().all(|a| parked.contains(&a.as_str()));
    prometheus.until("nothing but messages that are parked", well).await;

    // Now everything goes wrong.
    let long_ago = Timestamp::from_secs(1_000_000_000);
    metrics.last_message(long_ago);
    metrics.waiting(QueueLengths { messages: 5_000, parked: 2, commands: 7 });
    let stuck = AnnouncementQueue { waiting: 7, oldest: Some(long_ago), unsendable: 1 };
    metrics.announcements_waiting(stuck, clock::now());
    metrics.look_pending(5_000);
    metrics.hub_up("primary", false);
    metrics.reconciled("primary", long_ago, 100_000, 0);
    metrics.loop_went_round("look", long_ago);
    metrics.rebuilds_running("f99-build", 1, Some(200_000));
    metrics.solved(1, &Default::default());
    metrics.checked(1, 3);
    metrics.prediction_differs(100_000);
    for _ in 0..100 {
        metrics.hub_request("getBuild", Some(Class::Unavailable), 9.0);
        metrics.submission(Submission::Refused);
    }
    let names_now = |p: &Prometheus| active(p).into_iter().collect::<BTreeSet<_>>();
    // These need a dead process, restarts, commands or events that wait for half an hour, or a growing log.
    // promtool tests them.
    let expected: BTreeSet<String> = prometheus.alerts().into_iter().map(|(name, _)| name).collect();
    let cannot = ["KoscheiDown", "KoscheiRestarts", "KoscheiOutboxGrowing", "KoscheiEventsBehind", "KoscheiPagesLag"];
    let expected: BTreeSet<String> = expected.into_iter().filter(|n| !cannot.contains(&n.as_str())).collect();
    prometheus.until("all these alerts and no others", |p| names_now(p) == expected).await;
    pages.stop().await;
    prometheus.until("nobody answers", |p| names_now(p).contains("KoscheiDown")).await;
    log.close().await;
}

/// Runs promtool. Returns whether it succeeded, and its output.
fn promtool(dir: &Path, args: &[&str]) -> (bool, String) {
    let out = Command::new("promtool")
        .args(args)
        .current_dir(dir)
        .output()
        .expect("promtool can be started; it comes with Prometheus, for example `apt install prometheus`");
    (out.status.success(), String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr))
}

/// Splits a file of alerts or test cases at each `begin`: the text before the first one, then each
/// with its first word.
fn cut<'a>(text: &'a str, begin: &str) -> (&'a str, Vec<(&'a str, &'a str)>) {
    let mut pieces = text.split(begin);
    let head = pieces.next().unwrap();
    (head, pieces.map(|p| (p.split([',', '\n']).next().unwrap(), p)).collect())
}

/// Joins what [`cut`] returned, without some pieces.
fn joined((head, pieces): &(&str, Vec<(&str, &str)>), begin: &str, keep: impl Fn(&str) -> bool) -> String {
    let kept = pieces.iter().filter(|(name, _)| keep(name));
    kept.fold((*head).to_owned(), |text, (_, piece)| text + begin + piece)
}

#[test]
fn no_alert_fires_on_a_healthy_day_and_each_does_at_its_fault() {
    let dir = ours("deploy/prometheus");
    let (content, said) = promtool(&dir, &["check", "rules", "koschei.rules.yml"]);
    assert!(content, "{said}");
    for file in ["tests/healthy.test.yml", "tests/faults.test.yml"] {
        let (content, said) = promtool(&dir, &["test", "rules", file]);
        assert!(content, "{file}: {said}");
    }
    // Every alert needs a case that makes it fire. Without the alert, its case must fail.
    let beside = tempfile::tempdir().unwrap();
    std::fs::create_dir(beside.path().join("tests")).unwrap();
    let (alert, case) = ("      - alert: ", "  - name: ");
    let (rules, faults) = (dir.join("koschei.rules.yml"), dir.join("tests/faults.test.yml"));
    let (rules, faults) = (std::fs::read_to_string(rules).unwrap(), std::fs::read_to_string(faults).unwrap());
    let (rules, faults) = (cut(&rules, alert), cut(&faults, case));
    assert_eq!(rules.1.len(), 20);
    for (left_out, _) in &rules.1 {
        std::fs::write(beside.path().join("koschei.rules.yml"), joined(&rules, alert, |n| n != *left_out)).unwrap();
        std::fs::write(beside.path().join("tests/faults.test.yml"), joined(&faults, case, |n| n == *left_out)).unwrap();
        let (content, said) = promtool(beside.path(), &["test", "rules", "tests/faults.test.yml"]);
        assert!(!content && said.contains(left_out), "nothing makes {left_out} fire: {said}");
    }
}

/// The healthy day uses the default settings, and has every metric that the rules use.
#[test]
fn the_healthy_day_is_one_at_default_settings() {
    let day = std::fs::read_to_string(ours("deploy/prometheus/tests/healthy.test.yml")).unwrap();
    let rules = std::fs::read_to_string(ours("deploy/prometheus/koschei.rules.yml")).unwrap();
    let expressions: String = rules.lines().filter(|l| !l.contains("alert:") && !l.contains("name:")).collect();
    for name in names(&expressions) {
        assert!(day.contains(&format!("{{series: '{name}{{")), "{name} has no samples on the healthy day");
    }
    let config: Config = toml::from_str("[[hub]]\nserver = 'https://koji.example.org/kojihub'").unwrap();
    let every = format!(
        "koschei_reconcile_interval_seconds{{job=\"koschei\", instance=\"a\", hub=\"primary\"}}', values: '{}x",
        config.hubs[0].reconcile_secs
    );
    assert!(day.contains(&every), "{every}");
}

#[test]
fn the_dashboard_is_one_that_grafana_takes() {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<i64> = panels.iter().map(|p| p["id"].as_i64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "panels have ids of their own");
    let mut taken = BTreeSet::new();
    for panel in panels {
        assert!(!panel["title"].as_str().unwrap().is_empty());
        let at = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(x < 24 && taken.insert((x, y)), "{} lies over another", panel["title"]);
            }
        }
        if panel["type"] != "row" {
            assert!(!panel["description"].as_str().unwrap().is_empty(), "{} says what it shows", panel["title"]);
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "the data source is chosen, not ours");
        }
    }
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let variables: Vec<&str> = variables.iter().map(|v| v["name"].as_str().unwrap()).collect();
    assert_eq!(variables, ["datasource", "job", "instance"]);
}
