//! The result of one resolution: verdict, closure and distances of every source package in one
//! repository and architecture.
//!
//! A `repo_resolved` event names its attachment by digest ([`super::stored`]). The state keeps only
//! scores, so code that compares two closures reads the attachment. The result only depends on the
//! content of the repository, the build group and the build requirements. It is therefore the same
//! whenever and wherever it is made.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::fold::sources::InRepo;
use crate::model::{Class, Classified, Evr, Name, Nevra, RepoId};
use crate::resolve::{Handover, Installed};

/// Layout of the attachment. It increases when the layout changes.
pub const FORMAT: u32 = 1;
/// Longest problem text kept, in characters.
const PROBLEM_CHARS_MAX: usize = 2000;
/// Most problems kept per package.
const PROBLEMS_MAX: usize = 20;

/// The verdict on one source package.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum SourceVerdict {
    /// Its build requirements can be installed.
    Ok {
        /// Indexes into [`UnitVerdicts::packages`], ascending.
        closure: Arc<[u32]>,
        /// Distance of each package of `closure` (0: not reached).
        distances: Arc<[u8]>,
        /// Indexes of the build group's packages that are not in `closure`, ascending. They were
        /// erased or replaced for a requirement.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        erased: Vec<u32>,
    },
    /// Its build requirements cannot be installed.
    Unresolved {
        /// The reasons, as text. Empty if libsolv is asked for them only after the decisions, as with
        /// a hub. Events then tell them.
        problems: Vec<String>,
    },
    /// It is not built on this architecture.
    Excluded {
        /// The reason.
        reason: String,
    },
    /// Its build requirements are not known. That is not the same as having none.
    Unknown,
}

/// The result for one source package.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "Flat")]
pub struct SourceResult {
    /// `version-release`.
    pub source: SmolStr,
    /// Whether it builds for `noarch`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub noarch: bool,
    /// What the repository itself has of this package.
    #[serde(skip_serializing_if = "InRepo::is_this")]
    pub in_repo: InRepo,
    /// The verdict.
    #[serde(flatten)]
    pub verdict: SourceVerdict,
}

/// A [`SourceResult`] as it is written. Serde reads a tagged enum by way of a copy of all its values,
/// here of every number in every closure.
#[derive(Deserialize)]
struct Flat {
    source: SmolStr,
    #[serde(default)]
    noarch: bool,
    #[serde(default)]
    in_repo: InRepo,
    verdict: SmolStr,
    #[serde(default)]
    closure: Option<Vec<u32>>,
    #[serde(default)]
    distances: Option<Vec<u8>>,
    #[serde(default)]
    erased: Vec<u32>,
    #[serde(default)]
    problems: Option<Vec<String>>,
    #[serde(default)]
    reason: Option<String>,
}

impl TryFrom<Flat> for SourceResult {
    type Error = VerdictsError;

    fn try_from(flat: Flat) -> Result<Self, VerdictsError> {
        let lacks = |what: &str| bad(format!("the verdict `{}` has no {what}", flat.verdict));
        let verdict = match flat.verdict.as_str() {
            "ok" => SourceVerdict::Ok {
                closure: flat.closure.ok_or_else(|| lacks("closure"))?.into(),
                distances: flat.distances.ok_or_else(|| lacks("distances"))?.into(),
                erased: flat.erased,
            },
            "unresolved" => SourceVerdict::Unresolved { problems: flat.problems.ok_or_else(|| lacks("problems"))? },
            "excluded" => SourceVerdict::Excluded { reason: flat.reason.ok_or_else(|| lacks("reason"))? },
            "unknown" => SourceVerdict::Unknown,
            other => return Err(bad(format!("the verdict `{other}` is not known to this program"))),
        };
        Ok(Self { source: flat.source, noarch: flat.noarch, in_repo: flat.in_repo, verdict })
    }
}

/// The results of one repository on one architecture.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct UnitVerdicts {
    /// The layout, [`FORMAT`].
    pub format: u32,
    /// The repository.
    pub repo: RepoId,
    /// The architecture.
    pub arch: Name,
    /// `two` or `joint`.
    pub mode: Name,
    /// Names and versions of the solvers.
    pub solver: String,
    /// Digest of the inputs.
    pub inputs: String,
    /// Why the build group cannot be installed. Empty if it can.
    pub group_problems: Vec<String>,
    /// Indexes of the build group's closure into `packages`.
    pub group: Vec<u32>,
    /// Every package in any closure as `name-epoch:version-release.arch`, sorted.
    pub packages: Vec<String>,
    /// For each of `packages`, the source package it was built from, as `name-version-release`.
    /// Empty text if the repository does not say. The list is empty in old attachments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub built_from: Vec<SmolStr>,
    /// Results by source package name. Empty if the build group cannot be installed.
    pub sources: BTreeMap<Name, SourceResult>,
    /// How most packages of the repository spell the architecture, if they use another name. Not
    /// part of the attachment.
    #[serde(skip)]
    pub of_packages: Option<Name>,
    /// How often each solver answered. Not part of the attachment.
    #[serde(skip)]
    pub solvers: SolverCounts,
}

/// How often each solver answered, whether they agree, and what was skipped in the repository.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SolverCounts {
    /// Number of answers of our own solver.
    pub native: u32,
    /// Number of questions handed over to libsolv, by reason.
    pub handed_over: BTreeMap<&'static str, u32>,
    /// Number of answers that libsolv checked: our own solver's, and those of libsolv that were taken
    /// over from an earlier repository.
    pub checked: u32,
    /// Number of oddities in single packages of the repository, by kind
    /// ([`crate::repodata::Oddity`]).
    pub passed_over: BTreeMap<&'static str, u64>,
    /// Source packages for which libsolv gave another answer. libsolv's answer counts.
    pub mismatches: Vec<Name>,
}

impl SolverCounts {
    pub(crate) fn add(&mut self, source: &Name, handover: Option<Handover>, mismatch: bool) {
        match handover {
            None => self.native += 1,
            Some(reason) => *self.handed_over.entry(reason.as_str()).or_default() += 1,
        }
        if mismatch {
            self.mismatches.push(source.clone());
        }
    }
}

/// The error for an invalid attachment.
#[derive(Debug, thiserror::Error)]
#[error("read {what}: {why}")]
pub struct VerdictsError {
    what: &'static str,
    why: String,
}

impl VerdictsError {
    pub(crate) fn new(what: &'static str, why: impl Into<String>) -> Self {
        Self { what, why: why.into() }
    }
}

pub(super) fn bad(why: impl Into<String>) -> VerdictsError {
    VerdictsError::new("the verdicts of a repository", why)
}

impl Classified for VerdictsError {
    fn class(&self) -> Class {
        Class::Broken
    }
}

impl UnitVerdicts {
    /// Returns the whole as it is stored. The same content gives the same bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("verdicts hold only what JSON can say")
    }

    /// Returns the digest of everything that is stored of it, in hex. Cost: O(size of all closures).
    pub fn content(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        let mut bytes = Vec::new();
        let text = |bytes: &mut Vec<u8>, text: &str| {
            bytes.extend((text.len() as u64).to_le_bytes());
            bytes.extend(text.as_bytes());
        };
        let texts = |bytes: &mut Vec<u8>, list: &[String]| {
            bytes.extend((list.len() as u64).to_le_bytes());
            list.iter().for_each(|one| text(bytes, one));
        };
        let numbers = |bytes: &mut Vec<u8>, list: &[u32]| {
            bytes.extend((list.len() as u64).to_le_bytes());
            bytes.extend(list.iter().flat_map(|n| n.to_le_bytes()));
        };
        bytes.extend(self.format.to_le_bytes());
        bytes.extend(self.repo.0.to_le_bytes());
        [&*self.arch, &*self.mode, &self.solver, &self.inputs].iter().for_each(|one| text(&mut bytes, one));
        texts(&mut bytes, &self.group_problems);
        numbers(&mut bytes, &self.group);
        texts(&mut bytes, &self.packages);
        self.built_from.iter().for_each(|one| text(&mut bytes, one));
        for (name, result) in &self.sources {
            text(&mut bytes, name);
            match &result.verdict {
                SourceVerdict::Ok { closure, distances, erased } => {
                    bytes.push(1);
                    numbers(&mut bytes, closure);
                    bytes.extend(distances.iter());
                    numbers(&mut bytes, erased);
                }
                SourceVerdict::Unresolved { problems } => {
                    bytes.push(2);
                    texts(&mut bytes, problems);
                }
                SourceVerdict::Excluded { reason } => {
                    bytes.push(3);
                    text(&mut bytes, reason);
                }
                SourceVerdict::Unknown => bytes.push(4),
            }
            text(&mut bytes, &result.source);
            bytes.push(result.noarch.into());
            match &result.in_repo {
                InRepo::This => bytes.push(1),
                InRepo::None => bytes.push(2),
                InRepo::Other(source) => {
                    bytes.push(3);
                    text(&mut bytes, source);
                }
            }
            hasher.update(&bytes);
            bytes.clear();
        }
        hasher.update(&bytes).finalize().to_hex().to_string()
    }

    /// Returns the numbers of packages that resolve, that do not, that are not for this
    /// architecture, and that are unknown.
    pub fn counts(&self) -> [u32; 4] {
        let mut counts = [0; 4];
        for s in self.sources.values() {
            let slot = match s.verdict {
                SourceVerdict::Ok { .. } => 0,
                SourceVerdict::Unresolved { .. } => 1,
                SourceVerdict::Excluded { .. } => 2,
                SourceVerdict::Unknown => 3,
            };
            counts[slot] += 1;
        }
        counts
    }

    /// Returns the packages that do not resolve and have no reason yet.
    pub fn unexplained(&self) -> impl Iterator<Item = &Name> {
        let open = |verdict: &SourceVerdict| match verdict {
            SourceVerdict::Unresolved { problems } => problems.is_empty(),
            _ => false,
        };
        self.sources.iter().filter(move |(_, result)| open(&result.verdict)).map(|(name, _)| name)
    }
}

/// Returns the problems in the form that is kept: bounded in number and length.
pub fn bounded(problems: &[String]) -> Vec<String> {
    problems.iter().take(PROBLEMS_MAX).map(|p| p.chars().take(PROBLEM_CHARS_MAX).collect()).collect()
}

/// Verdicts with a parsed package table, ready for comparison.
#[derive(Clone, Debug)]
pub struct Closures {
    /// The verdicts.
    pub unit: UnitVerdicts,
    table: Vec<Nevra>,
    /// Number of attachments that are read on the way to a whole one.
    steps: u32,
}

impl Closures {
    /// Parses the package table. Cost: O(packages).
    ///
    /// # Errors
    /// Returns [`VerdictsError`] (broken) if a package name is invalid, if an index lies outside
    /// the table, or if a closure has not one distance per package.
    pub fn new(unit: UnitVerdicts) -> Result<Self, VerdictsError> {
        let table = unit.packages.iter().map(|p| parse_nevra(p)).collect::<Result<Vec<_>, _>>()?;
        let inside = |list: &[u32]| list.iter().all(|i| (*i as usize) < table.len());
        let sound = unit.sources.values().all(|s| match &s.verdict {
            SourceVerdict::Ok { closure, distances, erased } => {
                inside(closure) && distances.len() == closure.len() && inside(erased)
            }
            _ => true,
        });
        let told = unit.built_from.is_empty() || unit.built_from.len() == table.len();
        if !sound || !told || !inside(&unit.group) {
            return Err(bad("an index lies outside the table"));
        }
        Ok(Self { unit, table, steps: 0 })
    }

    /// Notes how many attachments are read on the way to a whole one.
    #[must_use]
    pub(super) fn after(mut self, steps: u32) -> Self {
        self.steps = steps;
        self
    }

    /// Returns how many attachments are read on the way to a whole one.
    pub(super) fn steps(&self) -> u32 {
        self.steps
    }

    /// Returns the packages that a source package would have installed, with distances. Returns
    /// `None` if it does not resolve here.
    pub fn installed(&self, package: &str) -> Option<Vec<Installed>> {
        let (closure, distances) = self.closure(package)?;
        Some(closure.iter().zip(distances).map(|(index, distance)| self.at(*index, *distance)).collect())
    }

    /// Returns indexes and distances of a source package's closure. Returns `None` if it does not
    /// resolve here.
    pub(crate) fn closure(&self, package: &str) -> Option<(&[u32], &[u8])> {
        match &self.unit.sources.get(package)?.verdict {
            SourceVerdict::Ok { closure, distances, .. } => Some((closure, distances)),
            _ => None,
        }
    }

    /// Returns the source package that a package was built from, as `name-version-release`, if that
    /// is known. `index` is one of a closure.
    pub(crate) fn built_from(&self, index: u32) -> Option<&SmolStr> {
        self.unit.built_from.get(index as usize).filter(|nvr| !nvr.is_empty())
    }

    /// Returns the index of a package by name, version and architecture.
    pub(crate) fn index_of(&self, nevra: &str) -> Option<u32> {
        let at = self.unit.packages.binary_search_by(|p| p.as_str().cmp(nevra)).ok()?;
        u32::try_from(at).ok()
    }

    /// Returns the packages of the build group that a source package would have to do without,
    /// sorted. Returns `None` if it does not resolve here.
    pub fn erased(&self, package: &str) -> Option<Vec<&Nevra>> {
        match &self.unit.sources.get(package)?.verdict {
            SourceVerdict::Ok { erased, .. } => Some(erased.iter().map(|index| &self.table[*index as usize]).collect()),
            _ => None,
        }
    }

    pub(crate) fn at(&self, index: u32, distance: u8) -> Installed {
        Installed { nevra: self.table[index as usize].clone(), distance: (distance > 0).then_some(distance) }
    }

    /// Checks whether `package` resolves here in exactly this version.
    pub fn has(&self, package: &str, source: &str) -> bool {
        self.unit
            .sources
            .get(package)
            .is_some_and(|s| s.source == source && matches!(s.verdict, SourceVerdict::Ok { .. }))
    }
}

/// Parses `name-epoch:version-release.arch`.
pub(crate) fn parse_nevra(text: &str) -> Result<Nevra, VerdictsError> {
    let bad = || bad(format!("`{text}` is not a package"));
    let (rest, arch) = text.rsplit_once('.').ok_or_else(bad)?;
    let (rest, release) = rest.rsplit_once('-').ok_or_else(bad)?;
    let (name, ev) = rest.rsplit_once('-').ok_or_else(bad)?;
    let (epoch, version) = ev.split_once(':').ok_or_else(bad)?;
    let epoch = epoch.parse().map_err(|_| bad())?;
    let evr = Evr { epoch: Some(epoch), version: version.into(), release: release.into() };
    Ok(Nevra { name: name.into(), evr, arch: arch.into() })
}
