//! All integration tests in one binary, a module per topic: linking is the slowest part of running them.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub, reason = "tests fail by panicking and are not a library")]

mod audit;
mod bad_input;
mod bench_quick;
mod cases;
mod cases_builds;
mod causes;
mod defects;
mod distro;
mod explain;
mod feed;
mod follow;
mod generated;
mod jetstream;
mod kill;
mod koji_bad_answers;
mod koji_client;
mod koji_exchanges;
#[cfg(feature = "gssapi")]
mod koji_kerberos;
mod koji_records;
#[cfg(feature = "openssl")]
mod koji_renegotiation;
mod koji_session;
mod koji_stub;
mod koji_tls;
mod log_contract;
mod log_place;
mod log_tamper;
mod merged;
mod model_of_actions;
mod native;
mod nats_server;
mod operators;
mod properties;
mod recorded;
mod repodata_bad;
mod resolve;
mod resolve_cases;
mod resolve_cli;
mod resolve_small;
mod resolve_verbs;
mod schemas;
mod servers;
mod source_side;
mod story;
mod tiny;
mod truth;
mod why;
