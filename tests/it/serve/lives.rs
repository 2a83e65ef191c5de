//! A writer that was thrown away because the database did not answer, and the hints it had handed
//! out before.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use koschei::base::clock;
use koschei::buildroot::NoResolver;
use koschei::config::Config;
use koschei::event::Source;
use koschei::hub::interest::Interest;
use koschei::hub::snapshot::{LookReason, Observation};
use koschei::hub::to_writer::{Input, Ticket, ToHub, ToWriter};
use koschei::log::{Disposition, EventLog, Fate, Incoming, Options};
use koschei::model::Hub;
use koschei::service::serve::Service;
use koschei::telemetry::Metrics;
use koschei::telemetry::probe::Readiness;
use koschei::writer::pauses::Held;
use sqlx::{Connection, SqliteConnection};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::feed;
use crate::live::PATIENCE;
use crate::log_place::Place;

const COLLECTION: &str = "[[collection]]\nname = \"f99\"\nbuild_tag = \"f99-build\"\ndest_tag = \"f99\"\n";

fn nothing_seen() -> Observation {
    Observation {
        hub: Hub::new(feed::HUB),
        event: 1,
        why: LookReason::Hint,
        at: clock::now(),
        settled: None,
        fresh: Default::default(),
        seen: Vec::new(),
        complete: false,
    }
}

/// Each life of the writer hands a message out. Only the ticket of the last life settles it,
/// because it can be settled once.
#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_of_an_earlier_life_settles_nothing() {
    let place = Place::sqlite();
    let impatient = Options { busy_timeout: Duration::from_millis(1), ..Options::default() };
    let log = place.try_open(&impatient).await.unwrap();
    let config = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(config.path(), COLLECTION).unwrap();
    let lines = feed::lines(&feed::recorded("koji").join("events.jsonl"));
    let repo = lines.iter().find(|l| l.contains("repo.done") && l.contains("\"f99-build\"")).unwrap();
    let message = Incoming {
        id: "of a repository".to_owned(),
        source: "amqp".to_owned(),
        topic: "org.fedoraproject.prod.buildsys.repo.done".to_owned(),
        received_at: clock::now(),
        body: repo.clone().into_bytes(),
    };
    log.receive(&[message]).await.unwrap();

    let (to_brain, inputs) = ToWriter::channel();
    let (_bell, inbox) = watch::channel(0);
    let (hints, mut hinted) = mpsc::unbounded_channel();
    let to_hub = ToHub { hints, watch: watch::channel(Interest::default()).0, held: watch::channel(Held::default()).0 };
    let lives = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&lives);
    let stop = CancellationToken::new();
    let service = Service {
        log: log.clone(),
        settings: Config::load(config.path()).unwrap().settings(Source::Hub),
        resolver: Box::new(move || {
            counted.fetch_add(1, Ordering::SeqCst);
            Arc::new(NoResolver)
        }),
        hubs: HashMap::from([(Hub::new(feed::HUB), to_hub)]),
        inputs,
        inbox,
        outbox: watch::channel(0).0,
        announcements: None,
        metrics: Metrics::new(),
        readiness: Readiness::default(),
        stop: stop.clone(),
    };
    let runtime = tokio::runtime::Handle::current();
    let running = tokio::task::spawn_blocking(move || runtime.block_on(service.run(|| {})));
    let (_, first): (_, Ticket) = tokio::time::timeout(PATIENCE, hinted.recv()).await.unwrap().unwrap();

    // Another connection locks the database while the look is handed in.
    let mut other = SqliteConnection::connect(&format!("sqlite://{}", place.url)).await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let hand = |ticket: Ticket| {
        let writer = to_brain.clone();
        let look = Input::Looked { look: nothing_seen(), tickets: vec![ticket] };
        tokio::spawn(async move { writer.hand(look).await })
    };
    let early = hand(first);
    let anew = async {
        while lives.load(Ordering::SeqCst) < 2 {
            assert!(!running.is_finished(), "the service has ended");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, anew).await.expect("the writer found no trouble");
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    early.await.unwrap().expect("the look of the earlier life is in the log");
    // The tickets of lives that found the database still locked are among them.
    let mut again = Vec::new();
    while let Ok((_, ticket)) = hinted.try_recv() {
        again.push(ticket);
    }
    let last = *again.last().expect("it is handed out again");
    assert!(last.position == first.position && last.life > first.life, "{last:?} after {first:?}");

    let fate = async || log.fates(&["of a repository"]).await.unwrap().pop().unwrap();
    assert_eq!(fate().await, Some(Fate::Waits), "whoever was handed it again still looks");
    hand(last).await.unwrap().expect("so is that of this one");
    assert_eq!(fate().await, Some(Fate::Settled(Disposition::Done)));
    stop.cancel();
    running.await.unwrap().unwrap();
    log.close().await;
}
