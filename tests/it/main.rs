//! Integration tests, one binary: a module per topic.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod repodata_bad;
mod resolve;
mod resolve_cases;
mod resolve_cli;
mod resolve_small;
mod tiny;
