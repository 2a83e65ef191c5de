//! What people and programs are shown of a package: one form for `status`, `why` and the pages.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;
use smol_str::SmolStr;

use super::broken::{BrokenBy, broken_by};
use crate::decide::Policy;
use crate::decide::arches::absent;
use crate::decide::eligibility::{priority_of, stopped};
use crate::decide::refusal::unbound;
use crate::decide::state_reason::{reason_of, state_reason};
use crate::event::{BuildsOn, DependencyMove, PriorityParts};
use crate::fold::build::BuildrootOverride;
use crate::fold::{Collection, Evidence, EvidenceKind, HubState, Package, State};
use crate::model::{BuildrootState, Hub, Name, Outcome, PackageState, Seq, Timestamp};

/// All states, those that need attention first.
pub(crate) const STATES: [PackageState; 6] = [
    PackageState::Failing,
    PackageState::Unresolved,
    PackageState::Ok,
    PackageState::Unknown,
    PackageState::Untracked,
    PackageState::Blocked,
];

/// Returns the place of a state in [`STATES`].
pub(crate) fn rank(state: PackageState) -> usize {
    STATES.iter().position(|s| *s == state).unwrap_or(STATES.len())
}

/// One of a package's last builds.
#[derive(Serialize, JsonSchema, Debug)]
pub(crate) struct BuildView {
    /// `real` or `scratch`.
    pub(crate) kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) build_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) task_id: Option<i64>,
    /// The hub of the task, if it is not the collection's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hub: Option<Hub>,
    pub(crate) nvr: String,
    /// Koji's word for the state of the task or build, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) koji_state: Option<String>,
    /// `ok`, `genuine_failure`, `unclear`, …; absent while it runs and for imported builds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) outcome: Option<Outcome>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    pub(crate) running: bool,
    /// Its source was untagged later.
    pub(crate) withdrawn: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) repo_id: Option<i64>,
    /// Whether the repository is only assumed, because the hub did not name it.
    pub(crate) repo_assumed: bool,
    pub(crate) at: String,
}

/// A dependency that changed since the last build.
#[derive(Serialize, JsonSchema, Debug)]
pub(crate) struct ChangeView {
    pub(crate) arch_of_build: Name,
    #[serde(flatten)]
    pub(crate) moved: DependencyMove,
    /// Absent if it is not reached from the package's own requirements.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) distance: Option<u8>,
}

/// A build that is in the build tag only, by a buildroot override.
#[derive(Serialize, JsonSchema, Debug)]
pub(crate) struct OverrideView {
    pub(crate) nvr: String,
    /// Absent if Bodhi did not say when it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires_at: Option<String>,
}

/// The verdict on one architecture.
#[derive(Serialize, JsonSchema, Debug)]
pub(crate) struct VerdictView {
    pub(crate) arch: Name,
    pub(crate) source: String,
    /// The build in the buildroot, if it is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) buildroot_has: Option<String>,
    /// Absent if it is not built for this architecture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ok: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) problem: Option<String>,
}

/// A package.
#[derive(Serialize, JsonSchema, Debug)]
pub(crate) struct PackageView {
    pub(crate) collection: Name,
    pub(crate) package: Name,
    pub(crate) state: PackageState,
    pub(crate) reason: String,
    /// The updates that broke it, with the repositories that brought them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) broken_by: Vec<BrokenBy>,
    /// Remarks that help to understand the reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) remarks: Vec<String>,
    /// Whether only a repository shows that it exists.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) from_repository_only: bool,
    pub(crate) tracked: bool,
    pub(crate) blocked: bool,
    /// What an operator set in place of its architectures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) arch_override: Option<String>,
    /// Architectures in the override that the build tag does not have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) override_absent: Vec<Name>,
    /// Newest tagged build.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) latest: Option<String>,
    /// Its builds that are in the build tag only, by a buildroot override.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) buildroot_overrides: Vec<OverrideView>,
    /// In thousandths of a point; absent if no build is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) priority: Option<PriorityParts>,
    pub(crate) verdicts: Vec<VerdictView>,
    pub(crate) dependency_changes: Vec<ChangeView>,
    /// Newest first.
    pub(crate) last_builds: Vec<BuildView>,
}

/// A collection.
#[derive(Serialize, JsonSchema, Debug)]
pub(crate) struct CollectionView {
    pub(crate) collection: Name,
    pub(crate) display_name: String,
    pub(crate) build_tag: Name,
    pub(crate) dest_tag: Name,
    /// The hub its scratch builds run on, if it is not its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) builds_on: Option<BuildsOn>,
    pub(crate) buildroot: BuildrootState,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) newest_repo: Option<i64>,
    /// Newest repository resolved, by architecture.
    pub(crate) resolved: BTreeMap<Name, i64>,
    /// Why the newest repository could not be resolved, if the verdicts are of an older one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stale: Option<String>,
    /// Why none of its packages is rebuilt; empty if they are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) stopped: Vec<String>,
    /// Why the hub refuses to bind its rebuilds to repositories, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) unbound: Option<String>,
    pub(crate) running: u32,
    pub(crate) packages: usize,
    /// Number of packages in each state.
    pub(crate) states: BTreeMap<&'static str, usize>,
}

/// Collections and packages as of one event.
#[derive(Serialize, Debug)]
pub(crate) struct Report {
    pub(crate) seq: u64,
    pub(crate) now: String,
    pub(crate) collections: Vec<CollectionView>,
    pub(crate) packages: Vec<PackageView>,
}

impl Report {
    /// Makes a report that lists nothing yet.
    pub(crate) fn of(state: &State, now: Timestamp) -> Self {
        Self { seq: state.seq.map_or(0, Seq::get), now: now.to_string(), collections: Vec::new(), packages: Vec::new() }
    }
}

/// Says that the buildroot has another build of the package than the collection. Returns `None` if
/// it has not.
pub(crate) fn another_in_buildroot(p: &PackageView) -> Option<String> {
    let verdict = p.verdicts.iter().find(|v| v.buildroot_has.is_some())?;
    let (package, has) = (&p.package, verdict.buildroot_has.as_ref()?);
    let own = &verdict.source;
    Some(format!(
        "the buildroot has {package}-{has}, which is not the collection's own; {package}-{own} is resolved and rebuilt"
    ))
}

/// Describes the closest dependency change, and counts the other names. Returns an empty text if
/// nothing changed.
pub(crate) fn closest_change(p: &PackageView) -> String {
    let far = |d: Option<u8>| d.unwrap_or(u8::MAX);
    let Some(closest) = p.dependency_changes.iter().min_by_key(|c| (far(c.distance), &c.moved.name)) else {
        return String::new();
    };
    let names: BTreeSet<&str> = p.dependency_changes.iter().map(|c| c.moved.name.as_str()).collect();
    let more = if names.len() > 1 { format!(" +{}", names.len() - 1) } else { String::new() };
    format!("{} {} -> {}{more}", closest.moved.name, version(&closest.moved.old), version(&closest.moved.new))
}

/// Returns the version of a dependency on one side of a change.
pub(crate) fn version(side: &Option<SmolStr>) -> &str {
    side.as_deref().unwrap_or("none")
}

/// A dependency change, on all architectures that have it.
pub(crate) struct Grouped<'a> {
    pub(crate) name: &'a Name,
    pub(crate) old: &'a Option<SmolStr>,
    pub(crate) new: &'a Option<SmolStr>,
    /// Absent if it is not reached from the package's own requirements.
    pub(crate) distance: Option<u8>,
    pub(crate) arches: BTreeSet<&'a str>,
}

/// Groups the dependency changes: the same change on several architectures once, closest first.
pub(crate) fn grouped(p: &PackageView) -> Vec<Grouped<'_>> {
    let mut groups: BTreeMap<_, BTreeSet<&str>> = BTreeMap::new();
    for c in &p.dependency_changes {
        let key = (c.distance.unwrap_or(u8::MAX), &c.moved.name, &c.moved.old, &c.moved.new);
        groups.entry(key).or_default().insert(&c.arch_of_build);
    }
    let group = |((distance, name, old, new), arches)| {
        let distance = (distance != u8::MAX).then_some(distance);
        Grouped { name, old, new, distance, arches }
    };
    groups.into_iter().map(group).collect()
}

/// Counts the packages of a collection by state, in the order of [`STATES`].
pub(crate) fn counts(c: &Collection) -> [usize; STATES.len()] {
    let mut counts = [0; STATES.len()];
    for p in c.packages.values() {
        counts[rank(p.state(c.settings.track_all))] += 1;
    }
    counts
}

/// Says why the newest repository could not be resolved, if the verdicts are of an older one.
pub(crate) fn stale(c: &Collection) -> Option<String> {
    c.stale.as_ref().map(|(repo, why)| format!("repository {repo}: {why}"))
}

/// Describes a collection. `counts` are those of [`counts`].
pub(crate) fn collection(
    state: &State,
    (name, c): (&Name, &Collection),
    counts: [usize; STATES.len()],
) -> CollectionView {
    let policy = Policy::in_force(state);
    CollectionView {
        collection: name.clone(),
        display_name: c.settings.display_name.clone(),
        build_tag: c.settings.build_tag.clone(),
        dest_tag: c.settings.dest_tag.clone(),
        builds_on: c.settings.builds_on.clone(),
        buildroot: c.buildroot(),
        newest_repo: c.newest_repo.map(|r| r.0),
        resolved: c.arches.iter().filter_map(|(a, r)| Some((a.clone(), r.repo_id?.0))).collect(),
        stale: stale(c),
        stopped: stopped(state, c, &policy).iter().map(ToString::to_string).collect(),
        unbound: unbound(state, c, &policy),
        running: c.running,
        packages: c.packages.len(),
        states: STATES.iter().map(|s| s.as_str()).zip(counts).collect(),
    }
}

pub(crate) fn package(
    state: &State,
    (cname, c): (&Name, &Collection),
    (pname, p): (&Name, &Package),
    now: Timestamp,
    policy: &Policy,
) -> PackageView {
    let word = p.state(c.settings.track_all);
    let mut reason = state_reason(c, p, word, |e, task| reason_of(state, c, e, task));
    if let Some(why) = last_unclear(state, c, p) {
        reason = format!("{reason}; its last rebuild failed, cause unknown: {why}");
    }
    let changes = p.verdicts_in_use(c.allowed()).flat_map(|v| {
        v.changes.iter().filter_map(|(index, distance)| {
            Some(ChangeView {
                arch_of_build: v.arch.clone(),
                moved: c.moves.get_index(*index as usize)?.clone(),
                distance: (*distance > 0).then_some(*distance),
            })
        })
    });
    let buildroot_overrides = overrides(state, c, (pname, p));
    PackageView {
        collection: cname.clone(),
        package: pname.clone(),
        state: word,
        reason,
        broken_by: broken_by((cname, c), (pname, p)),
        remarks: remarks(state, c, (pname, p), &buildroot_overrides),
        buildroot_overrides,
        from_repository_only: p.is_from_repository_only(),
        tracked: p.is_tracked(c.settings.track_all),
        blocked: p.blocked,
        arch_override: p.arch_override.as_deref().map(ToString::to_string),
        override_absent: absent(c, p).into_iter().cloned().collect(),
        latest: p.latest.as_ref().map(|l| format!("{pname}-{}", l.source)),
        priority: priority_of(c, p, now, policy).as_ref().map(crate::decide::plan::parts),
        verdicts: p
            .verdicts
            .iter()
            .map(|v| VerdictView {
                arch: v.arch.clone(),
                source: v.source.to_string(),
                buildroot_has: v.buildroot_has.as_ref().map(ToString::to_string),
                ok: v.ok,
                problem: v.problem.as_deref().map(str::to_owned),
            })
            .collect(),
        dependency_changes: changes.collect(),
        last_builds: p.evidence.iter().rev().map(|e| build(state, c, pname, e)).collect(),
    }
}

/// Returns the reason of the last rebuild if it failed for an unknown cause.
fn last_unclear(state: &State, c: &Collection, p: &Package) -> Option<String> {
    let (Outcome::Unclear, _) = p.last_trouble()? else { return None };
    let e = p.evidence.iter().rev().find(|e| e.outcome == Some(Outcome::Unclear))?;
    let EvidenceKind::Scratch(task) = e.kind else { return None };
    reason_of(state, c, e, task)
}

/// The builds of a package that are in the build tag, or in a repository of it, and not in the dest
/// tag, by a buildroot override.
fn overrides(state: &State, c: &Collection, (name, p): (&Name, &Package)) -> Vec<OverrideView> {
    let Some(hub) = state.hubs.get(&c.settings.hub) else { return Vec::new() };
    let Some(known) = hub.overrides.get(name) else { return Vec::new() };
    let is_in = |tag: &Name, source: &SmolStr| {
        let chain = hub.chain(tag);
        let lists = chain.iter().filter_map(|t| hub.tags.get(t)?.packages.get(name));
        let mut builds = lists.flat_map(|list| &list.builds).filter_map(|b| hub.builds.get(&b.build));
        builds.any(|b| b.source() == *source)
    };
    let in_repository = |source: &SmolStr| p.verdicts.iter().any(|v| v.buildroot_has.as_ref() == Some(source));
    let only_there = known.iter().filter(|o| {
        let in_buildroot = in_repository(&o.source) || is_in(&c.settings.build_tag, &o.source);
        in_buildroot && !is_in(&c.settings.dest_tag, &o.source)
    });
    let view = |o: &BuildrootOverride| OverrideView {
        nvr: format!("{name}-{}", o.source),
        expires_at: o.expires_at.map(|at| at.to_string()),
    };
    only_there.map(view).collect()
}

/// Returns remarks: builds that are in the build tag only, that the build tag blocks the package, and
/// what is not known about it and why.
fn remarks(state: &State, c: &Collection, (name, p): (&Name, &Package), overrides: &[OverrideView]) -> Vec<String> {
    let Some(hub) = state.hubs.get(&c.settings.hub) else { return Vec::new() };
    let build = &c.settings.build_tag;
    let in_build_tag = |o: &OverrideView| {
        let end = o.expires_at.as_ref().map_or_else(String::new, |at| format!(", which expires at {at}"));
        format!("{} is in the build tag {build} only, by a buildroot override{end}", o.nvr)
    };
    let mut remarks: Vec<String> = overrides.iter().map(in_build_tag).collect();
    if !p.blocked
        && let Some(tag) = hub.blocked_by(&hub.chain(build), name)
    {
        let by = if tag == build { String::new() } else { format!(" by the package list of {tag}") };
        remarks.push(format!("blocked in the build tag {build}{by}: its builds get into no buildroot"));
    }
    if !p.is_tracked(c.settings.track_all) && p.verdicts.is_empty() {
        remarks.push("it is not tracked, and therefore not resolved".to_owned());
    }
    if p.is_from_repository_only() {
        remarks.push(unseen(hub, c));
    }
    remarks
}

/// Says why a package is known only from a repository.
pub(crate) fn unseen(hub: &HubState, c: &Collection) -> String {
    let dest = &c.settings.dest_tag;
    match hub.reconciled_through {
        None => format!(
            "no message announced its tagging: it was tagged before the first message, or into a tag that {dest} \
                inherits from; there is no hub to ask, so it is resolved but not rebuilt"
        ),
        Some(_) => format!(
            "the hub has no build of it in {dest} or in a tag that {dest} inherits from, so it is resolved but not \
                rebuilt"
        ),
    }
}

/// Says in one word how a build ended.
pub(crate) fn result(outcome: Option<Outcome>, running: bool) -> &'static str {
    outcome.map_or(if running { "running" } else { "imported" }, Outcome::as_str)
}

impl BuildView {
    /// Says in one word how it ended.
    pub(crate) fn result(&self) -> &'static str {
        result(self.outcome, self.running)
    }
}

impl PackageView {
    /// Returns the newest build that counts.
    pub(crate) fn last_build(&self) -> Option<&BuildView> {
        self.last_builds.iter().find(|b| !b.withdrawn)
    }

    /// Returns why it is in its state, with the remarks. The update that broke it comes first.
    pub(crate) fn reasons(&self) -> String {
        let reasons = std::iter::once(&self.reason).chain(&self.remarks).map(String::as_str);
        self.broken_by.iter().map(BrokenBy::words).chain(reasons.map(str::to_owned)).collect::<Vec<_>>().join("; ")
    }
}

fn build(state: &State, c: &Collection, package: &Name, e: &Evidence) -> BuildView {
    let hub = state.hubs.get(e.hub(&c.settings.hub));
    let (kind, build_id, task_id, koji_state, reason) = match e.kind {
        EvidenceKind::Real(id) => {
            let build = hub.and_then(|h| h.builds.get(&id));
            let word = build.and_then(|b| b.state).and_then(|s| s.wire_name());
            ("real", Some(id.0), build.and_then(|b| b.task_id).map(|t| t.0), word, None)
        }
        EvidenceKind::Scratch(id) => {
            let task = hub.and_then(|h| h.tasks.get(&id));
            let word = task.and_then(|t| t.state.wire_name());
            ("scratch", None, Some(id.0), word, task.and_then(|t| t.reason.clone()))
        }
    };
    BuildView {
        kind,
        build_id,
        task_id,
        hub: e.hub.clone(),
        nvr: if e.source.is_empty() { package.to_string() } else { format!("{package}-{}", e.source) },
        koji_state: koji_state.map(str::to_owned),
        outcome: e.outcome,
        reason,
        running: e.running,
        withdrawn: e.withdrawn,
        repo_id: e.repo.map(|r| r.0),
        repo_assumed: e.assumed,
        at: e.at.to_string(),
    }
}
