//! Integration tests, one binary: a module per topic.

mod repodata_bad;
mod resolve;
mod resolve_cases;
mod resolve_cli;
mod tiny;
