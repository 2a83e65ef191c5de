//! What packagers do: builds, tags and package lists.

use ::koschei::model::koji::BuildState;

use super::*;

impl Generator {
    pub(super) fn new_build(&mut self, hub: usize, package: usize, here: bool, state: BuildState) -> (i64, u32) {
        self.versions[hub][package] += 1;
        self.next.build += 1;
        let version = self.versions[hub][package];
        self.model.hubs[hub].builds.insert(self.next.build, BuildModel { package, version, state, here });
        (self.next.build, version)
    }

    pub(super) fn build_changed(&mut self, hub: usize, build: i64, old: Option<BuildState>, here: bool) -> u64 {
        let b = self.model.hubs[hub].builds[&build];
        let (version, release) = version_release(b.version);
        let done = b.state != BuildState::Building;
        let event = BuildChanged {
            hub: self.hub_name(hub),
            build_id: BuildId(build),
            name: self.model.hubs[hub].packages[b.package].clone(),
            epoch: None,
            version,
            release,
            old,
            state: b.state,
            task_id: here.then_some(TaskId(build * 40)),
            created_at: Some(Timestamp(self.now - 95_414_946)),
            completed_at: done.then_some(Timestamp(self.now - 1_215)),
            by: self.person(),
        };
        self.fact(hub, event)
    }

    pub(super) fn tag(&mut self, hub: usize, tag: usize, package: usize, build: i64, version: u32) -> u64 {
        let (version, release) = version_release(version);
        let event = BuildTagged {
            hub: self.hub_name(hub),
            tag: self.model.hubs[hub].tags[tag].name.clone(),
            tag_id: Some(TagId(i64::try_from(tag).unwrap_or(0) + 1)),
            build_id: BuildId(build),
            name: self.model.hubs[hub].packages[package].clone(),
            version,
            release,
            by: self.person(),
        };
        let seq = self.fact(hub, event);
        self.model.tag(hub, tag, package, build, seq);
        self.touch(hub, tag, package);
        seq
    }

    pub(super) fn touch(&mut self, hub: usize, tag: usize, package: usize) {
        let following = self.model.collections.iter().enumerate();
        let following = following.filter(|(_, c)| c.hub == hub && c.chain.contains(&tag));
        self.touched.extend(following.map(|(c, _)| (c, package)));
    }

    /// A packager's build: begun, ended, tagged. Some fail.
    pub(super) fn build(&mut self) {
        let (c, p) = (self.collection(), self.package());
        let m = &self.model.collections[c];
        let (hub, own) = (m.hub, m.chain[0]);
        let begun = self.random.happens(300);
        let (build, version) =
            self.new_build(hub, p, true, if begun { BuildState::Building } else { BuildState::Complete });
        self.build_changed(hub, build, None, true);
        if begun {
            let end = if self.random.happens(250) { BuildState::Failed } else { BuildState::Complete };
            self.model.hubs[hub].builds.get_mut(&build).expect("just made").state = end;
            self.now += 1_500_000;
            self.build_changed(hub, build, Some(BuildState::Building), true);
            if end == BuildState::Failed {
                return;
            }
        }
        let cause = self.tag(hub, own, p, build, version);
        self.announce(cause);
    }

    /// Tags the latest build for candidates too, or once more in its own tag.
    pub(super) fn retag(&mut self) {
        let (c, p) = (self.collection(), self.package());
        let Some(latest) = self.model.latest(c, p) else { return };
        let m = &self.model.collections[c];
        let (hub, tag) = (m.hub, if self.random.happens(700) { m.candidate } else { m.chain[0] });
        let version = self.model.hubs[hub].builds[&latest.build].version;
        let cause = self.tag(hub, tag, p, latest.build, version);
        self.announce(cause);
    }

    /// Untags the latest build if there is another one behind it.
    pub(super) fn untag(&mut self) {
        let (c, p) = (self.collection(), self.package());
        let m = &self.model.collections[c];
        let (hub, tag) = (m.hub, if self.random.happens(500) { m.candidate } else { m.chain[0] });
        let builds = &self.model.hubs[hub].tags[tag].builds[p];
        let Some(last) = builds.last().copied().filter(|_| builds.len() > 1) else { return };
        let (version, release) = version_release(self.model.hubs[hub].builds[&last.build].version);
        let event = BuildUntagged {
            hub: self.hub_name(hub),
            tag: self.model.hubs[hub].tags[tag].name.clone(),
            tag_id: Some(TagId(i64::try_from(tag).unwrap_or(0) + 1)),
            build_id: BuildId(last.build),
            name: self.model.hubs[hub].packages[p].clone(),
            version,
            release,
            by: self.person(),
        };
        let cause = self.fact(hub, event);
        self.model.untag(hub, tag, p, last.build);
        self.touch(hub, tag, p);
        self.announce(cause);
    }

    pub(super) fn list_change(
        &mut self,
        hub: usize,
        tag: usize,
        p: usize,
        action: PackageListAction,
        blocked: Option<bool>,
    ) -> u64 {
        let event = PackageListChanged {
            hub: self.hub_name(hub),
            tag: self.model.hubs[hub].tags[tag].name.clone(),
            package: self.model.hubs[hub].packages[p].clone(),
            action,
            blocked,
            by: self.person(),
        };
        self.model.hubs[hub].tags[tag].blocked[p] = blocked;
        self.touch(hub, tag, p);
        self.fact(hub, event)
    }

    pub(super) fn list(&mut self) {
        let (c, p) = (self.collection(), self.package());
        let m = &self.model.collections[c];
        let (hub, tag) = (m.hub, if self.random.happens(300) { m.candidate } else { m.chain[0] });
        let now = self.model.hubs[hub].tags[tag].blocked[p].unwrap_or(false);
        let cause = if now {
            self.list_change(hub, tag, p, PackageListAction::Unblock, Some(false))
        } else if self.random.happens(30) {
            self.list_change(hub, tag, p, PackageListAction::Block, Some(true))
        } else {
            self.list_change(hub, tag, p, PackageListAction::Update, Some(false))
        };
        self.announce(cause);
    }
}
