//! What builds say about a package: its last builds in order, and which of them count.
//!
//! Real builds are ordered by when they were tagged, scratch rebuilds by when they were made (Koschei orders both by
//! task creation, which hides a side-tag build tagged days later behind an older scratch rebuild; changed on purpose).
//! Where the hub was asked it says both, whenever we hear of it; without a hub the place in the log stands for it.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::Build;
use crate::model::nevra::without_draft;
use crate::model::{BuildId, Hub, Outcome, RepoId, Seq, TaskId, Timestamp};

/// How many finished builds of a package are kept in state; older ones are in the log only.
pub const KEPT: usize = 10;
/// Of how many sources what was found out is kept in any case, the last ones.
const SOURCES_KEPT: usize = 3;
/// The same of sources that are still tagged, each of which is the newest again when those after it leave.
const TAGGED_SOURCES_KEPT: usize = 8;

/// Real build or scratch rebuild.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EvidenceKind {
    /// A packager's build, tagged.
    Real(BuildId),
    /// A scratch rebuild of ours.
    Scratch(TaskId),
}

/// One build of a package.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Evidence {
    /// Which build.
    pub kind: EvidenceKind,
    /// The hub a scratch rebuild ran on; absent: the collection's own. Two hubs may give the same task number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub: Option<Hub>,
    /// `version-release` of the source; empty when not known.
    pub source: SmolStr,
    /// What the source was called before, while its build had another name ([`super::Build::former`]).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former: Vec<SmolStr>,
    /// Its place among the package's builds.
    pub order: Seq,
    /// When it was tagged, or made.
    pub at: Timestamp,
    /// The repository its buildroot came from, always one of the collection's own hub: of a rebuild that ran on another
    /// hub the newest one of the time it began stands for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo: Option<RepoId>,
    /// `repo` was not told but taken to be the first one this source was resolved in.
    #[serde(default)]
    pub assumed: bool,
    /// How it ended; `None` while it runs, and for ever for builds that were imported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Still runs.
    #[serde(default)]
    pub running: bool,
    /// Its source was untagged: it says nothing about the package as it is now.
    #[serde(default)]
    pub withdrawn: bool,
    /// Koji event of the tagging, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<i64>,
    /// `at` is the hub's own word, and so says where the build stands, whenever we heard of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub timed: bool,
}

impl Evidence {
    /// The hub it ran on, in a collection of the hub `own`.
    pub fn hub<'a>(&'a self, own: &'a Hub) -> &'a Hub {
        self.hub.as_ref().unwrap_or(own)
    }

    /// Its task, when it is a scratch rebuild on `hub`, in a collection of the hub `own`.
    pub fn task_on(&self, hub: &Hub, own: &Hub) -> Option<TaskId> {
        match self.kind {
            EvidenceKind::Scratch(task) if self.hub(own) == hub => Some(task),
            _ => None,
        }
    }

    /// Every `version-release` its source is or was known by.
    pub fn names(&self) -> impl Iterator<Item = &SmolStr> {
        std::iter::once(&self.source).chain(&self.former)
    }

    /// Whether it is the same build as `other`, in one collection.
    fn is_same(&self, other: &Self) -> bool {
        (self.kind, &self.hub) == (other.kind, &other.hub)
    }

    /// Whether dependency changes are measured from this build on: real builds, and rebuilds that came to a result. A
    /// cancelled, timed-out or faulty rebuild moves nothing, so that it never costs a package its reason to be rebuilt.
    pub fn is_base(&self) -> bool {
        !self.withdrawn
            && match self.kind {
                EvidenceKind::Real(_) => true,
                EvidenceKind::Scratch(_) => self.outcome.is_some_and(Outcome::is_complete),
            }
    }

    /// Whether it came to a result that counts.
    pub fn is_complete(&self) -> bool {
        !self.withdrawn && self.outcome.is_some_and(Outcome::is_complete)
    }

    /// Whether it is known to come after `other`: two taggings by their Koji events, all else by the hub's time, in
    /// which a rebuild comes after the tagging of the same moment.
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

    /// Its place in a list: before those known to come after it; where the hub was not asked, by the place in the log.
    fn place(&self, list: &[Self]) -> usize {
        if self.timed {
            return list.len() - list.iter().rev().take_while(|e| e.is_after(self)).count();
        }
        list.iter().rposition(|e| e.order < self.order).map_or(0, |before| before + 1)
    }
}

/// Inserts `new` at its place, replacing an entry of the same build, and drops what is too old. Returns dropped tasks,
/// with their hubs as [`Evidence::hub`] has them.
///
/// Builds the package's state and priority rest on stay, however many cancelled or faulty rebuilds came after them.
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

/// The oldest build nothing rests on. Needed are: running ones, the one just inserted, the base, the newest real build,
/// and the last two with a result (whether a package started to fail shows in the last but one). The same of the last
/// sources each, tagged or not, and of the last ones that are tagged, so that what one of them did is still known when
/// it is the newest again. A source's own build goes after its rebuilds: without it nothing would tell that their
/// source was untagged.
fn oldest_unneeded(list: &[Evidence], new: &Evidence) -> Option<usize> {
    let mut needed: Vec<usize> = list.iter().rposition(Evidence::is_base).into_iter().collect();
    needed.extend(list.iter().rposition(is_real));
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

/// The sources of the last builds of a kind, at most `count`, each once.
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

/// Gives a renamed build's evidence, its own and that of rebuilds of its source, the name it has now.
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

/// Gives a rebuild the name its source's build has now: it may have been made under another, and a draft's source
/// package never has the draft's mark.
pub(super) fn name(list: &[Evidence], new: &mut Evidence) {
    let real = || list.iter().rev().filter(|e| is_real(e));
    let exact = real().find(|e| e.source == new.source);
    let other = || real().find(|e| e.former.contains(&new.source) || without_draft(&e.source) == new.source);
    if let Some(known) = exact.or_else(other).filter(|_| !new.source.is_empty()) {
        new.source = known.source.clone();
        new.former.clone_from(&known.former);
    }
}

/// Marks builds whose source is no longer tagged. `tagged` says whether a real build still is. All builds of one source
/// share its fate: a scratch rebuild that of the real build, and a build that was deleted that of another one of its
/// name, which was imported for it.
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
mod tests {
    use super::*;

    fn build(kind: EvidenceKind, source: &str, order: u64) -> Evidence {
        Evidence {
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
        }
    }

    fn real(number: i64, event: Option<i64>, secs: i64) -> Evidence {
        let mut e = build(EvidenceKind::Real(BuildId(number)), "1-1", 1);
        (e.event, e.at, e.timed) = (event, Timestamp::from_secs(secs), true);
        e
    }

    fn scratch(number: i64, secs: i64) -> Evidence {
        Evidence { kind: EvidenceKind::Scratch(TaskId(number)), ..real(0, None, secs) }
    }

    /// Two taggings by event, else by time; at the same moment a rebuild comes after a tagging, and the higher number
    /// after the lower. Nothing comes after itself, nor after what has no time of the hub.
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

    /// Where the hub has not said when, the place in our log counts.
    #[test]
    fn places_in_a_list() {
        let list = [real(1, Some(10), 10), real(2, Some(20), 20), real(3, Some(30), 30)];
        let places = [5, 15, 25, 35].map(|event| real(9, Some(event), event).place(&list));
        assert_eq!(places, [0, 1, 2, 3]);
        assert_eq!(real(2, Some(20), 20).place(&list), 2, "at the same moment behind it");
        let kind = |n: i64| EvidenceKind::Scratch(TaskId(n));
        let list = [build(kind(1), "", 10), build(kind(2), "", 20)];
        let places = [9, 10, 11, 20, 21].map(|order| build(kind(3), "", order).place(&list));
        assert_eq!(places, [0, 0, 1, 1, 2]);
    }

    /// A build without a result moves nothing, unless a packager made it; one that is withdrawn never counts.
    #[test]
    fn what_counts() {
        let of = |kind, outcome, withdrawn| {
            let e = Evidence { outcome, withdrawn, ..build(kind, "1-1", 1) };
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

    /// Two hubs may give the same number.
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
            let list: Vec<_> = (1..).zip(sources).map(|(n, s)| build(EvidenceKind::Real(BuildId(1)), s, n)).collect();
            last_sources(&list, count, |_| true).iter().map(|s| s.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(of(&["1", "2", "2", "3", "2"], 2), ["2", "3"]);
        assert_eq!(of(&["1", "2", "2", "3", "2"], 9), ["2", "3", "1"]);
        assert_eq!(of(&["1"], 0), [""; 0]);
    }

    /// Rebuilds may be of sources whose own build nobody told of; the newest build a packager made is still what `why`
    /// and pages show.
    #[test]
    fn the_newest_real_build_is_kept_whatever_was_rebuilt_since() {
        let mut list = Vec::new();
        let mut real = build(EvidenceKind::Real(BuildId(1)), "1-1", 1);
        real.withdrawn = true;
        insert(&mut list, real);
        for n in 2..40 {
            let source = format!("{n}-1");
            insert(&mut list, build(EvidenceKind::Scratch(TaskId(n)), &source, n.unsigned_abs()));
        }
        assert_eq!(list.len(), KEPT);
        assert_eq!(list.first().map(|e| e.kind), Some(EvidenceKind::Real(BuildId(1))));
    }
}
