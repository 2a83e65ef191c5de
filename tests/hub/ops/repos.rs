//! Repositories: initialising, finishing, expiring, deleting; and the work of kojira.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::fault::Fault;
use super::super::repodata;
use super::super::rows::*;
use super::super::tx::Tx;
use super::super::value::{V, row};
use super::super::world::{RepoNames, World};
use super::tasks::*;

/// Returns `name-[epoch:]version-release.arch`.
pub fn nevra(rpm: &Rpm) -> String {
    let epoch = rpm.epoch.filter(|e| *e != 0).map(|e| format!("{e}:")).unwrap_or_default();
    format!("{}-{epoch}{}-{}.{}", rpm.name, rpm.version, rpm.release, rpm.arch)
}

/// Returns the options that every repository has.
pub fn default_opts() -> V {
    row! { "src" => false, "maven" => false, "debuginfo" => false, "separate_src" => false }
}

impl Tx<'_> {
    pub fn repo_dir(&self, id: i64) -> PathBuf {
        let repo = self.w.repo(id).unwrap();
        self.settings.topdir.join("repos").join(self.w.tag_name(repo.tag).unwrap_or_default()).join(id.to_string())
    }

    /// Makes a ready repository of a tag as it is now. Its two halves can also be called alone.
    pub fn new_repo(&mut self, tag: &str) -> Result<i64, Fault> {
        let id = self.begin_repo(tag)?;
        self.finish_repo(id)?;
        Ok(id)
    }

    /// Opens a newRepo task of kojira and initialises the repository.
    pub fn begin_repo(&mut self, tag: &str) -> Result<i64, Fault> {
        self.new_call();
        let tag_id = self.w.tag(tag, None)?;
        let task = self.newrepo_task(tag_id, &V::Struct(Vec::new()));
        self.open_task(task, 0.1);
        self.init_repo(tag_id, Some(task), V::Struct(Vec::new()))
    }

    fn newrepo_task(&mut self, tag: i64, opts: &V) -> i64 {
        let owner = self.w.user_named("kojira").map_or(1, |u| u.id);
        let name = self.w.tag_name(tag).unwrap_or_default();
        let request = vec![row! { "id" => tag, "name" => name }, row! { "opts" => opts.clone(), "__starstar" => true }];
        let channel = self.channel_id("createrepo").unwrap_or(1);
        self.make_task(NewTask { owner, priority: 15, channel, ..NewTask::new("newRepo", request) })
    }

    /// Adds the repository's row, with an event of its own, and sends `repo.init`. The lists and
    /// groups are on disk, the metadata are not yet.
    pub fn init_repo(&mut self, tag: i64, task: Option<i64>, custom: V) -> Result<i64, Fault> {
        self.new_call();
        let begin_event = self.w.last_change(tag, None);
        let (now, create_event) = (self.now, self.event());
        let id = self.w.repos.last().map_or(0, |r| r.id) + 1;
        let mut opts = default_opts();
        let of_tag = self.w.extra(tag, None).into_iter().find(|(key, _)| key == "repo.opts").map(|(_, value)| value);
        if let Some(V::Struct(members)) = &of_tag {
            members.iter().for_each(|(n, v)| opts.set(n, v.clone()));
        }
        if let V::Struct(members) = &custom {
            members.iter().for_each(|(n, v)| opts.set(n, v.clone()));
        }
        self.w.repos.rows().push(Repo {
            id,
            tag,
            create_event,
            creation: now,
            state: 0,
            state_time: now,
            begin_event: begin_event.unwrap_or(create_event),
            end_event: None,
            dist: false,
            opts,
            custom_opts: custom,
            task,
        });
        repodata::write_lists(self.w, self.w.repo(id).unwrap(), &self.repo_dir(id));
        let repo = self.w.repo(id).unwrap().clone();
        self.repo_message("repo.init", &repo);
        Ok(id)
    }

    /// Finishes a repository: writes its metadata, sets it ready, points `latest` to it, and closes
    /// its task and the requests it fits.
    pub fn finish_repo(&mut self, id: i64) -> Result<(), Fault> {
        self.finish(id, None)
    }

    /// Like [`Tx::finish_repo`], but with metadata from a directory that has `<arch>/repodata`.
    /// Other files in the directory are copied as well.
    pub fn finish_repo_with(&mut self, id: i64, prepared: &Path) -> Result<(), Fault> {
        self.finish(id, Some(prepared))
    }

    fn finish(&mut self, id: i64, prepared: Option<&Path>) -> Result<(), Fault> {
        self.new_call();
        let repo = self.w.repo(id).cloned().ok_or_else(|| Fault::generic(format!("No such repo: {id}")))?;
        let dir = self.repo_dir(id);
        match prepared {
            Some(prepared) => repodata::copy_tree(prepared, &dir),
            None => repodata::write_metadata(self.w, &repo, &dir, self.now / 1_000_000),
        }
        if let Some(task) = repo.task {
            for arch in self.w.build_arches(repo.tag, Some(repo.create_event)) {
                let request = vec![id.into(), arch.as_str().into(), V::Nil];
                let channel = self.w.task(task).unwrap().channel;
                let owner = self.w.task(task).unwrap().owner;
                let label = Some(arch.clone());
                let child = NewTask {
                    owner,
                    parent: Some(task),
                    label,
                    priority: 14,
                    channel,
                    ..NewTask::new("createrepo", request)
                };
                let child = self.make_task(child);
                self.open_task(child, 1.5);
                self.close_task(child, vec![V::Nil, V::Nil].into());
            }
        }
        self.set_repo_state(id, 1);
        self.satisfy_requests(id);
        if repo.custom_opts == V::Struct(Vec::new()) {
            let latest = dir.parent().unwrap().join("latest");
            std::fs::remove_file(&latest).ok();
            std::os::unix::fs::symlink(id.to_string(), &latest).unwrap();
        }
        let repo = self.w.repo(id).unwrap().clone();
        self.repo_message("repo.done", &repo);
        if let Some(task) = repo.task {
            self.set_waiting(task, false);
            self.close_task(task, vec![id.into(), repo.create_event.into()].into());
        }
        Ok(())
    }

    fn set_repo_state(&mut self, id: i64, state: i64) {
        self.wrote = true;
        let now = self.now;
        let repo = self.w.repo_mut(id);
        (repo.state, repo.state_time) = (state, now);
    }

    /// Fails the newRepo task and sets the repository to problem. Sends no message.
    pub fn fail_repo(&mut self, id: i64, code: i64, text: &str) -> Result<(), Fault> {
        self.new_call();
        if let Some(task) = self.w.repo(id).and_then(|r| r.task) {
            self.fail_task(task, code, text);
        }
        self.set_repo_state(id, 4);
        Ok(())
    }

    /// Expires a repository. Sends no message. Builds can still be bound to it.
    pub fn expire_repo(&mut self, id: i64) -> Result<(), Fault> {
        self.new_call();
        self.set_repo_state(id, 2);
        Ok(())
    }

    /// Deletes a repository and its files. Sends no message.
    pub fn delete_repo(&mut self, id: i64) -> Result<(), Fault> {
        self.new_call();
        std::fs::remove_dir_all(self.repo_dir(id)).ok();
        self.set_repo_state(id, 3);
        Ok(())
    }

    /// Closes the requests that a ready repository satisfies.
    fn satisfy_requests(&mut self, id: i64) {
        let (repo, now) = (self.w.repo(id).unwrap().clone(), self.now);
        let fits = |r: &RepoRequest| {
            r.active
                && r.tag == repo.tag
                && r.opts == repo.custom_opts
                && r.min_event.is_none_or(|e| repo.create_event >= e)
                && r.at_event.is_none_or(|e| repo.create_event == e)
        };
        let fitting: Vec<i64> = self.w.repo_requests.iter().filter(|r| fits(r)).map(|r| r.id).collect();
        for request in fitting {
            let row = self.w.request_mut(request);
            (row.active, row.repo, row.update) = (false, Some(id), now);
        }
    }

    /// Runs one cycle of kojira: end events, automatic requests, a newRepo task for each request
    /// without one, and retries of failed ones. It makes no repository; `work_repos` does.
    pub fn kojira(&mut self) -> Result<(), Fault> {
        self.new_call();
        self.update_end_events();
        self.auto_requests();
        let active: Vec<RepoRequest> = self.w.repo_requests.iter().filter(|r| r.active).cloned().collect();
        for request in active {
            self.new_call();
            let now = self.now;
            let state = request.task.and_then(|t| self.w.task(t)).map(|t| t.state);
            match state {
                None => (),
                Some(FAILED | CANCELED) if request.tries <= self.settings.repo_retries => (),
                Some(FAILED | CANCELED) => {
                    let row = self.w.request_mut(request.id);
                    (row.active, row.update) = (false, now);
                    self.wrote = true;
                    continue;
                }
                Some(_) => continue,
            }
            let task = self.newrepo_task(request.tag, &request.opts);
            let row = self.w.request_mut(request.id);
            (row.task, row.update) = (Some(task), now);
            row.tries += 1;
        }
        Ok(())
    }

    /// Sets the end event of repositories whose tag has changed since.
    pub fn update_end_events(&mut self) {
        let current: Vec<Repo> =
            self.w.repos.iter().filter(|r| r.end_event.is_none() && r.state < 3).cloned().collect();
        for repo in current {
            if let Some(end) = self.w.first_change(repo.tag, repo.create_event) {
                self.wrote = true;
                self.w.repo_mut(repo.id).end_event = Some(end);
            }
        }
    }

    /// Makes requests for tags with `repo.auto` that changed after their newest repository.
    fn auto_requests(&mut self) {
        let tags: Vec<i64> = self.w.tags.iter().map(|t| t.id).filter(|t| self.w.config(*t, None).is_some()).collect();
        for tag in tags {
            let auto = self.w.extra(tag, None).iter().any(|(k, v)| k == "repo.auto" && v.truth());
            let change = self.w.last_change(tag, None).unwrap_or(0);
            let covered = self.w.repos.iter().any(|r| r.tag == tag && r.state <= 1 && r.create_event >= change);
            let asked =
                self.w.repo_requests.iter().any(|r| r.tag == tag && r.active && r.min_event.unwrap_or(0) >= change);
            if auto && !covered && !asked {
                let owner = self.w.user_named("kojira").map_or(1, |u| u.id);
                self.add_request(tag, owner, 20, Some(change), None, V::Struct(Vec::new()));
            }
        }
    }

    pub fn add_request(
        &mut self,
        tag: i64,
        owner: i64,
        priority: i64,
        min: Option<i64>,
        at: Option<i64>,
        opts: V,
    ) -> i64 {
        self.wrote = true;
        let id = self.w.repo_requests.last().map_or(0, |r| r.id) + 1;
        let now = self.now;
        self.w.repo_requests.rows().push(RepoRequest {
            id,
            tag,
            owner,
            priority,
            active: true,
            min_event: min,
            at_event: at,
            opts,
            repo: None,
            task: None,
            tries: 0,
            create: now,
            update: now,
        });
        id
    }

    /// Moves every newRepo task one stage further: free → open with the repository initialised →
    /// ready. Returns how many moved.
    pub fn work_repos(&mut self) -> Result<usize, Fault> {
        let active = |t: &&Task| t.method == "newRepo" && [FREE, OPEN].contains(&t.state);
        let ids: Vec<i64> = self.w.tasks.iter().filter(active).map(|t| t.id).collect();
        for id in &ids {
            self.new_call();
            let task = self.w.task(*id).unwrap().clone();
            let tag = task.request[0].get("id").and_then(V::as_int).unwrap();
            let repo = self.w.repos.iter().find(|r| r.task == Some(*id)).map(|r| r.id);
            match repo {
                None => {
                    self.open_task(*id, 0.1);
                    let opts = task.request[1].get("opts").cloned().unwrap_or(V::Nil);
                    self.init_repo(tag, Some(*id), opts)?;
                    self.set_waiting(*id, true);
                }
                Some(repo) if self.w.merge_modes(tag) > 1 => {
                    let text = "Found multiple merge modes for external repos: dict_keys(['koji', 'simple'])\n";
                    self.fail_repo(repo, 1000, text)?;
                }
                Some(repo) => self.finish_repo(repo)?,
            }
        }
        Ok(ids.len())
    }
}

impl World {
    /// Returns the newest ready repository with default options.
    pub fn newest_repo(&self, tag: i64) -> Option<i64> {
        let fits = |r: &&Repo| r.tag == tag && r.state == 1 && !r.dist && r.custom_opts == V::Struct(Vec::new());
        self.repos.iter().filter(fits).max_by_key(|r| r.create_event).map(|r| r.id)
    }

    fn merge_modes(&self, tag: i64) -> usize {
        let tags = self.ancestry(tag, None);
        let rows = self.tag_external_repos.iter().filter(|r| tags.contains(&r.tag) && r.ver.holds(None));
        rows.map(|r| r.merge_mode.as_str()).collect::<HashSet<_>>().len()
    }

    /// Returns the binary packages that a repository of the tag has for an architecture.
    pub fn repo_rpms(&self, tag: i64, event: i64, arch: &str) -> Vec<&Rpm> {
        let builds = self.tagged(tag, Some(event), true, true, None);
        let mut ids: Vec<i64> = builds.iter().map(|l| l.build).collect();
        ids.sort_unstable();
        let rpms = ids.into_iter().flat_map(|b| self.rpms_of_build(b));
        rpms.filter(|r| r.arch == arch || r.arch == "noarch").collect()
    }

    /// Returns the numbers of the packages of [`Self::repo_rpms`], by name and by
    /// `name-[epoch:]version-release.arch`.
    pub fn names_in_repo(&self, tag: i64, event: i64, arch: &str) -> RepoNames {
        let mut known = self.repo_names.lock().unwrap();
        let names = known.entry((tag, event, arch.to_owned())).or_insert_with(|| {
            let rpms = self.repo_rpms(tag, event, arch);
            Arc::new(rpms.into_iter().flat_map(|r| [(r.name.clone(), r.id), (nevra(r), r.id)]).collect())
        });
        Arc::clone(names)
    }

    /// Returns the package names in a group at an event, inheritance included.
    pub fn group_packages_of(&self, tag: i64, event: Option<i64>, group: &str) -> Vec<String> {
        let groups = self.tag_groups(tag, event);
        let found = groups
            .into_iter()
            .find(|g| g.config.display_name == group || self.group_name(g.config.group) == Some(group));
        found.map(|g| g.packages.iter().map(|p| p.package.clone()).collect()).unwrap_or_default()
    }

    /// Returns every event that changed something a repository of the tag depends on.
    fn changes(&self, tag: i64) -> impl Iterator<Item = i64> {
        fn of<T: Versioned>(rows: &[T], fits: impl Fn(&T) -> bool) -> Vec<i64> {
            let events = |r: &T| [Some(r.ver().create), r.ver().revoke];
            rows.iter().filter(|r| fits(r)).flat_map(events).flatten().collect()
        }
        let parts = [
            of(&self.tag_listing, |r| r.tag == tag),
            of(&self.tag_inheritance, |r| r.tag == tag),
            of(&self.tag_config, |r| r.tag == tag),
            of(&self.tag_packages, |r| r.tag == tag),
            of(&self.tag_external_repos, |r| r.tag == tag),
            of(&self.tag_extra, |r| r.tag == tag),
            of(&self.group_packages, |r| r.tag == tag),
            of(&self.group_config, |r| r.tag == tag),
            self.tag_updates.iter().filter(|(t, _)| *t == tag).map(|(_, e)| *e).collect(),
        ];
        parts.into_iter().flatten()
    }

    /// Returns the last event before a time that changed the tag or its ancestors.
    pub fn last_change(&self, tag: i64, before: Option<i64>) -> Option<i64> {
        let tags = self.ancestry(tag, None);
        let before = |event: &i64| before.is_none_or(|b| self.event_at(*event).is_some_and(|at| at < b));
        tags.iter().flat_map(|t| self.changes(*t)).filter(before).max()
    }

    /// Returns the first event after `after` that changed the tag or its ancestors.
    pub fn first_change(&self, tag: i64, after: i64) -> Option<i64> {
        self.ancestry(tag, None).iter().flat_map(|t| self.changes(*t)).filter(|e| *e > after).min()
    }

    /// Checks whether one of the tags itself changed after an event.
    pub fn changed_since(&self, event: i64, tags: &[i64]) -> bool {
        tags.iter().flat_map(|t| self.changes(*t)).any(|e| e > event)
    }
}
