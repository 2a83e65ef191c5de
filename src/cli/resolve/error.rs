//! The errors of `koschei resolve`.

use std::io;
use std::path::PathBuf;

use crate::koji::SourcesError;
use crate::model::arch::UnknownArch;
use crate::model::{Class, Classified};
use crate::repodata::{DependencyError, RepodataError, SrpmError};
use crate::resolve::ResolveError;

/// Why `koschei resolve` gave no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveCliError {
    /// A repository or a comps file cannot be read.
    #[error(transparent)]
    Repodata(#[from] RepodataError),
    /// The solver did not take the repository.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// No build group was found.
    #[error(
        "find the build group: repodata/repomd.xml of {repo} names no group file{}, and {beside} does not exist; \
            give one with --group-file",
        if problems.is_empty() { String::new() } else { format!(" that can be used (failed to \
            {})", problems.join("; failed to ")) }
    )]
    NoGroupFile {
        /// The repositories.
        repo: String,
        /// Where Koji would have put one.
        beside: PathBuf,
        /// Why group files that are named cannot be used.
        problems: Vec<String>,
    },
    /// The groups do not contain the wanted one.
    #[error("find group `{group}` in {file}: it has {found}; choose one with --group")]
    NoGroup {
        /// The wanted one.
        group: String,
        /// Where it was searched.
        file: String,
        /// The groups that exist.
        found: String,
    },
    /// By their names, the repositories are for different architectures.
    #[error("choose the architecture: by their names, {} and {} are for {arches}; choose one with \
        --arch", first.display(), second.display())]
    Arches {
        /// One repository.
        first: PathBuf,
        /// Another.
        second: PathBuf,
        /// Both architectures.
        arches: String,
    },
    /// `--arch` does not name an architecture.
    #[error("choose the architecture: {0}")]
    UnknownArch(UnknownArch),
    /// The file with the BuildRequires cannot be read.
    #[error(transparent)]
    Sources(#[from] SourcesError),
    /// A source package cannot be read.
    #[error(transparent)]
    Srpm(#[from] SrpmError),
    /// `--packages` names a package that does not exist.
    #[error("find source package {}: not in {path}{}", names.join(", "), or_else(near))]
    NoPackage {
        /// The names that were not found.
        names: Vec<String>,
        /// Names that look like the first of them.
        near: Vec<String>,
        /// Where they were searched.
        path: PathBuf,
    },
    /// `--who-needs` is not a capability.
    #[error("read the capability of --who-needs: {0}; write it as in a spec file")]
    Capability(DependencyError),
    /// Standard output cannot be written.
    #[error("write the answers")]
    Write(#[source] io::Error),
}

fn or_else(near: &[String]) -> String {
    if near.is_empty() { String::new() } else { format!("; did you mean {}?", near.join(", ")) }
}

impl Classified for ResolveCliError {
    fn class(&self) -> Class {
        match self {
            Self::Repodata(error) => error.class(),
            Self::Resolve(error) => error.class(),
            Self::Sources(error) => error.class(),
            Self::Srpm(error) => error.class(),
            Self::Write(_) => Class::Unavailable,
            Self::NoGroupFile { .. }
            | Self::NoGroup { .. }
            | Self::Arches { .. }
            | Self::UnknownArch(_)
            | Self::NoPackage { .. }
            | Self::Capability(_) => Class::Rejected,
        }
    }
}
