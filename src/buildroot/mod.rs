//! Gets from a repository to verdicts and changes.
//!
//! * [`repo_resolver`] defines what a resolver of repositories must offer.
//! * [`archive_resolver`] resolves repositories from a store ([`repo_store`]). [`per_hub`] has one
//!   such resolver for each hub.
//! * [`verdicts`] is the result of a resolution, [`stored`] its attachment. `generations` remembers
//!   data of earlier results. `unchanged` says which buildroots stayed the same.
//! * [`installed`] is what a builder installed, and how that compares with a prediction.
//! * `archive_causes` finds the updates that came first on the way to a change.

mod archive_causes;
pub mod archive_resolver;
pub(crate) mod generations;
pub mod installed;
pub mod per_hub;
pub mod repo_resolver;
pub mod repo_store;
pub mod stored;
pub(crate) mod unchanged;
pub mod verdicts;

pub use archive_resolver::ArchiveResolver;
pub use per_hub::PerHubResolver;
pub use repo_resolver::{CannotResolve, MakeResolver, NoResolver, OwnSources, RepoResolver, Unit};
pub use repo_store::{RepoStore, StoredRepo};
