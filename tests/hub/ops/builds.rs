//! Builds, real and imported, and their tagging.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::super::fault::Fault;
use super::super::rows::*;
use super::super::spec::NewBuild;
use super::super::tx::Tx;
use super::super::value::{V, row};
use super::super::world::World;
use super::tasks::NewTask;

/// Returns a digest of a text in the form of an MD5.
fn digest(text: &str) -> String {
    hex::encode(&blake3::hash(text.as_bytes()).as_bytes()[..16])
}

/// Returns a release without the draft suffix, which RPMs do not have.
fn plain(release: &str) -> &str {
    release.split(",draft_").next().unwrap_or(release)
}

impl Tx<'_> {
    /// Adds the RPMs of a build. `buildroots` are those of its `buildArch` tasks by architecture.
    fn add_rpms(&mut self, build: i64, spec: &NewBuild, buildroots: &[(String, i64)]) {
        let buildtime = self.now / 1_000_000;
        let none: Arc<Vec<String>> = Arc::default();
        let source = (spec.name.as_str(), "src", spec.source_deps(), none);
        let binaries =
            spec.rpms.iter().map(|r| (r.name.as_str(), r.arch.as_str(), r.deps(spec), Arc::new(r.files.clone())));
        let arches = [&spec.buildarchs, &spec.exclusivearch, &spec.excludearch].map(Clone::clone);
        for (name, arch, deps, files) in std::iter::once(source).chain(binaries) {
            let id = self.w.rpms.last().map_or(0, |r| r.id) + 1;
            let payloadhash = digest(&format!("{name}-{}.{arch}", spec.evr()));
            let size = 6000 + i64::from(payloadhash.as_bytes()[0]);
            let buildroot = buildroots.iter().find(|(a, _)| a == arch).or(buildroots.first()).map(|(_, b)| *b);
            let arches = if arch == "src" { Arc::new(arches.clone()) } else { Arc::default() };
            let row = Rpm {
                id,
                build: Some(build),
                name: name.to_owned(),
                version: spec.version.clone(),
                release: plain(&spec.release).to_owned(),
                epoch: spec.epoch,
                arch: arch.to_owned(),
                payloadhash,
                size,
                buildtime,
                buildroot,
                external_repo: 0,
                deps,
                files,
                arches,
            };
            World::add(&mut self.w.rpms_of, &mut self.w.rpms, build, row);
        }
    }

    fn add_build(&mut self, spec: &NewBuild, state: i64, owner: i64, task: Option<i64>) -> i64 {
        let package = self.package_id(&spec.name);
        let (now, create_event) = (self.now, self.event());
        let id = self.w.builds.last().map_or(0, |b| b.id) + 1;
        let source = task.map(|_| format!("{}.src.rpm", spec.nvr()));
        let extra = source.as_ref().map_or(V::Nil, |s| row! { "source" => row! { "original_url" => s } });
        self.w.builds.rows().push(Build {
            id,
            package,
            name: spec.name.clone(),
            version: spec.version.clone(),
            release: spec.release.clone(),
            epoch: spec.epoch,
            state,
            task,
            owner,
            create_event,
            create: now,
            start: Some(now),
            completion: (state == 1).then_some(now),
            source,
            extra,
        });
        Arc::make_mut(&mut self.w.nvrs).insert(spec.nvr(), id);
        id
    }

    /// Imports a build. It is complete at once and has no task.
    pub fn import_build(&mut self, spec: &NewBuild) -> Result<i64, Fault> {
        self.new_call();
        if let Some(known) = self.w.build_of_nvr(&spec.nvr()) {
            return Err(Fault::build(format!(
                "Build already exists (id={}, state=COMPLETE): {}",
                known.id,
                spec.nvr()
            )));
        }
        let owner = match &spec.owner {
            Some(owner) => self.user_id(owner)?,
            None => self.actor(),
        };
        let id = self.add_build(spec, 1, owner, None);
        self.add_rpms(id, spec, &[]);
        self.build_message(id, None);
        Ok(id)
    }

    pub fn build_id(&self, nvr: &str) -> Result<i64, Fault> {
        let known = self.w.build_of_nvr(nvr).map(|b| b.id);
        known.ok_or_else(|| Fault::generic(format!("No such build: '{nvr}'")))
    }

    /// Tags a build. Refuses a build that is already in the tag, unless `force` is set. With
    /// `force` it is tagged again and so becomes the latest. That sends a `tag` message and none
    /// for the old entry.
    pub fn tag_build(&mut self, tag: &str, nvr: &str, force: bool) -> Result<(), Fault> {
        self.new_call();
        self.tag_inner(tag, nvr, force)
    }

    fn tag_inner(&mut self, tag: &str, nvr: &str, force: bool) -> Result<(), Fault> {
        let tag_id = self.w.tag(tag, None)?;
        let build = self.w.build(self.build_id(nvr)?).unwrap().clone();
        if self.w.config(tag_id, None).is_some_and(|c| c.locked) && !force {
            return Err(Fault::tag(format!("tag {tag} is locked")));
        }
        if build.state != 1 {
            return Err(Fault::tag(format!("build {nvr} not complete")));
        }
        match self.w.effective_entry(tag_id, build.package, None) {
            _ if force => (),
            None => return Err(Fault::tag(format!("package {} not in list for {tag}", build.name))),
            Some(entry) if entry.blocked => {
                return Err(Fault::tag(format!("package {} is blocked for {tag}", build.name)));
            }
            Some(_) => (),
        }
        let there = self.w.listings(tag_id, build.package).any(|l| l.build == build.id && l.ver.holds(None));
        if there && !force {
            return Err(Fault::tag(format!("build {nvr} already tagged ({tag})")));
        }
        if there {
            self.end_listing(tag_id, &build);
        }
        let ver = self.ver();
        let row = Listing { tag: tag_id, build: build.id, ver };
        World::add(&mut self.w.listing_of, &mut self.w.tag_listing, (tag_id, build.package), row);
        self.tag_message("tag", tag_id, &build);
        Ok(())
    }

    fn end_listing(&mut self, tag: i64, build: &Build) -> bool {
        let rows: Vec<usize> = self.w.listing_of.get(&(tag, build.package)).cloned().unwrap_or_default();
        let held = |at: &usize| self.w.tag_listing[*at].build == build.id && self.w.tag_listing[*at].ver.holds(None);
        let at = rows.into_iter().find(held);
        if let Some(at) = at {
            let (event, actor) = (self.event(), self.actor());
            let ver = &mut self.w.tag_listing.rows()[at].ver;
            (ver.revoke, ver.revoker) = (Some(event), Some(actor));
        }
        at.is_some()
    }

    pub fn untag_build(&mut self, tag: &str, nvr: &str) -> Result<(), Fault> {
        self.new_call();
        self.untag_inner(tag, nvr)
    }

    fn untag_inner(&mut self, tag: &str, nvr: &str) -> Result<(), Fault> {
        let tag_id = self.w.tag(tag, None)?;
        let build = self.w.build(self.build_id(nvr)?).unwrap().clone();
        if !self.end_listing(tag_id, &build) {
            return Err(Fault::tag(format!("build {nvr} not in tag {tag}")));
        }
        self.tag_message("untag", tag_id, &build);
        Ok(())
    }

    /// Untags and tags a build in one event.
    pub fn move_build(&mut self, from: &str, to: &str, nvr: &str) -> Result<(), Fault> {
        self.new_call();
        self.untag_inner(from, nvr)?;
        self.tag_inner(to, nvr, false)
    }

    /// Tags several builds in one call and event, like `massTag`.
    pub fn mass_tag(&mut self, tag: &str, nvrs: &[&str]) -> Result<(), Fault> {
        self.new_call();
        nvrs.iter().try_for_each(|nvr| self.tag_inner(tag, nvr, false))
    }

    fn set_build_state(&mut self, id: i64, state: i64) {
        let now = self.now;
        self.wrote = true;
        let build = self.w.build_mut(id);
        let old = std::mem::replace(&mut build.state, state);
        if state != 0 {
            build.completion = Some(now);
        }
        self.build_message(id, Some(old));
    }

    /// Promotes a draft: its build gets its final name, under the same number. This sends no
    /// message and makes no event of its tags.
    pub fn promote_build(&mut self, draft: &str) -> Result<(), Fault> {
        self.new_call();
        self.wrote = true;
        let id = self.build_id(draft)?;
        let build = self.w.build_mut(id);
        build.release = plain(&build.release).to_owned();
        let nvr = build.nvr();
        let nvrs = Arc::make_mut(&mut self.w.nvrs);
        nvrs.remove(draft);
        nvrs.insert(nvr, id);
        Ok(())
    }

    /// Untags the build everywhere, with messages, and then deletes it.
    pub fn delete_build(&mut self, nvr: &str) -> Result<(), Fault> {
        self.new_call();
        let build = self.w.build(self.build_id(nvr)?).unwrap().clone();
        for tag in self.w.tags_of_build(build.id, None) {
            self.end_listing(tag, &build);
            self.tag_message("untag", tag, &build);
        }
        self.event();
        self.set_build_state(build.id, 2);
        Ok(())
    }

    pub fn sign_rpm(&mut self, file: &str, sigkey: &str) -> Result<(), Fault> {
        self.new_call();
        self.wrote = true;
        let rpm = self.w.rpms.iter().find(|r| r.file_name() == file).cloned();
        let rpm = rpm.ok_or_else(|| Fault::generic(format!("No such rpm: {file}")))?;
        self.sign_message(&rpm, sigkey, &digest(file))
    }

    /// Starts a real build: from its submission until its source package is known. The task is then
    /// open, its first child is closed, and the build is in state building. After a failure or
    /// cancellation the same name, version and release may be tried again. It is then the same
    /// build.
    pub fn start_build(&mut self, owner: &str, target: &str, spec: &NewBuild) -> Result<i64, Fault> {
        self.new_call();
        let owner = self.user_id(owner)?;
        let build_tag = self
            .w
            .target(target, None)
            .ok_or_else(|| Fault::generic(format!("No such build target: {target}")))?
            .build_tag;
        let repo = self.w.newest_repo(build_tag);
        let file = format!("cli-build/{}.Hub/{}.src.rpm", self.now, spec.nvr());
        let request = vec![V::from(&file), target.into(), V::Struct(Vec::new())];
        let task = self.make_task(NewTask { owner, waiting: Some(false), ..NewTask::new("build", request) });
        self.open_task(task, 0.2);
        let child = self.make_task(NewTask {
            owner,
            parent: Some(task),
            label: Some("srpm".to_owned()),
            priority: 19,
            ..NewTask::new(
                "rebuildSRPM",
                vec![file.into(), build_tag.into(), row! { "scratch" => V::Nil, "repo_id" => repo }],
            )
        });
        self.open_task(child, 1.0);
        let root = repo.map(|repo| self.buildroot(child, "x86_64", repo, (&spec.name, &[]), true));
        let result = self.srpm_result(child, &spec.nvr(), root);
        self.close_task(child, result);
        let known = self.w.build_of_nvr(&spec.nvr()).map(|b| (b.id, b.state));
        let id = match known {
            None => {
                self.new_call();
                let id = self.add_build(spec, 0, owner, Some(task));
                self.build_message(id, None);
                id
            }
            Some((id, 3 | 4)) => {
                let now = self.now;
                let build = self.w.build_mut(id);
                (build.task, build.completion, build.start, build.owner) = (Some(task), None, Some(now), owner);
                self.set_build_state(id, 0);
                id
            }
            Some((id, _)) => return Err(Fault::build(format!("Build already exists (id={id}): {}", spec.nvr()))),
        };
        Arc::make_mut(&mut self.w.pending).insert(id, spec.clone());
        Ok(id)
    }

    /// Completes a build: sets it complete, tags it into the target's destination, and closes its
    /// task.
    pub fn complete_build(&mut self, nvr: &str) -> Result<(), Fault> {
        self.new_call();
        let id = self.build_id(nvr)?;
        let build = self.w.build(id).unwrap().clone();
        let spec = self.w.pending.get(&id).cloned().ok_or_else(|| Fault::build(format!("{nvr} is not building")))?;
        let task = build.task.unwrap();
        let target = self.w.task(task).unwrap().request[1].as_str().unwrap().to_owned();
        let config = self.w.target(&target, None).cloned();
        let build_tag = config.as_ref().map_or(0, |c| c.build_tag);
        let mut arches: Vec<String> = spec.rpms.iter().map(|r| r.arch.clone()).collect();
        arches.sort();
        arches.dedup();
        if arches.len() > 1 {
            // Noarch packages come along with another architecture.
            arches.retain(|a| a != "noarch");
        }
        let repo = self.w.newest_repo(build_tag);
        let mut buildroots = Vec::new();
        for arch in arches {
            let child = self.make_task(NewTask {
                owner: build.owner,
                parent: Some(task),
                label: Some(arch.clone()),
                arch: arch.clone(),
                priority: 19,
                ..NewTask::new(
                    "buildArch",
                    vec![nvr.into(), build_tag.into(), arch.as_str().into(), true.into(), row! { "repo_id" => repo }],
                )
            });
            self.open_task(child, 1.5);
            let root = repo.map(|repo| self.buildroot(child, &arch, repo, (&spec.name, &spec.requires), true));
            buildroots.extend(root.map(|root| (arch.clone(), root)));
            let first = buildroots.len() <= 1;
            let files = spec.rpms.iter().filter(|r| r.arch == arch || (first && r.arch == "noarch"));
            let files = files.map(|r| format!("{}-{}-{}.{}.rpm", r.name, spec.version, spec.release, r.arch));
            let result = self.arch_result(child, nvr, files.collect(), root);
            self.close_task(child, result);
        }
        self.add_rpms(id, &spec, &buildroots);
        self.set_build_state(id, 1);
        if let Some(config) = config {
            let dest = self.w.tag_name(config.dest_tag).unwrap_or_default().to_owned();
            let user = self.user.replace(build.owner);
            self.new_call();
            let tagged = self.tag_inner(&dest, nvr, false);
            self.user = user;
            tagged?;
        }
        self.close_task(task, V::Nil);
        Arc::make_mut(&mut self.w.pending).remove(&id);
        Ok(())
    }

    pub fn fail_build(&mut self, nvr: &str, code: i64, text: &str) -> Result<(), Fault> {
        self.new_call();
        let id = self.build_id(nvr)?;
        let task = self.w.build(id).unwrap().task;
        self.set_build_state(id, 3);
        if let Some(task) = task {
            self.fail_task(task, code, text);
        }
        Arc::make_mut(&mut self.w.pending).remove(&id);
        Ok(())
    }

    pub fn cancel_build(&mut self, nvr: &str) -> Result<(), Fault> {
        self.new_call();
        let id = self.build_id(nvr)?;
        let now = self.now;
        let build = self.w.build_mut(id);
        let (task, old) = (build.task, std::mem::replace(&mut build.state, 4));
        build.completion = Some(now);
        self.wrote = true;
        // The task first, because the message shows it and its children as cancelled.
        if let Some(task) = task {
            self.cancel(task);
        }
        self.build_message(id, Some(old));
        Arc::make_mut(&mut self.w.pending).remove(&id);
        Ok(())
    }
}

impl World {
    /// Returns the tags a build is in.
    pub fn tags_of_build(&self, build: i64, event: Option<i64>) -> Vec<i64> {
        self.tag_listing.iter().filter(|l| l.build == build && l.ver.holds(event)).map(|l| l.tag).collect()
    }

    /// Returns the builds in a tag, in the hub's order: by inheritance, and within a tag the newest
    /// tagging first. With `latest`, only the first per package. Blocked packages are left out.
    pub fn tagged(
        &self,
        tag: i64,
        event: Option<i64>,
        inherit: bool,
        latest: bool,
        package: Option<i64>,
    ) -> Vec<&Listing> {
        let ancestry = self.ancestry(tag, event);
        let tags = if inherit { ancestry.as_slice() } else { &ancestry[..1] };
        let mut seen = HashSet::new();
        let mut blocked = HashMap::new();
        let mut found = Vec::new();
        for tag in tags {
            let mut own: Vec<&Listing> = match package {
                Some(package) => self.listings(*tag, package).filter(|l| l.ver.holds(event)).collect(),
                None => self.tag_listing.iter().filter(|l| l.tag == *tag && l.ver.holds(event)).collect(),
            };
            own.sort_by_key(|l| std::cmp::Reverse((l.ver.create, l.build)));
            for listing in own {
                let package = self.build(listing.build).map_or(0, |b| b.package);
                let blocked = *blocked.entry(package).or_insert_with(|| {
                    let entry = ancestry.iter().find_map(|t| self.list_entry(*t, package, event));
                    entry.is_none_or(|e| e.blocked)
                });
                if !blocked && (!latest || seen.insert(package)) {
                    found.push(listing);
                }
            }
        }
        found
    }
}
