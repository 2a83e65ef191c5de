//! Access to the files of a hub, over HTTP or in a directory.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use reqwest::Url;
use reqwest::header::RANGE;

use super::download::{Download, Expected, blocking, sync_dir_of, unique_part};
use super::error::FetchError;
use super::fetch::{Attempt, Failure, Fetcher};
use super::place::{HubPath, Place};
use crate::repodata::Digester;

/// Files on the same disk of at least this length get a hard link instead of a copy.
const LINK_BYTES: u64 = 1 << 20;

/// Size of the read buffer, in bytes.
const READ_BYTES: usize = 256 << 10;

/// The place of a hub's files, and how to fetch from it.
#[derive(Clone, Debug)]
pub(super) struct HubFiles {
    pub(super) place: Place,
    pub(super) fetcher: Fetcher,
}

impl HubFiles {
    /// Puts a verified file at `to`, and returns its length.
    pub(super) async fn take(&self, path: &HubPath, to: &Path, mut expected: Expected) -> Result<u64, FetchError> {
        expected.limit = expected.limit.min(self.fetcher.settings().file_bytes_max);
        match &self.place {
            Place::Http(top) => self.fetcher.run(Download::new(path.url(top), to, expected)).await,
            Place::Dir(top) => {
                let (from, to) = (path.below(top), to.to_owned());
                blocking(move || copy(&from, &to, &expected)).await
            }
        }
    }

    /// Checks whether a file exists.
    pub(super) async fn exists(&self, path: &HubPath) -> Result<bool, FetchError> {
        let looked = match &self.place {
            Place::Http(top) => self.fetcher.run(Probe(path.url(top))).await,
            Place::Dir(top) => {
                let path = path.below(top);
                blocking(move || fs::metadata(&path).map(drop).map_err(|e| unreadable(&path, e))).await
            }
        };
        match looked {
            Ok(()) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Fails if the disk is not mounted. The directory is then empty, which says nothing about the
    /// hub.
    pub(super) async fn mounted(&self) -> Result<(), FetchError> {
        let Place::Dir(top) = &self.place else { return Ok(()) };
        let repos = top.join("repos");
        let look = repos.clone();
        blocking(move || fs::read_dir(look).map(drop)).await.map_err(FetchError::disk(repos))
    }
}

/// A request that only asks whether a file exists.
struct Probe(Url);

impl Attempt for Probe {
    type Done = ();

    fn url(&self) -> &Url {
        &self.0
    }

    async fn run(&mut self, fetcher: &Fetcher) -> Result<(), Failure> {
        // Asks for one byte, because some servers do not answer HEAD.
        let request = fetcher.get(&self.0).header(RANGE, "bytes=0-0");
        fetcher.send(&self.0, request).await.map(drop)
    }
}

fn unreadable(path: &Path, source: io::Error) -> FetchError {
    match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            FetchError::NotFound { from: path.display().to_string() }
        }
        _ => FetchError::Disk { path: path.to_owned(), source },
    }
}

/// Copies or links a file from a local disk.
fn copy(from: &Path, to: &Path, expected: &Expected) -> Result<u64, FetchError> {
    let name = from.display().to_string();
    let kind = expected.algorithm(&name)?;
    let mut source = File::open(from).map_err(|e| unreadable(from, e))?;
    let length = source.metadata().map_err(|e| unreadable(from, e))?.len();
    let too_large = || FetchError::TooLarge { from: name.clone(), limit: expected.limit() };
    if length > expected.limit() {
        return Err(too_large());
    }
    let part = unique_part(to);
    remove(&part)?;
    // The hub never changes such a file. If the hub removes its name, our link stays.
    let linked = length >= LINK_BYTES && fs::hard_link(from, &part).is_ok();
    let mut target = match linked {
        true => None,
        false => Some(File::create(&part).map_err(FetchError::disk(&part))?),
    };
    let mut digester = kind.map(crate::repodata::ChecksumKind::digester);
    let mut buffer = vec![0; READ_BYTES];
    let mut done = 0;
    while target.is_some() || digester.is_some() {
        let read = source.read(&mut buffer).map_err(FetchError::disk(from))?;
        let bytes = buffer.get(..read).unwrap_or_default();
        done += bytes.len() as u64;
        if bytes.is_empty() {
            break;
        }
        if done > expected.limit() {
            remove(&part)?;
            return Err(too_large());
        }
        if let Some(digester) = &mut digester {
            digester.update(bytes);
        }
        if let Some(target) = &mut target {
            target.write_all(bytes).map_err(FetchError::disk(&part))?;
        }
    }
    if let Err(error) = expected.verify(&name, kind, digester.map(Digester::finish)) {
        remove(&part)?;
        return Err(error);
    }
    let place = || -> io::Result<()> {
        target.map_or(Ok(()), |target| target.sync_all())?;
        fs::rename(&part, to)?;
        sync_dir_of(to)
    };
    place().map_err(FetchError::disk(to))?;
    Ok(length)
}

/// Links or copies a file of the cache, and verifies it. Returns `false` if the file is not the
/// expected one or no longer exists.
pub(super) fn reuse(from: &Path, to: &Path, expected: &Expected) -> Result<bool, FetchError> {
    let part = unique_part(to);
    remove(&part)?;
    if fs::hard_link(from, &part).is_err() {
        return match copy(from, to, expected) {
            Ok(_) => Ok(true),
            Err(FetchError::Checksum { .. } | FetchError::NotFound { .. } | FetchError::TooLarge { .. }) => Ok(false),
            Err(error) => Err(error),
        };
    }
    if !is_what(&part, expected)? {
        remove(&part)?;
        return Ok(false);
    }
    fs::rename(&part, to).map_err(FetchError::disk(to))?;
    // Renaming onto another link of the same file does nothing, and leaves the first name.
    remove(&part)?;
    Ok(true)
}

/// Checks whether a file exists and has the expected checksum and length. Cost: reads the file if
/// there is a checksum.
pub(super) fn is_what(path: &Path, expected: &Expected) -> Result<bool, FetchError> {
    let failed = |source| FetchError::Disk { path: path.to_owned(), source };
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(failed(error)),
    };
    let length = file.metadata().map_err(failed)?.len();
    if length > expected.limit() || expected.size.is_some_and(|size| size != length) {
        return Ok(false);
    }
    let name = path.display().to_string();
    let Some(kind) = expected.algorithm(&name)? else { return Ok(true) };
    let mut digester = kind.digester();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let read = file.read(&mut buffer).map_err(failed)?;
        if read == 0 {
            break;
        }
        digester.update(buffer.get(..read).unwrap_or_default());
    }
    Ok(expected.verify(&name, Some(kind), Some(digester.finish())).is_ok())
}

fn remove(path: &Path) -> Result<(), FetchError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(FetchError::disk(path)(error)),
        _ => Ok(()),
    }
}
