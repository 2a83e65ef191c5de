//! What can go wrong with `koschei resolve`.

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
    /// A repository or comps file.
    #[error(transparent)]
    Repodata(#[from] RepodataError),
    /// The solver did not take the repository.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// There is no build group anywhere.
    #[error(
        "find the build group: neither repodata/repomd.xml of {repo} names a group file{} nor is there {beside}; give \
            one with --group-file",
        if problems.is_empty() { String::new() } else { format!(" that can be used (failed to \
            {})", problems.join("; failed to ")) }
    )]
    NoGroupFile {
        /// The repositories.
        repo: String,
        /// Where Koji would have put it.
        beside: PathBuf,
        /// Why those that are named cannot be used.
        problems: Vec<String>,
    },
    /// The groups do not have the wanted one.
    #[error("find group `{group}` in {file}: it has {found}; choose one with --group")]
    NoGroup {
        /// The wanted one.
        group: String,
        /// Where it was looked for.
        file: String,
        /// Those that are there.
        found: String,
    },
    /// Repositories that look as if they were for different architectures.
    #[error("choose the architecture: {} and {} are for {arches} by their names; say which with \
        --arch", first.display(), second.display())]
    Arches {
        /// One repository.
        first: PathBuf,
        /// Another.
        second: PathBuf,
        /// Both architectures.
        arches: String,
    },
    /// `--arch` names none.
    #[error("choose the architecture: {0}")]
    UnknownArch(UnknownArch),
    /// The file with the BuildRequires.
    #[error(transparent)]
    Sources(#[from] SourcesError),
    /// A source package.
    #[error(transparent)]
    Srpm(#[from] SrpmError),
    /// `--packages` names something that is not there.
    #[error("find source package {}: not in {path}{}", names.join(", "), or_else(near))]
    NoPackage {
        /// Those not found.
        names: Vec<String>,
        /// Those that look like the first.
        near: Vec<String>,
        /// Where they were looked for.
        path: PathBuf,
    },
    /// `--who-needs` is no capability.
    #[error("read the capability of --who-needs: {0}; write it as a spec file would")]
    Capability(DependencyError),
    /// Standard output.
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
