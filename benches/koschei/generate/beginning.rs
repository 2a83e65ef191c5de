//! How the stream begins: the policy, the collections, their packages, the first repositories.

use ::koschei::model::koji::BuildState;

use super::*;

impl Generator {
    pub(super) fn set_up(&mut self, setup: Setup) {
        self.setup = match setup {
            Setup::Policy => {
                let policy = ::koschei::decide::Policy::default();
                let (digest, program) = (policy.digest(), "koschei 0.1.0".to_owned());
                let policy = serde_json::to_value(policy).expect("a policy is JSON");
                self.say(PolicyAdopted { digest, policy, program }.into(), Source::Operator, None, None);
                Setup::Collection(0)
            }
            Setup::Collection(c) => {
                self.create(c);
                if c + 1 < self.model.collections.len() { Setup::Collection(c + 1) } else { Setup::Package(0, 0) }
            }
            Setup::Package(c, p) => {
                self.import(c, p);
                match (p + 1 < self.size.packages, c + 1 < self.model.collections.len()) {
                    (true, _) => Setup::Package(c, p + 1),
                    (false, true) => Setup::Package(c + 1, 0),
                    (false, false) => Setup::Repo(0),
                }
            }
            Setup::Repo(c) => {
                self.first_repo(c);
                if c + 1 < self.model.collections.len() { Setup::Repo(c + 1) } else { Setup::Done }
            }
            Setup::Done => Setup::Done,
        };
    }

    pub(super) fn create(&mut self, c: usize) {
        let m = &self.model.collections[c];
        let (hub, name) = (m.hub, m.name.clone());
        let tags: Vec<Name> = m.chain.iter().map(|t| self.model.hubs[hub].tags[*t].name.clone()).collect();
        let settings = CollectionSettings {
            display_name: name.to_string(),
            hub: self.hub_name(hub),
            target: m.target.clone(),
            build_tag: m.build_tag.clone(),
            dest_tag: tags[0].clone(),
            build_group: "build".into(),
            coefficient: 1000,
            arches: Vec::new(),
            track_all: true,
            max_builds: None,
            found: true,
            builds_on: None,
        };
        let observed = |tag: &Name, parent: &Name| TagObserved {
            hub: settings.hub.clone(),
            tag: tag.clone(),
            tag_id: None,
            arches: Some(ARCHES.map(Name::from).to_vec()),
            inheritance: Some(vec![Inheritance {
                tag: parent.clone(),
                priority: 0,
                max_depth: None,
                intransitive: false,
                no_config: false,
            }]),
            groups: None,
            external_repos: Some(Vec::new()),
            gone: false,
        };
        let build_tag = observed(&settings.build_tag, &tags[0]);
        let dest_tag = tags.get(1).map(|parent| observed(&tags[0], parent));
        let target = TargetObserved {
            hub: settings.hub.clone(),
            target: settings.target.clone(),
            build_tag: Some(settings.build_tag.clone()),
            dest_tag: Some(tags[0].clone()),
        };
        self.fact(hub, target);
        self.fact(hub, build_tag);
        if let Some(dest_tag) = dest_tag {
            self.fact(hub, dest_tag);
        }
        self.say(CollectionCreated { collection: name, settings }.into(), Source::Engine, None, None);
    }

    /// Imports a package, listed in two tags, with one build. Two thirds of the packages of an
    /// inheriting tag have no build of their own. Two thirds of the builds were imported.
    pub(super) fn import(&mut self, c: usize, p: usize) {
        let m = &self.model.collections[c];
        let (hub, own, candidate, inherits) = (m.hub, m.chain[0], m.candidate, m.chain.len() > 1);
        for tag in [own, candidate] {
            self.list_change(hub, tag, p, PackageListAction::Add, Some(false));
        }
        if !inherits || p.is_multiple_of(3) {
            let built = p % 3 == 2;
            let (build, version) = self.new_build(hub, p, built, BuildState::Complete);
            self.build_changed(hub, build, None, built);
            let cause = self.tag(hub, own, p, build, version);
            self.announce(cause);
        } else {
            self.touched.push((c, p));
            self.announce(self.seq);
        }
    }

    /// The first resolution lists every package.
    pub(super) fn first_repo(&mut self, c: usize) {
        let (hub, repo) = self.begin_repo(c, true);
        for (a, arch) in ARCHES.into_iter().enumerate() {
            let (collection, hub_name) = (self.model.collections[c].name.clone(), self.hub_name(hub));
            let (repo_id, arch_name, count) = (RepoId(repo.0), Name::from(arch), 180);
            self.conclude(BuildrootResolved { collection, hub: hub_name, repo_id, arch: arch_name, count }, repo.1);
            self.model.collections[c].group_ok[a] = Some(true);
            let packages: Vec<usize> = (0..self.size.packages).collect();
            self.resolved(c, a, repo, &packages, (0, 0), 0);
        }
        let collection = self.model.collections[c].name.clone();
        let (old, new) = (BuildrootState::Unknown, BuildrootState::Ok);
        self.conclude(CollectionStateChanged { collection, old, new, repo_id: RepoId(repo.0) }, repo.1);
        self.model.collections[c].announced = new;
        self.announce(repo.1);
        self.evaluate(Trigger::RepoResolved, repo.1);
    }
}
