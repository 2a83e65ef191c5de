//! Errors of fetching a hub's files.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::super::buildrequires::SourcesError;
use crate::model::{Class, Classified, Name, Nvr, RepoId};
use crate::repodata::{RepodataError, SrpmError};

/// Why something could not be fetched. `from` is the address, or the path on a mounted disk.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The configured address of a hub's files is invalid.
    #[error(
        "use `{address}` as the place of a hub's files: {problem}; give http://HOST/PATH, https://HOST/PATH, \
            file:///PATH or /PATH"
    )]
    Address {
        /// The address, as configured.
        address: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A name from outside would lead to another place as part of a path.
    #[error("fetch files of a hub: {what} `{text}` is not a plain name")]
    NotAName {
        /// What the name is for.
        what: &'static str,
        /// The name.
        text: String,
    },
    /// The server says that the file does not exist (404, 410).
    #[error("fetch {from}: there is no such file")]
    NotFound {
        /// Address or path of the file.
        from: String,
    },
    /// The server denies access to the file, or does not understand the request (other 4xx).
    #[error("fetch {from}: the server refuses it with status {status}; look at its access rules, and at the address")]
    Refused {
        /// Address or path of the file.
        from: String,
        /// The HTTP status.
        status: u16,
    },
    /// All attempts failed.
    #[error("fetch {from}: all {attempts} attempts failed")]
    Unavailable {
        /// Address or path of the file.
        from: String,
        /// Number of attempts.
        attempts: u32,
        /// What happened in the last attempt.
        #[source]
        source: Trouble,
    },
    /// The certificate of the server is not accepted.
    #[error(
        "fetch {from}: the server's certificate is not trusted; if a private authority issued it, configure the \
            certificate of that authority"
    )]
    Untrusted {
        /// Address or path of the file.
        from: String,
        /// The cause.
        #[source]
        source: reqwest::Error,
    },
    /// A redirection that we do not follow.
    #[error(
        "fetch {from}: the server redirects {problem}; if that is right, configure the address that it redirects to"
    )]
    Redirected {
        /// Address or path of the file.
        from: String,
        /// Details of the redirection.
        problem: String,
    },
    /// The file has too many bytes.
    #[error("fetch {from}: it has more than {limit} bytes, the most that is expected")]
    TooLarge {
        /// Address or path of the file.
        from: String,
        /// The limit: our own, or the size that `repomd.xml` gives.
        limit: u64,
    },
    /// The content is not what `repomd.xml` says. It was discarded.
    #[error("verify {from}: its {kind} is {found}, but {expected} is expected")]
    Checksum {
        /// Address or path of the file.
        from: String,
        /// Name of the algorithm.
        kind: &'static str,
        /// The checksum in `repomd.xml`.
        expected: String,
        /// The computed checksum.
        found: String,
    },
    /// A repository does not exist, is not complete yet, or is being deleted.
    #[error(
        "fetch repository {repo} of {tag} from {from}: {what} does not exist; the hub has deleted it or has not \
            finished it, or the address is wrong"
    )]
    Gone {
        /// Name of the tag.
        tag: Name,
        /// Number of the generation.
        repo: RepoId,
        /// Where the hub's files are.
        from: String,
        /// What is missing, relative to the repository.
        what: String,
    },
    /// `repo.json` describes another repository.
    #[error("fetch repository {repo} of {tag}: its repo.json describes repository {found}")]
    OtherRepo {
        /// Name of the tag.
        tag: Name,
        /// Number of the generation asked for.
        repo: RepoId,
        /// Number of the repository described.
        found: i64,
    },
    /// The header belongs to another source package.
    #[error("fetch {from}: it is the source package {found}")]
    OtherPackage {
        /// Address or path of the file.
        from: String,
        /// The package that the header describes.
        found: Nvr,
    },
    /// A local file cannot be read or written: the cache, or a hub's files on a mounted disk.
    #[error("use {}", path.display())]
    Disk {
        /// Address or path of the file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// Another process uses the cache directory.
    #[error("open the cache {}: another process uses it; a cache directory serves one process", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The configured certificates cannot be used.
    #[error("read certificates of authorities from {}: {problem}", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The HTTP client cannot be created.
    #[error("prepare an HTTP client: {problem}")]
    Client {
        /// The cause.
        problem: String,
    },
    /// Metadata of a repository is wrong.
    #[error(transparent)]
    Metadata(#[from] RepodataError),
    /// The header of a source package is wrong.
    #[error(transparent)]
    Header(#[from] SrpmError),
    /// Build requirements cannot be stored.
    #[error(transparent)]
    Sources(#[from] SourcesError),
    /// Another caller was fetching the same, and failed with this error.
    #[error(transparent)]
    Shared(Arc<FetchError>),
}

impl Classified for FetchError {
    fn class(&self) -> Class {
        match self {
            // What is wrong with the server or its disk now may be repaired later.
            Self::Unavailable { .. }
            | Self::Untrusted { .. }
            | Self::Redirected { .. }
            | Self::Checksum { .. }
            | Self::Disk { .. } => Class::Unavailable,
            Self::Metadata(error) => error.class(),
            Self::Header(error) => error.class(),
            Self::Sources(error) => error.class(),
            Self::Shared(error) => error.class(),
            Self::Client { .. } => Class::Broken,
            _ => Class::Rejected,
        }
    }
}

impl FetchError {
    /// Returns the underlying error, if another caller's error was shared.
    pub fn root(&self) -> &Self {
        match self {
            Self::Shared(error) => error.root(),
            error => error,
        }
    }

    /// Checks whether the file does not exist. This is a fact about the file, not about the server.
    pub fn is_not_found(&self) -> bool {
        matches!(self.root(), Self::NotFound { .. })
    }

    /// Checks whether the repository does not exist or is incomplete.
    pub fn is_gone(&self) -> bool {
        matches!(self.root(), Self::Gone { .. })
    }

    pub(super) fn disk(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        |source| Self::Disk { path, source }
    }
}

/// What went wrong in one attempt, if the next one may succeed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Trouble {
    /// There was no connection, or it broke before the response began.
    #[error("the server cannot be reached")]
    Connection(#[source] reqwest::Error),
    /// The server says that it cannot answer now (5xx, 408, 425, 429).
    #[error("the server answers with status {0}")]
    Status(u16),
    /// No data arrived for too long.
    #[error("nothing came for {} s", .0.as_secs_f64())]
    Idle(Duration),
    /// All attempts together took too long.
    #[error("it takes longer than {} s altogether", .0.as_secs_f64())]
    Total(Duration),
    /// The connection broke in the middle of the response.
    #[error("the connection broke after {got} bytes")]
    Broken {
        /// Number of bytes received.
        got: u64,
        /// The HTTP client's error.
        #[source]
        source: reqwest::Error,
    },
    /// The file ended too early.
    #[error("it ends after {got} bytes of {expected}")]
    Cut {
        /// Number of bytes received.
        got: u64,
        /// Expected number of bytes.
        expected: u64,
    },
    /// Neither the server nor the metadata says how long the file is. So nobody could tell whether
    /// it is complete.
    #[error("the server does not say how long it is")]
    NoLength,
    /// The rest does not fit what an earlier attempt received.
    #[error("its end does not match the part that was received before: {0}")]
    Changed(&'static str),
}
