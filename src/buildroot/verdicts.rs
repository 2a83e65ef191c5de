//! Everything one resolution found out: verdict, closure and distances of every source package in one repository and
//! architecture.
//!
//! This is the attachment a `repo_resolved` event names by digest. State keeps scores only; who wants to compare two
//! closures comes here. It is a pure function of the repository's content, the build group and the build requirements,
//! so it is the same whenever and wherever it is made.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::fold::sources::InRepo;
use crate::model::{Class, Classified, Evr, Name, Nevra, RepoId};
use crate::resolve::{Handover, Installed};

/// Layout of the attachment; counts up when it changes.
pub const FORMAT: u32 = 1;
/// Longest problem text kept, in characters.
const PROBLEM_CHARS_MAX: usize = 2000;
/// Most problems kept per package.
const PROBLEMS_MAX: usize = 20;

/// The verdict on one source package.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum SourceVerdict {
    /// Its build dependencies install.
    Ok {
        /// Indexes into [`UnitVerdicts::packages`], ascending.
        closure: Vec<u32>,
        /// Distance of each (0: not reached).
        distances: Vec<u8>,
        /// Indexes of the build group's packages that are not in `closure`, ascending: erased or replaced for a
        /// requirement.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        erased: Vec<u32>,
    },
    /// They do not.
    Unresolved {
        /// Why, in words.
        problems: Vec<String>,
    },
    /// Not for this architecture.
    Excluded {
        /// Why.
        reason: String,
    },
    /// Its build requirements are not known; that is not the same as having none.
    Unknown,
}

/// One source package.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SourceResult {
    /// `version-release`.
    pub source: SmolStr,
    /// It builds for `noarch`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub noarch: bool,
    /// What the repository itself has.
    #[serde(default, skip_serializing_if = "InRepo::is_this")]
    pub in_repo: InRepo,
    /// What came out.
    #[serde(flatten)]
    pub verdict: SourceVerdict,
}

/// One repository on one architecture.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct UnitVerdicts {
    /// [`FORMAT`].
    pub format: u32,
    /// The generation.
    pub repo: RepoId,
    /// The architecture.
    pub arch: Name,
    /// `two` or `joint`.
    pub mode: Name,
    /// Solver and version.
    pub solver: String,
    /// Digest of what went in.
    pub inputs: String,
    /// Why the build group does not install; empty: it does.
    pub group_problems: Vec<String>,
    /// Indexes of the build group's closure.
    pub group: Vec<u32>,
    /// `name-epoch:version-release.arch` of every package in any closure, sorted.
    pub packages: Vec<String>,
    /// By source package name. Empty when the build group does not install.
    pub sources: BTreeMap<Name, SourceResult>,
    /// How most packages of the repository spell the architecture, where that is another name; not part of the
    /// attachment.
    #[serde(skip)]
    pub of_packages: Option<Name>,
    /// Who answered; not part of the attachment.
    #[serde(skip)]
    pub solvers: SolverCounts,
}

/// Which solver answered how often, whether they agree, and what was not readable.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SolverCounts {
    /// Answered by our own solver.
    pub native: u32,
    /// Handed over to libsolv, by reason.
    pub handed_over: BTreeMap<&'static str, u32>,
    /// Answers of ours that libsolv was asked about as well.
    pub checked: u32,
    /// What single packages of the repository say wrongly, by reason ([`crate::repodata::Oddity`]).
    pub passed_over: BTreeMap<&'static str, u64>,
    /// Source packages of which libsolv said something else. Its answer is the one that counts.
    pub mismatches: Vec<Name>,
}

impl SolverCounts {
    pub(crate) fn add(&mut self, source: &Name, handover: Option<Handover>, checked: bool, mismatch: bool) {
        match handover {
            None => self.native += 1,
            Some(reason) => *self.handed_over.entry(reason.as_str()).or_default() += 1,
        }
        self.checked += u32::from(checked);
        if mismatch {
            self.mismatches.push(source.clone());
        }
    }
}

/// An attachment that is not what it should be.
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

fn bad(why: impl Into<String>) -> VerdictsError {
    VerdictsError::new("the verdicts of a repository", why)
}

impl Classified for VerdictsError {
    fn class(&self) -> Class {
        Class::Broken
    }
}

impl UnitVerdicts {
    /// As stored. The same content gives the same bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("verdicts hold only what JSON can say")
    }

    /// Number of packages that resolve, do not, are not for this architecture, are unknown.
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
}

/// Problems as kept: bounded in number and length.
pub fn bounded(problems: &[String]) -> Vec<String> {
    problems.iter().take(PROBLEMS_MAX).map(|p| p.chars().take(PROBLEM_CHARS_MAX).collect()).collect()
}

/// Verdicts ready for comparison: the package table parsed once.
#[derive(Clone, Debug)]
pub struct Closures {
    /// As stored.
    pub unit: UnitVerdicts,
    table: Vec<Nevra>,
}

impl Closures {
    /// Parses the table. Cost: O(packages).
    ///
    /// # Errors
    /// [`VerdictsError`] (broken) for a name that is none, or an index outside the table.
    pub fn new(unit: UnitVerdicts) -> Result<Self, VerdictsError> {
        let table = unit.packages.iter().map(|p| parse_nevra(p)).collect::<Result<Vec<_>, _>>()?;
        let inside = |list: &[u32]| list.iter().all(|i| (*i as usize) < table.len());
        let sound = unit.sources.values().all(|s| match &s.verdict {
            SourceVerdict::Ok { closure, distances, erased } => {
                inside(closure) && distances.len() == closure.len() && inside(erased)
            }
            _ => true,
        });
        if !sound || !inside(&unit.group) {
            return Err(bad("an index lies outside the table"));
        }
        Ok(Self { unit, table })
    }

    /// From stored bytes.
    ///
    /// # Errors
    /// [`VerdictsError`] (broken).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, VerdictsError> {
        let unit: UnitVerdicts = serde_json::from_slice(bytes).map_err(|e| bad(e.to_string()))?;
        if unit.format != FORMAT {
            return Err(bad(format!("layout {} is not known to this program", unit.format)));
        }
        Self::new(unit)
    }

    /// What a resolving source package would have installed, with distances; `None` when it does not resolve here.
    pub fn installed(&self, package: &str) -> Option<Vec<Installed>> {
        let (closure, distances) = self.closure(package)?;
        Some(closure.iter().zip(distances).map(|(index, distance)| self.at(*index, *distance)).collect())
    }

    /// Indexes and distances of a resolving source package.
    pub(crate) fn closure(&self, package: &str) -> Option<(&[u32], &[u8])> {
        match &self.unit.sources.get(package)?.verdict {
            SourceVerdict::Ok { closure, distances, .. } => Some((closure, distances)),
            _ => None,
        }
    }

    /// What the build group brought and a resolving source package would have to do without, sorted; `None` when it
    /// does not resolve here.
    pub fn erased(&self, package: &str) -> Option<Vec<&Nevra>> {
        match &self.unit.sources.get(package)?.verdict {
            SourceVerdict::Ok { erased, .. } => Some(erased.iter().map(|index| &self.table[*index as usize]).collect()),
            _ => None,
        }
    }

    pub(crate) fn at(&self, index: u32, distance: u8) -> Installed {
        Installed { nevra: self.table[index as usize].clone(), distance: (distance > 0).then_some(distance) }
    }

    /// Whether `package` resolves here in exactly this version.
    pub fn has(&self, package: &str, source: &str) -> bool {
        self.unit
            .sources
            .get(package)
            .is_some_and(|s| s.source == source && matches!(s.verdict, SourceVerdict::Ok { .. }))
    }
}

/// Reads `name-epoch:version-release.arch`.
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
