//! Holds the state, and changes it by events.
//!
//! [`State::apply`] is total and deterministic. It never refuses an event, because every event is
//! already history. An event that makes no sense is only counted. The same log gives the same
//! state, bit for bit, on any machine. Nothing here reads a clock, draws a random number, touches a
//! file, or decides anything.
//!
//! Each entity has a module: [`tag`], [`build`], [`repo`], [`task`], [`collection`], [`package`] and
//! [`group`]. [`resolution`] folds verdicts. [`evidence`] keeps a package's builds and what each
//! says about the package, and [`history`] what the suspects of failed builds follow from.
//! [`sources`] decides which of its sources counts, and [`tracked`] which packages are resolved.
//! [`digest`] computes a digest of the state, [`snapshot`] writes it to bytes, and [`spacing`] says
//! of which events. [`hub_facts`] derives what a hub should be asked for.

mod announced;
pub mod arch;
pub mod build;
pub mod collection;
mod columns;
mod config;
pub mod digest;
pub mod evidence;
pub mod group;
mod groups;
pub mod history;
pub mod hub_facts;
pub mod package;
mod rebuilds;
pub mod refusal;
pub mod repo;
pub mod resolution;
pub mod snapshot;
pub mod sources;
pub mod spacing;
pub mod state;
pub mod tag;
pub mod task;
pub mod tracked;
mod truth;
mod updates;

pub use announced::Announced;
pub use build::{Build, RecordedBuildroot};
pub use collection::{ArchResolution, Arrived, Collection};
pub use evidence::{Evidence, EvidenceKind};
pub use group::Group;
pub use history::{Arrival, ComparedBuild, Mark, UpdateHistory};
pub use package::{ArchVerdict, Declined, FoundCause, Latest, Package, Sighting, Suspects, stands_for};
pub use refusal::Refusal;
pub use repo::Repo;
pub use state::{AdoptedPolicy, Cancelled, HubState, OpenRebuild, Standing, State, Touched};
pub use tag::{ListEntry, Tag, TagPackage, TaggedBuild};
pub use task::{Step, Task};
pub use tracked::Tracked;

/// A hash map that keeps the order of insertion (and removal), so that iteration is deterministic.
pub type Map<K, V> = indexmap::IndexMap<K, V, rustc_hash::FxBuildHasher>;
