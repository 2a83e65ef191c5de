//! A configured hub: its client, its files, its cache.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::StartError;
use crate::config::{AuthName, Config, Executor, HubConfig, ServeConfig};
use crate::event::{CollectionSettings, Event};
use crate::hub::reader::Reader;
use crate::koji::client::{Auth, CallObserver, CallOutcome, HubClient, HubSettings};
use crate::koji::files::{CacheLimits, FetchSettings, Fetcher, FileEvent, Mirror, SourceStore};
use crate::koji::{Archive, calls, profile};
use crate::log::{AnyLog, EventLog, Subjects};
use crate::model::{Class, Classified, Hub, Name};
use crate::telemetry::{FileOutcome, Metrics};

/// Everything the service needs to work with one hub.
pub(crate) struct LiveHub {
    pub(crate) name: Hub,
    pub(crate) config: HubConfig,
    pub(crate) client: HubClient,
    pub(crate) mirror: Mirror,
    pub(crate) sources: SourceStore,
}

/// Counts calls for the metrics.
struct Counted(Metrics);

impl CallObserver for Counted {
    fn on_call(&self, method: &str, outcome: CallOutcome, seconds: f64) {
        let failed = match outcome {
            CallOutcome::Ok | CallOutcome::Fault => None,
            CallOutcome::Offline | CallOutcome::Unavailable => Some(Class::Unavailable),
            CallOutcome::Rejected => Some(Class::Rejected),
        };
        self.0.hub_request(method, failed, seconds);
    }
}

/// Returns the settings of the client: those of the koji profile, overridden by the configuration.
///
/// # Errors
/// Rejected: the profile cannot be read, or something is missing.
pub(crate) fn settings(config: &HubConfig) -> Result<HubSettings, StartError> {
    let at = |what: String| StartError::Rejected(format!("use hub `{}`: {what}", config.name));
    let mut settings = match &config.profile {
        Some(name) => profile::load_profile(name, &profile::ProfilePaths::system())
            .and_then(profile::Profile::into_settings)
            .map_err(|e| at(crate::model::causes::with_causes(&e)))?,
        None => HubSettings::new(config.server.clone().unwrap_or_default()),
    };
    if let Some(server) = &config.server {
        settings.server.clone_from(server);
    }
    for (ours, theirs) in [(&config.topurl, &mut settings.topurl), (&config.weburl, &mut settings.weburl)] {
        if ours.is_some() {
            theirs.clone_from(ours);
        }
    }
    if config.serverca.is_some() {
        settings.serverca.clone_from(&config.serverca);
    }
    match config.auth {
        None if config.profile.is_some() => {}
        None | Some(AuthName::None) => settings.auth = Auth::Anonymous,
        Some(AuthName::Certificate) => {
            let cert = match (&config.cert, &settings.auth) {
                (Some(cert), _) => cert.clone(),
                (None, Auth::Certificate { cert, .. }) => cert.clone(),
                _ => return Err(at("`auth = \"certificate\"` needs `cert`".to_owned())),
            };
            settings.auth = Auth::Certificate { cert, key: config.key.clone() };
        }
        Some(AuthName::Gssapi) => {
            settings.auth =
                Auth::Gssapi { principal: config.principal.clone(), keytab: config.keytab.clone(), ccache: None };
        }
    }
    if let Some(secs) = config.timeout_secs {
        settings.request_timeout = Duration::from_secs(secs);
    }
    if let Some(n) = config.requests_per_second.and_then(NonZeroU32::new) {
        settings.requests_per_second = Some(n);
    }
    // Callers wait and retry themselves, because they know what else there is to do.
    settings.max_retries = settings.max_retries.min(3);
    settings.longest_wait = settings.longest_wait.min(Duration::from_secs(5));
    settings.offline_retry = false;
    Ok(settings)
}

impl LiveHub {
    /// Opens the client, the cache and the files. Makes no request.
    ///
    /// # Errors
    /// Rejected: the settings cannot be used. Unavailable: the cache directory cannot be written.
    pub(crate) fn open(config: &HubConfig, serve: &ServeConfig, metrics: &Metrics) -> Result<Self, StartError> {
        let at = |what: &dyn std::error::Error| {
            StartError::Rejected(format!("use hub `{}`: {}", config.name, crate::model::causes::with_causes(what)))
        };
        let settings = settings(config)?;
        let topurl = settings.topurl.clone().ok_or_else(|| {
            StartError::Rejected(format!(
                "use hub `{}`: `topurl` is missing; set it, because repositories are read from there",
                config.name
            ))
        })?;
        let files = FetchSettings {
            at_once: config.files_at_once,
            authorities: settings.serverca.clone(),
            ..FetchSettings::default()
        };
        let counted = metrics.clone();
        let observer = Arc::new(move |event: FileEvent| {
            if let Some(outcome) = outcome(&event) {
                counted.file_request(outcome);
            }
        });
        let client = HubClient::with_observer(settings, Arc::new(Counted(metrics.clone()))).map_err(|e| at(&e))?;
        let cache = serve.cache_dir.join(&config.name);
        let fetcher = Fetcher::observed(files, observer).map_err(|e| at(&e))?;
        let limits = CacheLimits { generations_per_tag: serve.repos_kept, ..CacheLimits::default() };
        let mirror = Mirror::with_limits(&cache, &topurl, fetcher, limits).map_err(|e| at(&e))?;
        let sources = SourceStore::open(&cache.join("buildrequires.jsonl")).map_err(|e| at(&e))?;
        Ok(Self { name: Hub::new(&config.name), config: config.clone(), client, mirror, sources })
    }

    /// Opens the mirrored repositories, to resolve from. Opening is cheap, so each new resolver
    /// opens them again.
    pub(crate) fn archive(&self) -> Result<Archive, crate::koji::ArchiveError> {
        Archive::open_with(self.mirror.dir(), self.name.clone(), self.sources.clone())
    }

    pub(crate) fn reader(&self) -> Reader {
        Reader::new(self.client.clone())
    }

    /// Checks whether somebody submits rebuilds to it: an outside executor, or we, with a login.
    pub(crate) fn can_submit(&self) -> bool {
        self.config.executor == Executor::Jetstream || !matches!(self.client.settings().auth, Auth::Anonymous)
    }
}

const fn outcome(event: &FileEvent) -> Option<FileOutcome> {
    match event {
        FileEvent::Request { status: Some(200..=399) } => Some(FileOutcome::Fetched),
        FileEvent::Request { status: Some(404 | 410) } => Some(FileOutcome::Missing),
        FileEvent::Request { .. } => Some(FileOutcome::Failed),
        FileEvent::Reused { .. } => Some(FileOutcome::Cached),
        FileEvent::Received { .. } | FileEvent::Retry => None,
    }
}

/// Time to wait for the tags of a target if the log already knows them.
const TARGET_PATIENCE: Duration = Duration::from_secs(20);
/// Number of events of a collection that are read at a time.
const PAGE: usize = 1_000;

/// Fills in the tags of collections that only name a target. If the hub does not answer, or the
/// target no longer exists, the tags in the log are used: only a collection that lost its target
/// stops.
///
/// # Errors
/// Rejected: the target does not exist and never did. Unavailable: the log cannot be read.
pub(crate) async fn tags_of_targets(
    config: &mut Config,
    hubs: &[LiveHub],
    log: &AnyLog,
    stop: &CancellationToken,
) -> Result<(), StartError> {
    let default_hub = config.default_hub.clone();
    for c in config.collections.iter_mut().filter(|c| c.build_tag.is_none() || c.dest_tag.is_none()) {
        let on = c.hub.as_ref().unwrap_or(&default_hub);
        let (Some(hub), Some(target)) = (hubs.iter().find(|h| h.name.as_str() == on), c.target.clone()) else {
            continue;
        };
        let known = known_settings(log, &c.name).await?.filter(|k| k.hub == hub.name && k.target == target);
        let found = match &known {
            Some(known) => {
                let asked = hub.client.ask(calls::get_build_target(&target));
                let told = match tokio::time::timeout(TARGET_PATIENCE, asked).await {
                    Ok(Ok(Some(found))) => Some((found.build_tag_name, found.dest_tag_name)),
                    Ok(Ok(None)) => {
                        tracing::error!(hub = %on, collection = %c.name, "target `{target}` no longer exists; the \
                            collection waits until it exists again");
                        None
                    }
                    Ok(Err(e)) => {
                        let text = crate::model::causes::with_causes(&e);
                        tracing::warn!(hub = %on, collection = %c.name, error = %text, "cannot ask the hub for the \
                            tags of target `{target}`; the known ones are used");
                        None
                    }
                    Err(_) => None,
                };
                told.or_else(|| Some((known.build_tag.clone(), known.dest_tag.clone())))
            }
            None => asked_until_told(hub, &c.name, &target, stop).await?,
        };
        let Some((build_tag, dest_tag)) = found else { return Ok(()) };
        c.build_tag.get_or_insert_with(|| build_tag.to_string());
        c.dest_tag.get_or_insert_with(|| dest_tag.to_string());
    }
    Ok(())
}

/// Asks the hub for the tags of a target until it answers. Returns `None` if the service stops.
async fn asked_until_told(
    hub: &LiveHub,
    collection: &str,
    target: &str,
    stop: &CancellationToken,
) -> Result<Option<(Name, Name)>, StartError> {
    let on = &hub.name;
    let mut backoff = crate::base::backoff::Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
    loop {
        match hub.client.ask(calls::get_build_target(target)).await {
            Ok(Some(found)) => return Ok(Some((found.build_tag_name, found.dest_tag_name))),
            Ok(None) => {
                return Err(StartError::Rejected(format!(
                    "create collection `{collection}`: hub `{on}` has no target `{target}`; give `build_tag` and \
                        `dest_tag`"
                )));
            }
            Err(e) if e.class() == Class::Unavailable => {
                tracing::warn!(hub = %on, error = %crate::model::causes::with_causes(&e), "waiting for the hub to \
                    name the tags of target `{target}`");
                if !backoff.wait(stop).await {
                    return Ok(None);
                }
            }
            Err(e) => {
                let text = crate::model::causes::with_causes(&e);
                return Err(StartError::Rejected(format!(
                    "ask for target `{target}` of collection `{collection}`: {text}"
                )));
            }
        }
    }
}

/// Returns the settings of a collection in the log.
async fn known_settings(log: &AnyLog, collection: &str) -> Result<Option<CollectionSettings>, StartError> {
    let subject = format!("collection/{collection}");
    let mut known = None;
    let mut after = None;
    loop {
        let records = log.read_subject(Subjects::Exactly(&subject), after, PAGE).await?;
        let Some(last) = records.last() else { return Ok(known) };
        after = Some(last.seq);
        // Most events of a collection are resolutions, which are long, so they are not decoded.
        for record in records.iter().filter(|r| r.kind.starts_with("collection_")) {
            match record.decode().map(|e| e.event) {
                Ok(Event::CollectionCreated(c)) => known = Some(c.settings),
                Ok(Event::CollectionEdited(c)) => known = Some(c.settings),
                _ => {}
            }
        }
    }
}
