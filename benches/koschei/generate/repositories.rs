//! Repositories, their resolution, and what is decided about them.

use super::*;

impl Generator {
    /// Makes a repository that begins and becomes ready. Returns hub, number and the event that
    /// reports it ready.
    pub(super) fn begin_repo(&mut self, c: usize, looked_at: bool) -> (usize, (i64, u64)) {
        self.next.repo += 1;
        self.next.koji_event += 17;
        let hub = self.model.collections[c].hub;
        let (repo_id, hub_name) = (RepoId(self.next.repo), self.hub_name(hub));
        let (tag, tag_id) = (self.model.collections[c].build_tag.clone(), Some(TagId(3)));
        self.fact(hub, RepoInitialised { hub: hub_name.clone(), repo_id, tag: tag.clone(), tag_id });
        self.now += 3_000_000;
        let ready = RepoReady {
            hub: hub_name,
            repo_id,
            tag,
            tag_id,
            create_event: looked_at.then_some(self.next.koji_event),
            arches: looked_at.then(|| ARCHES.map(Name::from).to_vec()),
        };
        let cause = self.fact(hub, ready);
        self.model.collections[c].newest_repo = Some(repo_id.0);
        (hub, (repo_id.0, cause))
    }

    pub(super) fn repo(&mut self, c: usize) {
        let resolves = self.lag("repo_resolved") > 0;
        let (hub, repo) = self.begin_repo(c, resolves);
        if !resolves {
            let (collection, hub) = (self.model.collections[c].name.clone(), self.hub_name(hub));
            let reason = format!("the archive has no repository {} of {collection}", repo.0);
            self.conclude(RepoNotResolved { collection, hub, repo_id: RepoId(repo.0), arch: None, reason }, repo.1);
            return;
        }
        let pair = self.random.below(mix::RESOLUTIONS.len() / 2) * 2;
        let (listed, ..) = mix::RESOLUTIONS[pair];
        let mut packages: Vec<usize> = Vec::with_capacity(listed);
        while packages.len() < listed.min(self.size.packages) {
            let p = self.package();
            if !packages.contains(&p) {
                packages.push(p);
            }
        }
        for (a, arch) in ARCHES.into_iter().enumerate() {
            let (_, moves, changes) = mix::RESOLUTIONS[pair + a];
            let turns = usize::try_from((self.lag("package_state_changed") / 2).clamp(0, 8)).unwrap_or(0);
            self.resolved(c, a, repo, &packages, (moves, changes), turns);
            self.updates_arrived(c, arch, repo);
        }
        self.announce(repo.1);
        self.evaluate(Trigger::RepoResolved, repo.1);
    }

    /// Makes one resolution: `turns` packages stop or begin to resolve, the others get their
    /// changes.
    pub(super) fn resolved(
        &mut self,
        c: usize,
        a: usize,
        repo: (i64, u64),
        packages: &[usize],
        (moves, changes): (usize, usize),
        turns: usize,
    ) {
        let arch = ARCHES[a];
        let (table, known) = self.moves(moves, arch);
        let mut listed: Vec<(usize, VerdictModel)> = Vec::with_capacity(packages.len());
        for (n, p) in packages.iter().copied().enumerate() {
            let was = self.model.collections[c].packages[p].verdicts[a].as_ref().map_or(Some(true), |v| v.ok);
            // Every fiftieth package is not for the first architecture.
            let ok = if a == 0 && p % 50 == 7 { None } else { was.map(|ok| ok != (n < turns)) };
            let mut changed = Vec::new();
            if ok == Some(true) && !known.is_empty() {
                let first = self.random.below(known.len());
                changed.extend((0..changes.min(known.len())).map(|i| known[(first + i) % known.len()]));
            }
            listed.push((p, VerdictModel { ok, changes: changed }));
        }
        // About as many packages that broke earlier heal.
        for _ in 0..(3 * turns).min(self.broken[c].len()) {
            let at = self.random.below(self.broken[c].len());
            let (p, arch_broken) = self.broken[c][at];
            if arch_broken == a && !packages.contains(&p) {
                self.broken[c].swap_remove(at);
                if !listed.iter().any(|l| l.0 == p) {
                    listed.push((p, VerdictModel { ok: Some(true), changes: Vec::new() }));
                }
            }
        }
        let entries = listed.iter().map(|(p, v)| self.entry(c, *p, v, &known, repo.0)).collect();
        let broken = u32::try_from(self.broken[c].len()).unwrap_or(u32::MAX);
        let event = RepoResolved {
            solver_mismatches: Vec::new(),
            collection: self.model.collections[c].name.clone(),
            hub: self.hub_name(self.model.collections[c].hub),
            repo_id: RepoId(repo.0),
            arch: arch.into(),
            of_packages: None,
            tracked: None,
            mode: "two".into(),
            weak_deps: false,
            module_hotfixes: false,
            solver: "libsolv 0.7.23".to_owned(),
            inputs: format!(
                "{:016x}{:016x}{:016x}{:016x}",
                self.random.next(),
                self.random.next(),
                self.random.next(),
                self.random.next()
            ),
            attachment: self.attachments[usize::try_from(repo.0).unwrap_or(0) % ATTACHMENTS].digest.clone(),
            content: None,
            resolved: u32::try_from(self.size.packages).unwrap_or(u32::MAX).saturating_sub(broken),
            unresolved: broken,
            excluded: 0,
            unknown: 0,
            moves: table,
            packages: entries,
            gone: Vec::new(),
        };
        self.conclude(event, repo.1);
        for (p, verdict) in listed {
            if verdict.ok == Some(false) {
                self.broken[c].push((p, a));
            }
            self.model.collections[c].packages[p].verdicts[a] = Some(verdict);
            self.touched.push((c, p));
        }
    }

    pub(super) fn entry(
        &self,
        c: usize,
        p: usize,
        v: &VerdictModel,
        known: &[(u32, u8)],
        repo: i64,
    ) -> PackageResolved {
        let place = |name: u32| known.iter().position(|k| k.0 == name).and_then(|i| u32::try_from(i).ok());
        PackageResolved {
            package: self.name(c, p),
            source: self.model.latest_version(c, p).map(source).unwrap_or_default().into(),
            buildroot_has: None,
            noarch: self.model.collections[c].packages[p].noarch,
            ok: v.ok,
            problem: (v.ok == Some(false)).then(|| {
                format!("nothing provides pkgconfig({}) >= 2 needed by its build requirements", binary_name(p))
            }),
            changes: v.changes.iter().filter_map(|(name, distance)| Some((place(*name)?, *distance))).collect(),
            base: (!v.changes.is_empty()).then_some(RepoId(repo - 3)),
            truth: false,
        }
    }

    /// Makes an evaluation and its requests. Without a hub, each request is closed at once.
    pub(super) fn evaluate(&mut self, trigger: Trigger, cause: u64) {
        let chosen = usize::try_from(self.lag("rebuild_requested").clamp(0, 40)).unwrap_or(0);
        let mut picked: Vec<(usize, usize, PriorityParts)> = Vec::with_capacity(chosen);
        for _ in 0..chosen {
            let (c, p) = (self.collection(), self.package());
            if self.model.latest(c, p).is_some() && !picked.iter().any(|x| (x.0, x.1) == (c, p)) {
                let dependency = i64::try_from(self.random.below(600_000)).unwrap_or(0);
                let build = if self.random.happens(700) { 3_000_000 } else { 0 };
                let current = build + dependency - 30_000;
                picked.push((c, p, PriorityParts { build, dependency, time: -30_000, current, ..Default::default() }));
            }
        }
        let held = [("below_threshold", 120_000), ("declined", 9_000), ("no_source", 11), ("unresolved", 431)];
        let event = EvaluationMade {
            saw: self.seq,
            now: Timestamp(self.now),
            trigger,
            policy: "64ebd8334dc550b0cf49963c116095b70538f96992107fa222f71b04eb2d700f".to_owned(),
            program: "koschei 0.1.0".to_owned(),
            load: None,
            running: u32::try_from(self.tasks.len()).unwrap_or(u32::MAX),
            considered: u32::try_from(self.size.packages * self.model.collections.len()).unwrap_or(u32::MAX),
            held: held.map(|(k, n)| (k.to_owned(), n)).into(),
            chosen: picked
                .iter()
                .map(|(c, p, priority)| Chosen {
                    collection: self.model.collections[*c].name.clone(),
                    package: self.name(*c, *p),
                    priority: *priority,
                })
                .collect(),
        };
        let evaluation = self.conclude(event, cause);
        for (c, p, priority) in picked {
            self.request(c, p, priority, evaluation);
        }
    }

    pub(super) fn request(&mut self, c: usize, p: usize, priority: PriorityParts, evaluation: u64) {
        let Some(number) = self.model.latest_version(c, p) else { return };
        let (version, release) = version_release(number);
        let (collection, package) = (self.model.collections[c].name.clone(), self.name(c, p));
        let base = self.model.collections[c].packages[p].results.last().map(|r| r.order);
        let inputs = RebuildInputs {
            source: source(number).into(),
            base,
            changes: self.random.next(),
            points: (0, 0, 3000),
            arch_override: None,
        };
        let requested = RebuildRequested {
            collection: collection.clone(),
            hub: self.hub_name(self.model.collections[c].hub),
            nvr: Nvr { name: package.clone(), version, release },
            target: self.model.collections[c].target.clone(),
            repo_id: self.model.collections[c].newest_repo.map(RepoId),
            arches: if self.model.collections[c].packages[p].noarch {
                Vec::new()
            } else {
                ARCHES.map(Name::from).to_vec()
            },
            priority,
            inputs,
            task_priority: 30,
        };
        let rebuild = self.conclude(requested, evaluation);
        let closed =
            RebuildNotSubmitted { rebuild: RebuildId(rebuild), collection, package, reason: "no hub".to_owned() };
        self.conclude(closed, rebuild);
    }
}
