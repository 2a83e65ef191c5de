//! All integration tests in one binary: linking is the slowest part of running them.

mod log_contract;
mod log_place;
mod log_tamper;
mod repodata_bad;
mod resolve;
mod resolve_cases;
mod resolve_cli;
mod resolve_small;
mod servers;
mod tiny;
