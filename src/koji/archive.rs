//! Reads an archive: a directory that stands in for a hub and accompanies a recording.
//!
//! Everything in it is optional:
//!
//! - `repos/TAG/ID/`: a repository generation as Koji lays it out, with `repo.json` and one
//!   directory per architecture;
//! - `buildrequires.jsonl`: what source packages need ([`super::buildrequires`]);
//! - `xmlrpc/NNNN-….req.xml` and `.resp.xml`: recorded exchanges ([`super::answers`]).
//!
//! Archives are read-only. A defect in one exchange or repository does not affect the others.
//! Exchanges that cannot be decoded (a hub that is down answers with HTML) are skipped and listed
//! by [`Archive::unreadable`].

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use super::answers::Answers;
use super::buildrequires::{SourcePackages, SourcesError};
use super::calls::Recorded;
use super::files::SourceStore;
use super::xmlrpc::{self, XmlRpcError};
use crate::event::Event;
use crate::model::{Class, Classified, Hub, Name, Nvr, RepoId};
use crate::repodata::SourcePackage;

/// Maximum size of a file of an exchange, in bytes. The answers that we use have some kilobytes.
const MAX_EXCHANGE: u64 = 16 << 20;

/// Maximum number of exchanges in an archive.
const MAX_EXCHANGES: usize = 1_000_000;

/// Maximum size of `repo.json`, in bytes. Real ones have 300.
const MAX_REPO_JSON: u64 = 1 << 20;

/// The file of an archive that has the build requirements.
pub(super) const BUILD_REQUIRES: &str = "buildrequires.jsonl";

/// Directories of a repository that have no packages for buildroots.
const NOT_ARCHES: [&str; 3] = ["groups", "maven", "src"];

/// Why an archive, or something in it, cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// A file or directory cannot be read.
    #[error("read {} of the archive", path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// A file is too large.
    #[error("read {} of the archive: it has more than {limit} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Maximum size, in bytes.
        limit: u64,
    },
    /// There are too many exchanges.
    #[error("read {} of the archive: it has more than {MAX_EXCHANGES} exchanges", path.display())]
    TooMany {
        /// The directory.
        path: PathBuf,
    },
    /// A repository's description is invalid, or describes another repository.
    #[error("read {} of the archive: {reason}", path.display())]
    Repo {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// An exchange is not XML-RPC.
    #[error("read {} of the archive", path.display())]
    Exchange {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: XmlRpcError,
    },
    /// The build requirements cannot be used.
    #[error(transparent)]
    Sources(#[from] SourcesError),
}

impl Classified for ArchiveError {
    fn class(&self) -> Class {
        match self {
            Self::Read { source, .. } => match source.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::PermissionDenied => {
                    Class::Rejected
                }
                _ => Class::Unavailable,
            },
            Self::Sources(error) => error.class(),
            _ => Class::Rejected,
        }
    }
}

/// A repository generation in the archive.
#[derive(Clone, PartialEq, Debug)]
pub struct ArchivedRepo {
    /// The repository's directory. The metadata of an architecture is in `dir/ARCH/repodata`.
    pub dir: PathBuf,
    /// The Koji event whose content the repository has.
    pub create_event: Option<i64>,
    /// Options with which the repository was made (`src`, `debuginfo`, …) and that are on.
    pub opts: Vec<Name>,
    /// Whether the options differ from those of the tag. Then this is not the tag's ordinary
    /// repository.
    pub custom: bool,
    /// Architectures with metadata, sorted. Empty for a tag without architectures. Such a
    /// repository is ready, but nothing can be built from it.
    pub arches: Vec<Name>,
}

/// An opened archive of one hub.
#[derive(Debug)]
pub struct Archive {
    dir: PathBuf,
    hub: Hub,
    sources: SourceStore,
    answers: Answers,
    unreadable: Vec<ArchiveError>,
}

/// The parts of `repo.json` that we use.
#[derive(Deserialize)]
struct RepoJson {
    id: Option<i64>,
    event_id: Option<i64>,
    #[serde(default)]
    opts: Option<BTreeMap<Name, serde_json::Value>>,
    #[serde(default)]
    custom_opts: Option<BTreeMap<Name, serde_json::Value>>,
}

impl Archive {
    /// Returns the archive's directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Opens the archive of `hub`. Cost: reads the build requirements and all recorded requests.
    /// Repositories are read only when they are asked for.
    ///
    /// # Errors
    /// Returns an [`ArchiveError`]. It is rejected if the directory does not exist or its build
    /// requirements are wrong.
    pub fn open(dir: &Path, hub: Hub) -> Result<Self, ArchiveError> {
        let list = dir.join(BUILD_REQUIRES);
        let sources = match SourcePackages::load(&list) {
            Err(SourcesError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                SourcePackages::default()
            }
            loaded => loaded?,
        };
        Self::open_with(dir, hub, SourceStore::of(list, sources))
    }

    /// Opens the archive of `hub` with build requirements from elsewhere. The archive sees what is
    /// added to them later.
    ///
    /// # Errors
    /// Fails in the same cases as [`Archive::open`].
    pub fn open_with(dir: &Path, hub: Hub, sources: SourceStore) -> Result<Self, ArchiveError> {
        fs::read_dir(dir).map_err(|source| ArchiveError::Read { path: dir.to_owned(), source })?;
        let mut archive =
            Self { dir: dir.to_owned(), hub, sources, answers: Answers::default(), unreadable: Vec::new() };
        for request in exchanges(&dir.join("xmlrpc"))? {
            if let Err(error) = archive.take(&request) {
                archive.unreadable.push(error);
            }
        }
        Ok(archive)
    }

    /// Checks whether the directory has none of the things that an archive may have.
    pub fn has_nothing(&self) -> bool {
        let holds = |part: &str| fs::read_dir(self.dir.join(part)).is_ok_and(|mut entries| entries.next().is_some());
        self.sources.is_empty()
            && !self.dir.join(BUILD_REQUIRES).exists()
            && !["repos", "xmlrpc"].iter().any(|p| holds(p))
    }

    fn take(&mut self, request: &Path) -> Result<(), ArchiveError> {
        let exchange = |path: &Path| {
            let path = path.to_owned();
            |source| ArchiveError::Exchange { path, source }
        };
        let call = xmlrpc::decode_request(&read_bounded(request, MAX_EXCHANGE)?).map_err(exchange(request))?;
        if Recorded::is_used(&call.method) {
            let response = answer_of(request);
            let answer =
                xmlrpc::decode_response(&read_bounded(&response, MAX_EXCHANGE)?).map_err(exchange(&response))?;
            Recorded::of(&call, answer).into_iter().for_each(|said| self.answers.take(said));
        }
        Ok(())
    }

    /// Returns what the recorded answers say about tags and targets, in a fixed order. The answers
    /// have no times. They hold for the recording as a whole.
    pub fn observations(&self) -> Vec<Event> {
        self.answers.observations(&self.hub)
    }

    /// Returns the errors of exchanges that could not be decoded.
    pub fn unreadable(&self) -> &[ArchiveError] {
        &self.unreadable
    }

    /// Returns a repository generation, or `None` if the archive does not have it. When a tag is
    /// renamed, Koji leaves the directories of its repositories under the old name. So the id,
    /// which is unique on a hub, is looked for under the other tags, too. Cost: one look at the
    /// file system, or one per tag if the generation is not there.
    ///
    /// # Errors
    /// Returns an [`ArchiveError`]. It is rejected if the repository's description is wrong.
    pub fn repo(&self, hub: &Hub, tag: &str, id: RepoId) -> Result<Option<ArchivedRepo>, ArchiveError> {
        if *hub != self.hub {
            return Ok(None);
        }
        let (repos, id_name) = (self.dir.join("repos"), id.to_string());
        if is_component(tag) {
            let dir = repos.join(tag).join(&id_name);
            if dir.is_dir() {
                return read_repo(dir, id).map(Some);
            }
        }
        for tag in directories(&repos)? {
            let dir = repos.join(tag).join(&id_name);
            if dir.is_dir() {
                return read_repo(dir, id).map(Some);
            }
        }
        Ok(None)
    }

    /// Returns what a source package needs. Cost: logarithmic.
    pub fn source(&self, nvr: &Nvr) -> Option<Arc<SourcePackage>> {
        self.sources.get(nvr)
    }

    /// Returns all source packages.
    pub fn sources(&self) -> &SourceStore {
        &self.sources
    }
}

/// Reads a repository's description and its architectures.
pub(super) fn read_repo(dir: PathBuf, id: RepoId) -> Result<ArchivedRepo, ArchiveError> {
    let path = dir.join("repo.json");
    let mut repo = ArchivedRepo { dir, create_event: None, opts: Vec::new(), custom: false, arches: Vec::new() };
    match read_bounded(&path, MAX_REPO_JSON) {
        // Without `repo.json` the repository is usable, but its age is unknown.
        Err(ArchiveError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => (),
        Err(error) => return Err(error),
        Ok(text) => {
            let json: RepoJson = serde_json::from_slice(&text)
                .map_err(|error| ArchiveError::Repo { path: path.clone(), reason: error.to_string() })?;
            if let Some(other) = json.id.filter(|other| *other != id.0) {
                let reason = format!("it describes repository {other}, not {id}");
                return Err(ArchiveError::Repo { path, reason });
            }
            repo.create_event = json.event_id;
            let on =
                |(name, value): (Name, serde_json::Value)| (value == serde_json::Value::Bool(true)).then_some(name);
            repo.opts = json.opts.unwrap_or_default().into_iter().filter_map(on).collect();
            repo.custom = json.custom_opts.is_some_and(|custom| !custom.is_empty());
        }
    }
    let mut names = directories(&repo.dir)?;
    names.retain(|arch| {
        !NOT_ARCHES.contains(&arch.as_str()) && repo.dir.join(arch).join("repodata/repomd.xml").is_file()
    });
    repo.arches = names.into_iter().map(Name::from).collect();
    Ok(repo)
}

/// Checks whether a text is one plain component of a path. Tag names come from outside.
pub(super) fn is_component(text: &str) -> bool {
    let mut components = Path::new(text).components();
    matches!(components.next(), Some(Component::Normal(c)) if c == text) && components.next().is_none()
}

/// Returns the names of the directories in a directory, sorted. Empty if the directory does not
/// exist.
fn directories(dir: &Path) -> Result<Vec<String>, ArchiveError> {
    let failed = |source| ArchiveError::Read { path: dir.to_owned(), source };
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        // Koji does not make names that are not UTF-8.
        if let Ok(name) = entry.file_name().into_string()
            && entry.path().is_dir()
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Returns the recorded requests in the order of their numbers.
fn exchanges(dir: &Path) -> Result<Vec<PathBuf>, ArchiveError> {
    let failed = |source| ArchiveError::Read { path: dir.to_owned(), source };
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let Ok(name) = entry.map_err(failed)?.file_name().into_string() else { continue };
        let path = dir.join(&name);
        if name.ends_with(REQUEST) && answer_of(&path).is_file() {
            let number: u64 = name.split('-').next().and_then(|n| n.parse().ok()).unwrap_or(u64::MAX);
            found.push((number, path));
        }
        if found.len() > MAX_EXCHANGES {
            return Err(ArchiveError::TooMany { path: dir.to_owned() });
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

const REQUEST: &str = ".req.xml";

fn answer_of(request: &Path) -> PathBuf {
    // `x.req.xml` becomes `x.req`, and then `x.resp.xml`.
    request.with_extension("").with_extension("resp.xml")
}

fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>, ArchiveError> {
    let failed = |source| ArchiveError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    fs::File::open(path).map_err(failed)?.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(ArchiveError::TooLarge { path: path.to_owned(), limit });
    }
    Ok(bytes)
}

#[cfg(test)]
#[path = "archive_tests.rs"]
mod tests;
