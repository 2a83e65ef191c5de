//! Build requirements of source packages from a file: one JSON object per line, as `buildrequires.jsonl` of a recording.
//!
//! What to resolve is in `requires` as strings, or in `raw` as the hub gives it; nothing is said here about what provides it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::model::{Class, Classified, Name, Nvr};
use crate::resolve::hub_requirement;

/// Most source packages in one file, counted by lines; a distribution has 25,000, and a year of its updates five times as many.
const MAX_SOURCES: usize = 2_000_000;

/// Most requirements of one source package; the largest real ones have about 1,500.
const MAX_REQUIRES: usize = 20_000;

/// Longest line, in bytes.
const MAX_LINE: u64 = 8 << 20;

/// Longest requirement, in bytes.
const MAX_REQUIREMENT: usize = 4096;

/// A source package and what it needs to be built.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourcePackage {
    /// Name, version, release.
    pub nvr: Nvr,
    /// Epoch, where there is one.
    pub epoch: Option<u32>,
    /// Build requirements as text: `name`, `name op evr`, a path, or a rich requirement.
    pub requires: Vec<String>,
    /// `BuildArch` of the specification; `noarch` alone makes it a noarch package.
    pub buildarchs: Vec<Name>,
    /// `ExclusiveArch`; empty: no limit.
    pub exclusivearch: Vec<Name>,
    /// `ExcludeArch`.
    pub excludearch: Vec<Name>,
    /// The architecture it was made on, where the source says so: requirements that name an architecture name this one.
    pub made_on: Option<Name>,
}

/// Why a file of build requirements cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SourcesError {
    /// Reading failed.
    #[error("read build requirements from {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A line is not what it should be.
    #[error("read build requirements from {} line {line}: {reason}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// There are more than can be right.
    #[error("read build requirements from {}: more than {MAX_SOURCES} source packages", path.display())]
    TooMany {
        /// The file.
        path: PathBuf,
    },
}

impl Classified for SourcesError {
    fn class(&self) -> Class {
        match self {
            Self::Read { source, .. } if source.kind() != io::ErrorKind::NotFound => Class::Unavailable,
            _ => Class::Rejected,
        }
    }
}

/// Source packages by NVR.
#[derive(Clone, Default, Debug)]
pub struct SourcePackages {
    by_nvr: BTreeMap<Nvr, SourcePackage>,
    /// Lines that said something else about an NVR that had been given before. The first line counts: an NVR is built once.
    pub contradictions: u64,
}

/// A line of the file. `raw` counts where there is no `requires`; the parts of the NVR beside it are not needed.
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
    made_on: Option<Name>,
    #[serde(default)]
    buildarchs: Option<Vec<Name>>,
    #[serde(default)]
    exclusivearch: Option<Vec<Name>>,
    #[serde(default)]
    excludearch: Option<Vec<Name>>,
}

impl SourcePackages {
    /// Reads a file. Cost: the file once; memory: its content.
    ///
    /// # Errors
    /// [`SourcesError`]: rejected when there is no such file or a line is wrong, else unavailable.
    pub fn load(path: &Path) -> Result<Self, SourcesError> {
        let file = File::open(path).map_err(|source| SourcesError::Read { path: path.to_owned(), source })?;
        Self::read(path, file)
    }

    /// Reads from any bytes; `path` is what errors call them.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn read(path: &Path, bytes: impl Read) -> Result<Self, SourcesError> {
        let mut all = Self::default();
        for_each(path, bytes, |package| match all.by_nvr.get(&package.nvr) {
            Some(before) => all.contradictions += u64::from(*before != package),
            None => drop(all.by_nvr.insert(package.nvr.clone(), package)),
        })?;
        Ok(all)
    }

    /// One package. Cost: logarithmic.
    pub fn get(&self, nvr: &Nvr) -> Option<&SourcePackage> {
        self.by_nvr.get(nvr)
    }

    /// All of them in the order of their NVRs (as text, not as versions).
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &SourcePackage> {
        self.by_nvr.values()
    }
}

impl SourcePackage {
    /// All lines of a file in their order, an NVR that comes twice included.
    ///
    /// # Errors
    /// As [`SourcePackages::load`].
    pub fn load_all(path: &Path) -> Result<Vec<Self>, SourcesError> {
        let file = File::open(path).map_err(|source| SourcesError::Read { path: path.to_owned(), source })?;
        let mut all = Vec::new();
        for_each(path, file, |package| all.push(package))?;
        Ok(all)
    }
}

/// Hands over one line after the other; empty ones are passed over.
fn for_each(path: &Path, bytes: impl Read, mut take: impl FnMut(SourcePackage)) -> Result<(), SourcesError> {
    let mut bytes = BufReader::new(bytes);
    let mut line = Vec::new();
    let mut count = 0;
    for number in 1.. {
        line.clear();
        let read = bytes.by_ref().take(MAX_LINE).read_until(b'\n', &mut line);
        if read.map_err(|source| SourcesError::Read { path: path.to_owned(), source })? == 0 {
            break;
        }
        let wrong = |reason| SourcesError::Line { path: path.to_owned(), line: number, reason };
        if line.len() as u64 == MAX_LINE {
            return Err(wrong(format!("it is longer than {MAX_LINE} bytes")));
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        count += 1;
        if count > MAX_SOURCES {
            return Err(SourcesError::TooMany { path: path.to_owned() });
        }
        take(parse(&line).map_err(wrong)?);
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
    if requires.len() > MAX_REQUIRES || requires.iter().any(|r| r.len() > MAX_REQUIREMENT) {
        return Err(format!("it has more than {MAX_REQUIRES} requirements or one beyond {MAX_REQUIREMENT} bytes"));
    }
    Ok(SourcePackage {
        nvr,
        epoch,
        requires,
        buildarchs: wire.buildarchs.unwrap_or_default(),
        exclusivearch: wire.exclusivearch.unwrap_or_default(),
        excludearch: wire.excludearch.unwrap_or_default(),
        made_on: wire.made_on,
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn read(text: &str) -> Result<SourcePackages, SourcesError> {
        SourcePackages::read(Path::new("b.jsonl"), text.as_bytes())
    }

    #[test]
    fn the_first_of_two_counts_and_contradictions_are_counted() {
        let text = "{\"nvr\":\"a-b-1-2\",\"epoch\":\"3\",\"requires\":[\"gcc\"],\"exclusivearch\":[\"x86_64\"],\"raw\":7}\n\n\
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
            "{{\"nvr\":\"b-1-1\",\"raw\":{raw},\"made_on\":\"s390x\"}}\n{{\"nvr\":\"a-1-1\",\"requires\":[\"gcc\"],\"raw\":{raw}}}\n\
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
