//! Which update broke a failed build: a pure ranking of suspects.
//!
//! [`rank()`] reads the updates and finished builds of one collection. It finds the set of bad
//! updates that makes all results most likely, and then the share of each suspect in each failed
//! build.

mod facts;
mod history;
mod index;
mod input;
mod judge;
mod maths;
mod model;
mod rank;
mod search;
mod selectivity;
mod shares;
mod text;

pub use facts::Facts;
pub use input::{Build, Change, Evidence, SeenElsewhere, Update};
pub use model::Model;
pub use rank::{Nobody, Ranked, Suspect, Which, rank};
