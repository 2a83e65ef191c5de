//! `koschei serve`: the whole service in one process.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{CliError, DbArgs, Done};
use crate::bus::{AmqpSettings, PublishSettings};
use crate::config::Config;
use crate::log::{self, AnyLog, EventLog, Options};
use crate::service::live_hub::LiveHub;
use crate::service::start::Start;
use crate::service::{bus, kerberos, signals};
use crate::telemetry::Metrics;
use crate::telemetry::probe::Readiness;
use crate::web::{Follower, KojiLinks, LoginSettings, Oidc, Owners, People, Site};

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
    kerberos::settle(&config)?;
    // Mistakes on this machine are reported before the service waits for any server.
    let bus = bus::settings(&config.bus)?;
    if let Some(bus) = &bus {
        bus.check().map_err(|e| CliError::Rejected(super::with_causes("use the bus", &e)))?;
    }
    let announcing = bus::announcing(&config, bus.as_ref())?;
    config.policy.passive = args.passive.unwrap_or(config.policy.passive);
    if config.hubs.is_empty() {
        return Err(CliError::Rejected(format!(
            "start the service: {} has no `[[hub]]`; add one, or use `koschei follow` to work without a hub",
            args.config.display()
        )));
    }
    let stop = CancellationToken::new();
    signals::stop_on_signals(stop.clone())?;
    let metrics = Metrics::new();
    let log = log::open(&args.db.db, &Options::default()).await?;
    let served = Box::pin(serve(config, (bus, announcing), &log, &metrics, &stop)).await;
    stop.cancel();
    log.close().await;
    served?;
    eprintln!("koschei: stopped");
    Ok(ExitCode::SUCCESS)
}

/// Makes what the pages need to know people.
fn people(config: &Config, owners: Owners) -> Result<People, CliError> {
    let settings = LoginSettings::from(&config.login);
    let oidc = match (&config.login.oidc, &settings.url) {
        (Some(oidc), Some(url)) => Some(Oidc::new(oidc, url).map_err(|e| CliError::Rejected(e.to_string()))?),
        _ => None,
    };
    Ok(People::new(settings, oidc, owners))
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
    let owners = Owners::default();
    let site =
        Site::new(log.clone(), follower.clone(), metrics.clone(), links).with_people(people(config, owners.clone())?);
    tasks.spawn(owners.refresh(config.owners.clone(), stop.clone()));
    tasks.spawn(crate::web::sweep(log.clone(), stop.clone()));
    let serving = crate::web::serve(at, site, readiness.clone(), config.serve.limits(), stop.clone())
        .await
        .map_err(|source| CliError::Listen { at, source })?;
    eprintln!("koschei: pages at http://{}/", serving.address);
    let (log, stop) = (log.clone(), stop.clone());
    tasks.spawn(async move {
        if let Err(e) = follower.run(&log, None, &stop).await {
            tracing::error!(error = %crate::model::causes::with_causes(&e), "the pages no longer follow the log");
        }
        drop(serving.done.await);
    });
    Ok(())
}

async fn serve(
    config: Config,
    (bus, announcing): (Option<AmqpSettings>, Option<PublishSettings>),
    log: &AnyLog,
    metrics: &Metrics,
    stop: &CancellationToken,
) -> Result<(), CliError> {
    let mut tasks = JoinSet::new();
    let readiness = Readiness::default();
    let mut hubs = Vec::new();
    for hub in &config.hubs {
        hubs.push(LiveHub::open(hub, &config.serve, metrics)?);
    }
    pages(&config, &hubs, log, metrics, &readiness, stop, &mut tasks).await?;
    let (log, metrics, stop) = (log.clone(), metrics.clone(), stop.clone());
    Ok(Start { config, hubs, bus, announcing, log, metrics, readiness, stop }.run(tasks).await?)
}
