//! The shell around the core: intake into the inbox, the one appender, looking, commands out.
//!
//! [`brain`] turns messages into events and events into decisions; it is the only one that appends. [`ingest`] feeds it
//! a recording, [`live`] a stream; [`outbox`] delivers what was decided; [`probe`] answers monitoring. [`replay`] folds
//! a log again and acts on nothing; [`audit`] derives every decision again. [`eyes`] looks where the brain cannot,
//! [`archive_eyes`] into an archive directory. [`tracking`] says for which packages. [`broken`] tells what broke and
//! recovered. [`verdicts`] is what a resolution leaves behind, [`buildroots`] what a builder did, [`command`] what goes
//! out.

mod adopting;
pub(crate) mod ahead;
mod archive_causes;
pub mod archive_eyes;
pub mod audit;
pub mod brain;
pub mod broken;
pub mod buildroots;
pub mod command;
mod decided;
pub mod error;
pub mod eyes;
pub mod follow;
pub mod hub;
pub mod ingest;
pub mod intake;
mod late;
pub mod live;
mod measuring;
pub mod observing;
pub mod operator;
pub mod outbox;
mod overrides;
mod own_sources;
pub mod patience;
pub mod pauses;
pub mod per_collection;
pub mod persons;
mod policies;
pub mod probe;
mod remembered;
pub mod replay;
pub mod resolving;
pub mod retention;
pub mod serve;
pub mod tracking;
pub mod verdicts;

pub use brain::{Brain, Settings};
pub use error::EngineError;
pub use eyes::{Blind, Eyes, ResolveOptions};
pub use follow::Hands;
pub use per_collection::PerCollection;
