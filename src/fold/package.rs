//! Defines a source package in a collection.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::announced::Announced;
use super::arch::Allowed;
use super::evidence::{Evidence, EvidenceKind};
use crate::event::{
    DependencyMove, Event, PriorityKind, RebuildInputs, SuspectedUpdate, findings, hub_facts, observations, words,
};
use crate::model::arch::ArchOverride;
use crate::model::{BuildId, Name, Outcome, PackageState, RebuildId, RepoId, Seq, TaskId, Timestamp};

/// The newest tagged build of a package in the collection's dest tag.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Latest {
    /// The build.
    pub build: BuildId,
    /// The build's `version-release`.
    pub source: SmolStr,
    /// Time at which it was tagged.
    pub at: Timestamp,
}

/// The newest verdict on a package for one architecture.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ArchVerdict {
    /// The architecture.
    pub arch: Name,
    /// `version-release` of the source that was resolved.
    pub source: SmolStr,
    /// `version-release` of the package's build in the repository, if that build is of another
    /// source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buildroot_has: Option<SmolStr>,
    /// Whether the package builds for `noarch`.
    #[serde(default)]
    pub noarch: bool,
    /// Whether the dependencies can be installed. `None` if the package is not built on this
    /// architecture.
    pub ok: Option<bool>,
    /// The first problem, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Box<str>>,
    /// Stands for the problem ([`stands_for`]) whose causes were looked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explained: Option<u64>,
    /// What made the dependencies not installable, if it was found out, the first cause first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<FoundCause>,
    /// The last repository in which the dependencies could be installed, while they cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub good: Option<RepoId>,
    /// Dependency changes: the index into the collection's moves, and the distance (0 if not
    /// reached).
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub changes: Box<[(u32, u8)]>,
    /// Repository from which the changes were measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<RepoId>,
    /// Whether the changes were measured from what the hub says was installed, instead of from the
    /// prediction for that repository.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truth: bool,
}

/// A change that made a package or the build group not installable.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct FoundCause {
    /// What it is known by ([`crate::event::ResolutionCause::known_by`]).
    pub known_by: SmolStr,
    /// The new source package as `name-version-release`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SmolStr>,
    /// The one before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<SmolStr>,
    /// The repository that brought it.
    pub repo: RepoId,
    /// Whether the build group leads to it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_group: bool,
    /// What changed and what that means, in words.
    pub what: Box<str>,
    /// The event that first named it here.
    pub since: Seq,
    /// The time of that event.
    pub since_at: Timestamp,
}

/// What the log last said about the updates that made a package's builds fail.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Suspects {
    /// The `build` task that failed.
    pub task: TaskId,
    /// The suspects and their shares in thousandths, surest first. Slight ones are left out.
    pub named: Vec<(SuspectedUpdate, u32)>,
    /// The share of the package itself.
    pub own: u32,
    /// The share of chance.
    pub chance: u32,
    /// Since when the same update is held to have broken the builds, or none is.
    pub since: Seq,
    /// The time of that event.
    pub since_at: Timestamp,
}

/// A rebuild that was not submitted or was refused by the hub. It is not tried again while its
/// inputs stay the same.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Declined {
    /// Inputs that the rebuild depended on.
    pub inputs: RebuildInputs,
    /// Reason in words, at most [`Declined::REASON_CHARS_MAX`] characters.
    pub reason: SmolStr,
}

impl Declined {
    /// Most characters of a reason kept in state. The log has the whole reason.
    pub const REASON_CHARS_MAX: usize = 200;
}

/// An operator's hold of a package.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct OperatorHold {
    /// Time at which the hold ends.
    pub until: Timestamp,
    /// The operator's reason. May be empty.
    #[serde(default, skip_serializing_if = "SmolStr::is_empty")]
    pub reason: SmolStr,
}

/// A failure with a text about which nothing is known.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Sighting {
    /// Digest of the text and all texts alike.
    pub mark: SmolStr,
    /// `version-release` of the source. Empty if not known.
    pub source: SmolStr,
    /// Number of the host, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<i64>,
    /// Time at which the rebuild ended.
    pub at: Timestamp,
}

impl Sighting {
    /// How many sightings are kept: more than any policy requires of one text.
    pub const KEPT: usize = 32;
}

/// Number of dependency changes at distance 1, 2, 3, 4 and beyond. Each name counts once.
pub type Distances = [u16; 5];

/// A source package in a collection.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Package {
    /// Whether the package is tracked: asked for (`Some(true)`), asked not to (`Some(false)`), or
    /// as the collection's settings say (`None`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracked: Option<bool>,
    /// Static points, in whole points. They stay.
    #[serde(default)]
    pub static_points: i32,
    /// Manual points, in whole points, until a rebuild uses them up.
    #[serde(default)]
    pub manual_points: i32,
    /// Whether the manual points were given while a rebuild was open or running. Only a rebuild
    /// decided later then uses them up.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub manual_kept: bool,
    /// The architecture override set by a user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch_override: Option<Box<ArchOverride>>,
    /// Whether to rebuild without looking at dependencies.
    #[serde(default)]
    pub skip_resolution: bool,
    /// An operator's hold. It has no effect once its time has passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Box<OperatorHold>>,
    /// Whether the package is blocked in the dest tag, with inheritance applied.
    #[serde(default)]
    pub blocked: bool,
    /// The newest tagged build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest: Option<Latest>,
    /// The package's last builds, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<Evidence>,
    /// Newest verdicts, one per architecture.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verdicts: Vec<ArchVerdict>,
    /// All verdicts combined, updated by [`Package::judge`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved: Option<bool>,
    /// All dependency changes combined, updated by [`Package::judge`].
    #[serde(default)]
    pub distances: Distances,
    /// Digest of exactly these changes: the first 8 bytes of a hash over them. 0 if there are none.
    #[serde(default)]
    pub changes_digest: u64,
    /// Number of this service's rebuilds that are running.
    #[serde(default)]
    pub running: u16,
    /// A rebuild that was decided and is not a task yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_rebuild: Option<RebuildId>,
    /// Time at which that rebuild was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_since: Option<Timestamp>,
    /// The last rebuild that was not submitted or was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declined: Option<Box<Declined>>,
    /// Number of rebuilds since the last result that ended without one and delay the next try.
    #[serde(default)]
    pub faults: u16,
    /// Time of the last of these rebuilds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_fault_at: Option<Timestamp>,
    /// Outcome of the last of these rebuilds. Absent if it was an infrastructure fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_fault: Option<Outcome>,
    /// Failures since the last success about whose texts nothing is known, oldest first. At most
    /// [`Sighting::KEPT`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unclear: Vec<Sighting>,
    /// The suspects of the newest failed build, while no good one came after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspects: Option<Box<Suspects>>,
    /// The state last written to the log, and when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announced: Option<Announced>,
    /// Digest of the cause last written to the log while the package is unresolved: the first 8
    /// bytes of a hash of the text ([`stands_for`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announced_cause: Option<u64>,
}

/// Returns an 8-byte digest of a text.
pub fn stands_for(text: &str) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&blake3::hash(text.as_bytes()).as_bytes()[..8]);
    u64::from_le_bytes(first)
}

impl Package {
    /// Takes over what an operator set for the package. Returns `false` if an override of its
    /// architectures cannot be read; the package has none then.
    #[must_use]
    pub(super) fn set(&mut self, event: &Event) -> bool {
        match event {
            Event::PackageTracked(_) => self.tracked = Some(true),
            Event::PackageUntracked(_) => self.tracked = Some(false),
            Event::PackagePrioritySet(e) => match e.kind {
                PriorityKind::Manual => {
                    self.manual_points = e.points;
                    self.manual_kept = self.open_rebuild.is_some() || self.running > 0;
                }
                PriorityKind::Static => self.static_points = e.points,
            },
            Event::PackageArchOverrideSet(e) => {
                let read = e.arches.as_deref().map(str::parse::<ArchOverride>).transpose();
                let readable = read.is_ok();
                self.arch_override = read.ok().flatten().map(Box::new);
                return readable;
            }
            Event::PackageSkipResolutionSet(e) => self.skip_resolution = e.skip,
            Event::PackageHoldSet(e) => {
                let reason = SmolStr::new(&e.reason);
                self.held = e.until.map(|until| Box::new(OperatorHold { until, reason }));
            }
            hub_facts!() | observations!() | findings!() | words!() => {}
        }
        true
    }

    /// Returns whether a setting of an operator would change nothing.
    pub fn has(&self, event: &Event) -> bool {
        let mut then = self.clone();
        then.set(event) && then == *self
    }

    /// Uses up the manual points, after a rebuild was submitted or came to a result.
    pub(super) fn use_manual_points(&mut self) {
        if !self.manual_kept {
            self.manual_points = 0;
        }
    }

    /// Returns whether the package is tracked. `track_all` is the collection's setting.
    pub fn is_tracked(&self, track_all: bool) -> bool {
        self.tracked.unwrap_or(track_all)
    }

    /// Returns the outcome and the time of the last rebuild that delays the next try. Returns
    /// `None` if there is none.
    pub fn last_trouble(&self) -> Option<(Outcome, Timestamp)> {
        let at = self.last_fault_at.filter(|_| self.faults > 0)?;
        Some((self.last_fault.unwrap_or(Outcome::InfrastructureFault), at))
    }

    /// Returns whether the package is known only from a repository: it was resolved, but no build
    /// of it was ever seen in a tag of the collection. That happens if the log began after the
    /// build was tagged, or if the log does not see the tag from which the package is inherited.
    pub fn is_from_repository_only(&self) -> bool {
        self.latest.is_none() && self.evidence.is_empty() && !self.verdicts.is_empty()
    }

    /// Returns the build from which dependency changes are measured.
    pub fn base(&self) -> Option<&Evidence> {
        self.base_index().map(|i| &self.evidence[i])
    }

    /// Returns the index of [`Package::base`] in the evidence.
    pub(super) fn base_index(&self) -> Option<usize> {
        self.newest_first().find(|i| self.evidence[*i].is_base())
    }

    /// Lists the indexes of the package's builds, the most significant first: rebuilds of its
    /// newest source, then that source's own builds, then all others. Within each group, the newest
    /// comes first. A source counts as the same if it was tagged once more or is the newest again
    /// after another one. Its earlier results count, however old they are.
    fn newest_first(&self) -> impl Iterator<Item = usize> {
        let is_real = |e: &Evidence, id: BuildId| e.kind == EvidenceKind::Real(id);
        let real = self.latest.as_ref().and_then(|l| self.evidence.iter().rposition(|e| is_real(e, l.build)));
        let rank = move |i: usize, e: &Evidence| match (&self.latest, e.kind) {
            (Some(l), EvidenceKind::Real(id)) if l.build == id || e.source == l.source => 1,
            (Some(l), EvidenceKind::Scratch(_)) if e.source == l.source => 0,
            // The source of this rebuild is not known. It counts as a rebuild of the newest source
            // of its time.
            (_, EvidenceKind::Scratch(_)) if e.source.is_empty() && real.is_some_and(|real| i > real) => 0,
            _ => 2,
        };
        (0..3).flat_map(move |wanted| {
            let of_rank = move |(i, e): &(usize, &Evidence)| rank(*i, e) == wanted;
            self.evidence.iter().enumerate().rev().filter(of_rank).map(|(i, _)| i)
        })
    }

    /// Lists the builds with a result, the most significant first.
    pub fn complete(&self) -> impl Iterator<Item = &Evidence> {
        self.newest_first().map(|i| &self.evidence[i]).filter(|e| e.is_complete())
    }

    /// Returns the state last written to the log.
    pub fn announced_state(&self) -> Option<PackageState> {
        self.announced.map(|a| a.state)
    }

    /// Returns the package's state. As in Koschei 2.4, the first match wins.
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

    /// Returns the verdict on an architecture.
    pub fn verdict(&self, arch: &str) -> Option<&ArchVerdict> {
        self.verdicts.iter().find(|v| v.arch == arch)
    }

    /// Returns the problem to show for an architecture while the package does not resolve there.
    pub fn problem(&self, arch: &str) -> Option<&str> {
        self.verdict(arch)?.problem.as_deref()
    }

    /// Lists the verdicts of the architectures that a build would use.
    pub fn verdicts_in_use<'a>(&'a self, allowed: Allowed<'a>) -> impl Iterator<Item = &'a ArchVerdict> {
        self.verdicts
            .iter()
            .filter(move |v| allowed.has(&v.arch) && self.arch_override.as_ref().is_none_or(|o| o.allows(&v.arch)))
    }

    /// Combines the verdicts of all architectures. The package is unresolved if it does not resolve
    /// on any one architecture that the build would use. A noarch package needs only one
    /// architecture that resolves. A changed dependency counts once per name, with its smallest
    /// distance. Cost: O(changes · log changes).
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

/// A change from one verdict, ordered like the moves.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Changed<'a> {
    /// The beginning of the name as a number. It nearly always decides the order, without access to
    /// the two texts.
    beginning: u64,
    by: &'a DependencyMove,
    distance: u8,
    /// Whether its verdict counts.
    counts: bool,
}

impl<'a> Changed<'a> {
    fn of(by: &'a DependencyMove, distance: u8, counts: bool) -> Self {
        let mut beginning = [0; 8];
        beginning.iter_mut().zip(by.name.bytes()).for_each(|(to, from)| *to = from);
        Self { beginning: u64::from_be_bytes(beginning), by, distance, counts }
    }
}

/// Counts the changes by distance, each name once with its smallest distance. `changed` must be
/// sorted, so that equal names are adjacent.
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

/// Returns an 8-byte digest of the changes of all verdicts. It does not depend on the order in the
/// table of interned moves. `changed` must be sorted.
fn digest_of(changed: &[Changed<'_>]) -> u64 {
    if changed.is_empty() {
        return 0;
    }
    // Moves are interned, so equal moves have the same address. Hash one buffer with one call,
    // because hashing piece by piece costs more than the hash itself.
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
