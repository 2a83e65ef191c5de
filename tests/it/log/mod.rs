//! The log in both databases: its contract, its checks, its troubles.

pub(crate) mod announced;
pub(crate) mod asyncapi;
pub(crate) mod audit;
pub(crate) mod blocks;
pub(crate) mod contract;
pub(crate) mod forgetting;
pub(crate) mod full_disk;
pub(crate) mod import;
pub(crate) mod postgres_silent;
pub(crate) mod schemas;
pub(crate) mod snapshots;
pub(crate) mod tamper;
pub(crate) mod trouble;
pub(crate) mod verify_outbox;
