//! Decides which source of a package counted in a collection when a repository was made.
//!
//! A repository's own lists say what is in its buildroots. A rebuild uses another source: the
//! newest build in the collection's dest tag. The repository need not contain that build. A build
//! tag may have a newer build of its own (a buildroot override, or what a side tag left behind),
//! and need not inherit from the dest tag at all.
//!
//! The moment is compared by the Koji events of the tagging and of the repository if they are
//! known, else by the times of the messages. Neither depends on the order in which we hear of them.

use serde::{Deserialize, Serialize};
use smol_str::{SmolStr, format_smolstr};

use super::tag::Moment;
use super::{Collection, HubState, Repo};
use crate::model::nevra::without_draft;
use crate::model::{BuildId, Name, Nvr, RepoId};

/// A build whose source may be the one that counted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// The build.
    pub build: BuildId,
    /// The build's name.
    pub nvr: Nvr,
    /// `version-release` of the build's earlier names.
    pub former: Vec<SmolStr>,
    /// Whether the build is still in the collection's tags. A build that was taken out counts only
    /// if the repository has it. The reason: without a hub, or if the hub was away, we may know the
    /// end of the tagging too late.
    pub here: bool,
    /// The name of a draft after its promotion, unless another build with that name is known.
    pub promoted: Option<Nvr>,
}

impl Candidate {
    /// Lists the build's earlier names.
    pub fn former_names(&self) -> impl Iterator<Item = Nvr> {
        self.former.iter().filter_map(|source| {
            let (version, release) = source.rsplit_once('-')?;
            Some(Nvr { name: self.nvr.name.clone(), version: version.into(), release: release.into() })
        })
    }

    /// Checks whether `listed`, a build in the repository, is this one, under any earlier, present
    /// or expected name.
    fn is(&self, listed: &Nvr) -> bool {
        let source = format_smolstr!("{}-{}", listed.version, listed.release);
        *listed == self.nvr || self.former.contains(&source) || self.promoted.as_ref() == Some(listed)
    }
}

/// How the repository's builds relate to the chosen source.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InRepo {
    /// The repository has a build of the chosen source.
    #[default]
    This,
    /// The repository has a build of another source, with this `version-release`.
    Other(SmolStr),
    /// The repository has no build of the package.
    None,
}

impl InRepo {
    /// Returns whether the repository has the chosen source, which is the usual case.
    pub fn is_this(&self) -> bool {
        *self == Self::This
    }
}

/// The source in which a package is resolved.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chosen<'a> {
    /// Name, version and release of the source.
    pub nvr: &'a Nvr,
    /// The build, if the collection has one of this source.
    pub own: Option<&'a Candidate>,
    /// What the repository has instead.
    pub in_repo: InRepo,
}

/// Chooses the collection's own newest source of that time, else the one that the repository lists.
/// Returns `None` if there is neither.
pub fn choose<'a>(candidates: &'a [Candidate], listed: Option<&'a Nvr>) -> Option<Chosen<'a>> {
    let Some(own) = candidates.iter().find(|c| c.here || listed.is_some_and(|l| c.is(l))) else {
        return listed.map(|nvr| Chosen { nvr, own: None, in_repo: InRepo::This });
    };
    let (nvr, in_repo) = match listed {
        None => (&own.nvr, InRepo::None),
        // The draft was promoted, but no event has told of it yet.
        Some(l) if own.promoted.as_ref() == Some(l) => (l, InRepo::This),
        Some(l) if own.is(l) => (&own.nvr, InRepo::This),
        Some(l) => (&own.nvr, InRepo::Other(format_smolstr!("{}-{}", l.version, l.release))),
    };
    Some(Chosen { nvr, own: Some(own), in_repo })
}

impl Repo {
    /// Returns the moment whose content the repository has.
    pub fn made(&self) -> Moment {
        Moment { event: self.create_event, at: self.made_at }
    }
}

impl HubState {
    /// Returns the moment whose content a repository has, if known.
    pub fn made(&self, repo: RepoId) -> Option<Moment> {
        self.repos.get(&repo).map(Repo::made)
    }

    /// Lists the builds of a collection's package that may be the one that counted at a moment,
    /// first choice first: the nearest tag first, and within a tag the build tagged last. Empty for
    /// a blocked package, because Koji lists none of its builds. Cost: one lookup per tag.
    pub fn candidates(&self, collection: &Collection, package: &str, moment: Moment) -> Vec<Candidate> {
        let mut found: Vec<Candidate> = Vec::new();
        if collection.packages.get(package).is_some_and(|p| p.blocked) {
            return found;
        }
        for tag in self.lists(&collection.chain, package) {
            for (build, here) in tag.at(moment).into_iter().rev() {
                let Some(known) = self.builds.get(&build).filter(|_| !found.iter().any(|c| c.build == build)) else {
                    continue;
                };
                let (nvr, former) = (known.nvr.clone(), known.former.clone());
                let promoted = self.promoted_name(&nvr);
                found.push(Candidate { build, nvr, former, here, promoted });
                if here {
                    // A later candidate is never chosen.
                    return found;
                }
            }
        }
        found
    }

    /// Returns the name of a draft after its promotion, unless another build in any tag has that
    /// name.
    fn promoted_name(&self, nvr: &Nvr) -> Option<Nvr> {
        let release: Name = without_draft(&nvr.release).into();
        let promoted = Nvr { release, ..nvr.clone() };
        let is_taken = || {
            let of_package = self.tags.values().filter_map(|t| t.packages.get(&nvr.name));
            let mut builds = of_package.flat_map(|p| &p.builds).filter_map(|b| self.builds.get(&b.build));
            builds.any(|b| b.nvr == promoted)
        };
        (nvr.is_draft() && !is_taken()).then_some(promoted)
    }
}

#[cfg(test)]
mod tests {
    use super::super::TagPackage;
    use super::super::tag::{PAST_KEPT, TaggedBuild};
    use super::*;
    use crate::model::{Seq, Timestamp};

    fn at(event: Option<i64>, secs: i64) -> Moment {
        Moment { event, at: Timestamp::from_secs(secs) }
    }

    #[test]
    fn events_come_before_times() {
        assert!(at(Some(1), 9).is_by(at(Some(2), 5)));
        assert!(!at(Some(3), 1).is_by(at(Some(2), 5)));
        assert!(at(None, 5).is_by(at(Some(2), 5)), "the same second counts as before");
        assert!(!at(Some(1), 6).is_by(at(None, 5)));
    }

    /// Makes a tag from the builds in it and the taggings that ended there, as build numbers and
    /// Koji events.
    fn tag(here: &[(i64, i64)], ended: &[(i64, i64, i64)]) -> TagPackage {
        let mut tag = TagPackage::default();
        for (build, event) in here {
            let (seq, at) = (Seq::new(1).unwrap(), Timestamp::from_secs(*event));
            tag.builds.push(TaggedBuild { build: BuildId(*build), seq, at, event: Some(*event) });
        }
        for (build, from, to) in ended {
            let (seq, at) = (Seq::new(1).unwrap(), Timestamp::from_secs(*from));
            let old = TaggedBuild { build: BuildId(*build), seq, at, event: Some(*from) };
            tag.ended(old, Moment { event: Some(*to), at: Timestamp::from_secs(*to) });
        }
        tag
    }

    #[test]
    fn what_was_in_a_tag_at_a_moment() {
        let tag = tag(&[(3, 30), (1, 50)], &[(1, 10, 40), (2, 20, 25)]);
        let at = |event: i64| {
            let found = tag.at(at(Some(event), event));
            found.into_iter().map(|(id, here)| (id.0, here)).collect::<Vec<_>>()
        };
        assert_eq!(at(9), []);
        assert_eq!(at(10), [(1, true)], "it was taken out and put in again since");
        assert_eq!(at(20), [(1, true), (2, false)]);
        assert_eq!(at(24), [(1, true), (2, false)]);
        assert_eq!(at(25), [(1, true)], "taken out at that event");
        assert_eq!(at(30), [(1, true), (3, true)]);
        assert_eq!(at(40), [(3, true)]);
        assert_eq!(at(50), [(3, true), (1, true)], "by its last tagging");
    }

    #[test]
    fn ended_taggings_stand_in_the_order_of_their_ends() {
        let ended = [(1, 10, 40), (2, 20, 30), (3, 5, 35), (2, 20, 30)];
        let order = |ended: &[(i64, i64, i64)]| tag(&[], ended).past.iter().map(|p| p.build.0).collect::<Vec<_>>();
        assert_eq!(order(&ended), [2, 3, 1], "one heard of twice stands once");
        let backwards: Vec<_> = ended.into_iter().rev().collect();
        assert_eq!(order(&backwards), [2, 3, 1]);
        let many: Vec<_> = (0..).take(PAST_KEPT + 2).map(|n| (n, n, 100 + n)).collect();
        assert_eq!((order(&many).len(), order(&many)[0]), (PAST_KEPT, 2), "the oldest are forgotten");
    }

    fn candidate(nvr: &str, here: bool) -> Candidate {
        let nvr = Nvr::parse(nvr).expect("a name");
        let promoted = nvr.is_draft().then(|| Nvr { release: without_draft(&nvr.release).into(), ..nvr.clone() });
        Candidate { build: BuildId(1), nvr, former: Vec::new(), here, promoted }
    }

    #[test]
    fn own_sources_come_before_listed_ones() {
        let nvr = |t: &str| Nvr::parse(t).expect("a name");
        let said = |candidates: &[Candidate], listed: Option<&str>| {
            let listed = listed.map(nvr);
            choose(candidates, listed.as_ref()).map(|c| (c.nvr.to_string(), c.in_repo))
        };
        let own = [candidate("foo-1-1", true)];
        assert_eq!(said(&own, Some("foo-2-1")), Some(("foo-1-1".to_owned(), InRepo::Other("2-1".into()))));
        assert_eq!(said(&own, Some("foo-1-1")), Some(("foo-1-1".to_owned(), InRepo::This)));
        assert_eq!(said(&own, None), Some(("foo-1-1".to_owned(), InRepo::None)));
        assert_eq!(said(&[], Some("foo-2-1")), Some(("foo-2-1".to_owned(), InRepo::This)));
        assert_eq!(said(&[], None), None);
        // A build that was taken out since counts only if the repository has it.
        let left = [candidate("foo-2-1", false), candidate("foo-1-1", true)];
        assert_eq!(said(&left, Some("foo-2-1")), Some(("foo-2-1".to_owned(), InRepo::This)));
        assert_eq!(said(&left, Some("foo-1-1")), Some(("foo-1-1".to_owned(), InRepo::This)));
        assert_eq!(said(&left[..1], None), None);
        let usual = [InRepo::This, InRepo::Other("2-1".into()), InRepo::None].map(|r| r.is_this());
        assert_eq!(usual, [true, false, false]);
        // A build with another name is still the same build.
        let renamed = [Candidate { former: vec!["1-1,draft_3".into()], ..candidate("foo-1-1", true) }];
        assert_eq!(said(&renamed, Some("foo-1-1,draft_3")), Some(("foo-1-1".to_owned(), InRepo::This)));
        let draft = [candidate("foo-1-1,draft_3", true)];
        assert_eq!(said(&draft, Some("foo-1-1")), Some(("foo-1-1".to_owned(), InRepo::This)));
    }
}
