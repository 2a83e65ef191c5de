//! Attachments of resolutions and buildroots, and which of them stay parsed in memory.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Writer;
use crate::buildroot::installed::Buildroot;
use crate::buildroot::stored::{Differs, Kept, STEPS_MAX, Stored, store};
use crate::buildroot::verdicts::{Closures, UnitVerdicts, VerdictsError};
use crate::log::{EventLog, LogError};

/// Number of units kept parsed: two architectures of a few generations, for comparing.
const CACHED_UNITS: usize = 12;
/// Number of recorded buildroots kept parsed. A package is looked at more than once after a build.
const CACHED_BUILDROOTS: usize = 64;

/// Cache of the most recently used attachments, parsed.
#[derive(Default)]
pub(crate) struct ClosureCache {
    units: VecDeque<(String, Arc<Closures>)>,
    buildroots: VecDeque<(String, Arc<Buildroot>)>,
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

    pub(crate) fn put(&mut self, digest: &str, closures: Arc<Closures>) {
        if self.get(digest).is_none() {
            self.units.push_front((digest.to_owned(), closures));
            self.units.truncate(CACHED_UNITS);
        }
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
        self.cache.put(digest, Arc::clone(&closures));
        Ok(closures)
    }

    /// Makes the attachment of verdicts. It says what differs from the present ones. The log alone
    /// decides which these are, so the attachment is the same after a restart.
    pub(crate) async fn attachment_of(&mut self, index: usize, unit: UnitVerdicts) -> Result<Kept, LogError> {
        let known = self.state.collections[index].arches.get(&unit.arch);
        let base = known.and_then(|known| known.attachment.clone());
        let before = match &base {
            Some(digest) => Some(self.closures(digest).await?),
            None => None,
        };
        store(unit, base.as_deref().zip(before.as_deref())).map_err(broken)
    }
}
