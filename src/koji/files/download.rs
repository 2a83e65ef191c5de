//! A file of a hub to a file of ours: streamed, resumed, verified, and then put in its place at once.
//!
//! Bytes go to `NAME.part` as they come, through the digest. Only when all are there and are the right ones, and are on
//! disk, the file gets its name. So a file with its name is whole, whatever happens when.
//!
//! What an earlier attempt left is gone on with where that is safe: within one download, by asking the server whether
//! the file is still the same (`If-Range`); after a restart only where a checksum will tell. What is not gone on with
//! is never emptied, another file is begun: somebody who was stopped may still be opening it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use reqwest::header::{ETAG, HeaderMap, HeaderValue, IF_RANGE, LAST_MODIFIED, RANGE, TRANSFER_ENCODING};
use reqwest::{Response, StatusCode, Url};

use super::error::{FetchError, Trouble};
use super::fetch::{Attempt, Failure, Fetcher, content_range};
use crate::repodata::{Checksum, ChecksumKind, Digester, RepodataError};

/// Bytes that are written at once.
const WRITE_BYTES: usize = 256 << 10;

/// What is known of a file before it is fetched.
#[derive(Clone, Debug, Default)]
pub(super) struct Expected {
    pub(super) checksum: Option<Checksum>,
    /// Its length in bytes.
    pub(super) size: Option<u64>,
    /// The bound on its length.
    pub(super) limit: u64,
}

impl Expected {
    /// A file of which nothing is known.
    pub(super) fn at_most(limit: u64) -> Self {
        Self { checksum: None, size: None, limit }
    }

    /// The algorithm to verify it with.
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

    /// Whether a digest is the right one.
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

/// Runs what blocks beside the asynchronous threads.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is being shut down; nobody waits for us any more.
            Err(_) => std::future::pending().await,
        },
    }
}

/// Makes a file's name, and that it has gone, last.
pub(super) fn sync_dir_of(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

/// What the name of a file that is not whole ends with.
const PART: &str = ".part";

fn beside(to: &Path, suffix: &str) -> PathBuf {
    let mut name = to.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// A name beside `to` that nobody else in this process uses.
pub(super) fn unique_part(to: &Path) -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    beside(to, &format!("{PART}-{}", NEXT.fetch_add(1, Ordering::Relaxed)))
}

/// Whether a file is one of those that are not whole.
pub(super) fn is_part(name: &str) -> bool {
    name.rsplit_once(PART).is_some_and(|(_, rest)| {
        rest.is_empty() || rest.strip_prefix('-').is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()))
    })
}

/// A file being fetched.
pub(super) struct Download {
    url: Url,
    to: PathBuf,
    part: PathBuf,
    expected: Expected,
    /// By which the server knows whether the file is still that of which we have the beginning. Of this download only.
    validator: Option<HeaderValue>,
    /// What is there is not to be gone on with.
    afresh: bool,
}

/// The beginning of a file, open to be written to.
struct Part {
    file: BufWriter<File>,
    length: u64,
    digester: Option<Digester>,
}

impl Part {
    /// Opens what is there, or begins it. Reads what is there for the digest.
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
        // Into the system's memory, a quarter of a megabyte at a time. Handing it to another thread would cost more,
        // and would leave a write behind when this is dropped in the middle.
        self.file.write_all(bytes)
    }
}

impl Download {
    pub(super) fn new(url: Url, to: &Path, expected: Expected) -> Self {
        // Only where a checksum will tell another attempt goes on with it, and so has to find it.
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
            // What lies about of an earlier run goes as well.
            self.discard();
            drop(fs::remove_file(beside(&self.to, PART)));
            self.part = unique_part(&self.to);
            // An earlier run of the program may have used the same number.
            self.discard();
        }
        let path = self.part.clone();
        blocking(move || Part::open(&path, kind)).await.map_err(self.failed())
    }

    /// Asks for what is missing. Gives the answer, or `None` when nothing is, and the part as the answer goes on with
    /// it.
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
                // No such range: either there is nothing more, or the file is a shorter one now.
                let total = range.and_then(|r| r.total);
                if part.length > 0 && total == Some(part.length) {
                    return Ok((None, part));
                }
            }
        }
        self.afresh = true;
        self.validator = None;
        Err(Trouble::Changed("the server gives another range, or has another file").into())
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

    /// The part is thrown away, at once: done beside us it might be done later, when it is somebody else's.
    fn discard(&self) {
        // It may not be there; and if it stays, the next attempt does not use it.
        drop(fs::remove_file(&self.part));
    }
}

/// A strong entity tag, else the time of the last change. A weak tag does not go with ranges (RFC 9110, 13.1.5).
fn validator(headers: &HeaderMap) -> Option<HeaderValue> {
    let strong = headers.get(ETAG).filter(|tag| tag.as_bytes().starts_with(b"\""));
    strong.or_else(|| headers.get(LAST_MODIFIED)).cloned()
}

/// What nobody can go on with does not stay.
impl Drop for Download {
    fn drop(&mut self) {
        if self.expected.checksum.is_none() {
            self.discard();
        }
    }
}

impl Attempt for Download {
    /// Bytes of the file.
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
            // What has come is kept, whatever came after it.
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
        // From here on it is nobody else's: if we are dropped while it goes to disk, another attempt begins with a file
        // of its own.
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
