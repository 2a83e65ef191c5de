//! Starting and stopping the service: every loop of it, and the channels between them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::jetstream::{self, JetStream};
use super::live_hub::{self, LiveHub};
use super::serve::Service;
use super::{StartError, retention, systemd};
use crate::buildroot::MakeResolver;
use crate::buildroot::archive_resolver::ArchiveResolver;
use crate::buildroot::per_hub::PerHubResolver;
use crate::bus::{AmqpSettings, AmqpSource, PublishSettings, Publisher};
use crate::config::{Config, Executor, NoQueue};
use crate::event::Source;
use crate::hub::interest::Interest;
use crate::hub::poller::{Poller, Rhythm};
use crate::hub::repositories::Fetching;
use crate::hub::store::Mirrored;
use crate::hub::submitter::Submitter;
use crate::hub::to_writer::{ToHub, ToWriter};
use crate::intake::announcing::Announcer;
use crate::intake::receive;
use crate::log::{AnyLog, EventLog};
use crate::telemetry::Metrics;
use crate::telemetry::probe::Readiness;
use crate::writer::pauses::Held;
use crate::writer::{HEART, Settings};

/// A service that is ready to start.
pub(crate) struct Start {
    /// Settings.
    pub(crate) config: Config,
    /// The hubs of the configuration.
    pub(crate) hubs: Vec<LiveHub>,
    /// Where messages come from. `None`: only polling finds changes.
    pub(crate) bus: Option<AmqpSettings>,
    /// Where changes of state are announced. `None`: nowhere.
    pub(crate) announcing: Option<PublishSettings>,
    /// The log.
    pub(crate) log: AnyLog,
    /// Counters.
    pub(crate) metrics: Metrics,
    /// Says yes as soon as the log is folded and messages are handled.
    pub(crate) readiness: Readiness,
    /// Stops every loop.
    pub(crate) stop: CancellationToken,
}

impl Start {
    /// Starts every loop, and runs the one that owns the writer until told to stop. Then waits for all of them, and for
    /// `tasks`, which the caller started with the same `stop`.
    ///
    /// # Errors
    /// Returns a rejected error if a collection names a target that no hub has, and an error of the log if the writer
    /// cannot go on.
    pub(crate) async fn run(self, mut tasks: JoinSet<()>) -> Result<(), StartError> {
        let Self { mut config, hubs, bus, announcing, log, metrics, readiness, stop } = self;
        let (log, metrics, stop) = (&log, &metrics, &stop);
        tasks.spawn(retention::keep(log.clone(), config.raw_days, stop.clone()));
        tasks.spawn(retention::keep_announcements(log.clone(), config.announce.keep_days, stop.clone()));
        tasks.spawn(systemd::watchdog(HEART, metrics.clone(), stop.clone()));
        live_hub::tags_of_targets(&mut config, &hubs, log, stop).await?;
        let mut settings = config.settings(Source::Hub);
        settings.telling = announcing.is_some().then(|| config.announce.telling());
        settings.hubs = hubs.iter().filter(|h| h.can_submit()).map(|h| h.name.clone()).collect();
        let log_id = log.info().await?.log_id;
        let server = jetstream::server(&config.jetstream)?;
        let jetstream = server.map(|server| JetStream { config: &config.jetstream, server, log, metrics, stop });
        if let Some(jetstream) = jetstream.as_ref().filter(|_| config.jetstream.events) {
            jetstream.publish(&log_id, &mut tasks);
        }
        let (writer, inputs) = ToWriter::channel();
        let (inbox, inbox_rung) = watch::channel(0);
        let (outbox, outbox_rung) = watch::channel(0);
        let mut to_hubs = HashMap::new();
        let mut reconnected = Vec::new();
        for hub in &hubs {
            let bell = Arc::new(Notify::new());
            reconnected.push(Arc::clone(&bell));
            let jetstream = jetstream.as_ref();
            let work = Work { writer: &writer, log, log_id: &log_id, settings: &settings, jetstream, metrics, stop };
            to_hubs.insert(hub.name.clone(), work.begin(hub, bell, outbox_rung.clone(), &mut tasks));
        }
        drop(writer);
        if let Some(jetstream) = jetstream.filter(|_| !settings.outside.is_empty()) {
            jetstream.take_results(inbox.clone(), &mut tasks);
        }
        listen(bus, log, inbox, reconnected, metrics, stop, &mut tasks);
        let announcements = match announcing {
            Some(to) => Some(announce(to, config.announce.no_queue, log, metrics, stop, &mut tasks)?),
            None => None,
        };
        let threads = std::thread::available_parallelism().map_or(1, Into::into);
        let (mode, percent, conflicts) = (settings.mode, settings.check_percent, settings.build_conflicts);
        let hubs = Arc::new(hubs);
        let caches = Arc::clone(&hubs);
        let resolver: MakeResolver = Box::new(move || {
            let of = |hub: &LiveHub| match hub.archive() {
                Ok(archive) => {
                    let resolver =
                        ArchiveResolver::new(Mirrored { archive, mirror: hub.mirror.clone() }, mode, threads)
                            .checking(percent)
                            .with_build_conflicts(conflicts);
                    Some((hub.name.clone(), resolver))
                }
                Err(e) => {
                    let text = crate::model::causes::with_causes(&e);
                    tracing::error!(hub = %hub.name, error = %text, "the cache cannot be read; nothing of this hub \
                        is resolved");
                    None
                }
            };
            Arc::new(PerHubResolver::new(caches.iter().filter_map(of).collect()))
        });
        let service = Service {
            log: log.clone(),
            settings,
            resolver,
            hubs: to_hubs,
            inputs,
            inbox: inbox_rung,
            outbox,
            announcements,
            metrics: metrics.clone(),
            readiness: readiness.clone(),
            stop: stop.clone(),
        };
        let ready = || {
            readiness.ready();
            systemd::ready();
        };
        let lived = Box::pin(service.run(ready)).await;
        stop.cancel();
        while let Some(ended) = tasks.join_next().await {
            if let Err(e) = ended {
                tracing::error!(error = %crate::model::causes::with_causes(&e), "a task of the service failed");
            }
        }
        Ok(lived?)
    }
}

/// Listens to the bus. Without a bus, only polling finds changes.
fn listen(
    bus: Option<AmqpSettings>,
    log: &AnyLog,
    inbox: watch::Sender<u64>,
    reconnected: Vec<Arc<Notify>>,
    metrics: &Metrics,
    stop: &CancellationToken,
    tasks: &mut JoinSet<()>,
) {
    let Some(settings) = bus else {
        eprintln!("koschei: no bus is configured; changes are found by polling");
        tasks.spawn(keep_open(inbox, stop.clone()));
        return;
    };
    let mut connections = 0;
    let rang = move |source: &AmqpSource| {
        let now = source.connections();
        let again = now != connections && connections > 0;
        connections = now;
        if again {
            // Messages lost while the bus was away left no hints, so the pollers look again.
            reconnected.iter().for_each(|bell| bell.notify_one());
        }
        again
    };
    let (log, metrics, stop) = (log.clone(), metrics.clone(), stop.clone());
    tasks.spawn(async move {
        let Some(source) = connect(settings, &metrics, &stop).await else { return };
        receive::run((source, receive::BUS), log, inbox, rang, metrics, stop).await;
    });
}

/// Starts to send announcements. Returns what wakes the sender up.
fn announce(
    to: PublishSettings,
    no_queue: NoQueue,
    log: &AnyLog,
    metrics: &Metrics,
    stop: &CancellationToken,
    tasks: &mut JoinSet<()>,
) -> Result<watch::Sender<u64>, StartError> {
    let publisher = Publisher::new(to).map_err(|e| StartError::because("announce changes (`[announce]`)", &e))?;
    let (bell, rung) = watch::channel(0);
    let announcer = Announcer {
        log: log.clone(),
        publisher,
        waits_for_queue: no_queue == NoQueue::Wait,
        rung,
        metrics: metrics.clone(),
        stop: stop.clone(),
    };
    tasks.spawn(announcer.run());
    Ok(bell)
}

/// Connects to the broker, and retries until it answers. Meanwhile polling finds changes. Returns
/// `None` if the service stops.
async fn connect(settings: AmqpSettings, metrics: &Metrics, stop: &CancellationToken) -> Option<AmqpSource> {
    let mut patience = receive::BUS.patience();
    metrics.intake_begins(crate::base::clock::now());
    loop {
        match AmqpSource::open(settings.clone()).await {
            Ok(source) => return Some(source),
            Err(e) => {
                if !patience.wait(&e, stop).await {
                    return None;
                }
            }
        }
    }
}

/// Keeps the sender of inbox notifications open when no bus uses it.
async fn keep_open(inbox: watch::Sender<u64>, stop: CancellationToken) {
    stop.cancelled().await;
    drop(inbox);
}

/// What the tasks of all hubs share.
struct Work<'a> {
    writer: &'a ToWriter,
    log: &'a AnyLog,
    log_id: &'a str,
    settings: &'a Settings,
    jetstream: Option<&'a JetStream<'a>>,
    metrics: &'a Metrics,
    stop: &'a CancellationToken,
}

impl Work<'_> {
    /// Starts the tasks of one hub.
    fn begin(
        &self,
        hub: &LiveHub,
        reconnected: Arc<Notify>,
        outbox: watch::Receiver<u64>,
        tasks: &mut JoinSet<()>,
    ) -> ToHub {
        let (hints, hinted) = mpsc::unbounded_channel();
        let (repos, new_repos) = mpsc::unbounded_channel();
        let (watching, watched) = watch::channel(Interest::default());
        let (holding, held) = watch::channel(Held::default());
        let (stale, stale_seen) = watch::channel(BTreeMap::new());
        let config = &hub.config;
        tasks.spawn(
            Poller {
                hub: hub.name.clone(),
                reader: hub.reader(),
                writer: self.writer.clone(),
                hints: hinted,
                watch: watched,
                repos,
                stale,
                reconnected,
                rhythm: Rhythm {
                    poll: Duration::from_secs(config.poll_secs),
                    reconcile: Duration::from_secs(config.reconcile_secs),
                },
                user: self.settings.context.service_user.clone(),
                log_id: self.log_id.to_owned(),
                wants_load: self.settings.policy.load_is_limited(),
                metrics: self.metrics.clone(),
                stop: self.stop.clone(),
            }
            .run(),
        );
        tasks.spawn(
            Fetching {
                hub: hub.name.clone(),
                reader: hub.reader(),
                mirror: hub.mirror.clone(),
                sources: hub.sources.clone(),
                writer: self.writer.clone(),
                new: new_repos,
                at_once: config.files_at_once,
                metrics: self.metrics.clone(),
                stop: self.stop.clone(),
            }
            .run(),
        );
        let outside = self.jetstream.filter(|_| config.executor == Executor::Jetstream);
        if let Some(jetstream) = outside {
            jetstream.give_commands(config, self.writer, (outbox, held), tasks);
        } else if hub.can_submit() {
            self.metrics.delivery_begins();
            let after = config.request_repo_after_secs;
            tasks.spawn(
                Submitter {
                    hub: hub.name.clone(),
                    session: hub.client.session(),
                    writer: self.writer.clone(),
                    log: self.log.clone(),
                    log_id: self.log_id.to_owned(),
                    outbox,
                    stale: stale_seen,
                    held,
                    request_after: (after > 0).then(|| Duration::from_secs(after)),
                    bind: config.bind_repo,
                    metrics: self.metrics.clone(),
                    stop: self.stop.clone(),
                }
                .run(),
            );
        } else {
            eprintln!("koschei: nothing is submitted to hub `{}`: no `auth` is configured", hub.name);
        }
        ToHub { hints, watch: watching, held: holding }
    }
}
