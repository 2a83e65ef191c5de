//! Reads the files that Koji puts beside a repository's metadata: `repo.json`, `pkglist`, and
//! `rpmlist.jsonl`.
//!
//! `pkglist` and `rpmlist.jsonl` list only packages of the tag itself. Packages of external
//! repositories are only in `primary.xml`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, Read};

use serde::Deserialize;
use smol_str::SmolStr;

use super::error::RepodataError;
use super::limits::Limits;
use crate::model::{BuildId, Nvr};

/// Options with which Koji made a repository.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct RepoOpts {
    /// Source packages are in each architecture's repository.
    pub src: bool,
    /// Source packages have a repository of their own.
    pub separate_src: bool,
    /// Debuginfo packages are included.
    pub debuginfo: bool,
    /// Maven artifacts are included.
    pub maven: bool,
}

/// The content of `repo.json`. Older hubs write only `id`, `tag`, `task_id` and `event_id`.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct RepoInfo {
    /// Number of the repository.
    pub id: i64,
    /// Name of the tag when the repository was made.
    pub tag: SmolStr,
    /// Number of the tag.
    #[serde(default)]
    pub tag_id: Option<i64>,
    /// The newRepo task that made the repository.
    #[serde(default)]
    pub task_id: Option<i64>,
    /// The Koji event whose content the repository has.
    pub event_id: i64,
    /// Options the repository was made with.
    #[serde(default)]
    pub opts: RepoOpts,
    /// Options that were requested specially. If there are any, kojira lets the repository
    /// expire early.
    #[serde(default)]
    pub custom_opts: BTreeMap<String, serde_json::Value>,
}

impl RepoInfo {
    /// Parses `repo.json`. `file` names the input in errors.
    pub fn parse(input: impl Read, file: &str, limits: &Limits) -> Result<Self, RepodataError> {
        let format = |problem: String| RepodataError::Format { file: file.to_owned(), problem };
        let limit = limits.small_file_bytes;
        let mut bytes = Vec::new();
        input
            .take(limit.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|source| RepodataError::Damaged { file: file.to_owned(), source })?;
        if bytes.len() as u64 > limit {
            return Err(RepodataError::TooLarge { file: file.to_owned(), limit });
        }
        serde_json::from_slice(&bytes).map_err(|e| format(e.to_string()))
    }
}

/// What is wrong with a line of `pkglist`.
const NOT_A_PATH: &str = "not a path in Koji's package store";

/// One line of `pkglist`: where a package lies in Koji's store. The path contains the package's
/// build.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct PkglistEntry {
    /// Volume, if it is not the default one.
    pub volume: Option<SmolStr>,
    /// Name, version and release of the build (of the source package).
    pub build: Nvr,
    /// Architecture directory.
    pub arch: SmolStr,
    /// File name of the package.
    pub file: SmolStr,
}

impl PkglistEntry {
    /// Parses `toplink/[vol/<volume>/]packages/<name>/<version>/<release>/<arch>/<file>`. Packages
    /// stored under a signature have `data/signed/<key>/<arch>` instead of `<arch>`.
    pub fn parse(path: &str) -> Option<Self> {
        let PkglistPath { volume, build: [name, version, release], arch, file } = PkglistPath::parse(path)?;
        Some(Self {
            volume: volume.map(SmolStr::new),
            build: Nvr { name: name.into(), version: version.into(), release: release.into() },
            arch: arch.into(),
            file: file.into(),
        })
    }
}

/// The parts of a line of `pkglist`.
struct PkglistPath<'a> {
    volume: Option<&'a str>,
    /// Name, version and release.
    build: [&'a str; 3],
    arch: &'a str,
    file: &'a str,
}

impl<'a> PkglistPath<'a> {
    fn parse(path: &'a str) -> Option<Self> {
        let mut parts = path.strip_prefix("toplink/")?.split('/');
        let volume = match parts.next()? {
            "vol" => {
                let volume = parts.next()?;
                (parts.next()? == "packages").then_some(Some(volume))?
            }
            "packages" => None,
            _ => return None,
        };
        let build = [parts.next()?, parts.next()?, parts.next()?];
        let mut arch = parts.next()?;
        if arch == "data" {
            (parts.next()? == "signed").then_some(())?;
            parts.next()?;
            arch = parts.next()?;
        }
        let file = parts.next()?;
        if parts.next().is_some() || build.iter().chain([&arch, &file]).any(|p| p.is_empty()) {
            return None;
        }
        Some(Self { volume, build, arch, file })
    }
}

/// Parses only the builds of a `pkglist`. Packages of one build usually follow one another.
///
/// # Errors
/// See [`parse_pkglist`].
pub fn parse_build_names(input: impl BufRead, file: &str, limits: &Limits) -> Result<BTreeSet<Nvr>, RepodataError> {
    let mut builds: Vec<Nvr> = Vec::new();
    for_each_line(input, file, limits, |text| {
        let path = PkglistPath::parse(text).ok_or(NOT_A_PATH)?;
        let is_last = |last: &Nvr| [last.name.as_str(), &last.version, &last.release] == path.build;
        if !builds.last().is_some_and(is_last) {
            let [name, version, release] = path.build;
            builds.push(Nvr { name: name.into(), version: version.into(), release: release.into() });
        }
        Ok(())
    })?;
    Ok(builds.into_iter().collect())
}

/// Parses `pkglist` and keeps its order. Empty lines are skipped.
///
/// # Errors
/// Rejected if a line is not such a path. The error has the line's number.
pub fn parse_pkglist(input: impl BufRead, file: &str, limits: &Limits) -> Result<Vec<PkglistEntry>, RepodataError> {
    let mut entries = Vec::new();
    for_each_line(input, file, limits, |text| {
        entries.push(PkglistEntry::parse(text).ok_or(NOT_A_PATH)?);
        Ok(())
    })?;
    Ok(entries)
}

/// One line of `rpmlist.jsonl`.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct RpmRecord {
    /// Koji's number of the package.
    pub id: i64,
    /// Koji's number of its build.
    pub build_id: Option<i64>,
    /// Package name.
    pub name: SmolStr,
    /// Version.
    pub version: SmolStr,
    /// Release.
    pub release: SmolStr,
    /// Architecture.
    pub arch: SmolStr,
    /// Epoch. Null and 0 are the same.
    #[serde(default)]
    pub epoch: Option<u32>,
}

impl RpmRecord {
    /// Returns the file name `name-version-release.arch.rpm`, as in `pkglist`.
    pub fn file(&self) -> String {
        format!("{}-{}-{}.{}.rpm", self.name, self.version, self.release, self.arch)
    }
}

/// Parses `rpmlist.jsonl` and keeps its order. Empty lines are skipped.
///
/// # Errors
/// Rejected if a line is not such a record. The error has the line's number.
pub fn parse_rpmlist(input: impl BufRead, file: &str, limits: &Limits) -> Result<Vec<RpmRecord>, RepodataError> {
    let mut records = Vec::new();
    for_each_line(input, file, limits, |text| {
        records.push(serde_json::from_str(text).map_err(|e| e.to_string())?);
        Ok(())
    })?;
    Ok(records)
}

/// Returns the builds in a repository, sorted by name, version and release. Each has its number if
/// `rpmlist.jsonl` gives it. O(n log n).
pub fn builds(pkglist: &[PkglistEntry], rpmlist: &[RpmRecord]) -> BTreeMap<Nvr, Option<BuildId>> {
    let ids: BTreeMap<String, i64> = rpmlist.iter().filter_map(|r| Some((r.file(), r.build_id?))).collect();
    let mut builds = BTreeMap::new();
    for entry in pkglist {
        let id = builds.entry(entry.build.clone()).or_insert(None);
        if id.is_none() {
            *id = ids.get(entry.file.as_str()).copied().map(BuildId);
        }
    }
    builds
}

fn for_each_line(
    mut input: impl BufRead,
    file: &str,
    limits: &Limits,
    mut take: impl FnMut(&str) -> Result<(), String>,
) -> Result<(), RepodataError> {
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let wrong = |problem: String| RepodataError::Line { file: file.to_owned(), line: number, problem };
        let read = (&mut input).take(limits.line_bytes as u64 + 1).read_until(b'\n', &mut line);
        if read.map_err(|source| RepodataError::Damaged { file: file.to_owned(), source })? == 0 {
            break;
        }
        if line.len() > limits.line_bytes {
            return Err(wrong(format!("it is longer than {} bytes", limits.line_bytes)));
        }
        let text = std::str::from_utf8(&line).map_err(|e| wrong(e.to_string()))?.trim();
        if !text.is_empty() {
            take(text).map_err(wrong)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// The builds alone are those of the whole list, in whatever order its lines are. Both fail alike.
    #[test]
    fn names_of_builds() {
        let list = "toplink/packages/b/1/1/noarch/b-1-1.noarch.rpm\n\ntoplink/packages/b/1/1/src/b-1-1.src.rpm\n\
            toplink/vol/x/packages/a/2/1/data/signed/abc/noarch/a-2-1.noarch.rpm\n\
            toplink/packages/b/1/1/noarch/c-1-1.noarch.rpm\ntoplink/packages/b/1/2/noarch/b-1-2.noarch.rpm\n";
        let wrong = format!("{list}toplink/packages/b/1/2//b-1-2.noarch.rpm\n");
        for text in [list, "", &wrong] {
            let limits = Limits::default();
            let names = parse_build_names(text.as_bytes(), "pkglist", &limits).map_err(|e| e.to_string());
            let whole = parse_pkglist(text.as_bytes(), "pkglist", &limits).map_err(|e| e.to_string());
            assert_eq!(names, whole.map(|whole| whole.into_iter().map(|entry| entry.build).collect()));
        }
        let names = parse_build_names(list.as_bytes(), "pkglist", &Limits::default()).unwrap();
        assert_eq!(names.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a-2-1", "b-1-1", "b-1-2"]);
    }

    #[rstest]
    #[case(
        "toplink/packages/glibc/2.40/1.fc99/x86_64/glibc-common-2.40-1.fc99.x86_64.rpm",
        None,
        "glibc-2.40-1.fc99",
        "x86_64"
    )]
    #[case("toplink/vol/big/packages/a/1/2/noarch/b-1-2.noarch.rpm", Some("big"), "a-1-2", "noarch")]
    #[case("toplink/packages/a/1/2/data/signed/abcd/noarch/b-1-2.noarch.rpm", None, "a-1-2", "noarch")]
    fn reads_paths(#[case] path: &str, #[case] volume: Option<&str>, #[case] build: &str, #[case] arch: &str) {
        let entry = PkglistEntry::parse(path).unwrap();
        assert_eq!(entry.volume.as_deref(), volume);
        assert_eq!(entry.build.to_string(), build);
        assert_eq!(entry.arch, arch);
    }

    #[rstest]
    #[case("packages/a/1/2/noarch/b.rpm")]
    #[case("toplink/packages/a/1/2/noarch")]
    #[case("toplink/packages/a//2/noarch/b.rpm")]
    #[case("toplink/packages/a/1/2/noarch/b.rpm/c")]
    #[case("toplink/vol/x/scratch/a/1/2/noarch/b.rpm")]
    fn refuses_other_paths(#[case] path: &str) {
        assert_eq!(PkglistEntry::parse(path), None);
    }

    #[test]
    fn errors_name_the_line() {
        let error =
            parse_pkglist(&b"toplink/packages/a/1/2/noarch/b.rpm\n\nnonsense\n"[..], "pkglist", &Limits::default());
        assert!(error.unwrap_err().to_string().contains("pkglist line 3"));
        let error = parse_rpmlist(&b"{\"id\":1}\n"[..], "rpmlist.jsonl", &Limits::default()).unwrap_err().to_string();
        assert!(error.contains("line 1") && error.contains("missing field"), "{error}");
        let limits = Limits { line_bytes: 10, ..Limits::default() };
        let error = parse_pkglist(&b"toplink/packages/a/1/2/noarch/b.rpm"[..], "pkglist", &limits).unwrap_err();
        assert!(error.to_string().contains("longer than 10"), "{error}");
    }

    #[test]
    fn builds_get_their_numbers() {
        let pkglist = parse_pkglist(
            &b"toplink/packages/a/1/2/noarch/b-1-2.noarch.rpm\ntoplink/packages/c/1/2/src/c-1-2.src.rpm\n"[..],
            "pkglist",
            &Limits::default(),
        )
        .unwrap();
        let rpms = br#"{"id":7,"build_id":70,"name":"b","version":"1","release":"2","arch":"noarch","epoch":null}"#;
        let rpmlist = parse_rpmlist(&rpms[..], "rpmlist.jsonl", &Limits::default()).unwrap();
        let builds: Vec<_> = builds(&pkglist, &rpmlist).into_iter().map(|(n, i)| (n.to_string(), i)).collect();
        assert_eq!(builds, [("a-1-2".to_owned(), Some(BuildId(70))), ("c-1-2".to_owned(), None)]);
    }
}
