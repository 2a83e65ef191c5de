//! A directory that stands in for a hub beside a recording.
//!
//! Everything in it is optional:
//!
//! - `repos/TAG/ID/`: a repository generation as Koji lays it out, with `repo.json` and a directory per architecture;
//! - `buildrequires.jsonl`: what source packages need ([`super::buildrequires`]);
//! - `xmlrpc/NNNN-….req.xml` and `.resp.xml`: recorded exchanges ([`super::answers`]).
//!
//! It is only read. What is wrong with one exchange or one repository does not hide the others: exchanges that cannot
//! be decoded (a hub that was down answers with HTML) are passed over and listed by [`Archive::unreadable`].

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

/// Largest file of an exchange that is read, in bytes. The answers that are used have some kilobytes.
const MAX_EXCHANGE: u64 = 16 << 20;

/// Most exchanges in an archive.
const MAX_EXCHANGES: usize = 1_000_000;

/// Largest `repo.json`, in bytes; real ones have 300.
const MAX_REPO_JSON: u64 = 1 << 20;

/// The file of an archive that holds build requirements.
pub(super) const BUILD_REQUIRES: &str = "buildrequires.jsonl";

/// Directories of a repository that hold no packages for buildroots.
const NOT_ARCHES: [&str; 3] = ["groups", "maven", "src"];

/// Why an archive, or something in it, cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// A file or directory cannot be read.
    #[error("read {} of the archive", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A file is larger than it can rightly be.
    #[error("read {} of the archive: it has more than {limit} bytes", path.display())]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// How large it may be.
        limit: u64,
    },
    /// There are more exchanges than can be right.
    #[error("read {} of the archive: it has more than {MAX_EXCHANGES} exchanges", path.display())]
    TooMany {
        /// The directory.
        path: PathBuf,
    },
    /// A repository's description is not one, or is that of another repository.
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
    /// Where it lies; the metadata of an architecture are in `dir/ARCH/repodata`.
    pub dir: PathBuf,
    /// The Koji event whose content it has.
    pub create_event: Option<i64>,
    /// Options it was made with (`src`, `debuginfo`, …) that are on.
    pub opts: Vec<Name>,
    /// Whether the options are not those of the tag, so that it is not the tag's ordinary repository.
    pub custom: bool,
    /// Architectures that have metadata, sorted. Empty for a tag without architectures: such a repository is ready, but
    /// nothing can be built from it.
    pub arches: Vec<Name>,
}

/// An opened archive, of one hub.
#[derive(Debug)]
pub struct Archive {
    dir: PathBuf,
    hub: Hub,
    sources: SourceStore,
    answers: Answers,
    unreadable: Vec<ArchiveError>,
}

/// What is wanted of `repo.json`.
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
    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Opens the archive of `hub`. Cost: reads the build requirements and all recorded requests; repositories are
    /// looked at when they are asked for.
    ///
    /// # Errors
    /// [`ArchiveError`]: rejected when there is no such directory or its build requirements are wrong.
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

    /// Opens the archive of `hub` with build requirements from elsewhere. What is added to them later is seen here.
    ///
    /// # Errors
    /// As [`Archive::open`].
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

    /// Whether none of the things is there that an archive may have.
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

    /// What the recorded answers say about tags and targets, in a fixed order. The answers carry no times: they hold
    /// for the recording as a whole.
    pub fn observations(&self) -> Vec<Event> {
        self.answers.observations(&self.hub)
    }

    /// Exchanges that could not be decoded.
    pub fn unreadable(&self) -> &[ArchiveError] {
        &self.unreadable
    }

    /// A repository generation; `None` when it was not kept. Koji leaves the directory of a repository where it was
    /// when its tag is renamed, so the id, which is unique on a hub, is looked for under the other tags, too. Cost: a
    /// look at the file system, for one that is not there one per tag.
    ///
    /// # Errors
    /// [`ArchiveError`]: rejected when its description is wrong.
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

    /// What a source package needs. Cost: logarithmic.
    pub fn source(&self, nvr: &Nvr) -> Option<Arc<SourcePackage>> {
        self.sources.get(nvr)
    }

    /// All source packages.
    pub fn sources(&self) -> &SourceStore {
        &self.sources
    }
}

/// Reads what a repository says about itself.
pub(super) fn read_repo(dir: PathBuf, id: RepoId) -> Result<ArchivedRepo, ArchiveError> {
    let path = dir.join("repo.json");
    let mut repo = ArchivedRepo { dir, create_event: None, opts: Vec::new(), custom: false, arches: Vec::new() };
    match read_bounded(&path, MAX_REPO_JSON) {
        // Without it the repository can be used, only its age is not known.
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

/// Whether the text is one plain component of a path. Tag names come from outside.
pub(super) fn is_component(text: &str) -> bool {
    let mut components = Path::new(text).components();
    matches!(components.next(), Some(Component::Normal(c)) if c == text) && components.next().is_none()
}

/// Names of the directories in a directory, sorted; none when it does not exist.
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
        // Names that are not UTF-8 are nothing of Koji's.
        if let Ok(name) = entry.file_name().into_string()
            && entry.path().is_dir()
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// The recorded requests in the order of their numbers.
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
    // `x.req.xml`, without `.xml`, without `.req`.
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
