//! Fetches what a hub offers as plain files into a cache directory, over HTTP or from a mounted
//! disk.
//!
//! - [`Fetcher`] fetches files over HTTP. It limits how many run at once, and each in time, size
//!   and attempts. It resumes and verifies files.
//! - [`Mirror`] puts repositories and headers of source packages into a cache directory. The
//!   directory has the layout of an archive, so that [`super::Archive`] can read it like a
//!   recording:
//!
//! ```text
//! repos/TAG/ID/repo.json, groups/comps.xml
//! repos/TAG/ID/ARCH/pkglist, rpmlist.jsonl, blocklist
//! repos/TAG/ID/ARCH/repodata/repomd.xml, and the primary, groups, modules and file lists it names
//! buildrequires.jsonl
//! ```
//!
//! - [`SourceStore`] keeps build requirements for ever.
//!
//! The steps for a generation:
//!
//! 1. [`Mirror::fetch`].
//! 2. Put the build requirements of its sources into the store: [`SourceStore::missing`], then
//!    [`Mirror::from_source_repo`], [`Mirror::fill`], or the hub's answers with
//!    [`crate::repodata::SourcePackage::from_hub`].
//! 3. [`Mirror::ensure_filelists`].
//! 4. Resolve. Keep the [`MirroredRepo`] until this is done.
//!
//! This module does not know what is current, usable or wanted; the part that asks the hub does. A
//! missing file is always an error, and never treated like an empty one. The clock only measures
//! durations.

mod bring;
mod cache;
mod download;
mod error;
mod fetch;
mod headers;
mod hub_files;
mod mirror;
mod place;
mod prefix;
mod response;
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
