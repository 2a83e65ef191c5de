//! Defines a collection: the packages of a dest tag, built from the repositories of a build tag.

use indexmap::IndexSet;
use rustc_hash::FxBuildHasher;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::Map;
use super::arch::Allowed;
use super::history::UpdateHistory;
use super::package::{FoundCause, Package};
use super::refusal::Refusal;
use crate::event::{CollectionSettings, DependencyMove};
use crate::model::arch::{self, canonical};
use crate::model::{BuildrootState, Name, RepoId, Seq};

/// The newest resolution of one architecture.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ArchResolution {
    /// The repository. `None` until one was resolved.
    pub repo_id: Option<RepoId>,
    /// Attachment with verdicts and closures. Which one it is depends on the order of repositories,
    /// because it may only say what differs from an earlier one.
    pub attachment: Option<String>,
    /// Digest of the verdicts and closures themselves. `None` in old logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// Digest of the set of packages that were resolved ([`super::Tracked::digest`]). Absent if all
    /// were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracked: Option<String>,
    /// Whether the build group can be installed.
    pub group_ok: Option<bool>,
    /// The repository in which the group was resolved.
    pub group_repo: Option<RepoId>,
    /// Reasons, in words, why it cannot be installed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
    /// Stands for the reasons ([`super::stands_for`]) whose causes were looked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explained: Option<u64>,
    /// What made the build group not installable, if it was found out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<FoundCause>,
    /// The last repository in which the build group could be installed, while it cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_good: Option<RepoId>,
    /// Whether libsolv has said everything about the last resolution
    /// ([`crate::event::ResolutionExamined`]).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub examined: bool,
    /// Packages about which our own solver gave a wrong answer in the last resolution.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub corrected: Vec<Name>,
    /// Spelling of the architecture in the packages of the last resolved repository, if it differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of_packages: Option<Name>,
}

/// The present version of a source package in buildroots.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Arrived {
    /// `version-release`.
    pub version: SmolStr,
    /// The repository that brought it.
    pub repo: RepoId,
}

/// A collection.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Collection {
    /// The collection's settings.
    pub settings: CollectionSettings,
    /// The dest tag and the tags it inherits from, nearest first.
    pub chain: Vec<Name>,
    /// The newest usable repository of the build tag, by Koji event.
    pub newest_repo: Option<RepoId>,
    /// The repository that could not be resolved, and why. The verdicts are then from an older one.
    pub stale: Option<(RepoId, String)>,
    /// Newest resolution of each architecture.
    pub arches: Map<Name, ArchResolution>,
    /// The buildroot state last written to the log.
    pub announced: BuildrootState,
    /// Whether the target no longer exists. If another hub builds, this is the target there.
    pub target_gone: bool,
    /// Those of the build tag and the dest tag that no longer exist. If another hub builds, also
    /// those of its target's tags there, as `TAG on HUB`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags_gone: Vec<Name>,
    /// Architectures of the tag that builds, as spelled there, if known. That is the collection's
    /// build tag, or that of its target on another hub. Derived from that hub's state.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tag_arches: Vec<Name>,
    /// Reason why somebody paused the submissions, if they are paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<SmolStr>,
    /// The refusal, if a policy of the building hub does not allow the rebuilds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refusal>,
    /// Dependency moves. Packages refer to them by index.
    pub moves: IndexSet<DependencyMove, FxBuildHasher>,
    /// Number of moves that were in use when unused ones were last removed.
    pub moves_live: usize,
    /// Source packages of which another version came into buildroots, and with which repository.
    #[serde(default)]
    pub arrived: Map<Name, Arrived>,
    /// What the suspects of failed builds follow from.
    #[serde(default)]
    pub history: UpdateHistory,
    /// The collection's packages by name.
    pub packages: Map<Name, Package>,
    /// Number of rebuilds that are running or about to run.
    pub running: u32,
    /// The last event that changed a verdict.
    pub resolved_at: Option<Seq>,
}

impl Collection {
    /// Makes a collection without packages.
    pub fn new(settings: CollectionSettings) -> Self {
        Self {
            settings,
            chain: Vec::new(),
            newest_repo: None,
            stale: None,
            arches: Map::default(),
            announced: BuildrootState::Unknown,
            target_gone: false,
            tags_gone: Vec::new(),
            tag_arches: Vec::new(),
            paused: None,
            refused: None,
            moves: IndexSet::default(),
            moves_live: 0,
            arrived: Map::default(),
            history: UpdateHistory::default(),
            packages: Map::default(),
            running: 0,
            resolved_at: None,
        }
    }

    /// Returns the architectures that the collection looks at.
    pub fn allowed(&self) -> Allowed<'_> {
        Allowed { own: &self.settings.arches, tag: &self.tag_arches }
    }

    /// Returns the spelling in the build tag of an architecture, which is usually given by its
    /// canonical name. A tag may have two names of a family (`i586 i686`). If the tag is not known,
    /// the packages of its repository show the spelling. If there are none, the usual spelling is
    /// returned.
    pub fn spelled(&self, arch: &str) -> Vec<Name> {
        let family = canonical(arch);
        let of_tag: Vec<Name> = self.tag_arches.iter().filter(|a| canonical(a) == family).cloned().collect();
        if !of_tag.is_empty() {
            return of_tag;
        }
        let of_packages = self.arches.get(family).and_then(|a| a.of_packages.clone());
        vec![of_packages.unwrap_or_else(|| arch::of_packages(family).into())]
    }

    /// Returns the known architectures: those of the tag, else those of the resolved repositories.
    /// Empty if neither is known.
    pub fn known_arches(&self) -> Vec<Name> {
        if self.tag_arches.is_empty() { self.arches.keys().cloned().collect() } else { self.tag_arches.clone() }
    }

    /// Returns the state of the buildroot. It is broken if the group cannot be installed on any one
    /// of the architectures that were looked at.
    pub fn buildroot(&self) -> BuildrootState {
        let mut state = BuildrootState::Unknown;
        for a in self.arches.values() {
            match a.group_ok {
                Some(false) => return BuildrootState::Unresolved,
                Some(true) => state = BuildrootState::Ok,
                None => {}
            }
        }
        state
    }

    /// Forgets all results of resolving repositories.
    pub(super) fn forget_resolutions(&mut self) {
        self.arches.clear();
        self.stale = None;
        self.moves.clear();
        self.moves_live = 0;
        for package in self.packages.values_mut() {
            package.verdicts.clear();
        }
    }

    /// Returns the architecture's entry, and creates it if it is absent.
    pub(super) fn arch_mut(&mut self, arch: &Name) -> &mut ArchResolution {
        self.arches.entry(arch.clone()).or_insert_with(|| ArchResolution {
            repo_id: None,
            attachment: None,
            content: None,
            tracked: None,
            group_ok: None,
            group_repo: None,
            problems: Vec::new(),
            explained: None,
            causes: Vec::new(),
            group_good: None,
            examined: false,
            corrected: Vec::new(),
            of_packages: None,
        })
    }

    /// Returns the index of a package, and creates the package if it is absent.
    pub(super) fn package_index(&mut self, name: &Name) -> usize {
        match self.packages.get_index_of(name) {
            Some(index) => index,
            None => self.packages.insert_full(name.clone(), Package::default()).0,
        }
    }

    /// Removes the moves that no package refers to, once there are many, so that the table does not
    /// grow for ever. Cost: O(changes), rarely.
    pub(super) fn compact_moves(&mut self) {
        if self.moves.len() < 2 * self.moves_live + 4096 {
            return;
        }
        let mut renamed = vec![u32::MAX; self.moves.len()];
        let mut kept = IndexSet::default();
        for package in self.packages.values_mut() {
            for verdict in &mut package.verdicts {
                for (index, _) in &mut verdict.changes {
                    let old = *index as usize;
                    if renamed[old] == u32::MAX {
                        let moved = self.moves.get_index(old).expect("packages refer to moves that exist").clone();
                        renamed[old] = u32::try_from(kept.insert_full(moved).0).unwrap_or(u32::MAX);
                    }
                    *index = renamed[old];
                }
            }
        }
        self.moves_live = kept.len();
        self.moves = kept;
    }
}
