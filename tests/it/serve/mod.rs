//! `koschei serve` against the test hub.

pub(crate) mod announced;
pub(crate) mod behaviours;
pub(crate) mod budget;
pub(crate) mod bus;
pub(crate) mod cancelling;
pub(crate) mod facts;
pub(crate) mod first;
pub(crate) mod hub_up;
pub(crate) mod inside;
pub(crate) mod kill;
pub(crate) mod lives;
pub(crate) mod logs;
pub(crate) mod outside;
pub(crate) mod overrides;
pub(crate) mod pause;
pub(crate) mod policies;
pub(crate) mod random;
pub(crate) mod repo_late;
pub(crate) mod repo_told;
pub(crate) mod restore;
pub(crate) mod secondary;
pub(crate) mod sources;
pub(crate) mod story;
pub(crate) mod tracked;
pub(crate) mod trouble;
