//! The service within the test's own process: the same tasks as `koschei serve` has, without its command line. It polls
//! when the test says so.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use koschei::base::clock;
use koschei::buildroot::archive_resolver::ArchiveResolver;
use koschei::buildroot::per_hub::PerHubResolver;
use koschei::config::Config;
use koschei::event::Source;
use koschei::fold::State;
use koschei::hub::interest::Interest;
use koschei::hub::poller::{Poller, Rhythm};
use koschei::hub::reader::Reader;
use koschei::hub::repositories::Fetching;
use koschei::hub::to_writer::{ToHub, ToWriter};
use koschei::koji::client::HubSettings;
use koschei::koji::files::{FetchError, FetchSettings, Fetcher, Mirror, SourceStore};
use koschei::koji::{Archive, HubClient};
use koschei::log::{AnyLog, EventLog, Incoming, LogError};
use koschei::service::serve::Service;
use koschei::telemetry::Metrics;
use koschei::writer::pauses::Held;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::feed;
use crate::hub::{BusMessage, Hub};
use crate::live::{Follower, PATIENCE};
use crate::serve::facts::{differences, primary};

/// Polls until what the hub has and what we know must be the same: one leads to the next where a new parent, or another
/// target, is seen.
const POLLS_MAX: usize = 6;

/// A log, and a service that lives on it; nothing is submitted.
pub(crate) struct Inside {
    pub(crate) hub: Hub,
    pub(crate) log: AnyLog,
    dir: PathBuf,
    config: PathBuf,
    follower: Follower,
    running: Option<Running>,
}

struct Running {
    stop: CancellationToken,
    bell: Arc<Notify>,
    inbox: watch::Sender<u64>,
    /// How often the writer has begun: once, and once more after each trouble with the database.
    lives: Arc<AtomicUsize>,
    parts: Vec<JoinHandle<()>>,
    service: JoinHandle<Result<(), LogError>>,
}

impl Inside {
    /// A service on an empty log; it does not run yet. `config` is that of the collections.
    pub(crate) async fn new(hub: Hub, dir: &Path, config: &str) -> Self {
        Self::on(feed::sqlite(dir, "koschei.db").await, hub, dir, config)
    }

    /// The same on a log that is there.
    pub(crate) fn on(log: AnyLog, hub: Hub, dir: &Path, config: &str) -> Self {
        let path = dir.join("koschei.toml");
        // With a hub in it targets will do.
        let hub_table = format!("[[hub]]\nserver = \"{}\"\ntopurl = \"{}\"\n", hub.url(), hub.topurl());
        std::fs::write(&path, format!("{config}\n{hub_table}")).unwrap();
        Self { hub, log, dir: dir.to_owned(), config: path, follower: Follower::default(), running: None }
    }

    pub(crate) fn start(&mut self) {
        assert!(self.running.is_none(), "it runs already");
        koschei::koji::client::install_provider();
        let (stop, metrics) = (CancellationToken::new(), Metrics::new());
        let mut config = Config::load(&self.config).unwrap();
        for c in &mut config.collections {
            // As `serve` has it where only a target is given: that of the hub, else what the log knows.
            let target = c.target.clone().unwrap();
            let told = self.hub.see(|w| {
                let t = w.target(&target, None)?;
                Some([t.build_tag, t.dest_tag].map(|t| w.tag_name(t).unwrap().to_owned()))
            });
            let known = self.follower.state.collections.get(c.name.as_str()).map(|c| &c.settings);
            let known = known.map(|s| [s.build_tag.to_string(), s.dest_tag.to_string()]);
            if let Some([build, dest]) = told.or(known) {
                (c.build_tag, c.dest_tag) = (Some(build), Some(dest));
            }
        }
        let settings = config.settings(Source::Hub);
        let of_hub = HubSettings {
            requests_per_second: None,
            first_wait: Duration::from_millis(10),
            max_retries: 1,
            ..HubSettings::new(self.hub.url())
        };
        let client = HubClient::new(of_hub).unwrap();
        let cache = self.dir.join("cache");
        let mirror = self.mirror(&cache);
        let sources = SourceStore::open(&cache.join("buildrequires.jsonl")).unwrap();
        let (writer, inputs) = ToWriter::channel();
        let (inbox, inbox_rung) = watch::channel(0);
        let (outbox, _) = watch::channel(0);
        let (hints, hinted) = mpsc::unbounded_channel();
        let (repos, new_repos) = mpsc::unbounded_channel();
        let (watching, watched) = watch::channel(Interest::default());
        let (stale, _) = watch::channel(std::collections::BTreeMap::new());
        let bell = Arc::new(Notify::new());
        let poller = Poller {
            hub: primary(),
            reader: Reader::new(client.clone()),
            writer: writer.clone(),
            hints: hinted,
            watch: watched,
            repos,
            stale,
            reconnected: Arc::clone(&bell),
            rhythm: Rhythm { poll: Duration::from_secs(3600), reconcile: Duration::from_secs(3600) },
            user: settings.context.service_user.clone(),
            log_id: "of this test".to_owned(),
            wants_load: settings.policy.load_is_limited(),
            metrics: metrics.clone(),
            stop: stop.clone(),
        };
        let fetching = Fetching {
            hub: primary(),
            reader: Reader::new(client),
            mirror: mirror.clone(),
            sources: sources.clone(),
            writer,
            new: new_repos,
            at_once: 4,
            metrics: metrics.clone(),
            stop: stop.clone(),
        };
        let (mode, conflicts) = (settings.mode, settings.build_conflicts);
        let lives = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&lives);
        let resolver: koschei::buildroot::MakeResolver = Box::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            let archive = Archive::open_with(mirror.dir(), primary(), sources.clone()).unwrap();
            let resolver = ArchiveResolver::new(archive, mode, 1).with_build_conflicts(conflicts);
            std::sync::Arc::new(PerHubResolver::new(HashMap::from([(primary(), resolver)])))
        });
        let service = Service {
            log: self.log.clone(),
            settings,
            resolver,
            hubs: HashMap::from([(
                primary(),
                ToHub { hints, watch: watching, held: watch::channel(Held::default()).0 },
            )]),
            inputs,
            inbox: inbox_rung,
            outbox,
            metrics,
            readiness: koschei::telemetry::probe::Readiness::default(),
            stop: stop.clone(),
        };
        let parts = vec![tokio::spawn(poller.run()), tokio::spawn(fetching.run())];
        let runtime = tokio::runtime::Handle::current();
        let service = tokio::task::spawn_blocking(move || runtime.block_on(service.run(|| {})));
        self.running = Some(Running { stop, bell, inbox, lives, parts, service });
    }

    fn mirror(&self, cache: &Path) -> Mirror {
        let began = clock::Stopwatch::start();
        loop {
            // What read files for the one before may take a moment to let go of the directory.
            match Mirror::new(cache, &self.hub.topurl(), Fetcher::new(FetchSettings::default()).unwrap()) {
                Err(FetchError::InUse { .. }) if began.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                opened => return opened.unwrap(),
            }
        }
    }

    /// Stops it and starts it again, and waits until it has compared everything.
    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        self.follower.follow(&self.log).await;
        self.hub.clear_log();
        self.start();
        self.poll(1).await;
    }

    /// Ends it in an orderly way.
    pub(crate) async fn stop(&mut self) {
        let running = self.running.take().expect("it runs");
        running.stop.cancel();
        running.service.await.unwrap().unwrap();
        for part in running.parts {
            part.await.unwrap();
        }
    }

    /// Puts messages into the inbox, as the intake does.
    pub(crate) async fn deliver(&self, messages: &[BusMessage]) {
        let incoming: Vec<Incoming> = messages.iter().map(incoming).collect();
        self.put(&incoming).await;
    }

    /// Puts something into the inbox.
    pub(crate) async fn put(&self, incoming: &[Incoming]) {
        self.log.receive(incoming).await.unwrap();
        if let Some(running) = &self.running {
            running.inbox.send_modify(|n| *n += 1);
        }
    }

    /// Waits until everything in the inbox was looked at.
    pub(crate) async fn looked(&self) {
        let looked = async {
            while self.log.counts().await.unwrap().inbox_pending > 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, looked).await.expect("messages wait for ever");
    }

    /// How many polls have begun. When one begins, what the one before it found is in the log.
    fn polls(&self) -> usize {
        let log = self.hub.log();
        log.iter().filter(|l| l.elements.iter().any(|e| e == "tagLastChangeEvent")).count()
    }

    /// Asks for a poll and waits until that many have begun.
    async fn poll(&self, n: usize) {
        let running = self.running.as_ref().expect("it runs");
        running.bell.notify_one();
        let begins = async {
            while self.polls() < n {
                assert!(!running.service.is_finished(), "the service has ended");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(PATIENCE, begins).await.expect("there are no polls any more");
    }

    /// Asks for a poll and waits until the database did not do what the writer asked for.
    pub(crate) async fn finds_trouble(&self) {
        let running = self.running.as_ref().expect("it runs");
        let before = running.lives.load(Ordering::Relaxed);
        running.bell.notify_one();
        let begins_anew = async {
            while running.lives.load(Ordering::Relaxed) == before {
                assert!(!running.service.is_finished(), "the service has ended");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(PATIENCE, begins_anew).await.expect("the writer found no trouble");
    }

    /// Waits for a whole poll, and for those that follow from it, until hub and state are the same; else the differing
    /// lines. Repositories are told of when their content is here, and fetching it again may have to wait: for them it
    /// is time that counts.
    pub(crate) async fn reconciled(&mut self) -> Result<&State, Vec<String>> {
        self.hub.clear_log();
        let mut left = Vec::new();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        for poll in 1.. {
            self.poll(poll).await;
            if poll == 1 {
                continue;
            }
            self.follower.follow(&self.log).await;
            left = differences(&self.follower.state, &self.hub);
            let without_files = left.iter().filter(|l| !l.contains(" repo ")).count();
            let over = without_files > 0 || tokio::time::Instant::now() > deadline;
            if left.is_empty() || (poll > POLLS_MAX && over) {
                break;
            }
        }
        if left.is_empty() { Ok(&self.follower.state) } else { Err(left) }
    }

    /// The state as it is.
    pub(crate) async fn state(&mut self) -> &State {
        self.follower.follow(&self.log).await;
        &self.follower.state
    }
}

/// A message as it stands in the inbox.
pub(crate) fn incoming(m: &BusMessage) -> Incoming {
    let now = clock::now();
    #[allow(clippy::cast_precision_loss, reason = "seconds since 1970")]
    let line = m.line(now.micros() as f64 / 1e6);
    Incoming {
        id: m.id.clone(),
        source: "amqp".to_owned(),
        topic: m.topic.clone(),
        received_at: now,
        body: line.to_string().into_bytes(),
    }
}
