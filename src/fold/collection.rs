//! A collection: the packages of a dest tag, built from the repositories of a build tag.

use indexmap::IndexSet;
use rustc_hash::FxBuildHasher;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::Map;
use super::arch::Allowed;
use super::package::Package;
use super::refusal::Refusal;
use crate::event::{CollectionSettings, DependencyMove};
use crate::model::arch::{self, canonical};
use crate::model::{BuildrootState, Name, RepoId, Seq};

/// The newest resolution of one architecture.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ArchResolution {
    /// The repository; `None` until one was resolved.
    pub repo_id: Option<RepoId>,
    /// Attachment with verdicts and closures.
    pub attachment: Option<String>,
    /// Stands for the packages it was resolved for ([`super::Tracked::digest`]); absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracked: Option<String>,
    /// Whether the build group installs.
    pub group_ok: Option<bool>,
    /// The repository the group was looked at in.
    pub group_repo: Option<RepoId>,
    /// Why not, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
    /// How the packages of the last repository resolved spell it, where that is another name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of_packages: Option<Name>,
}

/// A collection.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Collection {
    /// What it is made of.
    pub settings: CollectionSettings,
    /// Dest tag and what it inherits from, nearest first.
    pub chain: Vec<Name>,
    /// The newest usable repository of the build tag, by Koji event.
    pub newest_repo: Option<RepoId>,
    /// Why the newest repository could not be resolved; verdicts are of an older one.
    pub stale: Option<(RepoId, String)>,
    /// Newest resolution per architecture.
    pub arches: Map<Name, ArchResolution>,
    /// The buildroot state last written to the log.
    pub announced: BuildrootState,
    /// Its target is not there any more: that of its building hub, where another hub builds.
    pub target_gone: bool,
    /// Its build tag or dest tag (or both) that are not there any more, and those its target on another hub leads to,
    /// as `TAG on HUB`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags_gone: Vec<Name>,
    /// Architectures of the tag that builds, as spelled there, where known: its build tag, or that of its target on
    /// another hub. Follows from that hub.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tag_arches: Vec<Name>,
    /// Somebody stopped its submissions: why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<SmolStr>,
    /// A policy of the hub that builds it does not allow its rebuilds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refusal>,
    /// Dependency moves that packages refer to by index.
    pub moves: IndexSet<DependencyMove, FxBuildHasher>,
    /// Moves that were in use when unused ones were last removed.
    pub moves_live: usize,
    /// Its packages.
    pub packages: Map<Name, Package>,
    /// Rebuilds running or about to.
    pub running: u32,
    /// The last event that changed a verdict.
    pub resolved_at: Option<Seq>,
}

impl Collection {
    /// A collection without packages.
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
            packages: Map::default(),
            running: 0,
            resolved_at: None,
        }
    }

    /// The architectures it looks at.
    pub fn allowed(&self) -> Allowed<'_> {
        Allowed { own: &self.settings.arches, tag: &self.tag_arches }
    }

    /// How the tag that builds spells an architecture that is known by another of its names, as a rule the canonical
    /// one. A tag may have two of a family (`i586 i686`). Where the tag is not known the packages of its repository
    /// tell, else what is usual does.
    pub fn spelled(&self, arch: &str) -> Vec<Name> {
        let family = canonical(arch);
        let of_tag: Vec<Name> = self.tag_arches.iter().filter(|a| canonical(a) == family).cloned().collect();
        if !of_tag.is_empty() {
            return of_tag;
        }
        let of_packages = self.arches.get(family).and_then(|a| a.of_packages.clone());
        vec![of_packages.unwrap_or_else(|| arch::of_packages(family).into())]
    }

    /// The architectures there are: of the tag, else of the repositories that were resolved. Empty: not known.
    pub fn known_arches(&self) -> Vec<Name> {
        if self.tag_arches.is_empty() { self.arches.keys().cloned().collect() } else { self.tag_arches.clone() }
    }

    /// Its buildroot: broken when the group does not install on any architecture that was looked at.
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

    /// Forgets what was found out in repositories.
    pub(super) fn forget_resolutions(&mut self) {
        self.arches.clear();
        self.stale = None;
        self.moves.clear();
        self.moves_live = 0;
        for package in self.packages.values_mut() {
            package.verdicts.clear();
        }
    }

    /// The architecture's entry, made when absent.
    pub(super) fn arch_mut(&mut self, arch: &Name) -> &mut ArchResolution {
        self.arches.entry(arch.clone()).or_insert_with(|| ArchResolution {
            repo_id: None,
            attachment: None,
            tracked: None,
            group_ok: None,
            group_repo: None,
            problems: Vec::new(),
            of_packages: None,
        })
    }

    /// The index of a package, made when absent.
    pub(super) fn package_index(&mut self, name: &Name) -> usize {
        match self.packages.get_index_of(name) {
            Some(index) => index,
            None => self.packages.insert_full(name.clone(), Package::default()).0,
        }
    }

    /// Removes moves no package refers to, when there are many: the table must not grow for ever. Cost: O(changes),
    /// rarely.
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
