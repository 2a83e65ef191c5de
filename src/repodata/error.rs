//! The errors of reading a repository.

use std::io;
use std::path::PathBuf;

use crate::model::{Class, Classified};

/// Why repository metadata could not be used. The text names the file and, if the user can do
/// something, says what.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepodataError {
    /// The directory has no `repodata/repomd.xml`.
    #[error(
        "find repository metadata: {path} does not exist; name the directory that holds repodata/ (of a Koji \
            repository the directory of one architecture)"
    )]
    NoRepomd {
        /// The missing file.
        path: PathBuf,
    },
    /// A file cannot be read.
    #[error("read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        #[source]
        source: io::Error,
    },
    /// A file is larger than the bound.
    #[error("read {file}: it is larger than {limit} bytes, the most this program reads")]
    TooLarge {
        /// The file.
        file: String,
        /// The bound.
        limit: u64,
    },
    /// Decompressed data exceed the bound.
    #[error(
        "unpack {file}: it holds more than {limit} bytes, the most this program unpacks; it may be a decompression bomb"
    )]
    Bomb {
        /// The file.
        file: String,
        /// The bound.
        limit: u64,
    },
    /// The content of a file does not match the checksum in `repomd.xml`.
    #[error("verify {file}: its {kind} is {found}, but repomd.xml says {expected}; fetch the repository again")]
    Checksum {
        /// The file.
        file: String,
        /// Name of the algorithm.
        kind: &'static str,
        /// The digest in `repomd.xml`.
        expected: String,
        /// The digest we computed.
        found: String,
    },
    /// `repomd.xml` uses a checksum algorithm that we do not accept.
    #[error(
        "verify {file}: checksum type `{kind}` is not supported (md5, sha1, sha224, sha256, sha384 and sha512 are)"
    )]
    ChecksumKind {
        /// The file.
        file: String,
        /// The algorithm, as `repomd.xml` spells it.
        kind: String,
    },
    /// A file uses a compression that we do not accept.
    #[error("unpack {file}: compression `{extension}` is not supported (plain, gz, bz2, xz and zst are)")]
    Compression {
        /// The file.
        file: String,
        /// The suffix of the file's name.
        extension: String,
    },
    /// Decompression failed: the file is cut short or damaged.
    #[error("unpack {file}: it is damaged or cut short")]
    Damaged {
        /// The file.
        file: String,
        /// The decompressor's error.
        #[source]
        source: io::Error,
    },
    /// The file is not well-formed XML, or exceeds a bound on XML.
    #[error("parse {file} at byte {offset}: {problem}")]
    Xml {
        /// The file.
        file: String,
        /// Offset in the unpacked file.
        offset: u64,
        /// What is wrong.
        problem: String,
    },
    /// The file is well-formed but does not follow its format.
    #[error("parse {file}: {problem}")]
    Format {
        /// The file.
        file: String,
        /// What is wrong, with the package if known.
        problem: String,
    },
    /// `repomd.xml` does not name a file that we need.
    #[error("find `{kind}` metadata: {file} does not name any")]
    Missing {
        /// `repomd.xml`.
        file: String,
        /// The type we looked for.
        kind: &'static str,
    },
    /// `repomd.xml` names a file outside its repository.
    #[error("find `{kind}` metadata: {file} names `{href}`, which lies outside the repository")]
    Outside {
        /// `repomd.xml`.
        file: String,
        /// The type of the entry.
        kind: String,
        /// The location.
        href: String,
    },
    /// The repositories to merge exceed a bound together.
    #[error("merge {repository} with the repositories before it: {problem}")]
    Merge {
        /// The repository that exceeded the bound.
        repository: String,
        /// The bound.
        problem: String,
    },
    /// A line of a line-based file cannot be parsed.
    #[error("parse {file} line {line}: {problem}")]
    Line {
        /// The file.
        file: String,
        /// Line number, counted from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
}

impl RepodataError {
    /// Returns the error and its cause in one line.
    pub(super) fn whole(&self) -> String {
        match std::error::Error::source(self) {
            Some(cause) => format!("{self}: {cause}"),
            None => self.to_string(),
        }
    }
}

impl Classified for RepodataError {
    fn class(&self) -> Class {
        match self {
            Self::Read { .. } => Class::Unavailable,
            _ => Class::Rejected,
        }
    }
}
