//! The rules, tested as stories: a package's state, why it is rebuilt or held back, and what
//! becomes of a request.

pub(crate) mod cases;
pub(crate) mod cases_arches;
pub(crate) mod cases_buildroots;
pub(crate) mod cases_builds;
pub(crate) mod cases_hub;
pub(crate) mod cases_limits;
pub(crate) mod cases_order;
pub(crate) mod cases_policies;
pub(crate) mod cases_times;
pub(crate) mod cases_unseen;
pub(crate) mod causes;
pub(crate) mod defects;
pub(crate) mod defects_hub;
pub(crate) mod examined;
pub(crate) mod fault_cases;
pub(crate) mod held;
mod measured;
mod one_tag;
pub(crate) mod own_sources;
pub(crate) mod secondary;
pub(crate) mod suspects;
pub(crate) mod tracked;
pub(crate) mod why;
