//! Builders: they move scratch builds through their stages, one at a time, by the test's rules.

use std::fmt;
use std::sync::Arc;

use koschei::model::arch::canonical;

use super::super::fault::Fault;
use super::super::rows::*;
use super::super::tx::Tx;
use super::super::value::{V, row};
use super::super::world::World;
use super::tasks::*;

/// How a build ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Ok,
    /// `mock` fails in the build itself.
    FailBuild,
    /// The same, and `build.log` is this text.
    FailSaying(String),
    /// The source package cannot be made.
    FailSrpm,
    /// Build requirements cannot be installed.
    FailDeps,
    /// The build group cannot be installed.
    FailInit,
    /// The step of that architecture never ends by itself.
    Hang,
    /// Any other fault, such as a builder's traceback with code 1.
    Fault(i64, String),
}

/// An outcome for a package, on one architecture or on all.
#[derive(Clone, Debug)]
pub struct Rule {
    pub package: String,
    pub arch: Option<String>,
    pub outcome: Outcome,
}

/// The purpose of a buildroot.
#[derive(Clone, Debug)]
pub struct RootFor<'a> {
    pub package: &'a str,
    pub arch: &'a str,
    pub repo: i64,
    pub tag: i64,
    /// Event that the repository's content is as of.
    pub event: i64,
    /// BuildRequires of the source package.
    pub requires: &'a [String],
}

/// Packages by name or `name-[epoch:]version-release.arch`: those of the build group, and those of
/// the second step.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    pub base: Vec<String>,
    pub builddeps: Vec<String>,
}

type RootFn = Arc<dyn Fn(&World, &RootFor<'_>) -> Contents + Send + Sync>;

/// What the builders do.
#[derive(Clone, Default)]
pub struct Plan {
    pub rules: Vec<Rule>,
    /// Contents of buildroots. By default the build group and the requirements, both by name.
    pub contents: Option<RootFn>,
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan").field("rules", &self.rules).finish_non_exhaustive()
    }
}

impl Plan {
    pub fn outcome(&self, package: &str, arch: Option<&str>) -> Outcome {
        let rules = self.rules.iter().rev().filter(|r| r.package == package || r.package == "*");
        let mut fitting = rules.filter(|r| r.arch.is_none() || r.arch.as_deref() == arch);
        fitting.next().map_or(Outcome::Ok, |r| r.outcome.clone())
    }
}

/// The parts of a scratch build's request that its execution needs.
struct Job {
    source: String,
    target: Option<String>,
    opts: V,
}

/// Where the build gets its packages from, after the checks.
struct Place {
    tag: i64,
    repo: i64,
    event: i64,
    arches: Vec<String>,
}

const KNOWN_OPTIONS: &[&str] = &[
    "scratch",
    "repo_id",
    "arch_override",
    "fail_fast",
    "custom_user_metadata",
    "skip_tag",
    "wait_repo",
    "wait_builds",
    "rebuild_srpm",
    "draft",
    "keep-srpm",
    "event_id",
];

impl Tx<'_> {
    /// Moves a scratch build one stage further: free → assigned → open → source package →
    /// architectures → end. Returns `false` if nothing is left to do or the build hangs.
    pub fn step_task(&mut self, id: i64) -> Result<bool, Fault> {
        self.new_call();
        let task = self.w.task(id).cloned().ok_or_else(|| Fault::generic(format!("No such task: {id}")))?;
        match task.state {
            FREE => self.set_task_state(id, ASSIGNED),
            ASSIGNED => self.open_task(id, 0.2),
            OPEN if task.method == "build" => return self.go_on(&task),
            OPEN => return Ok(false),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Runs a scratch build to its end. Returns `false` if it hangs.
    pub fn run_task(&mut self, id: i64) -> Result<bool, Fault> {
        while self.step_task(id)? {}
        Ok(self.w.task(id).is_some_and(|t| [CLOSED, CANCELED, FAILED].contains(&t.state)))
    }

    /// Moves every scratch build one stage further. Returns how many moved.
    pub fn step_tasks(&mut self) -> Result<usize, Fault> {
        let active = |t: &&Task| t.parent.is_none() && t.method == "build" && [FREE, ASSIGNED, OPEN].contains(&t.state);
        let scratch = |t: &&Task| t.request.last().and_then(|o| o.get("scratch")).is_some_and(V::truth);
        let ids: Vec<i64> = self.w.tasks.iter().filter(active).filter(scratch).map(|t| t.id).collect();
        let mut moved = 0;
        for id in ids {
            moved += usize::from(self.step_task(id)?);
        }
        Ok(moved)
    }

    fn go_on(&mut self, task: &Task) -> Result<bool, Fault> {
        let id = task.id;
        let job = Job {
            source: task.request.first().and_then(V::as_str).unwrap_or_default().to_owned(),
            target: task.request.get(1).and_then(V::as_str).map(str::to_owned),
            opts: task.request.get(2).cloned().unwrap_or(V::Nil),
        };
        let place = match self.allowed(task, &job).and_then(|()| self.place(&job)) {
            Ok(place) => place,
            Err(fault) => {
                self.fail_task(id, fault.code, &fault.message);
                return Ok(true);
            }
        };
        let children: Vec<Task> = self.w.children(id).cloned().collect();
        let srpm = children.iter().find(|t| t.method == "rebuildSRPM");
        let Some(srpm) = srpm else {
            let opts = row! { "repo_id" => place.repo, "scratch" => true };
            let request = vec![job.source.into(), place.tag.into(), opts];
            self.child(task, "rebuildSRPM", "srpm", "noarch", request);
            return Ok(true);
        };
        match srpm.state {
            FREE => return Ok(self.make_srpm(task, srpm, &place)),
            FAILED => return Ok(self.fail_like(id, std::slice::from_ref(srpm))),
            CLOSED => (),
            _ => return Ok(false),
        }
        let steps: Vec<&Task> = children.iter().filter(|t| t.method == "buildArch").collect();
        if steps.is_empty() {
            let arches = self.fitting_arches(&job, &place);
            if arches.is_empty() {
                self.fail_task(id, 1005, "No matching arches were found");
                return Ok(true);
            }
            let made = format!("{}/{}", task_dir(srpm.id), job.source.rsplit('/').next().unwrap_or_default());
            for (label, arch, keep) in arches {
                let request = vec![
                    made.as_str().into(),
                    place.tag.into(),
                    label.as_str().into(),
                    keep.into(),
                    row! { "repo_id" => place.repo },
                ];
                self.child(task, "buildArch", &label, &arch, request);
            }
            return Ok(true);
        }
        let mut moved = false;
        for step in steps.iter().filter(|s| s.state == FREE) {
            moved |= self.build_arch(step, &job, &place);
        }
        let steps: Vec<Task> = self.w.children(id).filter(|t| t.method == "buildArch").cloned().collect();
        if steps.iter().any(|s| s.state == FAILED) {
            let fast = job.opts.get("fail_fast").is_some_and(V::truth);
            let open = steps.iter().any(|s| [FREE, OPEN, ASSIGNED].contains(&s.state));
            if open && !fast {
                return Ok(moved);
            }
            let open: Vec<i64> = steps.iter().filter(|s| s.state != FAILED).map(|s| s.id).collect();
            for id in open {
                self.cancel(id);
            }
            return Ok(self.fail_like(id, &steps));
        }
        if steps.iter().all(|s| s.state == CLOSED) {
            self.set_waiting(id, false);
            self.close_task(id, V::Nil);
            return Ok(true);
        }
        Ok(moved)
    }

    fn child(&mut self, parent: &Task, method: &str, label: &str, arch: &str, request: Vec<V>) {
        self.set_waiting(parent.id, true);
        self.make_task(NewTask {
            owner: parent.owner,
            parent: Some(parent.id),
            label: Some(label.to_owned()),
            arch: arch.to_owned(),
            priority: parent.priority - 1,
            channel: parent.channel,
            ..NewTask::new(method, request)
        });
    }

    /// Fails a task with the fault of the first child that failed.
    fn fail_like(&mut self, id: i64, children: &[Task]) -> bool {
        let fault = children.iter().find_map(|c| c.result.clone().and_then(Result::err));
        let (code, text) = fault.unwrap_or((1000, "unknown".to_owned()));
        self.fail_task(id, code, &text);
        true
    }

    /// Checks the hub's policies, like the builder does.
    fn allowed(&self, task: &Task, job: &Job) -> Result<(), Fault> {
        let settings = self.settings;
        let admin = self.w.has_perm(Some(task.owner), "admin");
        let asked = [
            ("build_from_srpm", job.source.ends_with(".src.rpm"), settings.may_use_srpm),
            ("build_from_repo_id", job.opts.get("repo_id").is_some_and(V::truth), settings.may_use_repo_id),
            ("build_rpm", true, settings.may_build),
        ];
        match asked.iter().find(|(_, asked, allowed)| *asked && !allowed && !admin) {
            // The reason that Koji's default rules give.
            Some((policy, ..)) => Err(Fault::not_allowed(format!(
                "policy violation ({policy}): Only admin can do this via default policy"
            ))),
            None => Ok(()),
        }
    }

    /// Checks an open task, and returns where it builds.
    fn place(&mut self, job: &Job) -> Result<Place, Fault> {
        if let V::Struct(members) = &job.opts
            && let Some((name, _)) = members.iter().find(|(n, _)| !KNOWN_OPTIONS.contains(&n.as_str()))
        {
            return Err(Fault::generic(format!("Invalid option for build task: {name}")));
        }
        if let Some(data) = job.opts.get("custom_user_metadata")
            && data.truth()
            && !matches!(data, V::Struct(_))
        {
            return Err(Fault::build("custom_user_metadata must be serializable to a JSON object"));
        }
        let given = job.opts.get("repo_id").and_then(V::as_int);
        let repo = match given {
            Some(id) => {
                let repo = self.w.repo(id).ok_or_else(|| Fault::build(format!("No such repo: {id}")))?;
                if ![1, 2].contains(&repo.state) {
                    let state =
                        ["INIT", "READY", "EXPIRED", "DELETED", "PROBLEM"][usize::try_from(repo.state).unwrap()];
                    return Err(Fault::build(format!("Bad repo: {id} ({state})")));
                }
                Some(repo.clone())
            }
            None => None,
        };
        let event = repo.as_ref().map(|r| r.create_event);
        let build_tag = match &job.target {
            None => repo.as_ref().map(|r| r.tag).ok_or_else(|| Fault::generic("Unable to determine build tag"))?,
            Some(name) => match self.w.target(name, event) {
                Some(target) => target.build_tag,
                // Like kojid, take the tag of that name if there is no such target.
                None => {
                    let tag = self.w.tag_named(name).filter(|t| self.w.config(*t, event).is_some());
                    tag.ok_or_else(|| Fault::generic(format!("unknown build target: {name}")))?
                }
            },
        };
        let repo = match repo {
            Some(repo) => repo,
            None => {
                let id =
                    self.w.newest_repo(build_tag).ok_or_else(|| Fault::generic("Repo request no longer active"))?;
                self.w.repo(id).unwrap().clone()
            }
        };
        if repo.tag != build_tag {
            let name = |tag| self.w.tag_name(tag).unwrap_or_default().to_owned();
            return Err(Fault::build(format!("Repo/Target mismatch: {}/{}", name(repo.tag), name(build_tag))));
        }
        let arches = self.w.build_arches(build_tag, Some(repo.create_event));
        Ok(Place { tag: build_tag, repo: repo.id, event: repo.create_event, arches })
    }

    /// Returns label, architecture and whether the source package is kept, for each step.
    fn fitting_arches(&self, job: &Job, place: &Place) -> Vec<(String, String, bool)> {
        let source = self.w.source_of(&job.source);
        let [buildarchs, exclusive, exclude] = source.map(|s| (*s.arches).clone()).unwrap_or_default();
        let wanted = job.opts.get("arch_override").and_then(V::as_str).filter(|o| !o.is_empty());
        let mut arches = place.arches.clone();
        if let Some(wanted) = wanted {
            // Like kojid, keep the names as they came if the tag has their family.
            let has = |a: &&str| place.arches.iter().any(|of_tag| canonical(of_tag) == canonical(a));
            arches = wanted.split([' ', ',']).filter(|a| !a.is_empty()).filter(has).map(str::to_owned).collect();
        }
        arches.retain(|a| {
            (exclusive.is_empty() || exclusive.contains(a) || exclusive.iter().any(|e| e == "noarch"))
                && !exclude.contains(a)
        });
        let noarch = buildarchs.iter().any(|a| a == "noarch");
        if noarch && !arches.is_empty() {
            return vec![("noarch".to_owned(), "noarch".to_owned(), true)];
        }
        arches.into_iter().enumerate().map(|(n, arch)| (arch.clone(), arch, n == 0)).collect()
    }

    fn make_srpm(&mut self, parent: &Task, step: &Task, place: &Place) -> bool {
        let source = step.request[0].as_str().unwrap_or_default().to_owned();
        let Some(rpm) = self.w.source_of(&source).cloned() else {
            self.open_task(step.id, 1.0);
            self.fail_task(step.id, 1000, &format!("No such file or directory: {source}"));
            return true;
        };
        let arch = place.arches.first().cloned().unwrap_or_else(|| "x86_64".to_owned());
        self.open_task(step.id, 1.0);
        let outcome = self.settings.plan.outcome(&rpm.name, None);
        if outcome == Outcome::FailInit {
            self.buildroot(step.id, &arch, place.repo, (&rpm.name, &[]), false);
            let text = "could not init mock buildroot, mock exited with status 30; see root.log for more information";
            self.fail_task(step.id, 1012, text);
            return true;
        }
        let root = self.buildroot(step.id, &arch, place.repo, (&rpm.name, &[]), true);
        if outcome == Outcome::FailSrpm {
            self.write_logs(step.id, &[]);
            let text = "error building srpm, mock exited with status 1; see build.log for more information";
            self.fail_task(step.id, 1005, text);
            return true;
        }
        let result = self.srpm_result(step.id, &rpm.nvr(), Some(root));
        self.close_task(step.id, result);
        self.set_waiting(parent.id, false);
        true
    }

    fn build_arch(&mut self, step: &Task, job: &Job, place: &Place) -> bool {
        let Some(rpm) = self.w.source_of(&job.source).cloned() else { return false };
        let label = step.label.clone().unwrap_or_default();
        let arch = if label == "noarch" { place.arches.first().cloned().unwrap_or_default() } else { label.clone() };
        self.open_task(step.id, 1.5);
        let requires: Vec<String> =
            rpm.deps.iter().filter(|d| !d.name.starts_with("rpmlib(")).map(|d| d.name.clone()).collect();
        let outcome = self.settings.plan.outcome(&rpm.name, Some(&arch));
        let mock = |status: i64, log: &str| {
            format!(
                "error building package (arch {label}), mock exited with status {status}; see {log} for more \
                    information"
            )
        };
        match outcome {
            Outcome::Hang => return true,
            Outcome::FailInit => {
                self.buildroot(step.id, &arch, place.repo, (&rpm.name, &[]), false);
                let text =
                    "could not init mock buildroot, mock exited with status 30; see root.log for more information";
                self.fail_task(step.id, 1012, text);
            }
            Outcome::FailDeps => {
                self.buildroot(step.id, &arch, place.repo, (&rpm.name, &[]), true);
                self.write_logs(step.id, &[]);
                self.fail_task(step.id, 1005, &mock(30, "root.log"));
            }
            Outcome::FailBuild => {
                self.buildroot(step.id, &arch, place.repo, (&rpm.name, &requires), true);
                self.write_logs(step.id, &[]);
                self.fail_task(step.id, 1005, &mock(1, "build.log"));
            }
            Outcome::FailSaying(log) => {
                self.buildroot(step.id, &arch, place.repo, (&rpm.name, &requires), true);
                self.write_logs(step.id, &[]);
                let output = &mut self.w.task_mut(step.id).output;
                let build_log = output.iter_mut().filter(|(name, _)| name == "build.log");
                build_log.for_each(|(_, bytes)| *bytes = log.clone().into_bytes());
                self.fail_task(step.id, 1005, &mock(1, "build.log"));
            }
            Outcome::Fault(code, text) => self.fail_task(step.id, code, &text),
            Outcome::Ok | Outcome::FailSrpm => {
                let root = self.buildroot(step.id, &arch, place.repo, (&rpm.name, &requires), true);
                let build = rpm.build.unwrap_or(0);
                let fits = |r: &&Rpm| r.arch == arch || r.arch == "noarch";
                let files = self.w.rpms_of_build(build).filter(fits).map(Rpm::file_name).collect();
                let result = self.arch_result(step.id, &rpm.nvr(), files, Some(root));
                self.close_task(step.id, result);
            }
        }
        true
    }

    /// Makes a buildroot of a task, retired at once, with the contents of the plan. `source` is the
    /// package and its requirements.
    pub fn buildroot(&mut self, task: i64, arch: &str, repo: i64, source: (&str, &[String]), init: bool) -> i64 {
        self.new_call();
        let create_event = self.event();
        let id = self.w.buildroots.last().map_or(0, |b| b.id) + 1;
        let (tag, event) = self.w.repo(repo).map_or((0, 0), |r| (r.tag, r.create_event));
        let question = RootFor { package: source.0, arch, repo, tag, event, requires: source.1 };
        let contents = match &self.settings.plan.contents {
            _ if !init => Contents::default(),
            Some(contents) => contents(self.w, &question),
            None => by_name(self.w, &question),
        };
        let names = self.w.names_in_repo(tag, event, arch);
        let find = |wanted: &String| names.get(wanted).copied();
        let base = contents.base.iter().filter_map(find).map(|id| (id, false));
        let mut listing: Vec<(i64, bool)> = base.collect();
        for id in contents.builddeps.iter().filter_map(find) {
            if !listing.iter().any(|(known, _)| *known == id) {
                listing.push((id, true));
            }
        }
        self.new_call();
        let retire_event = Some(self.event());
        let host = self.w.hosts.first().map_or(1, |h| h.id);
        let row =
            Buildroot { id, host, repo, task, arch: arch.to_owned(), state: 3, create_event, retire_event, listing };
        World::add(&mut self.w.buildroots_of, &mut self.w.buildroots, task, row);
        id
    }
}

/// Returns the build group's packages and the required packages, by name.
fn by_name(world: &World, root: &RootFor<'_>) -> Contents {
    let base = world.group_packages_of(root.tag, Some(root.event), "build");
    Contents { base, builddeps: root.requires.to_vec() }
}

impl World {
    /// Finds the source package of a build's first argument: `../packages/N/V/R/src/FILE`, or an
    /// uploaded file with a known name.
    pub fn source_of(&self, source: &str) -> Option<&Rpm> {
        let nvr = source.rsplit('/').next()?.strip_suffix(".src.rpm")?;
        let build = self.build_of_nvr(nvr)?;
        self.rpms_of_build(build.id).find(|r| r.arch == "src")
    }
}
