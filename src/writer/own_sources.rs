//! Decides which sources count in a repository, and resolves it again if others count than was
//! known.
//!
//! A repository is resolved with the sources the collection had when the repository was made
//! ([`crate::fold::sources`]). The events that say so may arrive after the repository. The
//! repository is then resolved again, with the same result as if they had arrived in time.

use super::Writer;
use super::tracking::Needed;
use crate::buildroot::repo_resolver::{OwnSources, Resolved, Unit};
use crate::buildroot::verdicts::SourceResult;
use crate::event::{BuildChanged, Source};
use crate::fold::Touched;
use crate::fold::sources::{Candidate, InRepo, choose};
use crate::fold::tag::Moment;
use crate::log::LogError;
use crate::model::koji::BuildState;
use crate::model::{Hub, Name, Nvr, RepoId, Seq};

impl Writer {
    /// Returns the sources a collection had when a repository was made.
    pub(crate) fn own_sources(&mut self, index: usize, repo: RepoId) -> OwnSources {
        let tracked = self.tracked(index);
        let c = &self.state.collections[index];
        let hub = self.state.hubs.get(&c.settings.hub);
        let made = hub.and_then(|hub| Some((hub, hub.made(repo)?)));
        made.map_or_else(|| OwnSources::none(&tracked), |(hub, made)| OwnSources::of(hub, c, &tracked, made))
    }

    /// Returns every source that may be needed to resolve a repository of this build tag, made at
    /// this moment.
    pub fn sources_of(&mut self, hub: &Hub, tag: &Name, made: Moment) -> Needed {
        let mut needed = Needed::default();
        for index in 0..self.state.collections.len() {
            let settings = &self.state.collections[index].settings;
            if (&settings.hub, &settings.build_tag) != (hub, tag) {
                continue;
            }
            let tracked = self.tracked(index);
            if let Some(h) = self.state.hubs.get(hub) {
                let own = OwnSources::of(h, &self.state.collections[index], &tracked, made);
                needed.own.extend(own.sources().cloned());
            }
            needed.tracked.push(tracked);
        }
        needed
    }

    /// Resolves again each resolution whose sources differ from those that count. Checks only the
    /// touched packages.
    pub(crate) async fn sources_changed(&mut self, touched: &[Touched], cause: Seq) -> Result<(), LogError> {
        for of_collection in touched.chunk_by(|(a, _), (b, _)| a == b) {
            let index = of_collection[0].0;
            let arches: Vec<(Name, RepoId, String)> = self.state.collections[index]
                .arches
                .iter()
                .filter_map(|(arch, a)| Some((arch.clone(), a.repo_id?, a.attachment.clone()?)))
                .collect();
            for (arch, repo, attachment) in arches {
                if self.is_outdated(of_collection, (&arch, repo, &attachment)).await? {
                    self.resolve_again(index, (&arch, repo, &attachment), cause).await?;
                }
            }
        }
        Ok(())
    }

    /// Checks whether a resolution used another source of one of these packages than the one that
    /// counts.
    async fn is_outdated(
        &mut self,
        touched: &[Touched],
        (arch, repo, attachment): (&Name, RepoId, &str),
    ) -> Result<bool, LogError> {
        let mut open: Vec<(Name, Vec<Candidate>)> = Vec::new();
        let index = touched[0].0;
        let (tracked, digest) = (self.tracked(index), self.tracked_digest(index));
        if self.state.collections[index].arches.get(arch).is_some_and(|a| a.tracked != digest) {
            // The repository is about to be resolved for other packages, and that will use the
            // sources that count.
            return Ok(false);
        }
        for (c, p) in touched {
            let c = &self.state.collections[*c];
            let (Some((name, package)), Some(hub)) = (c.packages.get_index(*p), self.state.hubs.get(&c.settings.hub))
            else {
                continue;
            };
            if !tracked.has(name) {
                continue;
            }
            let Some(made) = hub.made(repo) else { return Ok(false) };
            let candidates = hub.candidates(c, name, made);
            let known = package.verdicts.iter().find(|v| v.arch == *arch);
            let as_known = |c: &Candidate| {
                c.here && known.is_some_and(|v| v.source == *format!("{}-{}", c.nvr.version, c.nvr.release))
            };
            if !candidates.first().is_some_and(as_known) {
                open.push((name.clone(), candidates));
            }
        }
        if open.is_empty() {
            return Ok(false);
        }
        let unit = self.closures(attachment).await?;
        Ok(open.iter().any(|(name, candidates)| {
            let has = unit.unit.sources.get(name);
            let listed = has.and_then(|s| listed(name, s));
            let counts = choose(candidates, listed.as_ref());
            let counts = counts.map(|c| format!("{}-{}", c.nvr.version, c.nvr.release));
            counts.as_deref() != has.map(|s| s.source.as_str())
        }))
    }

    /// Resolves again the repository that the current verdicts on an architecture come from. Uses
    /// the sources that count and the packages that are tracked now. If its content is not
    /// available any more, the verdicts stay.
    pub(crate) async fn resolve_again(
        &mut self,
        index: usize,
        (arch, repo, attachment): (&Name, RepoId, &str),
        cause: Seq,
    ) -> Result<(), LogError> {
        let settings = self.state.collections[index].settings.clone();
        let own = self.own_sources(index, repo);
        let Some(seen) = self.state.as_ready(&settings.hub, repo) else { return Ok(()) };
        let (hub, tag, group) = (&settings.hub, &seen.tag, &settings.build_group);
        let collection = &self.collection_name(index);
        let options = *self.settings.resolve_options.of(collection);
        let unit = Unit { collection, hub, tag, repo, arch, group, own: &own, options };
        let Some(answer) = self.resolve_units(&[unit]).pop() else { return Ok(()) };
        match answer {
            Ok(Resolved { verdicts: unit, examiner }) if unit.group_problems.is_empty() => {
                let tracked = self.tracked_digest(index);
                let before = self.state.collections[index].arches.get(arch).and_then(|a| a.tracked.as_ref());
                let same =
                    before == tracked.as_ref() && self.closures(attachment).await?.unit.content() == unit.content();
                if !same {
                    tracing::debug!(repo = %repo, arch = %arch, "its sources or its tracked packages have changed, \
                        so it is resolved again");
                    self.verdicts_first(index, (&seen, arch), (unit, examiner), cause).await?;
                    self.promotions(index, arch, &own, cause);
                }
            }
            Ok(_) => {}
            Err(not_seen) => {
                tracing::debug!(repo = %repo, arch = %arch, reason = %not_seen, "cannot be resolved again")
            }
        }
        Ok(())
    }

    /// Records the promotion of draft builds that a repository shows.
    ///
    /// A promoted draft gets another name. If the repository lists the build under that name, the
    /// draft was promoted. Koji sends no reliable message about a promotion.
    pub(crate) fn promotions(&mut self, index: usize, arch: &str, own: &OwnSources, cause: Seq) {
        let c = &self.state.collections[index];
        let hub = c.settings.hub.clone();
        let resolved = |name: &Name| {
            let package = c.packages.get(name)?;
            let verdict = package.verdicts.iter().find(|v| v.arch == *arch)?;
            Some(verdict.source.clone())
        };
        let promoted: Vec<(Candidate, Nvr)> = own
            .drafts()
            .filter_map(|draft| {
                let name = draft.promoted.clone()?;
                (resolved(&name.name)? == *format!("{}-{}", name.version, name.release)).then(|| (draft.clone(), name))
            })
            .collect();
        for (draft, name) in promoted {
            let known = self.state.hubs.get(&hub).and_then(|h| h.builds.get(&draft.build));
            let Some(known) = known.filter(|b| b.nvr == draft.nvr) else { continue };
            let fact = BuildChanged {
                hub: hub.clone(),
                build_id: draft.build,
                name: name.name,
                epoch: known.epoch,
                version: name.version,
                release: name.release,
                old: known.state,
                state: known.state.unwrap_or(BuildState::Complete),
                task_id: known.task_id,
                created_at: None,
                completed_at: known.completed_at,
                by: None,
            };
            self.push(fact.into(), Source::Engine, Some(cause), Some(cause));
        }
    }
}

/// Returns the source of a package that the repository itself lists.
fn listed(package: &Name, result: &SourceResult) -> Option<Nvr> {
    let source = match &result.in_repo {
        InRepo::This => &result.source,
        InRepo::Other(source) => source,
        InRepo::None => return None,
    };
    let (version, release) = source.rsplit_once('-')?;
    Some(Nvr { name: package.clone(), version: version.into(), release: release.into() })
}
