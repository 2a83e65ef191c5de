//! The writer and the service leave snapshots behind: as many as the spacing asks for, and without
//! going wrong if one cannot be stored.

use std::collections::HashMap;
use std::time::Duration;

use koschei::buildroot::NoResolver;
use koschei::config::Config;
use koschei::event::Source;
use koschei::fold::spacing::Spacing;
use koschei::log::{AnyLog, EventLog, folding};
use koschei::service::serve::Service;
use koschei::telemetry::Metrics;
use koschei::telemetry::probe::Readiness;
use koschei::writer::{Settings, Writer};
use sqlx::Connection;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::feed;
use crate::live::PATIENCE;
use crate::recorded::copy;

fn settings(step: u64, folded_max: u64) -> Settings {
    let mut settings = Config::default().settings(Source::Recording);
    // There is never room for more than the maximum needs.
    settings.spacing = Spacing { step, folded_max, share: 1_000_000 };
    settings
}

async fn open(log: &AnyLog, settings: Settings) -> (Writer, Metrics) {
    let metrics = Metrics::new();
    (Writer::open(log, settings, NoResolver, metrics.clone()).await.unwrap(), metrics)
}

/// Returns the events that a log has snapshots of.
async fn events(log: &AnyLog) -> Vec<u64> {
    log.snapshots().await.unwrap().kept.iter().map(|s| s.seq.get()).collect()
}

fn metric(metrics: &Metrics, name: &str) -> Option<u64> {
    let text = metrics.render();
    let line = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(' '));
    line.map(|n| n.parse().unwrap())
}

fn lines() -> Vec<String> {
    feed::lines(&feed::recorded("koji").join("events.jsonl"))
}

/// Every snapshot is the fold of its events, and they lie as the spacing says.
#[tokio::test]
async fn a_writer_leaves_snapshots_behind() {
    let dir = tempfile::tempdir().unwrap();
    let log = feed::sqlite(dir.path(), "koschei.db").await;
    let (mut writer, metrics) = open(&log, settings(100, 300)).await;
    assert_eq!(metric(&metrics, "koschei_snapshot_sequence"), None);
    for some in lines().chunks(10) {
        feed::feed(&mut writer, some, 10).await;
        writer.finish_snapshot().await;
    }
    let (kept, head) = (events(&log).await, writer.state().seq.unwrap().get());
    assert!(head > 600 && kept.len() >= 3, "{kept:?} of {head}");
    let points: Vec<u64> = std::iter::once(0).chain(kept.iter().copied()).collect();
    for pair in points.windows(2) {
        assert!(pair[1] - pair[0] <= 300, "{kept:?}");
    }
    for three in points.windows(3) {
        assert!(three[2] - three[0] > 300, "the small log has no room for more than the spacing needs: {kept:?}");
    }
    assert_eq!(metric(&metrics, "koschei_snapshot_sequence"), kept.last().copied());
    assert_eq!(metric(&metrics, "koschei_snapshot_failures_total"), Some(0));
    for seq in kept {
        let at = koschei::model::Seq::new(seq);
        let early = folding::newest_snapshot(&log, at).await.unwrap();
        assert_eq!(early.seq, at);
        assert_eq!(early.digest(), folding::from_start(&log, at, &mut |_| {}).await.unwrap().digest(), "{seq}");
    }
}

/// A log without snapshots that is opened gets them on the way: an import, or a log of an older
/// program. With the usual spacing, it is too short for any.
#[tokio::test]
async fn folding_a_long_log_leaves_snapshots_behind() {
    let dir = tempfile::tempdir().unwrap();
    let db = copy(dir.path());
    let log = koschei::log::open(db.to_str().unwrap(), &koschei::log::Options::default()).await.unwrap();
    let want = folding::from_start(&log, None, &mut |_| {}).await.unwrap().digest();
    let (writer, metrics) = open(&log, settings(100_000, 1_000_000)).await;
    assert_eq!((events(&log).await, writer.into_state().digest()), (vec![], want.clone()));
    assert_eq!(metric(&metrics, "koschei_snapshot_sequence"), None);
    // The recording is one page of events, so there is one snapshot, at its end.
    let (writer, metrics) = open(&log, settings(100, 300)).await;
    let head = writer.state().seq.unwrap().get();
    assert_eq!((events(&log).await, writer.into_state().digest()), (vec![head], want));
    assert_eq!(metric(&metrics, "koschei_snapshot_sequence"), Some(head));
}

/// The database refuses every snapshot: that is counted, and the log is the same as ever.
#[tokio::test]
async fn a_snapshot_that_cannot_be_stored_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let lines = lines();
    let log = feed::sqlite(dir.path(), "other.db").await;
    let (mut writer, _) = open(&log, settings(100_000, 1_000_000)).await;
    for some in lines.chunks(10) {
        feed::feed(&mut writer, some, 10).await;
    }
    let want = writer.into_state().digest();

    let log = feed::sqlite(dir.path(), "koschei.db").await;
    let mut sql = sqlx::SqliteConnection::connect(dir.path().join("koschei.db").to_str().unwrap()).await.unwrap();
    let refuse = "CREATE TRIGGER full BEFORE INSERT ON snapshots BEGIN SELECT RAISE(ABORT, 'no room'); END";
    sqlx::query(refuse).execute(&mut sql).await.unwrap();
    sql.close().await.unwrap();
    let (mut writer, metrics) = open(&log, settings(100, 300)).await;
    for some in lines.chunks(10) {
        feed::feed(&mut writer, some, 10).await;
        writer.finish_snapshot().await;
    }
    assert!(metric(&metrics, "koschei_snapshot_failures_total").unwrap() >= 3);
    assert_eq!((metric(&metrics, "koschei_snapshot_sequence"), events(&log).await), (None, vec![]));
    assert_eq!(writer.into_state().digest(), want);
}

/// The service stores one as soon as the log has grown by a step, and not before.
#[tokio::test(flavor = "multi_thread")]
async fn the_service_leaves_snapshots_behind() {
    let dir = tempfile::tempdir().unwrap();
    let db = copy(dir.path());
    let log = koschei::log::open(db.to_str().unwrap(), &koschei::log::Options::default()).await.unwrap();
    let before = log.head().await.unwrap().seq.unwrap().get();
    let stop = CancellationToken::new();
    let metrics = Metrics::new();
    let (_writer, inputs) = koschei::hub::to_writer::ToWriter::channel();
    let (_bell, inbox) = watch::channel(0);
    let mut settings = Config::default().settings(Source::Hub);
    // Longer than the log: no snapshot is made when it is opened.
    settings.spacing = Spacing { step: before + 1, folded_max: 2 * before + 2, share: 10 };
    let service = Service {
        log: log.clone(),
        settings,
        resolver: Box::new(|| std::sync::Arc::new(NoResolver)),
        hubs: HashMap::new(),
        inputs,
        inbox,
        outbox: watch::channel(0).0,
        announcements: None,
        metrics: metrics.clone(),
        readiness: Readiness::default(),
        stop: stop.clone(),
    };
    let runtime = tokio::runtime::Handle::current();
    let running = tokio::task::spawn_blocking(move || runtime.block_on(service.run(|| {})));
    let kept = tokio::time::timeout(PATIENCE, async {
        loop {
            let kept = events(&log).await;
            if !kept.is_empty() {
                break kept;
            }
            assert!(!running.is_finished(), "the service has ended");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    let kept = kept.await.unwrap();
    stop.cancel();
    running.await.unwrap().unwrap();
    // The service itself appends the policy and a tick.
    assert!(kept[0] > before, "{kept:?} of {before}");
    assert_eq!(metric(&metrics, "koschei_snapshot_sequence"), Some(kept[0]));
    let at = koschei::model::Seq::new(kept[0]);
    let early = folding::newest_snapshot(&log, at).await.unwrap();
    assert_eq!(early.digest(), folding::from_start(&log, at, &mut |_| {}).await.unwrap().digest());
}
