//! Downloads a file of a hub: streams it to disk, resumes it, verifies it, and then moves it into
//! place in one step.
//!
//! Bytes go to `NAME.part` as they arrive, and through the digest. The file gets its name only when
//! all bytes are there, verified and on disk. So a file under its own name is always complete,
//! whatever happens.
//!
//! What an earlier attempt left is continued where this is safe:
//!
//! - Within one download, the server is asked whether the file is still the same (`If-Range`).
//! - After a restart, only if there is a checksum to verify the result.
//!
//! A part that is not continued is never truncated, because a stopped attempt may still be opening
//! it. A new part is begun instead.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use reqwest::header::{ETAG, HeaderMap, HeaderValue, IF_RANGE, LAST_MODIFIED, RANGE, TRANSFER_ENCODING};
use reqwest::{Response, StatusCode, Url};

use super::error::{FetchError, Trouble};
use super::fetch::{Attempt, Failure, Fetcher};
use super::response::content_range;
use crate::repodata::{Checksum, ChecksumKind, Digester, RepodataError};

/// Size of the write buffer, in bytes.
const WRITE_BYTES: usize = 256 << 10;

/// What is known of a file before it is fetched.
#[derive(Clone, Debug, Default)]
pub(super) struct Expected {
    pub(super) checksum: Option<Checksum>,
    /// Length in bytes.
    pub(super) size: Option<u64>,
    /// Maximum length in bytes.
    pub(super) limit: u64,
}

impl Expected {
    /// Returns expectations for a file of which nothing is known.
    pub(super) fn at_most(limit: u64) -> Self {
        Self { checksum: None, size: None, limit }
    }

    /// Returns the algorithm to verify the file with.
    pub(super) fn algorithm(&self, from: &str) -> Result<Option<ChecksumKind>, FetchError> {
        let Some(checksum) = &self.checksum else { return Ok(None) };
        match ChecksumKind::parse(&checksum.kind) {
            Some(kind) => Ok(Some(kind)),
            None => {
                let (file, kind) = (from.to_owned(), checksum.kind.clone());
                Err(RepodataError::ChecksumKind { file, kind }.into())
            }
        }
    }

    pub(super) fn limit(&self) -> u64 {
        self.size.unwrap_or(u64::MAX).min(self.limit)
    }

    /// Checks whether a digest is the expected one.
    pub(super) fn verify(
        &self,
        from: &str,
        kind: Option<ChecksumKind>,
        found: Option<String>,
    ) -> Result<(), FetchError> {
        match (&self.checksum, kind, found) {
            (Some(expected), Some(kind), Some(found)) if expected.hex != found => Err(FetchError::Checksum {
                from: from.to_owned(),
                kind: kind.as_str(),
                expected: expected.hex.clone(),
                found,
            }),
            _ => Ok(()),
        }
    }
}

/// Runs blocking work outside the asynchronous threads.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down. Nobody waits for the result any more.
            Err(_) => std::future::pending().await,
        },
    }
}

/// Makes it durable that a file got its name or lost it.
pub(super) fn sync_dir_of(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

/// Suffix of the name of an incomplete file.
const PART: &str = ".part";

fn beside(to: &Path, suffix: &str) -> PathBuf {
    let mut name = to.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Returns a name beside `to` that nobody else in this process uses.
pub(super) fn unique_part(to: &Path) -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    beside(to, &format!("{PART}-{}", NEXT.fetch_add(1, Ordering::Relaxed)))
}

/// Checks whether a file name is that of an incomplete file.
pub(super) fn is_part(name: &str) -> bool {
    name.rsplit_once(PART).is_some_and(|(_, rest)| {
        rest.is_empty() || rest.strip_prefix('-').is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()))
    })
}

/// A download of one file.
pub(super) struct Download {
    url: Url,
    to: PathBuf,
    part: PathBuf,
    expected: Expected,
    /// With this the server tells whether the file is still the one we have the beginning of. It is
    /// valid for this download only.
    validator: Option<HeaderValue>,
    /// Whether the existing part must not be continued.
    afresh: bool,
}

/// The beginning of a file, opened for writing.
struct Part {
    file: BufWriter<File>,
    length: u64,
    digester: Option<Digester>,
}

impl Part {
    /// Opens an existing part or begins a new one. Reads the existing bytes for the digest.
    fn open(path: &Path, kind: Option<ChecksumKind>) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let mut digester = kind.map(ChecksumKind::digester);
        let mut length = 0;
        let mut buffer = vec![0; WRITE_BYTES];
        loop {
            let read = file.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            length += read as u64;
            if let Some(digester) = &mut digester {
                digester.update(buffer.get(..read).unwrap_or_default());
            }
        }
        Ok(Self { file: BufWriter::with_capacity(WRITE_BYTES, file), length, digester })
    }

    fn add(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.length += bytes.len() as u64;
        if let Some(digester) = &mut self.digester {
            digester.update(bytes);
        }
        // Writes to the system's cache, 256 KiB at a time. Handing the work to another thread would
        // cost more, and would leave a write running if this future is dropped.
        self.file.write_all(bytes)
    }
}

impl Download {
    pub(super) fn new(url: Url, to: &Path, expected: Expected) -> Self {
        // Only with a checksum can another attempt continue the part, and then it has to find the
        // part.
        let part = if expected.checksum.is_some() { beside(to, PART) } else { unique_part(to) };
        Self { url, to: to.to_owned(), part, expected, validator: None, afresh: false }
    }

    fn failed(&self) -> impl Fn(io::Error) -> Failure + use<> {
        let path = self.part.clone();
        move |source| Failure::Never(FetchError::Disk { path: path.clone(), source })
    }

    async fn open(&mut self, kind: Option<ChecksumKind>) -> Result<Part, Failure> {
        let keep = !self.afresh && (kind.is_some() || self.validator.is_some());
        if !keep {
            // What an earlier run left goes as well.
            self.discard();
            drop(fs::remove_file(beside(&self.to, PART)));
            self.part = unique_part(&self.to);
            // An earlier run of the program may have used the same number.
            self.discard();
        }
        let path = self.part.clone();
        blocking(move || Part::open(&path, kind)).await.map_err(self.failed())
    }

    /// Asks for the missing bytes. Returns the response and the part that it continues. The
    /// response is `None` if nothing is missing.
    async fn ask(
        &mut self,
        fetcher: &Fetcher,
        kind: Option<ChecksumKind>,
    ) -> Result<(Option<Response>, Part), Failure> {
        let mut part = self.open(kind).await?;
        if part.length > 0 && Some(part.length) == self.expected.size {
            return Ok((None, part));
        }
        if part.length > self.expected.limit() {
            self.afresh = true;
            part = self.open(kind).await?;
        }
        let mut request = fetcher.get(&self.url);
        if part.length > 0 {
            request = request.header(RANGE, format!("bytes={}-", part.length));
            if let Some(validator) = &self.validator {
                request = request.header(IF_RANGE, validator.clone());
            }
        }
        let response = match fetcher.send(&self.url, request).await {
            Ok(response) => response,
            Err(failure) => {
                if part.length == 0 || matches!(failure, Failure::Never(_)) {
                    self.discard();
                }
                return Err(failure);
            }
        };
        let range = content_range(response.headers());
        match response.status() {
            StatusCode::OK => {
                if part.length > 0 {
                    self.afresh = true;
                    part = self.open(kind).await?;
                }
                self.validator = validator(response.headers());
                self.afresh = false;
                return Ok((Some(response), part));
            }
            StatusCode::PARTIAL_CONTENT => {
                let same = match (&self.validator, validator(response.headers())) {
                    (Some(before), Some(now)) => *before == now,
                    _ => true,
                };
                let fits = range.and_then(|r| r.bytes).is_some_and(|(first, _)| first == part.length);
                if same && fits && part.length > 0 {
                    return Ok((Some(response), part));
                }
            }
            _ => {
                // No such range: either nothing is missing, or the file is a shorter one now.
                let total = range.and_then(|r| r.total);
                if part.length > 0 && total == Some(part.length) {
                    return Ok((None, part));
                }
            }
        }
        self.afresh = true;
        self.validator = None;
        Err(Trouble::Changed("the server sends another range, or has another file").into())
    }

    async fn receive(&mut self, fetcher: &Fetcher, mut response: Response, part: &mut Part) -> Result<(), Failure> {
        let limit = self.expected.limit();
        let too_large = || FetchError::TooLarge { from: self.url.to_string(), limit };
        let chunked = response.headers().contains_key(TRANSFER_ENCODING);
        let framed = chunked || response.content_length().is_some();
        if !framed && self.expected.checksum.is_none() && self.expected.size.is_none() {
            return Err(Trouble::NoLength.into());
        }
        if response.content_length().is_some_and(|length| length.saturating_add(part.length) > limit) {
            return Err(too_large().into());
        }
        let mut kept = 0;
        while let Some(bytes) = fetcher.chunk(&mut response, kept).await? {
            let bytes = bytes.as_ref();
            if part.length.saturating_add(bytes.len() as u64) > limit {
                return Err(too_large().into());
            }
            part.add(bytes).map_err(self.failed())?;
            kept += bytes.len() as u64;
        }
        match self.expected.size {
            Some(expected) if part.length < expected => {
                let trouble = Trouble::Cut { got: part.length, expected };
                Err(Failure::Again { trouble, after: None, kept })
            }
            _ => Ok(()),
        }
    }

    /// Deletes the part at once. A deletion in the background could hit a part that by then belongs
    /// to another attempt.
    fn discard(&self) {
        // The part may not exist. If it stays, the next attempt does not use it.
        drop(fs::remove_file(&self.part));
    }
}

/// Returns a strong entity tag, or else the time of the last change. A weak tag cannot be used with
/// ranges (RFC 9110, 13.1.5).
fn validator(headers: &HeaderMap) -> Option<HeaderValue> {
    let strong = headers.get(ETAG).filter(|tag| tag.as_bytes().starts_with(b"\""));
    strong.or_else(|| headers.get(LAST_MODIFIED)).cloned()
}

/// Deletes the part if nobody can continue it.
impl Drop for Download {
    fn drop(&mut self) {
        if self.expected.checksum.is_none() {
            self.discard();
        }
    }
}

impl Attempt for Download {
    /// Number of bytes of the file.
    type Done = u64;

    fn url(&self) -> &Url {
        &self.url
    }

    async fn run(&mut self, fetcher: &Fetcher) -> Result<u64, Failure> {
        let from = self.url.to_string();
        let kind = self.expected.algorithm(&from)?;
        let (response, mut part) = self.ask(fetcher, kind).await?;
        let resumed = part.length > 0;
        if let Some(response) = response {
            let received = self.receive(fetcher, response, &mut part).await;
            // Keeps all bytes received, whatever happened after them.
            part.file.flush().map_err(self.failed())?;
            if let Err(failure) = received {
                if let Failure::Never(_) = failure {
                    self.discard();
                }
                return Err(failure);
            }
        }
        if let Err(error) = self.expected.verify(&from, kind, part.digester.map(Digester::finish)) {
            self.discard();
            if resumed {
                self.afresh = true;
                return Err(Trouble::Changed("all of it together has another checksum").into());
            }
            return Err(error.into());
        }
        // From here on the part is ours alone. If this future is dropped while the file goes to
        // disk, another attempt begins with a part of its own.
        let (length, file, own, to) = (part.length, part.file, unique_part(&self.to), self.to.clone());
        fs::rename(&self.part, &own).map_err(self.failed())?;
        let place = move || -> io::Result<()> {
            file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
            fs::rename(&own, &to)?;
            sync_dir_of(&to)
        };
        blocking(place).await.map_err(self.failed())?;
        Ok(length)
    }
}

impl Fetcher {
    /// Fetches one file to `to` and returns its length. Streams the file to disk and verifies it
    /// before it gets its final name. Continues `TO.part` if an earlier attempt left one.
    ///
    /// # Errors
    /// Returns a [`FetchError`] if the file cannot be fetched. `to` is then as it was before.
    pub async fn file(
        &self,
        url: &str,
        to: &Path,
        checksum: Option<Checksum>,
        size: Option<u64>,
    ) -> Result<u64, FetchError> {
        let wrong =
            |error: &dyn std::fmt::Display| FetchError::Address { address: url.to_owned(), problem: error.to_string() };
        let url = Url::parse(url).map_err(|error| wrong(&error))?;
        let expected = Expected { checksum, size, limit: self.settings().file_bytes_max };
        self.run(Download::new(url, to, expected)).await
    }
}
