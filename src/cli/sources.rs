//! The source packages of `koschei resolve`: from a repository, from a file of requirements, or
//! from their own headers.

use std::cell::LazyCell;
use std::collections::BTreeSet;
use std::path::PathBuf;

use super::resolve::args::ResolveArgs;
use super::resolve::error::ResolveCliError;
use crate::decide::arches::not_built_on;
use crate::model::{Evr, Name};
use crate::repodata::{RepoContent, RepoDir, SourceHeader, SourcePackage};
use crate::resolve::{BuildRequires, IsaProvides};

/// One source package to resolve.
#[derive(Clone)]
pub(super) struct Source {
    /// Its name in the output.
    pub(super) label: String,
    /// Its requirements.
    pub(super) build: BuildRequires,
    /// Why it is not built for this architecture, if it is not.
    pub(super) excluded: Option<&'static str>,
    /// Whether it has a line in the output even if it is not for this architecture. That holds for
    /// a package that was given as a file.
    pub(super) shown: bool,
    /// The architecture it was made on, if known.
    made_on: Option<Name>,
}

impl Source {
    /// Returns its requirements as text.
    pub(super) fn requires(&self) -> impl Iterator<Item = &str> {
        self.build.requires.iter().map(String::as_str)
    }
}

/// Reads the source packages that were asked for, with literal requirements.
pub(super) fn read(args: &ResolveArgs, arch: &str) -> Result<Vec<Source>, ResolveCliError> {
    let sources = if let Some(path) = &args.buildrequires {
        SourcePackage::load_all(path)?.into_iter().map(|package| of_line(package, arch)).collect()
    } else if let Some(path) = &args.source {
        let content = RepoDir::open(path)?.without_groups().load([])?;
        content.packages().iter().filter(|p| p.is_source()).map(|p| of_primary(&content, p)).collect()
    } else {
        let headers = args.srpm.iter().map(|path| Ok(of_header(SourceHeader::load(path)?, arch)));
        headers.collect::<Result<Vec<Source>, ResolveCliError>>()?
    };
    let mut sources = select(sources, args)?;
    if args.ignore_build_conflicts {
        sources.iter_mut().for_each(|source| source.build.conflicts.clear());
    }
    Ok(sources)
}

fn of_line(package: SourcePackage, arch: &str) -> Source {
    let reason = not_built_on(arch, &package.buildarchs, &package.exclusivearch, &package.excludearch);
    Source {
        label: package.nvr.to_string(),
        build: BuildRequires::literal(package.requires).conflicting(package.conflicts.unwrap_or_default()),
        excluded: reason.map(|r| r.as_str()),
        shown: false,
        made_on: package.made_on,
    }
}

/// Reads a package of primary metadata. They say neither where a source package may be built nor
/// where it was made.
fn of_primary(content: &RepoContent, package: &crate::repodata::Package) -> Source {
    Source {
        label: label(&package.name, &package.evr),
        build: BuildRequires::literal(content.build_requires(package)).conflicting(content.build_conflicts(package)),
        excluded: None,
        shown: false,
        made_on: None,
    }
}

fn of_header(header: SourceHeader, arch: &str) -> Source {
    let reason = not_built_on(arch, &header.build_archs, &header.exclusive_arch, &header.exclude_arch);
    Source {
        label: label(&header.name, &header.evr),
        build: BuildRequires::literal(header.requires).conflicting(header.conflicts),
        excluded: reason.map(|r| r.as_str()),
        shown: true,
        made_on: Some(header.made_on),
    }
}

fn label(name: &str, evr: &Evr) -> String {
    let epoch = evr.epoch.filter(|&e| e != 0).map_or(String::new(), |e| format!("{e}:"));
    format!("{name}-{epoch}{}-{}", evr.version, evr.release)
}

/// Translates the requirements of all source packages to `arch`.
pub(super) fn translate(sources: &mut [Source], content: &RepoContent, arch: &str) {
    let provided = LazyCell::new(|| IsaProvides::of(content, arch));
    for source in sources {
        let (build, made_on) = (std::mem::take(&mut source.build), source.made_on.as_deref());
        source.build = build.for_arch(arch, made_on, |name| provided.contains(name));
    }
}

fn select(sources: Vec<Source>, args: &ResolveArgs) -> Result<Vec<Source>, ResolveCliError> {
    let chosen = args.packages.iter().chain(&args.explain);
    let mut wanted: BTreeSet<&str> = chosen.map(String::as_str).collect();
    if wanted.is_empty() {
        return Ok(sources);
    }
    let all = wanted.clone();
    let missing = wanted.iter().find(|name| !sources.iter().any(|s| s.label == **name));
    let near = missing.map(|name| near(name, &sources)).unwrap_or_default();
    let chosen: Vec<Source> = sources.into_iter().filter(|s| all.contains(s.label.as_str())).collect();
    for source in &chosen {
        wanted.remove(source.label.as_str());
    }
    if !wanted.is_empty() {
        let places: Vec<&PathBuf> = args.buildrequires.iter().chain(&args.source).chain(&args.srpm).collect();
        let places: Vec<String> = places.iter().map(|path| path.display().to_string()).collect();
        let names = wanted.into_iter().map(str::to_owned).collect();
        return Err(ResolveCliError::NoPackage { names, near, path: places.join(", ").into() });
    }
    Ok(chosen)
}

/// Largest number of similar names that are shown.
const NEAR_MAX: usize = 3;

/// Returns labels that may be meant: those of the same package, otherwise those that differ in the
/// fewest letters, at most in a third of them.
fn near(wanted: &str, sources: &[Source]) -> Vec<String> {
    let labels = || sources.iter().map(|s| s.label.as_str());
    let package = |label: &str| label.rsplitn(3, '-').nth(2).map(str::to_owned);
    let own = package(wanted);
    let same = |label: &&str| package(label).is_some_and(|name| name == wanted || own.as_ref() == Some(&name));
    // In a file of requirements, the newest package comes last.
    let mut found: Vec<String> = labels().filter(same).map(str::to_owned).collect();
    found.reverse();
    if found.is_empty() {
        let mut measured: Vec<(usize, &str)> = labels().map(|label| (letters(wanted, label), label)).collect();
        measured.sort_unstable();
        let alike = measured.into_iter().filter(|(wrong, _)| 3 * wrong <= wanted.len());
        found.extend(alike.map(|(_, label)| label.to_owned()));
    }
    found.truncate(NEAR_MAX);
    found
}

/// Returns the Levenshtein distance of two texts in letters. Texts of very different length are not
/// compared.
fn letters(a: &str, b: &str) -> usize {
    if a.len().abs_diff(b.len()) > a.len() / 3 || a.len() > 200 {
        return a.len().max(b.len());
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut before = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let here = (before + usize::from(x != y)).min(row[j] + 1).min(row[j + 1] + 1);
            before = std::mem::replace(&mut row[j + 1], here);
        }
    }
    row[b.len()]
}
