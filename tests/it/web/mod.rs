//! Pages, JSON, metrics and messages to systemd.

mod api_fuzz;
mod api_v1;
mod api_v2;
pub(crate) mod browser;
mod event_stream;
pub(crate) mod follower;
mod groups;
mod kept;
mod moments;
pub(crate) mod pages;
mod people;
pub(crate) mod prometheus;
pub(crate) mod requests;
pub(crate) mod systemd;
pub(crate) mod unclear_shown;
