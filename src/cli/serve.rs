//! `koschei serve`: the whole service in one process.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::live_hub::{self, LiveHub};
use super::{CliError, DbArgs, Done};
use crate::buildroot::MakeResolver;
use crate::buildroot::archive_resolver::ArchiveResolver;
use crate::buildroot::per_hub::PerHubResolver;
use crate::bus::{AmqpSettings, AmqpSource, FedoraMessaging, amqp};
use crate::config::{BusConfig, Config};
use crate::event::Source;
use crate::hub::poller::{Poller, Rhythm};
use crate::hub::repositories::Fetching;
use crate::hub::store::Mirrored;
use crate::hub::submitter::Submitter;
use crate::hub::to_writer::{ToHub, ToWriter};
use crate::intake::receive;
use crate::log::{self, AnyLog, EventLog, Options};
use crate::service::serve::Service;
use crate::telemetry::Metrics;
use crate::telemetry::probe::Readiness;
use crate::web::{Follower, KojiLinks, Site};
use crate::writer::{HEART, Settings};

/// Run the service: watch Koji, resolve buildroots, submit rebuilds, serve pages.
///
/// The configuration names the hubs, the bus, the collections and the address of the pages. The
/// service stops at SIGTERM or SIGINT. After a restart it continues where it stopped, and first
/// compares the log with the hubs.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  koschei serve --config /etc/koschei/koschei.toml --db /var/lib/koschei/koschei.db")]
pub(crate) struct ServeArgs {
    /// Configuration file; deploy/koschei.toml explains every key
    #[arg(long, value_name = "FILE", env = "KOSCHEI_CONFIG")]
    config: PathBuf,
    #[command(flatten)]
    db: DbArgs,
    /// Decide but submit nothing (yes), or submit (no); overrides the configuration
    #[arg(long, value_name = "yes|no", num_args = 0..=1, default_missing_value = "yes", value_parser = super::yes_no)]
    passive: Option<bool>,
}

pub(super) async fn run(args: &ServeArgs) -> Done {
    let mut config = Config::load(&args.config)?;
    super::kerberos::settle(&config)?;
    // Mistakes on this machine are reported before the service waits for any server.
    let bus = bus_settings(&config.bus)?;
    if let Some(bus) = &bus {
        bus.check().map_err(|e| CliError::Rejected(super::with_causes("use the bus", &e)))?;
    }
    config.policy.passive = args.passive.unwrap_or(config.policy.passive);
    if config.hubs.is_empty() {
        return Err(CliError::Rejected(format!(
            "serve: {} has no `[[hub]]`; use `koschei follow` to work without one",
            args.config.display()
        )));
    }
    let stop = CancellationToken::new();
    super::follow::stop_on_signals(stop.clone())?;
    let metrics = Metrics::new();
    let log = log::open(&args.db.db, &Options::default()).await?;
    let served = Box::pin(serve(config, bus, &log, &metrics, &stop)).await;
    stop.cancel();
    log.close().await;
    served?;
    eprintln!("koschei: stopped");
    Ok(ExitCode::SUCCESS)
}

async fn serve(
    mut config: Config,
    bus: Option<AmqpSettings>,
    log: &AnyLog,
    metrics: &Metrics,
    stop: &CancellationToken,
) -> Result<(), CliError> {
    let mut tasks = JoinSet::new();
    let readiness = Readiness::default();
    let mut hubs = Vec::new();
    for h in &config.hubs {
        hubs.push(LiveHub::open(h, &config.serve, metrics)?);
    }
    tasks.spawn(crate::service::retention::keep(log.clone(), config.raw_days, stop.clone()));
    tasks.spawn(super::systemd::watchdog(HEART, metrics.clone(), stop.clone()));
    pages(&config, &hubs, log, metrics, &readiness, stop, &mut tasks).await?;
    live_hub::tags_of_targets(&mut config, &hubs, log, stop).await?;
    let mut settings = config.settings(Source::Hub);
    settings.hubs = hubs.iter().filter(|h| h.can_submit()).map(|h| h.name.clone()).collect();
    let log_id = log.info().await?.log_id;
    let (writer, inputs) = ToWriter::channel();
    let (inbox, inbox_rung) = watch::channel(0);
    let (outbox, outbox_rung) = watch::channel(0);
    let mut to_hubs = HashMap::new();
    let mut reconnected = Vec::new();
    for hub in &hubs {
        let bell = Arc::new(Notify::new());
        reconnected.push(Arc::clone(&bell));
        let work = Work { writer: &writer, log, log_id: &log_id, settings: &settings, metrics, stop };
        to_hubs.insert(hub.name.clone(), work.begin(hub, bell, outbox_rung.clone(), &mut tasks)?);
    }
    drop(writer);
    listen(bus, log, inbox, reconnected, metrics, stop, &mut tasks);
    let threads = std::thread::available_parallelism().map_or(1, Into::into);
    let (mode, percent, conflicts) = (settings.mode, settings.check_percent, settings.build_conflicts);
    let hubs = Arc::new(hubs);
    let caches = Arc::clone(&hubs);
    let resolver: MakeResolver = Box::new(move || {
        let of = |hub: &LiveHub| match hub.archive() {
            Ok(archive) => {
                let resolver = ArchiveResolver::new(Mirrored { archive, mirror: hub.mirror.clone() }, mode, threads)
                    .checking(percent)
                    .with_build_conflicts(conflicts);
                Some((hub.name.clone(), resolver))
            }
            Err(e) => {
                let text = crate::model::causes::with_causes(&e);
                tracing::error!(hub = %hub.name, error = %text, "the cache cannot be read; nothing is resolved");
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
        metrics: metrics.clone(),
        readiness: readiness.clone(),
        stop: stop.clone(),
    };
    let ready = || {
        readiness.ready();
        if let Err(e) = super::systemd::notify("READY=1") {
            tracing::debug!(error = %crate::model::causes::with_causes(&e), "nobody waits to hear that we are ready");
        }
    };
    let lived = Box::pin(service.run(ready)).await;
    stop.cancel();
    while let Some(ended) = tasks.join_next().await {
        if let Err(e) = ended {
            tracing::error!(error = %crate::model::causes::with_causes(&e), "a part of the service ended badly");
        }
    }
    Ok(lived?)
}

/// Serves pages and monitoring if an address is configured.
async fn pages(
    config: &Config,
    hubs: &[LiveHub],
    log: &AnyLog,
    metrics: &Metrics,
    readiness: &Readiness,
    stop: &CancellationToken,
    tasks: &mut JoinSet<()>,
) -> Result<(), CliError> {
    let Some(at) = config.serve.listen else { return Ok(()) };
    let mut links = KojiLinks::default();
    for hub in hubs {
        if let Some(url) = hub.client.settings().weburl.as_deref() {
            links.set(Some(hub.name.clone()), url).map_err(|e| CliError::Rejected(e.to_string()))?;
        }
    }
    let follower = Follower::new(metrics.clone());
    let site = Site::new(log.clone(), follower.clone(), metrics.clone(), links);
    let serving = crate::web::serve(at, site, readiness.clone(), config.serve.limits(), stop.clone())
        .await
        .map_err(|source| CliError::Listen { at, source })?;
    eprintln!("koschei: pages at http://{}/", serving.address);
    let (log, stop) = (log.clone(), stop.clone());
    tasks.spawn(async move {
        if let Err(e) = follower.run(&log, None, &stop).await {
            tracing::error!(error = %crate::model::causes::with_causes(&e), "pages show nothing new any more");
        }
        drop(serving.done.await);
    });
    Ok(())
}

/// Returns the settings of the bus. `None` means that no bus is configured and only polling finds
/// changes.
pub(super) fn bus_settings(bus: &BusConfig) -> Result<Option<AmqpSettings>, CliError> {
    if !bus.is_there() {
        return Ok(None);
    }
    let mut settings = match &bus.fedora_messaging {
        Some(path) => from_file(path, bus.queue.as_deref())?,
        None => AmqpSettings::new("", bus.queue.as_deref().unwrap_or(amqp::QUEUE)),
    };
    if let Some(url) = &bus.amqp_url {
        settings.url.clone_from(url);
    }
    if bus.ca_cert.is_some() {
        settings.tls.ca_cert.clone_from(&bus.ca_cert);
    }
    if let (Some(cert), Some(key)) = (&bus.cert, &bus.key) {
        settings.tls.certificate = Some((cert.clone(), key.clone()));
    }
    Ok(Some(settings))
}

fn from_file(path: &Path, queue: Option<&str>) -> Result<AmqpSettings, CliError> {
    let file = FedoraMessaging::read(path, queue)
        .map_err(|e| CliError::Rejected(super::with_causes("use the configuration of Fedora Messaging", &e)))?;
    for warning in &file.warnings {
        eprintln!("koschei: warning: {}: {warning}", path.display());
    }
    Ok(file.amqp)
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
        eprintln!("koschei: no bus is configured; what happens is found by polling");
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
        receive::run(source, log, inbox, rang, metrics, stop).await;
    });
}

/// Connects to the broker, and retries until it answers. Meanwhile polling finds changes. Returns
/// `None` if the service stops.
async fn connect(settings: AmqpSettings, metrics: &Metrics, stop: &CancellationToken) -> Option<AmqpSource> {
    let mut patience = receive::patience();
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
    ) -> Result<ToHub, CliError> {
        let (hints, hinted) = mpsc::unbounded_channel();
        let (repos, new_repos) = mpsc::unbounded_channel();
        let (watching, watched) = watch::channel(crate::hub::interest::Interest::default());
        let (holding, held) = watch::channel(crate::writer::pauses::Held::default());
        let (stale, stale_seen) = watch::channel(std::collections::BTreeMap::new());
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
        if hub.can_submit() {
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
            eprintln!("koschei: hub `{}` is only looked at: no `auth` is configured", hub.name);
        }
        Ok(ToHub { hints, watch: watching, held: holding })
    }
}
