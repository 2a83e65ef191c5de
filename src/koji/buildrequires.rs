//! Reads and writes build requirements of source packages in a file, `buildrequires.jsonl` of a
//! recording. Each line is one JSON object.
//!
//! The requirements are in `requires` as strings, or in `raw` as the hub returns them. The file
//! does not say what provides them.

mod error;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::model::{Name, Nvr};
use crate::repodata::{SourceHeader, SourcePackage};
use crate::resolve::{hub_build_requires, hub_requirement};

pub use error::{NothingKnown, SourcesError};

/// Maximum number of lines in one file. A distribution has 25,000 source packages. A year of its
/// updates has five times as many.
const MAX_SOURCES: usize = 2_000_000;

/// Maximum number of requirements of one source package. The largest real ones have about 1,500.
const MAX_REQUIRES: usize = 20_000;

/// Maximum length of a line, in bytes.
const MAX_LINE: u64 = 8 << 20;

/// Maximum length of a requirement, in bytes.
const MAX_REQUIREMENT: usize = 4096;

/// Source packages by NVR.
#[derive(Clone, Default, Debug)]
pub struct SourcePackages {
    by_nvr: BTreeMap<Nvr, Arc<SourcePackage>>,
    /// Number of lines that said something different about an NVR than an earlier line. The first
    /// line counts, because an NVR is built only once.
    pub contradictions: u64,
}

/// A line of the file, as we read it. `raw` counts only if there is no `requires`. Further parts of
/// the NVR are ignored.
#[derive(Deserialize)]
struct Wire {
    nvr: String,
    #[serde(default)]
    epoch: serde_json::Value,
    #[serde(default)]
    requires: Option<Vec<String>>,
    #[serde(default)]
    raw: Option<Box<RawValue>>,
    #[serde(default)]
    conflicts: Option<Vec<String>>,
    #[serde(default)]
    made_on: Option<Name>,
    #[serde(default)]
    buildarchs: Option<Vec<Name>>,
    #[serde(default)]
    exclusivearch: Option<Vec<Name>>,
    #[serde(default)]
    excludearch: Option<Vec<Name>>,
}

impl SourcePackages {
    /// Reads a file. Cost: reads the file once. Memory: its content.
    ///
    /// # Errors
    /// Returns a [`SourcesError`]. It is rejected if the file does not exist or a line is wrong,
    /// and otherwise unavailable.
    pub fn load(path: &Path) -> Result<Self, SourcesError> {
        let file = File::open(path).map_err(|source| SourcesError::Read { path: path.to_owned(), source })?;
        Self::read(path, file)
    }

    /// Reads from any bytes. Errors name `path`.
    ///
    /// # Errors
    /// Fails in the same cases as [`Self::load`].
    pub fn read(path: &Path, bytes: impl Read) -> Result<Self, SourcesError> {
        let mut all = Self::default();
        for_each(path, bytes, |_, line| {
            all.take(line?);
            Ok(())
        })?;
        Ok(all)
    }

    /// Returns one package. Cost: logarithmic.
    pub fn get(&self, nvr: &Nvr) -> Option<&Arc<SourcePackage>> {
        self.by_nvr.get(nvr)
    }

    /// Returns all packages, ordered by their NVRs (as text, not as versions).
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &SourcePackage> {
        self.by_nvr.values().map(|package| &**package)
    }

    /// Adds a package if its NVR is unknown, and returns `true` in this case. Otherwise adds only
    /// conflicts that were unknown. Counts a contradiction if the package differs from the known
    /// one.
    pub(super) fn take(&mut self, mut package: SourcePackage) -> bool {
        let Some(before) = self.by_nvr.get_mut(&package.nvr) else {
            return self.by_nvr.insert(package.nvr.clone(), Arc::new(package)).is_none();
        };
        if before.conflicts.is_none() && package.conflicts.is_some() {
            Arc::make_mut(before).conflicts.clone_from(&package.conflicts);
            // A source repository does not say where a package was made. Its header may have said
            // so.
            package.made_on = package.made_on.or_else(|| before.made_on.clone());
        } else if package.conflicts.is_none() {
            package.conflicts.clone_from(&before.conflicts);
        }
        self.contradictions += u64::from(**before != package);
        false
    }

    /// Checks whether everything that decides a package's buildroot is known. A package stored
    /// before BuildConflicts counted must be read again.
    pub(super) fn is_complete(&self, nvr: &Nvr) -> bool {
        self.by_nvr.get(nvr).is_some_and(|p| p.conflicts.is_some())
    }

    /// Checks whether this number of additional packages would be too many.
    pub(super) fn is_full_with(&self, more: usize) -> bool {
        self.by_nvr.len().saturating_add(more) > MAX_SOURCES
    }
}

impl SourcePackage {
    /// Reads all lines of a file in their order, including NVRs that occur twice.
    ///
    /// # Errors
    /// Fails in the same cases as [`SourcePackages::load`].
    pub fn load_all(path: &Path) -> Result<Vec<Self>, SourcesError> {
        let file = File::open(path).map_err(|source| SourcesError::Read { path: path.to_owned(), source })?;
        let mut all = Vec::new();
        for_each(path, file, |_, line| {
            all.push(line?);
            Ok(())
        })?;
        Ok(all)
    }

    /// Makes a source package from what the hub returns. The requirements come from
    /// `getRPMDeps(rpm, DEP_REQUIRE)` or the three lists of `getRPMHeaders`: name, version and
    /// flags of each. The rest is `BUILDARCHS`, `EXCLUSIVEARCH` and `EXCLUDEARCH` of the header.
    /// The hub does not say where the package was made.
    ///
    /// # Errors
    /// Returns [`NothingKnown`] (rejected) if there are no requirements at all, not even rpm's own.
    /// Then the hub has no such file (defect D18).
    pub fn from_hub<S: AsRef<str>>(
        nvr: Nvr,
        epoch: Option<u32>,
        requires: &[(S, S, u64)],
        buildarchs: Vec<Name>,
        exclusivearch: Vec<Name>,
        excludearch: Vec<Name>,
    ) -> Result<Self, NothingKnown> {
        if requires.is_empty() {
            return Err(NothingKnown { nvr });
        }
        let requires = hub_build_requires(requires.iter().map(|(n, v, flags)| (n.as_ref(), v.as_ref(), *flags)));
        let conflicts = None;
        Ok(Self { nvr, epoch, requires, conflicts, buildarchs, exclusivearch, excludearch, made_on: None })
    }

    /// Adds the conflicts that the hub returns, in the same form as the requirements of
    /// [`SourcePackage::from_hub`].
    #[must_use]
    pub fn conflicting<S: AsRef<str>>(self, conflicts: &[(S, S, u64)]) -> Self {
        let triples = conflicts.iter().map(|(n, v, flags)| (n.as_ref(), v.as_ref(), *flags));
        Self { conflicts: Some(hub_build_requires(triples)), ..self }
    }

    /// Makes a source package from the package's own header.
    pub fn from_header(header: SourceHeader) -> Self {
        Self {
            nvr: header.nvr(),
            epoch: header.evr.epoch,
            requires: header.requires,
            conflicts: Some(header.conflicts),
            buildarchs: header.build_archs,
            exclusivearch: header.exclusive_arch,
            excludearch: header.exclude_arch,
            made_on: Some(header.made_on),
        }
    }

    /// Returns one line of a file with its newline. Reading it returns the same package.
    ///
    /// # Errors
    /// Returns [`SourcesError::NotKept`] (rejected) if the line could not be read back. This is the
    /// case if there are too many or too long requirements, or the parts of the NVR are invalid.
    pub fn to_line(&self) -> Result<String, SourcesError> {
        let not_kept = |reason: String| SourcesError::NotKept { nvr: self.nvr.clone(), reason };
        let nvr = self.nvr.to_string();
        if Nvr::parse(&nvr).as_ref() != Some(&self.nvr) {
            return Err(not_kept("it is no name, version and release".to_owned()));
        }
        bounded(&self.requires).map_err(&not_kept)?;
        bounded(self.conflicts.as_deref().unwrap_or_default()).map_err(&not_kept)?;
        let line = Line {
            nvr: &nvr,
            epoch: self.epoch,
            requires: &self.requires,
            conflicts: self.conflicts.as_deref(),
            buildarchs: &self.buildarchs,
            exclusivearch: &self.exclusivearch,
            excludearch: &self.excludearch,
            made_on: self.made_on.as_deref(),
        };
        let mut line = serde_json::to_string(&line).map_err(|error| not_kept(error.to_string()))?;
        line.push('\n');
        if line.len() as u64 >= MAX_LINE {
            return Err(not_kept(format!("its line is longer than {MAX_LINE} bytes")));
        }
        Ok(line)
    }
}

/// A line of the file, as we write it.
#[derive(Serialize)]
struct Line<'a> {
    nvr: &'a str,
    epoch: Option<u32>,
    requires: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    conflicts: Option<&'a [String]>,
    buildarchs: &'a [Name],
    exclusivearch: &'a [Name],
    excludearch: &'a [Name],
    #[serde(skip_serializing_if = "Option::is_none")]
    made_on: Option<&'a str>,
}

/// Calls `take` for each line, with the offset of its beginning and either the package or what is
/// wrong. Skips empty lines. Stops when `take` fails.
pub(super) fn for_each(
    path: &Path,
    bytes: impl Read,
    mut take: impl FnMut(u64, Result<SourcePackage, SourcesError>) -> Result<(), SourcesError>,
) -> Result<(), SourcesError> {
    let mut bytes = BufReader::new(bytes);
    let mut line = Vec::new();
    let (mut count, mut offset) = (0, 0);
    for number in 1.. {
        line.clear();
        let read = bytes.by_ref().take(MAX_LINE).read_until(b'\n', &mut line);
        let read = read.map_err(|source| SourcesError::Read { path: path.to_owned(), source })? as u64;
        if read == 0 {
            break;
        }
        let at = offset;
        offset += read;
        let wrong = |reason| SourcesError::Line { path: path.to_owned(), line: number, reason };
        if read == MAX_LINE {
            take(at, Err(wrong(format!("it is longer than {MAX_LINE} bytes"))))?;
            continue;
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        count += 1;
        if count > MAX_SOURCES {
            return Err(SourcesError::TooMany { path: path.to_owned() });
        }
        take(at, parse(&line).map_err(wrong))?;
    }
    Ok(())
}

/// Checks the limits that reading sets, so that only readable lines are written.
fn bounded(requires: &[String]) -> Result<(), String> {
    if requires.len() > MAX_REQUIRES || requires.iter().any(|r| r.len() > MAX_REQUIREMENT) {
        return Err(format!(
            "it has more than {MAX_REQUIRES} requirements or conflicts, or one beyond {MAX_REQUIREMENT} bytes"
        ));
    }
    Ok(())
}

fn parse(line: &[u8]) -> Result<SourcePackage, String> {
    let wire: Wire = serde_json::from_slice(line).map_err(|error| format!("it is not a source package: {error}"))?;
    let nvr = Nvr::parse(&wire.nvr).ok_or_else(|| format!("its `nvr` is `{}`", wire.nvr))?;
    let epoch = match &wire.epoch {
        serde_json::Value::Null => None,
        serde_json::Value::String(text) => Some(text.parse().map_err(|_| "its `epoch` is not a number".to_owned())?),
        other => {
            let number = other.as_u64().and_then(|n| u32::try_from(n).ok());
            Some(number.ok_or_else(|| "its `epoch` is not a number".to_owned())?)
        }
    };
    let requires: Vec<String> = match (wire.requires, wire.raw) {
        (Some(requires), _) => requires,
        (None, Some(raw)) => {
            let raw: Vec<(String, String, u64)> = serde_json::from_str(raw.get())
                .map_err(|error| format!("its `raw` is no list of requirements: {error}"))?;
            raw.iter().filter_map(|(n, v, f)| hub_requirement(n, v, *f)).collect()
        }
        (None, None) => return Err("it has neither `requires` nor `raw`".to_owned()),
    };
    bounded(&requires)?;
    bounded(wire.conflicts.as_deref().unwrap_or_default())?;
    Ok(SourcePackage {
        nvr,
        epoch,
        requires,
        conflicts: wire.conflicts,
        buildarchs: wire.buildarchs.unwrap_or_default(),
        exclusivearch: wire.exclusivearch.unwrap_or_default(),
        excludearch: wire.excludearch.unwrap_or_default(),
        made_on: wire.made_on,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;
    use crate::model::{Class, Classified};

    fn read(text: &str) -> Result<SourcePackages, SourcesError> {
        SourcePackages::read(Path::new("b.jsonl"), text.as_bytes())
    }

    #[test]
    fn the_first_of_two_counts_and_contradictions_are_counted() {
        let text = "{\"nvr\":\"a-b-1-2\",\"epoch\":\"3\",\"requires\":[\"gcc\"],\"exclusivearch\":[\"x86_64\"],\
                    \"raw\":7}\n\n\
                    {\"nvr\":\"c-1-1\",\"requires\":[]}\n\
                    {\"nvr\":\"c-1-1\",\"requires\":[],\"epoch\":null}\n\
                    {\"nvr\":\"c-1-1\",\"requires\":[\"make\"]}";
        let all = read(text).unwrap();
        assert_eq!((all.iter().len(), all.contradictions), (2, 1));
        let a = all.get(&Nvr::parse("a-b-1-2").unwrap()).unwrap();
        assert_eq!((a.epoch, a.requires.as_slice()), (Some(3), ["gcc".to_owned()].as_slice()));
        assert_eq!(a.exclusivearch, ["x86_64"]);
        assert!(all.get(&Nvr::parse("c-1-1").unwrap()).unwrap().requires.is_empty());
    }

    #[test]
    fn lines_in_their_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("b.jsonl");
        let raw = r#"[["make","4.0",12],["rpmlib(FileDigests)","4.6.0-1",16777226]]"#;
        let text = format!(
            "{{\"nvr\":\"b-1-1\",\"raw\":{raw},\"made_on\":\"s390x\"}}\n\
             {{\"nvr\":\"a-1-1\",\"requires\":[\"gcc\"],\"raw\":{raw}}}\n\
             {{\"nvr\":\"b-1-1\",\"requires\":[]}}\n"
        );
        std::fs::write(&path, text).unwrap();
        let all = SourcePackage::load_all(&path).unwrap();
        let all: Vec<_> =
            all.iter().map(|s| (s.nvr.to_string(), s.requires.join(", "), s.made_on.as_deref())).collect();
        let row = |nvr: &str, requires: &str, made_on| (nvr.to_owned(), requires.to_owned(), made_on);
        assert_eq!(
            all,
            [row("b-1-1", "make >= 4.0", Some("s390x")), row("a-1-1", "gcc", None), row("b-1-1", "", None)]
        );
    }

    /// An empty answer, as the hub returns it for a missing file, must never become "needs nothing"
    /// (D18).
    #[test]
    fn an_empty_answer_of_the_hub_is_no_answer() {
        let nvr = || Nvr::parse("a-1-1").unwrap();
        let none: [(&str, &str, u64); 0] = [];
        let error = SourcePackage::from_hub(nvr(), None, &none, vec![], vec![], vec![]).unwrap_err();
        assert_eq!((error.class(), &error.nvr), (Class::Rejected, &nvr()));
        let own = [("rpmlib(FileDigests)", "4.6.0-1", 16_777_226)];
        let package = SourcePackage::from_hub(nvr(), Some(2), &own, vec![], vec!["x86_64".into()], vec![]).unwrap();
        assert!(package.requires.is_empty(), "needs nothing but rpm");
        let more = [own[0], ("make", "4.0", 12)];
        let package = SourcePackage::from_hub(nvr(), Some(2), &more, vec![], vec!["x86_64".into()], vec![]).unwrap();
        assert_eq!((package.requires.as_slice(), package.epoch), (["make >= 4.0".to_owned()].as_slice(), Some(2)));
        assert_eq!((package.exclusivearch.as_slice(), package.made_on), (["x86_64".into()].as_slice(), None));
    }

    proptest! {
        #[test]
        fn a_line_is_read_back_as_it_was_written(
            nvr in "[a-z\"-]{1,8}-[0-9~^]{1,4}-[0-9a-z.\u{e9}]{1,6}", epoch in prop::option::of(any::<u32>()),
            requires in prop::collection::vec("\\PC{0,12}[\n\r\t\"]?", 0..4),
            conflicts in prop::option::of(prop::collection::vec("\\PC{0,12}", 0..3)),
            arches in prop::collection::vec("[a-z0-9_]{1,8}".prop_map(Name::from), 0..3),
            made_on in prop::option::of("[a-z0-9]{1,8}"),
        ) {
            let package = SourcePackage {
                nvr: Nvr::parse(&nvr).unwrap(),
                epoch,
                requires,
                conflicts,
                buildarchs: arches.clone(),
                exclusivearch: vec![],
                excludearch: arches,
                made_on: made_on.map(Name::from),
            };
            let line = package.to_line().unwrap();
            prop_assert_eq!(line.matches('\n').count(), 1);
            let all = read(&(line.clone() + &line)).unwrap();
            prop_assert_eq!((all.iter().next().unwrap(), all.contradictions), (&package, 0));
        }
    }

    #[rstest]
    #[case::requirement(Nvr::parse("a-1-1").unwrap(), vec!["x".repeat(MAX_REQUIREMENT + 1)])]
    #[case::requirements(Nvr::parse("a-1-1").unwrap(), vec![String::new(); MAX_REQUIRES + 1])]
    #[case::nvr(Nvr { name: "a".into(), version: "1-2".into(), release: "3".into() }, vec![])]
    fn what_could_not_be_read_back_is_not_written(#[case] nvr: Nvr, #[case] requires: Vec<String>) {
        let package = SourcePackage {
            nvr,
            epoch: None,
            requires,
            conflicts: None,
            buildarchs: vec![],
            exclusivearch: vec![],
            excludearch: vec![],
            made_on: None,
        };
        assert!(matches!(package.to_line(), Err(SourcesError::NotKept { .. })));
    }

    #[rstest]
    #[case::not_json("{}\nx", 1)]
    #[case::not_an_nvr("{\"nvr\":\"a\",\"requires\":[]}", 1)]
    #[case::no_requires("{\"nvr\":\"a-1-1\",\"requires\":[]}\n{\"nvr\":\"b-1-1\"}", 2)]
    #[case::raw("{\"nvr\":\"a-1-1\",\"raw\":[[\"gcc\",\"\"]]}", 1)]
    #[case::epoch_as_text("{\"nvr\":\"a-1-1\",\"epoch\":\"one\",\"requires\":[]}", 1)]
    #[case::epoch("{\"nvr\":\"a-1-1\",\"epoch\":-1,\"requires\":[]}", 1)]
    #[case::cut("\n{\"nvr\":\"a-1-1\",\"requires\":[", 2)]
    fn errors_name_the_line(#[case] text: &str, #[case] at: u64) {
        let error = read(text).unwrap_err();
        assert_eq!(error.class(), Class::Rejected);
        let SourcesError::Line { line, .. } = &error else { panic!("{error}") };
        assert_eq!(*line, at, "{error}");
    }
}
