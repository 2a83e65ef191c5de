//! Shared test support: servers, recordings, scripted worlds.

pub(crate) mod cuttable;
pub(crate) mod executor;
pub(crate) mod feed;
pub(crate) mod files_server;
pub(crate) mod koji_stub;
pub(crate) mod live;
pub(crate) mod log_place;
pub(crate) mod nats_server;
pub(crate) mod prometheus_server;
pub(crate) mod rabbitmq_server;
pub(crate) mod recorded;
pub(crate) mod servers;
pub(crate) mod story;
pub(crate) mod subscriber;
pub(crate) mod tiny;
pub(crate) mod web_site;
