//! Says which updates broke what: the suspects of failed builds, and causes with the packages they
//! broke. It reads the log, and nothing else.
//!
//! A cause of a broken resolution is a fact: an event names it. A cause of failed builds is found by
//! the evidence of all packages together ([`crate::decide::suspects`]), judged with everything that
//! the log holds at the moment asked for.

mod life;
mod spells;
mod told;

use serde::Serialize;

pub use self::told::{Told, read};
use crate::decide::causes::{BROKE, CauseKind, Updated};
use crate::model::{Name, RepoId};

/// A package that a cause broke, for one spell.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct BrokenPackage {
    /// The package. `*` stands for all.
    pub name: Name,
    /// Sequence number of the event with which it broke.
    pub since: u64,
    /// Sequence number of the event with which the spell ended. `None` while it lasts.
    pub until: Option<u64>,
    /// The share of the cause, in thousandths. 1000 for resolutions.
    pub share: u32,
}

/// A cause and the packages it broke.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Cause {
    /// Names the cause: the same cause has the same name in every copy of the log.
    pub id: String,
    /// Its kind.
    pub kind: CauseKind,
    /// The collection.
    pub collection: Name,
    /// The update.
    pub update: Updated,
    /// Other updates of the same repository that are in the buildroots of exactly the same packages.
    pub together: Vec<String>,
    /// The repository that brought it, if there is one.
    pub repo: Option<RepoId>,
    /// What it is, in one sentence.
    pub what: String,
    /// Sequence number of the event with which it began.
    pub since: u64,
    /// When that was, RFC 3339, UTC.
    pub since_time: String,
    /// Sequence number of the event with which it ended. `None` while it is open.
    pub until: Option<u64>,
    /// `open` or `over`.
    pub state: &'static str,
    /// Every package it ever broke, one entry for each spell.
    pub packages: Vec<BrokenPackage>,
}

impl Cause {
    /// Returns the packages that are broken by it now.
    pub fn broken_now(&self) -> impl Iterator<Item = &BrokenPackage> {
        let certain = |p: &&BrokenPackage| p.share >= BROKE || self.kind != CauseKind::Build;
        self.packages.iter().filter(|p| p.until.is_none()).filter(certain)
    }
}
