//! From a repository to verdicts and changes.
//!
//! [`repo_resolver`] says what is asked of whoever resolves a repository on an architecture; [`archive_resolver`]
//! answers from a store of repositories ([`repo_store`]), [`per_hub`] from one directory a hub. [`verdicts`] is what a
//! resolution leaves behind; `generations` is what is kept of earlier ones, [`installed`] what a builder installed, and
//! how that compares. `archive_causes` names which updates came first on the way to a change.

mod archive_causes;
pub mod archive_resolver;
pub(crate) mod generations;
pub mod installed;
pub mod per_hub;
pub mod repo_resolver;
pub mod repo_store;
pub mod verdicts;

pub use archive_resolver::ArchiveResolver;
pub use per_hub::PerHubResolver;
pub use repo_resolver::{CannotResolve, MakeResolver, NoResolver, OwnSources, RepoResolver, Unit};
pub use repo_store::{RepoStore, StoredRepo};
