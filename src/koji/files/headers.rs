//! Headers of source packages: the first bytes of a file, whatever its payload has.

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

/// Bytes that are asked for at first. Nine of ten headers are shorter; the rest says itself how long it is.
const FIRST_BYTES: u64 = 64 << 10;

/// Most bytes read of a source package. The largest real headers have about 2 MB.
const HEADER_BYTES_MAX: u64 = 40 << 20;

/// So many source packages are added to a store at once: few enough that a crash costs little, enough to write rarely.
const BATCH: usize = 250;

/// So many failures of the server in a row are enough to know that it is not there.
const UNAVAILABLE_MAX: usize = 3;

/// What came of filling a store.
#[derive(Debug, Default)]
pub struct Filled {
    /// Source packages that are known now and were not before.
    pub added: usize,
    /// Those of which nothing is known, and why. Nothing was stored for them.
    pub failed: Vec<(Nvr, FetchError)>,
    /// Those that were not asked for any more, because the server does not answer.
    pub left: Vec<Nvr>,
}

impl Mirror {
    /// What a source package says about how it is built, from its own header. A package whose file is not there is an
    /// error, never one without requirements.
    ///
    /// # Errors
    /// [`FetchError::NotFound`] (rejected): there is no such file; [`FetchError::Header`] (rejected): it is damaged;
    /// [`FetchError::OtherPackage`] (rejected): it is another package; unavailable: the server does not answer.
    pub async fn header(&self, nvr: &Nvr) -> Result<SourcePackage, FetchError> {
        match self.header_of(nvr, "src").await {
            Err(error) if error.is_not_found() => match self.header_of(nvr, "nosrc").await {
                // The usual name is the one to look for.
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
            // What is in a draft does not say that it is one.
            package.nvr = nvr.clone();
        }
        if package.nvr == *nvr { Ok(package) } else { Err(FetchError::OtherPackage { from, found: package.nvr }) }
    }

    /// Adds to a store what it does not know of `wanted`, from their headers. `on_progress` is told how many of how
    /// many have been asked for. What was learnt is stored in between, so that an interruption costs little.
    ///
    /// # Errors
    /// [`FetchError::Sources`] when the store cannot be written. What happened to single packages is in the result.
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
        // A few more than may run, so that none waits for us.
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
