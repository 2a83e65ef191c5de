//! What a hub has as plain files, over HTTP or from a mounted disk.

mod download;
mod error;
mod fetch;
mod hub_files;
mod place;
mod prefix;
mod store;
mod tls;

pub use error::{FetchError, Trouble};
pub use fetch::{FetchCounts, FetchSettings, Fetcher, FileEvent, Observer, REDIRECTS_MAX};
pub use place::Place;
pub use store::SourceStore;
