//! The service within the test's own process: the same tasks as in `koschei serve`, without the
//! command line. It polls when the test says so.

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

/// A collection of one target, for which nothing is submitted.
pub(crate) const ONE_COLLECTION: &str = r#"
[policy]
passive = true
load_threshold = 1000

[[collection]]
name = "f99"
target = "f99"
track_all = true
"#;

/// Polls until hub and state must be equal. One poll may lead to another if it sees a new parent or
/// another target.
const POLLS_MAX: usize = 6;

/// A log, and a service that works on it. Nothing is submitted.
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
    /// How often the writer was opened: once, and once more after each trouble with the database.
    lives: Arc<AtomicUsize>,
    parts: Vec<JoinHandle<()>>,
    service: JoinHandle<Result<(), LogError>>,
}

impl Inside {
    /// Makes a service on an empty log. It does not run yet. `config` is the configuration of the
    /// collections.
    pub(crate) async fn new(hub: Hub, dir: &Path, config: &str) -> Self {
        Self::on(feed::sqlite(dir, "koschei.db").await, hub, dir, config)
    }

    /// Like [`Inside::new`], on an existing log.
    pub(crate) fn on(log: AnyLog, hub: Hub, dir: &Path, config: &str) -> Self {
        let path = dir.join("koschei.toml");
        // With a hub in the configuration, targets are enough.
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
            // Like `serve` if only a target is given: the hub's tags, or those that the log knows.
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
            announcements: None,
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
            // Readers of files for the service before may keep the directory for a moment.
            match Mirror::new(cache, &self.hub.topurl(), Fetcher::new(FetchSettings::default()).unwrap()) {
                Err(FetchError::InUse { .. }) if began.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                opened => return opened.unwrap(),
            }
        }
    }

    /// Stops and restarts the service, and waits until it has compared everything.
    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        self.follower.follow(&self.log).await;
        self.hub.clear_log();
        self.start();
        self.poll(1).await;
    }

    /// Stops the service cleanly.
    pub(crate) async fn stop(&mut self) {
        let running = self.running.take().expect("it runs");
        running.stop.cancel();
        running.service.await.unwrap().unwrap();
        for part in running.parts {
            part.await.unwrap();
        }
    }

    /// Puts messages into the inbox, like the intake.
    pub(crate) async fn deliver(&self, messages: &[BusMessage]) {
        let incoming: Vec<Incoming> = messages.iter().map(incoming).collect();
        self.put(&incoming).await;
    }

    /// Puts inbox messages into the inbox.
    pub(crate) async fn put(&self, incoming: &[Incoming]) {
        self.log.receive(incoming).await.unwrap();
        if let Some(running) = &self.running {
            running.inbox.send_modify(|n| *n += 1);
        }
    }

    /// Waits until everything in the inbox was looked up.
    pub(crate) async fn looked(&self) {
        let looked = async {
            while self.log.counts().await.unwrap().inbox_pending > 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, looked).await.expect("messages wait for ever");
    }

    /// Returns how many polls have begun. When one begins, the findings of the one before are in
    /// the log.
    fn polls(&self) -> usize {
        let log = self.hub.log();
        log.iter().filter(|l| l.elements.iter().any(|e| e == "tagLastChangeEvent")).count()
    }

    /// Requests a poll, and waits until `n` polls have begun.
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

    /// Requests a poll, and waits until the database has failed the writer.
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

    /// Waits for a whole poll, and for those that follow from it, until hub and state are equal.
    /// Otherwise returns the differing lines. A repository is reported when its content is here,
    /// and another fetch may have to wait. So a time limit counts for repositories.
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

    /// Returns the current state.
    pub(crate) async fn state(&mut self) -> &State {
        self.follower.follow(&self.log).await;
        &self.follower.state
    }
}

/// Returns a message in its inbox form.
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
