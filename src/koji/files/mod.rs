//! What a hub has as plain files, over HTTP or from a mounted disk, and the cache directory it is kept in.
//!
//! - [`Fetcher`]: files over HTTP, a bounded number at once, each bounded in time, size and attempts, resumed and
//!   verified.
//! - [`Mirror`]: repositories and headers of source packages into a cache directory that has the layout of an archive,
//!   so that [`super::Archive`] reads it as it reads a recording:
//!
//! ```text
//! repos/TAG/ID/repo.json, groups/comps.xml
//! repos/TAG/ID/ARCH/pkglist, rpmlist.jsonl, blocklist
//! repos/TAG/ID/ARCH/repodata/repomd.xml and of what it names primary, groups, modules, file lists
//! buildrequires.jsonl
//! ```
//!
//! - [`SourceStore`]: build requirements, kept for ever.
//!
//! The order for a generation: [`Mirror::fetch`]; build requirements of its sources into the store
//! ([`SourceStore::missing`], then [`Mirror::from_source_repo`], [`Mirror::fill`], or the hub's answers by
//! [`crate::repodata::SourcePackage::from_hub`]); [`Mirror::ensure_filelists`] for each architecture; then resolve,
//! keeping the [`MirroredRepo`] until that is done.
//!
//! Nothing here knows what is current, usable or wanted: who asks the hub does. A file that is not there is an error
//! that says so, and never an empty one. No clock is read but to measure how long something takes.

mod bring;
mod cache;
mod download;
mod error;
mod fetch;
mod filelists;
mod headers;
mod hub_files;
mod mirror;
mod place;
mod prefix;
mod slots;
mod source_repo;
mod store;
mod tls;

pub use bring::{MirrorProgress, OnProgress, quiet};
pub use cache::{CacheLimits, Evicted};
pub use error::{FetchError, Trouble};
pub use fetch::{FetchCounts, FetchSettings, Fetcher, FileEvent, Observer, REDIRECTS_MAX};
pub use headers::Filled;
pub use mirror::{Mirror, MirroredRepo};
pub use place::Place;
pub use source_repo::SourceRequires;
pub use store::SourceStore;
