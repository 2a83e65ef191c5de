//! What a hub has and says, and what an operator does.

use koschei::buildroot::installed::{Buildroot, BuildrootPackage};
use koschei::decide::load::ArchLoads;
use koschei::event::{
    BuildrootRecorded, ChildTask, Event, PackagePrioritySet, PackageSkipResolutionSet, PackageTracked,
    PackageUntracked, PriorityKind, RebuildSubmitted, TaskChanged, TaskFault,
};
use koschei::log::{Attachment, Commit, EventLog};
use koschei::model::koji::TaskState;
use koschei::model::{Evr, Hub, Nevra, Nvr, RebuildId, RepoId, TaskId};
use serde_json::json;

use super::{Src, World};

impl World {
    // ---- repositories ----

    /// Scripts what a repository holds on an architecture. Its Koji event is its number times ten.
    pub(crate) fn holds(&mut self, tag: &str, repo: i64, arch: &str, sources: &[Src]) {
        self.arch(tag, repo, arch, None, sources);
    }

    /// Scripts a repository whose build group does not install.
    pub(crate) fn no_group(&mut self, tag: &str, repo: i64, arch: &str, problem: &str) {
        self.arch(tag, repo, arch, Some(problem), &[]);
    }

    fn arch(&mut self, tag: &str, repo: i64, arch: &str, group: Option<&str>, sources: &[Src]) {
        let mut script = self.resolver.0.lock().unwrap();
        let r = script.repos.entry((tag.to_owned(), repo)).or_default();
        r.create_event.get_or_insert(repo * 10);
        r.arches.insert(arch.into(), (group.map(str::to_owned), sources.to_vec()));
    }

    /// Removes the repository's files.
    pub(crate) fn lose(&mut self, tag: &str, repo: i64) {
        self.resolver.0.lock().unwrap().repos.entry((tag.to_owned(), repo)).or_default().lost = true;
    }

    /// Installs another version of the solver.
    pub(crate) fn solver(&mut self, version: &str) {
        self.resolver.0.lock().unwrap().solver = version.to_owned();
    }

    /// The repository becomes ready now.
    pub(crate) fn done(&mut self, tag: &str, repo: i64) {
        self.send("repo.done", json!({"instance": "primary", "repo_id": repo, "tag": tag, "tag_id": 1}));
    }

    /// A repository of `f99-build` that holds `sources` on `x86_64` becomes ready now.
    pub(crate) fn repo(&mut self, repo: i64, sources: &[Src]) {
        self.holds("f99-build", repo, "x86_64", sources);
        self.done("f99-build", repo);
    }

    // ---- a hub to submit to ----

    /// Makes rebuilds be submitted from now on.
    pub(crate) fn submits(&mut self) {
        self.hub_access.submits = true;
        *self.writer.hub_access() = self.hub_access.clone();
    }

    /// Sets the load of the builders, in thousandths.
    pub(crate) fn load(&mut self, loads: &[(&str, u32)]) {
        self.hub_access.load = Some(ArchLoads(loads.iter().map(|&(a, n)| (a.into(), n)).collect()));
        *self.writer.hub_access() = self.hub_access.clone();
    }

    /// A hub reports the load of its builders.
    pub(crate) fn load_on(&mut self, hub: &str, loads: &[(&str, u32)]) {
        self.writer.load(&Hub::new(hub), ArchLoads(loads.iter().map(|&(a, n)| (a.into(), n)).collect()));
    }

    /// Returns the open request of a package.
    pub(crate) fn open(&self, package: &str) -> RebuildId {
        self.package(package).open_rebuild.unwrap_or_else(|| panic!("{package} has no open request"))
    }

    /// The hub accepts a request as task `task`.
    pub(crate) fn submitted(&mut self, rebuild: RebuildId, package: &str, task: i64) {
        self.operator(RebuildSubmitted {
            rebuild,
            collection: "f99".into(),
            package: package.into(),
            hub: Hub::new("primary"),
            task_id: TaskId(task),
        });
    }

    /// We look up a task of ours on the hub: its state, the rebuild it carries, and how its steps
    /// failed (label and text).
    pub(crate) fn looked(&mut self, task: i64, nvr: &str, state: TaskState, decision: Option<RebuildId>) {
        self.looked_with(task, nvr, state, decision, &[]);
    }

    pub(crate) fn looked_with(
        &mut self,
        task: i64,
        nvr: &str,
        state: TaskState,
        decision: Option<RebuildId>,
        failed: &[(&str, i64, &str)],
    ) {
        let step = |(label, code, text): &(&str, i64, &str)| {
            let method = if *label == "srpm" { "rebuildSRPM" } else { "buildArch" };
            (method.to_owned(), (*label).to_owned(), (!text.is_empty()).then(|| TaskFault::new(*code, text)))
        };
        let steps: Vec<_> = failed.iter().map(step).collect();
        let own = steps.iter().find_map(|s| s.2.clone());
        self.ended(task, nvr, state, decision, steps, own);
    }

    /// We look up a task of ours on the hub: its steps (method, label, and the failure if it
    /// failed) and its own fault.
    pub(crate) fn ended(
        &mut self,
        task: i64,
        nvr: &str,
        state: TaskState,
        decision: Option<RebuildId>,
        steps: Vec<(String, String, Option<TaskFault>)>,
        own: Option<TaskFault>,
    ) {
        let step = |(n, (method, label, fault)): (usize, (String, String, Option<TaskFault>))| ChildTask {
            task_id: TaskId(task * 100 + i64::try_from(n).unwrap()),
            method: method.into(),
            label: label.into(),
            state: if fault.is_none() { TaskState::Closed } else { TaskState::Failed },
            arch: None,
            fault,
        };
        let nvr = Nvr::parse(nvr).unwrap();
        let changed = TaskChanged {
            hub: Hub::new("primary"),
            task_id: TaskId(task),
            state,
            package: nvr.name.clone(),
            nvr: Some(nvr),
            target: Some("f99".into()),
            repo_id: Some(RepoId(1)),
            arches: Vec::new(),
            decision: decision.map(|d| d.to_string()),
            created_at: Some(self.now()),
            started_at: None,
            finished_at: None,
            fault: own,
            children: steps.into_iter().enumerate().map(step).collect(),
        };
        self.operator(changed);
    }

    /// We look up on the hub what was installed for a build, by its task. A `+` marks what the
    /// second step installed.
    pub(crate) fn buildroot(&mut self, task: i64, nvr: &str, arch: &str, repo: i64, list: &str, complete: bool) {
        self.buildroot_on("primary", task, nvr, arch, repo, list, complete);
    }

    #[allow(clippy::too_many_arguments, reason = "what the event has")]
    pub(crate) fn buildroot_on(
        &mut self,
        hub: &str,
        task: i64,
        nvr: &str,
        arch: &str,
        repo: i64,
        list: &str,
        complete: bool,
    ) {
        let package = |word: &str| {
            let (word, added) = word.strip_prefix('+').map_or((word, false), |w| (w, true));
            let (rest, arch) = word.rsplit_once('.').unwrap();
            let nvr = Nvr::parse(rest).unwrap();
            let (epoch, version) = nvr.version.split_once(':').unwrap();
            let evr =
                Evr { epoch: Some(epoch.parse().unwrap()), version: version.into(), release: nvr.release.clone() };
            BuildrootPackage { nevra: Nevra { name: nvr.name.clone(), evr, arch: arch.into() }, added, external: None }
        };
        let buildroot = Buildroot::new(list.split_whitespace().map(package).collect()).unwrap();
        let attachment = Attachment::new(buildroot.to_bytes());
        let recorded = BuildrootRecorded {
            hub: Hub::new(hub),
            task_id: TaskId(task),
            nvr: Nvr::parse(nvr).unwrap(),
            arch: arch.into(),
            repo_id: Some(RepoId(repo)),
            attachment: attachment.digest.clone(),
            count: u32::try_from(buildroot.packages().len()).unwrap(),
            complete,
        };
        self.rt.block_on(async {
            let commit = Commit { attachments: vec![attachment], ..Commit::default() };
            let head = self.log.head().await.unwrap();
            self.log.append(head.seq, &commit).await.unwrap();
        });
        self.operator(recorded);
    }

    /// Returns the task of a real build in a story.
    pub(crate) fn task_of_build(&mut self, nvr: &str) -> i64 {
        500_000 + self.build_id(nvr)
    }

    // ---- operators ----

    /// Does what an operator does.
    pub(crate) fn operator(&mut self, event: impl Into<Event>) {
        let now = self.now();
        self.rt.block_on(async {
            self.writer.operator(event.into(), now).await.unwrap();
            self.writer.flush().await.unwrap();
        });
    }

    pub(crate) fn track(&mut self, package: &str, on: bool) {
        let (collection, package) = ("f99".into(), package.into());
        match on {
            true => self.operator(PackageTracked { collection, package, by: None }),
            false => self.operator(PackageUntracked { collection, package, by: None }),
        }
    }

    pub(crate) fn points(&mut self, package: &str, kind: PriorityKind, points: i32) {
        let (collection, package) = ("f99".into(), package.into());
        self.operator(PackagePrioritySet { collection, package, kind, points, by: None });
    }

    pub(crate) fn skip_resolution(&mut self, package: &str, skip: bool) {
        let (collection, package) = ("f99".into(), package.into());
        self.operator(PackageSkipResolutionSet { collection, package, skip, by: None });
    }
}
