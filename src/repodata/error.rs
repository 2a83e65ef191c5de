//! What can be wrong with a repository.

use std::io;
use std::path::PathBuf;

use crate::model::{Class, Classified};

/// Why repository metadata could not be used. The text says which file and what to do, where something can be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepodataError {
    /// There is no `repodata/repomd.xml`.
    #[error(
        "find repository metadata: {path} does not exist; name the directory that holds repodata/ (of a Koji \
            repository the directory of one architecture)"
    )]
    NoRepomd {
        /// The file looked for.
        path: PathBuf,
    },
    /// A file cannot be read.
    #[error("read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// A file is larger than we read.
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
    /// The content is not what `repomd.xml` says.
    #[error("verify {file}: its {kind} is {found}, but repomd.xml says {expected}; fetch the repository again")]
    Checksum {
        /// The file.
        file: String,
        /// Name of the algorithm.
        kind: &'static str,
        /// As `repomd.xml` has it.
        expected: String,
        /// As computed.
        found: String,
    },
    /// A checksum algorithm that is not accepted.
    #[error(
        "verify {file}: checksum type `{kind}` is not supported (md5, sha1, sha224, sha256, sha384 and sha512 are)"
    )]
    ChecksumKind {
        /// The file.
        file: String,
        /// As `repomd.xml` has it.
        kind: String,
    },
    /// A compression that is not accepted.
    #[error("unpack {file}: compression `{extension}` is not supported (plain, gz, bz2, xz and zst are)")]
    Compression {
        /// The file.
        file: String,
        /// The suffix of its name.
        extension: String,
    },
    /// Decompression or reading from the decompressor failed: a truncated or damaged file.
    #[error("unpack {file}: it is damaged or cut short")]
    Damaged {
        /// The file.
        file: String,
        /// What the decompressor said.
        #[source]
        source: io::Error,
    },
    /// Not well-formed XML, or XML beyond a bound.
    #[error("parse {file} at byte {offset}: {problem}")]
    Xml {
        /// The file.
        file: String,
        /// Offset in the unpacked file.
        offset: u64,
        /// What is wrong.
        problem: String,
    },
    /// Well-formed, but not what the format says.
    #[error("parse {file}: {problem}")]
    Format {
        /// The file.
        file: String,
        /// What is wrong, with the package where known.
        problem: String,
    },
    /// `repomd.xml` does not name a file that is needed.
    #[error("find `{kind}` metadata: {file} does not name any")]
    Missing {
        /// `repomd.xml`.
        file: String,
        /// The type looked for.
        kind: &'static str,
    },
    /// `repomd.xml` names a file outside its repository.
    #[error("find `{kind}` metadata: {file} names `{href}`, which lies outside the repository")]
    Outside {
        /// `repomd.xml`.
        file: String,
        /// The type.
        kind: String,
        /// The location.
        href: String,
    },
    /// Repositories that are too much together.
    #[error("merge {repository} with the repositories before it: {problem}")]
    Merge {
        /// The one that was too much.
        repository: String,
        /// The bound.
        problem: String,
    },
    /// One line of a line-based file is not understood.
    #[error("parse {file} line {line}: {problem}")]
    Line {
        /// The file.
        file: String,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
}

impl RepodataError {
    /// What is wrong and why, in one line.
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
