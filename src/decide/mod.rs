//! Pure rules: who is due, and why not.
//!
//! [`plan()`] looks at every package and chooses; [`why()`] says for one package which condition decides. Both go
//! through [`eligibility`], so they cannot disagree. The formulas stand in rooms of their own: [`priority`],
//! [`arches`], [`load`], [`faults`], [`retry`], [`refusal`]; the numbers they use in [`policy`]. [`request`] is what a
//! rebuild consists of, [`command`] what leaves, [`judgement`] how it ended. Nothing here changes state, reads a clock
//! or knows a hub.

pub mod arches;
pub mod command;
pub mod eligibility;
pub mod faults;
pub mod judgement;
pub mod load;
pub mod plan;
pub mod policy;
pub mod priority;
pub mod refusal;
pub mod request;
pub mod retry;
pub mod state_reason;
pub mod why;

pub use eligibility::Hold;
pub use plan::{Choice, Plan, plan};
pub use policy::Policy;
pub use why::{Why, why};
