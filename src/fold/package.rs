//! A source package in a collection.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::arch::Allowed;
use super::evidence::{Evidence, EvidenceKind};
use crate::event::{DependencyMove, RebuildInputs};
use crate::model::arch::ArchOverride;
use crate::model::{BuildId, Name, Outcome, PackageState, RebuildId, RepoId, Timestamp};

/// The newest tagged build of a package in the collection's dest tag.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Latest {
    /// The build.
    pub build: BuildId,
    /// Its `version-release`.
    pub source: SmolStr,
    /// When it was tagged.
    pub at: Timestamp,
}

/// The newest verdict on a package for one architecture.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ArchVerdict {
    /// The architecture.
    pub arch: Name,
    /// `version-release` of the source that was resolved.
    pub source: SmolStr,
    /// `version-release` of the build the repository has of it, where that is of another source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buildroot_has: Option<SmolStr>,
    /// It builds for `noarch`.
    #[serde(default)]
    pub noarch: bool,
    /// `None`: not for this architecture.
    pub ok: Option<bool>,
    /// First problem, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Box<str>>,
    /// Index into the collection's moves, and distance (0: not reached).
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub changes: Box<[(u32, u8)]>,
    /// Repository the changes were measured from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<RepoId>,
    /// They were measured from what the hub says was installed, not from what we would have expected in that
    /// repository.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truth: bool,
}

/// A rebuild that was not submitted, or refused by the hub: not tried again while what it depends on stays the same.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Declined {
    /// What it depended on.
    pub inputs: RebuildInputs,
    /// Why it came to nothing, in words; at most [`Declined::REASON_CHARS_MAX`] characters.
    pub reason: SmolStr,
}

impl Declined {
    /// Longest reason kept in state; all of it is in the log.
    pub const REASON_CHARS_MAX: usize = 200;
}

/// A failure about whose text nothing is known.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Sighting {
    /// Stands for the text and all that are the same.
    pub mark: SmolStr,
    /// `version-release` of the source; empty when not known.
    pub source: SmolStr,
    /// Number of the host, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<i64>,
    /// When the rebuild ended.
    pub at: Timestamp,
}

impl Sighting {
    /// How many are kept: more than have to be seen of one text, whatever the policy.
    pub const KEPT: usize = 32;
}

/// How many dependency changes a package has at distance 1, 2, 3, 4 and beyond, each name once.
pub type Distances = [u16; 5];

/// A source package in a collection.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Package {
    /// Asked for (`Some(true)`), asked not to (`Some(false)`), or as the collection has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracked: Option<bool>,
    /// Whole points, for good.
    #[serde(default)]
    pub static_points: i32,
    /// Whole points, until the next rebuild that is decided.
    #[serde(default)]
    pub manual_points: i32,
    /// They were given while a rebuild was open or running: that one does not use them up, only one decided later.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub manual_kept: bool,
    /// What a person set in place of its architectures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch_override: Option<Box<ArchOverride>>,
    /// Rebuild without looking at dependencies.
    #[serde(default)]
    pub skip_resolution: bool,
    /// Blocked in the dest tag, inheritance applied.
    #[serde(default)]
    pub blocked: bool,
    /// Newest tagged build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest: Option<Latest>,
    /// Its last builds, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<Evidence>,
    /// Newest verdicts, one per architecture.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verdicts: Vec<ArchVerdict>,
    /// All verdicts taken together; kept up to date by [`Package::judge`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved: Option<bool>,
    /// Dependency changes taken together; kept up to date by [`Package::judge`].
    #[serde(default)]
    pub distances: Distances,
    /// Stands for exactly which changes those are: the first 8 bytes of a hash over them; 0 for none.
    #[serde(default)]
    pub changes_digest: u64,
    /// Running rebuilds of ours.
    #[serde(default)]
    pub running: u16,
    /// A rebuild that was decided and is not a task yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_rebuild: Option<RebuildId>,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_since: Option<Timestamp>,
    /// A rebuild that was not submitted or was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declined: Option<Box<Declined>>,
    /// Rebuilds since the last result that came to none and made it wait.
    #[serde(default)]
    pub faults: u16,
    /// When the last of them was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_fault_at: Option<Timestamp>,
    /// How the last of them ended; absent: with an infrastructure fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_fault: Option<Outcome>,
    /// Failures about whose texts nothing is known, since the last success, oldest first; at most [`Sighting::KEPT`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unclear: Vec<Sighting>,
    /// The state last written to the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announced: Option<PackageState>,
    /// Stands for the cause last written to the log, while it is unresolved: the first 8 bytes of a hash of the text
    /// ([`stands_for`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announced_cause: Option<u64>,
}

/// Eight bytes that stand for a text.
pub fn stands_for(text: &str) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&blake3::hash(text.as_bytes()).as_bytes()[..8]);
    u64::from_le_bytes(first)
}

impl Package {
    /// A rebuild was submitted or came to a result: points given for it are used up.
    pub(super) fn use_manual_points(&mut self) {
        if !self.manual_kept {
            self.manual_points = 0;
        }
    }

    /// Whether it is watched in a collection that tracks everything or not.
    pub fn is_tracked(&self, track_all: bool) -> bool {
        self.tracked.unwrap_or(track_all)
    }

    /// How and when the last rebuild ended that makes it wait; `None` when none does.
    pub fn last_trouble(&self) -> Option<(Outcome, Timestamp)> {
        let at = self.last_fault_at.filter(|_| self.faults > 0)?;
        Some((self.last_fault.unwrap_or(Outcome::InfrastructureFault), at))
    }

    /// Whether a repository is all that tells of it: it was resolved, and no build of it was ever seen in a tag of the
    /// collection. So a log that began after its tagging, or that saw nothing of the tag it is inherited from, knows
    /// it.
    pub fn is_from_repository_only(&self) -> bool {
        self.latest.is_none() && self.evidence.is_empty() && !self.verdicts.is_empty()
    }

    /// The build dependency changes are measured from.
    pub fn base(&self) -> Option<&Evidence> {
        self.base_index().map(|i| &self.evidence[i])
    }

    /// Where it stands.
    pub(super) fn base_index(&self) -> Option<usize> {
        self.newest_first().find(|i| self.evidence[*i].is_base())
    }

    /// Its builds by what they say about it now, the most telling first: rebuilds of its newest source, that source's
    /// own build, and then all else; within each the newest first. A source that was tagged once more, or is the newest
    /// again after another one, is no other for that: what it did counts, whenever that was.
    fn newest_first(&self) -> impl Iterator<Item = usize> {
        let is_real = |e: &Evidence, id: BuildId| e.kind == EvidenceKind::Real(id);
        let real = self.latest.as_ref().and_then(|l| self.evidence.iter().rposition(|e| is_real(e, l.build)));
        let rank = move |i: usize, e: &Evidence| match (&self.latest, e.kind) {
            (Some(l), EvidenceKind::Real(id)) if l.build == id || e.source == l.source => 1,
            (Some(l), EvidenceKind::Scratch(_)) if e.source == l.source => 0,
            // Of what it was is not known: of what was the newest at that time.
            (_, EvidenceKind::Scratch(_)) if e.source.is_empty() && real.is_some_and(|real| i > real) => 0,
            _ => 2,
        };
        (0..3).flat_map(move |wanted| {
            let of_rank = move |(i, e): &(usize, &Evidence)| rank(*i, e) == wanted;
            self.evidence.iter().enumerate().rev().filter(of_rank).map(|(i, _)| i)
        })
    }

    /// Builds with a result, the most telling first.
    pub fn complete(&self) -> impl Iterator<Item = &Evidence> {
        self.newest_first().map(|i| &self.evidence[i]).filter(|e| e.is_complete())
    }

    /// Its state (Koschei 2.4: first match wins).
    pub fn state(&self, track_all: bool) -> PackageState {
        if self.blocked {
            return PackageState::Blocked;
        }
        if !self.is_tracked(track_all) {
            return PackageState::Untracked;
        }
        if self.resolved == Some(false) && !self.skip_resolution {
            return PackageState::Unresolved;
        }
        match self.complete().next().and_then(|e| e.outcome) {
            Some(Outcome::Ok) => PackageState::Ok,
            Some(Outcome::GenuineFailure) => PackageState::Failing,
            _ => PackageState::Unknown,
        }
    }

    /// The problem shown of it on an architecture, while it does not resolve there.
    pub fn problem(&self, arch: &str) -> Option<&str> {
        self.verdicts.iter().find(|v| v.arch == arch)?.problem.as_deref()
    }

    /// Verdicts of the architectures a build would use.
    pub fn verdicts_in_use<'a>(&'a self, allowed: Allowed<'a>) -> impl Iterator<Item = &'a ArchVerdict> {
        self.verdicts
            .iter()
            .filter(move |v| allowed.has(&v.arch) && self.arch_override.as_ref().is_none_or(|o| o.allows(&v.arch)))
    }

    /// Takes the verdicts of all architectures together: unresolved when it does not resolve on any architecture the
    /// build would use; a noarch package needs one architecture only. A changed dependency counts once per name, with
    /// its smallest distance. Cost: O(changes · log changes).
    pub fn judge(
        &mut self,
        allowed: Allowed<'_>,
        moves: &indexmap::IndexSet<DependencyMove, rustc_hash::FxBuildHasher>,
    ) {
        let (mut good, mut bad, mut noarch) = (0_u32, 0_u32, false);
        let mut changed: Vec<Changed<'_>> = Vec::new();
        for v in self.verdicts_in_use(allowed) {
            noarch |= v.noarch;
            match v.ok {
                Some(true) => good += 1,
                Some(false) => bad += 1,
                None => {}
            }
            let known = v
                .changes
                .iter()
                .filter_map(|(i, d)| Some(Changed::of(moves.get_index(*i as usize)?, *d, v.ok.is_some())));
            changed.extend(known);
        }
        let resolved = match (good, bad) {
            (0, 0) => None,
            (_, 0) => Some(true),
            (0, _) => Some(false),
            _ => Some(noarch),
        };
        changed.sort_unstable();
        let distances = distances_of(&changed);
        let changes_digest = digest_of(&changed);
        self.resolved = resolved;
        self.distances = distances;
        self.changes_digest = changes_digest;
    }
}

/// A change of one verdict, in order of the moves.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Changed<'a> {
    /// The beginning of the name as a number. It nearly always says which is less, and saves following both to their
    /// texts.
    beginning: u64,
    by: &'a DependencyMove,
    distance: u8,
    /// Its verdict counts.
    counts: bool,
}

impl<'a> Changed<'a> {
    fn of(by: &'a DependencyMove, distance: u8, counts: bool) -> Self {
        let mut beginning = [0; 8];
        beginning.iter_mut().zip(by.name.bytes()).for_each(|(to, from)| *to = from);
        Self { beginning: u64::from_be_bytes(beginning), by, distance, counts }
    }
}

/// Changes by distance, each name once with its smallest distance. `changed` is sorted, so equal names stand together.
fn distances_of(changed: &[Changed<'_>]) -> Distances {
    let mut distances = Distances::default();
    for of_name in changed.chunk_by(|a, b| a.by.name == b.by.name) {
        let counting = of_name.iter().filter(|c| c.counts);
        if let Some(nearest) = counting.map(|c| if c.distance == 0 { u8::MAX } else { c.distance }).min() {
            let slot = usize::from(nearest.clamp(1, 5)) - 1;
            distances[slot] = distances[slot].saturating_add(1);
        }
    }
    distances
}

/// Eight bytes that stand for the changes of all verdicts, in any order of the table they are interned in. `changed` is
/// sorted.
fn digest_of(changed: &[Changed<'_>]) -> u64 {
    if changed.is_empty() {
        return 0;
    }
    // Moves are interned, so that equal ones are the same one. One buffer and one call: hashing piece by piece costs
    // more than the hash.
    let mut text = Vec::with_capacity(64 * changed.len());
    for same in changed.chunk_by(|a, b| std::ptr::eq(a.by, b.by) && a.distance == b.distance) {
        let Changed { by: m, distance, .. } = same[0];
        for part in [m.name.as_str(), m.arch.as_str(), m.old.as_deref().unwrap_or("-"), m.new.as_deref().unwrap_or("-")]
        {
            text.extend_from_slice(part.as_bytes());
            text.push(0);
        }
        text.push(distance);
    }
    let mut first = [0; 8];
    first.copy_from_slice(&blake3::hash(&text).as_bytes()[..8]);
    u64::from_le_bytes(first)
}
