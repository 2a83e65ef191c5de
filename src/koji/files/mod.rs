//! What a hub has as plain files, over HTTP or from a mounted disk.

mod store;

pub use store::SourceStore;
