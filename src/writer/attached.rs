//! Attachments of resolutions and buildroots, and which of them stay parsed in memory.

use std::collections::VecDeque;
use std::hash::{Hash as _, Hasher as _};
use std::sync::Arc;

use rustc_hash::FxHasher;
use smol_str::SmolStr;

use super::Writer;
use crate::buildroot::installed::Buildroot;
use crate::buildroot::stored::{Differs, Kept, STEPS_MAX, Stored, store};
use crate::buildroot::verdicts::{Closures, SourceResult, SourceVerdict, UnitVerdicts, VerdictsError};
use crate::log::{EventLog, LogError};
use crate::model::Name;

/// Number of units kept parsed beside the two newest of each collection and architecture.
const CACHED_UNITS: usize = 4;
/// Number of units whose versions are known: a search visits eight generations.
const CACHED_VERSIONS: usize = 128;
/// Number of recorded buildroots kept parsed. A package is looked at more than once after a build.
const CACHED_BUILDROOTS: usize = 64;

/// Cache of the most recently used attachments, parsed.
#[derive(Default)]
pub(crate) struct ClosureCache {
    units: VecDeque<(String, Arc<Closures>)>,
    versions: VecDeque<(String, Arc<Versions>)>,
    buildroots: VecDeque<(String, Arc<Buildroot>)>,
}

/// Which source packages resolve in a unit, and in which version: eight bytes for each. A search for the buildroot of a
/// build looks at several units, and most do not have the version that was built.
struct Versions(Vec<u64>);

impl Versions {
    fn of(unit: &UnitVerdicts) -> Self {
        let resolves = |(_, result): &(&Name, &SourceResult)| matches!(result.verdict, SourceVerdict::Ok { .. });
        let resolved = unit.sources.iter().filter(resolves);
        let mut hashes: Vec<u64> = resolved.map(|(name, result)| hash_of(name, &result.source)).collect();
        hashes.sort_unstable();
        Self(hashes)
    }

    /// Returns `false` if `package` surely does not resolve in exactly this version.
    fn may_have(&self, package: &str, source: &str) -> bool {
        self.0.binary_search(&hash_of(package, source)).is_ok()
    }
}

fn hash_of(package: &str, source: &str) -> u64 {
    let mut hasher = FxHasher::default();
    (package, source).hash(&mut hasher);
    hasher.finish()
}

/// Returns the entry with this digest and makes it the most recently used.
fn recall<T>(list: &mut VecDeque<(String, Arc<T>)>, digest: &str) -> Option<Arc<T>> {
    let at = list.iter().position(|(d, _)| d == digest)?;
    let entry = list.remove(at)?;
    let found = Arc::clone(&entry.1);
    list.push_front(entry);
    Some(found)
}

impl ClosureCache {
    pub(crate) fn get(&mut self, digest: &str) -> Option<Arc<Closures>> {
        recall(&mut self.units, digest)
    }

    /// Keeps a unit. `present` is the number of resolutions in force.
    pub(crate) fn put(&mut self, digest: &str, closures: Arc<Closures>, present: usize) {
        if recall(&mut self.versions, digest).is_none() {
            self.versions.push_front((digest.to_owned(), Arc::new(Versions::of(&closures.unit))));
            self.versions.truncate(CACHED_VERSIONS);
        }
        if self.get(digest).is_none() {
            self.units.push_front((digest.to_owned(), closures));
            self.units.truncate(CACHED_UNITS + 2 * present);
        }
    }

    /// Returns `false` if a package surely does not resolve in any of these versions in a unit. An
    /// unknown unit may have them all.
    fn may_have<'a>(&mut self, digest: &str, package: &str, mut sources: impl Iterator<Item = &'a SmolStr>) -> bool {
        recall(&mut self.versions, digest).is_none_or(|versions| sources.any(|s| versions.may_have(package, s)))
    }

    pub(crate) fn buildroot(&mut self, digest: &str) -> Option<Arc<Buildroot>> {
        recall(&mut self.buildroots, digest)
    }

    pub(crate) fn put_buildroot(&mut self, digest: &str, buildroot: Arc<Buildroot>) {
        self.buildroots.push_front((digest.to_owned(), buildroot));
        self.buildroots.truncate(CACHED_BUILDROOTS);
    }
}

fn broken(error: VerdictsError) -> LogError {
    LogError::Broken(error.to_string())
}

impl Writer {
    /// Returns the content of an attachment that the log names: from the pending commit or from the
    /// log.
    pub(crate) async fn attachment(&self, digest: &str) -> Result<Vec<u8>, LogError> {
        if let Some(in_hand) = self.commit.attachments.iter().find(|a| a.digest == digest) {
            return Ok(in_hand.content.clone());
        }
        self.log.attachment(digest).await?.ok_or_else(|| LogError::no_attachment(digest))
    }

    /// Returns the closures in an attachment: from memory, from the pending commit, or from the log.
    /// Cost: that of reading up to [`STEPS_MAX`] attachments more.
    pub(crate) async fn closures(&mut self, digest: &str) -> Result<Arc<Closures>, LogError> {
        let mut open: Vec<Box<Differs>> = Vec::new();
        let mut next = digest.to_owned();
        let mut closures = loop {
            if let Some(found) = self.cache.get(&next) {
                break found;
            }
            match Stored::from_bytes(&self.attachment(&next).await?).map_err(broken)? {
                Stored::Whole(unit) => break Arc::new(Closures::new(*unit).map_err(broken)?),
                Stored::Differs(_) if open.len() >= STEPS_MAX as usize => {
                    return Err(LogError::Broken(format!("attachment {digest} starts from too many others")));
                }
                Stored::Differs(differs) => {
                    next = differs.base().to_owned();
                    open.push(differs);
                }
            }
        };
        let content = open.first().map(|differs| differs.content().to_owned());
        for differs in open.into_iter().rev() {
            closures = Arc::new(differs.applied(&closures).map_err(broken)?);
        }
        if content.is_some_and(|content| content != closures.unit.content()) {
            return Err(LogError::Broken(format!("attachment {digest} and those it starts from give another content")));
        }
        self.keep(digest, &closures);
        Ok(closures)
    }

    /// Keeps a unit parsed in memory.
    pub(crate) fn keep(&mut self, digest: &str, closures: &Arc<Closures>) {
        let present = self.state.collections.values().map(|c| c.arches.len()).sum();
        self.cache.put(digest, Arc::clone(closures), present);
    }

    /// Returns the closures in an attachment if a source package resolves there in one of these
    /// versions.
    pub(crate) async fn closures_with<'a>(
        &mut self,
        digest: &str,
        package: &str,
        sources: impl Iterator<Item = &'a SmolStr> + Clone + Send,
    ) -> Result<Option<Arc<Closures>>, LogError> {
        if !self.cache.may_have(digest, package, sources.clone()) {
            return Ok(None);
        }
        let closures = self.closures(digest).await?;
        let mut sources = sources;
        Ok(sources.any(|source| closures.has(package, source)).then_some(closures))
    }

    /// Returns the present closures of an architecture, if there are any.
    pub(crate) async fn present(&mut self, index: usize, arch: &str) -> Result<Option<Arc<Closures>>, LogError> {
        let known = self.state.collections[index].arches.get(arch);
        match known.and_then(|known| known.attachment.clone()) {
            Some(digest) => self.closures(&digest).await.map(Some),
            None => Ok(None),
        }
    }

    /// Makes the attachment of verdicts. It says what differs from the present ones. The log alone
    /// decides which these are, so the attachment is the same after a restart.
    pub(crate) fn attachment_of(
        &self,
        index: usize,
        unit: UnitVerdicts,
        present: Option<&Closures>,
    ) -> Result<Kept, LogError> {
        let known = self.state.collections[index].arches.get(&unit.arch);
        let base = known.and_then(|known| known.attachment.as_deref());
        store(unit, base.zip(present)).map_err(broken)
    }
}
