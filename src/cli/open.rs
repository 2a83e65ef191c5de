//! Opening a log, and finding a point in it.

use crate::buildroot::{ArchiveResolver, NoResolver, RepoResolver};
use crate::writer::Settings;
use std::path::Path;
use std::sync::Arc;

use super::as_of::{AsOf, Edge, Point, settle};
use super::{CliError, with_causes};
use crate::fold::State;
use crate::koji::Archive;
use crate::log::{self, AnyLog, EventLog, Options, folding};
use crate::model::nearest::did_you_mean;
use crate::model::{Hub, Name, Seq, Timestamp};

/// Opens a log that must exist.
pub(crate) async fn existing(url: &str) -> Result<AnyLog, CliError> {
    Ok(log::open(url, &Options { create: false, ..Options::default() }).await?)
}

/// Opens a log to read only.
pub(crate) async fn reading(url: &str) -> Result<AnyLog, CliError> {
    Ok(log::open(url, &Options { create: false, read_only: true, ..Options::default() }).await?)
}

/// Returns the last event that counts as of a point. `None` means that all count; `Some(None)`
/// means that none does.
pub(crate) async fn point(log: &AnyLog, as_of: Option<AsOf>) -> Result<Option<Option<Seq>>, CliError> {
    Ok(found(log, as_of).await?.map(|(_, seq)| seq))
}

/// Finds a point, and the last event that counts as of it.
async fn found(log: &AnyLog, as_of: Option<AsOf>) -> Result<Option<(Point, Option<Seq>)>, CliError> {
    let Some(as_of) = as_of else { return Ok(None) };
    let point = settle(log, as_of, Edge::End).await?;
    let until = point.seq(log).await?;
    if let (Some(u), head) = (until, log.head().await?)
        && head.seq.is_none_or(|h| u > h)
    {
        let end = head.seq.map_or(0, Seq::get);
        return Err(CliError::Rejected(format!("show event {u}: the log ends at event {end}")));
    }
    Ok(Some((point, until)))
}

/// Returns the state as of a point, and the time to judge it by: that of the point, or of the last
/// event.
pub(crate) async fn state_as_of(log: &AnyLog, as_of: Option<AsOf>) -> Result<(State, Timestamp), CliError> {
    let found = found(log, as_of).await?;
    let state = match found {
        Some((_, None)) => State::default(),
        found => folding::state(log, found.and_then(|(_, until)| until), &mut |_| {}).await?,
    };
    let now = match found {
        Some((Point::Time(t), _)) => t.max(state.recorded_at),
        _ => state.recorded_at,
    };
    Ok((state, now))
}

/// Opens a directory that stands in for a hub. A directory without any of the expected content is
/// an error, because everything would silently be unknown.
pub(crate) fn archive(dir: &Path, hub: Hub) -> Result<Archive, CliError> {
    let archive = Archive::open(dir, hub).map_err(|e| CliError::Rejected(with_causes("open archive", &e)))?;
    if archive.has_nothing() {
        return Err(CliError::Rejected(format!(
            "open archive {}: it has neither repos/TAG/ID with a repository, nor buildrequires.jsonl, nor xmlrpc/ with \
             recorded answers; give the directory that has them, or leave --archive out",
            dir.display()
        )));
    }
    Ok(archive)
}

/// Checks that a state has a collection.
///
/// # Errors
/// Rejected, with similar names, if it has not.
pub(crate) fn known_collection(state: &State, wanted: &str) -> Result<(), CliError> {
    if state.collections.contains_key(wanted) {
        return Ok(());
    }
    let known: Vec<&str> = state.collections.keys().map(Name::as_str).collect();
    let hint = did_you_mean(wanted, known.iter().copied());
    let known = if known.is_empty() { "it has none".to_owned() } else { format!("it has {}", known.join(", ")) };
    Err(CliError::Rejected(format!("find collection `{wanted}` in the log: {known}{hint}")))
}

/// Returns a resolver that reads an archive and uses all processors. Without an archive, nothing is
/// resolved.
pub(crate) fn resolver(archive: Option<Archive>, settings: &Settings) -> Arc<dyn RepoResolver> {
    let Some(archive) = archive else { return Arc::new(NoResolver) };
    let threads = std::thread::available_parallelism().map_or(1, Into::into);
    let resolver = ArchiveResolver::new(archive, settings.mode, threads)
        .checking(settings.check_percent)
        .with_build_conflicts(settings.build_conflicts);
    Arc::new(resolver)
}
