//! All integration tests in one binary, a module per topic: linking is the slowest part of running them.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub, reason = "tests fail by panicking and are not a library")]

mod bench_quick;
mod jetstream;
mod log_contract;
mod log_place;
mod log_tamper;
mod nats_server;
mod repodata_bad;
mod resolve;
mod resolve_cases;
mod resolve_cli;
mod resolve_small;
mod schemas;
mod servers;
mod tiny;
