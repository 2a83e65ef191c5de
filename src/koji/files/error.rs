//! What can go wrong when a file of a hub is fetched.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::super::buildrequires::SourcesError;
use crate::model::{Class, Classified, Name, Nvr, RepoId};
use crate::repodata::{RepodataError, SrpmError};

/// Why something could not be fetched. `from` is the address, or the path where a hub's files are mounted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The configured address of a hub's files is none.
    #[error(
        "use `{address}` as the place of a hub's files: {problem}; give http://HOST/PATH, https://HOST/PATH, \
            file:///PATH or /PATH"
    )]
    Address {
        /// As configured.
        address: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A name from outside would lead somewhere else as part of a path.
    #[error("fetch files of a hub: {what} `{text}` is no plain name")]
    NotAName {
        /// What it should be the name of.
        what: &'static str,
        /// The name.
        text: String,
    },
    /// The server says that there is no such file (404, 410).
    #[error("fetch {from}: there is no such file")]
    NotFound {
        /// Which.
        from: String,
    },
    /// The server says that we may not have it, or does not understand the question (other 4xx).
    #[error("fetch {from}: the server refuses it with status {status}; look at its access rules, and at the address")]
    Refused {
        /// Which.
        from: String,
        /// The HTTP status.
        status: u16,
    },
    /// All attempts failed.
    #[error("fetch {from}: no success in {attempts} attempts")]
    Unavailable {
        /// Which.
        from: String,
        /// How many attempts there were.
        attempts: u32,
        /// What happened to the last.
        #[source]
        source: Trouble,
    },
    /// The certificate of the server is not accepted.
    #[error(
        "fetch {from}: the server's certificate is not trusted; if it was made by an own authority, configure that \
            one's certificate"
    )]
    Untrusted {
        /// Which.
        from: String,
        /// Why not.
        #[source]
        source: reqwest::Error,
    },
    /// A redirection that is not followed.
    #[error(
        "fetch {from}: the server redirects {problem}; configure the address that it redirects to, if that one is meant"
    )]
    Redirected {
        /// Which.
        from: String,
        /// How.
        problem: String,
    },
    /// More bytes than there should be.
    #[error("fetch {from}: it has more than the {limit} bytes that are expected at most")]
    TooLarge {
        /// Which.
        from: String,
        /// The bound: our own, or what `repomd.xml` says.
        limit: u64,
    },
    /// The content is not what `repomd.xml` says. It was thrown away.
    #[error("verify {from}: its {kind} is {found}, but {expected} is expected")]
    Checksum {
        /// Which.
        from: String,
        /// Name of the algorithm.
        kind: &'static str,
        /// As `repomd.xml` has it.
        expected: String,
        /// As computed.
        found: String,
    },
    /// A repository is not there, not complete yet, or being deleted.
    #[error(
        "fetch repository {repo} of {tag} from {from}: {what} is not there; the hub has deleted it or has not finished \
            it, or the address is wrong"
    )]
    Gone {
        /// Name of the tag.
        tag: Name,
        /// The generation.
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
        /// The generation asked for.
        repo: RepoId,
        /// The one described.
        found: i64,
    },
    /// The header is that of another source package.
    #[error("fetch {from}: it is the source package {found}")]
    OtherPackage {
        /// Which.
        from: String,
        /// What its header says.
        found: Nvr,
    },
    /// A local file cannot be read or written: the cache, or a hub's files on a mounted disk.
    #[error("use {}", path.display())]
    Disk {
        /// Which.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Another process works in the cache directory.
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
    /// The HTTP client cannot be made.
    #[error("prepare an HTTP client: {problem}")]
    Client {
        /// Why.
        problem: String,
    },
    /// Metadata of a repository are wrong.
    #[error(transparent)]
    Metadata(#[from] RepodataError),
    /// The header of a source package is wrong.
    #[error(transparent)]
    Header(#[from] SrpmError),
    /// Build requirements cannot be kept.
    #[error(transparent)]
    Sources(#[from] SourcesError),
    /// Somebody else was fetching the same, and this is what came of it.
    #[error(transparent)]
    Shared(Arc<FetchError>),
}

impl Classified for FetchError {
    fn class(&self) -> Class {
        match self {
            // What the server or its disk has wrong now may be right later.
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
    /// The error itself, where somebody else's attempt was waited for.
    pub fn root(&self) -> &Self {
        match self {
            Self::Shared(error) => error.root(),
            error => error,
        }
    }

    /// The file is not there: a fact about it, not about the server.
    pub fn is_not_found(&self) -> bool {
        matches!(self.root(), Self::NotFound { .. })
    }

    /// The repository is not there or not whole.
    pub fn is_gone(&self) -> bool {
        matches!(self.root(), Self::Gone { .. })
    }

    pub(super) fn disk(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        |source| Self::Disk { path, source }
    }
}

/// What happened to one attempt that may go better next time.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Trouble {
    /// No connection, or it broke before the answer began.
    #[error("the server cannot be reached")]
    Connection(#[source] reqwest::Error),
    /// The server says that it cannot now (5xx, 408, 425, 429).
    #[error("the server answers with status {0}")]
    Status(u16),
    /// Nothing came for too long.
    #[error("nothing came for {} s", .0.as_secs_f64())]
    Idle(Duration),
    /// It takes too long altogether.
    #[error("it takes longer than {} s altogether", .0.as_secs_f64())]
    Total(Duration),
    /// The connection broke in the middle.
    #[error("the connection broke after {got} bytes")]
    Broken {
        /// Bytes that had come.
        got: u64,
        /// What the HTTP client says.
        #[source]
        source: reqwest::Error,
    },
    /// It ends too early.
    #[error("it ends after {got} bytes of {expected}")]
    Cut {
        /// Bytes that had come.
        got: u64,
        /// Bytes there should be.
        expected: u64,
    },
    /// The server does not say how long the file is, and nobody else does, so whether it is whole cannot be told.
    #[error("the server does not say how long it is")]
    NoLength,
    /// What was there from an earlier attempt does not go with the rest.
    #[error("its end does not go with what had come before: {0}")]
    Changed(&'static str),
}
