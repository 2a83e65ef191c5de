//! Pure rules that decide which packages are rebuilt, and explain why the others are not.
//!
//! [`plan()`] looks at every package and chooses. [`why()`] names the conditions that decide for
//! one package. Both use [`eligibility`], so they cannot disagree.
//!
//! The formulas are in their own modules: [`priority`], [`arches`], [`load`], [`faults`], [`retry`]
//! and [`refusal`]. The numbers they use are in [`policy`]. [`request`] builds the request for a
//! rebuild, [`command`] describes the commands for executors, and [`judgement`] says how a task
//! ended. [`suspects`] ranks the updates that may have made builds fail. Nothing here changes state,
//! reads a clock or calls a hub.

pub mod arches;
pub mod causes;
pub mod command;
pub mod eligibility;
pub mod faults;
pub mod hold;
pub mod judgement;
pub mod load;
pub mod plan;
pub mod policy;
pub mod priority;
pub mod refusal;
pub mod request;
pub mod retry;
pub mod state_reason;
pub mod suspects;
pub mod why;

pub use hold::Hold;
pub use plan::{Choice, Plan, Queue, plan};
pub use policy::Policy;
pub use why::{Why, why};
