//! Reads headers of source packages. Only the first bytes of each file are fetched, not its
//! payload.

use std::collections::BTreeSet;

use futures_util::StreamExt as _;
use futures_util::stream;

use super::download::blocking;
use super::error::FetchError;
use super::mirror::Mirror;
use super::place::{HubPath, Place};
use super::prefix::{Prefix, Step};
use super::store::SourceStore;
use crate::model::{Class, Classified as _, Nvr};
use crate::repodata::{SourceHeader, SourcePackage, SrpmError};

/// Number of bytes asked for at first. Nine of ten headers are shorter. Longer ones say how long
/// they are.
const FIRST_BYTES: u64 = 64 << 10;

/// Maximum number of bytes read of a source package. The largest real headers have about 2 MB.
const HEADER_BYTES_MAX: u64 = 40 << 20;

/// Number of source packages added to a store at once. A crash loses little, and writes are rare.
const BATCH: usize = 250;

/// After this number of server failures in a row, the server counts as unavailable.
const UNAVAILABLE_MAX: usize = 3;

/// The result of filling a store.
#[derive(Debug, Default)]
pub struct Filled {
    /// Number of source packages that became known.
    pub added: usize,
    /// Packages that could not be read, and why. Nothing was stored for them.
    pub failed: Vec<(Nvr, FetchError)>,
    /// Packages that were not asked for, because the server does not answer.
    pub left: Vec<Nvr>,
}

impl Mirror {
    /// Reads what a source package says about how it is built from its own header. A package whose
    /// file is missing is an error. It never counts as a package without requirements.
    ///
    /// # Errors
    /// Rejected errors: [`FetchError::NotFound`] if the file does not exist, [`FetchError::Header`]
    /// if it is damaged, and [`FetchError::OtherPackage`] if it is another package. Returns an
    /// unavailable error if the server does not answer.
    pub async fn header(&self, nvr: &Nvr) -> Result<SourcePackage, FetchError> {
        match self.header_of(nvr, "src").await {
            Err(error) if error.is_not_found() => match self.header_of(nvr, "nosrc").await {
                // The error names the usual file name.
                Err(other) if other.is_not_found() => Err(error),
                found => found,
            },
            found => found,
        }
    }

    async fn header_of(&self, nvr: &Nvr, arch: &str) -> Result<SourcePackage, FetchError> {
        let files = &self.inner.files;
        let path = HubPath::source_package(nvr, arch)?;
        let from = files.place.name(&path);
        let header = match &files.place {
            Place::Http(top) => {
                let parse = |bytes: &[u8]| match SourceHeader::read(bytes, &from) {
                    Ok(header) => Ok(Step::Done(header)),
                    Err(error) => match error.needed() {
                        Some(needed) => Ok(Step::Needs(needed, error.into())),
                        None => Err(error.into()),
                    },
                };
                let prefix = Prefix::new(path.url(top), FIRST_BYTES, HEADER_BYTES_MAX, parse);
                files.fetcher.run(prefix).await?
            }
            Place::Dir(top) => {
                files.mounted().await?;
                let file = path.below(top);
                match blocking(move || SourceHeader::load(&file)).await {
                    Err(SrpmError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                        return Err(FetchError::NotFound { from });
                    }
                    read => read?,
                }
            }
        };
        let mut package = SourcePackage::from_header(header);
        if package.nvr.to_string() == nvr.file_stem() {
            // The header of a draft does not say that it is a draft.
            package.nvr = nvr.clone();
        }
        if package.nvr == *nvr { Ok(package) } else { Err(FetchError::OtherPackage { from, found: package.nvr }) }
    }

    /// Adds the packages of `wanted` that a store lacks, from their headers. Tells `on_progress`
    /// how many of how many are done. Stores results in between, so that an interruption costs
    /// little.
    ///
    /// # Errors
    /// Returns [`FetchError::Sources`] if the store cannot be written. Failures of single packages
    /// are in the result.
    pub async fn fill(
        &self,
        store: &SourceStore,
        wanted: impl IntoIterator<Item = Nvr>,
        on_progress: &(dyn Fn(usize, usize) + Send + Sync),
    ) -> Result<Filled, FetchError> {
        let missing = store.missing(wanted);
        let all = missing.len();
        let mut left: BTreeSet<Nvr> = missing.iter().cloned().collect();
        let mut filled = Filled::default();
        let mut batch = Vec::new();
        let mut unavailable = 0;
        // Somewhat more than may run at once, so that the fetcher never waits for us.
        let at_once = self.fetcher().settings().at_once.saturating_mul(2);
        let asked = missing.into_iter().map(async |nvr| (self.header(&nvr).await, nvr));
        let mut answers = std::pin::pin!(stream::iter(asked).buffer_unordered(at_once));
        while let Some((answer, nvr)) = answers.next().await {
            left.remove(&nvr);
            match answer {
                Ok(package) => {
                    unavailable = 0;
                    batch.push(package);
                }
                Err(error) => {
                    unavailable = if error.class() == Class::Unavailable { unavailable + 1 } else { 0 };
                    filled.failed.push((nvr, error));
                }
            }
            if batch.len() >= BATCH {
                filled.added += add(store, std::mem::take(&mut batch)).await?;
            }
            on_progress(all - left.len(), all);
            if unavailable >= UNAVAILABLE_MAX {
                break;
            }
        }
        filled.added += add(store, batch).await?;
        filled.left = left.into_iter().collect();
        filled.failed.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(filled)
    }
}

async fn add(store: &SourceStore, batch: Vec<SourcePackage>) -> Result<usize, FetchError> {
    let store = store.clone();
    Ok(blocking(move || store.add(batch)).await?)
}
