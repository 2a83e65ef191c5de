//! Keeps a package's last builds in order, and decides which of them count.
//!
//! Real builds are ordered by the time of their tagging, scratch rebuilds by the time of their
//! creation. Koschei orders both by task creation. A side-tag build tagged days later is then
//! hidden behind an older scratch rebuild, so this is changed on purpose.
//!
//! If a hub was asked, it gives both times, however late we hear of the build. Without a hub, the
//! position in the log replaces them.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::Build;
use crate::model::nevra::without_draft;
use crate::model::{BuildId, Hub, Outcome, RepoId, Seq, TaskId, Timestamp};

/// How many finished builds of a package are kept in state. Older ones are in the log only.
pub const KEPT: usize = 10;
/// For how many of the last sources the results are always kept.
const SOURCES_KEPT: usize = 3;
/// For how many of the last sources that are still tagged the results are always kept. Each of them
/// is the newest again when those after it are untagged.
const TAGGED_SOURCES_KEPT: usize = 8;

/// The kind of a build: real build or scratch rebuild.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EvidenceKind {
    /// A packager's build that was tagged.
    Real(BuildId),
    /// A scratch rebuild by this service.
    Scratch(TaskId),
}

/// One build of a package.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Evidence {
    /// The build or the task.
    pub kind: EvidenceKind,
    /// Hub on which a scratch rebuild ran. Absent if it is the collection's own. Two hubs may use
    /// the same task number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub: Option<Hub>,
    /// `version-release` of the source. Empty if not known.
    pub source: SmolStr,
    /// Earlier names of the source, from when its build had another name
    /// ([`super::Build::former`]).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former: Vec<SmolStr>,
    /// Position of the build in the log.
    pub order: Seq,
    /// Time at which it was tagged (real build) or created (scratch rebuild).
    pub at: Timestamp,
    /// Repository of its buildroot, always one of the collection's own hub. If a rebuild ran on
    /// another hub, it is the collection's newest repository of the time at which the rebuild
    /// began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo: Option<RepoId>,
    /// Whether `repo` is assumed, because no source named it. It is then the collection's newest
    /// repository of that time, or the first one in which this source was resolved.
    #[serde(default)]
    pub assumed: bool,
    /// Outcome of the build. `None` while it runs, and always for imported builds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Whether the build is still running.
    #[serde(default)]
    pub running: bool,
    /// Whether its source was untagged. It then says nothing about the present package.
    #[serde(default)]
    pub withdrawn: bool,
    /// Koji event of the tagging, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<i64>,
    /// Whether the hub itself gave `at`. The time then decides the build's position, however late
    /// we heard of the build.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub timed: bool,
    /// The collection's newest repository at the time of the build, if changes are measured from a
    /// later one, because the source was not resolved in this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub built_in: Option<RepoId>,
    /// Whether its buildroots were compared with those of the last good build before it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub compared: bool,
}

impl Evidence {
    /// Returns the hub on which the build ran. `own` is the collection's own hub.
    pub fn hub<'a>(&'a self, own: &'a Hub) -> &'a Hub {
        self.hub.as_ref().unwrap_or(own)
    }

    /// Returns the task if this is a scratch rebuild on `hub`. `own` is the collection's own hub.
    pub fn task_on(&self, hub: &Hub, own: &Hub) -> Option<TaskId> {
        match self.kind {
            EvidenceKind::Scratch(task) if self.hub(own) == hub => Some(task),
            _ => None,
        }
    }

    /// Lists every `version-release` under which its source is or was known.
    pub fn names(&self) -> impl Iterator<Item = &SmolStr> + Clone {
        std::iter::once(&self.source).chain(&self.former)
    }

    /// Returns whether this is the same build as `other`, within one collection.
    fn is_same(&self, other: &Self) -> bool {
        (self.kind, &self.hub) == (other.kind, &other.hub)
    }

    /// Returns whether dependency changes can be measured from this build: real builds, and
    /// rebuilds with a result. A cancelled, timed-out or faulty rebuild does not become the base,
    /// so it never takes away a package's reason for a rebuild.
    pub fn is_base(&self) -> bool {
        !self.withdrawn
            && match self.kind {
                EvidenceKind::Real(_) => true,
                EvidenceKind::Scratch(_) => self.outcome.is_some_and(Outcome::is_complete),
            }
    }

    /// Returns whether later builds can be compared with this one: a packager's build, or a rebuild
    /// that passed.
    pub fn is_good(&self) -> bool {
        match self.kind {
            EvidenceKind::Real(_) => true,
            EvidenceKind::Scratch(_) => self.outcome == Some(Outcome::Ok),
        }
    }

    /// Returns whether the build has a result that counts.
    pub fn is_complete(&self) -> bool {
        !self.withdrawn && self.outcome.is_some_and(Outcome::is_complete)
    }

    /// Returns whether this build is known to come after `other`. Two taggings are compared by
    /// their Koji events, all others by the hub's time. A rebuild comes after a tagging of the same
    /// moment.
    fn is_after(&self, other: &Self) -> bool {
        if !(self.timed && other.timed) {
            return false;
        }
        let rank = |kind| match kind {
            EvidenceKind::Real(b) => (0, b.0),
            EvidenceKind::Scratch(t) => (1, t.0),
        };
        match (self.event, other.event) {
            (Some(mine), Some(theirs)) => (mine, rank(self.kind)) > (theirs, rank(other.kind)),
            _ => (self.at, rank(self.kind)) > (other.at, rank(other.kind)),
        }
    }

    /// Returns the index at which it belongs in a list: before the builds known to come after it.
    /// If the hub was not asked, the position in the log decides.
    fn place(&self, list: &[Self]) -> usize {
        if self.timed {
            return list.len() - list.iter().rev().take_while(|e| e.is_after(self)).count();
        }
        list.iter().rposition(|e| e.order < self.order).map_or(0, |before| before + 1)
    }
}

/// Inserts `new` at its place, replaces an entry of the same build, and drops the oldest entries
/// that are no longer needed. Returns the dropped tasks, each with its hub as in [`Evidence`]'s
/// field `hub`.
///
/// Builds on which the package's state and priority depend stay, however many cancelled or faulty
/// rebuilds came after them.
pub fn insert(list: &mut Vec<Evidence>, new: Evidence) -> Vec<(Option<Hub>, TaskId)> {
    list.retain(|e| !e.is_same(&new));
    let at = new.place(list);
    list.insert(at, new.clone());
    let mut dropped = Vec::new();
    while list.iter().filter(|e| !e.running).count() > KEPT {
        let Some(oldest) = oldest_unneeded(list, &new) else { break };
        let dropping = list.remove(oldest);
        if let EvidenceKind::Scratch(task) = dropping.kind {
            dropped.push((dropping.hub, task));
        }
    }
    dropped
}

/// Returns the oldest build that is not needed. These are needed:
///
/// - running builds, and the one just inserted
/// - the base, the newest real build, and the newest good build
/// - the last two builds with a result (the one before the last shows whether a package started to
///   fail)
/// - the newest real build and the last two builds with a result, of each of the last sources and of
///   each of the last tagged sources (one of them may become the newest again)
/// - a source's own build while rebuilds of it are kept, because only that build shows when their
///   source is untagged
fn oldest_unneeded(list: &[Evidence], new: &Evidence) -> Option<usize> {
    let mut needed: Vec<usize> = list.iter().rposition(Evidence::is_base).into_iter().collect();
    needed.extend(list.iter().rposition(is_real));
    needed.extend(list.iter().rposition(|e| !e.withdrawn && e.is_good()));
    let results = |of: &dyn Fn(&Evidence) -> bool| -> Vec<usize> {
        let ended = |e: &Evidence| e.outcome.is_some_and(Outcome::is_complete);
        list.iter().enumerate().rev().filter(|(_, e)| ended(e) && of(e)).map(|(i, _)| i).take(2).collect()
    };
    needed.extend(results(&|e| !e.withdrawn));
    let mut sources = last_sources(list, SOURCES_KEPT, |_| true);
    sources.extend(last_sources(list, TAGGED_SOURCES_KEPT, |e| is_real(e) && !e.withdrawn));
    for source in sources {
        needed.extend(list.iter().rposition(|x| is_real(x) && x.source == *source));
        needed.extend(results(&|x| x.source == *source));
    }
    let has_rebuilds = |source: &SmolStr| list.iter().any(|e| !is_real(e) && e.source == *source);
    list.iter().enumerate().position(|(i, e)| {
        !(e.running || e.is_same(new) || needed.contains(&i) || is_real(e) && has_rebuilds(&e.source))
    })
}

/// Returns the sources of the last builds that `of` admits, at most `count`, each once.
fn last_sources(list: &[Evidence], count: usize, of: impl Fn(&Evidence) -> bool) -> Vec<&SmolStr> {
    let mut sources: Vec<&SmolStr> = Vec::new();
    for e in list.iter().rev().filter(|e| of(e)) {
        if sources.len() < count && !sources.contains(&&e.source) {
            sources.push(&e.source);
        }
    }
    sources
}

const fn is_real(e: &Evidence) -> bool {
    matches!(e.kind, EvidenceKind::Real(_))
}

/// Renames the evidence of a renamed build and of rebuilds of its source.
pub(super) fn rename(list: &mut [Evidence], build: &Build, id: BuildId) {
    let source = build.source();
    for e in list.iter_mut() {
        let theirs = match e.kind {
            EvidenceKind::Real(real) => real == id,
            EvidenceKind::Scratch(_) => build.former.contains(&e.source),
        };
        if theirs {
            e.source = source.clone();
            e.former.clone_from(&build.former);
        }
    }
}

/// Gives a rebuild the name that its source's build has now. The rebuild may have been made under
/// another name, and the source package of a draft build never has the draft mark.
pub(super) fn name(list: &[Evidence], new: &mut Evidence) {
    let real = || list.iter().rev().filter(|e| is_real(e));
    let exact = real().find(|e| e.source == new.source);
    let other = || real().find(|e| e.former.contains(&new.source) || without_draft(&e.source) == new.source);
    if let Some(known) = exact.or_else(other).filter(|_| !new.source.is_empty()) {
        new.source = known.source.clone();
        new.former.clone_from(&known.former);
    }
}

/// Marks the builds whose source is no longer tagged. `tagged` returns whether a real build still
/// is. All builds of one source are marked alike. A scratch rebuild follows the real build. A
/// deleted build follows another build of its name that was imported in its place.
pub fn withdraw(list: &mut [Evidence], tagged: impl Fn(BuildId) -> bool) {
    for e in list.iter_mut() {
        if let EvidenceKind::Real(build) = e.kind {
            e.withdrawn = !tagged(build);
        }
    }
    let there: Vec<SmolStr> = list.iter().filter(|e| is_real(e) && !e.withdrawn).map(|e| e.source.clone()).collect();
    for e in list.iter_mut().filter(|e| is_real(e)) {
        e.withdrawn &= !there.contains(&e.source);
    }
    for i in 0..list.len() {
        if matches!(list[i].kind, EvidenceKind::Scratch(_)) {
            let source = &list[i].source;
            let mut of_source = list.iter().filter(|e| is_real(e) && e.source == *source).peekable();
            list[i].withdrawn = of_source.peek().is_some() && of_source.all(|e| e.withdrawn);
        }
    }
}

#[cfg(test)]
impl Evidence {
    /// A good build, for tests.
    pub(crate) fn good(kind: EvidenceKind, source: &str, order: u64) -> Self {
        Self {
            kind,
            hub: None,
            source: source.into(),
            former: Vec::new(),
            order: Seq::new(order).unwrap(),
            at: Timestamp::EPOCH,
            repo: None,
            assumed: false,
            outcome: Some(Outcome::Ok),
            running: false,
            withdrawn: false,
            event: None,
            timed: false,
            built_in: None,
            compared: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn real(number: i64, event: Option<i64>, secs: i64) -> Evidence {
        let mut e = Evidence::good(EvidenceKind::Real(BuildId(number)), "1-1", 1);
        (e.event, e.at, e.timed) = (event, Timestamp::from_secs(secs), true);
        e
    }

    fn scratch(number: i64, secs: i64) -> Evidence {
        Evidence { kind: EvidenceKind::Scratch(TaskId(number)), ..real(0, None, secs) }
    }

    /// Two taggings are compared by event, others by time. At the same moment, a rebuild comes
    /// after a tagging, and the higher number after the lower. No build comes after itself, or
    /// after one without a time from the hub.
    #[test]
    fn what_comes_after_what() {
        let order = [real(9, Some(1), 50), real(1, Some(2), 10), real(2, Some(2), 10)];
        for (i, a) in order.iter().enumerate() {
            for (k, b) in order.iter().enumerate() {
                assert_eq!(a.is_after(b), i > k, "{i} {k}");
            }
        }
        // Only one of them has an event: the time decides.
        let order = [real(7, None, 9), real(1, Some(5), 10), real(2, None, 10), scratch(1, 10), scratch(2, 10)];
        for (i, a) in order.iter().enumerate() {
            for (k, b) in order.iter().enumerate() {
                assert_eq!(a.is_after(b), i > k, "{i} {k}");
            }
        }
        let untold = Evidence { timed: false, ..scratch(3, 99) };
        assert!(!untold.is_after(&order[0]) && !order[0].is_after(&untold));
    }

    /// If the hub has not given a time, the position in the log counts.
    #[test]
    fn places_in_a_list() {
        let list = [real(1, Some(10), 10), real(2, Some(20), 20), real(3, Some(30), 30)];
        let places = [5, 15, 25, 35].map(|event| real(9, Some(event), event).place(&list));
        assert_eq!(places, [0, 1, 2, 3]);
        assert_eq!(real(2, Some(20), 20).place(&list), 2, "at the same moment behind it");
        let kind = |n: i64| EvidenceKind::Scratch(TaskId(n));
        let list = [Evidence::good(kind(1), "", 10), Evidence::good(kind(2), "", 20)];
        let places = [9, 10, 11, 20, 21].map(|order| Evidence::good(kind(3), "", order).place(&list));
        assert_eq!(places, [0, 0, 1, 1, 2]);
    }

    /// A build without a result does not become the base, unless a packager made it. A withdrawn
    /// build never counts.
    #[test]
    fn what_counts() {
        let of = |kind, outcome, withdrawn| {
            let e = Evidence { outcome, withdrawn, ..Evidence::good(kind, "1-1", 1) };
            (e.is_base(), e.is_complete())
        };
        let (real, scratch) = (EvidenceKind::Real(BuildId(1)), EvidenceKind::Scratch(TaskId(1)));
        for outcome in [Outcome::Ok, Outcome::GenuineFailure] {
            assert_eq!(of(real, Some(outcome), false), (true, true));
            assert_eq!(of(scratch, Some(outcome), false), (true, true));
            assert_eq!(of(real, Some(outcome), true), (false, false));
            assert_eq!(of(scratch, Some(outcome), true), (false, false));
        }
        for outcome in [None, Some(Outcome::Cancelled), Some(Outcome::TimedOut), Some(Outcome::Unclear)] {
            assert_eq!(of(real, outcome, false), (true, false));
            assert_eq!(of(scratch, outcome, false), (false, false));
        }
    }

    /// Two hubs may use the same task number.
    #[test]
    fn a_task_is_of_one_hub() {
        let (home, arm) = (Hub::new("primary"), Hub::new("arm"));
        let here = scratch(4, 1);
        let there = Evidence { hub: Some(arm.clone()), ..scratch(4, 1) };
        assert_eq!((here.task_on(&home, &home), here.task_on(&arm, &home)), (Some(TaskId(4)), None));
        assert_eq!((there.task_on(&arm, &home), there.task_on(&home, &home)), (Some(TaskId(4)), None));
        assert_eq!(real(4, None, 1).task_on(&home, &home), None, "a build is no task");
        let mut list = vec![here.clone()];
        insert(&mut list, there);
        assert_eq!(list.len(), 2);
        insert(&mut list, here);
        assert_eq!(list.len(), 2, "told once more it stands once");
    }

    #[test]
    fn last_sources_are_each_counted_once() {
        let of = |sources: &[&str], count| {
            let list: Vec<_> =
                (1..).zip(sources).map(|(n, s)| Evidence::good(EvidenceKind::Real(BuildId(1)), s, n)).collect();
            last_sources(&list, count, |_| true).iter().map(|s| s.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(of(&["1", "2", "2", "3", "2"], 2), ["2", "3"]);
        assert_eq!(of(&["1", "2", "2", "3", "2"], 9), ["2", "3", "1"]);
        assert_eq!(of(&["1"], 0), [""; 0]);
    }

    /// Rebuilds may be of sources whose own builds are not known. `why` and the pages still show
    /// the newest build that a packager made, so it is kept.
    #[test]
    fn the_newest_real_build_is_kept_whatever_was_rebuilt_since() {
        let mut list = Vec::new();
        let mut real = Evidence::good(EvidenceKind::Real(BuildId(1)), "1-1", 1);
        real.withdrawn = true;
        insert(&mut list, real);
        for n in 2..40 {
            let source = format!("{n}-1");
            insert(&mut list, Evidence::good(EvidenceKind::Scratch(TaskId(n)), &source, n.unsigned_abs()));
        }
        assert_eq!(list.len(), KEPT);
        assert_eq!(list.first().map(|e| e.kind), Some(EvidenceKind::Real(BuildId(1))));
    }
}
