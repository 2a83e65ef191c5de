//! State, and how events change it.
//!
//! [`State::apply`] is total and deterministic: an event that makes no sense here is counted, never refused, because it
//! is already history. The same log gives the same state, bit for bit, on any machine. Nothing here reads a clock,
//! draws a random number, touches a file, or decides anything.
//!
//! One file per entity: [`tag`], [`build`], [`repo`], [`task`], [`collection`], [`package`]; [`resolution`] folds
//! verdicts, [`evidence`] keeps what builds say about a package, [`sources`] says which source of it counts,
//! [`tracked`] which packages are resolved, [`digest`] and [`snapshot`] reduce the whole to bytes, [`hub_facts`] to
//! what a hub can be asked for.

pub mod arch;
pub mod build;
pub mod collection;
mod config;
pub mod digest;
pub mod evidence;
pub mod hub_facts;
pub mod package;
mod rebuilds;
pub mod refusal;
pub mod repo;
pub mod resolution;
pub mod snapshot;
pub mod sources;
pub mod state;
pub mod tag;
pub mod task;
pub mod tracked;
mod truth;

pub use build::{Build, RecordedBuildroot};
pub use collection::{ArchResolution, Collection};
pub use evidence::{Evidence, EvidenceKind};
pub use package::{ArchVerdict, Declined, Latest, Package, Sighting, stands_for};
pub use refusal::Refusal;
pub use repo::Repo;
pub use state::{AdoptedPolicy, Cancelled, HubState, OpenRebuild, Standing, State, Touched};
pub use tag::{Tag, TagPackage, TaggedBuild};
pub use task::{Step, Task};
pub use tracked::Tracked;

/// A hash map whose order is that of insertion (and removal), so that walking it is deterministic.
pub type Map<K, V> = indexmap::IndexMap<K, V, rustc_hash::FxBuildHasher>;
